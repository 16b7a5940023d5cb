//! Block devices as sysfs shows them: which disk a partition is of, and which partitions a disk has.
//!
//! `/sys/dev/block/MAJOR:MINOR` is a link to the device's directory (sysfs(5)); a partition's lies
//! in its disk's and has a file `partition` (Documentation/ABI/testing/sysfs-block). Names of nodes
//! below /dev are the host's business and are asked of sysfs, never guessed from one another.

use std::path::{Path, PathBuf};

use crate::device::DeviceNumber;
use crate::{Context, Errno, Error, Result, file};

/// A disk or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// Its number.
    pub number: DeviceNumber,
    /// The kernel's name: `sda1`.
    pub name: String,
    /// The partition's number, `None` for a whole disk.
    pub partition: Option<u32>,
    dir: PathBuf,
}

impl BlockDevice {
    /// The device with this number; `ENXIO` when there is none.
    pub fn of(number: DeviceNumber) -> Result<Self> {
        Self::of_in(Path::new("/sys"), number)
    }

    /// The same in a sysfs mounted at (or copied to) `sysfs`.
    pub fn of_in(sysfs: &Path, number: DeviceNumber) -> Result<Self> {
        let link = sysfs.join("dev/block").join(number.to_string());
        let dir = match std::fs::canonicalize(&link) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(format!("find block device {number}"), Errno::NXIO)
                    .with_hint("the kernel has no such disk or partition; see lsblk"));
            }
            answer => answer.during(|| format!("resolve {}", link.display()))?,
        };
        Self::read(dir)
    }

    fn read(dir: PathBuf) -> Result<Self> {
        let value = |name: &str| -> Result<Option<String>> {
            match file::read_to_string(dir.join(name)) {
                Ok(text) => Ok(Some(text.trim_end().to_owned())),
                Err(e) if e.is(Errno::NOENT) => Ok(None),
                Err(e) => Err(e),
            }
        };
        let wrong = |name| Error::new(format!("parse {}", dir.join(name).display()), Errno::INVAL);
        let number =
            value("dev")?.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("dev"))?;
        let partition = match value("partition")? {
            Some(text) => Some(text.parse().map_err(|_| wrong("partition"))?),
            None => None,
        };
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { number, name, partition, dir })
    }

    /// The disk that this is a partition of, `None` for a whole disk.
    pub fn disk(&self) -> Result<Option<Self>> {
        match (self.partition, self.dir.parent()) {
            (Some(_), Some(parent)) => Self::read(parent.to_owned()).map(Some),
            _ => Ok(None),
        }
    }

    /// The partitions of this disk by their numbers; none of a partition.
    pub fn partitions(&self) -> Result<Vec<Self>> {
        let mut partitions = Vec::new();
        let list = || format!("list {}", self.dir.display());
        for entry in std::fs::read_dir(&self.dir).during(list)? {
            let dir = entry.during(list)?.path();
            if !dir.join("partition").exists() {
                continue;
            }
            match Self::read(dir) {
                // Removed while we look.
                Err(e) if e.is(Errno::NOENT) || e.is(Errno::NODEV) => {}
                partition => partitions.push(partition?),
            }
        }
        partitions.sort_by_key(|partition| partition.partition);
        Ok(partitions)
    }

    /// Its size in bytes. sysfs counts in sectors of 512 bytes, whatever the device's are.
    pub fn bytes(&self) -> Result<u64> {
        let path = self.dir.join("size");
        let text = file::read_to_string(&path)?;
        text.trim_end()
            .parse::<u64>()
            .ok()
            .and_then(|sectors| sectors.checked_mul(512))
            .ok_or_else(|| Error::new(format!("parse {}", path.display()), Errno::INVAL))
    }

    /// Its disk's scheduler, `bfq` or `none`; `None` for what has none, as a stack of other disks.
    pub fn scheduler(&self) -> Result<Option<String>> {
        let dir = match (self.partition, self.dir.parent()) {
            (Some(_), Some(disk)) => disk,
            _ => &self.dir,
        };
        // The one that is at work stands in brackets, among those that could be.
        match file::read_to_string(dir.join("queue/scheduler")) {
            Ok(text) => Ok(text
                .split_once('[')
                .and_then(|(_, rest)| rest.split_once(']'))
                .map(|(active, _)| active.to_owned())),
            Err(e) if e.is(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What the kernel calls its node below /dev: `sda1`, `mapper/x` for no device (those are
    /// links), `cciss/c0d0` for a few.
    pub fn node_name(&self) -> Result<String> {
        let text = file::read_to_string(self.dir.join("uevent"))?;
        let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        Ok(name.unwrap_or(&self.name).to_owned())
    }

    /// Its directory in sysfs.
    pub fn sysfs_dir(&self) -> &Path {
        &self.dir
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use expect_test::expect;

    use super::*;

    const fn number(major: u32, minor: u32) -> DeviceNumber {
        DeviceNumber { major, minor }
    }

    /// A disk 8:0 with partitions 2 and 10, as sysfs shows it.
    fn sysfs() -> tempfile::TempDir {
        let sysfs = tempfile::tempdir().unwrap();
        let disk = sysfs.path().join("devices/pci/block/sda");
        fs::create_dir_all(sysfs.path().join("dev/block")).unwrap();
        for (dir, dev, partition) in [
            ("", "8:0", None),
            ("sda10", "259:0", Some(10)),
            ("sda2", "8:2", Some(2)),
            ("queue", "", None),
        ] {
            let dir = disk.join(dir);
            fs::create_dir_all(&dir).unwrap();
            if !dev.is_empty() {
                fs::write(dir.join("dev"), format!("{dev}\n")).unwrap();
                fs::write(dir.join("size"), "2048\n").unwrap();
                symlink(&dir, sysfs.path().join("dev/block").join(dev)).unwrap();
            }
            if let Some(partition) = partition {
                fs::write(dir.join("partition"), format!("{partition}\n")).unwrap();
            }
        }
        fs::write(disk.join("uevent"), "MAJOR=8\nMINOR=0\nDEVNAME=cciss/c0d0\n").unwrap();
        fs::write(disk.join("sda2/uevent"), "").unwrap();
        sysfs
    }

    #[test]
    fn partitions_and_disks_find_each_other() {
        let sysfs = sysfs();
        let disk = BlockDevice::of_in(sysfs.path(), number(8, 0)).unwrap();
        assert_eq!((&*disk.name, disk.partition, disk.disk().unwrap()), ("sda", None, None));
        assert_eq!(disk.bytes().unwrap(), 1 << 20);
        assert_eq!(disk.node_name().unwrap(), "cciss/c0d0");
        assert_eq!(disk.scheduler().unwrap(), None);
        fs::write(disk.sysfs_dir().join("queue/scheduler"), "none [mq-deadline] bfq\n").unwrap();
        let partitions = disk.partitions().unwrap();
        let names: Vec<_> = partitions.iter().map(|partition| &*partition.name).collect();
        assert_eq!(names, ["sda2", "sda10"]);
        assert_eq!(partitions[1].number, number(259, 0));
        assert_eq!(partitions[1].scheduler().unwrap().as_deref(), Some("mq-deadline"));
        assert_eq!(partitions[0].disk().unwrap(), Some(disk));
        assert_eq!(partitions[0].node_name().unwrap(), "sda2");
        assert_eq!(partitions[0].partitions().unwrap(), []);
    }

    #[test]
    fn texts() {
        let sysfs = sysfs();
        let refused = |number| {
            let error = BlockDevice::of_in(sysfs.path(), number).unwrap_err().to_string();
            error.replace(sysfs.path().canonicalize().unwrap().to_str().unwrap(), "SYS")
        };
        expect!["find block device 9:9: no such device or address (ENXIO); the kernel has no such disk or partition; see lsblk"]
            .assert_eq(&refused(number(9, 9)));
        fs::write(sysfs.path().join("devices/pci/block/sda/sda2/partition"), "x").unwrap();
        expect!["parse SYS/devices/pci/block/sda/sda2/partition: invalid argument (EINVAL)"]
            .assert_eq(&refused(number(8, 2)));
    }
}
