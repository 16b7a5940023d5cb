//! Who has which address of which bridge, and which ports of the host lead there: one file for each
//! address, `<state>/networks/<bridge>/<address>`, all changed under one lock.
//!
//! ```text
//! 3f2a9c...                       the container's id
//! 80/tcp 127.0.0.1:8080           a port of it, and what of the host leads there
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use container::config::PublishedPort;
use container::{ContainerId, Layout, Store};
use linux::lock::Lock;

/// All of them, for as long as nobody else may change them.
#[derive(Debug)]
pub(super) struct Leases {
    directory: PathBuf,
    store: Store,
    pub(super) lock: Lock,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) bridge: String,
    pub(super) address: Ipv4Addr,
    pub(super) id: ContainerId,
    pub(super) ports: Vec<PublishedPort>,
}

impl Leases {
    pub(super) fn open(layout: &Layout) -> Result<Self> {
        let directory = layout.networks();
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let lock = Lock::exclusive(directory.join(".lock"))?;
        Ok(Self { directory, store: Store::new(layout.root(), layout.state()), lock })
    }

    /// Those on `bridge` whose containers live. What a killed shim left is free again.
    pub(super) fn on(&self, bridge: &str) -> Result<Vec<Entry>> {
        let mut entries = self.written(bridge)?;
        entries.retain(|entry| self.lives(&entry.id));
        Ok(entries)
    }

    /// Those whose containers live.
    pub(super) fn all(&self) -> Result<Vec<Entry>> {
        let mut entries = vec![];
        for bridge in list(&self.directory)? {
            entries.extend(self.on(&bridge)?);
        }
        entries.sort_by(|a, b| (&a.bridge, a.address).cmp(&(&b.bridge, b.address)));
        Ok(entries)
    }

    /// What was written last for a container, whether it lives or not.
    pub(super) fn of(&self, bridge: &str, id: &ContainerId) -> Result<Option<Entry>> {
        Ok(self.written(bridge)?.into_iter().find(|entry| entry.id == *id))
    }

    /// Writes `entry` in the place of what its container had on the bridge, and of what a container
    /// that has gone left there. Whether ports lead to the address, or led there.
    pub(super) fn put(&self, entry: &Entry) -> Result<bool> {
        let mut before = self.written(&entry.bridge)?;
        before.retain(|other| other.address == entry.address || other.id == entry.id);
        let published = before.iter().chain([entry]).any(|entry| !entry.ports.is_empty());
        self.remove(&entry.bridge, &entry.id)?;
        let directory = self.directory.join(&entry.bridge);
        let act = || format!("write {}/{}", directory.display(), entry.address);
        fs::create_dir_all(&directory).with_context(act)?;
        fs::write(directory.join(entry.address.to_string()), text(entry)).with_context(act)?;
        Ok(published)
    }

    /// Takes away what a container had on the bridge, and returns it.
    pub(super) fn remove(&self, bridge: &str, id: &ContainerId) -> Result<Option<Entry>> {
        let entry = self.of(bridge, id)?;
        if let Some(entry) = &entry {
            let path = self.directory.join(bridge).join(entry.address.to_string());
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        Ok(entry)
    }

    /// Whether nobody has an address of the bridge, which is then forgotten.
    pub(super) fn is_unused(&self, bridge: &str) -> bool {
        fs::remove_dir(self.directory.join(bridge)).is_ok()
    }

    fn written(&self, bridge: &str) -> Result<Vec<Entry>> {
        let directory = self.directory.join(bridge);
        let entry = |name: String| {
            // One that is not ours to read is nobody's.
            let text = fs::read_to_string(directory.join(&name)).ok()?;
            parse(bridge, name.parse().ok()?, &text)
        };
        Ok(list(&directory)?.into_iter().filter_map(entry).collect())
    }

    fn lives(&self, id: &ContainerId) -> bool {
        let state = self.store.get(id).and_then(|container| container.state());
        state.is_ok_and(|state| state.status.is_live())
    }
}

/// The names in a directory; none if there is none.
fn list(directory: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(vec![]);
        }
        entries => entries.with_context(|| format!("list {}", directory.display()))?,
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn text(entry: &Entry) -> String {
    let mut text = format!("{}\n", entry.id);
    for port in &entry.ports {
        let _ = writeln!(text, "{} {}", port.inside, port.host);
    }
    text
}

fn parse(bridge: &str, address: Ipv4Addr, text: &str) -> Option<Entry> {
    let mut lines = text.lines();
    let id = lines.next()?.parse().ok()?;
    let port = |line: &str| {
        let (inside, host) = line.split_once(' ')?;
        Some(PublishedPort { inside: inside.parse().ok()?, host: host.parse().ok()? })
    };
    let ports = lines.map(port).collect::<Option<_>>()?;
    Some(Entry { bridge: bridge.to_owned(), address, id, ports })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entry = Entry {
            bridge: "br0".into(),
            address: Ipv4Addr::new(10, 0, 0, 2),
            id: "a".repeat(64).parse().unwrap(),
            ports: vec![PublishedPort {
                inside: "53/udp".parse().unwrap(),
                host: "127.0.0.1:5353".parse().unwrap(),
            }],
        };
        assert_eq!(parse("br0", entry.address, &text(&entry)), Some(entry.clone()));
        // As it was before ports were published.
        let bare = parse("br0", entry.address, entry.id.as_str()).unwrap();
        assert_eq!(bare, Entry { ports: vec![], ..entry });
        for torn in ["", "abc\n", &format!("{}\n53/udp 127.0.0.1:\n", "a".repeat(64))] {
            assert_eq!(parse("br0", Ipv4Addr::LOCALHOST, torn), None, "{torn}");
        }
    }
}
