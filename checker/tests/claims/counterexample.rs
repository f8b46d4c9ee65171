//! Claims from below and brackets (`spec/certificate-bracket.md`): each side condition accepted and refused, on
//! `relu(s) - relu(s)` pruned to `relu(s)` at 1/2 with radius 1/16: 0 before, 1/16 after.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects)]

use secateur_checker::check::{CHECKER_ID, NamedFile, Subject, check, head_name, pruned_count};
use secateur_checker::kernel::fault::{Fault, Place as At};
use secateur_checker::kernel::regret::RewardRange;
use secateur_checker::model::{Head, Mask, Matrix, Perturbation, PerturbationSet, Policy, States, Units};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::reader::certificate::{
    Certificate, Claim, FileDigest, MaskRecord, Program, SCHEMA_VERSION, StepVerdict, WitnessRecord,
};
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::counterexample::{BracketVerdict, CounterexampleClaim, Place};
use secateur_checker::reader::digest::{mask_digest, sha256_hex, weights_digest};
use secateur_checker::reader::regret::{Region, RegretClaim, RegretForm};
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::{LIMIT_COUNTEREXAMPLE, LIMIT_REGRET, regret_assumptions};
use secateur_checker::sentences::{LIMIT_MONOTONE, LIMIT_STATES, LIMIT_TRUTH, policy_assumptions};
use secateur_testkit::case::refused as refusal;
use secateur_testkit::hinges;

/// Bits of the binary64 numbers 0, 1/16, the next above 1/16, and NaN.
const ZERO: u64 = 0;
const SIXTEENTH: u64 = 0x3FB0_0000_0000_0000;
const NAN: u64 = 0x7FF8_0000_0000_0000;

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

fn policy(head: Head) -> Policy {
    Policy { network: hinges::cancelling(), head, normaliser: None, source: None }
}

fn gaussian() -> Policy {
    policy(Head::Gaussian { log_std: vec![Dyadic::new(0, 0)] })
}

fn masks() -> Vec<Mask> {
    hinges::cancelling_masks().to_vec()
}

/// A safetensors file of binary64 tensors, in order.
fn file(tensors: &[(&str, &str, &[usize], &[u64])]) -> Vec<u8> {
    let (mut header, mut data) = (String::from("{"), Vec::new());
    for (name, dtype, shape, numbers) in tensors {
        let start = data.len();
        for bits in *numbers {
            if *dtype == "F64" {
                data.extend(bits.to_le_bytes());
            } else {
                data.extend(u32::try_from(*bits).unwrap().to_le_bytes());
            }
        }
        if header.len() > 1 {
            header.push(',');
        }
        header.push_str(&format!(
            "\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{}]}}",
            data.len()
        ));
    }
    header.push('}');
    let mut bytes = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// The points of both masks: both 1/16 above the state.
fn points(first: u64, second: u64) -> Vec<u8> {
    file(&[("counterexample.0", "F64", &[1, 1], &[first]), ("counterexample.1", "F64", &[1, 1], &[second])])
}

fn below(mask: usize, quantity: &str, output: Option<usize>, value: &str) -> CounterexampleClaim {
    let at_least = vec![value.to_owned()];
    CounterexampleClaim { mask, quantity: quantity.to_owned(), output, at_least }
}

fn verdict(family: &str, word: &str, after: Option<&str>) -> StepVerdict {
    let counts = if after.is_some() { (0, 0, 1) } else { (0, 1, 0) };
    StepVerdict {
        family: family.to_owned(),
        of: "action-deviation".to_owned(),
        step: 1,
        verdict: word.to_owned(),
        counts,
        at: after.map(|_| Place { state: Some(0), index: Some(0) }),
        before: after.map(|_| r("0")),
        after: after.map(r),
    }
}

/// Claims of `sensitivity` and `band/0` for the dense mask and of the point for the pruned one, with the bracket found.
fn certificate(policy: &Policy, witness: &[u8]) -> Certificate {
    let masks = masks();
    let digest = |role: &str, name: &str| FileDigest {
        role: role.to_owned(),
        name: name.to_owned(),
        sha256: sha256_hex(name.as_bytes()),
    };
    let record = |mask: &Mask| {
        let (pruned, total) = pruned_count(mask, &policy.network);
        MaskRecord { name: "m".to_owned(), digest: mask_digest(mask, &policy.network), pruned, total }
    };
    let program = |id: &str, version: &str| Program { id: id.to_owned(), version: version.to_owned() };
    let claim = Claim {
        family: "sensitivity".to_owned(),
        mask: 0,
        quantity: "action-deviation".to_owned(),
        output: Some(0),
        values: vec!["1".to_owned()],
    };
    let limits = [LIMIT_TRUTH, LIMIT_STATES, LIMIT_MONOTONE, LIMIT_COUNTEREXAMPLE, LIMIT_REGRET];
    let mut certificate = Certificate {
        subjects: vec![digest("subject", "policy.json"), digest("subject", "policy.safetensors")],
        weights_digest: weights_digest(&policy.network),
        head: head_name(&policy.head).to_owned(),
        masks: masks.iter().map(record).collect(),
        perturbation: PerturbationSet {
            shape: Perturbation::Linf { radius: r("1/16") },
            units: Units::Normalised,
        },
        state_units: Units::Normalised,
        states: 1,
        claims: vec![claim],
        verdicts: vec![verdict("sensitivity", "tightens-by-theorem", None)],
        counterexample: vec![below(1, "action-deviation", Some(0), "0.0625")],
        brackets: Vec::new(),
        regret: Vec::new(),
        statistical: Vec::new(),
        regions: Vec::new(),
        radius: Vec::new(),
        witness: Some(WitnessRecord {
            name: "w".to_owned(),
            sha256: sha256_hex(witness),
            size: witness.len(),
        }),
        assumptions: policy_assumptions(policy).into_iter().map(str::to_owned).collect(),
        limits: limits.map(str::to_owned).to_vec(),
        inputs: vec![
            digest("chain", "chain"),
            digest("mask", "m0"),
            digest("mask", "m1"),
            digest("states", "states"),
        ],
        verifier: program("test", "0"),
        checker: program(CHECKER_ID, SCHEMA_VERSION),
        seed: "0".to_owned(),
    };
    // |f| moves by at most 1/16 + 1/16 before and by 1/16 after: sensitivity falls, ...
    certificate.verdicts[0].counts = (1, 0, 0);
    certificate.verdicts[0].at = Some(Place { state: None, index: Some(0) });
    certificate.verdicts[0].before = Some(r("1/8"));
    certificate.verdicts[0].after = Some(r("1/16"));
    // ... while `band/0`, the dense mask alone, knows that nothing moves before.
    certificate.claims.push(Claim {
        family: "band/0".to_owned(),
        mask: 0,
        quantity: "action-deviation".to_owned(),
        output: Some(0),
        values: vec!["0".to_owned()],
    });
    certificate.limits.push(secateur_checker::sentences::LIMIT_BANDS.to_owned());
    certificate.brackets = vec![hurt("action-deviation")];
    certificate
}

/// The bracket of the deviation: 0 before, 1/16 after, at the only place.
fn hurt(of: &str) -> BracketVerdict {
    BracketVerdict {
        of: of.to_owned(),
        step: 1,
        verdict: "hurt".to_owned(),
        hurt: 1,
        places: 1,
        at: Some(Place { state: Some(0), index: Some(0) }),
        at_most_before: Some(r("0")),
        at_least_after: Some(r("1/16")),
    }
}

fn checked(policy: &Policy, certificate: Certificate, witness: Option<&[u8]>) -> Result<(), Rejection> {
    let file = |name: &'static str| NamedFile { name, bytes: name.as_bytes() };
    let masks = masks();
    let subject = Subject {
        policy,
        names: None,
        policy_files: [file("policy.json"), file("policy.safetensors")],
        masks: &masks,
        mask_files: &["chain", "m0", "m1"].map(file),
        states: &States {
            values: Matrix { rows: 1, columns: 1, values: vec![Dyadic::new(1, -1)] },
            units: Units::Normalised,
        },
        states_file: file("states"),
        witness: witness.map(|bytes| NamedFile { name: "w", bytes }),
    };
    check(certificate, &subject, &mut |_, _| {}).map(|_| ())
}

/// The deterministic policy with its right points, after a change.
fn after(change: impl FnOnce(&mut Certificate)) -> Result<(), Rejection> {
    let (policy, witness) = (policy(Head::Deterministic), points(SIXTEENTH, SIXTEENTH));
    let mut certificate = certificate(&policy, &witness);
    change(&mut certificate);
    checked(&policy, certificate, Some(&witness))
}

fn refused(result: Result<(), Rejection>) -> Rejection {
    result.unwrap_err()
}

fn entry(position: usize, part: &str, reason: Reason) -> Rejection {
    refusal("counterexample", position, part, reason)
}

/// What is found for other points, with everything else unchanged.
fn with_points(witness: &[u8]) -> Rejection {
    let policy = policy(Head::Deterministic);
    refused(checked(&policy, certificate(&policy, witness), Some(witness)))
}

#[test]
fn a_step_that_hurt_is_accepted_with_its_point() {
    assert_eq!(after(|_| {}), Ok(()));
    for looser in ["0.0624999999", "1/17", "0", "-3"] {
        assert_eq!(after(|c| c.counterexample[0].at_least[0] = looser.to_owned()), Ok(()), "{looser}");
    }
    assert_eq!(after(|c| c.counterexample.push(below(0, "action-deviation", Some(0), "0"))), Ok(()));
}

#[test]
fn a_claim_above_what_the_point_proves_is_refused() {
    let claimed = "0.062500000000000000000000000001";
    let reason = refused(after(|c| c.counterexample[0].at_least[0] = claimed.to_owned()));
    let (claimed, proved) = (Box::new(r(claimed)), Box::new(r("1/16")));
    let expected = Reason::TooTight { claimed, proved, how: "is proved" };
    assert_eq!(reason, entry(0, ", state 0", expected));
    let before = refused(after(|c| c.counterexample.push(below(0, "action-deviation", Some(0), "1e-30"))));
    assert!(matches!(before.reason, Reason::TooTight { .. }) && before.entry.unwrap().position == 1);
}

/// The binary64 next above 1/16 lies outside the ball of radius 1/16, on either side.
#[test]
fn a_point_outside_by_one_unit_in_the_last_place_is_refused() {
    let sign = 1u64 << 63;
    assert_eq!(with_points(&points(ZERO, SIXTEENTH + 1)), outside(1));
    assert_eq!(with_points(&points(SIXTEENTH + 1, SIXTEENTH)), outside(0));
    assert_eq!(with_points(&points(ZERO, sign | (SIXTEENTH + 1))), outside(1));
    // Inside, on the other side: the same gap, so that nothing changes.
    let (policy, witness) = (policy(Head::Deterministic), points(ZERO, sign | SIXTEENTH));
    assert_eq!(checked(&policy, certificate(&policy, &witness), Some(&witness)), Ok(()));
}

fn outside(mask: usize) -> Rejection {
    let fault = Fault::PointTooFar { coordinate: 0 }.at(At::State(0)).at(At::Mask(mask));
    entry(0, "", fault.into())
}

fn malformed(clause: &Clause) -> Rejection {
    entry(0, "", clause.clone().into())
}

#[test]
fn missing_and_misshapen_points_are_refused() {
    let missing = |witness: &[u8], name: &str| {
        let missing = Clause::NoTensor { name: name.into() };
        assert_eq!(with_points(witness), malformed(&missing));
    };
    missing(&file(&[("counterexample.1", "F64", &[1, 1], &[SIXTEENTH])]), "counterexample.0");
    missing(&file(&[("counterexample.0", "F64", &[1, 1], &[SIXTEENTH])]), "counterexample.1");
    let wrong = entry(0, "", Reason::PointsShape { mask: 1 });
    let second = |dtype: &str, shape: &[usize], numbers: &[u64]| {
        with_points(&file(&[
            ("counterexample.0", "F64", &[1, 1], &[ZERO]),
            ("counterexample.1", dtype, shape, numbers),
        ]))
    };
    assert_eq!(second("F64", &[2, 1], &[SIXTEENTH; 2]), wrong);
    assert_eq!(second("F64", &[1, 2], &[SIXTEENTH; 2]), wrong);
    assert_eq!(second("F64", &[1], &[SIXTEENTH]), wrong);
    assert_eq!(second("F64", &[0, 1], &[]), wrong);
    assert_eq!(second("F32", &[1, 1], &[0]), wrong);
    let finite = Clause::NotFinite { name: "counterexample.1".into(), index: 0 };
    for bits in [NAN, 0x7FF0_0000_0000_0000] {
        assert_eq!(second("F64", &[1, 1], &[bits]), malformed(&finite));
    }
    let garbage = with_points(b"no safetensors");
    assert!(matches!(garbage.reason, Reason::WitnessFile { .. }), "{garbage:?}");
    let policy = policy(Head::Deterministic);
    let mut bare = certificate(&policy, b"");
    bare.witness = None;
    assert_eq!(refused(checked(&policy, bare, None)), entry(0, "", Reason::NoWitness));
}

#[test]
fn claims_from_below_name_what_exists_once() {
    let claim =
        |change: &dyn Fn(&mut CounterexampleClaim)| refused(after(|c| change(&mut c.counterexample[0])));
    let none = |reason| entry(0, "", reason);
    for quantity in ["kl-divergence", "same-action-margin", "", "Total-Variation"] {
        let unknown = none(Reason::NotFromBelow { quantity: quantity.into() });
        assert_eq!(claim(&|c| c.quantity = quantity.to_owned()), unknown);
    }
    assert_eq!(claim(&|c| c.mask = 2), none(Reason::NoMask));
    assert_eq!(claim(&|c| c.output = Some(1)), none(Reason::NoOutput));
    assert_eq!(claim(&|c| c.output = None), none(Reason::NoOutput));
    let total = |output| {
        move |c: &mut CounterexampleClaim| (c.quantity, c.output) = ("total-variation".to_owned(), output)
    };
    assert_eq!(claim(&total(None)), none(Reason::NotForThisHead));
    assert_eq!(claim(&total(Some(0))), none(Reason::NoOutput));
    assert_eq!(claim(&|c| c.at_least.clear()), none(Reason::Length { stated: 0, expected: 1 }));
    let two = none(Reason::Length { stated: 2, expected: 1 });
    assert_eq!(claim(&|c| c.at_least.push("0".to_owned())), two);
    for text in ["NaN", "inf", "", "1/0", "0.06 "] {
        let bad = entry(0, ", state 0", Reason::NotANumber);
        assert_eq!(claim(&|c| c.at_least[0] = text.to_owned()), bad);
    }
    let twice = refused(after(|c| c.counterexample.push(below(1, "action-deviation", Some(0), "0"))));
    assert_eq!(twice, entry(1, ", state 0", Reason::Repeated));
    let limit = refused(after(|c| c.limits.retain(|l| l != LIMIT_COUNTEREXAMPLE)));
    assert_eq!(limit, Reason::LimitMissing { limit: LIMIT_COUNTEREXAMPLE }.into());
}

#[test]
fn a_bracket_must_be_the_one_found() {
    let words = |refused: Rejection| match (refused.entry, refused.reason) {
        (Some(entry), Reason::WrongVerdict { stated, found }) => {
            assert_eq!(entry.kind, "bracket");
            (entry.position, stated != "nothing", found != "nothing")
        }
        other => panic!("{other:?}"),
    };
    let wrong =
        |change: &dyn Fn(&mut Vec<BracketVerdict>)| words(refused(after(|c| change(&mut c.brackets))));
    let changes: [&dyn Fn(&mut BracketVerdict); 13] = [
        &|b| b.verdict = "not-shown".to_owned(),
        &|b| b.of = "total-variation".to_owned(),
        &|b| b.step = 2,
        &|b| b.hurt = 0,
        &|b| b.hurt = 2,
        &|b| b.places = 2,
        &|b| b.at = None,
        &|b| b.at = Some(Place { state: Some(1), index: Some(0) }),
        &|b| b.at = Some(Place { state: Some(0), index: None }),
        &|b| b.at_most_before = Some(r("1e-30")),
        &|b| b.at_most_before = None,
        &|b| b.at_least_after = Some(r("0.0625000001")),
        &|b| b.at_least_after = None,
    ];
    for change in changes {
        assert_eq!(wrong(&|list| change(&mut list[0])), (0, true, true));
    }
    assert_eq!(wrong(&|list| list.clear()), (0, false, true));
    assert_eq!(wrong(&|list| list.push(hurt("total-variation"))), (1, true, false));
    assert_eq!(wrong(&|list| list.insert(0, hurt("action-deviation"))), (1, true, false));
    // Without claims from below nothing is evaluated, and no bracket may stand.
    let bare = refused(after(|c| c.counterexample.clear()));
    assert_eq!(words(bare), (0, true, false));
    let neither = after(|c| (c.counterexample, c.brackets) = (Vec::new(), Vec::new()));
    assert_eq!(neither, Ok(()));
}

/// A weak point shows nothing, and then the verdict must say so.
#[test]
fn without_a_gap_nothing_is_shown() {
    let (policy, witness) = (policy(Head::Deterministic), points(ZERO, ZERO));
    let mut certificate = certificate(&policy, &witness);
    certificate.counterexample[0].at_least[0] = "0".to_owned();
    let claimed = refused(checked(&policy, certificate.clone(), Some(&witness)));
    assert!(matches!(claimed.reason, Reason::WrongVerdict { .. }), "{claimed:?}");
    let nothing = BracketVerdict {
        verdict: "not-shown".to_owned(),
        hurt: 0,
        at: None,
        at_most_before: None,
        at_least_after: None,
        ..hurt("action-deviation")
    };
    certificate.brackets = vec![nothing.clone()];
    assert_eq!(checked(&policy, certificate.clone(), Some(&witness)), Ok(()));
    // 1/16 after is not above the 1/8 that sensitivity alone leaves before.
    let witness = points(SIXTEENTH, SIXTEENTH);
    let mut loose = self::certificate(&policy, &witness);
    loose.claims.pop();
    loose.brackets = vec![nothing];
    assert_eq!(checked(&policy, loose, Some(&witness)), Ok(()));
}

/// The distance to the dense policy is 0 under the dense mask, and bounds no perturbation: it shows nothing.
#[test]
fn a_distance_between_two_policies_is_no_bound_before() {
    let reason = refused(after(|c| {
        for claim in &mut c.claims {
            claim.family = "pruned-deviation".to_owned();
            claim.values = vec!["1".to_owned()];
        }
        c.claims.pop();
        c.verdicts = vec![verdict("pruned-deviation", "loosened", Some("9/16"))];
    }));
    let Reason::WrongVerdict { found, .. } = reason.reason else { panic!("{reason:?}") };
    assert_eq!(found, "\"action-deviation\" step 1: \"not-shown\" at 0 of 1 places");
}

/// With a standard deviation of 1 the shift of 1/16 is a total variation of `2 Phi(1/32) - 1 = 0.0249298...`.
#[test]
fn a_gaussian_has_a_bracket_of_its_total_variation() {
    let (policy, witness) = (gaussian(), points(SIXTEENTH, SIXTEENTH));
    let mut certificate = certificate(&policy, &witness);
    certificate.counterexample.push(below(1, "total-variation", None, "0.0249298"));
    let missing = refused(checked(&policy, certificate.clone(), Some(&witness)));
    let Reason::WrongVerdict { stated, found } = &missing.reason else { panic!("{missing:?}") };
    assert_eq!((missing.entry.as_ref().unwrap().position, stated.as_str()), (1, "nothing"));
    let words = "\"total-variation\" step 1: \"hurt\" at 1 of 1 places, at most ";
    let ends = found.strip_prefix(words).and_then(|rest| rest.strip_suffix(" after"));
    let (before, after) = ends.and_then(|rest| rest.split_once(" before, at least ")).expect(found);
    assert!(r(before) < r("1e-20") && r("0.0249298") < r(after));
    certificate.brackets.push(BracketVerdict {
        at: Some(Place { state: Some(0), index: None }),
        at_most_before: Some(r(before)),
        at_least_after: Some(r(after)),
        ..hurt("total-variation")
    });
    assert_eq!(checked(&policy, certificate.clone(), Some(&witness)), Ok(()));
    certificate.counterexample[1].at_least[0] = "0.02493".to_owned();
    let above = refused(checked(&policy, certificate, Some(&witness)));
    assert!(matches!(above.reason, Reason::TooTight { .. }) && above.entry.unwrap().position == 1);
}

/// No claim, regret claim or verdict from above may rest on what points show.
#[test]
fn nothing_from_above_rests_on_a_point() {
    let (policy, witness) = (gaussian(), points(SIXTEENTH, SIXTEENTH));
    let base = certificate(&policy, &witness);
    for family in ["counterexample", "counterexample.1", "counterexample/1"] {
        let mut certificate = base.clone();
        certificate.claims[0].family = family.to_owned();
        let unknown = refusal("claim", 0, "", Reason::UnknownFamily { family: family.into() });
        assert_eq!(checked(&policy, certificate, Some(&witness)), Err(unknown));
        let mut certificate = base.clone();
        certificate.regret = vec![RegretClaim {
            family: family.to_owned(),
            mask: 1,
            form: RegretForm::Sup { discount: r("1/2") },
            rewards: RewardRange { lower: r("0"), upper: r("1"), episodes_can_end: true },
            region: Region::ListedStates,
            value: "100".to_owned(),
        }];
        certificate.assumptions.extend(certificate.regret.iter().flat_map(regret_assumptions));
        let reason = Reason::FamilyNotClaimed { family: family.into() };
        let found = checked(&policy, certificate, Some(&witness));
        assert_eq!(found, Err(refusal("regret claim", 0, "", reason)));
    }
}
