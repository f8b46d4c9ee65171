//! The readers on published policies and their visited states, where `../shared/policies` is present.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

use std::fs;
use std::path::PathBuf;

use secateur_checker::model::Units;
use secateur_checker::reader::digest::{binary64_bits, sha256_hex};
use secateur_checker::reader::npy::parse_states;
use secateur_checker::reader::safetensors::Safetensors;

/// The files with that ending; empty, with a line saying so, if the folder is absent.
fn shared(ending: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/policies");
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: no folder {}", folder.display());
        return Vec::new();
    };
    let names =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| n.ends_with(ending));
    let files: Vec<_> = names.map(|n| (n.clone(), fs::read(folder.join(n)).unwrap())).collect();
    assert!(!files.is_empty(), "no file ends with {ending}");
    files
}

#[test]
fn published_tensors_are_read_and_have_the_published_digests() {
    let files = shared(".safetensors");
    let manifest = shared("manifest.json").pop().map(|(_, bytes)| String::from_utf8(bytes).unwrap());
    for (name, bytes) in files {
        let digest = sha256_hex(&bytes);
        assert!(manifest.as_ref().unwrap().contains(&format!("\"{name}\": \"{digest}\"")), "{name}");
        let parsed = Safetensors::parse(&bytes).unwrap();
        for tensor in parsed.names() {
            let tensor = parsed.tensor(tensor).unwrap();
            let values = tensor.dyadics().unwrap();
            assert_eq!(values.len(), tensor.shape.iter().product::<usize>());
            assert!(values.iter().all(|v| binary64_bits(*v).is_some()));
        }
    }
}

#[test]
fn published_states_are_read_bit_for_bit() {
    for (name, bytes) in shared(".states.npy") {
        let states = parse_states(&bytes, Units::Raw).unwrap();
        assert_eq!(states.values.rows, 1000, "{name}");
        let tail = &bytes[bytes.len() - 8 * states.values.values.len()..];
        for (value, stored) in states.values.values.iter().zip(tail.as_chunks::<8>().0) {
            let stored = u64::from_le_bytes(*stored);
            let expected = if stored == 1 << 63 { 0 } else { stored };
            assert_eq!(binary64_bits(*value), Some(expected), "{name}");
        }
    }
}
