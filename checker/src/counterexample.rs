//! What one point per state and mask proves from below: the points of a witness file through rule `counterexample.point`.
//! Trusted. `spec/certificate-bracket.md`. These numbers never share a type with upper bounds.

use core::fmt;

use crate::evaluate::Problem;
use crate::family::LocalProblem;
use crate::kernel::fault::Fault;
use crate::kernel::point::{PointHead, deviation_from_below, enclose_outputs, perturbed_inputs};
use crate::model::Head;
use crate::number::{Dyadic, Rational};
use crate::reader::clause::Clause;
use crate::reader::witness::WitnessFile;
use crate::table::{Quantity, TableError};
use crate::tables::tanh_table;

/// Why the points prove nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PointsError {
    /// There is no witness file.
    NoWitness,
    /// The witness file is malformed, lacks a mask's points, or they hold a NaN or an infinity.
    Witness(Clause),
    /// A mask's points are not binary64, or not one row a state with one column an input.
    WrongShape {
        /// Mask, from 0.
        mask: usize,
    },
    /// The networks do not fit the grid.
    Grid(Fault),
    /// The head's constants could not be computed.
    Head(Fault),
    /// A point is refused.
    Point {
        /// Mask, from 0.
        mask: usize,
        /// State, from 0.
        state: usize,
        /// Why.
        reason: Fault,
    },
}

impl fmt::Display for PointsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWitness => f.write_str("there is no witness file with points"),
            Self::Witness(e) => e.fmt(f),
            Self::WrongShape { mask } => write!(
                f,
                "the points of mask {mask} are not binary64 with one row a state and one column an input"
            ),
            Self::Grid(e) => e.fmt(f),
            Self::Head(e) => e.fmt(f),
            Self::Point { mask, state, reason } => write!(f, "mask {mask}, state {state}: {reason}"),
        }
    }
}

/// The quantities that a point bounds from below.
pub const QUANTITIES: [Quantity; 2] = [Quantity::ActionDeviation, Quantity::TotalVariation];

/// Lower bounds at one state under one mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointValues {
    /// Of each output's absolute change.
    pub deviation: Vec<Rational>,
    /// Of the total variation; `None` for a deterministic head.
    pub total_variation: Option<Rational>,
}

impl PointValues {
    /// The lower bounds on `quantity` in the order of places: one per output, or one.
    pub fn of(&self, quantity: Quantity) -> &[Rational] {
        match quantity {
            Quantity::ActionDeviation => &self.deviation,
            Quantity::TotalVariation => self.total_variation.as_slice(),
            _ => &[],
        }
    }
}

/// Lower bounds by state, then mask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointTable {
    /// One list per state, with one entry per mask.
    pub states: Vec<Vec<PointValues>>,
}

impl PointTable {
    /// The exact lower bounds on `quantity` under mask `mask`, one per state.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn values(
        &self,
        quantity: Quantity,
        mask: usize,
        output: Option<usize>,
    ) -> Result<Vec<Rational>, TableError> {
        if output.is_some() != (quantity == Quantity::ActionDeviation) {
            return Err(TableError::NoOutput);
        }
        let missing = if output.is_some() { TableError::NoOutput } else { TableError::NotForThisHead };
        let value = |state: &Vec<PointValues>| {
            let values = state.get(mask).ok_or(TableError::NoMask)?.of(quantity);
            values.get(output.unwrap_or(0)).cloned().ok_or_else(|| missing.clone())
        };
        self.states.iter().map(value).collect()
    }
}

/// A problem with the points of its witness file; states are evaluated one at a time.
pub struct PointProblem<'a> {
    problem: Problem<'a>,
    local: LocalProblem<'a>,
    head: PointHead<'a>,
    /// By mask, row-major: the points' offsets from the states.
    offsets: Vec<Vec<Dyadic>>,
}

impl<'a> PointProblem<'a> {
    /// Reads the points of every mask: tensor `counterexample.MASK`, binary64, states x inputs.
    ///
    /// # Errors
    /// [`PointsError`].
    pub fn new(problem: &Problem<'a>) -> Result<Self, PointsError> {
        let local = LocalProblem::new(problem.policy, problem.masks, problem.states, problem.perturbation);
        let local = local.map_err(PointsError::Grid)?;
        let file = WitnessFile::parse(problem.witness.ok_or(PointsError::NoWitness)?);
        let file = file.map_err(PointsError::Witness)?;
        let mut offsets = Vec::with_capacity(problem.masks.len());
        for mask in 0..problem.masks.len() {
            let table = file.points(mask, local.states(), problem.policy.network.inputs());
            offsets.push(table.map_err(|clause| match clause {
                Clause::PointsShape { mask } => PointsError::WrongShape { mask },
                clause => PointsError::Witness(clause),
            })?);
        }
        let head = PointHead::new(&problem.policy.head).map_err(PointsError::Head)?;
        Ok(Self { problem: *problem, local, head, offsets })
    }

    /// Number of states.
    pub fn states(&self) -> usize {
        self.local.states()
    }

    /// One entry per mask; independent of every other state, so that a caller may run states in parallel.
    ///
    /// # Errors
    /// [`PointsError::Point`].
    pub fn evaluate_state(&self, state: usize) -> Result<Vec<PointValues>, PointsError> {
        let masks = 0..self.offsets.len();
        let at =
            |mask: usize| self.at(mask, state).map_err(|reason| PointsError::Point { mask, state, reason });
        masks.map(at).collect()
    }

    fn at(&self, mask: usize, state: usize) -> Result<PointValues, Fault> {
        let Problem { policy, states, perturbation, .. } = self.problem;
        let network = self.local.masked(mask).ok_or(Fault::PointShape)?;
        let mut rows = self.offsets.get(mask).ok_or(Fault::PointShape)?.chunks(states.values.columns);
        let row = rows.nth(state).ok_or(Fault::PointShape)?;
        let offset: Vec<Rational> = row.iter().map(|d| d.to_rational()).collect();
        let (clean, table) = (self.local.state(state)?, tanh_table());
        let (clean, moved) = perturbed_inputs(policy, clean, states.units, perturbation, &offset)?;
        let (clean, moved) =
            (enclose_outputs(network, table, &clean)?, enclose_outputs(network, table, &moved)?);
        let bits = self.local.value_bits;
        let total_variation = match policy.head {
            Head::Deterministic => None,
            _ => Some(self.head.total_variation(&clean, &moved, bits)?),
        };
        Ok(PointValues { deviation: deviation_from_below(&clean, &moved, bits), total_variation })
    }
}
