//! Stored tensors as exact numbers. Untrusted. `spec/semantics.md#files`.

use super::{TensorData, TensorDtype};
use secateur_checker::number::Dyadic;

impl TensorDtype {
    /// Bytes of one number.
    pub fn width(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The name safetensors gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
        }
    }

    /// Bits of fraction and of exponent.
    fn layout(self) -> (u32, u32) {
        match self {
            Self::F16 => (10, 5),
            Self::BF16 => (7, 8),
            Self::F32 => (23, 8),
            Self::F64 => (52, 11),
        }
    }
}

impl TensorData {
    /// Whether `bytes` has the length that `shape` and `dtype` ask for, without overflow.
    pub fn is_consistent(&self) -> bool {
        let wanted =
            self.shape.iter().try_fold(self.dtype.width(), |product, &side| product.checked_mul(side));
        wanted == Some(self.bytes.len())
    }

    /// Number of entries.
    pub fn entries(&self) -> usize {
        self.bytes.len() / self.dtype.width()
    }

    /// The exact entries, row-major; `Err(i)` if entry `i` is NaN or infinite.
    ///
    /// # Errors
    /// The index of the first entry that is no number.
    pub fn dyadics(&self) -> Result<Vec<Dyadic>, usize> {
        let (fraction, exponent) = self.dtype.layout();
        let numbers = self.bytes.chunks_exact(self.dtype.width()).enumerate();
        numbers.map(|(i, raw)| Dyadic::from_ieee(little_endian(raw), fraction, exponent).ok_or(i)).collect()
    }

    /// The entries as `f64`; exact, since every stored format is a subset of binary64.
    pub fn floats(&self) -> Vec<f64> {
        let numbers = self.bytes.chunks_exact(self.dtype.width()).map(little_endian);
        numbers.map(|bits| widen(bits, self.dtype)).collect()
    }

    /// A binary64 tensor.
    pub fn from_f64(shape: Vec<usize>, values: &[f64]) -> Self {
        Self { dtype: TensorDtype::F64, shape, bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect() }
    }

    /// A binary32 tensor.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Self {
        Self { dtype: TensorDtype::F32, shape, bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect() }
    }

    /// `[n]` zeros.
    pub fn zeros(dtype: TensorDtype, n: usize) -> Self {
        Self { dtype, shape: vec![n], bytes: vec![0; n.saturating_mul(dtype.width())] }
    }

    /// The transpose of a matrix; `None` unless there are two dimensions.
    pub fn transposed(&self) -> Option<Self> {
        let &[rows, columns] = self.shape.as_slice() else { return None };
        let width = self.dtype.width();
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for column in 0..columns {
            for row in 0..rows {
                let start = (row * columns + column) * width;
                bytes.extend_from_slice(self.bytes.get(start..start + width)?);
            }
        }
        Some(Self { dtype: self.dtype, shape: vec![columns, rows], bytes })
    }

    /// The same numbers with every sign flipped: exact.
    pub fn negated(&self) -> Self {
        let mut bytes = self.bytes.clone();
        for number in bytes.chunks_exact_mut(self.dtype.width()) {
            if let Some(last) = number.last_mut() {
                *last ^= 0x80;
            }
        }
        Self { dtype: self.dtype, shape: self.shape.clone(), bytes }
    }
}

fn little_endian(raw: &[u8]) -> u64 {
    raw.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte))
}

fn widen(bits: u64, dtype: TensorDtype) -> f64 {
    match dtype {
        TensorDtype::F64 => f64::from_bits(bits),
        TensorDtype::F32 => f64::from(f32::from_bits(bits as u32)),
        TensorDtype::BF16 => f64::from(f32::from_bits((bits as u32) << 16)),
        TensorDtype::F16 => {
            let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
            let (exponent, fraction) = ((bits >> 10 & 31) as i32, (bits & 1023) as f64);
            match exponent {
                0 => sign * fraction * 2f64.powi(-24),
                31 => f64::NAN,
                _ => sign * (1024.0 + fraction) * 2f64.powi(exponent - 25),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0x3C01 = 1 + 2^-10 and 0x0001 = 2^-24 in binary16.
    #[test]
    fn half_precision_is_widened_exactly() {
        let half =
            TensorData { dtype: TensorDtype::F16, shape: vec![2], bytes: vec![0x01, 0x3C, 0x01, 0x00] };
        assert_eq!(half.floats(), [1.0 + 2f64.powi(-10), 2f64.powi(-24)]);
        assert_eq!(half.dyadics(), Ok(vec![Dyadic::new(1025, -10), Dyadic::new(1, -24)]));
    }

    #[test]
    fn transposing_and_negating() {
        let table = TensorData::from_f32(vec![2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(
            table.transposed(),
            Some(TensorData::from_f32(vec![3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]))
        );
        assert_eq!(TensorData::from_f64(vec![1], &[2.5]).negated(), TensorData::from_f64(vec![1], &[-2.5]));
    }

    #[test]
    fn overflowing_shapes_are_inconsistent() {
        let lie = TensorData { dtype: TensorDtype::F32, shape: vec![usize::MAX, 2], bytes: vec![] };
        assert!(!lie.is_consistent());
    }
}
