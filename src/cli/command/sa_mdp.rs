//! `secateur sa-mdp`: a finite SA-MDP solved exactly, beside the bounds and beside the constant usually quoted.

use std::path::PathBuf;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use secateur_checker::number::Rational;

use crate::cli::context::streams::read_document;
use crate::cli::context::{CliError, Context};
use crate::cli::option::document::DocumentOutput;
use crate::sa_mdp::{Comparison, FiniteSaMdp, MAX_BYTES, compare, emit_json, parse_document};

/// Arguments of `sa-mdp`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur sa-mdp fixtures/sa_mdp/extremal-3-state.json
  secateur sa-mdp fixtures/sa_mdp/pole-that-falls.json --horizon 20 \\
      --format json

spec/sa-mdp.md describes the file. Every number is exact.
Exit codes: 0 the rules' bounds hold at every start, 1 one of them does not, 2 the file is not a finite SA-MDP.")]
pub struct SaMdpArguments {
    /// The SA-MDP and the policy under attack, JSON; - is standard input.
    file: PathBuf,
    /// Also compare the sum of the rewards of the first T steps; at most 256.
    #[arg(long, value_name = "T")]
    horizon: Option<u32>,
    #[command(flatten)]
    out: DocumentOutput,
}

/// Solves and compares.
///
/// # Errors
/// Exit code 2 for a file that is not a finite SA-MDP or a horizon that is not solved, 4 for a solution that fails its
/// own test.
pub fn run(arguments: &SaMdpArguments, context: Context) -> Result<u8, CliError> {
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", arguments.file.display()));
    let outputs = arguments.out.test([arguments.file.as_path()])?;
    let bytes = read_document(&arguments.file, MAX_BYTES)?;
    let model = parse_document(&bytes).map_err(|e| at(&e))?;
    let compared = compare(&model, arguments.horizon).map_err(|e| match e {
        crate::sa_mdp::CompareError::Bellman(e) => CliError::internal(e),
        other => at(&other),
    });
    let (solution, rows) = compared?;
    arguments.out.emit(&outputs, context, &text(&model, &rows), &emit_json(&model, &solution, &rows))?;
    Ok(u8::from(!rows.iter().all(Comparison::bounds_hold)))
}

/// The exact fraction, with a decimal beside it when it is long.
fn number(value: &impl ToString) -> String {
    let text = value.to_string();
    match Rational::parse(&text) {
        Ok(exact) if text.len() > 16 => format!("~{}", six(&exact)),
        _ => text,
    }
}

/// Six digits after the point, towards minus infinity; shown only.
fn six(value: &Rational) -> String {
    let millionths = value.mul(&Rational::from_integer(1_000_000.into())).floor_scaled(0);
    let digits = format!("{:0>7}", millionths.magnitude().to_string());
    let (whole, fraction) = digits.split_at(digits.len() - 6);
    format!("{}{whole}.{fraction}", if value.is_negative() { "-" } else { "" })
}

fn text(model: &FiniteSaMdp, rows: &[Comparison]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    let mut header =
        vec!["start", "gap (exact)", "sup TV", "F", "regret.sup", "regret.expectation", "quoted"];
    if rows.iter().any(|row| row.horizon.is_some()) {
        header.extend(["gap over horizon", "regret.horizon"]);
    }
    table.set_header(header);
    for row in rows {
        let mut cells = vec![
            model.states[row.start].escape_default().to_string(),
            number(&row.gap),
            number(&row.sup_tv),
            number(&row.expected_tv),
            number(&row.sup),
            number(&row.expectation),
            format!("{}{}", number(&row.quoted), if row.refutes_quoted() { " FAILS" } else { "" }),
        ];
        if let Some(horizon) = &row.horizon {
            cells.extend([number(&horizon.gap), number(&horizon.bound)]);
        }
        table.add_row(cells);
    }
    let end = if model.episodes_can_end() { "episodes can end" } else { "episodes never end" };
    let range = model.reward_range();
    format!(
        "{} states, {} actions, discount {}, rewards in [{}, {}], {end}\n{table}\n{}",
        model.len(),
        model.actions.len(),
        model.discount,
        range.lower,
        range.upper,
        verdict(model, rows)
    )
}

fn verdict(model: &FiniteSaMdp, rows: &[Comparison]) -> String {
    let name = |row: &Comparison| model.states[row.start].escape_default().to_string();
    let mut text = String::new();
    match rows.iter().find(|row| !row.bounds_hold()) {
        Some(row) => text.push_str(&format!("A BOUND FAILS at start {}; please report this\n", name(row))),
        None => text.push_str("the bounds regret.* hold at every start\n"),
    }
    let met: Vec<String> = rows
        .iter()
        .filter(|r| r.gap == r.sup && r.sup_tv.numer().sign() != num_bigint::Sign::NoSign)
        .map(name)
        .collect();
    if !met.is_empty() {
        text.push_str(&format!("regret.sup is met with equality at start {}\n", met.join(", ")));
    }
    for row in rows.iter().filter(|row| row.refutes_quoted()) {
        text.push_str(&format!(
            "the constant usually quoted, 2 [1 + g/(1-g)^2] max|R| sup TV = {}, FAILS at start {}: the adversary takes {}; it is no \
             bound and no rule uses it\n",
            number(&row.quoted),
            name(row),
            number(&row.gap)
        ));
    }
    text
}
