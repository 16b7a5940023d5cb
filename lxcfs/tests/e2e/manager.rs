//! Under a service manager: what it is told, and what it keeps while nobody of ours lives.

use std::{
    fs,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{Command, Stdio},
};

use crate::{
    Story,
    world::{World, kb, kill, pause, until},
};

pub(crate) const STORIES: &[Story] = &[
    ("the_service_manager_keeps_every_mount_over_the_death_of_all", everything_dies),
    ("the_service_managers_restart_costs_no_read", restart),
];

/// A service manager as far as it matters here: sd_notify(3) in, sd_listen_fds(3) out.
struct Manager {
    socket: UnixDatagram,
    stored: Vec<(String, OwnedFd)>,
}

impl Manager {
    fn new(world: &World) -> Manager {
        let socket = UnixDatagram::bind(world.dir.path().join("notify")).unwrap();
        Manager { socket, stored: Vec::new() }
    }

    /// Starts the unit's program as systemd does, and waits until it says it is ready.
    fn start(&mut self, world: &mut World) {
        let program = world.command(&[]);
        // Three descriptors and no more come along as the standard ones; the shell moves them to
        // where systemd puts the first ones it passes.
        let mut unit = Command::new("sh");
        let names: Vec<&str> = self.stored.iter().map(|(name, _)| name.as_str()).collect();
        let mut script = String::new();
        if let [(_, live), (_, kept), (_, memory)] = &self.stored[..] {
            unit.stdin(live.try_clone().unwrap()).stdout(kept.try_clone().unwrap());
            unit.stderr(memory.try_clone().unwrap());
            script = format!(
                "exec 3<&0 4<&1 5<&2 </dev/null >/dev/null 2>&1; \
                 export LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES={}; ",
                names.join(":")
            );
        } else {
            unit.stdin(Stdio::null());
        }
        unit.arg("-c").arg(format!("{script}exec \"$0\" \"$@\""));
        unit.arg(program.get_program()).args(program.get_args());
        unit.env("NOTIFY_SOCKET", world.dir.path().join("notify"));
        world.adopt(unit.spawn().unwrap());
        self.until_ready();
    }

    fn until_ready(&mut self) {
        let limit = std::time::Duration::from_secs(20);
        self.socket.set_read_timeout(Some(limit)).unwrap();
        loop {
            let mut buffer = vec![0; 4096];
            let (got, fds) = linux::socket::recv_fds(&self.socket, &mut buffer, 4).unwrap();
            let text = String::from_utf8(buffer[..got].to_vec()).unwrap();
            let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
            if field("FDSTORE=") == Some("1") {
                let name = field("FDNAME=").unwrap().to_owned();
                // systemd keeps one of descriptors that are the same.
                self.stored.retain(|(known, _)| *known != name);
                self.stored.extend(fds.into_iter().map(|fd| (name.clone(), fd)));
            }
            if field("READY=") == Some("1") {
                return;
            }
        }
    }
}

fn everything_dies() {
    let mut world = World::empty();
    let mut manager = Manager::new(&world);
    manager.start(&mut world);
    let names: Vec<&str> = manager.stored.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["lxcfs-device", "lxcfs-kept", "lxcfs-state"]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let output = world.toolkit(&["remount", "-c", &guest.id]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(kb(&guest.run("cat /proc/meminfo"), "MemTotal"), 102_400);
    guest.set_quota(100_000);
    // What the kernel keeps and what the daemon knows of limits are each 100 ms old at most.
    pause(250);
    assert_eq!(guest.run("grep -c ^processor /proc/cpuinfo"), "1\n");

    let worker = world.worker();
    kill(worker, 19);
    world.kill_holder();
    kill(worker, 9);
    // Nobody serves; the reader waits instead of failing.
    guest.start("cat /proc/meminfo");
    pause(300);
    manager.start(&mut world);
    assert_eq!(kb(&guest.finish(), "MemTotal"), 102_400);
    assert_eq!(guest.run("grep -c ^processor /proc/cpuinfo"), "1\n");
    assert!(world.log().contains("taken over from the service manager"), "{}", world.log());
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert_eq!(mounts.matches("fuse.lxcfs").count(), 2, "no mount but the two");
}

fn restart() {
    let mut world = World::empty();
    let mut manager = Manager::new(&world);
    manager.start(&mut world);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    world.toolkit(&["remount", "-c", &guest.id]);
    guest.start(
        "i=0; while [ $i -lt 2000 ]; do read _ n _ < /proc/meminfo || echo failed; \
         [ \"$n\" = 102400 ] || echo bad $n; i=$((i+1)); done",
    );
    for _ in 0..3 {
        pause(100);
        assert!(world.stop().success());
        manager.start(&mut world);
    }
    assert_eq!(guest.finish(), "");
    // The last end is without a manager that would keep anything.
    drop(manager);
    until("the daemon answers", || !world.read("proc/uptime").is_empty());
}
