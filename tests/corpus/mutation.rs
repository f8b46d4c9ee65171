//! Any one number of an accepted certificate, changed and signed again: rejected, or still true.

use rayon::prelude::*;
use secateur::certify::emit::emit_certificate;
use secateur_checker::check::{NamedFile, Subject, check};
use secateur_checker::load::{MaskDirectory, PolicyDirectory, load_masks, load_policy, load_states};
use secateur_checker::model::{States, Units};
use secateur_checker::number::Rounding;
use secateur_checker::reader::certificate::{Certificate, parse_certificate};
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::table::Quantity;
use secateur_testkit::decimal::nudged;
use secateur_testkit::problem::{Problem, Spec, WITNESS, all_families, key, rational};
use serde_json::Value;
use tempfile::TempDir;

/// A certificate with every family, and its files in memory so that a check is only a check.
struct Bench {
    _folder: TempDir,
    policy: PolicyDirectory,
    masks: MaskDirectory,
    states: (States, Vec<u8>),
    witness: Option<Vec<u8>>,
    certificate: Certificate,
}

impl Bench {
    fn new(spec: &Spec) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let problem = Problem::write(folder.path(), spec);
        let certified = problem.certify(&all_families(), &key(1));
        let policy = load_policy(&problem.policy_dir()).expect("a policy");
        let masks = load_masks(&problem.masks_dir(), &policy.files).expect("masks");
        let states = load_states(&problem.states_file(), Units::Normalised).expect("states");
        let certificate = certified.verified.certificate().clone();
        Self { _folder: folder, policy, masks, states, witness: certified.witness, certificate }
    }

    /// What `secateur_checker::load` does after the signature.
    fn check(&self, certificate: Certificate) -> Result<(), Rejection> {
        let mut states = self.states.0.clone();
        states.units = certificate.state_units;
        let named = |(name, bytes): &'_ (String, Vec<u8>)| (name.clone(), bytes.clone());
        let files: Vec<(String, Vec<u8>)> = self.masks.files.iter().map(named).collect();
        let mask_files: Vec<NamedFile<'_>> =
            files.iter().map(|(name, bytes)| NamedFile { name, bytes }).collect();
        let witness = self.witness.as_ref().filter(|_| certificate.witness.is_some());
        let subject = Subject {
            policy: &self.policy.files.policy,
            names: self.policy.files.names.as_ref(),
            policy_files: [
                NamedFile { name: "policy.json", bytes: &self.policy.manifest },
                NamedFile { name: "policy.safetensors", bytes: &self.policy.tensors },
            ],
            masks: &self.masks.masks,
            mask_files: &mask_files,
            states: &states,
            states_file: NamedFile { name: "states.npy", bytes: &self.states.1 },
            witness: witness.map(|bytes| NamedFile { name: WITNESS, bytes }),
        };
        check(certificate, &subject, &mut |_, _| {}).map(|_| ())
    }
}

fn gaussian_and_categorical() -> [Bench; 2] {
    let small = |gaussian| Spec { widths: vec![2, 3, 2], gaussian, masks: 2, states: 2, ..Spec::small(5) };
    [Bench::new(&small(true)), Bench::new(&small(false))]
}

/// Every value of every claim: one unit tighter is refused with both values, one unit looser is true and accepted.
#[test]
fn every_claim_by_one_unit() {
    for bench in gaussian_and_categorical() {
        bench.check(bench.certificate.clone()).expect("accepted as made");
        let claims: Vec<usize> = (0..bench.certificate.claims.len()).collect();
        claims.par_iter().for_each(|&claim| {
            let record = &bench.certificate.claims[claim];
            let quantity = Quantity::parse(&record.quantity).expect("a quantity");
            let unit = if quantity.rounding() == Rounding::Up { 1 } else { -1 };
            for (value, text) in record.values.iter().enumerate() {
                let with = |text: String| {
                    let mut changed = bench.certificate.clone();
                    changed.claims[claim].values[value] = text;
                    bench.check(changed)
                };
                with(nudged(text, unit)).expect("a looser claim is true");
                let tight = nudged(text, -unit);
                let found = with(tight.clone()).expect_err("a tighter claim is not proved");
                let words = found.to_string();
                let (Some(entry), Reason::TooTight { claimed, proved, .. }) = (found.entry, found.reason)
                else {
                    panic!("{words}")
                };
                assert!(entry.part.ends_with(&format!(", value {value}")), "{words}");
                assert_eq!((entry.kind, entry.position, *claimed), ("claim", claim, rational(&tight)));
                let (stated, proved) = (rational(text), *proved);
                assert!(if unit > 0 { proved <= stated } else { proved >= stated }, "{text}: {proved}");
            }
        });
    }
}

/// Fields about how the certificate was made: no statement about the policy rests on them.
const FREE: [&str; 3] = ["/predicate/seed", "/predicate/verifier/version", "/predicate/verifier/id"];

fn numbers(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                numbers(value, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                numbers(value, &format!("{pointer}/{index}"), found);
            }
        }
        Value::String(text) if secateur_checker::number::Rational::parse(text).is_ok() => {
            found.push(pointer.to_owned());
        }
        _ => {}
    }
}

/// Every other number: counts, positions, radii, sparsities, verdicts' values, sizes.
#[test]
fn every_other_number() {
    for bench in gaussian_and_categorical() {
        let document: Value = serde_json::from_str(&emit_certificate(&bench.certificate)).expect("JSON");
        let mut found = Vec::new();
        numbers(&document, "", &mut found);
        found.retain(|p| !p.contains("/values/") && !FREE.contains(&p.as_str()));
        assert!(
            found.iter().any(|p| p.ends_with("/radius")) && found.iter().any(|p| p.contains("/verdicts/"))
        );
        found.par_iter().for_each(|pointer| {
            let old = document.pointer(pointer).and_then(Value::as_str).expect("a number");
            for change in ["1", "-1", "1/1000000"] {
                let new = rational(old).add(&rational(change)).to_string();
                let mut changed = document.clone();
                *changed.pointer_mut(pointer).expect("a number") = Value::String(new.clone());
                let Ok(certificate) = parse_certificate(changed.to_string().as_bytes()) else { continue };
                let accepted = bench.check(certificate).is_ok();
                assert!(!accepted, "{pointer}: {old} became {new} and was accepted");
            }
        });
    }
}
