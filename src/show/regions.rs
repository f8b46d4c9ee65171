//! The claims about regions, in words and as JSON.

use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::certificate::Certificate;
use serde_json::{Value, json};

use super::words::short;

/// The regions' claims, one line each.
pub fn regions_text(certificate: &Certificate) -> String {
    let mut text = String::new();
    for (index, entry) in certificate.regions.iter().enumerate() {
        for claim in &entry.claims {
            let output = claim.output.map_or_else(String::new, |o| format!(" of output {o}"));
            let (word, rounding) = match claim.quantity.as_str() {
                "same-action-margin" => ("at least", Rounding::Down),
                _ => ("at most", Rounding::Up),
            };
            let value = Rational::parse(&claim.value).map_or_else(|_| String::new(), |v| short(&v, rounding));
            text.push_str(&format!(
                "region {index} (mask {}): {}{output} is {word} {value} at every state of {}",
                entry.mask,
                plain(&claim.quantity),
                box_words(&entry.lower, &entry.upper)
            ));
            for share in &claim.shares {
                let percent = share.fraction.mul(&Rational::from_integer(100.into()));
                let side = if word == "at most" { "at most" } else { "above" };
                text.push_str(&format!(
                    "; {side} {} on {} % of its volume",
                    short(&share.threshold, rounding),
                    short(&percent, Rounding::Down)
                ));
            }
            text.push('\n');
        }
    }
    text
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).collect()
}

/// Rounded inward: what is printed lies in the box.
fn box_words(lower: &[Rational], upper: &[Rational]) -> String {
    let sides = lower.iter().zip(upper);
    let sides = sides.map(|(l, u)| format!("[{}, {}]", short(l, Rounding::Up), short(u, Rounding::Down)));
    sides.collect::<Vec<_>>().join(" x ")
}

/// The same for programs.
pub fn regions_json(certificate: &Certificate) -> Value {
    let exact = |numbers: &[Rational]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>();
    let entries = certificate.regions.iter().map(|entry| {
        let claims = entry.claims.iter().map(|claim| {
            let shares = claim
                .shares
                .iter()
                .map(|s| json!({"threshold": s.threshold.to_string(), "fraction": s.fraction.to_string()}));
            json!({"quantity": claim.quantity, "output": claim.output, "value": claim.value,
                   "shares": shares.collect::<Vec<_>>()})
        });
        json!({"lower": exact(&entry.lower), "upper": exact(&entry.upper), "mask": entry.mask,
               "claims": claims.collect::<Vec<_>>()})
    });
    Value::Array(entries.collect())
}
