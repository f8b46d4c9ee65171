//! `regret.json` and `statistic.json`.

use serde_json::{Value, json};

use super::{Cases, with};

pub fn regret(cases: &mut Cases) {
    let rewards = |lower: &str, upper: &str, ends: bool| json!({ "rewards": { "lower": lower, "upper": upper, "episodes_can_end": ends } });
    let unit = || rewards("0", "1", false);
    for rule in ["regret.sup", "regret.expectation"] {
        let mut add = |name: &str, rewards: Value, discount: &str, tv: &str| {
            cases.add(rule, name, with(rewards, json!({ "discount": discount, "tv": tv })));
        };
        add("one half each", unit(), "1/2", "1/2");
        add("no discount", unit(), "0", "2/7");
        add("a discount near 1", unit(), "999/1000", "1/100");
        add("a discount of 1", unit(), "1", "1/100");
        add("a negative discount", unit(), "-1/100", "1/100");
        add("no variation", unit(), "9/10", "0");
        add("full variation", unit(), "9/10", "1");
        add("more than full variation", unit(), "9/10", "1000001/1000000");
        add("a negative variation", unit(), "9/10", "-1/1000000");
        add("where the two forms meet", unit(), "9/10", "1/10");
        for ends in [false, true] {
            add("rewards above 0", rewards("2", "5", ends), "9/10", "1/3");
            add("rewards below 0", rewards("-5", "-2/3", ends), "9/10", "1/3");
            add("rewards of both signs", rewards("-5", "2/3", ends), "9/10", "1/3");
            add("one reward", rewards("2", "2", ends), "9/10", "1/3");
            add("an empty range", rewards("2", "1", ends), "9/10", "1/3");
        }
    }
    let mut add = |name: &str, rewards: Value, horizon: u32, tv: &str| {
        cases.add("regret.horizon", name, with(rewards, json!({ "horizon": horizon, "tv": tv })));
    };
    add("one step", unit(), 1, "1/3");
    add("three steps", unit(), 3, "1/3");
    add("ended episodes", rewards("2", "5", true), 3, "1/3");
    add("no variation", unit(), 100, "0");
    add("full variation", unit(), 100, "1");
    add("no step", unit(), 0, "1/3");
    add("an exact sum of thirds", unit(), 60, "1/3");
    // 1/2 has 2 bits: (1/2)^T is exact up to T = 32768; 2^-1023 has 1024: up to T = 64.
    let long = format!("1/{}", num_bigint::BigInt::from(1) << 1023u32);
    add("the last exact sum of halves", unit(), 32768, "1/2");
    add("beyond the exact bits", unit(), 32769, "1/2");
    add("rounded powers of a third", unit(), 40000, "1/3");
    add("rounded powers of a long denominator", unit(), 65, &long);
    add("the longest horizon", unit(), 1_000_000, "1/1000");
    add("a longer horizon", unit(), 1_000_001, "1/1000");
    add("more than full variation", unit(), 3, "4/3");
    add("an empty range", rewards("2", "1", true), 3, "1/3");
}

pub fn statistic(cases: &mut Cases) {
    let confidence = |level: &str, masks: u32, inequalities: u32| json!({ "level": level, "masks": masks, "inequalities": inequalities });
    for rule in ["statistic.hoeffding", "statistic.bernstein"] {
        let mut add = |name: &str, samples: Value, confidence: Value| {
            cases.add(rule, name, json!({ "samples": samples, "confidence": confidence }));
        };
        let usual = || confidence("19/20", 1, 1);
        add("equal samples", json!([[200, "1/4"]]), usual());
        add("half and half", json!([[50, "ended"], [50, "cut-off"]]), confidence("9/10", 1, 1));
        add("samples off the grid", json!([[100, "1/3"], [300, "1/7"], [200, "ended"]]), usual());
        add("samples above 1", json!([[100, "7"], [10000, "1/50"]]), usual());
        add("never above 1", json!([[10, "7"]]), usual());
        add(
            "a sample just below 1",
            json!([[2000, "36893488147419103231/36893488147419103232"], [2000, "0"]]),
            usual(),
        );
        add("a shared confidence", json!([[1000, "1/100"]]), confidence("19/20", 5, 2));
        add("a confidence near 1", json!([[1000, "1/100"]]), confidence("999999999/1000000000", 1, 1));
        add("a confidence near 0", json!([[1000, "1/100"]]), confidence("1/1000000000", 1, 1));
        add("no sample", json!([]), usual());
        add("one sample", json!([[1, "1/4"]]), usual());
        add("two samples", json!([[1, "0"], [1, "1/1000000"]]), usual());
        add("a negative sample", json!([[5, "1/4"], [1, "-1/1000000"]]), usual());
        add("a confidence of 0", json!([[5, "1/4"]]), confidence("0", 1, 1));
        add("a confidence of 1", json!([[5, "1/4"]]), confidence("1", 1, 1));
        add("shared by no mask", json!([[5, "1/4"]]), confidence("19/20", 0, 1));
        add("shared by no inequality", json!([[5, "1/4"]]), confidence("19/20", 1, 0));
        add("the most samples", json!([[1000000, "ended"]]), usual());
        add("a sample too many", json!([[1000001, "ended"]]), usual());
    }
}
