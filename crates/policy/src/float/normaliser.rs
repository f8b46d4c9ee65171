//! A policy's input normaliser over `f64`. Untrusted.

use serde::{Deserialize, Serialize};

use super::bits;

/// `clip((x - mean) / std, -clip, clip)`, coordinate by coordinate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FixedNormaliser {
    /// Means.
    #[serde(with = "bits")]
    pub mean: Vec<f64>,
    /// Standard deviations, positive.
    #[serde(with = "bits")]
    pub std: Vec<f64>,
    /// Clip radius; infinite for none.
    #[serde(with = "bits::one")]
    pub clip: f64,
}

impl FixedNormaliser {
    /// Leaves observations of this width as they are.
    pub fn identity(width: usize) -> Self {
        Self { mean: vec![0.0; width], std: vec![1.0; width], clip: f64::INFINITY }
    }

    /// The normalised observation.
    pub fn apply(&self, observation: &[f64]) -> Vec<f64> {
        self.clipped(&self.scale(observation))
    }

    /// The observation before the clip.
    pub fn scale(&self, observation: &[f64]) -> Vec<f64> {
        let moments = self.mean.iter().zip(&self.std);
        observation.iter().zip(moments).map(|(x, (mean, std))| (x - mean) / std).collect()
    }

    /// What the clip leaves of it.
    pub fn clipped(&self, scaled: &[f64]) -> Vec<f64> {
        scaled.iter().map(|x| x.clamp(-self.clip, self.clip)).collect()
    }
}
