//! fork(2) with namespaces, a pidfd and a cgroup in the one call: clone3(2).

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use linux_raw_sys::general::{CLONE_INTO_CGROUP, CLONE_PIDFD, clone_args};

use crate::ns::CloneFlags;
use crate::process::{Pid, PidFd};
use crate::{Errno, Error, Result, fault};

/// What the parent hears of the child's end.
const CHILD_SIGNAL: u64 = libc::SIGCHLD.unsigned_abs() as u64;

/// Who we are after [`fork`].
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The caller, which now holds the child.
    Parent {
        /// The child's pid in our pid namespace.
        pid: Pid,
        /// The child itself.
        pidfd: PidFd,
    },
}

/// Copies the calling process into a child with new namespaces `flags`, born inside the v2 cgroup
/// directory `cgroup`: no moment in the parent's, no migration.
///
/// Refused with `EDEADLK` when the process has more than one thread: the child would inherit
/// locks (the allocator's first) whose owners do not exist in it. With one thread the child is an
/// ordinary copy and may allocate, print and exec.
///
/// The C library does not learn of the fork. Its cached thread id is the parent's, so in the child
/// robust and priority-inheriting pthread mutexes do not work, and `pthread_atfork` handlers do not
/// run. Rust's locks, `raise`, `abort` (they ask for the id), starting threads and processes do.
///
/// With [`CloneFlags::PARENT`] the child is our parent's to wait for, with the exit signal that we
/// have ourselves: clone3(2) takes none then.
pub fn fork(flags: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    if !alone() {
        return Err(Error::new("fork", Errno::DEADLK)
            .with_hint("the process has several threads; fork before starting any"));
    }
    let mut pidfd: RawFd = -1;
    let into_cgroup = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let args = clone_args {
        flags: flags.bits() | u64::from(CLONE_PIDFD) | into_cgroup,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: if flags.contains(CloneFlags::PARENT) { 0 } else { CHILD_SIGNAL },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
    };
    if let Err(errno) = fault::check("clone3") {
        return Err(explain(errno, flags, cgroup.is_some()));
    }
    // SAFETY: clone3(2) wants a readable clone_args of the stated size, whose pidfd is the address
    // of a writable int: both are locals that outlive the call. Without CLONE_VM the child runs on
    // its own copy of this stack, and as the caller is the only thread no lock is held by another.
    // JUSTIFICATION: neither rustix nor nix has clone3; fork(2) knows no cgroup and no pidfd.
    let answer =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<clone_args>()) };
    match answer {
        0 => Ok(Forked::Child),
        pid if pid > 0 => {
            // SAFETY: the call succeeded, so the kernel has put a new descriptor into pidfd, that
            // nobody else knows of.
            // JUSTIFICATION: clone3 hands descriptors out as numbers.
            let pidfd = PidFd::from_fd(unsafe { OwnedFd::from_raw_fd(pidfd) });
            let pid =
                i32::try_from(pid).ok().and_then(Pid::new).expect("the kernel's pids are ints");
            Ok(Forked::Parent { pid, pidfd })
        }
        _ => Err(explain(super::last_errno(), flags, cgroup.is_some())),
    }
}

/// Is the caller the only thread of its process?
///
/// unshare(2) of CLONE_THREAD does nothing, but only for a process that has one thread (`EINVAL`
/// otherwise): the answer needs no /proc, which a process between two pid namespaces does not have.
fn alone() -> bool {
    // A joined thread has woken its joiner a moment before it leaves the thread group
    // (kernel/exit.c: exit_mm comes before release_task).
    let deadline = Instant::now() + Duration::from_millis(50);
    while !super::thread::is_only_thread() {
        if Instant::now() > deadline {
            return false;
        }
        rustix::thread::sched_yield();
    }
    true
}

fn explain(errno: Errno, flags: CloneFlags, into_cgroup: bool) -> Error {
    let mut call = String::from("fork");
    for (name, _) in flags.iter_names() {
        call.push_str(" with ");
        call.push_str(name);
    }
    let error = Error::new(call, errno);
    match errno {
        Errno::NOSYS => {
            error.with_hint("clone3 is blocked; allow it in the caller's seccomp filter")
        }
        Errno::PERM => error.with_hint("run it as root"),
        Errno::NOSPC => error.with_hint("raise the limits below /proc/sys/user"),
        Errno::BUSY | Errno::OPNOTSUPP if into_cgroup => {
            error.with_hint("the cgroup takes no processes; use one without enabled controllers")
        }
        _ => error,
    }
}
