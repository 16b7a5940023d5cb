//! What the other files say: disks, slabs, sysfs, pressure.

use std::{fs, path::Path};

use crate::{
    Story,
    world::{World, kb},
};

pub(crate) const STORIES: &[Story] = &[
    ("disk_counters_are_the_containers", diskstats),
    ("slabinfo_shows_no_host", slabinfo),
    ("sysfs_agrees_with_itself", sysfs),
    ("pressure_is_the_cgroups", pressure),
    ("configuration_switches_files", configuration),
];

fn diskstats() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    let mut other = world.guest();
    // Since Linux 6.10 the v1 throttle layer counts only once a rule exists for the disk.
    let disks = fs::read_to_string("/proc/partitions").unwrap();
    let disk = disks.lines().skip(2).find(|line| !line.contains("loop") && !line.contains("zram"));
    let words: Vec<&str> = disk.unwrap().split_whitespace().collect();
    let v1 = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        guest.dir_with("blkio.throttle.write_bps_device")
    }));
    if let Ok(dir) = v1 {
        let rule = format!("{}:{} 1099511627776", words[0], words[1]);
        fs::write(dir.join("blkio.throttle.write_bps_device"), rule).unwrap();
    }
    let file = world.dir.path().join("blob");
    let done = guest.run(&format!(
        "dd if=/dev/zero of={} bs=1M count=100 oflag=direct 2>/dev/null; echo $?",
        file.display()
    ));
    let written = |text: &str| -> u64 {
        let column = |line: &str| line.split_whitespace().nth(9).unwrap().parse::<u64>().unwrap();
        text.lines().map(column).sum()
    };
    let text = guest.read("proc/diskstats");
    for line in text.lines() {
        assert_eq!(line.split_whitespace().count(), 20, "{line}");
    }
    assert_eq!(done, "0\n");
    let sectors = written(&text);
    assert!((202_700..=207_000).contains(&sectors), "{text}");
    assert!(text.contains(" sda "), "{text}");
    let partitions = guest.read("proc/partitions");
    assert_eq!(partitions.lines().count() - 2, text.lines().count(), "{partitions}");
    assert_eq!(written(&other.read("proc/diskstats")), 0);
}

fn slabinfo() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    let text = guest.read("proc/slabinfo");
    assert_eq!(text.lines().count(), 2, "{text}");
    let path = world.mount().join("proc/slabinfo");
    let refused =
        guest.run(&format!("setpriv --reuid 65534 --clear-groups cat {}", path.display()));
    assert!(refused.contains("ermission denied"), "{refused}");
}

fn sysfs() {
    let world = World::new(&["--exact"]);
    let mut guest = world.guest();
    guest.set_quota(100_000);
    let dir = world.mount().join("sys/devices/system/cpu");
    let list = guest.run(&format!("ls -a {}", dir.display()));
    let mut names: Vec<&str> = list.lines().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "duplicates in {list}");
    assert!(names.contains(&"cpu0") && !names.contains(&"cpu1"), "{list}");
    assert_eq!(guest.read("sys/devices/system/cpu/offline"), "\n");
    let topology = "sys/devices/system/cpu/cpu0/topology";
    assert_eq!(guest.read(&format!("{topology}/core_id")), "0\n");
    assert_eq!(guest.read(&format!("{topology}/core_cpus_list")), "0\n");
    guest.run(&format!("mount --bind {} /sys/devices/system/cpu", dir.display()));
    assert_eq!(guest.run("getconf _NPROCESSORS_CONF; getconf _NPROCESSORS_ONLN"), "1\n1\n");
}

fn pressure() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    if !Path::new("/proc/pressure/cpu").exists() {
        return;
    }
    let own = guest.dir_with("cpu.pressure").join("memory.pressure");
    let total =
        |text: &str| text.lines().next().unwrap().split("total=").nth(1).unwrap().to_owned();
    assert_eq!(
        total(&guest.read("proc/pressure/memory")),
        total(&fs::read_to_string(own).unwrap())
    );
}

fn configuration() {
    let world = World::empty();
    let config = world.dir.path().join("conf");
    fs::write(&config, "meminfo = passthrough\nslabinfo = off\ntopology = one-socket\n").unwrap();
    let mut world = world;
    world.start(&["-c", config.to_str().unwrap()]);
    let mut guest = world.guest();
    guest.limit_memory("268435456");
    let host = kb(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal");
    assert_eq!(kb(&guest.read("proc/meminfo"), "MemTotal"), host);
    assert!(guest.read("proc/slabinfo").contains("No such file"));
    fs::write(&config, "meminfo = sometimes\n").unwrap();
    let mut other = world.command(&["-c", config.to_str().unwrap()]);
    let output = other.stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("line 1: bad value \"sometimes\"; write on, off or passthrough"),
        "{text}"
    );
}
