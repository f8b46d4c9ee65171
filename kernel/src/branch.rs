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
use crate::split::{Node, NodeAt, Region, box_of, row_of, walk, witness_fault};

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
    let exact = |v: i64| Rational::on_grid(v, network.value_bits);
    let ends = || input.region.intervals();
    let root = Region {
        lower: ends().map(|(lower, _)| exact(lower)).collect(),
        upper: ends().map(|(_, upper)| exact(upper)).collect(),
        signs: Vec::new(),
    };
    let mut worst: Option<i64> = None;
    walk(network, root, nodes, &mut |node, region, leaf| {
        let at = |fault: Fault| fault.at(Place::Node(node));
        // A bound over the whole ball holds for the part of it that lies in the leaf's box.
        let part = InputSet { region: box_of(region, network.value_bits).map_err(at)?, ..input.clone() };
        let Some(layers) = crown_layers(network, table, &part, region.witness()).map_err(at)? else {
            return Ok(());
        };
        let Node::Leaf { witness, .. } = leaf else { return Err(Fault::NotEmpty { node }) };
        let bound = match witness {
            Some(witness) => {
                let row = row_of(region, witness, network.coefficient_bits).map_err(at)?;
                bound_outputs(network, table, &layers, &part, weights, Some(&row)).map_err(witness_fault)
            }
            None => bound_outputs(network, table, &layers, &part, weights, None),
        };
        worst = worst.max(Some(bound.map_err(at)?));
        Ok(())
    })?;
    worst.ok_or(Fault::EmptyInterval { layer: 0, neuron: 0 })
}
