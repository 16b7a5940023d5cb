//! The library from a command line, for its tests and for trying things out:
//! `container ROOT run|create BUNDLE ID`, `container ROOT start|state|delete|force-delete ID`,
//! `container ROOT kill|kill-all ID SIGNAL`, `container ROOT exec ID CMD...`, `container ROOT list`.
//!
//! `run` waits for the container's end and passes its exit code on. With a terminal it copies what
//! the container writes there to its own standard output.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use runtime::{CreateRequest, Created, Error, ExecRequest, Result, Runtime, exe};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("container: {}", error.flatten());
            ExitCode::from(match error.kind() {
                std::io::ErrorKind::NotFound => 127,
                std::io::ErrorKind::PermissionDenied => 126,
                _ => 125,
            })
        }
    }
}

fn run() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let usage = || Error::Usage("see the first lines of examples/container.rs".into());
    let (root, words) = words.split_first().ok_or_else(usage)?;
    let mut runtime = Runtime::new(*root);
    if let Some(cache) = std::env::var_os("SECCOMP_CACHE") {
        runtime = runtime.with_seccomp_cache(cache);
    }
    match *words {
        ["run", bundle, id] => {
            let created = create(&runtime, bundle, id)?;
            let started = runtime.start(id);
            if started.is_ok() {
                copy_terminal(&created);
            }
            let status = created.pidfd.wait()?;
            runtime.delete(id, true)?;
            started?;
            return Ok(ExitCode::from(u8::try_from(status.code()).unwrap_or(255)));
        }
        ["exec", id, ref args @ ..] => return exec(&runtime, id, args),
        ["create", bundle, id] => println!("{}", create(&runtime, bundle, id)?.pid),
        ["start", id] => runtime.start(id)?,
        ["state", id] => println!("{}", json(&runtime.state(id)?)),
        ["list"] => println!("{}", json(&runtime.list()?)),
        ["kill", id, signal] => runtime.kill(id, signal.parse()?, false)?,
        ["kill-all", id, signal] => runtime.kill(id, signal.parse()?, true)?,
        ["delete", id] => runtime.delete(id, false)?,
        ["force-delete", id] => runtime.delete(id, true)?,
        _ => return Err(usage()),
    }
    Ok(ExitCode::SUCCESS)
}

fn create(runtime: &Runtime, bundle: &str, id: &str) -> Result<Created> {
    exe::seal("container")?;
    let mut request = CreateRequest::new(id, Path::new(bundle));
    request.preserve_fds = number("PRESERVE_FDS");
    request.no_pivot = number("NO_PIVOT") == 1;
    let pid_file = std::env::var_os("PID_FILE");
    request.pid_file = pid_file.as_deref().map(Path::new);
    runtime.create(request)
}

/// As root without capabilities.
fn exec(runtime: &Runtime, id: &str, args: &[&str]) -> Result<ExitCode> {
    exe::seal("container")?;
    let mut process = oci_spec::runtime::Process::default();
    process
        .set_args(Some(args.iter().map(|&arg| arg.to_owned()).collect()))
        .set_capabilities(None)
        .set_rlimits(None);
    let exec = runtime.exec(id, &ExecRequest::new(&process))?;
    Ok(ExitCode::from(u8::try_from(exec.pidfd.wait()?.code()).unwrap_or(255)))
}

fn number(variable: &str) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Until the last process of the container has closed the terminal (EIO).
fn copy_terminal(created: &Created) {
    let Some(master) = &created.console else { return };
    let Ok(master) = master.try_clone() else { return };
    let mut master = std::fs::File::from(master);
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = master.read(&mut buffer) {
        let _ = std::io::stdout().write_all(&buffer[..count]);
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
