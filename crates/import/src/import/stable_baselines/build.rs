//! Layers from the tensors of an archive: each is used, ignored by rule, or named in an error. Untrusted.
//! `spec/import-sb3.md#tensors`.

use super::bad;
use super::class::Family;
use crate::import::array::Arrays;
use crate::import::draft::Draft;
use crate::import::problem::{HeadKind, ImportOptions, Problem};
use crate::policy::{ActivationSpec, LayerData, TensorData};
use std::collections::BTreeSet;

/// The network so far.
pub(super) struct Build<'a> {
    arrays: &'a Arrays,
    family: Family,
    used: BTreeSet<String>,
    ignored: Vec<String>,
    layers: Vec<(String, LayerData)>,
    /// Layers that came from tensors of the archive.
    learnt: usize,
    log_std: Option<TensorData>,
}

impl<'a> Build<'a> {
    pub(super) fn new(arrays: &'a Arrays, family: Family) -> Self {
        let ignored = family.ignored().iter().map(|&name| name.to_owned()).collect();
        Self { arrays, family, used: BTreeSet::new(), ignored, layers: Vec::new(), learnt: 0, log_std: None }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.arrays.named.contains_key(name)
    }

    /// Names, or beginnings of names, that the policy does not use.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        self.ignored.extend(names.iter().map(|&name| name.to_owned()));
    }

    /// Hidden layers so far: all learnt ones but the last.
    pub(super) fn hidden(&self) -> usize {
        self.learnt.saturating_sub(1)
    }

    /// Widths of the hidden layers.
    pub(super) fn hidden_widths(&self) -> Vec<usize> {
        let rows = |(_, layer): &(String, LayerData)| layer.weight.shape.first().copied().unwrap_or(0);
        self.layers.iter().take(self.hidden()).map(rows).collect()
    }

    /// Width of the last layer.
    pub(super) fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |(_, layer)| layer.bias.entries())
    }

    fn take(&mut self, name: &str) -> Result<TensorData, Problem> {
        let array = self.arrays.named.get(name).ok_or_else(|| Problem::Missing(name.to_owned()))?;
        self.used.insert(name.to_owned());
        array.floats(name)
    }

    /// `STEM.weight` with `STEM.bias`, or without one where the class says so.
    pub(super) fn layer(
        &mut self,
        stem: &str,
        activation: ActivationSpec,
        has_bias: bool,
    ) -> Result<(), Problem> {
        let weight = self.take(&format!("{stem}.weight"))?;
        let bias = match (has_bias, weight.shape.as_slice()) {
            (true, _) => self.take(&format!("{stem}.bias"))?,
            (false, &[rows, _]) => TensorData::zeros(weight.dtype, rows),
            (false, _) => {
                let name = format!("{stem}.weight");
                return Err(Problem::NotAffine { name, shape: weight.shape });
            }
        };
        self.layers.push((format!("{stem}.weight"), LayerData { fixed: false, weight, bias, activation }));
        self.learnt += 1;
        Ok(())
    }

    /// A `Sequential` of linear layers at even places with activations between; after the last one `last`, if the
    /// sequence ends with a linear layer.
    pub(super) fn sequence(
        &mut self,
        prefix: &str,
        hidden: &ActivationSpec,
        last: Option<ActivationSpec>,
    ) -> Result<(), Problem> {
        self.sequence_with(prefix, hidden, last, true)
    }

    pub(super) fn sequence_with(
        &mut self,
        prefix: &str,
        hidden: &ActivationSpec,
        last: Option<ActivationSpec>,
        has_bias: bool,
    ) -> Result<(), Problem> {
        let places: BTreeSet<usize> = self.arrays.named.keys().filter_map(|n| place(n, prefix)).collect();
        if let Some((index, &found)) = places.iter().enumerate().find(|&(index, &found)| found != 2 * index) {
            return Err(bad(format!(
                "{prefix}.{found} stands where {prefix}.{} should: linear layers and activations only",
                2 * index
            )));
        }
        if places.is_empty() && last.is_some() {
            return Err(Problem::Missing(format!("{prefix}.0.weight")));
        }
        let count = places.len();
        for (index, found) in places.into_iter().enumerate() {
            let at_end = last.clone().filter(|_| index + 1 == count);
            self.layer(&format!("{prefix}.{found}"), at_end.unwrap_or_else(|| hidden.clone()), has_bias)?;
        }
        Ok(())
    }

    /// A diagonal layer that no tensor of the archive holds: `factor * x + offset`, or `x` itself.
    pub(super) fn diagonal(
        &mut self,
        name: &str,
        values: Option<(Vec<f64>, Vec<f64>)>,
        activation: ActivationSpec,
    ) -> Result<(), Problem> {
        let width = self.outputs();
        let (factor, offset) = values.unwrap_or_else(|| (vec![1.0; width], vec![0.0; width]));
        let mut weight = vec![0.0; width.saturating_mul(width)];
        for (index, factor) in factor.iter().enumerate() {
            weight[index * width + index] = *factor;
        }
        let layer = LayerData {
            fixed: true,
            weight: TensorData::from_f64(vec![width, width], &weight),
            bias: TensorData::from_f64(vec![width], &offset),
            activation,
        };
        self.layers.push((name.to_owned(), layer));
        Ok(())
    }

    /// The standard deviations of a Gaussian head: the archive's own.
    pub(super) fn log_std(&mut self, name: &str, options: &ImportOptions) -> Result<(), Problem> {
        let tensor = self.take(name)?;
        if tensor.shape.len() != 1 {
            return Err(Problem::StateDependentNoise(format!("{name:?} has shape {:?}", tensor.shape)));
        }
        if options.log_std.is_some() {
            return Err(bad("--log-std is given, but the archive has its own log_std; leave it out"));
        }
        self.log_std = Some(tensor);
        Ok(())
    }

    /// The draft, once every tensor is accounted for.
    ///
    /// # Errors
    /// [`Problem::StableBaselines`] naming the first tensor that is neither used nor ignored by rule, or that `--prefix`
    /// leaves out.
    pub(super) fn finish(self, options: &ImportOptions, head: HeadKind) -> Result<Draft, Problem> {
        let is_ignored = |name: &str| {
            self.ignored.iter().any(|rule| {
                name.strip_prefix(rule.as_str())
                    .is_some_and(|rest| rule.ends_with('.') || rest.is_empty() || rest.starts_with('.'))
            })
        };
        let stray = self.arrays.named.keys().find(|name| !self.used.contains(*name) && !is_ignored(name));
        if let Some(name) = stray {
            let (shape, family) = (&self.arrays.named[name].shape, self.family.name());
            return Err(bad(format!(
                "tensor {name:?} of shape {shape:?} is no part of {family} as it is read here (features extractors, \
                 normalisation layers and other additions are not)"
            )));
        }
        if let Some(prefix) = &options.prefix
            && let Some(name) = self.used.iter().find(|name| !name.starts_with(prefix.as_str()))
        {
            return Err(bad(format!("--prefix {prefix:?} leaves out {name:?}, which the policy needs")));
        }
        let why = "value functions, target networks and noise are no part of the policy";
        let left = self.arrays.named.keys().filter(|name| !self.used.contains(*name));
        Ok(Draft {
            ignored: left.map(|name| (name.clone(), why)).collect(),
            used: self.used.into_iter().collect(),
            layers: self.layers,
            head: Some(head),
            log_std: self.log_std,
            normaliser: None,
        })
    }
}

/// `N` in `PREFIX.N.rest`.
fn place(name: &str, prefix: &str) -> Option<usize> {
    let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
    rest.split('.').next()?.parse().ok()
}
