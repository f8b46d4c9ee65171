//! The weakest adversary: a uniform draw from the ball at every step. Untrusted.

use super::ball::Ball;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::rl::evaluate::Adversary;

/// Adds `U(-radius, radius)`, the radius its own, to every coordinate.
#[derive(Clone, Debug)]
pub struct RandomAttack {
    ball: Ball,
    seed: u64,
    rng: SeededRng,
}

impl RandomAttack {
    /// Draws of episode `i` come from stream `i` of the seed.
    pub fn new(ball: Ball, seed: u64) -> Self {
        Self { ball, seed, rng: SeededRng::new(seed, 0) }
    }
}

impl Adversary for RandomAttack {
    fn start(&mut self, episode: u64) {
        self.rng = SeededRng::new(self.seed, episode);
    }

    fn perturb(&mut self, _: &FloatPolicy, unclipped: &[f64], input: &mut Vec<f64>) {
        let room = self.ball.around(unclipped, input);
        room.shift(input, |_, radius| self.rng.uniform(-radius, radius));
    }
}
