//! Running mean and variance of observations and of returns. Untrusted.
//! Chan, Golub and LeVeque 1979 (one sample at a time); clipped at 10 as in the literature.

use serde::{Deserialize, Serialize};

use crate::float::bits;
use crate::float::normaliser::FixedNormaliser;

/// Radius to which normalised observations and rewards are clipped.
pub const CLIP: f64 = 10.0;

/// Added to variances before the root.
const EPSILON: f64 = 1e-8;

/// Running mean and variance of vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningMoments {
    #[serde(with = "bits")]
    mean: Vec<f64>,
    #[serde(with = "bits")]
    variance: Vec<f64>,
    #[serde(with = "bits::one")]
    count: f64,
}

impl RunningMoments {
    /// Mean 0 and variance 1, with next to no weight.
    pub fn new(width: usize) -> Self {
        Self { mean: vec![0.0; width], variance: vec![1.0; width], count: 1e-4 }
    }

    /// Takes one more vector in.
    pub fn update(&mut self, sample: &[f64]) {
        let total = self.count + 1.0;
        for ((mean, variance), x) in self.mean.iter_mut().zip(&mut self.variance).zip(sample) {
            let delta = x - *mean;
            *variance = (*variance * self.count + delta * delta * self.count / total) / total;
            *mean += delta / total;
        }
        self.count = total;
    }

    /// The normaliser of these moments.
    pub fn fixed(&self) -> FixedNormaliser {
        let std = self.variance.iter().map(|variance| (variance + EPSILON).sqrt()).collect();
        FixedNormaliser { mean: self.mean.clone(), std, clip: CLIP }
    }

    /// Writes the normalised sample.
    pub fn normalise(&self, sample: &[f64], out: &mut [f64]) {
        let moments = self.mean.iter().zip(&self.variance);
        for ((target, x), (mean, variance)) in out.iter_mut().zip(sample).zip(moments) {
            *target = ((x - mean) / (variance + EPSILON).sqrt()).clamp(-CLIP, CLIP);
        }
    }
}

/// What a run does to observations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ObservationNormaliser {
    /// Moments that every observation moves.
    Running(RunningMoments),
    /// Moments that stay: those of the policy a fine-tuning run started from, or none at all.
    Fixed(FixedNormaliser),
}

impl ObservationNormaliser {
    /// Takes one more observation in.
    pub fn update(&mut self, observation: &[f64]) {
        if let Self::Running(moments) = self {
            moments.update(observation);
        }
    }

    /// The normalised observation.
    pub fn apply(&self, observation: &[f64]) -> Vec<f64> {
        match self {
            Self::Running(moments) => {
                let mut out = observation.to_vec();
                moments.normalise(observation, &mut out);
                out
            }
            Self::Fixed(fixed) => fixed.apply(observation),
        }
    }

    /// The normaliser as it stands.
    pub fn fixed(&self) -> FixedNormaliser {
        match self {
            Self::Running(moments) => moments.fixed(),
            Self::Fixed(fixed) => fixed.clone(),
        }
    }

    /// Whether both are of one kind.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        matches!(self, Self::Running(_)) == matches!(other, Self::Running(_))
    }
}

/// Scales rewards by the running deviation of each environment's discounted return.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardScaler {
    moments: RunningMoments,
    #[serde(with = "bits")]
    returns: Vec<f64>,
    #[serde(with = "bits::one")]
    discount: f64,
}

impl RewardScaler {
    /// For this many environments.
    pub fn new(environments: usize, discount: f64) -> Self {
        Self { moments: RunningMoments::new(1), returns: vec![0.0; environments], discount }
    }

    /// The scaled reward of one environment; `ended` starts its return anew.
    pub fn scale(&mut self, environment: usize, reward: f64, ended: bool) -> f64 {
        let running = &mut self.returns[environment];
        *running = *running * self.discount + reward;
        self.moments.update(&[*running]);
        if ended {
            *running = 0.0;
        }
        (reward / (self.moments.variance[0] + EPSILON).sqrt()).clamp(-CLIP, CLIP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean 2 and population variance 2/3 of 1, 2, 3, up to the starting weight of 1e-4.
    #[test]
    fn moments_of_three_numbers() {
        let mut moments = RunningMoments::new(1);
        for x in [1.0, 2.0, 3.0] {
            moments.update(&[x]);
        }
        assert!((moments.mean[0] - 2.0).abs() < 1e-3 && (moments.variance[0] - 2.0 / 3.0).abs() < 1e-3);
        let fixed = moments.fixed();
        let mut out = [0.0];
        moments.normalise(&[2.5], &mut out);
        assert_eq!(fixed.apply(&[2.5]), out);
        assert_eq!(fixed.apply(&[1e9]), [10.0]);
    }

    #[test]
    fn returns_start_anew_after_an_end() {
        let mut scaler = RewardScaler::new(2, 0.5);
        scaler.scale(0, 4.0, false);
        scaler.scale(0, 1.0, false);
        assert_eq!(scaler.returns, [3.0, 0.0]);
        scaler.scale(0, 1.0, true);
        assert_eq!(scaler.returns, [0.0, 0.0]);
    }
}
