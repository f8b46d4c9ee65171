//! Interval bound propagation on the grid: rules `ibp.affine`, `ibp.activation`, `ibp.meet`.
//! Trusted. `spec/rules/local.md`; Gowal et al. 2018, arXiv:1810.12715. No correlations between neurons.

use alloc::vec::Vec;

use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::grid::{
    GridActivation, GridLayer, GridNetwork, absolute_sum, ceil_entry, dot_within, fits, floor_entry,
    magnitude, mul,
};

/// Lower and upper end on the value grid.
pub type Interval = (i64, i64);

/// A box on the value grid: `lower[i] <= x_i * 2^value_bits <= upper[i]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GridBox {
    /// Lower ends.
    pub lower: Vec<i64>,
    /// Upper ends.
    pub upper: Vec<i64>,
}

impl GridBox {
    /// Pairs of ends.
    pub fn intervals(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.lower.iter().copied().zip(self.upper.iter().copied())
    }

    /// The intervals of two boxes side by side.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`] if their lengths differ.
    pub fn paired<'a>(
        &'a self,
        other: &'a Self,
        layer: usize,
    ) -> Result<impl Iterator<Item = (Interval, Interval)> + 'a, Fault> {
        let lengths = [self.upper.len(), other.lower.len(), other.upper.len()];
        if lengths.iter().any(|length| *length != self.lower.len()) {
            return Err(Fault::ShapeMismatch { layer });
        }
        Ok(self.intervals().zip(other.intervals()))
    }

    /// A box from pairs of ends.
    pub fn from_intervals(pairs: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let (lower, upper) = pairs.into_iter().unzip();
        Self { lower, upper }
    }

    /// Rule `ibp.meet`: the intersection of two boxes that hold the same point.
    ///
    /// # Errors
    /// [`Fault::EmptyInterval`] if they do not meet, [`Fault::ShapeMismatch`] if their lengths differ.
    pub fn meet(&self, other: &Self, layer: usize) -> Result<Self, Fault> {
        let mut met = Self::default();
        for (neuron, ((l1, u1), (l2, u2))) in self.paired(other, layer)?.enumerate() {
            let (lower, upper) = (l1.max(l2), u1.min(u2));
            if lower > upper {
                return Err(Fault::EmptyInterval { layer, neuron });
            }
            met.lower.push(lower);
            met.upper.push(upper);
        }
        Ok(met)
    }

    /// The least box that holds both.
    pub fn hull(&self, other: &Self) -> Self {
        let pairs = self.intervals().zip(other.intervals());
        Self::from_intervals(pairs.map(|((l1, u1), (l2, u2))| (l1.min(l2), u1.max(u2))))
    }
}

/// Rule `ibp.affine`: bounds of `weight * x + bias` over a box, for every neuron of `layer`.
///
/// With middle `(lower + upper) / 2` and half-width `(upper - lower) / 2` the bounds are `w.middle -+ |w|.half-width`, `|w|`
/// from above, exact in i128 and rounded outward once; weights cut off at the grid add `sum |x_j|` grid steps.
///
/// # Errors
/// [`Fault::Overflow`], [`Fault::ShapeMismatch`].
pub fn affine(layer: &GridLayer, index: usize, input: &GridBox) -> Result<GridBox, Fault> {
    if input.lower.len() != layer.inputs || input.upper.len() != layer.inputs {
        return Err(Fault::ShapeMismatch { layer: index });
    }
    let overflow = || Fault::Overflow { layer: index };
    let mut doubled_middle = Vec::with_capacity(layer.inputs);
    let mut doubled_half = Vec::with_capacity(layer.inputs);
    for (lower, upper) in input.intervals() {
        doubled_middle.push(lower.checked_add(upper).ok_or_else(overflow)?);
        doubled_half.push(upper.checked_sub(lower).ok_or_else(overflow)?);
    }
    let slack = weight_slack(layer, input).ok_or_else(overflow)?;
    let reach = absolute_sum(&doubled_middle)
        .zip(absolute_sum(&doubled_half))
        .map(|(m, h)| m.max(h))
        .ok_or_else(overflow)?;
    let safe = fits(reach, layer.largest);
    let mut output =
        GridBox { lower: Vec::with_capacity(layer.outputs), upper: Vec::with_capacity(layer.outputs) };
    let biases = layer.bias_lower.iter().zip(&layer.bias_upper);
    let rows = layer.weight.chunks_exact(layer.inputs).zip(layer.absolute.chunks_exact(layer.inputs));
    for ((row, absolute), (&bias_lower, &bias_upper)) in rows.zip(biases) {
        let middle = dot_within(row, &doubled_middle, safe).ok_or_else(overflow)?;
        let half = dot_within(absolute, &doubled_half, safe).ok_or_else(overflow)?;
        let shift = layer.weight_bits.saturating_add(1);
        let lower = middle.checked_sub(half).and_then(|x| x.checked_sub(slack)).ok_or_else(overflow)?;
        let upper = middle.checked_add(half).and_then(|x| x.checked_add(slack)).ok_or_else(overflow)?;
        let lower = floor_entry(lower, shift).and_then(|x| x.checked_add(bias_lower)).ok_or_else(overflow)?;
        let upper = ceil_entry(upper, shift).and_then(|x| x.checked_add(bias_upper)).ok_or_else(overflow)?;
        output.lower.push(lower);
        output.upper.push(upper);
    }
    Ok(output)
}

/// Twice `weight_error * sum_j |x_j|`, in grid steps of the product.
fn weight_slack(layer: &GridLayer, input: &GridBox) -> Option<i128> {
    if layer.weight_error == 0 {
        return Some(0);
    }
    let sum = input.intervals().try_fold(0i128, |s, (l, u)| s.checked_add(i128::from(magnitude(l, u))))?;
    sum.checked_mul(i128::from(layer.weight_error))?.checked_mul(2)
}

/// Rule `ibp.activation`: bounds of a non-decreasing activation over an interval, from its two ends.
///
/// # Errors
/// [`Fault::Overflow`].
pub fn activation(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    index: usize,
    pre: &GridBox,
) -> Result<GridBox, Fault> {
    let overflow = || Fault::Overflow { layer: index };
    let mut post =
        GridBox { lower: Vec::with_capacity(pre.lower.len()), upper: Vec::with_capacity(pre.upper.len()) };
    for (lower, upper) in pre.intervals() {
        post.lower.push(value_enclosure(activation, table, value_bits, lower).ok_or_else(overflow)?.0);
        post.upper.push(value_enclosure(activation, table, value_bits, upper).ok_or_else(overflow)?.1);
    }
    Ok(post)
}

/// Lower and upper of `activation(x * 2^-value_bits)` on the value grid.
pub fn value_enclosure(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    x: i64,
) -> Option<(i64, i64)> {
    match activation {
        GridActivation::Identity => Some((x, x)),
        GridActivation::Relu => Some((x.max(0), x.max(0))),
        GridActivation::LeakyRelu { numerator, denominator } => {
            if x >= 0 {
                return Some((x, x));
            }
            let scaled = mul(x, *numerator);
            let floor = scaled.checked_div_euclid(i128::from(*denominator))?;
            let rest = scaled.checked_rem_euclid(i128::from(*denominator))?;
            let ceil = if rest == 0 { floor } else { floor.checked_add(1)? };
            Some((i64::try_from(floor).ok()?, i64::try_from(ceil).ok()?))
        }
        GridActivation::Tanh => {
            let (lower, upper) = table.tanh(x, value_bits);
            shift_unit(lower, upper, value_bits)
        }
        GridActivation::Sigmoid => {
            // sigmoid(x) = (1 + tanh(x / 2)) / 2, so the shift is one more.
            let (lower, upper) = table.tanh(x, value_bits.checked_add(1)?);
            let one = 1i64.checked_shl(UNIT_BITS)?;
            let shift = UNIT_BITS.checked_add(1)?.checked_sub(value_bits)?;
            let lower = floor_entry(i128::from(lower.checked_add(one)?), shift)?;
            Some((lower, ceil_entry(i128::from(upper.checked_add(one)?), shift)?))
        }
        GridActivation::Clip { lower, upper } => {
            Some((x.max(lower.0).min(upper.0), x.max(lower.1).min(upper.1)))
        }
    }
}

/// Fraction bits of the tanh table's results.
pub const UNIT_BITS: u32 = 60;

fn shift_unit(lower: i64, upper: i64, value_bits: u32) -> Option<(i64, i64)> {
    let shift = UNIT_BITS.checked_sub(value_bits)?;
    Some((floor_entry(i128::from(lower), shift)?, ceil_entry(i128::from(upper), shift)?))
}

/// Pre- and post-activation boxes of every layer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LayerBounds {
    /// Before each layer's activation.
    pub pre: Vec<GridBox>,
    /// After each layer's activation; the last is the network's output.
    pub post: Vec<GridBox>,
}

/// Interval bounds of every layer over an input box.
///
/// # Errors
/// As [`affine`] and [`activation`].
pub fn propagate(network: &GridNetwork, table: &TanhTable, input: &GridBox) -> Result<LayerBounds, Fault> {
    let mut bounds = LayerBounds::default();
    for (index, layer) in network.layers.iter().enumerate() {
        let pre = affine(layer, index, bounds.post.last().unwrap_or(input))?;
        let post = activation(&layer.activation, table, network.value_bits, index, &pre)?;
        bounds.pre.push(pre);
        bounds.post.push(post);
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{GridScale, rational_entry};
    use crate::model::{Activation, Layer, Matrix, Network};
    use crate::number::{Dyadic, Rational};

    const ONE: i64 = 1 << 48;

    fn network(weights: &[(i64, i32)], activation: Activation) -> GridNetwork {
        let values: Vec<Dyadic> = weights.iter().map(|&(m, e)| Dyadic::new(m, e)).collect();
        let weight = Matrix { rows: 1, columns: values.len(), values };
        let network = Network {
            layers: vec![Layer { fixed: false, weight, bias: vec![Dyadic::new(1, -1)], activation }],
        };
        let scale = GridScale::new(&network, &Rational::one()).unwrap();
        GridNetwork::new(&network, None, &scale).unwrap()
    }

    fn region(pairs: &[(i64, i64)]) -> GridBox {
        GridBox::from_intervals(pairs.iter().copied())
    }

    /// `x - 2y + 1/2` over `[0, 1] x [-1, 1]`: from `0 - 2 + 1/2` to `1 + 2 + 1/2`.
    #[test]
    fn affine_by_hand() {
        let network = network(&[(1, 0), (-1, 1)], Activation::Identity);
        let bounds = affine(&network.layers[0], 0, &region(&[(0, ONE), (-ONE, ONE)])).unwrap();
        assert_eq!(bounds, region(&[(-3 * ONE / 2, 7 * ONE / 2)]));
    }

    /// A weight of `2^-60` over `[-1, 1]` can only be told to lie within one weight step of 0, `2^-52`, which rounds
    /// outward to one value step.
    #[test]
    fn weights_below_the_grid_widen_the_bounds() {
        let network = network(&[(1, -60)], Activation::Identity);
        let bounds = affine(&network.layers[0], 0, &region(&[(-ONE, ONE)])).unwrap();
        assert_eq!(bounds, region(&[(ONE / 2 - 1, ONE / 2 + 1)]));
    }

    #[test]
    fn affine_refuses_other_widths_and_overflow() {
        let network = network(&[(1, 0)], Activation::Identity);
        let layer = &network.layers[0];
        assert!(affine(layer, 3, &region(&[(0, 0)])).is_ok());
        assert_eq!(affine(layer, 3, &region(&[])), Err(Fault::ShapeMismatch { layer: 3 }));
        assert_eq!(affine(layer, 3, &region(&[(0, i64::MAX)])), Err(Fault::Overflow { layer: 3 }));
        assert_eq!(affine(layer, 3, &region(&[(i64::MIN, 1)])), Err(Fault::Overflow { layer: 3 }));
    }

    /// On the grid of integers: leaky with 1/2 sends -3 to -1.5; a clip to `[-1/3, 5/2]` knows its limits to `[-1, 0]`
    /// and `[2, 3]`. tanh 0 = 0 and logistic 0 = 1/2 exactly.
    #[test]
    fn activation_values_by_hand() {
        let table = TanhTable::shared();
        let at = |a: &GridActivation, x| value_enclosure(a, table, 48, x).unwrap();
        let leaky = GridActivation::LeakyRelu { numerator: 1, denominator: 2 };
        assert_eq!((at(&leaky, -3), at(&leaky, 3)), ((-2, -1), (3, 3)));
        assert_eq!((at(&GridActivation::Relu, -3), at(&GridActivation::Relu, 3)), ((0, 0), (3, 3)));
        let limit = |text| rational_entry(&Rational::parse(text).unwrap(), 0).unwrap();
        let clip = GridActivation::Clip { lower: limit("-1/3"), upper: limit("5/2") };
        assert_eq!((at(&clip, -5), at(&clip, 1), at(&clip, 5)), ((-1, 0), (1, 1), (2, 3)));
        assert_eq!(at(&GridActivation::Tanh, 0), (0, 0));
        assert_eq!(at(&GridActivation::Sigmoid, 0), (ONE / 2, ONE / 2));
    }

    /// tanh 1 = 0.76159415595576488811..., logistic 1 = 0.73105857863000487925...
    #[test]
    fn smooth_activations_are_enclosed_within_two_steps() {
        let table = TanhTable::shared();
        for (activation, value) in [
            (GridActivation::Tanh, "0.76159415595576488811"),
            (GridActivation::Sigmoid, "0.73105857863000487925"),
        ] {
            let (lower, upper) = value_enclosure(&activation, table, 48, ONE).unwrap();
            let (floor, ceil) = rational_entry(&Rational::parse(value).unwrap(), 48).unwrap();
            assert!(lower <= floor && ceil <= upper && upper - lower <= 2);
            let pre = region(&[(-ONE, ONE)]);
            let post = super::activation(&activation, table, 48, 0, &pre).unwrap();
            let whole = if activation == GridActivation::Sigmoid { ONE } else { 0 };
            assert_eq!(post.lower[0] + post.upper[0], whole);
        }
        let wide = super::activation(&GridActivation::Tanh, table, 61, 7, &region(&[(0, 0)]));
        assert_eq!(wide, Err(Fault::Overflow { layer: 7 }));
    }

    #[test]
    fn boxes_meet() {
        let (a, b) = (region(&[(0, 4), (1, 2)]), region(&[(3, 9), (2, 5)]));
        assert_eq!(a.meet(&b, 1), Ok(region(&[(3, 4), (2, 2)])));
        assert_eq!(a.hull(&b), region(&[(0, 9), (1, 5)]));
        let empty = || Fault::EmptyInterval { layer: 1, neuron: 1 };
        assert_eq!(a.meet(&region(&[(0, 1), (3, 4)]), 1), Err(empty()));
        assert_eq!(a.meet(&region(&[(0, 1)]), 1), Err(Fault::ShapeMismatch { layer: 1 }));
    }
}
