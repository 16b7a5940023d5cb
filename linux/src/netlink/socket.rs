//! The transport: one request, its answers, and what the kernel says of a refusal.

use std::cell::Cell;
use std::io;

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket as Transport, SocketAddr};
use rustix::io::Errno;

use crate::error::Context as _;
use crate::ns::{self, Namespace};
use crate::{Error, Result};

/// The length of the header that an acknowledgement repeats (struct nlmsghdr).
const HEADER: usize = 16;
/// Where messages begin, and attributes (NLMSG_ALIGNTO, NLA_ALIGNTO).
const ALIGNMENT: usize = 4;
/// The attribute of an extended acknowledgement that holds the kernel's words (linux/netlink.h).
const ATTRIBUTE_MESSAGE: u16 = 1;

/// How often a list is asked for again that changed while the kernel told it.
const TRIES: usize = 16;

/// A netlink socket of one network namespace.
#[derive(Debug)]
pub struct Socket {
    transport: Transport,
    /// The number of the last request, which its answers repeat.
    sequence: Cell<u32>,
}

/// What the kernel answers, or why it does not, in its own words where it has some.
type Answer<T> = std::result::Result<T, (Errno, Option<String>)>;

impl Socket {
    /// Opens one in the caller's network namespace.
    pub fn open() -> Result<Self> {
        Self::connect().during(|| "open a netlink socket")
    }

    /// Opens one in `namespace`; the caller stays where it is.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        ns::in_net_ns(namespace, Self::open)
    }

    fn connect() -> io::Result<Self> {
        let mut transport = Transport::new(NETLINK_ROUTE)?;
        // Older kernels answer with an errno alone, and with more than the header repeated.
        let _ = transport.set_ext_ack(true).and_then(|()| transport.set_cap_ack(true));
        transport.bind_auto()?;
        // Port 0 is the kernel: whatever else has an address here is not listened to (netlink(7)).
        transport.connect(&SocketAddr::new(0, 0))?;
        // The kernel answers before send(2) returns, the parts of a list as they are read: to wait
        // would be for an answer that it had no memory for.
        transport.set_non_blocking(true)?;
        Ok(Self { transport, sequence: Cell::new(0) })
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

    /// Sends one request and collects its answers, to the last.
    pub(super) fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        call: impl FnOnce() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut again = 1..TRIES;
        let answers = loop {
            match self.round(&mut request) {
                Err((Errno::INTR, _)) if again.next().is_some() => {}
                answers => break answers,
            }
        };
        answers.map_err(|(errno, words)| {
            let call = call();
            Error::new(words.map_or(call.clone(), |words| format!("{call}: {words}")), errno)
        })
    }

    /// `EINTR`: what was told changed meanwhile, and is not to be relied on.
    fn round(
        &self,
        request: &mut NetlinkMessage<RouteNetlinkMessage>,
    ) -> Answer<Vec<RouteNetlinkMessage>> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        request.header.sequence_number = sequence;
        request.finalize();
        let mut datagram = vec![0; request.buffer_len()];
        request.serialize(&mut datagram);
        again(|| self.transport.send(&datagram, 0))?;

        let mut answers = Answers::to(request);
        loop {
            match again(|| self.transport.recv_from_full()) {
                Ok((datagram, _)) if answers.take(&datagram)? => return Ok(answers.messages),
                Ok(_) => {}
                // One was dropped, and perhaps not one to this.
                Err((Errno::NOBUFS, _)) if answers.is_consistent => {
                    answers.is_consistent = answers.asked != Asked::List;
                }
                Err((Errno::AGAIN, _)) => {
                    return Err((Errno::NOBUFS, Some("the answer was lost".to_owned())));
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }
}

/// What a request is for, which says what its last answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// An acknowledgement.
    Change,
    /// The message that ends the list.
    List,
    /// The one message.
    One,
}

/// What has come to one request so far.
struct Answers {
    sequence: u32,
    asked: Asked,
    messages: Vec<RouteNetlinkMessage>,
    /// Nothing that was told has changed meanwhile.
    is_consistent: bool,
}

impl Answers {
    fn to(request: &NetlinkMessage<RouteNetlinkMessage>) -> Self {
        let flags = request.header.flags;
        // A change has other flags at the bits of NLM_F_DUMP.
        let asked = match flags & NLM_F_DUMP == NLM_F_DUMP {
            _ if flags & NLM_F_ACK != 0 => Asked::Change,
            true => Asked::List,
            false => Asked::One,
        };
        let sequence = request.header.sequence_number;
        Self { sequence, asked, messages: Vec::new(), is_consistent: true }
    }

    /// Takes what came at once; `true`: the last was among it.
    fn take(&mut self, mut datagram: &[u8]) -> Answer<bool> {
        while !datagram.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram)
                .map_err(|error| (Errno::BADMSG, Some(error.to_string())))?;
            let length = usize::try_from(answer.header.length).unwrap_or(usize::MAX);
            let next = length.max(HEADER).checked_next_multiple_of(ALIGNMENT);
            datagram = next.and_then(|next| datagram.get(next..)).unwrap_or_default();
            // Others are left of a request that was given up.
            if answer.header.sequence_number == self.sequence && self.add(answer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn add(&mut self, answer: NetlinkMessage<RouteNetlinkMessage>) -> Answer<bool> {
        self.is_consistent &= answer.header.flags & NLM_F_DUMP_INTR == 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => {
                self.messages.push(message);
                Ok(self.asked == Asked::One)
            }
            NetlinkPayload::Error(error) if error.code.is_some() => {
                Err((errno(error.raw_code()), words(&error)))
            }
            NetlinkPayload::Done(done) if done.code != 0 => Err((errno(done.code), None)),
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) if self.is_consistent => Ok(true),
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => Err((Errno::INTR, None)),
            _ => Ok(false),
        }
    }
}

/// Makes a call again that a signal came into.
fn again<T>(call: impl Fn() -> io::Result<T>) -> Answer<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => {
                return done.map_err(|error| {
                    (error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error), None)
                });
            }
        }
    }
}

/// An errno as the kernel answers it: below zero.
fn errno(code: i32) -> Errno {
    Errno::from_raw_os_error(code.saturating_neg())
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
        attributes = attributes.get(length.next_multiple_of(ALIGNMENT)..)?;
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
