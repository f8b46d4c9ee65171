//! What is probably wrong where a file is not the one that a certificate speaks of: which path was read, as what, and whether
//! the right one lies near it. Untrusted: it explains a rejection of the checker, and changes none.

use std::path::{Path, PathBuf};

use secateur_checker::load::{CheckPaths, Failure, PropertyFiles, read_file};
use secateur_checker::reader::certificate::{Certificate, parse_certificate};
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::dsse::{MAX_ENVELOPE, parse_envelope};
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::safetensors::MAX_FILE;
use secateur_checker::rejection::Reason;

use crate::outputs::chain_names;
use crate::policy::write::parent_of;

/// Names looked at in a folder in search of the right file.
const MAX_NAMES: usize = 256;
/// Longest file that is hashed in search of it.
const MAX_CANDIDATE: u64 = 1 << 24;

/// What a file was given as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Policy,
    Masks,
    States,
    Witness,
}

impl Role {
    fn words(self) -> &'static str {
        match self {
            Self::Policy => "the policy",
            Self::Masks => "the masks",
            Self::States => "the states",
            Self::Witness => "the witness",
        }
    }

    /// What was probably given in its place.
    fn other(self) -> &'static str {
        match self {
            Self::Policy => "another policy",
            Self::Masks => "other masks",
            Self::States => "other states",
            Self::Witness => "the witness of another certificate",
        }
    }
}

/// A file that was read.
struct Given {
    role: Role,
    path: PathBuf,
    sha256: String,
}

/// A file that is another one: the name that the certificate has for it, as it is printed, and both digests.
struct Wrong<'a> {
    name: String,
    stated: &'a str,
    found: &'a str,
}

fn wrong_file(failure: &Failure) -> Option<Wrong<'_>> {
    let Failure::Rejected(rejection) = failure else { return None };
    match &rejection.reason {
        Reason::WrongFile { name, stated, found, .. } => {
            Some(Wrong { name: name.to_string(), stated, found })
        }
        _ => None,
    }
}

/// A sentence, begun by a semicolon, about a check that failed because a file is another one; empty for any other failure.
pub fn explain(failure: &Failure, paths: &CheckPaths) -> String {
    let Some(Wrong { name, stated, found }) = wrong_file(failure) else { return String::new() };
    let (Some(certificate), given) = (stated_in(&paths.certificate), given(paths)) else {
        return String::new();
    };
    let same = |file: &&Given| file.sha256 == found;
    let named = |file: &&Given| {
        file.path.file_name().is_some_and(|own| Escaped(&own.to_string_lossy()).to_string() == name)
    };
    let mut found = given.iter().filter(same);
    let Some(wrong) = found.clone().find(named).or_else(|| found.next()) else { return String::new() };
    let path = Escaped(&wrong.path.to_string_lossy()).to_string();
    let mut words =
        format!("; read from {path}, given as {}: {}", wrong.role.words(), probably(&certificate, &given));
    if let Some(near) = nearby(wrong, stated, parent_of(&paths.certificate)) {
        let near = near.to_string_lossy();
        words.push_str(&format!("; {} is the file that the certificate speaks of", Escaped(&near)));
    }
    words
}

/// The same of a property certificate, whose files are made of a network and a property.
pub fn explain_property(
    failure: &Failure,
    files: &PropertyFiles<'_>,
    (networks, property): (&[&Path], &Path),
) -> String {
    let Some(Wrong { found, .. }) = wrong_file(failure) else { return String::new() };
    let made = |bytes: &[u8]| sha256_hex(bytes) == found;
    let of_network = files.policies.iter().zip(networks).find(|(own, _)| own.iter().any(|bytes| made(bytes)));
    let (path, other) = if let Some((_, network)) = of_network {
        (*network, "another network")
    } else if made(files.property) {
        (property, "another property")
    } else {
        return String::new();
    };
    let path = path.to_string_lossy();
    format!("; made of {}: probably {other} than the certificate speaks of", Escaped(&path))
}

fn stated_in(path: &Path) -> Option<Certificate> {
    let envelope = parse_envelope(&read_file(path, MAX_ENVELOPE).ok()?).ok()?;
    parse_certificate(&envelope.payload).ok()
}

/// Every file that a check reads beside the certificate, hashed.
fn given(paths: &CheckPaths) -> Vec<Given> {
    let mut places: Vec<(Role, PathBuf)> = ["policy.json", "policy.safetensors"]
        .iter()
        .map(|name| (Role::Policy, paths.policy.join(name)))
        .collect();
    if let Some(folder) = &paths.masks {
        places.push((Role::Masks, folder.join("chain.json")));
        let names = chain_names(folder).unwrap_or_default();
        places.extend(names.iter().map(|name| (Role::Masks, folder.join(name))));
    }
    places.push((Role::States, paths.states.clone()));
    let named = stated_in(&paths.certificate).and_then(|certificate| {
        let record = certificate.witness?;
        Some(paths.certificate.with_file_name(Path::new(&record.name).file_name()?))
    });
    places.extend(paths.witness.clone().or(named).map(|path| (Role::Witness, path)));
    let hashed = places.into_iter().filter_map(|(role, path)| {
        let sha256 = sha256_hex(&read_file(&path, MAX_FILE).ok()?);
        Some(Given { role, path, sha256 })
    });
    hashed.collect()
}

/// Which of the things given are not the certificate's, in words.
fn probably(certificate: &Certificate, given: &[Given]) -> String {
    let stated = |role: Role| -> Vec<&str> {
        let inputs = |names: &[&str]| -> Vec<&str> {
            let found = certificate.inputs.iter().filter(|file| names.contains(&file.role.as_str()));
            found.map(|file| file.sha256.as_str()).collect()
        };
        match role {
            Role::Policy => certificate.subjects.iter().map(|file| file.sha256.as_str()).collect(),
            Role::Masks => inputs(&["chain", "mask"]),
            Role::States => inputs(&["states"]),
            Role::Witness => certificate.witness.iter().map(|record| record.sha256.as_str()).collect(),
        }
    };
    let found = |role: Role| -> Vec<&str> {
        given.iter().filter(|file| file.role == role).map(|file| file.sha256.as_str()).collect()
    };
    let roles = [Role::Policy, Role::Masks, Role::States, Role::Witness];
    let there = roles.into_iter().filter(|role| !found(*role).is_empty());
    let (right, wrong): (Vec<Role>, Vec<Role>) = there.partition(|role| stated(*role) == found(*role));
    if right.is_empty() {
        return "nothing that was given is what the certificate speaks of, so it is probably another certificate"
            .to_owned();
    }
    let other: Vec<&str> = wrong.iter().map(|role| role.other()).collect();
    let fits: Vec<&str> = right.iter().map(|role| role.words()).collect();
    let verb = if right == [Role::Policy] || right == [Role::Witness] { "fits" } else { "fit" };
    let words = format!("{} {verb}: probably {}", listed(&fits), listed(&other));
    let sorted = |mut digests: Vec<String>| {
        digests.sort_unstable();
        digests
    };
    let stated = certificate.inputs.iter().filter(|file| file.role == "mask");
    let masks = given.iter().filter(|file| file.role == Role::Masks && !file.path.ends_with("chain.json"));
    let stated = sorted(stated.map(|file| file.sha256.clone()).collect());
    if wrong == [Role::Masks] && stated == sorted(masks.map(|file| file.sha256.clone()).collect()) {
        return format!("{words}: the same ones under another chain.json");
    }
    words
}

/// `a`, `a and b`, `a, b and c`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A file with this digest near the one that was read or the certificate: another of its folder, or the same name in a folder
/// beside it.
fn nearby(wrong: &Given, stated: &str, certificate: &Path) -> Option<PathBuf> {
    let folder = parent_of(&wrong.path);
    let name = wrong.path.file_name()?;
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().take(MAX_NAMES).map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let beside = entries(folder).into_iter().filter(|path| path.extension() == wrong.path.extension());
    let above = if folder == Path::new(".") { folder.join("..") } else { parent_of(folder).to_owned() };
    let folders = [folder, &above, certificate].into_iter().flat_map(entries);
    let elsewhere = folders.map(|folder| folder.join(name)).chain([certificate.join(name)]);
    let same = |path: &PathBuf| {
        let small =
            std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= MAX_CANDIDATE);
        small && read_file(path, MAX_FILE).is_ok_and(|bytes| sha256_hex(&bytes) == stated)
    };
    beside.chain(elsewhere).find(same).map(|path| path.strip_prefix("./").map(Path::to_owned).unwrap_or(path))
}
