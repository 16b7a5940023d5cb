//! The one error of this crate: the call as text, the errno, and what to do when that is known.
//!
//! The text is built only when a call fails ([`Context::during`] takes a closure), so that the
//! good path formats nothing.

use std::fmt;
use std::io;

pub use rustix::io::Errno;

/// What the calls of this crate answer.
pub type Result<T> = std::result::Result<T, Error>;

/// A kernel call that was refused: `<call>: <reason> (<ERRNO>); <hint>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    call: String,
    errno: Errno,
    hint: Option<&'static str>,
}

impl Error {
    /// `call` reads as an act on an object: `open /dev/fuse`, `set hostname "web"`.
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self { call: call.into(), errno, hint: None }
    }

    /// One of the standard library; without an errno it is reported as `EIO`.
    pub fn from_io(call: impl Into<String>, error: &io::Error) -> Self {
        Self::new(call, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// The same failure seen from one step further out: `call` is put before the text.
    #[must_use]
    pub fn within(mut self, call: impl fmt::Display) -> Self {
        self.call = format!("{call}: {}", self.call);
        self
    }

    /// What was being done, as text.
    pub fn call(&self) -> &str {
        &self.call
    }

    /// What the kernel answered.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The same answer in the standard library's words.
    pub fn kind(&self) -> io::ErrorKind {
        io::Error::from(self.errno).kind()
    }

    /// Did the kernel answer `errno`?
    pub fn is(&self, errno: Errno) -> bool {
        self.errno == errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, Reason(self.errno))?;
        match self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// An errno as a reader wants it: `no such file or directory (ENOENT)`.
#[derive(Debug, Clone, Copy)]
pub struct Reason(pub Errno);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from(self.0).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        // "Not a directory" loses its capital, "RFS specific error" keeps it.
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
                write!(f, "{}{}", first.to_lowercase(), &text[first.len_utf8()..])?;
            }
            _ => f.write_str(text)?,
        }
        match name(self.0) {
            Some(name) => write!(f, " ({name})"),
            None => write!(f, " (errno {})", self.0.raw_os_error()),
        }
    }
}

/// Names the object of a failed call.
pub trait Context<T> {
    /// Turns a bare errno into an [`Error`] that says what was being done. `call` runs only on
    /// failure.
    fn during<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn during<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::new(call(), errno))
    }
}

impl<T> Context<T> for io::Result<T> {
    fn during<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::from_io(call(), &error))
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn during<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::new(call(), Errno::from_raw_os_error(errno as i32)))
    }
}

/// Whether a call changed something or found it done: what was there is not ours to take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// We made it.
    Made,
    /// It was so before.
    AlreadyThere,
}

/// `ENOENT` for 2.
pub fn name(errno: Errno) -> Option<&'static str> {
    let number = errno.raw_os_error().unsigned_abs();
    NAMES.iter().find(|(value, _)| *value == number).map(|(_, name)| *name)
}

/// 2 for `ENOENT`.
pub fn from_name(name: &str) -> Option<Errno> {
    let (value, _) = NAMES.iter().find(|(_, known)| *known == name)?;
    i32::try_from(*value).ok().map(Errno::from_raw_os_error)
}

macro_rules! names {
    ($($name:ident)*) => {
        &[$((linux_raw_sys::errno::$name, stringify!($name))),*]
    };
}

const NAMES: &[(u32, &str)] = names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
    ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
    ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY
    ELOOP ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR
    EXFULL ENOANO EBADRQC EBADSLT EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE
    ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG
    ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK
    EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP
    EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET
    ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT
    ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL
    EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED
    EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON
};

#[cfg(test)]
mod tests;
