//! What a bundle or a command line of `isula-runtime` may not ask for, and the words for it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, leaks, story};

use crate::oci::{bundle, runtime};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("oci_refused::members_of_a_bundle", NEEDS, members),
        story("oci_refused::command_lines", NEEDS, command_lines),
    ]
}

/// What is put where (a JSON pointer; `/-` appends), and how it is refused.
fn rows() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/annotations", json!({"": "x"}), "has an empty key; name it"),
        ("/uidMappings", json!([]), "belongs below linux; move it there"),
        (
            "/hooks",
            json!({"prestart": [{"path": "/bin/true", "timeout": 0}]}),
            "timeout is not above zero; leave it out for none",
        ),
        (
            "/linux/rootfsPropagation",
            json!("sideways"),
            "\"sideways\" is not one of private, rprivate, shared, ",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_SHEB"]}),
            "linux.seccomp: add SCMP_ARCH_SHEB: ",
        ),
        (
            "/linux/resources/rdma",
            json!({"mlx5_0": {}}),
            "has neither hcaHandles nor hcaObjects; give one",
        ),
        (
            "/linux/resources/blockIO",
            json!({"weightDevice": [{"major": 8, "minor": 0}]}),
            "has neither weight nor leafWeight; give one",
        ),
        (
            "/mounts/-",
            json!({"destination": "/", "type": "tmpfs", "source": "tmpfs"}),
            "is the root itself; change root.path instead",
        ),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "bind", "options": ["bind"]}),
            "a bind mount needs a source",
        ),
        (
            "/mounts/-",
            json!({"destination": "/x", "source": "/tmp"}),
            "has no type, and no bind among its options",
        ),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "proc", "options": ["tmpcopyup"]}),
            "only a tmpfs can begin with what it covers",
        ),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "cgroup", "options": ["rslave"]}),
            "mounts of cgroups are private; leave the propagation out",
        ),
        (
            "/mounts/-",
            json!({"destination": "/proc", "options": ["remount", "idmap"]}),
            "remount can neither idmap nor copy; leave that out",
        ),
        (
            "/mounts/-",
            json!({"destination": "/x", "source": "/tmp", "options": ["bind", "idmap"]}),
            "idmap needs uidMappings and gidMappings, or a user namespace of the container",
        ),
        ("/process/args", json!(["/garbage"]), "it is no program for this machine"),
    ]
}

fn members(world: &World) -> Result<()> {
    let mut wrong = String::new();
    for (number, (pointer, value, text)) in rows().into_iter().enumerate() {
        let dir = bundle(world, &["true"], |config| put(config, pointer, value))?;
        let config: Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
        let rootfs = config["root"]["path"].as_str().unwrap_or_default();
        let garbage = std::path::Path::new(rootfs).join("garbage");
        fs::write(&garbage, "\x7fELF of nothing")?;
        fs::set_permissions(&garbage, fs::Permissions::from_mode(0o755))?;
        let id = format!("refused{number}");
        let output = runtime(world, &["run", "--bundle"]).arg(&dir).arg(&id).output()?;
        let told = output.stderr.starts_with("isula-runtime: ") && output.stderr.contains(text);
        if output.code() == 0 || !told {
            wrong += &format!("{pointer}: {text:?} expected\n{output}");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    let left = runtime(world, &["list", "-q"]).ok()?;
    ensure!(left.stdout.is_empty(), "nothing was made:\n{left}");
    let cgroups = leaks::hierarchies().into_iter().map(|dir| dir.join(world.name()));
    for cgroup in cgroups.filter(|dir| dir.exists()) {
        let below = fs::read_dir(&cgroup)?.flatten().filter(|entry| entry.path().is_dir()).count();
        ensure!(below == 0, "{below} cgroups are left in {}", cgroup.display());
    }
    Ok(())
}

/// Like a JSON patch's `add` (RFC 6902): the members on the way are made.
fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut here = config;
    for name in pointer.split('/').skip(1) {
        here = match here {
            Value::Array(all) => {
                all.push(Value::Null);
                all.last_mut().expect("just pushed")
            }
            other => &mut other[name],
        };
    }
    *here = value;
}

fn command_lines(world: &World) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], |_| ())?;
    crate::oci::start(world, &dir, "one")?;
    let process = world.path("process.json");
    fs::write(&process, r#"{"args": ["true"], "cwd": "/"}"#)?;
    let process = process.display().to_string();
    let rows: &[(&[&str], &str)] = &[
        (&["exec", "one"], "name a command, or a --process file"),
        (
            &["exec", "--process", &process, "one", "true"],
            "--process names the command already: \"true\"",
        ),
        (
            &["update", "--resources", &process, "--pids-limit", "5", "one"],
            "--resources says it all; drop the other options",
        ),
        (
            &["install", "podman", "--program", "isula-runtime"],
            "--program isula-runtime: use its path",
        ),
        (&["--log-level", "loud", "list"], "--log-level: "),
        (&["checkpoint", "one"], "checkpoint"),
        (&["exec", "--cap", "CAP_FLY", "one", "true"], "CAP_FLY"),
    ];
    let mut wrong = String::new();
    for (args, text) in rows {
        let output = runtime(world, args).output()?;
        let told = output.stderr.starts_with("isula-runtime: ") && output.stderr.contains(text);
        if output.code() == 0 || !told || !output.stdout.is_empty() {
            wrong += &format!("{text:?} expected\n{output}");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    runtime(world, &["delete", "--force", "one"]).ok()?;
    Ok(())
}
