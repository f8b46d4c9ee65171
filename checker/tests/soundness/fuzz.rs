//! Nothing that the checker accepts is false: random small policies full of corners, every family, quantity and head, against
//! exact evaluation. `spec/soundness.md`.
//!
//! `SECATEUR_FUZZ_NETWORKS=20000` and `SECATEUR_FUZZ_SEED=N` (the first seed) make other runs by hand; one network again with
//! `SECATEUR_FUZZ_NETWORKS=1 SECATEUR_FUZZ_SEED=N`.

use std::cell::OnceCell;

use secateur_checker::family::Family;

use super::below::{self, hold_points};
use super::claims::{at_state, elsewhere, hold_all, pool, prove};
use super::generate::example;
use super::radius::{self, hold_radius};
use super::regions::{self, hold_region};
use super::regret::{self, hold_regret};
use super::tally::{Kind, Tally};
use secateur_testkit::random::Random;

/// Networks of a run in CI: about a minute.
const NETWORKS: u64 = 600;

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
    let here: Vec<_> = (0..case.states.values.rows).map(|s| at_state(&mut random, &case, &pool, s)).collect();
    let others = [elsewhere(&mut random, &case, &pool)];
    let points = here.iter().map(|at| at.points.len() * (pool.len() + 1 + 3 * case.masks.len()));
    tally.evaluations += points.sum::<usize>() + others[0].points.len() * pool.len();
    hold_all(seed, &case, &pool, &proved, (&here, &others), tally);
    hold_points(seed, &case, &proved, tally);
    hold_region(seed, &mut random, &case, &proved, tally);
    hold_regret(seed, &mut random, &case, &proved, &here, tally);
    // A stream of its own: what the others draw stays as it was.
    hold_radius(seed, &mut Random(seed ^ 0x7261_6469_7573_0000), &case, &pool, &proved, tally);
}

/// Every family, quantity and head that the specification allows, by the words of the tally.
fn expected() -> Vec<Kind> {
    let plain = Family::ALL.into_iter().map(|family| (family.name(), family.bounds_adversary()));
    let bands =
        ["band/K", "band/zero", "band-crown/K", "band-crown/zero"].map(|name| (name.to_owned(), true));
    let families = plain.chain(bands).chain([(regions::WORD.to_owned(), true)]);
    let mut list = Vec::new();
    for (family, perturbs) in families {
        for head in ["gaussian", "categorical", "deterministic"] {
            let mut add = |quantity: &'static str| list.push((family.clone(), head, quantity));
            add("action-deviation");
            if head != "deterministic" {
                ["total-variation", "kl-divergence"].into_iter().for_each(&mut add);
            }
            if head != "gaussian" && perturbs {
                add("same-action-margin");
            }
            if head == "categorical" && perturbs && family != regions::WORD {
                regret::FORMS.into_iter().for_each(&mut add);
            }
        }
    }
    for (head, quantity) in [
        ("gaussian", "action-deviation"),
        ("categorical", "action-deviation"),
        ("deterministic", "action-deviation"),
        ("gaussian", "total-variation"),
        ("categorical", "total-variation"),
    ] {
        list.push((below::WORD.to_owned(), head, quantity));
    }
    for word in [radius::WORD, radius::POINT] {
        for head in ["gaussian", "categorical", "deterministic"] {
            list.push((word.to_owned(), head, "action-deviation"));
            if head != "deterministic" {
                list.push((word.to_owned(), head, "total-variation"));
                list.push((word.to_owned(), head, "kl-divergence"));
            }
            if head != "gaussian" {
                list.push((word.to_owned(), head, "same-action-margin"));
            }
        }
    }
    list
}

#[test]
fn nothing_accepted_is_false() {
    let networks = number("SECATEUR_FUZZ_NETWORKS").unwrap_or(NETWORKS);
    let first = number("SECATEUR_FUZZ_SEED").unwrap_or(1);
    let mut tally = Tally::default();
    for seed in first..first.saturating_add(networks) {
        examine(seed, &mut tally);
    }
    println!("{}", tally.report(networks > NETWORKS));
    tally.assert_sound();
    if networks < NETWORKS {
        return println!("too few networks to ask for every family, quantity and head");
    }
    let silent = |kind: &Kind| tally.kinds.get(kind).is_none_or(|e| e.claims == 0 || e.evaluations == 0);
    let gaps: Vec<Kind> = expected().into_iter().filter(silent).collect();
    assert!(gaps.is_empty(), "never examined: {gaps:?}");
    if first != 1 {
        return;
    }
    // A bound that no evaluation comes near would hide an error in its rule; said of the networks of CI and more.
    let loose =
        |kind: &Kind| kind.2 == "action-deviation" && tally.kinds.get(kind).is_none_or(|e| e.attained == 0);
    let loose: Vec<Kind> = expected().into_iter().filter(loose).collect();
    assert!(
        loose.is_empty(),
        "no evaluation came within 1 % of these bounds; one that its rule makes so loose is left out here by name: {loose:?}"
    );
}
