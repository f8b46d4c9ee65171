//! Points that break a claim at as small a multiple of the radii as the search finds. Untrusted; the checker's rule decides
//! whether a point breaks it.

use secateur_checker::claim::radius::{RadiusProblem, scaled};
use secateur_checker::evaluate::Problem;
use secateur_checker::model::{Perturbation, PerturbationSet, SensorSet};
use secateur_checker::number::Dyadic;
use secateur_checker::table::Quantity;

use super::multiple::multiple;
use crate::float::{FloatError, rational_to_float};
use crate::search::counterexample::{FloatBall, PointAim, PointSearch};

/// Most sets that are searched at a state.
const SEARCHES: usize = 12;
/// The first set searched is this many positions above what is proved: about three and a half times its radii.
const AHEAD: usize = 500;
/// Positions within which a smaller multiple is not searched: about a hundredth.
const CLOSE: usize = 4;

/// A point found: the position of the multiple at which it breaks the claim, and its offset from the state.
pub(super) type Found = (usize, Vec<f64>);

/// The search for points that break one claim under one mask.
pub(super) struct Breaker<'a> {
    set: &'a PerturbationSet,
    radius: &'a RadiusProblem<'a>,
    search: PointSearch<'a>,
}

impl<'a> Breaker<'a> {
    /// Of the problem's mask `mask`; `radius` decides.
    ///
    /// # Errors
    /// [`FloatError`].
    pub(super) fn new(
        problem: &'a Problem<'a>,
        mask: usize,
        quantity: Quantity,
        radius: &'a RadiusProblem<'a>,
    ) -> Result<Self, FloatError> {
        let aim = match quantity {
            Quantity::ActionDeviation => PointAim::Deviation,
            Quantity::TotalVariation | Quantity::Divergence => PointAim::Action,
            Quantity::SameActionMargin => PointAim::Preference,
        };
        Ok(Self { set: problem.perturbation, radius, search: PointSearch::with_aim(problem, mask, aim)? })
    }

    /// A point that breaks the claim at a position above `proved`, the smaller the better.
    pub(super) fn find(
        &self,
        state: usize,
        proved: usize,
        cap: usize,
        stop: &dyn Fn() -> bool,
    ) -> Option<Found> {
        let mut best: Option<Found> = None;
        let (mut low, mut high) = (proved, cap.saturating_add(1));
        // A claim that is proved nowhere gives no idea of where it breaks.
        let mut at = if proved == 0 { cap } else { proved.saturating_add(AHEAD) };
        for _ in 0..SEARCHES {
            if high <= low + CLOSE || stop() {
                break;
            }
            at = at.clamp(low + 1, high - 1);
            let offset = self.search.search_in(state, &scaled(self.set, &multiple(at)));
            match self.shrink(state, (low, at), offset) {
                Some(found) => {
                    high = found.0;
                    best = Some(found);
                    at = usize::midpoint(low, high);
                }
                // What has no break may have one farther out, until one is known.
                None if best.is_none() => {
                    if at == cap {
                        break;
                    }
                    at = cap;
                }
                None => {
                    low = at;
                    at = usize::midpoint(low, high);
                }
            }
        }
        best
    }

    /// The nearest point on the way from the state to the one that lies `offset` from it that still breaks the claim; none if
    /// that one does not.
    fn shrink(&self, state: usize, (low, at): (usize, usize), offset: Vec<f64>) -> Option<Found> {
        let size = gauge(self.set, &offset);
        if size <= 0.0 || !size.is_finite() {
            return None;
        }
        let direction: Vec<f64> = offset.iter().map(|o| o / size).collect();
        let (mut low, mut best) = (low, self.at(state, at, &direction)?);
        while low + 1 < best.0 {
            let middle = usize::midpoint(low, best.0);
            match self.at(state, middle, &direction) {
                Some(found) => best = found,
                None => low = middle,
            }
        }
        Some(best)
    }

    /// The point in a direction on the edge of the set at a position, if it breaks the claim.
    fn at(&self, state: usize, position: usize, direction: &[f64]) -> Option<Found> {
        let multiple = multiple(position);
        let ball = self.search.ball(state, &scaled(self.set, &multiple));
        let size = rational_to_float(&multiple);
        let offset = ball.inside(direction.iter().map(|d| d * size).collect());
        breaks(self.radius, state, position, &offset).then_some((position, offset))
    }
}

/// The offset in a direction of size 1, as far as the set at a position reaches.
fn on_edge(set: &PerturbationSet, position: usize, direction: &[f64]) -> Vec<f64> {
    let multiple = multiple(position);
    let size = rational_to_float(&multiple);
    let ball = FloatBall::new(&scaled(set, &multiple), direction.len());
    ball.inside(direction.iter().map(|d| d * size).collect())
}

/// The same point, moved out to the set at the next position.
pub(super) fn farther(set: &PerturbationSet, (position, offset): &Found) -> Found {
    let size = gauge(set, offset).max(f64::MIN_POSITIVE);
    let direction: Vec<f64> = offset.iter().map(|o| o / size).collect();
    (position + 1, on_edge(set, position + 1, &direction))
}

/// Whether the checker finds that the point breaks the claim at the position.
pub(super) fn breaks(radius: &RadiusProblem<'_>, state: usize, position: usize, offset: &[f64]) -> bool {
    let exact: Option<Vec<Dyadic>> = offset.iter().map(|o| Dyadic::from_ieee(o.to_bits(), 52, 11)).collect();
    exact.is_some_and(|exact| radius.breaks(state, &multiple(position), &exact) == Ok(true))
}

/// The multiple of the radii that an offset needs.
fn gauge(set: &PerturbationSet, offset: &[f64]) -> f64 {
    let share = |offset: f64, radius: f64| if offset == 0.0 { 0.0 } else { offset.abs() / radius };
    match &set.shape {
        Perturbation::Linf { radius } => {
            let radius = rational_to_float(radius);
            offset.iter().fold(0.0, |most, o| share(*o, radius).max(most))
        }
        Perturbation::PerCoordinate { radii } => {
            let pairs = offset.iter().zip(radii);
            pairs.fold(0.0, |most, (o, r)| share(*o, rational_to_float(r)).max(most))
        }
        Perturbation::L2 { radius } => {
            let largest = offset.iter().fold(0.0f64, |most, o| o.abs().max(most));
            let length =
                offset.iter().map(|o| (o / largest.max(f64::MIN_POSITIVE)).powi(2)).sum::<f64>().sqrt();
            share(largest * length, rational_to_float(radius))
        }
        Perturbation::Sensor(set) => sensor_gauge(set, offset),
    }
}

/// The multiple of a sensor's radii that an offset needs, whatever the limits: each coordinate must be within its noise of one
/// shared offset, so that any two of its coordinates are within both noises of each other, and each within the sum of both of 0.
fn sensor_gauge(set: &SensorSet, offset: &[f64]) -> f64 {
    let share = |offset: f64, radius: f64| if offset == 0.0 { 0.0 } else { offset.abs() / radius };
    let at = |input: usize| {
        let radius = set.radii.get(input).map_or(0.0, rational_to_float);
        (offset.get(input).copied().unwrap_or(0.0), radius)
    };
    let mut most = 0.0f64;
    let mut alone = vec![true; offset.len()];
    for group in &set.shared {
        let radius = rational_to_float(&group.radius);
        for (position, &input) in group.inputs.iter().enumerate() {
            let (own, noise) = at(input);
            if let Some(alone) = alone.get_mut(input) {
                *alone = false;
            }
            most = most.max(share(own, radius + noise));
            for &other in group.inputs.iter().take(position) {
                let (their, more) = at(other);
                most = most.max(share(own - their, noise + more));
            }
        }
    }
    let rest = alone.iter().enumerate().filter(|(_, alone)| **alone).map(|(input, _)| at(input));
    rest.fold(most, |most, (own, noise)| most.max(share(own, noise)))
}

#[cfg(test)]
mod tests {
    use super::super::multiple::position_at_most;
    use super::*;
    use secateur_checker::model::Units;
    use secateur_checker::number::Rational;

    fn set(shape: Perturbation) -> PerturbationSet {
        PerturbationSet { shape, units: Units::Raw }
    }

    fn r(text: &str) -> Rational {
        Rational::parse(text).expect("a number")
    }

    /// Offsets (3, -4): 4 halves in the largest coordinate, 5 in length; per coordinate 3/2 and 4/8.
    #[test]
    fn sizes_by_hand() {
        let offset = [3.0, -4.0];
        assert_eq!(gauge(&set(Perturbation::Linf { radius: r("1/2") }), &offset), 8.0);
        assert!((gauge(&set(Perturbation::L2 { radius: r("2") }), &offset) - 2.5).abs() < 1e-12);
        let radii = vec![r("2"), r("8")];
        assert_eq!(gauge(&set(Perturbation::PerCoordinate { radii }), &offset), 1.5);
        let radii = vec![r("0"), r("8")];
        assert_eq!(gauge(&set(Perturbation::PerCoordinate { radii }), &[0.0, -4.0]), 0.5);
    }

    /// Inputs 0 and 1 share an offset of at most 1, with noise 1/2 and 0; input 2 has noise 1/4 alone. (2, 1, 0): the offset is 1,
    /// so that the noise is twice its radius. (3, 3, 1): offset 3 at least, noise four times.
    #[test]
    fn sizes_of_sensor_sets_by_hand() {
        use secateur_checker::model::{SensorSet, SharedOffset};
        let shared = vec![SharedOffset { radius: r("1"), inputs: vec![0, 1] }];
        let radii = vec![r("1/2"), r("0"), r("1/4")];
        let set = set(Perturbation::Sensor(SensorSet { radii, shared, limits: Vec::new() }));
        assert_eq!(gauge(&set, &[2.0, 1.0, 0.0]), 2.0);
        assert_eq!(gauge(&set, &[3.0, 3.0, 0.25]), 3.0);
        assert_eq!(gauge(&set, &[3.0, 3.0, 1.0]), 4.0);
        assert_eq!(gauge(&set, &[0.0, 0.0, 0.0]), 0.0);
    }

    /// The point on the next edge lies in the next set and no longer in the one before.
    #[test]
    fn a_point_moves_to_the_next_edge() {
        let set = set(Perturbation::Linf { radius: r("1/10") });
        let position = position_at_most(&r("0.5"));
        let found = farther(&set, &(position, vec![0.05, -0.025]));
        assert_eq!(found.0, position + 1);
        assert!((found.1[0] - 0.0501).abs() < 1e-15 && (found.1[1] + 0.02505).abs() < 1e-15);
    }
}
