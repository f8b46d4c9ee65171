//! Padded base64. Untrusted; `secateur_checker::reader::base64` reads it back.

use secateur_checker::reader::base64::encode_unpadded;

/// `bytes` in the standard alphabet, with padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = encode_unpadded(bytes);
    // No width of a format string: those end at 65,535.
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_padded() {
        assert!(encode(&vec![0; 1 << 17]).ends_with("A="));
        assert_eq!(encode(&vec![0; 100_000]).len(), 133_336);
    }

    #[test]
    fn vectors_of_the_standard() {
        // RFC 4648 section 10.
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in vectors {
            assert_eq!(encode(plain.as_bytes()), coded);
        }
    }
}
