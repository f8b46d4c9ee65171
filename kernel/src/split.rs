//! Rules `split.input`, `split.relu`, `split.leaf`, `split.combination`, `split.empty`, `split.farkas`,
//! `split.kept`: a split tree proves that no input of a box satisfies a conjunction of linear constraints on the outputs.
//! Trusted. `spec/rules/split.md`.
//!
//! The children's regions are built here from (coordinate, point) or (layer, neuron), never taken from a certificate.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::back::{Functional, Multipliers, SplitMultiplier};
use crate::crown::{CrownLayers, RowWitness, Rows, Slopes, Witness, bound_rows, crown_layers, with_signs};
use crate::enclose::TanhTable;
use crate::fault::{Fault, Place};
use crate::grid::{GridNetwork, rational_entry};
use crate::ibp::propagate;
use crate::input::InputSet;
use crate::interval::GridBox;
use crate::number::Rational;
use crate::wide::{AtLayer, Wide, total, zip_exact};

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
    /// As [`Node::Leaf`], from the bounds that were kept of the root's region.
    Kept {
        /// Constraint, from 0.
        constraint: usize,
        /// Slopes of the lines; an empty layer takes the derived ones.
        slopes: Slopes,
        /// One per sign of the region, outermost first, in units of 1/65536.
        multipliers: Vec<i64>,
    },
}

impl Node {
    /// The children that a cut names.
    pub fn children(&self) -> Option<[usize; 2]> {
        match self {
            Self::Input { children, .. } | Self::Relu { children, .. } => Some(*children),
            Self::Leaf { .. }
            | Self::Combination { .. }
            | Self::Empty
            | Self::Farkas { .. }
            | Self::Kept { .. } => None,
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

impl Region {
    /// What backward bounds may assume: the signs.
    pub(crate) fn witness(&self) -> Witness<'_> {
        Witness { signs: &self.signs, ..Witness::default() }
    }
}

/// Bounds of every layer over a case's whole box, from which leaves may go on.
pub struct Kept {
    lower: Vec<Rational>,
    upper: Vec<Rational>,
    bounds: CrownLayers,
}

impl Kept {
    /// Rule `crown.layers` over the box, with the slopes that rows ask for.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn new(network: &GridNetwork, table: &TanhTable, case: &Case, rows: &Rows) -> Result<Self, Fault> {
        check_case(network, case)?;
        let region = Region { lower: case.lower.clone(), upper: case.upper.clone(), signs: Vec::new() };
        let input = input_of(&region, network.value_bits)?;
        let bounds = crown_layers(network, table, &input, Witness { rows, ..Witness::default() })
            .map_err(witness_fault)?;
        let Region { lower, upper, .. } = region;
        // A box has points, and without signs they have values.
        Ok(Self { lower, upper, bounds: bounds.shaped(0)? })
    }

    /// Whether they are of the case's box.
    pub fn is_of(&self, case: &Case) -> bool {
        (&self.lower, &self.upper) == (&case.lower, &case.upper)
    }

    /// The bounds.
    pub fn bounds(&self) -> &CrownLayers {
        &self.bounds
    }
}

/// Accepts iff the nodes, which are read when they are asked for and are known to be a tree (see [`check_shape`]), prove of
/// every one of the cases, which have one box (that of the bounds kept, if there are any), that no input of it satisfies every constraint; `progress` is called after
/// every leaf with the number of nodes done. Of the leaves, in the order of the walk, it checks every `of`-th from `own` on:
/// the cases are proved once each share from 0 to `of` is accepted.
///
/// # Errors
/// [`Fault`].
pub fn check_tree(
    network: &GridNetwork,
    table: &TanhTable,
    (cases, kept): (&[Case], Option<&Kept>),
    nodes: &mut NodeAt<'_>,
    (own, of): (usize, usize),
    progress: &mut dyn FnMut(usize),
) -> Result<(), Fault> {
    let case = cases.first().ok_or(Fault::CasesApart)?;
    for other in cases {
        check_case(network, other)?;
        if (&other.lower, &other.upper) != (&case.lower, &case.upper) {
            return Err(Fault::CasesApart);
        }
    }
    if kept.is_some_and(|kept| !kept.is_of(case)) {
        return Err(Fault::CasesApart);
    }
    let root = Region { lower: case.lower.clone(), upper: case.upper.clone(), signs: Vec::new() };
    let mut leaves = 0usize;
    walk(network, root, nodes, &mut |index, region, leaf| {
        let other = own < of && leaves.checked_rem(of).is_some_and(|place| place != own);
        leaves = leaves.checked_add(1).within(0)?;
        if !other {
            check_leaf(network, table, (cases, kept), region, leaf, index)?;
        }
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
pub(crate) type NodeAt<'a> = dyn FnMut(usize) -> Result<(usize, Node), Fault> + 'a;

/// What is done with a leaf: its number, region and node.
pub(crate) type AtLeaf<'a> = dyn FnMut(usize, &Region, &Node) -> Result<(), Fault> + 'a;

/// What a walk does next: it changes its one region, or visits a node in it.
enum Step {
    Visit(usize),
    Lower(usize, Rational),
    Upper(usize, Rational),
    Sign(usize, usize, bool),
    Unsign,
}

impl Region {
    /// Takes a step; the node that a visit asks for.
    fn take(&mut self, step: Step) -> Result<Option<usize>, Fault> {
        match step {
            Step::Visit(node) => return Ok(Some(node)),
            Step::Lower(coordinate, end) => *self.lower.get_mut(coordinate).shaped(0)? = end,
            Step::Upper(coordinate, end) => *self.upper.get_mut(coordinate).shaped(0)? = end,
            Step::Sign(layer, neuron, positive) => self.signs.push((layer, neuron, positive)),
            Step::Unsign => drop(self.signs.pop()),
        }
        Ok(None)
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
        let Some(asked) = region.take(step)? else { continue };
        let (index, node) = nodes(asked)?;
        // The last step is taken first.
        match node {
            Node::Input { coordinate, at, children: [below, above] } => {
                let (lower, upper) = cut_input(&region, coordinate, &at, index)?;
                steps.extend([
                    Step::Lower(coordinate, lower),
                    Step::Visit(above),
                    Step::Lower(coordinate, at.clone()),
                    Step::Upper(coordinate, upper),
                    Step::Visit(below),
                    Step::Upper(coordinate, at),
                ]);
            }
            Node::Relu { layer, neuron, children: [positive, negative] } => {
                cut_relu(network, &region, layer, neuron, index)?;
                for (child, sign) in [(negative, false), (positive, true)] {
                    steps.extend([Step::Unsign, Step::Visit(child), Step::Sign(layer, neuron, sign)]);
                }
            }
            Node::Leaf { .. }
            | Node::Combination { .. }
            | Node::Empty
            | Node::Farkas { .. }
            | Node::Kept { .. } => {
                at_leaf(index, &region, &node)?;
            }
        }
    }
    Ok(())
}

fn check_case(network: &GridNetwork, case: &Case) -> Result<(), Fault> {
    let inputs = network.layers.first().ok_or(Fault::EmptyNetwork)?.inputs();
    let mut ends = zip_exact(&case.lower, &case.upper, 0).map_err(|_| Fault::CaseShape)?;
    let fits = case.lower.len() == inputs
        && ends.all(|(lower, upper)| lower <= upper)
        && case.constraints.iter().all(|c| c.coefficients.len() == network.outputs());
    if fits { Ok(()) } else { Err(Fault::CaseShape) }
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
    let exists = network.layers.get(layer).is_some_and(|l| neuron < l.outputs());
    let again = region.signs.iter().any(|(l, n, _)| *l == layer && *n == neuron);
    if exists && !again { Ok(()) } else { Err(Fault::NoSuchPlace { node }) }
}

/// The region's box on the grid, rounded outward.
pub(crate) fn box_of(region: &Region, bits: u32) -> Result<GridBox, Fault> {
    let ends = zip_exact(&region.lower, &region.upper, 0)?;
    let outward = ends.map(|(lower, upper)| {
        let (lower, upper) = (rational_entry(lower, bits)?.0, rational_entry(upper, bits)?.1);
        Some((lower, upper))
    });
    let outward = outward.collect::<Option<Vec<_>>>().ok_or(Fault::MagnitudeTooLarge { layer: 0 })?;
    Ok(GridBox::from_intervals(outward))
}

/// A box as an input set, of which backward bounds read nothing else.
fn input_of(region: &Region, bits: u32) -> Result<InputSet, Fault> {
    let region = box_of(region, bits)?;
    Ok(InputSet { region, center: GridBox::default(), radii: Vec::new(), ball: None })
}

fn check_leaf(
    network: &GridNetwork,
    table: &TanhTable,
    (cases, kept): (&[Case], Option<&Kept>),
    region: &Region,
    leaf: &Node,
    node: usize,
) -> Result<(), Fault> {
    let at = |fault: Fault| fault.at(Place::Node(node));
    let input = input_of(region, network.value_bits).map_err(at)?;
    let bounds = if matches!(leaf, Node::Kept { .. }) {
        let kept = kept.ok_or(Fault::NothingKept { node })?;
        with_signs(network, table, &kept.bounds, &region.signs)
    } else {
        crown_layers(network, table, &input, region.witness())
    };
    let bounds = bounds.map_err(at)?;
    // An empty region satisfies nothing, whatever the leaf says about it.
    let Some(bounds) = bounds else { return Ok(()) };
    let violated = cases.iter().map(|case| match leaf {
        Node::Leaf { constraint, .. } | Node::Kept { constraint, .. } => {
            case.constraints.get(*constraint).map(Cow::Borrowed).ok_or(Fault::NoSuchPlace { node })
        }
        Node::Combination { multipliers, .. } => {
            combine(case, multipliers, network.outputs(), node).map(Cow::Owned)
        }
        // 0 is at least its own lower bound over the region, unless the region is empty.
        Node::Farkas { .. } => {
            let coefficients = vec![Rational::zero(); network.outputs()];
            Ok(Cow::Owned(OutputConstraint { coefficients, bound: Rational::zero() }))
        }
        Node::Empty | Node::Input { .. } | Node::Relu { .. } => Err(Fault::NotEmpty { node }),
    });
    let violated = violated.collect::<Result<Vec<_>, _>>()?;
    let bits = network.coefficient_bits;
    let row = match leaf {
        Node::Leaf { witness: Some(witness), .. }
        | Node::Combination { witness: Some(witness), .. }
        | Node::Farkas { witness } => Some(row_of(region, witness, bits)),
        Node::Kept { slopes, multipliers, .. } => {
            let signs = zip_exact(&region.signs, multipliers, 0).map_err(|_| Fault::NoSuchPlace { node })?;
            Some(row_in_order(signs, slopes, bits))
        }
        Node::Leaf { .. }
        | Node::Combination { .. }
        | Node::Empty
        | Node::Input { .. }
        | Node::Relu { .. } => None,
    };
    let row = row.transpose().map_err(at)?;
    let least = least(network, table, &bounds, &input, &violated, row.as_ref()).map_err(at)?;
    for (constraint, least) in zip_exact(&violated, least, 0)? {
        if least <= constraint.bound {
            let bound = Box::new(constraint.bound.clone());
            let empty = matches!(leaf, Node::Farkas { .. });
            let unproved = Fault::NotProved { node, least: Box::new(least), bound };
            return Err(if empty { Fault::NotEmpty { node } } else { unproved });
        }
    }
    Ok(())
}

/// Rule `split.combination`: the sum of the multiples of the constraints, exactly.
fn combine(case: &Case, multipliers: &[i64], outputs: usize, node: usize) -> Result<OutputConstraint, Fault> {
    if multipliers.len() != case.constraints.len() {
        return Err(Fault::NoSuchPlace { node });
    }
    let mut sum = OutputConstraint { coefficients: vec![Rational::zero(); outputs], bound: Rational::zero() };
    for (constraint, (multiplier, part)) in zip_exact(multipliers, &case.constraints, 0)?.enumerate() {
        if multiplier.is_negative() {
            return Err(Fault::NegativeFactor { node, constraint });
        }
        let multiplier = Rational::from_integer((*multiplier).into());
        for (total, coefficient) in zip_exact(&mut sum.coefficients, &part.coefficients, 0)? {
            *total = total.add(&multiplier.mul(coefficient));
        }
        sum.bound = sum.bound.add(&multiplier.mul(&part.bound));
    }
    Ok(sum)
}

/// Rule `split.leaf`: lower bounds of each constraint's `coefficients . outputs` over the region.
fn least(
    network: &GridNetwork,
    table: &TanhTable,
    bounds: &CrownLayers,
    input: &InputSet,
    constraints: &[Cow<'_, OutputConstraint>],
    row: Option<&RowWitness>,
) -> Result<Vec<Rational>, Fault> {
    let layer = network.layers.len();
    let outputs = bounds.post.last().ok_or(Fault::EmptyNetwork)?;
    let functional = |constraint: &Cow<'_, OutputConstraint>| {
        let entries = constraint.coefficients.iter();
        let entries = entries.map(|c| rational_entry(&c.neg(), network.coefficient_bits));
        let entries = entries.collect::<Option<Vec<_>>>().within(layer)?;
        // One grid step of an inexact coefficient is paid by the magnitude of all outputs.
        let cut = entries.iter().filter(|(floor, ceil)| floor != ceil).map(|_| outputs.total_magnitude());
        let constant = total(cut).get().within(layer)?;
        let coefficients = entries.iter().map(|(floor, _)| *floor).collect();
        Ok(Functional { coefficients, constant, layer })
    };
    let functionals = constraints.iter().map(functional).collect::<Result<Vec<_>, _>>()?;
    let bounded = bound_rows(network, table, functionals, bounds, input, row);
    let uppers = if row.is_some() { bounded.map_err(witness_fault) } else { bounded }?;
    Ok(uppers.into_iter().map(|upper| Rational::on_grid(upper, network.value_bits).neg()).collect())
}

/// What a witness's slopes and multipliers drive out of range is the witness's fault, no limit.
pub(crate) fn witness_fault(reason: Fault) -> Fault {
    if let Fault::Overflow { layer } = reason { Fault::WitnessTooLarge { layer } } else { reason }
}

/// The witness of a bound over the region. Only neurons that the region has split carry a multiplier; others are not read.
pub(crate) fn row_of(region: &Region, witness: &LeafWitness, bits: u32) -> Result<RowWitness, Fault> {
    let listed = region.signs.iter().map(|sign| {
        let &(layer, neuron, _) = sign;
        // A multiplier that is not listed is 0: the bound makes no use of that sign.
        (sign, witness.multipliers.get(layer).and_then(|list| list.get(neuron)).unwrap_or(&0))
    });
    row_in_order(listed, &witness.slopes, bits)
}

/// The same of signs with their multipliers.
fn row_in_order<'a>(
    signs: impl Iterator<Item = (&'a (usize, usize, bool), &'a i64)>,
    slopes: &Slopes,
    bits: u32,
) -> Result<RowWitness, Fault> {
    let mut layers: Vec<Vec<SplitMultiplier>> = Vec::new();
    for (&(layer, neuron, positive), &listed) in signs {
        let value = scale(listed, bits).ok_or(Fault::WitnessTooLarge { layer })?;
        if layers.len() <= layer {
            layers.resize(layer.checked_add(1).shaped(layer)?, Vec::new());
        }
        layers.get_mut(layer).shaped(layer)?.push(SplitMultiplier { neuron, positive, value });
    }
    Ok(RowWitness { slopes: slopes.clone(), multipliers: Multipliers { layers } })
}

/// A multiplier in units of 1/65536 on the coefficient grid; any rounding is sound as long as it stays not negative.
fn scale(value: i64, coefficient_bits: u32) -> Option<i64> {
    match coefficient_bits.checked_sub(MULTIPLIER_BITS) {
        Some(finer) => Wide::from(value).scaled(finer).entry(),
        None => Wide::from(value).floor(MULTIPLIER_BITS.checked_sub(coefficient_bits)?).entry(),
    }
}

/// Accepts iff the point lies in the case's box, exactly.
///
/// # Errors
/// [`Fault::CaseShape`], [`Fault::PointOutside`].
pub fn check_inside(case: &Case, point: &[Rational]) -> Result<(), Fault> {
    let shape = |_| Fault::CaseShape;
    let ends = zip_exact(&case.lower, &case.upper, 0).map_err(shape)?;
    let mut sides = zip_exact(point, ends, 0).map_err(shape)?;
    match sides.position(|(x, (lower, upper))| x < lower || x > upper) {
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
    let region = box_of(&region, network.value_bits).map_err(at)?;
    let bounds = propagate(network, table, &region).map_err(at)?;
    for (constraint, wanted) in case.constraints.iter().enumerate() {
        let mut greatest = Rational::zero();
        for (coefficient, (lower, upper)) in
            zip_exact(&wanted.coefficients, bounds.outputs()?.intervals(), 0)?
        {
            let end = if coefficient.is_negative() { lower } else { upper };
            greatest = greatest.add(&coefficient.mul(&Rational::on_grid(end, network.value_bits)));
        }
        if greatest > wanted.bound {
            return Err(Fault::PointFails { constraint });
        }
    }
    Ok(())
}
