//! Tests of this reader.

#![allow(clippy::disallowed_types)]
use super::super::digest::policy_digest;
use super::super::policy::tests::named;
use super::*;

/// Two groups over 2 inputs and a name for the only output.
const GOOD: &str = r#""names":{"inputs":[{"name":"gyro","first":"1","count":"1","frames":"1","stride":"1","unit":"rad/s"},
    {"name":"joint pos","first":"0","count":"1","frames":"1","stride":"1"}],
    "outputs":[{"name":"left hip pitch","output":"0","unit":"rad","scale":"1/4"}]}"#;

fn refused(from: &str, to: &str) -> Clause {
    assert!(GOOD.contains(from), "{from}");
    named(&[&GOOD.replacen(from, to, 1)]).unwrap_err()
}

#[test]
fn names_are_read_and_count_in_the_digest() {
    let files = named(&[GOOD]).unwrap();
    let names = files.names.clone().unwrap();
    let [gyro, joints] = names.inputs.as_slice() else { panic!("two groups") };
    assert_eq!((gyro.name.as_str(), gyro.unit.as_deref()), ("gyro", Some("rad/s")));
    assert_eq!((joints.name.as_str(), joints.unit.as_deref(), joints.first), ("joint pos", None, 0));
    let [hip] = names.outputs.as_slice() else { panic!("one output") };
    assert_eq!((hip.name.as_str(), hip.output), ("left hip pitch", 0));
    assert_eq!(hip.scale, Some(Rational::parse("1/4").unwrap()));
    let plain = named(&[]).unwrap();
    assert_eq!((plain.names.as_ref(), &plain.policy), (None, &files.policy));
    let mut digests = vec![policy_digest(&plain.policy, None), policy_digest(&files.policy, Some(&names))];
    type Change = fn(&mut Names);
    let changes: [Change; 11] = [
        |n| n.inputs[0].name.push('x'),
        |n| n.inputs[0].first += 1,
        |n| n.inputs[0].count += 1,
        |n| n.inputs[0].frames += 1,
        |n| n.inputs[0].stride += 1,
        |n| n.inputs[0].unit = None,
        |n| n.outputs[0].name.push('x'),
        |n| n.outputs[0].output += 1,
        |n| n.outputs[0].unit = None,
        |n| n.outputs[0].scale = None,
        |n| n.outputs.clear(),
    ];
    for change in changes {
        let mut other = names.clone();
        change(&mut other);
        let digest = policy_digest(&files.policy, Some(&other));
        assert!(!digests.contains(&digest), "{other:?}");
        digests.push(digest);
    }
}

/// Frames of 2 inputs every 5: 3 and 4, 8 and 9, 13 and 14.
#[test]
fn frames_repeat_their_inputs() {
    let (name, unit) = ("g".to_owned(), None);
    let group = InputGroup { name, first: 3, count: 2, frames: 3, stride: 5, unit };
    let inputs: Option<Vec<usize>> = group.inputs().collect();
    assert_eq!(inputs, Some(vec![3, 4, 8, 9, 13, 14]));
    assert_eq!(InputGroup { stride: usize::MAX, ..group }.input(0, 2), None);
}

/// Inputs 3 and 4, 8 and 9, 13 and 14 are a group of frames, 6 is one alone, 16 to 18 are a single frame, whatever its stride
/// says; no other input has a name.
#[test]
fn inputs_belong_to_a_group_as_one_of_its_members() {
    let group = |name: &str, first, count, frames, stride| {
        let (name, unit) = (name.to_owned(), None);
        InputGroup { name, first, count, frames, stride, unit }
    };
    let inputs = vec![group("g", 3, 2, 3, 5), group("one", 6, 1, 1, 1), group("three", 16, 3, 1, 1)];
    let names = Names { inputs, outputs: Vec::new() };
    for input in 0..22 {
        let wanted = match input {
            3 | 8 | 13 => Some(("g", 0)),
            4 | 9 | 14 => Some(("g", 1)),
            6 => Some(("one", 0)),
            16..=18 => Some(("three", input - 16)),
            _ => None,
        };
        let found = names.group_of(input).map(|(group, member)| (&*group.name, member));
        assert_eq!(found, wanted, "{input}");
    }
}

#[test]
fn what_is_covered_twice_or_not_there_is_refused() {
    let twice = refused(r#""first":"0""#, r#""first":"1""#);
    assert_eq!(twice.condition(), &Clause::NamedTwice { name: "joint pos".into(), place: 1 });
    assert!(twice.to_string().contains("names"), "{twice}");
    let outside = |name: &str, width| Clause::NameOutside { name: name.into(), width };
    assert_eq!(refused(r#""first":"1""#, r#""first":"2""#).condition(), &outside("gyro", 2));
    assert_eq!(refused(r#""count":"1""#, r#""count":"2""#).condition(), &outside("gyro", 2));
    let far = refused(r#""first":"1""#, r#""first":"18446744073709551615""#);
    assert_eq!(far.condition(), &outside("gyro", 2));
    // A frame on itself, and so many that no loop may count them.
    let frames = refused(r#""frames":"1","stride":"1""#, r#""frames":"18446744073709551615","stride":"0""#);
    assert_eq!(frames.condition(), &Clause::NamedTwice { name: "gyro".into(), place: 1 });
    assert_eq!(refused(r#""output":"0""#, r#""output":"1""#).condition(), &outside("left hip pitch", 1));
    for (from, to) in [(r#""count":"1""#, r#""count":"0""#), (r#""frames":"1""#, r#""frames":"0""#)] {
        assert_eq!(refused(from, to).condition(), &Clause::NamesNothing { name: "gyro".into() });
    }
    assert_eq!(refused("gyro", "joint pos").condition(), &Clause::NameTwice { name: "joint pos".into() });
    let two = r#"[{"name":"a","output":"0"},{"name":"b","output":"0"}]"#;
    let two = named(&[&format!(r#""names":{{"outputs":{two}}}"#)]).unwrap_err();
    assert_eq!(two.condition(), &Clause::NamedTwice { name: "b".into(), place: 0 });
}

#[test]
fn hostile_names_units_scales_and_keys_are_refused() {
    let long = "x".repeat(61);
    let bad = [
        "",
        " gyro",
        "gyro ",
        "-gyro",
        "g\\u202eyro",
        "g\\u001b[2J",
        "g\\\"",
        "g\\\\n",
        "gyr\u{f6}",
        "a[3]",
        &long,
    ];
    for name in bad {
        let clause = refused("gyro", name);
        assert!(matches!(clause.condition(), Clause::OutOfRange { .. }), "{name}: {clause}");
        assert!(clause.to_string().contains("inputs[0].name"), "{clause}");
    }
    for unit in ["", "1", "e-5", "rad s", "rad/", "/s", "m^", "m^-", "m^x", "m/s^2^3", "\\u00b0", &long] {
        let clause = refused("rad/s", unit);
        assert!(matches!(clause.condition(), Clause::OutOfRange { .. }), "{unit}: {clause}");
    }
    for unit in ["rad", "%", "m/s^2", "kg*m^-1", "N*m"] {
        assert!(is_unit(unit), "{unit}");
    }
    for scale in ["0", "-1/4"] {
        assert!(matches!(refused("1/4", scale).condition(), Clause::OutOfRange { .. }));
    }
    assert!(matches!(refused("1/4", "x").condition(), Clause::NotANumber { .. }));
    assert_eq!(refused(r#""first""#, r#""fist""#).condition(), &Clause::MissingKey { key: "first".into() });
    let more = refused(r#""unit":"rad/s""#, r#""units":"rad/s""#);
    assert_eq!(more.condition(), &Clause::UnknownKey { key: "units".into() });
    let empty = named(&[r#""names":{"inputs":[]}"#]).unwrap_err();
    assert_eq!(empty.condition(), &Clause::ListEmpty { what: "named inputs" });
}
