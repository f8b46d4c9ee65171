//! Two policies, or two masks, held against each other number by number. Untrusted. `spec/semantics.md#files`.
//!
//! Exact: the values of the stored numbers are compared, not their formats.

use super::record::activation_text;
use crate::float::rational_to_float;
use crate::policy::mask::MaskData;
use crate::policy::read::activation_spec;
use secateur_checker::check::head_name;
use secateur_checker::model::{Head, Layer, Mask, Normaliser, Policy};
use secateur_checker::number::{Dyadic, Rational};

/// The first place where what the source files give is not what the directory holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} is {found} by the source and {stored} in the directory")]
pub struct Difference {
    /// What differs.
    pub place: Place,
    /// What importing the source gives.
    pub found: String,
    /// What the directory holds.
    pub stored: String,
}

/// Where two policies or masks differ; layers, rows, columns, outputs and coordinates count from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages are the documentation
pub enum Place {
    #[error("the number of layers")]
    Layers,
    #[error("the shape of layer {0} (outputs x inputs)")]
    Shape(usize),
    #[error("whether layer {0} only scales")]
    Fixed(usize),
    #[error("the activation of layer {0}")]
    Activation(usize),
    #[error("the weight of layer {layer}, row {row}, column {column},")]
    Weight { layer: usize, row: usize, column: usize },
    #[error("the bias of layer {layer}, row {row},")]
    Bias { layer: usize, row: usize },
    #[error("the head")]
    Head,
    #[error("the log_std of output {0}")]
    LogStd(usize),
    #[error("the normaliser")]
    Normaliser,
    #[error("the normaliser's mean of coordinate {0}")]
    Mean(usize),
    #[error("the normaliser's standard deviation of coordinate {0}")]
    Std(usize),
    #[error("the normaliser's clip")]
    Clip,
    #[error("the number of entries of mask {mask}, layer {layer},")]
    MaskShape { mask: usize, layer: usize },
    #[error("mask {mask}, layer {layer}, row {row}, column {column},")]
    Mask { mask: usize, layer: usize, row: usize, column: usize },
}

/// What is compared besides layers and head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The standard deviations of a Gaussian head.
    pub log_std: bool,
    /// The normaliser.
    pub normaliser: bool,
}

type Compared = Result<(), Difference>;

fn same<T: PartialEq>(place: Place, found: &T, stored: &T, show: impl Fn(&T) -> String) -> Compared {
    if found == stored {
        return Ok(());
    }
    Err(Difference { place, found: show(found), stored: show(stored) })
}

fn show_rational(value: &Rational) -> String {
    let text = value.to_string();
    if text.len() <= 24 { text } else { format!("{:?}", rational_to_float(value)) }
}

fn show_dyadic(value: &Dyadic) -> String {
    show_rational(&value.to_rational())
}

/// Layers, head, and what `scope` names, exactly.
///
/// # Errors
/// The first place where they differ.
pub fn compare_policies(found: &Policy, stored: &Policy, scope: Scope) -> Compared {
    let (found_layers, layers) = (&found.network.layers, &stored.network.layers);
    same(Place::Layers, &found_layers.len(), &layers.len(), usize::to_string)?;
    for (index, (found, stored)) in found_layers.iter().zip(layers).enumerate() {
        compare_layers(index, found, stored)?;
    }
    same(Place::Head, &head_name(&found.head), &head_name(&stored.head), |name| (*name).to_owned())?;
    if let (true, Head::Gaussian { log_std: found }, Head::Gaussian { log_std: stored }) =
        (scope.log_std, &found.head, &stored.head)
    {
        compare_each(found, stored, Place::LogStd, show_dyadic)?;
    }
    if scope.normaliser { compare_normalisers(&found.normaliser, &stored.normaliser) } else { Ok(()) }
}

fn compare_layers(layer: usize, found: &Layer, stored: &Layer) -> Compared {
    let shape = |l: &Layer| (l.weight.rows, l.weight.columns);
    let show_shape = |s: &(usize, usize)| format!("{} x {}", s.0, s.1);
    same(Place::Shape(layer), &shape(found), &shape(stored), show_shape)?;
    let yes_no = |fixed: &bool| if *fixed { "yes" } else { "no" }.to_owned();
    same(Place::Fixed(layer), &found.fixed, &stored.fixed, yes_no)?;
    let columns = stored.weight.columns.max(1);
    let weight = |place| Place::Weight { layer, row: place / columns, column: place % columns };
    compare_each(&found.weight.values, &stored.weight.values, weight, show_dyadic)?;
    compare_each(&found.bias, &stored.bias, |row| Place::Bias { layer, row }, show_dyadic)?;
    let show = |a: &_| activation_text(&activation_spec(a));
    same(Place::Activation(layer), &found.activation, &stored.activation, show)
}

/// Lists of the same length: shapes and heads were compared before.
fn compare_each<T: PartialEq>(
    found: &[T],
    stored: &[T],
    place: impl Fn(usize) -> Place,
    show: impl Fn(&T) -> String,
) -> Compared {
    let pairs = found.iter().zip(stored).enumerate();
    pairs.into_iter().try_for_each(|(index, (found, stored))| same(place(index), found, stored, &show))
}

fn compare_normalisers(found: &Option<Normaliser>, stored: &Option<Normaliser>) -> Compared {
    let word = |there: &bool| if *there { "there" } else { "absent" }.to_owned();
    same(Place::Normaliser, &found.is_some(), &stored.is_some(), word)?;
    let (Some(found), Some(stored)) = (found, stored) else { return Ok(()) };
    compare_each(&found.mean, &stored.mean, Place::Mean, show_dyadic)?;
    compare_each(&found.std, &stored.std, Place::Std, show_rational)?;
    let show = |clip: &Option<Rational>| clip.as_ref().map_or("none".to_owned(), show_rational);
    same(Place::Clip, &found.clip, &stored.clip, show)
}

/// Mask number `mask` of a chain, every layer; scale layers are all kept in both.
pub(super) fn compare_masks(mask: usize, found: &MaskData, stored: &Mask) -> Compared {
    for (layer, (found, stored)) in found.layers.iter().zip(&stored.layers).enumerate() {
        same(Place::MaskShape { mask, layer }, &found.kept.len(), &stored.len(), usize::to_string)?;
        let columns = found.columns.max(1);
        let place = |place| Place::Mask { mask, layer, row: place / columns, column: place % columns };
        let show = |kept: &bool| if *kept { "kept" } else { "pruned" }.to_owned();
        compare_each(&found.kept, stored, place, show)?;
    }
    Ok(())
}
