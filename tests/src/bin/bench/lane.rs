//! One peer's thread, with a world of its own: what a peer needs of its mount namespace (crun an
//! empty `cgroup.controllers` on hybrid hosts) touches nobody else.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, ensure};
use tests::World;

use crate::peers::{OCI_STATE, Peer};
use crate::work::{Done, Stage, Work};

pub(crate) struct Lane {
    pub(crate) name: &'static str,
    orders: Option<Sender<Work>>,
    results: Receiver<Result<Done>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Lane {
    /// Starts the thread and sees that the peer runs at all.
    pub(crate) fn open(name: &'static str, mut peer: Box<dyn Peer>) -> Result<Self> {
        let (orders, ordered) = channel::<Work>();
        let (done, results) = channel();
        let thread = std::thread::spawn(move || -> Result<()> {
            let world = World::enter()?;
            let ready = state_on_tmpfs(&world).and_then(|()| peer.prepare(&world));
            let mut told = ready.with_context(|| format!("prepare {name}"));
            if told.is_ok() {
                let stage = Stage::set(&world, peer.as_ref())?;
                while let Ok(work) = ordered.recv() {
                    if done.send(work.run(&world, peer.as_ref(), &stage)).is_err() {
                        break;
                    }
                }
                drop(stage);
            } else if let Err(error) = told {
                let _ = done.send(Err(error));
                told = Ok(());
            }
            let left = world.leave();
            ensure!(left.is_empty(), "{name} left behind: {}", left.join(", "));
            told
        });
        let lane = Self { name, orders: Some(orders), results, thread: Some(thread) };
        lane.work(Work::Nothing)?;
        Ok(lane)
    }

    /// Has the work done and waits for it.
    pub(crate) fn work(&self, work: Work) -> Result<Done> {
        let orders = self.orders.as_ref().context("the lane is open")?;
        // A thread that has given up left its reason in the other channel.
        let _ = orders.send(work);
        self.results.recv().map_err(|_| anyhow!("the thread of {} is gone", self.name))?
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            crate::say(&format!("bench: {error:#}"));
        }
    }
}

/// As on a host, where what lives for a boot is below /run.
fn state_on_tmpfs(world: &World) -> Result<()> {
    for dir in [world.state(), world.path(OCI_STATE)] {
        std::fs::create_dir_all(&dir)?;
        world.mount("tmpfs", &dir, "mode=700")?;
    }
    Ok(())
}
