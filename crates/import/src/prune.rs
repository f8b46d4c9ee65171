//! Pruning: nested masks by magnitude, at random, or by given scores. Untrusted: any mask is as good as another to
//! the checker, which reads its bytes. `spec/pruning.md`.
//!
//! A mask of sparsity `s` over `total` weights keeps exactly `total - floor(s * total)` of them: the highest ranked.
//! One ranking serves all sparsities, so the masks are nested by construction.

pub mod recipe;
pub mod saliency;

use crate::import::array::Arrays;
use crate::policy::emit::weight_name;
use crate::policy::mask::{MaskData, MaskTable};
use crate::policy::{PolicyData, TensorData};
use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::ToPrimitive;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secateur_checker::number::{Dyadic, Rational};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Over which weights the fraction is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The same sparsity in every layer.
    Layer,
    /// One ranking over all layers.
    Global,
}

impl Scope {
    /// The word for it in settings and in `chain.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Global => "global",
        }
    }
}

/// What ranks the weights; higher is kept longer.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// `|w|`, compared exactly on the stored numbers.
    Magnitude,
    /// A ChaCha20 stream of 64-bit numbers from the seed, one per weight in order.
    Random {
        /// The seed.
        seed: u64,
    },
    /// `|score|` from the caller, one tensor per layer, shaped as its weight.
    Saliency(Vec<TensorData>),
}

/// Why no masks were made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages are the documentation
pub enum PruneError {
    #[error("sparsity {text:?} is no number: {reason}")]
    Sparsity { text: String, reason: String },
    #[error("sparsity {0:?} is not between 0 and 1")]
    OutOfRange(String),
    #[error("sparsity {1:?} follows {0:?}; list them in increasing order, each once")]
    NotIncreasing(String, String),
    #[error("weight {name:?} has a NaN or an infinity at entry {index}")]
    NotFinite { name: String, index: usize },
    #[error("scores for {0:?} are missing or have another shape than the weight")]
    Scores(String),
    #[error("the weight of layer {0} is no matrix")]
    NotMatrix(usize),
}

/// Nested masks of `policy`, one per sparsity; ties go to the weight that comes first (layer, row, column): it is kept.
///
/// `sparsities` are decimals or fractions in `[0, 1]`, strictly increasing, read exactly. Inside a scope of `total`
/// weights, `total - floor(sparsity * total)` are kept.
///
/// # Errors
/// [`PruneError`].
pub fn prune(
    policy: &PolicyData,
    method: &Method,
    scope: Scope,
    sparsities: &[String],
) -> Result<Vec<MaskData>, PruneError> {
    let fractions = parse_sparsities(sparsities)?;
    let ranked = ranking(policy, method, scope)?;
    let masks = sparsities.iter().zip(&fractions).map(|(text, fraction)| {
        let mut layers = kept_everywhere(policy)?;
        for group in &ranked {
            let pruned = pruned_count(fraction, group.len());
            for &(layer, place) in group.iter().rev().take(pruned) {
                layers[layer].kept[place] = false;
            }
        }
        Ok(MaskData { layers, sparsity: text.clone(), source: None })
    });
    masks.collect()
}

/// Scores from arrays `layer.0.weight`, ... or `S0`, `S1`, ...; scale layers need none and get their weights.
///
/// # Errors
/// [`PruneError::Scores`] naming the first layer without floats.
pub fn scores_from(arrays: &Arrays, policy: &PolicyData) -> Result<Vec<TensorData>, PruneError> {
    let find = |index: usize| {
        let names = [weight_name(index), format!("S{index}")];
        let found = names.iter().find_map(|name| arrays.named.get(name)?.tensor());
        found.ok_or_else(|| PruneError::Scores(weight_name(index)))
    };
    let layers = policy.layers.iter().enumerate();
    layers.map(|(index, layer)| if layer.fixed { Ok(layer.weight.clone()) } else { find(index) }).collect()
}

fn parse_sparsities(texts: &[String]) -> Result<Vec<Rational>, PruneError> {
    let mut values: Vec<Rational> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let bad = |e: secateur_checker::number::NumberError| PruneError::Sparsity {
            text: text.clone(),
            reason: e.to_string(),
        };
        let value = Rational::parse(text).map_err(bad)?;
        if value.is_negative() || value > Rational::one() {
            return Err(PruneError::OutOfRange(text.clone()));
        }
        if values.last().is_some_and(|before| *before >= value) {
            return Err(PruneError::NotIncreasing(texts[index - 1].clone(), text.clone()));
        }
        values.push(value);
    }
    Ok(values)
}

/// `floor(sparsity * total)`.
pub fn pruned_count(sparsity: &Rational, total: usize) -> usize {
    let scaled = sparsity.mul(&Rational::from_integer(BigInt::from(total)));
    scaled.numerator().div_floor(scaled.denominator()).to_usize().unwrap_or(total).min(total)
}

fn kept_everywhere(policy: &PolicyData) -> Result<Vec<MaskTable>, PruneError> {
    let tables = policy.layers.iter().enumerate().map(|(index, layer)| match layer.weight.shape.as_slice() {
        &[rows, columns] => {
            let kept = vec![true; layer.weight.entries()];
            Ok(MaskTable { rows, columns, kept, fixed: layer.fixed })
        }
        _ => Err(PruneError::NotMatrix(index)),
    });
    tables.collect()
}

/// Weights of each scope group as (layer, place), the one kept longest first.
fn ranking(
    policy: &PolicyData,
    method: &Method,
    scope: Scope,
) -> Result<Vec<Vec<(usize, usize)>>, PruneError> {
    let scores = scores(policy, method)?;
    let all = |layer: usize| (0..scores[layer].len()).map(move |place| (layer, place));
    let learned = (0..scores.len()).filter(|&layer| !policy.layers[layer].fixed);
    let mut groups: Vec<Vec<(usize, usize)>> = match scope {
        Scope::Layer => learned.map(|layer| all(layer).collect()).collect(),
        Scope::Global => vec![learned.flat_map(all).collect()],
    };
    for group in &mut groups {
        // stable: equal scores stay in the order of their indices
        group.sort_by(|a, b| compare_magnitudes(scores[b.0][b.1], scores[a.0][a.1]));
    }
    Ok(groups)
}

fn scores(policy: &PolicyData, method: &Method) -> Result<Vec<Vec<Dyadic>>, PruneError> {
    let exact = |index: usize, tensor: &TensorData| {
        if policy.layers[index].fixed {
            return Ok(Vec::new());
        }
        tensor.dyadics().map_err(|entry| PruneError::NotFinite { name: weight_name(index), index: entry })
    };
    let layers = || policy.layers.iter().enumerate();
    match method {
        Method::Magnitude => layers().map(|(i, layer)| exact(i, &layer.weight)).collect(),
        Method::Random { seed } => {
            let mut stream = ChaCha20Rng::seed_from_u64(*seed);
            // 63 bits, so that every draw is a non-negative mantissa
            let mut draw = || Dyadic::new((stream.next_u64() >> 1) as i64, 0);
            Ok(policy
                .layers
                .iter()
                .map(|layer| (0..layer.weight.entries()).map(|_| draw()).collect())
                .collect())
        }
        Method::Saliency(given) => layers()
            .map(|(i, layer)| match given.get(i) {
                Some(scores) if scores.shape == layer.weight.shape => exact(i, scores),
                _ => Err(PruneError::Scores(weight_name(i))),
            })
            .collect(),
    }
}

/// Compares `|a|` with `|b|` exactly: by the position of the leading bit, then by the aligned significands.
fn compare_magnitudes(a: Dyadic, b: Dyadic) -> Ordering {
    let leading =
        |d: Dyadic| i64::from(d.exponent) + 64 - i64::from(d.mantissa.unsigned_abs().leading_zeros());
    match (a.is_zero(), b.is_zero()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => leading(a).cmp(&leading(b)).then_with(|| aligned(a).cmp(&aligned(b))),
    }
}

/// The significand with its leading bit at the top.
fn aligned(d: Dyadic) -> u64 {
    let magnitude = d.mantissa.unsigned_abs();
    magnitude << magnitude.leading_zeros().min(63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ActivationSpec, HeadData, LayerData};
    use proptest::prelude::*;

    fn policy(layers: &[(usize, usize, Vec<f32>)]) -> PolicyData {
        let layers = layers.iter().map(|(rows, columns, values)| LayerData {
            fixed: false,
            weight: TensorData::from_f32(vec![*rows, *columns], values),
            bias: TensorData::from_f32(vec![*rows], &vec![0.0; *rows]),
            activation: ActivationSpec::Relu,
        });
        PolicyData { layers: layers.collect(), head: HeadData::Deterministic, normaliser: None, source: None }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|t| (*t).to_owned()).collect()
    }

    /// The scale layer diag(9) is not counted: half of two weights is one, the smaller.
    #[test]
    fn scale_layers_are_never_pruned() {
        let mut policy = policy(&[(1, 2, vec![1.0, 2.0]), (1, 1, vec![9.0])]);
        policy.layers[1].fixed = true;
        for scope in [Scope::Layer, Scope::Global] {
            let masks = prune(&policy, &Method::Magnitude, scope, &texts(&["1/2", "1"])).expect("masks");
            let kept: Vec<_> = masks.iter().map(|m| (&m.layers[0].kept[..], &m.layers[1].kept[..])).collect();
            assert_eq!(kept, [(&[false, true][..], &[true][..]), (&[false, false], &[true])]);
            assert_eq!((masks[0].kept(), masks[0].weights()), (1, 2));
        }
    }

    /// |w| = 3, 1, 2, 2: half of four goes: the 1, and of the two 2s the later one.
    #[test]
    fn ties_are_kept_in_the_order_of_their_indices() {
        let masks = prune(
            &policy(&[(2, 2, vec![-3.0, 1.0, 2.0, -2.0])]),
            &Method::Magnitude,
            Scope::Layer,
            &texts(&["0", "0.3", "1/2", "1"]),
        );
        let kept: Vec<Vec<bool>> =
            masks.expect("masks").into_iter().map(|m| m.layers[0].kept.clone()).collect();
        // floor(0.3 * 4) = 1
        let wanted = [[true; 4], [true, false, true, true], [true, false, true, false], [false; 4]];
        assert_eq!(kept, wanted);
    }

    /// 0.3 of 10 is exactly 3, though 0.3 in binary64 times 10 may not be.
    #[test]
    fn sparsity_is_read_exactly() {
        assert_eq!(pruned_count(&Rational::parse("0.3").expect("a number"), 10), 3);
        assert_eq!(pruned_count(&Rational::parse("0.29").expect("a number"), 100), 29);
    }

    /// The small layer loses everything when all layers are counted together.
    #[test]
    fn scope() {
        let net = policy(&[(1, 2, vec![1.0, 2.0]), (2, 1, vec![10.0, 20.0])]);
        let half = |scope| prune(&net, &Method::Magnitude, scope, &texts(&["0.5"])).expect("masks").remove(0);
        let kept = |mask: MaskData| mask.layers.into_iter().map(|l| l.kept).collect::<Vec<_>>();
        assert_eq!(kept(half(Scope::Global)), [[false, false], [true, true]]);
        assert_eq!(kept(half(Scope::Layer)), [[false, true], [false, true]]);
    }

    #[test]
    fn what_cannot_be_pruned_is_named() {
        let net = policy(&[(1, 2, vec![1.0, f32::NAN])]);
        let run = |list: &[&str]| prune(&net, &Method::Magnitude, Scope::Layer, &texts(list));
        assert_eq!(run(&["0.5"]), Err(PruneError::NotFinite { name: "layer.0.weight".into(), index: 1 }));
        assert_eq!(run(&["1.01"]), Err(PruneError::OutOfRange("1.01".into())));
        assert_eq!(run(&["0.5", "0.50"]), Err(PruneError::NotIncreasing("0.5".into(), "0.50".into())));
        let saliency = Method::Saliency(vec![TensorData::from_f32(vec![2, 1], &[0.0, 0.0])]);
        let wrong = prune(&net, &saliency, Scope::Layer, &texts(&["0.5"]));
        assert_eq!(wrong, Err(PruneError::Scores("layer.0.weight".into())));
    }

    #[test]
    fn scores_rank_in_place_of_weights() {
        let net = policy(&[(1, 3, vec![9.0, 1.0, 1.0])]);
        let saliency = Method::Saliency(vec![TensorData::from_f64(vec![1, 3], &[0.1, -0.3, 0.2])]);
        let masks = prune(&net, &saliency, Scope::Layer, &texts(&["1/3"])).expect("masks");
        assert_eq!(masks[0].layers[0].kept, [false, true, true]);
    }

    #[test]
    fn a_seed_gives_the_same_masks_and_another_seed_others() {
        let net = policy(&[(8, 8, vec![1.0; 64])]);
        let draw =
            |seed| prune(&net, &Method::Random { seed }, Scope::Layer, &texts(&["0.5"])).expect("masks");
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_eq!(draw(7)[0].kept(), 32);
    }

    proptest! {
        #[test]
        fn magnitudes_compare_as_floats_do(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            let exact = |v: f64| TensorData::from_f64(vec![1], &[v]).dyadics().expect("finite")[0];
            prop_assert_eq!(compare_magnitudes(exact(a), exact(b)), a.abs().total_cmp(&b.abs()));
        }

        #[test]
        fn masks_are_nested_and_keep_the_stated_count(
            values in proptest::collection::vec(-1f32..1.0, 30), global in any::<bool>(),
        ) {
            let net = policy(&[(5, 4, values[..20].to_vec()), (2, 5, values[20..].to_vec())]);
            let scope = if global { Scope::Global } else { Scope::Layer };
            let masks = prune(&net, &Method::Magnitude, scope, &texts(&["0.1", "0.33", "0.7"])).expect("masks");
            prop_assert!(masks.windows(2).all(|pair| pair[1].is_nested_in(&pair[0])));
            // floor(0.33 * 30) = 9; floor(6.6) + floor(3.3) = 9
            prop_assert_eq!(masks.iter().map(MaskData::kept).collect::<Vec<_>>(), [27, 21, 9]);
        }
    }
}
