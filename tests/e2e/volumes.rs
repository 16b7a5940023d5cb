//! Volumes: made, filled, kept, shared, and removed when nobody uses them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::need::{BUSYBOX, ROOT, USER_NS};
use tests::{Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("volumes::keep_what_is_written", NEEDS, kept),
        story("volumes::begin_with_what_is_in_their_place", NEEDS, filled),
        story("volumes::without_a_name", NEEDS, anonymous),
        story("volumes::with_root_mapped", &[ROOT, BUSYBOX, USER_NS], mapped),
        story("volumes::made_listed_and_removed", NEEDS, commands),
        story("volumes::of_a_container_that_is_refused", NEEDS, refused),
        story("volumes::whose_maker_is_killed_while_it_copies", NEEDS, killed),
    ]
}

fn data(world: &World, name: &str) -> PathBuf {
    world.root().join("volumes").join(name).join("_data")
}

/// Runs a shell script in a container that goes with it.
fn sh(world: &World, options: &[&str], script: &str) -> Result<tests::Output> {
    let options = [&["--rm"], options].concat();
    world.isula_with("run", &options, &world.busybox()?, &["sh", "-ec", script]).output()
}

fn volume(world: &World, words: &[&str]) -> tests::Call {
    world.isula([&["volume"], words].concat())
}

/// What is left of a copy does not pass for all of it.
fn killed(world: &World) -> Result<()> {
    const FILES: usize = 3000;
    let rootfs = world.busybox()?;
    fs::create_dir(rootfs.join("srv"))?;
    for number in 0..FILES {
        fs::write(rootfs.join(format!("srv/{number}")), "x")?;
    }
    let count = || fs::read_dir(data(world, "big")).map_or(0, Iterator::count);
    for share in [1, 3, 6] {
        let create = world.isula_with("create", &["-v", "big:/srv"], &rootfs, &["true"]);
        let mut create = create.command().stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        world.until("it has copied some", Duration::from_secs(10), || {
            Ok((count() >= FILES * share / 8).then_some(()))
        })?;
        create.kill()?;
        create.wait()?;
        let some = count();
        ensure!(some < FILES, "it was done before it was killed");
        let run = world.isula_with("run", &["--rm", "-v", "big:/srv"], &rootfs, &["true"]);
        run.ok()?;
        ensure!(count() == FILES, "{} of {FILES} files, {some} when it was killed", count());
        volume(world, &["rm", "big"]).ok()?;
    }
    Ok(())
}

fn kept(world: &World) -> Result<()> {
    ensure!(sh(world, &["-v", "data:/srv"], "echo one > /srv/a; cat /srv/a")?.stdout == "one\n");
    let options = ["--mount", "type=volume,src=data,dst=/mnt,readonly"];
    let said = sh(world, &options, "cat /mnt/a; echo two > /mnt/a")?;
    ensure!(said.code() != 0 && said.stdout == "one\n", "{said}");
    ensure!(said.stderr.contains("Read-only file system"), "{said}");
    // It is there for two at once, and while the one that uses it is down.
    let sleeper = world.sleeper(&["-v", "data:/srv", "--name", "user"])?;
    sh(world, &["--volumes-from", "user"], "echo three > /srv/b")?;
    sleeper.exec(["cat", "/srv/b"]).ok()?.expect_stdout("three\n")?;
    ensure!(
        sleeper.value("/Mounts/0")?
            == json!({ "Type": "volume", "Source": data(world, "data"), "Destination": "/srv",
                       "Mode": "rbind,rprivate,rw", "RW": true, "Name": "data",
                       "Driver": "local" })
    );
    ensure!(sleeper.value("/HostConfig/Binds")? == json!(["data:/srv:rbind,rprivate,rw"]));
    sleeper.isula("stop", ["-t", "0"]).ok()?;
    let in_use =
        "isula: volume: rm: volume data is in use by user; remove it first: isula rm user\n";
    volume(world, &["rm", "data"]).code(1)?.expect_stderr(in_use)?;
    sleeper.isula("start", [""; 0]).ok()?;
    sleeper.exec(["cat", "/srv/a"]).ok()?.expect_stdout("one\n")?;
    sleeper.isula("rm", ["-f", "-v"]).ok()?;
    sleeper.forget();
    ensure!(data(world, "data").join("b").exists(), "a volume with a name outlives its users");
    volume(world, &["rm", "data"]).ok()?.expect_stdout("data\n")?;
    ensure!(!world.root().join("volumes/data").exists());
    Ok(())
}

fn filled(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let place = rootfs.join("srv");
    fs::create_dir_all(place.join("deep"))?;
    fs::write(place.join("deep/file"), "there")?;
    std::os::unix::fs::symlink("/etc/shadow", place.join("link"))?;
    std::os::unix::fs::chown(place.join("deep"), Some(1000), Some(1000))?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o2750))?;
    let run = |options: &[&str], script: &str| {
        let options = [&["--rm"], options].concat();
        world.isula_with("run", &options, &rootfs, &["sh", "-ec", script]).ok()
    };
    let look = "cat /srv/deep/file; readlink /srv/link; stat -c '%u %a' /srv /srv/deep";
    let expected = "there/etc/shadow\n0 2750\n1000 755\n";
    run(&["-v", "one:/srv"], look)?.expect_stdout(expected)?;
    // What it has by then stays as it is.
    run(&["-v", "one:/srv"], "rm -r /srv/deep; echo mine > /srv/own")?;
    run(&["-v", "one:/srv"], "ls /srv")?.expect_stdout("link\nown\n")?;
    run(&["-v", "two:/srv:nocopy"], "ls /srv")?.expect_stdout("")?;
    let mount = "type=volume,src=three,dst=/srv,volume-nocopy";
    run(&["--mount", mount], "ls /srv")?.expect_stdout("")?;
    // A link in the rootfs leads nowhere else.
    std::os::unix::fs::symlink("/srv", rootfs.join("way"))?;
    let abroad = world.new_directory("abroad")?;
    fs::write(abroad.join("secret"), "secret")?;
    std::os::unix::fs::symlink(&abroad, rootfs.join("out"))?;
    run(&["-v", "four:/way"], "cat /srv/deep/file")?.expect_stdout("there")?;
    run(&["-v", "five:/out"], "find / -xdev -name secret")?.expect_stdout("")?;
    ensure!(fs::read_dir(data(world, "five"))?.next().is_none(), "something was copied");
    volume(world, &["prune", "-f"]).ok()?.expect_stdout("five\nfour\none\nthree\ntwo\n")?;
    Ok(())
}

fn anonymous(world: &World) -> Result<()> {
    let quiet = || -> Result<String> { Ok(volume(world, &["ls", "-q"]).ok()?.stdout) };
    sh(world, &["-v", "/srv"], "echo gone > /srv/a")?;
    ensure!(quiet()?.is_empty(), "--rm takes it along: {}", quiet()?);
    let one = world.sleeper(&["-v", "/srv", "-v", "named:/mnt", "--name", "one"])?;
    let two = world.sleeper(&["--volumes-from", "one"])?;
    let three = world.sleeper(&["--mount", "type=volume,dst=/srv"])?;
    ensure!(quiet()?.lines().count() == 3, "{}", quiet()?);
    one.isula("rm", ["-f", "-v"]).ok()?;
    one.forget();
    ensure!(quiet()?.lines().count() == 3, "somebody else uses it: {}", quiet()?);
    two.isula("rm", ["-fv"]).ok()?;
    two.forget();
    ensure!(quiet()?.lines().count() == 2, "{}", quiet()?);
    three.remove()?;
    ensure!(quiet()?.lines().count() == 2, "without -v it stays: {}", quiet()?);
    volume(world, &["prune"]).code(1)?.expect_stderr(
        "isula: volume: prune: nobody is there to ask; add --force to remove all unused volumes\n",
    )?;
    ensure!(volume(world, &["prune", "--force"]).ok()?.stdout.lines().count() == 2);
    ensure!(quiet()?.is_empty());
    Ok(())
}

/// The container's root owns its volume, whoever that is on the host.
fn mapped(world: &World) -> Result<()> {
    let tree = world.busybox()?;
    fs::create_dir(tree.join("srv"))?;
    fs::write(tree.join("srv/there"), "there")?;
    std::os::unix::fs::chown(tree.join("srv/there"), Some(1000), Some(1000))?;
    let rootfs = world.on_ext4(&tree)?;
    let options = ["--system-container", "--user-remap", "100000:100000:65536"];
    let options = [&options[..], &["-v", "data:/srv", "-v", "empty:/none"]].concat();
    let container = world.run(&options, &rootfs, &["sleep", "86400"])?;
    let script = "stat -c %u /srv /srv/there /none; echo a > /srv/new; echo b > /none/new";
    container.exec(["sh", "-ec", script]).ok()?.expect_stdout("0\n1000\n0\n")?;
    let owner = |path: &str| -> Result<u32> { Ok(fs::metadata(data(world, path))?.uid()) };
    ensure!(fs::metadata(data(world, "data").join("there"))?.uid() == 101_000);
    ensure!(fs::metadata(data(world, "data").join("new"))?.uid() == 100_000);
    ensure!(owner("empty")? == 100_000);
    container.remove()?;
    volume(world, &["rm", "data", "empty"]).ok().map(drop)
}

fn commands(world: &World) -> Result<()> {
    volume(world, &["create", "-l", "tier=db", "data"]).ok()?.expect_stdout("data\n")?;
    fs::write(data(world, "data").join("a"), "a").context("write into it")?;
    volume(world, &["create", "data"]).ok()?.expect_stdout("data\n")?;
    ensure!(data(world, "data").join("a").exists(), "it stays as it is");
    let random = volume(world, &["create"]).ok()?.line().to_owned();
    ensure!(random.len() == 64, "{random}");
    let user =
        world.create(&["-v", "data:/srv", "--name", "user"], &world.busybox()?, &["true"])?;
    let filtered = |filter: &str| -> Result<String> {
        Ok(volume(world, &["ls", "-q", "-f", filter]).ok()?.stdout)
    };
    for filter in ["name=dat", "label=tier", "label=tier=db", "dangling=false"] {
        ensure!(filtered(filter)? == "data\n", "{filter}: {}", filtered(filter)?);
    }
    ensure!(filtered("dangling=true")? == format!("{random}\n"));
    ensure!(filtered("label=tier=web")?.is_empty());
    let format = ["ls", "--format", "{{.Name}} {{.Driver}} {{.Users}} {{.Labels}}"];
    ensure!(volume(world, &format).ok()?.stdout.contains("data local user tier=db\n"));
    let shown = volume(world, &["inspect", "data"]).ok()?;
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout)?;
    ensure!(shown[0]["Mountpoint"] == json!(data(world, "data")), "{shown}");
    ensure!(shown[0]["Users"] == json!(["user"]) && shown[0]["Labels"]["tier"] == "db", "{shown}");
    let refusals: [(&[&str], &str); 6] = [
        (&["create", "a/b"], "create: Invalid volume name (a/b), only"),
        (&["create", "-l", "=x"], "create: invalid label \"=x\"; write KEY or KEY=VALUE"),
        (&["ls", "-f", "x"], "ls: Invalid filter 'x'; use name=, label= or dangling=true|false"),
        (&["inspect", "nil"], "inspect: no volume is called \"nil\"; list them: isula volume ls"),
        (&["rm", "../x"], "rm: no volume is called \"../x\"; list them: isula volume ls"),
        (&["rm", "data"], "rm: volume data is in use by user; remove it first: isula rm user"),
    ];
    for (words, text) in refusals {
        volume(world, words).code(1)?.expect_stderr(&format!("isula: volume: {text}"))?;
    }
    user.remove()?;
    volume(world, &["rm", "-f", "nil", "data", &random]).ok()?;
    ensure!(filtered("name=")?.is_empty());
    Ok(())
}

fn refused(world: &World) -> Result<()> {
    volume(world, &["create", "old"]).ok()?;
    let rootfs = world.busybox()?;
    fs::write(rootfs.join("file"), "")?;
    let options = ["-v", "old:/srv", "-v", "new:/mnt", "-v", "/opt", "-v", "last:/file"];
    world
        .isula_with("create", &options, &rootfs, &["true"])
        .code(125)?
        .expect_stderr("copy /file to volume last: it is no directory; choose another place")?;
    volume(world, &["ls", "-q"]).ok()?.expect_stdout("old\n")?;
    volume(world, &["rm", "old"]).ok().map(drop)
}
