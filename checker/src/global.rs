//! The families that hold for all states: sensitivity and norm products. Trusted. `spec/rules/global.md`.

use crate::family::Family;
use crate::kernel::fault::{Fault, Place};
use crate::kernel::head::OutputChange;
use crate::kernel::input::{global_radii, global_set};
use crate::kernel::norm::{NormFamily, NormProduct, norm_product, norm_product_chain, norm_product_spectral};
use crate::kernel::scaled::ScaledNetwork;
use crate::kernel::sensitivity::sensitivity;
use crate::model::{Mask, Perturbation};
use crate::number::Rational;
use crate::problem::Problem;
use crate::reader::witness::WitnessFile;
use crate::rejection::Reason;
use crate::table::MaskTable;

/// A problem with its weights as integers and its perturbation in the network's units.
pub(crate) struct GlobalProblem<'a> {
    problem: &'a Problem<'a>,
    network: ScaledNetwork,
    radii: Vec<Rational>,
    perturbation: Perturbation,
}

impl<'a> GlobalProblem<'a> {
    /// Prepares the dense weights and the radii.
    ///
    /// # Errors
    /// [`Reason`].
    pub(crate) fn new(problem: &'a Problem<'a>) -> Result<Self, Reason> {
        let network = ScaledNetwork::new(&problem.policy.network)?;
        let radii = global_radii(problem.policy, problem.perturbation)?;
        let perturbation = global_set(problem.perturbation, &radii)?;
        Ok(Self { problem, network, radii, perturbation })
    }

    /// One table per mask.
    ///
    /// # Errors
    /// [`Reason`].
    pub(crate) fn tables(&self, family: Family) -> Result<Vec<MaskTable>, Reason> {
        self.family(family).map_err(|reason| match reason {
            Reason::Rule { fault } => fault.at(Place::Family(family.entry().name)).into(),
            other => other,
        })
    }

    fn family(&self, family: Family) -> Result<Vec<MaskTable>, Reason> {
        match family {
            Family::Sensitivity => self.each(|_, mask| {
                let deviation = sensitivity(&self.network, Some(mask), &self.radii)?;
                let changes = vec![OutputChange::from_deviation(deviation)];
                Ok(MaskTable { changes, ..MaskTable::default() })
            }),
            Family::NormLinf => self.products(NormFamily::Linf),
            Family::NormL1 => self.products(NormFamily::L1),
            Family::NormFrobenius => self.products(NormFamily::Frobenius),
            Family::NormAbsSpectral => self.abs_spectral(),
            Family::Spectral => self.spectral(),
            Family::Ibp
            | Family::Crown
            | Family::CrownOptimised
            | Family::CrownQuadratic
            | Family::Lp
            | Family::Branch
            | Family::ChainHull
            | Family::EnvelopeIbp
            | Family::EnvelopeCrown
            | Family::PrunedDeviation
            | Family::Binary32Ibp
            | Family::Binary32Crown
            | Family::Band(_)
            | Family::BandCrown(_) => Err(Fault::OtherScope { family: family.entry().name }.into()),
        }
    }

    /// One table a mask.
    fn each(
        &self,
        table: impl Fn(usize, &Mask) -> Result<MaskTable, Reason>,
    ) -> Result<Vec<MaskTable>, Reason> {
        self.problem.masks.iter().enumerate().map(|(index, mask)| table(index, mask)).collect()
    }

    fn products(&self, family: NormFamily) -> Result<Vec<MaskTable>, Reason> {
        self.each(|_, mask| {
            let product = norm_product(&self.network, Some(mask), family, &self.perturbation);
            self.table_of(product?, family)
        })
    }

    fn witness(&self) -> Result<WitnessFile<'a>, Reason> {
        let bytes = self.problem.witness.ok_or(Reason::NoWitness)?;
        WitnessFile::parse(bytes).map_err(Reason::from)
    }

    fn abs_spectral(&self) -> Result<Vec<MaskTable>, Reason> {
        let file = self.witness()?;
        let mut vectors = Vec::new();
        for mask in 0..self.problem.masks.len() {
            let layers = 0..self.problem.policy.network.layers.len();
            vectors.push(Some(layers.map(|layer| file.vector(mask, layer)).collect::<Result<_, _>>()?));
        }
        let products = norm_product_chain(&self.network, self.problem.masks, &vectors, &self.perturbation);
        let products = products?;
        products.into_iter().map(|p| self.table_of(p, NormFamily::AbsSpectral)).collect()
    }

    fn spectral(&self) -> Result<Vec<MaskTable>, Reason> {
        let file = self.witness()?;
        let layers = self.problem.policy.network.layers.len();
        self.each(|index, mask| {
            let factor = |layer| file.factor(index, layer)?.ok_or(Reason::WitnessRange);
            let witnesses = (0..layers).map(factor).collect::<Result<Vec<_>, _>>()?;
            let product = norm_product_spectral(&self.network, Some(mask), &witnesses, &self.perturbation);
            self.table_of(product?, NormFamily::Spectral)
        })
    }

    /// What a bound on one vector norm of the change says about outputs, their differences and their Euclidean norm.
    fn table_of(&self, product: NormProduct, family: NormFamily) -> Result<MaskTable, Reason> {
        let change = product.change(family, self.problem.policy.network.outputs())?;
        Ok(MaskTable {
            changes: vec![change],
            margins: Vec::new(),
            layer_norms: product.layers,
            product: Some(product.product),
        })
    }
}
