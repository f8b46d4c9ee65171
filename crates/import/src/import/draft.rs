//! A policy read, before its head and shapes are settled. Untrusted. `spec/import.md`.

use secateur_checker::model::Source;

use super::observation;
use super::problem::{HeadKind, ImportOptions, LogStd, Problem, number};
use super::record::{activation_text, parse_activation};
use crate::policy::{ActivationSpec, HeadData, LayerData, NormaliserData, PolicyData, TensorData};

/// A policy before its head and shapes were settled.
#[derive(Default)]
pub(super) struct Draft {
    /// Layers with the names messages use.
    pub(super) layers: Vec<(String, LayerData)>,
    pub(super) head: Option<HeadKind>,
    pub(super) log_std: Option<TensorData>,
    pub(super) normaliser: Option<NormaliserData>,
    /// Tensors that it is made of, where the file is a dictionary of tensors.
    pub(super) used: Vec<String>,
    /// Tensors that are no part of it, and why.
    pub(super) ignored: Vec<(String, &'static str)>,
}

impl Draft {
    /// Settles the head, tests every shape and every number.
    pub(super) fn finish(mut self, options: &ImportOptions, source: Source) -> Result<PolicyData, Problem> {
        let (inputs, outputs) = self.check_chain()?;
        self.settle_output(options)?;
        if let Some(LogStd::Values(texts)) = &options.log_std {
            self.log_std = Some(log_std_of(texts, outputs)?);
        }
        let head = self.settle_head(options, outputs)?;
        if options.log_std.is_some() && !matches!(head, HeadData::Gaussian { .. }) {
            let reason = "only a gaussian head has standard deviations".to_owned();
            return Err(Problem::NoEffect { option: "--log-std", reason });
        }
        if let Some(normaliser) = &mut self.normaliser {
            if let Some(clip) = &options.clip {
                normaliser.clip = Some(clip.clone()).filter(|text| !observation::none(text));
            }
            check_normaliser(normaliser, inputs)?;
        } else if options.clip.is_some() || options.normaliser_epsilon.is_some() {
            let option = if options.clip.is_some() { "--clip" } else { "--normaliser-epsilon" };
            let reason = "there is no normaliser; give one with --normaliser FILE".to_owned();
            return Err(Problem::NoEffect { option, reason });
        }
        let layers = self.layers.into_iter().map(|(_, layer)| layer).collect();
        Ok(PolicyData { layers, head, normaliser: self.normaliser, source: Some(source) })
    }

    /// The activation of the last layer that is no scale layer; one that the file says is never replaced.
    fn settle_output(&mut self, options: &ImportOptions) -> Result<(), Problem> {
        let last = self.layers.iter_mut().rev().find(|(_, layer)| !layer.fixed);
        let (Some(stated), Some((_, last))) = (&options.output_activation, last) else { return Ok(()) };
        if last.activation != ActivationSpec::Identity && last.activation != *stated {
            let (given, file) = (activation_text(stated), activation_text(&last.activation));
            return Err(Problem::Contradicts { option: "--output-activation", given, file });
        }
        last.activation = stated.clone();
        Ok(())
    }

    fn check_chain(&self) -> Result<(usize, usize), Problem> {
        let mut gives: Option<(&str, usize)> = None;
        let mut inputs = 0;
        for (name, layer) in &self.layers {
            let &[rows, columns] = layer.weight.shape.as_slice() else {
                return Err(Problem::NotAffine { name: name.clone(), shape: layer.weight.shape.clone() });
            };
            if rows == 0 || columns == 0 || !layer.weight.is_consistent() || !layer.bias.is_consistent() {
                return Err(Problem::NotAffine { name: name.clone(), shape: layer.weight.shape.clone() });
            }
            match gives {
                None => inputs = columns,
                Some((_, width)) if width == columns => {}
                Some((before, gives)) => {
                    let (before, after) = (before.to_owned(), name.clone());
                    return Err(Problem::Chain { before, gives, after, reads: columns });
                }
            }
            expect_size(&format!("{name} bias"), &layer.bias, rows)?;
            expect_finite(name, &layer.weight)?;
            expect_finite(&format!("{name} bias"), &layer.bias)?;
            gives = Some((name, rows));
        }
        let (_, outputs) = gives.ok_or_else(|| Problem::NoLayers("at all".into()))?;
        Ok((inputs, outputs))
    }

    fn settle_head(&self, options: &ImportOptions, outputs: usize) -> Result<HeadData, Problem> {
        match options.head.or(self.head).ok_or(Problem::NoHead)? {
            HeadKind::Categorical => Ok(HeadData::Categorical),
            HeadKind::Deterministic => Ok(HeadData::Deterministic),
            HeadKind::Gaussian => {
                let mut log_std = self.log_std.clone().ok_or(Problem::NoLogStd)?;
                if log_std.shape.len() > 1 && log_std.shape != [1, outputs] {
                    return Err(Problem::StateDependentNoise(format!(
                        "log_std of shape {:?}",
                        log_std.shape
                    )));
                }
                log_std.shape = vec![log_std.entries()];
                expect_size("log_std", &log_std, outputs)?;
                expect_finite("log_std", &log_std)?;
                Ok(HeadData::Gaussian { log_std })
            }
        }
    }
}

fn check_normaliser(normaliser: &NormaliserData, inputs: usize) -> Result<(), Problem> {
    expect_size("normaliser mean", &normaliser.mean, inputs)?;
    let scaling = normaliser.scaling.tensor();
    expect_size("normaliser std", scaling, inputs)?;
    expect_finite("normaliser mean", &normaliser.mean)?;
    expect_finite("normaliser std", scaling)?;
    if let Some(index) = scaling.floats().iter().position(|&std| std <= 0.0) {
        return Err(Problem::Deviation { index });
    }
    match &normaliser.clip {
        Some(clip) if !number("normaliser clip", clip)?.is_positive() => {
            Err(Problem::Normaliser("its clip radius is not positive"))
        }
        _ => Ok(()),
    }
}

fn log_std_of(texts: &[String], outputs: usize) -> Result<TensorData, Problem> {
    let bad = |text: &String, reason: String| Problem::Number { name: "log_std", text: text.clone(), reason };
    let values: Result<Vec<f64>, Problem> =
        texts.iter().map(|t| t.parse().map_err(|e| bad(t, format!("{e}")))).collect();
    let mut values = values?;
    if let [only] = values[..] {
        values = vec![only; outputs];
    }
    Ok(TensorData::from_f64(vec![values.len()], &values))
}

fn expect_size(name: &str, tensor: &TensorData, wanted: usize) -> Result<(), Problem> {
    if tensor.shape == [wanted] && tensor.is_consistent() {
        return Ok(());
    }
    Err(Problem::WrongSize { name: name.to_owned(), wanted, shape: tensor.shape.clone() })
}

fn expect_finite(name: &str, tensor: &TensorData) -> Result<(), Problem> {
    tensor.dyadics().map(|_| ()).map_err(|index| Problem::NotFinite { name: name.to_owned(), index })
}

/// An activation by the name frameworks give it, or as the command line takes it.
pub(super) fn activation_named(name: &str) -> Result<ActivationSpec, Problem> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "identity" | "linear" => ActivationSpec::Identity,
        "relu" => ActivationSpec::Relu,
        "tanh" => ActivationSpec::Tanh,
        "sigmoid" => ActivationSpec::Sigmoid,
        "hardtanh" => ActivationSpec::Clip("-1".into(), "1".into()),
        // PyTorch's default slope, as its documentation writes it
        "leakyrelu" | "leaky_relu" => ActivationSpec::LeakyRelu("0.01".into()),
        lower => parse_activation(lower).map_err(|_| Problem::Activation(name.to_owned()))?,
    })
}
