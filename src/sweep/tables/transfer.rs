//! Attacks made against the dense policy, run on pruned ones, beside attacks made against those: how much robustness
//! the former overstates. Untrusted. `spec/sweep.md#transfer`.

use super::returns::actions_word;
use super::{Cell, DETERMINISTIC, SAMPLED, Table, interval_cells, interval_text, markdown_table};
use crate::sweep::config::SweepConfig;
use crate::sweep::gather::Grid;
use crate::sweep::statistic::mean_interval;

pub(super) fn table(config: &SweepConfig, grid: &Grid) -> Table {
    let mut rows = Vec::new();
    let mut people = Vec::new();
    for view in [DETERMINISTIC, SAMPLED] {
        for group in &grid.groups {
            for (sparsity, results) in grid.sparsities.iter().zip(&group.masks) {
                for (kind, runs) in &results.transfers {
                    // Only seeds on which both were run are compared.
                    let own = results.attacks.get(kind);
                    let both = |seed: &u64| own.is_none_or(|own| own.contains_key(seed));
                    let carried = runs.iter().filter(|(seed, _)| both(seed));
                    let carried: std::collections::BTreeMap<_, _> =
                        carried.map(|(seed, found)| (*seed, found.clone())).collect();
                    let of = |runs| mean_interval(&config.bootstrap, &view.strata(runs));
                    let (carried_over, retrained) = (of(&carried), own.and_then(of));
                    let words = [
                        group.environment.as_str(),
                        &group.variant,
                        sparsity,
                        actions_word(view),
                        kind.name(),
                    ];
                    let mut row: Vec<Cell> = words.map(Cell::from).to_vec();
                    row.push(Cell::Count(carried.len()));
                    row.extend(interval_cells(carried_over, 2));
                    row.extend(interval_cells(retrained, 2));
                    rows.push(row);
                    let mut line: Vec<String> = words.map(str::to_owned).to_vec();
                    line.extend([interval_text(carried_over, 0), interval_text(retrained, 0)]);
                    people.push(line);
                }
            }
        }
    }
    let columns = vec![
        "environment",
        "variant",
        "sparsity",
        "actions",
        "attack",
        "seeds",
        "carried over",
        "carried over low",
        "carried over high",
        "retrained",
        "retrained low",
        "retrained high",
    ];
    let names =
        ["environment", "variant", "sparsity", "actions", "attack", "carried over", "made for the mask"];
    let markdown = format!(
        "# Attacks carried over from the dense policy\n\nMean return of the pruned policies under an attack that was made against the dense policy of the same seed (for policies pruned while they were trained, another training run), beside that under \
         the attack made against the pruned policy itself. The first is not a robust score: it overstates what the pruned policy withstands wherever it is higher.\n\n{}",
        markdown_table(&names.map(str::to_owned), &people)
    );
    Table { name: "transfer", columns, rows, markdown }
}
