//! Every rule, kept and broken; what is wrong with `secateur.toml`; which exit code wins.

use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::Certificate;
use secateur_testkit::decimal::nudged;
use secateur_testkit::problem::{Spec, key};

use super::support::{Gated, TWO, codes, findings, gated, gated_by};

fn rule(text: &str) -> String {
    format!("[[rule]]\nid = \"r\"\n{text}\n")
}

/// By state the least claim of any family, then the largest over states: by loops over what the certificate says.
fn largest(certificate: &Certificate, quantity: &str, mask: usize) -> (Rational, usize) {
    let claims: Vec<_> =
        certificate.claims.iter().filter(|c| c.quantity == quantity && c.mask == mask).collect();
    let at = |state: usize| {
        let outputs: std::collections::BTreeSet<Option<usize>> = claims.iter().map(|c| c.output).collect();
        let least = |output: Option<usize>| {
            let values = claims.iter().filter(|c| c.output == output).map(|c| {
                let text = if c.values.len() == 1 { &c.values[0] } else { &c.values[state] };
                Rational::parse(text).expect("a number")
            });
            values.min().expect("a claim")
        };
        outputs.into_iter().map(least).max().expect("an output")
    };
    let values: Vec<Rational> = (0..certificate.states).map(at).collect();
    let most = values.iter().max().expect("a state").clone();
    let state = values.iter().position(|v| *v == most).expect("it");
    (most, state)
}

/// A limit is kept by the number itself and broken by one unit less in the twelfth digit, for every quantity and mask.
#[test]
fn limits_are_exact() {
    let gated = gated(&TWO);
    let certificate = gated.certificate();
    for quantity in ["total-variation", "action-deviation", "kl-divergence"] {
        for mask in [0, 2] {
            let (most, state) = largest(&certificate, quantity, mask);
            let text = claim_decimal(&most, Rounding::Up);
            let with =
                |max: &str| rule(&format!("quantity = \"{quantity}\"\nmask = {mask}\nmax = \"{max}\""));
            assert_eq!(gated.codes(&with(&text), &[]), (vec![], 0), "{quantity} {mask}");
            gated.write(&with(&nudged(&text, -1)));
            let (report, code) = gated.report(&[]);
            assert_eq!((codes(&report), code), (vec!["above-limit".to_owned()], 1), "{quantity} {mask}");
            let found = &findings(&report)[0];
            assert_eq!(found["have"]["exact"], most.to_string());
            assert_eq!((&found["mask"], &found["state"]), (&mask.into(), &state.into()));
            assert_eq!(found["line"], 18, "the line of the rule's id");
        }
    }
}

/// The best number is never above a family's own, and a family that is not claimed is no number at all.
#[test]
fn families_are_named_or_the_best_counts() {
    let gated = gated(&TWO);
    let with = |family: &str, max: &str| {
        rule(&format!("quantity = \"action-deviation\"\nmask = 1\nfamily = \"{family}\"\nmax = \"{max}\""))
    };
    let (best, _) = largest(&gated.certificate(), "action-deviation", 1);
    let best = claim_decimal(&best, Rounding::Up);
    assert_eq!(gated.codes(&with("best", &best), &[]).1, 0);
    let (found, code) = gated.codes(&with("sensitivity", &best), &[]);
    assert_eq!((found, code), (vec!["above-limit".to_owned()], 1), "ibp is the better one here");
    assert_eq!(gated.codes(&with("crown", "100"), &[]), (vec!["not-claimed".to_owned()], 1));
    let one = rule("quantity = \"same-action-margin\"\nmin = \"0\"");
    assert_eq!(gated.codes(&one, &[]), (vec!["not-claimed".to_owned()], 1), "a Gaussian has no margins");
}

#[test]
fn margins_are_bounded_from_below() {
    let spec = Spec { gaussian: false, ..Spec::small(1) };
    let gated = gated_by(&spec, &TWO, false);
    let with = |min: &str| rule(&format!("quantity = \"same-action-margin\"\nmin = \"{min}\""));
    assert_eq!(gated.codes(&with("-1000"), &[]), (vec![], 0));
    assert_eq!(gated.codes(&with("1000"), &[]), (vec!["below-limit".to_owned()], 1));
    gated.write(&rule("quantity = \"same-action-margin\"\nmax = \"1\""));
    let ran = gated.gate(&[]);
    assert!(ran.code == 2 && ran.stderr.contains("bounded by min"), "{ran:?}");
}

/// An output that is left out of a table is no small bound: nothing is decided on the others.
#[test]
fn a_missing_output_is_not_claimed() {
    let gated = gated(&[Family::Ibp]);
    gated.problem.resign(&key(1), |c| c.claims.retain(|claim| claim.output != Some(1)));
    let with = rule("quantity = \"action-deviation\"\nmax = \"1000\"");
    assert_eq!(gated.codes(&with, &[]), (vec!["not-claimed".to_owned()], 1));
    assert_eq!(gated.codes(&rule("quantity = \"total-variation\"\nmax = \"1\""), &[]), (vec![], 0));
}

#[test]
fn claims_about_something_else_are_not_compared() {
    let gated = gated(&TWO);
    let good = gated.head() + &rule("quantity = \"total-variation\"\nmax = \"0\"");
    let digest =
        good.split("states = \"").last().and_then(|rest| rest.get(..64)).expect("a digest").to_owned();
    for (from, to, code) in [
        ("radius = \"1/20\"", "radius = \"1/10\"", "other-adversary"),
        ("shape = \"linf\"", "shape = \"l2\"", "other-adversary"),
        ("\nunits = \"normalised\"", "\nunits = \"raw\"", "other-adversary"),
        (digest.as_str(), &"0".repeat(64), "other-states"),
        ("state-count = 2", "state-count = 1", "other-states"),
        ("state-units = \"normalised\"", "state-units = \"raw\"", "other-states"),
    ] {
        assert!(good.contains(from), "{from} in {good}");
        std::fs::write(gated.path("secateur.toml"), good.replace(from, to)).expect("written");
        let (report, exit) = gated.report(&[]);
        assert_eq!((codes(&report), exit), (vec![code.to_owned()], 1), "{to}");
    }
    // 0.05 is 1/20: numbers are compared, not their spelling.
    std::fs::write(gated.path("secateur.toml"), good.replace("1/20", "0.050")).expect("written");
    assert_eq!(codes(&gated.report(&[]).0), ["above-limit"]);
    // A rule's own `about` counts for it.
    let own = "about = { shape = \"linf\", radius = \"1\", units = \"raw\", states = \"".to_owned()
        + &digest
        + "\", state-count = 2, state-units = \"normalised\" }";
    let with = rule(&format!("quantity = \"total-variation\"\nmax = \"1\"\n{own}"));
    assert_eq!(gated.codes(&with, &[]), (vec!["other-adversary".to_owned()], 1));
}

#[test]
fn signers_sources_versions_and_sparsities() {
    let gated = gated(&TWO);
    let keyid = key(1).public().expect("a key").keyid();
    let digest = "0".repeat(64);
    for (text, wanted, code) in [
        ("signers = [\"tests\"]".to_owned(), "", 0),
        (format!("signers = [\"{keyid}\", \"tests\"]"), "", 0),
        ("signers = [\"tests\", \"somebody\"]".to_owned(), "signer-missing", 3),
        (format!("source-digest = [\"{digest}\"]"), "other-source", 1),
        ("checker-version = \"1.0.9\"".to_owned(), "", 0),
        ("checker-version = \"99\"".to_owned(), "checker-too-old", 1),
        ("max-sparsity = \"1\"".to_owned(), "", 0),
        ("max-sparsity = \"0\"\nmask = 0".to_owned(), "", 0),
        ("max-sparsity = \"0.1\"".to_owned(), "too-sparse", 1),
        ("max-sparsity = \"1\"\nmask = [0, 7]".to_owned(), "no-mask", 1),
    ] {
        let (found, exit) = gated.codes(&rule(&text), &[]);
        assert_eq!((found.join(" "), exit), (wanted.to_owned(), code), "{text}");
    }
}

/// Harm that was not looked for is not harm that is absent.
#[test]
fn harm_needs_evidence() {
    let gated = gated(&TWO);
    assert_eq!(gated.codes(&rule("no-proved-harm = true"), &[]), (vec!["no-harm-evidence".to_owned()], 1));
    assert_eq!(
        gated.codes(&rule("no-proved-harm = true\nmask = 0"), &[]),
        (vec![], 0),
        "mask 0 comes of no step"
    );
    assert_eq!(gated.codes(&rule("no-loosened = [\"crown\"]"), &[]), (vec!["not-claimed".to_owned()], 1));
    assert_eq!(gated.codes(&rule("no-loosened = [\"sensitivity\"]"), &[]), (vec![], 0), "never, by theorem");
    let looked = gated_by(&Spec::small(1), &TWO, true);
    let (found, exit) = looked.codes(&rule("no-proved-harm = true\nno-loosened = [\"ibp\"]"), &[]);
    let certificate = looked.certificate();
    let hurt = certificate.brackets.iter().any(|b| b.at.is_some());
    let rose = certificate.verdicts.iter().any(|v| v.family == "ibp" && v.verdict == "loosened");
    let wanted = [("proved-harm", hurt), ("loosened", rose)];
    let wanted: Vec<String> =
        wanted.iter().filter(|(_, is)| *is).map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!((found, exit), (wanted.clone(), i32::from(!wanted.is_empty())));
}

fn refused(gated: &Gated, text: &str, words: &[&str]) {
    std::fs::write(gated.path("secateur.toml"), text).expect("written");
    let ran = gated.gate(&[]);
    assert_eq!(ran.code, 2, "{text}: {ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is not in {ran:?}");
    }
}

/// Unknown keys and words name the nearest known one and the line.
#[test]
fn what_is_not_known_is_refused() {
    let gated = gated(&TWO);
    let head = gated.head();
    let with = |text: &str| head.clone() + &rule(text);
    refused(
        &gated,
        &with("quantity = \"total-variation\"\nmaxx = \"1\""),
        &["maxx", "did you mean max?", "line 2"],
    );
    refused(&gated, &with("no-proved-harms = true"), &["did you mean no-proved-harm?"]);
    refused(&gated, &head.replace("directory", "directroy"), &["did you mean directory?"]);
    refused(&gated, &with("quantity = \"total-variaton\"\nmax = \"1\""), &["did you mean total-variation?"]);
    refused(
        &gated,
        &with("quantity = \"total-variation\"\nfamily = \"ipb\"\nmax = \"1\""),
        &["did you mean ibp?"],
    );
    refused(&gated, &with("quantity = \"total-variation\"\nmax = 0.5"), &["in quotes"]);
    refused(&gated, &with("quantity = \"total-variation\"\nmax = \"half\""), &["max \"half\""]);
    refused(&gated, &with("quantity = \"total-variation\""), &["needs max"]);
    refused(&gated, &with("mask = 1"), &["demands nothing"]);
    refused(&gated, &with("policy = \"q\"\nmax-sparsity = \"1\""), &["policy \"q\" is not known"]);
    refused(
        &gated,
        &(with("max-sparsity = \"1\"") + &rule("max-sparsity = \"1\"")),
        &["name r is there twice"],
    );
    refused(&gated, &head, &["no [[rule]]"]);
    refused(&gated, &with("max-sparsity = \"1\"").replace("gate/1", "gate/2"), &["secateur.gate/1"]);
    refused(
        &gated,
        &with("max-sparsity = \"1\"").replace("trust = \"trust.json\"\n", ""),
        &["unsigned = true"],
    );
    let bare = head.split("[policy.about]").next().expect("its head").to_owned();
    refused(&gated, &(bare + &rule("quantity = \"total-variation\"\nmax = \"1\"")), &["say what the claims"]);
    let marks = "\u{1b}[2J\u{202e}";
    let ran = {
        std::fs::write(gated.path("secateur.toml"), format!("{head}[[rule]]\n\"{marks}\" = 1\nid = \"r\"\n"))
            .expect("written");
        gated.gate(&[])
    };
    assert!(ran.code == 2 && !ran.stderr.contains(['\u{1b}', '\u{202e}']), "{ran:?}");
    let named = with("max-sparsity = \"1\"").replace("id = \"r\"", "id = \"::error\"");
    refused(&gated, &named, &["letters, digits"]);
}

/// Examples fit a terminal of 80 columns.
#[test]
fn help_shows_examples() {
    let gated = gated(&TWO);
    let export = secateur_testkit::programs::run(
        secateur_testkit::programs::secateur(gated.root()).args(["export", "--help"]),
    );
    for ran in [gated.gate(&["--help"]), gated.gate(&["accept", "--help"]), export] {
        let (_, examples) = ran.stdout.split_once("Example").unwrap_or_else(|| panic!("{ran:?}"));
        assert!(examples.lines().all(|line| line.chars().count() <= 80), "{examples}");
    }
}

/// A certificate that is not accepted fails every rule of its policy, with its own exit code.
#[test]
fn evidence_that_is_rejected_decides_nothing() {
    let gated = gated(&TWO);
    let with = rule("max-sparsity = \"1\"");
    gated.problem.resign(&key(2), |_| {});
    let (found, exit) = gated.codes(&with, &[]);
    assert_eq!((found, exit), (vec!["rejected".to_owned()], 3));
    let (report, _) = gated.report(&[]);
    assert_eq!(report["tests"][1]["result"], "failed", "the rule was not decided");
    gated.problem.resign(&key(1), |c| c.claims[0].values[0] = "0".to_owned());
    assert_eq!(gated.codes(&with, &[]), (vec!["rejected".to_owned()], 3), "a claim that is not true");
    gated.problem.certify_to_disk(&TWO, &key(1));
    assert_eq!(gated.codes(&with, &[]), (vec![], 0));
    std::fs::remove_file(gated.path("states.npy")).expect("removed");
    assert_eq!(gated.codes(&with, &[]), (vec!["unreadable".to_owned()], 2));
}

/// Of a broken rule and a file that is not the certified policy, the worse decides the exit code.
#[test]
fn the_worst_exit_code_wins() {
    let gated = gated(&TWO);
    let broken = rule("quantity = \"total-variation\"\nmax = \"0\"");
    std::fs::write(gated.path("x.onnx"), b"nothing").expect("written");
    let (found, exit) = gated.codes(&broken, &["--bind", "x.onnx"]);
    assert_eq!((found, exit), (vec!["bind-unreadable".to_owned(), "above-limit".to_owned()], 2));
    let signed = broken + "[[rule]]\nid = \"s\"\nsigners = [\"nobody\"]\n";
    assert_eq!(gated.codes(&signed, &["--bind", "x.onnx"]).1, 3);
}

/// An exception excuses its rule for its certificate until its day, and fails the gate otherwise.
#[test]
fn exceptions_end() {
    let gated = gated(&TWO);
    let sha256 = gated.certificate_sha256();
    let with = |rule_id: &str, certificate: &str, expires: &str| {
        rule("quantity = \"total-variation\"\nmax = \"0\"")
            + "[[rule]]\nid = \"kept\"\nmax-sparsity = \"1\"\n"
            + &format!(
                "[[exception]]\nrule = \"{rule_id}\"\ncertificate = \"{certificate}\"\nreason = \"known\"\n\
                 expires = \"{expires}\"\n"
            )
    };
    let other = "1".repeat(64);
    for (rule_id, certificate, expires, today, wanted, exit) in [
        ("r", sha256.as_str(), "2026-12-31", "2026-11-29", "", 0),
        ("r", &sha256, "2026-12-31", "2026-12-31", "", 0),
        ("r", &sha256, "2026-12-31", "2027-01-01", "above-limit exception-expired", 1),
        ("r", &sha256, "2027-05-28", "2026-11-29", "", 0),
        ("r", &sha256, "2027-05-29", "2026-11-29", "above-limit exception-too-long", 1),
        ("r", &other, "2026-12-31", "2026-11-29", "above-limit exception-unused", 1),
        ("kept", &sha256, "2026-12-31", "2026-11-29", "above-limit exception-unused", 1),
    ] {
        let (found, code) = gated.codes(&with(rule_id, certificate, expires), &["--today", today]);
        assert_eq!((found.join(" "), code), (wanted.to_owned(), exit), "{rule_id} {expires} {today}");
    }
    gated.write(&with("r", &sha256, "2026-12-31"));
    let (report, _) = gated.report(&["--today", "2026-11-29"]);
    assert_eq!((&report["result"], &report["tests"][1]["result"]), (&"warned".into(), &"warned".into()));
    gated.write(&with("nothing", &sha256, "2026-12-31"));
    assert_eq!(gated.gate(&[]).code, 2);
    gated.write(&with("r", &sha256, "2026-02-30"));
    assert_eq!(gated.gate(&[]).code, 2);
    // Evidence that is rejected is never excused.
    gated.write(&with("r", &sha256, "2026-12-31"));
    std::fs::write(gated.path("trust.json"), secateur_testkit_trust(9)).expect("written");
    let (report, code) = gated.report(&["--today", "2026-11-29"]);
    assert_eq!((codes(&report), code), (vec!["rejected".to_owned(), "exception-unused".to_owned()], 3));
}

fn secateur_testkit_trust(byte: u8) -> String {
    let pem = secateur::certify::keys::public_pem(&key(byte).public().expect("a key"));
    secateur::certify::keys::trust_file("other", &pem)
}
