//! Returns of every policy, clean and under each attack, with intervals and scores. Untrusted.
//! `spec/sweep.md#returns`.

use super::{Cell, SAMPLED, Table, TableError, family_bounds, interval_cells, interval_text, markdown_table};
use crate::sweep::bootstrap::Interval;
use crate::sweep::config::SweepConfig;
use crate::sweep::gather::{Grid, Group, MaskResults};
use crate::sweep::statistic::{Attacked, Scale, View, attacks_of, common_attacks, mean_interval, scales};

/// Which attacks a worst value is over.
const WORST: &str = "worst";
const WORST_OF_ALL: &str = "worst of all run";

const COLUMNS: [&str; 13] = [
    "environment",
    "variant",
    "sparsity",
    "epsilon",
    "actions",
    "under",
    "seeds",
    "mean",
    "low",
    "high",
    "score",
    "score low",
    "score high",
];

/// One mean of a cell.
struct Measured {
    under: String,
    seeds: usize,
    interval: Option<Interval>,
}

fn measured(config: &SweepConfig, group: &Group, results: &MaskResults, view: View) -> Vec<Measured> {
    let settings = &config.bootstrap;
    let mut found = vec![Measured {
        under: "clean".to_owned(),
        seeds: results.clean.len(),
        interval: mean_interval(settings, &view.strata(&results.clean)),
    }];
    for (kind, runs) in &results.attacks {
        let interval = mean_interval(settings, &view.strata(runs));
        found.push(Measured { under: kind.name().to_owned(), seeds: runs.len(), interval });
    }
    for (under, kinds) in [(WORST, common_attacks(group)), (WORST_OF_ALL, attacks_of(results))] {
        if let Some(attacked) = Attacked::new(view, results, &kinds) {
            let interval = attacked.worst_interval(settings);
            found.push(Measured { under: under.to_owned(), seeds: attacked.sizes().0, interval });
        }
    }
    found
}

/// Name of a way of choosing actions.
pub(super) fn actions_word(view: View) -> &'static str {
    if view.actions == SAMPLED.actions { "sampled" } else { "deterministic" }
}

pub(super) fn table(
    config: &SweepConfig,
    grid: &Grid,
    view: View,
    name: &'static str,
) -> Result<Table, TableError> {
    let scales = scales(grid, view);
    let mut rows = Vec::new();
    let mut markdown = heading(config, view);
    for group in &grid.groups {
        let scale = scales.get(&group.environment).copied();
        let cells: Vec<Vec<Measured>> =
            group.masks.iter().map(|results| measured(config, group, results, view)).collect();
        for (sparsity, cell) in grid.sparsities.iter().zip(&cells) {
            rows.extend(cell.iter().map(|found| row(group, sparsity, view, found, scale)));
        }
        markdown.push_str(&section(grid, group, &cells, view, scale)?);
    }
    Ok(Table { name, columns: COLUMNS.to_vec(), rows, markdown })
}

fn row(group: &Group, sparsity: &str, view: View, found: &Measured, scale: Option<Scale>) -> Vec<Cell> {
    let score = scale.and_then(|scale| Some(found.interval?.map(|value| scale.score(value))));
    let mut row = vec![
        Cell::from(group.environment.as_str()),
        Cell::from(group.variant.as_str()),
        Cell::from(sparsity),
        Cell::from(group.epsilon.as_str()),
        Cell::from(actions_word(view)),
        Cell::from(found.under.as_str()),
        Cell::Count(found.seeds),
    ];
    row.extend(interval_cells(found.interval, 2));
    row.extend(interval_cells(score, 3));
    row
}

fn heading(config: &SweepConfig, view: View) -> String {
    let percent = 100.0 * config.bootstrap.confidence;
    format!(
        "# Returns, {} actions\n\nMean undiscounted return over training seeds of the mean of {} episodes, with a {percent} % \
         two-level bootstrap interval in brackets (seeds, then episodes; {} resamples). Below it the score: 0 is the mean return of \
         uniformly random actions, 1 the mean clean return of the dense policies of variant {:?}, both held fixed. *worst*: for each \
         training seed the least mean among the attacks that were run on every seed and sparsity of the section, averaged over \
         seeds. A seed count in parentheses means that an attack was run on fewer seeds than were trained.{}\n",
        if view.actions == SAMPLED.actions { "sampled" } else { "deterministic" },
        config.episodes,
        config.bootstrap.resamples,
        config.variants.first().map_or("", |variant| variant.name.as_str()),
        if view.actions == SAMPLED.actions {
            " Certified columns: upper bounds on the total variation between the clean and the perturbed action distribution \
             (mean and largest over visited states and seeds), checked by the checker; they bound something else than a return and \
             stand here to be compared."
        } else {
            " Bounds on total variation say nothing about deterministic actions and do not stand here."
        }
    )
}

fn section(
    grid: &Grid,
    group: &Group,
    cells: &[Vec<Measured>],
    view: View,
    scale: Option<Scale>,
) -> Result<String, TableError> {
    let trained = group.masks.iter().map(|results| results.clean.len()).max().unwrap_or(0);
    let mut names: Vec<String> = Vec::new();
    for found in cells.iter().flatten().filter(|found| found.under != WORST_OF_ALL && found.under != WORST) {
        if !names.contains(&found.under) {
            names.push(found.under.clone());
        }
    }
    names.push(WORST.to_owned());
    let families = if view.actions == SAMPLED.actions { family_bounds(group)? } else { Vec::new() };
    let mut columns = vec!["sparsity".to_owned()];
    columns.extend(names.iter().cloned());
    columns.extend(families.iter().map(|found| format!("certified {}", found.family)));
    let mut rows = Vec::new();
    for (mask, (sparsity, cell)) in grid.sparsities.iter().zip(cells).enumerate() {
        let mut row = vec![sparsity.clone()];
        for name in &names {
            let found = cell.iter().find(|found| found.under == *name);
            row.push(found.map_or("-".to_owned(), |found| people(found, trained, scale)));
        }
        for family in &families {
            let bound = family.masks.get(mask).and_then(Option::as_ref);
            row.push(bound.map_or("-".to_owned(), |b| format!("{} (max {})", b.mean, b.max)));
        }
        rows.push(row);
    }
    let scale = scale
        .map_or("no scores: the dense policies are no better than random actions".to_owned(), |s| {
            format!("score 0 = {:.1}, score 1 = {:.1}", s.random, s.dense)
        });
    Ok(format!(
        "\n## {}, {}, epsilon {}\n\n{trained} training seeds; {scale}.\n\n{}",
        group.environment,
        group.variant,
        group.epsilon,
        markdown_table(&columns, &rows)
    ))
}

fn people(found: &Measured, trained: usize, scale: Option<Scale>) -> String {
    if found.interval.is_none() {
        return "-".to_owned();
    }
    let count = if found.seeds == trained { String::new() } else { format!(" ({} seeds)", found.seeds) };
    let score = scale.and_then(|scale| Some(found.interval?.map(|value| scale.score(value))));
    let score = score.map_or(String::new(), |score| format!("<br>{}", interval_text(Some(score), 2)));
    format!("{}{count}{score}", interval_text(found.interval, 0))
}
