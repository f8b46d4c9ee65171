//! What each step of a chain of masks did to bounds, and what it is proved to have done to the policy. Untrusted; every
//! count is of the checker's verdicts. `spec/sweep.md#bounds`.

use secateur_checker::table::Quantity;

use super::{Cell, Table, markdown_table};
use crate::sweep::gather::{Grid, Group};
use crate::sweep::job::StepCount;

/// Places, over all seeds, of one step's verdicts of one kind: those counted, and all.
fn total(group: &Group, step: usize, same: impl Fn(&StepCount) -> bool) -> Option<(usize, usize)> {
    let of_step = group.bounds.values().flat_map(|found| &found.steps).filter(|count| count.step == step);
    of_step.filter(|count| same(count)).fold(None, |sum, found| {
        let (counted, places) = sum.unwrap_or((0, 0));
        Some((counted + found.counted, places + found.places))
    })
}

/// Kinds of verdicts in the order in which they were found: quantity and family, or none where a step is proved to have
/// hurt.
fn kinds(grid: &Grid) -> Vec<(String, Option<String>)> {
    let mut kinds = Vec::new();
    for count in grid.groups.iter().flat_map(|group| group.bounds.values()).flat_map(|found| &found.steps) {
        let kind = (count.of.clone(), count.family.clone());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

pub(super) fn table(grid: &Grid) -> Table {
    let kinds = kinds(grid);
    let outputs = Quantity::ActionDeviation.name();
    let mut columns = vec!["policy".to_owned(), "step".to_owned()];
    columns.extend(kinds.iter().map(|(of, family)| match family {
        Some(family) => format!("{family} rose"),
        None if of == outputs => "an output, proved to have hurt".to_owned(),
        None => "total variation, proved to have hurt".to_owned(),
    }));
    let (mut rows, mut people) = (Vec::new(), Vec::new());
    for group in &grid.groups {
        for (step, pair) in grid.sparsities.windows(2).enumerate() {
            let of_kind = |(of, family): &(String, Option<String>)| {
                total(group, step + 1, |count| count.of == *of && count.family == *family)
            };
            let found: Vec<Option<(usize, usize)>> = kinds.iter().map(of_kind).collect();
            for ((of, family), found) in kinds.iter().zip(&found) {
                let Some((counted, places)) = found else { continue };
                let mut row: Vec<Cell> =
                    [&group.environment, &group.variant, &group.epsilon, &pair[0], &pair[1], of]
                        .map(|text| Cell::Text(text.clone()))
                        .to_vec();
                row.push(family.clone().map_or(Cell::Empty, Cell::Text));
                row.extend([*counted, *places].map(Cell::Count));
                rows.push(row);
            }
            if found.iter().any(Option::is_some) {
                let cell = |found: &Option<(usize, usize)>| {
                    found.map_or("-".to_owned(), |(counted, places)| format!("{counted} of {places}"))
                };
                let names = [
                    format!("{}, {}, epsilon {}", group.environment, group.variant, group.epsilon),
                    format!("{} to {}", pair[0], pair[1]),
                ];
                people.push(names.into_iter().chain(found.iter().map(cell)).collect());
            }
        }
    }
    let markdown = format!(
        "# Steps of pruning, at visited states\n\nOver the states that the dense policy of each seed visited, all seeds together. *rose*: outputs whose certified bound on the change \
        under attack is larger after the step than before it (for a family that holds everywhere, outputs). *proved to have hurt*: places where a checked point of the ball reaches more after the step than \
        anything could before it: there, pruning made the true worst case worse. Where it is not proved, nothing is proved either way. Policies pruned while they were trained have \
        weights of their own at every sparsity and no steps.\n\n{}",
        markdown_table(&columns, &people)
    );
    let columns = vec![
        "environment",
        "variant",
        "epsilon",
        "from",
        "to",
        "of",
        "family that rose",
        "counted",
        "places",
    ];
    Table { name: "steps", columns, rows, markdown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::job::CertifiedBounds;
    use std::collections::BTreeMap;

    /// Two seeds: 1 of 4 and 2 of 4 outputs rose in the first step; the second step of the second seed hurt in 3 of 5
    /// states.
    #[test]
    fn counts_of_seeds_add_up() {
        let count = |of: &str, family: Option<&str>, step, counted, places| StepCount {
            of: of.to_owned(),
            family: family.map(str::to_owned),
            step,
            counted,
            places,
        };
        let rose = |counted| count("action-deviation", Some("crown"), 1, counted, 4);
        let bounds = |steps| CertifiedBounds {
            states: 5,
            pruned: Vec::new(),
            total_variation: Vec::new(),
            reached: Vec::new(),
            steps,
        };
        let group = Group {
            environment: "Env".to_owned(),
            variant: "vanilla".to_owned(),
            epsilon: "0.1".to_owned(),
            own_chains: false,
            masks: Vec::new(),
            bounds: BTreeMap::from([
                (1, bounds(vec![rose(1)])),
                (2, bounds(vec![rose(2), count("total-variation", None, 2, 3, 5)])),
            ]),
            curves: BTreeMap::new(),
        };
        let grid = Grid {
            sparsities: ["0", "0.5", "0.9"].map(str::to_owned).to_vec(),
            groups: vec![group],
            random: BTreeMap::new(),
            jobs: (1, 1),
        };
        let found = table(&grid);
        assert_eq!(
            found.csv().lines().skip(1).collect::<Vec<_>>(),
            [
                "Env,vanilla,0.1,0,0.5,action-deviation,crown,3,8",
                "Env,vanilla,0.1,0.5,0.9,total-variation,,3,5"
            ]
        );
        assert!(found.markdown.contains("| 0 to 0.5 | 3 of 8 | - |"), "{}", found.markdown);
        assert!(found.markdown.contains("| 0.5 to 0.9 | - | 3 of 5 |"), "{}", found.markdown);
    }
}
