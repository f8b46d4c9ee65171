//! Rules `regret.sup`, `regret.expectation`, `regret.horizon`: from total variation to the value an adversary can take.
//! Trusted, exact. `spec/rules/regret.md`.

use alloc::boxed::Box;

use num_bigint::BigInt;
use num_traits::One;

use crate::fault::Fault;
use crate::number::Rational;

/// Longest horizon accepted.
pub const MAX_HORIZON: u32 = 1_000_000;
/// Up to this many bits in `(1 - t)^T`, the horizon form is the exact sum; beyond it powers are rounded.
pub(crate) const EXACT_HORIZON_BITS: u64 = 65_536;
/// Fraction bits of the rounded powers.
const POWER_BITS: u32 = 128;

/// The rewards an environment can give in one step, and whether its episodes can end. An assumption that the
/// certificate lists: nothing here can test it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardRange {
    /// Least reward of a step before the end of the episode.
    pub lower: Rational,
    /// Greatest reward of a step before the end of the episode.
    pub upper: Rational,
    /// Whether an episode can end before the horizon. `true` is always sound.
    pub episodes_can_end: bool,
}

impl RewardRange {
    /// `dR`: the largest difference of two step rewards. An ended episode earns 0 from then on, so that the range of an
    /// environment whose episodes can end is first widened to hold 0: `max(upper, 0) - min(lower, 0)`.
    ///
    /// Exact.
    ///
    /// # Errors
    /// [`Fault::EmptyRewardRange`].
    pub fn spread(&self) -> Result<Rational, Fault> {
        if self.lower > self.upper {
            return Err(Fault::EmptyRewardRange {
                lower: Box::new(self.lower.clone()),
                upper: Box::new(self.upper.clone()),
            });
        }
        let (lower, upper) = (self.lower.clone(), self.upper.clone());
        if self.episodes_can_end {
            let zero = Rational::zero();
            return Ok(upper.max(zero.clone()).sub(&lower.min(zero)));
        }
        Ok(upper.sub(&lower))
    }
}

/// Rule `regret.sup`: `dR t / ((1-g)(1-g+g t))` bounds `V(s) - V~(s)`, the discounted value that any state adversary
/// can take from the policy started in `s`.
///
/// `tv` is an upper bound on `TV_max` over every state that the clean policy reaches from `s`; `discount` is `g`.
/// Exact; attained for every `g` and `t`.
///
/// # Errors
/// [`Fault::DiscountOutOfRange`], [`Fault::SupNotAProbability`], [`Fault::EmptyRewardRange`].
///
/// # References
/// `spec/rules/regret.md#regretsup`.
pub fn sup(rewards: &RewardRange, discount: &Rational, tv: &Rational) -> Result<Rational, Fault> {
    let stop = stop_probability(discount)?;
    check_probability(tv, |value| Fault::SupNotAProbability { value })?;
    let denominator = stop.mul(&stop.add(&discount.mul(tv)));
    divide(&rewards.spread()?.mul(tv), &denominator, discount)
}

/// Rule `regret.expectation`: `min(dR/(1-g), dR F/(1-g)^2)` bounds `V(s) - V~(s)`.
///
/// `expected_tv` is an upper bound on `F(theta)`, the mean of `TV_max` under the normalised discounted visitation of
/// the clean policy (of the same mask) started in `s`. Exact. The result is a proof only if `expected_tv` is; from a
/// confidence bound it is statistical.
///
/// # Errors
/// [`Fault::DiscountOutOfRange`], [`Fault::MeanNotAProbability`], [`Fault::EmptyRewardRange`].
///
/// # References
/// `spec/rules/regret.md#regretexpectation`.
pub fn expectation(
    rewards: &RewardRange,
    discount: &Rational,
    expected_tv: &Rational,
) -> Result<Rational, Fault> {
    let stop = stop_probability(discount)?;
    check_probability(expected_tv, |value| Fault::MeanNotAProbability { value })?;
    let trivial = divide(&rewards.spread()?, &stop, discount)?;
    let scaled = divide(&trivial.mul(expected_tv), &stop, discount)?;
    Ok(scaled.min(trivial))
}

/// Rule `regret.horizon`: `dR sum_{k<T} (1 - (1-t)^(k+1))` bounds the undiscounted return over `horizon` steps that any
/// state adversary can take.
///
/// `tv` is as in [`sup`]. Exact while `(1-t)^T` has at most `EXACT_HORIZON_BITS` bits; otherwise rounded up by less
/// than `dR T 2^-108`.
///
/// # Errors
/// [`Fault::HorizonOutOfRange`], [`Fault::SupNotAProbability`], [`Fault::EmptyRewardRange`].
///
/// # References
/// `spec/rules/regret.md#regrethorizon`.
pub fn horizon(rewards: &RewardRange, horizon: u32, tv: &Rational) -> Result<Rational, Fault> {
    if horizon == 0 || horizon > MAX_HORIZON {
        return Err(Fault::HorizonOutOfRange { horizon, most: MAX_HORIZON });
    }
    check_probability(tv, |value| Fault::SupNotAProbability { value })?;
    let spread = rewards.spread()?;
    let bits = tv.denominator().bits().checked_mul(horizon.into());
    let steps = if bits.is_some_and(|bits| bits <= EXACT_HORIZON_BITS) {
        diverged_steps_exact(tv, horizon)?
    } else {
        diverged_steps_rounded_up(tv, horizon)
    };
    Ok(spread.mul(&steps))
}

/// `sum_{k<T} (1 - q^(k+1)) = T - (q + ... + q^T)`, with `q = a/b`: one fraction over `b^T`, reduced once.
fn diverged_steps_exact(tv: &Rational, horizon: u32) -> Result<Rational, Fault> {
    let keep = Rational::one().sub(tv);
    let (a, b) = (keep.numerator(), keep.denominator());
    // After k rounds `kept / power` is q + ... + q^k.
    let (mut kept, mut power, mut term) = (BigInt::from(0u8), BigInt::one(), BigInt::one());
    for _ in 0..horizon {
        term *= a;
        kept = kept * b + &term;
        power *= b;
    }
    let total = BigInt::from(horizon) * &power - kept;
    // `power` is a product of positive denominators.
    Rational::new(total, power).map_err(|_| Fault::ZeroDenominator)
}

/// As [`diverged_steps_exact`] with `q` and each of its powers rounded down to [`POWER_BITS`] fraction bits. A power of
/// at most 10^6 factors loses less than 2^20 units, so that the sum is too large by less than `T 2^-108`.
fn diverged_steps_rounded_up(tv: &Rational, horizon: u32) -> Rational {
    let keep = Rational::one().sub(tv).floor_scaled(POWER_BITS);
    let unit = BigInt::one() << POWER_BITS;
    let (mut term, mut total) = (unit.clone(), BigInt::from(0u8));
    for _ in 0..horizon {
        term = (term * &keep) >> POWER_BITS;
        total += &unit - &term;
    }
    Rational::on_grid(total, POWER_BITS)
}

/// `1 - discount`, positive.
fn stop_probability(discount: &Rational) -> Result<Rational, Fault> {
    let stop = Rational::one().sub(discount);
    if discount.is_negative() || !stop.is_positive() {
        return Err(Fault::DiscountOutOfRange { discount: Box::new(discount.clone()) });
    }
    Ok(stop)
}

fn check_probability(value: &Rational, fault: impl Fn(Box<Rational>) -> Fault) -> Result<(), Fault> {
    let outside = value.is_negative() || *value > Rational::one();
    if outside { Err(fault(Box::new(value.clone()))) } else { Ok(()) }
}

/// The denominators here are products of `1 - g > 0` and numbers at least as large; zero would mean a discount of 1.
fn divide(top: &Rational, bottom: &Rational, discount: &Rational) -> Result<Rational, Fault> {
    top.div(bottom).map_err(|_| Fault::DiscountOutOfRange { discount: Box::new(discount.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    fn range(lower: &str, upper: &str, episodes_can_end: bool) -> RewardRange {
        RewardRange { lower: r(lower), upper: r(upper), episodes_can_end }
    }

    /// g = 1/2, t = 1/10, rewards +1/-1: 2 * 1/10 / (1/2 * 11/20) = 8/11.
    #[test]
    fn extremal_case_is_eight_elevenths() {
        assert_eq!(sup(&range("-1", "1", false), &r("1/2"), &r("1/10")), Ok(r("8/11")));
    }

    /// F = 1/10: 2 * 1/10 / (1/4) = 4/5; F = 1: 2 / (1/2) = 4 and not 8.
    #[test]
    fn expectation_takes_the_lesser() {
        let rewards = range("-1", "1", false);
        assert_eq!(expectation(&rewards, &r("1/2"), &r("1/10")), Ok(r("4/5")));
        assert_eq!(expectation(&rewards, &r("1/2"), &r("1")), Ok(r("4")));
    }

    /// t = 1/2, T = 3: 1/2 + 3/4 + 7/8 = 17/8.
    #[test]
    fn horizon_sums_the_diverged_steps() {
        assert_eq!(horizon(&range("0", "1", false), 3, &r("1/2")), Ok(r("17/8")));
        assert_eq!(horizon(&range("0", "1", false), 3, &r("0")), Ok(r("0")));
        assert_eq!(horizon(&range("0", "1", false), 3, &r("1")), Ok(r("3")));
    }

    #[test]
    fn rounded_powers_lie_just_above_the_exact_sum() {
        for (t, steps) in [("1/3", 1), ("1/7", 100), ("0.000123456789012", 900), ("999/1000", 50), ("0", 9)] {
            let (exact, rounded) =
                (diverged_steps_exact(&r(t), steps).unwrap(), diverged_steps_rounded_up(&r(t), steps));
            let excess = rounded.sub(&exact);
            let limit = Rational::from_dyadic(BigInt::from(steps), -108);
            assert!(!excess.is_negative() && excess < limit, "{t} {steps} {excess}");
        }
    }

    /// The exact branch at its cap, the rounded branch just beyond it and at the longest horizon; the bound grows with T.
    #[test]
    fn long_horizons_are_answered() {
        let (rewards, t) = (range("0", "1", true), r("0.000000123457"));
        let bits = u32::try_from(t.denominator().bits()).unwrap();
        let edge = u32::try_from(EXACT_HORIZON_BITS).unwrap() / bits;
        let (last_exact, first_rounded) =
            (horizon(&rewards, edge, &t).unwrap(), horizon(&rewards, edge + 1, &t).unwrap());
        assert!(last_exact < first_rounded);
        assert!(first_rounded.denominator().bits() <= 129);
        assert!(last_exact.denominator().bits() > 10_000);
        assert!(horizon(&rewards, 32_768, &r("1/2")).unwrap() > r("32766"));
        let bound = horizon(&range("0", "1", true), MAX_HORIZON, &r("0.000000123456")).unwrap();
        assert!(bound.is_positive() && bound < r("1000000"));
    }

    /// CartPole: every step pays 1, but a fallen pole pays nothing any more.
    #[test]
    fn constant_reward_has_a_spread_when_episodes_end() {
        assert_eq!(range("1", "1", true).spread(), Ok(r("1")));
        assert_eq!(range("1", "1", false).spread(), Ok(r("0")));
        assert_eq!(range("-3", "-2", true).spread(), Ok(r("3")));
        assert_eq!(range("-3", "2", true).spread(), Ok(r("5")));
    }
}
