//! Every claim that the checker's tables allow about an example, against the evaluated truth of every mask that the family
//! speaks of: `spec/semantics.md`, `spec/certificate.md`, `spec/rules/`.

use secateur_checker::evaluate::{Problem, evaluate};
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::kernel::float32::check_binary32;
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::local::LocalProblem;
use secateur_checker::model::{Mask, Network, Perturbation};
use secateur_checker::number::Rational;
use secateur_checker::table::{FamilyTable, Quantity};
use secateur_testkit::case::Case;
use secateur_testkit::oracle::binary32::{Binary32, dyadic};
use secateur_testkit::oracle::fixed::{Ends, change, ends_of, trace};
use secateur_testkit::random::Random;

use super::generate::{describe, mask_bits, unlisted};
use super::points::{Place, Point, exact_float, rational_float, to_float};
use super::tally::{Claim, Tally, family_word};
use super::truth::{Pair, Truth, same_outputs, truth};
use super::witness;

/// Masks beside the list.
const UNLISTED: usize = 6;
/// Random points and kinks of each state.
const POINTS: usize = 6;

/// What the checker proves of an example.
pub struct Proved<'a> {
    pub problem: Problem<'a>,
    pub head: HeadBounds,
    pub tables: Vec<FamilyTable>,
}

/// The truth at one state.
pub struct AtState {
    pub state: usize,
    pub points: Vec<Point>,
    /// One per mask of the pool.
    pub masks: Vec<Truth>,
    /// Per listed mask: the dense network against the pruned one.
    paired: Vec<Truth>,
    /// Per listed mask: binary32 inference.
    single: Vec<Truth>,
}

/// The truth at a state that nothing lists.
pub struct Elsewhere {
    state: Vec<Rational>,
    pub points: Vec<Point>,
    /// One per mask of the pool.
    masks: Vec<Truth>,
}

/// Listed masks first, then others.
pub fn pool(random: &mut Random, case: &Case) -> Vec<Mask> {
    let mut pool = case.masks.clone();
    pool.extend(unlisted(random, &case.policy.network, &case.masks, UNLISTED));
    pool
}

pub fn families(case: &Case) -> Vec<Family> {
    let single = check_binary32(&case.policy.network).is_ok();
    let plain = Family::ALL.into_iter().filter(|f| single || !f.is_float32());
    let ends = (0..case.masks.len()).map(BandEnd::Mask).chain([BandEnd::Zero]);
    plain.chain(ends.flat_map(|end| [Family::Band(end), Family::BandCrown(end)])).collect()
}

/// Offsets of one point a state for each mask, in binary64 and inside the set.
pub fn offsets(random: &mut Random, case: &Case) -> Vec<Vec<f64>> {
    let states = case.states.values.rows;
    let inside = |random: &mut Random| -> Vec<f64> {
        let wanted = change(random, case);
        let shrink = if matches!(case.set.shape, Perturbation::L2 { .. }) { 1.0 - 1e-9 } else { 1.0 };
        let toward_zero = |x: &Rational| {
            let near = rational_float(x) * shrink;
            let exact = exact_float(near).unwrap_or_else(Rational::zero);
            if exact.abs() > x.abs() { near * (1.0 - f64::EPSILON) } else { near }
        };
        wanted.iter().map(toward_zero).collect()
    };
    (0..case.masks.len()).map(|_| (0..states).flat_map(|_| inside(random)).collect()).collect()
}

/// Evaluates every family, each alone if they cannot be together; `None` if the grid refuses the network.
pub fn prove<'a>(
    random: &mut Random,
    case: &'a Case,
    keep: &'a std::cell::OnceCell<Vec<u8>>,
    tally: &mut Tally,
) -> Option<Proved<'a>> {
    let mut problem = Problem {
        policy: &case.policy,
        masks: &case.masks,
        states: &case.states,
        perturbation: &case.set,
        witness: None,
    };
    let local = match LocalProblem::new(&case.policy, &case.masks, &case.states, &case.set) {
        Ok(local) => local,
        Err(reason) => {
            *tally.refused.entry(reason.to_string()).or_default() += 1;
            return None;
        }
    };
    let offsets = offsets(random, case);
    let made = witness::arbitrary(random, &problem, &local, &offsets);
    problem.witness = Some(keep.get_or_init(|| made));
    let families = families(case);
    let tables = evaluate(&problem, &families, &mut |_, _| {}).unwrap_or_else(|_| {
        let mut tables = Vec::new();
        for family in families {
            match evaluate(&problem, &[family], &mut |_, _| {}) {
                Ok(table) => tables.extend(table),
                Err(reason) => {
                    *tally.refused.entry(format!("{}: {reason}", family_word(family))).or_default() += 1;
                }
            }
        }
        tables
    });
    let head = HeadBounds::new(&case.policy.head).expect("moderate standard deviations");
    Some(Proved { problem, head, tables })
}

fn pairs(network: &Network, mask: &Mask, points: &[Point]) -> Vec<Pair> {
    let outputs: Vec<Vec<Ends>> = points.iter().map(|p| trace(network, mask, &p.input).outputs).collect();
    outputs.iter().map(|there| (outputs[0].clone(), there.clone())).collect()
}

pub fn truth_at(case: &Case, mask: &Mask, points: &[Point]) -> Truth {
    let network = &case.policy.network;
    truth(&case.policy.head, &pairs(network, mask, points), &same_outputs(network, mask))
}

/// Everything that is true at a listed state.
pub fn at_state(random: &mut Random, case: &Case, pool: &[Mask], state: usize) -> AtState {
    let place = Place { case, state: listed(case, state) };
    let points = place.points(random, pool, POINTS);
    let network = &case.policy.network;
    let all = Mask { layers: network.layers.iter().map(|l| vec![true; l.weight.values.len()]).collect() };
    let dense: Vec<Vec<Ends>> = points.iter().map(|p| trace(network, &all, &p.input).outputs).collect();
    let masks: Vec<Truth> = pool.iter().map(|mask| truth_at(case, mask, &points)).collect();
    let paired = case.masks.iter().map(|mask| {
        let pruned = points.iter().map(|p| trace(network, mask, &p.input).outputs);
        let pairs: Vec<Pair> = dense.iter().cloned().zip(pruned).collect();
        truth(&case.policy.head, &pairs, &|_, _| false)
    });
    let paired = paired.collect();
    let single = if check_binary32(network).is_ok() {
        case.masks.iter().map(|mask| binary32(random, case, mask, &points)).collect()
    } else {
        Vec::new()
    };
    AtState { state, points, masks, paired, single }
}

pub fn listed(case: &Case, state: usize) -> Vec<Rational> {
    let columns = case.states.values.columns;
    case.states.values.values[state * columns..(state + 1) * columns]
        .iter()
        .map(|d| d.to_rational())
        .collect()
}

/// Any two executions at the state and at every point.
fn binary32(random: &mut Random, case: &Case, mask: &Mask, points: &[Point]) -> Truth {
    let mut run = |input: &[Ends]| -> Vec<Ends> {
        let input: Vec<f32> = input.iter().map(nearest).collect();
        let flushes = random.one_in(2);
        let below = &mut |n: usize| random.between(0, n as i64 - 1) as usize;
        let outputs = Binary32 { below, flushes }.infer(&case.policy.network, Some(mask), &input);
        outputs.iter().map(|x| ends_of(&dyadic(*x).to_rational())).collect()
    };
    let pairs: Vec<Pair> = points.iter().map(|p| (run(&points[0].input), run(&p.input))).collect();
    truth(&case.policy.head, &pairs, &|_, _| false)
}

/// The nearest binary32 number, of two the even one.
fn nearest(ends: &Ends) -> f32 {
    let guess = to_float(ends) as f32;
    let off = |x: f32| (ends_of(&dyadic(x).to_rational()).0 - &ends.0).magnitude().clone();
    let candidates = [guess, guess.next_up(), guess.next_down()];
    let best = candidates.into_iter().filter(|x| x.is_finite()).min_by_key(|x| (off(*x), x.to_bits() & 1));
    best.unwrap_or(guess)
}

/// The masks of the pool of which a family's value under a listed mask speaks.
pub fn scope(family: Family, mask: usize, quantity: Quantity, case: &Case, pool: &[Mask]) -> Vec<usize> {
    let below = |one: &Mask, other: &Mask| {
        let pairs = one.layers.iter().flatten().zip(other.layers.iter().flatten());
        pairs.into_iter().all(|(one, other)| *other || !*one)
    };
    let own = &case.masks[mask];
    let holds = |(index, other): (usize, &Mask)| match family {
        Family::Band(end) | Family::BandCrown(end) => {
            let inside = match end {
                BandEnd::Mask(last) => below(&case.masks[last], other),
                BandEnd::Zero => true,
            };
            inside && below(other, own)
        }
        Family::EnvelopeIbp | Family::EnvelopeCrown => index >= mask && index < case.masks.len(),
        // Monotone for all states: a bound holds for every further pruning, but not whose lead it was.
        _ if family.is_monotone() && !family.is_local() && quantity != Quantity::SameActionMargin => {
            below(other, own)
        }
        _ => index == mask,
    };
    pool.iter().enumerate().filter(|p| holds(*p)).map(|(index, _)| index).collect()
}

/// Quantity and output of every claim that a table may be asked for.
pub fn asked(outputs: usize) -> Vec<(Quantity, Option<usize>)> {
    let mut list: Vec<(Quantity, Option<usize>)> =
        (0..outputs).map(|o| (Quantity::ActionDeviation, Some(o))).collect();
    let rest = Quantity::ALL.iter().map(|(q, _)| *q).filter(|q| *q != Quantity::ActionDeviation);
    list.extend(rest.map(|q| (q, None)));
    list
}

/// Holds every claim at the listed states, and those of global families at `elsewhere` too.
pub fn hold_all(
    seed: u64,
    case: &Case,
    pool: &[Mask],
    proved: &Proved<'_>,
    (here, elsewhere): (&[AtState], &[Elsewhere]),
    tally: &mut Tally,
) {
    let head = &case.policy.head;
    for table in &proved.tables {
        let word = family_word(table.family);
        if let Err(e) = table.verdicts() {
            let kind = (word.clone(), super::tally::head_word(head), "verdicts");
            tally.violation(kind, &e.to_string(), &story(seed, case));
        }
        for mask in 0..table.masks.len() {
            for (quantity, output) in asked(case.policy.network.outputs()) {
                let Ok(values) = table.values(&proved.head, quantity, mask, output) else { continue };
                tally.claimed(&word, head, quantity.name());
                let scope = scope(table.family, mask, quantity, case, pool);
                let claim = |value| Claim { family: &word, head, quantity, output, value };
                let tell = |state: &[Rational], points: &[Point], of: &Mask, pair: usize| {
                    let (point, of) = (points.get(pair).map(|p| &p.change), mask_bits(of));
                    let name = table.family.name();
                    format!(
                        "  {name} of mask {mask}, output {output:?}, evaluated under {of}\n  state {state:?}\n  \
                         change {point:?}\n{}",
                        story(seed, case)
                    )
                };
                for at in here {
                    let value = if values.len() == 1 { &values[0] } else { &values[at.state] };
                    let state = listed(case, at.state);
                    let mut hold = |truth: &Truth, of: &Mask| {
                        tally.hold(&claim(value), truth, &|pair| tell(&state, &at.points, of, pair));
                    };
                    if !table.family.bounds_adversary() {
                        hold(&at.paired[mask], &case.masks[mask]);
                        continue;
                    }
                    scope.iter().for_each(|&other| hold(&at.masks[other], &pool[other]));
                    if table.family.is_float32() {
                        hold(&at.single[mask], &case.masks[mask]);
                    }
                }
                if table.family.is_local() || quantity == Quantity::SameActionMargin {
                    continue;
                }
                for at in elsewhere {
                    for &other in &scope {
                        let place = |pair| tell(&at.state, &at.points, &pool[other], pair);
                        tally.hold(&claim(&values[0]), &at.masks[other], &place);
                    }
                }
            }
        }
    }
}

pub fn story(seed: u64, case: &Case) -> String {
    format!("  seed {seed}:\n{}", describe(case))
}

/// A state that nothing lists, near or far.
pub fn elsewhere(random: &mut Random, case: &Case, pool: &[Mask]) -> Elsewhere {
    let spread = random.pick(&[1i64, 8, 200]);
    let inputs = case.policy.network.inputs();
    let entry = |_| Rational::from_dyadic(random.between(-64 * spread, 64 * spread).into(), -6);
    let state: Vec<Rational> = (0..inputs).map(entry).collect();
    let place = Place { case, state: state.clone() };
    let points = place.points(random, pool, 3);
    let masks = pool.iter().map(|mask| truth_at(case, mask, &points)).collect();
    Elsewhere { state, points, masks }
}
