//! Enclosures of exp, sqrt, tanh and the Gaussian total variation: rules EXP, SQRT, PHI, TANH.
//! Trusted; big-integer fixed point, every rounding outward. `spec/rules/enclosures.md`.

mod fixed;
mod tanh_table;

use core::cmp::Ordering;

use num_bigint::BigInt;
use num_traits::{One, Signed, Zero};

use crate::fault::Fault;
use crate::number::Rational;
use fixed::{FRACTION, Fixed, div_ceil, div_floor};

pub use tanh_table::{TANH_FRACTION, TanhTable};

/// Largest argument of [`exp`]; below its negation the lower end is 0.
pub const MAX_EXP_ARGUMENT: u32 = 2048;
/// Fraction bits of the grid that [`Enclosures::gaussian_tv_fixed`] reads and writes.
pub const GAUSSIAN_FRACTION: u32 = FRACTION;
/// Beyond this distance the total variation is enclosed by its value here and 1.
const MAX_DISTANCE: u32 = 24;
/// Beyond this argument tanh is within `2^-128` of 1.
const MAX_TANH_ARGUMENT: u32 = 64;
/// Significant bits of a square root.
const ROOT_BITS: u64 = 128;

/// Two numbers around a real one: `lower <= value <= upper`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enclosure {
    /// Not above the value.
    pub lower: Rational,
    /// Not below the value.
    pub upper: Rational,
}

/// Rule `enclose.exp`: `e^x`, to about 130 significant bits for `|x| <= 2048`, `[0, e^-2048]` rounded up below.
///
/// # Errors
/// [`Fault::ExpArgumentTooLarge`] if `x > 2048`.
///
/// # References
/// `spec/rules/enclosures.md#encloseexp`.
pub fn exp(x: &Rational) -> Result<Enclosure, Fault> {
    let cap = Rational::from_integer(BigInt::from(MAX_EXP_ARGUMENT));
    if *x > cap {
        return Err(Fault::ExpArgumentTooLarge);
    }
    let below = x.is_negative() && x.abs() > cap;
    let magnitude = if below { cap } else { x.abs() };
    let power = Fixed::from_rational(&magnitude).exp();
    if !x.is_negative() {
        return Ok(power.to_enclosure());
    }
    let one = BigInt::one() << FRACTION;
    let ratio = |d: BigInt| Rational::new(one.clone(), d).map_err(|_| Fault::ZeroDenominator);
    let lower = if below { Rational::zero() } else { ratio(power.upper)? };
    Ok(Enclosure { lower, upper: ratio(power.lower)? })
}

/// Rule `enclose.sqrt`: the square root of `x`, to at least 127 significant bits; exact if `x` is the square of a
/// dyadic number with at most 128 significant bits. The upper end is isotone in `x`.
///
/// # Errors
/// [`Fault::SqrtOfNegative`] if `x < 0`.
///
/// # References
/// `spec/rules/enclosures.md#enclosesqrt`.
pub fn sqrt(x: &Rational) -> Result<Enclosure, Fault> {
    if x.is_negative() {
        return Err(Fault::SqrtOfNegative);
    }
    if x.is_zero() {
        return Ok(Enclosure { lower: Rational::zero(), upper: Rational::zero() });
    }
    let missing = i64::try_from(ROOT_BITS.saturating_mul(2)).unwrap_or(i64::MAX).saturating_sub(floor_log(x));
    let scale =
        u32::try_from(missing.saturating_add(1).max(0)).unwrap_or(u32::MAX).checked_shr(1).unwrap_or(0);
    let doubled = scale.saturating_mul(2);
    let exponent = i64::from(scale).saturating_neg();
    let lower = floor_root(&x.floor_scaled(doubled));
    let above = x.ceil_scaled(doubled);
    let mut upper = floor_root(&above);
    if &upper * &upper < above {
        upper += 1u8;
    }
    Ok(Enclosure {
        lower: Rational::from_dyadic(lower, exponent),
        upper: Rational::from_dyadic(upper, exponent),
    })
}

/// The `e` with `2^e <= x < 2^(e+1)`, for `x > 0`.
fn floor_log(x: &Rational) -> i64 {
    let bits = |n: &BigInt| i64::try_from(n.bits()).unwrap_or(i64::MAX);
    let guess = bits(x.numerator()).saturating_sub(bits(x.denominator()));
    if *x < Rational::from_dyadic(BigInt::one(), guess) { guess.saturating_sub(1) } else { guess }
}

/// The greatest `r` with `r^2 <= n`, for `n >= 0`; the library's root is corrected by its definition.
fn floor_root(n: &BigInt) -> BigInt {
    let mut root = if n.is_positive() { n.sqrt() } else { BigInt::zero() };
    while &root * &root > *n {
        root -= 1u8;
    }
    loop {
        let next = &root + 1u8;
        if &next * &next > *n {
            return root;
        }
        root = next;
    }
}

/// Rule `enclose.tanh`: the hyperbolic tangent of `x`, to about 128 bits after the point.
///
/// # References
/// `spec/rules/enclosures.md#enclosetanh`.
pub fn tanh(x: &Rational) -> Result<Enclosure, Fault> {
    let magnitude = x.abs();
    let cap = Rational::from_integer(BigInt::from(MAX_TANH_ARGUMENT));
    let doubled = |r: &Rational| r.mul(&Rational::from_integer(BigInt::from(2u8)));
    let positive = if magnitude > cap {
        let last = Fixed::from_rational(&doubled(&cap)).exp().tanh_from_exp()?;
        Fixed { lower: last.lower, upper: BigInt::one() << FRACTION }.to_enclosure()
    } else {
        let inner = Fixed::from_rational(&doubled(&magnitude)).exp().tanh_from_exp()?.to_enclosure();
        // 0 <= tanh x <= x for x >= 0.
        Enclosure { lower: inner.lower, upper: inner.upper.min(magnitude) }
    };
    if x.is_negative() {
        Ok(Enclosure { lower: positive.upper.neg(), upper: positive.lower.neg() })
    } else {
        Ok(positive)
    }
}

/// The constants that the Gaussian rules need, computed once.
#[derive(Clone, Debug)]
pub struct Enclosures {
    inverse_root: Fixed,
    last: Fixed,
}

impl Enclosures {
    /// Computes `1 / sqrt(2 pi)` from Machin's formula `pi = 16 atan(1/5) - 4 atan(1/239)`.
    ///
    /// # Errors
    /// [`Fault::ZeroDenominator`], which the values exclude.
    pub fn new() -> Result<Self, Fault> {
        let two_pi = fixed::pi()?.scaled_by(2);
        // sqrt(p 2^-F) = sqrt(p 2^F) 2^-F.
        let root_lower = floor_root(&(&two_pi.lower << FRACTION));
        let root_upper: BigInt = floor_root(&(&two_pi.upper << FRACTION)) + 1u8;
        let one = BigInt::one() << (FRACTION.saturating_mul(2));
        let inverse_root =
            Fixed { lower: div_floor(&one, &root_upper)?, upper: div_ceil(&one, &root_lower)? };
        let mut made = Self { inverse_root, last: Fixed { lower: BigInt::zero(), upper: BigInt::zero() } };
        made.last = made.series(&(BigInt::from(MAX_DISTANCE) << FRACTION))?;
        Ok(made)
    }

    /// Rule `enclose.gaussian-tv`: `2 Phi(d / 2) - 1` for a distance `d >= 0`, absolute width below `2^-110`; the upper
    /// end is at most 1. For `d > 24` the lower end is that of 24.
    ///
    /// # Errors
    /// [`Fault::NegativeDistance`].
    ///
    /// # References
    /// `spec/rules/enclosures.md#enclosegaussian-tv`.
    pub fn gaussian_tv(&self, distance: &Rational) -> Result<Enclosure, Fault> {
        let cap = Rational::from_integer(BigInt::from(MAX_DISTANCE));
        let read = distance.min(&cap);
        let lower = self.gaussian_tv_fixed(&read.floor_scaled(FRACTION))?.0;
        let upper = if distance.cmp(&cap) == Ordering::Greater {
            BigInt::one() << FRACTION
        } else {
            self.gaussian_tv_fixed(&read.ceil_scaled(FRACTION))?.1
        };
        Ok(Fixed { lower, upper }.to_enclosure())
    }

    /// The same rule on the grid `2^-GAUSSIAN_FRACTION`: reads `d` and returns lower and upper on that grid.
    ///
    /// # Errors
    /// [`Fault::NegativeDistance`].
    pub fn gaussian_tv_fixed(&self, distance: &BigInt) -> Result<(BigInt, BigInt), Fault> {
        if distance.is_negative() {
            return Err(Fault::NegativeDistance);
        }
        let one = BigInt::one() << FRACTION;
        if *distance > (BigInt::from(MAX_DISTANCE) << FRACTION) {
            return Ok((self.last.lower.clone(), one));
        }
        let value = self.series(distance)?;
        Ok((value.lower, value.upper.min(one)))
    }

    /// `d / sqrt(2 pi) * e^(-d^2/8) * sum (d^2/4)^n / (2n+1)!!`, all terms positive.
    fn series(&self, distance: &BigInt) -> Result<Fixed, Fault> {
        let exact = Fixed { lower: distance.clone(), upper: distance.clone() };
        let square = exact.mul(&exact);
        let quarter = square.shifted_down(2);
        let sum = fixed::double_factorial_series(&quarter);
        let power = square.shifted_down(3).exp();
        let product = exact.mul(&self.inverse_root).mul(&sum);
        product.div(&power)
    }
}

#[cfg(test)]
#[path = "enclose/tests.rs"]
mod tests;
