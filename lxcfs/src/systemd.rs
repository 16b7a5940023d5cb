//! Under systemd: ready, and the descriptors that outlive even the holder.
//!
//! sd_notify(3) FDSTORE=1: the service manager keeps a copy of the connection and the state, and
//! passes them back at the next start of the unit (sd_listen_fds(3)).

use std::{
    env,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use linux::{
    Context as _, Result,
    process::{Pid, PidFd},
    socket::{self, Kind},
};

use crate::connection::Devices;

/// Names of the stored descriptors.
const LIVE: &str = "lxcfs-device";
const KEPT: &str = "lxcfs-kept";
const MEMORY: &str = "lxcfs-state";
/// The first passed descriptor (SD_LISTEN_FDS_START).
const FIRST: i32 = 3;

/// Whether somebody wants to be told.
pub fn is_manager() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// Says that the mount can be used.
pub fn ready() -> Result<()> {
    notify("READY=1\nSTATUS=serving", &[])
}

/// Gives the manager a copy of what must survive us.
pub fn store(devices: &Devices, memory: BorrowedFd<'_>) -> Result<()> {
    for (name, fd) in [(LIVE, devices.live.as_fd()), (KEPT, devices.kept.as_fd()), (MEMORY, memory)]
    {
        notify(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), &[fd])?;
    }
    Ok(())
}

fn notify(text: &str, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = socket::connect(&path, Kind::Datagram)?;
    socket::send_fds(&socket, text.as_bytes(), fds).map(drop)
}

/// What an earlier holder stored: devices and state.
///
/// The passed numbers stay open as they are, for nobody owns them; what is returned are copies.
pub fn stored() -> Result<Option<(Devices, OwnedFd)>> {
    let own = Pid::current().get().to_string();
    if env::var("LISTEN_PID").ok() != Some(own) {
        return Ok(None);
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let find = |wanted: &str| {
        let index = names.split(':').position(|name| name == wanted)?;
        Some(FIRST + i32::try_from(index).ok()?)
    };
    let (Some(live), Some(kept), Some(memory)) = (find(LIVE), find(KEPT), find(MEMORY)) else {
        return Ok(None);
    };
    let ourselves = PidFd::open(Pid::current())?;
    let copy = |number: i32| {
        let flags = rustix::process::PidfdGetfdFlags::empty();
        rustix::process::pidfd_getfd(&ourselves, number, flags)
            .during(|| format!("take over descriptor {number}"))
    };
    Ok(Some((Devices { live: copy(live)?, kept: copy(kept)? }, copy(memory)?)))
}
