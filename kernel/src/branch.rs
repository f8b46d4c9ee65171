//! Rule `branch.tree`: a bound of one output functional by cutting its input set into regions. Trusted.
//! `spec/rules/split.md`. The regions are those of `split.input` and `split.relu`, built here; the worst leaf counts, so
//! that any tree gives a true bound and decides only how tight.

use alloc::vec::Vec;

use core::fmt;

use crate::crown::{bound_outputs, crown_layers};
use crate::enclose::TanhTable;
use crate::grid::{GridError, GridNetwork};
use crate::input::InputSet;
use crate::number::Rational;
use crate::split::{Node, NodeAt, Region, SplitError, Splits, box_of, row_of, walk, witness_fault};

/// Why the bytes of a split tree are not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreeFault {
    /// The bytes end inside a tree.
    Truncated,
    /// Bytes follow the last tree.
    Trailing,
    /// A node is of no known kind.
    UnknownNode,
    /// A tree has more nodes than the cap.
    TooManyNodes,
    /// A tree is deeper than the cap.
    TooDeep,
    /// A cut is not at a number.
    NotANumber,
    /// A node names a layer, neuron or input that does not exist, or the same neuron twice.
    NoSuchPlace,
    /// The neurons of a leaf's slopes do not ascend.
    NotAscending,
    /// An input is cut outside its interval, or not strictly inside.
    CutOutside,
    /// The nodes form no tree.
    NoTree,
}

impl TreeFault {
    /// Whether a tree is larger than the checker reads, rather than malformed.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::TooManyNodes | Self::TooDeep)
    }
}

impl fmt::Display for TreeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "ends early",
            Self::Trailing => "is followed by bytes of no tree",
            Self::UnknownNode => "has a node of no known kind",
            Self::TooManyNodes => "has too many nodes",
            Self::TooDeep => "is too deep",
            Self::NotANumber => "cuts an input at no number",
            Self::NoSuchPlace => "names a place that does not exist or is split already",
            Self::NotAscending => "lists slopes out of order",
            Self::CutOutside => "cuts an input outside its interval",
            Self::NoTree => "is no tree",
        })
    }
}

/// Tree `tree` of a list failed.
pub fn fault(tree: usize, error: &SplitError) -> GridError {
    let fault = match error {
        SplitError::Grid { reason, .. } => return *reason,
        SplitError::NoSuchPlace { .. } => TreeFault::NoSuchPlace,
        SplitError::CutOutside { .. } => TreeFault::CutOutside,
        _ => TreeFault::NoTree,
    };
    GridError::BadTree { tree, fault }
}

/// Rule `branch.tree`: an upper bound of `sum weights_i * output_i` over the input set, on the value grid: the largest of
/// the leaves' bounds, each by `crown.layers` and `back.*` over the leaf's box, its signs and the set's ball.
///
/// # Errors
/// [`SplitError`]; a set that every leaf finds empty is [`GridError::EmptyInterval`].
pub fn bound_tree(
    network: &GridNetwork,
    table: &TanhTable,
    input: &InputSet,
    weights: &[i64],
    nodes: &mut NodeAt<'_>,
) -> Result<i64, SplitError> {
    let exact = |v: &i64| Rational::from_dyadic((*v).into(), i64::from(network.value_bits).saturating_neg());
    let ends = |side: &[i64]| side.iter().map(exact).collect();
    let root =
        Region { lower: ends(&input.region.lower), upper: ends(&input.region.upper), signs: Vec::new() };
    let mut worst: Option<i64> = None;
    walk(network, root, nodes, &mut |node, region, leaf| {
        let at = |reason| SplitError::Grid { node, reason };
        let grid = box_of(region, network.value_bits);
        let grid = grid.ok_or(at(GridError::MagnitudeTooLarge { layer: 0 }))?;
        // A bound over the whole ball holds for the part of it that lies in the leaf's box.
        let part = InputSet { region: grid, ..input.clone() };
        let Some(layers) = crown_layers(network, table, &part, &Splits(&region.signs)).map_err(at)? else {
            return Ok(());
        };
        let Node::Leaf { witness, .. } = leaf else { return Err(SplitError::NotEmpty { node }) };
        let row = witness.as_ref().map(|w| row_of(region, w, network.coefficient_bits)).transpose();
        let row = row.map_err(at)?;
        let bound = bound_outputs(network, table, &layers, &part, weights, row.as_ref());
        let bound = bound.map_err(|e| at(if row.is_some() { witness_fault(e) } else { e }))?;
        worst = Some(worst.map_or(bound, |w| w.max(bound)));
        Ok(())
    })?;
    let reason = GridError::EmptyInterval { layer: 0, neuron: 0 };
    worst.ok_or(SplitError::Grid { node: 0, reason })
}
