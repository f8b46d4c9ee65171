//! The predicate's optional array `radius`: shape only, `claim/radius` decides what is true. Trusted.
//! `spec/certificate-radius.md`.

use crate::number::Rational;
use crate::reader::clause::Clause;
use crate::reader::fields::{Field, Fields};
use crate::reader::record::record;

/// Most entries of the array.
pub const MAX_RADII: usize = 4096;
/// Stands for no multiple.
const NONE: &str = "none";

record! {
    /// Up to which multiple of the radii a quantity is proved to keep a limit, and at which one a point breaks it, at each
    /// state under one mask.
    pub struct RadiusClaim {
        /// Local family that proves it.
        family: String,
        /// Position of the mask in the chain, from 0.
        mask: usize,
        /// Quantity name.
        quantity: String,
        /// The most that the quantity may be; `None` for `same-action-margin`, which must be above 0.
        limit: Option<Rational> => limit,
        /// Multiples at which it is proved, one per state; 0 says nothing.
        proved: Vec<Rational> => proved,
        /// Multiples at which a point of the witness file breaks it, one per state; `None` where no point does.
        broken: Vec<Option<Rational>> => broken,
    }
}

fn at_least_zero(field: &Field<'_>) -> Result<Rational, Clause> {
    field.allowed(field.rational()?, "at least 0", |number| !number.is_negative())
}

fn limit(fields: &mut Fields<'_>, key: &str) -> Result<Option<Rational>, Clause> {
    fields.optional(key).map(|field| at_least_zero(&field)).transpose()
}

fn proved(fields: &mut Fields<'_>, key: &str) -> Result<Vec<Rational>, Clause> {
    fields.required(key)?.array()?.iter().map(at_least_zero).collect()
}

fn broken(fields: &mut Fields<'_>, key: &str) -> Result<Vec<Option<Rational>>, Clause> {
    let read = |field: &Field<'_>| {
        if field.string()? == NONE { Ok(None) } else { at_least_zero(field).map(Some) }
    };
    fields.required(key)?.array()?.iter().map(read).collect()
}
