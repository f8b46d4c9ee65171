//! Random points of a box of few inputs, sixteen at a time, in generations: half of each around the best of those before.
//! Untrusted.
//!
//! Where a property fails in a few millionths of its box, descents from a handful of starts end in other places, while ten thousand
//! evaluations cost no more than some boxes' bounds. Property 8 of ACAS Xu on 2_9 fails in a ten-thousandth of its box; of a pair of
//! networks whose difference is large enough in three millionths of the box, uniform points met one in 8 of 12 runs of 500,000, and
//! generations in 17 of 20 runs of 32,000.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

use super::attack;
use super::lanes::{Evaluate, Objective};
use super::problem::BranchProblem;
use crate::bound::kernel::{Lane, PANEL, dispatch};

/// Streams of points, which threads share: the best point of each of their lanes is kept.
const STREAMS: usize = 4;
/// Panels of a stream in one generation.
const PANELS: usize = 32;
/// Generations: the first is uniform.
const GENERATIONS: usize = 8;
/// Reach of a point around another as a share of the box: a power of ten between these.
const REACH: (f64, f64) = (-3.0, -0.5);
/// Probability with which a coordinate of it moves.
const MOVES: f64 = 0.6;
/// Sides of the boxes in which descents from the best points stay, as a share of the box.
const AROUND: f64 = 1.0 / 8.0;

/// A point and the largest constraint of its case there.
pub(super) type Met = (Vec<f64>, f64);

/// The point of each lane with the least value.
struct Least {
    value: Lane,
    point: Vec<Lane>,
}

impl Least {
    fn new(inputs: usize) -> Self {
        Self { value: [f64::INFINITY; PANEL], point: vec![[0.0; PANEL]; inputs] }
    }

    fn keep(&mut self, value: &Lane, point: &[Lane]) {
        let better: [bool; PANEL] = core::array::from_fn(|i| value[i] < self.value[i]);
        for (kept, point) in self.point.iter_mut().zip(point) {
            *kept = core::array::from_fn(|i| if better[i] { point[i] } else { kept[i] });
        }
        self.value = core::array::from_fn(|i| value[i].min(self.value[i]));
    }

    fn points(&self) -> [Met; PANEL] {
        core::array::from_fn(|lane| (self.point.iter().map(|p| p[lane]).collect(), self.value[lane]))
    }
}

struct Stream {
    /// Of each case.
    cases: Vec<Least>,
    /// Of all cases.
    any: Least,
}

/// Draws points of the box that the cases have in common: of each case the best sixteen, no two from the same lane.
pub(super) fn draw(problems: &[BranchProblem<'_>], random: &mut ChaCha8Rng) -> Vec<[Met; PANEL]> {
    let Some(first) = problems.first() else { return Vec::new() };
    let cases: Vec<Vec<Objective>> = problems.iter().map(attack::objectives).collect();
    let inputs = first.network.inputs();
    let new =
        || Stream { cases: cases.iter().map(|_| Least::new(inputs)).collect(), any: Least::new(inputs) };
    let mut streams: Vec<Stream> = (0..STREAMS).map(|_| new()).collect();
    for _ in 0..GENERATIONS {
        // Empty before the first generation, in which no value is finite yet.
        let parents: Vec<Vec<f64>> = streams
            .iter()
            .flat_map(|stream| stream.any.points())
            .filter_map(|(point, value)| value.is_finite().then_some(point))
            .collect();
        let seeds: Vec<u64> = streams.iter().map(|_| random.random()).collect();
        streams.par_iter_mut().zip(seeds).for_each(|(stream, seed)| {
            stream.go_on(first, &cases, &parents, &mut ChaCha8Rng::seed_from_u64(seed));
        });
    }
    let mut best: Vec<Least> = cases.iter().map(|_| Least::new(inputs)).collect();
    for stream in &streams {
        for (best, other) in best.iter_mut().zip(&stream.cases) {
            best.keep(&other.value, &other.point);
        }
    }
    best.iter().map(Least::points).collect()
}

impl Stream {
    fn go_on(
        &mut self,
        first: &BranchProblem<'_>,
        cases: &[Vec<Objective>],
        parents: &[Vec<f64>],
        random: &mut ChaCha8Rng,
    ) {
        let (lower, upper) = &first.inner;
        let mut values: Vec<Lane> = vec![[0.0; PANEL]; cases.len()];
        for panel in 0..PANELS {
            let around = panel % 2 == 1 && !parents.is_empty();
            let of_lane: [Option<(&Vec<f64>, f64)>; PANEL] = core::array::from_fn(|_| {
                let reach = 10f64.powf(random.random_range(REACH.0..REACH.1));
                around.then(|| (&parents[random.random_range(0..parents.len())], reach))
            });
            let sides = lower.iter().zip(upper).enumerate();
            let points: Vec<Lane> = sides
                .map(|(i, (l, u))| {
                    of_lane.map(|parent| {
                        let at = match parent {
                            None => l + random.random::<f64>() * (u - l),
                            Some((parent, reach)) if random.random::<f64>() < MOVES => {
                                let step = random.random::<f64>() + random.random::<f64>() - 1.0;
                                parent[i] + 2.0 * reach * step * (u - l)
                            }
                            Some((parent, _)) => parent[i],
                        };
                        at.max(*l).min(*u)
                    })
                })
                .collect();
            dispatch(Evaluate { network: first.network, cases, points: &points, values: &mut values });
            let mut least = [f64::INFINITY; PANEL];
            for (best, value) in self.cases.iter_mut().zip(&values) {
                best.keep(value, &points);
                (0..PANEL).for_each(|i| least[i] = least[i].min(value[i]));
            }
            self.any.keep(&least, &points);
        }
    }
}

/// The best place that descents from sixteen points reach, each in a small box around its point.
pub(super) fn descend_from(problem: &BranchProblem<'_>, points: &[Met; PANEL]) -> Option<Met> {
    let sides = || problem.inner.0.iter().zip(&problem.inner.1);
    let boxes: Vec<(Vec<f64>, Vec<f64>)> = points
        .iter()
        .map(|(point, _)| {
            let around = point.iter().zip(sides()).map(|(x, (l, u))| {
                let reach = 0.5 * AROUND * (u - l);
                ((x - reach).max(*l), (x + reach).min(*u))
            });
            around.unzip()
        })
        .collect();
    let parts: Vec<f64> = (0..problem.inner.0.len())
        .flat_map(|i| {
            let share = |((point, _), (l, u)): (&Met, &(Vec<f64>, Vec<f64>))| {
                if u[i] > l[i] { (point[i] - l[i]) / (u[i] - l[i]) } else { 0.5 }
            };
            points.iter().zip(&boxes).map(share).collect::<Vec<f64>>()
        })
        .collect();
    attack::search_boxes(problem, &boxes, &parts)
}

#[cfg(test)]
mod tests {
    use secateur_checker::kernel::split::{Case, OutputConstraint};
    use secateur_checker::number::Rational;

    use super::*;
    use crate::float::{FloatActivation, FloatLayer, FloatNetwork};

    /// `sum of |x_i - 0.3|` over three inputs.
    fn distance() -> FloatNetwork {
        let mut weight = vec![0.0; 18];
        for i in 0..3 {
            (weight[2 * i * 3 + i], weight[(2 * i + 1) * 3 + i]) = (1.0, -1.0);
        }
        let bias = [-0.3, 0.3].repeat(3);
        let hidden = FloatLayer::new(3, weight, bias, FloatActivation::Relu).expect("a layer");
        let last = FloatLayer::new(6, vec![1.0; 6], vec![0.0], FloatActivation::Identity).expect("a layer");
        FloatNetwork { layers: vec![hidden, last] }
    }

    fn near(bound: &str) -> Case {
        let one = || vec![Rational::one(); 3];
        let bound = Rational::parse(bound).expect("a number");
        let constraint = OutputConstraint { coefficients: vec![Rational::one()], bound };
        Case { lower: one().iter().map(Rational::neg).collect(), upper: one(), constraints: vec![constraint] }
    }

    /// The place is `(2/300)^3 / 6 / 2^3`, six billionths, of the box: uniform points do not meet it.
    #[test]
    fn generations_close_in() {
        let network = distance();
        let cases = [near("-1"), near("1/300")];
        let problems = cases.each_ref().map(|case| BranchProblem::new(&network, case));
        let drawn = draw(&problems, &mut ChaCha8Rng::seed_from_u64(1));
        let [none, some] = drawn.as_slice() else { panic!("two cases") };
        assert!(none.iter().all(|(_, value)| *value >= 1.0));
        assert!(some.iter().any(|(_, value)| *value <= 0.0), "{some:?}");
        for (case, points) in problems.iter().zip(&drawn) {
            for (x, value) in points {
                assert!(x.iter().all(|x| x.abs() <= 1.0));
                let again = case.constraints[0].value(&network.forward(x));
                assert!((again - value).abs() < 1e-12);
            }
        }
        let further = descend_from(&problems[0], none).expect("points to begin with");
        assert!(none.iter().all(|(_, value)| further.1 <= *value));
    }
}
