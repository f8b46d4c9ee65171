//! Measured returns as tables, CSV, JSON and as input of `secateur decompose`. Untrusted; `spec/attacks.md#files`.

use std::fmt::Write;

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use num_bigint::BigInt;
use secateur_checker::model::Units;
use secateur_checker::number::Rational;
use serde_json::{Value, json};

use crate::attack::{
    AttackOutcome, AttackPlan, EpisodeScore, Measurement, Summary, WrittenNumber, WrittenRadii, summarise,
};
use crate::cli::context::CliError;
use crate::decomposition::{ActionMode, FORMAT, parse_input};

/// One attack under one mask.
pub struct Row {
    /// Name of the mask.
    pub mask: String,
    /// Weights pruned, and all weights.
    pub pruned: [usize; 2],
    /// What the attack took.
    pub outcome: AttackOutcome,
}

/// Which returns a table is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// Deterministic actions, sums of rewards.
    Deterministic,
    /// Sampled actions, discounted sums.
    Sampled,
}

impl Row {
    fn measurement(&self, protocol: Protocol) -> &Measurement {
        match protocol {
            Protocol::Deterministic => &self.outcome.deterministic,
            Protocol::Sampled => &self.outcome.sampled,
        }
    }

    fn summary(&self, protocol: Protocol, attacked: bool) -> Summary {
        let measurement = self.measurement(protocol);
        let scores = if attacked { &measurement.attacked } else { &measurement.clean };
        let value = |score: &EpisodeScore| match protocol {
            Protocol::Deterministic => score.total,
            Protocol::Sampled => score.discounted,
        };
        summarise(&scores.iter().map(value).collect::<Vec<f64>>(), self.outcome.plan.seed)
    }

    fn sparsity(&self) -> f64 {
        self.pruned[0] as f64 / self.pruned[1].max(1) as f64
    }
}

/// The row of lowest mean under a mask, transfer aside.
fn strongest<'a>(rows: &'a [Row], mask: &str, protocol: Protocol) -> Option<&'a Row> {
    let own = rows.iter().filter(|row| row.mask == mask && !row.outcome.transfer);
    own.min_by(|a, b| a.summary(protocol, true).mean.total_cmp(&b.summary(protocol, true).mean))
}

/// What an attack took of the mean return; at most 0 if it took nothing.
fn took(row: &Row, protocol: Protocol) -> f64 {
    row.summary(protocol, false).mean - row.summary(protocol, true).mean
}

fn masks(rows: &[Row]) -> Vec<&str> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.mask.as_str()).collect();
    names.dedup();
    names
}

fn table(rows: &[Row], protocol: Protocol) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["mask", "sparsity", "attack", "mean", "std error", "95 % interval", "adversary", ""]);
    let line = |row: &Row, attacked: bool, note: &str| {
        let found = row.summary(protocol, attacked);
        let [low, high] = found.interval;
        let (attack, adversary) = match attacked {
            true => (row.outcome.plan.kind.name(), row.measurement(protocol).adversary.as_str()),
            false => ("none", ""),
        };
        [
            row.mask.clone(),
            format!("{:.1} %", 100.0 * row.sparsity()),
            attack.to_owned(),
            format!("{:.1}", found.mean),
            format!("{:.1}", found.standard_error),
            format!("{low:.1} to {high:.1}"),
            adversary.to_owned(),
            note.to_owned(),
        ]
    };
    for mask in masks(rows) {
        let lowest = strongest(rows, mask, protocol);
        for (index, row) in rows.iter().filter(|row| row.mask == mask).enumerate() {
            if index == 0 {
                table.add_row(line(row, false, ""));
            }
            let is_lowest = lowest.is_some_and(|lowest| std::ptr::eq(lowest, row));
            let note = match (row.outcome.transfer, is_lowest) {
                (true, _) => "transfer: made against the dense policy",
                (false, true) if took(row, protocol) > 0.0 => "strongest",
                (false, true) => "no attack took anything",
                (false, false) => "",
            };
            table.add_row(line(row, true, note));
        }
    }
    table
}

/// Both tables for people; `adversary` says what it may do.
pub fn tables(env_id: &str, adversary: &str, rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let plan = &first.outcome.plan;
    format!(
        "{env_id}, {adversary}, {} episodes, seed {}\n\
         returns, deterministic actions\n{}\n\
         returns discounted by {}, sampled actions\n{}\n\
         An attack found estimates from below what the worst adversary takes.",
        plan.episodes,
        plan.seed,
        table(rows, Protocol::Deterministic),
        plan.discount.text(),
        table(rows, Protocol::Sampled),
    )
}

/// Name and entry of the column of radii: those of several inputs stand in their order, with spaces between.
fn radii_column(radius: &WrittenRadii) -> (&'static str, String) {
    let name = match radius {
        WrittenRadii::Equal(_) => "epsilon",
        WrittenRadii::Each { units: Units::Raw, .. } => "radii_raw",
        WrittenRadii::Each { units: Units::Normalised, .. } => "radii_normalised",
    };
    (name, radius.numbers().iter().map(WrittenNumber::text).collect::<Vec<_>>().join(" "))
}

/// One line an attack, mask and protocol.
pub fn csv(rows: &[Row]) -> String {
    let radii = rows.first().map_or("epsilon", |row| radii_column(&row.outcome.plan.radius).0);
    let mut text = format!(
        "mask,pruned,weights,attack,transfer,actions,returns,{radii},episodes,seed,training_steps,\
         clean_mean,clean_std_error,clean_low,clean_high,mean,std_error,low,high\n"
    );
    for row in rows {
        let AttackOutcome { plan, transfer, training_steps, .. } = &row.outcome;
        for (protocol, words) in [
            (Protocol::Deterministic, "deterministic,undiscounted"),
            (Protocol::Sampled, "sampled,discounted"),
        ] {
            let numbers = [row.summary(protocol, false), row.summary(protocol, true)]
                .map(|s| format!("{},{},{},{}", s.mean, s.standard_error, s.interval[0], s.interval[1]))
                .join(",");
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{},{},{},{},{transfer},{words},{},{},{},{training_steps},{numbers}",
                row.mask,
                row.pruned[0],
                row.pruned[1],
                plan.kind,
                radii_column(&plan.radius).1,
                plan.episodes,
                plan.seed,
            );
        }
    }
    text
}

/// Everything measured.
pub fn document(env_id: &str, rows: &[Row]) -> Value {
    let entry = |row: &Row| {
        let summary = |protocol| json!({"clean": row.summary(protocol, false), "attacked": row.summary(protocol, true)});
        json!({
            "mask": row.mask,
            "pruned": row.pruned[0],
            "weights": row.pruned[1],
            "deterministic": summary(Protocol::Deterministic),
            "sampledDiscounted": summary(Protocol::Sampled),
            "outcome": row.outcome,
        })
    };
    let lowest = |protocol| {
        let name = |mask: &&str| {
            let row = strongest(rows, mask, protocol)?;
            Some(
                json!({"mask": mask, "attack": row.outcome.plan.kind, "mean": row.summary(protocol, true).mean,
                       "took": took(row, protocol)}),
            )
        };
        masks(rows).iter().filter_map(name).collect::<Vec<Value>>()
    };
    json!({
        "format": "secateur.attacks/1",
        "env": env_id,
        "attacks": rows.iter().map(entry).collect::<Vec<Value>>(),
        "strongest": {
            "deterministic": lowest(Protocol::Deterministic),
            "sampledDiscounted": lowest(Protocol::Sampled),
        },
    })
}

/// The same sampled, discounted returns as `secateur decompose` reads them: per mask the strongest attack, transfer aside. The
/// reference is the dense policy's own mean.
///
/// # Errors
/// Exit code 4 if the reader of decompositions refuses it.
pub fn decomposition(plan: &AttackPlan, dense: &[EpisodeScore], rows: &[Row]) -> Result<Value, CliError> {
    let episodes = |scores: &[EpisodeScore]| {
        let entry =
            |score: &EpisodeScore| json!({"seed": score.episode, "return": score.discounted.to_string()});
        scores.iter().map(entry).collect::<Vec<Value>>()
    };
    let entry = |mask: &&str| {
        let row = strongest(rows, mask, Protocol::Sampled)?;
        let measured = row.measurement(Protocol::Sampled);
        Some(json!({
            "name": mask,
            "sparsity": format!("{}/{}", row.pruned[0], row.pruned[1]),
            "clean": episodes(&measured.clean),
            "attacked": {"attack": row.outcome.plan.kind, "episodes": episodes(&measured.attacked)},
        }))
    };
    let mut sum = Rational::zero();
    for score in dense {
        sum = sum.add(&Rational::parse(&score.discounted.to_string()).map_err(CliError::internal)?);
    }
    let mean = sum.div(&Rational::from_integer(BigInt::from(dense.len()))).map_err(CliError::internal)?;
    let input = json!({
        "format": FORMAT,
        "actions": ActionMode::Sampled,
        "returns": {"kind": "discounted", "discount": plan.discount.text()},
        "reference": {"name": "the dense policy's measured mean", "value": mean.to_string()},
        "dense": episodes(dense),
        "masks": masks(rows).iter().filter_map(entry).collect::<Vec<Value>>(),
    });
    parse_input(input.to_string().as_bytes()).map_err(CliError::internal)?;
    Ok(input)
}
