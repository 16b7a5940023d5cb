//! What a cgroup has read and written, for each disk.

use std::collections::BTreeMap;

use super::{Cgroup, Version};
use crate::device::DeviceNumber;
use crate::error::Result;

/// Counters of one disk; each only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockUsage {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Bytes discarded.
    pub discard_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Discards.
    pub discards: u64,
}

/// The counters of each disk that has any.
pub type BlockUsages = BTreeMap<(u32, u32), BlockUsage>;

/// v1: bytes and operations in two files, kept by the throttling layer or else by a scheduler.
const V1_FILES: [(&str, &str); 2] = [
    ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"),
    ("blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive"),
];

impl Cgroup {
    /// Traffic of the cgroup and those below it by device number, empty without any.
    pub fn block_usage(&self) -> Result<BlockUsages> {
        let Some(place) = self.place_with("blkio").or_else(|| self.place_with("io")) else {
            return Ok(BlockUsages::new());
        };
        if place.hierarchy.version == Version::V2 {
            return Ok(parse_v2(&place.read_if_there("io.stat")?));
        }
        for (bytes, operations) in V1_FILES {
            let usages = parse_v1(&place.read_if_there(bytes)?, &place.read_if_there(operations)?);
            if !usages.is_empty() {
                return Ok(usages);
            }
        }
        Ok(BlockUsages::new())
    }
}

fn device(text: &str) -> Option<(u32, u32)> {
    let DeviceNumber { major, minor } = text.parse().ok()?;
    Some((major, minor))
}

/// `MAJ:MIN key=value ...`; a line without values, or of an unknown disk, is passed over.
fn parse_v2(text: &str) -> BlockUsages {
    let mut usages = BlockUsages::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(number) = words.next().and_then(device) else { continue };
        for word in words {
            let Some((key, value)) = word.split_once('=') else { continue };
            let Ok(value) = value.parse() else { continue };
            let usage = usages.entry(number).or_default();
            match key {
                "rbytes" => usage.read_bytes = value,
                "wbytes" => usage.write_bytes = value,
                "dbytes" => usage.discard_bytes = value,
                "rios" => usage.reads = value,
                "wios" => usage.writes = value,
                "dios" => usage.discards = value,
                _ => {}
            }
        }
    }
    usages
}

/// `MAJ:MIN Read 1`, and a total at the end.
fn parse_v1(bytes: &str, operations: &str) -> BlockUsages {
    let mut usages = BlockUsages::new();
    let lines = bytes.lines().map(|line| (line, true));
    for (line, is_bytes) in lines.chain(operations.lines().map(|line| (line, false))) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [number, kind, value] = words[..] else { continue };
        let (Some(number), Ok(value)) = (device(number), value.parse()) else { continue };
        let mut none = 0;
        let usage = usages.entry(number).or_default();
        let field = match (kind, is_bytes) {
            ("Read", true) => &mut usage.read_bytes,
            ("Write", true) => &mut usage.write_bytes,
            ("Discard", true) => &mut usage.discard_bytes,
            ("Read", false) => &mut usage.reads,
            ("Write", false) => &mut usage.writes,
            ("Discard", false) => &mut usage.discards,
            _ => &mut none,
        };
        *field = value;
    }
    usages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let v2 = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16\n(unknown) rbytes=1\n";
        let bytes = "8:0 Read 1\n8:0 Write 2\n8:0 Sync 9\n8:0 Discard 5\n8:0 Total 8\nTotal 8\n";
        let operations = "8:0 Read 3\n8:0 Write 4\n8:0 Discard 6\nTotal 13\n";
        let usage = BlockUsage {
            read_bytes: 1,
            write_bytes: 2,
            discard_bytes: 5,
            reads: 3,
            writes: 4,
            discards: 6,
        };
        assert_eq!(parse_v2(v2), BlockUsages::from([((8, 0), usage)]));
        assert_eq!(parse_v1(bytes, operations), BlockUsages::from([((8, 0), usage)]));
    }
}
