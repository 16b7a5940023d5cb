//! The system calls of a program under strace(1), and one of them answered otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use tests::{Call, Output, World};

/// A system call of a run: its name, and which of that name it is in its thread.
pub(crate) type Turn = (String, usize);

/// strace's options to write the calls of a run to `log`, and to do at `turn` what is said as its
/// `inject` says it: `signal=KILL`, `error=EIO`.
pub(crate) fn options(log: &Path, turn: Option<(&Turn, &str)>) -> Vec<String> {
    let mut options = vec!["-f".into(), "-q".into(), "-o".into(), log.display().to_string()];
    if let Some(((call, at), deed)) = turn {
        options.push("-e".into());
        options.push(format!("inject={call}:{deed}:when={at}"));
    }
    options
}

/// Runs `command` under strace, its calls written to `log`.
pub(crate) fn traced(
    world: &World,
    command: &Call,
    log: &Path,
    turn: Option<(&Turn, &str)>,
) -> Result<Output> {
    world.tool("strace").args(options(log, turn)).arg("--").args(command.argv()).output()
}

/// The calls that a log has, each once, in their order.
pub(crate) fn turns(log: &Path) -> Result<Vec<Turn>> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut turns = Vec::new();
    for line in fs::read_to_string(log)?.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        if name.starts_with("syscall_0x") {
            // Younger than strace, which can do nothing at it.
            continue;
        }
        let count = counts.entry((thread.to_owned(), name.to_owned())).or_default();
        *count += 1;
        let turn = (name.to_owned(), *count);
        if !turns.contains(&turn) {
            turns.push(turn);
        }
    }
    ensure!(turns.len() > 100, "only {} calls in {}", turns.len(), log.display());
    Ok(turns)
}

/// Calls that a kernel may refuse, with an answer that it gives.
pub(crate) const REFUSALS: &[(&str, &str)] = &[
    ("bind", "ENOMEM"),
    ("bpf", "ENOMEM"),
    ("capset", "EPERM"),
    ("chdir", "EACCES"),
    ("chown", "EPERM"),
    ("chroot", "EPERM"),
    ("clone", "EAGAIN"),
    ("clone3", "EAGAIN"),
    ("connect", "EAGAIN"),
    ("copy_file_range", "EIO"),
    ("dup3", "EBUSY"),
    ("epoll_ctl", "ENOSPC"),
    ("eventfd2", "EMFILE"),
    ("execve", "ENOMEM"),
    ("fchdir", "EACCES"),
    ("fchmod", "EROFS"),
    ("fchmodat", "EROFS"),
    ("fchown", "EROFS"),
    ("fchownat", "EROFS"),
    ("fcntl", "EMFILE"),
    ("fdatasync", "EIO"),
    ("flock", "ENOLCK"),
    ("fsconfig", "EINVAL"),
    ("fsmount", "EPERM"),
    ("fsopen", "EMFILE"),
    ("fstat", "EIO"),
    ("fsync", "EIO"),
    ("getdents64", "EIO"),
    ("ioctl", "EIO"),
    ("linkat", "ENOSPC"),
    ("listen", "EADDRINUSE"),
    ("memfd_create", "EMFILE"),
    ("mkdir", "ENOSPC"),
    ("mkdirat", "ENOSPC"),
    ("mknodat", "EPERM"),
    ("mount", "EPERM"),
    ("mount_setattr", "EINVAL"),
    ("move_mount", "EINVAL"),
    ("newfstatat", "EIO"),
    ("open_tree", "ENOMEM"),
    ("openat", "EMFILE"),
    ("openat2", "EMFILE"),
    ("pidfd_open", "EMFILE"),
    ("pidfd_send_signal", "EPERM"),
    ("pipe2", "EMFILE"),
    ("pivot_root", "EINVAL"),
    ("ppoll", "ENOMEM"),
    ("prctl", "EPERM"),
    ("prlimit64", "EPERM"),
    ("read", "EIO"),
    ("readlinkat", "EIO"),
    ("recvfrom", "ENOBUFS"),
    ("rename", "EIO"),
    ("renameat", "EIO"),
    ("renameat2", "EIO"),
    ("seccomp", "EINVAL"),
    ("sendfile", "EIO"),
    ("sendmsg", "ENOBUFS"),
    ("sendto", "ENOBUFS"),
    ("setgroups", "EPERM"),
    ("sethostname", "EPERM"),
    ("setns", "EPERM"),
    ("setresuid", "EAGAIN"),
    ("setxattr", "ENOSPC"),
    ("signalfd4", "EMFILE"),
    ("socket", "EMFILE"),
    ("socketpair", "EMFILE"),
    ("symlinkat", "ENOSPC"),
    ("umount2", "EBUSY"),
    ("unlink", "EIO"),
    ("unlinkat", "EIO"),
    ("unshare", "ENOSPC"),
    ("waitid", "ECHILD"),
    ("write", "ENOSPC"),
];
