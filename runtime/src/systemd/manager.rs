//! A connection to systemd itself: it listens for root at a socket of its own, without a bus and
//! its daemon.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use linux::Errno;
use linux::error::Context as _;
use serde::Serialize;
use zbus::wire::Type;

use super::message::{self, Message, Property};
use crate::{Error, Result};

const SOCKET: &str = "/run/systemd/private";

/// It answers in milliseconds, or something is very wrong.
const PATIENCE: Duration = Duration::from_secs(30);

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// A connection.
pub(super) struct Manager {
    stream: UnixStream,
    serial: u32,
    /// Jobs that ended while an answer was waited for, the oldest first: units and results.
    ended: VecDeque<(String, String)>,
}

/// What it says to a call.
enum Answer {
    Done,
    Refused { name: String, text: String },
}

impl Manager {
    pub(super) fn connect() -> Result<Self> {
        let act = || format!("reach systemd at {SOCKET}");
        let stream = UnixStream::connect(SOCKET).during(act).map_err(|error| {
            if error.is(Errno::NOENT) || error.is(Errno::CONNREFUSED) {
                return error.with_hint(
                    "the systemd cgroup driver needs systemd as init; have the engine use cgroupfs",
                );
            }
            error
        })?;
        stream.set_write_timeout(Some(PATIENCE)).during(act)?;
        // It knows processes by their numbers in its own namespace. One outside of ours has none.
        let peer = linux::socket::peer_credentials(&stream)?;
        if peer.pid.is_none_or(|pid| pid.get() != 1) {
            return Err(broken(
                "this process is in another pid namespace; run it on the host, or have the engine \
                 use cgroupfs",
            ));
        }
        let mut manager = Self { stream, serial: 0, ended: VecDeque::new() };
        manager.introduce().during(act)?;
        Ok(manager)
    }

    /// As user 0, in hexadecimal digits of its decimal ones. All in one write, as its own clients
    /// do it: systemd reads ahead while it does not know who we are, and what it then has of our
    /// first call would lie there until we wrote again.
    fn introduce(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n")?;
        let deadline = Instant::now() + PATIENCE;
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") && line.len() < 1024 {
            self.read(&mut byte, deadline)?;
            line.push(byte[0]);
        }
        match line.starts_with(b"OK ") {
            true => Ok(()),
            false => Err(ErrorKind::PermissionDenied.into()),
        }
    }

    /// Begins a unit that is on no disk, and waits until it has.
    pub(super) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        self.subscribe()?;
        let act = || format!("start unit {unit}");
        // No further units come along.
        let auxiliary: &[(&str, &[Property])] = &[];
        match self.call("StartTransientUnit", &(unit, "fail", properties, auxiliary))? {
            Answer::Done => self.wait_for(unit, &act),
            Answer::Refused { name, .. } if name == UNIT_EXISTS => Err(refused(
                &act(),
                &format!(
                    "systemd has one of that name already; remove its container, or end it: \
                     systemctl stop {unit}, and if it has failed: systemctl reset-failed {unit}"
                ),
            )),
            Answer::Refused { text, .. } => Err(refused(&act(), &text)),
        }
    }

    /// Changes a unit until it ends.
    pub(super) fn set(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        match self.call("SetUnitProperties", &(unit, true, properties))? {
            Answer::Done => Ok(()),
            Answer::Refused { text, .. } => {
                Err(refused(&format!("set properties of unit {unit}"), &text))
            }
        }
    }

    /// Ends a unit, and waits until it has; one that is gone is no error.
    pub(super) fn stop(&mut self, unit: &str) -> Result<()> {
        self.subscribe()?;
        let act = || format!("stop unit {unit}");
        match self.call("StopUnit", &(unit, "replace"))? {
            Answer::Done => self.wait_for(unit, &act)?,
            Answer::Refused { name, .. } if name == NO_SUCH_UNIT => {}
            Answer::Refused { text, .. } => return Err(refused(&act(), &text)),
        }
        Ok(())
    }

    /// It tells of jobs whoever asked to be told.
    fn subscribe(&mut self) -> Result<()> {
        match self.call("Subscribe", &())? {
            Answer::Done => Ok(()),
            Answer::Refused { text, .. } => Err(refused("ask systemd for its signals", &text)),
        }
    }

    fn wait_for(&mut self, unit: &str, act: &dyn Fn() -> String) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (of, result) = match self.ended.pop_front() {
                Some(ended) => ended,
                None => match self.receive(deadline, act)? {
                    Message::JobRemoved { unit, result } => (unit, result),
                    _ => continue,
                },
            };
            match result.as_str() {
                _ if of != unit => {}
                "done" => return Ok(()),
                result => return Err(refused(&act(), &format!("the job ended as {result:?}"))),
            }
        }
    }

    /// Calls and waits for the answer.
    fn call<T: Serialize + Type>(&mut self, member: &str, arguments: &T) -> Result<Answer> {
        let act = || format!("call {member} of systemd");
        self.serial += 1;
        let message = message::call(self.serial, member, arguments)
            .map_err(|error| refused(&act(), &error.to_string()))?;
        self.stream.write_all(&message).during(act)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.receive(deadline, &act)? {
                Message::Return { to } if to == self.serial => return Ok(Answer::Done),
                Message::Error { to, name, text } if to == self.serial => {
                    let text = text.trim_end_matches('.').to_owned();
                    return Ok(Answer::Refused { name, text });
                }
                // A job may be over before its number is told.
                Message::JobRemoved { unit, result } => self.ended.push_back((unit, result)),
                _ => {}
            }
        }
    }

    fn receive(&mut self, deadline: Instant, act: &dyn Fn() -> String) -> Result<Message> {
        let mut head = [0; message::HEAD];
        self.read(&mut head, deadline).during(act)?;
        let rest = message::rest(&head).ok_or_else(|| broken("it sends no D-Bus"))?;
        let mut message = head.to_vec();
        message.resize(message::HEAD + rest, 0);
        self.read(&mut message[message::HEAD..], deadline).during(act)?;
        message::parse(&message).ok_or_else(|| broken("it sends no D-Bus"))
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> std::io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            // 0 would be no timeout at all.
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(Errno::CONNRESET.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(Errno::TIMEDOUT.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn refused(act: &str, reason: &str) -> Error {
    Error::Systemd { act: act.to_owned(), reason: reason.to_owned() }
}

fn broken(reason: &str) -> Error {
    refused(&format!("reach systemd at {SOCKET}"), reason)
}
