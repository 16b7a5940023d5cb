//! Filesystems in a container that take a question and keep it: nobody of the host waits for ever.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use linux::mount::{Attributes, attach, new_filesystem};
use linux::ns::{Kind, Namespace, in_mount_ns};
use linux::process::Pid;
use rustix::fs::{Mode, OFlags};
use tests::need::{BUSYBOX, FUSE, ROOT};
use tests::{Container, Disk, Story, World, story};

use crate::added::{nodes, pair, sh, source};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX, FUSE];
    vec![
        story("hotplug_silent::who_adds_to_it_is_told", NEEDS, told),
        story("hotplug_silent::who_takes_back_is_told", NEEDS, taken_back),
        story("hotplug_silent::who_looks_is_told", NEEDS, looked_at),
        story("hotplug_silent::other_containers_are_followed_meanwhile", NEEDS, others),
    ]
}

/// Of enum fuse_opcode of linux/fuse.h.
const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const SAID: &str = "container web does not answer for 1 s";

/// A filesystem of the container's at `place`, whose server we are.
struct Silent(File);

impl Silent {
    fn mount(container: &Container<'_>, place: &str) -> Result<Self> {
        sh(container, &format!("mkdir -p {place}"))?;
        let server = File::options().read(true).write(true).open("/dev/fuse")?;
        let fd = server.as_raw_fd().to_string();
        let mode = [("rootmode", Some("40000")), ("user_id", Some("0")), ("group_id", Some("0"))];
        let options = [&[("fd", Some(&*fd))], &mode[..]].concat();
        let made = new_filesystem("fuse", Some("silent"), &options, &Attributes::default())?;
        let pid = Pid::new(i32::try_from(container.pid()?)?).context("a pid")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = rustix::fs::open(format!("/proc/{pid}/root{place}"), flags, Mode::empty())?;
        let mounts = Namespace::of_pid(pid, Kind::Mount)?;
        in_mount_ns(&mounts, || attach(&made, &target))?;
        Ok(Self(server))
    }

    /// What the next question is about, and its number. struct fuse_in_header of linux/fuse.h.
    fn next(&mut self) -> Result<(u32, [u8; 8])> {
        let mut question = vec![0; 1 << 18];
        let count = self.0.read(&mut question)?;
        ensure!(count >= 40, "a question is longer than {count} bytes");
        let kind = u32::from_ne_bytes(question[4..8].try_into()?);
        Ok((kind, question[8..16].try_into()?))
    }

    /// Answers what every filesystem is asked first, so that it takes further questions.
    fn greet(&mut self) -> Result<()> {
        let (kind, number) = self.next()?;
        ensure!(kind == INIT, "the first question is {kind}");
        // struct fuse_out_header and fuse_init_out of version 7.31.
        let mut answer = Vec::from(80_u32.to_ne_bytes());
        answer.extend(0_u32.to_ne_bytes());
        answer.extend(number);
        for word in [7, 31, 0, 0, 12 << 16 | 16, 1 << 17, 1, 32, 0, 0, 0, 0, 0, 0, 0, 0_u32] {
            answer.extend(word.to_ne_bytes());
        }
        Ok(self.0.write_all(&answer)?)
    }

    /// Takes a question that somebody waits for the answer of, and gives none.
    fn keep_a_question(&mut self) -> Result<()> {
        while ![LOOKUP, GETATTR, STATFS].contains(&self.next()?.0) {}
        Ok(())
    }

    /// Ends, and takes the mount away.
    fn end(self, world: &World, container: &Container<'_>) -> Result<()> {
        drop(self);
        let pid = container.pid()?.to_string();
        let umount = ["--target", &pid, "--mount", "umount", "-l", "/hung"];
        world.tool("nsenter").args(umount).ok().map(drop)
    }
}

/// The first line that the command says on stderr, while it may not be able to end.
fn complaint(child: &mut std::process::Child) -> Result<String> {
    let mut line = String::new();
    BufReader::new(child.stderr.take().context("a pipe")?).read_line(&mut line)?;
    Ok(line)
}

fn told(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    let mut silent = Silent::mount(&container, "/hung")?;
    silent.greet()?;
    let add = world.tools(["--timeout", "1", "add-path", "web", &pair(&host, "/hung/x")]);
    let mut add = add.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    silent.keep_a_question()?;
    let line = complaint(&mut add)?;
    ensure!(line.contains(SAID), "{line:?}");
    ensure!(line.contains("it does with the container"), "{line:?}");
    // Links need none of its files.
    world.tools(["list-path", "web"]).ok()?.expect_stdout("[]\n")?;
    drop(silent);
    let ended = add.wait()?;
    ensure!(ended.code() == Some(7), "{ended}");
    world.tools(["add-path", "web", &pair(&host, "/m")]).ok()?;
    ensure!(sh(&container, "cat /m/file")?.stdout == "host\n", "it can be added to again");
    container.remove()
}

/// What was begun there can be taken back by nobody, and whoever tries is told.
fn taken_back(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    // It does not even take a question: the command can end.
    let silent = Silent::mount(&container, "/hung")?;
    let one = pair(&host, "/hung/x");
    world.tools(["--timeout", "1", "add-path", "web", &one]).code(7)?.expect_stderr(SAID)?;
    let two = pair(&host, "/m");
    world.tools(["--timeout", "1", "add-path", "web", &two]).code(7)?.expect_stderr(SAID)?;
    world.tools(["--timeout", "1", "recover", "web"]).code(7)?.expect_stderr(SAID)?;
    silent.end(world, &container)?;
    world.tools(["recover", "web"]).ok()?;
    world.tools(["add-path", "web", &two]).ok()?;
    ensure!(sh(&container, "ls /hung; cat /m/file")?.stdout == "host\n", "one is there alone");
    container.remove()
}

fn looked_at(world: &World) -> Result<()> {
    let host = source(world)?;
    let container = world.sleeper(&["--name", "web"])?;
    world.tools(["add-path", "web", &pair(&host, "/hung/x")]).ok()?;
    let silent = Silent::mount(&container, "/hung")?;
    for verb in ["inspect", "diff", "reconcile"] {
        world.tools(["--timeout", "1", verb, "web"]).code(7)?.expect_stderr(SAID)?;
    }
    silent.end(world, &container)?;
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    container.remove()
}

/// A partition for two containers, one of which does not answer for where it is to be.
fn others(world: &World) -> Result<()> {
    let disk = Disk::new(world)?;
    let hung = world.sleeper(&["--name", "web"])?;
    let good = world.sleeper(&["--name", "good"])?;
    world.tools(["add-device", "web", &format!("{}:/hung/sdx", disk.path)]).ok()?;
    world.tools(["add-device", "good", &format!("{}:/dev/sdx", disk.path)]).ok()?;
    let mut silent = Silent::mount(&hung, "/hung")?;
    silent.greet()?;
    let watch = world.tools(["--timeout", "1", "watch"]);
    let mut watch = watch.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let followed = (|| {
        for (count, expected) in [(1, &["sdx", "sdx1"][..]), (2, &["sdx", "sdx1", "sdx2"])] {
            disk.partition(count)?;
            world.until("the other one has it", Duration::from_secs(20), || {
                Ok((nodes(&good, "sdx")? == expected).then_some(()))
            })?;
        }
        silent.keep_a_question()
    })();
    let pid = i32::try_from(watch.id()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.context("a pid")?, rustix::process::Signal::TERM)?;
    let ended = watch.wait()?;
    followed?;
    ensure!(ended.success(), "it ends when asked to: {ended}");
    silent.end(world, &hung)?;
    world.tools(["watch", "--once"]).ok()?;
    let nodes = sh(&hung, "ls /hung")?;
    ensure!(nodes.stdout == "sdx\nsdx1\nsdx2\n", "it has them, too, in the end: {nodes}");
    good.remove()?;
    hung.remove()
}
