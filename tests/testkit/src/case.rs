//! Seeded random networks, masks, states and adversaries, small enough for exact arithmetic.

#[cfg(feature = "checker")]
use secateur_checker::rejection::{Entry, Reason, Rejection};
use secateur_kernel::model::{
    Activation, Head, InputLimit, Layer, Mask, Matrix, Network, Normaliser, Perturbation, PerturbationSet,
    Policy, SensorSet, SharedOffset, States, Units,
};
use secateur_kernel::number::{Dyadic, Rational};

use crate::random::Random;

pub fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

/// How a layer's weights are stored.
#[derive(Clone, Copy, PartialEq)]
pub enum Stored {
    Single,
    Double,
    /// Some entries below the grid, subnormal ones among them.
    Tiny,
}

pub fn weight(random: &mut Random, stored: Stored) -> Dyadic {
    let sign = |x: f64, random: &mut Random| if random.one_in(2) { -x } else { x };
    let unit = random.unit();
    let of_double = |x: f64| Dyadic::from_ieee(x.to_bits(), 52, 11).unwrap();
    match stored {
        Stored::Single => {
            let x = sign(unit * 1.5, random) as f32;
            Dyadic::from_ieee(u64::from(x.to_bits()), 23, 8).unwrap()
        }
        Stored::Double => of_double(sign(unit * 1.5, random)),
        Stored::Tiny => {
            let scale = random.pick(&[1.0, 1e-3, 1e-13, 1e-16, 1e-40, 1e-310, 0.0]);
            of_double(sign(unit * scale, random))
        }
    }
}

pub fn activations() -> Vec<Activation> {
    let clip = |lower, upper| Activation::Clip { lower: r(lower), upper: r(upper) };
    vec![
        Activation::Identity,
        Activation::Relu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::LeakyRelu { slope: r("1/100") },
        Activation::LeakyRelu { slope: r("1/3") },
        Activation::LeakyRelu { slope: r("0") },
        Activation::LeakyRelu { slope: r("1") },
        clip("-1", "1"),
        clip("-1/3", "2/7"),
        clip("1/10", "1/5"),
        clip("-1e-15", "1e-16"),
        Activation::Elu { alpha: Rational::one() },
        Activation::Elu { alpha: r("2/3") },
        Activation::Silu,
        Activation::Silu,
    ]
}

/// A network with the given widths; `activation` chooses each layer's.
pub fn network(
    random: &mut Random,
    widths: &[usize],
    stored: Stored,
    mut activation: impl FnMut(&mut Random) -> Activation,
) -> Network {
    let mut layers = Vec::new();
    for pair in widths.windows(2) {
        let values = (0..pair[0] * pair[1]).map(|_| weight(random, stored)).collect();
        layers.push(Layer {
            fixed: false,
            weight: Matrix { rows: pair[1], columns: pair[0], values },
            bias: (0..pair[1]).map(|_| weight(random, stored)).collect(),
            activation: activation(random),
        });
    }
    Network { layers }
}

/// Nested masks, the first one all kept or not.
pub fn masks(random: &mut Random, network: &Network, count: usize) -> Vec<Mask> {
    let mut kept: Vec<Vec<bool>> = network.layers.iter().map(|l| vec![true; l.weight.values.len()]).collect();
    let mut masks = Vec::new();
    for step in 0..count {
        if step > 0 || random.one_in(2) {
            for entry in kept.iter_mut().flatten() {
                *entry = *entry && !random.one_in(4);
            }
        }
        masks.push(Mask { layers: kept.clone() });
    }
    masks
}

/// Everything a family is evaluated on, with one state.
pub struct Case {
    pub policy: Policy,
    pub masks: Vec<Mask>,
    pub states: States,
    pub set: PerturbationSet,
}

pub const RADII: [&str; 6] = ["0", "1e-6", "1e-5", "1/20", "1/3", "3/2"];

pub fn case(random: &mut Random) -> Case {
    let inputs = random.between(1, 4) as usize;
    let mut widths = vec![inputs];
    for _ in 0..random.between(1, 3) {
        widths.push(random.between(1, 5) as usize);
    }
    let stored = random.pick(&[Stored::Single, Stored::Double, Stored::Tiny]);
    let choices = activations();
    let common = random.pick(&choices);
    let mixed = random.one_in(3);
    let network =
        network(random, &widths, stored, |random| if mixed { random.pick(&choices) } else { common.clone() });
    let outputs = network.outputs();
    let head = match random.between(0, 2) {
        0 => Head::Categorical,
        1 => Head::Deterministic,
        _ => Head::Gaussian { log_std: vec![Dyadic::new(-1, 0); outputs] },
    };
    let clip = random.pick(&[None, Some("1"), Some("1/3"), Some("10")]).map(r);
    let normaliser = (!random.one_in(3)).then(|| Normaliser {
        mean: (0..inputs).map(|_| weight(random, Stored::Single)).collect(),
        std: (0..inputs).map(|_| Dyadic::new(random.between(1, 1 << 20), -19).to_rational()).collect(),
        clip,
    });
    let masks = {
        let count = random.between(1, 3) as usize;
        masks(random, &network, count)
    };
    let policy = Policy { network, head, normaliser, source: None };
    let units = [Units::Raw, Units::Normalised];
    let values = (0..inputs).map(|_| state_entry(random)).collect();
    let states = States { values: Matrix { rows: 1, columns: inputs, values }, units: random.pick(&units) };
    let radius = r(random.pick(&RADII));
    let shape = match random.between(0, 2) {
        0 => Perturbation::Linf { radius },
        1 => Perturbation::L2 { radius },
        _ if random.one_in(2) => {
            let units = random.pick(&units);
            let row: Vec<Rational> = states.values.values.iter().map(|x| x.to_rational()).collect();
            let base = base(&policy, &row, states.units, units);
            let shape = Perturbation::Sensor(sensor(random, &[base]));
            return Case { policy, masks, states, set: PerturbationSet { shape, units } };
        }
        _ => Perturbation::PerCoordinate { radii: (0..inputs).map(|_| r(random.pick(&RADII))).collect() },
    };
    Case { policy, masks, states, set: PerturbationSet { shape, units: random.pick(&units) } }
}

/// A state in the units of a perturbation.
pub fn base(policy: &Policy, state: &[Rational], state_units: Units, set_units: Units) -> Vec<Rational> {
    let Some(normaliser) = &policy.normaliser else { return state.to_vec() };
    let entries = state.iter().zip(normaliser.mean.iter().zip(&normaliser.std));
    let entry = |(x, (mean, std)): (&Rational, (&Dyadic, &Rational))| {
        let mean = mean.to_rational();
        match (state_units, set_units) {
            (Units::Raw, Units::Normalised) => {
                let seen = x.sub(&mean).div(std).unwrap();
                match &normaliser.clip {
                    Some(clip) => seen.min(clip.clone()).max(clip.neg()),
                    None => seen,
                }
            }
            (Units::Normalised, Units::Raw) => x.mul(std).add(&mean),
            (Units::Raw, Units::Raw) | (Units::Normalised, Units::Normalised) => x.clone(),
        }
    };
    entries.map(entry).collect()
}

/// A sensor's set around states in its units: some inputs share offsets, some have limits, and the states are within them.
pub fn sensor(random: &mut Random, bases: &[Vec<Rational>]) -> SensorSet {
    let inputs = bases.first().map_or(0, Vec::len);
    let radii = (0..inputs).map(|_| r(random.pick(&RADII))).collect();
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); 2];
    for input in 0..inputs {
        if let Some(group) = groups.get_mut(random.between(0, 2) as usize) {
            group.push(input);
        }
    }
    let shared = groups.into_iter().filter(|group| !group.is_empty()).map(|inputs| SharedOffset {
        radius: r(random.pick(&["0", "1e-5", "1/20", "1/3", "3/2", "2"])),
        inputs,
    });
    let shared = shared.collect();
    let mut limits = Vec::new();
    for input in 0..inputs {
        if random.one_in(4) {
            let values = || bases.iter().filter_map(|base| base.get(input)).cloned();
            let (least, most) = (values().min().unwrap(), values().max().unwrap());
            let mut room = || r(random.pick(&["0", "1e-5", "1/30", "1/3", "5"]));
            limits.push(InputLimit { input, lower: least.sub(&room()), upper: most.add(&room()) });
        }
    }
    SensorSet { radii, shared, limits }
}

/// A state entry: often small, sometimes exactly at or just beside a clip limit.
fn state_entry(random: &mut Random) -> Dyadic {
    match random.between(0, 5) {
        0 => Dyadic::new(1, 0),
        1 => Dyadic::new(-(1 << 40) + 1, -40),
        2 => Dyadic::ZERO,
        _ => weight(random, Stored::Single),
    }
}

/// A rejection of an entry of one of a certificate's lists; `part` as it follows the position.
#[cfg(feature = "checker")]
pub fn refused(kind: &'static str, position: usize, part: &str, reason: Reason) -> Rejection {
    Rejection { entry: Some(Entry { kind, position, part: part.to_owned() }), reason }
}
