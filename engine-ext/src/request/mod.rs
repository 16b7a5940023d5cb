//! What was meant: the options of `create` and `run` after every check that needs no host.
//!
//! Pure: what lies outside of the command line (files, our environment) comes in through
//! [`Outside`]. All findings are reported at once, in the order the predecessor checks in.

pub mod defaults;
pub mod environment;
mod findings;
pub mod health;
pub mod hooks;
pub mod log;
pub mod mounts;
pub mod network;
mod publish;
pub mod resources;
pub mod security;
pub mod size;
pub mod sysctl;
mod unsupported;
pub mod user_remap;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail, ensure};
use container::config::{
    BridgePort, Config, HealthCheck, HostChannel, Log, Lxcfs, LxcfsChoice, Mount, Namespaces,
    NetworkFiles, OciRuntime, Port, Process, Resources, RestartPolicy, Security, UserRemap,
    VERSION,
};
use container::{ContainerId, ContainerName};
use linux::process::Signal;
use oci_spec::runtime::Hooks;

use crate::cli::args::{ContainerArgs, ResourceArgs};
pub use findings::Findings;
use mounts::VolumesFrom;

/// What a command line may refer to.
#[expect(missing_debug_implementations, reason = "functions")]
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// A variable of our environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file.
    pub read: &'a dyn Fn(&Path) -> Result<String>,
    /// The text of a hook spec, whose path has rules of its own.
    pub read_hook_spec: &'a dyn Fn(&Path) -> Result<String>,
    /// The hook spec of every container of this host.
    pub host_hook_spec: Option<&'a Path>,
    /// The OCI runtime of a name.
    pub find_runtime: &'a dyn Fn(&str) -> Result<OciRuntime>,
}

/// A container that could be made.
#[derive(Debug, Clone)]
pub struct Request {
    pub name: Option<ContainerName>,
    pub image: String,
    pub rootfs: PathBuf,
    pub system_container: bool,
    pub privileged: bool,
    pub read_only: bool,
    pub process: Process,
    pub hostname: String,
    pub namespaces: Namespaces,
    pub bridge: Option<BridgePort>,
    pub expose: Vec<Port>,
    pub publish_all: bool,
    pub user_remap: Option<UserRemap>,
    pub cgroup_parent: String,
    pub resources: Resources,
    pub security: Security,
    pub mounts: Vec<Mount>,
    /// Containers whose binds come after them.
    pub volumes_from: Vec<VolumesFrom>,
    pub devices: Vec<String>,
    pub host_channel: Option<HostChannel>,
    pub shm_size: u64,
    pub sysctls: BTreeMap<String, String>,
    pub ns_change_opt: Option<String>,
    pub ns_change_files: Vec<String>,
    pub network_files: NetworkFiles,
    pub restart: RestartPolicy,
    pub auto_remove: bool,
    pub stop_signal: Option<String>,
    pub log: Log,
    pub hook_spec: Option<PathBuf>,
    pub hooks: Hooks,
    pub lxcfs: Lxcfs,
    pub health: Option<HealthCheck>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub runtime: Option<OciRuntime>,
    /// Went through, and somebody should know.
    pub warnings: Vec<&'static str>,
}

const SHM_DEFAULT: u64 = 64 << 20;
const CGROUP_PARENT_DEFAULT: &str = "/isulad";
/// Words that stand in the image's place when there is none.
const PLACEHOLDERS: &[&str] = &["none", "none:latest", "empty"];

/// What `update` was asked to change.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Those that are named.
    pub resources: Resources,
    pub restart: Option<RestartPolicy>,
}

/// Reads the options of `update`; the error lists everything that is wrong.
pub fn build_change(args: &ResourceArgs, restart: Option<&str>) -> Result<Change> {
    let mut found = Findings::default();
    let resources = resources::parse_change(args, &mut found);
    let restart = found.maybe(restart, |text| Ok(text.parse()?));
    let change = Change { resources, restart };
    if change.restart.is_none() && change.resources == Resources::default() && found.is_empty() {
        found.note(Err(anyhow!("nothing to change; name a limit or --restart")));
    }
    found.check()?;
    Ok(change)
}

/// Reads and checks all options; the error lists everything that is wrong.
fn lxcfs(text: &str) -> Result<LxcfsChoice> {
    Ok(match text {
        "auto" => LxcfsChoice::Auto,
        "on" => LxcfsChoice::On,
        "off" => LxcfsChoice::Off,
        _ => bail!(
            "--lxcfs {text}: use auto, on or off; which files a container gets is said in the \
             daemon's configuration"
        ),
    })
}

pub fn build(verb: &str, args: &ContainerArgs, outside: &Outside<'_>) -> Result<Request> {
    let mut found = Findings::default();
    found.note(unsupported::check(args));
    let hostname = found.maybe(args.identity.hostname.as_deref(), network::hostname);
    let name = found.maybe(args.identity.name.as_deref(), |text| Ok(text.parse()?));
    let system = &args.system;
    let host_channel = found.maybe(system.host_channel.as_deref(), mounts::host_channel);
    let devices =
        found.each(&args.storage.device, |text| mounts::device(text).map(|_| text.to_owned()));
    let mounts = mounts::parse(&args.storage, host_channel.as_ref(), &mut found);
    let image = found.take(image(verb, args));
    let rootfs = found.maybe(system.external_rootfs.as_deref(), rootfs).unwrap_or_default();
    if system.system_container && system.external_rootfs.is_none() {
        found.note(Err(anyhow!("--system-container needs --external-rootfs; add it")));
    }
    let network_files = network::files(&args.namespaces, &mut found);
    let (publish, expose) = publish::parse(&args.namespaces, &mut found);
    let user_remap = found.take(user_remap(args));
    let hook_spec = system.hook_spec.as_ref().map(PathBuf::from);
    let specs = outside.host_hook_spec.into_iter().chain(hook_spec.as_deref());
    let hooks = specs.map(|path| hooks::parse(&(outside.read_hook_spec)(path)?));
    let hooks = found.take(hooks.collect::<Result<Vec<_>>>().map(|all| hooks::in_order(&all)));
    let resources = resources::parse(
        &args.resources,
        &args.process.ulimit,
        &args.storage.device_cgroup_rule,
        &mut found,
    );
    let namespaces = found.take(namespaces(args));
    let ns_change_files = found.take(ns_change_files(args));
    let sysctls = found.each(&args.namespaces.sysctl, sysctl::parse).into_iter().collect();
    let process = process(args, hostname.as_deref(), outside, &mut found);
    let restart = found.take(restart(args));
    let request = Request {
        name,
        image,
        rootfs,
        system_container: system.system_container,
        privileged: args.security.privileged,
        read_only: args.storage.read_only,
        process,
        hostname: hostname.unwrap_or_else(|| "localhost".to_owned()),
        bridge: found.take(network::bridge(&args.namespaces, publish)),
        expose,
        publish_all: args.namespaces.publish_all,
        user_remap,
        cgroup_parent: found.take(cgroup_parent(args)),
        security: security::parse(&args.security, outside, &mut found),
        mounts,
        volumes_from: found.each(&args.storage.volumes_from, mounts::volumes_from),
        devices,
        host_channel,
        shm_size: found
            .maybe(args.storage.shm_size.as_deref(), size::bytes)
            .filter(|&size| size > 0)
            .unwrap_or(SHM_DEFAULT),
        sysctls,
        ns_change_opt: system.ns_change_opt.clone().filter(|_| !ns_change_files.is_empty()),
        ns_change_files,
        network_files,
        restart,
        auto_remove: args.identity.rm,
        stop_signal: found.maybe(args.process.stop_signal.as_deref(), stop_signal),
        log: found.take(log::parse(&args.identity.log_opt, args.identity.log_driver.as_deref())),
        hook_spec,
        hooks,
        lxcfs: Lxcfs {
            choice: found.maybe(system.lxcfs.as_deref(), lxcfs).unwrap_or_default(),
            directory: PathBuf::from(&system.lxcfs_dir),
        },
        health: found.take(health::parse(&args.health)),
        labels: found.take(environment::labels(
            &args.identity.label,
            &args.identity.label_file,
            outside,
        )),
        annotations: found.take(environment::annotations(&args.identity.annotation)),
        runtime: found.take(runtime(args, outside)),
        warnings: warnings(&resources),
        namespaces,
        resources,
    };
    found.check()?;
    Ok(request)
}

/// The word in the image's place. There are no images: a rootfs is a directory.
fn image(verb: &str, args: &ContainerArgs) -> Result<String> {
    let Some(image) = args.positional.first() else {
        bail!("\"{verb}\" requires a minimum of 1 argument.");
    };
    let placeholder = PLACEHOLDERS.contains(&image.as_str());
    match (&args.system.external_rootfs, placeholder) {
        (Some(_), true) => {}
        (Some(_), false) => bail!("Image {image} not exist; with --external-rootfs write none"),
        (None, true) => bail!("external rootfs not specified; add --external-rootfs DIR"),
        (None, false) => bail!(
            "No such image:{image}; this engine runs directories: --external-rootfs DIR none \
             COMMAND"
        ),
    }
    Ok(image.clone())
}

fn rootfs(text: &str) -> Result<PathBuf> {
    ensure!(text.starts_with('/'), "Rootfs should be absolutely path: {text}");
    mounts::clean(text)
}

fn user_remap(args: &ContainerArgs) -> Result<Option<UserRemap>> {
    let Some(text) = args.system.user_remap.as_deref() else { return Ok(None) };
    let system = args.system.system_container && args.system.external_rootfs.is_some();
    ensure!(
        system && !args.security.privileged,
        "--user-remap only available for system container; add --system-container and \
         --external-rootfs, drop --privileged, or drop --user-remap"
    );
    ensure!(
        args.namespaces.userns.as_deref() != Some("host"),
        "--user-remap and --userns host contradict each other; drop one"
    );
    user_remap::parse(text)
}

fn namespaces(args: &ContainerArgs) -> Result<Namespaces> {
    let args = &args.namespaces;
    let shared = |option: &str, text: &Option<String>| match text.as_deref() {
        None | Some("" | "private") => Ok(None),
        Some("host") => Ok(Some("host".to_owned())),
        Some(joined) if joined.strip_prefix("container:").is_some_and(|id| !id.is_empty()) => {
            Ok(Some(joined.to_owned()))
        }
        Some(other) => bail!("{option} {other:?} is not understood; use host or container:NAME"),
    };
    let net = match args.net.as_deref() {
        None | Some("none" | "") => None,
        Some(name) if network::bridge_name(name).is_some() => None,
        _ => shared("--net", &args.net)?,
    };
    let host_only = |option: &str, text: &Option<String>| match text.as_deref() {
        None | Some("" | "private") => Ok(None),
        Some("host") => Ok(Some("host".to_owned())),
        Some(other) => bail!("{option} {other:?} is not understood; use host or private"),
    };
    Ok(Namespaces {
        net,
        pid: shared("--pid", &args.pid)?,
        ipc: shared("--ipc", &args.ipc)?,
        uts: shared("--uts", &args.uts)?,
        time: args.time_ns,
        user: host_only("--userns", &args.userns)?,
        cgroup: host_only("--cgroupns", &args.cgroupns)?,
    })
}

/// With `--privileged` everything is writable already, and the option is documented to do nothing.
fn ns_change_files(args: &ContainerArgs) -> Result<Vec<String>> {
    let Some(text) = args.system.ns_change_opt.as_deref() else { return Ok(vec![]) };
    ensure!(
        args.system.system_container,
        "Unsupported ns-change-opt param in normal container; add --system-container"
    );
    let files = sysctl::ns_change_files(text)?;
    Ok(if args.security.privileged { vec![] } else { files })
}

fn process(
    args: &ContainerArgs,
    hostname: Option<&str>,
    outside: &Outside<'_>,
    found: &mut Findings,
) -> Process {
    let options = &args.process;
    let mut env = vec![environment::PATH.to_owned(), "TERM=xterm".to_owned()];
    for entry in found.take(environment::asked(&options.env, &options.env_file, outside)) {
        environment::set(&mut env, entry);
    }
    if !environment::has(&env, "HOSTNAME") {
        env.push(format!("HOSTNAME={}", hostname.unwrap_or("localhost")));
    }
    let command = args.positional.iter().skip(1).cloned();
    let entrypoint = options.entrypoint.clone().filter(|program| !program.is_empty());
    let argv: Vec<String> = entrypoint.iter().cloned().chain(command).collect();
    if argv.is_empty() && !args.positional.is_empty() {
        found.note(Err(anyhow!("no command; append one, for example: none init")));
    }
    Process {
        args: argv,
        entrypoint,
        env,
        env_target_file: found.take(env_target_file(args)),
        cwd: found.maybe(options.workdir.as_deref(), workdir).unwrap_or_else(|| "/".into()),
        user: options.user.clone().map_or_else(String::new, |user| found.take(check_user(user))),
        group_add: options.group_add.clone(),
        tty: options.tty,
        open_stdin: options.interactive,
    }
}

fn workdir(text: &str) -> Result<PathBuf> {
    ensure!(text.starts_with('/'), "--workdir {text}: the path must be absolute");
    Ok(PathBuf::from(text))
}

/// `NAME|UID[:GROUP|GID]`; whether they exist, the rootfs says.
pub fn check_user(text: String) -> Result<String> {
    let (user, group) = text.split_once(':').unwrap_or((&text, "0"));
    ensure!(
        !user.is_empty() && !group.is_empty() && !group.contains(':'),
        "invalid user {text:?}; write NAME or UID, and :GROUP or :GID after it"
    );
    Ok(text)
}

fn env_target_file(args: &ContainerArgs) -> Result<Option<PathBuf>> {
    let Some(text) = args.system.env_target_file.as_deref() else { return Ok(None) };
    ensure!(text.starts_with('/'), "env target file path must be absolute path: {text}");
    ensure!(
        args.system.system_container && args.system.external_rootfs.is_some(),
        "--env-target-file needs --system-container and --external-rootfs; add them or drop it"
    );
    let path = mounts::clean(text)?;
    ensure!(path != Path::new("/"), "Env target file is a directory: /");
    Ok(Some(path))
}

/// Our own has these names and needs nobody to find it.
fn runtime(args: &ContainerArgs, outside: &Outside<'_>) -> Result<Option<OciRuntime>> {
    match args.identity.runtime.as_deref() {
        None | Some("isula" | "isula-runtime") => Ok(None),
        Some(name) => {
            ensure!(
                !args.namespaces.time_ns,
                "--time-ns is for isula's own runtime; drop it or --runtime {name}"
            );
            (outside.find_runtime)(name).map(Some)
        }
    }
}

fn restart(args: &ContainerArgs) -> Result<RestartPolicy> {
    let policy: RestartPolicy = args.identity.restart.as_deref().unwrap_or("no").parse()?;
    ensure!(
        !args.identity.rm || policy == RestartPolicy::No,
        "Conflicting options: --restart and --rm"
    );
    Ok(policy)
}

fn cgroup_parent(args: &ContainerArgs) -> Result<String> {
    let text = args.resources.cgroup_parent.as_deref().unwrap_or(CGROUP_PARENT_DEFAULT);
    ensure!(
        !text.ends_with(".slice"),
        "--cgroup-parent {text}: slices of systemd are not supported; give a path such as /lxc"
    );
    let absolute = format!("/{}", text.trim_start_matches('/'));
    let path = mounts::clean(&absolute).map_err(|error| anyhow!("--cgroup-parent: {error}"))?;
    ensure!(path != Path::new("/"), "--cgroup-parent {text}: name a cgroup below the root");
    Ok(path.to_string_lossy().into_owned())
}

/// A signal's name, number, or place after SIGRTMIN.
pub fn stop_signal(text: &str) -> Result<String> {
    match text.parse::<Signal>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => bail!("Invalid signal: {text}"),
    }
}

fn warnings(resources: &Resources) -> Vec<&'static str> {
    let dangerous = resources.oom_kill_disable && resources.memory.is_none();
    if !dangerous {
        return vec![];
    }
    vec![
        "WARNING: Disabling the OOM killer on containers without setting a '-m/--memory' limit may \
         be dangerous.",
    ]
}

impl Request {
    /// The request as it is kept.
    pub fn into_config(self, id: ContainerId, name: ContainerName, created: String) -> Config {
        Config {
            version: VERSION,
            id,
            name,
            created,
            image: self.image,
            rootfs: self.rootfs,
            rootfs_image: false,
            system_container: self.system_container,
            privileged: self.privileged,
            read_only: self.read_only,
            process: self.process,
            hostname: self.hostname,
            namespaces: self.namespaces,
            bridge: self.bridge,
            expose: self.expose,
            publish_all: self.publish_all,
            user_remap: self.user_remap,
            cgroup_parent: self.cgroup_parent,
            resources: self.resources,
            security: self.security,
            mounts: self.mounts,
            devices: self.devices,
            host_channel: self.host_channel,
            shm_size: self.shm_size,
            sysctls: self.sysctls,
            ns_change_files: self.ns_change_files,
            ns_change_opt: self.ns_change_opt,
            network_files: self.network_files,
            restart: self.restart,
            auto_remove: self.auto_remove,
            stop_signal: self.stop_signal,
            log: self.log,
            hook_spec: self.hook_spec,
            hooks: self.hooks,
            lxcfs: self.lxcfs,
            health: self.health,
            labels: self.labels,
            annotations: self.annotations,
            runtime: self.runtime,
        }
    }
}

#[cfg(test)]
mod tests;
