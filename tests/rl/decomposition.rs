//! The three-term decomposition: terms add up exactly, in the fractions and in the printed digits, and inputs whose
//! measured cells do not belong beside a bound are refused.

use num_bigint::BigInt;
use secateur::decomposition::{DecompositionError, decompose, emit_json, emit_table, parse_input};
use secateur_checker::number::Rational;

const INPUT: &str = include_str!("../../fixtures/decomposition/two-masks.json");

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

/// Dense mean (91.25 + 88.5 + 90.15) / 3 = 269.9/3; pruned 266.85/3; attacked 208.55/3.
#[test]
fn terms_are_differences_of_shared_means() {
    let result = decompose(&parse_input(INPUT.as_bytes()).unwrap());
    let first = &result.masks[0];
    assert_eq!(first.clean.measured, r("15.1").mul(&r("1/3")));
    assert_eq!(first.pruning.measured, r("3.05").mul(&r("1/3")));
    assert_eq!(first.robustness.measured, r("58.3").mul(&r("1/3")));
    assert_eq!(first.total, r("76.45").mul(&r("1/3")));
    assert_eq!(first.pruning.within_bound(), Some(true));
    // 284.75 / 7 is the mean of the second mask: the dense mean less it is above no bound, as there is none.
    assert_eq!(result.masks[1].pruning.measured, r("269.9").mul(&r("1/3")).sub(&r("284.75").mul(&r("1/7"))));
    assert_eq!(result.masks[1].pruning.within_bound(), None);
}

#[test]
fn json_terms_add_up_exactly() {
    let json = emit_json(&decompose(&parse_input(INPUT.as_bytes()).unwrap()));
    let masks = json["masks"].as_array().unwrap();
    assert_eq!(masks.len(), 2);
    for mask in masks {
        let at = |term: &str| r(mask[term]["measured"].as_str().unwrap());
        let sum = at("clean").add(&at("pruning")).add(&at("robustness"));
        assert_eq!(sum, r(mask["total"].as_str().unwrap()));
    }
    assert_eq!(masks[0]["robustness"]["bound"]["confidence"], "19/20");
    assert_eq!(masks[0]["robustness"]["withinBound"], true);
    assert!(masks[1]["pruning"].get("bound").is_none());
}

#[test]
fn printed_terms_add_up_exactly() {
    let result = decompose(&parse_input(INPUT.as_bytes()).unwrap());
    for digits in 0..9 {
        let text = emit_table(&result, digits);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.contains("magnitude-"))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), 2, "{text}");
        for (row, exact) in rows.iter().zip(&result.masks) {
            let sum = r(row[3]).add(&r(row[4])).add(&r(row[6]));
            assert_eq!(sum, r(row[8]), "{text}");
            let unit = Rational::new(BigInt::from(1), BigInt::from(10).pow(digits)).unwrap();
            assert!(r(row[4]).sub(&exact.pruning.measured).abs() <= unit);
        }
        assert!(rows[0][5].contains("12.5 (proof)") && rows[0][7].contains("confidence 19/20"), "{text}");
        assert_eq!(rows[1][5], "-");
    }
}

#[test]
fn an_exceeded_bound_is_said() {
    let text = INPUT.replacen("43.75", "19.25", 1);
    let result = decompose(&parse_input(text.as_bytes()).unwrap());
    assert_eq!(result.masks[0].robustness.within_bound(), Some(false));
    assert!(emit_table(&result, 2).contains("exceeded"));
}

#[test]
fn inputs_are_refused_by_condition() {
    let parse = |from: &str, to: &str| {
        let text = INPUT.replacen(from, to, 1);
        assert_ne!(text, INPUT, "{from}");
        parse_input(text.as_bytes()).unwrap_err()
    };
    use DecompositionError as D;
    assert!(matches!(parse("decomposition/1", "decomposition/2"), D::Format { .. }));
    assert!(matches!(parse("\"91.25\"", "91.25"), D::Json(_)));
    assert!(matches!(parse("\"91.25\"", "\"NaN\""), D::Json(_)));
    assert!(matches!(parse("\"actions\": \"sampled\"", "\"actions\": \"greedy\""), D::Json(_)));
    assert!(matches!(parse("\"discount\": \"0.99\"", "\"discount\": \"1\""), D::Returns));
    assert!(matches!(parse("\"seed\": 2", "\"seed\": 1"), D::DuplicateSeed { seed: 1, .. }));
    assert!(matches!(parse("[{ \"seed\": 11, \"return\": \"35.5\" }]", "[]"), D::NoEpisodes { .. }));
    assert!(matches!(parse("magnitude-90", "magnitude-30"), D::DuplicateMask { .. }));
    assert!(matches!(parse("\"9/10\"", "\"11/10\""), D::Sparsity { .. }));
    let deterministic = parse("\"sampled\"", "\"deterministic\"");
    assert!(matches!(deterministic, D::BoundNeedsSampledActions { .. }));
    assert!(matches!(parse("99/100", "9/10"), D::BoundReturnsDiffer { term: "pruning", .. }));
    assert!(matches!(parse("regret.sup", "regret.horizon"), D::BoundRule { term: "pruning", .. }));
    assert!(matches!(parse("\"12.5\"", "\"-12.5\""), D::BoundMalformed { term: "pruning", .. }));
    let unsaid = parse("\"kind\": \"proof\"", "\"kind\": \"statistical\"");
    assert!(matches!(unsaid, D::BoundMalformed { term: "pruning", .. }));
    let sure = parse("\"confidence\": \"0.95\"", "\"confidence\": \"1\"");
    assert!(matches!(sure, D::BoundMalformed { term: "robustness", .. }));
    let mut value: serde_json::Value = serde_json::from_str(INPUT).unwrap();
    value["masks"] = serde_json::json!([]);
    assert!(matches!(parse_input(value.to_string().as_bytes()), Err(D::NoMasks)));
}
