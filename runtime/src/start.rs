//! The start of a created container: `start` connects, init becomes the user's program.
//!
//! The socket lies in the container's state directory, which only the host's root can enter.
//! Init listens on it from before it existed as a process. An error comes back as text over the
//! connection; its end without a word is execve(2), which closes it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::Errno;
use linux::error::Context as _;
use linux::signal::Signal;
use linux::socket::{self, Kind};

use crate::handshake::{Channel, Message};
use crate::hooks::{self, Place};
use crate::state::Status;
use crate::{Error, Result, Runtime};

/// Its name in the container's state directory.
const SOCKET: &str = "start.sock";

/// The overflow id: what an id without a mapping looks like (user_namespaces(7)).
const NOBODY: u32 = 65534;

impl Runtime {
    /// Runs the user's program in a created container.
    ///
    /// # Errors
    /// Among others: the program cannot be executed (`kind()` says whether it was not found or
    /// not permitted), a hook failed, the container is not just created.
    pub fn start(&self, id: &str) -> Result<()> {
        if let Some(driver) = self.driver(id)? {
            return driver.start();
        }
        let saved = self.load(id)?;
        let directory = self.directory(id)?;
        let _lock = self.lock(id)?;
        let init = self.living(&saved)?;
        let not_created = || Error::WrongStatus {
            id: id.to_owned(),
            status: Status::Running,
            hint: "only a created container can be started",
        };
        let connection = match dial(&directory) {
            Ok(connection) => connection,
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::CONNREFUSED) => {
                return Err(not_created());
            }
            Err(error) => return Err(error.into()),
        };
        connection.send(&Message::Proceed)?;
        // From here on it is no created container any more, whatever becomes of us.
        remove_socket(&directory)?;
        match connection.receive()? {
            None => {}
            Some((Message::Failed { kind, text }, _)) => return Err(Error::Child { kind, text }),
            Some(_) => return Err(not_created()),
        }
        let state = saved.hook_state(Status::Running, saved.pid.unwrap_or_default());
        let place = Place {
            directory: Some(saved.bundle.clone()),
            inherit_environment: true,
            told: &[],
            confine: &|| Ok(()),
        };
        let list = saved.poststart.iter().map(|hook| ("poststart", hook));
        hooks::run(list, &state, &place).inspect_err(|_| {
            // The specification has the container stopped; the hook's error is the one to tell.
            let _ = init.signal(Signal::KILL);
        })
    }
}

/// Whether the container in `directory` still waits for its start.
pub(crate) fn is_waiting(directory: &Path) -> bool {
    directory.join(SOCKET).exists()
}

/// The socket init will wait on.
pub(crate) fn listen_in(directory: &Path) -> Result<OwnedFd> {
    Ok(socket::listen(directory.join(SOCKET), Kind::SeqPacket)?)
}

fn dial(directory: &Path) -> linux::Result<Channel> {
    socket::connect(directory.join(SOCKET), Kind::SeqPacket).map(Channel::from_fd)
}

fn remove_socket(directory: &Path) -> Result<()> {
    let path = directory.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).during(|| format!("remove {}", path.display()))?
        }
        _ => Ok(()),
    }
}

/// Init's side.
pub(crate) struct Waiting<'a> {
    socket: &'a OwnedFd,
    user_namespace: bool,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(socket: &'a OwnedFd, user_namespace: bool) -> Self {
        Self { socket, user_namespace }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Runs `execute` when the host's root says so. Comes back never; the reason why not goes to
    /// whoever asked.
    pub(crate) fn wait_for_start(&self, execute: impl FnOnce() -> Result<()>) -> Result<()> {
        let connection = loop {
            let connection = match socket::accept(self.socket) {
                Err(error) if error.is(Errno::CONNABORTED) => continue,
                accepted => accepted?,
            };
            if !self.is_host_root(&connection) {
                continue;
            }
            let connection = Channel::from_fd(connection);
            if let Ok(Some((Message::Proceed, _))) = connection.receive() {
                break connection;
            }
        };
        if let Err(error) = execute() {
            // Whoever asked may be gone.
            let _ = connection.send(&Message::failed(&error));
        }
        linux::process::exit_now(1)
    }

    /// The host's root has no id in a user namespace of ours.
    fn is_host_root(&self, connection: &OwnedFd) -> bool {
        let expected = if self.user_namespace { NOBODY } else { 0 };
        socket::peer_credentials(connection).is_ok_and(|peer| peer.uid == expected)
    }
}
