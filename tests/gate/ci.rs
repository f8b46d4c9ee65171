//! The shell steps of `action.yml`, `docs/gitlab-gate.yml` and `.pre-commit-hooks.yaml`, run as CI services run them.

use std::path::{Path, PathBuf};
use std::process::Command;

use secateur_testkit::programs::{Ran, run, secateur};

use super::support::{Gated, TWO, gated};

const KEPT: &str = "[[rule]]\nid = \"r\"\nmax-sparsity = \"1\"\n";
const BROKEN: &str = "[[rule]]\nid = \"r\"\nquantity = \"total-variation\"\nmax = \"0\"\n";

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The block of text that a line ending in `: |` or `- |` begins: every line that is indented further.
fn block(text: &str, begin: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.trim() != begin);
    let first = lines.next().unwrap_or_else(|| panic!("no line {begin}"));
    let indent = |line: &str| line.len() - line.trim_start().len();
    let inner: Vec<&str> =
        lines.take_while(|line| line.trim().is_empty() || indent(line) > indent(first)).collect();
    let least = inner.iter().filter(|l| !l.trim().is_empty()).map(|l| indent(l)).min().expect("a script");
    inner.iter().map(|line| line.get(least..).unwrap_or_default().to_owned() + "\n").collect()
}

/// The program as the tests run it.
fn program(gated: &Gated) -> PathBuf {
    PathBuf::from(secateur(gated.root()).get_program())
}

/// The search path with the program's folder first.
fn path_with(gated: &Gated) -> std::ffi::OsString {
    let folder = program(gated).parent().expect("a folder").to_owned();
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&rest))).expect("a path")
}

fn action(gated: &Gated, variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new("bash");
    // As the runner starts a step whose shell is bash.
    command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &block(&file("action.yml"), "run: |")]);
    command
        .current_dir(gated.root())
        .env("GATE_FILE", "secateur.toml")
        .env("GATE_BASELINE_REV", "")
        .env("GATE_BIND", "");
    command.env("GATE_PROGRAM", program(gated)).env("RUNNER_TEMP", gated.root()).env("CI", "true");
    command.env("GITHUB_OUTPUT", gated.path("output")).env("GITHUB_STEP_SUMMARY", gated.path("summary"));
    command.envs(variables.iter().copied());
    run(&mut command)
}

fn output(gated: &Gated, key: &str) -> String {
    let text = std::fs::read_to_string(gated.path("output")).expect("GITHUB_OUTPUT");
    let line = text.lines().rev().find_map(|line| line.strip_prefix(&format!("{key}=")));
    line.expect(key).to_owned()
}

#[test]
fn the_action_decides_and_leaves_its_reports() {
    let gated = gated(&TWO);
    gated.write(KEPT);
    let line = ["export", "policy", "--masks", "masks", "--mask", "1", "--to", "m 1.onnx"];
    assert_eq!(run(secateur(gated.root()).args(line)).code, 0);
    let ran = action(&gated, &[("GATE_BIND", "m 1.onnx\n1=m 1.onnx\n")]);
    assert_eq!((ran.code, output(&gated, "exit-code").as_str()), (0, "0"), "{ran:?}");
    gated.write(BROKEN);
    let ran = action(&gated, &[]);
    assert_eq!((ran.code, output(&gated, "exit-code").as_str()), (1, "1"), "{ran:?}");
    assert!(ran.stdout.contains("::error file=secateur.toml,line=18,title=p/r (above-limit)::"), "{ran:?}");
    let reports = PathBuf::from(output(&gated, "reports"));
    for name in ["gate.json", "gate.sarif", "gate.xml", "gate.md"] {
        assert!(reports.join(name).is_file(), "{name}");
    }
    assert!(std::fs::read_to_string(gated.path("summary")).expect("a summary").contains("### gate failed"));
}

/// What an input says is never a command, and never an option.
#[test]
fn inputs_of_the_action_are_data() {
    let gated = gated(&TWO);
    gated.write(KEPT);
    for (name, value) in [
        ("GATE_BIND", "$(touch owned)"),
        ("GATE_BIND", "--force"),
        ("GATE_BASELINE_REV", "\"; touch owned; \""),
        ("GATE_BASELINE_REV", "--output=owned"),
        ("GATE_FILE", "`touch owned`"),
    ] {
        let ran = action(&gated, &[(name, value)]);
        assert!(!gated.path("owned").exists(), "{name} {value}");
        // A revision is only read where a rule compares with a baseline.
        let wanted = if name == "GATE_BASELINE_REV" { 0 } else { 2 };
        assert_eq!(ran.code, wanted, "{name} {value}: {ran:?}");
    }
    // Every interpolation of the file stands in `env:` or `outputs:`, none in a script.
    assert!(!block(&file("action.yml"), "run: |").contains("${{"));
}

#[test]
fn the_gitlab_job_decides_and_leaves_its_reports() {
    let gated = gated(&TWO);
    let script = block(&file("docs/gitlab-gate.yml"), "- |");
    let job = || {
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(gated.root()).env("PATH", path_with(&gated));
        command
            .env("GATE_FILE", "secateur.toml")
            .env("CI", "true")
            .env_remove("CI_MERGE_REQUEST_DIFF_BASE_SHA");
        run(&mut command)
    };
    gated.write(KEPT);
    assert_eq!(job().code, 0);
    gated.write(BROKEN);
    let ran = job();
    assert_eq!(ran.code, 1, "{ran:?}");
    for name in ["gate-code-quality.json", "gate-junit.xml"] {
        assert!(file("docs/gitlab-gate.yml").contains(name));
        assert!(std::fs::read_to_string(gated.path(name)).expect(name).contains("above-limit"), "{name}");
    }
}

#[test]
fn the_hook_decides() {
    let gated = gated(&TWO);
    let text = file(".pre-commit-hooks.yaml");
    let entry = text.lines().find_map(|line| line.trim().strip_prefix("entry: ")).expect("an entry");
    let hook = || {
        let mut words = entry.split_whitespace();
        assert_eq!(words.next(), Some("secateur"));
        run(Command::new("secateur").args(words).current_dir(gated.root()).env("PATH", path_with(&gated)))
    };
    gated.write(KEPT);
    assert_eq!(hook().code, 0);
    gated.write(BROKEN);
    assert_eq!(hook().code, 1);
}
