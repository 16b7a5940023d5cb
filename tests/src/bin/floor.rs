//! `floor`: what the kernel itself takes for a container, and for a thing added to one, as a yardstick
//! of `cargo xtask bench`.
//!
//! It makes the namespaces, mounts, device rules and cgroups of the benchmark's bundle by as few
//! calls as there can be, and nothing else: it reads no configuration, keeps no state, checks
//! nothing, undoes nothing, and leaves its binary open to whoever runs inside. No runtime may be
//! like it, and none can be much faster. (On a host of cgroup v2 alone it loads no device program.)
//!
//! ```text
//! floor run CGROUP ROOTFS PROGRAM [ARG...]             to its end, and the cgroups removed
//! floor start PID-FILE CGROUP ROOTFS PROGRAM [ARG...]  in the background
//! floor exec PID PROGRAM [ARG...]
//! floor remove CGROUP
//! floor add-device PID DEVICE NODE RECORD              and a record, synced
//! floor add-path PID DIRECTORY TARGET RECORD
//! floor add-nic PID BRIDGE HOST INSIDE ADDRESS RECORD  a pair of links, both up
//! floor nothing                                        a process that starts and ends
//! ```

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use linux::cgroup::{Hierarchy, Layout, Membership, Version};
use linux::netlink::{LinkAddress, LinkChange, NewKind, NewLink, PeerLink, Socket};
use linux::ns::{Kind, Namespace};
use linux::process::{Pid, PidFd};
use linux::{CloneFlags, Forked, exec, fork, ns};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::pipe::PipeFlags;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match call(&args) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "floor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn call(args: &[&str]) -> Result<ExitCode> {
    match args {
        ["run", cgroup, rootfs, program @ ..] => {
            let cgroups = Cgroups::make(cgroup)?;
            let (_, init) = start(&cgroups, rootfs, program)?;
            let code = init.wait()?.code();
            cgroups.remove()?;
            Ok(ExitCode::from(u8::try_from(code)?))
        }
        ["start", pid_file, cgroup, rootfs, program @ ..] => {
            // Closed by execve(2): then the program runs.
            let (running, closes) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            let (pid, _) = start(&Cgroups::make(cgroup)?, rootfs, program)?;
            drop(closes);
            rustix::io::read(&running, &mut [0])?;
            std::fs::write(pid_file, pid.get().to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        ["exec", pid, program @ ..] => enter(pid.parse()?, program),
        ["remove", cgroup] => Cgroups::of(cgroup)?.remove().map(|()| ExitCode::SUCCESS),
        ["add-device", pid, device, node, record] => {
            add_device(pid, Path::new(device), node)?;
            keep(Path::new(record)).map(|()| ExitCode::SUCCESS)
        }
        ["add-path", pid, directory, target, record] => {
            // Before it enters a tree where the record's path means nothing.
            keep(Path::new(record))?;
            add_path(pid.parse()?, directory, target).map(|()| ExitCode::SUCCESS)
        }
        ["add-nic", pid, bridge, host, inside, address, record] => {
            add_nic(pid.parse()?, bridge, [host, inside], address.parse()?)?;
            keep(Path::new(record)).map(|()| ExitCode::SUCCESS)
        }
        ["nothing"] => Ok(ExitCode::SUCCESS),
        _ => bail!("floor run|start|exec|remove|add-device|add-path|add-nic"),
    }
}

/// The cgroup of that name in each hierarchy.
struct Cgroups(Vec<(Hierarchy, PathBuf)>);

impl Cgroups {
    fn of(name: &str) -> Result<Self> {
        let layout = Layout::detect()?;
        let place = |one: &Hierarchy| (one.clone(), one.mount_point.join(name));
        Ok(Self(layout.hierarchies().iter().map(place).collect()))
    }

    fn make(name: &str) -> Result<Self> {
        let this = Self::of(name)?;
        for (hierarchy, dir) in &this.0 {
            make_directory(hierarchy, dir)?;
            if hierarchy.version == Version::V1 && hierarchy.has("devices") {
                std::fs::write(dir.join("devices.deny"), "a")?;
                for rule in DEVICE_RULES {
                    std::fs::write(dir.join("devices.allow"), rule)?;
                }
            }
        }
        Ok(this)
    }

    fn remove(&self) -> Result<()> {
        self.0.iter().try_for_each(|(_, dir)| remove_with_below(dir))
    }
}

/// Makes the cgroup, and the one above it if nobody has yet.
fn make_directory(hierarchy: &Hierarchy, dir: &Path) -> Result<()> {
    let above = dir.parent().context("a cgroup has a parent")?;
    match mkdirat(CWD, dir, Mode::from(0o755)) {
        Err(Errno::NOENT) => {
            make_directory(hierarchy, above)?;
            mkdirat(CWD, dir, Mode::from(0o755))
        }
        made => made,
    }
    .with_context(|| format!("make {}", dir.display()))?;
    if hierarchy.version == Version::V1 && hierarchy.has("cpuset") {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            std::fs::write(dir.join(file), std::fs::read(above.join(file))?)?;
        }
    }
    Ok(())
}

/// Depth first: a systemd has made more of them.
fn remove_with_below(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_with_below(&path)?;
        }
    }
    Ok(std::fs::remove_dir(dir)?)
}

const DEVICE_RULES: &[&str] = &[
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Moves the calling process, that has one thread, into the v1 cgroups without a grace period;
/// returns the v2 one, to be born into.
fn join<'a>(cgroups: impl Iterator<Item = (&'a Hierarchy, &'a Path)>) -> Result<Option<OwnedFd>> {
    let mut unified = None;
    for (hierarchy, dir) in cgroups {
        match hierarchy.version {
            Version::V1 => std::fs::write(dir.join("tasks"), "0")?,
            Version::V2 => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                unified = Some(rustix::fs::open(dir, flags, Mode::empty())?);
            }
        }
    }
    Ok(unified)
}

fn start(cgroups: &Cgroups, rootfs: &str, program: &[&str]) -> Result<(Pid, PidFd)> {
    let v2 = cgroups.0.iter().filter(|(hierarchy, _)| hierarchy.version == Version::V2);
    let unified = join(v2.map(|(hierarchy, dir)| (hierarchy, dir.as_path())))?;
    let program = Program::of(program)?;
    let flags = CloneFlags::NEWPID
        | CloneFlags::NEWNS
        | CloneFlags::NEWNET
        | CloneFlags::NEWIPC
        | CloneFlags::NEWUTS;
    match fork(flags, unified.as_ref().map(|fd| fd.as_fd()))? {
        Forked::Parent { pid, pidfd } => Ok((pid, pidfd)),
        Forked::Child => {
            let v1 = cgroups.0.iter().filter(|(hierarchy, _)| hierarchy.version == Version::V1);
            join(v1.map(|(hierarchy, dir)| (hierarchy, dir.as_path())))?;
            ns::unshare(CloneFlags::NEWCGROUP)?;
            build(cgroups, rootfs)?;
            rustix::system::sethostname(b"floor")?;
            rustix::process::setsid()?;
            for capability in DROPPED {
                remove_capability_from_bounding_set(*capability)?;
            }
            Err(program.exec())
        }
    }
}

const DROPPED: &[CapabilitySet] = &[
    CapabilitySet::DAC_READ_SEARCH,
    CapabilitySet::LINUX_IMMUTABLE,
    CapabilitySet::NET_BROADCAST,
    CapabilitySet::NET_ADMIN,
    CapabilitySet::IPC_LOCK,
    CapabilitySet::IPC_OWNER,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_PACCT,
    CapabilitySet::SYS_NICE,
    CapabilitySet::SYS_RESOURCE,
    CapabilitySet::SYS_TIME,
    CapabilitySet::SYS_TTY_CONFIG,
    CapabilitySet::LEASE,
    CapabilitySet::AUDIT_CONTROL,
    CapabilitySet::MAC_OVERRIDE,
    CapabilitySet::MAC_ADMIN,
    CapabilitySet::SYSLOG,
    CapabilitySet::WAKE_ALARM,
    CapabilitySet::BLOCK_SUSPEND,
    CapabilitySet::AUDIT_READ,
    CapabilitySet::PERFMON,
    CapabilitySet::BPF,
    CapabilitySet::CHECKPOINT_RESTORE,
];

/// The tree, and the root of the calling process on it.
fn build(cgroups: &Cgroups, rootfs: &str) -> Result<()> {
    let safe = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    mount_bind_recursive(rootfs, rootfs)?;
    rustix::process::chdir(rootfs)?;
    let new = |kind: &str, target: &str, flags: MountFlags, data: &CStr| {
        mount(kind, target, kind, flags, data).with_context(|| format!("mount {target}"))
    };
    new("proc", "proc", safe, c"")?;
    new("tmpfs", "dev", MountFlags::NOSUID, c"mode=755,size=65536k")?;
    for directory in ["dev/pts", "dev/shm", "dev/mqueue"] {
        mkdirat(CWD, directory, Mode::from(0o755))?;
    }
    let pts = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    new("devpts", "dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC, pts)?;
    new("tmpfs", "dev/shm", safe, c"mode=1777,size=65536k")?;
    new("mqueue", "dev/mqueue", safe, c"")?;
    new("sysfs", "sys", safe | MountFlags::RDONLY, c"")?;
    mount_cgroups(cgroups, safe)?;
    new("tmpfs", "run", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755")?;
    mkdirat(CWD, "run/lock", Mode::from(0o755))?;
    new("tmpfs", "run/lock", safe, c"mode=755")?;
    new("tmpfs", "tmp", MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777")?;
    for (name, major, minor) in NODES {
        let target = format!("dev/{name}");
        let device = makedev(*major, *minor);
        mknodat(CWD, target, FileType::CharacterDevice, Mode::from(0o666), device)?;
    }
    for (target, name) in LINKS {
        symlinkat(*target, CWD, *name)?;
    }
    // What a kernel does not have is passed over.
    let there = |part: &&str| Path::new(part).exists();
    for file in ["proc/kcore", "proc/keys", "proc/timer_list"].into_iter().filter(there) {
        mount_bind_recursive("dev/null", file)?;
    }
    if there(&"sys/firmware") {
        new("tmpfs", "sys/firmware", MountFlags::RDONLY, c"")?;
    }
    let parts = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];
    for part in parts.into_iter().filter(there) {
        mount_bind_recursive(part, part)?;
        mount_remount(part, MountFlags::BIND | MountFlags::RDONLY | safe, c"")?;
    }
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

const NODES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "dev/fd"),
    ("/proc/self/fd/0", "dev/stdin"),
    ("/proc/self/fd/1", "dev/stdout"),
    ("/proc/self/fd/2", "dev/stderr"),
    ("pts/ptmx", "dev/ptmx"),
];

fn mount_cgroups(cgroups: &Cgroups, safe: MountFlags) -> Result<()> {
    let top = "sys/fs/cgroup";
    if let [(_, _)] = cgroups.0[..] {
        return Ok(mount("cgroup", top, "cgroup2", safe, c"")?);
    }
    mount("tmpfs", top, "tmpfs", safe, c"mode=755")?;
    for (hierarchy, _) in &cgroups.0 {
        let name = hierarchy.mount_point.file_name().context("a hierarchy has a name")?;
        let target = Path::new(top).join(name);
        mkdirat(CWD, &target, Mode::from(0o755))?;
        match hierarchy.version {
            Version::V2 => mount("cgroup", &target, "cgroup2", safe, c"")?,
            Version::V1 => {
                let options = hierarchy.controllers.join(",");
                // A named hierarchy has no controller.
                let none = if options.starts_with("name=") { "none," } else { "" };
                let options = CString::new(format!("{none}{options}"))?;
                mount("cgroup", &target, "cgroup", safe, options.as_c_str())?;
            }
        }
    }
    Ok(())
}

fn enter(pid: i32, program: &[&str]) -> Result<ExitCode> {
    let pid = Pid::new(pid).context("a pid")?;
    let program = Program::of(program)?;
    let (layout, membership) = (Layout::detect()?, Membership::of(pid)?);
    let mut places = Vec::new();
    for hierarchy in layout.hierarchies() {
        let path = membership.path_in(hierarchy).context("it is in every hierarchy")?;
        places.push((hierarchy, hierarchy.dir_of(path).context("its cgroup is seen here")?));
    }
    let unified = join(places.iter().map(|(hierarchy, dir)| (*hierarchy, dir.as_path())))?;
    let all = CloneFlags::NEWPID
        | CloneFlags::NEWNS
        | CloneFlags::NEWNET
        | CloneFlags::NEWIPC
        | CloneFlags::NEWUTS
        | CloneFlags::NEWCGROUP;
    ns::enter(PidFd::open(pid)?.as_fd(), all)?;
    match fork(CloneFlags::empty(), unified.as_ref().map(|fd| fd.as_fd()))? {
        Forked::Parent { pidfd, .. } => Ok(ExitCode::from(u8::try_from(pidfd.wait()?.code())?)),
        Forked::Child => Err(program.exec()),
    }
}

/// The node, and the rule in the container's cgroup and all below it.
fn add_device(pid: &str, device: &Path, node: &str) -> Result<()> {
    let stat = rustix::fs::stat(device)?;
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let membership = Membership::of(Pid::new(pid.parse()?).context("a pid")?)?;
    let layout = Layout::detect()?;
    if let Some(hierarchy) = layout.with("devices") {
        let path = membership.path_in(hierarchy).context("it is in every hierarchy")?;
        let top = hierarchy.dir_of(path).context("its cgroup is seen here")?;
        allow_below(&top, &format!("c {major}:{minor} rwm"))?;
    }
    let place = Path::new("/proc").join(pid).join("root").join(node.trim_start_matches('/'));
    mknodat(CWD, place, FileType::CharacterDevice, Mode::from(0o666), stat.st_rdev)?;
    Ok(())
}

fn allow_below(dir: &Path, rule: &str) -> Result<()> {
    std::fs::write(dir.join("devices.allow"), rule)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            allow_below(&entry.path(), rule)?;
        }
    }
    Ok(())
}

fn add_path(pid: i32, directory: &str, target: &str) -> Result<()> {
    let tree = linux::mount::clone_tree_at(directory, false)?;
    let init = PidFd::open(Pid::new(pid).context("a pid")?)?;
    ns::enter(init.as_fd(), CloneFlags::NEWNS)?;
    std::fs::create_dir_all(target)?;
    let target = rustix::fs::open(target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(linux::mount::attach(&tree, &target)?)
}

fn add_nic(pid: i32, bridge: &str, [host, inside]: [&str; 2], ip: IpAddr) -> Result<()> {
    let init = PidFd::open(Pid::new(pid).context("a pid")?)?;
    let network = Namespace::of(&init, Kind::Net)?;
    let links = Socket::open()?;
    let bridge = links.link_by_name(bridge)?.context("no such bridge")?;
    let peer = LinkChange { namespace: Some(network.as_fd()), ..LinkChange::default() };
    links.add_link(&NewLink {
        name: host,
        kind: NewKind::Veth(PeerLink { name: inside, change: peer }),
        change: LinkChange { up: Some(true), master: Some(bridge.index), ..LinkChange::default() },
    })?;
    network.enter()?;
    let links = Socket::open()?;
    let index = links.link_by_name(inside)?.context("the other end is there")?.index;
    links.add_address(index, LinkAddress { ip, prefix: 24 })?;
    Ok(links.change_link(index, &LinkChange { up: Some(true), ..LinkChange::default() })?)
}

/// A file of a record's size put in another's place: the two waits for the disk without which a
/// power cut may undo it.
fn keep(record: &Path) -> Result<()> {
    let next = record.with_extension("next");
    let file = std::fs::File::create(&next)?;
    (&file).write_all(&[b'x'; 600])?;
    file.sync_data()?;
    std::fs::rename(&next, record)?;
    let directory = record.parent().context("a record has a directory")?;
    Ok(std::fs::File::open(directory)?.sync_all()?)
}

/// What is executed, found as a shell would.
struct Program {
    args: Vec<CString>,
}

impl Program {
    fn of(args: &[&str]) -> Result<Self> {
        ensure!(!args.is_empty(), "no program");
        Ok(Self { args: args.iter().map(|arg| CString::new(*arg)).collect::<Result<_, _>>()? })
    }

    fn exec(&self) -> anyhow::Error {
        let search = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let env = [search.to_owned(), c"container=oci".to_owned()];
        let mut last = anyhow::anyhow!("not found");
        for directory in ["", "/usr/bin/", "/bin/"] {
            let path = [directory.as_bytes(), self.args[0].as_bytes()].concat();
            match CString::new(path) {
                Ok(path) => last = exec::exec(&path, &self.args, &env).into(),
                Err(error) => last = error.into(),
            }
        }
        last
    }
}
