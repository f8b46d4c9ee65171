//! Several certificates in one table: per policy and bound family, how the values moved along the mask chain. Untrusted:
//! it counts what certificates say; whether they were checked is said beside every row.

use std::collections::BTreeMap;

use secateur_checker::answer::{Bound, Claims};
use secateur_checker::check::Facts;
use secateur_checker::family::Family;
use secateur_checker::number::Rational;
use secateur_checker::radii::{Spread, spread};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::names::OutputName;
use secateur_checker::table::Quantity;

/// What is known of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was checked against its policy, masks and states, and a trusted key signed it.
    Verified,
    /// It was checked against its files, but no signature was.
    VerifiedUnsigned,
    /// It was read. Nothing was checked.
    ClaimsOnly,
}

impl Standing {
    /// In tables and JSON.
    pub fn words(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::VerifiedUnsigned => "verified, unsigned",
            Self::ClaimsOnly => "claims only",
        }
    }
}

/// Steps of a chain by verdict, and the values compared in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Steps of a family that is monotone by theorem, none of whose values rose.
    pub by_theorem: usize,
    /// Steps of another family in which no value rose and some fell.
    pub tightened: usize,
    /// Steps of another family in which nothing moved.
    pub unchanged: usize,
    /// Steps of another family in which some value rose.
    pub loosened: usize,
    /// Steps of a monotone family in which some value rose: never in a certificate that was checked.
    pub violated: usize,
    /// Values that fell, stayed and rose, over all steps.
    pub values: [usize; 3],
}

impl Moves {
    /// All steps.
    pub fn steps(&self) -> usize {
        self.by_theorem + self.tightened + self.unchanged + self.loosened + self.violated
    }

    fn add(&mut self, other: &Self) {
        self.by_theorem += other.by_theorem;
        self.tightened += other.tightened;
        self.unchanged += other.unchanged;
        self.loosened += other.loosened;
        self.violated += other.violated;
        // A certificate that was not checked may state any count.
        self.values.iter_mut().zip(other.values).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }
}

/// One family of one policy, or of all of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the policy; `None` in a row of sums.
    pub policy: Option<String>,
    /// Whether the certificate was checked; `None` in a row of sums.
    pub standing: Option<Standing>,
    /// Family.
    pub family: String,
    /// What was compared.
    pub of: String,
    /// Number of states, as the certificate says; 0 in a row of sums.
    pub states: usize,
    /// How it moved.
    pub moves: Moves,
}

/// The rows of one certificate, in the order of its verdicts.
pub fn rows(policy: &str, standing: Standing, certificate: &Certificate) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for verdict in &certificate.verdicts {
        let (fell, stayed, rose) = verdict.counts;
        let monotone = Family::parse(&verdict.family).is_some_and(Family::is_monotone);
        let mut moves = Moves { values: [fell, stayed, rose], ..Moves::default() };
        // By the counts, not by the word, which a certificate that was not checked may have wrong.
        *match (monotone, rose, fell) {
            (true, 0, _) => &mut moves.by_theorem,
            (true, ..) => &mut moves.violated,
            (false, 0, 0) => &mut moves.unchanged,
            (false, 0, _) => &mut moves.tightened,
            (false, ..) => &mut moves.loosened,
        } += 1;
        match places.get(&(verdict.family.as_str(), verdict.of.as_str())).and_then(|at| rows.get_mut(*at)) {
            Some(row) => row.moves.add(&moves),
            None => {
                places.insert((&verdict.family, &verdict.of), rows.len());
                rows.push(Row {
                    policy: Some(policy.to_owned()),
                    standing: Some(standing),
                    family: verdict.family.clone(),
                    of: verdict.of.clone(),
                    states: certificate.states,
                    moves,
                });
            }
        }
    }
    rows
}

/// One row per family and quantity over all policies, in the order they first appear.
pub fn sums(rows: &[Row]) -> Vec<Row> {
    let mut sums: Vec<Row> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in rows {
        match places.get(&(row.family.as_str(), row.of.as_str())).and_then(|at| sums.get_mut(*at)) {
            Some(sum) => sum.moves.add(&row.moves),
            None => {
                places.insert((&row.family, &row.of), sums.len());
                sums.push(Row { policy: None, standing: None, states: 0, ..row.clone() });
            }
        }
    }
    sums
}

/// Steps of families that are monotone by theorem, and violations among them.
pub fn theorem_steps(rows: &[Row]) -> (usize, usize) {
    let of = |count: fn(&Moves) -> usize| rows.iter().map(|row| count(&row.moves)).sum();
    (of(|moves| moves.by_theorem + moves.violated), of(|moves| moves.violated))
}

/// What a certificate says of one quantity under one mask.
#[derive(Clone, Debug)]
pub struct BoundRow {
    /// Name of the policy.
    pub policy: String,
    /// Whether the certificate was checked.
    pub standing: Standing,
    /// Index in the chain.
    pub mask: usize,
    /// Weights pruned, and all weights, as the certificate says.
    pub pruned: [usize; 2],
    /// The quantity.
    pub quantity: Quantity,
    /// The largest value at the listed states, by the best families.
    pub at_most: Option<Bound>,
    /// What an attack reaches.
    pub at_least: Option<Rational>,
}

/// The bounds of one certificate: a row a mask and quantity that it speaks of.
pub fn bounds(
    policy: &str,
    standing: Standing,
    certificate: &Certificate,
    facts: Option<&Facts>,
) -> Vec<BoundRow> {
    let claims = Claims::new(certificate, facts);
    let mut rows = Vec::new();
    for (mask, record) in certificate.masks.iter().enumerate() {
        for quantity in [Quantity::TotalVariation, Quantity::ActionDeviation, Quantity::Divergence] {
            let (at_most, at_least) = (claims.most(mask, quantity), claims.least(mask, quantity));
            if at_most.is_some() || at_least.is_some() {
                let pruned = [record.pruned, record.total];
                rows.push(BoundRow {
                    policy: policy.to_owned(),
                    standing,
                    mask,
                    pruned,
                    quantity,
                    at_most,
                    at_least,
                });
            }
        }
    }
    rows
}

/// What a certificate says of one output that the policy names, in the output's unit.
#[derive(Clone, Debug)]
pub struct OutputRow {
    /// Name of the policy.
    pub policy: String,
    /// Whether the certificate was checked.
    pub standing: Standing,
    /// The output's name, unit and scale.
    pub output: OutputName,
    /// By mask where it is bounded, the largest change at the listed states by the best families.
    pub masks: Vec<(usize, Bound)>,
    /// What an attack reaches, under the mask where it reaches most.
    pub at_least: Option<Rational>,
}

impl OutputRow {
    /// The mask under which the bound is largest, the first of equals, and the bound.
    pub fn worst(&self) -> Option<&(usize, Bound)> {
        self.masks.iter().rev().max_by(|a, b| a.1.value.cmp(&b.1.value))
    }
}

/// The named outputs of one certificate, the largest change first; none without the policy, whose names these are.
pub fn outputs(
    policy: &str,
    standing: Standing,
    certificate: &Certificate,
    facts: Option<&Facts>,
) -> Vec<OutputRow> {
    let claims = Claims::new(certificate, facts);
    let reached = |output: usize| {
        let of_output = certificate.counterexample.iter().filter(|claim| {
            claim.output == Some(output) && claim.quantity == Quantity::ActionDeviation.name()
        });
        of_output.flat_map(|claim| &claim.at_least).filter_map(|value| Rational::parse(value).ok()).max()
    };
    let row = |(named, masks): (&OutputName, Vec<(usize, Bound)>)| OutputRow {
        policy: policy.to_owned(),
        standing,
        output: named.clone(),
        masks,
        at_least: reached(named.output).map(|most| match &named.scale {
            Some(scale) => most.mul(scale),
            None => most,
        }),
    };
    claims.named_outputs(facts.and_then(|facts| facts.names.as_ref())).into_iter().map(row).collect()
}

/// What a certificate says of one radius under one mask.
#[derive(Clone, Debug)]
pub struct RadiusRow {
    /// Name of the policy.
    pub policy: String,
    /// Whether the certificate was checked.
    pub standing: Standing,
    /// Index in the chain.
    pub mask: usize,
    /// Weights pruned, and all weights, as the certificate says.
    pub pruned: [usize; 2],
    /// Family that proves it.
    pub family: String,
    /// Quantity name.
    pub quantity: String,
    /// The most that it may be.
    pub limit: Option<Rational>,
    /// Number of states.
    pub states: usize,
    /// Of the states together.
    pub spread: Spread,
}

/// The radii of one certificate, in its order.
pub fn radii(policy: &str, standing: Standing, certificate: &Certificate) -> Vec<RadiusRow> {
    let row = |claim: &secateur_checker::reader::radius::RadiusClaim| {
        let record = certificate.masks.get(claim.mask)?;
        Some(RadiusRow {
            policy: policy.to_owned(),
            standing,
            mask: claim.mask,
            pruned: [record.pruned, record.total],
            family: claim.family.clone(),
            quantity: claim.quantity.clone(),
            limit: claim.limit.clone(),
            states: claim.proved.len(),
            spread: spread(claim)?,
        })
    };
    certificate.radius.iter().filter_map(row).collect()
}
