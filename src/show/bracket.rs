//! The bracket of the true quantity per mask, and the steps that a certificate says hurt.
//!
//! Lower ends come from `counterexample`, upper ends from the least claim of the families; both are rounded outward.

use comfy_table::Table;
use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::counterexample::BracketVerdict;
use secateur_checker::table::Quantity;
use serde_json::{Value, json};

use super::words::{plain, short, table};

/// Lower and upper end of the largest value over the listed states, and of the mean.
struct Bracket {
    at_least: [Rational; 2],
    at_most: Option<[Rational; 2]>,
}

/// Total variation where the certificate speaks of it from below, else the largest output's deviation.
fn quantity(certificate: &Certificate) -> Quantity {
    let named = |q: Quantity| certificate.counterexample.iter().any(|c| c.quantity == q.name());
    if named(Quantity::TotalVariation) { Quantity::TotalVariation } else { Quantity::ActionDeviation }
}

fn largest(rows: Vec<Vec<Rational>>) -> Vec<Rational> {
    let mut rows = rows.into_iter();
    let first = rows.next().unwrap_or_default();
    rows.fold(first, |most, row| most.into_iter().zip(row).map(|(a, b)| a.max(b)).collect())
}

/// The largest entry and the mean.
fn summarise(values: &[Rational]) -> Option<[Rational; 2]> {
    let most = values.iter().max()?.clone();
    let sum = values.iter().fold(Rational::zero(), |sum, v| sum.add(v));
    let count = Rational::from_integer(values.len().into());
    Some([most, sum.div(&count).ok()?])
}

/// By state, the least claim over the families for the output that can move most; `None` where an output has no claim.
fn upper_ends(certificate: &Certificate, quantity: Quantity, mask: usize) -> Option<Vec<Rational>> {
    let outputs: Vec<Option<usize>> = certificate
        .counterexample
        .iter()
        .filter(|c| c.mask == mask && c.quantity == quantity.name())
        .map(|c| c.output)
        .collect();
    let mut rows = Vec::new();
    for output in outputs {
        let mut least: Option<Vec<Rational>> = None;
        for claim in &certificate.claims {
            let counts = claim.mask == mask && claim.quantity == quantity.name() && claim.output == output;
            if !counts || !Family::parse(&claim.family).is_some_and(Family::bounds_adversary) {
                continue;
            }
            let mut values: Vec<Rational> =
                claim.values.iter().map(|v| Rational::parse(v).ok()).collect::<Option<_>>()?;
            if let [one] = values.as_slice() {
                values = vec![one.clone(); certificate.states];
            }
            least = Some(match least {
                Some(least) => least.into_iter().zip(values).map(|(a, b)| a.min(b)).collect(),
                None => values,
            });
        }
        rows.push(least?);
    }
    Some(largest(rows))
}

fn bracket(certificate: &Certificate, quantity: Quantity, mask: usize) -> Option<Bracket> {
    let claims = certificate.counterexample.iter();
    let lower: Option<Vec<Vec<Rational>>> = claims
        .filter(|c| c.mask == mask && c.quantity == quantity.name())
        .map(|c| c.at_least.iter().map(|v| Rational::parse(v).ok()).collect())
        .collect();
    let at_least = summarise(&largest(lower?))?;
    let at_most = upper_ends(certificate, quantity, mask).and_then(|upper| summarise(&upper));
    Some(Bracket { at_least, at_most })
}

fn words(quantity: Quantity) -> &'static str {
    if quantity == Quantity::TotalVariation { "total variation" } else { "deviation of an output" }
}

/// The table of brackets and one line per step that is said to have hurt; empty without points.
pub fn bracket_text(certificate: &Certificate) -> String {
    if certificate.counterexample.is_empty() {
        return String::new();
    }
    let quantity = quantity(certificate);
    let mut rows = table();
    let name = words(quantity);
    rows.set_header(["mask".to_owned(), format!("true largest {name}"), format!("true mean {name}")]);
    for mask in 0..certificate.masks.len() {
        add_row(&mut rows, mask, bracket(certificate, quantity, mask));
    }
    let mut text = format!("{rows}\n");
    for verdict in certificate.brackets.iter().filter(|v| v.verdict == "hurt") {
        text.push_str(&hurt_line(verdict));
    }
    text
}

fn add_row(rows: &mut Table, mask: usize, found: Option<Bracket>) {
    let Some(found) = found else { return };
    let cell = |end: usize| {
        let lower = short(&found.at_least[end], Rounding::Down);
        match &found.at_most {
            Some(upper) => format!("{lower} to {}", short(&upper[end], Rounding::Up)),
            None => format!("at least {lower}"),
        }
    };
    rows.add_row([mask.to_string(), cell(0), cell(1)]);
}

fn hurt_line(verdict: &BracketVerdict) -> String {
    let mut place = String::new();
    if let Some(at) = &verdict.at {
        if let Some(state) = at.state {
            place.push_str(&format!(" at state {state}"));
        }
        if let Some(index) = at.index {
            place.push_str(&format!(" output {index}"));
        }
    }
    let end =
        |value: &Option<Rational>, rounding| value.as_ref().map(|v| short(v, rounding)).unwrap_or_default();
    format!(
        "hurt     pruning mask {} to mask {} raised the true {} at {} of {} places, most{place}: at most {} before, at least {} after (witness: counterexample.{})\n",
        verdict.step.saturating_sub(1),
        verdict.step,
        plain(&verdict.of),
        verdict.hurt,
        verdict.places,
        end(&verdict.at_most_before, Rounding::Up),
        end(&verdict.at_least_after, Rounding::Down),
        verdict.step
    )
}

/// The same for programs: `null` without points.
pub fn bracket_json(certificate: &Certificate) -> Value {
    if certificate.counterexample.is_empty() {
        return Value::Null;
    }
    let quantity = quantity(certificate);
    let masks: Vec<Value> = (0..certificate.masks.len())
        .map(|mask| {
            let Some(found) = bracket(certificate, quantity, mask) else { return Value::Null };
            let down = |v: &Rational| claim_decimal(v, Rounding::Down);
            let up = |end: usize| found.at_most.as_ref().map(|m| claim_decimal(&m[end], Rounding::Up));
            json!({"largest": {"atLeast": down(&found.at_least[0]), "atMost": up(0)},
                   "mean": {"atLeast": down(&found.at_least[1]), "atMost": up(1)}})
        })
        .collect();
    let steps: Vec<Value> = certificate
        .brackets
        .iter()
        .map(|v| {
            json!({"of": v.of, "step": v.step, "verdict": v.verdict, "hurt": v.hurt, "places": v.places,
                   "state": v.at.as_ref().and_then(|a| a.state), "index": v.at.as_ref().and_then(|a| a.index),
                   "atMostBefore": v.at_most_before.as_ref().map(ToString::to_string),
                   "atLeastAfter": v.at_least_after.as_ref().map(ToString::to_string)})
        })
        .collect();
    json!({"quantity": quantity.name(), "masks": masks, "steps": steps})
}
