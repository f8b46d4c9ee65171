//! Regret claims: recomputed from the family's total variation by the rules `regret.*`, accepted iff the bound found is
//! at least as good, and only beside the assumptions they rest on. Trusted. `spec/certificate-regret.md`.

use core::fmt;
use std::collections::BTreeMap;

use crate::family::Family;
use crate::kernel::fault::Fault;
use crate::kernel::head::HeadBounds;
use crate::kernel::regret::{RewardRange, expectation, horizon, sup};
use crate::number::Rational;
use crate::reader::certificate::Certificate;
use crate::reader::escaped::Escaped;
use crate::reader::regret::{Region, RegretClaim, RegretForm};
use crate::table::{FamilyTable, Quantity, TableError};

/// The adversary of every regret claim.
pub const ASSUME_ADVERSARY: &str = "adversary: it changes nothing but the observation, in every step to a point of the perturbation set around the true one";
/// Total variation speaks of distributions.
pub const ASSUME_SAMPLED: &str = "sampled-actions: the return is that of actions drawn from the policy's distribution at the observation shown, not of its mean or likeliest action";
/// What a claim from listed states rests on.
pub const ASSUME_LISTED: &str = "listed-states: every observation that the clean policy of the claim's mask can meet is one of the listed states";
/// What a regret bound does not say.
pub const LIMIT_REGRET: &str = "regret: the bounds speak of the value that an adversary takes, not of the value itself nor of what pruning took";

/// Why a regret claim is not accepted; `entry` is its position in the array.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegretRejection {
    /// The head is deterministic: its total variation is 0 or 1, and says nothing about regret.
    Deterministic {
        /// Position of the claim.
        entry: usize,
    },
    /// No claim of the certificate names the family, or it does not bound what an adversary can do.
    FamilyNotClaimed {
        /// Position of the claim.
        entry: usize,
        /// The name.
        family: String,
    },
    /// The family's bound holds elsewhere.
    WrongRegion {
        /// Position of the claim.
        entry: usize,
        /// The region stated.
        stated: Region,
        /// The family's region.
        found: Region,
    },
    /// The family has no total variation under this mask.
    NoTotalVariation {
        /// Position of the claim.
        entry: usize,
        /// Why.
        reason: TableError,
    },
    /// A side condition of the rule fails.
    Rule {
        /// Position of the claim.
        entry: usize,
        /// Which.
        reason: Fault,
    },
    /// The claimed value is not a number.
    NotANumber {
        /// Position of the claim.
        entry: usize,
    },
    /// The claim is better than what can be proved.
    TooTight {
        /// Position of the claim.
        entry: usize,
        /// What is claimed, exactly.
        claimed: Rational,
        /// What is proved, exactly.
        proved: Rational,
    },
    /// The same family, mask, form and rewards twice.
    Duplicate {
        /// Position of the second.
        entry: usize,
    },
    /// An assumption the claim rests on is not listed, word for word.
    AssumptionMissing {
        /// Position of the claim.
        entry: usize,
        /// The assumption.
        assumption: String,
    },
    /// [`LIMIT_REGRET`] is not listed.
    LimitMissing,
}

impl fmt::Display for RegretRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deterministic { entry } => write!(
                f,
                "regret claim {entry}: the head is deterministic; total variation is then 0 or 1 and bounds no regret"
            ),
            Self::FamilyNotClaimed { entry, family } => {
                write!(
                    f,
                    "regret claim {entry}: no claim bounds the adversary by a family called {}",
                    Escaped(family)
                )
            }
            Self::WrongRegion { entry, stated, found } => write!(
                f,
                "regret claim {entry}: the region is {}, the family holds for {}",
                stated.name(),
                found.name()
            ),
            Self::NoTotalVariation { entry, reason } => write!(f, "regret claim {entry}: {reason}"),
            Self::Rule { entry, reason } => write!(f, "regret claim {entry}: {reason}"),
            Self::NotANumber { entry } => write!(f, "regret claim {entry}: the value is not a number"),
            Self::TooTight { entry, claimed, proved } => {
                write!(f, "regret claim {entry}: claims {claimed}, only {proved} is proved")
            }
            Self::Duplicate { entry } => write!(f, "regret claim {entry} repeats an earlier one"),
            Self::AssumptionMissing { entry, assumption } => {
                write!(f, "regret claim {entry}: the assumption \"{assumption}\" is not listed")
            }
            Self::LimitMissing => write!(f, "the limit \"{LIMIT_REGRET}\" is not listed"),
        }
    }
}

/// The region for which a family's bound holds.
pub fn region_of(family: Family) -> Region {
    if family.is_local() { Region::ListedStates } else { Region::AllStates }
}

/// The sentences about rewards and the end of episodes.
pub fn reward_assumptions(rewards: &RewardRange) -> [String; 2] {
    let (lower, upper) = (&rewards.lower, &rewards.upper);
    let episodes = if rewards.episodes_can_end {
        "episodes: an episode may end, and every step after its end pays 0"
    } else {
        "episodes: no episode ever ends"
    };
    [
        format!("reward-range: every step of an episode pays at least {lower} and at most {upper}"),
        episodes.to_owned(),
    ]
}

/// The sentence about a discounted return.
pub fn discount_assumption(discount: &Rational) -> String {
    format!("discount: the return is the sum of the rewards, each step discounted by {discount}")
}

/// Assumptions that a certificate with this claim must list.
pub fn regret_assumptions(claim: &RegretClaim) -> Vec<String> {
    let mut list = vec![ASSUME_ADVERSARY.to_owned(), ASSUME_SAMPLED.to_owned()];
    list.push(match &claim.form {
        RegretForm::Sup { discount } | RegretForm::Expectation { discount } => discount_assumption(discount),
        RegretForm::Horizon { steps } => {
            format!("horizon: the return is the sum of the rewards of the first {steps} steps")
        }
    });
    list.extend(reward_assumptions(&claim.rewards));
    if claim.region == Region::ListedStates {
        list.push(ASSUME_LISTED.to_owned());
    }
    list
}

/// The largest total variation over a table's entries for `mask`, at most 1.
///
/// # Errors
/// [`TableError`].
pub fn largest_total_variation(
    table: &FamilyTable,
    head: &HeadBounds,
    mask: usize,
) -> Result<Rational, TableError> {
    let values = table.values(head, Quantity::TotalVariation, mask, None)?;
    // A table without an entry says nothing, so that the trivial bound is left.
    Ok(values.into_iter().max().unwrap_or_else(Rational::one).min(Rational::one()))
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

/// Checks every entry of `regret`.
///
/// # Errors
/// [`RegretRejection`], the first one found.
pub fn check_regret(
    certificate: &Certificate,
    tables: &[FamilyTable],
    head: &HeadBounds,
) -> Result<(), RegretRejection> {
    if !certificate.regret.is_empty() && !certificate.limits.iter().any(|l| l == LIMIT_REGRET) {
        return Err(RegretRejection::LimitMissing);
    }
    let mut largest: BTreeMap<(Family, usize), Rational> = BTreeMap::new();
    for (entry, claim) in certificate.regret.iter().enumerate() {
        if !head.is_distribution() {
            return Err(RegretRejection::Deterministic { entry });
        }
        let unclaimed = || RegretRejection::FamilyNotClaimed { entry, family: claim.family.clone() };
        let table = tables.iter().find(|t| t.family.bounds_adversary() && t.family.name() == claim.family);
        let table = table.ok_or_else(unclaimed)?;
        let (stated, found) = (claim.region, region_of(table.family));
        if stated != found {
            return Err(RegretRejection::WrongRegion { entry, stated, found });
        }
        if certificate.regret.iter().take(entry).any(|earlier| same_claim(earlier, claim)) {
            return Err(RegretRejection::Duplicate { entry });
        }
        let key = (table.family, claim.mask);
        let tv = match largest.get(&key) {
            Some(tv) => tv.clone(),
            None => largest_total_variation(table, head, claim.mask)
                .map_err(|reason| RegretRejection::NoTotalVariation { entry, reason })?,
        };
        check_entry(certificate, entry, claim, &tv)?;
        largest.insert(key, tv);
    }
    Ok(())
}

fn same_claim(first: &RegretClaim, second: &RegretClaim) -> bool {
    first.family == second.family
        && first.mask == second.mask
        && first.form == second.form
        && first.rewards == second.rewards
}

fn check_entry(
    certificate: &Certificate,
    entry: usize,
    claim: &RegretClaim,
    tv: &Rational,
) -> Result<(), RegretRejection> {
    let listed = |assumption: &String| certificate.assumptions.contains(assumption);
    if let Some(assumption) = regret_assumptions(claim).into_iter().find(|a| !listed(a)) {
        return Err(RegretRejection::AssumptionMissing { entry, assumption });
    }
    let proved = regret_bound(&claim.form, &claim.rewards, tv)
        .map_err(|reason| RegretRejection::Rule { entry, reason })?;
    let claimed = Rational::parse(&claim.value).map_err(|_| RegretRejection::NotANumber { entry })?;
    if claimed < proved {
        return Err(RegretRejection::TooTight { entry, claimed, proved });
    }
    Ok(())
}
