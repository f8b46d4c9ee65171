//! Adversaries: they stay inside the ball, they follow what they claim to follow, and they hurt more than noise does.

use secateur::attack::{CriticAttack, LearnedConfig, Leverage, MadAttack, RandomAttack, train_adversary};
use secateur::decomposition::ActionMode;
use secateur::rl::env::{Environment, make_environment};
use secateur::rl::evaluate::{Adversary, EpisodePlan, run_episodes};
use secateur::rl::head::FloatHead;
use secateur::rl::net::{FloatActivation, Mlp};
use secateur::rl::normaliser::FixedNormaliser;
use secateur::rl::rng::SeededRng;
use secateur::rl::{FloatPolicy, TrainConfig, TrainFiles, train};

const RADIUS: f64 = 0.1;

fn random_policy(head: FloatHead) -> (FloatPolicy, Mlp) {
    let mut rng = SeededRng::new(61, 0);
    let mut network =
        |outputs: usize| Mlp::orthogonal(&[6, 16, 16, outputs], FloatActivation::Tanh, 1.0, &mut rng);
    let (actor, critic) = (network(3), network(1));
    (FloatPolicy { network: actor, head, normaliser: FixedNormaliser::identity(6) }, critic)
}

/// Mean of `gain(centre, moved)` over 200 random inputs; every move must stay in the ball.
fn mean_gain(attack: &mut dyn Adversary, policy: &FloatPolicy, gain: &dyn Fn(&[f64], &[f64]) -> f64) -> f64 {
    let mut rng = SeededRng::new(62, 0);
    attack.start(0);
    let mut total = 0.0;
    for _ in 0..200 {
        let centre: Vec<f64> = (0..6).map(|_| rng.normal()).collect();
        let mut moved = centre.clone();
        attack.perturb(policy, &mut moved);
        assert_eq!(moved.len(), 6);
        let furthest = moved.iter().zip(&centre).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(furthest > 0.0 && furthest <= RADIUS * (1.0 + 1e-12), "{furthest}");
        total += gain(&centre, &moved) / 200.0;
    }
    total
}

#[test]
fn gradient_attacks_beat_noise_at_their_own_goal() {
    for head in [
        FloatHead::Gaussian { log_std: vec![-1.8, -1.5, -1.2] },
        FloatHead::Categorical,
        FloatHead::Deterministic,
    ] {
        let (policy, critic) = random_policy(head);
        let distance = |centre: &[f64], moved: &[f64]| {
            let (a, b) = (policy.network.forward_one(centre), policy.network.forward_one(moved));
            a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
        };
        let drop =
            |centre: &[f64], moved: &[f64]| critic.forward_one(centre)[0] - critic.forward_one(moved)[0];
        let noise = mean_gain(&mut RandomAttack::new(RADIUS, 1), &policy, &distance);
        let mad = mean_gain(&mut MadAttack::new(RADIUS, 1), &policy, &distance);
        assert!(mad > 2.0 * noise, "{mad} and {noise}");
        let noise = mean_gain(&mut RandomAttack::new(RADIUS, 1), &policy, &drop);
        let descent = mean_gain(&mut CriticAttack::new(critic.clone(), RADIUS), &policy, &drop);
        assert!(descent > 5.0 * noise.abs(), "{descent} and {noise}");
    }
}

fn balancer() -> FloatPolicy {
    let config =
        TrainConfig { total_timesteps: 30_720, states: 0, ..TrainConfig::for_environment("CartPole-v1") };
    train(&config, &TrainFiles::default(), &mut ()).expect("a run").float_policy
}

fn mean_return(
    policy: &FloatPolicy,
    environment: &mut dyn Environment,
    attack: Option<&mut dyn Adversary>,
) -> f64 {
    let plan = EpisodePlan { episodes: 40, seed: 9, deterministic: true };
    run_episodes(policy, environment, plan, attack, &mut |_| {}).expect("episodes").mean()
}

/// The learned adversary takes more than noise of the same radius.
#[test]
fn a_learned_adversary_hurts_more_than_noise() {
    let victim = balancer();
    let mut environment = make_environment("CartPole-v1").expect("a known task");
    let train = TrainConfig { total_timesteps: 30_720, ..TrainConfig::for_environment("CartPole-v1") };
    let config = LearnedConfig {
        train,
        radius: 0.8,
        leverage: Leverage::Observation,
        victim_actions: ActionMode::Deterministic,
    };
    let mut learned = train_adversary(&victim, &config, &TrainFiles::default(), &mut ()).expect("a run");
    let noise = mean_return(&victim, environment.as_mut(), Some(&mut RandomAttack::new(0.8, 1)));
    let attacked = mean_return(&victim, environment.as_mut(), Some(&mut learned));
    assert!(attacked < noise - 50.0, "{attacked} attacked, {noise} with noise");
}

/// Interrupted in the middle, an adversary's training ends in the same weights, whatever it moves and however its victim
/// acts.
#[test]
fn adversaries_resume_exactly() {
    struct StopAtOnce;
    impl secateur::rl::Progress for StopAtOnce {
        fn updated(&mut self, _: &secateur::rl::UpdateRecord) {}
        fn should_stop(&mut self) -> bool {
            true
        }
    }
    let (mut victim, _) = random_policy(FloatHead::Categorical);
    victim.normaliser.std = vec![2.0; 6];
    let train = TrainConfig {
        env_id: "Acrobot-v1".to_owned(),
        total_timesteps: 512,
        num_steps: 128,
        num_minibatches: 2,
        hidden_sizes: vec![8],
        ..TrainConfig::default()
    };
    for (leverage, victim_actions) in
        [(Leverage::Observation, ActionMode::Deterministic), (Leverage::Outputs, ActionMode::Sampled)]
    {
        let config = LearnedConfig { train: train.clone(), radius: 0.1, leverage, victim_actions };
        let whole = train_adversary(&victim, &config, &TrainFiles::default(), &mut ()).expect("a run");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = TrainFiles { logs: None, checkpoint: Some(folder.path().join("adversary.json")) };
        train_adversary(&victim, &config, &files, &mut StopAtOnce).expect("a part");
        let resumed = train_adversary(&victim, &config, &files, &mut ()).expect("the rest");
        assert_eq!(resumed.adversary, whole.adversary);
    }
}
