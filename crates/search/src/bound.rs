//! Bounds in plain `f64`: interval and backward linear passes. Untrusted; they propose, the checker decides.
//! `spec/rules/README.md` (families `ibp`, `crown`).

use crate::float::FloatActivation;

pub mod boxes;
pub mod crown;
pub mod ibp;
pub mod kernel;
pub mod lanes;
pub mod relax;

/// What is taken off every bound, relative to the terms it was summed from: well above the rounding of the sums, though
/// not a proof.
pub const SLACK: f64 = 1.0 / (1u64 << 44) as f64;

/// Lower and upper bounds of equally many quantities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatBounds {
    /// Lower bounds.
    pub lower: Vec<f64>,
    /// Upper bounds, as many.
    pub upper: Vec<f64>,
}

impl FloatBounds {
    /// Number of bounded quantities.
    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        self.lower.is_empty()
    }

    /// Mean of `upper - lower`; 0 when empty.
    pub fn mean_width(&self) -> f64 {
        let sum: f64 = self.lower.iter().zip(&self.upper).map(|(l, u)| u - l).sum();
        sum / self.lower.len().max(1) as f64
    }

    /// The bounds of the activation's values.
    pub fn through(mut self, activation: FloatActivation) -> Self {
        for (l, u) in self.lower.iter_mut().zip(&mut self.upper) {
            (*l, *u) = activation.range(*l, *u);
        }
        self
    }

    /// Takes the better of both bounds, coordinate by coordinate.
    pub fn meet(&mut self, other: &Self) {
        for (l, o) in self.lower.iter_mut().zip(&other.lower) {
            *l = l.max(*o);
        }
        for (u, o) in self.upper.iter_mut().zip(&other.upper) {
            *u = u.min(*o);
        }
    }
}

/// The inputs over which a network is bounded.
#[derive(Clone, Debug, PartialEq)]
pub enum FloatRegion {
    /// `center[i] - radius[i] <= x[i] <= center[i] + radius[i]`.
    Box {
        /// Centre.
        center: Vec<f64>,
        /// Half width per coordinate, not negative.
        radius: Vec<f64>,
    },
    /// Euclidean ball.
    Ball {
        /// Centre.
        center: Vec<f64>,
        /// Radius, not negative.
        radius: f64,
    },
}

impl FloatRegion {
    /// The l_inf ball around `center`.
    pub fn linf(center: Vec<f64>, radius: f64) -> Self {
        let radius = vec![radius; center.len()];
        Self::Box { center, radius }
    }

    /// The box between two corners.
    pub fn between(lower: &[f64], upper: &[f64]) -> Self {
        let center = lower.iter().zip(upper).map(|(l, u)| 0.5 * (l + u)).collect();
        let radius = lower.iter().zip(upper).map(|(l, u)| 0.5 * (u - l)).collect();
        Self::Box { center, radius }
    }

    /// The centre.
    pub fn center(&self) -> &[f64] {
        match self {
            Self::Box { center, .. } | Self::Ball { center, .. } => center,
        }
    }

    /// The largest deviation of coordinate `i` from the centre.
    pub fn reach(&self, i: usize) -> f64 {
        match self {
            Self::Box { radius, .. } => radius[i],
            Self::Ball { radius, .. } => *radius,
        }
    }
}
