//! A parent that dies in the middle leaves nothing that runs, and `delete` finds the rest.

use linux::process::{Pid, PidFd};
use linux::signal::Signal;
use linux::{CloneFlags, Forked};
use serde_json::json;

use crate::world::{Bundle, World, until};

crate::cases!(
    a_parent_killed_while_it_creates_takes_the_child_with_it,
    a_created_container_outlives_its_creator,
    a_child_that_is_killed_while_it_is_made_is_an_error,
);

/// Runs `create` in a process of its own and answers it.
fn creator(world: &World, bundle: &Bundle) -> PidFd {
    bundle.write();
    match linux::fork(CloneFlags::empty(), None).unwrap() {
        Forked::Child => {
            let created = world.create(bundle);
            linux::process::exit_now(i32::from(created.is_err()))
        }
        Forked::Parent { pidfd, .. } => pidfd,
    }
}

/// The one process in the container's cgroups.
fn init(bundle: &Bundle) -> Option<Pid> {
    let layout = linux::cgroup::Layout::detect().unwrap();
    let path = linux::cgroup::CgroupPath::parse(&bundle.cgroup()).unwrap();
    let cgroup = linux::cgroup::Cgroup::open(&layout, &path).ok()?;
    cgroup.procs().ok()?.first().copied()
}

fn a_parent_killed_while_it_creates_takes_the_child_with_it() {
    let world = World::new();
    for user in [false, true] {
        let mut bundle = Bundle::script(if user { "user" } else { "plain" }, "true");
        // Holds the parent in the middle: the child waits for it.
        let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", "echo $$ > /mnt/hook; exec sleep 1000"] });
        bundle.spec["hooks"] = json!({ "createRuntime": [hook] });
        if user {
            bundle.user_namespace();
        }
        let creator = creator(&world, &bundle);
        until("the hook runs", || {
            std::fs::read_to_string("/mnt/hook").is_ok_and(|text| text.ends_with('\n'))
        });
        let child = PidFd::open(init(&bundle).unwrap()).unwrap();
        let state = world.runtime.state(&bundle.id).unwrap();
        assert_eq!(state.status, runtime::Status::Creating);
        creator.signal(Signal::KILL).unwrap();
        creator.wait().unwrap();
        let hook: i32 = std::fs::read_to_string("/mnt/hook").unwrap().trim().parse().unwrap();
        let hook = PidFd::open(Pid::new(hook).unwrap()).unwrap();
        hook.signal(Signal::KILL).unwrap();
        assert!(child.exits_within(Some(std::time::Duration::from_secs(10))).unwrap());
        until("nobody holds the lock", || {
            world.runtime.state(&bundle.id).unwrap().status == runtime::Status::Stopped
        });
        world.runtime.delete(&bundle.id, false).unwrap();
        world.assert_nothing_left(&bundle);
        std::fs::remove_file("/mnt/hook").unwrap();
    }
}

fn a_created_container_outlives_its_creator() {
    let world = World::new();
    let bundle = Bundle::script("web", "echo yes > /done");
    // As a shim's: what its children leave behind becomes ours.
    rustix::process::set_child_subreaper(Some(rustix::process::Pid::INIT)).unwrap();
    assert!(creator(&world, &bundle).wait().unwrap().is_success());
    assert_eq!(world.runtime.state("web").unwrap().status, runtime::Status::Created);
    let pid = Pid::new(world.runtime.state("web").unwrap().pid).unwrap();
    let init = PidFd::open(pid).unwrap();
    world.runtime.start("web").unwrap();
    assert!(init.wait().unwrap().is_success());
    assert!(bundle.rootfs().join("done").exists());
    world.runtime.delete("web", false).unwrap();
    world.assert_nothing_left(&bundle);
}

fn a_child_that_is_killed_while_it_is_made_is_an_error() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "true");
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c",
        "kill -9 $(grep -o '\"pid\":[0-9]*' | cut -d: -f2)"] });
    bundle.spec["hooks"] = json!({ "createRuntime": [hook] });
    let text = world.refuses(&bundle);
    assert_eq!(text, "the container's process died while it was made");
}
