//! Claims about every state of a box: rules `region.cell` and `region.cover`. Trusted. `spec/rules/region.md`.
//!
//! A tree of input cuts covers the box; each cell's change is bounded as a band's of one mask over the cell enlarged by the
//! adversary's set, with the adversary's radii alone as the change of the input.

use core::fmt;
use std::collections::BTreeSet;

use crate::family::{BandEnd, Family, StateBounds, margin};
use crate::kernel::band::{BandNetwork, band_bounds};
use crate::kernel::crown::{NoWitness, bound_outputs, crown_layers};
use crate::kernel::enclose::TanhTable;
use crate::kernel::fault::{Class, Fault, Place};
use crate::kernel::grid::{GridNetwork, GridScale};
use crate::kernel::head::{HeadBounds, OutputChange};
use crate::kernel::ibp::GridBox;
use crate::kernel::input::{InputSet, cell_magnitude, cell_set};
use crate::kernel::split::{Node, Region, walk};
use crate::model::{Head, Mask, PerturbationSet, Policy, Units};
use crate::number::{Rational, Rounding};
use crate::reader::certificate::Certificate;
use crate::reader::escaped::Escaped;
use crate::reader::regions::{RegionClaim, RegionEntry};
use crate::reader::trees::Trees;
use crate::reader::witness::WitnessFile;
use crate::table::{FamilyTable, MaskTable, Quantity, TableError};
use crate::tables::tanh_table;

/// Limit that a certificate with regions must list.
pub const LIMIT_REGIONS: &str = "regions: a region's bound speaks of the states in its box only, and a fraction is one of the box's volume, not of how often a policy visits it";

/// Why the entries of `regions` are not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionRejection {
    /// The box has another number of ends than the policy has inputs, or a lower end above its upper one.
    BoxShape {
        /// Position of the region.
        region: usize,
    },
    /// The chain has no such mask.
    NoMask {
        /// Position of the region.
        region: usize,
    },
    /// The witness file has no tree for the region.
    TreeMissing {
        /// Position of the region.
        region: usize,
    },
    /// The tree or a cell's bound failed.
    Cell {
        /// Position of the region.
        region: usize,
        /// Why.
        reason: Fault,
    },
    /// A claim names no quantity of this version.
    UnknownQuantity {
        /// Position of the region.
        region: usize,
        /// The name.
        quantity: String,
    },
    /// A claim asks for something that does not exist.
    NoSuchClaim {
        /// Position of the region.
        region: usize,
        /// Position of the claim in it.
        claim: usize,
        /// Why.
        reason: TableError,
    },
    /// A claimed value is not a number.
    NotANumber {
        /// Position of the region.
        region: usize,
        /// Position of the claim in it.
        claim: usize,
    },
    /// A claim is better than what can be proved.
    TooTight {
        /// Position of the region.
        region: usize,
        /// Position of the claim in it.
        claim: usize,
        /// What is claimed, exactly.
        claimed: Rational,
        /// What is proved, exactly.
        proved: Rational,
    },
    /// A claimed fraction of the volume is larger than the proved one.
    FractionTooLarge {
        /// Position of the region.
        region: usize,
        /// Position of the claim in it.
        claim: usize,
        /// What is claimed.
        claimed: Rational,
        /// What is proved.
        proved: Rational,
    },
    /// A claim repeats an earlier one: the same box, mask, quantity and output.
    Duplicate {
        /// Position of the region.
        region: usize,
        /// Position of the claim in it.
        claim: usize,
    },
    /// [`LIMIT_REGIONS`] is not listed.
    LimitMissing,
}

impl fmt::Display for RegionRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BoxShape { region } => {
                write!(f, "region {region}: the box does not fit the policy's inputs")
            }
            Self::NoMask { region } => write!(f, "region {region}: the chain has no such mask"),
            Self::TreeMissing { region } => {
                write!(f, "region {region}: the witness file has no tree for it")
            }
            Self::Cell { region, reason } => write!(f, "region {region}: {reason}"),
            Self::UnknownQuantity { region, quantity } => {
                write!(f, "region {region}: no quantity is called {}", Escaped(quantity))
            }
            Self::NoSuchClaim { region, claim, reason } => {
                write!(f, "region {region}, claim {claim}: {reason}")
            }
            Self::NotANumber { region, claim } => {
                write!(f, "region {region}, claim {claim}: the value is not a number")
            }
            Self::TooTight { region, claim, claimed, proved } => {
                write!(f, "region {region}, claim {claim}: claims {claimed}, only {proved} is proved")
            }
            Self::FractionTooLarge { region, claim, claimed, proved } => write!(
                f,
                "region {region}, claim {claim}: claims the fraction {claimed}, only {proved} is proved"
            ),
            Self::Duplicate { region, claim } => {
                write!(f, "region {region}, claim {claim} repeats an earlier one")
            }
            Self::LimitMissing => write!(f, "the limit \"{LIMIT_REGIONS}\" is not listed"),
        }
    }
}

/// What a claim says about a box: a policy under one mask and an adversary, on the grids that the whole box fixes.
pub struct RegionProblem<'a> {
    policy: &'a Policy,
    units: Units,
    set: &'a PerturbationSet,
    band: BandNetwork,
    network: GridNetwork,
    table: &'static TanhTable,
    /// Whether margins were asked for; they cost a backward pass a cell.
    margins: bool,
}

impl<'a> RegionProblem<'a> {
    /// Puts the masked network on the grids for the box from `lower` to `upper`, in the states' units.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn new(
        policy: &'a Policy,
        mask: &Mask,
        (lower, upper): (&[Rational], &[Rational]),
        units: Units,
        set: &'a PerturbationSet,
        margins: bool,
    ) -> Result<Self, Fault> {
        let magnitude = cell_magnitude(policy, (lower, upper), units, set)?;
        let scale = GridScale::new(&policy.network, &magnitude)?;
        let band = BandNetwork::new(&policy.network, mask, Some(mask), &scale)?;
        let network = GridNetwork::new(&policy.network, Some(mask), &scale)?;
        let margins =
            margins && policy.network.outputs() > 1 && !matches!(policy.head, Head::Gaussian { .. });
        Ok(Self { policy, units, set, band, network, table: tanh_table(), margins })
    }

    /// What the network may read, and how far the adversary moves it, at any state of a cell.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn input(&self, cell: (&[Rational], &[Rational])) -> Result<InputSet, Fault> {
        cell_set(self.policy, cell, self.units, self.set, self.network.value_bits)
    }

    /// Rule `region.cell`: bounds that hold at every state of the cell.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn cell(&self, cell: (&[Rational], &[Rational])) -> Result<StateBounds, Fault> {
        let input = self.input(cell)?;
        let bounds = band_bounds(&self.band, self.table, &input, true)?;
        let (deviation, oscillation) = (bounds.deviation, bounds.oscillation);
        let margin = if self.margins { self.margin(&input, &bounds.center, oscillation)? } else { None };
        Ok(StateBounds { deviation, oscillation, margin })
    }

    /// Rule `local.margin` over the cell: `center` holds what the network gives at any state of it.
    fn margin(&self, input: &InputSet, center: &GridBox, oscillation: i64) -> Result<Option<i64>, Fault> {
        let overflow = || Fault::Overflow { layer: self.network.layers.len() };
        let outputs = center.lower.len();
        let layers = crown_layers(&self.network, self.table, input, &NoWitness)?;
        let layers = layers.ok_or(Fault::EmptyInterval { layer: 0, neuron: 0 })?;
        margin(center, oscillation, |leader, other| {
            let sign = |o: usize| i64::from(o == other).saturating_sub(i64::from(o == leader));
            let weights: Vec<i64> = (0..outputs).map(sign).collect();
            let gain = bound_outputs(&self.network, self.table, &layers, input, &weights, None)?;
            gain.checked_neg().ok_or_else(overflow)
        })
    }

    /// A cell's values as a table with one state.
    pub fn table(&self, bounds: &StateBounds) -> FamilyTable {
        let bits = i64::from(self.network.value_bits).saturating_neg();
        let exact = |value: i64| Rational::from_dyadic(value.into(), bits);
        let change = OutputChange {
            deviation: bounds.deviation.iter().map(|&d| exact(d)).collect(),
            oscillation: exact(bounds.oscillation),
            euclidean: None,
        };
        let margins = vec![bounds.margin.map(exact)];
        let mask = MaskTable { changes: vec![change], margins, ..MaskTable::default() };
        FamilyTable { family: Family::Band(BandEnd::Mask(0)), masks: vec![mask] }
    }
}

/// What the cells prove of one claim.
pub struct Proved {
    quantity: Quantity,
    output: Option<usize>,
    /// The worst cell's value; some cell has one.
    pub worst: Option<Rational>,
    /// Threshold and proved fraction of the volume.
    pub shares: Vec<(Rational, Rational)>,
}

impl Proved {
    fn new(region: usize, claim: &RegionClaim) -> Result<Self, RegionRejection> {
        let unknown = || RegionRejection::UnknownQuantity { region, quantity: claim.quantity.clone() };
        let quantity = Quantity::parse(&claim.quantity).ok_or_else(unknown)?;
        let shares = claim.shares.iter().map(|s| (s.threshold.clone(), Rational::zero())).collect();
        Ok(Self { quantity, output: claim.output, worst: None, shares })
    }

    /// Takes in a cell that is `share` of the volume.
    fn add(&mut self, table: &FamilyTable, head: &HeadBounds, share: &Rational) -> Result<(), TableError> {
        let mut values = table.values(head, self.quantity, 0, self.output)?;
        let value = values.pop().ok_or(TableError::NoOutput)?;
        let from_above = self.quantity.rounding() == Rounding::Up;
        for (threshold, sum) in &mut self.shares {
            // A margin of exactly 0 keeps no action.
            let keeps = if from_above { value <= *threshold } else { value > *threshold };
            if keeps {
                *sum = sum.add(share);
            }
        }
        let worst = match self.worst.take() {
            None => value,
            Some(worst) if from_above => worst.max(value),
            Some(worst) => worst.min(value),
        };
        self.worst = Some(worst);
        Ok(())
    }

    fn check(self, region: usize, claim: usize, stated: &RegionClaim) -> Result<(), RegionRejection> {
        let claimed =
            Rational::parse(&stated.value).map_err(|_| RegionRejection::NotANumber { region, claim })?;
        let proved = self.worst.ok_or(RegionRejection::TreeMissing { region })?;
        let holds =
            if self.quantity.rounding() == Rounding::Up { claimed >= proved } else { claimed <= proved };
        if !holds {
            return Err(RegionRejection::TooTight { region, claim, claimed, proved });
        }
        for (share, (_, proved)) in stated.shares.iter().zip(self.shares) {
            if share.fraction > proved {
                let claimed = share.fraction.clone();
                return Err(RegionRejection::FractionTooLarge { region, claim, claimed, proved });
            }
        }
        Ok(())
    }
}

/// Checks every entry of `regions`; `progress(done, total)` is called after every cell.
///
/// # Errors
/// [`RegionRejection`], the first one found.
pub fn check_regions(
    certificate: &Certificate,
    policy: &Policy,
    masks: &[Mask],
    witness: Option<&[u8]>,
    head: &HeadBounds,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), RegionRejection> {
    if certificate.regions.is_empty() {
        return Ok(());
    }
    if !certificate.limits.iter().any(|l| l == LIMIT_REGIONS) {
        return Err(RegionRejection::LimitMissing);
    }
    let mut seen = BTreeSet::new();
    let file = witness.and_then(|bytes| WitnessFile::parse(bytes).ok());
    for (region, entry) in certificate.regions.iter().enumerate() {
        let tree = file.as_ref().and_then(|f| f.region(region).ok());
        let tree = tree.ok_or(RegionRejection::TreeMissing { region })?;
        let mask = masks.get(entry.mask).ok_or(RegionRejection::NoMask { region })?;
        let fits = entry.lower.len() == policy.network.inputs()
            && entry.upper.len() == entry.lower.len()
            && entry.lower.iter().zip(&entry.upper).all(|(lower, upper)| lower <= upper);
        if !fits {
            return Err(RegionRejection::BoxShape { region });
        }
        for (claim, stated) in entry.claims.iter().enumerate() {
            let about = (&entry.lower, &entry.upper, entry.mask, &stated.quantity, stated.output);
            if !seen.insert(about) {
                return Err(RegionRejection::Duplicate { region, claim });
            }
        }
        let margins = entry.claims.iter().any(|c| c.quantity == Quantity::SameActionMargin.name());
        let cell = |reason| RegionRejection::Cell { region, reason };
        let space = (entry.lower.as_slice(), entry.upper.as_slice());
        let (units, set) = (certificate.state_units, &certificate.perturbation);
        let problem = RegionProblem::new(policy, mask, space, units, set, margins).map_err(cell)?;
        let proved = prove_region(&problem, region, entry, tree, head, progress)?;
        for (claim, (proved, stated)) in proved.into_iter().zip(&entry.claims).enumerate() {
            proved.check(region, claim, stated)?;
        }
    }
    Ok(())
}

/// Rule `region.cover`: the worst cell bounds the box, and the cells that keep a threshold add up to a share of it. One
/// entry per claim; the claims' values are not read.
///
/// # Errors
/// [`RegionRejection`].
pub fn prove_region(
    problem: &RegionProblem<'_>,
    region: usize,
    entry: &RegionEntry,
    tree: &[u8],
    head: &HeadBounds,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Proved>, RegionRejection> {
    let refused = |reason| RegionRejection::Cell { region, reason };
    let nodes = count_nodes(problem, tree).map_err(refused)?;
    let mut trees = Trees::new(tree);
    trees.begin();
    let mut proved = entry.claims.iter().map(|c| Proved::new(region, c)).collect::<Result<Vec<_>, _>>()?;
    let root = Region { lower: entry.lower.clone(), upper: entry.upper.clone(), signs: Vec::new() };
    let mut missing = None;
    let mut next = |_| trees.node(&problem.network);
    let walked = walk(&problem.network, root, &mut next, &mut |node, part, leaf| {
        // A cell is a box without signs, and its bound reads no slopes.
        if !part.signs.is_empty() || *leaf != (Node::Leaf { constraint: 0, witness: None }) {
            return Err(Fault::NoSuchPlace { node });
        }
        let bounds = problem.cell((part.lower.as_slice(), part.upper.as_slice()));
        let table = problem.table(&bounds.map_err(|e| e.at(Place::Node(node)))?);
        let share = share_of(entry, part);
        for (claim, proved) in proved.iter_mut().enumerate() {
            if let Err(reason) = proved.add(&table, head, &share) {
                missing = missing.take().or(Some(RegionRejection::NoSuchClaim { region, claim, reason }));
            }
        }
        progress(node.saturating_add(1), nodes);
        Ok(())
    });
    walked.map_err(|e| refused(e.at(Place::Tree(0))))?;
    missing.map_or(Ok(proved), Err)
}

/// The number of a tree's nodes; nothing follows them.
fn count_nodes(problem: &RegionProblem<'_>, tree: &[u8]) -> Result<usize, Fault> {
    let mut trees = Trees::new(tree);
    trees.begin();
    let mut nodes = 0usize;
    while !trees.is_complete() {
        trees.node(&problem.network).map_err(|e| e.at(Place::Tree(0)))?;
        nodes = nodes.saturating_add(1);
    }
    trees.finish()?;
    Ok(nodes)
}

/// The cell's share of the box's volume, exactly; an input without extent is never cut and counts for nothing.
fn share_of(entry: &RegionEntry, part: &Region) -> Rational {
    let whole = entry.lower.iter().zip(&entry.upper);
    let cell = part.lower.iter().zip(&part.upper);
    let ratios = whole.zip(cell).filter_map(|((l, u), (a, b))| b.sub(a).div(&u.sub(l)).ok());
    ratios.fold(Rational::one(), |product, ratio| product.mul(&ratio))
}

impl RegionRejection {
    /// Whether evidence does not hold, rather than a limit of the checker.
    pub fn is_about_evidence(&self) -> bool {
        if let Self::Cell { reason, .. } = self { reason.class() == Class::Evidence } else { true }
    }
}
