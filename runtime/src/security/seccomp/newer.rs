//! System calls younger than the libseccomp that compiles.
//!
//! Two things go wrong with them. A profile allows `fchmodat2`, but a library of the year before
//! does not know the name: the rule is lost. And a C library tries the newest call first and falls
//! back only on ENOSYS: a filter that answers EPERM to what it never heard of breaks programs that
//! would work on an older kernel. A short prologue before the compiled program answers both: calls
//! of the table below as the profile says, and ENOSYS to calls above all that the profile names.
//!
//! Since Linux 5.1 a new call has the same number on every architecture, mips and alpha aside
//! (Documentation/process/adding-syscalls.rst; scripts/syscall.tbl).

use libseccomp::{ScmpArch, ScmpSyscall};
use linux::raw::seccomp::Instruction;

/// Names and numbers; in the order of numbers.
const NEWER: &[(&str, u32)] = &[
    ("landlock_create_ruleset", 444),
    ("landlock_add_rule", 445),
    ("landlock_restrict_self", 446),
    ("memfd_secret", 447),
    ("process_mrelease", 448),
    ("futex_waitv", 449),
    ("set_mempolicy_home_node", 450),
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
    ("listns", 470),
];

/// x32 calls come under the architecture of x86-64 with this bit in their number.
const X32: u32 = 0x4000_0000;

/// `SECCOMP_RET_ERRNO | ENOSYS`.
const NO_SUCH_CALL: u32 = 0x0005_0000 | 38;

/// The number of a call that libseccomp may not know.
pub(super) fn number(name: &str) -> Option<u32> {
    NEWER.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The token by which a filter recognises an architecture whose new calls are numbered like all
/// others' (AUDIT_ARCH_*, linux/audit.h).
fn token(arch: ScmpArch) -> Option<u32> {
    Some(match arch {
        ScmpArch::X86 => 0x4000_0003,
        ScmpArch::X8664 => 0xc000_003e,
        ScmpArch::Arm => 0x4000_0028,
        ScmpArch::Aarch64 => 0xc000_00b7,
        ScmpArch::Riscv64 => 0xc000_00f3,
        ScmpArch::Ppc64Le => 0xc000_0015,
        ScmpArch::S390X => 0x8000_0016,
        ScmpArch::Loongarch64 => 0xc000_0102,
        _ => return None,
    })
}

/// What is answered before the compiled program is asked.
#[derive(Debug, Default)]
pub(super) struct Prologue {
    /// Calls that libseccomp does not know, and the answer of the profile.
    pub(super) answers: Vec<(u32, u32)>,
    /// Every name in the profile.
    pub(super) names: Vec<String>,
    /// Whether calls above all of those get ENOSYS.
    pub(super) unknown_is_nosys: bool,
}

impl Prologue {
    /// The instructions to put before a program for `architectures`.
    pub(super) fn program(&self, architectures: &[ScmpArch]) -> Vec<u8> {
        if self.answers.is_empty() && !self.unknown_is_nosys {
            return Vec::new();
        }
        let mut program = vec![load(OFFSET_ARCH)];
        for &arch in architectures {
            let (Some(token), Some(highest)) = (token(arch), self.highest(arch)) else { continue };
            let mut block = vec![load(OFFSET_NUMBER)];
            if arch == ScmpArch::X8664 {
                // The two instructions after it: on to the compiled program.
                block.extend([jump(JGE, X32, 0, 1), u64::MAX]);
            }
            for &(number, answer) in &self.answers {
                block.extend([jump(JEQ, number, 0, 1), answer_with(answer)]);
            }
            if self.unknown_is_nosys {
                block.extend([jump(JGT, highest, 0, 1), answer_with(NO_SUCH_CALL)]);
            }
            block.push(u64::MAX);
            // `ja` has no limit, a conditional jump ends at 255.
            program.extend([jump(JEQ, token, 1, 0), skip(block.len())]);
            program.extend(block);
        }
        let end = program.len();
        for (at, instruction) in program.iter_mut().enumerate() {
            if *instruction == u64::MAX {
                *instruction = skip(end - at - 1);
            }
        }
        program.iter().flat_map(|instruction| instruction.to_ne_bytes()).collect()
    }

    /// The highest number of a call that the profile names.
    fn highest(&self, arch: ScmpArch) -> Option<u32> {
        self.names
            .iter()
            .filter_map(|name| {
                number(name).or_else(|| {
                    let call = ScmpSyscall::from_name_by_arch(name, arch).ok()?;
                    // Negative: not on this architecture.
                    u32::try_from(i32::from(call)).ok()
                })
            })
            .max()
    }
}

pub(super) const OFFSET_NUMBER: u32 = 0;
pub(super) const OFFSET_ARCH: u32 = 4;
/// `BPF_JMP | BPF_JEQ | BPF_K` and so on (linux/bpf_common.h).
pub(super) const JEQ: u16 = 0x15;
pub(super) const JGT: u16 = 0x25;
pub(super) const JGE: u16 = 0x35;

/// `struct sock_filter` as the machine stores it.
pub(super) fn bytes(it: &Instruction) -> [u8; 8] {
    let ([c0, c1], [k0, k1, k2, k3]) = (it.code.to_ne_bytes(), it.k.to_ne_bytes());
    [c0, c1, it.jt, it.jf, k0, k1, k2, k3]
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> u64 {
    u64::from_ne_bytes(bytes(&Instruction { code, jt, jf, k }))
}

fn load(offset: u32) -> u64 {
    instruction(0x20, 0, 0, offset)
}

fn jump(code: u16, value: u32, jt: u8, jf: u8) -> u64 {
    instruction(code, jt, jf, value)
}

fn answer_with(action: u32) -> u64 {
    instruction(0x06, 0, 0, action)
}

fn skip(count: usize) -> u64 {
    instruction(0x05, 0, 0, u32::try_from(count).expect("a prologue is short"))
}
