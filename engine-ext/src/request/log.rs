//! `--log-opt` and `--log-driver`.

use anyhow::{Result, bail, ensure};
use container::config::Log;

use super::mounts::clean;
use super::size::{bytes, integer};

/// A file smaller than this would be rotated at every line.
const SIZE_MIN: u64 = 10 << 10;

/// Where the console's output goes.
pub fn parse(options: &[String], driver: Option<&str>) -> Result<Log> {
    match driver {
        None | Some("json-file") => {}
        Some(driver) => bail!("--log-driver {driver} is not supported; use json-file"),
    }
    let mut log = Log::default();
    for option in options {
        let Some((key, value)) = option.split_once('=') else {
            bail!("Invalid log option '{option}'; write KEY=VALUE");
        };
        match key {
            "disable-log" => match value {
                "true" => log.disabled = true,
                "false" => log.disabled = false,
                _ => bail!("Invalid log option '{option}'; disable-log is true or false"),
            },
            "max-size" => {
                log.max_size = bytes(value)?;
                ensure!(
                    log.max_size >= SIZE_MIN,
                    "Invalid log option '{option}'; use at least 10k"
                );
            }
            "max-file" => {
                log.max_file = integer("--log-opt max-file", value)?;
                ensure!(log.max_file >= 1, "Invalid log option '{option}'; use at least 1");
            }
            "path" => log.path = Some(clean(value)?),
            _ => {
                bail!("Invalid log option '{option}'; use disable-log, max-size, max-file or path")
            }
        }
    }
    Ok(log)
}
