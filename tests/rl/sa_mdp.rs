//! Exact finite SA-MDPs against the regret rules: the rules are never below the truth, they are attained, and the
//! constant usually quoted is below it.
#![allow(clippy::needless_range_loop)] // states are positions in several tables at once

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use proptest::prelude::*;
use secateur::sa_mdp::{
    BellmanViolation, CompareError, DocumentError, FiniteSaMdp, ModelError, bellman_holds, compare,
    emit_json, extremal, parse_document, quoted_bound, solve,
};
use secateur_checker::kernel::regret::{RewardRange, sup};
use secateur_checker::number::Rational;

const EXTREMAL: &str = include_str!("../../fixtures/sa_mdp/extremal-3-state.json");
const POLE: &str = include_str!("../../fixtures/sa_mdp/pole-that-falls.json");

fn q(numerator: i64, denominator: i64) -> BigRational {
    BigRational::new(BigInt::from(numerator), BigInt::from(denominator))
}

#[test]
fn the_fixture_refutes_the_quoted_constant_and_attains_ours() {
    let model = parse_document(EXTREMAL.as_bytes()).unwrap();
    assert_eq!(model, extremal(&q(1, 2), &q(1, 10)));
    let (solution, rows) = compare(&model, Some(12)).unwrap();
    assert_eq!(solution.clean[0], q(2, 1));
    assert_eq!(solution.worst[0], q(14, 11));
    assert_eq!(solution.adversary[0], 1);
    let start = &rows[0];
    assert_eq!((&start.gap, &start.sup, &start.quoted), (&q(8, 11), &q(8, 11), &q(3, 5)));
    assert!(start.refutes_quoted() && start.bounds_hold());
    let horizon = start.horizon.as_ref().unwrap();
    assert_eq!(horizon.gap, horizon.bound);
    assert!(rows[1..].iter().all(|row| row.bounds_hold()));
}

#[test]
fn the_report_says_what_was_solved() {
    let model = parse_document(EXTREMAL.as_bytes()).unwrap();
    let (solution, rows) = compare(&model, Some(3)).unwrap();
    let report = emit_json(&model, &solution, &rows);
    let start = &report["starts"][0];
    for (field, value) in
        [("clean", "2"), ("worst", "14/11"), ("gap", "8/11"), ("quoted", "3/5"), ("shown", "x")]
    {
        assert_eq!(start[field], value, "{field}");
    }
    assert_eq!((&start["quotedRefuted"], &start["boundsHold"]), (&true.into(), &true.into()));
    // t = 1/10, T = 3: 2 (0.1 + 0.19 + 0.271) = 561/500.
    assert_eq!(start["regret.horizon"]["bound"], "561/500");
    assert_eq!(compare(&model, Some(257)).unwrap_err(), CompareError::HorizonTooLong { horizon: 257 });
}

/// Every step pays 1, and still an adversary that makes the pole fall takes value: a reward range [1, 1] that forgets
/// the end of the episode would certify that it takes nothing.
#[test]
fn a_constant_reward_does_not_certify_zero_regret() {
    let model = parse_document(POLE.as_bytes()).unwrap();
    let rewards = model.reward_range();
    let one = Rational::one();
    assert_eq!(rewards, RewardRange { lower: one.clone(), upper: one, episodes_can_end: true });
    let (_, rows) = compare(&model, Some(20)).unwrap();
    let start = &rows[0];
    assert!(start.gap.is_positive() && start.bounds_hold());
    let forgetful = RewardRange { episodes_can_end: false, ..rewards };
    let half = Rational::parse("1/2").unwrap();
    let bound = sup(&forgetful, &Rational::parse("9/10").unwrap(), &half).unwrap();
    assert!(bound.is_zero(), "the gap {} would have been certified to be 0", start.gap);
}

/// For all g = i/20 and t = j/20: our bound is the gap, over the discounted sum and over horizons; the quoted constant
/// is below it exactly when 0 < g and 0 < t < (1-g)^2 / (1-g+g^2).
#[test]
fn the_extremal_family_attains_the_bounds() {
    let (mut refuted, mut total) = (0, 0);
    for i in 0..20 {
        for j in 0..=20 {
            let (g, t) = (q(i, 20), q(j, 20));
            let (_, rows) = compare(&extremal(&g, &t), Some(1 + (i + j) as u32 % 9)).unwrap();
            let (start, horizon) = (&rows[0], rows[0].horizon.as_ref().unwrap());
            assert_eq!(start.gap, start.sup, "g = {g}, t = {t}");
            assert_eq!(horizon.gap, horizon.bound, "g = {g}, t = {t}");
            assert!(start.bounds_hold());
            assert_eq!(start.quoted, quoted_bound(&g, &BigRational::one(), &t));
            let stop = BigRational::one() - &g;
            let edge = &stop * &stop / (&stop + &g * &g);
            assert_eq!(start.refutes_quoted(), g.is_positive() && t.is_positive() && t < edge, "{g} {t}");
            refuted += u32::from(start.refutes_quoted());
            total += 1;
        }
    }
    assert_eq!((total, refuted > 100), (420, true), "{refuted} refutations");
}

#[test]
fn a_wrong_solution_breaks_a_bellman_equation() {
    let model = parse_document(EXTREMAL.as_bytes()).unwrap();
    let good = solve(&model);
    assert_eq!(bellman_holds(&model, &good), Ok(()));
    let mut wrong = good.clone();
    wrong.clean[0] += q(1, 1000);
    assert_eq!(bellman_holds(&model, &wrong), Err(BellmanViolation::Clean { state: 0 }));
    let mut wrong = good.clone();
    wrong.worst[1] -= q(1, 1000);
    assert_eq!(bellman_holds(&model, &wrong), Err(BellmanViolation::NotAttained { state: 1 }));
    let mut wrong = good.clone();
    wrong.adversary[0] = 2;
    assert_eq!(bellman_holds(&model, &wrong), Err(BellmanViolation::AdversaryOutside { state: 0 }));
    let mut wrong = good.clone();
    (wrong.worst, wrong.adversary) = (good.clean.clone(), vec![0, 1, 2]);
    assert_eq!(bellman_holds(&model, &wrong), Err(BellmanViolation::NotOptimal { state: 0, shown: 1 }));
    wrong.worst.pop();
    assert_eq!(bellman_holds(&model, &wrong), Err(BellmanViolation::Shape));
}

#[test]
fn documents_are_refused_by_clause() {
    let parse = |from: &str, to: &str| {
        let text = EXTREMAL.replacen(from, to, 1);
        assert_ne!(text, EXTREMAL, "{from}");
        parse_document(text.as_bytes()).unwrap_err()
    };
    use DocumentError as D;
    assert!(matches!(parse("sa-mdp/1", "sa-mdp/2"), D::Format { .. }));
    assert!(matches!(parse("\"discount\"", "\"gamma\": \"1\", \"discount\""), D::Json(_)));
    assert!(matches!(parse("\"good\": \"1\"", "\"good\": \"1\", \"good\": \"0\""), D::Json(_)));
    assert!(matches!(parse("\"1/2\"", "0.5"), D::Json(_)));
    assert!(matches!(parse("\"1/2\"", "\"half\""), D::Number { .. }));
    assert!(matches!(parse("\"name\": \"x\"", "\"name\": \"s\""), D::DuplicateName { .. }));
    assert!(matches!(parse("[\"s\", \"x\"]", "[\"s\", \"y\"]"), D::UnknownName { .. }));
    assert!(matches!(parse("\"name\": \"s\",", "\"name\": \"s\", \"terminal\": true,"), D::Field { .. }));
    assert!(matches!(parse("\"perturbations\": [\"s\", \"x\"],", ""), D::Field { .. }));
    assert!(matches!(parse("\"1/2\"", "\"1\""), D::Model(ModelError::Discount { .. })));
    assert!(matches!(parse("\"9/10\"", "\"8/10\""), D::Model(ModelError::PolicyNotDistribution { .. })));
    let next = "\"next\": { \"s\": \"1\" }";
    let lost = "\"next\": { \"s\": \"1/2\" }";
    assert!(matches!(parse(next, lost), D::Model(ModelError::TransitionsNotDistribution { .. })));
    let signed = "\"next\": { \"s\": \"2\", \"x\": \"-1\" }";
    assert!(matches!(parse(next, signed), D::Model(ModelError::TransitionsNotDistribution { .. })));
    let hidden = parse("[\"s\", \"x\"]", "[\"x\"]");
    assert!(matches!(hidden, D::Model(ModelError::PerturbationsWithoutSelf { state: 0 })));
    let text = POLE.replacen("\"leaning left\", \"leaning right\"]", "\"fallen\"]", 1);
    let shown = parse_document(text.as_bytes()).unwrap_err();
    assert!(matches!(shown, D::Model(ModelError::PerturbationShows { state: 0, shown: 3 })));
    let long = " ".repeat(secateur::sa_mdp::MAX_BYTES + 1);
    assert!(matches!(parse_document(long.as_bytes()), Err(D::TooLong { .. })));
    let mut model = parse_document(POLE.as_bytes()).unwrap();
    model.rewards[3][0] = q(1, 1);
    assert_eq!(model.validate(), Err(ModelError::TerminalNotAbsorbing { state: 3 }));
    model.rewards.pop();
    assert!(matches!(model.validate(), Err(ModelError::Shape { .. })));
}

/// A distribution with the given weights; all zero becomes the first outcome.
fn normalised(weights: &[i64]) -> Vec<BigRational> {
    let total: i64 = weights.iter().sum();
    let at = |(i, w): (usize, &i64)| if total == 0 { q(i64::from(i == 0), 1) } else { q(*w, total) };
    weights.iter().enumerate().map(at).collect()
}

fn build(states: usize, actions: usize, last_ends: bool, discount: i64, numbers: &[i64]) -> FiniteSaMdp {
    let mut numbers = numbers.iter().copied().cycle();
    let mut take = |n: usize, top: i64| -> Vec<i64> { numbers.by_ref().take(n).map(|v| v % top).collect() };
    let mut model = FiniteSaMdp {
        states: (0..states).map(|s| format!("s{s}")).collect(),
        actions: (0..actions).map(|a| format!("a{a}")).collect(),
        discount: q(discount, 10),
        terminal: (0..states).map(|s| last_ends && s + 1 == states).collect(),
        rewards: Vec::new(),
        transitions: Vec::new(),
        policy: Vec::new(),
        perturbations: Vec::new(),
    };
    for s in 0..states {
        if model.terminal[s] {
            let stay: Vec<i64> = (0..states).map(|t| i64::from(t == s)).collect();
            model.rewards.push(vec![BigRational::zero(); actions]);
            model.transitions.push(vec![normalised(&stay); actions]);
            model.policy.push(normalised(&vec![0; actions]));
            model.perturbations.push(vec![s]);
            continue;
        }
        model.rewards.push(take(actions, 9).iter().map(|v| q(v - 4, 2)).collect());
        model.transitions.push((0..actions).map(|_| normalised(&take(states, 4))).collect());
        model.policy.push(normalised(&take(actions, 6)));
        let shown = take(states, 2);
        let may_show = |t: &usize| *t == s || (shown[*t] == 1 && !model.terminal[*t]);
        model.perturbations.push((0..states).filter(may_show).collect());
    }
    model
}

fn models() -> impl Strategy<Value = FiniteSaMdp> {
    let numbers = proptest::collection::vec(0i64..1000, 211);
    (2usize..=5, 2usize..=3, any::<bool>(), 0i64..10, numbers)
        .prop_map(|(s, a, ends, discount, numbers)| build(s, a, ends, discount, &numbers))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn the_exact_gap_never_exceeds_our_bounds(model in models(), horizon in 1u32..6) {
        model.validate().unwrap();
        let (_, rows) = compare(&model, Some(horizon)).unwrap();
        for row in &rows {
            prop_assert!(!row.gap.is_negative());
            prop_assert!(row.expected_tv <= row.sup_tv);
            prop_assert!(row.bounds_hold(), "{row:?}");
        }
    }

    /// No stationary adversary takes more than policy iteration found: brute force over all of them.
    #[test]
    fn policy_iteration_finds_the_least_value(model in models()) {
        let best = solve(&model);
        let mut count = 0;
        let mut choice = vec![0usize; model.len()];
        'all: loop {
            let mut fixed = model.clone();
            // The policy with this adversary, as a model of its own: state s acts as what it is shown.
            for s in 0..model.len() {
                fixed.policy[s] = model.policy[model.perturbations[s][choice[s]]].clone();
                fixed.perturbations[s] = vec![s];
            }
            let value = solve(&fixed).clean;
            prop_assert!(value.iter().zip(&best.worst).all(|(v, w)| v >= w));
            count += 1;
            if count == 24 { break; }
            for s in 0..model.len() {
                choice[s] += 1;
                if choice[s] < model.perturbations[s].len() { continue 'all; }
                choice[s] = 0;
            }
            break;
        }
    }
}
