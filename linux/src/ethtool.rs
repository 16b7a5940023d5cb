//! What a link leaves to its hardware (linux/ethtool.h): segmentation, checksums and the like, as
//! bits that the kernel numbers. Who keeps them does so within one boot, and need not know them.

use std::os::fd::AsFd as _;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::Context as _;
use crate::raw::ethtool::ethtool;
use crate::{Errno, Result};

const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;
/// More blocks of 32 than any kernel has; it answers how many there are.
const BLOCKS: u32 = 8;

/// 32 features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Those that can be switched.
    pub changeable: u32,
    /// Those that are asked for, whether or not the link has them at this moment.
    pub wanted: u32,
}

/// The features of the link called `name` in the caller's network namespace; none for a link whose
/// driver has nothing to say.
pub fn features(name: &str) -> Result<Vec<Features>> {
    let call = || format!("ask for the features of link {name}");
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .during(call)?;
    let mut words = vec![0; 2 + 4 * BLOCKS as usize];
    words[..2].copy_from_slice(&[GET_FEATURES, BLOCKS]);
    match ethtool(socket.as_fd(), name, &mut words) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        done => done.during(call)?,
    }
    let blocks = usize::try_from(words[1].min(BLOCKS)).unwrap_or(0);
    // Available, requested, active, never changed.
    let features = words[2..].chunks_exact(4).take(blocks);
    let features =
        features.map(|block| Features { changeable: block[0] & !block[3], wanted: block[1] });
    Ok(features.collect())
}

/// Asks for exactly these of the features of the link called `name` that can be switched.
pub fn want(name: &str, wanted: &[u32]) -> Result<()> {
    let now = features(name)?;
    let blocks: Vec<(u32, u32)> = now
        .iter()
        .zip(wanted)
        .map(|(now, wanted)| ((now.wanted ^ wanted) & now.changeable, *wanted))
        .collect();
    if blocks.iter().all(|(differing, _)| *differing == 0) {
        return Ok(());
    }
    let call = || format!("set the features of link {name}");
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .during(call)?;
    let count = u32::try_from(now.len()).unwrap_or(0);
    let mut words = vec![SET_FEATURES, count];
    // The kernel wants all of its blocks.
    for at in 0..now.len() {
        let (valid, wanted) = blocks.get(at).copied().unwrap_or_default();
        words.extend([valid, wanted]);
    }
    ethtool(socket.as_fd(), name, &mut words).during(call)
}
