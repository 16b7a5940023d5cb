//! Cgroups below one of our own, in the trees that this machine has.

mod create;
mod delegate;
mod devices;
mod join;
mod kill;
mod layout;
mod limits;
mod limits_refused;
mod remove;

use std::fs;
use std::path::Path;
use std::time::Duration;

use linux::cgroup::{Cgroup, CgroupPath, Hierarchy, Layout, Version};
use linux::process::{Pid, PidFd};
use linux::{CloneFlags, Forked};

pub(crate) fn cases() -> Vec<crate::Case> {
    [
        create::CASES,
        delegate::CASES,
        devices::CASES,
        join::CASES,
        kill::CASES,
        layout::CASES,
        limits::CASES,
        limits_refused::CASES,
        remove::CASES,
    ]
    .concat()
}

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cgroup of the test's own in each tree; what is below it when the test ends is ended too.
struct World {
    layout: Layout,
    name: String,
}

impl World {
    fn new() -> Self {
        Self::of(Layout::detect().unwrap())
    }

    /// With the trees of one version only, as other hosts have it.
    fn only(version: Version) -> Self {
        let all = Layout::detect().unwrap();
        let keep = |hierarchy: &&Hierarchy| hierarchy.version == version;
        let kept: Vec<_> = all.hierarchies().iter().filter(keep).cloned().collect();
        if kept.is_empty() {
            crate::skip(&format!("no {version:?} tree is mounted"));
        }
        Self::of(Layout::of(kept))
    }

    fn of(layout: Layout) -> Self {
        Self { layout, name: format!("sysc-cgroup-{}", std::process::id()) }
    }

    fn path(&self, name: &str) -> CgroupPath {
        CgroupPath::parse(&format!("{}/{name}", self.name)).unwrap()
    }

    fn create(&self, name: &str) -> Cgroup {
        Cgroup::create(&self.layout, &self.path(name)).unwrap()
    }

    /// Messages without what differs from run to run.
    fn plain(&self, error: &linux::Error) -> String {
        let mut text = error.to_string().replace(&self.name, "TEST");
        for hierarchy in self.layout.hierarchies() {
            let top = format!("{}/", hierarchy.mount_point.display());
            text = text.replace(&top, "TOP/");
        }
        text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // One that the test has not made, or has taken away again.
        let Ok(cgroup) = Cgroup::open(&self.layout, &CgroupPath::parse(&self.name).unwrap()) else {
            return;
        };
        let outcome = cgroup.kill_all(PATIENCE).and_then(|stuck| {
            cgroup.remove(PATIENCE)?;
            Ok(stuck)
        });
        let left: Vec<_> = cgroup.dirs().filter(|dir| dir.exists()).collect();
        if !std::thread::panicking() {
            assert_eq!(left, [] as [&Path; 0], "{outcome:?}");
        }
    }
}

/// A child that runs `body`, in the cgroup when this returns.
fn child(cgroup: &Cgroup, flags: CloneFlags, body: impl FnOnce() -> i32) -> (Pid, PidFd) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let fds = cgroup.join_fds().unwrap();
    match linux::fork(flags, fds.unified()).unwrap() {
        Forked::Child => {
            fds.join_v1().unwrap();
            drop(writer);
            std::process::exit(body())
        }
        Forked::Parent { pid, pidfd } => {
            drop(writer);
            // It has closed its end, or is dead.
            assert_eq!(rustix::io::read(&reader, &mut [0u8]), Ok(0));
            (pid, pidfd)
        }
    }
}

/// A child in the cgroup that does nothing.
fn sleeper(cgroup: &Cgroup) -> (Pid, PidFd) {
    child(cgroup, CloneFlags::empty(), || {
        loop {
            // Nothing wakes it but the end.
            let _ = rustix::event::poll(&mut [], None);
        }
    })
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim_end().to_owned()
}
