//! The text of one file for one container: sample, view, and the host where there is no sample.

use std::{sync::Arc, time::Duration};

use crate::{
    caller::Caller,
    config::Mode,
    container::Container,
    fallback::{self, Cause},
    fs::tree::{self, Entry, Inode, Node, Resource, Spelling, View},
    host::{self, now_us},
    sample::CpuBudget,
    sampler,
    server::Server,
    text,
    view::{self, cpuinfo::Topology, sys_cpu},
};

/// How old a limit may be, unless the option says exact.
const FRESH: Duration = Duration::from_millis(100);

/// The text of `inode` for whoever asks.
pub fn text(server: &Server, caller: &Caller, inode: Inode) -> Arc<[u8]> {
    let Some(entry) = tree::entry(inode.entry) else { return Arc::from([]) };
    let mut out = Vec::new();
    match caller {
        Caller::Container(container) => return of_container(server, container, inode),
        Caller::Host => host_text(server, entry, inode.cpu.unwrap_or(0), &mut out),
        Caller::Unknown => instead(server, entry, inode.cpu.unwrap_or(0), &mut out),
    }
    out.into()
}

/// The text of `inode` for `container`.
pub fn of_container(server: &Server, container: &Container, inode: Inode) -> Arc<[u8]> {
    let Some(entry) = tree::entry(inode.entry) else { return Arc::from([]) };
    let Node::File(view) = entry.node else { return Arc::from([]) };
    container.touch();
    let mut out = Vec::new();
    let on = entry.file.is_none_or(|file| container.settings.mode(file) == Mode::On);
    if !on || server.is_passthrough() {
        host_text(server, entry, inode.cpu.unwrap_or(0), &mut out);
        return out.into();
    }
    let rendered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        render(server, container, entry, view, inode.cpu, &mut out)
    }));
    if let Err(cause) = rendered.unwrap_or(Err(Cause::Panic)) {
        server.metrics.fallbacks.count(&container.name, entry.name, &cause);
        out.clear();
        instead(server, entry, inode.cpu.unwrap_or(0), &mut out);
    }
    out.into()
}

/// What a container gets where its own text cannot be had.
fn instead(server: &Server, entry: &Entry, cpu: u32, out: &mut Vec<u8>) {
    match fallback::instead(entry.node) {
        Some(text) => out.extend_from_slice(text),
        None => host_text(server, entry, cpu, out),
    }
}

/// The host's own text. A file this host does not have is empty.
fn host_text(server: &Server, entry: &Entry, cpu: u32, out: &mut Vec<u8>) {
    let read = match entry.node {
        Node::File(View::Meminfo) => {
            server.host.meminfo.get(Duration::ZERO).map(|host| out.extend_from_slice(&host.text))
        }
        Node::File(View::Stat) => {
            server.host.stat.get(Duration::ZERO).map(|host| out.extend_from_slice(&host))
        }
        _ => host::read_path(&tree::host_path(entry, cpu), out),
    };
    if read.is_err() {
        server.metrics.error();
    }
}

fn render(
    server: &Server,
    container: &Container,
    entry: &Entry,
    view: View,
    cpu: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), Cause> {
    let fresh = if server.exact { Duration::ZERO } else { FRESH };
    match view {
        View::Meminfo => meminfo(server, container, fresh, out),
        View::Swaps => swaps(server, container, fresh, out),
        View::Cpuinfo => {
            let budget = container.budget(server, fresh)?;
            let cpus = server.host.cpus().map_err(Cause::read)?;
            if !cpus.is_known() {
                return Err(Cause::Read("/proc/cpuinfo has no processor line".into(), None));
            }
            let settings = &container.settings;
            view::cpuinfo::render(&cpus, &budget, settings.topology, settings.numbering, out);
            Ok(())
        }
        View::Stat => stat(server, container, fresh, out),
        View::Uptime => uptime(server, container, fresh, out),
        View::Loadavg => loadavg(server, container, out),
        View::Diskstats | View::Partitions => {
            let sources = container.sources(&server.trees);
            let sample = sources.block.sample(&server.trees, container.init);
            match view {
                View::Diskstats => view::diskstats::render(&sample, out),
                _ => view::partitions::render(&sample, out),
            }
            Ok(())
        }
        View::Slabinfo => {
            out.extend_from_slice(view::slabinfo::EMPTY);
            Ok(())
        }
        View::Pressure(resource) => pressure(server, container, resource, out),
        View::Cpus(list) => {
            let budget = container.budget(server, fresh)?;
            sys_cpu::render_list(list, &budget, container.settings.numbering, out);
            Ok(())
        }
        View::CpuOnline => {
            let budget = container.budget(server, fresh)?;
            let visible = sys_cpu::visible(&budget, container.settings.numbering);
            let online = cpu.is_some_and(|cpu| visible.contains(cpu));
            out.extend_from_slice(if online { b"1\n" } else { b"0\n" });
            Ok(())
        }
        View::Topology(file) => topology(server, container, fresh, file, cpu, out),
        View::CacheShared(spelling) => cache_shared(server, container, fresh, spelling, cpu, out),
        View::Host => {
            let behind = match cpu {
                Some(cpu) => host_cpu(&*container.budget(server, fresh)?, container, cpu).1,
                None => 0,
            };
            // SMT of the host means nothing where no two visible CPUs share a core.
            if entry.parent == tree::SMT && container.settings.topology == Topology::Flat {
                out.extend_from_slice(if entry.name == "active" {
                    b"0\n"
                } else {
                    b"notsupported\n"
                });
                return Ok(());
            }
            host::read_path(&tree::host_path(entry, behind), out).map_err(Cause::read)
        }
    }
}

fn meminfo(
    server: &Server,
    container: &Container,
    fresh: Duration,
    out: &mut Vec<u8>,
) -> Result<(), Cause> {
    let sources = container.sources(&server.trees);
    let memory = sources.memory.as_ref().ok_or(Cause::Controller)?;
    let mut sample = memory.sample(&server.trees, fresh).map_err(Cause::read)?;
    if !container.settings.swap {
        sample.swap = None;
    }
    let host = server.host.meminfo.get(fresh).map_err(Cause::read)?;
    let policy = view::meminfo::Policy {
        strict: container.settings.strict,
        without_zswap: !container.settings.zswap,
        overcommit_ratio: server.host.overcommit_ratio,
    };
    view::meminfo::render(&host, &sample, &policy, out);
    Ok(())
}

fn swaps(
    server: &Server,
    container: &Container,
    fresh: Duration,
    out: &mut Vec<u8>,
) -> Result<(), Cause> {
    let sources = container.sources(&server.trees);
    let memory = sources.memory.as_ref().ok_or(Cause::Controller)?;
    let sample = memory.sample(&server.trees, fresh).map_err(Cause::read)?;
    let host_swap = server.host.meminfo.get(fresh).map_err(Cause::read)?.swap;
    let swap = sample.swap.filter(|_| container.settings.swap);
    let (total, free) = swap.map_or((0, 0), |swap| swap.total_and_free(host_swap << 10));
    view::swaps::render(total >> 10, free >> 10, out);
    Ok(())
}

fn stat(
    server: &Server,
    container: &Container,
    fresh: Duration,
    out: &mut Vec<u8>,
) -> Result<(), Cause> {
    let budget = container.budget(server, fresh)?;
    let record = cpu_record(server, container, &budget)?;
    let host = server.host.stat.get(fresh).map_err(Cause::read)?;
    let visible = sys_cpu::visible(&budget, container.settings.numbering);
    // Without the sampler, what is certain: the reader itself runs, and nobody is known to wait.
    let load = container.load().unwrap_or_default();
    let sample = view::stat::StatSample {
        cpus: record.cpus,
        numbers: visible.iter().collect(),
        running: load.running.max(1),
        blocked: load.blocked,
        sums_only: true,
    };
    view::stat::render(&host, &sample, out);
    Ok(())
}

fn uptime(
    server: &Server,
    container: &Container,
    fresh: Duration,
    out: &mut Vec<u8>,
) -> Result<(), Cause> {
    let budget = container.budget(server, fresh)?;
    let record = cpu_record(server, container, &budget)?;
    view::uptime::render(container.age_us(now_us()), record.idle(), out);
    Ok(())
}

fn cpu_record(
    server: &Server,
    container: &Container,
    budget: &CpuBudget,
) -> Result<crate::cpuview::Record, Cause> {
    let sources = container.sources(&server.trees);
    let now = now_us();
    let usage = sources.cpu.usage(&server.trees).map_err(Cause::read)?.ok_or(Cause::Controller)?;
    container.cpu_record(&server.state, &server.restored, budget, &usage, now)
}

fn loadavg(server: &Server, container: &Container, out: &mut Vec<u8>) -> Result<(), Cause> {
    let load = match container.load() {
        Some(load) => load,
        // The first to ask: what runs at this moment is taken for what ran before.
        None => sampler::count(server, container, now_us()).ok_or(Cause::Controller)?,
    };
    let sample = view::loadavg::LoadSample {
        averages: load.averages.0,
        running: load.running.max(1),
        blocked: load.blocked,
        threads: load.threads.max(1),
        last_pid: load.last_pid.max(1),
    };
    view::loadavg::render(&sample, out);
    Ok(())
}

fn pressure(
    server: &Server,
    container: &Container,
    resource: Resource,
    out: &mut Vec<u8>,
) -> Result<(), Cause> {
    let sources = container.sources(&server.trees);
    let files = sources.pressure.as_ref().ok_or(Cause::Controller)?;
    let index = match resource {
        Resource::Cpu => 0,
        Resource::Memory => 1,
        Resource::Io => 2,
        Resource::Irq => 3,
    };
    files[index].read(&server.trees, out).map_err(Cause::read)?;
    if view::pressure::is_valid(out) {
        return Ok(());
    }
    Err(Cause::Read(format!("{resource:?} pressure is not accounted"), None))
}

/// Index among the visible CPUs and number of the host's CPU behind `cpu`.
fn host_cpu(budget: &CpuBudget, container: &Container, cpu: u32) -> (usize, u32) {
    let visible = sys_cpu::visible(budget, container.settings.numbering);
    let index = visible.iter().position(|visible| visible == cpu).unwrap_or(0);
    (index, budget.cpus.get(index).copied().unwrap_or(0))
}

fn topology(
    server: &Server,
    container: &Container,
    fresh: Duration,
    file: sys_cpu::TopologyFile,
    cpu: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), Cause> {
    let budget = container.budget(server, fresh)?;
    let settings = &container.settings;
    let numbers: Vec<u32> = sys_cpu::visible(&budget, settings.numbering).iter().collect();
    let groups = match settings.topology {
        Topology::Smt | Topology::Host => server.host.cpus().map_err(Cause::read)?.groups(&budget),
        Topology::Flat | Topology::OneSocket => Vec::new(),
    };
    let (index, _) = host_cpu(&budget, container, cpu.unwrap_or(0));
    sys_cpu::render_topology(file, index, settings.topology, &numbers, &groups, out);
    Ok(())
}

fn cache_shared(
    server: &Server,
    container: &Container,
    fresh: Duration,
    spelling: Spelling,
    cpu: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), Cause> {
    // A cache of one's own agrees with every topology, and gives away none.
    let file = match spelling {
        Spelling::List => sys_cpu::TopologyFile::CoreList,
        Spelling::Mask => sys_cpu::TopologyFile::CoreMask,
    };
    topology(server, container, fresh, file, cpu, out)
}

/// The CPUs that have a directory, as the container or the host counts them.
pub fn cpu_dirs(server: &Server, caller: &Caller) -> Vec<u32> {
    let seen = caller.container().filter(|_| !server.is_passthrough()).and_then(|container| {
        let budget = container.budget(server, FRESH).ok()?;
        Some(sys_cpu::present(&sys_cpu::visible(&budget, container.settings.numbering)))
    });
    let cpus = seen.or_else(|| {
        let mut present = Vec::new();
        host::read_path("/sys/devices/system/cpu/present", &mut present).ok()?;
        crate::cpuset::CpuSet::parse(&present)
    });
    cpus.map(|cpus| cpus.iter().collect()).unwrap_or_default()
}

/// The number in a name like `cpu12`.
pub fn cpu_of_name(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"cpu")?;
    let plain = !digits.is_empty() && (digits == b"0" || !digits.starts_with(b"0"));
    text::number(digits).filter(|_| plain).and_then(|cpu| u32::try_from(cpu).ok())
}
