//! Branch and bound over signs of ReLUs for cases of one box and many inputs: bounds of hidden layers are those of the whole box
//! in every region, so that a region costs one backward pass a step. Untrusted. `spec/rules/split.md#splitkept`.
//!
//! The regions with the lowest bounds are next, sixteen at a time side by side, whatever their case. What is found does not
//! depend on the number of threads: a round bounds a fixed number of regions and takes them in order.
//!
//! # References
//! Wang et al. 2021, arXiv:2103.06624 (multipliers); Barahona and Anbil 2000, Mathematical Programming 87, 385-399 (means of
//! what attains a bound as an answer to the relaxed problem).

use std::collections::HashMap;
use std::rc::Rc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use secateur_checker::kernel::split::Case;
use secateur_checker::number::Rational;

use super::lanes::{Descend, Lanes, Objective, Optimise, Whole};
use super::problem::{BranchOptions, BranchProblem};
use super::tree::{Cut, Place, SplitLeaf, SplitNode};
use super::{BranchState, GivenNumbers, Open};
use crate::bound::kernel::{Lane, PANEL, dispatch};
use crate::bound::{FloatBounds, FloatRegion};
use crate::float::{FloatActivation, FloatNetwork};
use crate::search::slopes::{SlopeOptions, search_slopes};

/// Panels of regions in a round.
const PANELS: usize = 4;
/// Gradient steps in a region that begins anew, and in one that begins where its parent ended.
const ROOT_STEPS: usize = 100;
const STEPS: usize = 16;
/// First steps of slopes and multipliers, and the factor from step to step.
const ROOT_RATE: (f64, f64) = (0.25, 0.25);
const RATE: (f64, f64) = (0.1, 0.25);
const ROOT_DECAY: f64 = 0.97;
const DECAY: f64 = 0.92;
/// Gradient steps for the bounds of hidden layers over the whole box, the first of them and the factor from step to step.
const HIDDEN_STEPS: usize = 20;
const HIDDEN_RATE: f64 = 0.5;
const HIDDEN_DECAY: f64 = 0.9;
/// Steps in which multipliers, and slopes that are a leaf's own, are moved on with slopes as they are stored, and the first of the latter.
const POLISH_STEPS: usize = 16;
const POLISH_RATE: f64 = 0.05;
/// Steps down from each point of an attack, and attacks on a case that is open at the root.
const ATTACK_STEPS: usize = 40;
const ATTACKS: usize = 3;
/// Rounds between two attacks from where bounds are attained.
const ATTACK_EVERY: u64 = 16;
/// Cuts between nodes whose slopes are noted for the leaves below.
const NOTED: usize = 3;
/// A slope is stored in so many parts of 1.
pub const SLOPE_PARTS: u8 = 16;
/// A multiplier is stored in so many parts of 1.
const MULTIPLIER_PARTS: f64 = 65_536.0;
/// Largest multiplier that is stored.
const MOST_MULTIPLIER: f64 = 1e9;

/// Slopes of lines below ReLUs in parts of [`SLOPE_PARTS`]: per layer and neuron.
pub type StoredSlopes = Vec<Vec<u8>>;

/// What became of the cases.
#[derive(Clone, Debug, PartialEq)]
pub enum Neurons {
    /// Every case's tree, in its state, is closed.
    Verified,
    /// This point satisfies this case.
    Falsified {
        /// Which, from 0.
        case: usize,
        /// The point, in what the network reads.
        point: Vec<Rational>,
    },
    /// The budget is used up.
    Unknown {
        /// In every region left open its constraint is at least this.
        best_bound: f64,
    },
}

/// Whether the search is made for the network and the cases: hidden layers of ReLUs, one constraint each.
pub fn is_for(network: &FloatNetwork, cases: &[Case]) -> bool {
    let Some((last, hidden)) = network.layers.split_last() else { return false };
    let relus = !hidden.is_empty() && hidden.iter().all(|l| l.activation == FloatActivation::Relu);
    relus && last.activation == FloatActivation::Identity && cases.iter().all(|c| c.constraints.len() == 1)
}

/// Rows of slopes for the bounds of every hidden layer over the box: by layer, neuron and side (below, above).
pub fn search_rows(network: &FloatNetwork, case: &Case) -> Vec<Vec<[StoredSlopes; 2]>> {
    let problem = BranchProblem::new(network, case);
    let region = FloatRegion::between(&problem.lower, &problem.upper);
    let options =
        SlopeOptions { hidden_steps: HIDDEN_STEPS, output_steps: 0, rate: HIDDEN_RATE, decay: HIDDEN_DECAY };
    let found = search_slopes(network, &region, &options).witness;
    let hidden = network.layers.len() - 1;
    let mut rows: Vec<Vec<[StoredSlopes; 2]>> = network.layers[..hidden]
        .iter()
        .map(|layer| vec![<[StoredSlopes; 2]>::default(); layer.outputs])
        .collect();
    rows[0].clear();
    for target in found.targets.iter().filter(|target| target.target < hidden) {
        let stride = target.columns.len();
        for (place, column) in target.columns.iter().enumerate() {
            let of_layer =
                |table: &Vec<f64>| table.iter().skip(place).step_by(stride).map(|s| stored(*s)).collect();
            rows[target.target][column.row as usize][usize::from(column.upper)] =
                target.lower_slope.iter().map(of_layer).collect();
        }
    }
    rows
}

/// A slope in parts.
fn stored(slope: f64) -> u8 {
    (slope * f64::from(SLOPE_PARTS)).round().clamp(0.0, f64::from(SLOPE_PARTS)) as u8
}

/// Where a region's numbers begin: slopes of all open neurons, multipliers of its signs.
struct Warm {
    slopes: Vec<f32>,
    multipliers: Vec<f32>,
    /// Noted slopes that its leaves may share.
    noted: Option<u32>,
    /// Whether it is the same region, which no cut helps any more: it is given as many steps as the root.
    again: bool,
}

/// The region of a lane.
struct Job {
    case: usize,
    open: Open,
    place: Place,
    warm: Option<Rc<Warm>>,
}

/// The same for another thread.
struct Sent<'a> {
    case: usize,
    place: &'a Place,
    warm: Option<&'a Warm>,
    noted: Option<&'a StoredSlopes>,
    /// Whether what it was cut from had a bound that was high enough, and was not proved once rounded.
    above: bool,
}

/// What became of a region.
enum Found {
    Closed {
        own: Option<StoredSlopes>,
        multipliers: Vec<u32>,
    },
    /// The bound, how to cut, where its children begin.
    Cut {
        bound: f64,
        cut: Option<Cut>,
        warm: Warm,
        slopes: StoredSlopes,
    },
}

/// A case, and where it seems to hold.
type Met = (usize, Vec<f64>);

struct Search<'a> {
    whole: Whole<'a>,
    problems: Vec<BranchProblem<'a>>,
    /// What a bound has to exceed, per case.
    enough: Vec<f64>,
    seed: u64,
    max_steps: u64,
}

/// Who has the last word on a point of a case.
type Accepts<'a> = dyn Fn(usize, &[Rational]) -> bool + 'a;

/// Searches cases of one box until a verdict, the budget of regions or `stop`; `pre` bounds the hidden layers over the box as the checker
/// does. With `only_root` no region is cut.
pub fn search_neurons(
    network: &FloatNetwork,
    (cases, pre): (&[Case], &[FloatBounds]),
    options: &BranchOptions,
    states: &mut [BranchState],
    accepts: &Accepts<'_>,
    (only_root, stop): (bool, &dyn Fn() -> bool),
) -> Neurons {
    let problems: Vec<_> = cases.iter().map(|case| BranchProblem::new(network, case)).collect();
    let Some(first) = problems.first() else { return Neurons::Verified };
    let whole = Whole::new(network, pre, (&first.lower, &first.upper));
    let size = |problem: &BranchProblem<'_>| {
        let numbers = problem.constraints.iter().flat_map(|c| c.coefficients.iter().chain([&c.bound]));
        numbers.fold(0.0, |size: f64, c| size.max(c.abs()))
    };
    let enough = problems.iter().map(|p| options.margin * size(p)).collect();
    let search = Search { whole, problems, enough, seed: options.seed, max_steps: options.max_steps };
    search.run(states, accepts, (only_root, stop))
}

impl Search<'_> {
    fn run(
        &self,
        states: &mut [BranchState],
        accepts: &Accepts<'_>,
        (only_root, stop): (bool, &dyn Fn() -> bool),
    ) -> Neurons {
        let mut warm: HashMap<(usize, usize), Rc<Warm>> = HashMap::new();
        for (case, state) in states.iter().enumerate() {
            let begun = |given: &GivenNumbers| Some(((case, given.node), Rc::new(self.begin(state, given)?)));
            warm.extend(state.given.iter().filter_map(begun));
        }
        let limit = states.iter().map(|s| s.steps).sum::<u64>().saturating_add(self.max_steps);
        let mut rounds = 0u64;
        loop {
            let mut waiting: Vec<(usize, Open)> = (0..)
                .zip(states.iter())
                .flat_map(|(case, s)| s.open.iter().map(move |o| (case, *o)))
                .collect();
            let lowest = waiting.iter().fold(f64::INFINITY, |m, (_, o)| m.min(o.bound));
            if waiting.is_empty() {
                return Neurons::Verified;
            }
            let roots = waiting.iter().all(|(_, open)| open.node == 0);
            let steps: u64 = states.iter().map(|s| s.steps).sum();
            if (only_root && rounds > 0) || steps >= limit || BranchState::are_full(states) || stop() {
                return Neurons::Unknown { best_bound: lowest };
            }
            let order = |a: &(usize, Open), b: &(usize, Open)| {
                a.1.bound.total_cmp(&b.1.bound).then((a.0, a.1.node).cmp(&(b.0, b.1.node)))
            };
            if waiting.len() > PANELS * PANEL {
                waiting.select_nth_unstable_by(PANELS * PANEL, order);
                waiting.truncate(PANELS * PANEL);
            }
            waiting.sort_by(order);
            let jobs: Vec<Job> = waiting
                .into_iter()
                .map(|(case, open)| {
                    let problem = &self.problems[case];
                    let place = states[case].tree.place(open.node, &problem.lower, &problem.upper);
                    Job { case, open, place, warm: warm.remove(&(case, open.node)) }
                })
                .collect();
            let sent: Vec<Sent<'_>> = jobs
                .iter()
                .map(|job| {
                    let noted = job.warm.as_ref().and_then(|warm| warm.noted);
                    let noted = noted.and_then(|n| states[job.case].tree.slopes.get(n as usize));
                    let above = job.open.bound > self.enough[job.case];
                    Sent { case: job.case, place: &job.place, warm: job.warm.as_deref(), noted, above }
                })
                .collect();
            let attack = roots || rounds % ATTACK_EVERY == ATTACK_EVERY - 1;
            let steps = if attack { ATTACK_STEPS } else { 0 };
            let panel = |lanes: &mut (Lanes, Lanes), jobs: &[Sent<'_>]| {
                let (found, points) = self.panel(jobs, lanes);
                let cases: Vec<usize> = jobs.iter().map(|job| job.case).collect();
                (found, points.into_iter().flat_map(|points| self.descend(&cases, points, steps)).collect())
            };
            let found: Vec<(Vec<Found>, Vec<Met>)> =
                sent.par_chunks(PANEL).map_init(|| (Lanes::default(), Lanes::default()), panel).collect();
            drop(sent);
            if let Some(found) = found.iter().find_map(|(_, met)| self.accepted(met, accepts)) {
                return found;
            }
            let all = found.into_iter().flat_map(|(found, _)| found);
            for (job, found) in jobs.into_iter().zip(all) {
                self.take(&mut states[job.case], job, found, &mut warm);
            }
            if roots
                && rounds == 0
                && let Some(found) = self.attack(states, accepts)
            {
                return found;
            }
            rounds += 1;
        }
    }

    /// Where a region begins that an earlier proof had closed; `None` if its numbers are not for these layers.
    fn begin(&self, state: &BranchState, given: &GivenNumbers) -> Option<Warm> {
        let noted = state.tree.slopes.get(given.slopes as usize)?;
        let mut slopes = Vec::new();
        for (hidden, noted) in self.whole.hidden.iter().zip(noted) {
            for neuron in hidden.open() {
                slopes.push(f32::from(*noted.get(*neuron as usize)?) / f32::from(SLOPE_PARTS));
            }
        }
        let multipliers = given.multipliers.iter().map(|m| (f64::from(*m) / MULTIPLIER_PARTS) as f32);
        Some(Warm { slopes, multipliers: multipliers.collect(), noted: Some(given.slopes), again: false })
    }

    /// Enters what was found of a region.
    fn take(
        &self,
        state: &mut BranchState,
        job: Job,
        found: Found,
        warm: &mut HashMap<(usize, usize), Rc<Warm>>,
    ) {
        let node = job.open.node;
        state.steps += 1;
        let Some(place) = state.open.iter().position(|o| o.node == node) else { return };
        state.open.swap_remove(place);
        match found {
            Found::Closed { own, multipliers } => {
                let noted = job.warm.and_then(|warm| warm.noted);
                let slopes = match (own, noted) {
                    (Some(own), _) => state.tree.note(own),
                    (None, noted) => noted.unwrap_or(0),
                };
                state.tree.nodes[node] =
                    SplitNode::Leaf(SplitLeaf::Kept { constraint: 0, slopes, multipliers });
            }
            Found::Cut { bound, cut, warm: mut begun, slopes } => {
                let bound = bound.max(job.open.bound);
                let Some(cut) = cut else {
                    // Every sign is decided and the bound still fails: no cut helps, more steps may.
                    state.open.push(Open { node, bound });
                    begun.noted = job.warm.as_ref().and_then(|warm| warm.noted);
                    begun.again = true;
                    warm.insert((job.case, node), Rc::new(begun));
                    return;
                };
                let depth = job.place.splits.len();
                let noted = job.warm.as_ref().and_then(|warm| warm.noted);
                begun.noted = if depth.is_multiple_of(NOTED) { Some(state.tree.note(slopes)) } else { noted };
                let begun = Rc::new(begun);
                for child in state.tree.cut(node, cut) {
                    state.open.push(Open { node: child, bound });
                    warm.insert((job.case, child), Rc::clone(&begun));
                }
            }
        }
    }

    /// Regions side by side: what was found, where their bounds are attained at last, and where on average.
    fn panel(&self, jobs: &[Sent<'_>], (lanes, trial): &mut (Lanes, Lanes)) -> (Vec<Found>, [Vec<Lane>; 2]) {
        lanes.start(&self.whole);
        for (lane, job) in jobs.iter().enumerate() {
            load(&self.whole, lanes, lane, job);
        }
        let cases: Vec<usize> =
            (0..PANEL).map(|lane| jobs.get(lane).or(jobs.first()).map_or(0, |j| j.case)).collect();
        let objective = self.objective(&cases);
        // At the root, where a search is gone on with, and where no cut helps.
        let root = jobs.iter().any(|job| job.warm.is_none_or(|warm| warm.again));
        // Lanes beyond the jobs repeat the first case's root and are not waited for.
        let objective = Objective {
            constant: core::array::from_fn(|i| {
                if i < jobs.len() { objective.constant[i] - self.enough[cases[i]] } else { f64::INFINITY }
            }),
            ..objective
        };
        let (steps, rate, decay) =
            if root { (ROOT_STEPS, ROOT_RATE, ROOT_DECAY) } else { (STEPS, RATE, DECAY) };
        let whole = &self.whole;
        // What begins high enough would not be optimised at all, and be rounded to the same again.
        let enough = if jobs.iter().any(|job| job.above) { f64::INFINITY } else { 0.0 };
        dispatch(Optimise { whole, objective: &objective, lanes, steps, rate, decay, enough, parts: 0.0 });
        let points = [lanes.point.clone(), lanes.middle.clone()];
        let best = lanes.best;
        // What is above has its numbers rounded as they are stored, with noted slopes and with its own.
        let mut closed: [Option<(Option<StoredSlopes>, Vec<u32>)>; PANEL] = Default::default();
        let above = |lane: usize| lane < jobs.len() && best[lane] > 0.0;
        for (own, polish) in [(false, 0), (true, 0), (false, POLISH_STEPS), (true, POLISH_STEPS)] {
            let left: Vec<usize> = (0..jobs.len())
                .filter(|lane| {
                    above(*lane) && closed[*lane].is_none() && (own || jobs[*lane].noted.is_some())
                })
                .collect();
            if left.is_empty() {
                continue;
            }
            trial.start(whole);
            for lane in &left {
                copy(lanes, *lane, trial, *lane);
                // What is to be polished is rounded only where its bound is taken.
                if polish == 0 || !own {
                    round(whole, trial, *lane, if own { None } else { jobs[*lane].noted });
                }
            }
            let objective = &objective;
            if polish > 0 {
                let (steps, rate) = (polish, (if own { POLISH_RATE } else { 0.0 }, RATE.1));
                let parts = f64::from(SLOPE_PARTS);
                dispatch(Optimise {
                    whole,
                    objective,
                    lanes: trial,
                    steps,
                    rate,
                    decay: DECAY,
                    enough: 0.0,
                    parts,
                });
                trial.take_best();
                left.iter().for_each(|lane| round(whole, trial, *lane, None));
            }
            dispatch(Optimise {
                whole,
                objective,
                lanes: trial,
                steps: 0,
                rate,
                decay,
                enough: 0.0,
                parts: 0.0,
            });
            for lane in left {
                if trial.best[lane] > 0.0 {
                    let slopes = own.then(|| slopes_of(whole, trial, lane));
                    closed[lane] = Some((slopes, multipliers_of(whole, trial, lane, jobs[lane].place)));
                }
            }
        }
        let found = jobs.iter().zip(closed).enumerate().map(|(lane, (job, closed))| match closed {
            Some((own, multipliers)) => Found::Closed { own, multipliers },
            None => self.cut(lanes, lane, job, best[lane] + self.enough[job.case]),
        });
        (found.collect(), points)
    }

    /// Cuts at the neuron whose activation costs the bound most: the mean over the steps of the inputs that attain the bound
    /// comes near to an input of the relaxed problem, and there the value after the activation lies above that of a ReLU by some
    /// gap; the coefficient says what the gap costs. Neurons of early layers count more. Trying candidates on both sides
    /// instead decided none of three instances of mnist_fc in 20 s that this decides in 3 to 8.
    fn cut(&self, lanes: &Lanes, lane: usize, job: &Sent<'_>, bound: f64) -> Found {
        let whole = &self.whole;
        let mut most: Option<(f64, Cut)> = None;
        for (layer, (hidden, state)) in (0u32..).zip(whole.hidden.iter().zip(&lanes.layers)) {
            for (neuron, (sign, means)) in hidden.open().iter().zip(state.sign.iter().zip(&state.mean)) {
                let [before, after, size] = means.map(|mean| mean[lane]);
                let score = size * (after - before.max(0.0)) / f64::from(layer + 1);
                if sign[lane] == 0.0 && most.is_none_or(|(best, _)| score > best) {
                    most = Some((score, Cut::Relu { layer, neuron: *neuron }));
                }
            }
        }
        let cut = most.map(|(_, cut)| cut);
        let slopes = lanes.layers.iter().flat_map(|l| l.slope.best.iter().map(|s| s[lane] as f32));
        let multipliers = job.place.splits.iter().map(|split| multiplier(whole, lanes, lane, split) as f32);
        let warm =
            Warm { slopes: slopes.collect(), multipliers: multipliers.collect(), noted: None, again: false };
        Found::Cut { bound, cut, warm, slopes: slopes_of(whole, lanes, lane) }
    }

    fn objective(&self, cases: &[usize]) -> Objective {
        let constraint = |lane: usize| &self.problems[cases[lane]].constraints[0];
        let outputs = self.whole.network.outputs();
        Objective {
            weight: (0..outputs).map(|o| core::array::from_fn(|i| constraint(i).coefficients[o])).collect(),
            constant: core::array::from_fn(|i| -constraint(i).bound),
        }
    }

    /// Goes down from the points, one a lane, each for its case: where that case seems to hold, the surest place first.
    fn descend(&self, cases: &[usize], mut points: Vec<Lane>, steps: usize) -> Vec<Met> {
        let all: Vec<usize> = (0..PANEL).map(|lane| cases[lane % cases.len()]).collect();
        let objective = self.objective(&all);
        let (lower, upper) = &self.problems[0].inner;
        let wide = |side: &[f64]| side.iter().map(|end| [*end; PANEL]).collect::<Vec<Lane>>();
        for (x, (l, u)) in points.iter_mut().zip(lower.iter().zip(upper)) {
            *x = x.map(|x| x.max(*l).min(*u));
        }
        let mut best = [f64::INFINITY; PANEL];
        let network = self.whole.network;
        dispatch(Descend {
            network,
            objectives: &[objective],
            lower: &wide(lower),
            upper: &wide(upper),
            steps,
            points: &mut points,
            best: &mut best,
        });
        let mut order: Vec<usize> = (0..cases.len().min(PANEL)).filter(|lane| best[*lane] <= 0.0).collect();
        order.sort_by(|a, b| best[*a].total_cmp(&best[*b]));
        order.into_iter().map(|lane| (cases[lane], points.iter().map(|p| p[lane]).collect())).collect()
    }

    /// The first place at which its case holds.
    fn accepted(&self, met: &[Met], accepts: &Accepts<'_>) -> Option<Neurons> {
        met.iter().find_map(|(case, x)| {
            let point = self.problems[*case].in_box(x)?;
            accepts(*case, &point).then_some(Neurons::Falsified { case: *case, point })
        })
    }

    /// Points of every case that is open at its root, from random places.
    fn attack(&self, states: &[BranchState], accepts: &Accepts<'_>) -> Option<Neurons> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut open: Vec<(f64, usize)> =
            (0..).zip(states).flat_map(|(case, s)| s.open.iter().map(move |o| (o.bound, case))).collect();
        open.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut starts: Vec<(usize, Vec<Lane>)> = Vec::new();
        for (_, case) in open {
            for _ in 0..ATTACKS {
                let (lower, upper) = &self.problems[case].inner;
                let sides = lower.iter().zip(upper);
                let points =
                    sides.map(|(l, u)| core::array::from_fn(|_| l + random.random::<f64>() * (u - l)));
                starts.push((case, points.collect()));
            }
        }
        starts.chunks(PANELS).find_map(|starts| {
            let descend = |(case, points): &(usize, Vec<Lane>)| {
                self.descend(&[*case; PANEL], points.clone(), ATTACK_STEPS)
            };
            let met: Vec<Vec<Met>> = starts.par_iter().map(descend).collect();
            met.iter().find_map(|met| self.accepted(met, accepts))
        })
    }
}

/// Puts a region's signs and first numbers into a lane.
fn load(whole: &Whole<'_>, lanes: &mut Lanes, lane: usize, job: &Sent<'_>) {
    let mut warm = job.warm.map(|warm| warm.slopes.iter()).into_iter().flatten();
    for (layer, (hidden, state)) in whole.hidden.iter().zip(&mut lanes.layers).enumerate() {
        for slope in &mut state.slope.value {
            if let Some(begun) = warm.next() {
                slope[lane] = f64::from(*begun);
            }
        }
        let splits = job.place.splits.iter().enumerate().filter(|(_, split)| split.layer as usize == layer);
        for (at, split) in splits {
            let Some(place) = hidden.open().iter().position(|n| *n == split.neuron) else { continue };
            state.sign[place][lane] = if split.positive { 1.0 } else { -1.0 };
            let begun = job.warm.and_then(|warm| warm.multipliers.get(at));
            state.multiplier.value[place][lane] = begun.map_or(0.0, |m| f64::from(*m));
        }
        state.slope.best.clone_from(&state.slope.value);
        state.multiplier.best.clone_from(&state.multiplier.value);
    }
}

/// Copies a lane's signs and best numbers.
fn copy(from: &Lanes, lane: usize, to: &mut Lanes, other: usize) {
    for (from, to) in from.layers.iter().zip(&mut to.layers) {
        let slots = to.sign.iter_mut().zip(&mut to.slope.value).zip(&mut to.multiplier.value);
        let values = from.sign.iter().zip(&from.slope.best).zip(&from.multiplier.best);
        for (((sign, slope), multiplier), ((s, a), m)) in slots.zip(values) {
            (sign[other], slope[other], multiplier[other]) = (s[lane], a[lane], m[lane]);
        }
    }
}

/// Rounds a lane's numbers as they are stored; its slopes become those that are `noted`, if any.
fn round(whole: &Whole<'_>, lanes: &mut Lanes, lane: usize, noted: Option<&StoredSlopes>) {
    for (layer, (hidden, state)) in whole.hidden.iter().zip(&mut lanes.layers).enumerate() {
        for (neuron, slope) in hidden.open().iter().zip(&mut state.slope.value) {
            let parts = noted.and_then(|n| n.get(layer)?.get(*neuron as usize).copied());
            slope[lane] = f64::from(parts.unwrap_or_else(|| stored(slope[lane]))) / f64::from(SLOPE_PARTS);
        }
        for multiplier in &mut state.multiplier.value {
            multiplier[lane] =
                (multiplier[lane] * MULTIPLIER_PARTS).floor().min(MOST_MULTIPLIER) / MULTIPLIER_PARTS;
        }
    }
}

/// The best slopes of a lane as they are stored.
fn slopes_of(whole: &Whole<'_>, lanes: &Lanes, lane: usize) -> StoredSlopes {
    let layers = whole.hidden.iter().zip(&lanes.layers).zip(&whole.network.layers);
    let of_layer = layers.map(|((hidden, state), layer)| {
        let mut slopes = vec![0; layer.outputs];
        for (neuron, slope) in hidden.open().iter().zip(&state.slope.best) {
            slopes[*neuron as usize] = stored(slope[lane]);
        }
        slopes
    });
    of_layer.collect()
}

/// The best multiplier of a sign.
fn multiplier(whole: &Whole<'_>, lanes: &Lanes, lane: usize, split: &crate::bound::crown::FloatSplit) -> f64 {
    let layer = split.layer as usize;
    let place = whole.hidden.get(layer).and_then(|h| h.open().iter().position(|n| *n == split.neuron));
    place.map_or(0.0, |place| lanes.layers[layer].multiplier.best[place][lane])
}

/// The best multipliers of a lane, one a sign, as they are stored.
fn multipliers_of(whole: &Whole<'_>, lanes: &Lanes, lane: usize, place: &Place) -> Vec<u32> {
    let stored = |m: f64| (m * MULTIPLIER_PARTS).floor().min(MOST_MULTIPLIER) as u32;
    place.splits.iter().map(|split| stored(multiplier(whole, lanes, lane, split))).collect()
}
