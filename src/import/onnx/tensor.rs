//! ONNX tensors as stored bytes, and the small exact maps that element-wise operators become. Untrusted.
//! `spec/semantics.md#files`.

use super::super::Problem;
use super::proto::Tensor;
use crate::policy::{TensorData, TensorDtype};

const EXTERNAL: i32 = 1;

/// A tensor of floats with its stored bytes; `None` for integers and bools, whose values are never needed.
pub(super) fn tensor_of(name: &str, tensor: &Tensor) -> Result<Option<TensorData>, Problem> {
    if tensor.data_location == EXTERNAL || !tensor.external_data.is_empty() {
        return Err(external(name, tensor));
    }
    let fail = |reason: &'static str| Problem::OnnxTensor { name: name.to_owned(), reason };
    let dtype = match tensor.data_type {
        1 => TensorDtype::F32,
        10 => TensorDtype::F16,
        11 => TensorDtype::F64,
        16 => TensorDtype::BF16,
        2..=7 | 9 | 12 | 13 => return Ok(None),
        _ => return Err(fail("its type is not read (float16, bfloat16, float32 and float64 are)")),
    };
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&side| usize::try_from(side).ok()).collect();
    let shape = shape.ok_or_else(|| fail("a dimension is negative"))?;
    let bytes = match dtype {
        _ if !tensor.raw_data.is_empty() => tensor.raw_data.clone(),
        TensorDtype::F32 => tensor.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        TensorDtype::F64 => tensor.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        TensorDtype::F16 | TensorDtype::BF16 => {
            let halves: Option<Vec<u16>> = tensor.int32_data.iter().map(|&v| u16::try_from(v).ok()).collect();
            let halves = halves.ok_or_else(|| fail("a 16-bit number has more than 16 bits"))?;
            halves.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
    };
    let read = TensorData { dtype, shape, bytes };
    if !read.is_consistent() {
        return Err(Problem::ShapeSize { name: name.to_owned(), shape: read.shape, bytes: read.bytes.len() });
    }
    Ok(Some(read))
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

/// The one number of a tensor, exactly, as text.
pub(super) fn scalar_text(tensor: &TensorData) -> Option<String> {
    match tensor.dyadics().as_deref() {
        Ok([only]) => Some(only.to_rational().to_string()),
        _ => None,
    }
}

/// `[width]` entries from `[width]`, `[1, ..., width]`, `[1]` or a scalar.
pub(super) fn broadcast(tensor: &TensorData, width: usize) -> Option<TensorData> {
    let leading = tensor.shape.split_last().map_or(&[][..], |(_, leading)| leading);
    if leading.iter().any(|&side| side != 1) {
        return None;
    }
    let bytes = match tensor.entries() {
        count if count == width => tensor.bytes.clone(),
        1 => tensor.bytes.repeat(width),
        _ => return None,
    };
    Some(TensorData { dtype: tensor.dtype, shape: vec![width], bytes })
}

/// The matrix with `entries` on its diagonal.
pub(super) fn diagonal(entries: &TensorData) -> TensorData {
    let (count, width) = (entries.entries(), entries.dtype.width());
    let mut bytes = vec![0; count * count * width];
    for (i, number) in entries.bytes.chunks_exact(width).enumerate() {
        let start = (i * count + i) * width;
        bytes[start..start + width].copy_from_slice(number);
    }
    TensorData { dtype: entries.dtype, shape: vec![count, count], bytes }
}

/// Whether every entry is 0 or -0.
pub(super) fn is_zero(tensor: &TensorData) -> bool {
    tensor.floats().iter().all(|&v| v == 0.0)
}
