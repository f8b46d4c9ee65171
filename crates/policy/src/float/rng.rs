//! The trainer's random numbers: ChaCha8 with a state that can be written down and resumed. Untrusted.
//! The stream depends on the seed and the stream number only, never on the machine's thread count.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// A seeded generator of uniform and normal numbers.
#[derive(Clone, Debug)]
pub struct SeededRng(ChaCha8Rng);

/// Everything needed to go on from the same place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RngState {
    seed: [u8; 32],
    stream: u64,
    position: [u64; 2],
}

impl SeededRng {
    /// The generator of `seed`; different `stream`s of one seed are independent.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform on [0, 1), 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform on `[lower, upper)`.
    pub fn uniform(&mut self, lower: f64, upper: f64) -> f64 {
        lower + (upper - lower) * self.unit()
    }

    /// Standard normal by Box and Muller. The second number of the pair is dropped, so that the state is the
    /// generator's alone.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Uniform on `0..bound` (`bound > 0`), by multiplication; the bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Fisher-Yates shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// The state, for a checkpoint.
    pub fn state(&self) -> RngState {
        let position = self.0.get_word_pos();
        let words = [(position >> 64) as u64, position as u64];
        RngState { seed: self.0.get_seed(), stream: self.0.get_stream(), position: words }
    }

    /// The generator that goes on from `state`.
    pub fn from_state(state: &RngState) -> Self {
        let mut generator = ChaCha8Rng::from_seed(state.seed);
        generator.set_stream(state.stream);
        generator.set_word_pos(u128::from(state.position[0]) << 64 | u128::from(state.position[1]));
        Self(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resumes_from_its_state() {
        let mut first = SeededRng::new(7, 3);
        for _ in 0..101 {
            first.normal();
        }
        let mut second = SeededRng::from_state(&first.state());
        assert_eq!(
            (0..50).map(|_| first.next_u64()).collect::<Vec<_>>(),
            (0..50).map(|_| second.next_u64()).collect::<Vec<_>>()
        );
        assert_ne!(SeededRng::new(7, 0).next_u64(), SeededRng::new(7, 1).next_u64());
    }

    #[test]
    fn moments_of_the_normal() {
        let mut rng = SeededRng::new(1, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| rng.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5 - mean * mean;
        // Four standard errors: 1/sqrt(n) and sqrt(2/n).
        assert!(mean.abs() < 4.0 / 1e5f64.sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 4.0 * (2.0f64 / 1e5).sqrt(), "{variance}");
    }

    #[test]
    fn shuffle_is_a_permutation_and_below_stays_below() {
        let mut rng = SeededRng::new(2, 0);
        let mut items: Vec<usize> = (0..100).collect();
        rng.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        assert!((0..1000).all(|_| rng.below(3) < 3));
    }
}
