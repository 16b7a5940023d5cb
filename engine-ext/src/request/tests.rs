use clap::{Args, FromArgMatches};
use expect_test::{Expect, expect};

use super::*;

/// Options in front of `--external-rootfs /srv/web none init`.
fn request(options: &str) -> Result<Request> {
    let words = options.split_whitespace().chain(["--external-rootfs", "/srv/web", "none", "init"]);
    from_words(words)
}

fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Request> {
    let command = clap::Command::new("isula").no_binary_name(true).disable_help_flag(true);
    let command = crate::cli::adapt(ContainerArgs::augment_args(command));
    let matches = command.try_get_matches_from(words)?;
    let args = ContainerArgs::from_arg_matches(&matches)?;
    let outside = Outside {
        host_hook_spec: None,
        variable: &|name| (name == "HOME").then(|| "/root".to_owned()),
        read: &|path| match path.to_str() {
            Some("/env") => Ok("# comment\nA=1\n\n  B=2\nHOME\nNOT_OURS\n".to_owned()),
            Some("/labels") => Ok("tier=web\nold\n".to_owned()),
            Some("/profile.json") => Ok(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.to_owned()),
            _ => bail!("read {}: no such file", path.display()),
        },
        read_hook_spec: &|path| Ok(path.display().to_string()[1..].to_owned()),
        find_runtime: &|name| match name {
            "runc" => Ok(OciRuntime { name: "runc".into(), path: "/runc".into(), args: vec![] }),
            _ => bail!("--runtime {name:?} is not found"),
        },
    };
    build("run", &args, &outside)
}

fn check(options: &str, expected: Expect) {
    let error = request(options).unwrap_err();
    expected.assert_eq(&ui::report::text("isula", &error));
}

/// The texts that scripts know, one option set a line.
#[test]
fn what_is_refused() {
    let mut text = String::new();
    for options in REFUSED {
        let error = request(options).expect_err(options);
        text += &format!("{options}\n    {}\n", ui::report::text("isula", &error));
    }
    expect_test::expect_file!["tests/refused.txt"].assert_eq(&text);
}

const REFUSED: &[&str] = &[
    "-h -bad",
    "--name a_%",
    "--restart sometimes",
    "--restart always:3",
    "--restart on-failure:x",
    "--restart on-failure:-1",
    "--rm --restart always",
    "--user-remap 1:1:1",
    "--system-container --privileged --user-remap 1:1:1",
    "--system-container --userns host --user-remap 1:1:1",
    "--ns-change-opt net",
    "--system-container --ns-change-opt pid",
    "--system-container --ns-change-opt net,ipc,net",
    "--host-channel /a:/b",
    "--host-channel a:/b:rw:1M",
    "--host-channel /a:b:rw:1M",
    "--host-channel /a:/b:rx:1M",
    "--host-channel /a:/b:rw:4095",
    "--host-channel /a:/b:rw:many",
    "--env-target-file etc/environment",
    "--env-target-file /etc/environment",
    "--system-container --env-target-file /../etc/shadow",
    "-m 1M",
    "-m 99999999p",
    "--memory-reservation 1M",
    "--cpu-shares -1",
    "--cpus few",
    "--ulimit nofile",
    "--log-opt disable-log=maybe",
    "--lxcfs maybe",
    "-l =x",
    "-m 8M --memory-reservation 16M",
    "-m 16M --memory-swap 8M",
    "--memory-swap 8M",
    "--memory-swappiness 101",
    "--kernel-memory 1M",
    "--oom-score-adj 1001",
    "--blkio-weight 5",
    "--blkio-weight-device /dev/sda:5",
    "--cpu-period 10",
    "--cpu-period 1000001",
    "--cpu-quota 10",
    "--cpus 1 --cpu-period 5000",
    "--cpus 1 --cpu-quota 5000",
    "--cpu-rt-period 10 --cpu-rt-runtime 11",
    "--cpu-shares x",
    "--cpuset-cpus 3-1",
    "--device-read-bps /dev/sda",
    "--device-read-bps sda:1m",
    "--hugetlb-limit 1:2:3",
    "--ulimit nofile=2:1",
    "--ulimit files=1",
    "--ulimit nofile=-1",
    "--sysctl kernel.panic=1",
    "--sysctl net..x=1",
    "--sysctl kernel.sem",
    "--stop-signal SIGNONE",
    "--device sda",
    "--device /dev/sda:/dev/sdb:rwx",
    "--device-cgroup-rule c",
    "--cap-add FLY",
    "--security-opt seccomp=profile.json",
    "--security-opt apparmor=",
    "--security-opt label=x",
    "--security-opt label=type:",
    "--files-limit 5 --files-limit-mode some",
    "--files-limit-mode rlimit",
    "--files-limit 5 --files-limit-mode rlimit --ulimit nofile=5",
    "--time-ns --runtime runc",
    "--security-opt x",
    "--add-host db",
    "--add-host db:::1",
    "--dns nowhere",
    "-v relative/path:/x",
    "-v _x:/x",
    "-v :/x",
    "-v a:b:c:d",
    "-v data",
    "-v data:/x:z",
    "-v /a:/b:z",
    "-v /a:/b:wo",
    "-v /a:/b/../c",
    "-v /a:/",
    "-v /a:/b --tmpfs /b",
    "--mount type=bind,src=/a",
    "--mount type=tmpfs,src=/a,dst=/b",
    "--tmpfs /x:color=red",
    "--pid nobody",
    "--cgroupns container:x",
    "--cgroup-parent system.slice",
    "--cgroup-parent /",
    "--log-driver syslog",
    "--log-opt max-size=1",
    "--log-opt color=red",
    "-e =x",
    "-u :root",
    "-w tmp",
    "--annotation x",
    "--annotation native.umask=loose",
    "--storage-opt size=1G",
    "--health-interval 1s",
    "--health-cmd true --health-interval 10ms",
    "--runtime nobody",
    "-p 80:80",
    "-P --expose 80",
    "--net bridge -P",
    "--net bridge -p 0:80",
    "--net bridge -p x:80",
    "--net bridge -p 80:80/sctp",
    "--net bridge -p 80-79",
    "--net bridge -p 80-82:80-81",
    "--net bridge -p nowhere:80:80",
    "--net bridge -p [::1]:80:80",
    "--net bridge -p 1-600:1-600",
    "--net bridge -p 80:80 -p 127.0.0.1:80:81",
    "--expose http",
    "--net bridge=far/away",
    "--net bridge --ip 1.2.3",
    "--net bridge --mac-address 01:02:03:04:05:06",
    "--net bridge --mac-address 02:3:4:5:6:7",
    "--ip 10.0.0.1",
    "--net host --mac-address 02:02:03:04:05:06",
    "--volumes-from x:rx",
    "--volumes-from :ro",
    "--mount type=squashfs,dst=/x",
    "--mount type=squashfs,src=/x,dst=/x,rw=1",
    "--mount type=squashfs,src=/x,dst=/x,ro=false",
    "--mount type=volume,src=a/b,dst=/x",
    "--mount type=volume,src=data,dst=/x,tmpfs-mode=1",
    "--mount type=sys,src=x,dst=/x",
    "--log-opt disable-log=maybe",
    "--system-container --lxcfs sometimes",
    "--cgroup-parent /a/../b",
    "--mount type=bind,source=/a,target=/b,tmpfs-size=1m",
    "--tmpfs relative",
    "--system-container --host-channel /:/b:rw:1M",
    "--system-container --env-target-file /",
    "--memory-reservation 1M",
    "--cpu-shares=-1",
    "--ulimit nofile",
    "--security-opt seccomp=/nowhere",
    "-m 99999999999999999999T",
    "--cpus much",
    "--label =value",
];

#[test]
fn everything_wrong_is_told_at_once_and_in_order() {
    check(
        "--rm --restart always --sysctl x=1 -m 1M --name a_%",
        expect![[r#"
            isula: 4 errors
              - Invalid container name (a_%), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed.
              - Minimum memory limit allowed is 4MB
              - Sysctl 'x=1' is not whitelist
              - Conflicting options: --restart and --rm"#]],
    );
}

#[test]
fn the_place_of_the_image() {
    let text = |words: &str| {
        let error = from_words(words.split(' ')).unwrap_err();
        ui::report::text("isula", &error)
    };
    expect![[r#"isula: "run" requires a minimum of 1 argument."#]]
        .assert_eq(&text("--external-rootfs /srv/web"));
    expect!["isula: Image busybox not exist; with --external-rootfs write none"]
        .assert_eq(&text("--external-rootfs /srv/web busybox sh"));
    expect!["isula: No such image:busybox; this engine runs directories: --external-rootfs DIR none COMMAND"]
        .assert_eq(&text("busybox sh"));
    expect!["isula: external rootfs not specified; add --external-rootfs DIR"]
        .assert_eq(&text("none sh"));
    expect!["isula: Rootfs should be absolutely path: web"]
        .assert_eq(&text("--external-rootfs web none sh"));
    expect!["isula: no command; append one, for example: none init"]
        .assert_eq(&text("--external-rootfs /srv/web none"));
    for image in ["none", "none:latest", "empty"] {
        from_words(["--external-rootfs", "/srv/web", image, "init"]).unwrap();
    }
}

#[test]
fn defaults() {
    let request = request("").unwrap();
    assert_eq!(request.process.args, ["init"]);
    assert_eq!(
        request.process.env,
        [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=xterm",
            "HOSTNAME=localhost"
        ]
    );
    assert_eq!(request.cgroup_parent, "/isulad");
    assert_eq!(request.shm_size, 64 << 20);
    assert_eq!(request.restart, RestartPolicy::No);
    assert_eq!(request.log, Log::default());
    assert_eq!(request.resources, Resources::default());
}

#[test]
fn flags_are_bundled_and_may_say_true_or_false() {
    let both = |options: &str| {
        let process = request(options).unwrap().process;
        (process.tty, process.open_stdin)
    };
    assert_eq!(both("-ti"), (true, true));
    assert_eq!(both("-t=true -i=false"), (true, false));
    assert_eq!(both("--tty --interactive=true"), (true, true));
    assert_eq!(request("-tin web1").unwrap().name, Some("web1".parse().unwrap()));
    assert_eq!(request("-tin=web1").unwrap().name, Some("web1".parse().unwrap()));
    assert!(request("--system-container=true").unwrap().system_container);
    assert!(!request("--system-container=false").unwrap().system_container);
    // What follows the image's place is the command's.
    let words = ["--external-rootfs", "/srv/web", "none", "sh", "-c", "--rm", "--", "-t"];
    let request = from_words(words).unwrap();
    assert_eq!(request.process.args, ["sh", "-c", "--rm", "--", "-t"]);
    assert!(!request.auto_remove && !request.process.tty);
}

#[test]
fn the_environment() {
    let env = request("--env-file /env -e B=3 -e C=x=y -e HOSTNAME=h").unwrap().process.env;
    assert_eq!(env[2..], ["A=1", "B=3", "HOME=/root", "C=x=y", "HOSTNAME=h"]);
    let request = request("--label-file /labels -l tier=db").unwrap();
    let labels: Vec<String> = request.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["old=", "tier=db"]);
}

#[test]
fn user_remap_with_a_zero_has_no_effect() {
    let remap = |text: &str| {
        request(&format!("--system-container --user-remap {text}")).unwrap().user_remap
    };
    assert_eq!(remap("0:1000:100"), None);
    assert_eq!(remap("1000:0:100"), None);
    assert_eq!(remap("100000:100000:65535").unwrap().to_string(), "100000:100000:65535");
}

#[test]
fn ns_change_opt_counts_a_word_once_and_nothing_with_privileged() {
    let files =
        |options: &str| request(&format!("--system-container {options}")).unwrap().ns_change_files;
    assert_eq!(files("--ns-change-opt net,net"), ["/proc/sys/net"]);
    assert_eq!(files("--ns-change-opt ipc,net").len(), 10);
    assert_eq!(files("--ns-change-opt net --privileged"), [""; 0]);
}

#[test]
fn limits() {
    let resources =
        request("-m 64m --memory-swap -1 --cpus 1.5 --pids-limit 0 --ulimit nofile=1:2")
            .unwrap()
            .resources;
    assert_eq!(resources.memory, Some(64 << 20));
    assert_eq!(resources.memory_swap, Some(-1));
    assert_eq!(resources.nano_cpus, Some(1_500_000_000));
    assert_eq!(resources.pids_limit, Some(-1));
    assert_eq!((resources.ulimits[0].soft, resources.ulimits[0].hard), (1, 2));
    let request = request("--oom-kill-disable").unwrap();
    expect!["WARNING: Disabling the OOM killer on containers without setting a '-m/--memory' limit may be dangerous."]
        .assert_eq(&request.warnings.join("\n"));
}

#[test]
fn mounts_and_their_options() {
    let request = request(
        "-v /a:/b -v /c:/d:ro,rslave --mount type=bind,src=/e,dst=/f/./g,readonly \
         --mount type=tmpfs,dst=/h,tmpfs-size=1m --tmpfs /i:size=2m,exec",
    );
    let lines: Vec<String> = request
        .unwrap()
        .mounts
        .iter()
        .map(|m| {
            format!("{} {} {}", m.source.display(), m.destination.display(), m.options.join(","))
        })
        .collect();
    expect![[r#"
        /a /b rbind,rprivate,rw
        /c /d rbind,rslave,ro
        /e /f/g rbind,rprivate,ro
         /h nosuid,nodev,noexec,size=1048576
         /i nosuid,nodev,size=2097152,exec"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn a_hook_spec() {
    let hooks = |text: &str| hooks::parse(text);
    let parsed = hooks(r#"{"prestart":[{"path":"/bin/a"}],"poststop":[{"path":"/bin/b","args":["b","x"],"timeout":5}]}"#).unwrap();
    let all: Vec<_> = super::hooks::all(&parsed).collect();
    assert_eq!(all[0].args().as_deref(), Some(&["/bin/a".to_owned()][..]));
    assert_eq!((all[0].timeout(), all[1].timeout()), (Some(30), Some(5)));
    let refused = [
        "{",
        r#"{"prestart":[{"path":"a"}]}"#,
        r#"{"prestart":[{"path":"/a","timeout":-1}]}"#,
        r#"{"prestart":[{"path":"/a","timeout":0}]}"#,
        r#"{"prestart":[{"path":"/a","timeout":1.5}]}"#,
        r#"{"prestart":[{"path":"/a","timeout":"5"}]}"#,
        r#"{"prestart":[{"path":"/a","env":["x"]}]}"#,
        r#"{"preStart":[]}"#,
        r#"{"prestart":[{}]}"#,
    ]
    .map(|text| format!("{:#}", hooks(text).unwrap_err()));
    expect![[r#"
        Failed to parse hook-spec file: EOF while parsing an object at line 1 column 1
        a is not an absolute path
        Invalid timeout: -1; give at least 1 second
        Invalid timeout: 0; give at least 1 second
        Failed to parse hook-spec file: invalid type: floating point `1.5`, expected i64 at line 1 column 39
        Failed to parse hook-spec file: invalid type: string "5", expected i64 at line 1 column 39
        hook /a: environment entry "x" is not KEY=VALUE
        Failed to parse hook-spec file: unknown field `preStart`, expected one of `prestart`, `poststart`, `poststop` at line 1 column 11
        Failed to parse hook-spec file: missing field `path` at line 1 column 15"#]].assert_eq(&refused.join("\n"));
}

#[test]
fn another_runtime_is_kept_as_it_was_found() {
    assert_eq!(request("--runtime runc").unwrap().runtime.unwrap().path, Path::new("/runc"));
    for ours in ["", "--runtime isula", "-R isula-runtime"] {
        assert_eq!(request(ours).unwrap().runtime, None, "{ours}");
    }
}
