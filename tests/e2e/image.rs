//! A rootfs on a block device or in an image, and images attached to a container.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Container, Disk, Story, World, leaks, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("image::a_rootfs_in_a_file", NEEDS, file),
        story("image::a_rootfs_on_a_block_device", NEEDS, device),
        story("image::with_root_mapped", NEEDS, mapped),
        story("image::whose_shim_was_killed", NEEDS, killed),
        story("image::a_squashfs_attached", &[ROOT, BUSYBOX, tests::need::MKSQUASHFS], squashfs),
        story("image::what_is_refused", NEEDS, refused),
    ]
}

fn image(world: &World) -> Result<std::path::PathBuf> {
    world.ext4_image(&world.busybox()?)
}

fn nothing_mounted(world: &World, image: &Path) -> Result<()> {
    let directory = image.parent().context("a directory")?;
    world.until("its loop device is gone", std::time::Duration::from_secs(5), || {
        Ok(leaks::loops(directory).is_empty().then_some(()))
    })?;
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    let state = world.state();
    let state = state.to_str().context("a name")?;
    ensure!(!mounts.contains(state), "{mounts}");
    Ok(())
}

fn write_and_read(container: &Container<'_>) -> Result<()> {
    container.exec(["sh", "-c", "echo kept > /root/note; id -u > /root/id"]).ok()?;
    container.isula("restart", ["-t", "0"]).ok()?;
    container.exec(["cat", "/root/note"]).ok()?.expect_stdout("kept\n")?;
    Ok(())
}

fn file(world: &World) -> Result<()> {
    let image = image(world)?;
    let container = world.run(&["--name", "web"], &image, &["sleep", "86400"])?;
    let root = container.exec(["mount"]).ok()?;
    ensure!(root.stdout.contains(" on / type ext4 (rw"), "{root}");
    write_and_read(&container)?;
    ensure!(container.value("/HostConfig/ExternalRootfs")? == image.to_str().context("a name")?);
    let second = world.isula_with("run", &["--rm"], &image, &["true"]).code(125)?;
    let name = image.display();
    ensure!(
        second.stderr.contains(&format!("rootfs {name} is in use by container web")),
        "{second}"
    );
    container.isula("stop", ["-t", "0"]).ok()?;
    nothing_mounted(world, &image)?;
    // What is in it can be had while it is stopped.
    let out = world.path("note");
    world.isula(["cp", "web:/root/note"]).arg(&out).ok()?;
    ensure!(std::fs::read_to_string(&out)? == "kept\n");
    std::fs::write(&out, "changed\n")?;
    world.isula(["cp"]).arg(&out).arg("web:/root/note").ok()?;
    let archive = world.path("archive.tar");
    world.isula(["export", "-o"]).arg(&archive).arg("web").ok()?;
    let listed = world.tool("tar").arg("tf").arg(&archive).ok()?;
    ensure!(listed.stdout.contains("root/note\n"), "{listed}");
    nothing_mounted(world, &image)?;
    container.isula("start", [""; 0]).ok()?;
    container.exec(["cat", "/root/note"]).ok()?.expect_stdout("changed\n")?;
    container.remove()?;
    nothing_mounted(world, &image)?;
    ensure!(image.exists(), "the image is not ours to remove");
    // One that cannot be written is mounted so.
    let options = ["--rm", "--read-only"];
    let said = world.isula_with("run", &options, &image, &["sh", "-c", "mount; ls /root"]).ok()?;
    ensure!(said.stdout.contains(" on / type ext4 (ro"), "{said}");
    nothing_mounted(world, &image)
}

fn device(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    let tree = world.busybox()?;
    world.tool("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&tree).arg(&disk.path).ok()?;
    let container = world.run(&[], Path::new(&disk.path), &["sleep", "86400"])?;
    write_and_read(&container)?;
    container.remove()?;
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    ensure!(!mounts.contains(&disk.path), "{mounts}");
    Ok(())
}

fn mapped(world: &World) -> Result<()> {
    let image = image(world)?;
    let options = ["--system-container", "--user-remap", "100000:100000:65536"];
    let container = world.run(&options, &image, &["sleep", "86400"])?;
    write_and_read(&container)?;
    container.exec(["cat", "/root/id"]).ok()?.expect_stdout("0\n")?;
    container.exec(["stat", "-c", "%u", "/root/note"]).ok()?.expect_stdout("0\n")?;
    container.remove()?;
    // On disk it is the host's root who owns them: nothing was shifted.
    let root = world.new_directory("look")?;
    world.tool("mount").args(["-o", "loop,ro"]).arg(&image).arg(&root).ok()?;
    let owner = world.tool("stat").args(["-c", "%u"]).arg(root.join("root/note")).output();
    world.tool("umount").arg(&root).ok()?;
    owner?.expect_stdout("0\n")?;
    Ok(())
}

fn killed(world: &World) -> Result<()> {
    let image = image(world)?;
    let container = world.run(&[], &image, &["sleep", "86400"])?;
    let shim = tests::processes::of(world.name())
        .into_iter()
        .find(|it| it.argv.iter().any(|word| word.contains("isula-shim")));
    let shim = shim.context("a shim")?;
    world.tool("kill").args(["-9", &shim.pid.to_string()]).ok()?;
    container.exec(["true"]).ok()?;
    container.isula("stop", ["-t", "0"]).ok()?;
    nothing_mounted(world, &image)?;
    container.remove()
}

fn squashfs(world: &World) -> Result<()> {
    let tree = world.new_directory("tree")?;
    std::fs::write(tree.join("file"), "packed\n")?;
    let image = world.new_directory("disk")?.join("image");
    world.tool("mksquashfs").arg(&tree).arg(&image).args(["-quiet", "-no-progress"]).ok()?;
    let mount = format!("type=squashfs,src={},dst=/packed", image.display());
    let container = world.sleeper(&["--mount", &mount])?;
    container.exec(["cat", "/packed/file"]).ok()?.expect_stdout("packed\n")?;
    let refused = container.exec(["touch", "/packed/new"]).output()?;
    ensure!(refused.stderr.contains("Read-only file system"), "{refused}");
    container.isula("restart", ["-t", "0"]).ok()?;
    container.exec(["cat", "/packed/file"]).ok()?.expect_stdout("packed\n")?;
    ensure!(container.value("/Mounts/0/Type")? == "squashfs");
    container.remove()?;
    nothing_mounted(world, &image)
}

fn refused(world: &World) -> Result<()> {
    let told = |path: &Path, text: &str| -> Result<()> {
        let call = world.isula_with("run", &["--rm"], path, &["true"]).code(125)?;
        let stderr = call.stderr.replace(path.to_str().context("a name")?, "IMAGE");
        ensure!(stderr == format!("isula: run: {text}\n"), "{text:?} is not {stderr:?}");
        Ok(())
    };
    let dir = world.new_directory("disk")?;
    let empty = dir.join("empty");
    std::fs::File::create(&empty)?.set_len(1 << 20)?;
    told(
        &empty,
        "IMAGE holds none of ext4, xfs, btrfs, f2fs, squashfs, erofs; mount it and name the \
         directory",
    )?;
    let table = dir.join("table");
    let mut bytes = vec![0; 1 << 20];
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(&table, bytes)?;
    told(&table, "IMAGE holds a partition table; name the partition: losetup --partscan")?;
    told(
        Path::new("/dev/null"),
        "rootfs IMAGE is neither a directory, nor a block device, nor a disk image",
    )?;
    told(&dir.join("none"), "Failed to get rootfs 'IMAGE': no such file or directory (ENOENT)")?;
    // Somebody else has it.
    let image = image(world)?;
    let device =
        world.tool("losetup").args(["--find", "--show"]).arg(&image).ok()?.line().to_owned();
    let call = told(&image, &format!("IMAGE is in use as {device}; unmount it first"));
    world.tool("losetup").args(["-d", &device]).ok()?;
    call?;
    // A directory that became something else, and the other way round.
    let rootfs = world.busybox()?;
    let container = world.create(&[], &rootfs, &["true"])?;
    std::fs::rename(&rootfs, rootfs.with_extension("old"))?;
    std::fs::rename(&image, &rootfs)?;
    let call = container.isula("start", [""; 0]).code(1)?;
    ensure!(call.stderr.contains("was a directory, and is not any more"), "{call}");
    container.remove()
}
