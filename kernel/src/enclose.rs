//! Enclosures of exp, roots, the logarithm, tanh and the Gaussian total variation: rules `enclose.*`.
//! Trusted; big-integer fixed point, every rounding outward. `spec/rules/enclosures.md`.
//!
//! What a rule returns is rounded outward to a coarse grid, as part of the rule: claims compare exactly, and another
//! evaluation gives the same ends unless the truth lies within what the two lose of a point of that grid.

mod fixed;
mod tanh_table;

use num_bigint::BigInt;
use num_traits::Signed;

use crate::fault::Fault;
use crate::number::Rational;
use fixed::Fixed;

pub(crate) use fixed::{div_ceil, div_floor};
pub use tanh_table::TanhTable;
pub(crate) use tanh_table::UNIT_BITS;

/// Fraction bits of the coarse grid.
pub const COARSE_BITS: u32 = 96;
/// Largest argument of [`exp`]; below its negation the lower end is 0.
pub(crate) const MAX_EXP_ARGUMENT: u32 = 2048;
/// Beyond this distance the total variation is enclosed by its value here and 1.
const MAX_DISTANCE: u32 = 24;
/// Beyond this argument tanh is within `2^-128` of 1.
const MAX_TANH_ARGUMENT: u32 = 64;

/// Two numbers around a real one: `lower <= value <= upper`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enclosure {
    /// Not above the value.
    pub lower: Rational,
    /// Not below the value.
    pub upper: Rational,
}

impl Enclosure {
    /// The ends on the coarse grid.
    fn coarse(&self) -> Self {
        Self { lower: self.lower.floor_to_grid(COARSE_BITS), upper: self.upper.ceil_to_grid(COARSE_BITS) }
    }
}

fn whole(value: u32) -> Rational {
    Rational::from_integer(value.into())
}

/// Rule `enclose.exp`: `e^x`, on the grid `2^-96` for `x <= 0`, on the grid `2^(k-96)` with `k = floor(13 x / 9)` above, where
/// `2^k` is about `e^x`; `[0, e^-2048]` rounded up below -2048.
///
/// # Errors
/// [`Fault::ExpArgumentTooLarge`] if `x > 2048`.
///
/// # References
/// `spec/rules/enclosures.md#encloseexp`.
pub fn exp(x: &Rational) -> Result<Enclosure, Fault> {
    let (lower, upper) = exp_scaled(x)?;
    let end = |end: BigInt| Rational::on_grid(end, COARSE_BITS);
    Ok(Enclosure { lower: end(lower), upper: end(upper) })
}

/// Rule `enclose.exp`, its ends as multiples of `2^-96`.
///
/// # Errors
/// As [`exp`].
pub(crate) fn exp_scaled(x: &Rational) -> Result<(BigInt, BigInt), Fault> {
    let cap = whole(MAX_EXP_ARGUMENT);
    if x.is_negative() && x.abs() > cap {
        let (_, (_, upper)) = exp_both(&cap)?;
        return Ok((BigInt::ZERO, upper));
    }
    let (power, inverse) = exp_both(&x.abs())?;
    Ok(if x.is_negative() { inverse } else { power })
}

/// Lower and upper end as multiples of `2^-96`.
type Ends = (BigInt, BigInt);

/// Rule `enclose.exp` for `x >= 0` and for `-x`, their ends as multiples of `2^-96`.
///
/// # Errors
/// As [`exp`].
pub(crate) fn exp_both(x: &Rational) -> Result<(Ends, Ends), Fault> {
    if *x > whole(MAX_EXP_ARGUMENT) {
        return Err(Fault::ExpArgumentTooLarge);
    }
    let power = Fixed::from_rational(x).exp()?;
    let slope = Rational::new(13.into(), 9.into()).map_err(|_| Fault::ZeroDenominator)?;
    let exponent = u64::try_from(x.mul(&slope).floor_scaled(0)).map_err(|_| Fault::ExpArgumentTooLarge)?;
    Ok((power.coarse(exponent), Fixed::one().div(&power)?.coarse(0)))
}

/// Rule `enclose.sqrt`: the largest and the least multiple of `2^-96` around the square root of `x`; exact if that is one. Both
/// ends are isotone in `x`.
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
    // sqrt(x) 2^96 = sqrt(x 4^96).
    let doubled = COARSE_BITS.checked_mul(2).ok_or(Fault::ZeroDenominator)?;
    let above = x.ceil_scaled(doubled);
    let (lower, mut upper) = (floor_root(&x.floor_scaled(doubled)), floor_root(&above));
    if &upper * &upper < above {
        upper += 1u8;
    }
    let end = |root: BigInt| Rational::from_integer(root).mul(&Rational::on_grid(1, COARSE_BITS));
    Ok(Enclosure { lower: end(lower), upper: end(upper) })
}

/// The greatest `r` with `r^2 <= n`, for `n >= 0`; the library's root is corrected by its definition.
fn floor_root(n: &BigInt) -> BigInt {
    let mut root = n.max(&BigInt::ZERO).sqrt();
    while &root * &root > *n && root.is_positive() {
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

/// Rule `enclose.ln`: the natural logarithm of `x >= 1`, on the grid `2^-96`.
///
/// # Errors
/// [`Fault::LogarithmBelowOne`].
///
/// # References
/// `spec/rules/enclosures.md#encloseln`.
pub fn ln(x: &Rational) -> Result<Enclosure, Fault> {
    let one = Rational::one();
    if *x < one {
        return Err(Fault::LogarithmBelowOne);
    }
    // x = 2^k m with 1 <= m < 2: the integer part of x has k + 1 bits.
    let power = x.floor_scaled(0).bits().checked_sub(1).and_then(|bits| u32::try_from(bits).ok());
    let power = power.ok_or(Fault::LogarithmBelowOne)?;
    let mantissa = x.mul(&Rational::on_grid(1, power));
    let ratio = mantissa.sub(&one).div(&mantissa.add(&one)).map_err(|_| Fault::ZeroDenominator)?;
    let third = one.div(&whole(3)).map_err(|_| Fault::ZeroDenominator)?;
    // ln m = 2 atanh((m - 1) / (m + 1)), and ln 2 = 2 atanh(1/3).
    let halves =
        Fixed::from_rational(&third).atanh()?.scaled_by(power).add(&Fixed::from_rational(&ratio).atanh()?);
    Ok(halves.scaled_by(2).to_enclosure().coarse())
}

/// Rule `enclose.tanh`: the hyperbolic tangent of `x`, on the grid `2^-96`; between 0 and `x` in any case.
///
/// # Errors
/// [`Fault::ZeroDenominator`], which the values exclude.
///
/// # References
/// `spec/rules/enclosures.md#enclosetanh`.
pub fn tanh(x: &Rational) -> Result<Enclosure, Fault> {
    let (magnitude, cap) = (x.abs(), whole(MAX_TANH_ARGUMENT));
    let read = magnitude.clone().min(cap.clone());
    let inner = Fixed::from_rational(&read.mul(&whole(2))).exp()?.tanh_from_exp()?.to_enclosure().coarse();
    let upper = if magnitude > cap { Rational::one() } else { inner.upper.min(magnitude) };
    if x.is_negative() {
        Ok(Enclosure { lower: upper.neg(), upper: inner.lower.neg() })
    } else {
        Ok(Enclosure { lower: inner.lower, upper })
    }
}

/// The constant that the Gaussian rule needs, computed once.
#[derive(Clone, Debug)]
pub struct Enclosures {
    /// `1 / sqrt(2 pi)`.
    inverse_root: Fixed,
}

impl Enclosures {
    /// Computes `1 / sqrt(2 pi)` from Machin's formula `pi = 16 atan(1/5) - 4 atan(1/239)`.
    ///
    /// # Errors
    /// [`Fault::ZeroDenominator`], which the values exclude.
    pub fn new() -> Result<Self, Fault> {
        Ok(Self { inverse_root: Fixed::one().div(&fixed::pi()?.scaled_by(2).root())? })
    }

    /// Rule `enclose.gaussian-tv`: `2 Phi(d / 2) - 1` for a distance `d >= 0`, on the grid `2^-96`; the upper end is at most 1.
    /// For `d > 24` the lower end is that of 24, the upper end 1.
    ///
    /// # Errors
    /// [`Fault::NegativeDistance`].
    ///
    /// # References
    /// `spec/rules/enclosures.md#enclosegaussian-tv`.
    pub fn gaussian_tv(&self, distance: &Rational) -> Result<Enclosure, Fault> {
        if distance.is_negative() {
            return Err(Fault::NegativeDistance);
        }
        let cap = whole(MAX_DISTANCE);
        let value = self.series(&Fixed::from_rational(&distance.clone().min(cap.clone())))?;
        let Enclosure { lower, upper } = value.to_enclosure().coarse();
        let upper = if *distance > cap { Rational::one() } else { upper.min(Rational::one()) };
        Ok(Enclosure { lower, upper })
    }

    /// `d / sqrt(2 pi) * e^(-d^2/8) * sum (d^2/4)^n / (2n+1)!!`, all terms positive.
    fn series(&self, distance: &Fixed) -> Result<Fixed, Fault> {
        let square = distance.mul(distance);
        let sum = square.shifted_down(2).double_factorial_series()?;
        distance.mul(&self.inverse_root).mul(&sum).div(&square.shifted_down(3).exp()?)
    }
}

#[cfg(test)]
#[path = "enclose/tests.rs"]
mod tests;
