//! Operators that only move entries: where each entry of the result comes from. Untrusted. `spec/import-onnx.md`.
//!
//! # References
//! ONNX operator schemas, opset 6 to 25: Identity, Cast, Dropout, Reshape, Flatten, Squeeze, Unsqueeze, Transpose,
//! Gather, Slice, Split, Expand, Tile.

use super::constant::{Constant, MAX_ENTRIES};
use super::graph::Attributes;
use super::proto::Node;
use super::{Failure, refuse};
use std::rc::Rc;

/// The result's shape, and for each entry in row-major order the entry it is; `None` keeps the order.
pub(super) struct Movement {
    pub(super) shape: Vec<usize>,
    pub(super) indices: Option<Vec<usize>>,
}

impl Movement {
    fn keep(shape: Vec<usize>) -> Self {
        Self { shape, indices: None }
    }
}

/// The inputs after the first, all constants; absent ones are `None`.
pub(super) type Rest = [Option<Rc<Constant>>];

/// One movement per output if the operator is of this kind.
pub(super) fn movements(
    node: &Node,
    shape: &[usize],
    rest: &Rest,
    opset: i64,
) -> Result<Option<Vec<Movement>>, Failure> {
    let one = |movement| Ok(Some(vec![movement]));
    match node.op_type.as_str() {
        "Identity" => {
            Attributes::of(node, &[])?;
            one(Movement::keep(shape.to_vec()))
        }
        "Dropout" => one(dropout(node, shape, rest, opset)?),
        "Reshape" => one(reshape(node, shape, rest)?),
        "Flatten" => one(flatten(node, shape)?),
        "Squeeze" => one(squeeze(node, shape, rest)?),
        "Unsqueeze" => one(unsqueeze(node, shape, rest)?),
        "Transpose" => one(transpose(node, shape)?),
        "Gather" => one(gather(node, shape, rest)?),
        "Slice" => one(slice(node, shape, rest)?),
        "Tile" => {
            Attributes::of(node, &[])?;
            one(tile(shape, given(rest, 0).ok_or_else(|| missing("repeats"))?)?)
        }
        "Split" => split(node, shape, rest).map(Some),
        "Expand" => {
            Attributes::of(node, &[])?;
            let wanted = sides(given(rest, 0).ok_or_else(|| missing("shape"))?.as_integers()?)?;
            let shape_out = broadcast(shape, &wanted)?;
            one(Movement { indices: Some(spread(shape, &shape_out)?), shape: shape_out })
        }
        _ => Ok(None),
    }
}

fn missing(what: &str) -> Failure {
    Failure::Reason(format!("it has no {what}"))
}

fn given(rest: &Rest, place: usize) -> Option<&Constant> {
    rest.get(place).and_then(Option::as_deref)
}

fn sides(numbers: &[i64]) -> Result<Vec<usize>, Failure> {
    let sides: Option<Vec<usize>> = numbers.iter().map(|&n| usize::try_from(n).ok()).collect();
    sides.ok_or_else(|| Failure::Reason("a side is negative".into()))
}

/// Product of the sides; it and each of them, also beside a side of 0, is capped.
pub(super) fn count(shape: &[usize]) -> Result<usize, Failure> {
    let count = shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side));
    match count.filter(|&c| c <= MAX_ENTRIES && shape.iter().all(|&side| side <= MAX_ENTRIES)) {
        Some(count) => Ok(count),
        None => refuse(format!("a value would have more than {MAX_ENTRIES} entries")),
    }
}

/// An axis counted from the front.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize, Failure> {
    let turned = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match turned.and_then(|a| usize::try_from(a).ok()).filter(|&a| a < rank) {
        Some(axis) => Ok(axis),
        None => refuse(format!("axis {axis} is outside of {rank} sides")),
    }
}

/// The shape that two shapes meet in (NumPy's rule).
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Failure> {
    let rank = a.len().max(b.len());
    let side = |shape: &[usize], place: usize| {
        (place + shape.len()).checked_sub(rank).and_then(|i| shape.get(i)).copied().unwrap_or(1)
    };
    let met: Option<Vec<usize>> = (0..rank)
        .map(|place| match (side(a, place), side(b, place)) {
            (x, y) if x == y || y == 1 => Some(x),
            (1, y) => Some(y),
            _ => None,
        })
        .collect();
    met.ok_or_else(|| Failure::Reason(format!("shapes {a:?} and {b:?} do not fit")))
}

/// Row-major strides.
fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for place in (1..shape.len()).rev() {
        let next = strides.get(place).copied().unwrap_or(1);
        if let (Some(stride), Some(&side)) = (strides.get_mut(place - 1), shape.get(place)) {
            *stride = next.saturating_mul(side as isize);
        }
    }
    strides
}

/// `start + sum index_k stride_k` for every index of `shape`, in row-major order.
fn walk(shape: &[usize], strides: &[isize], start: isize) -> Result<Vec<usize>, Failure> {
    if count(shape)? == 0 {
        return Ok(Vec::new());
    }
    let mut places = vec![start];
    for (&side, &stride) in shape.iter().zip(strides) {
        places = places.iter().flat_map(|&p| (0..side).map(move |i| p + i as isize * stride)).collect();
    }
    let places: Option<Vec<usize>> = places.into_iter().map(|p| usize::try_from(p).ok()).collect();
    places.ok_or_else(|| Failure::Reason("it reads before the first entry".into()))
}

/// Where each entry of `to` comes from when `from` is broadcast to it.
pub(super) fn spread(from: &[usize], to: &[usize]) -> Result<Vec<usize>, Failure> {
    if broadcast(from, to)? != to {
        return refuse(format!("shape {from:?} does not fit {to:?}"));
    }
    let own = strides(from);
    let offset = to.len() - from.len();
    let strides: Vec<isize> = (0..to.len())
        .map(|place| match place.checked_sub(offset) {
            Some(i) if from.get(i).is_some_and(|&side| side != 1) => own.get(i).copied().unwrap_or(0),
            _ => 0,
        })
        .collect();
    walk(to, &strides, 0)
}

fn dropout(node: &Node, shape: &[usize], rest: &Rest, opset: i64) -> Result<Movement, Failure> {
    let attributes = Attributes::of(node, &["ratio", "seed", "is_test"])?;
    let training = match (opset < 7, given(rest, 1)) {
        (true, _) => attributes.int("is_test")?.unwrap_or(0) == 0,
        (false, Some(flag)) => flag.as_integers()?.iter().any(|&f| f != 0),
        (false, None) => false,
    };
    if training {
        return refuse("it drops values at random (training mode); export the policy in evaluation mode");
    }
    Ok(Movement::keep(shape.to_vec()))
}

fn reshape(node: &Node, shape: &[usize], rest: &Rest) -> Result<Movement, Failure> {
    let attributes = Attributes::of(node, &["allowzero", "shape"])?;
    let wanted = match (attributes.ints("shape")?, given(rest, 0)) {
        (Some(stated), None) => stated,
        (None, Some(input)) => input.as_integers()?,
        _ => return refuse("it should have one shape"),
    };
    let zero = attributes.int("allowzero")?.unwrap_or(0) != 0;
    let mut target = Vec::with_capacity(wanted.len());
    let mut free = None;
    for (place, &side) in wanted.iter().enumerate() {
        target.push(match side {
            -1 if free.is_none() => {
                free = Some(place);
                1
            }
            0 if !zero => *shape.get(place).ok_or_else(|| missing("side to copy"))?,
            _ => usize::try_from(side).map_err(|_| Failure::Reason("a side is negative".into()))?,
        });
    }
    let total = count(shape)?;
    if let Some(side) = free.and_then(|place| target.get(place).map(|_| place)) {
        let others = count(&target)?;
        if others == 0 || !total.is_multiple_of(others) {
            return refuse(format!("{total} values cannot have shape {wanted:?}"));
        }
        if let Some(side) = target.get_mut(side) {
            *side = total / others;
        }
    }
    if count(&target)? != total {
        return refuse(format!("{total} values cannot have shape {wanted:?}"));
    }
    Ok(Movement::keep(target))
}

fn flatten(node: &Node, shape: &[usize]) -> Result<Movement, Failure> {
    let axis = Attributes::of(node, &["axis"])?.int("axis")?.unwrap_or(1);
    let rank = shape.len();
    let axis = if axis == rank as i64 { rank } else { axis_of(axis, rank)? };
    let (front, back) = shape.split_at(axis);
    Ok(Movement::keep(vec![count(front)?, count(back)?]))
}

/// Axes from the attribute of older opsets or from the second input.
fn axes<'a>(attributes: &Attributes<'a>, rest: &'a Rest) -> Result<Option<&'a [i64]>, Failure> {
    match (attributes.ints("axes")?, given(rest, 0)) {
        (Some(_), Some(_)) => refuse("its axes are given twice"),
        (Some(stated), None) => Ok(Some(stated)),
        (None, Some(input)) => input.as_integers().map(Some),
        (None, None) => Ok(None),
    }
}

fn squeeze(node: &Node, shape: &[usize], rest: &Rest) -> Result<Movement, Failure> {
    let attributes = Attributes::of(node, &["axes"])?;
    let Some(axes) = axes(&attributes, rest)? else {
        return Ok(Movement::keep(shape.iter().copied().filter(|&side| side != 1).collect()));
    };
    let dropped: Result<Vec<usize>, Failure> = axes.iter().map(|&a| axis_of(a, shape.len())).collect();
    let dropped = dropped?;
    if dropped.iter().any(|&axis| shape.get(axis) != Some(&1)) {
        return refuse(format!("axes {axes:?} of shape {shape:?} are not all 1"));
    }
    let kept = shape.iter().enumerate().filter(|(place, _)| !dropped.contains(place));
    Ok(Movement::keep(kept.map(|(_, &side)| side).collect()))
}

fn unsqueeze(node: &Node, shape: &[usize], rest: &Rest) -> Result<Movement, Failure> {
    let attributes = Attributes::of(node, &["axes"])?;
    let axes = axes(&attributes, rest)?.ok_or_else(|| missing("axes"))?;
    let rank = shape.len() + axes.len();
    let added: Result<Vec<usize>, Failure> = axes.iter().map(|&a| axis_of(a, rank)).collect();
    let added = added?;
    if added.iter().enumerate().any(|(i, axis)| added.iter().take(i).any(|a| a == axis)) {
        return refuse("an axis is given twice");
    }
    let mut sides = shape.iter().copied();
    let target = (0..rank).map(|place| if added.contains(&place) { Some(1) } else { sides.next() });
    let target: Option<Vec<usize>> = target.collect();
    Ok(Movement::keep(target.ok_or_else(|| missing("side"))?))
}

fn transpose(node: &Node, shape: &[usize]) -> Result<Movement, Failure> {
    let attributes = Attributes::of(node, &["perm"])?;
    let order: Vec<usize> = match attributes.ints("perm")? {
        Some(stated) => sides(stated)?,
        None => (0..shape.len()).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..shape.len()).collect::<Vec<_>>() {
        return refuse(format!("its order {order:?} is none of {} sides", shape.len()));
    }
    let own = strides(shape);
    let target: Vec<usize> = order.iter().filter_map(|&p| shape.get(p).copied()).collect();
    let steps: Vec<isize> = order.iter().filter_map(|&p| own.get(p).copied()).collect();
    Ok(Movement { indices: Some(walk(&target, &steps, 0)?), shape: target })
}

fn gather(node: &Node, shape: &[usize], rest: &Rest) -> Result<Movement, Failure> {
    let axis = Attributes::of(node, &["axis"])?.int("axis")?.unwrap_or(0);
    let axis = axis_of(axis, shape.len())?;
    let chosen = given(rest, 0).ok_or_else(|| missing("indices"))?;
    let side = shape.get(axis).copied().unwrap_or(0);
    let places: Result<Vec<usize>, Failure> =
        chosen.as_integers()?.iter().map(|&i| axis_of(i, side)).collect();
    let (front, back) = (shape.get(..axis).unwrap_or(&[]), shape.get(axis + 1..).unwrap_or(&[]));
    let target = [front, &chosen.shape, back].concat();
    count(&target)?;
    Ok(Movement { indices: Some(picked(count(front)?, side, count(back)?, &places?)), shape: target })
}

/// Entries of a `[front, side, back]` table whose middle index is each of `places` in turn.
fn picked(front: usize, side: usize, back: usize, places: &[usize]) -> Vec<usize> {
    let rows = (0..front).flat_map(|f| places.iter().map(move |&p| (f * side + p) * back));
    rows.flat_map(|start| start..start + back).collect()
}

fn slice(node: &Node, shape: &[usize], rest: &Rest) -> Result<Movement, Failure> {
    let attributes = Attributes::of(node, &["starts", "ends", "axes"])?;
    let part = |name: &str, place: usize| -> Result<Option<Vec<i64>>, Failure> {
        match (attributes.ints(name)?, given(rest, place)) {
            (Some(_), Some(_)) => refuse(format!("its {name} are given twice")),
            (Some(stated), None) => Ok(Some(stated.to_vec())),
            (None, Some(input)) => Ok(Some(input.as_integers()?.to_vec())),
            (None, None) => Ok(None),
        }
    };
    let starts = part("starts", 0)?.ok_or_else(|| missing("starts"))?;
    let ends = part("ends", 1)?.ok_or_else(|| missing("ends"))?;
    let axes = part("axes", 2)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match given(rest, 3) {
        Some(input) => input.as_integers()?.to_vec(),
        None => vec![1; starts.len()],
    };
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return refuse("its starts, ends, axes and steps have different lengths");
    }
    let (mut target, mut stride, mut offset) = (shape.to_vec(), strides(shape), 0isize);
    let mut seen = Vec::new();
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis_of(axis, shape.len())?;
        if seen.contains(&axis) {
            return refuse("an axis is given twice");
        }
        seen.push(axis);
        let side = shape.get(axis).copied().unwrap_or(0) as i64;
        if step == 0 {
            return refuse("a step is 0");
        }
        let turn = |v: i64| if v < 0 { v.saturating_add(side) } else { v };
        let (low, high) = if step > 0 { (0, side) } else { (-1, side - 1) };
        let start = turn(start).clamp(if step > 0 { 0 } else { 0.min(high) }, high);
        let end = turn(end).clamp(low, high.max(low));
        let span = if step > 0 { end - start } else { start - end };
        let length = if span <= 0 { 0 } else { (span as u64).div_ceil(step.unsigned_abs()) };
        if let (Some(s), Some(t)) = (stride.get_mut(axis), target.get_mut(axis)) {
            offset += start as isize * *s;
            *s = s.saturating_mul(step as isize);
            *t = length as usize;
        }
    }
    if target.contains(&0) {
        return refuse("nothing is left");
    }
    Ok(Movement { indices: Some(walk(&target, &stride, offset)?), shape: target })
}

fn tile(shape: &[usize], repeats: &Constant) -> Result<Movement, Failure> {
    let repeats = sides(repeats.as_integers()?)?;
    if repeats.len() != shape.len() {
        return refuse(format!("it has {} repeats for {} sides", repeats.len(), shape.len()));
    }
    let target: Vec<usize> = shape.iter().zip(&repeats).map(|(side, n)| side.saturating_mul(*n)).collect();
    count(&target)?;
    let mut places = vec![0usize];
    for ((&side, &long), &stride) in shape.iter().zip(&target).zip(&strides(shape)) {
        let step = |i: usize| (i % side.max(1)).saturating_mul(stride.unsigned_abs());
        places = places.iter().flat_map(|&p| (0..long).map(move |i| p.saturating_add(step(i)))).collect();
    }
    Ok(Movement { indices: Some(places), shape: target })
}

fn split(node: &Node, shape: &[usize], rest: &Rest) -> Result<Vec<Movement>, Failure> {
    let attributes = Attributes::of(node, &["axis", "split", "num_outputs"])?;
    let axis = axis_of(attributes.int("axis")?.unwrap_or(0), shape.len())?;
    let side = shape.get(axis).copied().unwrap_or(0);
    let parts = node.output.len();
    let sizes = match (attributes.ints("split")?, given(rest, 0)) {
        (Some(_), Some(_)) => return refuse("its sizes are given twice"),
        (Some(stated), None) => sides(stated)?,
        (None, Some(input)) => sides(input.as_integers()?)?,
        (None, None) => {
            let uneven = attributes.has("num_outputs");
            if uneven && attributes.int("num_outputs")? != Some(parts as i64) {
                return refuse("it should have num_outputs outputs");
            }
            let size = side.div_ceil(parts.max(1));
            if !uneven && size * parts != side {
                return refuse(format!("{side} values have no {parts} equal parts"));
            }
            (0..parts).map(|i| size.min(side.saturating_sub(i * size))).collect()
        }
    };
    if sizes.len() != parts || sizes.iter().try_fold(0usize, |t, &s| t.checked_add(s)) != Some(side) {
        return refuse(format!("parts {sizes:?} do not make {side}"));
    }
    let (front, back) = (shape.get(..axis).unwrap_or(&[]), shape.get(axis + 1..).unwrap_or(&[]));
    let mut begin = 0;
    let mut movements = Vec::new();
    for size in sizes {
        let places: Vec<usize> = (begin..begin + size).collect();
        begin += size;
        let indices = picked(count(front)?, side, count(back)?, &places);
        movements.push(Movement { indices: Some(indices), shape: [front, &[size], back].concat() });
    }
    Ok(movements)
}
