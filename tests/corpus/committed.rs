//! The committed corpus: every accepted certificate is accepted, every rejected one fails with the reason and the exit
//! code that its sidecar names. `certificates/README.md` says how to make it again.

use secateur_checker::load::{
    CheckPaths, Failure, PropertyFiles, check_paths, check_property_files, load_policy,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cases::{self, names, sidecar, write_corpus};

pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates")
}

fn paths(root: &Path, folder: &str, name: &str) -> (CheckPaths, cases::Sidecar) {
    let sidecar = sidecar(root, folder, name);
    let problem = root.join("problems").join(&sidecar.problem);
    let paths = CheckPaths {
        policy: problem.join("policy"),
        masks: Some(problem.join("masks")),
        states: problem.join("states.npy"),
        trust: Some(root.join("trust").join(&sidecar.trust)),
        witness: None,
        certificate: root.join(folder).join(format!("{name}.cert.dsse.json")),
    };
    (paths, sidecar)
}

/// Whether one case is accepted, by the library; then, how many signed it.
fn judge(paths: &CheckPaths, sidecar: &cases::Sidecar) -> Result<usize, Failure> {
    let Some(property) = &sidecar.property else {
        return check_paths(paths, &mut |_, _| {}).map(|outcome| outcome.signers.len());
    };
    let second = sidecar.second.as_ref().map(|second| second_policy(&paths.policy, second));
    let policies = [Some(paths.policy.clone()), second].into_iter().flatten();
    let policies = policies.map(|path| load_policy(&path)).collect::<Result<Vec<_>, _>>()?;
    let property = std::fs::read(property_file(paths, property, "property.json")).expect("a property");
    let files = PropertyFiles {
        policies: policies.iter().map(|policy| [policy.manifest.as_slice(), &policy.tensors]).collect(),
        property: &property,
    };
    let trust = paths.trust.as_deref();
    check_property_files(&files, &paths.certificate, None, trust, &mut |_| {})
        .map(|(_, signers)| signers.len())
}

/// The policy of another problem.
fn second_policy(policy: &Path, problem: &str) -> PathBuf {
    policy.with_file_name("..").join(problem).join("policy")
}

/// A property lies beside the problem's policy.
fn property_file(paths: &CheckPaths, name: &str, extension: &str) -> PathBuf {
    paths.policy.with_file_name(format!("{name}.{extension}"))
}

#[test]
fn every_accepted_certificate_is_accepted() {
    let root = corpus();
    let names = names(&root, "accepted");
    assert!(!names.is_empty(), "an empty corpus proves nothing");
    for name in names {
        let (paths, sidecar) = paths(&root, "accepted", &name);
        assert_eq!((sidecar.exit, &sidecar.reason), (0, &None), "{name}");
        let signers = judge(&paths, &sidecar).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(signers > 0, "{name}");
    }
}

#[test]
fn every_rejected_certificate_fails_with_its_reason() {
    let root = corpus();
    let names = names(&root, "rejected");
    assert!(!names.is_empty(), "an empty corpus proves nothing");
    for name in names {
        let (paths, sidecar) = paths(&root, "rejected", &name);
        let reason = sidecar.reason.clone().unwrap_or_else(|| panic!("{name}: no reason"));
        let failure = match judge(&paths, &sidecar) {
            Ok(_) => panic!("{name} was accepted"),
            Err(failure) => failure,
        };
        assert_eq!(failure.code(), reason, "{name}: {failure:?}");
        assert_eq!(failure.exit_code(), sidecar.exit, "{name}: {failure:?}");
        let sentence = failure.to_string();
        assert!(sentence.chars().all(|c| !c.is_control()), "{name}: {sentence:?}");
    }
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("inside").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path).expect("read"));
            }
        }
    }
    found
}

/// What is committed is what the generator makes: nothing was edited by hand, and the format has not drifted.
#[test]
fn the_committed_files_are_what_the_generator_makes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_corpus(folder.path());
    let (made, mut committed) = (files(folder.path()), files(&corpus()));
    committed.remove("README.md");
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&made), names(&committed));
    for (name, bytes) in &made {
        assert!(committed.get(name) == Some(bytes), "{name} differs; see certificates/README.md");
    }
}

/// Writes the corpus anew: `cargo test --test corpus -- --ignored regenerate`.
#[test]
#[ignore = "writes certificates/"]
fn regenerate() {
    let root = corpus();
    for folder in ["problems", "trust", "accepted", "rejected"] {
        let _ = std::fs::remove_dir_all(root.join(folder));
    }
    write_corpus(&root);
    for folder in ["accepted", "rejected"] {
        println!("## {folder}\n\n{}", cases::listing(&root, folder));
    }
}
