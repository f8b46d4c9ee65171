//! Every environment repeats Gymnasium's traces: bit for bit for the MuJoCo tasks, `CartPole` and
//! `MountainCarContinuous`; the reward of `Pendulum` within 1e-15 of its size, `Acrobot` within 1e-13.
//!
//! `fixtures/traces` (written by `make_traces.py` there) always; `../shared/reference/traces` where present. The MuJoCo
//! tasks need the library and its model files; without them the test says what it skipped, or fails if
//! `SECATEUR_REQUIRE_MUJOCO` is set.

use std::fs;
use std::path::{Path, PathBuf};

use secateur::rl::env::{Action, ActionSpace, Environment, EnvironmentError, make_environment};

/// How far a replay may be from the trace: observations, states and rewards.
#[derive(Clone, Copy)]
struct Tolerance {
    observation: f64,
    reward: f64,
}

const EXACT: Tolerance = Tolerance { observation: 0.0, reward: 0.0 };

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = root.join("../shared/reference/traces");
    let mut folders = vec![root.join("fixtures/traces")];
    if shared.is_dir() {
        folders.push(shared);
    } else {
        eprintln!("skipped: {} is not there", shared.display());
    }
    folders
}

fn words(bytes: &[u8]) -> Vec<[u8; 8]> {
    bytes.chunks_exact(8).map(|word| word.try_into().expect("eight bytes")).collect()
}

fn read(path: &Path, header: usize) -> (Vec<usize>, Vec<f64>) {
    let words = words(&fs::read(path).expect("the trace is there"));
    let (head, rest) = words.split_at(header);
    let head = head.iter().map(|word| usize::try_from(i64::from_le_bytes(*word)).expect("a size"));
    (head.collect(), rest.iter().map(|word| f64::from_le_bytes(*word)).collect())
}

fn close(found: f64, expected: f64, tolerance: f64) -> bool {
    if tolerance == 0.0 {
        found.to_bits() == expected.to_bits() || found == 0.0 && expected == 0.0
    } else {
        (found - expected).abs() <= tolerance * expected.abs().max(1.0)
    }
}

fn assert_all_close(found: &[f64], expected: &[f64], tolerance: f64, place: &str) {
    assert_eq!(found.len(), expected.len(), "{place}");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(close(*a, *b, tolerance), "{place}, entry {index}: found {a:?}, expected {b:?}");
    }
}

fn act<'a>(space: &ActionSpace, values: &'a [f64]) -> Action<'a> {
    match space {
        ActionSpace::Discrete(_) => Action::Discrete(values[0] as usize),
        ActionSpace::Continuous { .. } => Action::Continuous(values),
    }
}

/// One row: start (if any), action, what must come out.
struct Row<'a> {
    start: Option<&'a [f64]>,
    first_seen: Option<&'a [f64]>,
    action: &'a [f64],
    seen: &'a [f64],
    reward: f64,
    terminated: bool,
}

fn replay<'a>(
    environment: &mut dyn Environment,
    rows: impl Iterator<Item = Row<'a>>,
    tolerance: Tolerance,
) -> usize {
    let mut seen = vec![0.0; environment.observation_width()];
    let space = environment.action_space().clone();
    let mut count = 0;
    for row in rows {
        let place = format!("{}, row {count}", environment.id());
        if let Some(start) = row.start {
            environment.set_state(start, &mut seen).expect("a state of this task");
            if let Some(expected) = row.first_seen {
                assert_all_close(&seen, expected, tolerance.observation, &format!("{place}, start"));
            }
        }
        let step = environment.step(act(&space, row.action), &mut seen).expect("an action of this task");
        assert_all_close(&seen, row.seen, tolerance.observation, &place);
        assert!(
            close(step.reward, row.reward, tolerance.reward),
            "{place}, reward: found {:?}, expected {:?}",
            step.reward,
            row.reward
        );
        assert_eq!(step.terminated, row.terminated, "{place}");
        count += 1;
    }
    count
}

fn classic(id: &str, states: usize, tolerance: Tolerance) {
    for folder in folders() {
        let (head, numbers) = read(&folder.join(format!("trace_{id}.bin")), 2);
        let mut environment = make_environment(id).expect("a known task");
        let width = environment.observation_width();
        let rows = numbers.chunks_exact(head[1]).map(|row| Row {
            start: (row[0] == 1.0).then(|| &row[1..1 + states]),
            first_seen: None,
            action: &row[1 + states..2 + states],
            seen: &row[2 + states..2 + states + width],
            reward: row[head[1] - 2],
            terminated: row[head[1] - 1] == 1.0,
        });
        assert_eq!(replay(environment.as_mut(), rows, tolerance), head[0]);
    }
}

fn mujoco(id: &str) {
    let mut environment = match make_environment(id) {
        Ok(environment) => environment,
        Err(EnvironmentError::Mujoco(reason)) if std::env::var_os("SECATEUR_REQUIRE_MUJOCO").is_none() => {
            eprintln!("skipped {id}: {reason}");
            return;
        }
        Err(reason) => panic!("{reason}"),
    };
    for folder in folders() {
        let (head, numbers) = read(&folder.join(format!("trace_{id}.bin")), 6);
        let [rows, positions, velocities, controls, width, columns] = head[..] else { panic!("six sizes") };
        let states = positions + velocities;
        let parsed = numbers.chunks_exact(columns).map(|row| {
            let fresh = row[0] == 1.0;
            let action = 1 + states + width;
            Row {
                start: fresh.then(|| &row[1..1 + states]),
                first_seen: fresh.then(|| &row[1 + states..action]),
                action: &row[action..action + controls],
                seen: &row[action + controls..columns - 2],
                reward: row[columns - 2],
                terminated: row[columns - 1] == 1.0,
            }
        });
        assert_eq!(replay(environment.as_mut(), parsed, EXACT), rows);
    }
}

#[test]
fn pendulum() {
    classic("Pendulum-v1", 2, Tolerance { observation: 0.0, reward: 1e-15 });
}

#[test]
fn cartpole() {
    classic("CartPole-v1", 4, EXACT);
}

#[test]
fn mountain_car() {
    classic("MountainCarContinuous-v0", 2, EXACT);
}

#[test]
fn acrobot() {
    classic("Acrobot-v1", 4, Tolerance { observation: 1e-7, reward: 1e-13 });
}

#[test]
fn hopper() {
    mujoco("Hopper-v5");
}

#[test]
fn walker() {
    mujoco("Walker2d-v5");
}

#[test]
fn half_cheetah() {
    mujoco("HalfCheetah-v5");
}

#[test]
fn ant() {
    mujoco("Ant-v5");
}

/// A saved environment goes on to the last bit, in a new one of the same name.
#[test]
fn saved_environments_go_on() {
    for id in ["Pendulum-v1", "CartPole-v1", "MountainCarContinuous-v0", "Acrobot-v1", "Hopper-v5", "Ant-v5"]
    {
        let Ok(mut first) = make_environment(id) else {
            assert!(id.ends_with("-v5") && std::env::var_os("SECATEUR_REQUIRE_MUJOCO").is_none(), "{id}");
            eprintln!("skipped {id}: no MuJoCo");
            continue;
        };
        let space = first.action_space().clone();
        let values = vec![if matches!(space, ActionSpace::Discrete(_)) { 1.0 } else { 0.3 }; space.width()];
        let mut seen = vec![0.0; first.observation_width()];
        first.reset(Some(3), &mut seen).expect("resets");
        for _ in 0..5 {
            first.step(act(&space, &values), &mut seen).expect("steps");
        }
        let mut second = make_environment(id).expect("a second one");
        second.restore(&first.save()).expect("the same task");
        let mut again = seen.clone();
        for _ in 0..5 {
            let a = first.step(act(&space, &values), &mut seen).expect("steps");
            let b = second.step(act(&space, &values), &mut again).expect("steps");
            assert_eq!((a, &seen), (b, &again), "{id}");
        }
        first.reset(None, &mut seen).expect("resets");
        second.reset(None, &mut again).expect("resets");
        assert_eq!(seen, again, "{id}");
    }
}

/// A pendulum never ends but is cut after 200 steps; wrong actions and unknown names are refused.
#[test]
fn limits_and_refusals() {
    let mut environment = make_environment("Pendulum-v1").expect("a known task");
    let mut seen = [0.0; 3];
    environment.reset(Some(1), &mut seen).expect("resets");
    for count in 1..=200 {
        let step = environment.step(Action::Continuous(&[0.0]), &mut seen).expect("steps");
        assert_eq!((step.terminated, step.truncated), (false, count == 200));
    }
    assert!(matches!(environment.step(Action::Discrete(0), &mut seen), Err(EnvironmentError::Action)));
    assert!(matches!(
        environment.step(Action::Continuous(&[f64::NAN]), &mut seen),
        Err(EnvironmentError::Action)
    ));
    assert!(matches!(make_environment("Pong-v5"), Err(EnvironmentError::Unknown { .. })));
}

/// Prints why Hopper cannot be made; run by [`what_is_missing_is_named`] in a process of its own.
#[test]
#[ignore = "a part of what_is_missing_is_named"]
fn make_hopper() {
    if let Err(reason) = make_environment("Hopper-v5") {
        println!("refused: {reason}");
    }
}

/// Without library or model files the error says what to install; a file that is no library is refused.
#[test]
fn what_is_missing_is_named() {
    let said = |name: &str, value: &str| {
        let output = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "traces::make_hopper", "--ignored", "--nocapture"])
            .env(name, value)
            .output()
            .expect("runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let missing = said("MUJOCO_LIB", "/nowhere/libmujoco.so");
    assert!(missing.contains("pip install --no-deps mujoco==3.17.0"), "{missing}");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let unusable = said("MUJOCO_LIB", manifest);
    assert!(unusable.contains("cannot be used as the MuJoCo library"), "{unusable}");
    if make_environment("Hopper-v5").is_ok() {
        let models = said("GYMNASIUM_ASSETS", "/nowhere");
        assert!(models.contains("hopper.xml was not found"), "{models}");
    }
}
