//! Small seeded policies, masks, states and adversaries full of corners: equal and nearly equal outputs, rows and columns
//! of zeros, weights from 2^-40 to 2^20, states on kinks and clip ends, masks that move the preferred output.

use num_bigint::BigInt;
use num_traits::{ToPrimitive, Zero};
use secateur_checker::model::{
    Activation, Head, Layer, Mask, Matrix, Network, Normaliser, Perturbation, PerturbationSet, Policy,
    States, Units,
};
use secateur_checker::number::{Dyadic, Rational};

use secateur_testkit::case::{Case, Stored, activations, base, case, r, sensor, weight};
use secateur_testkit::oracle::fixed::{BITS, ends_of, read, trace};
use secateur_testkit::random::Random;

/// How the entries of a network are drawn.
#[derive(Clone, Copy)]
enum Palette {
    Whole,
    Eighths,
    Extreme,
    Stored(Stored),
    Mixed,
}

const RADII: [&str; 8] = ["0", "1e-6", "1/1073741824", "1/20", "1/4", "1/4", "1", "3/2"];

/// The example of a seed: one in five from the checker's own generator, the others full of corners.
pub fn example(seed: u64) -> Case {
    let mut random = Random(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
    if random.one_in(5) {
        return case(&mut random);
    }
    let mut made = corner(&mut random);
    settle(&mut random, &mut made);
    made
}

fn entry(random: &mut Random, palette: Palette) -> Dyadic {
    let sign = random.pick(&[-1i64, 1]);
    match palette {
        Palette::Whole => Dyadic::new(random.pick(&[-2, -1, -1, 0, 0, 1, 1, 2, 4, 8]), 0),
        Palette::Eighths => Dyadic::new(random.between(-16, 16), -3),
        Palette::Extreme => {
            let exponent = random.pick(&[-40, -30, -20, -3, 0, 0, 0, 10, 20]);
            if random.one_in(5) { negative_zero() } else { Dyadic::new(sign, exponent) }
        }
        Palette::Stored(stored) => weight(random, stored),
        Palette::Mixed => {
            let palette = random.pick(&[
                Palette::Whole,
                Palette::Eighths,
                Palette::Extreme,
                Palette::Stored(Stored::Single),
                Palette::Stored(Stored::Tiny),
            ]);
            entry(random, palette)
        }
    }
}

/// -0 as binary64 stores it.
fn negative_zero() -> Dyadic {
    Dyadic::from_ieee(1 << 63, 52, 11).expect("a number")
}

fn bias(random: &mut Random, palette: Palette) -> Dyadic {
    match random.between(0, 5) {
        0 | 1 => Dyadic::ZERO,
        2 => Dyadic::new(random.pick(&[-1, 1]), -60),
        3 => Dyadic::new(random.pick(&[-1, 1]), -3),
        _ => entry(random, palette),
    }
}

fn corner_layer(random: &mut Random, (inputs, outputs): (usize, usize), last: bool) -> Layer {
    let palette = random.pick(&[
        Palette::Whole,
        Palette::Whole,
        Palette::Eighths,
        Palette::Extreme,
        Palette::Stored(Stored::Single),
        Palette::Stored(Stored::Double),
        Palette::Mixed,
    ]);
    let mut values: Vec<Dyadic> = (0..inputs * outputs).map(|_| entry(random, palette)).collect();
    let mut biases: Vec<Dyadic> = (0..outputs).map(|_| bias(random, palette)).collect();
    let place = |random: &mut Random, n: usize| random.between(0, n as i64 - 1) as usize;
    if random.one_in(2) {
        let share = random.pick(&[2, 3]);
        values.iter_mut().filter(|_| random.one_in(share)).for_each(|w| *w = Dyadic::ZERO);
    }
    if random.one_in(4) {
        let row = place(random, outputs);
        values[row * inputs..(row + 1) * inputs].fill(Dyadic::ZERO);
    }
    if random.one_in(6) {
        let column = place(random, inputs);
        values.iter_mut().skip(column).step_by(inputs).for_each(|w| *w = negative_zero());
    }
    if outputs > 1 && random.one_in(4) {
        let (from, to) = (place(random, outputs), place(random, outputs));
        let row = values[from * inputs..(from + 1) * inputs].to_vec();
        values[to * inputs..(to + 1) * inputs].copy_from_slice(&row);
        biases[to] = biases[from];
    }
    let clip = Activation::Clip { lower: r("-1"), upper: r("1") };
    let elu = Activation::Elu { alpha: r(random.pick(&["1", "1", "1/2", "1/1073741824"])) };
    let usual = [
        Activation::Relu,
        Activation::Relu,
        Activation::Tanh,
        Activation::Sigmoid,
        clip,
        elu,
        Activation::Silu,
        Activation::Silu,
    ];
    let activation = match random.between(0, 3) {
        1.. if last => Activation::Identity,
        0 | 1 => random.pick(&activations()),
        _ => random.pick(&usual),
    };
    // A scale layer: diagonal, and no mask touches it.
    let fixed = inputs == outputs && random.one_in(4);
    let diagonal = |at: &usize| fixed && at / inputs != at % inputs;
    (0..values.len()).filter(diagonal).for_each(|at| values[at] = Dyadic::ZERO);
    Layer { fixed, weight: Matrix { rows: outputs, columns: inputs, values }, bias: biases, activation }
}

fn corner(random: &mut Random) -> Case {
    let inputs = random.pick(&[1usize, 2, 2, 3, 4]);
    let depth = random.pick(&[1usize, 1, 2, 2, 3]);
    let mut widths = vec![inputs];
    widths.extend((1..depth).map(|_| random.between(1, 4) as usize));
    widths.push(random.pick(&[1usize, 2, 2, 3, 3, 4]));
    let pairs: Vec<(usize, usize)> = widths.windows(2).map(|w| (w[0], w[1])).collect();
    let layers = pairs.iter().enumerate().map(|(i, &pair)| corner_layer(random, pair, i + 1 == depth));
    let network = Network { layers: layers.collect() };
    let deviations = [-3i64, -1, 0, 0, 1, 2];
    let head = match random.between(0, 2) {
        0 => Head::Categorical,
        1 => Head::Deterministic,
        _ => {
            let entries = (0..network.outputs()).map(|_| Dyadic::new(random.pick(&deviations), -1));
            Head::Gaussian { log_std: entries.collect() }
        }
    };
    let normaliser = random.one_in(2).then(|| Normaliser {
        mean: (0..inputs).map(|_| Dyadic::new(random.between(-4, 4), -2)).collect(),
        std: (0..inputs).map(|_| r(random.pick(&["1", "1/2", "2", "3/4", "1/64", "5/7"]))).collect(),
        clip: random.pick(&[None, Some("1"), Some("1/3"), Some("2"), Some("10")]).map(r),
    });
    let units = [Units::Raw, Units::Normalised];
    let (state_units, set_units) = (random.pick(&units), random.pick(&units));
    let rows = random.pick(&[1usize, 1, 2, 3]);
    let values =
        (0..rows * inputs).map(|i| state_entry(random, normaliser.as_ref(), i % inputs, state_units));
    let values = Matrix { rows, columns: inputs, values: values.collect() };
    let masks = nested(random, &network);
    let policy = Policy { network, head, normaliser, source: None };
    let radius = r(random.pick(&RADII));
    let shape = match random.between(0, 3) {
        0 => Perturbation::L2 { radius },
        1 if random.one_in(2) => {
            let columns = values.values.chunks(inputs).map(|row| {
                let row: Vec<Rational> = row.iter().map(|x| x.to_rational()).collect();
                base(&policy, &row, state_units, set_units)
            });
            Perturbation::Sensor(sensor(random, &columns.collect::<Vec<_>>()))
        }
        1 => Perturbation::PerCoordinate { radii: (0..inputs).map(|_| r(random.pick(&RADII))).collect() },
        _ => Perturbation::Linf { radius },
    };
    let mut set = PerturbationSet { shape, units: set_units };
    // A ball that the normaliser's clip cuts in some coordinates and not in others.
    if policy.normaliser.as_ref().is_some_and(|n| n.clip.is_some()) && random.one_in(3) {
        let radius = r(random.pick(&["1/4", "1", "3/2"]));
        set = PerturbationSet { shape: Perturbation::L2 { radius }, units: Units::Raw };
    }
    Case { policy, masks, states: States { values, units: state_units }, set }
}

/// Small numbers, and the two ends of the clip where they are dyadic.
fn state_entry(random: &mut Random, normaliser: Option<&Normaliser>, input: usize, units: Units) -> Dyadic {
    if let Some((n, clip)) = normaliser.and_then(|n| Some((n, n.clip.as_ref()?)))
        && random.one_in(3)
    {
        let end = if random.one_in(2) { clip.clone() } else { clip.neg() };
        let raw = end.mul(&n.std[input]).add(&n.mean[input].to_rational());
        let end = if units == Units::Raw { raw } else { end };
        if let Some(end) = exact_dyadic(&end.floor_scaled(40), 40) {
            return end;
        }
    }
    match random.between(0, 4) {
        0 => Dyadic::ZERO,
        1 => Dyadic::new(random.pick(&[-1, 1]), 0),
        2 | 3 => Dyadic::new(random.between(-16, 16), -3),
        _ => weight(random, Stored::Single),
    }
}

/// `value * 2^-bits` as a stored number, if 53 bits suffice.
fn exact_dyadic(value: &BigInt, bits: u32) -> Option<Dyadic> {
    if value.is_zero() {
        return Some(Dyadic::ZERO);
    }
    let zeros = value.trailing_zeros()?;
    let mantissa = (value >> zeros).to_i64().filter(|m| m.unsigned_abs() < 1 << 53)?;
    Some(Dyadic::new(mantissa, i32::try_from(zeros).ok()? - i32::try_from(bits).ok()?))
}

/// A nested list of one to four masks: steps that prune nothing, steps that prune all, and what lies between.
fn nested(random: &mut Random, network: &Network) -> Vec<Mask> {
    let mut kept: Vec<Vec<bool>> = network.layers.iter().map(|l| vec![true; l.weight.values.len()]).collect();
    let mut masks = Vec::new();
    let count = random.pick(&[1usize, 1, 2, 2, 3, 4]);
    for step in 0..count {
        if step > 0 || random.one_in(3) {
            let share = random.pick(&[1, 2, 3, 6, 100]);
            let none = random.one_in(8);
            let learned = kept.iter_mut().zip(&network.layers).filter(|(_, layer)| !layer.fixed);
            for entry in learned.flat_map(|(kept, _)| kept) {
                *entry = *entry && !none && !(share < 100 && random.one_in(share + 1));
            }
        }
        masks.push(Mask { layers: kept.clone() });
    }
    masks
}

/// Moves biases, where the numbers stay exact: neurons onto their kinks at the first state, outputs onto others there.
fn settle(random: &mut Random, case: &mut Case) {
    let zero = vec![Rational::zero(); case.policy.network.inputs()];
    let here = read(case, &zero);
    let mask = random.pick(&case.masks);
    if random.one_in(2) {
        for layer in 0..case.policy.network.layers.len() {
            let kinks = kinks(&case.policy.network.layers[layer].activation);
            for neuron in 0..case.policy.network.layers[layer].weight.rows {
                if !kinks.is_empty() && random.one_in(2) {
                    let pre = trace(&case.policy.network, &mask, &here).pre[layer][neuron].clone();
                    let target = ends_of(&random.pick(&kinks));
                    if pre.0 == pre.1 && target.0 == target.1 {
                        shift_bias(case, layer, neuron, &(target.0 - pre.0));
                    }
                }
            }
        }
    }
    let (last, outputs) = (case.policy.network.layers.len() - 1, case.policy.network.outputs());
    if outputs > 1 && random.one_in(2) {
        let pre = trace(&case.policy.network, &mask, &here).pre[last].clone();
        let to = random.between(0, outputs as i64 - 1) as usize;
        for from in (0..outputs).filter(|o| *o != to) {
            let gap = &pre[to].0 - &pre[from].0;
            let off = BigInt::from(random.pick(&[-1, 0, 0, 1])) << (BITS - random.pick(&[3u32, 20, 44, 60]));
            if random.one_in(2) && pre[from].0 == pre[from].1 && pre[to].0 == pre[to].1 {
                shift_bias(case, last, from, &(gap + off));
            }
        }
    }
}

fn shift_bias(case: &mut Case, layer: usize, neuron: usize, by: &BigInt) {
    let bias = &mut case.policy.network.layers[layer].bias[neuron];
    let moved = bias.to_rational().floor_scaled(BITS) + by;
    if let Some(moved) = exact_dyadic(&moved, BITS) {
        *bias = moved;
    }
}

/// Where an activation's slope changes, or whether it rises; of SiLU the steps of 2^-48 on both sides of such a place.
pub fn kinks(activation: &Activation) -> Vec<Rational> {
    match activation {
        Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } => vec![Rational::zero()],
        Activation::Silu => {
            let places = ["-1.27846454276107379511", "2.39935728051546766783", "-2.39935728051546766783"];
            let steps = places.into_iter().flat_map(|p| [r(p).floor_to_grid(48), r(p).ceil_to_grid(48)]);
            steps.collect()
        }
        Activation::Clip { lower, upper } => vec![lower.clone(), upper.clone()],
        _ => Vec::new(),
    }
}

/// Masks beside the list: below a listed one, or between two, also ones that keep only one sign.
pub fn unlisted(random: &mut Random, network: &Network, masks: &[Mask], count: usize) -> Vec<Mask> {
    let made = (0..count).map(|_| {
        let loose = random.between(0, masks.len() as i64 - 1) as usize;
        let tight = random.between(loose as i64, masks.len() as i64) as usize;
        let way = random.between(0, 3);
        let layers = masks[loose].layers.iter().enumerate().map(|(layer, kept)| {
            let entry = |(index, &kept): (usize, &bool)| {
                let fixed =
                    network.layers[layer].fixed || masks.get(tight).is_some_and(|m| m.layers[layer][index]);
                let positive = network.layers[layer].weight.values[index].mantissa > 0;
                let wanted = match way {
                    0 => positive,
                    1 => !positive,
                    2 => !random.one_in(4),
                    _ => random.one_in(2),
                };
                kept && (fixed || wanted)
            };
            kept.iter().enumerate().map(entry).collect()
        });
        Mask { layers: layers.collect() }
    });
    made.collect()
}

/// Everything about an example that a reader needs to compute by hand.
pub fn describe(case: &Case) -> String {
    use std::fmt::Write;
    let numbers = |list: &[Dyadic]| {
        let shown: Vec<String> = list.iter().map(|d| format!("{}", d.to_rational())).collect();
        format!("[{}]", shown.join(", "))
    };
    let mut text = String::new();
    for layer in &case.policy.network.layers {
        let rows: Vec<String> = layer.weight.values.chunks(layer.weight.columns).map(numbers).collect();
        let bias = numbers(&layer.bias);
        writeln!(text, "  W [{}] b {bias} {:?}", rows.join(", "), layer.activation).expect("written");
    }
    for mask in &case.masks {
        writeln!(text, "  mask {}", mask_bits(mask)).expect("written");
    }
    let states = numbers(&case.states.values.values);
    writeln!(text, "  head {:?}", case.policy.head).expect("written");
    writeln!(text, "  normaliser {:?}", case.policy.normaliser).expect("written");
    writeln!(text, "  states {states} {:?}, set {:?}", case.states.units, case.set).expect("written");
    text
}

pub fn mask_bits(mask: &Mask) -> String {
    let layer = |kept: &Vec<bool>| kept.iter().map(|k| if *k { '1' } else { '0' }).collect::<String>();
    mask.layers.iter().map(layer).collect::<Vec<_>>().join("|")
}
