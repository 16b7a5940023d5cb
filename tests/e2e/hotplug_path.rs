//! Directories and files of the host into running containers.

use std::fs;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, FUSE, IDMAP_TMPFS, ROOT};
use tests::{Story, World, story};

use crate::added::{pair, sh, source};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_path::a_directory_comes_and_goes", &[ROOT, BUSYBOX], directory),
        story("hotplug_path::read_only_holds_below_too", &[ROOT, BUSYBOX], read_only),
        story("hotplug_path::a_single_file", &[ROOT, BUSYBOX], file),
        story("hotplug_path::with_root_mapped", &[ROOT, BUSYBOX, IDMAP_TMPFS], mapped),
        story("hotplug_path::only_our_mount_is_removed", &[ROOT, BUSYBOX], others),
        story("hotplug_path::what_is_refused", &[ROOT, BUSYBOX], refused),
        story("hotplug_path::a_source_that_leads_elsewhere_now", &[ROOT, BUSYBOX], repointed),
        story("hotplug_path::links_lead_nowhere_else", &[ROOT, BUSYBOX], hostile),
        story("hotplug_path::a_source_that_never_answers", &[ROOT, BUSYBOX, FUSE], unanswered),
    ]
}

fn mounts_of_host() -> Result<String> {
    Ok(fs::read_to_string("/proc/thread-self/mountinfo")?)
}

fn directory(world: &World) -> Result<()> {
    let host = source(world)?;
    let shown = host.display().to_string();
    let before = mounts_of_host()?;
    let container = world.sleeper(&["--name", "web"])?;
    world
        .tools(["add-path", "web", &pair(&host, "/srv/deep/data")])
        .ok()?
        .expect_stdout(&format!("Add path ({shown}) to container(web,/srv/deep/data) done.\n"))?;
    let look = sh(
        &container,
        "cat /srv/deep/data/file; echo inside > /srv/deep/data/new; \
                               stat -c %a /srv /srv/deep; ls -d /.sharedpath",
    )?;
    ensure!(look.stdout == "host\n755\n755\n", "{look}");
    ensure!(fs::read_to_string(host.join("new"))? == "inside\n", "it is written to the host");
    ensure!(mounts_of_host()? == before, "no mount appeared on the host");
    let mounts = sh(&container, "grep -c deep /proc/mounts")?;
    ensure!(mounts.stdout == "1\n", "one mount, and no other: {mounts}");
    world
        .tools(["list-path", "web"])
        .ok()?
        .expect_stdout(&format!("[\"{shown}:/srv/deep/data:rw,rslave\"]\n"))?;
    world.tools(["remove-path", "web", &pair(&host, "/srv/deep/data")]).ok()?.expect_stdout(
        &format!("Remove path ({shown}) from container(web,/srv/deep/data) done\n"),
    )?;
    let gone = sh(&container, "ls /srv/deep/data; grep -c deep /proc/mounts")?;
    ensure!(gone.stdout == "0\n", "the mount is gone, its place is left: {gone}");
    world.tools(["list-path", "web"]).ok()?.expect_stdout("[]\n")?;
    container.remove()
}

fn read_only(world: &World) -> Result<()> {
    let host = source(world)?;
    fs::create_dir(host.join("below"))?;
    world
        .tool("mount")
        .args(["-t", "tmpfs", "-o", "mode=755,nosuid,nodev,noexec", "tmpfs"])
        .arg(host.join("below"))
        .ok()?;
    fs::write(host.join("below/file"), "below\n")?;
    let container = world.sleeper(&["--name", "web"])?;
    world.tools(["add-path", "web", &format!("{}:ro", pair(&host, "/m"))]).ok()?;
    let look = sh(&container, "cat /m/file /m/below/file; touch /m/x || touch /m/below/x")?;
    ensure!(look.stdout == "host\nbelow\n" && look.code() != 0, "{look}");
    ensure!(look.stderr.matches("Read-only file system").count() == 2, "{look}");
    let flags = sh(&container, "grep ' /m/below ' /proc/mounts")?;
    for flag in ["ro,", "nosuid", "nodev", "noexec"] {
        ensure!(flags.stdout.contains(flag), "flags of the source stay: {flags}");
    }
    fs::write(host.join("below/x"), "the host still writes")?;
    // The same directory again, at another place and in another way.
    world.tools(["add-path", "web", &pair(&host, "/rw")]).ok()?;
    ensure!(sh(&container, "touch /rw/y /rw/below/y")?.code() == 0, "this one can be written");
    world.tools(["remove-path", "web", &pair(&host, "/m"), &pair(&host, "/rw")]).ok()?;
    let none = sh(&container, "grep -c -e ' /m' -e ' /rw' /proc/mounts")?;
    ensure!(none.stdout == "0\n", "{none}");
    world.tool("umount").arg(host.join("below")).ok()?;
    container.remove()
}

fn file(world: &World) -> Result<()> {
    let host = source(world)?.join("file");
    let container = world.sleeper(&["--name", "web"])?;
    world.tools(["add-path", "web", &format!("{}:ro", pair(&host, "/etc/deep/one"))]).ok()?;
    ensure!(sh(&container, "cat /etc/deep/one")?.stdout == "host\n", "the file is there");
    let other = pair(&host, "/tmp");
    world.tools(["add-path", "web", &other]).code(4)?.expect_stderr("is a directory")?;
    world.tools(["remove-path", "web", &pair(&host, "/etc/deep/one")]).ok()?;
    ensure!(sh(&container, "cat /etc/deep/one")?.stdout.is_empty(), "its place is an empty file");
    container.remove()
}

fn mapped(world: &World) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let host = source(world)?;
    let container = world.run(
        &[
            "--system-container",
            "--name",
            "web",
            "--user-remap",
            "100000:100000:65536",
            "--cap-add",
            "SYS_ADMIN",
        ],
        &world.busybox()?,
        &["sleep", "1000"],
    )?;
    world.tools(["add-path", "web", &pair(&host, "/data")]).ok()?;
    let look =
        sh(&container, "stat -c %u /data/file && echo inside > /data/new && stat -c %u /data/new")?;
    ensure!(look.stdout == "0\n0\n", "files of the host's root are the container's root's: {look}");
    ensure!(fs::metadata(host.join("new"))?.uid() == 0, "and the other way round");
    // One that belongs to the container's ids already is shown as it is.
    let own = source(world)?;
    std::os::unix::fs::chown(&own, Some(100_000), Some(100_000))?;
    world.tools(["add-path", "web", &pair(&own, "/own")]).ok()?;
    ensure!(sh(&container, "stat -c %u /own")?.stdout == "0\n", "it is the root's");
    world.tools(["remove-path", "web", &pair(&host, "/data"), &pair(&own, "/own")]).ok()?;
    // What is read-only its root cannot make writable, nor what it binds of it; it may unmount it.
    fs::create_dir(host.join("below"))?;
    world.tool("mount").args(["-t", "tmpfs", "tmpfs"]).arg(host.join("below")).ok()?;
    let file = host.join("file");
    let (dir, file) = (format!("{}:ro", pair(&host, "/ro")), format!("{}:ro", pair(&file, "/one")));
    world.tools(["add-path", "web", &dir, &file]).ok()?;
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    let look = sh(
        &container,
        "cat /ro/file /one; stat -c %u /ro/file; mkdir -p /again; mount --bind /ro /again; \
         for at in /ro /one /ro/below /again; do mount -o remount,bind,rw $at && echo $at; done; \
         touch /ro/x || touch /ro/below/x || touch /again/x || echo x > /one || umount /again",
    )?;
    ensure!(look.stdout == "host\nhost\n0\n" && look.code() == 0, "{look}");
    world.tools(["remove-path", "web", &dir, &file]).ok()?;
    ensure!(sh(&container, "grep -c -e ' /ro' -e ' /one' /proc/mounts")?.stdout == "0\n", "gone");
    world.tool("umount").arg(host.join("below")).ok()?;
    container.remove()
}

fn others(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = world.run(
        &["--name", "web", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"],
        &world.busybox()?,
        &["sleep", "1000"],
    )?;
    let path = pair(&host, "/m");
    world.tools(["add-path", "web", &path]).ok()?;
    ensure!(sh(&container, "umount /m")?.code() == 0, "the container takes it away itself");
    world.tools(["remove-path", "web", &path]).ok()?;
    world.tools(["add-path", "web", &path]).ok()?;
    sh(&container, "mount -t tmpfs theirs /m")?;
    world
        .tools(["remove-path", "web", &path])
        .code(4)?
        .expect_stderr("something else is mounted on /m in the container")?;
    let theirs = sh(&container, "grep -c theirs /proc/mounts")?;
    ensure!(theirs.stdout == "1\n", "theirs stays: {theirs}");
    sh(&container, "umount /m")?;
    world.tools(["remove-path", "web", &path]).ok()?;
    let none = sh(&container, "grep -c ' /m' /proc/mounts")?;
    ensure!(none.stdout == "0\n", "{none}");
    container.remove()
}

fn refused(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    let missing = world.path("missing");
    let add = |path: &str| world.tools(["add-path", "web", path]);
    add(&pair(&missing, "/m")).code(1)?.expect_stderr("make it first, or use --create")?;
    ensure!(!missing.exists(), "no directory appears on the host");
    add(&pair(&host, "/")).code(2)?.expect_stderr("it is the root of the container")?;
    add(&pair(&host, "/proc/x")).code(2)?.expect_stderr("it belongs to the kernel")?;
    add("relative:/m").code(2)?.expect_stderr("only absolute path is allowed")?;
    add(&format!("{}:shared", pair(&host, "/m"))).code(2)?.expect_stderr("invalid permissions")?;
    add(&pair(&host, "/a/b")).ok()?;
    add(&pair(&host, "/a/b")).code(4)?.expect_stderr("Mount more than one host paths")?;
    add(&pair(&host, "/a")).code(4)?.expect_stderr("would hide /a/b")?;
    world.tools(["add-path", "--create", "web", &pair(&missing, "/made")]).ok()?;
    ensure!(missing.is_dir(), "asked for, it is made");
    world
        .tools(["remove-path", "web", &pair(&host, "/other")])
        .code(4)?
        .expect_stderr("Failed to remove path: fail to find bind")?;
    let many: Vec<String> = (0..129).map(|number| pair(&host, &format!("/p{number}"))).collect();
    let many = ["add-path", "web"].into_iter().chain(many.iter().map(String::as_str));
    world.tools(many).code(5)?.expect_stderr("Path already reach max limit")?;
    let none = sh(&container, "ls / | grep -c '^p[0-9]'")?;
    ensure!(none.stdout == "0\n", "none of too many is added: {none}");
    container.remove()
}

fn repointed(world: &World) -> Result<()> {
    let (one, two) = (source(world)?, source(world)?);
    let link = world.path("link");
    std::os::unix::fs::symlink(&one, &link)?;
    let container = world.sleeper(&["--name", "web"])?;
    world.tools(["add-path", "web", &pair(&link, "/m")]).ok()?;
    fs::remove_file(&link)?;
    std::os::unix::fs::symlink(&two, &link)?;
    world.tools(["remove-path", "web", &pair(&link, "/m")]).ok()?;
    let none = sh(&container, "grep -c ' /m' /proc/mounts")?;
    ensure!(none.stdout == "0\n", "it is known by what it led to: {none}");
    for dir in [one, two] {
        ensure!(dir.join("file").exists(), "the data of {} is as it was", dir.display());
    }
    container.remove()
}

fn hostile(world: &World) -> Result<()> {
    let (host, victim) = (source(world)?, world.new_directory("victim")?);
    let container = world.sleeper(&["--name", "web"])?;
    sh(&container, &format!("ln -s {} /esc; ln -s / /top", victim.display()))?;
    world.tools(["add-path", "web", &pair(&host, "/esc/data")]).ok()?;
    ensure!(victim.read_dir()?.next().is_none(), "nothing appeared on the host");
    let inside = sh(&container, "cat /esc/data/file")?;
    ensure!(inside.stdout == "host\n", "it is where the link leads inside: {inside}");
    world.tools(["add-path", "web", &pair(&host, "/top")]).code(4)?.expect_stderr("the root")?;
    world.tools(["remove-path", "web", &pair(&host, "/esc/data")]).ok()?;
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid()?))?;
    let left = mounts.lines().filter(|line| line.contains("/data ")).count();
    ensure!(left == 0, "it is gone:\n{mounts}");
    container.remove().context("remove it")
}

/// A filesystem whose server is there and does not answer: whoever looks at it waits.
fn unanswered(world: &World) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    let dir = world.new_directory("fuse")?;
    let server = fs::File::options().read(true).write(true).open("/dev/fuse")?;
    let fd = server.as_raw_fd();
    world.mount("fuse", &dir, &format!("fd={fd},rootmode=40000,user_id=0,group_id=0"))?;
    let container = world.sleeper(&["--name", "web"])?;
    let path = pair(&dir, "/m");
    world
        .tools(["--timeout", "1", "add-path", "web", &path])
        .code(7)?
        .expect_stderr("container web does not answer for 1 s")?;
    // The lock is free, and other things can be done.
    world.tools(["add-device", "web", "/dev/fuse:/dev/n1"]).ok()?;
    world.tools(["list-path", "web"]).ok()?.expect_stdout("[]\n")?;
    drop(server);
    container.remove()
}
