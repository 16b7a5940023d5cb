//! Each container's own `/proc/meminfo`, `cpuinfo`, `stat`, `uptime` and so on, by FUSE.
//!
//! ```text
//! holder -- keeps /dev/fuse and the state, replaces workers
//!   ' worker -- fs (fuser) -- caller -- sample (reads) -- view (pure text)
//! ```
//!
//! A view is a pure function of the host's file and a sample. A sample that cannot be had is
//! `fallback`'s, the only place that decides to show the host's values, and counts.

pub mod answer;
pub mod attached;
pub mod caller;
pub mod cli;
pub mod config;
pub mod connection;
pub mod container;
pub mod control;
pub mod cpuset;
pub mod cpuview;
pub mod fallback;
pub mod fs;
pub mod holder;
pub mod host;
pub mod last_resort;
pub mod load;
pub mod metrics;
pub mod orders;
pub mod relay;
pub mod sample;
pub mod sampler;
pub mod server;
pub mod source;
pub mod state;
pub mod systemd;
pub mod text;
pub mod toolkit;
pub mod view;
pub mod worker;
