//! Claims as decimals of twelve digits, moved by one unit in the last digit.

/// `text` with `units` added in the twelfth significant digit (in the last digit of a shorter zero-free spelling, the
/// digits that were left out count as zeros).
pub fn nudged(text: &str, units: i64) -> String {
    let (sign, magnitude) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (mantissa, exponent) = magnitude.split_once('e').unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut exponent: i64 = exponent.parse().expect("an exponent");
    exponent -= fraction.len() as i64;
    let mut digits: i64 = format!("{whole}{fraction}").parse().expect("digits");
    while digits != 0 && digits < 100_000_000_000 {
        digits *= 10;
        exponent -= 1;
    }
    spelled(sign * digits + units, exponent)
}

/// `digits * 10^exponent` in the canonical spelling.
fn spelled(digits: i64, exponent: i64) -> String {
    let text = digits.unsigned_abs().to_string();
    let power = exponent + text.len() as i64 - 1;
    let sign = if digits < 0 { "-" } else { "" };
    let (first, rest) = text.trim_end_matches('0').split_at(usize::from(digits != 0));
    let point = if rest.is_empty() { "" } else { "." };
    match (digits, power) {
        (0, _) => "0".to_owned(),
        (_, 0) => format!("{sign}{first}{point}{rest}"),
        _ => format!("{sign}{first}{point}{rest}e{power}"),
    }
}

#[test]
fn one_unit_of_twelve_digits() {
    assert_eq!(nudged("0.333333333334", -1), "3.33333333333e-1");
    assert_eq!(nudged("-1.5e-3", 1), "-1.49999999999e-3");
    assert_eq!(nudged("0", -1), "-1");
}
