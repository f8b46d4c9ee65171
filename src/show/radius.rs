//! Radii as JSON, and what the search did not reach, in words.

use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::radii::{curve, spread, steps};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::radius::RadiusClaim;
use secateur_checker::table::Quantity;
use serde_json::{Value, json};

use super::summary::both;
use crate::certify::radius::{RadiusRequest, reached_cap};

/// The radii for programs, if there are any. For people the checker's lines say them.
pub fn radius_json(certificate: &Certificate) -> Option<Value> {
    if certificate.radius.is_empty() {
        return None;
    }
    let steps = steps(&certificate.radius).into_iter().map(|step| {
        json!({"quantity": step.quantity, "limit": limit(step.limit.as_ref()), "step": step.step,
               "larger": step.larger, "smaller": step.smaller, "undecided": step.undecided})
    });
    Some(json!({"claims": certificate.radius.iter().map(claim_json).collect::<Vec<_>>(),
                "steps": steps.collect::<Vec<_>>()}))
}

fn limit(limit: Option<&Rational>) -> Value {
    limit.map_or(Value::Null, |limit| both(limit, Rounding::Down))
}

fn claim_json(claim: &RadiusClaim) -> Value {
    let number = |multiple: &Rational, rounding| claim_decimal(multiple, rounding);
    let proved: Vec<String> = claim.proved.iter().map(|m| number(m, Rounding::Down)).collect();
    let broken: Vec<Option<String>> =
        claim.broken.iter().map(|m| m.as_ref().map(|m| number(m, Rounding::Up))).collect();
    let words = Quantity::parse(&claim.quantity).map(Quantity::words);
    let curve = curve(claim);
    let curve: Vec<Value> = curve
        .into_iter()
        .map(|(states, multiple)| json!({"states": states, "multiple": both(multiple, Rounding::Down)}))
        .collect();
    let together = spread(claim).map(|spread| {
        json!({"least": both(&spread.least, Rounding::Down), "median": both(&spread.median, Rounding::Down),
               "mean": both(&spread.mean, Rounding::Down), "brokenStates": spread.broken,
               "brokenMedian": spread.broken_median.as_ref().map(|m| both(m, Rounding::Up))})
    });
    json!({"family": claim.family, "mask": claim.mask, "quantity": claim.quantity, "words": words,
           "limit": limit(claim.limit.as_ref()), "proved": proved, "broken": broken, "curve": curve,
           "together": together})
}

/// At how many states the search stopped because the request said so, a line an entry; empty if it stopped at none.
pub fn capped_text(certificate: &Certificate, request: &RadiusRequest) -> String {
    let mut text = String::new();
    for claim in &certificate.radius {
        let states = reached_cap(claim, request);
        if states > 0 {
            let (of, cap) = (claim.proved.len(), secateur_checker::number::exactly(&request.cap));
            text.push_str(&format!(
                "mask {}: at {states} of {of} states the search for the radius stopped at {cap} x (--radius-cap); there it is at least that\n",
                claim.mask
            ));
        }
    }
    text
}
