//! Adversaries: they stay inside the ball, they follow what they claim to follow, and they hurt more than noise does.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use secateur::attack::{
    AttackError, AttackFiles, AttackKind, AttackOutcome, AttackPlan, Ball, CriticAttack, LearnedAttack,
    LearnedConfig, Leverage, MadAttack, RandomAttack, SarsaAttack, WrittenNumber, WrittenRadii, run_attack,
    run_transfer, train_adversary,
};
use secateur::decomposition::ActionMode;
use secateur::float::FloatActivation;
use secateur::float::head::FloatHead;
use secateur::float::mlp::Mlp;
use secateur::float::normaliser::FixedNormaliser;
use secateur::float::policy::FloatPolicy;
use secateur::float::rng::SeededRng;
use secateur::progress::{Progress, Silent};
use secateur::rl::env::{Environment, make_environment};
use secateur::rl::evaluate::{Adversary, EpisodePlan, run_episodes};
use secateur::rl::{TrainConfig, TrainFiles, train};
use secateur_checker::model::Units;

const RADIUS: f64 = 0.1;

/// All six inputs by the same radius.
fn ball(radius: f64) -> Ball {
    Ball::equal(radius, 6)
}

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
        attack.perturb(policy, &centre, &mut moved);
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
        let noise = mean_gain(&mut RandomAttack::new(ball(RADIUS), 1), &policy, &distance);
        let mad = mean_gain(&mut MadAttack::new(ball(RADIUS), 1), &policy, &distance);
        assert!(mad > 2.0 * noise, "{mad} and {noise}");
        let noise = mean_gain(&mut RandomAttack::new(ball(RADIUS), 1), &policy, &drop);
        let descent = mean_gain(&mut CriticAttack::new(critic.clone(), ball(RADIUS)), &policy, &drop);
        assert!(descent > 5.0 * noise.abs(), "{descent} and {noise}");
    }
}

fn balancer() -> FloatPolicy {
    let config =
        TrainConfig { total_timesteps: 30_720, states: 0, ..TrainConfig::for_environment("CartPole-v1") };
    train(&config, &TrainFiles::default(), &Silent).expect("a run").float_policy
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
        ball: Ball::equal(0.8, 4),
        leverage: Leverage::Observation,
        victim_actions: ActionMode::Deterministic,
    };
    let mut learned = train_adversary(&victim, &config, &TrainFiles::default(), &Silent).expect("a run");
    let noise =
        mean_return(&victim, environment.as_mut(), Some(&mut RandomAttack::new(Ball::equal(0.8, 4), 1)));
    let attacked = mean_return(&victim, environment.as_mut(), Some(&mut learned));
    assert!(attacked < noise - 50.0, "{attacked} attacked, {noise} with noise");
}

/// Interrupted in the middle, an adversary's training ends in the same weights, whatever it moves and however its victim
/// acts.
#[test]
fn adversaries_resume_exactly() {
    struct StopAtOnce;
    impl Progress for StopAtOnce {
        fn advance(&self, _: &str, _: usize, _: usize) {}
        fn stopped(&self) -> bool {
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
        let config = LearnedConfig { train: train.clone(), ball: ball(0.1), leverage, victim_actions };
        let whole = train_adversary(&victim, &config, &TrainFiles::default(), &Silent).expect("a run");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = TrainFiles { logs: None, checkpoint: Some(folder.path().join("adversary.json")) };
        train_adversary(&victim, &config, &files, &StopAtOnce).expect("a part");
        let resumed = train_adversary(&victim, &config, &files, &Silent).expect("the rest");
        assert_eq!(resumed.adversary, whole.adversary);
    }
}

/// A network of three layers.
fn network(inputs: usize, outputs: usize, seed: u64) -> Mlp {
    Mlp::orthogonal(&[inputs, 8, 8, outputs], FloatActivation::Tanh, 3.0, &mut SeededRng::new(seed, 0))
}

/// One attack of every kind, against a policy of 6 inputs and 3 outputs, and whether it moves every point: ten sign
/// steps may step to and fro around a point from which nothing is to be gained.
fn every_attack(policy: &FloatPolicy, ball: &Ball, seed: u64) -> Vec<(Box<dyn Adversary>, bool)> {
    let discrete = policy.head == FloatHead::Categorical;
    let values = if discrete { network(6, 3, seed + 1) } else { network(9, 1, seed + 1) };
    let own = || ball.clone();
    let learned = |outputs: usize, leverage, corners| {
        let (head, normaliser) = (FloatHead::Deterministic, FixedNormaliser::identity(6));
        let adversary = FloatPolicy { network: network(6, outputs, seed + 2), head, normaliser };
        let mut attack = LearnedAttack::new(adversary, ball.clone(), leverage);
        attack.corners = corners;
        attack
    };
    vec![
        (Box::new(RandomAttack::new(own(), seed)), true),
        (Box::new(CriticAttack::new(network(6, 1, seed + 3), own())), false),
        (Box::new(CriticAttack::flattering(network(6, 1, seed + 3), own())), false),
        (Box::new(MadAttack::new(own(), seed)), false),
        (Box::new(SarsaAttack::new(values, policy, own())), false),
        (Box::new(learned(6, Leverage::Observation, false)), true),
        (Box::new(learned(6, Leverage::Observation, true)), true),
        (Box::new(learned(3, Leverage::Outputs, false)), true),
    ]
}

proptest! {
    /// No attack leaves the ball, by more than the rounding of one addition; what must move moves at all but the
    /// smallest radius (no unit saturates here).
    #[test]
    fn attacks_stay_in_the_ball(
        radius in 0.0..2.0f64,
        seed in 0..1000u64,
        head in 0..3usize,
        centre in proptest::collection::vec(-1.0..1.0f64, 6),
    ) {
        let heads = [
            FloatHead::Gaussian { log_std: vec![-1.8, -0.5, 0.4] },
            FloatHead::Categorical,
            FloatHead::Deterministic,
        ];
        let policy = FloatPolicy {
            network: network(6, 3, seed),
            head: heads[head].clone(),
            normaliser: FixedNormaliser::identity(6),
        };
        for (mut attack, moves) in every_attack(&policy, &ball(radius), seed) {
            let mut moved = centre.clone();
            attack.start(seed);
            attack.perturb(&policy, &centre, &mut moved);
            prop_assert_eq!(moved.len(), 6);
            for (a, b) in moved.iter().zip(&centre) {
                prop_assert!((a - b).abs() <= radius + 1e-14 * (a.abs() + radius), "{} from {} by {}", a, b, radius);
            }
            prop_assert!(!moves || radius < 1e-9 || moved != centre);
        }
    }
}

/// Radii one by one.
fn each(units: Units, radii: &[f64]) -> WrittenRadii {
    let written = |radius: &f64| WrittenNumber::parse(&radius.to_string()).expect("a number");
    WrittenRadii::Each { units, radii: radii.iter().map(written).collect() }
}

proptest! {
    /// Every input keeps to its own radius, one of radius 0 to itself. In raw units that is what the normaliser makes of
    /// the moved observation: an input beyond its clip comes back only as far as the radius reaches; in normalised units
    /// the clipped input is moved.
    #[test]
    fn attacks_keep_to_the_radius_of_each_input(
        mut radii in proptest::collection::vec(0.0..2.0f64, 6),
        still in 0..6usize,
        seed in 0..1000u64,
        head in 0..3usize,
        observation in proptest::collection::vec(-4.0..4.0f64, 6),
        raw in any::<bool>(),
    ) {
        radii[still] = 0.0;
        let heads =
            [FloatHead::Gaussian { log_std: vec![-1.8, -0.5, 0.4] }, FloatHead::Categorical, FloatHead::Deterministic];
        let normaliser = FixedNormaliser {
            mean: vec![0.5, -0.5, 0.0, 1.0, 0.0, 0.0],
            std: vec![2.0, 0.5, 1.0, 4.0, 0.25, 1.0],
            clip: 1.0,
        };
        let policy = FloatPolicy { network: network(6, 3, seed), head: heads[head].clone(), normaliser };
        let normaliser = &policy.normaliser;
        let units = if raw { Units::Raw } else { Units::Normalised };
        let ball = each(units, &radii).ball(normaliser).expect("as many as inputs");
        let (unclipped, input) = (normaliser.scale(&observation), normaliser.apply(&observation));
        let ends = |sign: f64| {
            let moved = |(value, radius): (&f64, &f64)| value + sign * radius;
            if raw {
                normaliser.apply(&observation.iter().zip(&radii).map(moved).collect::<Vec<f64>>())
            } else {
                input.iter().zip(&radii).map(moved).collect()
            }
        };
        let (lower, upper) = (ends(-1.0), ends(1.0));
        for (number, (mut attack, moves)) in every_attack(&policy, &ball, seed).into_iter().enumerate() {
            let mut moved = input.clone();
            attack.start(seed);
            attack.perturb(&policy, &unclipped, &mut moved);
            prop_assert_eq!(moved[still], input[still], "attack {}", number);
            for ((value, lower), upper) in moved.iter().zip(&lower).zip(&upper) {
                prop_assert!(*value >= lower - 1e-12 && *value <= upper + 1e-12, "{number}: {lower} {value} {upper}");
            }
            let reach = lower.iter().zip(&upper).map(|(lower, upper)| upper - lower).fold(0.0, f64::max);
            prop_assert!(!moves || raw || reach < 1e-9 || moved != input, "attack {}", number);
        }
    }
}

/// Radii of their own that are all one radius give the outcome of that radius, to the last bit, in either unit where
/// the normaliser leaves observations as they are; with other radii it is another.
#[test]
fn equal_radii_are_one_radius() {
    // Unlike those of a pole, returns of a pendulum differ wherever torques do.
    let (head, normaliser) = (FloatHead::Gaussian { log_std: vec![-1.0] }, FixedNormaliser::identity(3));
    let victim = FloatPolicy { network: network(3, 1, 7), head, normaliser };
    for (kind, _) in AttackKind::ALL {
        let run = |radius: WrittenRadii| {
            let plan = AttackPlan { radius, ..plan(kind, "0", 256, 2) };
            let found = run_attack(&victim, None, "Pendulum-v1", &plan, &AttackFiles::default(), &Silent);
            let found = found.expect("a run");
            (found.deterministic, found.sampled)
        };
        let one = run(WrittenNumber::parse("0.3").expect("a number").into());
        for units in [Units::Raw, Units::Normalised] {
            let ball = each(units, &[0.3; 3]).ball(&victim.normaliser).expect("as many as inputs");
            assert_eq!(ball.radii(), Ball::equal(0.3, 3).radii());
            assert_eq!(run(each(units, &[0.3; 3])), one, "{kind}, {units:?}");
        }
        let few = run(each(Units::Normalised, &[0.0, 0.0, 0.3]));
        assert_eq!((&few.0.clean, &few.1.clean), (&one.0.clean, &one.1.clean), "{kind}");
        assert_ne!((few.0.attacked, few.1.attacked), (one.0.attacked, one.1.attacked), "{kind}");
        let none = run(each(Units::Raw, &[0.0; 3]));
        assert_eq!((none.0.attacked, none.1.attacked), (none.0.clean, none.1.clean), "{kind}");
    }
}

/// An adversary is told what the observation was before the clip.
#[test]
fn adversaries_know_what_was_clipped() {
    struct Told(usize);
    impl Adversary for Told {
        fn perturb(&mut self, policy: &FloatPolicy, unclipped: &[f64], input: &mut Vec<f64>) {
            assert_eq!(policy.normaliser.clipped(unclipped), *input);
            self.0 += usize::from(unclipped != input.as_slice());
        }
    }
    let mut victim = linear_player();
    victim.normaliser.clip = 0.02;
    let mut environment = make_environment("CartPole-v1").expect("a known task");
    let mut told = Told(0);
    mean_return(&victim, environment.as_mut(), Some(&mut told));
    assert!(told.0 > 0);
}

fn plan(kind: AttackKind, radius: &str, training_steps: usize, episodes: usize) -> AttackPlan {
    let radius = WrittenNumber::parse(radius).expect("a number");
    AttackPlan { episodes, adversaries: 1, ..AttackPlan::new(kind, radius, 3, training_steps) }
}

/// A CartPole player whose logits are `+-(0.2 x + 0.3 v + 2 angle + angular velocity)`: it balances, and an adversary
/// of this radius decides every action.
fn linear_player() -> FloatPolicy {
    let weight = ndarray::arr2(&[[-0.2, -0.3, -2.0, -1.0], [0.2, 0.3, 2.0, 1.0]]);
    let bias = ndarray::Array1::zeros(2);
    let layer = secateur::float::mlp::Dense { weight, bias, activation: FloatActivation::Identity };
    let (head, normaliser) = (FloatHead::Categorical, FixedNormaliser::identity(4));
    FloatPolicy { network: Mlp { layers: vec![layer] }, head, normaliser }
}

/// Fewest steps to the end over all sequences of actions.
fn fewest(environment: &mut dyn Environment, limit: usize) -> usize {
    if limit == 0 {
        return 0;
    }
    let state = environment.save();
    let mut best = limit;
    for action in 0..2 {
        environment.restore(&state).expect("its own state");
        let mut observation = vec![0.0; 4];
        let step =
            environment.step(secateur::rl::env::Action::Discrete(action), &mut observation).expect("a step");
        let found = if step.terminated { 1 } else { 1 + fewest(environment, best - 1) };
        best = best.min(found);
    }
    best
}

/// Where the adversary decides every action, the worst return is known by trying all sequences: learned adversaries
/// come within a step of it, and the victim alone lasts.
#[test]
fn learned_adversaries_find_a_known_optimum() {
    let victim = linear_player();
    let mut environment = make_environment("CartPole-v1").expect("a known task");
    for kind in [AttackKind::Optimal, AttackKind::PaAd] {
        let plan = plan(kind, "30", 20_480, 20);
        let found = run_attack(&victim, None, "CartPole-v1", &plan, &AttackFiles::default(), &Silent);
        let found = found.expect("a run").deterministic;
        let mean = |scores: &[secateur::attack::EpisodeScore]| {
            scores.iter().map(|score| score.total).sum::<f64>() / scores.len() as f64
        };
        // Starts are near the upright rest, so that the optimum differs by little between episodes.
        let mut least = 0.0;
        for seed in 0..20 {
            environment.reset(Some(seed), &mut [0.0; 4]).expect("a start");
            least += fewest(environment.as_mut(), 14) as f64 / 20.0;
        }
        assert!(mean(&found.clean) > 400.0, "{}", mean(&found.clean));
        assert!(mean(&found.attacked) < least + 1.0, "{kind}: {} and {least}", mean(&found.attacked));
    }
}

/// An adversary over observations starts from an imitation, which is offered too; every one is offered as trained and
/// at the corners. What was played for the imitation counts.
#[test]
fn candidates_of_learned_attacks() {
    let victim = linear_player();
    let corners = |name: &str| [format!("{name}, corners"), name.to_owned()];
    for (kind, expected, steps) in [
        (
            AttackKind::Optimal,
            ["imitation", "adversary 0", "adversary 1"].map(corners).concat(),
            2 * 256 + 64,
        ),
        (AttackKind::PaAd, vec!["adversary 0".to_owned(), "adversary 1".to_owned()], 2 * 256),
    ] {
        let plan = AttackPlan { adversaries: 2, ..plan(kind, "0.3", 256, 2) };
        let found = run_attack(&victim, None, "CartPole-v1", &plan, &AttackFiles::default(), &Silent);
        let found = found.expect("a run");
        assert_eq!((found.candidates, found.training_steps), (expected, steps));
    }
}

/// Without a ball nothing can be imitated, and nothing moves.
#[test]
fn a_learned_adversary_without_radius_moves_nothing() {
    let plan = plan(AttackKind::Optimal, "0", 256, 2);
    let found = run_attack(&linear_player(), None, "CartPole-v1", &plan, &AttackFiles::default(), &Silent);
    let found = found.expect("a run");
    assert_eq!(found.deterministic.attacked, found.deterministic.clean);
}

/// The same outcome on one thread and on two.
#[test]
fn threads_change_nothing() {
    let victim = linear_player();
    for (kind, _) in AttackKind::ALL {
        let plan = plan(kind, "0.3", 512, 3);
        let [one, two] = [1, 2].map(|threads| {
            let files = AttackFiles { checkpoints: None, threads };
            run_attack(&victim, None, "CartPole-v1", &plan, &files, &Silent).expect("a run")
        });
        assert_eq!(one, two);
    }
}

/// Stops when told for the given time.
struct StopAfter(AtomicUsize);

impl Progress for StopAfter {
    fn advance(&self, _: &str, _: usize, _: usize) {}

    fn stopped(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(1);
        self.0.store(left, Ordering::Relaxed);
        left == 0
    }
}

/// However often it is stopped, an attack ends in the same outcome.
#[test]
fn interruptions_change_nothing() {
    let victim = linear_player();
    for kind in [AttackKind::Critic, AttackKind::RobustSarsa, AttackKind::Optimal, AttackKind::PaAd] {
        let plan = plan(kind, "0.3", 4096, 3);
        let run = |files: &AttackFiles, progress: &dyn Progress| {
            run_attack(&victim, None, "CartPole-v1", &plan, files, progress)
        };
        let whole = run(&AttackFiles::default(), &Silent).expect("a run");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = AttackFiles { checkpoints: Some(folder.path().to_owned()), threads: 1 };
        let mut stops = 0;
        let resumed: AttackOutcome = loop {
            // Longer each time, so that a fit that is done again comes to its end.
            match run(&files, &StopAfter(AtomicUsize::new(1 + 8 * stops))) {
                Ok(outcome) => break outcome,
                Err(AttackError::Stopped) => stops += 1,
                Err(reason) => panic!("{reason}"),
            }
        };
        assert!(stops > 0, "{kind} was stopped {stops} times");
        assert_eq!(resumed, whole);
    }
}

/// A transferred attack is what the attack on the other policy would do, and is marked.
#[test]
fn transfer_takes_the_victim_for_another() {
    let source = linear_player();
    let mut kept = vec![vec![true; 8]];
    kept[0][2] = false;
    kept[0][6] = false;
    let victim = source.masked(&kept).expect("fits");
    let plan = plan(AttackKind::Mad, "0.3", 64, 5);
    let files = AttackFiles::default();
    let own = run_attack(&victim, None, "CartPole-v1", &plan, &files, &Silent).expect("a run");
    let over = run_transfer((&source, None), &victim, "CartPole-v1", &plan, &files, &Silent).expect("a run");
    assert!(over.transfer && !own.transfer);
    assert_eq!(own.deterministic.clean, over.deterministic.clean);
    assert_ne!(own.sampled.attacked, over.sampled.attacked);
    let same = run_transfer((&victim, None), &victim, "CartPole-v1", &plan, &files, &Silent).expect("a run");
    assert_eq!(same.deterministic, own.deterministic);
    // Where they read observations in different ways, raw radii are two balls.
    let mut other = victim.clone();
    other.normaliser.std = vec![2.0; 4];
    for (units, refused) in [(Units::Raw, true), (Units::Normalised, false)] {
        let plan = AttackPlan { radius: each(units, &[0.3; 4]), ..plan.clone() };
        let found = run_transfer((&source, None), &other, "CartPole-v1", &plan, &files, &Silent);
        assert_eq!(matches!(found, Err(AttackError::Normalisers)), refused, "{units:?}");
        let same =
            run_transfer((&source, None), &victim, "CartPole-v1", &plan, &files, &Silent).expect("a run");
        assert_eq!(same.sampled.attacked, over.sampled.attacked);
    }
}

/// What a plan or a victim cannot be is said before anything is played.
#[test]
fn wrong_plans_are_named() {
    let victim = linear_player();
    let files = AttackFiles::default();
    let mut wrong = plan(AttackKind::Random, "0.1", 64, 0);
    let refused = |plan: &AttackPlan, critic: Option<&Mlp>| {
        run_attack(&victim, critic, "CartPole-v1", plan, &files, &Silent).expect_err("refused")
    };
    assert!(matches!(refused(&wrong, None), AttackError::Range { name: "episodes", .. }));
    wrong.episodes = 1;
    wrong.training_steps = 63;
    assert!(matches!(refused(&wrong, None), AttackError::Range { name: "training_steps", .. }));
    wrong.training_steps = 64;
    let few = AttackPlan { radius: each(Units::Raw, &[0.1; 3]), ..wrong.clone() };
    assert!(matches!(refused(&few, None), AttackError::Radii { found: 3, expected: 4 }));
    let negative = AttackPlan { radius: each(Units::Raw, &[0.1, 0.1, -0.1, 0.1]), ..wrong.clone() };
    assert!(matches!(refused(&negative, None), AttackError::Range { name: "radius", must: "0 or more" }));
    let critic = network(5, 1, 1);
    assert!(matches!(
        refused(&wrong, Some(&critic)),
        AttackError::Critic { inputs: 5, outputs: 1, expected: 4 }
    ));
    assert!(matches!(WrittenNumber::parse("1/0"), Err(AttackError::Number { .. })));
    let written = serde_json::json!(WrittenNumber::parse("3/40").expect("a number"));
    assert_eq!(written, serde_json::json!("3/40"));
    let read: WrittenNumber = serde_json::from_value(written).expect("its own output");
    assert_eq!(read.value(), 0.075);
    let radius =
        |radius: WrittenRadii| serde_json::json!(AttackPlan { radius, ..wrong.clone() })["radius"].clone();
    assert_eq!(radius(read.into()), "3/40");
    let each = each(Units::Raw, &[0.5, 0.0]);
    let written = radius(each.clone());
    assert_eq!(written, serde_json::json!({"units": "raw", "radii": ["0.5", "0"]}));
    let read: WrittenRadii = serde_json::from_value(written).expect("its own output");
    assert_eq!(read, each);
}
