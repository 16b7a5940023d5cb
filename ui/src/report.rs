//! The one place where an error becomes text.
//!
//! The chain is printed once, outermost first, joined with `: `. An error that carries a
//! [`Coded`] or a [`Many`] in its chain says how the program ends and what is listed.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use nix::errno::Errno;

use crate::escape;
use crate::exit::Exit;

/// What `main` of each program returns.
pub type Report = Result<Exit, anyhow::Error>;

/// Runs a program and says what went wrong.
pub fn run(name: &str, program: impl FnOnce() -> Report) -> ExitCode {
    match program() {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to hear that stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{}", text(name, &error));
            exit_of(&error).into()
        }
    }
}

/// Says something on stderr that is no error.
pub fn note(text: &str) {
    // Nobody is left to hear that stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{}", escape::line(text));
}

/// The error as people see it.
#[must_use]
pub fn text(name: &str, error: &anyhow::Error) -> String {
    let mut lines = vec![];
    let many = error.chain().position(|cause| cause.is::<Many>());
    let outer = many.unwrap_or(usize::MAX);
    let head: Vec<String> =
        error.chain().take(outer).map(cause).filter(|part| !part.is_empty()).collect();
    match error.downcast_ref::<Many>() {
        Some(Many(errors)) if errors.len() == 1 => {
            let mut parts = head;
            parts.push(chain(&errors[0]));
            lines.push(format!("{name}: {}", parts.join(": ")));
        }
        Some(Many(errors)) => {
            let head =
                if head.is_empty() { String::new() } else { format!(" {}:", head.join(": ")) };
            lines.push(format!("{name}:{head} {} errors", errors.len()));
            lines.extend(errors.iter().map(|error| format!("  - {}", chain(error))));
        }
        None => lines.push(format!("{name}: {}", chain(error))),
    }
    lines.iter().map(|line| escape::line(line)).collect::<Vec<_>>().join("\n")
}

/// The chain on one line.
#[must_use]
pub fn chain(error: &anyhow::Error) -> String {
    error.chain().map(cause).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// One part of a chain. What the kernel refused is told with the name of its errno, which is what
/// people search for, not with its number.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    // As the standard library writes it, and each crate that has a type for it.
    let parts = text.strip_suffix(')').and_then(|text| text.rsplit_once(" (os error "));
    match parts.map(|(text, number)| (text, number.parse())) {
        Some((text, Ok(errno))) => {
            let mut letters = text.chars();
            let first = letters.next().map(|first| first.to_ascii_lowercase());
            let text: String = first.into_iter().chain(letters).collect();
            format!("{text} ({:?})", Errno::from_raw(errno))
        }
        _ => text,
    }
}

/// Independent failures of one command.
#[derive(Debug)]
pub struct Many(pub Vec<anyhow::Error>);

impl Many {
    /// `Ok` when there are none.
    pub fn check(errors: Vec<anyhow::Error>) -> Result<(), anyhow::Error> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors).into()) }
    }
}

impl fmt::Display for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} errors", self.0.len())
    }
}

impl std::error::Error for Many {}

/// Decides the exit code; adds no text of its own.
#[derive(Debug, Clone, Copy)]
pub struct Coded(pub Exit);

/// An error with the exit code that it means.
pub trait WithExit<T> {
    /// Ends the program with `exit` if this is an error and nothing inside it said otherwise.
    fn exit(self, exit: Exit) -> Result<T, anyhow::Error>;
}

impl<T, E: Into<anyhow::Error>> WithExit<T> for Result<T, E> {
    fn exit(self, exit: Exit) -> Result<T, anyhow::Error> {
        self.map_err(|error| {
            let error = error.into();
            if error.downcast_ref::<Coded>().is_some() { error } else { error.context(Coded(exit)) }
        })
    }
}

impl fmt::Display for Coded {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// How the program ends with this error.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Coded>().map_or(Exit::FAILED, |coded| coded.0)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests;
