//! Intervals of non-negative fixed-point numbers, the arithmetic below the enclosures.
//! Trusted; every rounding outward. `spec/rules/enclosures.md`.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};

use super::Enclosure;
use crate::fault::Fault;
use crate::number::Rational;

/// Fraction bits of the grid: 128 for the results and 32 to lose on the way.
pub(super) const FRACTION: u32 = 160;
/// `exp` halves its argument until it is below `2^-HALVED`.
const HALVED: u64 = 8;

/// `0 <= lower <= value * 2^FRACTION <= upper`.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    /// Lower end on the grid.
    pub lower: BigInt,
    /// Upper end on the grid.
    pub upper: BigInt,
}

/// `floor(a / b)` for `b > 0`.
pub(super) fn div_floor(a: &BigInt, b: &BigInt) -> Result<BigInt, Fault> {
    if b.is_positive() { Ok(a.div_floor(b)) } else { Err(Fault::ZeroDenominator) }
}

/// `ceil(a / b)` for `b > 0`.
pub(super) fn div_ceil(a: &BigInt, b: &BigInt) -> Result<BigInt, Fault> {
    Ok(-div_floor(&-a, b)?)
}

/// At least `a / 2^bits` for `a >= 0`, at most one unit above the floor: the exact ceiling costs a second pass.
fn shift_up(a: BigInt, bits: u64) -> BigInt {
    if a.is_zero() { a } else { (a >> bits) + 1u8 }
}

impl Fixed {
    /// The tightest interval around `x >= 0`.
    pub(super) fn from_rational(x: &Rational) -> Self {
        Self { lower: x.floor_scaled(FRACTION), upper: x.ceil_scaled(FRACTION) }
    }

    /// The ends as rationals.
    pub(super) fn to_enclosure(&self) -> Enclosure {
        let exponent = i64::from(FRACTION).saturating_neg();
        Enclosure {
            lower: Rational::from_dyadic(self.lower.clone(), exponent),
            upper: Rational::from_dyadic(self.upper.clone(), exponent),
        }
    }

    /// Product.
    pub(super) fn mul(&self, other: &Self) -> Self {
        Self {
            lower: (&self.lower * &other.lower) >> FRACTION,
            upper: shift_up(&self.upper * &other.upper, u64::from(FRACTION)),
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

    /// Quotient by `2^bits`.
    pub(super) fn shifted_down(&self, bits: u64) -> Self {
        Self { lower: &self.lower >> bits, upper: shift_up(self.upper.clone(), bits) }
    }

    /// `e^x`: Taylor for `x 2^-s < 2^-8`, squared `s` times.
    pub(super) fn exp(&self) -> Self {
        let halvings = self.upper.bits().saturating_add(HALVED).saturating_sub(u64::from(FRACTION));
        let small = self.shifted_down(halvings);
        let mut power = small.exp_taylor();
        for _ in 0..halvings {
            power = power.mul(&power);
        }
        power
    }

    /// `sum x^n / n!` for `x <= 2^-7`; once the upper term is one unit the rest is below one more.
    fn exp_taylor(&self) -> Self {
        let one = BigInt::one() << FRACTION;
        let mut term = Self { lower: one.clone(), upper: one.clone() };
        let mut sum = Self { lower: one.clone(), upper: one };
        let mut n = 1u32;
        loop {
            term = term.mul(self).divided_by(n);
            sum.lower += &term.lower;
            sum.upper += &term.upper;
            if term.upper <= BigInt::one() {
                sum.upper += 1u8;
                return sum;
            }
            n = n.saturating_add(1);
        }
    }

    /// Quotient by a small positive integer, the upper end at most one unit above the floor.
    fn divided_by(&self, divisor: u32) -> Self {
        let part = |a: &BigInt| a / divisor.max(1);
        Self { lower: part(&self.lower), upper: part(&self.upper) + u8::from(!self.upper.is_zero()) }
    }

    /// `(E - 1) / (E + 1)` for an enclosure of `E = e^(2x) >= 1`.
    pub(super) fn tanh_from_exp(&self) -> Result<Self, Fault> {
        let one = BigInt::one() << FRACTION;
        let part = |e: &BigInt| (((e - &one).max(BigInt::zero())) << FRACTION, e + &one);
        let (low, high) = (part(&self.lower), part(&self.upper));
        Ok(Self { lower: div_floor(&low.0, &low.1)?, upper: div_ceil(&high.0, &high.1)?.min(one) })
    }
}

/// `sum t^n / (2n+1)!!` for `t <= 144`; stops when a term is one unit and the ratio of the next is below 1/2, where
/// the rest is at most that term.
pub(super) fn double_factorial_series(t: &Fixed) -> Fixed {
    let one = BigInt::one() << FRACTION;
    let mut term = Fixed { lower: one.clone(), upper: one.clone() };
    let mut sum = Fixed { lower: one.clone(), upper: one };
    let mut odd = 1u32;
    loop {
        odd = odd.saturating_add(2);
        term = term.mul(t).divided_by(odd);
        sum.lower += &term.lower;
        sum.upper += &term.upper;
        let bound = BigInt::from(odd) << FRACTION;
        if term.upper <= BigInt::one() && &t.upper << 1u8 <= bound {
            sum.upper += &term.upper;
            return sum;
        }
    }
}

/// Enclosure of pi by Machin's formula.
pub(super) fn pi() -> Result<Fixed, Fault> {
    let (fifth, small) = (inverse_arctangent(5)?, inverse_arctangent(239)?);
    Ok(Fixed {
        lower: &fifth.lower * 16u8 - &small.upper * 4u8,
        upper: &fifth.upper * 16u8 - &small.lower * 4u8,
    })
}

/// `atan(1/n)` for `n >= 2`: the alternating series; the first omitted term bounds the rest.
fn inverse_arctangent(n: u32) -> Result<Fixed, Fault> {
    let one = BigInt::one() << FRACTION;
    let square = BigInt::from(n) * n;
    let mut denominator = BigInt::from(n);
    let mut sum = Fixed { lower: BigInt::zero(), upper: BigInt::zero() };
    let (mut odd, mut positive) = (1u32, true);
    loop {
        let whole = &denominator * odd;
        let (low, high) = (div_floor(&one, &whole)?, div_ceil(&one, &whole)?);
        if low.is_zero() {
            sum.lower -= &high;
            sum.upper += &high;
            return Ok(Fixed { lower: sum.lower.abs(), upper: sum.upper });
        }
        if positive {
            sum.lower += low;
            sum.upper += high;
        } else {
            sum.lower -= high;
            sum.upper -= low;
        }
        denominator *= &square;
        odd = odd.saturating_add(2);
        positive = !positive;
    }
}
