//! From a story to a test: needs, a thread and a world of its own, the look around, the verdict.

use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::time::Duration;

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::need::{Allowed, Need};
use crate::{wait, world::World};

/// What one test tells.
#[derive(Debug, Clone)]
pub struct Story {
    name: &'static str,
    needs: &'static [Need],
    body: fn(&World) -> Result<()>,
    alone: bool,
    stress: bool,
    limit: Duration,
}

/// A story of that name (`file::what_is_so`), told only where its needs are met.
pub fn story(name: &'static str, needs: &'static [Need], body: fn(&World) -> Result<()>) -> Story {
    let limit = Duration::from_secs(120);
    Story { name, needs, body, alone: false, stress: false, limit }
}

impl Story {
    /// It measures, or loads the machine: no other story runs beside it.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Only told with `--stress`.
    #[must_use]
    pub fn stress(mut self) -> Self {
        self.stress = true;
        self.alone = true;
        self.limit = Duration::from_secs(1800);
        self
    }

    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// A line for the person who watches.
pub fn say(line: &str) {
    // A closed stderr is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// How skips are judged, and those met.
struct Skips {
    strict: bool,
    machine: String,
    allowed: Allowed,
    met: Mutex<Vec<String>>,
}

/// Runs the stories that the command line asks for.
pub fn run(stories: Vec<Story>) -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().collect();
    let count = args.len();
    args.retain(|arg| arg != "--stress");
    let stress = args.len() < count;
    let args = Arguments::from_iter(args);

    let allowed = match Allowed::parse(include_str!("../skips.allow")) {
        Ok(allowed) => allowed,
        Err(error) => {
            say(&format!("e2e: skips.allow: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let skips = Arc::new(Skips {
        strict: std::env::var("SYSC_TESTS").map_or(true, |value| value == "strict"),
        machine: std::env::var("SYSC_TESTS_MACHINE").unwrap_or_else(|_| "host".into()),
        allowed,
        met: Mutex::default(),
    });
    let gate = Arc::new(RwLock::new(()));
    let trials = stories.into_iter().filter(|story| story.stress == stress).map(|story| {
        let (skips, gate) = (skips.clone(), gate.clone());
        Trial::ignorable_test(story.name, move || tell(&story, &skips, &gate))
    });
    let conclusion = libtest_mimic::run(&args, trials.collect());
    let met = skips.met.lock().unwrap_or_else(PoisonError::into_inner);
    for skip in met.iter() {
        // Among the results, where a reader of the counts looks for it.
        let _ = writeln!(std::io::stdout(), "skipped: {skip}");
    }
    conclusion.exit_code()
}

fn tell(story: &Story, skips: &Skips, gate: &RwLock<()>) -> Result<Completion, Failed> {
    for need in story.needs {
        let Err(reason) = need.check() else { continue };
        let reason = format!("needs {}: {reason}", need.name);
        if skips.strict && !skips.allowed.allows(&skips.machine, need.name) {
            return Err(format!(
                "{reason}; tests/skips.allow does not accept this skip on \"{}\"",
                skips.machine
            )
            .into());
        }
        let line = format!("{}: {reason}", story.name);
        skips.met.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        return Ok(Completion::ignored_with(reason));
    }
    if story.alone {
        let _alone = gate.write().unwrap_or_else(PoisonError::into_inner);
        in_own_world(story)
    } else {
        let _shared = gate.read().unwrap_or_else(PoisonError::into_inner);
        in_own_world(story)
    }
}

fn in_own_world(story: &Story) -> Result<Completion, Failed> {
    let (sender, receiver) = mpsc::channel();
    let body = story.body;
    // A thread of its own: the namespaces it enters must not be the next story's.
    let thread = std::thread::Builder::new().name(story.name.to_owned()).spawn(move || {
        let world = World::enter()?;
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&world)));
        if !matches!(told, Ok(Ok(()))) {
            // What a story did not come to remove is not the product's leak.
            world.remove_containers();
        }
        let left = world.leave();
        let _ = sender.send(());
        let told = told.unwrap_or_else(|cause| {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
            Err(anyhow::anyhow!("panic: {}", text.unwrap_or("(no text)")))
        });
        match (told, left.is_empty()) {
            (told, true) => told,
            (Ok(()), false) => anyhow::bail!("left behind:\n  {}", left.join("\n  ")),
            (Err(error), false) => {
                anyhow::bail!("{error:#}\nand left behind:\n  {}", left.join("\n  "))
            }
        }
    });
    let thread = thread.map_err(|error| Failed::from(format!("start a thread: {error}")))?;
    if receiver.recv_timeout(story.limit * wait::slowness()) == Err(RecvTimeoutError::Timeout) {
        // The thread cannot be ended; the warden takes its processes and mounts with it.
        return Err(format!("not told within {:?}", story.limit * wait::slowness()).into());
    }
    match thread.join() {
        Ok(Ok(())) => Ok(Completion::Completed),
        Ok(Err(error)) => Err(format!("{error:#}").into()),
        Err(_) => Err("panic outside the story".into()),
    }
}
