//! Where an adversary over observations starts: a network that imitates an attack by gradients. Untrusted.
//! Behaviour cloning of sign descent on action values, `spec/attacks.md#learned-adversaries`.

use ndarray::{Array2, Axis};

use super::fit::{descend, kept};
use super::sarsa::{SarsaAttack, fit_values};
use crate::attack::plan::{AttackError, AttackFiles, AttackPlan, Target};
use crate::float::FloatActivation;
use crate::float::head::FloatHead;
use crate::float::mlp::Mlp;
use crate::float::normaliser::FixedNormaliser;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::progress::Progress;
use crate::rl::TrainStart;
use crate::rl::evaluate::Adversary;
use crate::rl::pruning::Masks;

/// Logarithm of the deviation with which the adversary explores from its start.
const LOG_STD: f64 = -1.0;
/// Of the steps an adversary may take, one in this many is the victim's own, to fit the values.
pub(super) const SHARE: usize = 4;

/// An adversary over observations, for PPO to go on from: tanh 64-64, fitted to the displacements, each in units of
/// its input's radius, that a robust Sarsa attack makes at the states of `training_steps / SHARE` steps of the victim's own
/// episodes.
pub(super) fn imitation(
    target: &Target<'_>,
    plan: &AttackPlan,
    files: &AttackFiles,
    progress: &dyn Progress,
) -> Result<TrainStart, AttackError> {
    let network = kept(files.checkpoints.as_deref(), "imitation.json", || {
        let steps = plan.training_steps / SHARE;
        let (values, states, unclipped) = fit_values(target, plan, steps, progress)?;
        let mut teacher = SarsaAttack::new(values, target.victim, target.ball.clone());
        let mut wanted = Array2::zeros(states.raw_dim());
        let unclipped = unclipped.chunks_exact(states.ncols().max(1));
        let rows = states.rows().into_iter().zip(unclipped).zip(wanted.rows_mut());
        for (index, ((state, unclipped), mut wanted)) in rows.enumerate() {
            let mut input = state.to_vec();
            teacher.perturb(target.victim, unclipped, &mut input);
            let radii = target.ball.radii();
            for (((wanted, moved), state), radius) in wanted.iter_mut().zip(&input).zip(state).zip(radii) {
                // At radius 0 nothing moves and there is nothing to imitate.
                let part = (moved - state) / radius;
                *wanted = if part.is_finite() { part } else { 0.0 };
            }
            if index.is_multiple_of(4096) {
                progress.advance("imitating", index, steps);
                if progress.stopped() {
                    return Err(AttackError::Stopped);
                }
            }
        }
        regress(&states, &wanted, plan.seed_for(11), progress)
    })?;
    let width = network.input_width();
    let head = FloatHead::Gaussian { log_std: vec![LOG_STD; width] };
    let policy = FloatPolicy { network, head, normaliser: FixedNormaliser::identity(width) };
    Ok(TrainStart { policy, critic: None, masks: Masks::new() })
}

/// The network of least mean squared distance from `wanted` that Adam finds.
fn regress(
    inputs: &Array2<f64>,
    wanted: &Array2<f64>,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Mlp, AttackError> {
    let mut rng = SeededRng::new(seed, 0);
    let widths = [inputs.ncols(), 64, 64, wanted.ncols()];
    let mut network = Mlp::orthogonal(&widths, FloatActivation::Tanh, 1.0, &mut rng);
    let rows = (0..inputs.nrows()).collect();
    descend(&mut network, rows, &mut rng, ("imitating", progress), |network, chosen| {
        let tape = network.forward(inputs.select(Axis(0), chosen).view());
        let error = (tape.outputs() - &wanted.select(Axis(0), chosen)) / chosen.len() as f64;
        let mut gradient = network.zeros_like();
        network.backward(&tape, &error, &mut gradient);
        gradient
    })?;
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::ball::Ball;
    use crate::attack::plan::{AttackKind, WrittenNumber};
    use crate::float::mlp::Dense;
    use ndarray::{Array1, arr2};

    /// At the states that were played, nine in ten coordinates that the attack on the fitted values moves are moved to the same side.
    #[test]
    fn an_imitation_moves_as_the_attack_does() {
        let weight = arr2(&[[-0.2, -0.3, -2.0, -1.0], [0.2, 0.3, 2.0, 1.0]]);
        let layer = Dense { weight, bias: Array1::zeros(2), activation: FloatActivation::Identity };
        let (head, normaliser) = (FloatHead::Categorical, FixedNormaliser::identity(4));
        let victim = FloatPolicy { network: Mlp { layers: vec![layer] }, head, normaliser };
        let ball = Ball::equal(0.3, 4);
        let target = Target { victim: &victim, critic: None, env_id: "CartPole-v1", ball: &ball };
        let radius = WrittenNumber::parse("0.3").expect("a number");
        let plan = AttackPlan::new(AttackKind::Optimal, radius, 3, 8192);
        let start = imitation(&target, &plan, &AttackFiles::default(), &crate::progress::Silent)
            .expect("an imitation");
        let (values, states, _) =
            fit_values(&target, &plan, 8192 / SHARE, &crate::progress::Silent).expect("values");
        let mut attack = SarsaAttack::new(values, &victim, ball.clone());
        let (mut same, mut all) = (0, 0);
        for state in states.rows() {
            let mut moved = state.to_vec();
            attack.perturb(&victim, &state.to_vec(), &mut moved);
            let found = start.policy.network.forward_one(&state.to_vec());
            let pairs = moved.iter().zip(&state).zip(found).filter(|((moved, state), _)| moved != state);
            for ((moved, state), found) in pairs {
                all += 1;
                same += usize::from((moved - state) * found > 0.0);
            }
        }
        assert!(all > 1000 && same * 10 > all * 9, "{same} of {all}");
    }

    /// Corners that depend on the state's signs are learned: nine in ten coordinates have the right sign.
    #[test]
    fn corners_are_imitated() {
        let mut rng = SeededRng::new(5, 0);
        let inputs = Array2::from_shape_fn((2000, 3), |_| rng.normal());
        let wanted = inputs.mapv(|entry: f64| -entry.signum());
        let network = regress(&inputs, &wanted, 1, &crate::progress::Silent).expect("a fit");
        let found = network.forward(inputs.view());
        let pairs = found.outputs().iter().zip(&wanted);
        let right = pairs.filter(|(found, wanted)| **found * **wanted > 0.0).count();
        assert!(right > 5400, "{right} of 6000");
    }
}
