use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;

use super::*;

fn place(path: &Path) -> Place {
    let directory = Root::open(path.parent().unwrap()).unwrap();
    Place { directory, name: path.file_name().unwrap().to_owned() }
}

fn rules() -> Rules {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Rules { owner: Owner::Always(uid, gid), devices: false, set_id: false }
}

#[test]
fn a_tree_is_copied_with_modes_and_links_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir_all(from.join("a/b")).unwrap();
    fs::write(from.join("a/program"), "x".repeat(100_000)).unwrap();
    fs::set_permissions(from.join("a/program"), PermissionsExt::from_mode(0o4755)).unwrap();
    fs::set_permissions(from.join("a/b"), PermissionsExt::from_mode(0o700)).unwrap();
    symlink("/etc/shadow", from.join("a/link")).unwrap();
    copy(&place(&from), &place(&to), &rules()).unwrap();
    assert_eq!(fs::read(to.join("a/program")).unwrap().len(), 100_000);
    let mode = |path: &str| fs::metadata(to.join(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("a/program"), 0o755, "set-id is dropped");
    assert_eq!(mode("a/b"), 0o700);
    assert_eq!(fs::read_link(to.join("a/link")).unwrap(), Path::new("/etc/shadow"));
    let modified = |path: &Path| fs::metadata(path).unwrap().mtime_nsec();
    assert_eq!(modified(&from.join("a/program")), modified(&to.join("a/program")));
    // Once more: merged, and nothing of ours is left.
    copy(&place(&from), &place(&to), &rules()).unwrap();
    assert_eq!(fs::read_dir(to.join("a")).unwrap().count(), 3);
}

#[test]
fn what_is_in_the_way_is_replaced_and_never_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let outside = dir.path().join("outside");
    fs::write(&outside, "mine").unwrap();
    fs::write(&from, "new").unwrap();
    symlink(&outside, &to).unwrap();
    copy(&place(&from), &place(&to), &rules()).unwrap();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
    assert_eq!(fs::read_to_string(&to).unwrap(), "new");

    fs::remove_file(&to).unwrap();
    fs::create_dir(&to).unwrap();
    copy(&place(&from), &place(&to), &rules()).unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), "new", "an empty directory gives way");

    fs::remove_file(&to).unwrap();
    fs::create_dir_all(to.join("full")).unwrap();
    let error = copy(&place(&from), &place(&to), &rules()).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "copy from: a directory that is not empty is in its place; remove it first"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "no temporary file is left");
}

#[test]
fn ids_are_moved_or_refused() {
    let owner = Owner::Moved { from: (100_000, 100_000), to: (0, 0), size: 10 };
    let mut stat = rustix::fs::stat("/").unwrap();
    (stat.st_uid, stat.st_gid) = (100_005, 100_009);
    assert_eq!(owner.of(&stat).unwrap(), (5, 9));
    stat.st_uid = 5;
    assert_eq!(
        owner.of(&stat).unwrap_err().to_string(),
        "owner 5:100009 is nobody on the other side; leave --archive out"
    );
}
