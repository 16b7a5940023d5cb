//! A new mount of a filesystem: fsopen(2), fsconfig(2), fsmount(2).

use std::os::fd::{AsFd, OwnedFd};

use rustix::mount::{FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags};

use super::attributes::{Attributes, atime_bits, set_attributes};
use crate::{Errno, Error, Result, fault};

/// A new detached mount of a filesystem. `options` are those of the filesystem (`size=64k`); what
/// belongs to the mount is in `attributes`; a new mount has no flag that could be cleared.
///
/// When the kernel refuses, the error carries what it wrote to the context's log.
pub fn new_filesystem(
    fstype: &str,
    source: Option<&str>,
    options: &[(&str, Option<&str>)],
    attributes: &Attributes<'_>,
) -> Result<OwnedFd> {
    let context = fault::check("fsopen")
        .and_then(|()| rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC))
        .map_err(|errno| {
            let error = Error::new(format!("open filesystem {fstype}"), errno);
            match errno {
                Errno::NODEV => {
                    error.with_hint("the kernel has no such filesystem; load its module")
                }
                _ => error,
            }
        })?;
    let refused = |call: String, errno| refused(&context, call, errno);
    if let Some(source) = source {
        set(&context, fstype, "source", Some(source))?;
    }
    for &(key, value) in options {
        set(&context, fstype, key, value)?;
    }
    fault::check("fsconfig")
        .and_then(|()| rustix::mount::fsconfig_create(&context))
        .map_err(|errno| refused(format!("create {fstype}"), errno))?;
    let mut bits = attributes.set.bits();
    bits |= attributes.atime.map_or(0, atime_bits);
    let mount = fault::check("fsmount")
        .and_then(|()| {
            rustix::mount::fsmount(
                &context,
                FsMountFlags::FSMOUNT_CLOEXEC,
                MountAttrFlags::from_bits_retain(bits),
            )
        })
        .map_err(|errno| refused(format!("mount {fstype}"), errno))?;
    let rest = Attributes {
        propagation: attributes.propagation,
        idmap: attributes.idmap,
        ..Attributes::default()
    };
    set_attributes(&mount, &rest, false)?;
    Ok(mount)
}

/// Gives `options` to the filesystem that is mounted at `mount`, which is the top of a mount.
pub fn reconfigure(mount: impl AsFd, options: &[(&str, Option<&str>)]) -> Result<()> {
    let act = "change the filesystem of a mount";
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = fault::check("fspick")
        .and_then(|()| rustix::mount::fspick(mount, "", flags))
        .map_err(|errno| {
            let error = Error::new(act, errno);
            match errno {
                Errno::INVAL => error.with_hint("nothing is mounted there"),
                _ => error,
            }
        })?;
    for &(key, value) in options {
        set(&context, "the filesystem", key, value)?;
    }
    rustix::mount::fsconfig_reconfigure(&context)
        .map_err(|errno| refused(&context, act.to_owned(), errno))
}

/// One parameter of the filesystem that is made or changed in `context`.
fn set(context: &OwnedFd, fstype: &str, key: &str, value: Option<&str>) -> Result<()> {
    match value {
        Some(value) => rustix::mount::fsconfig_set_string(context, key, value),
        None => rustix::mount::fsconfig_set_flag(context, key),
    }
    .map_err(|errno| {
        let value = value.map_or_else(String::new, |value| format!("={value}"));
        let error = refused(context, format!("set {key}{value} of {fstype}"), errno);
        match errno {
            // SYSCALL_DEFINE5(fsconfig): strndup_user(value, 256).
            Errno::INVAL if value.len() > 256 => {
                error.with_hint("the kernel takes at most 255 bytes for one option")
            }
            _ => error,
        }
    })
}

fn refused(context: &OwnedFd, call: String, errno: Errno) -> Error {
    let log = read_log(context);
    Error::new(if log.is_empty() { call } else { format!("{call}: {log}") }, errno)
}

/// What the kernel had to say: one message a read, `e `, `w ` or `i ` in front.
fn read_log(context: &OwnedFd) -> String {
    let mut messages = Vec::new();
    let mut line = [0; 1024];
    while let Ok(count @ 1..) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..count]);
        if let Some(text) = text.strip_prefix("e ").or_else(|| text.strip_prefix("w ")) {
            messages.push(text.trim().to_owned());
        }
    }
    messages.join("; ")
}
