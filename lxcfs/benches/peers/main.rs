//! What one read costs: ours, Debian's lxcfs, the kernel's own files and a FUSE file system that
//! does nothing, in the same rounds and from inside the same container.
//!
//! `cargo xtask bench lxcfs` runs it. One operation is open, one read of 64 KiB, close. Before
//! anything is measured, the answers are compared with the cgroup's own files.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measuring tool: it ends where its world is not as it should be"
)]
#![expect(dead_code, reason = "the world of the stories has more in it than is measured")]

#[path = "../../tests/e2e/guest.rs"]
mod guest;
#[path = "../../tests/e2e/peer.rs"]
mod peer;
mod scale;
#[path = "../../tests/e2e/world.rs"]
mod world;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request, SessionACL,
};
use guest::Guest;
use world::{World, kb, kill, until};

type Story = (&'static str, fn());

const FILES: [&str; 4] = ["meminfo", "cpuinfo", "stat", "uptime"];
const READERS: [usize; 5] = [1, 2, 4, 8, 64];
const SECONDS: &str = "0.3";

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--hammer", seconds, readers, file] => hammer(seconds, readers, file),
        ["--hello", mount] => hello(mount),
        ["--scale", output] => scale::measure(Path::new(output), 10_000),
        ["--scale", output, containers] => {
            scale::measure(Path::new(output), containers.parse().unwrap());
        }
        [output, rounds] => measure(Path::new(output), rounds.parse().unwrap()),
        _ => eprintln!("usage: peers OUTPUT-DIRECTORY ROUNDS; better: cargo xtask bench lxcfs"),
    }
}

/// What a batch of reads came to.
#[derive(Clone, Copy)]
struct Figure {
    p50: f64,
    p99: f64,
    per_second: f64,
}

fn measure(output: &Path, rounds: u32) {
    let mut world = World::empty();
    let config = world.dir.path().join("conf");
    fs::write(&config, "cache = all\n").unwrap();
    world.start(&["-c", config.to_str().unwrap()]);
    // Before the container: it gets a copy of the mounts there are.
    let peer = peer::Peer::start(&world);
    let hello = Hello::start(&world);
    let mut guest = world.guest();
    guest.limit_memory("268435456");
    world.attach(&guest.id, guest.pid());
    let own = world.mount().join("containers").join(&guest.id).join("proc");
    let kept = world.kept(&guest.id).join("proc");
    let mut lanes: Vec<(&str, PathBuf)> = vec![
        ("kernel", "/proc".into()),
        ("ours, kept", bind(&world, &mut guest, &kept, &own, "kept")),
        ("ours, own", bind(&world, &mut guest, &own, &own, "own")),
        ("ours, shared", world.mount().join("proc")),
        ("hello", hello.mount.clone()),
    ];
    if let Some(peer) = &peer {
        lanes.push(("lxcfs 5.0.3", peer.mount.join("proc")));
    }
    let mut report = compare(&mut guest, &lanes);
    let before = memory(&world, peer.as_ref());

    let mut figures: BTreeMap<(usize, usize, usize), Vec<Figure>> = BTreeMap::new();
    let own = env::current_exe().unwrap();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (file, name) in FILES.iter().enumerate() {
            for (readers, count) in READERS.iter().enumerate() {
                for turn in 0..lanes.len() {
                    // Nobody always comes after the same neighbour.
                    let lane = (turn + round as usize) % lanes.len();
                    let target = lanes[lane].1.join(name);
                    let text = guest.run(&format!(
                        "{} --hammer {SECONDS} {count} {}",
                        own.display(),
                        target.display()
                    ));
                    figures.entry((file, readers, lane)).or_default().push(parse(&text));
                }
            }
        }
    }
    let after = memory(&world, peer.as_ref());
    report.push_str(
        "\n*kept*: the container's own files, those the kernel may keep for 100 ms taken from there \
         (`cache = all`;\nstat and uptime never are). *own*: its own files, made anew for each \
         open. *shared*: the tree all share.\n",
    );
    tables(&mut report, &lanes, &figures);
    let _ = writeln!(report, "\n## Memory\n\nResident, kB; ours is holder and worker.\n");
    let _ = writeln!(report, "| | at the start | after all reads |\n|---|---|---|");
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        let _ = writeln!(report, "| {name} | {before} | {after} |");
    }
    fs::create_dir_all(output).unwrap();
    fs::write(output.join("lxcfs.md"), report).unwrap();
    println!("{}", output.join("lxcfs.md").display());
}

/// Binds the files of `source` in the container, one by one as an engine does; what is not there is
/// taken from the container's own part.
fn bind(world: &World, guest: &mut Guest, source: &Path, own: &Path, name: &str) -> PathBuf {
    let dir = world.dir.path().join(name);
    fs::create_dir(&dir).unwrap();
    for file in FILES {
        fs::write(dir.join(file), "").unwrap();
        let found = if source.join(file).exists() { source } else { own };
        let bound = guest.run(&format!(
            "mount --bind {} {}",
            found.join(file).display(),
            dir.join(file).display()
        ));
        assert_eq!(bound, "");
    }
    dir
}

/// The answers, beside each other; ours have to be right.
fn compare(guest: &mut Guest, lanes: &[(&str, PathBuf)]) -> String {
    let kernel = guest.run("uname -r");
    let cpus = thread::available_parallelism().unwrap();
    let mut text = format!(
        "# What one read costs\n\n`cargo xtask bench lxcfs`: open, one read of 64 KiB, close, by \
         readers inside one container of\n256 MiB. Medians over the rounds. Kernel {}, {cpus} \
         CPUs.\n\n## Answers\n\n| | MemTotal, kB | CPUs |\n|---|---|---|\n",
        kernel.trim()
    );
    for (name, dir) in lanes {
        if *name == "hello" {
            continue;
        }
        let meminfo = guest.run(&format!("cat {}", dir.join("meminfo").display()));
        let cpuinfo = guest.run(&format!("cat {}", dir.join("cpuinfo").display()));
        let total = kb(&meminfo, "MemTotal");
        if name.starts_with("ours") {
            assert_eq!(total, 262_144, "{name}");
        }
        let cpus = cpuinfo.matches("processor\t").count();
        let _ = writeln!(text, "| {name} | {total} | {cpus} |");
    }
    text
}

fn memory(world: &World, peer: Option<&peer::Peer>) -> Vec<(&'static str, u64)> {
    let ours = rss(world.holder()) + rss(world.worker());
    let mut list = vec![("ours", ours)];
    list.extend(peer.map(|peer| ("lxcfs 5.0.3", rss(peer.pid()))));
    list
}

fn rss(pid: i32) -> u64 {
    kb(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap(), "VmRSS")
}

/// Which of its numbers a table is about.
type Column = fn(&Figure) -> f64;

fn tables(
    report: &mut String,
    lanes: &[(&str, PathBuf)],
    figures: &BTreeMap<(usize, usize, usize), Vec<Figure>>,
) {
    let kinds: [(&str, Column); 3] = [
        ("p50, us", |figure| figure.p50),
        ("p99, us", |figure| figure.p99),
        ("operations a second", |figure| figure.per_second),
    ];
    for (title, value) in kinds {
        for (file, name) in FILES.iter().enumerate() {
            let _ = writeln!(report, "\n## {name}: {title}\n");
            let heads: Vec<_> = READERS.iter().map(ToString::to_string).collect();
            let _ = writeln!(report, "| readers | {} |", heads.join(" | "));
            let _ = writeln!(report, "|---|{}", "---|".repeat(READERS.len()));
            for (lane, (lane_name, _)) in lanes.iter().enumerate() {
                let cells: Vec<String> = (0..READERS.len())
                    .map(|readers| {
                        let mut values: Vec<f64> =
                            figures[&(file, readers, lane)].iter().map(value).collect();
                        values.sort_by(f64::total_cmp);
                        let median = values[values.len() / 2];
                        if median < 1000.0 {
                            format!("{median:.1}")
                        } else {
                            format!("{median:.0}")
                        }
                    })
                    .collect();
                let _ = writeln!(report, "| {lane_name} | {} |", cells.join(" | "));
            }
        }
    }
}

fn parse(text: &str) -> Figure {
    let numbers: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [p50, p99, per_second] = numbers[..] else { panic!("{text}") };
    Figure { p50, p99, per_second }
}

/// Reads `file` on so many threads for so long; prints p50 and p99 in microseconds, and how many
/// operations a second all of them did.
fn hammer(seconds: &str, readers: &str, file: &str) {
    let span = Duration::from_secs_f64(seconds.parse().unwrap());
    let start = Instant::now();
    let times: Vec<Vec<u32>> = thread::scope(|scope| {
        let body = || {
            let mut times = Vec::with_capacity(1 << 16);
            let mut buffer = vec![0; 65536];
            while start.elapsed() < span {
                let begin = Instant::now();
                let got = File::open(file).and_then(|mut file| file.read(&mut buffer)).unwrap();
                times.push(begin.elapsed().as_nanos() as u32);
                assert!(got > 0, "{file} is empty");
            }
            times
        };
        let threads: Vec<_> = (0..readers.parse().unwrap()).map(|_| scope.spawn(body)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let elapsed = start.elapsed().as_secs_f64();
    let mut times: Vec<u32> = times.into_iter().flatten().collect();
    times.sort_unstable();
    let at = |part: f64| f64::from(times[(times.len() as f64 * part) as usize]) / 1000.0;
    println!("{:.2} {:.2} {:.0}", at(0.5), at(0.99), times.len() as f64 / elapsed);
}

/// A FUSE file system with the same files, all of them 2 KiB of nothing: what the way costs.
struct Hello {
    daemon: std::process::Child,
    mount: PathBuf,
}

impl Hello {
    fn start(world: &World) -> Hello {
        let mount = world.dir.path().join("hello");
        fs::create_dir(&mount).unwrap();
        let daemon = Command::new(env::current_exe().unwrap())
            .arg("--hello")
            .arg(&mount)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("hello serves", || mount.join("meminfo").exists());
        Hello { daemon, mount }
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        let _ = linux::mount::detach(&self.mount);
        kill(i32::try_from(self.daemon.id()).unwrap(), 15);
        let _ = self.daemon.wait();
    }
}

fn hello(mount: &str) {
    let mut config = fuser::Config::default();
    config.mount_options = vec![MountOption::FSName("hello".into())];
    config.acl = SessionACL::All;
    config.n_threads = Some(2);
    fuser::mount(HelloFiles, mount, &config).unwrap();
}

struct HelloFiles;

fn attributes(number: u64) -> FileAttr {
    let time = std::time::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(number),
        size: 0,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: if number == 1 { FileType::Directory } else { FileType::RegularFile },
        perm: if number == 1 { 0o555 } else { 0o444 },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

const FOREVER: Duration = Duration::from_secs(3600);

impl Filesystem for HelloFiles {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match FILES.iter().position(|file| name == *file) {
            Some(index) => {
                reply.entry(&FOREVER, &attributes(index as u64 + 2), Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &attributes(number.0));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn flush(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        reply: fuser::ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        static TEXT: [u8; 2048] = [b'.'; 2048];
        reply.data(lxcfs::fs::handle::slice(&TEXT, offset, size));
    }
}
