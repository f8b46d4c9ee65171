//! Exact numbers: `Rational` (never a zero denominator) and `Dyadic` (the exact value of a stored float).
//! Trusted. `spec/semantics.md#numbers`.

use core::cmp::Ordering;
use core::fmt;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// Longest run of digits accepted in a number that a person or a certificate writes.
pub(crate) const MAX_DIGITS: usize = 4096;
/// Largest absolute decimal exponent accepted in such a number.
pub const MAX_EXPONENT: u32 = 4096;

/// Why a piece of text is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NumberError {
    /// The text is neither `-?digits[.digits][e[+-]digits]` nor `-?digits/digits`.
    Malformed,
    /// More than `MAX_DIGITS` digits, or an exponent beyond `MAX_EXPONENT`.
    TooLong,
    /// The denominator is zero.
    ZeroDenominator,
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a decimal or a fraction, such as 0.075 or 3/40",
            Self::TooLong => "more digits than a number may have",
            Self::ZeroDenominator => "a fraction with denominator zero",
        })
    }
}

/// An exact rational number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rational {
    /// Without a common divisor with the denominator.
    numerator: BigInt,
    /// Positive.
    denominator: BigInt,
}

impl PartialOrd for Rational {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rational {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.numerator() * other.denominator()).cmp(&(other.numerator() * self.denominator()))
    }
}

/// The greatest common divisor; of numbers of 128 bits without an allocation a bit.
fn common(a: &BigInt, b: &BigInt) -> BigInt {
    match (a.magnitude().to_u128(), b.magnitude().to_u128()) {
        (Some(a), Some(b)) => a.gcd(&b).into(),
        (None, _) | (_, None) => a.gcd(b),
    }
}

/// Both without their common divisor; the second is not 0.
fn lowest(a: &BigInt, b: &BigInt) -> (BigInt, BigInt) {
    let common = common(a, b);
    if common.is_one() { (a.clone(), b.clone()) } else { (a / &common, b / &common) }
}

impl Rational {
    /// `numerator / denominator`.
    ///
    /// # Errors
    /// [`NumberError::ZeroDenominator`].
    pub fn new(numerator: BigInt, denominator: BigInt) -> Result<Self, NumberError> {
        if denominator.is_zero() {
            return Err(NumberError::ZeroDenominator);
        }
        let (numerator, denominator) = lowest(&numerator, &denominator);
        let negative = denominator.is_negative();
        let (numerator, denominator) =
            if negative { (-numerator, -denominator) } else { (numerator, denominator) };
        Ok(Self { numerator, denominator })
    }

    /// The integer `value`.
    pub fn from_integer(value: BigInt) -> Self {
        Self { numerator: value, denominator: BigInt::one() }
    }

    /// `mantissa * 2^exponent`.
    pub fn from_dyadic(mantissa: BigInt, exponent: i64) -> Self {
        let shift = exponent.unsigned_abs();
        if exponent >= 0 { Self::from_integer(mantissa << shift) } else { Self::over_power(mantissa, shift) }
    }

    /// `value * 2^-bits`.
    fn over_power(value: BigInt, bits: u64) -> Self {
        // A power of two shares nothing but twos with the value, whose lowest one bit tells how many.
        let shared = value.trailing_zeros().unwrap_or(bits).min(bits);
        Self { numerator: value >> shared, denominator: BigInt::one() << bits.saturating_sub(shared) }
    }

    /// `value * 2^-bits`: an entry of a grid as the number that it stands for.
    pub fn on_grid(value: impl Into<BigInt>, bits: u32) -> Self {
        Self::over_power(value.into(), bits.into())
    }

    /// The number 0.
    pub fn zero() -> Self {
        Self::from_integer(BigInt::ZERO)
    }

    /// The number 1.
    pub fn one() -> Self {
        Self::from_integer(BigInt::one())
    }

    /// Numerator, in lowest terms.
    pub fn numerator(&self) -> &BigInt {
        &self.numerator
    }

    /// Denominator, in lowest terms; positive.
    pub fn denominator(&self) -> &BigInt {
        &self.denominator
    }

    /// Whether the number is below 0.
    pub fn is_negative(&self) -> bool {
        self.numerator.is_negative()
    }

    /// Whether the number is 0.
    pub fn is_zero(&self) -> bool {
        self.numerator.is_zero()
    }

    /// Whether the number is above 0.
    pub fn is_positive(&self) -> bool {
        self.numerator.is_positive()
    }

    /// Absolute value.
    pub fn abs(&self) -> Self {
        Self { numerator: self.numerator.abs(), denominator: self.denominator.clone() }
    }

    /// Sum.
    pub fn add(&self, other: &Self) -> Self {
        let (own, others) = lowest(self.denominator(), other.denominator());
        let sum = self.numerator() * others + other.numerator() * &own;
        let (numerator, denominator) = lowest(&sum, &(own * other.denominator()));
        Self { numerator, denominator }
    }

    /// Difference.
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.neg())
    }

    /// Product.
    pub fn mul(&self, other: &Self) -> Self {
        let (own, others) = lowest(self.numerator(), other.denominator());
        let (theirs, owns) = lowest(other.numerator(), self.denominator());
        Self { numerator: own * theirs, denominator: others * owns }
    }

    /// Quotient.
    ///
    /// # Errors
    /// [`NumberError::ZeroDenominator`] if `other` is 0.
    pub fn div(&self, other: &Self) -> Result<Self, NumberError> {
        Self::new(self.numerator() * other.denominator(), self.denominator() * other.numerator())
    }

    /// Negation.
    pub fn neg(&self) -> Self {
        Self { numerator: -&self.numerator, denominator: self.denominator.clone() }
    }

    /// `floor(self * 2^bits)`.
    pub fn floor_scaled(&self, bits: u32) -> BigInt {
        (self.numerator() << bits).div_floor(self.denominator())
    }

    /// `ceil(self * 2^bits)`.
    pub fn ceil_scaled(&self, bits: u32) -> BigInt {
        -((-(self.numerator() << bits)).div_floor(self.denominator()))
    }

    /// The largest multiple of `2^-bits` that is at most the number.
    pub fn floor_to_grid(&self, bits: u32) -> Self {
        Self::on_grid(self.floor_scaled(bits), bits)
    }

    /// The least multiple of `2^-bits` that is at least the number.
    pub fn ceil_to_grid(&self, bits: u32) -> Self {
        Self::on_grid(self.ceil_scaled(bits), bits)
    }

    /// Parses a decimal (`0.075`, `-1e-3`) or a fraction (`3/40`) exactly.
    ///
    /// # Errors
    /// [`NumberError`], one variant per reason.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        if text.len() > MAX_DIGITS.saturating_add(16) {
            return Err(NumberError::TooLong);
        }
        let (negative, body) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let magnitude = match body.split_once('/') {
            Some((top, bottom)) => Self::new(digits(top)?, digits(bottom)?)?,
            None => Self::parse_decimal(body)?,
        };
        Ok(if negative { magnitude.neg() } else { magnitude })
    }

    fn parse_decimal(body: &str) -> Result<Self, NumberError> {
        let (mantissa, exponent) = match body.split_once(['e', 'E']) {
            Some((m, e)) => (m, parse_exponent(e)?),
            None => (body, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((w, f)) if !f.is_empty() => (w, f),
            Some(_) => return Err(NumberError::Malformed),
            None => (mantissa, ""),
        };
        if whole.len().saturating_add(fraction.len()) > MAX_DIGITS {
            return Err(NumberError::TooLong);
        }
        let mut value = digits(whole)?;
        if !fraction.is_empty() {
            value = value * ten_to(fraction.len())? + digits(fraction)?;
        }
        let places = i64::try_from(fraction.len()).map_err(|_| NumberError::TooLong)?;
        let power = exponent.checked_sub(places).ok_or(NumberError::TooLong)?;
        let scale = ten_to(usize::try_from(power.unsigned_abs()).map_err(|_| NumberError::TooLong)?)?;
        if power < 0 { Self::new(value, scale) } else { Ok(Self::from_integer(value * scale)) }
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator().is_one() {
            write!(f, "{}", self.numerator())
        } else {
            write!(f, "{}/{}", self.numerator(), self.denominator())
        }
    }
}

fn digits(text: &str) -> Result<BigInt, NumberError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Malformed);
    }
    if text.len() > MAX_DIGITS {
        return Err(NumberError::TooLong);
    }
    BigInt::parse_bytes(text.as_bytes(), 10).ok_or(NumberError::Malformed)
}

fn parse_exponent(text: &str) -> Result<i64, NumberError> {
    let (negative, body) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => (false, text),
    };
    if body.is_empty() || !body.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Malformed);
    }
    let value: i64 = body.parse().map_err(|_| NumberError::TooLong)?;
    if value > i64::from(MAX_EXPONENT) {
        return Err(NumberError::TooLong);
    }
    if negative { value.checked_neg().ok_or(NumberError::TooLong) } else { Ok(value) }
}

fn ten_to(power: usize) -> Result<BigInt, NumberError> {
    Ok(BigInt::from(10u8).pow(u32::try_from(power).map_err(|_| NumberError::TooLong)?))
}

/// The exact value `mantissa * 2^exponent` of a stored float; zero has mantissa 0 and exponent 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dyadic {
    /// Signed significand, at most 53 bits for the stored formats; odd or 0.
    pub mantissa: i64,
    /// Power of two.
    pub exponent: i32,
}

impl Dyadic {
    /// The number 0.
    pub const ZERO: Self = Self { mantissa: 0, exponent: 0 };

    /// `mantissa * 2^exponent` with trailing zero bits moved into the exponent, where it can hold them.
    pub fn new(mantissa: i64, exponent: i32) -> Self {
        if mantissa == 0 {
            return Self::ZERO;
        }
        let zeros = mantissa.trailing_zeros();
        match (mantissa.checked_shr(zeros), exponent.checked_add_unsigned(zeros)) {
            (Some(mantissa), Some(exponent)) => Self { mantissa, exponent },
            (None, _) | (_, None) => Self { mantissa, exponent },
        }
    }

    /// The IEEE 754 binary value with `fraction_bits` of fraction and `exponent_bits` of exponent held in the low bits
    /// of `bits` (binary16: 10, 5; bfloat16: 7, 8; binary32: 23, 8; binary64: 52, 11). `None` for NaN and infinities.
    pub fn from_ieee(bits: u64, fraction_bits: u32, exponent_bits: u32) -> Option<Self> {
        let low = |n: u32| 1u64.checked_shl(n).and_then(|v| v.checked_sub(1));
        let fraction = bits & low(fraction_bits)?;
        let exponent_mask = low(exponent_bits)?;
        let biased = bits.checked_shr(fraction_bits)? & exponent_mask;
        let sign = bits.checked_shr(fraction_bits.checked_add(exponent_bits)?)? & 1;
        if biased == exponent_mask {
            return None;
        }
        let hidden = 1u64.checked_shl(fraction_bits)?;
        let magnitude = if biased == 0 { fraction } else { fraction | hidden };
        let bias = i32::try_from(low(exponent_bits.checked_sub(1)?)?).ok()?;
        let exponent = i32::try_from(biased.max(1)).ok()?;
        let exponent = exponent.checked_sub(bias)?.checked_sub(i32::try_from(fraction_bits).ok()?)?;
        let magnitude = i64::try_from(magnitude).ok()?;
        Some(Self::new(if sign == 1 { magnitude.checked_neg()? } else { magnitude }, exponent))
    }

    /// The value as a rational.
    pub fn to_rational(self) -> Rational {
        Rational::from_dyadic(BigInt::from(self.mantissa), i64::from(self.exponent))
    }

    /// Whether the value is 0.
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_types, clippy::as_conversions, clippy::float_arithmetic)]
mod tests {
    use alloc::vec;

    use num_rational::Ratio;

    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    #[test]
    fn signs_by_hand() {
        let signs = |x: &str| (r(x).is_negative(), r(x).is_zero(), r(x).is_positive());
        assert_eq!(signs("-1/2"), (true, false, false));
        assert_eq!(signs("0"), (false, true, false));
        assert_eq!(signs("1e-9"), (false, false, true));
    }

    /// Sums, differences, products, quotients and the order are those of `Ratio`, in lowest terms, with 0, with signs, and with
    /// numbers below and above 128 bits.
    #[test]
    fn arithmetic_is_that_of_fractions() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |size: u32| {
            let mut value = BigInt::zero();
            for _ in 0..size {
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                value = (value << 40) + BigInt::from(bits >> 24);
            }
            if bits & 2 == 0 { -value } else { value }
        };
        let small = |top: i64, bottom: i64| (BigInt::from(top), BigInt::from(bottom));
        let mut numbers = vec![small(0, 1), small(-6, -4), small(3, 4)];
        for size in [1, 1, 2, 3, 4, 5] {
            let (top, bottom): (BigInt, BigInt) = (draw(size), draw(6 - size));
            numbers.push((top.clone(), bottom.clone()));
            // Common factors of every size, among them powers of two.
            let factor = draw(size) << (size * 11);
            numbers.push((top * &factor, bottom * factor));
        }
        #[allow(clippy::disallowed_methods)]
        let known = |(top, bottom): &(BigInt, BigInt)| Ratio::new(top.clone(), bottom.clone());
        let same = |found: &Rational, wanted: &Ratio<BigInt>| {
            assert_eq!((found.numerator(), found.denominator()), (wanted.numer(), wanted.denom()));
        };
        for a in &numbers {
            let (x, p) = (Rational::new(a.0.clone(), a.1.clone()).unwrap(), known(a));
            same(&x, &p);
            for b in &numbers {
                let (y, q) = (Rational::new(b.0.clone(), b.1.clone()).unwrap(), known(b));
                same(&x.add(&y), &(&p + &q));
                same(&x.sub(&y), &(&p - &q));
                same(&x.mul(&y), &(&p * &q));
                match x.div(&y) {
                    Ok(quotient) => same(&quotient, &(&p / &q)),
                    Err(error) => assert!(q.is_zero() && error == NumberError::ZeroDenominator),
                }
                assert_eq!((x.cmp(&y), x == y), (p.cmp(&q), p == q));
            }
        }
        for (mantissa, exponent) in [(12, -1), (12, -2), (12, -3), (-5, -70), (0, -9), (3, 2)] {
            let wanted = (BigInt::from(mantissa) << 80usize, BigInt::one() << (80i64 - exponent));
            same(&Rational::from_dyadic(BigInt::from(mantissa), exponent), &known(&wanted));
        }
    }

    #[test]
    fn decimals_are_read_exactly() {
        assert_eq!(r("0.075"), r("3/40"));
        assert_eq!(r("-1.5e-3"), r("-3/2000"));
        assert_eq!(r("2E2"), r("200"));
        for bad in ["", "-", ".5", "5.", "1/0x", "+1", "1e", "nan", "1_0", "--1", "1/-2", "0x1", " 1"] {
            assert_eq!(Rational::parse(bad), Err(NumberError::Malformed), "{bad}");
        }
        assert_eq!(Rational::parse("1/0"), Err(NumberError::ZeroDenominator));
        assert_eq!(Rational::parse("1e5000"), Err(NumberError::TooLong));
        assert_eq!(Rational::parse(&"9".repeat(5000)), Err(NumberError::TooLong));
    }

    #[test]
    fn stored_floats_are_read_exactly() {
        for x in [0.0f64, 1.0, -0.1, 1e-310, f64::MAX, f64::MIN_POSITIVE, 3.5] {
            let d = Dyadic::from_ieee(x.to_bits(), 52, 11).unwrap();
            let back = if d.exponent < -1022 {
                (d.mantissa as f64) * 2f64.powi(d.exponent + 200) * 2f64.powi(-200)
            } else {
                (d.mantissa as f64) * 2f64.powi(d.exponent)
            };
            assert_eq!(back, x);
        }
        assert_eq!(Dyadic::from_ieee(f64::NAN.to_bits(), 52, 11), None);
        assert_eq!(Dyadic::from_ieee(u64::from(f32::INFINITY.to_bits()), 23, 8), None);
        assert_eq!(Dyadic::from_ieee(0x3C00, 10, 5), Some(Dyadic::new(1, 0)));
        assert_eq!(Dyadic::from_ieee(0xBF80, 7, 8), Some(Dyadic::new(-1, 0)));
    }
}
