//! What it costs a new process to be in a cgroup of every hierarchy, in three ways:
//!
//! ```text
//! cargo run --release -p linux --example cgroup_join [ROUNDS]
//! ```
//!
//! Run it as root. There is a pause between any two joins, as what is measured is a wait that a
//! migration soon after another is spared; on a busy machine, soon is long.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, for eyes")]

use std::time::{Duration, Instant};

use linux::cgroup::{Cgroup, CgroupPath, Layout, Version};
use linux::process::{Pid, Signal};
use linux::{CloneFlags, Forked};

#[derive(Debug, Clone, Copy)]
enum Way {
    /// Born in the v2 cgroup; writes 0 to `tasks` of each v1 cgroup. What the library does.
    Own,
    /// Writes 0 to `cgroup.procs` of each cgroup.
    Self_,
    /// The parent writes its number to `cgroup.procs` of each cgroup.
    Parent,
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(40, |text| text.parse().unwrap());
    let layout = Layout::detect().unwrap();
    let path = CgroupPath::parse(&format!("sysc-join-{}", std::process::id())).unwrap();
    let cgroup = Cgroup::create(&layout, &path).unwrap();
    let mut times = [const { Vec::new() }; 3];
    let ways = [Way::Own, Way::Self_, Way::Parent];
    let pause = Duration::from_millis(200).try_into().unwrap();
    for _ in 0..rounds {
        for (way, times) in ways.into_iter().zip(&mut times) {
            rustix::event::poll(&mut [], Some(&pause)).unwrap();
            times.push(join(&layout, &cgroup, way));
        }
    }
    cgroup.remove(Duration::from_secs(5)).unwrap();
    println!("{} hierarchies, {rounds} rounds, us: median (min-max)", layout.hierarchies().len());
    let names = [
        "clone3 into the v2 cgroup, 0 to tasks",
        "0 to cgroup.procs by the child",
        "its pid to cgroup.procs by the parent",
    ];
    for (name, mut times) in names.into_iter().zip(times) {
        times.sort_unstable();
        let us = |time: Option<&Duration>| time.unwrap().as_micros();
        let median = us(times.get(times.len() / 2));
        println!("{name:40} {median:6} ({}-{})", us(times.first()), us(times.last()));
    }
}

/// From before the fork until the parent knows that the child is inside.
fn join(layout: &Layout, cgroup: &Cgroup, way: Way) -> Duration {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let begin = Instant::now();
    let fds = cgroup.join_fds().unwrap();
    let born = fds.unified().filter(|_| matches!(way, Way::Own));
    let pidfd = match linux::fork(CloneFlags::empty(), born).unwrap() {
        Forked::Child => {
            match way {
                Way::Own => fds.join_v1().unwrap(),
                Way::Self_ => write_procs(cgroup, "0"),
                Way::Parent => {}
            }
            rustix::io::write(&writer, b"!").unwrap();
            loop {
                rustix::event::poll(&mut [], None).unwrap();
            }
        }
        Forked::Parent { pid, pidfd } => {
            if matches!(way, Way::Parent) {
                write_procs(cgroup, &pid.to_string());
            }
            rustix::io::read(&reader, &mut [0u8]).unwrap();
            assert_inside(layout, cgroup, pid);
            pidfd
        }
    };
    let time = begin.elapsed();
    pidfd.signal(Signal::KILL).unwrap();
    pidfd.wait().unwrap();
    time
}

fn write_procs(cgroup: &Cgroup, text: &str) {
    for dir in cgroup.dirs() {
        linux::file::write(dir.join("cgroup.procs"), text.as_bytes()).unwrap();
    }
}

fn assert_inside(layout: &Layout, cgroup: &Cgroup, pid: Pid) {
    let unified = layout.hierarchies().iter().any(|tree| tree.version == Version::V2);
    let found = Cgroup::of(layout, pid).unwrap();
    assert!(cgroup.contains(&found) && unified == found.unified_dir().is_some());
}
