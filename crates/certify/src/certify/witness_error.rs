//! Why a search found no evidence. Untrusted.

use secateur_checker::kernel::fault::Fault;

use crate::float::FloatError;
#[cfg(feature = "lp")]
use crate::search::lp::LpError;

/// Why a witness could not be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// The network cannot be lowered to floats.
    #[error("{0}")]
    Float(#[from] FloatError),
    /// The triangle relaxation does not exist.
    #[cfg(feature = "lp")]
    #[error(
        "lp: {0}; it is for relu, leaky relu and identity, and for boxes: take crown-optimised or branch"
    )]
    Lp(#[from] LpError),
    /// The linear programs are left out.
    #[cfg(not(feature = "lp"))]
    #[error("lp: this program was built without the feature `lp`")]
    NoLp,
    /// A state's inputs do not fit the grid.
    #[error("{0}")]
    Grid(Fault),
    /// The slopes of all states would not fit a witness file.
    #[error(
        "the slopes of every state, mask and family take {slopes} bytes and a witness file holds {most}: certify at most {pairs} \
         pairs of state and mask for all such families together, or take crown-quadratic, which needs no witness"
    )]
    SlopesTooLarge {
        /// Bytes.
        slopes: usize,
        /// Bytes of the largest file.
        most: usize,
        /// How many states, times masks and families, would fit.
        pairs: usize,
    },
    /// A layer is wider than the split trees can name.
    #[error("branch: a layer of the network is wider than 65535")]
    TooWide,
    /// Interrupted by the user.
    #[error("interrupted; nothing was written")]
    Interrupted,
}
