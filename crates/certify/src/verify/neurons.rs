//! Cases over boxes of many inputs of a network of ReLUs: bounds of hidden layers are kept of each whole box, as the
//! checker derives them, and regions are cut by signs. Untrusted. `spec/rules/split.md#splitkept`.

use secateur_checker::kernel::enclose::TanhTable;
use secateur_checker::kernel::grid::GridNetwork;
use secateur_checker::kernel::split::{Case, Kept};
use secateur_checker::number::Rational;
use secateur_checker::reader::json::Value;
use secateur_checker::reader::property::{PROOF_FORMAT, parse_proof};

use super::turns::same_box;
use super::{SearchState, VerifyError};
use crate::bound::FloatBounds;
use crate::certify::json::canonical;
use crate::certify::value::{list, object, text};
use crate::float::FloatNetwork;
use crate::search::branch::neurons::{
    Neurons, SLOPE_PARTS, StoredSlopes, is_for, search_neurons, search_rows,
};
use crate::search::branch::tree::{SplitLeaf, SplitNode, SplitTree};
use crate::search::branch::{AUTO_INPUTS, BranchOptions, BranchState, SplitRule};

/// The rows of slopes that hidden layers are bounded with: by layer, neuron and side.
pub type KeptRows = Vec<Vec<[StoredSlopes; 2]>>;

/// Whether rows are for the hidden layers of a network of the given widths: none, or for each neuron none or a slope of every neuron
/// below.
pub(super) fn rows_fit(rows: &KeptRows, widths: &[usize]) -> bool {
    let Some((_, hidden)) = widths.split_last() else { return false };
    let side = |target: usize, slopes: &StoredSlopes| {
        let whole = slopes.iter().map(Vec::len).eq(hidden[..target].iter().copied());
        (slopes.is_empty() || whole) && slopes.iter().flatten().all(|parts| *parts <= SLOPE_PARTS)
    };
    let layer = |(target, (rows, width)): (usize, (&Vec<[StoredSlopes; 2]>, &usize))| {
        (rows.is_empty() || rows.len() == *width) && rows.iter().flatten().all(|slopes| side(target, slopes))
    };
    rows.is_empty() || rows.len() == hidden.len() && rows.iter().zip(hidden).enumerate().all(layer)
}

/// Whether cases are searched here: the states may hold no cuts of inputs, and the options no other way to cut.
pub(super) fn is_asked(
    network: &FloatNetwork,
    cases: &[Case],
    options: &BranchOptions,
    states: &[BranchState],
) -> bool {
    let uncut =
        |state: &BranchState| state.tree().nodes.iter().all(|n| !matches!(n, SplitNode::Input { .. }));
    options.rule == SplitRule::Auto
        && network.inputs() > AUTO_INPUTS
        && is_for(network, cases)
        && states.iter().all(uncut)
}

/// Searches all cases: first what default slopes of the hidden layers prove at the root, then with slopes of their own. A proof
/// has one set of those, so that cases of several boxes go on with default slopes. A search that is gone on with has its own, and
/// receives them. What was found, and with which rows.
pub(super) fn search(
    network: &FloatNetwork,
    (grid, table): (&GridNetwork, &TanhTable),
    cases: &[Case],
    options: &BranchOptions,
    SearchState { states, rows: begun }: &mut SearchState,
    accepts: &dyn Fn(usize, &[Rational]) -> bool,
    stop: &dyn Fn() -> bool,
) -> Result<(Neurons, KeptRows), VerifyError> {
    let Some(first) = cases.first() else {
        return Ok((Neurons::Verified, Vec::new()));
    };
    if !cases.iter().all(|case| same_box(case, first)) {
        let found = search_boxes(network, (grid, table), cases, options, states, accepts, stop)?;
        return Ok((found, Vec::new()));
    }
    let fresh = states.iter().all(|state| *state == BranchState::default());
    if fresh {
        let pre = bounds(network, (grid, table), first, &Vec::new())?;
        let found = search_neurons(network, (cases, &pre), options, states, accepts, (true, stop));
        if !matches!(found, Neurons::Unknown { .. }) || stop() {
            return Ok((found, Vec::new()));
        }
        states.fill(BranchState::default());
    }
    let rows = begun.get_or_insert_with(|| search_rows(network, first)).clone();
    let pre = bounds(network, (grid, table), first, &rows)?;
    // What was attacked at the root is attacked from other points.
    let options = BranchOptions { seed: options.seed ^ 1, ..*options };
    let found = search_neurons(network, (cases, &pre), &options, states, accepts, (false, stop));
    Ok((found, rows))
}

/// Searches the cases of each box with default slopes of the hidden layers: first every new box uncut, so that a point that its root
/// meets does not wait for a box that is hard to prove, then one box after the other.
fn search_boxes(
    network: &FloatNetwork,
    at: (&GridNetwork, &TanhTable),
    cases: &[Case],
    options: &BranchOptions,
    states: &mut [BranchState],
    accepts: &dyn Fn(usize, &[Rational]) -> bool,
    stop: &dyn Fn() -> bool,
) -> Result<Neurons, VerifyError> {
    let search = |first: usize, own: &[Case], pre: &[FloatBounds], states: &mut [BranchState], only_root| {
        let accepts = |case: usize, point: &[Rational]| accepts(first + case, point);
        let states = &mut states[first..first + own.len()];
        match search_neurons(network, (own, pre), options, states, &accepts, (only_root, stop)) {
            Neurons::Falsified { case, point } => Neurons::Falsified { case: first + case, point },
            found => found,
        }
    };
    let (mut first, mut left) = (0, Vec::new());
    for own in cases.chunk_by(same_box) {
        let pre = bounds(network, at, &own[0], &Vec::new())?;
        let fresh = states[first..first + own.len()].iter().all(|state| *state == BranchState::default());
        match fresh.then(|| search(first, own, &pre, states, true)) {
            Some(found @ Neurons::Falsified { .. }) => return Ok(found),
            Some(Neurons::Verified) => {}
            Some(Neurons::Unknown { .. }) => {
                // It begins anew.
                states[first..first + own.len()].fill(BranchState::default());
                left.push((first, own, pre));
            }
            None => left.push((first, own, pre)),
        }
        first += own.len();
    }
    let mut open: Option<f64> = None;
    for (first, own, pre) in left {
        match search(first, own, &pre, states, false) {
            found @ Neurons::Falsified { .. } => return Ok(found),
            Neurons::Unknown { best_bound } => {
                open = Some(open.map_or(best_bound, |least| least.min(best_bound)));
            }
            Neurons::Verified => {}
        }
    }
    Ok(open.map_or(Neurons::Verified, |best_bound| Neurons::Unknown { best_bound }))
}

/// Bounds of every layer over the box as the checker derives them from the file that will say so.
fn bounds(
    network: &FloatNetwork,
    (grid, table): (&GridNetwork, &TanhTable),
    case: &Case,
    rows: &KeptRows,
) -> Result<Vec<FloatBounds>, VerifyError> {
    let rejected = |e: &dyn std::fmt::Display| VerifyError::Rejected(e.to_string());
    let (format, cases) = (("format", text(PROOF_FORMAT)), ("cases", Value::Array(Vec::new())));
    let proof = canonical(&object([format, cases, ("kept", emit_kept(rows, &[]))]));
    let rows = parse_proof(proof.as_bytes()).and_then(|proof| proof.kept()).map_err(|e| rejected(&e))?;
    let kept = Kept::new(grid, table, case, &rows.unwrap_or_default());
    let kept = kept.map_err(|e| VerifyError::Limit(e.to_string()))?;
    let unit = 2f64.powi(-i32::try_from(grid.value_bits).unwrap_or(i32::MAX));
    let outward = |(lower, upper): (i64, i64)| {
        let (lower, upper) = (lower as f64 * unit, upper as f64 * unit);
        // A sign that the checker knows stays known.
        (
            if lower == 0.0 { lower } else { lower.next_down() },
            if upper == 0.0 { upper } else { upper.next_up() },
        )
    };
    let layers = kept.bounds().pre.iter().take(network.layers.len());
    Ok(layers
        .map(|layer| {
            let (lower, upper) = layer.intervals().map(outward).unzip();
            FloatBounds { lower, upper }
        })
        .collect())
}

/// What leaves of kept bounds read: the rows, and the slopes that they name by number.
pub(super) fn emit_kept(rows: &KeptRows, slopes: &[&StoredSlopes]) -> Value {
    let neuron = |sides: &[StoredSlopes; 2]| list_of(sides.iter().flatten());
    object([
        ("rows", list(rows, |layer| list(layer, neuron))),
        ("slopes", list(slopes, |slopes| list_of(slopes.iter()))),
    ])
}

/// A string a layer, a character a neuron.
fn list_of<'a>(layers: impl Iterator<Item = &'a Vec<u8>>) -> Value {
    let digit = |parts: &u8| char::from_digit((*parts).into(), 17).unwrap_or('g');
    Value::Array(layers.map(|layer| text(layer.iter().map(digit).collect::<String>())).collect())
}

/// The slopes that leaves name, in the order they are named first, and each tree's numbers for them.
pub(super) fn named_slopes(trees: &[(SplitTree, usize)]) -> (Vec<&StoredSlopes>, Vec<Vec<u32>>) {
    let (mut named, mut numbers) = (Vec::new(), Vec::new());
    for (tree, _) in trees {
        let mut own = vec![u32::MAX; tree.slopes.len()];
        for node in &tree.nodes {
            if let SplitNode::Leaf(SplitLeaf::Kept { slopes, .. }) = node
                && let (Some(number), Some(slopes)) =
                    (own.get_mut(*slopes as usize), tree.slopes.get(*slopes as usize))
                && *number == u32::MAX
            {
                *number = named.len() as u32;
                named.push(slopes);
            }
        }
        numbers.push(own);
    }
    (named, numbers)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use secateur_checker::kernel::grid::GridScale;
    use secateur_checker::kernel::split::OutputConstraint;
    use secateur_checker::model::{Activation, Layer, Matrix, Network};
    use secateur_checker::number::Dyadic;
    use secateur_checker::tables::tanh_table;

    use super::*;

    /// `|x_0 - x_1|` of 14 inputs. Over the first box it is 0 at points that are not accepted, so that no search ends; over the second a
    /// point is met at once.
    #[test]
    fn a_box_does_not_wait_for_another_for_ever() {
        let layer = |rows: usize, weights: Vec<i64>, activation| {
            let values: Vec<Dyadic> = weights.iter().map(|w| Dyadic::new(*w, 0)).collect();
            let weight = Matrix { rows, columns: values.len() / rows, values };
            Layer { fixed: false, weight, bias: vec![Dyadic::ZERO; rows], activation }
        };
        let row = |sign: i64| (0..14).map(move |i| [sign, -sign].get(i).copied().unwrap_or(0));
        let hidden = layer(2, row(1).chain(row(-1)).collect(), Activation::Relu);
        let network = Network { layers: vec![hidden, layer(1, vec![1, 1], Activation::Identity)] };
        let number = |value: i64| Rational::from_integer(value.into());
        let case = |upper: i64, bound: i64| Case {
            lower: vec![number(-1); 14],
            upper: vec![number(upper); 14],
            constraints: vec![OutputConstraint { coefficients: vec![number(1)], bound: number(bound) }],
        };
        let cases = [case(1, 0), case(2, 1)];
        let float = FloatNetwork::from_model(&network, None).expect("a network");
        let scale = GridScale::new(&network, &number(2)).expect("a scale");
        let grid = GridNetwork::new(&network, None, &scale).expect("a network");
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 20
        };
        let mut state = SearchState { states: vec![BranchState::default(); 2], rows: None };
        let options = BranchOptions::default();
        assert!(is_asked(&float, &cases, &options, &state.states));
        let table = tanh_table().expect("a table");
        let found = search(&float, (&grid, table), &cases, &options, &mut state, &|case, _| case == 1, &stop);
        assert!(matches!(found, Ok((Neurons::Falsified { case: 1, .. }, _))));
    }
}
