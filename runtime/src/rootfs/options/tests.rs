use expect_test::{Expect, expect};
use oci_spec::runtime::MountBuilder;

use super::*;

fn parse(typ: &str, words: &[&str]) -> Result<Options> {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let mount =
        MountBuilder::default().destination("/mnt").typ(typ).options(words).build().unwrap();
    Options::of(&mount, 3)
}

fn refused(words: &[&str], text: Expect) {
    text.assert_eq(&parse("tmpfs", words).unwrap_err().to_string());
}

#[test]
fn a_bind_type_needs_no_option() {
    assert_eq!(parse("bind", &[]).unwrap().bind, Some(Recursion::Single));
    assert_eq!(parse("none", &["rbind"]).unwrap().bind, Some(Recursion::Recursive));
    assert_eq!(parse("none", &["rbind", "bind"]).unwrap().bind, Some(Recursion::Recursive));
    assert_eq!(parse("tmpfs", &[]).unwrap().bind, None);
}

#[test]
fn an_r_in_front_means_the_whole_tree() {
    let options = parse("bind", &["ro", "rnosuid", "relatime", "rnoatime", "rro"]).unwrap();
    assert!(options.own.is_read_only());
    assert_eq!(options.own.atime, Some(Atime::Relative));
    assert_eq!(options.all.set, Flags::READ_ONLY | Flags::NOSUID);
    assert_eq!(options.all.atime, Some(Atime::Never));
    assert!(options.parameters.is_empty());
}

#[test]
fn the_last_word_wins() {
    let own = parse("tmpfs", &["ro", "rw"]).unwrap().own;
    assert_eq!((own.set, own.clear), (Flags::empty(), Flags::READ_ONLY));
    let options = parse("bind", &["rprivate", "rslave"]).unwrap();
    assert_eq!(options.propagation, Some((Propagation::Slave, Recursion::Recursive)));
}

#[test]
fn what_is_no_attribute_goes_to_the_filesystem() {
    let options = parse("tmpfs", &["nosuid", "mode=755", "size=64m", "newinstance"]).unwrap();
    assert_eq!(
        options.parameters,
        [
            ("mode".to_owned(), Some("755".to_owned())),
            ("size".to_owned(), Some("64m".to_owned())),
            ("newinstance".to_owned(), None),
        ]
    );
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    refused(
        &["mand"],
        expect![
            "config.json: mounts[3] (/mnt): option \"mand\" is gone from Linux 5.15; leave it out"
        ],
    );
    refused(&["=x"], expect!["config.json: mounts[3] (/mnt): option \"=x\" has no name"]);
}

/// Flags of the superblock, which fsconfig(2) takes by name (vfs_parse_sb_flag, fs_context.c).
const OF_EVERY_FILESYSTEM: [&str; 5] = ["async", "dirsync", "lazytime", "nolazytime", "sync"];

#[test]
fn every_word_that_is_offered_is_known() {
    for word in MOUNT_OPTIONS {
        let mut options = Options::default();
        options.take(word).unwrap();
        let passed_on = !options.parameters.is_empty();
        assert_eq!(passed_on, OF_EVERY_FILESYSTEM.contains(word), "{word}");
    }
}
