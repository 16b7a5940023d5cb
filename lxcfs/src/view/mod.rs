//! What each file says. `render(host, &sample, out)` is pure: it opens nothing and keeps nothing.
//!
//! The host's file is the template where there is one: order, labels and widths stay, a line that
//! has a container's answer gets it, any other passes as it is.

pub mod cpuinfo;
pub mod diskstats;
pub mod loadavg;
pub mod meminfo;
pub mod partitions;
pub mod pressure;
pub mod slabinfo;
pub mod stat;
pub mod swaps;
pub mod sys_cpu;
pub mod uptime;
