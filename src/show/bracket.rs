//! The bracket of the true quantity per mask, and as JSON the steps that a certificate says hurt.
//!
//! Lower ends come from `counterexample`, upper ends from the least claim of the families; both are rounded outward.

use std::collections::BTreeMap;

use comfy_table::Table;
use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::table::Quantity;
use serde_json::{Value, json};

use super::words::{short, table};

/// Of the grid on which means are taken.
const GRID_BITS: u32 = 96;

/// The values stated of an output, or of the policy.
type OfOutput<'a> = (Option<usize>, &'a [String]);

/// The claims about one quantity by mask and output, families that bound an adversary only; then those from below.
struct Index<'a> {
    above: BTreeMap<(usize, Option<usize>), Vec<&'a [String]>>,
    below: BTreeMap<usize, Vec<OfOutput<'a>>>,
}

impl<'a> Index<'a> {
    fn new(certificate: &'a Certificate, quantity: Quantity) -> Self {
        let mut index = Self { above: BTreeMap::new(), below: BTreeMap::new() };
        for claim in certificate.claims.iter().filter(|c| c.quantity == quantity.name()) {
            if Family::parse(&claim.family).is_some_and(Family::bounds_adversary) {
                index.above.entry((claim.mask, claim.output)).or_default().push(&claim.values);
            }
        }
        for claim in certificate.counterexample.iter().filter(|c| c.quantity == quantity.name()) {
            index.below.entry(claim.mask).or_default().push((claim.output, &claim.at_least));
        }
        index
    }
}

fn numbers(values: &[String]) -> Option<Vec<Rational>> {
    values.iter().map(|v| Rational::parse(v).ok()).collect()
}

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

/// The largest entry and the mean, the latter of entries rounded outward to a grid: sums of long fractions grow without end.
fn summarise(values: &[Rational], rounding: Rounding) -> Option<[Rational; 2]> {
    let most = values.iter().max()?.clone();
    let cut = |v: &Rational| match rounding {
        Rounding::Up => v.ceil_to_grid(GRID_BITS),
        Rounding::Down => v.floor_to_grid(GRID_BITS),
    };
    let sum = values.iter().fold(Rational::zero(), |sum, v| sum.add(&cut(v)));
    let count = Rational::from_integer(values.len().into());
    Some([most, sum.div(&count).ok()?])
}

/// By state, the least claim over the families for the output that can move most; `None` where an output has no claim.
fn upper_ends(index: &Index<'_>, mask: usize, states: usize) -> Option<Vec<Rational>> {
    let mut rows = Vec::new();
    for (output, _) in index.below.get(&mask)? {
        let mut least: Option<Vec<Rational>> = None;
        for values in index.above.get(&(mask, *output))? {
            let mut values = numbers(values)?;
            if let [one] = values.as_slice() {
                values = vec![one.clone(); states];
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

fn bracket(index: &Index<'_>, mask: usize) -> Option<Bracket> {
    let rows: Option<Vec<Vec<Rational>>> = index.below.get(&mask)?.iter().map(|(_, v)| numbers(v)).collect();
    let lower = largest(rows?);
    let at_least = summarise(&lower, Rounding::Down)?;
    // As many states as numbers stand there, not as many as the certificate says.
    let upper = upper_ends(index, mask, lower.len());
    let at_most = upper.and_then(|upper| summarise(&upper, Rounding::Up));
    Some(Bracket { at_least, at_most })
}

fn words(quantity: Quantity) -> &'static str {
    if quantity == Quantity::TotalVariation { "total variation" } else { "deviation of an output" }
}

/// The table of brackets; empty without points.
pub fn bracket_text(certificate: &Certificate) -> String {
    if certificate.counterexample.is_empty() {
        return String::new();
    }
    let quantity = quantity(certificate);
    let mut rows = table();
    let name = words(quantity);
    rows.set_header(["mask".to_owned(), format!("true largest {name}"), format!("true mean {name}")]);
    let index = Index::new(certificate, quantity);
    for mask in 0..certificate.masks.len() {
        add_row(&mut rows, mask, bracket(&index, mask));
    }
    format!("{rows}\n")
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

/// The same for programs: `null` without points.
pub fn bracket_json(certificate: &Certificate) -> Value {
    if certificate.counterexample.is_empty() {
        return Value::Null;
    }
    let quantity = quantity(certificate);
    let index = Index::new(certificate, quantity);
    let masks: Vec<Value> = (0..certificate.masks.len())
        .map(|mask| {
            let Some(found) = bracket(&index, mask) else { return Value::Null };
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
