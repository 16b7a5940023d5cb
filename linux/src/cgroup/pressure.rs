//! Pressure stall information of a cgroup (Documentation/accounting/psi.rst).

use super::Cgroup;
use super::kernfs::read_text;
use crate::error::{Errno, Error, Result};

/// What processes wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// A CPU.
    Cpu,
    /// Memory.
    Memory,
    /// A disk.
    Io,
    /// Interrupts to be over (from Linux 6.1, if configured).
    Irq,
}

impl Pressure {
    fn file(self) -> &'static str {
        match self {
            Self::Cpu => "cpu.pressure",
            Self::Memory => "memory.pressure",
            Self::Io => "io.pressure",
            Self::Irq => "irq.pressure",
        }
    }
}

impl Cgroup {
    /// The text of the file, in the format of `/proc/pressure`; `None` where the kernel has none.
    /// It needs the v2 tree and no controller in it.
    pub fn pressure(&self, pressure: Pressure) -> Result<Option<String>> {
        let Some(dir) = self.unified_dir() else { return Ok(None) };
        let path = dir.join(pressure.file());
        match read_text(&path) {
            Ok(text) => Ok(Some(text)),
            // Switched off at boot (psi=0) or for the cgroup (cgroup.pressure).
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(Error::new(format!("read {}", path.display()), errno)),
        }
    }
}
