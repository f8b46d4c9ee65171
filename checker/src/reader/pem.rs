//! Ed25519 public keys as SPKI PEM, and their OpenSSH fingerprints. Trusted. `spec/certificate-files.md#keys`.

use ed25519_dalek::VerifyingKey;

use super::base64;
use super::clause::{Clause, Part};
use super::digest::sha256;

/// Longest PEM text, in bytes.
pub const MAX_PEM: usize = 16_384;
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----\n";
const END: &str = "-----END PUBLIC KEY-----";
/// `SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 32 bytes }`, up to the bytes.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 public key that is canonical and not weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key of 32 bytes.
    ///
    /// # Errors
    /// [`Clause::NotAPoint`], [`Clause::WeakKey`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Clause> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| Clause::NotAPoint)?;
        if key.is_weak() {
            return Err(Clause::WeakKey);
        }
        // The library takes y modulo p = 2^255 - 19; only y < p is canonical (RFC 8032 section 5.1.3).
        let [first, middle @ .., last] = bytes;
        if *first >= 0xED && middle.iter().all(|b| *b == 0xFF) && last & 0x7F == 0x7F {
            return Err(Clause::NotAPoint);
        }
        Ok(Self(key))
    }

    /// Parses SPKI PEM: armour, base64 lines of at most 64 characters, line feeds only, the last one optional.
    ///
    /// # Errors
    /// [`Clause`].
    ///
    /// # References
    /// RFC 7468 sections 3 and 13; RFC 8410 section 4.
    pub fn parse_pem(text: &str) -> Result<Self, Clause> {
        if text.len() > MAX_PEM {
            return Err(Clause::KeyTooLarge { size: text.len() });
        }
        if text.contains("PRIVATE KEY-----") {
            return Err(Clause::PrivateKey);
        }
        let body = text.strip_prefix(BEGIN).ok_or(Clause::Armour)?;
        let body = body.strip_suffix('\n').unwrap_or(body).strip_suffix(END).ok_or(Clause::Armour)?;
        let body = body.strip_suffix('\n').ok_or(Clause::Armour)?;
        if body.split('\n').any(|line| line.is_empty() || line.len() > 64) {
            return Err(Clause::Armour);
        }
        let der = base64::decode(&body.replace('\n', "")).map_err(|e| e.within(Part::KeyBody))?;
        let key = der.strip_prefix(&SPKI_PREFIX).ok_or(Clause::NotEd25519)?;
        Self::from_bytes(key.try_into().map_err(|_| Clause::NotEd25519)?)
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// SPKI PEM, as `openssl pkey -pubout` writes it.
    pub fn emit_pem(&self) -> String {
        let der: Vec<u8> = SPKI_PREFIX.iter().chain(self.bytes()).copied().collect();
        format!("{BEGIN}{}\n{END}\n", base64::encode(&der))
    }

    /// OpenSSH fingerprint: `SHA256:` and the unpadded base64 of the SHA-256 of the key's SSH wire form.
    ///
    /// # References
    /// RFC 8709 section 4; RFC 4253 section 6.6; `ssh-keygen(1)`, option `-l`.
    pub fn keyid(&self) -> String {
        let mut wire = vec![0, 0, 0, 11];
        wire.extend_from_slice(b"ssh-ed25519");
        wire.extend_from_slice(&[0, 0, 0, 32]);
        wire.extend_from_slice(self.bytes());
        format!("SHA256:{}", base64::encode_unpadded(&sha256(&wire)))
    }

    pub(super) fn verifying_key(&self) -> &VerifyingKey {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn pem(der: &[u8]) -> String {
        format!("{BEGIN}{}\n{END}\n", base64::encode(der))
    }

    fn spki(key: &[u8]) -> String {
        pem(&[&SPKI_PREFIX[..], key].concat())
    }

    fn good() -> PublicKey {
        PublicKey::from_bytes(&SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes()).unwrap()
    }

    #[test]
    fn keys_round_trip() {
        let text = good().emit_pem();
        assert_eq!(PublicKey::parse_pem(&text), Ok(good()));
        assert_eq!(PublicKey::parse_pem(text.trim_end()), Ok(good()));
    }

    #[test]
    fn an_example_of_the_standard_is_read() {
        // RFC 8410 section 10.1.
        let text = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        let key = PublicKey::parse_pem(text).unwrap();
        assert_eq!(key.bytes()[..4], [0x19, 0xbf, 0x44, 0x09]);
        assert_eq!(key.emit_pem(), text);
        // What `ssh-keygen -lf` prints for the same key.
        assert_eq!(key.keyid(), "SHA256:ebCT4wkJOqO5AIlHG03cHvn3Cr3ZZEEh8m81duHhR3Q");
    }

    #[test]
    fn armour_is_strict() {
        let text = good().emit_pem();
        for bad in [
            String::new(),
            format!(" {text}"),
            format!("{text}\n"),
            format!("{text}x"),
            text.replace('\n', "\r\n"),
            text.replace("PUBLIC", "RSA PUBLIC"),
            text.replace("\n-----END", "\n\n-----END"),
            text.replace("-----END PUBLIC KEY-----", ""),
            format!("{BEGIN}{END}"),
        ] {
            assert_eq!(PublicKey::parse_pem(&bad), Err(Clause::Armour), "{bad:?}");
        }
        let private = text.replace("PUBLIC", "PRIVATE");
        assert_eq!(PublicKey::parse_pem(&private), Err(Clause::PrivateKey));
        let large = "x".repeat(MAX_PEM + 1);
        assert_eq!(PublicKey::parse_pem(&large), Err(Clause::KeyTooLarge { size: MAX_PEM + 1 }));
        let blank = PublicKey::parse_pem(&text.replace("MCow", "MC w"));
        assert_eq!(blank, Err(Clause::Base64Character { at: 2 }.within(Part::KeyBody)));
    }

    #[test]
    fn other_keys_are_refused() {
        let other = PublicKey::parse_pem(&spki(&[0; 31]));
        assert_eq!(other, Err(Clause::NotEd25519));
        assert_eq!(PublicKey::parse_pem(&spki(&[0; 33])), Err(Clause::NotEd25519));
        let mut der = [&SPKI_PREFIX[..], good().bytes()].concat();
        der[8] = 0x6E; // 1.3.101.110, X25519
        assert_eq!(PublicKey::parse_pem(&pem(&der)), Err(Clause::NotEd25519));
        let rsa = vec![0x30; 300];
        let lines = base64::encode(&rsa)
            .as_bytes()
            .chunks(64)
            .map(|l| String::from_utf8_lossy(l).into_owned())
            .collect::<Vec<_>>();
        let rsa = format!("{BEGIN}{}\n{END}\n", lines.join("\n"));
        assert_eq!(PublicKey::parse_pem(&rsa), Err(Clause::NotEd25519));
    }

    #[test]
    fn weak_and_non_canonical_keys_are_refused() {
        // The neutral element (y = 1), y = 0 (order 4), y = p - 1 (order 2), and the neutral element written as p + 1.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut order_two = [0xFF; 32];
        (order_two[0], order_two[31]) = (0xEC, 0x7F);
        let mut plus = order_two;
        plus[0] = 0xEE;
        for weak in [neutral, [0; 32], order_two, plus] {
            assert_eq!(PublicKey::parse_pem(&spki(&weak)), Err(Clause::WeakKey));
        }
        // y = 3 is on the curve and not weak; p + 3 denotes it a second time.
        let mut small = [0; 32];
        small[0] = 3;
        assert!(PublicKey::from_bytes(&small).is_ok());
        let mut again = order_two;
        again[0] = 0xF0;
        assert_eq!(PublicKey::from_bytes(&again), Err(Clause::NotAPoint));
        let mut off = [0; 32];
        off[0] = 2;
        assert_eq!(PublicKey::from_bytes(&off), Err(Clause::NotAPoint));
    }
}
