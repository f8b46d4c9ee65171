//! Points of a state's ball at which the policy does something as different as it can: what rule `counterexample.point`
//! turns into lower bounds. Untrusted; the checker evaluates every point again. `spec/certificate-bracket.md`.
//!
//! Corners, linearised corners and signed gradient steps, all in `f64`; what is returned lies in the ball exactly.

mod ball;

use secateur_checker::evaluate::Problem;
use secateur_checker::kernel::input::read_observation;
use secateur_checker::model::{Head, PerturbationSet, Units};
use secateur_checker::number::Rational;
use secateur_policy::policy::before_normaliser;

use crate::float::head::FloatHead;
use crate::float::mlp::{Dense, Mlp};
use crate::float::point::PointPass;
use crate::float::rng::SeededRng;
use crate::float::{FloatError, FloatNetwork, dyadic_to_float, rational_to_float};

pub use ball::FloatBall;

/// Up to this many inputs every corner of a box is a start.
const ALL_CORNERS: usize = 4;
/// Random corners otherwise.
const RANDOM_STARTS: usize = 4;
/// The best starts go on by gradient steps.
const ASCENTS: usize = 3;
/// Gradient steps from each.
const STEPS: usize = 8;
/// Up to this many inputs each coordinate of the best point of a box is tried at both ends.
const FLIPPED: usize = 64;

/// How one coordinate of an offset reaches the network: `clip((origin + offset - mean) / std)`, or `origin + offset`.
#[derive(Clone, Copy)]
struct Lens {
    origin: f64,
    normaliser: Option<(f64, f64)>,
    clip: f64,
}

impl Lens {
    /// The input read at this offset and its derivative.
    fn read(self, offset: f64) -> (f64, f64) {
        let point = self.origin + offset;
        let Some((mean, std)) = self.normaliser else { return (point, 1.0) };
        let seen = (point - mean) / std;
        if seen.abs() < self.clip { (seen, 1.0 / std) } else { (seen.clamp(-self.clip, self.clip), 0.0) }
    }

    /// An offset at which this input is read, if it is one that the clip leaves.
    fn offset(self, read: f64) -> f64 {
        self.normaliser.map_or(read, |(mean, std)| read * std + mean) - self.origin
    }
}

/// What a point is to change as much as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointAim {
    /// The action distribution, or without one the largest output's change.
    Action,
    /// The largest output's change, whatever the head.
    Deviation,
    /// The preferred output: how far another one passes it.
    Preference,
}

/// The search under one mask, for every state of a problem.
pub struct PointSearch<'a> {
    problem: &'a Problem<'a>,
    network: Mlp,
    head: FloatHead,
    aim: PointAim,
    stream: u64,
}

/// What the search holds at one state.
struct AtState<'a> {
    search: &'a PointSearch<'a>,
    /// Of this state, where that matters.
    ball: FloatBall,
    lenses: Vec<Lens>,
    clean: Vec<f64>,
    pass: PointPass,
    input: Vec<f64>,
    slopes: Vec<f64>,
}

impl<'a> PointSearch<'a> {
    /// Lowers the policy under mask `mask` to floats.
    ///
    /// # Errors
    /// [`FloatError`].
    pub fn new(problem: &'a Problem<'a>, mask: usize) -> Result<Self, FloatError> {
        Self::with_aim(problem, mask, PointAim::Action)
    }

    /// The same for another aim.
    ///
    /// # Errors
    /// [`FloatError`].
    pub fn with_aim(problem: &'a Problem<'a>, mask: usize, aim: PointAim) -> Result<Self, FloatError> {
        let network = FloatNetwork::from_model(&problem.policy.network, problem.masks.get(mask))?;
        let head = match &problem.policy.head {
            _ if aim != PointAim::Action => FloatHead::Deterministic,
            Head::Gaussian { log_std } => {
                FloatHead::Gaussian { log_std: log_std.iter().map(|d| dyadic_to_float(*d)).collect() }
            }
            Head::Categorical => FloatHead::Categorical,
            Head::Deterministic => FloatHead::Deterministic,
        };
        let stream = mask.saturating_mul(problem.states.values.rows) as u64;
        Ok(Self { problem, network: lower(&network), head, aim, stream })
    }

    /// The offset from state `state` of the best point found; it lies in the ball exactly.
    pub fn search(&self, state: usize) -> Vec<f64> {
        self.search_in(state, self.problem.perturbation)
    }

    /// The same in another set of the same units.
    pub fn search_in(&self, state: usize, set: &PerturbationSet) -> Vec<f64> {
        let Some(mut at) = self.at(state, set) else {
            return vec![0.0; self.problem.policy.network.inputs()];
        };
        let found = at.best(&mut SeededRng::new(0, self.stream + state as u64));
        at.ball.inside(found)
    }

    fn at(&self, state: usize, set: &PerturbationSet) -> Option<AtState<'_>> {
        let width = self.problem.policy.network.inputs();
        let lenses = (0..width).map(|j| self.lens(state, j)).collect::<Option<Vec<Lens>>>()?;
        let (ball, pass) = (self.ball(state, set), PointPass::default());
        let (clean, input, slopes) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = AtState { search: self, ball, lenses, clean, pass, input, slopes };
        at.clean = at.outputs(&vec![0.0; width]);
        Some(at)
    }

    /// What the network reads at an offset from state `state`.
    pub fn read(&self, state: usize, offset: &[f64]) -> Vec<f64> {
        let lenses = offset.iter().enumerate().map(|(j, offset)| Some((self.lens(state, j)?, *offset)));
        lenses.map(|lens| lens.map_or(0.0, |(lens, offset)| lens.read(offset).0)).collect()
    }

    /// The better of the offset `known` and of what gradient steps make of the point at which the network reads `input`.
    pub fn search_from(&self, state: usize, known: Vec<f64>, input: &[f64]) -> Vec<f64> {
        let Some(mut at) = self.at(state, self.problem.perturbation) else { return known };
        let start = at.lenses.iter().zip(input).map(|(lens, read)| lens.offset(*read)).collect();
        let start = at.ball.inside(start);
        at.best_of(known, vec![start])
    }

    /// The better of the offset `known` and of what steps from every start lead to, of which [`Self::search`] takes a few
    /// from the best ones.
    pub fn search_everywhere(&self, state: usize, known: Vec<f64>) -> Vec<f64> {
        let Some(mut at) = self.at(state, self.problem.perturbation) else { return known };
        let starts = at.starts(&mut SeededRng::new(1, self.stream + state as u64));
        at.best_of(known, starts)
    }

    /// The offsets that a set of the perturbation's units has at a state.
    pub fn ball(&self, state: usize, set: &PerturbationSet) -> FloatBall {
        let own = self.base(state).and_then(|base| FloatBall::around(set, &base));
        own.unwrap_or_else(|| FloatBall::new(set, self.problem.policy.network.inputs()))
    }

    /// A state in the units of the perturbation, exactly.
    fn base(&self, state: usize) -> Option<Vec<Rational>> {
        let Problem { policy, states, perturbation, .. } = self.problem;
        let row = states.values.values.chunks(states.values.columns.max(1)).nth(state)?;
        let row: Vec<Rational> = row.iter().map(|x| x.to_rational()).collect();
        let Some(normaliser) = &policy.normaliser else { return Some(row) };
        match (perturbation.units, states.units) {
            (Units::Raw, Units::Normalised) => Some(before_normaliser(normaliser, &row)),
            (Units::Normalised, Units::Raw) => read_observation(Some(normaliser), &row).ok(),
            (Units::Raw, Units::Raw) | (Units::Normalised, Units::Normalised) => Some(row),
        }
    }

    fn lens(&self, state: usize, coordinate: usize) -> Option<Lens> {
        let Problem { policy, states, perturbation, .. } = self.problem;
        let value = dyadic_to_float(*states.values.values.get(state * states.values.columns + coordinate)?);
        let plain = Lens { origin: value, normaliser: None, clip: f64::INFINITY };
        let Some(normaliser) = &policy.normaliser else { return Some(plain) };
        let mean = dyadic_to_float(*normaliser.mean.get(coordinate)?);
        let std = rational_to_float(normaliser.std.get(coordinate)?);
        let clip = normaliser.clip.as_ref().map_or(f64::INFINITY, rational_to_float);
        let raw = if states.units == Units::Raw { value } else { value * std + mean };
        let lens = Lens { origin: raw, normaliser: Some((mean, std)), clip };
        Some(match (perturbation.units, states.units) {
            (Units::Raw, _) => lens,
            (Units::Normalised, Units::Normalised) => plain,
            (Units::Normalised, Units::Raw) => Lens { origin: lens.read(0.0).0, ..plain },
        })
    }
}

/// The same network in the shape that [`PointPass`] runs.
fn lower(network: &FloatNetwork) -> Mlp {
    let layers = network.layers.iter().map(|layer| {
        let rows = layer.weight.chunks_exact(layer.inputs);
        let mut weight = ndarray::Array2::zeros((layer.outputs, layer.inputs));
        for (mut target, row) in weight.rows_mut().into_iter().zip(rows) {
            target.iter_mut().zip(row).for_each(|(t, w)| *t = *w);
        }
        Dense { weight, bias: layer.bias.iter().copied().collect(), activation: layer.activation }
    });
    Mlp { layers: layers.collect() }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

impl AtState<'_> {
    fn outputs(&mut self, offset: &[f64]) -> Vec<f64> {
        self.input.clear();
        self.slopes.clear();
        for (lens, offset) in self.lenses.iter().zip(offset) {
            let (read, slope) = lens.read(*offset);
            self.input.push(read);
            self.slopes.push(slope);
        }
        self.pass.forward(&self.search.network, &self.input).to_vec()
    }

    /// Gradient in the offset at the point last read.
    fn pull(&mut self, outputs: &[f64]) -> Vec<f64> {
        let inputs = self.pass.backward(&self.search.network, outputs);
        inputs.iter().zip(&self.slopes).map(|(gradient, slope)| gradient * slope).collect()
    }

    /// The output that is preferred at the state, and the greatest of the others among `outputs`; the same one where there
    /// is no other.
    fn rivals(&self, outputs: &[f64]) -> (usize, usize) {
        let greatest = |of: &[f64], but: Option<usize>| {
            let others = of.iter().enumerate().filter(|(output, _)| Some(*output) != but);
            others.max_by(|a, b| a.1.total_cmp(b.1)).map(|(output, _)| output)
        };
        let preferred = greatest(&self.clean, None).unwrap_or(0);
        (preferred, greatest(outputs, Some(preferred)).unwrap_or(preferred))
    }

    /// What is maximised: the squared standardised distance, the total variation, the largest deviation, or what
    /// the preferred output loses of its lead.
    fn value(&self, outputs: &[f64]) -> f64 {
        let changes = outputs.iter().zip(&self.clean).map(|(moved, clean)| moved - clean);
        match &self.search.head {
            FloatHead::Gaussian { log_std } => {
                changes.zip(log_std).map(|(change, log_std)| (change * (-log_std).exp()).powi(2)).sum()
            }
            FloatHead::Categorical => {
                let (moved, clean) = (softmax(outputs), softmax(&self.clean));
                moved.iter().zip(&clean).map(|(moved, clean)| (moved - clean).max(0.0)).sum()
            }
            FloatHead::Deterministic if self.search.aim == PointAim::Preference => {
                let (preferred, rival) = self.rivals(outputs);
                let lead = outputs[rival] - outputs[preferred];
                let (_, before) = self.rivals(&self.clean);
                lead - (self.clean[before] - self.clean[preferred])
            }
            FloatHead::Deterministic => changes.fold(0.0, |most, change| change.abs().max(most)),
        }
    }

    /// Its gradient in the outputs.
    fn gradient(&self, outputs: &[f64]) -> Vec<f64> {
        let changes: Vec<f64> = outputs.iter().zip(&self.clean).map(|(moved, clean)| moved - clean).collect();
        match &self.search.head {
            FloatHead::Gaussian { log_std } => {
                changes.iter().zip(log_std).map(|(change, log_std)| change * (-2.0 * log_std).exp()).collect()
            }
            FloatHead::Categorical => {
                let (moved, clean) = (softmax(outputs), softmax(&self.clean));
                let grown: Vec<f64> =
                    moved.iter().zip(&clean).map(|(m, c)| f64::from(u8::from(m > c))).collect();
                let mean: f64 = grown.iter().zip(&moved).map(|(grown, moved)| grown * moved).sum();
                grown.iter().zip(&moved).map(|(grown, moved)| moved * (grown - mean)).collect()
            }
            FloatHead::Deterministic if self.search.aim == PointAim::Preference => {
                let (preferred, rival) = self.rivals(outputs);
                let entry =
                    |other| f64::from(u8::from(other == rival)) - f64::from(u8::from(other == preferred));
                (0..outputs.len()).map(entry).collect()
            }
            FloatHead::Deterministic => {
                let most = changes.iter().fold(0.0f64, |most, change| change.abs().max(most));
                changes.iter().map(|c| if c.abs() == most { c.signum() } else { 0.0 }).collect()
            }
        }
    }

    /// What the starts raise and lower: each output, or each action's probability.
    fn directions(&self) -> Vec<Vec<f64>> {
        let probabilities = softmax(&self.clean);
        let count = self.clean.len();
        let entry = |chosen: usize, other: usize| {
            let own = f64::from(u8::from(chosen == other));
            match self.search.head {
                FloatHead::Categorical => probabilities[chosen] * (own - probabilities[other]),
                _ => own,
            }
        };
        (0..count).map(|chosen| (0..count).map(|other| entry(chosen, other)).collect()).collect()
    }

    fn starts(&mut self, rng: &mut SeededRng) -> Vec<Vec<f64>> {
        let width = self.lenses.len();
        let ball = &self.ball;
        let mut starts = Vec::new();
        let corner = |bits: &dyn Fn(usize) -> bool| {
            let signs: Vec<f64> = (0..width).map(|j| if bits(j) { 1.0 } else { -1.0 }).collect();
            ball.farthest(&signs)
        };
        if width <= ALL_CORNERS {
            starts.extend((0..1usize << width).map(|corners| corner(&|j| corners >> j & 1 == 1)));
        } else {
            starts.push(corner(&|_| true));
            starts.push(corner(&|_| false));
            for _ in 0..RANDOM_STARTS {
                let signs: Vec<bool> = (0..width).map(|_| rng.next_u64() >> 63 == 1).collect();
                starts.push(corner(&|j| signs[j]));
            }
        }
        for direction in self.directions() {
            self.outputs(&vec![0.0; width]);
            let slope = self.pull(&direction);
            let against: Vec<f64> = slope.iter().map(|s| -s).collect();
            starts.push(self.ball.farthest(&slope));
            starts.push(self.ball.farthest(&against));
        }
        starts
    }

    fn best(&mut self, rng: &mut SeededRng) -> Vec<f64> {
        let mut ranked: Vec<(f64, Vec<f64>)> = Vec::new();
        for start in self.starts(rng) {
            let outputs = self.outputs(&start);
            let value = self.value(&outputs);
            if value.is_finite() && !ranked.iter().any(|(_, other)| *other == start) {
                ranked.push((value, start));
            }
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.truncate(ASCENTS);
        let mut best = (0.0, vec![0.0; self.lenses.len()]);
        for start in ranked {
            let found = self.ascend(start);
            if found.0 > best.0 {
                best = found;
            }
        }
        self.flip(best).1
    }

    fn valued(&mut self, offset: Vec<f64>) -> (f64, Vec<f64>) {
        let outputs = self.outputs(&offset);
        (self.value(&outputs), offset)
    }

    /// The best of the offset `known` and of what each start leads to when it takes steps for as long as they gain.
    fn best_of(&mut self, known: Vec<f64>, starts: Vec<Vec<f64>>) -> Vec<f64> {
        let known = self.valued(known);
        let mut best = known.clone();
        for start in starts {
            let mut found = self.valued(start);
            loop {
                let before = found.0;
                found = self.ascend(found);
                if found.0.is_nan() || found.0 <= before {
                    break;
                }
            }
            if found.0 > best.0 {
                best = found;
            }
        }
        let found = self.flip(best);
        let inside = self.ball.inside(found.1);
        let found = self.valued(inside);
        if found.0 > known.0 { found.1 } else { known.1 }
    }

    /// Steps towards the point of the ball that is farthest along the gradient; halved while they lose.
    fn ascend(&mut self, (mut value, mut point): (f64, Vec<f64>)) -> (f64, Vec<f64>) {
        for _ in 0..STEPS {
            let outputs = self.outputs(&point);
            let gradient = self.gradient(&outputs);
            let slope = self.pull(&gradient);
            let ahead = self.ball.farthest(&slope);
            let mut step = 1.0;
            let gained = (0..4).find_map(|_| {
                let moved: Vec<f64> = point.iter().zip(&ahead).map(|(p, a)| p + step * (a - p)).collect();
                step *= 0.5;
                let outputs = self.outputs(&moved);
                let found = self.value(&outputs);
                (found > value).then_some((found, moved))
            });
            match gained {
                Some(gained) => (value, point) = gained,
                None => break,
            }
        }
        (value, point)
    }

    /// Each coordinate of a box at either end.
    fn flip(&mut self, (mut value, mut point): (f64, Vec<f64>)) -> (f64, Vec<f64>) {
        let width = point.len();
        if width > FLIPPED {
            return (value, point);
        }
        for coordinate in 0..width {
            let Some(end) = self.ball.end(coordinate) else { break };
            for end in [-end, end] {
                let kept = point[coordinate];
                point[coordinate] = end;
                let outputs = self.outputs(&point);
                let found = self.value(&outputs);
                if found > value {
                    value = found;
                } else {
                    point[coordinate] = kept;
                }
            }
        }
        (value, point)
    }
}
