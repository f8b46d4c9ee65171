//! Why a rule does not apply: one variant per side condition, with the place where it failed.
//! Trusted. `spec/rules/`, the side conditions of each section.

use core::fmt;

/// A side condition of a rule that does not hold. Indices count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelError {
    /// The argument of `enclose.exp` is above [`super::enclose::MAX_EXP_ARGUMENT`].
    ExpArgumentTooLarge,
    /// The argument of `enclose.sqrt` is below 0.
    SqrtOfNegative,
    /// The argument of `enclose.gaussian-tv` is below 0.
    NegativeDistance,
    /// A layer's weight table, bias or width does not fit its shape or the layer before it.
    LayerShape {
        /// The layer.
        layer: usize,
    },
    /// The network has no layers.
    EmptyNetwork,
    /// A mask has another number of layers than the network.
    MaskLayers {
        /// Layers of the network.
        expected: usize,
        /// Layers of the mask.
        found: usize,
    },
    /// A mask's table is not as long as the layer's weight table.
    MaskShape {
        /// The layer.
        layer: usize,
        /// Entries of the weight.
        expected: usize,
        /// Entries of the mask.
        found: usize,
    },
    /// The radii are not one per input.
    RadiiLength {
        /// Inputs of the network.
        expected: usize,
        /// Radii given.
        found: usize,
    },
    /// A radius is below 0.
    NegativeRadius {
        /// The input coordinate.
        coordinate: usize,
    },
    /// A witness does not have one part per layer (or per mask, for a chain).
    WitnessCount {
        /// Parts needed.
        expected: usize,
        /// Parts given.
        found: usize,
    },
    /// A witness for a layer has the wrong number of entries.
    WitnessLength {
        /// The layer.
        layer: usize,
        /// Entries needed.
        expected: usize,
        /// Entries given.
        found: usize,
    },
    /// An entry of a Collatz-Wielandt vector is not above 0.
    WitnessNotPositive {
        /// The layer.
        layer: usize,
        /// The entry.
        coordinate: usize,
    },
    /// An entry of a witness has more bits than allowed.
    WitnessTooLarge {
        /// The layer.
        layer: usize,
    },
    /// A chain starts with a mask that has no vector of its own.
    MissingWitness {
        /// The mask.
        mask: usize,
    },
    /// A division by zero that the other side conditions exclude.
    ZeroDenominator,
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExpArgumentTooLarge => f.write_str("the argument of exp is too large"),
            Self::SqrtOfNegative => f.write_str("square root of a negative number"),
            Self::NegativeDistance => f.write_str("a distance between means is negative"),
            Self::LayerShape { layer } => {
                write!(f, "layer {layer} does not fit its shape or the layer before it")
            }
            Self::EmptyNetwork => f.write_str("the network has no layers"),
            Self::MaskLayers { expected, found } => {
                write!(f, "the mask has {found} layers, the network {expected}")
            }
            Self::MaskShape { layer, expected, found } => {
                write!(f, "the mask of layer {layer} has {found} entries, the weight {expected}")
            }
            Self::RadiiLength { expected, found } => {
                write!(f, "{found} radii for {expected} inputs")
            }
            Self::NegativeRadius { coordinate } => write!(f, "the radius of input {coordinate} is negative"),
            Self::WitnessCount { expected, found } => {
                write!(f, "the witness has {found} parts where {expected} are needed")
            }
            Self::WitnessLength { layer, expected, found } => {
                write!(f, "the witness of layer {layer} has {found} entries where {expected} are needed")
            }
            Self::WitnessNotPositive { layer, coordinate } => {
                write!(f, "entry {coordinate} of the witness of layer {layer} is not positive")
            }
            Self::WitnessTooLarge { layer } => {
                write!(f, "the witness of layer {layer} has an entry with too many bits")
            }
            Self::MissingWitness { mask } => {
                write!(f, "mask {mask} has no witness and no earlier one to use")
            }
            Self::ZeroDenominator => f.write_str("division by zero"),
        }
    }
}
