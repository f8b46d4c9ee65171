//! What claims speak of: the adversary and the listed states. Untrusted. `spec/gate.md#secateurtoml`.

use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::Rational;
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::escaped::Escaped;
use serde::{Deserialize, Serialize};

use super::config::is_hex_digest;
use crate::certify::emit::units_word;

/// What claims speak of: the adversary and the listed states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct About {
    /// `linf`, `l2` or `per-coordinate`.
    pub shape: String,
    /// Radius, exactly; of `linf` and `l2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius: Option<String>,
    /// Radii, exactly; of `per-coordinate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radii: Option<Vec<String>>,
    /// `raw` or `normalised`.
    pub units: String,
    /// Plain SHA-256 of the states file.
    pub states: String,
    /// How many of its rows, from the first.
    pub state_count: usize,
    /// `raw` or `normalised`.
    pub state_units: String,
}

impl About {
    /// What a certificate speaks of.
    pub fn of(certificate: &Certificate) -> Self {
        let set = &certificate.perturbation;
        let (shape, radius, radii) = match &set.shape {
            Perturbation::Linf { radius } => ("linf", Some(radius.to_string()), None),
            Perturbation::L2 { radius } => ("l2", Some(radius.to_string()), None),
            Perturbation::PerCoordinate { radii } => {
                ("per-coordinate", None, Some(radii.iter().map(Rational::to_string).collect()))
            }
        };
        let states = certificate.inputs.iter().find(|file| file.role == "states");
        Self {
            shape: shape.to_owned(),
            radius,
            radii,
            units: units_word(set.units).to_owned(),
            states: states.map(|file| file.sha256.clone()).unwrap_or_default(),
            state_count: certificate.states,
            state_units: units_word(certificate.state_units).to_owned(),
        }
    }

    /// The adversary, exactly.
    ///
    /// # Errors
    /// What is wrong.
    pub fn adversary(&self) -> Result<PerturbationSet, String> {
        let number = |text: &String| {
            let value = Rational::parse(text).map_err(|e| format!("radius {}: {e}", Escaped(text)))?;
            if value.is_negative() { Err(format!("radius {value} is negative")) } else { Ok(value) }
        };
        let shape = match (self.shape.as_str(), &self.radius, &self.radii) {
            ("linf", Some(radius), None) => Perturbation::Linf { radius: number(radius)? },
            ("l2", Some(radius), None) => Perturbation::L2 { radius: number(radius)? },
            ("per-coordinate", None, Some(radii)) => {
                Perturbation::PerCoordinate { radii: radii.iter().map(number).collect::<Result<_, _>>()? }
            }
            ("linf" | "l2", ..) => return Err(format!("shape {} takes radius, and no radii", self.shape)),
            ("per-coordinate", ..) => {
                return Err("shape per-coordinate takes radii, and no radius".to_owned());
            }
            _ => return Err(format!("shape {} is none of linf, l2, per-coordinate", Escaped(&self.shape))),
        };
        Ok(PerturbationSet { shape, units: units(&self.units)? })
    }

    /// Accepts what [`About::of`] could have made.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        self.adversary()?;
        units(&self.state_units)?;
        if !is_hex_digest(&self.states) {
            return Err(
                "states is the SHA-256 of the states file: 64 lower-case hexadecimal digits".to_owned()
            );
        }
        if self.state_count == 0 { Err("state-count is at least 1".to_owned()) } else { Ok(()) }
    }

    /// What differs in a certificate: `(kind, what it says, what is demanded)`.
    pub fn differs(&self, certificate: &Certificate) -> Option<(Subject, String, String)> {
        let found = Self::of(certificate);
        if self.adversary().ok().as_ref() != Some(&certificate.perturbation) {
            return Some((Subject::Adversary, found.adversary_words(), self.adversary_words()));
        }
        let same = (&self.states, self.state_count, &self.state_units)
            == (&found.states, found.state_count, &found.state_units);
        (!same).then(|| (Subject::States, found.state_words(), self.state_words()))
    }

    /// The adversary in words.
    pub fn adversary_words(&self) -> String {
        let size = match (&self.radius, &self.radii) {
            (Some(radius), _) => format!("radius {}", plain(radius)),
            (None, Some(radii)) if radii.len() <= 8 => {
                format!("radii {}", radii.iter().map(|r| plain(r)).collect::<Vec<_>>().join(", "))
            }
            (None, radii) => format!("{} radii", radii.as_ref().map_or(0, Vec::len)),
        };
        format!("{} of {size} in {} units", self.shape, self.units)
    }

    /// The states in words.
    pub fn state_words(&self) -> String {
        let digest = self.states.get(..12).unwrap_or(&self.states);
        format!("first {} rows of the file {digest}..., {} units", self.state_count, self.state_units)
    }
}

/// A number as short as it is written, of what was read as one.
fn plain(text: &str) -> String {
    if text.len() <= 40 { text.to_owned() } else { format!("{}...", text.get(..40).unwrap_or_default()) }
}

fn units(word: &str) -> Result<Units, String> {
    match word {
        "raw" => Ok(Units::Raw),
        "normalised" => Ok(Units::Normalised),
        _ => Err(format!("units {} are neither raw nor normalised", Escaped(word))),
    }
}

/// What two certificates may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Its shape, size or units.
    Adversary,
    /// Their file, number or units.
    States,
}
