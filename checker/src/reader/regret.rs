//! The predicate's optional arrays `regret` and `statistical`: shape only, `regret_claim` and `statistical_claim` decide
//! what is true. Trusted. `spec/certificate-regret.md`.

use crate::kernel::regret::RewardRange;
use crate::kernel::statistic::Confidence;
use crate::number::Rational;
use crate::reader::clause::Clause;
use crate::reader::fields::{Field, Fields};

/// Most entries of either array.
pub const MAX_ENTRIES: usize = 4096;

/// Which rule turns total variation into lost value, with the return it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegretForm {
    /// `regret.sup`.
    Sup {
        /// Discount of the return.
        discount: Rational,
    },
    /// `regret.expectation`, with the supremum of the total variation for its expectation.
    Expectation {
        /// Discount of the return.
        discount: Rational,
    },
    /// `regret.horizon`.
    Horizon {
        /// Steps that the return counts.
        steps: u32,
    },
}

impl RegretForm {
    /// The form's word in certificates.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sup { .. } => "sup",
            Self::Expectation { .. } => "expectation",
            Self::Horizon { .. } => "horizon",
        }
    }
}

/// Where the total variation behind a regret claim is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Everywhere: the family is a global one.
    AllStates,
    /// At the listed states: the family is a local one.
    ListedStates,
}

impl Region {
    /// The region's word in certificates.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllStates => "all-states",
            Self::ListedStates => "listed-states",
        }
    }
}

/// An upper bound on the value that an adversary can take from the policy under one mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegretClaim {
    /// Family whose total variation is used.
    pub family: String,
    /// Position of the mask in the chain, from 0.
    pub mask: usize,
    /// Rule and return.
    pub form: RegretForm,
    /// Rewards of the environment.
    pub rewards: RewardRange,
    /// Where the family's bound holds.
    pub region: Region,
    /// Claimed bound as written.
    pub value: String,
}

/// Which inequality bounds the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `statistic.hoeffding`.
    Hoeffding,
    /// `statistic.bernstein`.
    Bernstein,
}

impl Method {
    /// The method's word in certificates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hoeffding => "hoeffding",
            Self::Bernstein => "bernstein",
        }
    }
}

/// How the listed states were drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Name of the sampler.
    pub sampler: String,
    /// Discount of the geometric time.
    pub discount: Rational,
    /// Number of episodes: one per listed state, and those that ended or were cut off.
    pub samples: usize,
    /// Episodes that had ended before their time.
    pub ended: usize,
    /// Episodes that were cut off before their time.
    pub cut_off: usize,
}

/// The lost value that follows from a bound on `F(theta)` by `regret.expectation`, with the sampler's discount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedRegret {
    /// Rewards of the environment.
    pub rewards: RewardRange,
    /// Claimed bound as written.
    pub value: String,
}

/// An upper confidence bound on `F(theta)` under one mask; never a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticalClaim {
    /// Local family whose total variation is averaged.
    pub family: String,
    /// Position of the mask in the chain, from 0: the one whose clean policy visited the states.
    pub mask: usize,
    /// Where the states come from.
    pub sampling: Sampling,
    /// Confidence and its split.
    pub confidence: Confidence,
    /// The inequality.
    pub method: Method,
    /// Claimed bound as written.
    pub value: String,
    /// The lost value that follows, if claimed.
    pub regret: Option<ExpectedRegret>,
}

/// The entries of `regret`; none if the key is absent.
///
/// # Errors
/// [`Clause`]: an entry of another shape, an empty list, more than [`MAX_ENTRIES`].
pub fn regret_claims(predicate: &mut Fields<'_>) -> Result<Vec<RegretClaim>, Clause> {
    entries(predicate, "regret", "regret claims", regret_claim)
}

/// The entries of `statistical`; none if the key is absent.
///
/// # Errors
/// As [`regret_claims`].
pub fn statistical_claims(predicate: &mut Fields<'_>) -> Result<Vec<StatisticalClaim>, Clause> {
    entries(predicate, "statistical", "statistical claims", statistical_claim)
}

fn entries<T>(
    predicate: &mut Fields<'_>,
    key: &str,
    what: &'static str,
    read: fn(&Field<'_>) -> Result<T, Clause>,
) -> Result<Vec<T>, Clause> {
    let Some(list) = predicate.optional(key) else { return Ok(Vec::new()) };
    let list = list.array()?;
    if list.is_empty() {
        return Err(Clause::ListEmpty { what });
    }
    if list.len() > MAX_ENTRIES {
        return Err(Clause::ListTooLong { what, cap: MAX_ENTRIES });
    }
    Ok(list.iter().map(read).collect::<Result<_, _>>()?)
}

fn regret_claim(field: &Field<'_>) -> Result<RegretClaim, Clause> {
    let mut fields = field.object()?;
    let claim = RegretClaim {
        family: fields.required("family")?.string()?.to_owned(),
        mask: fields.required("mask")?.count()?,
        form: form(&mut fields)?,
        rewards: rewards(&mut fields)?,
        region: region(&fields.required("region")?)?,
        value: fields.required("value")?.string()?.to_owned(),
    };
    fields.finish()?;
    Ok(claim)
}

/// The key of the other kind of return is left to be refused as unknown.
fn form(fields: &mut Fields<'_>) -> Result<RegretForm, Clause> {
    let word = fields.required("form")?;
    match word.string()? {
        "sup" => Ok(RegretForm::Sup { discount: fields.required("discount")?.rational()? }),
        "expectation" => Ok(RegretForm::Expectation { discount: fields.required("discount")?.rational()? }),
        "horizon" => Ok(RegretForm::Horizon { steps: small_count(&fields.required("horizon")?)? }),
        _ => Err(word.unknown_word("sup, expectation or horizon")),
    }
}

fn small_count(field: &Field<'_>) -> Result<u32, Clause> {
    u32::try_from(field.count()?).map_err(|_| field.out_of_range("a count below 2^32"))
}

fn rewards(fields: &mut Fields<'_>) -> Result<RewardRange, Clause> {
    let mut range = fields.required("rewardRange")?.object()?;
    let lower = range.required("lower")?.rational()?;
    let upper = range.required("upper")?.rational()?;
    range.finish()?;
    Ok(RewardRange { lower, upper, episodes_can_end: fields.required("episodesCanEnd")?.boolean()? })
}

fn region(field: &Field<'_>) -> Result<Region, Clause> {
    match field.string()? {
        "all-states" => Ok(Region::AllStates),
        "listed-states" => Ok(Region::ListedStates),
        _ => Err(field.unknown_word("all-states or listed-states")),
    }
}

fn method(field: &Field<'_>) -> Result<Method, Clause> {
    match field.string()? {
        "hoeffding" => Ok(Method::Hoeffding),
        "bernstein" => Ok(Method::Bernstein),
        _ => Err(field.unknown_word("hoeffding or bernstein")),
    }
}

fn statistical_claim(field: &Field<'_>) -> Result<StatisticalClaim, Clause> {
    let mut fields = field.object()?;
    fields.required("kind")?.word("statistical")?;
    let claim = StatisticalClaim {
        family: fields.required("family")?.string()?.to_owned(),
        mask: fields.required("mask")?.count()?,
        sampling: Sampling {
            sampler: fields.required("sampler")?.string()?.to_owned(),
            discount: fields.required("discount")?.rational()?,
            samples: fields.required("samples")?.count()?,
            ended: fields.required("ended")?.count()?,
            cut_off: fields.required("cutOff")?.count()?,
        },
        confidence: Confidence {
            level: fields.required("confidence")?.rational()?,
            masks: small_count(&fields.required("masks")?)?,
            inequalities: small_count(&fields.required("inequalities")?)?,
        },
        method: method(&fields.required("method")?)?,
        value: fields.required("value")?.string()?.to_owned(),
        regret: fields.optional("regret").map(|r| expected_regret(&r)).transpose()?,
    };
    fields.finish()?;
    Ok(claim)
}

fn expected_regret(field: &Field<'_>) -> Result<ExpectedRegret, Clause> {
    let mut fields = field.object()?;
    let rewards = rewards(&mut fields)?;
    let value = fields.required("value")?.string()?.to_owned();
    fields.finish()?;
    Ok(ExpectedRegret { rewards, value })
}
