//! What `daemon.json` says of every container, put in the place of options that were not given.

use anyhow::{Result, ensure};
use container::DaemonJson;

use super::environment::UMASK;
use crate::cli::args::ContainerArgs;

/// Fills `args`; the command line wins.
pub fn fill(args: &mut ContainerArgs, host: &DaemonJson) -> Result<()> {
    let default = |place: &mut Option<String>, text: &str| {
        if place.is_none() && !text.is_empty() {
            *place = Some(text.to_owned());
        }
    };
    default(&mut args.resources.cgroup_parent, &host.cgroup_parent);
    default(&mut args.identity.runtime, &host.default_runtime);
    default(&mut args.identity.log_driver, &host.container_log.driver);
    let log = host.container_log.opts.iter().map(|(key, value)| format!("{key}={value}"));
    // Of two that say the same the later counts.
    args.identity.log_opt.splice(0..0, log);
    let annotated = |entry: &String| entry.split_once('=').is_some_and(|(key, _)| key == UMASK);
    if !host.native_umask.is_empty() && !args.identity.annotation.iter().any(annotated) {
        args.identity.annotation.push(format!("{UMASK}={}", host.native_umask));
    }
    let ulimits = ulimits(host, &args.process.ulimit)?;
    args.process.ulimit.extend(ulimits);
    Ok(())
}

/// Those that the command line does not name.
fn ulimits(host: &DaemonJson, given: &[String]) -> Result<Vec<String>> {
    let mut ulimits = vec![];
    for (key, entry) in &host.default_ulimits {
        ensure!(
            entry.name == *key,
            "daemon.json: default-ulimits: Name {:?} of {key:?}; write the key again",
            entry.name
        );
        ensure!(
            entry.hard == -1 || (entry.soft != -1 && entry.soft <= entry.hard),
            "daemon.json: default-ulimits: {key}: Soft {} is more than Hard {}",
            entry.soft,
            entry.hard
        );
        let named = |text: &String| text.split_once('=').is_some_and(|(name, _)| name == key);
        if !given.iter().any(named) {
            ulimits.push(format!("{key}={}:{}", entry.soft, entry.hard));
        }
    }
    Ok(ulimits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = r#"{ "cgroup-parent": "/lxc", "default-runtime": "runc",
        "native.umask": "normal", "container-log": { "opts": { "max-file": "3" } },
        "default-ulimits": { "nofile": { "Name": "nofile", "Soft": 10, "Hard": 20 },
                             "core": { "Name": "core", "Soft": -1, "Hard": -1 } } }"#;

    fn filled(mut args: ContainerArgs) -> ContainerArgs {
        fill(&mut args, &serde_json::from_str(HOST).unwrap()).unwrap();
        args
    }

    #[test]
    fn what_is_not_given_is_the_hosts() {
        let args = filled(ContainerArgs::default());
        assert_eq!(args.resources.cgroup_parent.as_deref(), Some("/lxc"));
        assert_eq!(args.identity.runtime.as_deref(), Some("runc"));
        assert_eq!(args.identity.annotation, ["native.umask=normal"]);
        assert_eq!(args.identity.log_opt, ["max-file=3"]);
        assert_eq!(args.process.ulimit, ["core=-1:-1", "nofile=10:20"]);
    }

    #[test]
    fn the_command_line_wins() {
        let mut args = ContainerArgs::default();
        args.resources.cgroup_parent = Some("/mine".to_owned());
        args.identity.annotation = vec!["native.umask=secure".to_owned()];
        args.identity.log_opt = vec!["max-file=5".to_owned()];
        args.process.ulimit = vec!["nofile=5".to_owned()];
        let args = filled(args);
        assert_eq!(args.resources.cgroup_parent.as_deref(), Some("/mine"));
        assert_eq!(args.identity.annotation, ["native.umask=secure"]);
        assert_eq!(args.identity.log_opt, ["max-file=3", "max-file=5"]);
        assert_eq!(args.process.ulimit, ["nofile=5", "core=-1:-1"]);
    }

    #[test]
    fn wrong_limits_are_told() {
        let refusal = |entry: &str| {
            let text = format!(r#"{{ "default-ulimits": {{ "nofile": {entry} }} }}"#);
            let host = serde_json::from_str(&text).unwrap();
            fill(&mut ContainerArgs::default(), &host).unwrap_err().to_string()
        };
        assert_eq!(
            refusal(r#"{ "Name": "core" }"#),
            "daemon.json: default-ulimits: Name \"core\" of \"nofile\"; write the key again"
        );
        assert_eq!(
            refusal(r#"{ "Name": "nofile", "Soft": 2, "Hard": 1 }"#),
            "daemon.json: default-ulimits: nofile: Soft 2 is more than Hard 1"
        );
    }
}
