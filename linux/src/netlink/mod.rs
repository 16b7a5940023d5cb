//! Links, addresses and routes of a network namespace, by rtnetlink(7): one operation, one method.
//!
//! A [`Socket`] belongs to the namespace that it was opened in (netlink(7)), whoever uses it later:
//! nothing here switches a thread but to open one. Requests block. A refusal carries the kernel's own
//! words where it has some.
//!
//! The messages are those of netlink-packet-route, sent by netlink-sys and not by rtnetlink: that one
//! needs an async runtime, and a request that it cannot send ends like one that was acknowledged.

mod address;
mod link;
mod route;
mod shaping;
mod socket;

pub use address::{LastingAddress, LinkAddress};
pub use link::{Link, LinkChange, NewKind, NewLink, PeerLink};
pub use route::{Route, RouteFamily};
pub use socket::Socket;
