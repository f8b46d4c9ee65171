//! Strict base64: the standard alphabet, padded, canonical, no blanks. Trusted. `spec/certificate-files.md#base64`.

use super::clause::Clause;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes; the caller caps the length.
///
/// # Errors
/// [`Clause`].
///
/// # References
/// RFC 4648 sections 3.5 and 4.
pub fn decode(text: &str) -> Result<Vec<u8>, Clause> {
    let length = text.len();
    let (groups, rest) = text.as_bytes().as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Clause::Base64Length { length });
    }
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let mut out = Vec::with_capacity(groups.len().saturating_mul(3));
    let (mut bits, mut held) = (0u32, 0u32);
    for (at, byte) in digits.bytes().enumerate() {
        bits = ((bits << 6) | digit(byte).ok_or(Clause::Base64Character { at })?) & 0x00FF_FFFF;
        held = held.saturating_add(6);
        if held >= 8 {
            held = held.saturating_sub(8);
            let [byte, ..] = (bits >> held).to_le_bytes();
            out.push(byte);
        }
    }
    // Of a multiple of 4, less at most 2 signs of padding: 0, 4 or 2 bits are left over, never 6.
    if bits & !(u32::MAX << held) != 0 {
        return Err(Clause::Base64UnusedBits);
    }
    Ok(out)
}

fn digit(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte.checked_sub(b'A'),
        b'a'..=b'z' => byte.checked_sub(71),
        b'0'..=b'9' => byte.checked_add(4),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    value.map(u32::from)
}

/// Encodes without padding, as OpenSSH writes fingerprints.
pub fn encode_unpadded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().saturating_mul(2));
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().chain(&[0, 0]).take(3).fold(0u32, |group, byte| (group << 8) | u32::from(*byte));
        for shift in [18u32, 12, 6, 0].into_iter().take(chunk.len().saturating_add(1)) {
            let [digit, ..] = (group >> shift).to_le_bytes();
            out.extend(ALPHABET.get(usize::from(digit & 63)).copied().map(char::from));
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests;
