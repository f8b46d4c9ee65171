//! DSSE v1 envelopes and what their signatures cover. Trusted. `spec/certificate-files.md#envelope`.

use super::base64;
use super::clause::{Clause, Part};
use super::fields::{Document, Field};
use super::json::Numbers;

/// Longest envelope, in bytes.
pub const MAX_ENVELOPE: usize = 16 << 20;
/// Most signatures.
pub const MAX_SIGNATURES: usize = 16;
/// The type of every payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Longest keyid, in bytes.
pub(crate) const MAX_KEYID: usize = 200;

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
    pub(crate) fn signed_bytes(&self) -> Vec<u8> {
        pre_authentication_encoding(&self.payload_type, &self.payload)
    }
}

/// Parses an envelope.
///
/// # Errors
/// [`Clause`], one variant per clause of the format.
///
/// # References
/// <https://github.com/secure-systems-lab/dsse/blob/v1.0.0/envelope.md>.
pub fn parse_envelope(bytes: &[u8]) -> Result<Envelope, Clause> {
    let document = Document::parse(bytes, MAX_ENVELOPE, Numbers::Refused, Part::Envelope)?;
    let mut fields = document.root().object()?;
    let payload_type = fields.required("payloadType")?.string()?;
    let payload = fields.required("payload")?.string()?;
    let signatures = fields.required("signatures")?.array()?;
    fields.finish()?;
    if payload_type != PAYLOAD_TYPE {
        return Err(Clause::PayloadType { found: payload_type.into() });
    }
    if signatures.is_empty() {
        return Err(Clause::NoSignatures);
    }
    if signatures.len() > MAX_SIGNATURES {
        return Err(Clause::TooManySignatures { found: signatures.len() });
    }
    let signatures =
        signatures.iter().enumerate().map(|(i, s)| parse_signature(i, s)).collect::<Result<_, _>>()?;
    let payload = base64::decode(payload).map_err(|e| e.within(Part::EnvelopePayload))?;
    Ok(Envelope { payload, payload_type: payload_type.to_owned(), signatures })
}

fn parse_signature(index: usize, field: &Field<'_>) -> Result<EnvelopeSignature, Clause> {
    let mut fields = field.object()?;
    let keyid = fields.required("keyid")?.string()?;
    let text = fields.required("sig")?.string()?;
    fields.finish()?;
    if keyid.len() > MAX_KEYID {
        return Err(Clause::KeyidTooLong { index });
    }
    let sig = base64::decode(text).map_err(|e| e.within(Part::Signature(index)))?;
    let length = sig.len();
    let sig = sig.try_into().map_err(|_| Clause::SignatureLength { index, length })?;
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
    use super::base64::tests::encode;
    use super::*;

    fn signature(sig: &[u8]) -> String {
        format!(r#"{{"keyid":"SHA256:x","sig":"{}"}}"#, encode(sig))
    }

    fn read(payload: &str, kind: &str, signatures: &str) -> Result<Envelope, Clause> {
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
            Err(Clause::Base64Length { length: 3 }.within(Part::EnvelopePayload))
        );
        assert_eq!(
            read("e31=", PAYLOAD_TYPE, &good),
            Err(Clause::Base64UnusedBits.within(Part::EnvelopePayload))
        );
        assert_eq!(
            read("e30=", "text/plain", &good),
            Err(Clause::PayloadType { found: "text/plain".into() })
        );
        assert_eq!(read("e30=", PAYLOAD_TYPE, ""), Err(Clause::NoSignatures));
        let many = vec![good.as_str(); 17].join(",");
        assert_eq!(read("e30=", PAYLOAD_TYPE, &many), Err(Clause::TooManySignatures { found: 17 }));
        for length in [0, 63, 65] {
            let error = Clause::SignatureLength { index: 0, length };
            assert_eq!(read("e30=", PAYLOAD_TYPE, &signature(&vec![0; length])), Err(error));
        }
        let coded = r#"{"keyid":"","sig":"AB=="}"#;
        let error = Clause::Base64UnusedBits.within(Part::Signature(1));
        assert_eq!(read("e30=", PAYLOAD_TYPE, &format!("{good},{coded}")), Err(error));
        let long = format!(r#"{{"keyid":"{}","sig":""}}"#, "x".repeat(MAX_KEYID + 1));
        assert_eq!(read("e30=", PAYLOAD_TYPE, &long), Err(Clause::KeyidTooLong { index: 0 }));
        let extra = r#"{"keyid":"","sig":"","alg":"none"}"#;
        assert!(matches!(
            read("", PAYLOAD_TYPE, extra).map_err(|e| e.condition().clone()),
            Err(Clause::UnknownKey { .. })
        ));
        let lacking = r#"{"sig":""}"#;
        assert!(matches!(
            read("", PAYLOAD_TYPE, lacking).map_err(|e| e.condition().clone()),
            Err(Clause::MissingKey { .. })
        ));
    }

    #[test]
    fn size_is_tested_first() {
        let large = vec![b' '; MAX_ENVELOPE + 1];
        let error = Clause::TooLarge { size: MAX_ENVELOPE + 1, cap: MAX_ENVELOPE };
        assert_eq!(parse_envelope(&large), Err(error.within(Part::Envelope)));
    }
}
