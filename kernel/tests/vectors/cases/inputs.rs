//! `input.json` and `region.json`.

use serde_json::{Value, json};

use super::{Cases, floats, with};
use crate::random::Random;

const UNITS: [&str; 2] = ["raw", "normalised"];

fn normaliser() -> Value {
    json!({ "mean": floats(&[(0, 0), (1, 0)]), "std": ["1", "1/3"], "clip": "2" })
}

pub fn input(cases: &mut Cases) {
    let mut random = Random(16);
    let mut add =
        |name: &str, normaliser: Option<&Value>, units: [&str; 2], state: &[(i64, i32)], shape: Value| {
            cases.add(
                "input.set",
                name,
                json!({
                    "inputs": 2, "normaliser": normaliser, "state": floats(state), "state_units": units[0],
                    "perturbation": with(shape, json!({ "units": units[1] })), "value_bits": 20,
                }),
            );
        };
    let shapes = [json!({ "linf": "1/7" }), json!({ "l2": "1/7" }), json!({ "radii": ["1/7", "0"] })];
    let own = normaliser();
    for state in UNITS {
        for set in UNITS {
            for shape in &shapes {
                add(
                    &format!("inside: state {state}, set {set}"),
                    Some(&own),
                    [state, set],
                    &[(1, -2), (5, -2)],
                    shape.clone(),
                );
                add(
                    &format!("cut: state {state}, set {set}"),
                    Some(&own),
                    [state, set],
                    &[(-2, 0), (7, -2)],
                    shape.clone(),
                );
                add(
                    &format!("beyond the clip: state {state}, set {set}"),
                    Some(&own),
                    [state, set],
                    &[(-5, 0), (9, 0)],
                    shape.clone(),
                );
            }
        }
    }
    let state = [(1, -2), (5, -2)];
    let open = with(normaliser(), json!({ "clip": null }));
    for shape in &shapes {
        add("no normaliser", None, ["raw", "raw"], &state, shape.clone());
        add("no clip", Some(&open), ["raw", "raw"], &[(-5, 0), (9, 0)], shape.clone());
    }
    add("radius 0", Some(&own), ["raw", "raw"], &state, json!({ "linf": "0" }));
    add(
        "radius 0 of a ball at the clip",
        Some(&own),
        ["raw", "raw"],
        &[(2, 0), (5, -2)],
        json!({ "l2": "0" }),
    );
    add("the ball touches the clip", Some(&own), ["raw", "raw"], &[(1, 0), (1, 0)], json!({ "l2": "1" }));
    add("a negative radius", Some(&own), ["raw", "raw"], &state, json!({ "linf": "-1/7" }));
    add("a negative radius of one", Some(&own), ["raw", "raw"], &state, json!({ "radii": ["1", "-1"] }));
    add("too few radii", Some(&own), ["raw", "raw"], &state, json!({ "radii": ["1"] }));
    add("too many radii", Some(&own), ["raw", "raw"], &state, json!({ "radii": ["1", "1", "1"] }));
    add("too few inputs", Some(&own), ["raw", "raw"], &state[..1], json!({ "linf": "1" }));
    for std in ["0", "-1"] {
        let flat = with(normaliser(), json!({ "std": ["1", std] }));
        add(&format!("a std of {std}"), Some(&flat), ["raw", "raw"], &state, json!({ "linf": "1" }));
    }
    let short = with(normaliser(), json!({ "std": ["1"] }));
    add("too few stds", Some(&short), ["raw", "raw"], &state, json!({ "linf": "1" }));
    add("the largest state", None, ["raw", "raw"], &[((1 << 43) - 1, 0), (0, 0)], json!({ "linf": "0" }));
    add("a state beyond the grid", None, ["raw", "raw"], &[(1 << 43, 0), (0, 0)], json!({ "linf": "0" }));
    add("the least state", None, ["raw", "raw"], &[(-1 << 43, 0), (0, 0)], json!({ "linf": "0" }));
    for number in 0..4 {
        let state = [(random.signed(52), -50), (random.signed(52), -51)];
        add("random", Some(&own), [UNITS[number % 2], UNITS[number / 2]], &state, json!({ "l2": "10/77" }));
    }

    let sensor = |offsets: Value, limits: Value| {
        let own = json!({ "radii": ["1/3", "1/7"], "shared": offsets });
        if limits.is_null() { own } else { with(own, json!({ "limits": limits })) }
    };
    let both = || json!([{ "radius": "2/5", "inputs": [0, 1] }]);
    let mut add = |name: &str, units: [&str; 2], shape: Value| {
        let set = with(shape, json!({ "units": units[1] }));
        cases.add(
            "input.parts",
            name,
            json!({
                "inputs": 2, "normaliser": own, "state_units": units[0], "perturbation": set,
                "state": floats(&[(1, -2), (5, -2)]), "value_bits": 20,
            }),
        );
    };
    for state in UNITS {
        for set in UNITS {
            let name = format!("an offset of both inputs: state {state}, set {set}");
            add(&name, [state, set], sensor(both(), Value::Null));
        }
    }
    let limits = |lower: &str, upper: &str| json!([{ "input": 1, "lower": lower, "upper": upper }]);
    add("an input that a limit cuts leaves the offset", ["raw", "raw"], sensor(both(), limits("1", "4/3")));
    add("limits beyond the reach", ["raw", "raw"], sensor(both(), limits("-9", "9")));
    add("a state at its limit", ["raw", "raw"], sensor(both(), limits("5/4", "9")));
    add("a state below its limits", ["raw", "raw"], sensor(both(), limits("63/50", "9")));
    add("a state above its limits", ["raw", "raw"], sensor(both(), limits("-9", "31/25")));
    add("empty limits", ["raw", "raw"], sensor(both(), limits("2", "1")));
    let twice =
        json!([{ "input": 1, "lower": "0", "upper": "9" }, { "input": 1, "lower": "0", "upper": "9" }]);
    add("limits given twice", ["raw", "raw"], sensor(both(), twice));
    let nowhere = json!([{ "input": 2, "lower": "0", "upper": "9" }]);
    add("limits of no input", ["raw", "raw"], sensor(both(), nowhere));
    add(
        "an offset of no input",
        ["raw", "raw"],
        sensor(json!([{ "radius": "1", "inputs": [2] }]), Value::Null),
    );
    let twice = json!([{ "radius": "1", "inputs": [0, 1] }, { "radius": "1", "inputs": [1] }]);
    add("an input of two offsets", ["raw", "raw"], sensor(twice, Value::Null));
    add(
        "an input twice in an offset",
        ["raw", "raw"],
        sensor(json!([{ "radius": "1", "inputs": [1, 1] }]), Value::Null),
    );
    add("a negative offset", ["raw", "raw"], sensor(json!([{ "radius": "-1", "inputs": [1] }]), Value::Null));
    let few = json!({ "radii": ["1"], "shared": [] });
    add("too few radii of noise", ["raw", "raw"], few);
    let negative = json!({ "radii": ["1", "-1"], "shared": [] });
    add("negative noise", ["raw", "raw"], negative);

    let mut over = |name: &str, normaliser: Option<&Value>, units: [&str; 2], shape: Value, rest: Value| {
        let set = with(shape, json!({ "units": units[1] }));
        let own =
            json!({ "inputs": 2, "normaliser": normaliser, "state_units": units[0], "perturbation": set });
        cases.add("input.set", name, with(own, rest));
    };
    let states = || json!({ "states": [floats(&[(1, -2), (5, -2)]), floats(&[(-5, 0), (9, 0)])] });
    for set in UNITS {
        for shape in &shapes {
            for state in UNITS {
                let name = format!("magnitude of all inputs: state {state}, set {set}");
                over(&name, Some(&own), [state, set], shape.clone(), states());
            }
            let name = format!("at every state: set {set}");
            over(&name, Some(&own), ["raw", set], shape.clone(), json!({ "every_state": true }));
        }
    }
    let own_sensor = sensor(both(), limits("-9", "9"));
    over(
        "at every state: offsets and limits become radii",
        Some(&own),
        ["raw", "raw"],
        own_sensor.clone(),
        json!({ "every_state": true }),
    );
    over("magnitude of all inputs: offsets and limits", Some(&own), ["raw", "raw"], own_sensor, states());
    over("magnitude of all inputs: no normaliser", None, ["raw", "raw"], shapes[0].clone(), states());
    over(
        "magnitude of all inputs: no state",
        None,
        ["raw", "raw"],
        shapes[0].clone(),
        json!({ "states": [] }),
    );
    over(
        "at every state: no normaliser",
        None,
        ["raw", "raw"],
        shapes[1].clone(),
        json!({ "every_state": true }),
    );
    over(
        "at every state: no clip",
        Some(&open),
        ["raw", "raw"],
        shapes[1].clone(),
        json!({ "every_state": true }),
    );
    over(
        "at every state: too few radii",
        None,
        ["raw", "raw"],
        json!({ "radii": ["1"] }),
        json!({ "every_state": true }),
    );
    over(
        "at every state: a negative radius",
        None,
        ["raw", "raw"],
        json!({ "l2": "-1" }),
        json!({ "every_state": true }),
    );

    let mut add = |name: &str, normaliser: Option<&Value>, observation: &[&str]| {
        cases.add("input.observation", name, json!({ "normaliser": normaliser, "observation": observation }));
    };
    add("no normaliser", None, &["1/3", "-7"]);
    add("a normaliser", Some(&own), &["1/3", "3/2"]);
    add("at the clip", Some(&own), &["2", "5/3"]);
    add("beyond the clip", Some(&own), &["-100", "100"]);
    add("no clip", Some(&open), &["-100", "100"]);
    add("too few stds", Some(&short), &["1", "1"]);
    add("a std of 0", Some(&with(normaliser(), json!({ "std": ["0", "1"] }))), &["1", "1"]);
}

pub fn region(cases: &mut Cases) {
    let mut add = |name: &str,
                   normaliser: Option<&Value>,
                   units: [&str; 2],
                   ends: [[&str; 2]; 2],
                   shape: Value| {
        cases.add("region.input", name, json!({
            "inputs": 2, "normaliser": normaliser, "lower": ends[0], "upper": ends[1], "state_units": units[0],
            "perturbation": with(shape, json!({ "units": units[1] })), "value_bits": 20,
        }));
    };
    let own = normaliser();
    for state in UNITS {
        for set in UNITS {
            for shape in [json!({ "linf": "1/7" }), json!({ "l2": "1/7" }), json!({ "radii": ["1/7", "0"] })]
            {
                let name = |place: &str| format!("{place}: state {state}, set {set}");
                add(
                    &name("inside"),
                    Some(&own),
                    [state, set],
                    [["-1/3", "2/3"], ["1/2", "1"]],
                    shape.clone(),
                );
                add(
                    &name("across the clip"),
                    Some(&own),
                    [state, set],
                    [["-3", "1"], ["1/2", "4"]],
                    shape.clone(),
                );
                add(&name("beyond the clip"), Some(&own), [state, set], [["3", "-5"], ["4", "-4"]], shape);
            }
        }
    }
    let ends = [["-1/3", "2/3"], ["1/2", "1"]];
    add("no normaliser", None, ["raw", "raw"], ends, json!({ "linf": "1/7" }));
    add("a point", Some(&own), ["raw", "raw"], [ends[0], ends[0]], json!({ "linf": "1/7" }));
    add("a negative radius", None, ["raw", "raw"], ends, json!({ "linf": "-1/7" }));
    add(
        "the largest end",
        None,
        ["raw", "raw"],
        [["0", "0"], ["0", "8796093022207"]],
        json!({ "linf": "0" }),
    );
    add(
        "an end beyond the grid",
        None,
        ["raw", "raw"],
        [["0", "0"], ["0", "8796093022208"]],
        json!({ "linf": "0" }),
    );
    cases.add(
        "region.input",
        "other lengths",
        json!({
            "inputs": 2, "lower": ["0", "0"], "upper": ["1"], "state_units": "raw",
            "perturbation": { "linf": "1/7", "units": "raw" }, "value_bits": 20,
        }),
    );
}
