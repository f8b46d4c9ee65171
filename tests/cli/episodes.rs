//! The states of `F(theta)`: what the sampler sees, and the whole way from episodes to a checked statistical claim.

use std::path::{Path, PathBuf};

use secateur::float::FloatActivation;
use secateur::float::head::FloatHead;
use secateur::float::mlp::Mlp;
use secateur::float::normaliser::FixedNormaliser;
use secateur::float::policy::FloatPolicy;
use secateur::float::rng::SeededRng;
use secateur::rl::env::{Action, ActionSpace, Environment, EnvironmentError, EnvironmentState, Step};
use secateur::rl::visits::{masked, visit_at};
use secateur::statistic::{GeometricTime, Visit, seed_from, visit_episodes};
use secateur_checker::load::load_states;
use secateur_checker::model::{Mask, Units};
use secateur_checker::number::{Dyadic, Rational};
use secateur_testkit::programs::{self, Ran, run};
use serde_json::Value;

/// Shows how many steps were made and which action came last; ends at `end`, or is cut at `limit`.
struct Clock {
    space: ActionSpace,
    elapsed: usize,
    end: usize,
    limit: usize,
}

impl Clock {
    fn new(end: usize, limit: usize) -> Self {
        Self { space: ActionSpace::Discrete(2), elapsed: 0, end, limit }
    }
}

impl Environment for Clock {
    fn id(&self) -> &'static str {
        "Clock"
    }
    fn observation_width(&self) -> usize {
        2
    }
    fn action_space(&self) -> &ActionSpace {
        &self.space
    }
    fn time_limit(&self) -> usize {
        self.limit
    }
    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvironmentError> {
        assert!(seed.is_some(), "every episode has a seed of its own");
        self.elapsed = 0;
        observation.copy_from_slice(&[0.0, -1.0]);
        Ok(())
    }
    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvironmentError> {
        let Action::Discrete(index) = action else { return Err(EnvironmentError::Action) };
        self.elapsed += 1;
        observation.copy_from_slice(&[self.elapsed as f64, index as f64]);
        let (terminated, truncated) = (self.elapsed >= self.end, self.elapsed >= self.limit);
        Ok(Step { reward: 1.0, terminated, truncated })
    }
    fn set_state(&mut self, _: &[f64], _: &mut [f64]) -> Result<(), EnvironmentError> {
        Err(EnvironmentError::Action)
    }
    fn save(&self) -> EnvironmentState {
        unreachable!("not needed")
    }
    fn restore(&mut self, _: &EnvironmentState) -> Result<(), EnvironmentError> {
        Err(EnvironmentError::Action)
    }
}

fn coin() -> FloatPolicy {
    let mut network = Mlp::orthogonal(&[2, 2], FloatActivation::Identity, 1.0, &mut SeededRng::new(1, 0));
    network.layers[0].weight.fill(0.0);
    network.layers[0].bias.fill(0.0);
    FloatPolicy { network, head: FloatHead::Categorical, normaliser: FixedNormaliser::identity(2) }
}

/// The state after exactly `time` steps; ended from the final step on; cut off after the last state that the limit shows.
#[test]
fn a_visit_is_the_state_at_its_time() {
    let see = |end, limit, time| visit_at(&coin(), &mut Clock::new(end, limit), (3, 0), time).unwrap();
    let elapsed = |visit| match visit {
        Visit::State(state) => Vec::<f64>::clone(&state)[0],
        other => panic!("{other:?}"),
    };
    for time in 0..=4 {
        assert_eq!(elapsed(see(5, 100, time)), time as f64);
        assert_eq!(elapsed(see(100, 4, time)), time as f64);
    }
    for time in 5..9 {
        assert_eq!(see(5, 100, time), Visit::Ended);
        assert_eq!(see(100, 4, time), Visit::CutOff);
        assert_eq!(see(5, 5, time), Visit::Ended);
    }
}

/// Actions are drawn, not chosen: a fair coin shows both sides, another in another episode, the same in the same.
#[test]
fn actions_are_drawn_and_episodes_are_independent() {
    let side = |episode| match visit_at(&coin(), &mut Clock::new(9, 9), (3, episode), 1).unwrap() {
        Visit::State(state) => state[1] as usize,
        other => panic!("{other:?}"),
    };
    let ones: usize = (0..400).map(side).sum();
    assert!((150..250).contains(&ones), "{ones}");
    assert!((0..50).all(|episode| side(episode) == side(episode)));
}

/// With an end after 3 steps, `P(ended) = P(k >= 3) = g^3` and `P(state k) = (1-g) g^k`.
#[test]
fn the_shares_are_those_of_the_discounted_visitation() {
    let times = GeometricTime::new(seed_from(4), &Rational::parse("0.8").unwrap()).unwrap();
    let (count, mut clock) = (20_000, Clock::new(3, 50));
    let visits =
        visit_episodes(&times, count, 50, |episode, time| visit_at(&coin(), &mut clock, (4, episode), time));
    let visits = visits.unwrap();
    let share = |wanted: &dyn Fn(&Visit<Vec<f64>>) -> bool| {
        visits.iter().filter(|visit| wanted(visit)).count() as f64 / count as f64
    };
    for k in 0..3 {
        let expected = 0.2 * 0.8f64.powi(k);
        let found = share(&|visit| matches!(visit, Visit::State(state) if state[0] == f64::from(k)));
        assert!((found - expected).abs() < 0.015, "{k}: {found} against {expected}");
    }
    let found = share(&|visit| *visit == Visit::Ended);
    assert!((found - 0.512).abs() < 0.015, "{found}");
}

#[test]
fn the_policy_that_plays_is_the_masks() {
    let mut policy = coin();
    policy.network.layers[0].weight.fill(1.0);
    let mask = |kept: Vec<bool>| Mask { layers: vec![kept] };
    let pruned = masked(&policy, &mask(vec![true, false, false, true])).unwrap();
    let weights: Vec<f64> = pruned.network.layers[0].weight.iter().copied().collect();
    assert_eq!(weights, [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(masked(&policy, &mask(vec![true; 3])), None);
    assert_eq!(masked(&policy, &Mask { layers: Vec::new() }), None);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn secateur(folder: &Path, arguments: &[&str]) -> Ran {
    run(programs::secateur(folder).arg("--quiet").args(arguments))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// `episodes` for a committed policy under the masks named.
fn episodes(folder: &Path, (name, env): (&str, &str), more: &[&str]) -> Ran {
    let (policy, masks) = (text(&fixture(name)), text(&fixture(name).join("masks")));
    let mut arguments =
        vec!["episodes", &policy, "--masks", &masks, "--env", env, "--out", "drawn", "--force"];
    arguments.extend(more);
    secateur(folder, &arguments)
}

/// `certify --episodes` of what was drawn, with a key made once.
fn certify(folder: &Path, name: &str, drawn: &str, more: &[&str]) -> Ran {
    if !folder.join("keys").exists() {
        assert_eq!(secateur(folder, &["keygen", "--out", "keys"]).code, 0);
    }
    let (policy, masks) = (text(&fixture(name)), text(&fixture(name).join("masks")));
    let (states, file) = (format!("{drawn}/states.npy"), format!("{drawn}/episodes.json"));
    let mut arguments = vec!["certify", &policy, "--masks", &masks, "--states", &states, "--episodes", &file];
    arguments.extend([
        "--epsilon",
        "0.01",
        "--family",
        "ibp",
        "--key",
        "keys/secateur.pem",
        "--out",
        "c.json",
        "--force",
    ]);
    arguments.extend(["--format", "json"]);
    arguments.extend(more);
    secateur(folder, &arguments)
}

/// Certifies, checks with both programs, and returns what `certify` printed.
fn claimed(folder: &Path, name: &str, drawn: &str, rewards: &str) -> Value {
    let made = certify(folder, name, drawn, &["--reward-range", rewards]);
    assert_eq!(made.code, 0, "{made:?}");
    let (policy, masks) = (text(&fixture(name)), text(&fixture(name).join("masks")));
    let states = format!("{drawn}/states.npy");
    let both = [&policy, "--masks", &masks, "--states", &states, "--trust", "keys/trust.json", "c.json"];
    let checked = programs::check_both(folder, &both);
    assert!(checked.code == 0 && checked.stdout.contains("sampled    no proof: "), "{checked:?}");
    serde_json::from_str(&made.stdout).unwrap()
}

/// Two masks share the confidence. No pole falls that early, and yet rewards [1, 1] do not make the loss 0.
#[test]
fn cart_pole_episodes_become_a_checked_claim() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--mask", "1,3", "--discount", "0.97", "--episodes", "120", "--seed", "5"];
    let ran = episodes(folder.path(), ("cartpole-tanh", "CartPole-v1"), &options);
    assert_eq!(ran.code, 0, "{ran:?}");
    for mask in ["1", "3"] {
        let drawn = format!("drawn/mask-0{mask}");
        let file: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join(&drawn).join("episodes.json")).unwrap())
                .unwrap();
        assert_eq!(
            (&file["mask"], &file["masks"], &file["samples"]),
            (&mask.into(), &"2".into(), &"120".into())
        );
        let (states, _) = load_states(&folder.path().join(&drawn).join("states.npy"), Units::Raw).unwrap();
        let number = |key: &str| file[key].as_str().unwrap().parse::<usize>().unwrap();
        assert_eq!(states.values.rows + number("ended") + number("cutOff"), 120);
        let document = claimed(folder.path(), "cartpole-tanh", &drawn, "1,1");
        let claims = document["statistical"].as_array().unwrap();
        assert_eq!(claims.len(), 2);
        for claim in claims {
            let value = Rational::parse(claim["value"].as_str().unwrap()).unwrap();
            let lost = Rational::parse(claim["regret"]["value"].as_str().unwrap()).unwrap();
            // Rewards [1, 1], but an episode can end: the loss is not 0.
            assert!(value.is_positive() && lost.is_positive(), "{claim}");
            assert_eq!(claim["masks"], 2);
        }
    }
}

#[test]
fn pendulum_episodes_never_end_and_states_are_raw_observations() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--discount", "9/10", "--episodes", "60", "--seed", "2", "--confidence", "0.9"];
    let ran = episodes(folder.path(), ("pendulum-tanh", "Pendulum-v1"), &options);
    assert!(ran.code == 0 && ran.stdout.contains("60 states, 0 ended, 0 cut off"), "{ran:?}");
    let file = folder.path().join("drawn/states.npy");
    let (first, (states, _)) = (std::fs::read(&file).unwrap(), load_states(&file, Units::Raw).unwrap());
    let float = |v: &Dyadic| v.mantissa as f64 * f64::from(v.exponent).exp2();
    let rows: Vec<Vec<f64>> =
        states.values.values.chunks(3).map(|row| row.iter().map(float).collect()).collect();
    assert_eq!(rows.len(), 60);
    // Raw observations of a pendulum: cosine, sine, speed.
    assert!(rows.iter().all(|row| (row[0].hypot(row[1]) - 1.0).abs() < 1e-6 && row[2].abs() <= 8.0));
    claimed(folder.path(), "pendulum-tanh", "drawn", "-17,0");
    assert_eq!(episodes(folder.path(), ("pendulum-tanh", "Pendulum-v1"), &options).code, 0);
    assert_eq!(std::fs::read(&file).unwrap(), first, "equal seeds, equal bytes");
}

/// States of another sampler are refused by name, a count that does not fit by number, and rewards of episodes that never
/// end beside episodes that ended.
#[test]
fn a_draw_is_claimed_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--mask", "3", "--discount", "0.97", "--episodes", "120", "--seed", "5"];
    assert_eq!(episodes(folder.path(), ("cartpole-tanh", "CartPole-v1"), &options).code, 0);
    let file = folder.path().join("drawn/episodes.json");
    let honest = std::fs::read_to_string(&file).unwrap();
    let refused = |from: &str, to: &str, more: &[&str], word: &str| {
        assert!(honest.contains(from), "{honest}");
        std::fs::write(&file, honest.replacen(from, to, 1)).unwrap();
        let ran = certify(folder.path(), "cartpole-tanh", "drawn", more);
        assert!(ran.code == 2 && ran.stderr.contains(word), "{to}: {ran:?}");
    };
    refused("independent-episodes-geometric-time", "consecutive-states", &[], "not independent draws");
    refused("\"120\"", "\"119\"", &[], "119 samples");
    refused("\"3\"", "\"4\"", &[], "mask 4");
    let never = ["--reward-range", "1,1", "--episodes-can-end=false"];
    refused("\"ended\": \"0\"", "\"ended\": \"1\"", &never, "1 of the episodes drawn had ended");
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pendulum = ("pendulum-tanh", "Pendulum-v1");
    for (policy, options, word) in [
        (pendulum, &["--discount", "1"][..], "[0, 1)"),
        (pendulum, &["--discount", "much"], "discount"),
        (pendulum, &["--discount", "0.9", "--episodes", "1"], "--episodes 1"),
        (pendulum, &["--discount", "0.9", "--confidence", "1"], "--confidence"),
        (pendulum, &["--discount", "0.9", "--mask", "9"], "masks 0 to 4"),
        (("pendulum-tanh", "CartPole-v1"), &["--discount", "0.9"], "does not fit CartPole-v1"),
        (("pendulum-tanh", "Pendulum-v9"), &["--discount", "0.9"], "unknown environment"),
    ] {
        let ran = episodes(folder.path(), policy, options);
        assert!(ran.code == 2 && ran.stderr.contains(word), "{options:?}: {ran:?}");
        assert!(!folder.path().join("drawn").exists(), "{options:?}");
    }
}

/// States without an environment: one file, the same for the same seed, read as raw states; what cannot be drawn is refused.
#[test]
fn states_are_drawn_around_the_normaliser() {
    let folder = tempfile::tempdir().unwrap();
    let policy = text(&fixture("pendulum-tanh"));
    let draw = |more: &[&str]| {
        let words = [&["states", policy.as_str(), "--out", "s.npy", "--force"], more].concat();
        secateur(folder.path(), &words)
    };
    let ran = draw(&["--count", "5", "--seed", "3"]);
    assert!(ran.code == 0 && ran.stdout.contains("5 states of 3 inputs, raw units"), "{ran:?}");
    let read = |units| load_states(&folder.path().join("s.npy"), units).unwrap();
    let (first, bytes) = read(Units::Raw);
    assert_eq!((first.values.rows, first.values.columns), (5, 3));
    draw(&["--count", "5", "--seed", "3"]);
    assert_eq!(read(Units::Raw).1, bytes);
    draw(&["--count", "5", "--seed", "4"]);
    assert_ne!(read(Units::Raw).1, bytes);
    for (more, words) in [
        (&["--count", "0"][..], "give at least 1"),
        (&["--count", "99999999999"], "give at most"),
        (&["--spread=-1"], "not below 0"),
        (&["--spread", "nan"], "not below 0"),
        (&["--spread", "1e300"], "leaves the range of binary32"),
    ] {
        let ran = draw(more);
        assert!(ran.code == 2 && ran.stderr.contains(words), "{ran:?}");
    }
}
