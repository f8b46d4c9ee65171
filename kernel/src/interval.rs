//! Intervals and boxes on a grid. Trusted. `spec/rules/local.md#ibpmeet`.

use alloc::vec::Vec;

use crate::fault::Fault;
use crate::wide::{AtLayer, magnitude, zip_exact};

/// Lower and upper end on a grid.
pub type Interval = (i64, i64);

/// A box on the value grid: `lower <= x_i * 2^value_bits <= upper` for each of its intervals.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GridBox {
    ends: Vec<Interval>,
}

impl GridBox {
    /// A box from pairs of ends.
    pub fn from_intervals(ends: impl IntoIterator<Item = Interval>) -> Self {
        Self { ends: ends.into_iter().collect() }
    }

    /// The box that holds one point.
    pub fn point(values: impl IntoIterator<Item = i64>) -> Self {
        Self::from_intervals(values.into_iter().map(|x| (x, x)))
    }

    /// Pairs of ends.
    #[inline]
    pub fn intervals(&self) -> impl ExactSizeIterator<Item = Interval> + Clone + '_ {
        self.ends.iter().copied()
    }

    /// The ends at one place.
    #[inline]
    pub fn at(&self, place: usize) -> Option<Interval> {
        self.ends.get(place).copied()
    }

    /// Number of intervals.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The box with every interval larger by its entry of `errors` at both ends.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`] if there is not one for each, [`Fault::Overflow`].
    pub fn widened(&self, errors: &[i64], layer: usize) -> Result<Self, Fault> {
        let pairs = zip_exact(self.intervals(), errors, layer)?;
        let ends =
            pairs.map(|((lower, upper), error)| lower.checked_sub(*error).zip(upper.checked_add(*error)));
        Ok(Self { ends: ends.collect::<Option<_>>().within(layer)? })
    }

    /// The lower ends.
    pub fn lower(&self) -> Vec<i64> {
        self.intervals().map(|(lower, _)| lower).collect()
    }

    /// The upper ends.
    pub fn upper(&self) -> Vec<i64> {
        self.intervals().map(|(_, upper)| upper).collect()
    }

    /// `sum_j max(|lower_j|, |upper_j|)`: fewer than 2^62 terms of at most 2^63, so wrapping never happens.
    pub(crate) fn total_magnitude(&self) -> i128 {
        self.intervals().fold(0, |sum: i128, ends| sum.wrapping_add(magnitude(ends).into()))
    }

    /// The box of what `made` makes of each pair of intervals.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`] if the boxes differ in length, and those of `made`, which is given the place as well.
    pub(crate) fn with(
        &self,
        other: &Self,
        layer: usize,
        mut made: impl FnMut(usize, Interval, Interval) -> Result<Interval, Fault>,
    ) -> Result<Self, Fault> {
        let pairs = zip_exact(self.intervals(), other.intervals(), layer)?.enumerate();
        Ok(Self { ends: pairs.map(|(place, (one, two))| made(place, one, two)).collect::<Result<_, _>>()? })
    }

    /// Rule `ibp.meet`: the intersection of two boxes that hold the same point.
    ///
    /// # Errors
    /// [`Fault::EmptyInterval`] if they do not meet, [`Fault::ShapeMismatch`] if their lengths differ.
    pub fn meet(&self, other: &Self, layer: usize) -> Result<Self, Fault> {
        self.with(other, layer, |neuron, (l1, u1), (l2, u2)| {
            let (lower, upper) = (l1.max(l2), u1.min(u2));
            if lower <= upper { Ok((lower, upper)) } else { Err(Fault::EmptyInterval { layer, neuron }) }
        })
    }

    /// The least box that holds both.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`] if their lengths differ.
    pub(crate) fn hull(&self, other: &Self, layer: usize) -> Result<Self, Fault> {
        self.with(other, layer, |_, (l1, u1), (l2, u2)| Ok((l1.min(l2), u1.max(u2))))
    }
}

#[cfg(test)]
impl GridBox {
    /// A box from its lower and its upper ends.
    pub(crate) fn of(lower: Vec<i64>, upper: Vec<i64>) -> Self {
        assert_eq!(lower.len(), upper.len());
        Self::from_intervals(lower.into_iter().zip(upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(pairs: &[Interval]) -> GridBox {
        GridBox::from_intervals(pairs.iter().copied())
    }

    #[test]
    fn boxes_meet() {
        let (a, b) = (region(&[(0, 4), (1, 2)]), region(&[(3, 9), (2, 5)]));
        assert_eq!(a.meet(&b, 1), Ok(region(&[(3, 4), (2, 2)])));
        assert_eq!(a.hull(&b, 1), Ok(region(&[(0, 9), (1, 5)])));
        let empty = || Fault::EmptyInterval { layer: 1, neuron: 1 };
        assert_eq!(a.meet(&region(&[(0, 1), (3, 4)]), 1), Err(empty()));
        let shape = Err(Fault::ShapeMismatch { layer: 1 });
        assert_eq!(a.meet(&region(&[(0, 1)]), 1), shape);
        assert_eq!(a.hull(&region(&[(0, 1)]), 1), shape);
        assert_eq!(region(&[(i64::MIN, 3), (-2, 5)]).total_magnitude(), (1 << 63) + 5);
    }
}
