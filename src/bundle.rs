//! Writes and opens bundles: everything that a check reads but the trust file, in one file. Untrusted; the checker's own
//! reader decides what a bundle is. `spec/bundle.md`.

use std::path::Path;

use secateur_checker::bundle::{
    Bundle, CERTIFICATE, CHAIN, MAX_BUNDLE, POLICIES, POLICY, PROOF, PROPERTY, STATES, WITNESS, header,
    is_member_name,
};
use secateur_checker::load::{Failure, MaskDirectory, PolicyDirectory, load_masks, load_policy, read_file};
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::dsse::{MAX_ENVELOPE, parse_envelope};
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::verdict::Claimed;

use crate::certify::statement::Statement;

/// Why no bundle was made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file is unreadable or malformed.
    #[error("{0}")]
    Load(Failure),
    /// The bundle, or the certificate in it, is not of its format.
    #[error("{0}")]
    Format(Clause),
    /// A file cannot be a member.
    #[error("the file {} cannot lie in a bundle: its name there would be too long, or is not a plain file name", Escaped(.0))]
    Name(String),
    /// Not what the certificate is about.
    #[error("{0}")]
    Other(&'static str),
}

/// The files that a certificate is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The certificate.
    pub certificate: &'a Path,
    /// The policy directory; of a certificate about several networks their directories, in the property's order.
    pub policies: &'a [&'a Path],
    /// The mask directory, if the certificate is about masks.
    pub masks: Option<&'a Path>,
    /// The states, of a certificate about a policy.
    pub states: Option<&'a Path>,
    /// The property in its canonical form, of a certificate about one.
    pub property: Option<&'a Path>,
    /// The witness or proof file; by default the one that the certificate names, beside it.
    pub witness: Option<&'a Path>,
}

/// The side file that a statement names, and what it is called in a bundle.
fn side_file(statement: &Statement) -> Option<(&str, &'static str)> {
    match statement {
        Statement::Policy(certificate) => {
            certificate.witness.as_ref().map(|record| (record.name.as_str(), WITNESS))
        }
        Statement::Property(certificate) => match &certificate.claimed {
            Claimed::Unsat { proof } => Some((&proof.name, PROOF)),
            Claimed::Sat { .. } => None,
        },
    }
}

/// Reads the files and lays them out as a bundle. The same files give the same bytes.
///
/// # Errors
/// [`BundleError`].
pub fn pack(parts: &Parts<'_>) -> Result<Vec<u8>, BundleError> {
    let load = BundleError::Load;
    let envelope = read_file(parts.certificate, MAX_ENVELOPE).map_err(load)?;
    let statement = read_statement(&envelope)?;
    let policies =
        parts.policies.iter().map(|path| load_policy(path)).collect::<Result<Vec<_>, _>>().map_err(load)?;
    let mut members: Vec<(String, Vec<u8>)> = vec![(CERTIFICATE.to_owned(), envelope)];
    if let Some((name, member)) = side_file(&statement) {
        let beside = Path::new(name).file_name().map(|name| parts.certificate.with_file_name(name));
        let path = parts.witness.map(Path::to_owned).or(beside);
        let path = path.ok_or_else(|| BundleError::Name(name.to_owned()))?;
        members.push((member.to_owned(), read_file(&path, MAX_BUNDLE).map_err(load)?));
    }
    match (&statement, parts.states, parts.property) {
        (Statement::Policy(_), Some(states), None) => {
            let masks = match parts.masks {
                Some(directory) => load_masks(directory, &only(&policies)?.files).map_err(load)?,
                None => MaskDirectory { masks: Vec::new(), files: Vec::new() },
            };
            let name =
                |name: &str| if name == "chain.json" { CHAIN.to_owned() } else { format!("masks/{name}") };
            members.extend(masks.files.into_iter().map(|(file, bytes)| (name(&file), bytes)));
            members.push((STATES.to_owned(), read_file(states, MAX_BUNDLE).map_err(load)?));
        }
        (Statement::Property(certificate), ..) if certificate.subjects.len() != 2 * policies.len() + 1 => {
            let words = "the certificate is about another number of networks: give the directory of each, in the \
                         property's order";
            return Err(BundleError::Other(words));
        }
        (Statement::Property(_), None, Some(property)) => {
            members.push((PROPERTY.to_owned(), read_file(property, MAX_BUNDLE).map_err(load)?));
        }
        (Statement::Policy(_), ..) => {
            return Err(BundleError::Other(
                "the certificate is about a policy: give --states, and no --property",
            ));
        }
        (Statement::Property(_), ..) => {
            let words = "the certificate is about a property: give --property, and no --states";
            return Err(BundleError::Other(words));
        }
    }
    if policies.len() > POLICIES.len() {
        return Err(BundleError::Other("a bundle holds at most nine networks"));
    }
    if matches!(statement, Statement::Policy(_)) {
        only(&policies)?;
    }
    for (folder, policy) in POLICIES.iter().zip(policies) {
        for (file, bytes) in POLICY.iter().zip([policy.manifest, policy.tensors]) {
            members.push((format!("{folder}/{file}"), bytes));
        }
    }
    lay_out(members)
}

fn only(policies: &[PolicyDirectory]) -> Result<&PolicyDirectory, BundleError> {
    match policies {
        [policy] => Ok(policy),
        _ => Err(BundleError::Other("the certificate is about a policy: give one directory")),
    }
}

/// The tar file of these members, in the order of their names.
fn lay_out(mut members: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, BundleError> {
    const BLOCK: usize = 512;
    members.sort();
    let mut out = Vec::new();
    for (name, contents) in members {
        let known = if is_member_name(&name) { header(&name, contents.len()) } else { None };
        out.extend(known.ok_or(BundleError::Name(name))?);
        out.extend(contents);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    Bundle::parse(&out).map_err(BundleError::Format)?;
    Ok(out)
}

fn read_statement(envelope: &[u8]) -> Result<Statement, BundleError> {
    let envelope = parse_envelope(envelope).map_err(BundleError::Format)?;
    Statement::parse(&envelope.payload).map_err(BundleError::Format)
}

/// The members of a bundle and where they belong below a folder, so that the checker finds them there: the side file gets
/// the name that the certificate says.
///
/// # Errors
/// [`BundleError`].
pub fn unpack(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
    let bundle = Bundle::parse(bytes).map_err(BundleError::Format)?;
    let envelope = bundle.get(CERTIFICATE).ok_or(BundleError::Other("the bundle holds no certificate"))?;
    let statement = read_statement(envelope)?;
    // A plain file name may name a mask.
    let side = side_file(&statement).filter(|(name, _)| is_member_name(&format!("masks/{name}")));
    let place = |name: &str| match side {
        Some((stated, member)) if member == name => stated.to_owned(),
        _ => name.to_owned(),
    };
    let members = bundle.members().iter().map(|member| (place(member.name), member.contents.to_vec()));
    Ok(members.collect())
}

/// The envelope in a file that is either one or a bundle of one.
///
/// # Errors
/// [`BundleError`].
pub fn envelope_of(bytes: Vec<u8>) -> Result<Vec<u8>, BundleError> {
    if !bytes.starts_with(CERTIFICATE.as_bytes()) {
        return Ok(bytes);
    }
    let bundle = Bundle::parse(&bytes).map_err(BundleError::Format)?;
    let envelope = bundle.get(CERTIFICATE).map(<[u8]>::to_vec);
    envelope.ok_or(BundleError::Other("the bundle holds no certificate"))
}
