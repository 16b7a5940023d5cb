//! Which capabilities a container's processes may have.

use std::collections::HashSet;

use container::Config;
use oci_spec::runtime::Capability::{
    self, AuditControl, AuditRead, AuditWrite, BlockSuspend, Bpf, CheckpointRestore, Chown,
    DacOverride, DacReadSearch, Fowner, Fsetid, IpcLock, IpcOwner, Kill, Lease, LinuxImmutable,
    MacAdmin, MacOverride, Mknod, NetAdmin, NetBindService, NetBroadcast, NetRaw, Perfmon, Setfcap,
    Setgid, Setpcap, Setuid, SysAdmin, SysBoot, SysChroot, SysModule, SysNice, SysPacct, SysPtrace,
    SysRawio, SysResource, SysTime, SysTtyConfig, Syslog, WakeAlarm,
};
use oci_spec::runtime::{LinuxCapabilities, LinuxCapabilitiesBuilder};

const DEFAULT: &[Capability] = &[
    Chown,
    DacOverride,
    Fsetid,
    Fowner,
    Mknod,
    NetRaw,
    Setgid,
    Setuid,
    Setfcap,
    Setpcap,
    NetBindService,
    SysChroot,
    Kill,
    AuditWrite,
];

/// In a user namespace these reach no further than the container. Left out: what has no meaning
/// there (modules, clock, raw I/O, MAC, audit), which systemd's units ask for by condition and
/// then fail to use.
const IN_USER_NAMESPACE: &[Capability] = &[
    DacReadSearch,
    IpcLock,
    IpcOwner,
    Lease,
    LinuxImmutable,
    NetAdmin,
    NetBroadcast,
    SysAdmin,
    SysNice,
    SysPtrace,
    SysResource,
    SysTtyConfig,
];

const REST: &[Capability] = &[
    AuditControl,
    AuditRead,
    BlockSuspend,
    Bpf,
    CheckpointRestore,
    MacAdmin,
    MacOverride,
    Perfmon,
    SysModule,
    SysPacct,
    SysRawio,
    SysTime,
    Syslog,
    WakeAlarm,
];

/// The bounding set: the container's kind decides the base, then what was added, then what was
/// dropped. Sorted, so that the same request gives the same document.
pub fn bounding(config: &Config) -> Vec<Capability> {
    let all = || [DEFAULT, &[SysBoot], IN_USER_NAMESPACE, REST].concat();
    let base = match config {
        _ if config.privileged => all(),
        _ if config.user_remap.is_some() => [DEFAULT, &[SysBoot], IN_USER_NAMESPACE].concat(),
        _ if config.system_container => [DEFAULT, &[SysBoot]].concat(),
        _ => DEFAULT.to_vec(),
    };
    let (add, drop) = (&config.security.cap_add, &config.security.cap_drop);
    let is_all = |name: &String| name == "ALL";
    let named = |names: &[String]| -> Vec<Capability> {
        names.iter().filter_map(|name| name.parse().ok()).collect()
    };
    // "--cap-drop all --cap-add X" is X alone, whichever stands first.
    let mut set = if drop.iter().any(is_all) { vec![] } else { base };
    if add.iter().any(is_all) {
        set = all();
    }
    set.extend(named(add));
    let dropped = named(drop);
    set.retain(|capability| !dropped.contains(capability));
    set.sort_by_key(ToString::to_string);
    set.dedup();
    set
}

/// The sets of a process. One that is not root starts with none: that is what execve(2) gives a
/// program without file capabilities.
pub fn for_user(bounding: &[Capability], uid: u32) -> LinuxCapabilities {
    let set: HashSet<Capability> = bounding.iter().copied().collect();
    let own = if uid == 0 { set.clone() } else { HashSet::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(set)
        .effective(own.clone())
        .permitted(own)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
        .expect("nothing of it is required")
}
