//! What the person sees: a line when a step starts, and programs run with their output passed on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

static STARTED: OnceLock<Instant> = OnceLock::new();

/// A line, as it is.
pub(crate) fn say(line: &str) {
    // A closed stdout is no reason to stop half way.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Says that a step starts.
pub(crate) fn step(what: &str) {
    let started = STARTED.get_or_init(Instant::now);
    say(&format!("[{:6.1} s] {what}", started.elapsed().as_secs_f64()));
}

/// A cargo of the same toolchain as the one that runs this.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The directory of the workspace.
pub(crate) fn root() -> &'static std::path::Path {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A command as one types it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs it with this terminal; any status but 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("start {shown}"))?;
    ensure!(status.success(), "{shown}: {status}");
    Ok(())
}

/// Its stdout; any status but 0 is an error that shows its stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("start {shown}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown}: {}\n{errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs it, passes its stdout on line by line and lets `see` read along. Returns its status.
pub(crate) fn watched(command: &mut Command, mut see: impl FnMut(&str)) -> Result<ExitStatus> {
    let shown = shown(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("start {shown}"))?;
    let stdout = child.stdout.take().context("stdout is a pipe")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("read from {shown}"))?;
        let line = String::from_utf8_lossy(&line);
        say(&line);
        see(&line);
    }
    child.wait().with_context(|| format!("wait for {shown}"))
}
