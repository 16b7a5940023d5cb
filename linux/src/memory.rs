//! The memory of the calling program itself.

use std::ops::Range;

use crate::{Context as _, Result, file};

const MAPS: &str = "/proc/self/maps";

/// Gives back the free pages of the heap, those that deep calls have left on the stack, and those of
/// the program's own code and constants, which the page cache keeps: those that are still used come
/// back at their next use, a fault each; those that only the start needed do not. For a process that
/// has a long, quiet life before it.
///
/// # Errors
/// /proc is not there, or madvise(2) fails.
pub fn forget_startup() -> Result<()> {
    crate::raw::memory::trim_heap();
    let maps = file::read_to_string(MAPS)?;
    for range in text(&maps) {
        let shown = format!("give back the pages {:x}-{:x}", range.start, range.end);
        crate::raw::memory::forget_clean(range).during(|| shown)?;
    }
    if let Some(stack) = stack(&maps) {
        crate::raw::memory::forget_dead_stack(&stack).during(|| "give back pages of the stack")?;
    }
    Ok(())
}

/// Has every thread take from the one heap, for a program whose threads are few and do little: a
/// heap of its own costs a thread four changes of the address space, which wait for each other.
pub fn share_heap() {
    crate::raw::memory::one_heap();
}

/// The stack of the first thread.
fn stack(maps: &str) -> Option<Range<usize>> {
    maps.lines().find(|line| line.ends_with("[stack]")).and_then(bounds)
}

fn bounds(line: &str) -> Option<Range<usize>> {
    let (from, to) = line.split_ascii_whitespace().next()?.split_once('-')?;
    let parse = |text| usize::from_str_radix(text, 16).ok();
    Some(parse(from)?..parse(to)?)
}

/// The program's segments that nobody has ever written to: those of a file, up to the last
/// executable one. What follows that may be read-only too, but was written by the loader before
/// (relocations).
fn text(maps: &str) -> Vec<Range<usize>> {
    // A line: FROM-TO PERMISSIONS OFFSET DEVICE INODE PATH (proc_pid_maps(5)).
    let mut found = Vec::new();
    let mut whole = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (Some(bounds), Some(permissions)) = (bounds(line), fields.next()) else { break };
        let is_of_file = fields.nth(2).is_some_and(|inode| inode != "0");
        if !is_of_file || permissions.contains('w') {
            break;
        }
        found.push(bounds);
        if permissions.contains('x') {
            whole.append(&mut found);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_ends_before_what_the_loader_wrote() {
        let maps = "\
00200000-002fa000 r--p 00000000 fe:00 77 /isula-shim
002fa000-00697000 r-xp 000f9000 fe:00 77 /isula-shim
00698000-006e5000 r--p 00496000 fe:00 77 /isula-shim
006e5000-006e8000 rw-p 004e2000 fe:00 77 /isula-shim
19449000-1946b000 rw-p 00000000 00:00 0  [heap]
7f7aac85e000-7f7aac861000 r-xp 00000000 fe:00 78 /other
";
        assert_eq!(super::text(maps), [0x20_0000..0x2f_a000, 0x2f_a000..0x69_7000]);
        assert_eq!(super::text(""), []);
        assert_eq!(super::text("7ff0-7ff1 r-xp 0 00:00 0 [vdso]\n"), []);
    }

    #[test]
    fn the_stack_is_the_one_so_called() {
        let maps =
            "19449000-1946b000 rw-p 0 00:00 0 [heap]\n7ffd0000-7fff0000 rw-p 0 00:00 0 [stack]\n";
        assert_eq!(super::stack(maps), Some(0x7ffd_0000..0x7fff_0000));
        assert_eq!(super::stack(""), None);
    }

    #[test]
    fn the_program_goes_on() {
        super::forget_startup().unwrap();
        assert_eq!([1, 2, 3].iter().sum::<i32>(), 6);
    }
}
