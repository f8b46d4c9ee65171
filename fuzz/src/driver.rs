//! Changes inputs and keeps those whose outcome is new.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use secateur_testkit::bytes::changed;
use secateur_testkit::random::Random;

use crate::seeds;
use crate::targets::Target;

/// Pieces that most formats here are made of.
const TOKENS: [&[u8]; 24] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"0",
    b"1",
    b"-",
    b"9e999",
    b"1/0",
    b"(",
    b")",
    b"\n",
    b" ",
    b"\0\0\0\0\0\0\0\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"null",
    b"=",
    b"\x80",
    b"F64",
    b"18446744073709551616",
];
/// Most inputs kept beside the first ones.
const KEPT: usize = 4000;

/// What came of one target.
pub struct Run {
    pub inputs: usize,
    pub outcomes: usize,
    /// The inputs that panicked, and where they lie.
    pub found: Vec<PathBuf>,
}

/// Runs a target until `enough(inputs)`; the same seed makes the same inputs.
pub fn fuzz(target: &Target, seed: u64, found: &Path, mut enough: impl FnMut(usize) -> bool) -> Run {
    let mut random = Random(seed);
    let mut pool = seeds::corpus(target.name);
    pool.extend((target.seeds)());
    let first = pool.clone();
    let mut seen = BTreeSet::new();
    let mut run = Run { inputs: 0, outcomes: 0, found: Vec::new() };
    while run.inputs < first.len() || !enough(run.inputs) {
        let input = match first.get(run.inputs) {
            Some(input) => input.clone(),
            None => {
                let seed = random.below(pool.len());
                changed(&mut random, &pool[seed], &TOKENS)
            }
        };
        run.inputs += 1;
        match catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
            Ok(outcome) => {
                if seen.insert(outcome) && pool.len() < first.len() + KEPT && run.inputs > first.len() {
                    pool.push(input);
                }
            }
            Err(_) => {
                std::fs::create_dir_all(found).expect("a folder for findings");
                let path = found.join(format!("{}-{}", target.name, run.inputs));
                std::fs::write(&path, &input).expect("written");
                run.found.push(path);
                if run.found.len() == 5 {
                    break;
                }
            }
        }
    }
    run.outcomes = seen.len();
    run
}

/// Enough after this long.
pub fn until(time: Duration) -> impl FnMut(usize) -> bool {
    let begun = Instant::now();
    move |_| begun.elapsed() >= time
}
