//! Rules `statistic.hoeffding`, `statistic.bernstein`: upper confidence bounds of `F(theta) = E[TV_max]`.
//! Trusted, rounded outward; the result is a statistical claim, never a proof. `spec/rules/regret.md`.

use alloc::boxed::Box;

use num_bigint::BigInt;
use num_traits::{One, Zero};

use crate::enclose::{ln, sqrt};
use crate::fault::Fault;
use crate::number::Rational;

/// Most samples accepted.
pub const MAX_SAMPLES: usize = 1_000_000;
/// Grid `2^-64` on which the clipped uppers are rounded up before they are averaged.
const GRID_BITS: u32 = 64;

/// How the states were drawn; only one way makes the samples independent with mean `F(theta)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sampler {
    /// One state from each of n independent episodes of the clean stochastic policy of the same mask, at a time `k` with
    /// probability `(1-g) g^k`.
    IndependentEpisodesGeometricTime,
}

impl Sampler {
    /// The name in certificates.
    pub const INDEPENDENT_EPISODES: &'static str = "independent-episodes-geometric-time";

    /// The sampler with this name; for every other the inequalities do not hold.
    pub fn parse(name: &str) -> Option<Self> {
        (name == Self::INDEPENDENT_EPISODES).then_some(Self::IndependentEpisodesGeometricTime)
    }
}

/// What one episode contributed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// It was alive at its time: a proven upper bound on `TV_max` at its state, not negative; above 1 counts as 1.
    State(Rational),
    /// It had ended by itself before its time: counts 0.
    Ended,
    /// It was cut off (time limit of the simulator) before its time, so that the state is unknown: counts 1.
    CutOff,
}

/// How much confidence one application of one inequality may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confidence {
    /// Probability with which ALL bounds of the claim hold together, strictly between 0 and 1.
    pub level: Rational,
    /// Number of masks that share the level.
    pub masks: u32,
    /// Number of inequalities tried per mask (2 when the least of Hoeffding and Bernstein is reported).
    pub inequalities: u32,
}

impl Confidence {
    /// `(1 - level) / (masks * inequalities)`, the failure probability left to one inequality. Exact.
    ///
    /// # Errors
    /// [`Fault::ConfidenceOutOfRange`], [`Fault::EmptySplit`].
    pub fn failure(&self) -> Result<Rational, Fault> {
        let failure = Rational::one().sub(&self.level);
        if !self.level.is_positive() || !failure.is_positive() {
            return Err(Fault::ConfidenceOutOfRange { confidence: Box::new(self.level.clone()) });
        }
        let parts = BigInt::from(self.masks) * BigInt::from(self.inequalities);
        failure.div(&Rational::from_integer(parts)).map_err(|_| Fault::EmptySplit)
    }
}

/// Sum and sum of squares of the uppers on the grid `2^-64`.
struct Moments {
    count: BigInt,
    sum: BigInt,
    squares: BigInt,
}

/// Clips to [0, 1] and rounds up to the grid. The rounded number is still an upper bound and still a function of the
/// state alone, so that the samples stay independent and identically distributed: the inequalities apply to it.
fn moments(samples: &[Sample], needed: usize) -> Result<Moments, Fault> {
    if samples.len() < needed {
        return Err(Fault::TooFewSamples { samples: samples.len(), needed });
    }
    if samples.len() > MAX_SAMPLES {
        return Err(Fault::TooManySamples { samples: samples.len(), most: MAX_SAMPLES });
    }
    let unit = BigInt::one() << GRID_BITS;
    let (mut sum, mut squares) = (BigInt::zero(), BigInt::zero());
    for (index, sample) in samples.iter().enumerate() {
        let value = match sample {
            Sample::State(upper) if upper.is_negative() => {
                return Err(Fault::NegativeSample { index });
            }
            Sample::State(upper) if *upper < Rational::one() => upper.ceil_scaled(GRID_BITS),
            Sample::State(_) | Sample::CutOff => unit.clone(),
            Sample::Ended => BigInt::zero(),
        };
        squares += &value * &value;
        sum += value;
    }
    Ok(Moments { count: BigInt::from(samples.len()), sum, squares })
}

/// Rule `statistic.hoeffding`: `F <= mean(U) + sqrt(ln(1/d) / (2n))` with probability at least `1 - d`,
/// `d = (1 - level) / (masks * inequalities)`; never above 1.
///
/// Rounded up: uppers to `2^-64`, logarithm and root to `2^-96`.
///
/// # Errors
/// [`Fault`], one variant per side condition.
///
/// # References
/// `spec/rules/regret.md#statistichoeffding`; Hoeffding 1963, doi:10.1080/01621459.1963.10500830.
pub fn hoeffding(_sampler: Sampler, samples: &[Sample], confidence: &Confidence) -> Result<Rational, Fault> {
    let failure = confidence.failure()?;
    let moments = moments(samples, 1)?;
    let log = log_upper(&BigInt::one(), &failure)?;
    let width = sqrt(&quotient(&log, &(&moments.count * 2u8))?)?.upper;
    Ok(mean(&moments)?.add(&width).min(Rational::one()))
}

/// Rule `statistic.bernstein`: `F <= mean(U) + sqrt(2 V ln(2/d) / n) + 7 ln(2/d) / (3(n-1))` with probability at least
/// `1 - d`, `V` the sample variance (divisor `n - 1`), `d` as in [`hoeffding`]; never above 1.
///
/// Rounded up as in [`hoeffding`].
///
/// # Errors
/// [`Fault`], one variant per side condition.
///
/// # References
/// `spec/rules/regret.md#statisticbernstein`; Maurer and Pontil 2009, arXiv:0907.3740.
pub fn bernstein(_sampler: Sampler, samples: &[Sample], confidence: &Confidence) -> Result<Rational, Fault> {
    let failure = confidence.failure()?;
    let moments = moments(samples, 2)?;
    let log = log_upper(&BigInt::from(2u8), &failure)?;
    let (n, before) = (&moments.count, &moments.count - 1u8);
    // V = (n sum U^2 - (sum U)^2) / (n (n-1)), in units of the squared grid.
    let spread = Rational::on_grid(n * &moments.squares - &moments.sum * &moments.sum, 2 * GRID_BITS);
    let variance = quotient(&spread, &(n * &before))?;
    let two = Rational::from_integer(BigInt::from(2u8));
    let width = sqrt(&quotient(&two.mul(&variance).mul(&log), n)?)?.upper;
    let seven = Rational::from_integer(BigInt::from(7u8));
    let correction = quotient(&seven.mul(&log), &(before * 3u8))?;
    Ok(mean(&moments)?.add(&width).add(&correction).min(Rational::one()))
}

/// At least `ln(scale / failure)`.
fn log_upper(scale: &BigInt, failure: &Rational) -> Result<Rational, Fault> {
    let inverse = Rational::from_integer(scale.clone()).div(failure).map_err(|_| Fault::ZeroDenominator)?;
    Ok(ln(&inverse)?.upper)
}

fn mean(moments: &Moments) -> Result<Rational, Fault> {
    quotient(&Rational::on_grid(moments.sum.clone(), GRID_BITS), &moments.count)
}

/// The divisors here are sample counts that were tested to be large enough.
fn quotient(top: &Rational, bottom: &BigInt) -> Result<Rational, Fault> {
    top.div(&Rational::from_integer(bottom.clone())).map_err(|_| Fault::ZeroDenominator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    fn confidence(level: &str) -> Confidence {
        Confidence { level: r(level), masks: 1, inequalities: 1 }
    }

    fn near(value: &Rational, expected: &str) -> bool {
        let excess = value.sub(&r(expected));
        !excess.is_negative() && excess < r("1e-15")
    }

    const SAMPLER: Sampler = Sampler::IndependentEpisodesGeometricTime;

    /// n = 200, mean 1/4, d = 1/20: sqrt(ln 20 / 400) = 0.0865408885...: ln 20 = 2.995732273553990993435...
    #[test]
    fn hoeffding_by_hand() {
        let samples: Vec<Sample> = vec![Sample::State(r("1/4")); 200];
        let bound = hoeffding(SAMPLER, &samples, &confidence("0.95")).unwrap();
        let width = bound.sub(&r("1/4"));
        let square = width.mul(&width);
        assert!(near(&square, "0.007489330683884977483"), "{square}");
    }

    /// n = 100, half 0 and half 1, d = 1/10: V = 100/4/99 = 25/99, L = ln 20;
    /// bound = 1/2 + sqrt(2 V L / 100) + 7 L / 297.
    #[test]
    fn bernstein_by_hand() {
        let samples: Vec<Sample> =
            (0..100).map(|i| if i % 2 == 0 { Sample::Ended } else { Sample::CutOff }).collect();
        let bound = bernstein(SAMPLER, &samples, &confidence("0.9")).unwrap();
        let log = r("2.995732273553990993435");
        let width = bound.sub(&r("1/2")).sub(&log.mul(&r("7/297")));
        let square = width.mul(&width);
        let expected = log.mul(&r("50/9900"));
        assert!(!square.sub(&expected).is_negative() && square.sub(&expected) < r("1e-15"));
    }

    #[test]
    fn uppers_above_one_are_clipped_and_the_bound_never_exceeds_one() {
        let bound = hoeffding(SAMPLER, &vec![Sample::State(r("7")); 10], &confidence("0.9"));
        assert_eq!(bound, Ok(Rational::one()));
        let low: Vec<Sample> = vec![Sample::State(r("1/100")); 1000];
        let tighter = bernstein(SAMPLER, &low, &confidence("0.9")).unwrap();
        assert!(tighter < hoeffding(SAMPLER, &low, &confidence("0.9")).unwrap());
    }

    #[test]
    fn splitting_costs() {
        let samples = vec![Sample::State(r("1/100")); 1000];
        let split = Confidence { level: r("0.95"), masks: 5, inequalities: 2 };
        assert_eq!(split.failure(), Ok(r("1/200")));
        let alone = hoeffding(SAMPLER, &samples, &confidence("0.95")).unwrap();
        assert_eq!(hoeffding(SAMPLER, &samples, &split), hoeffding(SAMPLER, &samples, &confidence("0.995")));
        assert!(hoeffding(SAMPLER, &samples, &split).unwrap() > alone);
    }
}
