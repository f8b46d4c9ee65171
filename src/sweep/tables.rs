//! Tables of a grid as CSV, JSON and Markdown: the same numbers in all three. Untrusted.
//! `spec/sweep.md#definitions`.

mod bounds;
mod decomposition;
mod returns;
mod steps;
mod sweet_spots;
mod transfer;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::bootstrap::Interval;
use super::config::{SweepConfig, SweepConfigError};
use super::gather::Grid;
use super::statistic::{ReturnKind, View};
use crate::decomposition::{ActionMode, DecompositionError};
use crate::policy::write::{WriteError, create_folder, write_atomically};

pub use bounds::{FamilyBounds, family_bounds};

/// Why no tables were written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] SweepConfigError),
    /// Returns cannot be decomposed.
    #[error("the decomposition: {0}")]
    Decomposition(#[from] DecompositionError),
    /// A bound of a certificate is no number.
    #[error("a bound is no number: {0:?}")]
    Bound(String),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Sampled actions, sums of rewards.
pub const SAMPLED: View = View { actions: ActionMode::Sampled, returns: ReturnKind::Total };
/// The most likely actions, sums of rewards.
pub const DETERMINISTIC: View = View { actions: ActionMode::Deterministic, returns: ReturnKind::Total };
/// Sampled actions, discounted: what a bound from total variation speaks of.
pub const DISCOUNTED: View = View { actions: ActionMode::Sampled, returns: ReturnKind::Discounted };

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A count.
    Count(usize),
    /// A number rounded to nearest, with digits after the point.
    Number(f64, usize),
    /// A decimal already rounded as it has to be.
    Decimal(String),
    /// Nothing is known.
    Empty,
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Decimal(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Number(value, digits) => number(*value, *digits),
            Self::Empty => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Empty => Value::Null,
            Self::Count(count) => json!(count),
            // The digits of the other two forms, not more.
            Self::Number(..) | Self::Decimal(_) => {
                self.text().parse::<f64>().map_or(Value::Null, |value| json!(value))
            }
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A number with digits after the point; never a negative zero.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let zero = text.starts_with('-') && text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
    if zero { text[1..].to_owned() } else { text }
}

/// Estimate and interval as three cells.
fn interval_cells(interval: Option<Interval>, digits: usize) -> [Cell; 3] {
    interval.map_or([Cell::Empty, Cell::Empty, Cell::Empty], |found| {
        [found.mean, found.low, found.high].map(|value| Cell::Number(value, digits))
    })
}

/// Estimate and interval for people.
fn interval_text(interval: Option<Interval>, digits: usize) -> String {
    interval.map_or("-".to_owned(), |found| {
        let text = |value| number(value, digits);
        format!("{} [{}, {}]", text(found.mean), text(found.low), text(found.high))
    })
}

/// A table: rows for programs, and the same as Markdown for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Name of its files.
    pub name: &'static str,
    /// Names of the columns.
    pub columns: Vec<&'static str>,
    /// Rows, a cell a column.
    pub rows: Vec<Vec<Cell>>,
    /// Heading, definitions and tables for people.
    pub markdown: String,
}

impl Table {
    /// Comma-separated, RFC 4180; a cell with a comma or a quote is quoted.
    pub fn csv(&self) -> String {
        let quote = |text: String| {
            if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
        };
        let mut text = self.columns.join(",") + "\n";
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| quote(cell.text())).collect();
            text.push_str(&(cells.join(",") + "\n"));
        }
        text
    }

    /// An array of objects, one a row.
    pub fn json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let entries = self.columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), cell.json()));
            Value::Object(entries.collect::<Map<String, Value>>())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

/// A Markdown table.
fn markdown_table(columns: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(columns);
    text.push_str(&format!("|{}\n", "---|".repeat(columns.len())));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// Every table of a grid.
///
/// # Errors
/// [`TableError`].
pub fn tables(config: &SweepConfig, grid: &Grid) -> Result<Vec<Table>, TableError> {
    Ok(vec![
        returns::table(config, grid, SAMPLED, "returns-sampled")?,
        returns::table(config, grid, DETERMINISTIC, "returns-deterministic")?,
        bounds::table(grid)?,
        steps::table(grid),
        decomposition::table(config, grid)?,
        sweet_spots::table(config, grid),
        transfer::table(config, grid),
    ])
}

/// Writes `NAME.csv`, `NAME.json` and `NAME.md` of every table into `folder`; returns the paths of the Markdown.
///
/// # Errors
/// [`TableError::Write`].
pub fn write_tables(
    folder: &Path,
    tables: &[Table],
    complete: (usize, usize),
) -> Result<Vec<PathBuf>, TableError> {
    create_folder(folder)?;
    let (all, done) = complete;
    let missing = match all - done {
        0 => String::new(),
        missing => {
            format!("INCOMPLETE: {missing} of {all} jobs have no result yet; their cells are empty.\n\n")
        }
    };
    let mut written = Vec::new();
    for table in tables {
        let path = |end: &str| folder.join(format!("{}.{end}", table.name));
        write_atomically(&path("csv"), table.csv().as_bytes())?;
        write_atomically(&path("json"), format!("{:#}\n", table.json()).as_bytes())?;
        let (heading, rest) = table.markdown.split_once('\n').unwrap_or((&table.markdown, ""));
        write_atomically(&path("md"), format!("{heading}\n\n{missing}{}", rest.trim_start()).as_bytes())?;
        written.push(path("md"));
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_in_both_forms() {
        let table = Table {
            name: "t",
            columns: vec!["a", "b", "c"],
            rows: vec![
                vec![Cell::from("x, \"y\""), Cell::Number(-0.004, 2), Cell::Empty],
                vec![Cell::Count(3), Cell::Number(1.0 / 3.0, 3), Cell::Decimal("0.5000".to_owned())],
            ],
            markdown: String::new(),
        };
        assert_eq!(table.csv(), "a,b,c\n\"x, \"\"y\"\"\",0.00,\n3,0.333,0.5000\n");
        let wanted = json!([{"a": "x, \"y\"", "b": 0.0, "c": null}, {"a": 3, "b": 0.333, "c": 0.5}]);
        assert_eq!(table.json(), wanted);
    }
}
