//! Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1) with the literature's epsilon of 1e-5. Untrusted.

use serde::{Deserialize, Serialize};

use crate::float::bits;

const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const EPSILON: f64 = 1e-5;

/// Moments of the gradient of every parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    #[serde(with = "bits")]
    pub(super) first: Vec<f64>,
    #[serde(with = "bits")]
    second: Vec<f64>,
    steps: i32,
}

impl Adam {
    /// For this many parameters.
    pub fn new(count: usize) -> Self {
        Self { first: vec![0.0; count], second: vec![0.0; count], steps: 0 }
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Forgets the moments of the parameters whose entry is `false`; parameters without an entry keep theirs.
    pub fn forget(&mut self, kept: impl Iterator<Item = bool>) {
        for ((first, second), kept) in self.first.iter_mut().zip(&mut self.second).zip(kept) {
            if !kept {
                (*first, *second) = (0.0, 0.0);
            }
        }
    }

    /// Moves every parameter against `scale` times its gradient.
    pub fn step<'a>(
        &mut self,
        parameters: impl Iterator<Item = &'a mut f64>,
        gradient: impl Iterator<Item = &'a f64>,
        scale: f64,
        learning_rate: f64,
    ) {
        self.steps = self.steps.saturating_add(1);
        let step_size = learning_rate / (1.0 - FIRST_DECAY.powi(self.steps));
        let inverse = 1.0 / (1.0 - SECOND_DECAY.powi(self.steps)).sqrt();
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in parameters.zip(gradient).zip(moments) {
            let gradient = gradient * scale;
            *first += (1.0 - FIRST_DECAY) * (gradient - *first);
            *second += (1.0 - SECOND_DECAY) * (gradient * gradient - *second);
            *parameter -= step_size * *first / (second.sqrt() * inverse + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a gradient, a parameter moves on by its moments, unless they were forgotten.
    #[test]
    fn forgotten_moments_move_nothing() {
        let mut adam = Adam::new(3);
        let mut parameters = [1.0; 3];
        adam.step(parameters.iter_mut(), [2.0; 3].iter(), 1.0, 0.1);
        let before = parameters;
        adam.forget([true, false].into_iter());
        adam.step(parameters.iter_mut(), [0.0; 3].iter(), 1.0, 0.1);
        assert_eq!(parameters[1], before[1]);
        assert!(parameters[0] < before[0] && parameters[2] < before[2]);
    }

    /// The first step has length `rate |g| / (|g| + epsilon)`, whatever the gradient; the second by hand from the algorithm.
    #[test]
    fn two_steps_by_hand() {
        let mut adam = Adam::new(1);
        let mut parameter = [1.0];
        adam.step(parameter.iter_mut(), [2.0].iter(), 1.0, 0.1);
        assert!((parameter[0] - (1.0 - 0.1 * 2.0 / (2.0 + 1e-5))).abs() < 1e-15);
        let before = parameter[0];
        adam.step(parameter.iter_mut(), [-1.0].iter(), 1.0, 0.1);
        let first = (0.9 * 0.2 - 0.1) / (1.0 - 0.81);
        let second: f64 = (0.999 * 0.004 + 0.001) / (1.0 - 0.999 * 0.999);
        assert!((parameter[0] - (before - 0.1 * first / (second.sqrt() + 1e-5))).abs() < 1e-12);
    }
}
