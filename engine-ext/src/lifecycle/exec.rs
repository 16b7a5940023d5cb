//! A further process in a running container.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use container::{Config, Container, Status};
use linux::process::ExitStatus;
use linux::pty;
use linux::root::Root;
use oci_spec::runtime::{BoxBuilder, Process, ProcessBuilder, UserBuilder};
use runtime::relay::Relay;
use runtime::{ExecRequest, Stdio};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Engine;
use crate::prepare::{image, users};
use crate::request::environment;
use crate::spec;

/// What is run, and how.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    pub args: Vec<String>,
    /// Added to the container's environment.
    pub env: Vec<String>,
    /// Instead of the container's directory.
    pub cwd: Option<String>,
    /// Instead of the container's user.
    pub user: Option<String>,
    pub tty: bool,
    /// Pass our stdin on.
    pub interactive: bool,
    /// Do not wait for it.
    pub detach: bool,
}

/// Runs it; `None` when nobody waits for it. Single-threaded callers only.
pub fn exec(engine: &Engine, container: &Container, exec: &Exec) -> Result<Option<ExitStatus>> {
    match container.state()?.status {
        Status::Running => {}
        Status::Paused => bail!(
            "Container {} is paused, unpause the container before exec: isula unpause {0}",
            container.id
        ),
        _ => bail!("Container is not running:{}", container.id),
    }
    let config = container.config()?;
    let process = process(container, &config, exec)?;
    let command = exec.args.join(" ");
    engine.tell(&config, "exec_start", &[("execCommand", &command)]);
    if exec.detach {
        return detached(engine, container, &config, &process).map(|()| None);
    }
    let status = if exec.tty {
        on_terminal(engine, container, &config, &process, exec.interactive)
    } else {
        with_pipes(engine, container, &config, &process, exec.interactive)
    };
    let status = status?;
    let code = status.code().to_string();
    engine.tell(&config, "exec_die", &[("execCommand", &command), ("exitCode", &code)]);
    Ok(Some(status))
}

pub(crate) fn process(container: &Container, config: &Config, exec: &Exec) -> Result<Process> {
    let root = Root::open(image::rootfs_place(container, config))?;
    let user = exec.user.as_deref().unwrap_or(&config.process.user);
    let identity = users::resolve(&root, user, &config.process.group_add)?;
    let mut env = config.process.env.clone();
    env.push("container=isula".to_owned());
    if let Some(home) = identity.home.as_ref().filter(|_| !environment::has(&env, "HOME")) {
        env.push(format!("HOME={home}"));
    }
    exec.env.iter().for_each(|entry| environment::set(&mut env, entry.clone()));
    let user = UserBuilder::default()
        .uid(identity.uid)
        .gid(identity.gid)
        .additional_gids(identity.groups.clone())
        .umask(spec::umask(config))
        .build()?;
    let cwd = exec.cwd.as_ref().map_or_else(|| config.process.cwd.clone(), Into::into);
    let mut process = ProcessBuilder::default()
        .terminal(exec.tty)
        .user(user)
        .args(exec.args.clone())
        .env(env)
        .cwd(cwd)
        .capabilities(spec::for_user(&spec::bounding(config), identity.uid))
        .rlimits(spec::rlimits(&config.resources.ulimits)?)
        .no_new_privileges(config.security.no_new_privileges)
        .build()?;
    spec::labels(config, &mut process);
    if exec.tty
        && let Ok(size) = pty::size(std::io::stdin())
    {
        let size = BoxBuilder::default().height(size.rows).width(size.columns).build()?;
        process.set_console_size(Some(size));
    }
    Ok(process)
}

fn detached(
    engine: &Engine,
    container: &Container,
    config: &Config,
    process: &Process,
) -> Result<()> {
    let null = null()?;
    let stdio = Stdio::Use { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd() };
    let request = ExecRequest { stdio, ..ExecRequest::new(process) };
    engine.runtime(config).exec(container.id.as_str(), &request)?;
    Ok(())
}

fn on_terminal(
    engine: &Engine,
    container: &Container,
    config: &Config,
    process: &Process,
    interactive: bool,
) -> Result<ExitStatus> {
    let running = engine.runtime(config).exec(container.id.as_str(), &ExecRequest::new(process))?;
    let console = running.console.context("the runtime gave no terminal")?;
    Ok(Relay::terminal(console, interactive)?.run(&running.pidfd)?)
}

/// Pipes, not our own descriptors: whoever has those can reopen the files of the host behind them,
/// and type into the host's terminal.
fn with_pipes(
    engine: &Engine,
    container: &Container,
    config: &Config,
    process: &Process,
    interactive: bool,
) -> Result<ExitStatus> {
    let (stdout, stdout_theirs) = pipe()?;
    let (stderr, stderr_theirs) = pipe()?;
    let (stdin_theirs, stdin) = match interactive {
        true => pipe().map(|(read, write)| (read, Some(write)))?,
        false => (null()?, None),
    };
    let stdio = Stdio::Use {
        stdin: stdin_theirs.as_fd(),
        stdout: stdout_theirs.as_fd(),
        stderr: stderr_theirs.as_fd(),
    };
    let request = ExecRequest { stdio, ..ExecRequest::new(process) };
    let running = engine.runtime(config).exec(container.id.as_str(), &request)?;
    // While we hold the other ends, no pipe ends.
    drop((stdin_theirs, stdout_theirs, stderr_theirs));
    Ok(Relay::pipes(stdin, stdout, stderr)?.run(&running.pidfd)?)
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).context("make a pipe")
}

fn null() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, Mode::empty()).context("open /dev/null")
}
