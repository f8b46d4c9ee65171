//! Stable-Baselines3 archives: `data` (JSON) says how the policy was built, `policy.pth` holds the tensors. Untrusted.
//! `spec/import-sb3.md`.
//!
//! # References
//! Stable-Baselines3 2.x: `common/save_util.py`, `common/policies.py`, `sac/policies.py`, `td3/policies.py`,
//! `dqn/policies.py`; sb3-contrib: `ars/policies.py`, `tqc/policies.py`.

use super::archive::read_entries;
use super::torch;
use crate::import::draft::Draft;
use crate::import::problem::{HeadKind, ImportOptions, Problem};
use crate::import::record::activation_text;
use crate::policy::ActivationSpec;
use build::Build;
use class::Family;
use data::{Described, Space};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

mod build;
mod class;
mod data;

/// Directory entries looked at in search of a normaliser.
const MAX_SIBLINGS: usize = 4096;

fn bad(text: impl Into<String>) -> Problem {
    Problem::StableBaselines(text.into())
}

/// What the archive says, in the terms that decide the network.
struct Said {
    family: Family,
    kwargs: Map<String, Value>,
    observation: Space,
    action: Space,
    gsde: bool,
    wrapped: bool,
}

/// Keyword arguments of policies that do not change what the network computes from its tensors.
const WITHOUT_EFFECT: [&str; 14] = [
    "ortho_init",
    "log_std_init",
    "full_std",
    "sde_net_arch",
    "use_expln",
    "optimizer_class",
    "optimizer_kwargs",
    "n_critics",
    "share_features_extractor",
    "features_extractor_kwargs",
    "n_quantiles",
    "normalize_images",
    "lr_schedule",
    "critic_kwargs",
];
/// Keyword arguments that are used.
const USED: [&str; 7] = [
    "activation_fn",
    "net_arch",
    "use_sde",
    "squash_output",
    "clip_mean",
    "with_bias",
    "features_extractor_class",
];

/// Reads the policy network of an archive; remarks for the person go to `notes`.
///
/// # Errors
/// [`Problem::StableBaselines`] naming what is not read, [`Problem::StateDependentNoise`] for noise that depends on the
/// state unless the head is stated as deterministic; [`Problem`] otherwise.
pub(super) fn parse(
    path: &Path,
    bytes: &[u8],
    options: &ImportOptions,
    notes: &mut Vec<String>,
) -> Result<Draft, Problem> {
    let chosen = [
        ("--layers", options.layers.is_some()),
        ("--ignore", !options.ignore.is_empty()),
        ("--no-bias", options.no_bias),
    ];
    if let Some((option, _)) = chosen.iter().find(|(_, given)| *given) {
        return Err(Problem::NoEffect {
            option,
            reason: "a Stable-Baselines3 archive says which layers it has".into(),
        });
    }
    let entries = read_entries(bytes, |name| name == "data" || name == "policy.pth")?;
    let data = entries.get("data").ok_or_else(|| bad("its data entry is missing"))?;
    let data: Value = serde_json::from_slice(data).map_err(|_| bad("its data is not JSON"))?;
    let said = said(&data)?;
    let policy = entries.get("policy.pth").ok_or_else(|| bad("its policy.pth is missing"))?;
    let arrays = match super::archive::is_zip(policy) {
        true => torch::parse_zip(policy)?,
        false => torch::parse_legacy(policy)?,
    };
    let mut build = Build::new(&arrays, said.family);
    let head = network(&said, options, &mut build, notes)?;
    let draft = build.finish(options, head)?;
    check_widths(&said, &draft)?;
    if options.normaliser.is_none() {
        notes.extend(normaliser_note(path, said.wrapped));
    }
    Ok(draft)
}

fn said(data: &Value) -> Result<Said, Problem> {
    let class = Described::of(data, "policy_class").ok_or_else(|| {
        bad("its data does not say the policy's class (policy_class); save the model again")
    })?;
    let (module, name) = class.named_class()?;
    let family = class::family(&module, name.as_deref())?;
    let kwargs = match Described::of(data, "policy_kwargs") {
        Some(described) => described.entries()?,
        None => Map::new(),
    };
    let known = |key: &String| USED.contains(&&key[..]) || WITHOUT_EFFECT.contains(&&key[..]);
    if let Some(key) = kwargs.keys().find(|key| !known(key)) {
        return Err(bad(format!("its policy_kwargs set {key:?}, whose effect is not known here")));
    }
    if let Some(text) = kwargs.get("features_extractor_class") {
        let class = text.as_str().and_then(class_of);
        if class.as_ref().is_none_or(|(module, class)| {
            class != "FlattenExtractor" || !module.starts_with("stable_baselines3.")
        }) {
            return Err(bad(format!("its features extractor is {text}; only FlattenExtractor is read")));
        }
    }
    let truth = |value: Option<&Value>| value.and_then(Value::as_bool) == Some(true);
    let said = Said {
        family,
        observation: data::space(data, "observation_space")?,
        action: data::space(data, "action_space")?,
        gsde: truth(data.get("use_sde")) || truth(kwargs.get("use_sde")),
        wrapped: family.keeps_original_only_if_wrapped()
            && data.get("_last_original_obs").is_some_and(|value| !value.is_null()),
        kwargs,
    };
    check_observation(&said)?;
    Ok(said)
}

/// Only vectors: what Stable-Baselines3 turns into one-hot vectors, divides by 255 or concatenates is refused.
fn check_observation(said: &Said) -> Result<(), Problem> {
    match &said.observation {
        Space::Box { shape, dtype, .. } => {
            let bytes = dtype.as_deref().is_none_or(|d| d == "uint8" || d == "u1");
            let kept = said.kwargs.get("normalize_images").and_then(Value::as_bool) == Some(false);
            if shape.as_ref().is_some_and(|s| s.len() == 3) && bytes && !kept {
                return Err(bad("its observations are images, which it divides by 255; images are not read"));
            }
            Ok(())
        }
        Space::Discrete { .. } => Err(bad(
            "its observations are Discrete: numbers that it turns into one-hot vectors, which is not read",
        )),
        Space::Other(class) => {
            Err(bad(format!("its observation space is {class}; only vectors (Box) are read")))
        }
    }
}

/// Adds the layers of the family and decides the head.
fn network(
    said: &Said,
    options: &ImportOptions,
    build: &mut Build,
    notes: &mut Vec<String>,
) -> Result<HeadKind, Problem> {
    let hidden = hidden_activation(said)?;
    let squash = match said.family {
        Family::ActorCritic { .. } => {
            // squash_output is read by gSDE policies alone: ActorCriticPolicy asserts so
            let squash = flag(said, "squash_output", false)?;
            if squash && !said.gsde {
                return Err(bad("its squash_output is true without use_sde, which its class does not allow"));
            }
            build.sequence("mlp_extractor.shared_net", &hidden, None)?;
            build.sequence("mlp_extractor.policy_net", &hidden, None)?;
            build.layer(
                "action_net",
                if squash { ActivationSpec::Tanh } else { ActivationSpec::Identity },
                true,
            )?;
            squash
        }
        Family::Dqn => {
            build.sequence("q_net.q_net", &hidden, Some(ActivationSpec::Identity))?;
            false
        }
        Family::Sac => {
            build.sequence("actor.latent_pi", &hidden, None)?;
            squashed_mean(said, build)?;
            true
        }
        Family::Td3 => {
            build.sequence("actor.mu", &hidden, Some(ActivationSpec::Tanh))?;
            true
        }
        Family::Ars { linear } => search_policy(said, linear, &hidden, build)?,
    };
    check_architecture(said, build)?;
    let output = if squash { ActivationSpec::Tanh } else { ActivationSpec::Identity };
    confirm("--activation", options.activation.as_ref(), &hidden, build.hidden() > 0)?;
    confirm("--output-activation", options.output_activation.as_ref(), &output, true)?;
    let head = head(said, options, build, notes)?;
    if squash {
        scale(said, options, build, notes)?;
    } else if options.action_bounds.is_some() {
        let reason = format!("the file holds {}, whose actions are not squashed", said.family.name());
        return Err(Problem::NoEffect { option: "--action-bounds", reason });
    }
    Ok(head)
}

/// SAC's mean: `tanh(mu)`; with gSDE `tanh(hardtanh(mu, -clip_mean, clip_mean))`.
fn squashed_mean(said: &Said, build: &mut Build) -> Result<(), Problem> {
    if !build.has("actor.mu.0.weight") {
        return build.layer("actor.mu", ActivationSpec::Tanh, true);
    }
    if !said.gsde {
        return Err(bad("tensor \"actor.mu.0.weight\" is gSDE's, but its data says use_sde is false"));
    }
    let clip = match said.kwargs.get("clip_mean") {
        None => "2".to_owned(),
        Some(value) => value.as_f64().ok_or_else(|| bad(format!("its clip_mean is {value}")))?.to_string(),
    };
    build.layer("actor.mu.0", ActivationSpec::Clip(format!("-{clip}"), clip), true)?;
    build.diagonal("the squashing", None, ActivationSpec::Tanh)
}

/// ARS: a plain chain, squashed only where its class or arguments say so. Returns whether it is.
fn search_policy(
    said: &Said,
    linear: Option<bool>,
    hidden: &ActivationSpec,
    build: &mut Build,
) -> Result<bool, Problem> {
    let boxed = matches!(said.action, Space::Box { .. });
    let bias = flag(said, "with_bias", linear != Some(true))?;
    if build.has("action_net.weight") {
        // before sb3-contrib 1.7, an unsquashed linear policy was a layer of its own
        let bias = bias && build.has("action_net.bias");
        build.layer("action_net", ActivationSpec::Identity, bias)?;
        return match flag(said, "squash_output", false)? && boxed {
            true => Err(bad("its squash_output is true, but its action_net has no tanh")),
            false => Ok(false),
        };
    }
    let linear = linear.ok_or_else(|| {
        bad("its policy class cannot be read (ARSPolicy squashes, ARSLinearPolicy does not); save it again")
    })?;
    let squash = boxed && flag(said, "squash_output", !linear)?;
    if boxed && !linear && !squash {
        return Err(bad(
            "its ARSPolicy has squash_output false, which releases of sb3-contrib read differently",
        ));
    }
    let last = if squash { ActivationSpec::Tanh } else { ActivationSpec::Identity };
    build.sequence_with("action_net", hidden, Some(last), bias)?;
    Ok(squash)
}

fn flag(said: &Said, key: &str, default: bool) -> Result<bool, Problem> {
    match said.kwargs.get(key) {
        None => Ok(default),
        Some(value) => value.as_bool().ok_or_else(|| bad(format!("its {key} is {value}, not true or false"))),
    }
}

/// Tanh for actor-critic policies, ReLU for all others, unless `activation_fn` says otherwise.
fn hidden_activation(said: &Said) -> Result<ActivationSpec, Problem> {
    let Some(stated) = said.kwargs.get("activation_fn") else {
        return Ok(match said.family {
            Family::ActorCritic { .. } => ActivationSpec::Tanh,
            _ => ActivationSpec::Relu,
        });
    };
    match stated.as_str().and_then(class_of) {
        Some((module, class)) if module.starts_with("torch.nn.modules.") => {
            crate::import::draft::activation_named(&class)
        }
        _ => Err(Problem::Activation(stated.as_str().unwrap_or("of its activation_fn").to_owned())),
    }
}

/// Module and name in `<class 'module.Name'>`.
fn class_of(text: &str) -> Option<(String, String)> {
    let path = text.strip_prefix("<class '")?.strip_suffix("'>")?;
    let (module, name) = path.rsplit_once('.')?;
    Some((module.to_owned(), name.to_owned()))
}

/// Hidden widths that `net_arch` states; shared layers of older releases come first.
fn check_architecture(said: &Said, build: &Build) -> Result<(), Problem> {
    let Some(stated) = said.kwargs.get("net_arch").filter(|value| !value.is_null()) else { return Ok(()) };
    let unreadable = || bad(format!("its net_arch is {stated}, which is not understood"));
    let actor = |dict: &Map<String, Value>| match dict.get("pi") {
        Some(pi) => data::sizes(pi).ok_or_else(unreadable),
        None => Ok(Vec::new()),
    };
    let widths = match stated {
        Value::Object(dict) => actor(dict)?,
        Value::Array(parts) => {
            let mut widths = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                match part {
                    Value::Object(dict) if index + 1 == parts.len() => widths.extend(actor(dict)?),
                    _ => widths.push(data::size(part).ok_or_else(unreadable)?),
                }
            }
            widths
        }
        _ => return Err(unreadable()),
    };
    let found = build.hidden_widths();
    if found != widths {
        return Err(bad(format!(
            "its net_arch asks for hidden layers of {widths:?} values, its tensors are {found:?}"
        )));
    }
    Ok(())
}

/// An option may confirm what the archive says.
fn confirm(
    option: &'static str,
    stated: Option<&ActivationSpec>,
    said: &ActivationSpec,
    effect: bool,
) -> Result<(), Problem> {
    match stated {
        Some(stated) if stated != said => {
            Err(Problem::Contradicts { option, given: activation_text(stated), file: activation_text(said) })
        }
        Some(_) if !effect => {
            Err(Problem::NoEffect { option, reason: "the policy has no hidden layer".into() })
        }
        _ => Ok(()),
    }
}

/// The head: what the class and the action space say, confirmed or, for a stochastic policy, evaluated at its mean or
/// most probable action, by `--head`.
fn head(
    said: &Said,
    options: &ImportOptions,
    build: &mut Build,
    notes: &mut Vec<String>,
) -> Result<HeadKind, Problem> {
    let own = match (said.family, &said.action) {
        (_, Space::Other(class)) => {
            let what = "only Box and Discrete actions are read";
            return Err(bad(format!("its action space is {class}; {what}")));
        }
        (Family::ActorCritic { .. }, Space::Discrete { .. }) => HeadKind::Categorical,
        (Family::ActorCritic { .. } | Family::Sac, Space::Box { .. }) => HeadKind::Gaussian,
        (Family::Dqn, Space::Discrete { .. })
        | (Family::Td3, Space::Box { .. })
        | (Family::Ars { .. }, _) => HeadKind::Deterministic,
        (family, _) => {
            return Err(bad(format!("its action space does not go with {}", family.name())));
        }
    };
    let head = options.head.unwrap_or(own);
    if head != own && head != HeadKind::Deterministic {
        let (given, own) = (head.word().to_owned(), own.word());
        let file = format!("{} with a {own} head", said.family.name());
        return Err(Problem::Contradicts { option: "--head", given, file });
    }
    if matches!(said.family, Family::ActorCritic { maskable: true }) {
        notes.push(
            "masks of invalid actions come from the environment; the network is read without them".into(),
        );
    }
    let noise = if said.family == Family::Sac { "actor.log_std" } else { "log_std" };
    match (own, head) {
        (HeadKind::Gaussian, HeadKind::Gaussian) if said.gsde => {
            return Err(Problem::StateDependentNoise("use_sde is true in its data".into()));
        }
        (HeadKind::Gaussian, HeadKind::Gaussian) if said.family == Family::Sac => {
            let why = "its actor computes log_std from the state";
            return Err(Problem::StateDependentNoise(why.into()));
        }
        (HeadKind::Gaussian, HeadKind::Gaussian) => build.log_std(noise, options)?,
        (HeadKind::Gaussian, _) => {
            build.ignore(&[noise, "sde_features_extractor.", "actor.sde_features_extractor."]);
            let noise = if said.gsde {
                "its noise depends on the state (gSDE), so no total variation is certified, but the mean action is"
            } else {
                "its standard deviations are not used"
            };
            notes.push(format!("read as deterministic: the mean of its Gaussian; {noise}"));
        }
        (HeadKind::Categorical, HeadKind::Deterministic) => {
            notes.push("read as deterministic: its logits as outputs, no probabilities".into());
        }
        _ => {}
    }
    if options.log_std.is_some() && head != HeadKind::Gaussian {
        let reason = "only a gaussian head has standard deviations".to_owned();
        return Err(Problem::NoEffect { option: "--log-std", reason });
    }
    Ok(head)
}

/// `low + (a + 1) (high - low) / 2`, as `BasePolicy.unscale_action` maps squashed actions to the Box.
fn scale(
    said: &Said,
    options: &ImportOptions,
    build: &mut Build,
    notes: &mut Vec<String>,
) -> Result<(), Problem> {
    let outputs = build.outputs();
    let own = match &said.action {
        Space::Box { bounds, .. } => bounds.clone(),
        _ => None,
    };
    let stated = match &options.action_bounds {
        Some((low, high)) => {
            let float =
                |text: &String| text.parse::<f64>().map_err(|_| bad(format!("{text:?} is no number")));
            Some((vec![float(low)?; outputs], vec![float(high)?; outputs]))
        }
        None => None,
    };
    if let (Some(own), Some(stated)) = (&own, &stated)
        && own != stated
    {
        let (given, file) = (box_text(stated), box_text(own));
        return Err(Problem::Contradicts { option: "--action-bounds", given, file });
    }
    let Some((low, high)) = own.or(stated) else {
        notes.push(
            "its action space shows no bounds: the outputs are the actor's own, in [-1, 1]; --action-bounds \
             LOW,HIGH scales them as the policy's predict() does"
                .into(),
        );
        return Ok(());
    };
    let sound = |low: &f64, high: &f64| low.is_finite() && high.is_finite() && low < high;
    if low.len() != outputs || high.len() != outputs {
        return Err(bad(format!("its action space has {} bounds, its network {outputs} outputs", low.len())));
    }
    if !low.iter().zip(&high).all(|(l, h)| sound(l, h)) {
        return Err(bad(format!("its action space is no finite box: {}", box_text(&(low, high)))));
    }
    let half: Vec<f64> = low.iter().zip(&high).map(|(l, h)| (h - l) / 2.0).collect();
    let centre: Vec<f64> = low.iter().zip(&high).map(|(l, h)| (h + l) / 2.0).collect();
    if half.iter().all(|&h| h == 1.0) && centre.iter().all(|&c| c == 0.0) {
        return Ok(());
    }
    build.diagonal("the action's scale", Some((half, centre)), ActivationSpec::Identity)
}

/// Bounds as the option takes them, where they are the same for all actions.
fn box_text((low, high): &(Vec<f64>, Vec<f64>)) -> String {
    let one = |values: &[f64]| values.first().copied().filter(|first| values.iter().all(|v| v == first));
    match (one(low), one(high)) {
        (Some(low), Some(high)) => format!("{low},{high}"),
        _ => format!("low {low:?}, high {high:?}"),
    }
}

/// The spaces' widths agree with the tensors'.
fn check_widths(said: &Said, draft: &Draft) -> Result<(), Problem> {
    let sides = |index: usize| draft.layers.get(index).map(|(_, l)| l.weight.shape.clone());
    let (first, last) = (sides(0), sides(draft.layers.len().wrapping_sub(1)));
    let product = |shape: &Vec<usize>| shape.iter().try_fold(1usize, |p, &s| p.checked_mul(s));
    let width = |space: &Space| match space {
        Space::Box { shape, .. } => shape.as_ref().and_then(product),
        Space::Discrete { n } => *n,
        Space::Other(_) => None,
    };
    let inputs = first.as_deref().and_then(|shape| shape.get(1)).copied();
    let outputs = last.as_deref().and_then(|shape| shape.first()).copied();
    for (what, stated, found) in
        [("observation", width(&said.observation), inputs), ("action", width(&said.action), outputs)]
    {
        if let (Some(stated), Some(found)) = (stated, found)
            && stated != found
        {
            return Err(bad(format!("its {what} space has {stated} values, its network {found}")));
        }
    }
    Ok(())
}

/// A question for the person where the policy may have been trained on normalised observations.
fn normaliser_note(archive: &Path, wrapped: bool) -> Option<String> {
    let why = match (wrapped, normaliser_beside(archive)) {
        (_, Some(file)) => format!("{} lies beside it", file.display()),
        (true, None) => "its data says that the environment was wrapped in VecNormalize".to_owned(),
        (false, None) => return None,
    };
    Some(format!("{why}: if observations were normalised, give the statistics with --normaliser FILE"))
}

/// A file that looks like the normaliser of an archive, beside it or in the folder that RL-Zoo keeps.
fn normaliser_beside(archive: &Path) -> Option<PathBuf> {
    let folder = archive.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })?;
    [folder.to_owned(), folder.join(archive.file_stem()?)].iter().find_map(|folder| {
        let names = std::fs::read_dir(folder).ok()?.take(MAX_SIBLINGS).flatten();
        let mut found: Vec<PathBuf> = names.map(|entry| entry.path()).filter(|p| is_normaliser(p)).collect();
        found.sort();
        found.into_iter().next()
    })
}

fn is_normaliser(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name.replace(['_', '-'], "");
    (name.contains("vecnorm") || name.starts_with("obsrms"))
        && [".pkl", ".pickle", ".npz"].iter().any(|end| name.ends_with(end))
}
