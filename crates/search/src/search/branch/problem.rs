//! The question of a branch and bound, and how to search. Untrusted.

use secateur_checker::number::Rational;

use super::point::{FloatConstraint, exact_outputs};
use crate::float::{FloatNetwork, float_to_rational, rational_to_float};
use crate::property::vnnlib::Case;

/// Is there an input of the box at which every constraint holds?
#[derive(Clone, Debug)]
pub struct BranchProblem<'a> {
    /// The network.
    pub network: &'a FloatNetwork,
    /// The question in exact numbers.
    pub case: &'a Case,
    /// The box in floats, rounded outward.
    pub(super) lower: Vec<f64>,
    pub(super) upper: Vec<f64>,
    /// The box in floats, rounded inward: where points are looked for.
    pub(super) inner: (Vec<f64>, Vec<f64>),
    pub(super) constraints: Vec<FloatConstraint>,
}

/// Which way regions are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitRule {
    /// By inputs for at most [`AUTO_INPUTS`] inputs or networks with tanh or sigmoid, else by signs.
    Auto,
    /// Always an input, at the middle.
    Input,
    /// The sign of a ReLU, ELU or SiLU, as long as one is undecided.
    Relu,
    /// As [`SplitRule::Auto`], but of the inputs the one whose halving narrows the neurons that the bound loses most at.
    /// Optimised slopes may leave an input no share in the bound's coefficients though the neurons' widths come from it.
    Loss,
}

/// Most inputs that [`SplitRule::Auto`] cuts by input.
pub const AUTO_INPUTS: usize = 12;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BranchOptions {
    /// Which way regions are cut.
    pub rule: SplitRule,
    /// Gradient steps on a region's slopes and multipliers.
    pub gradient_steps: usize,
    /// A region is closed only above this share of the constraints' size, so that rounded slopes still prove it.
    pub margin: f64,
    /// Regions bounded in all, over every call.
    pub max_steps: u64,
    /// Seed of the attack.
    pub seed: u64,
    /// Whether regions are looked for whose signs contradict each other in sum.
    pub contradictions: bool,
}

impl Default for BranchOptions {
    fn default() -> Self {
        Self {
            rule: SplitRule::Auto,
            gradient_steps: 30,
            margin: 1e-6,
            max_steps: 1_000_000,
            seed: 0,
            contradictions: true,
        }
    }
}

impl<'a> BranchProblem<'a> {
    /// The question of one case of a property.
    pub fn new(network: &'a FloatNetwork, case: &'a Case) -> Self {
        let below = |r: &Rational| outward(r, f64::next_down, |f, r| f <= r);
        let above = |r: &Rational| outward(r, f64::next_up, |f, r| f >= r);
        Self {
            network,
            case,
            lower: case.lower.iter().map(below).collect(),
            upper: case.upper.iter().map(above).collect(),
            inner: inner_box(case),
            constraints: case.constraints.iter().map(FloatConstraint::from_exact).collect(),
        }
    }

    /// The point of the exact box that is nearest: an end that is no float is itself.
    pub(super) fn in_box(&self, x: &[f64]) -> Option<Vec<Rational>> {
        let sides = x.iter().zip(self.case.lower.iter().zip(&self.case.upper));
        sides.map(|(x, (l, u))| Some(float_to_rational(*x)?.max(l.clone()).min(u.clone()))).collect()
    }

    /// Whether a point of the box satisfies every constraint: in exact numbers for networks of ReLUs, else in floats with a
    /// margin.
    pub fn holds(&self, point: &[Rational]) -> bool {
        match exact_outputs(self.network, point) {
            Some(outputs) => self.case.constraints.iter().all(|c| {
                let terms = c.coefficients.iter().zip(&outputs).map(|(c, y)| c.mul(y));
                terms.fold(Rational::zero(), |sum, t| sum.add(&t)) <= c.bound
            }),
            None => {
                let x: Vec<f64> = point.iter().map(rational_to_float).collect();
                let outputs = self.network.forward(&x);
                self.constraints.iter().all(|c| c.value(&outputs) < -1e-9)
            }
        }
    }
}

/// The box rounded inward; an interval without a float inside becomes the floats around it.
fn inner_box(case: &Case) -> (Vec<f64>, Vec<f64>) {
    let lower = case.lower.iter().map(|r| outward(r, f64::next_up, |f, r| f >= r));
    let upper = case.upper.iter().map(|r| outward(r, f64::next_down, |f, r| f <= r));
    lower.zip(upper).map(|(l, u)| if l <= u { (l, u) } else { (u, l) }).unzip()
}

/// The float next to `value` on the side where `good(float, value)`.
fn outward(value: &Rational, step: fn(f64) -> f64, good: fn(&Rational, &Rational) -> bool) -> f64 {
    let near = rational_to_float(value);
    match float_to_rational(near) {
        Some(float) if !good(&float, value) => step(near),
        _ => near,
    }
}
