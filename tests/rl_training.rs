//! Training runs: the same bytes on one thread and on two and across interruptions, and policies that get better.
//! Runs on Hopper need MuJoCo; without it they say so, or fail if `SECATEUR_REQUIRE_MUJOCO` is set.

use secateur::rl::config::{InnerMaximum, SaConfig};
use secateur::rl::env::{EnvironmentError, make_environment};
use secateur::rl::{
    CheckpointError, FloatPolicy, Progress, TrainConfig, TrainError, TrainFiles, TrainOutcome, Trainer,
    UpdateRecord, evaluate, train,
};

/// A short run: four updates of two environments.
fn short(id: &str, method: Option<InnerMaximum>) -> TrainConfig {
    let sa = method.map(|method| SaConfig { method, steps: 3, ramp_end: 0.5, ..SaConfig::default() });
    TrainConfig {
        env_id: id.to_owned(),
        seed: 5,
        total_timesteps: 1024,
        num_envs: 2,
        num_steps: 128,
        num_minibatches: 4,
        update_epochs: 3,
        hidden_sizes: vec![16, 16],
        states: 50,
        sa,
        eval_interval: 2,
        eval_episodes: 1,
        ..TrainConfig::default()
    }
}

fn runs() -> Vec<TrainConfig> {
    let mut runs = vec![
        short("Pendulum-v1", Some(InnerMaximum::Ibp)),
        short("Acrobot-v1", Some(InnerMaximum::Pgd)),
        short("CartPole-v1", None),
    ];
    match make_environment("Hopper-v5") {
        Ok(_) => runs.push(short("Hopper-v5", Some(InnerMaximum::Ibp))),
        Err(EnvironmentError::Mujoco(reason)) if std::env::var_os("SECATEUR_REQUIRE_MUJOCO").is_none() => {
            eprintln!("skipped Hopper-v5: {reason}");
        }
        Err(reason) => panic!("{reason}"),
    }
    runs
}

fn finish(config: &TrainConfig, files: &TrainFiles) -> TrainOutcome {
    train(config, files, &mut ()).expect("a short run")
}

/// Stops after a number of updates.
struct StopAfter(usize);

impl Progress for StopAfter {
    fn updated(&mut self, _: &UpdateRecord) {
        self.0 -= 1;
    }

    fn should_stop(&mut self) -> bool {
        self.0 == 0
    }
}

fn assert_same(first: &TrainOutcome, second: &TrainOutcome, id: &str) {
    assert_eq!(first.policy, second.policy, "{id}: weights");
    assert_eq!(first.critic, second.critic, "{id}: critic");
    assert_eq!(first.states, second.states, "{id}: states");
}

#[test]
fn same_bytes_on_one_thread_and_on_two() {
    for config in runs() {
        let one = finish(&TrainConfig { threads: 1, ..config.clone() }, &TrainFiles::default());
        let two = finish(&TrainConfig { threads: 2, ..config.clone() }, &TrainFiles::default());
        assert_same(&one, &two, &config.env_id);
        assert_eq!(one.states.dim().0, 50);
        let other = finish(&TrainConfig { seed: 6, ..config.clone() }, &TrainFiles::default());
        assert_ne!(one.policy, other.policy, "{}: another seed", config.env_id);
    }
}

#[test]
fn interrupted_runs_end_in_the_same_bytes() {
    for mut config in runs() {
        config.keep_best = true;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = TrainFiles {
            logs: Some(folder.path().join("logs")),
            checkpoint: Some(folder.path().join("checkpoint.json")),
        };
        let whole = finish(&config, &TrainFiles::default());
        for updates in [1, 2] {
            let part = train(&config, &files, &mut StopAfter(updates)).expect("a part");
            assert!(!part.finished && part.global_step < 1024);
        }
        let resumed = finish(&TrainConfig { threads: 2, ..config.clone() }, &files);
        assert!(resumed.finished && resumed.global_step == 1024);
        assert_same(&whole, &resumed, &config.env_id);
        let curve = std::fs::read_to_string(folder.path().join("logs/progress.csv")).expect("the curve");
        let steps: Vec<&str> = curve.lines().filter_map(|line| line.split(',').next()).collect();
        assert_eq!(steps, ["global_step", "256", "512", "768", "1024"]);
        // A finished run is not run again.
        assert_same(&whole, &finish(&config, &files), &config.env_id);
    }
}

#[test]
fn checkpoints_of_other_runs_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("checkpoint.json");
    let files = TrainFiles { logs: None, checkpoint: Some(path.clone()) };
    let config = short("Pendulum-v1", None);
    finish(&config, &files);
    let refused = |config: &TrainConfig| match train(config, &files, &mut ()) {
        Err(TrainError::Checkpoint(reason)) => reason,
        other => panic!("not refused: {:?}", other.map(|outcome| outcome.global_step)),
    };
    let other = TrainConfig { learning_rate: 1e-3, ..config.clone() };
    assert!(matches!(refused(&other), CheckpointError::OtherConfig));
    let text = std::fs::read_to_string(&path).expect("the checkpoint");
    std::fs::write(&path, text.replacen("checkpoint/1", "checkpoint/9", 1)).expect("writes");
    assert!(matches!(refused(&config), CheckpointError::Malformed { .. }));
    std::fs::write(&path, &text[..text.len() / 2]).expect("writes");
    assert!(matches!(refused(&config), CheckpointError::Malformed { .. }));
}

#[test]
fn masked_weights_stay_zero_through_checkpoints() {
    let config = short("Pendulum-v1", None);
    let mut trainer = Trainer::new(&config).expect("a known task");
    let masks: Vec<Vec<bool>> = trainer
        .agent()
        .actor
        .layers
        .iter()
        .map(|layer| (0..layer.weight.len()).map(|index| index % 3 != 0).collect())
        .collect();
    assert!(matches!(trainer.set_masks(masks[1..].to_vec()), Err(TrainError::Masks)));
    trainer.set_masks(masks.clone()).expect("fits");
    trainer.update().expect("an update");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("checkpoint.json");
    trainer.save(&path).expect("writes");
    let mut trainer = Trainer::resume(&config, &path).expect("its own");
    trainer.update().expect("an update");
    let policy = trainer.policy();
    for (layer, mask) in policy.network.layers.iter().zip(&masks) {
        for (weight, kept) in layer.weight.iter().zip(mask) {
            assert_eq!(*weight != 0.0, *kept);
        }
    }
}

/// A CartPole policy after 20,000 steps balances for over 150 steps; an untrained one falls within about 10 to 50.
#[test]
fn training_makes_a_policy_better() {
    let config =
        TrainConfig { total_timesteps: 20_480, states: 0, ..TrainConfig::for_environment("CartPole-v1") };
    let mut environment = make_environment("CartPole-v1").expect("a known task");
    let mut mean =
        |policy: &FloatPolicy| evaluate(policy, environment.as_mut(), 20, 77, true).expect("episodes").mean();
    let before = mean(&Trainer::new(&config).expect("a known task").policy());
    let outcome = finish(&config, &TrainFiles::default());
    let after = mean(&outcome.float_policy);
    assert!(before < 100.0 && after > 150.0, "{before} before, {after} after");
    assert_eq!(FloatPolicy::from_data(&outcome.policy).as_ref(), Ok(&outcome.float_policy));
}

/// With the regulariser the policy moves less inside the ball than without, by interval bounds.
#[test]
fn robust_training_makes_a_policy_steadier() {
    let reach = |kappa: f64| {
        let mut config = short("Pendulum-v1", Some(InnerMaximum::Ibp));
        config.total_timesteps = 8192;
        config.learning_rate = 1e-3;
        config.sa = config.sa.map(|sa| SaConfig { kappa, ramp_end: 0.1, ..sa });
        let outcome = finish(&config, &TrainFiles::default());
        let inputs =
            outcome.states.rows().into_iter().map(|row| outcome.float_policy.normaliser.apply(&row.to_vec()));
        let inputs: Vec<f64> = inputs.flatten().collect();
        let inputs = ndarray::Array2::from_shape_vec((50, 3), inputs).expect("fifty states");
        let radius = ndarray::Array2::from_elem((50, 3), 0.075);
        let boxes = outcome.float_policy.network.forward_box(inputs.view(), radius.view());
        (boxes.upper() - boxes.lower()).sum()
    };
    let (plain, robust) = (reach(0.0), reach(3.0));
    assert!(robust < 0.8 * plain, "{robust} and {plain}");
}
