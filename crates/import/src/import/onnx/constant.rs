//! Constants of an ONNX graph: initializers and what is computed from them. Untrusted. `spec/import-onnx.md`.
//!
//! Floats are kept as binary64, which holds every stored format, beside the format they came in.

use super::exact::{self, Vector};
use super::proto::Tensor;
use super::{Failure, refuse};
use crate::import::problem::Problem;
use crate::policy::{TensorData, TensorDtype};

/// Entries of a value, and of all values together that a graph makes: small files can ask for large ones.
pub(super) const MAX_ENTRIES: usize = 1 << 27;
/// ONNX's element types.
pub(super) const INT32: i32 = 6;
pub(super) const INT64: i32 = 7;
const EXTERNAL: i32 = 1;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    Floats(TensorDtype, Vec<f64>),
    /// Element type, values (booleans are 0 and 1).
    Integers(i32, Vec<i64>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Numbers,
}

/// The float format of an ONNX element type.
pub(super) fn float_type(element: i32) -> Option<TensorDtype> {
    match element {
        1 => Some(TensorDtype::F32),
        10 => Some(TensorDtype::F16),
        11 => Some(TensorDtype::F64),
        16 => Some(TensorDtype::BF16),
        _ => None,
    }
}

/// Bytes and signedness of an ONNX integer type; booleans are unsigned bytes.
pub(super) fn integer_type(element: i32) -> Option<(usize, bool)> {
    match element {
        2 | 9 => Some((1, false)),
        3 => Some((1, true)),
        4 => Some((2, false)),
        5 => Some((2, true)),
        INT32 => Some((4, true)),
        INT64 => Some((8, true)),
        12 => Some((4, false)),
        _ => None,
    }
}

impl Constant {
    pub(super) fn integers(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], numbers: Numbers::Integers(INT64, values) }
    }

    pub(super) fn floats(shape: Vec<usize>, values: Vec<f64>) -> Self {
        Self { shape, numbers: Numbers::Floats(TensorDtype::F32, values) }
    }

    pub(super) fn entries(&self) -> usize {
        match &self.numbers {
            Numbers::Floats(_, values) => values.len(),
            Numbers::Integers(_, values) => values.len(),
        }
    }

    /// Its integers (shapes, axes, indices).
    pub(super) fn as_integers(&self) -> Result<&[i64], Failure> {
        match &self.numbers {
            Numbers::Integers(_, values) => Ok(values),
            Numbers::Floats(..) => refuse("floats stand where integers belong"),
        }
    }

    /// Its floats.
    pub(super) fn as_floats(&self) -> Result<(TensorDtype, &[f64]), Failure> {
        match &self.numbers {
            Numbers::Floats(dtype, values) => Ok((*dtype, values)),
            Numbers::Integers(..) => refuse("integers stand where floats belong"),
        }
    }

    /// A float tensor with the bytes that were stored.
    pub(super) fn tensor(&self) -> Result<TensorData, Failure> {
        let (dtype, values) = self.as_floats()?;
        Ok(exact::tensor(dtype, self.shape.clone(), values))
    }

    /// The entries at `indices`, as a constant of that shape.
    pub(super) fn at(&self, indices: &[usize], shape: Vec<usize>) -> Result<Self, Failure> {
        let outside = || Failure::Reason("it reads outside of a constant".into());
        let numbers = match &self.numbers {
            Numbers::Floats(dtype, values) => {
                let picked: Option<_> = indices.iter().map(|&i| values.get(i).copied()).collect();
                Numbers::Floats(*dtype, picked.ok_or_else(outside)?)
            }
            Numbers::Integers(kind, values) => {
                let picked: Option<_> = indices.iter().map(|&i| values.get(i).copied()).collect();
                Numbers::Integers(*kind, picked.ok_or_else(outside)?)
            }
        };
        Ok(Self { shape, numbers })
    }

    /// Finite floats at `indices`; `name` is what messages call the constant.
    pub(super) fn vector(&self, name: &str, indices: &[usize]) -> Result<Vector, Failure> {
        let (dtype, values) = self.as_floats()?;
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(Problem::NotFinite { name: name.to_owned(), index }.into());
        }
        let picked = Vector { dtype, values: values.to_vec() }.pick(indices);
        picked.ok_or_else(|| Failure::Reason("it reads outside of a constant".into()))
    }
}

/// The tensor of an initializer or of a `Constant` node.
///
/// # Errors
/// [`Problem::ExternalData`], [`Problem::OnnxTensor`], [`Problem::ShapeSize`].
pub(super) fn constant_of(name: &str, tensor: &Tensor) -> Result<Constant, Problem> {
    if tensor.data_location == EXTERNAL || !tensor.external_data.is_empty() {
        return Err(external(name, tensor));
    }
    let fail = |reason: &'static str| Problem::OnnxTensor { name: name.to_owned(), reason };
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&side| usize::try_from(side).ok()).collect();
    let shape = shape.ok_or_else(|| fail("a dimension is negative"))?;
    if shape.iter().any(|&side| side > MAX_ENTRIES) {
        return Err(fail("a dimension is larger than any that is read"));
    }
    if tensor.segment.is_some() {
        return Err(fail("it is stored in segments"));
    }
    let typed = tensor.float_data.len() + tensor.int32_data.len() + tensor.int64_data.len();
    if !tensor.raw_data.is_empty() && typed + tensor.double_data.len() > 0 {
        return Err(fail("it is stored twice, as raw bytes and as numbers"));
    }
    if let Some(dtype) = float_type(tensor.data_type) {
        let read = TensorData { dtype, shape, bytes: float_bytes(dtype, tensor).map_err(fail)? };
        if !read.is_consistent() {
            return Err(Problem::ShapeSize {
                name: name.to_owned(),
                shape: read.shape,
                bytes: read.bytes.len(),
            });
        }
        let values = read.floats();
        return Ok(Constant { shape: read.shape, numbers: Numbers::Floats(dtype, values) });
    }
    let Some((width, signed)) = integer_type(tensor.data_type) else {
        return Err(fail("its type is not read (floats of 16, 32 and 64 bits, integers and booleans are)"));
    };
    let values: Vec<i64> = if !tensor.raw_data.is_empty() {
        tensor.raw_data.chunks(width).map(|raw| integer(raw, signed)).collect()
    } else if tensor.data_type == INT64 {
        tensor.int64_data.clone()
    } else {
        tensor.int32_data.iter().map(|&v| i64::from(v)).collect()
    };
    let count = shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side));
    if count != Some(values.len()) || !tensor.raw_data.len().is_multiple_of(width) {
        let bytes = if tensor.raw_data.is_empty() { values.len() * width } else { tensor.raw_data.len() };
        return Err(Problem::ShapeSize { name: name.to_owned(), shape, bytes });
    }
    if !fits(tensor.data_type, &values) {
        return Err(fail("a number is outside of its type"));
    }
    Ok(Constant { shape, numbers: Numbers::Integers(tensor.data_type, values) })
}

/// Whether integers lie in an element type's range (booleans: 0 and 1).
pub(super) fn fits(element: i32, values: &[i64]) -> bool {
    let (width, signed) = integer_type(element).unwrap_or((8, true));
    let bits = if element == 9 { 1 } else { 8 * width as u32 - u32::from(signed) };
    let largest = i64::MAX >> (63 - bits);
    let least = if signed { -largest - 1 } else { 0 };
    values.iter().all(|v| (least..=largest).contains(v))
}

fn float_bytes(dtype: TensorDtype, tensor: &Tensor) -> Result<Vec<u8>, &'static str> {
    Ok(match dtype {
        _ if !tensor.raw_data.is_empty() => tensor.raw_data.clone(),
        TensorDtype::F32 => tensor.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        TensorDtype::F64 => tensor.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        TensorDtype::F16 | TensorDtype::BF16 => {
            let halves: Option<Vec<u16>> = tensor.int32_data.iter().map(|&v| u16::try_from(v).ok()).collect();
            let halves = halves.ok_or("a 16-bit number has more than 16 bits")?;
            halves.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
    })
}

fn integer(raw: &[u8], signed: bool) -> i64 {
    let bits = raw.iter().rev().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    let unused = 64 - 8 * raw.len() as u32;
    if signed { (bits << unused) as i64 >> unused } else { bits as i64 }
}

fn external(name: &str, tensor: &Tensor) -> Problem {
    let location = tensor.external_data.iter().find(|e| e.key == "location");
    let location = location.map(|e| e.value.clone()).unwrap_or_default();
    let parts = || location.split(['/', '\\']);
    let reason = if parts().any(|part| part == "..") {
        "its path climbs out of the model's folder"
    } else if location.starts_with(['/', '\\']) || location.contains(':') {
        "its path is absolute"
    } else {
        "other files, which may be links, are never opened"
    };
    Problem::ExternalData { name: name.to_owned(), location, reason }
}
