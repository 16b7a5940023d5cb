//! SIOCETHTOOL: an ioctl of any socket, about a link of the socket's network namespace.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

/// struct ifreq of linux/if.h, its union being the pointer.
#[repr(C)]
struct Request {
    name: [u8; 16],
    words: *mut c_void,
    rest: [u8; 16],
}

/// The request, and that the words live as long.
struct Ethtool<'a> {
    request: Request,
    words: PhantomData<&'a mut [u32]>,
}

// SAFETY: the kernel reads one ifreq, which `request` is, and reads and writes what `words` points
// to as the command in it says: `ethtool` asks its caller that it is large enough.
// JUSTIFICATION: rustix has no ioctl of network devices.
unsafe impl Ioctl for Ethtool<'_> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        // SIOCETHTOOL of linux/sockios.h.
        0x8946
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.request).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// The two commands that there are, each with as many blocks as it has in `words[1]`
/// (linux/ethtool.h).
const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;

/// Runs ETHTOOL_GFEATURES or ETHTOOL_SFEATURES, the command that `words` begins with, for the link
/// `name`. `EINVAL` if they are fewer than that command and its number of blocks take.
pub(crate) fn ethtool(
    socket: BorrowedFd<'_>,
    name: &str,
    words: &mut [u32],
) -> rustix::io::Result<()> {
    let size = match *words {
        [GET_FEATURES, blocks, ..] => 2 + 4 * usize::try_from(blocks).unwrap_or(usize::MAX / 8),
        [SET_FEATURES, blocks, ..] => 2 + 2 * usize::try_from(blocks).unwrap_or(usize::MAX / 8),
        _ => usize::MAX,
    };
    if words.len() < size || name.len() > 15 {
        return Err(crate::Errno::INVAL);
    }
    let mut request = Request { name: [0; 16], words: words.as_mut_ptr().cast(), rest: [0; 16] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the words are as many as the command takes, as was just looked at, and are borrowed
    // until the call is over; the name ends with a zero.
    // JUSTIFICATION: as above.
    unsafe { rustix::ioctl::ioctl(socket, Ethtool { request, words: PhantomData }) }
}
