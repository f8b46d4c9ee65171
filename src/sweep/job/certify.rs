//! Certificates of a policy's masks at the states it visits; every bound comes out of the checker. Untrusted.
//! `spec/sweep.md#jobs`.

use std::path::Path;

use secateur_checker::check::{NamedFile, Verified};
use secateur_checker::claim::regret::{largest_total_variation, regret_bound};
use secateur_checker::family::Family;
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::kernel::regret::RewardRange;
use secateur_checker::load::{Failure, load_masks, load_policy, load_states};
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::regret::RegretForm;
use secateur_checker::table::Quantity;
use serde::{Deserialize, Serialize};

use super::{JobContext, JobError, RESULT};
use crate::certify::keys::Key;
use crate::certify::radius::RadiusRequest;
use crate::certify::regret::RegretRequest;
use crate::certify::trees::BRANCH_STEPS;
use crate::certify::{Certified, Request, certify};
use crate::policy::emit::{ChainOrigin, write_mask_chain};
use crate::policy::input::{MAX_OWN, read_bytes};
use crate::policy::mask::MaskData;
use crate::progress::Quiet;
use crate::sweep::config::{MaskMethod, MaskRecipe, MaskScope};
use crate::sweep::plan::Spec;

const CERTIFICATE: &str = "policy.cert.dsse.json";
const WITNESS: &str = "policy.witness.safetensors";

/// Bounds on the total variation of one family under one mask: one decimal a state, or one for all states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claimed {
    /// Family.
    pub family: String,
    /// Position of the mask, loosest first.
    pub mask: usize,
    /// Upper bounds, as claimed.
    pub values: Vec<String>,
    /// Upper bound on the discounted return that it lets be lost, if the rewards' range is known: to an adversary, or, for
    /// `pruned-deviation`, to pruning.
    pub lost_return: Option<String>,
}

/// What a certification found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedBounds {
    /// Number of states.
    pub states: usize,
    /// Pruned and all weights of each mask.
    pub pruned: Vec<(usize, usize)>,
    /// Bounds on total variations.
    pub total_variation: Vec<Claimed>,
    /// For each mask, loosest first, total variations that a checked point of the ball reaches: one decimal a state.
    pub reached: Vec<Vec<String>>,
    /// The verdicts on each step of the chain.
    pub steps: Vec<StepCount>,
}

/// In how many places a step of a chain did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCount {
    /// `action-deviation` or `total-variation`.
    pub of: String,
    /// The family whose bound rose; `None` where the step is proved to have hurt.
    pub family: Option<String>,
    /// Step `k` goes from mask `k - 1` to mask `k`.
    pub step: usize,
    /// Places where it did.
    pub counted: usize,
    /// Places compared.
    pub places: usize,
}

/// The checker's verdicts on each step: of families on outputs, then what points prove.
fn steps(certificate: &Certificate) -> Vec<StepCount> {
    let outputs = Quantity::ActionDeviation.name();
    let rose = certificate.verdicts.iter().filter(|verdict| verdict.of == outputs).map(|verdict| {
        let (fell, stayed, rose) = verdict.counts;
        StepCount {
            of: verdict.of.clone(),
            family: Some(verdict.family.clone()),
            step: verdict.step,
            counted: rose,
            places: fell + stayed + rose,
        }
    });
    let hurt = certificate.brackets.iter().map(|verdict| StepCount {
        of: verdict.of.clone(),
        family: None,
        step: verdict.step,
        counted: verdict.hurt,
        places: verdict.places,
    });
    rose.chain(hurt).collect()
}

/// Writes masks with what they were made by.
pub(super) fn write_chain(folder: &Path, masks: &[MaskData], recipe: &MaskRecipe) -> Result<(), JobError> {
    let origin = ChainOrigin {
        method: match recipe.method {
            MaskMethod::Magnitude => "magnitude",
            MaskMethod::Random => "random",
        }
        .to_owned(),
        scope: match recipe.scope {
            MaskScope::Layer => "layer",
            MaskScope::Global => "global",
        }
        .to_owned(),
        seed: recipe.seed.to_string(),
    };
    Ok(write_mask_chain(folder, masks, &origin)?)
}

/// Puts the masks of several jobs into one chain, as files.
fn join_chain(context: &JobContext<'_>, folder: &Path) -> Result<(), JobError> {
    let mut chain: Option<serde_json::Value> = None;
    crate::policy::write::create_folder(folder)?;
    for (index, input) in context.inputs.iter().skip(1).enumerate() {
        let part = input.join("masks");
        let one: serde_json::Value = super::read_json(&part.join("chain.json"))?;
        let name = crate::policy::emit::mask_file_name(index);
        let path = part.join(crate::policy::emit::mask_file_name(0));
        let bytes = read_bytes(&path, MAX_OWN)
            .map_err(|e| JobError::Read { path: path.clone(), reason: e.to_string() })?;
        crate::policy::write::write_atomically(&folder.join(&name), &bytes)?;
        let mut entry = one["masks"][0].clone();
        entry["file"] = name.into();
        match &mut chain {
            None => {
                let mut first = one;
                first["masks"] = vec![entry].into();
                chain = Some(first);
            }
            Some(chain) => {
                if let Some(masks) = chain["masks"].as_array_mut() {
                    masks.push(entry);
                }
            }
        }
    }
    let chain = chain.unwrap_or_default().to_string();
    Ok(crate::policy::write::write_atomically(&folder.join("chain.json"), chain.as_bytes())?)
}

fn number(text: &str) -> Result<Rational, JobError> {
    Rational::parse(text).map_err(|e| JobError::Other(format!("{text:?}: {e}")))
}

pub(super) fn run(spec: &Spec, context: &JobContext<'_>) -> Result<(), JobError> {
    let Spec::Certify { epsilon, families, discount, rewards, branch_steps } = spec else {
        return Err(JobError::Other("no certification; please report this".to_owned()));
    };
    let read = |failure: Failure| JobError::Other(failure.to_string());
    let masks_folder = context.out.join("masks");
    join_chain(context, &masks_folder)?;
    let train = context.input(0)?;
    let policy = load_policy(&train.join("policy")).map_err(read)?;
    let masks = load_masks(&masks_folder, &policy.files).map_err(read)?;
    let (states, bytes) = load_states(&train.join("states.npy"), Units::Raw).map_err(read)?;
    let form = RegretForm::Sup { discount: number(discount)? };
    let rewards = match rewards {
        None => None,
        Some(([lower, upper], episodes_can_end)) => Some(RewardRange {
            lower: number(lower)?,
            upper: number(upper)?,
            episodes_can_end: *episodes_can_end,
        }),
    };
    let regret = RegretRequest {
        forms: rewards.iter().map(|_| form.clone()).collect(),
        rewards: rewards.clone(),
        statistical: None,
    };
    let set =
        PerturbationSet { shape: Perturbation::Linf { radius: number(epsilon)? }, units: Units::Normalised };
    let families: Vec<Family> = families.iter().filter_map(|name| Family::parse(name)).collect();
    let request = Request {
        policy: &policy,
        masks: &masks,
        states: &states,
        states_file: NamedFile { name: "states.npy", bytes: &bytes },
        perturbation: &set,
        families: &families,
        regret: &regret,
        branch_steps: branch_steps.unwrap_or(BRANCH_STEPS),
        counterexample: true,
        radii: &RadiusRequest::default(),
        regions: &[],
        band_from: 0,
        slopes: None,
        witness_name: WITNESS,
        seed: "0",
    };
    // Whoever wants a signature of their own certifies again: this key is not kept.
    let key = Key::generate().map_err(|e| JobError::Other(e.to_string()))?;
    let certified: Certified = certify(&request, &key, &Quiet(context.progress))?;
    certified.write(&context.out.join(CERTIFICATE), WITNESS)?;
    let head = HeadBounds::new(&policy.files.policy.head).map_err(|e| JobError::Other(e.to_string()))?;
    let limits = rewards.as_ref().map(|rewards| (rewards, &form));
    context.write_json(RESULT, &bounds(&certified.verified, &head, limits)?)
}

/// What was verified, as tables read it.
fn bounds(
    verified: &Verified,
    head: &HeadBounds,
    limits: Option<(&RewardRange, &RegretForm)>,
) -> Result<CertifiedBounds, JobError> {
    let certificate = verified.certificate();
    let name = Quantity::TotalVariation.name();
    let mut total_variation = Vec::new();
    for claim in certificate.claims.iter().filter(|claim| claim.quantity == name) {
        let table = verified.tables().iter().find(|table| table.family.name() == claim.family);
        let lost_return = match (limits, table) {
            (Some((rewards, form)), Some(table)) => {
                let refused = |e: &dyn std::fmt::Display| JobError::Other(e.to_string());
                let tv = largest_total_variation(table, head, claim.mask).map_err(|e| refused(&e))?;
                let bound = regret_bound(form, rewards, &tv).map_err(|e| refused(&e))?;
                Some(claim_decimal(&bound, Rounding::Up))
            }
            _ => None,
        };
        total_variation.push(Claimed {
            family: claim.family.clone(),
            mask: claim.mask,
            values: claim.values.clone(),
            lost_return,
        });
    }
    let pruned = certificate.masks.iter().map(|mask| (mask.pruned, mask.total)).collect();
    let mut of_masks: Vec<_> =
        certificate.counterexample.iter().filter(|claim| claim.quantity == name).collect();
    of_masks.sort_by_key(|claim| claim.mask);
    let reached = of_masks.iter().map(|claim| claim.at_least.clone()).collect();
    let steps = steps(certificate);
    Ok(CertifiedBounds { states: certificate.states, pruned, total_variation, reached, steps })
}
