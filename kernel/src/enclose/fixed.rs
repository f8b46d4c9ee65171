//! Intervals of non-negative fixed-point numbers, the arithmetic below the enclosures.
//! Trusted; every rounding outward; every series has a number of terms that its argument fixes. `spec/rules/enclosures.md`.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};

use super::{COARSE_BITS, Enclosure, floor_root};
use crate::fault::Fault;
use crate::number::Rational;

/// Fraction bits of the grid: 96 for the results and 64 to lose on the way.
pub(super) const FRACTION: u32 = 160;
/// `exp` halves its argument until it is below `2^-HALVED`.
const HALVED: u64 = 8;
/// Terms of the series of `exp` after the first: `2 t^17 / 17! < 2^-160` for `t <= 2^-7`.
const EXP_TERMS: u32 = 16;
/// Terms of the series of atanh: `9/8 z^109 / 109 < 2^-160` for `z <= 1/3`.
const ATANH_TERMS: u32 = 54;
/// Terms of the series of atan: `5^-73 / 73 < 2^-160`.
const ATAN_TERMS: u32 = 36;
/// Terms of the Gaussian series after the first, beside 3 for each whole unit of its argument.
const GAUSSIAN_TERMS: u32 = 40;

/// `0 <= lower <= value * 2^FRACTION <= upper`.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    /// Lower end on the grid.
    pub lower: BigInt,
    /// Upper end on the grid.
    pub upper: BigInt,
}

/// `floor(a / b)` for `b > 0`.
pub(crate) fn div_floor(a: &BigInt, b: &BigInt) -> Result<BigInt, Fault> {
    if b.is_positive() { Ok(a.div_floor(b)) } else { Err(Fault::ZeroDenominator) }
}

/// `ceil(a / b)` for `b > 0`.
pub(crate) fn div_ceil(a: &BigInt, b: &BigInt) -> Result<BigInt, Fault> {
    Ok(-div_floor(&-a, b)?)
}

/// At least `a / 2^bits` for `a >= 0`, at most one unit above the floor: the exact ceiling costs a second pass.
fn shift_up(a: BigInt, bits: u64) -> BigInt {
    if a.is_zero() { a } else { (a >> bits) + 1u8 }
}

impl Fixed {
    /// The number 1.
    pub(super) fn one() -> Self {
        let one = BigInt::one() << FRACTION;
        Self { lower: one.clone(), upper: one }
    }

    /// The tightest interval around `x >= 0`.
    pub(super) fn from_rational(x: &Rational) -> Self {
        Self { lower: x.floor_scaled(FRACTION), upper: x.ceil_scaled(FRACTION) }
    }

    /// The ends as rationals.
    pub(super) fn to_enclosure(&self) -> Enclosure {
        let end = |end: &BigInt| Rational::from_integer(end.clone()).mul(&Rational::on_grid(1, FRACTION));
        Enclosure { lower: end(&self.lower), upper: end(&self.upper) }
    }

    /// The ends on the grid `2^(exponent - 96)`, outward, as multiples of `2^-96`.
    pub(super) fn coarse(&self, exponent: u64) -> (BigInt, BigInt) {
        let dropped = u64::from(FRACTION).saturating_sub(COARSE_BITS.into()).saturating_add(exponent);
        let below = |end: &BigInt| (end >> dropped) << exponent;
        (below(&self.lower), -below(&-&self.upper))
    }

    /// Sum.
    pub(super) fn add(&self, other: &Self) -> Self {
        Self { lower: &self.lower + &other.lower, upper: &self.upper + &other.upper }
    }

    /// Product.
    pub(super) fn mul(&self, other: &Self) -> Self {
        Self {
            lower: (&self.lower * &other.lower) >> FRACTION,
            upper: shift_up(&self.upper * &other.upper, FRACTION.into()),
        }
    }

    /// Quotient; `other.lower > 0`.
    pub(super) fn div(&self, other: &Self) -> Result<Self, Fault> {
        Ok(Self {
            lower: div_floor(&(&self.lower << FRACTION), &other.upper)?,
            upper: div_ceil(&(&self.upper << FRACTION), &other.lower)?,
        })
    }

    /// Product with a small integer.
    pub(super) fn scaled_by(&self, factor: u32) -> Self {
        Self { lower: &self.lower * factor, upper: &self.upper * factor }
    }

    /// Quotient by a small positive integer.
    fn divided_by(&self, divisor: u32) -> Result<Self, Fault> {
        let divisor = BigInt::from(divisor);
        Ok(Self { lower: div_floor(&self.lower, &divisor)?, upper: div_ceil(&self.upper, &divisor)? })
    }

    /// Quotient by `2^bits`.
    pub(super) fn shifted_down(&self, bits: u64) -> Self {
        Self { lower: &self.lower >> bits, upper: shift_up(self.upper.clone(), bits) }
    }

    /// Square root: `sqrt(p 2^-F) = sqrt(p 2^F) 2^-F`.
    pub(super) fn root(&self) -> Self {
        let root = |end: &BigInt| floor_root(&(end << FRACTION));
        Self { lower: root(&self.lower), upper: root(&self.upper) + 1u8 }
    }

    /// `e^x`: Taylor for `x 2^-s < 2^-8`, squared `s` times.
    pub(super) fn exp(&self) -> Result<Self, Fault> {
        // A number of fewer bits is that small already.
        let halvings = self.upper.bits().saturating_add(HALVED).saturating_sub(FRACTION.into());
        let small = self.shifted_down(halvings);
        let (mut term, mut power) = (Self::one(), Self::one());
        for n in 1..=EXP_TERMS {
            term = term.mul(&small).divided_by(n)?;
            power = power.add(&term);
        }
        power.upper += 1u8;
        for _ in 0..halvings {
            power = power.mul(&power);
        }
        Ok(power)
    }

    /// `(E - 1) / (E + 1)` for an enclosure of `E = e^(2x) >= 1`.
    pub(super) fn tanh_from_exp(&self) -> Result<Self, Fault> {
        let one = BigInt::one() << FRACTION;
        let part = |e: &BigInt| ((e - &one).max(BigInt::zero()) << FRACTION, e + &one);
        let (low, high) = (part(&self.lower), part(&self.upper));
        Ok(Self { lower: div_floor(&low.0, &low.1)?, upper: div_ceil(&high.0, &high.1)?.min(one) })
    }

    /// `atanh(z) = sum z^(2n+1) / (2n+1)` for `z <= 1/3`.
    pub(super) fn atanh(&self) -> Result<Self, Fault> {
        let square = self.mul(self);
        let (mut power, mut sum) = (self.clone(), self.clone());
        for n in 1..ATANH_TERMS {
            power = power.mul(&square);
            sum = sum.add(&power.divided_by(odd(n)?)?);
        }
        sum.upper += 1u8;
        Ok(sum)
    }

    /// `sum t^n / (2n+1)!!` for `t <= 144`: from the last term on each is less than half of the one before, and below
    /// `2^-161`.
    pub(super) fn double_factorial_series(&self) -> Result<Self, Fault> {
        let units = u32::try_from(shift_up(self.upper.clone(), FRACTION.into()));
        let terms = units.ok().and_then(|units| units.checked_mul(3)?.checked_add(GAUSSIAN_TERMS));
        let (mut term, mut sum) = (Self::one(), Self::one());
        for n in 1..=terms.ok_or(Fault::NegativeDistance)? {
            term = term.mul(self).divided_by(odd(n)?)?;
            sum = sum.add(&term);
        }
        sum.upper += 1u8;
        Ok(sum)
    }
}

/// `2n + 1`.
fn odd(n: u32) -> Result<u32, Fault> {
    n.checked_mul(2).and_then(|twice| twice.checked_add(1)).ok_or(Fault::ZeroDenominator)
}

/// Enclosure of pi by Machin's formula.
pub(super) fn pi() -> Result<Fixed, Fault> {
    let (fifth, small) = (inverse_arctangent(5)?.scaled_by(16), inverse_arctangent(239)?.scaled_by(4));
    Ok(Fixed { lower: fifth.lower - small.upper, upper: fifth.upper - small.lower })
}

/// `atan(1/n) = sum (-1)^k n^-(2k+1) / (2k+1)` for `n >= 5`: the first omitted term bounds the rest.
fn inverse_arctangent(n: u32) -> Result<Fixed, Fault> {
    let one = BigInt::one() << FRACTION;
    let mut denominator = BigInt::from(n);
    let mut sum = Fixed { lower: BigInt::zero(), upper: BigInt::zero() };
    for k in 0..ATAN_TERMS {
        let whole = &denominator * odd(k)?;
        let (low, high) = (div_floor(&one, &whole)?, div_ceil(&one, &whole)?);
        if k.is_even() {
            sum = Fixed { lower: sum.lower + low, upper: sum.upper + high };
        } else {
            sum = Fixed { lower: sum.lower - high, upper: sum.upper - low };
        }
        denominator *= BigInt::from(n) * n;
    }
    Ok(Fixed { lower: sum.lower - 1u8, upper: sum.upper + 1u8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Squares of the ends lie around what they are roots of, and the ends lie two steps apart at most.
    #[test]
    fn roots_lie_between_their_ends() {
        let one = BigInt::one() << FRACTION;
        for number in [&one * 2, one.clone(), BigInt::one(), BigInt::zero(), &one * &one + 1] {
            let root = Fixed { lower: number.clone(), upper: number.clone() }.root();
            let scaled = number << FRACTION;
            assert!(&root.lower * &root.lower <= scaled && scaled <= &root.upper * &root.upper);
            assert!(&root.upper - &root.lower <= BigInt::from(2));
        }
    }
}
