//! Ed25519 keys as PKCS#8 and SPKI PEM, and trust files. Untrusted. `spec/certificate-files.md#trust`.

use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use secateur_checker::reader::base64;
use secateur_checker::reader::dsse::{Envelope, EnvelopeSignature, pre_authentication_encoding};
use secateur_checker::reader::json::{Value, canonical};
use secateur_checker::reader::pem::PublicKey;

use crate::policy::input::{MAX_TEXT, read_text};

use crate::policy::write::{WriteError, create_folder, write_atomically};

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
    /// A key is there already.
    #[error("{path} exists; a key is never overwritten: choose another --out")]
    Exists {
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
        let der = base64::decode(&body).ok()?;
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

    /// Writes `NAME.pem` (readable by the owner only), `NAME.pub.pem` and `trust.json` into `directory`.
    ///
    /// # Errors
    /// [`KeyError::Exists`], [`KeyError::Write`].
    pub fn write(&self, directory: &Path, name: &str) -> Result<(), KeyError> {
        create_folder(directory)?;
        let private = directory.join(format!("{name}.pem"));
        let public = directory.join(format!("{name}.pub.pem"));
        let trust = directory.join("trust.json");
        for path in [&private, &public, &trust] {
            if path.exists() {
                return Err(KeyError::Exists { path: path.clone() });
            }
        }
        let unwritten = |source| WriteError { path: private.clone(), source };
        write_private(&private, self.private_pem().as_bytes()).map_err(unwritten)?;
        let pem = self.public().map(|p| p.emit_pem()).unwrap_or_default();
        write_atomically(&public, pem.as_bytes())?;
        Ok(write_atomically(&trust, trust_file(name, &pem).as_bytes())?)
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(path)?, bytes)
}

/// A trust file with one active key, threshold 1.
pub fn trust_file(name: &str, public_pem: &str) -> String {
    let text = |t: &str| Value::String(t.to_owned());
    let object = |entries: Vec<(&str, Value)>| {
        Value::Object(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    };
    let key = object(vec![("name", text(name)), ("publicKey", text(public_pem)), ("status", text("active"))]);
    let file = object(vec![
        ("format", text("secateur.trust/1")),
        ("threshold", text("1")),
        ("keys", Value::Array(vec![key])),
        ("verifiers", Value::Array(vec![text("secateur")])),
    ]);
    format!("{}\n", canonical(&file))
}
