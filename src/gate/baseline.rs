//! What was accepted before: numbers of earlier certificates, kept in a small file or read from the certificates themselves.
//! Untrusted. `spec/gate.md#baseline`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secateur_checker::family::Family;
use secateur_checker::load::{FileProblem, open_certificate, read_regular};
use secateur_checker::number::Rational;
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::dsse::MAX_ENVELOPE;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::table::Quantity;
use serde::{Deserialize, Serialize};

use super::GateError;
use super::about::About;
use super::bounds::{attained, chosen, families, worst};
use super::config::{Choice, Gate, is_hex_digest, is_plain};
use super::evidence::Evidence;
use super::git::file_at;
use super::radius::{AcceptedRadii, accepted_radii};
use super::report::ConfigFile;

/// Value of `schema` in `secateur.baseline.json`.
pub const SCHEMA: &str = "secateur.baseline/1";

/// `secateur.baseline.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Baseline {
    /// [`SCHEMA`].
    pub schema: String,
    /// By the policy's name in `secateur.toml`.
    pub policies: BTreeMap<String, Accepted>,
}

/// What was accepted of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Accepted {
    /// Plain SHA-256 of the certificate's file.
    pub certificate: String,
    /// Digest of the policy; absent where only a certificate was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_digest: Option<String>,
    /// `gaussian`, `categorical`, `deterministic`.
    pub head: String,
    /// Number of outputs.
    pub outputs: usize,
    /// What the claims speak of.
    pub about: About,
    /// The chain's masks.
    pub masks: Vec<AcceptedMask>,
}

/// One mask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AcceptedMask {
    /// `sha256:` mask digest.
    pub digest: String,
    /// Weights pruned.
    pub pruned: usize,
    /// Weights.
    pub total: usize,
    /// By quantity.
    pub quantities: BTreeMap<String, AcceptedNumbers>,
    /// Radii, by what holds within them.
    #[serde(default, skip_serializing_if = "AcceptedRadii::is_empty")]
    pub radii: AcceptedRadii,
}

/// The numbers of one quantity under one mask, each the worst over states and outputs, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AcceptedNumbers {
    /// Of the best claim at every state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<String>,
    /// By family.
    pub families: BTreeMap<String, String>,
    /// What an attack point reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
}

impl AcceptedNumbers {
    /// The number of a choice.
    pub fn of(&self, choice: Choice) -> Option<Rational> {
        let text = match choice {
            Choice::Best => self.best.as_ref(),
            Choice::Family(family) => self.families.get(&family.name()),
        };
        Rational::parse(text?).ok()
    }

    /// The families behind a choice.
    pub fn behind(&self, choice: Choice) -> Vec<Family> {
        let known = self.families.keys().filter_map(|name| Family::parse(name));
        known
            .filter(|family| match choice {
                Choice::Best => super::bounds::counts(*family),
                Choice::Family(wanted) => *family == wanted,
            })
            .collect()
    }
}

impl Accepted {
    /// The numbers of a certificate that was checked.
    pub fn of(evidence: &Evidence) -> Self {
        let digest = Some(evidence.policy_digest());
        Self::read(evidence.certificate(), &evidence.certificate_sha256(), evidence.outputs(), digest)
    }

    fn read(certificate: &Certificate, sha256: &str, outputs: usize, policy_digest: Option<String>) -> Self {
        let masks = certificate.masks.iter().enumerate().map(|(mask, record)| AcceptedMask {
            digest: record.digest.clone(),
            pruned: record.pruned,
            total: record.total,
            quantities: Quantity::ALL
                .into_iter()
                .filter_map(|(quantity, name)| {
                    Some((name.to_owned(), numbers(certificate, quantity, mask, outputs)?))
                })
                .collect(),
            radii: accepted_radii(certificate, mask),
        });
        Self {
            certificate: sha256.to_owned(),
            policy_digest,
            head: certificate.head.clone(),
            outputs,
            about: About::of(certificate),
            masks: masks.collect(),
        }
    }

    fn check(&self) -> Result<(), String> {
        if !is_hex_digest(&self.certificate) {
            return Err("certificate is no SHA-256".to_owned());
        }
        self.about.adversary().map_err(|e| format!("about: {e}"))?;
        for (mask, record) in self.masks.iter().enumerate() {
            for (name, numbers) in &record.quantities {
                let at = |what: &str| format!("masks[{mask}].quantities.{}: {what}", Escaped(name));
                if Quantity::parse(name).is_none() {
                    return Err(at("no such quantity"));
                }
                if numbers.families.keys().any(|family| Family::parse(family).is_none()) {
                    return Err(at("no such family"));
                }
                let texts = numbers.families.values().chain(&numbers.best).chain(&numbers.at_least);
                if texts.into_iter().any(|text| Rational::parse(text).is_err()) {
                    return Err(at("not a number"));
                }
            }
        }
        let radii = self.masks.iter().flat_map(|mask| mask.radii.values()).flat_map(BTreeMap::values);
        let texts = radii.flat_map(|radius| [&radius.least, &radius.median, &radius.mean]);
        if texts.into_iter().any(|text| Rational::parse(text).is_err()) {
            return Err("a radius is not a number".to_owned());
        }
        Ok(())
    }
}

fn numbers(
    certificate: &Certificate,
    quantity: Quantity,
    mask: usize,
    outputs: usize,
) -> Option<AcceptedNumbers> {
    let all = families(certificate, quantity, mask, outputs);
    let value = |families: &[Family]| {
        worst(certificate, quantity, mask, outputs, families).map(|e| e.value.to_string())
    };
    if all.is_empty() {
        return None;
    }
    let best = chosen(certificate, quantity, mask, outputs, Choice::Best);
    Some(AcceptedNumbers {
        best: if best.is_empty() { None } else { value(&best) },
        families: all.iter().filter_map(|family| Some((family.name(), value(&[*family])?))).collect(),
        at_least: attained(certificate, quantity, mask).map(|e| e.value.to_string()),
    })
}

/// Where a baseline is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaselineSource {
    /// Baseline files or certificates, instead of the one that `secateur.toml` names.
    pub files: Vec<PathBuf>,
    /// The revision that has them; the working tree if `None`.
    pub rev: Option<String>,
}

impl Baseline {
    /// Nothing accepted yet.
    pub fn empty() -> Self {
        Self { schema: SCHEMA.to_owned(), policies: BTreeMap::new() }
    }

    /// Reads the baseline of a gate; `None` if there is no file.
    ///
    /// # Errors
    /// [`GateError`]: a file that cannot be read or is not accepted, and a named one that is not there.
    pub fn load(gate: &Gate, source: &BaselineSource) -> Result<Option<(Self, Vec<ConfigFile>)>, GateError> {
        let own = [gate.place(&gate.baseline)];
        let named = !source.files.is_empty();
        let files: &[PathBuf] = if named { &source.files } else { &own };
        let (mut found, mut read) = (Self::empty(), Vec::new());
        for path in files {
            let place = match &source.rev {
                Some(rev) => format!("{}:{}", Escaped(rev), Escaped(&path.to_string_lossy())),
                None => Escaped(&path.to_string_lossy()).to_string(),
            };
            let fail = |reason: String| GateError::Baseline { place: place.clone(), reason };
            let bytes = match &source.rev {
                Some(rev) => file_at(rev, path, MAX_ENVELOPE).map_err(fail)?,
                None => match read_regular(path, MAX_ENVELOPE) {
                    Ok(bytes) => bytes,
                    Err(FileProblem::Io(e)) if !named && e.kind() == std::io::ErrorKind::NotFound => {
                        return Ok(None);
                    }
                    Err(e) => return Err(fail(e.to_string())),
                },
            };
            read.push(ConfigFile { path: path.clone(), sha256: sha256_hex(&bytes) });
            found.add(gate, path, &bytes).map_err(|reason| match reason {
                Refused::Words(reason) => fail(reason),
                Refused::Failure(failure) => GateError::Failure(failure),
            })?;
        }
        Ok(Some((found, read)))
    }

    fn add(&mut self, gate: &Gate, path: &Path, bytes: &[u8]) -> Result<(), Refused> {
        let words = |text: &str| Refused::Words(text.to_owned());
        let document: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|e| Refused::Words(format!("it is no JSON: {e}")))?;
        let entries = if document.get("payloadType").is_some() {
            vec![certificate_entry(gate, path, bytes)?]
        } else {
            Self::parse(bytes).map_err(Refused::Words)?.policies.into_iter().collect()
        };
        for (name, accepted) in entries {
            if self.policies.insert(name, accepted).is_some() {
                return Err(words("a policy has two baselines"));
            }
        }
        Ok(())
    }

    /// Reads a baseline file.
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if read.schema != SCHEMA {
            return Err(format!("schema is {}; this version reads \"{SCHEMA}\"", Escaped(&read.schema)));
        }
        for (name, accepted) in &read.policies {
            if !is_plain(name) {
                return Err(format!("the policy name {} is not plain", Escaped(name)));
            }
            accepted.check().map_err(|e| format!("policy {name}: {e}"))?;
        }
        Ok(read)
    }

    /// The file's bytes.
    pub fn emit(&self) -> String {
        format!("{:#}\n", serde_json::to_value(self).unwrap_or_default())
    }
}

enum Refused {
    Words(String),
    Failure(secateur_checker::load::Failure),
}

/// An earlier certificate of the only policy whose trust file accepts it.
fn certificate_entry(gate: &Gate, path: &Path, bytes: &[u8]) -> Result<(String, Accepted), Refused> {
    let [policy] = gate.policies.as_slice() else {
        let reason = "a certificate as baseline needs a gate of one policy; accept a secateur.baseline.json for several";
        return Err(Refused::Words(reason.to_owned()));
    };
    let trust = policy.trust.as_ref().map(|trust| gate.place(trust));
    let opened = open_certificate(path, bytes, trust.as_deref());
    let (certificate, _) = opened.map_err(Refused::Failure)?;
    let outputs = certificate.claims.iter().filter_map(|c| c.output).max().map_or(0, |last| last + 1);
    let sha256 = sha256_hex(bytes);
    Ok((policy.name.get_ref().clone(), Accepted::read(&certificate, &sha256, outputs, None)))
}
