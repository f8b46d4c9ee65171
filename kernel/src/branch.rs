//! Rules `branch.tree` and `branch.cells`: bounds by cutting an input set into regions. Trusted. `spec/rules/split.md`. The
//! regions are those of `split.input` and `split.relu`, built here; the worst leaf counts, so that any tree gives a true
//! bound and decides only how tight.

use alloc::vec;
use alloc::vec::Vec;

use num_traits::ToPrimitive;

use crate::back::Functional;
use crate::bounds::{Differences, StateBounds};
use crate::crown::{CrownLayers, bound_functionals, bound_outputs, bound_rows, crown_layers};
use crate::enclose::TanhTable;
use crate::fault::{Fault, Place};
use crate::grid::GridNetwork;
use crate::head::HeadBounds;
use crate::input::InputSet;
use crate::interval::GridBox;
use crate::number::Rational;
use crate::softmax::{PolicyChange, Softmax};
use crate::split::{LeafWitness, Node, NodeAt, Region, box_of, row_of, walk, witness_fault};
use crate::wide::{AtLayer, zip_exact};

/// What is done with a leaf that is not empty: its layers, its part of the input set, its region, its node's number and
/// witness.
type AtPart<'a> =
    dyn FnMut(&CrownLayers, &InputSet, &Region, (usize, Option<&LeafWitness>)) -> Result<(), Fault> + 'a;

/// Calls `at_part` for every leaf of a tree over the input set that `crown.layers` does not find empty.
fn walk_parts(
    network: &GridNetwork,
    table: &TanhTable,
    input: &InputSet,
    nodes: &mut NodeAt<'_>,
    at_part: &mut AtPart<'_>,
) -> Result<(), Fault> {
    let exact = |v: i64| Rational::on_grid(v, network.value_bits);
    let ends = || input.region.intervals();
    let root = Region {
        lower: ends().map(|(lower, _)| exact(lower)).collect(),
        upper: ends().map(|(_, upper)| exact(upper)).collect(),
        signs: Vec::new(),
    };
    walk(network, root, nodes, &mut |node, region, leaf| {
        let at = |fault: Fault| fault.at(Place::Node(node));
        // A bound over the whole ball holds for the part of it that lies in the leaf's box.
        let part = InputSet { region: box_of(region, network.value_bits).map_err(at)?, ..input.clone() };
        let Some(layers) = crown_layers(network, table, &part, region.witness()).map_err(at)? else {
            return Ok(());
        };
        let Node::Leaf { witness, .. } = leaf else { return Err(Fault::NotEmpty { node }) };
        at_part(&layers, &part, region, (node, witness.as_ref())).map_err(at)
    })
}

/// Rule `branch.tree`: an upper bound of `sum weights_i * output_i` over the input set, on the value grid: the largest of
/// the leaves' bounds, each by `crown.layers` and `back.*` over the leaf's box, its signs and the set's ball.
///
/// # Errors
/// [`Fault`]; a set that every leaf finds empty is [`Fault::EmptyInterval`].
pub fn bound_tree(
    network: &GridNetwork,
    table: &TanhTable,
    input: &InputSet,
    weights: &[i64],
    nodes: &mut NodeAt<'_>,
) -> Result<i64, Fault> {
    let mut worst: Option<i64> = None;
    walk_parts(network, table, input, nodes, &mut |layers, part, region, (_, witness)| {
        let bound = match witness {
            Some(witness) => {
                let row = row_of(region, witness, network.coefficient_bits)?;
                bound_outputs(network, table, layers, part, weights, Some(&row)).map_err(witness_fault)
            }
            None => bound_outputs(network, table, layers, part, weights, None),
        };
        worst = worst.max(Some(bound?));
        Ok(())
    })?;
    worst.ok_or(EMPTY)
}

/// No leaf has a point.
const EMPTY: Fault = Fault::EmptyInterval { layer: 0, neuron: 0 };

/// What the outputs of a state are, and what they mean.
pub struct CellOutputs<'a> {
    /// Encloses the unperturbed outputs.
    pub center: &'a GridBox,
    /// Whether the lead of the preferred output is bounded.
    pub margins: bool,
    /// The unperturbed policy, if it is a softmax.
    pub softmax: Option<&'a Softmax>,
    /// The head, if it is Gaussian.
    pub gaussian: Option<&'a HeadBounds>,
}

/// Rule `branch.cells`, of a Gaussian: with the outputs' changes `c_i` between the ends that `sides` gives, an upper bound of
/// the squared standardised distance, `sum T_i c_i^2 = sum T_i (2 m_i c_i - m_i^2 + (c_i - m_i)^2)`, with `m_i` the middle of
/// the ends; `upper` bounds one functional, `sum T_i m_i c_i` as a multiple of the outputs.
fn together(
    network: &GridNetwork,
    center: &GridBox,
    head: &HeadBounds,
    sides: &[i64],
    upper: &mut dyn FnMut(Functional) -> Result<i64, Fault>,
) -> Result<Rational, Fault> {
    let (bits, layer) = (network.coefficient_bits, network.layers.len());
    let exact = |v: i64| Rational::on_grid(v, network.value_bits);
    let (half, mut pulls) = (Rational::on_grid(1, 1), Vec::with_capacity(center.len()));
    let (mut apart, mut size, mut rises) = (Rational::zero(), Rational::zero(), Rational::zero());
    let ends = zip_exact(center.intervals(), sides.chunks(2), layer)?;
    for (weight, ((clean_lower, clean_upper), side)) in zip_exact(head.inverse_variances(), ends, layer)? {
        let [negative, positive] = side else { return Err(Fault::ShapeMismatch { layer }) };
        let (fall, rise) =
            (exact(*negative).add(&exact(clean_upper)).neg(), exact(*positive).sub(&exact(clean_lower)));
        let middle = fall.add(&rise).mul(&half);
        // Ends that lie the wrong way round are of a leaf without points, of which anything holds.
        let reach = rise.sub(&middle);
        apart = apart.add(&weight.mul(&reach.mul(&reach).sub(&middle.mul(&middle))));
        let pull = weight.mul(&middle);
        (size, rises) = (size.add(&pull.abs()), rises.add(&rise.max(Rational::zero())));
        pulls.push(pull);
    }
    // Pulls add up to less than this power of two, so that the functional's coefficients add up to less than 1.
    let unit = Rational::from_dyadic(1.into(), i64::try_from(size.ceil_scaled(0).bits()).ok().within(layer)?);
    let share = Rational::one().div(&unit).map_err(|_| Fault::ZeroDenominator)?;
    let (mut coefficients, mut clean) = (Vec::with_capacity(pulls.len()), Rational::zero());
    for (pull, (lower, upper)) in zip_exact(pulls, center.intervals(), layer)? {
        let coefficient = pull.mul(&share).floor_scaled(bits).to_i64().within(layer)?;
        let value = |v: i64| Rational::on_grid(coefficient, bits).mul(&exact(v));
        clean = clean.add(&value(lower).min(value(upper)));
        coefficients.push(coefficient);
    }
    let most = exact(upper(Functional { coefficients, constant: 0, layer })?).sub(&clean);
    // What the coefficients were cut by is at most a step for each rise.
    let most = most.add(&rises.mul(&Rational::on_grid(1, bits)));
    Ok(most.mul(&unit).mul(&Rational::from_dyadic(1.into(), 1)).add(&apart).max(Rational::zero()))
}

/// Rule `branch.cells`: how far the outputs move over the input set, with one tree for all of them. Of each functional the
/// largest of the leaves' bounds counts; of what outputs do together, the largest that a leaf says of it.
///
/// # Errors
/// [`Fault`]: [`Fault::SlopesInCell`] for a leaf with slopes, which would be those of one functional;
/// [`Fault::EmptyInterval`] for a set that every leaf finds empty.
pub fn bound_cells(
    network: &GridNetwork,
    table: &TanhTable,
    input: &InputSet,
    outputs: &CellOutputs<'_>,
    nodes: &mut NodeAt<'_>,
) -> Result<StateBounds, Fault> {
    let CellOutputs { center, margins, softmax, gaussian } = *outputs;
    // The same of every leaf.
    let differences = if margins { Differences::All } else { Differences::Without };
    let mut largest: Option<Vec<i64>> = None;
    let (mut policy, mut distance): (Option<PolicyChange>, Option<Rational>) = (None, None);
    walk_parts(network, table, input, nodes, &mut |layers, part, _, (node, witness)| {
        if witness.is_some() {
            return Err(Fault::SlopesInCell { node });
        }
        let (mut found, mut sides) = (Vec::new(), Vec::new());
        let leaf = StateBounds::from_functionals(center, differences, &mut |asked| {
            let rows: Vec<_> = asked.iter().map(|(weights, _)| (&**weights, None)).collect();
            let bounds = bound_functionals(network, table, layers, part, &rows)?;
            found.extend_from_slice(&bounds);
            // The first bounds are those of each output from both sides.
            if sides.is_empty() {
                sides.clone_from(&bounds);
            }
            Ok(bounds)
        })?;
        let first = largest.is_none();
        if let Some(known) = &largest {
            found = zip_exact(known, found, 0)?.map(|(known, own)| own.max(*known)).collect();
        }
        largest = Some(found);
        if let Some(head) = gaussian {
            let by_outputs = head.distance_squared(&leaf.exact(network.value_bits).0)?;
            let together = together(network, center, head, &sides, &mut |functional| {
                let bounds = bound_rows(network, table, vec![functional], layers, part, None)?;
                bounds.first().copied().shaped(network.layers.len())
            })?;
            distance = distance.take().max(Some(by_outputs.min(together)));
        }
        let own = leaf.known(softmax)?.policy;
        // What one leaf does not say, the tree does not say.
        let both = policy.take().zip(own.as_ref()).map(|(known, own)| known.with(own, Ord::max));
        policy = if first { own } else { both };
        Ok(())
    })?;
    let mut largest = largest.ok_or(EMPTY)?.into_iter();
    let whole = StateBounds::from_functionals(center, differences, &mut |asked| {
        Ok(largest.by_ref().take(asked.len()).collect())
    })?;
    Ok(StateBounds { policy, distance, gains: Vec::new(), ..whole })
}
