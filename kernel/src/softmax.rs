//! What a bound on the changes of logits says where the clean policy is known: rules `head.softmax-tv`, `head.softmax-kl`.
//! Trusted. `spec/rules/local.md#headsoftmax-tv`.
//!
//! `head.categorical-tv` holds for the worst policy; one that prefers an action clearly moves far less. Numbers are integers:
//! multiples of `2^-60` over the sets of actions, of `2^-96` elsewhere.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::One;

use crate::enclose::{COARSE_BITS, div_ceil, div_floor, exp_scaled};
use crate::fault::Fault;
use crate::interval::GridBox;
use crate::number::Rational;
use crate::wide::{Wide, zip_exact};

/// Up to this many actions every set of them is looked at.
pub(crate) const MAX_SETS_OF: usize = 12;
/// Fraction bits of probabilities and odds.
const BITS: u32 = 60;
/// What `2^-60` is in multiples of `2^-96`, as a power of two.
const COARSER: u32 = COARSE_BITS.saturating_sub(BITS);
/// Largest argument of an exponential that is looked at: twelve of them are below `2^127` in multiples of `2^-60`.
const MAX_EXPONENT: u32 = 40;
/// Below this argument an exponential is less than `2^-60`.
const MIN_EXPONENT: i64 = -60;
/// `ln 2` in multiples of `2^-60`, rounded down.
const LN_TWO: i64 = 799_144_290_325_165_978;
/// Terms of the exponential's series after the first: what is left out is below `2 ln(2)^19 / 19! < 2^-60`.
const TERMS: i64 = 18;

/// Upper bounds on how far a softmax moves from the clean one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChange {
    /// Of the total variation.
    pub total_variation: Rational,
    /// Of the Kullback-Leibler divergence, in either direction.
    pub divergence: Rational,
}

impl PolicyChange {
    /// Both bounds as `pick` takes them from two.
    pub(crate) fn with(&self, other: &Self, pick: fn(Rational, Rational) -> Rational) -> Self {
        Self {
            total_variation: pick(self.total_variation.clone(), other.total_variation.clone()),
            divergence: pick(self.divergence.clone(), other.divergence.clone()),
        }
    }
}

/// A softmax, from an enclosure of its logits.
pub struct Softmax {
    logits: GridBox,
    value_bits: u32,
    /// Each probability from below, in multiples of `2^-60`.
    clean: Vec<i128>,
    /// What every action but one has together, from above, in multiples of `2^-96`.
    rest: BigInt,
}

/// `2^bits`.
fn power(bits: u32) -> BigInt {
    BigInt::one() << bits
}

/// 1 and its square as multiples of `2^-60` and of `2^-120`.
fn units() -> (Wide, Wide) {
    let one = Wide::from(1i64).scaled(BITS);
    (one, one.scaled(BITS))
}

/// A number of the grid with `value_bits` fraction bits in multiples of `2^-60`; no grid is finer.
fn fine(value: Wide, value_bits: u32) -> Wide {
    BITS.checked_sub(value_bits)
        .map_or(value.scaled(BITS).floor(value_bits) + 1i64, |bits| value.scaled(bits))
}

/// `e^x` from above, in multiples of `2^-60` as `x` is; none above [`MAX_EXPONENT`].
fn exp_above(x: Wide) -> Option<i128> {
    let least = Wide::from(MIN_EXPONENT).scaled(BITS).get()?;
    let x = x.get()?.max(least);
    if x > Wide::from(MAX_EXPONENT).scaled(BITS).get()? {
        return None;
    }
    // e^x = 2^k e^(x - k ln 2), with ln 2 on the side that makes the rest larger.
    let doublings = Wide::from(x).divided(LN_TWO).entry()?;
    let ln_two = Wide::from(LN_TWO) + i64::from(doublings < 0);
    let rest = Wide::from(x) - ln_two * doublings;
    let (mut term, _) = units();
    let mut sum = term + 1i64;
    for n in 1..=TERMS {
        term = (term * rest).ceil(BITS).divided_up(n);
        sum = sum + term;
    }
    let shift = u32::try_from(doublings.unsigned_abs()).ok()?;
    if doublings < 0 { sum.ceil(shift) } else { sum.scaled(shift) }.get()
}

impl Softmax {
    /// Encloses the probabilities of the logits, which are on the grid with `value_bits` fraction bits.
    ///
    /// # Errors
    /// [`Fault::HeadShape`] without a logit; those of the enclosures.
    pub fn new(logits: &GridBox, value_bits: u32) -> Result<Self, Fault> {
        // Nothing changes if all logits move together: the largest becomes 0.
        let top = logits.intervals().map(|(_, upper)| upper).max().ok_or(Fault::HeadShape)?;
        let (one, square) = units();
        let weights = logits.intervals().map(|(lower, upper)| {
            let most = exp_above(fine(Wide::from(upper) - top, value_bits));
            // e^-x from below, by e^x from above; 0 always is.
            let inverse = exp_above(fine(Wide::from(top) - lower, value_bits));
            (inverse.and_then(|inverse| square.divided(inverse).get()).unwrap_or(0), most)
        });
        let weights: Vec<(i128, Option<i128>)> = weights.collect();
        let total = weights.iter().try_fold(Wide::from(0i64), |sum, (_, most)| Some(sum + (*most)?));
        let total = total.ok_or(Fault::HeadShape)?;
        let share = |(least, most): &(i128, Option<i128>)| {
            (one * *least).divided(total - most.unwrap_or(0) + *least).get().unwrap_or(0)
        };
        let clean: Vec<i128> = weights.iter().map(share).collect();
        let largest = clean.iter().copied().max().unwrap_or(0);
        let rest = (power(BITS) - largest) << COARSER;
        Ok(Self { logits: logits.clone(), value_bits, clean, rest })
    }

    /// Rules `head.softmax-tv` and `head.softmax-kl`: the least that each of their forms says.
    ///
    /// `gains` bounds `change_i - change_j` from above, in a row for every `i` with an entry for every `j`; `oscillation` all
    /// of them, and is not negative.
    ///
    /// # Errors
    /// [`Fault::HeadShape`] unless the gains are those of the logits; [`Fault::NegativeDistance`]; those of the enclosures.
    pub fn change(&self, gains: &[i64], oscillation: i64) -> Result<PolicyChange, Fault> {
        if oscillation < 0 {
            return Err(Fault::NegativeDistance);
        }
        let drift = Rational::on_grid(oscillation, self.value_bits);
        let (by_drift, divergence) = self.by_oscillation(&drift)?;
        let by_sets = self.by_sets(gains)?;
        let least = by_sets.map_or(by_drift.clone(), |sets| by_drift.min(sets));
        let total_variation = Rational::on_grid(least, COARSE_BITS);
        let symmetric = drift.mul(&total_variation).ceil_to_grid(COARSE_BITS);
        let divergence = divergence.map_or(symmetric.clone(), |known| symmetric.min(known));
        Ok(PolicyChange { total_variation, divergence })
    }

    /// What the largest drift of two logits says of total variation and divergence, with nothing but the probability of the
    /// likeliest action.
    fn by_oscillation(&self, drift: &Rational) -> Result<(BigInt, Option<Rational>), Fault> {
        let one = power(COARSE_BITS);
        if *drift > Rational::from_integer(MAX_EXPONENT.into()) {
            return Ok((one, None));
        }
        let (odds_least, odds) = exp_scaled(drift)?;
        let (rest, first) = (&self.rest, &one - &self.rest);
        // b^2 e^w <= (1 - b)^2: more than b moves less.
        let square = &one * &one;
        let grown = &square + rest * (&odds - &one);
        let total_variation = if rest * rest * &odds <= &first * &first * &one {
            div_ceil(&(rest * &first * (&odds - &one)), &grown)?
        } else {
            one.clone()
        };
        // b e^w <= 1 - b: what is left stays the lesser half.
        if rest * &odds > &first * &one {
            return Ok((total_variation, None));
        }
        let moved = Rational::on_grid(div_ceil(&(rest * &odds * &one), &grown)?, COARSE_BITS);
        let gain = rest * (odds_least - &one);
        // ln(1 + x) >= 2 x / (2 + x).
        let logarithm = div_floor(&((&gain << 1u8) * &one), &((&square << 1u8) + &gain))?;
        let divergence = drift.mul(&moved).sub(&Rational::on_grid(logarithm, COARSE_BITS));
        Ok((total_variation, Some(divergence.ceil_to_grid(COARSE_BITS))))
    }

    /// The largest gain of a set of actions, where there are few enough.
    fn by_sets(&self, gains: &[i64]) -> Result<Option<BigInt>, Fault> {
        let actions = self.logits.len();
        if actions.checked_mul(actions) != Some(gains.len()) {
            return Err(Fault::HeadShape);
        }
        if actions > MAX_SETS_OF {
            return Ok(None);
        }
        let mut odds = Vec::with_capacity(actions);
        for (own, row) in self.logits.intervals().zip(gains.chunks(actions)) {
            odds.push(self.odds(own, row)?);
        }
        let (one, square) = units();
        let (one, zero) = (one.get().ok_or(Fault::HeadShape)?, Wide::from(0i64));
        let (mut inside, mut largest) = (vec![false; actions], 0i128);
        loop {
            // The next set in binary: a carry goes on for as long as an action leaves the set.
            let overflowed = inside.iter_mut().all(|member| {
                *member = !*member;
                !*member
            });
            // The whole set, which is the last one, gains nothing.
            if overflowed || inside.iter().all(|member| *member) {
                return Ok(Some(BigInt::from(largest) << COARSER));
            }
            let own = inside.iter().zip(&self.clean).filter(|(member, _)| **member);
            let own = own.fold(zero, |sum, (_, share)| sum + *share);
            // From here on the set gains no more than another did.
            let enough = square.divided_up(own + largest).get();
            let mut against = one;
            for (other, _) in inside.iter().enumerate().filter(|(_, member)| !**member) {
                if enough.is_some_and(|enough| against >= enough) {
                    break;
                }
                let members = inside.iter().zip(&odds).filter(|(member, _)| **member);
                let mut members = members.filter_map(|(_, row)| row.get(other));
                let sum = members.try_fold(0i128, |sum, odds| sum.checked_add((*odds)?));
                // Odds beyond the cap leave the other action nothing.
                let left = sum.and_then(|sum| square.divided(sum).get()).unwrap_or(0);
                against = against.checked_add(left).ok_or(Fault::HeadShape)?;
            }
            let gain = (square.divided_up(against) - own).get().ok_or(Fault::HeadShape)?;
            largest = largest.max(gain);
        }
    }

    /// `e^(z_i + change_i - z_j - change_j)` from above for every `j`, in multiples of `2^-60`; none beyond the cap.
    fn odds(&self, own: (i64, i64), gains: &[i64]) -> Result<Vec<Option<i128>>, Fault> {
        let pairs = zip_exact(self.logits.intervals(), gains, 0)?;
        let leads = pairs.map(|((lower, _), gain)| Wide::from(own.1) - lower + *gain);
        Ok(leads.map(|lead| exp_above(fine(lead, self.value_bits))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE_BITS: u32 = 40;
    const UNIT: i64 = 1 << VALUE_BITS;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    fn near(found: &Rational, lower: &str, upper: &str) -> bool {
        r(lower) <= *found && *found <= r(upper)
    }

    fn softmax(logits: &[i64]) -> Softmax {
        Softmax::new(&GridBox::point(logits.iter().map(|z| z * UNIT)), VALUE_BITS).unwrap()
    }

    fn moved(logits: &[i64], gains: &[i64], oscillation: i64) -> PolicyChange {
        let gains: Vec<i64> = gains.iter().map(|gain| gain * UNIT).collect();
        softmax(logits).change(&gains, oscillation * UNIT).unwrap()
    }

    /// Up to the largest exponent something is said of a policy that is nearly certain; beyond it nothing.
    #[test]
    fn a_drift_counts_up_to_the_largest() {
        let at = |drift: &str| softmax(&[0, -36]).by_oscillation(&r(drift)).unwrap();
        let one = power(COARSE_BITS);
        assert!(at("40").0 < one);
        assert_eq!(at("40.001"), (one, None));
    }

    /// Against `enclose.exp`, which is not made of powers of two: above, by less than 2^-50 of the value and one step.
    #[test]
    fn exponentials_lie_just_above() {
        let two = crate::enclose::ln(&r("2")).unwrap();
        assert_eq!(two.lower.floor_scaled(BITS), BigInt::from(LN_TWO));
        let steps = [-60i64, -59, -41, -40, -17, -1, 0, 1, 3, 17, 39];
        for x in steps.into_iter().flat_map(|whole| {
            (0..7).map(move |part| (i128::from(whole) << 60) + part * 164_703_072_086_692_425)
        }) {
            let found = Rational::on_grid(exp_above(x.into()).unwrap(), BITS);
            let value = crate::enclose::exp(&Rational::on_grid(x, BITS)).unwrap();
            let slack = value.upper.mul(&Rational::on_grid(1, 50)).add(&Rational::on_grid(2, BITS));
            assert!(value.upper <= found && found <= value.lower.add(&slack), "{x}");
        }
        let cap = i128::from(MAX_EXPONENT) << BITS;
        assert!(exp_above(cap.into()).is_some() && exp_above((cap + 1).into()).is_none());
        assert_eq!(exp_above(Wide::from(-1i64 << 62) * (1i64 << 62)), Some(1));
        // Finer grids than 2^-60 are rounded upward.
        assert_eq!((fine(Wide::from(3i64), 58), fine(Wide::from(5i64), 62)), (12i64.into(), 2i64.into()));
    }

    /// Logits (4, 0), drift 1: the second action has b = 1/(1+e^4) = 0.01798..., and at most 1/(1+e^3) = 0.04742...; the
    /// difference 0.02943966321547... is attained. The divergence there is 0.04742... - ln(1 + b (e - 1)) = 0.016988..., with
    /// the logarithm from below 0.016990... Both far below tanh(1/4) = 0.2449... and 1/8.
    #[test]
    fn two_actions_by_hand() {
        let found = moved(&[4, 0], &[0, 1, 1, 0], 1);
        assert!(near(&found.total_variation, "0.029439663215475", "0.029439663215476"), "{found:?}");
        assert!(near(&found.divergence, "0.016990799166298", "0.016990799166299"), "{found:?}");
        assert_eq!(moved(&[4, 0], &[0; 4], 0).divergence, Rational::zero());
    }

    /// Logits (2, 1, -1), of which the second alone may rise, by 1: it has 0.25949..., which becomes 0.48785...; the drift
    /// alone would allow 0.2370... With one more action nothing is looked at but the drift.
    #[test]
    fn sets_tell_which_action_moves() {
        let one_rises =
            |n: usize| (0..n * n).map(|at| i64::from(at / n == 1 && at % n != 1)).collect::<Vec<_>>();
        let found = moved(&[2, 1, -1], &one_rises(3), 1).total_variation;
        assert!(near(&found, "0.22835", "0.22836"), "{found}");
        let mut logits = vec![-50; MAX_SETS_OF];
        logits[..3].copy_from_slice(&[2, 1, -1]);
        let sets = moved(&logits, &one_rises(MAX_SETS_OF), 1).total_variation;
        assert!(near(&sets, "0.22835", "0.22836"), "{sets}");
        logits.push(-50);
        let drift = moved(&logits, &one_rises(MAX_SETS_OF + 1), 1).total_variation;
        assert!(near(&drift, "0.23707", "0.23708"), "{drift}");
    }

    /// b = 1/(1+e^4): from w = 8 on the worst policy with a lead is no nearer than the worst of all, from w = 4 on the
    /// divergence rests on the total variation. Beyond 40 no odds are looked at. Thirteen actions, so that no set is.
    #[test]
    fn forms_end_where_they_stop_to_hold() {
        let tv_divergence = |oscillation: i64| {
            let mut logits = vec![-100_000; MAX_SETS_OF + 1];
            logits[..2].copy_from_slice(&[4, 0]);
            let found =
                softmax(&logits).change(&[0; (MAX_SETS_OF + 1) * (MAX_SETS_OF + 1)], oscillation).unwrap();
            let drift = Rational::on_grid(oscillation, VALUE_BITS);
            let by_variation =
                found.divergence == drift.mul(&found.total_variation).ceil_to_grid(COARSE_BITS);
            (found.total_variation, by_variation)
        };
        let (near_four, by_variation) = tv_divergence(4 * UNIT - 1000);
        assert!(near(&near_four, "0.48", "0.49") && !by_variation);
        assert!(tv_divergence(4 * UNIT + 1000).1);
        // At w = 8: tanh 2.
        assert!(near(&tv_divergence(8 * UNIT - 1000).0, "0.9640275", "0.9640276"));
        assert_eq!(tv_divergence(8 * UNIT + 1000), (Rational::one(), true));
        assert_eq!(tv_divergence(40 * UNIT + 1).0, Rational::one());
        // A certain action never moves that far.
        let certain = Softmax::new(&GridBox::point([0, -3000 * UNIT]), VALUE_BITS).unwrap();
        assert!(
            certain.change(&[0, 50 * UNIT, 50 * UNIT, 0], 50 * UNIT).unwrap().total_variation < r("1e-17")
        );
    }

    #[test]
    fn changes_of_other_shapes_are_refused() {
        let none = Softmax::new(&GridBox::default(), VALUE_BITS).map(|softmax| softmax.value_bits);
        assert_eq!(none, Err(Fault::HeadShape));
        let two = softmax(&[1, 0]);
        for gains in [&[][..], &[0; 3], &[0; 5]] {
            assert_eq!(two.change(gains, 0), Err(Fault::HeadShape));
        }
        assert_eq!(two.change(&[0; 4], -1), Err(Fault::NegativeDistance));
        assert!(two.change(&[0; 4], 0).is_ok());
    }
}
