//! What is said on `shim.sock` and on the ready pipe (wire format).
//!
//! A connection is `SOCK_SEQPACKET` and opens with one JSON [`Request`]. All but `attach` are
//! answered by one JSON [`Reply`] and closed. After `attach` both sides send packets: one byte of
//! [`Kind`], then at most [`PAYLOAD_MAX`] bytes.
//!
//! The ready pipe carries one JSON [`Ready`] a line, from the shim to whoever started it.

use serde::{Deserialize, Serialize};

/// The most a packet carries after its kind byte.
pub const PAYLOAD_MAX: usize = 32 * 1024;
/// The longest packet, and the longest request.
pub const PACKET_MAX: usize = PAYLOAD_MAX + 1;

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Attach(Attach),
    Stop(Stop),
    Kill(Kill),
    Pause {},
    Resume {},
    Resize(Size),
    Wait {},
    State {},
}

/// Which streams an attached client takes part in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Begin with what the console's ring still holds.
    #[serde(default)]
    pub replay: bool,
    /// Never drop this client for reading slowly: the container waits, as a pipeline would.
    #[serde(default)]
    pub lossless: bool,
}

/// Ends the container; answered when its init is gone and it is cleaned up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// `None`: the signal its init understands as "shut down".
    #[serde(default)]
    pub signal: Option<String>,
    /// How long before everything is killed; 0 at once, negative never.
    pub timeout_ms: i64,
    /// Kill at once, whatever the time-out says.
    #[serde(default)]
    pub force: bool,
}

/// Sends one signal to the init; cancels a pending restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    pub signal: String,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    pub rows: u16,
    pub cols: u16,
}

/// The answer to every request but `attach`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Done {},
    /// The container has ended (and stays down).
    Exit {
        code: i32,
    },
    /// The container's `state.json`.
    State(serde_json::Value),
    Error {
        message: String,
    },
}

/// What a packet of an attached connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To the container's stdin.
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    /// JSON [`Size`].
    Resize = 3,
    /// The client's stdin has ended; so shall the container's.
    StdinEof = 4,
    /// JSON [`Exit`]; the last packet.
    Exit = 5,
    /// The container has started again; the client stays attached.
    Restarted = 6,
    /// JSON [`Refusal`]; the last packet.
    Error = 7,
    /// JSON [`Attached`]; the first packet from the shim.
    Attached = 8,
    /// JSON [`SignalNumber`]: for the container's init.
    Signal = 9,
}

/// Payload of [`Kind::Signal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalNumber {
    pub signal: i32,
}

/// Payload of [`Kind::Exit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: i32,
}

/// Payload of [`Kind::Error`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub message: String,
}

/// Payload of [`Kind::Attached`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The container's stdio is a terminal (stdout carries everything).
    pub tty: bool,
}

/// One line on the ready pipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Ready {
    /// First line: the container's process runs.
    Started { pid: i32 },
    /// First line instead: it does not, and nothing is left behind.
    Failed { error: String, exit_code: u8 },
    /// Second line: the guest has sent `READY=1`.
    Ready { ready: bool },
    /// Second line instead: it ended before it was ready.
    Exited { exited: i32 },
}

/// A packet that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("empty packet")]
    Empty,
    #[error("packet of unknown kind {0}")]
    UnknownKind(u8),
    #[error("packet longer than {PACKET_MAX} bytes")]
    TooLong,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Stdin,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Resize,
            4 => Self::StdinEof,
            5 => Self::Exit,
            6 => Self::Restarted,
            7 => Self::Error,
            8 => Self::Attached,
            9 => Self::Signal,
            _ => return None,
        })
    }

    /// A packet of this kind.
    pub fn packet(self, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(payload.len() + 1);
        packet.push(self as u8);
        packet.extend_from_slice(payload);
        packet
    }

    /// A packet of this kind around a JSON document.
    pub fn json(self, payload: &impl Serialize) -> Vec<u8> {
        let mut packet = vec![self as u8];
        serde_json::to_writer(&mut packet, payload).expect("plain structs serialize into a Vec");
        packet
    }
}

/// Splits a packet as it was received.
pub fn parse(packet: &[u8]) -> Result<(Kind, &[u8]), Malformed> {
    let (&first, payload) = packet.split_first().ok_or(Malformed::Empty)?;
    if payload.len() > PAYLOAD_MAX {
        return Err(Malformed::TooLong);
    }
    let kind = Kind::from_byte(first).ok_or(Malformed::UnknownKind(first))?;
    Ok((kind, payload))
}

#[cfg(test)]
mod tests;
