//! Search, emit, parse, check accepts; and what was parsed prints as it was.

use std::collections::BTreeMap;
use std::sync::Mutex;

use secateur::certify::certify;
use secateur::certify::emit::{emit_certificate, emit_envelope};
use secateur::policy::ActivationSpec;
use secateur::progress::Progress;
use secateur_checker::load::{load_masks, load_policy, load_states};
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::reader::certificate::parse_certificate;
use secateur_checker::reader::dsse::parse_envelope;
use secateur_testkit::problem::{
    Problem, Spec, WITNESS, all_families, certify_directory, key, linf, rational, request, write_trust,
};

fn round_trip(spec: &Spec, set: &PerturbationSet) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), spec);
    let certified = certify_directory(folder.path(), &all_families(), set, &key(1))
        .unwrap_or_else(|e| panic!("{:?} {set:?}: {e}", spec.activation));
    let payload = &certified.envelope.payload;
    let parsed = parse_certificate(payload).expect("a certificate");
    assert_eq!(&parsed, certified.verified.certificate());
    assert_eq!(emit_certificate(&parsed).as_bytes(), payload.as_slice());
    assert_eq!(&parsed.perturbation, set);
    let text = emit_envelope(&certified.envelope);
    let envelope = parse_envelope(text.as_bytes()).expect("an envelope");
    assert_eq!(envelope, certified.envelope);
    assert_eq!(emit_envelope(&envelope), text);
    // `certify` compares with the values that it has evaluated itself; whoever checks evaluates again.
    certified.write(&problem.certificate_file(), WITNESS).expect("written");
    write_trust(folder.path(), &key(1));
    let checked = problem.check().unwrap_or_else(|e| panic!("{:?} {set:?}: {e}", spec.activation));
    assert_eq!(checked.verified.tables(), certified.verified.tables());
}

/// Counts the parts done of each phase.
#[derive(Default)]
struct Phases(Mutex<BTreeMap<String, usize>>);

impl Progress for Phases {
    fn advance(&self, phase: &str, _: usize, _: usize) {
        *self.0.lock().expect("no panic").entry(phase.to_owned()).or_default() += 1;
    }
}

/// Every state is evaluated once, and nothing again for the certificate's own check.
#[test]
fn states_are_evaluated_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec { states: 5, ..Spec::small(3) });
    let policy = load_policy(&problem.policy_dir()).expect("a policy");
    let masks = load_masks(&problem.masks_dir(), &policy.files).expect("masks");
    let (mut states, bytes) = load_states(&problem.states_file(), Units::Normalised).expect("states");
    states.keep_first(4);
    let (set, families) = (linf("0.05"), all_families());
    let request = request(&policy, &masks, (&states, &bytes), &set, &families);
    let phases = Phases::default();
    certify(&request, &key(1), &phases).expect("certified");
    let phases = phases.0.into_inner().expect("no panic");
    assert_eq!((phases.get("bounding"), phases.get("checking")), (Some(&4), None), "{phases:?}");
}

fn set(shape: Perturbation, units: Units) -> PerturbationSet {
    PerturbationSet { shape, units }
}

#[test]
fn every_activation_and_head() {
    let text = str::to_owned;
    let activations = [
        ActivationSpec::Identity,
        ActivationSpec::Relu,
        ActivationSpec::LeakyRelu(text("0.01")),
        ActivationSpec::Tanh,
        ActivationSpec::Sigmoid,
        ActivationSpec::Clip(text("-1"), text("1")),
        ActivationSpec::Clip(text("-1/3"), text("0.7")),
        ActivationSpec::Elu(text("1")),
        ActivationSpec::Elu(text("2/7")),
        ActivationSpec::Silu,
    ];
    for (index, activation) in activations.into_iter().enumerate() {
        for gaussian in [false, true] {
            let spec = Spec { activation: activation.clone(), gaussian, ..Spec::small(20 + index as u64) };
            round_trip(&spec, &linf("0.05"));
        }
    }
}

#[test]
fn every_perturbation_set() {
    let radii = ["0", "1/7", "0.3"].map(rational).to_vec();
    for units in [Units::Raw, Units::Normalised] {
        for normaliser in [false, true] {
            let spec = Spec { normaliser, ..Spec::small(30) };
            round_trip(&spec, &set(Perturbation::Linf { radius: rational("0") }, units));
            round_trip(&spec, &set(Perturbation::L2 { radius: rational("1/10") }, units));
            round_trip(&spec, &set(Perturbation::PerCoordinate { radii: radii.clone() }, units));
        }
    }
}
