//! `isula-runtime` under engines that people run: each verb of docs/engines.md, on a trivial
//! container and on a Debian with systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::need::{BUSYBOX, CONTAINERD, DEBIAN, DOCKER, PODMAN, ROOT};
use tests::{Call, Story, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("engines::podman", &[ROOT, BUSYBOX, PODMAN], podman),
        story("engines::podman_boots_debian", &[ROOT, DEBIAN, PODMAN], podman_boots),
        story("engines::containerd", &[ROOT, BUSYBOX, CONTAINERD], containerd),
        story("engines::containerd_boots_debian", &[ROOT, DEBIAN, CONTAINERD], containerd_boots),
        story("engines::docker", &[ROOT, BUSYBOX, DOCKER], docker),
        story("engines::docker_boots_debian", &[ROOT, DEBIAN, DOCKER], docker_boots),
    ]
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

        self.run(&["-d", "--name", "one"], image, &["sh", "-c", "echo said; exec sleep 1000"])
            .ok()?;
        let output = self.verb(&["exec", "one", "sh", "-c", "echo in; exit 5"]).code(5)?;
        ensure!(output.stdout == "in\n", "{output}");
        self.verb(&["exec", "-t", "one", "tty"]).ok()?;
        ensure!(self.verb(&["logs", "one"]).ok()?.stdout == "said\n");
        ensure!(self.verb(&["top", "one"]).ok()?.stdout.contains("sleep 1000"));
        self.verb(&["pause", "one"]).ok()?;
        let state = |wanted: &str| -> Result<()> {
            let output = self.verb(&["inspect", "--format", "{{.State.Status}}", "one"]).ok()?;
            ensure!(output.line() == wanted, "wanted {wanted}\n{output}");
            Ok(())
        };
        state("paused")?;
        self.verb(&["unpause", "one"]).ok()?;
        self.verb(&["update", "--cpu-shares", "512", "one"]).ok()?;
        self.verb(&["cp", "/etc/hostname", "one:/copied"]).ok()?;
        self.verb(&["exec", "one", "cat", "/copied"]).ok()?;
        for _ in 0..10 {
            self.verb(&["restart", "-t", "0", "one"]).ok()?;
        }
        state("running")?;
        self.verb(&["kill", "-s", "KILL", "one"]).ok()?;
        wait::until("it is down", Duration::from_secs(10), || Ok(state("exited").ok()))?;
        self.verb(&["start", "one"]).ok()?;
        self.verb(&["stop", "-t", "0", "one"]).ok()?;
        state("exited")?;
        self.verb(&["rm", "one"]).ok()?;
        Ok(())
    }

    /// A system container: up, stopped in order, up again.
    fn boot(&self, options: &[&str], image: &[&str]) -> Result<()> {
        let options = [&["-d", "--name", "sys"], options].concat();
        self.run(&options, image, &["/sbin/init"]).ok()?;
        self.until_running()?;
        let failed = self.verb(&["exec", "sys", "systemctl", "--failed", "--no-legend"]).ok()?;
        ensure!(failed.stdout.trim().is_empty(), "{failed}");
        let stopped = self.verb(&["stop", "sys"]).ok()?;
        ensure!(
            stopped.elapsed < Duration::from_secs(8) * wait::slowness(),
            "it was killed after its time was over\n{stopped}"
        );
        self.verb(&["start", "sys"]).ok()?;
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

/// Runs `story` with a containerd of its own.
pub(crate) fn with_containerd(
    world: &World,
    story: impl FnOnce(&dyn Fn(&[&str]) -> Call) -> Result<()>,
) -> Result<()> {
    let config = world.path("containerd.toml");
    let text = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = {:?}\n",
        world.path("containerd"),
        host(world)?.join("run/containerd"),
        world.path("containerd.sock")
    );
    fs::write(&config, text)?;
    let log = world.path("containerd.log");
    let daemon = Daemon::start(&world.tool("containerd").arg("-c").arg(&config), &log)?;
    let ctr = |words: &[&str]| {
        world.tool("ctr").arg("--address").arg(world.path("containerd.sock")).args(words)
    };
    wait::until("containerd answers", Duration::from_secs(30), || {
        Ok(ctr(&["version"]).output()?.status.success().then_some(()))
    })?;
    let told = story(&ctr);
    told.map_err(|error| error.context(last_words("containerd", &log)))?;
    daemon.stop()
}

pub(crate) fn ctr_run(
    world: &World,
    ctr: &dyn Fn(&[&str]) -> Call,
    words: &[&str],
) -> Result<Call> {
    let program = program()?;
    let cgroup = format!("/{}/{}", world.name(), words.len());
    Ok(ctr(&["run", "--runc-binary"]).arg(program).args(["--cgroup", &cgroup]).args(words))
}

fn containerd(world: &World) -> Result<()> {
    let rootfs = world.busybox()?.to_string_lossy().into_owned();
    with_containerd(world, |ctr| {
        let run = |words: &[&str]| ctr_run(world, ctr, words);
        let output = run(&["--rm", "--rootfs", &rootfs, "a", "sh", "-c", "echo out; exit 4"])?;
        let output = output.code(4)?;
        ensure!(output.stdout == "out\n", "{output}");
        run(&["-d", "--rootfs", &rootfs, "b", "sleep", "1000"])?.ok()?;
        let exec = ctr(&["task", "exec", "--exec-id", "x", "b", "sh", "-c", "echo in; exit 5"]);
        ensure!(exec.code(5)?.stdout == "in\n");
        let state = || -> Result<String> {
            let output = ctr(&["task", "ls"]).ok()?;
            let line = output.stdout.lines().find(|line| line.starts_with("b "));
            Ok(line.and_then(|line| line.split_whitespace().nth(2)).unwrap_or("gone").to_owned())
        };
        ensure!(state()? == "RUNNING", "it is {}", state()?);
        ensure!(ctr(&["task", "ps", "b"]).ok()?.stdout.lines().count() == 2);
        ctr(&["task", "pause", "b"]).ok()?;
        ensure!(state()? == "PAUSED", "it is {}", state()?);
        ctr(&["task", "resume", "b"]).ok()?;
        ensure!(ctr(&["task", "metrics", "b"]).ok()?.stdout.contains("memory"));
        ctr(&["task", "kill", "-s", "SIGKILL", "b"]).ok()?;
        wait::until("it is down", Duration::from_secs(10), || {
            Ok((state()? == "STOPPED").then_some(()))
        })?;
        ctr(&["task", "rm", "b"]).output()?;
        ctr(&["containers", "rm", "b"]).ok()?;
        Ok(())
    })
}

fn containerd_boots(world: &World) -> Result<()> {
    let rootfs = world.debian()?.to_string_lossy().into_owned();
    with_containerd(world, |ctr| {
        let annotation = "org.isula.system-container=true";
        let words = ["-d", "--annotation", annotation, "--rootfs", &rootfs, "s", "/sbin/init"];
        ctr_run(world, ctr, &words)?.ok()?;
        let mut count = 0;
        wait::until("systemd is running", Duration::from_secs(60), || {
            count += 1;
            let id = format!("x{count}");
            let words = ["task", "exec", "--exec-id", &id, "s", "systemctl", "is-system-running"];
            Ok((ctr(&words).output()?.stdout.trim() == "running").then_some(()))
        })?;
        // SIGTERM, which systemd would take for "execute yourself again".
        ctr(&["task", "kill", "s"]).ok()?;
        wait::until("it is down", Duration::from_secs(30), || {
            Ok(ctr(&["task", "ls"]).ok()?.stdout.contains("STOPPED").then_some(()))
        })?;
        ctr(&["task", "rm", "s"]).output()?;
        ctr(&["containers", "rm", "s"]).ok()?;
        Ok(())
    })
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
