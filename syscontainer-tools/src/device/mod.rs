//! Block and character devices that a container gets to use, and how much of them.

mod parse;
mod partition;
mod qos;

pub use parse::{DeviceArgument, DeviceError, DevicePermissions, parse_addition, parse_removal};
pub use partition::container_name;
pub use qos::{LimitKind, QosError, QosLimit, parse_limit, parse_weight};
