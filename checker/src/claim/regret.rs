//! Regret claims: what the family's total variation says by the rules `regret.*` about the value an adversary can take.
//! Trusted. `spec/certificate-regret.md`.

use std::borrow::Cow;

use crate::claim::{Bound, Claim, Proofs};
use crate::family::Family;
use crate::kernel::fault::Fault;
use crate::kernel::head::HeadBounds;
use crate::kernel::regret::{RewardRange, expectation, horizon, sup};
use crate::number::Rational;
use crate::reader::certificate::Certificate;
use crate::reader::regret::{Region, RegretClaim, RegretForm};
use crate::rejection::Reason;
use crate::sentences::{LIMIT_REGRET, regret_assumptions};
use crate::table::{FamilyTable, Quantity};

/// The region for which a family's bound holds.
pub fn region_of(family: Family) -> Region {
    if family.is_local() { Region::ListedStates } else { Region::AllStates }
}

/// The bound that `form` gives for a total variation of at most `tv`.
///
/// # Errors
/// [`Fault`].
pub fn regret_bound(form: &RegretForm, rewards: &RewardRange, tv: &Rational) -> Result<Rational, Fault> {
    match form {
        RegretForm::Sup { discount } => sup(rewards, discount, tv),
        // The mean of TV_max under any visitation is at most its largest value.
        RegretForm::Expectation { discount } => expectation(rewards, discount, tv),
        RegretForm::Horizon { steps } => horizon(rewards, *steps, tv),
    }
}

/// The largest total variation over a table's entries for `mask`, at most 1; a table without an entry says no more.
///
/// # Errors
/// [`Reason`].
pub fn largest_total_variation(
    table: &FamilyTable,
    head: &HeadBounds,
    mask: usize,
) -> Result<Rational, Reason> {
    let values = table.values(head, Quantity::TotalVariation, mask, None)?;
    Ok(values.into_iter().max().unwrap_or_else(Rational::one).min(Rational::one()))
}

impl Proofs<'_> {
    fn largest_total_variation(&mut self, table: &FamilyTable, mask: usize) -> Result<Rational, Reason> {
        if let Some(known) = self.largest.get(&(table.family, mask)) {
            return Ok(known.clone());
        }
        let largest = largest_total_variation(table, self.head, mask)?;
        self.largest.insert((table.family, mask), largest.clone());
        Ok(largest)
    }
}

impl Claim for RegretClaim {
    const KIND: &'static str = "regret claim";

    fn about(&self) -> Vec<String> {
        let of = match &self.form {
            RegretForm::Sup { discount } | RegretForm::Expectation { discount } => discount.to_string(),
            RegretForm::Horizon { steps } => steps.to_string(),
        };
        let RewardRange { lower, upper, episodes_can_end } = &self.rewards;
        let form = self.form.name();
        vec![format!("{} {} {form} {of} {lower} {upper} {episodes_can_end}", self.family, self.mask)]
    }

    fn limits(_: &[Self]) -> Result<Vec<&'static str>, Reason> {
        Ok(vec![LIMIT_REGRET])
    }

    fn assumptions(&self, _: &Certificate) -> Vec<Cow<'static, str>> {
        regret_assumptions(self).into_iter().map(Cow::Owned).collect()
    }

    fn stated(&self) -> Vec<Cow<'_, str>> {
        vec![Cow::from(&self.value)]
    }

    fn part(&self, _: usize) -> String {
        String::new()
    }

    fn prove(&self, _: usize, proofs: &mut Proofs<'_>) -> Result<Vec<Bound>, Reason> {
        if !proofs.head.is_distribution() {
            return Err(Reason::Deterministic);
        }
        let table = proofs.adversary(&self.family)?;
        let (stated, found) = (self.region.name(), region_of(table.family).name());
        if stated != found {
            return Err(Reason::WrongRegion { stated, found });
        }
        let tv = proofs.largest_total_variation(table, self.mask)?;
        Ok(vec![Bound::AtMost(regret_bound(&self.form, &self.rewards, &tv)?)])
    }
}
