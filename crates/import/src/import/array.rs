//! Typed arrays as foreign files hold them, before it is known what they are for. Untrusted. `spec/semantics.md#files`.

use crate::import::problem::Problem;
use crate::policy::{ActivationSpec, TensorData, TensorDtype};
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet};

/// Kind of an array's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// A stored float.
    Float(TensorDtype),
    /// An integer of so many bytes.
    Integer(usize),
    /// One byte, 0 or 1.
    Bool,
    /// UTF-32 text of at most so many characters.
    Text(usize),
}

impl Element {
    /// Bytes of one entry.
    pub fn width(self) -> usize {
        match self {
            Self::Float(dtype) => dtype.width(),
            Self::Integer(width) => width,
            Self::Bool => 1,
            Self::Text(length) => length.saturating_mul(4),
        }
    }

    /// From a NumPy type string without its byte order: `f4`, `i8`, `b1`, `U4`.
    pub fn from_numpy(code: &str) -> Option<Self> {
        Some(match code {
            "f2" => Self::Float(TensorDtype::F16),
            "f4" => Self::Float(TensorDtype::F32),
            "f8" => Self::Float(TensorDtype::F64),
            "b1" => Self::Bool,
            "i1" | "u1" => Self::Integer(1),
            "i2" | "u2" => Self::Integer(2),
            "i4" | "u4" => Self::Integer(4),
            "i8" | "u8" => Self::Integer(8),
            _ => {
                let length: usize = code.strip_prefix('U')?.parse().ok()?;
                Self::Text(length)
            }
        })
    }

    /// From a safetensors dtype name.
    pub fn from_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "F16" => Self::Float(TensorDtype::F16),
            "BF16" => Self::Float(TensorDtype::BF16),
            "F32" => Self::Float(TensorDtype::F32),
            "F64" => Self::Float(TensorDtype::F64),
            "BOOL" => Self::Bool,
            "U8" | "I8" => Self::Integer(1),
            "U16" | "I16" => Self::Integer(2),
            "U32" | "I32" => Self::Integer(4),
            "U64" | "I64" => Self::Integer(8),
            _ => return None,
        })
    }
}

/// An array: little-endian, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Kind of the entries.
    pub element: Element,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Entries.
    pub bytes: Vec<u8>,
}

/// Arrays by name, with what the file says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrays {
    /// The arrays, in the file's order.
    pub named: IndexMap<String, Array>,
    /// Whether that order is the order in which the modules were made: in pickles and NPZ archives, not in safetensors
    /// files, whose writers sort.
    pub ordered: bool,
    /// Free text of the file, such as `activation` and `distribution`.
    pub metadata: BTreeMap<String, String>,
    /// What the settings inside a checkpoint say about activations: where, and what; they confirm the options or stop the
    /// import.
    pub settings: Vec<(String, String)>,
    /// Whether it is a pickled checkpoint, whose outermost dictionary holds settings of the training too.
    pub pickled: bool,
    /// Names of tensors that the file says are none (`bias=False` in a pickled module).
    pub absent: BTreeSet<String>,
    /// Pickled modules whose classes say their layers: where they are, and stems with activations.
    pub chains: Vec<(String, Vec<(String, ActivationSpec)>)>,
}

impl Array {
    /// An array whose bytes have the length its shape asks for.
    ///
    /// # Errors
    /// [`Problem::ShapeSize`] if they do not, also when the product of the dimensions overflows.
    pub fn new(name: &str, element: Element, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, Problem> {
        if byte_count(&shape, element) != Some(bytes.len()) {
            return Err(Problem::ShapeSize { name: name.to_owned(), shape, bytes: bytes.len() });
        }
        Ok(Self { element, shape, bytes })
    }

    /// The array of a tensor.
    ///
    /// # Errors
    /// [`Problem::ShapeSize`] if the tensor is not consistent.
    pub fn of(name: &str, tensor: TensorData) -> Result<Self, Problem> {
        Self::new(name, Element::Float(tensor.dtype), tensor.shape, tensor.bytes)
    }

    /// The tensor, if the entries are floats.
    pub fn tensor(&self) -> Option<TensorData> {
        match self.element {
            Element::Float(dtype) => {
                Some(TensorData { dtype, shape: self.shape.clone(), bytes: self.bytes.clone() })
            }
            _ => None,
        }
    }

    /// A tensor of floats.
    ///
    /// # Errors
    /// [`Problem::NotFloats`] naming the array.
    pub fn floats(&self, name: &str) -> Result<TensorData, Problem> {
        self.tensor().ok_or_else(|| Problem::NotFloats(name.to_owned()))
    }

    /// The one entry of an array without dimensions or of one entry, as binary64 (integers beyond 2^53 are rounded).
    pub fn number(&self) -> Option<f64> {
        match self.element {
            Element::Float(_) => match self.tensor()?.floats()[..] {
                [only] => Some(only),
                _ => None,
            },
            // whether an integer is signed is not kept: one with its top bit set is no small positive number
            Element::Integer(width) if self.bytes.len() == width && self.bytes.last()? & 0x80 == 0 => {
                Some(self.bytes.iter().rev().fold(0u64, |v, &b| v << 8 | u64::from(b)) as f64)
            }
            _ => None,
        }
    }

    /// The text of a scalar text array.
    pub fn text(&self) -> Option<String> {
        let Element::Text(_) = self.element else { return None };
        let characters =
            self.bytes.chunks_exact(4).map(|b| b.iter().rev().fold(0u32, |v, &x| v << 8 | u32::from(x)));
        characters.take_while(|&c| c != 0).map(char::from_u32).collect()
    }

    /// The texts of a text array, row-major.
    pub fn texts(&self) -> Option<Vec<String>> {
        let Element::Text(length) = self.element else { return None };
        let entries = self.bytes.chunks_exact(length.max(1).checked_mul(4)?);
        entries.map(|bytes| Self { bytes: bytes.to_vec(), ..self.clone() }.text()).collect()
    }

    /// Every entry as kept or pruned; `None` if an entry is neither 0 nor 1.
    pub fn zero_one(&self) -> Option<Vec<bool>> {
        match self.element {
            Element::Float(_) => self.tensor()?.floats().into_iter().map(zero_or_one).collect(),
            Element::Integer(_) | Element::Bool => {
                let entries = self.bytes.chunks_exact(self.element.width());
                entries.map(|b| (b[1..].iter().all(|&x| x == 0) && b[0] <= 1).then_some(b[0] == 1)).collect()
            }
            Element::Text(_) => None,
        }
    }
}

fn zero_or_one(value: f64) -> Option<bool> {
    (value == 0.0 || value == 1.0).then_some(value == 1.0)
}

/// Bytes that `shape` needs, or `None` on overflow.
pub fn byte_count(shape: &[usize], element: Element) -> Option<usize> {
    shape.iter().try_fold(element.width(), |product, &side| product.checked_mul(side))
}

/// Column-major bytes made row-major.
pub fn from_fortran(shape: &[usize], width: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = vec![0usize; shape.len()];
    for _ in 0..bytes.len() / width.max(1) {
        let mut offset = 0;
        for (i, side) in index.iter().zip(shape).rev() {
            offset = offset * side + i;
        }
        out.extend_from_slice(bytes.get(offset * width..(offset + 1) * width).unwrap_or_default());
        for (i, side) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *side {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// Each entry's bytes reversed: big-endian made little-endian.
pub fn swapped(width: usize, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.chunks_exact_mut(width.max(1)).for_each(<[u8]>::reverse);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [[1,2,3],[4,5,6]] in column-major order is 1,4,2,5,3,6.
    #[test]
    fn column_major_is_reordered() {
        assert_eq!(from_fortran(&[2, 3], 1, &[1, 4, 2, 5, 3, 6]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(swapped(2, vec![1, 2, 3, 4]), [2, 1, 4, 3]);
    }

    #[test]
    fn only_zeros_and_ones_make_a_mask() {
        let array = |element, bytes: Vec<u8>| Array { element, shape: vec![2], bytes };
        assert_eq!(array(Element::Bool, vec![0, 1]).zero_one(), Some(vec![false, true]));
        assert_eq!(array(Element::Integer(1), vec![0, 2]).zero_one(), None);
        let halves = [0.5f32.to_le_bytes(), 1f32.to_le_bytes()].concat();
        assert_eq!(array(Element::Float(TensorDtype::F32), halves).zero_one(), None);
    }
}
