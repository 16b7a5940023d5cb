//! What a container may not do, read from its own /proc.

use std::os::unix::fs::MetadataExt;

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, EACH_CAPABILITY, OUR_RUNTIME, ROOT};
use tests::{Output, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("security::fourteen_capabilities", NEEDS, capabilities),
        story("security::capabilities_added_and_dropped", NEEDS, added_and_dropped),
        story("security::seccomp_filters", NEEDS, seccomp),
        story("security::limits_of_resources", NEEDS, rlimits),
        story("security::masked_paths", NEEDS, masked),
        story(
            "security::a_mask_is_no_way_to_the_hosts_null",
            &[ROOT, BUSYBOX, OUR_RUNTIME],
            mask_is_sealed,
        ),
        story("security::read_only_paths", NEEDS, read_only),
        story("security::no_new_privileges", NEEDS, no_new_privileges),
        story("security::privileged", &[ROOT, BUSYBOX, EACH_CAPABILITY], privileged),
    ]
}

fn run(world: &World, options: &[&str], script: &str) -> Result<Output> {
    let rootfs = world.busybox()?;
    let options = [&["--rm"], options].concat();
    world.isula_with("run", &options, &rootfs, &["sh", "-c", script]).output()
}

fn status(world: &World, options: &[&str], field: &str) -> Result<String> {
    let script = format!("sed -n 's/^{field}:[[:space:]]*//p' /proc/self/status");
    let output = run(world, options, &script)?;
    ensure!(output.code() == 0, "{output}");
    Ok(output.line().to_owned())
}

/// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT
/// MKNOD AUDIT_WRITE SETFCAP, by their numbers in linux/capability.h.
const FOURTEEN: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
const SYS_BOOT: u32 = 22;
const NET_ADMIN: u32 = 12;

fn mask(numbers: &[u32]) -> String {
    format!("{:016x}", numbers.iter().fold(0_u64, |mask, number| mask | 1 << number))
}

fn capabilities(world: &World) -> Result<()> {
    let expected = mask(&FOURTEEN);
    for field in ["CapBnd", "CapPrm", "CapEff"] {
        let found = status(world, &[], field)?;
        ensure!(found == expected, "{field} is {found}, not {expected}");
    }
    ensure!(status(world, &[], "CapAmb")? == mask(&[]), "no ambient ones");
    // A user other than root has the bounding set alone.
    ensure!(status(world, &["-u", "user"], "CapEff")? == mask(&[]), "none for a user");
    let system = status(world, &["--system-container"], "CapBnd")?;
    let expected = mask(&[&FOURTEEN[..], &[SYS_BOOT]].concat());
    ensure!(system == expected, "of a system container: {system}, not {expected}");
    Ok(())
}

fn added_and_dropped(world: &World) -> Result<()> {
    let added = status(world, &["--cap-add", "net_admin"], "CapEff")?;
    ensure!(added == mask(&[&FOURTEEN[..], &[NET_ADMIN]].concat()), "added: {added}");
    ensure!(status(world, &["--cap-drop", "ALL"], "CapEff")? == mask(&[]), "all dropped");
    // Also for a system container: what was dropped stays dropped.
    let options = ["--system-container", "--cap-drop", "CAP_NET_RAW"];
    let dropped = status(world, &options, "CapEff")?;
    let rest: Vec<u32> = FOURTEEN.into_iter().filter(|&cap| cap != 13).chain([SYS_BOOT]).collect();
    ensure!(dropped == mask(&rest), "dropped: {dropped}");
    Ok(())
}

fn seccomp(world: &World) -> Result<()> {
    ensure!(status(world, &[], "Seccomp")? == "2", "a filter");
    let script = "unshare -U true; echo $?; swapoff -a /nowhere; echo ran";
    let output = run(world, &[], script)?;
    ensure!(output.stderr.contains("Operation not permitted"), "unshare(CLONE_NEWUSER):\n{output}");
    let off = status(world, &["--security-opt", "seccomp=unconfined"], "Seccomp")?;
    ensure!(off == "0", "unconfined: {off}");
    Ok(())
}

fn rlimits(world: &World) -> Result<()> {
    let options = ["--ulimit", "nofile=123:456", "--ulimit", "core=0"];
    let output = run(world, &options, "ulimit -n; ulimit -Hn; ulimit -c")?;
    output.expect_stdout("123\n456\n0\n")?;
    Ok(())
}

fn masked(world: &World) -> Result<()> {
    let script = "cat /proc/kcore /proc/keys /proc/timer_list | wc -c; \
                  ls -A /proc/acpi /sys/firmware /proc/scsi 2>/dev/null | grep -v : | wc -w";
    let output = run(world, &[], script)?;
    output.expect_stdout("0\n0\n")?;
    Ok(())
}

/// What covers a masked file must not be an inode of the host's that root inside can change.
fn mask_is_sealed(world: &World) -> Result<()> {
    // The same mode and owner: a success harms nobody, but the time of change shows it.
    let changed = || Ok::<_, std::io::Error>(std::fs::metadata("/dev/null")?.ctime_nsec());
    let before = changed()?;
    let script = "chmod 0666 /proc/keys; chown 0:0 /proc/keys; cat /proc/keys";
    let output = run(world, &[], script)?;
    ensure!(changed()? == before, "the host's /dev/null was changed\n{output}");
    ensure!(output.stderr.lines().count() == 2, "both are refused\n{output}");
    ensure!(output.code() == 0 && output.stdout.is_empty(), "and it reads as empty\n{output}");
    Ok(())
}

fn read_only(world: &World) -> Result<()> {
    let script = "for f in /proc/sys/kernel/panic /proc/sysrq-trigger /proc/irq/default_smp_affinity \
                  /sys/kernel/mm/ksm/run; do [ -e $f ] && (echo 1 > $f) 2>&1; done; true";
    let output = run(world, &[], script)?;
    let lines: Vec<&str> = output.stdout.lines().collect();
    ensure!(lines.len() >= 2, "{output}");
    ensure!(lines.iter().all(|line| line.contains("Read-only file system")), "{output}");
    Ok(())
}

fn no_new_privileges(world: &World) -> Result<()> {
    ensure!(status(world, &[], "NoNewPrivs")? == "0", "off by default");
    let on = status(world, &["--security-opt", "no-new-privileges"], "NoNewPrivs")?;
    ensure!(on == "1", "NoNewPrivs is {on}");
    Ok(())
}

fn privileged(world: &World) -> Result<()> {
    ensure!(status(world, &["--privileged"], "Seccomp")? == "0", "no filter");
    // Everything that this side itself has.
    let own = std::fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_default().trim();
    let found = status(world, &["--privileged"], "CapBnd")?;
    ensure!(found == own, "CapBnd is {found}, this side's {own}");
    Ok(())
}
