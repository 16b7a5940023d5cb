//! What to serve when a sample cannot be had: the host's values, counted, and said once for each
//! container and cause. The only file that decides to show a container the host.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use linux::Errno;

use crate::{
    fs::tree::{Node, View},
    view::slabinfo,
};

/// Containers and causes that are remembered as said.
const SAID: usize = 4096;

/// Why a container got the host's values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The caller or its container could not be found.
    Identity,
    /// No cgroup of the container carries the controller: nothing is limited or counted there.
    Controller,
    /// A file could not be read.
    Read(String, Option<Errno>),
    /// The container's values took longer than a reader may wait.
    Late,
    /// The view panicked.
    Panic,
}

impl Cause {
    /// A file that could not be read.
    pub fn read(error: linux::Error) -> Cause {
        let errno = error.errno();
        Cause::Read(error.to_string(), Some(errno))
    }

    const NAMES: [&'static str; 5] = ["identity", "controller", "read", "late", "panic"];

    fn index(&self) -> usize {
        match self {
            Cause::Identity => 0,
            Cause::Controller => 1,
            Cause::Read(..) => 2,
            Cause::Late => 3,
            Cause::Panic => 4,
        }
    }
}

/// What stands in for a host's file that tells a container about nothing but the host; `None` where
/// the host's own will do.
pub fn instead(node: Node) -> Option<&'static [u8]> {
    match node {
        Node::File(View::Diskstats | View::Partitions) => Some(b""),
        Node::File(View::Slabinfo) => Some(slabinfo::EMPTY),
        _ => None,
    }
}

/// How often each cause was met.
#[derive(Debug, Default)]
pub struct Fallbacks {
    counts: [AtomicU64; Cause::NAMES.len()],
    said: Mutex<HashSet<(String, usize)>>,
}

impl Fallbacks {
    /// Counts one, and says it if it is the first of its kind for this container.
    pub fn count(&self, container: &str, file: &str, cause: &Cause) {
        self.counts[cause.index()].fetch_add(1, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < SAID && said.insert((container.to_owned(), cause.index())) {
            drop(said);
            let detail = match cause {
                Cause::Read(text, _) => text.as_str(),
                _ => "",
            };
            tracing::warn!(
                container,
                file,
                cause = Cause::NAMES[cause.index()],
                detail,
                "host values shown"
            );
        }
    }

    /// Cause and count of each.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Cause::NAMES.into_iter().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_counted_apart() {
        let fallbacks = Fallbacks::default();
        fallbacks.count("a", "meminfo", &Cause::Identity);
        fallbacks.count("a", "meminfo", &Cause::Late);
        fallbacks.count("b", "stat", &Cause::Late);
        let counts: Vec<_> = fallbacks.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [("identity", 1), ("late", 2)]);
    }
}
