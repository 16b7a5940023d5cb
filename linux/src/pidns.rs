//! The init of a pid namespace, as our own namespace numbers it.
//!
//! ioctl_nsfs(2): NS_GET_PID_FROM_PIDNS since Linux 6.11, about a microsecond. Before, the process
//! whose innermost number is 1 is looked for in /proc, which costs a file for each process.

use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::process::Pid;
use crate::{Context, Errno, Error, Result};

/// The init of the innermost pid namespace that `thread` is in. `ESRCH` if it is not ours to see.
pub fn init_of(thread: Pid) -> Result<Pid> {
    let path = format!("/proc/{thread}/ns/pid");
    let call = || format!("find the init of {path}");
    let namespace = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during(|| format!("open {path}"))?;
    // A descriptor opened below /proc/PID/ns is on nsfs, which the ioctl relies on.
    match crate::fault::check("ioctl(NS_GET_PID_FROM_PIDNS)").and_then(|()| {
        crate::raw::ioctl::pid_from_namespace(std::os::fd::AsFd::as_fd(&namespace), 1)
    }) {
        Ok(pid) => Pid::new(pid).ok_or_else(|| Error::new(call(), Errno::SRCH)),
        // An ioctl that a kernel does not know is ENOTTY, and EINVAL to some.
        Err(Errno::NOTTY | Errno::INVAL) => {
            let inode = rustix::fs::fstat(&namespace).during(call)?.st_ino;
            scan(Path::new("/proc"), inode).ok_or_else(|| Error::new(call(), Errno::SRCH))
        }
        Err(errno) => Err(Error::new(call(), errno)),
    }
}

/// The process that is 1 in the namespace with this inode number.
fn scan(proc: &Path, inode: u64) -> Option<Pid> {
    let entries = std::fs::read_dir(proc).ok()?;
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find_map(|pid| {
        let dir = proc.join(i32::to_string(&pid));
        let status = std::fs::read_to_string(dir.join("status")).ok()?;
        let is_init = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .is_some_and(|pids| pids.split_whitespace().last() == Some("1"));
        let same = || rustix::fs::stat(dir.join("ns/pid")).is_ok_and(|stat| stat.st_ino == inode);
        (is_init && same()).then(|| Pid::new(pid)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn both_ways_find_the_init_of_another_namespace() {
        let mut child = Command::new("unshare")
            .args(["--user", "--pid", "--fork", "--kill-child", "cat"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let parent = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        let init = loop {
            let children = crate::process::children(parent).unwrap();
            if let Some(&child) = children.first() {
                break child;
            }
            std::thread::yield_now();
        };
        assert_eq!(init_of(init).unwrap(), init);
        let path = crate::process::namespace_path(init, crate::ns::Kind::Pid);
        let inode = rustix::fs::stat(path).unwrap().st_ino;
        assert_eq!(scan(Path::new("/proc"), inode), Some(init));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
