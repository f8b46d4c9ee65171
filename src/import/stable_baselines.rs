//! Stable-Baselines3 archives: `data` (JSON) says how the policy was built, `policy.pth` holds the tensors. Untrusted.
//! `spec/semantics.md#files`.
//!
//! # References
//! Stable-Baselines3 2.x, `common/save_util.py` and `common/policies.py`: `ActorCriticPolicy` defaults to tanh.

use super::archive::read_entries;
use super::{Draft, HeadKind, ImportOptions, Problem, activation_named, named, torch};
use serde_json::Value;

/// Reads the policy network of an actor-critic archive.
///
/// # Errors
/// [`Problem::StateDependentNoise`] for gSDE; [`Problem`] otherwise.
pub(super) fn parse(bytes: &[u8], options: &ImportOptions) -> Result<Draft, Problem> {
    let entries = read_entries(bytes, |name| name == "data" || name == "policy.pth")?;
    let data = entries.get("data").ok_or(Problem::StableBaselines("its data entry is missing"))?;
    let data: Value =
        serde_json::from_slice(data).map_err(|_| Problem::StableBaselines("its data is not JSON"))?;
    let sde =
        |value: Option<&Value>| value.and_then(|v| v.get("use_sde")).and_then(Value::as_bool) == Some(true);
    if sde(Some(&data)) || sde(data.get("policy_kwargs")) {
        return Err(Problem::StateDependentNoise("use_sde is true in its data".into()));
    }
    let policy = entries.get("policy.pth").ok_or(Problem::StableBaselines("its policy.pth is missing"))?;
    let mut arrays = super::arrays_of(policy)?;
    if arrays.named.is_empty() {
        arrays = torch::parse_zip(policy)?;
    }
    if let Some(action) = arrays.named.keys().find(|name| name.starts_with("features_extractor.")) {
        return Err(Problem::NotAffine { name: action.clone(), shape: arrays.named[action].shape.clone() });
    }
    if !arrays.metadata.contains_key("activation") {
        arrays.metadata.insert("activation".into(), activation(&data)?);
    }
    let mut draft = named::draft(&arrays, options)?;
    if draft.head.is_none() {
        draft.head = head(&data);
    }
    Ok(draft)
}

/// The activation's class name from `policy_kwargs`, tanh if it is not set there.
fn activation(data: &Value) -> Result<String, Problem> {
    let Some(stated) = data.get("policy_kwargs").and_then(|k| k.get("activation_fn")) else {
        return Ok("tanh".into());
    };
    let text = stated
        .as_str()
        .ok_or(Problem::StableBaselines("its activation_fn is not text; give the activation"))?;
    // written as <class 'torch.nn.modules.activation.ReLU'>
    let class = text.trim_end_matches(['>', '\'']).rsplit('.').next().unwrap_or(text);
    activation_named(class).map(|_| class.to_owned())
}

/// The head that the action space asks for.
fn head(data: &Value) -> Option<HeadKind> {
    let space = data.get("action_space")?.get(":type:")?.as_str()?;
    space.contains("discrete.Discrete").then_some(HeadKind::Categorical)
}
