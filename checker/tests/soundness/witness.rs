//! Witness files with anything at all of the right shape, since any witness that its rule accepts must give a true bound.
//! `spec/certificate.md#witness`. Those of the search: `tests/certify/probes.rs` of the program.

use std::collections::BTreeMap;

use secateur_checker::evaluate::Problem;
use secateur_checker::local::LocalProblem;
use secateur_checker::model::{Activation, Layer, Network};
use secateur_checker::number::Rational;

use super::points::{exact_float, rational_float};
use secateur_testkit::random::Random;

/// A file with a tensor for every family, mask and state. `offsets` are the points of the bounds from below, by mask.
pub fn arbitrary(
    random: &mut Random,
    problem: &Problem<'_>,
    local: &LocalProblem<'_>,
    offsets: &[Vec<f64>],
) -> Vec<u8> {
    let network = &problem.policy.network;
    let mut tensors: BTreeMap<String, (&str, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (mask, offsets) in offsets.iter().enumerate() {
        let mut doubles = |name: String, shape: Vec<usize>, values: &[f64]| {
            tensors.insert(name, ("F64", shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
        };
        for (index, layer) in network.layers.iter().enumerate() {
            let (rows, columns) = (layer.weight.rows, layer.weight.columns);
            let vector: Vec<f64> = (0..columns).map(|_| random.between(1, 64) as f64 / 16.0).collect();
            doubles(format!("abs-spectral.{mask}.{index}"), vec![columns], &vector);
            let width = rows.min(columns);
            let size = width * (width + 1) / 2;
            // No factor and the largest square of a row or column: exact where the Gram matrix is a number.
            let (factor, rho) = if random.one_in(2) {
                (vec![0.0; size], largest_square(layer, &problem.masks[mask].layers[index]))
            } else {
                let factor = (0..size).map(|_| random.between(-64, 64) as f64 / 32.0);
                (factor.collect(), random.between(-8, 64) as f64 / 4.0)
            };
            doubles(format!("spectral.{mask}.{index}.factor"), vec![factor.len()], &factor);
            doubles(format!("spectral.{mask}.{index}.rho"), vec![1], &[rho]);
        }
        doubles(format!("counterexample.{mask}"), vec![local.states(), network.inputs()], offsets);
        for family in ["crown-optimised", "lp"] {
            let columns = slope_bytes(network);
            let bytes: Vec<u8> = (0..local.states() * columns / 2).flat_map(|_| slope(random)).collect();
            tensors.insert(format!("{family}.{mask}"), ("U8", vec![local.states(), columns], bytes));
        }
        // Family `branch` reads cells where there are some.
        let cells = random.one_in(2);
        let (name, trees) = (if cells { "cells" } else { "branch" }, trees(random, problem, local, cells));
        tensors.insert(format!("{name}.{mask}"), ("U8", vec![trees.len()], trees));
    }
    // Entry 0 of the radii reads the slopes of its mask alone under a name of its own; any will do.
    for family in ["crown-optimised", "lp"] {
        if let Some(slopes) = tensors.get(&format!("{family}.0")).cloned() {
            tensors.insert(format!("radius.0.{family}.0"), slopes);
        }
    }
    safetensors(&tensors)
}

fn safetensors(tensors: &BTreeMap<String, (&str, Vec<usize>, Vec<u8>)>) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, (dtype, shape, bytes)) in tensors {
        let begin = data.len();
        data.extend_from_slice(bytes);
        let end = data.len();
        entries.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#
        ));
    }
    let mut header = format!("{{{}}}", entries.join(",")).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// The largest diagonal entry of the smaller Gram matrix, near enough.
fn largest_square(layer: &Layer, kept: &[bool]) -> f64 {
    let (rows, columns) = (layer.weight.rows, layer.weight.columns);
    let mut sums = vec![0.0f64; rows.min(columns)];
    for (at, value) in layer.weight.values.iter().enumerate().filter(|(at, _)| kept[*at]) {
        let place = if rows < columns { at / columns } else { at % columns };
        sums[place] += rational_float(&value.to_rational()).powi(2);
    }
    sums.into_iter().fold(0.0, f64::max)
}

/// Slopes stored for a neuron: `spec/certificate.md#witness`.
fn slopes_of(activation: &Activation) -> usize {
    match activation {
        Activation::Identity => 0,
        Activation::Tanh | Activation::Sigmoid | Activation::Elu { .. } | Activation::Silu => 2,
        _ => 1,
    }
}

fn slope_bytes(network: &Network) -> usize {
    let row = |target: usize| {
        let below = network.layers.iter().take(target);
        below.map(|l| 2 * l.weight.rows * slopes_of(&l.activation)).sum::<usize>()
    };
    let layers = network.layers.iter().enumerate().skip(1);
    layers.map(|(target, layer)| 2 * layer.weight.rows * row(target)).sum()
}

fn slope(random: &mut Random) -> [u8; 2] {
    let anywhere = random.between(0, 0xffff) as u16;
    random.pick(&[0, 0xffff, 0x8000, anywhere, anywhere]).to_le_bytes()
}

/// A tree for each functional, or one of cells.
fn trees(random: &mut Random, problem: &Problem<'_>, local: &LocalProblem<'_>, cells: bool) -> Vec<u8> {
    let outputs = problem.policy.network.outputs();
    let pairs = if local.has_margins() { outputs * (outputs - 1) } else { 0 };
    let count = if cells { 1 } else { 2 * outputs + pairs };
    let (mut ends, mut data) = (Vec::new(), Vec::new());
    for state in 0..local.states() {
        let input = local.input_at(state).expect("an input");
        let exact = |v: &i64| Rational::from_dyadic((*v).into(), -i64::from(local.value_bits));
        let lower: Vec<Rational> = input.region.lower().iter().map(exact).collect();
        let upper: Vec<Rational> = input.region.upper().iter().map(exact).collect();
        for _ in 0..count {
            let depth = random.between(0, 3) as usize;
            let network = &problem.policy.network;
            let mut tree = Grown { network, cells, signed: Vec::new(), bytes: Vec::new() };
            tree.grow(random, depth, lower.clone(), upper.clone());
            data.extend(tree.bytes);
        }
        ends.extend((data.len() as u64).to_le_bytes());
    }
    ends.extend(data);
    ends
}

struct Grown<'a> {
    network: &'a Network,
    /// Whether leaves have no slopes.
    cells: bool,
    signed: Vec<(usize, usize)>,
    bytes: Vec<u8>,
}

impl Grown<'_> {
    fn grow(&mut self, random: &mut Random, depth: usize, lower: Vec<Rational>, upper: Vec<Rational>) {
        if depth > 0 && random.one_in(2) {
            let layer = random.between(0, self.network.layers.len() as i64 - 1) as usize;
            let neuron = random.between(0, self.network.layers[layer].weight.rows as i64 - 1) as usize;
            if !self.signed.contains(&(layer, neuron)) {
                self.bytes.push(2);
                self.short(layer);
                self.short(neuron);
                self.signed.push((layer, neuron));
                self.grow(random, depth - 1, lower.clone(), upper.clone());
                self.grow(random, depth - 1, lower, upper);
                self.signed.pop();
                return;
            }
        } else if depth > 0 {
            let coordinate = random.between(0, lower.len() as i64 - 1) as usize;
            if let Some((at, exact)) = cut(random, &lower[coordinate], &upper[coordinate]) {
                self.bytes.push(3);
                self.short(coordinate);
                self.bytes.extend(at.to_le_bytes());
                let (mut below, mut above) = (upper.clone(), lower.clone());
                (below[coordinate], above[coordinate]) = (exact.clone(), exact);
                self.grow(random, depth - 1, lower, below);
                self.grow(random, depth - 1, above, upper);
                return;
            }
        }
        self.leaf(random);
    }

    fn short(&mut self, value: usize) {
        self.bytes.extend((value as u16).to_le_bytes());
    }

    fn leaf(&mut self, random: &mut Random) {
        if self.cells || random.one_in(2) {
            return self.bytes.push(0);
        }
        self.bytes.push(1);
        for layer in &self.network.layers {
            let kinds = slopes_of(&layer.activation);
            if kinds == 0 {
                continue;
            }
            let neurons: Vec<usize> = (0..layer.weight.rows).filter(|_| random.one_in(2)).collect();
            self.bytes.extend((neurons.len() as u16).to_le_bytes());
            for neuron in neurons {
                self.bytes.extend((neuron as u16).to_le_bytes());
                for _ in 0..kinds {
                    self.bytes.extend(slope(random));
                }
            }
        }
        let signed = self.signed.clone();
        self.short(signed.len());
        for (layer, neuron) in signed {
            self.short(layer);
            self.short(neuron);
            let value = random.pick(&[0u32, 1 << 15, 1 << 16, 3 << 16]);
            self.bytes.extend(value.to_le_bytes());
        }
    }
}

/// A number strictly inside an interval, as binary64 and exactly; `None` if there is no room.
pub fn cut(random: &mut Random, lower: &Rational, upper: &Rational) -> Option<(f64, Rational)> {
    let share = Rational::from_dyadic(random.pick(&[1, 8, 8, 15]).into(), -4);
    let wanted = lower.add(&upper.sub(lower).mul(&share));
    let at = rational_float(&wanted);
    let exact = exact_float(at)?;
    (lower < &exact && &exact < upper).then_some((at, exact))
}
