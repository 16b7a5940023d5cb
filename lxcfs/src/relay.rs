//! Between the kernel and a worker, where the kernel cannot hand out again what a dead worker had
//! taken (FUSE_NOTIFY_RESEND came with Linux 6.9): the holder reads the requests itself, passes them
//! on by a message socket and keeps each until its answer has gone back.
//!
//! It costs a request two more turns of the scheduler. A worker does not know the difference.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use linux::{
    Errno,
    socket::{Kind, pair},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, SendFlags},
};

use crate::connection::{Devices, HEADER_OUT, READ_BUFFER};

/// What nobody answers.
const FORGET: u32 = 2;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
/// A reply is at most one read of 32 pages and its header.
const REPLY_BUFFER: usize = 256 * 1024;

/// The requests of one connection that were not answered yet, by number.
#[derive(Debug, Clone, Default)]
pub struct Unanswered(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl Unanswered {
    /// All of them, to be answered by somebody else; the oldest first.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A relay at work.
#[derive(Debug)]
pub struct Relay {
    stop: OwnedFd,
    thread: JoinHandle<()>,
}

impl Relay {
    /// Starts one between `device` and the worker at the other end of `worker`: first with what an
    /// earlier worker left unanswered. It takes `patience` to end while answers are on their way.
    pub fn start(
        device: OwnedFd,
        worker: OwnedFd,
        unanswered: &Unanswered,
        patience: Duration,
    ) -> io::Result<Relay> {
        let (stop, stopped) = std::os::unix::net::UnixStream::pair()?;
        let mut lane = Lane {
            device,
            worker,
            waiting: unanswered.lock().values().cloned().collect(),
            unanswered: unanswered.clone(),
            worker_is_gone: false,
            buffer: vec![0; READ_BUFFER.max(REPLY_BUFFER)],
        };
        let stopped = OwnedFd::from(stopped);
        let body = move || {
            lane.pass_on(&stopped);
            lane.finish(patience);
        };
        let thread = thread::Builder::new().name("relay".into()).spawn(body)?;
        Ok(Relay { stop: stop.into(), thread })
    }

    /// Ends it: nothing is read from the kernel any more, what is on its way has time to arrive.
    pub fn end(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("a relay panicked");
        }
    }
}

/// One relay for each connection; what was not answered outlives them.
#[derive(Debug, Default)]
pub struct Relays {
    unanswered: [Unanswered; 2],
    running: Vec<Relay>,
}

impl Relays {
    /// Starts them; returns the worker's ends.
    pub fn start(&mut self, devices: &Devices, patience: Duration) -> Result<[OwnedFd; 2]> {
        let Devices { live, kept } = devices.try_clone()?;
        let mut start = |device, unanswered: &Unanswered| -> Result<OwnedFd> {
            let (ours, theirs) = pair(Kind::SeqPacket)?;
            self.running.push(Relay::start(device, ours, unanswered, patience)?);
            Ok(theirs)
        };
        Ok([start(live, &self.unanswered[0])?, start(kept, &self.unanswered[1])?])
    }

    /// Ends them: a worker that lives answers what it was asked.
    pub fn end(&mut self) {
        self.running.drain(..).for_each(Relay::end);
    }

    /// What was not answered, of the live connection and of the kept one; they forget it.
    pub fn unanswered(&self) -> [Vec<Vec<u8>>; 2] {
        [self.unanswered[0].take(), self.unanswered[1].take()]
    }
}

struct Lane {
    device: OwnedFd,
    worker: OwnedFd,
    /// Read from the kernel, and the worker has no room for it.
    waiting: VecDeque<Vec<u8>>,
    unanswered: Unanswered,
    worker_is_gone: bool,
    /// Room for one message.
    buffer: Vec<u8>,
}

impl Lane {
    /// Until `stopped` can be read, or the mount is gone.
    fn pass_on(&mut self, stopped: &OwnedFd) {
        loop {
            self.send();
            let idle = PollFlags::empty();
            // No more than the worker takes: the rest is the kernel's to keep.
            let from_kernel = self.waiting.is_empty() && !self.worker_is_gone;
            let from_kernel = if from_kernel { PollFlags::IN } else { idle };
            let blocked = if self.waiting.is_empty() { idle } else { PollFlags::OUT };
            let from_worker = PollFlags::IN | blocked;
            let mut fds = vec![
                PollFd::new(stopped, PollFlags::IN),
                PollFd::new(&self.device, from_kernel),
                PollFd::new(&self.worker, from_worker),
            ];
            // A closed socket can be read for ever.
            fds.truncate(if self.worker_is_gone { 2 } else { 3 });
            let ready = rustix::io::retry_on_intr(|| poll(&mut fds, None));
            let [stop, kernel, worker] =
                [0, 1, 2].map(|at| fds.get(at).map_or(idle, |fd| fd.revents()));
            if ready.is_err() || !stop.is_empty() || kernel.contains(PollFlags::ERR) {
                return;
            }
            if !worker.is_empty() {
                self.answers();
            }
            if kernel.contains(PollFlags::IN) {
                self.request();
            }
        }
    }

    /// Waits for the answers that are on their way.
    fn finish(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        loop {
            self.send();
            self.answers();
            let left = end.saturating_duration_since(Instant::now());
            if self.worker_is_gone || left.is_zero() || self.unanswered.lock().is_empty() {
                return;
            }
            let span = Timespec::try_from(left.min(Duration::from_millis(50))).ok();
            let mut fds = [PollFd::new(&self.worker, PollFlags::IN)];
            let _ = poll(&mut fds, span.as_ref());
        }
    }

    fn request(&mut self) {
        // It may be gone again by now (ENOENT): its reader was killed.
        let Ok(length) = rustix::io::read(&self.device, &mut *self.buffer) else { return };
        let request = self.buffer[..length].to_vec();
        let (opcode, unique) = (word(&request, 4), number(&request));
        if !matches!(opcode, FORGET | INTERRUPT | BATCH_FORGET) {
            self.unanswered.lock().insert(unique, request.clone());
        }
        self.waiting.push_back(request);
    }

    fn send(&mut self) {
        while let Some(request) = self.waiting.front() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.worker, request, flags) {
                Ok(_) => drop(self.waiting.pop_front()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => return,
                Err(_) => {
                    self.worker_is_gone = true;
                    return;
                }
            }
        }
    }

    fn answers(&mut self) {
        loop {
            let received = rustix::net::recv(&self.worker, &mut *self.buffer, RecvFlags::DONTWAIT);
            match received.map(|(length, _)| length) {
                Ok(0) => self.worker_is_gone = true,
                Ok(length) => {
                    let answer = &self.buffer[..length];
                    // Its reader may have been killed meanwhile (ENOENT).
                    let _ = rustix::io::write(self.device.as_fd(), answer);
                    self.unanswered.lock().remove(&number(answer));
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(_) => self.worker_is_gone = true,
            }
            return;
        }
    }
}

/// The request's number: at the same place in a request and in its answer.
fn number(message: &[u8]) -> u64 {
    message.get(8..HEADER_OUT).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

fn word(message: &[u8], at: usize) -> u32 {
    message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn message(unique: u64, opcode: u32) -> Vec<u8> {
        let mut message = vec![0; 40];
        message[4..8].copy_from_slice(&opcode.to_ne_bytes());
        message[8..16].copy_from_slice(&unique.to_ne_bytes());
        message
    }

    fn read(fd: &OwnedFd) -> Vec<u8> {
        let mut buffer = vec![0; 1024];
        let length = rustix::io::read(fd, &mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// The kernel's end of a device, as far as messages go, and a relay between it and a worker.
    fn relay(kernel: &OwnedFd, unanswered: &Unanswered) -> (Relay, OwnedFd) {
        let (ours, worker) = pair(Kind::SeqPacket).unwrap();
        let device = kernel.try_clone().unwrap();
        (Relay::start(device, ours, unanswered, PATIENCE).unwrap(), worker)
    }

    #[test]
    fn what_a_worker_took_to_its_grave_the_next_one_gets() {
        let (kernel, device) = pair(Kind::SeqPacket).unwrap();
        let unanswered = Unanswered::default();
        let (first, worker) = relay(&device, &unanswered);
        for unique in [2, 4, 6] {
            rustix::io::write(&kernel, &message(unique, 15)).unwrap();
        }
        rustix::io::write(&kernel, &message(8, FORGET)).unwrap();
        for unique in [2, 4, 6, 8] {
            assert_eq!(number(&read(&worker)), unique);
        }
        rustix::io::write(&worker, &message(4, 0)).unwrap();
        assert_eq!(number(&read(&kernel)), 4);
        drop(worker);
        first.end();
        let (second, worker) = relay(&device, &unanswered);
        assert_eq!([number(&read(&worker)), number(&read(&worker))], [2, 6]);
        for unique in [2, 6] {
            rustix::io::write(&worker, &message(unique, 0)).unwrap();
            assert_eq!(number(&read(&kernel)), unique);
        }
        second.end();
        assert_eq!(unanswered.take(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn an_end_waits_for_what_is_on_its_way() {
        let (kernel, device) = pair(Kind::SeqPacket).unwrap();
        let unanswered = Unanswered::default();
        let (relay, worker) = relay(&device, &unanswered);
        rustix::io::write(&kernel, &message(2, 15)).unwrap();
        assert_eq!(number(&read(&worker)), 2);
        let end = thread::spawn(move || relay.end());
        rustix::io::write(&worker, &message(2, 0)).unwrap();
        end.join().unwrap();
        assert_eq!(number(&read(&kernel)), 2);
        assert!(unanswered.take().is_empty());
    }
}
