//! The check of property certificates (`spec/property.md`): every reason for refusal, each beside the accepted certificate
//! it differs from in one place.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::panic
)]

use secateur_checker::check::{CHECKER_ID, NamedFile};
use secateur_checker::kernel::fault::{Fault, Place};
use secateur_checker::model::{Head, Normaliser, Policy};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::property::{Decided, PropertySubject, check_property};
use secateur_checker::reader::certificate::{FileDigest, Program, SCHEMA_VERSION, WitnessRecord};
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::digest::{sha256_hex, weights_digest};
use secateur_checker::reader::property::{Property, parse_property};
use secateur_checker::reader::verdict::{Claimed, PropertyCertificate};
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::ASSUME_REAL;
use secateur_testkit::hinges::sum_and_difference;

const NAMES: [&str; 3] = ["policy.json", "policy.safetensors", "property.json"];

/// x in `[1/4, 1]`, y in `[-1, 1]`; two cases, the output at most `bounds[0]`, at most `bounds[1]`.
fn property(bounds: [&str; 2]) -> Vec<u8> {
    let case = |bound: &str| {
        format!(
            r#"{{"constraints":[{{"bound":"{bound}","coefficients":["1"]}}],"lower":["1/4","-1"],"upper":["1","1"]}}"#
        )
    };
    let cases = bounds.map(case).join(",");
    format!(r#"{{"cases":[{cases}],"format":"secateur.property/1"}}"#).into_bytes()
}

fn proof(trees: &str) -> Vec<u8> {
    format!(r#"{{"cases":[{trees}],"format":"secateur.proof/1"}}"#).into_bytes()
}

const LEAF: &str = r#"[{"constraint":"0","node":"leaf"}]"#;

/// `relu(x + y) + relu(x - y)`, the files a certificate names, and the certificate.
struct Case {
    policy: Policy,
    files: [Vec<u8>; 3],
    property: Property,
    proof: Option<Vec<u8>>,
    certificate: PropertyCertificate,
}

impl Case {
    fn new(bounds: [&str; 2], claimed: Claimed, proof: Option<Vec<u8>>) -> Self {
        let policy = Policy {
            network: sum_and_difference(),
            head: Head::Deterministic,
            normaliser: None,
            source: None,
        };
        let files = [b"manifest".to_vec(), b"tensors".to_vec(), property(bounds)];
        let digest = |(name, bytes): (&&str, &Vec<u8>)| FileDigest {
            role: "subject".into(),
            name: (*name).into(),
            sha256: sha256_hex(bytes),
        };
        let certificate = PropertyCertificate {
            subjects: NAMES.iter().zip(&files).map(digest).collect(),
            weights_digest: weights_digest(&policy.network),
            claimed,
            assumptions: vec![ASSUME_REAL.into()],
            inputs: Vec::new(),
            verifier: Program { id: "tests".into(), version: "0".into() },
            checker: Program { id: CHECKER_ID.into(), version: SCHEMA_VERSION.into() },
        };
        Self { policy, property: parse_property(&files[2]).unwrap(), files, proof, certificate }
    }

    /// The output is at least 0, so it is at most -1 or -2 nowhere.
    fn unsat() -> Self {
        Self::unsat_by(proof(&format!("{LEAF},{LEAF}")))
    }

    fn unsat_by(proof: Vec<u8>) -> Self {
        let record =
            WitnessRecord { name: "p.proof.json".into(), sha256: sha256_hex(&proof), size: proof.len() };
        Self::new(["-1", "-2"], Claimed::Unsat { proof: record }, Some(proof))
    }

    /// At (1/2, 1/4) the output is 3/4 + 1/4: at most 1, not at most 1/2.
    fn sat() -> Self {
        let point = vec![Rational::parse("1/2").unwrap(), Rational::parse("1/4").unwrap()];
        Self::new(["1/2", "1"], Claimed::Sat { case: 1, point }, None)
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn check(&self) -> Result<Decided, Rejection> {
        let named = |i: usize| NamedFile { name: NAMES[i], bytes: &self.files[i] };
        let subject = PropertySubject {
            policy: &self.policy,
            names: None,
            files: [named(0), named(1), named(2)],
            property: &self.property,
            proof: self.proof.as_deref().map(|bytes| NamedFile { name: "p.proof.json", bytes }),
        };
        check_property(self.certificate.clone(), &subject, &mut |_| {})
    }

    fn refused(&self) -> Reason {
        let refused = self.check().expect_err("refused");
        assert_eq!(refused.entry, None);
        refused.reason
    }
}

fn in_case(case: usize, fault: Fault) -> Reason {
    fault.at(Place::Case(case)).into()
}

#[test]
fn both_verdicts_are_accepted() {
    assert_eq!(Case::unsat().check().unwrap().word(), "unsat");
    assert_eq!(Case::sat().check().unwrap().word(), "sat");
}

#[test]
fn files_are_bound_by_their_digests() {
    for (index, name) in NAMES.into_iter().enumerate() {
        let other = Case::unsat().with(|c| c.files[index].push(b' '));
        let found = sha256_hex(&other.files[index]);
        let stated = Case::unsat().certificate.subjects[index].sha256.clone();
        let (role, name) = ("subject".into(), name.into());
        assert_eq!(other.refused(), Reason::WrongFile { role, name, stated, found });
    }
    let other = Case::unsat().with(|c| c.proof.as_mut().unwrap().push(b' '));
    assert!(matches!(other.refused(), Reason::WrongFile { name, .. } if name.0 == "p.proof.json"));
}

#[test]
fn exactly_the_files_of_the_claim_are_there() {
    let fewer = Case::unsat().with(|c| c.certificate.subjects.truncate(2));
    let more =
        Case::unsat().with(|c| c.certificate.subjects.push(Case::unsat().certificate.subjects[0].clone()));
    let without_proof = Case::unsat().with(|c| c.proof = None);
    let sat_with_proof = Case::sat().with(|c| c.proof = Case::unsat().proof);
    for case in [fewer, more, without_proof, sat_with_proof] {
        assert_eq!(case.refused(), Reason::ProofMissing);
    }
}

#[test]
fn the_proof_has_the_stated_size() {
    let wrong = Case::unsat().with(|c| {
        let Claimed::Unsat { proof } = &mut c.certificate.claimed else { panic!("unsat") };
        proof.size += 1;
    });
    let found = Case::unsat().proof.unwrap().len();
    let (stated, found) = ((found + 1).to_string(), found.to_string());
    let (stated, found) = (stated.as_str().into(), found.as_str().into());
    assert_eq!(wrong.refused(), Reason::Model { field: "the side file's size", stated, found });
}

#[test]
fn weights_are_bound_by_their_digest() {
    let other = Case::unsat().with(|c| c.policy.network.layers[1].weight.values[0] = Dyadic::new(1, -1));
    let (stated, found) = (weights_digest(&sum_and_difference()), weights_digest(&other.policy.network));
    let (stated, found) = (stated.as_str().into(), found.as_str().into());
    assert_eq!(other.refused(), Reason::Model { field: "the weights digest", stated, found });
}

#[test]
fn another_checker_is_refused() {
    for change in [
        |c: &mut Case| c.certificate.checker.id.push('x'),
        |c: &mut Case| c.certificate.checker.version = "0.9.0".into(),
    ] {
        assert!(matches!(Case::sat().with(change).refused(), Reason::WrongChecker { .. }));
    }
}

#[test]
fn real_arithmetic_must_be_assumed() {
    let more = Case::sat().with(|c| c.certificate.assumptions.insert(0, "another".into()));
    assert!(more.check().is_ok());
    let none = Case::sat().with(|c| c.certificate.assumptions.clear());
    assert_eq!(none.refused(), Reason::AssumptionMissing { assumption: ASSUME_REAL.to_owned() });
}

/// Means -1 and -1, standard deviations 2 and 1: the box `[1/4, 1] x [-1, 1]` is read as `[5/8, 1] x [0, 2]`.
fn shifted(clip: Option<&str>) -> Normaliser {
    let std = vec![Rational::parse("2").unwrap(), Rational::one()];
    let clip = clip.map(|c| Rational::parse(c).unwrap());
    Normaliser { mean: vec![Dyadic::new(-1, 0); 2], std, clip }
}

fn point(case: &mut Case, inputs: [&str; 2]) {
    let Claimed::Sat { point, .. } = &mut case.certificate.claimed else { panic!("sat") };
    *point = inputs.map(|x| Rational::parse(x).unwrap()).to_vec();
}

/// (1/2, -3/4) is read as (3/4, 1/4), where the output is 1 + 1/2, (1/4, -7/8) as (5/8, 1/8): 3/4 + 1/2.
#[test]
fn a_point_is_read_through_the_normaliser() {
    let at = |bounds: [&str; 2], inputs: [&str; 2]| {
        let claimed = Claimed::Sat { case: 1, point: Vec::new() };
        Case::new(bounds, claimed, None).with(|c| {
            c.policy.normaliser = Some(shifted(None));
            point(c, inputs);
        })
    };
    assert!(at(["0", "3/2"], ["1/2", "-3/4"]).check().is_ok());
    assert!(at(["0", "5/4"], ["1/4", "-7/8"]).check().is_ok());
    let reason = Fault::PointFails { constraint: 0 };
    let fails = in_case(1, reason);
    assert_eq!(at(["0", "5/4"], ["1/2", "-3/4"]).refused(), fails);
    // Unread, (5/8, 1/8) gives 5/4 too; its own reading is (13/16, 9/8).
    assert_eq!(at(["0", "5/4"], ["5/8", "1/8"]).refused(), fails);
}

/// With a clip at 3/4 inputs from 1/2 on are all read as 3/4: only those of the box count.
#[test]
fn a_clip_brings_no_point_into_the_box() {
    let at = |inputs: [&str; 2]| {
        Case::new(["0", "2"], Claimed::Sat { case: 1, point: Vec::new() }, None).with(|c| {
            c.policy.normaliser = Some(shifted(Some("3/4")));
            point(c, inputs);
        })
    };
    assert!(at(["1", "-1"]).check().is_ok());
    let reason = Fault::PointOutside { coordinate: 0 };
    assert_eq!(at(["2", "-1"]).refused(), in_case(1, reason));
    assert_eq!(at(["1"; 2]).with(|c| point(c, ["1", "2"])).refused(), {
        let reason = Fault::PointOutside { coordinate: 1 };
        in_case(1, reason)
    });
}

/// The lines below the output add up to twice the first input where the box is not normalised, 1/2, and to the sum of both
/// where it is, 5/8 (the second hinge's line is 0 there).
#[test]
fn a_box_is_read_through_the_normaliser() {
    let with = |normaliser: Option<Normaliser>, bound: &str| {
        let proof = proof(&format!("{LEAF},{LEAF}"));
        let record =
            WitnessRecord { name: "p.proof.json".into(), sha256: sha256_hex(&proof), size: proof.len() };
        let claimed = Claimed::Unsat { proof: record };
        Case::new([bound, "-1"], claimed, Some(proof)).with(|c| c.policy.normaliser = normaliser)
    };
    // What is proved falls short of the truth by a few steps of the grid.
    let refused = |case: Case, truth: &str| match case.refused() {
        Reason::Rule { fault } => {
            let Fault::NotProved { least, .. } = fault.condition() else { panic!("{fault}") };
            let truth = Rational::parse(truth).unwrap();
            **least <= truth && truth.sub(least) < Rational::parse("1e-9").unwrap()
        }
        other => panic!("{other:?}"),
    };
    assert!(with(None, "49/100").check().is_ok());
    assert!(refused(with(None, "9/16"), "1/2"));
    assert!(with(Some(shifted(None)), "9/16").check().is_ok());
    assert!(refused(with(Some(shifted(None)), "5/8"), "5/8"));
    // The clip reads the first input as 1/2 and the second as one of [0, 1/2]: both hinges are open.
    assert!(refused(with(Some(shifted(Some("1/2"))), "1"), "1"));
}

#[test]
fn boxes_fit_before_they_are_read() {
    let with = |change: fn(&mut Case)| Case::unsat().with(change).refused();
    let refused = in_case(1, Fault::CaseShape);
    assert_eq!(with(|c| c.property.cases[1].lower.truncate(1)), refused);
    assert_eq!(with(|c| c.property.cases[1].upper.push(Rational::zero())), refused);
    // Both ends are read as 1/4.
    let turned = with(|c| {
        c.policy.normaliser = Some(shifted(Some("1/4")));
        c.property.cases[1].lower[0] = Rational::parse("2").unwrap();
    });
    assert_eq!(turned, refused);
    let flat = with(|c| {
        c.policy.normaliser = Some(Normaliser { std: vec![Rational::zero(); 2], ..shifted(None) });
    });
    assert_eq!(flat, Fault::StdNotPositive { coordinate: 0 }.into());
}

/// Weights of 2^50 leave fewer than 16 fraction bits.
#[test]
fn networks_beyond_the_grid_are_refused() {
    let large = Case::sat().with(|c| {
        c.policy.network.layers[0].weight.values[0] = Dyadic::new(1, 50);
        c.certificate.weights_digest = weights_digest(&c.policy.network);
    });
    assert_eq!(large.refused(), Fault::MagnitudeTooLarge { layer: 0 }.into());
}

#[test]
fn proofs_must_be_readable() {
    let spaced = [b" ".as_slice(), &proof(&format!("{LEAF},{LEAF}"))].concat();
    let reason = Reason::WitnessFile { clause: Box::new(Clause::NotCanonical) };
    assert_eq!(Case::unsat_by(spaced).refused(), reason);
}

#[test]
fn every_case_has_a_tree() {
    for (trees, count) in [(LEAF.to_owned(), 1), (format!("{LEAF},{LEAF},{LEAF}"), 3), (String::new(), 0)] {
        let refused = Case::unsat_by(proof(&trees)).refused();
        assert_eq!(refused, Reason::ProofCases { trees: count, cases: 2 });
    }
}

#[test]
fn every_tree_and_the_point_must_prove_their_case() {
    let reason = Fault::Orphan { node: 0 };
    let second = Case::unsat_by(proof(&format!("{LEAF},[]"))).refused();
    assert_eq!(second, in_case(1, reason));
    let other = Case::sat().with(|c| {
        let Claimed::Sat { case, .. } = &mut c.certificate.claimed else { panic!("sat") };
        *case = 0;
    });
    let reason = Fault::PointFails { constraint: 0 };
    assert_eq!(other.refused(), in_case(0, reason));
    let outside = Case::sat().with(|c| {
        let Claimed::Sat { point, .. } = &mut c.certificate.claimed else { panic!("sat") };
        point[0] = Rational::parse("1/8").unwrap();
    });
    let reason = Fault::PointOutside { coordinate: 0 };
    assert_eq!(outside.refused(), in_case(1, reason));
}

#[test]
fn the_point_names_a_case_that_exists() {
    let beyond = Case::sat().with(|c| {
        let Claimed::Sat { case, .. } = &mut c.certificate.claimed else { panic!("sat") };
        *case = 2;
    });
    assert_eq!(beyond.refused(), Reason::NoSuchCase);
}

/// A proof of many leaves, `x <= at`, `x >= at` and so on, long enough for several threads: whoever meets it, what is refused is what
/// comes first in the walk, a leaf before the cuts behind it.
#[test]
fn shares_refuse_what_comes_first() {
    const CUTS: usize = 60;
    let long = |change: &dyn Fn(usize) -> Option<String>| {
        let nodes = (0..2 * CUTS + 1).map(|node| {
            let cut = |at: usize| {
                let (below, above) = (node + 1, node + 2);
                let at = Rational::parse(&format!("{at}/400")).unwrap().to_string();
                format!(r#"{{"at":"{at}","children":["{below}","{above}"],"coordinate":"0","node":"input"}}"#)
            };
            let plain = if node % 2 == 0 && node < 2 * CUTS {
                cut(101 + node)
            } else {
                r#"{"constraint":"0","node":"leaf"}"#.to_owned()
            };
            change(node).unwrap_or(plain)
        });
        let tree = nodes.collect::<Vec<_>>().join(",");
        Case::unsat_by(proof(&format!("{LEAF},[{tree}]")))
    };
    let whole = long(&|_| None);
    assert!(whole.proof.as_ref().unwrap().len() > 4096);
    assert_eq!(whole.check().unwrap().word(), "unsat");
    let empty = r#"{"node":"empty"}"#;
    for first in [1, 3, 5, 57, 2 * CUTS] {
        for second in [first, 7, 63, 66, 119] {
            let other =
                long(&|node| (node == first || node == second && node % 2 == 1).then(|| empty.into()));
            let node = if second % 2 == 1 { first.min(second) } else { first };
            assert_eq!(other.refused(), in_case(1, Fault::NotEmpty { node }), "{first} {second}");
        }
    }
    for cut in [2, 4, 58] {
        let outside = format!(
            r#"{{"at":"0","children":["{}","{}"],"coordinate":"0","node":"input"}}"#,
            cut + 1,
            cut + 2
        );
        for (leaf, fault) in [
            (cut - 1, Fault::NotEmpty { node: cut - 1 }),
            (cut + 1, Fault::CutOutside { node: cut }),
            (cut + 3, Fault::CutOutside { node: cut }),
        ] {
            let other = long(&|node| match node {
                _ if node == leaf => Some(empty.into()),
                _ if node == cut => Some(outside.clone()),
                _ => None,
            });
            assert_eq!(other.refused(), in_case(1, fault), "{cut} {leaf}");
        }
    }
}
