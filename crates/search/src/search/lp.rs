//! The triangle relaxation of a ReLU network as a linear program; its dual values become the slopes of a backward bound
//! that equals the program's optimum. Untrusted: an optimum that the slopes do not give again is an error, not a
//! tolerance. `spec/rules/README.md`.
//!
//! The solver is clarabel, an interior point method that returns duals. For a ReLU with `l < 0 < u` the program says
//! `h >= z`, `h >= 0` and `h <= chord(z)`; where the duals of the first two are `a` and `b`, the line below has slope
//! `a / (a + b)`. Limits: boxes; identity and (leaky) ReLU.
//!
//! # References
//! Wong and Kolter 2018, arXiv:1711.00851, section 3; Salman et al. 2019, arXiv:1902.08722, section 4.

use good_lp::constraint::ConstraintReference;
use good_lp::{
    DualValues, Expression, ProblemVariables, Solution, SolutionWithDual, SolverModel, Variable, clarabel,
    constraint, variable,
};

use crate::bound::relax::{FloatLines, lines};
use crate::bound::{FloatBounds, FloatRegion};
use crate::float::{FloatActivation, FloatNetwork};
use crate::search::slopes::SlopeSearch;
use crate::search::slopes::witness::{FixedSlopes, TargetSlopes};

/// Largest share of the value by which the slopes' bound may fall short of the program's optimum.
const AGREEMENT: f64 = 1e-6;

/// Why there is no linear program, or no answer.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum LpError {
    /// An activation other than identity, ReLU and leaky ReLU.
    #[error("the activation of layer {layer} is {activation}, which has no triangle relaxation")]
    Activation {
        /// Index of the layer.
        layer: usize,
        /// What it is.
        activation: &'static str,
    },
    /// The region is not a box.
    #[error("only boxes can be written as linear constraints on single inputs")]
    Region,
    /// There are no slopes of the outputs to improve.
    #[error("the search to improve has no slopes for the outputs")]
    Empty,
    /// The solver gave up.
    #[error("the solver found no optimum for row {row}")]
    Unsolved {
        /// Row of the outputs.
        row: u32,
    },
    /// The slopes taken from the duals do not give the optimum again.
    #[error("row {row}: the solver's optimum {optimum} is not reached by its own slopes, which give {bound}")]
    Disagreement {
        /// Row of the outputs.
        row: u32,
        /// What the solver says.
        optimum: f64,
        /// What the slopes give.
        bound: f64,
    },
}

/// The optimum of one program and the duals of its loose neurons.
struct Optimum {
    value: f64,
    /// Layer, neuron, slope of the line below.
    slopes: Vec<(usize, usize, f64)>,
}

/// Improves the outputs' bounds and slopes of `base` to those of the linear program over its bounds of the hidden layers;
/// a network without hidden layers keeps them.
///
/// # Errors
/// [`LpError`], one variant per reason.
pub fn search_lp(
    network: &FloatNetwork,
    region: &FloatRegion,
    base: &SlopeSearch,
) -> Result<SlopeSearch, LpError> {
    let FloatRegion::Box { center, radius } = region else { return Err(LpError::Region) };
    let last = network.layers.len() - 1;
    if let Some(layer) = network.layers[..last].iter().position(|l| !has_triangle(l.activation)) {
        return Err(LpError::Activation { layer, activation: network.layers[layer].activation.name() });
    }
    let mut found = base.clone();
    if last == 0 {
        // The interval bounds of a single layer are the program's optimum; there is no line to choose.
        return Ok(found);
    }
    let Some(target) = found.witness.targets.iter_mut().find(|t| t.target == last) else {
        return Err(LpError::Empty);
    };
    let program = Program { network, center, radius, pre: &base.bounds.pre };
    for place in 0..target.columns.len() {
        let column = target.columns[place];
        let (layer, row) = (&network.layers[last], column.row as usize);
        let sign = if column.upper { -1.0 } else { 1.0 };
        let weights = &layer.weight[row * layer.inputs..][..layer.inputs];
        let seed: Vec<f64> = weights.iter().map(|w| sign * w).collect();
        let constant = sign * layer.bias[row];
        let optimum = program.solve(&seed, constant).ok_or(LpError::Unsolved { row: column.row })?;
        let bound = take_slopes(network, region, base, target, place, &optimum, (seed, constant));
        if bound < optimum.value - AGREEMENT * (1.0 + optimum.value.abs()) {
            return Err(LpError::Disagreement { row: column.row, optimum: optimum.value, bound });
        }
        meet(&mut found.bounds.pre[last], row, column.upper, bound);
    }
    let activation = network.layers[last].activation;
    found.bounds.output = found.bounds.pre[last].clone().through(activation);
    Ok(found)
}

fn has_triangle(activation: FloatActivation) -> bool {
    matches!(activation, FloatActivation::Identity | FloatActivation::Relu | FloatActivation::LeakyRelu(_))
}

fn meet(bounds: &mut FloatBounds, row: usize, upper: bool, bound: f64) {
    if upper {
        bounds.upper[row] = bounds.upper[row].min(-bound);
    } else {
        bounds.lower[row] = bounds.lower[row].max(bound);
    }
}

/// Puts the program's slopes into column `place` if they are better than what stands there; the better bound.
fn take_slopes(
    network: &FloatNetwork,
    region: &FloatRegion,
    base: &SlopeSearch,
    target: &mut TargetSlopes,
    place: usize,
    optimum: &Optimum,
    (seed, constant): (Vec<f64>, f64),
) -> f64 {
    let bound_of = |target: &TargetSlopes| {
        let pre = &base.bounds.pre;
        FixedSlopes { network, region, pre, splits: &[], target, place }.bound(seed.clone(), constant)
    };
    let before = bound_of(target);
    let mut changed = target.clone();
    let stride = target.columns.len();
    for (layer, neuron, slope) in &optimum.slopes {
        changed.lower_slope[*layer][neuron * stride + place] = *slope;
    }
    let after = bound_of(&changed);
    if after > before {
        *target = changed;
    }
    after.max(before)
}

struct Program<'a> {
    network: &'a FloatNetwork,
    center: &'a [f64],
    radius: &'a [f64],
    pre: &'a [FloatBounds],
}

/// A loose neuron: where it is, the slope on its negative side, and its two lower constraints.
struct Loose {
    layer: usize,
    neuron: usize,
    leak: f64,
    pre: Variable,
    post: Variable,
    lines: FloatLines,
}

impl Program<'_> {
    /// Minimises `seed . post + constant` over the relaxation of all layers but the last; `None` if the solver gave up.
    fn solve(&self, seed: &[f64], constant: f64) -> Option<Optimum> {
        let mut variables = ProblemVariables::new();
        let sides = self.center.iter().zip(self.radius);
        // Post-activations as multiples of a variable; a neuron that is constantly 0 has none.
        let mut posts: Vec<Option<(Variable, f64)>> =
            sides.map(|(c, r)| Some((variables.add(variable().min(c - r).max(c + r)), 1.0))).collect();
        let mut loose = Vec::new();
        let mut equalities = Vec::new();
        let last = self.network.layers.len() - 1;
        for (index, layer) in self.network.layers[..last].iter().enumerate() {
            let mut next = Vec::with_capacity(layer.outputs);
            for (neuron, row) in layer.weight.chunks_exact(layer.inputs).enumerate() {
                let (l, u) = (self.pre[index].lower[neuron], self.pre[index].upper[neuron]);
                let line = lines(layer.activation, l, u);
                if line.is_exact() && line.lower_slope == 0.0 {
                    next.push(None);
                    continue;
                }
                let pre = variables.add(variable());
                equalities.push(constraint!(combination(row, &posts, layer.bias[neuron]) == pre));
                if line.is_exact() {
                    next.push(Some((pre, line.lower_slope)));
                    continue;
                }
                let post = variables.add(variable());
                let leak = if let FloatActivation::LeakyRelu(slope) = layer.activation { slope } else { 0.0 };
                loose.push(Loose { layer: index, neuron, leak, pre, post, lines: line });
                next.push(Some((post, 1.0)));
            }
            posts = next;
        }
        let objective = combination(seed, &posts, constant);
        let mut model = variables.minimise(objective.clone()).using(clarabel);
        for equality in equalities {
            model.add_constraint(equality);
        }
        let duals_of: Vec<[ConstraintReference; 2]> =
            loose.iter().map(|n| constrain(&mut model, n)).collect();
        let mut solution = model.solve().ok()?;
        let value = solution.eval(objective);
        let duals = solution.compute_dual();
        let slopes = loose.iter().zip(duals_of).map(|(neuron, [steep, flat])| {
            let (a, b) = (duals.dual(steep).abs(), duals.dual(flat).abs());
            let share = if a + b > 1e-9 { a / (a + b) } else { f64::from(neuron.lines.lower_slope == 1.0) };
            (neuron.layer, neuron.neuron, neuron.leak + (1.0 - neuron.leak) * share)
        });
        Some(Optimum { value, slopes: slopes.collect() })
    }
}

/// `post >= pre`, `post >= leak * pre`, `post <= chord(pre)`; references to the first two.
fn constrain(model: &mut impl SolverModel, neuron: &Loose) -> [ConstraintReference; 2] {
    let Loose { pre, post, leak, lines, .. } = neuron;
    let chord = lines.upper_slope * *pre + lines.upper_intercept;
    model.add_constraint(constraint!(*post <= chord));
    [
        model.add_constraint(constraint!(*post >= *pre)),
        model.add_constraint(constraint!(*post >= *leak * *pre)),
    ]
}

fn combination(weights: &[f64], posts: &[Option<(Variable, f64)>], constant: f64) -> Expression {
    let mut sum = Expression::from(constant);
    for (w, post) in weights.iter().zip(posts) {
        if let Some((variable, factor)) = post
            && *w != 0.0
        {
            sum.add_mul(w * factor, *variable);
        }
    }
    sum
}
