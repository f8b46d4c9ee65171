//! tanh and the logistic function on machine integers: a table of enclosures and the addition theorem.
//! Trusted; every rounding outward. `spec/rules/enclosures.md#enclosetanh-table`.

use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::{One, ToPrimitive};

use super::fixed::{FRACTION, Fixed};
use crate::fault::Fault;

/// Fraction bits of the table's results.
pub(crate) const UNIT_BITS: u32 = 60;
/// Fraction bits inside.
const INNER: u32 = 62;
/// Bits between the grid of the enclosures and that inside.
const DROP: u32 = FRACTION - INNER;
/// Steps of the table per unit, as a power of two.
const STEP_BITS: u32 = 8;
/// The table ends here; beyond it tanh lies between its last entry and 1.
const END: u64 = 22;
/// Number of entries.
const ENTRIES: u64 = (END << STEP_BITS) + 1;
/// Every true value is less than an entry and this many units.
const SLACK: u64 = 1;
/// `17 h^7 / 315 < 4 * 2^-62` for `h < 2^-8`.
const SEVENTH: u64 = 4;
/// 1 on the results' grid.
const UNIT: i64 = 1 << UNIT_BITS;

/// `floor(2^62 tanh(k/256))` for `k = 0 ..= 22*256`; about 45 kB.
#[derive(Clone, Debug)]
pub struct TanhTable {
    lower: Vec<u64>,
}

impl TanhTable {
    /// Computes the table from enclosures of `e^(k/128)`; a few milliseconds.
    ///
    /// # Errors
    /// [`Fault::TanhTable`] if an enclosure does not leave one entry.
    pub fn new() -> Result<Self, Fault> {
        let one = BigInt::one() << FRACTION;
        // x = 1/256, and E = e^(2x) = e^(1/128).
        let step = Fixed { lower: &one >> 7u8, upper: &one >> 7u8 }.exp()?;
        let mut power = Fixed { lower: one.clone(), upper: one };
        let mut lower = Vec::new();
        for index in 0..ENTRIES {
            let value = power.tanh_from_exp()?;
            let (low, high) = ((&value.lower >> DROP).to_u64(), (-((-&value.upper) >> DROP)).to_u64());
            let fits = |(low, high): &(u64, u64)| high.checked_sub(*low).is_some_and(|gap| gap <= SLACK);
            let (low, _) = low.zip(high).filter(fits).ok_or(Fault::TanhTable { index })?;
            lower.push(low);
            power = power.mul(&step);
        }
        Ok(Self { lower })
    }

    /// The table itself: `floor(2^62 tanh(k/256))` for `k = 0 ..= 22*256`, which test vectors name.
    pub fn entries(&self) -> &[u64] {
        &self.lower
    }

    /// Rule `enclose.tanh-table`: lower and upper of `tanh(x * 2^-fraction_bits)` on the grid `2^-60`; width at most
    /// 8 units, always within [-1, 1]. `None` on an overflow, which the ranges exclude.
    ///
    /// # References
    /// `spec/rules/enclosures.md#enclosetanh-table`.
    pub fn tanh(&self, x: i64, fraction_bits: u32) -> Option<(i64, i64)> {
        if let Some(extra) = fraction_bits.checked_sub(INNER).filter(|extra| *extra > 0) {
            // The sign is what remains of a shift by 63 and more.
            let floor = x.checked_shr(extra.min(63))?;
            return Some((self.tanh(floor, INNER)?.0, self.tanh(floor.checked_add(1)?, INNER)?.1));
        }
        let (lower, upper) = self.positive(x.unsigned_abs(), fraction_bits)?;
        if x < 0 { Some((upper.checked_neg()?, lower.checked_neg()?)) } else { Some((lower, upper)) }
    }

    /// The largest multiple of 1/256, with `fraction_bits` fraction bits, whose tabulated tanh is at most `value` (60
    /// fraction bits, not negative): a place to start a search from.
    pub(crate) fn before(&self, value: i64, fraction_bits: u32) -> Option<i64> {
        let wanted = u64::try_from(value).ok()?.checked_shl(INNER.checked_sub(UNIT_BITS)?)?;
        let index = self.lower.partition_point(|entry| *entry <= wanted).checked_sub(1)?;
        i64::try_from(index).ok()?.checked_shl(fraction_bits.checked_sub(STEP_BITS)?)
    }

    /// The enclosure for `x >= 0` and `fraction_bits <= 62`.
    fn positive(&self, x: u64, fraction_bits: u32) -> Option<(i64, i64)> {
        if x == 0 {
            return Some((0, 0));
        }
        let coarse = INNER.checked_sub(UNIT_BITS)?;
        if x.checked_shr(fraction_bits)? >= END {
            return Some((i64::try_from(self.lower.last()?.checked_shr(coarse)?).ok()?, UNIT));
        }
        let (index, rest) = match fraction_bits.checked_sub(STEP_BITS) {
            Some(drop) => {
                let index = x.checked_shr(drop)?;
                let rest = x.checked_sub(index.checked_shl(drop)?)?;
                (index, rest.checked_shl(INNER.checked_sub(fraction_bits)?)?)
            }
            None => (x.checked_shl(STEP_BITS.checked_sub(fraction_bits)?)?, 0),
        };
        let entry = *self.lower.get(usize::try_from(index).ok()?)?;
        let (low, high) = small_tanh(rest)?;
        let product = multiply_down(entry, low)?;
        let bottom = 1u64.checked_shl(INNER)?.checked_add(product)?.checked_add(u64::from(low > 0))?;
        let top = u128::from(entry.checked_add(low)?).checked_shl(UNIT_BITS)?;
        let quotient = u64::try_from(top.checked_div(u128::from(bottom))?).ok()?;
        // tanh(t + h) grows at most by the growth of either part, and the rounded denominator costs one unit more.
        let error = high.checked_sub(low)?.checked_add(SLACK)?.checked_add(1)?;
        let error = error.checked_add(3)?.checked_shr(coarse)?;
        let upper = i64::try_from(quotient.checked_add(error)?.checked_add(1)?).ok()?;
        Some((i64::try_from(quotient).ok()?, upper.min(UNIT)))
    }
}

/// `floor(a b 2^-62)`.
fn multiply_down(a: u64, b: u64) -> Option<u64> {
    u64::try_from(u128::from(a).checked_mul(u128::from(b))?.checked_shr(INNER)?).ok()
}

/// Lower and upper of `tanh(h 2^-62)`, `h < 2^54`, on the same grid, from
/// `h - h^3/3 + 2h^5/15 - 17h^7/315 <= tanh h <= h - h^3/3 + 2h^5/15`.
fn small_tanh(h: u64) -> Option<(u64, u64)> {
    if h == 0 {
        return Some((0, 0));
    }
    let square = multiply_down(h, h)?;
    // Each power is below its rounded value plus two units.
    let cube = multiply_down(h, square)?;
    let fifth = multiply_down(cube, square)?.checked_mul(2)?;
    let upper = h.checked_sub(cube.checked_div(3)?)?.checked_add(fifth.checked_add(4)?.checked_div(15)?)?;
    let taken = cube.checked_add(4)?.checked_div(3)?.checked_add(SEVENTH)?;
    // What would fall below 0 is 0, which tanh does not fall below either.
    let lower = h.checked_add(fifth.checked_div(15)?)?.saturating_sub(taken);
    Some((lower, upper.checked_add(1)?.min(h)))
}
