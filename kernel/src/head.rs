//! From output changes to policies: rules `head.gaussian-tv`, `head.gaussian-kl`, `head.categorical-tv`,
//! `head.categorical-kl`. Trusted. `spec/rules/local.md#heads`.

use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::Zero;

use crate::enclose::{Enclosures, exp, sqrt, tanh};
use crate::fault::Fault;
use crate::model::Head;
use crate::number::Rational;
use crate::softmax::PolicyChange;
use crate::wide::zip_exact;

/// Fraction bits of standardised deviations.
const BITS: u32 = 80;

/// A head with the constants its bounds need.
pub struct HeadBounds {
    enclosures: Enclosures,
    /// `1 / sigma` from above with [`BITS`] fraction bits; empty unless Gaussian.
    inverse_std: Vec<BigInt>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gaussian,
    Categorical,
    Deterministic,
}

/// How far a state's outputs can move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChange {
    /// Upper bound on each output's absolute change.
    pub deviation: Vec<Rational>,
    /// Upper bound on `max_i change_i - min_i change_i`.
    pub oscillation: Rational,
    /// Upper bound on the Euclidean norm of the change, where a family has a better one than its deviations give.
    pub euclidean: Option<Rational>,
    /// What is known of a softmax beside the oscillation, where its clean policy is known.
    pub policy: Option<PolicyChange>,
    /// Upper bound on a Gaussian's squared standardised distance, where a family has a better one than the deviations give.
    pub distance: Option<Rational>,
}

impl OutputChange {
    /// A deviation per output, each in either direction.
    pub fn from_deviation(deviation: Vec<Rational>) -> Self {
        let mut sorted: Vec<&Rational> = deviation.iter().collect();
        sorted.sort();
        let mut largest = sorted.into_iter().rev();
        // Outputs i and j drift apart by at most v_i + v_j; with one output there is nothing to compare.
        let pair = largest.next().zip(largest.next());
        let oscillation = pair.map_or_else(Rational::zero, |(first, second)| first.add(second));
        Self { deviation, oscillation, euclidean: None, policy: None, distance: None }
    }

    /// What two bounds on the same changes say together, of any clean policy: `policy` is left out, because a bracket compares
    /// the changes of two masks, and because certificates state brackets exactly.
    ///
    /// # Errors
    /// [`Fault::HeadShape`] if they are about different numbers of outputs.
    pub fn meet(&self, other: &Self) -> Result<Self, Fault> {
        let least = |one: &Option<Rational>, two: &Option<Rational>| match (one, two) {
            (Some(one), Some(two)) => Some(one.min(two).clone()),
            (one, two) => one.as_ref().or(two.as_ref()).cloned(),
        };
        let pairs = zip_exact(&self.deviation, &other.deviation, 0).map_err(|_| Fault::HeadShape)?;
        Ok(Self {
            deviation: pairs.map(|(one, two)| one.min(two).clone()).collect(),
            oscillation: self.oscillation.clone().min(other.oscillation.clone()),
            euclidean: least(&self.euclidean, &other.euclidean),
            policy: None,
            distance: least(&self.distance, &other.distance),
        })
    }
}

impl HeadBounds {
    /// Prepares the constants of `head`.
    ///
    /// # Errors
    /// [`Fault::StandardDeviation`].
    pub fn new(head: &Head) -> Result<Self, Fault> {
        let (kind, inverse_std) = match head {
            Head::Gaussian { log_std } => {
                let inverse = log_std.iter().enumerate().map(|(output, entry)| {
                    let enclosure = exp(&entry.to_rational().neg());
                    enclosure
                        .map(|e| e.upper.ceil_scaled(BITS))
                        .map_err(|_| Fault::StandardDeviation { output })
                });
                (Kind::Gaussian, inverse.collect::<Result<Vec<_>, _>>()?)
            }
            Head::Categorical => (Kind::Categorical, Vec::new()),
            Head::Deterministic => (Kind::Deterministic, Vec::new()),
        };
        Ok(Self { enclosures: Enclosures::new()?, inverse_std, kind })
    }

    /// An upper bound on `d^2 = sum (change_i / sigma_i)^2` of a Gaussian.
    ///
    /// # Errors
    /// [`Fault::HeadShape`].
    pub(crate) fn distance_squared(&self, change: &OutputChange) -> Result<Rational, Fault> {
        let pairs = zip_exact(&change.deviation, &self.inverse_std, 0).map_err(|_| Fault::HeadShape)?;
        let mut sum = BigInt::zero();
        for (deviation, inverse) in pairs {
            let standardised = deviation.ceil_scaled(BITS) * inverse;
            sum += &standardised * &standardised;
        }
        let by_outputs = Rational::on_grid(sum, 4 * BITS);
        let by_outputs = change.distance.iter().fold(by_outputs, |least, known| least.min(known.clone()));
        let Some(norm) = &change.euclidean else { return Ok(by_outputs) };
        // The smallest standard deviation counts for a norm.
        let largest = self.inverse_std.iter().max().cloned().ok_or(Fault::HeadShape)?;
        let scaled = norm.mul(&Rational::on_grid(largest, BITS));
        Ok(by_outputs.min(scaled.mul(&scaled)))
    }

    /// `1 / sigma^2` from above of every output of a Gaussian, in multiples of `2^-40`.
    pub(crate) fn inverse_variances(&self) -> impl ExactSizeIterator<Item = Rational> {
        self.inverse_std.iter().map(|inverse| Rational::on_grid(inverse * inverse, 2 * BITS).ceil_to_grid(40))
    }

    /// Upper bound on the total variation between the clean and the perturbed action distribution.
    ///
    /// Gaussian with equal covariance: `2 Phi(d / 2) - 1`. Categorical: `tanh(oscillation / 4)`, which is attained, or what
    /// is known of the clean policy.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn total_variation(&self, change: &OutputChange) -> Result<Rational, Fault> {
        match self.kind {
            Kind::Gaussian => {
                let squared = self.distance_squared(change)?;
                let distance = sqrt(&squared)?.upper;
                Ok(self.enclosures.gaussian_tv(&distance)?.upper)
            }
            Kind::Categorical => {
                let quarter = change.oscillation.mul(&Rational::on_grid(1, 2));
                let worst = tanh(&quarter)?.upper;
                Ok(change
                    .policy
                    .as_ref()
                    .map_or(worst.clone(), |known| worst.min(known.total_variation.clone())))
            }
            Kind::Deterministic => Err(Fault::NoDistribution),
        }
    }

    /// Upper bound on the Kullback-Leibler divergence: `d^2 / 2`, or `oscillation^2 / 8` (Hoeffding's lemma) or what is known
    /// of the clean policy.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn divergence(&self, change: &OutputChange) -> Result<Rational, Fault> {
        match self.kind {
            Kind::Gaussian => Ok(self.distance_squared(change)?.mul(&Rational::on_grid(1, 1))),
            Kind::Categorical => {
                let square = change.oscillation.mul(&change.oscillation);
                let worst = square.mul(&Rational::on_grid(1, 3));
                Ok(change.policy.as_ref().map_or(worst.clone(), |known| worst.min(known.divergence.clone())))
            }
            Kind::Deterministic => Err(Fault::NoDistribution),
        }
    }

    /// Whether the head is Gaussian.
    pub fn is_gaussian(&self) -> bool {
        self.kind == Kind::Gaussian
    }

    /// Whether the head is a distribution.
    pub fn is_distribution(&self) -> bool {
        self.kind != Kind::Deterministic
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::Dyadic;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    fn change(deviation: &[&str], oscillation: &str, euclidean: Option<&str>) -> OutputChange {
        let deviation = deviation.iter().map(|d| r(d)).collect();
        let (oscillation, euclidean) = (r(oscillation), euclidean.map(r));
        OutputChange { deviation, oscillation, euclidean, policy: None, distance: None }
    }

    fn gaussian(log_std: &[i64]) -> HeadBounds {
        let log_std = log_std.iter().map(|&l| Dyadic::new(l, 0)).collect();
        HeadBounds::new(&Head::Gaussian { log_std }).unwrap()
    }

    fn near(found: Result<Rational, Fault>, lower: &str, upper: &str) -> bool {
        found.is_ok_and(|f| r(lower) <= f && f <= r(upper))
    }

    /// sigma = 1, deviation 1: d = 1, TV = 2 Phi(1/2) - 1 = 0.382924922548026..., KL = 1/2. Deviations 3, 4: KL = 25/2.
    #[test]
    fn gaussian_bounds_by_hand() {
        let one = gaussian(&[0]);
        assert!(near(
            one.total_variation(&change(&["1"], "0", None)),
            "0.382924922548026",
            "0.382924922548027"
        ));
        assert!(near(one.divergence(&change(&["1"], "0", None)), "1/2", "0.50000000000000000001"));
        assert!(near(
            gaussian(&[0, 0]).divergence(&change(&["3", "4"], "0", None)),
            "12.5",
            "12.50000000000001"
        ));
        assert_eq!(one.total_variation(&change(&["0"], "0", None)), Ok(Rational::zero()));
    }

    /// log_std (0, -1): 1/sigma = (1, e), e^2 = 7.389056098930650227...; a Euclidean bound takes the largest, so 9 e^2 / 2.
    #[test]
    fn the_smallest_sigma_counts_for_a_norm() {
        let head = gaussian(&[0, -1]);
        let apart = head.divergence(&change(&["1", "2"], "0", None));
        assert!(near(apart, "15.27811219786130045", "15.27811219786130046"));
        let norm = head.divergence(&change(&["3", "3"], "0", Some("3")));
        assert!(near(norm, "33.250752445187926", "33.250752445187927"));
    }

    /// Oscillation 4: TV <= tanh 1 = 0.7615941559557648881..., KL <= 16/8. Attained: logits (2, -2) against (0, 0) shifted
    /// to probabilities e/(e + 1/e) and back differ by tanh 1.
    #[test]
    fn categorical_bounds_by_hand() {
        let head = HeadBounds::new(&Head::Categorical).unwrap();
        let four = change(&["2", "2"], "4", None);
        assert!(near(head.total_variation(&four), "0.76159415595576488", "0.76159415595576489"));
        assert_eq!(head.divergence(&four), Ok(r("2")));
        assert!(head.is_distribution() && !head.is_gaussian());
    }

    #[test]
    fn heads_refuse_what_they_cannot_bound() {
        let none = change(&["1"], "0", None);
        let plain = HeadBounds::new(&Head::Deterministic).unwrap();
        assert_eq!(plain.total_variation(&none), Err(Fault::NoDistribution));
        assert_eq!(plain.divergence(&none), Err(Fault::NoDistribution));
        assert_eq!(gaussian(&[0, 0]).total_variation(&none), Err(Fault::HeadShape));
        assert_eq!(gaussian(&[0, 0]).divergence(&none), Err(Fault::HeadShape));
        let std = |entry: i64| {
            let log_std = vec![Dyadic::ZERO, Dyadic::new(entry, 0)];
            HeadBounds::new(&Head::Gaussian { log_std }).map(|h| h.is_gaussian())
        };
        assert_eq!((std(-2048), std(1 << 40)), (Ok(true), Ok(true)));
        assert_eq!(std(-2049), Err(Fault::StandardDeviation { output: 1 }));
    }
}
