//! Ed25519 keys as PKCS#8 and SPKI PEM, and trust files. Untrusted. `spec/certificate-files.md#trust`.

use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use secateur_checker::reader::base64::decode;
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::dsse::{Envelope, EnvelopeSignature, pre_authentication_encoding};
use secateur_checker::reader::json::{self, Numbers, Value};
use secateur_checker::reader::pem::PublicKey;
use secateur_checker::reader::trust::{MAX_TRUST, parse_trust};

use crate::certify::base64;
use crate::certify::json::canonical;
use crate::policy::input::{MAX_TEXT, read_text};
use crate::policy::write::{FileSet, WriteError};

/// DER of `PrivateKeyInfo` for Ed25519 up to the 32 bytes of the seed (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Why a key could not be made, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Randomness(String),
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file is no Ed25519 key in PKCS#8 PEM.
    #[error("{path}: not an Ed25519 private key in PKCS#8 PEM; `secateur keygen --out DIR` makes one")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// A signing key.
pub struct Key(SigningKey);

impl Key {
    /// A key from the operating system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).map_err(|e| KeyError::Randomness(e.to_string()))?;
        Ok(Self::from_seed(seed))
    }

    /// The key with this seed; for tests and fixtures only.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads `-----BEGIN PRIVATE KEY-----` as OpenSSL writes it (`openssl genpkey -algorithm ed25519`).
    ///
    /// # Errors
    /// [`KeyError::Read`], [`KeyError::Malformed`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text =
            read_text(path, MAX_TEXT).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).ok_or_else(|| KeyError::Malformed { path: path.to_owned() })
    }

    fn parse(text: &str) -> Option<Self> {
        let body: String = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?.split_whitespace().collect();
        let der = decode(&body).ok()?;
        let seed: [u8; 32] = der.strip_prefix(&PKCS8_PREFIX)?.try_into().ok()?;
        Some(Self::from_seed(seed))
    }

    /// The key in PKCS#8 PEM.
    pub fn private_pem(&self) -> String {
        let der = [PKCS8_PREFIX.as_slice(), self.0.as_bytes()].concat();
        format!("{BEGIN}\n{}\n{END}\n", base64::encode(&der))
    }

    /// The public half as the checker reads it; `None` for a key the checker would refuse as weak.
    pub fn public(&self) -> Option<PublicKey> {
        PublicKey::from_bytes(self.0.verifying_key().as_bytes()).ok()
    }

    /// A DSSE envelope with one signature over `payload`.
    pub fn sign(&self, payload_type: &str, payload: Vec<u8>) -> Envelope {
        let signature = self.0.sign(&pre_authentication_encoding(payload_type, &payload));
        let keyid = self.public().map(|p| p.keyid()).unwrap_or_default();
        let signatures = vec![EnvelopeSignature { keyid, sig: signature.to_bytes() }];
        Envelope { payload, payload_type: payload_type.to_owned(), signatures }
    }

    /// Adds `NAME.pem` (readable by the owner only), `NAME.pub.pem` and `trust.json` of `directory`.
    pub fn add_to(&self, set: &mut FileSet, directory: &Path, name: &str) {
        let [private, public, trust] = key_files(directory, name);
        let pem = self.public().map(|p| public_pem(&p)).unwrap_or_default();
        set.add_private(private, self.private_pem());
        set.add(public, pem.as_str());
        set.add(trust, trust_file(name, &pem));
    }

    /// Writes them; a key that is there is never replaced.
    ///
    /// # Errors
    /// [`KeyError::Write`].
    pub fn write(&self, directory: &Path, name: &str) -> Result<(), KeyError> {
        let mut set = FileSet::new(false);
        self.add_to(&mut set, directory, name);
        Ok(set.write()?)
    }
}

/// The private key, the public key and the trust file of a key pair called `name`.
pub fn key_files(directory: &Path, name: &str) -> [PathBuf; 3] {
    [format!("{name}.pem"), format!("{name}.pub.pem"), "trust.json".to_owned()].map(|n| directory.join(n))
}

/// DER of `SubjectPublicKeyInfo` for Ed25519 up to the 32 bytes of the key (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// SPKI PEM, as `openssl pkey -pubout` writes it.
pub fn public_pem(key: &PublicKey) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64::encode(&spki(key)))
}

/// DER of `SubjectPublicKeyInfo`.
pub fn spki(key: &PublicKey) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), key.bytes()].concat()
}

/// A trust file with one active key, threshold 1.
pub fn trust_file(name: &str, public_pem: &str) -> String {
    let file = object(vec![
        ("format", text("secateur.trust/1")),
        ("threshold", text("1")),
        ("keys", Value::Array(vec![active_key(name, public_pem)])),
        ("verifiers", Value::Array(vec![text("secateur")])),
    ]);
    format!("{}\n", canonical(&file))
}

/// The trust file `existing` with one more active key, called `name` and a number; the same text if the key is in it.
///
/// # Errors
/// [`Clause`] of the trust file, before or after.
pub fn trust_with(existing: &[u8], name: &str, key: &PublicKey) -> Result<String, Clause> {
    let known = parse_trust(existing)?;
    let mut document = json::parse(existing, MAX_TRUST, Numbers::Refused)?;
    if let Value::Object(entries) = &mut document
        && known.keys().iter().all(|trusted| trusted.key.keyid() != key.keyid())
    {
        for (field, value) in entries {
            if let (true, Value::Array(keys)) = (field == "keys", value) {
                let name = format!("{name}-{}", keys.len() + 1);
                keys.push(active_key(&name, &public_pem(key)));
            }
        }
    }
    let merged = format!("{}\n", canonical(&document));
    parse_trust(merged.as_bytes())?;
    Ok(merged)
}

fn text(words: &str) -> Value {
    Value::String(words.to_owned())
}

fn object(entries: Vec<(&str, Value)>) -> Value {
    Value::Object(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn active_key(name: &str, public_pem: &str) -> Value {
    object(vec![("name", text(name)), ("publicKey", text(public_pem)), ("status", text("active"))])
}
