//! The sentences that a certificate must list beside its claims: what they rest on, and what they do not say. Trusted.
//! `spec/certificate.md#assumptions-and-limits`; word for word.

use crate::family::Family;
use crate::kernel::regret::RewardRange;
use crate::model::Policy;
use crate::number::Rational;
use crate::reader::regret::{Region, RegretClaim, RegretForm, StatisticalClaim};

/// The network is evaluated over the real numbers.
pub const ASSUME_REAL: &str =
    "real-arithmetic: the network is the function over the real numbers with exactly the stored weights";
/// Which executions the families of binary32 inference speak of.
pub const ASSUME_FLOAT32: &str = "float32: the families float32/ibp and float32/crown speak of IEEE 754 binary32 inference with the stored weights: products and sums are rounded to nearest, in any order, fused or not; subnormal numbers are kept or flushed to zero; the input is the exactly normalised observation, rounded once; tanh and sigmoid are within 2^-22 of the real functions; slopes and limits of activations are rounded once; the action distribution is exactly that of the outputs computed";
/// The head is taken at its word.
pub const ASSUME_HEAD: &str = "head: the outputs mean what the policy file says they mean";
/// The importer is not trusted.
pub const ASSUME_SOURCE: &str = "source: the policy files were derived from the source file by an importer that this check does not cover";
/// The adversary of every regret claim.
pub const ASSUME_ADVERSARY: &str = "adversary: it changes nothing but the observation, in every step to a point of the perturbation set around the true one";
/// Total variation speaks of distributions.
pub const ASSUME_SAMPLED: &str = "sampled-actions: the return is that of actions drawn from the policy's distribution at the observation shown, not of its mean or likeliest action";
/// What a claim from listed states rests on.
pub const ASSUME_LISTED: &str = "listed-states: every observation that the clean policy of the claim's mask can meet is one of the listed states";

/// Bounds are upper bounds.
pub const LIMIT_TRUTH: &str =
    "bounds: a smaller bound does not mean a more robust policy, nor a larger one a less robust policy";
/// What speaks of listed states.
pub const LIMIT_STATES: &str =
    "states: the local families, and same-action margins of every family, speak of the listed states only";
/// A band has the same mask before and after the perturbation.
pub const LIMIT_BANDS: &str = "bands: a band bounds the change under each of its masks, the same mask before and after, not the distance between two masks";
/// What the families of binary32 inference do not say.
pub const LIMIT_FLOAT32: &str = "float32: float32/ibp and float32/crown bounds may rise when more weights are pruned and do not carry over to other masks; all other bounds speak of real arithmetic";
/// Families without a theorem.
pub const LIMIT_MONOTONE: &str = "pruning: ibp, crown, crown-optimised, lp, branch, spectral and pruned-deviation bounds may rise when more weights are pruned and do not carry over to other masks";
/// The family without a theorem that came after the sentence above.
pub const LIMIT_QUADRATIC: &str = "pruning: crown-quadratic bounds may rise when more weights are pruned and do not carry over to other masks";
/// What a regret bound does not say.
pub const LIMIT_REGRET: &str = "regret: the bounds speak of the value that an adversary takes, not of the value itself nor of what pruning took";
/// What a statistical claim is not.
pub const LIMIT_STATISTICAL: &str = "statistical: the statistical claims hold with the stated confidence over the draw of the episodes; they are not proofs, and they are not comparable across masks";
/// Limit that a certificate with regions must list.
pub const LIMIT_REGIONS: &str = "regions: a region's bound speaks of the states in its box only, and a fraction is one of the box's volume, not of how often a policy visits it";
/// What a number from below does not say.
pub const LIMIT_COUNTEREXAMPLE: &str = "counterexample: a bound from below is what one perturbation of each listed state reaches; another may reach more, and a step that is not shown to hurt may hurt";
/// What a multiple of the radii does not say.
pub const LIMIT_RADIUS: &str = "radius: a proved multiple speaks of the listed states, of it and every smaller one; between it and the one that a point breaks nothing is decided";

/// Assumptions that every certificate about this policy must list.
pub fn policy_assumptions(policy: &Policy) -> Vec<&'static str> {
    let mut list = vec![ASSUME_REAL, ASSUME_HEAD];
    if policy.source.is_some() {
        list.push(ASSUME_SOURCE);
    }
    list
}

/// Assumptions that bounds of these families rest on besides.
pub fn family_assumptions(families: &[Family]) -> Vec<&'static str> {
    if families.iter().any(|f| f.is_float32()) { vec![ASSUME_FLOAT32] } else { Vec::new() }
}

/// Limits of bounds of these families, perhaps with same-action margins among them, which speak of the listed states
/// whatever their family.
pub fn family_limits(families: &[Family], margins: bool) -> Vec<&'static str> {
    let any = |test: fn(Family) -> bool| families.iter().any(|f| test(*f));
    let limits = [
        (LIMIT_TRUTH, true),
        (LIMIT_STATES, margins || any(Family::is_local)),
        (LIMIT_MONOTONE, any(|f| !f.is_monotone() && !f.is_float32() && f != Family::CrownQuadratic)),
        (LIMIT_QUADRATIC, any(|f| f == Family::CrownQuadratic)),
        (LIMIT_BANDS, any(|f| f.band_end().is_some())),
        (LIMIT_FLOAT32, any(Family::is_float32)),
    ];
    limits.into_iter().filter(|(_, needed)| *needed).map(|(limit, _)| limit).collect()
}

fn reward_assumptions(rewards: &RewardRange) -> [String; 2] {
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

fn discount_assumption(discount: &Rational) -> String {
    format!("discount: the return is the sum of the rewards, each step discounted by {discount}")
}

/// Assumptions that a regret claim rests on.
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

/// Assumptions that a statistical claim about `states` listed states rests on.
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
