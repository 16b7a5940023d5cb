//! System call filters: `linux.seccomp` to a loaded BPF program.
//!
//! libseccomp translates names and architectures into a program, which takes tens of times as
//! long as everything else a small container needs. So the program is kept on disk under the hash
//! of all that went into it, and at run time a filter is one read and one seccomp(2).

mod cache;
mod compile;
mod newer;
mod shrink;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;

use linux::raw::seccomp::{self, FilterFlags, Instruction};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};

use crate::{Error, Result};

/// The kernel's longest program, in instructions (BPF_MAXINSNS, linux/bpf_common.h).
const LONGEST: usize = 4096;

/// A compiled filter, ready to load.
pub(crate) struct Filter {
    program: Vec<Instruction>,
    flags: FilterFlags,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({} instructions, {:?})", self.program.len(), self.flags)
    }
}

impl Filter {
    /// Compiles `profile`, or finds it compiled in the directory `cache`.
    pub(crate) fn prepare(profile: &LinuxSeccomp, cache: Option<&Path>) -> Result<Self> {
        let Some(directory) = cache else {
            return Self::new(profile, &compile::compile(profile)?);
        };
        let key = cache::key(profile)?;
        if let Some(program) = cache::load(directory, &key) {
            return Self::new(profile, &program);
        }
        let program = compile::compile(profile)?;
        cache::save(directory, &key, &program);
        Self::new(profile, &program)
    }

    fn new(profile: &LinuxSeccomp, program: &[u8]) -> Result<Self> {
        let instructions = program.len() / size_of::<Instruction>();
        let program = seccomp::program_from_bytes(program).ok_or_else(|| {
            refuse(
                "",
                format!(
                    "compiles to {instructions} instructions, the kernel takes {LONGEST}; use \
                     fewer rules or architectures",
                ),
            )
        })?;
        Ok(Self { program, flags: flags(profile) })
    }

    /// Filters the calling thread from now on. The descriptor is the listener's end, if some
    /// system call is to be decided by one.
    pub(super) fn load(&self) -> linux::Result<Option<OwnedFd>> {
        seccomp::load(&self.program, self.flags)
    }
}

/// Whether any rule leaves the decision to a listener.
pub(super) fn notifies(profile: &LinuxSeccomp) -> bool {
    profile.default_action() == LinuxSeccompAction::ScmpActNotify
        || profile
            .syscalls()
            .iter()
            .flatten()
            .any(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify)
}

fn flags(profile: &LinuxSeccomp) -> FilterFlags {
    let mut flags = FilterFlags::empty();
    for flag in profile.flags().iter().flatten() {
        flags |= match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => FilterFlags::LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => FilterFlags::TSYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FilterFlags::SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                FilterFlags::WAIT_KILLABLE_RECV
            }
        };
    }
    if notifies(profile) {
        // Together, the two need the third: a descriptor and a thread id share the return value.
        flags |= FilterFlags::NEW_LISTENER;
        if flags.contains(FilterFlags::TSYNC) {
            flags |= FilterFlags::TSYNC_ESRCH;
        }
    }
    flags
}

fn refuse(member: &str, reason: impl Into<String>) -> Error {
    let dot = if member.is_empty() { "" } else { "." };
    Error::config(format!("linux.seccomp{dot}{member}"), reason)
}

#[cfg(test)]
mod tests;
