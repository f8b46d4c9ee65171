//! Numbers, sentences and tables as they are printed.

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use secateur_checker::number::{Dyadic, Rational, Rounding};
use secateur_checker::reader::escaped::{Escaped, EscapedSentence};

use crate::float::rational_to_float;

/// A decimal of six places (below 1/1000 of twelve digits), rounded in the direction given.
pub fn short(value: &Rational, rounding: Rounding) -> String {
    secateur_checker::number::outward(value, rounding)
}

/// The binary64 next to the number in the direction given; JSON numbers are read as such.
pub fn number(value: &Rational, rounding: Rounding) -> f64 {
    let nearest = rational_to_float(value);
    let exact = Dyadic::from_ieee(nearest.to_bits(), 52, 11).map(Dyadic::to_rational);
    match (exact, rounding) {
        (Some(exact), Rounding::Up) if exact < *value => nearest.next_up(),
        (Some(exact), Rounding::Down) if exact > *value => nearest.next_down(),
        _ => nearest,
    }
}

/// A word of a certificate: as it is where a word of the format could stand, else quoted and escaped.
pub fn plain(word: &str) -> String {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '.' | '_');
    if !word.is_empty() && word.len() <= 60 && word.chars().all(known) {
        word.to_owned()
    } else {
        Escaped(word).to_string()
    }
}

/// A sentence of a stranger: quoted, escaped, cut with a mark.
pub fn quoted(line: &str) -> String {
    EscapedSentence(line).to_string()
}

/// Columns that a table may take: those of the terminal as `COLUMNS` says, 60 to 200.
pub fn width() -> u16 {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<u16>().ok());
    columns.unwrap_or(120).clamp(60, 200)
}

/// An empty table in the style of all, no wider than the terminal.
pub fn table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width());
    table
}
