//! A Debian with a disk, a link into a bridge, a link of the host's, a route and a directory: the
//! host reboots, and it comes back with all of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::runner::say;
use tests::wait;

use crate::{HOOK_SPEC, agrees, isula, tool, tools, unit};

pub(crate) const HOST_PROGRAM: &str = "/usr/local/sbin/host";

/// What the host's own configuration makes at each boot, before its containers.
const HOST: &str = "\
#!/bin/sh -e
modprobe -a loop fuse veth bridge macvlan dummy
losetup /dev/loop3 /var/disk
ip link add br0 type bridge
ip address add 192.168.3.1/24 dev br0
ip link set br0 up
ip link add d0 type dummy
ip link set d0 up
ip link add link d0 name p0 address 02:00:00:00:00:07 mtu 1480 type macvlan
ip address add 10.5.0.2/24 dev p0
ip link set p0 up
";

const HOST_UNIT: &str = "\
[Unit]
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/host
[Install]
WantedBy=multi-user.target network-online.target
";

/// Written by the guest at the end of an orderly shutdown.
const ORDERLY: &str = "/srv/debian/var/orderly";

const GUEST_UNIT: &str = "\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'date > /var/orderly'
[Install]
WantedBy=multi-user.target
";

pub(crate) fn configure_host() -> Result<()> {
    fs::write(HOST_PROGRAM, HOST)?;
    fs::set_permissions(HOST_PROGRAM, fs::Permissions::from_mode(0o755))?;
    fs::File::create("/var/disk")?.set_len(16 << 20)?;
    fs::create_dir_all("/srv/data")?;
    fs::write("/srv/data/file", "host\n")?;
    tool(HOST_PROGRAM, "").map(drop)
}

pub(crate) fn before() -> Result<()> {
    unit("host.service", HOST_UNIT)?;
    let guest = "/srv/debian/etc/systemd/system";
    fs::write(format!("{guest}/orderly.service"), GUEST_UNIT)?;
    fs::create_dir_all(format!("{guest}/multi-user.target.wants"))?;
    std::os::unix::fs::symlink(
        "../orderly.service",
        format!("{guest}/multi-user.target.wants/orderly.service"),
    )?;
    tool("systemctl", "enable --quiet host.service")?;

    isula(&format!(
        "create --name web --system-container --cap-add SYS_ADMIN --hook-spec {HOOK_SPEC} \
         --external-rootfs /srv/debian none /sbin/init"
    ))?;
    tool("systemctl", "enable --quiet --now isula@web.service")?;
    until_booted()?;
    tools("add-device web /dev/loop3:/dev/xvdb")?;
    tools("add-path web /srv/data:/data")?;
    tools("add-nic web --type veth --bridge br0 --name h1:e1 --ip 192.168.3.4/24")?;
    tools("add-nic web --type eth --name p0:e2 --ip 10.6.0.2/24 --mtu 1400")?;
    tools(r#"add-route web [{"dest":"10.9.0.0/16","gw":"10.6.0.1"}]"#)?;
    isula("exec web mkfs.ext4 -q /dev/xvdb")?;
    agrees("web")
}

pub(crate) fn after() -> Result<()> {
    ensure!(fs::exists(ORDERLY)?, "the guest was shut down in order with its host");
    until_booted()?;
    ensure!(tool("systemctl", "is-active isula@web.service")? == "active\n", "by its unit");
    agrees("web")?;
    let recorded: Vec<String> = ["list-device", "list-path", "list-nic", "list-route"]
        .map(|list| tools(&format!("{list} web")))
        .into_iter()
        .collect::<Result<_>>()?;
    for (list, word) in recorded.iter().zip(["/dev/xvdb", "/srv/data:/data", "\"e1\"", "10.9.0.0"])
    {
        ensure!(list.contains(word), "{word} is recorded: {list}");
    }
    // A service of the guest's can do with them what it could.
    let script = "mount /dev/xvdb /mnt && ls -d /mnt/lost+found && cat /data/file && umount /mnt";
    let seen = tests::Call::new("/usr/local/bin/isula")
        .args(["exec", "web", "systemd-run", "--quiet", "--pipe", "--wait", "sh", "-c", script])
        .ok()?;
    ensure!(seen.stdout == "/mnt/lost+found\nhost\n", "{seen}");
    let link = isula("exec web ip -o link show e2")?;
    ensure!(link.contains("mtu 1400"), "{link}");
    let route = isula("exec web ip route show 10.9.0.0/16")?;
    ensure!(route.contains("via 10.6.0.1 dev e2"), "{route}");
    wait::until("an answer from the guest", Duration::from_secs(10), || {
        Ok(tool("ping", "-c 1 -W 1 192.168.3.4").is_ok().then_some(()))
    })?;
    say("the host rebooted: the guest is back with all that it had");
    tool("systemctl", "disable --quiet --now isula@web.service")?;
    let link = tool("ip", "-o link show p0")?;
    ensure!(link.contains("mtu 1480") && link.contains("state"), "it is the host's again: {link}");
    isula("rm -f web").map(drop)
}

fn until_booted() -> Result<()> {
    wait::until("systemd is running", Duration::from_secs(60), || {
        let state = tests::Call::new("/usr/local/bin/isula")
            .args(["exec", "web", "systemctl", "is-system-running"])
            .output()?;
        match state.line() {
            "running" => Ok(Some(())),
            _ => anyhow::bail!("{state}"),
        }
    })
}
