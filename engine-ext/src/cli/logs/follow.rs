//! `logs -f`: what is said from here on, until the container is down for good.

use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use container::Container;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::{Output, Rest, next, open};

/// A shim that was killed changes no file; so the state is looked at now and then.
const LOOK: Duration = Duration::from_secs(1);

/// Shows what is appended. Log and state are replaced by rename, so their directories are watched.
pub(super) fn follow(
    container: &Container,
    path: &Path,
    mut file: Rest,
    output: &Output,
) -> Result<()> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
    let watch = watch.context("watch the log")?;
    let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    for directory in [Some(container.dir.as_path()), path.parent()].into_iter().flatten() {
        inotify::add_watch(&watch, directory, events)
            .with_context(|| format!("watch {}", directory.display()))?;
    }
    loop {
        // First the state, then the log: what was said before the end is in the log by then.
        let down = container.state().map_or(true, |state| !state.status.is_live());
        read_on(&mut file, path, output)?;
        if down {
            return Ok(());
        }
        let span = Timespec::try_from(LOOK).ok();
        match poll(&mut [PollFd::new(&watch, PollFlags::IN)], span.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("watch the log"),
        }
        forget_events(&watch);
    }
}

/// To the end of the log, over to the next file where it was rotated.
fn read_on(file: &mut Rest, path: &Path, output: &Output) -> Result<()> {
    loop {
        if let Some(file) = file {
            while let Some(record) = next(file)? {
                output.write(&record)?;
            }
        }
        if file.as_ref().is_some_and(|file| is_current(file, path)) {
            return Ok(());
        }
        // Rotated: whatever was added to the old file before the new one existed is in it by now.
        if let Some(old) = file {
            while let Some(record) = next(old)? {
                output.write(&record)?;
            }
        }
        match open(path)? {
            Some(new) => *file = Some(new),
            None => return Ok(()),
        }
    }
}

fn is_current(file: &BufReader<File>, path: &Path) -> bool {
    match (file.get_ref().metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
        _ => true,
    }
}

/// That something happened is all that counts.
fn forget_events(watch: impl std::os::fd::AsFd) {
    let mut buffer = [0; 4096];
    while matches!(rustix::io::read(&watch, &mut buffer), Ok(1..)) {}
}
