//! config.md, "Mounts".

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::World;
use tests::need::IDMAP_TMPFS;

use super::{Row, Runtime, bundle, by, mount, refused, says, tmpfs};

pub(super) fn rows() -> Vec<Row> {
    vec![
        says(
            "config/13",
            "mounts MUST be made in the listed order",
            |c| {
                tmpfs(c, "/tmp/a");
                tmpfs(c, "/tmp");
            },
            "test -e /tmp/a; echo $?",
            "1\n",
        ),
        says(
            "config/14",
            "a relative destination MUST be taken as relative to /",
            |c| tmpfs(c, "new/dir"),
            "grep -c ' /new/dir tmpfs' /proc/mounts",
            "1\n",
        ),
        by("config/15", "a bind's source is absolute or relative to the bundle", relative_source),
        by("config/16", "every option that MUST be implemented, on a filesystem", of_filesystems)
            .not_the_peers("they pass words they do not know on, and the kernel refuses"),
        by("config/17", "every option that MUST be implemented, on a bind", of_binds)
            .not("crun", "1.8 does not take a flag back"),
        by("config/18", "bind shows a directory, rbind what is mounted below it as well", binds),
        by("config/19", "private, slave, shared, unbindable and their r forms", propagation)
            .not("crun", "1.8 leaves slaves private"),
        says(
            "config/20",
            "remount changes what is mounted there",
            |c| {
                let options = json!(["nosuid", "size=1m"]);
                let entry = |options| {
                    json!({ "destination": "/m", "type": "tmpfs", "source": "tmpfs",
                            "options": options })
                };
                mount(c, entry(options));
                mount(c, entry(json!(["remount", "ro", "nosuid"])));
            },
            "grep ' /m ' /proc/mounts | cut -d' ' -f4 | tr ',' '\\n' | grep -x -e ro -e nosuid",
            "ro\nnosuid\n",
        ),
        refused(
            "config/21",
            "uidMappings MUST be given along with gidMappings",
            &[("mounts[", |c| {
                let map = json!([{ "containerID": 0, "hostID": 5, "size": 1 }]);
                mount(
                    c,
                    json!({ "destination": "/m", "source": "/usr", "options": ["bind"],
                                 "uidMappings": map }),
                );
            })],
        )
        .not_the_peers("runc before 1.2 ignores it, crun takes the one"),
        refused(
            "config/22",
            "idmap without mappings and user namespace MUST be an error",
            &[("mounts[", |c| {
                mount(
                    c,
                    json!({ "destination": "/m", "source": "/usr",
                                 "options": ["bind", "idmap"] }),
                );
            })],
        )
        .not_the_peers("runc before 1.2 and crun 1.8 ignore it"),
        by("config/23", "idmap MUST use the mappings of the mount", idmap)
            .needs(&[IDMAP_TMPFS])
            .not("runc", "before 1.2 it needs a user namespace"),
    ]
}

/// Words, and what `/proc/self/mountinfo` then has, or has not (`!`), among the options.
const ATTRIBUTES: &[(&[&str], &str)] = &[
    (&["atime"], "relatime"),
    (&["defaults"], "rw"),
    (&["nodev", "dev"], "!nodev"),
    (&["nodiratime"], "nodiratime"),
    (&["nodiratime", "diratime"], "!nodiratime"),
    (&["noexec"], "noexec"),
    (&["noexec", "exec"], "!noexec"),
    (&["noatime"], "noatime"),
    (&["nodev"], "nodev"),
    (&["norelatime"], "rw"),
    (&["nostrictatime"], "relatime"),
    (&["nosuid"], "nosuid"),
    (&["nosuid", "suid"], "!nosuid"),
    (&["relatime"], "relatime"),
    (&["ro"], "ro"),
    (&["ro", "rw"], "rw"),
    (&["strictatime"], "!relatime"),
];

/// Those of the filesystem itself.
const OF_THE_FILESYSTEM: &[(&[&str], &str)] = &[
    (&["async"], "!sync"),
    (&["sync"], "sync"),
    (&["dirsync"], "dirsync"),
    (&["lazytime"], "lazytime"),
    (&["nolazytime"], "!lazytime"),
    (&["iversion"], "rw"),
    (&["noiversion"], "rw"),
    (&["loud"], "rw"),
    (&["silent"], "rw"),
];

fn shows(
    world: &World,
    runtime: &Runtime<'_>,
    lists: &[&[(&[&str], &str)]],
    entry: impl Fn(&[&str]) -> Value,
) -> Result<()> {
    let rows: Vec<_> = lists.iter().flat_map(|list| list.iter()).collect();
    let script = "awk '$5 ~ /^\\/m/ { n = $6 \",\" $NF; print $5, n }' /proc/self/mountinfo";
    let dir = bundle(world, &["sh", "-c", script], |c| {
        for (number, (words, _)) in rows.iter().enumerate() {
            let mut entry = entry(words);
            entry["destination"] = json!(format!("/m{number}"));
            mount(c, entry);
        }
    })?;
    let output = runtime.run(world, &dir)?;
    for (number, (words, wanted)) in rows.iter().enumerate() {
        let line = output.stdout.lines().find_map(|line| {
            let (path, options) = line.split_once(' ')?;
            (path == format!("/m{number}")).then_some(options)
        });
        let has = |word: &str| line.is_some_and(|line| line.split(',').any(|it| it == word));
        let right = match wanted.strip_prefix('!') {
            Some(unwanted) => line.is_some() && !has(unwanted),
            None => has(wanted),
        };
        ensure!(right, "{words:?} gives {line:?}, not {wanted}\n{output}");
    }
    Ok(())
}

fn of_filesystems(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    shows(
        world,
        runtime,
        &[ATTRIBUTES, OF_THE_FILESYSTEM],
        |words| json!({ "type": "tmpfs", "source": "tmpfs", "options": words }),
    )
}

/// On a bind the flags of the filesystem are those of its owner.
fn of_binds(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let source = world.new_directory("source")?;
    shows(world, runtime, &[ATTRIBUTES], |words| {
        let options: Vec<&str> = [&["bind"], words].concat();
        json!({ "type": "none", "source": source, "options": options })
    })
}

fn relative_source(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let dir = bundle(world, &["cat", "/m"], |c| {
        mount(c, json!({ "destination": "/m", "source": "file", "options": ["bind"] }));
    })?;
    std::fs::write(dir.join("file"), "found\n")?;
    let output = runtime.run(world, &dir)?;
    ensure!(output.stdout == "found\n", "{output}");
    Ok(())
}

fn binds(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let source = world.new_directory("source")?;
    std::fs::create_dir(source.join("below"))?;
    world.mount("tmpfs", &source.join("below"), "mode=755")?;
    std::fs::write(source.join("below/file"), "")?;
    let script = "ls /one/below; echo; ls /all/below";
    let dir = bundle(world, &["sh", "-c", script], |c| {
        for (path, option) in [("/one", "bind"), ("/all", "rbind")] {
            mount(c, json!({ "destination": path, "source": source, "options": [option] }));
        }
    })?;
    let output = runtime.run(world, &dir)?;
    ensure!(output.stdout == "\nfile\n", "{output}");
    Ok(())
}

fn propagation(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    // Shared with itself, so that a slave of it has a master.
    let source = world.new_directory("source")?;
    world.mount("tmpfs", &source, "mode=755")?;
    std::fs::create_dir(source.join("below"))?;
    world.mount("tmpfs", &source.join("below"), "mode=755")?;
    world.tool("mount").arg("--make-rshared").arg(&source).ok()?;
    let rows = [
        ("private", "-", "any"),
        ("rprivate", "-", "-"),
        ("slave", "master", "any"),
        ("rslave", "master", "master"),
        ("shared", "shared", "any"),
        ("rshared", "shared", "shared"),
        ("unbindable", "unbindable", "any"),
        ("runbindable", "unbindable", "unbindable"),
    ];
    let script = "awk '$5 ~ /^\\/m/ { k = $7; sub(/:.*/, \"\", k); print $5, k }' \
                  /proc/self/mountinfo";
    let dir = bundle(world, &["sh", "-c", script], |c| {
        for (word, ..) in rows {
            mount(
                c,
                json!({ "destination": format!("/m-{word}"), "source": source,
                             "options": ["rbind", word] }),
            );
        }
    })?;
    let output = runtime.run(world, &dir)?;
    for (word, top, below) in rows {
        for (path, wanted) in [(format!("/m-{word}"), top), (format!("/m-{word}/below"), below)] {
            let seen = output.stdout.lines().find_map(|line| {
                line.split_once(' ').filter(|(at, _)| *at == path).map(|(_, kind)| kind)
            });
            let right = wanted == "any" || seen == Some(wanted);
            ensure!(right, "{path} is {seen:?}, not {wanted}\n{output}");
        }
    }
    Ok(())
}

fn idmap(world: &World, runtime: &Runtime<'_>) -> Result<()> {
    let source = world.new_directory("source")?;
    std::fs::write(source.join("file"), "")?;
    let dir = bundle(world, &["stat", "-c", "%u %g", "/m/file"], |c| {
        c["ociVersion"] = json!("1.1.0");
        let map = json!([{ "containerID": 0, "hostID": 4000, "size": 100 }]);
        mount(
            c,
            json!({ "destination": "/m", "source": source, "options": ["bind", "idmap"],
                         "uidMappings": map, "gidMappings": map }),
        );
    })?;
    let output = runtime.run(world, &dir)?;
    ensure!(output.stdout == "4000 4000\n", "{output}");
    Ok(())
}
