//! Links that a container gets: a veth pair into a bridge, or a link of the host's given away.

mod address;
mod parse;

pub use address::{Address, AddressError, HardwareAddress};
pub use parse::{Kind, LinkName, NicError, NicNames, NicRequest, parse_names};
