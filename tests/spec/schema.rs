//! `spec/certificate.schema.json` is what the program writes, takes every accepted certificate and refuses wrong shapes.

mod mirror;

use mirror::certificate_schema;
use secateur_checker::reader::certificate::parse_certificate;
use secateur_checker::reader::dsse::parse_envelope;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn file(path: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_slice(&file("spec/certificate.schema.json")).unwrap())
        .unwrap()
}

fn payload(name: &str) -> Value {
    let envelope = parse_envelope(&file(&format!("certificates/accepted/{name}.cert.dsse.json"))).unwrap();
    serde_json::from_slice(&envelope.payload).unwrap()
}

#[test]
fn committed_schema_is_current() {
    if std::env::var_os("SECATEUR_WRITE_SCHEMA").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/certificate.schema.json");
        std::fs::write(path, certificate_schema()).unwrap();
    }
    let committed = String::from_utf8(file("spec/certificate.schema.json")).unwrap();
    assert!(committed == certificate_schema(), "run `SECATEUR_WRITE_SCHEMA=1 cargo test --test spec`");
}

#[test]
fn accepted_certificates_fit() {
    for name in ["small", "gaussian", "categorical", "looser", "one-claim", "other", "two-signatures"] {
        let errors: Vec<String> = validator().iter_errors(&payload(name)).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn wrong_shapes_do_not_fit() {
    let (validator, good) = (validator(), payload("small"));
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 7] = [
        ("a number token", |v| v["predicate"]["claims"][0]["mask"] = json!(0)),
        ("a number token among values", |v| v["predicate"]["claims"][0]["values"][0] = json!(0.5)),
        ("an unknown field", |v| v["predicate"]["note"] = json!("x")),
        ("a missing field", |v| drop(v["predicate"].as_object_mut().unwrap().remove("limits"))),
        ("no claims", |v| v["predicate"]["claims"] = json!([])),
        ("another version", |v| v["predicate"]["schemaVersion"] = json!("2.0.0")),
        ("both radii and radius", |v| v["predicate"]["method"]["perturbation"]["radii"] = json!(["1"])),
    ];
    for (what, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(!validator.is_valid(&bad), "{what} fits");
    }
}

/// Every object of a document with its place, outermost first.
fn objects(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(place.to_owned());
            for (key, member) in members {
                objects(member, &format!("{place}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                objects(item, &format!("{place}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// The schema is written beside the reader's records: in every record of the corpus, whatever key is taken away, added or
/// made another type, the two refuse the same.
#[test]
fn schema_and_reader_know_the_same_keys() {
    let validator = validator();
    let names = [
        "gaussian",
        "counterexample",
        "regret",
        "statistical",
        "branch",
        "bands",
        "envelopes",
        "pruned-deviation",
    ];
    let mut compared = 0;
    let mut apart = BTreeSet::new();
    for name in names {
        let mut good = payload(name);
        if name == "bands" {
            // No certificate of the corpus has the optional keys of a region.
            good["predicate"]["regions"] = json!([{
                "lower": ["0"], "upper": ["1"], "mask": "0",
                "claims": [{
                    "quantity": "total-variation", "output": "0", "value": "1",
                    "shares": [{"threshold": "1/2", "fraction": "1"}],
                }],
            }]);
        }
        let mut places = Vec::new();
        objects(&good, "", &mut places);
        // Records of one kind are many; the first few show their keys.
        places.truncate(60);
        let mut compare = |changed: &Value, what: &str| {
            let read = parse_certificate(serde_json::to_string(changed).unwrap().as_bytes());
            if validator.is_valid(changed) != read.is_ok() {
                apart.insert(what.replace(|c: char| c.is_ascii_digit(), "N"));
            }
        };
        compare(&good, "as it is");
        for place in &places {
            let keys: Vec<String> =
                good.pointer(place).unwrap().as_object().unwrap().keys().cloned().collect();
            let change = |key: &str, to: Option<Value>| {
                let mut changed = good.clone();
                let object = changed.pointer_mut(place).unwrap().as_object_mut().unwrap();
                match to {
                    Some(value) => drop(object.insert(key.to_owned(), value)),
                    None => drop(object.remove(key)),
                }
                changed
            };
            compare(&change("another", Some(json!("1"))), &format!("another key in {place}"));
            for key in keys {
                compare(&change(&key, None), &format!("{place} without {key}"));
                for other in [Value::Null, json!({}), json!([null])] {
                    compare(&change(&key, Some(other.clone())), &format!("{place}/{key} as {other}"));
                }
                compared += 1;
            }
        }
    }
    // The form says which of the two keys a regret claim has; the schema leaves that to the reader.
    let form = ["discount", "horizon"].map(|key| format!("/predicate/regret/N without {key}"));
    let unlisted: Vec<_> = apart.iter().filter(|what| !form.contains(what)).collect();
    assert!(unlisted.is_empty(), "{unlisted:?}");
    assert!(compared > 300, "{compared}");
}
