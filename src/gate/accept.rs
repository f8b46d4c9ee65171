//! `secateur gate accept`: writes down what a person accepts, from certificates that were checked. Untrusted.
//! `spec/gate.md#baseline`.

use super::baseline::{Accepted, Baseline};
use super::config::Gate;
use super::evidence::gather;
use super::{GateError, report::Kind};
use crate::progress::Progress;

/// Whether this runs in CI, as CI services say it.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !["", "false", "0"].iter().any(|no| value == *no))
}

/// The baseline of the gate's policies as they are now.
///
/// # Errors
/// [`GateError::InCi`], a certificate that is not accepted, one that is about something else than its policy's `about`.
pub fn accept(gate: &Gate, progress: &dyn Progress) -> Result<Baseline, GateError> {
    if in_ci() {
        return Err(GateError::InCi);
    }
    let mut made = Baseline::empty();
    for entry in &gate.policies {
        let name = entry.name.get_ref();
        let evidence = gather(gate, entry, &mut |done, total| progress.advance("checking", done, total))?;
        let differs = entry.about.as_ref().and_then(|about| about.differs(evidence.certificate()));
        if let Some((_, found, wanted)) = differs {
            let code = Kind::NotComparable.code();
            let reason =
                format!("policy {name}: {code}: the certificate is about {found}, `about` says {wanted}");
            return Err(GateError::Config { path: gate.path.clone(), reason });
        }
        made.policies.insert(name.clone(), Accepted::of(&evidence));
    }
    Ok(made)
}
