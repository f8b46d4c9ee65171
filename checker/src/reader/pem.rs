//! Ed25519 public keys as SPKI PEM, and their OpenSSH fingerprints. Trusted. `spec/certificate-files.md#keys`.

use ed25519_dalek::VerifyingKey;

use super::base64;
use super::clause::{Clause, Part};
use super::digest::sha256;

/// Longest PEM text, in bytes.
pub(crate) const MAX_PEM: usize = 16_384;
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
    /// [`Clause::NotAPoint`], [`Clause::WeakKey`], [`Clause::MixedOrderKey`].
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
        // A part of small order gives one secret several keys, each of them canonical.
        if !key.to_edwards().is_torsion_free() {
            return Err(Clause::MixedOrderKey);
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
pub(super) mod tests;
