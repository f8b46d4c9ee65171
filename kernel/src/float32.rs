//! Rules `float32.weights`, `float32.layer`: how far binary32 inference can be from the network over the reals, at every
//! input of a region. Trusted. `spec/rules/float32.md`. Higham's `gamma_k = k u / (1 - k u)` with `u = 2^-24`.

use alloc::vec::Vec;

use crate::fault::Fault;
use crate::grid::{GridActivation, GridLayer, GridNetwork, ceil_entry, dot, magnitude, mul};
use crate::ibp::{GridBox, LayerBounds};
use crate::model::Network;
use crate::number::Dyadic;

/// `1 / u`.
const INVERSE_ROUNDOFF: i64 = 1 << 24;
/// Largest input width of a layer: what underflow adds to a sum of so many terms stays below a grid step.
const MAX_WIDTH: usize = 1 << 16;
/// tanh and sigmoid are assumed to be within `2^-22`.
const SMOOTH_BITS: u32 = 22;

/// Rule `float32.weights`: accepts iff every weight and bias is a finite binary32 number.
///
/// # Errors
/// [`Fault::NotBinary32`].
pub fn check_binary32(network: &Network) -> Result<(), Fault> {
    for (layer, stored) in network.layers.iter().enumerate() {
        if !stored.weight.values.iter().chain(&stored.bias).all(|value| is_binary32(*value)) {
            return Err(Fault::NotBinary32 { layer });
        }
    }
    Ok(())
}

/// At most 24 significant bits, no bit below `2^-149`, below `2^128`.
fn is_binary32(value: Dyadic) -> bool {
    if value.mantissa == 0 {
        return true;
    }
    let magnitude = value.mantissa.unsigned_abs();
    let last = i64::from(value.exponent).saturating_add(i64::from(magnitude.trailing_zeros()));
    let end = i64::from(value.exponent)
        .saturating_add(i64::from(u64::BITS.saturating_sub(magnitude.leading_zeros())));
    end.saturating_sub(last) <= 24 && last >= -149 && end <= 128
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
    let mut magnitudes: Vec<i64> = region.intervals().map(|(l, u)| magnitude(l, u)).collect();
    // The input is rounded once; a number that underflows moves by less than a step.
    let rounded = magnitudes.iter().map(|&m| gamma(m, 1)?.checked_add(1));
    let mut errors = rounded.collect::<Option<Vec<i64>>>().ok_or(Fault::Overflow { layer: 0 })?;
    if bounds.pre.len() != network.layers.len() || bounds.post.len() != network.layers.len() {
        return Err(Fault::ShapeMismatch { layer: 0 });
    }
    for (index, (layer, (pre, post))) in
        network.layers.iter().zip(bounds.pre.iter().zip(&bounds.post)).enumerate()
    {
        if layer.inputs > MAX_WIDTH {
            return Err(Fault::TooWideForBinary32 { layer: index });
        }
        let fits = magnitudes.len() == layer.inputs
            && [&pre.lower, &pre.upper, &post.lower, &post.upper].iter().all(|b| b.len() == layer.outputs);
        if !fits {
            return Err(Fault::ShapeMismatch { layer: index });
        }
        let overflow = || Fault::Overflow { layer: index };
        let sums = affine_errors(layer, &magnitudes, &errors).ok_or_else(overflow)?;
        let through = pre.intervals().zip(sums).map(|((lower, upper), error)| {
            activation_error(&layer.activation, magnitude(lower, upper), error, network.value_bits)
        });
        errors = through.collect::<Option<_>>().ok_or_else(overflow)?;
        magnitudes = post.intervals().map(|(l, u)| magnitude(l, u)).collect();
    }
    Ok(errors)
}

/// An upper end of `gamma_roundings * value`, for `value >= 0`.
fn gamma(value: i64, roundings: usize) -> Option<i64> {
    let roundings = i64::try_from(roundings).ok()?;
    let rest = INVERSE_ROUNDOFF.checked_sub(roundings).filter(|rest| *rest > 0)?;
    let floor = mul(value, roundings).checked_neg()?.checked_div_euclid(i128::from(rest))?;
    i64::try_from(floor.checked_neg()?).ok()
}

/// `|W| e + gamma_(n+1) (|W| (m + e) + |b|)` and a step for underflow.
///
/// That the sum of magnitudes is an entry of the grid, below `2^47`, proves that nothing overflows binary32.
fn affine_errors(layer: &GridLayer, magnitudes: &[i64], errors: &[i64]) -> Option<Vec<i64>> {
    let computed = magnitudes.iter().zip(errors).map(|(m, e)| m.checked_add(*e));
    let computed = computed.collect::<Option<Vec<i64>>>()?;
    let rows = layer.absolute.chunks_exact(layer.inputs);
    let biases = layer.bias_lower.iter().zip(&layer.bias_upper);
    rows.zip(biases)
        .map(|(row, (&lower, &upper))| {
            let carried = ceil_entry(dot(row, errors)?, layer.weight_bits)?;
            let total = ceil_entry(dot(row, &computed)?, layer.weight_bits)?;
            let total = total.checked_add(magnitude(lower, upper))?;
            carried.checked_add(gamma(total, layer.inputs.checked_add(1)?)?)?.checked_add(1)
        })
        .collect()
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
            1i64.checked_shl(value_bits.saturating_sub(SMOOTH_BITS))?
        }
        GridActivation::Clip { lower, upper } => {
            let limit = magnitude(lower.0, lower.1).max(magnitude(upper.0, upper.1));
            gamma(limit, 1)?.checked_add(1)?
        }
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
        short.post[0].upper.clear();
        assert_eq!(rounding_errors(&grid, &region, &short), shape);
        let wide = |inputs: usize| {
            let layer = GridLayer {
                inputs,
                outputs: 1,
                weight: vec![0; inputs],
                absolute: vec![0; inputs],
                ..grid.layers[0].clone()
            };
            let grid = GridNetwork { layers: vec![layer], ..grid.clone() };
            let region = GridBox { lower: vec![0; inputs], upper: vec![0; inputs] };
            rounding_errors(&grid, &region, &bounds)
        };
        assert_eq!(wide(1 << 16), Ok(vec![1]));
        assert_eq!(wide((1 << 16) + 1), Err(Fault::TooWideForBinary32 { layer: 0 }));
        let far = GridBox::from_intervals([(0, i64::MAX), (0, i64::MAX)]);
        assert!(matches!(rounding_errors(&grid, &far, &bounds), Err(Fault::Overflow { .. })));
    }
}
