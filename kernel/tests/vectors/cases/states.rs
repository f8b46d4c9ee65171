//! `bounds.json`, `head.json` and `point.json`.

use serde_json::{Value, json};

use super::{Cases, floats, layer, random_network, scale, with};
use crate::json::{int, intervals, ints};
use crate::random::Random;

const ONE: i64 = 1 << 48;

fn box_of(ends: &[(i64, i64)]) -> Value {
    intervals(ends.iter().copied())
}

fn state(deviation: &[i64], oscillation: i64, margin: Option<i64>) -> Value {
    json!({ "deviation": ints(deviation.iter().copied()), "oscillation": int(oscillation), "margin": margin.map(int) })
}

pub fn bounds(cases: &mut Cases) {
    let mut random = Random(14);
    let mut add = |name: &str, input: Value| cases.add("local.change", name, input);
    let boxes = |center: &[(i64, i64)], region: &[(i64, i64)]| json!({ "center": box_of(center), "region": box_of(region) });
    add("a box", boxes(&[(10, 11), (0, 0), (-5, -4)], &[(7, 12), (-3, 8), (-5, -4)]));
    add("one output", boxes(&[(10, 11)], &[(7, 12)]));
    add("no output", boxes(&[], &[]));
    add("a tie", boxes(&[(5, 5), (5, 5)], &[(3, 6), (4, 9)]));
    add("a lead that is kept", boxes(&[(50, 51), (5, 5)], &[(40, 60), (0, 9)]));
    add("a region inside the centre", boxes(&[(0, 10), (0, 10)], &[(4, 5), (6, 7)]));
    add("other lengths", boxes(&[(10, 11)], &[(7, 12), (0, 0)]));
    add("a change beyond 64 bits", boxes(&[(i64::MIN, i64::MIN)], &[(0, i64::MAX)]));
    add("the largest change", boxes(&[(0, 0)], &[(-i64::MAX, i64::MAX)]));
    let change = |ends: &[(i64, i64)]| json!({ "change": box_of(ends) });
    add("a change of both signs", change(&[(-3, 8), (2, 3), (-9, -7)]));
    add("no change", change(&[(0, 0), (0, 0)]));
    add("the least integer", change(&[(i64::MIN, 0)]));
    add("an oscillation beyond 64 bits", change(&[(-i64::MAX, 0), (0, i64::MAX)]));
    let moved = |center: &[(i64, i64)], deviation: &[i64], oscillation: Option<i64>| json!({ "center": box_of(center), "deviation": ints(deviation.iter().copied()), "oscillation": oscillation.map(int) });
    let center = [(50, 51), (5, 5), (-7, 0)];
    add("deviations", moved(&center, &[3, 4, 5], None));
    add("deviations and a better oscillation", moved(&center, &[3, 4, 5], Some(2)));
    add("deviations and a worse oscillation", moved(&center, &[3, 4, 5], Some(200)));
    add("deviations that lose the lead", moved(&center, &[30, 14, 5], None));
    add("too few deviations", moved(&center, &[3, 4], None));
    let wider = |oscillation: i64, wider: Value| {
        with(moved(&center, &[3, 4, 5], Some(oscillation)), json!({ "wider": wider }))
    };
    add("a band within a wider one", wider(6, state(&[2, 9, 5], 5, Some(0))));
    add("a wider band with more outputs", wider(6, state(&[2, 9, 5, 1], 5, Some(0))));
    let functionals = |bounds: &[(&[i64], i64)], margins: bool| {
        let list: Vec<Value> = bounds
            .iter()
            .map(|(weights, bound)| json!({ "weights": weights, "bound": int(*bound) }))
            .collect();
        json!({ "center": box_of(&[(10, 11), (4, 5)]), "functionals": list, "margins": margins })
    };
    let own: [(&[i64], i64); 6] =
        [(&[-1, 0], -7), (&[1, 0], 13), (&[0, -1], -1), (&[0, 1], 9), (&[1, -1], 8), (&[-1, 1], -4)];
    add("functionals", functionals(&own, false));
    add("functionals of differences", functionals(&own, true));
    let mut loose = own;
    loose[5].1 = 1;
    add("differences that do not keep the lead", functionals(&loose, true));
    let lead = |bounds: &[(&[i64], i64)]| with(functionals(bounds, true), json!({ "lead": true }));
    add("the leader's differences alone", lead(&own));
    add("the leader's differences alone do not keep the lead", lead(&loose));
    let tie = json!({ "center": box_of(&[(4, 11), (4, 5)]) });
    add("all differences where any output may lead", with(lead(&loose), tie));
    for _ in 0..3 {
        let center: Vec<_> = (0..3).map(|_| random.interval(50, 20)).collect();
        let region: Vec<_> =
            center.iter().map(|(l, u)| (l - random.signed(49).abs(), u + random.signed(49).abs())).collect();
        add("random", boxes(&center, &region));
        let deviation: Vec<i64> = (0..3).map(|_| random.signed(49).abs()).collect();
        add("random", moved(&center, &deviation, Some(random.signed(49).abs())));
    }

    let mut add = |name: &str, center: &[(i64, i64)], oscillation: i64, kept: &[&[i64]]| {
        let kept: Vec<Value> = kept.iter().map(|row| ints(row.iter().copied())).collect();
        cases.add(
            "local.margin",
            name,
            json!({ "center": box_of(center), "oscillation": int(oscillation), "kept": kept }),
        );
    };
    add("no output", &[], 3, &[]);
    add("one output", &[(1, 2)], 3, &[&[0]]);
    add("a clear leader", &[(10, 11), (4, 5)], 3, &[&[0, 1], &[0, 0]]);
    add("kept more than the oscillation leaves", &[(10, 11), (4, 5)], 3, &[&[0, 4], &[0, 0]]);
    add("a lead of 0", &[(5, 5), (4, 5)], 3, &[&[0, 4], &[0, 0]]);
    add("a lead of 0, kept by nothing", &[(5, 5), (4, 5)], 3, &[&[0, 0], &[0, 0]]);
    add("a tie takes the first", &[(5, 6), (5, 6), (1, 1)], 3, &[&[0, 9, 9], &[-9, 0, -9], &[0, 0, 0]]);
    add("the least over all others", &[(10, 11), (4, 5), (9, 9)], 3, &[&[0, 7, 2], &[0, 0, 0], &[0, 0, 0]]);
    add("overlapping enclosures", &[(4, 9), (3, 8)], 3, &[&[0, -2], &[0, 0]]);
    add("a difference beyond 64 bits", &[(i64::MAX, i64::MAX), (i64::MIN, -2)], 3, &[&[0, 0], &[0, 0]]);
    add("a clean lead beyond 64 bits", &[(i64::MAX, i64::MAX), (-1, -1)], 3, &[&[0, 0], &[0, 0]]);
    add("a margin beyond 64 bits", &[(0, 0), (0, 0)], i64::MIN, &[&[0, 0], &[0, 0]]);
    let mut add = |name: &str, center: &[(i64, i64)], deviation: &[&str], oscillation: &str| {
        let change = json!({ "deviation": deviation, "oscillation": oscillation, "euclidean": null });
        cases.add(
            "local.margin",
            name,
            json!({ "center": box_of(center), "value_bits": 4, "change": change }),
        );
    };
    add("a change at all states", &[(160, 176), (64, 80)], &["1/3", "2/7"], "1/2");
    add("a change that loses the lead", &[(160, 176), (64, 80)], &["3", "4"], "13/2");
    add("a tie at all states", &[(64, 80), (64, 80)], &["3", "4"], "13/2");
    let three = [(160, 176), (64, 80), (100, 120)];
    add("three outputs at all states, the last closest", &three, &["1/3", "2/7", "5"], "17");
    add("three outputs at all states, the second closest", &three, &["1/3", "6", "0"], "17");
    add("one output at all states", &[(64, 80)], &["3"], "0");
    add("a change of another length", &[(64, 80), (0, 1)], &["3"], "0");

    let mut add = |name: &str, states: Value| cases.add("mono.envelope", name, json!({ "states": states }));
    add("no mask", json!([]));
    add("one mask", json!([state(&[1, 2], 3, Some(4))]));
    add(
        "the worst of all later masks",
        json!([state(&[1, 9], 3, Some(4)), state(&[5, 2], 7, Some(-1)), state(&[3, 3], 1, Some(6))]),
    );
    add("no margin", json!([state(&[1], 3, Some(4)), state(&[5], 7, None)]));
    add("other lengths", json!([state(&[1], 3, Some(4)), state(&[5, 6], 7, None)]));
    let known = |total_variation: &str, divergence: &str| {
        let policy = json!({ "total_variation": total_variation, "divergence": divergence });
        with(state(&[1], 3, Some(4)), json!({ "policy": policy }))
    };
    add("of known policies", json!([known("1/4", "1/9"), known("1/8", "1/3"), known("1/5", "1/5")]));
    add(
        "of a policy that is not known",
        json!([known("1/4", "1/9"), state(&[1], 3, Some(4)), known("1/5", "1/5")]),
    );
    let mut add = |name: &str, states: Value| cases.add("mono.head", name, json!({ "states": states }));
    add("no mask", json!([]));
    add("no policy is known", json!([state(&[1], 3, Some(4)), state(&[2], 4, None)]));
    add(
        "the worst of all later policies",
        json!([known("1/4", "1/9"), known("1/8", "1/3"), known("1/5", "1/5")]),
    );
    add(
        "changes stay each mask's own",
        json!([
            with(known("1/4", "1/9"), state(&[1], 3, Some(4))),
            with(known("1/3", "1/9"), state(&[7], 9, Some(2)))
        ]),
    );
}

pub fn head(cases: &mut Cases) {
    let change = |deviation: &[&str], oscillation: &str, euclidean: Option<&str>| json!({ "deviation": deviation, "oscillation": oscillation, "euclidean": euclidean });
    let gaussian = |log_std: &[(i64, i32)]| json!({ "log_std": floats(log_std) });
    let half = [(-1, -1), (1, 0)];
    for rule in ["head.gaussian-tv", "head.gaussian-kl"] {
        let mut add = |name: &str, head: Value, change: Value| {
            cases.add(rule, name, json!({ "head": head, "change": change }))
        };
        add("two outputs", gaussian(&half), change(&["1/2", "1/3"], "1", None));
        add("no change", gaussian(&half), change(&["0", "0"], "0", None));
        add("a better Euclidean norm", gaussian(&half), change(&["3", "3"], "1", Some("1/7")));
        add("a worse Euclidean norm", gaussian(&half), change(&["1/3", "1/3"], "1", Some("7")));
        add("unit deviation", gaussian(&[(0, 0)]), change(&["1"], "0", None));
        add("a tiny change", gaussian(&[(0, 0)]), change(&["1/1237940039285380274899124224"], "0", None));
        add("a distance beyond 24", gaussian(&[(-5, 0)]), change(&["7"], "0", None));
        add("the smallest deviation", gaussian(&[(-2048, 0)]), change(&["0"], "0", None));
        add("a smaller deviation", gaussian(&[(0, 0), (-2049, 0)]), change(&["0", "0"], "0", None));
        add("the largest deviation", gaussian(&[(3000, 0)]), change(&["5"], "0", None));
        add("too few deviations", gaussian(&half), change(&["1/2"], "1", None));
        add("no distribution", json!("deterministic"), change(&["1/2"], "1", None));
    }
    for rule in ["head.categorical-tv", "head.categorical-kl"] {
        let mut add = |name: &str, head: &str, change: Value| {
            cases.add(rule, name, json!({ "head": head, "change": change }))
        };
        for oscillation in
            ["0", "1", "1/3", "4", "100", "255", "256", "257", "1/1237940039285380274899124224"]
        {
            add(oscillation, "categorical", change(&["1", "1"], oscillation, None));
        }
        add("no distribution", "deterministic", change(&["1"], "1", None));
        let policy = |total_variation: &str, divergence: &str| {
            let policy = json!({ "total_variation": total_variation, "divergence": divergence });
            with(change(&["1", "1"], "1", None), json!({ "policy": policy }))
        };
        add("a policy that moves less", "categorical", policy("1/100", "1/10000"));
        add("a policy that may move more", "categorical", policy("99/100", "7"));
    }
    softmax(cases);
}

/// Logits and changes with 20 fraction bits: a clear preference, a tie, wide enclosures, and where a form of the rule begins.
fn softmax(cases: &mut Cases) {
    const UNIT: i64 = 1 << 20;
    let mut random = Random(16);
    let exactly = |logits: &[i64]| logits.iter().map(|z| (*z, *z)).collect::<Vec<_>>();
    // From a box of changes, as `local.change` says it.
    let boxed = |changes: &[(i64, i64)]| {
        let pairs = changes.iter().enumerate().flat_map(|(i, (_, rise))| {
            changes.iter().enumerate().map(move |(j, (fall, _))| if i == j { 0 } else { rise - fall })
        });
        let gains: Vec<i64> = pairs.collect();
        let most = gains.iter().copied().max().unwrap_or(0).max(0);
        (gains, most)
    };
    for rule in ["head.softmax-tv", "head.softmax-kl"] {
        let mut add = |name: &str, logits: &[(i64, i64)], gains: &[i64], oscillation: i64| {
            cases.add(
                rule,
                name,
                json!({
                    "logits": box_of(logits), "value_bits": 20, "gains": ints(gains.iter().copied()),
                    "oscillation": int(oscillation),
                }),
            );
        };
        let two = |gain: i64| ([0, gain, gain, 0], gain);
        let clear = exactly(&[4 * UNIT, 0]);
        for (name, gain) in [("no change", 0), ("one step", 1), ("half", UNIT / 2), ("one", UNIT)] {
            add(&format!("a clear preference, {name}"), &clear, &two(gain).0, two(gain).1);
        }
        // b = 1 / (1 + e^4): the divergence's form ends at w = 4, that of the total variation at w = 8.
        for (name, gain) in
            [("before 4", 4 * UNIT - 1), ("4", 4 * UNIT), ("before 8", 8 * UNIT - 1), ("8", 8 * UNIT)]
        {
            add(&format!("a clear preference, {name}"), &clear, &two(gain).0, two(gain).1);
        }
        add("a clear preference, 40", &clear, &two(40 * UNIT).0, two(40 * UNIT).1);
        add("a clear preference, above 40", &clear, &two(40 * UNIT + 1).0, two(40 * UNIT + 1).1);
        let tie = exactly(&[UNIT, UNIT]);
        add("a tie", &tie, &two(UNIT).0, two(UNIT).1);
        add("a wide enclosure", &[(2 * UNIT, 4 * UNIT), (0, UNIT)], &two(UNIT).0, two(UNIT).1);
        add("one action", &exactly(&[UNIT]), &[0], 0);
        add("a certain action", &exactly(&[3000 * UNIT, 0]), &two(UNIT).0, two(UNIT).1);
        let three = exactly(&[2 * UNIT, UNIT, -UNIT]);
        let (gains, most) = boxed(&[(-UNIT / 8, UNIT / 4), (-UNIT / 2, UNIT / 8), (0, UNIT)]);
        add("three actions", &three, &gains, most);
        let correlated = gains.iter().map(|gain| gain / 3).collect::<Vec<_>>();
        add("three actions that move together", &three, &correlated, most / 3);
        add("a gain below 0", &three, &[0, -UNIT, -UNIT, UNIT, 0, 0, UNIT, 0, 0], UNIT);
        for actions in [12, 13] {
            let logits: Vec<_> = (0..actions).map(|_| random.interval(22, 2)).collect();
            let changes: Vec<_> = (0..actions).map(|_| random.interval(19, 18)).collect();
            let (gains, most) = boxed(&changes);
            add(&format!("{actions} actions"), &logits, &gains, most);
        }
        add("no action", &[], &[], 0);
        add("too few gains", &three, &gains[1..], most);
        add("an oscillation below 0", &three, &gains, -1);
    }
}

pub fn point(cases: &mut Cases) {
    let mut random = Random(15);
    let rule = "counterexample.point";
    let normaliser = json!({ "mean": floats(&[(0, 0), (1, 0)]), "std": ["1", "1/2"], "clip": "2" });
    let mut add = |name: &str,
                   normaliser: Option<&Value>,
                   units: [&str; 2],
                   shape: Value,
                   offset: [&str; 2]| {
        cases.add(rule, name, json!({
            "inputs": 2, "normaliser": normaliser, "state": floats(&[(7, -2), (5, -2)]), "state_units": units[0],
            "perturbation": with(shape, json!({ "units": units[1] })), "offset": offset,
        }));
    };
    let linf = || json!({ "linf": "1/3" });
    for state in ["raw", "normalised"] {
        for set in ["raw", "normalised"] {
            add(
                &format!("state {state}, set {set}"),
                Some(&normaliser),
                [state, set],
                linf(),
                ["1/3", "-1/4"],
            );
        }
    }
    add("no normaliser", None, ["raw", "raw"], linf(), ["1/3", "-1/3"]);
    add("too far by little", None, ["raw", "raw"], linf(), ["1/3", "-333333334/1000000000"]);
    add("per coordinate", None, ["raw", "raw"], json!({ "radii": ["1", "0"] }), ["-1", "0"]);
    add("per coordinate, too far", None, ["raw", "raw"], json!({ "radii": ["1", "0"] }), ["-1", "1/1000"]);
    add("a radius is missing", None, ["raw", "raw"], json!({ "radii": ["1"] }), ["-1", "0"]);
    add("a negative radius", None, ["raw", "raw"], json!({ "linf": "-1" }), ["0", "0"]);
    let shared = || json!({ "radii": ["1/10", "1/5"], "shared": [{ "radius": "1", "inputs": [0, 1] }] });
    add("one offset explains both", None, ["raw", "raw"], shared(), ["11/10", "4/5"]);
    add("no offset explains both", None, ["raw", "raw"], shared(), ["11/10", "799/1000"]);
    add("beyond offset and noise", None, ["raw", "raw"], shared(), ["1101/1000", "1"]);
    let limited = || with(shared(), json!({ "limits": [{ "input": 0, "lower": "1", "upper": "2" }] }));
    add("at the limit", None, ["raw", "raw"], limited(), ["1/4", "0"]);
    add("beyond the limit", None, ["raw", "raw"], limited(), ["251/1000", "0"]);
    add("on the sphere", None, ["raw", "raw"], json!({ "l2": "5" }), ["3", "-4"]);
    add("outside the ball", None, ["raw", "raw"], json!({ "l2": "5" }), ["3", "-4000001/1000000"]);
    let flat = with(normaliser.clone(), json!({ "std": ["1", "0"] }));
    add("a std of 0", Some(&flat), ["raw", "raw"], linf(), ["0", "0"]);
    cases.add(
        rule,
        "too few inputs",
        json!({
            "inputs": 2, "state": floats(&[(7, -2)]), "state_units": "raw",
            "perturbation": { "linf": "1", "units": "raw" }, "offset": ["0", "0"],
        }),
    );

    let grids = |network: Value, depth: usize| json!({ "network": network, "scale": scale(48, 48, &vec![52; depth]) });
    for activation in super::activations() {
        let network = random_network(&mut random, &[2, 2, 2], &[activation, json!("identity")], false);
        cases.add(rule, "outputs at a point", with(grids(network, 2), json!({ "at": ["1/3", "-5/2"] })));
    }
    let plain = || grids(json!([layer(1, &[(1, 0)], &[(0, 0)], json!("identity"))]), 1);
    cases.add(rule, "a point beyond the grid", with(plain(), json!({ "at": ["32768"] })));
    cases.add(rule, "close to the end of the grid", with(plain(), json!({ "at": ["-32767"] })));
    cases.add(rule, "a point of another width", with(plain(), json!({ "at": ["1", "1"] })));

    let mut add = |name: &str, head: Value, clean: &[(i64, i64)], moved: &[(i64, i64)]| {
        cases.add(
            rule,
            name,
            json!({ "head": head, "value_bits": 48, "clean": box_of(clean), "moved": box_of(moved) }),
        );
    };
    let gaussian = || json!({ "log_std": floats(&[(-1, -1), (1, 0)]) });
    let (clean, moved) = ([(0, 1), (ONE, ONE)], [(ONE / 2, ONE / 2 + 3), (-ONE, -ONE)]);
    for head in [gaussian(), json!("categorical"), json!("deterministic")] {
        add(&format!("a change: {head}"), head.clone(), &clean, &moved);
        add(&format!("no change: {head}"), head.clone(), &clean, &clean);
        add(&format!("overlapping: {head}"), head.clone(), &[(0, 10), (0, 10)], &[(9, 20), (-5, 0)]);
        add(
            &format!("far apart: {head}"),
            head,
            &[(0, 0), (0, 0)],
            &[(200 * ONE, 200 * ONE), (-200 * ONE, -200 * ONE)],
        );
    }
    add("another width", json!({ "log_std": floats(&[(0, 0)]) }), &clean, &moved);
    add(
        "a deviation too small to invert",
        json!({ "log_std": floats(&[(-2049, 0)]) }),
        &clean[..1],
        &moved[..1],
    );
}
