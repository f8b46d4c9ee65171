//! Changes inputs and keeps those whose outcome is new.

use std::collections::BTreeMap;
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
    /// The shortest input of each outcome.
    pub outcomes: BTreeMap<String, Vec<u8>>,
    /// The inputs that panicked, and where they lie.
    pub found: Vec<PathBuf>,
}

/// Runs a target until `enough(inputs)`; the same seed makes the same inputs.
pub fn fuzz(target: &Target, seed: u64, found: &Path, mut enough: impl FnMut(usize) -> bool) -> Run {
    let mut random = Random(seed);
    let mut pool: Vec<Vec<u8>> = seeds::corpus(target.name).into_iter().map(|(_, bytes)| bytes).collect();
    pool.extend((target.seeds)());
    let first = pool.clone();
    let mut run = Run { inputs: 0, outcomes: BTreeMap::new(), found: Vec::new() };
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
                let shortest = run.outcomes.get(&outcome);
                if shortest.is_none() && pool.len() < first.len() + KEPT && run.inputs > first.len() {
                    pool.push(input.clone());
                }
                if shortest.is_none_or(|shortest| input.len() < shortest.len()) {
                    run.outcomes.insert(outcome, input);
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
    run
}

/// A shorter input of the same outcome: pieces are left out, from halves to single bytes, as long as `tries` last.
pub fn shorten(target: &Target, input: &[u8], outcome: &str, mut tries: usize) -> Vec<u8> {
    let mut input = input.to_vec();
    let mut piece = input.len() / 2;
    while piece > 0 && tries > 0 {
        let mut at = 0;
        while at < input.len() && tries > 0 {
            tries -= 1;
            let rest = input.len().min(at + piece);
            let shorter = [&input[..at], &input[rest..]].concat();
            match catch_unwind(AssertUnwindSafe(|| (target.run)(&shorter))) {
                Ok(same) if same == outcome => input = shorter,
                _ => at += piece,
            }
        }
        piece /= 2;
    }
    input
}

/// Enough after this long.
pub fn until(time: Duration) -> impl FnMut(usize) -> bool {
    let begun = Instant::now();
    move |_| begun.elapsed() >= time
}
