//! The last of what a container wrote, for whoever attaches later (pure).

use std::collections::VecDeque;

use super::protocol::{Kind, PAYLOAD_MAX};

/// Bytes kept.
pub(super) const CAPACITY: usize = 64 * 1024;

/// Grows with what is written, up to its capacity: a silent container costs nothing.
#[derive(Debug, Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    /// Which stream the bytes are of: lengths of runs, in order.
    runs: VecDeque<(Kind, usize)>,
    /// Something is gone already, so the first line may be half a line.
    cut: bool,
}

impl Ring {
    pub(super) fn push(&mut self, kind: Kind, data: &[u8]) {
        let kept = &data[data.len().saturating_sub(CAPACITY)..];
        self.cut |= kept.len() < data.len();
        let excess = (self.bytes.len() + kept.len()).saturating_sub(CAPACITY);
        self.forget(excess);
        self.bytes.extend(kept);
        match self.runs.back_mut() {
            Some((last, length)) if *last == kind => *length += kept.len(),
            _ if kept.is_empty() => {}
            _ => self.runs.push_back((kind, kept.len())),
        }
    }

    fn forget(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.cut = true;
        self.bytes.drain(..count);
        let mut left = count;
        while let Some((_, length)) = self.runs.front_mut() {
            if *length > left {
                *length -= left;
                break;
            }
            left -= *length;
            self.runs.pop_front();
        }
    }

    /// Packets that show what is kept, from the start of a line.
    pub(super) fn replay(&self) -> Vec<Vec<u8>> {
        let mut skip = 0;
        if self.cut {
            skip = self.bytes.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        }
        let mut packets = Vec::new();
        let mut start = 0;
        for &(kind, length) in &self.runs {
            let end = start + length;
            let mut from = start.max(skip);
            while from < end {
                let to = end.min(from + PAYLOAD_MAX);
                let mut packet = Vec::with_capacity(to - from + 1);
                packet.push(kind as u8);
                packet.extend(self.bytes.range(from..to));
                packets.push(packet);
                from = to;
            }
            start = end;
        }
        packets
    }
}

#[cfg(test)]
mod tests;
