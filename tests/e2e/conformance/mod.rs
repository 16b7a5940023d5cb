//! The runtime specification, MUST by MUST. A row is a sentence of it with a number, a bundle, and
//! what is then to be seen. runc and crun are held to the same rows where they are installed, so
//! that a row says what the specification means and not what we do; a row that one of them does not
//! keep says why.
//!
//! `docs/specification.md` lists the rows; `conformance::the_document_lists_every_row` compares.

mod cgroups;
mod config;
mod document;
mod hooks;
mod lifecycle;
mod links;
mod linux;
mod mounts;
mod namespaces;
mod process;
mod seccomp;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, CGROUP_V2, CRUN, ROOT, RUNC};
use tests::{Call, Need, Output, Story, World, leaks, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[Need] = &[ROOT, BUSYBOX];
    vec![
        story("conformance::cgroups", NEEDS, |world| hold(world, cgroups::rows())),
        story("conformance::config", NEEDS, |world| hold(world, config::rows())),
        story("conformance::hooks", NEEDS, |world| hold(world, hooks::rows())),
        story("conformance::lifecycle", NEEDS, |world| hold(world, lifecycle::rows())),
        story("conformance::links", NEEDS, |world| hold(world, links::rows())),
        story("conformance::linux", NEEDS, |world| hold(world, linux::rows())),
        story("conformance::mounts", NEEDS, |world| hold(world, mounts::rows())),
        story("conformance::namespaces", NEEDS, |world| hold(world, namespaces::rows())),
        story("conformance::process", NEEDS, |world| hold(world, process::rows())),
        story("conformance::seccomp", NEEDS, |world| hold(world, seccomp::rows())),
        story("conformance::the_document_lists_every_row", &[], document::lists_every_row),
    ]
}

/// Every group of rows, by the name of its story.
fn groups() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("cgroups", cgroups::rows()),
        ("config", config::rows()),
        ("hooks", hooks::rows()),
        ("lifecycle", lifecycle::rows()),
        ("links", links::rows()),
        ("linux", linux::rows()),
        ("mounts", mounts::rows()),
        ("namespaces", namespaces::rows()),
        ("process", process::rows()),
        ("seccomp", seccomp::rows()),
    ]
}

/// A sentence of the specification.
struct Row {
    /// The document it is in, and its number there.
    number: &'static str,
    sentence: &'static str,
    needs: &'static [Need],
    shown: Shown,
    /// Peers that do otherwise, in the version that Debian has, and how.
    otherwise: Vec<(&'static str, &'static str)>,
}

type Change = fn(&mut Value);

enum Shown {
    /// By what a script says inside.
    Says(Change, &'static str, &'static str),
    /// By an error; ours holds this text.
    Refused(Vec<(&'static str, Change)>),
    /// By a story of its own.
    By(fn(&World, &Runtime<'_>) -> Result<()>),
}

fn says(
    number: &'static str,
    sentence: &'static str,
    change: Change,
    script: &'static str,
    expected: &'static str,
) -> Row {
    Row::new(number, sentence, Shown::Says(change, script, expected))
}

fn refused(number: &'static str, sentence: &'static str, list: &[(&'static str, Change)]) -> Row {
    Row::new(number, sentence, Shown::Refused(list.to_vec()))
}

fn by(
    number: &'static str,
    sentence: &'static str,
    story: fn(&World, &Runtime<'_>) -> Result<()>,
) -> Row {
    Row::new(number, sentence, Shown::By(story))
}

impl Row {
    fn new(number: &'static str, sentence: &'static str, shown: Shown) -> Self {
        Self { number, sentence, needs: &[], shown, otherwise: Vec::new() }
    }

    fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    fn not(mut self, peer: &'static str, why: &'static str) -> Self {
        self.otherwise.push((peer, why));
        self
    }

    fn not_the_peers(self, why: &'static str) -> Self {
        self.not("runc", why).not("crun", why)
    }

    fn held_by(&self, world: &World, runtime: &Runtime<'_>) -> Result<()> {
        match &self.shown {
            Shown::Says(change, script, expected) => {
                let dir = bundle(world, &["sh", "-c", script], change)?;
                let output = runtime.run(world, &dir)?;
                ensure!(output.stdout == *expected, "{expected:?} expected\n{output}");
            }
            Shown::Refused(list) => {
                for (text, change) in list {
                    let dir = bundle(world, &["true"], change)?;
                    runtime.refuses(world, &dir, text)?;
                }
            }
            Shown::By(story) => story(world, runtime)?,
        }
        Ok(())
    }
}

/// A runtime's command line.
struct Runtime<'w> {
    name: &'static str,
    call: Box<dyn Fn() -> Call + 'w>,
}

impl Runtime<'_> {
    fn is_ours(&self) -> bool {
        self.name == "isula-runtime"
    }

    fn verb(&self, words: &[&str]) -> Call {
        (self.call)().args(words)
    }

    /// From create to delete.
    fn run(&self, world: &World, dir: &Path) -> Result<Output> {
        self.verb(&["run", "--bundle"]).arg(dir).arg(id(world, dir)?).output()
    }

    fn refuses(&self, world: &World, dir: &Path, text: &str) -> Result<()> {
        let output = self.run(world, dir)?;
        ensure!(output.code() != 0, "{text}: an error expected\n{output}");
        if self.is_ours() {
            ensure!(output.stderr.contains(text), "the error does not name {text}\n{output}");
        }
        let id = id(world, dir)?;
        ensure!(self.verb(&["state", &id]).output()?.code() != 0, "{text}: {id} is left");
        Ok(())
    }

    fn create(&self, dir: &Path, id: &str) -> Result<()> {
        let null = std::process::Stdio::null;
        let call = self.verb(&["create", "--bundle"]).arg(dir).arg(id);
        let said = tempfile::tempfile()?;
        let mut command = call.command();
        command.stdin(null()).stdout(null()).stderr(said.try_clone()?);
        let ended = command.status()?;
        ensure!(ended.success(), "create {id} ended with {ended}: {}", read_back(said)?);
        Ok(())
    }

    fn started(&self, dir: &Path, id: &str) -> Result<i64> {
        self.create(dir, id)?;
        self.verb(&["start", id]).ok()?;
        self.pid(id)
    }

    fn state(&self, id: &str) -> Result<Value> {
        let output = self.verb(&["state", id]).ok()?;
        serde_json::from_str(&output.stdout).with_context(|| format!("{output}"))
    }

    fn pid(&self, id: &str) -> Result<i64> {
        self.state(id)?["pid"].as_i64().context("state has a pid")
    }

    fn until(&self, id: &str, wanted: &str) -> Result<()> {
        wait::until(format!("{id} is {wanted}"), Duration::from_secs(20), || {
            Ok((self.state(id)?["status"] == wanted).then_some(()))
        })
    }

    fn fails(&self, words: &[&str]) -> Result<Output> {
        let output = self.verb(words).output()?;
        ensure!(output.code() != 0, "an error expected\n{output}");
        Ok(output)
    }

    fn remove(&self, id: &str) -> Result<()> {
        self.verb(&["delete", "--force", id]).ok().map(drop)
    }
}

fn read_back(mut file: std::fs::File) -> Result<String> {
    use std::io::{Read as _, Seek as _};
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Ours, and the peers that are here and able.
fn runtimes(world: &World) -> Vec<Runtime<'_>> {
    let tool = |name: &'static str| Runtime {
        name,
        call: Box::new(move || world.tool(name).arg("--root").arg(world.path(name))),
    };
    let ours = move || world.program("isula-runtime").arg("--root").arg(world.path("oci"));
    let mut all = vec![Runtime { name: "isula-runtime", call: Box::new(ours) }];
    if RUNC.check().is_ok() {
        all.push(tool("runc"));
    }
    // It refuses hybrid hosts.
    if CRUN.check().is_ok() && CGROUP_V2.check().is_ok() {
        all.push(tool("crun"));
    }
    all
}

/// Every row, by every runtime; all that are not kept are told.
fn hold(world: &World, rows: Vec<Row>) -> Result<()> {
    let mut broken = Vec::new();
    for runtime in runtimes(world) {
        for row in &rows {
            let otherwise = row.otherwise.iter().any(|(peer, _)| *peer == runtime.name);
            if otherwise || row.needs.iter().any(|need| need.check().is_err()) {
                continue;
            }
            if let Err(error) = row.held_by(world, &runtime) {
                broken.push(format!(
                    "{} ({}): {}: {error:#}",
                    row.number, row.sentence, runtime.name
                ));
                forget(world, &runtime)?;
            }
        }
        if runtime.is_ours() {
            let left = leaks::cgroups_below(world.name());
            ensure!(left.is_empty(), "cgroups are left: {left:?}");
        } else {
            // crun 1.8 leaves some of those of `run`.
            leaks::remove_cgroups(world.name())?;
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("{} broken:\n{}", broken.len(), broken.join("\n"))
}

/// What a row that broke has left: the next one is not to find it.
fn forget(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let root = world.path(if runtime.is_ours() { "oci" } else { runtime.name });
    for entry in std::fs::read_dir(root).into_iter().flatten() {
        let id = entry?.file_name().to_string_lossy().into_owned();
        if !id.starts_with('.') {
            runtime.verb(&["delete", "--force", &id]).output()?;
        }
    }
    Ok(())
}

/// The name of the container of a bundle.
fn id(world: &World, dir: &Path) -> Result<String> {
    let name = dir.file_name().context("a name")?.to_string_lossy();
    Ok(format!("{}-{name}", world.name()))
}

/// A bundle whose process runs `args`; `change` may have its say.
fn bundle(world: &World, args: &[&str], change: impl FnOnce(&mut Value)) -> Result<PathBuf> {
    let dir = world.new_directory("bundle")?;
    world.program("isula-runtime").args(["spec", "--bundle"]).arg(&dir).ok()?;
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["ociVersion"] = json!("1.0.2");
    config["root"] = json!({ "path": world.busybox()? });
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(args);
    let name = dir.file_name().context("a name")?.to_string_lossy().into_owned();
    config["linux"]["cgroupsPath"] = json!(format!("/{}/{name}", world.name()));
    change(&mut config);
    std::fs::write(&path, serde_json::to_vec(&config)?)?;
    Ok(dir)
}

fn same(_: &mut Value) {}

/// Where the rootfs of a bundle is.
fn rootfs(dir: &Path) -> Result<PathBuf> {
    let config: Value = serde_json::from_slice(&std::fs::read(dir.join("config.json"))?)?;
    Ok(PathBuf::from(config["root"]["path"].as_str().context("a path")?))
}

/// Changes a bundle that is there already.
fn rewrite(dir: &Path, change: impl FnOnce(&mut Value)) -> Result<()> {
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    change(&mut config);
    std::fs::write(&path, config.to_string())?;
    Ok(())
}

fn push(config: &mut Value, pointer: &str, value: Value) {
    if let Some(Value::Array(list)) = config.pointer_mut(pointer) {
        list.push(value);
    }
}

fn mount(config: &mut Value, value: Value) {
    push(config, "/mounts", value);
}

fn tmpfs(config: &mut Value, path: &str) {
    mount(config, json!({ "destination": path, "type": "tmpfs", "source": "tmpfs" }));
}

/// The list of namespaces without those of this type.
fn drop_namespace(config: &mut Value, kind: &str) {
    if let Some(Value::Array(list)) = config.pointer_mut("/linux/namespaces") {
        list.retain(|entry| entry["type"] != kind);
    }
}
