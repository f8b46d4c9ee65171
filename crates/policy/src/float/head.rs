//! What a network's outputs mean as a distribution over actions: samples, log probabilities, entropies and their gradients
//! in the outputs. Untrusted. Gaussian with state-independent diagonal deviations, categorical, deterministic.

use crate::float::rng::SeededRng;

/// Meaning of the outputs.
#[derive(Clone, Debug, PartialEq)]
pub enum FloatHead {
    /// Means of a Gaussian.
    Gaussian {
        /// Logarithms of the standard deviations.
        log_std: Vec<f64>,
    },
    /// Logits.
    Categorical,
    /// The action itself.
    Deterministic,
}

/// Log probability and entropy of one action at one state, with gradients.
pub struct Likelihood {
    /// Logarithm of the density or probability.
    pub log_probability: f64,
    /// Entropy of the distribution.
    pub entropy: f64,
}

/// Half the logarithm of `2 pi`.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

/// Logarithms of the softmax of `logits`.
fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
    logits.iter().map(|logit| logit - highest - total.ln()).collect()
}

/// Index of the largest entry, the first of equals.
pub fn largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

impl FloatHead {
    /// Numbers one stored action takes: 1 for an index, else the width.
    pub fn action_width(&self, outputs: usize) -> usize {
        if *self == Self::Categorical { 1 } else { outputs }
    }

    /// Draws an action: an index as `f64`, or coordinates before any clipping.
    pub fn sample(&self, outputs: &[f64], rng: &mut SeededRng) -> Vec<f64> {
        match self {
            Self::Gaussian { log_std } => {
                let pairs = outputs.iter().zip(log_std);
                pairs.map(|(mean, log_std)| mean + log_std.exp() * rng.normal()).collect()
            }
            Self::Categorical => {
                let mut left = rng.unit();
                let logs = log_softmax(outputs);
                let drawn = logs.iter().position(|log| {
                    left -= log.exp();
                    left < 0.0
                });
                vec![drawn.unwrap_or_else(|| largest(outputs)) as f64]
            }
            Self::Deterministic => outputs.to_vec(),
        }
    }

    /// The most likely action, stored as [`FloatHead::sample`] does.
    pub fn mode(&self, outputs: &[f64]) -> Vec<f64> {
        match self {
            Self::Categorical => vec![largest(outputs) as f64],
            _ => outputs.to_vec(),
        }
    }

    /// Likelihood of `action`. A deterministic head has neither density nor entropy: both are 0.
    pub fn likelihood(&self, outputs: &[f64], action: &[f64]) -> Likelihood {
        let (mut log_probability, mut entropy) = (0.0, 0.0);
        match self {
            Self::Gaussian { log_std } => {
                for ((mean, action), log_std) in outputs.iter().zip(action).zip(log_std) {
                    let score = (action - mean) * (-log_std).exp();
                    log_probability -= 0.5 * score * score + log_std + HALF_LN_TAU;
                    entropy += log_std + HALF_LN_TAU + 0.5;
                }
            }
            Self::Categorical => {
                let logs = log_softmax(outputs);
                log_probability =
                    action.first().and_then(|index| logs.get(*index as usize)).copied().unwrap_or(0.0);
                entropy = logs.iter().map(|log| -log * log.exp()).sum();
            }
            Self::Deterministic => {}
        }
        Likelihood { log_probability, entropy }
    }

    /// Gradient of `probability_weight * log_probability + entropy_weight * entropy`: that in the outputs is written, that
    /// in the log deviations added (its slice is empty for other heads than Gaussian).
    pub fn pull_back(
        &self,
        outputs: &[f64],
        action: &[f64],
        [probability_weight, entropy_weight]: [f64; 2],
        output_gradient: &mut [f64],
        log_std_gradient: &mut [f64],
    ) {
        match self {
            Self::Gaussian { log_std } => {
                for index in 0..log_std.len() {
                    let inverse = (-log_std[index]).exp();
                    let score = (action[index] - outputs[index]) * inverse;
                    output_gradient[index] = probability_weight * score * inverse;
                    log_std_gradient[index] += probability_weight * (score * score - 1.0) + entropy_weight;
                }
            }
            Self::Categorical => {
                let logs = log_softmax(outputs);
                let entropy: f64 = logs.iter().map(|log| -log * log.exp()).sum();
                for (index, log) in logs.iter().enumerate() {
                    let chosen = if action[0] as usize == index { 1.0 } else { 0.0 };
                    let probability = log.exp();
                    output_gradient[index] = probability_weight * (chosen - probability)
                        - entropy_weight * probability * (log + entropy);
                }
            }
            Self::Deterministic => output_gradient.fill(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_those_of_differences() {
        let outputs = [0.3, -0.8, 1.1];
        let cases = [
            (FloatHead::Gaussian { log_std: vec![-0.4, 0.2, 0.7] }, vec![0.5, -0.1, 2.0]),
            (FloatHead::Categorical, vec![2.0]),
        ];
        for (head, action) in cases {
            let weights = [1.3, 0.6];
            let value = |head: &FloatHead, outputs: &[f64]| {
                let likelihood = head.likelihood(outputs, &action);
                weights[0] * likelihood.log_probability + weights[1] * likelihood.entropy
            };
            let (mut gradient, mut log_gradient) = ([0.0; 3], vec![0.0; 3]);
            head.pull_back(&outputs, &action, weights, &mut gradient, &mut log_gradient);
            for index in 0..3 {
                let shifted = |step: f64| {
                    let mut outputs = outputs;
                    outputs[index] += step;
                    value(&head, &outputs)
                };
                let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                assert!((gradient[index] - expected).abs() < 1e-8, "{head:?} {index}");
                let FloatHead::Gaussian { log_std } = &head else { continue };
                let shifted = |step: f64| {
                    let mut log_std = log_std.clone();
                    log_std[index] += step;
                    value(&FloatHead::Gaussian { log_std }, &outputs)
                };
                let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                assert!((log_gradient[index] - expected).abs() < 1e-8, "{head:?} log_std {index}");
            }
        }
    }

    /// softmax(0, ln 3) is (1/4, 3/4).
    #[test]
    fn categorical_draws_follow_the_softmax() {
        let outputs = [0.0, 3f64.ln()];
        let mut rng = SeededRng::new(4, 0);
        let ones: f64 = (0..10_000).map(|_| FloatHead::Categorical.sample(&outputs, &mut rng)[0]).sum();
        assert!((ones / 10_000.0 - 0.75).abs() < 4.0 * (0.1875f64 / 10_000.0).sqrt(), "{ones}");
        assert_eq!(FloatHead::Categorical.mode(&outputs), [1.0]);
        let likelihood = FloatHead::Categorical.likelihood(&outputs, &[0.0]);
        assert!((likelihood.log_probability - 0.25f64.ln()).abs() < 1e-15);
    }
}
