//! Whether lxcfs gives a container its files, looked up at every start.
//!
//! The files are mounted by `lxcfs-hook`, an OCI hook: so it is under any runtime, and again when
//! the guest has rebooted.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use container::Config;
use container::config::LxcfsChoice;

const PROGRAM: &str = "lxcfs-hook";
/// Where the daemon answers, in its runtime directory.
const SOCKET: &str = "control.sock";

/// The hook's program, if the container is to have the files.
pub(super) fn hook(config: &Config) -> Result<Option<PathBuf>> {
    let lxcfs = &config.lxcfs;
    let socket = lxcfs.directory.join(SOCKET);
    let program = beside_us(PROGRAM);
    match lxcfs.choice {
        LxcfsChoice::Off => Ok(None),
        LxcfsChoice::Auto => {
            let wanted = config.system_container && socket.exists() && program.exists();
            Ok(wanted.then_some(program))
        }
        LxcfsChoice::On => {
            ensure!(
                socket.exists(),
                "--lxcfs on: lxcfs does not run ({} is not there); start it, or say --lxcfs auto",
                socket.display()
            );
            ensure!(program.exists(), "--lxcfs on: {} is not installed", program.display());
            Ok(Some(program))
        }
    }
}

/// A program in our own directory. The shim's own file has no path once it is sealed; whoever
/// started it said where it came from.
fn beside_us(name: &str) -> PathBuf {
    let said = std::env::args_os().next().map(PathBuf::from).filter(|path| path.is_absolute());
    let own = said.or_else(|| std::env::current_exe().ok()).unwrap_or_default();
    own.parent().unwrap_or(Path::new("/")).join(name)
}
