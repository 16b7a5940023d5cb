//! Fault points: a test makes a named call fail, or the process die just before it.
//!
//! `SYSC_FAULT=move_mount:EPERM:2,mkdirat:KILL:1` lets the second `move_mount` answer `EPERM` and
//! ends the process by SIGKILL at the first `mkdirat`. Calls are counted per process; a forked
//! child goes on counting where its parent was. Without the feature `fault-injection` there is
//! nothing here but an empty inlined function, and the variable is not looked at.

/// Answers the errno asked for when it is this call's turn. `call` is the system call's name.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub fn check(_call: &'static str) -> rustix::io::Result<()> {
    Ok(())
}

#[cfg(feature = "fault-injection")]
pub use injected::check;

#[cfg(feature = "fault-injection")]
mod injected {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use crate::Errno;

    #[derive(Debug)]
    struct Fault {
        call: String,
        action: Action,
        turn: u32,
        seen: AtomicU32,
    }

    #[derive(Debug, PartialEq)]
    enum Action {
        Fail(Errno),
        Kill,
    }

    /// Answers the errno asked for when it is this call's turn. `call` is the system call's name.
    pub fn check(call: &'static str) -> rustix::io::Result<()> {
        static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
        let faults = FAULTS.get_or_init(|| {
            let text = std::env::var("SYSC_FAULT").unwrap_or_default();
            parse(&text).unwrap_or_else(|| panic!("SYSC_FAULT={text}: want call:ERRNO|KILL:turn"))
        });
        let mut answer = Ok(());
        // Every one counts, also when another one acts.
        for fault in faults.iter().filter(|fault| fault.call == call) {
            if fault.seen.fetch_add(1, Ordering::Relaxed) + 1 != fault.turn {
                continue;
            }
            match fault.action {
                Action::Fail(errno) => answer = Err(errno),
                Action::Kill => {
                    let _ = rustix::process::kill_process(
                        rustix::process::getpid(),
                        rustix::process::Signal::KILL,
                    );
                }
            }
        }
        answer
    }

    fn parse(text: &str) -> Option<Vec<Fault>> {
        text.split(',').filter(|one| !one.is_empty()).map(parse_one).collect()
    }

    fn parse_one(text: &str) -> Option<Fault> {
        let mut parts = text.split(':');
        let call = parts.next()?.to_owned();
        let action = match parts.next()? {
            "KILL" => Action::Kill,
            name => Action::Fail(crate::error::from_name(name)?),
        };
        let turn = parts.next().unwrap_or("1").parse().ok()?;
        (parts.next().is_none() && !call.is_empty()).then(|| Fault {
            call,
            action,
            turn,
            seen: AtomicU32::new(0),
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn parses_calls_actions_and_turns() {
            let faults = parse("move_mount:EPERM:2,mkdirat:KILL").unwrap();
            assert_eq!(faults[0].action, Action::Fail(Errno::PERM));
            assert_eq!((faults[0].turn, faults[1].turn), (2, 1));
            assert_eq!(faults[1].action, Action::Kill);
            assert!(parse("").unwrap().is_empty());
            for wrong in ["move_mount", "x:ENOSUCH:1", ":EPERM:1", "x:EPERM:one", "x:EPERM:1:2"] {
                assert!(parse(wrong).is_none(), "{wrong}");
            }
        }
    }
}
