//! A file as a block device: loop(4).
//!
//! LOOP_CONFIGURE (Linux 5.8) binds a device and sets it up in one step; before it there was a
//! moment with the wrong settings.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::device::DeviceNumber;
use crate::{Context, Errno, Error, Result, fault, raw};

/// How a loop device is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// No writing, whoever mounts it.
    pub read_only: bool,
    /// Unbind when nobody has the device open or mounted any more.
    pub autoclear: bool,
    /// Look for a partition table.
    pub partitions: bool,
}

/// A bound loop device.
#[derive(Debug)]
pub struct Loop {
    device: OwnedFd,
    path: PathBuf,
    number: DeviceNumber,
}

impl Loop {
    /// Binds a free device to a file. With [`Settings::autoclear`] it lasts at least as long as
    /// this value; otherwise until [`unbind`](Self::unbind).
    pub fn bind(file: impl AsFd, settings: Settings) -> Result<Self> {
        let control = open(Path::new("/dev/loop-control"), OFlags::RDWR)?;
        // Between asking for a free device and binding it, another may have taken it.
        for _ in 0..64 {
            let index = raw::ioctl::loop_get_free(control.as_fd())
                .during(|| "ask for a free loop device")?;
            let path = PathBuf::from(format!("/dev/loop{index}"));
            let access = if settings.read_only { OFlags::RDONLY } else { OFlags::RDWR };
            let device = open(&path, access)?;
            let bound = fault::check("ioctl(LOOP_CONFIGURE)")
                .and_then(|()| raw::ioctl::loop_configure(device.as_fd(), file.as_fd(), settings));
            match bound {
                Err(Errno::BUSY) => {}
                answer => {
                    answer.during(|| format!("bind {}", path.display()))?;
                    let stat =
                        rustix::fs::fstat(&device).during(|| format!("stat {}", path.display()))?;
                    let number = DeviceNumber::from_raw(stat.st_rdev);
                    return Ok(Self { device, path, number });
                }
            }
        }
        Err(Error::new("bind a loop device", Errno::BUSY))
    }

    /// Its node: `/dev/loop3`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its number.
    pub fn number(&self) -> DeviceNumber {
        self.number
    }

    /// Unbinds it, when the last user is gone if it has users.
    pub fn unbind(self) -> Result<()> {
        fault::check("ioctl(LOOP_CLR_FD)")
            .and_then(|()| raw::ioctl::loop_clear(self.device.as_fd()))
            .during(|| format!("unbind {}", self.path.display()))
    }
}

impl AsFd for Loop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

fn open(path: &Path, access: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        let error = Error::new(format!("open {}", path.display()), errno);
        match errno {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => {
                error.with_hint("load the module: modprobe loop")
            }
            _ => error,
        }
    })
}
