//! What must survive a worker: the CPU record of each container and the next free slot number.
//!
//! It lies in a memory file that the holder keeps open. A worker writes a record before it answers
//! the read that made it, so nothing that was told can be forgotten. Each record has two copies,
//! written in turn and checked by a sum: whenever the writer dies, one of them is whole.
//!
//! ```text
//! 0      header: magic, next slot
//! 4096   record: [key][copy][copy]   sizes in blocks of 256 bytes, one after the other
//! ```

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use linux::Context as _;
use rustix::fs::MemfdFlags;

use crate::{cpuview::Record, sample::CpuUsage, view::stat::CpuTimes};

const MAGIC: u64 = 0x6c78_6366_7331_0001;
const FIRST: u64 = 4096;
const BLOCK: u64 = 256;
/// Words of a record's fixed part: magic, blocks, key, start.
const HEAD: usize = 4;
/// Words of a copy's fixed part: sum, turn, at, user, nice, system, throttled, CPUs.
const COPY_HEAD: usize = 8;

/// Whose record it is: never the same for two containers of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The inode of its pid namespace, or its slot number.
    pub identity: u64,
    /// When its init started, microseconds since boot.
    pub start: u64,
}

/// The memory file and where each record is in it.
#[derive(Debug)]
pub struct State {
    file: OwnedFd,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    places: HashMap<Key, Place>,
    /// Free places by their number of blocks.
    free: HashMap<u64, Vec<u64>>,
    end: u64,
    next_slot: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    blocks: u64,
    turn: u64,
}

/// Makes the memory file that the holder keeps.
pub fn create() -> linux::Result<OwnedFd> {
    rustix::fs::memfd_create("lxcfs-state", MemfdFlags::CLOEXEC).during(|| "make the state file")
}

impl State {
    /// Takes the file over: everything in it that is whole is there again.
    pub fn open(file: OwnedFd) -> linux::Result<(State, HashMap<Key, Record>)> {
        let size = rustix::fs::fstat(&file).during(|| "look at the state file")?.st_size;
        let size = u64::try_from(size).unwrap_or(0);
        let mut index = Index { end: FIRST, next_slot: 1, ..Index::default() };
        let mut records = HashMap::new();
        let header = read_words(&file, 0, 2);
        if header.first() == Some(&MAGIC) {
            index.next_slot = header.get(1).copied().unwrap_or(1).max(1);
        }
        while index.end < size {
            let head = read_words(&file, index.end, HEAD);
            let [MAGIC, blocks, identity, start] = head[..] else { break };
            if blocks == 0 || index.end + blocks * BLOCK > size {
                break;
            }
            let place = Place { offset: index.end, blocks, turn: 0 };
            let key = Key { identity, start };
            match newest_copy(&file, place) {
                Some((turn, record)) if identity != 0 => {
                    index.places.insert(key, Place { turn, ..place });
                    records.insert(key, record);
                }
                _ => index.free.entry(blocks).or_default().push(place.offset),
            }
            index.end += blocks * BLOCK;
        }
        Ok((State { file, index: Mutex::new(index) }, records))
    }

    /// A number no container had before, for its inodes.
    pub fn next_slot(&self) -> linux::Result<u64> {
        let mut index = self.index();
        let slot = index.next_slot;
        write_words(&self.file, 0, &[MAGIC, slot + 1])?;
        index.next_slot = slot + 1;
        Ok(slot)
    }

    /// Keeps `record`. Returns once it is where the next worker will find it.
    pub fn store(&self, key: Key, record: &Record) -> linux::Result<()> {
        let copy = (COPY_HEAD + 5 * record.cpus.len()) as u64 * 8;
        let blocks = (HEAD as u64 * 8 + 2 * copy).div_ceil(BLOCK);
        let mut place = self.place(key, blocks)?;
        place.turn += 1;
        let words = encode(record, place.turn);
        write_words(&self.file, copy_offset(place, place.turn), &words)?;
        self.index().places.insert(key, place);
        Ok(())
    }

    /// Frees the record of a container that is gone.
    pub fn forget(&self, key: Key) -> linux::Result<()> {
        let mut index = self.index();
        let Some(place) = index.places.remove(&key) else { return Ok(()) };
        write_words(&self.file, place.offset, &[MAGIC, place.blocks, 0, 0])?;
        index.free.entry(place.blocks).or_default().push(place.offset);
        Ok(())
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.index().places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn place(&self, key: Key, blocks: u64) -> linux::Result<Place> {
        let mut index = self.index();
        if let Some(place) = index.places.get(&key).copied() {
            if place.blocks >= blocks {
                return Ok(place);
            }
            index.places.remove(&key);
            write_words(&self.file, place.offset, &[MAGIC, place.blocks, 0, 0])?;
            index.free.entry(place.blocks).or_default().push(place.offset);
        }
        let reused = index.free.get_mut(&blocks).and_then(Vec::pop);
        let offset = reused.unwrap_or(index.end);
        // The head goes last: a place whose head is written has two empty copies, not old ones.
        let empty = vec![0; usize::try_from(blocks * BLOCK / 8).unwrap_or(HEAD) - HEAD];
        write_words(&self.file, offset + HEAD as u64 * 8, &empty)?;
        write_words(&self.file, offset, &[MAGIC, blocks, key.identity, key.start])?;
        if reused.is_none() {
            index.end += blocks * BLOCK;
        }
        let place = Place { offset, blocks, turn: 0 };
        index.places.insert(key, place);
        Ok(place)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn copy_offset(place: Place, turn: u64) -> u64 {
    let half = ((place.blocks * BLOCK - HEAD as u64 * 8) / 2) & !7;
    place.offset + HEAD as u64 * 8 + (turn % 2) * half
}

fn newest_copy(file: &OwnedFd, place: Place) -> Option<(u64, Record)> {
    (0..2)
        .filter_map(|turn| {
            let offset = copy_offset(place, turn);
            let words = usize::try_from((place.blocks * BLOCK - HEAD as u64 * 8) / 16).ok()?;
            decode(&read_words(file, offset, words))
        })
        .max_by_key(|(turn, _)| *turn)
}

fn encode(record: &Record, turn: u64) -> Vec<u64> {
    let usage = &record.usage;
    let mut words = vec![
        0,
        turn,
        record.at,
        usage.user,
        usage.nice,
        usage.system,
        usage.throttled,
        record.cpus.len() as u64,
    ];
    for cpu in &record.cpus {
        words.extend([cpu.user, cpu.nice, cpu.system, cpu.idle, cpu.steal]);
    }
    words[0] = sum(&words[1..]);
    words
}

fn decode(words: &[u64]) -> Option<(u64, Record)> {
    let &[kept, turn, at, user, nice, system, throttled, cpus] =
        words.first_chunk::<COPY_HEAD>()?;
    let end = COPY_HEAD + 5 * usize::try_from(cpus).ok()?;
    let times = words.get(COPY_HEAD..end)?;
    if turn == 0 || kept != sum(&words[1..end]) {
        return None;
    }
    let cpus = times
        .chunks_exact(5)
        .map(|cpu| CpuTimes {
            user: cpu[0],
            nice: cpu[1],
            system: cpu[2],
            idle: cpu[3],
            steal: cpu[4],
        })
        .collect();
    let usage = CpuUsage { user, nice, system, throttled };
    Some((turn, Record { at, usage, cpus }))
}

/// FNV-1a over words: it tells a torn copy from a whole one, nothing more.
fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0xcbf2_9ce4_8422_2325, |sum, word| {
        (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17)
    })
}

fn read_words(file: &OwnedFd, offset: u64, count: usize) -> Vec<u64> {
    let mut bytes = vec![0u8; count * 8];
    let got = rustix::io::pread(file, &mut bytes, offset).unwrap_or(0);
    let words = bytes[..got].as_chunks::<8>().0;
    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

fn write_words(file: &OwnedFd, offset: u64, words: &[u64]) -> linux::Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rustix::io::pwrite(file, &bytes, offset).during(|| "write the state file")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cpus: usize, idle: u64) -> Record {
        Record {
            at: idle,
            usage: CpuUsage { user: 1, nice: 0, system: 2, throttled: 3 },
            cpus: vec![CpuTimes { idle, ..CpuTimes::default() }; cpus],
        }
    }

    fn key(identity: u64) -> Key {
        Key { identity, start: 7 }
    }

    #[test]
    fn a_successor_finds_the_last_record_of_each() {
        let file = create().unwrap();
        let (state, records) = State::open(file.try_clone().unwrap()).unwrap();
        assert!(records.is_empty());
        for turn in 1..=5 {
            state.store(key(1), &record(2, turn)).unwrap();
            state.store(key(2), &record(300, turn * 10)).unwrap();
        }
        assert_eq!(state.next_slot().unwrap(), 1);
        drop(state);
        let (state, records) = State::open(file).unwrap();
        assert_eq!(records[&key(1)], record(2, 5));
        assert_eq!(records[&key(2)], record(300, 50));
        assert_eq!(state.next_slot().unwrap(), 2);
    }

    #[test]
    fn a_record_that_grows_moves_and_a_gone_one_makes_room() {
        let file = create().unwrap();
        let (state, _) = State::open(file.try_clone().unwrap()).unwrap();
        state.store(key(1), &record(1, 1)).unwrap();
        state.store(key(1), &record(64, 2)).unwrap();
        state.store(key(2), &record(1, 3)).unwrap();
        let end = state.index().end;
        state.forget(key(2)).unwrap();
        state.store(key(3), &record(1, 4)).unwrap();
        assert_eq!(state.index().end, end);
        let (_, records) = State::open(file).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[&key(1)], record(64, 2));
        assert_eq!(records[&key(3)], record(1, 4));
    }

    #[test]
    fn a_torn_copy_leaves_the_one_before() {
        let file = create().unwrap();
        let (state, _) = State::open(file.try_clone().unwrap()).unwrap();
        state.store(key(1), &record(2, 1)).unwrap();
        state.store(key(1), &record(2, 2)).unwrap();
        let place = state.index().places[&key(1)];
        write_words(&file, copy_offset(place, 2) + 16, &[99]).unwrap();
        let (_, records) = State::open(file).unwrap();
        assert_eq!(records[&key(1)], record(2, 1));
    }
}
