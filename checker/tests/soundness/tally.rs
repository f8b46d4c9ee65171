//! What was claimed, what it was held against, and what did not hold. A violation is printed with all that replays it.

use std::collections::BTreeMap;
use std::fmt::Write;

use num_bigint::BigInt;
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::model::Head;
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::table::Quantity;

use super::truth::{Peak, Truth};
use secateur_testkit::oracle::fixed::BITS;

/// Family (bands by kind), head and quantity.
pub type Kind = (String, &'static str, &'static str);

#[derive(Default)]
pub struct Entry {
    pub claims: usize,
    pub evaluations: usize,
    /// Claims that are not trivial and are met within a hundredth.
    pub attained: usize,
}

#[derive(Default)]
pub struct Tally {
    pub networks: usize,
    /// Outputs of a policy evaluated at a point.
    pub evaluations: usize,
    /// Networks that the grid refuses.
    pub refused: BTreeMap<String, usize>,
    pub kinds: BTreeMap<Kind, Entry>,
    pub violated: BTreeMap<Kind, usize>,
    /// The first few, in full.
    pub shown: Vec<String>,
}

/// Most violations that are printed in full.
const SHOWN: usize = 4;

pub fn family_word(family: Family) -> String {
    match family.band_end() {
        Some(BandEnd::Mask(_)) => {
            family.name().split('/').next().map_or_else(String::new, |w| format!("{w}/K"))
        }
        _ => family.name(),
    }
}

pub fn head_word(head: &Head) -> &'static str {
    match head {
        Head::Gaussian { .. } => "gaussian",
        Head::Categorical => "categorical",
        Head::Deterministic => "deterministic",
    }
}

pub fn exact(value: &BigInt) -> Rational {
    Rational::from_dyadic(value.clone(), -i64::from(BITS))
}

/// One claimed value.
pub struct Claim<'a> {
    pub family: &'a str,
    pub head: &'a Head,
    pub quantity: Quantity,
    pub output: Option<usize>,
    pub value: &'a Rational,
}

impl Tally {
    pub fn claimed(&mut self, family: &str, head: &Head, quantity: &'static str) {
        self.kinds.entry((family.to_owned(), head_word(head), quantity)).or_default().claims += 1;
    }

    /// Holds a claim against what was evaluated; `place` describes the network, the state and the pair with this number.
    pub fn hold(&mut self, claim: &Claim<'_>, truth: &Truth, place: &dyn Fn(usize) -> String) {
        let Some(peak) = peak_of(truth, claim) else { return };
        let kind = (claim.family.to_owned(), head_word(claim.head), claim.quantity.name());
        let value = claim.value;
        let (holds, scaled) = if claim.quantity.rounding() == Rounding::Up {
            let scaled = value.ceil_scaled(BITS);
            (peak.value <= scaled, scaled)
        } else {
            let scaled = value.floor_scaled(BITS);
            (scaled <= peak.value, scaled)
        };
        let gap: BigInt = (&peak.value - &scaled) * 100;
        let entry = self.kinds.entry(kind.clone()).or_default();
        entry.evaluations += truth.pairs;
        entry.attained += usize::from(!value.is_zero() && gap.magnitude() <= scaled.magnitude());
        if !holds {
            let found = exact(&peak.value);
            let what = format!("{} is {value}, found {found}", claim.quantity.name());
            self.violation(kind, &what, &place(peak.pair));
        }
    }

    pub fn violation(&mut self, kind: Kind, what: &str, place: &str) {
        let count = self.violated.entry(kind.clone()).or_default();
        *count += 1;
        if *count == 1 && self.shown.len() < SHOWN {
            self.shown.push(format!("{} ({}): {what}\n{place}", kind.0, kind.1));
        }
    }

    /// Of one run: totals, then a line for each kind if asked.
    pub fn report(&self, all: bool) -> String {
        let sum = |of: fn(&Entry) -> usize| self.kinds.values().map(of).sum::<usize>();
        let mut text = format!(
            "{} networks, {} claims held against {} exact evaluations in {} comparisons, {} of them met within 1 %; \
             refused {:?}\n",
            self.networks,
            sum(|e| e.claims),
            self.evaluations,
            sum(|e| e.evaluations),
            sum(|e| e.attained),
            self.refused
        );
        for ((family, head, quantity), entry) in self.kinds.iter().filter(|_| all) {
            let Entry { claims, evaluations, attained } = entry;
            writeln!(text, "  {family} {head} {quantity}: {claims}, {evaluations}, {attained}")
                .expect("written");
        }
        text
    }

    pub fn assert_sound(&self) {
        if self.violated.is_empty() {
            return;
        }
        let mut text = String::from("claims that do not hold:\n");
        for ((family, head, quantity), count) in &self.violated {
            writeln!(text, "  {family} {head} {quantity}: {count}").expect("written");
        }
        panic!("{text}\n{}", self.shown.join("\n"));
    }
}

fn peak_of<'a>(truth: &'a Truth, claim: &Claim<'_>) -> Option<&'a Peak> {
    match claim.quantity {
        Quantity::ActionDeviation => truth.deviation.get(claim.output?),
        Quantity::TotalVariation => truth.total_variation.as_ref(),
        Quantity::Divergence => truth.divergence.as_ref(),
        Quantity::SameActionMargin => truth.margin.as_ref(),
    }
}
