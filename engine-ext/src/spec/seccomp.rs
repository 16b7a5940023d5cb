//! Seccomp profiles in the format of docker: the built-in one, those of `--security-opt
//! seccomp=FILE`, and what both become in the OCI configuration.
//!
//! A profile has rules that hold for some capabilities, architectures or kernels only; the OCI
//! configuration has none of that, so a profile is flattened for one container on one host.

use std::path::Path;

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

/// The profile of a container that asks for none.
const BUILT_IN: &str = include_str!("seccomp_default.json");

/// What a system container does, whatever profile is in force.
/// The call is opened by it, the privilege is not.
const SYSTEM: &[&str] = runtime::system::SYSCALLS;

/// With a user namespace the kernel itself keeps these within the container.
const SYSTEM_IN_USER_NAMESPACE: &[&str] = &[
    "add_key",
    "clone",
    "clone3",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "keyctl",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "pivot_root",
    "request_key",
    "setdomainname",
    "sethostname",
    "setns",
    "umount",
];

/// A profile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seccomp profile {profile}: {reason}")]
pub struct InvalidProfile {
    profile: String,
    reason: String,
}

/// A profile in docker's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    file: File,
}

/// The machine a profile is flattened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine<'a> {
    /// As `std::env::consts::ARCH` says it.
    pub architecture: &'a str,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<Arch>,
    #[serde(default)]
    arch_map: Vec<ArchEntry>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchEntry {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    /// The older form of `names`.
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    comment: Option<String>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
    /// The name of an errno, which docker writes beside its number.
    #[serde(default)]
    errno: Option<String>,
}

/// When a rule holds, or does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    caps: Option<Vec<Capability>>,
    /// In the words of the Go compiler.
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    /// The built-in profile.
    #[must_use]
    pub fn built_in() -> Self {
        Self::from_text("built-in", BUILT_IN.as_bytes())
            .expect("a test parses the built-in profile")
    }

    /// The profile that `text`, read from `path`, is.
    ///
    /// # Errors
    /// `path` is not absolute, or `text` is no profile.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, InvalidProfile> {
        let name = path.display().to_string();
        if !path.is_absolute() {
            let reason = "the path is not absolute".to_owned();
            return Err(InvalidProfile { profile: name, reason });
        }
        Self::from_text(&name, text)
    }

    fn from_text(name: &str, text: &[u8]) -> Result<Self, InvalidProfile> {
        let refuse = |reason: String| Err(InvalidProfile { profile: name.to_owned(), reason });
        let mut file: File = match serde_json::from_slice(text) {
            Ok(file) => file,
            Err(error) => return refuse(error.to_string()),
        };
        if !file.architectures.is_empty() && !file.arch_map.is_empty() {
            return refuse("architectures and archMap are both there; keep one".into());
        }
        for (index, rule) in file.syscalls.iter_mut().enumerate() {
            if let Err(reason) = rule.check(file.default_action, file.default_errno_ret) {
                return refuse(format!("syscalls[{index}]: {reason}"));
            }
        }
        Ok(Self { name: name.to_owned(), file })
    }

    /// Opens what a system container does, with the larger list inside a user namespace. Rules
    /// about the same calls go: the call is open without condition.
    #[must_use]
    pub fn for_system_container(mut self, user_namespace: bool) -> Self {
        let mut open = SYSTEM.to_vec();
        if user_namespace {
            open.extend(SYSTEM_IN_USER_NAMESPACE);
        }
        for rule in &mut self.file.syscalls {
            rule.names.retain(|name| !open.contains(&name.as_str()));
        }
        self.file.syscalls.retain(|rule| !rule.names.is_empty());
        if self.file.default_action != LinuxSeccompAction::ScmpActAllow {
            self.file.syscalls.push(Rule::allowing(&open));
        }
        self
    }

    /// The profile as the OCI configuration has it, for a container with these capabilities in its
    /// bounding set.
    ///
    /// # Errors
    /// A rule names a kernel version that is none.
    pub fn flatten(
        self,
        capabilities: &[Capability],
        machine: Machine<'_>,
    ) -> Result<LinuxSeccomp, InvalidProfile> {
        let architectures = self.architectures(machine.architecture);
        let mut rules = Vec::with_capacity(self.file.syscalls.len());
        for (index, rule) in self.file.syscalls.into_iter().enumerate() {
            let holds = rule.holds(capabilities, machine).map_err(|reason| InvalidProfile {
                profile: self.name.clone(),
                reason: format!("syscalls[{index}]: {reason}"),
            })?;
            if holds {
                rules.push(rule.into_oci());
            }
        }
        let mut seccomp = LinuxSeccompBuilder::default()
            .default_action(self.file.default_action)
            .architectures(architectures)
            .syscalls(rules)
            .build()
            .expect("nothing of it is required");
        seccomp
            .set_default_errno_ret(self.file.default_errno_ret)
            .set_flags(self.file.flags)
            .set_listener_path(self.file.listener_path.map(Into::into))
            .set_listener_metadata(self.file.listener_metadata);
        Ok(seccomp)
    }

    /// The machine's architecture with those it also runs, or the list the profile has itself.
    fn architectures(&self, machine: &str) -> Vec<Arch> {
        let native = native(machine);
        match self.file.arch_map.iter().find(|entry| Some(entry.architecture) == native) {
            Some(entry) => std::iter::once(entry.architecture)
                .chain(entry.sub_architectures.iter().flatten().copied())
                .collect(),
            None => self.file.architectures.clone(),
        }
    }
}

impl Rule {
    fn allowing(names: &[&str]) -> Self {
        Self {
            name: String::new(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            action: LinuxSeccompAction::ScmpActAllow,
            errno_ret: None,
            args: None,
            comment: None,
            includes: Filter::default(),
            excludes: Filter::default(),
            errno: None,
        }
    }

    /// Brings both forms of names into one, and finds what the format allows but makes no sense.
    fn check(
        &mut self,
        default: LinuxSeccompAction,
        default_errno: Option<u32>,
    ) -> Result<(), String> {
        if !self.name.is_empty() {
            if !self.names.is_empty() {
                return Err("name and names are both there; keep names".into());
            }
            self.names.push(std::mem::take(&mut self.name));
        }
        if self.names.is_empty() || self.names.iter().any(String::is_empty) {
            return Err("names no system call".into());
        }
        let takes_number = matches!(
            self.action,
            LinuxSeccompAction::ScmpActErrno | LinuxSeccompAction::ScmpActTrace
        );
        if self.errno_ret.is_some() && !takes_number {
            return Err(format!("{} takes no errnoRet", self.action));
        }
        if self.errno.is_some() && self.errno_ret.is_none() {
            return Err("errno has the name only; give the number in errnoRet".into());
        }
        let same_number = !takes_number || self.errno_ret == default_errno;
        if self.action == default && same_number {
            return Err(format!(
                "{}: {} is the default action; a rule must differ from it",
                self.names.join(" "),
                self.action
            ));
        }
        match self.args.iter().flatten().find(|arg| arg.index() > 5) {
            Some(arg) => Err(format!("args: index {} is above 5", arg.index())),
            None => Ok(()),
        }
    }

    fn holds(&self, capabilities: &[Capability], machine: Machine<'_>) -> Result<bool, String> {
        let includes = &self.includes;
        let excludes = &self.excludes;
        let has = |capability: &Capability| capabilities.contains(capability);
        let here = |arch: &String| Some(arch.as_str()) == go_name(machine.architecture);
        let runs = |version: &String| Ok::<_, String>(machine.kernel >= kernel(version)?);
        Ok(includes.caps.iter().flatten().all(has)
            && includes.arches.as_ref().is_none_or(|it| it.is_empty() || it.iter().any(here))
            && includes.min_kernel.as_ref().map_or(Ok(true), runs)?
            && !excludes.caps.iter().flatten().any(has)
            && !excludes.arches.iter().flatten().any(here)
            && !excludes.min_kernel.as_ref().map_or(Ok(false), runs)?)
    }

    fn into_oci(self) -> LinuxSyscall {
        let mut rule = LinuxSyscallBuilder::default()
            .names(self.names)
            .action(self.action)
            .build()
            .expect("nothing of it is required");
        rule.set_errno_ret(self.errno_ret).set_args(self.args.filter(|args| !args.is_empty()));
        rule
    }
}

/// `4.8` as numbers.
fn kernel(version: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| text.parse::<u32>().ok();
    version
        .split_once('.')
        .and_then(|(major, minor)| Some((number(major)?, number(minor)?)))
        .ok_or_else(|| format!("minKernel {version:?} is not a version like 4.8"))
}

fn native(machine: &str) -> Option<Arch> {
    Some(match machine {
        "x86_64" => Arch::ScmpArchX86_64,
        "aarch64" => Arch::ScmpArchAarch64,
        "riscv64" => Arch::ScmpArchRiscv64,
        "loongarch64" => Arch::ScmpArchLoongarch64,
        "powerpc64" => Arch::ScmpArchPpc64le,
        "s390x" => Arch::ScmpArchS390x,
        _ => return None,
    })
}

fn go_name(machine: &str) -> Option<&'static str> {
    Some(match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "riscv64" => "riscv64",
        "loongarch64" => "loong64",
        "powerpc64" => "ppc64le",
        "s390x" => "s390x",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
