//! Certified bounds on total variation: mean, median and largest over visited states and seeds. Untrusted; the numbers
//! were proved by the checker, and what is printed is rounded upwards. `spec/sweep.md#bounds`.

use num_bigint::BigInt;
use num_integer::Integer;
use secateur_checker::number::Rational;

use super::{Cell, Table, TableError, markdown_table};
use crate::sweep::gather::{Grid, Group};

/// Digits after the point.
const DIGITS: u32 = 4;

/// Upper bounds of one family under one mask, decimals rounded up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundSummary {
    /// Number of seeds.
    pub seeds: usize,
    /// Mean over states and seeds.
    pub mean: String,
    /// Median: half of the values are at most this.
    pub median: String,
    /// Largest.
    pub max: String,
}

/// The decimal with `digits` digits after the point that is not above the value, which is not negative.
fn round_down(value: &Rational, digits: u32) -> String {
    decimal((value.numerator() * scale(digits)).div_floor(value.denominator()), digits)
}

/// A family's bounds under every mask of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyBounds {
    /// Family.
    pub family: String,
    /// One entry a mask; `None` where the family has no bound.
    pub masks: Vec<Option<BoundSummary>>,
}

/// The decimal with `digits` digits after the point that is not below the value.
pub(super) fn round_up(value: &Rational, digits: u32) -> String {
    decimal((value.numerator() * scale(digits)).div_ceil(value.denominator()), digits)
}

fn scale(digits: u32) -> BigInt {
    BigInt::from(10u8).pow(digits)
}

fn decimal(units: BigInt, digits: u32) -> String {
    let (whole, rest) = units.div_mod_floor(&scale(digits));
    format!("{whole}.{rest:0>width$}", width = digits as usize)
}

fn parse(text: &str) -> Result<Rational, TableError> {
    Rational::parse(text).map_err(|_| TableError::Bound(text.to_owned()))
}

fn summary(values: Vec<Rational>, seeds: usize, round: fn(&Rational, u32) -> String) -> Option<BoundSummary> {
    let mut values = values;
    values.sort();
    let count = BigInt::from(values.len());
    let total = values.iter().fold(Rational::zero(), |sum, value| sum.add(value));
    let mean = total.div(&Rational::from_integer(count)).ok()?;
    // The upper of the two middle ones of an even number.
    let median = &values[values.len() / 2];
    let max = values.last()?;
    let text = |value: &Rational| round(value, DIGITS);
    Some(BoundSummary { seeds, mean: text(&mean), median: text(median), max: text(max) })
}

/// Bounds of every family of a group. A policy with a bound for all states counts it once a seed.
///
/// # Errors
/// [`TableError::Bound`].
pub fn family_bounds(group: &Group) -> Result<Vec<FamilyBounds>, TableError> {
    let mut names: Vec<String> = Vec::new();
    for claim in group.bounds.values().flat_map(|found| &found.total_variation) {
        if !names.contains(&claim.family) {
            names.push(claim.family.clone());
        }
    }
    let mut found = Vec::new();
    for family in names {
        let mut masks = Vec::new();
        for mask in 0..group.masks.len() {
            let of = |found: &crate::sweep::job::CertifiedBounds| -> Vec<String> {
                let claims = found.total_variation.iter().filter(|c| c.family == family && c.mask == mask);
                claims.flat_map(|claim| claim.values.clone()).collect()
            };
            let by_seed: Vec<Vec<String>> = group.bounds.values().map(of).filter(|v| !v.is_empty()).collect();
            let values: Result<Vec<Rational>, TableError> =
                by_seed.iter().flatten().map(|text| parse(text)).collect();
            masks.push(summary(values?, by_seed.len(), round_up));
        }
        found.push(FamilyBounds { family, masks });
    }
    Ok(found)
}

/// Name of what checked points of the ball reach, beside the families.
const REACHED: &str = "reached by a checked point";

/// What checked points reach under every mask of a group: the true largest total variations are at least that.
///
/// # Errors
/// [`TableError::Bound`].
pub fn reached_bounds(group: &Group) -> Result<FamilyBounds, TableError> {
    let mut masks = Vec::new();
    for mask in 0..group.masks.len() {
        let by_seed: Vec<&Vec<String>> =
            group.bounds.values().filter_map(|found| found.reached.get(mask)).collect();
        let values: Result<Vec<Rational>, TableError> =
            by_seed.iter().flat_map(|values| values.iter()).map(|text| parse(text)).collect();
        masks.push(summary(values?, by_seed.len(), round_down));
    }
    Ok(FamilyBounds { family: REACHED.to_owned(), masks })
}

pub(super) fn table(grid: &Grid) -> Result<Table, TableError> {
    let mut rows = Vec::new();
    let mut markdown = "# Certified bounds on total variation\n\nUpper bounds on the total variation between the action distribution at a state and at any point of the l_inf ball around it \
        (normalised units), for actions drawn from the policy; `pruned-deviation` bounds that between the pruned and the dense policy at the same state. Over \
        the states that the dense policy of each seed visited; `sensitivity` and the norms hold everywhere. Every number was recomputed by the checker and upper bounds are rounded up. \
        A bound that falls does not say that the policy became more robust. `reached by a checked point`: from below, rounded down: the true largest total variation is at least that.\n"
        .to_owned();
    for group in &grid.groups {
        let states = group.bounds.values().map(|found| found.states).max().unwrap_or(0);
        let mut people = Vec::new();
        for family in family_bounds(group)?.into_iter().chain([reached_bounds(group)?]) {
            for (sparsity, bound) in grid.sparsities.iter().zip(&family.masks) {
                let Some(bound) = bound else { continue };
                let texts = [&bound.mean, &bound.median, &bound.max];
                let mut row: Vec<Cell> =
                    [&group.environment, &group.variant, sparsity, &group.epsilon, &family.family]
                        .map(|t| Cell::Text(t.clone()))
                        .to_vec();
                row.push(Cell::Count(bound.seeds));
                row.extend(texts.iter().map(|text| Cell::Decimal((*text).clone())));
                rows.push(row);
                let mut line = vec![family.family.clone(), sparsity.clone()];
                line.extend(texts.iter().map(|text| (*text).clone()));
                people.push(line);
            }
        }
        let columns = ["family", "sparsity", "mean", "median", "max"].map(str::to_owned);
        markdown.push_str(&format!(
            "\n## {}, {}, epsilon {}\n\n{} seeds, {states} states each.\n\n{}",
            group.environment,
            group.variant,
            group.epsilon,
            group.bounds.len(),
            markdown_table(&columns, &people)
        ));
    }
    let columns =
        vec!["environment", "variant", "sparsity", "epsilon", "family", "seeds", "mean", "median", "max"];
    Ok(Table { name: "certified-bounds", columns, rows, markdown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).expect("a number")
    }

    #[test]
    fn nothing_is_printed_below_what_was_proved() {
        assert_eq!(round_up(&r("1/3"), 4), "0.3334");
        assert_eq!(round_up(&r("0.25"), 4), "0.2500");
        assert_eq!(round_up(&r("0.00001"), 4), "0.0001");
        assert_eq!(round_up(&r("12.99999"), 2), "13.00");
    }

    /// 0.1, 0.2, 0.6 and 0.4: mean 0.325, the upper middle one 0.4.
    #[test]
    fn summaries_by_hand() {
        let values = ["0.1", "0.2", "0.6", "0.4"].map(r).to_vec();
        let found = summary(values, 2, round_up).expect("values");
        assert_eq!([found.mean.as_str(), &found.median, &found.max], ["0.3250", "0.4000", "0.6000"]);
        assert_eq!(summary(Vec::new(), 0, round_up), None);
    }
}
