//! The loopback interface of a new network namespace: there, but down. One netlink message.

use std::os::fd::OwnedFd;

use linux::Errno;
use linux::error::Context as _;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use crate::Result;

/// rtnetlink(7): RTM_NEWLINK, acknowledged.
const NEWLINK: u16 = 16;
const REQUEST_ACK: u16 = 1 | 4;
/// netlink(7): NLMSG_ERROR, which an acknowledgement is, too.
const ERROR: u16 = 2;
/// The first interface of every network namespace.
const LOOPBACK: i32 = 1;
/// netdevice(7): IFF_UP.
const UP: u32 = 1;

/// Brings it up.
pub(crate) fn up() -> Result<()> {
    let act = || "set link lo up".to_owned();
    let socket: OwnedFd =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .during(act)?;
    sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).during(act)?;
    let mut answer = [0; 1024];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty()).during(act)?;
    verdict(&answer[..length]).during(act)?;
    Ok(())
}

/// struct nlmsghdr and struct ifinfomsg.
fn request() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0..4].copy_from_slice(&32_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&NEWLINK.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_ACK.to_ne_bytes());
    bytes[20..24].copy_from_slice(&LOOPBACK.to_ne_bytes());
    bytes[24..28].copy_from_slice(&UP.to_ne_bytes());
    bytes[28..32].copy_from_slice(&UP.to_ne_bytes());
    bytes
}

/// What struct nlmsgerr says.
fn verdict(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let errno = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, errno) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(errno)) => Err(Errno::from_raw_os_error(-errno)),
        _ => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_zero_or_an_errno() {
        let mut answer = [0; 36];
        answer[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        assert_eq!(verdict(&answer), Ok(()));
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(verdict(&answer), Err(Errno::PERM));
        assert_eq!(verdict(&answer[..10]), Err(Errno::PROTO));
    }
}
