//! The predicate's optional array `regions`: shape only, `claim/region` decides what is true. Trusted.
//! `spec/certificate.md#regions`.

use crate::number::Rational;
use crate::reader::clause::Clause;
use crate::reader::fields::Fields;
use crate::reader::policy::MAX_WIDTH;
use crate::reader::record::{Read, fraction, listed, listed_or_absent, rationals, record};

/// Most regions of a certificate.
pub const MAX_REGIONS: usize = 1024;
/// Most shares of a claim; each is compared at every cell.
pub const MAX_SHARES: usize = 1024;

record! {
    /// A part of a box's volume on which a quantity is proved to keep a threshold.
    pub struct Share {
        /// The threshold.
        threshold: Rational,
        /// Claimed fraction of the volume, in [0, 1].
        fraction: Rational => fraction,
    }
}

record! {
    /// A bound on a quantity that holds at every state of a box.
    pub struct RegionClaim {
        /// Quantity name.
        quantity: String,
        /// Output, for quantities that have one bound per output.
        output: Option<usize>,
        /// Claimed bound as written.
        value: String,
        /// Shares of the volume that keep a threshold.
        shares: Vec<Share> => shares,
    }
}

record! {
    /// All states of a box under one mask.
    pub struct RegionEntry {
        /// Least value per input, in the states' units.
        lower: Vec<Rational> => rationals::<MAX_WIDTH>,
        /// Greatest value per input.
        upper: Vec<Rational> => rationals::<MAX_WIDTH>,
        /// Position of the mask in the chain, from 0.
        mask: usize,
        /// What is claimed of them.
        claims: Vec<RegionClaim> => |fields: &mut Fields<'_>, key| {
            listed(&fields.required(key)?, "a region's claims", usize::MAX)
        },
    }
}

/// The entries of `regions`; none if the key is absent.
///
/// # Errors
/// [`Clause`]: an entry of another shape, an empty list, more than [`MAX_REGIONS`].
pub fn region_entries(predicate: &mut Fields<'_>) -> Result<Vec<RegionEntry>, Clause> {
    listed_or_absent(predicate, "regions", "regions", MAX_REGIONS)
}

/// None if the key is absent.
fn shares(fields: &mut Fields<'_>, key: &str) -> Result<Vec<Share>, Clause> {
    let Some(field) = fields.optional(key) else { return Ok(Vec::new()) };
    let items = field.array()?;
    if items.len() > MAX_SHARES {
        return Err(field.clause(Clause::TooMany { cap: MAX_SHARES }));
    }
    items.iter().map(Share::read).collect()
}
