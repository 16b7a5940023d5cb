//! What a process may do: read once from the configuration, put in force in the kernel's order.
//!
//! ```text
//! prepare    parent   everything that can be wrong is found here; filters compiled, labels checked
//! grant      host     what needs the host's privileges: raised limits, OOM score, scheduling
//! take_along child   what is not to be found inside the container
//! apply      child    the last thing before exec, see there for the order
//! ```

mod agent;
mod attributes;
mod caps;
mod keyring;
pub(crate) mod label;
mod rlimit;
mod seccomp;
pub mod user;

use std::cell::OnceCell;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::Context as _;
use linux::Errno;
use linux::attributes::{IoClass, Scheduling};
use linux::mount::Attributes;
use linux::process::Pid;
use oci_spec::runtime::{Linux, Process};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet};

pub(crate) use attributes::Affinity;
pub(crate) use keyring::join_session as join_session_keyring;

use crate::error::During as _;
use crate::{Error, Result, State};
use agent::Agent;
use attributes::MemoryPolicy;
use caps::{Capabilities, Grantable};
use label::{Label, Modules};
use rlimit::Limit;
use seccomp::Filter;

/// PROC_SUPER_MAGIC, linux/magic.h.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Where the process will be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// In a user namespace other than the caller's.
    pub(crate) user_namespace: bool,
    /// setgroups(2) is denied there (user_namespaces(7), "The /proc/pid/setgroups file").
    pub(crate) setgroups_denied: bool,
    /// Where compiled filters are kept.
    pub(crate) seccomp_cache: Option<&'a Path>,
    /// What a seccomp agent is told; the pid is filled in when it is 0.
    pub(crate) state: &'a State,
}

/// Everything a process may do.
#[derive(Debug)]
pub(crate) struct Security {
    limits: Vec<Limit>,
    oom_score_adj: Option<i32>,
    scheduling: Option<Scheduling>,
    io_priority: Option<(IoClass, u8)>,
    personality: Option<u32>,
    memory_policy: Option<MemoryPolicy>,
    affinity: Affinity,
    capabilities: Capabilities,
    ids: Ids,
    no_new_privileges: bool,
    labels: Vec<Label>,
    filter: Option<Filter>,
    agent: Option<Agent>,
    along: OnceCell<Along>,
}

/// What a process takes along from the host's side.
#[derive(Debug, Default)]
struct Along {
    /// A process file system of its own, when there is a label to set.
    procfs: Option<OwnedFd>,
    /// Its host pid, when there is an agent to tell.
    pid: i32,
}

/// Who a process is.
#[derive(Debug)]
struct Ids {
    uid: Uid,
    gid: Gid,
    /// None: setgroups(2) is denied, the list stays as it is.
    groups: Option<Vec<Gid>>,
    umask: Mode,
}

/// Reads what `process` may do and checks it against this host. Warns about capabilities that
/// cannot be granted; everything else that cannot be had is an error.
pub(crate) fn prepare(
    process: &Process,
    linux: Option<&Linux>,
    place: Place<'_>,
) -> Result<Security> {
    let profile = linux.and_then(|linux| linux.seccomp().as_ref());
    let grantable = if place.user_namespace {
        Grantable::in_user_namespace()
    } else {
        Grantable::here().step(|| "read the capabilities of the runtime".into())?
    };
    let labels = label::from_spec(process, Modules::of_host)?;
    let filter = profile.map(|it| Filter::prepare(it, place.seccomp_cache)).transpose()?;
    let agent = match profile {
        Some(profile) => agent::connect(profile, place.state)?,
        None => None,
    };
    Ok(Security {
        limits: rlimit::from_spec(process.rlimits().as_deref().unwrap_or_default())?,
        oom_score_adj: oom_score_adj(process)?,
        scheduling: process.scheduler().as_ref().map(attributes::scheduling).transpose()?,
        io_priority: process.io_priority().as_ref().map(attributes::io_priority).transpose()?,
        personality: linux
            .and_then(|linux| linux.personality().as_ref())
            .map(attributes::personality)
            .transpose()?,
        memory_policy: linux
            .and_then(|linux| linux.memory_policy().as_ref())
            .map(attributes::memory_policy)
            .transpose()?,
        affinity: process
            .exec_cpu_affinity()
            .as_ref()
            .map(attributes::affinity)
            .transpose()?
            .unwrap_or_default(),
        capabilities: Capabilities::from_spec(process.capabilities().as_ref())?
            .granted_by(grantable),
        ids: Ids::from_spec(process, place)?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        labels,
        filter,
        agent,
        along: OnceCell::new(),
    })
}

fn oom_score_adj(process: &Process) -> Result<Option<i32>> {
    match process.oom_score_adj() {
        Some(score) if !(-1000..=1000).contains(&score) => Err(Error::config(
            "process.oomScoreAdj",
            format!("{score} is not between -1000 and 1000"),
        )),
        score => Ok(score),
    }
}

/// What the calling process is called on the host. Its own `/proc` still is the host's.
fn host_pid() -> linux::Result<i32> {
    let link = "/proc/self";
    let answer = rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .during(|| format!("open {link}"))?;
    if linux::mount::fstype(&answer)? != PROC_SUPER_MAGIC {
        return Err(linux::Error::new("find the process file system at /proc", Errno::NOTDIR));
    }
    let pid = rustix::fs::readlink(link, Vec::new()).during(|| format!("read {link}"))?;
    pid.to_str()
        .ok()
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| linux::Error::new(format!("read {link}"), Errno::INVAL))
}

impl Ids {
    fn from_spec(process: &Process, place: Place<'_>) -> Result<Self> {
        let user = process.user();
        let refuse = |member: &str, reason: String| {
            Err(Error::config(format!("process.user.{member}"), reason))
        };
        let further = user.additional_gids().as_deref().unwrap_or_default();
        // (uid_t) -1 means "leave as it is" to setresuid(2): the process would stay root.
        for (member, id) in [("uid", user.uid()), ("gid", user.gid())]
            .into_iter()
            .chain(further.iter().map(|&gid| ("additionalGids", gid)))
        {
            if id == u32::MAX {
                return refuse(member, format!("{id} is not an id; the largest is 4294967294"));
            }
        }
        if place.setgroups_denied && !further.is_empty() {
            return refuse(
                "additionalGids",
                "the user namespace denies setgroups; remove them".into(),
            );
        }
        if let Some(umask) = user.umask()
            && umask > 0o7777
        {
            return refuse("umask", format!("{umask:#o} is above 0o7777"));
        }
        let groups = further.iter().map(|&gid| Gid::from_raw(gid)).collect();
        Ok(Self {
            uid: Uid::from_raw(user.uid()),
            gid: Gid::from_raw(user.gid()),
            groups: (!place.setgroups_denied).then_some(groups),
            // Unspecified is that of the caller (runtime-spec, "User"), which is this process
            // and may have another one while it builds the container.
            umask: user.umask().map_or_else(current_umask, Mode::from_raw_mode),
        })
    }

    fn apply(&self) -> linux::Result<()> {
        rustix::process::umask(self.umask);
        if let Some(groups) = &self.groups {
            thread::set_thread_groups(groups).during(|| "setgroups")?;
        }
        thread::set_thread_res_gid(self.gid, self.gid, self.gid)
            .during(|| format!("set the group to {}", self.gid.as_raw()))
            .map_err(unmapped)?;
        thread::set_thread_res_uid(self.uid, self.uid, self.uid)
            .during(|| format!("set the user to {}", self.uid.as_raw()))
            .map_err(unmapped)
    }
}

/// An id without a mapping is no id in that namespace (user_namespaces(7)).
fn unmapped(error: linux::Error) -> linux::Error {
    if error.is(linux::Errno::INVAL) {
        error.with_hint("the id is not mapped in the user namespace")
    } else {
        error
    }
}

/// seccomp(2) wants the one or the other.
fn unprivileged(error: linux::Error) -> linux::Error {
    if error.is(Errno::ACCESS) {
        error.with_hint("without CAP_SYS_ADMIN it needs noNewPrivileges")
    } else {
        error
    }
}

/// There is no call that only reads it.
fn current_umask() -> Mode {
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    umask
}

impl Security {
    /// Gives `pid`, or the caller, what only the host can give: to be called from outside the
    /// container, or by the child before it enters a user namespace.
    pub(crate) fn grant(&self, pid: Option<Pid>) -> Result<()> {
        for limit in &self.limits {
            limit.raise(pid).step(|| "apply process.rlimits".into())?;
        }
        if let Some(score) = self.oom_score_adj {
            let of = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
            linux::file::write(format!("/proc/{of}/oom_score_adj"), score.to_string().as_bytes())
                .step(|| "apply process.oomScoreAdj".into())?;
        }
        if let Some(scheduling) = &self.scheduling {
            linux::attributes::set_scheduling(pid, scheduling)
                .step(|| "apply process.scheduler".into())?;
        }
        if let Some((class, level)) = self.io_priority {
            linux::attributes::set_io_priority(pid, class, level)
                .step(|| "apply process.ioPriority".into())?;
        }
        Ok(())
    }

    /// Takes along what [`Security::apply`] needs and cannot find in the container: to be called
    /// by the child, in its pid namespace, while it still has the mounts of the host.
    ///
    /// A label is written through a process file system that is mounted nowhere, so the container
    /// cannot have put anything over it (CVE-2019-16884, CVE-2025-52881), and that shows the
    /// container's processes only, so its descriptor leads nowhere (CVE-2024-21626).
    pub(crate) fn take_along(&self) -> Result<()> {
        let mut along = Along::default();
        if !self.labels.is_empty() {
            let procfs =
                linux::mount::new_filesystem("proc", Some("proc"), &[], &Attributes::default());
            along.procfs = Some(procfs.step(|| "prepare the label".into())?);
        }
        if self.agent.is_some() {
            along.pid = host_pid().step(|| "prepare linux.seccomp".into())?;
        }
        // Taken along twice is taken along once.
        let _ = self.along.set(along);
        Ok(())
    }

    /// Descriptors that [`Security::apply`] still needs.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let procfs = self.along.get().and_then(|along| along.procfs.as_ref());
        let agent = self.agent.as_ref().map(Agent::descriptor);
        procfs.map(|procfs| procfs.as_fd()).into_iter().chain(agent)
    }

    /// The CPUs a process of `exec` runs on.
    pub(crate) fn affinity(&self) -> &Affinity {
        &self.affinity
    }

    /// Makes the calling process, alone and in its container already, into what it may be. The
    /// next thing it does is exec.
    ///
    /// The order is the kernel's. The bounding set can be lowered, the groups and the user changed
    /// only with the capabilities that go away by it; PR_SET_KEEPCAPS carries them over the change
    /// of the user, the exact sets come after it (capabilities(7), "Effect of user ID changes").
    /// A filter without no_new_privs needs CAP_SYS_ADMIN (seccomp(2)), which is therefore kept
    /// until the filter is there; nothing but capset(2) and execve(2) has to pass it.
    pub(crate) fn apply(&self) -> Result<()> {
        if let Some(domain) = self.personality {
            linux::attributes::set_personality(domain).step(|| "apply linux.personality".into())?;
        }
        if let Some(policy) = &self.memory_policy {
            linux::attributes::set_memory_policy(policy.mode, policy.flags, &policy.nodes)
                .step(|| "apply linux.memoryPolicy".into())?;
        }
        self.apply_labels()?;
        for limit in &self.limits {
            limit.set().step(|| "apply process.rlimits".into())?;
        }
        self.become_user()?;
        self.load_filter()
    }

    fn apply_labels(&self) -> Result<()> {
        for label in &self.labels {
            let procfs = self.along.get().and_then(|along| along.procfs.as_ref());
            let procfs = procfs.expect("take_along comes before apply");
            label.apply(procfs.as_fd()).step(|| "apply the label of the process".into())?;
        }
        Ok(())
    }

    fn become_user(&self) -> Result<()> {
        let capabilities = || "apply process.capabilities".to_owned();
        self.capabilities.limit_bounding_set().step(capabilities)?;
        thread::set_keep_capabilities(true)
            .during(|| "prctl PR_SET_KEEPCAPS")
            .step(capabilities)?;
        self.ids.apply().step(|| "apply process.user".into())?;
        self.capabilities.set(self.for_filter()).step(capabilities)?;
        thread::set_keep_capabilities(false)
            .during(|| "prctl PR_SET_KEEPCAPS")
            .step(capabilities)?;
        self.capabilities.set_ambient().step(capabilities)
    }

    /// What the process holds on to until its filter is loaded.
    fn for_filter(&self) -> CapabilitySet {
        if self.filter.is_none() || self.no_new_privileges {
            return CapabilitySet::empty();
        }
        thread::capabilities(None)
            .map_or(CapabilitySet::empty(), |own| own.permitted & CapabilitySet::SYS_ADMIN)
    }

    fn load_filter(&self) -> Result<()> {
        if self.no_new_privileges {
            thread::set_no_new_privs(true)
                .during(|| "prctl PR_SET_NO_NEW_PRIVS")
                .step(|| "apply process.noNewPrivileges".into())?;
        }
        let Some(filter) = &self.filter else { return Ok(()) };
        let keeps =
            !self.for_filter().is_empty() && !self.capabilities.effective(CapabilitySet::SYS_ADMIN);
        let act = || "apply linux.seccomp".to_owned();
        let listener = filter.load().map_err(unprivileged).step(act)?;
        if keeps {
            let hint = "the seccomp profile must allow capset, or set noNewPrivileges";
            self.capabilities
                .set(CapabilitySet::empty())
                .map_err(|error| error.with_hint(hint))
                .step(|| "apply process.capabilities".into())?;
        }
        if let (Some(agent), Some(listener)) = (&self.agent, listener) {
            let pid = self.along.get().expect("take_along comes before apply").pid;
            agent.send(&listener, pid).step(act)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
