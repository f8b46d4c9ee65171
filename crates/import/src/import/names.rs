//! What the words in a tensor's name say: whose network it is, where in it, and what is ignored. Untrusted.
//! `spec/import.md#what-is-ignored`.

use super::array::{Array, Arrays, Element};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Words of value functions, which no policy reads.
const VALUE: [&str; 9] = ["critic", "critics", "value", "values", "val", "vf", "vnet", "qcritic", "baseline"];
/// Those among them that name a value function whatever it gives; the others may name a policy's outputs (`q_values`).
const CRITIC: [&str; 3] = ["critic", "critics", "qcritic"];
/// Words of networks that are trained beside a policy; never part of it silently.
const BESIDE: [&str; 24] = [
    "reward",
    "rewards",
    "termination",
    "terminations",
    "terminal",
    "done",
    "cost",
    "aux",
    "auxiliary",
    "dynamics",
    "decoder",
    "reconstruction",
    "disc",
    "discriminator",
    "predictor",
    "inverse",
    "intrinsic",
    "rnd",
    "icm",
    "opponent",
    "teacher",
    "temperature",
    "cov",
    "scale",
];
/// Words of heads and of encoders: two layers of one such word may stand side by side.
const SIDE: [&str; 15] = [
    "out",
    "output",
    "outputs",
    "head",
    "heads",
    "logit",
    "logits",
    "mu",
    "mean",
    "loc",
    "encoder",
    "embed",
    "embedding",
    "enc",
    "extractor",
];
/// Words of value functions where one of their weights has a single row; elsewhere they may be the policy.
const SCALAR_VALUE: [&str; 5] = ["v", "q", "qf", "qnet", "vfunc"];
/// Words of copies that training keeps; a copy has the tensors of what it copies.
const COPY: [&str; 8] = ["target", "targ", "tgt", "polyak", "ema", "swa", "averaged", "old"];
/// Words of what statistics of rewards and returns are kept under.
const REWARD: [&str; 7] = ["ret", "return", "returns", "reward", "rewards", "rew", "privileged"];
/// Leaves of statistics.
const STATISTICS: [&str; 9] =
    ["mean", "var", "std", "count", "_mean", "_var", "_std", "running_mean", "running_var"];
/// Leaves that count steps; ignored if they hold one number.
const COUNTERS: [&str; 15] = [
    "count",
    "epoch",
    "epochs",
    "step",
    "steps",
    "global_step",
    "iter",
    "iteration",
    "frame",
    "n_averaged",
    "n_updates",
    "num_updates",
    "total_it",
    "total_steps",
    "num_timesteps",
];
/// Leaves that weigh terms of the training's objective; ignored if they hold one number.
const OBJECTIVE: [&str; 4] = ["log_alpha", "log_ent_coef", "ent_coef", "target_entropy"];
/// Leaves of log standard deviations.
const LOG_STD: [&str; 5] = ["log_std", "logstd", "log_stdev", "logstdev", "log_sigma"];
/// Words of what stands before the rest of a network.
const FIRST: [&str; 20] = [
    "in",
    "input",
    "inputs",
    "encoder",
    "obs",
    "observation",
    "state",
    "embed",
    "embedding",
    "body",
    "trunk",
    "shared",
    "base",
    "backbone",
    "torso",
    "feature",
    "features",
    "extractor",
    "stem",
    "first",
];
/// Words of what stands after the rest of a network.
const LAST: [&str; 20] = [
    "out",
    "output",
    "outputs",
    "mu",
    "mean",
    "loc",
    "action",
    "actions",
    "head",
    "logit",
    "logits",
    "pi",
    "policy",
    "final",
    "last",
    "actor",
    "dist",
    "classifier",
    "readout",
    "prediction",
];

/// Segments of a dotted name.
pub(super) fn segments(name: &str) -> Vec<&str> {
    name.split(['.', '/']).collect()
}

/// Lower-case words of a segment, digits aside: `fc_mu2` is `fc` and `mu`.
fn words(segment: &str) -> Vec<String> {
    let lower = segment.to_ascii_lowercase();
    let parts = lower.split(|c: char| c == '_' || c == '-' || c.is_ascii_digit());
    parts.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn has(segment: &str, list: &[&str]) -> bool {
    words(segment).iter().any(|word| list.contains(&word.as_str()))
}

/// Whether a segment names log standard deviations.
pub(super) fn is_log_std(segment: &str) -> bool {
    let lower = segment.to_ascii_lowercase();
    LOG_STD.iter().any(|word| lower.contains(word))
}

/// Whether a segment names what draws noise: log standard deviations, or deviations themselves.
pub(super) fn is_noise(segment: &str) -> bool {
    is_log_std(segment) || has(segment, &["std", "sigma", "stddev", "logvar", "var", "variance"])
}

/// Words that no chain of affine layers has, and what they are of.
pub(super) fn unsupported(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    if ["lstm", "gru.", "gru_", "rnn", "weight_ih", "weight_hh"].iter().any(|mark| lower.contains(mark)) {
        return Some("recurrent");
    }
    let parts = segments(name);
    let any = |list: &[&str]| parts.iter().any(|part| has(part, list));
    if any(&["attn", "attention", "qkv"]) || lower.contains("in_proj_weight") {
        return Some("attention");
    }
    let module = &parts[..parts.len().saturating_sub(1)];
    let joins =
        ["residual", "residuals", "resblock", "resblocks", "resnet", "res", "skip", "shortcut", "highway"];
    // A numbered block of named layers: most add what they read to what they give, and the names do not say.
    let blocks = module
        .windows(3)
        .any(|run| has(run[0], &["block", "blocks"]) && run[1].bytes().all(|b| b.is_ascii_digit()));
    if blocks || module.iter().any(|part| has(part, &joins)) {
        return Some("a residual network, whose layers are no chain");
    }
    if module.iter().any(|part| {
        has(part, &["gate", "gates", "gating", "glu", "swiglu", "film", "moe", "expert", "experts"])
    }) {
        return Some("a gated network, whose layers are no chain");
    }
    any(&["advantage", "adv"]).then_some("a duelling network, whose outputs are sums of two streams")
}

/// Why the tensor is no part of the policy, by the words after the first `skip` segments of its name.
pub(super) fn foreign(arrays: &Arrays, name: &str, array: &Array, skip: usize) -> Option<&'static str> {
    let parts = segments(name);
    let leaf = parts.last().copied().unwrap_or(name);
    for (at, part) in parts.iter().enumerate().skip(skip) {
        if part.to_ascii_lowercase().contains("optim") {
            return Some("state of an optimiser");
        }
        if has(part, &["adversary"]) {
            return Some("an adversary");
        }
        if has(part, &CRITIC)
            || has(part, &VALUE) && !gives_outputs(arrays, &parts[..=at])
            || part.to_ascii_lowercase().starts_with("qf") && gives_one(arrays, &parts[..=at])
        {
            return Some("a value function");
        }
        if at + 1 < parts.len() && has(part, &SCALAR_VALUE) && gives_one(arrays, &parts[..=at]) {
            return Some("a value function");
        }
        if has(part, &COPY) && is_copy(arrays, &parts[..=at]) {
            return Some("a copy that training keeps (a target network or an average)");
        }
        if has(part, &REWARD) && STATISTICS.contains(&leaf) {
            return Some("statistics of rewards or of a critic's observations");
        }
    }
    let one = array.shape.iter().product::<usize>() == 1 && !matches!(array.element, Element::Text(_));
    if one && OBJECTIVE.contains(&leaf) {
        return Some("a weight of the training's objective");
    }
    (one && COUNTERS.contains(&leaf)).then_some("a counter")
}

/// Whether what a word of values names gives several outputs, as a policy's Q-values do: it has weights, none of one row,
/// and is of actions, or nothing else in the file is a value function or named as a policy.
fn gives_outputs(arrays: &Arrays, path: &[&str]) -> bool {
    let inside = || arrays.named.iter().filter(|(name, _)| starts_with(name, path));
    if !inside().any(|(name, _)| name.contains("weight")) {
        // a lost weight, whose bias says as much
        return inside()
            .any(|(name, array)| name.ends_with("bias") && array.shape.iter().product::<usize>() > 1);
    }
    if !inside().any(|(_, array)| array.shape.len() == 2) || gives_one(arrays, path) {
        return false;
    }
    if path.last().is_some_and(|part| has(part, &["q", "action", "actions"])) {
        return true;
    }
    let policy = ["actor", "pi", "policy", "mu", "action", "actions", "logit", "logits", "dist"];
    let other = |(name, array): (&String, &Array)| {
        let parts = segments(name);
        let differing = parts.iter().zip(path).find(|(a, b)| a != b);
        let one = matches!(array.shape.as_slice(), [1, _]) && name.contains("weight");
        one && parts.iter().any(|part| has(part, &VALUE) || has(part, &SCALAR_VALUE))
            || array.shape.len() == 2 && differing.is_some_and(|(part, _)| has(part, &policy))
    };
    !arrays.named.iter().any(other)
}

/// Whether a layer is named as values are: such a layer may be a policy's last one, and no other.
pub(super) fn is_value(stem: &str) -> bool {
    segments(stem).iter().any(|part| has(part, &VALUE))
}

/// Whether a layer is of a network that is trained beside a policy, by its words.
pub(super) fn stands_beside(stem: &str) -> bool {
    segments(stem).iter().any(|part| has(part, &BESIDE))
}

/// Whether a layer of the policy and a value function are the two streams of a duelling network: they stand side by side,
/// and the first is of advantages or of the values of actions.
pub(super) fn duelling(stem: &str, value: &str) -> bool {
    let (own, other) = (segments(stem), segments(value));
    let Some((a, b)) = own.iter().zip(&other).find(|(a, b)| a != b) else { return false };
    // A, fc_A, A1, and no a2c
    let letter = |part: &str| {
        part.split('_').any(|w| w.trim_end_matches(|c: char| c.is_ascii_digit()).eq_ignore_ascii_case("a"))
    };
    let of_actions =
        letter(a) || has(a, &["q", "qs"]) || has(a, &["action", "actions"]) && has(a, &["value", "values"]);
    of_actions && (has(b, &VALUE) || has(b, &SCALAR_VALUE))
}

/// The first of the layers that asks and is asked, as the projections of attention do.
pub(super) fn asks<'n>(names: &[&'n str]) -> Option<&'n str> {
    let with =
        |list: &[&str]| names.iter().find(|name| segments(name).iter().any(|part| has(part, list))).copied();
    with(&["k", "key", "keys"]).and_then(|_| with(&["q", "query", "queries"]))
}

/// Whether two layers that read as many values stand side by side rather than a chain: they share a word of heads or encoders, or are the
/// two parameters of a Beta distribution.
pub(super) fn side_by_side(left: &str, right: &str) -> bool {
    let (left, right) = (segments(left), segments(right));
    let Some((a, b)) = left.iter().zip(&right).find(|(a, b)| a != b) else { return false };
    let (one, two) = (words(a), words(b));
    if one.iter().any(|w| w == "alpha") && two.iter().any(|w| w == "beta") {
        return true;
    }
    let shared = one.iter().any(|word| SIDE.contains(&word.as_str()) && two.contains(word));
    let only_such = one.iter().all(|word| SIDE.contains(&word.as_str()));
    shared && (skeleton(a).0 != skeleton(b).0 || only_such)
}

/// Whether a list of numbers under this name may be statistics, a scale or a shift, and no log of a training.
pub(super) fn is_vector(name: &str) -> bool {
    let parts = segments(name);
    let logs = [
        "reward", "rewards", "return", "returns", "ret", "rew", "score", "scores", "loss", "losses",
        "episode", "episodes", "history", "log", "logs", "metric", "metrics", "length", "lengths", "eval",
        "train",
    ];
    let statistics = ["mean", "means", "std", "stds", "stddev", "var", "variance"];
    let scales = ["scale", "bias", "shift", "offset", "loc"];
    let of = ["obs", "observation", "state", "input", "action", "act", "output"];
    parts.last().is_some_and(|leaf| has(leaf, &statistics) || has(leaf, &scales) && has(leaf, &of))
        && !parts.iter().any(|part| has(part, &logs))
}

/// Whether an array beside the policy's module may be what its observations are normalised with.
pub(super) fn may_normalise(name: &str, array: &Array) -> bool {
    if array.shape.len() > 2 || matches!(array.element, Element::Text(_)) || array.shape.is_empty() {
        return false;
    }
    let parts = segments(name);
    let numeric = |part: &&str| part.bytes().all(|b| b.is_ascii_digit());
    let modules = [
        "norm",
        "normalizer",
        "normaliser",
        "normalization",
        "rms",
        "stats",
        "scaler",
        "preprocessor",
        "filter",
    ];
    let (leaf, module) = parts.split_last().map_or((name, &[][..]), |(leaf, module)| (*leaf, module));
    array.shape.len() == 1 && parts.iter().all(numeric)
        || has(leaf, &["mean", "std", "stddev", "var", "variance", "rms"])
            && !["weight", "bias"].contains(&leaf)
        || module.last().is_some_and(|part| has(part, &modules)) && !["weight", "bias"].contains(&leaf)
}

/// Whether a module beside the policy's holds masks.
pub(super) fn holds_masks(segment: &str) -> bool {
    has(segment, &["mask", "masks", "pruning"])
}

/// Whether statistics are of something else than observations, by the words of their module.
pub(super) fn of_other_values(name: &str) -> bool {
    let parts = segments(name);
    let others = ["action", "actions", "act", "goal", "goals", "adv", "latent", "next", "delta"];
    parts[..parts.len().saturating_sub(1)].iter().any(|part| has(part, &others))
}

/// Whether a setting of a checkpoint says the activation of the policy.
pub(super) fn says_activation(name: &str) -> bool {
    let parts = segments(name);
    let known = parts.last().is_some_and(|leaf| {
        let lower = leaf.to_ascii_lowercase();
        ["act", "act_fn", "hidden_act", "out_act", "output_act"].contains(&lower.as_str())
            || lower.contains("activation")
            || lower.contains("nonlinearity")
    });
    known && !parts.iter().any(|part| has(part, &VALUE) || has(part, &BESIDE))
}

/// Whether a setting of a checkpoint says that the last layer is squashed.
pub(super) fn says_squash(name: &str) -> bool {
    let leaf = segments(name).last().map(|leaf| leaf.to_ascii_lowercase()).unwrap_or_default();
    [
        "squash",
        "squash_output",
        "squash_outputs",
        "squash_action",
        "squash_actions",
        "tanh_output",
        "tanh_squash",
    ]
    .contains(&leaf.as_str())
}

/// Whether such a setting is of the last layer.
pub(super) fn of_last_layer(name: &str) -> bool {
    says_squash(name)
        || segments(name).last().is_some_and(|leaf| has(leaf, &["out", "output", "final", "last"]))
}

fn under<'a>(name: &'a str, path: &[&str]) -> Option<&'a str> {
    let path: usize = path.iter().map(|part| part.len() + 1).sum();
    name.get(path..)
}

fn starts_with(name: &str, path: &[&str]) -> bool {
    let parts = segments(name);
    parts.len() > path.len() && parts.iter().zip(path).all(|(a, b)| a == b)
}

/// Whether a weight under the path has one row, as the last layer of a value function has.
fn gives_one(arrays: &Arrays, path: &[&str]) -> bool {
    arrays.named.iter().any(|(name, array)| {
        starts_with(name, path) && matches!(array.shape.as_slice(), [1, _]) && name.contains("weight")
    })
}

/// Whether all that stands under the path stands, with the same shapes, under the same path without the copy's word;
/// or, for networks of two weights and more, under any other path that holds no more than that.
fn is_copy(arrays: &Arrays, path: &[&str]) -> bool {
    let copied = tails(arrays, path, &[]);
    let exact = without_copy_words(path);
    if copied.is_empty() {
        return arrays.named.contains_key(&exact.join("."));
    }
    let exact: Vec<&str> = exact.iter().map(String::as_str).collect();
    if copied.is_subset(&tails(arrays, &exact, path)) {
        return true;
    }
    let weights = copied.iter().filter(|(_, shape)| shape.len() == 2).count();
    let Some((tail, _)) = copied.first().filter(|_| weights > 1) else { return false };
    arrays.named.keys().filter(|name| !starts_with(name, path)).any(|name| {
        let root = name.strip_suffix(tail.as_str()).filter(|root| root.is_empty() || root.ends_with('.'));
        let root: Option<Vec<&str>> =
            root.map(|r| segments(r).into_iter().filter(|s| !s.is_empty()).collect());
        root.is_some_and(|root| {
            !root.iter().any(|part| has(part, &COPY)) && tails(arrays, &root, path) == copied
        })
    })
}

/// What stands under a path, but not under another: names from there on, and shapes.
fn tails(arrays: &Arrays, path: &[&str], but: &[&str]) -> BTreeSet<(String, Vec<usize>)> {
    let inside = arrays
        .named
        .iter()
        .filter(|(name, _)| starts_with(name, path) && (but.is_empty() || !starts_with(name, but)));
    inside.filter_map(|(name, array)| Some((under(name, path)?.to_owned(), array.shape.clone()))).collect()
}

fn without_copy_words(path: &[&str]) -> Vec<String> {
    let kept = path.iter().map(|part| {
        let words = part.split('_').filter(|word| !COPY.contains(&word.to_ascii_lowercase().as_str()));
        words.collect::<Vec<_>>().join("_")
    });
    kept.filter(|part| !part.is_empty()).collect()
}

/// Digits of a segment as numbers, and what is left of it.
fn skeleton(segment: &str) -> (String, Vec<u64>) {
    let (mut text, mut numbers, mut digits) = (String::new(), Vec::new(), String::new());
    for character in segment.chars().chain(['\0']) {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        if !digits.is_empty() {
            numbers.push(digits.parse().unwrap_or(u64::MAX));
            digits.clear();
            text.push('#');
        }
        text.push(character);
    }
    (text, numbers)
}

/// Order by numbers as numbers and by letters elsewhere.
pub(super) fn natural(left: &str, right: &str) -> Ordering {
    let (left, right) = (segments(left), segments(right));
    let key = |parts: &[&str]| parts.iter().map(|part| skeleton(part)).collect::<Vec<_>>();
    key(&left).cmp(&key(&right))
}

fn role(segment: &str) -> i8 {
    let words = words(segment);
    let last = words.iter().any(|word| LAST.contains(&word.as_str()));
    let first = words.iter().any(|word| FIRST.contains(&word.as_str()));
    i8::from(last && !first) - i8::from(first && !last)
}

/// What two names say about the order of their layers: by the numbers or the words where they first differ; `None` if
/// nothing.
pub(super) fn order_by_words(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (segments(left), segments(right));
    let (a, b) = left.iter().zip(&right).find(|(a, b)| a != b)?;
    let ((text, one), (other, two)) = (skeleton(a), skeleton(b));
    if text == other {
        return Some(one.cmp(&two));
    }
    let order = role(a).cmp(&role(b));
    if order.is_ne() {
        return Some(order);
    }
    if role(a) <= 0 {
        return None;
    }
    // where both stand last, what they share says nothing: a mean_head stands after a var_head or beside it
    let rest = |own: &str, other: &str| {
        let other = words(other);
        let kept: Vec<String> = words(own).into_iter().filter(|word| !other.contains(word)).collect();
        role(&kept.join("_"))
    };
    Some(rest(a, b).cmp(&rest(b, a))).filter(|order| order.is_ne())
}

/// Whether a layer may follow one of another module: a word says that the first stands before the rest, or that the
/// second stands after it.
pub(super) fn may_follow(before: &str, after: &str) -> bool {
    let (left, right) = (segments(before), segments(after));
    let differing = left.iter().zip(&right).find(|(a, b)| a != b);
    differing.is_none_or(|(a, b)| role(a) < 0 || role(b) > 0)
}

/// The module that holds a layer; numbers at the end of its path are places in it (`actor.0.1` is in `actor`).
pub(super) fn module(stem: &str) -> String {
    let mut parts = segments(stem);
    let numeric = |part: &&str| part.bytes().all(|b| b.is_ascii_digit());
    if !parts.last().is_some_and(numeric) {
        parts.pop();
        return parts.join(".");
    }
    while parts.last().is_some_and(numeric) {
        parts.pop();
    }
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::TensorDtype;

    fn arrays(list: &[(&str, &[usize])]) -> Arrays {
        let mut arrays = Arrays::default();
        for (name, shape) in list {
            let bytes = vec![0; shape.iter().product::<usize>() * 4];
            let array = Array { element: Element::Float(TensorDtype::F32), shape: shape.to_vec(), bytes };
            arrays.named.insert((*name).to_owned(), array);
        }
        arrays
    }

    fn ignored(list: &[(&str, &[usize])]) -> Vec<String> {
        let arrays = arrays(list);
        let found = arrays.named.iter().filter(|(name, array)| foreign(&arrays, name, array, 0).is_some());
        found.map(|(name, _)| name.clone()).collect()
    }

    #[test]
    fn value_functions_and_counters_are_ignored() {
        let list: [(&str, &[usize]); 5] = [
            ("fc1.weight", &[4, 2]),
            ("fc_pi.weight", &[2, 4]),
            ("fc_v.weight", &[1, 4]),
            ("value_head.bias", &[1]),
            ("epoch", &[]),
        ];
        assert_eq!(ignored(&list), ["fc_v.weight", "value_head.bias", "epoch"]);
    }

    /// A matrix `v` of four rows may be a layer of the policy.
    #[test]
    fn words_that_may_be_the_policy_count_only_with_one_output() {
        assert!(ignored(&[("v.weight", &[4, 2]), ("q_net.0.weight", &[2, 4])]).is_empty());
    }

    #[test]
    fn a_copy_is_one_only_beside_what_it_copies() {
        assert_eq!(
            ignored(&[("actor.0.weight", &[2, 4]), ("actor_target.0.weight", &[2, 4])]),
            ["actor_target.0.weight"]
        );
        assert_eq!(ignored(&[("fc1.weight", &[2, 4]), ("ema.fc1.weight", &[2, 4])]), ["ema.fc1.weight"]);
        assert!(
            ignored(&[
                ("target_encoder.0.weight", &[4, 4]),
                ("body.0.weight", &[4, 4]),
                ("body.2.weight", &[2, 4])
            ])
            .is_empty()
        );
        assert!(ignored(&[("target.0.weight", &[2, 4])]).is_empty());
    }

    #[test]
    fn numbers_and_words_order_layers() {
        assert_eq!(order_by_words("net.10", "net.2"), Some(Ordering::Greater));
        assert_eq!(order_by_words("fc_mu", "fc1"), Some(Ordering::Greater));
        assert_eq!(order_by_words("state_in", "mid"), Some(Ordering::Less));
        assert_eq!(order_by_words("alpha", "beta"), None);
        assert_eq!(natural("fc10", "fc9"), Ordering::Greater);
        assert_eq!(["actor.0", "a.0.fc", "fc1"].map(module), ["actor", "a.0", ""]);
    }
}
