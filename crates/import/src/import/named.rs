//! Policies found by the names of their tensors: state dictionaries, NPZ and safetensors files. Untrusted.
//! `spec/import.md`.
//!
//! Every tensor is used, or is ignored for a written reason, or the import stops and names it.

use super::array::{Array, Arrays};
use super::names::{self, foreign, segments};
use super::observation::{self, Statistics};
use super::order::{Shaped, order};
use super::pieces::{self, Stem, fold_after, fold_before};
use crate::import::draft::{Draft, activation_named};
use crate::import::problem::{HeadKind, ImportOptions, Problem};
use crate::import::record::activation_text;
use crate::import::words::did_you_mean;
use crate::policy::{ActivationSpec, LayerData, NormaliserData, TensorData};
use std::collections::BTreeSet;

/// A tensor with its name.
type Named<'a> = (&'a str, &'a Array);

/// Finds the policy's layers, log standard deviations, normaliser and scaling of actions.
///
/// # Errors
/// [`Problem`]: a tensor that nothing uses, layers whose order is not certain, a file that contradicts the options.
pub(super) fn draft(arrays: &Arrays, options: &ImportOptions) -> Result<Draft, Problem> {
    if let Some(layers) = chain_of(arrays, options)? {
        return planned(arrays, options, layers);
    }
    let mut reading = Reading::new(arrays, options)?;
    let special = reading.take_special()?;
    let stems = reading.take_stems()?;
    let batch_norms: Vec<Stem> = stems.iter().filter(|stem| stem.is_batch_norm()).cloned().collect();
    let affine: Vec<Stem> = stems.into_iter().filter(|stem| !stem.is_batch_norm()).collect();
    let chosen = reading.in_order(affine)?;
    reading.refuse_others(&chosen)?;
    let activations = reading.activations(chosen.len())?;
    let plan: Vec<(&Stem, ActivationSpec)> = chosen.iter().zip(activations).collect();
    reading.finish(&plan, &batch_norms, special)
}

/// Builds a policy from an explicit list: stems in their order, each with its activation. What else the file holds is
/// used or ignored as elsewhere; options may confirm the list, not change it.
///
/// # Errors
/// [`Problem`]; [`Problem::Unread`] for a layer that is not listed.
pub(super) fn planned(
    arrays: &Arrays,
    options: &ImportOptions,
    layers: &[(String, ActivationSpec)],
) -> Result<Draft, Problem> {
    let mut reading = Reading::new(arrays, options)?;
    let special = reading.take_special()?;
    let stems = reading.take_stems()?;
    if options.layers.is_some() {
        return Err(Problem::NoEffect {
            option: "--layers",
            reason: "the file says which layers it has".into(),
        });
    }
    let hidden = layers.split_last().map_or(&[][..], |(_, hidden)| hidden);
    if let Some(stated) = &options.activation
        && let Some((_, own)) = hidden.iter().find(|(_, own)| own != stated)
    {
        let (given, file) = (activation_text(stated), activation_text(own));
        return Err(Problem::Contradicts { option: "--activation", given, file });
    }
    let mut plan = Vec::new();
    for (name, activation) in layers {
        let stem = stems.iter().find(|stem| stem.name == *name);
        plan.push((stem.ok_or_else(|| Problem::Missing(format!("{name}.weight")))?, activation.clone()));
    }
    reading.finish(&plan, &[], special)
}

/// The layers that the file's own modules say, where it is a pickle of modules.
fn chain_of<'a>(
    arrays: &'a Arrays,
    options: &ImportOptions,
) -> Result<Option<&'a Vec<(String, ActivationSpec)>>, Problem> {
    if arrays.chains.is_empty() {
        return Ok(None);
    }
    let reading = Reading::new(arrays, options)?;
    let own = |stem: &str| {
        reading.left.iter().any(|(name, _)| pieces::part_of(name).is_some_and(|(s, _)| s == stem))
    };
    let mut found = arrays.chains.iter().filter(|(_, layers)| layers.iter().any(|(stem, _)| own(stem)));
    match (found.next(), found.next()) {
        (Some((first, _)), Some((second, _))) => {
            Err(Problem::TwoNetworks { first: first.clone(), second: second.clone() })
        }
        (one, _) => Ok(one.map(|(_, layers)| layers)),
    }
}

/// What is known of each tensor while a file is read.
struct Reading<'a> {
    arrays: &'a Arrays,
    options: &'a ImportOptions,
    /// Tensors that belong to the policy and whose use is not known yet.
    left: Vec<Named<'a>>,
    used: Vec<String>,
    ignored: Vec<(String, &'static str)>,
}

/// What is no layer.
struct Special {
    log_std: Option<TensorData>,
    normaliser: Option<NormaliserData>,
    /// Scale and shift of the actions.
    action: Option<[TensorData; 2]>,
}

impl<'a> Reading<'a> {
    /// Sorts out what is no part of the policy.
    fn new(arrays: &'a Arrays, options: &'a ImportOptions) -> Result<Self, Problem> {
        let mut reading = Self { arrays, options, left: Vec::new(), used: Vec::new(), ignored: Vec::new() };
        let prefix = options.prefix.as_deref().map(|text| Prefix::new(arrays, text)).transpose()?;
        for text in &options.ignore {
            if !arrays.named.keys().any(|name| Prefix::segment(text).matches(name)) {
                let near = did_you_mean(text, modules(arrays).iter().map(String::as_str));
                let reason = format!("no tensor is named {text:?} or starts with \"{text}.\"{near}");
                return Err(Problem::NoEffect { option: "--ignore", reason });
            }
        }
        for (name, array) in &arrays.named {
            let ignored = options.ignore.iter().any(|text| Prefix::segment(text).matches(name));
            let skip = prefix.as_ref().filter(|p| p.matches(name)).map_or(0, |p| p.depth);
            let reason = match &prefix {
                _ if ignored => Some("named by --ignore"),
                Some(prefix) if !prefix.matches(name) && !prefix.is_beside(name, array) => {
                    Some("outside the prefix")
                }
                _ => foreign(arrays, name, array, skip),
            };
            match reason {
                Some(reason) => reading.ignored.push((name.clone(), reason)),
                None => reading.left.push((name, array)),
            }
        }
        if let Some(prefix) = &prefix {
            // beside the prefix only statistics, deviations and scalings are of interest
            let wanted = |name: &str, array: &Array| {
                prefix.matches(name)
                    || is_special(name)
                    || observation_leaf(name)
                    || names::may_normalise(name, array)
                    || prefix.is_masked_by(name)
            };
            let outside: Vec<&str> =
                reading.left.iter().filter(|(n, a)| !wanted(n, a)).map(|(name, _)| *name).collect();
            reading.ignore(&outside, "outside the prefix");
        }
        reading.refuse()?;
        Ok(reading)
    }

    /// Refuses by name what is no chain of affine layers.
    fn refuse(&self) -> Result<(), Problem> {
        let deterministic = self.options.head == Some(HeadKind::Deterministic);
        if !deterministic && self.arrays.metadata.get("distribution").is_some_and(|text| text == "gsde") {
            return Err(Problem::StateDependentNoise("the file says so".into()));
        }
        for (name, _) in &self.left {
            match names::unsupported(name) {
                Some("recurrent") => return Err(Problem::Recurrent((*name).to_owned())),
                Some(what) => return Err(Problem::Unsupported { name: (*name).to_owned(), what }),
                None => {}
            }
        }
        let names: Vec<&str> = self.left.iter().map(|(name, _)| *name).collect();
        if let Some(name) = names::asks(&names) {
            return Err(Problem::Unsupported { name: name.to_owned(), what: "attention" });
        }
        let values = || self.ignored.iter().filter(|(_, reason)| *reason == "a value function");
        for (name, _) in &self.left {
            let Some((stem, _)) = pieces::part_of(name) else { continue };
            if values().any(|(value, _)| names::duelling(&stem, value)) {
                let what = "a duelling network, whose outputs are sums of two streams, if the value function beside it is \
                            added; name that with --prefix or --ignore if it is not";
                return Err(Problem::Unsupported { name: (*name).to_owned(), what });
            }
        }
        Ok(())
    }

    /// Refuses layers of networks that are trained beside a policy, and values that other layers read: no chain may use
    /// them silently.
    fn refuse_others(&self, chosen: &[Stem<'a>]) -> Result<(), Problem> {
        if self.options.layers.is_some() {
            return Ok(());
        }
        let skip = self.options.prefix.as_deref().map_or("", |text| text.trim_end_matches(['.', '/']));
        let own = |stem: &Stem<'a>| stem.name.strip_prefix(skip).unwrap_or(&stem.name).to_owned();
        let beside = |stem: &&Stem<'a>| names::stands_beside(&own(stem));
        let mut others: Vec<&Stem<'a>> = chosen.iter().filter(beside).collect();
        if others.len() == chosen.len() {
            others.clear();
        }
        let last = chosen.last().map(|stem| names::is_value(&own(stem)));
        if last == Some(false) {
            others.extend(chosen.iter().filter(|stem| names::is_value(&own(stem))));
        }
        let names: Vec<String> = others.iter().flat_map(|stem| stem.names()).map(str::to_owned).collect();
        if names.is_empty() { Ok(()) } else { Err(Problem::Unread { names }) }
    }

    fn take(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            self.left.retain(|(other, _)| *other != name);
            self.used.push(name.to_owned());
        }
    }

    fn ignore(&mut self, names: &[&'a str], reason: &'static str) {
        for name in names {
            self.left.retain(|(other, _)| other != name);
            self.ignored.push(((*name).to_owned(), reason));
        }
    }

    /// Statistics of observations, noise and scaling of actions.
    fn take_special(&mut self) -> Result<Special, Problem> {
        let groups = observation::groups(&self.left);
        let normaliser = match groups.as_slice() {
            [] => None,
            [only] => Some(only.normaliser(self.arrays, self.options)?),
            [one, two, ..] => {
                return Err(Problem::TwoStatistics { first: one.stem.clone(), second: two.stem.clone() });
            }
        };
        let names: Vec<&'a str> =
            groups.iter().flat_map(|g: &Statistics<'a>| &g.arrays).map(|(n, _)| *n).collect();
        self.take(names);
        let action = self.take_action()?;
        let log_std = self.take_log_std()?;
        Ok(Special { log_std, normaliser, action })
    }

    fn take_action(&mut self) -> Result<Option<[TensorData; 2]>, Problem> {
        let find = |leaf: &str| {
            let mut found = self.left.iter().filter(|(name, _)| segments(name).last() == Some(&leaf));
            (found.next().copied(), found.next().copied())
        };
        match (find("action_scale"), find("action_bias")) {
            ((Some(scale), None), (Some(bias), None)) => {
                let pair = [scale.1.floats(scale.0)?, bias.1.floats(bias.0)?];
                self.take([scale.0, bias.0]);
                Ok(Some(pair))
            }
            ((Some((first, _)), Some((second, _))), _) | (_, (Some((first, _)), Some((second, _)))) => {
                Err(Problem::TwoNetworks { first: first.into(), second: second.into() })
            }
            _ => Ok(None), // one without the other stays unread
        }
    }

    /// Log standard deviations of their own; layers that compute them are noise that a deterministic head leaves out.
    fn take_log_std(&mut self) -> Result<Option<TensorData>, Problem> {
        let layers: Vec<&'a str> =
            self.left.iter().map(|(name, _)| *name).filter(|n| noise_layer(n, &self.left)).collect();
        if let Some(first) = layers.first() {
            if self.options.head != Some(HeadKind::Deterministic) {
                return Err(Problem::StateDependentNoise(format!(
                    "{first:?} computes it; --head deterministic imports the mean alone"
                )));
            }
            self.ignore(&layers, "noise, which a deterministic head leaves out");
        }
        let found: Vec<Named<'a>> = self
            .left
            .iter()
            .filter(|(name, _)| segments(name).last().is_some_and(|l| is_deviation(l)))
            .copied()
            .collect();
        let (name, array) = match found.as_slice() {
            [] => return Ok(None),
            [only] => *only,
            [(first, _), (second, _), ..] => {
                return Err(Problem::TwoStatistics { first: (*first).into(), second: (*second).into() });
            }
        };
        if self.options.head == Some(HeadKind::Deterministic) && !matches!(array.shape[..], [_] | [1, _]) {
            self.ignore(&[name], "noise from the state (gSDE), which a deterministic head leaves out");
            return Ok(None);
        }
        let tensor = log_deviations(name, array)?;
        match (self.options.head, &self.options.log_std) {
            (Some(HeadKind::Deterministic), _) => {
                self.ignore(&[name], "noise, which a deterministic head leaves out");
                Ok(None)
            }
            (_, Some(_)) => {
                self.ignore(&[name], "replaced by --log-std");
                Ok(tensor.ok())
            }
            _ => {
                self.take([name]);
                Ok(Some(tensor?))
            }
        }
    }

    fn take_stems(&mut self) -> Result<Vec<Stem<'a>>, Problem> {
        let (stems, _) = pieces::stems(&self.left);
        for stem in stems.iter().filter(|stem| !stem.is_batch_norm()) {
            stem.shape()?;
        }
        if stems.is_empty() {
            return Err(Problem::NoLayers(format!("among its tensors {}", listed(self.arrays))));
        }
        Ok(stems)
    }

    /// The layers in their order: as `--layers` says, or as file, names and shapes agree.
    fn in_order(&self, stems: Vec<Stem<'a>>) -> Result<Vec<Stem<'a>>, Problem> {
        let Some(wanted) = &self.options.layers else {
            let shaped: Result<Vec<Shaped>, Problem> =
                stems.iter().map(|stem| Ok((stem.name.clone(), stem.shape()?))).collect();
            let order = order(&shaped?, self.arrays.ordered)?;
            return Ok(order.into_iter().map(|index| stems[index].clone()).collect());
        };
        let mut chosen: Vec<Stem> = Vec::new();
        for name in wanted {
            let matches = |stem: &&Stem| stem.name == *name || stem.weight_name() == *name;
            let ends = |stem: &&Stem| stem.name.ends_with(&format!(".{name}"));
            let known = || stems.iter().map(|stem| stem.name.clone()).collect();
            let found: Vec<&Stem> = match stems.iter().find(matches) {
                Some(stem) => vec![stem],
                None => stems.iter().filter(ends).collect(),
            };
            match found.as_slice() {
                [only] if !chosen.iter().any(|stem| stem.name == only.name) => chosen.push((*only).clone()),
                _ => return Err(Problem::NoSuchLayer { name: name.clone(), known: known() }),
            }
        }
        Ok(chosen)
    }

    /// Activation of each layer: what the file says, completed by what the person says.
    fn activations(&self, layers: usize) -> Result<Vec<ActivationSpec>, Problem> {
        let stated = self.options.activation.as_ref();
        let own = self.own_activations(layers)?;
        self.confirm_settings()?;
        if let (Some(stated), 1) = (stated, layers) {
            let reason = format!(
                "the network has one layer and no hidden one ({}); --output-activation is its activation",
                activation_text(stated)
            );
            return Err(Problem::NoEffect { option: "--activation", reason });
        }
        let hidden = layers.saturating_sub(1);
        let mut found = Vec::with_capacity(layers);
        for index in 0..hidden {
            let file = own.as_ref().and_then(|own| own.get(index));
            found.push(match (file, stated) {
                (Some(file), Some(stated)) if file != stated => {
                    let (given, file) = (activation_text(stated), activation_text(file));
                    return Err(Problem::Contradicts { option: "--activation", given, file });
                }
                (Some(known), _) | (None, Some(known)) => known.clone(),
                (None, None) => return Err(Problem::NoActivation),
            });
        }
        found.push(own.and_then(|own| own.get(hidden).cloned()).unwrap_or(ActivationSpec::Identity));
        Ok(found)
    }

    /// What settings inside a checkpoint say about activations must be what the options say.
    fn confirm_settings(&self) -> Result<(), Problem> {
        for (key, text) in &self.arrays.settings {
            let short = text.trim_end_matches("()").rsplit('.').next().unwrap_or(text);
            let said = activation_named(short).ok();
            let stated = if names::of_last_layer(key) {
                if ["none", ""].contains(&short.to_ascii_lowercase().as_str()) {
                    continue;
                }
                Some(self.options.output_activation.clone().unwrap_or(ActivationSpec::Identity))
            } else {
                self.options.activation.clone().or_else(|| said.clone())
            };
            if said.is_none() || said != stated {
                return Err(Problem::Setting { key: key.clone(), text: text.clone() });
            }
        }
        Ok(())
    }

    /// `activation` of the metadata: one for all hidden layers, or one for each; with or without the last.
    fn own_activations(&self, layers: usize) -> Result<Option<Vec<ActivationSpec>>, Problem> {
        let entries = self.arrays.metadata.iter().filter(|(key, _)| {
            let lower = key.to_ascii_lowercase();
            lower.contains("activation") || lower.contains("nonlinearity") || names::says_activation(key)
        });
        let mut found = None;
        for (key, text) in entries {
            if key != "activation" || found.is_some() {
                return Err(Problem::ActivationEntry { key: key.clone(), text: text.clone() });
            }
            let listed: Result<Vec<ActivationSpec>, Problem> =
                text.split(',').map(|name| activation_named(name.trim())).collect();
            let listed = listed?;
            found = Some(match listed.as_slice() {
                [one] => vec![one.clone(); layers.saturating_sub(1)],
                many if many.len() == layers || many.len() + 1 == layers => many.to_vec(),
                _ => return Err(Problem::ActivationEntry { key: key.clone(), text: text.clone() }),
            });
        }
        Ok(found)
    }

    fn head(&self, log_std: bool) -> Result<Option<HeadKind>, Problem> {
        let says = match self.arrays.metadata.get("distribution").map(String::as_str) {
            Some(text @ ("categorical" | "deterministic")) if log_std => {
                let (given, file) = ("standard deviations".into(), format!("distribution {text}"));
                return Err(Problem::Contradicts { option: "one of", given, file });
            }
            Some("categorical") => Some(HeadKind::Categorical),
            Some("diag_gaussian" | "gaussian") => Some(HeadKind::Gaussian),
            // refused before, unless the mean alone is asked for
            Some("deterministic" | "gsde") => Some(HeadKind::Deterministic),
            Some(other) => return Err(Problem::Distribution(other.to_owned())),
            None => log_std.then_some(HeadKind::Gaussian),
        };
        // the mean of a Gaussian and the logits of a softmax may be evaluated deterministically, no more
        match (self.options.head, says) {
            (Some(stated), Some(file)) if stated != file && stated != HeadKind::Deterministic => {
                let (given, file) = (stated.word().to_owned(), file.word().to_owned());
                Err(Problem::Contradicts { option: "--head", given, file })
            }
            _ => Ok(says),
        }
    }

    fn finish(
        mut self,
        plan: &[(&Stem<'a>, ActivationSpec)],
        batch_norms: &[Stem<'a>],
        special: Special,
    ) -> Result<Draft, Problem> {
        let options = self.options;
        if options.no_bias && !plan.iter().any(|(stem, _)| stem.lacks_bias()) {
            let reason = "every layer has a bias".to_owned();
            return Err(Problem::NoEffect { option: "--no-bias", reason });
        }
        let mut layers = Vec::with_capacity(plan.len() + 1);
        for (stem, activation) in plan {
            let weight = stem.weight(options.masks_apart)?;
            let bias = stem.bias(self.arrays, options.no_bias)?;
            let layer = LayerData { fixed: false, weight, bias, activation: activation.clone() };
            layers.push((stem.weight_name(), layer));
            self.take(stem.names().collect::<Vec<_>>());
        }
        let order: Vec<&str> = plan.iter().map(|(stem, _)| stem.name.as_str()).collect();
        for norm in batch_norms {
            fold(norm, &order, &mut layers)?;
            self.take(norm.names().collect::<Vec<_>>());
        }
        if let Some(action) = special.action {
            self.scale_actions(&mut layers, action)?;
        }
        let head = self.head(special.log_std.is_some())?;
        if !self.left.is_empty() {
            let names = self.left.iter().map(|(name, _)| (*name).to_owned()).collect();
            return Err(Problem::Unread { names });
        }
        Ok(Draft {
            layers,
            head,
            log_std: special.log_std,
            normaliser: special.normaliser,
            used: self.used,
            ignored: self.ignored,
        })
    }

    /// `tanh(y) * scale + bias`: tanh as the last activation, and a scale layer after it.
    fn scale_actions(
        &self,
        layers: &mut Vec<(String, LayerData)>,
        [scale, bias]: [TensorData; 2],
    ) -> Result<(), Problem> {
        if let Some(head) = self.options.head.filter(|head| *head != HeadKind::Deterministic) {
            let (given, file) = (head.word().to_owned(), "action_scale, of squashed actions".into());
            return Err(Problem::Contradicts { option: "--head", given, file });
        }
        let Some((_, last)) = layers.last_mut() else { return Ok(()) };
        if let Some(stated) = self.options.output_activation.as_ref().filter(|a| **a != ActivationSpec::Tanh)
        {
            let (given, file) = (activation_text(stated), "action_scale, of actions squashed by tanh".into());
            return Err(Problem::Contradicts { option: "--output-activation", given, file });
        }
        last.activation = ActivationSpec::Tanh;
        let outputs = last.weight.shape.first().copied().unwrap_or(0);
        let layer = scale_layer(&scale, &bias, outputs)?;
        layers.push(("action_scale".to_owned(), layer));
        Ok(())
    }
}

/// A fixed layer with a diagonal weight: one entry for all outputs, or one for each.
pub(super) fn scale_layer(
    scale: &TensorData,
    bias: &TensorData,
    outputs: usize,
) -> Result<LayerData, Problem> {
    let spread = |name: &str, tensor: &TensorData| match tensor.floats().as_slice() {
        [one] => Ok(vec![*one; outputs]),
        many if many.len() == outputs => Ok(many.to_vec()),
        _ => Err(Problem::WrongSize { name: name.to_owned(), wanted: outputs, shape: tensor.shape.clone() }),
    };
    let (scale, bias) = (spread("action_scale", scale)?, spread("action_bias", bias)?);
    let mut weight = vec![0.0; outputs * outputs];
    for (index, factor) in scale.iter().enumerate() {
        weight[index * outputs + index] = *factor;
    }
    Ok(LayerData {
        fixed: true,
        weight: TensorData::from_f64(vec![outputs, outputs], &weight),
        bias: TensorData::from_f64(vec![outputs], &bias),
        activation: ActivationSpec::Identity,
    })
}

/// Folds BatchNorm into the layer before or after it, as the numbers of one sequence show where it stands.
fn fold(norm: &Stem, order: &[&str], layers: &mut [(String, LayerData)]) -> Result<(), Problem> {
    let unclear = || Problem::NormLayer { stem: norm.name.clone() };
    let place = |stem: &str| {
        let (parent, number) = stem.rsplit_once('.').unwrap_or(("", stem));
        Some((parent.to_owned(), number.parse::<usize>().ok()?))
    };
    let (parent, at) = place(&norm.name).ok_or_else(unclear)?;
    let numbers: Vec<Option<usize>> =
        order.iter().map(|stem| place(stem).filter(|(p, _)| *p == parent).map(|(_, n)| n)).collect();
    let before = numbers.iter().rposition(|n| n.is_some_and(|n| n < at));
    let after = numbers.iter().position(|n| n.is_some_and(|n| n > at));
    let distance = |index: Option<usize>| index.and_then(|i| numbers[i]).map(|n| n.abs_diff(at));
    let (scale, shift) = norm.batch_norm()?;
    // right after a layer and not right before the next: between the layer and its activation; and the other way round
    let folded = match (before, distance(before), after, distance(after)) {
        (Some(layer), Some(1), None | Some(_), None | Some(2..)) => {
            let layer = &mut layers[layer].1;
            fold_after(&mut layer.weight, &mut layer.bias, &scale, &shift)
        }
        (None | Some(_), None | Some(2..), Some(layer), Some(1)) => {
            let layer = &mut layers[layer].1;
            fold_before(&mut layer.weight, &mut layer.bias, &scale, &shift)
        }
        _ => false,
    };
    folded.then_some(()).ok_or_else(unclear)
}

/// What `--prefix` chooses: names that continue it after a dot, or, if there are none, names that start with it.
struct Prefix {
    text: String,
    /// Segments that it covers wholly.
    depth: usize,
}

impl Prefix {
    fn segment(text: &str) -> Self {
        let text = text.trim_end_matches(['.', '/']).to_owned();
        Self { depth: segments(&text).len(), text }
    }

    fn new(arrays: &Arrays, text: &str) -> Result<Self, Problem> {
        let whole = Self::segment(text);
        if arrays.named.keys().any(|name| whole.matches(name)) {
            return Ok(whole);
        }
        let part = Self { text: text.to_owned(), depth: segments(text).len() - 1 };
        if text.is_empty() || !arrays.named.keys().any(|name| name.starts_with(text)) {
            let near = did_you_mean(text, modules(arrays).iter().map(String::as_str));
            let reason = format!("no tensor starts with {text:?}{near}; there are {}", listed(arrays));
            return Err(Problem::NoEffect { option: "--prefix", reason });
        }
        Ok(part)
    }

    fn is_whole(&self) -> bool {
        segments(&self.text).len() == self.depth
    }

    fn matches(&self, name: &str) -> bool {
        match name.strip_prefix(self.text.as_str()) {
            Some(rest) if self.is_whole() => rest.is_empty() || rest.starts_with(['.', '/']),
            Some(_) => true,
            None => false,
        }
    }

    /// Whether a tensor is of a module of masks that stands beside the prefix.
    fn is_masked_by(&self, name: &str) -> bool {
        let (own, parts) = (segments(&self.text), segments(name));
        let differing = own.iter().zip(&parts).find(|(a, b)| a != b);
        !self.matches(name) && differing.is_some_and(|(_, part)| names::holds_masks(part))
    }

    /// Whether a tensor stands beside the prefix: what holds it, or its module, holds the prefix too.
    fn is_beside(&self, name: &str, array: &Array) -> bool {
        if self.is_masked_by(name) {
            return true;
        }
        let (own, parts) = (segments(&self.text), segments(name));
        let statistics = observation_leaf(name) || names::may_normalise(name, array);
        let holders = if statistics { parts.len().saturating_sub(2) } else { parts.len() - 1 };
        holders < own.len().max(1) && own.iter().zip(&parts[..holders]).all(|(a, b)| a == b)
    }
}

/// Names of tensors, and of the modules that they stand under.
fn modules(arrays: &Arrays) -> Vec<String> {
    let mut names = BTreeSet::new();
    for name in arrays.named.keys() {
        names.insert(name.clone());
        names.extend(name.match_indices(['.', '/']).map(|(end, _)| name[..end].to_owned()));
    }
    names.into_iter().collect()
}

/// The first names of a file.
fn listed(arrays: &Arrays) -> String {
    let shown: Vec<String> =
        arrays.named.iter().take(8).map(|(name, array)| format!("{name:?} {:?}", array.shape)).collect();
    let more = arrays.named.len().saturating_sub(shown.len());
    match (shown.is_empty(), more) {
        (true, _) => "none at all".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

fn is_special(name: &str) -> bool {
    let leaf = segments(name).last().copied().unwrap_or(name);
    is_deviation(leaf) || ["action_scale", "action_bias"].contains(&leaf)
}

fn observation_leaf(name: &str) -> bool {
    let leaf = segments(name).last().copied().unwrap_or(name);
    [
        "mean",
        "std",
        "var",
        "_mean",
        "_std",
        "_var",
        "running_mean",
        "running_var",
        "count",
        "epsilon",
        "clip",
        "clip_obs",
    ]
    .contains(&leaf)
}

/// Whether a leaf is log standard deviations, or standard deviations that are stored as such.
fn is_deviation(leaf: &str) -> bool {
    names::is_log_std(leaf) || ["std", "std_param", "sigma", "action_std"].contains(&leaf)
}

/// Whether a tensor belongs to a layer that computes deviations: one by its words, whose weights have the shapes of
/// other layers, as a head beside the mean has.
fn noise_layer(name: &str, all: &[Named]) -> bool {
    let stem = |name: &str| {
        pieces::part_of(name).filter(|(_, part)| ["weight", "bias"].contains(part)).map(|(s, _)| s)
    };
    let noisy = |stem: &str| segments(stem).iter().any(|part| names::is_noise(part));
    let Some(own) = stem(name).filter(|own| noisy(own)) else { return false };
    let weight = all.iter().find(|(n, a)| a.shape.len() == 2 && stem(n).as_deref() == Some(own.as_str()));
    weight.is_some_and(|(_, weight)| {
        all.iter().any(|(n, a)| a.shape == weight.shape && stem(n).is_some_and(|stem| !noisy(&stem)))
    })
}

/// `log_std` as stored, or `ln(std)` in binary64; a `sigma` may be either and is used only where it cannot be a
/// deviation. The inner result is an error that matters only if the deviations are used.
fn log_deviations(name: &str, array: &Array) -> Result<Result<TensorData, Problem>, Problem> {
    let tensor = array.floats(name)?;
    match tensor.shape.as_slice() {
        [_] | [1, _] => {}
        shape => return Err(Problem::StateDependentNoise(format!("{name:?} has shape {shape:?}"))),
    }
    let leaf = segments(name).last().copied().unwrap_or(name);
    if names::is_log_std(leaf) {
        return Ok(Ok(tensor));
    }
    let values = tensor.floats();
    if leaf == "sigma" {
        let logarithm = values.iter().any(|v| *v <= 0.0);
        return Ok(if logarithm { Ok(tensor) } else { Err(Problem::SigmaOrLog(name.to_owned())) });
    }
    if let Some(index) = values.iter().position(|v| !v.is_finite() || *v <= 0.0) {
        return Ok(Err(Problem::StoredDeviation { name: name.to_owned(), index }));
    }
    Ok(Ok(TensorData::from_f64(tensor.shape, &values.iter().map(|v| v.ln()).collect::<Vec<_>>())))
}
