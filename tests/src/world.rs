//! A world of its own for each story, and the look around at its end.
//!
//! The story's thread has a mount and a network namespace (what it spawns inherits both), a tmpfs
//! for all directories of the product, and a cgroup parent. The host's mounts are recursive slaves
//! in it: nothing that a story mounts gets out.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::CloneFlags;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

use crate::command::Call;
use crate::{leaks, processes, wait, warden};

/// See the module.
#[derive(Debug)]
pub struct World {
    name: String,
    directory: PathBuf,
    binaries: PathBuf,
    mounts_before: BTreeSet<String>,
    links_before: BTreeSet<String>,
    /// What this side mounted, to be taken away before the look around.
    own_mounts: RefCell<Vec<PathBuf>>,
    serial: AtomicU32,
}

/// Where the product's binaries are: beside the test binary's own directory, unless SYSC_BIN says.
pub fn binaries() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("SYSC_BIN") {
        return Ok(PathBuf::from(dir));
    }
    let own = std::env::current_exe().context("name this program")?;
    own.parent().and_then(Path::parent).map(Path::to_owned).context("no directory above deps/")
}

impl World {
    /// Makes a world and moves the calling thread into it, for good: call it on a thread of the
    /// story's own.
    pub fn enter() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let run = warden::directory()?;
        let prefix = run.file_name().context("a directory has a name")?.to_string_lossy();
        let name = format!("{prefix}-{number}");

        nix::sched::unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
            .context("unshare the mount and network namespaces")?;
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
            .context("make / a recursive slave")?;
        let directory = run.join(format!("w{number}"));
        fs::create_dir(&directory)?;
        mount("tmpfs", &directory, "tmpfs", MountFlags::empty(), Some(c"mode=755"))
            .with_context(|| format!("mount a tmpfs on {}", directory.display()))?;
        Ok(Self {
            name,
            directory,
            binaries: binaries()?,
            mounts_before: leaks::mounts(),
            links_before: leaks::links(),
            own_mounts: RefCell::default(),
            serial: AtomicU32::new(1),
        })
    }

    /// Its name, which is also the cgroup parent of its containers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path below its own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A new directory of its own.
    pub fn new_directory(&self, what: &str) -> Result<PathBuf> {
        let number = self.serial.fetch_add(1, Ordering::Relaxed);
        let dir = self.directory.join(format!("{what}{number}"));
        fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(dir)
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Mounts something for the story; taken away with it.
    pub fn mount(&self, fstype: &str, target: &Path, options: &str) -> Result<()> {
        let options = std::ffi::CString::new(options)?;
        mount(fstype, target, fstype, MountFlags::empty(), Some(options.as_c_str()))
            .with_context(|| format!("mount {fstype} on {} ({options:?})", target.display()))?;
        self.own_mounts.borrow_mut().push(target.to_owned());
        Ok(())
    }

    /// Has what somebody else mounted for the story taken away with it.
    pub(crate) fn will_unmount(&self, target: &Path) {
        self.own_mounts.borrow_mut().push(target.to_owned());
    }

    /// Binds `source` over `target`, seen by this world alone; taken away with it.
    pub fn bind(&self, source: &Path, target: &Path) -> Result<()> {
        mount_bind(source, target)
            .with_context(|| format!("bind {} on {}", source.display(), target.display()))?;
        self.own_mounts.borrow_mut().push(target.to_owned());
        Ok(())
    }

    /// A program of the product's, in this world.
    pub fn program(&self, name: &str) -> Call {
        Call::new(self.binaries.join(name)).env("SYSC_WORLD", &self.name)
    }

    /// Any program, in this world.
    pub fn tool(&self, name: &str) -> Call {
        Call::new(name).env("SYSC_WORLD", &self.name)
    }

    /// A program that the host's systemd runs. It asks who talks to it by pids of its own
    /// namespace, which is not ours: systemctl(1) finds nobody there (`ENODATA`).
    pub fn by_systemd(&self, words: &[&str]) -> Call {
        self.tool("systemd-run").args(["--quiet", "--wait", "--pipe", "--collect"]).args(words)
    }

    /// `isula` with this world's directories, and these arguments.
    pub fn isula<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call {
        self.program("isula")
            .arg("--root")
            .arg(self.root())
            .arg("--state")
            .arg(self.state())
            .args(args)
    }

    /// `isulad-tools` with this world's directories, and these arguments.
    pub fn tools<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call {
        let args: Vec<S> = args.into_iter().collect();
        let mut call = self.program("isulad-tools");
        // Its own patience is that of the machine it was written for, too.
        if wait::slowness() > 1 && !args.iter().any(|arg| arg.as_ref() == "--timeout") {
            let patience = (10 * wait::slowness()).min(3600);
            call = call.args(["--timeout", &patience.to_string()]);
        }
        call.arg("--links")
            .arg(self.path("links"))
            .arg("--root")
            .arg(self.root())
            .arg("--state")
            .arg(self.state())
            .args(args)
    }

    /// A hook spec with our hooks in it, where only root can write.
    pub fn hook_spec(&self) -> Result<PathBuf> {
        let dir = self.new_directory("hooks")?;
        let program = dir.join("syscontainer-hooks");
        // The build's own directory need not be closed to others, and the spec insists.
        // By another process: a child of another story's would keep what we write open, and then it
        // cannot be executed (ETXTBSY).
        self.tool("cp").arg(self.binaries.join("syscontainer-hooks")).arg(&program).ok()?;
        let entry = |turn: &str| {
            serde_json::json!([{ "path": program, "timeout": 30,
                "args": ["syscontainer-hooks", "--links", self.path("links"), "--state", turn] }])
        };
        let document = serde_json::json!({
            "prestart": entry("prestart"),
            "poststart": entry("poststart"),
            "poststop": entry("poststop"),
        });
        let path = dir.join("hookspec.json");
        fs::write(&path, document.to_string())?;
        Ok(path)
    }

    /// Waits for a fact; what the world looks like is part of the failure.
    pub fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        fact: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        wait::until(what, deadline, fact).map_err(|error| error.context(self.dump()))
    }

    /// State files, processes, and the last words of every console.
    pub fn dump(&self) -> String {
        let mut text = format!("the world {}:\n", self.name);
        for process in processes::of(&self.name) {
            text += &format!("  process {process}\n");
        }
        let containers = self.root().join("engines/isula");
        for entry in fs::read_dir(containers).into_iter().flatten().flatten() {
            for file in ["state.json", "console.log"] {
                let path = entry.path().join(file);
                let Ok(bytes) = fs::read(&path) else { continue };
                let tail = &bytes[bytes.len().saturating_sub(4000)..];
                text += &format!("  {}:\n", path.display());
                for line in String::from_utf8_lossy(tail).lines() {
                    text += &format!("    {}\n", line.escape_debug());
                }
            }
        }
        text
    }

    /// Removes whatever containers there are, for a story that did not get that far.
    pub fn remove_containers(&self) {
        let Ok(list) = self.isula(["ps", "--all", "--quiet", "--no-trunc"]).output() else {
            return;
        };
        for id in list.stdout.lines() {
            // What this leaves is reported with the rest.
            let _ = self.isula(["rm", "-f", id]).output();
        }
    }

    /// Takes away what this side made and returns what is there that should not be.
    pub fn leave(self) -> Vec<String> {
        let mut left = Vec::new();
        let gone = wait::until("its processes end", Duration::from_secs(5), || {
            Ok(processes::of(&self.name).is_empty().then_some(()))
        });
        if gone.is_err() {
            left.extend(
                processes::of(&self.name).iter().map(|process| format!("process {process}")),
            );
        }
        for point in self.own_mounts.borrow().iter().rev() {
            if let Err(error) = unmount(point, UnmountFlags::empty()) {
                left.push(format!("use of the mount {}: {error}", point.display()));
            }
        }
        left.extend(leaks::loops(&self.directory).iter().map(|name| format!("loop device {name}")));
        left.extend(self.files_left().iter().map(|path| format!("file {}", path.display())));
        left.extend(
            leaks::cgroups_below(&self.name).iter().map(|c| format!("cgroup {}", c.display())),
        );
        left.extend(leaks::sockets().iter().map(|socket| format!("socket {socket}")));
        left.extend(
            leaks::links().difference(&self.links_before).map(|link| format!("link {link}")),
        );
        left.extend(leaks::mounts().difference(&self.mounts_before).map(|m| format!("mount {m}")));

        // From here on it is this side's cleaning, whatever was found above.
        self.kill_all();
        let _ = wait::until("its processes are gone", Duration::from_secs(5), || {
            Ok(processes::of(&self.name).is_empty().then_some(()))
        });
        if let Err(error) = leaks::remove_cgroups(&self.name) {
            left.push(format!("{error:#}"));
        }
        let _ = unmount(&self.directory, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.directory);
        left
    }

    /// What removed containers have left in the product's own directories.
    fn files_left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        let dirs = ["root/engines/isula", "root/names", "root/volumes", "state", "links"];
        for dir in dirs.map(|dir| self.path(dir)) {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
                if is_id || dir.ends_with("names") || (dir.ends_with("volumes") && name != ".lock")
                {
                    left.push(entry.path());
                }
            }
        }
        left
    }

    /// Ends every process of this world.
    pub fn kill_all(&self) {
        for process in processes::of(&self.name) {
            let pid = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
