//! What the programs may do themselves: nothing that their work does not need, although they are
//! root's. A container that finds a way to act through one of them finds that much less.

use linux::Result;
use linux::error::Context as _;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{self, CapabilitySet};

/// Nodes and their owners, mounts and namespaces and their programs (`SYS_ADMIN`), links; another's
/// `/proc` (`SYS_PTRACE`), the root of another mount namespace (`SYS_CHROOT`), file ids of a
/// container's root (`SETUID`, `SETGID`).
const NEEDED: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SYS_PTRACE);

/// Keeps these, for the caller's thread and what it starts: no program run by it gains others, and
/// nobody of its user can trace it or read its memory.
///
/// # Errors
/// The kernel refuses.
pub fn keep_needed() -> Result<()> {
    thread::set_no_new_privs(true).during(|| "give up new privileges")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during(|| "hide our memory")?;
    let mut own = thread::capabilities(None).during(|| "ask for our capabilities")?;
    own.permitted &= NEEDED;
    own.effective &= NEEDED;
    own.inheritable = CapabilitySet::empty();
    thread::set_capabilities(None, own).during(|| "give up capabilities")
}
