//! The mask each rule chooses. Untrusted. `spec/sweep.md#sweet-spots`.

use super::returns::actions_word;
use super::{Cell, DETERMINISTIC, SAMPLED, Table, markdown_table, number};
use crate::sweep::config::SweepConfig;
use crate::sweep::gather::Grid;
use crate::sweep::statistic::{common_attacks, scales};
use crate::sweep::sweet_spot::{COLLAPSED, Rule, sweet_spots};

pub(super) fn table(config: &SweepConfig, grid: &Grid) -> Table {
    let mut rows = Vec::new();
    let mut people = Vec::new();
    for view in [DETERMINISTIC, SAMPLED] {
        let scales = scales(grid, view);
        for group in &grid.groups {
            let Some(scale) = scales.get(&group.environment) else { continue };
            let Some(found) = sweet_spots(&config.bootstrap, group, view, *scale) else { continue };
            let attacks: Vec<&str> = common_attacks(group).iter().map(|kind| kind.name()).collect();
            let collapsed: Vec<&str> = grid
                .sparsities
                .iter()
                .zip(&found.scores)
                .filter(|(_, scores)| scores.collapsed())
                .map(|(sparsity, _)| sparsity.as_str())
                .collect();
            let collapsed = if collapsed.is_empty() { "none".to_owned() } else { collapsed.join(", ") };
            for ((rule, name), chosen) in Rule::ALL.iter().zip(&found.chosen) {
                let mut row: Vec<Cell> =
                    [group.environment.as_str(), group.variant.as_str(), actions_word(view), name]
                        .map(Cell::from)
                        .to_vec();
                match chosen {
                    None => {
                        row.extend([Cell::from("none"), Cell::Empty, Cell::Empty, Cell::Empty, Cell::Empty]);
                    }
                    Some((mask, support)) => {
                        let scores = found.scores[*mask];
                        row.push(Cell::from(grid.sparsities[*mask].as_str()));
                        row.push(Cell::Number(scores.clean, 3));
                        row.push(Cell::Number(scores.attacked, 3));
                        row.push(Cell::Number(rule.value(scores), 3));
                        row.push(Cell::Number(*support, 2));
                    }
                }
                row.push(Cell::from(collapsed.as_str()));
                row.push(Cell::Text(attacks.join(" ")));
                let text = |cell: &Cell| match cell {
                    Cell::Empty => "-".to_owned(),
                    cell => cell.text(),
                };
                people.push(row.iter().map(text).collect());
                rows.push(row);
            }
        }
    }
    let columns = vec![
        "environment",
        "variant",
        "actions",
        "rule",
        "sparsity",
        "clean score",
        "worst attacked score",
        "value",
        "support",
        "collapsed",
        "attacks",
    ];
    let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    let markdown = format!(
        "# Sweet spots\n\nThe sparsity each rule chooses by scores (0 random actions, 1 dense policies of the first variant): highest mean of clean and worst \
         attacked score, highest minimum of the two, lowest regret (clean less worst attacked). A sparsity whose clean score is below {} \
         (half way between random actions and the dense policies) has collapsed and is never chosen: a policy that does nothing has nothing \
         to lose. Of equals the sparsest. *support*: share of the bootstrap resamples in which the same sparsity is chosen; a low one means that \
         the choice is noise. Only attacks that were run on every seed and sparsity count.\n\n{}",
        number(COLLAPSED, 1),
        markdown_table(&names, &people)
    );
    Table { name: "sweet-spots", columns, rows, markdown }
}
