//! Beside Debian's lxcfs 5.0.3, on the same cgroups: where the two differ, and why.
//!
//! `docs/lxcfs-differences.md` is written from the table here (`UPDATE_EXPECT=1`). A line that
//! differs and is not in the table fails the story.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    Story,
    guest::Guest,
    world::{World, kill, pause, until},
};

pub(crate) const STORIES: &[Story] =
    &[("each_difference_from_the_c_program_is_explained", differences)];

const SYS_CPU: &str = "sys/devices/system/cpu";
const PROGRAM: &str = "/usr/bin/lxcfs";

/// Who is right where the two differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Defect,
    Choice,
}
use Why::{Choice, Defect};

/// File, lines (or what of it), whose doing, why.
type Row = (&'static str, &'static [&'static str], Why, &'static str);

const EXPLAINED: &[Row] = &[
    (
        "all",
        &["size (`stat`)"],
        Choice,
        "theirs is the length of the host's file at that moment, read for the purpose; ours is 0, as for any file of /proc, and `cp`, `wc -c` and `tail -c` are right",
    ),
    (
        "proc/cpuinfo",
        &["`physical id`", "`siblings`", "`core id`", "`cpu cores`"],
        Choice,
        "openEuler's contract: each CPU is a socket with one core; `topology` of the configuration has others",
    ),
    ("proc/cpuinfo", &["`apicid`", "`initial apicid`"], Choice, "unique for each CPU shown"),
    ("proc/cpuinfo", &["`cpu MHz`"], Choice, "read at most once a second"),
    (
        "proc/diskstats",
        &["contents"],
        Defect,
        "without CFQ theirs shows the host's counters of all disks; ours has the container's own, and the disk its root is on as `sda`",
    ),
    (
        "proc/loadavg",
        &["tasks"],
        Choice,
        "ours counts threads at once; theirs is 0/1 until its first round",
    ),
    ("proc/loadavg", &["last pid"], Defect, "theirs is a number of the host's pid namespace"),
    (
        "proc/loadavg",
        &["1 min", "5 min", "15 min"],
        Choice,
        "ours starts from what runs at the first read, theirs from 0",
    ),
    (
        "proc/meminfo",
        &["`AnonHugePages`"],
        Defect,
        "theirs is 0: it takes `total_rss_huge` for `total_rss`",
    ),
    (
        "proc/meminfo",
        &["`CommitLimit`"],
        Defect,
        "theirs is the host's; ours is swap and the overcommit ratio's share of the limit",
    ),
    (
        "proc/meminfo",
        &["`Committed_AS`"],
        Defect,
        "theirs is the host's; ours is what is in use, with swap",
    ),
    (
        "proc/meminfo",
        &["`DirectMap1G`", "`DirectMap2M`", "`DirectMap4k`"],
        Defect,
        "theirs tells the size of the host; ours leaves the line out",
    ),
    (
        "proc/meminfo",
        &["`FileHugePages`", "`FilePmdMapped`", "`ShmemPmdMapped`"],
        Defect,
        "theirs is the host's",
    ),
    (
        "proc/meminfo",
        &["`KReclaimable`"],
        Defect,
        "theirs is the host's, which can exceed MemTotal; ours equals SReclaimable",
    ),
    (
        "proc/meminfo",
        &["`KernelStack`"],
        Defect,
        "theirs is the host's; cgroup v1 does not tell the container's, v2 does",
    ),
    ("proc/meminfo", &["`Mlocked`"], Defect, "theirs is the host's; ours is Unevictable"),
    (
        "proc/meminfo",
        &["`PageTables`", "`SecPageTables`", "`Percpu`"],
        Defect,
        "theirs is the host's",
    ),
    (
        "proc/meminfo",
        &["`SUnreclaim`", "`Slab`"],
        Defect,
        "theirs is 0; ours is the kernel memory charged to the container",
    ),
    ("proc/meminfo", &["`VmallocUsed`"], Defect, "theirs is the host's"),
    (
        "proc/partitions",
        &["the file itself"],
        Choice,
        "theirs has none, so a container sees the host's disks",
    ),
    ("proc/pressure", &["the file itself"], Choice, "theirs has none"),
    (
        "proc/slabinfo",
        &["contents"],
        Defect,
        "theirs is the host's, readable for everybody; ours is the header",
    ),
    (
        "proc/stat",
        &["user", "system"],
        Defect,
        "theirs has more than the container used, or nothing at all in its first reading; ours is the cgroup's own time",
    ),
    (
        "proc/stat",
        &["idle"],
        Defect,
        "theirs counts from its own first reading; ours is what the quota allowed since the start of the container, less what was used, and never goes back",
    ),
    ("proc/stat", &["steal"], Choice, "ours is the time the quota held the container back"),
    ("proc/stat", &["`procs_running`", "`procs_blocked`"], Defect, "theirs is the host's"),
    (
        "proc/uptime",
        &["idle"],
        Defect,
        "theirs is age less usage, on however many CPUs; ours is the sum over them, as in `stat`",
    ),
    (
        "sys/devices/system/cpu",
        &["what only the host has"],
        Choice,
        "theirs is the host's whole directory; ours has what can agree with renumbered CPUs (no `enabled`, `isolated`, `vulnerabilities`), and `online` once",
    ),
];

/// The C program, serving.
pub(crate) struct Peer {
    daemon: Child,
    pub(crate) mount: PathBuf,
}

impl Peer {
    /// Starts it in the story's mount namespace; `None` if it is not installed.
    pub(crate) fn start(world: &World) -> Option<Peer> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        // It keeps its mounts of the hierarchies below /run.
        let status = Command::new("mount").args(["-t", "tmpfs", "none", "/run"]).status().unwrap();
        assert!(status.success());
        let mount = world.dir.path().join("peer");
        fs::create_dir(&mount).unwrap();
        let daemon = Command::new(PROGRAM)
            .args(["-f", "--enable-cfs", "--enable-loadavg", "-p", "/run/peer.pid"])
            .arg(&mount)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the C program serves", || fs::read_dir(mount.join("proc")).is_ok());
        Some(Peer { daemon, mount })
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.daemon.id()).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        kill(self.pid(), 15);
        let _ = self.daemon.wait();
        let _ = linux::mount::detach(&self.mount);
    }
}

fn differences() {
    let mut doc = String::from(
        "# Where lxcfs differs from the C program\n\nLine by line, beside Debian's lxcfs 5.0.3 \
         (`--enable-cfs --enable-loadavg`) on the same cgroups. The end-to-end\ntests of lxcfs \
         compare the two and fail on a difference that is not here; this file is written by \
         them.\n\n| file | line | whose | why |\n|---|---|---|---|\n",
    );
    for (file, lines, why, reason) in EXPLAINED {
        let whose = if *why == Defect { "a defect of theirs" } else { "a choice of ours" };
        let _ = writeln!(doc, "| `{file}` | {} | {whose} | {reason} |", lines.join(", "));
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lxcfs-differences.md");
        fs::write(path, &doc).unwrap();
    } else {
        assert_eq!(include_str!("../../../docs/lxcfs-differences.md"), doc);
    }

    let world = World::new(&["-l", "--exact"]);
    let Some(peer) = Peer::start(&world) else {
        return eprintln!("skipped: no {PROGRAM}; only the document was checked");
    };
    let mut guest = world.guest();
    guest.limit_memory("268435456");
    guest.set_quota(150_000);
    let file = world.dir.path().join("data");
    // Something of everything: page cache, CPU time of both kinds, processes.
    guest.run(&format!(
        "dd if=/dev/zero of={} bs=1M count=32 2>/dev/null; i=0; while [ $i -lt 300000 ]; do \
         i=$((i+1)); done; sleep 100 &",
        file.display()
    ));
    // Its first stat is all zeros.
    guest.run(&format!("cat {}", peer.mount.join("proc/stat").display()));
    pause(1000);

    let mut found = BTreeSet::new();
    let mounts = [world.mount(), peer.mount.clone()];
    let [ours, theirs] = mounts.clone().map(|mount| list(&mut guest, &mount));
    for file in ours.symmetric_difference(&theirs) {
        found.insert(if file.starts_with(SYS_CPU) && theirs.contains(file) {
            (SYS_CPU.to_owned(), "what only the host has".to_owned())
        } else {
            (file.clone(), "the file itself".to_owned())
        });
    }
    let files = ours.intersection(&theirs);
    for file in files.filter(|file| world.mount().join(file).is_file()) {
        let mut read = |mount: &Path| guest.run(&format!("cat {}", mount.join(file).display()));
        let (before, own, after) = (read(&mounts[1]), read(&mounts[0]), read(&mounts[1]));
        for line in compare(file, [&before, &after], &own) {
            found.insert((file.clone(), line));
        }
        let size = |mount: &Path| fs::metadata(mount.join(file)).unwrap().len();
        if size(&mounts[0]) != size(&mounts[1]) {
            found.insert(("all".into(), "size (`stat`)".into()));
        }
    }
    let known =
        |file: &str, line: &str| EXPLAINED.iter().any(|row| row.0 == file && row.1.contains(&line));
    let unknown: Vec<_> = found.iter().filter(|(file, line)| !known(file, line)).collect();
    assert!(unknown.is_empty(), "not explained: {unknown:#?}");
}

fn list(guest: &mut Guest, mount: &Path) -> BTreeSet<String> {
    let text = guest.run(&format!(
        "cd {} && find proc {SYS_CPU} -mindepth 1 -maxdepth 1; cd /",
        mount.display()
    ));
    text.lines().map(str::to_owned).collect()
}

/// The lines of `own` that no reading of the other comes near.
fn compare(file: &str, theirs: [&str; 2], own: &str) -> BTreeSet<String> {
    let theirs = theirs.map(|text| pieces(file, text));
    let own = pieces(file, own);
    let mut found = BTreeSet::new();
    let keys: BTreeSet<_> = own.iter().chain(&theirs[0]).map(|(key, _)| key.clone()).collect();
    for key in keys {
        let values = |pieces: &[(String, String)]| -> Vec<String> {
            let of_key = pieces.iter().filter(|piece| piece.0 == key);
            of_key.map(|piece| piece.1.clone()).collect()
        };
        let own = values(&own);
        if !theirs.iter().any(|other| are_near(&values(other), &own)) {
            found.insert(key);
        }
    }
    found
}

/// A file as names and values: a line has one name for each number where it has several meanings.
fn pieces(file: &str, text: &str) -> Vec<(String, String)> {
    let stem = file.rsplit('/').next().unwrap_or(file);
    let fields = |line: &str, names: &[&str], skip: usize| -> Vec<(String, String)> {
        let values = line.split_whitespace().skip(skip);
        names.iter().zip(values).map(|(name, value)| ((*name).into(), value.into())).collect()
    };
    let colon = |line: &str| {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        (format!("`{}`", key.trim()), value.trim().to_owned())
    };
    match stem {
        "meminfo" | "cpuinfo" => {
            text.lines().filter(|line| !line.trim().is_empty()).map(colon).collect()
        }
        "uptime" => fields(text, &["up", "idle"], 0),
        "loadavg" => fields(text, &["1 min", "5 min", "15 min", "tasks", "last pid"], 0),
        "stat" => {
            const CPU: [&str; 10] = [
                "user",
                "nice",
                "system",
                "idle",
                "iowait",
                "irq",
                "softirq",
                "steal",
                "guest",
                "guest_nice",
            ];
            let of_line = |line: &str| {
                let name = line.split(' ').next().unwrap_or_default();
                if name.starts_with("cpu") {
                    fields(line, &CPU.map(|name| name), 1)
                } else {
                    let (key, value) = line.split_once(' ').unwrap_or((line, ""));
                    // Interrupts of the whole host go on between two readings.
                    let first = value.split(' ').next().unwrap_or_default();
                    vec![(format!("`{key}`"), first.to_owned())]
                }
            };
            text.lines().flat_map(of_line).collect()
        }
        _ => vec![("contents".into(), text.split_whitespace().collect::<Vec<_>>().join(" "))],
    }
}

/// Equal, or numbers that can be two moments of one.
fn are_near(theirs: &[String], own: &[String]) -> bool {
    let number = |text: &str| text.trim_end_matches(" kB").parse::<f64>().ok();
    theirs.len() == own.len()
        && theirs.iter().zip(own).all(|(theirs, own)| {
            let margin = if own.ends_with(" kB") { 256.0 } else { 20.0 };
            match (number(theirs), number(own)) {
                (Some(theirs), Some(own)) => (theirs - own).abs() <= margin + theirs * 0.01,
                _ => theirs == own,
            }
        })
}
