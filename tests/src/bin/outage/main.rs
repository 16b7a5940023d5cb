//! A host that goes down: by power cuts in the middle of commands, at last by a reboot in order. What
//! was reported done is there afterwards, and what was not is there whole or not at all.
//!
//! `cargo xtask vm --timeout 3600 -- ./outage [CUTS]`. It is run anew at each boot; what has to be
//! known of the boots before is where the power is not cut.

#![forbid(unsafe_code)]

mod cuts;
mod known;
mod reboot;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tests::runner::say;
use tests::{Call, wait};

/// Where the packages' files go.
const PROGRAMS: &str = "/usr/local/bin";
const HOOKS: &str = "/var/lib/isulad/hooks";
const HOOK_SPEC: &str = "/etc/isulad-tools/hookspec.json";
/// What went wrong, for a later boot if the power goes before we can say it.
const FAILURE: &str = "failure";

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("outage: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Result<()> {
    let variable = |name: &str| {
        std::env::var(name).with_context(|| format!("no {name}: this is for cargo xtask vm alone"))
    };
    let control = PathBuf::from(variable("SYSC_VM_CONTROL")?);
    let boot: u64 = variable("SYSC_VM_BOOT")?.parse().context("SYSC_VM_BOOT is a number")?;
    let cuts: u64 = match std::env::args().nth(1) {
        Some(cuts) => cuts.parse().context("CUTS is a number")?,
        None => 10,
    };
    if let Ok(failure) = std::fs::read_to_string(control.join(FAILURE)) {
        bail!("before the power was cut: {failure}");
    }
    if boot == 1 {
        install(Path::new(&variable("SYSC_BIN")?))?;
        reboot::configure_host()?;
        cuts::prepare(&control)?;
        // A host that was set up long ago; what the tools did is theirs to have on disk.
        tool("sync", &format!("--file-system {PROGRAMS}"))?;
        return cuts::until_cut(&control);
    }
    if boot == cuts + 2 {
        return reboot::after();
    }
    tool(reboot::HOST_PROGRAM, "")?;
    cuts::after(&control)?;
    say(&format!("cut {} of {cuts}: it agrees", boot - 1));
    if boot <= cuts {
        return cuts::until_cut(&control);
    }
    cuts::end()?;
    reboot::before()?;
    leave_word(&control, "reboot", "")?;
    tool("systemctl", "reboot")?;
    until_the_end()
}

/// What a package would.
fn install(binaries: &Path) -> Result<()> {
    for dir in [PROGRAMS, HOOKS, "/etc/isulad-tools"] {
        std::fs::create_dir_all(dir)?;
    }
    for (program, dir) in [
        ("isula", PROGRAMS),
        ("isula-shim", PROGRAMS),
        ("isulad-tools", PROGRAMS),
        ("syscontainer-hooks", HOOKS),
    ] {
        std::fs::copy(binaries.join(program), Path::new(dir).join(program))
            .with_context(|| format!("install {program}"))?;
    }
    std::fs::write(HOOK_SPEC, include_str!("../../../../packaging/hookspec.json"))?;
    unit("isula@.service", include_str!("../../../../packaging/isula@.service"))
}

fn unit(name: &str, text: &str) -> Result<()> {
    std::fs::write(Path::new("/etc/systemd/system").join(name), text)
        .with_context(|| format!("write {name}"))
}

/// For the machine's owner.
fn leave_word(control: &Path, name: &str, text: &str) -> Result<()> {
    std::fs::write(control.join(name), text).with_context(|| format!("leave word of {name}"))
}

/// The machine goes down under us.
fn until_the_end() -> Result<()> {
    wait::until("the machine goes down", Duration::from_secs(60), || Ok(None::<()>))?;
    bail!("the machine is still up")
}

/// Runs it, and says what it said.
fn tool(program: &str, arguments: &str) -> Result<String> {
    let arguments = arguments.split(' ').filter(|word| !word.is_empty());
    Ok(Call::new(program).args(arguments).ok()?.stdout)
}

fn isula(arguments: &str) -> Result<String> {
    tool("/usr/local/bin/isula", arguments)
}

fn tools(arguments: &str) -> Result<String> {
    // An emulated processor needs longer.
    tool("/usr/local/bin/isulad-tools", &format!("--timeout 60 {arguments}"))
}

/// Everything recorded is in the container.
fn agrees(container: &str) -> Result<()> {
    let diff = Call::new("/usr/local/bin/isulad-tools").args(["diff", container]).output()?;
    match diff.code() {
        0 => Ok(()),
        _ => bail!("{container} is not as recorded\n{diff}"),
    }
}
