//! What a rule says of the certified radius: one number under a mask, of all listed states together; larger is better.
//! Untrusted; the multiples were checked. `spec/gate.md#radius`.

use std::collections::BTreeMap;

use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::radii::spread;
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::radius::RadiusClaim;
use secateur_checker::table::Quantity;
use serde::{Deserialize, Serialize};

use super::bounds::counts;
use super::config::{Allowance, Choice};

/// Which of an entry's numbers is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// The multiple proved at every state.
    #[default]
    Least,
    /// The one proved at more than half of the states.
    Median,
    /// The mean.
    Mean,
}

impl At {
    /// As `secateur.toml` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Least => "least",
            Self::Median => "median",
            Self::Mean => "mean",
        }
    }
}

/// What a rule demands of radii.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadiusDemand {
    /// What must hold within the radius.
    pub quantity: Quantity,
    /// The most that it may be; `None` for a margin.
    pub limit: Option<Rational>,
    /// Whose radii.
    pub choice: Choice,
    /// Which number.
    pub at: At,
    /// At least this.
    pub min: Option<Rational>,
    /// Against the baseline.
    pub worse_by: Option<Allowance>,
}

impl RadiusDemand {
    /// What it is about, as in baselines: `same-action`, `deviation=1/10`.
    pub fn goal(&self) -> String {
        goal_word(self.quantity.name(), self.limit.as_ref())
    }

    /// In words, for findings.
    pub fn words(&self) -> String {
        format!("{} radius of {} by {}", self.at.name(), self.goal(), self.choice.name())
    }
}

/// A quantity and its limit in one word, as `--radius-for` spells it; other quantities by their names.
fn goal_word(quantity: &str, limit: Option<&Rational>) -> String {
    let word = match Quantity::parse(quantity) {
        Some(Quantity::ActionDeviation) => "deviation",
        Some(Quantity::TotalVariation) => "tv",
        Some(Quantity::Divergence) => "kl",
        Some(Quantity::SameActionMargin) => "same-action",
        None => quantity,
    };
    limit.map_or_else(|| word.to_owned(), |limit| format!("{word}={limit}"))
}

/// The numbers of one goal by one family or the best of several, exactly, as texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AcceptedRadius {
    /// Proved at every state.
    pub least: String,
    /// Proved at half of the states or more.
    pub median: String,
    /// The mean.
    pub mean: String,
}

impl AcceptedRadius {
    /// One of the numbers.
    pub fn at(&self, at: At) -> Option<Rational> {
        let text = match at {
            At::Least => &self.least,
            At::Median => &self.median,
            At::Mean => &self.mean,
        };
        Rational::parse(text).ok()
    }
}

/// By goal, then by `best` or a family's name.
pub type AcceptedRadii = BTreeMap<String, BTreeMap<String, AcceptedRadius>>;

/// The radii of one goal under a mask by the families of a choice: at each state the largest proved; with the families. `None`
/// if none of them claims it.
pub fn chosen_radius(
    certificate: &Certificate,
    mask: usize,
    goal: &str,
    choice: Choice,
) -> Option<(RadiusClaim, Vec<Family>)> {
    let mut families = Vec::new();
    let mut best: Option<RadiusClaim> = None;
    for claim in certificate.radius.iter().filter(|claim| claim.mask == mask) {
        let Some(family) = Family::parse(&claim.family) else { continue };
        let wanted = match choice {
            Choice::Best => counts(family),
            Choice::Family(wanted) => wanted == family,
        };
        if !wanted || goal_word(&claim.quantity, claim.limit.as_ref()) != goal {
            continue;
        }
        families.push(family);
        best = Some(match best {
            None => claim.clone(),
            Some(mut best) => {
                for (own, other) in best.proved.iter_mut().zip(&claim.proved) {
                    *own = own.clone().max(other.clone());
                }
                best
            }
        });
    }
    best.map(|best| (best, families))
}

/// The number of a claim's states together, and the state where the least stands.
pub fn number_at(claim: &RadiusClaim, at: At) -> Option<(Rational, Option<usize>)> {
    let spread = spread(claim)?;
    Some(match at {
        At::Least => {
            let state = claim.proved.iter().position(|multiple| *multiple == spread.least);
            (spread.least, state)
        }
        At::Median => (spread.median, None),
        At::Mean => (spread.mean, None),
    })
}

/// Everything that a baseline keeps of the radii under a mask.
pub fn accepted_radii(certificate: &Certificate, mask: usize) -> AcceptedRadii {
    let mut kept = AcceptedRadii::new();
    for claim in certificate.radius.iter().filter(|claim| claim.mask == mask) {
        let goal = goal_word(&claim.quantity, claim.limit.as_ref());
        let own = Family::parse(&claim.family).map(Choice::Family);
        for choice in own.into_iter().chain([Choice::Best]) {
            let Some((best, _)) = chosen_radius(certificate, mask, &goal, choice) else { continue };
            let Some(spread) = spread(&best) else { continue };
            let [least, median, mean] = [spread.least, spread.median, spread.mean].map(|n| n.to_string());
            let entry = kept.entry(goal.clone()).or_default();
            entry.insert(choice.name(), AcceptedRadius { least, median, mean });
        }
    }
    kept
}

/// A multiple as a decimal that says no more.
pub fn multiple_words(multiple: &Rational) -> String {
    format!("{} times the radii", claim_decimal(multiple, Rounding::Down))
}
