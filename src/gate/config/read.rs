//! The text of `secateur.toml` to a [`Gate`]: what is not known is refused with its line and the nearest known word.
//! Untrusted. `spec/gate.md#secateurtoml`.

use std::path::{Path, PathBuf};

use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::table::Quantity;
use serde::Deserialize;
use toml::Spanned;

use super::{
    Allowance, Choice, Exception, Gate, MAX_NAME, Masks, PolicyEntry, Rule, Values, is_hex_digest, is_plain,
};
use crate::certify::radius::RadiusGoal;
use crate::gate::about::About;
use crate::gate::date::Day;
use crate::gate::radius::{At, RadiusDemand};
use crate::gate::{BASELINE, GateError, SCHEMA};
use crate::policy::input::{MAX_TEXT, read_text};
use crate::settings::{line_of, nearest, toml_words};

/// Most policies, rules and exceptions together.
const MAX_ENTRIES: usize = 1024;

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
    radius: Option<WrittenRadius>,
    no_proved_harm: Option<bool>,
    no_loosened: Option<Vec<String>>,
    signers: Option<Vec<String>>,
    source_digest: Option<Vec<String>>,
    checker_version: Option<String>,
    max_sparsity: Option<String>,
}

/// `radius = { for = "same-action", min = "0.1" }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenRadius {
    r#for: String,
    family: Option<String>,
    #[serde(default)]
    at: At,
    min: Option<String>,
    worse_by: Option<String>,
}

impl WrittenRadius {
    fn read(&self) -> Result<RadiusDemand, String> {
        let min = number("radius.min", &self.min)?;
        let worse_by = self.worse_by.as_deref().map(Allowance::parse).transpose()?;
        if min.is_none() && worse_by.is_none() {
            return Err("radius needs min or worse-by".to_owned());
        }
        let choice = choice(self.family.as_deref())?;
        let RadiusGoal { quantity, limit } = RadiusGoal::parse(&self.r#for)?;
        Ok(RadiusDemand { quantity, limit, choice, at: self.at, min, worse_by })
    }
}

fn choice(family_name: Option<&str>) -> Result<Choice, String> {
    Ok(match family_name {
        None | Some("best") => Choice::Best,
        Some(name) => Choice::Family(family(name)?),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenException {
    rule: Spanned<String>,
    certificate: String,
    reason: String,
    expires: String,
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
            return Err(
                "it has no [[policy]] or no [[rule]]; a gate without rules would pass anything".to_owned()
            );
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
                let reason =
                    "say what the claims must speak of: about = { ... } in the rule or in its policy";
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

fn family(name: &str) -> Result<Family, String> {
    let known: Vec<&str> =
        Family::ALL.into_iter().map(|f| f.entry().name).chain(["band/zero", "best"]).collect();
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
        let no_loosened =
            self.no_loosened.iter().flatten().map(|name| family(name)).collect::<Result<_, _>>()?;
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
            radius: self.radius.as_ref().map(WrittenRadius::read).transpose()?,
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
        if demands {
            Ok(rule)
        } else {
            Err("the rule demands nothing; give it max, min, worse-by, radius, no-proved-harm, no-loosened, signers, source-digest, checker-version or max-sparsity".to_owned())
        }
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
        let quantity = Quantity::parse(name)
            .ok_or_else(|| format!("quantity {}{}", Escaped(name), unknown(name, &known)))?;
        if !given {
            return Err("a quantity needs max (min for same-action-margin) or worse-by".to_owned());
        }
        let from_above = quantity.rounding() == Rounding::Up;
        let (limit, other, word) =
            if from_above { (&self.max, &self.min, "max") } else { (&self.min, &self.max, "min") };
        if other.is_some() {
            return Err(format!("{name} is bounded by {word}, from the other side"));
        }
        let choice = choice(self.family.as_deref())?;
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
            return Err(
                "certificate is the SHA-256 of the certificate's file: 64 lower-case hexadecimal digits"
                    .to_owned(),
            );
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
