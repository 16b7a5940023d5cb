use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use expect_test::expect;
use linux::cgroup::devices::{Access, DeviceRule, DeviceRules, Kind};
use linux::cgroup::{Cgroup, Version};
use linux::process::ExitStatus;
use linux::{Change, CloneFlags};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::{World, child, read};

crate::cases![
    v1_rules_bind_a_process,
    v2_rules_bind_a_process,
    v1_a_running_process_sees_the_change,
    v2_a_running_process_sees_the_change,
    v1_a_grant_reaches_cgroups_below,
    v1_one_device_is_granted_and_withdrawn,
    v2_one_device_is_granted_and_withdrawn,
    v2_where_nothing_is_guarded_nothing_is_begun,
    v2_one_program_is_replaced,
    v1_a_hole_in_a_wildcard_is_refused,
];

/// The usual ones without /dev/zero, and that only if asked for.
fn rules(zero: Option<&str>) -> DeviceRules {
    let zero_numbers = (Some(1), Some(5));
    let mut rules = vec![DeviceRule::everything(false)];
    let is_zero = |rule: &DeviceRule| (rule.major, rule.minor) == zero_numbers;
    rules.extend(DeviceRules::baseline().into_iter().filter(|rule| !is_zero(rule)));
    if let Some(access) = zero {
        let access = access.parse().unwrap();
        rules.push(DeviceRule::allow(Kind::Char, Some(1), Some(5), access));
    }
    DeviceRules::new(rules)
}

/// What a process may do with devices, a bit each.
fn probe() -> i32 {
    let open = |path: &str, write: bool| {
        let file = fs::OpenOptions::new().read(!write).write(write).custom_flags(0).open(path);
        i32::from(file.is_ok())
    };
    let mode = Mode::from_raw_mode(0o600);
    // Block and character devices; the first may be made by all, the second is not mounted here.
    let node = |kind, number| i32::from(mknodat(CWD, "/mnt/node", kind, mode, number).is_ok());
    let made = node(FileType::BlockDevice, makedev(7, 77));
    let opened = open("/mnt/node", false);
    let _ = fs::remove_file("/mnt/node");
    open("/dev/null", true)
        | open("/dev/zero", false) << 1
        | open("/dev/zero", true) << 2
        | made << 3
        | opened << 4
}

fn probe_in(cgroup: &Cgroup) -> i32 {
    let (_, pidfd) = child(cgroup, CloneFlags::empty(), probe);
    match pidfd.wait().unwrap() {
        ExitStatus::Exited(code) => code,
        other => panic!("{other}"),
    }
}

fn bind(version: Version) {
    let world = devices_of(version);
    let cgroup = world.create("a");
    let devices = cgroup.devices();
    assert_eq!(devices.set(&rules(None)).unwrap(), Change::Made);
    assert_eq!(probe_in(&cgroup), 0b0_1001);
    assert_eq!(devices.set(&rules(None)).unwrap(), Change::AlreadyThere);
    assert_eq!(devices.set(&rules(Some("r"))).unwrap(), Change::Made);
    assert_eq!(probe_in(&cgroup), 0b0_1011);
    assert_eq!(devices.set(&rules(Some("rw"))).unwrap(), Change::Made);
    assert_eq!(probe_in(&cgroup), 0b0_1111);
    assert_eq!(devices.set(&rules(Some("w"))).unwrap(), Change::Made);
    assert_eq!(probe_in(&cgroup), 0b0_1101);
    devices.set(&DeviceRules::new(vec![DeviceRule::everything(false)])).unwrap();
    assert_eq!(probe_in(&cgroup), 0);
    devices.set(&DeviceRules::new(vec![DeviceRule::everything(true)])).unwrap();
    assert_eq!(probe_in(&cgroup) & 0b0_1111, 0b0_1111);
}

fn devices_of(version: Version) -> World {
    let world = World::only(version);
    if version == Version::V1 && world.layout.with("devices").is_none() {
        crate::skip("no devices controller is mounted");
    }
    world
}

fn v1_rules_bind_a_process() {
    bind(Version::V1);
}

fn v2_rules_bind_a_process() {
    bind(Version::V2);
}

fn change(version: Version) {
    let world = devices_of(version);
    let cgroup = world.create("a");
    cgroup.devices().set(&rules(None)).unwrap();
    let (asked, ask) = rustix::pipe::pipe().unwrap();
    let (answers, answer) = rustix::pipe::pipe().unwrap();
    let (_, pidfd) = child(&cgroup, CloneFlags::empty(), || {
        for _ in 0..3 {
            rustix::io::read(&asked, &mut [0u8]).unwrap();
            rustix::io::write(&answer, &[u8::try_from(probe()).unwrap()]).unwrap();
        }
        0
    });
    let now = || {
        rustix::io::write(&ask, b"?").unwrap();
        let mut code = [0u8];
        rustix::io::read(&answers, &mut code).unwrap();
        code[0]
    };
    assert_eq!(now(), 0b0_1001);
    cgroup.devices().set(&rules(Some("rw"))).unwrap();
    assert_eq!(now(), 0b0_1111);
    cgroup.devices().set(&rules(None)).unwrap();
    assert_eq!(now(), 0b0_1001);
    assert!(pidfd.wait().unwrap().is_success());
}

fn v1_a_running_process_sees_the_change() {
    change(Version::V1);
}

fn v2_a_running_process_sees_the_change() {
    change(Version::V2);
}

fn v1_a_grant_reaches_cgroups_below() {
    let world = devices_of(Version::V1);
    let cgroup = world.create("a");
    cgroup.devices().set(&rules(None)).unwrap();
    let dir = cgroup.controller_dir("devices").unwrap();
    fs::create_dir_all(dir.join("service/worker")).unwrap();
    let has_zero = |dir: &Path| read(dir.join("devices.list")).contains("c 1:5 rw");
    cgroup.devices().set(&rules(Some("rw"))).unwrap();
    for below in ["", "service", "service/worker"] {
        assert!(has_zero(&dir.join(below)), "{below}");
    }
    cgroup.devices().set(&rules(None)).unwrap();
    for below in ["", "service", "service/worker"] {
        assert!(!has_zero(&dir.join(below)), "{below}");
    }
    // From one general answer to the other there is no way with cgroups below.
    let all = DeviceRules::new(vec![DeviceRule::everything(true)]);
    let error = cgroup.devices().set(&all).unwrap_err();
    expect![[r#"write "a" to TOP/TEST/a/devices.allow: invalid argument (EINVAL)"#]]
        .assert_eq(&world.plain(&error));
}

/// `access` to /dev/zero.
fn zero(access: &str) -> DeviceRule {
    DeviceRule::allow(Kind::Char, Some(1), Some(5), access.parse().unwrap())
}

fn grant_and_withdraw(version: Version) {
    let world = devices_of(version);
    let cgroup = world.create("a");
    let devices = cgroup.devices();
    devices.set(&rules(Some("r"))).unwrap();
    let both = rules(Some("rw"));
    assert_eq!(devices.grant(&zero("rw"), &both).unwrap(), Change::Made);
    assert_eq!(probe_in(&cgroup), 0b0_1111);
    assert_eq!(devices.grant(&zero("rw"), &both).unwrap(), Change::AlreadyThere);
    // What the rest of the rules grants stays.
    assert_eq!(devices.withdraw(&zero("rw"), &rules(Some("r"))).unwrap(), Change::Made);
    assert_eq!(probe_in(&cgroup), 0b0_1011);
    assert_eq!(devices.withdraw(&zero("r"), &rules(None)).unwrap(), Change::Made);
    assert_eq!(probe_in(&cgroup), 0b0_1001);
}

fn v1_one_device_is_granted_and_withdrawn() {
    grant_and_withdraw(Version::V1);
    let world = devices_of(Version::V1);
    let cgroup = world.create("a");
    cgroup.devices().set(&rules(None)).unwrap();
    let dir = cgroup.controller_dir("devices").unwrap();
    fs::create_dir_all(dir.join("service/worker")).unwrap();
    let has_zero = |below: &str| read(dir.join(below).join("devices.list")).contains("c 1:5 rw");
    cgroup.devices().grant(&zero("rw"), &rules(Some("rw"))).unwrap();
    assert!(has_zero("") && has_zero("service") && has_zero("service/worker"));
    assert_eq!(cgroup.devices().lets_through(&zero("r")).unwrap(), Some(true));
    // Somebody who was killed on the way down is followed by one who goes all of it.
    fs::write(dir.join("service/worker/devices.deny"), "c 1:5 rw").unwrap();
    cgroup.devices().grant(&zero("rw"), &rules(Some("rw"))).unwrap();
    assert!(has_zero("service/worker"));
    cgroup.devices().withdraw(&zero("rw"), &rules(None)).unwrap();
    assert!(!has_zero("") && !has_zero("service") && !has_zero("service/worker"));
    assert_eq!(cgroup.devices().lets_through(&zero("r")).unwrap(), Some(false));
}

fn v2_one_device_is_granted_and_withdrawn() {
    grant_and_withdraw(Version::V2);
}

fn v2_where_nothing_is_guarded_nothing_is_begun() {
    let world = devices_of(Version::V2);
    let cgroup = world.create("a");
    let devices = cgroup.devices();
    assert_eq!(devices.grant(&zero("rw"), &rules(Some("rw"))).unwrap(), Change::AlreadyThere);
    assert_eq!(devices.withdraw(&zero("rw"), &rules(None)).unwrap(), Change::AlreadyThere);
    assert_eq!(probe_in(&cgroup) & 0b0_1111, 0b0_1111);
}

fn v2_one_program_is_replaced() {
    let world = devices_of(Version::V2);
    let cgroup = world.create("a");
    let dir = cgroup.unified_dir().unwrap().to_str().unwrap();
    if std::process::Command::new("bpftool").arg("version").output().is_err() {
        crate::skip("no bpftool");
    }
    let show = || crate::tell("bpftool", &["cgroup", "show", dir]);
    for zero in [None, Some("r"), Some("rw")] {
        cgroup.devices().set(&rules(zero)).unwrap();
        let text = show();
        let ours: Vec<_> = text.lines().filter(|line| line.contains("isula_devices")).collect();
        assert_eq!(ours.len(), 1, "{text}");
        assert!(ours[0].contains("multi"), "{text}");
    }
}

fn v1_a_hole_in_a_wildcard_is_refused() {
    let world = devices_of(Version::V1);
    let cgroup = world.create("a");
    let all = Access::ALL;
    let hole = DeviceRules::new(vec![
        DeviceRule::allow(Kind::Char, Some(10), None, all),
        DeviceRule { allow: false, ..DeviceRule::allow(Kind::Char, Some(10), Some(229), all) },
    ]);
    let before = read(cgroup.controller_dir("devices").unwrap().join("devices.list"));
    let error = cgroup.devices().set(&hole).unwrap_err();
    expect![[r#"device rule "deny c 10:229 rwm" within "c 10:* rwm": operation not supported (EOPNOTSUPP); cgroup v1 cannot except a part of a wildcard; list the devices one by one"#]]
        .assert_eq(&world.plain(&error));
    assert_eq!(read(cgroup.controller_dir("devices").unwrap().join("devices.list")), before);
}
