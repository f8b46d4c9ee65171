//! Rules `head.softmax-tv` and `head.softmax-kl` beside plain evaluation of softmaxes: no change that keeps the gains moves a
//! policy further than they say, and with two actions some change does.

#![allow(
    clippy::disallowed_types,
    clippy::as_conversions,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::integer_division
)]

use secateur_kernel::head::{HeadBounds, OutputChange};
use secateur_kernel::interval::GridBox;
use secateur_kernel::model::Head;
use secateur_kernel::number::Rational;
use secateur_kernel::softmax::{PolicyChange, Softmax};
use secateur_testkit::random::Random;

const BITS: u32 = 30;
const UNIT: f64 = (1u64 << BITS) as f64;
/// What the plain evaluation may be off by.
const SLACK: f64 = 1e-12;

fn float(value: &Rational) -> f64 {
    // The numbers are multiples of 2^-96 or 2^-97 of moderate size.
    let scaled: f64 = value.floor_scaled(60).to_string().parse().unwrap();
    scaled / 2f64.powi(60) + 2f64.powi(-60)
}

fn probabilities(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = logits.iter().map(|z| (z - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// Total variation, and the larger of the two divergences.
fn distances(clean: &[f64], moved: &[f64]) -> (f64, f64) {
    let (p, q) = (probabilities(clean), probabilities(moved));
    let variation = p.iter().zip(&q).map(|(p, q)| (q - p).max(0.0)).sum();
    let divergence = |p: &[f64], q: &[f64]| {
        p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q).ln()).sum::<f64>()
    };
    (variation, divergence(&p, &q).max(divergence(&q, &p)))
}

fn grid(values: &[f64]) -> Vec<i64> {
    values.iter().map(|x| (x * UNIT).round() as i64).collect()
}

fn bound(logits: &[(i64, i64)], gains: &[i64], oscillation: i64) -> PolicyChange {
    let logits = GridBox::from_intervals(logits.iter().copied());
    Softmax::new(&logits, BITS).unwrap().change(gains, oscillation).unwrap()
}

/// The least gains, and the oscillation, that a list of changes keeps.
fn gains_of(changes: &[Vec<i64>], actions: usize) -> (Vec<i64>, i64) {
    let mut gains = vec![i64::MIN; actions * actions];
    for change in changes {
        for i in 0..actions {
            for j in 0..actions {
                gains[i * actions + j] = gains[i * actions + j].max(change[i] - change[j]);
            }
        }
    }
    let oscillation = gains.iter().copied().max().unwrap().max(0);
    (gains, oscillation)
}

/// Policies looked at, with twelve changes each; the long run is `SECATEUR_SAMPLES=100000`.
fn rounds() -> usize {
    std::env::var("SECATEUR_SAMPLES").ok().and_then(|n| n.parse().ok()).unwrap_or(4000)
}

/// Changes that share their gains: at random, at the corners of a box, and by one action against all others, under policies
/// from nearly uniform to nearly certain, with logits known exactly or to an interval.
#[test]
fn no_change_moves_a_softmax_further() {
    let mut random = Random(20);
    let mut closest = 0f64;
    for round in 0..rounds() {
        let actions = if round % 100 == 0 { 9 + random.below(5) } else { 1 + random.below(6) };
        let spread = 10f64.powf(-2.0 + 3.2 * random.unit());
        let size = 10f64.powf(-4.0 + 4.8 * random.unit());
        let mut near_zero = |size: f64| size * (2.0 * random.unit() - 1.0);
        let logits = grid(&(0..actions).map(|_| near_zero(spread)).collect::<Vec<_>>());
        let corner: Vec<f64> = (0..actions).map(|_| near_zero(size)).collect();
        let inside: Vec<f64> = (0..actions * 4).map(|_| near_zero(size)).collect();
        let width = if round % 3 == 0 { (0.2 * UNIT) as i64 } else { 0 };
        let enclosed: Vec<_> = logits.iter().map(|z| (*z, z + random.between(0, width))).collect();
        let changes: Vec<Vec<i64>> = (0..12)
            .map(|kind| {
                let one = random.below(actions);
                let mut change = |action: usize| match kind {
                    0..4 => inside[kind * actions + action],
                    4..8 if random.one_in(2) => -corner[action],
                    4..8 => corner[action],
                    _ if action == one => size,
                    _ => 0.0,
                };
                grid(&(0..actions).map(&mut change).collect::<Vec<_>>())
            })
            .collect();
        let (gains, oscillation) = gains_of(&changes, actions);
        let found = bound(&enclosed, &gains, oscillation);
        let (variation, divergence) = (float(&found.total_variation), float(&found.divergence));
        for change in &changes {
            let clean: Vec<i64> = enclosed.iter().map(|(l, u)| random.between(*l, *u)).collect();
            let moved: Vec<f64> = clean.iter().zip(change).map(|(z, t)| (z + t) as f64 / UNIT).collect();
            let clean: Vec<f64> = clean.iter().map(|z| *z as f64 / UNIT).collect();
            let (tv, kl) = distances(&clean, &moved);
            assert!(tv <= variation + SLACK, "round {round}: total variation {tv}, bound {variation}");
            assert!(kl <= divergence + SLACK, "round {round}: divergence {kl}, bound {divergence}");
            closest = closest.max(tv / variation.max(SLACK));
        }
    }
    assert!(closest > 0.999, "nothing came near a bound: {closest}");
}

/// With two actions one change moves the policy as far as the bound, which is at most that of the worst policy.
#[test]
fn two_actions_attain_the_total_variation() {
    let head = HeadBounds::new(&Head::Categorical).unwrap();
    for lead in [0.0, 0.3, 1.0, 2.5, 6.0, 20.0] {
        for gain in [1e-6, 0.01, 0.5, 1.0, 3.0, 9.0] {
            let (z, t) = (grid(&[lead, 0.0]), grid(&[0.0, gain]));
            let found = bound(&[(z[0], z[0]), (z[1], z[1])], &[0, t[1], t[1], 0], t[1]);
            let reach = [[0.0, gain], [gain, 0.0]].map(|t| distances(&[lead, 0.0], &[lead + t[0], t[1]]).0);
            let reached = reach[0].max(reach[1]);
            let variation = float(&found.total_variation);
            assert!((variation - reached).abs() < 1e-9, "{lead} {gain}: {reached} of {variation}");
            let change = OutputChange {
                deviation: vec![Rational::zero(); 2],
                oscillation: Rational::on_grid(t[1], BITS),
                euclidean: None,
                policy: None,
                distance: None,
            };
            let worst = float(&head.total_variation(&change).unwrap());
            let known = OutputChange { policy: Some(found), ..change };
            let least = float(&head.total_variation(&known).unwrap());
            assert!(least <= worst && (least - variation.min(worst)).abs() < 1e-15, "{least} {worst}");
        }
    }
}
