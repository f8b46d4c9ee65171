//! Radii: what is proved at a multiple of the radii holds at points of that set, and what a point is accepted to break is
//! broken there, and by no family proved. `spec/rules/radius.md`.

use num_bigint::BigInt;
use secateur_checker::claim::radius::{RadiusProblem, RadiusTarget, scaled};
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::table::Quantity;
use secateur_testkit::case::{Case, r};
use secateur_testkit::oracle::fixed::{BITS, trace};
use secateur_testkit::random::Random;

use super::claims::{Proved, families, listed, offsets, scope, story, truth_at};
use super::functions::distances;
use super::generate::mask_bits;
use super::points::Place;
use super::tally::{Claim, Kind, Tally, exact, head_word};
use super::truth::{same_outputs, truth};

pub const WORD: &str = "radius";
pub const POINT: &str = "radius, a point";

/// Families that read nothing, or slopes; split trees of one set do not fit another.
fn candidates(case: &Case) -> Vec<Family> {
    let local = |f: &Family| f.is_local() && f.bounds_adversary() && *f != Family::Branch;
    families(case).into_iter().filter(local).collect()
}

pub fn hold_radius(
    seed: u64,
    random: &mut Random,
    case: &Case,
    pool: &[secateur_checker::model::Mask],
    proved: &Proved<'_>,
    tally: &mut Tally,
) {
    let family = random.pick(&candidates(case));
    let end = family.band_end().filter(|end| *end != BandEnd::Zero);
    let last = if let Some(BandEnd::Mask(mask)) = end { mask } else { case.masks.len() - 1 };
    let mask = random.between(0, last as i64) as usize;
    let multiple = random.pick(&["1e-3", "1/8", "1/2", "1", "5/4", "3"].map(r));
    let wider = random.pick(&["1", "1", "2", "100"].map(r));
    let (widest, set) = (scaled(&case.set, &multiple.mul(&wider)), scaled(&case.set, &multiple));
    let (policy, masks, states) = (case.policy.clone(), case.masks.clone(), case.states.clone());
    let there = Case { policy, masks, states, set };
    let moves = offsets(random, &there);
    let columns = case.states.values.columns;
    for (quantity, _) in Quantity::ALL {
        let target = |limit| RadiusTarget { family, mask, quantity, limit };
        let made = RadiusProblem::new(&proved.problem, (&widest, &proved.head), target(Some(r("0"))), 0);
        let radius = match made {
            Ok(radius) => radius,
            Err(reason) => {
                *tally.refused.entry(format!("{WORD}: {reason}")).or_default() += 1;
                return;
            }
        };
        for state in 0..case.states.values.rows {
            let bound = match radius.bound(state, &multiple) {
                Ok(bound) => bound,
                // A head for which the quantity means nothing, or a grid that the family outgrows.
                Err(_) => continue,
            };
            tally.claimed(WORD, &case.policy.head, quantity.name());
            let place = Place { case: &there, state: listed(case, state) };
            let points = place.points(random, pool, 3);
            for other in scope(family, mask, quantity, case, pool) {
                let truth = truth_at(&there, &pool[other], &points);
                let each = quantity == Quantity::ActionDeviation;
                for output in 0..if each { case.policy.network.outputs() } else { 1 } {
                    let output = each.then_some(output);
                    let head = &case.policy.head;
                    let claim = Claim { family: WORD, head, quantity, output, value: &bound };
                    tally.hold(&claim, &truth, &|pair| {
                        let change = points.get(pair).map(|p| &p.change);
                        let (name, bits) = (family.name(), mask_bits(&pool[other]));
                        format!(
                            "  {name} of mask {mask} at {multiple}, evaluated under {bits}\n  state {state}, change {change:?}\n{}",
                            story(seed, case)
                        )
                    });
                }
            }
            let kind = (POINT.to_owned(), head_word(&case.policy.head), quantity.name());
            let offset = &moves[mask][state * columns..(state + 1) * columns];
            let share = random.pick(&["0", "1/4", "1/2", "3/4", "9/10", "1"].map(r));
            let limit = (quantity != Quantity::SameActionMargin)
                .then(|| bound.mul(&share).ceil_to_grid(40).max(Rational::zero()));
            let target = target(limit.clone());
            let keeps = target.keeps(&bound);
            let made = RadiusProblem::new(&proved.problem, (&widest, &proved.head), target, 0);
            let exactly: Vec<Dyadic> =
                offset.iter().map(|x| Dyadic::from_ieee(x.to_bits(), 52, 11).expect("finite")).collect();
            let breaks = made.expect("as before").breaks(state, &multiple, &exactly);
            let Ok(breaks) = breaks else { continue };
            tally.claimed(POINT, &case.policy.head, quantity.name());
            tally.kinds.entry(kind.clone()).or_default().evaluations += 1;
            if !breaks {
                continue;
            }
            tally.kinds.entry(kind.clone()).or_default().attained += 1;
            if keeps {
                let what = format!("{} keeps {limit:?} at {multiple} and a point breaks it", family.name());
                tally.violation(kind.clone(), &what, &story(seed, case));
            }
            hold_point(seed, case, &place, (mask, quantity, limit.as_ref()), &exactly, kind, tally);
        }
    }
}

/// The policy at a point that is accepted to break a limit must pass it.
fn hold_point(
    seed: u64,
    case: &Case,
    place: &Place<'_>,
    (mask, quantity, limit): (usize, Quantity, Option<&Rational>),
    offset: &[Dyadic],
    kind: Kind,
    tally: &mut Tally,
) {
    let (network, mask) = (&case.policy.network, &case.masks[mask]);
    let outputs = |offset: Vec<Rational>| trace(network, mask, &place.point(offset).input).outputs;
    let clean = outputs(vec![Rational::zero(); offset.len()]);
    let moved = outputs(offset.iter().copied().map(Dyadic::to_rational).collect());
    // From above, as far as enclosures tell.
    let most: BigInt = match quantity {
        Quantity::ActionDeviation => {
            let each = clean.iter().zip(&moved).map(|(a, b)| (&b.1 - &a.0).max(&a.1 - &b.0));
            each.max().expect("an output")
        }
        Quantity::TotalVariation | Quantity::Divergence => {
            let found = distances(&case.policy.head, &clean, &moved).expect("a distribution");
            let [first, second] = found.divergence;
            match quantity {
                Quantity::TotalVariation => found.total_variation.1,
                _ => first.1.min(second.1),
            }
        }
        Quantity::SameActionMargin => {
            let pair = [(clean, moved)];
            let lead = truth(&case.policy.head, &pair, &same_outputs(network, mask)).margin.expect("outputs");
            // A lead that is lost is below 0.
            -lead.value
        }
    };
    let limit = limit.cloned().unwrap_or_else(Rational::zero);
    if most <= limit.floor_scaled(BITS) {
        let what = format!("{} above {limit} was accepted, found {}", quantity.name(), exact(&most));
        tally.violation(kind, &what, &story(seed, case));
    }
}
