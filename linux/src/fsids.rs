//! Acting on files as somebody else for a while: setfsuid(2), setfsgid(2).
//!
//! Through an id-mapped mount the host's root is nobody and makes nothing (`EOVERFLOW`); the root
//! of the mapping can. With a file system uid other than 0 the thread also loses CAP_DAC_OVERRIDE,
//! CAP_CHOWN, CAP_MKNOD and their like until it is 0 again (capabilities(7)).

use std::marker::PhantomData;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

use crate::{Errno, Error, Result, fault};

/// The calling thread's ids for files, put back when dropped.
#[derive(Debug)]
#[must_use = "dropping it puts the ids back"]
pub struct FsIds {
    uid: Uid,
    gid: Gid,
    /// They are one thread's, so this does not move to another.
    _thread: PhantomData<*const ()>,
}

impl FsIds {
    /// Uses `uid` and `gid` of the caller's user namespace; supplementary groups stay as they are.
    pub fn assume(uid: u32, gid: u32) -> Result<Self> {
        let refused = |errno| Error::new(format!("act on files as {uid}:{gid}"), errno);
        fault::check("setfsuid").map_err(refused)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        // The group first: without CAP_SETGID this ends here.
        let before_gid = setfsgid(gid);
        let ids = Self { gid: before_gid, uid: setfsuid(uid), _thread: PhantomData };
        // These two calls answer the old value and no error: only a look tells.
        if current() == (uid, gid) { Ok(ids) } else { Err(refused(Errno::PERM)) }
    }
}

impl Drop for FsIds {
    fn drop(&mut self) {
        setfsuid(self.uid);
        setfsgid(self.gid);
    }
}

/// An id that does not exist changes nothing and answers what is.
fn current() -> (Uid, Gid) {
    (setfsuid(Uid::from_raw(u32::MAX)), setfsgid(Gid::from_raw(u32::MAX)))
}
