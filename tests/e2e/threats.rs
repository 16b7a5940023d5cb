//! The rows of `docs/threats.md`: one hostile bundle each, through every door there is: run, exec
//! and the hooks that run inside.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::need::{BUSYBOX, ROOT};
use tests::{Call, Output, Story, Terminal, World, story, wait};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("threats::the_runtime_is_out_of_reach", NEEDS, overwrite),
        story("threats::no_descriptor_of_the_host_gets_in", NEEDS, descriptors),
        story("threats::a_working_directory_is_inside", NEEDS, working_directory),
        story("threats::a_swapped_null_masks_nothing_else", NEEDS, swapped_null),
        story("threats::a_swapped_console_leads_nowhere", NEEDS, swapped_console),
        story("threats::settings_do_not_go_to_a_fake_proc", NEEDS, fake_proc),
        story("threats::nothing_is_inherited", NEEDS, inherited),
    ]
}

/// A runtime of the story's own: nobody else runs this copy, so that it could be written to.
pub(crate) struct Own<'w> {
    pub(crate) world: &'w World,
    program: PathBuf,
    /// Where `create` sends a terminal.
    console: Option<PathBuf>,
}

impl<'w> Own<'w> {
    pub(crate) fn new(world: &'w World) -> Result<Self> {
        let program = world.path("isula-runtime");
        tests::rootfs::install(&tests::world::binaries()?.join("isula-runtime"), &program)?;
        Ok(Self { world, program, console: None })
    }

    pub(crate) fn with_console(mut self, socket: &Path) -> Self {
        self.console = Some(socket.to_owned());
        self
    }

    pub(crate) fn verb(&self, words: &[&str]) -> Call {
        let call = Call::new(&self.program).env("SYSC_WORLD", self.world.name());
        call.arg("--root").arg(self.world.path("oci")).args(words)
    }

    /// A bundle that runs this script.
    pub(crate) fn bundle(&self, script: &str, change: impl FnOnce(&mut Value)) -> Result<Bundle> {
        let dir = self.world.new_directory("bundle")?;
        self.verb(&["spec", "--bundle"]).arg(&dir).ok()?;
        let path = dir.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let rootfs = self.world.busybox()?;
        config["root"] = json!({ "path": rootfs });
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", script]);
        let id = dir.file_name().context("a name")?.to_string_lossy().into_owned();
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", self.world.name()));
        change(&mut config);
        std::fs::write(&path, config.to_string())?;
        Ok(Bundle { dir, rootfs, id })
    }

    fn run(&self, bundle: &Bundle) -> Result<Output> {
        self.verb(&["run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id).output()
    }

    /// Created, its streams a file's.
    pub(crate) fn create(&self, bundle: &Bundle) -> Result<()> {
        let mut call = self.verb(&["create", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
        if let Some(socket) = &self.console {
            call = call.arg("--console-socket").arg(socket);
        }
        self.quietly(bundle, &call)
    }

    fn quietly(&self, bundle: &Bundle, call: &Call) -> Result<()> {
        let said = std::fs::File::create(bundle.dir.join("said"))?;
        let mut command = call.command();
        command.stdin(std::process::Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let ended = command.status()?;
        ensure!(ended.success(), "{}: {ended}: {}", bundle.id, bundle.said());
        Ok(())
    }

    fn start(&self, bundle: &Bundle) -> Result<()> {
        self.create(bundle)?;
        self.verb(&["start", &bundle.id]).ok().map(drop)
    }

    fn pid(&self, bundle: &Bundle) -> Result<i64> {
        let state: Value = serde_json::from_str(&self.verb(&["state", &bundle.id]).ok()?.stdout)?;
        state["pid"].as_i64().context("a pid")
    }

    pub(crate) fn remove(&self, bundle: &Bundle) -> Result<()> {
        self.verb(&["delete", "--force", &bundle.id]).ok().map(drop)
    }
}

pub(crate) struct Bundle {
    pub(crate) dir: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) id: String,
}

impl Bundle {
    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("said")).unwrap_or_default()
    }

    fn until_it_says(&self, what: &str) -> Result<()> {
        wait::until(format!("{} says {what:?}", self.id), Duration::from_secs(30), || {
            Ok(self.said().contains(what).then_some(()))
        })
    }
}

fn privileged(config: &mut Value) {
    let all = json!([
        "CAP_SYS_PTRACE",
        "CAP_SYS_ADMIN",
        "CAP_DAC_OVERRIDE",
        "CAP_KILL",
        "CAP_CHOWN",
        "CAP_MKNOD",
        "CAP_SETPCAP"
    ]);
    config["process"]["capabilities"] =
        json!({ "bounding": all, "effective": all, "permitted": all });
}

fn mount(config: &mut Value, value: Value) {
    if let Some(list) = config["mounts"].as_array_mut() {
        list.push(value);
    }
}

fn join_pid_namespace(config: &mut Value, pid: i64) {
    if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
        list.retain(|entry| entry["type"] != "pid");
        list.push(json!({ "type": "pid", "path": format!("/proc/{pid}/ns/pid") }));
    }
}

/// A program without a path is one of a mount in no namespace: the runtime. One that is opened
/// before it ends is written to when nobody runs it any more.
const WATCHER: &str = "mkfifo /fifo; echo READY; while :; do for p in /proc/[0-9]*; do \
    case $(readlink $p/exe 2>/dev/null) in /|*/isula-runtime) \
      exec 9< $p/exe || continue; echo OPENED; \
      n=0; while [ $n -lt 200 ]; do n=$((n+1)); \
        [ $n = 100 ] && cat /fifo > /dev/null & \
        (echo x > /proc/self/fd/9) 2> /dev/null && { echo WROTE; exit; }; sleep 0.01; done; \
      echo TRIED; exit;; esac; done; done";

/// What the image has the kernel run is the runtime itself, which waits for a reader of its log.
const ITSELF: [&str; 6] = ["/proc/self/exe", "--log", "/fifo", "--debug", "state", "x"];

/// CVE-2019-5736.
fn overwrite(world: &World) -> Result<()> {
    for door in ["run", "exec", "hook"] {
        let own = Own::new(world)?;
        let before = std::fs::read(&own.program)?;
        let watcher = own.bundle(WATCHER, privileged)?;
        own.start(&watcher)?;
        watcher.until_it_says("READY")?;
        let pid = own.pid(&watcher)?;
        let rootfs = watcher.rootfs.clone();
        let victim = own.bundle("sleep 0", |config| {
            privileged(config);
            join_pid_namespace(config, pid);
            // The fifo is one for both.
            mount(
                config,
                json!({ "destination": "/fifo", "source": rootfs.join("fifo"),
                                  "options": ["bind"] }),
            );
            match door {
                "run" => config["process"]["args"] = json!(ITSELF),
                "hook" => {
                    let hook = json!({ "path": ITSELF[0], "args": ITSELF });
                    config["hooks"] = json!({ "startContainer": [hook] });
                }
                _ => {}
            }
        })?;
        match door {
            "exec" => drop(own.verb(&["exec", &watcher.id]).args(ITSELF).output()?),
            _ => drop(own.run(&victim)?),
        }
        wait::until("the attack is over", Duration::from_secs(60), || {
            let said = watcher.said();
            Ok((said.contains("TRIED") || said.contains("WROTE")).then_some(()))
        })?;
        let said = watcher.said();
        ensure!(said.contains("OPENED"), "{door}: the attack never got so far: {said}");
        ensure!(!said.contains("WROTE"), "{door}: {said}");
        ensure!(std::fs::read(&own.program)? == before, "{door}: the program was overwritten");
        own.remove(&watcher)?;
        own.verb(&["delete", "--force", &victim.id]).ok()?;
    }
    Ok(())
}

/// What a careless caller leaves open: directories of the host on 5 to 24, without close-on-exec.
fn careless(call: &Call) -> Call {
    let opens: String = (5..10).map(|fd| format!("exec {fd}</;")).collect();
    Call::new("sh").args(["-c", &format!("{opens} exec \"$@\""), "sh"]).args(call.argv())
}

/// CVE-2024-21626: what is open in a process of the container.
fn descriptors(world: &World) -> Result<()> {
    let own = Own::new(world)?;
    let list = "for fd in /proc/self/fd/*; do echo $fd $(readlink $fd); done; \
                ls -1 /proc/1/fd | tr '\\n' ' '";
    let inside = |text: &str| {
        // Below the shell's own: the stream of the list, and the links behind it.
        let numbers = text.lines().filter_map(|line| line.strip_prefix("/proc/self/fd/"));
        let high = numbers.filter_map(|line| line.split(' ').next()?.parse::<u32>().ok());
        high.filter(|fd| *fd > 2).count()
    };
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", format!("({list}) > /hooked")],
                       "env": ["PATH=/bin"] });
    let bundle = own.bundle(&format!("({list}) > /ran; sleep 1000"), |config| {
        config["hooks"] = json!({ "startContainer": [hook] });
    })?;
    let create = own.verb(&["create", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
    own.quietly(&bundle, &careless(&create))?;
    careless(&own.verb(&["start", &bundle.id])).ok()?;
    let ran = bundle.rootfs.join("ran");
    wait::until("it has run", Duration::from_secs(20), || {
        let said = std::fs::read_to_string(&ran).unwrap_or_default();
        Ok(said.ends_with(' ').then_some(()))
    })?;
    let exec = careless(&own.verb(&["exec", &bundle.id, "sh", "-c", list])).ok()?.stdout;
    let hooked = std::fs::read_to_string(bundle.rootfs.join("hooked"))?;
    let ran = std::fs::read_to_string(&ran)?;
    for (door, said) in [("run", ran), ("hook", hooked), ("exec", exec)] {
        ensure!(said.contains("/proc/self/fd/0 "), "{door} listed nothing: {said}");
        // The shell's own end of the list is one.
        ensure!(inside(&said) <= 1, "{door}: {said}");
        let hosts = said.lines().any(|line| line.ends_with(" /"));
        ensure!(!hosts, "{door}: a directory of the host is open: {said}");
    }
    own.remove(&bundle)
}

/// CVE-2024-21626: where a process of the container begins.
fn working_directory(world: &World) -> Result<()> {
    let own = Own::new(world)?;
    let marker = world.path("marker-of-the-host");
    std::fs::write(&marker, "")?;
    let up = "cd ../../../../../../..; ls -d $(pwd) bin/busybox; ls -d marker-of-the-host";
    let bundle = own.bundle("sleep 1000", |config| {
        let script = format!("({up}; readlink /proc/self/cwd) > /hooked 2>&1");
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script],
                           "env": ["PATH=/bin"] });
        config["hooks"] = json!({ "startContainer": [hook] });
    })?;
    // Called from a directory of the host.
    let create = own.verb(&["create", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
    own.quietly(&bundle, &create.directory(&world.path("")))?;
    own.verb(&["start", &bundle.id]).directory(&world.path("")).ok()?;
    let hooked = std::fs::read_to_string(bundle.rootfs.join("hooked"))?;
    ensure!(
        hooked.contains("bin/busybox\n") && hooked.contains("marker-of-the-host: No"),
        "{hooked}"
    );
    for fd in 0..40 {
        let cwd = format!("/proc/self/fd/{fd}");
        let script = "ls -d /proc/self/cwd/bin/busybox; cd /proc/self/cwd; pwd -P";
        let call = own.verb(&["exec", "--cwd", &cwd, &bundle.id, "sh", "-c", script]);
        let output = careless(&call.directory(&world.path(""))).output()?;
        ensure!(
            output.code() != 0 || output.stdout.starts_with("/proc/self/cwd/bin/busybox"),
            "{output}"
        );
    }
    own.remove(&bundle)?;
    for fd in 3..40 {
        let bundle = own.bundle("ls /proc/self/cwd/", |config| {
            config["process"]["cwd"] = json!(format!("/proc/self/fd/{fd}"));
        })?;
        let call = own.verb(&["run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
        let output = careless(&call).output()?;
        ensure!(!output.stdout.contains("home") && !output.stdout.contains("boot"), "{output}");
    }
    Ok(())
}

/// CVE-2025-31133: the image's own `/dev/null` is no source of a mask.
fn swapped_null(world: &World) -> Result<()> {
    let own = Own::new(world)?;
    let dev = world.new_directory("dev")?;
    std::os::unix::fs::symlink("/secret", dev.join("null"))?;
    let bundle = own.bundle("cat /proc/cpuinfo /masked; echo done; sleep 1000", |config| {
        privileged(config);
        if let Some(list) = config["mounts"].as_array_mut() {
            list.retain(|entry| {
                !entry["destination"].as_str().unwrap_or_default().starts_with("/dev")
            });
        }
        mount(config, json!({ "destination": "/dev", "source": dev, "options": ["bind"] }));
        config["linux"]["maskedPaths"] = json!(["/proc/cpuinfo", "/masked"]);
    })?;
    std::fs::write(bundle.rootfs.join("secret"), "what the mask would show")?;
    std::fs::write(bundle.rootfs.join("masked"), "what is masked")?;
    own.start(&bundle)?;
    bundle.until_it_says("done")?;
    ensure!(bundle.said() == "done\n", "{}", bundle.said());
    let exec = own.verb(&["exec", &bundle.id, "cat", "/proc/cpuinfo", "/masked"]).ok()?;
    ensure!(exec.stdout.is_empty(), "{exec}");
    // A cover is no way to the host's own node either.
    let exec = own.verb(&["exec", &bundle.id, "chmod", "777", "/masked"]).output()?;
    ensure!(exec.code() != 0, "{exec}");
    own.remove(&bundle)
}

/// CVE-2025-52565: the image's own `/dev/console` is no place for a terminal.
fn swapped_console(world: &World) -> Result<()> {
    let own = Own::new(world)?;
    let canary = world.path("canary");
    std::fs::write(&canary, "precious")?;
    for target in
        [canary.to_string_lossy().into_owned(), format!("../../../../..{}", canary.display())]
    {
        let dev = world.new_directory("dev")?;
        std::os::unix::fs::symlink(&target, dev.join("console"))?;
        let bundle = own.bundle("tty; echo in", |config| {
            config["process"]["terminal"] = json!(true);
            if let Some(list) = config["mounts"].as_array_mut() {
                list.retain(|entry| entry["destination"] != "/dev");
                let at = list.iter().position(|entry| entry["destination"] == "/dev/pts");
                let dev = json!({ "destination": "/dev", "source": dev, "options": ["bind"] });
                list.insert(at.unwrap_or(0), dev);
            }
            // Where the mounts of the container still are beside those of the host.
            let script = format!("! grep ' {} ' /proc/mounts", canary.display());
            let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script],
                               "env": ["PATH=/usr/bin:/bin"] });
            config["hooks"] = json!({ "createContainer": [hook] });
        })?;
        let call = own.verb(&["run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
        let mut terminal = Terminal::start(&call)?;
        // It may be refused, or be bound below the root; a mount on the host fails the hook.
        if terminal.expect("in").is_err() {
            ensure!(!terminal.screen().contains("createContainer"), "{}", terminal.screen());
        }
        ensure!(std::fs::read_to_string(&canary)? == "precious");
        own.verb(&["delete", "--force", &bundle.id]).ok()?;
    }
    Ok(())
}

/// CVE-2025-52881 and its elders: what the runtime writes to /proc goes to the kernel.
fn fake_proc(world: &World) -> Result<()> {
    let own = Own::new(world)?;
    let fake = world.new_directory("fake")?;
    std::fs::create_dir_all(fake.join("net/ipv4"))?;
    std::fs::write(fake.join("net/ipv4/ip_forward"), "fake\n")?;
    let covered = own.bundle("true", |config| {
        mount(config, json!({ "destination": "/proc/sys", "source": fake, "options": ["bind"] }));
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    })?;
    own.run(&covered)?.expect_stderr("set sysctl net/ipv4/ip_forward to \"1\"")?;
    let text = std::fs::read_to_string(fake.join("net/ipv4/ip_forward"))?;
    ensure!(text == "fake\n", "{text:?} was written to the fake");

    let bundle = own.bundle("sleep 1000", privileged)?;
    own.start(&bundle)?;
    // From inside: a /proc whose files are the image's own.
    let script = "mkdir /p && mount -t tmpfs tmpfs /p && mkdir -p /p/self/attr /p/thread-self && \
                  for f in oom_score_adj attr/exec uid_map setgroups; do echo fake > /p/self/$f; done; \
                  ln -s /p/self/oom_score_adj /p/link; mount --bind /p /proc; echo covered";
    own.verb(&["exec", &bundle.id, "sh", "-c", script]).ok()?.expect_stdout("covered\n")?;
    let process = json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
        "args": ["sh", "-c", "cat /proc/self/oom_score_adj; sleep 1000"], "oomScoreAdj": 302 });
    let file = bundle.dir.join("process.json");
    std::fs::write(&file, process.to_string())?;
    let pid_file = bundle.dir.join("pid");
    let exec = own.verb(&["exec", "--detach", "--pid-file"]).arg(&pid_file);
    own.quietly(&bundle, &exec.arg("--process").arg(&file).arg(&bundle.id))?;
    bundle.until_it_says("fake")?;
    let pid = std::fs::read_to_string(&pid_file)?;
    let score = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("oom_score_adj"))?;
    ensure!(score == "302\n", "the kernel was told {score:?}");
    own.remove(&bundle)
}

/// CVE-2022-29162.
fn inherited(world: &World) -> Result<()> {
    let own = Own::new(world)?;
    let bundle = own.bundle("sleep 1000", |_| {})?;
    own.start(&bundle)?;
    let sets = "grep -E 'Cap(Inh|Amb)' /proc/self/status | cut -f2";
    for options in [&[][..], &["--cap", "CAP_NET_ADMIN"], &["--user", "1000"]] {
        let exec = own.verb(&[&["exec"], options].concat()).args([&bundle.id, "sh", "-c", sets]);
        let output = exec.ok()?;
        ensure!(output.stdout == "0000000000000000\n".repeat(2), "{options:?}: {output}");
    }
    own.remove(&bundle)
}
