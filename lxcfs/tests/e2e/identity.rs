//! Whose values a reader gets.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    Story,
    readers::Readers,
    world::{World, kb, pause, until, until_within},
};

pub(crate) const STORIES: &[Story] = &[
    ("containers_reading_in_turns_never_see_each_other", in_turns),
    ("a_process_that_joins_a_container_sees_the_container", joined),
    ("the_host_sees_the_host", host),
    ("a_namespace_in_a_container_is_bounded_by_it", nested),
    ("a_container_that_shares_the_hosts_pids_sees_its_cgroup", host_pids),
    ("an_attached_container_is_known_by_path", by_path),
    ("what_the_kernel_keeps_follows_changes", kept),
    ("meminfo_can_be_kept_too_or_nothing_be", all_kept),
    ("a_new_container_never_gets_the_values_of_an_old_one", reuse),
    ("a_pid_given_out_again_is_another_container", same_pid),
    ("containers_that_share_their_pids_are_told_apart_by_path", shared_pids),
    ("a_daemon_with_a_cgroup_namespace_of_its_own_sees_the_same", own_cgroup_ns),
    ("a_cgroup_that_goes_leaves_a_file_that_can_be_read", lost_cgroup),
    ("a_user_namespace_changes_nothing", user_namespace),
    ("a_cgroup_with_a_strange_name_is_read", strange_cgroup),
    ("a_cgroup_a_hundred_levels_down_is_read", deep_cgroup),
];

pub(crate) const STRESS: &[Story] =
    &[("containers_never_see_each_other_in_a_million_reads", a_million_in_turns)];

fn in_turns() {
    read_in_turns(20_000);
}

fn a_million_in_turns() {
    read_in_turns(1_000_000);
}

/// Two containers read the tree they share and, kept by the kernel, each its own part.
fn read_in_turns(reads: u64) {
    let mut world = World::empty();
    let config = world.dir.path().join("conf");
    fs::write(&config, "cache = all\n").unwrap();
    world.start(&["-c", config.to_str().unwrap()]);
    let mut guests = [world.guest(), world.guest()];
    let totals = [102_400, 204_800];
    for (guest, total) in guests.iter().zip(totals) {
        guest.limit_memory(&(total << 10).to_string());
        world.attach(&guest.id, guest.pid());
    }
    let before = world.metric("lxcfs_opens_total");
    let readers: Vec<_> = guests
        .iter_mut()
        .zip(totals)
        .map(|(guest, total)| {
            let own = format!("containers/{}/proc/meminfo", guest.id);
            let kept = world.kept(&guest.id).join("proc/meminfo");
            let files = ["proc/meminfo", &own, kept.to_str().unwrap()];
            Readers::start(&world, guest, 4, total, &files)
        })
        .collect();
    until_within(600, "there were enough reads", || {
        world.metric("lxcfs_opens_total") - before > reads
    });
    for (readers, guest) in readers.into_iter().zip(&mut guests) {
        let outcome = readers.end(guest);
        assert!(outcome.is_clean(), "{outcome:?}");
    }
    assert_eq!(world.metric("lxcfs_fallbacks_total{cause=\"identity\"}"), 0);
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

fn by_path() {
    let world = World::new(&["--exact"]);
    let (first, second) = (world.guest(), world.guest());
    first.limit_memory("104857600");
    second.limit_memory("209715200");
    world.attach("one", first.pid());
    world.attach("two", second.pid());
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
    world.attach("one", guest.pid());
    let path = world.kept("one/proc/cpuinfo");
    let read = || fs::read_to_string(&path).unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert_eq!(read().matches("processor").count(), cpus);
    let reads = world.metric("lxcfs_read_seconds_count");
    for _ in 0..50 {
        read();
    }
    assert!(world.metric("lxcfs_read_seconds_count") - reads < 10, "nothing was kept");
    guest.set_quota(100_000);
    pause(250);
    assert_eq!(read().matches("processor").count(), 1);
    assert_eq!(fs::metadata(&path).unwrap().len(), read().len() as u64);
    // What changes by itself is not there, nor is it anywhere but in a container's own part.
    let list = |path: &str| -> Vec<String> {
        let entries = fs::read_dir(world.kept(path)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(list(""), ["one"]);
    assert_eq!(list("one/proc"), ["cpuinfo", "partitions", "slabinfo", "swaps"]);
    // Nobody is asked for an open, so a writer hears it at the first write.
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let refused = std::io::Write::write(&mut file, b"x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(13));
}

fn all_kept() {
    let mut world = World::empty();
    let config = world.dir.path().join("conf");
    fs::write(&config, "cache = all\n[container bare]\ncache = off\n").unwrap();
    world.start(&["-c", config.to_str().unwrap()]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    world.attach("bare", guest.pid());
    assert!(!world.kept("bare/proc/cpuinfo").exists());
    let output = world.toolkit(&["remount", "-c", &guest.id]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(kb(&guest.run("cat /proc/meminfo"), "MemTotal"), 102_400);
    let opens = world.metric("lxcfs_opens_total");
    let text = guest.run("for i in 1 2 3 4 5 6 7 8 9; do cat /proc/meminfo; done");
    assert_eq!(text.matches("MemTotal:         102400 kB").count(), 9);
    assert_eq!(world.metric("lxcfs_opens_total"), opens);
    guest.limit_memory("209715200");
    pause(250);
    assert_eq!(kb(&guest.run("cat /proc/meminfo"), "MemTotal"), 204_800);
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

/// The pid, and as a rule the number of its namespace, of a container that was just read.
fn same_pid() {
    const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
    let world = World::new(&[]);
    let old = world.guest();
    old.limit_memory("104857600");
    let pid = old.pid();
    world.attach("one", pid);
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    let mut old = old;
    assert_eq!(kb(&old.read("proc/meminfo"), "MemTotal"), 102_400);
    assert_eq!(kb(&world.read("containers/one/proc/meminfo"), "MemTotal"), 102_400);
    let known = namespace(pid);
    old.end();
    let (mut same_namespace, mut found) = (false, false);
    for _ in 0..100 {
        // Two come before the init: the shell that joins the cgroups, and whatever else runs here.
        fs::write(LAST_PID, (pid - 2).to_string()).unwrap();
        let mut new = world.guest();
        new.limit_memory("209715200");
        same_namespace |= namespace(new.pid()) == known;
        assert_eq!(kb(&new.read("proc/meminfo"), "MemTotal"), 204_800);
        let stale = fs::read_to_string(world.mount().join("containers/one/proc/meminfo"));
        assert!(stale.map_or(true, |text| kb(&text, "MemTotal") != 204_800));
        found = new.pid() == pid;
        new.end();
        if found {
            break;
        }
    }
    if !found {
        return eprintln!("skipped: others kept taking pid {pid}");
    }
    eprintln!("pid given out again; its namespace's number too: {same_namespace}");
}

fn shared_pids() {
    let world = World::new(&["--exact"]);
    let (mut first, second) = (world.guest(), world.guest());
    first.limit_memory("104857600");
    second.limit_memory("209715200");
    first.run("sleep 100 &");
    let init = linux::process::Pid::new(first.pid()).unwrap();
    let side = linux::process::children(init).unwrap()[0].get();
    second.take_in(side);
    world.attach("app", init.get());
    world.attach("side", side);
    assert_eq!(kb(&world.read("containers/app/proc/meminfo"), "MemTotal"), 102_400);
    assert_eq!(kb(&world.read("containers/side/proc/meminfo"), "MemTotal"), 204_800);
    crate::world::kill(side, 9);
}

fn own_cgroup_ns() {
    let mut world = World::empty();
    let dirs = world.make_cgroups(&format!("{}/daemon", world.cgroup));
    let daemon = world.command(&[]);
    let mut script = String::new();
    for dir in dirs {
        script.push_str(&format!("echo 0 > {}/cgroup.procs && ", dir.display()));
    }
    let mut unit = Command::new("sh");
    unit.arg("-c").arg(format!("{script} exec unshare --cgroup \"$0\" \"$@\""));
    unit.arg(daemon.get_program()).args(daemon.get_args()).stdin(Stdio::null());
    world.adopt(unit.spawn().unwrap());
    let own = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/cgroup"));
    let Ok(host) = own(1) else {
        return eprintln!("skipped: /proc/1/ns is not ours to look at");
    };
    assert_ne!(own(world.holder()).unwrap(), host);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    guest.set_quota(50_000);
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    assert_eq!(guest.read("proc/cpuinfo").matches("processor").count(), 1);
    assert_eq!(world.metric("lxcfs_fallbacks_total{cause=\"controller\"}"), 0);
}

fn lost_cgroup() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    guest.limit_memory("104857600");
    guest.limit_parent_memory("209715200");
    world.attach("one", guest.pid());
    let path = world.mount().join("containers/one/proc/meminfo");
    assert_eq!(kb(&fs::read_to_string(&path).unwrap(), "MemTotal"), 102_400);
    let mut open = fs::File::open(&path).unwrap();
    let others = world.make_cgroups(&format!("{}/isulad/elsewhere", world.cgroup));
    guest.lose_cgroups(&others);
    for file in ["meminfo", "stat", "uptime", "cpuinfo", "diskstats", "swaps", "loadavg"] {
        let text = fs::read_to_string(path.with_file_name(file));
        assert!(text.is_ok(), "{file}: {text:?}");
    }
    let mut text = String::new();
    std::io::Read::read_to_string(&mut open, &mut text).unwrap();
    assert!(text.starts_with("MemTotal:"), "{text}");
    // Where it is now counts, once that is looked at again.
    until("the cgroup above counts", || {
        kb(&fs::read_to_string(&path).unwrap(), "MemTotal") == 204_800
    });
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 204_800);
}

fn user_namespace() {
    let world = World::new(&[]);
    let shell = "unshare --user --map-root-user --mount --pid --fork --mount-proc sh";
    let mut guest = world.guest_with(shell, true);
    guest.limit_memory("104857600");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), 102_400);
    let target = world.mount().join("proc/meminfo");
    let bound = guest.run(&format!("mount --bind {} /proc/meminfo; free -k", target.display()));
    assert!(bound.contains("102400"), "{bound}");
    assert_eq!(world.metric("lxcfs_fallbacks_total{cause=\"identity\"}"), 0);
}

fn deep_cgroup() {
    let world = World::new(&["--exact"]);
    let guest = world.guest();
    let top = guest.dir_with("memory.stat").parent().unwrap().join("deep");
    fs::create_dir(&top).unwrap();
    let limit = ["memory.limit_in_bytes", "memory.max"].map(|file| top.join(file));
    fs::write(limit.into_iter().find(|file| file.exists()).unwrap(), "52428800").unwrap();
    let mut dir = top.clone();
    for level in 0..100 {
        dir.push(format!("level-{level:0>24}"));
        fs::create_dir(&dir).unwrap();
    }
    assert!(dir.as_os_str().len() > 3100);
    let path = world.mount().join("proc/meminfo");
    let join = format!("echo 0 > {}/cgroup.procs", dir.display());
    let script = format!("{join}; exec unshare --pid --fork cat {}", path.display());
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    crate::world::remove_tree(&top);
    assert_eq!(kb(&String::from_utf8(output.stdout).unwrap(), "MemTotal"), 51_200);
}
