//! Filesystems on block devices and in image files: the rootfs of some containers, and what
//! `--mount type=squashfs` attaches. They are mounted below the container's state directory from its
//! start to its end. A shim that was killed leaves them there, and whoever settles its affairs takes
//! them away.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use container::config::MountKind;
use container::layout::running;
use container::{Config, Container};
use linux::loop_device::{Loop, Settings};
use linux::mount::{self, Attributes, Flags};
use linux::mountinfo;

/// A filesystem that can be told by its first bytes: where they are, what they are, whether it can
/// be written.
struct Kind {
    name: &'static str,
    offset: u64,
    magic: &'static [u8],
    writable: bool,
}

/// Offsets and numbers as in the kernel's `magic.h` and on-disk formats.
const KINDS: &[Kind] = &[
    Kind { name: "ext4", offset: 0x438, magic: &[0x53, 0xef], writable: true },
    Kind { name: "xfs", offset: 0, magic: b"XFSB", writable: true },
    Kind { name: "btrfs", offset: 0x1_0040, magic: b"_BHRfS_M", writable: true },
    Kind { name: "f2fs", offset: 0x400, magic: &[0x10, 0x20, 0xf5, 0xf2], writable: true },
    Kind { name: "squashfs", offset: 0, magic: b"hsqs", writable: false },
    Kind { name: "erofs", offset: 0x400, magic: &[0xe2, 0xe1, 0xf5, 0xe0], writable: false },
];
/// The end of a master boot record, and the word that begins a GPT.
const MBR: (u64, &[u8]) = (0x1fe, &[0x55, 0xaa]);
const GPT: (u64, &[u8]) = (0x200, b"EFI PART");

/// Whether `path` is something that holds a filesystem, not a directory of one.
pub fn is_image(path: &Path) -> Result<bool> {
    let metadata =
        fs::metadata(path).with_context(|| format!("Failed to get rootfs '{}'", path.display()))?;
    let kind = metadata.file_type();
    ensure!(
        kind.is_dir() || kind.is_file() || kind.is_block_device(),
        "rootfs {} is neither a directory, nor a block device, nor a disk image",
        path.display()
    );
    Ok(!kind.is_dir())
}

/// Where the rootfs of `config` is while it runs.
pub fn rootfs_place(container: &Container, config: &Config) -> PathBuf {
    match config.rootfs_image {
        true => container.state_dir.join(running::ROOTFS),
        false => config.rootfs.clone(),
    }
}

/// Everything of it that has to be mounted: source, place, not to be written.
fn wanted(container: &Container, config: &Config) -> Vec<(PathBuf, PathBuf, bool)> {
    let mut all = vec![];
    if config.rootfs_image {
        let place = rootfs_place(container, config);
        all.push((config.rootfs.clone(), place, config.read_only));
    }
    for (index, mount) in config.mounts.iter().enumerate() {
        if mount.kind == MountKind::Squashfs {
            all.push((mount.source.clone(), container.state_dir.join(running::image(index)), true));
        }
    }
    all
}

/// Mounts what is not there yet.
pub(super) fn mount_all(container: &Container, config: &Config) -> Result<()> {
    for (source, place, read_only) in wanted(container, config) {
        if is_mounted(&place)? {
            continue;
        }
        let act = || format!("mount {}", source.display());
        fs::create_dir_all(&place).with_context(act)?;
        let filesystem = open(&source, read_only)?;
        mount::attach(filesystem, File::open(&place).with_context(act)?).with_context(act)?;
    }
    Ok(())
}

/// Takes away what is there.
pub fn unmount_all(container: &Container, config: &Config) -> Result<()> {
    for (source, place, _) in wanted(container, config) {
        let act = || format!("unmount {}", source.display());
        if is_mounted(&place)? {
            mount::detach(&place).with_context(act)?;
        }
        match fs::remove_dir(&place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(act);
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn is_mounted(place: &Path) -> Result<bool> {
    Ok(mountinfo::of_self()?.iter().any(|mount| mount.mount_point == place))
}

/// A mount of what is in `source` that is attached nowhere.
pub(super) fn open(source: &Path, read_only: bool) -> Result<OwnedFd> {
    let act = || format!("mount {}", source.display());
    let file = File::open(source).with_context(act)?;
    let kind = kind_of(&file, source)?;
    let read_only = read_only || !kind.writable;
    let is_device = file.metadata().with_context(act)?.file_type().is_block_device();
    let bound = match is_device {
        true => None,
        false => Some(bind(source, file, read_only)?),
    };
    let device = bound.as_ref().map_or(source, Loop::path);
    let device = device.to_str().with_context(|| format!("{} is not text", device.display()))?;
    let options: &[(&str, Option<&str>)] = if read_only { &[("ro", None)] } else { &[] };
    let mut flags = Flags::NODEV;
    flags.set(Flags::READ_ONLY, read_only);
    mount::new_filesystem(kind.name, Some(device), options, &Attributes::set(flags))
        .with_context(act)
}

/// The file as a device that goes with its last user.
fn bind(source: &Path, file: File, read_only: bool) -> Result<Loop> {
    in_use(source)?;
    let file = match read_only {
        true => file,
        false => File::options()
            .read(true)
            .write(true)
            .open(source)
            .with_context(|| format!("open {} for writing", source.display()))?,
    };
    let settings = Settings { read_only, autoclear: true, partitions: false };
    Ok(Loop::bind(&file, settings)?)
}

/// Two devices on one file each believe to be alone with its filesystem.
fn in_use(source: &Path) -> Result<()> {
    let real = fs::canonicalize(source).with_context(|| format!("find {}", source.display()))?;
    for device in fs::read_dir("/sys/block").context("list /sys/block")?.flatten() {
        // Devices that are no loop, or bound to nothing, have no such file.
        let backing = fs::read_to_string(device.path().join("loop/backing_file"));
        ensure!(
            !backing.is_ok_and(|path| Path::new(path.trim_end()) == real),
            "{} is in use as /dev/{}; unmount it first",
            source.display(),
            device.file_name().display()
        );
    }
    Ok(())
}

fn kind_of(file: &File, source: &Path) -> Result<&'static Kind> {
    let has = |offset: u64, magic: &[u8]| {
        let mut found = vec![0; magic.len()];
        file.read_exact_at(&mut found, offset).is_ok() && found == magic
    };
    if let Some(kind) = KINDS.iter().find(|kind| has(kind.offset, kind.magic)) {
        return Ok(kind);
    }
    let source = source.display();
    if has(MBR.0, MBR.1) || has(GPT.0, GPT.1) {
        bail!("{source} holds a partition table; name the partition: losetup --partscan");
    }
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    bail!("{source} holds none of {}; mount it and name the directory", names.join(", "))
}
