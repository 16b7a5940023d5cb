//! A container in a container.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::need::{BUSYBOX, DEBIAN, DEBIAN_ENGINES, ROOT};
use tests::{Container, Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const ENGINES: &[tests::Need] = &[ROOT, BUSYBOX, DEBIAN_ENGINES];
    vec![
        story("nested::a_system_container_in_one", &[ROOT, DEBIAN], system),
        // Emulated, three daemons take their time.
        story("nested::docker_and_podman_in_one", ENGINES, engines)
            .alone()
            .limit(Duration::from_secs(300)),
    ]
}

fn system(world: &World) -> Result<()> {
    let inner = world.debian()?;
    let tree = format!("{}:/srv/inner", inner.display());
    let programs = format!("{}:/opt/isula:ro", tests::world::binaries()?.display());
    let options = ["--privileged", "-v", &tree, "-v", &programs];
    let outer = world.boot(&options, &world.debian()?)?;
    let isula = |words: &[&str]| outer.exec([&["/opt/isula/isula"], words].concat());
    let rootfs = ["--external-rootfs", "/srv/inner", "none", "/sbin/init"];
    let run = ["run", "-d", "--name", "inner", "-h", "within", "--system-container"];
    isula(&[&run[..], &rootfs].concat()).ok()?;
    world.until("the inner one is running", Duration::from_secs(60), || {
        let said = isula(&["exec", "inner", "systemctl", "is-system-running"]).output()?;
        Ok((said.line() == "running").then_some(()))
    })?;
    isula(&["exec", "inner", "cat", "/proc/sys/kernel/hostname"])
        .ok()?
        .expect_stdout("within\n")?;
    let name = outer.exec(["cat", "/proc/sys/kernel/hostname"]).ok()?;
    ensure!(name.stdout != "within\n", "{name}");
    let said = isula(&["stop", "inner"]).ok()?;
    ensure!(said.elapsed < Duration::from_secs(20), "{said}");
    isula(&["rm", "inner"]).ok()?;
    // An ordinary one after it.
    let run = ["run", "--rm", "--external-rootfs", "/srv/inner", "none", "cat", "/etc/hostname"];
    isula(&run).ok()?;
    let left = isula(&["ps", "-aq"]).ok()?;
    ensure!(left.stdout.is_empty(), "{left}");
    outer.remove().context("the outer one")
}

/// Both keep their trees in volumes: an overlay cannot be the upper directory of another.
fn engines(world: &World) -> Result<()> {
    let archive = world.path("image.tar");
    world.tool("tar").arg("-C").arg(world.busybox()?).arg("-cf").arg(&archive).arg(".").ok()?;
    let image = format!("{}:/srv/image.tar:ro", archive.display());
    let stores = ["-v", "docker:/var/lib/docker", "-v", "podman:/var/lib/containers"];
    let options = [&["--privileged"], &stores[..], &["-v", &image]].concat();
    let guest = world.boot(&options, &world.debian_with_engines()?)?;
    docker(&guest).context("docker")?;
    podman(&guest).context("podman")?;
    guest.remove()?;
    world.isula(["volume", "rm", "docker", "podman"]).ok().map(drop)
}

/// Runs it in the guest, which may take its time.
fn sh(guest: &Container<'_>, script: &str) -> Result<tests::Output> {
    guest.exec(["sh", "-ec", script]).limit(Duration::from_secs(120)).ok()
}

fn docker(guest: &Container<'_>) -> Result<()> {
    sh(guest, "docker import - box < /srv/image.tar")?;
    sh(guest, "docker run --rm box echo hello")?.expect_stdout("hello\n")?;
    // Limits, an address, a published port, and a further process.
    sh(guest, "docker run -d --name web -m 64m --pids-limit 50 -p 8080:80 box httpd -f -h /etc")?;
    let fetch = "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /passwd HTTP/1.0\\r\\n\\r\\n' >&3; \
                 grep -q ^user: <&3";
    guest.exec(["bash", "-c", fetch]).ok()?;
    sh(guest, "docker exec web id -u")?.expect_stdout("0\n")?;
    sh(guest, "docker rm -f web")?;
    let build = "printf 'FROM box\\nRUN echo built > /built\\nCMD cat /built\\n' | docker build -q -t own -";
    sh(guest, build)?;
    sh(guest, "docker run --rm own")?.expect_stdout("built\n")?;
    Ok(())
}

/// With runc: crun up to 1.14 refuses hybrid hosts, inside as outside.
fn podman(guest: &Container<'_>) -> Result<()> {
    sh(guest, "podman import - box < /srv/image.tar")?;
    let podman = |words: &str| sh(guest, &format!("podman --runtime runc {words}"));
    podman("run --rm localhost/box echo hello")?.expect_stdout("hello\n")?;
    podman("run --rm -m 64m --network none localhost/box id -u")?.expect_stdout("0\n")?;
    podman("run -d --name web localhost/box sleep 86400")?;
    podman("exec web hostname -i")?;
    podman("rm -f -t 0 web")?;
    Ok(())
}
