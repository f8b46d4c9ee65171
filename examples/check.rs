//! Checks a certificate with the trusted crate alone: nothing of `secateur` itself is used.
//!
//!     cargo run --example check
//!     cargo run --example check -- POLICY_DIR MASK_DIR STATES.npy TRUST.json CERTIFICATE

use std::path::PathBuf;
use std::process::ExitCode;

use secateur_checker::load::{CheckPaths, check_paths};

/// A committed problem and a certificate about it.
const COMMITTED: [&str; 5] = [
    "certificates/problems/gaussian/policy",
    "certificates/problems/gaussian/masks",
    "certificates/problems/gaussian/states.npy",
    "certificates/trust/one.json",
    "certificates/accepted/gaussian.cert.dsse.json",
];

fn main() -> ExitCode {
    let mut given: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if given.is_empty() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        given = COMMITTED.iter().map(|path| root.join(path)).collect();
    }
    let Ok([policy, masks, states, trust, certificate]) = <[PathBuf; 5]>::try_from(given) else {
        eprintln!("usage: check POLICY_DIR MASK_DIR STATES.npy TRUST.json CERTIFICATE");
        return ExitCode::from(2);
    };
    // The witness is the file that the certificate names, beside it. Without `trust`, no signature would be checked.
    let paths =
        CheckPaths { policy, masks: Some(masks), states, trust: Some(trust), witness: None, certificate };
    let outcome = match check_paths(&paths, &mut |_done, _total| {}) {
        Ok(outcome) => outcome,
        Err(failure) => {
            eprintln!("not verified: {failure}");
            return ExitCode::from(failure.exit_code());
        }
    };
    // Only a check makes a `Verified`. Its tables hold the bounds that the checker computed, exactly.
    let certificate = outcome.verified.certificate();
    for claim in certificate.claims.iter().filter(|claim| claim.quantity == "total-variation") {
        println!("mask {} {:24} total variation per state {:?}", claim.mask, claim.family, claim.values);
    }
    for signer in &outcome.signers {
        println!("signed by {}", signer.keyid());
    }
    println!("verified: {} claims at {} states", certificate.claims.len(), certificate.states);
    ExitCode::SUCCESS
}
