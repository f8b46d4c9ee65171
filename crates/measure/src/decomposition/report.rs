//! A decomposition as a table and as JSON. Untrusted. `spec/decomposition.md#report`.

use comfy_table::Table;
use num_bigint::BigInt;
use num_traits::Signed;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use serde_json::{Map, Value, json};

use super::{ActionMode, Bound, BoundKind, Decomposition, MaskTerms, Returns, Term};

/// The report as JSON; every number is an exact fraction in a string, so that the terms add up to the total.
pub fn emit_json(decomposition: &Decomposition) -> Value {
    json!({
        "format": "secateur.decomposition-report/1",
        "actions": decomposition.actions,
        "returns": returns_json(&decomposition.returns),
        "reference": {
            "name": decomposition.reference.name,
            "value": decomposition.reference.value.to_string(),
        },
        "denseMean": decomposition.dense_mean.to_string(),
        "masks": decomposition.masks.iter().map(mask_json).collect::<Vec<_>>(),
    })
}

fn returns_json(returns: &Returns) -> Value {
    match returns {
        Returns::Discounted { discount } => json!({"kind": "discounted", "discount": discount.to_string()}),
        Returns::Horizon { steps } => json!({"kind": "horizon", "steps": steps}),
    }
}

fn mask_json(mask: &MaskTerms) -> Value {
    json!({
        "name": mask.name,
        "sparsity": mask.sparsity.to_string(),
        "prunedMean": mask.pruned_mean.to_string(),
        "attackedMean": mask.attacked_mean.to_string(),
        "attack": mask.attack,
        "clean": term_json(&mask.clean),
        "pruning": term_json(&mask.pruning),
        "robustness": term_json(&mask.robustness),
        "total": mask.total.to_string(),
    })
}

fn term_json(term: &Term) -> Value {
    let mut fields = Map::new();
    fields.insert("measured".to_owned(), json!(term.measured.to_string()));
    if let Some(bound) = &term.bound {
        fields.insert("bound".to_owned(), bound_json(bound));
        fields.insert("withinBound".to_owned(), json!(term.within_bound()));
    }
    Value::Object(fields)
}

fn bound_json(bound: &Bound) -> Value {
    let mut fields = Map::new();
    fields.insert("value".to_owned(), json!(bound.value.to_string()));
    fields.insert("kind".to_owned(), json!(bound.kind));
    fields.insert("rule".to_owned(), json!(bound.rule));
    if let Some(level) = &bound.confidence {
        fields.insert("confidence".to_owned(), json!(level.to_string()));
    }
    Value::Object(fields)
}

/// The report as text, with `digits` digits after the point.
///
/// The four means are rounded first and the terms are differences of the rounded means, so that a printed row adds up
/// exactly; a term is then off by at most `10^-digits`. Bounds are rounded up.
pub fn emit_table(decomposition: &Decomposition, digits: u32) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    let share = |sparsity: &Rational| decimal(&round(sparsity, 4), 4);
    fill(&mut table, decomposition, digits, share);
    format!("{table}\n{}", notes(decomposition))
}

/// The same in a table of the caller's style, for people: sparsities in per cent, and why columns of bounds are empty.
pub fn emit_text(decomposition: &Decomposition, digits: u32, mut table: Table) -> String {
    let percent = |sparsity: &Rational| {
        format!("{} %", decimal(&round(&sparsity.mul(&Rational::from_integer(BigInt::from(100u8))), 1), 1))
    };
    fill(&mut table, decomposition, digits, percent);
    let unbounded =
        decomposition.masks.iter().all(|m| m.pruning.bound.is_none() && m.robustness.bound.is_none());
    let why = if unbounded {
        "bounds: the file gives none (`secateur attack` measures only); spec/decomposition.md says where a mask's `bounds` go.\n"
    } else {
        ""
    };
    format!("{table}\n{why}{}", notes(decomposition))
}

fn fill(
    table: &mut Table,
    decomposition: &Decomposition,
    digits: u32,
    sparsity: impl Fn(&Rational) -> String,
) {
    table.set_header([
        "mask",
        "sparsity",
        "clean",
        "pruning loss",
        "bound",
        "robustness (found attack)",
        "bound",
        "total",
    ]);
    let reference = round(&decomposition.reference.value, digits);
    let dense = round(&decomposition.dense_mean, digits);
    for mask in &decomposition.masks {
        let pruned = round(&mask.pruned_mean, digits);
        let attacked = round(&mask.attacked_mean, digits);
        table.add_row([
            mask.name.escape_default().to_string(),
            sparsity(&mask.sparsity),
            decimal(&(&reference - &dense), digits),
            decimal(&(&dense - &pruned), digits),
            bound_cell(&mask.pruning),
            decimal(&(&pruned - &attacked), digits),
            bound_cell(&mask.robustness),
            decimal(&(&reference - &attacked), digits),
        ]);
    }
}

fn notes(decomposition: &Decomposition) -> String {
    let actions = match decomposition.actions {
        ActionMode::Sampled => "sampled actions",
        ActionMode::Deterministic => "deterministic actions, for which no bound from total variation holds",
    };
    let returns = match &decomposition.returns {
        Returns::Discounted { discount } => format!("returns discounted by {discount}"),
        Returns::Horizon { steps } => format!("returns over {steps} steps"),
    };
    format!(
        "reference: {}; {actions}; {returns}. A found attack takes less than the worst one: the third term is a lower \
         estimate. Bounds hold under their certificate's assumptions.\n",
        decomposition.reference.name.escape_default()
    )
}

fn bound_cell(term: &Term) -> String {
    let Some(bound) = &term.bound else { return "-".to_owned() };
    let value = claim_decimal(&bound.value, Rounding::Up);
    let exceeded = if term.within_bound() == Some(false) { ", exceeded" } else { "" };
    match (bound.kind, &bound.confidence) {
        (BoundKind::Statistical, Some(level)) => format!("<= {value} (confidence {level}{exceeded})"),
        _ => format!("<= {value} (proof{exceeded})"),
    }
}

/// Nearest multiple of `10^-digits`, in those units; halves upwards.
fn round(value: &Rational, digits: u32) -> BigInt {
    let doubled = value.mul(&Rational::from_integer(BigInt::from(10u8).pow(digits) * 2u8));
    (doubled.floor_scaled(0) + BigInt::from(1u8)) >> 1u32
}

fn decimal(units: &BigInt, digits: u32) -> String {
    let sign = if units.is_negative() { "-" } else { "" };
    let width = digits as usize + 1;
    let text = format!("{:0>width$}", units.abs().to_string());
    let (whole, fraction) = text.split_at(text.len() - digits as usize);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
