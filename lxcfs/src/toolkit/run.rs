//! What the toolkit's commands do, for one container and for all of them.
//!
//! Each container has its own thread and time: one that hangs is reported and left behind, the
//! others are done.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    daemon::Daemon,
    discover::Found,
    graft::{self, Tree},
};

/// What became of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its id.
    pub id: String,
    /// Files mounted or mounts taken away.
    pub files: usize,
    /// What went wrong.
    pub error: Option<String>,
}

/// A change to one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands")]
pub enum Change {
    Remount,
    Umount,
}

/// Changes every container side by side, each within `limit`.
pub fn all(
    daemon: &Daemon,
    found: Vec<Found>,
    change: Change,
    dead_only: bool,
    limit: Duration,
) -> Vec<Outcome> {
    let (sender, receiver) = mpsc::channel();
    let mut waiting: Vec<String> = Vec::new();
    let mut outcomes = Vec::new();
    for container in found {
        let (id, daemon, sender) = (container.id.clone(), daemon.clone(), sender.clone());
        let work = move || {
            let result = one(&daemon, &container, change, dead_only);
            let _ = sender.send(outcome(container.id, result));
        };
        match std::thread::Builder::new().spawn(work) {
            Ok(_) => waiting.push(id),
            Err(error) => outcomes.push(Outcome { id, files: 0, error: Some(error.to_string()) }),
        }
    }
    drop(sender);
    let deadline = Instant::now() + limit;
    while !waiting.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(outcome) = receiver.recv_timeout(left) else { break };
        waiting.retain(|id| *id != outcome.id);
        outcomes.push(outcome);
    }
    outcomes.extend(waiting.into_iter().map(|id| Outcome {
        id,
        files: 0,
        error: Some(format!("not done within {} s", limit.as_secs())),
    }));
    outcomes.sort_by(|left, right| left.id.cmp(&right.id));
    outcomes
}

fn outcome(id: String, result: linux::Result<usize>) -> Outcome {
    match result {
        Ok(files) => Outcome { id, files, error: None },
        Err(error) => Outcome { id, files: 0, error: Some(error.to_string()) },
    }
}

fn one(
    daemon: &Daemon,
    container: &Found,
    change: Change,
    dead_only: bool,
) -> linux::Result<usize> {
    let tree = Tree::of(container.pid)?;
    match change {
        Change::Remount => {
            if dead_only && !tree.has_dead()? {
                return Ok(0);
            }
            let source = daemon.source(&container.id, container.pid)?;
            let pieces = graft::pieces(&source, tree.root())?;
            graft::verify(&source)?;
            tree.put(&pieces)
        }
        Change::Umount => {
            let taken = tree.take(dead_only)?;
            if !dead_only {
                daemon.forget(&container.id);
            }
            Ok(taken)
        }
    }
}
