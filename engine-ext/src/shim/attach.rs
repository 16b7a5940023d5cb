//! One attached client: what it wants, and what it has yet to take.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use linux::Errno;
use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::protocol::{Attach, Kind, Refusal};

/// Bytes kept for a client beyond what its socket holds.
const QUEUE_MAX: usize = 256 * 1024;
/// A client with a full queue has this long to take half of it.
const GRACE: Duration = Duration::from_secs(1);
/// A client that was told to go has this long to read so.
const FAREWELL: Duration = Duration::from_secs(10);
/// As long as the container lives, it costs nothing to wait.
const LONG_FAREWELL: Duration = Duration::from_secs(3600);

/// A client and its queue.
#[derive(Debug)]
pub(super) struct Client {
    fd: OwnedFd,
    wants: Attach,
    queue: VecDeque<Rc<[u8]>>,
    queued: usize,
    /// Since when the queue has been full.
    full_since: Option<Instant>,
    /// It gets what is queued and nothing more, until then at most.
    leaves_by: Option<Instant>,
    /// It has closed its side; what it sent before is still to be read.
    deaf: bool,
    gone: bool,
}

impl Client {
    pub(super) fn new(fd: OwnedFd, wants: Attach) -> Self {
        Self {
            fd,
            wants,
            queue: VecDeque::new(),
            queued: 0,
            full_since: None,
            leaves_by: None,
            deaf: false,
            gone: false,
        }
    }

    fn wants(&self, packet: &[u8]) -> bool {
        match packet.first() {
            Some(&kind) if kind == Kind::Stdout as u8 => self.wants.stdout,
            Some(&kind) if kind == Kind::Stderr as u8 => self.wants.stderr,
            _ => true,
        }
    }

    pub(super) fn sends_stdin(&self) -> bool {
        self.wants.stdin
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Gives it a packet, at once if it can take it. `shared` is the packet for the queue, made by
    /// the first client that needs it and shared by all.
    pub(super) fn give(&mut self, packet: &[u8], shared: &mut Option<Rc<[u8]>>, now: Instant) {
        if self.gone || self.deaf || self.leaves_by.is_some() || !self.wants(packet) {
            return;
        }
        if self.queue.is_empty() && self.send(packet) {
            return;
        }
        if self.deaf {
            return;
        }
        self.enqueue(Rc::clone(shared.get_or_insert_with(|| packet.into())));
        if self.queued >= QUEUE_MAX && self.full_since.is_none() {
            self.full_since = Some(now);
        }
    }

    /// The last packet it gets; it is done when it has read it.
    pub(super) fn dismiss(&mut self, packet: &[u8], now: Instant) {
        self.give(packet, &mut None, now);
        self.full_since = None;
        if self.queue.is_empty() {
            // It has everything, or does not listen.
            self.gone = true;
        } else {
            // A client that the container itself would wait for may take its time for the end.
            let patience = if self.wants.lossless { LONG_FAREWELL } else { FAREWELL };
            let until = now + patience;
            self.leaves_by = Some(self.leaves_by.map_or(until, |at| at.min(until)));
        }
    }

    fn enqueue(&mut self, packet: Rc<[u8]>) {
        self.queued += packet.len();
        self.queue.push_back(packet);
    }

    /// Sends one packet; `false` when there is no room, or nobody.
    fn send(&mut self, packet: &[u8]) -> bool {
        loop {
            match send(&self.fd, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                // The kernel is short of memory for a moment: as good as a full socket.
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => return false,
                Err(_) => {
                    self.deaf = true;
                    self.forget_queue();
                    return false;
                }
            }
        }
    }

    fn forget_queue(&mut self) {
        self.queue.clear();
        self.queued = 0;
        self.full_since = None;
    }

    /// Sends what is queued, as far as there is room.
    pub(super) fn flush(&mut self) {
        while let Some(packet) = self.queue.front() {
            let packet = Rc::clone(packet);
            if !self.send(&packet) {
                break;
            }
            self.queued -= packet.len();
            self.queue.pop_front();
        }
        if self.queued <= QUEUE_MAX / 2 {
            self.full_since = None;
        }
        if self.queue.is_empty() && self.leaves_by.is_some() {
            self.gone = true;
        }
    }

    /// Whether the container should wait for it a little.
    pub(super) fn is_full(&self) -> bool {
        !self.gone && self.full_since.is_some()
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.gone {
            return None;
        }
        let slow = self.full_since.filter(|_| !self.wants.lossless).map(|since| since + GRACE);
        [slow, self.leaves_by].into_iter().flatten().min()
    }

    /// Gives a slow reader up: what it has not taken is dropped, and it is told.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        if self.leaves_by.is_some() {
            self.gone = true;
            return;
        }
        self.forget_queue();
        let message = "attach: output came faster than it was read, so it goes on without this \
                       reader; attach again, or read it with: isula logs"
            .to_owned();
        self.dismiss(&Kind::Error.json(&Refusal { message }), now);
        if self.leaves_by.is_some() {
            self.leaves_by = Some(now + LONG_FAREWELL);
        }
    }

    /// What to wait for; `None` while it is not to be waited for at all. A closed peer is always
    /// reported (poll(2)), which is a busy loop unless we can read on.
    pub(super) fn interest(&self, input_has_room: bool) -> Option<PollFlags> {
        let mut interest = PollFlags::empty();
        if input_has_room {
            interest |= PollFlags::IN;
        }
        if !self.queue.is_empty() {
            interest |= PollFlags::OUT;
        }
        (!self.gone && !interest.is_empty()).then_some(interest)
    }

    /// Receives one packet; `None` when there is none at the moment, or nobody.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match recv(&self.fd, &mut *buffer, flags) {
                Ok((_, 0)) => self.gone = true,
                Ok((_, length)) => return Some(length),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(_) => self.gone = true,
            }
            return None;
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
