//! `cargo xtask bench start`: what a start, an exec, a boot and a stop cost, beside crun and runc.
//! `cargo xtask bench hotplug`: what it costs to add things to a running container.
//!
//! All peers do the same work in the same rounds, each in a world of its own. Before anything is
//! timed their answers are compared. The machine is shared: medians, and ratios within a round.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

mod bundle;
mod clock;
mod hotplug;
mod lane;
mod peers;
mod report;
mod work;

use lane::Lane;
use peers::{Oci, Peer};
use report::Results;
use work::Work;

/// How often each work is done, and by whom not.
struct Plan {
    what: String,
    rounds: u32,
    boots: u32,
    without: Vec<String>,
    directory: PathBuf,
    command: String,
}

fn main() -> ExitCode {
    tests::warden::guard(|| match plan().and_then(|plan| bench(&plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    })
}

/// The arguments, as `cargo xtask bench` passes them: WHAT DIRECTORY ROUNDS BOOTS COMMAND
/// [WITHOUT...].
fn plan() -> Result<Plan> {
    ensure!(rustix::process::geteuid().is_root(), "not root; run it as root");
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().context("called by cargo xtask bench only");
    Ok(Plan {
        what: next()?,
        directory: next()?.into(),
        rounds: next()?.parse().context("rounds")?,
        boots: next()?.parse().context("boots")?,
        command: next()?,
        without: args.collect(),
    })
}

fn bench(plan: &Plan) -> Result<()> {
    let mut results = Results::default();
    match plan.what.as_str() {
        "hotplug" => hotplug::bench(plan.rounds, &mut results)?,
        _ => start(plan, &mut results)?,
    }
    results.write(&plan.what, &plan.directory, &plan.command)?;
    say(&format!("written: {}", plan.directory.display()));
    Ok(())
}

fn start(plan: &Plan, results: &mut Results) -> Result<()> {
    let peers = peers();
    let names: Vec<&str> = peers.iter().map(|(name, _)| *name).collect();
    for word in &plan.without {
        let there_is = names.join(", ");
        ensure!(
            names.contains(&word.as_str()),
            "--without {word}: no such peer; there is {there_is}"
        );
    }
    let mut lanes = Vec::new();
    for (name, peer) in peers {
        if plan.without.iter().any(|word| word == name) {
            continue;
        }
        match Lane::open(name, peer) {
            Ok(lane) => lanes.push(lane),
            Err(error) => bail!("{error:#}; leave it out with --without {name}"),
        }
    }
    ensure!(!lanes.is_empty(), "nobody is left to measure");

    say("comparing answers");
    agree(&lanes, Work::Answers)?;
    repeat(&lanes, Work::Trivial, plan.rounds, results)?;
    repeat(&lanes, Work::Burst, plan.rounds.div_ceil(5), results)?;
    repeat(&lanes, Work::Memory, plan.rounds.div_ceil(5), results)?;
    repeat(&lanes, Work::Listing, 1, results)?;
    repeat(&lanes, Work::Boot, plan.boots, results)
}

fn peers() -> Vec<(&'static str, Box<dyn Peer>)> {
    vec![
        ("floor", Box::new(peers::Floor)),
        ("isula", Box::new(peers::Isula)),
        ("isula-runtime", Box::new(Oci::new("isula-runtime"))),
        ("crun", Box::new(Oci::new("crun"))),
        ("runc", Box::new(Oci::new("runc"))),
        ("isula-runtime+seccomp", Box::new(Oci::filtered("isula-runtime"))),
        ("crun+seccomp", Box::new(Oci::filtered("crun"))),
        ("runc+seccomp", Box::new(Oci::filtered("runc"))),
    ]
}

fn agree(lanes: &[Lane], work: Work) -> Result<()> {
    let mut first: Option<(&str, Vec<String>)> = None;
    for lane in lanes {
        let answers = lane.work(work)?.answers;
        match &first {
            None => first = Some((lane.name, answers)),
            Some((name, expected)) => ensure!(
                *expected == answers,
                "{name} answers {expected:?}, {} answers {answers:?}",
                lane.name
            ),
        }
    }
    Ok(())
}

/// Every lane does the work once a round; who begins changes from round to round.
fn repeat(lanes: &[Lane], work: Work, rounds: u32, results: &mut Results) -> Result<()> {
    say(&format!("{work:?}: {rounds} rounds"));
    for round in 0..rounds {
        let begin = usize::try_from(round)? % lanes.len();
        let order = lanes.iter().cycle().skip(begin).take(lanes.len());
        for lane in order {
            let done = lane.work(work).with_context(|| format!("{work:?}, {}", lane.name))?;
            results.add(round, lane.name, done.figures);
        }
    }
    Ok(())
}

fn say(line: &str) {
    // A closed stdout does not change what is measured.
    let _ = writeln!(std::io::stdout(), "{line}");
}
