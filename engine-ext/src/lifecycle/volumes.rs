//! Volumes on their way into a container, and out of the world.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};
use container::config::MountKind;
use container::volume::Unchanged;
use container::{Config, Layout, Store, Volume, VolumeName, Volumes};
use linux::root::Root;
use linux::undo::Undo;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::copy::{Owner, Rules, copy_contents};
use crate::request::mounts::NOCOPY;

/// Has a directory ready for each volume that `config` names, and for each that it leaves without a
/// name. One that is empty gets what is in its place in `tree`. Until the container is made, or
/// gone again, the set of volumes stays as it is.
pub(super) fn make_ready(
    layout: &Layout,
    config: &mut Config,
    tree: &Root,
    undo: &mut Undo<'_>,
) -> Result<Option<Unchanged>> {
    let ids = Ids::of(config, tree)?;
    let mut asked = config.mounts.iter_mut().filter(|it| it.kind == MountKind::Volume).peekable();
    if asked.peek().is_none() {
        return Ok(None);
    }
    let volumes = Volumes::of(layout);
    let lock = volumes.lock()?;
    for mount in asked {
        let anonymous = mount.volume.is_none();
        let name = match mount.volume.take() {
            Some(name) => name,
            None => VolumeName::random().context("read random numbers")?,
        };
        let volume = Volume { anonymous, ..Volume::new(name.clone(), super::now()?) };
        let data = volumes.data(&name);
        let wanted = !mount.options.iter().any(|option| option == NOCOPY);
        let fill = |data: &Path| match wanted {
            true => fill(data, tree, &mount.destination, ids)
                .with_context(|| format!("copy {} to volume {name}", mount.destination.display())),
            false => Ok(()),
        };
        let made = volumes.make(&volume, &lock, |data| {
            chown(data, Some(ids.volume.0), Some(ids.volume.1))
                .with_context(|| format!("chown {}", data.display()))?;
            fill(data)
        })?;
        if made {
            let directory = layout.volumes().join(name.as_str());
            undo.push("volume", move || fs::remove_dir_all(directory));
        } else {
            fill(&data)?;
        }
        mount.options.retain(|option| option != NOCOPY);
        mount.source = data;
        mount.volume = Some(name);
    }
    Ok(Some(lock))
}

/// Who the container's root is on disk: in its rootfs, and in a volume, which is shown as it is.
#[derive(Debug, Clone, Copy)]
struct Ids {
    rootfs: (u32, u32),
    volume: (u32, u32),
    size: u32,
}

impl Ids {
    fn of(config: &Config, tree: &Root) -> Result<Self> {
        let Some(remap) = config.user_remap else {
            return Ok(Self { rootfs: (0, 0), volume: (0, 0), size: u32::MAX });
        };
        let stat = tree.stat("")?;
        let rootfs = (stat.st_uid, stat.st_gid);
        Ok(Self { rootfs, volume: (remap.uid, remap.gid), size: remap.size })
    }
}

/// Copies what is at `place` of the tree into an empty volume: contents, owner and mode.
fn fill(data: &Path, tree: &Root, place: &Path, ids: Ids) -> Result<()> {
    let target = Root::open(data)?;
    if !target.list("")?.is_empty() {
        return Ok(());
    }
    let source = match tree.stat(place) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            tree.subtree(place)?
        }
        Ok(_) => bail!("it is no directory; choose another place"),
        Err(error) if error.is(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let owner = Owner::Moved { from: ids.rootfs, to: ids.volume, size: ids.size };
    let rules = Rules { owner, devices: true, set_id: true };
    let copied = copy_contents(&source, &target, &rules).and_then(|()| {
        let stat = source.stat("")?;
        let (uid, gid) = owner.of(&stat)?;
        chown(data, Some(uid), Some(gid))?;
        Ok(fs::set_permissions(data, fs::Permissions::from_mode(stat.st_mode & 0o7777))?)
    });
    if copied.is_err() {
        // Half of it would pass for all of it the next time.
        for name in target.list("")? {
            let path = data.join(name);
            let removed = match fs::symlink_metadata(&path)?.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.with_context(|| format!("remove {}", path.display()))?;
        }
    }
    copied
}

/// The names of the containers that use a volume, running or not.
pub fn users(store: &Store, name: &VolumeName) -> Result<Vec<String>> {
    let mut users = vec![];
    for container in store.list()? {
        // One that goes away while we look uses nothing.
        let Ok(config) = container.config() else { continue };
        if config.mounts.iter().any(|mount| mount.volume.as_ref() == Some(name)) {
            users.push(super::shown(&config).to_owned());
        }
    }
    users.sort_unstable();
    Ok(users)
}

/// Makes a volume. Whether there was none of its name.
pub fn create(layout: &Layout, volume: &Volume) -> Result<bool> {
    let volumes = Volumes::of(layout);
    let lock = volumes.lock()?;
    volumes.make(volume, &lock, |_| Ok(()))
}

/// Removes a volume that nobody uses.
pub fn remove(store: &Store, name: &str) -> Result<()> {
    let volumes = Volumes::of(store.layout());
    let volume = volumes.find(name)?;
    let lock = volumes.lock()?;
    let users = users(store, &volume.name)?;
    if !users.is_empty() {
        bail!("volume {name} is in use by {}; remove it first: isula rm {0}", users.join(" "));
    }
    Ok(volumes.remove(&volume.name, &lock)?)
}

/// Removes every volume that nobody uses, and names them.
pub fn prune(store: &Store) -> Result<Vec<VolumeName>> {
    let volumes = Volumes::of(store.layout());
    let lock = volumes.lock()?;
    let mut removed = vec![];
    for volume in volumes.list()? {
        if users(store, &volume.name)?.is_empty() {
            volumes.remove(&volume.name, &lock)?;
            removed.push(volume.name);
        }
    }
    Ok(removed)
}

/// Removes the volumes that were made for a container that is gone, if it was the last to use them.
pub(super) fn remove_anonymous(store: &Store, config: &Config) -> Result<()> {
    let mut names = config.mounts.iter().filter_map(|mount| mount.volume.as_ref()).peekable();
    if names.peek().is_none() {
        return Ok(());
    }
    let volumes = Volumes::of(store.layout());
    let lock = volumes.lock()?;
    for name in names {
        let anonymous = volumes.get(name)?.is_some_and(|volume| volume.anonymous);
        if anonymous && users(store, name)?.is_empty() {
            volumes.remove(name, &lock)?;
        }
    }
    Ok(())
}
