//! Trust files, read leniently to be shown and written strictly: the checker's reader has the last word. Untrusted.
//! `spec/certificate-files.md#trust`.

use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::json::{self, Numbers, Value};
use secateur_checker::reader::pem::PublicKey;
use secateur_checker::reader::trust::{MAX_TRUST, parse_trust};

use crate::certify::json::canonical;
use crate::certify::keys::{public_pem, spki};

/// Value of `format` in a trust file.
const FORMAT: &str = "secateur.trust/1";
/// Longest name of a key, or reason, in bytes.
const MAX_TEXT: usize = 256;

/// What a trust file says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustEntry {
    /// Its name there.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// `active`, or a word that says why its signatures do not count.
    pub status: String,
    /// Why, if the file says so.
    pub reason: Option<String>,
}

impl TrustEntry {
    /// A key whose signatures count.
    pub fn active(name: &str, key: PublicKey) -> Self {
        Self { name: name.to_owned(), key, status: "active".to_owned(), reason: None }
    }

    /// Whether its signatures count.
    pub fn is_active(&self) -> bool {
        self.status == "active"
    }

    /// How much the file says against it.
    fn severity(&self) -> u8 {
        match self.status.as_str() {
            "active" => 0,
            "expired" => 1,
            _ => 2,
        }
    }

    /// SHA-256 of the key's SubjectPublicKeyInfo: what `openssl pkey -pubin -outform der | sha256sum` prints.
    pub fn spki_digest(&self) -> String {
        sha256_hex(&spki(&self.key))
    }
}

/// A trust file as it stands, whether or not a check takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFile {
    /// How many active keys must have signed.
    pub threshold: usize,
    /// The keys, in the file's order.
    pub keys: Vec<TrustEntry>,
    /// The programs whose certificates are accepted, if not all.
    pub verifiers: Option<Vec<String>>,
}

/// Why a trust file is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// It breaks a clause of the format.
    #[error("{0}")]
    Clause(Clause),
    /// There is no such key.
    #[error("no key of the trust file has the name or the fingerprint {}; `secateur keys show` lists them", Escaped(.0))]
    NoSuchKey(String),
    /// It has the key.
    #[error("the key is in the trust file already, as {}, {status}", Escaped(.name))]
    Known {
        /// Under which name.
        name: String,
        /// And with which status.
        status: String,
    },
    /// The name is another key's.
    #[error("the name {} is another key's there; give another with --name", Escaped(.0))]
    NameTaken(String),
    /// Revoked before.
    #[error("the key {} is revoked already", Escaped(.0))]
    Revoked(String),
    /// Two files that cannot be one.
    #[error("{0}")]
    Apart(String),
}

impl From<Clause> for TrustError {
    fn from(clause: Clause) -> Self {
        Self::Clause(clause)
    }
}

/// Whether the file is refused only because too few of its keys are active: it is of the format, and accepts nothing.
fn accepts_nothing(bytes: &[u8]) -> bool {
    parse_trust(bytes).is_err_and(|clause| clause.code() == "threshold-unreachable")
}

impl TrustFile {
    /// Reads a trust file. One that accepts nothing, since too few of its keys are active, is read too.
    ///
    /// # Errors
    /// [`Clause`], the checker's.
    pub fn parse(bytes: &[u8]) -> Result<Self, Clause> {
        if let Err(clause) = parse_trust(bytes)
            && !accepts_nothing(bytes)
        {
            return Err(clause);
        }
        // What the checker's reader has read has these keys, of these types.
        let Value::Object(fields) = json::parse(bytes, MAX_TRUST, Numbers::Refused)? else {
            return Err(Clause::WrongType { expected: "an object" });
        };
        let threshold = fields.get("threshold").and_then(string).and_then(|text| text.parse().ok());
        let items = fields.get("keys").map_or(&[][..], array);
        let keys = items.iter().map(entry).collect::<Result<_, _>>()?;
        let verifiers =
            fields.get("verifiers").map(|v| array(v).iter().filter_map(string).map(str::to_owned).collect());
        Ok(Self { threshold: threshold.unwrap_or(0), keys, verifiers })
    }

    /// The file's text. It is read by the checker's reader first.
    ///
    /// # Errors
    /// [`Clause`], if it is not of the format; a file that accepts nothing is.
    pub fn emit(&self) -> Result<String, Clause> {
        let text = |words: &str| Value::String(words.to_owned());
        let object = |entries: Vec<(&str, Value)>| {
            Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        let key = |entry: &TrustEntry| {
            let mut fields = vec![
                ("name", text(&entry.name)),
                ("publicKey", text(&public_pem(&entry.key))),
                ("status", text(&entry.status)),
            ];
            fields.extend(entry.reason.as_deref().map(|reason| ("reason", text(reason))));
            object(fields)
        };
        let mut fields = vec![
            ("format", text(FORMAT)),
            ("threshold", text(&self.threshold.to_string())),
            ("keys", Value::Array(self.keys.iter().map(key).collect())),
        ];
        let verifiers = self.verifiers.as_ref();
        fields.extend(verifiers.map(|v| ("verifiers", Value::Array(v.iter().map(|id| text(id)).collect()))));
        let document = format!("{}\n", canonical(&object(fields)));
        Self::parse(document.as_bytes())?;
        Ok(document)
    }

    /// How many keys' signatures count.
    pub fn active(&self) -> usize {
        self.keys.iter().filter(|key| key.is_active()).count()
    }

    /// Adds an active key.
    ///
    /// # Errors
    /// [`TrustError`]: the key or its name is there.
    pub fn add(&mut self, name: &str, key: PublicKey) -> Result<(), TrustError> {
        if let Some(known) = self.keys.iter().find(|known| known.key == key) {
            let (name, status) = (known.name.clone(), known.status.clone());
            return Err(TrustError::Known { name, status });
        }
        if self.keys.iter().any(|known| known.name == name) {
            return Err(TrustError::NameTaken(name.to_owned()));
        }
        self.keys.push(TrustEntry::active(name, key));
        Ok(())
    }

    /// Gives the key with this name or fingerprint another status, `revoked` or `expired`. What is revoked stays so.
    ///
    /// # Errors
    /// [`TrustError`]: no such key, or revoked before.
    pub fn retire(&mut self, which: &str, status: &str, reason: Option<&str>) -> Result<(), TrustError> {
        let named = |entry: &&mut TrustEntry| entry.name == which || entry.key.keyid() == which;
        let found = self.keys.iter_mut().find(named);
        let entry = found.ok_or_else(|| TrustError::NoSuchKey(which.to_owned()))?;
        if entry.status == "revoked" {
            return Err(TrustError::Revoked(entry.name.clone()));
        }
        entry.status = status.to_owned();
        entry.reason = reason.map(str::to_owned);
        Ok(())
    }

    /// The keys of both. What one of them says against a key holds: a key that is active in both only is active.
    ///
    /// # Errors
    /// [`TrustError::Apart`] if they want another number of signatures and `threshold` does not say how many, if they allow other
    /// verifiers, or if one name means two keys.
    pub fn merge(&self, other: &Self, threshold: Option<usize>) -> Result<Self, TrustError> {
        let same = (self.threshold == other.threshold).then_some(self.threshold);
        let threshold = threshold.or(same).ok_or_else(|| {
            let (a, b) = (self.threshold, other.threshold);
            TrustError::Apart(format!(
                "one asks for {a} signatures, the other for {b}; say with --threshold how many it shall be"
            ))
        })?;
        let sorted = |file: &Self| {
            file.verifiers.clone().map(|mut verifiers| {
                verifiers.sort();
                verifiers
            })
        };
        if sorted(self) != sorted(other) {
            let words =
                "they allow other verifiers; make the lists alike first, so that neither becomes wider";
            return Err(TrustError::Apart(words.to_owned()));
        }
        let mut keys = self.keys.clone();
        for entry in &other.keys {
            if let Some(known) = keys.iter_mut().find(|known| known.key == entry.key) {
                if entry.severity() > known.severity() {
                    known.status.clone_from(&entry.status);
                    known.reason.clone_from(&entry.reason);
                }
                continue;
            }
            if keys.iter().any(|known| known.name == entry.name) {
                let name = Escaped(&entry.name);
                let words = format!("both have a key called {name}, and it is not the same key");
                return Err(TrustError::Apart(words));
            }
            keys.push(entry.clone());
        }
        Ok(Self { threshold, keys, verifiers: self.verifiers.clone() })
    }
}

/// Whether a text may be a key's name or a reason.
pub fn is_short(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len())
}

fn string(value: &Value) -> Option<&str> {
    if let Value::String(text) = value { Some(text) } else { None }
}

fn array(value: &Value) -> &[Value] {
    if let Value::Array(items) = value { items } else { &[] }
}

fn entry(value: &Value) -> Result<TrustEntry, Clause> {
    let Value::Object(fields) = value else { return Err(Clause::WrongType { expected: "an object" }) };
    let word = |key: &str| fields.get(key).and_then(string).map(str::to_owned);
    Ok(TrustEntry {
        name: word("name").unwrap_or_default(),
        key: PublicKey::parse_pem(&word("publicKey").unwrap_or_default())?,
        status: word("status").unwrap_or_default(),
        reason: word("reason"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certify::keys::{Key, trust_file};

    fn key(seed: u8) -> PublicKey {
        Key::from_seed([seed; 32]).public().expect("a strong key")
    }

    fn file(seed: u8, name: &str) -> TrustFile {
        TrustFile::parse(trust_file(name, &public_pem(&key(seed))).as_bytes()).expect("a trust file")
    }

    #[test]
    fn what_is_read_is_written_again() {
        let text = trust_file("a", &public_pem(&key(1)));
        assert_eq!(TrustFile::parse(text.as_bytes()).unwrap().emit().unwrap(), text);
    }

    #[test]
    fn a_key_is_added_once_and_under_its_own_name() {
        let mut trust = file(1, "a");
        trust.add("b", key(2)).unwrap();
        assert_eq!(trust.active(), 2);
        let known = TrustError::Known { name: "b".into(), status: "active".into() };
        assert_eq!(trust.add("c", key(2)), Err(known));
        assert_eq!(trust.add("a", key(3)), Err(TrustError::NameTaken("a".into())));
    }

    /// The last active key can be revoked: the file then accepts nothing, and still takes another key.
    #[test]
    fn a_key_is_revoked_by_name_or_fingerprint() {
        let mut trust = file(1, "a");
        assert_eq!(trust.retire("x", "revoked", None), Err(TrustError::NoSuchKey("x".into())));
        trust.retire(&key(1).keyid(), "revoked", Some("lost")).unwrap();
        assert_eq!(trust.retire("a", "expired", None), Err(TrustError::Revoked("a".into())));
        let text = trust.emit().unwrap();
        assert!(parse_trust(text.as_bytes()).is_err());
        let mut again = TrustFile::parse(text.as_bytes()).unwrap();
        assert_eq!((again.clone(), again.active()), (trust, 0));
        again.add("b", key(2)).unwrap();
        assert!(parse_trust(again.emit().unwrap().as_bytes()).is_ok());
    }

    /// What is revoked in one of the two is revoked in what they make together, whichever comes first.
    #[test]
    fn merging_never_makes_a_key_active() {
        let mut one = file(1, "a");
        one.add("b", key(2)).unwrap();
        let with = |status: &str| {
            let mut file = one.clone();
            file.retire("b", status, Some("stolen")).unwrap();
            file
        };
        for (milder, stricter) in [(&one, with("expired")), (&with("expired"), with("revoked"))] {
            for merged in [milder.merge(&stricter, None).unwrap(), stricter.merge(milder, None).unwrap()] {
                assert_eq!(merged, stricter);
            }
        }
        let other = file(3, "a");
        assert!(
            matches!(one.merge(&other, None), Err(TrustError::Apart(why)) if why.contains("called \"a\""))
        );
        let asks_for_two = TrustFile { threshold: 2, ..one.clone() };
        assert!(matches!(one.merge(&asks_for_two, None), Err(TrustError::Apart(_))));
        assert_eq!(one.merge(&asks_for_two, Some(2)).unwrap().threshold, 2);
        let wider = TrustFile { verifiers: None, ..one.clone() };
        assert!(matches!(one.merge(&wider, None), Err(TrustError::Apart(_))));
    }
}
