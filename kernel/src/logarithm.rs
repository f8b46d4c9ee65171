//! Rational enclosures of the natural logarithm and upper bounds of square roots, on big integers in fixed point.
//! Trusted; every rounding outward. `spec/rules/regret.md#statistichoeffding`.

use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::{One, Signed, Zero};

use crate::number::Rational;

/// Most fraction bits an enclosure is computed with.
pub const MAX_BITS: u32 = 4096;

/// `lower <= ln(x) <= upper`, each a multiple of `2^-bits` (`bits` is capped at [`MAX_BITS`]); `None` unless `x > 0`.
///
/// `x = 2^k m` with `1 <= m < 2` and `ln m = 2 atanh((m-1)/(m+1))`; the series is summed twice, once with every rounding
/// down and once with every rounding up and the tail bounded by a geometric series.
pub fn ln_enclosure(x: &Rational, bits: u32) -> Option<(Rational, Rational)> {
    if !x.is_positive() {
        return None;
    }
    let bits = bits.min(MAX_BITS);
    let power = binary_exponent(x)?;
    let mantissa = x.mul(&Rational::from_dyadic(BigInt::one(), power.checked_neg()?));
    let one = Rational::one();
    let (low, high) = atanh_enclosure(&mantissa.sub(&one).div(&mantissa.add(&one)).ok()?, bits)?;
    let (two_low, two_high) =
        atanh_enclosure(&one.div(&Rational::from_integer(BigInt::from(3u8))).ok()?, bits)?;
    let k = BigInt::from(power);
    let (k_low, k_high) =
        if k.is_negative() { (&k * two_high, &k * two_low) } else { (&k * two_low, &k * two_high) };
    // ln x = 2 (k atanh(1/3) + atanh(z)); the doubling is the exponent 1 - bits.
    let exponent = 1i64.checked_sub(i64::from(bits))?;
    Some((Rational::from_dyadic(k_low + low, exponent), Rational::from_dyadic(k_high + high, exponent)))
}

/// The `k` with `2^k <= x < 2^(k+1)`, for `x > 0`.
fn binary_exponent(x: &Rational) -> Option<i64> {
    let length = |n: &BigInt| i64::try_from(n.bits()).ok();
    let guess = length(x.numerator())?.checked_sub(length(x.denominator())?)?;
    if *x < Rational::from_dyadic(BigInt::one(), guess) { guess.checked_sub(1) } else { Some(guess) }
}

/// `lower <= atanh(z) 2^bits <= upper` for `0 <= z <= 1/3`; `None` outside.
fn atanh_enclosure(z: &Rational, bits: u32) -> Option<(BigInt, BigInt)> {
    if z.is_negative() || z.mul(&Rational::from_integer(BigInt::from(3u8))) > Rational::one() {
        return None;
    }
    let (mut term_low, mut term_high) = (z.floor_scaled(bits), z.ceil_scaled(bits));
    let square = z.mul(z);
    let (square_low, square_high) = (square.floor_scaled(bits), square.ceil_scaled(bits));
    let (mut sum_low, mut sum_high) = (BigInt::zero(), BigInt::zero());
    let mut odd = BigInt::one();
    // z^2 <= 1/9, so that `bits / 3 + 1` terms bring the term below a few units.
    for _ in 0..bits.div_ceil(3).saturating_add(1) {
        sum_low += term_low.div_floor(&odd);
        sum_high += ceil_div(&term_high, &odd);
        term_low = (term_low * &square_low) >> bits;
        term_high = ceil_shift(&(term_high * &square_high), bits);
        odd += 2u8;
    }
    // The tail is at most term / (1 - z^2) <= 9/8 term <= 2 term.
    sum_high += term_high * 2u8;
    Some((sum_low, sum_high))
}

fn ceil_div(top: &BigInt, bottom: &BigInt) -> BigInt {
    -((-top).div_floor(bottom))
}

fn ceil_shift(value: &BigInt, bits: u32) -> BigInt {
    -((-value) >> bits)
}

/// A multiple of `2^-bits` at least the square root of `x`, above it by at most `2^(1-bits)`; `None` if `x < 0`.
///
/// What the square root routine returns is squared and compared, so that its correctness is not relied on.
pub fn sqrt_upper(x: &Rational, bits: u32) -> Option<Rational> {
    if x.is_negative() {
        return None;
    }
    let bits = bits.min(MAX_BITS);
    let scaled: BigUint = x.ceil_scaled(bits.checked_mul(2)?).magnitude().clone();
    let mut root = scaled.sqrt();
    if &root * &root < scaled {
        root += 1u8;
    }
    if &root * &root < scaled {
        return None;
    }
    Some(Rational::from_dyadic(BigInt::from(root), i64::from(bits).checked_neg()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    /// ln 2 = 0.6931471805599453094172321214581765680755001343602552..., ln 10 =
    /// 2.30258509299404568401799145468436420760110148862877... (OEIS A002162, A002392).
    #[test]
    fn known_logarithms_are_enclosed_tightly() {
        for (x, below, above) in [
            ("2", "0.69314718055994530941723212145817656807", "0.69314718055994530941723212145817656808"),
            ("10", "2.30258509299404568401799145468436420760", "2.30258509299404568401799145468436420761"),
            (
                "1/10",
                "-2.30258509299404568401799145468436420761",
                "-2.30258509299404568401799145468436420760",
            ),
        ] {
            let (low, high) = ln_enclosure(&r(x), 160).unwrap();
            assert!(low > r(below) && high < r(above), "{x}");
        }
        let (low, high) = ln_enclosure(&r("1"), 64).unwrap();
        assert!(low.is_zero() && high.is_zero());
        assert_eq!(ln_enclosure(&r("0"), 64), None);
        assert_eq!(ln_enclosure(&r("-1"), 64), None);
    }

    /// ln(a b) = ln a + ln b, so that the two enclosures meet.
    #[test]
    fn enclosures_are_ordered_and_add_up() {
        for (a, b) in [("7/3", "9/11"), ("1e-30", "3e40"), ("1.0000001", "0.9999999")] {
            let (a, b) = (r(a), r(b));
            let ((al, ah), (bl, bh)) = (ln_enclosure(&a, 128).unwrap(), ln_enclosure(&b, 128).unwrap());
            let (pl, ph) = ln_enclosure(&a.mul(&b), 128).unwrap();
            assert!(al.add(&bl) <= ph && pl <= ah.add(&bh));
            assert!(al <= ah && ah.sub(&al) < Rational::from_dyadic(BigInt::one(), -100));
        }
    }

    #[test]
    fn square_roots_are_rounded_up() {
        assert_eq!(sqrt_upper(&r("9/4"), 64), Some(r("3/2")));
        assert_eq!(sqrt_upper(&r("0"), 64), Some(r("0")));
        assert_eq!(sqrt_upper(&r("-1"), 64), None);
        for x in ["2", "1/3", "1e-40", "123456789/7"] {
            let (x, root) = (r(x), sqrt_upper(&r(x), 96).unwrap());
            let below = root.sub(&Rational::from_dyadic(BigInt::one(), -95));
            assert!(root.mul(&root) >= x && (below.is_negative() || below.mul(&below) < x));
        }
    }
}
