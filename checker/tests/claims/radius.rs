//! Radii (`spec/certificate-radius.md`): each side condition accepted and refused, on the outputs `2x` and `x` at the states 1
//! and -1/2 with radius 1/16.
#![allow(
    // Points of witness files are binary64 numbers.
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

use secateur_checker::check::{CHECKER_ID, NamedFile, Subject, check, head_name, pruned_count};
use secateur_checker::claim::radius::RadiusTarget;
use secateur_checker::family::Family;
use secateur_checker::kernel::fault::{Fault, Place as At};
use secateur_checker::model::{
    Activation, Head, Layer, Mask, Matrix, Network, Perturbation, PerturbationSet, Policy, States, Units,
};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::radii::{Spread, curve, lines, spread, steps};
use secateur_checker::reader::certificate::{
    Certificate, Claim, FileDigest, MaskRecord, PREDICATE_TYPE, Program, SCHEMA_VERSION, STATEMENT_TYPE,
    WitnessRecord, parse_certificate,
};
use secateur_checker::reader::clause::{Clause, Part};
use secateur_checker::reader::digest::{mask_digest, sha256_hex, weights_digest};
use secateur_checker::reader::radius::RadiusClaim;
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::{
    LIMIT_MONOTONE, LIMIT_RADIUS, LIMIT_STATES, LIMIT_TRUTH, policy_assumptions,
};
use secateur_checker::table::Quantity;
use secateur_testkit::case::refused as refusal;

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

/// Outputs `2x` and `x`.
fn policy(head: Head) -> Policy {
    let weight = Matrix { rows: 2, columns: 1, values: vec![Dyadic::new(1, 1), Dyadic::new(1, 0)] };
    let layer = Layer { fixed: false, weight, bias: vec![Dyadic::ZERO; 2], activation: Activation::Identity };
    Policy { network: Network { layers: vec![layer] }, head, normaliser: None, source: None }
}

fn states() -> States {
    let values = vec![Dyadic::new(1, 0), Dyadic::new(-1, -1)];
    States { values: Matrix { rows: 2, columns: 1, values }, units: Units::Normalised }
}

/// A witness file whose points of entry 0 lie this far from the two states.
fn points(offsets: [f64; 2]) -> Vec<u8> {
    named("radius.0.counterexample.0", "F64", "[2,1]", &offsets)
}

fn named(name: &str, dtype: &str, shape: &str, offsets: &[f64]) -> Vec<u8> {
    let data: Vec<u8> = offsets.iter().flat_map(|o| o.to_le_bytes()).collect();
    let header = format!(
        "{{\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,{}]}}}}",
        data.len()
    );
    let mut bytes = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

fn claim(quantity: &str, limit: Option<&str>, proved: [&str; 2], broken: [Option<&str>; 2]) -> RadiusClaim {
    RadiusClaim {
        family: "crown".to_owned(),
        mask: 0,
        quantity: quantity.to_owned(),
        limit: limit.map(r),
        proved: proved.map(r).to_vec(),
        broken: broken.map(|multiple| multiple.map(r)).to_vec(),
    }
}

/// A change of `2x` by at most 1/8 is kept up to the radius 1/16, and broken by a step of 1/8, twice that.
fn deviation() -> RadiusClaim {
    claim("action-deviation", Some("1/8"), ["1", "1"], [Some("2"), None])
}

fn certificate(policy: &Policy, radius: Vec<RadiusClaim>, witness: Option<&[u8]>) -> Certificate {
    let digest = |role: &str, name: &str| FileDigest {
        role: role.to_owned(),
        name: name.to_owned(),
        sha256: sha256_hex(name.as_bytes()),
    };
    let mask = dense();
    let (pruned, total) = pruned_count(&mask, &policy.network);
    let program = |id: &str, version: &str| Program { id: id.to_owned(), version: version.to_owned() };
    let limits = [LIMIT_TRUTH, LIMIT_STATES, LIMIT_MONOTONE, LIMIT_RADIUS];
    Certificate {
        subjects: vec![digest("subject", "policy.json"), digest("subject", "policy.safetensors")],
        weights_digest: weights_digest(&policy.network),
        head: head_name(&policy.head).to_owned(),
        masks: vec![MaskRecord {
            name: "dense".to_owned(),
            digest: mask_digest(&mask, &policy.network),
            pruned,
            total,
        }],
        perturbation: PerturbationSet {
            shape: Perturbation::Linf { radius: r("1/16") },
            units: Units::Normalised,
        },
        state_units: Units::Normalised,
        states: 2,
        claims: vec![Claim {
            family: "sensitivity".to_owned(),
            mask: 0,
            quantity: "action-deviation".to_owned(),
            output: Some(0),
            values: vec!["1".to_owned()],
        }],
        verdicts: Vec::new(),
        counterexample: Vec::new(),
        brackets: Vec::new(),
        regret: Vec::new(),
        statistical: Vec::new(),
        regions: Vec::new(),
        radius,
        witness: witness.map(|witness| WitnessRecord {
            name: "w".to_owned(),
            sha256: sha256_hex(witness),
            size: witness.len(),
        }),
        assumptions: policy_assumptions(policy).into_iter().map(str::to_owned).collect(),
        limits: limits.map(str::to_owned).to_vec(),
        inputs: vec![digest("states", "states")],
        verifier: program("test", "0"),
        checker: program(CHECKER_ID, SCHEMA_VERSION),
        seed: "0".to_owned(),
    }
}

fn dense() -> Mask {
    Mask { layers: vec![vec![true; 2]] }
}

fn checked(policy: &Policy, certificate: Certificate, witness: Option<&[u8]>) -> Result<(), Rejection> {
    let file = |name: &'static str| NamedFile { name, bytes: name.as_bytes() };
    let subject = Subject {
        policy,
        names: None,
        policy_files: [file("policy.json"), file("policy.safetensors")],
        masks: &[dense()],
        mask_files: &[],
        states: &states(),
        states_file: file("states"),
        witness: witness.map(|bytes| NamedFile { name: "w", bytes }),
    };
    check(certificate, &subject, &mut |_, _| {}).map(|_| ())
}

/// What the check says of one entry with points this far from the states.
fn with(head: Head, entry: RadiusClaim, offsets: [f64; 2]) -> Result<(), Rejection> {
    let (policy, witness) = (policy(head), points(offsets));
    checked(&policy, certificate(&policy, vec![entry], Some(&witness)), Some(&witness))
}

fn plain(entry: RadiusClaim) -> Result<(), Rejection> {
    with(Head::Deterministic, entry, [0.125, 0.0])
}

fn changed(change: impl FnOnce(&mut RadiusClaim)) -> Result<(), Rejection> {
    let mut entry = deviation();
    change(&mut entry);
    plain(entry)
}

fn refused(reason: Reason) -> Result<(), Rejection> {
    Err(refusal("radius", 0, "", reason))
}

#[test]
fn multiples_that_are_proved_and_broken_are_accepted() {
    assert_eq!(changed(|_| {}), Ok(()));
    // Less is true as well, and 0 says nothing, of which there is nothing to prove.
    for looser in ["0.999999", "1/3", "1e-9", "0"] {
        assert_eq!(changed(|c| c.proved[1] = r(looser)), Ok(()), "{looser}");
    }
    // The point of 1/8 lies in every larger set, too.
    assert_eq!(changed(|c| c.broken[0] = Some(r("3"))), Ok(()));
    assert_eq!(changed(|c| c.broken = vec![None, None]), Ok(()));
    assert_eq!(changed(|c| c.family = "chain-hull".to_owned()), Ok(()));
    assert_eq!(changed(|c| c.family = "band/0".to_owned()).map_err(|e| e.reason), {
        let limit = secateur_checker::sentences::LIMIT_BANDS;
        Err(Reason::LimitMissing { limit })
    });
}

/// At one unit in the last place above 1 the change exceeds 1/8, by twice a sixteenth of it and what the grid rounds.
#[test]
fn a_multiple_above_what_the_family_proves_is_refused() {
    for (state, above) in [(0, "1.01"), (1, "1.000001"), (0, "64"), (1, "1.000000000000001")] {
        let result = changed(|c| c.proved[state] = r(above));
        let Err(Rejection { entry, reason: Reason::RadiusTooLarge { state: at, multiple, proved } }) = result
        else {
            panic!("{above}: {result:?}")
        };
        assert_eq!((entry.unwrap().kind, at, *multiple), ("radius", state, r(above)));
        assert!(
            *proved > r("1/8") && *proved <= r(above).mul(&r("1/8")).add(&r("1e-12")),
            "{above}: {proved}"
        );
    }
    let limit = changed(|c| c.limit = Some(r("0.1249999999")));
    assert!(matches!(limit.unwrap_err().reason, Reason::RadiusTooLarge { state: 0, .. }));
}

#[test]
fn a_point_that_breaks_nothing_is_refused() {
    // 1/16 moves the output by 1/8, which the limit allows.
    let not_broken =
        |state, multiple: &str| refused(Reason::RadiusNotBroken { state, multiple: Box::new(r(multiple)) });
    assert_eq!(with(Head::Deterministic, deviation(), [0.0625, 0.0]), not_broken(0, "2"));
    let just = 0.0625f64.next_up();
    assert_eq!(with(Head::Deterministic, deviation(), [-just, 0.0]), not_broken(0, "2"));
    assert_eq!(with(Head::Deterministic, deviation(), [-0.0626, 0.0]), Ok(()));
    let second = || claim("action-deviation", Some("1/8"), ["1", "1"], [None, Some("2")]);
    assert_eq!(with(Head::Deterministic, second(), [0.125, 0.0]), not_broken(1, "2"));
    assert_eq!(with(Head::Deterministic, second(), [0.0, 0.125]), Ok(()));
    // A state without a multiple has a row that nothing reads.
    assert_eq!(with(Head::Deterministic, second(), [1e300, 0.125]), Ok(()));
}

#[test]
fn a_point_outside_the_set_at_its_multiple_is_refused() {
    let fault = || Fault::PointTooFar { coordinate: 0 }.at(At::State(0));
    assert_eq!(changed(|c| c.broken[0] = Some(r("1.99"))), refused(fault().into()));
    assert_eq!(with(Head::Deterministic, deviation(), [0.125f64.next_up(), 0.0]), refused(fault().into()));
    assert_eq!(changed(|c| c.broken[0] = Some(r("0"))), refused(fault().into()));
}

/// At 1 the outputs 2 and 1 lead by 1, at -1/2 the second leads by 1/2: the lead is lost at the steps -1 and 1/2, which are 16
/// and 8 radii. There both are equal: a margin of 0 keeps no action, and a tie breaks none.
#[test]
fn the_same_action_is_kept_below_a_tie_and_broken_beyond() {
    let same = |proved, broken| claim("same-action-margin", None, proved, broken);
    let head = || Head::Categorical;
    let beyond = [Some("16.1"), Some("8.1")];
    assert_eq!(with(head(), same(["15.9", "7.99"], beyond), [-1.001, 0.501]), Ok(()));
    for (state, proved) in [["16", "7"], ["15", "8"]].into_iter().enumerate() {
        let reason = with(head(), same(proved, [None, None]), [0.0; 2]).unwrap_err().reason;
        let Reason::RadiusTooLarge { state: at, proved, .. } = reason else { panic!("{reason:?}") };
        assert!(at == state && !proved.is_positive() && *proved > r("-1e-12"), "{at}: {proved}");
    }
    let target =
        |limit| RadiusTarget { family: Family::Crown, mask: 0, quantity: Quantity::SameActionMargin, limit };
    assert_eq!(["0", "1e-30", "-1"].map(|bound| target(None).keeps(&r(bound))), [false, true, false]);
    let limited = ["1/8", "0", "0.1250001"].map(|bound| target(Some(r("1/8"))).keeps(&r(bound)));
    assert_eq!(limited, [true, true, false]);
    let tie = with(head(), same(["1", "1"], beyond), [-1.0, 0.501]);
    assert_eq!(tie, refused(Reason::RadiusNotBroken { state: 0, multiple: Box::new(r("16.1")) }));
    let nearer = with(head(), same(["1", "1"], beyond), [-1.001, 0.499]);
    assert_eq!(nearer, refused(Reason::RadiusNotBroken { state: 1, multiple: Box::new(r("8.1")) }));
    let gaussian = Head::Gaussian { log_std: vec![Dyadic::ZERO; 2] };
    let none = with(gaussian.clone(), same(["1", "1"], [None, None]), [0.0; 2]);
    assert_eq!(none, refused(Reason::NotForThisHead));
    let none = with(gaussian, same(["0", "0"], [Some("16.1"), None]), [-1.001, 0.0]);
    assert_eq!(none, refused(Reason::NotForThisHead));
}

/// A step of e changes the means by 2e and e, `sqrt(5) e` in length; total variation `2 Phi(sqrt(5) e / 2) - 1`: 0.0557 at 1/16,
/// 0.1111 at 1/8; divergence `5 e^2 / 2`: 0.00977 and 0.0391. By Pinsker's inequality the point of 1/8 shows twice 0.1111
/// squared, 0.0247, of the latter.
#[test]
fn distributions_by_hand() {
    let gaussian = || Head::Gaussian { log_std: vec![Dyadic::ZERO; 2] };
    let of = |quantity: &str, limit: &str| claim(quantity, Some(limit), ["1", "1"], [Some("2"), None]);
    let at = |entry| with(gaussian(), entry, [0.125, 0.0]);
    assert_eq!(at(of("total-variation", "0.0558")), Ok(()));
    assert!(matches!(at(of("total-variation", "0.0556")).unwrap_err().reason, Reason::RadiusTooLarge { .. }));
    let broken = |entry| with(gaussian(), RadiusClaim { proved: vec![r("0"); 2], ..entry }, [0.125, 0.0]);
    assert_eq!(broken(of("total-variation", "0.1111")), Ok(()));
    let not = || refused(Reason::RadiusNotBroken { state: 0, multiple: Box::new(r("2")) });
    assert_eq!(broken(of("total-variation", "0.1112")), not());
    assert_eq!(at(of("kl-divergence", "0.00977")), Ok(()));
    assert!(matches!(at(of("kl-divergence", "0.00976")).unwrap_err().reason, Reason::RadiusTooLarge { .. }));
    assert_eq!(broken(of("kl-divergence", "0.0247")), Ok(()));
    assert_eq!(broken(of("kl-divergence", "0.0248")), not());
    for quantity in ["total-variation", "kl-divergence"] {
        assert_eq!(plain(of(quantity, "0.5")), refused(Reason::NotForThisHead));
        let point = RadiusClaim { proved: vec![r("0"); 2], ..of(quantity, "0.01") };
        assert_eq!(plain(point), refused(Fault::NoDistribution.at(At::State(0)).into()));
    }
}

#[test]
fn entries_name_what_exists_once() {
    assert_eq!(changed(|c| c.mask = 1), refused(Reason::NoMask));
    assert_eq!(changed(|c| c.family = "nothing".to_owned()), {
        refused(Reason::UnknownFamily { family: "nothing".into() })
    });
    for family in ["sensitivity", "norm-product/linf", "pruned-deviation"] {
        assert_eq!(
            changed(|c| c.family = family.to_owned()),
            refused(Reason::RadiusFamily { family: family.into() })
        );
    }
    assert_eq!(changed(|c| c.quantity = "deviation".to_owned()), {
        refused(Reason::UnknownQuantity { quantity: "deviation".into() })
    });
    assert_eq!(changed(|c| c.limit = None), refused(Reason::RadiusLimit));
    let limited = claim("same-action-margin", Some("0"), ["1", "1"], [None, None]);
    assert_eq!(plain(limited), refused(Reason::RadiusLimit));
    for stated in [0, 1, 3] {
        let expected = refused(Reason::Length { stated, expected: 2 });
        assert_eq!(changed(|c| c.proved.resize(stated, r("0"))), expected, "proved");
        assert_eq!(changed(|c| c.broken.resize(stated, None)), expected, "broken");
    }
    let (policy, witness) = (policy(Head::Deterministic), points([0.125, 0.0]));
    let twice = certificate(&policy, vec![deviation(), deviation()], Some(&witness));
    let expected = Err(refusal("radius", 1, "", Reason::Repeated));
    assert_eq!(checked(&policy, twice, Some(&witness)), expected);
    for limit in [LIMIT_RADIUS, LIMIT_STATES, LIMIT_MONOTONE] {
        let mut bare = certificate(&policy, vec![deviation()], Some(&witness));
        bare.limits.retain(|listed| listed != limit);
        assert_eq!(checked(&policy, bare, Some(&witness)), Err(Reason::LimitMissing { limit }.into()));
    }
}

#[test]
fn missing_and_misshapen_points_are_refused() {
    let policy = policy(Head::Deterministic);
    let file =
        |witness: Option<&[u8]>| checked(&policy, certificate(&policy, vec![deviation()], witness), witness);
    assert_eq!(file(None), refused(Reason::NoWitness));
    let name = "radius.0.counterexample.0";
    let missing = Clause::NoTensor { name: name.into() };
    // The points of another entry, and those of the whole certificate, are others.
    for other in ["radius.1.counterexample.0", "counterexample.0", "radius.0.counterexample.1"] {
        let witness = named(other, "F64", "[2,1]", &[0.125, 0.0]);
        assert_eq!(file(Some(&witness)), refused(missing.clone().into()), "{other}");
    }
    for (dtype, shape) in [("F64", "[1,2]"), ("F64", "[2]"), ("I64", "[2,1]"), ("F64", "[2,1,1]")] {
        let witness = named(name, dtype, shape, &[0.125, 0.0]);
        assert_eq!(file(Some(&witness)), refused(Reason::PointsShape { mask: 0 }), "{dtype} {shape}");
    }
    let infinite = points([0.125, f64::NAN]);
    let clause = Clause::NotFinite { name: name.into(), index: 1 };
    assert_eq!(file(Some(&infinite)), refused(clause.into()));
    // Nobody who names no multiple at which it breaks needs points.
    let unbroken = RadiusClaim { broken: vec![None, None], ..deviation() };
    assert_eq!(checked(&policy, certificate(&policy, vec![unbroken], None), None), Ok(()));
}

/// A family that reads slopes finds them under the entry's own name, for the mask alone.
#[test]
fn slopes_are_those_of_the_entry() {
    let policy = policy(Head::Deterministic);
    let searched = RadiusClaim { family: "crown-optimised".to_owned(), broken: vec![None; 2], ..deviation() };
    let file = |name: &str| {
        let bytes = named(name, "U8", "[2,0]", &[]);
        checked(&policy, certificate(&policy, vec![searched.clone()], Some(&bytes)), Some(&bytes))
    };
    // One layer has no slopes: a row a state, of no columns.
    assert_eq!(file("radius.0.crown-optimised.0"), Ok(()));
    for other in ["crown-optimised.0", "radius.1.crown-optimised.0", "radius.0.lp.0"] {
        let fault = Fault::SlopesMissing { mask: 0 }.at(At::State(0));
        assert_eq!(file(other), refused(fault.into()), "{other}");
    }
}

/// The reader refuses what is no number, no canonical one, or a negative one, and an empty list of entries.
#[test]
fn numbers_are_read_strictly() {
    let read = |radius: &str| {
        let digest = format!(r#"{{"sha256":"{}"}}"#, "0".repeat(64));
        let text = format!(
            r#"{{"_type":"{STATEMENT_TYPE}","predicate":{{"assumptions":[],"chain":{{"verdicts":[]}},"checker":{{"id":"c","version":"1"}},"claims":[{{"family":"ibp","mask":"0","quantity":"total-variation","values":[]}}],"inputs":[],"limits":[],"method":{{"perturbation":{{"radius":"1","shape":"linf","units":"raw"}},"stateUnits":"raw","states":"2"}},"model":{{"head":"gaussian","masks":[{{"digest":"d","name":"m","pruned":"0","total":"2"}}],"semantics":"real-arithmetic","weightsDigest":"w"}},"radius":{radius},"result":"verified","schemaVersion":"{SCHEMA_VERSION}","seed":"0","verifier":{{"id":"v","version":"1"}}}},"predicateType":"{PREDICATE_TYPE}","subject":[{{"digest":{digest},"name":"policy.json"}}]}}"#
        );
        parse_certificate(text.as_bytes()).map(|certificate| certificate.radius)
    };
    let entry = |proved: &str, broken: &str, limit: &str| {
        read(&format!(
            r#"[{{"broken":[{broken}],"family":"crown","limit":{limit},"mask":"0","proved":[{proved}],"quantity":"action-deviation"}}]"#
        ))
    };
    let good = entry(r#""1","0""#, r#""2","none""#, r#""0.125""#).unwrap();
    assert_eq!(good, [RadiusClaim { proved: vec![r("1"), r("0")], ..deviation() }]);
    let at =
        |path: &str, clause: Clause| Err(clause.within(Part::Value(format!("predicate.radius[0].{path}"))));
    let below = || Clause::OutOfRange { expected: "at least 0" };
    assert_eq!(entry(r#""-1""#, "", r#""1""#), at("proved[0]", below()));
    assert_eq!(entry("", r#""none","-0.5""#, r#""1""#), at("broken[1]", below()));
    assert_eq!(entry("", "", r#""-1""#), at("limit", below()));
    for spelling in ["1.0", "01", "1E1", "2/4", "0.50", "-0", "10e-1"] {
        let proved = entry(&format!(r#""{spelling}""#), "", r#""1""#);
        assert_eq!(proved, at("proved[0]", Clause::NumberSpelling), "{spelling}");
        let broken = entry("", &format!(r#""{spelling}""#), r#""1""#);
        assert_eq!(broken, at("broken[0]", Clause::NumberSpelling), "{spelling}");
    }
    for text in ["NaN", "nan", "inf", "none", "", "0x1", "1/0", "1 ", "+1"] {
        let proved = entry(&format!(r#""{text}""#), "", r#""1""#).unwrap_err();
        assert!(matches!(proved.condition(), Clause::NotANumber { .. }), "{text}: {proved}");
        if text != "none" {
            let broken = entry("", &format!(r#""{text}""#), r#""1""#).unwrap_err();
            assert!(matches!(broken.condition(), Clause::NotANumber { .. }), "{text}: {broken}");
        }
    }
    for other in ["None", "NONE", "none "] {
        let broken = entry("", &format!(r#""{other}""#), r#""1""#).unwrap_err();
        assert!(matches!(broken.condition(), Clause::NotANumber { .. }), "{other}: {broken}");
    }
    assert!(matches!(
        entry("1", "", r#""1""#).unwrap_err().condition(),
        Clause::NumberToken { .. } | Clause::WrongType { .. } | _
    ));
    assert_eq!(read("[]"), Err(Clause::ListEmpty { what: "radius" }));
}

fn listed(mask: usize, proved: &[&str], broken: &[Option<&str>]) -> RadiusClaim {
    RadiusClaim {
        mask,
        proved: proved.iter().map(|m| r(m)).collect(),
        broken: broken.iter().map(|m| m.map(r)).collect(),
        ..deviation()
    }
}

/// Four states proved at 0, 1, 2, 5: three of them at 1 or more, the mean 2. Broken at 3, 4 and 9: three by 9.
#[test]
fn spreads_and_curves_by_hand() {
    let claim = listed(0, &["2", "0", "5", "1"], &[Some("9"), Some("3"), None, Some("4")]);
    let expected =
        Spread { least: r("0"), median: r("1"), mean: r("2"), broken: 3, broken_median: Some(r("9")) };
    assert_eq!(spread(&claim), Some(expected));
    let points = [(1, r("5")), (2, r("2")), (3, r("1")), (4, r("0"))];
    assert_eq!(curve(&claim), points.each_ref().map(|(count, multiple)| (*count, multiple)));
    let odd = spread(&listed(0, &["3", "1", "2"], &[None, Some("7"), None])).unwrap();
    assert_eq!((odd.median, odd.broken_median), (r("2"), None));
    let one = spread(&listed(0, &["3"], &[Some("4")])).unwrap();
    assert_eq!((one.least, one.median, one.broken_median), (r("3"), r("3"), Some(r("4"))));
    assert_eq!((spread(&listed(0, &[], &[])), curve(&listed(0, &[], &[]))), (None, Vec::new()));
}

/// From mask 0 to mask 1: state 0 is proved at 5 after and broken at 4 before; state 1 the other way round; of state 2 nothing is
/// known to part; state 3 is broken after exactly where it is proved before, which decides nothing. Of two families the better
/// counts.
#[test]
fn steps_are_decided_where_the_brackets_part() {
    let before = listed(0, &["1", "6", "1", "2"], &[Some("4"), None, Some("3"), None]);
    let after = listed(1, &["5", "1", "2", "1"], &[None, Some("5"), None, Some("2")]);
    let found = steps(&[before.clone(), after.clone()]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].step, found[0].larger, found[0].smaller, found[0].undecided), (1, 1, 1, 2));
    let second = RadiusClaim { family: "ibp".to_owned(), ..listed(1, &["0", "0", "4", "0"], &[None; 4]) };
    let found = steps(&[before.clone(), after.clone(), second]);
    assert_eq!((found[0].larger, found[0].smaller, found[0].undecided), (2, 1, 1));
    // Other limits, and masks that do not follow each other, are not compared.
    let other = RadiusClaim { limit: Some(r("1")), ..after.clone() };
    assert!(steps(&[before.clone(), other]).is_empty());
    assert!(steps(&[before, RadiusClaim { mask: 2, ..after }]).is_empty());
}

#[test]
fn words_say_no_more_than_the_numbers() {
    let claim = listed(0, &["2", "0", "5", "1"], &[Some("9"), Some("3"), None, Some("4")]);
    let text = |claims: &[RadiusClaim], details| {
        lines(claims, details).into_iter().map(|(word, line)| format!("{word}|{line}")).collect::<Vec<_>>()
    };
    let first = "radius|mask 0: change of any output at most 0.125 proved up to 1 x the radii at half of the states (median; least 0, mean 2; crown); an attack breaks it at 9 x (median)";
    assert_eq!(text(std::slice::from_ref(&claim), false), [first]);
    let curve =
        "|of 4 states, proved at this multiple or a larger one: 1 at 5 x, 2 at 2 x, 3 at 1 x, 4 at 0 x";
    assert_eq!(text(&[claim], true), [first, curve]);
    let same = RadiusClaim {
        quantity: "same-action-margin".to_owned(),
        limit: None,
        ..listed(1, &["1/3", "1/3", "0.2"], &[Some("1"), None, None])
    };
    let words = "radius|mask 1: same action proved up to 0.333333 x the radii at half of the states (median; least 0.2, mean 0.288888; crown); an attack breaks it at 1 of 3 states";
    assert_eq!(text(&[same], false), [words]);
    let hostile = RadiusClaim {
        family: "x\u{202e}\n".to_owned(),
        quantity: "verified:".to_owned(),
        ..listed(0, &["1"], &[None])
    };
    let line = text(&[hostile], false).concat();
    assert!(!line.contains('\n') && !line.contains('\u{202e}') && line.contains("\"verified:\""), "{line}");
}
