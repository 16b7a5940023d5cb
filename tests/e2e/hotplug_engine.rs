//! Containers that other engines have started.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, CGROUP_V2, CRUN, ROOT, RUNC};
use tests::{Call, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_engine::a_container_of_runc", &[ROOT, BUSYBOX, RUNC], |world| {
            plain(world, "runc")
        }),
        // crun of Debian's age refuses hybrid hosts.
        story("hotplug_engine::a_container_of_crun", &[ROOT, BUSYBOX, CRUN, CGROUP_V2], |world| {
            plain(world, "crun")
        }),
        story("hotplug_engine::replay_by_a_hook", &[ROOT, BUSYBOX, RUNC], replay),
        story("hotplug_engine::by_its_pid", &[ROOT, BUSYBOX, RUNC], by_pid),
    ]
}

/// A container of a runtime by itself; ended with this value.
struct Plain<'w> {
    world: &'w World,
    runtime: &'static str,
    id: String,
    bundle: PathBuf,
}

impl<'w> Plain<'w> {
    fn new(world: &'w World, runtime: &'static str, hooks: Value) -> Result<Self> {
        let bundle = world.new_directory("bundle")?;
        world.tool(runtime).arg("spec").directory(&bundle).ok()?;
        let path = bundle.join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&path)?)?;
        let id = format!("{}-{runtime}", world.name());
        spec["root"] = json!({ "path": world.busybox()?, "readonly": false });
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["sleep", "1000"]);
        spec["process"].as_object_mut().context("an object")?.remove("rlimits");
        spec["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", world.name()));
        spec["hooks"] = hooks;
        fs::write(&path, spec.to_string())?;
        let container = Self { world, runtime, id, bundle };
        container.start()?;
        Ok(container)
    }

    fn call(&self, arguments: &[&str]) -> Call {
        let root = self.world.path("host/run").join(self.runtime);
        self.world.tool(self.runtime).arg("--root").arg(root).args(arguments)
    }

    fn start(&self) -> Result<()> {
        let bundle = self.bundle.to_string_lossy();
        fs::create_dir_all(self.world.path("host/run"))?;
        // Its output is held open by the container.
        let mut command = self.call(&["run", "-d", "-b", &bundle, &self.id]).command();
        let null = || std::process::Stdio::null();
        let errors = fs::File::create(self.bundle.join("errors"))?;
        let status = command.stdin(null()).stdout(null()).stderr(errors).status()?;
        let text = fs::read_to_string(self.bundle.join("errors"))?;
        ensure!(status.success(), "{} run: {status}: {text}", self.runtime);
        Ok(())
    }

    fn sh(&self, script: &str) -> Result<String> {
        Ok(self.call(&["exec", &self.id, "sh", "-c", script]).output()?.stdout)
    }

    fn pid(&self) -> Result<u64> {
        let state: Value = serde_json::from_str(&self.call(&["state", &self.id]).ok()?.stdout)?;
        state["pid"].as_u64().context("a pid")
    }

    fn end(&self) -> Result<()> {
        self.call(&["delete", "--force", &self.id]).ok().map(drop)
    }
}

impl Drop for Plain<'_> {
    fn drop(&mut self) {
        let _ = self.call(&["delete", "--force", &self.id]).output();
    }
}

fn tools(world: &World, arguments: &[&str]) -> Call {
    world
        .tools(["--engine-files", &world.path("host").to_string_lossy()])
        .args(["--records", &world.path("records").to_string_lossy()])
        .args(arguments)
}

fn plain(world: &World, runtime: &'static str) -> Result<()> {
    let container = Plain::new(world, runtime, json!({}))?;
    let host = world.new_directory("source")?;
    fs::write(host.join("file"), "host\n")?;
    let path = format!("{}:/data:ro", host.display());
    let id = container.id.as_str();
    tools(world, &["add-device", id, "/dev/fuse:/dev/n1:rw"]).ok()?;
    tools(world, &["--engine", "oci", "add-path", id, &path]).ok()?;
    let look = container.sh(": < /dev/n1 && cat /data/file; touch /data/x || echo read-only")?;
    ensure!(look == "host\nread-only\n", "{look:?}");
    tools(world, &["diff", id]).ok()?.expect_stdout("")?;
    let refused = tools(world, &["--engine", "podman", "list-device", id]).code(3)?;
    refused.expect_stderr("no container matches")?;
    tools(world, &["remove-device", id, "/dev/fuse"]).ok()?;
    tools(world, &["remove-path", id, &path]).ok()?;
    let look = container.sh("ls /dev/n1 /data; grep -c data /proc/mounts")?;
    ensure!(look == "/data:\n0\n", "{look:?}");
    container.end()
}

fn replay(world: &World) -> Result<()> {
    let spec: Value = serde_json::from_slice(&fs::read(world.hook_spec()?)?)?;
    let records = world.path("records");
    let mut hook = spec["prestart"][0].clone();
    hook["args"] = json!(["syscontainer-hooks", "--state", "createRuntime", "--records", records]);
    let container = Plain::new(world, "runc", json!({ "createRuntime": [hook] }))?;
    let id = container.id.as_str();
    let host = world.new_directory("source")?;
    fs::write(host.join("file"), "host\n")?;
    tools(world, &["add-device", id, "/dev/fuse:/dev/n1"]).ok()?;
    tools(world, &["add-path", id, &format!("{}:/data", host.display())]).ok()?;
    container.end()?;
    container.start()?;
    let look = container.sh(": < /dev/n1 && cat /data/file")?;
    ensure!(look == "host\n", "the record follows the id: {look:?}");
    container.end()
}

fn by_pid(world: &World) -> Result<()> {
    let container = Plain::new(world, "runc", json!({}))?;
    let pid = container.pid()?.to_string();
    let bundle = container.bundle.to_string_lossy();
    let by_pid = ["--pid", &pid, "--bundle", &bundle];
    tools(world, &[&by_pid[..], &["add-device", "box", "/dev/fuse:/dev/n1"]].concat()).ok()?;
    ensure!(container.sh(": < /dev/n1 && echo ok")? == "ok\n", "it can be opened");
    tools(world, &["--pid", &pid, "list-device", "../box"]).code(2)?;
    // A process of the host's own is no container.
    let own = std::process::id().to_string();
    tools(world, &["--pid", &own, "add-device", "box2", "/dev/fuse"]).code(1)?;
    container.end()
}
