//! The connection to the kernel: mounted once, greeted once, served by one worker after another.
//!
//! The kernel sends INIT once in the life of a connection, and `fuser` insists on one at each start.
//! So the first INIT is answered here, and every worker's session is greeted by us through a socket
//! pair, under whose number the device is then put. The descriptor is never cloned by ioctl: all
//! requests stay on the one queue that outlives a worker, from where FUSE_NOTIFY_RESEND (Linux 6.9)
//! makes the kernel hand out again what a dead worker had taken and not answered.
//!
//! There are two of them. On the live one each open is asked for and each read is answered anew. On
//! the kept one nobody is asked for an open, which the kernel learns for a connection as a whole, and
//! it keeps the text of a file as long as its attributes are believed.
//! Documentation/filesystems/fuse/fuse.rst, include/uapi/linux/fuse.h.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use fuser::{Config, Filesystem, Session, SessionACL};
use linux::{
    Context as _, Errno, Error, Result,
    mount::{Attributes, Flags},
    socket,
};
use rustix::fs::{Mode, OFlags};

const OPCODE_INIT: u32 = 26;
const NOTIFY_RESEND: i32 = 7;
/// Bytes of `struct fuse_in_header` and `fuse_out_header`.
pub const HEADER_IN: usize = 40;
/// Bytes of `struct fuse_out_header`.
pub const HEADER_OUT: usize = 16;
/// The kernel asks for a buffer of at least this (FUSE_MIN_READ_BUFFER).
pub const READ_BUFFER: usize = 64 * 1024;

/// The protocol we speak to the kernel; replies of this minor are those fuser writes.
const MAJOR: u32 = 7;
const MINOR: u32 = 31;
/// What we make use of: reads side by side, time stamps that end cached text, lookups side by side.
const ASYNC_READ: u32 = 1 << 0;
const AUTO_INVAL_DATA: u32 = 1 << 12;
const PARALLEL_DIROPS: u32 = 1 << 18;

/// Both connections.
#[derive(Debug)]
pub struct Devices {
    /// The tree that all share, and containers' own parts.
    pub live: OwnedFd,
    /// Containers' own parts, files the kernel may keep.
    pub kept: OwnedFd,
}

impl Devices {
    /// Has the kernel hand out again what was taken from either.
    pub fn resend(&self) -> Result<bool> {
        Ok(resend(&self.live)? && resend(&self.kept)?)
    }

    /// The same again.
    pub fn try_clone(&self) -> std::io::Result<Devices> {
        Ok(Devices { live: self.live.try_clone()?, kept: self.kept.try_clone()? })
    }
}

/// Mounts at `target` and answers the kernel's greeting. What is mounted there and dead goes first.
pub fn mount(target: &Path) -> Result<OwnedFd> {
    heal(target)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let device = rustix::fs::open("/dev/fuse", flags, Mode::empty()).map_err(|errno| {
        let error = Error::new("open /dev/fuse", errno);
        match errno {
            Errno::NOENT | Errno::NODEV => error.with_hint("load the module: modprobe fuse"),
            _ => error,
        }
    })?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&device).to_string();
    let options = [
        ("fd", Some(number.as_str())),
        ("rootmode", Some("40000")),
        ("user_id", Some("0")),
        ("group_id", Some("0")),
        ("allow_other", None),
        ("default_permissions", None),
        ("subtype", Some("lxcfs")),
    ];
    let attributes = Attributes::set(Flags::NOSUID | Flags::NODEV);
    let mount = linux::mount::new_filesystem("fuse", Some("lxcfs"), &options, &attributes)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = rustix::fs::open(target, flags, Mode::empty())
        .during(|| format!("open {}", target.display()))?;
    // The kernel queued its greeting when the filesystem was made, and answers nothing before ours.
    greet(&device)?;
    linux::mount::attach(&mount, &place)?;
    Ok(device)
}

/// Takes away what a daemon that died for good left at `target`, however many times.
fn heal(target: &Path) -> Result<()> {
    const LAYERS: usize = 64;
    for _ in 0..LAYERS {
        match rustix::fs::stat(target) {
            Err(Errno::NOTCONN | Errno::CONNABORTED) => linux::mount::detach(target)?,
            Err(Errno::NOENT) => {
                return std::fs::create_dir_all(target).map_err(|error| {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                    Error::new(format!("make {}", target.display()), errno)
                });
            }
            _ => return Ok(()),
        }
    }
    Err(Error::new(format!("clear {}", target.display()), Errno::BUSY)
        .with_hint("dead mounts are stacked there; take them away with umount -l"))
}

fn greet(device: &OwnedFd) -> Result<()> {
    let call = || "greet the kernel over /dev/fuse";
    let mut request = vec![0; READ_BUFFER];
    let got = rustix::io::retry_on_intr(|| rustix::io::read(device, &mut request)).during(call)?;
    let word = |at: usize| {
        let bytes = request[..got].get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let unique = request[8..16].try_into().map_or(0, u64::from_ne_bytes);
    let bad = || Error::new(call(), Errno::PROTO);
    if word(4) != Some(OPCODE_INIT) {
        return Err(bad());
    }
    let major = word(HEADER_IN).ok_or_else(bad)?;
    let minor = word(HEADER_IN + 4).ok_or_else(bad)?;
    let read_ahead = word(HEADER_IN + 8).ok_or_else(bad)?;
    let offered = word(HEADER_IN + 12).ok_or_else(bad)?;
    if major != MAJOR || minor < MINOR {
        return Err(
            bad().with_hint("this kernel's FUSE is older than 7.31; use Linux 5.4 or later")
        );
    }
    let flags = offered & (ASYNC_READ | AUTO_INVAL_DATA | PARALLEL_DIROPS);
    let mut answer = Vec::with_capacity(64);
    for value in [MAJOR, MINOR, read_ahead, flags] {
        answer.extend_from_slice(&value.to_ne_bytes());
    }
    // max_background and congestion_threshold.
    answer.extend_from_slice(&64u16.to_ne_bytes());
    answer.extend_from_slice(&48u16.to_ne_bytes());
    // max_write (nobody writes) and time_gran.
    answer.extend_from_slice(&4096u32.to_ne_bytes());
    answer.extend_from_slice(&1u32.to_ne_bytes());
    answer.resize(64, 0);
    reply(device, unique, 0, &answer).during(call)
}

/// Answers one request by hand.
pub fn reply(device: &OwnedFd, unique: u64, error: i32, payload: &[u8]) -> rustix::io::Result<()> {
    let length = u32::try_from(HEADER_OUT + payload.len()).map_err(|_| Errno::MSGSIZE)?;
    let mut message = Vec::with_capacity(HEADER_OUT + payload.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&error.to_ne_bytes());
    message.extend_from_slice(&unique.to_ne_bytes());
    message.extend_from_slice(payload);
    rustix::io::write(device, &message).map(drop)
}

/// Has the kernel hand out again whatever was taken and not answered. `false` where it cannot.
fn resend(device: &OwnedFd) -> Result<bool> {
    match reply(device, 0, NOTIFY_RESEND, &[]) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno).during(|| "ask the kernel to resend"),
    }
}

/// A session over a connection that was greeted long ago.
pub fn session<F: Filesystem>(files: F, device: OwnedFd, threads: usize) -> Result<Session<F>> {
    let (ours, theirs) = socket::pair(socket::Kind::SeqPacket)?;
    rustix::io::write(&ours, &greeting()).during(|| "greet the session")?;
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(threads);
    let session = Session::from_fd(files, theirs, SessionACL::All, config).map_err(|error| {
        Error::new("start a session", Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    linux::descriptor::replace(session.as_fd(), &device)?;
    Ok(session)
}

/// The INIT that a session waits for.
fn greeting() -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_IN + 64);
    let length = u32::try_from(HEADER_IN + 64).unwrap_or(0);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&OPCODE_INIT.to_ne_bytes());
    message.extend_from_slice(&1u64.to_ne_bytes());
    message.resize(HEADER_IN, 0);
    for value in [MAJOR, MINOR, 0x2_0000, 0] {
        message.extend_from_slice(&value.to_ne_bytes());
    }
    message.resize(HEADER_IN + 64, 0);
    message
}
