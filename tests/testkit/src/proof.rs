//! Proofs of properties as lists of nodes.

use std::slice;

use secateur_kernel::enclose::TanhTable;
use secateur_kernel::fault::Fault;
use secateur_kernel::grid::GridNetwork;
use secateur_kernel::split::{Case, Kept, Node, check_shape, check_tree};

/// Accepts iff the nodes are a tree that proves that no input of the case's box satisfies every constraint.
///
/// # Errors
/// Those of [`check_shape`] and [`check_tree`].
pub fn check_unsat(
    network: &GridNetwork,
    table: &TanhTable,
    case: &Case,
    nodes: &[Node],
    progress: &mut dyn FnMut(usize),
) -> Result<(), Fault> {
    check_unsat_from(network, table, (case, None), nodes, progress)
}

/// [`check_unsat`] with bounds of the box that leaves may go on from.
///
/// # Errors
/// Those of [`check_shape`] and [`check_tree`].
pub fn check_unsat_from(
    network: &GridNetwork,
    table: &TanhTable,
    (case, kept): (&Case, Option<&Kept>),
    nodes: &[Node],
    progress: &mut dyn FnMut(usize),
) -> Result<(), Fault> {
    check_shape(nodes.iter().map(Node::children))?;
    let mut node =
        |index: usize| Ok((index, nodes.get(index).cloned().ok_or(Fault::Orphan { node: index })?));
    check_tree(network, table, (slice::from_ref(case), kept), &mut node, (0, 1), progress)
}
