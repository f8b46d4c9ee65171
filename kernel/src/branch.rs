//! Rule `branch.tree`: a bound of one output functional by cutting its input set into regions. Trusted.
//! `spec/rules/split.md`. The regions are those of `split.input` and `split.relu`, built here; the worst leaf counts, so
//! that any tree gives a true bound and decides only how tight.

use alloc::vec::Vec;

use crate::crown::{bound_outputs, crown_layers};
use crate::enclose::TanhTable;
use crate::fault::{Fault, Place};
use crate::grid::GridNetwork;
use crate::input::InputSet;
use crate::number::Rational;
use crate::split::{Node, NodeAt, Region, Splits, box_of, row_of, walk, witness_fault};

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
    let exact = |v: &i64| Rational::from_dyadic((*v).into(), i64::from(network.value_bits).saturating_neg());
    let ends = |side: &[i64]| side.iter().map(exact).collect();
    let root =
        Region { lower: ends(&input.region.lower), upper: ends(&input.region.upper), signs: Vec::new() };
    let mut worst: Option<i64> = None;
    walk(network, root, nodes, &mut |node, region, leaf| {
        let at = |fault: Fault| fault.at(Place::Node(node));
        let grid = box_of(region, network.value_bits);
        let grid = grid.ok_or(at(Fault::MagnitudeTooLarge { layer: 0 }))?;
        // A bound over the whole ball holds for the part of it that lies in the leaf's box.
        let part = InputSet { region: grid, ..input.clone() };
        let Some(layers) = crown_layers(network, table, &part, &Splits(&region.signs)).map_err(at)? else {
            return Ok(());
        };
        let Node::Leaf { witness, .. } = leaf else { return Err(Fault::NotEmpty { node }) };
        let row = witness.as_ref().map(|w| row_of(region, w, network.coefficient_bits)).transpose();
        let row = row.map_err(at)?;
        let bound = bound_outputs(network, table, &layers, &part, weights, row.as_ref());
        let bound = bound.map_err(|e| at(if row.is_some() { witness_fault(e) } else { e }))?;
        worst = Some(worst.map_or(bound, |w| w.max(bound)));
        Ok(())
    })?;
    let empty = || Fault::EmptyInterval { layer: 0, neuron: 0 };
    worst.ok_or_else(empty)
}
