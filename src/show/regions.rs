//! The claims about regions as JSON.

use secateur_checker::number::Rational;
use secateur_checker::reader::certificate::Certificate;
use serde_json::{Value, json};

/// The claims about regions, for programs; for people the checker's lines say them.
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
