//! The predicate's optional array `regions`: shape only, `region_claim` decides what is true. Trusted.
//! `spec/certificate.md#regions`.

use crate::number::Rational;
use crate::reader::certificate::capped;
use crate::reader::clause::Clause;
use crate::reader::fields::{Field, Fields};
use crate::reader::policy::MAX_WIDTH;

/// Most regions of a certificate.
pub const MAX_REGIONS: usize = 1024;
/// Most shares of a claim; each is compared at every cell.
pub const MAX_SHARES: usize = 1024;

/// A part of a box's volume on which a quantity is proved to keep a threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The threshold.
    pub threshold: Rational,
    /// Claimed fraction of the volume, in [0, 1].
    pub fraction: Rational,
}

/// A bound on a quantity that holds at every state of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionClaim {
    /// Quantity name.
    pub quantity: String,
    /// Output, for quantities that have one bound per output.
    pub output: Option<usize>,
    /// Claimed bound as written.
    pub value: String,
    /// Shares of the volume that keep a threshold.
    pub shares: Vec<Share>,
}

/// All states of a box under one mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionEntry {
    /// Least value per input, in the states' units.
    pub lower: Vec<Rational>,
    /// Greatest value per input.
    pub upper: Vec<Rational>,
    /// Position of the mask in the chain, from 0.
    pub mask: usize,
    /// What is claimed of them.
    pub claims: Vec<RegionClaim>,
}

/// The entries of `regions`; none if the key is absent.
///
/// # Errors
/// [`Clause`]: an entry of another shape, an empty list, more than [`MAX_REGIONS`].
pub fn region_entries(predicate: &mut Fields<'_>) -> Result<Vec<RegionEntry>, Clause> {
    let Some(list) = predicate.optional("regions") else { return Ok(Vec::new()) };
    let list = capped(list.array()?, "regions", MAX_REGIONS)?;
    if list.is_empty() {
        return Err(Clause::ListEmpty { what: "regions" });
    }
    list.iter().map(entry).collect()
}

fn entry(field: &Field<'_>) -> Result<RegionEntry, Clause> {
    let mut fields = field.object()?;
    let claims = fields.required("claims")?.array()?;
    if claims.is_empty() {
        return Err(Clause::ListEmpty { what: "a region's claims" });
    }
    let entry = RegionEntry {
        lower: fields.required("lower")?.rationals(MAX_WIDTH)?,
        upper: fields.required("upper")?.rationals(MAX_WIDTH)?,
        mask: fields.required("mask")?.count()?,
        claims: claims.iter().map(claim).collect::<Result<_, _>>()?,
    };
    fields.finish()?;
    Ok(entry)
}

fn claim(field: &Field<'_>) -> Result<RegionClaim, Clause> {
    let mut fields = field.object()?;
    let place = fields.optional("shares");
    let shares = place.as_ref().map(Field::array).transpose()?.unwrap_or_default();
    if let Some(place) = place.filter(|_| shares.len() > MAX_SHARES) {
        return Err(place.clause(Clause::TooMany { cap: MAX_SHARES }));
    }
    let claim = RegionClaim {
        quantity: fields.required("quantity")?.string()?.to_owned(),
        output: fields.optional("output").map(|o| o.count()).transpose()?,
        value: fields.required("value")?.string()?.to_owned(),
        shares: shares.iter().map(share).collect::<Result<_, _>>()?,
    };
    fields.finish()?;
    Ok(claim)
}

fn share(field: &Field<'_>) -> Result<Share, Clause> {
    let mut fields = field.object()?;
    let share = Share {
        threshold: fields.required("threshold")?.rational()?,
        fraction: fields.required("fraction")?.fraction()?,
    };
    fields.finish()?;
    Ok(share)
}
