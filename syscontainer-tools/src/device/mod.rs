//! Block and character devices that a container gets to use, and how much of them.

mod apply;
mod follow;
mod host;
mod limit;
mod node;
mod parse;
mod partition;
pub mod plan;
mod qos;
mod rules;
mod tell;

pub(crate) use apply::{Rules, apply, drift, revert};
pub use follow::follow_partitions;
pub(crate) use host::refresh;
pub(crate) use limit::{check_weights, lift, number as limited, set_all as set_limits};
pub(crate) use node::forget_aside;
pub use parse::{DeviceArgument, DeviceError, DevicePermissions, parse_addition, parse_removal};
pub use partition::container_name;
pub use qos::{LimitKind, QosError, QosLimit, parse_limit, parse_weight};
pub(crate) use tell::tell;
