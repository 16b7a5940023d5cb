//! Links that a container gets: a veth pair into a bridge, a link of the host's given away, or one
//! made on a link that the host keeps.

mod address;
mod apply;
mod bridge;
mod entry;
mod given;
pub mod host;
mod made;
mod parse;
pub mod plan;
mod rate;
mod registry;
mod settings;
mod veth;

pub use address::{Address, AddressError, HardwareAddress};
pub(crate) use apply::{apply, drift, retire_earlier, revert, update};
pub use apply::{recover, retire};
pub use entry::made_up_host_name;
pub use parse::{Kind, LinkName, NicError, NicNames, NicRequest, parse_names};
pub use rate::{Rate, Rates};
pub use registry::{LINKS, Links};
pub(crate) use settings::Sockets;
