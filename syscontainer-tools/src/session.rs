//! One change after another to one container, under its lock: validated, written down, applied with
//! its undo, recorded. Every command and every hook goes through here.
//!
//! ```text
//! lock  load  settle what a killed predecessor left
//!   for each change:  announce   the next generation lies beside the record
//!                     apply      from the record to it; what fails is taken back
//!                     commit     it is the record, on disk
//! unlock
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use container::{OciState, Running, Standing};
use linux::Undo;
use linux::signal::{Signal, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::audit::Audit;
use crate::deadline::Limit;
use crate::error::{Error, Result};
use crate::nic::{self, Links};
use crate::record::{Record, RecordFile};
use crate::replay;
use crate::target::Target;
use crate::{device, start};

/// How long a container may take to start before a command gives up on it.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// What a command may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The container, if it runs, and the record.
    Live,
    /// The record alone: `--update-config-only`.
    RecordOnly,
    /// Nothing: `--dry-run`.
    DryRun,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    file: RecordFile,
    links: Links,
    live: Option<Box<Running>>,
    scope: Scope,
    audit: Audit,
    lenient: bool,
    signals: SignalFd,
    /// For how long the container's files are waited for, and what it is called then.
    limit: Option<(Limit, String)>,
}

impl Session {
    /// Locks the record of `target`. What runs is held from here on. `limit`: for a process that may
    /// end when the container's files do not answer.
    ///
    /// # Errors
    /// Somebody else holds the lock, the record cannot be read, or what runs is not the container.
    pub fn open(target: &Target, scope: Scope, limit: Option<Limit>) -> Result<Self> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let file = RecordFile::open(&target.dir)?;
            let live = match target.standing()? {
                Standing::Running(live) => Some(live),
                Standing::Stopped => None,
                Standing::Starting => {
                    // Its hook needs the lock, and may have had it already.
                    drop(file);
                    if Instant::now() > deadline {
                        return Err(Error::Busy(format!(
                            "container {} is starting and does not come to an end with it; \
                             see isula inspect {}",
                            target.name, target.name
                        )));
                    }
                    pause();
                    continue;
                }
            };
            return Self::settle(target, file, live, scope, limit);
        }
    }

    /// Locks the record of a container that waits for us, its hook, to let it start. What was
    /// applied to an earlier life of it is gone, and so is what was left half done then.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of_hook(state: &OciState, dir: &Path, links: Links, journal: &Path) -> Result<Self> {
        let mut file = RecordFile::open(dir)?;
        file.settled()?;
        let live = Running::of_hook(state)?;
        nic::retire_earlier(&live, &links)?;
        let live = Some(Box::new(live));
        let audit = Audit::of(journal, &state.id);
        let signals = hold_signals_back()?;
        let (scope, limit) = (Scope::Live, None);
        Ok(Self { file, links, live, scope, audit, lenient: false, signals, limit })
    }

    /// Locks the record of a container that has ended.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of_stopped(id: &str, dir: &Path, links: Links) -> Result<Self> {
        let mut file = RecordFile::open(dir)?;
        file.settled()?;
        nic::retire(&links, id, file.record())?;
        Ok(Self {
            file,
            links,
            live: None,
            scope: Scope::RecordOnly,
            audit: Audit::of(Path::new(""), id),
            lenient: false,
            signals: hold_signals_back()?,
            limit: None,
        })
    }

    fn settle(
        target: &Target,
        mut file: RecordFile,
        live: Option<Box<Running>>,
        scope: Scope,
        limit: Option<Limit>,
    ) -> Result<Self> {
        let limit = limit.map(|limit| (limit, target.name.clone()));
        let signals = hold_signals_back()?;
        let links = target.links.clone();
        if live.is_none() && scope == Scope::Live {
            // Its end was missed if there is anything of the kind.
            nic::retire(&links, &target.id, file.record())?;
        }
        if let (Some(live), Scope::Live) = (&live, scope) {
            // The same, and it has been started again since without our hooks.
            nic::retire_earlier(live, &links)?;
        }
        if let (Some(live), Some(attempted)) = (&live, file.interrupted()) {
            let record = file.record();
            wait_for_files(limit.as_ref(), attempted, record);
            tracing::warn!(container = %live.id, "took back what a killed command left half done");
            settle(live, &links, attempted, record)
                .map_err(|error| error.within("take back what a killed command left half done"))?;
        }
        file.settled()?;
        let audit = Audit::of(&target.journal, &target.id);
        Ok(Self { file, links, live, scope, audit, lenient: false, signals, limit })
    }

    /// From here on what is added is what a start goes on without if it has to.
    pub fn add_as_optional(&mut self) {
        self.lenient = true;
    }

    /// What is recorded.
    #[must_use]
    pub fn record(&self) -> &Record {
        self.file.record()
    }

    /// The container, when it runs and may be touched.
    #[must_use]
    pub fn live(&self) -> Option<&Running> {
        match self.scope {
            Scope::Live => self.live.as_deref(),
            Scope::RecordOnly | Scope::DryRun => None,
        }
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.scope == Scope::DryRun
    }

    /// Makes the container and its record what `next` says, or leaves both as they are.
    ///
    /// # Errors
    /// It cannot be applied, or not be recorded.
    pub fn change(&mut self, next: &Record) -> Result<()> {
        self.change_with(next, replay::lead)
    }

    /// [`change`](Self::change) by other means than the usual.
    ///
    /// # Errors
    /// Those of `apply`; the record cannot be written.
    pub fn change_with<F>(&mut self, next: &Record, apply: F) -> Result<()>
    where
        F: for<'a> FnOnce(
            &'a Running,
            &'a Links,
            &'a Record,
            &'a Record,
            &mut Undo<'a>,
        ) -> Result<()>,
    {
        if next.same_as(self.file.record()) {
            return Ok(());
        }
        if self.scope == Scope::DryRun {
            self.file.pretend(next);
            return Ok(());
        }
        let before = self.file.record().clone();
        let marked;
        let next = if self.lenient {
            marked = next.with_new_optional(&before);
            &marked
        } else {
            next
        };
        self.file.announce(next)?;
        let live = match self.scope {
            Scope::Live => self.live.as_deref(),
            Scope::RecordOnly | Scope::DryRun => None,
        };
        let mut undo = Undo::new();
        let applied = match live {
            Some(live) => {
                wait_for_files(self.limit.as_ref(), &before, next);
                apply(live, &self.links, &before, next, &mut undo)
            }
            None => Ok(()),
        };
        let done = applied.and_then(|()| not_asked_to_stop(&self.signals));
        match done.and_then(|()| self.file.commit().map_err(Error::from)) {
            Ok(()) => {
                undo.disarm();
                if let Some(live) = live {
                    device::tell(live, &before, next);
                }
                self.audit.tell(&before, next, None);
                Ok(())
            }
            Err(error) => {
                let leftovers = undo.run_back();
                // With leftovers the announcement stays: the next command takes them back.
                if leftovers.is_empty() {
                    self.file.withdraw()?;
                }
                let error = error.leaving(&leftovers);
                self.audit.tell(&before, next, Some(&error));
                Err(error)
            }
        }
    }

    /// Brings the container to what is recorded, from nothing: its start.
    ///
    /// # Errors
    /// An element cannot be applied; the container must not start then.
    pub fn replay(&mut self) -> Result<()> {
        let Some(live) = self.live.as_deref() else { return Ok(()) };
        let record = self.file.record();
        let mut left_out = BTreeSet::new();
        let refreshed = replay::refresh(record, &mut |name, error| {
            let may_fail = record.may_fail.contains(name);
            if may_fail {
                start::tell(live, name, error);
                left_out.insert(name.to_owned());
            }
            may_fail
        })?;
        let nothing = Record::default();
        wait_for_files(self.limit.as_ref(), &nothing, &refreshed);
        if !refreshed.may_fail.is_empty() {
            let there = start::in_stages(live, &self.links, &refreshed, left_out)?;
            return self.file.replace(&refreshed).map_err(|error| {
                Error::from(error).leaving(&start::take_out(live, &self.links, &there))
            });
        }
        let mut undo = Undo::new();
        let done = replay::lead(live, &self.links, &nothing, &refreshed, &mut undo);
        match done.and_then(|()| self.file.replace(&refreshed).map_err(Error::from)) {
            Ok(()) => {
                undo.disarm();
                Ok(())
            }
            Err(error) => Err(error.leaving(&undo.run_back())),
        }
    }
}

fn settle(live: &Running, links: &Links, attempted: &Record, record: &Record) -> Result<()> {
    let mut undo = Undo::new();
    let settled = replay::lead(live, links, attempted, record, &mut undo);
    // Not even a part of it is taken back: it leads to where the record is.
    undo.disarm();
    settled
}

/// Begins the time that is waited for the container's files, if they are looked at on that way.
fn wait_for_files(limit: Option<&(Limit, String)>, from: &Record, to: &Record) {
    if let Some((limit, container)) = limit
        && (from.devices != to.devices || from.binds != to.binds)
    {
        limit.begin(container);
    }
}

/// Signals are held back while a session is open, so that what was begun is taken back: here is
/// where they are heard.
fn not_asked_to_stop(signals: &SignalFd) -> Result<()> {
    // Looked at, not taken: whoever runs us may want to hear it, too.
    let mut fds = [PollFd::new(signals, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut fds, Some(&now)) {
        Ok(1..) => Err(Error::Failed("a signal came before it was done".into())),
        _ => Ok(()),
    }
}

fn hold_signals_back() -> Result<SignalFd> {
    Ok(SignalFd::new(&[Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM])?)
}

fn pause() {
    let _ = rustix::event::poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
}
