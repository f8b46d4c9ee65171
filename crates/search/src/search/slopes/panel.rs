//! Projected gradient on the free lines and split multipliers of up to sixteen bounded quantities at a time. Untrusted.
//! `spec/rules/README.md`.
//!
//! The derivative of a bound comes from the input that attains it: follow that input forward through the very lines
//! that the backward pass used; where the coefficient of a neuron is `c` and the input arrives there at `v`, a line that
//! touches the function at `p` changes the bound by `c (v - p)` per unit of slope, and a multiplier of a split by `-+ v`.

use crate::bound::FloatRegion;
use crate::bound::crown::{Objectives, concretize};
use crate::bound::kernel::{Lane, PANEL, Product, Work};

use crate::float::{FloatActivation, FloatNetwork};

use super::options::Column;
use super::options::SlopeOptions;
use super::state::{LayerContext, LayerState, SQUARE_DECAY, Step, touching_place};

/// Buffers that survive from panel to panel.
#[derive(Clone, Debug, Default)]
pub struct PanelScratch {
    states: Vec<LayerState>,
    packed: Vec<Lane>,
    input: Vec<Lane>,
    point: Vec<Lane>,
    pre: Vec<Lane>,
    best_point: Vec<Lane>,
}

/// The work: `values` receives the best lower bound of every column (of its negative for upper bounds).
pub struct Panel<'a> {
    pub network: &'a FloatNetwork,
    pub region: &'a FloatRegion,
    pub reach: &'a [f64],
    pub layers: &'a [LayerContext],
    pub objectives: &'a Objectives<'a>,
    pub columns: &'a [Column],
    /// How many columns, from the first, size the steps of multipliers; those behind them have no weights.
    pub sizing: usize,
    pub steps: usize,
    pub options: &'a SlopeOptions,
    /// Stop as soon as any column exceeds this.
    pub enough: f64,
    pub scratch: &'a mut PanelScratch,
    pub values: &'a mut Lane,
}

impl Work for Panel<'_> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let last = self.objectives.layer;
        let scratch = &mut *self.scratch;
        scratch.states.resize_with(self.layers.len().max(scratch.states.len()), LayerState::default);
        for (state, context) in scratch.states.iter_mut().zip(&self.layers[..=last]) {
            state.start(context);
        }
        let constant = gather(self.objectives.constant, self.columns);
        let seed = self.objectives.weight.chunks_exact(self.objectives.stride);
        scratch.states[last].coefficient.clear();
        scratch.states[last].coefficient.extend(seed.map(|row| gather(row, self.columns)));
        let mut best = [f64::NEG_INFINITY; PANEL];
        let mut rate = self.options.rate;
        for iteration in 0..=self.steps {
            let value = backward::<FUSED>(self.network, &self.layers[..=last], scratch, &constant);
            let value = concretize::<FUSED>(self.region, self.reach, &scratch.input, &value);
            attained::<FUSED>(self.region, &scratch.input, &mut scratch.point);
            let better: [bool; PANEL] = core::array::from_fn(|i| value[i] > best[i]);
            if better.iter().any(|b| *b) {
                scratch.keep(last, &better);
                best = core::array::from_fn(|i| if better[i] { value[i] } else { best[i] });
            }
            let done = best.iter().zip(self.columns).any(|(b, _)| *b > self.enough);
            if iteration == self.steps || done {
                break;
            }
            let correction = 1.0 - SQUARE_DECAY.powi(i32::try_from(iteration).unwrap_or(i32::MAX - 1) + 1);
            let step = Step { rate, correction: correction.sqrt() };
            forward::<FUSED>(self.network, &self.layers[..=last], scratch, self.sizing, step);
            rate *= self.options.decay;
        }
        *self.values = best;
        for (state, context) in scratch.states.iter_mut().zip(&self.layers[..=last]) {
            state.restore(context);
        }
    }
}

#[inline(always)]
fn gather(row: &[f64], columns: &[Column]) -> Lane {
    let mut lane = [0.0; PANEL];
    for (l, column) in lane.iter_mut().zip(columns) {
        let value = row[column.row as usize];
        *l = if column.upper { -value } else { value };
    }
    lane
}

impl PanelScratch {
    #[inline(always)]
    fn keep(&mut self, last: usize, better: &[bool; PANEL]) {
        for state in &mut self.states[..=last] {
            state.sides.iter_mut().for_each(|side| side.keep(better));
            state.multiplier.keep(better);
        }
        self.best_point.resize(self.point.len(), [0.0; PANEL]);
        for (b, p) in self.best_point.iter_mut().zip(&self.point) {
            *b = core::array::from_fn(|i| if better[i] { p[i] } else { b[i] });
        }
    }

    /// Coefficients of the inputs in the last bound of a column.
    pub fn input_coefficients(&self, column: usize) -> impl Iterator<Item = f64> + '_ {
        self.input.iter().map(move |lane| lane[column])
    }

    /// Coefficient of a neuron's activation in the last bound of a column.
    pub fn coefficient(&self, layer: usize, neuron: usize, column: usize) -> f64 {
        self.states[layer].coefficient[neuron][column]
    }

    /// The input that attains the best bound of a column.
    pub fn best_point(&self, column: usize) -> impl Iterator<Item = f64> + '_ {
        self.best_point.iter().map(move |lane| lane[column])
    }

    /// What was found for a loose neuron of a layer: see [`LayerState::found`].
    pub fn found(&self, layer: usize, place: usize, column: usize) -> ([f64; 2], f64) {
        self.states[layer].found(place, column)
    }
}

/// Substitutes lines and affine maps from the last layer to the input, whose coefficients end up in `scratch.input`.
#[inline(always)]
fn backward<const FUSED: bool>(
    network: &FloatNetwork,
    layers: &[LayerContext],
    scratch: &mut PanelScratch,
    constant: &Lane,
) -> Lane {
    let mut sum = *constant;
    for index in (0..layers.len()).rev() {
        let (layer, context) = (&network.layers[index], &layers[index]);
        let (before, after) = scratch.states.split_at_mut(index);
        let state = &after[0];
        scratch.packed.clear();
        for neuron in &context.lines.exact {
            let (k, line) = (*neuron as usize, &context.lines.lines[*neuron as usize]);
            let lane = state.coefficient[k].map(|c| c * line.lower_slope);
            (0..PANEL).for_each(|i| sum[i] += lane[i] * layer.bias[k]);
            scratch.packed.push(lane);
        }
        let [below, above] = &state.sides;
        for (place, neuron) in context.lines.loose.iter().enumerate() {
            let k = *neuron as usize;
            let (coefficient, sign) = (&state.coefficient[k], context.signs[place]);
            let multiplier = &state.multiplier.value[place];
            let mut lane = [0.0; PANEL];
            for i in 0..PANEL {
                let c = coefficient[i];
                let positive = if c > 0.0 { c } else { 0.0 };
                let negative = c - positive;
                lane[i] = positive * below.slope[place][i] + negative * above.slope[place][i];
                lane[i] -= sign * multiplier[i];
                sum[i] += lane[i] * layer.bias[k]
                    + positive * below.intercept[place][i]
                    + negative * above.intercept[place][i];
            }
            scratch.packed.push(lane);
        }
        let out = match before.last_mut() {
            Some(state) => &mut state.coefficient,
            None => &mut scratch.input,
        };
        out.clear();
        out.resize(layer.inputs, [0.0; PANEL]);
        Product { weight: &layer.weight, width: layer.inputs, sparse: None }.add::<FUSED>(
            &context.rows,
            &scratch.packed,
            out,
        );
    }
    sum
}

/// The input where each column of coefficients is least over the region.
#[inline(always)]
fn attained<const FUSED: bool>(region: &FloatRegion, coefficients: &[Lane], point: &mut Vec<Lane>) {
    point.clear();
    match region {
        FloatRegion::Box { center, radius } => {
            point.extend(coefficients.iter().zip(center.iter().zip(radius)).map(|(lane, (c, r))| {
                lane.map(|a| {
                    if a > 0.0 {
                        c - r
                    } else if a < 0.0 {
                        c + r
                    } else {
                        *c
                    }
                })
            }));
        }
        FloatRegion::Ball { center, radius } => {
            let mut norm = [1e-300; PANEL];
            for lane in coefficients {
                (0..PANEL).for_each(|i| norm[i] += lane[i] * lane[i]);
            }
            let norm = norm.map(f64::sqrt);
            point.extend(
                coefficients
                    .iter()
                    .zip(center)
                    .map(|(lane, c)| core::array::from_fn(|i| c - radius * lane[i] / norm[i])),
            );
        }
    }
}

/// Follows the attaining inputs forward and moves every free number along its derivative.
#[inline(always)]
fn forward<const FUSED: bool>(
    network: &FloatNetwork,
    layers: &[LayerContext],
    scratch: &mut PanelScratch,
    sizing: usize,
    step: Step,
) {
    let mut rows: Vec<u32> = (0u32..).take(network.inputs()).collect();
    scratch.packed.clone_from(&scratch.point);
    for (index, context) in layers.iter().enumerate() {
        let layer = &network.layers[index];
        scratch.pre.clear();
        scratch.pre.extend(layer.bias.iter().map(|b| [*b; PANEL]));
        Product { weight: &layer.transposed, width: layer.outputs, sparse: None }.add::<FUSED>(
            &rows,
            &scratch.packed,
            &mut scratch.pre,
        );
        let state = &mut scratch.states[index];
        scratch.packed.clear();
        if index + 1 < layers.len() {
            rows.clone_from(&context.rows);
            for neuron in &context.lines.exact {
                let (k, line) = (*neuron as usize, &context.lines.lines[*neuron as usize]);
                scratch.packed.push(scratch.pre[k].map(|v| v * line.lower_slope));
            }
            let [below, above] = &state.sides;
            for (place, neuron) in context.lines.loose.iter().enumerate() {
                let (c, v) = (&state.coefficient[*neuron as usize], &scratch.pre[*neuron as usize]);
                scratch.packed.push(core::array::from_fn(|i| {
                    let low = below.slope[place][i] * v[i] + below.intercept[place][i];
                    let high = above.slope[place][i] * v[i] + above.intercept[place][i];
                    if c[i] > 0.0 { low } else { high }
                }));
            }
        }
        climb_layer(context, state, &scratch.pre, sizing, step);
    }
}

#[inline(always)]
fn climb_layer(context: &LayerContext, state: &mut LayerState, pre: &[Lane], sizing: usize, step: Step) {
    let hinge = context.is_hinge();
    let unit = if context.activation == Some(FloatActivation::Sigmoid) { 0.5 } else { 1.0 };
    for (place, neuron) in context.lines.loose.iter().enumerate() {
        let (c, v) = (state.coefficient[*neuron as usize], &pre[*neuron as usize]);
        for (index, side) in state.sides.iter_mut().enumerate() {
            let Some(range) = context.ranges[place][index] else { continue };
            let value = side.value[place];
            let derivative: Lane = core::array::from_fn(|i| {
                let used = if index == 0 { c[i] > 0.0 } else { c[i] < 0.0 };
                let place = touching_place(context.activation, value[i]);
                let slope = if hinge { c[i] * v[i] } else { c[i].abs() * (unit * v[i] - place) };
                if used { slope } else { 0.0 }
            });
            let scale = range.greatest - range.least;
            side.climb(place, &derivative, range.least, range.greatest, scale, step);
        }
        let sign = context.signs[place];
        if sign != 0.0 {
            let derivative = v.map(|v| -sign * v);
            let scale = c.iter().take(sizing).fold(0.0, |m: f64, c| m.max(c.abs())).max(1e-3);
            state.multiplier.climb(place, &derivative, 0.0, f64::INFINITY, scale, step);
        }
    }
    state.resolve(context);
}
