//! Root file systems for containers: a busybox tree made in milliseconds, and a Debian.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::world::World;

/// The static busybox of this machine.
pub fn busybox() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let candidates = ["/bin/busybox", "/usr/bin/busybox"];
    FOUND
        .get_or_init(|| candidates.map(PathBuf::from).into_iter().find(|path| path.exists()))
        .as_deref()
}

/// Copies a program, by a process of its own: what a thread beside this one forks in the moment of
/// copying has the copy open for writing until it executes, and then nobody can execute it (ETXTBSY).
pub fn install(program: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg(program).arg(to).status().context("start cp")?;
    ensure!(status.success(), "copy {} to {}: {status}", program.display(), to.display());
    Ok(())
}

/// A Debian with systemd, never to be written to: `SYSC_DEBIAN`, which `cargo xtask test` sets.
pub fn debian() -> Option<PathBuf> {
    let dir = std::env::var_os("SYSC_DEBIAN").map(PathBuf::from)?;
    dir.join("usr/lib/systemd/systemd").exists().then_some(dir)
}

/// A Debian with docker and podman in it, never to be written to: `SYSC_DEBIAN_ENGINES`.
pub fn debian_with_engines() -> Option<PathBuf> {
    let dir = std::env::var_os("SYSC_DEBIAN_ENGINES").map(PathBuf::from)?;
    let has = |program: &str| dir.join(program).exists();
    (has("usr/sbin/dockerd") && has("usr/bin/podman")).then_some(dir)
}

fn applets() -> &'static [String] {
    static LIST: OnceLock<Vec<String>> = OnceLock::new();
    LIST.get_or_init(|| {
        let output = busybox().and_then(|path| Command::new(path).arg("--list").output().ok());
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    })
}

impl World {
    /// A new rootfs with busybox under every one of its names.
    pub fn busybox(&self) -> Result<PathBuf> {
        let root = self.new_directory("busybox")?;
        for dir in ["bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "var"] {
            fs::create_dir(root.join(dir))?;
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        let busybox = busybox().context("no static busybox")?;
        install(busybox, &root.join("bin/busybox"))?;
        for applet in applets().iter().filter(|name| *name != "busybox") {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
        )?;
        fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n")?;
        Ok(root)
    }

    /// A new rootfs with Debian and systemd: the shared tree below, writes in this world's tmpfs.
    pub fn debian(&self) -> Result<PathBuf> {
        self.above(&debian().context("no Debian rootfs")?)
    }

    /// The same with docker and podman.
    pub fn debian_with_engines(&self) -> Result<PathBuf> {
        self.above(&debian_with_engines().context("no Debian rootfs with engines")?)
    }

    fn above(&self, lower: &Path) -> Result<PathBuf> {
        let dir = self.new_directory("debian")?;
        for part in ["upper", "work", "root"] {
            fs::create_dir(dir.join(part))?;
        }
        let root = dir.join("root");
        let (upper, work) = (dir.join("upper"), dir.join("work"));
        self.mount(
            "overlay",
            &root,
            &format!(
                "lowerdir={},upperdir={},workdir={}",
                lower.display(),
                upper.display(),
                work.display()
            ),
        )?;
        Ok(root)
    }

    /// An ext4 image of `tree`: what every kernel can map the ids of.
    pub fn ext4_image(&self, tree: &Path) -> Result<PathBuf> {
        let image = self.new_directory("disk")?.join("image");
        fs::File::create(&image)?.set_len(2 << 30)?;
        self.tool("mkfs.ext4").args(["-q", "-F", "-d"]).arg(tree).arg(&image).ok()?;
        Ok(image)
    }

    /// `tree` on an ext4 of its own, mounted; taken away with the world.
    pub fn on_ext4(&self, tree: &Path) -> Result<PathBuf> {
        let image = self.ext4_image(tree)?;
        let root = self.new_directory("mounted")?;
        self.tool("mount").args(["-o", "loop"]).arg(&image).arg(&root).ok()?;
        self.will_unmount(&root);
        Ok(root)
    }

    /// The same as a plain copy: an overlay cannot be idmapped.
    pub fn debian_copy(&self) -> Result<PathBuf> {
        let lower = debian().context("no Debian rootfs")?;
        let dir = self.new_directory("debian")?;
        self.tool("cp").arg("-a").arg(lower.join(".")).arg(&dir).ok()?;
        Ok(dir)
    }
}
