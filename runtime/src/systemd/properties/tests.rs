use expect_test::{Expect, expect};
use linux::cgroup::layout::Version;
use linux::cgroup::{CgroupPath, Hierarchy, Layout};

use super::*;

fn check(properties: &[Property], expect: Expect) {
    let lines: Vec<String> =
        properties.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
    expect.assert_eq(&lines.concat());
}

/// A cgroup of files.
fn cgroup(version: Version, controllers: &[&str], files: &[(&str, &str)]) -> Vec<Property> {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    std::fs::create_dir(top.join("web")).unwrap();
    for (file, text) in files {
        std::fs::write(top.join("web").join(file), text).unwrap();
    }
    let hierarchy = Hierarchy::new(version, controllers, top.to_str().unwrap(), "/");
    let layout = Layout::of(vec![hierarchy]);
    limits(&Cgroup::open(&layout, &CgroupPath::parse("web").unwrap()).unwrap()).unwrap()
}

#[test]
fn files_of_v2_are_told_as_properties() {
    let told = cgroup(
        Version::V2,
        &["memory", "cpu", "cpuset", "pids", "io"],
        &[
            ("memory.max", "1048576\n"),
            ("memory.swap.max", "max\n"),
            ("cpu.weight", "79\n"),
            ("cpu.max", "20000 50000\n"),
            ("cpuset.cpus", "0-2,9\n"),
            ("cpuset.mems", "\n"),
            ("pids.max", "33\n"),
            ("io.weight", "default 100\n8:0 50\n"),
            ("io.bfq.weight", "default 500\n"),
        ],
    );
    check(
        &told,
        expect![[r#"
            MemoryMax uint64 1048576
            MemorySwapMax uint64 18446744073709551615
            TasksMax uint64 33
            CPUWeight uint64 79
            CPUQuotaPerSecUSec uint64 400000
            CPUQuotaPeriodUSec uint64 50000
            AllowedCPUs [byte 0x07, 0x02]
            IOWeight uint64 4500
        "#]],
    );
}

#[test]
fn files_of_v1_are_told_as_properties() {
    let told = cgroup(
        Version::V1,
        &["memory", "cpu", "cpuset", "pids", "blkio"],
        &[
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("cpu.shares", "512\n"),
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.cfs_period_us", "100000\n"),
            ("cpuset.cpus", "0-2,9\n"),
            ("pids.max", "max\n"),
            ("blkio.bfq.weight", "300\n"),
        ],
    );
    check(
        &told,
        expect![[r#"
            MemoryMax uint64 18446744073709551615
            TasksMax uint64 18446744073709551615
            CPUShares uint64 512
            BlockIOWeight uint64 300
            CPUQuotaPerSecUSec uint64 18446744073709551615
            CPUQuotaPeriodUSec uint64 100000
        "#]],
    );
}

#[test]
fn device_rules_are_told_as_a_list() {
    let mut rules = DeviceRules::new(vec![
        DeviceRule::everything(false),
        DeviceRule::allow(Kind::Char, Some(1), Some(3), "rw".parse().unwrap()),
        DeviceRule::allow(Kind::Char, Some(136), None, "rwm".parse().unwrap()),
        DeviceRule::allow(Kind::Block, None, None, "m".parse().unwrap()),
    ]);
    check(
        &devices(&rules).unwrap(),
        expect![[r#"
            DevicePolicy "strict"
            DeviceAllow @a(ss) []
            DeviceAllow [("block-*", "m"), ("/dev/char/1:3", "rw"), ("char-136", "rwm")]
        "#]],
    );
    rules.push(DeviceRule::allow(Kind::Char, None, Some(7), "r".parse().unwrap()));
    let refused = devices(&rules).unwrap_err().to_string();
    expect![[r#"config.json: linux.resources.devices: has "c *:7 r", which systemd has no words for; name the major number, or have the engine use cgroupfs"#]].assert_eq(&refused);
    check(
        &devices(&DeviceRules::new(vec![DeviceRule::everything(true)])).unwrap(),
        expect![[r#"
            DevicePolicy "auto"
            DeviceAllow @a(ss) []
        "#]],
    );
}

#[test]
fn annotations_are_honoured_or_refused() {
    let one = |key: &str, text: &str| {
        annotated(&[(format!("{ANNOTATION}{key}"), text.to_owned())].into())
    };
    check(
        &annotated(
            &[
                ("org.systemd.property.KillSignal", "37"),
                ("org.systemd.property.TimeoutStopUSec", "uint64 10000000"),
                ("org.systemd.property.CollectMode", "'inactive-or-failed'"),
                ("other", "1"),
            ]
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .into(),
        )
        .unwrap(),
        expect![[r#"
            CollectMode "inactive-or-failed"
            KillSignal 37
            TimeoutStopUSec uint64 10000000
        "#]],
    );
    for (key, text, expect) in [
        (
            "KillSignal",
            "TERM",
            expect![[
                r#"config.json: annotations["org.systemd.property.KillSignal"]: is not the number of a signal"#
            ]],
        ),
        (
            "TimeoutStopUSec",
            "10s",
            expect![[
                r#"config.json: annotations["org.systemd.property.TimeoutStopUSec"]: is not a number of microseconds"#
            ]],
        ),
        (
            "CollectMode",
            "never",
            expect![[
                r#"config.json: annotations["org.systemd.property.CollectMode"]: is not inactive or inactive-or-failed"#
            ]],
        ),
        (
            "ExecStop",
            "/bin/true",
            expect![[
                r#"config.json: annotations["org.systemd.property.ExecStop"]: is not honoured; leave it out (KillSignal, TimeoutStopUSec and CollectMode are)"#
            ]],
        ),
    ] {
        expect.assert_eq(&one(key, text).unwrap_err().to_string());
    }
}
