//! How numbers are spelled in certificates and answers; the numbers are the kernel's. Trusted. `spec/certificate.md#claims`.

pub use secateur_kernel::number::*;

use num_bigint::BigInt;

/// Significant digits of a published claim.
const CLAIM_DIGITS: usize = 12;

/// About how many digits `text` has as a number: its characters, or those that its exponent stands for if they are more.
pub fn cost(text: &str) -> usize {
    let exponent = text.split_once(['e', 'E']).map_or("", |(_, exponent)| exponent);
    let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    // What is no exponent, or beyond the cap of one number, is refused before anything is computed.
    let stands_for =
        digits.parse().ok().filter(|&d: &u32| d <= MAX_EXPONENT).and_then(|d| usize::try_from(d).ok());
    text.len().max(stands_for.unwrap_or(0))
}

/// Which way a published decimal is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Towards minus infinity: for lower bounds.
    Down,
    /// Towards plus infinity: for upper bounds.
    Up,
}

/// The decimal with `CLAIM_DIGITS` significant digits next to `value` in the given direction, in the canonical
/// spelling of certificates: `0`, `-12.5`, `1.25e-7`; no trailing zeros, an exponent only below `1e-6` or from `1e15`.
pub fn claim_decimal(value: &Rational, rounding: Rounding) -> String {
    if value.is_zero() {
        return "0".to_owned();
    }
    let (magnitude, sign) = (value.abs(), if value.is_negative() { "-" } else { "" });
    let power = decimal_exponent(&magnitude);
    let places = i64::try_from(CLAIM_DIGITS).unwrap_or(i64::MAX).saturating_sub(1).saturating_sub(power);
    let scaled = magnitude.mul(&power_of_ten(places));
    // Rounding a negative number up shortens its magnitude.
    let grow = (rounding == Rounding::Up) != value.is_negative();
    let digits = if grow { scaled.ceil_scaled(0) } else { scaled.floor_scaled(0) }.to_string();
    // A digit more is that of the next power of ten, which it was rounded up to.
    let power = if digits.len() > CLAIM_DIGITS { power.saturating_add(1) } else { power };
    format!("{sign}{}", spelled(digits.trim_end_matches('0'), power))
}

/// A decimal that says no more than the number: rounded outward to six places, or to twelve digits below 1/1000.
pub fn outward(value: &Rational, rounding: Rounding) -> String {
    let whole = |number: u32| Rational::from_integer(number.into());
    if value.abs().mul(&whole(1000)) < Rational::one() {
        return claim_decimal(value, rounding);
    }
    let scaled = value.mul(&whole(1_000_000));
    let cut = if rounding == Rounding::Up { scaled.ceil_scaled(0) } else { scaled.floor_scaled(0) };
    let cut = Rational::new(cut, 1_000_000.into()).unwrap_or_else(|_| value.clone());
    claim_decimal(&cut, rounding)
}

/// The number exactly: a decimal if it has one of at most twelve digits, else a fraction; a long one is said to be more
/// than a decimal below it.
pub fn exactly(value: &Rational) -> String {
    let decimal = claim_decimal(value, Rounding::Down);
    if Rational::parse(&decimal).is_ok_and(|read| read == *value) {
        return decimal;
    }
    let fraction = value.to_string();
    if fraction.len() > 60 { format!("a little more than {decimal}") } else { fraction }
}

/// The `e` with `10^e <= magnitude < 10^(e+1)`.
fn decimal_exponent(magnitude: &Rational) -> i64 {
    let length = |n: &BigInt| i64::try_from(n.to_string().len()).unwrap_or(i64::MAX);
    let guess = length(magnitude.numerator()).saturating_sub(length(magnitude.denominator()));
    if *magnitude < power_of_ten(guess) { guess.saturating_sub(1) } else { guess }
}

fn power_of_ten(power: i64) -> Rational {
    let scale = BigInt::from(10u8).pow(u32::try_from(power.unsigned_abs()).unwrap_or(u32::MAX));
    let value = Rational::from_integer(scale);
    if power < 0 { Rational::one().div(&value).unwrap_or(value) } else { value }
}

/// Digits that stand for `d.ddd * 10^power`, the last one not 0.
fn spelled(digits: &str, power: i64) -> String {
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    // The digits up to the point: one before an exponent.
    let plain = (-6..15).contains(&power);
    let whole = if plain { power.saturating_add(1) } else { 1 };
    let exponent = if plain { String::new() } else { format!("e{power}") };
    match usize::try_from(whole).ok().filter(|whole| *whole > 0) {
        None => format!("0.{}{digits}", zeros(whole.saturating_neg())),
        Some(length) => match digits.split_at_checked(length) {
            Some((whole, "")) => format!("{whole}{exponent}"),
            Some((whole, fraction)) => format!("{whole}.{fraction}{exponent}"),
            None => format!("{digits}{}", "0".repeat(length.saturating_sub(digits.len()))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    #[test]
    fn claims_are_rounded_outward() {
        assert_eq!(claim_decimal(&r("1/3"), Rounding::Up), "0.333333333334");
        assert_eq!(claim_decimal(&r("1/3"), Rounding::Down), "0.333333333333");
        assert_eq!(claim_decimal(&r("-1/3"), Rounding::Up), "-0.333333333333");
        assert_eq!(claim_decimal(&r("999999999999.5"), Rounding::Up), "1000000000000");
        assert_eq!(claim_decimal(&r("1/3000000000"), Rounding::Up), "3.33333333334e-10");
        assert_eq!(claim_decimal(&r("3/40"), Rounding::Up), "0.075");
        assert_eq!(claim_decimal(&r("12e20"), Rounding::Down), "1.2e21");
        assert_eq!(claim_decimal(&r("1e-6"), Rounding::Down), "0.000001");
        for (text, up, down) in [
            ("0", "0", "0"),
            ("-25/2", "-12.5", "-12.5"),
            ("1.25e-7", "1.25e-7", "1.25e-7"),
            ("9.999999999995e-7", "0.000001", "9.99999999999e-7"),
            ("123456789012345", "123456789013000", "123456789012000"),
            ("999999999999999.5", "1e15", "999999999999000"),
            ("-1234567890123456789", "-1.23456789012e18", "-1.23456789013e18"),
            ("7e-9", "7e-9", "7e-9"),
        ] {
            let spelled = [Rounding::Up, Rounding::Down].map(|rounding| claim_decimal(&r(text), rounding));
            assert_eq!(spelled, [up, down], "{text}");
        }
        for text in ["1/3", "-22/7", "123456789123456789", "5e-31"] {
            let v = r(text);
            assert!(r(&claim_decimal(&v, Rounding::Up)) >= v && r(&claim_decimal(&v, Rounding::Down)) <= v);
        }
    }
}
