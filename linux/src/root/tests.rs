use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use expect_test::{Expect, expect};

use super::*;

/// A hostile tree, and the host directory that its links point at.
struct Trees {
    inside: tempfile::TempDir,
    outside: tempfile::TempDir,
}

impl Trees {
    fn new() -> Self {
        let trees =
            Self { inside: tempfile::tempdir().unwrap(), outside: tempfile::tempdir().unwrap() };
        let (inside, outside) = (trees.inside.path(), trees.outside.path());
        std::fs::write(outside.join("secret"), "host").unwrap();
        std::fs::create_dir_all(inside.join("etc")).unwrap();
        std::fs::write(inside.join("etc/hostname"), "web").unwrap();
        symlink(outside, inside.join("absolute")).unwrap();
        symlink(outside.join("secret"), inside.join("absolute-file")).unwrap();
        symlink("../../../../../../../..", inside.join("up")).unwrap();
        symlink(format!("../../../../../../../..{}", outside.display()), inside.join("relative"))
            .unwrap();
        symlink("loop2", inside.join("loop1")).unwrap();
        symlink("loop1", inside.join("loop2")).unwrap();
        symlink("/run/lock", inside.join("dangling")).unwrap();
        symlink("/etc", inside.join("settings")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        trees
    }

    fn root(&self) -> Root {
        Root::open(self.inside.path()).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.inside.path().join(path)
    }

    fn assert_outside_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(self.outside.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(std::fs::read(self.outside.path().join("secret")).unwrap(), b"host");
    }
}

fn check(error: Result<impl std::fmt::Debug>, text: Expect) {
    text.assert_eq(&error.unwrap_err().to_string());
}

fn inode(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

#[test]
fn links_and_dots_stay_inside() {
    let trees = Trees::new();
    let root = trees.root();
    let top = std::fs::metadata(trees.inside.path()).unwrap().ino();
    for path in
        ["", "/", ".", "..", "../../..", "/../..", "up", "up/up/..", "etc/../../..", "settings/.."]
    {
        assert_eq!(inode(root.resolve(path).unwrap()), top, "{path}");
    }
    assert_eq!(root.read_file("settings/hostname", 64).unwrap(), b"web");
    assert_eq!(root.read_file("/etc/../../etc/hostname", 64).unwrap(), b"web");
    for path in ["absolute/secret", "absolute-file", "relative/secret"] {
        assert!(root.read_file(path, 64).unwrap_err().is(Errno::NOENT), "{path}");
        assert!(!root.exists(path).unwrap(), "{path}");
    }
    assert_eq!(root.read_link("settings").unwrap(), Path::new("/etc"));
    check(root.read_link("etc"), expect![[r#"read link "etc": invalid argument (EINVAL)"#]]);
    check(
        root.resolve("loop1"),
        expect![[r#"find "loop1": too many levels of symbolic links (ELOOP)"#]],
    );
    // The link is resolved inside, where there is no /proc.
    assert!(root.resolve("magic").unwrap_err().is(Errno::NOENT));
}

#[test]
fn magic_links_are_refused() {
    let root = Root::open("/").unwrap();
    assert!(root.resolve("/proc/self/root").unwrap_err().is(Errno::LOOP));
    assert!(root.mkdir_all("/proc/self/root/tmp/x", 0o755).unwrap_err().is(Errno::LOOP));
}

#[test]
fn mkdir_all_makes_what_is_missing_inside() {
    let trees = Trees::new();
    let root = trees.root();
    let made = root.mkdir_all("a/b/../c", 0o2751).unwrap();
    assert_eq!(inode(&made), std::fs::metadata(trees.path("a/c")).unwrap().ino());
    assert_eq!(made.metadata_mode(), 0o2751, "whatever the umask");
    root.mkdir_all("a/c", 0o700).unwrap();
    assert_eq!(made.metadata_mode(), 0o2751, "what was there is left as it is");

    // A link to what is missing: what it names is made, inside.
    root.mkdir_all("dangling/sub", 0o755).unwrap();
    assert!(trees.path("run/lock/sub").is_dir());
    root.mkdir_all("settings/ssl", 0o755).unwrap();
    assert!(trees.path("etc/ssl").is_dir());
    root.mkdir_all("absolute/x", 0o755).unwrap();
    let mirrored = trees.outside.path().strip_prefix("/").unwrap().join("x");
    assert!(trees.inside.path().join(&mirrored).is_dir(), "the host's path, but inside");
    root.mkdir_all("../../../escaped", 0o755).unwrap();
    assert!(trees.path("escaped").is_dir());
    assert_eq!(inode(root.mkdir_all("..", 0o755).unwrap()), inode(&root));

    check(
        root.mkdir_all("loop1/x", 0o755),
        expect![[r#"make directory "loop1/x": too many levels of symbolic links (ELOOP)"#]],
    );
    check(
        root.mkdir_all("etc/hostname/x", 0o755),
        expect![[r#"make directory "etc/hostname/x": not a directory (ENOTDIR)"#]],
    );
    check(
        root.mkdir_all("etc/hostname", 0o755),
        expect![[r#"make directory "etc/hostname": not a directory (ENOTDIR)"#]],
    );
    trees.assert_outside_untouched();
}

trait MetadataMode {
    fn metadata_mode(&self) -> u32;
}

impl MetadataMode for OwnedFd {
    fn metadata_mode(&self) -> u32 {
        rustix::fs::fstat(self).unwrap().st_mode & 0o7777
    }
}

#[test]
fn create_file_makes_a_mount_target() {
    let trees = Trees::new();
    let root = trees.root();
    let file = root.create_file("x/y/resolv.conf", 0o666).unwrap();
    assert_eq!(file.metadata_mode(), 0o666);
    assert!(trees.path("x/y/resolv.conf").is_file());
    root.create_file("etc/hostname", 0o600).unwrap();
    assert_eq!(std::fs::read(trees.path("etc/hostname")).unwrap(), b"web", "left as it is");
    let _socket = UnixListener::bind(trees.path("socket")).unwrap();
    root.create_file("socket", 0o600).unwrap();
    root.create_file("absolute-file", 0o600).unwrap();
    check(root.create_file("etc", 0o600), expect![[r#"create "etc": is a directory (EISDIR)"#]]);
    check(root.create_file("..", 0o600), expect![[r#"create "..": is a directory (EISDIR)"#]]);
    check(
        root.create_file("loop1", 0o600),
        expect![[r#"create "loop1": too many levels of symbolic links (ELOOP)"#]],
    );
    trees.assert_outside_untouched();
}

#[test]
fn only_regular_files_are_opened() {
    let trees = Trees::new();
    let root = trees.root();
    root.mknod("fifo", DeviceKind::Fifo, 0o666, DeviceNumber::default()).unwrap();
    let _socket = UnixListener::bind(trees.path("socket")).unwrap();
    // A FIFO without a writer would wait for ever.
    check(
        root.read_file("fifo", 64),
        expect![[r#"read "fifo": invalid argument (EINVAL); it is not a regular file"#]],
    );
    check(
        root.open_file("fifo", OFlags::RDONLY),
        expect![[r#"open "fifo": invalid argument (EINVAL); it is not a regular file"#]],
    );
    check(
        root.read_file("socket", 64),
        expect![[r#"read "socket": invalid argument (EINVAL); it is not a regular file"#]],
    );
    check(root.read_file("etc", 64), expect![[r#"read "etc": is a directory (EISDIR)"#]]);
    check(
        root.read_file("etc/hostname", 2),
        expect![[r#"read "etc/hostname": file too large (EFBIG)"#]],
    );
    let text = root.open_file("settings/hostname", OFlags::RDONLY).unwrap();
    assert_eq!(file::read_all(&text, 64).unwrap(), b"web");
    assert!(
        root.open_file("settings", OFlags::RDONLY | OFlags::NOFOLLOW).unwrap_err().is(Errno::LOOP)
    );
    for flags in [OFlags::CREATE, OFlags::TMPFILE] {
        assert!(root.open_file("etc", flags | OFlags::RDWR).unwrap_err().is(Errno::INVAL));
    }
}

#[test]
fn write_lasting_replaces_files_and_nothing_else() {
    let trees = Trees::new();
    let root = trees.root();
    root.write_lasting("settings/hostname", "db", 0o640, None).unwrap();
    assert_eq!(std::fs::read(trees.path("etc/hostname")).unwrap(), b"db");
    let metadata = std::fs::metadata(trees.path("etc/hostname")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    root.write_lasting("etc/hosts", "", 0o644, Some((metadata.uid(), metadata.gid()))).unwrap();
    assert_eq!(root.list("etc").unwrap().len(), 2, "no temporary file is left");

    check(
        root.write_lasting("absolute-file", "x", 0o644, None),
        expect![[
            r#"write "absolute-file": too many levels of symbolic links (ELOOP); it is a symbolic link, or below a loop of them"#
        ]],
    );
    check(
        root.write_lasting("etc", "x", 0o644, None),
        expect![[r#"write "etc": is a directory (EISDIR)"#]],
    );
    check(
        root.write_lasting("..", "x", 0o644, None),
        expect![[r#"write "..": invalid argument (EINVAL)"#]],
    );
    check(
        root.write_lasting("none/x", "x", 0o644, None),
        expect![[r#"write "none/x": no such file or directory (ENOENT)"#]],
    );
    trees.assert_outside_untouched();
}

#[test]
fn nodes_and_links_are_made_once() {
    let trees = Trees::new();
    let root = trees.root();
    let make = |path| root.mknod(path, DeviceKind::Fifo, 0o622, DeviceNumber::default());
    assert_eq!(make("settings/fifo"), Ok(Change::Made));
    assert_eq!(make("etc/fifo"), Ok(Change::AlreadyThere));
    assert_eq!(root.stat("etc/fifo").unwrap().st_mode & 0o7777, 0o622, "whatever the umask");
    check(
        make("etc/hostname"),
        expect![[
            r#"make node "etc/hostname": file exists (EEXIST); something else is there; remove it first"#
        ]],
    );
    // A link to the very node is not the node.
    root.symlink("etc/fifo", "fifo").unwrap();
    assert!(make("fifo").unwrap_err().is(Errno::EXIST));
    assert!(make("absolute-file").unwrap_err().is(Errno::EXIST));

    assert_eq!(root.symlink("/proc/mounts", "etc/mtab"), Ok(Change::Made));
    assert_eq!(root.symlink("/proc/mounts", "etc/mtab"), Ok(Change::AlreadyThere));
    check(
        root.symlink("other", "etc/mtab"),
        expect![[
            r#"make link "etc/mtab": file exists (EEXIST); something else is there; remove it first"#
        ]],
    );
    root.unlink("etc/mtab").unwrap();
    root.unlink("absolute").unwrap();
    assert!(root.stat_no_follow("absolute").unwrap_err().is(Errno::NOENT));
    check(root.unlink("etc"), expect![[r#"remove "etc": is a directory (EISDIR)"#]]);
    check(root.rmdir("etc"), expect![[r#"remove "etc": directory not empty (ENOTEMPTY)"#]]);
    trees.assert_outside_untouched();
}

#[test]
fn a_subtree_is_a_root_of_its_own() {
    let trees = Trees::new();
    let sub = trees.root().subtree("etc").unwrap();
    assert_eq!(sub.read_file("/hostname", 64).unwrap(), b"web");
    assert!(!sub.exists("../loop1").unwrap());
    assert!(trees.root().subtree("etc/hostname").unwrap_err().is(Errno::NOTDIR));
}

#[test]
fn nul_bytes_are_refused() {
    let root = Trees::new().root();
    assert!(root.mkdir_all("a\0b", 0o755).unwrap_err().is(Errno::INVAL));
    assert!(root.resolve("a\0b").unwrap_err().is(Errno::INVAL));
}

/// Somebody inside swaps a directory for a link to the host as fast as the kernel allows.
#[test]
fn a_racing_rename_wins_nothing() {
    let trees = Trees::new();
    let root = trees.root();
    std::fs::create_dir(trees.path("dir")).unwrap();
    std::fs::write(trees.path("dir/secret"), "inside").unwrap();
    symlink(trees.outside.path(), trees.path("link")).unwrap();
    let done = AtomicBool::new(false);
    let mut reads = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let top = std::fs::File::open(trees.inside.path()).unwrap();
            while !done.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&top, "dir", &top, "link", exchange).unwrap();
            }
        });
        for round in 0..3000 {
            let _ = root.mkdir_all(format!("dir/{}/x", round % 7), 0o755);
            let _ = root.create_file(format!("dir/f{}", round % 7), 0o644);
            let _ = root.mknod("dir/fifo", DeviceKind::Fifo, 0o600, DeviceNumber::default());
            let _ = root.symlink("x", "dir/s");
            // It syncs to disk, which takes longer than all the rest.
            if round % 50 == 0 {
                let _ = root.write_lasting("dir/text", "x", 0o644, None);
            }
            let _ = root.unlink("dir/fifo");
            let _ = root.unlink("dir/text");
            if let Ok(text) = root.read_file("dir/secret", 64) {
                assert_eq!(text, b"inside");
                reads += 1;
            }
            let _ = root.resolve("dir/../dir/../dir/../etc/..");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(reads > 0, "the race was lost at least once");
    trees.assert_outside_untouched();
}
