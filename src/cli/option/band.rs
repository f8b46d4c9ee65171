//! `--band-limit`: how far one can prune under a limit. `spec/rules/band.md`.

use super::adversary::exact;
use crate::certify::band::{BandLimit, BandQuantity};
use crate::cli::context::CliError;

/// A limit on the command line or in audit.toml: `tv=0.3` or `deviation=0.1`.
///
/// # Errors
/// Exit code 2.
pub fn band_limit(text: &str) -> Result<BandLimit, CliError> {
    let malformed = || {
        CliError::input(format!(
            "band-limit {text:?}: give tv=0.3 (total variation) or deviation=0.1 (largest change of an output)"
        ))
    };
    let (word, number) = text.split_once('=').ok_or_else(malformed)?;
    let quantity = match word.trim() {
        "tv" => BandQuantity::TotalVariation,
        "deviation" => BandQuantity::Deviation,
        _ => return Err(malformed()),
    };
    let most = exact("band-limit", number)?;
    if most.is_negative() {
        return Err(CliError::input(format!("band-limit {text:?} is negative, which no bound is")));
    }
    Ok(BandLimit { quantity, most })
}
