//! A person at a terminal: a program on a pty of its own, typed to and read from.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::{Call, show};
use crate::wait;

/// The program, and everything it wrote so far.
#[derive(Debug)]
pub struct Terminal {
    shown: String,
    master: File,
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    seen: usize,
}

impl Terminal {
    /// Starts `call` as the session leader of a new terminal of 24 x 80.
    pub fn start(call: &Call) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let peer: OwnedFd = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
        tcsetwinsize(&peer, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;

        let plain = call.command();
        let mut command = std::process::Command::new("setsid");
        command.arg("--ctty").arg(plain.get_program()).args(plain.get_args()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm");
        let child = command
            .stdin(Stdio::from(peer.try_clone()?))
            .stdout(Stdio::from(peer.try_clone()?))
            .stderr(Stdio::from(peer))
            .spawn()
            .with_context(|| format!("start {} on a terminal", show(call.argv())))?;
        let master = File::from(master);
        let screen = Arc::new(Mutex::default());
        read_on(master.try_clone()?, Arc::clone(&screen));
        Ok(Self { shown: show(call.argv()), master, child, screen, seen: 0 })
    }

    /// Types these characters.
    pub fn send(&mut self, keys: &str) -> Result<()> {
        self.master.write_all(keys.as_bytes()).with_context(|| format!("type to {}", self.shown))
    }

    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).context("resize the terminal")
    }

    /// Waits until `text` appears after what was expected last, and returns what came before it.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        let screen = Arc::clone(&self.screen);
        let seen = self.seen;
        let found =
            wait::until(format!("{text:?} on the terminal"), Duration::from_secs(20), || {
                let screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
                let new = String::from_utf8_lossy(&screen[seen..]).into_owned();
                Ok(new.find(text).map(|at| (new[..at].to_owned(), at + text.len())))
            });
        let (before, used) = found.with_context(|| self.describe())?;
        self.seen += used;
        Ok(before)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let child = &mut self.child;
        let ended = wait::until("its end", Duration::from_secs(20), || Ok(child.try_wait()?));
        ended.with_context(|| self.describe())
    }

    /// Waits for its end and expects this exit code.
    pub fn code(&mut self, code: i32) -> Result<()> {
        let status = self.wait()?;
        ensure!(status.code() == Some(code), "exit code {code}, not {status}\n{}", self.describe());
        Ok(())
    }

    /// Everything it wrote.
    pub fn screen(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).into_owned()
    }

    fn describe(&self) -> String {
        let lines: String =
            self.screen().lines().map(|line| format!("    {}\n", line.escape_debug())).collect();
        format!("$ {}\n  terminal:\n{lines}", self.shown)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing to do for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_on(mut master: File, screen: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        // EIO says that the last one on the other side is gone.
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            screen.lock().unwrap_or_else(PoisonError::into_inner).extend(&bytes[..count]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_typed_to_and_read_from() {
        let mut terminal =
            Terminal::start(&Call::new("sh").args(["-c", "read a; echo got-$a; stty size"]))
                .unwrap();
        terminal.send("word\n").unwrap();
        terminal.expect("got-word").unwrap();
        terminal.expect("24 80").unwrap();
        terminal.code(0).unwrap();
    }
}
