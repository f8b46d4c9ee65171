//! The families that hold for all states: sensitivity and norm products. Trusted. `spec/rules/global.md`.

use core::fmt;

use num_bigint::BigInt;

use crate::evaluate::Problem;
use crate::family::Family;
use crate::kernel::enclose::sqrt;
use crate::kernel::fault::Fault;
use crate::kernel::head::OutputChange;
use crate::kernel::input::global_radii;
use crate::kernel::norm::{
    NormFamily, NormProduct, SpectralWitness, norm_product, norm_product_chain, norm_product_spectral,
};
use crate::kernel::scaled::ScaledNetwork;
use crate::kernel::sensitivity::sensitivity_prepared;
use crate::model::{Perturbation, Units};
use crate::number::Rational;
use crate::reader::clause::Clause;
use crate::reader::witness::WitnessFile;
use crate::table::MaskTable;

/// Why a global family could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobalError {
    /// The radii do not fit the policy.
    Radii(Fault),
    /// A rule refused.
    Rule(Fault),
    /// The family needs a witness file, and there is none.
    NoWitness,
    /// The witness file is malformed or lacks a tensor.
    Witness(Clause),
    /// A witness number is too large.
    WitnessRange,
    /// The family is not a global one.
    NotGlobal,
}

impl GlobalError {
    /// Whether the witness is at fault: evidence that does not hold, not a limit of the checker.
    pub fn is_about_witness(&self) -> bool {
        match self {
            Self::NoWitness | Self::Witness(_) | Self::WitnessRange => true,
            Self::Rule(rule) => matches!(
                rule,
                Fault::WitnessCount { .. }
                    | Fault::WitnessLength { .. }
                    | Fault::WitnessNotPositive { .. }
                    | Fault::WitnessTooLong { .. }
                    | Fault::MissingWitness { .. }
            ),
            Self::Radii(_) | Self::NotGlobal => false,
        }
    }
}

impl fmt::Display for GlobalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Radii(e) => e.fmt(f),
            Self::Rule(e) => e.fmt(f),
            Self::NoWitness => f.write_str("needs a witness file"),
            Self::Witness(e) => write!(f, "witness file: {e}"),
            Self::WitnessRange => f.write_str("a witness number is too large"),
            Self::NotGlobal => f.write_str("holds at listed states only"),
        }
    }
}

/// A problem with its weights as integers and its perturbation in the network's units.
pub struct GlobalProblem<'a> {
    problem: &'a Problem<'a>,
    network: ScaledNetwork,
    radii: Vec<Rational>,
    perturbation: Perturbation,
}

impl<'a> GlobalProblem<'a> {
    /// Prepares the dense weights and the radii.
    ///
    /// # Errors
    /// [`GlobalError`].
    pub fn new(problem: &'a Problem<'a>) -> Result<Self, GlobalError> {
        let network = ScaledNetwork::new(&problem.policy.network).map_err(GlobalError::Rule)?;
        let radii = global_radii(problem.policy, problem.perturbation).map_err(GlobalError::Radii)?;
        let perturbation = match (&problem.perturbation.shape, problem.perturbation.units) {
            (shape, Units::Normalised) => shape.clone(),
            // The normaliser makes an ellipsoid of the ball; its longest semi-axis bounds its Euclidean size.
            (Perturbation::L2 { .. }, Units::Raw) => {
                Perturbation::L2 { radius: radii.iter().max().cloned().unwrap_or_else(Rational::zero) }
            }
            _ => Perturbation::PerCoordinate { radii: radii.clone() },
        };
        Ok(Self { problem, network, radii, perturbation })
    }

    /// One table per mask.
    ///
    /// # Errors
    /// [`GlobalError`].
    pub fn tables(&self, family: Family) -> Result<Vec<MaskTable>, GlobalError> {
        let masks = self.problem.masks.iter();
        match family {
            Family::Sensitivity => masks
                .map(|mask| {
                    let deviation = sensitivity_prepared(&self.network, Some(mask), &self.radii);
                    Ok(from_deviation(deviation.map_err(GlobalError::Rule)?))
                })
                .collect(),
            Family::NormLinf => self.products(NormFamily::Linf),
            Family::NormL1 => self.products(NormFamily::L1),
            Family::NormFrobenius => self.products(NormFamily::Frobenius),
            Family::NormAbsSpectral => self.abs_spectral(),
            Family::Spectral => self.spectral(),
            _ => Err(GlobalError::NotGlobal),
        }
    }

    fn products(&self, family: NormFamily) -> Result<Vec<MaskTable>, GlobalError> {
        let masks = self.problem.masks.iter();
        masks
            .map(|mask| {
                let product = norm_product(&self.network, Some(mask), family, &self.perturbation);
                self.table_of(product.map_err(GlobalError::Rule)?, family)
            })
            .collect()
    }

    fn witness(&self) -> Result<WitnessFile<'a>, GlobalError> {
        let bytes = self.problem.witness.ok_or(GlobalError::NoWitness)?;
        WitnessFile::parse(bytes).map_err(GlobalError::Witness)
    }

    fn abs_spectral(&self) -> Result<Vec<MaskTable>, GlobalError> {
        let file = self.witness()?;
        let mut vectors = Vec::new();
        for mask in 0..self.problem.masks.len() {
            let layers = 0..self.problem.policy.network.layers.len();
            let layers = layers.map(|layer| file.vector(mask, layer).map_err(GlobalError::Witness));
            vectors.push(Some(layers.collect::<Result<Vec<Vec<BigInt>>, GlobalError>>()?));
        }
        let products = norm_product_chain(&self.network, self.problem.masks, &vectors, &self.perturbation);
        let products = products.map_err(GlobalError::Rule)?;
        products.into_iter().map(|p| self.table_of(p, NormFamily::AbsSpectral)).collect()
    }

    fn spectral(&self) -> Result<Vec<MaskTable>, GlobalError> {
        let file = self.witness()?;
        let mut tables = Vec::new();
        for (index, mask) in self.problem.masks.iter().enumerate() {
            let layers = 0..self.problem.policy.network.layers.len();
            let witnesses = layers.map(|layer| factor(&file, index, layer)).collect::<Result<Vec<_>, _>>()?;
            let product = norm_product_spectral(&self.network, Some(mask), &witnesses, &self.perturbation);
            tables.push(self.table_of(product.map_err(GlobalError::Rule)?, NormFamily::Spectral)?);
        }
        Ok(tables)
    }

    /// What a bound on one vector norm of the change says about outputs, their differences and their Euclidean norm.
    fn table_of(&self, product: NormProduct, family: NormFamily) -> Result<MaskTable, GlobalError> {
        let bound = product.deviation;
        let outputs = self.problem.policy.network.outputs();
        let two = Rational::from_integer(BigInt::from(2u8));
        let (oscillation, euclidean) = match family {
            NormFamily::Linf => (bound.mul(&two), None),
            // |x_i - x_j| <= |x|_1, and |x|_2 <= |x|_1.
            NormFamily::L1 => (bound.clone(), Some(bound.clone())),
            // |x_i - x_j| <= sqrt(2) |x|_2.
            _ => (bound.mul(&sqrt(&two).map_err(GlobalError::Rule)?.upper), Some(bound.clone())),
        };
        let change = OutputChange { deviation: vec![bound; outputs], oscillation, euclidean };
        Ok(MaskTable {
            changes: vec![change],
            margins: Vec::new(),
            layer_norms: product.layers,
            product: Some(product.product),
        })
    }
}

fn factor(file: &WitnessFile<'_>, mask: usize, layer: usize) -> Result<SpectralWitness, GlobalError> {
    file.factor(mask, layer).map_err(|clause| match clause {
        Clause::WitnessRange => GlobalError::WitnessRange,
        clause => GlobalError::Witness(clause),
    })
}

/// A deviation per output, each in either direction.
fn from_deviation(deviation: Vec<Rational>) -> MaskTable {
    let mut sorted: Vec<&Rational> = deviation.iter().collect();
    sorted.sort();
    let mut largest = sorted.into_iter().rev();
    let first = largest.next().cloned().unwrap_or_else(Rational::zero);
    // Outputs i and j drift apart by at most v_i + v_j; with one output there is nothing to compare.
    let oscillation = largest.next().map_or_else(Rational::zero, |second| first.add(second));
    let change = OutputChange { deviation, oscillation, euclidean: None };
    MaskTable { changes: vec![change], ..MaskTable::default() }
}
