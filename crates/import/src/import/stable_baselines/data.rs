//! What a Stable-Baselines3 archive says about its policy: the JSON entry `data`, with pickles inside. Untrusted.
//! `spec/import-sb3.md#what-an-archive-says`.
//!
//! A value that JSON cannot hold stands twice there: pickled (`:serialized:`), which is what Stable-Baselines3 itself
//! reads, and as text beside it. Both are read; where both can be read they must agree.

use super::{bad, class_of};
use crate::import::pickle::Pickle;
use crate::import::problem::Problem;
use secateur_checker::reader::base64;
use serde_json::{Map, Value};

const JSON_DEPTH: usize = 6;

/// A value of `data`: its text form, and its pickle where that can be read.
pub(super) struct Described<'a> {
    text: &'a Value,
    pickle: Option<(Pickle, usize)>,
}

impl<'a> Described<'a> {
    /// The value under `key`; `None` if it is absent or null.
    pub(super) fn of(data: &'a Value, key: &str) -> Option<Self> {
        let text = data.get(key).filter(|value| !value.is_null())?;
        let bytes = text.get(":serialized:").and_then(Value::as_str).and_then(|t| base64::decode(t).ok());
        let pickle = bytes.and_then(|b| Pickle::parse(&b, 0).ok()).map(|(pickle, root, _)| (pickle, root));
        Some(Self { text, pickle })
    }

    /// A class that stands for itself (`policy_class`): its module and, where readable, its name.
    pub(super) fn named_class(&self) -> Result<(String, Option<String>), Problem> {
        let module = self.text.get("__module__").and_then(Value::as_str).map(str::to_owned);
        // <function ActorCriticPolicy.__init__ at 0x7f...>
        let init = self.text.get("__init__").and_then(Value::as_str);
        let stated = init.and_then(|t| t.strip_prefix("<function ")?.split_once(".__init__ ")).map(|t| t.0);
        let pickled = self.pickle.as_ref().and_then(|(pickle, root)| pickle.global(*root));
        match (pickled, module) {
            (Some((inner, _)), Some(outer)) if inner != outer => {
                Err(bad(format!("its policy_class is of module {outer:?} in text and {inner:?} pickled")))
            }
            (Some((module, name)), _) => Ok((module.to_owned(), Some(name.to_owned()))),
            (None, Some(module)) => Ok((module, stated.map(str::to_owned))),
            (None, None) => {
                Err(bad("its data does not say the policy's class (policy_class); save the model again"))
            }
        }
    }

    /// Module and name of an object's class.
    pub(super) fn class(&self) -> Option<(String, String)> {
        if let Some((module, name)) = self.pickle.as_ref().and_then(|(pickle, root)| pickle.class_path(*root))
        {
            return Some((module.to_owned(), name.to_owned()));
        }
        class_of(self.text.get(":type:")?.as_str()?)
    }

    /// An attribute as JSON, from the pickle or else from the text.
    fn attribute(&self, name: &str) -> Option<Value> {
        let pickled = self.pickle.as_ref().and_then(|(pickle, root)| {
            pickle.attribute(*root, name).and_then(|node| pickle.json(node, JSON_DEPTH))
        });
        pickled.or_else(|| self.text.get(name).cloned())
    }

    /// Floats of an array attribute: exact from the pickle, else from NumPy's text, which may be rounded or shortened.
    fn floats(&self, name: &str) -> Result<Option<Vec<f64>>, Problem> {
        let pickled = match &self.pickle {
            Some((pickle, root)) => match pickle.attribute(*root, name) {
                Some(node) => pickle.array(name, node)?.and_then(|a| a.tensor()).map(|t| t.floats()),
                None => None,
            },
            None => None,
        };
        let narrow = self.text.get("dtype").and_then(Value::as_str) == Some("float32");
        let stated = self.text.get(name).and_then(Value::as_str).and_then(numpy_text).map(|values| {
            values.into_iter().map(|v| if narrow { f64::from(v as f32) } else { v }).collect::<Vec<f64>>()
        });
        if let (Some(exact), Some(rounded)) = (&pickled, &stated)
            && !(exact.len() == rounded.len() && exact.iter().zip(rounded).all(|(a, b)| nearly(*a, *b)))
        {
            return Err(bad(format!("its space's {name:?} is {rounded:?} in text and {exact:?} pickled")));
        }
        Ok(pickled.or(stated))
    }

    /// A dictionary's entries; pickled and stated ones must agree.
    pub(super) fn entries(&self) -> Result<Map<String, Value>, Problem> {
        let Value::Object(stated) = self.text else {
            return Err(bad("its policy_kwargs are no dictionary"));
        };
        let mut entries = plain(stated);
        let Some((pickle, root)) = &self.pickle else {
            if entries.is_empty() && stated.contains_key(":serialized:") {
                return Err(bad(
                    "its policy_kwargs are pickled in a way that cannot be read; save the model again",
                ));
            }
            return Ok(entries);
        };
        for &(key, value) in pickle.entries(*root) {
            let Some(key) = pickle.text(key) else { continue };
            let Some(value) = pickle.json(value, JSON_DEPTH) else {
                entries.entry(key).or_insert_with(|| Value::from("an object"));
                continue;
            };
            // str() of a function or an object says nothing that could be compared
            let opaque =
                |other: &Value| other.as_str().is_some_and(|t| t.starts_with('<') && class_of(t).is_none());
            match entries.get(key) {
                Some(other) if *other != value && !opaque(other) => {
                    return Err(bad(format!("its {key} is {other} in text and {value} pickled")));
                }
                _ => entries.insert(key.to_owned(), value),
            };
        }
        Ok(entries)
    }
}

fn plain(stated: &Map<String, Value>) -> Map<String, Value> {
    stated.iter().filter(|(key, _)| !key.starts_with(':')).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// NumPy prints eight digits.
fn nearly(exact: f64, printed: f64) -> bool {
    exact == printed || (exact - printed).abs() <= 1e-6 * exact.abs().max(printed.abs())
}

/// `[-2. inf]` as numbers; `None` if it is shortened with dots or no array of numbers.
fn numpy_text(text: &str) -> Option<Vec<f64>> {
    let words = text.split([' ', '\n', '[', ']', ',']).filter(|word| !word.is_empty());
    words.map(|word| word.parse().ok()).collect()
}

/// A space, as far as it is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Space {
    /// A box; the bounds where they can be read.
    Box { shape: Option<Vec<usize>>, bounds: Option<(Vec<f64>, Vec<f64>)>, dtype: Option<String> },
    /// One of `n` actions.
    Discrete { n: Option<usize> },
    /// Anything else, by its class.
    Other(String),
}

/// The space under `key`.
///
/// # Errors
/// [`Problem::StableBaselines`] if it is absent, of an unreadable class, or says two things.
pub(super) fn space(data: &Value, key: &str) -> Result<Space, Problem> {
    let missing = || bad(format!("its data has no {key} that can be read; save the model again"));
    let described = Described::of(data, key).ok_or_else(missing)?;
    let (module, class) = described.class().ok_or_else(missing)?;
    if !(module.starts_with("gym.") || module.starts_with("gymnasium.")) {
        return Ok(Space::Other(format!("{module}.{class}")));
    }
    Ok(match class.as_str() {
        "Box" => {
            let shape = described.attribute("_shape").or_else(|| described.attribute("shape"));
            let bounds = match (described.floats("low")?, described.floats("high")?) {
                (Some(low), Some(high)) => Some((low, high)),
                _ => None,
            };
            Space::Box { shape: shape.as_ref().and_then(sizes), bounds, dtype: described.dtype() }
        }
        "Discrete" => Space::Discrete { n: described.attribute("n").as_ref().and_then(size) },
        _ => Space::Other(class),
    })
}

impl Described<'_> {
    /// NumPy's name or code of a space's element type.
    fn dtype(&self) -> Option<String> {
        let pickled = self.pickle.as_ref().and_then(|(pickle, root)| {
            let node = pickle.attribute(*root, "dtype")?;
            pickle.text(*pickle.arguments(node)?.first()?).map(str::to_owned)
        });
        pickled.or_else(|| self.text.get("dtype")?.as_str().map(str::to_owned))
    }
}

pub(super) fn size(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => value.as_u64().and_then(|n| usize::try_from(n).ok()),
    }
}

pub(super) fn sizes(value: &Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(size).collect()
}
