//! The spectral norm of one layer from a rounded triangular factor: rule PSD.
//! Trusted; exact, the root rounded up. `spec/rules/global.md#normspectral`.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use super::super::enclose;
use super::super::scaled::MaskedLayer;
use crate::fault::Fault;
use crate::number::Rational;

/// Most fraction bits of a factor.
const MAX_FRACTION: u32 = 1024;
/// Largest bit length of a factor's numbers.
const FACTOR_BITS: u64 = 63;
/// Largest bit length of `rho`.
const RHO_BITS: u64 = 4096;

/// A factor `R` (lower triangular) and `rho` with `rho I - G` about `R R^T`, where `G` is `W^T W`, or `W W^T` when
/// there are fewer rows than columns. Any values are sound; good ones make the bound tight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpectralWitness {
    /// `rho * 4^fraction_bits`.
    pub rho: BigInt,
    /// Row by row, row `i` with its `i + 1` entries up to the diagonal: `R * 2^fraction_bits`. `R = L sqrt(D)` of an
    /// `L D L^T` factorisation, so that no sign of a pivot has to be tested.
    pub factor: Vec<i64>,
    /// Fraction bits of the factor, at most 1024.
    pub fraction_bits: u32,
}

/// Rule `norm.spectral`: with `E = rho I - G - R R^T` and `r` the largest row sum of `|E|`,
/// `G <= (rho + r) I`, so that `|W|_2 <= sqrt(rho + r)`, rounded up.
///
/// # Errors
/// [`Fault::WitnessLength`] if the factor is not triangular of the smaller width;
/// [`Fault::WitnessTooLong`] if `fraction_bits`, `rho` or an entry is beyond its cap.
///
/// # References
/// `spec/rules/global.md#normspectral`.
pub fn layer_spectral(
    layer: &MaskedLayer<'_>,
    witness: &SpectralWitness,
    index: usize,
) -> Result<Rational, Fault> {
    let width = layer.layer.rows.min(layer.layer.columns);
    let expected = triangle(width).ok_or(Fault::WitnessTooLong { layer: index })?;
    let found = witness.factor.len();
    if expected != found {
        return Err(Fault::WitnessLength { layer: index, expected, found });
    }
    let long = |v: &i64| u64::from(64u32.saturating_sub(v.unsigned_abs().leading_zeros())) > FACTOR_BITS;
    let large = witness.rho.bits() > RHO_BITS || witness.factor.iter().any(long);
    if large || witness.fraction_bits > MAX_FRACTION {
        return Err(Fault::WitnessTooLong { layer: index });
    }
    let rows = triangle_rows(&witness.factor, width);
    let gram = Gram::new(layer, width);
    let shift = layer.layer.exponent.saturating_add(i64::from(witness.fraction_bits)).saturating_mul(2);
    let mut sums = vec![BigInt::zero(); width];
    for (i, left) in rows.iter().enumerate() {
        for (j, right) in rows.iter().enumerate().take(i.saturating_add(1)) {
            let (scaled, inexact) = shift_floor(gram.entry(i, j), shift);
            let mut residual = -scaled - dot(left, right);
            if i == j {
                residual += &witness.rho;
            }
            let size = residual.abs() + u8::from(inexact);
            if let Some(sum) = sums.get_mut(i) {
                *sum += &size;
            }
            if let Some(sum) = sums.get_mut(j).filter(|_| i != j) {
                *sum += &size;
            }
        }
    }
    let residual = sums.into_iter().max().unwrap_or_default();
    let exponent = i64::from(witness.fraction_bits).saturating_mul(-2);
    // rho + r >= 0 because it bounds a Gram matrix; the maximum with 0 keeps the root defined in any case.
    let bound = (&witness.rho + residual).max(BigInt::zero());
    Ok(enclose::sqrt(&Rational::from_dyadic(bound, exponent))?.upper)
}

/// `sum a b` over the shorter length, in `i128` while it fits.
fn dot(left: &[i64], right: &[i64]) -> BigInt {
    let mut total = 0i128;
    for (a, b) in left.iter().zip(right) {
        match i128::from(*a).checked_mul(i128::from(*b)).and_then(|p| total.checked_add(p)) {
            Some(next) => total = next,
            None => return left.iter().zip(right).map(|(a, b)| BigInt::from(*a) * *b).sum(),
        }
    }
    BigInt::from(total)
}

fn triangle(width: usize) -> Option<usize> {
    width.checked_mul(width.checked_add(1)?)?.checked_div(2)
}

fn triangle_rows(factor: &[i64], width: usize) -> Vec<&[i64]> {
    let (mut rows, mut rest) = (Vec::new(), factor);
    for i in 0..width {
        let (row, tail) = rest.split_at_checked(i.saturating_add(1)).unwrap_or((rest, &[]));
        rows.push(row);
        rest = tail;
    }
    rows
}

/// `floor(value * 2^shift)` and whether that lost anything.
fn shift_floor(value: BigInt, shift: i64) -> (BigInt, bool) {
    let bits = shift.unsigned_abs();
    if shift >= 0 {
        return (value << bits, false);
    }
    let floor = &value >> bits;
    let inexact = (&floor << bits) != value;
    (floor, inexact)
}

/// The masked weights as vectors whose pairwise products are `G`: columns of `W`, or its rows if there are fewer.
enum Gram {
    Small(Vec<Vec<i64>>),
    Large(Vec<Vec<BigInt>>),
}

impl Gram {
    fn new(layer: &MaskedLayer<'_>, width: usize) -> Self {
        let by_rows = layer.layer.rows < layer.layer.columns;
        let depth = layer.layer.rows.max(layer.layer.columns);
        let mut vectors = vec![vec![BigInt::zero(); depth]; width];
        for (row, column, value) in layer.entries() {
            let (i, k) = if by_rows { (row, column) } else { (column, row) };
            if let Some(slot) = vectors.get_mut(i).and_then(|v| v.get_mut(k)) {
                *slot = value.clone();
            }
        }
        let narrow = |v: &Vec<BigInt>| v.iter().map(BigInt::to_i64).collect::<Option<Vec<_>>>();
        match vectors.iter().map(narrow).collect::<Option<Vec<_>>>() {
            Some(small) => Self::Small(small),
            None => Self::Large(vectors),
        }
    }

    fn entry(&self, i: usize, j: usize) -> BigInt {
        match self {
            Self::Small(v) => match (v.get(i), v.get(j)) {
                (Some(a), Some(b)) => dot(a, b),
                _ => BigInt::zero(),
            },
            Self::Large(v) => match (v.get(i), v.get(j)) {
                (Some(a), Some(b)) => a.iter().zip(b).map(|(x, y)| x * y).sum(),
                _ => BigInt::zero(),
            },
        }
    }
}
