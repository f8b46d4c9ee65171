//! `secateur.toml`: policies, rules, exceptions. Untrusted. `spec/gate.md#secateurtoml`.

mod read;

use std::path::{Path, PathBuf};

use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::table::Quantity;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

use super::about::About;
use super::date::Day;
use super::radius::RadiusDemand;

/// Longest name of a policy or rule.
const MAX_NAME: usize = 64;
/// How long an exception may last, in days.
pub const MAX_DAYS: i64 = 180;

/// A deployed file, and the mask it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bound {
    /// The file.
    pub file: PathBuf,
    /// The mask; any, if absent.
    pub mask: Option<usize>,
}

/// A policy that is gated: where its files lie, and what its claims must speak of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyEntry {
    /// Its name here.
    pub name: Spanned<String>,
    /// Policy directory.
    pub directory: PathBuf,
    /// Mask directory.
    pub masks: Option<PathBuf>,
    /// States file.
    pub states: PathBuf,
    /// Certificate.
    pub certificate: PathBuf,
    /// Witness, if not the one the certificate names.
    pub witness: Option<PathBuf>,
    /// Whose signatures count.
    pub trust: Option<PathBuf>,
    /// No signature is demanded.
    #[serde(default)]
    pub unsigned: bool,
    /// What rules without `about` of their own speak of.
    pub about: Option<About>,
    /// Deployed files.
    #[serde(default)]
    pub bind: Vec<Bound>,
}

/// Masks that a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Masks {
    /// Every mask of the chain.
    #[default]
    All,
    /// These.
    Some(Vec<usize>),
}

impl<'de> Deserialize<'de> for Masks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Masks;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mask number, a list of them, or \"all\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Masks, E> {
                if text == "all" {
                    Ok(Masks::All)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
            fn visit_i64<E: de::Error>(self, mask: i64) -> Result<Masks, E> {
                let mask = usize::try_from(mask);
                mask.map(|mask| Masks::Some(vec![mask])).map_err(|_| E::custom("a mask number is at least 0"))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Masks, A::Error> {
                let mut masks = Vec::new();
                while let Some(mask) = items.next_element::<usize>()? {
                    masks.push(mask);
                }
                if masks.is_empty() {
                    Err(de::Error::invalid_length(0, &self))
                } else {
                    Ok(Masks::Some(masks))
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// Which claims a rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// At every state the best of those that bound the adversary over the reals.
    Best,
    /// One family's.
    Family(Family),
}

impl Choice {
    /// As `secateur.toml` spells it.
    pub fn name(self) -> String {
        match self {
            Self::Best => "best".to_owned(),
            Self::Family(family) => family.name(),
        }
    }
}

/// How much worse than the baseline is still good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// So much.
    Absolute(Rational),
    /// So large a part of the baseline's value.
    Part(Rational),
}

impl Allowance {
    fn parse(text: &str) -> Result<Self, String> {
        let (number, part) = text.strip_suffix('%').map_or((text, false), |n| (n, true));
        let value =
            Rational::parse(number.trim_end()).map_err(|e| format!("worse-by {}: {e}", Escaped(text)))?;
        if value.is_negative() {
            return Err(format!("worse-by {} is negative; write a max instead", Escaped(text)));
        }
        let hundred = Rational::from_integer(100.into());
        Ok(if part {
            Self::Part(value.div(&hundred).map_err(|e| e.to_string())?)
        } else {
            Self::Absolute(value)
        })
    }

    /// The worst value that is still good.
    pub fn applied(&self, base: &Rational, rounding: Rounding) -> Rational {
        let room = match self {
            Self::Absolute(value) => value.clone(),
            Self::Part(part) => base.abs().mul(part),
        };
        if rounding == Rounding::Up { base.add(&room) } else { base.sub(&room) }
    }
}

/// What a rule says of a quantity's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// The quantity.
    pub quantity: Quantity,
    /// Whose claims.
    pub choice: Choice,
    /// At most this; at least this for margins.
    pub limit: Option<Rational>,
    /// Against the baseline.
    pub worse_by: Option<Allowance>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// Line of the file, from 1.
    pub line: usize,
    /// The only policy it is about.
    pub policy: Option<String>,
    /// The masks it is about.
    pub masks: Masks,
    /// What claims must speak of, instead of the policy's.
    pub about: Option<About>,
    /// Limits on values.
    pub values: Option<Values>,
    /// A least radius.
    pub radius: Option<RadiusDemand>,
    /// No step may be proved to have hurt.
    pub no_proved_harm: bool,
    /// Families that may not have loosened at a step.
    pub no_loosened: Vec<Family>,
    /// Names or fingerprints of keys that must all have signed.
    pub signers: Vec<String>,
    /// Files that the policy must have been imported from.
    pub sources: Vec<String>,
    /// Least version of checker and format.
    pub checker_version: Option<Vec<u64>>,
    /// Largest fraction pruned.
    pub max_sparsity: Option<Rational>,
}

impl Rule {
    /// Whether it reads claims, verdicts or brackets.
    pub fn needs_about(&self) -> bool {
        self.values.is_some() || self.radius.is_some() || self.no_proved_harm || !self.no_loosened.is_empty()
    }

    /// Whether it reads a baseline.
    pub fn needs_baseline(&self) -> bool {
        self.values.as_ref().is_some_and(|v| v.worse_by.is_some())
            || self.radius.as_ref().is_some_and(|r| r.worse_by.is_some())
    }

    /// Whether it is about a policy.
    pub fn is_about(&self, policy: &str) -> bool {
        self.policy.as_ref().is_none_or(|name| name == policy)
    }
}

/// A violation that somebody answers for, until a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The rule.
    pub rule: String,
    /// Plain SHA-256 of the certificate's file.
    pub certificate: String,
    /// Why.
    pub reason: String,
    /// The last day it holds.
    pub expires: Day,
    /// Line of the file, from 1.
    pub line: usize,
}

/// `secateur.toml`, read and tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Where it lies; paths in it are taken from its folder.
    pub path: PathBuf,
    /// Its bytes.
    pub text: String,
    /// Where the baseline is kept.
    pub baseline: PathBuf,
    /// Policies.
    pub policies: Vec<PolicyEntry>,
    /// Rules.
    pub rules: Vec<Rule>,
    /// Exceptions.
    pub exceptions: Vec<Exception>,
}

impl Gate {
    /// A path of the file, taken from its folder.
    pub fn place(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// The policies that a rule is about.
    pub fn policies_of(&self, rule: &Rule) -> impl Iterator<Item = &PolicyEntry> {
        self.policies.iter().filter(|policy| rule.is_about(policy.name.get_ref()))
    }
}

/// Whether a name is short and made of letters, digits, `.`, `_`, `-` only.
pub fn is_plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(fits)
}

/// Whether a text is a plain SHA-256 in lower-case hexadecimal.
pub fn is_hex_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
