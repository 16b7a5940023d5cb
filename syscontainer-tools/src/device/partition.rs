//! What a partition of a disk is called in the container.

/// The container path of a partition: the disk's container path and what the partition's kernel
/// name adds to the disk's.
///
/// The kernel puts a `p` between a disk name that ends in a digit and the number (`nvme0n1p1`); a
/// container path that ends in a digit needs it too, and one that does not has no use for it.
/// Returns nothing when `partition` is not a partition of `disk` by its name.
pub fn container_name(disk: &str, partition: &str, container_disk: &str) -> Option<String> {
    let suffix = partition.strip_prefix(disk)?;
    let number = if disk.ends_with(|last: char| last.is_ascii_digit()) {
        suffix.strip_prefix('p')?
    } else {
        suffix
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let separator =
        if container_disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    Some(format!("{container_disk}{separator}{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(disk: &str, partition: &str, container_disk: &str, expected: Option<&str>) {
        assert_eq!(container_name(disk, partition, container_disk).as_deref(), expected);
    }

    #[test]
    fn a_partition_keeps_its_whole_number() {
        check("sda", "sda1", "/dev/sdx", Some("/dev/sdx1"));
        check("sda", "sda10", "/dev/sdx", Some("/dev/sdx10"));
    }

    #[test]
    fn a_name_that_ends_in_a_digit_needs_a_separator() {
        check("nvme0n1", "nvme0n1p1", "/dev/nvx0", Some("/dev/nvx0p1"));
        check("nvme0n1", "nvme0n1p12", "/dev/sdx", Some("/dev/sdx12"));
        check("sda", "sda2", "/dev/nvx0", Some("/dev/nvx0p2"));
        check("loop0", "loop0p3", "/dev/loop7", Some("/dev/loop7p3"));
    }

    #[test]
    fn another_disk_with_the_same_first_letters_is_not_a_partition() {
        check("sda", "sdaa1", "/dev/sdx", None);
        check("sda", "sda", "/dev/sdx", None);
        check("loop1", "loop10", "/dev/loop1", None);
        check("sda", "sdb1", "/dev/sdx", None);
    }
}
