//! Disks of a world.

use anyhow::Result;

use crate::World;

/// A loop device on a file of the world's, freed with this value.
#[derive(Debug)]
pub struct Disk<'w> {
    world: &'w World,
    pub path: String,
}

impl<'w> Disk<'w> {
    /// One of 16 MiB.
    pub fn new(world: &'w World) -> Result<Self> {
        let image = world.new_directory("disk")?.join("image");
        std::fs::File::create(&image)?.set_len(16 << 20)?;
        let output =
            world.tool("losetup").args(["--find", "--show", "--partscan"]).arg(&image).ok()?;
        Ok(Self { world, path: output.line().to_owned() })
    }

    /// Its device number, `7:0`.
    pub fn number(&self) -> Result<String> {
        let output = self.world.tool("lsblk").args(["-dno", "MAJ:MIN", &self.path]).ok()?;
        Ok(output.line().trim().to_owned())
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // What this leaves, the look around at the end reports.
        let _ = self.world.tool("losetup").args(["--detach", &self.path]).output();
    }
}
