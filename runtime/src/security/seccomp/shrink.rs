//! The same filter in a quarter of the instructions.
//!
//! libseccomp compares with each number that a profile names, and a profile names most of them.
//! The kernel translates every instruction when it loads a filter, and then runs it once for each
//! call to see which are always allowed (seccomp_cache_prepare(), kernel/seccomp.c): for a usual
//! profile 0.4 ms of every start and every exec. Calls that neighbours in number are mostly treated
//! alike, so here the program is asked what it does with each number, and ranges of numbers with
//! one answer are searched by halves.
//!
//! Asking is evaluation with the architecture and the number known and the arguments not: what
//! remains of the program is a tree of comparisons with arguments. Whatever does not fit that
//! picture leaves the program as it is.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use linux::raw::seccomp::Instruction;

use super::newer::{JEQ, JGE, JGT, OFFSET_ARCH, OFFSET_NUMBER};

/// `BPF_LD | BPF_W | BPF_ABS` and so on (linux/bpf_common.h): all that libseccomp writes.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JSET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Comparisons and jumps on the way through the program for one number. More of them would be a
/// profile of hundreds of arguments, whose program would not become shorter.
const LONGEST_WALK: u32 = 2000;

/// A conditional jump goes no further.
const NEAR: usize = u8::MAX as usize;

/// A shorter program that decides as `program` does; none if there is none.
pub(super) fn shrink(program: &[Instruction]) -> Option<Vec<Instruction>> {
    let starts = starts(program);
    // Architectures that the program knows, and one that it does not.
    let mut known = BTreeSet::new();
    let other = loop {
        let other = (0..=u32::MAX).find(|arch| !known.contains(arch))?;
        let before = known.len();
        for arch in known.clone().into_iter().chain([other]) {
            ranges(program, arch, &starts, &mut known)?;
        }
        if known.len() == before {
            break other;
        }
    };
    if known.is_empty() {
        return None;
    }
    let all = |arch| ranges(program, arch, &starts, &mut known.clone());
    let mut code = Code::default();
    let mut next = code.numbers(&all(other)?);
    let bodies: Vec<_> = known
        .iter()
        .map(|arch| Some((*arch, code.numbers(&all(*arch)?))))
        .collect::<Option<_>>()?;
    for (arch, body) in bodies {
        next = code.branch(JEQ, arch, body, next);
    }
    code.push(LOAD, OFFSET_ARCH);
    code.reversed.reverse();
    (code.reversed.len() < program.len()).then_some(code.reversed)
}

/// Numbers from which on the program may decide differently than below: it compares for equality
/// and order only.
fn starts(program: &[Instruction]) -> BTreeSet<u32> {
    let compared = program.iter().filter(|it| matches!(it.code, JEQ | JGT | JGE)).map(|it| it.k);
    compared.flat_map(|k| [Some(k), k.checked_add(1)]).flatten().chain([0]).collect()
}

/// Ranges of numbers, by their first, and what happens to calls in them.
fn ranges(
    program: &[Instruction],
    arch: u32,
    starts: &BTreeSet<u32>,
    known: &mut BTreeSet<u32>,
) -> Option<Vec<(u32, Outcome)>> {
    let mut ranges: Vec<(u32, Outcome)> = Vec::new();
    for &number in starts {
        let mut walk = Walk { program, arch, number, known, left: LONGEST_WALK };
        let outcome = walk.from(0, Accumulator::Unset)?;
        if ranges.last().is_none_or(|(_, last)| *last != outcome) {
            ranges.push((number, outcome));
        }
    }
    Some(ranges)
}

/// What remains of a program once architecture and number are known.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Outcome {
    Answer(u32),
    Test(Rc<Test>),
}

/// A comparison with 32 bits of the arguments.
#[derive(PartialEq, Eq, Hash)]
struct Test {
    offset: u32,
    mask: u32,
    code: u16,
    k: u32,
    yes: Outcome,
    no: Outcome,
}

/// One evaluation.
struct Walk<'a> {
    program: &'a [Instruction],
    arch: u32,
    number: u32,
    /// Takes each architecture that is compared with.
    known: &'a mut BTreeSet<u32>,
    left: u32,
}

#[derive(Clone, Copy)]
enum Accumulator {
    Unset,
    Arch,
    Number,
    Argument { offset: u32, mask: u32 },
}

impl Walk<'_> {
    fn from(&mut self, mut at: usize, mut a: Accumulator) -> Option<Outcome> {
        loop {
            self.left = self.left.checked_sub(1)?;
            let Instruction { code, jt, jf, k } = *self.program.get(at)?;
            at += 1;
            let forward = |steps: u8| at + usize::from(steps);
            match (code, a) {
                (RETURN, _) => return Some(Outcome::Answer(k)),
                (JUMP, _) => at += usize::try_from(k).ok()?,
                (LOAD, _) => {
                    a = match k {
                        OFFSET_ARCH => Accumulator::Arch,
                        OFFSET_NUMBER => Accumulator::Number,
                        offset => Accumulator::Argument { offset, mask: u32::MAX },
                    };
                }
                (AND, Accumulator::Argument { offset, mask }) => {
                    a = Accumulator::Argument { offset, mask: mask & k };
                }
                (JEQ, Accumulator::Arch) => {
                    self.known.insert(k);
                    at = forward(if self.arch == k { jt } else { jf });
                }
                (JEQ, Accumulator::Number) => at = forward(if self.number == k { jt } else { jf }),
                (JGT, Accumulator::Number) => at = forward(if self.number > k { jt } else { jf }),
                (JGE, Accumulator::Number) => at = forward(if self.number >= k { jt } else { jf }),
                (JEQ | JGT | JGE | JSET, Accumulator::Argument { offset, mask }) => {
                    let yes = self.from(forward(jt), a)?;
                    let no = self.from(forward(jf), a)?;
                    if yes == no {
                        return Some(yes);
                    }
                    let test = Test { offset, mask, code, k, yes, no };
                    return Some(Outcome::Test(Rc::new(test)));
                }
                _ => return None,
            }
        }
    }
}

/// A program that is written from its end, as jumps go forward only: what is jumped to is there.
/// A place is the number of instructions after it.
#[derive(Default)]
struct Code {
    reversed: Vec<Instruction>,
    written: HashMap<Outcome, usize>,
}

impl Code {
    fn push(&mut self, code: u16, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt: 0, jf: 0, k });
        self.reversed.len() - 1
    }

    /// How many instructions the next one has to pass over to get to `place`.
    fn distance(&self, place: usize) -> usize {
        self.reversed.len() - place - 1
    }

    fn branch(&mut self, code: u16, k: u32, yes: usize, no: usize) -> usize {
        let (mut yes, mut no) = (yes, no);
        let steps = loop {
            match (u8::try_from(self.distance(yes)), u8::try_from(self.distance(no))) {
                (Ok(jt), Ok(jf)) => break (jt, jf),
                (Err(_), _) => yes = self.jump(yes),
                (_, Err(_)) => no = self.jump(no),
            }
        };
        self.reversed.push(Instruction { code, jt: steps.0, jf: steps.1, k });
        self.reversed.len() - 1
    }

    fn jump(&mut self, place: usize) -> usize {
        let distance = u32::try_from(self.distance(place)).expect("programs are short");
        self.push(JUMP, distance)
    }

    fn outcome(&mut self, outcome: &Outcome) -> usize {
        let near = match outcome {
            // As short as a jump to it.
            Outcome::Answer(_) => NEAR / 2,
            Outcome::Test(_) => usize::MAX,
        };
        if let Some(&place) = self.written.get(outcome)
            && self.distance(place) < near
        {
            return place;
        }
        let place = match outcome {
            Outcome::Answer(answer) => self.push(RETURN, *answer),
            Outcome::Test(test) => {
                let (no, yes) = (self.outcome(&test.no), self.outcome(&test.yes));
                self.branch(test.code, test.k, yes, no);
                if test.mask != u32::MAX {
                    self.push(AND, test.mask);
                }
                self.push(LOAD, test.offset)
            }
        };
        self.written.insert(outcome.clone(), place);
        place
    }

    /// The search for a number in `ranges`.
    fn numbers(&mut self, ranges: &[(u32, Outcome)]) -> usize {
        let place = self.search(ranges);
        if ranges.len() == 1 { place } else { self.push(LOAD, OFFSET_NUMBER) }
    }

    fn search(&mut self, ranges: &[(u32, Outcome)]) -> usize {
        if let [(_, outcome)] = ranges {
            return self.outcome(outcome);
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let from = high[0].0;
        let (high, low) = (self.search(high), self.search(low));
        self.branch(JGE, from, high, low)
    }
}
