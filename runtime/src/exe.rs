//! Keeps the host's binary out of the reach of containers (CVE-2019-5736).
//!
//! Until execve(2) a process that enters a container shows our own binary as `/proc/PID/exe`, and
//! a program `#!/proc/self/exe` of the image makes the kernel run that binary again, as an
//! ordinary process of the container. Whoever opens it there can write to it once nobody runs it.
//!
//! So the program runs from a read-only mount of its own file: opened through it, the file is on a
//! read-only file system for everyone. The mount is in no namespace and its descriptor is closed,
//! so nobody can find it to change it (mount_setattr(2) wants a mount of the caller's namespace).
//! It costs one more execve of a static binary, and nothing when whoever starts us does it.

use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use linux::error::Context as _;
use linux::mount::{self, Attributes};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags, fstatvfs};

use crate::error::During as _;
use crate::{Error, Result};

const EXE: &str = "/proc/self/exe";

/// Makes sure that the calling program runs from a read-only mount that nobody else has, by
/// running it again from one. To be called first of all, by every program that creates containers
/// or runs processes in them. `name` is what the process is called.
///
/// # Errors
/// The mount cannot be made.
pub fn seal(name: &str) -> Result<()> {
    if is_sealed()? {
        let name = CString::new(name).map_err(|_| Error::Usage("a name with a NUL".into()))?;
        // The kernel named the process after the descriptor it was executed by.
        rustix::thread::set_name(&name).during(|| "name the process".to_owned())?;
        return Ok(());
    }
    let error = run_again()?;
    Err(error).step(|| "run the program from a read-only mount".into())
}

/// Whether the program runs from such a mount.
///
/// # Errors
/// /proc is not there.
pub fn is_sealed() -> Result<bool> {
    // The root of a mount that is in no namespace is shown as "/" (d_path() in fs/d_path.c).
    let path = rustix::fs::readlink(EXE, Vec::new()).during(|| format!("read {EXE}"))?;
    if path.as_bytes() != b"/" {
        return Ok(false);
    }
    let exe = rustix::fs::open(EXE, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .during(|| format!("open {EXE}"))?;
    is_read_only(&exe)
}

fn is_read_only(file: &OwnedFd) -> Result<bool> {
    let stat = fstatvfs(file).during(|| "stat the mount of the program")?;
    Ok(stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Refuses to let an unprotected program into a container.
pub(crate) fn require_sealed() -> Result<()> {
    if is_sealed()? {
        return Ok(());
    }
    Err(Error::Usage(
        "the running program could be overwritten from the container; call seal() at its start"
            .into(),
    ))
}

/// `program` on a read-only mount that nobody else has: what is executed through this descriptor
/// is sealed from the start.
///
/// # Errors
/// There is no such file, or the mount cannot be made.
pub fn sealed(program: &Path) -> Result<OwnedFd> {
    let mount = mount::clone_tree_at(program, false)?;
    let attributes =
        Attributes { propagation: Some(mount::Propagation::Private), ..Attributes::read_only() };
    mount::set_attributes(&mount, &attributes, false)?;
    Ok(mount)
}

fn run_again() -> Result<linux::Error> {
    let mount = sealed(Path::new(EXE))?;
    // What will be asked afterwards, asked before: or the program would run itself for ever.
    let link = format!("/proc/self/fd/{}", mount.as_raw_fd());
    let path = rustix::fs::readlink(&link, Vec::new()).during(|| format!("read {link}"))?;
    if path.as_bytes() != b"/" || !is_read_only(&mount)? {
        return Err(Error::File {
            act: "protect the program from containers".into(),
            reason: "the kernel did not make its mount a private, read-only one".into(),
        });
    }
    let args: Vec<CString> =
        std::env::args_os().filter_map(|arg| CString::new(arg.as_bytes()).ok()).collect();
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(key, value)| {
            CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        })
        .collect();
    Ok(linux::exec::exec_fd(mount.as_fd(), &args, &env))
}
