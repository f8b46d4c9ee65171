//! Tests of the base64 reader, and its writer.

use super::*;
use proptest::prelude::*;

#[test]
fn vectors_of_the_standard() {
    // RFC 4648 section 10.
    let vectors = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];
    for (plain, coded) in vectors {
        assert_eq!(encode(plain.as_bytes()), coded);
        assert_eq!(decode(coded), Ok(plain.as_bytes().to_vec()));
        assert_eq!(encode_unpadded(plain.as_bytes()), coded.trim_end_matches('='));
    }
}

#[test]
fn other_spellings_are_refused() {
    for (text, error) in [
        ("Zg", Clause::Base64Length { length: 2 }),
        ("Zg=", Clause::Base64Length { length: 3 }),
        ("Z===", Clause::Base64Character { at: 1 }),
        ("====", Clause::Base64Character { at: 0 }),
        ("Zh==", Clause::Base64UnusedBits),
        ("Zm9=", Clause::Base64UnusedBits),
        ("Zg==Zg==", Clause::Base64Character { at: 2 }),
        ("Zm9v\nZm9v", Clause::Base64Length { length: 9 }),
        ("Zm9\n", Clause::Base64Character { at: 3 }),
        ("Zm9 ", Clause::Base64Character { at: 3 }),
        ("Zm-_", Clause::Base64Character { at: 2 }),
        ("Z=9v", Clause::Base64Character { at: 1 }),
    ] {
        assert_eq!(decode(text), Err(error), "{text:?}");
    }
}

/// With padding, as the format has it.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let text = encode_unpadded(bytes);
    let length = text.len().next_multiple_of(4);
    format!("{text:=<length$}")
}

proptest! {
    #[test]
    fn bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
    }

    #[test]
    fn only_the_canonical_text_decodes(text in "[A-Zab01+/=\n ]{0,12}") {
        if let Ok(bytes) = decode(&text) {
            prop_assert_eq!(encode(&bytes), text);
        }
    }
}
