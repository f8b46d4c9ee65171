//! The spectral norm of one layer from a rounded triangular factor: rule PSD.
//! Trusted; exact, the root rounded up. `spec/rules/global.md#normspectral`.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use crate::enclose;
use crate::fault::Fault;
use crate::number::Rational;
use crate::product;
use crate::scaled::MaskedLayer;
use crate::table::Table;
use crate::wide::{AtLayer, zip_exact};

/// Most fraction bits of a factor.
const MAX_FRACTION: u32 = 1024;
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
pub(super) fn layer_spectral(
    layer: &MaskedLayer<'_>,
    witness: &SpectralWitness,
    index: usize,
) -> Result<Rational, Fault> {
    let too_long = Fault::WitnessTooLong { layer: index };
    let width = layer.mantissas.height().min(layer.mantissas.columns());
    let expected = triangle(width).ok_or(too_long.clone())?;
    let rows = triangle_rows(&witness.factor, width);
    let found = witness.factor.len();
    let rows = rows.filter(|_| expected == found);
    let rows = rows.ok_or(Fault::WitnessLength { layer: index, expected, found })?;
    let large = witness.rho.bits() > RHO_BITS || witness.factor.contains(&i64::MIN);
    if large || witness.fraction_bits > MAX_FRACTION {
        return Err(too_long);
    }
    // From the grid of products of weights to that of the witness.
    let shift = i64::from(layer.exponent).checked_add(witness.fraction_bits.into());
    let shift = shift.and_then(|shift| shift.checked_mul(2)).within(index)?;
    let gram = Gram::new(layer, index)?;
    let mut sums = vec![BigInt::zero(); width];
    for (i, left) in rows.iter().enumerate() {
        // Row j of a triangle is as long as the part of row i that it meets.
        for (j, right) in rows.iter().enumerate().take_while(|(j, _)| *j <= i) {
            let (floor, exact) = shift_floor(gram.entry(i, j).shaped(index)?, shift);
            let left = left.get(..right.len()).shaped(index)?;
            let mut residual = -floor - dot(left, right, index)?;
            if i == j {
                residual += &witness.rho;
            }
            let size = residual.abs() + u8::from(!exact);
            *sums.get_mut(i).shaped(index)? += &size;
            if i != j {
                *sums.get_mut(j).shaped(index)? += &size;
            }
        }
    }
    let residual = sums.into_iter().max().shaped(index)?;
    // rho + r >= 0 because it bounds a Gram matrix; a root of less is refused.
    let exponent = i64::from(witness.fraction_bits).checked_mul(-2).within(index)?;
    Ok(enclose::sqrt(&Rational::from_dyadic(&witness.rho + residual, exponent))?.upper)
}

/// `floor(value * 2^shift)` and whether nothing was cut off.
fn shift_floor(value: BigInt, shift: i64) -> (BigInt, bool) {
    let bits = shift.unsigned_abs();
    if shift >= 0 {
        return (value << bits, true);
    }
    let floor = &value >> bits;
    let exact = (&floor << bits) == value;
    (floor, exact)
}

/// `sum a b`, in `i128` while it fits.
fn dot(left: &[i64], right: &[i64], index: usize) -> Result<BigInt, Fault> {
    let sum = product::dot(left, right, index)?.get().map(BigInt::from);
    Ok(sum.unwrap_or_else(|| left.iter().zip(right).map(|(&a, &b)| BigInt::from(a) * b).sum()))
}

fn triangle(width: usize) -> Option<usize> {
    width.checked_mul(width.checked_add(1)?)?.checked_div(2)
}

/// The rows of a triangle; `None` if it has fewer entries.
fn triangle_rows(factor: &[i64], width: usize) -> Option<Vec<&[i64]>> {
    let (mut rows, mut rest) = (Vec::new(), factor);
    for length in 1..=width {
        let (row, tail) = rest.split_at_checked(length)?;
        rows.push(row);
        rest = tail;
    }
    Some(rows)
}

/// The weights as vectors whose pairwise products are `G`: columns of `W`, or its rows if there are fewer.
enum Gram<'a> {
    Small(Table<i64>),
    Large(Table<&'a BigInt>),
}

impl<'a> Gram<'a> {
    fn new(layer: &MaskedLayer<'a>, index: usize) -> Result<Self, Fault> {
        let weight = &layer.mantissas;
        let vectors = if weight.height() < weight.columns() {
            weight.clone()
        } else {
            let entry = |i: usize, k: usize| weight.row(k).and_then(|row| row.get(i)).copied().shaped(index);
            Table::build(weight.columns(), weight.height(), index, entry)?
        };
        let small = vectors.values().iter().map(|entry| entry.to_i64()).collect::<Option<Vec<i64>>>();
        Ok(match small {
            Some(small) => Self::Small(Table::new(vectors.height(), vectors.columns(), small, index)?),
            None => Self::Large(vectors),
        })
    }

    /// The product of two vectors, which exist.
    fn entry(&self, i: usize, j: usize) -> Option<BigInt> {
        match self {
            Self::Small(v) => dot(v.row(i)?, v.row(j)?, 0).ok(),
            Self::Large(v) => Some(zip_exact(v.row(i)?, v.row(j)?, 0).ok()?.map(|(x, y)| *x * *y).sum()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(2^63 - 1)^2 < 2^126`: two such terms fit 128 bits, three do not and are added in big integers.
    #[test]
    fn sums_of_products_have_any_size() {
        let square = BigInt::from(i64::MAX) * i64::MAX;
        for count in 1..=5usize {
            let row = vec![i64::MAX; count];
            assert_eq!(dot(&row, &row, 0), Ok(&square * count));
            let turned: Vec<i64> = row.iter().map(|x| -x).collect();
            assert_eq!(dot(&row, &turned, 0), Ok(-&square * count));
        }
        assert_eq!(dot(&[1], &[1, 1], 3), Err(Fault::ShapeMismatch { layer: 3 }));
    }
}
