//! `daemon.json`: the host's settings, in the format of the predecessor's daemon (file format).
//!
//! There is no daemon: each program reads what it needs when it runs. Keys that need one are
//! refused by name as soon as they ask for something; what they say of "nothing" is left alone, for
//! files that spell every key out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::file::read_json;
use crate::layout::{DEFAULT_ROOT, DEFAULT_STATE, Layout};

/// Where the file is unless told otherwise.
pub const DAEMON_JSON: &str = "/etc/isulad/daemon.json";

/// The file. A key that is missing, or an empty text, says nothing.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DaemonJson {
    /// Where containers are kept.
    pub graph: PathBuf,
    /// Where running containers are kept track of.
    pub state: PathBuf,
    /// `FATAL`, `ALERT`, `CRIT`, `ERROR`, `WARN`, `NOTICE`, `INFO`, `DEBUG` or `TRACE`.
    pub log_level: String,
    /// The OCI runtime of containers that name none.
    pub default_runtime: String,
    /// OCI runtimes by name.
    pub runtimes: BTreeMap<String, OciRuntime>,
    /// Hooks of every container, ahead of its own.
    pub hook_spec: PathBuf,
    /// The cgroup that containers are made in.
    pub cgroup_parent: String,
    /// Resource limits by name.
    pub default_ulimits: BTreeMap<String, DefaultUlimit>,
    /// `secure` or `normal`.
    #[serde(rename = "native.umask")]
    pub native_umask: String,
    /// How console output is kept.
    pub container_log: ContainerLog,
    /// How long a start may take, as `2m`.
    pub start_timeout: String,
    /// Everything else.
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

/// An entry of `runtimes`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OciRuntime {
    /// The program.
    pub path: PathBuf,
    /// What it is given before each verb.
    #[serde(default, rename = "runtime-args", alias = "runtimeArgs")]
    pub args: Vec<String>,
}

/// An entry of `default-ulimits`; -1 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DefaultUlimit {
    /// The key again.
    pub name: String,
    /// What it may be raised to.
    pub hard: i64,
    /// What is in force.
    pub soft: i64,
}

/// `container-log`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerLog {
    /// As `--log-driver`.
    pub driver: String,
    /// As `--log-opt`, by key.
    pub opts: BTreeMap<String, String>,
}

const NO_DAEMON: &str = "there is no daemon: isula runs on the host, as root";
const NO_IMAGES: &str = "there are no images: containers run in directories";
const NO_CRI: &str = "Kubernetes reaches this runtime through containerd or CRI-O";

/// The keys of the predecessor that are not honoured, with why.
const REFUSED: &[(&str, &str)] = &[
    ("hosts", NO_DAEMON),
    ("group", NO_DAEMON),
    ("pidfile", NO_DAEMON),
    ("tls", NO_DAEMON),
    ("tls-verify", NO_DAEMON),
    ("tls-config", NO_DAEMON),
    ("authorization-plugin", NO_DAEMON),
    ("metrics-port", NO_DAEMON),
    ("log-driver", "commands log to stderr, or where --log says"),
    ("log-opts", "commands log to stderr, or where --log says"),
    ("engine", "name a runtime in default-runtime"),
    ("storage-driver", NO_IMAGES),
    ("storage-opts", NO_IMAGES),
    ("registry-mirrors", NO_IMAGES),
    ("insecure-registries", NO_IMAGES),
    ("insecure-skip-verify-enforce", NO_IMAGES),
    ("use-decrypted-key", NO_IMAGES),
    ("image-opt-timeout", NO_IMAGES),
    ("image-layer-check", NO_IMAGES),
    ("image-server-sock-addr", NO_IMAGES),
    ("storage-enable-remote-layer", NO_IMAGES),
    ("pod-sandbox-image", NO_CRI),
    ("network-plugin", NO_CRI),
    ("cni-bin-dir", NO_CRI),
    ("cni-conf-dir", NO_CRI),
    ("websocket-server-listening-port", NO_CRI),
    ("cri-runtimes", NO_CRI),
    ("cri-sandboxers", NO_CRI),
    ("enable-cri-v1", NO_CRI),
    ("enable-pod-events", NO_CRI),
    ("selinux-enabled", "labels are not set by this engine"),
    ("userns-remap", "give each container --user-remap"),
    ("systemd-cgroup", "cgroups are made directly"),
    ("cpu-rt-period", "set it on the parent cgroup"),
    ("cpu-rt-runtime", "set it on the parent cgroup"),
];

impl DaemonJson {
    /// Reads it; a file that is not there says nothing.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(read_json(path)?.unwrap_or_default())
    }

    /// Answers with the first key that asks for what there is not.
    pub fn check(&self, path: &Path) -> Result<()> {
        let asking = self.other.iter().find(|(_, value)| !says_nothing(value));
        let Some((key, _)) = asking else { return Ok(()) };
        let why = REFUSED.iter().find(|(known, _)| known == key);
        let reason = match why {
            Some((_, why)) => format!("{key} is not supported; {why}; remove it"),
            None => format!("{key} is not known; remove it"),
        };
        Err(Error::Setting { path: path.to_owned(), reason })
    }

    /// Where containers are: what the command line says, else the file, else the usual place.
    #[must_use]
    pub fn layout(&self, root: Option<PathBuf>, state: Option<PathBuf>) -> Layout {
        let or = |given: Option<PathBuf>, own: &PathBuf, usual: &str| {
            let own = Some(own).filter(|path| !path.as_os_str().is_empty());
            given.or_else(|| own.cloned()).unwrap_or_else(|| usual.into())
        };
        Layout::new(or(root, &self.graph, DEFAULT_ROOT), or(state, &self.state, DEFAULT_STATE))
    }
}

/// Nothing, or its name as a text.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty() || text == "false",
        Value::Array(list) => list.iter().all(says_nothing),
        Value::Object(map) => map.values().all(says_nothing),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn parse(text: &str) -> DaemonJson {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_honoured_is_read() {
        let json = parse(
            r#"{ "graph": "/g", "log-level": "ERROR", "native.umask": "normal",
                "runtimes": { "kata": { "path": "/k", "runtime-args": ["--x"] } },
                "default-ulimits": { "nofile": { "Name": "nofile", "Hard": 2, "Soft": 1 } },
                "container-log": { "driver": "json-file", "opts": { "max-file": "3" } } }"#,
        );
        assert_eq!(json.graph, Path::new("/g"));
        assert_eq!(json.runtimes["kata"].args, ["--x"]);
        assert_eq!(json.default_ulimits["nofile"].hard, 2);
        assert_eq!(json.container_log.opts["max-file"], "3");
        json.check(Path::new("/d")).unwrap();
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let json = parse(r#"{ "graph": "/g", "state": "" }"#);
        assert_eq!(json.layout(None, None), Layout::new("/g", DEFAULT_STATE));
        assert_eq!(json.layout(Some("/r".into()), Some("/s".into())), Layout::new("/r", "/s"));
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_name_once_it_asks_for_something() {
        let refusal = |text: &str| match parse(text).check(Path::new("/d.json")) {
            Ok(()) => "fine".to_owned(),
            Err(error) => error.to_string(),
        };
        let nothing = r#"{ "tls": false, "hosts": [], "tls-config": { "CAFile": "" },
            "image-layer-check": "false", "pidfile": null }"#;
        assert_eq!(refusal(nothing), "fine");
        expect!["/d.json: hosts is not supported; there is no daemon: isula runs on the host, as root; remove it"]
            .assert_eq(&refusal(r#"{ "hosts": ["unix:///run/x.sock"] }"#));
        expect!["/d.json: storage-driver is not supported; there are no images: containers run in directories; remove it"]
            .assert_eq(&refusal(r#"{ "storage-driver": "overlay2" }"#));
        expect!["/d.json: grahp is not known; remove it"]
            .assert_eq(&refusal(r#"{ "grahp": "/x" }"#));
        for (key, _) in REFUSED {
            let text = refusal(&format!(r#"{{ "{key}": "x" }}"#));
            assert!(text.contains(&format!("{key} is not supported; ")), "{text}");
        }
    }
}
