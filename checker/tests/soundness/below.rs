//! Bounds from below: what a point proves is true of that point, and never above what a family claims.
//! `spec/certificate-bracket.md`.

use secateur_checker::claim::point::PointProblem;
use secateur_checker::family::Family;
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::reader::safetensors::Safetensors;
use secateur_checker::table::Quantity;
use secateur_testkit::case::Case;
use secateur_testkit::oracle::fixed::{BITS, Ends, trace};

use super::claims::{Proved, listed, scope, story};
use super::functions::distances;
use super::points::Place;
use super::tally::{Tally, family_word, head_word};

pub const WORD: &str = "counterexample";

pub fn hold_points(seed: u64, case: &Case, proved: &Proved<'_>, tally: &mut Tally) {
    let head = &case.policy.head;
    let points = PointProblem::new(&proved.problem).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    for state in 0..points.states() {
        let masks = match points.evaluate_state(state) {
            Ok(masks) => masks,
            // Logits too far apart for the exponential's enclosure.
            Err(fault) => {
                *tally.refused.entry(format!("{WORD}: {}", fault.condition())).or_default() += 1;
                continue;
            }
        };
        for (mask, values) in masks.iter().enumerate() {
            for quantity in [Quantity::ActionDeviation, Quantity::TotalVariation] {
                let kind = (WORD.to_owned(), head_word(head), quantity.name());
                for (place, least) in values.of(quantity).iter().enumerate() {
                    tally.claimed(WORD, head, quantity.name());
                    let output = (quantity == Quantity::ActionDeviation).then_some(place);
                    let most = at_point(case, proved, (state, mask), output);
                    let entry = tally.kinds.entry(kind.clone()).or_default();
                    entry.evaluations += 1;
                    entry.attained += usize::from(least.is_positive());
                    if least.floor_scaled(BITS) > most.1 {
                        let found = super::tally::exact(&most.1);
                        let what = format!(
                            "{} of output {output:?} is at least {least}, found {found}",
                            quantity.name()
                        );
                        tally.violation(kind.clone(), &what, &story(seed, case));
                    }
                    for family in contradicted(case, proved, (state, mask), quantity, output, least) {
                        let kind = (family_word(family), head_word(head), quantity.name());
                        let what = format!("{} contradicts the point's {least}", family.name());
                        tally.violation(kind, &what, &story(seed, case));
                    }
                }
            }
        }
    }
}

/// Families that claim less than what a point of one of their masks proves.
fn contradicted(
    case: &Case,
    proved: &Proved<'_>,
    (state, mask): (usize, usize),
    quantity: Quantity,
    output: Option<usize>,
    least: &Rational,
) -> Vec<Family> {
    let mut found = Vec::new();
    for table in proved.tables.iter().filter(|t| t.family.bounds_adversary()) {
        for own in 0..table.masks.len() {
            if !scope(table.family, own, quantity, case, &case.masks).contains(&mask) {
                continue;
            }
            let values = table.values(&proved.head, quantity, own, output).expect("a distribution");
            let most = if values.len() == 1 { &values[0] } else { &values[state] };
            if most < least {
                found.push(table.family);
            }
        }
    }
    found
}

/// What the policy does at the witness file's point, enclosed.
fn at_point(case: &Case, proved: &Proved<'_>, (state, mask): (usize, usize), output: Option<usize>) -> Ends {
    let file = Safetensors::parse(proved.problem.witness.expect("a witness")).expect("tensors");
    let offsets = file.tensor(&format!("counterexample.{mask}")).and_then(|t| t.dyadics()).expect("points");
    let inputs = case.policy.network.inputs();
    let row = &offsets[state * inputs..(state + 1) * inputs];
    let place = Place { case, state: listed(case, state) };
    let outputs = |offset: Vec<Rational>| {
        trace(&case.policy.network, &case.masks[mask], &place.point(offset).input).outputs
    };
    let clean = outputs(vec![Rational::zero(); inputs]);
    let moved = outputs(row.iter().copied().map(Dyadic::to_rational).collect());
    match output {
        Some(output) => {
            let (a, b) = (&clean[output], &moved[output]);
            let (low, high) = (&b.0 - &a.1, &b.1 - &a.0);
            let most = high.max(-low);
            (most.clone(), most)
        }
        None => distances(&case.policy.head, &clean, &moved).expect("a distribution").total_variation,
    }
}
