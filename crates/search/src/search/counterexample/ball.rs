//! The ball in `f64`, with ends rounded inward. Untrusted.

use secateur_checker::model::{Perturbation, PerturbationSet, SensorSet};
use secateur_checker::number::Rational;

use crate::float::{float_to_rational, rational_to_float};

/// Offsets an adversary may choose from.
pub enum FloatBall {
    /// One radius per coordinate, each rounded down.
    Box {
        /// The radii.
        radii: Vec<f64>,
    },
    /// A Euclidean radius, exact and rounded down.
    Euclidean {
        /// Its square, exactly.
        square: Rational,
        /// Rounded down.
        radius: f64,
    },
    /// Noise, offsets that coordinates share, and limits.
    Sensor(SensorBall),
}

/// A sensor's set around one state.
pub struct SensorBall {
    set: SensorSet,
    /// What limits leave of each coordinate's change; both ends 0 or on their side of it.
    room: Vec<Option<(Rational, Rational)>>,
}

impl SensorBall {
    fn farthest(&self, slope: &[f64]) -> Vec<f64> {
        let along = |slope: f64, radius: &Rational| {
            if slope == 0.0 { 0.0 } else { slope.signum() * float_below(radius) }
        };
        let mut point: Vec<f64> =
            slope.iter().zip(&self.set.radii).map(|(slope, radius)| along(*slope, radius)).collect();
        for offset in &self.set.shared {
            let sum: f64 = offset.inputs.iter().filter_map(|input| slope.get(*input)).sum();
            let moved = along(sum, &offset.radius);
            for input in &offset.inputs {
                if let Some(entry) = point.get_mut(*input) {
                    *entry += moved;
                }
            }
        }
        for (entry, room) in point.iter_mut().zip(&self.room) {
            if let Some((least, most)) = room {
                *entry = entry.clamp(rational_to_float(least), rational_to_float(most));
            }
        }
        point
    }

    /// The nearest point, nearly, of the set; exactly in it. The state itself is, so that there is one.
    fn inside(&self, offset: &[f64]) -> Option<Vec<f64>> {
        let exact: Vec<Rational> = offset.iter().map(|o| float_to_rational(*o)).collect::<Option<_>>()?;
        // What is left for each coordinate: noise around its offset, within limits.
        let mut ends: Vec<(Rational, Rational)> =
            self.set.radii.iter().map(|radius| (radius.neg(), radius.clone())).collect();
        for shared in &self.set.shared {
            let (mut least, mut most) = (shared.radius.neg(), shared.radius.clone());
            let (mut lower, mut upper) = (least.clone(), most.clone());
            for input in &shared.inputs {
                let (own, found) = (self.set.radii.get(*input)?, exact.get(*input)?);
                if let Some((from, to)) = self.room.get(*input)? {
                    // An offset from which the noise still reaches the limits.
                    (lower, upper) = (lower.max(from.sub(own)), upper.min(to.add(own)));
                }
                (least, most) = (least.max(found.sub(own)), most.min(found.add(own)));
            }
            let middle = least.add(&most).mul(&Rational::new(1.into(), 2.into()).ok()?);
            // A float, so that coordinates without noise can move by exactly that.
            let chosen = middle.max(lower.clone()).min(upper.clone());
            let mut chosen = float_to_rational(rational_to_float(&chosen))?;
            if chosen < lower || chosen > upper {
                chosen = if chosen.is_negative() {
                    float_to_rational(-float_below(&lower.neg()))?
                } else {
                    float_to_rational(float_below(&upper))?
                };
            }
            for input in &shared.inputs {
                let (own, end) = (self.set.radii.get(*input)?, ends.get_mut(*input)?);
                *end = (chosen.sub(own), chosen.add(own));
            }
        }
        let mut point = Vec::with_capacity(exact.len());
        for ((found, (least, most)), room) in offset.iter().zip(ends).zip(&self.room) {
            let (least, most) = match room {
                Some((from, to)) => (least.max(from.clone()), most.min(to.clone())),
                None => (least, most),
            };
            let (lower, upper) = (-float_below(&least.neg()), float_below(&most));
            if lower > upper {
                return None;
            }
            point.push(found.clamp(lower, upper));
        }
        Some(point)
    }
}

impl FloatBall {
    /// The ball of `set` over `width` coordinates.
    pub fn new(set: &PerturbationSet, width: usize) -> Self {
        match &set.shape {
            Perturbation::Linf { radius } => Self::Box { radii: vec![float_below(radius); width] },
            Perturbation::PerCoordinate { radii } => {
                Self::Box { radii: radii.iter().map(float_below).collect() }
            }
            Perturbation::L2 { radius } => {
                Self::Euclidean { square: radius.mul(radius), radius: float_below(radius) }
            }
            Perturbation::Sensor(set) => {
                Self::Sensor(SensorBall { set: set.clone(), room: vec![None; set.radii.len()] })
            }
        }
    }

    /// The ball of a sensor's set around a state, exactly, in the units of the set; `None` for the other sets, which are the
    /// same around every state.
    pub fn around(set: &PerturbationSet, state: &[Rational]) -> Option<Self> {
        let Perturbation::Sensor(set) = &set.shape else { return None };
        let mut room = vec![None; set.radii.len()];
        for limit in &set.limits {
            let base = state.get(limit.input)?;
            *room.get_mut(limit.input)? = Some((limit.lower.sub(base), limit.upper.sub(base)));
        }
        Some(Self::Sensor(SensorBall { set: set.clone(), room }))
    }

    /// The offset farthest along `slope`; 0 in coordinates without one.
    pub fn farthest(&self, slope: &[f64]) -> Vec<f64> {
        match self {
            Self::Box { radii } => {
                let along =
                    |(slope, radius): (&f64, &f64)| if *slope == 0.0 { 0.0 } else { slope.signum() * radius };
                slope.iter().zip(radii).map(along).collect()
            }
            Self::Euclidean { radius, .. } => {
                // Scaled by the largest entry first, so that squares neither overflow nor vanish.
                let largest = slope.iter().fold(0.0f64, |most, s| s.abs().max(most));
                if largest == 0.0 || !largest.is_finite() {
                    return vec![0.0; slope.len()];
                }
                let length = slope.iter().map(|s| (s / largest).powi(2)).sum::<f64>().sqrt();
                slope.iter().map(|s| s / largest / length * radius).collect()
            }
            Self::Sensor(set) => set.farthest(slope),
        }
    }

    /// The end of one coordinate of a box.
    pub fn end(&self, coordinate: usize) -> Option<f64> {
        match self {
            Self::Box { radii } => radii.get(coordinate).copied(),
            Self::Euclidean { .. } | Self::Sensor(_) => None,
        }
    }

    /// The offset, or the nearest that lies in the ball exactly.
    pub fn inside(&self, mut offset: Vec<f64>) -> Vec<f64> {
        match self {
            Self::Box { radii } => {
                offset
                    .iter_mut()
                    .zip(radii)
                    .for_each(|(o, r)| *o = if o.is_finite() { o.clamp(-*r, *r) } else { 0.0 });
                offset
            }
            Self::Euclidean { square, .. } => {
                let mut excess = f64::EPSILON;
                while excess < 1.0 {
                    let squares = offset.iter().try_fold(Rational::zero(), |sum, o| {
                        let exact = float_to_rational(*o)?;
                        Some(sum.add(&exact.mul(&exact)))
                    });
                    if squares.is_some_and(|squares| squares <= *square) {
                        return offset;
                    }
                    offset.iter_mut().for_each(|o| *o *= 1.0 - excess);
                    excess *= 2.0;
                }
                vec![0.0; offset.len()]
            }
            Self::Sensor(set) => set.inside(&offset).unwrap_or_else(|| vec![0.0; offset.len()]),
        }
    }
}

/// The largest float that is not above a rational number.
fn float_below(value: &Rational) -> f64 {
    let nearest = rational_to_float(value);
    match float_to_rational(nearest) {
        Some(exact) if exact <= *value => nearest,
        Some(_) => nearest.next_down(),
        None => f64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_checker::model::{InputLimit, SharedOffset, Units};

    fn ball(shape: Perturbation, width: usize) -> FloatBall {
        FloatBall::new(&PerturbationSet { shape, units: Units::Raw }, width)
    }

    fn exact(value: f64) -> Rational {
        float_to_rational(value).expect("finite")
    }

    /// The float nearest to 1/10 is above it, so the end is the one before; one above the end is outside.
    #[test]
    fn ends_of_a_box_are_the_last_floats_inside() {
        for text in ["1/10", "0.3", "1/3", "7/100", "1/4", "0"] {
            let radius = Rational::parse(text).expect("a number");
            let found = ball(Perturbation::Linf { radius: radius.clone() }, 2);
            let end = found.end(1).expect("a box");
            assert!(exact(end) <= radius && exact(end.next_up()) > radius, "{text}: {end}");
            assert_eq!(found.inside(vec![9.0, -9.0]), [end, -end]);
            assert_eq!(found.farthest(&[-2.0, 0.0]), [-end, 0.0]);
        }
        assert!(
            0.1 > ball(Perturbation::Linf { radius: Rational::parse("1/10").expect("a number") }, 1)
                .end(0)
                .expect("a box")
        );
    }

    #[test]
    fn points_of_a_euclidean_ball_are_inside_exactly() {
        let radius = Rational::parse("0.3").expect("a number");
        let found = ball(Perturbation::L2 { radius: radius.clone() }, 3);
        for slope in [[1.0, 2.0, -3.0], [1e-300, 0.0, 1e-300], [0.0, 0.0, 7.0], [1e300, 1e300, 1.0]] {
            let point = found.inside(found.farthest(&slope));
            let squares = point.iter().fold(Rational::zero(), |sum, o| sum.add(&exact(*o).mul(&exact(*o))));
            assert!(squares <= radius.mul(&radius));
            let almost = Rational::parse("0.299999999999").expect("a number");
            assert!(squares >= almost.mul(&almost), "{slope:?}: {squares}");
        }
        let none = ball(Perturbation::L2 { radius: Rational::zero() }, 2);
        assert_eq!(none.inside(none.farthest(&[1.0, 1.0])), [0.0, 0.0]);
    }

    /// One offset for two inputs, of which the second has no noise: it says exactly what the offset is; the limit of a third.
    #[test]
    fn points_of_a_sensors_set_are_inside_exactly() {
        let r = |text: &str| Rational::parse(text).expect("a number");
        let shared = vec![SharedOffset { radius: r("0.1"), inputs: vec![0, 1] }];
        let limits = vec![InputLimit { input: 2, lower: r("-1/3"), upper: r("0.3") }];
        let radii = vec![r("1/30"), Rational::zero(), r("7")];
        let set = PerturbationSet {
            shape: Perturbation::Sensor(SensorSet { radii: radii.clone(), shared, limits }),
            units: Units::Raw,
        };
        let found = FloatBall::around(&set, &[r("0"), r("0"), r("0.2")]).expect("a sensor's set");
        for slope in
            [[1.0, 2.0, -3.0], [-5.0, 1.0, 1.0], [5.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, -1.0, -1.0]]
        {
            let point: Vec<Rational> = found.inside(found.farthest(&slope)).into_iter().map(exact).collect();
            let offset = &point[1];
            assert!(
                offset.abs() <= r("0.1") && point[0].sub(offset).abs() <= radii[0],
                "{slope:?}: {point:?}"
            );
            assert!(r("-8/15") <= point[2] && point[2] <= r("0.1"), "{slope:?}: {point:?}");
            // As far as it goes, but for roundings.
            let along = |at: usize| exact(slope[at]).mul(&point[at]);
            let sum =
                exact(slope[0] + slope[1]).abs().mul(&r("0.1")).add(&exact(slope[0]).abs().mul(&radii[0]));
            assert!(along(0).add(&along(1)) >= sum.sub(&r("1e-12")), "{slope:?}: {point:?}");
        }
        // Apart by more than the noise: pulled together.
        let point: Vec<Rational> = found.inside(vec![1.0, -1.0, 9.0]).into_iter().map(exact).collect();
        assert!(point[0].sub(&point[1]).abs() <= radii[0] && point[2] <= r("0.1"), "{point:?}");
    }
}
