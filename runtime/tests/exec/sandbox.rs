//! A container to try things in, and what a process in it said.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, anyhow, bail};
use linux::cgroup::{Cgroup, CgroupPath, Layout};
use linux::mount::Propagation;
use linux::process::ExitStatus;
use linux::signal::Signal;
use linux::{CloneFlags, ns};
use oci_spec::runtime::Process;
use runtime::{CreateRequest, Exec, ExecRequest, Runtime, Stdio};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::{Value, json};
use tempfile::TempDir;

const APPLETS: &str = "sh cat ls id sleep readlink env pwd tty stty grep true head kill";

/// Once, before anything else: own mounts, and a program that may enter containers.
pub(crate) fn prepare() -> Result<(), String> {
    let prepare = || -> Result<()> {
        runtime::exe::seal("exec-tests")?;
        ns::unshare(CloneFlags::NEWNS)?;
        linux::mount::set_propagation("/", Propagation::Slave, true)?;
        Ok(())
    };
    prepare().map_err(|error| format!("run it as root on the host: {error:#}"))
}

/// A running container; removed when dropped.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) runtime: Runtime,
    pub(crate) init: linux::process::PidFd,
    pub(crate) init_pid: linux::process::Pid,
    cgroup: String,
    parent: String,
    directory: TempDir,
}

/// What a process said, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) status: ExitStatus,
}

impl Sandbox {
    /// A container that sleeps, with its configuration changed by `change`.
    pub(crate) fn start(change: impl FnOnce(&mut Value)) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("exec{number}");
        let directory = tempfile::tempdir().context("make a directory")?;
        let bundle = directory.path().join("bundle");
        let parent = format!("sysc-exec-test-{}", std::process::id());
        let cgroup = format!("{parent}/{id}");
        fill_rootfs(&bundle.join("rootfs"))?;
        let mut config = configuration(&cgroup);
        change(&mut config);
        if let Some(host) = config["linux"]["uidMappings"][0]["hostID"].as_u64() {
            give_away(&bundle.join("rootfs"), u32::try_from(host)?)?;
        }
        fs::write(bundle.join("config.json"), config.to_string()).context("write the bundle")?;
        let runtime = Runtime::new(directory.path().join("state"))
            .with_seccomp_cache(directory.path().join("seccomp"));
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let null = null.as_fd();
        let request = CreateRequest {
            stdio: Stdio::Use { stdin: null, stdout: null, stderr: null },
            ..CreateRequest::new(&id, &bundle)
        };
        let created = runtime.create(request).map_err(|error| anyhow!("{}", error.flatten()))?;
        let sandbox = Self {
            id,
            runtime,
            init: created.pidfd,
            init_pid: created.pid,
            cgroup,
            parent,
            directory,
        };
        sandbox.runtime.start(&sandbox.id).map_err(|error| anyhow!("{}", error.flatten()))?;
        Ok(sandbox)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn cgroup(&self) -> Result<Cgroup> {
        Ok(Cgroup::open(&Layout::detect()?, &CgroupPath::parse(&self.cgroup)?)?)
    }

    /// Runs `args` to their end, with what `change` does to the process.
    pub(crate) fn exec(&self, args: &[&str], change: impl FnOnce(&mut Value)) -> Result<Answer> {
        let (exec, output) = self.exec_to(args, change, |_| {})?;
        let mut text = String::new();
        File::from(output).read_to_string(&mut text).context("read what it said")?;
        Ok(Answer { text, status: exec.pidfd.wait()? })
    }

    /// Starts `args`; the descriptor reads what they say.
    pub(crate) fn exec_to(
        &self,
        args: &[&str],
        change: impl FnOnce(&mut Value),
        request: impl FnOnce(&mut ExecRequest<'_>),
    ) -> Result<(Exec, OwnedFd)> {
        let process = process(args, change)?;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let null = File::open("/dev/null")?;
        let mut asked = ExecRequest::new(&process);
        asked.stdio =
            Stdio::Use { stdin: null.as_fd(), stdout: writer.as_fd(), stderr: writer.as_fd() };
        request(&mut asked);
        let exec = self.runtime.exec(&self.id, &asked)?;
        Ok((exec, reader))
    }

    /// The error of a process that could not be run.
    pub(crate) fn refusal(
        &self,
        args: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Result<runtime::Error> {
        match self.exec_to(args, change, |_| {}) {
            Ok((exec, _)) => {
                exec.pidfd.wait()?;
                bail!("{args:?} ran")
            }
            Err(error) => error.downcast(),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.init.signal(Signal::KILL);
        let _ = self.init.wait();
        let deleted = self.runtime.delete(&self.id, true);
        let removed = Layout::detect()
            .and_then(|layout| Cgroup::open(&layout, &CgroupPath::parse(&self.parent)?))
            .and_then(|cgroup| cgroup.remove(std::time::Duration::from_secs(5)));
        if !std::thread::panicking() {
            deleted.expect("delete the container");
            removed.expect("remove the cgroup of the tests");
        }
    }
}

fn process(args: &[&str], change: impl FnOnce(&mut Value)) -> Result<Process> {
    let mut json = json!({
        "args": args, "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"],
    });
    change(&mut json);
    Ok(serde_json::from_value(json)?)
}

fn configuration(cgroup: &str) -> Value {
    let caps = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {
            "args": ["sleep", "1000"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "env": ["PATH=/bin"],
            "capabilities": {"bounding": caps, "permitted": caps, "effective": caps},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "cgroup"}, {"type": "network"}, {"type": "time"}],
        },
    })
}

fn fill_rootfs(rootfs: &Path) -> Result<()> {
    for directory in ["bin", "proc", "dev", "sys", "tmp", "etc", "home/web"] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    fs::copy("/bin/busybox", rootfs.join("bin/busybox"))
        .context("install busybox-static: these containers are made of it")?;
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    fs::write(rootfs.join("bin/data"), "no program\n")?;
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:7:7::/home/web:\n")?;
    Ok(())
}

fn give_away(path: &Path, id: u32) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(id), Some(id))?;
    if fs::symlink_metadata(path)?.is_dir() {
        chown(path, Some(id), Some(id))?;
        for entry in fs::read_dir(path)? {
            give_away(&entry?.path(), id)?;
        }
    }
    Ok(())
}
