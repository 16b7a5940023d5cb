//! What a further process of a container must and must not be.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;

use anyhow::{Result, ensure};
use expect_test::{Expect, expect};
use libtest_mimic::Trial;
use linux::ns::Kind;
use linux::process::{self, ExitStatus};
use linux::pty::{self, Size};
use linux::signal::Signal;
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::{Value, json};

use crate::sandbox::Sandbox;

macro_rules! stories {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn all() -> Vec<Trial> {
            vec![$(Trial::test(stringify!($name), || {
                $name().map_err(|error| format!("{error:?}").into())
            })),*]
        }
    };
}

stories![
    output_and_exit_status_come_back,
    programs_that_cannot_run,
    it_is_where_init_is,
    it_may_what_it_was_given_and_no_more,
    a_filter_is_the_container_s,
    descriptors_of_the_host_stay_outside,
    a_working_directory_is_inside,
    a_terminal_of_the_container,
    in_a_user_namespace_it_is_nobody_outside,
    an_agent_decides_for_it,
    a_frozen_or_dead_container_takes_none,
    processors_as_asked,
    pid_file_and_own_cgroup,
];

fn plain(_: &mut Value) {}

fn status_of(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key, value.trim()))
        .collect()
}

fn output_and_exit_status_come_back() -> Result<()> {
    let sandbox = Sandbox::start(plain)?;
    let answer = sandbox.exec(&["sh", "-c", "echo hello; exit 7"], plain)?;
    assert_eq!(answer.text, "hello\n");
    assert_eq!(answer.status, ExitStatus::Exited(7));
    let answer = sandbox.exec(&["sh", "-c", "kill -9 $$"], plain)?;
    assert_eq!(answer.status.code(), 137);
    let answer = sandbox.exec(&["env"], |process| {
        process["env"] = json!(["A=1", "PATH=/bin"]);
        process["user"]["uid"] = json!(7);
    })?;
    assert_eq!(answer.text, "A=1\nPATH=/bin\nHOME=/home/web\n");
    Ok(())
}

fn refused(sandbox: &Sandbox, args: &[&str], change: impl FnOnce(&mut Value), expect: Expect) {
    let error = sandbox.refusal(args, change).expect("it is refused");
    expect.assert_eq(&format!("{:?}: {}", error.kind(), error.flatten()));
}

fn programs_that_cannot_run() -> Result<()> {
    let sandbox = Sandbox::start(plain)?;
    refused(
        &sandbox,
        &["nothing"],
        plain,
        expect![[r#"NotFound: run "nothing": executable file not found in $PATH"#]],
    );
    refused(
        &sandbox,
        &["/bin/nothing"],
        plain,
        expect![[r#"NotFound: run "/bin/nothing": no such file or directory (ENOENT)"#]],
    );
    refused(
        &sandbox,
        &["data"],
        plain,
        expect![[r#"PermissionDenied: run "/bin/data": permission denied (EACCES)"#]],
    );
    refused(
        &sandbox,
        &["true"],
        |process| process["cwd"] = json!("/nowhere"),
        expect!["NotFound: enter working directory /nowhere: no such file or directory (ENOENT)"],
    );
    refused(
        &sandbox,
        &[],
        plain,
        expect!["InvalidInput: config.json: process.args: is empty; name the program to run"],
    );
    Ok(())
}

fn it_is_where_init_is() -> Result<()> {
    let sandbox = Sandbox::start(plain)?;
    let (exec, _output) = sandbox.exec_to(&["sleep", "1000"], plain, |_| {})?;
    for kind in [
        Kind::Pid,
        Kind::Mount,
        Kind::Ipc,
        Kind::Uts,
        Kind::Net,
        Kind::Cgroup,
        Kind::User,
        Kind::Time,
    ] {
        let own = process::namespace_link(process::Pid::current(), kind)?;
        let init = process::namespace_link(sandbox.init_pid, kind)?;
        assert_eq!(process::namespace_link(exec.pid, kind)?, init);
        assert_eq!(own == init, kind == Kind::User, "{kind:?}");
    }
    let cgroup = |pid| fs::read_to_string(format!("/proc/{pid}/cgroup"));
    assert_eq!(cgroup(exec.pid)?, cgroup(sandbox.init_pid)?);
    ensure!(cgroup(exec.pid)?.contains(&sandbox.id));
    let root = |pid| fs::read_link(format!("/proc/{pid}/root"));
    assert_eq!(root(exec.pid)?, root(sandbox.init_pid)?);
    exec.pidfd.signal(Signal::KILL)?;
    exec.pidfd.wait()?;
    // Where we were before.
    let own = fs::read_link("/proc/self/ns/pid_for_children")?;
    assert_eq!(own, fs::read_link("/proc/self/ns/pid")?);
    Ok(())
}

fn it_may_what_it_was_given_and_no_more() -> Result<()> {
    let sandbox = Sandbox::start(plain)?;
    let answer = sandbox.exec(&["cat", "/proc/self/status", "/proc/self/limits"], |process| {
        process["user"] = json!({"uid": 7, "gid": 8, "umask": 0o77, "additionalGids": [9]});
        process["noNewPrivileges"] = json!(true);
        process["capabilities"] = json!({"bounding": ["CAP_KILL"]});
        process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]);
    })?;
    let seen = status_of(&answer.text);
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| seen[set]);
    assert_eq!(sets[..3], ["0000000000000000"; 3]);
    assert_eq!(sets[3..], ["0000000000000020", "0000000000000000"]);
    assert_eq!([seen["Uid"], seen["Gid"], seen["Groups"]], ["7\t7\t7\t7", "8\t8\t8\t8", "9"]);
    assert_eq!([seen["Umask"], seen["NoNewPrivs"], seen["Seccomp"]], ["0077", "1", "0"]);
    let open_files = answer.text.lines().find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = open_files.unwrap_or_default().split_whitespace().collect();
    assert_eq!(words[3..5], ["50", "60"]);

    let answer = sandbox.exec(&["cat", "/proc/self/status"], plain)?;
    let seen = status_of(&answer.text);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(seen[set], "0000000000000000", "{set}");
    }
    Ok(())
}

fn a_filter_is_the_container_s() -> Result<()> {
    let sandbox = Sandbox::start(|config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["uname"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    })?;
    let answer = sandbox.exec(&["cat", "/proc/self/status", "/proc/1/status"], plain)?;
    assert_eq!(answer.text.matches("Seccomp:\t2\n").count(), 2);
    let answer = sandbox.exec(&["busybox", "uname"], plain)?;
    assert!(matches!(answer.status, ExitStatus::Killed { signal: 31, .. }), "{answer:?}");
    assert_eq!(fs::read_dir(sandbox.path("seccomp"))?.count(), 1);
    Ok(())
}

fn descriptors_of_the_host_stay_outside() -> Result<()> {
    let sandbox = Sandbox::start(plain)?;
    let list = ["sh", "-c", "ls /proc/$$/fd; true"];
    assert_eq!(sandbox.exec(&list, plain)?.text, "0\n1\n2\n");

    // A descriptor that the caller forgot to mark.
    let secret = File::open("/etc/hostname")?;
    let leak = rustix::io::fcntl_dupfd_cloexec(&secret, 20)?;
    fcntl_setfd(&leak, FdFlags::empty())?;
    assert_eq!(sandbox.exec(&list, plain)?.text, "0\n1\n2\n");
    drop(leak);

    let mut given = Vec::new();
    while given.len() < 2 {
        let fd = rustix::io::fcntl_dupfd_cloexec(&secret, 3)?;
        fcntl_setfd(&fd, FdFlags::empty())?;
        given.push(fd);
    }
    drop(secret);
    let free = rustix::io::fcntl_dupfd_cloexec(&given[0], 3)?;
    let count = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&free))? - 3;
    drop(free);
    let error = sandbox
        .exec_to(&list, plain, |request| request.preserve_fds = count + 1)
        .map(drop)
        .expect_err("one of them is free")
        .to_string();
    ensure!(error.contains("is not open, or not to be passed on"), "{error}");
    Ok(())
}

fn a_working_directory_is_inside() -> Result<()> {
    let sandbox = Sandbox::start(plain)?;
    let answer = sandbox.exec(&["pwd"], |process| process["cwd"] = json!("/home/web"))?;
    assert_eq!(answer.text, "/home/web\n");
    let _directory = File::open("/")?;
    for fd in 3..64 {
        let way_out = format!("/proc/self/fd/{fd}");
        let result = sandbox.exec(&["pwd"], |process| process["cwd"] = json!(way_out));
        ensure!(result.is_err(), "{way_out} led to {result:?}");
        let program = format!("/proc/self/fd/{fd}/bin/sh");
        ensure!(sandbox.exec(&[&program, "-c", "true"], plain).is_err(), "{program} ran");
    }
    Ok(())
}

fn a_terminal_of_the_container() -> Result<()> {
    let sandbox = Sandbox::start(plain)?;
    let console_before = sandbox.exec(&["ls", "-l", "/dev/console"], plain)?.text;
    let (exec, _) = sandbox.exec_to(
        &["sh", "-c", "tty; stty size; ls -ln $(tty); exec sleep 1000"],
        |process| {
            process["terminal"] = json!(true);
            process["consoleSize"] = json!({"height": 33, "width": 77});
            process["user"] = json!({"uid": 7, "gid": 8});
        },
        |_| {},
    )?;
    let master = exec.console.as_ref().expect("it has a terminal");
    assert_eq!(pty::size(master)?, Size { rows: 33, columns: 77 });
    let mut text = String::new();
    let mut buffer = [0; 512];
    while text.lines().count() < 3 {
        let count = rustix::io::read(master, &mut buffer)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    ensure!(text.starts_with("/dev/pts/0\r\n33 77\r\ncrw--w----"), "{text}");
    ensure!(text.contains(" 7 "), "{text}");
    exec.pidfd.signal(Signal::KILL)?;
    exec.pidfd.wait()?;
    assert_eq!(sandbox.exec(&["ls", "-l", "/dev/console"], plain)?.text, console_before);
    Ok(())
}

fn in_a_user_namespace_it_is_nobody_outside() -> Result<()> {
    let sandbox = Sandbox::start(|config| {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "user"}));
        let caps = json!(["CAP_CHOWN", "CAP_SYS_RESOURCE"]);
        config["process"]["capabilities"] =
            json!({"bounding": caps, "permitted": caps, "effective": caps});
    })?;
    let (exec, output) = sandbox.exec_to(
        &["cat", "/proc/self/status", "/proc/self/uid_map", "/proc/1/uid_map"],
        |process| {
            // The host of these tests may lack it; a user namespace has all.
            let caps = json!(["CAP_SYS_RESOURCE"]);
            process["capabilities"] =
                json!({"bounding": caps, "permitted": caps, "effective": caps});
            process["user"]["additionalGids"] = json!([5]);
        },
        |_| {},
    )?;
    let mut text = String::new();
    File::from(output).read_to_string(&mut text)?;
    exec.pidfd.wait()?;
    let seen = status_of(&text);
    assert_eq!([seen["Uid"], seen["Gid"]], ["0\t0\t0\t0"; 2]);
    assert_eq!([seen["CapEff"], seen["CapBnd"]], ["0000000001000000"; 2]);
    assert_eq!(seen["Groups"], "5");
    let maps: Vec<_> = text
        .lines()
        .rev()
        .take(2)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .collect();
    assert_eq!(maps, [["0", "100000", "65536"]; 2]);

    let (exec, _output) = sandbox.exec_to(&["sleep", "1000"], plain, |_| {})?;
    let status = fs::read_to_string(format!("/proc/{}/status", exec.pid))?;
    let seen = status_of(&status);
    assert_eq!(seen["Uid"], "100000\t100000\t100000\t100000");
    assert_eq!(seen["Groups"], "");
    let link = |pid| process::namespace_link(pid, Kind::User);
    assert_eq!(link(exec.pid)?, link(sandbox.init_pid)?);
    exec.pidfd.signal(Signal::KILL)?;
    exec.pidfd.wait()?;
    Ok(())
}

fn an_agent_decides_for_it() -> Result<()> {
    use linux::socket::{self, Kind};
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("agent.sock");
    let agent = socket::listen(&path, Kind::Stream)?;
    let sandbox = Sandbox::start(|config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path, "listenerMetadata": "for tests",
            "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_NOTIFY"}]});
    })?;
    let told = || -> Result<Value> {
        let connection = socket::accept(&agent)?;
        let mut buffer = vec![0; 8192];
        let (count, fds) = socket::recv_fds(&connection, &mut buffer, 4)?;
        assert_eq!(fds.len(), 1);
        Ok(serde_json::from_slice(&buffer[..count])?)
    };
    let of_init = told()?;
    assert_eq!(of_init["pid"], json!(sandbox.init_pid.get()));
    assert_eq!(of_init["state"]["status"], json!("creating"));
    let (exec, _output) = sandbox.exec_to(&["sleep", "1000"], plain, |_| {})?;
    let of_exec = told()?;
    assert_eq!(of_exec["pid"], json!(exec.pid.get()));
    assert_eq!(of_exec["metadata"], json!("for tests"));
    assert_eq!(of_exec["state"]["pid"], json!(sandbox.init_pid.get()));
    assert_eq!(of_exec["state"]["id"], json!(sandbox.id));
    exec.pidfd.signal(Signal::KILL)?;
    exec.pidfd.wait()?;
    Ok(())
}

fn a_frozen_or_dead_container_takes_none() -> Result<()> {
    let sandbox = Sandbox::start(plain)?;
    let text = || -> Result<String> {
        let text = sandbox.refusal(&["true"], plain)?.flatten();
        Ok(text.replace(&sandbox.id, "ID"))
    };
    let cgroup = sandbox.cgroup()?;
    cgroup.freeze()?;
    let frozen = text();
    cgroup.thaw()?;
    expect![[r#"container not running: "ID" is paused"#]].assert_eq(&frozen?);
    sandbox.init.signal(Signal::KILL)?;
    sandbox.init.exits_within(None)?;
    expect![[r#"container not running: "ID" is stopped"#]].assert_eq(&text()?);
    Ok(())
}

fn processors_as_asked() -> Result<()> {
    let sandbox = Sandbox::start(|config| {
        config["process"]["execCPUAffinity"] = json!({"final": "0"});
    })?;
    let allowed = |answer: &str| status_of(answer)["Cpus_allowed_list"].to_owned();
    let show = ["cat", "/proc/self/status"];
    assert_eq!(allowed(&sandbox.exec(&show, plain)?.text), "0");
    let answer = sandbox
        .exec(&show, |process| process["execCPUAffinity"] = json!({"initial": "0", "final": "1"}));
    if std::thread::available_parallelism()?.get() > 1 {
        assert_eq!(allowed(&answer?.text), "1");
    } else {
        ensure!(answer.is_err());
    }
    Ok(())
}

fn pid_file_and_own_cgroup() -> Result<()> {
    let sandbox = Sandbox::start(plain)?;
    let path = sandbox.path("pid");
    let (exec, _output) = sandbox
        .exec_to(&["sleep", "1000"], plain, |request| request.pid_file = Some(leak(&path)))?;
    assert_eq!(fs::read_to_string(&path)?, exec.pid.to_string());
    exec.pidfd.signal(Signal::KILL)?;
    exec.pidfd.wait()?;
    let error = sandbox
        .exec_to(&["true"], plain, |request| request.cgroup = Some("nowhere"))
        .map(drop)
        .expect_err("there is no such cgroup")
        .to_string();
    ensure!(error.contains("nowhere"), "{error}");
    let _ = sandbox.init.as_fd();
    Ok(())
}

/// The request borrows for longer than a closure can promise.
fn leak(path: &std::path::Path) -> &'static std::path::Path {
    Box::leak(path.to_owned().into_boxed_path())
}
