//! Regions: what holds at every state of a box, by the cells of a tree of the witness file. Trusted. `spec/rules/region.md`.

use std::borrow::Cow;

use crate::claim::{Bound, Claim, Proofs};
use crate::family::{BandEnd, Family};
use crate::kernel::band::{BandNetwork, band_bounds};
use crate::kernel::bounds::{StateBounds, difference, margin};
use crate::kernel::crown::{Witness, bound_outputs, crown_layers};
use crate::kernel::enclose::TanhTable;
use crate::kernel::fault::{Fault, Place};
use crate::kernel::grid::{GridNetwork, GridScale};
use crate::kernel::head::HeadBounds;
use crate::kernel::input::{InputSet, cell_magnitude, cell_set};
use crate::kernel::interval::GridBox;
use crate::kernel::softmax::Softmax;
use crate::kernel::split::{Node, Region, walk};
use crate::model::{Head, Mask, PerturbationSet, Policy, Units};
use crate::number::{Rational, Rounding};
use crate::reader::certificate::Certificate;
use crate::reader::regions::{RegionClaim, RegionEntry};
use crate::reader::trees::Trees;
use crate::reader::witness::WitnessFile;
use crate::rejection::Reason;
use crate::sentences::LIMIT_REGIONS;
use crate::table::{FamilyTable, MaskTable, Quantity};
use crate::tables::tanh_table;

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
        Ok(Self { policy, units, set, band, network, table: tanh_table()?, margins })
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
        let center = bounds.center.clone();
        let bounds = StateBounds::from_band(bounds, None)?;
        let margin = if self.margins { self.margin(&input, &center, bounds.oscillation)? } else { None };
        let softmax = matches!(self.policy.head, Head::Categorical);
        let policy = softmax.then(|| Softmax::new(&center, self.network.value_bits)).transpose()?;
        StateBounds { margin, ..bounds }.known(policy.as_ref())
    }

    /// Rule `local.margin` over the cell: `center` holds what the network gives at any state of it.
    fn margin(&self, input: &InputSet, center: &GridBox, oscillation: i64) -> Result<Option<i64>, Fault> {
        let overflow = || Fault::Overflow { layer: self.network.layers.len() };
        let outputs = center.intervals().len();
        let layers = crown_layers(&self.network, self.table, input, Witness::default())?;
        let layers = layers.ok_or(Fault::EmptyInterval { layer: 0, neuron: 0 })?;
        margin(center, oscillation, |leader, other| {
            let weights = difference(outputs, Some(other), Some(leader));
            let gain = bound_outputs(&self.network, self.table, &layers, input, &weights, None)?;
            gain.checked_neg().ok_or_else(overflow)
        })
    }

    /// A cell's values as a table with one state.
    pub fn table(&self, bounds: &StateBounds) -> FamilyTable {
        let (change, margin) = bounds.exact(self.network.value_bits);
        let mask = MaskTable { changes: vec![change], margins: vec![margin], ..MaskTable::default() };
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
    fn new(claim: &RegionClaim) -> Result<Self, Reason> {
        let quantity = Quantity::named(&claim.quantity)?;
        let shares = claim.shares.iter().map(|s| (s.threshold.clone(), Rational::zero())).collect();
        Ok(Self { quantity, output: claim.output, worst: None, shares })
    }

    /// Takes in a cell that is `share` of the volume.
    fn add(&mut self, table: &FamilyTable, head: &HeadBounds, share: &Rational) -> Result<(), Reason> {
        let mut values = table.values(head, self.quantity, 0, self.output)?;
        let value = values.pop().ok_or(Reason::NoOutput)?;
        let from_above = self.quantity.rounding() == Rounding::Up;
        for (threshold, sum) in &mut self.shares {
            // A margin of exactly 0 keeps no action.
            let keeps = if from_above { value <= *threshold } else { value > *threshold };
            if keeps {
                *sum = sum.add(share);
            }
        }
        let all = self.worst.take().into_iter().chain([value]);
        self.worst = if from_above { all.max() } else { all.min() };
        Ok(())
    }

    /// The worst cell's value, then the fractions.
    fn bounds(self) -> Result<Vec<Bound>, Reason> {
        let worst = self.quantity.bound(self.worst.ok_or(Reason::TreeMissing)?);
        let shares = self.shares.into_iter().map(|(_, fraction)| Bound::AtLeast(fraction));
        Ok([worst].into_iter().chain(shares).collect())
    }
}

/// Rule `region.cover`: the worst cell bounds the box, and the cells that keep a threshold add up to a share of it. One
/// entry per claim; the claims' values are not read. `progress(done, total)` is called after every cell.
///
/// # Errors
/// [`Reason`].
pub fn prove_region(
    problem: &RegionProblem<'_>,
    entry: &RegionEntry,
    tree: &[u8],
    head: &HeadBounds,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Proved>, Reason> {
    let nodes = count_nodes(problem, tree)?;
    let mut trees = Trees::new(tree);
    trees.begin();
    let mut proved = entry.claims.iter().map(Proved::new).collect::<Result<Vec<_>, _>>()?;
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
        let share = share_of(entry, part)?;
        for proved in &mut proved {
            if let Err(reason) = proved.add(&table, head, &share) {
                missing = missing.take().or(Some(reason));
            }
        }
        progress(node.saturating_add(1), nodes);
        Ok(())
    });
    walked.map_err(|e| e.at(Place::Tree(0)))?;
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
fn share_of(entry: &RegionEntry, part: &Region) -> Result<Rational, Fault> {
    let whole = entry.lower.iter().zip(&entry.upper);
    let cell = part.lower.iter().zip(&part.upper);
    let mut share = Rational::one();
    for ((lower, upper), (from, to)) in whole.zip(cell).filter(|((lower, upper), _)| lower != upper) {
        let ratio = to.sub(from).div(&upper.sub(lower)).map_err(|_| Fault::ZeroDenominator)?;
        share = share.mul(&ratio);
    }
    Ok(share)
}

impl Claim for RegionEntry {
    const KIND: &'static str = "region";

    fn about(&self) -> Vec<String> {
        let place = format!("{:?} {:?} {}", self.lower, self.upper, self.mask);
        self.claims.iter().map(|c| format!("{place} {} {:?}", c.quantity, c.output)).collect()
    }

    fn limits(_: &[Self]) -> Result<Vec<&'static str>, Reason> {
        Ok(vec![LIMIT_REGIONS])
    }

    fn assumptions(&self, _: &Certificate) -> Vec<Cow<'static, str>> {
        Vec::new()
    }

    fn stated(&self) -> Vec<Cow<'_, str>> {
        let numbers = self.claims.iter().map(|claim| {
            let shares = claim.shares.iter().map(|share| Cow::from(share.fraction.to_string()));
            [Cow::from(&claim.value)].into_iter().chain(shares)
        });
        numbers.flatten().collect()
    }

    fn part(&self, number: usize) -> String {
        let mut before = 0usize;
        for (claim, entry) in self.claims.iter().enumerate() {
            if let Some(share) = number.checked_sub(before).filter(|n| *n <= entry.shares.len()) {
                return match share {
                    0 => format!(", claim {claim}"),
                    _ => format!(", claim {claim}, share {}", share.saturating_sub(1)),
                };
            }
            before = before.saturating_add(entry.shares.len()).saturating_add(1);
        }
        String::new()
    }

    fn prove(&self, entry: usize, proofs: &mut Proofs<'_>) -> Result<Vec<Bound>, Reason> {
        let problem = proofs.problem;
        let file = WitnessFile::parse(problem.witness.ok_or(Reason::NoWitness)?)?;
        let tree = file.region(entry)?.ok_or(Reason::TreeMissing)?;
        let mask = problem.masks.get(self.mask).ok_or(Reason::NoMask)?;
        let fits = self.lower.len() == problem.policy.network.inputs()
            && self.upper.len() == self.lower.len()
            && self.lower.iter().zip(&self.upper).all(|(lower, upper)| lower <= upper);
        if !fits {
            return Err(Reason::BoxShape);
        }
        let margins = self.claims.iter().any(|c| c.quantity == Quantity::SameActionMargin.name());
        let space = (self.lower.as_slice(), self.upper.as_slice());
        let (units, set) = (problem.states.units, problem.perturbation);
        let cells = RegionProblem::new(problem.policy, mask, space, units, set, margins)?;
        let proved = prove_region(&cells, self, tree, proofs.head, proofs.progress)?;
        let bounds = proved.into_iter().map(Proved::bounds).collect::<Result<Vec<_>, _>>()?;
        Ok(bounds.into_iter().flatten().collect())
    }
}
