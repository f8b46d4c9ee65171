//! Bounds of the families on what an adversary changes, per mask and quantity. Trusted. `spec/certificate.md#claims`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::claim::{Bound, Claim, Proofs};
use crate::family::Family;
use crate::number::Rounding;
use crate::reader::certificate::{Certificate, Claim as BoundClaim};
use crate::reader::escaped::Escaped;
use crate::rejection::{Entry, Reason, Rejection};
use crate::sentences::{family_assumptions, family_limits};
use crate::table::Quantity;

impl Family {
    /// The family that a claim names.
    pub(crate) fn named(name: &str) -> Result<Self, Reason> {
        Self::parse(name).ok_or_else(|| Reason::UnknownFamily { family: name.into() })
    }
}

/// The families that claims name, each once, in their order.
///
/// # Errors
/// An unknown family, or one that has no bound under the mask claimed.
pub(crate) fn claimed_families(claims: &[BoundClaim], masks: usize) -> Result<Vec<Family>, Rejection> {
    let mut found = BTreeSet::new();
    for (position, claim) in claims.iter().enumerate() {
        let entry = Entry { kind: BoundClaim::KIND, position, part: String::new() };
        let refused = |reason| Rejection { entry: Some(entry.clone()), reason };
        let family = Family::named(&claim.family).map_err(refused)?;
        if claim.mask >= family.covers(masks) {
            return Err(refused(Reason::NoMask));
        }
        found.insert(family);
    }
    Ok(found.into_iter().collect())
}

impl Claim for BoundClaim {
    const KIND: &'static str = "claim";

    fn about(&self) -> Vec<String> {
        vec![format!("{} {} {} {:?}", self.family, self.quantity, self.mask, self.output)]
    }

    fn limits(claims: &[Self]) -> Result<Vec<&'static str>, Reason> {
        let families =
            claims.iter().map(|claim| Family::named(&claim.family)).collect::<Result<Vec<_>, _>>()?;
        let margins = claims.iter().any(|c| c.quantity == Quantity::SameActionMargin.name());
        Ok(family_limits(&families, margins))
    }

    fn assumptions(&self, _: &Certificate) -> Vec<Cow<'static, str>> {
        let family = Family::parse(&self.family);
        family.map_or_else(Vec::new, |f| family_assumptions(&[f]).into_iter().map(Cow::Borrowed).collect())
    }

    fn stated(&self) -> Vec<Cow<'_, str>> {
        self.values.iter().map(Cow::from).collect()
    }

    fn part(&self, number: usize) -> String {
        let quantity = Quantity::parse(&self.quantity).map(|quantity| quantity.name().to_owned());
        let quantity = quantity.unwrap_or_else(|| Escaped(&self.quantity).to_string());
        let family = Family::words(&self.family);
        format!(" ({family}, {quantity}, mask {}), value {number}", self.mask)
    }

    fn prove(&self, _: usize, proofs: &mut Proofs<'_>) -> Result<Vec<Bound>, Reason> {
        let (quantity, family) = (Quantity::named(&self.quantity)?, Family::named(&self.family)?);
        let unclaimed = || Reason::UnknownFamily { family: self.family.as_str().into() };
        let table = proofs.tables.iter().find(|t| t.family == family).ok_or_else(unclaimed)?;
        let values = table.values(proofs.head, quantity, self.mask, self.output)?;
        Ok(values.into_iter().map(|value| quantity.bound(value)).collect())
    }
}

impl Quantity {
    /// The quantity that a claim names.
    pub(crate) fn named(name: &str) -> Result<Self, Reason> {
        Self::parse(name).ok_or_else(|| Reason::UnknownQuantity { quantity: name.into() })
    }

    /// A value of this quantity as a bound: a margin from below, everything else from above.
    pub(crate) fn bound(self, value: crate::number::Rational) -> Bound {
        match self.rounding() {
            Rounding::Up => Bound::AtMost(value),
            Rounding::Down => Bound::AtLeast(value),
        }
    }
}
