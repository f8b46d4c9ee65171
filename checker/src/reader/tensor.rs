//! Tensors as stored, and their exact numbers. Trusted. `spec/certificate-files.md#safetensors`.

use super::clause::Clause;
use crate::model::Matrix;
use crate::number::Dyadic;

/// Widest layer or observation.
pub const MAX_WIDTH: usize = 65_536;
/// Most numbers one tensor may be turned into (a number takes 16 bytes of memory).
pub(crate) const MAX_ENTRIES: usize = 1 << 24;

/// Element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// One byte, 0 or 1.
    Bool,
    /// One unsigned byte.
    U8,
    /// A type the reader knows the size of and never reads (integers, 8-bit floats, complex numbers).
    Other {
        /// Bytes an element takes.
        size: usize,
    },
}

impl Dtype {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "F32" => Self::F32,
            "F64" => Self::F64,
            "BOOL" => Self::Bool,
            "U8" => Self::U8,
            "I8" | "F8_E4M3" | "F8_E5M2" => Self::Other { size: 1 },
            "I16" | "U16" => Self::Other { size: 2 },
            "I32" | "U32" => Self::Other { size: 4 },
            "I64" | "U64" | "C64" => Self::Other { size: 8 },
            _ => return None,
        })
    }

    /// Bytes an element takes, and fraction and exponent bits of a float type.
    pub(super) fn layout(self) -> (usize, Option<(u32, u32)>) {
        match self {
            Self::F16 => (2, Some((10, 5))),
            Self::Bf16 => (2, Some((7, 8))),
            Self::F32 => (4, Some((23, 8))),
            Self::F64 => (8, Some((52, 11))),
            Self::Bool | Self::U8 => (1, None),
            Self::Other { size } => (size, None),
        }
    }
}

/// One tensor as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTensor<'a> {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Row-major little-endian elements; as long as `dtype` and `shape` say.
    pub bytes: &'a [u8],
}

impl RawTensor<'_> {
    /// Every entry as its exact value, row-major.
    ///
    /// # Errors
    /// [`Clause::WrongDtype`], [`Clause::TensorTooLarge`] (before allocation),
    /// [`Clause::NotFinite`].
    pub fn dyadics(&self) -> Result<Vec<Dyadic>, Clause> {
        let (size, Some(bits)) = self.dtype.layout() else {
            return Err(Clause::WrongDtype {
                name: self.name.as_str().into(),
                expected: "F16, BF16, F32 or F64",
            });
        };
        self.check_entries()?;
        decode_floats(self.bytes, size, bits)
            .map_err(|index| Clause::NotFinite { name: self.name.as_str().into(), index })
    }

    /// A tensor of one dimension.
    ///
    /// # Errors
    /// [`Clause::WrongRank`] and those of [`RawTensor::dyadics`].
    pub fn vector(&self) -> Result<Vec<Dyadic>, Clause> {
        match self.shape.as_slice() {
            [_] => self.dyadics(),
            other => Err(self.wrong_rank(1, other.len())),
        }
    }

    /// A tensor of two dimensions, rows first.
    ///
    /// # Errors
    /// [`Clause::WrongRank`] and those of [`RawTensor::dyadics`].
    pub fn matrix(&self) -> Result<Matrix, Clause> {
        match self.shape.as_slice() {
            [rows, columns] => Ok(Matrix { rows: *rows, columns: *columns, values: self.dyadics()? }),
            other => Err(self.wrong_rank(2, other.len())),
        }
    }

    /// Every entry of a BOOL or U8 tensor as a bit, row-major.
    ///
    /// # Errors
    /// [`Clause::WrongDtype`], [`Clause::TensorTooLarge`], [`Clause::NotABit`].
    pub fn bits(&self) -> Result<Vec<bool>, Clause> {
        if !matches!(self.dtype, Dtype::Bool | Dtype::U8) {
            return Err(Clause::WrongDtype { name: self.name.as_str().into(), expected: "BOOL or U8" });
        }
        self.check_entries()?;
        let bit = |(index, byte): (usize, &u8)| match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Clause::NotABit { name: self.name.as_str().into(), index }),
        };
        self.bytes.iter().enumerate().map(bit).collect()
    }

    fn wrong_rank(&self, expected: usize, found: usize) -> Clause {
        Clause::WrongRank { name: self.name.as_str().into(), expected, found }
    }

    fn check_entries(&self) -> Result<(), Clause> {
        let entries = self.bytes.len().checked_div(self.dtype.layout().0).unwrap_or(usize::MAX);
        if entries > MAX_ENTRIES {
            return Err(Clause::TensorTooLarge { name: self.name.as_str().into() });
        }
        Ok(())
    }
}

/// Little-endian IEEE 754 elements of `size` bytes as exact values; the error is the index of a NaN or an infinity.
pub(super) fn decode_floats(
    bytes: &[u8],
    size: usize,
    (fraction, exponent): (u32, u32),
) -> Result<Vec<Dyadic>, usize> {
    let decode = |(index, element): (usize, &[u8])| {
        let bits = element.iter().rev().fold(0u64, |bits, byte| (bits << 8) | u64::from(*byte));
        Dyadic::from_ieee(bits, fraction, exponent).ok_or(index)
    };
    bytes.chunks_exact(size.max(1)).enumerate().map(decode).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_types)]
    use super::super::safetensors::Safetensors;
    use super::super::safetensors::tests::{f32s, tensors};
    use super::*;

    #[test]
    fn every_float_type_is_read_exactly() {
        // 1.5, -2: binary16 3E00 C000, bfloat16 3FC0 C000.
        let half = vec![0x00, 0x3E, 0x00, 0xC0];
        let brain = vec![0xC0, 0x3F, 0x00, 0xC0];
        let double: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let all = [
            ("h", "F16", half),
            ("b", "BF16", brain),
            ("s", "F32", f32s(&[1.5, -2.0])),
            ("d", "F64", double),
        ];
        for (name, dtype, bytes) in all {
            let bytes = tensors(&[(name, dtype, &[1, 2], bytes)]);
            let matrix = Safetensors::parse(&bytes).unwrap().tensor(name).unwrap().matrix().unwrap();
            let values = vec![Dyadic::new(3, -1), Dyadic::new(-2, 0)];
            assert_eq!(matrix, Matrix { rows: 1, columns: 2, values }, "{dtype}");
        }
    }

    #[test]
    fn numbers_must_be_finite() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let bytes = tensors(&[("w", "F32", &[3], f32s(&[0.0, bad, 1.0]))]);
            let error = Safetensors::parse(&bytes).unwrap().tensor("w").unwrap().vector().unwrap_err();
            assert_eq!(error, Clause::NotFinite { name: "w".into(), index: 1 });
        }
    }

    #[test]
    fn tensors_are_read_as_what_they_are() {
        let bytes = tensors(&[
            ("i", "I32", &[1], vec![0; 4]),
            ("w", "F32", &[1], f32s(&[1.0])),
            ("m", "U8", &[2], vec![1, 2]),
        ]);
        let parsed = Safetensors::parse(&bytes).unwrap();
        let dtype = |e: Result<_, Clause>| {
            matches!(e.map_err(|e| e.condition().clone()), Err(Clause::WrongDtype { .. }))
        };
        assert!(dtype(parsed.tensor("i").unwrap().dyadics().map(|_| ())));
        assert!(dtype(parsed.tensor("w").unwrap().bits().map(|_| ())));
        let rank = parsed.tensor("w").unwrap().matrix().unwrap_err();
        assert_eq!(rank, Clause::WrongRank { name: "w".into(), expected: 2, found: 1 });
        let bit = parsed.tensor("m").unwrap().bits().unwrap_err();
        assert_eq!(bit, Clause::NotABit { name: "m".into(), index: 1 });
        assert_eq!(parsed.tensor("x").unwrap_err(), Clause::NoTensor { name: "x".into() });
    }
}
