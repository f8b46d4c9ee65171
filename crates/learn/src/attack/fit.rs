//! Values of a fixed policy learned from its own episodes by TD(0), for attacks that descend on them. Untrusted.
//! `spec/attacks.md#critics`; robust action values: Zhang et al. 2020, arXiv:2003.08938, appendix D.

use std::path::Path;

use ndarray::{Array2, Axis, Zip};
use serde::{Deserialize, Serialize};

use crate::attack::plan::{AttackError, AttackFiles, AttackPlan, Prepared, Target};
use crate::float::FloatActivation;
use crate::float::bits;
use crate::float::head::{FloatHead, largest};
use crate::float::mlp::Mlp;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::policy::input::{MAX_OWN, read_bytes};
use crate::policy::write::{create_folder, write_atomically};
use crate::progress::Progress;
use crate::rl::adam::Adam;
use crate::rl::env::{ActionSpace, Environment, EnvironmentError, make_environment};
use crate::rl::rollout::with_action;
use crate::rl::{CheckpointError, TrainError};

/// States of a minibatch.
const MINIBATCH: usize = 128;
/// Passes over the experience.
const PASSES: usize = 20;
/// Adam's step size at the start; it falls linearly to 0.
const LEARNING_RATE: f64 = 1e-3;
/// Share of a box's half width that is the deviation of a deterministic victim's exploration, and probability of a
/// uniform action in a discrete space: without any, its actions say nothing about other actions.
const EXPLORATION: f64 = 0.1;

/// Steps of the victim's own episodes in order; row `i + 1` follows row `i` unless an episode ended.
pub(super) struct Experience {
    /// Normalised observations.
    pub inputs: Array2<f64>,
    /// Coordinates before clipping, or one index.
    pub actions: Array2<f64>,
    rewards: Vec<f64>,
    ends: Vec<End>,
    /// Number of actions of a discrete space.
    pub choices: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The next row follows.
    None,
    /// Nothing follows.
    Final,
    /// Cut: what follows was not seen.
    Cut,
}

/// The victim's action with what it explores.
fn explore(victim: &FloatPolicy, space: &ActionSpace, input: &[f64], rng: &mut SeededRng) -> Vec<f64> {
    let mut action = victim.action_at_input(input, Some(rng));
    match (&victim.head, space) {
        (FloatHead::Deterministic, ActionSpace::Discrete(count)) => {
            let uniform = rng.unit() < EXPLORATION;
            vec![if uniform { rng.below(*count) } else { largest(&action) } as f64]
        }
        (FloatHead::Deterministic, ActionSpace::Continuous { lower, upper }) => {
            for (entry, (lower, upper)) in action.iter_mut().zip(lower.iter().zip(upper)) {
                *entry += EXPLORATION * 0.5 * (upper - lower).min(2.0) * rng.normal();
            }
            action
        }
        _ => action,
    }
}

/// Plays `steps` steps; `visit` sees every observation as it was before the normaliser's clip.
pub(super) fn play(
    target: &Target<'_>,
    steps: usize,
    seed: u64,
    visit: &mut dyn FnMut(&[f64]),
    progress: &dyn Progress,
) -> Result<Experience, AttackError> {
    let mut environment = make_environment(target.env_id)?;
    let victim = target.victim;
    let space = environment.action_space().clone();
    let choices = if let ActionSpace::Discrete(count) = space { Some(count) } else { None };
    check_widths(victim, environment.as_ref())?;
    let width = environment.observation_width();
    let action_width = if choices.is_some() { 1 } else { space.width() };
    let mut found = Experience {
        inputs: Array2::zeros((steps, width)),
        actions: Array2::zeros((steps, action_width)),
        rewards: Vec::with_capacity(steps),
        ends: Vec::with_capacity(steps),
        choices,
    };
    let mut rng = SeededRng::new(seed, 0);
    let mut raw = vec![0.0; width];
    environment.reset(Some(rng.next_u64()), &mut raw)?;
    for row in 0..steps {
        let unclipped = victim.normaliser.scale(&raw);
        visit(&unclipped);
        let input = victim.normaliser.clipped(&unclipped);
        let action = explore(victim, &space, &input, &mut rng);
        found.inputs.row_mut(row).iter_mut().zip(&input).for_each(|(to, from)| *to = *from);
        found.actions.row_mut(row).iter_mut().zip(&action).for_each(|(to, from)| *to = *from);
        let step = with_action(&space, &action, |action| environment.step(action, &mut raw))?;
        found.rewards.push(step.reward);
        let last = row + 1 == steps;
        found.ends.push(match (step.terminated, step.truncated || last) {
            (true, _) => End::Final,
            (false, true) => End::Cut,
            (false, false) => End::None,
        });
        if step.terminated || step.truncated {
            environment.reset(None, &mut raw)?;
        }
        if row.is_multiple_of(4096) {
            progress.advance("playing", row, steps);
            if progress.stopped() {
                return Err(AttackError::Stopped);
            }
        }
    }
    Ok(found)
}

fn check_widths(victim: &FloatPolicy, environment: &dyn Environment) -> Result<(), EnvironmentError> {
    let width = environment.observation_width();
    for (expected, found) in [
        (width, victim.network.input_width()),
        (width, victim.normaliser.mean.len()),
        (environment.action_space().width(), victim.network.output_width()),
    ] {
        if expected != found {
            return Err(EnvironmentError::Width { expected, found });
        }
    }
    Ok(())
}

impl Experience {
    /// Mean and deviation of the discounted returns from every row on, as far as they were seen.
    fn returns(&self, discount: f64) -> (f64, f64) {
        let mut after = 0.0;
        let mut returns = Vec::with_capacity(self.rewards.len());
        for (reward, end) in self.rewards.iter().zip(&self.ends).rev() {
            after = reward + if *end == End::None { discount * after } else { 0.0 };
            returns.push(after);
        }
        let count = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / count;
        let square: f64 = returns.iter().map(|value| (value - mean) * (value - mean)).sum();
        (mean, (square / count).sqrt())
    }

    /// What a network reads at every row and which of its outputs is meant: states alone, or states with actions.
    fn view(&self, of_actions: bool) -> View {
        match (of_actions, self.choices) {
            (false, _) => View { features: self.inputs.clone(), outputs: vec![0; self.rewards.len()] },
            (true, Some(_)) => {
                let outputs = self.actions.column(0).iter().map(|index| *index as usize).collect();
                View { features: self.inputs.clone(), outputs }
            }
            (true, None) => {
                let mut features = Array2::zeros((0, 0));
                if let Ok(joined) = ndarray::concatenate(Axis(1), &[self.inputs.view(), self.actions.view()])
                {
                    features = joined;
                }
                View { features, outputs: vec![0; self.rewards.len()] }
            }
        }
    }
}

/// Inputs of a value network row by row, and the output meant there.
struct View {
    features: Array2<f64>,
    outputs: Vec<usize>,
}

/// What a value network is to be, beside right.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Robustness {
    /// Weight of `mean max (Q(x^) - Q(x))^2` over the box, by interval bounds; 0 for none.
    pub weight: f64,
    /// Radius of the box in every feature.
    pub radius: Vec<f64>,
}

/// Fits a network of states (`of_actions` false) or of states and actions, tanh 64-64, to scaled rewards.
pub(super) fn fit(
    experience: &Experience,
    of_actions: bool,
    robustness: Option<&Robustness>,
    (discount, seed): (f64, u64),
    phase: &str,
    progress: &dyn Progress,
) -> Result<Mlp, AttackError> {
    let view = experience.view(of_actions);
    let outputs = if of_actions { experience.choices.unwrap_or(1) } else { 1 };
    let (mean, deviation) = experience.returns(discount);
    let scale = 1.0 / deviation.max(1e-8);
    let mut rng = SeededRng::new(seed, 0);
    let widths = [view.features.ncols(), 64, 64, outputs];
    let mut network = Mlp::orthogonal(&widths, FloatActivation::Tanh, 1.0, &mut rng);
    if let Some(last) = network.layers.last_mut() {
        last.bias.fill(mean * scale);
    }
    let rows = (0..experience.rewards.len()).filter(|row| experience.ends[*row] != End::Cut).collect();
    descend(&mut network, rows, &mut rng, (phase, progress), |network, chosen| {
        let batch = Transitions::select(experience, &view, chosen, scale);
        temporal_difference(network, &batch, robustness, discount).1
    })?;
    if network.parameters().all(|entry| entry.is_finite()) {
        Ok(network)
    } else {
        Err(TrainError::Diverged { global_step: experience.rewards.len() }.into())
    }
}

/// Adam on minibatches of `rows`, in an order of its own in each of [`PASSES`] passes.
pub(super) fn descend(
    network: &mut Mlp,
    mut rows: Vec<usize>,
    rng: &mut SeededRng,
    (phase, progress): (&str, &dyn Progress),
    gradient: impl Fn(&Mlp, &[usize]) -> Mlp,
) -> Result<(), AttackError> {
    let mut adam = Adam::new(network.parameters().count());
    let updates = PASSES * rows.len().div_ceil(MINIBATCH);
    let mut done = 0;
    for _ in 0..PASSES {
        rng.shuffle(&mut rows);
        for chosen in rows.chunks(MINIBATCH) {
            let gradient = gradient(network, chosen);
            let rate = LEARNING_RATE * (1.0 - done as f64 / updates as f64);
            adam.step(network.parameters_mut(), gradient.parameters(), 1.0, rate);
            done += 1;
        }
        progress.advance(phase, done, updates);
        if progress.stopped() {
            return Err(AttackError::Stopped);
        }
    }
    Ok(())
}

/// Some rows with what follows them.
struct Transitions {
    features: Array2<f64>,
    outputs: Vec<usize>,
    rewards: Vec<f64>,
    next: Array2<f64>,
    next_outputs: Vec<usize>,
    goes_on: Vec<bool>,
}

impl Transitions {
    fn select(experience: &Experience, view: &View, rows: &[usize], scale: f64) -> Self {
        let goes_on: Vec<bool> = rows.iter().map(|row| experience.ends[*row] == End::None).collect();
        // What follows a final row is not read.
        let next: Vec<usize> = rows.iter().zip(&goes_on).map(|(row, on)| row + usize::from(*on)).collect();
        Self {
            features: view.features.select(Axis(0), rows),
            outputs: rows.iter().map(|row| view.outputs[*row]).collect(),
            rewards: rows.iter().map(|row| experience.rewards[*row] * scale).collect(),
            next: view.features.select(Axis(0), &next),
            next_outputs: next.iter().map(|row| view.outputs[*row]).collect(),
            goes_on,
        }
    }
}

/// `mean (Q(x) - r - g Q(x'))^2 / 2`, the target held fixed, plus the robustness term; and its gradient.
fn temporal_difference(
    network: &Mlp,
    batch: &Transitions,
    robustness: Option<&Robustness>,
    discount: f64,
) -> (f64, Mlp) {
    let next = network.forward(batch.next.view());
    let tape = network.forward(batch.features.view());
    let count = batch.rewards.len() as f64;
    let mut gradient = network.zeros_like();
    let mut pull = Array2::zeros(tape.outputs().raw_dim());
    let mut loss = 0.0;
    for (row, output) in batch.outputs.iter().enumerate() {
        let after = if batch.goes_on[row] { next.outputs()[[row, batch.next_outputs[row]]] } else { 0.0 };
        let error = tape.outputs()[[row, *output]] - batch.rewards[row] - discount * after;
        loss += 0.5 * error * error / count;
        pull[[row, *output]] = error / count;
    }
    if let Some(robustness) = robustness.filter(|robustness| robustness.weight > 0.0) {
        loss += spread(network, batch, tape.outputs(), robustness, &mut pull, &mut gradient);
    }
    network.backward(&tape, &pull, &mut gradient);
    (loss, gradient)
}

/// `weight mean max (Q(x^) - Q(x))^2` by interval bounds, over the box and summed over outputs. Its gradient in the clean
/// outputs is added to `pull`, the rest to `gradient`.
fn spread(
    network: &Mlp,
    batch: &Transitions,
    clean: &Array2<f64>,
    robustness: &Robustness,
    pull: &mut Array2<f64>,
    gradient: &mut Mlp,
) -> f64 {
    let mut radius = Array2::zeros(batch.features.raw_dim());
    for mut row in radius.rows_mut() {
        row.iter_mut().zip(&robustness.radius).for_each(|(to, from)| *to = *from);
    }
    let boxes = network.forward_box(batch.features.view(), radius.view());
    let weight = robustness.weight / clean.nrows() as f64;
    let (mut lower, mut upper) = (Array2::zeros(clean.raw_dim()), Array2::zeros(clean.raw_dim()));
    let mut value = 0.0;
    Zip::indexed(clean).for_each(|at, centre| {
        let (down, up) = (centre - boxes.lower()[at], boxes.upper()[at] - centre);
        let reach = up.max(down);
        value += weight * reach * reach;
        if up >= down {
            upper[at] = 2.0 * weight * up;
            pull[at] -= 2.0 * weight * up;
        } else {
            lower[at] = -2.0 * weight * down;
            pull[at] += 2.0 * weight * down;
        }
    });
    network.backward_box(&boxes, &lower, &upper, gradient);
    value
}

/// Parameters of a fitted network as its file holds them; the shape is that of the plan.
#[derive(Serialize, Deserialize)]
struct SavedValues {
    format: String,
    #[serde(with = "bits")]
    parameters: Vec<f64>,
    widths: [usize; 2],
}

const FORMAT: &str = "secateur.attack-values/1";

/// A fitted network from `folder/name`, or `make` and write it there: a stopped attack loses one fit at most.
pub(super) fn kept(
    folder: Option<&Path>,
    name: &str,
    make: impl FnOnce() -> Result<Mlp, AttackError>,
) -> Result<Mlp, AttackError> {
    let Some(folder) = folder else { return make() };
    let path = folder.join(name);
    let stored =
        read_bytes(&path, MAX_OWN).ok().and_then(|bytes| serde_json::from_slice::<SavedValues>(&bytes).ok());
    if let Some(network) = stored.and_then(restore) {
        return Ok(network);
    }
    let network = make()?;
    let saved = SavedValues {
        format: FORMAT.to_owned(),
        parameters: network.parameters().copied().collect(),
        widths: [network.input_width(), network.output_width()],
    };
    let failed = |error: std::io::Error| {
        AttackError::Train(CheckpointError::File { path: path.display().to_string(), source: error }.into())
    };
    let bytes = serde_json::to_vec(&saved).map_err(|error| failed(error.into()))?;
    create_folder(folder).map_err(|error| failed(error.source))?;
    write_atomically(&path, &bytes).map_err(|error| failed(error.source))?;
    Ok(network)
}

fn restore(saved: SavedValues) -> Option<Mlp> {
    let [inputs, outputs] = saved.widths;
    let fits = (1..=4096).contains(&inputs) && (1..=4096).contains(&outputs) && saved.format == FORMAT;
    let mut rng = SeededRng::new(0, 0);
    let mut network =
        fits.then(|| Mlp::orthogonal(&[inputs, 64, 64, outputs], FloatActivation::Tanh, 1.0, &mut rng))?;
    if network.parameters().count() != saved.parameters.len() {
        return None;
    }
    network.parameters_mut().zip(&saved.parameters).for_each(|(to, from)| *to = *from);
    Some(network)
}

/// The critic attack against a victim without critic: its values are fitted first.
pub(super) fn critics(
    target: &Target<'_>,
    plan: &AttackPlan,
    files: &AttackFiles,
    progress: &dyn Progress,
) -> Result<Prepared, AttackError> {
    let critic = kept(files.checkpoints.as_deref(), "critic.json", || {
        let experience = play(target, plan.training_steps, plan.seed_for(3), &mut |_| {}, progress)?;
        let settings = (plan.discount.value(), plan.seed_for(4));
        fit(&experience, false, None, settings, "fitting values", progress)
    })?;
    let candidates = super::critic::candidates(&critic, "fitted critic", target.ball);
    Ok(Prepared { candidates, training_steps: plan.training_steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six rows of random numbers, of which every third is final.
    fn batch(width: usize, outputs: usize, rng: &mut SeededRng) -> Transitions {
        let rows = 6;
        Transitions {
            features: Array2::from_shape_fn((rows, width), |_| rng.normal()),
            outputs: (0..rows).map(|row| row % outputs).collect(),
            rewards: (0..rows).map(|_| rng.normal()).collect(),
            next: Array2::from_shape_fn((rows, width), |_| rng.normal()),
            next_outputs: (0..rows).map(|row| (row + 1) % outputs).collect(),
            goes_on: (0..rows).map(|row| row % 3 != 0).collect(),
        }
    }

    /// The gradient is that of central differences of the loss with the target held at the network given.
    #[test]
    fn gradient_is_that_of_differences() {
        for outputs in [1, 3] {
            let mut rng = SeededRng::new(71, 0);
            let network = Mlp::orthogonal(&[4, 8, 8, outputs], FloatActivation::Tanh, 1.0, &mut rng);
            let batch = batch(4, outputs, &mut rng);
            let robustness = Robustness { weight: 0.7, radius: vec![0.0, 0.1, 0.2, 0.3] };
            let (_, gradient) = temporal_difference(&network, &batch, Some(&robustness), 0.9);
            // With the targets as rewards of final rows nothing else depends on the network.
            let next = network.forward(batch.next.view());
            let target = |row: usize| {
                let after = next.outputs()[[row, batch.next_outputs[row]]];
                batch.rewards[row] + if batch.goes_on[row] { 0.9 * after } else { 0.0 }
            };
            let fixed = Transitions {
                rewards: (0..6).map(target).collect(),
                goes_on: vec![false; 6],
                features: batch.features.clone(),
                outputs: batch.outputs.clone(),
                next: batch.next.clone(),
                next_outputs: batch.next_outputs.clone(),
            };
            for (index, found) in gradient.parameters().enumerate() {
                let shifted = |step: f64| {
                    let mut network = network.clone();
                    *network.parameters_mut().nth(index).expect("in range") += step;
                    temporal_difference(&network, &fixed, Some(&robustness), 0.9).0
                };
                let expected = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((found - expected).abs() < 1e-8, "{index}: {found} and {expected}");
            }
        }
    }

    /// Rewards 1, 2 | 4 with a final end after the second row and a cut at the last, discount 1/2: returns 2, 2, 4;
    /// mean 8/3, variance 8/9.
    #[test]
    fn returns_by_hand() {
        let experience = Experience {
            inputs: Array2::zeros((3, 1)),
            actions: Array2::zeros((3, 1)),
            rewards: vec![1.0, 2.0, 4.0],
            ends: vec![End::None, End::Final, End::Cut],
            choices: None,
        };
        let (mean, deviation) = experience.returns(0.5);
        assert!((mean - 8.0 / 3.0).abs() < 1e-15 && (deviation - (8.0f64 / 9.0).sqrt()).abs() < 1e-15);
    }

    /// A two-state episode 0 -> 1 -> end with rewards 1 and 3, discount 1/2: V(1) = 3, V(0) = 1 + 3/2; the fit is of
    /// values divided by the deviation of the returns, 1/4.
    #[test]
    fn values_of_a_chain() {
        let count = 4000;
        let experience = Experience {
            inputs: Array2::from_shape_fn((count, 1), |(row, _)| (row % 2) as f64),
            actions: Array2::zeros((count, 1)),
            rewards: (0..count).map(|row| if row % 2 == 0 { 1.0 } else { 3.0 }).collect(),
            ends: (0..count).map(|row| if row % 2 == 0 { End::None } else { End::Final }).collect(),
            choices: None,
        };
        let network = fit(&experience, false, None, (0.5, 1), "", &crate::progress::Silent).expect("a fit");
        let values = [0.0, 1.0].map(|state| network.forward_one(&[state])[0] * 0.25);
        assert!((values[0] - 2.5).abs() < 0.01 && (values[1] - 3.0).abs() < 0.01, "{values:?}");
    }

    /// What was written is read back; anything else is fitted again.
    #[test]
    fn fits_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = |seed| {
            Ok(Mlp::orthogonal(&[3, 64, 64, 2], FloatActivation::Tanh, 1.0, &mut SeededRng::new(seed, 0)))
        };
        let first = kept(Some(folder.path()), "a.json", || made(1)).expect("made");
        let second = kept(Some(folder.path()), "a.json", || made(2)).expect("read");
        assert_eq!(first, second);
        std::fs::write(folder.path().join("a.json"), b"{}").expect("written");
        let third = kept(Some(folder.path()), "a.json", || made(2)).expect("made again");
        assert_ne!(first, third);
    }
}
