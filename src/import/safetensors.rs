//! Foreign safetensors files: arrays and metadata. Untrusted; the strict reader is the checker's.
//! `spec/semantics.md#files`.

use super::Problem;
use super::array::{Array, Arrays, Element};
use serde_json::Value;

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
    let header: Value = serde_json::from_slice(header).map_err(|_| fail("the header", "it is not JSON"))?;
    let entries = header.as_object().ok_or_else(|| fail("the header", "it is not a JSON object"))?;
    let mut arrays = Arrays::default();
    for (name, entry) in entries {
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
    Ok(arrays)
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
        assert!(parse_safetensors(&[255; 8]).is_err());
    }
}
