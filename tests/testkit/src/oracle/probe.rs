//! What families say of a case, held against its exact evaluation at one point of the perturbation set.

use num_bigint::BigInt;
use secateur_checker::table::FamilyTable;
use secateur_kernel::number::Rational;

use super::fixed::{BITS, Ends, Trace, trace};
use crate::case::Case;

/// `true` if the lower end of the left is above the right: a contradiction that no rounding explains.
fn above(left: &BigInt, right: &Rational) -> bool {
    *left > right.ceil_scaled(BITS)
}

/// The change of every output between two points.
fn moved(clean: &Trace, perturbed: &Trace) -> Vec<Ends> {
    let pairs = clean.outputs.iter().zip(&perturbed.outputs);
    pairs.map(|(c, p)| (&p.0 - &c.1, &p.1 - &c.0)).collect()
}

/// Panics if the policy at `input`, a point of the case's set, crosses a bound of the tables; `clean` has a trace a mask.
pub fn check_point(case: &Case, tables: &[FamilyTable], clean: &[Trace], input: &[Ends], label: &str) {
    for (mask, clean) in case.masks.iter().zip(clean).enumerate().map(|(m, pair)| (m, pair.1)) {
        let perturbed = trace(&case.policy.network, &case.masks[mask], input);
        let changes = moved(clean, &perturbed);
        for table in tables {
            let values = &table.masks[mask];
            let bound = &values.changes[0];
            let place = format!("{label}: {} of mask {mask}", table.family.name());
            for ((low, high), deviation) in changes.iter().zip(&bound.deviation) {
                assert!(!above(low, deviation) && !above(&-high, deviation), "{place}: deviation");
            }
            for (i, (low, _)) in changes.iter().enumerate() {
                for (_, (_, high)) in changes.iter().enumerate().filter(|(j, _)| *j != i) {
                    assert!(!above(&(low - high), &bound.oscillation), "{place}: oscillation");
                }
            }
            if let Some(euclidean) = &bound.euclidean {
                let least = |(low, high): &Ends| low.clone().max(-high).max(0.into());
                let square: BigInt = changes.iter().map(|c| least(c).pow(2)).sum();
                assert!(square <= euclidean.mul(euclidean).ceil_scaled(2 * BITS), "{place}: euclidean");
            }
            if let Some(Some(margin)) = values.margins.first() {
                // The margin belongs to some output: the checker's preferred one, which leads wherever it is positive.
                let leads = (0..changes.len()).any(|i| {
                    let others = perturbed.outputs.iter().enumerate().filter(|(j, _)| *j != i);
                    others
                        .into_iter()
                        .all(|(_, o)| perturbed.outputs[i].1.clone() - &o.0 >= margin.floor_scaled(BITS))
                });
                assert!(leads, "{place}: margin");
                if margin.is_positive() {
                    assert_eq!(leader(&perturbed), leader(clean), "{place}: the action changed");
                }
            }
        }
    }
}

fn leader(trace: &Trace) -> usize {
    let best = trace.outputs.iter().enumerate().max_by(|a, b| a.1.0.cmp(&b.1.0));
    best.map_or(0, |(i, _)| i)
}
