//! `/proc/diskstats`: the container's own counters of the disks it has to do with.
//!
//! Documentation/admin-guide/iostats.rst. A cgroup has no times, merges or flushes: those are 0.
//! A container without a disk has an empty file, never the host's.

use crate::{sample::BlockSample, text};

/// The unit of the sector columns, whatever the disk's own sector size is.
const SECTOR: u64 = 512;

/// Writes a line a disk, in the 20-column layout (Linux 5.5 and later).
pub fn render(block: &BlockSample, out: &mut Vec<u8>) {
    for disk in &block.disks {
        let counters = &disk.counters;
        text::push_padded(out, u64::from(disk.number.0), 4);
        out.push(b' ');
        text::push_padded(out, u64::from(disk.number.1), 7);
        out.push(b' ');
        out.extend_from_slice(disk.name.as_bytes());
        let columns = [
            counters.reads,
            0,
            counters.read_bytes / SECTOR,
            0,
            counters.writes,
            0,
            counters.written_bytes / SECTOR,
            0,
            0,
            0,
            0,
            counters.discards,
            0,
            counters.discarded_bytes / SECTOR,
            0,
            0,
            0,
        ];
        for column in columns {
            out.push(b' ');
            text::push_number(out, column);
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{BlockCounters, Disk};

    #[test]
    fn twenty_columns() {
        let disk = Disk {
            number: (254, 0),
            name: "sda".into(),
            blocks: 0,
            counters: BlockCounters {
                reads: 3,
                read_bytes: 104_857_600,
                writes: 2,
                written_bytes: 1024,
                discards: 1,
                discarded_bytes: 4096,
            },
        };
        let mut out = Vec::new();
        render(&BlockSample { disks: vec![disk] }, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, " 254       0 sda 3 0 204800 0 2 0 2 0 0 0 0 1 0 8 0 0 0\n");
        assert_eq!(text.split_whitespace().count(), 20);
    }

    #[test]
    fn no_disk_no_line() {
        let mut out = Vec::new();
        render(&BlockSample::default(), &mut out);
        assert!(out.is_empty());
    }
}
