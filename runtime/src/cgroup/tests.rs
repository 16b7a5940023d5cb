use expect_test::{Expect, expect};
use oci_spec::runtime::LinuxResources;

use super::*;

fn spec(linux: &str) -> Spec {
    serde_json::from_str(&format!(r#"{{"ociVersion": "1.2.0", "linux": {linux}}}"#)).unwrap()
}

fn check_path(path: &str, expect: Expect) {
    let spec = spec(&format!(r#"{{"cgroupsPath": {path:?}}}"#));
    let answer = match path_of(&spec, "web1") {
        Ok(path) => path.to_string(),
        Err(error) => format!("error: {error}"),
    };
    expect.assert_eq(&answer);
}

#[test]
fn the_path_is_named_or_made_of_the_id() {
    check_path("/isulad/3f", expect!["isulad/3f"]);
    check_path("", expect!["isulad/web1"]);
    check_path(
        "system.slice:isulad:3f",
        expect![
            "error: config.json: linux.cgroupsPath: names a unit of systemd; give --systemd-cgroup, or name a path, as in /isulad/ID"
        ],
    );
    check_path(
        "/isulad/../..",
        expect![[
            r#"error: config.json: linux.cgroupsPath: cgroup path "/isulad/../..": invalid argument (EINVAL); write it without "." and "..""#
        ]],
    );
    assert_eq!(path_of(&spec("{}"), "web1").unwrap().to_string(), "isulad/web1");
}

fn convert(json: &str) -> Result<linux::cgroup::Resources> {
    super::resources::resources(&serde_json::from_str::<LinuxResources>(json).unwrap())
}

fn check_refusal(json: &str, expect: Expect) {
    expect.assert_eq(&convert(json).unwrap_err().to_string());
}

#[test]
fn every_member_arrives() {
    let resources = convert(
        r#"{
            "cpu": {"shares": 512, "quota": -1, "period": 100000, "burst": 7, "idle": 1,
                    "realtimeRuntime": 8, "realtimePeriod": 9, "cpus": "0-1", "mems": "0"},
            "memory": {"limit": 1048576, "reservation": -1, "swap": 2097152, "kernel": 3,
                       "kernelTCP": 4, "swappiness": 0, "disableOOMKiller": true,
                       "checkBeforeUpdate": true},
            "pids": {"limit": 77},
            "blockIO": {"weight": 500, "leafWeight": 20,
                        "weightDevice": [{"major": 8, "minor": 0, "weight": 30, "leafWeight": 40}],
                        "throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 1}],
                        "throttleWriteBpsDevice": [{"major": 8, "minor": 16, "rate": 2}],
                        "throttleReadIOPSDevice": [{"major": 8, "minor": 16, "rate": 3}],
                        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 4}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "network": {"classID": 5, "priorities": [{"name": "eth0", "priority": 6}]},
            "rdma": {"mlx5_1": {"hcaHandles": 1}, "mlx5_0": {"hcaObjects": 2}},
            "unified": {"memory.high": "1", "cpu.weight": "2"},
            "devices": [{"allow": true, "type": "c", "major": 10, "minor": -1, "access": "rw"}]
        }"#,
    );
    let resources = resources.unwrap();
    let mut text = format!("{:?}\n{:?}\n", resources.cpu, resources.cpuset);
    text += &format!("{:?}\n{:?}\n", resources.memory, resources.pids);
    text += &format!("{:?} {:?}\n", resources.block.weight, resources.block.leaf_weight);
    for weight in &resources.block.devices {
        text += &format!("{weight:?}\n");
    }
    for throttle in &resources.block.throttles {
        text += &format!("{throttle:?}\n");
    }
    text += &format!("{:?}\n{:?}\n", resources.huge_pages, resources.network);
    text += &format!("{:?}\n{:?}\n", resources.rdma, resources.unified);
    let rules = resources.devices.unwrap();
    let rules = rules.rules().iter().map(|rule| format!("{} {rule}", rule.allow));
    text += &rules.collect::<Vec<_>>().join("; ");
    expect![[r#"
        Cpu { shares: Some(512), quota_us: Some(Max), period_us: Some(100000), burst_us: Some(7), idle: Some(true), realtime_runtime_us: Some(8), realtime_period_us: Some(9) }
        Cpuset { cpus: Some("0-1"), mems: Some("0") }
        Memory { limit: Some(At(1048576)), reservation: Some(Max), swap: Some(At(2097152)), kernel: Some(At(3)), kernel_tcp: Some(At(4)), swappiness: Some(0), disable_oom_killer: Some(true), check_before_update: true }
        Some(At(77))
        Some(500) Some(20)
        DeviceWeight { device: DeviceNumber { major: 8, minor: 0 }, weight: Some(30), leaf_weight: Some(40) }
        Throttle { device: DeviceNumber { major: 8, minor: 16 }, kind: ReadBytes, rate: 1 }
        Throttle { device: DeviceNumber { major: 8, minor: 16 }, kind: WriteBytes, rate: 2 }
        Throttle { device: DeviceNumber { major: 8, minor: 16 }, kind: ReadOperations, rate: 3 }
        Throttle { device: DeviceNumber { major: 8, minor: 16 }, kind: WriteOperations, rate: 4 }
        [HugePages { page_size: "2MB", limit: 0 }]
        Network { class_id: Some(5), priorities: [("eth0", 6)] }
        [Rdma { device: "mlx5_0", handles: None, objects: Some(2) }, Rdma { device: "mlx5_1", handles: Some(1), objects: None }]
        [("cpu.weight", "2"), ("memory.high", "1")]
        false a *:* rwm; true c 10:* rw; true c *:* m; true b *:* m; true c 1:3 rwm; true c 1:5 rwm; true c 1:7 rwm; true c 1:8 rwm; true c 1:9 rwm; true c 5:0 rwm; true c 5:2 rwm; true c 136:* rwm"#]].assert_eq(&text);
}

#[test]
fn zero_asks_for_nothing() {
    let resources = convert(
        r#"{"cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "cpus": ""},
            "memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0,
                       "swappiness": 18446744073709551615},
            "pids": {"limit": 0}, "blockIO": {"weight": 0}, "network": {"classID": 0}}"#,
    );
    assert_eq!(resources.unwrap(), linux::cgroup::Resources::default());
}

#[test]
fn what_cannot_be_meant_is_refused_by_member() {
    check_refusal(
        r#"{"cpu": {"idle": 2}}"#,
        expect!["config.json: linux.resources.cpu.idle: is 2; use 0 or 1"],
    );
    check_refusal(
        r#"{"cpu": {"quota": -2}}"#,
        expect![
            "config.json: linux.resources.cpu.quota: is -2; use a positive number, or -1 for no limit"
        ],
    );
    check_refusal(
        r#"{"memory": {"limit": -5}}"#,
        expect![
            "config.json: linux.resources.memory.limit: is -5; use a positive number, or -1 for no limit"
        ],
    );
    check_refusal(
        r#"{"memory": {"useHierarchy": false}}"#,
        expect![
            "config.json: linux.resources.memory.useHierarchy: is false, which kernels from 5.11 on do not support; leave it out"
        ],
    );
    check_refusal(
        r#"{"devices": [{"allow": true, "type": "p"}]}"#,
        expect![[r#"config.json: linux.resources.devices[0].type: is "p", a FIFO; use a, b or c"#]],
    );
    check_refusal(
        r#"{"devices": [{"allow": true, "major": -2}]}"#,
        expect!["config.json: linux.resources.devices[0].major: is -2; use 0 to 4294967295"],
    );
    check_refusal(
        r#"{"devices": [{"allow": true, "access": "x"}]}"#,
        expect![[
            r#"config.json: linux.resources.devices[0].access: is "x"; use a combination of r, w and m"#
        ]],
    );
    check_refusal(
        r#"{"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}}"#,
        expect![
            "config.json: linux.resources.blockIO.throttleReadBpsDevice: names device -1:0; use numbers from 0 on"
        ],
    );
    check_refusal(
        r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": -1}]}"#,
        expect![
            "config.json: linux.resources.hugepageLimits: limits 2MB pages to -1; use 0 or more"
        ],
    );
}

#[test]
fn a_new_container_may_use_the_usual_devices_and_no_other() {
    let rules = |json: &str| resources::of_new_container(&spec(json)).unwrap().devices.unwrap();
    let usual = rules("{}");
    assert_eq!(usual, rules(r#"{"resources": {"devices": []}}"#));
    expect!["a *:* rwm"].assert_eq(&usual.rules()[0].to_string());
    assert!(!usual.rules()[0].allow);
}

#[test]
fn an_update_leaves_devices_alone() {
    assert_eq!(convert(r#"{"pids": {"limit": -1}}"#).unwrap().devices, None);
}

#[test]
fn a_container_with_its_own_writable_tree_manages_it() {
    let managed = |namespaces: &str, options: &str| {
        let json = format!(
            r#"{{"ociVersion": "1.2.0", "linux": {{"namespaces": [{namespaces}]}},
                 "mounts": [{{"destination": "/sys/fs/cgroup", "type": "cgroup",
                              "source": "cgroup", "options": [{options}]}}]}}"#
        );
        is_managed_inside(&serde_json::from_str(&json).unwrap())
    };
    assert!(managed(r#"{"type": "cgroup"}"#, r#""nosuid", "rw""#));
    assert!(!managed(r#"{"type": "cgroup"}"#, r#""ro""#));
    assert!(!managed(r#"{"type": "cgroup", "path": "/proc/1/ns/cgroup"}"#, r#""rw""#));
    assert!(!managed(r#"{"type": "pid"}"#, r#""rw""#));
}

#[test]
fn the_lid_is_a_number() {
    let annotations = |value: &str| HashMap::from([(MAX_DESCENDANTS.into(), value.into())]);
    assert_eq!(lid(Some(&annotations("500"))).unwrap().descendants, Some(500));
    assert_eq!(lid(Some(&annotations("max"))).unwrap().descendants, None);
    assert_eq!(lid(None).unwrap().descendants, Some(1000));
    let error = lid(Some(&annotations("many"))).unwrap_err().to_string();
    expect![[r#"config.json: annotations["org.isula.cgroup.max-descendants"]: is "many"; give a number of cgroups, or max"#]].assert_eq(&error);
}
