//! What differs between two certificates besides their numbers: files, masks, sentences, verdicts, signers.

use std::collections::BTreeMap;

use secateur_checker::reader::certificate::{Certificate, FileDigest, Program};
use secateur_checker::reader::dsse::Envelope;
use secateur_checker::reader::verdict::PropertyCertificate;

use super::items::states_words;
use crate::show::quoted::{digest, quoted};
use crate::show::snapshot::{adversary_words, family_word, quantity_word};

/// Something that differs, in words; words of a stranger are in quotes and escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub what: String,
    /// Before; `None` if it was not there.
    pub old: Option<String>,
    /// After; `None` if it is gone.
    pub new: Option<String>,
}

/// The entries that differ between two lists of named things; entries of one name are told apart by their order.
fn differences(old: Vec<(String, String)>, new: Vec<(String, String)>) -> Vec<Fact> {
    fn numbered(list: Vec<(String, String)>) -> Vec<((String, usize), String)> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let entry = |(what, value): (String, String)| {
            let count = seen.entry(what.clone()).or_default();
            *count += 1;
            ((what, *count), value)
        };
        list.into_iter().map(entry).collect()
    }
    let old = numbered(old);
    let new = numbered(new);
    let after: BTreeMap<_, _> = new.iter().cloned().collect();
    let before: BTreeMap<_, _> = old.iter().cloned().collect();
    let mut facts = Vec::new();
    for (key, value) in &old {
        let now = after.get(key);
        if now != Some(value) {
            facts.push(Fact { what: key.0.clone(), old: Some(value.clone()), new: now.cloned() });
        }
    }
    for (key, value) in new {
        if !before.contains_key(&key) {
            facts.push(Fact { what: key.0, old: None, new: Some(value) });
        }
    }
    facts
}

fn file(kind: &str, file: &FileDigest) -> (String, String) {
    (format!("{kind} {}", quoted(&file.name)), format!("sha256:{}", file.sha256))
}

fn program(kind: &str, program: &Program) -> (String, String) {
    (kind.to_owned(), format!("{} {}", quoted(&program.id), quoted(&program.version)))
}

/// A sentence is there or not: its name is the sentence.
fn sentences(kind: &str, list: &[String]) -> Vec<(String, String)> {
    list.iter().map(|sentence| (kind.to_owned() + " " + &quoted(sentence), "listed".to_owned())).collect()
}

/// What differs between two certificates about policies.
pub fn of_policies(old: &Certificate, new: &Certificate) -> Vec<Fact> {
    let list = |c: &Certificate| {
        let mut list: Vec<(String, String)> = c.subjects.iter().map(|f| file("policy file", f)).collect();
        list.push(("weights".to_owned(), digest(&c.weights_digest)));
        list.push(("head".to_owned(), quoted(&c.head)));
        list.push(("adversary".to_owned(), adversary_words(&c.perturbation)));
        list.push(("states".to_owned(), states_words(c)));
        for (mask, record) in c.masks.iter().enumerate() {
            let (name, digest) = (quoted(&record.name), digest(&record.digest));
            let words = format!("{name}, {} of {} pruned, {digest}", record.pruned, record.total);
            list.push((format!("mask {mask}"), words));
        }
        let other = c.inputs.iter().filter(|f| f.role != "states" && f.role != "mask");
        list.extend(other.map(|f| file(&format!("input {}", quoted(&f.role)), f)));
        for verdict in &c.verdicts {
            let (family, of) = (family_word(&verdict.family), quoted(&verdict.of));
            list.push((
                format!("verdict on step {}, {family}, {of}", verdict.step),
                quoted(&verdict.verdict),
            ));
        }
        for verdict in &c.brackets {
            let what = format!("attacks on step {}, {}", verdict.step, quantity_word(&verdict.of));
            let said =
                format!("{} at {} of {} places", quoted(&verdict.verdict), verdict.hurt, verdict.places);
            list.push((what, said));
        }
        list.extend(sentences("assumption", &c.assumptions));
        list.extend(sentences("limit", &c.limits));
        list.push(program("made by", &c.verifier));
        list.push(program("checker", &c.checker));
        list.push(("seed".to_owned(), quoted(&c.seed)));
        list
    };
    differences(list(old), list(new))
}

/// What differs between two certificates about properties.
pub fn of_properties(old: &PropertyCertificate, new: &PropertyCertificate) -> Vec<Fact> {
    use secateur_checker::reader::verdict::Claimed;
    let list = |c: &PropertyCertificate| {
        let mut list: Vec<(String, String)> = c.subjects.iter().map(|f| file("subject", f)).collect();
        list.push(("weights".to_owned(), digest(&c.weights_digest)));
        list.extend(c.inputs.iter().map(|f| file(&format!("input {}", quoted(&f.role)), f)));
        list.push(match &c.claimed {
            Claimed::Unsat { .. } => ("result".to_owned(), "unsat".to_owned()),
            Claimed::Sat { case, .. } => ("result".to_owned(), format!("sat, in case {case}")),
        });
        list.extend(sentences("assumption", &c.assumptions));
        list.push(program("made by", &c.verifier));
        list.push(program("checker", &c.checker));
        list
    };
    differences(list(old), list(new))
}

/// Signatures that are there on one side only; none was verified.
pub fn of_signatures(old: &Envelope, new: &Envelope) -> Vec<Fact> {
    let list = |envelope: &Envelope| {
        let signatures = envelope.signatures.iter();
        let named = signatures
            .map(|s| (format!("signature by key {}", quoted(&s.keyid)), "there, not verified".to_owned()));
        named.collect()
    };
    differences(list(old), list(new))
}
