//! VNN-LIB 2.0, packed files, counterexamples of other tools and of binary32 numbers, and lists of instances, as a person
//! meets them.

use std::path::{Path, PathBuf};
use std::process::Command;

use secateur_testkit::programs::{Ran, run, secateur, secateur_check};
use tempfile::TempDir;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/properties").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let made = run(secateur(folder.path()).args(["keygen", "--out", "keys"]));
        assert_eq!(made.code, 0, "{made:?}");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("read")
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(secateur(self.folder.path()).arg("--quiet").args(arguments))
    }

    fn verify(&self, network: &str, property: &str, out: &str) -> Ran {
        let canonical = format!("{out}.d");
        self.run(&[
            "verify",
            network,
            property,
            "--key",
            "keys/secateur.pem",
            "--out",
            out,
            "--canonical",
            &canonical,
        ])
    }

    /// Both programs on what [`Bench::verify`] wrote; they agree on the exit code.
    fn check(&self, network: &str, property: &str, out: &str) -> Ran {
        let long = self.run(&["check", network, property, "--trust", "keys/trust.json", out]);
        let (canonical, file) = (format!("{out}.d"), format!("{out}.d/property.json"));
        let arguments = [canonical.as_str(), "--property", &file, "--trust", "keys/trust.json", out];
        let short = run(secateur_check(self.folder.path()).args(arguments));
        assert_eq!(long.code, short.code, "{long:?} {short:?}");
        long
    }
}

fn first_line(ran: &Ran) -> &str {
    ran.stdout.lines().next().unwrap_or_default()
}

/// narrow.onnx reads two inputs; `asserts` are added to the box from -1 to 1.
fn version_2(asserts: &str) -> String {
    format!(
        "; a comment
(vnnlib-version <2.0>)
(declare-network n (declare-input In float32 [1,2]) (declare-output Out float32 [1,2]))
(assert (and (<= In[0,0] 1.0) (>= In[0,0] -1.0) (<= In[0,1] 1.0) (>= In[0,1] -1.0)))
{asserts}\n"
    )
}

#[test]
fn version_2_means_what_version_1_means() {
    let bench = Bench::new();
    let unsat = "(assert (or (<= Out[0,0] -0.4370) (<= (- Out[0,0] Out[0,1]) -1.0616)))";
    for (name, asserts, word) in [
        ("unsat", unsat, "unsat"),
        ("sat", "(assert (<= Out[0,0] -0.4283))", "sat"),
        ("strict-unsat", "(assert (< Out[0,0] -0.4370))", "unsat"),
        (
            "strict-sat",
            "(assert (< Out[0,0] -0.4283)) (assert (> In[0,0] -1.0)) (assert (!= Out[0,1] 0.0))",
            "sat",
        ),
    ] {
        let (file, out) = (format!("{name}.vnnlib"), format!("{name}.cert.dsse.json"));
        bench.write(&file, &version_2(asserts));
        let found = bench.verify(&fixture("narrow.onnx"), &file, &out);
        assert_eq!((found.code, first_line(&found)), (0, word), "{name}: {found:?}");
        let checked = bench.check(&fixture("narrow.onnx"), &file, &out);
        assert_eq!((checked.code, first_line(&checked)), (0, word), "{name}: {checked:?}");
    }
    let property = |name: &str| bench.read(&format!("{name}.cert.dsse.json.d/property.json"));
    // Relaxed for unsat, tightened for sat: the step is 2^-40.
    assert!(property("strict-unsat").contains(r#""bound":"-437/1000""#), "{}", property("strict-unsat"));
    assert!(property("strict-sat").contains(r#""lower":["-1099511627775/1099511627776","-1"]"#));
    // Both cases of != are there, and what is not strict has no step.
    assert_eq!(property("strict-sat").matches("constraints").count(), 2);
    let first = bench.verify(&fixture("narrow.onnx"), &fixture("narrow-sat.vnnlib"), "first.cert.dsse.json");
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(property("first"), property("sat"));
}

/// A certificate of the relaxed property says nothing of the strict one, whichever way it is given.
#[test]
fn a_closed_counterexample_is_none_of_a_strict_property() {
    let bench = Bench::new();
    bench.write("closed.vnnlib", &version_2("(assert (<= Out[0,0] -0.4283))"));
    bench.write("strict.vnnlib", &version_2("(assert (< Out[0,0] -0.4283))"));
    let found = bench.verify(&fixture("narrow.onnx"), "closed.vnnlib", "c.cert.dsse.json");
    assert_eq!(first_line(&found), "sat", "{found:?}");
    let network = fixture("narrow.onnx");
    let checked =
        bench.run(&["check", &network, "strict.vnnlib", "--trust", "keys/trust.json", "c.cert.dsse.json"]);
    assert_eq!(checked.code, 3, "{checked:?}");
    // At one point, where the value is -0.4 exactly or not, equality is not enough: Y < Y never holds.
    bench.write("never.vnnlib", &version_2("(assert (< Out[0,0] Out[0,0]))"));
    let never = bench.run(&["verify", &network, "never.vnnlib"]);
    assert_eq!(never.code, 2, "{never:?}");
    assert!(never.stderr.contains("no input satisfies"), "{never:?}");
}

#[test]
fn several_networks_are_refused_by_name_where_one_is_asked_about() {
    let bench = Bench::new();
    let second = "(declare-network m (equal-to n) (declare-input A float32 [1,2]) (declare-output B float32 [1,2]))\n(assert";
    let text =
        version_2("(assert (== A[0,0] In[0,0])) (assert (== A[0,1] In[0,1])) (assert (< B[0,0] Out[0,0]))");
    bench.write("two.vnnlib", &text.replacen("(assert", second, 1));
    bench.write("w", "sat\nIn=1");
    let network = fixture("narrow.onnx");
    let judged = bench.run(&["check-witness", &network, "two.vnnlib", "w"]);
    assert_eq!(judged.code, 2, "{judged:?}");
    assert!(judged.stderr.contains("--network NAME=FILE"), "{judged:?}");
    // Equal inputs and one network: its outputs are equal, so that the strict comparison fails by nothing.
    bench.write("w", "In f [1,2]\n0.5\n0.25\nA f [1,2]\n0.5\n0.25\n");
    let named = format!("n={network}");
    let judged = bench.run(&["check-witness", "--network", &named, "two.vnnlib", "w"]);
    assert_eq!((judged.code, first_line(&judged)), (1, "no counterexample"), "{judged:?}");
    assert!(judged.stdout.contains("constraint 0 holds with equality, where it is strict"), "{judged:?}");
    bench.write("w", "In f [1,2]\n0.5\n0.25\nA f [1,2]\n0.5\n0.5\n");
    let judged = bench.run(&["check-witness", "--network", &named, "two.vnnlib", "w"]);
    assert!(
        judged.code == 1 && judged.stdout.contains("In[0,1] and A[0,1] differ by 2.500e-1"),
        "{judged:?}"
    );
    for (given, words) in
        [("m=x", "it is equal to another one"), ("z=x", "the property declares n, m"), ("n", "NAME=FILE")]
    {
        let refused = bench.run(&["check-witness", "--network", given, "two.vnnlib", "w"]);
        assert!(refused.code == 2 && refused.stderr.contains(words), "{refused:?}");
    }
}

fn pack(path: &Path) {
    let packed = Command::new("gzip").args(["--keep", "--force"]).arg(path).status().expect("gzip starts");
    assert!(packed.success());
}

#[test]
fn packed_files_mean_what_they_hold() {
    let bench = Bench::new();
    for name in ["narrow.onnx", "narrow-unsat.vnnlib"] {
        std::fs::copy(fixture(name), bench.path(name)).expect("copied");
        pack(&bench.path(name));
    }
    let found = bench.verify("narrow.onnx.gz", "narrow-unsat.vnnlib.gz", "p.cert.dsse.json");
    assert_eq!((found.code, first_line(&found)), (0, "unsat"), "{found:?}");
    let packed = bench.check("narrow.onnx.gz", "narrow-unsat.vnnlib.gz", "p.cert.dsse.json");
    let plain = bench.check("narrow.onnx", "narrow-unsat.vnnlib", "p.cert.dsse.json");
    assert_eq!((packed.code, plain.code), (0, 0), "{packed:?} {plain:?}");
}

#[test]
fn a_counterexample_is_judged_exactly_whoever_found_it() {
    let bench = Bench::new();
    let (network, property) = (fixture("narrow.onnx"), fixture("narrow-sat.vnnlib"));
    let found = bench.run(&["verify", &network, &property, "--float32-witness", "w"]);
    assert!(
        found.code == 0 && found.stdout.contains("binary32 counterexample in w: holds in whatever order"),
        "{found:?}"
    );
    let text = bench.read("w");
    assert!(text.starts_with("sat\n((X_0 ") && text.contains("\n(Y_1 "), "{text}");
    let judged = bench.run(&["check-witness", &network, &property, "w"]);
    assert_eq!((judged.code, first_line(&judged)), (0, "counterexample"), "{judged:?}");
    assert!(judged.stdout.contains("case 0; outputs evaluated exactly"), "{judged:?}");
    assert!(judged.stdout.contains("differ from these by at most"), "{judged:?}");
    // The same inputs, and one that leaves the box by the last digit.
    let inputs: Vec<&str> = text.lines().filter(|line| line.contains("X_")).collect();
    bench.write("outside", &format!("sat\n((X_0 1.0000000000000000000000001) {})", inputs[1]));
    let judged = bench.run(&["check-witness", &network, &property, "outside"]);
    assert_eq!((judged.code, first_line(&judged)), (1, "no counterexample"), "{judged:?}");
    assert!(judged.stdout.contains("X_0 is outside its interval by 1.000e-25"), "{judged:?}");
    assert!(judged.stdout.contains("it states no outputs"), "{judged:?}");
    // Inside the box of a property that nothing satisfies; what the file says of the outputs changes nothing.
    let lie =
        |line: &str| if line.starts_with("(Y_0 ") { "(Y_0 -9)\n".to_owned() } else { format!("{line}\n") };
    bench.write("lie", &text.lines().map(lie).collect::<String>());
    let judged = bench.run(&["check-witness", &network, &fixture("narrow-unsat.vnnlib"), "lie"]);
    assert_eq!((judged.code, first_line(&judged)), (1, "no counterexample"), "{judged:?}");
    assert!(judged.stdout.contains("constraint 0 is missed by"), "{judged:?}");
    let json = bench.run(&["--format", "json", "check-witness", &network, &property, "w"]);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((&document["result"], &document["exact"]), (&"counterexample".into(), &true.into()));
    let refused = bench.run(&["check-witness", &network, &property, "keys/trust.json"]);
    assert_eq!(refused.code, 2, "{refused:?}");
}

/// Outputs of sigmoids and tanh have no exact value: enclosures decide what they can.
#[test]
fn a_smooth_network_is_enclosed() {
    let bench = Bench::new();
    let network = fixture("smooth.onnx");
    let imported = bench.run(&["import", &network, "--head", "deterministic", "--out", "policy"]);
    assert_eq!(imported.code, 0, "{imported:?}");
    let manifest = bench.read("policy/policy.json");
    assert!(manifest.contains("tanh") || manifest.contains("sigmoid"), "{manifest}");
    let property = |bound: &str| {
        format!(
            "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)
             (assert (and (>= X_0 -1) (<= X_0 1) (>= X_1 -1) (<= X_1 1) (<= Y_0 {bound})))"
        )
    };
    bench.write("w", "((X_0 0.3)\n(X_1 -0.7))");
    bench.write("far.vnnlib", &property("1000"));
    let json = bench.run(&["--format", "json", "check-witness", &network, "far.vnnlib", "w"]);
    assert_eq!(json.code, 0, "{json:?}");
    let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(document["exact"], false);
    let ends = &document["networks"][0]["outputs"][0];
    let float = |end: &serde_json::Value| {
        let (above, below) = end.as_str().expect("text").split_once('/').expect("a fraction");
        above.parse::<f64>().expect("a number") / below.parse::<f64>().expect("a number")
    };
    let (lower, upper) = (float(&ends[0]), float(&ends[1]));
    assert!(lower < upper && upper - lower < 1e-6, "{ends}");
    for (bound, code, word) in [
        (lower - 1e-6, 1, "no counterexample"),
        (0.5 * (lower + upper), 1, "undecided"),
        (upper + 1e-6, 0, "counterexample"),
    ] {
        bench.write("near.vnnlib", &property(&format!("{bound:.17}")));
        let judged = bench.run(&["check-witness", &network, "near.vnnlib", "w"]);
        assert_eq!((judged.code, first_line(&judged)), (code, word), "{bound}: {judged:?}");
    }
}

#[test]
fn a_list_is_run_once_and_taken_up_again() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("set")).expect("a folder");
    for name in ["narrow.onnx", "narrow-sat.vnnlib", "narrow-unsat.vnnlib", "wide.onnx"] {
        std::fs::copy(fixture(name), bench.path("set").join(name)).expect("copied");
    }
    pack(&bench.path("set/narrow.onnx"));
    std::fs::remove_file(bench.path("set/narrow.onnx")).expect("removed");
    // Only narrow.onnx.gz is left; the last line has a property of other inputs.
    let lines = [
        "narrow.onnx,narrow-unsat.vnnlib,60",
        "narrow.onnx,narrow-sat.vnnlib,60",
        "wide.onnx,narrow-sat.vnnlib,60",
    ];
    bench.write("set/instances.csv", &(lines.join("\n") + "\n"));
    let arguments =
        ["vnncomp", "set/instances.csv", "--out", "r.csv", "--proofs", "p", "--key", "keys/secateur.pem"];
    let ran = bench.run(&arguments);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("error    1\nsat      1\nunsat    1\n"), "{ran:?}");
    assert!(ran.stdout.contains("does not fit the network"), "{ran:?}");
    let results = bench.read("r.csv");
    let fields: Vec<Vec<&str>> = results.lines().map(|line| line.split(',').collect()).collect();
    let words: Vec<_> = fields.iter().map(|f| (f[0], f[1], f[4], f.len())).collect();
    assert_eq!(
        words,
        [
            ("set", "narrow.onnx", "unsat", 8),
            ("set", "narrow.onnx", "sat", 8),
            ("set", "wide.onnx", "error", 8)
        ]
    );
    let size = std::fs::metadata(bench.path("p/narrow-narrow-unsat.proof.json")).expect("a proof").len();
    assert_eq!(fields[0][6], size.to_string());
    let checked = bench.run(&[
        "check",
        "set/narrow.onnx.gz",
        "set/narrow-unsat.vnnlib",
        "--trust",
        "keys/trust.json",
        "p/narrow-narrow-unsat.cert.dsse.json",
    ]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let witness = "p/narrow-narrow-sat.counterexample";
    let judged = bench.run(&["check-witness", "set/narrow.onnx.gz", "set/narrow-sat.vnnlib", witness]);
    assert_eq!(judged.code, 0, "{judged:?}");
    // Lines that are there are kept byte by byte; one that is removed is run again, and comes last.
    let kept = results.replace(",unsat,", ",unknown,");
    let without = kept
        .lines()
        .filter(|line| !line.contains(",sat,"))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    bench.write("r.csv", &without);
    let again = bench.run(&arguments);
    assert_eq!(again.code, 1, "{again:?}");
    let after = bench.read("r.csv");
    assert!(after.starts_with(&without) && after.lines().count() == 3, "{after}");
    assert!(
        after.lines().last().is_some_and(|line| line.contains("narrow-sat.vnnlib") && line.contains(",sat,"))
    );
    // No time is no answer.
    bench.write("set/instances.csv", "narrow.onnx,narrow-unsat.vnnlib,60\n");
    let hasty = bench.run(&["vnncomp", "set/instances.csv", "--out", "hasty.csv", "--timeout", "1e-9"]);
    assert!(hasty.code == 1 && bench.read("hasty.csv").contains(",timeout,"), "{hasty:?}");
    bench.write("bad.csv", "no result\n");
    let refused = bench.run(&["vnncomp", "set/instances.csv", "--out", "bad.csv"]);
    assert!(refused.code == 2 && refused.stderr.contains("bad.csv: line 1"), "{refused:?}");
    assert_eq!(bench.read("bad.csv"), "no result\n");
}

/// A Python with these modules, or nothing and a line that says so; in CI they are there.
fn python(modules: &str) -> Option<String> {
    let name = std::env::var("SECATEUR_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&name).args(["-c", &format!("import {modules}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(name);
    }
    println!("skipped: {name} has no {modules}");
    None
}

fn foreign(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(script)
}

#[test]
fn onnx_runtime_reproduces_a_binary32_counterexample() {
    let Some(python) = python("numpy, onnxruntime") else { return };
    let bench = Bench::new();
    bench.write("v2.vnnlib", &version_2("(assert (<= Out[0,0] -0.4283))"));
    bench.write("sum.vnnlib", &version_2("(assert (<= (+ (* 2 Out[0,0]) (- Out[0,1])) -1.3))"));
    bench.write(
        "smooth.vnnlib",
        "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)
         (assert (and (>= X_0 -1) (<= X_0 1) (>= X_1 -1) (<= X_1 1) (<= Y_0 Y_1)))",
    );
    let narrow = fixture("narrow-sat.vnnlib");
    for (network, property, coefficients, bound) in [
        ("narrow.onnx", narrow.as_str(), "1,0", "-0.4283"),
        ("narrow.onnx", "v2.vnnlib", "1,0", "-0.4283"),
        ("narrow.onnx", "sum.vnnlib", "2,-1", "-1.3"),
        ("smooth.onnx", "smooth.vnnlib", "1,-1", "0"),
    ] {
        let found = bench.run(&["verify", &fixture(network), property, "--float32-witness", "w", "--force"]);
        assert_eq!((found.code, first_line(&found)), (0, "sat"), "{property}: {found:?}");
        let mut check = Command::new(&python);
        check.arg(foreign("witness_check.py")).arg(fixture(network)).arg(bench.path("w"));
        let reproduced = run(check.args([coefficients, bound]));
        assert_eq!(reproduced.code, 0, "{property}: {reproduced:?} {}", bench.read("w"));
        // A bound that the point misses is noticed.
        let mut check = Command::new(&python);
        check.arg(foreign("witness_check.py")).arg(fixture(network)).arg(bench.path("w"));
        assert_ne!(run(check.args([coefficients, "-1000"])).code, 0);
    }
}

/// What the standard's parser takes is read or is refused for a limit that is written down; what it refuses is refused, but
/// for whole numbers, exponents and `=`, which are read here though its types and its grammar have no place for them.
#[test]
fn the_standards_own_parser_agrees() {
    let Some(python) = python("vnnlib") else { return };
    let bench = Bench::new();
    let network = "(declare-network n (declare-input In float32 [1,2]) (declare-output Out float32 [1,2]))";
    let pair = format!(
        "{network}(declare-network m (equal-to n) (declare-input A float32 [1,2]) (declare-output B float32 [1,2]))"
    );
    let ends = "(assert (and (<= In[0,0] 1.0) (>= In[0,0] -1.0) (<= In[0,1] 1.0) (>= In[0,1] -1.0)))";
    let same = "(assert (== A[0,0] In[0,0])) (assert (== A [0,1] In[ 0, 1 ]))";
    let version = "(vnnlib-version <2.0>)\n";
    let one = |asserts: &str| format!("{version}{network}{ends}{asserts}");
    // Text, whether the standard takes it, whether it is read here.
    let cases = [
        (one("(assert (<= Out[0,0] 0.5))"), true, true),
        (one("(assert (< Out[0,0] 0.5)) ; a comment"), true, true),
        (one("(assert (or (== Out[0,0] 0.5) (!= Out[0,1] -0.5)))"), true, true),
        (
            one("(assert (<= (+ Out[0,0] (* 2.0 Out[0,1] 3.0) (- Out[0,0]) (- 1.0 Out[0,1] 2.0)) 0.5))"),
            true,
            true,
        ),
        (one("(assert (and (or (<= Out[0,0] 0.5))))"), true, true),
        (one("(assert (<= In[0,0] In[0,1]))"), true, true),
        (format!("{version}{pair}{ends}{same}(assert (> Out[0,0] (+ B[0,0] 0.1)))"), true, true),
        (format!("{version}{}{ends}", pair.replace("equal-to", "isomorphic-to")), true, false),
        (one("(assert (<= (* Out[0,0] Out[0,1]) 0.5))"), true, false),
        (one(&format!("{network})")), false, false),
        (one("(assert (<= Out[0,0] 1))"), false, true),
        (one("(assert (<= Out[0,0] 1.0e-3))"), false, true),
        (one("(assert (= Out[0,0] 0.5))"), false, true),
        (one("(assert (<= Out[0,2] 0.5))"), false, false),
        (one("(assert (<= Out[0] 0.5))"), false, false),
        (one("(assert (<= Out 0.5))"), false, false),
        (one("(assert (<= Out[] 0.5))"), false, false),
        (one("(assert (<= Nut[0,0] 0.5))"), false, false),
        (one("(assert (<= Out[0,0] 0.5 0.7))"), false, false),
        (one("(assert (not (<= Out[0,0] 0.5)))"), false, false),
        (one("(assert (and))"), false, false),
        (format!("{network}{ends}"), false, false),
        (format!("{version}{ends}{network}"), false, false),
        (format!("{version}{}{ends}", network.replace("[1,2]", "[0]")), false, false),
        (format!("{version}{}{ends}", network.replace("Out", "In")), false, false),
        (
            format!("{version}{}{ends}", network.replace("declare-network n", "declare-network 1n")),
            false,
            false,
        ),
        (
            format!("{version}{}{ends}{same}", pair.replace("A float32 [1,2]", "A float32 [2,1]")),
            false,
            false,
        ),
        (format!("{version}{}{ends}{same}", pair.replace("equal-to n", "equal-to k")), false, false),
    ];
    let names: Vec<String> = (0..cases.len()).map(|index| format!("{index}.vnnlib")).collect();
    for (name, (text, ..)) in names.iter().zip(&cases) {
        bench.write(name, text);
    }
    let mut oracle = Command::new(&python);
    let said = run(oracle.current_dir(bench.folder.path()).arg(foreign("vnnlib_oracle.py")).args(&names));
    let said: Vec<bool> =
        said.stdout.lines().filter(|l| ["yes", "no"].contains(l)).map(|l| l == "yes").collect();
    let expected: Vec<bool> = cases.iter().map(|(_, theirs, _)| *theirs).collect();
    assert_eq!(said, expected);
    for (text, _, ours) in &cases {
        let read = secateur::property::vnnlib::parse_property_text(text);
        assert_eq!(read.is_ok(), *ours, "{text}: {read:?}");
    }
}

/// Leaves of the two cases of narrow-unsat, whose boxes are [-1, 1]^2.
fn leaves(first: &str, second: &str) -> String {
    format!(r#"{{"format": "secateur.leaves/1", "cases": [[{first}], [{second}]]}}"#)
}

#[test]
fn regions_of_another_tool_begin_a_search() {
    let bench = Bench::new();
    let (network, property) = (fixture("narrow.onnx"), fixture("narrow-unsat.vnnlib"));
    let run = |text: &str| {
        bench.write("l.json", text);
        bench.run(&["verify", &network, &property, "--leaves", "l.json"])
    };
    let quarter = |l0, u0, l1, u1| format!(r#"{{"lower": [{l0}, {l1}], "upper": [{u0}, {u1}]}}"#);
    let four =
        [quarter(-1, 0, -1, 0), quarter(0, 1, -1, 0), quarter(-1, 0, 0, 1), quarter(0, 1, 0, 1)].join(",");
    let whole = run(&leaves(&four, "{}"));
    assert_eq!((whole.code, first_line(&whole)), (0, "unsat"), "{whole:?}");
    let counted = "5 leaves given: 0 regions proved with their slopes, 0 gone on from their numbers, 5 searched anew, 0 that no leaf covers";
    assert!(whole.stdout.contains(counted), "{whole:?}");
    // A gap, an overlap, ends rounded by another tool, and a case that is left to the search.
    let gap =
        [quarter(-1, 0, -1, 1), r#"{"lower": [-0.25, -1.00000001], "upper": [0.5, 0.99999999]}"#.to_owned()];
    let gap = run(&leaves(&gap.join(","), ""));
    assert_eq!((gap.code, first_line(&gap)), (0, "unsat"), "{gap:?}");
    assert!(gap.stdout.contains(", 1 that no leaf covers"), "{gap:?}");
    // What is said to be proved and is not: the counterexample is found all the same.
    let lie = r#"{"format": "secateur.leaves/1", "cases": [[{"constraint": 0, "lower_slopes": [[], []]}]]}"#;
    bench.write("l.json", lie);
    let sat = bench.run(&["verify", &network, &fixture("narrow-sat.vnnlib"), "--leaves", "l.json"]);
    assert_eq!((sat.code, first_line(&sat)), (0, "sat"), "{sat:?}");
    for (text, words) in [
        ("{}".to_owned(), "format"),
        (leaves("", "").replace("leaves/1", "leaves/2"), "its format is neither"),
        (leaves("", "").replace("], [", ""), "1 cases, the property 2"),
        (leaves(r#"{"lower": [0]}"#, ""), "case 0, leaf 0: lower and upper have one number"),
        (leaves("", &quarter(1, -1, 0, 1)), "case 1, leaf 0: an end below"),
        (leaves(r#"{}, {"splits": [[0, 99999, 1]]}"#, ""), "case 0, leaf 1: a split is"),
        (leaves(r#"{"splits": [[0, 0, 0]]}"#, ""), "case 0, leaf 0: a split is"),
        (leaves(r#"{"constraint": 7}"#, ""), "no such constraint"),
        (leaves(r#"{"slopes": []}"#, ""), "unknown field"),
        (leaves(r#"{"lower": [0, NaN]}"#, ""), "not a file of leaves"),
    ] {
        let refused = run(&text);
        assert!(refused.code == 2 && refused.stderr.contains(words), "{text}: {words}: {refused:?}");
        assert!(refused.stderr.contains("l.json"), "{refused:?}");
    }
}

/// The proof of a network begins its own search anew: nothing is cut again, and leaves are as many as before.
#[test]
fn an_earlier_proof_begins_a_search() {
    let bench = Bench::new();
    let (network, property) = (fixture("wide.onnx"), fixture("wide-unsat.vnnlib"));
    let found = bench.verify(&network, &property, "a.cert.dsse.json");
    assert_eq!((found.code, first_line(&found)), (0, "unsat"), "{found:?}");
    let count = |name: &str, node: &str| bench.read(name).matches(&format!(r#""node":"{node}""#)).count();
    let again = bench.run(&[
        "verify",
        &network,
        &property,
        "--key",
        "keys/secateur.pem",
        "--out",
        "b.cert.dsse.json",
        "--leaves",
        "a.proof.json",
    ]);
    assert_eq!((again.code, first_line(&again)), (0, "unsat"), "{again:?}");
    let closed = count("a.proof.json", "kept");
    let counted = format!(
        "{closed} leaves given: 0 regions proved with their slopes, {closed} gone on from their numbers, 0 searched anew, 0 that"
    );
    assert!(again.stdout.contains(&counted), "{counted}: {again:?}");
    assert!(count("a.proof.json", "relu") > 0);
    // The very numbers prove it again, though nodes may be numbered in another order.
    let numbers = |name: &str| {
        let proof: serde_json::Value = serde_json::from_str(&bench.read(name)).expect("JSON");
        let nodes =
            proof["cases"].as_array().expect("cases").iter().flat_map(|c| c.as_array().expect("nodes"));
        let kept = nodes.filter(|node| node["node"] == "kept");
        let named = |node: &serde_json::Value| {
            let slopes: usize = node["slopes"].as_str().expect("a number").parse().expect("a number");
            (proof["kept"]["slopes"][slopes].to_string(), node["multipliers"].to_string())
        };
        let mut leaves: Vec<_> = kept.map(named).collect();
        leaves.sort();
        (leaves, proof["kept"]["rows"].clone())
    };
    assert_eq!(numbers("a.proof.json"), numbers("b.proof.json"));
    for node in ["relu", "input"] {
        assert_eq!(count("a.proof.json", node), count("b.proof.json", node), "{node}");
    }
    let checked =
        bench.run(&["check", &network, &property, "--trust", "keys/trust.json", "b.cert.dsse.json"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    // Cuts that are no tree, and a proof of another number of cases.
    let proof = bench.read("a.proof.json");
    bench.write("broken.json", &proof.replacen(r#""children":["1","2"]"#, r#""children":["1","1"]"#, 1));
    let broken = bench.run(&["verify", &network, &property, "--leaves", "broken.json"]);
    assert!(broken.code == 2 && broken.stderr.contains("case 0: its nodes are no tree"), "{broken:?}");
    for (from, to, said) in [
        (r#""node":"kept","slopes":"0""#, r#""node":"kept","slopes":"99""#, "case 0: its nodes are no tree"),
        (r#""kept":{"rows":["#, r#""kept":{"rows":[[],"#, "\"kept\" is not for this network's layers"),
        (r#""slopes":[["#, r#""slopes":[["h","#, "\"kept\" is not for this network's layers"),
        (r#""slopes":[["#, r#""slopes":[["0","#, "case 0: its nodes are no tree"),
    ] {
        assert!(proof.contains(from), "{from}");
        bench.write("broken.json", &proof.replacen(from, to, 1));
        let broken = bench.run(&["verify", &network, &property, "--leaves", "broken.json"]);
        assert!(broken.code == 2 && broken.stderr.contains(said), "{from} {to}: {broken:?}");
    }
    let (narrow, two) = (fixture("narrow.onnx"), fixture("narrow-unsat.vnnlib"));
    let other = bench.run(&["verify", &narrow, &two, "--leaves", "a.proof.json"]);
    assert!(other.code == 2 && other.stderr.contains("it has 1 cases, the property 2"), "{other:?}");
}

/// The exporter's archive means what it says.
#[test]
fn the_exporter_writes_what_is_read() {
    let Some(python) = python("numpy") else { return };
    let bench = Bench::new();
    let make = "import numpy as np; np.savez('b.npz', lower=[[-1, -1], [0, -1.]], upper=[[0, 1], [1, 1.]])";
    let made = run(Command::new(&python).current_dir(bench.folder.path()).args(["-c", make]));
    assert_eq!(made.code, 0, "{made:?}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/export_leaves.py");
    let exported = run(Command::new(&python)
        .current_dir(bench.folder.path())
        .arg(script)
        .args(["b.npz", "l.json", "1", "2"]));
    assert_eq!(exported.code, 0, "{exported:?}");
    let found = bench.run(&[
        "verify",
        &fixture("narrow.onnx"),
        &fixture("narrow-unsat.vnnlib"),
        "--leaves",
        "l.json",
    ]);
    assert_eq!((found.code, first_line(&found)), (0, "unsat"), "{found:?}");
    assert!(
        found.stdout.contains(
            "2 leaves given: 0 regions proved with their slopes, 0 gone on from their numbers, 2 searched"
        ),
        "{found:?}"
    );
}

/// Slopes of 0 and of 1 are not the default ones, so that numbers move; what is given twice gives the same.
#[test]
fn slopes_of_another_tool_are_certified() {
    let Some(python) = python("numpy") else { return };
    let bench = Bench::new();
    let imported = bench.run(&["import", &fixture("narrow.onnx"), "--head", "deterministic", "--out", "p"]);
    assert_eq!(imported.code, 0, "{imported:?}");
    let manifest: serde_json::Value = serde_json::from_str(&bench.read("p/policy.json")).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers").len();
    let last = layers - 1;
    let make = format!(
        "import json, numpy as np
from safetensors.numpy import load_file
import sys
t = load_file('p/policy.safetensors'); m = json.load(open('p/policy.json'))
w = [t[l['weight']].shape[0] for l in m['layers']]
np.save('states.npy', np.array([[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]], np.float32))
for name, value in (('zero', 0.0), ('one', 1.0)):
    np.savez(name + '.npz', **{{f'slopes.0.{last}.{{l}}': np.full((3, 2, w[{last}], w[l]), value) for l in range({last})}})
np.savez('shape.npz', **{{'slopes.0.{last}.0': np.zeros((2, 2, w[{last}], w[0]))}})
np.savez('place.npz', **{{'slopes.1.{last}.0': np.zeros((3, 2, w[{last}], w[0]))}})
np.savez('name.npz', **{{'alpha': np.zeros(3)}})
np.savez('nan.npz', **{{'slopes.0.{last}.0': np.full((3, 2, w[{last}], w[0]), np.nan)}})"
    );
    let made = run(Command::new(&python).current_dir(bench.folder.path()).args(["-c", &make]));
    if made.stderr.contains("No module named 'safetensors'") {
        println!("skipped: {python} has no safetensors");
        return;
    }
    assert_eq!(made.code, 0, "{made:?}");
    let certify = |from: Option<&str>, family: &str, out: &str| {
        let mut arguments = vec![
            "certify",
            "p",
            "--states",
            "states.npy",
            "--epsilon",
            "0.2",
            "--key",
            "keys/secateur.pem",
            "--out",
            out,
            "--no-counterexample",
            "--family",
            family,
        ];
        arguments.extend(from.into_iter().flat_map(|from| ["--witness-from", from]));
        bench.run(&arguments)
    };
    let mut shown = Vec::new();
    for (from, out) in
        [(None, "own"), (Some("zero.npz"), "zero"), (Some("one.npz"), "one"), (Some("one.npz"), "again")]
    {
        let file = format!("{out}.cert.dsse.json");
        let made = certify(from, "crown-optimised", &file);
        assert_eq!(made.code, 0, "{made:?}");
        let checked =
            bench.run(&["check", "p", "--states", "states.npy", "--trust", "keys/trust.json", &file]);
        assert_eq!(checked.code, 0, "{checked:?}");
        let snapshot = bench.run(&["--format", "snapshot", "show", &file]);
        assert_eq!(snapshot.code, 0, "{snapshot:?}");
        let lines = snapshot.stdout.lines().filter(|line| line.contains("crown-optimised"));
        shown.push(lines.map(str::to_owned).collect::<Vec<_>>());
    }
    assert!(!shown[0].is_empty());
    assert!(shown[0] != shown[1] && shown[1] != shown[2] && shown[2] == shown[3], "{shown:?}");
    for (from, family, words) in [
        ("zero.npz", "crown", "its slopes are of family crown-optimised"),
        ("shape.npz", "crown-optimised", "has shape [2, 2"),
        ("place.npz", "crown-optimised", "mask, target or layer that is not there"),
        ("name.npz", "crown-optimised", "the array alpha means nothing here"),
        ("nan.npz", "crown-optimised", "not finite"),
        ("states.npy", "crown-optimised", "states.npy"),
    ] {
        let refused = certify(Some(from), family, "no.cert.dsse.json");
        assert!(refused.code == 2 && refused.stderr.contains(words), "{from}: {refused:?}");
    }
}

/// The 324 properties of pairs of networks in `../shared/vnncomp/pairs`, all of one form; skipped where they are not there.
#[test]
fn properties_of_pairs_share_their_inputs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vnncomp/pairs/vnnlib");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    let mut read = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("read");
        let asked = secateur::property::vnnlib::version2::parse_several(&text).expect("a property");
        let names: Vec<_> = asked.networks.iter().map(|n| (n.name.as_str(), n.reads.clone())).collect();
        assert_eq!(names, [("f", vec![0, 1, 2, 3, 4]), ("g", vec![0, 1, 2, 3, 4])], "{}", path.display());
        assert_eq!((asked.variables.len(), asked.cases.len(), asked.outputs()), (5, 10, 10));
        assert!(asked.is_strict() && !asked.constrains_variables() && asked.single().is_none());
        read += 1;
    }
    assert!(read > 0);
}
