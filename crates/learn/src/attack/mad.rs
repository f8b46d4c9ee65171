//! Maximal action difference: towards the state at which the policy does something as different as it can. Untrusted.
//! Zhang et al. 2020, arXiv:2003.08938, section 3.5, with the noise of their stochastic gradient Langevin dynamics.

use super::ball::{Ball, STEPS};
use crate::float::head::FloatHead;
use crate::float::point::PointPass;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::rl::evaluate::Adversary;

/// Sign ascent on the divergence from the policy at the true state: `sum ((mu_i(s^) - mu_i(s)) / sigma_i)^2` for a
/// Gaussian, KL(pi(s) || pi(s^)) for a categorical head, the squared distance for a deterministic one.
///
/// The noise `sqrt(2 h) / (i + 2) N`, `h` an input's step, is added for a Gaussian only, where the literature defines it and where
/// `1 / sigma^2` makes gradients large beside it; it would drown those of logits.
#[derive(Clone, Debug)]
pub struct MadAttack {
    ball: Ball,
    seed: u64,
    rng: SeededRng,
    pass: PointPass,
}

impl MadAttack {
    /// Noise of episode `i` comes from stream `i` of the seed.
    pub fn new(ball: Ball, seed: u64) -> Self {
        Self { ball, seed, rng: SeededRng::new(seed, 0), pass: PointPass::default() }
    }
}

pub(super) fn softmax(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

/// Gradient of the divergence in the moved outputs.
fn pull(head: &FloatHead, clean: &[f64], moved: &[f64]) -> Vec<f64> {
    let change = |(moved, clean): (&f64, &f64)| 2.0 * (moved - clean);
    match head {
        FloatHead::Gaussian { log_std } => {
            let changes = moved.iter().zip(clean).map(change);
            changes.zip(log_std).map(|(change, log_std)| change * (-2.0 * log_std).exp()).collect()
        }
        FloatHead::Categorical => {
            softmax(moved).into_iter().zip(softmax(clean)).map(|(moved, clean)| moved - clean).collect()
        }
        FloatHead::Deterministic => moved.iter().zip(clean).map(change).collect(),
    }
}

impl Adversary for MadAttack {
    fn start(&mut self, episode: u64) {
        self.rng = SeededRng::new(self.seed, episode);
    }

    fn perturb(&mut self, policy: &FloatPolicy, unclipped: &[f64], input: &mut Vec<f64>) {
        let room = self.ball.around(unclipped, input);
        let clean = self.pass.forward(&policy.network, input).to_vec();
        // At the centre the gradient vanishes: start beside it.
        let beside: Vec<f64> = input.iter().map(|_| self.rng.normal()).collect();
        room.climb(input, &beside, STEPS);
        for index in 0..STEPS {
            let gradient = pull(&policy.head, &clean, self.pass.forward(&policy.network, input));
            let mut slope = self.pass.backward(&policy.network, &gradient).to_vec();
            if let FloatHead::Gaussian { .. } = policy.head {
                for (entry, radius) in slope.iter_mut().zip(self.ball.radii()) {
                    let step = radius / STEPS as f64;
                    *entry += (2.0 * step).sqrt() / (index + 2) as f64 * self.rng.normal();
                }
            }
            room.climb(input, &slope, STEPS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KL((1/2, 1/2) || softmax(z)) has gradient softmax(z) - 1/2; at z = (0, ln 3) that is (-1/4, 1/4).
    #[test]
    fn categorical_gradient_by_hand() {
        let found = pull(&FloatHead::Categorical, &[0.0, 0.0], &[0.0, 3f64.ln()]);
        assert!((found[0] + 0.25).abs() < 1e-15 && (found[1] - 0.25).abs() < 1e-15);
    }
}
