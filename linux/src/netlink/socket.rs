//! The transport: one request, its answers, and what the kernel says of a refusal.

use futures_util::StreamExt as _;
use rtnetlink::Handle;
use rtnetlink::packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::AsyncSocket as _;
use rustix::io::Errno;
use tokio::runtime::{Builder, Runtime};

use crate::error::Context as _;
use crate::ns::{self, Namespace};
use crate::{Error, Result};

/// The length of the header that an acknowledgement repeats (struct nlmsghdr).
const HEADER: usize = 16;
/// The attribute of an extended acknowledgement that holds the kernel's words (linux/netlink.h).
const ATTRIBUTE_MESSAGE: u16 = 1;

/// A netlink socket of one network namespace.
#[derive(Debug)]
pub struct Socket {
    runtime: Runtime,
    handle: Handle,
}

impl Socket {
    /// Opens one in the caller's network namespace.
    pub fn open() -> Result<Self> {
        Self::connect().during(|| "open a netlink socket")
    }

    /// Opens one in `namespace`; the caller stays where it is.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        ns::in_net_ns(namespace, Self::open)
    }

    fn connect() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let handle = {
            let _context = runtime.enter();
            let (mut connection, handle, _) = rtnetlink::new_connection()?;
            let socket = connection.socket_mut().socket_mut();
            // Older kernels answer with an errno alone, and with more than the header repeated.
            let _ = socket.set_ext_ack(true).and_then(|()| socket.set_cap_ack(true));
            runtime.spawn(connection);
            handle
        };
        Ok(Self { runtime, handle })
    }

    /// Asks for a change. `call` names it should it be refused.
    pub(super) fn change(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        call: impl FnOnce() -> String,
    ) -> Result<()> {
        self.ask(message, NLM_F_ACK | flags, call).map(drop)
    }

    /// Asks for everything of a kind.
    pub(super) fn dump(
        &self,
        message: RouteNetlinkMessage,
        call: impl FnOnce() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        self.ask(message, NLM_F_DUMP, call)
    }

    /// Sends one request and collects its answers.
    pub(super) fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        call: impl FnOnce() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut handle = self.handle.clone();
        let answers = self.runtime.block_on(async {
            let mut stream = handle.request(request).map_err(|_| (Errno::IO, None))?;
            let mut answers = Vec::new();
            while let Some(answer) = stream.next().await {
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        let errno = Errno::from_raw_os_error(error.raw_code().saturating_neg());
                        return Err((errno, words(&error)));
                    }
                    _ => {}
                }
            }
            Ok(answers)
        });
        answers.map_err(|(errno, words)| {
            let call = call();
            Error::new(words.map_or(call.clone(), |words| format!("{call}: {words}")), errno)
        })
    }
}

/// What the kernel says beside the errno: `Nexthop has invalid gateway`.
fn words(error: &ErrorMessage) -> Option<String> {
    let mut attributes = error.header.get(HEADER..)?;
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let kind = u16::from_ne_bytes([c, d]);
        let value = attributes.get(4..length)?;
        if kind == ATTRIBUTE_MESSAGE {
            let text = String::from_utf8_lossy(value);
            return Some(text.trim_end_matches(['\0', '.']).to_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(attributes: &[u8]) -> ErrorMessage {
        let mut error = ErrorMessage::default();
        error.header = [&[0; HEADER], attributes].concat();
        error
    }

    #[test]
    fn the_words_of_an_acknowledgement_are_found_behind_other_attributes() {
        let mut attributes = vec![8, 0, 2, 0, 0, 0, 0, 0];
        attributes.extend([7, 0, 1, 0, b'n', b'o', 0, 0]);
        assert_eq!(words(&error(&attributes)).as_deref(), Some("no"));
    }

    #[test]
    fn a_torn_acknowledgement_has_no_words() {
        assert_eq!(words(&error(&[])), None);
        assert_eq!(words(&error(&[3, 0, 1, 0])), None);
        assert_eq!(words(&error(&[200, 0, 1, 0, b'x'])), None);
        assert_eq!(words(&error(&[4, 0, 9, 0, 4, 0])), None);
    }
}
