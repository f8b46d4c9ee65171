//! Interval bound propagation on the grid: rules `ibp.affine`, `ibp.activation`.
//! Trusted. `spec/rules/local.md`; Gowal et al. 2018, arXiv:1810.12715. No correlations between neurons.

use alloc::vec::Vec;

use crate::curve::{Curve, OFFSET_BITS, silu_minimum};
use crate::enclose::{TanhTable, UNIT_BITS};
use crate::fault::Fault;
use crate::grid::{GridActivation, GridLayer, GridNetwork};
use crate::interval::{GridBox, Interval};
use crate::product::dots;
use crate::wide::{AtLayer, Wide, every, mul, zip_exact};

/// Rule `ibp.affine`: bounds of `weight * x + bias` over a box, for every neuron of `layer`.
///
/// With middle `(lower + upper) / 2` and half-width `(upper - lower) / 2` the bounds are `w.middle -+ |w|.half-width`, `|w|`
/// from above, exact in i128 and rounded outward once; weights cut off at the grid add `sum |x_j|` grid steps.
///
/// # Errors
/// [`Fault::Overflow`], [`Fault::ShapeMismatch`].
pub fn affine(layer: &GridLayer, index: usize, input: &GridBox) -> Result<GridBox, Fault> {
    let doubled = |of: fn(i64, i64) -> Option<i64>| {
        every(input.intervals().map(|(lower, upper)| of(lower, upper))).within(index)
    };
    let middle = doubled(i64::checked_add)?;
    let half = doubled(|lower, upper| upper.checked_sub(lower))?;
    let slack = Wide::from(input.total_magnitude()) * layer.weight_error * 2i64;
    let shift = layer.weight_bits.checked_add(1).within(index)?;
    let middles = dots(&layer.weight, layer.largest, &middle, index)?;
    let halves = dots(&layer.absolute, layer.largest, &half, index)?;
    let mut bounds = Vec::with_capacity(layer.outputs());
    let rows = zip_exact(middles, halves, index)?;
    for ((middle, half), &(bias_lower, bias_upper)) in zip_exact(rows, &layer.bias, index)? {
        let lower = (middle - half - slack).floor(shift) + bias_lower;
        let upper = (middle + half + slack).ceil(shift) + bias_upper;
        bounds.push(lower.entry().zip(upper.entry()).within(index)?);
    }
    Ok(GridBox::from_intervals(bounds))
}

/// Rule `ibp.activation`: bounds of an activation over an interval, from its two ends, as it is non-decreasing; of SiLU, which
/// falls up to its minimum, from that too.
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
    let value = |x: i64| value_enclosure(activation, table, value_bits, x);
    let post = pre.intervals().map(|(lower, upper)| {
        let (first, last) = (value(lower)?, value(upper)?);
        if *activation != GridActivation::Silu {
            return Some((first.0, last.1));
        }
        let (place, least) = silu_minimum(value_bits)?;
        // The minimum lies between its place and the next step.
        let inside = lower <= place && upper > place;
        Some((if inside { least } else { first.0.min(last.0).max(least) }, first.1.max(last.1)))
    });
    Ok(GridBox::from_intervals(every(post).within(index)?))
}

/// Lower and upper of `activation(x * 2^-value_bits)` on the value grid.
pub(crate) fn value_enclosure(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    x: i64,
) -> Option<Interval> {
    match activation {
        GridActivation::Identity => Some((x, x)),
        GridActivation::Relu => Some((x.max(0), x.max(0))),
        GridActivation::LeakyRelu { .. } if x >= 0 => Some((x, x)),
        GridActivation::LeakyRelu { numerator, denominator } => {
            let scaled = Wide::from(mul(x, *numerator));
            Some((scaled.divided(*denominator).entry()?, scaled.divided_up(*denominator).entry()?))
        }
        GridActivation::Tanh => {
            let (lower, upper) = table.tanh(x, value_bits)?;
            unit_entry(lower.into(), upper.into(), UNIT_BITS.checked_sub(value_bits)?)
        }
        GridActivation::Sigmoid => {
            // sigmoid(x) = (1 + tanh(x / 2)) / 2, so the shift is one more.
            let (lower, upper) = table.tanh(x, value_bits.checked_add(1)?)?;
            let one = Wide::from(1i64).scaled(UNIT_BITS);
            unit_entry(one + lower, one + upper, UNIT_BITS.checked_add(1)?.checked_sub(value_bits)?)
        }
        GridActivation::Clip { lower, upper } => {
            Some((x.max(lower.0).min(upper.0), x.max(lower.1).min(upper.1)))
        }
        GridActivation::Elu { .. } | GridActivation::Silu => {
            let (lower, upper) = Curve::of(activation, table, value_bits)?.value(x)?;
            unit_entry(lower, upper, OFFSET_BITS.checked_sub(value_bits)?)
        }
    }
}

fn unit_entry(lower: Wide, upper: Wide, shift: u32) -> Option<Interval> {
    lower.floor(shift).entry().zip(upper.ceil(shift).entry())
}

/// Pre- and post-activation boxes of every layer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LayerBounds {
    /// Before each layer's activation.
    pub pre: Vec<GridBox>,
    /// After each layer's activation; the last is the network's output.
    pub post: Vec<GridBox>,
}

impl LayerBounds {
    /// The bounds of the network's outputs.
    ///
    /// # Errors
    /// [`Fault::EmptyNetwork`].
    pub fn outputs(&self) -> Result<&GridBox, Fault> {
        self.post.last().ok_or(Fault::EmptyNetwork)
    }
}

/// Interval bounds of every layer over an input box.
///
/// # Errors
/// As [`affine`] and [`activation`].
pub fn propagate(network: &GridNetwork, table: &TanhTable, input: &GridBox) -> Result<LayerBounds, Fault> {
    let mut bounds = LayerBounds::default();
    for (index, layer) in network.layers.iter().enumerate() {
        // The first layer reads the input.
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

    /// SiLU is least at -1.27846..., where it is -0.27846454276107379510...: over an interval around that place down to the
    /// minimum, beside it down to the nearer end; upper ends come from either end. ELU from its ends.
    #[test]
    fn silu_knows_its_minimum() {
        let table = TanhTable::shared();
        let over = |a: &GridActivation, l: i64, u: i64| {
            super::activation(a, table, 48, 0, &region(&[(l, u)])).unwrap().at(0).unwrap()
        };
        let silu = GridActivation::Silu;
        let at = |x| value_enclosure(&silu, table, 48, x).unwrap();
        let floor = |text| rational_entry(&Rational::parse(text).unwrap(), 48).unwrap().0;
        let least = floor("-0.27846454276107379510935873902298");
        let place = floor("-1.27846454276107379510935873902298");
        assert_eq!(over(&silu, -2 * ONE, 0), (least, 0));
        assert_eq!(over(&silu, -9 * ONE, -ONE), (least, at(-9 * ONE).1));
        assert_eq!(over(&silu, place, place + 1).0, least);
        assert_eq!(over(&silu, place - 9, place).0, at(place).0.max(least));
        assert_eq!(over(&silu, -2 * ONE, -3 * ONE / 2), (at(-3 * ONE / 2).0, at(-2 * ONE).1));
        assert_eq!(over(&silu, -ONE, ONE), (at(-ONE).0, at(ONE).1));
        // Nowhere below the minimum, whatever enclosures say of the steps beside it.
        for x in place - 3..place + 4 {
            assert!(over(&silu, x, x).0 >= least && at(x).0 >= least - 1);
        }
        let elu = GridActivation::Elu { numerator: 1, denominator: 2 };
        // (1/e - 1) / 2
        assert_eq!(over(&elu, -ONE, ONE), (floor("-0.316060279414278839202238114919269567"), ONE));
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
            assert_eq!(post.lower()[0] + post.upper()[0], whole);
        }
        let wide = super::activation(&GridActivation::Tanh, table, 61, 7, &region(&[(0, 0)]));
        assert_eq!(wide, Err(Fault::Overflow { layer: 7 }));
    }
}
