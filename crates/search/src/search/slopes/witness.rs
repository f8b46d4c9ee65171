//! The slopes of a search as data: what a certificate carries, and the bounds they give when everything else is derived
//! again. Untrusted. `spec/certificate.md`.

use crate::bound::crown::{CrownBounds, FloatSplit, reach_with_slack};
use crate::bound::relax::{FloatLines, lines, lines_with_slopes};
use crate::bound::{FloatBounds, FloatRegion, ibp};
use crate::float::{FloatActivation, FloatNetwork};

use super::options::Column;
use super::panel::PanelScratch;
use super::state::LayerContext;

/// Denominator of the slopes and multipliers that a certificate carries.
pub const SLOPE_DENOMINATOR: u32 = 65536;

/// Slopes for the bounds of one layer's pre-activations, or of objectives over the outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetSlopes {
    /// Index of the layer whose pre-activations are bounded; the number of layers for objectives over the outputs.
    pub target: usize,
    /// The bounded quantities; a row that is absent has its interval bound.
    pub columns: Vec<Column>,
    /// Per layer below the target, row-major neurons x columns: slope of the line below the activation.
    pub lower_slope: Vec<Vec<f64>>,
    /// The same for the line above; of a ReLU it is only for information, since the chord is derived.
    pub upper_slope: Vec<Vec<f64>>,
    /// The same for the multipliers of split neurons, not negative; a layer without splits has an empty table.
    pub multipliers: Vec<Vec<f64>>,
}

/// Slopes for every target, in order of the layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SlopeWitness {
    /// Targets, ascending.
    pub targets: Vec<TargetSlopes>,
}

impl TargetSlopes {
    /// Default slopes for every column.
    pub(crate) fn empty(target: usize, columns: Vec<Column>, layers: &[LayerContext]) -> Self {
        let spread = |slope: fn(&FloatLines) -> f64| {
            let of_layer = |l: &LayerContext| {
                l.lines.lines.iter().flat_map(|line| vec![slope(line); columns.len()]).collect()
            };
            layers.iter().map(of_layer).collect()
        };
        let lower_slope = spread(|line| line.lower_slope);
        let upper_slope = spread(|line| line.upper_slope);
        let table =
            |l: &LayerContext| vec![0.0; if l.is_split() { l.lines.lines.len() * columns.len() } else { 0 }];
        let multipliers = layers.iter().map(table).collect();
        Self { target, columns, lower_slope, upper_slope, multipliers }
    }

    /// Takes over columns that were found apart, from column `first` on.
    pub(super) fn take(&mut self, first: usize, part: &Self) {
        let (stride, width) = (self.columns.len(), part.columns.len());
        let tables = [
            (&mut self.lower_slope, &part.lower_slope),
            (&mut self.upper_slope, &part.upper_slope),
            (&mut self.multipliers, &part.multipliers),
        ];
        for (own, part) in tables.into_iter().flat_map(|(own, part)| own.iter_mut().zip(part)) {
            for (row, values) in own.chunks_exact_mut(stride).zip(part.chunks_exact(width)) {
                row[first..first + width].copy_from_slice(values);
            }
        }
    }

    pub(super) fn fill(
        &mut self,
        range: core::ops::Range<usize>,
        layers: &[LayerContext],
        scratch: &PanelScratch,
    ) {
        for (lane, column) in range.enumerate() {
            self.fill_column(column, lane, layers, scratch);
        }
    }

    /// Takes over what a panel found for its column `lane`.
    pub(crate) fn fill_column(
        &mut self,
        column: usize,
        lane: usize,
        layers: &[LayerContext],
        scratch: &PanelScratch,
    ) {
        let stride = self.columns.len();
        for (index, context) in layers.iter().enumerate() {
            for (place, neuron) in context.lines.loose.iter().enumerate() {
                {
                    let ([below, above], multiplier) = scratch.found(index, place, lane);
                    let entry = *neuron as usize * stride + column;
                    self.lower_slope[index][entry] = below;
                    self.upper_slope[index][entry] = above;
                    if let Some(target) = self.multipliers[index].get_mut(entry) {
                        *target = multiplier;
                    }
                }
            }
        }
    }

    /// Rounds every slope and multiplier to a multiple of `1 / SLOPE_DENOMINATOR`.
    pub fn quantise(&mut self) {
        let unit = f64::from(SLOPE_DENOMINATOR);
        let tables = [&mut self.lower_slope, &mut self.upper_slope, &mut self.multipliers];
        for value in tables.into_iter().flatten().flatten() {
            *value = (*value * unit).round() / unit;
        }
    }
}

impl SlopeWitness {
    /// Rounds every slope as a certificate stores it.
    pub fn quantise(&mut self, network: &FloatNetwork) {
        for target in &mut self.targets {
            for table in [&mut target.lower_slope, &mut target.upper_slope] {
                for (slopes, layer) in table.iter_mut().zip(&network.layers) {
                    slopes
                        .iter_mut()
                        .for_each(|s| *s = read_slope(layer.activation, store_slope(layer.activation, *s)));
                }
            }
        }
    }
}

/// How many slopes a certificate holds of a neuron: none of the identity, one of what has a kink (below), two of a curve
/// (below, above).
pub fn stored_slopes(activation: FloatActivation) -> usize {
    match activation {
        FloatActivation::Identity => 0,
        FloatActivation::Relu | FloatActivation::LeakyRelu(_) | FloatActivation::Clip(..) => 1,
        FloatActivation::Tanh
        | FloatActivation::Sigmoid
        | FloatActivation::Elu(_)
        | FloatActivation::Silu => 2,
    }
}

/// The least slope that can be stored, and the length of the range: those of SiLU leave [0, 1].
fn stored_range(activation: FloatActivation) -> (f64, f64) {
    if activation == FloatActivation::Silu { (-0.125, 1.25) } else { (0.0, 1.0) }
}

/// A slope in the two bytes that a certificate has for it: 1/65536 of the range, the largest number stands for its end.
pub fn store_slope(activation: FloatActivation, slope: f64) -> u16 {
    let (least, length) = stored_range(activation);
    ((slope - least) / length * f64::from(SLOPE_DENOMINATOR)).round().clamp(0.0, 65535.0) as u16
}

/// The slope that is stored so.
pub fn read_slope(activation: FloatActivation, stored: u16) -> f64 {
    let (least, length) = stored_range(activation);
    let units = u32::from(stored) + u32::from(stored == u16::MAX);
    least + length * f64::from(units) / f64::from(SLOPE_DENOMINATOR)
}

/// The bounds that `witness` gives: intervals met with backward passes, intercepts derived from the slopes, chords of
/// ReLUs from the bounds. One column at a time in plain loops, as a second way to the numbers of the search.
pub fn bound_with_slopes(
    network: &FloatNetwork,
    region: &FloatRegion,
    witness: &SlopeWitness,
) -> CrownBounds {
    let mut pre: Vec<FloatBounds> = Vec::with_capacity(network.layers.len());
    for (index, layer) in network.layers.iter().enumerate() {
        let previous = index.checked_sub(1).and_then(|i| network.layers.get(i)).zip(pre.last());
        let mut bounds = match previous {
            None => ibp::bound_first(layer, region),
            Some((previous, last)) => ibp::bound_next(previous, layer, last),
        };
        for target in witness.targets.iter().filter(|t| t.target == index) {
            for (place, column) in target.columns.iter().enumerate() {
                let row = column.row as usize;
                let weights = layer.weight[row * layer.inputs..][..layer.inputs].iter();
                let sign = if column.upper { -1.0 } else { 1.0 };
                let seed = weights.map(|w| sign * w).collect();
                let fixed = FixedSlopes { network, region, pre: &pre, splits: &[], target, place };
                let value = fixed.bound(seed, sign * layer.bias[row]);
                if column.upper {
                    bounds.upper[row] = bounds.upper[row].min(-value);
                } else {
                    bounds.lower[row] = bounds.lower[row].max(value);
                }
            }
        }
        pre.push(bounds);
    }
    let mut output = pre.last().cloned().unwrap_or_default();
    if let Some(last) = network.layers.last() {
        output = output.through(last.activation);
    }
    CrownBounds { pre, output }
}

/// Everything that a backward bound needs besides its seed.
pub(crate) struct FixedSlopes<'a> {
    pub network: &'a FloatNetwork,
    pub region: &'a FloatRegion,
    /// Bounds of the pre-activations, met with the signs of the splits.
    pub pre: &'a [FloatBounds],
    pub splits: &'a [FloatSplit],
    pub target: &'a TargetSlopes,
    /// Column of `target`.
    pub place: usize,
}

impl FixedSlopes<'_> {
    /// Least value over the region of `seed . post + constant`, `post` the last activations that the target's slopes
    /// reach.
    pub fn bound(&self, seed: Vec<f64>, constant: f64) -> f64 {
        let (mut coefficients, mut constant) = (seed, constant);
        for index in (0..self.target.lower_slope.len()).rev() {
            let layer = &self.network.layers[index];
            let mut next = vec![0.0; layer.inputs];
            for (k, c) in coefficients.iter().enumerate() {
                let (slope, intercept) = self.line(index, k, *c);
                let pre = c * slope - self.multiplier(index, k);
                constant += pre * layer.bias[k] + c * intercept;
                let weights = &layer.weight[k * layer.inputs..][..layer.inputs];
                next.iter_mut().zip(weights).for_each(|(n, w)| *n += pre * w);
            }
            coefficients = next;
        }
        let middle: f64 = coefficients.iter().zip(self.region.center()).map(|(c, x)| c * x).sum();
        let spread: f64 = match self.region {
            FloatRegion::Box { .. } => {
                coefficients.iter().zip(reach_with_slack(self.region)).map(|(c, r)| c.abs() * r).sum()
            }
            FloatRegion::Ball { radius, .. } => {
                radius * coefficients.iter().map(|c| c * c).sum::<f64>().sqrt()
            }
        };
        middle + constant - spread
    }

    /// The line below for a positive coefficient, else the line above.
    fn line(&self, index: usize, k: usize, coefficient: f64) -> (f64, f64) {
        let entry = k * self.target.columns.len() + self.place;
        let (l, u) = (self.pre[index].lower[k], self.pre[index].upper[k]);
        let slopes = [self.target.lower_slope[index][entry], self.target.upper_slope[index][entry]];
        let line = line_of(self.network.layers[index].activation, l, u, slopes);
        if coefficient > 0.0 {
            (line.lower_slope, line.lower_intercept)
        } else {
            (line.upper_slope, line.upper_intercept)
        }
    }

    /// The multiplier of a split neuron with the sign of its split, else 0.
    fn multiplier(&self, index: usize, k: usize) -> f64 {
        let table = &self.target.multipliers[index];
        let Some(value) = table.get(k * self.target.columns.len() + self.place) else { return 0.0 };
        let here = |s: &&FloatSplit| s.layer as usize == index && s.neuron as usize == k;
        match self.splits.iter().find(here) {
            Some(split) if split.positive => *value,
            Some(_) => -value,
            None => 0.0,
        }
    }
}

fn line_of(activation: FloatActivation, l: f64, u: f64, [below, above]: [f64; 2]) -> FloatLines {
    let default = lines(activation, l, u);
    match activation {
        _ if stored_slopes(activation) == 2 => lines_with_slopes(activation, l, u, below, above),
        FloatActivation::Relu | FloatActivation::LeakyRelu(_) if l < 0.0 && u > 0.0 => {
            let own = lines_with_slopes(activation, l, u, below, default.upper_slope);
            FloatLines { lower_slope: own.lower_slope, lower_intercept: own.lower_intercept, ..default }
        }
        _ => default,
    }
}
