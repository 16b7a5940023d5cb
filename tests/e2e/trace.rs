//! The system calls of a program under strace(1), and one of them answered otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

/// A system call of a run: its name, and which of that name it is in its thread.
pub(crate) type Turn = (String, usize);

/// strace's options to write the calls of a run to `log`, and to do at `turn` what is said as its
/// `inject` says it: `signal=KILL`, `error=EIO`.
pub(crate) fn options(log: &Path, turn: Option<(&Turn, &str)>) -> Vec<String> {
    let mut options = vec!["-f".into(), "-q".into(), "-o".into(), log.display().to_string()];
    if let Some(((call, at), deed)) = turn {
        options.push("-e".into());
        options.push(format!("inject={call}:{deed}:when={at}"));
    }
    options
}

/// The calls that a log has, each once, in their order.
pub(crate) fn turns(log: &Path) -> Result<Vec<Turn>> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut turns = Vec::new();
    for line in fs::read_to_string(log)?.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let count = counts.entry((thread.to_owned(), name.to_owned())).or_default();
        *count += 1;
        let turn = (name.to_owned(), *count);
        if !turns.contains(&turn) {
            turns.push(turn);
        }
    }
    ensure!(turns.len() > 100, "only {} calls in {}", turns.len(), log.display());
    Ok(turns)
}
