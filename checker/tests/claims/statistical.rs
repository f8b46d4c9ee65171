//! The array `statistical`: the case's three states, two episodes that ended and one cut off.

use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::regret::{RewardRange, expectation};
use secateur_checker::kernel::statistic::MAX_SAMPLES;
use secateur_checker::kernel::statistic::{Confidence, Sample, Sampler, bernstein, hoeffding};
use secateur_checker::model::Head;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::LIMIT_REGRET;
use secateur_checker::sentences::{LIMIT_STATISTICAL, statistical_assumptions};
use secateur_testkit::case::refused;

use crate::case::{Case, GLOBAL, LOCAL, PAIRED, Said, r};

const SAMPLER: &str = "independent-episodes-geometric-time";
const REGRET: &str =
    r#""regret":{"rewardRange":{"lower":"-1","upper":"2"},"episodesCanEnd":true,"value":"LOST"},"#;

fn entry(method: &str, value: &str, lost: &str) -> String {
    format!(
        r#"{{"kind":"statistical","family":"{LOCAL}","mask":"0","sampler":"{SAMPLER}","discount":"3/10",
        "samples":"6","ended":"2","cutOff":"1","confidence":"1/2","masks":"1","inequalities":"2",{}
        "method":"{method}","value":"{value}"}}"#,
        REGRET.replace("LOST", lost)
    )
}

/// F and the lost value. The state's uppers, two zeros for the ended episodes and a one for the one cut off.
fn found(case: &Case, method: &str) -> (Rational, Rational) {
    let mut samples: Vec<Sample> = case.uppers(LOCAL).into_iter().map(Sample::State).collect();
    samples.extend([Sample::Ended, Sample::Ended, Sample::CutOff]);
    let confidence = Confidence { level: r("1/2"), masks: 1, inequalities: 2 };
    let sampler = Sampler::IndependentEpisodesGeometricTime;
    let rule = if method == "hoeffding" { hoeffding } else { bernstein };
    let bound = rule(sampler, &samples, &confidence).unwrap();
    let pays = RewardRange { lower: r("-1"), upper: r("2"), episodes_can_end: true };
    let lost = expectation(&pays, &r("3/10"), &bound).unwrap();
    (bound, lost)
}

fn honest(case: &Case, method: &str) -> String {
    let (bound, lost) = found(case, method);
    entry(method, &claim_decimal(&bound, Rounding::Up), &claim_decimal(&lost, Rounding::Up))
}

fn said(case: &Case, statistical: Vec<String>) -> Said {
    let limits = vec![LIMIT_STATISTICAL.to_owned(), LIMIT_REGRET.to_owned()];
    let bare = Said { statistical, limits, ..Said::default() };
    let certificate = case.read(&bare).unwrap();
    let assumptions = certificate.statistical.iter().flat_map(|c| statistical_assumptions(c, 3)).collect();
    Said { assumptions, ..bare }
}

fn rejected(case: &Case, said: &Said) -> Rejection {
    case.check(said).unwrap_err()
}

/// Entry 0 is refused.
fn first(reason: Reason) -> Rejection {
    refused("statistical claim", 0, "", reason)
}

fn without_regret(entry: &str) -> String {
    let (start, rest) = entry.split_once("\"regret\"").unwrap();
    format!("{start}{}", rest.split_once("},\n").map(|(_, after)| after).unwrap())
}

/// A certificate with one loose entry in which `from` is replaced.
fn bent(case: &Case, from: &str, to: &str) -> Rejection {
    let text = entry("hoeffding", "1", "1e9");
    assert!(text.contains(from), "{from}");
    rejected(case, &said(case, vec![text.replace(from, to)]))
}

#[test]
fn both_inequalities_are_accepted() {
    let case = Case::categorical();
    assert!(found(&case, "hoeffding").0 < Rational::one(), "the bound must not be the trivial one");
    let both = ["hoeffding", "bernstein"].map(|method| honest(&case, method)).to_vec();
    assert_eq!(case.check(&said(&case, both)).unwrap().certificate().statistical.len(), 2);
    let mut plain = said(&case, vec![without_regret(&honest(&case, "hoeffding"))]);
    plain.limits.pop();
    assert!(case.check(&plain).unwrap().certificate().statistical[0].regret.is_none());
}

#[test]
fn a_claim_is_accepted_iff_the_bound_found_is_as_good() {
    let case = Case::categorical();
    let method = "hoeffding";
    let (bound, lost) = found(&case, method);
    case.check(&said(&case, vec![entry(method, &bound.to_string(), &lost.to_string())])).unwrap();
    let small = r("1e-40");
    let tight = |part, claimed: &Rational, found: &Rational| {
        let (claimed, proved) = (Box::new(claimed.clone()), Box::new(found.clone()));
        refused("statistical claim", 0, part, Reason::TooTight { claimed, proved, how: "was found" })
    };
    let claimed = bound.sub(&small);
    let text = entry(method, &claimed.to_string(), &lost.to_string());
    assert_eq!(rejected(&case, &said(&case, vec![text])), tight("", &claimed, &bound));
    let claimed = lost.sub(&small);
    let text = entry(method, "1", &claimed.to_string());
    assert_eq!(rejected(&case, &said(&case, vec![text])), tight(", regret", &claimed, &lost));
}

/// Three of four rows: whoever wrote the certificate may have drawn them all and listed the better ones.
#[test]
fn a_draw_is_every_row_of_its_file() {
    let case = Case::categorical();
    let honest = said(&case, vec![honest(&case, "hoeffding")]);
    let mut longer = case.states.clone();
    let first: Vec<_> = longer.values.values.iter().take(longer.values.columns).copied().collect();
    longer.values.values.extend(first);
    longer.values.rows += 1;
    let left_out = Reason::RowsLeftOut { rows: 4, states: 3 };
    assert_eq!(case.check_in(&honest, &longer).unwrap_err(), left_out.into());
    let bare = Said::default();
    assert!(case.check_in(&bare, &longer).is_ok(), "bounds at listed states may leave rows out");
    assert!(case.check_in(&honest, &case.states).is_ok());
}

#[test]
fn only_independent_episodes_are_a_sampler() {
    let case = Case::categorical();
    for name in ["consecutive-states", "Independent-episodes-geometric-time", ""] {
        let expected = first(Reason::Sampler { name: name.into(), accepted: Sampler::INDEPENDENT_EPISODES });
        assert_eq!(bent(&case, SAMPLER, name), expected);
    }
    let shown = Reason::Sampler { name: "\u{1b}[31m".into(), accepted: "" }.to_string();
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn samples_are_states_and_episodes_without_one() {
    let case = Case::categorical();
    for (key, from, to) in [("samples", "6", "7"), ("ended", "2", "3"), ("cutOff", "1", "0")] {
        let rejection = bent(&case, &format!("\"{key}\":\"{from}\""), &format!("\"{key}\":\"{to}\""));
        assert!(matches!(rejection.reason, Reason::SampleCount { states: 3, .. }), "{key}");
    }
    let huge = bent(&case, r#""samples":"6","ended":"2""#, r#""samples":"9000000004","ended":"9000000000""#);
    let reason = Fault::TooManySamples { samples: 9_000_000_004, most: MAX_SAMPLES };
    assert_eq!(huge, first(reason.into()));
}

/// Without an ended episode the rewards may say that none ends; with two they may not, whatever value is claimed.
#[test]
fn episodes_that_ended_are_episodes_that_can_end() {
    let case = Case::categorical();
    let never =
        entry("hoeffding", "1", "1e9").replace(r#""episodesCanEnd":true"#, r#""episodesCanEnd":false"#);
    let refused = rejected(&case, &said(&case, vec![never.clone()]));
    assert_eq!(refused, first(Reason::EndedAlthoughNever { ended: 2 }));
    let none =
        never.replace(r#""ended":"2""#, r#""ended":"0""#).replace(r#""cutOff":"1""#, r#""cutOff":"3""#);
    case.check(&said(&case, vec![none])).unwrap();
}

#[test]
fn confidence_is_a_probability_that_is_split() {
    let case = Case::categorical();
    let reason = Fault::ConfidenceOutOfRange { confidence: Box::new(r("1")) };
    let expected = first(reason.into());
    assert_eq!(bent(&case, r#""confidence":"1/2""#, r#""confidence":"1""#), expected);
    let expected = first(Fault::EmptySplit.into());
    assert_eq!(bent(&case, r#""masks":"1""#, r#""masks":"0""#), expected);
    let expected = Rejection::from(Reason::TooManyInequalities { entries: 1, inequalities: 0 });
    assert_eq!(bent(&case, r#""inequalities":"2""#, r#""inequalities":"0""#), expected);
    let one = |method| honest(&case, method).replace(r#""inequalities":"2""#, r#""inequalities":"1""#);
    let both = said(&case, vec![one("hoeffding"), one("bernstein")]);
    let expected = Rejection::from(Reason::TooManyInequalities { entries: 2, inequalities: 1 });
    assert_eq!(rejected(&case, &both), expected);
}

#[test]
fn all_entries_speak_of_one_draw() {
    let case = Case::categorical();
    let first = honest(&case, "hoeffding");
    for (from, to, what) in [
        (r#""mask":"0""#, r#""mask":"1""#, "mask"),
        (r#""discount":"3/10""#, r#""discount":"1/5""#, "sampling"),
        (r#""confidence":"1/2""#, r#""confidence":"1/3""#, "confidence"),
    ] {
        let second = entry("bernstein", "1", "1e9").replace(from, to);
        let differs = rejected(&case, &said(&case, vec![first.clone(), second]));
        assert_eq!(differs, refused("statistical claim", 1, "", Reason::OtherDraw { what }));
    }
    let twice = said(&case, vec![first.clone(), entry("hoeffding", "1", "1e9")]);
    assert_eq!(rejected(&case, &twice), refused("statistical claim", 1, "", Reason::Repeated));
}

#[test]
fn family_head_mask_discount_and_values_make_sense() {
    let case = Case::categorical();
    assert_eq!(bent(&case, LOCAL, GLOBAL), first(Reason::NotLocal));
    for family in ["crown", PAIRED] {
        let expected = first(Reason::FamilyNotClaimed { family: family.into() });
        assert_eq!(bent(&case, LOCAL, family), expected);
    }
    let expected = first(Reason::NoMask);
    assert_eq!(bent(&case, r#""mask":"0""#, r#""mask":"1""#), expected);
    let reason = Fault::DiscountOutOfRange { discount: Box::new(r("1")) };
    let expected = first(reason.into());
    assert_eq!(bent(&case, r#""discount":"3/10""#, r#""discount":"1""#), expected);
    let text = without_regret(&entry("hoeffding", "1", "1")).replace("3/10", "1");
    assert_eq!(rejected(&case, &said(&case, vec![text])), expected);
    let expected = first(Reason::NotANumber);
    assert_eq!(bent(&case, r#""value":"1"}"#, r#""value":"one"}"#), expected);
    let expected = refused("statistical claim", 0, ", regret", Reason::NotANumber);
    assert_eq!(bent(&case, "1e9", "all"), expected);
    let bounds = bent(&case, r#""upper":"2""#, r#""upper":"-2""#);
    assert!(matches!(bounds.reason.fault(), Some(Fault::EmptyRewardRange { .. })));
    let deterministic = Case::new(Head::Deterministic);
    let claimed = said(&deterministic, vec![entry("hoeffding", "1", "1e9")]);
    assert_eq!(rejected(&deterministic, &claimed), first(Reason::Deterministic));
}

#[test]
fn every_assumption_and_limit_is_demanded() {
    let case = Case::categorical();
    let full = said(&case, vec![honest(&case, "hoeffding")]);
    assert_eq!(full.assumptions.len(), 7, "{:?}", full.assumptions);
    for position in 0..full.assumptions.len() {
        let mut less = full.clone();
        let assumption = less.assumptions.remove(position);
        assert_eq!(rejected(&case, &less), first(Reason::AssumptionMissing { assumption }));
    }
    for (position, limit) in [LIMIT_STATISTICAL, LIMIT_REGRET].into_iter().enumerate() {
        let mut less = full.clone();
        less.limits.remove(position);
        assert_eq!(rejected(&case, &less), Reason::LimitMissing { limit }.into());
    }
}
