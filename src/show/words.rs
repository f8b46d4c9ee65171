//! Numbers, sentences and tables as they are printed.

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use secateur_checker::number::{Rational, Rounding, claim_decimal};

/// Six significant digits of a decimal, rounded in the direction given.
pub fn short(value: &Rational, rounding: Rounding) -> String {
    let text = claim_decimal(value, rounding);
    let (mantissa, exponent) = text.split_once('e').map_or((text.as_str(), None), |(m, e)| (m, Some(e)));
    let Ok(number) = mantissa.parse::<f64>() else { return text };
    // Shown only; the certificate holds the claim itself.
    let digits = if number.abs() >= 1000.0 { 1 } else { 6 };
    match exponent {
        Some(e) => format!("{number:.3}e{e}"),
        None => format!("{number:.digits$}"),
    }
}

/// A sentence without control characters.
pub fn plain(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(2000).collect()
}

/// An empty table in the style of all.
pub fn table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table
}
