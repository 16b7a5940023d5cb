//! What a person reads when something is wrong: the words, the exit code, nothing on stdout.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, story};

use crate::crash::kill_program;

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("errors::of_create_and_run", NEEDS, of_run),
        story("errors::of_the_other_verbs", NEEDS, of_verbs),
        story("errors::of_verbs_on_a_wrong_state", NEEDS, of_states),
        story("errors::of_hook_specs", NEEDS, of_hook_specs),
        story("errors::of_env_target_files", NEEDS, of_env_files),
        story("errors::of_what_the_host_has", NEEDS, of_the_host),
        story("errors::of_copies", NEEDS, of_copies),
        story("errors::what_is_not_done_is_refused_by_name", NEEDS, not_done),
    ]
}

/// Options of `isula run`, and what they must be answered with (exit code 125).
const RUN: &[(&[&str], &str)] = &[
    (&["--name", "-x"], "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed."),
    (&["--restart", "sometimes"], "Invalid restart policy"),
    (&["--restart", "always:3"], "Maximum retry count cannot be used with restart policy 'always'"),
    (&["--restart", "on-failure:x"], "Maximum retry count must be an integer"),
    (&["--rm", "--restart", "always"], "Conflicting options: --restart and --rm"),
    (&["--user-remap", "100000:100000:65536"], "--user-remap only available for system container"),
    (&["--system-container", "--user-remap", "1:2"], "Invalid user remap specification '1:2'"),
    (&["--ns-change-opt", "net"], "Unsupported ns-change-opt param in normal container"),
    (&["--system-container", "--ns-change-opt", "pid"], "invalid ns-change-opt pararm:pid"),
    (&["--host-channel", "/a:/b"], "Bad host channel format: /a:/b"),
    (&["--host-channel", "a:/b:rw:1M"], "Host channel host path should be absolute: a"),
    (&["--host-channel", "/nowhere/a:/b:rw:4095"], "Invalid size, larger than 4KB is allowed"),
    (&["--memory", "1M"], "Minimum memory limit allowed is 4MB"),
    (&["--memory-swappiness", "101"], "valid memory swappiness range is 0-100"),
    (&["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000."),
    (&["--cpu-period", "10"], "CPU cfs period can not be less than 1ms (i.e. 1000)"),
    (&["--cpus", "1", "--cpu-period", "5000"], "Nano CPUs and CPU Period cannot both be set."),
    (&["--cpuset-cpus", "4095"], "Requested CPUs are not available"),
    (&["--sysctl", "kernel.panic=1"], "is not whitelist"),
    (&["--stop-signal", "SIGNONE"], "Invalid signal: SIGNONE"),
    (&["--device", "/dev/no-such-device"], "/dev/no-such-device"),
    (&["--cap-add", "FLY"], "FLY"),
    (&["--add-host", "db"], "Invalid extra hosts specification 'db'"),
    (&["--dns", "nowhere"], "Invalid dns ip address 'nowhere'."),
    (&["-v", "relative/path:/x"], "host path \"relative/path\" is not absolute"),
    (&["--no-such-option"], "--no-such-option"),
];

fn of_run(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let mut wrong = String::new();
    for (options, text) in RUN {
        let output = world.isula_with("run", options, &rootfs, &["true"]).output()?;
        let told = output.code() == 125
            && output.stderr.starts_with("isula: ")
            && output.stderr.contains(text)
            && output.stdout.is_empty();
        if !told {
            wrong += &format!("{text:?} (125) expected\n{output}");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    let list = world.isula(["ps", "-a", "-q"]).ok()?;
    ensure!(list.stdout.is_empty(), "nothing was made:\n{list}");
    Ok(())
}

fn of_verbs(world: &World) -> Result<()> {
    for verb in ["start", "stop", "kill", "rm", "inspect", "logs", "attach", "pause", "wait"] {
        let output = world.isula([verb, "nobody"]).code(1)?;
        let told = output.stderr.starts_with("isula: ") && output.stderr.contains("nobody");
        ensure!(told && output.stderr.lines().count() == 1, "one line that names it:\n{output}");
    }
    let output = world.isula(["exec", "nobody", "true"]).output()?;
    ensure!(output.code() == 125 && output.stderr.contains("nobody"), "{output}");
    Ok(())
}

/// One command line of `isula`, its exit code and what it says. `{id}` and `{short}` are the
/// container's.
type Row<'a> = (&'a [&'a str], i32, &'a str);

fn check(world: &World, id: &str, rows: &[Row<'_>]) -> Result<()> {
    let short = &id[..12.min(id.len())];
    let mut wrong = String::new();
    for (args, code, text) in rows {
        let text = text.replace("{id}", id).replace("{short}", short);
        let output = world.isula(args.iter().map(|arg| arg.replace("{id}", id))).output()?;
        let told = output.stderr.starts_with("isula: ") && output.stderr.contains(&text);
        if output.code() != *code || !told || !output.stdout.is_empty() {
            wrong += &format!("{text:?} ({code}) expected\n{output}");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}

fn of_states(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "one", "--log-opt", "disable-log=true"])?;
    let id = container.id().to_owned();
    let check = |rows: &[Row<'_>]| check(world, &id, rows);
    check(&[
        (
            &["rm", "one"],
            1,
            "You cannot remove a running container {id}. Stop the container before attempting \
             removal or use -f",
        ),
        (&["unpause", "one"], 1, "Container {id} is not paused"),
        (&["logs", "one"], 1, "disable console log: container {id} keeps none"),
        (
            &["rename", "one", "one"],
            1,
            "Renaming a container with the same name as its current name",
        ),
        (&["start", "--wait", "one"], 1, "--wait is for system containers"),
        (&["start", "--wait", "--attach", "one"], 1, "--wait and --attach contradict each other"),
        (&["start", "--attach", "one", "two"], 1, "--attach is for one container; name one"),
        (&["top", "one", "-o"], 1, "-o needs a list, as in -o pid,args"),
        (&["top", "one", "-x"], 1, "option \"-x\" of ps is not understood; use -ef or -o LIST"),
        (&["exec", "one", "-x", "true"], 125, "\"-x\" after the container is the command"),
        (&["exec", "-it", "one", "true"], 125, "the input device is not a TTY"),
        (&["exec", "-w", "tmp", "one", "true"], 125, "--workdir tmp: the path must be absolute"),
    ])?;
    container.isula("pause", [""; 0]).ok()?;
    check(&[
        (&["start", "one"], 1, "Cannot start a paused container, try unpause instead."),
        (&["pause", "one"], 1, "Container {id} is already paused"),
        (&["attach", "one"], 1, "You cannot attach to a paused container, unpause it first"),
        (
            &["exec", "one", "true"],
            125,
            "Container {id} is paused, unpause the container before exec: isula unpause {id}",
        ),
        (
            &["rm", "one"],
            1,
            "You cannot remove a paused container {id}. Unpause and then stop the container \
             before attempting removal or use -f",
        ),
    ])?;
    container.isula("unpause", [""; 0]).ok()?;
    container.isula("stop", ["-t", "0"]).ok()?;
    check(&[
        (&["pause", "one"], 1, "Container {id} is not running"),
        (&["kill", "one"], 1, "Cannot kill container: Container {id} is not running"),
        (&["exec", "one", "true"], 125, "Container is not running:{id}"),
        (&["attach", "one"], 1, "You cannot attach to a stopped container, start it first"),
    ])?;
    container.remove()?;

    // Without its shim a container can be stopped and removed, and that is said.
    let container = world.sleeper(&["--name", "one"])?;
    ensure!(kill_program(world, "isula-shim") == 1, "one shim\n{}", world.dump());
    let id = container.id().to_owned();
    self::check(
        world,
        &id,
        &[
            (&["attach", "one"], 1, "the shim has gone; the container runs on: isula stop {id}"),
            (&["pause", "one"], 1, "container {short} has no shim; stop it: isula stop {short}"),
        ],
    )?;
    container.remove()
}

/// Each is refused before anything is made.
fn run_rows(world: &World, rows: &[(&[&str], &str)]) -> Result<()> {
    let rootfs = world.busybox()?;
    let mut wrong = String::new();
    for (options, text) in rows {
        let output = world.isula_with("run", options, &rootfs, &["true"]).output()?;
        let told = output.stderr.starts_with("isula: ") && output.stderr.contains(text);
        if output.code() != 125 || !told || !output.stdout.is_empty() {
            wrong += &format!("{text:?} (125) expected\n{output}");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    let list = world.isula(["ps", "-a", "-q"]).ok()?;
    ensure!(list.stdout.is_empty(), "nothing was made:\n{list}");
    Ok(())
}

fn of_hook_specs(world: &World) -> Result<()> {
    let dir = world.new_directory("hooks")?;
    let path = |name: &str| dir.join(name).display().to_string();
    let program = |name: &str, mode: u32| -> Result<()> {
        fs::write(dir.join(name), "#!/bin/sh\n")?;
        Ok(fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode))?)
    };
    let spec = |name: &str, hook: &str| -> Result<String> {
        let text = serde_json::json!({"prestart": [{"path": hook}]}).to_string();
        fs::write(dir.join(name), text)?;
        Ok(path(name))
    };
    program("open", 0o777)?;
    program("plain", 0o644)?;
    program("theirs", 0o755)?;
    chown(dir.join("theirs"), Some(1234), None)?;
    fs::create_dir(dir.join("public"))?;
    program("public/hook", 0o755)?;
    fs::set_permissions(dir.join("public"), fs::Permissions::from_mode(0o777))?;
    let big = fs::File::create(dir.join("big"))?;
    big.set_len((10 << 20) + 1)?;

    let specs = [
        spec("missing.json", &path("nowhere"))?,
        spec("open.json", &path("open"))?,
        spec("plain.json", &path("plain"))?,
        spec("theirs.json", &path("theirs"))?,
        spec("public.json", &path("public/hook"))?,
        spec("directory.json", &path("public"))?,
        spec("relative.json", "hook")?,
    ];
    let texts = [
        format!("Cann't find path: {}", path("nowhere")),
        format!("{} should not be written by non-root; chmod go-w it", path("open")),
        format!("hook {} is not executable; chmod +x it", path("plain")),
        format!("Hook file {} isn't right,file owner should be root", path("theirs")),
        format!(
            "hook {}: {} should not be written by non-root; chmod go-w it",
            path("public/hook"),
            path("public")
        ),
        format!("Hook file {} isn't right,it should be a regular file", path("public")),
        "absolute".to_owned(),
    ];
    let mut rows: Vec<([&str; 2], &str)> =
        specs.iter().zip(&texts).map(|(it, text)| (["--hook-spec", &**it], &**text)).collect();
    let (big, itself, nowhere) = (path("big"), path(""), path("none.json"));
    let size = format!("Hook spec file size {} exceed limit: 10M", (10 << 20) + 1);
    let gone = format!("Stat hook spec file failed: {nowhere}");
    rows.push((["--hook-spec", &big], &size));
    rows.push((["--hook-spec", &itself], "Hook spec file must be a regular text file"));
    rows.push((["--hook-spec", &nowhere], &gone));
    rows.push((["--hook-spec", "hooks.json"], "Hook path \"hooks.json\" must be an absolute path"));
    let rows: Vec<(&[&str], &str)> = rows.iter().map(|(args, text)| (&args[..], *text)).collect();
    run_rows(world, &rows)
}

fn of_env_files(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    fs::create_dir_all(rootfs.join("etc/directory"))?;
    fs::File::create(rootfs.join("etc/large"))?.set_len((10 << 20) + 1)?;
    symlink("/etc/passwd", rootfs.join("etc/link"))?;
    let long = format!("LONG={}", "x".repeat(5000));
    let rows: [(&[&str], &str); 4] = [
        (&["/etc/directory"], "Env target file is a directory: /etc/directory"),
        (&["/etc/large"], "env target file '/etc/large', size exceed limit: "),
        (&["/etc/link"], "/etc/link"),
        (&["/etc/environment", "-e", &long], "Env is too long: LONG; at most "),
    ];
    for (values, text) in rows {
        let options = [&["--system-container", "--env-target-file"], values].concat();
        let output = world.isula_with("run", &options, &rootfs, &["true"]).code(125)?;
        output.expect_stderr(text)?;
        let list = world.isula(["ps", "-a", "-q"]).ok()?;
        for id in list.stdout.lines() {
            world.isula(["rm", "-f", id]).ok()?;
        }
    }
    Ok(())
}

fn of_the_host(world: &World) -> Result<()> {
    let there = world.new_directory("channel")?.display().to_string();
    let taken = format!("{there}:/channel:rw:1M");
    let free = format!("{there}/new:/channel:rw");
    let huge = format!("{free}:9000T");
    let exists = format!("Host path '{there}' already exists");
    let container = world.sleeper(&["--name", "down"])?;
    container.isula("stop", ["-t", "0"]).ok()?;
    let not_running =
        format!("Can not join namespace of a non running container {}", container.id());
    let options: &[(&[&str], &str)] = &[
        (&["--system-container", "--host-channel", &taken], &exists),
        (&["--system-container", "--host-channel", &huge], "is larger than half of total memory "),
        (&["--net", "container:down"], &not_running),
        (&["--device-read-bps", "/dev/null:1mb"], "/dev/null is not a block device"),
        (&["--device", "/dev/nothing-here"], "stat device /dev/nothing-here"),
        (&["--cpuset-mems", "4095"], "Requested memory nodes are not available"),
        (&["--device", &there], ": no device there"),
        (&["--files-limit", "5"], "limit each process instead: --files-limit-mode rlimit"),
        (&["--volumes-from", "nobody"], "--volumes-from nobody: no container matches"),
        (&["-ti"], "the input device is not a TTY"),
        (&["-d", "--wait"], "--wait is for system containers: an init says when it is up"),
        (&["--system-container", "--wait"], "--wait needs --detach; add it or drop --wait"),
    ];
    let rootfs = world.busybox()?;
    for (options, text) in options {
        world.isula_with("run", options, &rootfs, &["true"]).code(125)?.expect_stderr(text)?;
    }
    container.remove()
}

fn of_copies(world: &World) -> Result<()> {
    let container = world.sleeper(&["--name", "one"])?;
    let script = "mkdir -p /d/e; ln -s l2 /l1; ln -s l1 /l2";
    container.exec(["sh", "-c", script]).ok()?;
    let here = world.new_directory("copies")?.display().to_string();
    check(
        world,
        container.id(),
        &[
            (
                &["cp", "/a", "/b"],
                1,
                "must specify at least one container source; write CONTAINER:PATH",
            ),
            (
                &["cp", "one:/a", "one:/b"],
                1,
                "copying between containers is not supported; copy twice",
            ),
            (&["cp", "-L", "one:/l1", &here], 1, "container one: /l1: too many links"),
            (&["cp", "one:/nothing", &here], 1, "no such file or directory (ENOENT)"),
        ],
    )?;
    container.remove()
}

/// Verbs of the predecessor that are known and not done.
fn not_done(world: &World) -> Result<()> {
    for verb in ["pull", "images", "import", "load", "rmi", "tag", "search", "login", "logout"] {
        let output = world.isula([verb, "anything"]).output()?;
        let told = output.stderr.starts_with(&format!("isula: {verb}: not supported"));
        ensure!(output.code() != 0 && told && output.stdout.is_empty(), "{output}");
    }
    Ok(())
}
