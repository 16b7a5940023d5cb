//! The numbers one view needs, read together, and how the text of cgroup files becomes them.
//!
//! Pure: text in, values out. Opening and reading the files is `source`'s.

pub mod block;
pub mod cpu;
pub mod memory;

pub use block::{BlockCounters, BlockSample, Disk};
pub use cpu::{CpuBudget, CpuUsage};
pub use memory::{HugePages, MemorySample, SwapSample};

pub use linux::cgroup::{MemoryStat, Version};
