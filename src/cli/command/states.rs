//! `secateur states`: states to certify at, where no environment is at hand: drawn around what the policy's normaliser saw.

use std::path::PathBuf;

use clap::Args;
use secateur_checker::load::load_policy;
use serde_json::json;

use crate::cli::context::streams::refuse_dash;
use crate::cli::context::{CliError, Context, write};
use crate::cli::option::force::Force;
use crate::float::normaliser::FixedNormaliser;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::outputs::OutputPlan;
use crate::policy::emit::emit_npy;
use crate::policy::read::policy_data;

/// Most numbers of a table.
const MAX_NUMBERS: usize = 1 << 24;

/// Arguments of `states`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  secateur states go1/ --count 20 --seed 1 --out go1/states.npy

Each input is drawn alone: the normaliser's mean, and S times its standard
deviation times a standard normal number, rounded to binary32. Without a
normaliser mean 0 and deviation 1. Raw units. No robot need ever be in such a
state: inputs that belong together, such as the parts of a direction, are not
kept together. States of episodes say more: secateur episodes, or your own.")]
pub struct StatesArguments {
    /// Policy directory.
    policy: PathBuf,
    /// States to draw.
    #[arg(long, value_name = "N", default_value_t = 100)]
    count: usize,
    /// How many of the normaliser's standard deviations the drawn ones are.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    spread: f64,
    /// Seed of everything random.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// File (.npy) to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    force: Force,
}

/// `count` rows around the normaliser's means; binary32 numbers.
fn drawn(normaliser: &FixedNormaliser, count: usize, spread: f64, seed: u64) -> Vec<f64> {
    let mut random = SeededRng::new(seed, 0);
    let moments = normaliser.mean.iter().zip(&normaliser.std);
    let row =
        |_| moments.clone().map(|(mean, std)| mean + spread * std * random.normal()).collect::<Vec<_>>();
    let rows: Vec<f64> = (0..count).flat_map(row).collect();
    rows.into_iter().map(|value| f64::from(value as f32)).collect()
}

/// Draws and writes.
///
/// # Errors
/// Exit code 2.
pub fn run(arguments: &StatesArguments, context: Context) -> Result<u8, CliError> {
    let StatesArguments { policy, count, spread, seed, out, force } = arguments;
    refuse_dash([("POLICY", Some(policy.as_path()))])?;
    if *count == 0 {
        return Err(CliError::input("--count 0: give at least 1"));
    }
    if !(spread.is_finite() && *spread >= 0.0) {
        return Err(CliError::input(format!("--spread {spread}: give a number that is not below 0")));
    }
    let outputs = OutputPlan::new(force.force).policy(policy).file("--out", out).test()?;
    let loaded = load_policy(policy)?;
    let data = policy_data(&loaded).ok_or_else(|| CliError::internal("the policy cannot be lowered"))?;
    let normaliser = FloatPolicy::from_data(&data).map_err(CliError::input)?.normaliser;
    let columns = normaliser.mean.len();
    if count.saturating_mul(columns) > MAX_NUMBERS {
        return Err(CliError::input(format!(
            "--count {count}: states of {columns} inputs; give at most {}",
            MAX_NUMBERS / columns.max(1)
        )));
    }
    let values = drawn(&normaliser, *count, *spread, *seed);
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(CliError::input(format!(
            "--spread {spread}: input {} leaves the range of binary32; give a smaller one",
            index % columns.max(1)
        )));
    }
    let mut set = outputs.set();
    set.add(out.clone(), emit_npy(*count, columns, &values));
    write(set)?;
    let around = if data.normaliser.is_some() {
        "the normaliser's means, with its deviations"
    } else {
        "0 with deviation 1: the policy has no normaliser"
    };
    let text = format!(
        "{count} states of {columns} inputs, raw units, each input alone: normal around {around}, times {spread}; seed {seed}\n\
         written to {}",
        out.display()
    );
    let sampler = if data.normaliser.is_some() { "normaliser" } else { "standard-normal" };
    let document = json!({"states": count, "inputs": columns, "units": "raw", "sampler": sampler, "spread": spread,
                          "seed": seed, "out": out});
    context.print(&text, &document)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20,000 numbers around 3 with deviation 2: mean and deviation within five of their own deviations; the first row does not
    /// depend on how many follow.
    #[test]
    fn drawn_states_have_the_normalisers_moments() {
        let normaliser = FixedNormaliser { mean: vec![3.0, -1.0], std: vec![2.0, 0.5], clip: f64::INFINITY };
        let values = drawn(&normaliser, 20_000, 1.0, 7);
        for (column, (mean, std)) in [(3.0, 2.0), (-1.0, 0.5)].into_iter().enumerate() {
            let of: Vec<f64> = values.iter().skip(column).step_by(2).copied().collect();
            let average = of.iter().sum::<f64>() / 20_000.0;
            let square = of.iter().map(|v| (v - average).powi(2)).sum::<f64>() / 20_000.0;
            assert!((average - mean).abs() < 5.0 * std / 20_000f64.sqrt(), "{average}");
            assert!((square.sqrt() - std).abs() < 5.0 * std / 40_000f64.sqrt(), "{square}");
        }
        assert_eq!(drawn(&normaliser, 1, 1.0, 7), values[..2]);
        assert_eq!(drawn(&normaliser, 2, 0.0, 7), [3.0, -1.0, 3.0, -1.0]);
        assert_ne!(drawn(&normaliser, 1, 1.0, 8), values[..2]);
    }
}
