//! DSSE v1 envelopes and what their signatures cover. Trusted. `spec/certificate-files.md#envelope`.

use core::fmt;

use super::base64::{self, Base64Error};
use super::escaped::Escaped;
use super::fields::{Field, FieldError};
use super::json::{self, JsonError, Numbers};

/// Longest envelope, in bytes.
pub const MAX_ENVELOPE: usize = 16 << 20;
/// Most signatures.
pub const MAX_SIGNATURES: usize = 16;
/// The type of every payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Longest keyid, in bytes.
pub const MAX_KEYID: usize = 200;

/// Why bytes are not an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DsseError {
    /// Not JSON.
    Json(JsonError),
    /// Something is missing, of another type, or too much.
    Field(FieldError),
    /// The payload is not base64.
    Payload(Base64Error),
    /// A payload of another type than [`PAYLOAD_TYPE`].
    PayloadType {
        /// What it says.
        found: String,
    },
    /// No signature at all.
    NoSignatures,
    /// More than [`MAX_SIGNATURES`].
    TooManySignatures {
        /// How many.
        found: usize,
    },
    /// A keyid longer than [`MAX_KEYID`].
    KeyidTooLong {
        /// Which signature, counted from 0.
        index: usize,
    },
    /// A signature that is not base64.
    Signature {
        /// Which signature, counted from 0.
        index: usize,
        /// Why.
        error: Base64Error,
    },
    /// A signature that is not 64 bytes long.
    SignatureLength {
        /// Which signature, counted from 0.
        index: usize,
        /// Its length in bytes.
        length: usize,
    },
}

impl fmt::Display for DsseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "in the envelope: {error}"),
            Self::Field(error) => write!(f, "in the envelope: {error}"),
            Self::Payload(error) => write!(f, "the envelope's payload is {error}"),
            Self::PayloadType { found } => {
                write!(f, "the envelope's payload is of type {}, not {PAYLOAD_TYPE}", Escaped(found))
            }
            Self::NoSignatures => f.write_str("the envelope has no signature"),
            Self::TooManySignatures { found } => {
                write!(f, "the envelope has {found} signatures, more than {MAX_SIGNATURES}")
            }
            Self::KeyidTooLong { index } => {
                write!(f, "the keyid of signature {index} is longer than {MAX_KEYID} bytes")
            }
            Self::Signature { index, error } => write!(f, "signature {index} is {error}"),
            Self::SignatureLength { index, length } => {
                write!(f, "signature {index} has {length} bytes, not 64")
            }
        }
    }
}

impl From<JsonError> for DsseError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl From<FieldError> for DsseError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

/// One signature of an envelope, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeSignature {
    /// A hint which key made it; nothing vouches for it before the signature is verified.
    pub keyid: String,
    /// The signature.
    pub sig: [u8; 64],
}

/// An envelope; nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// [`PAYLOAD_TYPE`].
    pub payload_type: String,
    /// At least one, at most [`MAX_SIGNATURES`].
    pub signatures: Vec<EnvelopeSignature>,
}

impl Envelope {
    /// The bytes that each signature covers.
    pub fn signed_bytes(&self) -> Vec<u8> {
        pre_authentication_encoding(&self.payload_type, &self.payload)
    }
}

/// Parses an envelope.
///
/// # Errors
/// [`DsseError`], one variant per clause of the format.
///
/// # References
/// <https://github.com/secure-systems-lab/dsse/blob/v1.0.0/envelope.md>.
pub fn parse_envelope(bytes: &[u8]) -> Result<Envelope, DsseError> {
    let document = json::parse(bytes, MAX_ENVELOPE, Numbers::Refused)?;
    let mut fields = Field::root(&document).object()?;
    let payload_type = fields.required("payloadType")?.string()?;
    let payload = fields.required("payload")?.string()?;
    let signatures = fields.required("signatures")?.array()?;
    fields.finish()?;
    if payload_type != PAYLOAD_TYPE {
        return Err(DsseError::PayloadType { found: payload_type.to_owned() });
    }
    if signatures.is_empty() {
        return Err(DsseError::NoSignatures);
    }
    if signatures.len() > MAX_SIGNATURES {
        return Err(DsseError::TooManySignatures { found: signatures.len() });
    }
    let signatures =
        signatures.iter().enumerate().map(|(i, s)| parse_signature(i, s)).collect::<Result<_, _>>()?;
    let payload = base64::decode(payload).map_err(DsseError::Payload)?;
    Ok(Envelope { payload, payload_type: payload_type.to_owned(), signatures })
}

fn parse_signature(index: usize, field: &Field<'_>) -> Result<EnvelopeSignature, DsseError> {
    let mut fields = field.object()?;
    let keyid = fields.required("keyid")?.string()?;
    let text = fields.required("sig")?.string()?;
    fields.finish()?;
    if keyid.len() > MAX_KEYID {
        return Err(DsseError::KeyidTooLong { index });
    }
    let sig = base64::decode(text).map_err(|error| DsseError::Signature { index, error })?;
    let length = sig.len();
    let sig = sig.try_into().map_err(|_| DsseError::SignatureLength { index, length })?;
    Ok(EnvelopeSignature { keyid: keyid.to_owned(), sig })
}

/// `DSSEv1 SP LEN(type) SP type SP LEN(payload) SP payload`, lengths in decimal bytes.
///
/// # References
/// <https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md>.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(sig: &[u8]) -> String {
        format!(r#"{{"keyid":"SHA256:x","sig":"{}"}}"#, base64::encode(sig))
    }

    fn read(payload: &str, kind: &str, signatures: &str) -> Result<Envelope, DsseError> {
        let text = format!(r#"{{"payload":"{payload}","payloadType":"{kind}","signatures":[{signatures}]}}"#);
        parse_envelope(text.as_bytes())
    }

    #[test]
    fn what_is_signed_is_that_of_the_protocol() {
        // The example of DSSE's protocol.md.
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        assert_eq!(pre_authentication_encoding("", b""), b"DSSEv1 0  0 ");
    }

    #[test]
    fn envelopes_are_read() {
        let envelope = read("e30=", PAYLOAD_TYPE, &signature(&[9; 64])).unwrap();
        assert_eq!(envelope.payload, b"{}");
        assert_eq!(envelope.signatures, [EnvelopeSignature { keyid: "SHA256:x".into(), sig: [9; 64] }]);
    }

    #[test]
    fn each_clause_is_refused_by_name() {
        let good = signature(&[9; 64]);
        assert_eq!(
            read("e30", PAYLOAD_TYPE, &good),
            Err(DsseError::Payload(Base64Error::Length { length: 3 }))
        );
        assert_eq!(read("e31=", PAYLOAD_TYPE, &good), Err(DsseError::Payload(Base64Error::NotCanonical)));
        assert_eq!(
            read("e30=", "text/plain", &good),
            Err(DsseError::PayloadType { found: "text/plain".into() })
        );
        assert_eq!(read("e30=", PAYLOAD_TYPE, ""), Err(DsseError::NoSignatures));
        let many = vec![good.as_str(); 17].join(",");
        assert_eq!(read("e30=", PAYLOAD_TYPE, &many), Err(DsseError::TooManySignatures { found: 17 }));
        for length in [0, 63, 65] {
            let error = DsseError::SignatureLength { index: 0, length };
            assert_eq!(read("e30=", PAYLOAD_TYPE, &signature(&vec![0; length])), Err(error));
        }
        let coded = r#"{"keyid":"","sig":"AB=="}"#;
        let error = DsseError::Signature { index: 1, error: Base64Error::NotCanonical };
        assert_eq!(read("e30=", PAYLOAD_TYPE, &format!("{good},{coded}")), Err(error));
        let long = format!(r#"{{"keyid":"{}","sig":""}}"#, "x".repeat(MAX_KEYID + 1));
        assert_eq!(read("e30=", PAYLOAD_TYPE, &long), Err(DsseError::KeyidTooLong { index: 0 }));
        let extra = r#"{"keyid":"","sig":"","alg":"none"}"#;
        assert!(matches!(read("", PAYLOAD_TYPE, extra), Err(DsseError::Field(FieldError::Unknown { .. }))));
        let lacking = r#"{"sig":""}"#;
        assert!(matches!(read("", PAYLOAD_TYPE, lacking), Err(DsseError::Field(FieldError::Missing { .. }))));
    }

    #[test]
    fn size_is_tested_first() {
        let large = vec![b' '; MAX_ENVELOPE + 1];
        let error = JsonError::TooLarge { size: MAX_ENVELOPE + 1, cap: MAX_ENVELOPE };
        assert_eq!(parse_envelope(&large), Err(DsseError::Json(error)));
    }
}
