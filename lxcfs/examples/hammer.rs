//! Reads files over and over and says how it went: the measuring side of the tests and benchmarks.
//!
//! `hammer SECONDS READERS FILE...`: each reader opens, reads and closes every file in turn. Prints
//! one line: `reads N errors N empty N p50_ns N p99_ns N max_ns N`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measuring tool: it ends where its arguments are no numbers"
)]

use std::{
    env,
    fs::File,
    io::Read as _,
    thread,
    time::{Duration, Instant},
};

#[derive(Default)]
struct Count {
    errors: u64,
    empty: u64,
    first_error: Option<String>,
    times: Vec<u32>,
    max: u128,
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [seconds, readers, files @ ..] = &args[..] else {
        eprintln!("usage: hammer SECONDS READERS FILE...");
        std::process::exit(2);
    };
    let end =
        Instant::now() + Duration::from_millis((seconds.parse::<f64>().unwrap() * 1000.0) as u64);
    let readers: usize = readers.parse().unwrap();
    let counts: Vec<Count> = thread::scope(|scope| {
        let threads: Vec<_> = (0..readers).map(|_| scope.spawn(|| read(files, end))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let errors: u64 = counts.iter().map(|count| count.errors).sum();
    let empty: u64 = counts.iter().map(|count| count.empty).sum();
    let max = counts.iter().map(|count| count.max).max().unwrap_or(0);
    if let Some(text) = counts.iter().find_map(|count| count.first_error.as_ref()) {
        eprintln!("first error: {text}");
    }
    let mut times: Vec<u32> = counts.into_iter().flat_map(|count| count.times).collect();
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or(0);
    println!(
        "reads {} errors {errors} empty {empty} p50_ns {} p99_ns {} max_ns {max}",
        times.len(),
        at(0.5),
        at(0.99)
    );
}

fn read(files: &[String], end: Instant) -> Count {
    let mut count = Count::default();
    let mut buffer = vec![0; 65536];
    while Instant::now() < end {
        for file in files {
            let start = Instant::now();
            let read = File::open(file).and_then(|mut file| file.read(&mut buffer));
            let elapsed = start.elapsed().as_nanos();
            count.max = count.max.max(elapsed);
            match read {
                Ok(0) => count.empty += 1,
                Ok(_) => {}
                Err(error) => {
                    count.errors += 1;
                    count.first_error.get_or_insert_with(|| format!("{file}: {error}"));
                }
            }
            count.times.push(u32::try_from(elapsed).unwrap_or(u32::MAX));
        }
    }
    count
}
