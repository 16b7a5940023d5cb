use anyhow::{Context, anyhow};
use expect_test::expect;

use super::*;

#[test]
fn the_kernels_answer_has_its_name() {
    use anyhow::Context as _;
    let error = std::fs::read("/no/such/file").context("read /no/such/file").unwrap_err();
    assert_eq!(chain(&error), "read /no/such/file: no such file or directory (ENOENT)");
}

#[test]
fn a_chain_is_one_line() {
    let error =
        anyhow!("operation not permitted (EPERM)").context("open /dev/fuse").context("start");
    expect!["lxcfs: start: open /dev/fuse: operation not permitted (EPERM)"]
        .assert_eq(&text("lxcfs", &error));
}

#[test]
fn the_exit_code_adds_no_text_and_the_innermost_counts() {
    let inner: Result<(), _> = Err(anyhow!("no such file")).exit(Exit::NOT_FOUND);
    let error = inner.context("run sh").exit(Exit::NOT_STARTED).unwrap_err();
    expect!["isula: run sh: no such file"].assert_eq(&text("isula", &error));
    assert_eq!(exit_of(&error), Exit::NOT_FOUND);
    assert_eq!(exit_of(&anyhow!("x")), Exit::FAILED);
}

#[test]
fn several_errors_are_a_list_and_one_is_not() {
    let many =
        |n: usize| anyhow::Error::from(Many((0..n).map(|i| anyhow!("web{i} is gone")).collect()));
    expect!["isula: stop: web0 is gone"].assert_eq(&text("isula", &many(1).context("stop")));
    expect![[r#"
        isula: stop: 2 errors
          - web0 is gone
          - web1 is gone"#]]
    .assert_eq(&text("isula", &many(2).context("stop")));
    Many::check(vec![]).unwrap();
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    expect![[r"isula: no container matches \u{1b}[31mred"]]
        .assert_eq(&text("isula", &anyhow!("no container matches \x1b[31mred")));
}
