//! The sampler of `F(theta)`: geometric times drawn exactly from a seed, and the samples they give. Untrusted: the bound
//! is the checker's (`secateur_checker::kernel::statistic`). `spec/rules/regret.md#statistichoeffding`.

use num_bigint::{BigInt, BigUint};
use num_traits::{One, Zero};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secateur_checker::kernel::statistic::Sample;
use secateur_checker::number::Rational;

/// Why no times can be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplerError {
    /// The discount is not in [0, 1).
    #[error("the discount {discount} is not in [0, 1)")]
    Discount {
        /// The discount given.
        discount: Rational,
    },
}

/// Draws `k` with probability exactly `(1-g) g^k`, one stream per episode.
///
/// The stream of an episode depends on the seed and its index only, so that episodes may run in any order and on any
/// number of threads. The bits are those of ChaCha20: independence is that of its stream, exactness is in the
/// comparison with the rational `g`.
#[derive(Clone, Debug)]
pub struct GeometricTime {
    seed: [u8; 32],
    numerator: BigUint,
    denominator: BigUint,
}

impl GeometricTime {
    /// A sampler for a discount in [0, 1).
    ///
    /// # Errors
    /// [`SamplerError::Discount`].
    pub fn new(seed: [u8; 32], discount: &Rational) -> Result<Self, SamplerError> {
        if discount.is_negative() || *discount >= Rational::one() {
            return Err(SamplerError::Discount { discount: discount.clone() });
        }
        let (numerator, denominator) = (discount.numerator(), discount.denominator());
        Ok(Self {
            seed,
            numerator: numerator.magnitude().clone(),
            denominator: denominator.magnitude().clone(),
        })
    }

    /// The time of an episode; `None` if it is above `limit`, which the sample then counts as [`Sample::CutOff`].
    pub fn time(&self, episode: u64, limit: u64) -> Option<u64> {
        let mut rng = ChaCha20Rng::from_seed(self.seed);
        rng.set_stream(episode);
        (0..=limit).find(|_| below(&mut rng, &self.denominator) >= self.numerator)
    }
}

/// A uniform integer in `0..bound`, by rejection; `bound` is not 0.
fn below(rng: &mut ChaCha20Rng, bound: &BigUint) -> BigUint {
    let bits = (bound - BigUint::one()).bits();
    loop {
        let mut value = BigUint::zero();
        let mut left = bits;
        while left > 0 {
            let take = left.min(64);
            let word = rng.next_u64() >> (64 - take);
            value = (value << take) | BigUint::from(word);
            left -= take;
        }
        if value < *bound {
            return value;
        }
    }
}

/// What an episode of the clean stochastic policy gave at its geometric time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visit<S> {
    /// It was alive, in this state.
    State(S),
    /// It had ended by itself.
    Ended,
    /// It was cut off by a limit of the simulator or of the sampler; its state is unknown.
    CutOff,
}

/// Runs episodes `0..count`: `run(episode, time)` plays one fresh, independent episode to its time (`None`: beyond
/// `limit`, so that it need not be played) and says what it found there; the caller bounds `TV_max` at the states.
///
/// `run` must start from the start distribution each time, with randomness of its own per episode.
///
/// # Errors
/// The first one of `run`.
pub fn visit_episodes<S, E>(
    times: &GeometricTime,
    count: u64,
    limit: u64,
    mut run: impl FnMut(u64, u64) -> Result<Visit<S>, E>,
) -> Result<Vec<Visit<S>>, E> {
    let play = |episode| times.time(episode, limit).map_or(Ok(Visit::CutOff), |time| run(episode, time));
    (0..count).map(play).collect()
}

/// Visits with an exact upper bound on `TV_max` per visited state, as the checker's rules take them.
pub fn to_samples<S>(visits: &[Visit<S>], mut upper: impl FnMut(&S) -> Rational) -> Vec<Sample> {
    let sample = |visit: &Visit<S>| match visit {
        Visit::State(state) => Sample::State(upper(state)),
        Visit::Ended => Sample::Ended,
        Visit::CutOff => Sample::CutOff,
    };
    visits.iter().map(sample).collect()
}

/// A seed from a number: its 8 little-endian bytes, then zeros.
pub fn seed_from(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

/// `P(time > limit) = g^(limit+1)`: the share of episodes that a limit cuts off, exactly. Powers grow with the limit.
pub fn cut_off_share(discount: &Rational, limit: u32) -> Rational {
    let power = limit.saturating_add(1);
    let (top, bottom) = (discount.numerator().pow(power), discount.denominator().pow(power));
    Rational::new(top, bottom).unwrap_or_else(|_| Rational::from_integer(BigInt::one()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    #[test]
    fn times_are_geometric_and_reproducible() {
        let times = GeometricTime::new(seed_from(7), &r("2/3")).unwrap();
        let drawn: Vec<u64> = (0..30_000).map(|e| times.time(e, 1_000).unwrap()).collect();
        for k in 0..4u32 {
            let share = drawn.iter().filter(|t| **t == u64::from(k)).count() as f64 / 30_000.0;
            let expected = (2.0f64 / 3.0).powi(k as i32) / 3.0;
            assert!((share - expected).abs() < 0.015, "{k}: {share} against {expected}");
        }
        assert_eq!(times.time(29_999, 1_000), Some(drawn[29_999]));
        let other = GeometricTime::new(seed_from(8), &r("2/3")).unwrap();
        assert!((0..100).any(|e| other.time(e, 1_000) != times.time(e, 1_000)));
    }

    #[test]
    fn times_beyond_the_limit_are_cut_off() {
        let times = GeometricTime::new(seed_from(1), &r("0.9")).unwrap();
        let cut = (0..10_000).filter(|e| times.time(*e, 9).is_none()).count() as f64 / 10_000.0;
        // 0.9^10 = 0.3486784401
        assert_eq!(cut_off_share(&r("0.9"), 9), r("0.3486784401"));
        assert!((cut - 0.3487).abs() < 0.02, "{cut}");
        let zero = GeometricTime::new(seed_from(1), &r("0")).unwrap();
        assert!((0..100).all(|e| zero.time(e, 0) == Some(0)));
    }

    #[test]
    fn discount_is_in_range() {
        for bad in ["1", "-1/2", "2"] {
            let refused = GeometricTime::new(seed_from(1), &r(bad)).unwrap_err();
            assert_eq!(refused, SamplerError::Discount { discount: r(bad) });
        }
    }
}
