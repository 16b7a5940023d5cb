//! Descriptors of the calling process as a whole: what a new program, or a half-made one, keeps.

use std::os::fd::RawFd;

use crate::{Context, Errno, Result, fault, raw};

/// Marks every descriptor from `first` on close-on-exec: they go with the old program.
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    range(first, RawFd::MAX, true)
}

/// Closes every descriptor from `first` on that is not in `keep`.
///
/// For a process that has just been forked and uses no other descriptor again: whatever value owns
/// one of them must never be dropped.
pub fn close_all_but(first: RawFd, keep: &[RawFd]) -> Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= first).collect();
    keep.sort_unstable();
    let mut next = first;
    for fd in keep {
        if fd > next {
            range(next, fd - 1, false)?;
        }
        next = fd + 1;
    }
    range(next, RawFd::MAX, false)
}

/// Whether `fd` is open and goes over to a new program.
pub fn is_inheritable(fd: RawFd) -> bool {
    raw::fd::close_on_exec(fd) == Ok(false)
}

fn range(first: RawFd, last: RawFd, on_exec: bool) -> Result<()> {
    let answer =
        fault::check("close_range").and_then(|()| raw::fd::close_range(first, last, on_exec));
    match answer {
        // close_range is of Linux 5.9, its flag of 5.11.
        Err(Errno::NOSYS | Errno::INVAL) => one_by_one(first, last, on_exec),
        answer => answer.during(|| format!("close descriptors {first} to {last}")),
    }
}

fn one_by_one(first: RawFd, last: RawFd, on_exec: bool) -> Result<()> {
    let list = std::fs::read_dir("/proc/self/fd").during(|| "list /proc/self/fd")?;
    // Collected first: the listing itself holds a descriptor.
    let open: Vec<RawFd> = list
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| (first..=last).contains(fd))
        .collect();
    for fd in open {
        let answer = if on_exec { raw::fd::set_close_on_exec(fd) } else { raw::fd::close(fd) };
        match answer {
            Ok(()) | Err(Errno::BADF) => {}
            Err(errno) => return Err(errno).during(|| format!("close descriptor {fd}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use rustix::io::{FdFlags, dup, fcntl_getfd, fcntl_setfd};

    use super::*;

    #[test]
    fn close_on_exec_reaches_what_it_names_and_nothing_below() {
        let before = dup(std::io::stdin().as_fd()).unwrap();
        // Far above what other tests open meanwhile.
        let after = rustix::io::fcntl_dupfd_cloexec(&before, 500).unwrap();
        fcntl_setfd(&after, FdFlags::empty()).unwrap();
        close_on_exec_from(500).unwrap();
        assert!(fcntl_getfd(&after).unwrap().contains(FdFlags::CLOEXEC));
        assert!(!fcntl_getfd(&before).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn what_goes_over_to_a_new_program() {
        let fd = dup(std::io::stdin().as_fd()).unwrap();
        assert!(is_inheritable(fd.as_raw_fd()));
        fcntl_setfd(&fd, FdFlags::CLOEXEC).unwrap();
        assert!(!is_inheritable(fd.as_raw_fd()));
        assert!(!is_inheritable(1 << 20));
    }

    #[test]
    fn the_way_of_older_kernels_does_the_same() {
        let fd = dup(std::io::stdin().as_fd()).unwrap();
        one_by_one(fd.as_raw_fd(), fd.as_raw_fd(), true).unwrap();
        assert!(fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
    }
}
