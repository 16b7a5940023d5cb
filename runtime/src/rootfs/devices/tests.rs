use expect_test::{Expect, expect};
use oci_spec::runtime::LinuxDeviceBuilder;

use super::*;

fn device(path: &str, typ: LinuxDeviceType, major: i64, minor: i64) -> LinuxDevice {
    LinuxDeviceBuilder::default().path(path).typ(typ).major(major).minor(minor).build().unwrap()
}

fn refused(device: LinuxDevice, text: Expect) {
    text.assert_eq(&nodes(&[device], None).unwrap_err().to_string());
}

#[test]
fn a_device_of_the_bundle_takes_the_place_of_a_default_one() {
    let mut null = device("/dev/null", LinuxDeviceType::C, 1, 3);
    null.set_file_mode(Some(0o100_640));
    let nodes = nodes(&[null, device("/dev/fuse", LinuxDeviceType::U, 10, 229)], None).unwrap();
    assert_eq!(nodes.len(), DEFAULT.len() + 1);
    let null: Vec<&Node> = nodes.iter().filter(|node| node.path.ends_with("null")).collect();
    assert_eq!((null.len(), null[0].mode), (1, 0o640));
}

#[test]
fn a_node_that_cannot_be_is_refused() {
    refused(
        device("dev/null", LinuxDeviceType::C, 1, 3),
        expect!["config.json: linux.devices[0]: path dev/null is not absolute and plain"],
    );
    refused(
        device("/dev/../etc/x", LinuxDeviceType::C, 1, 3),
        expect!["config.json: linux.devices[0]: path /dev/../etc/x is not absolute and plain"],
    );
    refused(
        device("/dev/x", LinuxDeviceType::A, 1, 3),
        expect!["config.json: linux.devices[0]: type a is for rules, not nodes"],
    );
    refused(
        device("/dev/x", LinuxDeviceType::B, -1, 3),
        expect!["config.json: linux.devices[0]: major -1 is no device number"],
    );
}
