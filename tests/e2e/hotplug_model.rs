//! Steps at random beside a model of what they come to: record, container and model agree after
//! each, and nothing is left at the end.
//!
//! The seed is part of every failure; SYSC_SEED takes the same steps again, SYSC_STEPS so many.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::need::{BUSYBOX, IDMAP_TMPFS, ROOT};
use tests::{Container, Story, World, story};

use crate::links::{Bridge, Port};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_model::some_steps", &[ROOT, BUSYBOX], |world| model(world, &[], 60)),
        story("hotplug_model::with_root_mapped", &[ROOT, BUSYBOX, IDMAP_TMPFS], |world| {
            model(world, MAPPED, 60)
        }),
        story("hotplug_model::many_steps", &[ROOT, BUSYBOX], |world| model(world, &[], steps()?))
            .stress()
            .limit(HOUR),
        story("hotplug_model::many_with_root_mapped", &[ROOT, BUSYBOX, IDMAP_TMPFS], |world| {
            model(world, MAPPED, steps()?)
        })
        .stress()
        .limit(HOUR),
    ]
}

const MAPPED: &[&str] = &["--system-container", "--user-remap", "100000:100000:65536"];
const HOUR: Duration = Duration::from_secs(3600);

fn steps() -> Result<usize> {
    match std::env::var("SYSC_STEPS") {
        Ok(steps) => steps.parse().context("SYSC_STEPS is a number"),
        Err(_) => Ok(10_000),
    }
}

/// As many devices, paths, pairs of links, and routes through them; and one link of the host's.
const PLACES: u64 = 4;

const WHILE: Duration = Duration::from_secs(5);

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
    /// What is recorded: `/dev/n1`, `/data1`, `e1`, `x0` and `10.101.0.0/16`.
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
            5..=9 => self.update()?,
            _ => self.change()?,
        };
        Ok(name)
    }

    /// What is called so, as the command that adds or removes it has it.
    fn words(&self, add: bool, inside: &str) -> Vec<String> {
        let number = inside.trim_start_matches(|c: char| !c.is_ascii_digit());
        let verb = |kind: &str| format!("{}-{kind}", if add { "add" } else { "remove" });
        let words: Vec<String> = match inside.as_bytes()[0] {
            b'/' if inside.starts_with("/dev") => {
                vec![verb("device"), "web".into(), format!("/dev/fuse:{inside}")]
            }
            b'/' => vec![verb("path"), "web".into(), format!("{}:{inside}", self.source.display())],
            b'1' => {
                let link = &inside[3..6].trim_start_matches("10").trim_end_matches('.');
                let rule = format!(r#"[{{"dest":"{inside}","dev":"e{link}"}}]"#);
                vec![verb("route"), "web".into(), rule]
            }
            b'e' if add => {
                let options = format!(
                    "--type veth --bridge br0 --name h{number}:e{number} --ip 192.168.3.1{number}/24"
                );
                let options = options.split(' ').map(str::to_owned);
                [verb("nic"), "web".into()].into_iter().chain(options).collect()
            }
            b'x' if add => {
                let options = "--type eth --name p0:x0 --ip 10.6.0.2/24".split(' ');
                [verb("nic"), "web".into()].into_iter().chain(options.map(str::to_owned)).collect()
            }
            _ => vec![verb("nic"), "web".into(), "--name".into(), inside.to_owned()],
        };
        words
    }

    fn change(&mut self) -> Result<String> {
        let number = self.dice.roll(PLACES);
        let mut inside = match self.dice.roll(9) {
            0..=1 => format!("/dev/n{number}"),
            2..=3 => format!("/data{number}"),
            4..=5 => format!("e{number}"),
            6..=7 => format!("10.10{number}.0.0/16"),
            _ => "x0".to_owned(),
        };
        let link = format!("e{number}");
        if inside.starts_with("10.") && !self.recorded.contains(&link) {
            // A route leads through a link.
            inside.clone_from(&link);
        }
        let is_there = self.recorded.contains(&inside);
        // Now and then what has to be refused.
        let add = if self.dice.roll(8) == 0 { is_there } else { !is_there };
        let call = self.world.tools(self.words(add, &inside));
        let name = format!("{} {inside}", if add { "add" } else { "remove" });
        // With a link go the routes through it.
        let along = format!("10.10{number}.0.0/16");
        let follows = |one: &str| !add && inside.starts_with('e') && one == along;
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
                set.iter().filter(|one| **one != inside && !follows(one)).cloned().collect()
            };
            ensure!(others(&now) == others(&self.recorded), "{name} killed: {now:?}");
            ensure!(
                now.contains(&along) <= now.contains(&link),
                "{name} killed: a route without its link: {now:?}"
            );
            self.recorded = now;
            return Ok(format!("{name}, killed"));
        }
        let output = call.output()?;
        let expected = if add == is_there { 4 } else { 0 };
        ensure!(output.code() == expected, "exit code {expected} expected\n{output}");
        if expected == 0 && add {
            self.recorded.insert(inside);
        } else if expected == 0 {
            self.recorded.retain(|one| *one != inside && !follows(one));
        }
        Ok(name)
    }

    /// Values of a link change, and it is as recorded.
    fn update(&mut self) -> Result<String> {
        let link = format!("e{}", self.dice.roll(PLACES));
        if !self.recorded.contains(&link) {
            return Ok(format!("no update of {link}"));
        }
        let mtu = (1400 + self.dice.roll(100)).to_string();
        let words = ["update-nic", "web", "--name", &link, "--mtu", &mtu];
        self.world.tools(words).ok()?;
        if self.running {
            self.world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
        }
        Ok(format!("update {link} to {mtu}"))
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
        for nic in list("list-nic")? {
            found.extend(nic["CtrNicName"].as_str().map(str::to_owned));
        }
        for route in list("list-route")? {
            found.extend(route["dest"].as_str().map(str::to_owned));
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
        let routes = fs::read_to_string(format!("/proc/{pid}/net/route"))?;
        let inside = links(&format!("/proc/{pid}/net/dev"))?;
        found.extend(inside.into_iter().filter(|name| name.starts_with(['e', 'x'])));
        for number in 0..PLACES {
            // The destination in the order of its bytes, 10.10N.0.0.
            if routes.contains(&format!("\t0000{:02X}0A\t", 100 + number)) {
                found.insert(format!("10.10{number}.0.0/16"));
            }
        }
        Ok(found)
    }

    /// The host has its end of each pair, and its own link when the container has it not.
    fn host_agrees(&self) -> Result<()> {
        let host = links("/proc/thread-self/net/dev")?;
        for number in 0..PLACES {
            let wanted = self.running && self.recorded.contains(&format!("e{number}"));
            ensure!(host.contains(&format!("h{number}")) == wanted, "h{number}: {host:?}");
        }
        let given = self.running && self.recorded.contains("x0");
        ensure!(host.contains("p0") != given, "p0: {host:?}");
        Ok(())
    }
}

/// Names of links in a file as /proc/net/dev.
fn links(path: &str) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(path)?;
    let names = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    Ok(names.collect())
}

fn model(world: &World, options: &[&str], steps: usize) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let seed = match std::env::var("SYSC_SEED") {
        Ok(seed) => seed.parse().context("SYSC_SEED is a number")?,
        Err(_) => u64::try_from(now).unwrap_or(1) | 1,
    };
    let _bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let port = Port::new(world)?;
    let port_before = port.look()?;
    let spec = world.hook_spec()?;
    let spec = spec.to_string_lossy();
    let options = [&["--name", "web", "--hook-spec", &spec], options].concat();
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
        world
            .until("the kernel has ended the pairs of a network that has ended", WHILE, || {
                Ok(model.host_agrees().is_ok().then_some(()))
            })
            .or_else(|_| model.host_agrees())
            .with_context(|| told(&taken))?;
        if model.running {
            let live = model.live().with_context(|| told(&taken))?;
            ensure!(live == model.recorded, "{}: live {live:?}", told(&taken));
        }
    }
    if model.running && model.recorded.contains("x0") {
        world.tools(["remove-nic", "web", "--name", "x0"]).ok()?;
    }
    let port_after = port.look()?;
    ensure!(port_after == port_before, "before: {port_before}\nafter: {port_after}");
    ensure!(fs::read_to_string("/proc/thread-self/mountinfo")? == before, "no mount on the host");
    model.container.remove()
}
