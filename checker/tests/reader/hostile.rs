//! Hostile input through the reader's public functions: each file is refused with its own typed error, within its caps,
//! and no prefix, changed byte or random bytes make a reader panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::panic
)]

#[path = "../../../crates/certify/src/certify/json.rs"]
mod writer;

use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use secateur_checker::load::{Failure, FileProblem, read_file, read_regular};
use secateur_checker::model::Units;
use secateur_checker::number::NumberError;
use secateur_checker::reader::base64::{self, encode_unpadded};
use secateur_checker::reader::clause::{Clause, Part};
use secateur_checker::reader::dsse::{self, Envelope, EnvelopeSignature, PAYLOAD_TYPE};
use secateur_checker::reader::json::{self, Numbers};
use secateur_checker::reader::mask;
use secateur_checker::reader::npy;
use secateur_checker::reader::pem::PublicKey;
use secateur_checker::reader::policy::{self, PolicyFiles};
use secateur_checker::reader::property::parse_property;
use secateur_checker::reader::safetensors::{self, Safetensors};
use secateur_checker::reader::tensor::MAX_WIDTH;
use secateur_checker::reader::trust;
use writer::canonical;

const MANIFEST: &str = r#"{"format":"secateur.policy/1","head":{"kind":"gaussian","logStd":"s"},"layers":[{"activation":{"kind":"leaky_relu","slope":"0.01"},"bias":"b","weight":"w"}]}"#;
const CHAIN: &str = r#"{"format":"secateur.masks/1","masks":[{"file":"mask-00.safetensors","sparsity":"0"}],"method":"magnitude","scope":"layer","seed":"0"}"#;

/// Padded base64.
fn encode(bytes: &[u8]) -> String {
    let text = encode_unpadded(bytes);
    let length = text.len().next_multiple_of(4);
    format!("{text:=<length$}")
}

/// A key as SPKI PEM.
fn pem_of(key: &PublicKey) -> String {
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der = [prefix.as_slice(), key.bytes()].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", encode(&der))
}

fn emit_envelope(envelope: &Envelope) -> String {
    let sign = |s: &EnvelopeSignature| format!(r#"{{"keyid":"{}","sig":"{}"}}"#, s.keyid, encode(&s.sig));
    let signatures: Vec<String> = envelope.signatures.iter().map(sign).collect();
    let (payload, kind) = (encode(&envelope.payload), &envelope.payload_type);
    format!(r#"{{"payload":"{payload}","payloadType":"{kind}","signatures":[{}]}}"#, signatures.join(","))
}

fn tensor_file(list: &[(&str, &str, &str, Vec<u8>)]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in list {
        let begin = data.len();
        data.extend_from_slice(bytes);
        let end = data.len();
        entries.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut out = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&data);
    out
}

fn singles(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Weights, bias and `log_std` of a policy of two inputs and one output, the weights as given.
fn tensors_with(weight: [f32; 2]) -> Vec<u8> {
    tensor_file(&[
        ("w", "F32", "[1,2]", singles(&weight)),
        ("b", "F32", "[1]", singles(&[0.5])),
        ("s", "F32", "[1]", singles(&[-1.0])),
    ])
}

fn sample() -> PolicyFiles {
    policy::parse_policy(MANIFEST.as_bytes(), &tensors_with([1.0, -2.0])).unwrap()
}

fn mask_file() -> Vec<u8> {
    tensor_file(&[("w", "BOOL", "[1,2]", vec![1, 0])])
}

fn states_file() -> Vec<u8> {
    let mut out = b"\x93NUMPY\x01\x00\x40\x00".to_vec();
    out.extend_from_slice(
        format!("{:<63}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }").as_bytes(),
    );
    out.extend_from_slice(&singles(&[0.25, -4.0]));
    out
}

fn secret() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn public() -> PublicKey {
    PublicKey::from_bytes(&secret().verifying_key().to_bytes()).unwrap()
}

fn trust_file() -> String {
    let pem = pem_of(&public()).replace('\n', "\\n");
    format!(
        r#"{{"format":"secateur.trust/1","keys":[{{"name":"a","publicKey":"{pem}","status":"active"}}],"threshold":"1"}}"#
    )
}

fn envelope() -> Envelope {
    let message = dsse::pre_authentication_encoding(PAYLOAD_TYPE, b"{}");
    let sig = secret().sign(&message).to_bytes();
    let signatures = vec![EnvelopeSignature { keyid: public().keyid(), sig }];
    Envelope { payload: b"{}".to_vec(), payload_type: PAYLOAD_TYPE.to_owned(), signatures }
}

fn policy_error(manifest: &str) -> Clause {
    policy::parse_policy(manifest.as_bytes(), &tensors_with([1.0, -2.0])).unwrap_err()
}

/// Calls every reader on the same bytes; returns how many accepted them.
fn accepted_by(bytes: &[u8]) -> usize {
    let files = sample();
    let text = String::from_utf8_lossy(bytes);
    [
        json::parse(bytes, 1 << 20, Numbers::Refused).is_ok(),
        json::parse(bytes, 1 << 20, Numbers::Integers).is_ok(),
        Safetensors::parse(bytes).is_ok(),
        npy::parse_states(bytes, Units::Raw).is_ok(),
        policy::parse_policy(bytes, bytes).is_ok(),
        policy::parse_policy(bytes, &tensors_with([1.0, -2.0])).is_ok(),
        policy::parse_policy(MANIFEST.as_bytes(), bytes).is_ok(),
        mask::parse_chain_manifest(bytes).is_ok(),
        mask::parse_mask(bytes, &files).is_ok(),
        dsse::parse_envelope(bytes).is_ok(),
        trust::parse_trust(bytes).is_ok(),
        base64::decode(&text).is_ok(),
        PublicKey::parse_pem(&text).is_ok(),
    ]
    .into_iter()
    .filter(|ok| *ok)
    .count()
}

#[test]
fn the_well_formed_files_are_accepted() {
    assert!(mask::parse_chain_manifest(CHAIN.as_bytes()).is_ok());
    assert!(mask::parse_mask(&mask_file(), &sample()).is_ok());
    assert!(npy::parse_states(&states_file(), Units::Raw).is_ok());
    let trusted = trust::parse_trust(trust_file().as_bytes()).unwrap();
    let read = dsse::parse_envelope(emit_envelope(&envelope()).as_bytes()).unwrap();
    assert_eq!(trust::verify_envelope(&read, &trusted).unwrap()[0].name(), "a");
}

#[test]
fn caps_come_before_reading() {
    let blank = vec![b' '; dsse::MAX_ENVELOPE + 1];
    let too_large = |cap| Clause::TooLarge { size: blank.len(), cap };
    assert_eq!(dsse::parse_envelope(&blank), Err(too_large(dsse::MAX_ENVELOPE).within(Part::Envelope)));
    assert_eq!(trust::parse_trust(&blank), Err(too_large(trust::MAX_TRUST).within(Part::TrustFile)));
    assert_eq!(
        mask::parse_chain_manifest(&blank),
        Err(too_large(mask::MAX_MANIFEST).within(Part::MaskManifest))
    );
    let manifest = policy::parse_policy(&blank, &[]).unwrap_err();
    assert_eq!(manifest, too_large(policy::MAX_MANIFEST).within(Part::PolicyManifest));
    // A header that says it has 2^64 - 1 bytes, and an array that says it has 2^62 entries.
    let header = Safetensors::parse(&[0xFF; 64]).unwrap_err();
    assert_eq!(header, Clause::HeaderTooLarge { size: u64::MAX });
    let claims = tensor_file(&[("w", "F64", "[2147483648,2147483648]", vec![])]);
    assert_eq!(Safetensors::parse(&claims), Err(Clause::ShapeOverflow { name: "w".into() }));
    let claims = tensor_file(&[("w", "F64", "[1073741824,1073741824]", vec![])]);
    let mismatch = Clause::SizeMismatch { name: "w".into(), stated: 0, needed: 1 << 63 };
    assert_eq!(Safetensors::parse(&claims), Err(mismatch));
}

#[test]
fn nesting_stops_at_24() {
    for open in ["[", "{\"a\":"] {
        let error = json::parse(open.repeat(100_000).as_bytes(), 1 << 20, Numbers::Refused);
        assert!(matches!(error.map_err(|e| e.condition().clone()), Err(Clause::TooDeep { .. })));
    }
}

#[test]
fn numbers_stop_at_4096_digits() {
    let slope = |text: &str| policy_error(&MANIFEST.replace("0.01", text));
    let path = || "layers[0].activation.slope".to_owned();
    let too_long = Clause::NotANumber { error: NumberError::TooLong }
        .within(Part::Value(path()))
        .within(Part::PolicyManifest);
    assert_eq!(slope(&format!("0.{}", "1".repeat(4096))), too_long);
    assert_eq!(slope("1e-4097"), too_long);
    assert_eq!(slope("1e-99999999999999999999"), too_long);
    let malformed = Clause::NotANumber { error: NumberError::Malformed }
        .within(Part::Value(path()))
        .within(Part::PolicyManifest);
    for text in ["NaN", "inf", "0x1", "1_000", " 1", "\u{661}", ""] {
        assert_eq!(slope(text), malformed, "{text}");
    }
    let zero = Clause::NotANumber { error: NumberError::ZeroDenominator }
        .within(Part::Value(path()))
        .within(Part::PolicyManifest);
    assert_eq!(slope("1/0"), zero);
}

#[test]
fn duplicate_keys_are_refused_everywhere() {
    let twice = |text: &str| text.replacen('{', "{\"format\":\"secateur.policy/1\",", 1);
    let is_twice =
        |e: &Clause| matches!(e.condition(), Clause::DuplicateKey { key, .. } if key.0 == "format");
    assert!(is_twice(&policy_error(&twice(MANIFEST))));
    let chain = mask::parse_chain_manifest(twice(CHAIN).as_bytes()).unwrap_err();
    assert!(is_twice(&chain));
    let file = trust::parse_trust(twice(&trust_file()).as_bytes()).unwrap_err();
    assert!(is_twice(&file));
    let text = emit_envelope(&envelope()).replacen('{', "{\"payload\":\"\",", 1);
    let error = dsse::parse_envelope(text.as_bytes()).unwrap_err();
    assert!(matches!(error.condition(), Clause::DuplicateKey { .. }));
    // An escaped spelling of the same key is the same key.
    let escaped = MANIFEST.replacen('{', "{\"\\u0066ormat\":\"x\",", 1);
    assert!(is_twice(&policy_error(&escaped)));
}

#[test]
fn floats_where_strings_belong_are_refused() {
    let number = |text: &str| policy_error(&MANIFEST.replace("\"0.01\"", text));
    for text in ["0.01", "1e-2", "0", "-1"] {
        assert!(matches!(number(text).condition(), Clause::NumberToken { .. }), "{text}");
    }
    let threshold = trust::parse_trust(trust_file().replace("\"1\"", "1").as_bytes()).unwrap_err();
    assert!(matches!(threshold.condition(), Clause::NumberToken { .. }));
    let sparsity =
        mask::parse_chain_manifest(CHAIN.replace("\"sparsity\":\"0\"", "\"sparsity\":0.0").as_bytes());
    assert!(matches!(sparsity.map_err(|e| e.condition().clone()), Err(Clause::NumberToken { .. })));
}

#[test]
fn byte_order_marks_and_other_encodings_are_refused() {
    assert_eq!(
        policy_error(&format!("\u{feff}{MANIFEST}")),
        Clause::ByteOrderMark.within(Part::PolicyManifest)
    );
    let wide: Vec<u8> = MANIFEST.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(matches!(
        policy::parse_policy(&wide, &[]).map_err(|e| e.condition().clone()),
        Err(Clause::Syntax { .. })
    ));
    let overlong = dsse::parse_envelope(b"{\"\xc0\xaf\":null}");
    assert_eq!(overlong, Err(Clause::NotUtf8 { at: 2 }.within(Part::Envelope)));
}

#[test]
fn base64_has_one_spelling() {
    let text = emit_envelope(&envelope());
    let payload = |to: &str| dsse::parse_envelope(text.replace("\"e30=\"", to).as_bytes()).unwrap_err();
    assert_eq!(payload("\"e31=\""), Clause::Base64UnusedBits.within(Part::EnvelopePayload));
    assert_eq!(payload("\"e30\""), Clause::Base64Length { length: 3 }.within(Part::EnvelopePayload));
    assert_eq!(payload("\"e3 =\""), Clause::Base64Character { at: 2 }.within(Part::EnvelopePayload));
    assert_eq!(payload("\"e3-_\""), Clause::Base64Character { at: 2 }.within(Part::EnvelopePayload));
    assert_eq!(payload("\"e30=\\n\""), Clause::Base64Length { length: 5 }.within(Part::EnvelopePayload));
}

#[test]
fn signatures_that_anyone_could_rewrite_are_refused() {
    // S = 2^256 - 1 is above the order of the group.
    let trusted = trust::parse_trust(trust_file().as_bytes()).unwrap();
    let mut changed = envelope();
    changed.signatures[0].sig[32..].fill(0xFF);
    let error = trust::verify_envelope(&changed, &trusted);
    assert_eq!(error, Err(Clause::NonCanonicalSignature { name: "a".into() }));
}

#[test]
fn shapes_are_no_way_in() {
    let read = |list: &[_]| policy::parse_policy(MANIFEST.as_bytes(), &tensor_file(list)).unwrap_err();
    let rest = [("b", "F32", "[1]", singles(&[0.0])), ("s", "F32", "[1]", singles(&[0.0]))];
    let ragged = read(&[("w", "F32", "[1,2]", singles(&[1.0]))]);
    let needed = Clause::SizeMismatch { name: "w".into(), stated: 4, needed: 8 };
    assert_eq!(ragged, needed.within(Part::PolicyTensors));
    let empty = read(&[("w", "F32", "[1,0]", vec![]), rest[0].clone(), rest[1].clone()]);
    assert_eq!(empty, Clause::LayerWidth { layer: 0, width: 0 });
    let integers = read(&[("w", "I32", "[1,2]", vec![0; 8]), rest[0].clone(), rest[1].clone()]);
    assert!(matches!(integers.condition(), Clause::WrongDtype { .. }));
}

#[test]
fn weights_and_states_are_finite() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = policy::parse_policy(MANIFEST.as_bytes(), &tensors_with([1.0, bad])).unwrap_err();
        assert_eq!(error, Clause::NotFinite { name: "w".into(), index: 1 }.within(Part::PolicyTensors));
        let mut states = states_file();
        let at = states.len() - 4;
        states[at..].copy_from_slice(&bad.to_le_bytes());
        assert_eq!(npy::parse_states(&states, Units::Raw), Err(Clause::StateNotFinite { row: 0, column: 1 }));
    }
}

#[test]
fn archives_and_pickles_are_not_read() {
    let zip = b"PK\x03\x04\x14\x00\x00\x00\x08\x00";
    let pickle = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";
    for bytes in [&zip[..], &pickle[..]] {
        assert_eq!(accepted_by(bytes), 0);
        assert_eq!(npy::parse_states(bytes, Units::Raw), Err(Clause::NotNpy));
        assert!(matches!(
            Safetensors::parse(bytes).map_err(|e| e.condition().clone()),
            Err(Clause::HeaderTooLarge { .. })
        ));
    }
    // A pickled object array in .npy.
    let mut object = states_file();
    let at = object.windows(3).position(|w| w == b"<f4").unwrap();
    object[at..at + 3].copy_from_slice(b"|O ");
    assert_eq!(npy::parse_states(&object, Units::Raw), Err(Clause::NpyDtype));
}

#[test]
fn names_stay_in_their_directory_and_out_of_the_terminal() {
    for bad in ["../../etc/passwd", "/etc/passwd", "a\\\\b", "..", "\\u001b]0;x\\u0007", "CON:", "a\\u0000b"]
    {
        let chain = CHAIN.replace("mask-00.safetensors", bad);
        let error = mask::parse_chain_manifest(chain.as_bytes()).unwrap_err();
        assert!(matches!(error.condition(), Clause::UnsafeFileName { .. }), "{bad}");
        assert!(error.to_string().bytes().all(|b| (0x20..0x7F).contains(&b)), "{error}");
    }
    let named = policy_error(&MANIFEST.replace("\"w\"", "\"\\u001b[2J\\u202e\""));
    assert!(matches!(named.condition(), Clause::UnsafeName { .. }));
    assert!(named.to_string().bytes().all(|b| (0x20..0x7F).contains(&b)), "{named}");
    let key = policy_error(&MANIFEST.replacen('{', "{\"\\u001b[2J\":null,", 1));
    assert!(matches!(key.condition(), Clause::UnknownKey { .. }));
    assert!(key.to_string().bytes().all(|b| (0x20..0x7F).contains(&b)), "{key}");
    let tensor = tensor_file(&[("\\u001b[31m", "F32", "[1]", vec![])]);
    let error = Safetensors::parse(&tensor).unwrap_err();
    assert!(error.to_string().bytes().all(|b| (0x20..0x7F).contains(&b)), "{error}");
}

#[test]
fn vacuous_files_are_refused() {
    let mut none = states_file();
    let at = none.windows(6).position(|w| w == b"(1, 2)").unwrap();
    none[at + 1] = b'0';
    none.truncate(none.len() - 8);
    assert_eq!(npy::parse_states(&none, Units::Raw), Err(Clause::NoStates));
    let chain = r#"{"format":"secateur.masks/1","method":"","scope":"","seed":"","masks":[]}"#;
    assert_eq!(mask::parse_chain_manifest(chain.as_bytes()), Err(Clause::NoMasks));
    let layers = r#"{"format":"secateur.policy/1","head":{"kind":"categorical"},"layers":[]}"#;
    assert_eq!(policy_error(layers), Clause::NoLayers);
    let threshold = trust_file().replace("\"threshold\":\"1\"", "\"threshold\":\"0\"");
    assert_eq!(trust::parse_trust(threshold.as_bytes()), Err(Clause::ThresholdZero));
    let unsigned = format!(r#"{{"payload":"e30=","payloadType":"{PAYLOAD_TYPE}","signatures":[]}}"#);
    assert_eq!(dsse::parse_envelope(unsigned.as_bytes()), Err(Clause::NoSignatures));
}

#[test]
fn masks_of_another_policy_are_refused() {
    let read = |list: &[_]| mask::parse_mask(&tensor_file(list), &sample()).unwrap_err();
    assert_eq!(read(&[("v", "BOOL", "[1,2]", vec![1, 1])]), Clause::UnknownTensor { name: "v".into() });
    assert_eq!(read(&[("w", "BOOL", "[2,1]", vec![1, 1])]), Clause::MaskShape { name: "w".into() });
    for name in ["b", "s"] {
        let list = [("w", "BOOL", "[1,2]", vec![1, 1]), (name, "BOOL", "[1]", vec![1])];
        assert_eq!(read(&list), Clause::MayNotBeMasked { name: name.into() });
    }
    let error = read(&[("w", "U8", "[1,2]", vec![1, 255])]);
    assert_eq!(error, Clause::NotABit { name: "w".into(), index: 1 }.within(Part::MaskTensors));
    let error = read(&[]);
    assert_eq!(error, Clause::NoTensor { name: "w".into() }.within(Part::MaskTensors));
}

#[test]
fn a_private_key_is_not_a_public_one() {
    let pem = pem_of(&public()).replace("PUBLIC", "PRIVATE");
    assert_eq!(PublicKey::parse_pem(&pem), Err(Clause::PrivateKey));
}

/// Every file cut short anywhere is refused by the reader it is for.
#[test]
fn no_prefix_of_a_file_is_a_file() {
    let files = sample();
    let refuse = |whole: &[u8], refused: &dyn Fn(&[u8]) -> bool| {
        for length in 0..whole.len() {
            assert!(refused(&whole[..length]), "prefix of {length} bytes");
            accepted_by(&whole[..length]);
        }
    };
    refuse(&tensors_with([1.0, 2.0]), &|b| policy::parse_policy(MANIFEST.as_bytes(), b).is_err());
    refuse(MANIFEST.as_bytes(), &|b| policy::parse_policy(b, &tensors_with([1.0, 2.0])).is_err());
    refuse(&mask_file(), &|b| mask::parse_mask(b, &files).is_err());
    refuse(CHAIN.as_bytes(), &|b| mask::parse_chain_manifest(b).is_err());
    refuse(&states_file(), &|b| npy::parse_states(b, Units::Raw).is_err());
    refuse(trust_file().as_bytes(), &|b| trust::parse_trust(b).is_err());
    refuse(emit_envelope(&envelope()).as_bytes(), &|b| dsse::parse_envelope(b).is_err());
}

/// Any one changed bit of an envelope makes it unreadable or untrusted.
#[test]
fn no_bit_of_an_envelope_can_change() {
    let trusted = trust::parse_trust(trust_file().as_bytes()).unwrap();
    let whole = emit_envelope(&envelope()).into_bytes();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            if let Ok(read) = dsse::parse_envelope(&changed) {
                assert!(trust::verify_envelope(&read, &trusted).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        accepted_by(&bytes);
    }

    #[test]
    fn changed_files_never_panic(which in 0usize..6, at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = [
            tensors_with([1.0, 2.0]),
            MANIFEST.as_bytes().to_vec(),
            mask_file(),
            CHAIN.as_bytes().to_vec(),
            states_file(),
            trust_file().into_bytes(),
        ][which].clone();
        let at = at % bytes.len();
        bytes[at] = byte;
        accepted_by(&bytes);
    }

    #[test]
    fn what_is_read_is_written_canonically(text in "[\\[\\]{}\",:a\\\\u0-9 \u{e9}]{0,40}") {
        if let Ok((value, spelled)) = json::parse_spelled(text.as_bytes(), 1 << 20, Numbers::Integers) {
            let written = canonical(&value);
            prop_assert_eq!(json::parse_spelled(written.as_bytes(), 1 << 20, Numbers::Integers), Ok((value, true)));
            prop_assert_eq!(spelled, written == text);
        }
    }

    /// Documents of strings that are often canonical and often nearly so.
    #[test]
    fn what_counts_as_canonical_is_what_the_writer_writes(
        keys in proptest::collection::vec("[ab\u{e9}\u{fb33}\u{1f600}]{0,2}", 0..4),
        text in "(a|\\\\n|\\\\u00(0[0-9a-fA-F]|1[fF]|2[02]|5c|7f)|\\\\[btrf/\"\\\\]|\u{e9}){0,4}",
        blank in "[ \n]{0,1}",
    ) {
        let members: Vec<String> = keys.iter().map(|key| format!("\"{key}\":\"{text}\"")).collect();
        let document = format!("[{{{}}},\"{text}\"{blank}]", members.join(","));
        if let Ok((value, spelled)) = json::parse_spelled(document.as_bytes(), 1 << 20, Numbers::Refused) {
            prop_assert_eq!(spelled, canonical(&value) == document);
        }
    }
}

#[test]
fn caps_are_those_of_the_design() {
    assert_eq!((dsse::MAX_ENVELOPE, dsse::MAX_SIGNATURES), (16 * 1024 * 1024, 16));
    assert_eq!((json::MAX_DEPTH, mask::MAX_MASKS), (24, 1024));
    assert_eq!((safetensors::MAX_FILE, safetensors::MAX_HEADER), (100_000_000, 1 << 20));
}

/// The length comes before the numbers, which are none; and before the cost of numbers that are short to write.
#[test]
fn lists_longer_than_any_layer_are_refused_unread() {
    let property = |lower: &str, coefficients: &str| {
        let constraint = format!(r#"{{"bound":"0","coefficients":[{coefficients}]}}"#);
        let case = format!(r#"{{"constraints":[{constraint}],"lower":[{lower}],"upper":["1"]}}"#);
        parse_property(format!(r#"{{"cases":[{case}],"format":"secateur.property/1"}}"#).as_bytes())
    };
    let many = |path: &str| Err(Clause::TooMany { cap: MAX_WIDTH }.within(Part::Value(path.into())));
    let long = vec![r#""x""#; MAX_WIDTH + 1].join(",");
    assert_eq!(property(&long, ""), many("cases[0].lower"));
    assert_eq!(property("", &long), many("cases[0].constraints[0].coefficients"));
    let digits = Clause::TooManyDigits { at: "cases[0].lower[4096]".into() };
    let costly = property(&vec![r#""7e-4096""#; MAX_WIDTH].join(","), "");
    assert_eq!(costly, Err(digits));
}

/// At the cap, one byte above it, and a file of no length of its own.
#[test]
fn files_are_regular_and_within_their_cap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, [7; 9]).unwrap();
    assert_eq!(read_regular(&path, 9).unwrap(), [7; 9]);
    assert!(matches!(read_regular(&path, 8), Err(FileProblem::TooLarge { cap: 8 })));
    assert_eq!(read_file(&path, 8).unwrap_err().exit_code(), 4);
    let problem = read_regular(folder.path(), 8);
    assert!(matches!(problem, Err(FileProblem::Irregular("it is a folder, not a file"))));
    let failure = read_file(folder.path(), 8).unwrap_err();
    assert!(failure.exit_code() == 2 && failure.to_string().ends_with("it is a folder, not a file"));
    assert!(matches!(read_regular(&folder.path().join("none"), 8), Err(FileProblem::Io(_))));
}

/// Nobody writes into the pipe: opening it would wait for ever, so that another thread tries.
#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let cases = [
        (pipe, "a pipe"),
        (link, "a pipe"),
        ("/dev/null".into(), "a device"),
        ("/dev/zero".into(), "a device"),
        (socket, "a socket or the like"),
    ];
    for (path, kind) in cases {
        let (send, receive) = std::sync::mpsc::channel();
        let asked = path.clone();
        std::thread::spawn(move || send.send(read_file(&asked, 1 << 20)));
        let found = receive.recv_timeout(std::time::Duration::from_secs(20)).expect("it waits");
        let Err(Failure::File { path: named, problem: FileProblem::Irregular(found) }) = found else {
            panic!("{} was read", path.display())
        };
        assert_eq!(named, path);
        assert!(found.starts_with(&format!("it is {kind}, not a regular file")), "{found}");
    }
}
