//! The process that becomes init.

use anyhow::Result;
use container::Config;
use container::config::Ulimit;
use oci_spec::runtime::{
    Capability, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder, User,
    UserBuilder,
};

use super::capabilities;
use crate::host::{Host, Identity};
use crate::request::environment;

/// Where systemd says that it is up.
pub(super) const NOTIFY_SOCKET: &str = "/run/host/notify";

pub(super) fn build(config: &Config, host: &Host, bounding: &[Capability]) -> Result<Process> {
    let asked = &config.process;
    let identity = &host.identity;
    let mut process = ProcessBuilder::default()
        .terminal(asked.tty)
        .user(user(config, identity)?)
        .args(asked.args.clone())
        .env(env(config))
        .cwd(&asked.cwd)
        .capabilities(capabilities::for_user(bounding, identity.uid))
        .rlimits(rlimits(&config.resources.ulimits)?)
        .no_new_privileges(config.security.no_new_privileges)
        .build()?;
    process.set_oom_score_adj(config.resources.oom_score_adj);
    labels(config, &mut process);
    Ok(process)
}

/// How the host's security modules name it.
pub fn labels(config: &Config, process: &mut Process) {
    process.set_apparmor_profile(config.security.apparmor.clone());
    process.set_selinux_label(config.security.selinux.clone());
}

fn user(config: &Config, identity: &Identity) -> Result<User> {
    let user = UserBuilder::default()
        .uid(identity.uid)
        .gid(identity.gid)
        .additional_gids(identity.groups.clone())
        .umask(umask(config))
        .build()?;
    Ok(user)
}

/// 0027 unless the annotation says `normal`.
pub fn umask(config: &Config) -> u32 {
    match config.annotations.get(environment::UMASK).map(String::as_str) {
        Some("normal") => 0o022,
        _ => 0o027,
    }
}

/// What was asked for, and what an init looks for (systemd's CONTAINER_INTERFACE).
fn env(config: &Config) -> Vec<String> {
    let mut env = config.process.env.clone();
    if !environment::has(&env, "container") {
        env.push("container=isula".to_owned());
    }
    if config.system_container {
        env.push(format!("container_uuid={}", uuid(config)));
        env.push(format!("NOTIFY_SOCKET={NOTIFY_SOCKET}"));
    }
    env
}

/// The first half of the id in the form of a UUID: a guest without a machine id takes it.
pub fn uuid(config: &Config) -> String {
    let id = config.id.as_str();
    let parts = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32]];
    parts.join("-")
}

pub fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<PosixRlimit>> {
    ulimits
        .iter()
        .map(|ulimit| {
            let limit = PosixRlimitBuilder::default()
                .typ(kind(&ulimit.name))
                .soft(ulimit.soft)
                .hard(ulimit.hard)
                .build()?;
            Ok(limit)
        })
        .collect()
}

fn kind(name: &str) -> PosixRlimitType {
    match name {
        "core" => PosixRlimitType::RlimitCore,
        "cpu" => PosixRlimitType::RlimitCpu,
        "data" => PosixRlimitType::RlimitData,
        "fsize" => PosixRlimitType::RlimitFsize,
        "locks" => PosixRlimitType::RlimitLocks,
        "memlock" => PosixRlimitType::RlimitMemlock,
        "msgqueue" => PosixRlimitType::RlimitMsgqueue,
        "nice" => PosixRlimitType::RlimitNice,
        "nofile" => PosixRlimitType::RlimitNofile,
        "nproc" => PosixRlimitType::RlimitNproc,
        "rss" => PosixRlimitType::RlimitRss,
        "rtprio" => PosixRlimitType::RlimitRtprio,
        "rttime" => PosixRlimitType::RlimitRttime,
        "sigpending" => PosixRlimitType::RlimitSigpending,
        _ => PosixRlimitType::RlimitStack,
    }
}
