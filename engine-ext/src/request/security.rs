//! Capabilities and `--security-opt`.

use anyhow::{Result, bail};
use container::config::{Seccomp, Security};
use oci_spec::runtime::Capability;

use super::{Findings, Outside};
use crate::cli::args::SecurityArgs;

/// What may be done, as it was asked.
pub fn parse(args: &SecurityArgs, outside: &Outside<'_>, found: &mut Findings) -> Security {
    let mut security = Security {
        cap_add: found.each(&args.cap_add, capability),
        cap_drop: found.each(&args.cap_drop, capability),
        options: args.security_opt.clone(),
        ..Security::default()
    };
    for option in &args.security_opt {
        found.note(take(option, outside, &mut security));
    }
    security
}

fn take(option: &str, outside: &Outside<'_>, security: &mut Security) -> Result<()> {
    let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
    match (key, value) {
        ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
        ("no-new-privileges", "false") => security.no_new_privileges = false,
        ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
        ("seccomp", path) if path.starts_with('/') => {
            let text = (outside.read)(path.as_ref())?;
            let profile = serde_json::from_str(&text);
            let profile =
                profile.map_err(|e| anyhow::anyhow!("read seccomp profile {path}: {e}"))?;
            security.seccomp = Seccomp::Profile(profile);
        }
        ("seccomp", path) => {
            bail!("--security-opt {option}: {path:?} is neither an absolute path nor unconfined")
        }
        ("label", "disable") => {}
        ("label" | "apparmor", _) => {
            bail!("--security-opt {option} is not supported yet; this engine sets no {key} labels")
        }
        _ => bail!(
            "invalid --security-opt {option:?}; use seccomp=FILE, seccomp=unconfined or \
             no-new-privileges"
        ),
    }
    Ok(())
}

/// `ALL`, or a name without `CAP_`, in capitals.
fn capability(text: &str) -> Result<String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name == "ALL" || name.parse::<Capability>().is_ok() {
        return Ok(name.to_owned());
    }
    bail!("unknown capability {text:?}; names are as in capabilities(7), for example NET_ADMIN")
}
