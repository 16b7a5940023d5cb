//! bundle.md, and of config.md the root, the names, annotations and what is not known.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::World;

use super::{Row, Runtime, bundle, by, id, refused, rewrite, rootfs, same, says};

pub(super) fn rows() -> Vec<Row> {
    vec![
        by("bundle/1", "config.json MUST be in the root of the bundle", no_config),
        refused(
            "config/1",
            "ociVersion MUST be a semantic version",
            &[
                ("ociVersion", |c| c["ociVersion"] = json!("1.0")),
                ("ociVersion", |c| c["ociVersion"] = json!("new")),
                ("ociVersion", |c| c["ociVersion"] = json!("2.0.0")),
            ],
        )
        .not_the_peers("they take any string"),
        by("config/2", "root.path is absolute or relative to the bundle", relative_root),
        refused(
            "config/3",
            "a directory MUST exist at root.path",
            &[("open rootfs /no/such", |c| c["root"]["path"] = json!("/no/such"))],
        ),
        says(
            "config/4",
            "root.readonly: the root filesystem MUST be read-only inside",
            |c| c["root"]["readonly"] = json!(true),
            "touch /x 2>/dev/null; echo $?",
            "1\n",
        ),
        says("config/5", "it is not, by default", same, "touch /x && echo written", "written\n"),
        says("config/6", "hostname", |c| c["hostname"] = json!("box"), "hostname", "box\n"),
        says(
            "config/7",
            "domainname",
            |c| {
                c["ociVersion"] = json!("1.1.0");
                c["domainname"] = json!("box.test");
            },
            "cat /proc/sys/kernel/domainname",
            "box.test\n",
        )
        .not("runc", "1.1 does not know it"),
        refused(
            "config/8",
            "annotations: a key MUST NOT be empty",
            &[("annotations", |c| c["annotations"] = json!({ "": "value" }))],
        )
        .not_the_peers("they take it"),
        says(
            "config/9",
            "annotations: unknown keys MUST be ignored, a value may be empty",
            |c| c["annotations"] = json!({ "com.example.key": "value", "com.example.empty": "" }),
            "echo ran",
            "ran\n",
        ),
        by("config/10", "annotations are in the state", annotations),
        says(
            "config/11",
            "unknown properties MUST be ignored",
            |c| {
                c["future"] = json!({ "a": [1] });
                c["process"]["future"] = json!(1);
                c["linux"]["future"] = json!("x");
            },
            "echo ran",
            "ran\n",
        ),
        refused("config/12", "invalid values MUST be an error", INVALID)
            .not_the_peers("they let some of them pass"),
    ]
}

/// Each is of the right type and wrong all the same.
const INVALID: &[(&str, super::Change)] = &[
    ("process.user.umask", |c| c["process"]["user"]["umask"] = json!(0o17777)),
    ("process.oomScoreAdj", |c| c["process"]["oomScoreAdj"] = json!(2000)),
    ("process.env", |c| c["process"]["env"] = json!(["=x"])),
    ("hostname", |c| c["hostname"] = json!("x".repeat(65))),
    ("hostname", |c| {
        c["hostname"] = json!("x");
        super::drop_namespace(c, "uts");
    }),
    ("linux.rootfsPropagation", |c| c["linux"]["rootfsPropagation"] = json!("loud")),
    ("linux.resources.cpu.idle", |c| c["linux"]["resources"]["cpu"] = json!({ "idle": 7 })),
    ("linux.resources.devices[0].access", |c| {
        c["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "x" }]);
    }),
    ("windows", |c| c["windows"] = json!({ "layerFolders": [] })),
];

fn no_config(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["true"], same)?;
    std::fs::rename(dir.join("config.json"), dir.join("other.json"))?;
    let id = id(world, &dir)?;
    let create = runtime.verb(&["create", "--bundle"]).arg(&dir).arg(&id).output()?;
    ensure!(create.code() != 0, "{create}");
    runtime.fails(&["state", &id])?;
    Ok(())
}

fn relative_root(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["echo", "ran"], same)?;
    std::fs::rename(rootfs(&dir)?, dir.join("tree"))?;
    rewrite(&dir, |config| config["root"]["path"] = json!("tree"))?;
    let output = runtime.run(world, &dir)?;
    ensure!(output.stdout == "ran\n", "{output}");
    Ok(())
}

fn annotations(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let wanted: Value = json!({ "com.example.key": "value", "com.example.empty": "" });
    let dir = bundle(world, &["sleep", "1000"], |c| c["annotations"] = wanted.clone())?;
    let id = id(world, &dir)?;
    runtime.create(&dir, &id)?;
    let state = runtime.state(&id)?;
    ensure!(state["annotations"] == wanted, "{state}");
    runtime.remove(&id)
}
