use expect_test::{Expect, expect};

use super::*;

fn check(line: &str, expected: Expect) {
    let words = ["isula"].into_iter().chain(line.split(' ')).map(OsString::from);
    let error = run(words).unwrap_err();
    let code = ui::report::exit_of(&error).0;
    expected.assert_eq(&format!("{code}: {}\n", ui::report::text("isula", &error)));
}

#[test]
fn the_grammar_is_sound() {
    command().debug_assert();
}

#[test]
fn every_option_has_help_or_is_hidden() {
    for verb in command().get_subcommands() {
        for arg in verb.get_arguments() {
            let told = arg.is_hide_set() || arg.get_help().is_some();
            assert!(told, "isula {} {}", verb.get_name(), arg.get_id());
            let first = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                first.chars().count() <= 60,
                "isula {} {}: {first}",
                verb.get_name(),
                arg.get_id()
            );
        }
        assert!(verb.is_hide_set() || verb.get_about().is_some(), "isula {}", verb.get_name());
    }
}

#[test]
fn a_wrong_command_line_is_125() {
    check(
        "run --no-such-option none init",
        expect![[r#"
            125: isula: unexpected argument '--no-such-option' found; a similar argument exists: '--ns-change-opt'; try --help
        "#]],
    );
    check(
        "fly",
        expect![[r#"
            125: isula: unrecognized subcommand 'fly'; try --help
        "#]],
    );
    check(
        "rm",
        expect![[r#"
            125: isula: the following required arguments were not provided: <CONTAINER>...; try --help
        "#]],
    );
    check(
        "stop -t soon web1",
        expect![[r#"
            125: isula: invalid value 'soon' for '--time <SECONDS>': invalid digit found in string; try --help
        "#]],
    );
}

#[test]
fn what_needs_a_daemon_or_images_is_refused_by_name() {
    check(
        "-H tcp://127.0.0.1:2375 ps",
        expect![[r#"
        1: isula: ps: --host is not supported; there is no daemon to connect to: run isula on the host, as root
    "#]],
    );
    check(
        "ps --tlsverify",
        expect![[r#"
        1: isula: ps: --tlsverify is not supported; there is no daemon to connect to: run isula on the host, as root
    "#]],
    );
    check(
        "pull busybox",
        expect![[r#"
            1: isula: pull: not supported; there are no images: unpack one and use --external-rootfs
        "#]],
    );
    check(
        "network create br9",
        expect![[r#"
            1: isula: network: create: not supported; a network is a bridge of the host: ip link add NAME type bridge, ip address add ADDRESS/PREFIX dev NAME, isula run --net bridge=NAME
        "#]],
    );
    check(
        "network rm br9",
        expect![[r#"
        1: isula: network: rm: not supported; a network is a bridge of the host: ip link delete NAME
    "#]],
    );
    check(
        "network prune",
        expect![[r#"
        1: isula: network: prune: not supported; a network is a bridge of the host: ip link delete NAME
    "#]],
    );
    check(
        "network connect br9 web1",
        expect![[r#"
        1: isula: network: connect: not supported; use isulad-tools add-nic --bridge NAME CONTAINER
    "#]],
    );
    check(
        "network disconnect br9 web1",
        expect![[r#"
        1: isula: network: disconnect: not supported; use isulad-tools remove-nic CONTAINER
    "#]],
    );
    check(
        "run busybox sh",
        expect![[r#"
        125: isula: run: No such image:busybox; this engine runs directories: --external-rootfs DIR none COMMAND
    "#]],
    );
}

#[test]
fn nobody_is_named() {
    let root = tempfile::tempdir().unwrap();
    let at = |line: &str| format!("--root {} {line}", root.path().display());
    check(
        &at("start nobody"),
        expect![[r#"
        1: isula: start: no container matches "nobody"; list them: isula ps -a
    "#]],
    );
    check(
        &at("stop nobody none"),
        expect![[r#"
        1: isula: stop: 2 errors
          - no container matches "nobody"; list them: isula ps -a
          - no container matches "none"; list them: isula ps -a
    "#]],
    );
    check(
        &at("inspect nobody"),
        expect![[r#"
        1: isula: inspect: no container matches "nobody"; list them: isula ps -a
    "#]],
    );
    check(
        &at("logs nobody"),
        expect![[r#"
        1: isula: logs: no container matches "nobody"; list them: isula ps -a
    "#]],
    );
    check(
        &at("wait nobody"),
        expect![[r#"
        1: isula: wait: no container matches "nobody"; list them: isula ps -a
    "#]],
    );
    check(
        &at("kill -s NONE nobody"),
        expect![[r#"
        1: isula: kill: Invalid signal: NONE
    "#]],
    );
    check(
        &at("rename nobody a_%"),
        expect![[r#"
        1: isula: rename: Invalid container name (a_%), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed.
    "#]],
    );
    check(
        &at("ps -f color=red"),
        expect![[r#"
        1: isula: ps: Invalid filter 'color=red'; use id=, name=, label=, status= or last_n=
    "#]],
    );
    check(
        &at("ps -f status=dead"),
        expect![[r#"
        1: isula: ps: Unrecognised filter value for status: dead; use inited, created, starting, running, exited, paused, restarting
    "#]],
    );
    check(
        &at("start -a one two"),
        expect![[r#"
        1: isula: start: --attach is for one container; name one
    "#]],
    );
}
