//! Options that say what an adversary may do, shared by `certify` and `audit`.

use std::path::{Path, PathBuf};

use secateur_checker::family::{BandEnd, Family};
use secateur_checker::load::load_policy;
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::{Rational, cost};
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::tensor::MAX_WIDTH;

use crate::audit::default_families;
use crate::cli::context::CliError;
use crate::cli::context::streams::complain;
use crate::policy::input::{MAX_TEXT, read_text};
use crate::radii::{Named, parse_radii};
use crate::settings::nearest;

/// Most digits of a list's numbers, those that exponents stand for included.
const MAX_LIST_DIGITS: usize = 1 << 22;

/// Shape of a perturbation set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Every coordinate by at most epsilon.
    Linf,
    /// Euclidean length at most epsilon.
    L2,
}

/// Units on the command line and in audit.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitsWord {
    /// As the environment emits observations.
    Raw,
    /// As the network reads them, after the normaliser.
    Normalised,
}

impl From<UnitsWord> for Units {
    fn from(word: UnitsWord) -> Self {
        match word {
            UnitsWord::Raw => Self::Raw,
            UnitsWord::Normalised => Self::Normalised,
        }
    }
}

/// Reads a decimal or fraction exactly.
///
/// # Errors
/// Exit code 2, naming the option.
pub fn exact(option: &str, text: &str) -> Result<Rational, CliError> {
    let value = Rational::parse(text.trim());
    value.map_err(|e| CliError::input(format!("{option} {text:?}: {e}")))
}

/// Reads a list of numbers, one per input, exactly; how many they are and how many digits they have is tested first.
///
/// # Errors
/// Exit code 2, naming the option.
pub fn exact_list(option: &str, texts: &[String]) -> Result<Vec<Rational>, CliError> {
    if texts.len() > MAX_WIDTH {
        let found = texts.len();
        return Err(CliError::input(format!(
            "{option}: {found} numbers, policies have at most {MAX_WIDTH} inputs"
        )));
    }
    if texts.iter().map(|text| cost(text)).sum::<usize>() > MAX_LIST_DIGITS {
        return Err(CliError::input(format!(
            "{option}: the numbers have more than {MAX_LIST_DIGITS} digits"
        )));
    }
    texts.iter().map(|text| exact(option, text)).collect()
}

/// The file of radii that `--radii` or `radii` names: one value that is no number.
pub fn radii_file(radii: Option<&[String]>) -> Option<PathBuf> {
    match radii {
        Some([one]) if Rational::parse(one.trim()).is_err() => Some(PathBuf::from(one)),
        _ => None,
    }
}

/// The perturbation set that a file of radii describes, for the policy in `directory`; says which inputs it leaves alone.
///
/// # Errors
/// Exit code 2, with the file and the place in it; for a policy without names.
fn named_perturbation(
    path: &Path,
    directory: &Path,
    norm: Norm,
    units: Units,
) -> Result<PerturbationSet, CliError> {
    let at = |words: String| CliError::input(format!("{}: {words}", Escaped(&path.to_string_lossy())));
    if norm == Norm::L2 {
        return Err(CliError::input("radii describe a box; leave --norm at linf, or give --epsilon"));
    }
    let text = read_text(path, MAX_TEXT).map_err(|e| {
        at(format!("{e}; --radii takes R1,R2,... (one per input) or a file of radii by name"))
    })?;
    let files = load_policy(directory)?.files;
    let Some(names) = &files.names else {
        let policy = directory.display();
        return Err(at(format!(
            "the policy in {policy} names no inputs; `secateur names {policy} --names FILE --out DIR` names them"
        )));
    };
    let (inputs, normaliser) = (files.policy.network.inputs(), files.policy.normaliser.is_some());
    let radii = parse_radii(&text, Named { names, inputs, normaliser }, units).map_err(at)?;
    if let Some(note) = radii.note {
        complain(&format!("note: {note}"));
    }
    Ok(radii.set)
}

/// The perturbation set that the options describe, of the policy in `directory`. Units are normalised where nothing is said,
/// raw for a file of radii, which speaks of what the robot measures.
///
/// # Errors
/// Exit code 2: neither or both of epsilon and radii, a malformed or negative number, l2 with radii; what is wrong in a file of
/// radii.
pub fn perturbation(
    directory: &Path,
    epsilon: Option<&str>,
    radii: Option<&[String]>,
    norm: Norm,
    units: Option<UnitsWord>,
) -> Result<PerturbationSet, CliError> {
    if let Some(path) = radii_file(radii).filter(|_| epsilon.is_none()) {
        return named_perturbation(&path, directory, norm, units.unwrap_or(UnitsWord::Raw).into());
    }
    let units = units.unwrap_or(UnitsWord::Normalised);
    let radius = |option: &str, value: Rational| {
        if value.is_negative() {
            return Err(CliError::input(format!("{option} {value} is negative; a radius is at least 0")));
        }
        Ok(value)
    };
    let shape = match (epsilon, radii) {
        (Some(epsilon), None) => {
            let radius = radius("epsilon", exact("epsilon", epsilon)?)?;
            match norm {
                Norm::Linf => Perturbation::Linf { radius },
                Norm::L2 => Perturbation::L2 { radius },
            }
        }
        (None, Some(_)) if norm == Norm::L2 => {
            return Err(CliError::input("radii describe a box; leave --norm at linf, or give --epsilon"));
        }
        (None, Some(radii)) => {
            let radii = exact_list("radii", radii)?;
            let radii = radii.into_iter().map(|r| radius("radii", r)).collect::<Result<_, _>>()?;
            Perturbation::PerCoordinate { radii }
        }
        _ => {
            return Err(CliError::input(
                "give --epsilon R (one radius) or --radii R1,R2,... (one per input, or a file of radii by name)",
            ));
        }
    };
    Ok(PerturbationSet { shape, units: units.into() })
}

/// A band on the command line: `LO..HI`, mask numbers of the chain, or `LO..zero` for every submask of mask LO.
///
/// # Errors
/// Exit code 2.
pub fn band(text: &str) -> Result<(usize, BandEnd), CliError> {
    let malformed = || {
        CliError::input(format!(
            "--band {text:?}: give LO..HI with two mask numbers, loosest first, or LO..zero for every submask"
        ))
    };
    let (from, to) = text.split_once("..").ok_or_else(malformed)?;
    let from: usize = from.parse().map_err(|_| malformed())?;
    match to {
        "zero" => Ok((from, BandEnd::Zero)),
        _ => Ok((from, BandEnd::Mask(to.parse().ok().filter(|to| *to >= from).ok_or_else(malformed)?))),
    }
}

/// The families named, or all of them that have no parameter.
///
/// # Errors
/// Exit code 2 for an unknown name.
pub fn families(names: &[String]) -> Result<Vec<Family>, CliError> {
    if names.is_empty() {
        return Ok(default_families());
    }
    let known: Vec<&str> = Family::ALL.into_iter().map(|family| family.entry().name).collect();
    let parse = |name: &String| {
        let unknown = || {
            let meant =
                nearest(name, known.iter().copied()).map(|near| format!("did you mean {near}? else "));
            CliError::input(format!(
                "no family is called {name:?}; {}choose from {}, band/K, band-crown/K",
                meant.unwrap_or_default(),
                known.join(", ")
            ))
        };
        Family::parse(name).ok_or_else(unknown)
    };
    names.iter().map(parse).collect()
}
