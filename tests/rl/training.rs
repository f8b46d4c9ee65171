//! Training runs: the same bytes on one thread and on two and across interruptions, and policies that get better.
//! Runs on Hopper need MuJoCo; without it they say so, or fail if `SECATEUR_REQUIRE_MUJOCO` is set.

use std::sync::atomic::{AtomicUsize, Ordering};

use secateur::float::policy::FloatPolicy;
use secateur::progress::{Progress, Silent};
use secateur::prune::Scope;
use secateur::rl::config::{InnerMaximum, SaConfig};
use secateur::rl::env::{EnvironmentError, make_environment};
use secateur::rl::pruning::{Masks, PruneMethod, PruneSchedule, sparsity};
use secateur::rl::{
    CheckpointError, PruneConfig, TrainConfig, TrainError, TrainFiles, TrainOutcome, TrainStart, Trainer,
    evaluate, train, train_from,
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

/// The same, micro-pruned to 70 % from the first update to the third.
fn pruned(id: &str, what: (PruneMethod, PruneSchedule), sa: Option<InnerMaximum>) -> TrainConfig {
    let (method, schedule) = what;
    let prune = PruneConfig {
        method,
        schedule,
        scope: Scope::Global,
        sparsity: "0.7".to_owned(),
        start: 0.25,
        end: 0.75,
        interval: 1,
    };
    TrainConfig { prune: Some(prune), ..short(id, sa) }
}

fn runs() -> Vec<TrainConfig> {
    let mut runs = vec![
        short("Pendulum-v1", Some(InnerMaximum::Ibp)),
        short("Acrobot-v1", Some(InnerMaximum::Pgd)),
        short("CartPole-v1", None),
        pruned("Pendulum-v1", (PruneMethod::Saliency, PruneSchedule::Cubic), Some(InnerMaximum::Pgd)),
        pruned("CartPole-v1", (PruneMethod::Random, PruneSchedule::Exponential), None),
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
    train(config, files, &Silent).expect("a short run")
}

/// Stops after a number of updates.
struct StopAfter(AtomicUsize);

impl Progress for StopAfter {
    fn advance(&self, phase: &str, _: usize, _: usize) {
        assert_eq!(phase, "training");
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

fn assert_same(first: &TrainOutcome, second: &TrainOutcome, id: &str) {
    assert_eq!(first.policy, second.policy, "{id}: weights");
    assert_eq!(first.critic, second.critic, "{id}: critic");
    assert_eq!(first.states, second.states, "{id}: states");
    assert_eq!(first.mask, second.mask, "{id}: mask");
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
            let part = train(&config, &files, &StopAfter(AtomicUsize::new(updates))).expect("a part");
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
    let refused = |config: &TrainConfig| match train(config, &files, &Silent) {
        Err(TrainError::Checkpoint(reason)) => reason,
        other => panic!("not refused: {:?}", other.map(|outcome| outcome.global_step)),
    };
    let other = TrainConfig { learning_rate: 1e-3, ..config.clone() };
    assert!(matches!(refused(&other), CheckpointError::OtherConfig));
    let text = std::fs::read_to_string(&path).expect("the checkpoint");
    std::fs::write(&path, text.replacen("checkpoint/2", "checkpoint/9", 1)).expect("writes");
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

/// Weights of 3-16-16-1 after four updates with pruning from the first to the third: t = 0, 1/2, 1, so cubic has
/// pruned 0, floor(0.7 * 7/8 * 320) = 196 and 224 of 3 * 16 + 16 * 16 + 16 = 320.
#[test]
fn masks_shrink_on_schedule_and_the_weights_obey() {
    for method in [PruneMethod::Magnitude, PruneMethod::Random, PruneMethod::Saliency] {
        let config = pruned("Pendulum-v1", (method, PruneSchedule::Cubic), None);
        let mut trainer = Trainer::new(&config).expect("a known task");
        let (mut counts, mut before) = (Vec::new(), Masks::new());
        while !trainer.finished() {
            let record = trainer.update().expect("an update");
            let masks = trainer.masks().clone();
            assert_eq!(record.sparsity, sparsity(&masks));
            let looser = before.iter().flatten().zip(masks.iter().flatten());
            assert!(looser.clone().all(|(before, now)| *before || !now), "{method:?}: un-pruned");
            counts.push(masks.iter().flatten().filter(|kept| !**kept).count());
            before = masks;
        }
        assert_eq!(counts, [0, 196, 224, 224], "{method:?}");
        let mut environment = make_environment("Pendulum-v1").expect("a known task");
        let outcome = trainer.finish(environment.as_mut()).expect("states");
        let mask = outcome.mask.expect("a mask");
        assert_eq!(mask.sparsity, "7/10");
        for (layer, table) in outcome.float_policy.network.layers.iter().zip(&mask.layers) {
            assert!(layer.weight.iter().zip(&table.kept).all(|(weight, kept)| *kept == (*weight != 0.0)));
            assert!(layer.bias.iter().all(|bias| *bias != 0.0), "biases are never pruned");
        }
    }
}

/// Pruned after the last update, the policy is the unpruned run's with a mask on it: nothing was trained in between.
#[test]
fn without_fine_tuning_only_the_mask_differs() {
    let mut config = pruned("Pendulum-v1", (PruneMethod::Magnitude, PruneSchedule::OneShot), None);
    config.prune = config.prune.map(|prune| PruneConfig { start: 1.0, scope: Scope::Layer, ..prune });
    let pruned = finish(&config, &TrainFiles::default());
    let dense = finish(&TrainConfig { prune: None, ..config.clone() }, &TrainFiles::default());
    assert!(dense.mask.is_none());
    let mask = pruned.mask.clone().expect("a mask");
    for (index, table) in mask.layers.iter().enumerate() {
        let [before, after] = [&dense, &pruned].map(|outcome| &outcome.float_policy.network.layers[index]);
        assert_eq!(before.bias, after.bias);
        for ((before, after), kept) in before.weight.iter().zip(&after.weight).zip(&table.kept) {
            assert_eq!(*after, if *kept { *before } else { 0.0 });
        }
    }
}

/// A best policy of an earlier, looser mask is not kept.
#[test]
fn the_best_policy_obeys_the_last_mask() {
    let mut config = pruned("CartPole-v1", (PruneMethod::Magnitude, PruneSchedule::Linear), None);
    (config.eval_interval, config.keep_best) = (1, true);
    let outcome = finish(&config, &TrainFiles::default());
    let mask = outcome.mask.expect("a mask");
    // floor(0.7 * 352) = 246 of 4 * 16 + 16 * 16 + 16 * 2 = 352
    assert_eq!(mask.sparsity, "123/176");
    for (layer, table) in outcome.float_policy.network.layers.iter().zip(&mask.layers) {
        assert!(layer.weight.iter().zip(&table.kept).all(|(weight, kept)| *kept || *weight == 0.0));
    }
}

/// Training on: from the given weights, under the given mask, with the given normaliser; the same bytes when interrupted.
#[test]
fn fine_tuning_starts_where_it_is_told() {
    let base = finish(&short("Pendulum-v1", None), &TrainFiles::default());
    let layers = base.float_policy.network.layers.iter();
    let masks: Masks = layers.map(|layer| (0..layer.weight.len()).map(|at| at % 2 == 0).collect()).collect();
    let start = TrainStart { policy: base.float_policy.clone(), critic: Some(base.critic.clone()), masks };
    let config = TrainConfig { finetune: Some(start.digest()), ..short("Pendulum-v1", None) };
    let still = TrainConfig { learning_rate: 1e-300, ..config.clone() };
    let unmoved = train_from(&still, &start, &TrainFiles::default(), &Silent).expect("a short run");
    let mut wanted = base.float_policy.network.clone();
    secateur::rl::pruning::apply_masks(&start.masks, &mut wanted);
    assert_eq!(unmoved.float_policy.network, wanted);

    let tuned = train_from(&config, &start, &TrainFiles::default(), &Silent).expect("a short run");
    assert_eq!(tuned.float_policy.normaliser, base.float_policy.normaliser);
    assert_ne!(tuned.float_policy.network, wanted);
    assert_eq!(tuned.mask.as_ref().map(|mask| mask.sparsity.as_str()), Some("1/2"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = TrainFiles { logs: None, checkpoint: Some(folder.path().join("checkpoint.json")) };
    train_from(&config, &start, &files, &StopAfter(AtomicUsize::new(2))).expect("a part");
    let resumed = train_from(&config, &start, &files, &Silent).expect("the rest");
    assert_same(&tuned, &resumed, "fine-tuning");

    let refused = |config: &TrainConfig, start: &TrainStart| {
        matches!(train_from(config, start, &TrainFiles::default(), &Silent), Err(TrainError::Start(_)))
    };
    let other = TrainStart { masks: Masks::new(), ..start.clone() };
    assert!(refused(&config, &other), "another start than the settings name");
    assert!(matches!(train(&config, &TrainFiles::default(), &Silent), Err(TrainError::Start(_))));
    let misfit = TrainConfig { finetune: Some(start.digest()), ..short("CartPole-v1", None) };
    assert!(refused(&misfit, &start), "another task");
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
