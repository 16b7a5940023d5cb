//! CPUs and memory nodes to run on, and their list format: `0-3,8`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::kernfs::read_text;
use super::plan::{Plan, Setting};
use super::resources::Cpuset;
use super::{Cgroup, Version};
use crate::error::{Errno, Error, Result};

/// Larger than any kernel's NR_CPUS; keeps a short text from becoming a long list.
const NUMBER_MAX: u32 = 65_535;

/// A set of CPU or node numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuList(BTreeSet<u32>);

impl CpuList {
    /// The numbers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `number` is among them.
    pub fn contains(&self, number: u32) -> bool {
        self.0.contains(&number)
    }
}

impl FromIterator<u32> for CpuList {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

impl FromStr for CpuList {
    type Err = Error;

    /// Numbers and ranges with commas between; an empty text is an empty list.
    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number <= NUMBER_MAX);
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(number(first)?..=number(last)?).filter(|range| !range.is_empty())
        };
        let mut list = Self::default();
        for part in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
            let range = range(part).ok_or_else(|| {
                Error::new(format!("CPU list {text:?}"), Errno::INVAL)
                    .with_hint("write numbers and ranges, as in 0-3,8")
            })?;
            list.0.extend(range);
        }
        Ok(list)
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while let Some(next) = numbers.next_if_eq(&(last + 1)) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl Cgroup {
    pub(super) fn plan_cpuset(&self, cpuset: &Cpuset, plan: &mut Plan) -> Result<()> {
        let files =
            [("cpu.cpus", "cpuset.cpus", &cpuset.cpus), ("cpu.mems", "cpuset.mems", &cpuset.mems)];
        for (member, file, value) in files {
            let Some(value) = value else { continue };
            let list: CpuList = value
                .parse()
                .map_err(|error: Error| error.within(format!("linux.resources.{member}")))?;
            let place = self.place_for(member, "cpuset")?;
            // v1 takes an empty list too, and refuses processes afterwards.
            if list.is_empty() && place.hierarchy.version == Version::V1 {
                let call = format!("linux.resources.{member}: empty list");
                return Err(Error::new(call, Errno::INVAL).with_hint("name at least one"));
            }
            plan.push(&place.dir, Setting::new(member, file, value));
        }
        Ok(())
    }

    /// CPUs its processes may run on, after parents and hot-plug have had their say.
    pub fn effective_cpus(&self) -> Result<Option<CpuList>> {
        self.effective("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")
    }

    /// Memory nodes its processes may use.
    pub fn effective_mems(&self) -> Result<Option<CpuList>> {
        self.effective("cpuset.mems.effective", "cpuset.effective_mems", "cpuset.mems")
    }

    fn effective(&self, v2: &str, v1: &str, asked: &str) -> Result<Option<CpuList>> {
        let Some(place) = self.place_with("cpuset") else { return Ok(None) };
        let file = match place.hierarchy.version {
            Version::V1 => v1,
            Version::V2 => v2,
        };
        for dir in place.up_the_tree() {
            // A v1 cpuset whose CPUs are all offline shows an empty effective list for a moment.
            for name in [file, asked] {
                let path = dir.join(name);
                let text = match read_text(&path) {
                    Ok(text) => text,
                    Err(Errno::NOENT | Errno::NODEV) => continue,
                    Err(errno) => {
                        return Err(Error::new(format!("read {}", path.display()), errno));
                    }
                };
                let list: CpuList = text.parse()?;
                if !list.is_empty() {
                    return Ok(Some(list));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for (input, printed, len) in [("0-3,8\n", "0-3,8", 5), ("3,1,2", "1-3", 3), ("", "", 0)] {
            let list: CpuList = input.parse().unwrap();
            assert_eq!((list.to_string().as_str(), list.len()), (printed, len));
        }
        for input in ["a", "1-", "3-1", "1,,2", "0-4294967295"] {
            let error = input.parse::<CpuList>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "CPU list {input:?}: invalid argument (EINVAL); \
                     write numbers and ranges, as in 0-3,8"
                )
            );
        }
    }

    proptest! {
        #[test]
        fn parse_is_the_inverse_of_print(numbers in proptest::collection::btree_set(0u32..300, 0..40)) {
            let list: CpuList = numbers.into_iter().collect();
            prop_assert_eq!(list.to_string().parse::<CpuList>().unwrap(), list);
        }

        #[test]
        fn never_panics(text in "[0-9,-]{0,30}") {
            let _ = text.parse::<CpuList>();
        }
    }
}
