//! Putting device rules into force: the v1 controller where the host has it, else a v2 program.
//!
//! v2: programs of a cgroup must all agree, so a second one could only take away; the one that is
//! there is replaced in one step, and every process below sees it at once. v1: what is allowed at
//! the top does not reach cgroups that exist below, each is written, parents first as a child may
//! not have more; what is denied at the top does (cgroup-v1/devices.rst, "Hierarchy").

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::devices::{DeviceRule, DeviceRules};
use super::exceptions::Exceptions;
use super::kernfs::{read_text, set, set_each};
use super::{Cgroup, program, tree};
use crate::error::{Change, Context, Errno, Error, Result};
use crate::raw::bpf;

/// What `bpftool prog` shows.
const PROGRAM_NAME: &std::ffi::CStr = c"isula_devices";
/// Others may attach and replace programs between our looking and our acting.
const ATTEMPTS: usize = 5;

/// The device access of one cgroup.
#[derive(Debug, Clone, Copy)]
pub struct Devices<'a>(&'a Cgroup);

impl Cgroup {
    /// Its device access.
    pub fn devices(&self) -> Devices<'_> {
        Devices(self)
    }
}

impl Devices<'_> {
    /// Puts `rules` in force in the place of what is, for running processes too. What old and new
    /// rules both allow is allowed all the time; only a v1 cgroup that could use every device goes
    /// through a moment of none.
    ///
    /// The whole list is needed: a v2 program cannot be read back.
    pub fn set(&self, rules: &DeviceRules) -> Result<Change> {
        if let Some(dir) = self.0.controller_dir("devices") {
            return set_v1(dir, &Exceptions::from_rules(rules)?);
        }
        match self.0.unified_dir() {
            Some(dir) => set_v2(dir, rules),
            None => Err(Error::new("set device rules", Errno::OPNOTSUPP)
                .with_hint("mount the v1 devices controller or cgroup2")),
        }
    }
}

impl Devices<'_> {
    /// Grants `rule`, for running processes too, where device access is guarded at all. `all` are
    /// the rules with it in them, for a program that has to be written anew.
    ///
    /// What other rules were put in force meanwhile stays on v1 and is lost on v2, whose program
    /// cannot be read.
    pub fn grant(&self, rule: &DeviceRule, all: &DeviceRules) -> Result<Change> {
        if let Some(dir) = self.0.controller_dir("devices") {
            return grant_v1(dir, rule);
        }
        self.rewrite(all)
    }

    /// Takes back what `rule` granted, but for what `rest`, the rules without it, grant as well.
    pub fn withdraw(&self, rule: &DeviceRule, rest: &DeviceRules) -> Result<Change> {
        let Some(dir) = self.0.controller_dir("devices") else {
            return self.rewrite(rest);
        };
        let (Some(major), Some(minor)) = (rule.major, rule.minor) else {
            return Err(Error::new(format!("withdraw device rule \"{rule}\""), Errno::INVAL)
                .with_hint("name one device"));
        };
        let kept = rest.granted(rule.kind, major, minor, rule.access);
        let access = rule.access.without(kept);
        let list = read_list(dir)?;
        if access.is_empty() || list.default_allow {
            return Ok(Change::AlreadyThere);
        }
        // Down the tree, too (cgroup-v1/devices.rst, "Hierarchy").
        write_rules(dir, "devices.deny", &[DeviceRule { access, ..*rule }.to_string()])?;
        Ok(Change::Made)
    }

    /// Whether `rule` is in force; `None` where that cannot be asked: a program cannot be read.
    pub fn lets_through(&self, rule: &DeviceRule) -> Result<Option<bool>> {
        match self.0.controller_dir("devices") {
            Some(dir) => Ok(Some(read_list(dir)?.lets_through(rule))),
            None => Ok(None),
        }
    }

    /// Whether a program guards the devices, which cannot be read back.
    pub fn is_program(&self) -> Result<bool> {
        match (self.0.controller_dir("devices"), self.0.unified_dir()) {
            (None, Some(dir)) => Ok(!programs(dir)?.is_empty()),
            _ => Ok(false),
        }
    }

    /// Replaces a program that is there; where there is none, nothing is guarded.
    fn rewrite(&self, rules: &DeviceRules) -> Result<Change> {
        let Some(dir) = self.0.unified_dir() else { return self.set(rules) };
        if programs(dir)?.is_empty() { Ok(Change::AlreadyThere) } else { set_v2(dir, rules) }
    }
}

/// In the cgroup and each below it, also if the first has it already: whoever gave it that may not
/// have come further.
fn grant_v1(dir: &Path, rule: &DeviceRule) -> Result<Change> {
    let line = [rule.to_string()];
    let list = read_list(dir)?;
    if list.default_allow {
        return Ok(Change::AlreadyThere);
    }
    let new = Exceptions::from_rules(&DeviceRules::new(vec![*rule]))?.lines_beyond(&list);
    if !new.is_empty() {
        write_rules(dir, "devices.allow", &line)?;
    }
    tree::visit(dir, &mut |dir| allow_in(dir, &line)).inspect_err(|_| {
        for line in new.chunks(1) {
            // The first failure is the one to report. Down the tree, too.
            let _ = write_rules(dir, "devices.deny", line);
        }
    })?;
    Ok(if new.is_empty() { Change::AlreadyThere } else { Change::Made })
}

fn read_list(dir: &Path) -> Result<Exceptions> {
    let list = dir.join("devices.list");
    let text = read_text(&list).during(|| format!("read {}", list.display()))?;
    let unknown = || Error::new(format!("understand {}", list.display()), Errno::BADMSG);
    Exceptions::from_list(&text).ok_or_else(unknown)
}

fn programs(dir: &Path) -> Result<Vec<u32>> {
    open_dir(dir)
        .and_then(|cgroup| bpf::attached(cgroup.as_fd()))
        .during(|| format!("list device programs of {}", dir.display()))
}

fn open_dir(dir: &Path) -> rustix::io::Result<std::os::fd::OwnedFd> {
    rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn set_v1(dir: &Path, wanted: &Exceptions) -> Result<Change> {
    let current = read_list(dir)?;
    if wanted.default_allow || current.default_allow {
        // Refused with EINVAL once there are cgroups below.
        let (whole, parts) = match wanted.default_allow {
            true => ("devices.allow", "devices.deny"),
            false => ("devices.deny", "devices.allow"),
        };
        set(&dir.join(whole), "a")?;
        write_rules(dir, parts, &wanted.lines_beyond(&Exceptions::default()))?;
        return Ok(Change::Made);
    }
    let (more, less) = (wanted.lines_beyond(&current), current.lines_beyond(wanted));
    write_rules(dir, "devices.allow", &more)?;
    if !more.is_empty() {
        tree::visit(dir, &mut |dir| allow_in(dir, &more))?;
    }
    write_rules(dir, "devices.deny", &less)?;
    Ok(if more.is_empty() && less.is_empty() { Change::AlreadyThere } else { Change::Made })
}

fn write_rules(dir: &Path, file: &str, lines: &[String]) -> Result<()> {
    set_each(&dir.join(file), lines).map_err(|error| match error.errno() {
        Errno::PERM => error.with_hint("the cgroup's parent does not allow that device"),
        _ => error,
    })
}

fn allow_in(dir: BorrowedFd<'_>, lines: &[String]) -> rustix::io::Result<()> {
    let file = tree::open_file(dir, c"devices.allow", OFlags::WRONLY)?;
    for line in lines {
        rustix::io::retry_on_intr(|| rustix::io::write(&file, line.as_bytes()))?;
    }
    Ok(())
}

fn set_v2(dir: &Path, rules: &DeviceRules) -> Result<Change> {
    let cgroup = open_dir(dir).during(|| format!("open {}", dir.display()))?;
    let program = bpf::load_device_program(&program::assemble(rules), PROGRAM_NAME)
        .during(|| "load device program")
        .map_err(|error| match error.errno() {
            Errno::PERM => error.with_hint("CAP_BPF or CAP_SYS_ADMIN is needed"),
            Errno::INVAL | Errno::NOSYS => error.with_hint("the kernel needs CONFIG_CGROUP_BPF"),
            _ => error,
        })?;
    let mut attempts = 0;
    loop {
        let result = put(cgroup.as_fd(), program.as_fd());
        attempts += 1;
        match result {
            // The program we meant to replace is gone.
            Err(Errno::NOENT) if attempts < ATTEMPTS => {}
            result => {
                return result
                    .during(|| format!("attach device program to {}", dir.display()))
                    .map_err(|error| match error.errno() {
                        Errno::NOTUNIQ => error.with_hint(
                            "several of our programs are attached; see bpftool cgroup show",
                        ),
                        _ => error,
                    });
            }
        }
    }
}

/// Replaces our program, or the only one there is, which a runtime put there.
fn put(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> rustix::io::Result<Change> {
    let mut attached = Vec::new();
    for id in bpf::attached(cgroup)? {
        let fd = bpf::open(id)?;
        let info = bpf::info(fd.as_fd())?;
        attached.push((fd, info));
    }
    let new = bpf::info(program)?;
    if attached.len() > 1 {
        attached.retain(|(_, info)| info.name == new.name);
    }
    match attached.as_slice() {
        [] => bpf::attach(cgroup, program, None)?,
        [(_, info)] if info.tag == new.tag => return Ok(Change::AlreadyThere),
        [(old, _)] => bpf::attach(cgroup, program, Some(old.as_fd()))?,
        _ => return Err(Errno::NOTUNIQ),
    }
    Ok(Change::Made)
}
