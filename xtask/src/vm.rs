//! `cargo xtask vm`: a throwaway Debian virtual machine with what a container host often lacks:
//! the unified cgroup hierarchy alone, systemd as init, and a kernel of one's choice.
//!
//! QEMU emulates the processor: one boot serves a whole suite, and no time taken there means
//! anything. Each run starts from the same disk; what it writes is thrown away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{cache, packages, rootfs, step, target};

/// The guest's own suite, then those that offer further kernels.
const SUITES: &[&str] = &["bookworm", "bookworm-backports", "trixie-backports"];

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
    #[arg(long, default_value = "3G")]
    memory: String,
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
    let image = image()?;
    let kernels = kernels(&image)?;
    ensure!(
        kernels.contains(&args.kernel),
        "no kernel {}; there is: {}",
        args.kernel,
        kernels.join(", ")
    );

    let work = std::env::temp_dir().join(format!("sysc-vm-{}", std::process::id()));
    fs::create_dir(&work).with_context(|| format!("make {}", work.display()))?;
    let ended = boot(args, &image, &work, &binaries, &script(args, &tests));
    fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    ended
}

fn image() -> Result<PathBuf> {
    let debian = rootfs::get()?;
    let scripts = step::root().join("xtask/vm");
    let mut ingredients = format!("{SUITES:?} {}", debian.display());
    for name in ["image.sh", "kernels.sh", "initramfs-init.sh", "guest-start.sh", "guest.service"] {
        ingredients += &fs::read_to_string(scripts.join(name))?;
    }
    cache::get("vm", &ingredients, |dir| {
        step::step("making the virtual machine's disk (a few minutes, once)");
        let mut make = Command::new(scripts.join("image.sh"));
        make.arg(dir).arg(&debian);
        for suite in SUITES {
            make.args(rootfs::sources(suite)?);
        }
        step::output(&mut make).map(drop)
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
fn script(args: &Args, tests: &[PathBuf]) -> String {
    let environment = "export SYSC_TESTS_MACHINE=vm SYSC_TESTS_SLOW=6 SYSC_BIN=/mnt/share\n\
                       export SYSC_DEBIAN=/srv/debian RUST_BACKTRACE=1\n";
    let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    let command = match args.command.as_slice() {
        [] => {
            let name = |test: &PathBuf| test.file_name().unwrap_or_default().to_owned();
            let run = |test| format!("deps/{} || code=1\n", name(test).to_string_lossy());
            format!("code=0\n{}exit $code", tests.iter().map(run).collect::<String>())
        }
        words => format!("exec {}", words.iter().map(quoted).collect::<Vec<_>>().join(" ")),
    };
    format!("{environment}{command}\n")
}

fn boot(args: &Args, image: &Path, work: &Path, share: &Path, script: &str) -> Result<ExitCode> {
    let control = work.join("control");
    fs::create_dir(&control)?;
    fs::copy(step::root().join("xtask/vm/agent.sh"), control.join("agent"))?;
    fs::write(control.join("command"), script)?;
    let console = work.join("console");

    step::step(&format!("booting the virtual machine, kernel {}", args.kernel));
    // Each end takes the next along: this program's end timeout's, and that one QEMU's.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "timeout", "--foreground", "--kill-after=5"])
        .arg(args.timeout.to_string())
        .args(["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults"])
        .args(["-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc,vmport=off"])
        .args(["-cpu", "max", "-smp", "2", "-m", &args.memory])
        .args(["-accel", &accelerator()])
        .arg("-kernel")
        .arg(image.join(format!("vmlinuz-{}", args.kernel)))
        .arg("-initrd")
        .arg(image.join(format!("initrd-{}", args.kernel)))
        .args(["-append", &command_line(args)])
        .arg("-drive")
        .arg(format!("if=none,id=root,format=raw,snapshot=on,file={}/disk.raw", image.display()))
        .args(["-device", "virtio-blk-pci,drive=root", "-device", "virtio-rng-pci"])
        .arg("-fsdev")
        .arg(format!("local,id=control,security_model=none,path={}", control.display()))
        .args(["-device", "virtio-9p-pci,fsdev=control,mount_tag=control", "-fsdev"])
        .arg(format!("local,id=share,security_model=none,readonly=on,path={}", share.display()))
        .args(["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"])
        .args(["-device", "virtio-serial-pci", "-chardev", "file,id=output,path=/dev/fd/1"])
        .args(["-device", "virtserialport,chardev=output,name=output", "-serial"])
        .arg(format!("file:{}", console.display()))
        .env("TMPDIR", work)
        .stdin(Stdio::null());
    // Through a pipe: QEMU opens the file anew, and would truncate one that this prints to.
    let status = step::watched(&mut qemu, |_| ())?;

    let booted = fs::read_to_string(control.join("booted")).unwrap_or_default();
    if status.code() == Some(124) {
        bail!("vm: {} s ran out\n{}", args.timeout, last_words(&console));
    }
    let Ok(code) = fs::read_to_string(control.join("status")) else {
        bail!("vm: the guest went down by itself ({status})\n{}", last_words(&console));
    };
    let code: u8 = code.trim().parse().context("the guest's exit status is a number")?;
    step::step(&format!("the virtual machine is off (up, state, kernel: {})", booted.trim()));
    Ok(ExitCode::from(code))
}

/// SYSC_VM_ACCEL names QEMU's accelerator on machines that have one.
fn accelerator() -> String {
    std::env::var("SYSC_VM_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".into())
}

fn command_line(args: &Args) -> String {
    let more = args.append.as_deref().unwrap_or_default();
    format!("console=ttyS0 panic=-1 net.ifnames=0 mitigations=off tsc=reliable quiet {more}")
}

fn last_words(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(30)..];
    format!("the end of its console:\n    {}", last.join("\n    "))
}
