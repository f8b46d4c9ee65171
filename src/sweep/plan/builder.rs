//! Lays out the jobs of a sweep. Untrusted.
//! `spec/sweep.md#jobs`.

use std::collections::BTreeMap;

use secateur_checker::family::Family;

use super::{Cell, Job, Lineage, Plan, PlanError, Spec};
use crate::attack::plan::{AttackKind, AttackPlan, WrittenNumber};
use crate::sweep::config::{AttackEntry, EnvironmentConfig, SweepConfig, SweepConfigError, VariantConfig};
use crate::sweep::cost::{Pace, cost};

/// Stands in plans of attacks that learn nothing.
const UNUSED_STEPS: usize = 64;

/// Adds all jobs to an empty plan.
pub(super) fn build(
    config: &SweepConfig,
    paces: BTreeMap<String, Pace>,
    plan: &mut Plan,
) -> Result<(), PlanError> {
    let mut builder = Builder { config, paces, plan };
    builder.random_policies()?;
    builder.lineages()?;
    builder.attacks()
}

struct Builder<'a> {
    config: &'a SweepConfig,
    paces: BTreeMap<String, Pace>,
    plan: &'a mut Plan,
}

impl Builder<'_> {
    fn push(&mut self, environment: &str, label: String, spec: Spec, needs: Vec<usize>) -> usize {
        let inputs = needs.iter().map(|need| self.plan.jobs[*need].name.clone()).collect();
        let pace = self.paces.get(environment).copied().unwrap_or_default();
        let cost = cost(&spec, pace);
        let job = Job::new(spec, label, (needs, inputs), cost);
        // Two variants may share a run, such as the one without pruning: a result has one job.
        let position = self.plan.jobs.iter().position(|other| other.name == job.name);
        position.unwrap_or_else(|| {
            self.plan.jobs.push(job);
            self.plan.jobs.len() - 1
        })
    }

    /// A plan with this sweep's episodes, seed and discount.
    fn attack_plan(
        &self,
        kind: AttackKind,
        radius: &str,
        entry: Option<&AttackEntry>,
    ) -> Result<AttackPlan, PlanError> {
        let written = |text: &str| WrittenNumber::parse(text).map_err(|e| PlanError::Number(e.to_string()));
        let steps = entry.and_then(|entry| entry.steps).unwrap_or(UNUSED_STEPS);
        let mut plan = AttackPlan::new(kind, written(radius)?, self.config.evaluation_seed, steps);
        plan.discount = written(&self.config.discount)?;
        plan.episodes = self.config.episodes;
        plan.adversaries = entry.and_then(|entry| entry.adversaries).unwrap_or(1);
        plan.check().map_err(|e| PlanError::Number(e.to_string()))?;
        Ok(plan)
    }

    fn clean_plan(&self) -> Result<AttackPlan, PlanError> {
        self.attack_plan(AttackKind::Random, "0", None)
    }

    fn random_policies(&mut self) -> Result<(), PlanError> {
        for environment in &self.config.environments {
            let spec = Spec::RandomPolicy { environment: environment.id.clone(), plan: self.clean_plan()? };
            let label = format!("{} random policy", environment.id);
            let index = self.push(&environment.id, label, spec, Vec::new());
            self.plan.random.insert(environment.id.clone(), index);
        }
        Ok(())
    }

    /// All trainings first, then the masks of each trained policy. Cells of a variant and seed follow one another by sparsity.
    fn lineages(&mut self) -> Result<(), PlanError> {
        let config = self.config;
        let all: Vec<usize> = (0..config.sparsities.len()).collect();
        let mut trained = Vec::new();
        for environment in &config.environments {
            for variant in config.variants_of(environment) {
                // Each chunk of masks is made from one training run.
                let chunk = if variant.pruned_in_training { 1 } else { all.len() };
                for seed in &config.seeds {
                    for masks in all.chunks(chunk) {
                        let train = self.train(environment, variant, *seed, masks)?;
                        trained.push((environment, variant, *seed, train, masks));
                    }
                }
            }
        }
        for (environment, variant, seed, train, masks) in trained {
            self.lineage(environment, variant, (seed, train), masks)?;
        }
        Ok(())
    }

    fn train(
        &mut self,
        environment: &EnvironmentConfig,
        variant: &VariantConfig,
        seed: u64,
        masks: &[usize],
    ) -> Result<usize, PlanError> {
        let sparsity = masks.first().map_or("0", |mask| self.config.sparsities[*mask].as_str());
        let settings = self.config.train_config(environment, variant, (seed, sparsity))?;
        let target = if variant.pruned_in_training { format!(" sparsity {sparsity}") } else { String::new() };
        let label = format!("{} {} seed {seed}{target} train", environment.id, variant.name);
        Ok(self.push(&environment.id, label, Spec::Train { config: Box::new(settings) }, Vec::new()))
    }

    /// The masks of one trained policy, their certificate and their clean episodes.
    fn lineage(
        &mut self,
        environment: &EnvironmentConfig,
        variant: &VariantConfig,
        (seed, train): (u64, usize),
        masks: &[usize],
    ) -> Result<(), PlanError> {
        let config = self.config;
        let id = environment.id.clone();
        let name = format!("{id} {} seed {seed}", variant.name);
        let mut pruned = Vec::new();
        for mask in masks {
            let sparsity = config.sparsities[*mask].clone();
            let label = format!("{name} sparsity {sparsity} prune");
            let spec = Spec::Prune { recipe: config.prune.clone(), sparsity };
            pruned.push(self.push(&id, label, spec, vec![train]));
        }
        let branches = config.families.iter().any(|name| Family::parse(name) == Some(Family::Branch));
        let spec = Spec::Certify {
            epsilon: environment.epsilon.clone(),
            families: config.families.clone(),
            discount: config.discount.clone(),
            rewards: environment.reward_range.clone().map(|range| (range, environment.episodes_can_end)),
            branch_steps: branches.then_some(config.branch_steps),
        };
        let needs: Vec<usize> = [train].into_iter().chain(pruned.iter().copied()).collect();
        let certify = self.push(&id, format!("{name} certify"), spec, needs);
        self.plan.lineages.push(Lineage {
            environment: id.clone(),
            variant: variant.name.clone(),
            seed,
            first_mask: masks.first().copied().unwrap_or(0),
            train,
            certify,
        });
        for (mask, prune) in masks.iter().zip(&pruned) {
            let label = format!("{name} sparsity {} clean", config.sparsities[*mask]);
            let spec = Spec::Clean { environment: id.clone(), plan: self.clean_plan()? };
            let clean = self.push(&id, label, spec, vec![train, *prune]);
            self.plan.cells.push(Cell {
                environment: id.clone(),
                variant: variant.name.clone(),
                seed,
                mask: *mask,
                own_critic: *mask == 0 || variant.pruned_in_training,
                clean,
                attacks: BTreeMap::new(),
                transfers: BTreeMap::new(),
            });
        }
        Ok(())
    }

    /// Attacks that learn nothing first, then each of the others on all policies, then transfers.
    fn attacks(&mut self) -> Result<(), PlanError> {
        let config = self.config;
        let mut entries = Vec::new();
        for entry in &config.attacks {
            let kind = AttackKind::parse(&entry.kind);
            let kind = kind.ok_or_else(|| PlanError::Attack { kind: entry.kind.clone() })?;
            let wrong = |needs| Err(PlanError::Steps { kind: entry.kind.clone(), needs });
            match (kind.learns(false), entry.steps) {
                (true, None) => return wrong("is learned: give steps, such as steps = 200000"),
                (false, Some(_)) => return wrong("learns nothing: leave out steps"),
                _ => entries.push((kind, entry)),
            }
        }
        let cells = 0..self.plan.cells.len();
        let (quick, slow): (Vec<_>, Vec<_>) = entries.iter().partition(|(kind, _)| !kind.learns(true));
        for position in cells.clone() {
            for (kind, entry) in &quick {
                self.attack(position, *kind, entry)?;
            }
        }
        for (kind, entry) in &slow {
            for position in cells.clone() {
                self.attack(position, *kind, entry)?;
            }
        }
        for (kind, entry) in entries.iter().filter(|(_, entry)| entry.transfer) {
            for position in cells.clone() {
                self.transfer(position, *kind, entry)?;
            }
        }
        Ok(())
    }

    fn radius(&self, environment: &str) -> &str {
        let found = self.config.environments.iter().find(|e| e.id == environment);
        found.map_or("0", |environment| environment.epsilon.as_str())
    }

    fn attack(&mut self, position: usize, kind: AttackKind, entry: &AttackEntry) -> Result<(), PlanError> {
        let cell = self.plan.cells[position].clone();
        let sparsity = self.config.sparsities[cell.mask].clone();
        if !entry.applies(&cell.environment, &cell.variant, &sparsity, cell.seed) {
            return Ok(());
        }
        let name = cell.name(&sparsity);
        if cell.attacks.contains_key(&kind) {
            return Err(SweepConfigError::Overlap { kind: kind.name().to_owned(), cell: name }.into());
        }
        let spec = Spec::Attack {
            environment: cell.environment.clone(),
            plan: self.attack_plan(kind, self.radius(&cell.environment), Some(entry))?,
            own_critic: cell.own_critic,
        };
        let needs = self.plan.jobs[cell.clean].needs.clone();
        let index = self.push(&cell.environment, format!("{name} {kind}"), spec, needs);
        self.plan.cells[position].attacks.insert(kind, index);
        Ok(())
    }

    /// Runs on this cell what the same entry learned about the dense policy of its lineage, if it did.
    fn transfer(&mut self, position: usize, kind: AttackKind, entry: &AttackEntry) -> Result<(), PlanError> {
        let cell = self.plan.cells[position].clone();
        let (dense, sparsity) = (&self.config.sparsities[0], self.config.sparsities[cell.mask].clone());
        let applies = cell.mask > 0 && entry.applies(&cell.environment, &cell.variant, dense, cell.seed);
        let source = self.plan.cells[position - cell.mask].attacks.get(&kind).copied();
        let (true, Some(source)) = (applies, source) else { return Ok(()) };
        let spec = Spec::Transfer {
            environment: cell.environment.clone(),
            plan: self.attack_plan(kind, self.radius(&cell.environment), Some(entry))?,
        };
        let dense = self.plan.jobs[source].needs[0];
        let own = self.plan.jobs[cell.clean].needs.iter().copied();
        let needs: Vec<usize> = [source, dense].into_iter().chain(own).collect();
        let label = format!("{} {kind} from dense", cell.name(&sparsity));
        let index = self.push(&cell.environment, label, spec, needs);
        self.plan.cells[position].transfers.insert(kind, index);
        Ok(())
    }
}
