//! The array `regret`.

use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::regret::MAX_HORIZON;
use secateur_checker::kernel::regret::{RewardRange, expectation, horizon, sup};
use secateur_checker::model::Head;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::regret::Region;
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::{LIMIT_REGRET, regret_assumptions};
use secateur_testkit::case::refused;

use crate::case::{Case, GLOBAL, LOCAL, PAIRED, Said, r};

const SUP: &str = r#""form":"sup","discount":"9/10""#;
const MEAN: &str = r#""form":"expectation","discount":"9/10""#;
const STEPS: &str = r#""form":"horizon","horizon":"20""#;

fn pays() -> RewardRange {
    RewardRange { lower: r("-1"), upper: r("2"), episodes_can_end: true }
}

fn entry(family: &str, form: &str, region: &str, value: &str) -> String {
    format!(
        r#"{{"family":"{family}","mask":"0",{form},"rewardRange":{{"lower":"-1","upper":"2"}},
        "episodesCanEnd":true,"region":"{region}","value":"{value}"}}"#
    )
}

fn bound(form: &str, tv: &Rational) -> Rational {
    match form {
        SUP => sup(&pays(), &r("9/10"), tv),
        MEAN => expectation(&pays(), &r("9/10"), tv),
        _ => horizon(&pays(), 20, tv),
    }
    .unwrap()
}

/// A certificate with these entries and everything they rest on.
fn said(case: &Case, regret: Vec<String>) -> Said {
    let bare = Said { regret, limits: vec![LIMIT_REGRET.to_owned()], ..Said::default() };
    let certificate = case.read(&bare).unwrap();
    let assumptions = certificate.regret.iter().flat_map(regret_assumptions).collect();
    Said { assumptions, ..bare }
}

fn honest(case: &Case, family: &str, form: &str) -> String {
    let region = if family == LOCAL { "listed-states" } else { "all-states" };
    let value = claim_decimal(&bound(form, &case.largest(family)), Rounding::Up);
    entry(family, form, region, &value)
}

fn rejected(case: &Case, said: &Said) -> Rejection {
    case.check(said).unwrap_err()
}

/// Entry 0 is refused.
fn first(reason: Reason) -> Rejection {
    refused("regret claim", 0, "", reason)
}

#[test]
fn every_form_and_region_is_accepted() {
    let case = Case::categorical();
    let mut entries = Vec::new();
    for family in [GLOBAL, LOCAL] {
        entries.extend([SUP, MEAN, STEPS].map(|form| honest(&case, family, form)));
    }
    let verified = case.check(&said(&case, entries)).unwrap();
    assert_eq!(verified.certificate().regret.len(), 6);
    assert!(case.check(&Said::default()).unwrap().certificate().regret.is_empty());
}

/// The exact bound itself is accepted, the next number below it is not; for local families the worst state counts.
#[test]
fn a_claim_is_accepted_iff_the_bound_found_is_as_good() {
    let case = Case::categorical();
    let uppers = case.uppers(LOCAL);
    assert!(uppers[1] < uppers[0], "the states must differ for this test to mean something");
    for (family, region) in [(GLOBAL, "all-states"), (LOCAL, "listed-states")] {
        for form in [SUP, MEAN, STEPS] {
            let proved = bound(form, &case.largest(family));
            let exact = entry(family, form, region, &proved.to_string());
            case.check(&said(&case, vec![exact])).unwrap();
            let claimed = proved.sub(&r("1e-40"));
            let below = entry(family, form, region, &claimed.to_string());
            let (claimed, proved) = (Box::new(claimed), Box::new(proved));
            let expected = first(Reason::TooTight { claimed, proved, how: "is proved" });
            assert_eq!(rejected(&case, &said(&case, vec![below])), expected);
        }
    }
    let easy = bound(SUP, &uppers[1]).to_string();
    let best_state = said(&case, vec![entry(LOCAL, SUP, "listed-states", &easy)]);
    assert!(matches!(rejected(&case, &best_state).reason, Reason::TooTight { .. }));
}

/// The reward range [1, 1] of CartPole claims nothing lost only if no episode ends, and then says so.
#[test]
fn equal_rewards_do_not_certify_zero_when_episodes_can_end() {
    let case = Case::categorical();
    let cart_pole = |ends: bool| {
        let text = entry(GLOBAL, SUP, "all-states", "0");
        let text = text.replace(r#""lower":"-1","upper":"2""#, r#""lower":"1","upper":"1""#);
        said(&case, vec![text.replace("\"episodesCanEnd\":true", &format!("\"episodesCanEnd\":{ends}"))])
    };
    let rejection = rejected(&case, &cart_pole(true));
    assert!(matches!(rejection.reason, Reason::TooTight { .. }), "{rejection}");
    let verified = case.check(&cart_pole(false)).unwrap();
    let assumptions = &verified.certificate().assumptions;
    assert!(assumptions.contains(&"episodes: no episode ever ends".to_owned()), "{assumptions:?}");
}

#[test]
fn a_deterministic_head_has_no_regret_claims() {
    let case = Case::new(Head::Deterministic);
    case.check(&Said::default()).unwrap();
    let claimed = said(&case, vec![entry(GLOBAL, SUP, "all-states", "1e9")]);
    assert_eq!(rejected(&case, &claimed), first(Reason::Deterministic));
}

#[test]
fn the_family_must_be_claimed() {
    let case = Case::categorical();
    for family in ["crown", "norm-product/linf", "unheard-of", PAIRED] {
        let claimed = said(&case, vec![entry(family, SUP, "all-states", "1e9")]);
        let expected = first(Reason::FamilyNotClaimed { family: family.into() });
        assert_eq!(rejected(&case, &claimed), expected);
    }
}

#[test]
fn the_region_is_that_of_the_family() {
    let case = Case::categorical();
    let (all, listed) = (Region::AllStates, Region::ListedStates);
    for (family, word, stated, found) in
        [(LOCAL, "all-states", all, listed), (GLOBAL, "listed-states", listed, all)]
    {
        let claimed = said(&case, vec![entry(family, SUP, word, "1e9")]);
        assert_eq!(
            rejected(&case, &claimed),
            first(Reason::WrongRegion { stated: stated.name(), found: found.name() })
        );
    }
}

#[test]
fn the_mask_must_exist() {
    let case = Case::categorical();
    let text = entry(GLOBAL, SUP, "all-states", "1e9").replace(r#""mask":"0""#, r#""mask":"1""#);
    let expected = first(Reason::NoMask);
    assert_eq!(rejected(&case, &said(&case, vec![text])), expected);
}

#[test]
fn side_conditions_of_the_rules_are_kept() {
    let case = Case::categorical();
    let with = |from: &str, to: &str, form: &str| {
        let text = entry(GLOBAL, form, "all-states", "1e9");
        assert!(text.contains(from));
        rejected(&case, &said(&case, vec![text.replace(from, to)]))
    };
    let rule = |fault: Fault| first(fault.into());
    let discount = with("9/10", "1", SUP);
    assert_eq!(discount, rule(Fault::DiscountOutOfRange { discount: Box::new(r("1")) }));
    let empty = with(r#""upper":"2""#, r#""upper":"-2""#, SUP);
    let (lower, upper) = (Box::new(r("-1")), Box::new(r("-2")));
    assert_eq!(empty, rule(Fault::EmptyRewardRange { lower, upper }));
    assert_eq!(
        with(r#""20""#, r#""0""#, STEPS),
        rule(Fault::HorizonOutOfRange { horizon: 0, most: MAX_HORIZON })
    );
}

#[test]
fn values_are_numbers() {
    let case = Case::categorical();
    let claimed = said(&case, vec![entry(GLOBAL, SUP, "all-states", "inf")]);
    assert_eq!(rejected(&case, &claimed), first(Reason::NotANumber));
}

#[test]
fn claims_are_not_repeated() {
    let case = Case::categorical();
    let once = honest(&case, GLOBAL, SUP);
    let looser = entry(GLOBAL, SUP, "all-states", "1e9");
    let twice = said(&case, vec![once.clone(), looser]);
    assert_eq!(rejected(&case, &twice), refused("regret claim", 1, "", Reason::Repeated));
    case.check(&said(&case, vec![once, honest(&case, GLOBAL, STEPS)])).unwrap();
}

/// Each assumption is demanded word for word: with the claim's own discount, horizon and rewards.
#[test]
fn every_assumption_and_the_limit_are_demanded() {
    let case = Case::categorical();
    for (family, form, count) in [(GLOBAL, SUP, 5), (LOCAL, SUP, 6), (LOCAL, STEPS, 6)] {
        let full = said(&case, vec![honest(&case, family, form)]);
        assert_eq!(full.assumptions.len(), count, "{:?}", full.assumptions);
        for position in 0..count {
            let mut less = full.clone();
            let assumption = less.assumptions.remove(position);
            let expected = first(Reason::AssumptionMissing { assumption: assumption.clone() });
            assert_eq!(rejected(&case, &less), expected);
            less.assumptions.push(format!("{assumption}."));
            assert_eq!(rejected(&case, &less), expected);
        }
        let unlimited = Said { limits: Vec::new(), ..full };
        assert_eq!(rejected(&case, &unlimited), Reason::LimitMissing { limit: LIMIT_REGRET }.into());
    }
    let mut other = said(&case, vec![honest(&case, GLOBAL, SUP)]);
    for text in &mut other.assumptions {
        *text = text.replace("9/10", "1/10");
    }
    let rejection = rejected(&case, &other);
    assert!(
        matches!(&rejection.reason, Reason::AssumptionMissing { assumption } if assumption.contains("9/10")),
        "{rejection}"
    );
}

#[test]
fn entries_have_the_keys_of_their_form() {
    let case = Case::categorical();
    let read = |text: String| case.read(&Said { regret: vec![text], ..Said::default() }).unwrap_err();
    let good = entry(GLOBAL, SUP, "all-states", "1e9");
    let unknown = read(good.replace(SUP, r#""form":"sup","discount":"1/2","horizon":"20""#));
    assert!(matches!(unknown.condition(), Clause::UnknownKey { key, .. } if key.0 == "horizon"));
    let missing = read(good.replace(SUP, r#""form":"horizon""#));
    assert!(matches!(missing.condition(), Clause::MissingKey { key, .. } if key.0 == "horizon"));
    let word = read(good.replace("\"sup\"", "\"quoted\""));
    assert!(matches!(word.condition(), Clause::UnknownWord { found, .. } if found.0 == "quoted"));
    let region = read(good.replace("all-states", "some-states"));
    assert!(matches!(region.condition(), Clause::UnknownWord { found, .. } if found.0 == "some-states"));
    let end = read(good.replace("\"episodesCanEnd\":true,", ""));
    assert!(matches!(end.condition(), Clause::MissingKey { key, .. } if key.0 == "episodesCanEnd"));
}
