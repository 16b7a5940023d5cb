//! `daemon.json`, and what happens to containers as `isula events` tells it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("host_settings::defaults_of_containers", NEEDS, defaults),
        story("host_settings::directories_and_what_is_refused", NEEDS, directories),
        story("host_settings::hooks_of_the_host_come_first", NEEDS, hooks),
        story("host_settings::a_start_that_takes_too_long", NEEDS, too_long),
        story("events::of_a_life", NEEDS, life),
        story("events::as_they_happen", NEEDS, stream),
    ]
}

fn settings(world: &World, document: &Value) -> Result<String> {
    let path = world.path("daemon.json");
    std::fs::write(&path, document.to_string())?;
    Ok(path.to_str().context("a name")?.to_owned())
}

fn defaults(world: &World) -> Result<()> {
    let parent = format!("/{}", world.name());
    let json = settings(
        world,
        &json!({
            "cgroup-parent": parent,
            "native.umask": "normal",
            "default-ulimits": { "nofile": { "Name": "nofile", "Soft": 123, "Hard": 456 } },
            "container-log": { "driver": "json-file", "opts": { "max-file": "3" } },
        }),
    )?;
    let rootfs = world.busybox()?;
    let script = "umask; ulimit -n; ulimit -Hn; cat /proc/self/cgroup";
    let run = |further: &[&str]| {
        let rootfs = rootfs.to_str().context("a name")?;
        let first = ["--daemon-json", &json, "run", "--rm", "--external-rootfs", rootfs];
        let words = [&first[..], further, &["none", "sh", "-c", script]].concat();
        world.isula(words).ok()
    };
    let said = run(&["--cgroupns", "host"])?;
    ensure!(said.stdout.starts_with("0022\n123\n456\n"), "{said}");
    ensure!(said.stdout.contains(&format!(":{parent}/")), "{said}");
    let options = ["--ulimit", "nofile=99", "--annotation", "native.umask=secure"];
    let said = run(&options)?;
    ensure!(said.stdout.starts_with("0027\n99\n99\n"), "{said}");
    Ok(())
}

fn directories(world: &World) -> Result<()> {
    let (graph, state) = (world.path("root"), world.path("state"));
    let json = settings(world, &json!({ "graph": graph, "state": state, "log-level": "ERROR" }))?;
    let container = world.sleeper(&[])?;
    let isula = |words: &[&str]| {
        world.program("isula").args(["--daemon-json", &json]).args(words.iter().copied())
    };
    isula(&["ps", "-q", "--no-trunc"]).ok()?.expect_stdout(&format!("{}\n", container.id()))?;
    let info = isula(&["info"]).ok()?;
    ensure!(info.stdout.contains(&format!("iSulad Root Dir: {}\n", graph.display())), "{info}");

    let rootfs = world.busybox()?;
    let rootfs = rootfs.to_str().context("a name")?.to_owned();
    let refused = |document: Value, text: &str| -> Result<()> {
        let json = settings(world, &document)?;
        let words = ["--daemon-json", &json, "run", "--external-rootfs", &rootfs, "none", "true"];
        let call = world.isula(words).output()?;
        let told = call.stderr.replace(&json, "daemon.json");
        ensure!(told.contains(text) && call.code() == 125, "{text:?} is not in {call}");
        Ok(())
    };
    refused(
        json!({ "registry-mirrors": ["docker.io"] }),
        "isula: run: daemon.json: registry-mirrors is not supported; there are no images: \
         containers run in directories; remove it",
    )?;
    refused(json!({ "grahp": "/x" }), "isula: run: daemon.json: grahp is not known; remove it")?;
    refused(
        json!({ "log-level": "loud" }),
        "isula: run: daemon.json: log-level \"loud\": use FATAL, ALERT, CRIT, ERROR, WARN, NOTICE, \
         INFO, DEBUG or TRACE",
    )?;
    refused(
        json!({ "start-timeout": "soon" }),
        "isula: run: daemon.json: start-timeout: \"soon\" is not a time; write it like 30s, 1m30s \
         or 1500ms",
    )?;
    refused(
        json!({ "default-runtime": "nobody" }),
        "--runtime \"nobody\": no such runtime; install it, give its absolute path, or add it to \
         runtimes in daemon.json",
    )?;
    std::fs::write(world.path("daemon.json"), "{")?;
    isula(&["ps"]).code(1)?;
    // What a container runs with was settled when it was made: it can always be stopped.
    settings(world, &json!({ "graph": graph, "state": state, "hosts": ["unix:///x"] }))?;
    isula(&["stop", "-t", "0", container.id()]).ok()?;
    container.remove()
}

fn hooks(world: &World) -> Result<()> {
    let dir = world.new_directory("hooks")?;
    let log = world.path("order");
    let document = |word: &str| -> Result<PathBuf> {
        let program = dir.join(word);
        std::fs::write(&program, format!("#!/bin/sh\necho {word} >> {}\n", log.display()))?;
        world.tool("chmod").arg("755").arg(&program).ok()?;
        let path = dir.join(format!("{word}.json"));
        std::fs::write(&path, json!({ "prestart": [{ "path": program }] }).to_string())?;
        Ok(path)
    };
    let (host, own) = (document("host")?, document("own")?);
    let json = settings(world, &json!({ "hook-spec": host }))?;
    let rootfs = world.busybox()?;
    let own = own.to_str().context("a name")?;
    let options = ["--daemon-json", &json, "--rm", "--hook-spec", own];
    world.isula_with("run", &options, &rootfs, &["true"]).ok()?;
    let order = std::fs::read_to_string(&log)?;
    ensure!(order == "host\nown\n", "{order:?}");
    std::fs::remove_file(&host)?;
    let call = world.isula_with("run", &options, &rootfs, &["true"]);
    call.code(125)?.expect_stderr(&format!(
        "Stat hook spec file failed: {}: no such file or directory (ENOENT)",
        host.display()
    ))?;
    Ok(())
}

fn too_long(world: &World) -> Result<()> {
    let dir = world.new_directory("hooks")?;
    let program = dir.join("slow");
    std::fs::write(&program, "#!/bin/sh\nexec sleep 100\n")?;
    world.tool("chmod").arg("755").arg(&program).ok()?;
    let spec = dir.join("hookspec.json");
    let entry = json!({ "path": program, "timeout": 90 });
    std::fs::write(&spec, json!({ "prestart": [entry] }).to_string())?;
    let json = settings(world, &json!({ "start-timeout": "1500ms" }))?;
    let rootfs = world.busybox()?;
    let spec = spec.to_str().context("a name")?;
    let options = ["--daemon-json", &json, "--name", "slow", "--hook-spec", spec];
    let call = world.isula_with("run", &options, &rootfs, &["true"]);
    call.code(125)?
        .expect_stderr("isula: run: it was not up within 1.5 s (start-timeout in daemon.json)")?;
    world.isula(["inspect", "-f", "{{.State.Status}}", "slow"]).ok()?.expect_stdout("exited\n")?;
    world.isula(["rm", "slow"]).ok()?;
    Ok(())
}

fn life(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "seen", "--stop-signal", "KILL"])?;
    container.exec(["sh", "-c", "exit 3"]).code(3)?;
    container.isula("pause", [""; 0]).ok()?;
    container.isula("unpause", [""; 0]).ok()?;
    world.isula(["rename", "seen", "known"]).ok()?;
    container.isula("stop", [""; 0]).ok()?;
    let id = container.id().to_owned();
    container.remove()?;
    let now = ["events", "-S", "1h", "-U", "0ms", "--format", "{{.action}} {{.attributes.name}}"];
    let said = world.isula(now).ok()?;
    let wanted = "create seen\nstart seen\nexec_start seen\nexec_die seen\npause seen\nunpause \
                  seen\nrename known\nexit known\nstop known\nremove known\n";
    ensure!(said.stdout == wanted, "{said}");
    let of_one = world.isula(["events", "-S", "1h", "-U", "0ms", "-n", &id[..12]]).ok()?;
    let exit = of_one.stdout.lines().find(|line| line.contains(" container exit ")).unwrap_or("");
    ensure!(
        exit.ends_with(&format!(" {id} (name=known, image=none, exitCode=137, reason=)")),
        "{of_one}"
    );
    let of_none = world.isula(["events", "-S", "1h", "-U", "0ms", "-n", "other"]).ok()?;
    ensure!(of_none.stdout.is_empty(), "{of_none}");
    let wrong = world.isula(["events", "-S", "soon"]).code(1)?;
    wrong.expect_stderr(
        "isula: events: \"soon\" is not a time; write it like 2026-01-31T12:00:00Z, 1769860800 or \
         10m (ago)",
    )?;
    Ok(())
}

/// Whoever waits sees each as it comes, over a rotation of the file, too.
fn stream(world: &World) -> Result<()> {
    let out = world.path("seen.txt");
    let script = "exec \"$0\" \"$@\" > \"$OUT\"";
    let program = tests::world::binaries()?.join("isula");
    let mut watcher = world
        .tool("sh")
        .args(["-c", script])
        .arg(&program)
        .arg("--root")
        .arg(world.root())
        .arg("--state")
        .arg(world.state())
        .args(["events", "--format", "{{.action}}"])
        .env("OUT", &out)
        .command()
        .spawn()?;
    let soon = Duration::from_secs(10);
    let log = world.state().join("events.log");
    world.until("it watches", soon, || Ok(out.exists().then_some(())))?;
    let rootfs = world.busybox()?;
    let run = || world.isula_with("run", &["--rm"], &rootfs, &["true"]).ok();
    let seen = |count: usize| {
        world.until(&format!("{count} events are seen"), soon, || {
            let text = std::fs::read_to_string(&out)?;
            Ok((text.matches("remove\n").count() >= count).then_some(()))
        })
    };
    // It may still be on its way to the end of the file.
    world.until("the first is seen", soon, || {
        run()?;
        Ok(std::fs::read_to_string(&out)?.contains("remove\n").then_some(()))
    })?;
    let before = std::fs::read_to_string(&out)?.matches("remove\n").count();
    std::fs::rename(&log, log.with_extension("log.1"))?;
    run()?;
    seen(before + 1)?;
    watcher.kill()?;
    watcher.wait()?;
    Ok(())
}
