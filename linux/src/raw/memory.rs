//! madvise(2) over a part of the program's own, unwritten text.

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
