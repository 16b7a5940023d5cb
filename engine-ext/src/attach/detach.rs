//! Finds the detach keys in what is typed; everything else passes in order (pure).

/// Sequences of bytes that end the session instead of reaching the container.
#[derive(Debug, Clone)]
pub struct DetachKeys {
    sequences: Vec<Vec<u8>>,
    /// What was typed and may yet become a sequence.
    held: Vec<u8>,
}

/// What is left of one read of the terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    /// For the container.
    pub pass: Vec<u8>,
    /// A sequence is complete; what came after it is dropped.
    pub detach: bool,
}

impl Default for DetachKeys {
    /// ctrl-p ctrl-q (the field's habit) and ctrl-a q (LXC's).
    fn default() -> Self {
        Self::new(vec![vec![0x10, 0x11], vec![0x01, b'q']])
    }
}

impl DetachKeys {
    pub fn new(sequences: Vec<Vec<u8>>) -> Self {
        Self {
            sequences: sequences.into_iter().filter(|keys| !keys.is_empty()).collect(),
            held: vec![],
        }
    }

    /// No sequence at all.
    pub fn none() -> Self {
        Self::new(vec![])
    }

    /// Takes what was read. Bytes that begin a sequence are held back until the next one decides.
    pub fn feed(&mut self, input: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for &byte in input {
            self.held.push(byte);
            if self.sequences.contains(&self.held) {
                self.held.clear();
                typed.detach = true;
                return typed;
            }
            // The longest end of what is held that still begins a sequence stays held.
            while !self.sequences.iter().any(|keys| keys.starts_with(&self.held)) {
                if self.held.is_empty() {
                    break;
                }
                typed.pass.push(self.held.remove(0));
            }
        }
        typed
    }

    /// What was held when the input ended.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests;
