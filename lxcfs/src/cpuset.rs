//! A set of CPU numbers and its two kernel spellings: the list `0-3,8` and the mask `ff,0000000f`.
//!
//! Documentation/admin-guide/cgroup-v2.rst (cpuset.cpus), bitmap_parselist in lib/bitmap-str.c.

use std::fmt;

/// The largest CPU number any supported kernel can be built for (`NR_CPUS` of x86-64 and arm64).
const MAX_CPU: u32 = 8191;

/// CPU numbers, ascending.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct CpuSet(Vec<u64>);

impl CpuSet {
    /// `0, 1, ... count - 1`.
    pub fn first(count: usize) -> CpuSet {
        (0..u32::try_from(count).unwrap_or(MAX_CPU)).collect()
    }

    /// Reads the kernel's list format; `None` for anything else. An empty text is an empty set.
    pub fn parse(text: &[u8]) -> Option<CpuSet> {
        let mut set = CpuSet::default();
        let text = text.trim_ascii();
        if text.is_empty() {
            return Some(set);
        }
        for range in text.split(|&byte| byte == b',') {
            let mut ends = range.splitn(2, |&byte| byte == b'-');
            let first = cpu_number(ends.next()?)?;
            let last = ends.next().map_or(Some(first), cpu_number)?;
            if last < first {
                return None;
            }
            for cpu in first..=last {
                set.insert(cpu);
            }
        }
        Some(set)
    }

    /// Adds one CPU; numbers no kernel can have are left out.
    pub fn insert(&mut self, cpu: u32) {
        if cpu > MAX_CPU {
            return;
        }
        let word = (cpu / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (cpu % 64);
    }

    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.get((cpu / 64) as usize).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }

    /// How many CPUs are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// Every CPU, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.0).flat_map(|(index, &word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * 64 + bit)
        })
    }

    /// The CPUs in both sets.
    pub fn and(&self, other: &CpuSet) -> CpuSet {
        self.iter().filter(|&cpu| other.contains(cpu)).collect()
    }

    /// The mask spelling: groups of 32 bits, highest first, for `possible` CPUs.
    pub fn mask(&self, possible: usize) -> String {
        let groups = possible.max(1).div_ceil(32);
        let digits = possible.max(1).div_ceil(4);
        let mut text = String::new();
        for group in (0..groups).rev() {
            let word =
                self.0.get(group / 2).copied().unwrap_or(0) >> (32 * (group % 2)) & 0xffff_ffff;
            let width = if group == groups - 1 { digits - 8 * (groups - 1) } else { 8 };
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&format!("{word:0width$x}"));
        }
        text
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> CpuSet {
        let mut set = CpuSet::default();
        for cpu in cpus {
            set.insert(cpu);
        }
        set
    }
}

/// The list spelling, `0-3,8`.
impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

fn cpu_number(text: &[u8]) -> Option<u32> {
    let cpu = u32::try_from(crate::text::number(text)?).ok()?;
    (cpu <= MAX_CPU).then_some(cpu)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_parse_and_print() {
        for text in ["", "0", "0-3,8", "1,3,5", "0-1,63-64,8191"] {
            assert_eq!(CpuSet::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        assert_eq!(CpuSet::parse(b"3,0-1\n").unwrap().to_string(), "0-1,3");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a", "1-", "3-1", "1,,2", "8192", "-1"] {
            assert_eq!(CpuSet::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn masks_are_the_kernels() {
        assert_eq!(CpuSet::first(2).mask(2), "3");
        assert_eq!(CpuSet::first(5).mask(8), "1f");
        assert_eq!(CpuSet::first(33).mask(40), "01,ffffffff");
        assert_eq!(CpuSet::default().mask(64), "00000000,00000000");
    }

    proptest! {
        #[test]
        fn print_is_the_inverse_of_parse(cpus in proptest::collection::btree_set(0u32..8192, 0..40)) {
            let set: CpuSet = cpus.iter().copied().collect();
            prop_assert_eq!(CpuSet::parse(set.to_string().as_bytes()), Some(set.clone()));
            prop_assert_eq!(set.len(), cpus.len());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), cpus.into_iter().collect::<Vec<_>>());
        }
    }
}
