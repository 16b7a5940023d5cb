//! A small set of descriptors to wait on: epoll(7), level-triggered.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use crate::{Context, Errno, Result};

/// What to wait for. Hang-up and error are always reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// There is something to read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

impl Interest {
    /// Hang-up and error alone.
    pub const NONE: Self = Self { readable: false, writable: false };
    /// Reading.
    pub const READ: Self = Self { readable: true, writable: false };
    /// Writing.
    pub const WRITE: Self = Self { readable: false, writable: true };
    /// Both.
    pub const BOTH: Self = Self { readable: true, writable: true };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.readable);
        flags.set(epoll::EventFlags::OUT, self.writable);
        flags
    }
}

/// What a descriptor is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// As given to [`Poll::add`].
    pub token: u64,
    /// There is something to read, or the end of it.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The other end is gone. What it wrote before is still to be read.
    pub hangup: bool,
    /// The descriptor is in error.
    pub error: bool,
}

/// The set.
#[derive(Debug)]
pub struct Poll {
    fd: OwnedFd,
}

impl Poll {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let fd = epoll::create(epoll::CreateFlags::CLOEXEC).during(|| "open an epoll set")?;
        Ok(Self { fd })
    }

    /// Watches `fd`, which must not be a regular file (`EPERM`). It leaves the set when every copy
    /// of it is closed; [`remove`](Self::remove) it before when there are copies in other hands.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::add(&self.fd, fd, epoll::EventData::new_u64(token), interest.flags())
            .during(|| "add to an epoll set")
    }

    /// Watches `fd` for something else.
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::modify(&self.fd, fd, epoll::EventData::new_u64(token), interest.flags())
            .during(|| "change an epoll set")
    }

    /// Watches `fd` no more.
    pub fn remove(&self, fd: impl AsFd) -> Result<()> {
        epoll::delete(&self.fd, fd).during(|| "remove from an epoll set")
    }

    /// Waits until something is ready or `limit` is over (`None`: for ever). Empty on a signal too:
    /// the caller's loop comes round anyway.
    pub fn wait(&self, limit: Option<Duration>) -> Result<Vec<Event>> {
        let limit = limit.map(|limit| {
            Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        let mut events = Vec::with_capacity(32);
        match epoll::wait(&self.fd, rustix::buffer::spare_capacity(&mut events), limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(|| "wait on an epoll set"),
        }
        Ok(events.iter().map(convert).collect())
    }
}

fn convert(event: &epoll::Event) -> Event {
    let (flags, data) = (event.flags, event.data);
    Event {
        token: data.u64(),
        readable: flags.contains(epoll::EventFlags::IN),
        writable: flags.contains(epoll::EventFlags::OUT),
        hangup: flags.contains(epoll::EventFlags::HUP),
        error: flags.contains(epoll::EventFlags::ERR),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::pipe::PipeFlags;

    use super::*;

    #[test]
    fn a_pipe_becomes_readable_then_hangs_up() {
        // Another test may fork at any time, and its child holds the writer until it executes.
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let poll = Poll::new().unwrap();
        poll.add(&reader, 7, Interest::READ).unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);

        rustix::io::write(&writer, b"x").unwrap();
        drop(writer);
        let both = Event { token: 7, readable: true, writable: false, hangup: true, error: false };
        let deadline = Instant::now() + Duration::from_secs(10);
        while poll.wait(None).unwrap() != [both] {
            assert!(Instant::now() < deadline, "the writer is gone, and there is no hangup");
        }

        rustix::io::read(&reader, &mut [0; 1]).unwrap();
        assert_eq!(poll.wait(None).unwrap(), [Event { readable: false, ..both }]);
        poll.modify(&reader, 8, Interest::NONE).unwrap();
        assert_eq!(poll.wait(None).unwrap(), [Event { token: 8, readable: false, ..both }]);
        poll.remove(&reader).unwrap();
        assert_eq!(poll.wait(Some(Duration::from_millis(1))).unwrap(), []);
    }

    #[test]
    fn a_regular_file_is_refused() {
        let file = tempfile::tempfile().unwrap();
        expect_test::expect!["add to an epoll set: operation not permitted (EPERM)"].assert_eq(
            &Poll::new().unwrap().add(&file, 1, Interest::READ).unwrap_err().to_string(),
        );
    }
}
