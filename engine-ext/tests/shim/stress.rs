//! Much output, many readers, one that has stopped reading.

use std::time::{Duration, Instant};

use engine_ext::shim::protocol::Attach;

use crate::world::{ALL, Recipe, Watcher, World, until};

crate::cases![a_stopped_reader_holds_nobody, a_slow_pipeline_loses_nothing];

const MEGABYTES: usize = 100;

/// Twenty are attached, one of them never reads; the guest writes 100 MB.
fn a_stopped_reader_holds_nobody() {
    let world = World::new();
    let script =
        format!("read go; dd if=/dev/zero bs=1M count={MEGABYTES} 2>/dev/null; echo end >&2");
    let recipe = Recipe::script(&script).stdin().set("/log/disabled", true);
    let (guest, _) = world.run(recipe);
    let wants = Attach { lossless: false, ..ALL };
    let mut stopped = guest.attach(&wants);
    let readers: Vec<Watcher> = (0..19).map(|_| guest.attach(&wants)).collect();
    readers[0].say("go\n");
    let seen = std::thread::scope(|scope| {
        let reading: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                scope.spawn(move || {
                    reader.until_exit();
                    assert_eq!(reader.error, None);
                    (reader.stdout.len(), reader.stderr)
                })
            })
            .collect();
        reading.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
    });
    for (length, stderr) in seen {
        assert_eq!((length, &stderr[..]), (MEGABYTES << 20, &b"end\n"[..]));
    }
    // It hears that it was left behind.
    stopped.until("its end", |it| it.is_closed);
    assert!(stopped.error.unwrap().contains("isula logs"));
    guest.until_gone();
}

fn a_slow_pipeline_loses_nothing() {
    let world = World::new();
    let recipe = Recipe::of(&["dd", "if=/dev/zero", "bs=1M", "count=8"]);
    let (guest, mut watcher) = world.run_attached(recipe);
    // Longer than a reader is waited for that may be dropped.
    let since = Instant::now();
    until("a long pause", || (since.elapsed() > Duration::from_millis(1500)).then_some(()));
    assert_eq!(watcher.until_exit(), 0);
    assert_eq!(watcher.stdout.len(), 8 << 20);
    guest.until_gone();
}
