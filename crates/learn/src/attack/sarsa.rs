//! Robust Sarsa: towards the observation whose action an action-value network thinks worst at the true state.
//! Untrusted. Zhang et al. 2020, arXiv:2003.08938, appendix D; several networks, the strongest attack counts.
//! `spec/attacks.md#robust-sarsa`.

use super::ball::{Ball, STEPS};
use super::fit::{Experience, Robustness, fit, kept, play};
use super::mad::softmax;
use crate::attack::plan::{AttackError, AttackFiles, AttackPlan, Candidate, Prepared, Target};
use ndarray::Array2;

use crate::float::mlp::Mlp;
use crate::float::point::PointPass;
use crate::float::policy::FloatPolicy;
use crate::progress::Progress;
use crate::rl::evaluate::Adversary;

/// Sign descent inside the ball on `Q(s, f(s^))`, or on `sum_a softmax(f(s^))_a Q_a(s)` where actions are indices.
#[derive(Clone, Debug)]
pub struct SarsaAttack {
    values: Mlp,
    discrete: bool,
    ball: Ball,
    policy_pass: PointPass,
    value_pass: PointPass,
}

impl SarsaAttack {
    /// `values` maps states to a value for each action, or states followed by actions to one value.
    pub fn new(values: Mlp, victim: &FloatPolicy, ball: Ball) -> Self {
        let (policy_pass, value_pass) = (PointPass::default(), PointPass::default());
        let discrete = values.input_width() == victim.network.input_width();
        Self { values, discrete, ball, policy_pass, value_pass }
    }

    /// Gradient of the descended value in the policy's outputs; `centre` is the true state.
    fn pull(values: &Mlp, pass: &mut PointPass, discrete: bool, centre: &[f64], outputs: &[f64]) -> Vec<f64> {
        if discrete {
            let values = pass.forward(values, centre);
            let chances = softmax(outputs);
            let expected: f64 = chances.iter().zip(values).map(|(chance, value)| chance * value).sum();
            return chances.iter().zip(values).map(|(chance, value)| chance * (value - expected)).collect();
        }
        pass.forward(values, &[centre, outputs].concat());
        pass.backward(values, &[1.0])[centre.len()..].to_vec()
    }
}

impl Adversary for SarsaAttack {
    fn perturb(&mut self, policy: &FloatPolicy, unclipped: &[f64], input: &mut Vec<f64>) {
        let centre = input.clone();
        let room = self.ball.around(unclipped, &centre);
        for _ in 0..STEPS {
            let outputs = self.policy_pass.forward(&policy.network, input);
            let mut pull = Self::pull(&self.values, &mut self.value_pass, self.discrete, &centre, outputs);
            pull.iter_mut().for_each(|entry| *entry = -*entry);
            let slope = self.policy_pass.backward(&policy.network, &pull);
            room.climb(input, slope, STEPS);
        }
    }
}

/// Radius of the box and weight of the spread over it: around the action where actions are coordinates, around the
/// observation where they are indices (then in units of the attack's radii).
const ROBUSTNESS: [(f64, f64); 4] = [(0.0, 0.0), (0.05, 0.3), (0.1, 1.0), (0.3, 3.0)];

/// The penalty of one entry of [`ROBUSTNESS`].
fn around(played: &Experience, (radius, weight): (f64, f64), ball: &Ball) -> Robustness {
    let radius = match played.choices {
        Some(_) => ball.radii().iter().map(|own| radius * own).collect(),
        None => [vec![0.0; played.inputs.ncols()], vec![radius; played.actions.ncols()]].concat(),
    };
    Robustness { weight, radius }
}

/// Values for an adversary to start from, the third of [`ROBUSTNESS`], and the states of `steps` steps they were fitted on:
/// normalised, and row after row before the normaliser's clip.
pub(super) fn fit_values(
    target: &Target<'_>,
    plan: &AttackPlan,
    steps: usize,
    progress: &dyn Progress,
) -> Result<(Mlp, Array2<f64>, Vec<f64>), AttackError> {
    let mut unclipped = Vec::new();
    let mut visit = |row: &[f64]| unclipped.extend_from_slice(row);
    let played = play(target, steps, plan.seed_for(12), &mut visit, progress)?;
    let robustness = around(&played, ROBUSTNESS[2], target.ball);
    let settings = (plan.discount.value(), plan.seed_for(13));
    let values = fit(&played, true, Some(&robustness), settings, "values", progress)?;
    Ok((values, played.inputs, unclipped))
}

/// Fits the networks of a plan; all learn from the same experience.
pub(super) fn critics(
    target: &Target<'_>,
    plan: &AttackPlan,
    files: &AttackFiles,
    progress: &dyn Progress,
) -> Result<Prepared, AttackError> {
    let mut experience = None;
    let mut candidates = Vec::new();
    for (index, (radius, weight)) in ROBUSTNESS.into_iter().enumerate() {
        let name = format!("radius {radius}, weight {weight}");
        let phase = format!("values {}/{}", index + 1, ROBUSTNESS.len());
        let values = kept(files.checkpoints.as_deref(), &format!("values-{index}.json"), || {
            let played = match experience.take() {
                Some(played) => played,
                None => play(target, plan.training_steps, plan.seed_for(5), &mut |_| {}, progress)?,
            };
            let settings = (plan.discount.value(), plan.seed_for(6 + index as u64));
            let robustness = around(&played, (radius, weight), target.ball);
            let values = fit(&played, true, Some(&robustness), settings, &phase, progress)?;
            experience = Some(played);
            Ok(values)
        })?;
        let adversary = Box::new(SarsaAttack::new(values, target.victim, target.ball.clone()));
        candidates.push(Candidate { name, adversary });
    }
    Ok(Prepared { candidates, training_steps: plan.training_steps })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::FloatActivation;
    use crate::float::rng::SeededRng;

    /// The gradient is that of central differences of `Q(s, a)` in the action, and of the expected value in the logits.
    #[test]
    fn pulls_are_those_of_differences() {
        let mut rng = SeededRng::new(81, 0);
        let outputs = [0.3, -0.8, 1.1];
        let centre = [0.5, -0.2, 0.9, 1.4];
        for discrete in [false, true] {
            let widths = if discrete { [4, 8, 8, 3] } else { [7, 8, 8, 1] };
            let values = Mlp::orthogonal(&widths, FloatActivation::Tanh, 1.0, &mut rng);
            let value = |outputs: &[f64]| {
                if discrete {
                    let values = values.forward_one(&centre);
                    softmax(outputs).iter().zip(&values).map(|(chance, value)| chance * value).sum()
                } else {
                    values.forward_one(&[&centre, outputs].concat())[0]
                }
            };
            let found = SarsaAttack::pull(&values, &mut PointPass::default(), discrete, &centre, &outputs);
            for index in 0..3 {
                let shifted = |step: f64| {
                    let mut outputs = outputs;
                    outputs[index] += step;
                    value(&outputs)
                };
                let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                assert!((found[index] - expected).abs() < 1e-8, "{discrete} {index}");
            }
        }
    }
}
