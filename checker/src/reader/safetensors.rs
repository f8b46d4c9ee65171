//! Strict safetensors: header and data of bounded size, no hole, no overlap, shapes without overflow, finite numbers.
//! Trusted. `spec/certificate-files.md#safetensors`.

use core::fmt;
use std::collections::BTreeMap;

use super::escaped::Escaped;
use super::fields::{Field, FieldError};
use super::json::{self, JsonError, Numbers};
use super::tensor::{Dtype, MAX_ENTRIES, RawTensor};

/// Longest file, in bytes.
pub const MAX_FILE: usize = 100_000_000;
/// Longest header, in bytes.
pub const MAX_HEADER: usize = 1 << 20;
/// Most dimensions of a tensor.
pub const MAX_RANK: usize = 8;
/// Why bytes are not a safetensors file, or a tensor is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// Longer than [`MAX_FILE`].
    FileTooLarge {
        /// Length in bytes.
        size: usize,
    },
    /// Shorter than the eight bytes of the header's length.
    NoHeaderLength,
    /// The header is longer than [`MAX_HEADER`].
    HeaderTooLarge {
        /// Length the file states.
        size: u64,
    },
    /// The header is longer than the file.
    HeaderBeyondFile {
        /// Length the file states.
        size: usize,
    },
    /// The header does not begin with `{`.
    HeaderStart,
    /// The header is not JSON.
    Json(JsonError),
    /// The header lacks something or has too much.
    Field(FieldError),
    /// An element type that the format does not have.
    UnknownDtype {
        /// The tensor.
        name: String,
    },
    /// More than [`MAX_RANK`] dimensions.
    RankTooHigh {
        /// The tensor.
        name: String,
    },
    /// The product of a shape overflows.
    ShapeOverflow {
        /// The tensor.
        name: String,
    },
    /// `data_offsets` is not two offsets in order.
    BadOffsets {
        /// The tensor.
        name: String,
    },
    /// The offsets span another number of bytes than shape and type need.
    SizeMismatch {
        /// The tensor.
        name: String,
        /// Bytes between the offsets.
        stated: usize,
        /// Bytes the shape needs.
        needed: usize,
    },
    /// A tensor does not begin where the one before it ends.
    HoleOrOverlap {
        /// The tensor.
        name: String,
        /// Where it begins.
        begin: usize,
        /// Where the one before it ends.
        expected: usize,
    },
    /// The data is longer or shorter than the tensors.
    DataLength {
        /// Bytes after the header.
        stated: usize,
        /// End of the last tensor.
        needed: usize,
    },
    /// No tensor of that name.
    Missing {
        /// The tensor.
        name: String,
    },
    /// A tensor of a type that cannot be read as what was asked for.
    WrongDtype {
        /// The tensor.
        name: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// A tensor of another number of dimensions.
    WrongRank {
        /// The tensor.
        name: String,
        /// What was asked for.
        expected: usize,
        /// What it has.
        found: usize,
    },
    /// More than [`MAX_ENTRIES`] numbers.
    TooManyEntries {
        /// The tensor.
        name: String,
    },
    /// A NaN or an infinity.
    NotFinite {
        /// The tensor.
        name: String,
        /// Row-major index.
        index: usize,
    },
    /// Neither 0 nor 1, where only these may stand.
    NotABit {
        /// The tensor.
        name: String,
        /// Row-major index.
        index: usize,
    },
}

impl fmt::Display for SafetensorsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileTooLarge { size } => {
                write!(f, "the tensor file has {size} bytes, more than {MAX_FILE}")
            }
            Self::NoHeaderLength => f.write_str("the tensor file is shorter than 8 bytes"),
            Self::HeaderTooLarge { size } => {
                write!(f, "the tensor file's header has {size} bytes, more than {MAX_HEADER}")
            }
            Self::HeaderBeyondFile { size } => {
                write!(f, "the tensor file ends before its header of {size} bytes")
            }
            Self::HeaderStart => f.write_str("the tensor file's header does not begin with {"),
            Self::Json(error) => write!(f, "in the tensor file's header: {error}"),
            Self::Field(error) => write!(f, "in the tensor file's header: {error}"),
            Self::UnknownDtype { name } => write!(f, "tensor {} has an unknown dtype", Escaped(name)),
            Self::RankTooHigh { name } => {
                write!(f, "tensor {} has more than {MAX_RANK} dimensions", Escaped(name))
            }
            Self::ShapeOverflow { name } => write!(f, "the shape of tensor {} overflows", Escaped(name)),
            Self::BadOffsets { name } => write!(f, "data_offsets of tensor {} is no range", Escaped(name)),
            Self::SizeMismatch { name, stated, needed } => {
                write!(f, "tensor {} spans {stated} bytes, its shape needs {needed}", Escaped(name))
            }
            Self::HoleOrOverlap { name, begin, expected } => {
                write!(f, "tensor {} begins at {begin}, the one before it ends at {expected}", Escaped(name))
            }
            Self::DataLength { stated, needed } => {
                write!(f, "{stated} bytes of data, the tensors need {needed}")
            }
            Self::Missing { name } => write!(f, "there is no tensor {}", Escaped(name)),
            Self::WrongDtype { name, expected } => {
                write!(f, "tensor {} is not of dtype {expected}", Escaped(name))
            }
            Self::WrongRank { name, expected, found } => {
                write!(f, "tensor {} has {found} dimensions, not {expected}", Escaped(name))
            }
            Self::TooManyEntries { name } => {
                write!(f, "tensor {} has more than {MAX_ENTRIES} entries", Escaped(name))
            }
            Self::NotFinite { name, index } => {
                write!(f, "tensor {} is not finite at entry {index}", Escaped(name))
            }
            Self::NotABit { name, index } => {
                write!(f, "tensor {} is neither 0 nor 1 at entry {index}", Escaped(name))
            }
        }
    }
}

impl From<JsonError> for SafetensorsError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl From<FieldError> for SafetensorsError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

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
    /// [`SafetensorsError`], one variant per clause of the format; both sizes are tested before anything is read.
    ///
    /// # References
    /// <https://github.com/huggingface/safetensors#format>.
    pub fn parse(file: &'a [u8]) -> Result<Self, SafetensorsError> {
        if file.len() > MAX_FILE {
            return Err(SafetensorsError::FileTooLarge { size: file.len() });
        }
        let (length, rest) = file.split_first_chunk::<8>().ok_or(SafetensorsError::NoHeaderLength)?;
        let stated = u64::from_le_bytes(*length);
        let too_large = SafetensorsError::HeaderTooLarge { size: stated };
        let size = usize::try_from(stated).ok().filter(|s| *s <= MAX_HEADER).ok_or(too_large)?;
        let (header, data) =
            rest.split_at_checked(size).ok_or(SafetensorsError::HeaderBeyondFile { size })?;
        if header.first() != Some(&b'{') {
            return Err(SafetensorsError::HeaderStart);
        }
        let document = json::parse(header, MAX_HEADER, Numbers::Integers)?;
        let mut tensors = Vec::new();
        let mut metadata = BTreeMap::new();
        for (name, field) in Field::root(&document).entries()? {
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
    /// [`SafetensorsError::Missing`].
    pub fn tensor(&self, name: &str) -> Result<&RawTensor<'a>, SafetensorsError> {
        self.tensors.get(name).ok_or_else(|| SafetensorsError::Missing { name: name.to_owned() })
    }
}

/// Reads one header entry; the first of the pair is where its bytes begin.
fn parse_entry<'a>(
    name: &str,
    field: &Field<'_>,
    data: &'a [u8],
) -> Result<(usize, RawTensor<'a>), SafetensorsError> {
    let named = || name.to_owned();
    let mut fields = field.object()?;
    let dtype = fields.required("dtype")?;
    let shape = fields.required("shape")?.array()?;
    let offsets = fields.required("data_offsets")?.array()?;
    fields.finish()?;
    let dtype =
        Dtype::from_name(dtype.string()?).ok_or_else(|| SafetensorsError::UnknownDtype { name: named() })?;
    if shape.len() > MAX_RANK {
        return Err(SafetensorsError::RankTooHigh { name: named() });
    }
    let shape = shape.iter().map(Field::integer).collect::<Result<Vec<_>, _>>()?;
    let needed = shape.iter().try_fold(dtype.size(), |bytes, n| bytes.checked_mul(*n));
    let needed = needed.ok_or_else(|| SafetensorsError::ShapeOverflow { name: named() })?;
    let [begin, end] = offsets.as_slice() else { return Err(SafetensorsError::BadOffsets { name: named() }) };
    let (begin, end) = (begin.integer()?, end.integer()?);
    let stated = end.checked_sub(begin).ok_or_else(|| SafetensorsError::BadOffsets { name: named() })?;
    if stated != needed {
        return Err(SafetensorsError::SizeMismatch { name: named(), stated, needed });
    }
    let bytes = data.get(begin..end);
    let bytes = bytes.ok_or(SafetensorsError::DataLength { stated: data.len(), needed: end })?;
    Ok((begin, RawTensor { name: named(), dtype, shape, bytes }))
}

/// Tests that the tensors, ordered by where they begin, cover `data` without a hole or an overlap.
fn check_places(tensors: &mut [(usize, RawTensor<'_>)], data: &[u8]) -> Result<(), SafetensorsError> {
    tensors.sort_by_key(|(begin, tensor)| (*begin, tensor.bytes.len()));
    let mut expected = 0usize;
    for (begin, tensor) in tensors.iter() {
        if *begin != expected {
            return Err(SafetensorsError::HoleOrOverlap {
                name: tensor.name.clone(),
                begin: *begin,
                expected,
            });
        }
        expected = expected.saturating_add(tensor.bytes.len());
    }
    if expected != data.len() {
        return Err(SafetensorsError::DataLength { stated: data.len(), needed: expected });
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

    fn refused(header: &str, data: &[u8]) -> SafetensorsError {
        Safetensors::parse(&file(header, data)).unwrap_err()
    }

    #[test]
    fn metadata_and_padding_are_accepted() {
        let bytes = file(r#"{"__metadata__":{"format":"pt"}}      "#, &[]);
        let parsed = Safetensors::parse(&bytes).unwrap();
        assert_eq!(parsed.metadata().get("format").map(String::as_str), Some("pt"));
        assert_eq!(parsed.names().count(), 0);
        assert!(matches!(refused(r#"{"__metadata__":{"a":1}}"#, &[]), SafetensorsError::Field(_)));
    }

    #[test]
    fn sizes_are_tested_first() {
        assert_eq!(Safetensors::parse(&[0; 7]), Err(SafetensorsError::NoHeaderLength));
        let huge = Safetensors::parse(&[0xFF; 8]);
        assert_eq!(huge, Err(SafetensorsError::HeaderTooLarge { size: u64::MAX }));
        let beyond = Safetensors::parse(&[9, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']);
        assert_eq!(beyond, Err(SafetensorsError::HeaderBeyondFile { size: 9 }));
        let large = vec![0u8; MAX_FILE + 1];
        assert_eq!(Safetensors::parse(&large), Err(SafetensorsError::FileTooLarge { size: MAX_FILE + 1 }));
    }

    #[test]
    fn headers_are_strict() {
        assert_eq!(refused(" {}", &[]), SafetensorsError::HeaderStart);
        assert!(matches!(refused("{} x", &[]), SafetensorsError::Json(JsonError::TrailingData { .. })));
        let twice = format!(r#"{{"a":{0},"a":{0}}}"#, entry("U8", "[0]", 0, 0));
        assert!(matches!(refused(&twice, &[]), SafetensorsError::Json(JsonError::DuplicateKey { .. })));
        let extra = r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":null}}"#;
        assert!(matches!(refused(extra, &[]), SafetensorsError::Field(FieldError::Unknown { .. })));
        let lacking = r#"{"a":{"dtype":"U8","shape":[0]}}"#;
        assert!(matches!(refused(lacking, &[]), SafetensorsError::Field(FieldError::Missing { .. })));
    }

    #[test]
    fn shapes_and_offsets_are_checked() {
        let one = |e: String| format!(r#"{{"a":{e}}}"#);
        let name = || "a".to_owned();
        let dtype = refused(&one(entry("F128", "[1]", 0, 1)), &[0]);
        assert_eq!(dtype, SafetensorsError::UnknownDtype { name: name() });
        let rank = refused(&one(entry("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1)), &[0]);
        assert_eq!(rank, SafetensorsError::RankTooHigh { name: name() });
        let overflow = refused(&one(entry("F32", "[4294967296,4294967296]", 0, 0)), &[]);
        assert_eq!(overflow, SafetensorsError::ShapeOverflow { name: name() });
        let ragged = refused(&one(entry("F32", "[2,2]", 0, 12)), &[0; 12]);
        assert_eq!(ragged, SafetensorsError::SizeMismatch { name: name(), stated: 12, needed: 16 });
        let spare = refused(&one(entry("U8", "[2]", 0, 3)), &[0; 3]);
        assert_eq!(spare, SafetensorsError::SizeMismatch { name: name(), stated: 3, needed: 2 });
        let backwards = refused(&one(entry("U8", "[1]", 1, 0)), &[0]);
        assert_eq!(backwards, SafetensorsError::BadOffsets { name: name() });
        let three = refused(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#, &[0]);
        assert_eq!(three, SafetensorsError::BadOffsets { name: name() });
        let beyond = refused(&one(entry("U8", "[4]", 0, 4)), &[0]);
        assert_eq!(beyond, SafetensorsError::DataLength { stated: 1, needed: 4 });
        let rest = refused(&one(entry("U8", "[1]", 0, 1)), &[0, 0]);
        assert_eq!(rest, SafetensorsError::DataLength { stated: 2, needed: 1 });
    }

    #[test]
    fn holes_and_overlaps_are_refused() {
        let two = |b: usize, e: usize| {
            format!(r#"{{"a":{},"b":{}}}"#, entry("U8", "[2]", 0, 2), entry("U8", "[2]", b, e))
        };
        let hole = SafetensorsError::HoleOrOverlap { name: "b".into(), begin: 3, expected: 2 };
        assert_eq!(refused(&two(3, 5), &[0; 5]), hole);
        let overlap = SafetensorsError::HoleOrOverlap { name: "b".into(), begin: 1, expected: 2 };
        assert_eq!(refused(&two(1, 3), &[0; 3]), overlap);
        assert!(Safetensors::parse(&file(&two(2, 4), &[0; 4])).is_ok());
    }
}
