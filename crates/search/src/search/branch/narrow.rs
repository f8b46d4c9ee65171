//! Points near a narrow target: between two points at which different constraints are the largest, and by steps onto the
//! largest constraint. Untrusted; the checker evaluates the point again. `spec/rules/split.md#counterexampleproperty`.

use crate::float::FloatNetwork;

use super::point::{FloatConstraint, Worst, worst};

/// How often a line between two points is halved.
const HALVINGS: usize = 60;
/// Steps onto the largest constraint.
const STEPS: usize = 80;

/// For each constraint the best point at which it is the largest.
#[derive(Default)]
pub struct Trail {
    seen: Vec<Seen>,
}

struct Seen {
    constraint: usize,
    value: f64,
    x: Vec<f64>,
}

impl Trail {
    /// Takes note of a point.
    pub(super) fn visit(&mut self, x: &[f64], worst: &Worst) {
        let new = || Seen { constraint: worst.constraint, value: worst.value, x: x.to_vec() };
        match self.seen.iter_mut().find(|s| s.constraint == worst.constraint) {
            Some(old) if worst.value < old.value => *old = new(),
            Some(_) => {}
            None => self.seen.push(new()),
        }
    }

    /// The point with the least largest constraint that is met on the way from the points seen, and that constraint's value;
    /// ends at the first at which every constraint holds. At most `starts` points are gone on from. `None` for a single
    /// constraint: the descent is made for that.
    pub fn approach(
        mut self,
        network: &FloatNetwork,
        sides: (&[f64], &[f64]),
        constraints: &[FloatConstraint],
        starts: usize,
    ) -> Option<(Vec<f64>, f64)> {
        if constraints.len() < 2 {
            return None;
        }
        self.seen.sort_by(|a, b| a.value.total_cmp(&b.value));
        self.seen.truncate(starts);
        let widths = constraints.iter().map(|c| width(c, constraints)).collect();
        let mut near = Near { network, sides, constraints, widths, best: None };
        for (index, first) in self.seen.iter().enumerate() {
            for second in self.seen.iter().take(index) {
                near.between(first, second);
            }
            near.onto(&first.x);
            if near.best.as_ref().is_some_and(|(_, value)| *value <= 0.0) {
                break;
            }
        }
        near.best
    }
}

/// The distance from a constraint's boundary to the nearest one that faces it, in units of the constraint; infinite if none
/// does.
fn width(constraint: &FloatConstraint, constraints: &[FloatConstraint]) -> f64 {
    let opposite = |other: &FloatConstraint| {
        let pairs = || constraint.coefficients.iter().zip(&other.coefficients);
        let times = -pairs().find(|(c, _)| **c != 0.0).map_or(0.0, |(c, o)| c / o);
        let faces = times > 0.0 && times.is_finite() && pairs().all(|(c, o)| *c == -times * o);
        faces.then(|| (constraint.bound + times * other.bound).max(0.0))
    };
    constraints.iter().filter_map(opposite).fold(f64::INFINITY, f64::min)
}

struct Near<'a> {
    network: &'a FloatNetwork,
    sides: (&'a [f64], &'a [f64]),
    constraints: &'a [FloatConstraint],
    /// How wide each constraint's band is.
    widths: Vec<f64>,
    best: Option<(Vec<f64>, f64)>,
}

impl Near<'_> {
    fn at(&mut self, x: &[f64]) -> Worst {
        let found = worst(self.network, self.constraints, x);
        if self.best.as_ref().is_none_or(|(_, value)| found.value < *value) {
            self.best = Some((x.to_vec(), found.value));
        }
        found
    }

    /// Somewhere on the line the largest constraint changes, and there both are equal.
    fn between(&mut self, first: &Seen, second: &Seen) {
        let (mut from, mut to) = (first.x.clone(), second.x.clone());
        for _ in 0..HALVINGS {
            let middle: Vec<f64> = from.iter().zip(&to).map(|(a, b)| a + 0.5 * (b - a)).collect();
            let found = self.at(&middle);
            if found.value <= 0.0 || middle == from || middle == to {
                return;
            }
            if found.constraint == first.constraint { from = middle } else { to = middle }
        }
    }

    /// Steps along the gradient to where the largest constraint would vanish if it were linear, and on by as much, but not
    /// beyond the middle of its band. Inputs that would leave the box do not take part.
    ///
    /// # References
    /// Motzkin and Schoenberg 1954, the relaxation method for linear inequalities.
    fn onto(&mut self, start: &[f64]) {
        let mut x = start.to_vec();
        let (lower, upper) = self.sides;
        for _ in 0..STEPS {
            let found = self.at(&x);
            let stays = |i: usize, g: f64| if g > 0.0 { x[i] > lower[i] } else { x[i] < upper[i] };
            let slope: Vec<f64> =
                found.gradient.iter().enumerate().map(|(i, g)| if stays(i, *g) { *g } else { 0.0 }).collect();
            let square: f64 = slope.iter().map(|g| g * g).sum();
            if found.value <= 0.0 || square <= 0.0 || !square.is_finite() {
                return;
            }
            let step = (found.value + found.value.min(0.5 * self.widths[found.constraint])) / square;
            for (i, x) in x.iter_mut().enumerate() {
                *x = (*x - step * slope[i]).clamp(lower[i], upper[i]);
            }
        }
    }
}
