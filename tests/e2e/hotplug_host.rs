//! What a real host does to what was added: its disks come back under other names, its modules are
//! loaded when a container asks. A machine of its own is needed: `cargo xtask vm`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::need::{BUSYBOX, MODULES, ROOT, SCSI_DEBUG};
use tests::{Story, World, story};

use crate::added::{hooked, sh};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story(
            "hotplug_host::a_disk_returns_under_another_name",
            &[ROOT, BUSYBOX, SCSI_DEBUG],
            disk,
        )
        .alone(),
        story("hotplug_host::a_module_is_loaded_once", &[ROOT, BUSYBOX, MODULES], module).alone(),
    ]
}

/// Disks that the kernel makes up; gone with this value.
struct Disks<'w>(&'w World);

impl<'w> Disks<'w> {
    fn new(world: &'w World) -> Result<Self> {
        let words = ["scsi_debug", "dev_size_mb=16", "per_host_store=1"];
        world.tool("modprobe").args(words).ok()?;
        Ok(Self(world))
    }

    /// Their names in /dev, by the number of their host.
    fn names(&self) -> Result<Vec<(u32, String)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir("/sys/block")?.flatten() {
            let model = fs::read_to_string(entry.path().join("device/model")).unwrap_or_default();
            if model.trim() != "scsi_debug" {
                continue;
            }
            let device = fs::read_link(entry.path().join("device"))?;
            let address = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let host = address.split(':').next().unwrap_or_default().parse()?;
            names.push((host, entry.file_name().to_string_lossy().into_owned()));
        }
        names.sort();
        Ok(names)
    }

    fn until(&self, count: usize) -> Result<Vec<(u32, String)>> {
        self.0.until("the disks are there", Duration::from_secs(20), || {
            Ok(Some(self.names()?).filter(|names| names.len() == count))
        })
    }

    /// The link that udev has made of its serial number.
    fn by_id(&self, name: &str) -> Result<String> {
        self.0.until("udev has named it", Duration::from_secs(20), || {
            let links = fs::read_dir("/dev/disk/by-id").into_iter().flatten().flatten();
            // Each has several, and others for a moment while they are made.
            let mut links = links
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("wwn-"))
                .map(|entry| entry.path());
            let is_it = |link: &std::path::PathBuf| {
                fs::canonicalize(link).is_ok_and(|path| path == Path::new("/dev").join(name))
            };
            Ok(links.find(is_it).map(|link| link.to_string_lossy().into_owned()))
        })
    }
}

impl Drop for Disks<'_> {
    fn drop(&mut self) {
        let _ = self.0.until("nobody has the disks open", Duration::from_secs(20), || {
            let removed = self.0.tool("modprobe").args(["-r", "scsi_debug"]).output()?;
            Ok((removed.code() == 0).then_some(()))
        });
    }
}

fn disk(world: &World) -> Result<()> {
    let disks = Disks::new(world)?;
    let (host, first) = disks.until(1)?.remove(0);
    let by_id = disks.by_id(&first)?;
    let container = hooked(world, &[])?;
    world.tools(["add-device", "web", &format!("{by_id}:/dev/xvdb")]).ok()?;
    world.tools(["add-device", "web", &format!("/dev/{first}:/dev/xvdc")]).ok()?;
    let look = sh(&container, "echo mine > /dev/xvdb && head -c 5 /dev/xvdc")?;
    ensure!(look.stdout == "mine\n", "{look}");
    container.isula("stop", ["-t", "0"]).ok()?;
    // Away; another takes its name; it comes back.
    fs::write(format!("/sys/block/{first}/device/delete"), "1")?;
    fs::write("/sys/bus/pseudo/drivers/scsi_debug/add_host", "1")?;
    disks.until(1)?;
    fs::write(format!("/sys/class/scsi_host/host{host}/scan"), "- - -")?;
    let names = disks.until(2)?;
    let now = &names.iter().find(|name| name.0 == host).context("it is back")?.1;
    ensure!(*now != first, "it is called {now} again");
    let by_id_now = disks.by_id(now)?;
    ensure!(by_id_now == by_id, "{by_id_now} and {by_id}");
    let refused = container.isula("start", [""; 0]).output()?;
    ensure!(refused.code() != 0, "/dev/{first} is another disk: {refused}");
    refused.expect_stderr("is another disk than the one that was added")?;
    world.tools(["remove-device", "web", ":/dev/xvdc"]).ok()?;
    container.isula("start", [""; 0]).ok()?;
    let look = sh(&container, "head -c 5 /dev/xvdb")?;
    ensure!(look.stdout == "mine\n", "it has its disk: {look}");
    world.tools(["diff", "web"]).ok()?.expect_stdout("")?;
    container.remove()?;
    drop(disks);
    Ok(())
}

fn module(world: &World) -> Result<()> {
    let loaded = || Path::new("/sys/module/dummy").exists();
    world.tool("modprobe").args(["-r", "dummy"]).output()?;
    ensure!(!loaded(), "nobody needs it");
    let allow = world.path("modules.allow");
    fs::write(&allow, "dummy\n")?;
    let spec = world.hook_spec()?;
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&spec)?)?;
    let arguments = document["prestart"][0]["args"].as_array_mut().context("arguments")?;
    arguments.extend([json!("--modules-allow"), json!(allow)]);
    fs::write(&spec, document.to_string())?;
    let spec = spec.to_string_lossy();
    let options = ["--name", "web", "--hook-spec", &spec, "-e", "KERNEL_MODULES=dummy"];
    let container = world.run(&options, &world.busybox()?, &["sleep", "86400"])?;
    ensure!(loaded(), "it is loaded before the container starts");
    container.isula("restart", ["-t", "0"]).ok()?;
    container.remove()?;
    ensure!(loaded(), "and nothing is ever unloaded");
    world.tool("modprobe").args(["-r", "dummy"]).ok().map(drop)
}
