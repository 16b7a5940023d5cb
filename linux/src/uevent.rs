//! What the kernel tells of devices that come and go: NETLINK_KOBJECT_UEVENT.
//!
//! Messages are `ACTION@DEVPATH`, then `KEY=VALUE`, each ended by a zero byte (lib/kobject_uevent.c).
//! Those of devices go to every network namespace of the host's user namespace; whoever has
//! CAP_SYS_ADMIN over a network namespace may have the kernel tell one there (Linux 4.18).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::ns::{self, Namespace};
use crate::{Context, Errno, Result, fault};

/// The kernel's own messages; udev's are in group 2.
const GROUP_KERNEL: u32 = 1;
/// The kernel's longest message (UEVENT_BUFFER_SIZE), and room for more.
const MESSAGE_MAX: usize = 8192;
/// The first type of a message that is a protocol's own (NLMSG_MIN_TYPE).
const MESSAGE_TYPE: u16 = 16;
const REQUEST_AND_ACK: u16 = 5;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uevent {
    /// `add`, `remove`, `change` and others.
    pub action: String,
    /// The device's directory in sysfs, without `/sys`.
    pub path: String,
    /// The rest.
    pub variables: Vec<(String, String)>,
}

impl Uevent {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Parses a message; `None` for one of another kind, as udev's own.
    fn parse(message: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let mut parts = text.split_terminator('\0');
        let (action, path) = parts.next()?.split_once('@')?;
        let variables = parts
            .filter_map(|part| part.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Some(Self { action: action.to_owned(), path: path.to_owned(), variables })
    }

    /// The message that it is, in a netlink header.
    fn message(&self) -> Vec<u8> {
        let mut body = format!("{}@{}\0", self.action, self.path).into_bytes();
        let own = [("ACTION", &self.action), ("DEVPATH", &self.path)];
        let own = own.into_iter().map(|(key, value)| format!("{key}={value}\0"));
        let rest = self.variables.iter().map(|(key, value)| format!("{key}={value}\0"));
        own.chain(rest).for_each(|part| body.extend_from_slice(part.as_bytes()));
        let length = u32::try_from(body.len() + 16).unwrap_or(u32::MAX);
        let mut message = Vec::with_capacity(body.len() + 16);
        message.extend(length.to_ne_bytes());
        message.extend(MESSAGE_TYPE.to_ne_bytes());
        message.extend(REQUEST_AND_ACK.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        message
    }

    /// Has the kernel tell it in `network`.
    pub fn send_in(&self, network: &Namespace) -> Result<()> {
        let call = || format!("send uevent {}@{}", self.action, self.path);
        let socket = ns::in_net_ns(network, || open().during(call))?;
        fault::check("sendto")
            .and_then(|()| {
                let kernel = SocketAddrNetlink::new(0, 0);
                rustix::net::sendto(&socket, &self.message(), SendFlags::empty(), &kernel)
            })
            .during(call)?;
        let mut answer = [0u8; 64];
        let (count, _) =
            rustix::net::recv(&socket, &mut answer, RecvFlags::empty()).during(call)?;
        // An acknowledgement is an error message whose errno is 0 (netlink(7)).
        match answer.get(16..20).filter(|_| count >= 20) {
            Some(&[a, b, c, d]) => match i32::from_ne_bytes([a, b, c, d]) {
                0 => Ok(()),
                errno => Err(Errno::from_raw_os_error(errno.saturating_neg())).during(call),
            },
            _ => Err(Errno::BADMSG).during(call),
        }
    }
}

/// Hears the kernel's messages.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// A message.
    Event(Uevent),
    /// There were more than the socket could hold: anything may have happened.
    Overrun,
    /// Nothing, in the time given.
    Nothing,
}

impl Listener {
    /// Hears everything from here on.
    pub fn open() -> Result<Self> {
        let socket = open().during(|| "open a uevent socket")?;
        // Beyond the limit for ordinary processes, if we may: a burst of partitions is long.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 1 << 20);
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUP_KERNEL))
            .during(|| "listen for uevents")?;
        Ok(Self(socket))
    }

    /// The next message, if one comes within `limit` (for ever without).
    pub fn next(&self, limit: Option<Duration>) -> Result<Heard> {
        let call = || "hear a uevent";
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        match rustix::event::poll(&mut fds, limit.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(Heard::Nothing),
            polled => drop(polled.during(call)?),
        }
        let mut message = vec![0u8; MESSAGE_MAX];
        match rustix::net::recv(&self.0, &mut message[..], RecvFlags::DONTWAIT) {
            Err(Errno::NOBUFS) => Ok(Heard::Overrun),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Heard::Nothing),
            Err(errno) => Err(errno).during(call),
            Ok((count, _)) => {
                Ok(Uevent::parse(&message[..count]).map_or(Heard::Nothing, Heard::Event))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(KOBJECT_UEVENT),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_is_written() {
        let event = Uevent {
            action: "add".into(),
            path: "/devices/x/block/sdb".into(),
            variables: vec![("SUBSYSTEM".into(), "block".into())],
        };
        let message = event.message();
        assert_eq!(usize::from(message[0]), message.len());
        let parsed = Uevent::parse(&message[16..]).unwrap();
        assert_eq!((&parsed.action, &parsed.path), (&event.action, &event.path));
        assert_eq!(parsed.get("SUBSYSTEM"), Some("block"));
        assert_eq!(parsed.get("DEVPATH"), Some("/devices/x/block/sdb"));
        assert_eq!(Uevent::parse(b"libudev\0\xfe\xed\xca\xfe"), None);
    }
}
