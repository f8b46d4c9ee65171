//! The numbers that a panel moves: per layer, its lines, their free numbers and the split multipliers, sixteen bounded
//! quantities side by side. Untrusted. `spec/rules/README.md`.

use crate::bound::FloatBounds;
use crate::bound::kernel::{Lane, PANEL};
use crate::bound::relax::{FreeRange, LayerLines, elu, free_ranges};
use crate::float::FloatActivation;
use crate::float::smooth::silu;

/// Decay of the mean and of the mean square of the derivatives (Adam; Kingma and Ba 2014, arXiv:1412.6980).
const MEAN_DECAY: f64 = 0.9;
pub(super) const SQUARE_DECAY: f64 = 0.99;

/// Size of a gradient step: `rate` over the root of the mean square, whose start at 0 is undone by `correction`.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub rate: f64,
    pub correction: f64,
}

/// What all panels share about one layer.
#[derive(Clone, Debug, Default)]
pub struct LayerContext {
    pub(super) activation: Option<FloatActivation>,
    /// Default lines; neurons that were split count as loose.
    pub lines: LayerLines,
    /// Neurons that count: the exact ones, then the loose ones.
    pub(super) rows: Vec<u32>,
    /// Per loose neuron, the ranges of its lines below and above.
    pub(super) ranges: Vec<[Option<FreeRange>; 2]>,
    /// Per loose neuron, 1 if it was split to `z >= 0`, -1 to `z <= 0`, 0 if it was not split.
    pub(super) signs: Vec<f64>,
}

impl LayerContext {
    /// The context of a layer with the given pre-activation bounds; `signs` has one entry per neuron, or is empty if
    /// nothing was split.
    pub fn new(activation: FloatActivation, pre: &FloatBounds, signs: &[i8]) -> Self {
        let mut lines = LayerLines::default();
        lines.set(activation, pre);
        for (neuron, _) in (0u32..).zip(signs).filter(|(_, s)| **s != 0) {
            lines.exact.retain(|n| *n != neuron);
            if !lines.loose.contains(&neuron) {
                lines.loose.push(neuron);
            }
        }
        let rows = lines.exact.iter().chain(&lines.loose).copied().collect();
        let range = |n: &u32| free_ranges(activation, pre.lower[*n as usize], pre.upper[*n as usize]);
        let sign = |n: &u32| signs.get(*n as usize).map_or(0.0, |s| f64::from(*s));
        let ranges = lines.loose.iter().map(range).collect();
        let signs = lines.loose.iter().map(sign).collect();
        Self { activation: Some(activation), lines, rows, ranges, signs }
    }

    /// Whether the layer's activation is a (leaky) ReLU.
    pub fn is_hinge(&self) -> bool {
        matches!(self.activation, Some(FloatActivation::Relu | FloatActivation::LeakyRelu(_)))
    }

    /// Whether a neuron of the layer was split.
    pub fn is_split(&self) -> bool {
        self.signs.iter().any(|s| *s != 0.0)
    }
}

/// The numbers of one side (below or above) of a layer's loose neurons, one lane each.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub value: Vec<Lane>,
    best: Vec<Lane>,
    mean: Vec<Lane>,
    square: Vec<Lane>,
    pub slope: Vec<Lane>,
    pub intercept: Vec<Lane>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LayerState {
    /// Coefficients of the activations, one lane per neuron.
    pub coefficient: Vec<Lane>,
    pub sides: [Side; 2],
    pub multiplier: Side,
}

impl Side {
    #[inline(always)]
    fn start(&mut self, value: impl Iterator<Item = f64>, line: impl Iterator<Item = (f64, f64)>) {
        self.value.clear();
        self.value.extend(value.map(|v| [v; PANEL]));
        for lanes in [&mut self.mean, &mut self.square] {
            lanes.clear();
            lanes.resize(self.value.len(), [0.0; PANEL]);
        }
        self.best.clone_from(&self.value);
        self.slope.clear();
        self.intercept.clear();
        for (slope, intercept) in line {
            self.slope.push([slope; PANEL]);
            self.intercept.push([intercept; PANEL]);
        }
    }

    #[inline(always)]
    pub fn keep(&mut self, better: &[bool; PANEL]) {
        for (b, v) in self.best.iter_mut().zip(&self.value) {
            *b = core::array::from_fn(|i| if better[i] { v[i] } else { b[i] });
        }
    }

    /// One step of Adam along `derivative` for number `place`, kept inside its range.
    #[inline(always)]
    pub fn climb(
        &mut self,
        place: usize,
        derivative: &Lane,
        least: f64,
        greatest: f64,
        scale: f64,
        step: Step,
    ) {
        let (mean, square) = (&mut self.mean[place], &mut self.square[place]);
        let value = &mut self.value[place];
        let size = step.rate * scale * step.correction;
        for i in 0..PANEL {
            let d = derivative[i];
            mean[i] = MEAN_DECAY * mean[i] + (1.0 - MEAN_DECAY) * d;
            square[i] = SQUARE_DECAY * square[i] + (1.0 - SQUARE_DECAY) * d * d;
            let moved = value[i] + size * mean[i] / (square[i].sqrt() + 1e-12);
            let moved = if moved > least { moved } else { least };
            value[i] = if moved < greatest { moved } else { greatest };
        }
    }
}

impl LayerState {
    #[inline(always)]
    pub fn start(&mut self, context: &LayerContext) {
        let lines = || context.lines.loose.iter().map(|n| &context.lines.lines[*n as usize]);
        let start = |side: usize| {
            context.ranges.iter().map(move |r| r[side].as_ref().map_or(0.0, |range| range.start))
        };
        self.sides[0].start(start(0), lines().map(|l| (l.lower_slope, l.lower_intercept)));
        self.sides[1].start(start(1), lines().map(|l| (l.upper_slope, l.upper_intercept)));
        self.multiplier.start(lines().map(|_| 0.0), core::iter::empty());
        self.resolve(context);
    }

    /// The lines that belong to the free numbers.
    #[inline(always)]
    pub fn resolve(&mut self, context: &LayerContext) {
        let Some(activation) = context.activation else { return };
        for (index, side) in self.sides.iter_mut().enumerate() {
            for (place, ranges) in context.ranges.iter().enumerate() {
                let Some(range) = &ranges[index] else { continue };
                let value = &side.value[place];
                let (slope, intercept) = (&mut side.slope[place], &mut side.intercept[place]);
                if context.is_hinge() {
                    *slope = *value;
                    continue;
                }
                for i in 0..PANEL {
                    (slope[i], intercept[i]) = touching_line(activation, value[i], range.greatest);
                }
            }
        }
    }

    #[inline(always)]
    pub fn restore(&mut self, context: &LayerContext) {
        for side in self.sides.iter_mut().chain([&mut self.multiplier]) {
            side.value.clone_from(&side.best);
        }
        self.resolve(context);
    }

    /// The slope below (0) or above (1) of a loose neuron, and the multiplier, for one column.
    pub fn found(&self, place: usize, column: usize) -> ([f64; 2], f64) {
        let slopes = [self.sides[0].slope[place][column], self.sides[1].slope[place][column]];
        (slopes, self.multiplier.value[place][column])
    }
}

/// Slope and intercept of the line of a curve that belongs to a free number, whose greatest value is `greatest`.
#[inline(always)]
fn touching_line(activation: FloatActivation, value: f64, greatest: f64) -> (f64, f64) {
    match activation {
        FloatActivation::Elu(alpha) => elu::line_below(alpha, value, greatest),
        FloatActivation::Silu => {
            let (height, slope) = silu(value);
            (slope, height - slope * value)
        }
        _ => {
            let t = tanh(value);
            let s = 1.0 - t * t;
            let b = t - s * value;
            if activation == FloatActivation::Sigmoid { (0.25 * s, 0.5 + 0.5 * b) } else { (s, b) }
        }
    }
}

/// The place at which that line touches the function, in the unit of the free number.
#[inline(always)]
pub(super) fn touching_place(activation: Option<FloatActivation>, value: f64) -> f64 {
    match activation {
        Some(FloatActivation::Elu(_)) if value > 0.0 => 0.0,
        _ => value,
    }
}

/// tanh to a few 1e-16 absolute, without branches so that lanes are computed together.
#[inline(always)]
fn tanh(x: f64) -> f64 {
    let y = -2.0 * x.abs();
    let y = if y > -44.0 { y } else { -44.0 };
    // exp(y) = 2^n exp(r); adding 1.5 * 2^52 rounds to an integer that then sits in the low bits.
    let shifted = y * core::f64::consts::LOG2_E + 6_755_399_441_055_744.0;
    let n = shifted - 6_755_399_441_055_744.0;
    let r = y - n * 6.931_471_803_691_238e-1 - n * 1.908_214_929_270_587_7e-10;
    let mut e = 1.0 / 6_227_020_800.0;
    for denominator in [479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0]
    {
        e = e * r + 1.0 / denominator;
    }
    for coefficient in [1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        e = e * r + coefficient;
    }
    let power = f64::from_bits(shifted.to_bits().wrapping_shl(52).wrapping_add(1023 << 52));
    let e = e * power;
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bound::relax::lines;
    use proptest::prelude::*;

    fn curves() -> impl Strategy<Value = FloatActivation> {
        prop_oneof![
            Just(FloatActivation::Tanh),
            Just(FloatActivation::Sigmoid),
            Just(FloatActivation::Elu(1.0)),
            (0.01..1.0f64).prop_map(FloatActivation::Elu),
            Just(FloatActivation::Silu),
        ]
    }

    proptest! {
        /// Whatever the free number, its line is below (or above) the function; at the start it is the default line.
        #[test]
        fn every_free_number_gives_a_line(
            activation in curves(),
            l in -9.0..6.0f64,
            width in prop_oneof![0.0..1e-3f64, 0.0..8.0f64, 0.0..40.0f64],
            share in 0.0..=1.0f64,
        ) {
            let u = l + width;
            let close = 2e-14 * (1.0 + l.abs() + u.abs());
            let default = lines(activation, l, u);
            let default = [
                (default.lower_slope, default.lower_intercept),
                (default.upper_slope, default.upper_intercept),
            ];
            for (side, range) in free_ranges(activation, l, u).into_iter().enumerate() {
                let Some(range) = range else { continue };
                let start = touching_line(activation, range.start, range.greatest);
                let apart = |z: f64| (start.0 - default[side].0) * z + start.1 - default[side].1;
                prop_assert!(apart(l).abs() < close && apart(u).abs() < close, "{:?}", range);
                let value = range.least + share * (range.greatest - range.least);
                let (slope, intercept) = touching_line(activation, value, range.greatest);
                for step in 0..=200 {
                    let z = l + width * f64::from(step) / 200.0;
                    let above = slope * z + intercept - activation.apply(z);
                    let crossed = if side == 0 { above } else { -above };
                    prop_assert!(crossed <= close, "side {} {:?} at {}: {:e}", side, range, z, crossed);
                }
            }
        }
    }

    #[test]
    fn the_branchless_tanh_agrees_with_the_library() {
        for step in -4_000..=4_000 {
            let x = f64::from(step) * 0.01 + 1e-5;
            assert!((tanh(x) - x.tanh()).abs() < 5e-16, "{x}");
        }
        assert_eq!(tanh(0.0), 0.0);
        assert_eq!(tanh(-1e300), -1.0);
    }
}
