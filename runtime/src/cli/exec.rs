//! exec: the process is a document of the engine's, or what the command line says.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use oci_spec::runtime::{Capability, LinuxCapabilities, Process, Spec, User};
use ui::{Exit, Report};

use super::Session;
use crate::bundle::{Bundle, parse_process};
use crate::relay::Relay;
use crate::{Console, ExecRequest};

#[derive(Debug, Args)]
#[command(override_usage = "isula-runtime exec [OPTIONS] ID COMMAND [ARG...]\n       \
                            isula-runtime exec [OPTIONS] --process FILE ID")]
pub(super) struct ExecArgs {
    /// Read the process from this file, as in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// Write its host pid to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Send the terminal's master to this unix socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Pass on this many descriptors from 3
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// A cgroup below the container's own
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Run as this user
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Further groups; repeatable
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Start in this directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set a variable; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Add a capability; repeatable
    #[arg(short, long = "cap", value_name = "NAME")]
    capability: Vec<String>,
    /// Its AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Its SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// It gains no privileges by execve
    #[arg(long)]
    no_new_privs: bool,
    /// The container, then the command
    #[arg(value_name = "ID COMMAND [ARG...]", trailing_var_arg = true, num_args = 1..)]
    words: Vec<String>,
}

pub(super) fn exec(session: &Session, args: &ExecArgs) -> Report {
    let [id, command @ ..] = &args.words[..] else { bail!("name a container") };
    let (process, spec) = match &args.process {
        Some(path) => {
            ensure!(command.is_empty(), "--process names the command already: {:?}", command[0]);
            let text = linux::file::read(path)?;
            let process = parse_process(&text);
            (process.with_context(|| format!("parse {}", path.display()))?, None)
        }
        None => {
            ensure!(!command.is_empty(), "name a command, or a --process file");
            let spec = Bundle::spec_of(&session.runtime.load(id)?.bundle)?;
            (args.process(&spec, command)?, Some(spec))
        }
    };
    let terminal = process.terminal().unwrap_or(false);
    ensure!(
        !(terminal && args.detach && args.console_socket.is_none()),
        "the process has a terminal that nobody takes; give --console-socket"
    );
    let request = ExecRequest {
        console: args.console_socket.as_deref().map_or(Console::Return, Console::Socket),
        cgroup: args.cgroup.as_deref(),
        pid_file: args.pid_file.as_deref(),
        preserve_fds: args.preserve_fds,
        spec: spec.as_ref(),
        ..ExecRequest::new(&process)
    };
    let running = session.runtime.exec(id, &request)?;
    if args.detach {
        return Ok(Exit::DONE);
    }
    let relay = match running.console {
        Some(console) => Relay::terminal(console, true)?,
        None => Relay::signals()?,
    };
    Ok(Exit::of_process(relay.run(&running.pidfd)?.code()))
}

impl ExecArgs {
    /// The container's own process with another command and what the options change.
    fn process(&self, spec: &Spec, command: &[String]) -> Result<Process> {
        let mut process = spec.process().clone().unwrap_or_default();
        process.set_args(Some(command.to_vec())).set_terminal(Some(self.tty));
        if let Some(cwd) = &self.cwd {
            process.set_cwd(cwd.clone());
        }
        if let Some(user) = &self.user {
            process.set_user(parse_user(user)?);
        }
        if !self.additional_gids.is_empty() {
            let mut user = process.user().clone();
            user.set_additional_gids(Some(self.additional_gids.clone()));
            process.set_user(user);
        }
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(self.env.iter().cloned());
        process.set_env(Some(env));
        if self.no_new_privs {
            process.set_no_new_privileges(Some(true));
        }
        if self.apparmor.is_some() {
            process.set_apparmor_profile(self.apparmor.clone());
        }
        if self.process_label.is_some() {
            process.set_selinux_label(self.process_label.clone());
        }
        let mut capabilities = process.capabilities().clone().unwrap_or_default();
        for name in &self.capability {
            add(&mut capabilities, name)?;
        }
        // Nothing is inherited by programs of the image (CVE-2022-29162).
        capabilities.set_inheritable(None).set_ambient(None);
        process.set_capabilities(Some(capabilities));
        Ok(process)
    }
}

fn add(capabilities: &mut LinuxCapabilities, name: &str) -> Result<()> {
    let capability: Capability = name
        .trim_start_matches("CAP_")
        .parse()
        .map_err(|_| anyhow::anyhow!("--cap {name:?}: there is no such capability"))?;
    let mut bounding = capabilities.bounding().clone().unwrap_or_default();
    let mut permitted = capabilities.permitted().clone().unwrap_or_default();
    let mut effective = capabilities.effective().clone().unwrap_or_default();
    for set in [&mut bounding, &mut permitted, &mut effective] {
        set.insert(capability);
    }
    capabilities
        .set_bounding(Some(bounding))
        .set_permitted(Some(permitted))
        .set_effective(Some(effective));
    Ok(())
}

/// Numbers only: names would have to be looked up in files of the container (CVE-2026-30892 is
/// what a lenient parser does with the rest).
fn parse_user(text: &str) -> Result<User> {
    let number = |part: &str| -> Result<u32> {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = part.parse().ok().filter(|_| digits);
        number.with_context(|| format!("--user {text:?}: use UID or UID:GID, in numbers"))
    };
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    let mut user = User::default();
    user.set_uid(number(uid)?).set_gid(number(gid)?);
    Ok(user)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_user_is_numbers() {
        let user = parse_user("1000:100").unwrap();
        assert_eq!((user.uid(), user.gid()), (1000, 100));
        assert_eq!(parse_user("7").unwrap().uid(), 7);
        for wrong in ["", "root", "+1", "1:", "1:2:3", " 1", "4294967296", "-1"] {
            parse_user(wrong).unwrap_err();
        }
        expect![[r#"--user "1:x": use UID or UID:GID, in numbers"#]]
            .assert_eq(&parse_user("1:x").unwrap_err().to_string());
    }

    #[test]
    fn an_added_capability_is_not_inherited() {
        let mut capabilities = LinuxCapabilities::default();
        capabilities.set_inheritable(None);
        add(&mut capabilities, "CAP_NET_ADMIN").unwrap();
        assert!(capabilities.effective().as_ref().unwrap().contains(&Capability::NetAdmin));
        assert_eq!(capabilities.inheritable(), &None);
        expect![[r#"--cap "CAP_FLY": there is no such capability"#]]
            .assert_eq(&add(&mut capabilities, "CAP_FLY").unwrap_err().to_string());
    }
}
