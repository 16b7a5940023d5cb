//! `cargo xtask vm`: a throwaway Debian virtual machine with what a container host often lacks:
//! the unified cgroup hierarchy alone, systemd as init, and a kernel of one's choice.
//!
//! QEMU emulates the processor: one boot serves a whole suite, and no time taken there means
//! anything. Each run starts from the same disk; what it writes is thrown away.
//!
//! A command may take the machine down: it finds SYSC_VM_CONTROL, a directory of the host's, and
//! leaves word there. The machine then boots again on the disk as it is, and the same command is run
//! again, with the number of the boot in SYSC_VM_BOOT:
//!
//! ```text
//! reboot     it is about to reboot
//! power-cut  after so many milliseconds the power is to fail
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{cache, packages, rootfs, step, target};

/// The guest's own suite, then those that offer further kernels.
const SUITES: &[&str] = &["bookworm", "bookworm-backports", "trixie-backports"];

/// What a machine with engines has besides: what else runs containers on a Debian 12.
const ENGINES: &str = "--include=crun,runc,podman,docker.io,iptables,apparmor";

/// What `vm` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The guest's kernel, as 6.1: the newest of a Debian suite
    #[arg(long, default_value = "6.1")]
    kernel: String,
    /// Further words for the kernel's command line
    #[arg(long, value_name = "WORDS")]
    append: Option<String>,
    /// Seconds after which the machine is switched off
    #[arg(long, default_value_t = 2400)]
    timeout: u32,
    /// The guest's memory
    #[arg(long, default_value = "4G")]
    memory: String,
    /// With podman, docker, containerd, runc and crun, in an image of its own
    #[arg(long)]
    engines: bool,
    /// A command to run as root in the guest, instead of the end-to-end tests
    ///
    /// It starts in a read-only view of the directory with the binaries.
    #[arg(last = true)]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(rustix::process::geteuid().is_root(), "vm: not root; run it as root");
    packages::install(&[packages::BUILD, packages::ROOTFS, packages::VM])?;
    packages::install_qemu()?;
    let (binaries, tests) = target::tests()?;
    let image = image(args.engines)?;
    let kernels = kernels(&image)?;
    ensure!(
        kernels.contains(&args.kernel),
        "no kernel {}; there is: {}",
        args.kernel,
        kernels.join(", ")
    );

    let work = std::env::temp_dir().join(format!("sysc-vm-{}", std::process::id()));
    fs::create_dir(&work).with_context(|| format!("make {}", work.display()))?;
    let machine = Machine { args, image: &image, work: &work, binaries: &binaries };
    let ended = machine.run(&command(args, &tests));
    fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    ended
}

fn image(engines: bool) -> Result<PathBuf> {
    let debian = rootfs::get()?;
    let scripts = step::root().join("xtask/vm");
    let mut ingredients = format!("{SUITES:?} {}", debian.display());
    for name in ["image.sh", "kernels.sh", "initramfs-init.sh", "guest-start.sh", "guest.service"] {
        ingredients += &fs::read_to_string(scripts.join(name))?;
    }
    // A word for mmdebstrap like the source lines are.
    let (kind, more) = if engines { ("engines", &[ENGINES][..]) } else { ("vm", &[][..]) };
    ingredients += &more.concat();
    cache::get(kind, &ingredients, |dir| {
        step::step("making the virtual machine's disk (a few minutes, once)");
        let mut make = Command::new(scripts.join("image.sh"));
        make.arg(dir).arg(&debian);
        for suite in SUITES {
            make.args(rootfs::sources(suite)?);
        }
        step::output(make.args(more)).map(drop)
    })
}

fn kernels(image: &Path) -> Result<Vec<String>> {
    let mut found: Vec<String> = fs::read_dir(image)
        .with_context(|| format!("read {}", image.display()))?
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()))
        .collect();
    found.sort();
    Ok(found)
}

/// The command as a script for the guest.
fn command(args: &Args, tests: &[PathBuf]) -> String {
    let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    match args.command.as_slice() {
        [] => {
            let name = |test: &PathBuf| test.file_name().unwrap_or_default().to_owned();
            let run = |test| format!("deps/{} || code=1\n", name(test).to_string_lossy());
            format!("code=0\n{}exit $code\n", tests.iter().map(run).collect::<String>())
        }
        words => format!("exec {}\n", words.iter().map(quoted).collect::<Vec<_>>().join(" ")),
    }
}

/// What one run takes.
struct Machine<'a> {
    args: &'a Args,
    image: &'a Path,
    work: &'a Path,
    binaries: &'a Path,
}

impl Machine<'_> {
    /// Boots, and boots again for as long as the command says that it wants to.
    fn run(&self, command: &str) -> Result<ExitCode> {
        fs::create_dir(self.control())?;
        fs::copy(step::root().join("xtask/vm/agent.sh"), self.control().join("agent"))?;
        self.make_disk()?;
        let limit = Duration::from_secs(self.args.timeout.into());
        let deadline = Instant::now() + limit;
        for boot in 1.. {
            let environment = "export SYSC_TESTS_MACHINE=vm SYSC_TESTS_SLOW=6 SYSC_BIN=/mnt/share\n\
                               export SYSC_DEBIAN=/srv/debian RUST_BACKTRACE=1\n";
            let own = format!("export SYSC_VM_CONTROL=/run/control SYSC_VM_BOOT={boot}\n");
            fs::write(self.control().join("command"), format!("{environment}{own}{command}"))?;
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(code) = self.boot(left)? {
                return Ok(code);
            }
        }
        bail!("vm: more boots than there are numbers")
    }

    fn control(&self) -> PathBuf {
        self.work.join("control")
    }

    fn disk(&self) -> PathBuf {
        self.work.join("disk.qcow2")
    }

    /// What this run writes, over the image.
    fn make_disk(&self) -> Result<()> {
        let mut make = Command::new("qemu-img");
        make.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]);
        step::output(make.arg(self.image.join("disk.raw")).arg(self.disk())).map(drop)
    }

    /// `None`: the machine is to boot again.
    fn boot(&self, limit: Duration) -> Result<Option<ExitCode>> {
        let (args, console, control) = (self.args, self.work.join("console"), self.control());
        step::step(&format!("booting the virtual machine, kernel {}", args.kernel));
        let mut qemu = self.qemu(&console, limit);
        // A power cut is the end of QEMU: what the guest had written and not flushed is lost.
        let pid_file = self.work.join("pid");
        qemu.arg("-pidfile").arg(&pid_file);
        let over = AtomicBool::new(false);
        let (status, cut) = std::thread::scope(|scope| {
            let cut = scope.spawn(|| cut_power_when_asked(&control, &pid_file, &over));
            // Through a pipe: QEMU opens the file anew, and would truncate one that this prints to.
            let status = step::watched(&mut qemu, |_| ());
            over.store(true, Ordering::Relaxed);
            (status, cut.join())
        });
        let status = status?;
        if cut.map_err(|_| anyhow!("vm: a panic"))?? {
            step::step("the power has failed");
            return Ok(None);
        }
        if fs::remove_file(control.join("reboot")).is_ok() && status.code() != Some(124) {
            step::step("the virtual machine reboots");
            return Ok(None);
        }

        let booted = fs::read_to_string(control.join("booted")).unwrap_or_default();
        if status.code() == Some(124) {
            bail!("vm: {} s ran out\n{}", args.timeout, last_words(&console));
        }
        let Ok(code) = fs::read_to_string(control.join("status")) else {
            bail!("vm: the guest went down by itself ({status})\n{}", last_words(&console));
        };
        let code: u8 = code.trim().parse().context("the guest's exit status is a number")?;
        step::step(&format!("the virtual machine is off (up, state, kernel: {})", booted.trim()));
        Ok(Some(ExitCode::from(code)))
    }

    fn qemu(&self, console: &Path, limit: Duration) -> Command {
        let (args, control) = (self.args, self.control());
        // Each end takes the next along: this program's end timeout's, and that one QEMU's.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "timeout", "--foreground", "--kill-after=5"])
            .arg(limit.as_secs().max(1).to_string())
            .args(["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults"])
            .args([
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
                "-machine",
                "pc,vmport=off",
            ])
            .args(["-cpu", "max", "-smp", "2", "-m", &args.memory])
            .args(["-accel", &accelerator()])
            .arg("-kernel")
            .arg(self.image.join(format!("vmlinuz-{}", args.kernel)))
            .arg("-initrd")
            .arg(self.image.join(format!("initrd-{}", args.kernel)))
            .args(["-append", &command_line(args)])
            // The guest has a disk with a cache that it must flush. A flush brings what QEMU holds
            // to the host's page cache, which outlives QEMU, and does not wait for the host's disk.
            .arg("-drive")
            .arg(format!(
                "if=none,id=root,format=qcow2,cache=unsafe,file={}",
                self.disk().display()
            ))
            .args(["-device", "virtio-blk-pci,drive=root", "-device", "virtio-rng-pci"])
            .arg("-fsdev")
            .arg(format!("local,id=control,security_model=none,path={}", control.display()))
            .args(["-device", "virtio-9p-pci,fsdev=control,mount_tag=control", "-fsdev"])
            .arg(format!(
                "local,id=share,security_model=none,readonly=on,path={}",
                self.binaries.display()
            ))
            .args(["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"])
            .args(["-device", "virtio-serial-pci", "-chardev", "file,id=output,path=/dev/fd/1"])
            .args(["-device", "virtserialport,chardev=output,name=output", "-serial"])
            .arg(format!("file:{}", console.display()))
            .env("TMPDIR", self.work)
            .stdin(Stdio::null());
        qemu
    }
}

/// Kills QEMU when the guest asks for it, which is answered.
fn cut_power_when_asked(control: &Path, pid_file: &Path, over: &AtomicBool) -> Result<bool> {
    let asked = control.join("power-cut");
    while !over.load(Ordering::Relaxed) {
        // Not yet there, or not yet written.
        let patience = fs::read_to_string(&asked).ok().and_then(|text| text.trim().parse().ok());
        let Some(patience) = patience else {
            nap(Duration::from_millis(20));
            continue;
        };
        nap(Duration::from_millis(patience));
        if over.load(Ordering::Relaxed) {
            break;
        }
        let pid = fs::read_to_string(pid_file).context("read QEMU's pid")?;
        let pid = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("QEMU's pid is a number")?;
        fs::remove_file(&asked)?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).context("kill QEMU")?;
        return Ok(true);
    }
    Ok(false)
}

#[expect(clippy::disallowed_methods, reason = "a file's appearance has no descriptor to wait on")]
fn nap(pause: Duration) {
    std::thread::sleep(pause);
}

/// SYSC_VM_ACCEL names QEMU's accelerator on machines that have one.
fn accelerator() -> String {
    std::env::var("SYSC_VM_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".into())
}

fn command_line(args: &Args) -> String {
    // An emulated timer that a busy host starves is no reason for the kernel to panic.
    let more = args.append.as_deref().unwrap_or_default();
    format!(
        "console=ttyS0 panic=-1 net.ifnames=0 mitigations=off tsc=reliable no_timer_check quiet {more}"
    )
}

fn last_words(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(30)..];
    format!("the end of its console:\n    {}", last.join("\n    "))
}
