//! A container's rootfs as a tar archive, read by descriptor.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use container::Container;
use linux::root::Root;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::Engine;
use crate::prepare;

/// Writes the archive. Owners are those inside; sockets are left out, they mean nothing elsewhere.
pub fn export(engine: &Engine, container: &Container, out: impl Write) -> Result<()> {
    let config = container.config()?;
    let tree = prepare::tree(engine.store.layout(), container, &config)?;
    let top = tree.root.stat("")?;
    let base = if config.user_remap.is_some() { (top.st_uid, top.st_gid) } else { (0, 0) };
    let mut archive = Archive { tar: Builder::new(out), base, linked: HashMap::new() };
    archive.directory(&tree.root, Path::new(""))?;
    archive.tar.into_inner().and_then(|mut out| out.flush()).context("write the archive")
}

struct Archive<W: Write> {
    tar: Builder<W>,
    /// What ids inside begin at on disk.
    base: (u32, u32),
    /// Where a file of several names was put first.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Archive<W> {
    fn directory(&mut self, directory: &Root, path: &Path) -> Result<()> {
        let mut names = directory.list("")?;
        names.sort_unstable();
        for name in names {
            self.entry(directory, &name, &path.join(&name))
                .with_context(|| format!("archive /{}", path.join(&name).display()))?;
        }
        Ok(())
    }

    fn entry(&mut self, directory: &Root, name: &OsStr, path: &Path) -> Result<()> {
        let stat = match directory.stat_no_follow(name) {
            // It went away while we were on our way to it.
            Err(error) if error.is(Errno::NOENT) => return Ok(()),
            stat => stat?,
        };
        let mut header = self.header(&stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let opened = directory.open_file(name, OFlags::RDONLY | OFlags::NOFOLLOW)?;
                header.set_entry_type(EntryType::Directory);
                self.tar.append_data(&mut header, path, std::io::empty())?;
                self.directory(&Root::from_fd(opened), path)
            }
            FileType::RegularFile => self.file(directory, name, path, &stat, header),
            FileType::Symlink => {
                let target = directory.read_link(name)?;
                header.set_entry_type(EntryType::Symlink);
                Ok(self.tar.append_link(&mut header, path, target)?)
            }
            FileType::Socket | FileType::Unknown => Ok(()),
            kind => {
                header.set_entry_type(match kind {
                    FileType::Fifo => EntryType::Fifo,
                    FileType::BlockDevice => EntryType::Block,
                    _ => EntryType::Char,
                });
                header.set_device_major(rustix::fs::major(stat.st_rdev))?;
                header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
                Ok(self.tar.append_data(&mut header, path, std::io::empty())?)
            }
        }
    }

    fn file(
        &mut self,
        directory: &Root,
        name: &OsStr,
        path: &Path,
        stat: &Stat,
        mut header: Header,
    ) -> Result<()> {
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.linked.get(&identity)
        {
            header.set_entry_type(EntryType::Link);
            return Ok(self.tar.append_link(&mut header, path, first)?);
        }
        let file = File::from(directory.open_file(name, OFlags::RDONLY | OFlags::NOFOLLOW)?);
        let capability = capability(&file)?;
        if let Some(value) = &capability {
            let extension = ("SCHILY.xattr.security.capability", value.as_slice());
            self.tar.append_pax_extensions([extension])?;
        }
        // Of a file that grows, or shrinks, as long as it was when we looked.
        let size = stat.st_size.cast_unsigned();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        let padded = std::io::Read::chain(file, std::io::repeat(0));
        self.tar.append_data(&mut header, path, std::io::Read::take(padded, size))?;
        if stat.st_nlink > 1 {
            self.linked.insert(identity, path.to_owned());
        }
        Ok(())
    }

    fn header(&self, stat: &Stat) -> Header {
        let inside = |id: u32, base: u32| u64::from(id.checked_sub(base).unwrap_or(id));
        let mut header = Header::new_gnu();
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(inside(stat.st_uid, self.base.0));
        header.set_gid(inside(stat.st_gid, self.base.1));
        header.set_mtime(stat.st_mtime.max(0).cast_unsigned());
        header.set_size(0);
        header
    }
}

/// What makes `ping` work for everybody.
fn capability(file: &File) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; 64];
    match rustix::fs::fgetxattr(file, "security.capability", &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno).context("read security.capability"),
    }
}
