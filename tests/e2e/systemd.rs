//! `isula-runtime --systemd-cgroup`: systemd keeps the container's cgroup.
//!
//! systemd knows processes by their pids in its own namespace, which is not that of the stories: so
//! it is systemd that runs the commands (systemd-run), below a directory that it can see, too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, DEBIAN, ROOT, SYSTEMD};
use tests::{Call, Story, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("systemd::a_scope_of_its_own", &[ROOT, BUSYBOX, SYSTEMD], scope),
        story("systemd::many_starts", &[ROOT, BUSYBOX, SYSTEMD], many_starts),
        story("systemd::a_systemd_inside", &[ROOT, DEBIAN, SYSTEMD], inside),
        story("systemd::a_unit_that_is_left", &[ROOT, BUSYBOX, SYSTEMD], left),
        story("systemd::from_another_pid_namespace", &[ROOT, BUSYBOX, SYSTEMD], elsewhere),
        story("systemd::where_there_is_none", &[ROOT, BUSYBOX], none),
    ]
}

/// What the host's systemd runs, and what of it is in a directory of its own.
struct Host<'w> {
    world: &'w World,
    dir: PathBuf,
    /// Beginning of the units' names: no other story has them.
    prefix: String,
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl<'w> Host<'w> {
    fn new(world: &'w World) -> Result<Self> {
        let prefix = world.name().replace('-', "_");
        let dir = std::env::temp_dir().join(format!("{prefix}-systemd"));
        std::fs::create_dir_all(&dir)?;
        Ok(Self { world, dir, prefix })
    }

    fn runtime(&self, words: &[&str]) -> Result<Call> {
        let program = tests::world::binaries()?.join("isula-runtime");
        let root = self.dir.join("oci");
        let call =
            self.world.by_systemd(&[]).arg(program).arg("--root").arg(root).arg("--systemd-cgroup");
        Ok(call.args(words))
    }

    /// A container that waits; its streams are not ours, as systemd-run would wait for their end.
    fn create(&self, name: &str, rootfs: &Path, change: impl FnOnce(&mut Value)) -> Result<Call> {
        let bundle = self.dir.join(format!("bundle-{name}"));
        let cgroup = format!("isula-test.slice:{}:{name}", self.prefix);
        make_bundle(self.world, &bundle, rootfs, &cgroup, change)?;
        let create = self.runtime(&["create", "--bundle"])?.arg(&bundle).arg(name);
        let program = tests::world::binaries()?.join("isula-runtime");
        let at = create.argv().iter().position(|word| *word == *program).context("the program")?;
        let script = format!("exec \"$@\" < /dev/null > {0}/out 2> {0}/err", bundle.display());
        Ok(self.world.by_systemd(&["sh", "-c", &script, "sh"]).args(&create.argv()[at..]))
    }

    fn said(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.dir.join(format!("bundle-{name}/err")))?)
    }

    fn unit(&self, name: &str) -> String {
        format!("{}-{name}.scope", self.prefix)
    }

    fn show(&self, name: &str, property: &str) -> Result<String> {
        let unit = self.unit(name);
        let show = self.world.by_systemd(&["systemctl", "show", "--value", "-p", property, &unit]);
        Ok(show.ok()?.line().to_owned())
    }

    /// The cgroup's directories, of every hierarchy.
    fn cgroups(&self, name: &str) -> Vec<PathBuf> {
        let path = format!("isula.slice/isula-test.slice/{}", self.unit(name));
        let tops = ["cgroup", "cgroup2"].into_iter().flat_map(tests::need::mounted);
        tops.map(|top| top.join(&path)).filter(|dir| dir.is_dir()).collect()
    }

    fn is_gone(&self, name: &str) -> Result<()> {
        ensure!(self.cgroups(name).is_empty(), "cgroups are left: {:?}", self.cgroups(name));
        let state = self.show(name, "LoadState")?;
        ensure!(state == "not-found", "the unit is {state}");
        Ok(())
    }
}

fn make_bundle(
    world: &World,
    dir: &Path,
    rootfs: &Path,
    cgroup: &str,
    change: impl FnOnce(&mut Value),
) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    world.program("isula-runtime").args(["spec", "--bundle"]).arg(dir).ok()?;
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    world.tool("cp").arg("-a").arg(rootfs).arg(dir.join("rootfs")).ok()?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sleep", "1000"]);
    config["linux"]["cgroupsPath"] = json!(cgroup);
    change(&mut config);
    std::fs::write(&path, config.to_string())?;
    Ok(())
}

fn scope(world: &World) -> Result<()> {
    let host = Host::new(world)?;
    let create = host.create("one", &world.busybox()?, |config| {
        config["linux"]["devices"] =
            json!([{ "type": "c", "path": "/dev/mem", "major": 1, "minor": 1 }]);
        config["linux"]["resources"]["memory"] = json!({ "limit": 67_108_864 });
        config["linux"]["resources"]["pids"] = json!({ "limit": 33 });
        config["annotations"]["org.systemd.property.TimeoutStopUSec"] = json!("uint64 7000000");
    })?;
    let created = create.output()?;
    ensure!(created.code() == 0, "{created}\n{}", host.said("one")?);
    host.runtime(&["start", "one"])?.ok()?;
    let state: Value = serde_json::from_str(&host.runtime(&["state", "one"])?.ok()?.stdout)?;
    ensure!(state["status"] == "running", "{state}");
    for dir in host.cgroups("one") {
        // On v1 a reader of another pid namespace sees none of them.
        let procs = world.by_systemd(&["cat"]).arg(dir.join("cgroup.procs")).ok()?;
        ensure!(procs.stdout.lines().count() == 1, "{procs}");
    }
    for (property, wanted) in
        [("Delegate", "yes"), ("Slice", "isula-test.slice"), ("TimeoutStopUSec", "7s")]
    {
        ensure!(host.show("one", property)? == wanted, "{property} is not {wanted}");
    }
    // What systemd writes again when it reloads is what the container has.
    let memory_is = |wanted: &str| -> Result<()> {
        let read = |dir: &PathBuf| {
            let files = ["memory.max", "memory.limit_in_bytes"];
            files.iter().find_map(|file| std::fs::read_to_string(dir.join(file)).ok())
        };
        let found = host.cgroups("one").iter().find_map(read).context("a limit")?;
        ensure!(found.trim() == wanted, "the limit is {found}, not {wanted}");
        Ok(())
    };
    for (memory, update) in [("67108864", false), ("50331648", true)] {
        if update {
            host.runtime(&["update", "--memory", memory, "one"])?.ok()?;
        }
        memory_is(memory)?;
        world.by_systemd(&["systemctl", "daemon-reload"]).ok()?;
        memory_is(memory)?;
        for (property, wanted) in [("MemoryMax", memory), ("TasksMax", "33")] {
            let found = host.show("one", property)?;
            ensure!(found == wanted, "systemd has {property} {found}, not {wanted}");
        }
        let script = "head -c 1 /dev/mem 2>&1 >/dev/null; echo > /dev/null && echo null";
        let exec = host.runtime(&["exec", "one", "sh", "-c", script])?.output()?;
        ensure!(exec.stdout.contains("not permitted") && exec.stdout.ends_with("null\n"), "{exec}");
    }
    host.runtime(&["delete", "--force", "one"])?.ok()?;
    host.is_gone("one")
}

/// No start waits in vain for a word of systemd's.
fn many_starts(world: &World) -> Result<()> {
    let host = Host::new(world)?;
    let create = host.create("many", &world.busybox()?, |_| ())?;
    let program = tests::world::binaries()?.join("isula-runtime");
    let at = create.argv().iter().position(|word| *word == *program).context("the program")?;
    let words: Vec<String> =
        create.argv()[at..].iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let runtime = words[..words.len() - 4].join(" ");
    let script = format!(
        "set -e; for n in $(seq 30); do {create} < /dev/null > /dev/null; {runtime} start many; \
         {runtime} delete --force many; done; echo all",
        create = words.join(" ")
    );
    let output = world.by_systemd(&["sh", "-c", &script]).limit(Duration::from_secs(25)).ok()?;
    ensure!(output.stdout == "all\n", "{output}");
    host.is_gone("many")
}

/// What engines give a container.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Its systemd has a tree of its own below the scope, and the host's lets it.
fn inside(world: &World) -> Result<()> {
    let host = Host::new(world)?;
    let create = host.create("boot", &world.debian()?, |config| {
        config["annotations"]["org.isula.system-container"] = json!("true");
        config["process"]["args"] = json!(["/sbin/init"]);
        config["root"]["readonly"] = json!(false);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(CAPABILITIES);
        }
    })?;
    let created = create.output()?;
    ensure!(created.code() == 0, "{created}\n{}", host.said("boot")?);
    host.runtime(&["start", "boot"])?.ok()?;
    wait::until("systemd inside runs", Duration::from_secs(90), || {
        let state = host.runtime(&["exec", "boot", "systemctl", "is-system-running"])?.output()?;
        Ok((state.stdout == "running\n").then_some(()))
    })?;
    world.by_systemd(&["systemctl", "daemon-reload"]).ok()?;
    let script = "systemd-run --quiet --wait -p MemoryMax=32M -p Delegate=no true && \
                  systemctl is-system-running";
    let output = host.runtime(&["exec", "boot", "sh", "-c", script])?.output()?;
    ensure!(output.stdout == "running\n", "{output}");
    host.runtime(&["kill", "boot", "TERM"])?.ok()?;
    wait::until("systemd inside has ended", Duration::from_secs(60), || {
        let state = host.runtime(&["state", "boot"])?.ok()?;
        Ok(state.stdout.contains("\"stopped\"").then_some(()))
    })?;
    host.runtime(&["delete", "boot"])?.ok()?;
    host.is_gone("boot")
}

/// Somebody else's of the same name is not touched.
fn left(world: &World) -> Result<()> {
    let host = Host::new(world)?;
    let unit = host.unit("there");
    // It is in a cgroup of its own before the one that it was started in ends.
    let script = format!(
        "systemd-run -q --scope --unit {unit} sleep 300 > /dev/null 2>&1 & \
         until systemctl -q is-active {unit}; do sleep 0.1; done"
    );
    world.by_systemd(&["sh", "-c", &script]).ok()?;
    let create = host.create("there", &world.busybox()?, |_| ())?;
    ensure!(create.output()?.code() == 1);
    let wanted = format!(
        "isula-runtime: start unit {unit}: systemd has one of that name already; remove its \
         container, or end it: systemctl stop {unit}, and if it has failed: systemctl reset-failed \
         {unit}\n"
    );
    ensure!(host.said("there")? == wanted, "{}", host.said("there")?);
    ensure!(host.show("there", "ActiveState")? == "active");
    world.by_systemd(&["systemctl", "stop", &unit]).ok()?;
    create_is_fine_now(&host)
}

fn create_is_fine_now(host: &Host<'_>) -> Result<()> {
    std::fs::remove_dir_all(host.dir.join("bundle-there"))?;
    let create = host.create("there", &host.world.busybox()?, |_| ())?.output()?;
    ensure!(create.code() == 0, "{create}\n{}", host.said("there")?);
    host.runtime(&["delete", "--force", "there"])?.ok()?;
    host.is_gone("there")
}

/// The pids that it would name are other processes to systemd.
fn elsewhere(world: &World) -> Result<()> {
    let sockets = std::fs::read_to_string("/proc/net/unix")?;
    let before = sockets.lines().filter(|line| line.ends_with("/run/systemd/private")).count();
    let dir = world.new_directory("bundle")?;
    make_bundle(world, &dir, &world.busybox()?, "system.slice:story:two", |_| ())?;
    let call = world.program("isula-runtime").arg("--root").arg(world.path("oci"));
    let call = call.args(["--systemd-cgroup", "run", "--bundle"]).arg(&dir).arg("two");
    call.code(1)?.expect_stderr(
        "reach systemd at /run/systemd/private: this process is in another pid namespace; run it \
         on the host, or have the engine use cgroupfs",
    )?;
    // systemd has not always seen yet that we hung up.
    wait::until("systemd has closed the connection", Duration::from_secs(20), || {
        let sockets = std::fs::read_to_string("/proc/net/unix")?;
        let there = sockets.lines().filter(|line| line.ends_with("/run/systemd/private"));
        Ok((there.count() <= before).then_some(()))
    })
}

fn none(world: &World) -> Result<()> {
    // Whoever has one does not see it here.
    if Path::new("/run/systemd").exists() {
        world.mount("tmpfs", Path::new("/run/systemd"), "mode=755")?;
    }
    let dir = world.new_directory("bundle")?;
    make_bundle(world, &dir, &world.busybox()?, "system.slice:story:three", |_| ())?;
    let call = world.program("isula-runtime").arg("--root").arg(world.path("oci"));
    for manager in [&["--systemd-cgroup"][..], &["--cgroup-manager", "systemd"]] {
        let call = world.program("isula-runtime").arg("--root").arg(world.path("oci"));
        let call = call.args(manager).args(["run", "--bundle"]).arg(&dir).arg("three");
        call.code(1)?.expect_stderr(
            "reach systemd at /run/systemd/private: no such file or directory (ENOENT); the systemd \
             cgroup driver needs systemd as init; have the engine use cgroupfs",
        )?;
    }
    let without = call.args(["run", "--bundle"]).arg(&dir).arg("three");
    without.code(1)?.expect_stderr("names a unit of systemd; give --systemd-cgroup")?;
    Ok(())
}
