//! Optimised slopes (alpha-CROWN): for every bounded quantity its own lines below ReLUs and its own tangents of tanh and
//! sigmoid, improved by projected gradient steps. Untrusted; any slopes give a sound bound. `spec/rules.md` (BACK).
//!
//! With slopes of its own for every bounded quantity, tighter bounds of one layer never hurt the next, so each layer is
//! optimised by itself, first to last; no gradient goes through the bounds themselves.

mod panel;

use rayon::prelude::*;

use crate::bound::crown::{CrownBounds, Objectives, is_fixed, reach_with_slack};
use crate::bound::kernel::{Lane, PANEL, dispatch};
use crate::bound::relax::FloatLines;
use crate::bound::{FloatBounds, FloatRegion, ibp};
use crate::float::FloatNetwork;

use panel::{LayerContext, Panel, PanelScratch};

/// Denominator of the slopes that a certificate carries.
pub const SLOPE_DENOMINATOR: u32 = 65536;

/// How long to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlopeOptions {
    /// Gradient steps for the bounds of each hidden layer.
    pub hidden_steps: usize,
    /// Gradient steps for the outputs or objectives.
    pub output_steps: usize,
    /// First step, as a share of the range of the number that moves.
    pub rate: f64,
    /// Factor on the step from one iteration to the next.
    pub decay: f64,
}

impl Default for SlopeOptions {
    fn default() -> Self {
        Self { hidden_steps: 24, output_steps: 60, rate: 0.3, decay: 0.93 }
    }
}

/// One bounded quantity: a row of a layer (or an objective) from below or from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Row of the layer, or index of the objective.
    pub row: u32,
    /// Whether this is the upper bound.
    pub upper: bool,
}

/// Slopes for the bounds of one layer's pre-activations, or of objectives over the outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetSlopes {
    /// Index of the layer whose pre-activations are bounded; the number of layers for objectives over the outputs.
    pub target: usize,
    /// The bounded quantities; a row that is absent has its interval bound.
    pub columns: Vec<Column>,
    /// Per layer below the target, row-major neurons x columns: slope of the line below the activation.
    pub lower_slope: Vec<Vec<f64>>,
    /// The same for the line above.
    pub upper_slope: Vec<Vec<f64>>,
}

/// Slopes for every target, in order of the layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SlopeWitness {
    /// Targets, ascending.
    pub targets: Vec<TargetSlopes>,
}

/// What a search of slopes gives.
#[derive(Clone, Debug, PartialEq)]
pub struct SlopeSearch {
    /// Best bounds found.
    pub bounds: CrownBounds,
    /// The slopes that give them.
    pub witness: SlopeWitness,
}

/// Searches slopes for every pre-activation and output over `region`.
///
/// The bounds are approximate (`f64`); those of the quantised witness, recomputed by the checker, are the ones that count.
pub fn search_slopes(network: &FloatNetwork, region: &FloatRegion, options: &SlopeOptions) -> SlopeSearch {
    let mut search = Search::new(network, region, options);
    let mut witness = SlopeWitness::default();
    let mut pre: Vec<FloatBounds> = Vec::with_capacity(network.layers.len());
    for (index, layer) in network.layers.iter().enumerate() {
        let Some((last, previous)) = pre.last().zip(index.checked_sub(1).and_then(|i| network.layers.get(i)))
        else {
            pre.push(ibp::bound_first(layer, region));
            continue;
        };
        let mut bounds = ibp::bound_next(previous, layer, last);
        search.layers.push(LayerContext::new(previous.activation, last, &[]));
        let free = |r: &u32| !is_fixed(layer.activation, bounds.lower[*r as usize], bounds.upper[*r as usize]);
        let rows = (0u32..).take(layer.outputs).filter(free);
        let columns = rows.flat_map(|row| [false, true].map(|upper| Column { row, upper })).collect();
        let objectives = Objectives {
            layer: index - 1,
            weight: &layer.transposed,
            stride: layer.outputs,
            constant: &layer.bias,
        };
        let is_last = index + 1 == network.layers.len();
        let steps = if is_last { options.output_steps } else { options.hidden_steps };
        witness.targets.push(search.target(index, columns, &objectives, steps, &mut bounds));
        pre.push(bounds);
    }
    let mut output = pre.last().cloned().unwrap_or_default();
    if let Some(last) = network.layers.last() {
        output.lower.iter_mut().chain(&mut output.upper).for_each(|z| *z = last.activation.apply(*z));
    }
    SlopeSearch { bounds: CrownBounds { pre, output }, witness }
}

/// [`search_slopes`] for many regions, in order, on all threads of the pool; each region on one thread.
pub fn search_slopes_all(
    network: &FloatNetwork,
    regions: &[FloatRegion],
    options: &SlopeOptions,
) -> Vec<SlopeSearch> {
    regions.par_iter().map(|region| search_slopes(network, region, options)).collect()
}

struct Search<'a> {
    network: &'a FloatNetwork,
    region: &'a FloatRegion,
    options: &'a SlopeOptions,
    layers: Vec<LayerContext>,
    reach: Vec<f64>,
    scratch: PanelScratch,
}

impl<'a> Search<'a> {
    fn new(network: &'a FloatNetwork, region: &'a FloatRegion, options: &'a SlopeOptions) -> Self {
        let reach = reach_with_slack(region);
        Self { network, region, options, layers: Vec::new(), reach, scratch: PanelScratch::default() }
    }

    fn target(
        &mut self,
        target: usize,
        columns: Vec<Column>,
        objectives: &Objectives<'_>,
        steps: usize,
        bounds: &mut FloatBounds,
    ) -> TargetSlopes {
        let mut found = TargetSlopes::empty(target, columns, &self.layers);
        for first in (0..found.columns.len()).step_by(PANEL) {
            let end = found.columns.len().min(first + PANEL);
            let columns = &found.columns[first..end];
            let mut values: Lane = [0.0; PANEL];
            dispatch(Panel {
                network: self.network,
                region: self.region,
                reach: &self.reach,
                layers: &self.layers,
                objectives,
                columns,
                steps,
                options: self.options,
                enough: f64::INFINITY,
                scratch: &mut self.scratch,
                values: &mut values,
            });
            for (column, value) in columns.iter().zip(values) {
                let row = column.row as usize;
                if column.upper {
                    bounds.upper[row] = bounds.upper[row].min(-value);
                } else {
                    bounds.lower[row] = bounds.lower[row].max(value);
                }
            }
            found.fill(first..end, &self.layers, &self.scratch);
        }
        found
    }
}

impl TargetSlopes {
    /// Default slopes for every column.
    fn empty(target: usize, columns: Vec<Column>, layers: &[LayerContext]) -> Self {
        let spread = |slope: fn(&FloatLines) -> f64| {
            let of_layer = |l: &LayerContext| {
                l.lines.lines.iter().flat_map(|line| vec![slope(line); columns.len()]).collect()
            };
            layers.iter().map(of_layer).collect()
        };
        let lower_slope = spread(|line| line.lower_slope);
        let upper_slope = spread(|line| line.upper_slope);
        Self { target, columns, lower_slope, upper_slope }
    }

    fn fill(&mut self, range: core::ops::Range<usize>, layers: &[LayerContext], scratch: &PanelScratch) {
        let stride = self.columns.len();
        for (index, context) in layers.iter().enumerate() {
            for (place, neuron) in context.lines.loose.iter().enumerate() {
                for (lane, column) in range.clone().enumerate() {
                    let ([below, above], _) = scratch.found(index, place, lane);
                    self.lower_slope[index][*neuron as usize * stride + column] = below;
                    self.upper_slope[index][*neuron as usize * stride + column] = above;
                }
            }
        }
    }
}
