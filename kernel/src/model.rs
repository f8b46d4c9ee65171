//! The objects a certificate speaks about: networks, policies, masks, states, perturbation sets.
//! Trusted; plain data, made by `reader` after every shape was checked. `spec/semantics.md`.

use alloc::string::String;
use alloc::vec::Vec;
use core::slice::ChunksExact;

use crate::fault::Fault;
use crate::number::{Dyadic, Rational};

/// An activation function, applied to each coordinate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x` for `x >= 0`, else `slope * x`.
    LeakyRelu {
        /// Slope on the negative side, in [0, 1].
        slope: Rational,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(x, lower), upper)`, with `lower < upper`; hardtanh is `[-1, 1]`.
    Clip {
        /// Least output.
        lower: Rational,
        /// Greatest output.
        upper: Rational,
    },
    /// `x` for `x >= 0`, else `alpha * (exp(x) - 1)`.
    Elu {
        /// Size of the negative side, in (0, 1].
        alpha: Rational,
    },
    /// `x / (1 + exp(-x))`: `x` times the logistic function of `x`.
    Silu,
}

/// A dense matrix of stored numbers, row-major, `rows x columns` (out x in for weights, S x n for states).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns; `rows * columns` is the length of `values`.
    pub columns: usize,
    /// Row-major entries.
    pub values: Vec<Dyadic>,
}

/// `activation(weight * x + bias)`; `bias` has `weight.rows` entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Weights, out x in, as stored (before any mask).
    pub weight: Matrix,
    /// Biases.
    pub bias: Vec<Dyadic>,
    /// Activation after the affine map.
    pub activation: Activation,
    /// A scale layer: its weight is diagonal and no learned weight, so that no mask may touch it and no sparsity counts it.
    pub fixed: bool,
}

/// Layers in order; each layer's width is the next one's input width; at least one layer, no width 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The layers.
    pub layers: Vec<Layer>,
}

/// What the network's outputs mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Mean of a Gaussian with state-independent diagonal standard deviation `exp(log_std)`.
    Gaussian {
        /// One entry per output.
        log_std: Vec<Dyadic>,
    },
    /// Logits of a softmax.
    Categorical,
    /// The action itself.
    Deterministic,
}

/// Observation normaliser `clip((s - mean) / std, -clip, clip)`; a file may store the factor `1 / std` instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normaliser {
    /// Per-coordinate mean.
    pub mean: Vec<Dyadic>,
    /// Per-coordinate standard deviation, positive; the exact inverse of a stored factor.
    pub std: Vec<Rational>,
    /// Clip radius, positive; `None` means no clip.
    pub clip: Option<Rational>,
}

/// What the files are for that a policy can be imported from, in the order of [`Source::files`]. `source` stands for the
/// only file of manifests that keep no options.
pub const SOURCE_ROLES: [&str; 4] = ["source", "model", "normaliser", "log-std"];

/// What a policy directory was imported from. The checker carries it, it cannot test it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The files, at most one per role of [`SOURCE_ROLES`].
    pub files: Vec<SourceFile>,
    /// Names and values of the options that the import was given, in the order of their names.
    pub options: Vec<(String, String)>,
}

/// A file that an import read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// One of [`SOURCE_ROLES`].
    pub role: &'static str,
    /// File name, without a path.
    pub name: String,
    /// Plain SHA-256: 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// A policy: network, head, optional normaliser, optional source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The network from (normalised) observation to head.
    pub network: Network,
    /// What its outputs mean.
    pub head: Head,
    /// Observation normaliser, if any.
    pub normaliser: Option<Normaliser>,
    /// Where it was imported from, if known.
    pub source: Option<Source>,
}

/// One pruning mask: per layer a row-major out x in table; `true` = kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// One table per layer, as long as that layer's weight.
    pub layers: Vec<Vec<bool>>,
}

/// Whether observations or radii are in the environment's units or the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// What the environment emits, before the normaliser.
    Raw,
    /// What the network reads, after the normaliser.
    Normalised,
}

/// A finite list of states; `values` is S x n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct States {
    /// The table.
    pub values: Matrix,
    /// Units of the table.
    pub units: Units,
}

/// The shape and size of what an adversary may add to an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Perturbation {
    /// Every coordinate by at most `radius`.
    Linf {
        /// Radius, not negative.
        radius: Rational,
    },
    /// Euclidean length at most `radius`.
    L2 {
        /// Radius, not negative.
        radius: Rational,
    },
    /// Coordinate `i` by at most `radii[i]`.
    PerCoordinate {
        /// Radii, not negative, one per input.
        radii: Vec<Rational>,
    },
    /// What a robot's sensors do: noise, offsets that several coordinates share, and limits of what can be observed.
    Sensor(SensorSet),
}

/// `s + A o + n`, cut to limits: noise `n`, offsets `o`, and a map `A` that adds each offset to its coordinates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorSet {
    /// Noise: coordinate `i` by at most `radii[i]`, not negative, one per input.
    pub radii: Vec<Rational>,
    /// Offsets; no coordinate has two.
    pub shared: Vec<SharedOffset>,
    /// Limits; no coordinate has two.
    pub limits: Vec<InputLimit>,
}

/// A bias: one offset for all of its coordinates, such as the copies of a sensor's reading in several frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedOffset {
    /// The offset is at most this, not negative.
    pub radius: Rational,
    /// Inputs, from 0.
    pub inputs: Vec<usize>,
}

/// Where an input is, unperturbed and perturbed, in the units of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputLimit {
    /// Input, from 0.
    pub input: usize,
    /// Least value.
    pub lower: Rational,
    /// Greatest value, at least the least.
    pub upper: Rational,
}

/// A perturbation with its units (DESIGN: normalised perturbations are added after the normaliser and not clipped
/// again; raw ones before it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerturbationSet {
    /// Shape and size.
    pub shape: Perturbation,
    /// Units of the radii.
    pub units: Units,
}

impl Network {
    /// Input width; 0 only for a network without layers, which the reader refuses.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |l| l.weight.columns)
    }

    /// Output width.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |l| l.weight.rows)
    }
}

impl Matrix {
    /// The rows in order.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`] unless it has `rows * columns` values and a column.
    pub(crate) fn checked_rows(&self, layer: usize) -> Result<ChunksExact<'_, Dyadic>, Fault> {
        let fits = self.columns > 0 && self.rows.checked_mul(self.columns) == Some(self.values.len());
        // Only where it fits: chunks of no column do not exist.
        fits.then(|| self.values.chunks_exact(self.columns)).ok_or(Fault::ShapeMismatch { layer })
    }
}

impl States {
    /// Drops all rows but the first `rows`; a certificate may speak of the head of a longer file.
    pub fn keep_first(&mut self, rows: usize) {
        let kept = rows.min(self.values.rows);
        // The table has `rows * columns` values, so that the product is no more than their number.
        self.values.values.truncate(kept.saturating_mul(self.values.columns));
        self.values.rows = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rows_are_kept() {
        let dyadic = |n: i64| Dyadic::new(n, 0);
        let values = Matrix { rows: 3, columns: 2, values: (0..6).map(dyadic).collect() };
        let states = States { units: Units::Raw, values };
        for (asked, kept) in [(0, 0), (2, 2), (3, 3), (usize::MAX, 3)] {
            let mut states = states.clone();
            states.keep_first(asked);
            let expected: Vec<Dyadic> = (0..2 * kept).map(dyadic).collect();
            assert_eq!(
                (states.values.rows, states.values.values),
                (usize::try_from(kept).unwrap(), expected)
            );
        }
    }
}
