//! JSON values that several parts of a certificate are made of. Untrusted.

use std::collections::BTreeMap;

use secateur_checker::reader::certificate::StepVerdict;
use secateur_checker::reader::counterexample::Place;
use secateur_checker::reader::json::Value;

/// A string.
pub fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

/// An object of these entries.
pub fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// An array, item by item.
pub fn list<T>(items: &[T], emit: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(emit).collect())
}

pub(crate) fn emit_verdict(verdict: &StepVerdict) -> Value {
    let (tightened, unchanged, loosened) = verdict.counts;
    let mut fields = BTreeMap::from([
        ("family".to_owned(), text(verdict.family.as_str())),
        ("of".to_owned(), text(verdict.of.as_str())),
        ("step".to_owned(), text(verdict.step.to_string())),
        ("verdict".to_owned(), text(verdict.verdict.as_str())),
        ("tightened".to_owned(), text(tightened.to_string())),
        ("unchanged".to_owned(), text(unchanged.to_string())),
        ("loosened".to_owned(), text(loosened.to_string())),
    ]);
    if let Some(at) = &verdict.at {
        fields.insert("at".to_owned(), emit_place(at));
    }
    for (key, value) in [("before", &verdict.before), ("after", &verdict.after)] {
        if let Some(value) = value {
            fields.insert(key.to_owned(), text(value.to_string()));
        }
    }
    Value::Object(fields)
}

pub(crate) fn emit_place(place: &Place) -> Value {
    let entries = [("state", place.state), ("index", place.index)];
    let present = entries.into_iter().filter_map(|(key, n)| Some((key.to_owned(), text(n?.to_string()))));
    Value::Object(present.collect())
}
