//! Why `F(theta)` accepts one sampler only: consecutive states of a sticky chain break the confidence level, one state
//! from each independent episode keeps it.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secateur::statistic::{GeometricTime, Visit, seed_from, to_samples, visit_episodes};
use secateur_checker::kernel::statistic::{Confidence, Sample, Sampler, bernstein, hoeffding};
use secateur_checker::number::Rational;

const REPETITIONS: u64 = 400;
const SAMPLES: u64 = 100;
/// The chain leaves its state with probability 1/64.
const LEAVE: u64 = 64;

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

/// Two states, start uniform, U = 0 in one and 9/10 in the other: by symmetry F = 9/20 at every time.
fn truth() -> Rational {
    r("9/20")
}

fn upper(state: &bool) -> Rational {
    if *state { r("9/10") } else { r("0") }
}

fn step(state: bool, rng: &mut ChaCha20Rng) -> bool {
    state ^ rng.next_u64().is_multiple_of(LEAVE)
}

/// The share of repetitions in which a bound at 90 % lies below the truth.
fn failure_share(samples: impl Fn(u64) -> Vec<Sample>) -> [f64; 2] {
    let sampler = Sampler::parse("independent-episodes-geometric-time").unwrap();
    let confidence = Confidence { level: r("0.9"), masks: 1, inequalities: 1 };
    let mut failures = [0u32; 2];
    for repetition in 0..REPETITIONS {
        let drawn = samples(repetition);
        for (count, rule) in failures.iter_mut().zip([hoeffding, bernstein]) {
            *count += u32::from(rule(sampler, &drawn, &confidence).unwrap() < truth());
        }
    }
    failures.map(|count| f64::from(count) / REPETITIONS as f64)
}

#[test]
fn consecutive_states_of_a_sticky_chain_break_the_confidence_level() {
    let shares = failure_share(|repetition| {
        let mut rng = ChaCha20Rng::from_seed(seed_from(1000 + repetition));
        let mut state = rng.next_u64().is_multiple_of(2);
        let mut visits = Vec::new();
        for _ in 0..SAMPLES {
            visits.push(Visit::State(state));
            state = step(state, &mut rng);
        }
        to_samples(&visits, upper)
    });
    assert!(shares.iter().all(|share| *share > 0.2), "{shares:?} should be above the promised 0.1");
}

#[test]
fn independent_episodes_keep_the_confidence_level() {
    let shares = failure_share(|repetition| {
        let times = GeometricTime::new(seed_from(5000 + repetition), &r("0.9")).unwrap();
        let visits = visit_episodes(&times, SAMPLES, 1_000, |episode, time| {
            let mut rng = ChaCha20Rng::from_seed(seed_from(9000 + repetition));
            rng.set_stream(episode);
            let mut state = rng.next_u64().is_multiple_of(2);
            for _ in 0..time {
                state = step(state, &mut rng);
            }
            Ok::<_, std::convert::Infallible>(Visit::State(state))
        });
        to_samples(&visits.unwrap(), upper)
    });
    assert!(shares.iter().all(|share| *share <= 0.1), "{shares:?} should be at most the promised 0.1");
}
