//! The witness side file: the norm families' vectors and factors as binary64 tensors. `spec/certificate.md#witness`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use num_traits::ToPrimitive;
use rayon::prelude::*;
use secateur_checker::evaluate::Problem;
use secateur_checker::family::{Family, WitnessKind};
use secateur_checker::local::LocalProblem;
use secateur_checker::model::{Mask, Network};
use secateur_checker::reader::safetensors::MAX_FILE;

use crate::bound::FloatRegion;
use crate::certify::cells::{CellRequest, propose_cells};
use crate::certify::given_slopes::GivenSlopes;
use crate::certify::radius::RadiusTensor;
use crate::certify::trees::propose_trees;
pub use crate::certify::witness_error::WitnessError;
use crate::float::FloatNetwork;
use crate::policy::emit::emit_safetensors;
use crate::progress::Progress;
use crate::search::counterexample::PointSearch;
#[cfg(feature = "lp")]
use crate::search::lp::search_lp;
use crate::search::norm_witness::{propose_abs_spectral, propose_spectral};
use crate::search::slopes::witness::{SlopeWitness, TargetSlopes, store_slope, stored_slopes};
use crate::search::slopes::{SlopeOptions, SlopeSearch, search_slopes};

/// What a witness file holds beside the families' own evidence.
pub struct Wanted<'a> {
    /// Regions that `branch` may bound for each of its trees.
    pub branch_steps: u64,
    /// Cells of one tree a state and mask, which take the place of those trees.
    pub cells: Option<&'a CellRequest>,
    /// The trees of the regions claimed.
    pub regions: &'a [Vec<u8>],
    /// Whether attack points are searched.
    pub points: bool,
    /// What proves the radii claimed.
    pub radii: &'a [RadiusTensor],
    /// Slopes that another tool found.
    pub slopes: Option<&'a GivenSlopes>,
}

/// The witness file for these families: `abs-spectral.MASK.LAYER`, `spectral.MASK.LAYER.factor` and `.rho`, and
/// `FAMILY.MASK` with one row of slopes a state, `branch.MASK` with split trees, `counterexample.MASK` with one offset a
/// state, `region.K` with region K's tree, `radius.K....` with what proves entry K of the radii.
///
/// # Errors
/// [`WitnessError`].
pub fn propose_witness(
    problem: &Problem<'_>,
    local: &LocalProblem<'_>,
    families: &[Family],
    wanted: &Wanted<'_>,
    progress: &dyn Progress,
) -> Result<Vec<u8>, WitnessError> {
    let (network, masks) = (&problem.policy.network, problem.masks);
    let searched = families.iter().filter(|f| f.entry().witness == WitnessKind::Slopes).count();
    if searched > 0 {
        // Those of one state are as long as those of any other.
        let each = emit_state(&FloatNetwork::from_model(network, None)?, &SlopeWitness::default()).len();
        let slopes = searched * masks.len() * local.states() * each;
        if slopes > MAX_FILE {
            return Err(WitnessError::SlopesTooLarge { pairs: MAX_FILE / each, slopes, most: MAX_FILE });
        }
    }
    let per_mask: Vec<Vec<Doubles>> = masks
        .par_iter()
        .enumerate()
        .map(|(index, mask)| mask_tensors(network, index, mask, families))
        .collect();
    let doubles: Vec<(String, [usize; 1], Vec<u8>)> = per_mask.into_iter().flatten().map(encode).collect();
    let mut tables = Vec::new();
    for family in families.iter().filter(|f| f.entry().witness == WitnessKind::Slopes) {
        for mask in 0..masks.len() {
            tables.push(slope_table(problem, local, (*family, wanted.slopes), mask, progress)?);
        }
    }
    let mut points = Vec::new();
    for mask in (0..masks.len()).filter(|_| wanted.points) {
        points.push(points_of(problem, mask, wanted.cells.is_some(), progress)?);
    }
    let mut trees = Vec::new();
    if families.contains(&Family::Branch) {
        match wanted.cells {
            Some(request) => trees.extend(propose_cells(problem, local, request, &mut points, progress)?),
            None => {
                for mask in 0..masks.len() {
                    trees.push(propose_trees(problem, local, mask, wanted.branch_steps, progress)?);
                }
            }
        }
    }
    let offsets: Vec<Table> = points.iter().enumerate().map(|(mask, rows)| point_table(mask, rows)).collect();
    let mut tensors: BTreeMap<String, (&str, &[usize], &[u8])> =
        doubles.iter().map(|(n, shape, bytes)| (n.clone(), ("F64", &shape[..], &bytes[..]))).collect();
    tensors.extend(tables.iter().map(|(n, shape, bytes)| (n.clone(), ("U8", &shape[..], &bytes[..]))));
    tensors.extend(trees.iter().map(|(n, shape, bytes)| (n.clone(), ("U8", &shape[..], &bytes[..]))));
    tensors.extend(offsets.iter().map(|(n, shape, bytes)| (n.clone(), ("F64", &shape[..], &bytes[..]))));
    let lengths: Vec<[usize; 1]> = wanted.regions.iter().map(|tree| [tree.len()]).collect();
    let named = wanted.regions.iter().zip(&lengths).enumerate();
    tensors.extend(named.map(|(k, (tree, shape))| (format!("region.{k}"), ("U8", &shape[..], &tree[..]))));
    let radii = wanted.radii.iter();
    tensors.extend(radii.map(|(n, dtype, shape, bytes)| (n.clone(), (*dtype, &shape[..], &bytes[..]))));
    Ok(emit_safetensors(&tensors))
}

/// A named table of bytes, rows x columns.
pub(super) type Table = (String, [usize; 2], Vec<u8>);

#[cfg(feature = "lp")]
fn improve(
    network: &FloatNetwork,
    region: &FloatRegion,
    found: SlopeSearch,
) -> Result<SlopeSearch, WitnessError> {
    Ok(search_lp(network, region, &found)?)
}

#[cfg(not(feature = "lp"))]
fn improve(_: &FloatNetwork, _: &FloatRegion, _: SlopeSearch) -> Result<SlopeSearch, WitnessError> {
    Err(WitnessError::NoLp)
}

pub(super) fn slope_table(
    problem: &Problem<'_>,
    local: &LocalProblem<'_>,
    (family, given): (Family, Option<&GivenSlopes>),
    mask: usize,
    progress: &dyn Progress,
) -> Result<Table, WitnessError> {
    let network = FloatNetwork::from_model(&problem.policy.network, problem.masks.get(mask))?;
    let given = given.filter(|_| family == Family::CrownOptimised);
    let options = SlopeOptions::for_network(&network);
    // What is given replaces the default slopes, and no step is taken.
    let options = match given {
        Some(_) => SlopeOptions { hidden_steps: 0, output_steps: 0, ..options },
        None => options,
    };
    let total = local.states();
    let done = AtomicUsize::new(0);
    let rows: Result<Vec<Vec<u8>>, WitnessError> = (0..total)
        .into_par_iter()
        .map(|state| {
            if progress.stopped() {
                return Err(WitnessError::Interrupted);
            }
            let region = region_of(local, state)?;
            let mut search = search_slopes(&network, &region, &options);
            if family == Family::Lp {
                search = improve(&network, &region, search)?;
            }
            if let Some(given) = given {
                given.replace(&mut search.witness, mask, state);
            }
            progress.advance("slopes", done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok(emit_state(&network, &search.witness))
        })
        .collect();
    let rows = rows?;
    let columns = rows.first().map_or(0, Vec::len);
    Ok((format!("{}.{mask}", family.name()), [total, columns], rows.concat()))
}

/// Up to this many weights every start of an attack is followed where a gap is to be closed. On robots' policies of 200,000
/// and more that took five times as long as their bounds and found nothing better.
const SMALL: usize = 1 << 16;

/// One offset a state, at which the policy under this mask acts as differently as the search found.
fn points_of(
    problem: &Problem<'_>,
    mask: usize,
    everywhere: bool,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>, WitnessError> {
    let search = PointSearch::new(problem, mask)?;
    let weights: usize = problem.policy.network.layers.iter().map(|l| l.weight.values.len()).sum();
    let (total, done) = (problem.states.values.rows, AtomicUsize::new(0));
    (0..total)
        .into_par_iter()
        .map(|state| {
            if progress.stopped() {
                return Err(WitnessError::Interrupted);
            }
            let mut offset = search.search(state);
            if everywhere && weights <= SMALL {
                offset = search.search_everywhere(state, offset);
            }
            progress.advance("attacking", done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok(offset)
        })
        .collect()
}

fn point_table(mask: usize, rows: &[Vec<f64>]) -> Table {
    let bytes = rows.iter().flatten().flat_map(|o| o.to_le_bytes()).collect();
    (format!("counterexample.{mask}"), [rows.len(), rows.first().map_or(0, Vec::len)], bytes)
}

/// The box of inputs at a state; an l2 ball is searched by its box, which costs tightness only.
fn region_of(local: &LocalProblem<'_>, state: usize) -> Result<FloatRegion, WitnessError> {
    let input = local.input_at(state).map_err(WitnessError::Grid)?;
    let scale = 0.5f64.powi(local.value_bits as i32);
    let floats = |ends: &[i64]| ends.iter().map(|&x| x as f64 * scale).collect::<Vec<f64>>();
    Ok(FloatRegion::between(&floats(&input.region.lower()), &floats(&input.region.upper())))
}

/// One state's slopes in the layout of the checker's `reader::slopes`.
fn emit_state(network: &FloatNetwork, witness: &SlopeWitness) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (target, layer) in network.layers.iter().enumerate().skip(1) {
        let found = witness.targets.iter().find(|t| t.target == target);
        for row in 0..layer.outputs {
            for upper in [false, true] {
                let column = |t: &TargetSlopes| {
                    t.columns.iter().position(|c| c.row as usize == row && c.upper == upper)
                };
                let place = found.and_then(|t| Some((t, column(t)?)));
                emit_row(network, target, place, &mut bytes);
            }
        }
    }
    bytes
}

fn emit_row(
    network: &FloatNetwork,
    target: usize,
    place: Option<(&TargetSlopes, usize)>,
    bytes: &mut Vec<u8>,
) {
    for (index, layer) in network.layers.iter().enumerate().take(target) {
        let stored = stored_slopes(layer.activation);
        if stored == 0 {
            continue;
        }
        for neuron in 0..layer.outputs {
            let slopes = place.map(|(t, column)| {
                let entry =
                    |table: &[Vec<f64>]| table.get(index)?.get(neuron * t.columns.len() + column).copied();
                [entry(&t.lower_slope), entry(&t.upper_slope)]
            });
            for slope in slopes.unwrap_or_default().into_iter().take(stored) {
                bytes.extend(store_slope(layer.activation, slope.unwrap_or(0.0)).to_le_bytes());
            }
        }
    }
}

/// A named vector.
type Doubles = (String, Vec<f64>);

fn encode((name, values): Doubles) -> (String, [usize; 1], Vec<u8>) {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (name, [values.len()], bytes)
}

fn mask_tensors(network: &Network, index: usize, mask: &Mask, families: &[Family]) -> Vec<Doubles> {
    let mut tensors = Vec::new();
    if families.contains(&Family::NormAbsSpectral) {
        for (layer, vector) in propose_abs_spectral(network, Some(mask)).into_iter().enumerate() {
            let values = vector.iter().map(|v| v.to_f64().unwrap_or(1.0)).collect();
            tensors.push((format!("abs-spectral.{index}.{layer}"), values));
        }
    }
    if families.contains(&Family::Spectral) {
        for (layer, witness) in propose_spectral(network, Some(mask)).into_iter().enumerate() {
            let scale = 0.5f64.powi(witness.fraction_bits as i32);
            let factor = witness.factor.iter().map(|&r| r as f64 * scale).collect();
            let rho = witness.rho.to_f64().unwrap_or(0.0) * scale * scale;
            tensors.push((format!("spectral.{index}.{layer}.factor"), factor));
            tensors.push((format!("spectral.{index}.{layer}.rho"), vec![rho]));
        }
    }
    tensors
}
