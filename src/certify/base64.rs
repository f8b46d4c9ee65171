//! Padded base64. Untrusted; `secateur_checker::reader::base64` reads it back.

use secateur_checker::reader::base64::encode_unpadded;

/// `bytes` in the standard alphabet, with padding.
pub fn encode(bytes: &[u8]) -> String {
    let text = encode_unpadded(bytes);
    let length = text.len().next_multiple_of(4);
    format!("{text:=<length$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_standard() {
        // RFC 4648 section 10.
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in vectors {
            assert_eq!(encode(plain.as_bytes()), coded);
        }
    }
}
