//! Giving a part of the tree to a guest: its systemd makes cgroups there, it changes no limit.
//!
//! v2 with `nsdelegate`, where the kernel guards the files at the border of a cgroup namespace:
//!
//! ```text
//! PARENT/ID          limits; the directory and the files of /sys/kernel/cgroup/delegate are the guest's
//! ```
//!
//! and without, where whoever sees a limit's file and is root may write it:
//!
//! ```text
//! PARENT/ID          limits, the host's
//! `-- payload        the guest's, and the root of its cgroup namespace
//! ```
//!
//! v1: `name=systemd`, which has no limits. The controllers stay the host's (cgroup-v2.rst, "Model
//! of Delegation"; v1 was never made for it).

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Uid};

use super::kernfs::{read_text, set};
use super::{Cgroup, Place, Version, create};
use crate::error::{Context, Errno, Error, Result};

/// Name of the inner cgroup.
const PAYLOAD: &str = "payload";

/// What systemd needs of a v1 cgroup that carries no controller.
const V1_FILES: [&str; 3] = ["cgroup.procs", "tasks", "cgroup.clone_children"];

/// Bounds on the cgroups a guest may make in the v2 tree; each costs the host memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lid {
    /// `cgroup.max.descendants`.
    pub descendants: Option<u64>,
    /// `cgroup.max.depth`.
    pub depth: Option<u64>,
}

impl Cgroup {
    /// Lets `uid:gid` manage the cgroup from inside a cgroup namespace, in the v2 tree and in
    /// `name=systemd`. Processes that join from then on go where the guest may manage.
    pub fn delegate(&mut self, uid: u32, gid: u32, lid: Lid) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(owner(uid)?), Gid::from_raw(owner(gid)?));
        self.give_v1(uid, gid)?;
        let Some(place) = self.unified().cloned() else { return Ok(()) };
        let inner = match place.hierarchy.nsdelegate {
            true => place.dir.clone(),
            false => self.make_payload(&place)?,
        };
        let levels = u64::from(inner != place.dir);
        let bounds = [("cgroup.max.descendants", lid.descendants), ("cgroup.max.depth", lid.depth)];
        for (file, bound) in bounds {
            if let Some(bound) = bound {
                set(&place.dir.join(file), &bound.saturating_add(levels).to_string())?;
            }
        }
        self.give_v2(&inner, uid, gid)
    }

    /// The same for a cgroup that has its process by now, which stays where it is: whoever made it
    /// keeps the guest from its limits, or does not.
    pub fn hand_over(&self, uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(owner(uid)?), Gid::from_raw(owner(gid)?));
        self.give_v1(uid, gid)?;
        self.unified().map_or(Ok(()), |place| self.give_v2(&place.dir, uid, gid))
    }

    fn give_v1(&self, uid: Uid, gid: Gid) -> Result<()> {
        let Some(place) = self.place_with("name=systemd") else { return Ok(()) };
        self.give(&place.dir, uid, gid, || Ok(V1_FILES.map(str::to_owned).to_vec()))
    }

    fn give_v2(&self, dir: &Path, uid: Uid, gid: Gid) -> Result<()> {
        self.give(dir, uid, gid, || {
            let files = read_text(Path::new("/sys/kernel/cgroup/delegate"));
            let files = files.during(|| "read /sys/kernel/cgroup/delegate")?;
            Ok(files.lines().map(str::to_owned).collect())
        })
    }

    /// Makes `dir` and its `files` theirs; whoever makes a cgroup owns it, and all its files.
    fn give(
        &self,
        dir: &Path,
        uid: Uid,
        gid: Gid,
        files: impl FnOnce() -> Result<Vec<String>>,
    ) -> Result<()> {
        let owner = (rustix::process::geteuid(), rustix::process::getegid());
        if owner == (uid, gid) && self.made.iter().any(|made| made == dir) {
            return Ok(());
        }
        let chown = |path: &Path| {
            rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        };
        chown(dir).during(|| format!("give cgroup {} to {}", dir.display(), uid.as_raw()))?;
        for file in files()? {
            let path = dir.join(file);
            match chown(&path) {
                // Of a controller that is not enabled here, or of a newer kernel than this one.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(errno)
                        .during(|| format!("give {} to {}", path.display(), uid.as_raw()));
                }
            }
        }
        Ok(())
    }

    fn make_payload(&mut self, place: &Place) -> Result<PathBuf> {
        let inner = place.dir.join(PAYLOAD);
        create::enable_what_can_be(&place.dir);
        if create::make_dir(&inner)? {
            self.made.push(inner.clone());
        }
        self.payload = Some(inner.clone());
        Ok(inner)
    }
}

/// The inner cgroup of one that was delegated earlier. Only where there is no `nsdelegate`: there
/// the outer directory is the host's, and so is everything of that name in it.
pub(super) fn payload_of(places: &[Place]) -> Option<PathBuf> {
    let place = places.iter().find(|place| place.hierarchy.version == Version::V2)?;
    let inner = place.dir.join(PAYLOAD);
    (!place.hierarchy.nsdelegate && inner.is_dir()).then_some(inner)
}

fn owner(id: u32) -> Result<u32> {
    // -1 leaves the owner as it is (chown(2)).
    match id {
        u32::MAX => Err(Error::new("delegate cgroup to id 4294967295", Errno::INVAL)),
        id => Ok(id),
    }
}
