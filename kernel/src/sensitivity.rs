//! How far each output can move when each input moves by at most its radius, over all states: rule ABS.
//! Trusted; exact (radii with a huge common denominator are first rounded up). `spec/rules/global.md#sensitivitylayer`.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::One;

use crate::fault::Fault;
use crate::model::Mask;
use crate::number::Rational;
use crate::scaled::{ScaledNetwork, whole};

/// Largest common denominator of unequal radii that is kept exactly, in bits.
const DENOMINATOR_BITS: u64 = 1024;
/// Otherwise radii are rounded up to this many fraction bits.
const RADIUS_FRACTION: u32 = 128;

/// Rule `sensitivity.layer` through a whole network: `v_0 = radii`, `v_l = Lip_l |M_l o W_l| v_{l-1}`; then
/// `|f_i(s + d) - f_i(s)| <= v_L[i]` for every `s` and every `d` with `|d_j| <= radii[j]`.
///
/// `radii` has one entry per input, the result one per output.
///
/// # Errors
/// [`Fault::MaskLayers`], [`Fault::MaskShape`], [`Fault::RadiiLength`], [`Fault::NegativeRadius`].
///
/// # References
/// `spec/rules/global.md#sensitivitylayer`.
pub fn sensitivity(
    network: &ScaledNetwork,
    mask: Option<&Mask>,
    radii: &[Rational],
) -> Result<Vec<Rational>, Fault> {
    let layers = network.masked(mask)?;
    check_radii(network.inputs()?, radii)?;
    let (mut values, mut scale) = common_scale(radii)?;
    for (index, layer) in layers.iter().enumerate() {
        values = layer.absolute_times(&values, index)?;
        scale = scale.mul(&layer.unit(1, index)?).mul(layer.lipschitz);
    }
    Ok(values.into_iter().map(|value| whole(value).mul(&scale)).collect())
}

/// Tests that there is one radius per input and none is below 0.
pub(crate) fn check_radii(inputs: usize, radii: &[Rational]) -> Result<(), Fault> {
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
    if let Some(first) = radii.first()
        && radii.iter().all(|radius| radius == first)
    {
        return Ok((vec![BigUint::one(); radii.len()], first.clone()));
    }
    let mut common = BigInt::one();
    for radius in radii {
        common = common.lcm(radius.denominator());
        if common.bits() > DENOMINATOR_BITS {
            let rounded = radii.iter().map(|r| r.ceil_scaled(RADIUS_FRACTION).magnitude().clone());
            return Ok((rounded.collect(), Rational::on_grid(1, RADIUS_FRACTION)));
        }
    }
    let common = Rational::from_integer(common);
    // A common denominator makes integers of all.
    let values = radii.iter().map(|radius| radius.mul(&common).ceil_scaled(0).magnitude().clone());
    let scale = Rational::one().div(&common).map_err(|_| Fault::ZeroDenominator)?;
    Ok((values.collect(), scale))
}
