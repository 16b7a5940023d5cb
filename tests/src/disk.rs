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

    /// Gives it as many partitions of 2 MiB, as a partition table that was read anew does. Asked of
    /// the kernel directly: not every kernel reads every kind of table.
    pub fn partition(&self, count: u32) -> Result<()> {
        let name = self.path.trim_start_matches("/dev/");
        let part = |number: u32| format!("/sys/class/block/{name}p{number}");
        for number in 1..=16 {
            let is_there = std::path::Path::new(&part(number)).exists();
            let number_text = number.to_string();
            if number <= count && !is_there {
                let first = (2048 + 4096 * number).to_string();
                let arguments = [&*self.path, &number_text, &first, "4096"];
                self.world.tool("addpart").args(arguments).ok()?;
            } else if number > count && is_there {
                self.world.tool("delpart").args([&*self.path, &number_text]).ok()?;
            }
        }
        Ok(())
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
