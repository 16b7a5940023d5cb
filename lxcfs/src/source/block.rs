//! Reads a `BlockSample`: counters from the cgroup, names from the container's `/dev`.
//!
//! The container's `/dev` may be anything the container put there, a file system of its own
//! making included, which could keep a reader waiting for ever. So it is looked at only where the
//! kernel itself answers, and only names and numbers are taken from it.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use linux::process::Pid;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, StatxFlags};

use super::{CgroupFile, Places, Trees, optional, small_file};
use crate::{
    sample::{
        BlockCounters, BlockSample, Disk, Version,
        block::{Number, V1File, parse_io_stat, parse_number, parse_v1},
    },
    text,
};

/// How old the list of names and sizes may be.
const NAMES_AGE: Duration = Duration::from_secs(1);
/// More entries than this in `/dev` are not looked at.
const DEV_ENTRIES: usize = 4096;
/// File systems the kernel answers for without asking anybody outside itself.
const KERNEL_FILE_SYSTEMS: [&[u8]; 8] =
    [b"devtmpfs", b"tmpfs", b"ramfs", b"overlay", b"ext4", b"ext3", b"xfs", b"btrfs"];

/// The block files of one container.
#[derive(Debug)]
pub struct BlockSource {
    files: Files,
    names: Mutex<Option<(Instant, Arc<Names>)>>,
}

#[derive(Debug)]
enum Files {
    Stat(CgroupFile),
    /// By preference: BFQ counts what reached the disk, the throttle layer what was asked for.
    V1(Vec<(V1File, CgroupFile)>),
    None,
}

#[derive(Debug, Default)]
struct Names {
    by_number: BTreeMap<Number, String>,
    root: Option<Number>,
    /// In KiB, of those that were asked for; `None` for a device that is gone or is no disk.
    sizes: Mutex<BTreeMap<Number, Option<u64>>>,
}

impl BlockSource {
    /// The files of the cgroup at `places`.
    pub fn new(places: &Places) -> BlockSource {
        let files = match &places.block {
            Some(place) if place.version == Version::V2 => Files::Stat(place.file("io.stat")),
            Some(place) => {
                let file = |what, name: &str| (what, place.file(name));
                Files::V1(vec![
                    file(V1File::Bytes, "blkio.throttle.io_service_bytes_recursive"),
                    file(V1File::Requests, "blkio.throttle.io_serviced_recursive"),
                    file(V1File::Bytes, "blkio.bfq.io_service_bytes_recursive"),
                    file(V1File::Requests, "blkio.bfq.io_serviced_recursive"),
                ])
            }
            None => Files::None,
        };
        BlockSource { files, names: Mutex::new(None) }
    }

    /// Reads the sample. Without counters the disks are still the container's: they show zeros.
    pub fn sample(&self, trees: &Trees, init: Pid) -> BlockSample {
        let counters = self.counters(trees);
        let names = self.names(init);
        let mut disks = Vec::new();
        let numbers = counters.keys().chain(names.by_number.keys()).chain(&names.root);
        for number in numbers.copied().collect::<std::collections::BTreeSet<_>>() {
            let counters = counters.get(&number).copied().unwrap_or_default();
            let name = if names.root == Some(number) {
                Some("sda".to_owned())
            } else {
                let quiet = counters == BlockCounters::default();
                names
                    .by_number
                    .get(&number)
                    .cloned()
                    .or_else(|| if quiet { None } else { host_name(number) })
            };
            // A loop device without a file has no size and is no disk; the kernel lists none either.
            let blocks = names.size(number).filter(|&blocks| blocks > 0);
            if let (Some(name), Some(blocks)) = (name, blocks) {
                disks.push(Disk { number, name, blocks, counters });
            }
        }
        BlockSample { disks }
    }

    fn counters(&self, trees: &Trees) -> BTreeMap<Number, BlockCounters> {
        let mut file = Vec::new();
        let mut disks = BTreeMap::new();
        match &self.files {
            Files::Stat(stat) => {
                if optional(stat, trees, &mut file).is_some() {
                    disks = parse_io_stat(&file);
                }
            }
            Files::V1(files) => {
                for (what, source) in files {
                    if optional(source, trees, &mut file).is_some() {
                        parse_v1(&file, *what, &mut disks);
                    }
                }
            }
            Files::None => {}
        }
        disks
    }

    fn names(&self, init: Pid) -> Arc<Names> {
        let kept = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, names)) = kept.filter(|(read, _)| read.elapsed() < NAMES_AGE) {
            return names;
        }
        let names = Arc::new(Names::read(init).unwrap_or_default());
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::clone(&names)));
        names
    }
}

impl Names {
    fn read(init: Pid) -> Option<Names> {
        let root = format!("/proc/{init}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty()).ok()?;
        let mut names = Names { root: device_of(&root), ..Names::default() };
        let mounts = small_file(Path::new(&format!("/proc/{init}/mountinfo"))).unwrap_or_default();
        if !is_kernels_own(&root, &mounts) {
            return Some(names);
        }
        // A link could lead through a file system that never answers.
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let dev = rustix::fs::openat2(&root, "dev", flags, Mode::empty(), how);
        if let Ok(dev) = dev
            && is_kernels_own(&dev, &mounts)
        {
            names.by_number = block_nodes(&dev).unwrap_or_default();
        }
        Some(names)
    }

    fn size(&self, number: Number) -> Option<u64> {
        let known = self.sizes.lock().unwrap_or_else(PoisonError::into_inner).get(&number).copied();
        known.unwrap_or_else(|| {
            let size = size_of_disk(number);
            self.sizes.lock().unwrap_or_else(PoisonError::into_inner).insert(number, size);
            size
        })
    }
}

/// The disk a directory is on; `None` for file systems without one.
fn device_of(dir: &OwnedFd) -> Option<Number> {
    let stat = unsynced(dir)?;
    let number = (stat.stx_dev_major, stat.stx_dev_minor);
    (number.0 != 0).then(|| whole_disk(number))
}

/// Attributes as the kernel has them, without asking who serves the file system.
fn unsynced(fd: &OwnedFd) -> Option<rustix::fs::Statx> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    rustix::fs::statx(fd, "", flags, StatxFlags::MNT_ID).ok()
}

fn is_kernels_own(dir: &OwnedFd, mounts: &[u8]) -> bool {
    let Some(mount) = unsynced(dir).map(|stat| stat.stx_mnt_id) else { return false };
    text::lines(mounts)
        .find(|line| text::words(line).next().and_then(text::number) == Some(mount))
        .and_then(|line| text::words(line).skip_while(|word| *word != b"-").nth(1))
        .is_some_and(|kind| KERNEL_FILE_SYSTEMS.contains(&kind))
}

fn block_nodes(dev: &OwnedFd) -> rustix::io::Result<BTreeMap<Number, String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dir = rustix::fs::openat(dev, ".", flags, Mode::empty())?;
    let mut nodes = BTreeMap::new();
    for entry in Dir::read_from(&dir)?.take(DEV_ENTRIES) {
        let entry = entry?;
        if entry.file_type() != rustix::fs::FileType::BlockDevice {
            continue;
        }
        let stat = rustix::fs::statat(&dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        // A name with a blank or a newline would be a line or a column of its own.
        let name = entry.file_name().to_string_lossy();
        if name.bytes().all(|byte| byte.is_ascii_graphic()) && whole_disk(number) == number {
            nodes.insert(number, name.into_owned());
        }
    }
    Ok(nodes)
}

/// The disk a partition is on, or the number itself.
fn whole_disk(number: Number) -> Number {
    let base = format!("/sys/dev/block/{}:{}", number.0, number.1);
    small_file(Path::new(&format!("{base}/partition")))
        .and_then(|_| small_file(Path::new(&format!("{base}/../dev"))))
        .and_then(|dev| parse_number(dev.trim_ascii()))
        .unwrap_or(number)
}

/// Size in KiB; `None` for a device that is gone or is no disk.
fn size_of_disk(number: Number) -> Option<u64> {
    let size = small_file(Path::new(&format!("/sys/dev/block/{}:{}/size", number.0, number.1)))?;
    text::number(&size).map(|sectors| sectors / 2)
}

fn host_name(number: Number) -> Option<String> {
    let path = format!("/sys/dev/block/{}:{}/uevent", number.0, number.1);
    let uevent = small_file(Path::new(&path))?;
    text::lines(&uevent)
        .find_map(|line| line.strip_prefix(b"DEVNAME="))
        .map(|name| String::from_utf8_lossy(name).into_owned())
}
