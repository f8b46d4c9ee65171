//! Binary64 arithmetic that is exact or says so, and rounding to the stored formats. Untrusted. `spec/import-onnx.md`.
//!
//! # References
//! Knuth, The Art of Computer Programming 2, 4.2.2 (the error of a sum); IEEE 754-2019, fusedMultiplyAdd.

use crate::policy::{TensorData, TensorDtype};

/// Below this a product's error may itself be too small for binary64.
const SAFE: f64 = f64::from_bits(0x03F0_0000_0000_0000); // 2^-960

/// `a b` if binary64 holds it.
pub(super) fn product(a: f64, b: f64) -> Option<f64> {
    let rounded = a * b;
    if a == 0.0 || b == 0.0 {
        return rounded.is_finite().then_some(rounded);
    }
    let exact = rounded.is_finite() && rounded.abs() >= SAFE && a.mul_add(b, -rounded) == 0.0;
    exact.then_some(rounded)
}

/// `a + b` if binary64 holds it.
pub(super) fn sum(a: f64, b: f64) -> Option<f64> {
    let rounded = a + b;
    let from_b = rounded - a;
    let error = (a - (rounded - from_b)) + (b - from_b);
    (rounded.is_finite() && error == 0.0).then_some(rounded)
}

/// `a / b` if binary64 holds it.
pub(super) fn quotient(a: f64, b: f64) -> Option<f64> {
    let rounded = a / b;
    (product(rounded, b)? == a).then_some(rounded)
}

/// The nearest number of a format, ties to even, as IEEE arithmetic rounds.
pub(super) fn round_to(dtype: TensorDtype, value: f64) -> f64 {
    match dtype {
        TensorDtype::F64 => value,
        TensorDtype::F32 => f64::from(value as f32),
        TensorDtype::BF16 => round_bits(value, 7, -126, f64::from(f32::from_bits(0x7F7F_0000))),
        TensorDtype::F16 => round_bits(value, 10, -14, 65504.0),
    }
}

fn round_bits(value: f64, fraction: i32, least_exponent: i32, largest: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let exponent = (value.to_bits() >> 52 & 0x7FF) as i32 - 1023;
    let quantum = 2f64.powi(exponent.max(least_exponent) - fraction);
    let rounded = (value / quantum).round_ties_even() * quantum;
    if rounded.abs() > largest { f64::INFINITY.copysign(value) } else { rounded }
}

/// The numbers as they are stored: in `dtype` if it holds each of them, else in binary64.
pub(super) fn tensor(dtype: TensorDtype, shape: Vec<usize>, values: &[f64]) -> TensorData {
    let holds = |v: &f64| v.is_nan() || round_to(dtype, *v).to_bits() == v.to_bits();
    if dtype == TensorDtype::F64 || !values.iter().all(holds) {
        return TensorData::from_f64(shape, values);
    }
    let bytes = match dtype {
        TensorDtype::F16 => values.iter().flat_map(|&v| half_bits(v).to_le_bytes()).collect(),
        TensorDtype::BF16 => {
            values.iter().flat_map(|&v| (((v as f32).to_bits() >> 16) as u16).to_le_bytes()).collect()
        }
        _ => values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
    };
    TensorData { dtype, shape, bytes }
}

/// Bits of a number that binary16 holds.
fn half_bits(value: f64) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let size = value.abs();
    let exponent = (size.to_bits() >> 52 & 0x7FF) as i32 - 1023;
    if size.is_nan() {
        return 0x7E00;
    }
    sign | match exponent {
        1024 => 0x7C00,
        -14.. => ((exponent + 15) as u16) << 10 | ((size * 2f64.powi(10 - exponent)) as u16 & 0x3FF),
        _ => (size * 2f64.powi(24)) as u16,
    }
}

/// One finite number, exactly, as text.
pub(super) fn text(value: f64) -> Option<String> {
    let stored = TensorData::from_f64(vec![], &[value]);
    Some(stored.dyadics().ok()?.first()?.to_rational().to_string())
}

/// Exact numbers of one vector and the format they were stored in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vector {
    pub(super) dtype: TensorDtype,
    pub(super) values: Vec<f64>,
}

impl Vector {
    /// `count` times the same number.
    pub(super) fn constant(count: usize, value: f64) -> Self {
        Self { dtype: TensorDtype::F32, values: vec![value; count] }
    }

    pub(super) fn of(tensor: &TensorData) -> Self {
        Self { dtype: tensor.dtype, values: tensor.floats() }
    }

    pub(super) fn tensor(&self) -> TensorData {
        tensor(self.dtype, vec![self.values.len()], &self.values)
    }

    /// The one number of all entries, if they agree.
    pub(super) fn uniform(&self) -> Option<f64> {
        let first = *self.values.first()?;
        self.values.iter().all(|&v| v == first).then_some(first)
    }

    pub(super) fn is_all(&self, value: f64) -> bool {
        self.values.iter().all(|&v| v == value)
    }

    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { dtype: self.dtype, values: self.values.iter().map(|&v| f(v)).collect() }
    }

    pub(super) fn negated(&self) -> Self {
        self.map(|v| -v)
    }

    /// The entries of both, one after the other.
    pub(super) fn followed_by(&self, other: &Self) -> Self {
        Self {
            dtype: wider(self.dtype, other.dtype),
            values: self.values.iter().chain(&other.values).copied().collect(),
        }
    }

    pub(super) fn pick(&self, indices: &[usize]) -> Option<Self> {
        let values: Option<Vec<f64>> = indices.iter().map(|&i| self.values.get(i).copied()).collect();
        Some(Self { dtype: self.dtype, values: values? })
    }

    /// Entry by entry; `None` if one of the results is not exact or the lengths differ.
    pub(super) fn combine(&self, other: &Self, f: impl Fn(f64, f64) -> Option<f64>) -> Option<Self> {
        if self.values.len() != other.values.len() {
            return None;
        }
        let values: Option<Vec<f64>> =
            self.values.iter().zip(&other.values).map(|(&a, &b)| f(a, b)).collect();
        Some(Self { dtype: wider(self.dtype, other.dtype), values: values? })
    }
}

/// The format with the larger width; equal widths of different formats meet in binary32.
pub(super) fn wider(a: TensorDtype, b: TensorDtype) -> TensorDtype {
    match a.width().cmp(&b.width()) {
        std::cmp::Ordering::Equal if a == b => a,
        std::cmp::Ordering::Equal => TensorDtype::F32,
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Greater => a,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 * 5 is exact; (1 + 2^-52)^2 needs 105 bits; 2^-600 * 2^-600 is below the smallest number; 1/3 is no binary64.
    #[test]
    fn exact_or_nothing() {
        assert_eq!(product(3.0, 5.0), Some(15.0));
        let fine = 1.0 + f64::EPSILON;
        assert_eq!(product(fine, fine), None);
        assert_eq!(product(2f64.powi(-600), 2f64.powi(-600)), None);
        assert_eq!((sum(1.0, f64::EPSILON), sum(1.0, f64::EPSILON / 2.0)), (Some(fine), None));
        assert_eq!(sum(f64::MAX, f64::MAX), None);
        assert_eq!((quotient(3.0, 2.0), quotient(1.0, 3.0)), (Some(1.5), None));
    }

    /// Binary16 has 11 bits: 2049 lies halfway between 2048 and 2050; 65520 is the first number that rounds to infinity.
    #[test]
    fn rounding_to_halves() {
        let half = |v| round_to(TensorDtype::F16, v);
        assert_eq!((half(2049.0), half(2051.0)), (2048.0, 2052.0));
        assert_eq!((half(65519.0), half(65520.0)), (65504.0, f64::INFINITY));
        assert_eq!(half(2f64.powi(-25) * 1.5), 2f64.powi(-24));
        assert_eq!(round_to(TensorDtype::BF16, 1.0 + 2f64.powi(-8)), 1.0);
    }

    #[test]
    fn every_half_keeps_its_bits() {
        for bits in (0..=u16::MAX).filter(|b| b & 0x7C00 != 0x7C00) {
            let stored =
                TensorData { dtype: TensorDtype::F16, shape: vec![1], bytes: bits.to_le_bytes().to_vec() };
            assert_eq!(tensor(TensorDtype::F16, vec![1], &stored.floats()), stored);
        }
    }

    #[test]
    fn numbers_that_do_not_fit_become_binary64() {
        let stored = tensor(TensorDtype::F32, vec![1], &[1.0 + f64::EPSILON]);
        assert_eq!(stored, TensorData::from_f64(vec![1], &[1.0 + f64::EPSILON]));
    }
}
