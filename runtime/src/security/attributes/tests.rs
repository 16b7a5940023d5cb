use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn check<T: serde::de::DeserializeOwned, U: std::fmt::Debug>(
    read: impl Fn(&T) -> Result<U>,
    json: Value,
    expect: Expect,
) {
    let spec: T = serde_json::from_value(json).unwrap();
    let answer = read(&spec);
    expect.assert_eq(&answer.map_or_else(|error| error.to_string(), |it| format!("{it:?}")));
}

#[test]
fn scheduling_policies() {
    check(
        scheduling,
        json!({"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_RESET_ON_FORK"]}),
        expect![
            "Scheduling { policy: 3, flags: 1, nice: 5, priority: 0, runtime_ns: 0, deadline_ns: 0, period_ns: 0 }"
        ],
    );
    check(
        scheduling,
        json!({"policy": "SCHED_FIFO", "priority": 10}),
        expect![
            "Scheduling { policy: 1, flags: 0, nice: 0, priority: 10, runtime_ns: 0, deadline_ns: 0, period_ns: 0 }"
        ],
    );
    check(
        scheduling,
        json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}),
        expect![
            "Scheduling { policy: 6, flags: 0, nice: 0, priority: 0, runtime_ns: 1, deadline_ns: 2, period_ns: 3 }"
        ],
    );
    for (json, expect) in [
        (
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            expect!["config.json: process.scheduler: nice 20 is not between -20 and 19"],
        ),
        (
            json!({"policy": "SCHED_RR"}),
            expect!["config.json: process.scheduler: SCHED_RR needs a priority between 1 and 99"],
        ),
        (
            json!({"policy": "SCHED_FIFO", "priority": 1, "nice": 1}),
            expect!["config.json: process.scheduler: SCHED_FIFO has no nice value; remove it"],
        ),
        (
            json!({"policy": "SCHED_IDLE", "priority": 1}),
            expect!["config.json: process.scheduler: SCHED_IDLE has no priority; remove it"],
        ),
        (
            json!({"policy": "SCHED_ISO"}),
            expect![
                "config.json: process.scheduler: Linux has no SCHED_ISO; choose another policy"
            ],
        ),
        (
            json!({"policy": "SCHED_OTHER", "period": 3}),
            expect![
                "config.json: process.scheduler: runtime, deadline and period belong to SCHED_DEADLINE, not to SCHED_OTHER"
            ],
        ),
        (
            json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]}),
            expect![
                "config.json: process.scheduler: SCHED_FLAG_UTIL_CLAMP_MIN comes without a value; remove it"
            ],
        ),
    ] {
        check(scheduling, json, expect);
    }
}

#[test]
fn io_priorities() {
    check(
        io_priority,
        json!({"class": "IOPRIO_CLASS_BE", "priority": 4}),
        expect!["(BestEffort, 4)"],
    );
    check(
        io_priority,
        json!({"class": "IOPRIO_CLASS_RT", "priority": 8}),
        expect!["config.json: process.ioPriority: priority 8 is not between 0 and 7"],
    );
}

#[test]
fn personalities() {
    check(personality, json!({"domain": "LINUX32"}), expect!["8"]);
    check(
        personality,
        json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
        expect![[
            r#"config.json: linux.personality.flags: "ADDR_NO_RANDOMIZE" is not defined by the specification; remove it"#
        ]],
    );
}

#[test]
fn memory_policies() {
    check(
        memory_policy,
        json!({"mode": "MPOL_BIND", "nodes": "0-2,5", "flags": ["MPOL_F_STATIC_NODES"]}),
        expect!["MemoryPolicy { mode: Bind, flags: 32768, nodes: [0, 1, 2, 5] }"],
    );
    for (json, expect) in [
        (
            json!({"mode": "MPOL_INTERLEAVE"}),
            expect!["config.json: linux.memoryPolicy: MPOL_INTERLEAVE needs nodes"],
        ),
        (
            json!({"mode": "MPOL_LOCAL", "nodes": "0"}),
            expect!["config.json: linux.memoryPolicy: MPOL_LOCAL takes no nodes; remove them"],
        ),
        (
            json!({"mode": "MPOL_BIND", "nodes": "2-1"}),
            expect![[r#"config.json: linux.memoryPolicy: nodes "2-1" is not a list like 0-3,8"#]],
        ),
    ] {
        check(memory_policy, json, expect);
    }
}

#[test]
fn affinities() {
    check(
        affinity,
        json!({"initial": "0-1", "final": "3"}),
        expect!["Affinity { initial: Some([0, 1]), last: Some([3]) }"],
    );
    check(
        affinity,
        json!({"initial": "0-9999"}),
        expect![[
            r#"config.json: process.execCPUAffinity.initial: "0-9999" is not a list like 0-3,8"#
        ]],
    );
}
