use expect_test::expect;
use proptest::prelude::*;

use super::super::devices::{Access, DeviceRule, DeviceRules};
use super::*;

/// Runs a program as the kernel would, for the instructions that `assemble` uses.
fn run(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
    let context = [access << 16 | kind, major, minor];
    let mut registers = [0u32; 6];
    let mut at = 0;
    loop {
        let Instruction { code, registers: pair, offset, immediate } = program[at];
        let register = usize::from(pair & 0xf);
        let value = immediate.cast_unsigned();
        let mut jump = false;
        match code {
            LOAD_WORD => registers[register] = context[usize::try_from(offset / 4).unwrap()],
            AND => registers[register] &= value,
            SHIFT_RIGHT => registers[register] >>= value,
            MOVE => registers[register] = value,
            JUMP_IF_NOT => jump = registers[register] != value,
            JUMP_IF_ANY => jump = registers[register] & value != 0,
            JUMP => jump = true,
            EXIT => return registers[0] == 1,
            other => panic!("opcode {other:#x}"),
        }
        at += 1;
        if jump {
            at += usize::try_from(offset).unwrap();
        }
    }
}

/// Instructions that control flow cannot reach; the verifier refuses a program that has any.
fn unreachable(program: &[Instruction]) -> Vec<usize> {
    let mut reached = vec![false; program.len()];
    let mut todo = vec![0];
    while let Some(at) = todo.pop() {
        if std::mem::replace(&mut reached[at], true) {
            continue;
        }
        let over = at + 1 + usize::try_from(program[at].offset.max(0)).unwrap();
        match program[at].code {
            EXIT => {}
            JUMP => todo.push(over),
            JUMP_IF_NOT | JUMP_IF_ANY => todo.extend([at + 1, over]),
            _ => todo.push(at + 1),
        }
    }
    (0..program.len()).filter(|&at| !reached[at]).collect()
}

fn rule(
    allow: bool,
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: &str,
) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, access: access.parse().unwrap() }
}

#[test]
fn no_rules_deny_everything() {
    let program = assemble(&DeviceRules::default());
    assert!(!run(&program, CHAR, 2, 1, 3));
    assert_eq!(unreachable(&program), Vec::<usize>::new());
}

#[test]
fn nothing_follows_a_catch_all() {
    let allow_all = DeviceRule::everything(true);
    let rules = DeviceRules::new(vec![rule(true, Kind::Char, Some(1), Some(3), "r"), allow_all]);
    let program = assemble(&rules);
    assert_eq!(program.len(), 8);
    assert!(run(&program, BLOCK, 7, 8, 0));
}

#[test]
fn one_rule_as_instructions() {
    let rules = DeviceRules::new(vec![rule(true, Kind::Char, Some(1), Some(3), "rw")]);
    let text: Vec<String> = assemble(&rules)
        .iter()
        .map(|i| format!("{:02x} {:02x} {:+} {:#x}", i.code, i.registers, i.offset, i.immediate))
        .collect();
    expect![[r#"
        61 12 +0 0x0
        61 13 +0 0x0
        54 02 +0 0xffff
        74 03 +0 0x10
        61 14 +4 0x0
        61 15 +8 0x0
        56 02 +6 0x2
        56 04 +5 0x1
        56 05 +4 0x3
        54 03 +0 0xfffffff9
        56 03 +2 0x0
        b4 00 +0 0x1
        95 00 +0 0x0
        b4 00 +0 0x0
        95 00 +0 0x0"#]]
    .assert_eq(&text.join("\n"));
}

pub(in crate::cgroup) fn rules() -> impl Strategy<Value = DeviceRules> {
    let kind = prop_oneof![Just(Kind::All), Just(Kind::Block), Just(Kind::Char)];
    let number = || prop_oneof![Just(None), (0u32..3).prop_map(Some), Just(Some(u32::MAX))];
    let access = (0u8..8).prop_map(|bits| {
        let pick = |bit, one| if bits & bit != 0 { one } else { Access::NONE };
        pick(1, Access::MKNOD).or(pick(2, Access::READ)).or(pick(4, Access::WRITE))
    });
    let rule = (any::<bool>(), kind, number(), number(), access).prop_map(
        |(allow, kind, major, minor, access)| DeviceRule { allow, kind, major, minor, access },
    );
    proptest::collection::vec(rule, 0..12).prop_map(DeviceRules::new)
}

proptest! {
    #[test]
    fn decides_as_the_rules_do(rules in rules()) {
        let program = assemble(&rules);
        prop_assert_eq!(unreachable(&program), Vec::<usize>::new());
        for (kind, number) in [(Kind::Block, BLOCK), (Kind::Char, CHAR)] {
            for major in [0, 1, 2, u32::MAX] {
                for minor in [0, 1, 3, u32::MAX] {
                    for bits in ["m", "r", "w", "rw", "rwm"] {
                        let wanted: Access = bits.parse().unwrap();
                        let expected = rules.granted(kind, major, minor, wanted) == wanted;
                        let answer = run(&program, number, wanted.bits().into(), major, minor);
                        prop_assert_eq!(answer, expected, "{:?} {}:{} {}", kind, major, minor, bits);
                    }
                }
            }
        }
    }
}
