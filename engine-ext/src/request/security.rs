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
        ("apparmor", profile) if !profile.is_empty() => {
            security.apparmor = Some(profile.to_owned());
        }
        ("label", "disable") => security.selinux = None,
        ("label", part) => {
            let label = security.selinux.as_deref().unwrap_or(SELINUX_DEFAULT);
            security.selinux = Some(selinux(label, part, option)?);
        }
        _ => bail!(
            "invalid --security-opt {option:?}; use seccomp=FILE, seccomp=unconfined, \
             no-new-privileges, apparmor=PROFILE or label=PART:VALUE"
        ),
    }
    Ok(())
}

/// What the policies of distributions have for containers.
const SELINUX_DEFAULT: &str = "system_u:system_r:container_t:s0";

/// `label` with one part replaced: `user:X`, `role:X`, `type:X`, `level:X`.
fn selinux(label: &str, part: &str, option: &str) -> Result<String> {
    let mut parts: Vec<&str> = label.splitn(4, ':').collect();
    let (name, value) = part.split_once(':').unwrap_or((part, ""));
    let place = ["user", "role", "type", "level"].iter().position(|known| *known == name);
    let whole = |c: char| c.is_whitespace() || (c == ':' && name != "level");
    match place {
        Some(place) if !value.is_empty() && !value.contains(whole) => parts[place] = value,
        _ => bail!(
            "invalid --security-opt {option:?}; use label=user:U, label=role:R, label=type:T, \
             label=level:L or label=disable"
        ),
    }
    Ok(parts.join(":"))
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
