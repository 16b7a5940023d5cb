use expect_test::expect;

use super::*;

#[test]
fn the_format_of_a_container_that_was_killed() {
    let state = State {
        status: Status::Stopped,
        exit_code: 137,
        exit: Some(Exit::Killed(9)),
        ..State::created()
    };
    let text = serde_json::to_string(&state).unwrap();
    expect![[r#"{"version":1,"status":"stopped","pid":null,"start_time":null,"started_at":"","finished_at":"","exit_code":137,"exit":{"kind":"killed","value":9},"reason":null,"error":"","restart_count":0,"reboot_count":0,"oom_killed":false,"stopped_by_user":false,"ready":false}"#]].assert_eq(&text);
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}

#[test]
fn an_unknown_end_has_no_value() {
    assert_eq!(serde_json::to_string(&Exit::Unknown).unwrap(), r#"{"kind":"unknown"}"#);
}

#[test]
fn the_words_are_the_predecessors() {
    assert_eq!(Status::Created.to_string(), "inited");
    assert_eq!(Status::Stopped.to_string(), "exited");
    assert!(Status::Restarting.is_live() && !Status::Created.is_live());
}
