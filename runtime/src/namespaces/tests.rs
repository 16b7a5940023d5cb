use expect_test::{Expect, expect};
use oci_spec::runtime::{
    LinuxBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxTimeOffsetBuilder,
};

use super::*;

fn linux(kinds: &[LinuxNamespaceType]) -> Linux {
    let list: Vec<LinuxNamespace> = kinds
        .iter()
        .map(|&kind| LinuxNamespaceBuilder::default().typ(kind).build().unwrap())
        .collect();
    LinuxBuilder::default().namespaces(list).build().unwrap()
}

fn offsets(clock: &str) -> HashMap<String, LinuxTimeOffset> {
    let offset = LinuxTimeOffsetBuilder::default().secs(-5).nanosecs(7_u32).build().unwrap();
    HashMap::from([(clock.to_owned(), offset)])
}

fn refused(linux: &Linux, text: Expect) {
    text.assert_eq(&Namespaces::of(linux).unwrap_err().to_string());
}

#[test]
fn cgroup_and_time_are_not_cloned() {
    use LinuxNamespaceType::{Cgroup, Mount, Pid, Time};
    let namespaces = Namespaces::of(&linux(&[Pid, Mount, Cgroup, Time])).unwrap();
    assert_eq!(namespaces.clone_flags(), CloneFlags::NEWPID | CloneFlags::NEWNS);
    assert!(namespaces.is_new(Kind::Time) && namespaces.has(Kind::Cgroup));
    assert!(!namespaces.has(Kind::User));
}

#[test]
fn what_cannot_be_is_refused() {
    use LinuxNamespaceType::{Mount, Pid};
    refused(
        &linux(&[Pid, Mount, Pid]),
        expect!["config.json: linux.namespaces[2]: a second pid namespace"],
    );
    refused(
        &linux(&[Pid]),
        expect![[
            r#"config.json: linux.namespaces: a container needs a mount namespace of its own; add {"type": "mount"}"#
        ]],
    );
    let mut joined = linux(&[Mount]);
    let path = LinuxNamespaceBuilder::default().typ(Mount).path("/proc/1/ns/mnt").build().unwrap();
    joined.set_namespaces(Some(vec![path]));
    refused(
        &joined,
        expect![
            "config.json: linux.namespaces[0]: joining a mount namespace is not supported; leave out the path"
        ],
    );
    let mut shifted = linux(&[Mount]);
    shifted.set_time_offsets(Some(offsets("boottime")));
    refused(
        &shifted,
        expect![[
            r#"config.json: linux.timeOffsets: needs a time namespace of the container's own; add {"type": "time"}"#
        ]],
    );
}

#[test]
fn offsets_are_lines_of_clock_seconds_and_nanoseconds() {
    assert_eq!(offsets_text(&offsets("monotonic")).unwrap(), "monotonic -5 7\n");
    expect!["config.json: linux.timeOffsets.realtime: no such clock; the kernel shifts monotonic and boottime"]
        .assert_eq(&offsets_text(&offsets("realtime")).unwrap_err().to_string());
}
