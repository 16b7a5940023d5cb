//! `/proc/partitions`: the same disks as `diskstats`, with their sizes.

use crate::{sample::BlockSample, text};

/// Writes the header and a line a disk; the file is empty where there is none, as the kernel's is.
pub fn render(block: &BlockSample, out: &mut Vec<u8>) {
    if block.disks.is_empty() {
        return;
    }
    out.extend_from_slice(b"major minor  #blocks  name\n\n");
    for disk in &block.disks {
        text::push_padded(out, u64::from(disk.number.0), 4);
        out.extend_from_slice(b"  ");
        text::push_padded(out, u64::from(disk.number.1), 7);
        out.push(b' ');
        text::push_padded(out, disk.blocks, 10);
        out.push(b' ');
        out.extend_from_slice(disk.name.as_bytes());
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::sample::{BlockCounters, Disk};

    #[test]
    fn header_and_disks() {
        let disk = |minor, name: &str| Disk {
            number: (8, minor),
            name: name.into(),
            blocks: 33_554_432,
            counters: BlockCounters::default(),
        };
        let mut out = Vec::new();
        render(&BlockSample { disks: vec![disk(0, "sda"), disk(16, "xvdb")] }, &mut out);
        expect![[r#"
            major minor  #blocks  name

               8        0   33554432 sda
               8       16   33554432 xvdb
        "#]]
        .assert_eq(&String::from_utf8_lossy(&out));
    }
}
