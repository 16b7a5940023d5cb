//! Readers inside a container, and what they met: this program in another mode.
//!
//! `e2e --readers FLAG COUNT TOTAL FILE...` reads every file in turn on COUNT threads for as long as
//! FLAG is there. A meminfo has to say TOTAL kB, each time.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::{
    guest::Guest,
    world::{World, kb, pause},
};

/// The first argument of that mode.
pub(crate) const MODE: &str = "--readers";

/// What they met.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) reads: u64,
    pub(crate) failed: u64,
    pub(crate) wrong: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
}

/// Readers at work in a container.
pub(crate) struct Readers {
    flag: PathBuf,
}

impl Readers {
    /// Starts `count` of them in `guest`; `files` are below the mount.
    pub(crate) fn start(
        world: &World,
        guest: &mut Guest,
        count: usize,
        total: u64,
        files: &[&str],
    ) -> Readers {
        let flag = world.dir.path().join(format!("reading-{}", guest.id));
        fs::write(&flag, "").unwrap();
        let program = std::env::current_exe().unwrap();
        let mut command =
            format!("{} {MODE} {} {count} {total}", program.display(), flag.display());
        for file in files {
            command.push_str(&format!(" {}", world.mount().join(file).display()));
        }
        guest.start(&command);
        Readers { flag }
    }

    /// Ends them.
    pub(crate) fn end(self, guest: &mut Guest) -> Outcome {
        fs::remove_file(&self.flag).unwrap();
        let text = guest.finish();
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [reads, failed, wrong, p50, p99, longest] = numbers[..] else { panic!("{text}") };
        let [p50, p99, longest] = [p50, p99, longest].map(Duration::from_nanos);
        Outcome { reads, failed, wrong, p50, p99, longest }
    }
}

impl Outcome {
    /// No read failed, none said anything but the container's own.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0 && self.wrong == 0 && self.reads > 0
    }
}

/// Powers of two of a nanosecond, each in so many parts.
const PARTS: u64 = 32;
const BUCKETS: usize = 64 * 32;

/// One thread's count.
struct Count {
    outcome: Outcome,
    times: Vec<u64>,
    first: Option<String>,
}

/// The mode.
#[expect(clippy::print_stdout, reason = "it is asked for its figures")]
pub(crate) fn main(args: &[String]) {
    let [flag, count, total, files @ ..] = args else { panic!("{MODE} FLAG COUNT TOTAL FILE...") };
    let (count, total): (usize, u64) = (count.parse().unwrap(), total.parse().unwrap());
    let stop = AtomicBool::new(false);
    let counts: Vec<Count> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..count).map(|_| scope.spawn(|| read(files, total, &stop))).collect();
        while Path::new(flag).exists() {
            pause(20);
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut sum = Outcome::default();
    let mut times = vec![0; BUCKETS];
    for count in counts {
        sum.reads += count.outcome.reads;
        sum.failed += count.outcome.failed;
        sum.wrong += count.outcome.wrong;
        sum.longest = sum.longest.max(count.outcome.longest);
        times.iter_mut().zip(count.times).for_each(|(sum, times)| *sum += times);
        if let Some(text) = count.first {
            eprintln!("{text}");
        }
    }
    let at = |part: u64| {
        let mut rest = sum.reads * part / 100;
        let bucket = times.iter().position(|count| {
            let here = rest < *count;
            rest = rest.saturating_sub(*count);
            here
        });
        bucket.map_or(0, start_of)
    };
    println!(
        "reads {} failed {} wrong {} p50_ns {} p99_ns {} longest_ns {}",
        sum.reads,
        sum.failed,
        sum.wrong,
        at(50),
        at(99),
        sum.longest.as_nanos()
    );
}

fn read(files: &[String], total: u64, stop: &AtomicBool) -> Count {
    let mut count = Count { outcome: Outcome::default(), times: vec![0; BUCKETS], first: None };
    let mut text = String::new();
    while !stop.load(Ordering::Relaxed) {
        for file in files {
            text.clear();
            let start = Instant::now();
            let read = File::open(file).and_then(|mut file| file.read_to_string(&mut text));
            let time = start.elapsed();
            count.outcome.reads += 1;
            count.outcome.longest = count.outcome.longest.max(time);
            count.times[bucket(u64::try_from(time.as_nanos()).unwrap())] += 1;
            let said = match read {
                Err(error) => {
                    count.outcome.failed += 1;
                    Some(format!("{file}: {error}"))
                }
                Ok(0) => {
                    count.outcome.failed += 1;
                    Some(format!("{file} is empty"))
                }
                Ok(_) if file.ends_with("meminfo") && kb(&text, "MemTotal") != total => {
                    count.outcome.wrong += 1;
                    text.lines().next().map(|line| format!("{file}: {line}"))
                }
                Ok(_) => None,
            };
            if count.first.is_none() {
                count.first = said;
            }
        }
    }
    count
}

fn bucket(nanoseconds: u64) -> usize {
    let nanoseconds = nanoseconds.max(PARTS);
    let power = nanoseconds.ilog2();
    let part = (nanoseconds >> (power - PARTS.ilog2())) % PARTS;
    usize::try_from(u64::from(power) * PARTS + part).unwrap()
}

fn start_of(bucket: usize) -> u64 {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    (PARTS + part) << power >> PARTS.ilog2()
}
