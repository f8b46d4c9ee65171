//! One function a target. Each answers with a word for what happened; a panic is a finding.

use std::cell::RefCell;
use std::fmt::Debug;
use std::path::Path;

use secateur::bundle::{Parts, pack};
use secateur::certify::base64::encode;
use secateur::certify::emit::emit_envelope;
use secateur::certify::json::canonical;
use secateur::certify::keys::{Key, public_pem};
use secateur::import::{HeadKind, ImportOptions, import_accounted, read_arrays};
use secateur::policy::ActivationSpec;
use secateur::property::vnnlib::parse_property_text;
use secateur_checker::bundle::{Bundle, header};
use secateur_checker::load::{CheckPaths, check_paths};
use secateur_checker::model::Units;
use secateur_checker::reader::certificate::parse_certificate;
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::dsse::{PAYLOAD_TYPE, parse_envelope};
use secateur_checker::reader::json::{Numbers, parse};
use secateur_checker::reader::mask::{parse_chain_manifest, parse_mask};
use secateur_checker::reader::npy::parse_states;
use secateur_checker::reader::pem::PublicKey;
use secateur_checker::reader::policy::{PolicyFiles, parse_policy};
use secateur_checker::reader::property::{parse_proof, parse_property};
use secateur_checker::reader::safetensors::Safetensors;
use secateur_checker::reader::trust::parse_trust;
use secateur_checker::reader::verdict::parse_verdict;
use secateur_checker::reader::{base64, digest};

use crate::seeds;

/// A reader under test.
pub struct Target {
    pub name: &'static str,
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub run: fn(&[u8]) -> String,
}

impl Target {
    /// Shares of the time; what reads through many files or recomputes bounds gets more.
    pub fn shares(&self) -> u32 {
        if ["import", "check", "check-witness"].contains(&self.name) { 4 } else { 1 }
    }
}

/// Every target.
pub const TARGETS: [Target; 19] = [
    Target { name: "json", seeds: || seeds::ending("certificates/trust", ".json"), run: json },
    Target { name: "base64", seeds: || vec![b"e30=".to_vec(), b"AAECAwQFBgc=".to_vec()], run: base64_text },
    Target { name: "pem", seeds: keys, run: pem },
    Target {
        name: "envelope",
        seeds: || seeds::ending("certificates/accepted", ".cert.dsse.json"),
        run: envelope,
    },
    Target { name: "certificate", seeds: || seeds::payloads(false), run: certificate },
    Target { name: "verdict", seeds: || seeds::payloads(true), run: verdict },
    Target { name: "trust", seeds: || seeds::ending("certificates/trust", ".json"), run: trust },
    Target { name: "policy-manifest", seeds: || vec![seeds::read(MANIFEST)], run: manifest },
    Target { name: "policy-tensors", seeds: || vec![seeds::read(TENSORS)], run: tensors },
    Target { name: "mask", seeds: || seeds::ending(MASKS, ".safetensors"), run: mask },
    Target {
        name: "chain",
        seeds: || vec![seeds::read("certificates/problems/gaussian/masks/chain.json")],
        run: chain,
    },
    Target { name: "states", seeds: || vec![seeds::read(STATES)], run: states },
    Target {
        name: "property",
        seeds: || seeds::ending("certificates/problems/categorical", ".property.json"),
        run: property,
    },
    Target { name: "proof", seeds: || seeds::ending("certificates/accepted", ".proof.json"), run: proof },
    Target { name: "vnnlib", seeds: || seeds::ending("fixtures/properties", ".vnnlib"), run: vnnlib },
    Target { name: "import", seeds: seeds::foreign_files, run: import },
    Target { name: "bundle", seeds: bundles, run: bundle },
    Target { name: "check", seeds: about_gaussian, run: check_payload },
    Target { name: "check-witness", seeds: || vec![seeds::read(WITNESS)], run: check_witness },
];

const MANIFEST: &str = "certificates/problems/gaussian/policy/policy.json";
const TENSORS: &str = "certificates/problems/gaussian/policy/policy.safetensors";
const MASKS: &str = "certificates/problems/gaussian/masks";
const STATES: &str = "certificates/problems/gaussian/states.npy";
const ACCEPTED: &str = "certificates/accepted/gaussian.cert.dsse.json";
const WITNESS: &str = "certificates/accepted/gaussian.witness.safetensors";

/// The names of a refusal, outermost first, without what it read: text and numbers differ from input to input.
fn word<T>(result: Result<T, impl Debug>) -> String {
    let Err(error) = result else { return "accepted".to_owned() };
    let text = format!("{error:?}").replace(r"\\", "").replace("\\\"", "");
    let unquoted: String = text.split('"').step_by(2).collect();
    let words = unquoted.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
        .take(6)
        .collect::<Vec<_>>()
        .join(" ")
}

fn json(bytes: &[u8]) -> String {
    let read = parse(bytes, 1 << 20, Numbers::Integers);
    if let Ok(value) = &read {
        let text = canonical(value);
        assert_eq!(parse(text.as_bytes(), 1 << 22, Numbers::Integers).as_ref(), Ok(value), "{text}");
    }
    word(read)
}

fn base64_text(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return "not text".to_owned() };
    let read = base64::decode(text);
    if let Ok(decoded) = &read {
        assert_eq!(encode(decoded), text);
    }
    word(read)
}

fn keys() -> Vec<Vec<u8>> {
    let pem = |byte| public_pem(&Key::from_seed([byte; 32]).public().expect("a strong key")).into_bytes();
    vec![pem(1), pem(2)]
}

fn pem(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return "not text".to_owned() };
    let read = PublicKey::parse_pem(text);
    if let Ok(key) = &read {
        assert_eq!(PublicKey::parse_pem(&public_pem(key)).as_ref(), Ok(key));
    }
    word(read)
}

fn envelope(bytes: &[u8]) -> String {
    let read = parse_envelope(bytes);
    if let Ok(envelope) = &read {
        assert_eq!(parse_envelope(emit_envelope(envelope).as_bytes()).as_ref(), Ok(envelope));
    }
    word(read)
}

fn certificate(bytes: &[u8]) -> String {
    word(parse_certificate(bytes))
}

fn verdict(bytes: &[u8]) -> String {
    word(parse_verdict(bytes))
}

fn trust(bytes: &[u8]) -> String {
    word(parse_trust(bytes))
}

fn policy() -> (Vec<u8>, Vec<u8>, PolicyFiles) {
    let (manifest, tensors) = (seeds::read(MANIFEST), seeds::read(TENSORS));
    let files = parse_policy(&manifest, &tensors).expect("a policy");
    (manifest, tensors, files)
}

thread_local! {
    static POLICY: (Vec<u8>, Vec<u8>, PolicyFiles) = policy();
    static DESK: RefCell<Desk> = RefCell::new(Desk::new());
}

fn manifest(bytes: &[u8]) -> String {
    POLICY.with(|(_, tensors, _)| word(parse_policy(bytes, tensors)))
}

fn tensors(bytes: &[u8]) -> String {
    if let Ok(file) = Safetensors::parse(bytes) {
        for tensor in file.names().filter_map(|name| file.tensor(name).ok()) {
            let _ = (tensor.dyadics(), tensor.bits());
        }
    }
    POLICY.with(|(manifest, _, _)| {
        let read = parse_policy(manifest, bytes);
        if let Ok(files) = &read {
            assert!(digest::weights_digest(&files.policy.network).starts_with("sha256:"));
        }
        word(read)
    })
}

fn mask(bytes: &[u8]) -> String {
    POLICY.with(|(_, _, files)| word(parse_mask(bytes, files)))
}

fn chain(bytes: &[u8]) -> String {
    word(parse_chain_manifest(bytes))
}

fn states(bytes: &[u8]) -> String {
    word(parse_states(bytes, Units::Raw))
}

fn property(bytes: &[u8]) -> String {
    word(parse_property(bytes))
}

fn proof(bytes: &[u8]) -> String {
    word(parse_proof(bytes).map(|proof| word(proof.trees())))
}

fn vnnlib(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return "not text".to_owned() };
    word(parse_property_text(text))
}

/// What is imported, the checker's reader takes.
fn import(bytes: &[u8]) -> String {
    DESK.with_borrow(|desk| {
        let file = desk.folder.path().join("policy");
        std::fs::write(&file, bytes).expect("written");
        let options = ImportOptions {
            head: Some(HeadKind::Deterministic),
            activation: Some(ActivationSpec::Tanh),
            ..ImportOptions::default()
        };
        let _ = read_arrays(&file);
        let read = import_accounted(&file, &options);
        if let Ok(imported) = &read {
            let (manifest, tensors) = (
                secateur::policy::emit::emit_manifest(&imported.policy),
                secateur::policy::emit::emit_tensors(&imported.policy),
            );
            assert!(parse_policy(&manifest, &tensors).is_ok(), "an import that the checker refuses");
        }
        word(read.map_err(|error| error.problem))
    })
}

/// A small one, and one with masks, states and witness.
fn bundles() -> Vec<Vec<u8>> {
    let root = seeds::root();
    let at = |path: &str| root.join(path);
    let (states, masks) = (at(STATES), at(MASKS));
    let property = at("certificates/problems/categorical/sat.property.json");
    let small = Parts {
        certificate: &at("certificates/accepted/property-sat.cert.dsse.json"),
        policies: &[&at("certificates/problems/categorical/policy")],
        masks: None,
        states: None,
        property: Some(&property),
        witness: None,
    };
    let whole = Parts {
        certificate: &at(ACCEPTED),
        policies: &[&at("certificates/problems/gaussian/policy")],
        masks: Some(&masks),
        states: Some(&states),
        property: None,
        witness: None,
    };
    [small, whole].iter().map(|parts| pack(parts).expect("a bundle")).collect()
}

/// A bundle has one spelling: its members, written again, are the same bytes.
fn bundle(bytes: &[u8]) -> String {
    let read = Bundle::parse(bytes);
    if let Ok(bundle) = &read {
        let mut again = Vec::new();
        for member in bundle.members() {
            again.extend(header(member.name, member.contents.len()).expect("a header"));
            again.extend(member.contents);
            again.resize(again.len().next_multiple_of(512), 0);
        }
        again.resize(again.len() + 1024, 0);
        assert!(again == bytes, "another spelling");
    }
    word(read)
}

/// Where the whole check finds its files.
struct Desk {
    folder: tempfile::TempDir,
    key: Key,
    witness: String,
}

/// Contents of the accepted certificates about the problem `gaussian`, each claim kind among them.
fn about_gaussian() -> Vec<Vec<u8>> {
    let sidecars = seeds::named("certificates/accepted", ".toml");
    let about =
        sidecars.into_iter().filter(|(_, text)| String::from_utf8_lossy(text).contains("\"gaussian\""));
    let paths = about.map(|(name, _)| format!("certificates/accepted/{name}.cert.dsse.json"));
    paths.map(|path| payload_of(&path)).collect()
}

fn payload_of(path: &str) -> Vec<u8> {
    parse_envelope(&seeds::read(path)).expect("an envelope").payload
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let key = Key::from_seed([1; 32]);
        let pem = public_pem(&key.public().expect("a strong key"));
        let trust = secateur::certify::keys::trust_file("fuzz", &pem);
        std::fs::write(folder.path().join("trust.json"), trust).expect("written");
        for (name, bytes) in seeds::named("certificates/accepted", ".witness.safetensors") {
            let path = folder.path().join(format!("{name}.witness.safetensors"));
            std::fs::write(path, bytes).expect("written");
        }
        Self { folder, key, witness: sha256_hex(&seeds::read(WITNESS)) }
    }

    /// The answer to a certificate of these contents, signed; with another witness than the one that it names, if given.
    fn check(&self, payload: &[u8], witness: Option<&Path>) -> String {
        let certificate = self.folder.path().join("c.cert.dsse.json");
        let envelope = self.key.sign(PAYLOAD_TYPE, payload.to_vec());
        std::fs::write(&certificate, emit_envelope(&envelope)).expect("written");
        let problem = seeds::root().join("certificates/problems/gaussian");
        let paths = CheckPaths {
            policy: problem.join("policy"),
            masks: Some(problem.join("masks")),
            states: problem.join("states.npy"),
            trust: Some(self.folder.path().join("trust.json")),
            witness: witness.map(Path::to_owned),
            certificate,
        };
        word(check_paths(&paths, &mut |_, _| {}))
    }
}

fn check_payload(bytes: &[u8]) -> String {
    DESK.with_borrow(|desk| desk.check(bytes, None))
}

/// The certificate names the changed witness by its digest, so that the check goes on to its contents.
fn check_witness(bytes: &[u8]) -> String {
    DESK.with_borrow(|desk| {
        let witness = desk.folder.path().join("w.safetensors");
        std::fs::write(&witness, bytes).expect("written");
        let payload = String::from_utf8(payload_of(ACCEPTED)).expect("UTF-8");
        assert!(payload.contains(&desk.witness), "the certificate names its witness");
        desk.check(payload.replace(&desk.witness, &sha256_hex(bytes)).as_bytes(), Some(&witness))
    })
}
