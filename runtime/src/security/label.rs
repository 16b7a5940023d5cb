//! Labels of the security modules: AppArmor profile and SELinux context of a process, SELinux
//! context of a mount. Applied where the host has the module, refused by name where it has not.
//!
//! The label a process gets at its next exec is written to `attr/exec` below a directory of the
//! host's own procfs, opened and verified before the container exists: one that the container
//! mounted could be anything.

use std::fs;
use std::os::fd::BorrowedFd;

use oci_spec::runtime::Process;

use crate::{Error, Result};

/// What a process becomes when it executes its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// Relative to a thread's directory in procfs.
    file: &'static str,
    value: String,
}

/// The security modules of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Modules {
    apparmor: bool,
    selinux: bool,
}

impl Modules {
    /// Those of this host.
    pub(crate) fn of_host() -> Self {
        // SELinux registers its filesystem only when it is enabled at boot.
        let selinux = fs::read_to_string("/proc/filesystems")
            .is_ok_and(|list| list.lines().any(|line| line.trim_start().ends_with("selinuxfs")));
        let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|enabled| enabled.starts_with('Y'));
        Self { apparmor, selinux }
    }
}

/// Reads `process.apparmorProfile` and `process.selinuxLabel`. Only if there is one, the modules
/// are asked for.
pub(crate) fn from_spec(
    process: &Process,
    modules: impl FnOnce() -> Modules,
) -> Result<Vec<Label>> {
    let profile = given(process.apparmor_profile().as_deref());
    let label = given(process.selinux_label().as_deref());
    if profile.is_none() && label.is_none() {
        return Ok(Vec::new());
    }
    let modules = modules();
    let mut labels = Vec::new();
    // Unconfined is what a process is without the module.
    if let Some(profile) = profile
        && (modules.apparmor || profile != "unconfined")
    {
        if !modules.apparmor {
            return refuse("process.apparmorProfile", profile, "AppArmor is not enabled");
        }
        printable("process.apparmorProfile", profile)?;
        // The modules have directories of their own since 5.8.
        labels.push(Label { file: "attr/apparmor/exec", value: format!("exec {profile}") });
    }
    if let Some(label) = label {
        if !modules.selinux {
            return refuse("process.selinuxLabel", label, "SELinux is not enabled");
        }
        printable("process.selinuxLabel", label)?;
        labels.push(Label { file: "attr/exec", value: label.to_owned() });
    }
    Ok(labels)
}

/// The value of the `context` mount option that `linux.mountLabel` asks for.
pub(crate) fn mount_context(label: Option<&str>) -> Result<Option<&str>> {
    mount_context_with(label, Modules::of_host)
}

fn mount_context_with(
    label: Option<&str>,
    modules: impl FnOnce() -> Modules,
) -> Result<Option<&str>> {
    let Some(label) = given(label) else { return Ok(None) };
    if !modules().selinux {
        return refuse("linux.mountLabel", label, "SELinux is not enabled");
    }
    printable("linux.mountLabel", label)?;
    Ok(Some(label))
}

impl Label {
    /// Sets the label for the next exec of the calling thread. `procfs` is the host's.
    pub(super) fn apply(&self, procfs: BorrowedFd<'_>) -> linux::Result<()> {
        linux::file::write_at(procfs, format!("thread-self/{}", self.file), self.value.as_bytes())
    }
}

fn given(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

fn refuse<T>(member: &str, value: &str, why: &str) -> Result<T> {
    Err(Error::config(
        member,
        format!("{value:?} cannot be applied: {why} on this host; remove it"),
    ))
}

fn printable(member: &str, value: &str) -> Result<()> {
    if value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    Err(Error::config(member, format!("{value:?} is not a label")))
}

#[cfg(test)]
mod tests;
