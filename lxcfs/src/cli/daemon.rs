//! `lxcfs`: the options of the C program, and ours.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;
use ui::{exit::Exit, report::Report};

use crate::{holder, orders::Options, worker};

/// How a worker is started; it is told everything else by message.
pub const WORKER_FLAG: &str = "--worker";
/// Read if it is there.
const CONFIG: &str = "/etc/lxcfs.conf";

/// Give each container its own /proc
///
/// Mounts at MOUNT a tree with proc/ and sys/ whose files show whoever reads them the limits and
/// usage of its own container, and containers/ID/ with the same files for containers that
/// lxcfs-toolkit or a hook attached. SIGUSR1 replaces the worker with the installed program,
/// SIGUSR2 switches all files to the host's values and back. Example: lxcfs /var/lib/lxc/lxcfs
#[derive(Debug, Parser)]
#[command(name = "lxcfs", disable_version_flag = true)]
pub struct Args {
    /// Where to mount
    #[arg(value_name = "MOUNT", required_unless_present_any = ["version", "worker"])]
    pub mount: Option<PathBuf>,

    /// Say every step; stay in the foreground
    #[arg(short = 'd', long, conflicts_with = "foreground")]
    pub debug: bool,

    /// Stay in the foreground (it always does)
    #[arg(short = 'f', long)]
    pub foreground: bool,

    /// Show load averages of containers (default: the host's)
    #[arg(short = 'l', long)]
    pub enable_loadavg: bool,

    /// FUSE mount options; allow_other and the like are always set
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub fuse_options: Vec<String>,

    /// Where to write our pid, and what to lock
    #[arg(short = 'p', long, value_name = "FILE", default_value = "/run/lxcfs.pid")]
    pub pidfile: PathBuf,

    /// Show no swap
    #[arg(short = 'u', long)]
    pub disable_swap: bool,

    /// Show no zswap
    #[arg(long)]
    pub disable_zswap: bool,

    /// Accepted: CPU quotas always count (quota = off in the configuration turns them off)
    #[arg(long)]
    pub enable_cfs: bool,

    /// Accepted: containers are always held by pidfd
    #[arg(long)]
    pub enable_pidfd: bool,

    /// Refused: cgroup namespaces replaced the emulated cgroup tree
    #[arg(long)]
    pub enable_cgroup: bool,

    /// Refused: pressure triggers belong to the cgroup's own file
    #[arg(long)]
    pub enable_psi_poll: bool,

    /// Ignored, as it always was
    #[arg(short = 's')]
    pub single_thread: bool,

    /// Sockets and attached containers
    #[arg(long, value_name = "DIR", default_value = "/run/lxcfs")]
    pub runtime_dir: PathBuf,

    /// Configuration file (default: /etc/lxcfs.conf if it is there)
    ///
    /// Lines of KEY = VALUE. A file (cpuinfo, diskstats, loadavg, meminfo, partitions, pressure,
    /// slabinfo, stat, swaps, sys-cpu, uptime) is on, off or passthrough; topology is flat,
    /// one-socket, smt or host; numbering is virtual or physical; quota, swap, zswap and strict
    /// are on or off. cache is what of containers' own files the kernel may keep for 100 ms: off, on
    /// (what changes with limits) or all (meminfo too). [container ID] starts overrides; * in ID stands for anything.
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Read limits at every request, keep nothing
    #[arg(long)]
    pub exact: bool,

    /// Threads that serve (default: one for each CPU, but 2 to 4)
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,

    /// How long a reader may have to wait, in milliseconds; then it gets host values
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub deadline: u64,

    /// Pass every request on to the worker and keep it until it is answered
    ///
    /// So it is by itself where the kernel cannot hand out again what a worker that died had taken:
    /// before Linux 6.9. It costs some microseconds a request.
    #[arg(long)]
    pub relay: bool,

    /// Socket for Prometheus (default: metrics.sock in the runtime directory)
    #[arg(long, value_name = "SOCKET")]
    pub metrics: Option<PathBuf>,

    /// Append the log to a file instead of stderr
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// How much to say: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Print the version
    #[arg(short = 'v', long)]
    pub version: bool,

    #[arg(long, hide = true)]
    worker: bool,
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cpus| cpus.get().clamp(2, 4))
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=64) => Ok(count),
        _ => Err("write a number from 1 to 64".into()),
    }
}

/// What `lxcfs` does.
pub fn main() -> Report {
    run(Args::parse())
}

#[expect(clippy::print_stdout, reason = "--version is data")]
fn run(args: Args) -> Report {
    if args.version {
        println!("\"{}\"", env!("CARGO_PKG_VERSION"));
        return Ok(Exit::DONE);
    }
    if args.worker {
        worker::run()?;
        return Ok(Exit::DONE);
    }
    let pid_file = args.pidfile.clone();
    let options = options(args)?;
    super::init_log(options.log.as_deref(), options.log_level.as_deref())?;
    // A configuration that cannot be read is a usage error of now, not of every worker to come.
    worker::read_config(&options)?;
    holder::run(options, &pid_file)?;
    Ok(Exit::DONE)
}

/// What was meant.
pub fn options(args: Args) -> Result<Options> {
    if args.enable_cgroup {
        bail!(
            "--enable-cgroup is not supported: use cgroup namespaces, which every supported kernel has"
        );
    }
    if args.enable_psi_poll {
        bail!(
            "--enable-psi-poll is not supported: set pressure triggers on the cgroup's own files"
        );
    }
    check_fuse_options(&args.fuse_options)?;
    let Some(mount) = args.mount else { bail!("a mount point is needed") };
    let config = match args.config {
        Some(path) => Some(path),
        None => Some(PathBuf::from(CONFIG)).filter(|path| path.exists()),
    };
    Ok(Options {
        mount: std::path::absolute(&mount).unwrap_or(mount),
        metrics: args.metrics.unwrap_or_else(|| args.runtime_dir.join("metrics.sock")),
        runtime_dir: args.runtime_dir,
        config,
        load_average: args.enable_loadavg,
        disable_swap: args.disable_swap,
        disable_zswap: args.disable_zswap,
        exact: args.exact,
        threads: args.threads.unwrap_or_else(default_threads),
        relay: args.relay,
        deadline_ms: args.deadline,
        log_level: if args.debug { Some("debug".into()) } else { args.log_level },
        log: args.log,
    })
}

/// `-o` of the C program took anything and dropped most of it. What changes nothing is accepted.
fn check_fuse_options(options: &[String]) -> Result<()> {
    const ALWAYS: [&str; 8] = [
        "allow_other",
        "default_permissions",
        "nonempty",
        "nosuid",
        "nodev",
        "rw",
        "direct_io",
        "dev",
    ];
    for option in options.iter().flat_map(|list| list.split(',')).filter(|name| !name.is_empty()) {
        let key = option.split('=').next().unwrap_or(option);
        let dropped = ["entry_timeout", "attr_timeout", "fsname", "subtype", "use_ino"];
        if !ALWAYS[..7].contains(&option) && !dropped.contains(&key) {
            bail!("FUSE option \"{option}\" is not supported; leave it out");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    fn refused(line: &[&str]) -> String {
        let args = Args::try_parse_from([&["lxcfs"], line].concat());
        match args {
            Ok(args) => options(args).unwrap_err().to_string(),
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn options_of_the_predecessor() {
        let line = [
            "lxcfs",
            "-f",
            "-l",
            "-u",
            "-s",
            "--enable-cfs",
            "--enable-pidfd",
            "-o",
            "allow_other,nonempty",
            "-p",
            "/tmp/p",
            "/mnt",
        ];
        let options = options(Args::try_parse_from(line).unwrap()).unwrap();
        assert!(options.load_average && options.disable_swap);
        assert_eq!(options.mount, PathBuf::from("/mnt"));
        assert_eq!(options.metrics, PathBuf::from("/run/lxcfs/metrics.sock"));
    }

    #[test]
    fn what_is_not_supported_is_said() {
        expect!["--enable-cgroup is not supported: use cgroup namespaces, which every supported kernel has"]
            .assert_eq(&refused(&["--enable-cgroup", "/mnt"]));
        expect![
            "--enable-psi-poll is not supported: set pressure triggers on the cgroup's own files"
        ]
        .assert_eq(&refused(&["--enable-psi-poll", "/mnt"]));
        expect![[r#"FUSE option "max_read=4096" is not supported; leave it out"#]]
            .assert_eq(&refused(&["-o", "max_read=4096", "/mnt"]));
        expect!["error: the argument '--debug' cannot be used with '--foreground'"]
            .assert_eq(&refused(&["-d", "-f", "/mnt"]));
        expect!["error: invalid value '0' for '--threads <N>': write a number from 1 to 64"]
            .assert_eq(&refused(&["--threads", "0", "/mnt"]));
    }
}
