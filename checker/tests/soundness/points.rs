//! Points of a perturbation set where bounds are met if anywhere: corners, axes, steepest directions, kinks, and points
//! between. Every one lies in the set exactly.

use num_bigint::BigInt;
use num_traits::ToPrimitive;
use secateur_checker::model::{Mask, Perturbation, Policy, SensorSet};
use secateur_checker::number::{Dyadic, Rational};
use secateur_testkit::case::Case;
use secateur_testkit::oracle::fixed::{BITS, Ends, change, ends_of, read_at, trace, within};
use secateur_testkit::random::Random;

use super::generate::kinks;

/// A perturbation of one state and what the network reads there.
#[derive(Clone)]
pub struct Point {
    pub change: Vec<Rational>,
    pub input: Vec<Ends>,
}

/// Where an adversary stands: a policy, a state (in its units) and the case's set.
pub struct Place<'a> {
    pub case: &'a Case,
    pub state: Vec<Rational>,
}

impl Place<'_> {
    pub fn policy(&self) -> &Policy {
        &self.case.policy
    }

    pub fn point(&self, change: Vec<Rational>) -> Point {
        let (units, set) = (self.case.states.units, self.case.set.units);
        Point { input: read_at(&self.case.policy, &self.state, units, set, &change), change }
    }

    /// The first is the state itself.
    pub fn points(&self, random: &mut Random, masks: &[Mask], count: usize) -> Vec<Point> {
        let inputs = self.state.len();
        let mut changes = vec![vec![Rational::zero(); inputs]];
        changes.extend(ends(self.case, inputs));
        if let Perturbation::L2 { radius } = &self.case.set.shape {
            for mask in masks.iter().take(2) {
                changes.extend(self.steepest(mask, radius));
            }
        }
        changes.extend((0..count).map(|_| change(random, self.case)));
        let mut points: Vec<Point> = changes.into_iter().map(|c| self.point(c)).collect();
        for _ in 0..count {
            if let Some(point) = self.kink(random, masks, &points) {
                points.push(point);
            }
        }
        points
    }

    /// Directions in which an output or a difference of two rises fastest at the state.
    fn steepest(&self, mask: &Mask, radius: &Rational) -> Vec<Vec<Rational>> {
        let at = |change: &[Rational]| {
            let input = self.point(change.to_vec()).input;
            trace(&self.policy().network, mask, &input).outputs
        };
        let zero = vec![Rational::zero(); self.state.len()];
        let clean = at(&zero);
        let step = radius.mul(&Rational::from_dyadic(1.into(), -6));
        let slopes: Vec<Vec<f64>> = (0..zero.len())
            .map(|input| {
                let mut moved = zero.clone();
                moved[input] = step.clone();
                at(&moved)
                    .iter()
                    .zip(&clean)
                    .map(|(m, c)| to_float(&(&m.0 - &c.0, BigInt::from(0))))
                    .collect()
            })
            .collect();
        let outputs = clean.len();
        let weight = |i: usize, j: usize| slopes.iter().map(move |s| s[i] - if i == j { 0.0 } else { s[j] });
        let pairs = (0..outputs).flat_map(|i| (0..outputs).map(move |j| (i, j)));
        let directions =
            pairs.flat_map(|(i, j)| [1.0, -1.0].map(|sign| weight(i, j).map(|w| w * sign).collect()));
        directions.filter_map(|direction: Vec<f64>| on_sphere(&direction, radius)).collect()
    }

    /// A point on the segment between two others, near where some neuron of some mask meets its kink.
    fn kink(&self, random: &mut Random, masks: &[Mask], points: &[Point]) -> Option<Point> {
        let (one, two) = (random.pick(points), random.pick(points));
        let mask = random.pick(masks);
        let network = &self.policy().network;
        let (first, second) = (trace(network, &mask, &one.input), trace(network, &mask, &two.input));
        let layer = random.between(0, network.layers.len() as i64 - 1) as usize;
        let kinks = kinks(&network.layers[layer].activation);
        let crossing = first.pre[layer].iter().zip(&second.pre[layer]).find_map(|(a, b)| {
            let (a, b) = (to_float(a), to_float(b));
            kinks.iter().map(|k| (rational_float(k) - a) / (b - a)).find(|t| *t > 0.0 && *t < 1.0)
        });
        let share = exact_float(crossing.unwrap_or(0.5))?;
        let mixed = one.change.iter().zip(&two.change).map(|(a, b)| a.add(&b.sub(a).mul(&share)));
        Some(self.point(mixed.collect()))
    }
}

pub fn to_float(ends: &Ends) -> f64 {
    ends.0.to_f64().unwrap_or(0.0) * 0.5f64.powi(BITS as i32)
}

/// Every corner of a box, both ends of every axis of a ball.
fn ends(case: &Case, inputs: usize) -> Vec<Vec<Rational>> {
    let shape = &case.set.shape;
    let radius = |input: usize| match shape {
        Perturbation::Linf { radius } | Perturbation::L2 { radius } => radius,
        Perturbation::PerCoordinate { radii } | Perturbation::Sensor(SensorSet { radii, .. }) => {
            &radii[input]
        }
    };
    if matches!(shape, Perturbation::L2 { .. }) {
        let axis = |(at, up): (usize, bool)| {
            let mut change = vec![Rational::zero(); inputs];
            change[at] = if up { radius(at).clone() } else { radius(at).neg() };
            change
        };
        return (0..inputs).flat_map(|at| [(at, true), (at, false)]).map(axis).collect();
    }
    let corner = |bits: usize| {
        let end = |at: usize| if bits >> at & 1 == 1 { radius(at).clone() } else { radius(at).neg() };
        (0..inputs).map(end).collect()
    };
    let corners = (0..1usize << inputs).map(corner);
    let Perturbation::Sensor(set) = shape else { return corners.collect() };
    // Every corner of the noise with either end of each offset.
    let mut all = Vec::new();
    for corner in corners {
        for ends in 0..1usize << set.shared.len() {
            let mut change = corner.clone();
            for (place, offset) in set.shared.iter().enumerate() {
                let moved = if ends >> place & 1 == 1 { offset.radius.clone() } else { offset.radius.neg() };
                offset.inputs.iter().for_each(|&input| change[input] = change[input].add(&moved));
            }
            all.push(within(case, set, change));
        }
    }
    all
}

/// The direction scaled to the sphere, from inside by less than `2^-20` of the radius.
fn on_sphere(direction: &[f64], radius: &Rational) -> Option<Vec<Rational>> {
    let largest = direction.iter().fold(0.0f64, |m, d| m.max(d.abs()));
    if !(largest > 0.0 && largest.is_finite()) {
        return None;
    }
    let whole: Vec<i64> = direction.iter().map(|d| (d / largest * f64::from(1 << 24)) as i64).collect();
    let square: i128 = whole.iter().map(|w| i128::from(*w).pow(2)).sum();
    let mut length = (square as f64).sqrt() as i128;
    while length * length < square {
        length += 1;
    }
    let share = |w: &i64| Rational::new((*w).into(), length.into()).map(|s| s.mul(radius)).ok();
    whole.iter().map(share).collect()
}

/// Near the number, which must not be far from 1.
pub fn rational_float(value: &Rational) -> f64 {
    to_float(&ends_of(value))
}

pub fn exact_float(value: f64) -> Option<Rational> {
    Dyadic::from_ieee(value.to_bits(), 52, 11).map(Dyadic::to_rational)
}
