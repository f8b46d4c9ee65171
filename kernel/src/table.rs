//! The table that the rules compute on: row-major, its shape tested once, where it is made. Trusted.

use alloc::vec::Vec;
use core::slice::ChunksExact;

use crate::fault::Fault;
use crate::wide::AtLayer;

/// `height` rows of `columns` entries, at least one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<T> {
    columns: usize,
    height: usize,
    values: Vec<T>,
}

/// Weights on a grid.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    /// The weights, in which a list has a number for each row.
    pub(crate) table: &'a Table<i64>,
    /// The first column that is asked for.
    pub(crate) from: usize,
    /// At least every magnitude.
    pub(crate) largest: u64,
    /// Fraction bits.
    pub(crate) bits: u32,
}

impl<T> Table<T> {
    /// The table with these entries, row by row.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`] unless there are `height * columns` entries and a column.
    pub(crate) fn new(height: usize, columns: usize, values: Vec<T>, layer: usize) -> Result<Self, Fault> {
        let fits = columns > 0 && height.checked_mul(columns) == Some(values.len());
        fits.then_some(Self { columns, height, values }).shaped(layer)
    }

    /// The table with `entry(row, column)` at each place.
    ///
    /// # Errors
    /// That of `entry`; [`Fault::ShapeMismatch`] without a column.
    pub(crate) fn build(
        height: usize,
        columns: usize,
        layer: usize,
        mut entry: impl FnMut(usize, usize) -> Result<T, Fault>,
    ) -> Result<Self, Fault> {
        let mut values = Vec::new();
        for row in 0..height {
            for column in 0..columns {
                values.push(entry(row, column)?);
            }
        }
        Self::new(height, columns, values, layer)
    }

    /// A table of the same shape, each entry made of this one's.
    pub(crate) fn map<U>(&self, made: impl FnMut(&T) -> U) -> Table<U> {
        let values = self.values.iter().map(made).collect();
        Table { columns: self.columns, height: self.height, values }
    }

    /// Number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Number of rows.
    pub(crate) fn height(&self) -> usize {
        self.height
    }

    /// The rows in order.
    pub(crate) fn rows(&self) -> ChunksExact<'_, T> {
        self.values.chunks_exact(self.columns)
    }

    /// One row.
    pub(crate) fn row(&self, row: usize) -> Option<&[T]> {
        self.rows().nth(row)
    }

    /// All entries, row by row.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_shape_that_was_tested() {
        let table = Table::new(2, 3, vec![1, 2, 3, 4, 5, 6], 0).unwrap();
        assert_eq!((table.row(1), table.row(2)), (Some(&[4, 5, 6][..]), None));
        assert_eq!(table.map(|x| x * 2).values(), [2, 4, 6, 8, 10, 12]);
        assert_eq!(table.rows().len(), table.height());
        for (height, columns, count) in [(2, 3, 5), (2, 3, 7), (1, 0, 0), (usize::MAX, 2, 2)] {
            let made = Table::new(height, columns, vec![0; count], 4);
            assert_eq!(made, Err(Fault::ShapeMismatch { layer: 4 }));
        }
        let placed = Table::build(2, 2, 0, |row, column| Ok((row, column))).unwrap();
        assert_eq!(placed.values(), [(0, 0), (0, 1), (1, 0), (1, 1)]);
    }
}
