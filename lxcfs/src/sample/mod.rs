//! The numbers one view needs, read together, and how the text of cgroup files becomes them.
//!
//! Pure: text in, values out. Opening and reading the files is `source`'s.

pub mod block;
pub mod cpu;
pub mod memory;

pub use block::{BlockCounters, BlockSample, Disk};
pub use cpu::{CpuBudget, CpuUsage};
pub use memory::{HugePages, MemorySample, MemoryStat, SwapSample};

/// Which of the two cgroup interfaces a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// One hierarchy a controller (legacy), and the controllers a hybrid host keeps there.
    V1,
    /// The unified hierarchy.
    V2,
}
