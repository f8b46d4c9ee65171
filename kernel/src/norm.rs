//! Products of operator norms and what they bound, over all states: rules NORM and PSD.
//! Trusted; exact up to square roots, which are rounded up. `spec/rules/global.md`.

use alloc::vec;
use alloc::vec::Vec;

mod spectral;

use num_bigint::{BigInt, BigUint};
use num_traits::{One, Signed, Zero};

use crate::enclose;
use crate::fault::Fault;
use crate::head::OutputChange;
use crate::model::{Mask, Perturbation};
use crate::number::Rational;
use crate::scaled::{MaskedLayer, ScaledNetwork, whole};
use crate::sensitivity::check_radii;
use crate::wide::{AtLayer, zip_exact};

pub use spectral::SpectralWitness;
use spectral::layer_spectral;

/// Largest bit length of a witness number.
pub(crate) const WITNESS_BITS: u64 = 512;

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

impl NormProduct {
    /// What the bound on the change's vector norm says about outputs, their differences and their Euclidean norm.
    ///
    /// # Errors
    /// Those of `enclose.sqrt`.
    pub fn change(&self, family: NormFamily, outputs: usize) -> Result<OutputChange, Fault> {
        let bound = &self.deviation;
        let two = Rational::from_integer(2.into());
        let (oscillation, euclidean) = match family {
            NormFamily::Linf => (bound.mul(&two), None),
            // |x_i - x_j| <= |x|_1, and |x|_2 <= |x|_1.
            NormFamily::L1 => (bound.clone(), Some(bound.clone())),
            // |x_i - x_j| <= sqrt(2) |x|_2.
            NormFamily::Frobenius | NormFamily::AbsSpectral | NormFamily::Spectral => {
                (bound.mul(&enclose::sqrt(&two)?.upper), Some(bound.clone()))
            }
        };
        let deviation = vec![bound.clone(); outputs];
        Ok(OutputChange { deviation, oscillation, euclidean, policy: None, distance: None })
    }
}

/// Rules `norm.linf`, `norm.l1`, `norm.frobenius`: the families without a witness.
///
/// # Errors
/// Those of `ScaledNetwork::masked` and [`perturbation_size`]; [`Fault::WitnessCount`] if `family` needs a
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
        NormFamily::Frobenius => layer_frobenius,
        NormFamily::AbsSpectral | NormFamily::Spectral => {
            return Err(Fault::WitnessCount { expected: network.layers.len(), found: 0 });
        }
    };
    let masked = network.masked(mask)?;
    let layers = masked.iter().enumerate().map(|(index, layer)| norm(layer, index));
    assemble(network, layers.collect::<Result<_, _>>()?, family, perturbation)
}

/// A layer's norm from each layer's witness.
fn with_witnesses<W>(
    network: &ScaledNetwork,
    mask: Option<&Mask>,
    witnesses: &[W],
    norm: impl Fn(&MaskedLayer<'_>, &W, usize) -> Result<Rational, Fault>,
) -> Result<Vec<Rational>, Fault> {
    let masked = network.masked(mask)?;
    let (expected, found) = (masked.len(), witnesses.len());
    let pairs = zip_exact(&masked, witnesses, 0);
    let pairs = pairs.map_err(|_| Fault::WitnessCount { expected, found })?.enumerate();
    pairs.map(|(index, (layer, witness))| norm(layer, witness, index)).collect()
}

/// Rule `norm.spectral` for every layer, with one factor per layer.
///
/// # Errors
/// [`Fault::WitnessCount`] and those of `layer_spectral`, `ScaledNetwork::masked`, [`perturbation_size`].
pub fn norm_product_spectral(
    network: &ScaledNetwork,
    mask: Option<&Mask>,
    witnesses: &[SpectralWitness],
    perturbation: &Perturbation,
) -> Result<NormProduct, Fault> {
    let layers = with_witnesses(network, mask, witnesses, layer_spectral)?;
    assemble(network, layers, NormFamily::Spectral, perturbation)
}

/// Rule `norm.chain`: `norm.abs-spectral` along a list of masks, where mask `k` is also evaluated with the vectors of
/// the masks before it and each layer takes the least. On a nested chain the results never rise.
///
/// `vectors[k]` is mask `k`'s own witness, one positive integer per column of each layer; later masks may have none (`None`) and
/// live on the earlier ones'.
///
/// # Errors
/// [`Fault::WitnessCount`] if there is not one entry per mask, or one per layer in it; [`Fault::MissingWitness`] if the first mask
/// has none; those of `layer_abs_spectral`, `ScaledNetwork::masked`, [`perturbation_size`].
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
        // Its own witness and those of the masks before it.
        let known = vectors.get(..=index).shaped(index)?;
        for witness in known.iter().flatten() {
            let found =
                with_witnesses(network, Some(mask), witness, |layer, v, l| layer_abs_spectral(layer, v, l))?;
            best = Some(match best {
                Some(old) => zip_exact(old, found, index)?.map(|(a, b)| a.min(b)).collect(),
                None => found,
            });
        }
        let layers = best.ok_or(Fault::MissingWitness { mask: index })?;
        results.push(assemble(network, layers, NormFamily::AbsSpectral, perturbation)?);
    }
    Ok(results)
}

fn layer_linf(layer: &MaskedLayer<'_>, index: usize) -> Result<Rational, Fault> {
    let ones = vec![BigUint::one(); layer.mantissas.columns()];
    largest(layer, layer.absolute_times(&ones, index)?, index)
}

fn layer_l1(layer: &MaskedLayer<'_>, index: usize) -> Result<Rational, Fault> {
    let ones = vec![BigUint::one(); layer.mantissas.height()];
    largest(layer, layer.absolute_transposed_times(&ones, index)?, index)
}

/// The largest of a layer's sums.
fn largest(layer: &MaskedLayer<'_>, sums: Vec<BigUint>, index: usize) -> Result<Rational, Fault> {
    Ok(whole(sums.into_iter().max().shaped(index)?).mul(&layer.unit(1, index)?))
}

fn layer_frobenius(layer: &MaskedLayer<'_>, index: usize) -> Result<Rational, Fault> {
    let squares = layer.mantissas.values().iter().map(|value| value.magnitude() * value.magnitude());
    let sum = whole(squares.sum()).mul(&layer.unit(2, index)?);
    Ok(enclose::sqrt(&sum)?.upper)
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
fn layer_abs_spectral(layer: &MaskedLayer<'_>, v: &[BigInt], index: usize) -> Result<Rational, Fault> {
    let (expected, found) = (layer.mantissas.columns(), v.len());
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
    let image = layer.absolute_transposed_times(&layer.absolute_times(&v, index)?, index)?;
    // The largest of image_i / v_i by cross multiplication: a reduced fraction per entry would cost more.
    let mut best = (BigUint::zero(), BigUint::one());
    for (top, bottom) in zip_exact(image, v, index)? {
        if &top * &best.1 > &best.0 * &bottom {
            best = (top, bottom);
        }
    }
    let ratio = Rational::new(best.0.into(), best.1.into()).map_err(|_| Fault::ZeroDenominator)?;
    Ok(enclose::sqrt(&ratio.mul(&layer.unit(2, index)?))?.upper)
}

fn assemble(
    network: &ScaledNetwork,
    layers: Vec<Rational>,
    family: NormFamily,
    perturbation: &Perturbation,
) -> Result<NormProduct, Fault> {
    let size = perturbation_size(perturbation, family, network.inputs()?)?;
    let mut product = Rational::one();
    for (norm, layer) in zip_exact(&layers, &network.layers, 0)? {
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
    match perturbation {
        Perturbation::Linf { radius } | Perturbation::L2 { radius } => {
            check_radii(1, core::slice::from_ref(radius))?;
            let cube = matches!(perturbation, Perturbation::Linf { .. });
            // How many times longer than the radius a perturbation can be.
            let times = match (family, cube) {
                (NormFamily::Linf, _) => Rational::one(),
                (NormFamily::L1, true) => count,
                (NormFamily::L1, false) => enclose::sqrt(&count)?.upper,
                (NormFamily::Frobenius | NormFamily::AbsSpectral | NormFamily::Spectral, true) => {
                    enclose::sqrt(&count)?.upper
                }
                (NormFamily::Frobenius | NormFamily::AbsSpectral | NormFamily::Spectral, false) => {
                    Rational::one()
                }
            };
            Ok(times.mul(radius))
        }
        // `global_set` makes a box of it.
        Perturbation::Sensor(_) => Err(Fault::ShapeMismatch { layer: 0 }),
        Perturbation::PerCoordinate { radii } => {
            check_radii(inputs, radii)?;
            let sum = |f: fn(&Rational) -> Rational| radii.iter().fold(Rational::zero(), |s, r| s.add(&f(r)));
            match family {
                NormFamily::Linf => radii.iter().max().cloned().shaped(0),
                NormFamily::L1 => Ok(sum(Rational::clone)),
                NormFamily::Frobenius | NormFamily::AbsSpectral | NormFamily::Spectral => {
                    Ok(enclose::sqrt(&sum(|r| r.mul(r)))?.upper)
                }
            }
        }
    }
}
