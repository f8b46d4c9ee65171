//! The rules' headings, the index and the list of unproved rules name the same rules; the tests that the index names exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files below a folder whose name ends in `suffix`.
fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found
}

/// `family.rule`: two words of lower-case letters, digits and dashes.
fn is_rule(name: &str) -> bool {
    let word = |w: &str| {
        !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.split_once('.').is_some_and(|(family, rule)| word(family) && word(rule))
}

/// Headings `## family.rule` of `spec/rules/*.md`, with the file's name; each rule has one.
fn headings() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in files(&root().join("spec/rules"), ".md") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = read(&path);
        let titles = text.lines().filter_map(|line| line.strip_prefix("## ")).map(str::trim);
        found.extend(titles.filter(|title| is_rule(title)).map(|title| (title.to_owned(), name.clone())));
    }
    found
}

struct Row {
    rule: String,
    section: String,
    code: String,
    accepted: String,
    refused: String,
    proved: bool,
}

/// Rows of the index: the table whose first cell is a rule.
fn index() -> Vec<Row> {
    let bare = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let text = read(&root().join("spec/rules/README.md"));
    let cells = text.lines().map(|line| line.split('|').collect::<Vec<_>>());
    let rows = cells.filter(|cells| cells.len() == 8 && is_rule(&bare(cells[1])));
    rows.map(|cells| Row {
        rule: bare(cells[1]),
        section: cells[2].trim().to_owned(),
        code: cells[3].trim().to_owned(),
        accepted: bare(cells[4]),
        refused: bare(cells[5]),
        proved: cells[6].trim() != "pending",
    })
    .collect()
}

fn unique(names: &[String], of: &str) -> BTreeSet<String> {
    let set: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(set.len(), names.len(), "a rule appears twice among {of}");
    set
}

#[test]
fn headings_are_the_rows_of_the_index() {
    let headings = headings();
    assert!(headings.len() >= 40, "only {} headings were found", headings.len());
    let named: Vec<String> = headings.iter().map(|(rule, _)| rule.clone()).collect();
    let rows: Vec<String> = index().into_iter().map(|row| row.rule).collect();
    assert_eq!(unique(&named, "the headings"), unique(&rows, "the rows"));
    for row in index() {
        let anchor = row.rule.replace('.', "");
        let file = headings.iter().find(|(rule, _)| *rule == row.rule).map(|(_, file)| file.clone());
        let file = file.unwrap_or_default();
        assert_eq!(row.section, format!("[{file}]({file}#{anchor})"));
    }
}

#[test]
fn what_is_not_proved_is_pending() {
    let text = read(&root().join("spec/pending.md"));
    let entries =
        text.lines().filter_map(|line| line.strip_prefix("- ")).map(|e| e.trim_matches('`').to_owned());
    let pending = unique(&entries.collect::<Vec<_>>(), "the pending rules");
    let unproved = index().into_iter().filter(|row| !row.proved).map(|row| row.rule).collect::<Vec<_>>();
    assert_eq!(pending, unique(&unproved, "the rows"));
}

/// Names of all functions under `#[test]` in the trusted crate.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let crates = ["kernel", "checker"].map(|name| files(&root().join(name), ".rs"));
    for path in crates.into_iter().flatten() {
        let text = read(&path);
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            if line == "#[test]" {
                marked = true;
            } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
                names.extend(rest.split('(').next().map(str::to_owned));
                marked = false;
            }
        }
    }
    names
}

#[test]
fn every_rule_has_tests_and_code_that_exist() {
    let tests = tests();
    for row in index() {
        for name in [&row.accepted, &row.refused] {
            assert!(tests.contains(name), "{}: there is no test {name}", row.rule);
        }
        let path = row.code.split('`').nth(1).unwrap_or_default().to_owned();
        let path = match path.strip_prefix("kernel/") {
            Some(rule) => root().join("kernel/src").join(rule),
            None => root().join("checker/src").join(path),
        };
        let source = read(&path);
        for name in row.code.split('`').skip(3).step_by(2) {
            let function = name.rsplit("::").next().unwrap_or(name);
            assert!(
                source.contains(&format!("fn {function}(")),
                "{}: no {name} in {}",
                row.rule,
                path.display()
            );
        }
    }
}

/// References from code to a page of the specification lead to a file, and those to a section of it to a heading.
#[test]
fn references_to_the_specification_lead_somewhere() {
    let mut anchors = BTreeSet::new();
    for path in files(&root().join("spec"), ".md") {
        let file = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        for line in read(&path).lines().filter(|line| line.starts_with('#')) {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let anchor: String =
                title.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == ' ').collect();
            anchors.insert(format!("{file}#{}", anchor.replace(' ', "-")));
        }
    }
    let mut lost = Vec::new();
    let sources =
        ["kernel/src", "checker/src", "crates", "src", "tests", "kernel/tests", "checker/tests", "benches"];
    for folder in sources.iter().map(|folder| root().join(folder)).filter(|folder| folder.is_dir()) {
        for path in files(&folder, ".rs") {
            for piece in read(&path).split("spec/").skip(1) {
                let end = piece
                    .find(|c: char| !(c.is_ascii_alphanumeric() || "-.#/".contains(c)))
                    .unwrap_or(piece.len());
                let target = format!("spec/{}", piece[..end].trim_end_matches('.'));
                let found = match target.split_once('#') {
                    Some(_) => anchors.contains(&target),
                    None => !target.ends_with(".md") || root().join(&target).is_file(),
                };
                if !found {
                    lost.push(format!("{}: {target}", path.strip_prefix(root()).unwrap().display()));
                }
            }
        }
    }
    assert!(lost.is_empty(), "lead nowhere:\n{}", lost.join("\n"));
}

/// `checker/README.md` has a row for each file of the trusted crates, and for nothing else: who audits them has a list to tick.
#[test]
fn every_trusted_file_has_a_row() {
    let table = read(&root().join("checker/README.md"));
    let rows = table.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()));
    let rows: BTreeSet<String> = rows.filter(|row| row.ends_with(".rs")).collect();
    let sources = ["kernel/src", "checker/src"].map(|folder| files(&root().join(folder), ".rs")).concat();
    let is_test =
        |path: &PathBuf| path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "tests");
    let name = |path: PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let found: BTreeSet<String> = sources.into_iter().filter(|path| !is_test(path)).map(name).collect();
    assert_eq!(rows, found);
}
