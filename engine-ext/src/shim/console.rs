//! The hub between a container's streams and everyone who is attached.
//!
//! It outlives the container's runs: a reboot changes the streams, not the clients.

use std::time::Instant;

use super::attach::Client;
use super::log_file::{LogFile, Stream};
use super::protocol::{Attached, Exit, Kind, PAYLOAD_MAX, Size};
use super::ring::Ring;
use super::stdio::{Chunk, Streams};

/// Clients at one time: each costs a descriptor and, when slow, a queue.
const CLIENTS_MAX: usize = 128;
/// Turns of reading one stream before the others are looked at.
const TURNS: usize = 8;
/// What is read after the end at most: a process that outlived init may write for ever.
const REST_MAX: usize = 4 * 1024 * 1024;

/// The hub.
#[derive(Debug)]
pub(super) struct Console {
    tty: bool,
    streams: Option<Streams>,
    ring: Ring,
    log: Option<LogFile>,
    clients: Vec<Client>,
    /// A packet as it is sent: the kind, then what was read.
    buffer: Vec<u8>,
    size: Option<Size>,
}

impl Console {
    pub(super) fn new(tty: bool, log: Option<LogFile>) -> Self {
        let buffer = vec![0; PAYLOAD_MAX + 1];
        Self { tty, streams: None, ring: Ring::default(), log, clients: vec![], buffer, size: None }
    }

    pub(super) fn set_streams(&mut self, streams: Streams) {
        self.streams = Some(streams);
    }

    pub(super) fn streams(&mut self) -> Option<&mut Streams> {
        self.streams.as_mut()
    }

    pub(super) fn streams_ref(&self) -> Option<&Streams> {
        self.streams.as_ref()
    }

    pub(super) fn clients_ref(&self) -> &[Client] {
        &self.clients
    }

    pub(super) fn clients(&mut self) -> &mut Vec<Client> {
        &mut self.clients
    }

    pub(super) fn log(&mut self) -> Option<&mut LogFile> {
        self.log.as_mut()
    }

    /// The size a client last asked for; the next terminal begins with it.
    pub(super) fn size(&self) -> Option<Size> {
        self.size
    }

    pub(super) fn resize(&mut self, size: Size) -> linux::Result<()> {
        self.size = Some(size);
        self.streams.as_mut().map_or(Ok(()), |streams| streams.resize(size))
    }

    /// Lets a client in, or hands it back when there are too many.
    pub(super) fn admit(
        &mut self,
        mut client: Client,
        replay: bool,
        now: Instant,
    ) -> Result<(), Client> {
        if self.clients.len() >= CLIENTS_MAX {
            return Err(client);
        }
        client.give(&Kind::Attached.json(&Attached { tty: self.tty }), &mut None, now);
        if replay {
            for packet in self.ring.replay() {
                client.give(&packet, &mut None, now);
            }
        }
        self.clients.push(client);
        Ok(())
    }

    /// Whether the container may be read: nobody's queue is full.
    pub(super) fn may_read(&self) -> bool {
        !self.clients.iter().any(Client::is_full)
    }

    pub(super) fn input_has_room(&self) -> bool {
        self.streams.as_ref().is_none_or(Streams::input_has_room)
    }

    /// The container has read some of what waited for it.
    pub(super) fn flush_input(&mut self) {
        if let Some(streams) = &mut self.streams {
            streams.input().flush();
        }
    }

    /// Reads a stream that has something and shows it to everyone.
    pub(super) fn read(&mut self, kind: Kind, now: Instant) {
        for _ in 0..TURNS {
            if !self.may_read() || !matches!(self.read_once(kind, now), Chunk::Data(_)) {
                return;
            }
        }
    }

    fn read_once(&mut self, kind: Kind, now: Instant) -> Chunk {
        let Some(streams) = &mut self.streams else { return Chunk::End };
        let chunk = streams.read(kind, &mut self.buffer[1..]);
        if let Chunk::Data(length) = chunk {
            self.buffer[0] = kind as u8;
            self.publish(kind, length, now);
        }
        chunk
    }

    fn publish(&mut self, kind: Kind, length: usize, now: Instant) {
        let packet = &self.buffer[..=length];
        let data = &packet[1..];
        self.ring.push(kind, data);
        if let Some(log) = &mut self.log {
            log.write(if kind == Kind::Stderr { Stream::Stderr } else { Stream::Stdout }, data);
        }
        let mut shared = None;
        for client in &mut self.clients {
            client.give(packet, &mut shared, now);
        }
    }

    /// The container has ended: takes what it wrote last and lets its streams go.
    pub(super) fn drain(&mut self, now: Instant) {
        for kind in [Kind::Stdout, Kind::Stderr] {
            let mut rest = 0;
            while rest < REST_MAX
                && let Chunk::Data(length) = self.read_once(kind, now)
            {
                rest += length;
            }
        }
        self.streams = None;
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    pub(super) fn announce_restart(&mut self, now: Instant) {
        let packet = Kind::Restarted.packet(&[]);
        let mut shared = None;
        for client in &mut self.clients {
            client.give(&packet, &mut shared, now);
        }
    }

    /// Tells everyone the end; they leave when they have read it.
    pub(super) fn announce_end(&mut self, code: i32, now: Instant) {
        let packet = Kind::Exit.json(&Exit { code });
        for client in &mut self.clients {
            client.dismiss(&packet, now);
        }
    }

    /// Sends what waits, gives up on those that are too slow, forgets those that left.
    pub(super) fn tend_clients(&mut self, now: Instant) {
        for client in &mut self.clients {
            client.expire(now);
        }
        self.clients.retain(|client| !client.is_gone());
    }

    /// When [`Self::tend_clients`] or the log has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let log = self.log.as_ref().and_then(LogFile::deadline);
        self.clients.iter().filter_map(Client::deadline).chain(log).min()
    }
}

#[cfg(test)]
mod tests;
