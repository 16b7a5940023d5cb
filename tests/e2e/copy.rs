//! Files into containers and out of them: cp both ways, export.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, OUR_RUNTIME, ROOT, USER_NS};
use tests::{Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("copy::into_one_that_runs_and_out_again", NEEDS, round_trip),
        story("copy::into_one_that_is_stopped", NEEDS, stopped),
        story("copy::links_inside_do_not_lead_out", NEEDS, links),
        story("copy::what_is_refused", NEEDS, refused),
        story("copy::owners_with_mapped_ids", &[ROOT, BUSYBOX, USER_NS, OUR_RUNTIME], mapped),
        story("copy::export_is_the_rootfs", NEEDS, export),
    ]
}

fn round_trip(world: &World) -> Result<()> {
    let container = world.sleeper(&["--tmpfs", "/scratch", "--name", "web"])?;
    let dir = world.new_directory("files")?;
    fs::create_dir(dir.join("sub"))?;
    fs::write(dir.join("sub/script"), "#!/bin/sh\necho it runs\n")?;
    fs::set_permissions(dir.join("sub/script"), PermissionsExt::from_mode(0o755))?;
    std::os::unix::fs::chown(dir.join("sub/script"), Some(1234), Some(1234))?;
    // As the guide has it: into a directory that is there, and to one that is not.
    world.isula(["cp"]).arg(dir.join("sub")).arg("web:/scratch").ok()?.expect_stdout("")?;
    container.exec(["sh", "/scratch/sub/script"]).ok()?.expect_stdout("it runs\n")?;
    let owner = container.exec(["stat", "-c", "%u:%g", "/scratch/sub/script"]).ok()?;
    owner.expect_stdout("0:0\n")?;
    world.isula(["cp", "-a"]).arg(dir.join("sub")).arg("web:/kept").ok()?;
    let owner = container.exec(["stat", "-c", "%u:%g", "/kept/script"]).ok()?;
    owner.expect_stdout("1234:1234\n")?;

    container.exec(["sh", "-c", "echo from inside > /scratch/sub/new"]).ok()?;
    world.isula(["cp", "web:/scratch/sub/."]).arg(dir.join("out")).ok()?;
    ensure!(fs::read_to_string(dir.join("out/new"))? == "from inside\n", "a tmpfs is seen");
    ensure!(fs::metadata(dir.join("out/script"))?.uid() == 0, "owned by who copies");
    world.isula(["cp", "web:/etc/passwd"]).arg(&dir).ok()?;
    ensure!(dir.join("passwd").exists(), "into a directory");
    // A file in the place of an empty directory, as the guide shows.
    fs::create_dir(dir.join("file_to_dir"))?;
    container.exec(["touch", "/file_to_dir"]).ok()?;
    world.isula(["cp", "web:/file_to_dir"]).arg(&dir).ok()?;
    ensure!(fs::metadata(dir.join("file_to_dir"))?.is_file(), "it is a file now");
    // A paused one is read as well.
    container.isula("pause", [""; 0]).ok()?;
    world.isula(["cp", "web:/scratch/sub/new"]).arg(dir.join("paused")).ok()?;
    container.isula("unpause", [""; 0]).ok()?;
    container.remove()
}

fn stopped(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.create(&[], &rootfs, &["cat", "/root/message"])?;
    let dir = world.new_directory("files")?;
    fs::write(dir.join("message"), "hello\n")?;
    let place = |path: &str| format!("{}:{path}", container.id());
    world.isula(["cp"]).arg(dir.join("message")).arg(place("/root/message")).ok()?;
    container.isula("start", ["-a"]).ok()?.expect_stdout("hello\n")?;
    world.isula(["cp"]).arg(place("/root/message")).arg(dir.join("back")).ok()?;
    ensure!(fs::read_to_string(dir.join("back"))? == "hello\n", "and back");
    container.remove()
}

/// The guest owns its tree; the host's files are not in it.
fn links(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.run(&[], &rootfs, &["sleep", "86400"])?;
    let dir = world.new_directory("files")?;
    let secret = dir.join("secret");
    fs::write(&secret, "the host's")?;
    symlink(&secret, rootfs.join("leak"))?;
    symlink(&dir, rootfs.join("way-out"))?;
    let place = |path: &str| format!("{}:{path}", container.id());
    // A link is copied as a link; followed, it leads nowhere.
    world.isula(["cp"]).arg(place("/leak")).arg(dir.join("link")).ok()?;
    ensure!(fs::read_link(dir.join("link"))? == secret, "a link");
    world
        .isula(["cp", "-L"])
        .arg(place("/leak"))
        .arg(dir.join("stolen"))
        .code(1)?
        .expect_stderr("no such file or directory (ENOENT)")?;
    ensure!(!dir.join("stolen").exists(), "nothing was copied");
    fs::write(dir.join("mine"), "new")?;
    world.isula(["cp"]).arg(dir.join("mine")).arg(place("/leak")).ok()?;
    ensure!(fs::read_to_string(&secret)? == "the host's", "not written through");
    ensure!(fs::read_to_string(rootfs.join("leak"))? == "new", "the link was replaced");
    world.isula(["cp"]).arg(dir.join("mine")).arg(place("/way-out/planted")).code(1)?;
    ensure!(!dir.join("planted").exists(), "nothing was planted");
    container.remove()
}

fn refused(world: &World) -> Result<()> {
    let container = world.sleeper(&["--read-only", "--name", "web"])?;
    let refused = |args: [&str; 2], text: &str| -> Result<()> {
        world.isula(["cp"]).args(args).code(1)?.expect_stderr(text)?;
        Ok(())
    };
    refused(["/etc/passwd", "web:/passwd"], "container rootfs is marked read-only")?;
    refused(["/etc/passwd", "/tmp/x"], "must specify at least one container source")?;
    refused(["web:/a", "web:/b"], "copying between containers is not supported; copy twice")?;
    refused(["web:/no/such", "/tmp/x"], "no such file or directory (ENOENT)")?;
    refused(["web:/dev/null", "/tmp/x"], "copy null: it is a device; only its program may use it")?;
    container.remove()?;
    let container = world.sleeper(&["--name", "web"])?;
    refused(["/etc/passwd", "web:/none/"], "no such directory: /none/; make it first")?;
    container.remove()
}

fn mapped(world: &World) -> Result<()> {
    let rootfs = world.on_ext4(&world.busybox()?)?;
    let options = ["--system-container", "--user-remap", "100000:100000:65536", "--name", "web"];
    let container = world.run(&options, &rootfs, &["sleep", "86400"])?;
    let dir = world.new_directory("files")?;
    fs::write(dir.join("note"), "hello\n")?;
    std::os::unix::fs::chown(dir.join("note"), Some(12), Some(34))?;
    let inside = |path: &str| -> Result<String> {
        Ok(container.exec(["stat", "-c", "%u:%g", path]).ok()?.line().to_owned())
    };
    world.isula(["cp"]).arg(dir.join("note")).arg("web:/root/").ok()?;
    ensure!(inside("/root/note")? == "0:0", "root's: {}", inside("/root/note")?);
    world.isula(["cp", "-a"]).arg(dir.join("note")).arg("web:/root/kept").ok()?;
    ensure!(inside("/root/kept")? == "12:34", "kept: {}", inside("/root/kept")?);
    world.isula(["cp", "-a", "web:/root/kept"]).arg(dir.join("back")).ok()?;
    let back = fs::metadata(dir.join("back"))?;
    ensure!((back.uid(), back.gid()) == (12, 34), "{}:{}", back.uid(), back.gid());
    world
        .isula(["cp"])
        .arg(dir.join("note"))
        .arg("web:/run/")
        .code(1)?
        .expect_stderr("is on a mount of the container's user namespace")?;
    container.remove()
}

fn export(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    fs::write(rootfs.join("hello"), "hello\n")?;
    fs::hard_link(rootfs.join("hello"), rootfs.join("again"))?;
    symlink("/etc/shadow", rootfs.join("link"))?;
    let long = "d".repeat(120);
    fs::create_dir_all(rootfs.join(&long).join(&long))?;
    fs::write(rootfs.join(&long).join(&long).join("deep"), "deep\n")?;
    let container = world.create(&[], &rootfs, &["true"])?;
    let dir = world.new_directory("export")?;
    let file = dir.join("rootfs.tar");
    container.isula("export", ["-o", &*file.to_string_lossy()]).ok()?.expect_stdout("")?;
    let out = dir.join("out");
    fs::create_dir(&out)?;
    world.tool("tar").args(["-C"]).arg(&out).arg("-xf").arg(&file).ok()?;
    world.tool("diff").args(["-r", "--no-dereference"]).arg(&rootfs).arg(&out).ok()?;
    let (one, two) = (fs::metadata(out.join("hello"))?, fs::metadata(out.join("again"))?);
    ensure!(one.ino() == two.ino(), "one file of two names");
    ensure!(!dir.join("rootfs.tar.partial").exists(), "nothing beside it");
    container.remove()
}
