//! `secateur gate --init`: a commented `secateur.toml` that a certificate passes. Untrusted. `spec/gate.md#init`.

use std::path::{Path, PathBuf};

use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::table::Quantity;

use super::about::{About, LimitAbout, SharedAbout};
use super::bounds::{Extreme, chosen, worst};
use super::config::{Choice, Gate, is_plain};
use super::evidence::{Evidence, gather};
use super::{GateError, SCHEMA};
use crate::audit::name_of;
use crate::progress::Progress;

/// Where the files of a policy lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitPaths {
    /// Certificate.
    pub certificate: PathBuf,
    /// Policy directory.
    pub policy: PathBuf,
    /// Mask directory.
    pub masks: Option<PathBuf>,
    /// States.
    pub states: PathBuf,
    /// Trust file; `None` demands no signature.
    pub trust: Option<PathBuf>,
}

impl InitPaths {
    /// Takes masks and trust file that lie beside the certificate, as `audit` leaves them, where none are named.
    pub fn completed(mut self, unsigned: bool) -> Self {
        let folder = self.certificate.parent().map(Path::to_owned).unwrap_or_default();
        if self.masks.is_none() && folder.join("masks").join("chain.json").is_file() {
            self.masks = Some(folder.join("masks"));
        }
        if self.trust.is_none() && !unsigned && folder.join("trust.json").is_file() {
            self.trust = Some(folder.join("trust.json"));
        }
        self
    }
}

/// The text of a gate at `file` whose rules the certificate keeps; the certificate is checked first.
///
/// # Errors
/// [`GateError`].
pub fn init(file: &Path, paths: &InitPaths, progress: &dyn Progress) -> Result<String, GateError> {
    let fail = |reason: String| GateError::Config { path: file.to_owned(), reason };
    let head = policy_table(file, paths);
    // A gate to check with: its rule is not asked.
    let bare = format!("{head}[[rule]]\nid = \"any\"\nmax-sparsity = \"1\"\n");
    let gate = Gate::parse(file, bare).map_err(fail)?;
    let entry = gate.policies.first().ok_or_else(|| fail("no policy".to_owned()))?;
    let evidence = gather(&gate, entry, &mut |done, total| progress.advance("checking", done, total))?;
    let text = format!("{head}{}{}", about_table(&evidence), rules(&evidence));
    Gate::parse(file, text.clone()).map_err(fail)?;
    Ok(text)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `path` as it is written in a file of `folder`.
fn relative(folder: &Path, path: &Path) -> String {
    let here = folder.as_os_str().is_empty() || folder == Path::new(".");
    if here || path.is_absolute() {
        return path.to_string_lossy().into_owned();
    }
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let base = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let made = full.strip_prefix(&base).map(Path::to_owned).unwrap_or(full);
    made.to_string_lossy().into_owned()
}

fn policy_table(file: &Path, paths: &InitPaths) -> String {
    let folder = file.parent().unwrap_or(Path::new(""));
    let path = |key: &str, path: &Path| format!("{key} = {}\n", quoted(&relative(folder, path)));
    let name = name_of(&paths.policy);
    let name = if is_plain(&name) { name } else { "policy".to_owned() };
    let mut text = format!(
        "# A release gate: `secateur gate` checks the certificate and decides the rules below.\n\
         # spec/gate.md explains every key; a key that is not known is refused. Numbers stand in quotes and are read exactly.\n\
         schema = \"{SCHEMA}\"\n\
         # baseline = \"secateur.baseline.json\"   # what `secateur gate accept` writes; commit it\n\n\
         [[policy]]\nname = {}\n",
        quoted(&name)
    );
    text.push_str(&path("directory", &paths.policy));
    text.extend(paths.masks.as_ref().map(|masks| path("masks", masks)));
    text.push_str(&path("states", &paths.states));
    text.push_str(&path("certificate", &paths.certificate));
    match &paths.trust {
        Some(trust) => text.push_str(&path("trust", trust)),
        None => text.push_str("unsigned = true   # or trust = \"trust.json\": whose signatures count\n"),
    }
    text.push_str(
        "# bind = [{ file = \"pruned.onnx\", mask = 1 }]   # what is shipped: exactly the policy under that mask\n\n",
    );
    text
}

fn about_table(evidence: &Evidence) -> String {
    let about = About::of(evidence.certificate());
    let mut text =
        "# What the claims must be about; a certificate about anything else fails.\n[policy.about]\n"
            .to_owned();
    text.push_str(&format!("shape = {}\n", quoted(&about.shape)));
    if let Some(radius) = &about.radius {
        text.push_str(&format!("radius = {}\n", quoted(radius)));
    }
    if let Some(radii) = &about.radii {
        let radii: Vec<String> = radii.iter().map(|r| quoted(r)).collect();
        text.push_str(&format!("radii = [{}]\n", radii.join(", ")));
    }
    if !about.shared.is_empty() {
        let entry = |offset: &SharedAbout| {
            format!("{{ radius = {}, inputs = {:?} }}", quoted(&offset.radius), offset.inputs)
        };
        let entries: Vec<String> = about.shared.iter().map(entry).collect();
        text.push_str(&format!("shared = [{}]\n", entries.join(", ")));
    }
    if !about.limits.is_empty() {
        let entry = |limit: &LimitAbout| {
            let (lower, upper) = (quoted(&limit.lower), quoted(&limit.upper));
            format!("{{ input = {}, lower = {lower}, upper = {upper} }}", limit.input)
        };
        let entries: Vec<String> = about.limits.iter().map(entry).collect();
        text.push_str(&format!("limits = [{}]\n", entries.join(", ")));
    }
    text.push_str(&format!(
        "units = {}\nstates = {}   # SHA-256 of the states file\nstate-count = {}\nstate-units = {}\n\n",
        quoted(&about.units),
        quoted(&about.states),
        about.state_count,
        quoted(&about.state_units)
    ));
    text
}

/// The largest best value over the masks of the first quantity that every mask claims.
fn largest(evidence: &Evidence) -> Option<(Quantity, usize, Extreme)> {
    let certificate = evidence.certificate();
    let outputs = evidence.outputs();
    [Quantity::TotalVariation, Quantity::ActionDeviation].into_iter().find_map(|quantity| {
        let value = |mask: usize| {
            let families = chosen(certificate, quantity, mask, outputs, Choice::Best);
            worst(certificate, quantity, mask, outputs, &families).map(|value| (mask, value))
        };
        let all: Option<Vec<(usize, Extreme)>> = (0..certificate.masks.len()).map(value).collect();
        let (mask, value) = all?.into_iter().reduce(|a, b| if b.1.value > a.1.value { b } else { a })?;
        Some((quantity, mask, value))
    })
}

fn rules(evidence: &Evidence) -> String {
    let mut text = String::new();
    if let Some((quantity, mask, value)) = largest(evidence) {
        let (name, limit) = (quantity.name(), claim_decimal(&value.value, Rounding::Up));
        text.push_str(&format!(
            "# At every listed state and under every mask, by the best certified bound there.\n[[rule]]\nid = \"limit\"\n\
             quantity = \"{name}\"\nmax = \"{limit}\"   # what this certificate has, under mask {mask}\n\n\
             # No worse than what was accepted; needs a baseline.\n# [[rule]]\n# id = \"not-worse\"\n\
             # quantity = \"{name}\"\n# worse-by = \"1%\"   # or an absolute \"0.01\"\n\n"
        ));
    }
    let records = evidence.certificate().masks.iter();
    let sparsity = records.filter_map(|m| Rational::new(m.pruned.into(), m.total.max(1).into()).ok()).max();
    let sparsity = sparsity.unwrap_or_else(Rational::zero);
    text.push_str(&format!(
        "[[rule]]\nid = \"sparsity\"\nmax-sparsity = \"{sparsity}\"   # of all weights\n\n\
         # [[rule]]\n# id = \"harm\"\n# no-proved-harm = true   # no pruning step is proved to have hurt\n\
         # no-loosened = [\"crown\"]   # nor did these families' bounds rise\n\n"
    ));
    if let Some(signer) = evidence.signers().first() {
        text.push_str(&format!(
            "[[rule]]\nid = \"signed\"\nsigners = [{}]   # {}\n\n",
            quoted(signer.keyid()),
            "a key's fingerprint, or its name in the trust file"
        ));
    }
    text.push_str(
        "# [[exception]]\n# rule = \"limit\"\n# certificate = \"...\"   # SHA-256 of the certificate's file\n\
         # reason = \"...\"\n# expires = \"2026-12-31\"   # at most 180 days away\n",
    );
    text
}
