//! `secateur.toml`: policies, rules, exceptions. Untrusted. `spec/gate.md#secateurtoml`.

use std::path::{Path, PathBuf};

use secateur_checker::family::Family;
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::table::Quantity;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::date::Day;
use super::emit::printable;
use super::{BASELINE, GateError, SCHEMA};
use crate::certify::emit::units_word;
use crate::policy::input::{MAX_TEXT, read_text};

/// Longest name of a policy or rule.
const MAX_NAME: usize = 64;
/// Most policies, rules and exceptions together.
const MAX_ENTRIES: usize = 1024;
/// How long an exception may last, in days.
pub const MAX_DAYS: i64 = 180;

/// What claims speak of: the adversary and the listed states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct About {
    /// `linf`, `l2` or `per-coordinate`.
    pub shape: String,
    /// Radius, exactly; of `linf` and `l2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius: Option<String>,
    /// Radii, exactly; of `per-coordinate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radii: Option<Vec<String>>,
    /// `raw` or `normalised`.
    pub units: String,
    /// Plain SHA-256 of the states file.
    pub states: String,
    /// How many of its rows, from the first.
    pub state_count: usize,
    /// `raw` or `normalised`.
    pub state_units: String,
}

impl About {
    /// What a certificate speaks of.
    pub fn of(certificate: &Certificate) -> Self {
        let set = &certificate.perturbation;
        let (shape, radius, radii) = match &set.shape {
            Perturbation::Linf { radius } => ("linf", Some(radius.to_string()), None),
            Perturbation::L2 { radius } => ("l2", Some(radius.to_string()), None),
            Perturbation::PerCoordinate { radii } => {
                ("per-coordinate", None, Some(radii.iter().map(Rational::to_string).collect()))
            }
        };
        let states = certificate.inputs.iter().find(|file| file.role == "states");
        Self {
            shape: shape.to_owned(),
            radius,
            radii,
            units: units_word(set.units).to_owned(),
            states: states.map(|file| file.sha256.clone()).unwrap_or_default(),
            state_count: certificate.states,
            state_units: units_word(certificate.state_units).to_owned(),
        }
    }

    /// The adversary, exactly.
    ///
    /// # Errors
    /// What is wrong.
    pub fn adversary(&self) -> Result<PerturbationSet, String> {
        let number = |text: &String| {
            let value = Rational::parse(text).map_err(|e| format!("radius {}: {e}", Escaped(text)))?;
            if value.is_negative() { Err(format!("radius {value} is negative")) } else { Ok(value) }
        };
        let shape = match (self.shape.as_str(), &self.radius, &self.radii) {
            ("linf", Some(radius), None) => Perturbation::Linf { radius: number(radius)? },
            ("l2", Some(radius), None) => Perturbation::L2 { radius: number(radius)? },
            ("per-coordinate", None, Some(radii)) => {
                Perturbation::PerCoordinate { radii: radii.iter().map(number).collect::<Result<_, _>>()? }
            }
            ("linf" | "l2", ..) => return Err(format!("shape {} takes radius, and no radii", self.shape)),
            ("per-coordinate", ..) => return Err("shape per-coordinate takes radii, and no radius".to_owned()),
            _ => return Err(format!("shape {} is none of linf, l2, per-coordinate", Escaped(&self.shape))),
        };
        Ok(PerturbationSet { shape, units: units(&self.units)? })
    }

    fn check(&self) -> Result<(), String> {
        self.adversary()?;
        units(&self.state_units)?;
        if !is_hex_digest(&self.states) {
            return Err("states is the SHA-256 of the states file: 64 lower-case hexadecimal digits".to_owned());
        }
        if self.state_count == 0 { Err("state-count is at least 1".to_owned()) } else { Ok(()) }
    }

    /// What differs in a certificate: `(kind, what it says, what is demanded)`.
    pub fn differs(&self, certificate: &Certificate) -> Option<(Subject, String, String)> {
        let found = Self::of(certificate);
        if self.adversary().ok().as_ref() != Some(&certificate.perturbation) {
            return Some((Subject::Adversary, found.adversary_words(), self.adversary_words()));
        }
        let same = (&self.states, self.state_count, &self.state_units)
            == (&found.states, found.state_count, &found.state_units);
        (!same).then(|| (Subject::States, found.state_words(), self.state_words()))
    }

    /// The adversary in words.
    pub fn adversary_words(&self) -> String {
        let size = match (&self.radius, &self.radii) {
            (Some(radius), _) => format!("radius {}", plain(radius)),
            (None, Some(radii)) if radii.len() <= 8 => {
                format!("radii {}", radii.iter().map(|r| plain(r)).collect::<Vec<_>>().join(", "))
            }
            (None, radii) => format!("{} radii", radii.as_ref().map_or(0, Vec::len)),
        };
        format!("{} of {size} in {} units", self.shape, self.units)
    }

    /// The states in words.
    pub fn state_words(&self) -> String {
        let digest = self.states.get(..12).unwrap_or(&self.states);
        format!("first {} rows of the file {digest}..., {} units", self.state_count, self.state_units)
    }
}

/// A number as short as it is written, of what was read as one.
fn plain(text: &str) -> String {
    if text.len() <= 40 { text.to_owned() } else { format!("{}...", text.get(..40).unwrap_or_default()) }
}

fn units(word: &str) -> Result<Units, String> {
    match word {
        "raw" => Ok(Units::Raw),
        "normalised" => Ok(Units::Normalised),
        _ => Err(format!("units {} are neither raw nor normalised", Escaped(word))),
    }
}

/// What two certificates may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Its shape, size or units.
    Adversary,
    /// Their file, number or units.
    States,
}

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
                if text == "all" { Ok(Masks::All) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
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
                if masks.is_empty() { Err(de::Error::invalid_length(0, &self)) } else { Ok(Masks::Some(masks)) }
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
        let value = Rational::parse(number.trim_end()).map_err(|e| format!("worse-by {}: {e}", Escaped(text)))?;
        if value.is_negative() {
            return Err(format!("worse-by {} is negative; write a max instead", Escaped(text)));
        }
        let hundred = Rational::from_integer(100.into());
        Ok(if part { Self::Part(value.div(&hundred).map_err(|e| e.to_string())?) } else { Self::Absolute(value) })
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
        self.values.is_some() || self.no_proved_harm || !self.no_loosened.is_empty()
    }

    /// Whether it reads a baseline.
    pub fn needs_baseline(&self) -> bool {
        self.values.as_ref().is_some_and(|v| v.worse_by.is_some())
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    schema: Spanned<String>,
    baseline: Option<PathBuf>,
    #[serde(default)]
    policy: Vec<PolicyEntry>,
    #[serde(default)]
    rule: Vec<WrittenRule>,
    #[serde(default)]
    exception: Vec<WrittenException>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenRule {
    id: Spanned<String>,
    policy: Option<String>,
    #[serde(default)]
    mask: Masks,
    quantity: Option<String>,
    family: Option<String>,
    about: Option<About>,
    max: Option<String>,
    min: Option<String>,
    worse_by: Option<String>,
    no_proved_harm: Option<bool>,
    no_loosened: Option<Vec<String>>,
    signers: Option<Vec<String>>,
    source_digest: Option<Vec<String>>,
    checker_version: Option<String>,
    max_sparsity: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenException {
    rule: Spanned<String>,
    certificate: String,
    reason: String,
    expires: String,
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

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// The known name next to one that is not known, if one is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|other| (strsim::osa_distance(name, other), other));
    scored.min().filter(|(distance, other)| *distance <= 1 + other.len() / 3).map(|(_, other)| other)
}

/// What the TOML reader says, with the line and the nearest known key where a key is unknown; never the file's own text as
/// it stands.
fn toml_words(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim_end();
    let line = error.span().map(|span| format!("line {}: ", line_of(text, span.start)));
    let mut words = format!("{}{}", line.unwrap_or_default(), printable(message));
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field")
        && let Some(found) = quoted.next()
        && let Some(near) = nearest(found, quoted)
    {
        words.push_str(&format!("; did you mean {near}?"));
    }
    if message.contains("floating point") || message.contains("integer") {
        words.push_str("; numbers are written in quotes, such as \"0.05\": they are read exactly");
    }
    words
}

impl Gate {
    /// Reads a file.
    ///
    /// # Errors
    /// [`GateError::Config`].
    pub fn read(path: &Path) -> Result<Self, GateError> {
        let fail = |reason: String| GateError::Config { path: path.to_owned(), reason };
        let text = read_text(path, MAX_TEXT)
            .map_err(|e| fail(format!("{e}; `secateur gate --init CERTIFICATE` writes one")))?;
        Self::parse(path, text).map_err(fail)
    }

    /// Reads a text that lies at `path`.
    ///
    /// # Errors
    /// What is wrong, and on which line.
    pub fn parse(path: &Path, text: String) -> Result<Self, String> {
        let written: Written = toml::from_str(&text).map_err(|e| toml_words(&text, &e))?;
        if written.schema.get_ref() != SCHEMA {
            let found = Escaped(written.schema.get_ref()).to_string();
            return Err(format!("schema is {found}; this version reads \"{SCHEMA}\""));
        }
        let Written { baseline, policy: policies, rule, exception, .. } = written;
        if policies.len() + rule.len() + exception.len() > MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} policies, rules and exceptions"));
        }
        if policies.is_empty() || rule.is_empty() {
            return Err("it has no [[policy]] or no [[rule]]; a gate without rules would pass anything".to_owned());
        }
        let mut seen: Vec<&str> = Vec::new();
        for policy in &policies {
            let at = |reason: String| at_line(&text, policy.name.span().start, reason);
            check_name(&mut seen, policy.name.get_ref()).map_err(at)?;
            if policy.trust.is_some() == policy.unsigned {
                return Err(at("give trust = FILE, or unsigned = true to demand no signature".to_owned()));
            }
            policy.about.as_ref().map_or(Ok(()), About::check).map_err(|e| at(format!("about: {e}")))?;
        }
        let names: Vec<&str> = policies.iter().map(|p| p.name.get_ref().as_str()).collect();
        let mut ids = Vec::new();
        let mut rules = Vec::new();
        for rule in &rule {
            let at = |reason: String| at_line(&text, rule.id.span().start, reason);
            check_name(&mut ids, rule.id.get_ref()).map_err(at)?;
            let read = rule.read(&text).map_err(at)?;
            if let Some(policy) = &read.policy
                && !names.contains(&policy.as_str())
            {
                return Err(at(format!("policy {}{}", Escaped(policy), unknown(policy, &names))));
            }
            let covered = policies.iter().filter(|p| read.is_about(p.name.get_ref()));
            if read.needs_about() && read.about.is_none() && covered.into_iter().any(|p| p.about.is_none()) {
                let reason = "say what the claims must speak of: about = { ... } in the rule or in its policy";
                return Err(at(reason.to_owned()));
            }
            rules.push(read);
        }
        let exceptions = exception.into_iter().map(|e| {
            let start = e.rule.span().start;
            e.read(&text, &ids).map_err(|reason| at_line(&text, start, reason))
        });
        let exceptions = exceptions.collect::<Result<_, _>>()?;
        let baseline = baseline.unwrap_or_else(|| PathBuf::from(BASELINE));
        Ok(Self { path: path.to_owned(), baseline, policies, rules, exceptions, text })
    }

    /// A path of the file, taken from its folder.
    pub fn place(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// The policies that a rule is about.
    pub fn policies_of(&self, rule: &Rule) -> impl Iterator<Item = &PolicyEntry> {
        self.policies.iter().filter(|policy| rule.is_about(policy.name.get_ref()))
    }
}

fn at_line(text: &str, at: usize, reason: String) -> String {
    format!("line {}: {reason}", line_of(text, at))
}

fn unknown(name: &str, known: &[&str]) -> String {
    let near = nearest(name, known.iter().copied()).map(|near| format!("; did you mean {near}?"));
    format!(" is not known{}", near.unwrap_or_else(|| format!("; choose from {}", known.join(", "))))
}

fn check_name<'a>(seen: &mut Vec<&'a str>, name: &'a str) -> Result<(), String> {
    if !is_plain(name) {
        return Err(format!("the name {} is not 1 to {MAX_NAME} letters, digits, . _ -", Escaped(name)));
    }
    if ["check", "bind", "exceptions"].contains(&name) {
        return Err(format!("the name {name} is taken: a test of every gate is called so"));
    }
    if seen.contains(&name) {
        return Err(format!("the name {name} is there twice"));
    }
    seen.push(name);
    Ok(())
}

fn number(key: &str, text: &Option<String>) -> Result<Option<Rational>, String> {
    let read = |text: &String| Rational::parse(text).map_err(|e| format!("{key} {}: {e}", Escaped(text)));
    text.as_ref().map(read).transpose()
}

fn family(name: &String) -> Result<Family, String> {
    let known: Vec<&str> = Family::ALL.into_iter().map(|f| f.entry().name).chain(["band/zero", "best"]).collect();
    Family::parse(name).ok_or_else(|| format!("family {}{}", Escaped(name), unknown(name, &known)))
}

impl WrittenRule {
    fn read(&self, text: &str) -> Result<Rule, String> {
        self.about.as_ref().map_or(Ok(()), About::check).map_err(|e| format!("about: {e}"))?;
        let signers = self.signers.clone().unwrap_or_default();
        let sources = self.source_digest.clone().unwrap_or_default();
        if let Some(bad) = sources.iter().find(|digest| !is_hex_digest(digest)) {
            return Err(format!("source-digest {} is no SHA-256: 64 hexadecimal digits", Escaped(bad)));
        }
        let version = |text: &String| {
            let parts: Option<Vec<u64>> = text.split('.').map(|part| part.parse().ok()).collect();
            parts.ok_or_else(|| format!("checker-version {} is no version such as 1.1.0", Escaped(text)))
        };
        let no_loosened = self.no_loosened.iter().flatten().map(family).collect::<Result<_, _>>()?;
        let max_sparsity = number("max-sparsity", &self.max_sparsity)?;
        if max_sparsity.as_ref().is_some_and(|s| s.is_negative() || *s > Rational::one()) {
            return Err("max-sparsity is between 0 and 1".to_owned());
        }
        let rule = Rule {
            id: self.id.get_ref().clone(),
            line: line_of(text, self.id.span().start),
            policy: self.policy.clone(),
            masks: self.mask.clone(),
            about: self.about.clone(),
            values: self.values()?,
            no_proved_harm: self.no_proved_harm.unwrap_or(false),
            no_loosened,
            signers,
            sources,
            checker_version: self.checker_version.as_ref().map(version).transpose()?,
            max_sparsity,
        };
        let demands = rule.needs_about()
            || !rule.signers.is_empty()
            || !rule.sources.is_empty()
            || rule.checker_version.is_some()
            || rule.max_sparsity.is_some();
        if demands { Ok(rule) } else { Err("the rule demands nothing; give it max, min, worse-by, no-proved-harm, no-loosened, signers, source-digest, checker-version or max-sparsity".to_owned()) }
    }

    fn values(&self) -> Result<Option<Values>, String> {
        let given = self.max.is_some() || self.min.is_some() || self.worse_by.is_some();
        let known: Vec<&str> = Quantity::ALL.iter().map(|(_, name)| *name).collect();
        let Some(name) = &self.quantity else {
            if given || self.family.is_some() {
                return Err(format!("say which quantity is meant: {}", known.join(", ")));
            }
            return Ok(None);
        };
        let quantity =
            Quantity::parse(name).ok_or_else(|| format!("quantity {}{}", Escaped(name), unknown(name, &known)))?;
        if !given {
            return Err("a quantity needs max (min for same-action-margin) or worse-by".to_owned());
        }
        let from_above = quantity.rounding() == Rounding::Up;
        let (limit, other, word) =
            if from_above { (&self.max, &self.min, "max") } else { (&self.min, &self.max, "min") };
        if other.is_some() {
            return Err(format!("{name} is bounded by {word}, from the other side"));
        }
        let choice = match self.family.as_deref() {
            None | Some("best") => Choice::Best,
            Some(name) => Choice::Family(family(&name.to_owned())?),
        };
        Ok(Some(Values {
            quantity,
            choice,
            limit: number(word, limit)?,
            worse_by: self.worse_by.as_deref().map(Allowance::parse).transpose()?,
        }))
    }
}

impl WrittenException {
    fn read(self, text: &str, rules: &[&str]) -> Result<Exception, String> {
        let rule = self.rule.get_ref().clone();
        if !rules.contains(&rule.as_str()) {
            return Err(format!("rule {}{}", Escaped(&rule), unknown(&rule, rules)));
        }
        if !is_hex_digest(&self.certificate) {
            return Err("certificate is the SHA-256 of the certificate's file: 64 lower-case hexadecimal digits".to_owned());
        }
        if self.reason.trim().is_empty() {
            return Err("an exception needs a reason".to_owned());
        }
        let expires = Day::parse(&self.expires)
            .ok_or_else(|| format!("expires {} is no day such as 2026-12-31", Escaped(&self.expires)))?;
        let line = line_of(text, self.rule.span().start);
        Ok(Exception { rule, certificate: self.certificate, reason: self.reason, expires, line })
    }
}
