//! The predicate's optional arrays `regret` and `statistical`: shape only, `claim/regret` and `claim/statistical` decide
//! what is true. Trusted. `spec/certificate-regret.md`.

use crate::kernel::regret::RewardRange;
use crate::kernel::statistic::Confidence;
use crate::number::Rational;
use crate::reader::clause::Clause;
use crate::reader::fields::Fields;
use crate::reader::record::{Read, Record, flat, record, words};

/// Most entries of either array.
pub(crate) const MAX_ENTRIES: usize = 4096;

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

words! {
    /// Where the total variation behind a regret claim is bounded.
    pub enum Region, "all-states or listed-states" {
        /// Everywhere: the family is a global one.
        AllStates = "all-states",
        /// At the listed states: the family is a local one.
        ListedStates = "listed-states",
    }
}

record! {
    /// An upper bound on the value that an adversary can take from the policy under one mask.
    pub struct RegretClaim {
        /// Family whose total variation is used.
        family: String,
        /// Position of the mask in the chain, from 0.
        mask: usize,
        /// Rule and return.
        form: RegretForm => flat,
        /// Rewards of the environment.
        rewards: RewardRange => flat,
        /// Where the family's bound holds.
        region: Region,
        /// Claimed bound as written.
        value: String,
    }
}

words! {
    /// Which inequality bounds the mean.
    pub enum Method, "hoeffding or bernstein" {
        /// `statistic.hoeffding`.
        Hoeffding = "hoeffding",
        /// `statistic.bernstein`.
        Bernstein = "bernstein",
    }
}

record! {
    /// How the listed states were drawn.
    pub struct Sampling {
        /// Name of the sampler.
        sampler: String,
        /// Discount of the geometric time.
        discount: Rational,
        /// Number of episodes: one per listed state, and those that ended or were cut off.
        samples: usize,
        /// Episodes that had ended before their time.
        ended: usize,
        /// Episodes that were cut off before their time.
        cut_off as "cutOff": usize,
    }
}

record! {
    /// The lost value that follows from a bound on `F(theta)` by `regret.expectation`, with the sampler's discount.
    pub struct ExpectedRegret {
        /// Rewards of the environment.
        rewards: RewardRange => flat,
        /// Claimed bound as written.
        value: String,
    }
}

record! {
    /// An upper confidence bound on `F(theta)` under one mask; never a proof.
    pub struct StatisticalClaim {
        "kind" = "statistical";
        /// Local family whose total variation is averaged.
        family: String,
        /// Position of the mask in the chain, from 0: the one whose clean policy visited the states.
        mask: usize,
        /// Where the states come from.
        sampling: Sampling => flat,
        /// Confidence and its split.
        confidence: Confidence => flat,
        /// The inequality.
        method: Method,
        /// Claimed bound as written.
        value: String,
        /// The lost value that follows, if claimed.
        regret: Option<ExpectedRegret>,
    }
}

record! {
    for RewardRange {
        ["rewardRange"] {
            lower: Rational,
            upper: Rational,
        }
        episodes_can_end as "episodesCanEnd": bool,
    }
}

record! {
    for Confidence {
        level as "confidence": Rational,
        masks: u32,
        inequalities: u32,
    }
}

impl Record for RegretForm {
    /// The key of the other kind of return is left to be refused as unknown.
    fn part(fields: &mut Fields<'_>) -> Result<Self, Clause> {
        let word = fields.required("form")?;
        Ok(match word.string()? {
            "sup" => Self::Sup { discount: Rational::under(fields, "discount")? },
            "expectation" => Self::Expectation { discount: Rational::under(fields, "discount")? },
            "horizon" => Self::Horizon { steps: u32::under(fields, "horizon")? },
            _ => return Err(word.unknown_word("sup, expectation or horizon")),
        })
    }
}
