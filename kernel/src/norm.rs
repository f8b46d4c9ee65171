//! Products of operator norms and what they bound, over all states: rules NORM and PSD.
//! Trusted; exact up to square roots, which are rounded up. `spec/rules/global.md`.

use alloc::vec;
use alloc::vec::Vec;

mod spectral;

use num_bigint::{BigInt, BigUint};
use num_traits::{Signed, Zero};

use super::enclose;
use super::scaled::{MaskedLayer, ScaledNetwork};
use super::sensitivity::check_radii;
use crate::fault::Fault;
use crate::model::{Mask, Perturbation};
use crate::number::Rational;

pub use spectral::{SpectralWitness, layer_spectral};

/// Largest bit length of a witness number.
pub const WITNESS_BITS: u64 = 512;

/// The norm whose product over the layers bounds the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NormFamily {
    /// Largest row sum of `|W|`; monotone under masks.
    Linf,
    /// Largest column sum of `|W|`; monotone under masks.
    L1,
    /// Root of the sum of squares; monotone under masks.
    Frobenius,
    /// Spectral norm of `|W|`; monotone under masks.
    AbsSpectral,
    /// Spectral norm of `W`; NOT monotone under masks.
    Spectral,
}

/// What a norm product proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormProduct {
    /// Upper bound of each layer's norm, without the activation.
    pub layers: Vec<Rational>,
    /// Product of `Lip_l * layers[l]`: a Lipschitz constant of the network in the family's norm.
    pub product: Rational,
    /// `product` times the largest size of a perturbation in the family's norm: bounds the change of each output.
    pub deviation: Rational,
}

/// Rules `norm.linf`, `norm.l1`, `norm.frobenius`: the families without a witness.
///
/// # Errors
/// Those of [`ScaledNetwork::masked`] and [`perturbation_size`]; [`Fault::WitnessCount`] if `family` needs a
/// witness.
pub fn norm_product(
    network: &ScaledNetwork,
    mask: Option<&Mask>,
    family: NormFamily,
    perturbation: &Perturbation,
) -> Result<NormProduct, Fault> {
    let norm = match family {
        NormFamily::Linf => layer_linf,
        NormFamily::L1 => layer_l1,
        NormFamily::Frobenius => return frobenius_product(network, mask, perturbation),
        NormFamily::AbsSpectral | NormFamily::Spectral => {
            return Err(Fault::WitnessCount { expected: network.layers.len(), found: 0 });
        }
    };
    let layers = network.masked(mask)?.iter().map(norm).collect();
    assemble(network, layers, family, perturbation)
}

fn frobenius_product(
    network: &ScaledNetwork,
    mask: Option<&Mask>,
    perturbation: &Perturbation,
) -> Result<NormProduct, Fault> {
    let layers = network.masked(mask)?.iter().map(layer_frobenius).collect::<Result<_, _>>()?;
    assemble(network, layers, NormFamily::Frobenius, perturbation)
}

/// Rule `norm.abs-spectral` for every layer; `vectors[l]` has one positive integer per column of layer `l`.
///
/// # Errors
/// [`Fault::WitnessCount`] and those of [`layer_abs_spectral`], [`ScaledNetwork::masked`], [`perturbation_size`].
pub fn norm_product_abs_spectral(
    network: &ScaledNetwork,
    mask: Option<&Mask>,
    vectors: &[Vec<BigInt>],
    perturbation: &Perturbation,
) -> Result<NormProduct, Fault> {
    let layers = abs_spectral_layers(network, mask, vectors)?;
    assemble(network, layers, NormFamily::AbsSpectral, perturbation)
}

/// Rule `norm.spectral` for every layer, with one factor per layer.
///
/// # Errors
/// [`Fault::WitnessCount`] and those of [`layer_spectral`], [`ScaledNetwork::masked`], [`perturbation_size`].
pub fn norm_product_spectral(
    network: &ScaledNetwork,
    mask: Option<&Mask>,
    witnesses: &[SpectralWitness],
    perturbation: &Perturbation,
) -> Result<NormProduct, Fault> {
    let masked = network.masked(mask)?;
    if masked.len() != witnesses.len() {
        return Err(Fault::WitnessCount { expected: masked.len(), found: witnesses.len() });
    }
    let pairs = masked.iter().zip(witnesses).enumerate();
    let layers =
        pairs.map(|(index, (layer, w))| layer_spectral(layer, w, index)).collect::<Result<_, _>>()?;
    assemble(network, layers, NormFamily::Spectral, perturbation)
}

/// Rule `norm.chain`: `norm.abs-spectral` along a list of masks, where mask `k` is also evaluated with the vectors of
/// the masks before it and each layer takes the least. On a nested chain the results never rise.
///
/// `vectors[k]` is mask `k`'s own witness; later masks may have none (`None`) and live on the earlier ones'.
///
/// # Errors
/// [`Fault::WitnessCount`] if there is not one entry per mask; [`Fault::MissingWitness`] if the first mask
/// has none; otherwise as [`norm_product_abs_spectral`].
pub fn norm_product_chain(
    network: &ScaledNetwork,
    masks: &[Mask],
    vectors: &[Option<Vec<Vec<BigInt>>>],
    perturbation: &Perturbation,
) -> Result<Vec<NormProduct>, Fault> {
    if masks.len() != vectors.len() {
        return Err(Fault::WitnessCount { expected: masks.len(), found: vectors.len() });
    }
    let mut results = Vec::new();
    for (index, mask) in masks.iter().enumerate() {
        let mut best: Option<Vec<Rational>> = None;
        for witness in vectors.iter().take(index.saturating_add(1)).flatten() {
            let found = abs_spectral_layers(network, Some(mask), witness)?;
            best = Some(match best {
                Some(old) => old.into_iter().zip(found).map(|(a, b)| a.min(b)).collect(),
                None => found,
            });
        }
        let layers = best.ok_or(Fault::MissingWitness { mask: index })?;
        results.push(assemble(network, layers, NormFamily::AbsSpectral, perturbation)?);
    }
    Ok(results)
}

fn abs_spectral_layers(
    network: &ScaledNetwork,
    mask: Option<&Mask>,
    vectors: &[Vec<BigInt>],
) -> Result<Vec<Rational>, Fault> {
    let masked = network.masked(mask)?;
    if masked.len() != vectors.len() {
        return Err(Fault::WitnessCount { expected: masked.len(), found: vectors.len() });
    }
    masked.iter().zip(vectors).enumerate().map(|(index, (l, v))| layer_abs_spectral(l, v, index)).collect()
}

fn layer_linf(layer: &MaskedLayer<'_>) -> Rational {
    let ones = vec![BigUint::from(1u8); layer.layer.columns];
    layer.rescale(layer.absolute_times(&ones).into_iter().max().unwrap_or_default(), 1)
}

fn layer_l1(layer: &MaskedLayer<'_>) -> Rational {
    let ones = vec![BigUint::from(1u8); layer.layer.rows];
    layer.rescale(layer.absolute_transposed_times(&ones).into_iter().max().unwrap_or_default(), 1)
}

fn layer_frobenius(layer: &MaskedLayer<'_>) -> Result<Rational, Fault> {
    let mut sum = BigUint::zero();
    for (_, _, value) in layer.entries() {
        sum += value.magnitude() * value.magnitude();
    }
    Ok(enclose::sqrt(&layer.rescale(sum, 2))?.upper)
}

/// Rule `norm.abs-spectral`: for `v > 0` the spectral radius of `|W|^T |W|` is at most
/// `rho = max_i (|W|^T |W| v)_i / v_i` (Collatz-Wielandt), and `|W|_2 <= ||W||_2 = sqrt(rho)` rounded up. The checker
/// computes the least `rho` itself.
///
/// # Errors
/// [`Fault::WitnessLength`], [`Fault::WitnessNotPositive`], [`Fault::WitnessTooLong`].
///
/// # References
/// `spec/rules/global.md#normabs-spectral`.
pub fn layer_abs_spectral(layer: &MaskedLayer<'_>, v: &[BigInt], index: usize) -> Result<Rational, Fault> {
    let (expected, found) = (layer.layer.columns, v.len());
    if expected != found {
        return Err(Fault::WitnessLength { layer: index, expected, found });
    }
    if let Some(coordinate) = v.iter().position(|x| !x.is_positive()) {
        return Err(Fault::WitnessNotPositive { layer: index, coordinate });
    }
    if v.iter().any(|x| x.bits() > WITNESS_BITS) {
        return Err(Fault::WitnessTooLong { layer: index });
    }
    let v: Vec<BigUint> = v.iter().map(|x| x.magnitude().clone()).collect();
    let image = layer.absolute_transposed_times(&layer.absolute_times(&v));
    // The largest of image_i / v_i by cross multiplication: a reduced fraction per entry would cost more.
    let mut best = (BigUint::zero(), BigUint::from(1u8));
    for (top, bottom) in image.into_iter().zip(v) {
        if &top * &best.1 > &best.0 * &bottom {
            best = (top, bottom);
        }
    }
    let ratio = Rational::new(BigInt::from(best.0), BigInt::from(best.1));
    let ratio = ratio.map_err(|_| Fault::ZeroDenominator)?;
    let rho = ratio.mul(&layer.rescale(BigUint::from(1u8), 2));
    Ok(enclose::sqrt(&rho)?.upper)
}

fn assemble(
    network: &ScaledNetwork,
    layers: Vec<Rational>,
    family: NormFamily,
    perturbation: &Perturbation,
) -> Result<NormProduct, Fault> {
    let size = perturbation_size(perturbation, family, network.inputs())?;
    let mut product = Rational::one();
    for (norm, layer) in layers.iter().zip(&network.layers) {
        product = product.mul(norm).mul(&layer.lipschitz);
    }
    let deviation = product.mul(&size);
    Ok(NormProduct { layers, product, deviation })
}

/// Rule `norm.deviation`: an upper bound of the largest size of a perturbation, in the vector norm that belongs to
/// `family` (l_inf, l_1, else l_2), over `inputs` coordinates. Exact unless a square root is taken.
///
/// | set | l_inf | l_2 | l_1 |
/// |---|---|---|---|
/// | `linf r` | r | sqrt(n) r | n r |
/// | `l2 r` | r | r | sqrt(n) r |
/// | radii | max | sqrt(sum r^2) | sum r |
///
/// # Errors
/// [`Fault::RadiiLength`], [`Fault::NegativeRadius`].
pub fn perturbation_size(
    perturbation: &Perturbation,
    family: NormFamily,
    inputs: usize,
) -> Result<Rational, Fault> {
    let count = Rational::from_integer(BigInt::from(inputs));
    let radius_is_sound = |r: &Rational| {
        if r.is_negative() { Err(Fault::NegativeRadius { coordinate: 0 }) } else { Ok(()) }
    };
    match perturbation {
        Perturbation::Linf { radius } => {
            radius_is_sound(radius)?;
            Ok(match family {
                NormFamily::Linf => radius.clone(),
                NormFamily::L1 => count.mul(radius),
                _ => enclose::sqrt(&count)?.upper.mul(radius),
            })
        }
        Perturbation::L2 { radius } => {
            radius_is_sound(radius)?;
            Ok(match family {
                NormFamily::L1 => enclose::sqrt(&count)?.upper.mul(radius),
                _ => radius.clone(),
            })
        }
        Perturbation::PerCoordinate { radii } => {
            check_radii(inputs, radii)?;
            let sum = |f: fn(&Rational) -> Rational| radii.iter().fold(Rational::zero(), |s, r| s.add(&f(r)));
            match family {
                NormFamily::Linf => Ok(radii.iter().max().cloned().unwrap_or_else(Rational::zero)),
                NormFamily::L1 => Ok(sum(Rational::clone)),
                _ => Ok(enclose::sqrt(&sum(|r| r.mul(r)))?.upper),
            }
        }
    }
}
