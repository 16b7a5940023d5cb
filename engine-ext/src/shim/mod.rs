//! One container's supervisor, and how others talk to it.

pub mod client;
pub mod protocol;
pub mod stop_signal;
pub mod transport;
