//! Rule `deviation.paired`: a pruned network against the dense one on the same input. Trusted. `spec/rules/band.md`.
//!
//! `W' x' - W x = W' (x' - x) - (W - W') x`: the change is carried through the pruned weights, and each layer adds what
//! its pruned weights contributed to the dense network. Two ranges are never subtracted, except to meet the result.

use alloc::vec::Vec;

use crate::band::{column, product, scale_rows, side_by_side};
use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::grid::{GridLayer, GridNetwork, GridScale};
use crate::hull::slope_ranges;
use crate::ibp::LayerBounds;
use crate::interval::GridBox;
use crate::model::{Mask, Network};
use crate::wide::{AtLayer, zip_exact};

/// The dense network and what one mask takes away from it.
#[derive(Clone, Debug)]
pub struct PairedNetwork {
    pruned: GridNetwork,
    removed: GridNetwork,
}

impl PairedNetwork {
    /// Splits every weight between what `mask` keeps and what it removes.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn new(network: &Network, mask: &Mask, scale: &GridScale) -> Result<Self, Fault> {
        let flip = |layer: &Vec<bool>| layer.iter().map(|kept| !kept).collect();
        let complement = Mask { layers: mask.layers.iter().map(flip).collect() };
        Ok(Self {
            pruned: GridNetwork::new(network, Some(mask), scale)?,
            removed: GridNetwork::new(network, Some(&complement), scale)?,
        })
    }
}

/// Bounds `pruned(x) - dense(x)` per output, for every x for which `dense` and `pruned` hold the layers' values.
///
/// # Errors
/// [`Fault::ShapeMismatch`] if the bounds are of another network, [`Fault::EmptyInterval`] if they contradict each
/// other, [`Fault::Overflow`].
pub fn paired_change(
    paired: &PairedNetwork,
    table: &TanhTable,
    input: &GridBox,
    dense: &LayerBounds,
    pruned: &LayerBounds,
) -> Result<GridBox, Fault> {
    let mut change = GridBox::point(input.intervals().map(|_| 0));
    let mut read = input;
    let layers = zip_exact(&paired.pruned.layers, &paired.removed.layers, 0)?;
    let values = zip_exact(&dense.pre, &dense.post, 0)?;
    let values = zip_exact(values, zip_exact(&pruned.pre, &pruned.post, 0)?, 0)?;
    for (index, ((kept, removed), ((pre, post), (other_pre, other_post)))) in
        zip_exact(layers, values, 0)?.enumerate()
    {
        let step = difference(&carried(kept, &change, index)?, &carried(removed, read, index)?, index)?;
        let step = step.meet(&difference(other_pre, pre, index)?, index)?;
        // Both networks' pre-activations lie in the hull, so that a secant slope carries one to the other.
        let hull = pre.hull(other_pre, index)?;
        let slopes = slope_ranges(&kept.activation, table, paired.pruned.value_bits, &hull, index)?;
        let scaled = scale_rows(&side_by_side(&[&step], index)?, &slopes, index)?;
        change = column(&scaled, 0, index)?.meet(&difference(other_post, post, index)?, index)?;
        read = post;
    }
    Ok(change)
}

/// `{ W x : x in the box }`.
fn carried(layer: &GridLayer, region: &GridBox, index: usize) -> Result<GridBox, Fault> {
    let exact = layer.weight.map(|_| false);
    column(&product(layer, &exact, &side_by_side(&[region], index)?, index)?, 0, index)
}

/// `{ a - b : a in one, b in other }`.
fn difference(one: &GridBox, other: &GridBox, layer: usize) -> Result<GridBox, Fault> {
    one.with(other, layer, |_, (l1, u1), (l2, u2)| l1.checked_sub(u2).zip(u1.checked_sub(l2)).within(layer))
}
