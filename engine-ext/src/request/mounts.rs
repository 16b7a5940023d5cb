//! `-v`, `--mount`, `--tmpfs`, `--host-channel`, `--device`: what is attached where.

use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail, ensure};
use container::config::{HostChannel, Mount, MountKind};

use super::Findings;
use super::size::bytes;
use crate::cli::args::StorageArgs;

const PROPAGATIONS: &[&str] = &["private", "rprivate", "slave", "rslave", "shared", "rshared"];

/// All attached filesystems. Two on one destination are an error, whichever options said so.
pub fn parse(
    args: &StorageArgs,
    channel: Option<&HostChannel>,
    found: &mut Findings,
) -> Vec<Mount> {
    let mut mounts = found.each(&args.volume, volume);
    mounts.extend(found.each(&args.mount, mount));
    mounts.extend(found.each(&args.tmpfs, tmpfs));
    let mut taken: Vec<&Path> = channel.iter().map(|c| c.container_path.as_path()).collect();
    for mount in &mounts {
        if taken.contains(&mount.destination.as_path()) {
            let destination = mount.destination.display();
            found.note(Err(anyhow::anyhow!("Duplicate mount point: {destination}")));
        }
        taken.push(&mount.destination);
    }
    mounts
}

/// What is in the volume's place inside is not copied into it.
pub const NOCOPY: &str = "nocopy";

/// `HOST:CONTAINER[:MODE,...]`, `VOLUME:CONTAINER[:MODE,...]`, or `CONTAINER` alone.
fn volume(text: &str) -> Result<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, mode) = match parts[..] {
        [destination] => ("", destination, ""),
        [source, destination] => (source, destination, ""),
        [source, destination, mode] => (source, destination, mode),
        _ => bail!("Invalid volume specification '{text}'; write HOST:CONTAINER[:MODE]"),
    };
    let words = mode.split(',').filter(|word| !word.is_empty());
    if source.starts_with('/') {
        return bind(source, destination, words, text);
    }
    ensure!(
        !source.contains('/'),
        "Invalid volume specification '{text}': host path {source:?} is not absolute"
    );
    ensure!(
        parts.len() == 1 || !source.is_empty(),
        "Invalid volume specification '{text}'; name a host path or a volume"
    );
    named(source, destination, words, text)
}

/// A volume; without a name it gets one of its own.
fn named<'a>(
    name: &str,
    destination: &str,
    words: impl Iterator<Item = &'a str>,
    text: &str,
) -> Result<Mount> {
    let volume = match name {
        "" => None,
        name => Some(name.parse()?),
    };
    let words: Vec<&str> = words.collect();
    let mut mount = attached(MountKind::Volume, words.iter().copied(), text, "the volume's _data")?;
    if words.contains(&NOCOPY) {
        mount.options.push(NOCOPY.to_owned());
    }
    Ok(Mount { destination: target(destination, text)?, volume, ..mount })
}

fn bind<'a>(
    source: &str,
    destination: &str,
    words: impl Iterator<Item = &'a str>,
    text: &str,
) -> Result<Mount> {
    let mount = attached(MountKind::Bind, words, text, source)?;
    Ok(Mount { source: clean(source)?, destination: target(destination, text)?, ..mount })
}

/// A directory of the host with these modes, of which it is not said yet where from and where to.
fn attached<'a>(
    kind: MountKind,
    words: impl Iterator<Item = &'a str>,
    text: &str,
    source: &str,
) -> Result<Mount> {
    let mut access = "rw";
    let mut propagation = "rprivate";
    let mut recursive = "rbind";
    for word in words {
        match word {
            "rw" | "ro" => access = word,
            "bind" | "rbind" => recursive = word,
            "z" | "Z" => bail!(
                "mount '{text}': relabelling ({word}) is not supported; label {source} yourself: \
                 chcon -R"
            ),
            NOCOPY => {}
            word if PROPAGATIONS.contains(&word) => propagation = word,
            word => bail!("mount '{text}': unknown mode {word:?}; use rw, ro or a propagation"),
        }
    }
    Ok(Mount {
        kind,
        source: PathBuf::new(),
        destination: PathBuf::new(),
        options: [recursive, propagation, access].map(str::to_owned).into(),
        volume: None,
    })
}

/// `CONTAINER[:ro|rw]`.
pub fn volumes_from(text: &str) -> Result<VolumesFrom> {
    let (container, read_only) = match text.split_once(':') {
        None | Some((_, "rw")) => (text.trim_end_matches(":rw"), false),
        Some((container, "ro")) => (container, true),
        Some((_, mode)) => bail!("--volumes-from {text:?}: mode {mode:?}; use ro or rw"),
    };
    ensure!(!container.is_empty(), "--volumes-from {text:?}: name a container");
    Ok(VolumesFrom { container: container.to_owned(), read_only })
}

/// `mounts` with those of another container where there is room.
pub fn take_over(mounts: &mut Vec<Mount>, theirs: &[Mount], read_only: bool) {
    for mount in theirs.iter().filter(|mount| is_shared(mount.kind)) {
        if mounts.iter().any(|ours| ours.destination == mount.destination) {
            continue;
        }
        let mut mount = mount.clone();
        if read_only {
            mount.options.retain(|word| word != "rw");
            mount.options.push("ro".to_owned());
        }
        mounts.push(mount);
    }
}

fn is_shared(kind: MountKind) -> bool {
    matches!(kind, MountKind::Bind | MountKind::Volume)
}

/// Another container whose binds and volumes are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumesFrom {
    pub container: String,
    pub read_only: bool,
}

/// `type=bind,src=...,dst=...,readonly,bind-propagation=rslave`.
fn mount(text: &str) -> Result<Mount> {
    let (mut kind, mut source, mut destination) = ("bind", None, None);
    let mut words = vec![];
    let mut parameters = vec![];
    for field in text.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(k, v)| (k, Some(v)));
        match (key, value) {
            ("type", Some(value)) => kind = value,
            ("src" | "source", Some(value)) => source = Some(value),
            ("dst" | "destination" | "target", Some(value)) => destination = Some(value),
            ("ro" | "readonly", None | Some("true" | "1")) => words.push("ro"),
            ("ro" | "readonly", Some("false" | "0")) => words.push("rw"),
            ("bind-propagation", Some(value)) => words.push(value),
            ("volume-nocopy", None | Some("true" | "1")) => words.push(NOCOPY),
            ("volume-nocopy", Some("false" | "0")) => {}
            ("tmpfs-size", Some(value)) => parameters.push(format!("size={}", bytes(value)?)),
            ("tmpfs-mode", Some(value)) => parameters.push(format!("mode={value}")),
            _ => bail!("Invalid mount specification '{text}': {field:?} is not understood"),
        }
    }
    let Some(destination) = destination else {
        bail!("Invalid mount specification '{text}': no destination; add dst=PATH");
    };
    match (kind, source) {
        ("bind", Some(source)) => {
            ensure!(parameters.is_empty(), "mount '{text}': tmpfs options are for type=tmpfs");
            ensure!(
                source.starts_with('/'),
                "Invalid mount specification '{text}': source {source:?} is not absolute"
            );
            bind(source, destination, words.into_iter(), text)
        }
        ("bind", None) => bail!("Invalid mount specification '{text}': no source; add src=PATH"),
        ("tmpfs", None) => {
            parameters.extend(words.into_iter().map(str::to_owned));
            memory(destination, parameters, text)
        }
        ("tmpfs", Some(_)) => bail!("mount '{text}': a tmpfs has no source; drop src="),
        ("squashfs", Some(source)) => {
            let further = words.iter().find(|word| **word != "ro");
            if let Some(word) = further.copied().or(parameters.first().map(String::as_str)) {
                bail!("mount '{text}': {word:?} is not for a squashfs, which is read-only");
            }
            let options = ["bind", "rprivate", "ro"].map(str::to_owned).into();
            let (source, destination) = (clean(source)?, target(destination, text)?);
            Ok(Mount { kind: MountKind::Squashfs, source, destination, options, volume: None })
        }
        ("squashfs", None) => {
            bail!("Invalid mount specification '{text}': no source; add src=IMAGE")
        }
        ("volume", source) => {
            ensure!(parameters.is_empty(), "mount '{text}': tmpfs options are for type=tmpfs");
            named(source.unwrap_or_default(), destination, words.into_iter(), text)
        }
        _ => bail!(
            "Invalid mount specification '{text}': type {kind:?}; use bind, volume, tmpfs or \
             squashfs"
        ),
    }
}

/// `CONTAINER[:OPTIONS]`.
fn tmpfs(text: &str) -> Result<Mount> {
    let (destination, options) = text.split_once(':').unwrap_or((text, ""));
    let mut parameters = vec![];
    for word in options.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some(("size", size)) => parameters.push(format!("size={}", bytes(size)?)),
            Some(("mode" | "uid" | "gid" | "nr_inodes", _)) => parameters.push(word.to_owned()),
            None if TMPFS_FLAGS.contains(&word) => parameters.push(word.to_owned()),
            _ => bail!("tmpfs '{text}': option {word:?} is not understood"),
        }
    }
    memory(destination, parameters, text)
}

const TMPFS_FLAGS: &[&str] =
    &["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime"];

fn memory(destination: &str, parameters: Vec<String>, text: &str) -> Result<Mount> {
    let mut options: Vec<String> = vec![];
    for (flag, opposite) in [("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec")] {
        if !parameters.iter().any(|word| word == opposite || word == flag) {
            options.push(flag.to_owned());
        }
    }
    options.extend(parameters);
    let destination = target(destination, text)?;
    Ok(Mount { kind: MountKind::Tmpfs, source: PathBuf::new(), destination, options, volume: None })
}

/// Where something is attached: absolute, and not the root itself.
fn target(path: &str, text: &str) -> Result<PathBuf> {
    ensure!(path.starts_with('/'), "mount '{text}': container path {path:?} is not absolute");
    let path = clean(path)?;
    ensure!(path != Path::new("/"), "mount '{text}': nothing can be mounted on the root");
    Ok(path)
}

/// An absolute path without `.` and double slashes. `..` is refused: what it means depends on
/// links that only the kernel can follow.
pub fn clean(path: &str) -> Result<PathBuf> {
    let path = Path::new(path);
    ensure!(path.is_absolute(), "path {} is not absolute", path.display());
    ensure!(
        !path.components().any(|part| part == Component::ParentDir),
        "path {} contains \"..\"; write it without",
        path.display()
    );
    Ok(path.components().collect())
}

const CHANNEL_DEFAULT: u64 = 64 << 20;
const CHANNEL_MIN: u64 = 4096;

/// `HOST:CONTAINER:MODE:SIZE`; the last two may be empty.
pub fn host_channel(text: &str) -> Result<HostChannel> {
    let parts: Vec<&str> = text.split(':').collect();
    let [host, inside, mode, size] = parts[..] else { bail!("Bad host channel format: {text}") };
    ensure!(host.starts_with('/'), "Host channel host path should be absolute: {host}");
    ensure!(inside.starts_with('/'), "Host channel container path should be absolute: {inside}");
    let read_only = match mode {
        "" | "rw" => false,
        "ro" => true,
        _ => bail!("Invalid mount mode for host channel: {mode}; use rw or ro"),
    };
    let size = match size {
        "" => CHANNEL_DEFAULT,
        size => match bytes(size) {
            Ok(size) => size,
            Err(_) => bail!("Invalid size limit for host channel: {size}"),
        },
    };
    ensure!(size >= CHANNEL_MIN, "Invalid size, larger than 4KB is allowed");
    let (host_path, container_path) = (clean(host)?, target(inside, text)?);
    ensure!(host_path != Path::new("/"), "host channel '{text}': / cannot be a channel");
    Ok(HostChannel { host_path, container_path, read_only, size })
}

/// One `--device`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMapping {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub access: String,
}

/// `HOST[:CONTAINER][:rwm]`.
pub fn device(text: &str) -> Result<DeviceMapping> {
    let invalid =
        || anyhow::anyhow!("Invalid device mapping '{text}'; write HOST[:CONTAINER][:rwm]");
    let is_access = |text: &str| {
        (1..=3).contains(&text.len()) && text.chars().all(|letter| "rwm".contains(letter))
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, access) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, access] if is_access(access) => (host, host, access),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, access] if is_access(access) => (host, inside, access),
        _ => return Err(invalid()),
    };
    ensure!(host.starts_with('/') && inside.starts_with('/'), invalid());
    Ok(DeviceMapping {
        host_path: clean(host)?,
        container_path: clean(inside)?,
        access: access.to_owned(),
    })
}
