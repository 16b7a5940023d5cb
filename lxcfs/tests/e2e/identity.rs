//! Whose values a reader gets.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    Story,
    world::{World, kb},
};

pub(crate) const STORIES: &[Story] = &[
    ("containers_reading_in_turns_never_see_each_other", in_turns),
    ("a_process_that_joins_a_container_sees_the_container", joined),
    ("the_host_sees_the_host", host),
    ("a_namespace_in_a_container_is_bounded_by_it", nested),
    ("a_container_that_shares_the_hosts_pids_sees_its_cgroup", host_pids),
    ("an_attached_container_is_known_by_path", by_path),
    ("a_subtree_may_be_kept_by_the_kernel_and_follows_changes", kept),
    ("a_new_container_never_gets_the_values_of_an_old_one", reuse),
    ("a_cgroup_with_a_strange_name_is_read", strange_cgroup),
];

fn in_turns() {
    let world = World::new(&[]);
    let (mut small, mut large) = (world.guest(), world.guest());
    small.limit_memory("104857600");
    large.limit_memory("209715200");
    let loops = |total: u64| {
        format!(
            "i=0; while [ $i -lt 1000 ]; do read _ n _ < {}/proc/meminfo; [ \"$n\" = {total} ] \
             || echo bad $n; i=$((i+1)); done",
            world.mount().display()
        )
    };
    small.start(&loops(102_400));
    large.start(&loops(204_800));
    assert_eq!(small.finish(), "");
    assert_eq!(large.finish(), "");
}

fn joined() {
    let world = World::new(&[]);
    let guest = world.guest();
    guest.limit_memory("104857600");
    let pid = guest.pid().to_string();
    let path = world.mount().join("proc/meminfo");
    let output =
        Command::new("nsenter").args(["-t", &pid, "-p", "-m", "cat"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(kb(&text, "MemTotal"), 102_400, "{text}");
}

fn host() {
    let world = World::new(&[]);
    for file in ["cpuinfo", "swaps", "partitions"] {
        let host = fs::read(Path::new("/proc").join(file)).unwrap();
        // The clocks of the CPUs move.
        let steady = |text: Vec<u8>| -> Vec<String> {
            let text = String::from_utf8(text).unwrap();
            text.lines().filter(|line| !line.starts_with("cpu MHz")).map(str::to_owned).collect()
        };
        assert_eq!(steady(world.read(&format!("proc/{file}")).into()), steady(host), "{file}");
    }
    let host = fs::read_to_string("/proc/meminfo").unwrap();
    assert_eq!(kb(&world.read("proc/meminfo"), "MemTotal"), kb(&host, "MemTotal"));
    assert_eq!(world.metric("lxcfs_fallbacks_total{cause=\"identity\"}"), 0);
}

fn nested() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    let path = world.mount().join("proc/meminfo");
    let text = guest.run(&format!("unshare --pid --fork cat {}", path.display()));
    assert_eq!(kb(&text, "MemTotal"), 102_400);
    // Of a program whose main thread is gone only other threads can read.
    let script = "import threading,os,ctypes,sys\n\
                  def work():\n\
                  \x20 import time\n\
                  \x20 time.sleep(0.2)\n\
                  \x20 print(open(sys.argv[1]).readline().split()[1], flush=True)\n\
                  \x20 os._exit(0)\n\
                  threading.Thread(target=work).start()\n\
                  ctypes.CDLL(None).syscall(60, 0)\n";
    let file = world.dir.path().join("thread.py");
    fs::write(&file, script).unwrap();
    if cfg!(target_arch = "x86_64") && Path::new("/usr/bin/python3").exists() {
        let text = guest.run(&format!("python3 {} {} & wait", file.display(), path.display()));
        assert_eq!(text.trim(), "102400", "{text}");
    }
}

fn host_pids() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest_with("sh", false);
    guest.limit_memory("104857600");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
}

fn attach(world: &World, id: &str, pid: i32) {
    let request = lxcfs::control::Request::Attach { id: id.into(), pid };
    let (response, _) =
        lxcfs::control::ask(&world.runtime_dir().join("control.sock"), &request).unwrap();
    assert_eq!(response, lxcfs::control::Response::Done);
}

fn by_path() {
    let world = World::new(&["--exact"]);
    let (first, second) = (world.guest(), world.guest());
    first.limit_memory("104857600");
    second.limit_memory("209715200");
    attach(&world, "one", first.pid());
    attach(&world, "two", second.pid());
    // Whoever reads: here, the host.
    assert_eq!(kb(&world.read("containers/one/proc/meminfo"), "MemTotal"), 102_400);
    assert_eq!(kb(&world.read("containers/two/proc/meminfo"), "MemTotal"), 204_800);
    let names: Vec<_> = fs::read_dir(world.mount().join("containers"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // A worker that takes over knows them under the same numbers.
    let inode = |path: &str| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(world.mount().join(path)).unwrap().ino()
    };
    let before = inode("containers/two/proc/meminfo");
    crate::world::kill(world.worker(), 9);
    assert_eq!(kb(&world.read("containers/two/proc/meminfo"), "MemTotal"), 204_800);
    assert_eq!(inode("containers/two/proc/meminfo"), before);
    let request = lxcfs::control::Request::Attach { id: "../x".into(), pid: first.pid() };
    let (response, _) =
        lxcfs::control::ask(&world.runtime_dir().join("control.sock"), &request).unwrap();
    assert_eq!(
        response,
        lxcfs::control::Response::Error(
            "attach container \"../x\": invalid argument (EINVAL); an id has letters, digits, \
             \"_\", \".\" and \"-\" only"
                .into()
        )
    );
}

fn kept() {
    let world = World::new(&[]);
    let guest = world.guest();
    attach(&world, "one", guest.pid());
    let path = "containers/one/proc/cpuinfo";
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert_eq!(world.read(path).matches("processor").count(), cpus);
    let reads = world.metric("lxcfs_read_seconds_count");
    for _ in 0..50 {
        world.read(path);
    }
    assert!(world.metric("lxcfs_read_seconds_count") - reads < 50, "nothing was kept");
    guest.set_quota(100_000);
    crate::world::pause(250);
    assert_eq!(world.read(path).matches("processor").count(), 1);
    let size = fs::metadata(world.mount().join(path)).unwrap().len();
    assert_eq!(size, world.read(path).len() as u64);
}

fn reuse() {
    let world = World::new(&[]);
    for round in 1..=15u64 {
        let mut guest = world.guest();
        guest.limit_memory(&(round * 10_485_760).to_string());
        assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), round * 10_240);
        guest.end();
    }
}

fn strange_cgroup() {
    let world = World::new(&["--exact"]);
    let guest = world.guest();
    let dir = guest.dir_with("memory.stat");
    // Beside the container: below it a cgroup of v2 has no controllers.
    let odd = dir.parent().unwrap().join("a b ü ..c");
    fs::create_dir(&odd).unwrap();
    let path = world.mount().join("proc/meminfo");
    for file in ["memory.limit_in_bytes", "memory.max"] {
        if odd.join(file).exists() {
            fs::write(odd.join(file), "52428800").unwrap();
        }
    }
    let script = format!(
        "echo 0 > '{}/cgroup.procs'; exec unshare --pid --fork cat {}",
        odd.display(),
        path.display()
    );
    let output =
        Command::new("sh").args(["-c", &script]).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    fs::remove_dir(&odd).unwrap();
    assert_eq!(kb(&text, "MemTotal"), 51_200, "{text}");
}
