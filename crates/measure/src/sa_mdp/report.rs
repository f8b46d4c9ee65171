//! A solved SA-MDP as JSON, every number an exact fraction in a string. Untrusted. `spec/sa-mdp.md#report`.

use serde_json::{Value, json};

use super::{Comparison, FiniteSaMdp, HorizonComparison, Solution};

/// The solution and its comparison with the bounds, one entry per start state.
pub fn emit_json(model: &FiniteSaMdp, solution: &Solution, rows: &[Comparison]) -> Value {
    let starts: Vec<Value> = rows.iter().map(|row| start_json(model, solution, row)).collect();
    json!({
        "format": "secateur.sa-mdp-report/1",
        "discount": model.discount.to_string(),
        "episodesCanEnd": model.episodes_can_end(),
        "starts": starts,
    })
}

fn start_json(model: &FiniteSaMdp, solution: &Solution, row: &Comparison) -> Value {
    let s = row.start;
    json!({
        "state": model.states[s],
        "clean": solution.clean[s].to_string(),
        "worst": solution.worst[s].to_string(),
        "shown": model.states[solution.adversary[s]],
        "gap": row.gap.to_string(),
        "supTotalVariation": row.sup_tv.to_string(),
        "expectedTotalVariation": row.expected_tv.to_string(),
        "regret.sup": row.sup.to_string(),
        "regret.expectation": row.expectation.to_string(),
        "regret.horizon": row.horizon.as_ref().map(horizon_json),
        "quoted": row.quoted.to_string(),
        "boundsHold": row.bounds_hold(),
        "quotedRefuted": row.refutes_quoted(),
    })
}

fn horizon_json(horizon: &HorizonComparison) -> Value {
    json!({
        "steps": horizon.horizon,
        "gap": horizon.gap.to_string(),
        "bound": horizon.bound.to_string(),
    })
}
