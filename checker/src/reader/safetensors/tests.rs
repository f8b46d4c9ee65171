//! Tests of this reader, and the files they share with others.

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
