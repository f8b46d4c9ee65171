//! The JSON document of a finite SA-MDP. Untrusted; numbers are strings and are read exactly. `spec/sa-mdp.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use num_rational::BigRational;
use num_traits::{One, Zero};
use secateur_checker::number::{NumberError, Rational};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{FiniteSaMdp, ModelError, from_checker};

/// The value of the field `format`.
pub const FORMAT: &str = "secateur.sa-mdp/1";
/// Longest document accepted.
pub const MAX_BYTES: usize = 4 << 20;
/// Most states accepted; solving takes cubic time in it, with numbers that grow.
pub const MAX_STATES: usize = 128;
/// Most actions accepted.
pub const MAX_ACTIONS: usize = 64;

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Longer than [`MAX_BYTES`].
    #[error("the document has {bytes} bytes, more than {MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not the JSON that `spec/sa-mdp.md` describes.
    #[error("the document is not of the described form: {0}")]
    Json(#[from] serde_json::Error),
    /// Another format or version.
    #[error("the format is {found:?}, not {FORMAT:?}")]
    Format {
        /// What it says.
        found: String,
    },
    /// More states or actions than accepted.
    #[error("{states} states and {actions} actions, at most {MAX_STATES} and {MAX_ACTIONS} are accepted")]
    TooLarge {
        /// Number of states.
        states: usize,
        /// Number of actions.
        actions: usize,
    },
    /// A name is given to two states or two actions.
    #[error("the name {name:?} is given twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A name of no state or no action.
    #[error("state {state:?} mentions {name:?}, which is not declared")]
    UnknownName {
        /// The state whose entry mentions it.
        state: String,
        /// The name.
        name: String,
    },
    /// A state that is not terminal lacks its policy, its perturbations or an action, or a terminal one has them.
    #[error("state {state:?}: {field} must be present unless the state is terminal, and absent if it is")]
    Field {
        /// The state.
        state: String,
        /// The field or action.
        field: String,
    },
    /// A number is not a decimal or a fraction.
    #[error("{text:?} is {error}")]
    Number {
        /// What was written.
        text: String,
        /// Why it is not a number.
        error: NumberError,
    },
    /// The model breaks a condition.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A JSON object without a repeated key, in order.
struct Entries<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object without a repeated key")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries: BTreeMap<String, T> = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, T>()? {
                    if entries.contains_key(&key) {
                        return Err(serde::de::Error::custom(format!("the key {key:?} is repeated")));
                    }
                    entries.insert(key, value);
                }
                Ok(Entries(entries.into_iter().collect()))
            }
        }
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    discount: String,
    actions: Vec<String>,
    states: Vec<StateEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateEntry {
    name: String,
    #[serde(default)]
    terminal: bool,
    policy: Option<Entries<String>>,
    perturbations: Option<Vec<String>>,
    actions: Option<Entries<ActionEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionEntry {
    reward: String,
    next: Entries<String>,
}

/// Reads and validates a document.
///
/// # Errors
/// [`DocumentError`], one variant per clause of `spec/sa-mdp.md`.
pub fn parse_document(bytes: &[u8]) -> Result<FiniteSaMdp, DocumentError> {
    if bytes.len() > MAX_BYTES {
        return Err(DocumentError::TooLong { bytes: bytes.len() });
    }
    let document: Document = serde_json::from_slice(bytes)?;
    if document.format != FORMAT {
        return Err(DocumentError::Format { found: document.format });
    }
    let (states, actions) = (document.states.len(), document.actions.len());
    if states > MAX_STATES || actions > MAX_ACTIONS {
        return Err(DocumentError::TooLarge { states, actions });
    }
    let names = Names {
        states: positions(document.states.iter().map(|s| s.name.as_str()))?,
        actions: positions(document.actions.iter().map(String::as_str))?,
    };
    let mut model = FiniteSaMdp {
        states: document.states.iter().map(|s| s.name.clone()).collect(),
        actions: document.actions.clone(),
        discount: number(&document.discount)?,
        terminal: document.states.iter().map(|s| s.terminal).collect(),
        rewards: vec![vec![BigRational::zero(); actions]; states],
        transitions: vec![vec![vec![BigRational::zero(); states]; actions]; states],
        policy: vec![vec![BigRational::zero(); actions]; states],
        perturbations: vec![Vec::new(); states],
    };
    for (index, entry) in document.states.iter().enumerate() {
        if entry.terminal {
            fill_terminal(&mut model, index, entry)?;
        } else {
            fill_state(&mut model, index, entry, &names)?;
        }
    }
    model.validate()?;
    Ok(model)
}

struct Names<'a> {
    states: BTreeMap<&'a str, usize>,
    actions: BTreeMap<&'a str, usize>,
}

fn positions<'a>(names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<&'a str, usize>, DocumentError> {
    let mut found = BTreeMap::new();
    for (index, name) in names.enumerate() {
        if found.insert(name, index).is_some() {
            return Err(DocumentError::DuplicateName { name: name.to_owned() });
        }
    }
    Ok(found)
}

fn fill_terminal(model: &mut FiniteSaMdp, index: usize, entry: &StateEntry) -> Result<(), DocumentError> {
    let given = [
        ("policy", entry.policy.is_some()),
        ("perturbations", entry.perturbations.is_some()),
        ("actions", entry.actions.is_some()),
    ];
    if let Some((field, _)) = given.iter().find(|(_, present)| *present) {
        return Err(DocumentError::Field { state: entry.name.clone(), field: (*field).to_owned() });
    }
    for row in &mut model.transitions[index] {
        row[index] = BigRational::one();
    }
    if let Some(first) = model.policy[index].first_mut() {
        *first = BigRational::one();
    }
    model.perturbations[index] = vec![index];
    Ok(())
}

fn fill_state(
    model: &mut FiniteSaMdp,
    index: usize,
    entry: &StateEntry,
    names: &Names<'_>,
) -> Result<(), DocumentError> {
    let missing = |field: &str| DocumentError::Field { state: entry.name.clone(), field: field.to_owned() };
    let find = |table: &BTreeMap<&str, usize>, name: &str| {
        table
            .get(name)
            .copied()
            .ok_or_else(|| DocumentError::UnknownName { state: entry.name.clone(), name: name.to_owned() })
    };
    for (action, probability) in &entry.policy.as_ref().ok_or_else(|| missing("policy"))?.0 {
        model.policy[index][find(&names.actions, action)?] = number(probability)?;
    }
    for shown in entry.perturbations.as_ref().ok_or_else(|| missing("perturbations"))? {
        let shown = find(&names.states, shown)?;
        if !model.perturbations[index].contains(&shown) {
            model.perturbations[index].push(shown);
        }
    }
    let actions = &entry.actions.as_ref().ok_or_else(|| missing("actions"))?.0;
    if let Some(absent) = model.actions.iter().find(|name| actions.iter().all(|(given, _)| given != *name)) {
        return Err(missing(absent));
    }
    for (name, action) in actions {
        let position = find(&names.actions, name)?;
        model.rewards[index][position] = number(&action.reward)?;
        for (next, probability) in &action.next.0 {
            model.transitions[index][position][find(&names.states, next)?] = number(probability)?;
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<BigRational, DocumentError> {
    Rational::parse(text)
        .map(|value| from_checker(&value))
        .map_err(|error| DocumentError::Number { text: text.to_owned(), error })
}
