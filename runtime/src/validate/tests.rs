use std::fmt::Debug;

use expect_test::{Expect, expect};
use oci_spec::runtime as oci;
use serde_json::{Value, json};

use super::*;

/// A configuration that is fine.
fn good() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}, "env": ["A=b=c"]},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}]},
    })
}

/// `value` put at `path` ("linux.netDevices") of a configuration that is fine.
fn with(path: &str, value: Value) -> Spec {
    let mut json = good();
    let mut place = &mut json;
    for key in path.split('.') {
        place = &mut place[key];
    }
    *place = value;
    serde_json::from_value(json).unwrap()
}

fn check_with(path: &str, value: Value, expect: Expect) {
    let answer = check(&with(path, value));
    expect.assert_eq(&answer.map_or_else(|error| error.to_string(), |()| "fine".to_owned()));
}

#[test]
fn versions() {
    assert!(check(&with("ociVersion", json!("1.0.2-dev"))).is_ok());
    assert!(check(&with("ociVersion", json!("1.4.0"))).is_ok());
    check_with(
        "ociVersion",
        json!("2.0.0"),
        expect![
            "config.json: ociVersion: 2.0.0 is not supported; this runtime knows 1.0.0 to 1.3.0"
        ],
    );
    check_with(
        "ociVersion",
        json!("new"),
        expect![[r#"config.json: ociVersion: "new" is not a version like 1.0.2"#]],
    );
}

#[test]
fn sections_that_are_missing_or_for_others() {
    check_with(
        "linux",
        Value::Null,
        expect!["config.json: linux: is missing; a container needs at least linux.namespaces"],
    );
    check_with(
        "process",
        Value::Null,
        expect!["config.json: process: is missing; say what to run in process.args"],
    );
    for (name, value) in [
        ("solaris", json!({})),
        ("windows", json!({"layerFolders": ["x"]})),
        ("vm", json!({"kernel": {"path": "/k"}})),
        ("zos", json!({})),
    ] {
        let error = check(&with(name, value)).unwrap_err().to_string();
        let expected =
            format!("config.json: {name}: is for another platform; this runtime is for Linux");
        assert_eq!(error, expected);
    }
}

#[test]
fn processes() {
    let empty = expect!["config.json: process.args: is empty; name the program to run"];
    check_with("process.args", json!([]), empty);
    check_with(
        "process.args",
        json!([""]),
        expect!["config.json: process.args: begins with an empty string"],
    );
    check_with(
        "process.args",
        json!(["a", "b\0c"]),
        expect!["config.json: process.args[1]: holds a NUL byte"],
    );
    check_with(
        "process.cwd",
        json!("tmp"),
        expect![[r#"config.json: process.cwd: "tmp" is not an absolute path"#]],
    );
    check_with(
        "process.env",
        json!(["SECRET"]),
        expect![[r#"config.json: process.env: "SECRET" is not NAME=VALUE"#]],
    );
    check_with(
        "process.env",
        json!(["=secret"]),
        expect![[r#"config.json: process.env: "" is not NAME=VALUE"#]],
    );
    check_with(
        "process.commandLine",
        json!("cmd"),
        expect!["config.json: process.commandLine: is for Windows; use process.args"],
    );
    check_with(
        "process.user.username",
        json!("web"),
        expect!["config.json: process.user.username: is for Windows; use process.user.uid"],
    );
}

#[test]
fn names_need_a_namespace() {
    assert!(check(&with("hostname", json!("web"))).is_ok());
    check_with(
        "hostname",
        json!("x".repeat(65)),
        expect![[
            r#"config.json: hostname: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is longer than 64 bytes"#
        ]],
    );
    let mut json = good();
    json["domainname"] = json!("example");
    json["linux"]["namespaces"] = json!([{"type": "mount"}]);
    let error = check(&serde_json::from_value(json).unwrap()).unwrap_err().to_string();
    expect!["config.json: domainname: would rename the host; add a uts namespace"]
        .assert_eq(&error);
}

#[test]
fn paths_are_absolute_but_for_mounts() {
    check_with(
        "mounts",
        json!([{"destination": "ok"}, {"destination": ""}]),
        expect!["config.json: mounts[1].destination: is empty"],
    );
    check_with(
        "linux.maskedPaths",
        json!(["/proc/acpi", "proc/kcore"]),
        expect![[r#"config.json: linux.maskedPaths[1]: "proc/kcore" is not an absolute path"#]],
    );
    check_with(
        "linux.readonlyPaths",
        json!([""]),
        expect![[r#"config.json: linux.readonlyPaths[0]: "" is not an absolute path"#]],
    );
    check_with(
        "linux.rootfsPropagation",
        json!("loud"),
        expect![[
            r#"config.json: linux.rootfsPropagation: "loud" is not one of private, rprivate, shared, rshared, slave, rslave, unbindable, runbindable"#
        ]],
    );
}

#[test]
fn maps_and_their_namespace() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    check_with(
        "linux.gidMappings",
        map.clone(),
        expect![[
            r#"config.json: linux.gidMappings: needs a user namespace; add {"type": "user"}"#
        ]],
    );
    check_with(
        "mounts",
        json!([{"destination": "/a", "uidMappings": map}]),
        expect!["config.json: mounts[0]: has one of uidMappings and gidMappings; give both"],
    );
}

#[test]
fn links_have_names_and_a_namespace() {
    for (value, text) in [
        (
            json!({"eth0": {}, "eth1": {"name": "net%d"}}),
            expect![[
                r#"config.json: linux.netDevices: needs a network namespace; add {"type": "network"}"#
            ]],
        ),
        (
            json!({"eth0": {"name": "a/b"}}),
            expect![[
                r#"config.json: linux.netDevices.eth0: "a/b" is not the name of a link: 1 to 15 bytes without space, / and :"#
            ]],
        ),
        (
            json!({"eth0": {"name": "a%d%d"}}),
            expect![[
                r#"config.json: linux.netDevices.eth0: "a%d%d" is not the name of a link; a template has one %d"#
            ]],
        ),
        (
            json!({"eth0": {"name": "a%s"}}),
            expect![[
                r#"config.json: linux.netDevices.eth0: "a%s" is not the name of a link; a template has one %d"#
            ]],
        ),
        (
            json!({"eth%d": {}}),
            expect!["config.json: linux.netDevices.eth%d: is no link; name one of the host's"],
        ),
        (
            json!({"a-name-that-is-too-long": {"name": "a"}}),
            expect![[
                r#"config.json: linux.netDevices.a-name-that-is-too-long: "a-name-that-is-too-long" is not the name of a link: 1 to 15 bytes without space, / and :"#
            ]],
        ),
    ] {
        check_with("linux.netDevices", value, text);
    }
}

#[test]
fn what_is_not_supported_is_named() {
    check_with(
        "linux.intelRdt",
        json!({"closID": "guaranteed"}),
        expect![
            "config.json: linux.intelRdt: is not supported; put the container's cgroup into a resctrl group from outside"
        ],
    );
}

/// The members of a type, as its derived `Debug` shows them.
fn members<T: Debug>(value: T) -> Vec<String> {
    format!("{value:#?}")
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(':'))
        .filter(|(name, _)| !name.starts_with(' '))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Every member of every type below `Spec`, and what becomes of it: the module that honours it,
/// or `refused` where `validate` says no. `platform` is the section of another one.
const MEMBERS: &str = "
Spec: version validate; root bundle; mounts rootfs; process below; hostname rootfs;
  domainname rootfs; hooks hooks; annotations state; linux below; solaris refused;
  windows refused; vm refused; zos refused; uid_mappings refused; gid_mappings refused
Root: path bundle; readonly rootfs
Mount: destination rootfs; typ rootfs; source rootfs; options rootfs; uid_mappings rootfs;
  gid_mappings rootfs
Hooks: prestart hooks; create_runtime hooks; create_container hooks; start_container hooks;
  poststart hooks; poststop hooks
Hook: path hooks; args hooks; env hooks; timeout hooks
Process: terminal console; console_size console; user security; args program;
  command_line refused; env program; cwd child; capabilities security::caps;
  rlimits security::rlimit; no_new_privileges security; apparmor_profile security::label;
  oom_score_adj security; selinux_label security::label; io_priority security::attributes;
  scheduler security::attributes; exec_cpu_affinity exec
Box: height console; width console
User: uid security; gid security; umask security; additional_gids security; username refused
LinuxCapabilities: bounding security::caps; effective security::caps;
  inheritable security::caps; permitted security::caps; ambient security::caps
PosixRlimit: typ security::rlimit; hard security::rlimit; soft security::rlimit
LinuxIOPriority: class security::attributes; priority security::attributes
Scheduler: policy security::attributes; nice security::attributes;
  priority security::attributes; flags security::attributes; runtime security::attributes;
  deadline security::attributes; period security::attributes
ExecCPUAffinity: initial exec; cpu_affinity_final exec
Linux: net_devices net_devices; uid_mappings idmap; gid_mappings idmap; sysctl rootfs;
  resources cgroup; cgroups_path cgroup; namespaces namespaces; devices rootfs;
  seccomp security::seccomp; rootfs_propagation rootfs; masked_paths rootfs;
  readonly_paths rootfs; mount_label security::label; intel_rdt refused;
  memory_policy security::attributes; personality security::attributes; time_offsets namespaces
LinuxIdMapping: host_id idmap; container_id idmap; size idmap
LinuxNetDevice: name net_devices
LinuxNamespace: typ namespaces; path namespaces
LinuxDevice: path rootfs; typ rootfs; major rootfs; minor rootfs; file_mode rootfs; uid rootfs;
  gid rootfs
LinuxTimeOffset: secs namespaces; nanosecs namespaces
LinuxPersonality: domain security::attributes; flags refused
LinuxMemoryPolicy: mode security::attributes; nodes security::attributes;
  flags security::attributes
LinuxIntelRdt: clos_id refused; schemata refused; l3_cache_schema refused;
  mem_bw_schema refused; enable_cmt refused; enable_mbm refused; enable_monitoring refused
LinuxSeccomp: default_action security::seccomp; default_errno_ret security::seccomp;
  architectures security::seccomp; flags security::seccomp; listener_path security::agent;
  listener_metadata security::agent; syscalls security::seccomp
LinuxSyscall: names security::seccomp; action security::seccomp; errno_ret security::seccomp;
  args security::seccomp
LinuxSeccompArg: index security::seccomp; value security::seccomp;
  value_two security::seccomp; op security::seccomp
LinuxResources: devices cgroup; memory cgroup; cpu cgroup; pids cgroup; block_io cgroup;
  hugepage_limits cgroup; network cgroup; rdma cgroup; unified cgroup
LinuxDeviceCgroup: allow cgroup; typ cgroup; major cgroup; minor cgroup; access cgroup
LinuxMemory: limit cgroup; reservation cgroup; swap cgroup; kernel cgroup; kernel_tcp cgroup;
  swappiness cgroup; disable_oom_killer cgroup; use_hierarchy cgroup;
  check_before_update cgroup
LinuxCpu: shares cgroup; quota cgroup; idle cgroup; burst cgroup; period cgroup;
  realtime_runtime cgroup; realtime_period cgroup; cpus cgroup; mems cgroup
LinuxPids: limit cgroup
LinuxBlockIo: weight cgroup; leaf_weight cgroup; weight_device cgroup;
  throttle_read_bps_device cgroup; throttle_write_bps_device cgroup;
  throttle_read_iops_device cgroup; throttle_write_iops_device cgroup
LinuxWeightDevice: major cgroup; minor cgroup; weight cgroup; leaf_weight cgroup
LinuxThrottleDevice: major cgroup; minor cgroup; rate cgroup
LinuxHugepageLimit: page_size cgroup; limit cgroup
LinuxNetwork: class_id cgroup; priorities cgroup
LinuxInterfacePriority: name cgroup; priority cgroup
LinuxRdma: hca_handles cgroup; hca_objects cgroup
";

/// The list as `Type.member`, in its order.
fn listed() -> Vec<String> {
    let text = MEMBERS.trim().replace("\n  ", " ");
    text.lines()
        .flat_map(|line| {
            let (name, members) = line.split_once(": ").unwrap();
            members.split("; ").map(move |member| {
                let (member, fate) = member.split_once(' ').unwrap();
                assert!(!fate.is_empty());
                format!("{name}.{member}")
            })
        })
        .collect()
}

macro_rules! members_of {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), members(oci::$name::default()))),*]
    };
}

#[test]
fn every_member_of_the_types_is_honoured_or_refused() {
    let types = members_of![
        Spec,
        Root,
        Mount,
        Hooks,
        Hook,
        Process,
        Box,
        User,
        LinuxCapabilities,
        PosixRlimit,
        LinuxIOPriority,
        Scheduler,
        ExecCPUAffinity,
        Linux,
        LinuxIdMapping,
        LinuxNetDevice,
        LinuxNamespace,
        LinuxDevice,
        LinuxTimeOffset,
        LinuxPersonality,
        LinuxMemoryPolicy,
        LinuxIntelRdt,
        LinuxSeccomp,
        LinuxSyscall,
        LinuxSeccompArg,
        LinuxResources,
        LinuxDeviceCgroup,
        LinuxMemory,
        LinuxCpu,
        LinuxPids,
        LinuxBlockIo,
        LinuxWeightDevice,
        LinuxThrottleDevice,
        LinuxHugepageLimit,
        LinuxNetwork,
        LinuxInterfacePriority,
        LinuxRdma,
    ];
    let found: Vec<String> = types
        .iter()
        .flat_map(|(name, members)| members.iter().map(move |member| format!("{name}.{member}")))
        .collect();
    assert_eq!(found, listed());
}
