//! The main job from the library: certifies a committed policy under its five pruning masks, and reads from what was
//! verified whether pruning made it easier to push.
//!
//!     cargo run --release --example audit -- /tmp/pendulum

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use secateur::audit::{AuditError, AuditMasks, AuditOptions, AuditOutcome, audit};
use secateur::progress::Silent;
use secateur_checker::family::Family;
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::Rational;

/// An adversary that moves each normalised coordinate by at most 0.05, at the first twenty committed states.
fn options(fixture: &Path, out: PathBuf) -> AuditOptions {
    let radius = Rational::parse("0.05").expect("a decimal");
    let set = PerturbationSet { shape: Perturbation::Linf { radius }, units: Units::Normalised };
    AuditOptions {
        masks: AuditMasks::Directory(fixture.join("masks")),
        limit: Some(20),
        families: vec![Family::Sensitivity, Family::Ibp, Family::Crown],
        ..AuditOptions::new(fixture.to_owned(), fixture.join("states.npy"), set, out)
    }
}

fn report(outcome: &AuditOutcome) {
    let certificate = outcome.verified.certificate();
    for verdict in &certificate.verdicts {
        println!("{} {}: step {} {}", verdict.family, verdict.of, verdict.step, verdict.verdict);
    }
    for bracket in &certificate.brackets {
        println!(
            "pruning step {}: proved to have hurt at {} of {} places",
            bracket.step, bracket.hurt, bracket.places
        );
    }
    println!("verified: {}", outcome.certificate.display());
}

fn main() -> ExitCode {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/pendulum-tanh");
    let out =
        std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("secateur-audit"), PathBuf::from);
    match audit(&options(&fixture, out), &Silent) {
        Ok(outcome) => {
            report(&outcome);
            ExitCode::SUCCESS
        }
        Err(error) => {
            if let AuditError::Check(failure) = &error {
                eprintln!("what was written does not pass its check: {failure}");
            }
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
