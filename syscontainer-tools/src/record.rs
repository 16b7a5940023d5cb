//! `device_hook.json`: what was added to a container and is added again at its next start.
//!
//! The file is the truth; it is written by whoever holds its lock, by rename, and the generation
//! before it is kept. Member names are the predecessor's, so its files are read as they are: member
//! names in any case, unknown members passed over, no version. What the predecessor did not know
//! is added beside.

mod element;
mod entry;
mod store;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use entry::{
    BindEntry, BindSource, DeviceEntry, DeviceIdentity, LimitEntry, NicEntry, RouteEntry,
};
pub use store::{RecordError, RecordFile};

/// The version that this code writes. The predecessor's files carry none.
const VERSION: u32 = 2;

/// Everything recorded of one container. An empty list is left out of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Record {
    /// 0 for a file of the predecessor's, else [`VERSION`].
    pub(crate) version: u32,
    /// One more with each change.
    pub(crate) generation: u64,
    #[serde(rename = "bindToAdd", skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<BindEntry>,
    /// For each of them, unless it was added to a stopped container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind_sources: Vec<BindSource>,
    #[serde(rename = "deviceToAdd", skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_iops: Vec<LimitEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write_iops: Vec<LimitEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_bps: Vec<LimitEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write_bps: Vec<LimitEntry>,
    #[serde(rename = "blkioWeight", skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<LimitEntry>,
    #[serde(rename = "networkInterfaces", skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<NicEntry>,
    #[serde(rename = "networkRoute", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteEntry>,
    /// Names of elements that a start goes on without.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub may_fail: BTreeSet<String>,
}

impl Record {
    /// How many changes led here.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What the source of `bind` was when it was added.
    pub(crate) fn source_of(&self, bind: &BindEntry) -> Option<&BindSource> {
        let mapping = crate::path::parsed(bind).ok()?;
        let inside = mapping.container_path.to_string_lossy();
        self.bind_sources.iter().find(|source| source.path == inside)
    }

    /// Parses a record, the predecessor's or ours.
    ///
    /// # Errors
    /// The parser's words, or that a newer version wrote it.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let mut value: serde_json::Value =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        normalise(&mut value, MEMBERS);
        let record: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if record.version > VERSION {
            return Err(format!(
                "version {} is newer than this program's {VERSION}; install the newer program",
                record.version
            ));
        }
        Ok(record)
    }

    /// Whether both have the same things in them, whatever their generations.
    pub fn same_as(&self, other: &Self) -> bool {
        let Self { version, generation, .. } = *other;
        Self { version, generation, ..self.clone() } == *other
    }

    /// The generation after `before`, and its text.
    fn following(&self, before: &Self) -> (Self, Vec<u8>) {
        let mut next = Self { version: VERSION, generation: before.generation + 1, ..self.clone() };
        next.prune();
        let mut text = serde_json::to_vec(&next).expect("a record has string keys alone");
        text.push(b'\n');
        (next, text)
    }
}

/// A member and those of what it holds.
struct Member(&'static str, &'static [Member]);

const LIMIT: &[Member] =
    &[Member("major", &[]), Member("minor", &[]), Member("path", &[]), Member("value", &[])];
const MEMBERS: &[Member] = &[
    Member("bindToAdd", &[]),
    Member(
        "deviceToAdd",
        &[
            Member("Type", &[]),
            Member("Minor", &[]),
            Member("Major", &[]),
            Member("PathOnHost", &[]),
            Member("PathInContainer", &[]),
            Member("CgroupPermissions", &[]),
            Member("Parent", &[]),
        ],
    ),
    Member("readIops", LIMIT),
    Member("writeIops", LIMIT),
    Member("readBps", LIMIT),
    Member("writeBps", LIMIT),
    Member("blkioWeight", LIMIT),
    Member(
        "networkInterfaces",
        &[
            Member("Ip", &[]),
            Member("Mac", &[]),
            Member("Mtu", &[]),
            Member("Qlen", &[]),
            Member("Type", &[]),
            Member("Bridge", &[]),
            Member("HostNicName", &[]),
            Member("CtrNicName", &[]),
        ],
    ),
    Member(
        "networkRoute",
        &[Member("dest", &[]), Member("src", &[]), Member("gw", &[]), Member("dev", &[])],
    ),
];

/// Gives known members the spelling that the types have: Go's decoder, which read and wrote these
/// files, takes any.
fn normalise(value: &mut serde_json::Value, members: &[Member]) {
    match value {
        serde_json::Value::Array(elements) => {
            elements.iter_mut().for_each(|element| normalise(element, members));
        }
        serde_json::Value::Object(object) => {
            let typed = std::mem::take(object);
            for (name, mut value) in typed {
                let known = members.iter().find(|member| member.0.eq_ignore_ascii_case(&name));
                match known {
                    Some(Member(spelling, inner)) => {
                        normalise(&mut value, inner);
                        object.insert((*spelling).to_owned(), value);
                    }
                    None => drop(object.insert(name, value)),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
