//! Containers of other engines: found in the files that those keep, asked of nobody.
//!
//! ```text
//! containerd  run/containerd/io.containerd.runtime.v2.task/<namespace>/<id>/{config.json,init.pid}
//! docker      the same in the namespace moby, also below run/docker/containerd/daemon, which it has
//!             when it starts its own; all of them and their names are in
//!             var/lib/docker/containers/<id>/config.v2.json
//! podman      var/lib/containers/storage/<driver>-containers/{containers.json,<id>/userdata/config.json}
//!             run/containers/storage/<driver>-containers/<id>/userdata/pidfile
//! oci         run/runc/<id>/state.json, run/crun/<id>/status
//! ```

use std::path::{Path, PathBuf};

use container::{Running, Standing};
use linux::process::Pid;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// Whose containers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// isula's first, then everybody's
    Auto,
    /// isula
    Isula,
    /// podman
    Podman,
    /// docker
    Docker,
    /// containerd, by ctr or a kubelet
    Containerd,
    /// runc and crun by themselves
    Oci,
}

/// A container of another engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub(crate) engine: Engine,
    pub(crate) id: String,
    names: Vec<String>,
    bundle: PathBuf,
    init: Init,
}

/// Where the pid of its init is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Init {
    File(PathBuf),
    Process { pid: i32, start_time: Option<u64> },
}

impl Foreign {
    fn of_task(engine: Engine, id: String, names: Vec<String>, bundle: PathBuf) -> Self {
        let init = Init::File(bundle.join("init.pid"));
        Self { engine, id, names, bundle, init }
    }

    /// Where it stands at this moment.
    pub(crate) fn standing(&self) -> Result<Standing> {
        let (pid, start_time) = match &self.init {
            Init::Process { pid, start_time } => (Pid::new(*pid), *start_time),
            Init::File(path) => match linux::file::read_to_string(path) {
                Err(error) if error.is(linux::Errno::NOENT) => (None, None),
                text => (text?.trim().parse().ok(), None),
            },
        };
        let Some(pid) = pid else { return Ok(Standing::Stopped) };
        Ok(Running::of_process(&self.id, pid, start_time, Some(&self.bundle))?)
    }
}

/// The container of `engine` that `text` means, its files below `host`: a full id, else a name,
/// else the beginning of one id.
///
/// # Errors
/// There is none, or there are several.
pub(crate) fn find(engine: Engine, host: &Path, text: &str) -> Result<Foreign> {
    let mut all = Vec::new();
    let asked = |one: Engine| engine == Engine::Auto || engine == one;
    if asked(Engine::Docker) {
        all.extend(of_docker(host));
    }
    if asked(Engine::Containerd) {
        all.extend(of_containerd(host));
    }
    if asked(Engine::Podman) {
        all.extend(of_podman(host));
    }
    if asked(Engine::Oci) {
        // The same container in the state of the runtime below its engine.
        for found in of_runtimes(host) {
            if !all.iter().any(|known: &Foreign| known.id == found.id) {
                all.push(found);
            }
        }
    }
    pick(all, text)
}

fn pick(mut all: Vec<Foreign>, text: &str) -> Result<Foreign> {
    let exact = |found: &Foreign| found.id == text || found.names.iter().any(|name| name == text);
    if let Some(at) = all.iter().position(exact) {
        return Ok(all.swap_remove(at));
    }
    all.retain(|found| !text.is_empty() && found.id.starts_with(text));
    match all.len() {
        1 => Ok(all.remove(0)),
        0 => Err(Error::NotFound(format!(
            "no container matches {text:?}; list them with the engine that started it"
        ))),
        count => {
            let mut ids: Vec<&str> = all.iter().map(|found| found.id.as_str()).collect();
            ids.sort_unstable();
            Err(Error::NotFound(format!(
                "no container matches {text:?}: {count} candidates ({}); give more of the id",
                ids.join(", ")
            )))
        }
    }
}

/// Where tasks are, by namespace.
const TASKS: &str = "run/containerd/io.containerd.runtime.v2.task";
/// The same of a containerd that docker has started for itself.
const TASKS_OF_DOCKER: &str = "run/docker/containerd/daemon/io.containerd.runtime.v2.task";
/// The namespace of docker's.
const MOBY: &str = "moby";

fn of_containerd(host: &Path) -> Vec<Foreign> {
    let mut found = Vec::new();
    for namespace in list(&host.join(TASKS)) {
        if namespace.file_name().is_some_and(|name| name == MOBY) {
            continue;
        }
        for bundle in list(&namespace) {
            let Some(id) = id_of(&bundle) else { continue };
            found.push(Foreign::of_task(Engine::Containerd, id, Vec::new(), bundle));
        }
    }
    found
}

/// Those that do not run have no task.
fn of_docker(host: &Path) -> Vec<Foreign> {
    let tasks = [TASKS, TASKS_OF_DOCKER].map(|tasks| host.join(tasks).join(MOBY));
    let found = |dir: PathBuf| {
        let id = id_of(&dir)?;
        let config: Value = json(&dir.join("config.v2.json"))?;
        let name = config["Name"].as_str()?.trim_start_matches('/').to_owned();
        let bundle = tasks.iter().map(|tasks| tasks.join(&id)).find(|bundle| bundle.is_dir());
        let bundle = bundle.unwrap_or_else(|| tasks[0].join(&id));
        Some(Foreign::of_task(Engine::Docker, id, vec![name], bundle))
    };
    list(&host.join("var/lib/docker/containers")).into_iter().filter_map(found).collect()
}

/// An entry of podman's `containers.json`.
#[derive(Deserialize)]
struct PodmanEntry {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

fn of_podman(host: &Path) -> Vec<Foreign> {
    const STORAGE: &str = "containers/storage";
    let mut found = Vec::new();
    for kept in list(&host.join("var/lib").join(STORAGE)) {
        let Some(driver) = id_of(&kept).filter(|name| name.ends_with("-containers")) else {
            continue;
        };
        let run = host.join("run").join(STORAGE).join(driver);
        let entries: Vec<PodmanEntry> = json(&kept.join("containers.json")).unwrap_or_default();
        let of = |entry: PodmanEntry| {
            let userdata = Path::new(&entry.id).join("userdata");
            Foreign {
                engine: Engine::Podman,
                bundle: kept.join(&userdata),
                init: Init::File(run.join(&userdata).join("pidfile")),
                id: entry.id,
                names: entry.names,
            }
        };
        // Pods have an infrastructure container without a bundle of its own here.
        found.extend(entries.into_iter().map(of).filter(|found| found.bundle.is_dir()));
    }
    found
}

fn of_runtimes(host: &Path) -> Vec<Foreign> {
    let mut found = Vec::new();
    for dir in list(&host.join("run/runc")) {
        found.extend(of_runc(&dir));
    }
    for dir in list(&host.join("run/crun")) {
        found.extend(of_crun(&dir));
    }
    found
}

fn of_runc(dir: &Path) -> Option<Foreign> {
    let state: Value = json(&dir.join("state.json"))?;
    let labels = state["config"]["labels"].as_array()?;
    let bundle = labels.iter().find_map(|label| label.as_str()?.strip_prefix("bundle="))?;
    Some(Foreign {
        engine: Engine::Oci,
        id: id_of(dir)?,
        names: Vec::new(),
        bundle: bundle.into(),
        init: Init::Process {
            pid: i32::try_from(state["init_process_pid"].as_i64()?).ok()?,
            start_time: state["init_process_start"].as_u64(),
        },
    })
}

fn of_crun(dir: &Path) -> Option<Foreign> {
    let state: Value = json(&dir.join("status"))?;
    Some(Foreign {
        engine: Engine::Oci,
        id: id_of(dir)?,
        names: Vec::new(),
        bundle: state["bundle"].as_str()?.into(),
        init: Init::Process {
            pid: i32::try_from(state["pid"].as_i64()?).ok()?,
            start_time: state["process-start-time"].as_u64(),
        },
    })
}

fn id_of(dir: &Path) -> Option<String> {
    Some(dir.file_name()?.to_str()?.to_owned())
}

/// What is not there has no entries.
fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// A file that another engine is just writing, or that another version of it writes otherwise, is
/// passed over: the container is then not found, and that is told.
fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&linux::file::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use expect_test::{Expect, expect};

    use super::*;

    fn host() -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = host.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let tasks = "run/containerd/io.containerd.runtime.v2.task";
        write(&format!("{tasks}/moby/aa11/init.pid"), "7");
        write("var/lib/docker/containers/aa11/config.v2.json", r#"{"Name":"/web"}"#);
        write("run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/ff11/init.pid", "9");
        write("var/lib/docker/containers/ff11/config.v2.json", r#"{"Name":"/own"}"#);
        write("var/lib/docker/containers/ff22/config.v2.json", r#"{"Name":"/still"}"#);
        write(&format!("{tasks}/k8s.io/aa22/init.pid"), "8");
        let podman = "containers/storage/vfs-containers";
        write(
            &format!("var/lib/{podman}/containers.json"),
            r#"[{"id":"bb11","names":["db"],"image":"x"},{"id":"bb22"}]"#,
        );
        write(&format!("var/lib/{podman}/bb11/userdata/config.json"), "{}");
        write(
            "run/runc/aa11/state.json",
            r#"{"init_process_pid":7,"init_process_start":9,"config":{"labels":["bundle=/b"]}}"#,
        );
        write(
            "run/runc/cc11/state.json",
            r#"{"init_process_pid":7,"init_process_start":9,"config":{"labels":["x=y","bundle=/b"]}}"#,
        );
        write(
            "run/crun/dd11/status",
            r#"{"pid":12,"process-start-time":34,"bundle":"/c","rootfs":"/c/rootfs"}"#,
        );
        write("run/crun/ee11/status", "{ half");
        host
    }

    fn check(engine: Engine, text: &str, expected: &Expect) {
        let host = host();
        let text = match find(engine, host.path(), text) {
            Ok(found) => format!(
                "{:?} {} {:?} {} {:?}",
                found.engine,
                found.id,
                found.names,
                found.bundle.display(),
                found.init
            ),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text.replace(host.path().to_str().unwrap(), ""));
    }

    #[test]
    fn each_engine_has_its_own_files() {
        check(
            Engine::Auto,
            "web",
            &expect![[
                r#"Docker aa11 ["web"] /run/containerd/io.containerd.runtime.v2.task/moby/aa11 File("/run/containerd/io.containerd.runtime.v2.task/moby/aa11/init.pid")"#
            ]],
        );
        check(
            Engine::Docker,
            "own",
            &expect![[
                r#"Docker ff11 ["own"] /run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/ff11 File("/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/ff11/init.pid")"#
            ]],
        );
        check(
            Engine::Auto,
            "still",
            &expect![[
                r#"Docker ff22 ["still"] /run/containerd/io.containerd.runtime.v2.task/moby/ff22 File("/run/containerd/io.containerd.runtime.v2.task/moby/ff22/init.pid")"#
            ]],
        );
        check(
            Engine::Containerd,
            "aa",
            &expect![[
                r#"Containerd aa22 [] /run/containerd/io.containerd.runtime.v2.task/k8s.io/aa22 File("/run/containerd/io.containerd.runtime.v2.task/k8s.io/aa22/init.pid")"#
            ]],
        );
        check(
            Engine::Podman,
            "db",
            &expect![[
                r#"Podman bb11 ["db"] /var/lib/containers/storage/vfs-containers/bb11/userdata File("/run/containers/storage/vfs-containers/bb11/userdata/pidfile")"#
            ]],
        );
        check(
            Engine::Auto,
            "d",
            &expect![[r#"Oci dd11 [] /c Process { pid: 12, start_time: Some(34) }"#]],
        );
        check(
            Engine::Oci,
            "cc11",
            &expect![[r#"Oci cc11 [] /b Process { pid: 7, start_time: Some(9) }"#]],
        );
    }

    #[test]
    fn one_is_meant_or_none() {
        check(
            Engine::Auto,
            "aa",
            &expect![[
                r#"no container matches "aa": 2 candidates (aa11, aa22); give more of the id"#
            ]],
        );
        check(
            Engine::Podman,
            "aa",
            &expect![[r#"no container matches "aa"; list them with the engine that started it"#]],
        );
        check(
            Engine::Auto,
            "",
            &expect![[r#"no container matches ""; list them with the engine that started it"#]],
        );
    }
}
