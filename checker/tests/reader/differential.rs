//! Each reader of ours against a well-kept crate, on good files with a few changes: what ours accepts the other accepts,
//! and they read the same. What ours refuses beyond the other is listed, by the code of the clause, in each test; a
//! reason that never occurs may not stay in the list.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::integer_division,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secateur_checker::model::Units;
use secateur_checker::number::Dyadic;
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::json::{Numbers, Value};
use secateur_checker::reader::pem::PublicKey;
use secateur_checker::reader::safetensors::Safetensors;
use secateur_checker::reader::tensor::Dtype;
use secateur_checker::reader::{base64 as ours, dsse, json, npy};
use secateur_testkit::bytes::changed;
use secateur_testkit::random::Random;
use serde_json::Value as Foreign;

/// Changed files a test tries.
const FILES: usize = 40_000;

/// What came of all files of one test.
#[derive(Default)]
struct Tally {
    both: usize,
    neither: usize,
    /// The code of each refusal of ours where the other accepts, with one such file.
    refused: BTreeMap<String, Vec<u8>>,
}

impl Tally {
    /// Compares two answers about one file.
    fn compare<T: PartialEq + Debug>(&mut self, file: &[u8], ours: Result<T, Clause>, other: Option<T>) {
        let shown = || String::from_utf8_lossy(file).into_owned();
        match (ours, other) {
            (Ok(ours), Some(other)) => {
                assert_eq!(ours, other, "they differ on {:?}", shown());
                self.both += 1;
            }
            (Ok(ours), None) => panic!("only ours accepts {:?}: {ours:?}", shown()),
            (Err(error), Some(_)) => {
                self.refused.entry(error.code().to_string()).or_insert_with(|| file.to_vec());
            }
            (Err(_), None) => self.neither += 1,
        }
    }

    /// Every file was judged, both verdicts occur, and ours alone refuses for these reasons and no others.
    fn refuses_also(&self, listed: &[&str]) {
        println!("{} read alike, {} refused by both", self.both, self.neither);
        assert!(self.both > 100 && self.neither > 100, "{} and {}", self.both, self.neither);
        let found: BTreeSet<&str> = self.refused.keys().map(String::as_str).collect();
        let listed: BTreeSet<&str> = listed.iter().copied().collect();
        let text = |word: &&str| (word.to_string(), String::from_utf8_lossy(&self.refused[*word]));
        let unlisted: Vec<_> = found.difference(&listed).map(text).collect();
        assert!(unlisted.is_empty(), "ours alone refuses: {unlisted:?}");
        let idle: Vec<_> = listed.difference(&found).collect();
        assert!(idle.is_empty(), "listed, and never seen: {idle:?}");
    }
}

/// Changes of the seeds, and the seeds themselves.
fn each(seeds: &[Vec<u8>], tokens: &[&[u8]], mut judge: impl FnMut(&[u8])) {
    let mut random = Random(5);
    for seed in seeds {
        judge(seed);
    }
    for _ in 0..FILES {
        let seed = &seeds[random.below(seeds.len())];
        judge(&changed(&mut random, seed, tokens));
    }
}

#[test]
fn base64_against_base64() {
    let seeds: Vec<Vec<u8>> = (0..9u8)
        .map(|n| STANDARD.encode((0..n).map(|i| i.wrapping_mul(89)).collect::<Vec<_>>()).into())
        .collect();
    let mut tally = Tally::default();
    each(&seeds, &[b"=", b"==", b"A", b"+", b"/", b"\n", b"-", b"AAAA"], |file| {
        let Ok(text) = std::str::from_utf8(file) else { return };
        tally.compare(file, ours::decode(text), STANDARD.decode(text).ok());
    });
    tally.refuses_also(&[]);
}

/// The key of an SPKI document in PEM, by `pem-rfc7468` and `spki`.
fn foreign_key(text: &str) -> Option<[u8; 32]> {
    use spki::der::Decode;
    let (label, der) = pem_rfc7468::decode_vec(text.as_bytes()).ok()?;
    let info = spki::SubjectPublicKeyInfoRef::from_der(&der).ok()?;
    let ed25519 = spki::ObjectIdentifier::new_unwrap("1.3.101.112");
    let algorithm = info.algorithm.oid == ed25519 && info.algorithm.parameters.is_none();
    (label == "PUBLIC KEY" && algorithm).then_some(())?;
    info.subject_public_key.as_bytes()?.try_into().ok()
}

/// The body in one line of 60, as `openssl` writes it: `pem-rfc7468` wants lines of one length, ours any up to 64, as RFC 7468
/// section 2 lets a parser.
fn wrapped(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let [first, body @ .., last] = lines.as_slice() else { return String::new() };
    if body.iter().any(|line| line.is_empty()) {
        String::new()
    } else {
        format!("{first}\n{}\n{last}\n", body.concat())
    }
}

/// Beyond RFC 7468: text before the armour, carriage returns, lines of other lengths. Beyond the encoding: keys that are no
/// point, or a point of small order.
#[test]
fn keys_against_spki() {
    let keys = (0..8u8).map(|n| ed25519_dalek::SigningKey::from_bytes(&[n; 32]).verifying_key());
    // RFC 8410: the prefix of a SubjectPublicKeyInfo of Ed25519, then the 32 bytes.
    let prefix = [0x30, 0x2A, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 3, 0x21, 0];
    let armour = |key: &[u8; 32]| {
        let body = STANDARD.encode([&prefix[..], key].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n").into_bytes()
    };
    let mut seeds: Vec<Vec<u8>> = keys.map(|key| armour(key.as_bytes())).collect();
    let good = String::from_utf8(seeds[0].clone()).unwrap();
    let (head, body) = good.split_at(27);
    let mut der = STANDARD.decode(body.split('\n').next().unwrap()).unwrap();
    seeds.push(format!("a note\n{good}").into_bytes());
    seeds.push(good.replace('\n', "\r\n").into_bytes());
    for (at, byte) in [(12, 1), (43, 0)] {
        der[12..].fill(0);
        der[at] = byte;
        seeds.push(format!("{head}{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der)).into_bytes());
    }
    let mut tally = Tally::default();
    each(&seeds, &[b"\n", b"\r\n", b"=", b"A", b"-----", b" ", b"PUBLIC", b"/"], |file| {
        let Ok(text) = std::str::from_utf8(file) else { return };
        let other = foreign_key(text).or_else(|| foreign_key(&wrapped(text)));
        tally.compare(file, PublicKey::parse_pem(text).map(|key| *key.bytes()), other);
    });
    tally.refuses_also(&["armour", "base64-length", "mixed-order-key", "not-a-point", "weak-key"]);
}

type Tensors = BTreeMap<String, (String, Vec<usize>, Vec<u8>)>;

/// The type's name as the format spells it; types that are never read are told apart by their size only.
fn dtype_name(dtype: Dtype) -> String {
    match dtype {
        Dtype::F16 => "F16".to_owned(),
        Dtype::Bf16 => "BF16".to_owned(),
        Dtype::F32 => "F32".to_owned(),
        Dtype::F64 => "F64".to_owned(),
        Dtype::Bool => "BOOL".to_owned(),
        Dtype::U8 => "U8".to_owned(),
        Dtype::Other { size } => format!("{size} bytes"),
    }
}

fn our_tensors(file: &Safetensors<'_>) -> Tensors {
    let tensor = |name: &str| {
        let tensor = file.tensor(name).unwrap();
        (name.to_owned(), (dtype_name(tensor.dtype), tensor.shape.clone(), tensor.bytes.to_vec()))
    };
    file.names().map(tensor).collect()
}

fn foreign_tensors(file: &safetensors::SafeTensors<'_>) -> Tensors {
    let named = file.tensors().into_iter().map(|(name, view)| {
        let word = view.dtype().to_string();
        let known = ["F16", "BF16", "F32", "F64", "BOOL", "U8"].contains(&word.as_str());
        let word = if known { word } else { format!("{} bytes", view.dtype().bitsize() / 8) };
        (name, (word, view.shape().to_vec(), view.data().to_vec()))
    });
    named.collect()
}

/// A file of float tensors, by the other crate's writer.
fn tensor_file(list: &[(&str, safetensors::Dtype, Vec<usize>, usize)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = list.iter().map(|entry| vec![7; entry.3]).collect();
    let views = list.iter().zip(&bytes).map(|((name, dtype, shape, _), bytes)| {
        (*name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn tensors_against_safetensors() {
    use safetensors::Dtype as Kind;
    let header = |text: &str, data: usize| {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &vec![0; data]].concat()
    };
    let two = |one: &str, other: &str| {
        let entry = |name, at| format!(r#""{name}":{{"dtype":"U8","shape":[2],"data_offsets":[{at}]}}"#);
        format!("{{{},{}}}", entry("a", one), entry("b", other))
    };
    let seeds = vec![
        header(&two("0,2", "2,4"), 4),
        header(&two("0,2", "0,2"), 4),
        header(&two("0,2", "3,5"), 5),
        header(&two("2,4", "0,2"), 4),
        tensor_file(&[("a", Kind::F32, vec![2, 1], 8), ("b", Kind::F64, vec![1], 8)]),
        tensor_file(&[("w", Kind::BOOL, vec![3], 3), ("x", Kind::I64, vec![], 8)]),
        tensor_file(&[]),
        header(r#"{"__metadata__":{"k":"v"},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 2),
        header(r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}} "#, 0),
        header(r#"{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}"#, 1),
        header(r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#, 1),
        header(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":"1"}}"#, 1),
        header(r#"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1),
    ];
    let tokens: [&[u8]; 12] =
        [b"0", b"1", b"8", b",", b"[", b"]", b"{", b"}", b"\"", b"F32", b"U8", b"\"shape\":[2],"];
    let mut tally = Tally::default();
    let mut judge = |file: &[u8]| {
        let ours = Safetensors::parse(file);
        let other = safetensors::SafeTensors::deserialize(file).ok();
        tally.compare(
            file,
            ours.as_ref().map(our_tensors).map_err(Clone::clone),
            other.as_ref().map(foreign_tensors),
        );
    };
    each(&seeds, &tokens, |file| {
        judge(file);
        // With the length that the header has now, or the first clause would refuse nearly all.
        if let Some(end) = file.iter().rposition(|byte| *byte == b'}').filter(|end| *end >= 8) {
            judge(&[&(end as u64 - 7).to_le_bytes()[..], &file[8..]].concat());
        }
    });
    tally.refuses_also(&["unknown-key", "rank-too-high", "unknown-dtype"]);
}

type Table = (Vec<u64>, Vec<Dyadic>);

/// A table by `npyz`: two dimensions of finite little-endian floats in C order, read to the last byte.
fn foreign_table(file: &[u8]) -> Option<Table> {
    let npy = npyz::NpyFile::new(file).ok()?;
    let (shape, order) = (npy.shape().to_vec(), npy.order());
    let npyz::DType::Plain(kind) = npy.dtype() else { return None };
    let values: Vec<Dyadic> = match kind.to_string().as_str() {
        "<f4" => {
            let read = npy.into_vec::<f32>().ok()?;
            read.iter().map(|x| Dyadic::from_ieee(u64::from(x.to_bits()), 23, 8)).collect::<Option<_>>()?
        }
        "<f8" => {
            let read = npy.into_vec::<f64>().ok()?;
            read.iter().map(|x| Dyadic::from_ieee(x.to_bits(), 52, 11)).collect::<Option<_>>()?
        }
        _ => return None,
    };
    (order == npyz::Order::C && shape.len() == 2 && !values.is_empty()).then_some((shape, values))
}

/// `npyz` reads Python's literals as Python does and lets bytes follow the data.
#[test]
fn tables_against_npyz() {
    let file = |version: &[u8], header: &str, data: &[u8]| {
        let header = format!("{header:<69}\n");
        let length = header.len() as u16;
        let wide: &[u8] = if version[0] == 1 { &[] } else { &[0, 0] };
        [b"\x93NUMPY", version, &length.to_le_bytes(), wide, header.as_bytes(), data].concat()
    };
    let numbers: Vec<u8> = [1.5f64, -0.25, 1e-310, 3e300].iter().flat_map(|x| x.to_le_bytes()).collect();
    let singles: Vec<u8> = [1.5f32, -0.25].iter().flat_map(|x| x.to_le_bytes()).collect();
    let seeds = vec![
        file(&[1, 0], "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }", &numbers),
        file(&[2, 0], "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 1), }", &numbers),
        file(&[1, 0], "{'shape': (1, 2), 'fortran_order': False, 'descr': '<f4'}", &singles),
        file(&[3, 0], "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }", &singles),
    ];
    let tokens: [&[u8]; 12] = [b"'", b"\"", b",", b" ", b"(", b")", b"1", b"2", b"<f4", b"<f8", b"\t", b"0"];
    let mut tally = Tally::default();
    each(&seeds, &tokens, |file| {
        let ours = npy::parse_states(file, Units::Raw).map(|states| {
            (vec![states.values.rows as u64, states.values.columns as u64], states.values.values)
        });
        tally.compare(file, ours, foreign_table(file));
    });
    tally.refuses_also(&["states-length", "npy-header", "npy-version"]);
}

fn foreign(value: &Value) -> Foreign {
    match value {
        Value::Null => Foreign::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(foreign).collect(),
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), foreign(value))).collect(),
    }
}

/// Numbers that are no counts, keys that occur twice, documents that are too deep.
#[test]
fn documents_against_serde_json() {
    let deep = [vec![b'['; 30], vec![b']'; 30]].concat();
    let seeds = vec![
        br#"{"a":["b\b",{"c":null}],"d":true,"e":"\u00e9\ud83d\ude00\n","f":0}"#.to_vec(),
        br#" [ "x" , [ ] , { } , 17 , 18446744073709551615 ] "#.to_vec(),
        "{\"\u{e9}\":\"\u{10ffff}\",\"\":\"/\\/\"}".as_bytes().to_vec(),
        br#"{"a":"1","a":"2"}"#.to_vec(),
        deep,
    ];
    let tokens: [&[u8]; 16] = [
        b"\"",
        b"\\",
        b"\\u",
        b"d800",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"1",
        b"-",
        b".5",
        b"null",
        b" ",
        b"\"a\":0,",
    ];
    let mut tally = Tally::default();
    each(&seeds, &tokens, |file| {
        let ours = json::parse(file, 1 << 16, Numbers::Integers).map(|value| foreign(&value));
        tally.compare(file, ours, serde_json::from_slice(file).ok());
    });
    tally.refuses_also(&["duplicate-key", "not-an-integer", "too-deep"]);
}

/// An envelope by `serde_json` and `base64`; the fields that the protocol names, and no others.
fn foreign_envelope(file: &[u8]) -> Option<(String, Vec<u8>, Vec<Vec<u8>>)> {
    let document: Foreign = serde_json::from_slice(file).ok()?;
    let bytes = |value: &Foreign| STANDARD.decode(value.as_str()?).ok();
    let sigs = document["signatures"].as_array()?.iter().map(|entry| bytes(&entry["sig"]));
    let kind = document["payloadType"].as_str()?.to_owned();
    Some((kind, bytes(&document["payload"])?, sigs.collect::<Option<_>>()?))
}

/// No crate for DSSE alone is kept up; `tests/foreign/verify_dsse.py` asks securesystemslib.
#[test]
fn envelopes_against_serde_json() {
    let seed = |more: &str| {
        format!(
            r#"{{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[
            {{"keyid":"SHA256:x","sig":"{}"}}]{more}}}"#,
            STANDARD.encode([5; 64])
        )
    };
    let unsigned = br#"{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[]}"#;
    let seeds = vec![seed("").into_bytes(), seed(r#","more":"1""#).into_bytes(), unsigned.to_vec()];
    let tokens: [&[u8]; 10] = [b"\"", b",", b"{", b"}", b"[", b"]", b"A", b"=", b"\"payload\":\"\",", b"\\"];
    let mut tally = Tally::default();
    each(&seeds, &tokens, |file| {
        let ours = dsse::parse_envelope(file).map(|envelope| {
            let sigs = envelope.signatures.iter().map(|s| s.sig.to_vec()).collect();
            (envelope.payload_type, envelope.payload, sigs)
        });
        tally.compare(file, ours, foreign_envelope(file));
    });
    tally.refuses_also(&[
        "unknown-key",
        "missing-key",
        "no-signatures",
        "payload-type",
        "signature-length",
        "duplicate-key",
    ]);
}
