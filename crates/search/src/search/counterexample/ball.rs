//! The ball in `f64`, with ends rounded inward. Untrusted.

use secateur_checker::model::{Perturbation, PerturbationSet};
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
        }
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
        }
    }

    /// The end of one coordinate of a box.
    pub fn end(&self, coordinate: usize) -> Option<f64> {
        match self {
            Self::Box { radii } => radii.get(coordinate).copied(),
            Self::Euclidean { .. } => None,
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
    use secateur_checker::model::Units;

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
}
