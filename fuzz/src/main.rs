//! `secateur-fuzz [--seconds N] [--seed N] [TARGET...]`, or `secateur-fuzz TARGET FILE`. `fuzz/README.md`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use secateur_fuzz::driver::{fuzz, until};
use secateur_fuzz::seeds::root;
use secateur_fuzz::targets::{TARGETS, Target};

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut rest) = (60u64, 1u64, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok());
        match word.as_str() {
            "--seconds" => seconds = number().expect("--seconds N"),
            "--seed" => seed = number().expect("--seed N"),
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
            run.outcomes,
            run.found.len()
        );
        run.found.iter().for_each(|path| println!("  {}", path.display()));
        found += run.found.len();
    }
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
