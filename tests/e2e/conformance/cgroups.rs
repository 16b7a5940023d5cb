//! config-linux.md, "Control groups" and what is below it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::World;
use tests::need::{CGROUP_V1, CGROUP_V2, IDMAP_TMPFS};

use super::{Row, Runtime, bundle, by, id, refused, same, says};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = places();
    rows.extend(resources());
    rows
}

fn places() -> Vec<Row> {
    vec![
        by("linux/50", "cgroupsPath: absolute MUST be relative to the mount point", absolute),
        by("linux/51", "cgroupsPath: the same value MUST lead to the same place", same_place),
        by(
            "linux/52",
            "a cgroup that is not fit, as processes live in it, MUST be an error",
            taken,
        )
        .not("runc", "1.1 warns")
        .not("crun", "it joins them"),
        by(
            "linux/53",
            "ownership: the delegated files alone, in a namespace of its own",
            ownership,
        )
        .needs(&[CGROUP_V2, IDMAP_TMPFS])
        .not_the_peers("they cannot show a rootfs of the host's root"),
        says(
            "linux/54",
            "resources.devices MUST be applied in the listed order",
            |c| no_devices(c, &[(11, true), (12, false), (11, false), (12, true)]),
            "head -c 1 /dev/no11 2>&1 | grep -c 'not permitted'; \
             head -c 1 /dev/no12 2>&1 | grep -c 'not permitted'",
            "1\n0\n",
        ),
        says(
            "linux/55",
            "a device that is not granted cannot be opened",
            |c| no_devices(c, &[]),
            "head -c 1 /dev/no11 2>&1 | grep -c 'not permitted'",
            "1\n",
        ),
    ]
}

/// Devices of no driver: who may open them is told that there are none, who may not that they may
/// not be opened. No runtime gives them unasked, and no capability is asked for.
fn no_devices(config: &mut Value, allowed: &[(u32, bool)]) {
    let node = |minor: u32| json!({ "type": "c", "path": format!("/dev/no{minor}"), "major": 240, "minor": minor });
    config["linux"]["devices"] = json!([node(11), node(12)]);
    let rule = |&(minor, allow): &(u32, bool)| json!({ "allow": allow, "type": "c", "major": 240, "minor": minor, "access": "r" });
    let rest = json!({ "allow": false, "access": "rwm" });
    config["linux"]["resources"]["devices"] =
        [rest].into_iter().chain(allowed.iter().map(rule)).collect();
}

fn resources() -> Vec<Row> {
    vec![
        by(
            "linux/60",
            "resources are in force: memory, cpu, pids, huge pages, block I/O",
            in_force,
        ),
        by(
            "linux/61",
            "memory.checkBeforeUpdate MUST reject a limit below what is used",
            check_before,
        )
        .not_the_peers("newer than they are on v1"),
        refused(
            "linux/62",
            "cpu.burst MUST be no larger than a positive quota",
            &[("linux.resources.cpu.burst", |c| {
                c["linux"]["resources"]["cpu"] =
                    json!({ "quota": 10_000, "period": 100_000, "burst": 20_000 });
            })],
        )
        .not("crun", "1.8 does not know it")
        .not("runc", "1.1 does not know it"),
        refused(
            "linux/63",
            "blockIO.weightDevice: weight or leafWeight MUST be given",
            &[("linux.resources.blockIO.weightDevice", |c| {
                c["linux"]["resources"]["blockIO"] =
                    json!({ "weightDevice": [{ "major": 7, "minor": 0 }] });
            })],
        )
        .not_the_peers("they take it"),
        refused(
            "linux/64",
            "rdma: hcaHandles or hcaObjects MUST be given",
            &[("linux.resources.rdma", |c| {
                c["linux"]["resources"]["rdma"] = json!({ "mlx5_1": {} });
            })],
        )
        .not_the_peers("they take it"),
        refused(
            "linux/65",
            "unified: a controller that is not there MUST be an error",
            &[("unified[\"nonsense.max\"]", |c| {
                c["linux"]["resources"]["unified"] = json!({ "nonsense.max": "1" });
            })],
        ),
        by(
            "linux/66",
            "unified MUST enable the controllers, and write files it does not know",
            unified,
        )
        .needs(&[CGROUP_V2]),
        refused(
            "linux/67",
            "on v2, what of v1 cannot be converted MUST be an error",
            &[("network", |c| {
                c["linux"]["resources"]["network"] = json!({ "classID": 1_048_577 });
            })],
        )
        .needs(&[CGROUP_V2])
        .not_the_peers("they ignore it"),
    ]
}

/// The cgroup of a process in the hierarchy of a controller, v2 where that has it; with its path
/// in the hierarchy.
fn cgroup_of(pid: i64, controller: &str) -> Result<(PathBuf, String)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let unified = CGROUP_V2.check().is_ok();
    let line = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        let is_it = match unified {
            true => names.is_empty(),
            false => names.split(',').any(|name| name == controller),
        };
        is_it.then(|| path.to_owned())
    });
    let path = line.with_context(|| format!("no cgroup for {controller} in {text}"))?;
    let tops = match unified {
        true => tests::need::mounted("cgroup2"),
        false => tests::need::mounted("cgroup"),
    };
    let dir = tops.iter().map(|top| top.join(path.trim_start_matches('/')));
    let file = if unified { "cgroup.procs".to_owned() } else { format!("{controller}.") };
    let dir = dir.filter(|dir| dir.is_dir()).find(|dir| {
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
        files.into_iter().any(|it| it.file_name().to_string_lossy().starts_with(&file))
    });
    Ok((dir.with_context(|| format!("no directory {path} of {controller}"))?, path))
}

fn absolute(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let id = id(world, &dir)?;
    let pid = runtime.started(&dir, &id)?;
    let name = dir.file_name().context("a name")?.to_string_lossy();
    let wanted = format!("/{}/{name}", world.name());
    for controller in ["memory", "pids", "devices"] {
        if CGROUP_V2.check().is_ok() || CGROUP_V1.check().is_ok() {
            let path = cgroup_of(pid, controller)?.1;
            ensure!(path == wanted, "{controller}: {path}, not {wanted}");
        }
    }
    runtime.remove(&id)
}

fn same_place(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let mut places = Vec::new();
    for _ in 0..2 {
        let dir = bundle(world, &["sleep", "1000"], |c| {
            c["linux"]["cgroupsPath"] = json!(format!("{}/here", world.name()));
        })?;
        let id = id(world, &dir)?;
        places.push(cgroup_of(runtime.started(&dir, &id)?, "memory")?);
        runtime.remove(&id)?;
    }
    ensure!(places[0] == places[1], "{places:?}");
    Ok(())
}

fn taken(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let first = bundle(world, &["sleep", "1000"], same)?;
    let first_id = id(world, &first)?;
    runtime.started(&first, &first_id)?;
    let path = super::rootfs(&first)?;
    ensure!(path.exists());
    let config: Value = serde_json::from_slice(&std::fs::read(first.join("config.json"))?)?;
    let second = bundle(world, &["true"], |c| {
        c["linux"]["cgroupsPath"] = config["linux"]["cgroupsPath"].clone();
    })?;
    let output = runtime.run(world, &second)?;
    ensure!(output.code() != 0, "two containers in one cgroup\n{output}");
    runtime.until(&first_id, "running")?;
    runtime.remove(&first_id)
}

fn ownership(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let dir = bundle(world, &["sleep", "1000"], |c| {
        for kind in ["cgroup", "user"] {
            super::drop_namespace(c, kind);
            super::push(c, "/linux/namespaces", json!({ "type": kind }));
        }
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
        c["linux"]["uidMappings"] = map.clone();
        c["linux"]["gidMappings"] = map;
        super::mount(
            c,
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                    "options": ["nosuid", "noexec", "nodev"] }),
        );
    })?;
    let id = id(world, &dir)?;
    let (cgroup, _) = cgroup_of(runtime.started(&dir, &id)?, "memory")?;
    let list = std::fs::read_to_string("/sys/kernel/cgroup/delegate")
        .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned());
    for entry in std::fs::read_dir(&cgroup)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            continue;
        }
        let wanted = if list.lines().any(|listed| listed == name) { 100_000 } else { 0 };
        let owner = entry.metadata()?.uid();
        ensure!(owner == wanted, "{name} belongs to {owner}, not {wanted}");
    }
    ensure!(std::fs::metadata(&cgroup)?.uid() == 100_000, "the directory is not the container's");
    runtime.remove(&id)
}

/// A file of a cgroup, and what it holds.
type Setting = (&'static str, &'static str);

/// A member, its controller, and the file of v1 and of v2.
const IN_FORCE: &[(&str, &str, Setting, Setting)] = &[
    ("/memory/limit", "memory", ("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")),
    (
        "/memory/reservation",
        "memory",
        ("memory.soft_limit_in_bytes", "33554432"),
        ("memory.low", "33554432"),
    ),
    ("/cpu/shares", "cpu", ("cpu.shares", "512"), ("cpu.weight", "20")),
    ("/cpu/quota", "cpu", ("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 50000")),
    ("/cpu/period", "cpu", ("cpu.cfs_period_us", "50000"), ("cpu.max", "20000 50000")),
    ("/cpu/cpus", "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ("/cpu/mems", "cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    ("/pids/limit", "pids", ("pids.max", "33"), ("pids.max", "33")),
];

fn in_force(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], |c| {
        c["linux"]["resources"]["memory"] =
            json!({ "limit": 67_108_864, "reservation": 33_554_432 });
        c["linux"]["resources"]["cpu"] = json!({ "shares": 512, "quota": 20_000,
            "period": 50_000, "cpus": "0", "mems": "0" });
        c["linux"]["resources"]["pids"] = json!({ "limit": 33 });
    })?;
    let id = id(world, &dir)?;
    let pid = runtime.started(&dir, &id)?;
    for (member, controller, v1, v2) in IN_FORCE {
        let (cgroup, _) = cgroup_of(pid, controller)?;
        let (file, wanted) = if CGROUP_V2.check().is_ok() { v2 } else { v1 };
        // The scale of cpu.weight changed in runc 1.3 and crun 1.23.
        let text = std::fs::read_to_string(cgroup.join(file)).context(*member)?;
        let right = text.trim() == *wanted || *file == "cpu.weight" && text.trim() != "100";
        ensure!(right, "{member}: {file} holds {text:?}, not {wanted}");
    }
    runtime.remove(&id)
}

fn check_before(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    // 20 MiB of its own, and then it says so.
    let script = "x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo > /ready; \
                  while :; do sleep 1; done";
    let dir = bundle(world, &["sh", "-c", script], same)?;
    let id = id(world, &dir)?;
    let (cgroup, _) = cgroup_of(runtime.started(&dir, &id)?, "memory")?;
    let ready = super::rootfs(&dir)?.join("ready");
    tests::wait::until("it has its memory", std::time::Duration::from_secs(20), || {
        Ok(ready.exists().then_some(()))
    })?;
    let resources = json!({ "memory": { "limit": 8_000_000, "checkBeforeUpdate": true } });
    let update = runtime.verb(&["update", "--resources", "-", &id]).stdin(resources.to_string());
    let output = update.output()?;
    ensure!(output.code() != 0, "{output}");
    let file = if CGROUP_V2.check().is_ok() { "memory.max" } else { "memory.limit_in_bytes" };
    let limit = std::fs::read_to_string(cgroup.join(file))?;
    ensure!(!limit.starts_with("79") && !limit.starts_with("80"), "the limit is {limit}");
    runtime.until(&id, "running")?;
    runtime.remove(&id)
}

fn unified(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], |c| {
        c["linux"]["resources"]["unified"] =
            json!({ "memory.high": "50331648", "pids.max": "44", "cgroup.max.depth": "7" });
    })?;
    let id = id(world, &dir)?;
    let (cgroup, _) = cgroup_of(runtime.started(&dir, &id)?, "memory")?;
    for (file, wanted) in
        [("memory.high", "50331648"), ("pids.max", "44"), ("cgroup.max.depth", "7")]
    {
        let text = std::fs::read_to_string(cgroup.join(file))?;
        ensure!(text.trim() == wanted, "{file} holds {text:?}, not {wanted}");
    }
    runtime.remove(&id)
}
