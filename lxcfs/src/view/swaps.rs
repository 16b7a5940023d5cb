//! `/proc/swaps`: the header, and one virtual device where the container has swap.

use crate::text;

/// The kernel's header line (mm/swapfile.c, `swap_show`).
const HEADER: &[u8] = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

/// Writes the device of `total_kb`, of which `free_kb` is free; nothing but the header for none.
pub fn render(total_kb: u64, free_kb: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(HEADER);
    if total_kb == 0 {
        return;
    }
    out.extend_from_slice(b"none                                    virtual\t\t");
    text::push_number(out, total_kb);
    out.extend_from_slice(if total_kb < 10_000_000 { b"\t\t" } else { b"\t" });
    text::push_number(out, total_kb.saturating_sub(free_kb));
    out.extend_from_slice(b"\t\t0\n");
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn one_device_or_none() {
        let mut out = Vec::new();
        render(262_144, 258_048, &mut out);
        expect![[r#"
            Filename				Type		Size		Used		Priority
            none                                    virtual		262144		4096		0
        "#]]
        .assert_eq(&String::from_utf8_lossy(&out));
        out.clear();
        render(0, 0, &mut out);
        assert_eq!(out, HEADER);
    }
}
