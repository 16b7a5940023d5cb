//! The program a process of the container becomes: found in its PATH, and executed.
//!
//! Everything here happens inside the container's root, so nothing of the host can be found.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use linux::Errno;
use oci_spec::runtime::Process;
use rustix::fs::{Access, FileType};

use crate::{Error, Result};

/// Where to look when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An executable with what it is given.
#[derive(Debug)]
pub(crate) struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    pub(crate) fn new(path: CString, args: Vec<CString>, env: Vec<CString>) -> Self {
        Self { path, args, env }
    }

    /// The program of `process`, looked for from inside the container.
    pub(crate) fn find(process: &Process) -> Result<Self> {
        let args = process.args().as_deref().unwrap_or_default();
        let Some(name) = args.first() else {
            return Err(Error::config("process.args", "is empty; name the program to run"));
        };
        let env = process.env().as_deref().unwrap_or_default();
        let path = locate(name, search_path(env))?;
        let mut environment = c_strings("process.env", env)?;
        if value_of(env, "HOME").is_none() {
            let home = home_of(process.user().uid());
            environment.extend(c_strings("HOME", &[format!("HOME={home}")])?);
        }
        let path = CString::new(path.into_bytes())
            .map_err(|_| Error::config("process.args", "holds a NUL byte"))?;
        Ok(Self::new(path, c_strings("process.args", args)?, environment))
    }

    /// Becomes the program; comes back only with the reason why not.
    pub(crate) fn execute(&self) -> Error {
        let error = linux::exec::exec(&self.path, &self.args, &self.env);
        match error.errno() {
            // The file itself is there: what it names to run it is not.
            Errno::NOENT if rustix::fs::access(self.path.as_c_str(), Access::EXISTS).is_ok() => {
                error.with_hint("its interpreter or dynamic loader is missing")
            }
            Errno::NOEXEC => error.with_hint("it is no program for this machine"),
            _ => error,
        }
        .into()
    }
}

/// The path `name` stands for, as execvp(3) finds it.
fn locate(name: &str, search: &str) -> Result<String> {
    if name.contains('/') {
        return check(Path::new(name))
            .map(|()| name.to_owned())
            .map_err(|errno| refused(name, errno));
    }
    let mut denied = None;
    for directory in search.split(':') {
        // An empty element is the working directory.
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{directory}/{name}");
        match check(Path::new(&candidate)) {
            Ok(()) => return Ok(candidate),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => denied = Some((candidate, errno)),
        }
    }
    Err(match denied {
        Some((path, errno)) => refused(&path, errno),
        None => Error::Child {
            kind: io::ErrorKind::NotFound,
            text: format!("run {name:?}: executable file not found in $PATH"),
        },
    })
}

/// A regular file with a bit for execution. Whether the user may is for execve(2) to say.
fn check(path: &Path) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    rustix::fs::access(path, Access::EXEC_OK)
}

fn refused(name: &str, errno: Errno) -> Error {
    linux::Error::new(format!("run {name:?}"), errno).into()
}

fn search_path(env: &[String]) -> &str {
    value_of(env, "PATH").unwrap_or(DEFAULT_PATH)
}

fn value_of<'a>(env: &'a [String], key: &str) -> Option<&'a str> {
    env.iter().rev().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// The home directory of `uid` by the container's own /etc/passwd, else `/`.
fn home_of(uid: u32) -> String {
    // Only a regular file: opening anything else could block.
    let text = match rustix::fs::stat("/etc/passwd") {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            linux::file::read(Path::new("/etc/passwd")).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    passwd_home(&String::from_utf8_lossy(&text), uid).unwrap_or_else(|| "/".to_owned())
}

fn passwd_home(text: &str, uid: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let matches = fields.nth(2)?.parse() == Ok(uid);
        fields.nth(2).filter(|home| matches && home.starts_with('/')).map(str::to_owned)
    })
}

/// Strings for execve(2), which end at a NUL byte.
pub(crate) fn c_strings(member: &str, strings: &[String]) -> Result<Vec<CString>> {
    strings
        .iter()
        .map(|string| {
            CString::new(Path::new(string).as_os_str().as_bytes())
                .map_err(|_| Error::config(member, "holds a NUL byte"))
        })
        .collect()
}

#[cfg(test)]
mod tests;
