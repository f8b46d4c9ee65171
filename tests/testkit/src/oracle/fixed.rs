//! What a policy computes at one perturbed observation, enclosed on a grid of 2^-192 in big integers, and points of a
//! perturbation set.

use num_bigint::BigInt;
use num_integer::Integer;
use secateur_kernel::enclose::tanh;
use secateur_kernel::model::{Activation, Mask, Network, Perturbation, Policy, SensorSet, Units};
use secateur_kernel::number::{Dyadic, Rational};

use super::curve;
use crate::case::{Case, base};
use crate::random::Random;

pub const BITS: u32 = 192;

/// Lower and upper end on the grid.
pub type Ends = (BigInt, BigInt);

/// Pre-activations of every layer and the outputs.
pub struct Trace {
    pub pre: Vec<Vec<Ends>>,
    pub outputs: Vec<Ends>,
}

pub fn ends_of(value: &Rational) -> Ends {
    (value.floor_scaled(BITS), value.ceil_scaled(BITS))
}

/// A number on a coarser grid.
pub fn grid(value: i64, value_bits: u32) -> BigInt {
    BigInt::from(value) << (BITS - value_bits)
}

fn shift(value: BigInt, exponent: i32, up: bool) -> BigInt {
    match (exponent >= 0, up) {
        (true, _) => value << exponent,
        (false, false) => value.div_floor(&(BigInt::from(1) << exponent.unsigned_abs())),
        (false, true) => value.div_ceil(&(BigInt::from(1) << exponent.unsigned_abs())),
    }
}

fn times(weight: Dyadic, x: &Ends) -> Ends {
    let (a, b) = (&x.0 * weight.mantissa, &x.1 * weight.mantissa);
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    (shift(low, weight.exponent, false), shift(high, weight.exponent, true))
}

/// Bits that curves have beyond this grid.
const FINER: u32 = curve::FINE - BITS;

fn coarse((low, high): Ends) -> Ends {
    (low >> FINER, -(-high >> FINER))
}

pub fn activate(activation: &Activation, x: &Ends) -> Ends {
    let map = |f: &dyn Fn(&BigInt) -> Ends| (f(&x.0).0, f(&x.1).1);
    let rational = |v: &BigInt| Rational::from_dyadic(v.clone(), -i64::from(BITS));
    match activation {
        Activation::Identity => x.clone(),
        Activation::Relu => map(&|v| (v.clone().max(0.into()), v.clone().max(0.into()))),
        Activation::LeakyRelu { slope } => map(&|v| {
            let leaked = v * slope.numerator();
            if *v >= BigInt::from(0) {
                (v.clone(), v.clone())
            } else {
                (leaked.div_floor(slope.denominator()), leaked.div_ceil(slope.denominator()))
            }
        }),
        Activation::Tanh => map(&|v| {
            let value = tanh(&rational(v)).expect("tanh");
            (value.lower.floor_scaled(BITS), value.upper.ceil_scaled(BITS))
        }),
        Activation::Sigmoid => map(&|v| {
            let value = tanh(&rational(v).mul(&Rational::from_dyadic(1.into(), -1))).expect("tanh");
            let half = |t: &Rational| t.add(&Rational::one()).mul(&Rational::from_dyadic(1.into(), -1));
            (half(&value.lower).floor_scaled(BITS), half(&value.upper).ceil_scaled(BITS))
        }),
        Activation::Elu { alpha } => coarse(curve::elu_over(alpha, &(&x.0 << FINER), &(&x.1 << FINER))),
        Activation::Silu => coarse(curve::silu_over(&(&x.0 << FINER), &(&x.1 << FINER))),
        Activation::Clip { lower, upper } => map(&|v| {
            let ((l0, l1), (u0, u1)) = (ends_of(lower), ends_of(upper));
            (v.clone().max(l0).min(u0), v.clone().max(l1).min(u1))
        }),
    }
}

pub fn trace(network: &Network, mask: &Mask, input: &[Ends]) -> Trace {
    let mut values = input.to_vec();
    let mut all = Vec::new();
    for (layer, kept) in network.layers.iter().zip(&mask.layers) {
        let columns = layer.weight.columns;
        let row = |i: usize| {
            let mut sum = ends_of(&layer.bias[i].to_rational());
            for (j, value) in values.iter().enumerate().filter(|(j, _)| kept[i * columns + j]) {
                let term = times(layer.weight.values[i * columns + j], value);
                sum = (sum.0 + term.0, sum.1 + term.1);
            }
            sum
        };
        let pre: Vec<Ends> = (0..layer.weight.rows).map(row).collect();
        values = pre.iter().map(|z| activate(&layer.activation, z)).collect();
        all.push(pre);
    }
    Trace { pre: all, outputs: values }
}

/// What the network reads at the case's first state when `change` is added to it, in the set's units.
pub fn read(case: &Case, change: &[Rational]) -> Vec<Ends> {
    let entries = case.states.values.values.iter().take(case.states.values.columns);
    let state: Vec<Rational> = entries.map(|x| x.to_rational()).collect();
    read_at(&case.policy, &state, case.states.units, case.set.units, change)
}

/// What the network reads at `state`, in its units, when `change` is added to it, in the set's.
pub fn read_at(
    policy: &Policy,
    state: &[Rational],
    state_units: Units,
    set_units: Units,
    change: &[Rational],
) -> Vec<Ends> {
    let limit = policy.normaliser.as_ref().and_then(|n| n.clip.clone());
    let clip = |x: Rational| match &limit {
        Some(limit) => x.min(limit.clone()).max(limit.neg()),
        None => x,
    };
    let seen = state.iter().zip(change).enumerate().map(|(i, (state, change))| {
        let Some(normaliser) = &policy.normaliser else { return state.add(change) };
        let (mean, std) = (normaliser.mean[i].to_rational(), normaliser.std[i].clone());
        let normalise = |x: &Rational| clip(x.sub(&mean).div(&std).unwrap());
        match (state_units, set_units) {
            (Units::Raw, Units::Normalised) => normalise(state).add(change),
            (Units::Raw, Units::Raw) => normalise(&state.add(change)),
            (Units::Normalised, Units::Normalised) => state.add(change),
            (Units::Normalised, Units::Raw) => normalise(&state.mul(&std).add(&mean).add(change)),
        }
    });
    seen.map(|x| ends_of(&x)).collect()
}

/// A change within the perturbation set: a corner, a face, or a point inside; exactly within.
pub fn change(random: &mut Random, case: &Case) -> Vec<Rational> {
    let inputs = case.policy.network.inputs();
    let corner = random.one_in(2);
    let mut direction: Vec<i64> =
        (0..inputs).map(|_| if corner { random.pick(&[-64, 64]) } else { random.between(-64, 64) }).collect();
    let ratio = |top: i64, bottom: i64| Rational::new(top.into(), bottom.into()).unwrap();
    match &case.set.shape {
        Perturbation::Linf { radius } => direction.iter().map(|&d| radius.mul(&ratio(d, 64))).collect(),
        Perturbation::PerCoordinate { radii } => {
            direction.iter().zip(radii).map(|(&d, radius)| radius.mul(&ratio(d, 64))).collect()
        }
        Perturbation::Sensor(set) => {
            let own = direction.iter().zip(&set.radii).map(|(&d, radius)| radius.mul(&ratio(d, 64)));
            let mut change: Vec<Rational> = own.collect();
            for offset in &set.shared {
                let ends = [-64, 64, random.between(-64, 64)];
                let moved = offset.radius.mul(&ratio(random.pick(&ends), 64));
                offset.inputs.iter().for_each(|&input| change[input] = change[input].add(&moved));
            }
            within(case, set, change)
        }
        Perturbation::L2 { radius } => {
            if random.one_in(4) {
                let axis = random.between(0, inputs as i64 - 1) as usize;
                direction.iter_mut().enumerate().filter(|(i, _)| *i != axis).for_each(|(_, d)| *d = 0);
            }
            let square: i64 = direction.iter().map(|d| d * d).sum();
            let mut length = (square as f64).sqrt() as i64;
            while length * length < square {
                length += 1;
            }
            direction.iter().map(|&d| radius.mul(&ratio(d, length.max(1)))).collect()
        }
    }
}

/// A change on the way from the state to `change`, as far as limits allow at every listed state: the set holds the state and
/// is convex.
pub fn within(case: &Case, set: &SensorSet, change: Vec<Rational>) -> Vec<Rational> {
    let mut share = Rational::one();
    for row in case.states.values.values.chunks(case.states.values.columns) {
        let row: Vec<Rational> = row.iter().map(|x| x.to_rational()).collect();
        let base = base(&case.policy, &row, case.states.units, case.set.units);
        for limit in &set.limits {
            let (at, moved) = (&base[limit.input], &change[limit.input]);
            let room = if moved.is_negative() { limit.lower.sub(at) } else { limit.upper.sub(at) };
            if room.abs() < moved.abs() {
                share = share.min(room.div(moved).unwrap());
            }
        }
    }
    change.into_iter().map(|moved| moved.mul(&share)).collect()
}
