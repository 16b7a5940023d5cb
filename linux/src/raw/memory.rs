//! Pages that the process has no more use for: of its own, unwritten text, of its stack and heap.

/// Takes the pages from the page tables; a later access brings them back from the file.
///
/// `range` is a mapping of a file that this process cannot write to and never could.
pub(crate) fn forget_clean(range: std::ops::Range<usize>) -> rustix::io::Result<()> {
    let address = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: MADV_DONTNEED on pages that hold what their file holds changes no memory that anyone
    // can see; that they do is the caller's promise.
    // JUSTIFICATION: rustix has no safe form, as for other memory the call throws data away.
    unsafe { rustix::mm::madvise(address, range.len(), rustix::mm::Advice::LinuxDontNeed) }
}

/// Takes away what lies in `stack` below the frames that are in use, if it is the caller's own: pages
/// that deeper calls have left. The next deep call gets empty ones.
pub(crate) fn forget_dead_stack(stack: &std::ops::Range<usize>) -> rustix::io::Result<()> {
    /// For the frames of the calls made here, and what the kernel may put below for a signal.
    const IN_USE: usize = 16 * 1024;
    let here = std::ptr::from_ref(stack).addr();
    if !stack.contains(&here) {
        return Ok(());
    }
    let end = here.saturating_sub(IN_USE) / rustix::param::page_size() * rustix::param::page_size();
    let address = std::ptr::with_exposed_provenance_mut(stack.start);
    // SAFETY: memory below the stack pointer belongs to nobody, and the lowest frame that can be
    // referred to, this one, is IN_USE bytes above the end.
    // JUSTIFICATION: as for `forget_clean`.
    unsafe {
        rustix::mm::madvise(
            address,
            end.saturating_sub(stack.start),
            rustix::mm::Advice::LinuxDontNeed,
        )
    }
}

/// Gives the heap's free pages back to the kernel, also those between pages in use.
///
/// Only glibc keeps what it has once had, and only there is the call.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: glibc's malloc is this process's allocator, locks itself, and gives back no page that
    // holds a byte of an allocation.
    // JUSTIFICATION: no crate wraps it.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has every thread take from the one heap.
pub(crate) fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) changes a setting of the allocator, which locks itself.
    // JUSTIFICATION: no crate wraps it.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
