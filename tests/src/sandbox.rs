//! Containers of a world, driven through `isula`.

use std::cell::Cell;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::Call;
use crate::world::World;

/// A container that a story made. One that the story does not remove is removed with this value.
#[derive(Debug)]
pub struct Container<'w> {
    world: &'w World,
    id: String,
    removed: Cell<bool>,
}

impl World {
    /// `isula VERB OPTIONS --external-rootfs ROOTFS none COMMAND`, in this world's cgroup parent.
    pub fn isula_with(
        &self,
        verb: &str,
        options: &[&str],
        rootfs: &Path,
        command: &[&str],
    ) -> Call {
        // Every story by another runtime, where it says nothing of its own.
        let runtime = std::env::var("SYSC_RUNTIME").ok();
        let runtime = runtime.filter(|_| !options.contains(&"--runtime"));
        self.isula([verb, "--cgroup-parent", &format!("/{}", self.name())])
            .args(runtime.iter().flat_map(|name| ["--runtime", name]))
            .arg("--external-rootfs")
            .arg(rootfs)
            .args(options)
            .arg("none")
            .args(command)
    }

    /// Starts a container in the background.
    pub fn run(&self, options: &[&str], rootfs: &Path, command: &[&str]) -> Result<Container<'_>> {
        let output = self.isula_with("run", &[&["-d"], options].concat(), rootfs, command).ok()?;
        self.container(output.line())
    }

    /// Makes a container without starting it.
    pub fn create(
        &self,
        options: &[&str],
        rootfs: &Path,
        command: &[&str],
    ) -> Result<Container<'_>> {
        let output = self.isula_with("create", options, rootfs, command).ok()?;
        self.container(output.line())
    }

    /// Takes charge of a container by the id that was printed for it.
    pub fn container(&self, id: &str) -> Result<Container<'_>> {
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(is_id, "not an id of 64 hex digits: {id:?}");
        Ok(Container { world: self, id: id.to_owned(), removed: Cell::new(false) })
    }

    /// A busybox container that lives until it is stopped.
    pub fn sleeper(&self, options: &[&str]) -> Result<Container<'_>> {
        let rootfs = self.busybox()?;
        self.run(options, &rootfs, &["sleep", "86400"])
    }

    /// Boots Debian as a system container and waits until systemd says it is up.
    pub fn boot(&self, options: &[&str], rootfs: &Path) -> Result<Container<'_>> {
        let options = [&["--system-container"], options].concat();
        let container = self.run(&options, rootfs, &["/sbin/init"])?;
        container.until_booted()?;
        Ok(container)
    }
}

impl Container<'_> {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its cgroup, below the root of every hierarchy.
    pub fn cgroup(&self) -> String {
        format!("{}/{}", self.world.name(), self.id)
    }

    /// `isula VERB ARGS... ID`.
    pub fn isula<S: AsRef<OsStr>>(&self, verb: &str, args: impl IntoIterator<Item = S>) -> Call {
        self.world.isula([verb]).args(args).arg(&self.id)
    }

    /// `isula exec ID COMMAND`.
    pub fn exec<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Call {
        self.world.isula(["exec", &self.id]).args(command)
    }

    /// Its document in `isula inspect`.
    pub fn inspect(&self) -> Result<Value> {
        let output = self.isula("inspect", [""; 0]).ok()?;
        let document: Value = serde_json::from_str(&output.stdout)
            .with_context(|| format!("read the JSON of\n{output}"))?;
        document.get(0).cloned().with_context(|| format!("one element expected\n{output}"))
    }

    /// A value of that document, as `/State/Pid`.
    pub fn value(&self, pointer: &str) -> Result<Value> {
        let document = self.inspect()?;
        document.pointer(pointer).cloned().with_context(|| format!("no {pointer} in {document:#}"))
    }

    /// `State.Status`.
    pub fn status(&self) -> Result<String> {
        let status = self.value("/State/Status")?;
        Ok(status.as_str().with_context(|| format!("a text, not {status}"))?.to_owned())
    }

    /// `State.Pid`, as this side sees it.
    pub fn pid(&self) -> Result<u32> {
        let pid = self.value("/State/Pid")?;
        let number = pid.as_u64().filter(|&pid| pid != 0).and_then(|pid| u32::try_from(pid).ok());
        number.with_context(|| format!("a pid, not {pid}"))
    }

    pub fn exit_code(&self) -> Result<i64> {
        self.value("/State/ExitCode")?.as_i64().context("an exit code is a number")
    }

    /// Waits until `State.Status` is this.
    pub fn until_status(&self, status: &str) -> Result<()> {
        self.world.until(&format!("status {status}"), Duration::from_secs(20), || {
            let found = self.status()?;
            match found == status {
                true => Ok(Some(())),
                false => anyhow::bail!("it is {found}"),
            }
        })
    }

    /// Waits until systemd in it is up, without a failed unit.
    pub fn until_booted(&self) -> Result<()> {
        self.world.until("systemd is running", Duration::from_secs(60), || {
            let output = self.exec(["systemctl", "is-system-running"]).output()?;
            match output.line() {
                "running" => Ok(Some(())),
                "degraded" => {
                    let failed = self.exec(["systemctl", "--no-pager", "--failed"]).output()?;
                    anyhow::bail!("degraded:\n{failed}")
                }
                _ => anyhow::bail!("{output}"),
            }
        })
    }

    /// Removes it as it is.
    pub fn remove(self) -> Result<()> {
        self.isula("rm", ["-f"]).ok()?;
        self.removed.set(true);
        Ok(())
    }

    /// It is gone by the product's own doing; nothing will be removed.
    pub fn forget(self) {
        self.removed.set(true);
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if !self.removed.get() {
            // What this leaves, the look around at the end of the story reports.
            let _ = self.isula("rm", ["-f"]).output();
        }
    }
}
