use expect_test::{Expect, expect};
use oci_spec::runtime::LinuxIdMappingBuilder;

use super::*;

fn map(container: u32, host: u32, size: u32) -> LinuxIdMapping {
    LinuxIdMappingBuilder::default()
        .container_id(container)
        .host_id(host)
        .size(size)
        .build()
        .unwrap()
}

fn refused(maps: Vec<LinuxIdMapping>, text: Expect) {
    let error = IdMaps::checked("linux", maps, vec![map(0, 0, 1)]).unwrap_err();
    text.assert_eq(&error.to_string());
}

#[test]
fn ids_go_through_the_entry_that_covers_them() {
    let maps = vec![map(0, 100_000, 1000), map(1000, 500_000, 10)];
    let maps = IdMaps::checked("linux", maps.clone(), maps).unwrap();
    assert_eq!(maps.host_uid(0), Some(100_000));
    assert_eq!(maps.host_uid(1009), Some(500_009));
    assert_eq!(maps.host_gid(1010), None);
    assert!(maps.covers(100_999, 500_000));
    assert!(!maps.covers(0, 100_000));
}

#[test]
fn the_kernel_reads_one_line_an_entry() {
    assert_eq!(text(&[map(0, 100_000, 65536), map(65536, 7, 1)]), "0 100000 65536\n65536 7 1\n");
}

#[test]
fn a_wrong_map_is_named() {
    refused(
        vec![],
        expect![
            "config.json: linux.uidMappings: is missing; a user namespace needs at least the container's root"
        ],
    );
    refused(
        vec![map(0, 5, 0)],
        expect!["config.json: linux.uidMappings: entry 0 maps no id; give it a size"],
    );
    refused(
        vec![map(0, u32::MAX, 2)],
        expect!["config.json: linux.uidMappings: entry 0 goes beyond the last id: hostID + size"],
    );
    refused(
        vec![map(0, 5, 10), map(9, 50, 1)],
        expect!["config.json: linux.uidMappings: entries 0 and 1 overlap"],
    );
    refused(
        vec![map(0, 5, 10), map(10, 14, 1)],
        expect!["config.json: linux.uidMappings: entries 0 and 1 overlap"],
    );
    refused(
        vec![map(0, 5, 1); 341],
        expect!["config.json: linux.uidMappings: has 341 entries; the kernel takes 340"],
    );
}
