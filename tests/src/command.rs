//! Running a program so that a failure tells everything: argv, time, status, both streams.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{processes, wait};

/// A program about to be run, in a clean environment.
#[derive(Debug)]
pub struct Call {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    directory: Option<std::path::PathBuf>,
    limit: Duration,
}

/// What it did.
#[derive(Debug, Clone)]
pub struct Output {
    pub argv: Vec<OsString>,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

impl Call {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            env: vec![
                (
                    "PATH".into(),
                    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
                ),
                ("HOME".into(), "/root".into()),
                ("LC_ALL".into(), "C.UTF-8".into()),
            ],
            stdin: Vec::new(),
            directory: None,
            limit: Duration::from_secs(60),
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Bytes for its standard input, which ends after them.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same call as the standard library's builder, for callers that want the child itself.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).env_clear().envs(self.env.iter().cloned());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    pub fn argv(&self) -> &[OsString] {
        &self.argv
    }

    /// Runs it to its end. Fails if it cannot be started, does not end within its limit, or leaves
    /// somebody behind who holds its output open.
    pub fn output(self) -> Result<Output> {
        let started = Instant::now();
        let shown = show(&self.argv);
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {shown}"))?;

        let mut to_child = child.stdin.take().context("stdin is a pipe")?;
        let bytes = self.stdin;
        // A child that never reads closes the pipe; that is its own affair.
        std::thread::spawn(move || to_child.write_all(&bytes));
        let out = Stream::collect(child.stdout.take().context("stdout is a pipe")?)?;
        let err = Stream::collect(child.stderr.take().context("stderr is a pipe")?)?;

        let ended = wait::until(format!("{shown} ends"), self.limit, || Ok(child.try_wait()?));
        let elapsed = started.elapsed();
        if ended.is_err() {
            // Its end is not waited for without a limit either: it may be in an endless sleep.
            let _ = child.kill();
        }
        let (stdout, stderr) = (out.text(), err.text());
        let status = match ended {
            Ok(status) => status,
            Err(error) => bail!(
                "{error:#}\n{}{}",
                streams("stdout", stdout.as_deref().unwrap_or("(still held open)")),
                streams("stderr", stderr.as_deref().unwrap_or("(still held open)")),
            ),
        };
        let left = || format!("{shown} ended ({status}), but left something behind");
        let (stdout, stderr) = (stdout.with_context(left)?, stderr.with_context(left)?);
        Ok(Output { argv: self.argv, status, stdout, stderr, elapsed })
    }

    /// Runs it and expects status 0.
    pub fn ok(self) -> Result<Output> {
        self.code(0)
    }

    /// Runs it and expects this exit code.
    pub fn code(self, code: i32) -> Result<Output> {
        let output = self.output()?;
        ensure!(output.code() == code, "exit code {code} expected\n{output}");
        Ok(output)
    }
}

impl Output {
    /// The exit code, or 128 + the signal's number, as a shell has it.
    pub fn code(&self) -> i32 {
        self.status.code().or_else(|| self.status.signal().map(|s| 128 + s)).unwrap_or(-1)
    }

    /// stdout without its last newline.
    pub fn line(&self) -> &str {
        self.stdout.trim_end_matches('\n')
    }

    pub fn expect_stdout(self, expected: &str) -> Result<Self> {
        ensure!(self.stdout == expected, "stdout {expected:?} expected\n{self}");
        Ok(self)
    }

    pub fn expect_stderr(self, expected: &str) -> Result<Self> {
        ensure!(self.stderr.contains(expected), "stderr with {expected:?} expected\n{self}");
        Ok(self)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", show(&self.argv))?;
        writeln!(f, "  {} after {:.3} s", self.status, self.elapsed.as_secs_f64())?;
        f.write_str(&streams("stdout", &self.stdout))?;
        f.write_str(&streams("stderr", &self.stderr))
    }
}

/// argv as a line that a shell would read back.
pub fn show(argv: &[OsString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let words = argv.iter().map(|word| {
        let word = word.to_string_lossy();
        match !word.is_empty() && word.chars().all(plain) {
            true => word.into_owned(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn streams(name: &str, text: &str) -> String {
    if text.is_empty() {
        return format!("  {name}: (empty)\n");
    }
    let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!("  {name}:\n{lines}")
}

/// What a program says, read to the end on a thread: the text arrives once nobody holds the other end.
struct Stream {
    /// Inode number of the pipe.
    pipe: u64,
    text: mpsc::Receiver<String>,
}

impl Stream {
    fn collect(mut from: impl Read + AsFd + Send + 'static) -> Result<Self> {
        let pipe = rustix::fs::fstat(&from).context("stat a pipe")?.st_ino;
        let (sender, text) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            sender.send(String::from_utf8_lossy(&bytes).into_owned())
        });
        Ok(Self { pipe, text })
    }

    /// All of it, once the program has ended. What a machine that stood still has not let us read
    /// yet is waited for; what somebody holds open is not.
    fn text(&self) -> Result<String> {
        let patience = Duration::from_secs(3) * wait::slowness();
        let text = self.text.recv_timeout(patience);
        let text = text.or_else(|_| match &processes::holding(self.pipe)[..] {
            [] => Ok(self.text.recv_timeout(patience)?),
            holders => {
                let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
                bail!("its output is held open by {}", holders.join("; "))
            }
        })?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_argv_status_and_both_streams() {
        let error = Call::new("sh").args(["-c", "echo out; echo 'it''s' >&2; exit 3"]).ok();
        let text = error.unwrap_err().to_string();
        for part in ["exit code 0 expected", "$ sh -c '", "exit status: 3", "    out", "    its"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn held_output_is_told() {
        let error = Call::new("sh").args(["-c", "sleep 8 & echo on"]).output().unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("its output is held open by"), "{text}");
        assert!(text.ends_with("sleep 8"), "{text}");
    }

    #[test]
    fn input_ends() {
        let output = Call::new("cat").stdin("abc").ok().unwrap();
        assert_eq!(output.stdout, "abc");
    }
}
