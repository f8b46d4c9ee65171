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
    clean: Vec<Wide>,
    /// What every action but one has together, from above, in multiples of `2^-96`.
    rest: BigInt,
}

/// `2^bits`.
fn power(bits: u32) -> BigInt {
    BigInt::one() << bits
}

impl Softmax {
    /// Encloses the probabilities of the logits, which are on the grid with `value_bits` fraction bits.
    ///
    /// # Errors
    /// [`Fault::HeadShape`] without a logit; those of the enclosures.
    pub fn new(logits: &GridBox, value_bits: u32) -> Result<Self, Fault> {
        // Nothing changes if all logits move together: the largest becomes 0.
        let top = logits.intervals().map(|(_, upper)| upper).max().ok_or(Fault::HeadShape)?;
        let weight = |end: i64| exp_scaled(&Rational::on_grid(BigInt::from(end) - top, value_bits));
        let weights = logits.intervals().map(|(lower, upper)| Ok((weight(lower)?.0, weight(upper)?.1)));
        let weights = weights.collect::<Result<Vec<_>, Fault>>()?;
        let total: BigInt = weights.iter().map(|(_, most)| most).sum();
        let share = |(least, most): &(BigInt, BigInt)| div_floor(&(least << BITS), &(&total - most + least));
        let shares = weights.iter().map(share).collect::<Result<Vec<_>, Fault>>()?;
        let largest = shares.iter().max().cloned().unwrap_or_default();
        let rest = (power(BITS) - largest) << COARSER;
        let clean = shares.iter().map(|share| i128::try_from(share).map(Wide::from));
        let clean = clean.collect::<Result<_, _>>().map_err(|_| Fault::HeadShape)?;
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
        let (one, square) = (Wide::from(1i64).scaled(BITS), Wide::from(1i64).scaled(BITS).scaled(BITS));
        let (mut inside, mut largest) = (vec![false; actions], 0i128);
        loop {
            // The next set in binary: a carry goes on for as long as an action leaves the set.
            let overflowed = inside.iter_mut().all(|member| {
                *member = !*member;
                !*member
            });
            if overflowed {
                return Ok(Some(BigInt::from(largest) << COARSER));
            }
            let members = || inside.iter().zip(&odds).filter(|(member, _)| **member).map(|(_, row)| row);
            let mut against = Wide::from(0i64);
            for (other, _) in inside.iter().enumerate().filter(|(_, member)| !**member) {
                let sum = members().filter_map(|row| row.get(other)).fold(Wide::from(0i64), |s, x| s + *x);
                // Odds beyond the cap leave the other action nothing.
                against = against + square.divided(sum).get().unwrap_or(0);
            }
            let own = inside.iter().zip(&self.clean).filter(|(member, _)| **member);
            let own = own.fold(Wide::from(0i64), |sum, (_, share)| sum + *share);
            let gain = (square.divided_up(one + against) - own).get().ok_or(Fault::HeadShape)?;
            let whole = inside.iter().all(|member| *member);
            largest = if whole { largest } else { largest.max(gain) };
        }
    }

    /// `e^(z_i + change_i - z_j - change_j)` from above for every `j`, in multiples of `2^-60`; none beyond the cap.
    fn odds(&self, own: (i64, i64), gains: &[i64]) -> Result<Vec<Wide>, Fault> {
        let cap = Rational::from_integer(MAX_EXPONENT.into());
        let pairs = zip_exact(self.logits.intervals(), gains, 0)?;
        pairs
            .map(|((lower, _), gain)| {
                let lead = Rational::on_grid(BigInt::from(own.1) - lower + gain, self.value_bits);
                if lead > cap {
                    return Ok(Wide::beyond());
                }
                let scaled: BigInt = -(-exp_scaled(&lead)?.1 >> COARSER);
                Ok(i128::try_from(scaled).map_or(Wide::beyond(), Wide::from))
            })
            .collect()
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
