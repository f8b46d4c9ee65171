//! Optimised slopes (alpha-CROWN): for every bounded quantity its own lines below ReLUs and its own tangents of tanh and
//! sigmoid, improved by projected gradient steps. Untrusted; any slopes give a sound bound. `spec/rules/README.md`.
//!
//! With slopes of its own for every bounded quantity, tighter bounds of one layer never hurt the next, so each layer is
//! optimised by itself, first to last; no gradient goes through the bounds themselves.

pub mod options;
pub(crate) mod panel;
pub(crate) mod state;
pub mod witness;

use rayon::prelude::*;

use crate::bound::crown::{CrownBounds, Objectives, is_fixed, reach_with_slack};
use crate::bound::kernel::{Lane, PANEL, dispatch};
use crate::bound::{FloatBounds, FloatRegion, ibp};
use crate::float::FloatNetwork;

pub use options::{Column, SlopeOptions};
use panel::{Panel, PanelScratch};
use state::LayerContext;
use witness::{SlopeWitness, TargetSlopes};

/// Weights of a network whose panels are bounded on all threads.
const LARGE: usize = 1 << 16;

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
        let free =
            |r: &u32| !is_fixed(layer.activation, bounds.lower[*r as usize], bounds.upper[*r as usize]);
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
        output = output.through(last.activation);
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
}

impl<'a> Search<'a> {
    fn new(network: &'a FloatNetwork, region: &'a FloatRegion, options: &'a SlopeOptions) -> Self {
        let reach = reach_with_slack(region);
        Self { network, region, options, layers: Vec::new(), reach }
    }

    fn target(
        &self,
        target: usize,
        columns: Vec<Column>,
        objectives: &Objectives<'_>,
        steps: usize,
        bounds: &mut FloatBounds,
    ) -> TargetSlopes {
        let mut found = TargetSlopes::empty(target, columns, &self.layers);
        let panels = found.columns.len().div_ceil(PANEL);
        // What does not fit into a few caches is worth the other threads; each panel is bounded on one.
        let weights: usize = self.network.layers.iter().map(|layer| layer.weight.len()).sum();
        let bound = |scratch: &mut PanelScratch, panel: usize| {
            let columns = &found.columns[panel * PANEL..found.columns.len().min((panel + 1) * PANEL)];
            let mut values: Lane = [0.0; PANEL];
            dispatch(Panel {
                network: self.network,
                region: self.region,
                reach: &self.reach,
                layers: &self.layers,
                objectives,
                columns,
                sizing: columns.len(),
                steps,
                options: self.options,
                enough: f64::INFINITY,
                scratch,
                values: &mut values,
            });
            let mut own = TargetSlopes::empty(target, columns.to_vec(), &self.layers);
            own.fill(0..columns.len(), &self.layers, scratch);
            (values, own)
        };
        let bounded: Vec<(Lane, TargetSlopes)> = if panels > 1 && weights > LARGE {
            (0..panels).into_par_iter().map_init(PanelScratch::default, bound).collect()
        } else {
            let mut scratch = PanelScratch::default();
            (0..panels).map(|panel| bound(&mut scratch, panel)).collect()
        };
        for (panel, (values, own)) in bounded.into_iter().enumerate() {
            for (column, value) in own.columns.iter().zip(values) {
                let row = column.row as usize;
                if column.upper {
                    bounds.upper[row] = bounds.upper[row].min(-value);
                } else {
                    bounds.lower[row] = bounds.lower[row].max(value);
                }
            }
            found.take(panel * PANEL, &own);
        }
        found
    }
}
