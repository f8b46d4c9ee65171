//! tanh and the logistic function on machine integers: a table of enclosures and the addition theorem.
//! Trusted; every rounding outward. `spec/rules/enclosures.md#enclosetanh-table`.

use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::{One, ToPrimitive};

use super::fixed::{FRACTION, Fixed};

/// Fraction bits of the results of [`TanhTable`].
pub const TANH_FRACTION: u32 = 60;
/// Fraction bits inside.
const INNER: u32 = 62;
/// Steps of the table per unit, as a power of two.
const STEP_BITS: u32 = 8;
/// The table ends here; beyond it tanh lies between its last entry and 1.
const END: u64 = 22;
/// `17 h^7 / 315 < 4 * 2^-62` for `h < 2^-8`.
const SEVENTH: u64 = 4;

/// Lower ends of `tanh(k/256)` for `k = 0 ..= 22*256` on the grid `2^-62`; about 45 kB.
#[derive(Clone, Debug)]
pub struct TanhTable {
    lower: Vec<u64>,
    /// Every true value is at most its lower end plus this many units.
    slack: u64,
    /// Lower end beyond the table, on the result's grid.
    last: i64,
}

impl Default for TanhTable {
    fn default() -> Self {
        Self::new()
    }
}

impl TanhTable {
    /// The table, computed once for all tests.
    #[cfg(test)]
    pub(crate) fn shared() -> &'static Self {
        static TABLE: std::sync::OnceLock<TanhTable> = std::sync::OnceLock::new();
        TABLE.get_or_init(Self::new)
    }

    /// Computes the table from enclosures of `e^(k/128)`; a few milliseconds.
    pub fn new() -> Self {
        let one = BigInt::one() << FRACTION;
        // x = 1/256, and E = e^(2x) = e^(1/128).
        let step = Fixed { lower: &one >> 7u8, upper: &one >> 7u8 }.exp();
        let mut power = Fixed { lower: one.clone(), upper: one };
        let entries = END.checked_shl(STEP_BITS).unwrap_or(0);
        let mut table = Self { lower: Vec::new(), slack: 0, last: 0 };
        for _ in 0..=entries {
            let value = power.tanh_from_exp();
            let drop = u64::from(FRACTION.saturating_sub(INNER));
            let low = (&value.lower >> drop).to_u64().unwrap_or(0);
            let high = (-((-&value.upper) >> drop)).to_u64().unwrap_or(u64::MAX);
            table.slack = table.slack.max(high.saturating_sub(low));
            table.lower.push(low);
            power = power.mul(&step);
        }
        let last = table.lower.last().and_then(|v| v.checked_shr(INNER.saturating_sub(TANH_FRACTION)));
        table.last = last.and_then(|v| i64::try_from(v).ok()).unwrap_or(0);
        table
    }

    /// Rule `enclose.tanh-table`: lower and upper of `tanh(x * 2^-fraction_bits)` on the grid `2^-60`; width at most
    /// 8 units, always within [-1, 1].
    ///
    /// # References
    /// `spec/rules/enclosures.md#enclosetanh-table`.
    pub fn tanh(&self, x: i64, fraction_bits: u32) -> (i64, i64) {
        if let Some(extra) = fraction_bits.checked_sub(INNER).filter(|extra| *extra > 0) {
            let floor = x.checked_shr(extra).unwrap_or(if x < 0 { -1 } else { 0 });
            let lower = self.tanh(floor, INNER).0;
            return (lower, self.tanh(floor.saturating_add(1), INNER).1);
        }
        let unit = Self::unit();
        let (lower, upper) = self.positive(x.unsigned_abs(), fraction_bits).unwrap_or((0, unit));
        if x < 0 { (upper.saturating_neg(), lower.saturating_neg()) } else { (lower, upper) }
    }

    /// Lower and upper of `1 / (1 + e^-y)`, `y = x * 2^-fraction_bits`, on the grid `2^-60`, as
    /// `(1 + tanh(y/2)) / 2`; within [0, 1].
    pub fn sigmoid(&self, x: i64, fraction_bits: u32) -> (i64, i64) {
        let (lower, upper) = self.tanh(x, fraction_bits.saturating_add(1));
        let half =
            |v: i64, up: i64| Self::unit().saturating_add(v).saturating_add(up).checked_shr(1).unwrap_or(0);
        (half(lower, 0), half(upper, 1))
    }

    /// The largest multiple of 1/256, with `fraction_bits` fraction bits, whose tabulated tanh is at most `value` (60
    /// fraction bits, not negative): a place to start a search from.
    pub fn before(&self, value: i64, fraction_bits: u32) -> Option<i64> {
        let wanted = u64::try_from(value).ok()?.checked_shl(INNER.checked_sub(TANH_FRACTION)?)?;
        let index = self.lower.partition_point(|entry| *entry <= wanted).saturating_sub(1);
        i64::try_from(index).ok()?.checked_shl(fraction_bits.checked_sub(STEP_BITS)?)
    }

    fn unit() -> i64 {
        1i64.checked_shl(TANH_FRACTION).unwrap_or(i64::MAX)
    }

    /// The enclosure for `x >= 0` and `fraction_bits <= 62`; `None` on an overflow, which the ranges exclude.
    fn positive(&self, x: u64, fraction_bits: u32) -> Option<(i64, i64)> {
        if x == 0 {
            return Some((0, 0));
        }
        if x.checked_shr(fraction_bits)? >= END {
            return Some((self.last, Self::unit()));
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
        let top = u128::from(entry.checked_add(low)?).checked_shl(TANH_FRACTION)?;
        let quotient = u64::try_from(top.checked_div(u128::from(bottom))?).ok()?;
        // tanh(t + h) grows at most by the growth of either part, and the rounded denominator costs one unit more.
        let error = high.checked_sub(low)?.checked_add(self.slack)?.checked_add(1)?;
        let coarse = error.checked_add(3)?.checked_shr(INNER.checked_sub(TANH_FRACTION)?)?;
        let upper = i64::try_from(quotient.checked_add(coarse)?.checked_add(1)?).ok()?;
        Some((i64::try_from(quotient).ok()?, upper.min(Self::unit())))
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
    let third = cube.checked_add(4)?.checked_div(3)?;
    let lower = h.checked_add(fifth.checked_div(15)?)?.saturating_sub(third).saturating_sub(SEVENTH);
    Some((lower, upper.checked_add(1)?.min(h)))
}
