//! Everything a worker's threads share.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    attached::Attached,
    caller::{Caller, Callers},
    config::Config,
    container::Container,
    cpuview::Record,
    fallback::Cause,
    fs::handle::Handles,
    host::Host,
    metrics::{Gauges, Metrics},
    source::Trees,
    state::{Key, State},
};

/// A container nobody has read for this long keeps no descriptors.
const REST_US: u64 = 30_000_000;

/// One worker's world.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say what the parts are")]
pub struct Server {
    pub host: Host,
    pub trees: Trees,
    pub config: Config,
    pub state: State,
    /// Records of a predecessor that nobody asked for yet.
    pub restored: Mutex<HashMap<Key, Record>>,
    pub metrics: Metrics,
    pub callers: Callers,
    pub attached: Attached,
    pub handles: Handles,
    /// Limits are read at every request, nothing is left to the kernel's cache.
    pub exact: bool,
    passthrough: AtomicBool,
    restarts: u64,
}

/// What a server is made from.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say what the parts are")]
pub struct Parts {
    pub trees: Trees,
    pub config: Config,
    pub state: State,
    pub restored: HashMap<Key, Record>,
    pub containers_dir: PathBuf,
    pub generation: u16,
    pub exact: bool,
    pub passthrough: bool,
}

impl Server {
    /// Puts it together and takes over the containers a predecessor had.
    pub fn new(parts: Parts) -> Server {
        let server = Server {
            host: Host::open(),
            trees: parts.trees,
            config: parts.config,
            state: parts.state,
            restored: Mutex::new(parts.restored),
            metrics: Metrics::default(),
            callers: Callers::new(),
            attached: Attached::new(parts.containers_dir),
            handles: Handles::new(parts.generation),
            exact: parts.exact,
            passthrough: AtomicBool::new(parts.passthrough),
            restarts: u64::from(parts.generation).saturating_sub(1),
        };
        server.attached.restore(&server);
        server
    }

    /// Whether all files show the host's values (SIGUSR2).
    pub fn is_passthrough(&self) -> bool {
        self.passthrough.load(Ordering::Relaxed)
    }

    /// Turns it on or off.
    pub fn set_passthrough(&self, on: bool) {
        self.passthrough.store(on, Ordering::Relaxed);
    }

    /// Workers replaced so far.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Whose values a request is about: by path where the path says it, else by who asks.
    pub fn caller(&self, slot: u32, tid: u32) -> Caller {
        let found = match slot {
            0 => self.callers.find(self, tid),
            slot => self.attached.by_slot(slot).map(Caller::Container).ok_or(Cause::Identity),
        };
        found.unwrap_or_else(|cause| {
            self.metrics.fallbacks.count("unknown", "any", &cause);
            Caller::Unknown
        })
    }

    /// Lets go what is gone or has not been asked for; returns who is left.
    pub fn sweep(&self) -> Vec<Arc<Container>> {
        for gone in self.callers.sweep().into_iter().chain(self.attached.sweep()) {
            gone.rest();
            if let Err(error) = self.state.forget(gone.key) {
                tracing::warn!(container = gone.name, %error, "record kept");
            }
        }
        let left: Vec<_> = self.callers.all().into_iter().chain(self.attached.all()).collect();
        let now = crate::host::now_us();
        for container in &left {
            if now.saturating_sub(container.used()) > REST_US {
                container.rest();
            }
        }
        left
    }

    /// The metrics text.
    pub fn metrics_text(&self) -> String {
        self.metrics.text(&Gauges {
            containers: self.callers.all().len() + self.attached.all().len(),
            attached: self.attached.all().len(),
            open_files: self.handles.len(),
            kept_descriptors: self.trees.kept(),
            records: self.state.len(),
            worker_restarts: self.restarts,
            passthrough: self.is_passthrough(),
        })
    }
}
