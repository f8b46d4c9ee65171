//! `spec/vectors/`: inputs and exact outputs of every rule. With `SECATEUR_WRITE_VECTORS=1` the files are written, else
//! every output is computed again from the input beside it and compared. `spec/vectors/README.md`.
#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::string_slice,
    clippy::integer_division
)]
#![allow(unreachable_pub, missing_docs)]

mod adapter;
mod cases;
mod json;
mod objects;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Once;

use secateur_kernel::enclose::tanh;
use secateur_kernel::number::Rational;
use serde_json::{Value, json};

use cases::Case;
use json::{In, outcome, render};

/// Rules without vectors, and why.
const WITHOUT: [(&str, &str); 6] = [
    ("mono.verdict", "compares finished claims, in checker/src/table.rs"),
    (
        "region.cell",
        "puts claims about cells together, in checker/src/claim/region.rs; its parts are region.input, ibp.*, crown.layers, local.margin",
    ),
    ("region.cover", "compares cells of a certificate, in checker/src/claim/region.rs"),
    ("counterexample.bracket", "compares claims of a certificate, in checker/src/claim/point.rs"),
    (
        "radius.proved",
        "evaluates a family at a multiple of the radii, in checker/src/claim/radius.rs; its parts are those of the families",
    ),
    (
        "radius.broken",
        "compares a point with a limit, in checker/src/claim/radius.rs; its part is counterexample.point",
    ),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors")
}

/// The rules of the table in `spec/rules/README.md`.
fn table() -> BTreeSet<String> {
    let path = folder().join("../rules/README.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cells =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | [")).map(|(rule, _)| rule);
    let rules: BTreeSet<String> = cells.map(str::to_owned).collect();
    assert!(rules.len() > 50, "only {} rules in the table", rules.len());
    rules
}

/// The text of one file: its cases with what the rules make of them.
fn file(family: &str, about: &str, cases: &[Case]) -> String {
    let vectors: Vec<Value> = cases
        .iter()
        .map(|case| {
            let (kind, result) = outcome(adapter::apply(case.rule, In(&case.input)));
            json!({ "rule": case.rule, "case": case.name, "input": case.input, kind: result })
        })
        .collect();
    render(&json!({ "family": family, "about": about, "vectors": vectors }))
}

/// The files of the folder by name.
fn files() -> BTreeMap<String, Value> {
    let entries = fs::read_dir(folder()).expect("spec/vectors exists").map(|entry| entry.unwrap().path());
    let paths = entries.filter(|path| path.extension().is_some_and(|end| end == "json"));
    paths
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            (name, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        })
        .collect()
}

/// Writes the files, once for all tests, if the variable asks for it.
fn write_if_asked() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("SECATEUR_WRITE_VECTORS").is_some() {
            fs::create_dir_all(folder()).unwrap();
            for (family, about, cases) in cases::all() {
                fs::write(folder().join(format!("{family}.json")), file(family, about, &cases)).unwrap();
            }
        }
    });
}

#[test]
fn outputs_are_recomputed_from_the_inputs_in_the_files() {
    write_if_asked();
    let mut covered = BTreeMap::new();
    let mut wrong = Vec::new();
    let files = files();
    for (family, file) in &files {
        assert_eq!(file["family"], Value::from(family.as_str()));
        for vector in In(file).at("vectors").list(|vector| vector) {
            let (rule, case) = (vector.at("rule").text(), vector.at("case").text());
            let (kind, found) = outcome(adapter::apply(rule, vector.at("input")));
            if vector.0.get(kind) != Some(&found) {
                wrong.push(format!("{family}.json: {rule}, {case}: found {kind} {}", render(&found)));
            }
            assert_eq!(vector.0.as_object().unwrap().len(), 4, "{family}.json: {rule}, {case}: other fields");
            covered.entry(rule.to_owned()).or_insert_with(BTreeSet::new).insert(kind);
        }
    }
    assert!(wrong.is_empty(), "{} of the vectors differ:\n{}", wrong.len(), wrong.join("\n"));
    let expected: BTreeSet<&str> = cases::all().into_iter().map(|(family, ..)| family).collect();
    assert_eq!(
        files.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        expected,
        "files are missing or unknown"
    );
    coverage(&covered);
}

/// Every rule of the table has vectors, or is listed as one that has none; every rule of a file is one of the table.
fn coverage(covered: &BTreeMap<String, BTreeSet<&str>>) {
    let without: BTreeSet<String> = WITHOUT.iter().map(|(rule, _)| (*rule).to_owned()).collect();
    let with: BTreeSet<String> = covered.keys().cloned().collect();
    let both: Vec<_> = with.intersection(&without).collect();
    assert!(both.is_empty(), "listed as without vectors, but has some: {both:?}");
    let all: BTreeSet<String> = with.union(&without).cloned().collect();
    assert_eq!(all, table(), "vectors and table name other rules");
    let silent: Vec<_> = covered.iter().filter(|(_, kinds)| !kinds.contains("output")).collect();
    assert!(silent.is_empty(), "only faults: {silent:?}");
}

/// What the command writes is what is there, so that no case was taken away or changed by hand.
#[test]
fn files_are_what_the_command_writes() {
    write_if_asked();
    for (family, about, cases) in cases::all() {
        let path = folder().join(format!("{family}.json"));
        let there = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(there == file(family, about, &cases), "{family}.json is not what the command writes");
    }
}

/// The entries in the file are those that the sentence names: `enclose.tanh` at each point, where the kernel takes powers.
#[test]
fn the_table_of_tanh_is_its_sentence() {
    write_if_asked();
    let files = files();
    let entries: Vec<u64> =
        In(&files["tanh-table"]).at("vectors").list(|vector| vector)[0].at("output").ints();
    assert_eq!(entries.len(), 5633);
    for (k, entry) in entries.iter().enumerate() {
        let x = Rational::from_dyadic(k.into(), -8);
        let value = tanh(&x).unwrap();
        for end in [&value.lower, &value.upper] {
            // Both ends have the same floor, which is therefore that of the value.
            assert_eq!(end.floor_scaled(62), (*entry).into(), "entry {k}");
        }
    }
}
