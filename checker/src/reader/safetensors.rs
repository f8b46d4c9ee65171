//! Strict safetensors: header and data of bounded size, no hole, no overlap, shapes without overflow, finite numbers.
//! Trusted. `spec/certificate-files.md#safetensors`.

use std::collections::BTreeMap;

use super::clause::{Clause, Part, Word};
use super::fields::{Document, Field};
use super::json::Numbers;
use super::tensor::{Dtype, RawTensor};

/// Longest file, in bytes.
pub const MAX_FILE: usize = 100_000_000;
/// Longest header, in bytes.
pub const MAX_HEADER: usize = 1 << 20;
/// Most dimensions of a tensor.
pub const MAX_RANK: usize = 8;
/// A parsed file; every tensor was checked for shape and place, none for its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safetensors<'a> {
    tensors: BTreeMap<String, RawTensor<'a>>,
    metadata: BTreeMap<String, String>,
}

impl<'a> Safetensors<'a> {
    /// Parses a file.
    ///
    /// # Errors
    /// [`Clause`], one variant per clause of the format; both sizes are tested before anything is read.
    ///
    /// # References
    /// <https://github.com/huggingface/safetensors#format>.
    pub fn parse(file: &'a [u8]) -> Result<Self, Clause> {
        if file.len() > MAX_FILE {
            return Err(Clause::FileTooLarge { size: file.len() });
        }
        let (length, rest) = file.split_first_chunk::<8>().ok_or(Clause::NoHeaderLength)?;
        let stated = u64::from_le_bytes(*length);
        let too_large = Clause::HeaderTooLarge { size: stated };
        let size = usize::try_from(stated).ok().filter(|s| *s <= MAX_HEADER).ok_or(too_large)?;
        let (header, data) = rest.split_at_checked(size).ok_or(Clause::HeaderBeyondFile { size })?;
        if header.first() != Some(&b'{') {
            return Err(Clause::HeaderStart);
        }
        let document = Document::parse(header, MAX_HEADER, Numbers::Integers, Part::TensorHeader)?;
        let mut tensors = Vec::new();
        let mut metadata = BTreeMap::new();
        for (name, field) in document.root().entries()? {
            if name == "__metadata__" {
                for (key, text) in field.entries()? {
                    metadata.insert(key.to_owned(), text.string()?.to_owned());
                }
            } else {
                tensors.push(parse_entry(name, &field, data)?);
            }
        }
        check_places(&mut tensors, data)?;
        Ok(Self { tensors: tensors.into_iter().map(|(_, t)| (t.name.clone(), t)).collect(), metadata })
    }

    /// Names of all tensors, in code point order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The strings of `__metadata__`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Clause::NoTensor`].
    pub fn tensor(&self, name: &str) -> Result<&RawTensor<'a>, Clause> {
        self.tensors.get(name).ok_or_else(|| Clause::NoTensor { name: name.into() })
    }
}

/// Reads one header entry; the first of the pair is where its bytes begin.
fn parse_entry<'a>(name: &str, field: &Field<'_>, data: &'a [u8]) -> Result<(usize, RawTensor<'a>), Clause> {
    let named = || Word::from(name);
    let mut fields = field.object()?;
    let dtype = fields.required("dtype")?;
    let shape = fields.required("shape")?.array()?;
    let offsets = fields.required("data_offsets")?.array()?;
    fields.finish()?;
    let dtype = Dtype::from_name(dtype.string()?).ok_or_else(|| Clause::UnknownDtype { name: named() })?;
    if shape.len() > MAX_RANK {
        return Err(Clause::RankTooHigh { name: named() });
    }
    let shape = shape.iter().map(Field::integer).collect::<Result<Vec<_>, _>>()?;
    let needed = shape.iter().try_fold(dtype.size(), |bytes, n| bytes.checked_mul(*n));
    let needed = needed.ok_or_else(|| Clause::ShapeOverflow { name: named() })?;
    let [begin, end] = offsets.as_slice() else { return Err(Clause::BadOffsets { name: named() }) };
    let (begin, end) = (begin.integer()?, end.integer()?);
    let stated = end.checked_sub(begin).ok_or_else(|| Clause::BadOffsets { name: named() })?;
    if stated != needed {
        return Err(Clause::SizeMismatch { name: named(), stated, needed });
    }
    let bytes = data.get(begin..end);
    let bytes = bytes.ok_or(Clause::DataLength { stated: data.len(), needed: end })?;
    Ok((begin, RawTensor { name: name.to_owned(), dtype, shape, bytes }))
}

/// Tests that the tensors, ordered by where they begin, cover `data` without a hole or an overlap.
fn check_places(tensors: &mut [(usize, RawTensor<'_>)], data: &[u8]) -> Result<(), Clause> {
    tensors.sort_by_key(|(begin, tensor)| (*begin, tensor.bytes.len()));
    let mut expected = 0usize;
    for (begin, tensor) in tensors.iter() {
        if *begin != expected {
            return Err(Clause::HoleOrOverlap { name: tensor.name.as_str().into(), begin: *begin, expected });
        }
        expected = expected.saturating_add(tensor.bytes.len());
    }
    if expected != data.len() {
        return Err(Clause::DataLength { stated: data.len(), needed: expected });
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::disallowed_types, clippy::as_conversions)]
    use super::*;

    /// A file from its header and data.
    pub(crate) fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(data);
        out
    }

    /// A well-formed file of tensors `(name, dtype, shape, bytes)`.
    pub(crate) fn tensors(list: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
        let (mut entries, mut data) = (Vec::new(), Vec::new());
        for (name, dtype, shape, bytes) in list {
            let begin = data.len();
            data.extend_from_slice(bytes);
            let end = data.len();
            entries.push(format!(
                r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#
            ));
        }
        file(&format!("{{{}}}", entries.join(",")), &data)
    }

    /// Little-endian binary32.
    pub(crate) fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn entry(dtype: &str, shape: &str, begin: usize, end: usize) -> String {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    }

    fn refused(header: &str, data: &[u8]) -> Clause {
        Safetensors::parse(&file(header, data)).unwrap_err()
    }

    #[test]
    fn metadata_and_padding_are_accepted() {
        let bytes = file(r#"{"__metadata__":{"format":"pt"}}      "#, &[]);
        let parsed = Safetensors::parse(&bytes).unwrap();
        assert_eq!(parsed.metadata().get("format").map(String::as_str), Some("pt"));
        assert_eq!(parsed.names().count(), 0);
        assert!(matches!(refused(r#"{"__metadata__":{"a":1}}"#, &[]).condition(), Clause::WrongType { .. }));
    }

    #[test]
    fn sizes_are_tested_first() {
        assert_eq!(Safetensors::parse(&[0; 7]), Err(Clause::NoHeaderLength));
        let huge = Safetensors::parse(&[0xFF; 8]);
        assert_eq!(huge, Err(Clause::HeaderTooLarge { size: u64::MAX }));
        let beyond = Safetensors::parse(&[9, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']);
        assert_eq!(beyond, Err(Clause::HeaderBeyondFile { size: 9 }));
        let large = vec![0u8; MAX_FILE + 1];
        assert_eq!(Safetensors::parse(&large), Err(Clause::FileTooLarge { size: MAX_FILE + 1 }));
    }

    #[test]
    fn headers_are_strict() {
        assert_eq!(refused(" {}", &[]), Clause::HeaderStart);
        assert!(matches!(refused("{} x", &[]).condition(), Clause::TrailingData { .. }));
        let twice = format!(r#"{{"a":{0},"a":{0}}}"#, entry("U8", "[0]", 0, 0));
        assert!(matches!(refused(&twice, &[]).condition(), Clause::DuplicateKey { .. }));
        let extra = r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":null}}"#;
        assert!(matches!(refused(extra, &[]).condition(), Clause::UnknownKey { .. }));
        let lacking = r#"{"a":{"dtype":"U8","shape":[0]}}"#;
        assert!(matches!(refused(lacking, &[]).condition(), Clause::MissingKey { .. }));
    }

    #[test]
    fn shapes_and_offsets_are_checked() {
        let one = |e: String| format!(r#"{{"a":{e}}}"#);
        let name = || Word::from("a");
        let dtype = refused(&one(entry("F128", "[1]", 0, 1)), &[0]);
        assert_eq!(dtype, Clause::UnknownDtype { name: name() });
        let rank = refused(&one(entry("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1)), &[0]);
        assert_eq!(rank, Clause::RankTooHigh { name: name() });
        let overflow = refused(&one(entry("F32", "[4294967296,4294967296]", 0, 0)), &[]);
        assert_eq!(overflow, Clause::ShapeOverflow { name: name() });
        let ragged = refused(&one(entry("F32", "[2,2]", 0, 12)), &[0; 12]);
        assert_eq!(ragged, Clause::SizeMismatch { name: name(), stated: 12, needed: 16 });
        let spare = refused(&one(entry("U8", "[2]", 0, 3)), &[0; 3]);
        assert_eq!(spare, Clause::SizeMismatch { name: name(), stated: 3, needed: 2 });
        let backwards = refused(&one(entry("U8", "[1]", 1, 0)), &[0]);
        assert_eq!(backwards, Clause::BadOffsets { name: name() });
        let three = refused(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#, &[0]);
        assert_eq!(three, Clause::BadOffsets { name: name() });
        let beyond = refused(&one(entry("U8", "[4]", 0, 4)), &[0]);
        assert_eq!(beyond, Clause::DataLength { stated: 1, needed: 4 });
        let rest = refused(&one(entry("U8", "[1]", 0, 1)), &[0, 0]);
        assert_eq!(rest, Clause::DataLength { stated: 2, needed: 1 });
    }

    #[test]
    fn holes_and_overlaps_are_refused() {
        let two = |b: usize, e: usize| {
            format!(r#"{{"a":{},"b":{}}}"#, entry("U8", "[2]", 0, 2), entry("U8", "[2]", b, e))
        };
        let hole = Clause::HoleOrOverlap { name: "b".into(), begin: 3, expected: 2 };
        assert_eq!(refused(&two(3, 5), &[0; 5]), hole);
        let overlap = Clause::HoleOrOverlap { name: "b".into(), begin: 1, expected: 2 };
        assert_eq!(refused(&two(1, 3), &[0; 3]), overlap);
        assert!(Safetensors::parse(&file(&two(2, 4), &[0; 4])).is_ok());
    }
}
