//! Nodes whose inputs are all constants. Untrusted. `spec/import-onnx.md#constants`.
//!
//! Floats are computed as IEEE 754 does in the constants' own format, rounding to nearest even, which is what runtimes
//! that fold constants deploy; a function that IEEE 754 does not fix (`Exp`, most of `Pow`) is refused.

use super::constant::{Constant, INT32, INT64, Numbers, constant_of, fits, float_type, integer_type};
use super::exact::round_to;
use super::graph::Attributes;
use super::movement::{Rest, axis_of, broadcast, count, movements, spread};
use super::proto::Node;
use super::{Failure, refuse};
use crate::policy::TensorDtype;
use std::rc::Rc;

/// The constants that a node makes from constants, one per output.
pub(super) fn fold(node: &Node, inputs: &Rest, opset: i64) -> Result<Vec<Constant>, Failure> {
    let Some(first) = inputs.first().and_then(Option::as_deref) else {
        return match (node.op_type.as_str(), inputs.is_empty()) {
            ("Constant", true) => Ok(vec![stated(node)?]),
            _ => refuse(super::refusal(&node.op_type)),
        };
    };
    if let Some(moves) = movements(node, &first.shape, inputs.get(1..).unwrap_or(&[]), opset)? {
        let all = |count| (0..count).collect::<Vec<usize>>();
        let made =
            moves.into_iter().map(|m| first.at(&m.indices.unwrap_or_else(|| all(first.entries())), m.shape));
        return made.collect();
    }
    let second = inputs.get(1).and_then(Option::as_deref);
    let made = match (node.op_type.as_str(), second, inputs.len()) {
        ("Cast", None, 1) => cast(node, first)?,
        ("Neg" | "Abs" | "Sqrt" | "Reciprocal", None, 1) => unary(node, first)?,
        ("Add" | "Sub" | "Mul" | "Div" | "Pow", Some(second), 2) => binary(node, first, second)?,
        ("Max" | "Min", _, _) => {
            let others = inputs.get(1..).unwrap_or(&[]).iter().flatten();
            others.into_iter().try_fold(first.clone(), |met, next| binary(node, &met, next))?
        }
        ("Clip", _, 1..=3) => clip(node, first, inputs.get(1..).unwrap_or(&[]))?,
        ("Concat", _, _) => concat(node, inputs)?,
        ("ConstantOfShape", None, 1) => filled(node, first)?,
        ("Shape", None, 1) => shape_of(node, &first.shape)?,
        _ => {
            return refuse(format!(
                "{} is not evaluated on constants; fold the model's constants before importing it (onnxsim, or saved \
                 by ONNX Runtime with basic optimisations)",
                node.op_type
            ));
        }
    };
    Ok(vec![made])
}

fn stated(node: &Node) -> Result<Constant, Failure> {
    let known = ["value", "value_float", "value_floats", "value_int", "value_ints"];
    let attributes = Attributes::of(node, &known)?;
    if node.attribute.len() != 1 {
        return refuse("it should state one value");
    }
    let name = node.output.first().map_or("", String::as_str);
    if let Some(tensor) = attributes.tensor("value")? {
        return Ok(constant_of(name, tensor)?);
    }
    if let Some(value) = attributes.float("value_float")? {
        return Ok(Constant::floats(vec![], vec![f64::from(value)]));
    }
    if let Some(values) = attributes.floats("value_floats")? {
        return Ok(Constant::floats(vec![values.len()], values.iter().map(|&v| f64::from(v)).collect()));
    }
    if let Some(value) = attributes.int("value_int")? {
        return Ok(Constant { shape: vec![], numbers: Numbers::Integers(INT64, vec![value]) });
    }
    match attributes.ints("value_ints")? {
        Some(values) => Ok(Constant::integers(values.to_vec())),
        None => refuse("it should state one value"),
    }
}

/// `Shape`, also of the observation: the batch has one row.
pub(super) fn shape_of(node: &Node, shape: &[usize]) -> Result<Constant, Failure> {
    let attributes = Attributes::of(node, &["start", "end"])?;
    let rank = shape.len() as i64;
    let turn = |v: i64| if v < 0 { v.saturating_add(rank) } else { v }.clamp(0, rank) as usize;
    let start = turn(attributes.int("start")?.unwrap_or(0));
    let end = turn(attributes.int("end")?.unwrap_or(rank));
    let sides = shape.get(start..end.max(start)).unwrap_or(&[]);
    Ok(Constant::integers(sides.iter().map(|&side| side as i64).collect()))
}

fn filled(node: &Node, shape: &Constant) -> Result<Constant, Failure> {
    let value = match Attributes::of(node, &["value"])?.tensor("value")? {
        Some(tensor) => constant_of("value", tensor)?,
        None => Constant::floats(vec![1], vec![0.0]),
    };
    let sides: Option<Vec<usize>> = shape.as_integers()?.iter().map(|&n| usize::try_from(n).ok()).collect();
    let sides = sides.ok_or_else(|| Failure::Reason("a side is negative".into()))?;
    if value.entries() != 1 {
        return refuse("its value is not one number");
    }
    value.at(&vec![0; count(&sides)?], sides)
}

fn cast(node: &Node, constant: &Constant) -> Result<Constant, Failure> {
    let to = Attributes::of(node, &["to", "saturate", "round_mode"])?.int("to")?;
    let to = to.and_then(|t| i32::try_from(t).ok()).unwrap_or(0);
    let numbers = match (&constant.numbers, float_type(to), integer_type(to)) {
        (Numbers::Floats(_, values), Some(dtype), _) => {
            Numbers::Floats(dtype, values.iter().map(|&v| round_to(dtype, v)).collect())
        }
        (Numbers::Integers(_, values), Some(dtype), _) => {
            if values.iter().any(|v| v.unsigned_abs() > 1 << 53) {
                return refuse("an integer is too large for a float");
            }
            Numbers::Floats(dtype, values.iter().map(|&v| round_to(dtype, v as f64)).collect())
        }
        (Numbers::Integers(_, values), None, Some(_)) => Numbers::Integers(to, fitting(to, values.clone())?),
        (Numbers::Floats(_, values), None, Some(_)) => {
            if values.iter().any(|v| v.fract() != 0.0 || v.abs() > 1e9) {
                return refuse("floats are cast to integers");
            }
            Numbers::Integers(to, fitting(to, values.iter().map(|&v| v as i64).collect())?)
        }
        _ => return refuse("it casts to a type that is not read"),
    };
    Ok(Constant { shape: constant.shape.clone(), numbers })
}

fn fitting(element: i32, values: Vec<i64>) -> Result<Vec<i64>, Failure> {
    match fits(element, &values) {
        true => Ok(values),
        false => refuse("an integer does not fit its type"),
    }
}

fn unary(node: &Node, constant: &Constant) -> Result<Constant, Failure> {
    Attributes::of(node, &[])?;
    let (dtype, values) = constant.as_floats()?;
    if !["Neg", "Abs"].contains(&node.op_type.as_str()) {
        rounds_as_stated(dtype)?;
    }
    let f: fn(f64) -> f64 = match node.op_type.as_str() {
        "Neg" => |v| -v,
        "Abs" => f64::abs,
        "Sqrt" => f64::sqrt,
        _ => |v| 1.0 / v,
    };
    // one operation in binary64 and one rounding give the narrower formats' own result: 53 >= 2 * 24 + 2 bits
    let values = values.iter().map(|&v| round_to(dtype, f(v))).collect();
    Ok(Constant { shape: constant.shape.clone(), numbers: Numbers::Floats(dtype, values) })
}

/// Runtimes compute with 16-bit constants in 32 bits and do not always round in between.
fn rounds_as_stated(dtype: TensorDtype) -> Result<(), Failure> {
    match dtype {
        TensorDtype::F32 | TensorDtype::F64 => Ok(()),
        TensorDtype::F16 | TensorDtype::BF16 => refuse(
            "it computes with constants of 16 bits, which runtimes round differently; export the model in float32, or \
             fold its constants before importing it",
        ),
    }
}

fn binary(node: &Node, left: &Constant, right: &Constant) -> Result<Constant, Failure> {
    Attributes::of(node, &["broadcast"])?;
    let shape = broadcast(&left.shape, &right.shape)?;
    let left = left.at(&spread(&left.shape, &shape)?, shape.clone())?;
    let right = right.at(&spread(&right.shape, &shape)?, shape.clone())?;
    let numbers = match (&left.numbers, &right.numbers) {
        (Numbers::Floats(dtype, a), Numbers::Floats(other, b)) if dtype == other => {
            Numbers::Floats(*dtype, float_operation(&node.op_type, *dtype, a, b)?)
        }
        (Numbers::Integers(kind, a), Numbers::Integers(other, b)) if kind == other => {
            if ![INT32, INT64].contains(kind) {
                return refuse("only integers of 32 and 64 bits are computed with");
            }
            let made: Result<Vec<i64>, Failure> =
                a.iter().zip(b).map(|(&a, &b)| integer_operation(&node.op_type, a, b)).collect();
            Numbers::Integers(*kind, fitting(*kind, made?)?)
        }
        (Numbers::Floats(dtype, a), other) if node.op_type == "Pow" => {
            let exponents = match other {
                Numbers::Floats(_, b) => b.clone(),
                Numbers::Integers(_, b) => b.iter().map(|&v| v as f64).collect(),
            };
            Numbers::Floats(*dtype, float_operation("Pow", *dtype, a, &exponents)?)
        }
        _ => return refuse("its constants have different types"),
    };
    Ok(Constant { shape, numbers })
}

/// `min(max(x, lower), upper)`, either bound possibly absent.
fn clip(node: &Node, constant: &Constant, bounds: &Rest) -> Result<Constant, Failure> {
    let attributes = Attributes::of(node, &["min", "max"])?;
    let (dtype, values) = constant.as_floats()?;
    let mut values = values.to_vec();
    for (place, name, kind) in [(0, "min", "Max"), (1, "max", "Min")] {
        let bound = match (bounds.get(place).and_then(Option::as_deref), attributes.float(name)?) {
            (Some(input), None) if input.entries() == 1 && input.shape.len() <= 1 => {
                match input.as_floats()? {
                    (other, &[bound]) if other == dtype => bound,
                    _ => return refuse("its constants have different types"),
                }
            }
            (None, Some(stated)) => f64::from(stated),
            (None, None) => continue,
            _ => return refuse(format!("its {name} is not one number")),
        };
        values = float_operation(kind, dtype, &values, &vec![bound; values.len()])?;
    }
    Ok(Constant { shape: constant.shape.clone(), numbers: Numbers::Floats(dtype, values) })
}

fn float_operation(kind: &str, dtype: TensorDtype, a: &[f64], b: &[f64]) -> Result<Vec<f64>, Failure> {
    if !["Max", "Min"].contains(&kind) {
        rounds_as_stated(dtype)?;
    }
    let f: fn(f64, f64) -> Option<f64> = match kind {
        "Add" => |a, b| Some(a + b),
        "Sub" => |a, b| Some(a - b),
        "Mul" => |a, b| Some(a * b),
        "Div" => |a, b| Some(a / b),
        "Max" => |a, b| Some(if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }),
        "Min" => |a, b| Some(if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }),
        _ => |a, b| match b {
            1.0 => Some(a),
            2.0 => Some(a * a),
            0.5 if a >= 0.0 => Some(a.sqrt()),
            -1.0 => Some(1.0 / a),
            _ => None,
        },
    };
    let made: Option<Vec<f64>> =
        a.iter().zip(b).map(|(&a, &b)| f(a, b).map(|v| round_to(dtype, v))).collect();
    made.ok_or_else(|| Failure::Reason("only powers of 1, 2, 1/2 and -1 of constants are computed".into()))
}

fn integer_operation(kind: &str, a: i64, b: i64) -> Result<i64, Failure> {
    let made = match kind {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Max" => Some(a.max(b)),
        "Min" => Some(a.min(b)),
        _ => None,
    };
    made.ok_or_else(|| Failure::Reason("its integers overflow, divide by zero or are powers".into()))
}

fn concat(node: &Node, inputs: &Rest) -> Result<Constant, Failure> {
    let parts: Vec<Rc<Constant>> = inputs.iter().flatten().cloned().collect();
    let (Some(first), true) = (parts.first(), parts.len() == inputs.len()) else {
        return refuse("one of its inputs is missing");
    };
    let axis = Attributes::of(node, &["axis"])?.int("axis")?.unwrap_or(1);
    let shapes: Vec<&[usize]> = parts.iter().map(|p| p.shape.as_slice()).collect();
    let joined = joined(&shapes, axis)?;
    let numbers = match &first.numbers {
        Numbers::Floats(dtype, _) => {
            let mut all = Vec::new();
            for part in &parts {
                match &part.numbers {
                    Numbers::Floats(other, values) if other == dtype => all.extend_from_slice(values),
                    _ => return refuse("its constants have different types"),
                }
            }
            Numbers::Floats(*dtype, all)
        }
        Numbers::Integers(kind, _) => {
            let mut all = Vec::new();
            for part in &parts {
                match &part.numbers {
                    Numbers::Integers(other, values) if other == kind => all.extend_from_slice(values),
                    _ => return refuse("its constants have different types"),
                }
            }
            Numbers::Integers(*kind, all)
        }
    };
    let flat = Constant { shape: vec![joined.1.len()], numbers };
    flat.at(&joined.1, joined.0)
}

/// Shape of a concatenation, and for each entry its place in the parts' entries one after another.
pub(super) fn joined(shapes: &[&[usize]], axis: i64) -> Result<(Vec<usize>, Vec<usize>), Failure> {
    let first = *shapes.first().ok_or_else(|| Failure::Reason("it has no inputs".into()))?;
    let axis = axis_of(axis, first.len())?;
    let around = |shape: &[usize]| {
        let mut sides = shape.to_vec();
        sides.get_mut(axis).map(std::mem::take);
        sides
    };
    if shapes.iter().any(|shape| around(shape) != around(first)) {
        return refuse(format!("shapes {shapes:?} do not join along axis {axis}"));
    }
    let mut target = first.to_vec();
    let total = shapes.iter().filter_map(|shape| shape.get(axis)).fold(0, |t: usize, &s| t.saturating_add(s));
    target.get_mut(axis).map(|side| std::mem::replace(side, total));
    count(&target)?;
    let (front, back) =
        (count(first.get(..axis).unwrap_or(&[]))?, count(first.get(axis + 1..).unwrap_or(&[]))?);
    let mut starts = Vec::new();
    let mut start = 0;
    for shape in shapes {
        let row = shape.get(axis).copied().unwrap_or(0) * back;
        starts.push((start, row));
        start += front * row;
    }
    let rows = (0..front).flat_map(|f| starts.iter().map(move |&(start, row)| (start + f * row, row)));
    Ok((target, rows.flat_map(|(begin, row)| begin..begin + row).collect()))
}
