//! `secateur-fuzz [--seconds N] [--seed N] [TARGET...]`, `secateur-fuzz --corpus INPUTS [--seed N] [TARGET...]`, or
//! `secateur-fuzz TARGET FILE`. `fuzz/README.md`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use secateur_fuzz::driver::{fuzz, shorten, until};
use secateur_fuzz::seeds::{corpus, corpus_folder, file_name, outcome_of, root};
use secateur_fuzz::targets::{TARGETS, Target};

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut inputs, mut rest) = (60u64, 1u64, None, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok());
        match word.as_str() {
            "--seconds" => seconds = number().expect("--seconds N"),
            "--seed" => seed = number().expect("--seed N"),
            "--corpus" => inputs = Some(number().expect("--corpus INPUTS") as usize),
            _ => rest.push(word),
        }
    }
    let named = |name: &str| TARGETS.iter().find(|target| target.name == name);
    if let [name, file] = rest.as_slice()
        && let (Some(target), true) = (named(name), Path::new(file).is_file())
    {
        println!("{}", (target.run)(&std::fs::read(file).expect("readable")));
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<&Target> = if rest.is_empty() {
        TARGETS.iter().collect()
    } else {
        rest.iter().map(|name| named(name).unwrap_or_else(|| panic!("no target is called {name}"))).collect()
    };
    if let Some(inputs) = inputs {
        chosen.into_iter().for_each(|target| write_corpus(target, seed, inputs));
        return ExitCode::SUCCESS;
    }
    let shares: u32 = chosen.iter().map(|target| target.shares()).sum();
    let mut found = 0;
    for target in chosen {
        let run = fuzz(
            target,
            seed,
            &root().join("fuzz/found"),
            until(Duration::from_secs(seconds) * target.shares() / shares),
        );
        println!(
            "{:16} {:9} inputs {:6} outcomes {} found",
            target.name,
            run.inputs,
            run.outcomes.len(),
            run.found.len()
        );
        run.found.iter().for_each(|path| println!("  {}", path.display()));
        found += run.found.len();
    }
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Largest committed input; what needs a longer one is found again from the files it is a change of.
const LARGEST: usize = 12 << 10;

/// Writes one short input of each outcome into the target's folder, keeping those that are there and still fit their names.
fn write_corpus(target: &Target, seed: u64, inputs: usize) {
    let folder = corpus_folder(target.name);
    std::fs::create_dir_all(&folder).expect("a folder for the corpus");
    let mut kept = std::collections::BTreeSet::new();
    for (name, bytes) in corpus(target.name) {
        if file_name(&(target.run)(&bytes)) == outcome_of(&name) {
            kept.insert(outcome_of(&name).to_owned());
        } else {
            std::fs::remove_file(folder.join(name)).expect("removed");
        }
    }
    let run = fuzz(target, seed, &root().join("fuzz/found"), |tried| tried >= inputs);
    let (mut written, mut large) = (0, 0);
    for (outcome, input) in run.outcomes {
        if kept.contains(&file_name(&outcome)) {
            continue;
        }
        let input = shorten(target, &input, &outcome, inputs / 10);
        if input.len() > LARGEST {
            large += 1;
            continue;
        }
        std::fs::write(folder.join(file_name(&outcome)), input).expect("written");
        written += 1;
    }
    println!("{:16} {written} written, {} kept, {large} too large", target.name, kept.len());
}
