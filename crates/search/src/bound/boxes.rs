//! CROWN with default slopes on many boxes at once: thirty-two boxes side by side go through the whole network, one number of each in
//! a vector. Untrusted; the checker recomputes what it is given. `spec/rules/README.md` (families `ibp`, `crown`).
//!
//! A neuron is followed back to the inputs only where the sign of a ReLU is open after interval bounds, as in the checker's
//! `crown.layers`. What is found for a box does not depend on its neighbours nor on the number of threads. In `f32` the lines
//! of tanh and the logistic function are rough ([`crate::bound::lanes::rough_tanh`]).

use rayon::prelude::*;

use crate::bound::FloatBounds;
use crate::bound::crown::is_fixed;
use crate::bound::kernel::{Work, dispatch};
pub use crate::bound::lanes::Real;
use crate::bound::lanes::{RealLayer, greater, lesser, multiplied, rough_sigmoid, rough_tanh, tanh};
use crate::bound::relax::{FloatLines, lines};
use crate::float::{FloatActivation, FloatNetwork};

/// Boxes handled together.
pub const SIDE_BY_SIDE: usize = 32;

type Lane<T> = [T; SIDE_BY_SIDE];

/// A network whose outputs are bounded over many boxes at once.
pub struct BoxBounder<T> {
    layers: Vec<RealLayer<T>>,
    inputs: usize,
    outputs: usize,
}

/// Linear functions of the outputs, row `r` being `sum_o weight[r][o] * output[o] + constant[r]`.
#[derive(Clone, Copy, Debug)]
pub struct OutputRows<'a> {
    /// Row-major, rows x outputs.
    pub weight: &'a [f64],
    /// One per row.
    pub constant: &'a [f64],
}

/// What was found of every box, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoxBounds {
    /// Lower bounds of the rows: boxes x rows. Upper bounds are those of the negated row, negated.
    pub lower: Vec<f64>,
    /// The rows' coefficients at the inputs, of which the bound is the least value: boxes x rows x inputs.
    pub coefficients: Vec<f64>,
    /// What each row loses at neurons whose lines are apart, in proportion to the input's share in the neuron's width, per width
    /// of the input: boxes x rows x inputs.
    pub losses: Vec<f64>,
    /// Neurons whose lines are apart, of the whole network: one per box.
    pub loose: Vec<u32>,
}

/// What a neuron's lines are in all the boxes side by side.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The constant 0.
    Dead,
    /// The identity.
    Exact,
    /// Anything else.
    Lines,
}

/// Bounds and lines of one layer.
struct LayerState<T> {
    lower: Vec<Lane<T>>,
    upper: Vec<Lane<T>>,
    lower_slope: Vec<Lane<T>>,
    lower_intercept: Vec<Lane<T>>,
    upper_slope: Vec<Lane<T>>,
    upper_intercept: Vec<Lane<T>>,
    kind: Vec<Kind>,
    /// Neurons that are not dead, ascending.
    used: Vec<u32>,
}

/// Buffers of one thread.
struct Scratch<T> {
    layers: Vec<LayerState<T>>,
    center: Vec<Lane<T>>,
    radius: Vec<Lane<T>>,
    middle: Vec<Lane<T>>,
    half: Vec<Lane<T>>,
    packed: Vec<Lane<T>>,
    /// Neurons that a row reads.
    live: Vec<u32>,
    current: Vec<Lane<T>>,
    /// Coefficients of a row at each layer's activations, for the losses.
    passed: Vec<Vec<Lane<T>>>,
}

impl<T: Real> BoxBounder<T> {
    /// The network in these floats.
    pub fn new(network: &FloatNetwork) -> Self {
        let layers = network.layers.iter().map(RealLayer::new);
        Self { layers: layers.collect(), inputs: network.inputs(), outputs: network.outputs() }
    }

    /// Lower bounds of `rows` over the boxes with corners `lower` and `upper` (boxes x inputs), with the coefficients, and with
    /// the losses if `losses`.
    ///
    /// Approximate: bounds are widened by [`Real::SLACK`] of their terms, which is above the usual rounding but no proof.
    pub fn bound(&self, lower: &[f64], upper: &[f64], rows: OutputRows<'_>, losses: bool) -> BoxBounds {
        self.bound_rows(lower, upper, rows, losses, false)
    }

    /// With `sides` row `2 o` is output `o` and the next its negation: interval bounds of the output are met too.
    fn bound_rows(
        &self,
        lower: &[f64],
        upper: &[f64],
        rows: OutputRows<'_>,
        losses: bool,
        sides: bool,
    ) -> BoxBounds {
        let (count, inputs) = (rows.constant.len(), self.inputs.max(1));
        let boxes = lower.len() / inputs;
        let mut found = BoxBounds {
            lower: vec![0.0; boxes * count],
            coefficients: vec![0.0; boxes * count * inputs],
            losses: vec![0.0; if losses { boxes * count * inputs } else { 0 }],
            loose: vec![0; boxes],
        };
        let at_once = |width: usize| (SIDE_BY_SIDE * width).max(1);
        let mut lost: Vec<&mut [f64]> = found.losses.chunks_mut(at_once(count * inputs)).collect();
        lost.resize_with(boxes.div_ceil(SIDE_BY_SIDE), Default::default);
        let parts = lower
            .par_chunks(at_once(inputs))
            .zip(upper.par_chunks(at_once(inputs)))
            .zip(found.lower.par_chunks_mut(at_once(count)))
            .zip(found.coefficients.par_chunks_mut(at_once(count * inputs)))
            .zip(lost)
            .zip(found.loose.par_chunks_mut(SIDE_BY_SIDE));
        parts.for_each_init(
            || self.scratch(),
            |scratch, (((((lower, upper), bounds), coefficients), losses), loose)| {
                dispatch(Part {
                    bounder: self,
                    lower,
                    upper,
                    rows,
                    sides,
                    scratch,
                    bounds,
                    coefficients,
                    losses,
                    loose,
                });
            },
        );
        found
    }

    /// Bounds of every output over each of the boxes with corners `lower` and `upper` (boxes x inputs).
    ///
    /// Approximate, as [`Self::bound`].
    pub fn outputs(&self, lower: &[f64], upper: &[f64]) -> Vec<FloatBounds> {
        let outputs = self.outputs;
        let mut weight = vec![0.0; 2 * outputs * outputs];
        for output in 0..outputs {
            weight[2 * output * outputs + output] = 1.0;
            weight[(2 * output + 1) * outputs + output] = -1.0;
        }
        let constant = vec![0.0; 2 * outputs];
        let rows = OutputRows { weight: &weight, constant: &constant };
        let found = self.bound_rows(lower, upper, rows, false, true);
        let ends = found.lower.chunks_exact((2 * outputs).max(1)).map(|sides| FloatBounds {
            lower: sides.iter().step_by(2).copied().collect(),
            upper: sides.iter().skip(1).step_by(2).map(|below| -below).collect(),
        });
        ends.collect()
    }

    fn scratch(&self) -> Scratch<T> {
        let zero = [T::default(); SIDE_BY_SIDE];
        let widest = self.layers.iter().map(|l| l.inputs.max(l.outputs)).max().unwrap_or(0);
        let layers = self.layers.iter().map(|layer| {
            let lanes = || vec![zero; layer.outputs];
            LayerState {
                lower: lanes(),
                upper: lanes(),
                lower_slope: lanes(),
                lower_intercept: lanes(),
                upper_slope: lanes(),
                upper_intercept: lanes(),
                kind: vec![Kind::Lines; layer.outputs],
                used: Vec::with_capacity(layer.outputs),
            }
        });
        Scratch {
            layers: layers.collect(),
            center: vec![zero; self.inputs],
            radius: vec![zero; self.inputs],
            middle: vec![zero; widest],
            half: vec![zero; widest],
            packed: Vec::with_capacity(widest),
            live: Vec::with_capacity(widest),
            current: Vec::with_capacity(widest),
            passed: self.layers.iter().map(|_| Vec::new()).collect(),
        }
    }
}

/// Up to thirty-two boxes.
struct Part<'a, T> {
    bounder: &'a BoxBounder<T>,
    lower: &'a [f64],
    upper: &'a [f64],
    rows: OutputRows<'a>,
    sides: bool,
    scratch: &'a mut Scratch<T>,
    bounds: &'a mut [f64],
    coefficients: &'a mut [f64],
    losses: &'a mut [f64],
    loose: &'a mut [u32],
}

impl<T: Real> Work for Part<'_, T> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { bounder, rows, sides, scratch, .. } = self;
        let (inputs, outputs, count) = (bounder.inputs, bounder.outputs, rows.constant.len());
        let boxes = self.loose.len();
        for i in 0..inputs {
            for place in 0..SIDE_BY_SIDE {
                // Idle places repeat the last box.
                let at = place.min(boxes - 1) * inputs + i;
                let (l, u) = (self.lower[at], self.upper[at]);
                let (center, radius) = (0.5 * (l + u), 0.5 * (u - l));
                scratch.center[i][place] = T::from_f64(center);
                scratch.radius[i][place] = T::from_f64(radius + T::SLACK * (center.abs() + radius));
            }
        }
        let last = bounder.layers.len() - 1;
        for index in 0..=last {
            bounder.intervals::<FUSED>(index, scratch);
            if index > 0 && (index < last || bounder.layers[last].activation != FloatActivation::Identity) {
                bounder.tighten::<FUSED>(index, scratch);
            }
            bounder.relax(index, scratch);
        }
        for (place, loose) in self.loose.iter_mut().enumerate() {
            *loose = scratch.layers.iter().map(|layer| layer.loose_at(place)).sum();
        }
        for row in 0..count {
            let weights = &rows.weight[row * outputs..][..outputs];
            let keep = !self.losses.is_empty();
            let weights: Vec<T> = weights.iter().map(|w| T::from_f64(*w)).collect();
            let (one, constant) = (T::from_f64(1.0), T::from_f64(rows.constant[row]));
            let mut value = bounder.backward::<FUSED>(last, one, &weights, constant, scratch, keep);
            if sides {
                let (state, activation) = (&scratch.layers[last], bounder.layers[last].activation);
                let (low, high) = range(activation, &state.lower[row / 2], &state.upper[row / 2]);
                let known = if row % 2 == 0 { low } else { high.map(|h| -h) };
                value = core::array::from_fn(|p| greater(value[p], known[p]));
            }
            for place in 0..boxes {
                self.bounds[place * count + row] = value[place].to_f64();
                for (i, lane) in scratch.current.iter().enumerate() {
                    self.coefficients[(place * count + row) * inputs + i] = lane[place].to_f64();
                }
            }
            if keep {
                bounder.lose::<FUSED>(scratch);
                for place in 0..boxes {
                    for (i, lane) in scratch.current.iter().enumerate() {
                        self.losses[(place * count + row) * inputs + i] = lane[place].to_f64();
                    }
                }
            }
        }
    }
}

impl<T: Real> LayerState<T> {
    /// The coefficients before neuron `n`, whose activation has the coefficient `c` in all boxes; what does not hang by the
    /// inputs goes to `sum`.
    #[inline(always)]
    fn once<const FUSED: bool>(&self, n: usize, c: T, bias: T, sum: &mut Lane<T>) -> Lane<T> {
        if self.kind[n] == Kind::Exact {
            *sum = sum.map(|s| multiplied::<T, FUSED>(c, bias, s));
            return [c; SIDE_BY_SIDE];
        }
        let rising = c > T::default();
        let slope = if rising { &self.lower_slope[n] } else { &self.upper_slope[n] };
        let intercept = if rising { &self.lower_intercept[n] } else { &self.upper_intercept[n] };
        let mut target = [T::default(); SIDE_BY_SIDE];
        for p in 0..SIDE_BY_SIDE {
            target[p] = c * slope[p];
            let with_bias = multiplied::<T, FUSED>(target[p], bias, sum[p]);
            sum[p] = multiplied::<T, FUSED>(c, intercept[p], with_bias);
        }
        target
    }

    /// The same with a coefficient for each box.
    #[inline(always)]
    fn each<const FUSED: bool>(&self, n: usize, source: &Lane<T>, bias: T, sum: &mut Lane<T>) -> Lane<T> {
        if self.kind[n] == Kind::Exact {
            for p in 0..SIDE_BY_SIDE {
                sum[p] = multiplied::<T, FUSED>(source[p], bias, sum[p]);
            }
            return *source;
        }
        let (below, above) = (&self.lower_slope[n], &self.upper_slope[n]);
        let (below_at, above_at) = (&self.lower_intercept[n], &self.upper_intercept[n]);
        let mut target = [T::default(); SIDE_BY_SIDE];
        for p in 0..SIDE_BY_SIDE {
            let c = source[p];
            // All four are read, so that none is a branch.
            let lines = (below[p], above[p], below_at[p], above_at[p]);
            let rising = c > T::default();
            let slope = if rising { lines.0 } else { lines.1 };
            let intercept = if rising { lines.2 } else { lines.3 };
            target[p] = c * slope;
            let with_bias = multiplied::<T, FUSED>(target[p], bias, sum[p]);
            sum[p] = multiplied::<T, FUSED>(c, intercept, with_bias);
        }
        target
    }

    fn loose_at(&self, place: usize) -> u32 {
        let apart = |n: &&u32| {
            let n = **n as usize;
            self.lower_slope[n][place] != self.upper_slope[n][place]
                || self.lower_intercept[n][place] != self.upper_intercept[n][place]
        };
        self.used.iter().filter(apart).count() as u32
    }
}

impl<T: Real> BoxBounder<T> {
    /// Interval bounds of a layer before its activation, from those of the layer below.
    #[inline(always)]
    fn intervals<const FUSED: bool>(&self, index: usize, scratch: &mut Scratch<T>) {
        let layer = &self.layers[index];
        let Scratch { layers, center, radius, middle, half, .. } = scratch;
        let (middle, half) = (&mut middle[..layer.inputs], &mut half[..layer.inputs]);
        if index == 0 {
            middle.copy_from_slice(center);
            half.copy_from_slice(radius);
        } else {
            let (activation, below) = (self.layers[index - 1].activation, &layers[index - 1]);
            for (i, (m, h)) in middle.iter_mut().zip(half.iter_mut()).enumerate() {
                let (lower, upper) = range(activation, &below.lower[i], &below.upper[i]);
                let two = T::from_f64(0.5);
                for p in 0..SIDE_BY_SIDE {
                    m[p] = two * (lower[p] + upper[p]);
                    h[p] = two * (upper[p] - lower[p]);
                }
            }
        }
        let state = &mut layers[index];
        let slack = T::from_f64(T::SLACK);
        for (n, row) in layer.weight.chunks_exact(layer.inputs.max(1)).enumerate() {
            let mut m = [layer.bias[n]; SIDE_BY_SIDE];
            let mut h = [T::default(); SIDE_BY_SIDE];
            for ((w, middle), half) in row.iter().zip(middle.iter()).zip(half.iter()) {
                if *w == T::default() {
                    continue;
                }
                let size = w.size();
                for p in 0..SIDE_BY_SIDE {
                    m[p] = multiplied::<T, FUSED>(*w, middle[p], m[p]);
                    h[p] = multiplied::<T, FUSED>(size, half[p], h[p]);
                }
            }
            for p in 0..SIDE_BY_SIDE {
                let wide = h[p] + slack * (m[p].size() + h[p]);
                state.lower[n][p] = m[p] - wide;
                state.upper[n][p] = m[p] + wide;
            }
        }
    }

    /// Meets the bounds of the open neurons of a layer with backward ones.
    #[inline(always)]
    fn tighten<const FUSED: bool>(&self, index: usize, scratch: &mut Scratch<T>) {
        let layer = &self.layers[index];
        let hinge = layer.activation == FloatActivation::Relu;
        for (n, row) in layer.weight.chunks_exact(layer.inputs.max(1)).enumerate() {
            let (lower, upper) = (scratch.layers[index].lower[n], scratch.layers[index].upper[n]);
            let open = |p: usize| {
                if hinge {
                    lower[p] < T::default() && upper[p] > T::default()
                } else {
                    !is_fixed(layer.activation, lower[p].to_f64(), upper[p].to_f64())
                }
            };
            if !(0..SIDE_BY_SIDE).any(open) {
                continue;
            }
            let one = T::from_f64(1.0);
            let below = self.backward::<FUSED>(index - 1, one, row, layer.bias[n], scratch, false);
            let above = self.backward::<FUSED>(index - 1, -one, row, -layer.bias[n], scratch, false);
            let state = &mut scratch.layers[index];
            for p in (0..SIDE_BY_SIDE).filter(|p| open(*p)) {
                state.lower[n][p] = greater(lower[p], below[p]);
                state.upper[n][p] = lesser(upper[p], -above[p]);
            }
        }
    }

    /// The default lines of a layer.
    #[inline(always)]
    fn relax(&self, index: usize, scratch: &mut Scratch<T>) {
        let activation = self.layers[index].activation;
        let state = &mut scratch.layers[index];
        state.used.clear();
        let (zero, one) = (T::default(), T::from_f64(1.0));
        for n in 0..state.lower.len() {
            let (lower, upper) = (&state.lower[n], &state.upper[n]);
            let (below, above) = (&mut state.lower_slope[n], &mut state.upper_slope[n]);
            let (below_at, above_at) = (&mut state.lower_intercept[n], &mut state.upper_intercept[n]);
            let (mut dead, mut exact) = (true, true);
            match activation {
                FloatActivation::Identity => {
                    (*below, *above) = ([one; SIDE_BY_SIDE], [one; SIDE_BY_SIDE]);
                    (*below_at, *above_at) = ([zero; SIDE_BY_SIDE], [zero; SIDE_BY_SIDE]);
                    dead = false;
                }
                FloatActivation::Relu => {
                    for p in 0..SIDE_BY_SIDE {
                        let (l, u) = (lower[p], upper[p]);
                        let (active, off) = (l >= zero, u <= zero && l < zero);
                        let chord = if active { one } else { u / (u - l) };
                        let chord = if off { zero } else { chord };
                        let nearer = if u > -l { one } else { zero };
                        below[p] = if active || off { chord } else { nearer };
                        above[p] = chord;
                        below_at[p] = zero;
                        above_at[p] = if active || off { zero } else { -(chord * l) };
                        dead &= off;
                        exact &= active;
                    }
                }
                FloatActivation::Tanh | FloatActivation::Sigmoid if T::ROUGH => {
                    dead = false;
                    exact = false;
                    for p in 0..SIDE_BY_SIDE {
                        [below[p], below_at[p], above[p], above_at[p]] = match activation {
                            FloatActivation::Tanh => rough_tanh(lower[p], upper[p]),
                            _ => rough_sigmoid(lower[p], upper[p]),
                        };
                    }
                }
                _ => {
                    dead = false;
                    exact = false;
                    for p in 0..SIDE_BY_SIDE {
                        let FloatLines { lower_slope, lower_intercept, upper_slope, upper_intercept } =
                            lines(activation, lower[p].to_f64(), upper[p].to_f64());
                        below[p] = T::from_f64(lower_slope);
                        below_at[p] = T::from_f64(lower_intercept);
                        above[p] = T::from_f64(upper_slope);
                        above_at[p] = T::from_f64(upper_intercept);
                    }
                }
            }
            state.kind[n] = match (dead, exact) {
                (true, _) => Kind::Dead,
                (false, true) => Kind::Exact,
                (false, false) => Kind::Lines,
            };
            if !dead {
                state.used.push(n as u32);
            }
        }
    }

    /// Carries `sign * row`, coefficients of the activations after layer `last`, back to the inputs: the coefficients there
    /// are left in `scratch.current`, the least value over the boxes is returned. `keep` keeps what passed each layer.
    #[inline(always)]
    fn backward<const FUSED: bool>(
        &self,
        last: usize,
        sign: T,
        row: &[T],
        constant: T,
        scratch: &mut Scratch<T>,
        keep: bool,
    ) -> Lane<T> {
        let Scratch { layers, center, radius, packed, live, current, passed, .. } = scratch;
        let mut sum = [constant; SIDE_BY_SIDE];
        for index in (0..=last).rev() {
            let (layer, state) = (&self.layers[index], &layers[index]);
            if keep {
                passed[index].clear();
                if index == last {
                    passed[index].extend(row.iter().map(|w| [sign * *w; SIDE_BY_SIDE]));
                } else {
                    passed[index].extend_from_slice(current);
                }
            }
            let every = layer.tiles.every_row();
            packed.clear();
            packed.resize(if every { layer.outputs } else { 0 }, [T::default(); SIDE_BY_SIDE]);
            live.clear();
            for used in &state.used {
                let n = *used as usize;
                let bias = layer.bias[n];
                let target = if index == last {
                    let c = sign * row[n];
                    if c == T::default() {
                        continue;
                    }
                    state.once::<FUSED>(n, c, bias, &mut sum)
                } else {
                    if current[n].iter().all(|c| *c == T::default()) {
                        continue;
                    }
                    state.each::<FUSED>(n, &current[n], bias, &mut sum)
                };
                if every {
                    packed[n] = target;
                } else {
                    live.push(*used);
                    packed.push(target);
                }
            }
            current.clear();
            current.resize(layer.inputs, [T::default(); SIDE_BY_SIDE]);
            T::add_product::<FUSED, SIDE_BY_SIDE>(&layer.tiles, live, packed, current);
        }
        let slack = T::from_f64(T::SLACK);
        let mut value = sum.map(|s| s - slack * s.size());
        for ((lane, center), radius) in current.iter().zip(center.iter()).zip(radius.iter()) {
            for p in 0..SIDE_BY_SIDE {
                value[p] = multiplied::<T, FUSED>(lane[p], center[p], value[p]);
                value[p] = multiplied::<T, FUSED>(-lane[p].size(), radius[p], value[p]);
            }
        }
        value
    }

    /// What the row that passed last loses at each neuron, shared out to the inputs through magnitudes of weights and slopes;
    /// left in `scratch.current`.
    #[inline(always)]
    fn lose<const FUSED: bool>(&self, scratch: &mut Scratch<T>) {
        let Scratch { layers, packed, current, passed, .. } = scratch;
        let last = self.layers.len() - 1;
        current.clear();
        current.resize(self.layers[last].outputs, [T::default(); SIDE_BY_SIDE]);
        let half = T::from_f64(0.5);
        for index in (0..=last).rev() {
            let (layer, state) = (&self.layers[index], &layers[index]);
            packed.clear();
            for n in &state.used {
                let n = *n as usize;
                let mut target = [T::default(); SIDE_BY_SIDE];
                for p in 0..SIDE_BY_SIDE {
                    let (l, u) = (state.lower[n][p], state.upper[n][p]);
                    let (below, above) = (state.lower_slope[n][p], state.upper_slope[n][p]);
                    let apart = (above - below) * half * (l + u) + state.upper_intercept[n][p]
                        - state.lower_intercept[n][p];
                    let own = passed[index][n][p].size() * apart;
                    let own = if u > l && apart > T::default() { own / (u - l) } else { T::default() };
                    target[p] = own + above.size() * current[n][p];
                }
                packed.push(target);
            }
            let inputs = layer.inputs;
            current.clear();
            current.resize(inputs, [T::default(); SIDE_BY_SIDE]);
            for (n, source) in state.used.iter().zip(packed.iter()) {
                let row = &layer.weight[*n as usize * inputs..][..inputs];
                for (w, target) in row.iter().zip(current.iter_mut()) {
                    let size = w.size();
                    for p in 0..SIDE_BY_SIDE {
                        target[p] = multiplied::<T, FUSED>(size, source[p], target[p]);
                    }
                }
            }
        }
    }
}

/// The least and the greatest value of an activation.
#[inline(always)]
fn range<T: Real>(activation: FloatActivation, lower: &Lane<T>, upper: &Lane<T>) -> (Lane<T>, Lane<T>) {
    let (zero, off) = (T::default(), T::from_f64(T::SLACK));
    match activation {
        FloatActivation::Identity => (*lower, *upper),
        FloatActivation::Relu => (lower.map(|l| greater(l, zero)), upper.map(|u| greater(u, zero))),
        FloatActivation::Tanh if T::ROUGH => (lower.map(|l| tanh(l) - off), upper.map(|u| tanh(u) + off)),
        _ => {
            let mut ends = (*lower, *upper);
            for p in 0..SIDE_BY_SIDE {
                let (l, u) = activation.range(lower[p].to_f64(), upper[p].to_f64());
                (ends.0[p], ends.1[p]) = (T::from_f64(l), T::from_f64(u));
            }
            ends
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bound::FloatRegion;
    use crate::bound::crown::{CrownScratch, bound_crown, bound_objectives};
    use crate::float::FloatLayer;

    const ACTIVATIONS: [FloatActivation; 8] = [
        FloatActivation::Relu,
        FloatActivation::Tanh,
        FloatActivation::Sigmoid,
        FloatActivation::Silu,
        FloatActivation::Elu(0.7),
        FloatActivation::LeakyRelu(0.2),
        FloatActivation::Clip(-0.5, 0.8),
        FloatActivation::Identity,
    ];

    /// Numbers in `[-1, 1)`, without a library's promise to keep its sequence.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        }
    }

    fn network(numbers: &mut Numbers, widths: &[usize], activation: FloatActivation) -> FloatNetwork {
        let layers = widths.windows(2).enumerate().map(|(index, pair)| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let last = index + 2 == widths.len();
            let weight = (0..inputs * outputs).map(|_| numbers.next()).collect();
            let bias = (0..outputs).map(|_| 0.3 * numbers.next()).collect();
            let activation = if last { FloatActivation::Identity } else { activation };
            FloatLayer::new(inputs, weight, bias, activation).unwrap()
        });
        FloatNetwork { layers: layers.collect() }
    }

    /// As many boxes as fill two vectors and part of a third.
    fn boxes(numbers: &mut Numbers, inputs: usize) -> (Vec<f64>, Vec<f64>) {
        let ends = (0..75 * inputs).map(|i| {
            let (middle, radius) = (numbers.next(), 0.3 * numbers.next().abs() * ((i / inputs) % 4) as f64);
            (middle - radius, middle + radius)
        });
        ends.unzip()
    }

    /// The same bounds as the one that takes box after box, and beside other boxes as alone.
    #[test]
    fn boxes_are_bounded_as_one_by_one() {
        for activation in ACTIVATIONS {
            let mut numbers = Numbers(7);
            let network = network(&mut numbers, &[3, 9, 8, 7, 2], activation);
            let (lower, upper) = boxes(&mut numbers, 3);
            let (weight, constant) = ([1.0, -1.0, 0.5, 2.0], [0.25, -1.0]);
            let rows = OutputRows { weight: &weight, constant: &constant };
            let bounder = BoxBounder::<f64>::new(&network);
            let found = bounder.bound(&lower, &upper, rows, true);
            let rough = BoxBounder::<f32>::new(&network).bound(&lower, &upper, rows, false);
            let mut scratch = CrownScratch::default();
            for place in 0..75 {
                let (l, u) = (&lower[3 * place..][..3], &upper[3 * place..][..3]);
                let region = FloatRegion::between(l, u);
                let pre = bound_crown(&network, &region, &mut scratch).pre;
                let one = bound_objectives(&network, &region, &pre, &weight, &constant, &mut scratch);
                for row in 0..2 {
                    let (value, expected) = (found.lower[2 * place + row], one.lower[row]);
                    assert!((value - expected).abs() < 1e-9, "{activation:?} {place}: {value} {expected}");
                    let rough = rough.lower[2 * place + row];
                    assert!((rough - expected).abs() < 1e-3, "{activation:?} {place}: {rough} {expected}");
                }
                let outputs = bound_crown(&network, &region, &mut scratch).output;
                let found_outputs = &bounder.outputs(l, u)[0];
                for (a, b) in found_outputs
                    .lower
                    .iter()
                    .zip(&outputs.lower)
                    .chain(found_outputs.upper.iter().zip(&outputs.upper))
                {
                    assert!((a - b).abs() < 1e-9, "{activation:?} {place}: {a} {b}");
                }
                let alone = bounder.bound(l, u, rows, true);
                assert_eq!(alone.lower, found.lower[2 * place..][..2]);
                assert_eq!(alone.coefficients, found.coefficients[6 * place..][..6]);
                assert_eq!(alone.losses, found.losses[6 * place..][..6]);
                assert_eq!(alone.loose, found.loose[place..][..1]);
            }
        }
    }

    /// No output of a point of a box is below its bound, which the row's coefficients attain somewhere for a linear network.
    #[test]
    fn no_point_is_below_its_bound() {
        for activation in ACTIVATIONS {
            let mut numbers = Numbers(11);
            let network = network(&mut numbers, &[4, 12, 10, 3], activation);
            let (lower, upper) = boxes(&mut numbers, 4);
            let weight = [1.0, -0.5, 0.25, -1.0, 1.0, 0.0];
            let rows = OutputRows { weight: &weight, constant: &[0.0, 0.5] };
            let found = BoxBounder::<f32>::new(&network).bound(&lower, &upper, rows, false);
            for place in 0..75 {
                for _ in 0..20 {
                    let corner = |i: usize| {
                        let (l, u) = (lower[4 * place + i], upper[4 * place + i]);
                        l + (0.5 + 0.5 * numbers.next()) * (u - l)
                    };
                    let outputs = network.forward(&[0, 1, 2, 3].map(corner)[..]);
                    for row in 0..2 {
                        let terms = weight[3 * row..][..3].iter().zip(&outputs).map(|(w, y)| w * y);
                        let value = rows.constant[row] + terms.sum::<f64>();
                        assert!(value >= found.lower[2 * place + row] - 1e-6, "{activation:?}");
                    }
                }
            }
        }
    }

    /// `relu(x - y) + 3 z` over `x, y` in `[-1, 1]` and `z` in `[1/2, 1]`: chord and line lie 1 apart (at 0) over a width of 4, of which
    /// `x` and `y` each have half; `z` has no part in it, but all of the coefficient 3.
    #[test]
    fn losses_by_hand() {
        let weight = vec![1.0, -1.0, 0.0, 0.0, 0.0, 1.0];
        let first = FloatLayer::new(3, weight, vec![0.0; 2], FloatActivation::Relu);
        let second = FloatLayer::new(2, vec![1.0, 3.0], vec![0.0], FloatActivation::Identity);
        let network = FloatNetwork { layers: vec![first.unwrap(), second.unwrap()] };
        let rows = OutputRows { weight: &[1.0], constant: &[0.0] };
        let bounder = BoxBounder::<f64>::new(&network);
        let found = bounder.bound(&[-1.0, -1.0, 0.5], &[1.0, 1.0, 1.0], rows, true);
        let near =
            |found: &[f64], expected: [f64; 3]| found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-9);
        assert!(near(&found.losses, [0.25, 0.25, 0.0]), "{:?}", found.losses);
        assert!(near(&found.coefficients, [0.0, 0.0, 3.0]), "{:?}", found.coefficients);
        assert_eq!(found.loose, [1]);
    }
}
