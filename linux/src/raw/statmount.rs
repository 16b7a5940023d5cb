//! listmount(2) and statmount(2), Linux 6.8: mounts asked for one by one.

use std::mem::size_of;

use linux_raw_sys::general::mnt_id_req;

/// The ids of mounts below `top`, or else below the caller's root, that come after `last` (0: from
/// the first); answers how many of `ids` were filled in.
pub(crate) fn list_mounts(
    top: Option<u64>,
    last: u64,
    ids: &mut [u64],
) -> rustix::io::Result<usize> {
    /// LSMT_ROOT of linux/mount.h: the mount of the caller's root.
    const ROOT: u64 = u64::MAX;
    let request = request(top.unwrap_or(ROOT), last);
    // SAFETY: listmount(2) reads one mnt_id_req, whose size it holds itself, and writes at most as
    // many numbers as are said to be there.
    // JUSTIFICATION: neither rustix nor nix has it.
    let answer = unsafe {
        libc::syscall(
            i64::from(linux_raw_sys::general::__NR_listmount),
            std::ptr::from_ref(&request),
            ids.as_mut_ptr(),
            ids.len(),
            0,
        )
    };
    usize::try_from(answer).map_err(|_| super::last_errno())
}

/// Fills `answer` with a `struct statmount` of that mount and the texts that follow it; `EOVERFLOW`
/// when it is too small.
pub(crate) fn stat_mount(id: u64, mask: u64, answer: &mut [u8]) -> rustix::io::Result<()> {
    let request = request(id, mask);
    // SAFETY: statmount(2) reads one mnt_id_req and writes at most as many bytes as are said to be
    // there; any bytes are good numbers.
    // JUSTIFICATION: neither rustix nor nix has it.
    let done = unsafe {
        libc::syscall(
            i64::from(linux_raw_sys::general::__NR_statmount),
            std::ptr::from_ref(&request),
            answer.as_mut_ptr(),
            answer.len(),
            0,
        )
    };
    if done == 0 { Ok(()) } else { Err(super::last_errno()) }
}

fn request(mnt_id: u64, param: u64) -> mnt_id_req {
    // Of its first version, without the namespace that the last field names.
    mnt_id_req { size: 24, spare: 0, mnt_id, param, mnt_ns_id: 0 }
}

const _: () = assert!(size_of::<mnt_id_req>() == 32, "MNT_ID_REQ_SIZE_VER1");
