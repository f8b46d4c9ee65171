//! `spec/certificate.schema.json` is what the program writes, takes every accepted certificate and refuses wrong shapes.

mod mirror;

use mirror::certificate_schema;
use secateur_checker::reader::dsse::parse_envelope;
use serde_json::{Value, json};

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
