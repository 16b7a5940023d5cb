//! `/proc/slabinfo`: the two header lines. Slab caches are the host's alone.

/// The kernel's header (mm/slab_common.c, `print_slabinfo_header`).
pub const EMPTY: &[u8] = b"slabinfo - version: 2.1\n\
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
: tunables <limit> <batchcount> <sharedfactor> \
: slabdata <active_slabs> <num_slabs> <sharedavail>\n";

#[cfg(test)]
mod tests {
    #[test]
    fn header_only() {
        assert_eq!(super::EMPTY.iter().filter(|&&byte| byte == b'\n').count(), 2);
    }
}
