//! `linux.seccomp` to a BPF program, by libseccomp.

use std::os::fd::AsFd as _;

use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use linux::Context as _;
use linux::raw::seccomp::program_from_bytes;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use rustix::fs::MemfdFlags;
use tracing::debug;

use super::newer::{self, Prologue};
use super::{refuse, shrink};
use crate::error::During as _;
use crate::{Error, Result};

/// EPERM: what a refused call answers where the profile does not say.
const DEFAULT_ERRNO: u32 = 1;
const ENOSYS: u32 = 38;
/// The kernel cuts a larger number down to this (MAX_ERRNO, linux/err.h).
const LARGEST_ERRNO: u32 = 4095;

/// The program that does what `profile` says, for all its architectures, in few instructions.
pub(super) fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>> {
    let program = translate(profile)?;
    let shorter = program_from_bytes(&program).and_then(|program| shrink::shrink(&program));
    Ok(shorter.map_or(program, |program| program.iter().flat_map(newer::bytes).collect()))
}

/// The program that does what `profile` says, as libseccomp writes it.
pub(super) fn translate(profile: &LinuxSeccomp) -> Result<Vec<u8>> {
    let default =
        Decision::new(profile.default_action(), profile.default_errno_ret(), "defaultErrnoRet")?;
    let mut filter = ScmpFilterContext::new(default.action).map_err(|error| library("", &error))?;
    // The caller sets no_new_privs, at the right moment. A balanced tree is shorter to walk than a
    // chain, where the program stays as it is.
    filter
        .set_ctl_nnp(false)
        .and_then(|filter| filter.set_ctl_optimize(2))
        .map_err(|error| library("", &error))?;
    let architectures = architectures(profile, &mut filter)?;

    let mut prologue = Prologue {
        unknown_is_nosys: profile.default_action() == LinuxSeccompAction::ScmpActErrno
            && profile.default_errno_ret() != Some(ENOSYS),
        ..Prologue::default()
    };
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        let member = format!("syscalls[{index}]");
        let decision =
            Decision::new(rule.action(), rule.errno_ret(), &format!("{member}.errnoRet"))?;
        add(&mut filter, rule, decision, default, &member, &mut prologue)?;
    }
    let mut program = prologue.program(&architectures);
    program.extend(export(&filter)?);
    Ok(program)
}

/// The native architecture, and those asked for.
fn architectures(profile: &LinuxSeccomp, filter: &mut ScmpFilterContext) -> Result<Vec<ScmpArch>> {
    let native = ScmpArch::native();
    let mut all = vec![native];
    for arch in profile.architectures().iter().flatten() {
        let arch_name = arch.to_string();
        let wanted = arch_of(*arch).ok_or_else(|| {
            refuse("architectures", format!("{arch_name} is unknown to libseccomp; remove it"))
        })?;
        let wanted = if wanted == ScmpArch::Native { native } else { wanted };
        if all.contains(&wanted) {
            continue;
        }
        filter.add_arch(wanted).map_err(|error| library(&format!("add {arch_name}"), &error))?;
        all.push(wanted);
    }
    Ok(all)
}

/// An action with its number, for libseccomp and for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decision {
    action: ScmpAction,
    raw: u32,
}

impl Decision {
    fn new(action: LinuxSeccompAction, number: Option<u32>, member: &str) -> Result<Self> {
        use LinuxSeccompAction as Act;
        let takes_number = matches!(action, Act::ScmpActErrno | Act::ScmpActTrace);
        if number.is_some() && !takes_number {
            return Err(refuse(member, format!("{action} takes no number; remove it")));
        }
        let number = number.unwrap_or(DEFAULT_ERRNO);
        let bound = if action == Act::ScmpActErrno { LARGEST_ERRNO } else { u32::from(u16::MAX) };
        let short = u16::try_from(number)
            .ok()
            .filter(|_| number <= bound)
            .ok_or_else(|| refuse(member, format!("{number} is above {bound}")))?;
        Ok(Self {
            raw: action.as_u32(takes_number.then_some(number)),
            action: match action {
                Act::ScmpActKill | Act::ScmpActKillThread => ScmpAction::KillThread,
                Act::ScmpActKillProcess => ScmpAction::KillProcess,
                Act::ScmpActTrap => ScmpAction::Trap,
                Act::ScmpActErrno => ScmpAction::Errno(i32::from(short)),
                Act::ScmpActNotify => ScmpAction::Notify,
                Act::ScmpActTrace => ScmpAction::Trace(short),
                Act::ScmpActLog => ScmpAction::Log,
                Act::ScmpActAllow => ScmpAction::Allow,
            },
        })
    }
}

/// Adds one rule: each of its calls, with its comparisons.
fn add(
    filter: &mut ScmpFilterContext,
    rule: &LinuxSyscall,
    decision: Decision,
    default: Decision,
    member: &str,
    prologue: &mut Prologue,
) -> Result<()> {
    if rule.names().is_empty() {
        return Err(refuse(&format!("{member}.names"), "is empty; name a system call"));
    }
    let comparisons = comparisons(rule.args().as_deref().unwrap_or_default(), member)?;
    prologue.names.extend(rule.names().iter().cloned());
    if decision == default {
        // libseccomp refuses a rule that says what would happen anyway.
        return Ok(());
    }
    for name in rule.names() {
        let context = |error: &SeccompError| library(&format!("{member}: add {name}"), error);
        let Ok(call) = ScmpSyscall::from_name(name) else {
            match newer::number(name) {
                Some(number) if comparisons.is_empty() => {
                    prologue.answers.push((number, decision.raw));
                }
                _ => debug!(name, "left out a system call that libseccomp does not know"),
            }
            continue;
        };
        if comparisons.is_empty() {
            filter.add_rule(decision.action, call).map_err(|error| context(&error))?;
        } else if compares_twice(rule) {
            // Two values for one argument can only mean either of them.
            for one in &comparisons {
                filter
                    .add_rule_conditional(decision.action, call, std::slice::from_ref(one))
                    .map_err(|error| context(&error))?;
            }
        } else {
            filter
                .add_rule_conditional(decision.action, call, &comparisons)
                .map_err(|error| context(&error))?;
        }
    }
    Ok(())
}

fn compares_twice(rule: &LinuxSyscall) -> bool {
    let args = rule.args().as_deref().unwrap_or_default();
    args.iter().enumerate().any(|(at, one)| args[..at].iter().any(|o| o.index() == one.index()))
}

fn comparisons(args: &[LinuxSeccompArg], member: &str) -> Result<Vec<ScmpArgCompare>> {
    args.iter()
        .map(|arg| {
            let index =
                u32::try_from(arg.index()).ok().filter(|&index| index < 6).ok_or_else(|| {
                    refuse(&format!("{member}.args"), format!("index {} is above 5", arg.index()))
                })?;
            let (op, datum) = match arg.op() {
                LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
                LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
                LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
                LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
                LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
                LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
                LinuxSeccompOperator::ScmpCmpMaskedEq => {
                    (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0))
                }
            };
            Ok(ScmpArgCompare::new(index, op, datum))
        })
        .collect()
}

/// The finished program. libseccomp before 2.6 writes it to a descriptor only.
fn export(filter: &ScmpFilterContext) -> Result<Vec<u8>> {
    let act = || "export the seccomp filter".to_owned();
    let file = rustix::fs::memfd_create("seccomp", MemfdFlags::CLOEXEC)
        .during(|| "memfd_create")
        .step(act)?;
    filter.export_bpf(file.as_fd()).map_err(|error| library("export", &error))?;
    let size = rustix::fs::fstat(&file).during(|| "fstat").step(act)?.st_size;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let read = rustix::io::pread(&file, &mut bytes, 0).during(|| "pread");
    bytes.truncate(read.step(act)?);
    Ok(bytes)
}

fn library(what: &str, error: &SeccompError) -> Error {
    refuse("", if what.is_empty() { error.to_string() } else { format!("{what}: {error}") })
}

fn arch_of(arch: Arch) -> Option<ScmpArch> {
    Some(match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    })
}
