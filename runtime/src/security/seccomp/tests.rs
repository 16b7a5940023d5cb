use std::os::unix::fs::PermissionsExt as _;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const KILL_THREAD: u32 = 0;

fn errno(number: u32) -> u32 {
    0x0005_0000 | number
}

fn profile(json: Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

fn compiled(json: Value) -> Vec<Instruction> {
    Filter::prepare(&profile(json), None).unwrap().program
}

/// What the kernel would answer: the few instructions that filters are made of.
fn decide(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(arch.to_ne_bytes());
    data.extend(0_u64.to_ne_bytes());
    data.extend(args.iter().flat_map(|arg| arg.to_ne_bytes()));
    let (mut at, mut a) = (0, 0_u32);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { jt } else { jf });
        match code {
            0x20 => {
                let offset = usize::try_from(k).unwrap();
                a = u32::from_ne_bytes(data[offset..offset + 4].try_into().unwrap());
            }
            0x54 => a &= k,
            0x05 => at += usize::try_from(k).unwrap(),
            0x15 => at += jump(a == k),
            0x25 => at += jump(a > k),
            0x35 => at += jump(a >= k),
            0x45 => at += jump(a & k != 0),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod on_x86_64 {
    use super::*;

    const WRITE: u32 = 1;
    const PERSONALITY: u32 = 135;
    const MOUNT: u32 = 165;
    const NONE: [u64; 6] = [0; 6];

    fn native(program: &[Instruction], number: u32) -> u32 {
        decide(program, X86_64, number, NONE)
    }

    #[test]
    fn actions_and_their_numbers() {
        let program = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["umount2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["acct"], "action": "SCMP_ACT_KILL"},
            {"names": ["swapon"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["swapoff"], "action": "SCMP_ACT_TRAP"},
            {"names": ["reboot"], "action": "SCMP_ACT_LOG"},
            {"names": ["chroot"], "action": "SCMP_ACT_TRACE", "errnoRet": 7},
            {"names": ["bpf"], "action": "SCMP_ACT_NOTIFY"},
        ]}));
        let answers = [WRITE, MOUNT, 166, 163, 167, 168, 169, 161, 321];
        let answers = answers.map(|number| native(&program, number));
        assert_eq!(
            answers,
            [
                ALLOW,
                errno(1),
                errno(38),
                KILL_THREAD,
                0x8000_0000,
                0x0003_0000,
                0x7ffc_0000,
                0x7ff0_0007,
                0x7fc0_0000
            ]
        );
    }

    #[test]
    fn arguments_are_compared() {
        let one = |op: &str, value: u64, two: Option<u64>| {
            compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{
                "names": ["personality"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": value, "valueTwo": two, "op": op}],
            }]}))
        };
        let takes = |program: &[Instruction], arg: u64| {
            decide(program, X86_64, PERSONALITY, [arg, 0, 0, 0, 0, 0]) == ALLOW
        };
        let large = 1 << 40;
        for (op, value, two, yes, no) in [
            ("SCMP_CMP_EQ", 8, None, [8, 8], [9, 8 + large]),
            ("SCMP_CMP_NE", 8, None, [9, 8 + large], [8, 8]),
            ("SCMP_CMP_LT", 8, None, [7, 0], [8, large]),
            ("SCMP_CMP_LE", 8, None, [8, 0], [9, large]),
            ("SCMP_CMP_GT", 8, None, [9, large], [8, 0]),
            ("SCMP_CMP_GE", 8, None, [8, large], [7, 0]),
            ("SCMP_CMP_MASKED_EQ", 0xf0, Some(0x10), [0x1f, 0x10], [0x20, 0x30]),
        ] {
            let program = one(op, value, two);
            assert!(yes.iter().all(|&arg| takes(&program, arg)), "{op}");
            assert!(!no.iter().any(|&arg| takes(&program, arg)), "{op}");
        }
    }

    #[test]
    fn two_arguments_are_both_meant_and_one_twice_is_either() {
        let compare = |args: Value| {
            compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": args}]}))
        };
        let both = compare(json!([
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
            {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]));
        let answer = |program: &[Instruction], a, b| {
            decide(program, X86_64, PERSONALITY, [a, b, 0, 0, 0, 0])
        };
        assert_eq!([answer(&both, 1, 2), answer(&both, 1, 3)], [ALLOW, errno(1)]);
        let either = compare(json!([
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
            {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]));
        let answers = [1, 2, 3].map(|arg| answer(&either, arg, 0));
        assert_eq!(answers, [ALLOW, ALLOW, errno(1)]);
    }

    #[test]
    fn other_architectures_only_when_asked_for() {
        let of = |architectures: Value| {
            let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO",
                "architectures": architectures,
                "syscalls": [{"names": ["write"], "action": "SCMP_ACT_ALLOW"}]}));
            // write(2) is 4 there, and 1 plus the bit of x32 here.
            let x32 = 0x4000_0000 + WRITE;
            [(X86_64, WRITE), (I386, 4), (X86_64, x32), (I386, WRITE)]
                .map(|(arch, number)| decide(&program, arch, number, NONE))
        };
        assert_eq!(of(json!(null)), [ALLOW, KILL_THREAD, KILL_THREAD, KILL_THREAD]);
        assert_eq!(
            of(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])),
            [ALLOW, ALLOW, ALLOW, errno(1)]
        );
    }

    #[test]
    fn calls_younger_than_the_library_are_answered() {
        let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": ["write", "fchmodat2", "file_getattr"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mseal"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["no_such_call"], "action": "SCMP_ACT_ALLOW"},
        ]}));
        for arch in [X86_64, I386] {
            let answers =
                [452, 468, 462, 469, 1000, 451].map(|it| decide(&program, arch, it, NONE));
            // 451 is older than the youngest that the profile names: refused, not unheard of.
            let expected = [ALLOW, ALLOW, 0x8000_0000, errno(38), errno(38), errno(1)];
            assert_eq!(answers, expected, "{arch:#x}");
        }
        assert_eq!(native(&program, 0x4000_0000 + WRITE), ALLOW);
        assert_eq!(native(&program, 0x4000_0000 + 1000), errno(1));
    }

    #[test]
    fn unknown_calls_get_the_default_where_that_is_no_errno() {
        for (default, answer) in [
            (json!({"defaultAction": "SCMP_ACT_ALLOW"}), ALLOW),
            (json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"}), 0x8000_0000),
            (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}), errno(38)),
            (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13}), errno(38)),
        ] {
            let mut json = default.clone();
            json["syscalls"] = json!([{"names": ["write", "mount"], "action": "SCMP_ACT_LOG"}]);
            assert_eq!(native(&compiled(json), 1000), answer, "{default}");
        }
    }

    #[test]
    fn a_rule_that_says_the_default_is_no_error() {
        let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["write", "write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["write"], "action": "SCMP_ACT_ALLOW"},
        ]}));
        assert_eq!([native(&program, WRITE), native(&program, MOUNT)], [ALLOW, errno(1)]);
    }
}

/// Numbers that look random and are the same each time (Marsaglia's xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).unwrap() % sides
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len())]
    }
}

/// A profile of every kind of rule, of most calls as profiles are.
fn any_profile(dice: &mut Dice) -> Value {
    let actions = ["ALLOW", "ERRNO", "LOG", "KILL", "KILL_PROCESS", "TRAP", "NOTIFY"];
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let values = [0, 1, 8, 0x20008, 0xffff_ffff, 1 << 32, u64::MAX];
    let default = *dice.one_of(&actions[..4]);
    let mut rules = Vec::new();
    let often = 2 + dice.roll(30);
    for number in 0..480 {
        let call = libseccomp::ScmpSyscall::from(number);
        let (Ok(name), false) = (call.get_name(), dice.roll(often) == 0) else { continue };
        let action = if dice.roll(20) == 0 { *dice.one_of(&actions) } else { actions[0] };
        let mut args = Vec::new();
        if dice.roll(25) == 0 {
            for _ in 0..=dice.roll(2) {
                args.push(json!({"index": dice.roll(6), "value": dice.one_of(&values),
                    "valueTwo": dice.one_of(&values),
                    "op": format!("SCMP_CMP_{}", dice.one_of(&operators))}));
            }
        }
        rules.push(json!({"names": [name], "action": format!("SCMP_ACT_{action}"), "args": args}));
    }
    let other = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"];
    let architectures = &other[..dice.roll(other.len() + 1)];
    json!({"defaultAction": format!("SCMP_ACT_{default}"), "architectures": architectures,
        "syscalls": rules})
}

#[test]
fn a_shorter_program_decides_the_same() {
    let mut shorter = 0;
    let mut lengths = (0, 0);
    for seed in 1..=20 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
        let json = any_profile(&mut dice);
        // Rules that contradict each other are refused.
        let Ok(long) = compile::translate(&profile(json)) else { continue };
        let long = seccomp::program_from_bytes(&long).unwrap();
        let Some(short) = shrink::shrink(&long) else { continue };
        shorter += 1;
        lengths = (lengths.0 + long.len(), lengths.1 + short.len());
        let values: Vec<u64> = [0, 1, 7, 8, 9, 0x20008, u64::from(u32::MAX), 1 << 32, u64::MAX]
            .into_iter()
            .chain(long.iter().map(|it| u64::from(it.k)))
            .collect();
        for arch in [X86_64, I386, 0xc000_00b7, 0, 77] {
            let edges =
                [0x3fff_ffff, 0x4000_0000, 0x4000_0001, 0x4000_0100, u32::MAX - 1, u32::MAX];
            for number in (0..700).chain(edges) {
                for _ in 0..4 {
                    let args =
                        [(); 6].map(|()| dice.one_of(&values) ^ (dice.one_of(&values) << 32));
                    assert_eq!(
                        decide(&long, arch, number, args),
                        decide(&short, arch, number, args),
                        "seed {seed}, {arch:#x}, {number}, {args:x?}"
                    );
                }
            }
        }
    }
    // Of a profile that names little, the program is as short as it can be.
    assert!(shorter > 10, "{shorter} of 20");
    assert!(lengths.1 * 2 < lengths.0, "{lengths:?}");
}

fn check(json: Value, expect: Expect) {
    let answer = Filter::prepare(&profile(json), None);
    expect.assert_eq(&answer.map_or_else(|error| error.to_string(), |_| "fine".to_owned()));
}

#[test]
fn profiles_that_are_refused() {
    check(
        json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
        expect![
            "config.json: linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no number; remove it"
        ],
    );
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    check(
        rule(json!({"names": ["mount"], "action": "SCMP_ACT_KILL", "errnoRet": 1})),
        expect![
            "config.json: linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_KILL takes no number; remove it"
        ],
    );
    check(
        rule(json!({"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096})),
        expect!["config.json: linux.seccomp.syscalls[0].errnoRet: 4096 is above 4095"],
    );
    check(
        rule(json!({"names": [], "action": "SCMP_ACT_ERRNO"})),
        expect!["config.json: linux.seccomp.syscalls[0].names: is empty; name a system call"],
    );
    check(
        rule(json!({"names": ["mount"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]})),
        expect!["config.json: linux.seccomp.syscalls[0].args: index 6 is above 5"],
    );
    check(rule(json!({"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"})), expect!["fine"]);
    let long: Vec<_> = (0..1100_u64)
        .map(|value| {
            json!({"names": ["mount"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": value << 33, "op": "SCMP_CMP_EQ"}]})
        })
        .collect();
    let text = Filter::prepare(
        &profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": long})),
        None,
    )
    .unwrap_err()
    .to_string();
    let text = text.replace(|c: char| c.is_ascii_digit(), "N");
    expect!["config.json: linux.seccomp: compiles to NNNN instructions, the kernel takes NNNN; use fewer rules or architectures"].assert_eq(&text);
}

fn small() -> LinuxSeccomp {
    profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}))
}

fn same(one: &[Instruction], other: &[Instruction]) -> bool {
    let words = |program: &[Instruction]| {
        program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect::<Vec<_>>()
    };
    words(one) == words(other)
}

#[test]
fn a_filter_is_kept_and_found_again() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("deep/seccomp");
    let first = Filter::prepare(&small(), Some(&directory)).unwrap();
    let key = cache::key(&small()).unwrap();
    let file = directory.join(&key);
    assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(cache::load(&directory, &key).is_some());
    let second = Filter::prepare(&small(), Some(&directory)).unwrap();
    assert!(same(&first.program, &second.program));
    assert_eq!(first.flags, FilterFlags::LOG);
    assert_eq!(second.flags, FilterFlags::LOG);
}

#[test]
fn a_kept_filter_that_could_be_another_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let honest = Filter::prepare(&small(), Some(directory)).unwrap();
    let key = cache::key(&small()).unwrap();
    let file = directory.join(&key);
    let bytes = std::fs::read(&file).unwrap();

    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    let mut other_magic = bytes.clone();
    other_magic[7] += 1;
    for damaged in [&changed[..], &other_magic, &bytes[..bytes.len() - 8], &bytes[..20], b""] {
        std::fs::write(&file, damaged).unwrap();
        assert!(cache::load(directory, &key).is_none());
        // It is compiled again, and the file is whole again.
        let again = Filter::prepare(&small(), Some(directory)).unwrap();
        assert!(same(&again.program, &honest.program));
        assert!(cache::load(directory, &key).is_some());
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o622)).unwrap();
    assert!(cache::load(directory, &key).is_none(), "others can write it");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(directory.join("real"), &bytes).unwrap();
    std::os::unix::fs::symlink("real", &file).unwrap();
    assert!(cache::load(directory, &key).is_none(), "a symlink");
}

#[test]
fn a_directory_that_others_can_write_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    Filter::prepare(&small(), Some(directory.path())).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_key_knows_the_rules_but_not_what_only_loading_uses() {
    let mut other = small();
    other.set_flags(None).set_listener_path(Some("/x".into()));
    assert_eq!(cache::key(&small()).unwrap(), cache::key(&other).unwrap());
    other.set_default_action(LinuxSeccompAction::ScmpActLog);
    assert_ne!(cache::key(&small()).unwrap(), cache::key(&other).unwrap());
}

#[test]
fn a_listener_with_synchronised_threads_needs_a_third_flag() {
    let mut notify = small();
    notify.set_default_action(LinuxSeccompAction::ScmpActNotify);
    assert_eq!(flags(&notify), FilterFlags::LOG | FilterFlags::NEW_LISTENER);
    notify.set_flags(Some(vec![LinuxSeccompFilterFlag::SeccompFilterFlagTsync]));
    assert_eq!(
        flags(&notify),
        FilterFlags::TSYNC | FilterFlags::NEW_LISTENER | FilterFlags::TSYNC_ESRCH
    );
}
