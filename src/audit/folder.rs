//! The folder that `secateur audit` writes into, also when an earlier audit did: what was handed out stays good. Untrusted.
//! `spec/outputs.md#audit`.

use std::path::{Path, PathBuf};

use secateur_checker::load::{Failure, read_file};
use secateur_checker::reader::dsse::{MAX_ENVELOPE, PAYLOAD_TYPE, parse_envelope};
use secateur_checker::reader::safetensors::MAX_FILE;
use secateur_checker::reader::trust::{MAX_TRUST, parse_trust, verify_envelope};

use crate::certify::VERIFIER_ID;
use crate::certify::keys::{Key, public_pem, trust_file, trust_with};
use crate::certify::witness_name;
use crate::outputs::{OutputPlan, chain_names, there};
use crate::policy::write::FileSet;

/// Why an audit may not write into a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The folder is the policy's.
    #[error("--out {} is the policy directory; give another --out", .0.display())]
    Policy(PathBuf),
    /// What is there cannot be read.
    #[error("{0}")]
    Read(Failure),
    /// What is there cannot be read, before any work.
    #[error("{0}")]
    Unreadable(Failure),
    /// What is in the certificate's place is none.
    #[error("{} is no certificate ({reason}); --force replaces it, or give another --out", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// Why it is none.
        reason: String,
    },
    /// A signature by this key would not count under the trust file there.
    #[error("{}: {reason}; give another --out, or --force to start anew", .path.display())]
    Trust {
        /// The trust file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Ed25519 knows points of small order.
    #[error("the key is weak; make another")]
    WeakKey,
}

impl FolderError {
    /// The exit code of a command that ends for this reason.
    pub fn exit_code(&self) -> u8 {
        if let Self::Read(failure) = self { failure.exit_code() } else { 2 }
    }
}

/// Name of the keys in trust files.
const NAME: &str = "audit";

/// Where an audit's certificate, witness, masks and trust file go.
pub struct AuditFolder {
    out: PathBuf,
    name: String,
    /// Whether what is there is replaced; else it is kept.
    anew: bool,
}

impl AuditFolder {
    /// The folder `out` for the policy in `directory`.
    ///
    /// # Errors
    /// [`FolderError::Policy`] if they are one.
    pub fn new(directory: &Path, out: &Path, name: &str) -> Result<Self, FolderError> {
        if let (Ok(one), Ok(other)) = (directory.canonicalize(), out.canonicalize())
            && one == other
        {
            return Err(FolderError::Policy(out.to_owned()));
        }
        Ok(Self { out: out.to_owned(), name: name.to_owned(), anew: false })
    }

    /// The certificate.
    pub fn certificate(&self) -> PathBuf {
        self.out.join(format!("{}.cert.dsse.json", self.name))
    }

    fn witness(&self) -> PathBuf {
        self.out.join(witness_name(&self.certificate()))
    }

    /// Masks that the audit made.
    pub fn masks(&self) -> PathBuf {
        self.out.join("masks")
    }

    /// The trust file.
    pub fn trust(&self) -> PathBuf {
        self.out.join("trust.json")
    }

    /// Adds the folder's files to a plan, `masks` of them made by the audit. What an earlier audit left here is no obstacle.
    pub fn plan(&self, plan: OutputPlan, masks: Vec<String>) -> OutputPlan {
        let plan = plan.folder("--out", &self.out).folder("--out", &self.masks());
        let names = masks.iter().map(|name| self.masks().join(name));
        let chain = (!masks.is_empty()).then(|| self.masks().join("chain.json"));
        let files = [self.certificate(), self.witness(), self.trust()].into_iter().chain(names).chain(chain);
        let plan = files.fold(plan, |plan, file| plan.state("--out", &file));
        plan.earlier_masks(&self.masks(), &masks)
    }

    /// Tests, before any work, that a signature by `key` will count.
    ///
    /// # Errors
    /// [`FolderError`]: the trust file there cannot be read or added to, or asks for more than this key; what is in the
    /// certificate's place is no certificate.
    pub fn open(mut self, key: &Key, anew: bool) -> Result<Self, FolderError> {
        self.anew = anew;
        let certificate = self.certificate();
        if !anew && there(&certificate) {
            let bytes = read_file(&certificate, MAX_ENVELOPE).map_err(FolderError::Unreadable)?;
            if let Err(reason) = parse_envelope(&bytes) {
                return Err(FolderError::NoCertificate { path: certificate, reason: reason.to_string() });
            }
        }
        let at = |e: &dyn std::fmt::Display| self.distrust(e);
        let trust = parse_trust(self.trust_bytes(key)?.as_bytes()).map_err(|e| at(&e))?;
        trust.check_verifier(VERIFIER_ID).map_err(|e| at(&e))?;
        verify_envelope(&key.sign(PAYLOAD_TYPE, Vec::new()), &trust).map_err(|e| at(&e))?;
        Ok(self)
    }

    /// The trust file that is there with the key in it.
    fn trust_bytes(&self, key: &Key) -> Result<String, FolderError> {
        let public = key.public().ok_or(FolderError::WeakKey)?;
        let path = self.trust();
        if self.anew || !there(&path) {
            return Ok(trust_file(NAME, &public_pem(&public)));
        }
        let bytes = read_file(&path, MAX_TRUST).map_err(FolderError::Unreadable)?;
        trust_with(&bytes, NAME, &public).map_err(|e| self.distrust(&e))
    }

    fn distrust(&self, reason: &dyn std::fmt::Display) -> FolderError {
        FolderError::Trust { path: self.trust(), reason: reason.to_string() }
    }

    /// Adds the trust file.
    ///
    /// # Errors
    /// Those of [`AuditFolder::open`].
    pub fn add_trust(&self, set: &mut FileSet, key: &Key) -> Result<(), FolderError> {
        set.update(self.trust(), self.trust_bytes(key)?);
        Ok(())
    }

    /// Replaces what is there by what the set has, and adds what is there under a new folder if the certificates differ;
    /// returns that folder.
    ///
    /// # Errors
    /// [`FolderError::Read`].
    pub fn keep_earlier(&self, set: &mut FileSet) -> Result<Option<PathBuf>, FolderError> {
        set.replace_all();
        let same = |path: &Path, bytes: &[u8]| read_file(path, MAX_FILE).is_ok_and(|found| found == bytes);
        let chain = self.masks().join("chain.json");
        let leaves = there(&chain) && set.files().all(|(path, _)| path != chain);
        let differs = leaves || set.files().any(|(path, bytes)| there(path) && !same(path, bytes));
        if self.anew || !differs {
            return Ok(None);
        }
        let folder = (1..).map(|n| self.out.join(format!("earlier-{n}"))).find(|path| !there(path));
        let folder = folder.unwrap_or_default();
        let names = chain_names(&self.masks()).unwrap_or_default();
        let masks =
            names.iter().map(String::as_str).chain(["chain.json"]).map(|name| self.masks().join(name));
        for path in [self.certificate(), self.witness()].into_iter().chain(masks).filter(|path| there(path)) {
            let bytes = read_file(&path, MAX_FILE).map_err(FolderError::Read)?;
            if let Ok(inside) = path.strip_prefix(&self.out) {
                set.add(folder.join(inside), bytes);
            }
        }
        Ok(Some(folder))
    }
}
