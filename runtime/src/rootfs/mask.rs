//! Paths that are hidden or read-only, and the holes in the latter.

use std::os::fd::OwnedFd;
use std::path::Path;

use linux::Errno;
use linux::error::Context as _;
use linux::mount::{self, Attributes, Flags};
use linux::root::Root;
use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor};

use super::attach::new_filesystem;
use super::{Hole, Rootfs};
use crate::error::During as _;
use crate::{Error, Result};

impl Rootfs {
    /// Hides `maskedPaths`, protects `readonlyPaths`, opens the holes, in this order. Paths that
    /// are not there need neither.
    pub(crate) fn restrict(&self) -> Result<()> {
        let root = self.root()?;
        let mut cover = Cover::default();
        for path in &self.masked {
            cover.hide(&root, path).step(|| format!("mask {path}"))?;
        }
        for path in &self.read_only_paths {
            read_only(&root, path).step(|| format!("make {path} read-only"))?;
        }
        for hole in &self.holes {
            open_hole(&root, hole).step(|| format!("keep {} writable", hole.path.display()))?;
        }
        Ok(())
    }

    /// The last change to the tree.
    pub(crate) fn seal(&self) -> Result<()> {
        if self.read_only {
            mount::set_attributes(&self.tree, &Attributes::read_only(), false)
                .step(|| "make the rootfs read-only".into())?;
        }
        Ok(())
    }
}

/// What is put over masked paths, opened when the first one needs it.
#[derive(Default)]
struct Cover {
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Cover {
    fn hide(&mut self, root: &Root, path: &str) -> Result<()> {
        let Some((target, directory)) = find(root, Path::new(path))? else { return Ok(()) };
        let mount = if directory { self.empty()? } else { self.null()? };
        mount::attach(&mount, &target)?;
        Ok(())
    }

    /// The host's /dev/null, by its number: a name can lead anywhere (CVE-2025-31133). Read-only,
    /// which a device is for chmod(2) and chown(2) alone: they would reach the host's own node.
    fn null(&mut self) -> Result<OwnedFd> {
        let null = match &self.null {
            Some(null) => null,
            None => self.null.insert(open_null()?),
        };
        let cover = mount::clone_tree(null, false)?;
        let sealed = Flags::READ_ONLY | Flags::NOSUID | Flags::NOEXEC;
        mount::set_attributes(&cover, &Attributes::set(sealed), false)?;
        Ok(cover)
    }

    fn empty(&mut self) -> Result<OwnedFd> {
        if let Some(empty) = &self.empty {
            return Ok(mount::clone_tree(empty, false)?);
        }
        let parameters = [("mode", "555"), ("nr_inodes", "1")]
            .map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
        let made = new_filesystem("tmpfs", Some("tmpfs"), &parameters)?;
        let sealed = Flags::READ_ONLY | Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
        mount::set_attributes(&made, &Attributes::set(sealed), false)?;
        // Once the first one is attached, its descriptor is what the others are cloned from: a
        // detached mount cannot be cloned before Linux 6.15.
        let first = rustix::io::fcntl_dupfd_cloexec(&made, 3)
            .during(|| "duplicate a mount descriptor".to_owned())?;
        self.empty = Some(first);
        Ok(made)
    }
}

fn open_null() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty())
        .during(|| "open /dev/null".to_owned())?;
    let stat = fstat(&null).during(|| "stat /dev/null".to_owned())?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    if is_null {
        return Ok(null);
    }
    Err(Error::File {
        act: "use the host's /dev/null".into(),
        reason: "it is not the character device 1:3".into(),
    })
}

/// The path inside the tree and whether it is a directory; none when it is not there.
fn find(root: &Root, path: &Path) -> Result<Option<(OwnedFd, bool)>> {
    match root.resolve(path) {
        Ok(target) => {
            let stat = fstat(&target).during(|| format!("stat {}", path.display()))?;
            let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            Ok(Some((target, directory)))
        }
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_only(root: &Root, path: &str) -> Result<()> {
    let Some((target, _)) = find(root, Path::new(path))? else { return Ok(()) };
    let mount = mount::clone_tree(&target, true)?;
    mount::set_attributes(&mount, &Attributes::read_only(), true)?;
    mount::attach(&mount, &target)?;
    Ok(())
}

fn open_hole(root: &Root, hole: &Hole) -> Result<()> {
    let Some((target, _)) = find(root, &hole.path)? else { return Ok(()) };
    let mount = mount::clone_tree(&target, false)?;
    let mut attributes = hole.flags.attributes();
    if !hole.flags.is_read_only() {
        attributes.clear |= Flags::READ_ONLY;
    }
    mount::set_attributes(&mount, &attributes, false)?;
    mount::attach(&mount, &target)?;
    Ok(())
}
