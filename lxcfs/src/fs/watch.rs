//! No reader waits longer than the deadline: a reply that is late is taken from the thread that
//! works on it and answered with the host's values.
//!
//! A cgroup file can block its reader in the kernel, and nothing ends that; what can be ended is
//! the container's wait for it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fuser::ReplyData;

use super::tree::Inode;

/// Requests at work at the same time: as many as threads, with room for more.
const SLOTS: usize = 64;

/// The requests being worked on.
#[derive(Debug)]
pub struct Watch {
    deadline: Duration,
    slots: [Mutex<Option<Pending>>; SLOTS],
    late: AtomicUsize,
}

/// One request: its reply, and what the late answer would be about.
#[derive(Debug)]
pub struct Pending {
    since: Instant,
    /// The request's number, to tell it from the next in the same slot.
    unique: u64,
    /// The reply that somebody has to give.
    pub reply: ReplyData,
    /// The file.
    pub inode: Inode,
    /// Where the read starts.
    pub offset: u64,
    /// How much is wanted.
    pub size: u32,
    /// The open file.
    pub handle: u64,
}

impl Watch {
    /// Nothing at work yet.
    pub fn new(deadline: Duration) -> Watch {
        Watch {
            deadline,
            slots: std::array::from_fn(|_| Mutex::new(None)),
            late: AtomicUsize::new(0),
        }
    }

    /// Puts a reply under watch. Gives it back if all slots are taken: then it goes unwatched.
    pub fn begin(
        &self,
        unique: u64,
        reply: ReplyData,
        inode: Inode,
        offset: u64,
        size: u32,
        handle: u64,
    ) -> Result<usize, ReplyData> {
        let start = usize::try_from(unique / 2 % SLOTS as u64).unwrap_or(0);
        for slot in (start..SLOTS).chain(0..start) {
            let Ok(mut place) = self.slots[slot].try_lock() else { continue };
            if place.is_none() {
                let since = Instant::now();
                *place = Some(Pending { since, unique, reply, inode, offset, size, handle });
                return Ok(slot);
            }
        }
        Err(reply)
    }

    /// Takes the reply back to answer it; `None` if it was late and is answered already.
    pub fn end(&self, slot: usize, unique: u64) -> Option<(ReplyData, Duration)> {
        let mut place = self.lock(slot);
        if place.as_ref().is_some_and(|pending| pending.unique == unique) {
            return place.take().map(|pending| (pending.reply, pending.since.elapsed()));
        }
        drop(place);
        self.late.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Takes every reply that is past the deadline.
    pub fn overdue(&self) -> Vec<Pending> {
        let mut overdue = Vec::new();
        for slot in 0..SLOTS {
            let mut place = self.lock(slot);
            if place.as_ref().is_some_and(|pending| pending.since.elapsed() >= self.deadline) {
                overdue.extend(place.take());
                self.late.fetch_add(1, Ordering::Relaxed);
            }
        }
        overdue
    }

    /// Threads that are still at work on a request somebody else had to answer.
    pub fn stuck(&self) -> usize {
        self.late.load(Ordering::Relaxed)
    }

    fn lock(&self, slot: usize) -> MutexGuard<'_, Option<Pending>> {
        self.slots[slot].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
