//! Selections of entries, as rows of the layer before or columns of the layer after. Untrusted.
//! `spec/import-onnx.md#moving-entries`.
//!
//! A selection commutes with every element-wise map, whose numbers move with it.

use super::exact::Vector;
use super::lower::{Map, Refused, Step};
use crate::policy::TensorData;

/// Entries that a weight may have after columns of zeros were added.
const MAX_WEIGHT: usize = 1 << 27;

/// Moves every selection into a weight. `width` is the length of the observation; rows that nothing reads are told in
/// `notes`.
pub(super) fn place_selections(
    steps: Vec<Step>,
    width: usize,
    notes: &mut Vec<String>,
) -> Result<Vec<Step>, Refused> {
    let mut placed: Vec<Step> = Vec::new();
    // the entries of the observation that the steps since the input read, while no layer has come
    let mut waiting: Option<Vec<usize>> = None;
    let mut layered = false;
    for step in steps {
        match step.map {
            Map::Select { indices, of } if layered => {
                if repeats(&indices, of) {
                    return Err((step.node, "it repeats an entry".into()));
                }
                let layer = placed.iter().rposition(|s| matches!(s.map, Map::Affine { .. })).unwrap_or(0);
                if let Some(Step { map: Map::Affine { name, .. }, .. }) = placed.get(layer)
                    && indices.len() < of
                {
                    notes.push(format!(
                        "of the {of} outputs of {name:?} the graph uses {} (node {}); the others are no part of the \
                         policy",
                        places(&indices),
                        step.node
                    ));
                }
                for before in placed.iter_mut().skip(layer) {
                    before.map = selected(&before.map, &indices)
                        .ok_or_else(|| (step.node.clone(), "it selects entries that are not there".into()))?;
                }
            }
            Map::Select { indices, .. } => {
                let inner = waiting.take();
                let through = |i: &usize| inner.as_ref().map_or(Some(*i), |inner| inner.get(*i).copied());
                let chosen: Option<Vec<usize>> = indices.iter().map(through).collect();
                let chosen = chosen.filter(|c| c.iter().all(|&i| i < width));
                let Some(chosen) = chosen else {
                    return Err((step.node, "it selects entries that are not there".into()));
                };
                if repeats(&chosen, width) {
                    return Err((step.node, "it repeats an entry of the observation".into()));
                }
                waiting = Some(chosen);
            }
            Map::Affine { name, weight, bias } => {
                layered = true;
                let weight = match waiting.take() {
                    Some(chosen) => columns(&weight, &chosen, width).ok_or_else(|| {
                        (step.node.clone(), "its weight does not fit what was selected".to_owned())
                    })?,
                    None => weight,
                };
                placed.push(Step { node: step.node, map: Map::Affine { name, weight, bias } });
            }
            map => {
                let map = match &waiting {
                    Some(chosen) => spread(&map, chosen, width)
                        .ok_or_else(|| (step.node.clone(), "it does not fit what was selected".to_owned()))?,
                    None => map,
                };
                placed.push(Step { node: step.node, map });
            }
        }
    }
    match waiting {
        Some(_) => Err((String::new(), "the graph only moves entries of its input".into())),
        None => Ok(placed),
    }
}

/// Places as ranges: `0 to 11`, `0, 2, 5 to 7`.
fn places(indices: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &index in indices {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == index => *end = index,
            _ => runs.push((index, index)),
        }
    }
    let word = |(begin, end): &(usize, usize)| {
        if begin == end { begin.to_string() } else { format!("{begin} to {end}") }
    };
    let shown: Vec<String> = runs.iter().take(8).map(word).collect();
    let more = if runs.len() > 8 { ", and others" } else { "" };
    shown.join(", ") + more
}

fn repeats(indices: &[usize], of: usize) -> bool {
    let mut seen = vec![false; of];
    indices.iter().any(|&i| seen.get_mut(i).is_none_or(|s| std::mem::replace(s, true)))
}

/// The map that gives only the entries at `indices`.
fn selected(map: &Map, indices: &[usize]) -> Option<Map> {
    Some(match map {
        Map::Affine { name, weight, bias } => Map::Affine {
            name: name.clone(),
            weight: rows(weight, indices)?,
            bias: match bias {
                Some(bias) => Some(rows(bias, indices)?),
                None => None,
            },
        },
        Map::Scale(v) => Map::Scale(v.pick(indices)?),
        Map::Divide(v) => Map::Divide(v.pick(indices)?),
        Map::Shift(v) => Map::Shift(v.pick(indices)?),
        Map::AtLeast(v) => Map::AtLeast(v.pick(indices)?),
        Map::AtMost(v) => Map::AtMost(v.pick(indices)?),
        Map::Activation(activation) => Map::Activation(activation.clone()),
        Map::Select { .. } | Map::Softmax => return None,
    })
}

/// The same map before the selection: numbers of entries that nothing reads change nothing.
fn spread(map: &Map, chosen: &[usize], width: usize) -> Option<Map> {
    let over = |v: &Vector, neutral: f64| {
        let mut values = vec![neutral; width];
        if v.values.len() != chosen.len() {
            return None;
        }
        for (&place, &value) in chosen.iter().zip(&v.values) {
            *values.get_mut(place)? = value;
        }
        Some(Vector { dtype: v.dtype, values })
    };
    // a bound of unread entries is any of the others, so that equal bounds stay equal
    let any = |v: &Vector| v.values.first().copied().unwrap_or(0.0);
    Some(match map {
        Map::Scale(v) => Map::Scale(over(v, 1.0)?),
        Map::Divide(v) => Map::Divide(over(v, 1.0)?),
        Map::Shift(v) => Map::Shift(over(v, 0.0)?),
        Map::AtLeast(v) => Map::AtLeast(over(v, any(v))?),
        Map::AtMost(v) => Map::AtMost(over(v, any(v))?),
        Map::Activation(activation) => Map::Activation(activation.clone()),
        Map::Affine { .. } | Map::Select { .. } | Map::Softmax => return None,
    })
}

/// Rows of a matrix, or entries of a vector.
fn rows(tensor: &TensorData, indices: &[usize]) -> Option<TensorData> {
    let row: usize = tensor.shape.iter().skip(1).product::<usize>() * tensor.dtype.width();
    let mut bytes = Vec::with_capacity(indices.len().checked_mul(row).filter(|&b| b <= 8 * MAX_WEIGHT)?);
    for &index in indices {
        bytes.extend_from_slice(tensor.bytes.get(index * row..(index + 1) * row)?);
    }
    let mut shape = tensor.shape.clone();
    *shape.first_mut()? = indices.len();
    Some(TensorData { dtype: tensor.dtype, shape, bytes })
}

/// The matrix of `width` columns that reads column `chosen[i]` where the given one reads column i, and nothing else.
fn columns(weight: &TensorData, chosen: &[usize], width: usize) -> Option<TensorData> {
    let &[height, own] = weight.shape.as_slice() else { return None };
    let size = weight.dtype.width();
    if own != chosen.len() || height.checked_mul(width)? > MAX_WEIGHT {
        return None;
    }
    let mut bytes = vec![0; height * width * size];
    for row in 0..height {
        for (column, &place) in chosen.iter().enumerate() {
            let (from, to) = ((row * own + column) * size, (row * width + place) * size);
            bytes.get_mut(to..to + size)?.copy_from_slice(weight.bytes.get(from..from + size)?);
        }
    }
    Some(TensorData { dtype: weight.dtype, shape: vec![height, width], bytes })
}
