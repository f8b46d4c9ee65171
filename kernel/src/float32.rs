//! Rules `float32.weights`, `float32.layer`: how far binary32 inference can be from the network over the reals, at every
//! input of a region. Trusted. `spec/rules/float32.md`. Higham's `gamma_k = k u / (1 - k u)` with `u = 2^-24`.

use alloc::vec::Vec;

use crate::fault::Fault;
use crate::grid::{GridActivation, GridLayer, GridNetwork};
use crate::ibp::LayerBounds;
use crate::interval::GridBox;
use crate::model::{Activation, Network};
use crate::number::Dyadic;
use crate::product::dots;
use crate::wide::{AtLayer, Wide, magnitude, zip_exact};

/// `1 / u`.
const INVERSE_ROUNDOFF: i64 = 1 << 24;
/// Largest input width of a layer: what underflow adds to a sum of so many terms stays below a grid step.
const MAX_WIDTH: usize = 1 << 16;
/// tanh and sigmoid are assumed to be within `2^-22`.
const SMOOTH_BITS: u32 = 22;

/// Rule `float32.weights`: accepts iff every weight and bias is a finite binary32 number, and no activation one of those whose
/// own errors [`rounding_errors`] cannot bound.
///
/// # Errors
/// [`Fault::NotBinary32`], [`Fault::ActivationInBinary32`].
pub fn check_binary32(network: &Network) -> Result<(), Fault> {
    for (layer, stored) in network.layers.iter().enumerate() {
        if !stored.weight.values.iter().chain(&stored.bias).all(|value| is_binary32(*value)) {
            return Err(Fault::NotBinary32 { layer });
        }
        if matches!(stored.activation, Activation::Elu { .. } | Activation::Silu) {
            return Err(Fault::ActivationInBinary32 { layer });
        }
    }
    Ok(())
}

/// At most 24 significant bits, no bit below `2^-149`, below `2^128`.
fn is_binary32(value: Dyadic) -> bool {
    let magnitude = value.mantissa.unsigned_abs();
    let Some(highest) = magnitude.checked_ilog2() else { return true };
    let place = |bit: u32| i64::from(value.exponent).checked_add(bit.into());
    place(magnitude.trailing_zeros()).zip(place(highest)).is_some_and(|(last, first)| {
        // Both are exponents of bits that are set.
        first.checked_sub(last).is_some_and(|span| span < 24) && last >= -149 && first < 128
    })
}

/// Rule `float32.layer`: per output, a bound on `|computed - real|` at every input of `region`, in steps of the value grid.
///
/// `bounds` are interval bounds of the real network over `region`.
///
/// # Errors
/// [`Fault::TooWideForBinary32`], [`Fault::ShapeMismatch`], [`Fault::Overflow`].
pub fn rounding_errors(
    network: &GridNetwork,
    region: &GridBox,
    bounds: &LayerBounds,
) -> Result<Vec<i64>, Fault> {
    let mut sizes = magnitudes(region, 0)?;
    // The input is rounded once; a number that underflows moves by less than a step.
    let rounded = sizes.iter().map(|&size| gamma(size, 1)?.checked_add(1));
    let mut errors = rounded.collect::<Option<Vec<i64>>>().within(0)?;
    let boxes = zip_exact(&bounds.pre, &bounds.post, 0)?;
    for (index, (layer, (pre, post))) in zip_exact(&network.layers, boxes, 0)?.enumerate() {
        if layer.inputs() > MAX_WIDTH {
            return Err(Fault::TooWideForBinary32 { layer: index });
        }
        if matches!(layer.activation, GridActivation::Elu { .. } | GridActivation::Silu) {
            return Err(Fault::ActivationInBinary32 { layer: index });
        }
        let before = affine_errors(layer, &sizes, &errors, index)?;
        let reals = zip_exact(magnitudes(pre, index)?, before, index)?;
        let through =
            reals.map(|(real, error)| activation_error(&layer.activation, real, error, network.value_bits));
        errors = through.collect::<Option<Vec<i64>>>().within(index)?;
        sizes = magnitudes(post, index)?;
        if sizes.len() != errors.len() {
            return Err(Fault::ShapeMismatch { layer: index });
        }
    }
    Ok(errors)
}

/// The largest magnitude in each interval, as entries of the grid.
fn magnitudes(region: &GridBox, layer: usize) -> Result<Vec<i64>, Fault> {
    let sizes = region.intervals().map(|ends| i64::try_from(magnitude(ends)).ok());
    sizes.collect::<Option<_>>().within(layer)
}

/// An upper end of `gamma_roundings * value`, for `value >= 0`.
fn gamma(value: i64, roundings: i64) -> Option<i64> {
    (Wide::from(value) * roundings).divided_up(Wide::from(INVERSE_ROUNDOFF) - roundings).entry()
}

/// `|W| e + gamma_(n+1) (|W| (m + e) + |b|)` and a step for underflow.
///
/// That the sum of magnitudes is an entry of the grid, below `2^47`, proves that nothing overflows binary32.
fn affine_errors(
    layer: &GridLayer,
    magnitudes: &[i64],
    errors: &[i64],
    index: usize,
) -> Result<Vec<i64>, Fault> {
    let computed = zip_exact(magnitudes, errors, index)?.map(|(m, e)| m.checked_add(*e));
    let computed = computed.collect::<Option<Vec<i64>>>().within(index)?;
    let roundings = i64::try_from(layer.inputs()).ok().and_then(|n| n.checked_add(1)).within(index)?;
    let sums = |list: &[i64]| dots(&layer.absolute, layer.largest, list, index);
    let rows = zip_exact(zip_exact(sums(errors)?, sums(&computed)?, index)?, &layer.bias, index)?;
    let errors = rows.map(|((carried, total), &bias)| {
        let carried = carried.ceil(layer.weight_bits);
        let total = total.ceil(layer.weight_bits) + magnitude(bias);
        let error = carried + gamma(total.entry().within(index)?, roundings).within(index)? + 1i64;
        error.entry().within(index)
    });
    errors.collect()
}

/// What an activation makes of an error before it, with its own; each is 1-Lipschitz.
fn activation_error(
    activation: &GridActivation,
    magnitude_before: i64,
    error: i64,
    value_bits: u32,
) -> Option<i64> {
    let own = match activation {
        GridActivation::Identity => 0,
        GridActivation::Relu => 1,
        // The slope is rounded, and its product.
        GridActivation::LeakyRelu { .. } => gamma(magnitude_before.checked_add(error)?, 2)?.checked_add(1)?,
        GridActivation::Tanh | GridActivation::Sigmoid => {
            // On a grid coarser than `2^-22` a step is more than that.
            1i64.checked_shl(value_bits.saturating_sub(SMOOTH_BITS))?
        }
        GridActivation::Clip { lower, upper } => {
            let limit = i64::try_from(magnitude(*lower).max(magnitude(*upper))).ok()?;
            gamma(limit, 1)?.checked_add(1)?
        }
        // Refused by name before.
        GridActivation::Elu { .. } | GridActivation::Silu => return None,
    };
    error.checked_add(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enclose::TanhTable;
    use crate::grid::GridScale;
    use crate::ibp::propagate;
    use crate::model::{Activation, Layer, Matrix};
    use crate::number::Rational;
    use crate::table::Table;

    fn network(rows: &[&[i64]], activation: Activation) -> Network {
        let layer = |row: &&[i64]| {
            let values = row.iter().map(|&w| Dyadic::new(w, 0)).collect();
            let weight = Matrix { rows: 1, columns: row.len(), values };
            Layer { fixed: false, weight, bias: vec![Dyadic::ZERO], activation: activation.clone() }
        };
        Network { layers: rows.iter().map(layer).collect() }
    }

    fn errors(network: &Network, inputs: &[i64]) -> Result<Vec<i64>, Fault> {
        let scale = GridScale::new(network, &Rational::one()).unwrap();
        let grid = GridNetwork::new(network, None, &scale).unwrap();
        assert_eq!(scale.value_bits, 48);
        let region = GridBox::from_intervals(inputs.iter().map(|&x| (x, x)));
        let bounds = propagate(&grid, TanhTable::shared(), &region)?;
        rounding_errors(&grid, &region, &bounds)
    }

    const ONE: i64 = 1 << 48;
    /// `ceil(2^48 / (2^24 - 1))`: `gamma_1` of 1.
    const GAMMA: i64 = (1 << 24) + 2;

    /// `x` at 1: the input is off by `gamma_1` and a step, e; the sum adds `gamma_2 (1 + e)` and a step.
    #[test]
    fn rounding_errors_by_hand() {
        let input = GAMMA + 1;
        let sum = 2 * (i128::from(ONE) + i128::from(input));
        let rest = (1i128 << 24) - 2;
        let expected = input + i64::try_from((sum + rest - 1) / rest).unwrap() + 1;
        assert_eq!(errors(&network(&[&[1]], Activation::Identity), &[ONE]), Ok(vec![expected]));
        assert_eq!(errors(&network(&[&[1]], Activation::Relu), &[ONE]), Ok(vec![expected + 1]));
        let tanh = errors(&network(&[&[1]], Activation::Tanh), &[ONE]);
        assert_eq!(tanh, Ok(vec![expected + (1 << 26)]));
        // A zero weighs nothing, and its own roundings are a step each.
        assert_eq!(errors(&network(&[&[0]], Activation::Identity), &[ONE]), Ok(vec![1]));
        assert_eq!(errors(&network(&[&[1]], Activation::Identity), &[0]), Ok(vec![3]));
        let clip = Activation::Clip { lower: Rational::parse("-1").unwrap(), upper: Rational::one() };
        assert_eq!(errors(&network(&[&[1]], clip), &[ONE]), Ok(vec![expected + GAMMA + 1]));
        let leaky = Activation::LeakyRelu { slope: Rational::parse("1/10").unwrap() };
        let own = 2 * (i128::from(ONE) + i128::from(expected));
        let own = i64::try_from((own + rest - 1) / rest).unwrap() + 1;
        assert_eq!(errors(&network(&[&[1]], leaky), &[ONE]), Ok(vec![expected + own]));
    }

    /// Two layers carry the first one's error through the second's weight; n terms and a bias are n + 1 roundings.
    #[test]
    fn errors_are_carried_and_grow_with_the_width() {
        let one = errors(&network(&[&[1]], Activation::Identity), &[ONE]).unwrap()[0];
        let two = errors(&network(&[&[1], &[2]], Activation::Identity), &[ONE]).unwrap()[0];
        assert!(two > 2 * one + 4 * (1 << 24) && two < 2 * one + 4 * (1 << 24) + 100, "{one} {two}");
        let wide = errors(&network(&[&[1, 0, 0, 0]], Activation::Identity), &[ONE; 4]).unwrap()[0];
        assert!((one + 3 * (1 << 24)..one + 3 * (1 << 24) + 100).contains(&wide), "{one} {wide}");
    }

    #[test]
    fn binary32_numbers_are_told_apart() {
        let largest = ((1i64 << 24) - 1, 104);
        for (mantissa, exponent) in
            [(0, 4000), (1, 127), (1, -149), largest, (-largest.0, 104), (3 << 40, -150), (1 << 62, 65)]
        {
            assert!(is_binary32(Dyadic { mantissa, exponent }), "{mantissa} 2^{exponent}");
        }
        for (mantissa, exponent) in
            [(1, 128), (1, -150), ((1 << 24) + 1, 0), (3, -150), (1 << 62, 66), (i64::MIN + 1, 0)]
        {
            assert!(!is_binary32(Dyadic { mantissa, exponent }), "{mantissa} 2^{exponent}");
        }
        let mut network = network(&[&[1], &[1]], Activation::Relu);
        assert_eq!(check_binary32(&network), Ok(()));
        network.layers[1].bias[0] = Dyadic::new((1 << 24) + 1, 0);
        assert_eq!(check_binary32(&network), Err(Fault::NotBinary32 { layer: 1 }));
        network.layers[0].weight.values[0] = Dyadic::new((1 << 24) + 1, -60);
        assert_eq!(check_binary32(&network), Err(Fault::NotBinary32 { layer: 0 }));
    }

    #[test]
    fn activations_without_a_bound_are_refused_by_name() {
        for activation in [Activation::Silu, Activation::Elu { alpha: Rational::one() }] {
            let mut network = network(&[&[1], &[1]], Activation::Relu);
            network.layers[1].activation = activation;
            let refused = Fault::ActivationInBinary32 { layer: 1 };
            assert_eq!(check_binary32(&network), Err(refused.clone()));
            assert_eq!(errors(&network, &[ONE]), Err(refused));
        }
    }

    #[test]
    fn bounds_of_other_shapes_and_wide_layers_are_refused() {
        let network = network(&[&[1, 1]], Activation::Identity);
        let scale = GridScale::new(&network, &Rational::one()).unwrap();
        let grid = GridNetwork::new(&network, None, &scale).unwrap();
        let region = GridBox::from_intervals([(0, ONE), (0, ONE)]);
        let bounds = propagate(&grid, TanhTable::shared(), &region).unwrap();
        assert!(rounding_errors(&grid, &region, &bounds).is_ok());
        let shape = Err(Fault::ShapeMismatch { layer: 0 });
        assert_eq!(rounding_errors(&grid, &GridBox::from_intervals([(0, ONE)]), &bounds), shape);
        assert_eq!(rounding_errors(&grid, &region, &LayerBounds::default()), shape);
        let mut short = bounds.clone();
        short.post[0] = GridBox::default();
        assert_eq!(rounding_errors(&grid, &region, &short), shape);
        let wide = |inputs: usize| {
            let layer = GridLayer {
                weight: Table::new(1, inputs, vec![0; inputs], 0).unwrap(),
                absolute: Table::new(1, inputs, vec![0; inputs], 0).unwrap(),
                ..grid.layers[0].clone()
            };
            let grid = GridNetwork { layers: vec![layer], ..grid.clone() };
            let region = GridBox::point(vec![0; inputs]);
            rounding_errors(&grid, &region, &bounds)
        };
        assert_eq!(wide(1 << 16), Ok(vec![1]));
        assert_eq!(wide((1 << 16) + 1), Err(Fault::TooWideForBinary32 { layer: 0 }));
        let far = GridBox::from_intervals([(0, i64::MAX), (0, i64::MAX)]);
        assert!(matches!(rounding_errors(&grid, &far, &bounds), Err(Fault::Overflow { .. })));
    }
}
