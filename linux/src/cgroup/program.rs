//! The v2 device program: rules to BPF instructions. Pure; [`crate::raw::bpf`] loads the result.
//!
//! The kernel asks the program once for each open or mknod, with all wanted accesses in one word
//! (`struct bpf_cgroup_dev_ctx`). The rules run from last to first; each takes the accesses it
//! decides about out of that word. A refusal ends it, an empty word is a yes, leftovers are a no.
//!
//! Jumps lead forward to the next rule only. Nothing is emitted behind a rule that always ends the
//! program, as the verifier refuses unreachable instructions.

use super::devices::{DeviceRule, DeviceRules, Kind};

/// `struct bpf_insn`: opcode, destination and source register, offset, immediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

// Registers: the answer, the context, and what was read out of it.
const R0: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Opcodes, from <linux/bpf_common.h> and <linux/bpf.h>; 32-bit operations throughout, as a 64-bit
// comparison would extend the sign of an immediate above 2^31.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const MOVE: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
const JUMP_IF_NOT: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const JUMP_IF_ANY: u8 = 0x46; // BPF_JMP32 | BPF_JSET | BPF_K
const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// BPF_DEVCG_DEV_*
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

/// The program that decides as `rules` do.
pub fn assemble(rules: &DeviceRules) -> Vec<Instruction> {
    let mut program = vec![
        load(TYPE, 0),
        load(WANTED, 0),
        alu(AND, TYPE, 0xffff),
        alu(SHIFT_RIGHT, WANTED, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.rules().iter().rev().filter(|rule| !rule.access.is_empty()) {
        let body = body(rule);
        let always_ends = rule.matches_every_device() && rule.access == super::devices::Access::ALL;
        program.extend(guard(rule, body.len()));
        if always_ends {
            program.extend(answer(rule.allow));
            return program;
        }
        program.extend(body);
    }
    program.extend(answer(false));
    program
}

/// What a rule does once the device matches.
fn body(rule: &DeviceRule) -> Vec<Instruction> {
    let access = u32::from(rule.access.bits());
    if rule.allow {
        // Decided in favour; go on with what is left, if anything.
        let [yes, exit] = answer(true);
        vec![alu(AND, WANTED, !access), jump(JUMP_IF_NOT, WANTED, 0, 2), yes, exit]
    } else {
        // JSET has no negated form, hence the jump over the jump.
        let [no, exit] = answer(false);
        vec![jump(JUMP_IF_ANY, WANTED, access, 1), jump(JUMP, 0, 0, 2), no, exit]
    }
}

/// Jumps past the `body` unless the device is the rule's.
fn guard(rule: &DeviceRule, body: usize) -> Vec<Instruction> {
    let kind = match rule.kind {
        Kind::All => None,
        Kind::Block => Some((TYPE, BLOCK)),
        Kind::Char => Some((TYPE, CHAR)),
    };
    let major = rule.major.map(|number| (MAJOR, number));
    let minor = rule.minor.map(|number| (MINOR, number));
    let checks: Vec<_> = [kind, major, minor].into_iter().flatten().collect();
    let last = checks.len();
    let jump_over = |(index, (register, value))| {
        let distance = last - index - 1 + body;
        let distance = i16::try_from(distance).expect("a guard and a body are seven instructions");
        jump(JUMP_IF_NOT, register, value, distance)
    };
    checks.into_iter().enumerate().map(jump_over).collect()
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        alu(MOVE, R0, u32::from(allow)),
        Instruction { code: EXIT, registers: 0, offset: 0, immediate: 0 },
    ]
}

const fn load(to: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: CONTEXT << 4 | to, offset, immediate: 0 }
}

const fn alu(code: u8, register: u8, value: u32) -> Instruction {
    Instruction { code, registers: register, offset: 0, immediate: value.cast_signed() }
}

const fn jump(code: u8, register: u8, value: u32, offset: i16) -> Instruction {
    Instruction { code, registers: register, offset, immediate: value.cast_signed() }
}

#[cfg(test)]
pub(super) mod tests;
