//! What a policy is evaluated to do, against which claims are held: the largest change, distance and the least lead over
//! evaluated pairs of outputs, each rounded so that it never says more than what happens.

use num_bigint::BigInt;
use num_traits::{ToPrimitive, Zero};
use secateur_checker::model::{Head, Mask, Network};
use secateur_testkit::oracle::fixed::{BITS, Ends};

use super::functions::distances;
use super::points::rational_float;

/// A number on the grid of 2^-[`BITS`] and the number of the pair where it is reached.
#[derive(Clone, Debug)]
pub struct Peak {
    pub value: BigInt,
    pub pair: usize,
}

/// From below, except for the margin, which is from above.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub deviation: Vec<Peak>,
    pub total_variation: Option<Peak>,
    pub divergence: Option<Peak>,
    pub margin: Option<Peak>,
    /// Pairs evaluated.
    pub pairs: usize,
}

/// Outputs without and with the perturbation.
pub type Pair = (Vec<Ends>, Vec<Ends>);

/// What all pairs show together. `same` tells two outputs that are equal by construction, where enclosures cannot.
pub fn truth(head: &Head, pairs: &[Pair], same: &dyn Fn(usize, usize) -> bool) -> Truth {
    let mut found = Truth { pairs: pairs.len(), ..Truth::default() };
    let outputs = pairs.first().map_or(0, |p| p.0.len());
    found.deviation = (0..outputs)
        .map(|i| {
            let moved = pairs.iter().map(|(clean, there)| {
                let (a, b) = (&clean[i], &there[i]);
                (&b.0 - &a.1).max(&a.0 - &b.1).max(BigInt::zero())
            });
            greatest(moved)
        })
        .collect();
    if outputs > 1 && !matches!(head, Head::Gaussian { .. }) {
        let leads = pairs.iter().map(|(clean, there)| -least_lead(clean, there, same));
        let worst = greatest(leads);
        found.margin = Some(Peak { value: -worst.value, pair: worst.pair });
    }
    if !matches!(head, Head::Deterministic) {
        distribution(head, pairs, &mut found);
    }
    found
}

fn greatest(values: impl Iterator<Item = BigInt>) -> Peak {
    let mut best: Option<Peak> = None;
    for (pair, value) in values.enumerate() {
        if best.as_ref().is_none_or(|b| value > b.value) {
            best = Some(Peak { value, pair });
        }
    }
    best.unwrap_or(Peak { value: BigInt::zero(), pair: 0 })
}

/// The pairs that look farthest apart in f64 are evaluated.
fn distribution(head: &Head, pairs: &[Pair], found: &mut Truth) {
    let guess = |score: &dyn Fn(&[f64]) -> f64| {
        let scores = pairs.iter().map(|pair| score(&drift(head, pair)));
        let best = scores.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(0, |(pair, _)| pair)
    };
    let chosen = match head {
        Head::Gaussian { .. } => vec![guess(&|d| d.iter().map(|x| x * x).sum())],
        _ => {
            let spread = |d: &[f64]| {
                d.iter().fold(f64::MIN, |m, x| m.max(*x)) - d.iter().fold(f64::MAX, |m, x| m.min(*x))
            };
            let scores = pairs.iter().map(|pair| (categorical_guess(pair), pair));
            let mut best = [(0, f64::MIN); 2];
            for (index, ((variation, divergence), _)) in scores.enumerate() {
                for (best, score) in best.iter_mut().zip([variation, divergence]) {
                    if score > best.1 {
                        *best = (index, score);
                    }
                }
            }
            vec![best[0].0, best[1].0, guess(&spread)]
        }
    };
    let mut chosen = chosen;
    chosen.sort_unstable();
    chosen.dedup();
    for pair in chosen {
        let Some(found_there) = distances(head, &pairs[pair].0, &pairs[pair].1) else { return };
        let [one, two] = found_there.divergence;
        keep(&mut found.total_variation, found_there.total_variation.0, pair);
        keep(&mut found.divergence, one.0.max(two.0), pair);
    }
}

fn keep(best: &mut Option<Peak>, value: BigInt, pair: usize) {
    if best.as_ref().is_none_or(|b| value > b.value) {
        *best = Some(Peak { value, pair });
    }
}

fn float(value: &BigInt) -> f64 {
    value.to_f64().unwrap_or(0.0) * 0.5f64.powi(BITS as i32)
}

/// The change of every output, in standard deviations for a Gaussian.
fn drift(head: &Head, (clean, there): &Pair) -> Vec<f64> {
    let moved = clean.iter().zip(there).map(|(a, b)| float(&(&b.0 - &a.0)));
    match head {
        Head::Gaussian { log_std } => {
            let scales = log_std.iter().map(|l| (-rational_float(&l.to_rational())).exp());
            moved.zip(scales).map(|(m, s)| m * s).collect()
        }
        _ => moved.collect(),
    }
}

fn categorical_guess((clean, there): &Pair) -> (f64, f64) {
    let softmax = |outputs: &[Ends]| {
        let top = outputs.iter().map(|o| &o.0).max().cloned().unwrap_or_default();
        let powers: Vec<f64> = outputs.iter().map(|o| float(&(&o.0 - &top)).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|p| p / sum).collect::<Vec<f64>>()
    };
    let (p, q) = (softmax(clean), softmax(there));
    let variation = p.iter().zip(&q).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
    let divergence = |p: &[f64], q: &[f64]| {
        let terms = p.iter().zip(q).filter(|(a, _)| **a > 0.0);
        terms.map(|(a, b)| a * (a / b.max(1e-300)).ln()).sum::<f64>()
    };
    (variation, divergence(&p, &q).max(divergence(&q, &p)))
}

/// From above: the least lead, at `there`, of an output that is greatest at `clean`. Where enclosures leave open which that
/// is, the one that serves the claim best counts.
fn least_lead(clean: &[Ends], there: &[Ends], same: &dyn Fn(usize, usize) -> bool) -> BigInt {
    let outputs = clean.len();
    let lead = |p: usize| {
        let others = (0..outputs).filter(|j| *j != p);
        others
            .map(|j| if same(p, j) { BigInt::zero() } else { &there[p].1 - &there[j].0 })
            .min()
            .unwrap_or_default()
    };
    let surely = |p: &usize| (0..outputs).all(|j| j == *p || same(*p, j) || clean[*p].0 >= clean[j].1);
    let maybe = |p: &usize| (0..outputs).all(|j| clean[*p].1 >= clean[j].0);
    let sure = (0..outputs).filter(surely).map(lead).min();
    sure.unwrap_or_else(|| (0..outputs).filter(maybe).map(lead).max().unwrap_or_default())
}

/// Whether two outputs have the same row, bias and mask, and so are equal everywhere.
pub fn same_outputs(network: &Network, mask: &Mask) -> impl Fn(usize, usize) -> bool {
    let (layer, kept) = (network.layers.last().cloned(), mask.layers.last().cloned());
    move |i, j| {
        let (Some(layer), Some(kept)) = (&layer, &kept) else { return false };
        let columns = layer.weight.columns;
        let entry = |row: usize, at: usize| {
            let index = row * columns + at;
            if kept[index] {
                layer.weight.values[index].to_rational()
            } else {
                secateur_checker::number::Rational::zero()
            }
        };
        layer.bias[i] == layer.bias[j] && (0..columns).all(|at| entry(i, at) == entry(j, at))
    }
}
