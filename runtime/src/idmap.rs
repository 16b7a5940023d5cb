//! Id maps: of the container's user namespace, and of mounts that show other ids.

use linux::ns::{Kind, Namespace};
use linux::process::Pid;
use linux::signal::Signal;
use linux::{CloneFlags, Forked};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder};

use crate::error::During as _;
use crate::handshake::{Channel, Message};
use crate::{Error, Result};

/// The kernel takes this many lines (user_namespaces(7)).
const MAX_LINES: usize = 340;

/// The two maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMaps {
    uids: Vec<LinuxIdMapping>,
    gids: Vec<LinuxIdMapping>,
}

impl IdMaps {
    /// The maps of `linux`, which makes a user namespace.
    pub(crate) fn of(linux: &Linux) -> Result<Self> {
        let list = |list: &Option<Vec<LinuxIdMapping>>| list.clone().unwrap_or_default();
        Self::checked("linux", list(linux.uid_mappings()), list(linux.gid_mappings()))
    }

    /// The maps named `<member>.uidMappings` and `<member>.gidMappings`.
    pub(crate) fn checked(
        member: &str,
        uids: Vec<LinuxIdMapping>,
        gids: Vec<LinuxIdMapping>,
    ) -> Result<Self> {
        check(&uids).map_err(|reason| Error::config(format!("{member}.uidMappings"), reason))?;
        check(&gids).map_err(|reason| Error::config(format!("{member}.gidMappings"), reason))?;
        Ok(Self { uids, gids })
    }

    /// The maps of a user namespace that is there already, as the host sees them: of a process that
    /// enters it and waits.
    pub(crate) fn of_namespace(namespace: &Namespace) -> Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        match linux::fork(CloneFlags::empty(), None)? {
            Forked::Child => {
                let answer = match namespace.enter() {
                    Ok(()) => Message::Proceed,
                    Err(error) => Message::failed(&error.into()),
                };
                let _ = theirs.send(&answer);
                wait_for_the_end()
            }
            Forked::Parent { pid, pidfd } => {
                drop(theirs);
                let maps = Self::of_visitor(&ours, pid);
                pidfd.signal(Signal::KILL)?;
                pidfd.wait()?;
                maps.step(|| "read the id maps of the user namespace".into())
            }
        }
    }

    fn of_visitor(channel: &Channel, pid: Pid) -> Result<Self> {
        if let Some((Message::Failed { kind, text }, _)) = channel.receive()? {
            return Err(Error::Child { kind, text });
        }
        let read = |file: &str| -> Result<Vec<LinuxIdMapping>> {
            Ok(parse(&linux::file::read_to_string(format!("/proc/{pid}/{file}"))?))
        };
        Self::checked("linux", read("uid_map")?, read("gid_map")?)
    }

    /// Host uid of the container's `uid`.
    pub(crate) fn host_uid(&self, uid: u32) -> Option<u32> {
        to_host(&self.uids, uid)
    }

    /// Host gid of the container's `gid`.
    pub(crate) fn host_gid(&self, gid: u32) -> Option<u32> {
        to_host(&self.gids, gid)
    }

    /// Some container id stands for this host pair.
    pub(crate) fn covers(&self, uid: u32, gid: u32) -> bool {
        let within = |maps: &[LinuxIdMapping], id: u32| {
            maps.iter().any(|map| id.checked_sub(map.host_id()).is_some_and(|n| n < map.size()))
        };
        within(&self.uids, uid) && within(&self.gids, gid)
    }

    /// Writes the maps of the new user namespace that `pid` is the first process of.
    ///
    /// Written by the host's root, so setgroups(2) may stay allowed (user_namespaces(7)).
    pub(crate) fn write(&self, pid: Pid) -> Result<()> {
        for (file, maps) in [("uid_map", &self.uids), ("gid_map", &self.gids)] {
            linux::file::write(format!("/proc/{pid}/{file}"), text(maps))?;
        }
        Ok(())
    }

    /// A user namespace with these maps that has no process: what an idmapped mount refers to.
    pub(crate) fn namespace(&self) -> Result<Namespace> {
        match linux::fork(CloneFlags::NEWUSER, None)? {
            Forked::Child => wait_for_the_end(),
            Forked::Parent { pid, pidfd } => {
                let made = self.write(pid).and_then(|()| Ok(Namespace::of_pid(pid, Kind::User)?));
                pidfd.signal(Signal::KILL)?;
                pidfd.wait()?;
                made.step(|| "make a user namespace for an idmapped mount".into())
            }
        }
    }
}

/// Until our parent kills us, or dies.
fn wait_for_the_end() -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    loop {
        rustix::event::pause();
    }
}

/// Lines of /proc/PID/uid_map; what has no three numbers is none.
fn parse(text: &str) -> Vec<LinuxIdMapping> {
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
            let mut next = || numbers.next()?.ok();
            LinuxIdMappingBuilder::default()
                .container_id(next()?)
                .host_id(next()?)
                .size(next()?)
                .build()
                .ok()
        })
        .collect()
}

/// The text for /proc/PID/uid_map.
fn text(maps: &[LinuxIdMapping]) -> String {
    maps.iter()
        .map(|map| format!("{} {} {}\n", map.container_id(), map.host_id(), map.size()))
        .collect()
}

fn to_host(maps: &[LinuxIdMapping], id: u32) -> Option<u32> {
    maps.iter().find_map(|map| {
        let offset = id.checked_sub(map.container_id()).filter(|&offset| offset < map.size())?;
        map.host_id().checked_add(offset)
    })
}

/// Says before the kernel's bare EINVAL does what is wrong with a map.
fn check(maps: &[LinuxIdMapping]) -> Result<(), String> {
    if maps.is_empty() {
        return Err("is missing; a user namespace needs at least the container's root".into());
    }
    if maps.len() > MAX_LINES {
        return Err(format!("has {} entries; the kernel takes {MAX_LINES}", maps.len()));
    }
    for (index, map) in maps.iter().enumerate() {
        if map.size() == 0 {
            return Err(format!("entry {index} maps no id; give it a size"));
        }
        for (name, first) in [("containerID", map.container_id()), ("hostID", map.host_id())] {
            if first.checked_add(map.size()).is_none() {
                return Err(format!("entry {index} goes beyond the last id: {name} + size"));
            }
        }
        let overlaps = |a: u32, b: u32, size_a: u32, size_b: u32| a < b + size_b && b < a + size_a;
        for (other_index, other) in maps[..index].iter().enumerate() {
            let (size, other_size) = (map.size(), other.size());
            if overlaps(map.container_id(), other.container_id(), size, other_size)
                || overlaps(map.host_id(), other.host_id(), size, other_size)
            {
                return Err(format!("entries {other_index} and {index} overlap"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
