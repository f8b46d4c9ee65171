//! `--gap`: bounds from above and from below brought together.

use clap::Args;
use secateur_checker::number::Rational;

use crate::certify::cells::{CELLS, CellRequest, MAX_CELLS};
use crate::cli::context::CliError;

/// How near bounds from above are to come to what points attain, and at what cost.
#[derive(Clone, Debug, Default, Args)]
pub struct GapOptions {
    /// Cut the inputs of every state and mask into cells (family branch) until what a point attains is within this share
    /// of the bound, 0.1 for a tenth, or the cells are used up; they go where the gap is widest.
    #[arg(long, value_name = "G")]
    pub gap: Option<String>,
    /// Cells bounded for a state and mask, on average, with --gap [default: 2000]
    #[arg(long, value_name = "N", requires = "gap")]
    pub cells: Option<u64>,
}

impl GapOptions {
    /// These, and for what they do not say, `other`.
    pub fn or(&self, other: Self) -> Self {
        Self { gap: self.gap.clone().or(other.gap), cells: self.cells.or(other.cells) }
    }

    /// What is asked for; nothing without a gap. `points` says whether bounds from below are made.
    ///
    /// # Errors
    /// Exit code 2.
    pub fn request(&self, points: bool) -> Result<Option<CellRequest>, CliError> {
        let Some(text) = &self.gap else {
            return match self.cells {
                Some(_) => Err(CliError::input("cells are bounded to close a gap; say which: gap = \"0.1\"")),
                None => Ok(None),
            };
        };
        let refused =
            || CliError::input(format!("gap {text:?} is not a number from 0 to below 1, such as 0.1"));
        let gap = Rational::parse(text).map_err(|_| refused())?;
        if gap.is_negative() || gap >= Rational::one() {
            return Err(refused());
        }
        if !points {
            let sentence = "a gap is one to bounds from below, and none are made; leave out the gap or \
                            --no-counterexample (counterexample = false)";
            return Err(CliError::input(sentence));
        }
        let cells = self.cells.unwrap_or(CELLS);
        if !(1..=MAX_CELLS).contains(&cells) {
            return Err(CliError::input(format!("cells {cells} is not between 1 and {MAX_CELLS}")));
        }
        Ok(Some(CellRequest { gap, cells }))
    }
}
