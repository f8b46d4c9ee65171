//! Clauses of the formats that a file breaks: one line each, with a class and a sentence. Trusted.
//! `spec/certificate-files.md`, `spec/certificate.md`, `spec/trust.md`, `spec/property.md`.

extern crate alloc;

use core::fmt;

use super::certificate::SCHEMA_VERSION;
use super::dsse::{MAX_KEYID, MAX_SIGNATURES, PAYLOAD_TYPE};
use super::escaped::Escaped;
use super::fields::MAX_DIGITS;
use super::json::{MAX_DEPTH, MAX_VALUES};
use super::mask::{MAX_CHAIN_BITS, MAX_MASKS};
use super::npy::MAX_HEADER as MAX_STATES_HEADER;
use super::pem::MAX_PEM;
use super::policy::MAX_LAYERS;
use super::safetensors::{MAX_FILE, MAX_HEADER, MAX_RANK};
use super::tensor::{MAX_ENTRIES, MAX_WIDTH};
use super::trust::MAX_KEYS;
use crate::kernel::conditions;
use crate::kernel::fault::Class;
use crate::number::NumberError;

/// Text out of a file; shows only escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A list of texts out of a file, with what introduces it; nothing for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub &'static str, pub Vec<Word>);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = self.0;
        for word in &self.1 {
            write!(f, "{before}{word}")?;
            before = ", ";
        }
        Ok(())
    }
}

/// The part of a file that breaks a clause, outermost first in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the words of `Display` say what each is
pub enum Part {
    Envelope,
    EnvelopePayload,
    Signature(usize),
    TrustFile,
    TrustedKey(usize),
    KeyBody,
    PolicyManifest,
    PolicyTensors,
    MaskManifest,
    MaskTensors,
    TensorHeader,
    Payload,
    /// A value of a JSON document, such as `layers[2].activation`; empty for the document itself.
    Value(String),
}

impl Part {
    /// The part `path` of a JSON document.
    pub(crate) fn value(path: &str) -> Self {
        Self::Value(path.to_owned())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope => f.write_str("in the envelope: "),
            Self::EnvelopePayload => f.write_str("the envelope's payload is "),
            Self::Signature(index) => write!(f, "signature {index} is "),
            Self::TrustFile => f.write_str("in the trust file: "),
            Self::TrustedKey(index) => write!(f, "key {index} of the trust file: "),
            Self::KeyBody => f.write_str("the key is "),
            Self::PolicyManifest => f.write_str("in the policy manifest: "),
            Self::PolicyTensors => f.write_str("in the policy's tensors: "),
            Self::MaskManifest => f.write_str("in the mask manifest: "),
            Self::MaskTensors => f.write_str("in the mask: "),
            Self::TensorHeader => f.write_str("in the tensor file's header: "),
            Self::Payload => f.write_str("the payload is not strict JSON: "),
            Self::Value(path) if path.is_empty() => f.write_str("the document "),
            Self::Value(path) => write!(f, "{} ", Escaped(path)),
        }
    }
}

conditions! {
    /// A clause of a format that a file breaks, or a limit of the reader. Byte offsets and indices count from 0.
    pub enum Clause {
        Within { part: Part, clause: Box<Clause> } => Malformed, "{part}{clause}";

        // JSON, of any file.
        TooLarge { size: usize, cap: usize } => Malformed, "the document has {size} bytes, more than {cap}";
        NotUtf8 { at: usize } => Malformed, "not UTF-8 at byte {at}";
        ByteOrderMark => Malformed, "the document begins with a byte order mark";
        Syntax { at: usize, expected: &'static str } => Malformed, "not JSON at byte {at}: expected {expected}";
        NumberToken { at: usize } => Malformed,
            "a number at byte {at}: numbers are written as strings, such as \"0.075\"";
        NotAnInteger { at: usize } => Malformed, "not an integer in [0, 2^64) at byte {at}";
        DuplicateKey { at: usize, key: Word } => Malformed, "the key {key} occurs twice, before byte {at}";
        TooDeep { at: usize } => Malformed, "nested deeper than {MAX_DEPTH} at byte {at}";
        TooManyValues { at: usize } => Malformed, "more than {MAX_VALUES} values at byte {at}";
        ControlCharacter { at: usize } => Malformed, "a control character in a string at byte {at}";
        BadEscape { at: usize } => Malformed, "an unknown escape at byte {at}";
        LoneSurrogate { at: usize } => Malformed, "half of a surrogate pair at byte {at}";
        TrailingData { at: usize } => Malformed, "something follows the document at byte {at}";

        // Values of a document; the part is the value, or the object without or with the key.
        MissingKey { key: Word } => Malformed, "has no key {key}";
        UnknownKey { key: Word } => Malformed, "has the unknown key {key}";
        WrongType { expected: &'static str } => Malformed, "is not {expected}";
        UnknownWord { found: Word, expected: &'static str } => Malformed, "is {found}, not {expected}";
        NotANumber { error: NumberError } => Malformed, "is {error}";
        OutOfRange { expected: &'static str } => Malformed, "is not {expected}";
        NumberSpelling => Malformed, "is a number in another spelling than the canonical one, such as 0.075, 1.5e-9 or 3/40";
        TooMany { cap: usize } => Limit, "has more than {cap} entries";
        TooManyDigits { at: Word } => Limit, "the document's numbers have more than {MAX_DIGITS} digits, at {at}";

        StatesStated => Limit, "is more than the states that a file can have";

        // Base64 and keys.
        Base64Length { length: usize } => Malformed, "not padded base64: its length {length} is no multiple of 4";
        Base64Character { at: usize } => Malformed, "not base64 at character {at}";
        Base64UnusedBits => Malformed, "not canonical base64: unused bits are set";
        KeyTooLarge { size: usize } => Malformed, "the key has {size} bytes, more than {MAX_PEM}";
        PrivateKey => Malformed, "a private key stands where a public key belongs";
        Armour => Malformed, "not a public key in PEM (-----BEGIN PUBLIC KEY-----)";
        NotEd25519 => Malformed, "not an Ed25519 public key";
        NotAPoint => Malformed, "not the encoding of an Ed25519 public key";
        WeakKey => Malformed, "a weak Ed25519 public key (small order)";

        MixedOrderKey => Malformed, "an Ed25519 public key with a part of small order: one secret has several such keys";

        // Envelopes.
        PayloadType { found: Word } => Malformed,
            "the envelope's payload is of type {found}, not {PAYLOAD_TYPE}";
        NoSignatures => Malformed, "the envelope has no signature";
        TooManySignatures { found: usize } => Malformed,
            "the envelope has {found} signatures, more than {MAX_SIGNATURES}";
        KeyidTooLong { index: usize } => Malformed,
            "the keyid of signature {index} is longer than {MAX_KEYID} bytes";
        SignatureLength { index: usize, length: usize } => Malformed,
            "signature {index} has {length} bytes, not 64";

        // Trust files.
        TooManyKeys { found: usize } => Malformed, "the trust file has {found} keys, more than {MAX_KEYS}";
        DuplicateTrust { index: usize } => Malformed,
            "key {index} of the trust file has the key or the name of an earlier one";
        ThresholdZero => Malformed, "the trust file's threshold is 0";
        ThresholdUnreachable { threshold: usize, active: usize, revoked: Words, expired: Words } => Malformed,
            "the trust file's threshold is {threshold}, with {active} active keys{revoked}{expired}";
        Verifiers { found: usize } => Malformed, "the trust file allows {found} verifiers, not 1 to {MAX_KEYS}";

        // What a trust file says of an envelope.
        RevokedKey { name: Word } => Evidence, "signed by the revoked key {name}";
        RevokedWithReason { name: Word, reason: Word } => Evidence, "signed by the revoked key {name} ({reason})";
        NonCanonicalSignature { name: Word } => Evidence, "the signature by {name} is not canonical";
        WrongSignature { name: Word } => Evidence, "the signature by {name} does not fit the payload";
        ThresholdNotMet { threshold: usize, signed: usize, unknown: Words, expired: Words } => Evidence,
            "{signed} trusted keys signed, the trust file asks for {threshold}{unknown}{expired}";
        VerifierNotAllowed { verifier: Word } => Evidence,
            "the trust file does not allow the verifier {verifier}";

        // Tensor files.
        FileTooLarge { size: usize } => Malformed, "the tensor file has {size} bytes, more than {MAX_FILE}";
        NoHeaderLength => Malformed, "the tensor file is shorter than 8 bytes";
        HeaderTooLarge { size: u64 } => Malformed,
            "the tensor file's header has {size} bytes, more than {MAX_HEADER}";
        HeaderBeyondFile { size: usize } => Malformed, "the tensor file ends before its header of {size} bytes";
        HeaderStart => Malformed, "the tensor file's header does not begin with {{";
        UnknownDtype { name: Word } => Malformed, "tensor {name} has an unknown dtype";
        RankTooHigh { name: Word } => Malformed, "tensor {name} has more than {MAX_RANK} dimensions";
        ShapeOverflow { name: Word } => Malformed, "the shape of tensor {name} overflows";
        BadOffsets { name: Word } => Malformed, "data_offsets of tensor {name} is no range";
        SizeMismatch { name: Word, stated: usize, needed: usize } => Malformed,
            "tensor {name} spans {stated} bytes, its shape needs {needed}";
        HoleOrOverlap { name: Word, begin: usize, expected: usize } => Malformed,
            "tensor {name} begins at {begin}, the one before it ends at {expected}";
        DataLength { stated: usize, needed: usize } => Malformed,
            "{stated} bytes of data, the tensors need {needed}";
        NoTensor { name: Word } => Malformed, "there is no tensor {name}";
        WrongDtype { name: Word, expected: &'static str } => Malformed, "tensor {name} is not of dtype {expected}";
        WrongRank { name: Word, expected: usize, found: usize } => Malformed,
            "tensor {name} has {found} dimensions, not {expected}";
        TensorTooLarge { name: Word } => Malformed, "tensor {name} has more than {MAX_ENTRIES} entries";
        NotFinite { name: Word, index: usize } => Malformed, "tensor {name} is not finite at entry {index}";
        NotABit { name: Word, index: usize } => Malformed, "tensor {name} is neither 0 nor 1 at entry {index}";

        // Policies.
        NoLayers => Malformed, "the policy has no layers";
        TooManyLayers { found: usize } => Malformed, "the policy has {found} layers, more than {MAX_LAYERS}";
        UnsafeName { name: Word } => Malformed, "{name} may not name a tensor";
        RepeatedName { name: Word } => Malformed, "the manifest names tensor {name} twice";
        UnnamedTensor { name: Word } => Malformed, "the manifest does not name tensor {name} of the file";
        LayerWidth { layer: usize, width: usize } => Malformed,
            "layer {layer} has width {width}, outside 1 to {MAX_WIDTH}";
        WidthMismatch { layer: usize, expected: usize, found: usize } => Malformed,
            "the weight of layer {layer} has {found} columns, the layer before has {expected} outputs";
        LengthMismatch { name: Word, expected: usize, found: usize } => Malformed,
            "tensor {name} has {found} entries, not {expected}";
        PolicyTooLarge => Malformed, "the policy has more than {MAX_ENTRIES} numbers";
        FixedNotDiagonal { layer: usize } => Malformed,
            "layer {layer} is marked as fixed, but its weight is not diagonal";
        AllFixed => Malformed, "every layer is marked as fixed: the policy has no weight";
        StdNotPositive { index: usize } => Malformed, "the normaliser's std is not positive in coordinate {index}";
        NameTwice { name: Word } => Malformed, "the name {name} stands twice: a name is of one group or one output";
        NamesNothing { name: Word } => Malformed, "{name} covers no input";
        NamedTwice { name: Word, place: usize } => Malformed, "{name} covers number {place}, which has a name already";
        NameOutside { name: Word, width: usize } => Malformed,
            "{name} covers a number that the policy does not have: they go from 0 to below {width}";
        StateDependentStd => Malformed,
            "the policy's standard deviation depends on the state (gSDE): total variation bounds need one that does not";
        SquashedGaussian => Malformed, "squashed Gaussian heads are not supported";
        Recurrent => Malformed, "recurrent policies are not supported: their action depends on past states";

        // Masks.
        NoMasks => Malformed, "the chain has no mask";
        TooManyMasks { found: usize } => Malformed, "the chain has {found} masks, more than {MAX_MASKS}";
        ChainTooLarge { masks: usize } => Malformed,
            "{masks} masks of this policy are more than {MAX_CHAIN_BITS} bits";
        UnsafeFileName { name: Word } => Malformed, "{name} is not a plain file name";
        RepeatedFileName { name: Word } => Malformed, "the chain names the file {name} twice";
        MayNotBeMasked { name: Word } => Malformed, "tensor {name} may not be masked: masks are for weights";
        UnknownTensor { name: Word } => Malformed, "the mask has a tensor {name}, the policy has none";
        MaskShape { name: Word } => Malformed, "the mask of tensor {name} has another shape";

        // Tables of states.
        StatesTooLarge { size: usize } => Malformed, "the .npy file has {size} bytes, more than {MAX_FILE}";
        NotNpy => Malformed, "not an .npy file";
        NpyVersion { major: u8, minor: u8 } => Malformed, ".npy version {major}.{minor} is neither 1.0 nor 2.0";
        NpyHeaderLength => Malformed, "the .npy header is longer than {MAX_STATES_HEADER} bytes or than the file";
        NpyHeader { at: usize, expected: &'static str } => Malformed, "the .npy header lacks {expected} at byte {at}";
        NpyDtype => Malformed, "the .npy file does not hold little-endian floats (<f2, <f4 or <f8)";
        FortranOrder => Malformed, "the .npy file is in Fortran order; save it in C order";
        OneState => Malformed, "the .npy file has one dimension; reshape one state of n numbers to (1, n)";
        NpyRank { found: usize } => Malformed, "the .npy file has {found} dimensions, not 2 (states, coordinates)";
        NoStates => Malformed, "the .npy file holds no state or states without coordinates";
        TooManyStates => Malformed, "the .npy file has more than {MAX_ENTRIES} entries";
        StatesLength { stated: usize, needed: usize } => Malformed,
            "the .npy file has {stated} bytes of data, its shape needs {needed}";
        StateNotFinite { row: usize, column: usize } => Malformed, "state {row} is not finite in coordinate {column}";

        // Certificates and properties.
        PayloadNotCanonical => Malformed, "the payload is not canonical JSON (RFC 8785)";
        NotCanonical => Malformed, "not canonical JSON (RFC 8785)";
        SchemaVersion { found: Word } => Malformed, "schema version {found}, this checker reads {SCHEMA_VERSION}";
        NoClaims => Malformed, "the certificate claims nothing";
        ListTooLong { what: &'static str, cap: usize } => Malformed, "more than {cap} {what}";
        ListEmpty { what: &'static str } => Malformed, "the list of {what} is empty";
        NoCases => Malformed, "the property has no case";

        // Bundles.
        BundleTruncated { at: usize } => Malformed, "the bundle ends within the member that begins at byte {at}";
        BundleEnd { at: usize } => Malformed,
            "the bundle does not end with two blocks of zeros and nothing after them, at byte {at}";
        TooManyMembers { cap: usize } => Malformed, "the bundle has more than {cap} members";
        MemberType { name: Word } => Malformed, "the member {name} of the bundle is no regular file";
        MemberName { name: Word } => Malformed, "a bundle may not hold a file called {name}";
        MemberHeader { name: Word } => Malformed, "the header of the member {name} is not spelled as in every bundle";
        MemberOrder { name: Word } => Malformed,
            "the member {name} does not come after the one before it: names ascend, each once";
        MemberPadding { name: Word } => Malformed, "bytes that are not zero follow the member {name}";
        MemberMissing => Malformed, "there is no such member of the bundle";
        MemberUnused { name: Word } => Malformed, "the check has no use for the member {name}";
    }
}

impl Clause {
    /// The same clause, of `part`.
    #[must_use]
    pub fn within(self, part: Part) -> Self {
        Self::Within { part, clause: Box::new(self) }
    }

    /// The clause itself, without the parts where it was found.
    pub fn condition(&self) -> &Self {
        let mut inner = self;
        while let Self::Within { clause, .. } = inner {
            inner = clause;
        }
        inner
    }

    /// The clause's stable code, for sidecars, tests and JSON.
    pub fn code(&self) -> String {
        self.condition().own_code()
    }

    /// The clause's class.
    pub fn class(&self) -> Class {
        self.condition().own_class()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_sentences_and_classes_are_those_of_the_clause_wherever_it_was_found() {
        let clause = Clause::MissingKey { key: "a\u{1b}b".into() };
        assert_eq!((clause.code(), clause.class()), ("missing-key".to_owned(), Class::Malformed));
        let found = clause.clone().within(Part::value("layers[0]")).within(Part::PolicyManifest);
        let sentence = r#"in the policy manifest: "layers[0]" has no key "a\u{1b}b""#;
        assert_eq!(found.to_string(), sentence);
        assert_eq!(
            (found.condition(), found.code(), found.class()),
            (&clause, clause.code(), clause.class())
        );
        let many = Clause::TooMany { cap: 3 }.within(Part::value(""));
        assert_eq!(
            (many.to_string().as_str(), many.class()),
            ("the document has more than 3 entries", Class::Limit)
        );
    }

    /// The pages name each refusal by its code: every code of the list stands on one of them.
    #[test]
    fn the_pages_name_every_clause_by_its_code() {
        let pages = [
            include_str!("../../../spec/certificate-files.md"),
            include_str!("../../../spec/certificate.md"),
            include_str!("../../../spec/property.md"),
            include_str!("../../../spec/bundle.md"),
        ];
        let own =
            include_str!("clause.rs").lines().filter(|line| line.contains(" => ") && !line.contains("//"));
        let own = own.filter_map(|line| line.strip_prefix("        ")?.split([' ', '{']).next());
        let own = own.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) && *name != "Within");
        let codes: Vec<String> = own.map(|name| crate::kernel::fault::kebab(name).to_string()).collect();
        assert!(codes.len() > 100, "{}", codes.len());
        let missing: Vec<_> = codes
            .iter()
            .filter(|code| !pages.iter().any(|page| page.contains(&format!("`{code}`"))))
            .collect();
        assert!(missing.is_empty(), "on no page: {missing:?}");
    }

    #[test]
    fn unknown_keys_are_listed_if_there_are_any() {
        let clause = |unknown: &[&str]| {
            let unknown = Words("; unknown keys: ", unknown.iter().map(|name| (*name).into()).collect());
            let expired = Words("; expired keys: ", vec![]);
            Clause::ThresholdNotMet { threshold: 2, signed: 1, unknown, expired }.to_string()
        };
        let said = "1 trusted keys signed, the trust file asks for 2";
        assert_eq!(clause(&[]), said);
        assert_eq!(clause(&["a", "b"]), format!("{said}; unknown keys: \"a\", \"b\""));
    }
}
