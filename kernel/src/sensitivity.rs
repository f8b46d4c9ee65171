//! How far each output can move when each input moves by at most its radius, over all states: rule ABS.
//! Trusted; exact (radii with a huge common denominator are first rounded up). `spec/rules/global.md#sensitivitylayer`.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::{One, Zero};

use super::scaled::ScaledNetwork;
use crate::fault::Fault;
use crate::model::{Mask, Network};
use crate::number::Rational;

/// Largest common denominator of unequal radii that is kept exactly, in bits.
const DENOMINATOR_BITS: u64 = 1024;
/// Otherwise radii are rounded up to this many fraction bits.
const RADIUS_FRACTION: u32 = 128;

/// Rule `sensitivity.layer` through a whole network: `v_0 = radii`, `v_l = Lip_l |M_l o W_l| v_{l-1}`; then
/// `|f_i(s + d) - f_i(s)| <= v_L[i]` for every `s` and every `d` with `|d_j| <= radii[j]`.
///
/// `radii` has one entry per input, the result one per output. Prepares the integer form each time; for several masks
/// use [`sensitivity_prepared`].
///
/// # Errors
/// [`Fault::EmptyNetwork`], [`Fault::LayerShape`] and those of [`sensitivity_prepared`].
///
/// # References
/// `spec/rules/global.md#sensitivitylayer`.
pub fn sensitivity(
    network: &Network,
    mask: Option<&Mask>,
    radii: &[Rational],
) -> Result<Vec<Rational>, Fault> {
    sensitivity_prepared(&ScaledNetwork::new(network)?, mask, radii)
}

/// The same rule on a network prepared once for all masks.
///
/// # Errors
/// [`Fault::MaskLayers`], [`Fault::MaskShape`], [`Fault::RadiiLength`],
/// [`Fault::NegativeRadius`].
pub fn sensitivity_prepared(
    network: &ScaledNetwork,
    mask: Option<&Mask>,
    radii: &[Rational],
) -> Result<Vec<Rational>, Fault> {
    let layers = network.masked(mask)?;
    check_radii(network.inputs(), radii)?;
    let (mut values, mut scale) = common_scale(radii)?;
    let mut exponent = 0i64;
    for layer in &layers {
        values = layer.absolute_times(&values);
        exponent = exponent.saturating_add(layer.layer.exponent);
        scale = scale.mul(&layer.layer.lipschitz);
    }
    let scale = scale.mul(&Rational::from_dyadic(BigInt::one(), exponent));
    Ok(values.into_iter().map(|v| Rational::from_integer(BigInt::from(v)).mul(&scale)).collect())
}

/// Tests that there is one radius per input and none is below 0.
pub(super) fn check_radii(inputs: usize, radii: &[Rational]) -> Result<(), Fault> {
    if radii.len() != inputs {
        return Err(Fault::RadiiLength { expected: inputs, found: radii.len() });
    }
    match radii.iter().position(Rational::is_negative) {
        Some(coordinate) => Err(Fault::NegativeRadius { coordinate }),
        None => Ok(()),
    }
}

/// Integers and one rational with `radii[j] <= integers[j] * scale`, equal unless the common denominator is too long.
fn common_scale(radii: &[Rational]) -> Result<(Vec<BigUint>, Rational), Fault> {
    let Some(first) = radii.first() else {
        return Ok((Vec::new(), Rational::one()));
    };
    if radii.iter().all(|r| r == first) {
        return Ok((vec![BigUint::one(); radii.len()], first.clone()));
    }
    let mut common = BigInt::one();
    for radius in radii {
        common = common.lcm(radius.denominator());
        if common.bits() > DENOMINATOR_BITS {
            let rounded = radii.iter().map(|r| r.ceil_scaled(RADIUS_FRACTION).magnitude().clone());
            let scale = Rational::from_dyadic(BigInt::one(), i64::from(RADIUS_FRACTION).saturating_neg());
            return Ok((rounded.collect(), scale));
        }
    }
    let mut values = Vec::new();
    for radius in radii {
        let factor = if common.is_zero() { BigInt::zero() } else { &common / radius.denominator() };
        values.push((radius.numerator() * factor).magnitude().clone());
    }
    let scale = Rational::new(BigInt::one(), common).map_err(|_| Fault::ZeroDenominator)?;
    Ok((values, scale))
}
