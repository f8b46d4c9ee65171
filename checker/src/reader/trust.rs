//! `trust.json`: whose signatures count, and the test that an envelope has enough of them.
//! Trusted. `spec/certificate-files.md#trust`.

use std::collections::BTreeSet;

use ed25519_dalek::Signature;

use super::clause::{Clause, Part, Word, Words};
use super::dsse::Envelope;
use super::fields::{Document, Field};
use super::json::Numbers;
use super::pem::PublicKey;
use super::record::{Read, words};

/// Value of `format` in `trust.json`.
pub(crate) const FORMAT: &str = "secateur.trust/1";
/// Longest trust file, in bytes.
pub const MAX_TRUST: usize = 1 << 20;
/// Most keys, and most verifiers.
pub(crate) const MAX_KEYS: usize = 64;
/// Longest name of a key or verifier, or reason, in bytes.
pub(crate) const MAX_TEXT: usize = 256;

/// Order of the group, 2^252 + 27742317777372353535851937790883648493, most significant byte first.
const GROUP_ORDER: [u8; 32] = [
    0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0xde, 0xf9, 0xde, 0xa2, 0xf7, 0x9c, 0xd6, 0x58,
    0x12, 0x63, 0x1a, 0x5c, 0xf5, 0xd3, 0xed,
];

words! {
    /// Whether a key's signatures count.
    pub enum KeyStatus, "active, revoked or expired" {
        /// They do.
        Active = "active",
        /// They spoil an envelope.
        Revoked = "revoked",
        /// They are passed over.
        Expired = "expired",
    }
}

/// A key of the trust file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Its name there.
    pub name: String,
    /// The key; its algorithm is Ed25519, whatever an envelope says.
    pub key: PublicKey,
    /// Its OpenSSH fingerprint.
    pub keyid: String,
    /// Whether its signatures count.
    pub status: KeyStatus,
    /// Why they do not, if the trust file says so.
    pub reason: Option<String>,
}

/// A trust file: distinct keys, at least `threshold` of them active, `threshold` at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    threshold: usize,
    keys: Vec<TrustedKey>,
    verifiers: Option<BTreeSet<String>>,
}

/// A key that signed; only [`verify_envelope`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerInfo {
    name: String,
    keyid: String,
}

impl SignerInfo {
    /// The key's name in the trust file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's OpenSSH fingerprint.
    pub fn keyid(&self) -> &str {
        &self.keyid
    }
}

impl Trust {
    /// The keys, in the file's order.
    pub fn keys(&self) -> &[TrustedKey] {
        &self.keys
    }

    /// Accepts iff the trust file lists this verifier or lists none at all.
    ///
    /// # Errors
    /// [`Clause::VerifierNotAllowed`].
    pub fn check_verifier(&self, verifier: &str) -> Result<(), Clause> {
        let refused = self.verifiers.as_ref().is_some_and(|allowed| !allowed.contains(verifier));
        if refused { Err(Clause::VerifierNotAllowed { verifier: verifier.into() }) } else { Ok(()) }
    }
}

/// Parses a trust file.
///
/// # Errors
/// [`Clause`], one variant per clause of the format; weak keys are refused here.
pub fn parse_trust(bytes: &[u8]) -> Result<Trust, Clause> {
    let document = Document::parse(bytes, MAX_TRUST, Numbers::Refused, Part::TrustFile)?;
    let mut fields = document.root().object()?;
    fields.required("format")?.word(FORMAT)?;
    let threshold = fields.required("threshold")?.count()?;
    let items = fields.required("keys")?.array()?;
    let verifiers = fields.optional("verifiers").map(|v| parse_verifiers(&v)).transpose()?;
    fields.finish()?;
    if items.len() > MAX_KEYS {
        return Err(Clause::TooManyKeys { found: items.len() });
    }
    let mut keys: Vec<TrustedKey> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let key = parse_key(index, item)?;
        if keys.iter().any(|other| other.key == key.key || other.name == key.name) {
            return Err(Clause::DuplicateTrust { index });
        }
        keys.push(key);
    }
    let (mut active, mut revoked, mut expired) = (0usize, Vec::new(), Vec::new());
    for key in &keys {
        match key.status {
            KeyStatus::Active => active = active.saturating_add(1),
            KeyStatus::Revoked => revoked.push(Word::from(key.name.as_str())),
            KeyStatus::Expired => expired.push(Word::from(key.name.as_str())),
        }
    }
    if threshold == 0 {
        return Err(Clause::ThresholdZero);
    }
    if threshold > active {
        let (revoked, expired) = (Words("; revoked: ", revoked), Words("; expired: ", expired));
        return Err(Clause::ThresholdUnreachable { threshold, active, revoked, expired });
    }
    Ok(Trust { threshold, keys, verifiers })
}

fn parse_key(index: usize, field: &Field<'_>) -> Result<TrustedKey, Clause> {
    let mut fields = field.object()?;
    let name = short_text(&fields.required("name")?)?;
    let pem = fields.required("publicKey")?.string()?;
    let status = KeyStatus::under(&mut fields, "status")?;
    let reason = if status == KeyStatus::Active { None } else { fields.optional("reason") };
    let reason = reason.map(|reason| short_text(&reason)).transpose()?;
    fields.finish()?;
    let key = PublicKey::parse_pem(pem).map_err(|e| e.within(Part::TrustedKey(index)))?;
    Ok(TrustedKey { name, key, keyid: key.keyid(), status, reason })
}

fn parse_verifiers(field: &Field<'_>) -> Result<BTreeSet<String>, Clause> {
    let items = field.array()?;
    if items.is_empty() || items.len() > MAX_KEYS {
        return Err(Clause::Verifiers { found: items.len() });
    }
    items.iter().map(short_text).collect()
}

fn short_text(field: &Field<'_>) -> Result<String, Clause> {
    let text = field.allowed(field.string()?, "1 to 256 bytes long", |t| (1..=MAX_TEXT).contains(&t.len()));
    text.map(str::to_owned)
}

/// Accepts iff at least `threshold` distinct active keys of the trust file signed the envelope and no signature is by a
/// revoked key or wrong under the known key it names. Signatures under unknown keyids and by expired keys are passed over.
///
/// The algorithm is that of the trusted key (Ed25519, strict: canonical scalar, no small-order points); the envelope
/// has no say in it.
///
/// # Errors
/// [`Clause`], at the first signature that spoils the envelope.
///
/// # References
/// RFC 8032 section 5.1.7; ed25519-dalek 3, `VerifyingKey::verify_strict`, for the strict form.
pub fn verify_envelope(envelope: &Envelope, trust: &Trust) -> Result<Vec<SignerInfo>, Clause> {
    let message = envelope.signed_bytes();
    let mut signers: Vec<SignerInfo> = Vec::new();
    let (mut unknown, mut expired) = (Vec::new(), Vec::new());
    for signature in &envelope.signatures {
        let Some(key) = trust.keys.iter().find(|key| key.keyid == signature.keyid) else {
            unknown.push(signature.keyid.as_str().into());
            continue;
        };
        if key.status == KeyStatus::Expired {
            expired.push(key.name.as_str().into());
            continue;
        }
        verify_signature(key, &message, &signature.sig)?;
        if signers.iter().all(|signer| signer.keyid != key.keyid) {
            signers.push(SignerInfo { name: key.name.clone(), keyid: key.keyid.clone() });
        }
    }
    if signers.len() < trust.threshold {
        return Err(Clause::ThresholdNotMet {
            threshold: trust.threshold,
            signed: signers.len(),
            unknown: Words("; unknown keys: ", unknown),
            expired: Words("; expired keys: ", expired),
        });
    }
    Ok(signers)
}

fn verify_signature(key: &TrustedKey, message: &[u8], signature: &[u8; 64]) -> Result<(), Clause> {
    let name = || Word::from(key.name.as_str());
    if key.status == KeyStatus::Revoked {
        return Err(match &key.reason {
            Some(reason) => Clause::RevokedWithReason { name: name(), reason: reason.as_str().into() },
            None => Clause::RevokedKey { name: name() },
        });
    }
    // The second half is the scalar S, least significant byte first.
    if signature.iter().rev().take(32).ge(GROUP_ORDER.iter()) {
        return Err(Clause::NonCanonicalSignature { name: name() });
    }
    let verified = key.key.verifying_key().verify_strict(message, &Signature::from_bytes(signature));
    verified.map_err(|_| Clause::WrongSignature { name: name() })
}

#[cfg(test)]
mod tests {
    use super::super::dsse::{EnvelopeSignature, PAYLOAD_TYPE};
    use super::super::pem::tests::spki;
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use num_bigint::BigUint;

    fn secret(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn public(seed: u8) -> PublicKey {
        PublicKey::from_bytes(&secret(seed).verifying_key().to_bytes()).unwrap()
    }

    fn key(name: &str, seed: u8, rest: &str) -> String {
        let pem = spki(public(seed).bytes()).replace('\n', "\\n");
        format!(r#"{{"name":"{name}","publicKey":"{pem}",{rest}}}"#)
    }

    fn active(name: &str, seed: u8) -> String {
        key(name, seed, r#""status":"active""#)
    }

    fn read(threshold: &str, keys: &[String], rest: &str) -> Result<Trust, Clause> {
        let keys = keys.join(",");
        let text =
            format!(r#"{{"format":"secateur.trust/1","threshold":"{threshold}","keys":[{keys}]{rest}}}"#);
        parse_trust(text.as_bytes())
    }

    fn signed(seeds: &[u8]) -> Envelope {
        let mut envelope =
            Envelope { payload: b"{}".to_vec(), payload_type: PAYLOAD_TYPE.into(), signatures: vec![] };
        let message = envelope.signed_bytes();
        let sign = |s: &u8| EnvelopeSignature {
            keyid: public(*s).keyid(),
            sig: secret(*s).sign(&message).to_bytes(),
        };
        envelope.signatures = seeds.iter().map(sign).collect();
        envelope
    }

    fn names(result: Result<Vec<SignerInfo>, Clause>) -> Vec<String> {
        result.unwrap().iter().map(|signer| signer.name().to_owned()).collect()
    }

    fn not_met(threshold: usize, signed: usize, unknown: &[u8]) -> Result<Vec<SignerInfo>, Clause> {
        let unknown = unknown.iter().map(|s| public(*s).keyid().into()).collect();
        let (unknown, expired) = (Words("; unknown keys: ", unknown), Words("; expired keys: ", vec![]));
        Err(Clause::ThresholdNotMet { threshold, signed, unknown, expired })
    }

    #[test]
    fn enough_distinct_keys_are_accepted() {
        let trust = read("2", &[active("a", 1), active("b", 2)], "").unwrap();
        assert_eq!(names(verify_envelope(&signed(&[1, 2]), &trust)), ["a", "b"]);
        assert_eq!(names(verify_envelope(&signed(&[9, 2, 1]), &trust)), ["b", "a"]);
        assert_eq!(verify_envelope(&signed(&[1]), &trust), not_met(2, 1, &[]));
        assert_eq!(verify_envelope(&signed(&[1, 1, 1]), &trust), not_met(2, 1, &[]));
        assert_eq!(verify_envelope(&signed(&[1, 9]), &trust), not_met(2, 1, &[9]));
    }

    #[test]
    fn unknown_keys_alone_do_not_pass() {
        let trust = read("1", &[active("a", 1)], "").unwrap();
        assert_eq!(verify_envelope(&signed(&[8, 9]), &trust), not_met(1, 0, &[8, 9]));
    }

    #[test]
    fn wrong_signatures_spoil_an_envelope() {
        let trust = read("1", &[active("a", 1), active("b", 2)], "").unwrap();
        let wrong = Err(Clause::WrongSignature { name: "b".into() });
        for bit in [0, 300] {
            let mut envelope = signed(&[1, 2]);
            envelope.signatures[1].sig[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify_envelope(&envelope, &trust), wrong);
        }
        let mut envelope = signed(&[1, 2]);
        envelope.payload.push(b' ');
        assert_eq!(verify_envelope(&envelope, &trust), Err(Clause::WrongSignature { name: "a".into() }));
        let mut envelope = signed(&[1]);
        envelope.signatures[0].keyid = public(2).keyid();
        assert_eq!(verify_envelope(&envelope, &trust), wrong);
    }

    #[test]
    fn a_signature_over_another_type_is_wrong() {
        let trust = read("1", &[active("a", 1)], "").unwrap();
        let mut envelope = signed(&[1]);
        envelope.payload_type = "text/plain".into();
        assert_eq!(verify_envelope(&envelope, &trust), Err(Clause::WrongSignature { name: "a".into() }));
    }

    #[test]
    fn revoked_keys_spoil_an_envelope() {
        let revoked = key("b", 2, r#""status":"revoked","reason":"lost""#);
        let trust = read("1", &[active("a", 1), revoked], "").unwrap();
        let error = Clause::RevokedWithReason { name: "b".into(), reason: "lost".into() };
        assert_eq!(verify_envelope(&signed(&[1, 2]), &trust), Err(error.clone()));
        assert_eq!(verify_envelope(&signed(&[2]), &trust), Err(error));
        assert_eq!(names(verify_envelope(&signed(&[1]), &trust)), ["a"]);
    }

    #[test]
    fn scalars_stay_below_the_order() {
        // S + L verifies under the plain equation; the strict one refuses it.
        let order = (BigUint::from(1u8) << 252u32)
            + "27742317777372353535851937790883648493".parse::<BigUint>().unwrap();
        assert_eq!(BigUint::from_bytes_be(&GROUP_ORDER), order);
        let trust = read("1", &[active("a", 1)], "").unwrap();
        let mut envelope = signed(&[1]);
        let sig = &mut envelope.signatures[0].sig;
        let shifted = (BigUint::from_bytes_le(&sig[32..]) + &order).to_bytes_le();
        sig[32..].copy_from_slice(&shifted);
        let error = Err(Clause::NonCanonicalSignature { name: "a".into() });
        assert_eq!(verify_envelope(&envelope, &trust), error);
        envelope.signatures[0].sig[32..].copy_from_slice(&order.to_bytes_le());
        assert_eq!(verify_envelope(&envelope, &trust), error);
        envelope.signatures[0].sig[32..].copy_from_slice(&(order - 1u8).to_bytes_le());
        assert_eq!(verify_envelope(&envelope, &trust), Err(Clause::WrongSignature { name: "a".into() }));
    }

    #[test]
    fn small_order_signature_points_are_refused() {
        // R = the neutral element.
        let trust = read("1", &[active("a", 1)], "").unwrap();
        let mut envelope = signed(&[1]);
        envelope.signatures[0].sig = [0; 64];
        envelope.signatures[0].sig[0] = 1;
        assert_eq!(verify_envelope(&envelope, &trust), Err(Clause::WrongSignature { name: "a".into() }));
    }

    /// An expired key neither counts nor spoils: not even a wrong signature of it.
    #[test]
    fn expired_keys_are_passed_over_and_named() {
        let expired = key("old", 2, r#""status":"expired","reason":"replaced""#);
        let trust = read("1", &[active("a", 1), expired], "").unwrap();
        let mut both = signed(&[2, 1]);
        assert_eq!(names(verify_envelope(&both, &trust)), ["a"]);
        both.signatures[0].sig[5] ^= 1;
        assert_eq!(names(verify_envelope(&both, &trust)), ["a"]);
        let alone = verify_envelope(&signed(&[2]), &trust).unwrap_err();
        let said = "0 trusted keys signed, the trust file asks for 1; expired keys: \"old\"";
        assert_eq!((alone.code().as_str(), alone.to_string().as_str()), ("threshold-not-met", said));
    }

    #[test]
    fn thresholds_are_reachable_and_not_zero() {
        assert_eq!(read("0", &[active("a", 1)], ""), Err(Clause::ThresholdZero));
        let unreachable_with = |threshold, active, revoked, expired| {
            let (revoked, expired) = (Words("; revoked: ", revoked), Words("; expired: ", expired));
            Err(Clause::ThresholdUnreachable { threshold, active, revoked, expired })
        };
        let unreachable = |threshold, active| unreachable_with(threshold, active, vec![], vec![]);
        assert_eq!(read("2", &[active("a", 1)], ""), unreachable(2, 1));
        assert_eq!(read("1", &[], ""), unreachable(1, 0));
        let retired = [key("a", 1, r#""status":"revoked""#), key("b", 2, r#""status":"expired""#)];
        let named = unreachable_with(1, 0, vec!["a".into()], vec!["b".into()]);
        assert_eq!(read("1", &retired, ""), named);
        let said = named.unwrap_err().to_string();
        let words = "the trust file's threshold is 1, with 0 active keys; revoked: \"a\"; expired: \"b\"";
        assert_eq!(said, words);
        assert!(matches!(
            read("01", &[active("a", 1)], "").map_err(|e| e.condition().clone()),
            Err(Clause::OutOfRange { .. })
        ));
    }

    #[test]
    fn keys_are_distinct_and_usable() {
        assert_eq!(
            read("1", &[active("a", 1), active("b", 1)], ""),
            Err(Clause::DuplicateTrust { index: 1 })
        );
        assert_eq!(
            read("1", &[active("a", 1), active("a", 2)], ""),
            Err(Clause::DuplicateTrust { index: 1 })
        );
        let weak = "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\\n-----END PUBLIC KEY-----\\n";
        let weak = format!(r#"{{"name":"w","publicKey":"{weak}","status":"active"}}"#);
        assert_eq!(read("1", &[active("a", 1), weak], ""), Err(Clause::WeakKey.within(Part::TrustedKey(1))));
        let many: Vec<_> = (0..65).map(|i| active(&format!("k{i}"), i)).collect();
        assert_eq!(read("1", &many, ""), Err(Clause::TooManyKeys { found: 65 }));
    }

    #[test]
    fn trust_files_are_strict() {
        let unknown = |r: Result<Trust, Clause>| {
            matches!(r.map_err(|e| e.condition().clone()), Err(Clause::UnknownKey { .. }))
        };
        assert!(unknown(read("1", &[active("a", 1)], r#","x":null"#)));
        assert!(unknown(read("1", &[key("a", 1, r#""status":"active","alg":"none""#)], "")));
        assert!(unknown(read("1", &[key("a", 1, r#""status":"active","reason":"x""#)], "")));
        let status = read("1", &[key("a", 1, r#""status":"Active""#)], "");
        assert!(matches!(status.map_err(|e| e.condition().clone()), Err(Clause::UnknownWord { .. })));
        let name = read("1", &[active("", 1)], "");
        assert!(matches!(name.map_err(|e| e.condition().clone()), Err(Clause::OutOfRange { .. })));
    }

    #[test]
    fn verifiers_are_those_listed_or_any() {
        let trust = read("1", &[active("a", 1)], "").unwrap();
        assert_eq!(trust.check_verifier("anything"), Ok(()));
        let trust = read("1", &[active("a", 1)], r#","verifiers":["secateur"]"#).unwrap();
        assert_eq!(trust.check_verifier("secateur"), Ok(()));
        let error = Clause::VerifierNotAllowed { verifier: "other".into() };
        assert_eq!(trust.check_verifier("other"), Err(error));
        let empty = read("1", &[active("a", 1)], r#","verifiers":[]"#);
        assert_eq!(empty, Err(Clause::Verifiers { found: 0 }));
    }
}
