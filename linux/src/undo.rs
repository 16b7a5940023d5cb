//! Steps to take back, newest first, unless the whole succeeded.
//!
//! The undo of a step is written next to the step. Only what we made is pushed: what was there
//! before is not ours to take back.

use std::fmt::{self, Display};

type Step<'a> = Box<dyn FnOnce() -> Result<(), String> + 'a>;

/// A list of steps that run in reverse on drop, unless [`disarm`](Undo::disarm)ed.
#[derive(Default)]
#[must_use = "dropping it takes back what was done"]
pub struct Undo<'a> {
    steps: Vec<(&'static str, Step<'a>)>,
}

impl<'a> Undo<'a> {
    /// Nothing to take back.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers how to take `what` back. What `step` answers on success is of no interest.
    pub fn push<T, E: Display>(
        &mut self,
        what: &'static str,
        step: impl FnOnce() -> Result<T, E> + 'a,
    ) {
        let step = move || step().map(drop).map_err(|error| error.to_string());
        self.steps.push((what, Box::new(step)));
    }

    /// Takes over the steps of `later`: they are newer, so they run first.
    pub fn append(&mut self, mut later: Undo<'a>) {
        self.steps.append(&mut later.steps);
    }

    /// Keeps everything: it succeeded.
    pub fn disarm(mut self) {
        self.steps.clear();
    }

    /// Is there nothing to take back?
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Takes everything back and answers what could not be: `device node: unlink ...`.
    #[must_use = "what is left behind has to be said"]
    pub fn run_back(mut self) -> Vec<String> {
        self.run()
    }

    fn run(&mut self) -> Vec<String> {
        let mut leftovers = Vec::new();
        while let Some((what, step)) = self.steps.pop() {
            if let Err(error) = step() {
                leftovers.push(format!("{what}: {error}"));
            }
        }
        leftovers
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        for leftover in self.run() {
            tracing::trace!(%leftover, "undo left something behind");
        }
    }
}

impl fmt::Debug for Undo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|(what, _)| what)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::{Errno, Error};

    fn fill<'a>(log: &'a RefCell<Vec<&'static str>>, names: &[&'static str]) -> Undo<'a> {
        let mut undo = Undo::new();
        for &name in names {
            undo.push(name, move || {
                log.borrow_mut().push(name);
                Ok::<_, Error>(())
            });
        }
        undo
    }

    #[test]
    fn drop_runs_back_in_reverse() {
        let log = RefCell::new(Vec::new());
        drop(fill(&log, &["rule", "node"]));
        assert_eq!(*log.borrow(), ["node", "rule"]);
    }

    #[test]
    fn a_panic_runs_back_too() {
        let log = RefCell::new(Vec::new());
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _undo = fill(&log, &["rule"]);
            panic!("in the middle");
        }));
        assert!(result.is_err());
        assert_eq!(*log.borrow(), ["rule"]);
    }

    #[test]
    fn disarmed_runs_nothing() {
        let log = RefCell::new(Vec::new());
        fill(&log, &["rule"]).disarm();
        assert!(log.borrow().is_empty());
    }

    #[test]
    fn appended_steps_run_first() {
        let log = RefCell::new(Vec::new());
        let mut undo = fill(&log, &["one"]);
        undo.append(fill(&log, &["two", "three"]));
        assert_eq!(format!("{undo:?}"), r#"["one", "two", "three"]"#);
        assert!(undo.run_back().is_empty());
        assert_eq!(*log.borrow(), ["three", "two", "one"]);
    }

    #[test]
    fn a_failed_step_is_a_leftover_and_the_rest_still_runs() {
        let log = RefCell::new(Vec::new());
        let mut undo = fill(&log, &["rule"]);
        undo.push("node", || Err::<(), _>(Error::new("unlink dev/xvdb", Errno::BUSY)));
        assert_eq!(undo.run_back(), ["node: unlink dev/xvdb: device or resource busy (EBUSY)"]);
        assert_eq!(*log.borrow(), ["rule"]);
    }
}
