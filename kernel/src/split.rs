//! Rules `split.input`, `split.relu`, `split.leaf`, `split.combination`, `split.empty`, `split.farkas`: a split tree proves that no input of a
//! box satisfies a conjunction of linear constraints on the outputs. Trusted. `spec/rules/split.md`.
//!
//! The children's regions are built here from (coordinate, point) or (layer, neuron), never taken from a certificate.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::back::{Functional, Multipliers, SplitMultiplier};
use crate::crown::{CrownLayers, RowWitness, Slopes, Witness, bound_row, crown_layers};
use crate::enclose::TanhTable;
use crate::fault::{Fault, Place};
use crate::grid::{GridNetwork, floor_entry, rational_entry, scale_up};
use crate::ibp::{GridBox, propagate};
use crate::input::InputSet;
use crate::number::Rational;
use crate::relax::SlopeChoice;

/// `coefficients . outputs <= bound`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputConstraint {
    /// One per output.
    pub coefficients: Vec<Rational>,
    /// Right-hand side.
    pub bound: Rational,
}

/// Inputs of a closed box whose outputs satisfy every constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Least value per input.
    pub lower: Vec<Rational>,
    /// Greatest value per input.
    pub upper: Vec<Rational>,
    /// Constraints; none means that every input of the box counts.
    pub constraints: Vec<OutputConstraint>,
}

/// A node of a split tree; children come after their parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Cut at `at`, strictly inside the region: children `x <= at` and `x >= at`.
    Input {
        /// Input, from 0.
        coordinate: usize,
        /// Where.
        at: Rational,
        /// Children: below, above.
        children: [usize; 2],
    },
    /// Cut by the sign of a pre-activation: children `pre >= 0` and `pre <= 0`.
    Relu {
        /// Layer, from 0.
        layer: usize,
        /// Neuron, from 0.
        neuron: usize,
        /// Children: positive, negative.
        children: [usize; 2],
    },
    /// The constraint is violated all over the region.
    Leaf {
        /// Constraint, from 0.
        constraint: usize,
        /// Slopes and multipliers; derived slopes if absent.
        witness: Option<LeafWitness>,
    },
    /// A sum of multiples of the constraints is violated all over the region.
    Combination {
        /// One per constraint of the case, not negative.
        multipliers: Vec<i64>,
        /// Slopes and multipliers of signs; derived slopes if absent.
        witness: Option<LeafWitness>,
    },
    /// The region is empty: the bounds contradict a split.
    Empty,
    /// The region is empty: the multipliers add the splits up to a contradiction.
    Farkas {
        /// Slopes and multipliers.
        witness: LeafWitness,
    },
}

impl Node {
    /// The children that a cut names.
    pub fn children(&self) -> Option<[usize; 2]> {
        match self {
            Self::Input { children, .. } | Self::Relu { children, .. } => Some(*children),
            Self::Leaf { .. } | Self::Combination { .. } | Self::Empty | Self::Farkas { .. } => None,
        }
    }
}

/// Slopes (on the slope grid) and multipliers (in units of 1/65536) of one bound, per layer and neuron.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeafWitness {
    /// Slopes of the lines; an empty layer takes the derived ones.
    pub slopes: Slopes,
    /// Multipliers of the split neurons; an empty layer has none.
    pub multipliers: Vec<Vec<i64>>,
}

/// Fraction bits of multipliers in witnesses.
const MULTIPLIER_BITS: u32 = 16;

/// A node's region: a box of inputs and the signs of split neurons.
pub struct Region {
    /// Least value per input.
    pub lower: Vec<Rational>,
    /// Greatest value per input.
    pub upper: Vec<Rational>,
    /// Layer, neuron, positive.
    pub signs: Vec<(usize, usize, bool)>,
}

/// The signs of a region as what backward bounds may assume.
pub(crate) struct Splits<'a>(pub(crate) &'a [(usize, usize, bool)]);

impl Witness for Splits<'_> {
    fn row(&self, _: usize, _: usize, _: bool) -> Option<&RowWitness> {
        None
    }
    fn shared(&self, _: usize, _: usize) -> SlopeChoice {
        SlopeChoice::default()
    }
    fn split(&self, layer: usize, neuron: usize) -> Option<bool> {
        self.0.iter().find(|(l, n, _)| *l == layer && *n == neuron).map(|(_, _, positive)| *positive)
    }
}

/// Accepts iff the tree proves that no input of the case's box satisfies every constraint; `progress` is called after
/// every leaf with the number of nodes done.
///
/// # Errors
/// [`Fault`].
pub fn check_unsat(
    network: &GridNetwork,
    table: &TanhTable,
    case: &Case,
    nodes: &[Node],
    progress: &mut dyn FnMut(usize),
) -> Result<(), Fault> {
    check_shape(nodes.iter().map(Node::children))?;
    let node = |index: usize| nodes.get(index).cloned().ok_or(Fault::Orphan { node: index });
    check_tree(network, table, case, &mut |index| Ok((index, node(index)?)), progress)
}

/// As [`check_unsat`], for nodes that are read when they are asked for and are known to be a tree.
///
/// # Errors
/// [`Fault`].
pub fn check_tree(
    network: &GridNetwork,
    table: &TanhTable,
    case: &Case,
    nodes: &mut NodeAt<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<(), Fault> {
    check_case(network, case)?;
    let root = Region { lower: case.lower.clone(), upper: case.upper.clone(), signs: Vec::new() };
    walk(network, root, nodes, &mut |index, region, leaf| {
        check_leaf(network, table, case, region, leaf, index)?;
        progress(index.saturating_add(1));
        Ok(())
    })
}

/// Accepts iff the children that each node names make the nodes one tree: node 0 is the root, a child comes after its
/// parent, and every other node is the child of exactly one.
///
/// # Errors
/// [`Fault::BadChild`], [`Fault::Orphan`].
pub fn check_shape(nodes: impl ExactSizeIterator<Item = Option<[usize; 2]>>) -> Result<(), Fault> {
    let mut placed = vec![false; nodes.len()];
    *placed.first_mut().ok_or(Fault::Orphan { node: 0 })? = true;
    for (node, children) in nodes.enumerate() {
        for child in children.into_iter().flatten() {
            let slot = placed.get_mut(child).filter(|placed| child > node && !**placed);
            *slot.ok_or(Fault::BadChild { node })? = true;
        }
    }
    placed.iter().position(|placed| !placed).map_or(Ok(()), |node| Err(Fault::Orphan { node }))
}

/// Where a walk takes its nodes from: given what a parent calls its child (0: the root), the child and its number for
/// messages. Asked for every node once, all of a first child's tree before the second child.
pub type NodeAt<'a> = dyn FnMut(usize) -> Result<(usize, Node), Fault> + 'a;

/// What is done with a leaf: its number, region and node.
pub type AtLeaf<'a> = dyn FnMut(usize, &Region, &Node) -> Result<(), Fault> + 'a;

/// What a walk does next: it changes its one region, or visits a node in it.
enum Step {
    Visit(usize),
    Lower(usize, Rational),
    Upper(usize, Rational),
    Sign(usize, usize, bool),
    Unsign,
}

impl Region {
    fn change(&mut self, step: Step) -> Option<usize> {
        match step {
            Step::Visit(node) => return Some(node),
            Step::Lower(coordinate, end) => {
                self.lower.get_mut(coordinate).into_iter().for_each(|l| *l = end.clone())
            }
            Step::Upper(coordinate, end) => {
                self.upper.get_mut(coordinate).into_iter().for_each(|u| *u = end.clone())
            }
            Step::Sign(layer, neuron, positive) => self.signs.push((layer, neuron, positive)),
            Step::Unsign => drop(self.signs.pop()),
        }
        None
    }
}

/// Builds every node's region from the root's and calls `at_leaf` with those of the leaves, which cover the root's.
///
/// There is one region at a time: the steps around a visit make a child's region of its parent's and take that back, so
/// that what waits is some steps for each cut above, not a region for each node.
pub fn walk(
    network: &GridNetwork,
    mut region: Region,
    nodes: &mut NodeAt<'_>,
    at_leaf: &mut AtLeaf<'_>,
) -> Result<(), Fault> {
    let mut steps = vec![Step::Visit(0)];
    while let Some(step) = steps.pop() {
        let Some(asked) = region.change(step) else { continue };
        let (index, node) = nodes(asked)?;
        // The last step is taken first.
        match node {
            Node::Input { coordinate, at, children: [below, above] } => {
                let (lower, upper) = cut_input(&region, coordinate, &at, index)?;
                let at_most =
                    [Step::Upper(coordinate, upper), Step::Visit(below), Step::Upper(coordinate, at.clone())];
                steps.extend([
                    Step::Lower(coordinate, lower),
                    Step::Visit(above),
                    Step::Lower(coordinate, at),
                ]);
                steps.extend(at_most);
            }
            Node::Relu { layer, neuron, children } => {
                cut_relu(network, &region, layer, neuron, index)?;
                for (child, positive) in children.into_iter().zip([true, false]).rev() {
                    steps.extend([Step::Unsign, Step::Visit(child), Step::Sign(layer, neuron, positive)]);
                }
            }
            leaf => at_leaf(index, &region, &leaf)?,
        }
    }
    Ok(())
}

fn check_case(network: &GridNetwork, case: &Case) -> Result<(), Fault> {
    let inputs = network.layers.first().map_or(0, |l| l.inputs);
    let outputs = network.layers.last().map_or(0, |l| l.outputs);
    let box_fits = case.lower.len() == inputs
        && case.upper.len() == inputs
        && case.lower.iter().zip(&case.upper).all(|(lower, upper)| lower <= upper);
    let constraints_fit = case.constraints.iter().all(|c| c.coefficients.len() == outputs);
    if box_fits && constraints_fit { Ok(()) } else { Err(Fault::CaseShape) }
}

/// Rule `split.input`: the ends between which `at` cuts the region.
fn cut_input(
    region: &Region,
    coordinate: usize,
    at: &Rational,
    node: usize,
) -> Result<(Rational, Rational), Fault> {
    let ends = region.lower.get(coordinate).zip(region.upper.get(coordinate));
    let (lower, upper) = ends.ok_or(Fault::NoSuchPlace { node })?;
    if at <= lower || at >= upper {
        return Err(Fault::CutOutside { node });
    }
    Ok((lower.clone(), upper.clone()))
}

/// Rule `split.relu`: every input has `pre >= 0` or `pre <= 0`.
fn cut_relu(
    network: &GridNetwork,
    region: &Region,
    layer: usize,
    neuron: usize,
    node: usize,
) -> Result<(), Fault> {
    let exists = network.layers.get(layer).is_some_and(|l| neuron < l.outputs);
    let again = region.signs.iter().any(|(l, n, _)| *l == layer && *n == neuron);
    if exists && !again { Ok(()) } else { Err(Fault::NoSuchPlace { node }) }
}

/// The region's box on the grid, rounded outward.
pub(crate) fn box_of(region: &Region, bits: u32) -> Option<GridBox> {
    let mut grid = GridBox::default();
    for (lower, upper) in region.lower.iter().zip(&region.upper) {
        grid.lower.push(rational_entry(lower, bits)?.0);
        grid.upper.push(rational_entry(upper, bits)?.1);
    }
    Some(grid)
}

fn input_of(region: &Region, bits: u32) -> Option<InputSet> {
    let region = box_of(region, bits)?;
    Some(InputSet { region, center: GridBox::default(), radii: Vec::new(), ball: None })
}

fn check_leaf(
    network: &GridNetwork,
    table: &TanhTable,
    case: &Case,
    region: &Region,
    leaf: &Node,
    node: usize,
) -> Result<(), Fault> {
    let at = |fault: Fault| fault.at(Place::Node(node));
    let input = input_of(region, network.value_bits).ok_or(at(Fault::MagnitudeTooLarge { layer: 0 }))?;
    let bounds = crown_layers(network, table, &input, &Splits(&region.signs)).map_err(at)?;
    // An empty region satisfies nothing, whatever the leaf says about it.
    let Some(bounds) = bounds else { return Ok(()) };
    let parts = LeafParts { network, table, bounds: &bounds, input: &input, region };
    match leaf {
        Node::Leaf { constraint, witness } => {
            let constraint = case.constraints.get(*constraint).ok_or(Fault::NoSuchPlace { node })?;
            parts.violated(constraint, witness.as_ref(), node)
        }
        Node::Combination { multipliers, witness } => {
            let outputs = network.layers.last().map_or(0, |l| l.outputs);
            parts.violated(&combine(case, multipliers, outputs, node)?, witness.as_ref(), node)
        }
        Node::Farkas { witness } => {
            // 0 is at least its own lower bound over the region, unless the region is empty.
            let zero = vec![Rational::zero(); network.layers.last().map_or(0, |l| l.outputs)];
            let least = parts.least(&zero, Some(witness)).map_err(at)?;
            if least.is_positive() { Ok(()) } else { Err(Fault::NotEmpty { node }) }
        }
        _ => Err(Fault::NotEmpty { node }),
    }
}

/// Rule `split.combination`: the sum of the multiples of the constraints, exactly.
fn combine(case: &Case, multipliers: &[i64], outputs: usize, node: usize) -> Result<OutputConstraint, Fault> {
    if multipliers.len() != case.constraints.len() {
        return Err(Fault::NoSuchPlace { node });
    }
    let mut sum = OutputConstraint { coefficients: vec![Rational::zero(); outputs], bound: Rational::zero() };
    for (constraint, (multiplier, part)) in multipliers.iter().zip(&case.constraints).enumerate() {
        if multiplier.is_negative() {
            return Err(Fault::NegativeFactor { node, constraint });
        }
        let multiplier = Rational::from_dyadic((*multiplier).into(), 0);
        for (total, coefficient) in sum.coefficients.iter_mut().zip(&part.coefficients) {
            *total = total.add(&multiplier.mul(coefficient));
        }
        sum.bound = sum.bound.add(&multiplier.mul(&part.bound));
    }
    Ok(sum)
}

struct LeafParts<'a> {
    network: &'a GridNetwork,
    table: &'a TanhTable,
    bounds: &'a CrownLayers,
    input: &'a InputSet,
    region: &'a Region,
}

impl LeafParts<'_> {
    /// Accepts iff the constraint is strictly violated all over the region.
    fn violated(
        &self,
        constraint: &OutputConstraint,
        witness: Option<&LeafWitness>,
        node: usize,
    ) -> Result<(), Fault> {
        let least =
            self.least(&constraint.coefficients, witness).map_err(|fault| fault.at(Place::Node(node)))?;
        if least > constraint.bound {
            return Ok(());
        }
        Err(Fault::NotProved { node, least: Box::new(least), bound: Box::new(constraint.bound.clone()) })
    }

    /// Rule `split.leaf`: a lower bound of `coefficients . outputs` over the region.
    fn least(&self, coefficients: &[Rational], witness: Option<&LeafWitness>) -> Result<Rational, Fault> {
        let depth = self.network.layers.len();
        let overflow = || Fault::Overflow { layer: depth };
        let reach = self.bounds.post.last().and_then(crate::back::total_magnitude).ok_or_else(overflow)?;
        let mut functional =
            Functional { coefficients: Vec::with_capacity(coefficients.len()), constant: 0, layer: depth };
        for coefficient in coefficients {
            let (floor, ceil) =
                rational_entry(&coefficient.neg(), self.network.coefficient_bits).ok_or_else(overflow)?;
            functional.coefficients.push(floor);
            if floor != ceil {
                // One grid step of one coefficient is paid by the magnitude of all outputs.
                functional.constant = functional.constant.checked_add(reach).ok_or_else(overflow)?;
            }
        }
        let row = witness.map(|w| row_of(self.region, w, self.network.coefficient_bits)).transpose()?;
        let upper = bound_row(self.network, self.table, functional, self.bounds, self.input, row.as_ref());
        let upper = upper.map_err(|e| if row.is_some() { witness_fault(e) } else { e })?;
        Ok(Rational::from_dyadic(upper.into(), i64::from(self.network.value_bits).saturating_neg()).neg())
    }
}

/// What a witness's slopes and multipliers drive out of range is the witness's fault, no limit.
pub(crate) fn witness_fault(reason: Fault) -> Fault {
    match reason {
        Fault::Overflow { layer } => Fault::WitnessTooLarge { layer },
        other => other,
    }
}

/// Only neurons that the region has split carry a multiplier; others are not read.
pub(crate) fn row_of(region: &Region, witness: &LeafWitness, bits: u32) -> Result<RowWitness, Fault> {
    let mut multipliers = Multipliers::default();
    for (layer, neuron, positive) in &region.signs {
        let value = witness.multipliers.get(*layer).and_then(|m| m.get(*neuron)).copied().unwrap_or(0);
        let value = scale(value, bits).ok_or(Fault::WitnessTooLarge { layer: *layer })?;
        while multipliers.layers.len() <= *layer {
            multipliers.layers.push(Vec::new());
        }
        if let Some(list) = multipliers.layers.get_mut(*layer) {
            list.push(SplitMultiplier { neuron: *neuron, positive: *positive, value });
        }
    }
    Ok(RowWitness { slopes: witness.slopes.clone(), multipliers })
}

/// A multiplier in units of 1/65536 on the coefficient grid; any rounding is sound as long as it stays not negative.
fn scale(value: i64, coefficient_bits: u32) -> Option<i64> {
    match coefficient_bits.checked_sub(MULTIPLIER_BITS) {
        Some(up) => i64::try_from(scale_up(i128::from(value), up)?).ok(),
        None => floor_entry(i128::from(value), MULTIPLIER_BITS.checked_sub(coefficient_bits)?),
    }
}

/// Accepts iff the point lies in the case's box, exactly.
///
/// # Errors
/// [`Fault::CaseShape`], [`Fault::PointOutside`].
pub fn check_inside(case: &Case, point: &[Rational]) -> Result<(), Fault> {
    if point.len() != case.lower.len() || point.len() != case.upper.len() {
        return Err(Fault::CaseShape);
    }
    let sides = point.iter().zip(case.lower.iter().zip(&case.upper));
    match sides.into_iter().position(|(x, (lower, upper))| x < lower || x > upper) {
        Some(coordinate) => Err(Fault::PointOutside { coordinate }),
        None => Ok(()),
    }
}

/// Rule `counterexample.property`: accepts iff the point lies in the case's box and its outputs are shown to satisfy
/// every constraint. Exact for the box; outputs are enclosed on the grid, so that ties closer than the grid fail.
///
/// # Errors
/// [`Fault`].
pub fn check_sat(
    network: &GridNetwork,
    table: &TanhTable,
    case: &Case,
    point: &[Rational],
) -> Result<(), Fault> {
    check_case(network, case)?;
    check_inside(case, point)?;
    let at = |fault: Fault| fault.at(Place::Node(0));
    let region = Region { lower: point.to_vec(), upper: point.to_vec(), signs: Vec::new() };
    let input = input_of(&region, network.value_bits).ok_or(at(Fault::MagnitudeTooLarge { layer: 0 }))?;
    let bounds = propagate(network, table, &input.region).map_err(at)?;
    let outputs = bounds.post.last().cloned().unwrap_or_default();
    for (constraint, wanted) in case.constraints.iter().enumerate() {
        let exact = |v: i64| Rational::from_dyadic(v.into(), i64::from(network.value_bits).saturating_neg());
        let mut greatest = Rational::zero();
        for (coefficient, (lower, upper)) in wanted.coefficients.iter().zip(outputs.intervals()) {
            let end = if coefficient.is_negative() { lower } else { upper };
            greatest = greatest.add(&coefficient.mul(&exact(end)));
        }
        if greatest > wanted.bound {
            return Err(Fault::PointFails { constraint });
        }
    }
    Ok(())
}
