//! `secateur::audit` as a library function: what it returns was read again from its files; errors are told apart by type.

use std::path::PathBuf;

use secateur::audit::{AuditError, AuditMasks, AuditOptions, FolderError, audit};
use secateur::certify::CertifyError;
use secateur::outputs::OutputError;
use secateur::progress::{Progress, Silent};
use secateur::prune::Scope;
use secateur::prune::recipe::{MethodWord, Recipe};
use secateur_checker::family::Family;
use secateur_checker::load::{CheckPaths, check_paths};
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::Rational;

fn options(out: PathBuf) -> AuditOptions {
    let policy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("certificates/problems/gaussian/policy");
    let radius = Rational::parse("1/20").expect("a number");
    let set = PerturbationSet { shape: Perturbation::Linf { radius }, units: Units::Normalised };
    AuditOptions {
        families: vec![Family::Ibp, Family::Sensitivity],
        limit: Some(1),
        ..AuditOptions::new(policy.clone(), policy.with_file_name("states.npy"), set, out)
    }
}

fn recipe() -> Recipe {
    Recipe {
        method: MethodWord::Magnitude,
        scope: Scope::Layer,
        sparsity: vec!["0".to_owned(), "0.5".to_owned()],
        seed: 0,
        scores: None,
        states: None,
        state_units: Units::Raw,
    }
}

#[test]
fn what_is_returned_is_what_the_files_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = options(folder.path().join("out"));
    options.masks = AuditMasks::Prune(recipe());
    let first = audit(&options, &Silent).expect("an audit");
    assert_eq!(first.verified.certificate().masks.len(), 2);
    assert_eq!(first.bands.len(), 3);
    assert_eq!((first.masks.clone(), first.earlier), (Some(folder.path().join("out/masks")), None));
    let paths = CheckPaths {
        policy: options.policy.clone(),
        masks: first.masks,
        states: options.states.clone(),
        trust: Some(first.trust),
        witness: None,
        certificate: first.certificate.clone(),
    };
    let checked = check_paths(&paths, &mut |_, _| {}).expect("verified");
    assert_eq!(checked.verified.certificate(), first.verified.certificate());

    // A second audit signs with another key: the first certificate is kept, and so is its key.
    let second = audit(&options, &Silent).expect("an audit");
    let kept = second.earlier.expect("another certificate was there");
    let name = first.certificate.file_name().expect("a name");
    let earlier = CheckPaths { certificate: kept.join(name), ..paths };
    check_paths(&earlier, &mut |_, _| {}).expect("still verified");
}

#[test]
fn errors_say_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = options(folder.path().join("out"));
    let fails = |change: fn(&mut AuditOptions)| {
        let mut options = good.clone();
        change(&mut options);
        let error = audit(&options, &Silent).expect_err("refused");
        assert!(!good.out.exists(), "{error}: something was written");
        error
    };
    let error = fails(|options| options.out.clone_from(&options.policy));
    assert!(matches!(error, AuditError::Folder(FolderError::Policy(_))), "{error}");
    let error = fails(|options| options.states = options.policy.join("states.npy"));
    assert!(matches!(error, AuditError::Certify(CertifyError::Load(_))), "{error}");
    let error = fails(|options| options.limit = Some(0));
    assert!(matches!(error, AuditError::Certify(CertifyError::NoStates)), "{error}");
    let error = fails(|options| options.inputs.push(options.out.join("trust.json")));
    assert!(matches!(error, AuditError::Output(OutputError::Input { .. })), "{error}");
    let error = fails(|options| options.key = Some(options.states.clone()));
    assert!(matches!(error, AuditError::Key(_)), "{error}");
    assert_eq!(error.exit_code(), 2);
}

/// Stops at the first report of a phase.
struct StopAt(&'static str, std::sync::atomic::AtomicBool);

impl Progress for StopAt {
    fn advance(&self, phase: &str, _: usize, _: usize) {
        if phase == self.0 {
            self.1.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn stopped(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn an_audit_that_is_stopped_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = options(folder.path().join("out"));
    options.limit = None;
    let error = audit(&options, &StopAt("bounding", false.into())).expect_err("stopped");
    assert!(matches!(error, AuditError::Certify(CertifyError::Interrupted)), "{error}");
    assert_eq!(error.exit_code(), 4);
    assert!(!options.out.exists());
}
