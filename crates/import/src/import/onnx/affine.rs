//! `Gemm`, `MatMul` and `BatchNormalization` on the observation. Untrusted. `spec/import-onnx.md#layers`.
//!
//! A weight meets one row or one column; a product that uses it for several rows (a batch, a sequence) is refused.

use super::constant::Constant;
use super::exact::{self, Vector, product, round_to, wider};
use super::execute::{Execution, Signal};
use super::graph::Attributes;
use super::lower::Map;
use super::movement::{broadcast, count, spread};
use super::proto::Node;
use super::{Failure, refuse};
use crate::policy::{TensorData, TensorDtype};
use std::rc::Rc;

type Constants<'a> = &'a [Option<Rc<Constant>>];

fn absent(what: &str) -> Failure {
    Failure::Reason(format!("its {what} is missing or no constant"))
}

fn name(node: &Node, place: usize) -> &str {
    node.input.get(place).map_or("", String::as_str)
}

/// A matrix as stored or transposed, rows x columns.
fn matrix(constant: &Constant, transposed: bool) -> Result<TensorData, Failure> {
    let mut tensor = constant.tensor()?;
    if tensor.shape.len() > 2 && tensor.shape.iter().rev().skip(2).all(|&side| side == 1) {
        tensor.shape.drain(..tensor.shape.len() - 2);
    }
    if tensor.shape.len() != 2 {
        return refuse(format!("its weight of shape {:?} is no matrix", constant.shape));
    }
    match transposed {
        true => tensor.transposed().ok_or_else(|| absent("weight")),
        false => Ok(tensor),
    }
}

/// `factor * tensor`, exactly.
fn scaled(tensor: &TensorData, factor: f32) -> Result<TensorData, Failure> {
    if factor == 1.0 {
        return Ok(tensor.clone());
    }
    let values: Option<Vec<f64>> = tensor.floats().iter().map(|&v| product(v, f64::from(factor))).collect();
    let dtype = wider(tensor.dtype, TensorDtype::F32);
    match values {
        Some(values) => Ok(exact::tensor(dtype, tensor.shape.clone(), &values)),
        None => refuse(format!("a weight times {factor} is no binary64 number; fold it before exporting")),
    }
}

impl Execution<'_> {
    /// `alpha A B + beta C` with the observation as one row of A or one column of B.
    pub(super) fn gemm(
        &mut self,
        node: &Node,
        place: usize,
        signal: &Signal,
        constants: Constants<'_>,
    ) -> Result<Signal, Failure> {
        let attributes = Attributes::of(node, &["alpha", "beta", "transA", "transB", "broadcast"])?;
        let number = |name: &str| -> Result<f32, Failure> { Ok(attributes.float(name)?.unwrap_or(1.0)) };
        let turned = |name: &str| -> Result<bool, Failure> { Ok(attributes.int(name)?.unwrap_or(0) != 0) };
        let (alpha, beta) = (number("alpha")?, number("beta")?);
        let own = if place == 0 { turned("transA")? } else { turned("transB")? };
        let &[mut rows, mut columns] = signal.shape.as_slice() else {
            return refuse(format!("it reads a value of shape {:?}; a Gemm reads matrices", signal.shape));
        };
        if own {
            (rows, columns) = (columns, rows);
        }
        let other = |at: usize| constants.get(at).and_then(Option::as_deref).ok_or_else(|| absent("weight"));
        let (weight, shape) = match place {
            0 if rows == 1 => {
                let weight = matrix(other(1)?, !turned("transB")?)?;
                let made = [1, weight.shape.first().copied().unwrap_or(0)];
                (weight, made)
            }
            1 if columns == 1 => {
                let weight = matrix(other(0)?, turned("transA")?)?;
                let made = [weight.shape.first().copied().unwrap_or(0), 1];
                (weight, made)
            }
            0 | 1 => return refuse(shared(&signal.shape)),
            _ => return refuse("its bias depends on the observation"),
        };
        let (weight, reads) = (scaled(&weight, alpha)?, count(&signal.shape)?);
        if weight.shape.get(1) != Some(&reads) {
            return refuse(format!("its weight reads {:?} values but {reads} come", weight.shape.get(1)));
        }
        let bias = match constants.get(2).and_then(Option::as_deref) {
            Some(bias) => {
                let indices = spread(&bias.shape, &shape)?;
                let values = bias.vector(name(node, 2), &indices)?;
                Some(scaled(&values.tensor(), beta)?)
            }
            None => None,
        };
        let mut made = self.push(signal, Map::Affine { name: weight_name(node, place), weight, bias });
        made.shape = shape.to_vec();
        Ok(made)
    }

    /// `x W` or `W x`.
    pub(super) fn product(
        &mut self,
        node: &Node,
        place: usize,
        signal: &Signal,
        constants: Constants<'_>,
    ) -> Result<Signal, Failure> {
        Attributes::of(node, &[])?;
        let weight = constants.get(1 - place.min(1)).and_then(Option::as_deref);
        let weight = weight.ok_or_else(|| absent("weight"))?;
        let (reads, rank) = (count(&signal.shape)?, signal.shape.len());
        // a side of one entry is a whole row or column: NumPy's rule for vectors
        let inner = match place {
            0 => rank.checked_sub(1),
            _ => rank.checked_sub(2).or(rank.checked_sub(1)),
        };
        let side = inner.and_then(|i| signal.shape.get(i)).copied();
        if side != Some(reads) || reads == 0 {
            return refuse(shared(&signal.shape));
        }
        let leading = weight.shape.len().saturating_sub(2);
        let batch = weight.shape.get(..leading).unwrap_or(&[]);
        if batch.iter().any(|&s| s != 1) {
            return refuse(format!("its weight of shape {:?} is no matrix", weight.shape));
        }
        let (matrix, made) = match (place, weight.shape.len()) {
            (_, 0) => return refuse("its weight is a single number"),
            (0, 1) => (vector_row(weight)?, vec![]),
            (_, 1) => (vector_row(weight)?, vec![]),
            (0, _) => (matrix(weight, true)?, vec![weight.shape.last().copied().unwrap_or(0)]),
            _ => (matrix(weight, false)?, weight.shape.get(leading..=leading).unwrap_or(&[]).to_vec()),
        };
        if matrix.shape.get(1) != Some(&reads) {
            let (rows, columns) = (matrix.shape.first(), matrix.shape.get(1));
            return refuse(format!(
                "its weight maps {} values to {} but {reads} come",
                columns.copied().unwrap_or(0),
                rows.copied().unwrap_or(0)
            ));
        }
        // the sides of the signal around the one that is multiplied
        let (before, after): (&[usize], &[usize]) = match (place, rank) {
            (0, _) => (signal.shape.get(..rank - 1).unwrap_or(&[]), &[]),
            (_, 1) => (&[], &[]),
            _ => (signal.shape.get(..rank - 2).unwrap_or(&[]), signal.shape.get(rank - 1..).unwrap_or(&[])),
        };
        let before = if rank > 1 && weight.shape.len() > 2 {
            let outer = if place == 0 { before.get(..rank - 2).unwrap_or(&[]) } else { before };
            let row = if place == 0 { before.get(rank - 2..).unwrap_or(&[]) } else { &[] };
            [&broadcast(outer, batch)?, row].concat()
        } else if weight.shape.len() > 2 {
            batch.to_vec()
        } else {
            before.to_vec()
        };
        let map = Map::Affine { name: weight_name(node, place), weight: matrix, bias: None };
        let mut result = self.push(signal, map);
        result.shape = [&before, &made, after].concat();
        Ok(result)
    }

    /// Inference form: `factor x + (bias - mean factor)`, `factor = scale / sqrt(var + epsilon)`, both computed as
    /// constants of the stored format, or of 32 bits if that is narrower, as runtimes do.
    pub(super) fn batch_normalization(
        &mut self,
        node: &Node,
        place: usize,
        signal: &Signal,
        constants: Constants<'_>,
    ) -> Result<Signal, Failure> {
        let known = ["epsilon", "momentum", "training_mode", "spatial", "is_test"];
        let attributes = Attributes::of(node, &known)?;
        let old = self.live.opset < 7 && attributes.int("is_test")?.unwrap_or(0) == 0;
        let several = node.output.iter().skip(1).any(|o| !o.is_empty());
        if old || several || attributes.int("training_mode")?.unwrap_or(0) != 0 {
            return refuse(
                "it normalises with the statistics of a batch (training mode); export in evaluation mode",
            );
        }
        if place != 0 || attributes.int("spatial")?.unwrap_or(1) != 1 {
            return refuse("it is no normalisation of channels by stored statistics");
        }
        let channels = *signal.shape.get(1).ok_or_else(|| absent("axis of channels"))?;
        let inner = count(signal.shape.get(2..).unwrap_or(&[]))?;
        let entries = count(&signal.shape)?;
        let indices: Vec<usize> = (0..entries).map(|i| i / inner.max(1) % channels.max(1)).collect();
        let input = |at: usize| -> Result<Vector, Failure> {
            let constant = constants.get(at).and_then(Option::as_deref).ok_or_else(|| absent("statistic"))?;
            if constant.shape != [channels] {
                return refuse(format!("a statistic has shape {:?}, not [{channels}]", constant.shape));
            }
            constant.vector(name(node, at), &indices)
        };
        let (scale, bias, mean, variance) = (input(1)?, input(2)?, input(3)?, input(4)?);
        let epsilon = f64::from(attributes.float("epsilon")?.unwrap_or(1e-5));
        let stored = wider(wider(scale.dtype, bias.dtype), wider(mean.dtype, variance.dtype));
        let dtype = wider(stored, TensorDtype::F32);
        let rounded = |v: f64| round_to(dtype, v);
        let numbers = scale.values.iter().zip(&bias.values).zip(mean.values.iter().zip(&variance.values));
        let mut factor = Vector { dtype, values: Vec::new() };
        let mut shift = Vector { dtype, values: Vec::new() };
        for ((&scale, &bias), (&mean, &variance)) in numbers {
            let std = rounded(rounded(variance + rounded(epsilon)).sqrt());
            let made = rounded(scale / std);
            factor.values.push(made);
            shift.values.push(rounded(bias - rounded(mean * made)));
        }
        if !factor.values.iter().chain(&shift.values).all(|v| v.is_finite()) {
            return refuse("variance + epsilon is not positive, or its statistics are too large");
        }
        let scaled = self.push(signal, Map::Scale(factor));
        Ok(self.push(&scaled, Map::Shift(shift)))
    }
}

fn vector_row(weight: &Constant) -> Result<TensorData, Failure> {
    let mut tensor = weight.tensor()?;
    tensor.shape.insert(0, 1);
    Ok(tensor)
}

fn weight_name(node: &Node, place: usize) -> String {
    name(node, 1 - place.min(1)).to_owned()
}

fn shared(shape: &[usize]) -> String {
    format!(
        "it uses one weight for several rows of a value of shape {shape:?}; one row or one column is read"
    )
}
