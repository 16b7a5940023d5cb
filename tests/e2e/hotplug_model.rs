//! Steps at random beside a model of what they come to: record, container and model agree after
//! each, and nothing is left at the end.
//!
//! The seed is part of every failure; SYSC_SEED takes the same steps again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::need::{BUSYBOX, ROOT};
use tests::{Container, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_model::some_steps", &[ROOT, BUSYBOX], |world| model(world, 60)),
        story("hotplug_model::ten_thousand_steps", &[ROOT, BUSYBOX], |world| model(world, 10_000))
            .stress(),
    ]
}

/// As many devices and as many paths.
const PLACES: u64 = 4;

/// xorshift64 (Marsaglia 2003): enough for a choice.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct Model<'w> {
    world: &'w World,
    container: Container<'w>,
    source: PathBuf,
    dice: Dice,
    /// What is recorded: `/dev/n1`, `/data1`.
    recorded: BTreeSet<String>,
    running: bool,
}

impl Model<'_> {
    /// One step; its name is for the failure.
    fn step(&mut self) -> Result<String> {
        let roll = self.dice.roll(100);
        let name = match roll {
            0..=2 => {
                self.container.isula("restart", ["-t", "0"]).ok()?;
                self.running = true;
                "restart".to_owned()
            }
            3..=4 => {
                let verb = if self.running { "stop" } else { "start" };
                let options: &[&str] = if self.running { &["-t", "0"] } else { &[] };
                self.container.isula(verb, options).ok()?;
                self.running = !self.running;
                verb.to_owned()
            }
            _ => self.change()?,
        };
        Ok(name)
    }

    fn change(&mut self) -> Result<String> {
        let number = self.dice.roll(PLACES);
        let (kind, inside, host) = match self.dice.roll(2) {
            0 => ("device", format!("/dev/n{number}"), "/dev/fuse".to_owned()),
            _ => ("path", format!("/data{number}"), self.source.display().to_string()),
        };
        let is_there = self.recorded.contains(&inside);
        // Now and then what has to be refused.
        let add = if self.dice.roll(8) == 0 { is_there } else { !is_there };
        let verb = format!("{}-{kind}", if add { "add" } else { "remove" });
        let pair = format!("{host}:{inside}");
        let call = self.world.tools([verb.as_str(), "web", &pair]);
        let name = format!("{verb} {inside}");
        if self.dice.roll(5) == 0 {
            let mut child = call
                .command()
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()?;
            let patience = Duration::from_micros(self.dice.roll(8000));
            let _ = tests::wait::until("it is time", patience, || Ok(None::<()>));
            let _ = child.kill();
            child.wait()?;
            self.world.tools(["recover", "web"]).ok()?;
            // Done or not done; nothing else is.
            let now = self.read()?;
            let others = |set: &BTreeSet<String>| -> BTreeSet<String> {
                set.iter().filter(|one| **one != inside).cloned().collect()
            };
            ensure!(others(&now) == others(&self.recorded), "{name} killed: {now:?}");
            self.recorded = now;
            return Ok(format!("{name}, killed"));
        }
        let output = call.output()?;
        let expected = if add == is_there { 4 } else { 0 };
        ensure!(output.code() == expected, "exit code {expected} expected\n{output}");
        if expected == 0 && add {
            self.recorded.insert(inside);
        } else if expected == 0 {
            self.recorded.remove(&inside);
        }
        Ok(name)
    }

    /// What the record says.
    fn read(&self) -> Result<BTreeSet<String>> {
        let list = |verb: &str| -> Result<Vec<Value>> {
            let output = self.world.tools([verb, "web"]).ok()?;
            serde_json::from_str(&output.stdout).with_context(|| output.to_string())
        };
        let mut found = BTreeSet::new();
        for device in list("list-device")? {
            found.extend(device["PathInContainer"].as_str().map(str::to_owned));
        }
        for path in list("list-path")? {
            found.extend(path.as_str().and_then(|path| path.split(':').nth(1)).map(str::to_owned));
        }
        Ok(found)
    }

    /// What is in the container, seen from the host.
    fn live(&self) -> Result<BTreeSet<String>> {
        let pid = self.container.pid()?;
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
        let mut found = BTreeSet::new();
        for number in 0..PLACES {
            let (node, path) = (format!("/dev/n{number}"), format!("/data{number}"));
            if root.join(&node[1..]).exists() {
                found.insert(node);
            }
            let field = format!(" {path} ");
            match mounts.lines().filter(|line| line.contains(&field)).count() {
                0 => {}
                1 => drop(found.insert(path)),
                count => anyhow::bail!("{path} is mounted {count} times"),
            }
        }
        Ok(found)
    }
}

fn model(world: &World, steps: usize) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let seed = match std::env::var("SYSC_SEED") {
        Ok(seed) => seed.parse().context("SYSC_SEED is a number")?,
        Err(_) => u64::try_from(now).unwrap_or(1) | 1,
    };
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let options = ["--name", "web", "--hook-spec", &spec];
    let container = world.run(&options, &world.busybox()?, &["sleep", "86400"])?;
    let source = world.new_directory("source")?;
    let before = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let mut model = Model {
        world,
        container,
        source,
        dice: Dice(seed),
        recorded: BTreeSet::new(),
        running: true,
    };
    let mut taken: Vec<String> = Vec::new();
    for number in 0..steps {
        let told = |taken: &[String]| {
            let last = &taken[taken.len().saturating_sub(8)..];
            format!("SYSC_SEED={seed}, step {number}, after {last:?}")
        };
        taken.push(model.step().with_context(|| told(&taken))?);
        let read = model.read().with_context(|| told(&taken))?;
        ensure!(read == model.recorded, "{}: recorded {read:?}", told(&taken));
        if model.running {
            let live = model.live().with_context(|| told(&taken))?;
            ensure!(live == model.recorded, "{}: live {live:?}", told(&taken));
        }
    }
    ensure!(fs::read_to_string("/proc/thread-self/mountinfo")? == before, "no mount on the host");
    model.container.remove()
}
