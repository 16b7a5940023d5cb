//! `isula-runtime` under engines that people run: each verb of docs/engines.md, on a trivial
//! container and on a Debian with systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

mod containerd;
mod cri;

pub(crate) use containerd::{NO_CRI, ctr_run, with_containerd};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::need::{BUSYBOX, CONTAINERD, DEBIAN, DOCKER, PODMAN, ROOT};
use tests::{Call, Story, Terminal, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    let stories = vec![
        story("engines::podman", &[ROOT, BUSYBOX, PODMAN], podman),
        story("engines::podman_boots_debian", &[ROOT, DEBIAN, PODMAN], podman_boots),
        story("engines::containerd", &[ROOT, BUSYBOX, CONTAINERD], containerd::daily),
        story("engines::containerd_boots_debian", &[ROOT, DEBIAN, CONTAINERD], containerd::boots),
        story("engines::cri", &[ROOT, BUSYBOX, CONTAINERD], cri::daily),
        story("engines::cri_boots_debian", &[ROOT, DEBIAN, CONTAINERD], cri::boots),
        story("engines::docker", &[ROOT, BUSYBOX, DOCKER], docker),
        story("engines::docker_boots_debian", &[ROOT, DEBIAN, DOCKER], docker_boots),
    ];
    // Ten restarts of a Debian take their time.
    stories.into_iter().map(|story| story.limit(Duration::from_secs(600))).collect()
}

fn program() -> Result<PathBuf> {
    Ok(tests::world::binaries()?.join("isula-runtime"))
}

/// What docker and podman have in common: nearly every word.
pub(crate) struct Engine<'w> {
    call: Box<dyn Fn() -> Call + 'w>,
    /// How `run` is told the runtime, the network and the cgroup.
    run: Vec<String>,
}

impl Engine<'_> {
    pub(crate) fn verb(&self, words: &[&str]) -> Call {
        (self.call)().args(words)
    }

    pub(crate) fn run(&self, options: &[&str], image: &[&str], command: &[&str]) -> Call {
        (self.call)().arg("run").args(&self.run).args(options).args(image).args(command)
    }

    /// Every verb on a container that sleeps.
    fn daily(&self, image: &[&str]) -> Result<()> {
        let output = self.run(&["--rm", "-i"], image, &["sh", "-c", "cat; exit 4"]);
        output.stdin("through\n").code(4)?.expect_stdout("through\n")?;
        self.run(&["--rm"], image, &["/no/such"]).code(127)?;
        // A terminal, so that it can be attached to.
        self.run(&["-dit", "--name", "one"], image, &["sh", "-c", "echo said; exec sh"]).ok()?;
        ensure!(self.verb(&["logs", "one"]).ok()?.stdout.contains("said"));
        self.verbs("one", "echo ty''ped")?;
        ensure!(self.verb(&["logs", "one"]).ok()?.stdout.contains("typed"));
        for _ in 0..10 {
            self.verb(&["restart", "-t", "0", "one"]).ok()?;
        }
        self.is("one", "running")?;
        self.verb(&["kill", "-s", "KILL", "one"]).ok()?;
        wait::until("it is down", Duration::from_secs(10), || Ok(self.is("one", "exited").ok()))?;
        self.verb(&["start", "one"]).ok()?;
        self.verb(&["stop", "-t", "0", "one"]).ok()?;
        self.is("one", "exited")?;
        self.verb(&["rm", "one"]).ok()?;
        Ok(())
    }

    fn is(&self, name: &str, wanted: &str) -> Result<()> {
        let output = self.verb(&["inspect", "--format", "{{.State.Status}}", name]).ok()?;
        ensure!(output.line() == wanted, "wanted {wanted}\n{output}");
        Ok(())
    }

    /// What can be asked of a container that runs and has a terminal. `typed` makes it say "typed"
    /// there: from its own shell, or where there is none, from the outside.
    fn verbs(&self, name: &str, typed: &str) -> Result<()> {
        let output = self.verb(&["exec", name, "sh", "-c", "echo in; exit 5"]).code(5)?;
        ensure!(output.stdout == "in\n", "{output}");
        let mut terminal = Terminal::start(&self.verb(&["exec", "-it", name, "tty"]))?;
        terminal.expect("/dev/pts/")?;
        terminal.code(0)?;
        // One key: podman looks for it in what one read gives, and two may come apart.
        let mut terminal =
            Terminal::start(&self.verb(&["attach", "--detach-keys", "ctrl-x", name]))?;
        match typed.strip_prefix("exec:") {
            None => {
                // The echo of the line is not yet the answer to it.
                terminal.send(&format!("{typed}\r"))?;
                terminal.expect("typed")?;
            }
            // Until somebody is there to see it.
            Some(script) => wait::until("it is seen", Duration::from_secs(20), || {
                self.verb(&["exec", name, "sh", "-c", script]).ok()?;
                Ok(terminal.screen().contains("typed").then_some(()))
            })?,
        }
        terminal.send("\u{18}")?;
        terminal.wait()?;
        let top = self.verb(&["top", name]).ok()?;
        ensure!(top.stdout.lines().count() >= 2, "{top}");
        self.verb(&["pause", name]).ok()?;
        self.is(name, "paused")?;
        self.verb(&["unpause", name]).ok()?;
        self.verb(&["update", "--cpu-shares", "512", name]).ok()?;
        self.verb(&["cp", "/etc/hostname", &format!("{name}:/copied")]).ok()?;
        self.verb(&["exec", name, "cat", "/copied"]).ok()?;
        self.is(name, "running")
    }

    /// A system container: up, every verb, stopped in order and up again ten times.
    fn boot(&self, options: &[&str], image: &[&str]) -> Result<()> {
        let options = [&["-dit", "--name", "sys"], options].concat();
        self.run(&options, image, &["/sbin/init"]).ok()?;
        self.until_running()?;
        let failed = self.verb(&["exec", "sys", "systemctl", "--failed", "--no-legend"]).ok()?;
        ensure!(failed.stdout.trim().is_empty(), "{failed}");
        self.verbs("sys", "exec:echo typed > /dev/console")?;
        ensure!(self.verb(&["logs", "sys"]).ok()?.stdout.contains("typed"));
        let stopped = self.verb(&["stop", "sys"]).ok()?;
        ensure!(
            stopped.elapsed < Duration::from_secs(8) * wait::slowness(),
            "it was killed after its time was over\n{stopped}"
        );
        self.verb(&["start", "sys"]).ok()?;
        for _ in 0..10 {
            self.verb(&["restart", "sys"]).ok()?;
        }
        self.until_running()?;
        self.verb(&["rm", "-f", "sys"]).ok()?;
        Ok(())
    }

    fn until_running(&self) -> Result<()> {
        wait::until("systemd is running", Duration::from_secs(60), || {
            let output = self.verb(&["exec", "sys", "systemctl", "is-system-running"]).output()?;
            Ok((output.stdout.trim() == "running").then_some(()))
        })
    }
}

/// The directory below which engines have their files as they have them below `/`.
pub(crate) fn host(world: &World) -> Result<PathBuf> {
    let host = world.path("host");
    fs::create_dir_all(host.join("run"))?;
    fs::create_dir_all(host.join("var/lib/docker"))?;
    Ok(host)
}

pub(crate) fn podman_engine(world: &World) -> Result<Engine<'_>> {
    let conf = world.path("containers.conf");
    let text = format!(
        "[engine]\nruntime_supports_json = [\"isula\"]\nevents_logger = \"file\"\n\
         [engine.runtimes]\nisula = [\"{}\"]\n[containers]\ndefault_ulimits = []\n",
        program()?.display()
    );
    fs::write(&conf, text)?;
    let host = host(world)?;
    // It takes no more than 50 characters.
    let short = world.path("r");
    fs::create_dir_all(host.join("run/containers/storage"))?;
    if !short.exists() {
        std::os::unix::fs::symlink(host.join("run/containers/storage"), &short)?;
    }
    let call = move || {
        let call = world.tool("podman").env("CONTAINERS_CONF", world.path("containers.conf"));
        let call = call.arg("--root").arg(host.join("var/lib/containers/storage"));
        let call = call.arg("--runroot").arg(&short);
        call.args(["--runtime", "isula", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"])
    };
    let parent = format!("/{}", world.name());
    let run = ["--network", "none", "--cgroup-parent", &parent].map(str::to_owned).to_vec();
    Ok(Engine { call: Box::new(call), run })
}

fn podman(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let engine = podman_engine(world)?;
    engine.daily(&["--rootfs", &rootfs.to_string_lossy()])?;
    let output = engine.run(&["--rm", "--annotation", "org.isula.fly=1"], &[], &[]);
    let output = output.args(["--rootfs"]).arg(&rootfs).arg("true").code(126)?;
    ensure!(output.stderr.contains("org.isula.fly: is not known to this runtime"), "{output}");
    forget_conmon(world)
}

/// podman's monitors have a cgroup of their own, which it leaves.
pub(crate) fn forget_conmon(world: &World) -> Result<()> {
    for hierarchy in tests::leaks::hierarchies() {
        let dir = hierarchy.join(world.name()).join("conmon");
        // A monitor ends a moment after its container.
        wait::until("podman's monitors end", Duration::from_secs(10), || {
            match fs::remove_dir(&dir) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(None),
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("remove {}", dir.display()))
                }
                _ => Ok(Some(())),
            }
        })?;
    }
    Ok(())
}

fn podman_boots(world: &World) -> Result<()> {
    let rootfs = world.debian()?.to_string_lossy().into_owned();
    let engine = podman_engine(world)?;
    // podman sees by itself that this is systemd; then without its help, by our annotation.
    engine.boot(&[], &["--rootfs", &rootfs])?;
    let rootfs = world.debian()?.to_string_lossy().into_owned();
    let ours = ["--systemd", "false", "--annotation", "org.isula.system-container=auto"];
    engine.boot(&ours, &["--rootfs", &rootfs])?;
    forget_conmon(world)
}

/// A daemon that is ended with the story.
struct Daemon(Child);

impl Daemon {
    fn start(call: &Call, log: &Path) -> Result<Self> {
        let file = fs::File::create(log)?;
        let mut command = call.command();
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Self(command.spawn().context("start a daemon")?))
    }

    fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.0.id())?;
        let pid = rustix::process::Pid::from_raw(pid).context("a pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        wait::until("the daemon ends", Duration::from_secs(20), || Ok(self.0.try_wait()?))?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn last_words(name: &str, log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    format!("{name} said last:\n{}\n", lines[lines.len().saturating_sub(5)..].join("\n"))
}

/// Runs `story` with a dockerd of its own, whose containers `runtime` runs.
pub(crate) fn with_docker(
    world: &World,
    runtime: &str,
    rootfs: &Path,
    story: impl FnOnce(&Engine<'_>) -> Result<()>,
) -> Result<()> {
    let program = program()?;
    let config = json!({ "runtimes": {
        "isula": { "path": program },
        "isula-sys": { "path": program, "runtimeArgs": ["--system-container"] },
    } });
    let files = host(world)?;
    let dir = world.new_directory("docker")?;
    fs::write(dir.join("daemon.json"), config.to_string())?;
    let host = format!("unix://{}/sock", dir.display());
    let daemon = world
        // It makes its directory a mount, and leaves it so.
        .tool("unshare")
        .args(["--mount", "--propagation", "slave", "dockerd"])
        .arg("--config-file")
        .arg(dir.join("daemon.json"))
        .arg("--data-root")
        .arg(files.join("var/lib/docker"))
        .arg("--exec-root")
        .arg(files.join("run/docker"))
        .arg("--pidfile")
        .arg(dir.join("pid"))
        .args(["--host", &host, "--iptables=false", "--ip6tables=false", "--bridge=none"])
        .args(["--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs"])
        .args(["--cgroup-parent", &format!("/{}", world.name())]);
    let log = dir.join("log");
    let daemon = Daemon::start(&daemon, &log)?;
    let call = || world.tool("docker").env("DOCKER_HOST", &host).limit(Duration::from_secs(120));
    let run = ["--network", "none", "--runtime", runtime].map(str::to_owned).to_vec();
    let engine = Engine { call: Box::new(call), run };
    wait::until("dockerd answers", Duration::from_secs(60), || {
        Ok(engine.verb(&["version"]).output()?.status.success().then_some(()))
    })?;
    let archive = dir.join("image.tar");
    world.tool("tar").arg("-C").arg(rootfs).arg("-cf").arg(&archive).arg(".").ok()?;
    engine.verb(&["import"]).arg(&archive).arg("image").ok()?;
    fs::remove_file(&archive)?;
    let told = story(&engine);
    told.map_err(|error| error.context(last_words("dockerd", &log)))?;
    daemon.stop()
}

fn docker(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    with_docker(world, "isula", &rootfs, |engine| engine.daily(&["image"]))
}

fn docker_boots(world: &World) -> Result<()> {
    let rootfs = tests::rootfs::debian().context("no Debian rootfs")?;
    with_docker(world, "isula-sys", &rootfs, |engine| engine.boot(&[], &["image"]))
}
