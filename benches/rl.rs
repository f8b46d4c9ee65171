//! Speed of the trainer on one thread: `cargo bench --bench rl`. Throughput is environment steps a second, rollout and
//! update together. Without MuJoCo, Pendulum only.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use secateur::attack::{Ball, CriticAttack, LearnedAttack, Leverage, MadAttack, RandomAttack, SarsaAttack};
use secateur::float::FloatActivation;
use secateur::float::head::FloatHead;
use secateur::float::mlp::Mlp;
use secateur::float::normaliser::FixedNormaliser;
use secateur::float::policy::FloatPolicy;
use secateur::float::rng::SeededRng;
use secateur::rl::env::make_environment;
use secateur::rl::evaluate::Adversary;
use secateur::rl::{TrainConfig, Trainer, evaluate};

/// One update of 2,048 environment steps: 10 epochs of 32 minibatches, networks 64-64.
fn update(criterion: &mut Criterion, id: &str) {
    let config = TrainConfig { env_id: id.to_owned(), ..TrainConfig::default() };
    let mut trainer = match Trainer::new(&config) {
        Ok(trainer) => trainer,
        Err(reason) => {
            eprintln!("skipped {id}: {reason}");
            return;
        }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    let mut group = criterion.benchmark_group("ppo_update");
    group.sample_size(10).throughput(Throughput::Elements(config.batch_size() as u64));
    group.bench_function(id, |bencher| {
        bencher.iter(|| pool.install(|| trainer.update().expect("an update").global_step));
    });
    group.finish();
}

/// A clean rollout of a fixed policy, by the step.
fn rollout(criterion: &mut Criterion, id: &str) {
    let Ok(mut environment) = make_environment(id) else { return };
    let config = TrainConfig { env_id: id.to_owned(), ..TrainConfig::default() };
    let policy = Trainer::new(&config).expect("a known task").policy();
    let steps = evaluate(&policy, environment.as_mut(), 20, 1, true).expect("episodes");
    let steps: usize = steps.episodes.iter().map(|episode| episode.length).sum();
    let mut group = criterion.benchmark_group("rollout");
    group.sample_size(10).throughput(Throughput::Elements(steps as u64));
    group.bench_function(id, |bencher| {
        bencher.iter(|| evaluate(&policy, environment.as_mut(), 20, 1, true).expect("episodes").mean());
    });
    group.finish();
}

/// Forward and backward pass of a minibatch of 64 states through 11-64-64-3.
fn gradient(criterion: &mut Criterion) {
    let mut rng = SeededRng::new(1, 0);
    let network = Mlp::orthogonal(&[11, 64, 64, 3], FloatActivation::Tanh, 0.01, &mut rng);
    let inputs = Array2::from_shape_fn((64, 11), |_| rng.normal());
    let pull = Array2::from_shape_fn((64, 3), |_| rng.normal());
    let mut sum = network.zeros_like();
    criterion.bench_function("gradient_64_states", |bencher| {
        bencher.iter(|| network.backward(&network.forward(black_box(inputs.view())), &pull, &mut sum));
    });
}

/// What an attack adds to a step of an episode, ten steps of the gradient attacks through 11-64-64-3; `forward` is what a clean
/// step does anyway.
fn attacks(criterion: &mut Criterion) {
    let mut rng = SeededRng::new(1, 0);
    let mut network = |outputs| Mlp::orthogonal(&[11, 64, 64, outputs], FloatActivation::Tanh, 1.0, &mut rng);
    let (actor, critic, adversary, director) = (network(3), network(1), network(11), network(3));
    let values = Mlp::orthogonal(&[14, 64, 64, 1], FloatActivation::Tanh, 1.0, &mut rng);
    let head = FloatHead::Gaussian { log_std: vec![-1.0; 3] };
    let policy = FloatPolicy { network: actor, head, normaliser: FixedNormaliser::identity(11) };
    let input: Vec<f64> = (0..11).map(|_| rng.normal()).collect();
    let ball = || Ball::equal(0.075, 11);
    let mut group = criterion.benchmark_group("attack_step");
    let mut measure = |name: &str, attack: &mut dyn Adversary| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut moved = input.clone();
                attack.perturb(&policy, &input, &mut moved);
                moved
            });
        });
    };
    measure("random", &mut RandomAttack::new(ball(), 1));
    measure("critic", &mut CriticAttack::new(critic, ball()));
    measure("mad", &mut MadAttack::new(ball(), 1));
    measure("robust-sarsa", &mut SarsaAttack::new(values, &policy, ball()));
    let learned = |network, leverage| {
        let (head, normaliser) = (FloatHead::Deterministic, FixedNormaliser::identity(11));
        LearnedAttack::new(FloatPolicy { network, head, normaliser }, ball(), leverage)
    };
    measure("optimal", &mut learned(adversary, Leverage::Observation));
    measure("pa-ad", &mut learned(director, Leverage::Outputs));
}

fn all(criterion: &mut Criterion) {
    for id in ["Hopper-v5", "Pendulum-v1"] {
        update(criterion, id);
        rollout(criterion, id);
    }
    gradient(criterion);
    attacks(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
