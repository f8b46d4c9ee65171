//! Options that say what an adversary may do, shared by `certify` and `audit`.

use secateur_checker::family::{BandEnd, Family};
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::{Rational, cost};
use secateur_checker::reader::policy::MAX_WIDTH;

use crate::audit::default_families;
use crate::cli::context::CliError;
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

/// The perturbation set that the options describe.
///
/// # Errors
/// Exit code 2: neither or both of epsilon and radii, a malformed or negative number, l2 with radii.
pub fn perturbation(
    epsilon: Option<&str>,
    radii: Option<&[String]>,
    norm: Norm,
    units: UnitsWord,
) -> Result<PerturbationSet, CliError> {
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
                "give --epsilon R (one radius) or --radii R1,R2,... (one per input)",
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
