//! What claims speak of: the adversary and the listed states. Untrusted. `spec/gate.md#secateurtoml`.

use secateur_checker::model::{InputLimit, Perturbation, PerturbationSet, SensorSet, SharedOffset, Units};
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
    /// `linf`, `l2`, `per-coordinate` or `sensor`.
    pub shape: String,
    /// Radius, exactly; of `linf` and `l2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius: Option<String>,
    /// Radii, exactly; of `per-coordinate` and `sensor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radii: Option<Vec<String>>,
    /// Shared offsets, exactly; of `sensor`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<SharedAbout>,
    /// Limits, exactly; of `sensor`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitAbout>,
    /// `raw` or `normalised`.
    pub units: String,
    /// Plain SHA-256 of the states file.
    pub states: String,
    /// How many of its rows, from the first.
    pub state_count: usize,
    /// `raw` or `normalised`.
    pub state_units: String,
}

/// An offset that inputs share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SharedAbout {
    /// Radius, exactly.
    pub radius: String,
    /// Inputs, from 0.
    pub inputs: Vec<usize>,
}

/// The limits of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitAbout {
    /// Input, from 0.
    pub input: usize,
    /// Least value, exactly.
    pub lower: String,
    /// Greatest value, exactly.
    pub upper: String,
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
            Perturbation::Sensor(set) => {
                ("sensor", None, Some(set.radii.iter().map(Rational::to_string).collect()))
            }
        };
        let (shared, limits) = match &set.shape {
            Perturbation::Sensor(SensorSet { shared, limits, .. }) => (shared.as_slice(), limits.as_slice()),
            _ => (&[][..], &[][..]),
        };
        let shared = shared
            .iter()
            .map(|offset| SharedAbout { radius: offset.radius.to_string(), inputs: offset.inputs.clone() });
        let limits = limits.iter().map(|limit| LimitAbout {
            input: limit.input,
            lower: limit.lower.to_string(),
            upper: limit.upper.to_string(),
        });
        let states = certificate.inputs.iter().find(|file| file.role == "states");
        Self {
            shape: shape.to_owned(),
            radius,
            radii,
            shared: shared.collect(),
            limits: limits.collect(),
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
        let any = |text: &String| Rational::parse(text).map_err(|e| format!("radius {}: {e}", Escaped(text)));
        let number = |text: &String| {
            let value = any(text)?;
            if value.is_negative() { Err(format!("radius {value} is negative")) } else { Ok(value) }
        };
        if self.shape != "sensor" && !(self.shared.is_empty() && self.limits.is_empty()) {
            return Err(format!("shape {} takes neither shared nor limits", Escaped(&self.shape)));
        }
        let shape = match (self.shape.as_str(), &self.radius, &self.radii) {
            ("linf", Some(radius), None) => Perturbation::Linf { radius: number(radius)? },
            ("l2", Some(radius), None) => Perturbation::L2 { radius: number(radius)? },
            ("per-coordinate", None, Some(radii)) => {
                Perturbation::PerCoordinate { radii: radii.iter().map(number).collect::<Result<_, _>>()? }
            }
            ("sensor", None, Some(radii)) => {
                let shared = self.shared.iter().map(|offset| {
                    Ok(SharedOffset { radius: number(&offset.radius)?, inputs: offset.inputs.clone() })
                });
                let limits = self.limits.iter().map(|limit| {
                    let (lower, upper) = (any(&limit.lower)?, any(&limit.upper)?);
                    Ok(InputLimit { input: limit.input, lower, upper })
                });
                Perturbation::Sensor(SensorSet {
                    radii: radii.iter().map(number).collect::<Result<_, _>>()?,
                    shared: shared.collect::<Result<_, String>>()?,
                    limits: limits.collect::<Result<_, String>>()?,
                })
            }
            ("linf" | "l2", ..) => return Err(format!("shape {} takes radius, and no radii", self.shape)),
            ("per-coordinate" | "sensor", ..) => {
                return Err(format!("shape {} takes radii, and no radius", self.shape));
            }
            _ => {
                let shape = Escaped(&self.shape);
                return Err(format!("shape {shape} is none of linf, l2, per-coordinate, sensor"));
            }
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
        let more = |count: usize, what: &str| match count {
            0 => String::new(),
            _ => format!(", {count} {what}"),
        };
        let more = more(self.shared.len(), "shared offsets") + &more(self.limits.len(), "limits");
        format!("{} of {size}{more} in {} units", self.shape, self.units)
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
