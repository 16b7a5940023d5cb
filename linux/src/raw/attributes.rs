//! sched_setattr(2), ioprio_set(2), personality(2), set_mempolicy(2).

use std::mem::size_of;

use crate::attributes::Scheduling;
use crate::process::Pid;
use crate::{Errno, fault};

type Done = rustix::io::Result<()>;

/// `struct sched_attr` as of its first version (SCHED_ATTR_SIZE_VER0).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const _: () = assert!(size_of::<SchedAttr>() == 48, "SCHED_ATTR_SIZE_VER0");

fn number(pid: Option<Pid>) -> libc::pid_t {
    pid.map_or(0, Pid::get)
}

fn done(answer: libc::c_long) -> Done {
    if answer == -1 { Err(super::last_errno()) } else { Ok(()) }
}

pub(crate) fn sched_setattr(pid: Option<Pid>, scheduling: &Scheduling) -> Done {
    fault::check("sched_setattr")?;
    let mut attr = SchedAttr {
        size: 48,
        policy: scheduling.policy,
        flags: scheduling.flags,
        nice: scheduling.nice,
        priority: scheduling.priority,
        runtime: scheduling.runtime_ns,
        deadline: scheduling.deadline_ns,
        period: scheduling.period_ns,
    };
    // SAFETY: sched_setattr(2) reads `size` bytes of a local that outlives the call, and with E2BIG
    // writes its own size into the first member, for which the pointer is a mutable one.
    // JUSTIFICATION: neither rustix nor nix has sched_setattr.
    done(unsafe { libc::syscall(libc::SYS_sched_setattr, number(pid), &raw mut attr, 0) })
}

pub(crate) fn ioprio_set(pid: Option<Pid>, class: u32, level: u8) -> Done {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    fault::check("ioprio_set")?;
    let priority = (class << IOPRIO_CLASS_SHIFT) | u32::from(level);
    // SAFETY: ioprio_set(2) takes three numbers and no memory.
    // JUSTIFICATION: neither rustix nor nix has ioprio_set.
    done(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, number(pid), priority) })
}

pub(crate) fn personality(domain: u32) -> Done {
    fault::check("personality")?;
    // SAFETY: personality(2) takes a number and no memory.
    // JUSTIFICATION: rustix has no personality; nix has it behind a feature that pulls in more.
    done(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) })
}

pub(crate) fn set_mempolicy(mode: u32, nodes: &[u32]) -> Done {
    const BITS: u32 = libc::c_ulong::BITS;
    const NODES: u32 = 1024;
    const WORDS: usize = (NODES / BITS) as usize;
    fault::check("set_mempolicy")?;
    let mut mask: [libc::c_ulong; WORDS] = [0; WORDS];
    for node in nodes {
        let word = usize::try_from(node / BITS).ok().and_then(|index| mask.get_mut(index));
        *word.ok_or(Errno::INVAL)? |= 1 << (node % BITS);
    }
    // The kernel takes one bit less than it is told (get_nodes, mm/mempolicy.c).
    let (mask, bits) = if nodes.is_empty() {
        (std::ptr::null(), 0)
    } else {
        (mask.as_ptr(), libc::c_ulong::from(NODES) + 1)
    };
    // SAFETY: set_mempolicy(2) reads a mask of `bits - 1` bits, which is the size of the array on
    // this stack, or nothing when the pointer is null.
    // JUSTIFICATION: neither rustix nor nix has set_mempolicy.
    done(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) })
}
