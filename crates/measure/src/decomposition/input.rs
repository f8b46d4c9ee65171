//! The measured returns and certified bounds that a decomposition is made from. Untrusted; numbers are strings and are
//! read exactly. `spec/decomposition.md#input`.

use std::collections::BTreeSet;

use secateur_checker::number::{NumberError, Rational};
use serde::{Deserialize, Deserializer, Serialize};

/// The value of the field `format`.
pub const FORMAT: &str = "secateur.decomposition/1";
/// Longest input accepted.
pub const MAX_BYTES: usize = 64 << 20;

/// Why an input is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecompositionError {
    /// Longer than [`MAX_BYTES`].
    #[error("the input has {bytes} bytes, more than {MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not the JSON that `spec/decomposition.md` describes, or a number in it is malformed.
    #[error("the input is not of the described form: {0}")]
    Json(#[from] serde_json::Error),
    /// Another format or version.
    #[error("the format is {found:?}, not {FORMAT:?}")]
    Format {
        /// What it says.
        found: String,
    },
    /// The discount of the returns is not in [0, 1), or the horizon is 0.
    #[error("returns need a discount in [0, 1) or a horizon of at least 1 step")]
    Returns,
    /// No mask at all.
    #[error("the input lists no mask")]
    NoMasks,
    /// Two masks have the same name.
    #[error("the mask name {name:?} is given twice")]
    DuplicateMask {
        /// The name.
        name: String,
    },
    /// A sparsity is not in [0, 1].
    #[error("mask {mask:?}: the sparsity {sparsity} is not in [0, 1]")]
    Sparsity {
        /// The mask.
        mask: String,
        /// Its sparsity.
        sparsity: Rational,
    },
    /// An estimate has no episode.
    #[error("{estimate} has no episode")]
    NoEpisodes {
        /// Which estimate.
        estimate: String,
    },
    /// A seed is used twice in an estimate: the same episode would be counted twice.
    #[error("{estimate} uses the seed {seed} twice")]
    DuplicateSeed {
        /// Which estimate.
        estimate: String,
        /// The seed.
        seed: u64,
    },
    /// A bound stands beside deterministic evaluation, where a total variation is 0 or 1.
    #[error(
        "mask {mask:?}: bounds from total variation speak of sampled actions, the returns are deterministic"
    )]
    BoundNeedsSampledActions {
        /// The mask.
        mask: String,
    },
    /// The bound is about another return than the measured one.
    #[error("mask {mask:?}: the bound on {term} is about other returns than those measured")]
    BoundReturnsDiffer {
        /// The mask.
        mask: String,
        /// `pruning` or `robustness`.
        term: &'static str,
    },
    /// The rule is unknown or does not speak of this kind of return.
    #[error("mask {mask:?}: the rule {rule:?} gives no bound on {term} for these returns")]
    BoundRule {
        /// The mask.
        mask: String,
        /// `pruning` or `robustness`.
        term: &'static str,
        /// The rule named.
        rule: String,
    },
    /// A bound is negative, or its confidence is missing, superfluous or not strictly between 0 and 1.
    #[error(
        "mask {mask:?}: the bound on {term} must not be negative, and has a confidence in (0, 1) exactly if statistical"
    )]
    BoundMalformed {
        /// The mask.
        mask: String,
        /// `pruning` or `robustness`.
        term: &'static str,
    },
}

/// How the policy's actions were chosen in the measured episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionMode {
    /// Sampled from the policy's distribution.
    Sampled,
    /// The mean or the most likely action.
    Deterministic,
}

/// What a return is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Returns {
    /// `sum g^k r_k`.
    Discounted {
        /// `g`, in [0, 1).
        #[serde(deserialize_with = "number")]
        discount: Rational,
    },
    /// `r_0 + ... + r_(steps-1)`, 0 after the end of the episode.
    Horizon {
        /// Number of steps.
        steps: u32,
    },
}

/// Whether a bound was proved or holds with a confidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoundKind {
    /// Proved under the certificate's assumptions.
    Proof,
    /// Holds with the stated confidence over the sampling.
    Statistical,
}

/// A certified upper bound on a term.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The bound, not negative.
    #[serde(deserialize_with = "number")]
    pub value: Rational,
    /// Proof or statistical.
    pub kind: BoundKind,
    /// `regret.sup`, `regret.expectation` or `regret.horizon`.
    pub rule: String,
    /// The returns that it is about.
    pub returns: Returns,
    /// Exactly if statistical: its confidence, strictly between 0 and 1.
    #[serde(default, deserialize_with = "optional_number")]
    pub confidence: Option<Rational>,
}

/// Bounds on the second and third term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// On `J(pi) - J(pi_m)`.
    pub pruning: Option<Bound>,
    /// On `J(pi_m) - J~(pi_m o nu)` for every adversary of the certificate's perturbation set.
    pub robustness: Option<Bound>,
}

/// A stated value to compare with; the optimal value cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Where the value comes from.
    pub name: String,
    /// `J(ref)`.
    #[serde(deserialize_with = "number")]
    pub value: Rational,
}

/// One measured episode.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// Seed of the episode.
    pub seed: u64,
    /// Its return.
    #[serde(rename = "return", deserialize_with = "number")]
    pub value: Rational,
}

/// Episodes under an attack.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attacked {
    /// Name of the attack.
    pub attack: String,
    /// The episodes.
    pub episodes: Vec<Episode>,
}

/// What was measured and certified for one mask.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskEntry {
    /// Name of the mask.
    pub name: String,
    /// Fraction pruned, in [0, 1].
    #[serde(deserialize_with = "number")]
    pub sparsity: Rational,
    /// Episodes of the pruned policy.
    pub clean: Vec<Episode>,
    /// Episodes of the pruned policy under attack.
    pub attacked: Attacked,
    /// Certified bounds, if any.
    #[serde(default)]
    pub bounds: Bounds,
}

/// A whole input.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// [`FORMAT`].
    pub format: String,
    /// How actions were chosen, in every episode.
    pub actions: ActionMode,
    /// What a return is, in every episode.
    pub returns: Returns,
    /// The stated reference.
    pub reference: Reference,
    /// Episodes of the dense policy.
    pub dense: Vec<Episode>,
    /// The masks.
    pub masks: Vec<MaskEntry>,
}

/// Reads an input and tests every condition of `spec/decomposition.md`.
///
/// # Errors
/// [`DecompositionError`], one variant per condition.
pub fn parse_input(bytes: &[u8]) -> Result<Input, DecompositionError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecompositionError::TooLong { bytes: bytes.len() });
    }
    let input: Input = serde_json::from_slice(bytes)?;
    if input.format != FORMAT {
        return Err(DecompositionError::Format { found: input.format });
    }
    let returns_make_sense = match &input.returns {
        Returns::Discounted { discount } => !discount.is_negative() && *discount < Rational::one(),
        Returns::Horizon { steps } => *steps > 0,
    };
    if !returns_make_sense {
        return Err(DecompositionError::Returns);
    }
    test_episodes("the dense policy", &input.dense)?;
    if input.masks.is_empty() {
        return Err(DecompositionError::NoMasks);
    }
    let mut names = BTreeSet::new();
    for mask in &input.masks {
        if !names.insert(&mask.name) {
            return Err(DecompositionError::DuplicateMask { name: mask.name.clone() });
        }
        test_mask(&input, mask)?;
    }
    Ok(input)
}

fn test_mask(input: &Input, mask: &MaskEntry) -> Result<(), DecompositionError> {
    if mask.sparsity.is_negative() || mask.sparsity > Rational::one() {
        let sparsity = mask.sparsity.clone();
        return Err(DecompositionError::Sparsity { mask: mask.name.clone(), sparsity });
    }
    test_episodes(&format!("mask {:?}, clean,", mask.name), &mask.clean)?;
    test_episodes(&format!("mask {:?}, attacked,", mask.name), &mask.attacked.episodes)?;
    for (term, bound) in [("pruning", &mask.bounds.pruning), ("robustness", &mask.bounds.robustness)] {
        if let Some(bound) = bound {
            test_bound(input, &mask.name, term, bound)?;
        }
    }
    Ok(())
}

fn test_episodes(estimate: &str, episodes: &[Episode]) -> Result<(), DecompositionError> {
    if episodes.is_empty() {
        return Err(DecompositionError::NoEpisodes { estimate: estimate.to_owned() });
    }
    let mut seeds = BTreeSet::new();
    match episodes.iter().find(|episode| !seeds.insert(episode.seed)) {
        Some(again) => {
            Err(DecompositionError::DuplicateSeed { estimate: estimate.to_owned(), seed: again.seed })
        }
        None => Ok(()),
    }
}

fn test_bound(
    input: &Input,
    mask: &str,
    term: &'static str,
    bound: &Bound,
) -> Result<(), DecompositionError> {
    let mask = mask.to_owned();
    if input.actions == ActionMode::Deterministic {
        return Err(DecompositionError::BoundNeedsSampledActions { mask });
    }
    if bound.returns != input.returns {
        return Err(DecompositionError::BoundReturnsDiffer { mask, term });
    }
    let speaks = matches!(
        (&bound.returns, bound.rule.as_str()),
        (Returns::Discounted { .. }, "regret.sup" | "regret.expectation")
            | (Returns::Horizon { .. }, "regret.horizon")
    );
    if !speaks {
        return Err(DecompositionError::BoundRule { mask, term, rule: bound.rule.clone() });
    }
    let confidence_fits = match (&bound.confidence, bound.kind) {
        (None, BoundKind::Proof) => true,
        (Some(level), BoundKind::Statistical) => level.is_positive() && *level < Rational::one(),
        _ => false,
    };
    if bound.value.is_negative() || !confidence_fits {
        return Err(DecompositionError::BoundMalformed { mask, term });
    }
    Ok(())
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rational, D::Error> {
    let text = String::deserialize(deserializer)?;
    Rational::parse(&text)
        .map_err(|error: NumberError| serde::de::Error::custom(format!("{text:?} is {error}")))
}

fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rational>, D::Error> {
    number(deserializer).map(Some)
}
