//! The box around an observation in which an adversary may move what the policy reads. Untrusted. `spec/attacks.md#radii`.

use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::Rational;
use serde::{Deserialize, Serialize};

use super::plan::{AttackError, WrittenNumber};
use crate::float::normaliser::FixedNormaliser;

/// Steps of a gradient attack.
pub(super) const STEPS: usize = 10;

/// How far an adversary may move each input, as it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WrittenRadii {
    /// Every normalised input by the same: the l_inf ball of the literature.
    Equal(WrittenNumber),
    /// Each input by its own.
    Each {
        /// Of the radii.
        #[serde(with = "UnitsWord")]
        units: Units,
        /// One for each input.
        radii: Vec<WrittenNumber>,
    },
}

/// The words of certificates for units.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Units", rename_all = "lowercase")]
enum UnitsWord {
    Raw,
    Normalised,
}

impl From<WrittenNumber> for WrittenRadii {
    fn from(radius: WrittenNumber) -> Self {
        Self::Equal(radius)
    }
}

impl WrittenRadii {
    /// The radii of a set over `inputs` inputs each of which moves by itself; `None` for any other set.
    ///
    /// # Errors
    /// [`AttackError::Number`] for a number that no `f64` is near.
    pub fn each(set: &PerturbationSet, inputs: usize) -> Result<Option<Self>, AttackError> {
        let written = |radius: &Rational| WrittenNumber::parse(&radius.to_string());
        let radii = match &set.shape {
            Perturbation::Linf { radius } => vec![written(radius)?; inputs],
            Perturbation::PerCoordinate { radii } => radii.iter().map(written).collect::<Result<_, _>>()?,
            Perturbation::L2 { .. } | Perturbation::Sensor(_) => return Ok(None),
        };
        Ok(Some(Self::Each { units: set.units, radii }))
    }

    /// All numbers.
    pub fn numbers(&self) -> &[WrittenNumber] {
        match self {
            Self::Equal(radius) => std::slice::from_ref(radius),
            Self::Each { radii, .. } => radii,
        }
    }

    /// The ball around what a policy with this normaliser reads.
    ///
    /// # Errors
    /// [`AttackError::Radii`] if there are not as many radii as inputs, [`AttackError::Range`] if one is too large.
    pub fn ball(&self, normaliser: &FixedNormaliser) -> Result<Ball, AttackError> {
        let expected = normaliser.std.len();
        let ball = match self {
            Self::Equal(radius) => Ball::equal(radius.value(), expected),
            Self::Each { radii, .. } if radii.len() != expected => {
                return Err(AttackError::Radii { found: radii.len(), expected });
            }
            Self::Each { units: Units::Normalised, radii } => {
                Ball { radii: radii.iter().map(WrittenNumber::value).collect(), clip: None }
            }
            Self::Each { units: Units::Raw, radii } => {
                let scaled = radii.iter().zip(&normaliser.std).map(|(radius, std)| radius.value() / std);
                Ball { radii: scaled.collect(), clip: Some(normaliser.clip) }
            }
        };
        if ball.radii.iter().all(|radius| radius.is_finite()) {
            Ok(ball)
        } else {
            Err(AttackError::Range { name: "radius", must: "within the range of f64 after the normaliser" })
        }
    }
}

/// What an adversary may do at every observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Ball {
    /// Half widths of the box, in normalised units.
    radii: Vec<f64>,
    /// The normaliser's clip if raw observations are moved: it clips what became of them. Normalised ones are moved behind
    /// the clip.
    clip: Option<f64>,
}

impl Ball {
    /// Every one of `inputs` normalised inputs by at most `radius`.
    pub fn equal(radius: f64, inputs: usize) -> Self {
        Self { radii: vec![radius; inputs], clip: None }
    }

    /// Half widths of the box, in normalised units.
    pub fn radii(&self) -> &[f64] {
        &self.radii
    }

    /// The box around `input`, which was `unclipped` before the normaliser's clip.
    pub fn around(&self, unclipped: &[f64], input: &[f64]) -> Room<'_> {
        let (centre, end) = match self.clip {
            Some(clip) => (unclipped, clip),
            None => (input, f64::INFINITY),
        };
        let ends = |sign: f64| {
            let end = |(centre, radius): (&f64, &f64)| (centre + sign * radius).clamp(-end, end);
            centre.iter().zip(&self.radii).map(end).collect()
        };
        Room { radii: &self.radii, lower: ends(-1.0), upper: ends(1.0) }
    }
}

/// A ball around one observation.
pub struct Room<'a> {
    radii: &'a [f64],
    lower: Vec<f64>,
    upper: Vec<f64>,
}

impl Room<'_> {
    /// Moves every input by what `by` says of its place and radius, and back into the box.
    pub fn shift(&self, input: &mut [f64], mut by: impl FnMut(usize, f64) -> f64) {
        let ends = self.lower.iter().zip(&self.upper);
        for (place, ((value, radius), (lower, upper))) in
            input.iter_mut().zip(self.radii).zip(ends).enumerate()
        {
            let moved = *value + by(place, *radius);
            // Ends that are no numbers have no order, and then nothing is within them.
            *value = if lower <= upper { moved.clamp(*lower, *upper) } else { moved };
        }
    }

    /// Takes one of `steps` steps that lead from the centre to an end: along the sign of every input's slope.
    pub fn climb(&self, input: &mut [f64], slope: &[f64], steps: usize) {
        self.shift(input, |place, radius| match slope.get(place) {
            Some(slope) if *slope != 0.0 => slope.signum() * (radius / steps as f64),
            _ => 0.0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(units: Units, radii: &[&str]) -> WrittenRadii {
        let radii = radii.iter().map(|text| WrittenNumber::parse(text).expect("a number"));
        WrittenRadii::Each { units, radii: radii.collect() }
    }

    /// Observations 3, 1, -5 by 8/5 over deviation 2, clip 1: 1.5, 0.5, -2.5 by 0.8 before the clip. In raw units the first
    /// comes back to 0.7, the last not at all; in normalised ones 1, 0.5, -1 are moved and the clip is behind them.
    #[test]
    fn raw_observations_are_clipped_after_they_moved() {
        let normaliser = FixedNormaliser { mean: vec![0.0; 3], std: vec![2.0; 3], clip: 1.0 };
        let unclipped = normaliser.scale(&[3.0, 1.0, -5.0]);
        let input = normaliser.clipped(&unclipped);
        for (units, radius, wanted) in [
            (Units::Raw, "8/5", [(0.7, 1.0), (-0.3, 1.0), (-1.0, -1.0)]),
            (Units::Normalised, "0.8", [(0.2, 1.8), (-0.3, 1.3), (-1.8, -0.2)]),
        ] {
            let ball = each(units, &[radius; 3]).ball(&normaliser).expect("as many as inputs");
            assert_eq!(ball.radii(), [0.8; 3]);
            let room = ball.around(&unclipped, &input);
            for (sign, ends) in [(-1.0, wanted.map(|ends| ends.0)), (1.0, wanted.map(|ends| ends.1))] {
                let mut moved = input.clone();
                room.climb(&mut moved, &[sign; 3], 1);
                assert!(moved.iter().zip(ends).all(|(a, b)| (a - b).abs() < 1e-12), "{units:?}: {moved:?}");
            }
        }
    }

    /// A tenth of its radius each: ten steps lead to the ends, and no step further.
    #[test]
    fn steps_are_parts_of_each_radius() {
        let ball = each(Units::Normalised, &["1", "0.1", "0"]).ball(&FixedNormaliser::identity(3));
        let ball = ball.expect("as many as inputs");
        let room = ball.around(&[0.0; 3], &[0.0; 3]);
        let mut moved = [0.0; 3];
        room.climb(&mut moved, &[-2.0, 3.0, 5.0], STEPS);
        assert_eq!(moved, [-0.1, 0.01, 0.0]);
        (0..20).for_each(|_| room.climb(&mut moved, &[-2.0, 3.0, 5.0], STEPS));
        assert_eq!(moved, [-1.0, 0.1, 0.0]);
        room.climb(&mut moved, &[0.0, -1.0, 1.0], STEPS);
        assert!(moved[0] == -1.0 && (moved[1] - 0.09).abs() < 1e-12 && moved[2] == 0.0, "{moved:?}");
    }

    /// One radius over a tiny deviation is no number any more; nothing is moved by infinity.
    #[test]
    fn radii_beyond_floats_are_refused() {
        let normaliser = FixedNormaliser { std: vec![1e-300], ..FixedNormaliser::identity(1) };
        let found = each(Units::Raw, &["1e300"]).ball(&normaliser);
        assert!(matches!(found, Err(AttackError::Range { name: "radius", .. })), "{found:?}");
    }
}
