//! From figures to files: every one in raw.csv, medians and ratios in summary.md, the machine and
//! the command in README.md.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

#[derive(Default)]
pub(crate) struct Results {
    rows: Vec<Row>,
}

struct Row {
    work: &'static str,
    round: u32,
    peer: &'static str,
    value: f64,
}

/// Ratios are to these two, in the same round.
const PEER: &str = "crun";
const FLOOR: &str = "floor";

impl Results {
    pub(crate) fn add(
        &mut self,
        round: u32,
        peer: &'static str,
        figures: Vec<(&'static str, f64)>,
    ) {
        self.rows.extend(figures.into_iter().map(|(work, value)| Row { work, round, peer, value }));
    }

    pub(crate) fn write(&self, what: &str, directory: &Path, command: &str) -> Result<()> {
        let shown = directory.display();
        std::fs::create_dir_all(directory).with_context(|| format!("make {shown}"))?;
        for (name, text) in [
            ("raw.csv", self.raw()),
            ("summary.md", self.summary()),
            ("README.md", readme(what, command)),
        ] {
            std::fs::write(directory.join(name), text)
                .with_context(|| format!("write {shown}/{name}"))?;
        }
        Ok(())
    }

    fn raw(&self) -> String {
        let mut text = String::from("work,round,peer,value\n");
        for row in &self.rows {
            let _ = writeln!(text, "\"{}\",{},{},{:.4}", row.work, row.round, row.peer, row.value);
        }
        text
    }

    fn summary(&self) -> String {
        let mut works: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !works.contains(&row.work) {
                works.push(row.work);
            }
        }
        let mut text = String::from(
            "# Summary\n\nMilliseconds of whole command lines unless the row says KiB. `x` is the median of \
             the ratios to\nthat one in the same round; floor is what the kernel takes by itself.\n",
        );
        for work in works {
            let _ = write!(
                text,
                "\n## {work}\n\n| | median | min | max | rounds | x {PEER} | x {FLOOR} |\n\
                 |---|---|---|---|---|---|---|\n"
            );
            let peers: BTreeSet<&str> =
                self.rows.iter().filter(|row| row.work == work).map(|row| row.peer).collect();
            for peer in peers {
                let values = self.values(work, peer);
                let to = |reference: &str| {
                    let ratio = self.ratio(work, peer, reference);
                    ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"))
                };
                let _ = writeln!(
                    text,
                    "| {peer} | {:.2} | {:.2} | {:.2} | {} | {} | {} |",
                    median(&values),
                    values.iter().copied().fold(f64::INFINITY, f64::min),
                    values.iter().copied().fold(0.0, f64::max),
                    values.len(),
                    to(PEER),
                    to(FLOOR),
                );
            }
        }
        text
    }

    fn values(&self, work: &str, peer: &str) -> Vec<f64> {
        let rows = self.rows.iter().filter(|row| row.work == work && row.peer == peer);
        rows.map(|row| row.value).collect()
    }

    /// The median over rounds of this peer's median in a round to that of `reference`.
    fn ratio(&self, work: &str, peer: &str, reference: &str) -> Option<f64> {
        let of = |peer: &str, round: u32| {
            let rows = self
                .rows
                .iter()
                .filter(|row| row.work == work && row.peer == peer && row.round == round);
            let values: Vec<f64> = rows.map(|row| row.value).collect();
            (!values.is_empty()).then(|| median(&values))
        };
        let rounds: BTreeSet<u32> = self.rows.iter().map(|row| row.round).collect();
        let ratios =
            rounds.into_iter().filter_map(|round| Some(of(peer, round)? / of(reference, round)?));
        let ratios: Vec<f64> = ratios.collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

const START: &str =
    "Every peer does the same work once a round, in changing order, in a mount and network
namespace of its own; their answers were compared first. The runtimes get the same bundle.
`isula` is the engine: a supervised container with a log. What lives for a boot is on a tmpfs, as in
/run; bundles, containers and logs are on the disk. crun sees an empty `cgroup.controllers` on a
hybrid host, as it refuses to run otherwise. `floor` makes the same namespaces, mounts and cgroups and
does nothing else: it is not a runtime, but shows what of a time is the kernel's.";
const HOTPLUG: &str =
    "Each figure is one command line to its end, on a running busybox container with hooks; a veth
goes into a bridge, with an address, and up. lxc-device does the same with a container of LXC, where
it is installed. `floor` puts the node and its rules, or the mount, into a container of its own and
replaces and syncs a file of a record's size, and does nothing else. Records are on a tmpfs: what a
disk takes to make one last is in no figure.";

fn readme(what: &str, command: &str) -> String {
    let (title, how) = match what {
        "hotplug" => ("Hot-plug", HOTPLUG),
        _ => ("Start, exec, boot and stop", START),
    };
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.as_deref().and_then(|text| text.lines().next()).unwrap_or("not there").to_owned()
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo").lines().next().unwrap_or_default().to_owned();
    let version1 = ::tests::need::mounted("cgroup").len();
    let version2 = ::tests::need::mounted("cgroup2").len();
    format!(
        "# {title}\n\n    {command}\n\n\
         | | |\n|---|---|\n| commit | {} |\n| date | {} |\n| kernel | {} |\n| processors | {} |\n\
         | memory | {memory} |\n| cgroups | {version1} v1 hierarchies, {version2} v2 |\n\
         | load before the end | {} |\n| crun | {} |\n| runc | {} |\n\n\
         {how} Results are in\n\
         [summary.md](summary.md), every figure in [raw.csv](raw.csv).\n",
        said("git", &["-c", "safe.directory=*", "rev-parse", "--short", "HEAD"]),
        said("date", &["-u", "+%F %H:%M"]),
        said("uname", &["-srm"]),
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        read("/proc/loadavg").trim(),
        said("crun", &["--version"]),
        said("runc", &["--version"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let mut results = Results::default();
        // The machine is three times slower in the second round, for both alike.
        for (round, crun, ours) in [(0, 10.0, 5.0), (1, 30.0, 15.0), (2, 10.0, 4.0)] {
            results.add(round, "crun", vec![("run", crun)]);
            results.add(round, "ours", vec![("run", ours)]);
        }
        assert_eq!(results.ratio("run", "ours", "crun"), Some(0.5));
        assert_eq!(results.ratio("run", "nobody", "crun"), None);
        assert!(results.summary().contains("| ours | 5.00 | 4.00 | 15.00 | 3 | 0.50 | - |"));
    }

    #[test]
    fn the_median_of_an_even_count_is_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
