//! Waiting for a fact, with a deadline. The only sleep in the suite.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How much slower than the machine the deadlines were written for this one is: `SYSC_TESTS_SLOW`,
/// 1 unless told. An emulated processor needs about 6.
pub fn slowness() -> u32 {
    std::env::var("SYSC_TESTS_SLOW").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Returns once `fact` yields a value; after `deadline` fails, naming `what` and the last answer.
pub fn until<T>(
    what: impl Display,
    deadline: Duration,
    mut fact: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = deadline * slowness();
    let started = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        let last = fact();
        if let Ok(Some(value)) = last {
            return Ok(value);
        }
        if started.elapsed() > deadline {
            match last {
                Err(error) => bail!("{what}: not within {deadline:?}: {error:#}"),
                Ok(_) => bail!("{what}: not within {deadline:?}"),
            }
        }
        nap(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(20));
    }
}

/// The same for a condition.
pub fn until_true(
    what: impl Display,
    deadline: Duration,
    mut fact: impl FnMut() -> bool,
) -> Result<()> {
    until(what, deadline, || Ok(fact().then_some(())))
}

#[expect(clippy::disallowed_methods, reason = "the one place that sleeps, between two looks")]
fn nap(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_comes_late_is_waited_for() {
        let mut looks = 0;
        let value = until("third look", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn the_deadline_names_the_fact_and_the_last_error() {
        let never = until("pigs fly", Duration::from_millis(2), || -> Result<Option<()>> {
            bail!("still on the ground")
        });
        let text = never.unwrap_err().to_string();
        assert!(text.starts_with("pigs fly: not within"), "{text}");
        assert!(text.ends_with("still on the ground"), "{text}");
    }
}
