//! The three terms of every mask: clean, pruning loss, robustness, with certified bounds where rewards are known.
//! Untrusted; arithmetic is exact. `spec/sweep.md#decomposition`, `spec/decomposition.md`.

use num_traits::ToPrimitive;
use secateur_checker::family::Family;
use secateur_checker::number::Rational;
use serde_json::{Value, json};

use super::bounds::round_up;
use super::{Cell, DISCOUNTED, Table, TableError};
use crate::decomposition::{FORMAT, MaskTerms, decompose, emit_table, parse_input};
use crate::sweep::config::SweepConfig;
use crate::sweep::gather::{Grid, Group};
use crate::sweep::job::CertifiedBounds;
use crate::sweep::statistic::{Attacked, common_attacks, mean};

const COLUMNS: [&str; 13] = [
    "environment",
    "variant",
    "sparsity",
    "reference",
    "dense",
    "pruned",
    "attacked",
    "clean term",
    "pruning term",
    "robustness term",
    "pruning bound",
    "robustness bound",
    "robustness bound, all states",
];

/// Least bound on a lost return among families of one sort, averaged over seeds; `None` unless every seed has one.
fn lost(group: &Group, mask: usize, wanted: impl Fn(Family) -> bool) -> Result<Option<Rational>, TableError> {
    let mut total = Rational::zero();
    for found in group.bounds.values() {
        match least(found, mask, &wanted)? {
            Some(value) => total = total.add(&value),
            None => return Ok(None),
        }
    }
    Ok(total.div(&Rational::from_integer(group.bounds.len().into())).ok())
}

fn least(
    found: &CertifiedBounds,
    mask: usize,
    wanted: impl Fn(Family) -> bool,
) -> Result<Option<Rational>, TableError> {
    let mut least: Option<Rational> = None;
    for claim in &found.total_variation {
        let (Some(family), Some(text)) = (Family::parse(&claim.family), &claim.lost_return) else { continue };
        if claim.mask == mask && wanted(family) {
            let value = Rational::parse(text).map_err(|_| TableError::Bound(text.clone()))?;
            least = Some(least.map_or(value.clone(), |least| least.min(value)));
        }
    }
    Ok(least)
}

/// Episodes with seeds of their own: the training seed's position, then the episode's number.
fn episodes(strata: &[Vec<f64>]) -> Value {
    let number = |seed: usize, episode: usize| seed as u64 * 1_000_000 + episode as u64;
    let of = |(seed, values): (usize, &Vec<f64>)| -> Vec<Value> {
        let one = |(episode, value): (usize, &f64)| json!({"seed": number(seed, episode), "return": value.to_string()});
        values.iter().enumerate().map(one).collect()
    };
    Value::Array(strata.iter().enumerate().flat_map(of).collect())
}

fn bound(value: Option<Rational>, discount: &str) -> Value {
    value.map_or(Value::Null, |value| {
        json!({"value": value.to_string(), "kind": "proof", "rule": "regret.sup",
            "returns": {"kind": "discounted", "discount": discount}})
    })
}

/// Every mask of a group as an input of `secateur decompose`; `None` while results are missing.
fn input(
    config: &SweepConfig,
    grid: &Grid,
    group: &Group,
    reference: f64,
) -> Result<Option<Value>, TableError> {
    let kinds = common_attacks(group);
    let mut masks = Vec::new();
    for (mask, results) in group.masks.iter().enumerate() {
        let Some(attacked) = Attacked::new(DISCOUNTED, results, &kinds) else { return Ok(None) };
        let worst = attacked.worst_attacks();
        let runs = results.clean.keys().zip(&worst);
        let strata: Vec<Vec<f64>> = runs
            .map(|(seed, attack)| {
                let run = &results.attacks[&kinds[*attack]][seed];
                run.sampled.iter().map(|score| score.discounted).collect()
            })
            .collect();
        let names: Vec<&str> = worst.iter().map(|attack| kinds[*attack].name()).collect();
        let pruning = lost(group, mask, |family| family == Family::PrunedDeviation)?;
        let robustness = lost(group, mask, Family::bounds_adversary)?;
        let mut bounds = json!({});
        for (name, value) in [("pruning", pruning), ("robustness", robustness)] {
            if value.is_some() {
                bounds[name] = bound(value, &config.discount);
            }
        }
        masks.push(json!({
            "name": format!("sparsity {}", grid.sparsities[mask]),
            "sparsity": grid.sparsities[mask],
            "clean": episodes(&DISCOUNTED.strata(&results.clean)),
            "attacked": {"attack": names.join(", "), "episodes": episodes(&strata)},
            "bounds": bounds,
        }));
    }
    Ok(Some(json!({
        "format": FORMAT,
        "actions": "sampled",
        "returns": {"kind": "discounted", "discount": config.discount},
        "reference": {
            "name": format!("mean of the dense {} policies", config.variants.first().map_or("", |v| v.name.as_str())),
            "value": reference.to_string(),
        },
        "dense": episodes(&DISCOUNTED.strata(&group.masks[0].clean)),
        "masks": masks,
    })))
}

pub(super) fn table(config: &SweepConfig, grid: &Grid) -> Result<Table, TableError> {
    let mut rows = Vec::new();
    let mut markdown = "# Three-term decomposition\n\nMeans over training seeds of discounted returns with sampled actions, under the worst attack of each seed among those run everywhere. Bounds, \
        averaged over seeds, exist where the range of the rewards is known; the least of all families is shown. One that comes from a family of listed states assumes that the clean policy meets no other state, which fails for \
        continuous states: it says what would follow if the states not listed were no worse. The bound on pruning loss applies the checker's rule to the certified `pruned-deviation`.\n"
        .to_owned();
    for group in &grid.groups {
        let first = grid.groups.iter().find(|other| other.environment == group.environment);
        let reference = first.and_then(|first| mean(&DISCOUNTED.strata(&first.masks[0].clean)));
        let Some(reference) = reference else { continue };
        let Some(input) = input(config, grid, group, reference)? else { continue };
        let decomposition = decompose(&parse_input(input.to_string().as_bytes())?);
        for (mask, terms) in decomposition.masks.iter().enumerate() {
            let everywhere = lost(group, mask, |family| family.bounds_adversary() && !family.is_local())?;
            let means = [&decomposition.reference.value, &decomposition.dense_mean];
            rows.push(row(group, &grid.sparsities[mask], means, terms, everywhere));
        }
        markdown.push_str(&format!(
            "\n## {}, {}, epsilon {}\n\n{}",
            group.environment,
            group.variant,
            group.epsilon,
            emit_table(&decomposition, 2)
        ));
    }
    Ok(Table { name: "decomposition", columns: COLUMNS.to_vec(), rows, markdown })
}

fn row(
    group: &Group,
    sparsity: &str,
    [reference, dense]: [&Rational; 2],
    terms: &MaskTerms,
    everywhere: Option<Rational>,
) -> Vec<Cell> {
    let float = |value: &Rational| {
        let part = |n: &num_bigint::BigInt| n.to_f64().unwrap_or(f64::NAN);
        // Exact means of floats have long numerators: scale before dividing, so that both parts stay finite.
        let scaled = value.floor_scaled(40);
        Cell::Number(part(&scaled) / (1u64 << 40) as f64, 3)
    };
    let bound =
        |value: Option<&Rational>| value.map_or(Cell::Empty, |value| Cell::Decimal(round_up(value, 3)));
    let of = |term: &crate::decomposition::Term| bound(term.bound.as_ref().map(|bound| &bound.value));
    let mut row: Vec<Cell> = [group.environment.as_str(), &group.variant, sparsity].map(Cell::from).to_vec();
    row.extend([reference, dense, &terms.pruned_mean, &terms.attacked_mean].map(float));
    row.extend([&terms.clean, &terms.pruning, &terms.robustness].map(|term| float(&term.measured)));
    row.extend([of(&terms.pruning), of(&terms.robustness), bound(everywhere.as_ref())]);
    row
}
