//! Rules about the certified radius: larger is better, against a limit and against what was accepted.

use secateur::certify::radius::{RadiusGoal, RadiusRequest};
use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::radii::spread;
use secateur_testkit::problem::{Problem, Spec, WITNESS, certify_radii, key, linf, write_trust};

use super::support::{Gated, codes, findings};

/// Certified with the radii of a deviation and of a total variation by two families.
fn gated() -> Gated {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec { states: 3, ..Spec::small(1) });
    let goals = ["deviation=0.1", "tv=1/5"].map(|text| RadiusGoal::parse(text).expect(text)).to_vec();
    let families = vec![Family::Ibp, Family::Crown];
    let radii = RadiusRequest { goals, families, ..RadiusRequest::default() };
    let certified = certify_radii(folder.path(), &[Family::Sensitivity], &linf("1/20"), &key(1), &radii);
    certified.expect("certified").write(&problem.certificate_file(), WITNESS).expect("written");
    write_trust(folder.path(), &key(1));
    Gated { folder, problem }
}

fn rule(radius: &str) -> String {
    format!("[[rule]]\nid = \"r\"\nradius = {{ {radius} }}\n")
}

/// Least, median and mean of the entry for a deviation under a mask.
fn numbers(gated: &Gated, family: &str, mask: usize) -> [Rational; 3] {
    let certificate = gated.certificate();
    let found = certificate
        .radius
        .iter()
        .find(|claim| claim.family == family && claim.mask == mask && claim.quantity == "action-deviation");
    let spread = spread(found.expect("claimed")).expect("states");
    [spread.least, spread.median, spread.mean]
}

/// The number itself is enough, one unit more in its last digit is not; the smallest over the masks decides.
#[test]
fn a_radius_is_at_least_the_limit() {
    let gated = gated();
    let mask = |mask: usize| format!("mask = {mask}\n");
    for (at, word) in ["least", "median", "mean"].into_iter().enumerate() {
        let have = numbers(&gated, "crown", 1)[at].clone();
        let text = have.to_string();
        let above = have.add(&Rational::parse("1e-9").expect("a number")).to_string();
        let with = |min: &str| {
            let radius =
                format!("for = \"deviation=1/10\", family = \"crown\", at = \"{word}\", min = \"{min}\"");
            format!("{}{}", rule(&radius), mask(1))
        };
        assert_eq!(gated.codes(&with(&text), &[]), (vec![], 0), "{word}");
        assert_eq!(gated.codes(&with(&above), &[]), (vec!["below-limit".to_owned()], 1), "{word}");
        let found = &findings(&gated.report(&[]).0)[0];
        assert_eq!((&found["have"]["exact"], &found["mask"]), (&text.clone().into(), &1.into()));
        assert_eq!(found["have"]["decimal"], claim_decimal(&have, Rounding::Down));
        assert_eq!(found["state"].is_null(), word != "least");
    }
    let least = (0..3).map(|mask| numbers(&gated, "crown", mask)[0].clone()).min().expect("masks");
    let all = |min: &Rational| rule(&format!("for = \"deviation=0.1\", min = \"{min}\""));
    assert_eq!(
        gated.codes(&all(&least), &[]),
        (vec![], 0),
        "the best of both families is crown's here or better"
    );
    let passed = gated.gate(&[]);
    assert!(passed.stdout.contains("least radius of deviation=1/10 by best at least"), "{passed:?}");
}

#[test]
fn what_is_not_claimed_is_no_radius() {
    let gated = gated();
    let missing = |radius: &str| gated.codes(&rule(&format!("{radius}, min = \"0\"")), &[]);
    assert_eq!(missing("for = \"deviation=0.1\""), (vec![], 0));
    for radius in [
        "for = \"deviation=0.2\"",
        "for = \"same-action\"",
        "for = \"kl=0.1\"",
        "for = \"deviation=0.1\", family = \"band-crown/2\"",
    ] {
        assert_eq!(missing(radius), (vec!["not-claimed".to_owned()], 1), "{radius}");
    }
    for (radius, words) in [
        ("for = \"deviation=0.1\"", "radius needs min or worse-by"),
        ("for = \"deviation\", min = \"1\"", "give same-action, deviation=0.1"),
        ("for = \"tv=2\", min = \"1\"", "never above 1"),
        ("for = \"deviation=0.1\", min = \"x\"", "radius.min"),
        ("for = \"deviation=0.1\", at = \"worst\", min = \"1\"", "worst"),
        ("for = \"deviation=0.1\", max = \"1\"", "max"),
    ] {
        gated.write(&rule(radius));
        let ran = gated.gate(&[]);
        assert!(ran.code == 2 && ran.stderr.contains(words), "{radius}: {ran:?}");
    }
}

/// The same radii pass; a larger one in the baseline is one that fell.
#[test]
fn radii_are_compared_with_the_baseline() {
    let gated = gated();
    let with = rule("for = \"deviation=0.1\", at = \"median\", worse-by = \"10%\"");
    assert_eq!(gated.codes(&with, &[]), (vec!["no-baseline".to_owned()], 2));
    assert_eq!(gated.gate(&["accept"]).code, 0);
    assert_eq!(gated.report(&[]).1, 0);
    let path = gated.path("secateur.baseline.json");
    let read = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(&path).expect("a baseline")).expect("JSON")
    };
    let kept = read();
    let crown = &kept["policies"]["p"]["masks"][2]["radii"]["deviation=1/10"]["crown"];
    assert_eq!(crown["median"], numbers(&gated, "crown", 2)[1].to_string());
    let write = |median: &str| {
        let mut document = kept.clone();
        let radii = &mut document["policies"]["p"]["masks"][2]["radii"]["deviation=1/10"];
        radii["best"]["median"] = median.into();
        std::fs::write(&path, document.to_string()).expect("written");
    };
    let change = |median: &str| {
        write(median);
        let (report, code) = gated.report(&[]);
        (codes(&report), code)
    };
    let best = kept["policies"]["p"]["masks"][2]["radii"]["deviation=1/10"]["best"]["median"].clone();
    let best = Rational::parse(best.as_str().expect("text")).expect("a number");
    let times = |by: &str| best.mul(&Rational::parse(by).expect("a number")).to_string();
    assert_eq!(change(&times("10/9")), (vec![], 0), "a tenth less is allowed");
    assert_eq!(change(&times("1.12")), (vec!["bound-rose".to_owned()], 1));
    write("x");
    let ran = gated.gate(&[]);
    assert!(ran.code == 2 && ran.stderr.contains("a radius is not a number"), "{ran:?}");
    let mut other = kept.clone();
    let masks = &mut other["policies"]["p"]["masks"][2]["radii"]["deviation=1/10"];
    masks["chain-hull"] = masks["crown"].clone();
    std::fs::write(&path, other.to_string()).expect("written");
    assert_eq!(codes(&gated.report(&[]).0), ["not-comparable"], "it rests on a family that is not claimed");
}
