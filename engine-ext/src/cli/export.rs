use std::fs::File;
use std::io::{BufWriter, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use ui::{Exit, Report};

use super::Session;
use crate::lifecycle;

/// Write a container's rootfs as a tar archive
///
/// What is mounted in it while it runs is not part of it.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write to this file, not to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name, id or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) fn export(session: &Session, args: &ExportArgs) -> Report {
    let container = session.engine.store.find(&args.container)?;
    let name = || format!("container {}", args.container);
    match &args.output {
        Some(path) => {
            whole(path, |file| lifecycle::export(&session.engine, &container, file))
                .with_context(name)?;
        }
        None if std::io::stdout().is_terminal() => {
            bail!("the archive is not for a terminal; write it to a file with -o FILE")
        }
        None => {
            let out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
            lifecycle::export(&session.engine, &container, out).with_context(name)?;
        }
    }
    session.engine.tell(&container.config()?, "export", &[]);
    Ok(Exit::DONE)
}

/// A file that is complete or not there.
fn whole(path: &Path, write: impl FnOnce(BufWriter<File>) -> Result<()>) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let file = File::create(&partial).with_context(|| format!("write {}", partial.display()))?;
    let written = write(BufWriter::with_capacity(1 << 20, file)).and_then(|()| {
        std::fs::rename(&partial, path).with_context(|| format!("write {}", path.display()))
    });
    if written.is_err() {
        // The first failure is the one to report.
        let _ = std::fs::remove_file(&partial);
    }
    written
}
