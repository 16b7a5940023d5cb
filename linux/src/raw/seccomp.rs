//! seccomp(2): loading a filter that is already compiled to classic BPF.

use std::os::fd::{FromRawFd, OwnedFd};

pub use libc::sock_filter as Instruction;

use crate::{Errno, Error, Result, fault};

bitflags::bitflags! {
    /// `SECCOMP_FILTER_FLAG_*` of seccomp(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct FilterFlags: u32 {
        /// Put the filter on all threads of the process.
        const TSYNC = linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_TSYNC;
        /// Log every action but allow.
        const LOG = linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_LOG;
        /// Leave the speculative store bypass mitigation off.
        const SPEC_ALLOW = linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        /// Answer a descriptor that receives the calls with the action NOTIFY.
        const NEW_LISTENER = linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        /// With TSYNC and NEW_LISTENER: a thread that cannot be synchronised answers ESRCH.
        const TSYNC_ESRCH = linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
        /// While the listener has a call in hand, only fatal signals interrupt it (5.19).
        const WAIT_KILLABLE_RECV = linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
}

/// A compiled filter from the bytes that `seccomp_export_bpf` writes; `None` when they cannot be
/// one (not whole instructions, none, or more than the kernel takes).
pub fn program_from_bytes(bytes: &[u8]) -> Option<Vec<Instruction>> {
    const BPF_MAXINSNS: usize = 4096;
    let (instructions, rest) = bytes.as_chunks::<8>();
    let fits = rest.is_empty() && (1..=BPF_MAXINSNS).contains(&instructions.len());
    fits.then(|| {
        instructions
            .iter()
            .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
                code: u16::from_ne_bytes([c0, c1]),
                jt,
                jf,
                k: u32::from_ne_bytes([k0, k1, k2, k3]),
            })
            .collect()
    })
}

/// Puts `program` on the calling thread, for good. The thread needs CAP_SYS_ADMIN in its user
/// namespace or `no_new_privs`. With [`FilterFlags::NEW_LISTENER`] the listener is answered.
pub fn load(program: &[Instruction], flags: FilterFlags) -> Result<Option<OwnedFd>> {
    let describe = |errno| {
        let error = Error::new("load a seccomp filter", errno);
        match errno {
            Errno::ACCESS => {
                error.with_hint("set noNewPrivileges, or load it before CAP_SYS_ADMIN is dropped")
            }
            Errno::INVAL => error.with_hint("the kernel knows no such flag or instruction"),
            Errno::BUSY => error.with_hint("a filter of this process has a listener already"),
            _ => error,
        }
    };
    let len = u16::try_from(program.len()).map_err(|_| describe(Errno::TOOBIG))?;
    fault::check("seccomp").map_err(describe)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: seccomp(2) wants a sock_fprog that points at `len` readable instructions, which the
    // slice has and keeps during the call; the kernel copies and checks them and writes nothing.
    // JUSTIFICATION: neither rustix nor nix loads filters.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags.bits(),
            &raw const program,
        )
    };
    match i32::try_from(answer) {
        Ok(fd) if fd >= 0 && flags.contains(FilterFlags::NEW_LISTENER) => {
            // SAFETY: with this flag a successful call answers a new descriptor, ours alone.
            // JUSTIFICATION: seccomp(2) hands descriptors out as numbers.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        Ok(0) => Ok(None),
        // TSYNC without TSYNC_ESRCH answers the id of a thread that could not take the filter.
        Ok(thread) if thread > 0 => Err(describe(Errno::SRCH)),
        _ => Err(describe(super::last_errno())),
    }
}
