//! Nothing that the checker accepts is false: random small policies full of corners, every family, quantity and head, against
//! exact evaluation. `spec/soundness.md`.
//!
//! `SECATEUR_FUZZ_NETWORKS=20000` and `SECATEUR_FUZZ_SEED=N` (the first seed) make other runs by hand.

use std::cell::OnceCell;

use super::claims::{at_state, elsewhere, hold_all, pool, prove};
use super::below::hold_points;
use super::generate::example;
use super::regions::hold_region;
use super::regret::hold_regret;
use super::random::Random;
use super::tally::Tally;

/// Networks of a run in CI: about a minute.
const NETWORKS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: not a number")))
}

fn examine(seed: u64, tally: &mut Tally) {
    let case = example(seed);
    let mut random = Random(seed ^ 0x736f_756e_6400_0000);
    let witness = OnceCell::new();
    let Some(proved) = prove(&mut random, &case, &witness, tally) else { return };
    tally.networks += 1;
    let pool = pool(&mut random, &case);
    let here: Vec<_> =
        (0..case.states.values.rows).map(|s| at_state(&mut random, &case, &pool, s)).collect();
    let others = [elsewhere(&mut random, &case, &pool)];
    let points = here.iter().map(|at| at.points.len() * (pool.len() + 1 + 3 * case.masks.len()));
    tally.evaluations += points.sum::<usize>() + others[0].1.len() * pool.len();
    hold_all(seed, &case, &pool, &proved, (&here, &others), tally);
    hold_points(seed, &case, &proved, tally);
    hold_region(seed, &mut random, &case, &proved, tally);
    hold_regret(seed, &mut random, &case, &proved, &here, tally);
}

#[test]
fn nothing_accepted_is_false() {
    let networks = number("SECATEUR_FUZZ_NETWORKS");
    let first = number("SECATEUR_FUZZ_SEED").unwrap_or(1);
    let mut tally = Tally::default();
    for seed in first..first + networks.unwrap_or(NETWORKS) {
        examine(seed, &mut tally);
    }
    println!("{}", tally.report(true));
    tally.assert_sound();
}
