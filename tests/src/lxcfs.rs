//! An lxcfs for the containers of one world.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{World, wait};

/// A daemon of this world's own.
#[derive(Debug)]
pub struct Lxcfs<'w> {
    world: &'w World,
    daemon: Child,
}

impl<'w> Lxcfs<'w> {
    /// Starts it and waits until it answers.
    pub fn start(world: &'w World) -> Result<Self> {
        let mount = world.path("lxcfs");
        if !mount.exists() {
            std::fs::create_dir(&mount)?;
        }
        let call = world.program("lxcfs").arg("-f").arg("--pidfile").arg(world.path("lxcfs.pid"));
        let call = call.arg("--runtime-dir").arg(Self::directory(world)).arg(&mount);
        let mut command = call.command();
        let null = Stdio::null;
        let daemon = command.stdin(null()).stdout(null()).stderr(null()).spawn()?;
        let lxcfs = Self { world, daemon };
        wait::until("lxcfs answers", Duration::from_secs(10), || {
            let text = std::fs::read_to_string(mount.join("proc/meminfo"));
            Ok(text.is_ok_and(|text| !text.is_empty()).then_some(()))
        })?;
        Ok(lxcfs)
    }

    fn directory(world: &World) -> PathBuf {
        world.path("lxcfs-run")
    }

    /// What tells `isula run` where it is.
    pub fn options(&self) -> [String; 2] {
        ["--lxcfs-dir".into(), Self::directory(self.world).to_string_lossy().into_owned()]
    }

    /// The process that holds the mount.
    pub fn pid(&self) -> Result<i32> {
        Ok(i32::try_from(self.daemon.id())?)
    }

    /// Ends it in order.
    pub fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(self.pid()?).context("a pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let ended =
            wait::until("lxcfs ends", Duration::from_secs(10), || Ok(self.daemon.try_wait()?))?;
        ensure!(ended.success(), "lxcfs ended with {ended}");
        Ok(())
    }
}

impl Drop for Lxcfs<'_> {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        // What a killed daemon leaves.
        for mount in ["lxcfs", "lxcfs-run/kept"] {
            let flags = rustix::mount::UnmountFlags::DETACH;
            let _ = rustix::mount::unmount(self.world.path(mount), flags);
        }
    }
}
