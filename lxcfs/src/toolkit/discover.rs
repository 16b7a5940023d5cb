//! Which containers run here, whatever engine started them: processes grouped by mount namespace,
//! named by their cgroup. Asks no engine, so it works when none answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use linux::{
    mountinfo,
    process::{self, Pid},
};

use super::graft::FSTYPE;
use crate::text;

/// Who started a container, as its cgroup tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the engines")]
pub enum Engine {
    Isulad,
    Docker,
    Containerd,
    Crio,
    Podman,
    Lxc,
    Unknown,
}

impl Engine {
    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Isulad => "isulad",
            Engine::Docker => "docker",
            Engine::Containerd => "containerd",
            Engine::Crio => "crio",
            Engine::Podman => "podman",
            Engine::Lxc => "lxc",
            Engine::Unknown => "unknown",
        }
    }
}

/// Whose containers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Those of isulad, and any that has our files already.
    Auto,
    /// Those of one engine.
    Only(Engine),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        Ok(Filter::Only(match text {
            "auto" => return Ok(Filter::Auto),
            "isulad" => Engine::Isulad,
            "docker" => Engine::Docker,
            "containerd" => Engine::Containerd,
            "crio" => Engine::Crio,
            "podman" => Engine::Podman,
            "lxc" => Engine::Lxc,
            _ => {
                return Err(format!(
                    "unknown runtime \"{text}\"; write isulad, docker, containerd, crio, podman, \
                     lxc or auto"
                ));
            }
        }))
    }
}

/// A running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id; `pid-N` for one whose cgroup does not tell.
    pub id: String,
    /// Its init, or the process that started first.
    pub pid: Pid,
    /// Who started it.
    pub engine: Engine,
    /// How many of our mounts it has.
    pub mounts: usize,
}

/// Every running container that `filter` means.
pub fn containers(filter: Filter) -> linux::Result<Vec<Found>> {
    let ours = mount_namespace("self");
    // Its init is the container's; without one in sight (a pod's shared pid namespace), whoever
    // started first.
    let mut groups: BTreeMap<u64, Vec<(bool, u64, Pid)>> = BTreeMap::new();
    for pid in pids() {
        let Some(namespace) = mount_namespace(&pid.to_string()) else { continue };
        // A process that ended meanwhile has no start time, and no container to speak of.
        if let (true, Ok(start)) = (Some(namespace) != ours, process::start_time(pid)) {
            groups.entry(namespace).or_default().push((!is_init(pid), start, pid));
        }
    }
    let mut found: Vec<Found> = Vec::new();
    let mut ids = BTreeSet::new();
    for members in groups.into_values() {
        let Some(&(_, _, pid)) = members.iter().min() else { continue };
        let Some(container) = identify(pid) else { continue };
        let wanted = match filter {
            Filter::Auto => container.engine == Engine::Isulad || container.mounts > 0,
            Filter::Only(engine) => container.engine == engine,
        };
        // A container may hold several mount namespaces (systemd's services); the first that
        // started is the container's own.
        if wanted && ids.insert(container.id.clone()) {
            found.push(container);
        } else if wanted
            && let Some(known) = found.iter_mut().find(|known| known.id == container.id)
            && process::start_time(pid).ok() < process::start_time(known.pid).ok()
        {
            *known = container;
        }
    }
    found.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(found)
}

fn pids() -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| Pid::new(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

fn mount_namespace(pid: &str) -> Option<u64> {
    rustix::fs::stat(format!("/proc/{pid}/ns/mnt")).ok().map(|stat| stat.st_ino)
}

/// Whether a process is number 1 of a pid namespace within ours.
fn is_init(pid: Pid) -> bool {
    let Ok(status) = linux::file::read(format!("/proc/{pid}/status")) else { return false };
    text::lines(&status)
        .find_map(|line| line.strip_prefix(b"NSpid:"))
        .is_some_and(|pids| text::words(pids).skip(1).last() == Some(b"1"))
}

fn identify(pid: Pid) -> Option<Found> {
    let mounts = mountinfo::of(pid).ok()?;
    let mounts = mounts.iter().filter(|mount| mount.fstype == FSTYPE).count();
    let cgroup = linux::file::read(format!("/proc/{pid}/cgroup")).ok()?;
    let named = text::lines(&cgroup)
        .filter_map(|line| {
            name_of(&String::from_utf8_lossy(line.splitn(3, |&b| b == b':').nth(2)?))
        })
        .next();
    match named {
        Some((engine, id)) => Some(Found { id, pid, engine, mounts }),
        None if mounts > 0 => {
            Some(Found { id: format!("pid-{pid}"), pid, engine: Engine::Unknown, mounts })
        }
        None => None,
    }
}

/// Engine and id in the path of a cgroup.
fn name_of(path: &str) -> Option<(Engine, String)> {
    const SCOPES: [(&str, Engine); 5] = [
        ("docker-", Engine::Docker),
        ("cri-containerd-", Engine::Containerd),
        ("crio-", Engine::Crio),
        ("libpod-", Engine::Podman),
        ("isulad-", Engine::Isulad),
    ];
    const DIRS: [(&str, Engine); 6] = [
        ("isulad", Engine::Isulad),
        ("docker", Engine::Docker),
        ("crio", Engine::Crio),
        ("libpod_parent", Engine::Podman),
        ("lxc", Engine::Lxc),
        ("default", Engine::Containerd),
    ];
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    for (index, part) in parts.iter().enumerate() {
        if let Some(name) = part.strip_suffix(".scope") {
            let scope = SCOPES.iter().find_map(|(prefix, engine)| {
                Some((*engine, name.strip_prefix(prefix)?.to_owned()))
            });
            if let Some(found) = scope.filter(|(_, id)| is_hex_id(id)) {
                return Some(found);
            }
        }
        if let Some(name) = part.strip_prefix("lxc.payload.") {
            return Some((Engine::Lxc, name.to_owned()));
        }
        let Some(parent) = index.checked_sub(1).map(|parent| parts[parent]) else { continue };
        if let Some((_, engine)) = DIRS.iter().find(|(dir, _)| *dir == parent) {
            let named_freely = matches!(engine, Engine::Isulad | Engine::Lxc);
            if is_hex_id(part) || (named_freely && crate::attached::is_valid(part)) {
                return Some((*engine, (*part).to_owned()));
            }
        }
        let pod = parts.iter().any(|part| part.starts_with("kubepods"));
        if pod && is_hex_id(part) {
            return Some((Engine::Containerd, (*part).to_owned()));
        }
    }
    None
}

fn is_hex_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The one container that `id` means: its full id, or the start of exactly one.
pub fn pick<'a>(found: &'a [Found], id: &str) -> Result<&'a Found, String> {
    if let Some(exact) = found.iter().find(|container| container.id == id) {
        return Ok(exact);
    }
    // One character was refused before, and a slip of the finger is still no choice.
    if id.len() < 2 {
        return Err("You must choose at least one container".into());
    }
    let candidates: Vec<_> = found.iter().filter(|found| found.id.starts_with(id)).collect();
    match candidates[..] {
        [one] => Ok(one),
        [] => Err(format!("no running container matches \"{id}\"; see lxcfs-toolkit status")),
        ref many => {
            let ids: Vec<_> = many.iter().map(|found| found.id.as_str()).collect();
            Err(format!(
                "\"{id}\" matches {} containers ({}); give more of the id",
                many.len(),
                ids.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn cgroups_name_their_engine() {
        let id = "3f".repeat(32);
        let named = |path: String| name_of(&path).map(|(engine, id)| (engine.name(), id));
        let of = |engine: &'static str| Some((engine, id.clone()));
        assert_eq!(named(format!("/isulad/{id}")), of("isulad"));
        assert_eq!(named("/isulad/web1/init.scope".into()), Some(("isulad", "web1".into())));
        assert_eq!(named(format!("/system.slice/docker-{id}.scope")), of("docker"));
        assert_eq!(named(format!("/docker/{id}/system.slice")), of("docker"));
        assert_eq!(named(format!("/kubepods.slice/x/cri-containerd-{id}.scope")), of("containerd"));
        assert_eq!(named(format!("/kubepods/besteffort/pod12/{id}")), of("containerd"));
        assert_eq!(named(format!("/machine.slice/libpod-{id}.scope/container")), of("podman"));
        assert_eq!(named("/lxc.payload.web".into()), Some(("lxc", "web".into())));
        assert_eq!(named("/system.slice/ssh.service".into()), None);
        assert_eq!(named("/".into()), None);
    }

    fn found(id: &str) -> Found {
        let pid = Pid::new(1).unwrap();
        Found { id: id.into(), pid, engine: Engine::Isulad, mounts: 0 }
    }

    #[test]
    fn an_id_means_one_container_or_none() {
        let all = [found("abc1"), found("abc2"), found("abc")];
        assert_eq!(pick(&all, "abc").unwrap().id, "abc");
        assert_eq!(pick(&all, "abc1").unwrap().id, "abc1");
        let refused = |id| pick(&all, id).unwrap_err();
        expect![[r#""ab" matches 3 containers (abc1, abc2, abc); give more of the id"#]]
            .assert_eq(&refused("ab"));
        expect!["You must choose at least one container"].assert_eq(&refused("a"));
        expect![[r#"no running container matches "bc"; see lxcfs-toolkit status"#]]
            .assert_eq(&refused("bc"));
    }
}
