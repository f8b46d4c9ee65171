//! A gated policy in a temporary folder, and its `secateur.toml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use secateur::gate::about::About;
use secateur_checker::family::Family;
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::digest::sha256_hex;
use secateur_testkit::problem::{Problem, Spec, WITNESS, certify_with, key, linf, write_trust};
use secateur_testkit::programs::{Ran, run, secateur};
use serde_json::Value;
use tempfile::TempDir;

/// Families of most tests: one for all states, one for each state.
pub const TWO: [Family; 2] = [Family::Sensitivity, Family::Ibp];

pub struct Gated {
    pub folder: TempDir,
    pub problem: Problem,
}

/// A policy with three masks and two states, certified without bounds from below.
pub fn gated(families: &[Family]) -> Gated {
    gated_by(&Spec::small(1), families, false)
}

pub fn gated_by(spec: &Spec, families: &[Family], counterexample: bool) -> Gated {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), spec);
    let certified =
        certify_with(folder.path(), families, &linf("1/20"), &key(1), counterexample).expect("certified");
    certified.write(&problem.certificate_file(), WITNESS).expect("written");
    write_trust(folder.path(), &key(1));
    Gated { folder, problem }
}

impl Gated {
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn certificate(&self) -> Certificate {
        self.problem.read_certificate()
    }

    /// What `sha256sum` says of the certificate.
    pub fn certificate_sha256(&self) -> String {
        sha256_hex(&std::fs::read(self.problem.certificate_file()).expect("read"))
    }

    /// Writes `secateur.toml` with the policy and these rules.
    pub fn write(&self, rules: &str) {
        std::fs::write(self.path("secateur.toml"), format!("{}{rules}", self.head())).expect("written");
    }

    /// `secateur.toml` up to its rules.
    pub fn head(&self) -> String {
        let about = toml_about(&About::of(&self.certificate()));
        format!(
            "schema = \"secateur.gate/1\"\n[[policy]]\nname = \"p\"\ndirectory = \"policy\"\nmasks = \"masks\"\n\
             states = \"states.npy\"\ncertificate = \"c.cert.dsse.json\"\ntrust = \"trust.json\"\n[policy.about]\n{about}\n"
        )
    }

    pub fn gate(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    /// As [`Gated::gate`], not started yet.
    pub fn command(&self, arguments: &[&str]) -> &mut Command {
        let mut command = secateur(self.root());
        command.args(["--quiet", "gate"]).args(arguments);
        Box::leak(Box::new(command))
    }

    /// The JSON report and the exit code.
    pub fn report(&self, arguments: &[&str]) -> (Value, i32) {
        let mut all = vec!["--output", "json"];
        all.extend(arguments);
        let ran = self.gate(&all);
        let document = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
        (document, ran.code)
    }

    /// Codes of the findings that are not excused, and the exit code.
    pub fn codes(&self, rules: &str, arguments: &[&str]) -> (Vec<String>, i32) {
        self.write(rules);
        let (report, code) = self.report(arguments);
        (codes(&report), code)
    }
}

pub fn toml_about(about: &About) -> String {
    toml::to_string(about).expect("TOML")
}

/// Codes of the findings that are not excused, each once, in their order.
pub fn codes(report: &Value) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for finding in findings(report) {
        let code = finding["code"].as_str().expect("a code").to_owned();
        if finding["excepted"].is_null() && !found.contains(&code) {
            found.push(code);
        }
    }
    found
}

pub fn findings(report: &Value) -> Vec<Value> {
    let tests = report["tests"].as_array().expect("tests");
    tests.iter().flat_map(|t| t["findings"].as_array().expect("findings").clone()).collect()
}

/// A Python with these modules, or a line that says what is skipped.
pub fn python(modules: &str) -> Option<String> {
    let name = std::env::var("SECATEUR_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&name).args(["-c", &format!("import {modules}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(name);
    }
    println!("skipped: {name} has no {modules}");
    None
}
