//! Rule `deviation.paired`: a pruned network against the dense one on the same input. Trusted. `spec/rules/band.md`.
//!
//! `W' x' - W x = W' (x' - x) - (W - W') x`: the change is carried through the pruned weights, and each layer adds what
//! its pruned weights contributed to the dense network. Two ranges are never subtracted, except to meet the result.

use alloc::vec;
use alloc::vec::Vec;

use crate::band::{Intervals, product, scale_rows};
use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::grid::{GridNetwork, GridScale};
use crate::hull::slope_range;
use crate::ibp::{GridBox, LayerBounds};
use crate::model::{Mask, Network};

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
    let mut change = GridBox { lower: vec![0; input.lower.len()], upper: vec![0; input.lower.len()] };
    let mut read = input;
    let pairs = paired.pruned.layers.iter().zip(&paired.removed.layers);
    let values = dense.pre.iter().zip(&dense.post).zip(pruned.pre.iter().zip(&pruned.post));
    if [&dense.pre, &dense.post, &pruned.pre, &pruned.post]
        .iter()
        .any(|b| b.len() != paired.pruned.layers.len())
    {
        return Err(Fault::ShapeMismatch { layer: 0 });
    }
    for (index, ((kept, removed), ((pre, post), (other_pre, other_post)))) in pairs.zip(values).enumerate() {
        let overflow = || Fault::Overflow { layer: index };
        if read.lower.len() != kept.inputs || pre.lower.len() != kept.outputs {
            return Err(Fault::ShapeMismatch { layer: index });
        }
        let fixed = vec![false; kept.weight.len()];
        let carried = product(kept, &fixed, &Intervals::of_boxes(&[&change])).ok_or_else(overflow)?.column(0);
        let taken = product(removed, &fixed, &Intervals::of_boxes(&[read])).ok_or_else(overflow)?.column(0);
        let step = difference(&carried, &taken).ok_or_else(overflow)?;
        let step = step.meet(&difference(other_pre, pre).ok_or_else(overflow)?, index)?;
        // Both networks' pre-activations lie in the hull, so that a secant slope carries one to the other.
        let hull = pre.hull(other_pre);
        let slopes =
            hull.intervals().map(|e| slope_range(&kept.activation, table, paired.pruned.value_bits, e));
        let slopes = slopes.collect::<Option<Vec<_>>>().ok_or_else(overflow)?;
        let mut scaled = Intervals::of_boxes(&[&step]);
        scale_rows(&mut scaled, &slopes).ok_or_else(overflow)?;
        change = scaled.column(0).meet(&difference(other_post, post).ok_or_else(overflow)?, index)?;
        read = post;
    }
    Ok(change)
}

/// `{ a - b : a in one, b in other }`.
fn difference(one: &GridBox, other: &GridBox) -> Option<GridBox> {
    let pairs = one.intervals().zip(other.intervals());
    let ends = pairs.map(|((l1, u1), (l2, u2))| Some((l1.checked_sub(u2)?, u1.checked_sub(l2)?)));
    Some(GridBox::from_intervals(ends.collect::<Option<Vec<_>>>()?))
}
