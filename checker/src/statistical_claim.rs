//! Statistical claims on `F(theta)`: recomputed from the uppers at the listed states by the rules `statistic.*`, accepted
//! iff the bound found is at least as good. They hold with a confidence over the draw and are no proofs.
//! Trusted. `spec/certificate-regret.md`.

use core::fmt;

use crate::kernel::fault::Fault;
use crate::kernel::head::HeadBounds;
use crate::kernel::regret::expectation;
use crate::kernel::statistic::{MAX_SAMPLES, Sample, Sampler, bernstein, hoeffding};
use crate::number::Rational;
use crate::reader::certificate::Certificate;
use crate::reader::escaped::Escaped;
use crate::reader::regret::{Method, StatisticalClaim};
use crate::regret_claim::{
    ASSUME_ADVERSARY, ASSUME_SAMPLED, LIMIT_REGRET, discount_assumption, reward_assumptions,
};
use crate::table::{FamilyTable, Quantity, TableError};

/// What a statistical claim is not.
pub const LIMIT_STATISTICAL: &str = "statistical: the statistical claims hold with the stated confidence over the draw of the episodes; they are not proofs, and they are not comparable across masks";

/// Why a statistical claim is not accepted; `entry` is its position in the array.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatisticalRejection {
    /// The head is deterministic: there is no total variation to average.
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
    /// The family has one bound for all states; there is nothing to sample.
    NotLocal {
        /// Position of the claim.
        entry: usize,
    },
    /// The number of samples is not that of listed states, ended and cut-off episodes together.
    SampleCount {
        /// Position of the claim.
        entry: usize,
        /// Samples stated.
        stated: usize,
        /// Listed states.
        states: usize,
        /// Episodes that ended.
        ended: usize,
        /// Episodes cut off.
        cut_off: usize,
    },
    /// The states file has other rows beside the listed ones: whoever drew them may have left out the worse.
    RowsLeftOut {
        /// Rows of the file.
        rows: usize,
        /// Listed states.
        states: usize,
    },
    /// The entry speaks of another draw, mask or confidence than the first; there is one table of states.
    Differs {
        /// Position of the claim.
        entry: usize,
        /// `mask`, `sampling` or `confidence`.
        what: &'static str,
    },
    /// More entries share the confidence than it was split over.
    TooManyInequalities {
        /// Entries.
        entries: usize,
        /// Inequalities that the confidence was split over, per mask.
        inequalities: u32,
    },
    /// The same family and method twice.
    Duplicate {
        /// Position of the second.
        entry: usize,
    },
    /// The family has no total variation under this mask.
    NoTotalVariation {
        /// Position of the claim.
        entry: usize,
        /// Why.
        reason: TableError,
    },
    /// The states come from a sampler for which the inequalities do not hold.
    Sampler {
        /// Position of the claim.
        entry: usize,
        /// The sampler named.
        name: String,
    },
    /// A side condition of the rule fails, or the sampler is not the accepted one.
    Statistic {
        /// Position of the claim.
        entry: usize,
        /// Which.
        reason: Fault,
    },
    /// A side condition of `regret.expectation` fails; also for a discount outside [0, 1).
    Regret {
        /// Position of the claim.
        entry: usize,
        /// Which.
        reason: Fault,
    },
    /// Episodes had ended, and the rewards are those of episodes that never end.
    EndedAlthoughNever {
        /// Position of the claim.
        entry: usize,
        /// Episodes that had ended.
        ended: usize,
    },
    /// A claimed value is not a number.
    NotANumber {
        /// Position of the claim.
        entry: usize,
        /// `value` or `regret.value`.
        field: &'static str,
    },
    /// A claim is better than what was found.
    TooTight {
        /// Position of the claim.
        entry: usize,
        /// `value` or `regret.value`.
        field: &'static str,
        /// What is claimed, exactly.
        claimed: Rational,
        /// What was found, exactly.
        found: Rational,
    },
    /// An assumption the claim rests on is not listed, word for word.
    AssumptionMissing {
        /// Position of the claim.
        entry: usize,
        /// The assumption.
        assumption: String,
    },
    /// A limit is not listed.
    LimitMissing {
        /// The limit.
        limit: &'static str,
    },
}

impl fmt::Display for StatisticalRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |f: &mut fmt::Formatter<'_>, entry: usize| write!(f, "statistical claim {entry}: ");
        match self {
            Self::Deterministic { entry } => {
                at(f, *entry)?;
                f.write_str("the head is deterministic; there is no total variation to average")
            }
            Self::FamilyNotClaimed { entry, family } => {
                at(f, *entry)?;
                write!(f, "no claim bounds the adversary by a family called {}", Escaped(family))
            }
            Self::NotLocal { entry } => {
                at(f, *entry)?;
                f.write_str("the family has one bound for all states; there is nothing to sample")
            }
            Self::SampleCount { entry, stated, states, ended, cut_off } => {
                at(f, *entry)?;
                write!(f, "{stated} samples, but {states} states, {ended} ended and {cut_off} cut off")
            }
            Self::RowsLeftOut { rows, states } => write!(
                f,
                "the states file has {rows} rows and the certificate lists {states}; a statistical claim averages all"
            ),
            Self::Differs { entry, what } => {
                at(f, *entry)?;
                write!(f, "its {what} is not that of the first entry; the states were drawn once")
            }
            Self::TooManyInequalities { entries, inequalities } => {
                write!(f, "{entries} statistical claims share a confidence split over {inequalities}")
            }
            Self::Duplicate { entry } => write!(f, "statistical claim {entry} repeats an earlier one"),
            Self::NoTotalVariation { entry, reason } => {
                at(f, *entry)?;
                reason.fmt(f)
            }
            Self::Sampler { entry, name } => write!(
                f,
                "statistical claim {entry}: states from the sampler \"{}\" are not independent draws of the discounted visitation; only \"{}\" is accepted",
                Escaped(name),
                Sampler::INDEPENDENT_EPISODES
            ),
            Self::Statistic { entry, reason } => {
                at(f, *entry)?;
                reason.fmt(f)
            }
            Self::Regret { entry, reason } => {
                at(f, *entry)?;
                reason.fmt(f)
            }
            Self::EndedAlthoughNever { entry, ended } => {
                at(f, *entry)?;
                write!(f, "{ended} episodes had ended, but its rewards assume that none ever ends")
            }
            Self::NotANumber { entry, field } => write!(f, "statistical claim {entry}: {field} is no number"),
            Self::TooTight { entry, field, claimed, found } => {
                at(f, *entry)?;
                write!(f, "{field} claims {claimed}, only {found} was found")
            }
            Self::AssumptionMissing { entry, assumption } => {
                at(f, *entry)?;
                write!(f, "the assumption \"{assumption}\" is not listed")
            }
            Self::LimitMissing { limit } => write!(f, "the limit \"{limit}\" is not listed"),
        }
    }
}

/// Assumptions that a certificate about `states` listed states must list beside this claim.
pub fn statistical_assumptions(claim: &StatisticalClaim, states: usize) -> Vec<String> {
    let sampling = &claim.sampling;
    let (samples, mask, discount) = (sampling.samples, claim.mask, &sampling.discount);
    let (ended, cut_off, confidence) = (sampling.ended, sampling.cut_off, &claim.confidence);
    let mut list = vec![
        ASSUME_SAMPLED.to_owned(),
        format!(
            "sampler: {samples} independent episodes of the clean policy of mask {mask}, from the start distribution, each looked at once, at a time k drawn independently with probability (1 - g) g^k, g = {discount}; the {states} listed states are what was seen, {ended} episodes had ended by themselves, {cut_off} were cut off, and no episode was left out"
        ),
        format!(
            "confidence: {} holds for all statistical claims together, of {} masks with {} inequalities each, in this certificate and every other one that shares it",
            confidence.level, confidence.masks, confidence.inequalities
        ),
    ];
    if let Some(regret) = &claim.regret {
        list.push(ASSUME_ADVERSARY.to_owned());
        list.push(discount_assumption(discount));
        list.extend(reward_assumptions(&regret.rewards));
    }
    list
}

/// The bound on `F(theta)` that the claim's method gives for the uppers in `table`.
///
/// # Errors
/// [`StatisticalRejection`]: `Statistic` or `NoTotalVariation`, with position `entry`.
pub fn expected_tv_bound(
    entry: usize,
    claim: &StatisticalClaim,
    table: &FamilyTable,
    head: &HeadBounds,
) -> Result<Rational, StatisticalRejection> {
    let refused = |reason| StatisticalRejection::Statistic { entry, reason };
    let unknown = || StatisticalRejection::Sampler { entry, name: claim.sampling.sampler.clone() };
    let sampler = Sampler::parse(&claim.sampling.sampler).ok_or_else(unknown)?;
    let uppers = table
        .values(head, Quantity::TotalVariation, claim.mask, None)
        .map_err(|reason| StatisticalRejection::NoTotalVariation { entry, reason })?;
    let (stated, states) = (claim.sampling.samples, uppers.len());
    let (ended, cut_off) = (claim.sampling.ended, claim.sampling.cut_off);
    if states.checked_add(ended).and_then(|n| n.checked_add(cut_off)) != Some(stated) {
        return Err(StatisticalRejection::SampleCount { entry, stated, states, ended, cut_off });
    }
    // Before anything is allocated.
    if stated > MAX_SAMPLES {
        return Err(refused(Fault::TooManySamples { samples: stated, most: MAX_SAMPLES }));
    }
    let mut samples: Vec<Sample> = uppers.into_iter().map(Sample::State).collect();
    samples.extend((0..ended).map(|_| Sample::Ended));
    samples.extend((0..cut_off).map(|_| Sample::CutOff));
    let bound = match claim.method {
        Method::Hoeffding => hoeffding(sampler, &samples, &claim.confidence),
        Method::Bernstein => bernstein(sampler, &samples, &claim.confidence),
    };
    bound.map_err(refused)
}

/// Checks every entry of `statistical`; the states file has `rows` rows, and the draw is all of them.
///
/// # Errors
/// [`StatisticalRejection`], the first one found.
pub fn check_statistical(
    certificate: &Certificate,
    rows: usize,
    tables: &[FamilyTable],
    head: &HeadBounds,
) -> Result<(), StatisticalRejection> {
    let claims = &certificate.statistical;
    let Some(first) = claims.first() else { return Ok(()) };
    let states = certificate.states;
    if states != rows {
        return Err(StatisticalRejection::RowsLeftOut { rows, states });
    }
    let limits = [(LIMIT_STATISTICAL, true), (LIMIT_REGRET, claims.iter().any(|c| c.regret.is_some()))];
    for (limit, _) in limits.iter().filter(|(_, needed)| *needed) {
        if !certificate.limits.iter().any(|l| l == limit) {
            return Err(StatisticalRejection::LimitMissing { limit });
        }
    }
    let (entries, inequalities) = (claims.len(), first.confidence.inequalities);
    if u32::try_from(entries).map_or(true, |n| n > inequalities) {
        return Err(StatisticalRejection::TooManyInequalities { entries, inequalities });
    }
    for (entry, claim) in claims.iter().enumerate() {
        check_same_draw(entry, first, claim)?;
        let repeats = |c: &StatisticalClaim| c.family == claim.family && c.method == claim.method;
        if claims.iter().take(entry).any(repeats) {
            return Err(StatisticalRejection::Duplicate { entry });
        }
        check_entry(certificate, tables, head, entry, claim)?;
    }
    Ok(())
}

/// All entries speak of one draw: one mask's clean policy visited the listed states, and the confidence is split once.
fn check_same_draw(
    entry: usize,
    first: &StatisticalClaim,
    claim: &StatisticalClaim,
) -> Result<(), StatisticalRejection> {
    let same = [
        ("mask", claim.mask == first.mask),
        ("sampling", claim.sampling == first.sampling),
        ("confidence", claim.confidence == first.confidence),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(StatisticalRejection::Differs { entry, what }),
        None => Ok(()),
    }
}

fn check_entry(
    certificate: &Certificate,
    tables: &[FamilyTable],
    head: &HeadBounds,
    entry: usize,
    claim: &StatisticalClaim,
) -> Result<(), StatisticalRejection> {
    if !head.is_distribution() {
        return Err(StatisticalRejection::Deterministic { entry });
    }
    let unclaimed = || StatisticalRejection::FamilyNotClaimed { entry, family: claim.family.clone() };
    let table = tables.iter().find(|t| t.family.bounds_adversary() && t.family.name() == claim.family);
    let table = table.ok_or_else(unclaimed)?;
    if !table.family.is_local() {
        return Err(StatisticalRejection::NotLocal { entry });
    }
    let assumptions = statistical_assumptions(claim, certificate.states);
    if let Some(assumption) = assumptions.into_iter().find(|a| !certificate.assumptions.contains(a)) {
        return Err(StatisticalRejection::AssumptionMissing { entry, assumption });
    }
    let discount = &claim.sampling.discount;
    if discount.is_negative() || *discount >= Rational::one() {
        let reason = Fault::DiscountOutOfRange { discount: Box::new(discount.clone()) };
        return Err(StatisticalRejection::Regret { entry, reason });
    }
    let bound = expected_tv_bound(entry, claim, table, head)?;
    at_least(entry, "value", &claim.value, &bound)?;
    if let Some(regret) = &claim.regret {
        let ended = claim.sampling.ended;
        if ended > 0 && !regret.rewards.episodes_can_end {
            return Err(StatisticalRejection::EndedAlthoughNever { entry, ended });
        }
        // From the bound found, not from the claim: a looser claim of F must not loosen what follows.
        let lost = expectation(&regret.rewards, discount, &bound)
            .map_err(|reason| StatisticalRejection::Regret { entry, reason })?;
        at_least(entry, "regret.value", &regret.value, &lost)?;
    }
    Ok(())
}

fn at_least(
    entry: usize,
    field: &'static str,
    text: &str,
    found: &Rational,
) -> Result<(), StatisticalRejection> {
    let claimed = Rational::parse(text).map_err(|_| StatisticalRejection::NotANumber { entry, field })?;
    if claimed < *found {
        return Err(StatisticalRejection::TooTight { entry, field, claimed, found: found.clone() });
    }
    Ok(())
}
