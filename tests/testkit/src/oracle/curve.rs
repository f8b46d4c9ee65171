//! ELU and SiLU from a power series of the exponential function, in big integers; where SiLU turns, from decimals.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};
use secateur_kernel::number::Rational;

use crate::case::r;

/// Fraction bits of everything here.
pub const FINE: u32 = 256;
/// Lower and upper end on that grid.
pub type Ends = (BigInt, BigInt);

/// Where SiLU is least, cut off; there it is 1 more.
const LEAST: &str = "-1.27846454276107379510935873902298";
/// Where SiLU is steepest, cut off; there its slope is `1/2 + c / 4`.
const TURN: &str = "2.39935728051546766783273969728228";
/// More than what the decimals lack.
const CUT: &str = "1e-31";
/// Arguments are halved until they are below `2^-12` before the series.
const HALVED: u64 = 12;
/// `2 (2^-12)^19 / 19!` is below 2^-256.
const TERMS: u32 = 18;

fn one() -> BigInt {
    BigInt::one() << FINE
}

fn fine(text: &str) -> BigInt {
    r(text).floor_scaled(FINE)
}

/// `a b` of numbers that are not negative, down and up.
fn down(a: &BigInt, b: &BigInt) -> BigInt {
    (a * b) >> FINE
}

fn up(a: &BigInt, b: &BigInt) -> BigInt {
    down(a, b) + 1u8
}

/// `e^x` for `x <= 0`; below -200 only that it is less than there.
fn power(x: &BigInt) -> Ends {
    let far = BigInt::from(200) << FINE;
    if -x > far {
        return (BigInt::zero(), power(&-far).1);
    }
    let halvings = (x.bits() + HALVED).saturating_sub(FINE.into());
    let small: BigInt = -x >> halvings;
    let (mut low, mut term) = (one(), one());
    for n in 1..=TERMS {
        term = down(&term, &small) / n;
        low += &term;
    }
    // Each term lacks less than 3 units, what follows them less than one, and the argument's floor less than 2.
    let mut high = &low + 64u8;
    for _ in 0..halvings {
        (low, high) = (down(&low, &low), up(&high, &high));
    }
    let square = BigInt::one() << (2 * FINE);
    (square.div_floor(&high), square.div_ceil(&low))
}

fn scaled((low, high): &Ends, factor: &Rational) -> Ends {
    let (top, bottom) = (factor.numerator(), factor.denominator());
    ((low * top).div_floor(bottom), (high * top).div_ceil(bottom))
}

/// `x` for `x >= 0`, else `alpha (e^x - 1)`.
pub fn elu(alpha: &Rational, x: &BigInt) -> Ends {
    if !x.is_negative() {
        return (x.clone(), x.clone());
    }
    let (low, high) = power(x);
    scaled(&(low - one(), high - one()), alpha)
}

/// The values of ELU over a short interval, over which it rises by no more than its argument.
pub fn elu_over(alpha: &Rational, lower: &BigInt, upper: &BigInt) -> Ends {
    let (low, high) = elu(alpha, lower);
    (low, high + (upper - lower))
}

/// The slope of ELU left of `x` at 0, and everywhere else.
pub fn elu_slope(alpha: &Rational, x: &BigInt) -> Ends {
    if x.is_positive() { (one(), one()) } else { scaled(&power(x), alpha) }
}

/// The logistic function `1 / (1 + e^-x)`, of a negative `x` 1 minus that of `-x`.
fn logistic(x: &BigInt) -> Ends {
    if x.is_negative() {
        let (low, high) = logistic(&-x);
        return (one() - high, one() - low);
    }
    let (low, high) = power(&-x);
    let square = BigInt::one() << (2 * FINE);
    (square.div_floor(&(one() + high)), square.div_ceil(&(one() + low)))
}

/// The hull of the products of a number with both ends.
fn times(x: &BigInt, (low, high): &Ends) -> Ends {
    let (a, b) = (x * low, x * high);
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    (low >> FINE, (high >> FINE) + 1u8)
}

/// `x / (1 + e^-x)`.
pub fn silu(x: &BigInt) -> Ends {
    times(x, &logistic(x))
}

/// `s + x s (1 - s)`.
pub fn silu_slope(x: &BigInt) -> Ends {
    let (low, high) = logistic(x);
    let rest = (down(&low, &(one() - &high)), up(&high, &(one() - &low)));
    let product = times(x, &rest);
    (low + product.0, high + product.1)
}

fn between(place: &BigInt, lower: &BigInt, upper: &BigInt) -> bool {
    *lower <= place + fine(CUT) && place - fine(CUT) <= *upper
}

/// The values of SiLU over an interval.
pub fn silu_over(lower: &BigInt, upper: &BigInt) -> Ends {
    let apart = (upper - lower) * 2u8;
    if apart.bits() + 100 < FINE.into() {
        // No slope is as large as 2.
        let (low, high) = silu(lower);
        return (low - &apart, high + apart);
    }
    let (first, last) = (silu(lower), silu(upper));
    let (low, high) = (first.0.min(last.0), first.1.max(last.1));
    let least = fine(LEAST);
    if between(&least, lower, upper) { (low.min(least + one() - fine(CUT)), high) } else { (low, high) }
}

/// The largest magnitude of SiLU's slope over an interval, from below by what enclosures leave.
pub fn silu_steepest(lower: &BigInt, upper: &BigInt) -> BigInt {
    let turn = fine(TURN);
    let most: BigInt = (one() >> 1u8) + (&turn >> 2u8);
    let mut found = silu_slope(lower).0.abs().max(silu_slope(upper).0.abs());
    if between(&turn, lower, upper) {
        found = found.max(most.clone());
    }
    let mirrored = -turn;
    if *lower <= mirrored && mirrored <= *upper {
        found = found.max(most - one());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds((low, high): &Ends, text: &str) -> bool {
        let (x, near) = (fine(text), fine("1e-30"));
        *low <= &x + &near && &x - &near <= *high && high - low < near
    }

    /// Decimals of another program (mpmath): `e^-1`, `e^-60`, SiLU and its slope at -1, 1 and 5.
    #[test]
    fn known_numbers() {
        let at = |text: &str| fine(text);
        assert!(holds(&power(&at("-1")), "0.36787944117144232159552377016146086744581"));
        assert!(holds(&power(&at("-0")), "1"));
        assert!(holds(&elu(&r("1/2"), &at("-1")), "-0.31606027941427883920223811491926956627709"));
        assert!(holds(&silu(&at("-1")), "-0.26894142136999512074884075817816372141884"));
        assert!(holds(&silu(&at("1")), "0.73105857863000487925115924182183627858115"));
        assert!(holds(&silu_slope(&at("-1")), "0.07232948812851326821141602459225470001258"));
        assert!(holds(&silu(&at(LEAST)), "-0.27846454276107379510935873902298015543947"));
        assert!(holds(&silu_slope(&at(TURN)), "1.09983932012886691695818492432057097213073"));
        let over = silu_over(&at("-2"), &at("0"));
        assert!(over.0 <= silu(&at(LEAST)).0 && over.1 >= BigInt::zero());
        assert!(power(&at("-300")).0.is_zero() && power(&at("-300")).1 < fine("1e-70"));
    }
}
