//! Namespaces: naming them, holding them, entering them.
//!
//! A namespace is held by an open `/proc/PID/ns/KIND` (namespaces(7)), which a pidfd gives as well
//! (Linux 6.11); its device and inode say whether two are the same. Entering changes one thread:
//! [`in_mount_ns`] and [`in_net_ns`] go there and come back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::thread::ThreadNameSpaceType;

use crate::process::{self, Pid, PidFd};
use crate::{Context, Errno, Error, Result, fault, raw};

bitflags::bitflags! {
    /// What [`crate::fork`], [`unshare`] and [`enter`] take: kinds of namespace, and for fork
    /// alone [`CloneFlags::PARENT`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct CloneFlags: u64 {
        /// Mount namespace.
        const NEWNS = linux_raw_sys::general::CLONE_NEWNS as u64;
        /// Cgroup namespace.
        const NEWCGROUP = linux_raw_sys::general::CLONE_NEWCGROUP as u64;
        /// UTS namespace (hostname).
        const NEWUTS = linux_raw_sys::general::CLONE_NEWUTS as u64;
        /// IPC namespace.
        const NEWIPC = linux_raw_sys::general::CLONE_NEWIPC as u64;
        /// User namespace.
        const NEWUSER = linux_raw_sys::general::CLONE_NEWUSER as u64;
        /// Pid namespace.
        const NEWPID = linux_raw_sys::general::CLONE_NEWPID as u64;
        /// Network namespace.
        const NEWNET = linux_raw_sys::general::CLONE_NEWNET as u64;
        /// Time namespace. A fork puts the child into it at once, with offsets of zero that can
        /// no longer be set; to set them, unshare, write `/proc/self/timens_offsets`, then fork
        /// (time_namespaces(7)).
        const NEWTIME = linux_raw_sys::general::CLONE_NEWTIME as u64;
        /// The child becomes a child of our parent, which is then the one to wait for it.
        const PARENT = linux_raw_sys::general::CLONE_PARENT as u64;
    }
}

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Process ids.
    Pid,
    /// Mounts.
    Mount,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// Network.
    Net,
    /// Cgroup roots.
    Cgroup,
    /// User and group ids, capabilities.
    User,
    /// Boot and monotonic clocks.
    Time,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Pid,
        Self::Mount,
        Self::Ipc,
        Self::Uts,
        Self::Net,
        Self::Cgroup,
        Self::User,
        Self::Time,
    ];

    /// The flag that makes or enters one.
    pub fn clone_flag(self) -> CloneFlags {
        match self {
            Self::Pid => CloneFlags::NEWPID,
            Self::Mount => CloneFlags::NEWNS,
            Self::Ipc => CloneFlags::NEWIPC,
            Self::Uts => CloneFlags::NEWUTS,
            Self::Net => CloneFlags::NEWNET,
            Self::Cgroup => CloneFlags::NEWCGROUP,
            Self::User => CloneFlags::NEWUSER,
            Self::Time => CloneFlags::NEWTIME,
        }
    }

    /// Its file in `/proc/PID/ns`.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Mount => "mnt",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Net => "net",
            Self::Cgroup => "cgroup",
            Self::User => "user",
            Self::Time => "time",
        }
    }

    /// The number of the ioctl that asks a pidfd for it: PIDFD_GET_*_NAMESPACE of linux/pidfd.h.
    fn pidfd_ioctl(self) -> u8 {
        match self {
            Self::Cgroup => 1,
            Self::Ipc => 2,
            Self::Mount => 3,
            Self::Net => 4,
            Self::Pid => 5,
            Self::Time => 7,
            Self::User => 9,
            Self::Uts => 10,
        }
    }
}

/// A namespace kept alive by an open descriptor.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    kind: Kind,
}

impl Namespace {
    /// The namespace that the process is in; `ESRCH` when it is gone.
    pub fn of(process: &PidFd, kind: Kind) -> Result<Self> {
        let gone = || Error::new(format!("open {} namespace", kind.proc_name()), Errno::SRCH);
        match raw::ioctl::namespace_of(process.as_fd(), kind.pidfd_ioctl()) {
            Ok(fd) => return Ok(Self { fd, kind }),
            Err(Errno::SRCH) => return Err(gone()),
            // An older kernel; or it tells less than /proc does.
            Err(_) => {}
        }
        let pid = process.pid()?.ok_or_else(gone)?;
        let namespace = Self::of_pid(pid, kind)?;
        // Still there, so the pid was its own all along.
        if process.is_alive()? { Ok(namespace) } else { Err(gone()) }
    }

    /// The namespace of whoever has `pid` at this moment.
    pub fn of_pid(pid: Pid, kind: Kind) -> Result<Self> {
        Self::open(process::namespace_path(pid, kind), kind)
    }

    /// The calling thread's own.
    pub fn current(kind: Kind) -> Result<Self> {
        let fd = PidFd::of_thread()
            .map(|thread| raw::ioctl::namespace_of(thread.as_fd(), kind.pidfd_ioctl()));
        if let Ok(Ok(fd)) = fd {
            return Ok(Self { fd, kind });
        }
        Self::open(format!("/proc/thread-self/ns/{}", kind.proc_name()), kind)
    }

    /// A namespace file by host path; `EINVAL` when it is not one of this kind.
    pub fn open(path: impl AsRef<Path>, kind: Kind) -> Result<Self> {
        let path = path.as_ref();
        // Not blocking: the path may come from a spec and be a FIFO.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .during(|| format!("open {}", path.display()))?;
        let refuse = || {
            Error::new(
                format!("use {} as {} namespace", path.display(), kind.proc_name()),
                Errno::INVAL,
            )
            .with_hint("give a file of that name below /proc/PID/ns, or a bind mount of one")
        };
        // A file that is no namespace answers ENOTTY or whatever its driver makes of the number.
        if crate::mount::fstype(&fd)? != u64::from(linux_raw_sys::general::NSFS_MAGIC) {
            return Err(refuse());
        }
        match raw::ioctl::namespace_type(fd.as_fd()) {
            Ok(flag) if flag == kind.clone_flag().bits() => Ok(Self { fd, kind }),
            Ok(_) | Err(Errno::NOTTY) => Err(refuse()),
            Err(errno) => Err(Error::new(format!("ask what {} is", path.display()), errno)),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Device and inode: equal for the same namespace, and never reused while we hold it.
    pub fn identity(&self) -> Result<(u64, u64)> {
        let stat = rustix::fs::fstat(&self.fd)
            .during(|| format!("stat {} namespace", self.kind.proc_name()))?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Moves the calling thread into it.
    pub fn enter(&self) -> Result<()> {
        enter(self.fd.as_fd(), self.kind.clone_flag())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Moves the calling thread into the namespaces `flags` of `fd`: a namespace file and its one
/// flag, or a pidfd and any set (setns(2); all or none of a set).
///
/// A pid or time namespace takes effect for children only. A mount or user namespace refuses
/// (`EINVAL`) a thread that shares its working directory or memory with others.
pub fn enter(fd: impl AsFd, flags: CloneFlags) -> Result<()> {
    let bits = u32::try_from(flags.bits()).unwrap_or(u32::MAX);
    fault::check("setns")
        .and_then(|()| {
            rustix::thread::move_into_thread_name_spaces(
                fd.as_fd(),
                ThreadNameSpaceType::from_bits_retain(bits),
            )
        })
        .map_err(|errno| refused("enter namespaces", flags, errno))
}

/// Gives the calling thread new namespaces; pid and time take effect for children only.
pub fn unshare(flags: CloneFlags) -> Result<()> {
    fault::check("unshare")
        .and_then(|()| raw::thread::unshare(flags))
        .map_err(|errno| refused("make new namespaces", flags, errno))
}

fn refused(act: &str, flags: CloneFlags, errno: Errno) -> Error {
    let error = Error::new(format!("{act} {}", names(flags)), errno);
    match errno {
        Errno::PERM => error.with_hint("run it as root"),
        Errno::NOSPC => error.with_hint("raise the limits below /proc/sys/user"),
        _ => error,
    }
}

/// Runs `f` inside the mount namespace `fd` and comes back. `f` should act on descriptors: every
/// path it resolves belongs to the namespace's owner.
///
/// The calling thread shares its root, working directory and umask with no other from here on. A
/// process that cannot come back ends, since all it did from there would be done in a tree that is
/// somebody else's.
pub fn in_mount_ns<T>(fd: impl AsFd, f: impl FnOnce() -> Result<T>) -> Result<T> {
    among_other_mounts(|| enter(fd.as_fd(), CloneFlags::NEWNS), f)
}

/// Runs `f` inside the network namespace `fd` and comes back, or ends the process. A socket that
/// `f` opens stays bound to that namespace and can be used afterwards.
pub fn in_net_ns<T>(fd: impl AsFd, f: impl FnOnce() -> Result<T>) -> Result<T> {
    let home = Namespace::current(Kind::Net)?;
    enter(fd, CloneFlags::NEWNET)?;
    let _back = Back { home, at_home: None };
    f()
}

/// Runs `f` in a copy of the caller's mount namespace from which nothing gets out, and comes back as
/// [`in_mount_ns`] does. The copy ends there.
pub fn in_own_mounts<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    among_other_mounts(
        || unshare(CloneFlags::NEWNS),
        || {
            crate::mount::set_propagation("/", crate::mount::Propagation::Private, true)?;
            f()
        },
    )
}

fn among_other_mounts<T>(
    go: impl FnOnce() -> Result<()>,
    f: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let open = |path: &str| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).during(|| format!("open {path}"))
    };
    let at_home = Some((open("/")?, open(".")?));
    let home = Namespace::current(Kind::Mount)?;
    // setns(2) refuses to move a mount namespace under the root of another thread.
    raw::thread::unshare_fs().during(|| "unshare the working directory")?;
    go()?;
    let _back = Back { home, at_home };
    f()
}

/// The way back from a namespace, taken when this is dropped, also by a panic.
struct Back {
    home: Namespace,
    /// Root and working directory.
    at_home: Option<(OwnedFd, OwnedFd)>,
}

impl Back {
    fn go(&self) -> Result<()> {
        self.home.enter()?;
        let Some((root, directory)) = &self.at_home else { return Ok(()) };
        // setns(2) has put both at the root of the namespace, which need not be where they were.
        rustix::process::fchdir(root)
            .and_then(|()| rustix::process::chroot("."))
            .and_then(|()| rustix::process::fchdir(directory))
            .during(|| "go back to root and working directory")
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        if let Err(error) = self.go() {
            let text = format!("{error}; the process ends, left behind: what it had begun\n");
            let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
            process::exit_now(1);
        }
    }
}

fn names(flags: CloneFlags) -> String {
    let names: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| flags.contains(kind.clone_flag()))
        .map(Kind::proc_name)
        .collect();
    names.join(",")
}
