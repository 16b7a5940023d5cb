//! Containers with a subtree of their own: `containers/ID`, made when one is attached.
//!
//! Each has a slot, the part of its inode numbers that is its own and never another's. What is
//! known of it is a file in the runtime directory, one a container, written by the worker alone,
//! so that a successor has the same containers under the same numbers.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use linux::{Errno, process::Pid};
use serde::{Deserialize, Serialize};

use crate::{container::Container, server::Server};

/// Longest id: what a directory entry may be, less the suffix of our file.
const ID_MAX: usize = 250;

/// The file of one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attachment {
    slot: u32,
    pid: i32,
    /// Clock ticks since boot, from `/proc/PID/stat`: a pid alone may be another's by now.
    start_time: u64,
}

/// The containers by slot and by id.
#[derive(Debug)]
pub struct Attached {
    dir: PathBuf,
    slots: RwLock<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_slot: HashMap<u32, Arc<Container>>,
    by_id: HashMap<String, u32>,
}

impl Attached {
    /// None yet; `dir` is where their files are.
    pub fn new(dir: PathBuf) -> Attached {
        Attached { dir, slots: RwLock::default() }
    }

    /// Takes over what a predecessor left. Files of containers that are gone are removed.
    pub fn restore(&self, server: &Server) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if let Err(cause) = self.restore_one(server, &id, &path) {
                tracing::warn!(container = id, cause = %cause, "attachment dropped");
                self.remove_file(&id);
            }
        }
    }

    fn restore_one(&self, server: &Server, id: &str, path: &Path) -> linux::Result<()> {
        let call = || format!("restore {}", path.display());
        let text = linux::file::read(path)?;
        let attachment: Attachment =
            serde_json::from_slice(&text).map_err(|_| linux::Error::new(call(), Errno::BADMSG))?;
        let pid = Pid::new(attachment.pid)
            .filter(|pid| linux::process::start_time(*pid).ok() == Some(attachment.start_time))
            .ok_or_else(|| linux::Error::new(call(), Errno::SRCH))?;
        let container = self.container(server, id, pid, attachment.slot)?;
        self.insert(id, attachment.slot, container);
        Ok(())
    }

    /// Gives the container `id`, whose init is `pid`, a subtree. One that is there already for the
    /// same init stays as it is.
    pub fn attach(&self, server: &Server, id: &str, pid: Pid) -> linux::Result<Arc<Container>> {
        if !is_valid(id) {
            return Err(linux::Error::new(format!("attach container \"{id}\""), Errno::INVAL)
                .with_hint("an id has letters, digits, \"_\", \".\" and \"-\" only"));
        }
        let start_time = linux::process::start_time(pid)?;
        if let Some(known) = self.by_id(id)
            && known.init == pid
            && known.key.start == start_time.saturating_mul(10_000)
            && known.is_alive()
        {
            return Ok(known);
        }
        let slot = u32::try_from(server.state.next_slot()?)
            .map_err(|_| linux::Error::new("number a container", Errno::OVERFLOW))?;
        let container = self.container(server, id, pid, slot)?;
        let attachment = Attachment { slot, pid: pid.get(), start_time };
        let text = serde_json::to_vec(&attachment)
            .map_err(|_| linux::Error::new(format!("record container {id}"), Errno::INVAL))?;
        // The file first: a worker that dies in between leaves a subtree its successor knows.
        linux::file::write_atomic(self.file(id), &text, 0o600)?;
        Ok(self.insert(id, slot, container))
    }

    fn container(
        &self,
        server: &Server,
        id: &str,
        pid: Pid,
        slot: u32,
    ) -> linux::Result<Container> {
        let settings = server.config.of(id);
        // Slots are small numbers, pid namespaces large ones: the keys of both never meet.
        Container::new(pid, u64::from(slot), id.into(), settings)
    }

    fn insert(&self, id: &str, slot: u32, container: Container) -> Arc<Container> {
        let container = Arc::new(container);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.by_slot.insert(slot, Arc::clone(&container));
        if let Some(old) = slots.by_id.insert(id.into(), slot) {
            slots.by_slot.remove(&old);
        }
        container
    }

    /// Takes the subtree of `id` away.
    pub fn detach(&self, id: &str) -> Option<Arc<Container>> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.by_id.remove(id)?;
        let container = slots.by_slot.remove(&slot);
        drop(slots);
        self.remove_file(id);
        container
    }

    /// Takes the subtrees of containers that ended away; they are returned.
    pub fn sweep(&self) -> Vec<Arc<Container>> {
        let gone: Vec<_> =
            self.all().into_iter().filter(|container| !container.is_alive()).collect();
        for container in &gone {
            // One that was attached again meanwhile has the id for a new init.
            if self.by_id(&container.name).is_some_and(|known| Arc::ptr_eq(&known, container)) {
                self.detach(&container.name);
            }
        }
        gone
    }

    /// The container of a slot.
    pub fn by_slot(&self, slot: u32) -> Option<Arc<Container>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.by_slot.get(&slot).cloned()
    }

    /// Its slot, by id.
    pub fn slot(&self, id: &str) -> Option<u32> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).copied()
    }

    fn by_id(&self, id: &str) -> Option<Arc<Container>> {
        self.by_slot(self.slot(id)?)
    }

    /// Id and slot of each.
    pub fn ids(&self) -> Vec<(String, u32)> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.by_id.iter().map(|(id, slot)| (id.clone(), *slot)).collect()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Container>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.by_slot.values().cloned().collect()
    }

    fn file(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn remove_file(&self, id: &str) {
        // Gone already is as good; anything else is tried again by the next sweep's restart.
        let _ = rustix::fs::unlink(self.file(id));
    }
}

/// Whether an id can be a directory entry and a part of a path of ours.
pub fn is_valid(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !id.is_empty() && id.len() <= ID_MAX && !id.starts_with('.') && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn ids_cannot_leave_their_directory() {
        assert!(is_valid("web1") && is_valid(&"a".repeat(64)));
        for id in ["", ".", "..", "a/b", "a b", "\n", &"a".repeat(300)] {
            assert!(!is_valid(id), "{id}");
        }
    }
}
