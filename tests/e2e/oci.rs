//! `isula-runtime` as engines call it.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, ROOT};
use tests::{Call, Story, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("oci::a_life_by_its_verbs", NEEDS, life),
        story("oci::run_passes_streams_and_code_on", NEEDS, run),
        story("oci::errors_are_what_callers_look_for", NEEDS, errors),
        story("oci::a_terminal_is_sent_over_its_socket", NEEDS, console),
        story("oci::exec_by_file_and_by_option", NEEDS, exec),
        story("oci::update_events_ps_and_pause", NEEDS, daily),
        story("oci::init_is_the_callers_child_and_holds_no_pipe", NEEDS, held),
        story("oci::descriptors_are_preserved", NEEDS, descriptors),
        story("oci::a_half_made_container_leaves_nothing", NEEDS, half_made),
        story("oci::several_delete_one_at_once", NEEDS, deleted_at_once),
        story("oci::what_a_killed_delete_left_is_deleted", NEEDS, abandoned),
        story("oci::tmpfs_that_begins_with_what_it_covers", NEEDS, copy_up),
        story("oci::annotations_and_the_policy_of_the_host", NEEDS, annotations),
        story("oci::the_cgroups_it_may_make_are_bounded", NEEDS, lid),
        story("oci::a_state_of_before_is_understood", NEEDS, older_state),
        story("oci::spec_writes_what_run_takes", NEEDS, spec),
        story("oci::install_prints_and_writes_once", NEEDS, install),
    ]
}

/// The directory of a container that has none of its state any more.
fn abandoned(world: &World) -> Result<()> {
    let left = world.path("oci").join("web");
    std::fs::create_dir_all(&left)?;
    ensure!(runtime(world, &["list", "-q"]).ok()?.stdout.is_empty(), "it is no container");
    let bundle = bundle(world, &["true"], same)?;
    let create = ["create", "--bundle", &*bundle.to_string_lossy(), "web"];
    runtime(world, &create).code(1)?.expect_stderr("exists; delete it or choose another id")?;
    runtime(world, &["delete", "web"]).ok()?;
    ensure!(!left.exists(), "it is gone");
    runtime(world, &["delete", "web"]).code(1)?.expect_stderr("does not exist")?;
    // It is gone when its program has ended.
    runtime(world, &[&["run"], &create[1..]].concat()).ok().map(drop)
}

/// A bundle whose process runs `args`; `change` may have its say.
pub(crate) fn bundle(
    world: &World,
    args: &[&str],
    change: impl FnOnce(&mut Value),
) -> Result<PathBuf> {
    let dir = world.new_directory("bundle")?;
    runtime(world, &["spec"]).directory(&dir).ok()?;
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["root"] = json!({ "path": world.busybox()? });
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(args);
    let name = dir.file_name().context("a name")?.to_string_lossy().into_owned();
    config["linux"]["cgroupsPath"] = json!(format!("/{}/{name}", world.name()));
    change(&mut config);
    std::fs::write(&path, serde_json::to_vec(&config)?)?;
    Ok(dir)
}

fn same(_: &mut Value) {}

pub(crate) fn runtime(world: &World, args: &[&str]) -> Call {
    world.program("isula-runtime").arg("--root").arg(world.path("oci")).args(args)
}

fn status(world: &World, id: &str) -> Result<String> {
    let output = runtime(world, &["state", id]).ok()?;
    ensure!(output.stderr.is_empty(), "{output}");
    let state: Value = serde_json::from_str(&output.stdout)?;
    Ok(state["status"].as_str().unwrap_or_default().to_owned())
}

fn until_status(world: &World, id: &str, wanted: &str) -> Result<()> {
    wait::until(format!("{id} is {wanted}"), Duration::from_secs(10), || {
        Ok((status(world, id)? == wanted).then_some(()))
    })
}

/// Created and started in the background, its output nobody's.
pub(crate) fn start(world: &World, dir: &std::path::Path, id: &str) -> Result<()> {
    create(world, dir, id)?;
    runtime(world, &["start", id]).ok()?;
    Ok(())
}

fn create(world: &World, dir: &std::path::Path, id: &str) -> Result<()> {
    let mut create = runtime(world, &["create", "--bundle"]).arg(dir).arg(id).command();
    let null = std::process::Stdio::null;
    let ended = create.stdin(null()).stdout(null()).stderr(null()).status()?;
    ensure!(ended.success(), "create ended with {ended}");
    Ok(())
}

/// Each that forces it succeeds, who looks meanwhile sees it or does not, and its hooks run once.
fn deleted_at_once(world: &World) -> Result<()> {
    let told = world.path("told");
    let dir = bundle(world, &["true"], |config| {
        let script = format!("echo gone >> {}", told.display());
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
        config["hooks"] = json!({ "poststop": [hook] });
    })?;
    for round in 1..=20 {
        create(world, &dir, "several")?;
        let verbs = [["delete", "--force", "several"], ["state", "several", ""]].repeat(3);
        let calls = verbs.iter().map(|words| {
            let words: Vec<_> = words.iter().copied().filter(|word| !word.is_empty()).collect();
            let mut call = runtime(world, &words).command();
            call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
        });
        let calls = calls.collect::<Result<Vec<_>, _>>()?;
        for (child, words) in calls.into_iter().zip(&verbs) {
            let ended = child.wait_with_output()?;
            let text = String::from_utf8_lossy(&ended.stderr).into_owned();
            let sound = text.is_empty()
                || words[0] == "state" && text.contains("container \"several\" does not exist");
            ensure!(sound, "round {round}: {words:?}: {text}");
        }
        let times = std::fs::read_to_string(&told)?.lines().count();
        ensure!(times == round, "round {round}: the hook has run {times} times");
    }
    Ok(())
}

fn life(world: &World) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    let pid_file = world.path("pid");
    let mut create = runtime(world, &["create", "--pid-file"]).arg(&pid_file);
    create = create.arg("--bundle").arg(&dir).arg("one");
    let null = std::process::Stdio::null;
    let ended = create.command().stdin(null()).stdout(null()).stderr(null()).status()?;
    ensure!(ended.success(), "create ended with {ended}");
    ensure!(status(world, "one")? == "created", "it is {}", status(world, "one")?);
    let pid: u32 = std::fs::read_to_string(&pid_file)?.parse()?;
    ensure!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "no process {pid}");

    runtime(world, &["start", "one"]).ok()?;
    ensure!(status(world, "one")? == "running", "it is {}", status(world, "one")?);
    let listed: Value =
        serde_json::from_str(&runtime(world, &["list", "--format", "json"]).ok()?.stdout)?;
    ensure!(listed[0]["id"] == "one" && listed[0]["pid"] == pid, "{listed}");
    runtime(world, &["delete", "one"]).code(1)?.expect_stderr(
        "isula-runtime: container \"one\" is running; stop it first, or force its removal\n",
    )?;
    runtime(world, &["kill", "one", "SIGKILL"]).ok()?;
    until_status(world, "one", "stopped")?;
    runtime(world, &["delete", "one"]).ok()?;
    runtime(world, &["delete", "--force", "one"]).ok()?;
    Ok(())
}

fn run(world: &World) -> Result<()> {
    let dir = bundle(world, &["sh", "-c", "cat; echo err >&2; exit 7"], same)?;
    let output = runtime(world, &["run", "--bundle"]).arg(&dir).arg("a").stdin("in\n").code(7)?;
    ensure!(output.stdout == "in\n" && output.stderr == "err\n", "{output}");
    let dir = bundle(world, &["sh", "-c", "kill -TERM $$; sleep 9"], |config| {
        // Without a pid namespace of its own it is no pid 1, which would not hear itself.
        config["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "uts" }]);
    })?;
    runtime(world, &["run", "--bundle"]).arg(&dir).arg("b").code(143)?;
    Ok(())
}

fn errors(world: &World) -> Result<()> {
    let log = world.path("log.json");
    let logged = |args: &[&str]| {
        world
            .program("isula-runtime")
            .arg("--root")
            .arg(world.path("oci"))
            .arg("--log")
            .arg(&log)
            .args(["--log-format", "json"])
            .args(args)
    };
    let output = logged(&["state", "none"]).code(1)?;
    ensure!(output.stdout.is_empty() && output.stderr.contains("does not exist"), "{output}");
    let record: Value = serde_json::from_str(&std::fs::read_to_string(&log)?)?;
    ensure!(record["level"] == "error", "{record}");
    ensure!(record["msg"] == "container \"none\" does not exist", "{record}");
    ensure!(record["time"].as_str().is_some_and(|time| time.contains('T')), "{record}");

    let dir = bundle(world, &["/no/such"], same)?;
    let output = logged(&["run", "--bundle"]).arg(&dir).arg("x").code(1)?;
    ensure!(output.stderr.contains("/no/such"), "{output}");
    let dir = bundle(world, &["true"], same)?;
    runtime(world, &["run", "--keep", "--bundle"]).arg(&dir).arg("y").ok()?;
    let output = runtime(world, &["kill", "y", "9"]).code(1)?;
    ensure!(output.stderr.contains("container not running"), "{output}");
    let output = runtime(world, &["exec", "y", "true"]).code(255)?;
    ensure!(output.stderr.contains("container not running"), "{output}");
    let again = runtime(world, &["run", "--bundle"]).arg(&dir).arg("y").code(1)?;
    ensure!(again.stderr.contains("exists; delete it or choose another id"), "{again}");
    runtime(world, &["delete", "y"]).ok()?;
    for verb in ["checkpoint", "restore"] {
        let output = runtime(world, &[verb, "--image-path", "/x", "y"]).code(1)?;
        ensure!(output.stderr.contains(&format!("{verb} is not supported")), "{output}");
    }
    runtime(world, &["create", "--fly", "y"]).code(1)?;
    Ok(())
}

fn console(world: &World) -> Result<()> {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    let dir = bundle(world, &["sh", "-c", "tty; sleep 0.2"], |config| {
        config["process"]["terminal"] = json!(true);
    })?;
    runtime(world, &["create", "--bundle"]).arg(&dir).arg("t").code(1)?.expect_stderr(
        "isula-runtime: the process has a terminal that nobody takes; give --console-socket\n",
    )?;
    let path = world.path("console.sock");
    let listener = UnixListener::bind(&path)?;
    let create = runtime(world, &["create", "--console-socket"]).arg(&path);
    create.arg("--bundle").arg(&dir).arg("t").ok()?;
    let (connection, _) = listener.accept()?;
    let mut payload = [0; 64];
    let (length, fds) = linux::socket::recv_fds(&connection, &mut payload, 1)?;
    ensure!(length > 0 && fds.len() == 1, "one descriptor, not {}", fds.len());
    runtime(world, &["start", "t"]).ok()?;
    let master: OwnedFd = fds.into_iter().next().context("a descriptor")?;
    let mut text = String::new();
    // It ends with EIO, when the last process of the container has closed the terminal.
    let _ = std::fs::File::from(master).read_to_string(&mut text);
    ensure!(text.trim_end() == "/dev/pts/0" || text.contains("/dev/"), "it said {text:?}");
    until_status(world, "t", "stopped")?;
    runtime(world, &["delete", "t"]).ok()?;
    std::fs::remove_file(path)?;
    Ok(())
}

fn exec(world: &World) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    start(world, &dir, "e")?;
    let output = runtime(world, &["exec", "--cwd", "/tmp", "-e", "A=b", "-u", "1000:1000", "e"])
        .args(["sh", "-c", "pwd; echo $A; id -u; exit 6"])
        .code(6)?;
    output.expect_stdout("/tmp\nb\n1000\n")?;
    let process = world.path("process.json");
    let document = json!({
        "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["sh", "-c", "echo by file; exit 5"],
        "env": ["PATH=/bin"],
    });
    std::fs::write(&process, document.to_string())?;
    runtime(world, &["exec", "--process"])
        .arg(&process)
        .arg("e")
        .code(5)?
        .expect_stdout("by file\n")?;
    let pid_file = world.path("exec.pid");
    let detached = json!({
        "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["sleep", "1000"], "env": ["PATH=/bin"],
    });
    std::fs::write(&process, detached.to_string())?;
    let mut call = runtime(world, &["exec", "--detach", "--pid-file"]).arg(&pid_file);
    call = call.arg("--process").arg(&process).arg("e");
    let null = std::process::Stdio::null;
    ensure!(call.command().stdin(null()).stdout(null()).stderr(null()).status()?.success());
    let pid: u32 = std::fs::read_to_string(&pid_file)?.parse()?;
    let pids: Vec<u32> =
        serde_json::from_str(&runtime(world, &["ps", "--format", "json", "e"]).ok()?.stdout)?;
    ensure!(pids.len() == 2 && pids.contains(&pid), "{pid} is not among {pids:?}");
    runtime(world, &["exec", "-u", "root", "e", "true"])
        .code(255)?
        .expect_stderr("isula-runtime: --user \"root\": use UID or UID:GID, in numbers\n")?;
    runtime(world, &["delete", "--force", "e"]).ok()?;
    Ok(())
}

fn daily(world: &World) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    start(world, &dir, "d")?;
    let table = runtime(world, &["ps", "d"]).ok()?;
    ensure!(table.stdout.lines().count() == 2 && table.stdout.contains("sleep 1000"), "{table}");
    let document = json!({ "pids": { "limit": 77 } }).to_string();
    runtime(world, &["update", "--resources", "-", "d"]).stdin(document).ok()?;
    runtime(world, &["update", "--cpu-share", "512", "d"]).ok()?;
    runtime(world, &["update", "d"])
        .code(1)?
        .expect_stderr("isula-runtime: nothing to change; name a limit or a --resources file\n")?;
    let limits = runtime(world, &["exec", "d", "sh", "-c"])
        .arg("cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null")
        .output()?;
    ensure!(limits.stdout == "77\n", "{limits}");
    let events = runtime(world, &["events", "--stats", "d"]).ok()?;
    let events: Value = serde_json::from_str(&events.stdout)?;
    ensure!(events["type"] == "stats" && events["data"]["pids"]["current"] == 1, "{events}");
    runtime(world, &["pause", "d"]).ok()?;
    ensure!(status(world, "d")? == "paused", "it is {}", status(world, "d")?);
    runtime(world, &["resume", "d"]).ok()?;
    ensure!(status(world, "d")? == "running", "it is {}", status(world, "d")?);
    runtime(world, &["kill", "--all", "d", "KILL"]).ok()?;
    until_status(world, "d", "stopped")?;
    runtime(world, &["delete", "d"]).ok()?;
    Ok(())
}

/// A shim waits for the end of the pipes that it gave to `create`, and for init as its own child.
fn held(world: &World) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], |config| {
        // What the container itself holds is its streams.
        config["process"]["args"] = json!(["sh", "-c", "exec sleep 1000 >/dev/null 2>&1"]);
    })?;
    // `output` reads both streams to their end, which is there only when nobody holds them.
    let script = r#""$0" --root "$1" create --bundle "$2" --pid-file "$3" h </dev/null >/dev/null 2>&1
                    read pid < "$3"; grep ^PPid "/proc/$pid/status"; "$0" --root "$1" start h"#;
    let call =
        world.tool("sh").args(["-c", script]).arg(tests::world::binaries()?.join("isula-runtime"));
    call.arg(world.path("oci")).arg(&dir).arg(world.path("h.pid")).ok()?;
    runtime(world, &["delete", "--force", "h"]).ok()?;
    Ok(())
}

fn descriptors(world: &World) -> Result<()> {
    let dir = bundle(world, &["sh", "-c", "cat <&3; ls /proc/self/fd"], same)?;
    let script = r#"exec 3<"$3"; "$0" --root "$1" run --preserve-fds 1 --bundle "$2" p"#;
    let program = tests::world::binaries()?.join("isula-runtime");
    let file = world.path("third");
    std::fs::write(&file, "the third\n")?;
    let call = world.tool("sh").args(["-c", script]).arg(&program);
    let output = call.arg(world.path("oci")).arg(&dir).arg(&file).ok()?;
    ensure!(output.stdout.starts_with("the third\n"), "{output}");
    let script = script.replace("3<\"$3\"", "3>&-");
    let missing = world.tool("sh").args(["-c", &script]).arg(program).arg(world.path("oci"));
    let missing = missing.arg(&dir);
    let output = missing.code(1)?;
    ensure!(output.stderr.contains("descriptor 3 is not open"), "{output}");
    Ok(())
}

fn half_made(world: &World) -> Result<()> {
    let dir = bundle(world, &["true"], |config| {
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] });
    })?;
    let output = runtime(world, &["create", "--bundle"]).arg(&dir).arg("f").code(1)?;
    ensure!(output.stderr.contains("createRuntime hook /bin/false"), "{output}");
    runtime(world, &["state", "f"]).code(1)?;
    Ok(())
}

fn copy_up(world: &World) -> Result<()> {
    let script = "ls -l /opt | grep -c file; cat /opt/deep/file; touch /opt/new; stat -c %a /opt";
    let dir = bundle(world, &["sh", "-c", script], |config| {
        let root = PathBuf::from(config["root"]["path"].as_str().unwrap_or_default());
        let made = std::fs::create_dir_all(root.join("opt/deep"))
            .and_then(|()| std::fs::write(root.join("opt/file"), ""))
            .and_then(|()| std::fs::write(root.join("opt/deep/file"), "covered\n"));
        made.expect("the rootfs can be written to");
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({ "destination": "/opt", "type": "tmpfs", "source": "tmpfs",
                            "options": ["rw", "nosuid", "tmpcopyup"] }));
    })?;
    let output = runtime(world, &["run", "--bundle"]).arg(&dir).arg("c").ok()?;
    output.expect_stdout("1\ncovered\n755\n")?;
    let config: Value = serde_json::from_slice(&std::fs::read(dir.join("config.json"))?)?;
    let root = PathBuf::from(config["root"]["path"].as_str().unwrap_or_default());
    ensure!(!root.join("opt/new").exists(), "it wrote through to the rootfs");
    Ok(())
}

fn annotations(world: &World) -> Result<()> {
    let script = "echo $container; mount | grep -c 'on /run type tmpfs'; \
                  mount | grep -E 'on /sys/fs/cgroup(/systemd)? ' | grep -c '[(,]rw[,)]'";
    let dir = bundle(world, &["sh", "-c", script], |config| {
        config["root"]["readonly"] = json!(false);
        config["annotations"] = json!({ "org.isula.system-container": "true" });
    })?;
    let output = runtime(world, &["run", "--bundle"]).arg(&dir).arg("s").ok()?;
    output.expect_stdout("isula\n1\n1\n")?;
    let policy = world.path("policy.json");
    std::fs::write(&policy, r#"{"forbid": ["org.isula.system-container"]}"#)?;
    let call = runtime(world, &["run", "--policy"]).arg(&policy).arg("--bundle").arg(&dir);
    call.arg("s").code(1)?.expect_stderr(
        "isula-runtime: config.json: annotations.org.isula.system-container: is forbidden on this \
         host by its policy file\n",
    )?;
    let dir = bundle(world, &["true"], |config| {
        config["annotations"] = json!({ "org.isula.system-container": "true",
                                        "org.isula.cgroup.max-descendants": "many" });
    })?;
    let output = runtime(world, &["run", "--bundle"]).arg(&dir).arg("u").code(1)?;
    ensure!(output.stderr.contains("give a number of cgroups"), "{output}");
    let dir = bundle(world, &["true"], |config| {
        config["annotations"] = json!({ "org.isula.fly": "high", "org.other": "x" });
    })?;
    let output = runtime(world, &["run", "--bundle"]).arg(&dir).arg("u").code(1)?;
    ensure!(output.stderr.contains("org.isula.fly: is not known to this runtime"), "{output}");
    Ok(())
}

/// Each costs the host memory.
fn lid(world: &World) -> Result<()> {
    // The v2 tree, beside those of v1 or instead of them.
    let script = "cd /sys/fs/cgroup/unified 2>/dev/null || cd /sys/fs/cgroup; n=0; \
                  while [ $n -lt 1010 ] && mkdir c$n 2>/dev/null; do n=$((n+1)); done; echo $n";
    for (annotation, wanted) in [(None, "1000\n"), (Some("3"), "3\n"), (Some("max"), "1010\n")] {
        let dir = bundle(world, &["sh", "-c", script], |config| {
            config["annotations"] = json!({ "org.isula.system-container": "true" });
            if let Some(number) = annotation {
                config["annotations"]["org.isula.cgroup.max-descendants"] = json!(number);
            }
        })?;
        let output = runtime(world, &["run", "--bundle"]).arg(&dir).arg("lid").ok()?;
        ensure!(output.stdout == wanted, "{annotation:?}\n{output}");
    }
    Ok(())
}

/// What the first released format has, and a later one that this program cannot know.
fn older_state(world: &World) -> Result<()> {
    let dir = bundle(world, &["sleep", "1000"], same)?;
    start(world, &dir, "o")?;
    let path = world.path("oci").join("o/state.json");
    let mut saved: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let members = [
        "version",
        "ociVersion",
        "id",
        "pid",
        "startTime",
        "bundle",
        "rootfs",
        "cgroup",
        "created",
    ];
    let object = saved.as_object_mut().context("an object")?;
    object.retain(|key, _| members.contains(&key.as_str()));
    std::fs::write(&path, saved.to_string())?;
    ensure!(status(world, "o")? == "running", "it is {}", status(world, "o")?);
    runtime(world, &["exec", "o", "true"]).ok()?;
    saved["version"] = json!(99);
    let whole = std::fs::read(&path)?;
    std::fs::write(&path, saved.to_string())?;
    let output = runtime(world, &["state", "o"]).code(1)?;
    ensure!(output.stderr.contains("it is of version 99, this runtime knows 1"), "{output}");
    std::fs::write(&path, whole)?;
    runtime(world, &["delete", "--force", "o"]).ok()?;
    Ok(())
}

fn spec(world: &World) -> Result<()> {
    let dir = world.new_directory("spec")?;
    runtime(world, &["spec", "--bundle"]).arg(&dir).ok()?;
    let output = runtime(world, &["spec", "--bundle"]).arg(&dir).code(1)?;
    ensure!(output.stderr.contains("exists; remove it, or name another --bundle"), "{output}");
    let features: Value = serde_json::from_str(&runtime(world, &["features"]).ok()?.stdout)?;
    ensure!(features["ociVersionMin"] == "1.0.0", "{features}");
    ensure!(features["linux"]["mountExtensions"]["idmap"]["enabled"] == true, "{features}");
    let version = runtime(world, &["--version"]).ok()?;
    ensure!(version.stdout.starts_with("isula-runtime version "), "{version}");
    Ok(())
}

fn install(world: &World) -> Result<()> {
    let printed = runtime(world, &["install", "podman"]).ok()?;
    ensure!(printed.stdout.contains("isula = [\"/usr/local/bin/isula-runtime\"]"), "{printed}");
    let path = world.path("isula.conf");
    let write = format!("--write={}", path.display());
    runtime(world, &["install", "crio", &write]).ok()?;
    ensure!(std::fs::read_to_string(&path)?.contains("[crio.runtime.runtimes.isula]"));
    let again = runtime(world, &["install", "crio", &write]).code(1)?;
    ensure!(again.stderr.contains("exists; merge by hand"), "{again}");
    runtime(world, &["install", "containerd", "--write"]).code(1)?;
    Ok(())
}
