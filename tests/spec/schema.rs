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
        // Renamed, because the tests beside this one read it at the same time.
        let made = path.with_extension("json.new");
        std::fs::write(&made, certificate_schema()).unwrap();
        std::fs::rename(made, path).unwrap();
    }
    let committed = String::from_utf8(file("spec/certificate.schema.json")).unwrap();
    assert!(
        committed == certificate_schema(),
        "run `SECATEUR_WRITE_SCHEMA=1 cargo test -p secateur --test spec committed_schema`"
    );
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
        "radius",
        "regret",
        "statistical",
        "branch",
        "bands",
        "envelopes",
        "pruned-deviation",
        "sensor",
    ];
    let mut compared = 0;
    let mut apart = BTreeSet::new();
    let mut seen = BTreeSet::new();
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
        seen.extend(good["predicate"].as_object().unwrap().keys().cloned());
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
    let schema: Value = serde_json::from_slice(&file("spec/certificate.schema.json")).unwrap();
    let known = schema["$defs"]["Predicate"]["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(seen, known, "`names` lists a certificate of the corpus for every key of the predicate");
    // The form says which of the two keys a regret claim has; the schema leaves that to the reader.
    let form = ["discount", "horizon"].map(|key| format!("/predicate/regret/N without {key}"));
    let unlisted: Vec<_> = apart.iter().filter(|what| !form.contains(what)).collect();
    assert!(unlisted.is_empty(), "{unlisted:?}");
    assert!(compared > 300, "{compared}");
}

/// The places of a schema's values that have no parts, in the words of the specification's table.
fn leaves(root: &Value, schema: &Value, place: &str, found: &mut BTreeSet<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        return leaves(root, root.pointer(target.trim_start_matches('#')).unwrap(), place, found);
    }
    let mut whole = true;
    for key in ["anyOf", "oneOf", "allOf"] {
        for part in schema[key].as_array().into_iter().flatten().filter(|part| part["type"] != "null") {
            leaves(root, part, place, found);
            whole = false;
        }
    }
    for (key, part) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if place.is_empty() { "" } else { "." };
        leaves(root, part, &format!("{place}{dot}{key}"), found);
        whole = false;
    }
    let items = schema["prefixItems"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(schema["items"].as_object().map(|_| &schema["items"]));
    for part in items {
        leaves(root, part, &format!("{place}[]"), found);
        whole = false;
    }
    if whole {
        found.insert(place.to_owned());
    }
}

/// `spec/certificate.md#what-is-said-of-each-field` has a row for every field, and none for what is no field.
#[test]
fn every_field_is_said_to_be_something() {
    let schema: Value = serde_json::from_slice(&file("spec/certificate.schema.json")).unwrap();
    let mut fields = BTreeSet::new();
    leaves(&schema, &schema, "", &mut fields);
    let page = String::from_utf8(file("spec/certificate.md")).unwrap();
    let table = page.split("<!-- fields -->").nth(1).unwrap().split("<!-- end -->").next().unwrap();
    let mut listed = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(["recomputed", "demanded", "printed", "signer"].contains(&cells[1]), "{row}");
        assert!(listed.insert(cells[0].trim_matches('`').to_owned()), "{row}");
    }
    assert_eq!(listed, fields);
    assert!(fields.len() > 90, "{}", fields.len());
}
