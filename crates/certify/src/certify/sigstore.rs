//! A certificate's envelope as a sigstore bundle v0.3, for tools that read those. Untrusted; nothing here reads one.
//! `spec/bundle.md#sigstore`.

use secateur_checker::reader::dsse::Envelope;
use secateur_checker::reader::json::Value;

use crate::certify::base64;
use crate::certify::json::canonical;
use crate::certify::value::{list, object, text};

/// Media type of the bundles written.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The bundle of an envelope with one signature by a key that the verifier has; no certificate authority, no log and no
/// timestamp takes part. `None` for another number of signatures, which the format does not allow.
///
/// # References
/// sigstore/protobuf-specs, `sigstore_bundle.proto`: `Bundle`, `PublicKeyIdentifier`.
pub fn emit_sigstore_bundle(envelope: &Envelope) -> Option<String> {
    let [signature] = envelope.signatures.as_slice() else { return None };
    let key = object([("hint", text(signature.keyid.as_str()))]);
    let material = object([("publicKey", key), ("tlogEntries", Value::Array(Vec::new()))]);
    let signatures = list(&envelope.signatures, |signature| {
        object([("keyid", text(signature.keyid.as_str())), ("sig", text(base64::encode(&signature.sig)))])
    });
    let envelope = object([
        ("payload", text(base64::encode(&envelope.payload))),
        ("payloadType", text(envelope.payload_type.as_str())),
        ("signatures", signatures),
    ]);
    let bundle = object([
        ("mediaType", text(MEDIA_TYPE)),
        ("verificationMaterial", material),
        ("dsseEnvelope", envelope),
    ]);
    Some(format!("{}\n", canonical(&bundle)))
}
