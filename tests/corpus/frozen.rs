//! What both programs say of every case of the corpus, to the letter: standard output, exit code and the first line of
//! standard error. Sentences that people and scripts read change on purpose or not at all.
//!
//! After such a change: `INSTA_UPDATE=always cargo test --test corpus frozen`, and read the difference.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use secateur_testkit::programs::{Ran, run, secateur, secateur_check};

use super::cases::{Sidecar, names, sidecar};
use super::committed::corpus;

struct Case {
    folder: &'static str,
    name: String,
    sidecar: Sidecar,
    long: Ran,
    short: Ran,
    /// `secateur check --format json`, of accepted certificates.
    json: Option<Ran>,
}

/// Run once for every test of this file, in the corpus's own folder, so that paths are the same on every machine.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let root = corpus();
    let of = |folder: &'static str| names(&root, folder).into_iter().map(move |name| (folder, name));
    let cases = of("accepted").chain(of("rejected"));
    cases.map(|(folder, name)| Case::new(&root, folder, name)).collect()
});

impl Case {
    fn new(root: &Path, folder: &'static str, name: String) -> Self {
        let sidecar = sidecar(root, folder, &name);
        let certificate = format!("{folder}/{name}.cert.dsse.json");
        let trust = format!("trust/{}", sidecar.trust);
        let of_problem = |rest: &str| format!("problems/{}/{rest}", sidecar.problem);
        let (policy, masks, states) = (of_problem("policy"), of_problem("masks"), of_problem("states.npy"));
        let short = |arguments: &[&str]| neutral(secateur_check(root).args(arguments));
        let long = |words: &[&str], arguments: &[&str]| {
            neutral(secateur(root).args(["--quiet", "check"]).args(words).args(arguments))
        };
        // `secateur check` takes a property as VNN-LIB, `secateur-check` in the canonical form.
        let property = sidecar
            .property
            .as_ref()
            .map(|p| (of_problem(&format!("{p}.vnnlib")), of_problem(&format!("{p}.property.json"))));
        let second = sidecar.second.as_ref().map(|second| format!("problems/{second}/policy"));
        let named = second.as_ref().map(|second| (format!("dense={policy}"), format!("pruned={second}")));
        let (for_long, for_short) = match (&property, &second) {
            // Of two networks both take the canonical form.
            (Some((_, canonical)), Some(second)) => {
                let (dense, pruned) = named.as_ref().expect("names");
                let signed = ["--trust", &trust, &certificate];
                (
                    [&["--network", dense, "--network", pruned, canonical], signed.as_slice()].concat(),
                    [&[policy.as_str(), second, "--property", canonical], signed.as_slice()].concat(),
                )
            }
            (Some((source, canonical)), None) => (
                vec![policy.as_str(), source, &certificate, "--trust", &trust],
                vec![policy.as_str(), "--property", canonical, "--trust", &trust, &certificate],
            ),
            (None, _) => {
                let files = ["--masks", &masks, "--states", &states, "--trust", &trust, &certificate];
                let both = [&[policy.as_str()], files.as_slice()].concat();
                (both.clone(), both)
            }
        };
        let json = (folder == "accepted").then(|| long(&["--format", "json"], &for_long));
        let (long, short) = (long(&[], &for_long), short(&for_short));
        Self { folder, name, sidecar, long, short, json }
    }
}

/// Nothing of the terminal or the language takes part.
fn neutral(command: &mut Command) -> Ran {
    for name in ["COLUMNS", "CLICOLOR_FORCE", "LC_ALL", "LANG", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    run(command)
}

/// The programs agree with the library, and with each other, on what the process says to its caller.
#[test]
fn both_programs_exit_with_the_code_of_the_sidecar() {
    for case in CASES.iter() {
        let Case { folder, name, sidecar, long, short, .. } = case;
        assert_eq!(
            long.code, short.code,
            "{folder}/{name}: secateur said {long:?}, secateur-check {short:?}"
        );
        assert_eq!(long.code, i32::from(sidecar.exit), "{folder}/{name}: {long:?}");
        let verified = long.stdout.starts_with("verified: ") || long.stdout.contains("verified, signed by");
        assert_eq!(verified, sidecar.exit == 0, "{folder}/{name}");
        assert_eq!(short.stdout.starts_with("verified: "), sidecar.exit == 0, "{folder}/{name}");
    }
}

/// What one program printed in every case of a folder.
fn printed(folder: &str, of: impl Fn(&Case) -> Option<&Ran>) -> String {
    let mut text = String::new();
    let cases = CASES.iter().filter(|case| case.folder == folder);
    for (case, ran) in cases.filter_map(|case| of(case).map(|ran| (case, ran))) {
        writeln!(text, "### {}: exit {}", case.name, ran.code).expect("text");
        for line in ran.stdout.lines() {
            writeln!(text, "{line}").expect("text");
        }
        if let Some(error) = ran.stderr.lines().next() {
            writeln!(text, "stderr: {error}").expect("text");
        }
        text.push('\n');
    }
    assert!(text.contains("###"), "an empty folder proves nothing");
    text
}

#[test]
fn secateur_on_accepted() {
    insta::assert_snapshot!("secateur-accepted", printed("accepted", |case| Some(&case.long)));
}

#[test]
fn secateur_on_accepted_as_json() {
    insta::assert_snapshot!("secateur-accepted-json", printed("accepted", |case| case.json.as_ref()));
}

#[test]
fn secateur_on_rejected() {
    insta::assert_snapshot!("secateur-rejected", printed("rejected", |case| Some(&case.long)));
}

#[test]
fn secateur_check_on_accepted() {
    insta::assert_snapshot!("secateur-check-accepted", printed("accepted", |case| Some(&case.short)));
}

#[test]
fn secateur_check_on_rejected() {
    insta::assert_snapshot!("secateur-check-rejected", printed("rejected", |case| Some(&case.short)));
}
