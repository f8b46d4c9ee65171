//! The worked example of `spec/snapshot.md`: certificates as `insta` snapshots. A project that keeps its certificates
//! in its repository does the same with its own; a change of any number that one of them states then fails a test, and
//! `cargo insta review` shows which.
//!
//! After a change on purpose: `INSTA_UPDATE=always cargo test --test snapshots`, and read the difference.

use std::path::{Path, PathBuf};

use secateur::certify::statement::Statement;
use secateur::show::snapshot::snapshot;
use secateur_checker::reader::dsse::parse_envelope;

const ENDING: &str = ".cert.dsse.json";

/// The certificates of the corpus that are accepted, by name.
fn certificates() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates/accepted");
    let entries = std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path());
    let named = entries.filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?.to_owned();
        Some((name, path))
    });
    let mut found: Vec<(String, PathBuf)> = named.collect();
    found.sort();
    found
}

fn snapshot_of(path: &Path) -> String {
    let envelope = parse_envelope(&std::fs::read(path).expect("read")).expect("an envelope");
    snapshot(&Statement::parse(&envelope.payload).expect("a certificate"))
}

#[test]
fn the_corpus() {
    let certificates = certificates();
    assert!(certificates.len() > 15, "an empty folder proves nothing");
    for (name, path) in certificates {
        insta::assert_snapshot!(name, snapshot_of(&path));
    }
}

/// A signature more, or another key, changes no line.
#[test]
fn signatures_take_no_part() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates/accepted");
    let of = |name: &str| snapshot_of(&folder.join(format!("{name}{ENDING}")));
    assert_eq!(of("small"), of("two-signatures"));
    assert_eq!(of("small"), of("stranger"));
}
