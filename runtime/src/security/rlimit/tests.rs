use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn read(json: Value) -> Result<Vec<Limit>> {
    from_spec(&serde_json::from_value::<Vec<PosixRlimit>>(json).unwrap())
}

fn check(json: Value, expect: Expect) {
    expect.assert_eq(&read(json).unwrap_err().to_string());
}

#[test]
fn the_largest_number_is_no_limit() {
    let limits = read(json!([
        {"type": "RLIMIT_CORE", "soft": 0, "hard": u64::MAX},
        {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64},
    ]))
    .unwrap();
    assert_eq!((limits[0].soft, limits[0].hard), (Some(0), None));
    assert_eq!((limits[1].soft, limits[1].hard), (Some(64), Some(64)));
}

#[test]
fn limits_that_are_refused() {
    check(
        json!([
            {"type": "RLIMIT_CPU", "soft": 1, "hard": 1},
            {"type": "RLIMIT_CPU", "soft": 2, "hard": 2},
        ]),
        expect!["config.json: process.rlimits: RLIMIT_CPU is there twice; keep one of them"],
    );
    check(
        json!([{"type": "RLIMIT_AS", "soft": u64::MAX, "hard": 10}]),
        expect![
            "config.json: process.rlimits: RLIMIT_AS: the soft limit unlimited is above the hard limit 10; lower it"
        ],
    );
}

#[test]
fn every_type_has_its_resource() {
    let names = "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE \
                 NICE RTPRIO RTTIME";
    for name in names.split_whitespace() {
        let limits = read(json!([{"type": format!("RLIMIT_{name}"), "soft": 1, "hard": 2}]));
        let limit = limits.unwrap().remove(0);
        assert_eq!(format!("{:?}", limit.resource).to_uppercase(), name);
    }
}
