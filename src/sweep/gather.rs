//! Finished results as one grid of returns and bounds. Untrusted; a result that is missing leaves its cell empty.
//! `spec/sweep.md#definitions`.

use std::collections::BTreeMap;

use super::config::SweepConfig;
use super::job::{CURVE, CertifiedBounds, Episodes, JobError, RESULT, read_json};
use super::plan::{Lineage, Plan};
use super::store::{Found, Store};
use crate::attack::plan::AttackKind;
use crate::policy::input::{MAX_OWN, read_text};
use secateur_checker::family::Family;

/// Results of several training seeds; a seed without a result is absent.
pub type BySeed<T> = BTreeMap<u64, T>;

/// What was measured of the policies of one environment, variant and sparsity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaskResults {
    /// Without an attack.
    pub clean: BySeed<Episodes>,
    /// Under attacks made against these policies.
    pub attacks: BTreeMap<AttackKind, BySeed<Episodes>>,
    /// Under attacks made against the dense policies.
    pub transfers: BTreeMap<AttackKind, BySeed<Episodes>>,
}

/// One way to train in one environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Environment.
    pub environment: String,
    /// Variant.
    pub variant: String,
    /// Radius of the adversary's ball, as written.
    pub epsilon: String,
    /// Whether each sparsity has weights of its own, pruned while they were trained.
    pub own_chains: bool,
    /// One entry a sparsity.
    pub masks: Vec<MaskResults>,
    /// Certified bounds.
    pub bounds: BySeed<CertifiedBounds>,
    /// Training curves: steps and returns of the episodes that ended; of several runs of a seed, that of the sparsest policy.
    pub curves: BySeed<Vec<CurvePoint>>,
}

/// A row of a training curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// Environment steps.
    pub step: f64,
    /// Mean return of the training episodes that ended in this update.
    pub episodic_return: f64,
}

/// Everything that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Sparsities as written.
    pub sparsities: Vec<String>,
    /// Environments and variants, in the order of the configuration.
    pub groups: Vec<Group>,
    /// Uniformly random actions.
    pub random: BTreeMap<String, Episodes>,
    /// Jobs in all, and those whose results are there.
    pub jobs: (usize, usize),
}

/// Reads every result that is whole.
///
/// # Errors
/// [`JobError::Read`] if a whole result is not of its form.
pub fn gather(config: &SweepConfig, plan: &Plan, store: &Store) -> Result<Grid, JobError> {
    let whole = whole(plan, store);
    let result = |index: usize| store.folder(&plan.jobs[index]).join(RESULT);
    let episodes = |index: usize| -> Result<Option<Episodes>, JobError> {
        if whole[index] { read_json(&result(index)).map(Some) } else { Ok(None) }
    };
    let mut groups: Vec<Group> = Vec::new();
    for lineage in &plan.lineages {
        let same =
            |group: &Group| group.environment == lineage.environment && group.variant == lineage.variant;
        let position = groups.iter().position(same).unwrap_or_else(|| {
            groups.push(empty_group(config, &lineage.environment, &lineage.variant));
            groups.len() - 1
        });
        let group = &mut groups[position];
        if whole[lineage.certify] {
            add_bounds(group, lineage, read_json(&result(lineage.certify))?);
        }
        if whole[lineage.train] {
            let path = store.folder(&plan.jobs[lineage.train]).join(CURVE);
            let text = read_text(&path, MAX_OWN)
                .map_err(|e| JobError::Read { path: path.clone(), reason: e.to_string() })?;
            group.curves.insert(lineage.seed, read_curve(&text));
        }
    }
    for cell in &plan.cells {
        let same =
            |group: &&mut Group| group.environment == cell.environment && group.variant == cell.variant;
        let Some(group) = groups.iter_mut().find(same) else { continue };
        let results = &mut group.masks[cell.mask];
        if let Some(found) = episodes(cell.clean)? {
            results.clean.insert(cell.seed, found);
        }
        for (jobs, into) in [(&cell.attacks, &mut results.attacks), (&cell.transfers, &mut results.transfers)]
        {
            for (kind, index) in jobs {
                let by_seed = into.entry(*kind).or_default();
                if let Some(found) = episodes(*index)? {
                    by_seed.insert(cell.seed, found);
                }
            }
        }
    }
    let mut random = BTreeMap::new();
    for (environment, index) in &plan.random {
        if let Some(found) = episodes(*index)? {
            random.insert(environment.clone(), found);
        }
    }
    let jobs = (plan.jobs.len(), whole.iter().filter(|whole| **whole).count());
    Ok(Grid { sparsities: config.sparsities.clone(), groups, random, jobs })
}

/// Adds the bounds of one trained policy to those of its seed. A policy that was pruned in training is its own dense one, so
/// that nothing is said of its distance from that.
fn add_bounds(group: &mut Group, lineage: &Lineage, mut found: CertifiedBounds) {
    if group.own_chains {
        found
            .total_variation
            .retain(|claim| Family::parse(&claim.family).is_none_or(Family::bounds_adversary));
    }
    found.total_variation.iter_mut().for_each(|claim| claim.mask += lineage.first_mask);
    match group.bounds.get_mut(&lineage.seed) {
        None => {
            group.bounds.insert(lineage.seed, found);
        }
        Some(bounds) => {
            bounds.pruned.append(&mut found.pruned);
            bounds.total_variation.append(&mut found.total_variation);
            bounds.reached.append(&mut found.reached);
        }
    }
}

fn empty_group(config: &SweepConfig, environment: &str, variant: &str) -> Group {
    let epsilon = config.environments.iter().find(|e| e.id == environment);
    Group {
        environment: environment.to_owned(),
        variant: variant.to_owned(),
        epsilon: epsilon.map(|e| e.epsilon.clone()).unwrap_or_default(),
        own_chains: config.variants.iter().any(|v| v.name == variant && v.pruned_in_training),
        masks: vec![MaskResults::default(); config.sparsities.len()],
        bounds: BySeed::new(),
        curves: BySeed::new(),
    }
}

/// Which jobs' results are there, made from the results that their inputs have now.
pub fn whole(plan: &Plan, store: &Store) -> Vec<bool> {
    let mut digests: Vec<Option<String>> = Vec::with_capacity(plan.jobs.len());
    for job in &plan.jobs {
        let inputs: Option<Vec<String>> = job.needs.iter().map(|need| digests[*need].clone()).collect();
        let found = inputs.map(|inputs| store.look(job, Some(&inputs)));
        digests.push(match found {
            Some(Found::Whole(digest)) => Some(digest),
            _ => None,
        });
    }
    digests.iter().map(Option::is_some).collect()
}

/// Steps and mean returns of a training curve; updates in which no episode ended are left out.
fn read_curve(text: &str) -> Vec<CurvePoint> {
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let column = |name: &str| head.iter().position(|found| *found == name);
    let (Some(step), Some(value)) = (column("global_step"), column("charts/episodic_return")) else {
        return Vec::new();
    };
    let point = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |column: usize| cells.get(column)?.parse::<f64>().ok();
        Some(CurvePoint { step: number(step)?, episodic_return: number(value)? })
    };
    lines.filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_leave_out_updates_without_an_episode() {
        let text = "global_step,charts/episodic_return,other\n10,1.5,2\n20,,3\n30,-4,5\n";
        let found: Vec<(f64, f64)> = read_curve(text).iter().map(|p| (p.step, p.episodic_return)).collect();
        assert_eq!(found, [(10.0, 1.5), (30.0, -4.0)]);
        assert_eq!(read_curve("a,b\n1,2\n"), []);
    }
}
