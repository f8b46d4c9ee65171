//! The weakest adversary: a uniform draw from the ball at every step. Untrusted.

use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::rl::evaluate::Adversary;

/// Adds `U(-radius, radius)` to every coordinate.
#[derive(Clone, Debug)]
pub struct RandomAttack {
    radius: f64,
    seed: u64,
    rng: SeededRng,
}

impl RandomAttack {
    /// Draws of episode `i` come from stream `i` of the seed.
    pub fn new(radius: f64, seed: u64) -> Self {
        Self { radius, seed, rng: SeededRng::new(seed, 0) }
    }
}

impl Adversary for RandomAttack {
    fn start(&mut self, episode: u64) {
        self.rng = SeededRng::new(self.seed, episode);
    }

    fn perturb(&mut self, _: &FloatPolicy, input: &mut Vec<f64>) {
        input.iter_mut().for_each(|value| *value += self.rng.uniform(-self.radius, self.radius));
    }
}
