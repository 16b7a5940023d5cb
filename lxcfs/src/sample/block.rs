//! What a cgroup has read from and written to each disk.
//!
//! v2 `io.stat`: `8:0 rbytes=.. wbytes=.. rios=.. wios=.. dbytes=.. dios=..`. v1 has a file a
//! counter: `8:0 Read 1234`, from the throttle layer or from BFQ. Rows of disks that are gone
//! appear as `(unknown)` or without a number, and are passed over.

use std::collections::BTreeMap;

use crate::text;

/// A device number, the block subsystem's key.
pub type Number = (u32, u32);

/// Bytes and requests of one disk; each number only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the counters")]
pub struct BlockCounters {
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub discarded_bytes: u64,
    pub reads: u64,
    pub writes: u64,
    pub discards: u64,
}

/// One disk as the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Major and minor.
    pub number: Number,
    /// The name under the container's `/dev`; `sda` for the disk its root is on.
    pub name: String,
    /// Size in KiB, for `partitions`.
    pub blocks: u64,
    /// What the container did to it.
    pub counters: BlockCounters,
}

/// All disks of a container, by device number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockSample {
    /// Ascending by number.
    pub disks: Vec<Disk>,
}

/// Which number of `BlockCounters` a v1 file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum V1File {
    /// `blkio.throttle.io_service_bytes_recursive` and its BFQ twin.
    Bytes,
    /// `blkio.throttle.io_serviced_recursive` and its BFQ twin.
    Requests,
}

/// Reads `io.stat`.
pub fn parse_io_stat(file: &[u8]) -> BTreeMap<Number, BlockCounters> {
    let mut disks = BTreeMap::new();
    for line in text::lines(file) {
        let mut parts = text::words(line);
        let Some(number) = parts.next().and_then(parse_number) else { continue };
        let counters: &mut BlockCounters = disks.entry(number).or_default();
        for part in parts {
            let mut halves = part.splitn(2, |&byte| byte == b'=');
            let (Some(key), Some(value)) = (halves.next(), halves.next().and_then(text::number))
            else {
                continue;
            };
            match key {
                b"rbytes" => counters.read_bytes = value,
                b"wbytes" => counters.written_bytes = value,
                b"dbytes" => counters.discarded_bytes = value,
                b"rios" => counters.reads = value,
                b"wios" => counters.writes = value,
                b"dios" => counters.discards = value,
                _ => {}
            }
        }
    }
    disks
}

/// Adds one v1 file to what others have said already.
pub fn parse_v1(file: &[u8], what: V1File, disks: &mut BTreeMap<Number, BlockCounters>) {
    for line in text::lines(file) {
        let mut parts = text::words(line);
        let (Some(number), Some(operation), Some(value)) = (
            parts.next().and_then(parse_number),
            parts.next(),
            parts.next().and_then(text::number),
        ) else {
            continue;
        };
        let counters = disks.entry(number).or_default();
        let field = match (operation, what) {
            (b"Read", V1File::Bytes) => &mut counters.read_bytes,
            (b"Write", V1File::Bytes) => &mut counters.written_bytes,
            (b"Discard", V1File::Bytes) => &mut counters.discarded_bytes,
            (b"Read", V1File::Requests) => &mut counters.reads,
            (b"Write", V1File::Requests) => &mut counters.writes,
            (b"Discard", V1File::Requests) => &mut counters.discards,
            _ => continue,
        };
        *field = value;
    }
}

/// `8:16` of a cgroup file or of sysfs.
pub fn parse_number(word: &[u8]) -> Option<Number> {
    let mut halves = word.splitn(2, |&byte| byte == b':');
    let major = text::number(halves.next()?)?;
    let minor = text::number(halves.next()?)?;
    Some((u32::try_from(major).ok()?, u32::try_from(minor).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_stat_tolerates_what_the_kernel_writes_for_gone_disks() {
        let disks = parse_io_stat(
            b"8:0 rbytes=1024 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n(unknown) rbytes=1\n8:16 \n",
        );
        assert_eq!(disks[&(8, 0)].read_bytes, 1024);
        assert_eq!(disks[&(8, 0)].writes, 1);
        assert_eq!(disks[&(8, 16)], BlockCounters::default());
        assert_eq!(disks.len(), 2);
    }

    #[test]
    fn v1_files_add_up() {
        let mut disks = BTreeMap::new();
        parse_v1(
            b"254:0 Read 4096\n254:0 Write 0\n254:0 Sync 4096\n254:0 Total 4096\nTotal 4096\n",
            V1File::Bytes,
            &mut disks,
        );
        parse_v1(b"254:0 Read 3\n254:0 Write 0\nTotal 3\n", V1File::Requests, &mut disks);
        assert_eq!(disks.len(), 1);
        assert_eq!((disks[&(254, 0)].read_bytes, disks[&(254, 0)].reads), (4096, 3));
    }
}
