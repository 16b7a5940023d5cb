//! Commands at random, until the power is cut in the middle of one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::runner::say;

use crate::known::Known;
use crate::{FAILURE, HOOK_SPEC, agrees, isula, leave_word, tools};

const ROOTFS: &str = "/srv/busybox";
/// As many devices, paths, links and routes.
const PLACES: u64 = 3;
/// The power is cut this long after the first command of a boot at the latest.
const LONGEST: u64 = 6000;

pub(crate) fn prepare(control: &Path) -> Result<()> {
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(Path::new(ROOTFS).join(dir))?;
    }
    fs::copy("/bin/busybox", Path::new(ROOTFS).join("bin/busybox"))?;
    isula(&format!(
        "create --name cut --hook-spec {HOOK_SPEC} --external-rootfs {ROOTFS} none \
         /bin/busybox sleep 86400"
    ))?;
    isula("start cut")?;
    // A route leads through a link, which this one stays.
    tools("add-nic cut --type veth --bridge br0 --name h9:e9 --ip 192.168.3.99/24")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let seed = u64::try_from(now).unwrap_or(1) | 1;
    say(&format!("the dice begin with {seed}"));
    Known::new(seed).write(control)
}

pub(crate) fn until_cut(control: &Path) -> Result<()> {
    let mut known = Known::read(control)?;
    leave_word(control, "power-cut", &(known.roll(LONGEST) + 1).to_string())?;
    loop {
        if let Err(error) = step(&mut known, control) {
            leave_word(control, FAILURE, &format!("{error:#}"))?;
            return Err(error);
        }
    }
}

/// One command; what it reports is known at once.
fn step(known: &mut Known, control: &Path) -> Result<()> {
    let number = known.roll(PLACES);
    let what = match known.roll(10) {
        0..=2 => format!("/dev/n{number}"),
        3..=5 => format!("/data{number}"),
        6..=7 => format!("e{number}"),
        8 => "x0".to_owned(),
        _ => format!("10.10{number}.0.0/16"),
    };
    if known.roll(12) == 0 {
        isula("restart -t 0 cut")?;
    }
    let add = !known.recorded.contains(&what);
    known.pending = Some(what.clone());
    known.write(control)?;
    tools(&words(add, &what))?;
    known.pending = None;
    if add {
        known.recorded.insert(what)
    } else {
        known.recorded.remove(&what)
    };
    known.write(control)
}

/// The command that adds what is called so, or removes it.
fn words(add: bool, what: &str) -> String {
    let verb = if add { "add" } else { "remove" };
    let number = what.trim_start_matches(|c: char| !c.is_ascii_digit());
    match what.as_bytes()[0] {
        b'/' if what.starts_with("/dev") => format!("{verb}-device cut /dev/fuse:{what}"),
        b'/' => format!("{verb}-path cut /srv/data:{what}"),
        b'1' => format!(r#"{verb}-route cut [{{"dest":"{what}","dev":"e9"}}]"#),
        b'e' if add => format!(
            "add-nic cut --type veth --bridge br0 --name h{number}:e{number} --ip 192.168.3.1{number}/24"
        ),
        b'x' if add => "add-nic cut --type eth --name p0:x0 --ip 10.6.0.2/24".to_owned(),
        _ => format!("remove-nic cut --name {what}"),
    }
}

/// Record and report agree, the container starts, and has what is recorded and nothing else.
pub(crate) fn after(control: &Path) -> Result<()> {
    let mut known = Known::read(control)?;
    let recorded = recorded()?;
    let mut doubtful: BTreeSet<_> = recorded.symmetric_difference(&known.recorded).collect();
    if let Some(pending) = &known.pending {
        say(&format!("cut while it was about to change {pending}"));
        doubtful.remove(pending);
    }
    ensure!(
        doubtful.is_empty(),
        "reported {:?} and then nothing of {:?}; recorded {recorded:?}",
        known.recorded,
        known.pending
    );
    let state = isula("inspect -f {{.State.Status}} cut")?;
    ensure!(state.trim() == "exited", "nothing of it runs: {state}");
    isula("start cut")?;
    agrees("cut")?;
    let live = live()?;
    ensure!(live == recorded, "recorded {recorded:?}, there {live:?}");
    let inspect: Value = serde_json::from_str(&tools("inspect cut")?)?;
    ensure!(inspect["interrupted"] == false, "nothing is left half done: {inspect}");
    known.recorded = recorded;
    known.pending = None;
    known.write(control)
}

pub(crate) fn end() -> Result<()> {
    for what in recorded()? {
        tools(&words(false, &what))?;
    }
    tools("remove-nic cut --name e9")?;
    ensure!(recorded()?.is_empty() && live()?.is_empty(), "nothing is left");
    isula("rm -f cut")?;
    let left: Vec<PathBuf> = ["/var/lib/isulad/engines/isula", "/run/isulad-tools"]
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn recorded() -> Result<BTreeSet<String>> {
    let list = |kind: &str| -> Result<Vec<Value>> {
        Ok(serde_json::from_str(&tools(&format!("list-{kind} cut"))?)?)
    };
    let mut found = BTreeSet::new();
    for (kind, member) in [("device", "PathInContainer"), ("nic", "CtrNicName"), ("route", "dest")]
    {
        found.extend(list(kind)?.iter().filter_map(|one| Some(one[member].as_str()?.to_owned())));
    }
    for path in list("path")? {
        found.extend(path.as_str().and_then(|path| path.split(':').nth(1)).map(str::to_owned));
    }
    found.remove("e9");
    Ok(found)
}

/// What is in the container, seen from the host.
fn live() -> Result<BTreeSet<String>> {
    let pid = isula("inspect -f {{.State.Pid}} cut")?;
    let proc = PathBuf::from("/proc").join(pid.trim());
    let read = |file: &str| {
        fs::read_to_string(proc.join(file)).with_context(|| format!("read {file} of {pid}"))
    };
    let (mounts, links, routes) = (read("mountinfo")?, read("net/dev")?, read("net/route")?);
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(proc.join("root/dev"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('n') && name.len() == 2 {
            found.insert(format!("/dev/{name}"));
        }
    }
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| point.starts_with("/data")) {
        ensure!(found.insert(point.to_owned()), "{point} is mounted twice");
    }
    let names = links.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    found.extend(
        names.filter(|name| name.starts_with(['e', 'x']) && *name != "e9").map(str::to_owned),
    );
    for number in 0..PLACES {
        // The destination in the order of its bytes, 10.10N.0.0.
        if routes.contains(&format!("\t0000{:02X}0A\t", 100 + number)) {
            found.insert(format!("10.10{number}.0.0/16"));
        }
    }
    Ok(found)
}
