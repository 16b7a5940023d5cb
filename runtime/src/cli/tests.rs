use expect_test::{Expect, expect};

use super::*;

#[track_caller]
fn check(line: &str, expected: &Expect) {
    let arguments: Vec<OsString> =
        std::iter::once("isula-runtime").chain(line.split(' ')).map(Into::into).collect();
    let outcome = match parse(&arguments) {
        Ok((global, _)) => {
            super::check(&global).map_or_else(|e| format!("{e:#}"), |()| "ok".into())
        }
        Err(error) => answer(&error).map_or_else(|e| ui::report::chain(&e), |_| "printed".into()),
    };
    expected.assert_eq(&outcome);
}

#[test]
fn engines_command_lines_are_understood() {
    for line in [
        // containerd's shim
        "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json create --bundle /b \
         --pid-file /b/init.pid --console-socket /t/pty.sock abc",
        "--root /r --log /b/log.json --log-format json exec --process /t/p --detach --pid-file \
         /b/x.pid abc",
        "--root /r --log /l --log-format json kill --all abc 9",
        "--root /r --log /l --log-format json update --resources - abc",
        "--root /r --log /l --log-format json ps --format json abc",
        // conmon and podman
        "--log-format=json --log /x/oci-log create --bundle /b --pid-file /p abc",
        "--root=/run/x state abc",
        "--cgroup-manager cgroupfs delete --force abc",
        "--rootless=false --debug run -d -b /b abc",
        "events --stats abc",
        "exec -t -u 0:0 --cwd / -e A=b --cap CAP_KILL abc sh -c true",
        "ps abc -eo pid,comm",
    ] {
        let arguments = std::iter::once("isula-runtime").chain(line.split(' '));
        let arguments: Vec<OsString> =
            arguments.filter(|word| !word.is_empty()).map(Into::into).collect();
        let (global, _) = parse(&arguments).map_err(|_| line).unwrap();
        super::check(&global).unwrap();
    }
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    check(
        "--cgroup-manager disabled state a",
        &expect![
            "invalid value 'disabled' for '--cgroup-manager <MANAGER>' [possible values: cgroupfs, systemd]; try --help"
        ],
    );
    check(
        "--rootless=true state a",
        &expect!["--rootless=true: containers are run by root; leave it out"],
    );
    check("create --fly a", &expect!["unexpected argument '--fly' found; try --help"]);
    check("--version", &expect!["printed"]);
    let refused = not_here::refuse("checkpoint").unwrap_err();
    expect!["checkpoint is not supported; stop the container and start it again instead"]
        .assert_eq(&refused.to_string());
}
