//! Ten thousand containers, a tenth of which are scraped every fifteen seconds: what that costs the
//! daemon, in CPU time and memory, and what the first read of a container takes.

use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::world::{World, kb};

/// Of so many containers one is scraped.
const SCRAPED: usize = 10;
const EVERY: Duration = Duration::from_secs(15);
const ROUNDS: u32 = 4;
const FILES: [&str; 7] = ["meminfo", "cpuinfo", "stat", "uptime", "loadavg", "swaps", "diskstats"];

/// Joins the directories that it is given, then sleeps. By `tasks`, where there is one: moving to
/// `cgroup.procs` waits for a grace period, in each of the hierarchies.
const INIT: &str = "for dir; do \
                        if [ -e $dir/tasks ]; then echo 0 > $dir/tasks; \
                        else echo 0 > $dir/cgroup.procs; fi; \
                    done; exec sleep 3600 >&-";

/// Processes that end with us.
struct Inits(Vec<Child>);

impl Drop for Inits {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// Makes them, scrapes them and appends what it came to.
pub(crate) fn measure(output: &Path, containers: usize) {
    let scraped = containers / SCRAPED;
    let world = World::new(&["-l"]);
    let idle = memory(&world);
    let mut inits = Inits(Vec::new());
    let start = Instant::now();
    for number in 0..containers {
        let dirs = world.make_cgroups(&format!("{}/isulad/{number}", world.cgroup));
        let mut init = Command::new("sh")
            .args(["-c", INIT, "init"])
            .args(dirs)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed once it is where it belongs.
        init.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        inits.0.push(init);
    }
    eprintln!("{containers} containers made in {:?}", start.elapsed());
    let start = Instant::now();
    for (number, init) in inits.0.iter().enumerate() {
        world.attach(&number.to_string(), i32::try_from(init.id()).unwrap());
    }
    let attached = start.elapsed() / u32::try_from(containers).unwrap();
    let known = memory(&world);

    let path = |number: usize, file: &str| -> PathBuf {
        world.mount().join("containers").join(number.to_string()).join("proc").join(file)
    };
    let mut first: Vec<Duration> = (0..scraped)
        .map(|number| {
            // Names are looked up once and then known; it is the read that is asked for.
            let path = path(number * SCRAPED, "meminfo");
            fs::metadata(&path).unwrap();
            let start = Instant::now();
            fs::read(path).unwrap();
            start.elapsed()
        })
        .collect();
    first.sort_unstable();

    let (mut times, before, start) = (Vec::new(), cpu(&world), Instant::now());
    for round in 1..=ROUNDS {
        for number in (0..containers).step_by(SCRAPED) {
            for file in FILES {
                let begin = Instant::now();
                assert!(fs::read(path(number, file)).is_ok(), "{number} {file}");
                times.push(begin.elapsed());
            }
        }
        while start.elapsed() < EVERY * round {
            crate::world::pause(20);
        }
    }
    let share = (cpu(&world) - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    times.sort_unstable();
    let last = times.len() - 1;

    let mut report = format!(
        "\n## {containers} containers\n\n{scraped} of them scraped every {} s, {} files each \
         (load averages on).\n\n| | |\n|---|---|\n",
        EVERY.as_secs(),
        FILES.len()
    );
    let mut row = |name: &str, value: String| {
        let _ = writeln!(report, "| {name} | {value} |");
    };
    row("CPU time of the daemon, per cent of one", format!("{share:.2}"));
    row("resident with no container, kB", idle.to_string());
    row(&format!("resident with {containers} attached, kB"), known.to_string());
    row("resident at the end, kB", memory(&world).to_string());
    row("attaching one", format!("{attached:.1?}"));
    row("first read of a container, p50", format!("{:.1?}", first[scraped / 2]));
    row("first read of a container, p99", format!("{:.1?}", first[scraped * 99 / 100]));
    row("a read, p50", format!("{:.1?}", times[last / 2]));
    row("a read, p99", format!("{:.1?}", times[last * 99 / 100]));
    row("longest read", format!("{:.1?}", times[last]));
    fs::create_dir_all(output).unwrap();
    let file = output.join("lxcfs.md");
    let so_far = fs::read_to_string(&file).unwrap_or_default();
    fs::write(&file, so_far + &report).unwrap();
    println!("{report}");
    let gone = Instant::now();
    drop(inits);
    eprintln!("ended in {:?}", gone.elapsed());
}

fn memory(world: &World) -> u64 {
    [world.holder(), world.worker()]
        .map(|pid| kb(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap(), "VmRSS"))
        .iter()
        .sum()
}

/// CPU time of holder and worker.
fn cpu(world: &World) -> Duration {
    let ticks: u64 = [world.holder(), world.worker()]
        .map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let after = stat.rsplit(") ").next().unwrap();
            let words: Vec<u64> =
                after.split(' ').skip(11).take(2).map(|word| word.parse().unwrap()).collect();
            words.iter().sum::<u64>()
        })
        .iter()
        .sum();
    Duration::from_millis(ticks * 10)
}
