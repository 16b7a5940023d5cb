//! An open file: its text is fixed at the first read, and again at each read from the start.
//!
//! So a reader with a small buffer gets one consistent text, `pread` at any offset works before
//! anything else was read, and `lseek` to 0 refreshes, as procfs does it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::caller::Caller;

/// Locks that handles are spread over.
const SHARDS: usize = 16;

/// One open file.
#[derive(Debug)]
pub struct Handle {
    /// Whose values it shows.
    pub caller: Caller,
    text: Mutex<Option<Arc<[u8]>>>,
}

impl Handle {
    /// A file that nothing was read from.
    pub fn new(caller: Caller) -> Handle {
        Handle { caller, text: Mutex::new(None) }
    }

    /// The text for a read at `offset`: what was fixed before, unless the read starts over.
    pub fn text(&self, offset: u64, render: impl FnOnce() -> Arc<[u8]>) -> Arc<[u8]> {
        if offset > 0
            && let Some(text) = self.lock().clone()
        {
            return text;
        }
        // Rendered without the lock: it reads files.
        let text = render();
        *self.lock() = Some(Arc::clone(&text));
        text
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<[u8]>>> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of `text` that a read gets: nothing at or past the end, however far.
pub fn slice(text: &[u8], offset: u64, size: u32) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let end = start.saturating_add(size as usize).min(text.len());
    &text[start..end]
}

/// All open files, by the number the kernel has for each.
#[derive(Debug)]
pub struct Handles {
    next: AtomicU64,
    shards: [Mutex<HashMap<u64, Arc<Handle>>>; SHARDS],
}

impl Handles {
    /// `generation` is the worker's: no number of an earlier worker is given out again.
    pub fn new(generation: u16) -> Handles {
        Handles {
            next: AtomicU64::new(u64::from(generation) << 48 | 1),
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
        }
    }

    /// Takes a file in and gives its number.
    pub fn insert(&self, handle: Handle) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(number).insert(number, Arc::new(handle));
        number
    }

    /// The file of a number. One that a worker before us gave out is made anew: its text is gone,
    /// but whose it is can be found again.
    pub fn get(&self, number: u64, anew: impl FnOnce() -> Handle) -> Arc<Handle> {
        if let Some(handle) = self.shard(number).get(&number) {
            return Arc::clone(handle);
        }
        let handle = Arc::new(anew());
        self.shard(number).insert(number, Arc::clone(&handle));
        handle
    }

    /// Drops a closed file.
    pub fn remove(&self, number: u64) {
        self.shard(number).remove(&number);
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        (0..SHARDS as u64).map(|shard| self.shard(shard).len()).sum()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Arc<Handle>>> {
        let shard = usize::try_from(number % SHARDS as u64).unwrap_or(0);
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_offset_is_an_error() {
        let text = b"0123456789";
        assert_eq!(slice(text, 3, 4), b"3456");
        assert_eq!(slice(text, 9, 100), b"9");
        for offset in [10, 11, 1 << 31, 1 << 32, i64::MAX as u64, u64::MAX] {
            assert_eq!(slice(text, offset, u32::MAX), b"");
        }
    }

    #[test]
    fn text_is_fixed_until_a_read_from_the_start() {
        let handle = Handle::new(Caller::Host);
        let text = |offset, text: &str| {
            let text: Arc<[u8]> = text.as_bytes().into();
            handle.text(offset, || text).to_vec()
        };
        assert_eq!(text(5, "one"), b"one", "any offset can be first");
        assert_eq!(text(1, "two"), b"one");
        assert_eq!(text(0, "two"), b"two");
        assert_eq!(text(2, "three"), b"two");
    }

    #[test]
    fn a_number_of_an_earlier_worker_opens_again() {
        let handles = Handles::new(2);
        let mine = handles.insert(Handle::new(Caller::Host));
        assert_ne!(mine >> 48, 1);
        handles.get((1 << 48) | 77, || Handle::new(Caller::Host));
        assert_eq!(handles.len(), 2);
        handles.remove(mine);
        assert_eq!(handles.len(), 1);
    }
}
