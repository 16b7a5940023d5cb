//! A worker: takes the connection over and serves until it is killed or the mount goes.
//!
//! It owns nothing that cannot be had again: what must survive is the holder's. When the holder
//! dies, it serves on; a new daemon asks it for the connection.

use std::{
    io::stdin,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use fuser::Session;
use linux::{
    Context as _,
    cgroup::Layout,
    ns::{Kind, Namespace},
    process::Pid,
};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{
    answer,
    caller::Caller,
    config::{Config, File, Mode, Settings},
    connection::{self, Devices},
    control,
    fallback::Cause,
    fs::{Files, Side, handle::slice, tree, watch::Watch},
    load::PERIOD_S,
    orders::{self, Answer, Options, Order},
    sampler,
    server::{Parts, Server},
    source::Trees,
    state::State,
};

/// How often late replies are looked for, as a part of the deadline.
const CHECKS: u32 = 4;
/// Descriptors that are not for cgroup files.
const SPARE_DESCRIPTORS: usize = 256;
/// Cgroup files kept open at most, whatever the limit on descriptors.
const KEPT_DESCRIPTORS: usize = 16_384;

/// Runs the worker on the socket that is our stdin.
pub fn run() -> Result<()> {
    let Some((order, _)) = orders::receive::<Order>(stdin().as_fd(), 0)? else { return Ok(()) };
    let Order::Prepare { options, generation, passthrough } = order else {
        bail!("the first message of the holder was {order:?}");
    };
    crate::cli::init_log(options.log.as_deref(), options.log_level.as_deref())?;
    let config = read_config(&options)?;
    let trees = trees();
    orders::send(stdin().as_fd(), &Answer::Prepared, &[])?;

    let Some((Order::Serve, fds)) = orders::receive::<Order>(stdin().as_fd(), 7)? else {
        return Ok(());
    };
    let Ok([live, kept, live_source, kept_source, memory, control_listener, metrics_listener]) =
        <[OwnedFd; 7]>::try_from(fds)
    else {
        bail!("the holder sent no connection");
    };
    let (state, restored) = State::open(memory.try_clone().context("duplicate the state file")?)?;
    let server = Arc::new(Server::new(Parts {
        trees,
        config,
        state,
        restored,
        containers_dir: options.containers(),
        generation,
        exact: options.exact,
        passthrough,
    }));
    let devices = Devices { live, kept };
    let handover = control::Handover { devices: devices.try_clone()?, memory };
    let live = side(&server, Side::Live, live_source, &options)?;
    let kept = side(&server, Side::Kept, kept_source, &options)?;

    keep_house(Arc::clone(&server))?;
    control::spawn(Arc::clone(&server), &options, control_listener, handover)?;
    control::spawn_metrics(Arc::clone(&server), metrics_listener)?;
    follow_holder(Arc::clone(&server))?;

    let again = (Arc::clone(&server), options.clone());
    spawn("kept", move || {
        if let Err(error) = serve(kept, again, Side::Kept, devices.kept) {
            tracing::error!(%error, "files that are kept are not served any more");
        }
    })?;
    orders::send(stdin().as_fd(), &Answer::Serving, &[])?;
    serve(live, (server, options), Side::Live, devices.live)
}

/// Serves until the mount is gone. A relay ends with its holder; we do not, and ask the kernel then.
fn serve(
    session: Session<Files>,
    (server, options): (Arc<Server>, Box<Options>),
    which: Side,
    device: OwnedFd,
) -> Result<()> {
    if session.run().is_ok() {
        return Ok(());
    }
    side(&server, which, device, &options)?.run().context("serve")
}

/// A session on one of the connections, under watch.
fn side(
    server: &Arc<Server>,
    side: Side,
    device: OwnedFd,
    options: &Options,
) -> Result<Session<Files>> {
    let watch = Arc::new(Watch::new(options.deadline()));
    let files = Files::new(Arc::clone(server), Arc::clone(&watch), side);
    watch_requests(Arc::clone(server), watch, options)?;
    Ok(connection::session(files, device, options.threads)?)
}

/// The configuration: built-in defaults, then options, then the file.
pub fn read_config(options: &Options) -> Result<Config> {
    let mut defaults = Settings::default();
    defaults.swap = !options.disable_swap;
    defaults.zswap = !options.disable_zswap;
    if options.load_average {
        defaults.set_mode(File::Loadavg, Mode::On);
    }
    let Some(path) = &options.config else {
        return Ok(Config::new(defaults));
    };
    let text = linux::file::read_to_string(path)?;
    Config::parse(&text, defaults)
        .map_err(|cause| anyhow::anyhow!("read configuration {}: {cause}", path.display()))
}

/// The cgroups of this host; without any, everything shows host values and nothing fails.
fn trees() -> Trees {
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!(%error, "few descriptors");
    }
    if let Err(error) = enter_host_cgroups() {
        tracing::debug!(%error, "our own cgroup namespace is taken for the host's");
    }
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let budget = limit.saturating_sub(SPARE_DESCRIPTORS).min(KEPT_DESCRIPTORS) / 2;
    let opened = Layout::detect().and_then(|layout| Trees::open(layout, budget));
    opened.unwrap_or_else(|error| {
        tracing::warn!(%error, "no cgroups found, host values are shown");
        Trees::none()
    })
}

/// A container is a descriptor and its hot files are more: as many as we may have.
fn raise_descriptor_limit() -> linux::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).during(|| "raise the limit of open files")
}

/// In a pod with a cgroup namespace of its own, every other container would be at `/../..`.
fn enter_host_cgroups() -> linux::Result<()> {
    let Some(first) = Pid::new(1) else { return Ok(()) };
    let host = Namespace::of_pid(first, Kind::Cgroup)?;
    if host.identity()? != Namespace::current(Kind::Cgroup)?.identity()? {
        host.enter()?;
    }
    Ok(())
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .with_context(|| format!("start thread {name}"))?;
    Ok(())
}

/// Waits without being woken: there is no fact to wait for but the time.
fn pause(time: Duration) {
    let span = rustix::event::Timespec::try_from(time).ok();
    let _ = rustix::event::poll(&mut [], span.as_ref());
}

/// Answers what is late with host values; ends this worker when no thread is left.
fn watch_requests(server: Arc<Server>, watch: Arc<Watch>, options: &Options) -> Result<()> {
    let tick = options.deadline() / CHECKS;
    let threads = options.threads;
    spawn("watch", move || {
        loop {
            pause(tick);
            for late in watch.overdue() {
                let file = tree::entry(late.inode.entry).map_or("?", |entry| entry.name);
                server.metrics.fallbacks.count("unknown", file, &Cause::Late);
                let text = answer::text(&server, &Caller::Unknown, late.inode);
                late.reply.data(slice(&text, late.offset, late.size));
            }
            if watch.stuck() >= threads {
                tracing::error!(threads, "every thread is stuck, a new worker is needed");
                // Every reader has its answer; the holder starts the next worker.
                std::process::abort();
            }
        }
    })
}

/// Counts load and lets go what is gone.
fn keep_house(server: Arc<Server>) -> Result<()> {
    spawn("house", move || {
        loop {
            let left = server.sweep();
            sampler::round(&server, &left);
            drop(left);
            pause(Duration::from_secs(PERIOD_S));
        }
    })
}

/// Answers the holder. Its end is not ours.
fn follow_holder(server: Arc<Server>) -> Result<()> {
    spawn("holder", move || {
        loop {
            match orders::receive::<Order>(stdin().as_fd(), 0) {
                Ok(Some((Order::Ping, _))) => {
                    if orders::send(stdin().as_fd(), &Answer::Pong, &[]).is_err() {
                        return;
                    }
                }
                Ok(Some((Order::Passthrough(on), _))) => {
                    server.set_passthrough(on);
                    tracing::warn!(on, "passthrough switched");
                }
                Ok(Some((order, _))) => tracing::warn!(?order, "unexpected message ignored"),
                Ok(None) | Err(_) => {
                    tracing::warn!("the holder is gone, serving on");
                    return;
                }
            }
        }
    })
}
