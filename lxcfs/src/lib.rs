//! Each container's own `/proc/meminfo`, `cpuinfo`, `stat`, `uptime` and so on, by FUSE.
//!
//! ```text
//! holder ── keeps /dev/fuse and the state, replaces workers
//!   └ worker ── fs (fuser) ── caller ── sample (reads) ── view (pure text)
//! ```
//!
//! A view is a pure function of the host's file and a sample. A sample that cannot be had is
//! `fallback`'s, the only place that decides to show the host's values, and counts.

pub mod config;
pub mod cpuset;
pub mod cpuview;
pub mod load;
pub mod sample;
pub mod text;
pub mod view;
