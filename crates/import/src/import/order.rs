//! In which order the layers of a state dictionary follow each other. Untrusted. `spec/import.md#order`.
//!
//! The file's order decides where the file has one. Names and shapes confirm it, or stop the import.

use super::names::{may_follow, module, natural, order_by_words, side_by_side};
use crate::import::problem::Problem;
use std::cmp::Ordering;

/// Steps the search for a second order may take.
const MAX_STEPS: usize = 200_000;

/// A layer's stem and its `[out, in]`.
pub(super) type Shaped = (String, [usize; 2]);

/// Indices of the layers in their order. `ordered`: `layers` stand in the order in which the file's modules were made.
///
/// # Errors
/// [`Problem::TwoOrders`] where the file's order and that of the names both fit the shapes and differ, or where nothing
/// decides; [`Problem::TwoNetworks`] where two networks would be chained; [`Problem::Chain`] where no order fits.
pub(super) fn order(layers: &[Shaped], ordered: bool) -> Result<Vec<usize>, Problem> {
    let decided = decide(layers, ordered)?;
    one_network(layers, &decided)?;
    Ok(decided)
}

fn decide(layers: &[Shaped], ordered: bool) -> Result<Vec<usize>, Problem> {
    let file: Vec<usize> = (0..layers.len()).collect();
    let mut by_names = file.clone();
    by_names.sort_by(|&a, &b| natural(&layers[a].0, &layers[b].0));
    let found = orders(layers);
    let clash = |one: &[usize], two: &[usize]| {
        // two networks fit in either order: that is what to say
        if let Err(problem) = one_network(layers, one) {
            return problem;
        }
        let shown = |order: &[usize]| order.iter().map(|&i| layers[i].0.clone()).collect();
        Problem::TwoOrders { first: shown(one), second: shown(two) }
    };
    if ordered && fits(layers, &file) {
        if !agrees(layers, &file) {
            return match found.first() {
                Some(other) => Err(clash(&file, other)),
                None => Ok(file),
            };
        }
        let neutral = by_names != file && fits(layers, &by_names) && agrees(layers, &by_names);
        return if neutral { Err(clash(&file, &by_names)) } else { Ok(file) };
    }
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [one, two, ..] => Err(clash(one, two)),
        [] => Err(no_order(layers, &by_names)),
    }
}

fn fits(layers: &[Shaped], order: &[usize]) -> bool {
    order.windows(2).all(|pair| layers[pair[0]].1[0] == layers[pair[1]].1[1])
}

/// Whether the order contradicts no number and no word of the names.
fn agrees(layers: &[Shaped], order: &[usize]) -> bool {
    order.iter().enumerate().all(|(at, &before)| {
        let after = &order[at + 1..];
        after
            .iter()
            .all(|&later| order_by_words(&layers[before].0, &layers[later].0) != Some(Ordering::Greater))
    })
}

/// Up to two orders that fit the shapes and contradict no name.
fn orders(layers: &[Shaped]) -> Vec<Vec<usize>> {
    let mut search = Search { layers, found: Vec::new(), steps: 0 };
    search.extend(&mut Vec::new());
    search.found
}

struct Search<'a> {
    layers: &'a [Shaped],
    found: Vec<Vec<usize>>,
    steps: usize,
}

impl Search<'_> {
    fn extend(&mut self, prefix: &mut Vec<usize>) {
        if prefix.len() == self.layers.len() {
            self.found.push(prefix.clone());
            return;
        }
        for next in 0..self.layers.len() {
            self.steps += 1;
            if self.found.len() > 1 || self.steps > MAX_STEPS {
                return;
            }
            if !prefix.contains(&next) && self.may_come(prefix, next) {
                prefix.push(next);
                self.extend(prefix);
                prefix.pop();
            }
        }
    }

    fn may_come(&self, prefix: &[usize], next: usize) -> bool {
        let fits = prefix.last().is_none_or(|&last| self.layers[last].1[0] == self.layers[next].1[1]);
        fits && (0..self.layers.len()).all(|other| {
            other == next
                || prefix.contains(&other)
                || order_by_words(&self.layers[other].0, &self.layers[next].0) != Some(Ordering::Less)
        })
    }
}

/// Runs of layers of the same module, in an order.
fn runs(layers: &[Shaped], order: &[usize]) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for &index in order {
        match runs.last_mut() {
            Some(run) if module(&layers[run[0]].0) == module(&layers[index].0) => run.push(index),
            _ => runs.push(vec![index]),
        }
    }
    runs
}

/// Width that a run reads and width that it gives.
fn ends(layers: &[Shaped], run: &[usize]) -> [usize; 2] {
    [layers[run[0]].1[1], layers[run[run.len() - 1]].1[0]]
}

/// Refuses a chain of two modules of several layers that no word joins, or that could each stand for the whole.
fn one_network(layers: &[Shaped], order: &[usize]) -> Result<(), Problem> {
    for pair in order.windows(2) {
        let (&[before, after], true) = (pair, pair.len() == 2) else { continue };
        let ((one, shape), (two, next)) = (&layers[before], &layers[after]);
        if shape[1] == next[1] && side_by_side(one, two) {
            return Err(Problem::TwoNetworks { first: one.clone(), second: two.clone() });
        }
    }
    copies(layers, order)?;
    for pair in runs(layers, order).windows(2) {
        let [before, after] = pair else { continue };
        let single = before.len() == 1 && after.len() == 1;
        let alike = before.len() > 1 && after.len() > 1 && ends(layers, before) == ends(layers, after);
        let joined = may_follow(&layers[before[before.len() - 1]].0, &layers[after[0]].0);
        if alike || !single && !joined {
            return Err(two_networks(layers, before, after));
        }
    }
    Ok(())
}

/// Refuses numbered copies of a network that reads as many values as it gives: an ensemble, or blocks of one network.
fn copies(layers: &[Shaped], order: &[usize]) -> Result<(), Problem> {
    let parent = |index: usize| layers[index].0.rsplit_once('.').map_or("", |(parent, _)| parent);
    let numbered = |text: &str| text.rsplit('.').next().is_some_and(|n| n.parse::<u64>().is_ok());
    let groups: Vec<&[usize]> = order.chunk_by(|&a, &b| parent(a) == parent(b)).collect();
    let shapes = |group: &[usize]| group.iter().map(|&i| layers[i].1).collect::<Vec<_>>();
    for pair in groups.windows(2) {
        let &[one, two] = pair else { continue };
        let (first, second) = (parent(one[0]), parent(two[0]));
        let last_numeric = one.iter().chain(two).all(|&i| numbered(&layers[i].0));
        if one.len() > 1 && numbered(first) && numbered(second) && last_numeric && shapes(one) == shapes(two)
        {
            return Err(Problem::TwoNetworks { first: first.to_owned(), second: second.to_owned() });
        }
    }
    Ok(())
}

fn two_networks(layers: &[Shaped], before: &[usize], after: &[usize]) -> Problem {
    let shown = |run: &[usize]| {
        let stem = &layers[run[0]].0;
        Some(module(stem)).filter(|name| !name.is_empty()).unwrap_or_else(|| stem.clone())
    };
    Problem::TwoNetworks { first: shown(before), second: shown(after) }
}

/// Why no order fits: two networks of their own, or the first pair of neighbours that does not fit.
fn no_order(layers: &[Shaped], by_names: &[usize]) -> Problem {
    let runs = runs(layers, by_names);
    let own: Vec<&Vec<usize>> = runs.iter().filter(|run| run.len() > 1 && fits(layers, run)).collect();
    if let [first, second, ..] = own.as_slice() {
        return two_networks(layers, first, second);
    }
    if by_names.len() > 1 && by_names.windows(2).all(|pair| layers[pair[0]].1[1] == layers[pair[1]].1[0]) {
        return Problem::Transposed { layer: layers[by_names[0]].0.clone(), shape: layers[by_names[0]].1 };
    }
    let pair = by_names.windows(2).find(|pair| layers[pair[0]].1[0] != layers[pair[1]].1[1]);
    match pair {
        Some(&[before, after]) => Problem::Chain {
            before: layers[before].0.clone(),
            gives: layers[before].1[0],
            after: layers[after].0.clone(),
            reads: layers[after].1[1],
        },
        _ => Problem::NoLayers("in an order that its names agree with; give it with --layers".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(list: &[(&str, [usize; 2])]) -> Vec<Shaped> {
        list.iter().map(|(name, shape)| ((*name).to_owned(), *shape)).collect()
    }

    #[test]
    fn the_file_decides_unless_the_names_disagree() {
        let square = |names: [&str; 3]| shaped(&names.map(|name| (name, [4, 4])));
        assert_eq!(order(&square(["fc1", "fc2", "fc3"]), true), Ok(vec![0, 1, 2]));
        assert!(matches!(order(&square(["fc2", "fc1", "fc3"]), true), Err(Problem::TwoOrders { .. })));
        assert!(matches!(order(&square(["b", "a", "c"]), true), Err(Problem::TwoOrders { .. })));
        assert_eq!(order(&square(["state_in", "mid", "to_action"]), true), Ok(vec![0, 1, 2]));
        assert!(matches!(order(&square(["a", "b", "c"]), false), Err(Problem::TwoOrders { .. })));
        assert_eq!(order(&square(["fc2", "fc10", "fc1"]), false), Ok(vec![2, 0, 1]));
        // the output layer was made first: the words must not move it silently
        assert!(matches!(order(&square(["out", "fc1", "fc2"]), true), Err(Problem::TwoOrders { .. })));
    }

    #[test]
    fn shapes_decide_where_names_do_not() {
        let layers = shaped(&[("beta", [2, 8]), ("alpha", [8, 4])]);
        assert_eq!(order(&layers, false), Ok(vec![1, 0]));
        assert_eq!(order(&layers, true), Ok(vec![1, 0]));
    }

    #[test]
    fn weights_that_are_in_by_out_are_named() {
        let layers = shaped(&[("W0", [4, 8]), ("W1", [8, 8]), ("W2", [8, 2])]);
        assert_eq!(order(&layers, true), Err(Problem::Transposed { layer: "W0".into(), shape: [4, 8] }));
    }

    #[test]
    fn two_networks_are_never_chained() {
        let two = shaped(&[("one.0", [8, 2]), ("one.2", [2, 8]), ("two.0", [8, 2]), ("two.2", [2, 8])]);
        let wanted = Problem::TwoNetworks { first: "one".into(), second: "two".into() };
        assert_eq!(order(&two, true), Err(wanted));
        let named = shaped(&[("actor.0", [8, 2]), ("actor.2", [2, 8]), ("pi.0", [8, 2]), ("pi.2", [2, 8])]);
        assert!(matches!(order(&named, true), Err(Problem::TwoNetworks { .. })));
        let head = shaped(&[("body.0", [8, 2]), ("body.2", [2, 8]), ("pi.0", [8, 2]), ("pi.2", [3, 8])]);
        assert_eq!(order(&head, true), Ok(vec![0, 1, 2, 3]));
        let tuple = shaped(&[("0.fc1", [8, 2]), ("0.mu", [2, 8]), ("1.fc1", [8, 2]), ("1.mu", [2, 8])]);
        assert!(matches!(order(&tuple, true), Err(Problem::TwoNetworks { .. })));
        let apart = shaped(&[("one.0", [8, 4]), ("one.2", [2, 8]), ("two.0", [8, 4]), ("two.2", [2, 8])]);
        assert!(matches!(order(&apart, true), Err(Problem::TwoNetworks { .. })));
    }
}
