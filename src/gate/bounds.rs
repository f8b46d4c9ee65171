//! The one number of a quantity under a mask that a rule compares: the worst over states and outputs of the claims of one
//! family, or of the best claim at each. Exact. Untrusted; the claims were checked. `spec/gate.md#values`.

use std::cmp::Ordering;

use rayon::prelude::*;
use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::certificate::{Certificate, Claim};
use secateur_checker::table::Quantity;

use super::config::Choice;

/// A number and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extreme {
    /// The number.
    pub value: Rational,
    /// State; `None` where one number holds for all states.
    pub state: Option<usize>,
    /// Output, for quantities that have one number for each.
    pub output: Option<usize>,
}

/// Whether a family's claims count as bounds on the adversary over the reals.
pub fn counts(family: Family) -> bool {
    family.bounds_adversary() && !family.is_float32()
}

fn family_of(claim: &Claim) -> Option<Family> {
    Family::parse(&claim.family)
}

/// The families that claim `quantity` under `mask` for every output, in their order.
pub fn families(certificate: &Certificate, quantity: Quantity, mask: usize, outputs: usize) -> Vec<Family> {
    let mut found: Vec<Family> = Vec::new();
    for claim in claims(certificate, quantity, mask) {
        if let Some(family) = family_of(claim)
            && !found.contains(&family)
        {
            found.push(family);
        }
    }
    found.retain(|family| {
        slots(quantity, outputs).all(|slot| of(certificate, quantity, mask, *family, slot).is_some())
    });
    found.sort();
    found
}

fn claims(certificate: &Certificate, quantity: Quantity, mask: usize) -> impl Iterator<Item = &Claim> {
    certificate.claims.iter().filter(move |c| c.mask == mask && c.quantity == quantity.name())
}

/// The outputs that a quantity has numbers for.
fn slots(quantity: Quantity, outputs: usize) -> impl Iterator<Item = Option<usize>> {
    let each = quantity == Quantity::ActionDeviation;
    let count = if each { outputs } else { 1 };
    (0..count).map(move |output| each.then_some(output))
}

fn of(
    certificate: &Certificate,
    quantity: Quantity,
    mask: usize,
    family: Family,
    output: Option<usize>,
) -> Option<&Claim> {
    claims(certificate, quantity, mask).find(|c| c.output == output && family_of(c) == Some(family))
}

/// Whether `a` is better than `b`: smaller, or larger for margins.
fn better(quantity: Quantity, a: &Rational, b: &Rational) -> bool {
    a.cmp(b) == if quantity.rounding() == Rounding::Up { Ordering::Less } else { Ordering::Greater }
}

/// The worst over states and outputs of what the families say best at each; `None` unless every output has a claim of one
/// of them.
pub fn worst(
    certificate: &Certificate,
    quantity: Quantity,
    mask: usize,
    outputs: usize,
    families: &[Family],
) -> Option<Extreme> {
    let mut found: Option<Extreme> = None;
    for output in slots(quantity, outputs) {
        let chosen = families.iter().filter_map(|f| of(certificate, quantity, mask, *f, output));
        let listed: Vec<&Claim> = chosen.collect();
        let local = |claim: &&Claim| family_of(claim).is_some_and(Family::is_local);
        let everywhere =
            listed.iter().filter(|c| !local(c)).filter_map(|c| Rational::parse(c.values.first()?).ok());
        let everywhere = everywhere.reduce(|a, b| if better(quantity, &a, &b) { a } else { b });
        let rows: Vec<&Claim> = listed.iter().filter(|c| local(c)).copied().collect();
        let best_at = |state: usize| {
            let here = rows.iter().filter_map(|claim| Rational::parse(claim.values.get(state)?).ok());
            here.chain(everywhere.clone()).reduce(|a, b| if better(quantity, &a, &b) { a } else { b })
        };
        let one = if rows.is_empty() {
            Extreme { value: everywhere.clone()?, state: None, output }
        } else {
            let states = rows.iter().map(|c| c.values.len()).max().unwrap_or(0);
            let values: Option<Vec<Rational>> = (0..states).into_par_iter().map(best_at).collect();
            worst_of(quantity, values?, output)?
        };
        if found.as_ref().is_none_or(|known| better(quantity, &known.value, &one.value)) {
            found = Some(one);
        }
    }
    found
}

fn worst_of(quantity: Quantity, values: Vec<Rational>, output: Option<usize>) -> Option<Extreme> {
    let mut found: Option<Extreme> = None;
    for (state, value) in values.into_iter().enumerate() {
        // The first of equals, so that the place is the same every time.
        if found.as_ref().is_none_or(|known| better(quantity, &known.value, &value)) {
            found = Some(Extreme { value, state: Some(state), output });
        }
    }
    found
}

/// The families of a choice that claim the quantity; empty if it is not claimed for every output.
pub fn chosen(
    certificate: &Certificate,
    quantity: Quantity,
    mask: usize,
    outputs: usize,
    choice: Choice,
) -> Vec<Family> {
    let mut listed = families(certificate, quantity, mask, outputs);
    listed.retain(|family| match choice {
        Choice::Best => counts(*family),
        Choice::Family(wanted) => *family == wanted,
    });
    listed
}

/// The largest number that an attack point reaches; `None` where none is claimed.
pub fn attained(certificate: &Certificate, quantity: Quantity, mask: usize) -> Option<Extreme> {
    let listed =
        certificate.counterexample.iter().filter(|c| c.mask == mask && c.quantity == quantity.name());
    let mut found: Option<Extreme> = None;
    for claim in listed {
        for (state, text) in claim.at_least.iter().enumerate() {
            let Ok(value) = Rational::parse(text) else { continue };
            if found.as_ref().is_none_or(|known| value > known.value) {
                found = Some(Extreme { value, state: Some(state), output: claim.output });
            }
        }
    }
    found
}
