//! Foreign safetensors files: arrays and metadata. Untrusted; the strict reader is the checker's.
//! `spec/semantics.md#files`.

use super::array::{Array, Arrays, Element};
use crate::import::problem::Problem;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;

const MAX_HEADER: u64 = 100_000_000;

/// Whether the bytes look like a safetensors file: a length, then a JSON object that fits.
pub fn is_safetensors(bytes: &[u8]) -> bool {
    header_length(bytes).is_some() && bytes.get(8) == Some(&b'{')
}

fn header_length(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (length <= MAX_HEADER).then_some(length as usize)
}

/// Reads all arrays; offsets are tested against the file, dtypes unknown here are refused.
///
/// # Errors
/// [`Problem::Safetensors`] with the clause that fails, [`Problem::ShapeSize`].
pub fn parse_safetensors(bytes: &[u8]) -> Result<Arrays, Problem> {
    let fail = |name: &str, reason: &'static str| Problem::Safetensors { name: name.to_owned(), reason };
    let length =
        header_length(bytes).ok_or_else(|| fail("the header", "its length is missing or too large"))?;
    let header = bytes.get(8..8 + length).ok_or_else(|| fail("the header", "the file ends inside it"))?;
    let data = bytes.get(8 + length..).unwrap_or_default();
    let header: Header = serde_json::from_slice(header).map_err(|error| match error.to_string() {
        text if text.starts_with(REPEATED) => fail("the header", REPEATED),
        _ => fail("the header", "it is not a JSON object"),
    })?;
    let mut arrays = Arrays::default();
    for (name, entry) in &header.0 {
        if name == "__metadata__" {
            for (key, value) in entry.as_object().into_iter().flatten() {
                arrays.metadata.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
            }
            continue;
        }
        let dtype = entry.get("dtype").and_then(Value::as_str).unwrap_or_default();
        let element =
            Element::from_safetensors(dtype).ok_or_else(|| fail(name, "its dtype is not supported"))?;
        let shape =
            sizes(entry.get("shape")).ok_or_else(|| fail(name, "its shape is not a list of sizes"))?;
        let Some(&[begin, end]) = sizes(entry.get("data_offsets")).as_deref() else {
            return Err(fail(name, "its data_offsets are not two numbers"));
        };
        let content =
            data.get(begin..end).ok_or_else(|| fail(name, "its data_offsets lie outside the file"))?;
        arrays.named.insert(name.clone(), Array::new(name, element, shape, content.to_vec())?);
    }
    restore_tied(&mut arrays);
    Ok(arrays)
}

/// Tensors that were left out because they are the same as another: `save_model` writes their names into the metadata,
/// each with the name of the tensor that was kept.
fn restore_tied(arrays: &mut Arrays) {
    let tied: Vec<(String, String)> = arrays
        .metadata
        .iter()
        .filter(|(name, kept)| !arrays.named.contains_key(*name) && arrays.named.contains_key(*kept))
        .map(|(name, kept)| (name.clone(), kept.clone()))
        .collect();
    for (name, kept) in tied {
        arrays.metadata.remove(&name);
        if let Some(array) = arrays.named.get(&kept).cloned() {
            arrays.named.insert(name, array);
        }
    }
}

const REPEATED: &str = "a name occurs twice";

/// The header's entries in the file's order, each name once.
struct Header(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut entries, mut names) = (Vec::new(), HashSet::new());
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if !names.insert(name.clone()) {
                return Err(serde::de::Error::custom(REPEATED));
            }
            entries.push((name, value));
        }
        Ok(Header(entries))
    }
}

fn sizes(value: Option<&Value>) -> Option<Vec<usize>> {
    value?.as_array()?.iter().map(|v| v.as_u64().and_then(|n| usize::try_from(n).ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn offsets_outside_the_file_and_shapes_that_lie_are_refused() {
        let outside = file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, &[0; 4]);
        let wanted = "its data_offsets lie outside the file";
        assert_eq!(
            parse_safetensors(&outside),
            Err(Problem::Safetensors { name: "a".into(), reason: wanted })
        );
        let lie =
            file(r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#, &[0; 4]);
        assert!(matches!(parse_safetensors(&lie), Err(Problem::ShapeSize { .. })));
        assert!(parse_safetensors(&file("[]", &[])).is_err());
        let entry = r#"{"dtype":"F32","shape":[],"data_offsets":[0,4]}"#;
        let twice = file(&format!(r#"{{"a":{entry},"a":{entry}}}"#), &[0; 4]);
        assert_eq!(
            parse_safetensors(&twice),
            Err(Problem::Safetensors { name: "the header".into(), reason: REPEATED })
        );
        assert!(parse_safetensors(&[255; 8]).is_err());
    }
}
