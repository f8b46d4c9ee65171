//! The committed corpus of certificates: three small problems, and every way a certificate can be wrong.
//! `tests/corpus/committed.rs` writes it, and holds what is committed against the checker. Fixed seeds and keys.

mod curves;
mod families;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use secateur::certify::emit::{emit_certificate, emit_envelope};
use secateur::certify::keys::public_pem;
use secateur::names::{parse_names, with_names};
use secateur::policy::emit::emit_mask;
use secateur_checker::family::Family;
use secateur_checker::load::{load_masks, load_policy};
use secateur_checker::reader::certificate::{Certificate, FileDigest, WitnessRecord};
use secateur_checker::reader::digest::{mask_digest, sha256_hex};
use secateur_checker::reader::dsse::{Envelope, PAYLOAD_TYPE};
use serde_json::{Value, json};

use secateur_testkit::decimal::nudged;
use secateur_testkit::problem::{Problem, Spec, certify_directory, key, linf, rational};

/// One certificate of the corpus and what must become of it; the sidecar `NAME.toml`.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// What is wrong, or what the certificate shows.
    pub note: String,
    /// Folder under `problems/`.
    pub problem: String,
    /// Trust file under `trust/`.
    pub trust: String,
    /// Exit code.
    pub exit: u8,
    /// What the failure's `Debug` form contains; absent if accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Property that the certificate is about instead of masks and states: `NAME.property.json` beside the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// Problem whose policy is the second network of a property of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
}

struct Writer<'a> {
    root: &'a Path,
    gaussian: Certificate,
    witnessed: Certificate,
}

fn specs() -> [(&'static str, Spec); 5] {
    use secateur::policy::ActivationSpec::{Clip, Elu, Relu, Silu, Tanh};
    let gaussian = Spec { widths: vec![3, 4, 2], activation: Tanh, normaliser: true, ..Spec::small(11) };
    let categorical =
        Spec { widths: vec![2, 3, 3], activation: Relu, gaussian: false, masks: 2, ..Spec::small(12) };
    let clipped = Clip("-1/2".to_owned(), "3/4".to_owned());
    let other = Spec { activation: clipped, ..gaussian.clone() };
    let elu = Spec { activation: Elu("2/3".to_owned()), ..gaussian.clone() };
    let silu = Spec { activation: Silu, ..categorical.clone() };
    [("gaussian", gaussian), ("categorical", categorical), ("other", other), ("elu", elu), ("silu", silu)]
}

/// Writes the whole corpus under `root`.
pub fn write_corpus(root: &Path) {
    for folder in ["problems", "trust", "accepted", "rejected"] {
        fs::create_dir_all(root.join(folder)).expect("folder made");
    }
    for (name, spec) in specs() {
        Problem::write(&root.join("problems").join(name), &spec);
    }
    write_unnested(root);
    write_named(root);
    Problem::write_leads(&root.join("problems/leads"));
    write_trust_files(&root.join("trust"));
    let (gaussian, _) = certify(root, "gaussian", &[Family::Sensitivity, Family::Ibp]);
    let (witnessed, witness) = certify(root, "gaussian", &[Family::NormAbsSpectral, Family::Spectral]);
    fs::write(root.join("rejected/gaussian.witness.safetensors"), witness.expect("a witness"))
        .expect("written");
    let writer = Writer { root, gaussian, witnessed };
    writer.accepted();
    writer.envelopes();
    writer.signatures();
    writer.payloads();
    writer.fields();
    writer.files();
    writer.claims();
    writer.verdicts();
    writer.witnesses();
    writer.families();
    writer.curves();
}

/// The Gaussian problem whose inputs and outputs have names.
fn write_named(root: &Path) {
    let (_, spec) = &specs()[0];
    let problem = Problem::write(&root.join("problems/named"), spec);
    let text = "[inputs]\ngyro = { at = \"0\", unit = \"rad/s\", frames = 2, stride = 2 }\n\
                command = { at = \"1\" }\n[outputs]\n\"left hip pitch\" = { at = \"1\", unit = \"rad\", scale = \"0.25\" }\n";
    let file = problem.policy_dir().join("policy.json");
    let manifest = fs::read(&file).expect("a manifest");
    let names = parse_names(text, 3, 2).expect("names");
    fs::write(file, with_names(&manifest, &names).expect("JSON")).expect("written");
}

/// The Gaussian problem with a last mask that keeps what the one before it pruned.
fn write_unnested(root: &Path) {
    let (_, spec) = &specs()[0];
    let problem = Problem::write(&root.join("problems/unnested"), spec);
    let first = emit_mask(&problem.masks[0]);
    fs::write(problem.masks_dir().join("mask-02.safetensors"), first).expect("mask written");
}

fn certify(root: &Path, problem: &str, families: &[Family]) -> (Certificate, Option<Vec<u8>>) {
    let folder = root.join("problems").join(problem);
    let certified = certify_directory(&folder, families, &linf("1/20"), &key(1)).expect("certified");
    let mut certificate = certified.verified.certificate().clone();
    if let Some(witness) = &mut certificate.witness {
        witness.name = format!("{problem}.witness.safetensors");
    }
    (certificate, certified.witness)
}

fn write_trust_files(folder: &Path) {
    let entry = |name: &str, byte: u8, status: &str| {
        let pem = public_pem(&key(byte).public().expect("a strong key"));
        json!({"name": name, "publicKey": pem, "status": status})
    };
    let file = |name: &str, threshold: &str, verifiers: &str, keys: Value| {
        let text = json!({
            "format": "secateur.trust/1", "threshold": threshold, "verifiers": [verifiers], "keys": keys,
        });
        fs::write(folder.join(name), format!("{text}\n")).expect("trust file written");
    };
    file("one.json", "1", "secateur", json!([entry("first", 1, "active")]));
    file("two.json", "2", "secateur", json!([entry("first", 1, "active"), entry("second", 2, "active")]));
    file(
        "revoked.json",
        "1",
        "secateur",
        json!([entry("first", 1, "revoked"), entry("second", 2, "active")]),
    );
    file("other-verifier.json", "1", "someone-else", json!([entry("first", 1, "active")]));
}

fn sign(payload: Vec<u8>) -> Envelope {
    key(1).sign(PAYLOAD_TYPE, payload)
}

fn sealed(certificate: &Certificate) -> Envelope {
    sign(emit_certificate(certificate).into_bytes())
}

/// Families of one problem's accepted certificate; those of curves add two that are searched.
pub(super) const NINE: [Family; 9] = [
    Family::Sensitivity,
    Family::NormLinf,
    Family::NormL1,
    Family::NormFrobenius,
    Family::NormAbsSpectral,
    Family::Spectral,
    Family::Ibp,
    Family::Crown,
    Family::ChainHull,
];

impl Writer<'_> {
    fn put(&self, folder: &str, name: &str, bytes: &[u8], sidecar: &Sidecar) {
        let folder = self.root.join(folder);
        fs::write(folder.join(format!("{name}.cert.dsse.json")), bytes).expect("certificate written");
        let text = toml::to_string(sidecar).expect("a sidecar");
        fs::write(folder.join(format!("{name}.toml")), text).expect("sidecar written");
    }

    fn reject(&self, name: &str, bytes: impl AsRef<[u8]>, exit: u8, reason: &str, note: &str) {
        self.reject_with(("gaussian", "one.json"), name, bytes, exit, reason, note);
    }

    fn reject_with(
        &self,
        (problem, trust): (&str, &str),
        name: &str,
        bytes: impl AsRef<[u8]>,
        exit: u8,
        reason: &str,
        note: &str,
    ) {
        let (problem, trust) = (problem.to_owned(), trust.to_owned());
        let reason = Some(reason.to_owned());
        self.put(
            "rejected",
            name,
            bytes.as_ref(),
            &Sidecar { note: note.to_owned(), problem, trust, exit, reason, property: None, second: None },
        );
    }

    /// A change of the Gaussian certificate's content, signed again with the trusted key.
    fn changed(&self, name: &str, reason: &str, note: &str, change: impl FnOnce(&mut Certificate)) {
        let mut certificate = self.gaussian.clone();
        change(&mut certificate);
        self.reject(name, emit_envelope(&sealed(&certificate)), 3, reason, note);
    }

    /// A change of the payload as JSON, made canonical and signed again with the trusted key.
    fn edited(&self, name: &str, reason: &str, note: &str, change: impl FnOnce(&mut Value)) {
        let mut value: Value = serde_json::from_str(&emit_certificate(&self.gaussian)).expect("JSON");
        change(&mut value);
        self.reject(name, emit_envelope(&sign(value.to_string().into_bytes())), 2, reason, note);
    }

    /// A change of the payload as text, signed again with the trusted key.
    fn spelled(&self, name: &str, reason: &str, note: &str, change: impl FnOnce(String) -> String) {
        let text = change(emit_certificate(&self.gaussian));
        self.reject(name, emit_envelope(&sign(text.into_bytes())), 2, reason, note);
    }

    fn accepted(&self) {
        let accept = |problem: &str, name: &str, trust: &str, note: &str, envelope: &Envelope| {
            let (note, problem, trust) = (note.to_owned(), problem.to_owned(), trust.to_owned());
            let sidecar =
                Sidecar { note, problem, trust, exit: 0, reason: None, property: None, second: None };
            self.put("accepted", name, emit_envelope(envelope).as_bytes(), &sidecar);
        };
        for problem in ["gaussian", "categorical", "other"] {
            let (certificate, witness) = certify(self.root, problem, &NINE);
            let path = self.root.join(format!("accepted/{problem}.witness.safetensors"));
            fs::write(path, witness.expect("a witness")).expect("witness written");
            accept(problem, problem, "one.json", "nine families", &sealed(&certificate));
        }
        accept("gaussian", "small", "one.json", "two families without a witness", &sealed(&self.gaussian));
        let mut looser = self.gaussian.clone();
        let value = &mut looser.claims[0].values[0];
        *value = nudged(value, 1);
        accept("gaussian", "looser", "one.json", "a claim one unit looser than proved", &sealed(&looser));
        let mut fewer = self.gaussian.clone();
        fewer.claims.truncate(1);
        fewer.verdicts.retain(|v| v.family == "sensitivity");
        accept("gaussian", "one-claim", "one.json", "a single claim", &sealed(&fewer));
        let mut both = sealed(&self.gaussian);
        both.signatures.extend(key(2).sign(PAYLOAD_TYPE, both.payload.clone()).signatures);
        accept("gaussian", "two-signatures", "two.json", "two keys signed, two are asked for", &both);
        let mut stranger = sealed(&self.gaussian);
        stranger.signatures.extend(key(9).sign(PAYLOAD_TYPE, stranger.payload.clone()).signatures);
        accept("gaussian", "stranger", "one.json", "an unknown key signed beside a trusted one", &stranger);
    }

    fn envelopes(&self) {
        let whole = emit_envelope(&sealed(&self.gaussian));
        let value: Value = serde_json::from_str(&whole).expect("JSON");
        let edit = |change: &dyn Fn(&mut Value)| {
            let mut changed = value.clone();
            change(&mut changed);
            changed.to_string()
        };
        let bad =
            |name: &str, text: String, reason: &str, note: &str| self.reject(name, text, 2, reason, note);
        bad("envelope-empty", String::new(), "syntax", "an empty file");
        bad("envelope-half", whole[..whole.len() / 2].to_owned(), "syntax", "half a file");
        bad("envelope-bom", format!("\u{feff}{whole}"), "byte-order-mark", "a byte order mark");
        bad("envelope-deep", "[".repeat(100_000), "too-deep", "a hundred thousand brackets");
        bad("envelope-trailing", format!("{whole}{{}}"), "trailing-data", "two documents");
        let twice = whole.replacen('{', "{\"payloadType\":\"x\",", 1);
        bad("envelope-duplicate-key", twice, "duplicate-key", "payloadType twice");
        let number = edit(&|v| v["payload"] = json!(1.5));
        bad("envelope-number", number, "number-token", "a number where a string belongs");
        let extra = edit(&|v| v["algorithm"] = json!("none"));
        bad("envelope-algorithm", extra, "unknown-key", "the file names an algorithm");
        let other = edit(&|v| v["payloadType"] = json!("text/plain\u{1b}[2J"));
        bad("envelope-payload-type", other, "payload-type", "another payload type, with an escape");
        let none = edit(&|v| v["signatures"] = json!([]));
        bad("envelope-unsigned", none, "no-signatures", "no signature");
        let many = edit(&|v| v["signatures"] = Value::Array(vec![v["signatures"][0].clone(); 17]));
        bad("envelope-17-signatures", many, "too-many-signatures", "more signatures than the cap");
        let long = edit(&|v| v["signatures"][0]["keyid"] = json!("k".repeat(201)));
        bad("envelope-keyid", long, "keyid-too-long", "a keyid longer than the cap");
        let short = edit(&|v| v["signatures"][0]["sig"] = json!("AAAA"));
        bad("envelope-short-signature", short, "signature-length", "a signature of 3 bytes");
        let loose = edit(&|v| v["signatures"][0]["sig"] = json!(format!("{}B==", "A".repeat(85))));
        let reason = "base64-unused-bits";
        bad("envelope-base64-bits", loose, reason, "base64 with unused bits set");
        let spaced = edit(&|v| v["payload"] = json!(format!("{} AAA", v["payload"].as_str().expect("text"))));
        bad("envelope-base64-blank", spaced, "base64-character", "a blank inside base64");
        let unpadded = edit(&|v| v["payload"] = json!("AAAAA"));
        bad("envelope-base64-length", unpadded, "base64-length", "base64 without padding");
        let mut latin = whole.into_bytes();
        latin[10] = 0xE9;
        self.reject("envelope-latin-1", latin, 2, "not-utf8", "not UTF-8");
    }

    fn signatures(&self) {
        let good = sealed(&self.gaussian);
        let bad = |trust: &str, name: &str, envelope: Envelope, reason: &str, note: &str| {
            self.reject_with(("gaussian", trust), name, emit_envelope(&envelope), 3, reason, note);
        };
        let mut flipped = good.clone();
        flipped.signatures[0].sig[0] ^= 1;
        bad("one.json", "signature-bit", flipped, "wrong-signature", "one bit of the signature");
        let mut payload = good.clone();
        let middle = payload.payload.len() / 2;
        payload.payload[middle] ^= 1;
        bad("one.json", "signature-payload-bit", payload, "wrong-signature", "one bit of the payload");
        let mut scalar = good.clone();
        scalar.signatures[0].sig = with_order_added(scalar.signatures[0].sig);
        bad("one.json", "signature-s-plus-l", scalar, "non-canonical-signature", "S + L in place of S");
        let stranger = key(9).sign(PAYLOAD_TYPE, good.payload.clone());
        bad("one.json", "signature-stranger", stranger, "threshold-not-met", "an unknown key");
        let mut posing = key(9).sign(PAYLOAD_TYPE, good.payload.clone());
        posing.signatures[0].keyid.clone_from(&good.signatures[0].keyid);
        bad("one.json", "signature-posing", posing, "wrong-signature", "an unknown key under a known keyid");
        bad("revoked.json", "signature-revoked", good.clone(), "revoked-key", "a revoked key");
        let mut twice = good.clone();
        twice.signatures.push(twice.signatures[0].clone());
        bad(
            "two.json",
            "signature-twice",
            twice,
            "threshold-not-met",
            "one key twice where two are asked for",
        );
        bad(
            "other-verifier.json",
            "verifier",
            good.clone(),
            "verifier-not-allowed",
            "a verifier not allowed",
        );
        let mut typed = good;
        typed.signatures = key(1).sign("text/plain", typed.payload.clone()).signatures;
        bad("one.json", "signature-other-type", typed, "wrong-signature", "signed as another payload type");
    }

    fn payloads(&self) {
        self.spelled("payload-blank", "payload-not-canonical", "a blank between tokens", |t| {
            t.replacen(':', ": ", 1)
        });
        self.spelled("payload-escape", "payload-not-canonical", "a letter spelled as an escape", |t| {
            t.replacen("sensitivity", "\\u0073ensitivity", 1)
        });
        self.spelled("payload-bom", "byte-order-mark", "a byte order mark", |t| format!("\u{feff}{t}"));
        self.spelled("payload-duplicate-key", "duplicate-key", "a key twice", |t| {
            t.replacen("\"seed\":", "\"seed\":\"1\",\"seed\":", 1)
        });
        self.spelled("payload-number", "number-token", "a number as a JSON number", |t| {
            t.replacen("\"mask\":\"0\"", "\"mask\":0", 1)
        });
        self.spelled("payload-float", "number-token", "a claim as a JSON number", |t| {
            let value = self.gaussian.claims[0].values[0].as_str();
            t.replacen(&format!("\"{value}\""), value, 1)
        });
        self.spelled("payload-deep", "too-deep", "nested deeper than the cap", |t| {
            let nested = format!("{}{}", "[".repeat(25), "]".repeat(25));
            t.replacen("\"seed\":\"0\"", &format!("\"seed\":{nested}"), 1)
        });
        self.spelled("payload-empty", "syntax", "an empty payload", |_| String::new());
        self.spelled("payload-surrogate", "lone-surrogate", "half a surrogate pair", |t| {
            t.replacen("\"seed\":\"0\"", "\"seed\":\"\\ud800\"", 1)
        });
    }

    fn fields(&self) {
        self.edited("field-65-subjects", "list-too-long", "more subjects than the cap", |v| {
            v["subject"] = Value::Array(vec![v["subject"][0].clone(); 65]);
        });
        self.edited("field-no-subjects", "list-empty", "no subject", |v| v["subject"] = json!([]));
        self.edited("field-1025-masks", "list-too-long", "more masks than the cap", |v| {
            let record = json!({"digest": "", "name": "", "pruned": "0", "total": "0"});
            v["predicate"]["model"]["masks"] = Value::Array(vec![record; 1025]);
        });
        self.edited("field-no-masks", "list-empty", "no mask", |v| {
            v["predicate"]["model"]["masks"] = json!([]);
        });
        self.edited("field-no-claims", "no-claims", "nothing is claimed", |v| {
            v["predicate"]["claims"] = json!([])
        });
        self.edited("field-version", "schema-version", "a later version", |v| {
            v["predicate"]["schemaVersion"] = json!("2.0.0");
        });
        self.edited(
            "field-version-1.0.0",
            "schema-version",
            "the first version, whose margins may be false",
            |v| {
                v["predicate"]["schemaVersion"] = json!("1.0.0");
            },
        );
        self.edited("field-statement-type", "unknown-word", "another kind of statement", |v| {
            v["_type"] = json!("https://in-toto.io/Statement/v0.1");
        });
        self.edited("field-predicate-type", "unknown-word", "another predicate", |v| {
            v["predicateType"] = json!("https://slsa.dev/provenance/v1");
        });
        self.edited("field-result", "unknown-word", "a result that is no result", |v| {
            v["predicate"]["result"] = json!("unknown");
        });
        self.edited("field-semantics", "unknown-word", "other semantics", |v| {
            v["predicate"]["model"]["semantics"] = json!("float32");
        });
        self.edited("field-missing", "missing-key", "no limits at all", |v| {
            v["predicate"].as_object_mut().expect("an object").remove("limits");
        });
        self.edited("field-unknown", "unknown-key", "an unknown field", |v| {
            v["predicate"]["tolerance"] = json!("0.01");
        });
        self.edited("field-not-a-list", "wrong-type", "an object where a list belongs", |v| {
            v["predicate"]["claims"] = json!({});
        });
        self.radius("field-radius-5000-digits", &"9".repeat(5000), "not-a-number", "a number of 5000 digits");
        self.radius("field-radius-exponent", "1e999999999", "not-a-number", "a number of a billion digits");
        self.radius("field-radius-zero-denominator", "1/0", "not-a-number", "a fraction over 0");
        self.radius(
            "field-radius-spelling",
            "2/40",
            "number-spelling",
            "a fraction that is not in lowest terms",
        );
        self.radius("field-radius-nan", "nan", "not-a-number", "no number");
        self.radius("field-radius-negative", "-1/20", "out-of-range", "a negative radius");
        self.edited("field-count-sign", "out-of-range", "a count with a sign", |v| {
            v["predicate"]["claims"][0]["mask"] = json!("+0");
        });
        self.edited("field-count-overflow", "out-of-range", "a count beyond 64 bits", |v| {
            v["predicate"]["claims"][0]["mask"] = json!("99999999999999999999");
        });
        let mut many: Value = serde_json::from_str(&emit_certificate(&self.gaussian)).expect("JSON");
        many["predicate"]["method"]["states"] = json!("18446744073709551615");
        let many = emit_envelope(&sign(many.to_string().into_bytes()));
        self.reject("field-states", many, 4, "states-stated", "more states than a file can have");
        self.edited("field-digest", "out-of-range", "a digest in capitals", |v| {
            v["subject"][0]["digest"]["sha256"] = json!("A".repeat(64));
        });
    }

    fn radius(&self, name: &str, text: &str, reason: &str, note: &str) {
        self.edited(name, reason, note, |v| v["predicate"]["method"]["perturbation"]["radius"] = json!(text));
    }

    fn files(&self) {
        let good = emit_envelope(&sealed(&self.gaussian));
        let wrong = "wrong-file";
        self.reject_with(("other", "one.json"), "file-policy", &good, 3, wrong, "another policy");
        let wrong = "wrong-file";
        self.reject_with(("unnested", "one.json"), "file-mask", &good, 3, wrong, "another mask");
        let unnested = emit_envelope(&sealed(&self.about_unnested_masks()));
        let place = ("unnested", "one.json");
        self.reject_with(place, "masks-unnested", unnested, 3, "not-nested", "masks that are no chain");
        self.changed("file-states", "wrong-file", "other states", |c| {
            input(c, "states").sha256 = sha256_hex(b"other states");
        });
        self.changed("file-chain", "wrong-file", "another chain.json", |c| {
            input(c, "chain").sha256 = sha256_hex(b"another chain");
        });
        self.changed("file-one-subject", "file-missing", "only one policy file", |c| {
            c.subjects.truncate(1);
        });
        self.changed("file-no-mask", "file-missing", "a mask's file is not listed", |c| {
            let at = c.inputs.iter().rposition(|f| f.role == "mask").expect("a mask");
            c.inputs.remove(at);
        });
        self.changed("file-unexpected", "unexpected-file", "a file of an unknown role", |c| {
            c.inputs.push(FileDigest {
                role: "environment".to_owned(),
                name: "env.toml".to_owned(),
                sha256: sha256_hex(b""),
            });
        });
        self.changed("file-source", "unexpected-file", "a source the policy does not name", |c| {
            c.inputs.push(FileDigest {
                role: "source".to_owned(),
                name: "model.onnx".to_owned(),
                sha256: sha256_hex(b""),
            });
        });
        self.changed("model-weights", "model", "other weights", |c| {
            c.weights_digest = format!("sha256:{}", "0".repeat(64));
        });
        self.changed("model-head", "model", "another head", |c| c.head = "categorical".to_owned());
        self.changed("model-mask-digest", "model", "another mask's digest", |c| {
            c.masks[1].digest = c.masks[0].digest.clone();
        });
        self.changed("model-fewer-masks", "model", "one mask less", |c| {
            c.masks.truncate(2);
        });
        self.changed("model-sparsity", "model", "another sparsity", |c| {
            c.masks[1].pruned += 1;
        });
        self.changed("model-more-states", "model", "more states than there are", |c| {
            c.states += 1;
        });
        self.changed("model-radii", "model", "too few radii", |c| {
            let radii = vec![rational("1/20")];
            c.perturbation.shape = secateur_checker::model::Perturbation::PerCoordinate { radii };
        });
        self.changed("no-states", "no-states", "a vacuous certificate, about no state", |c| c.states = 0);
        self.changed("checker", "wrong-checker", "made for another checker", |c| {
            c.checker.id = "rubber-stamp".to_owned();
        });
    }

    fn about_unnested_masks(&self) -> Certificate {
        let folder = self.root.join("problems/unnested");
        let policy = load_policy(&folder.join("policy")).expect("a policy");
        let masks = load_masks(&folder.join("masks"), &policy.files).expect("masks");
        let mut certificate = self.gaussian.clone();
        let network = &policy.files.policy.network;
        for (record, mask) in certificate.masks.iter_mut().zip(&masks.masks) {
            record.digest = mask_digest(mask, network);
            (record.pruned, record.total) = secateur_checker::check::pruned_count(mask, network);
        }
        let mut files = masks.files.iter();
        for stated in certificate.inputs.iter_mut().filter(|f| f.role != "states") {
            stated.sha256 = sha256_hex(&files.next().expect("a file").1);
        }
        certificate
    }

    fn claims(&self) {
        self.changed("claim-tight", "too-tight", "one unit below what is proved", |c| {
            c.claims[0].values[0] = nudged(&c.claims[0].values[0], -1);
        });
        self.changed("claim-zero", "too-tight", "no deviation at all", |c| {
            c.claims[0].values[0] = "0".to_owned();
        });
        self.changed("claim-negative", "too-tight", "a negative deviation", |c| {
            c.claims[0].values[0] = "-1".to_owned();
        });
        self.changed("claim-epsilon", "too-tight", "the claims of a smaller ball", |c| {
            c.perturbation = linf("51/1000");
        });
        self.changed(
            "claim-family",
            "unknown-family",
            "a family that does not exist, with a terminal escape",
            |c| {
                c.claims[0].family = "\u{1b}]0;verified\u{7}".to_owned();
            },
        );
        self.changed("claim-quantity", "unknown-quantity", "a quantity that does not exist", |c| {
            c.claims[0].quantity = "return".to_owned();
        });
        self.changed("claim-twice", "repeated", "the same claim twice", |c| {
            let first = c.claims[0].clone();
            c.claims.insert(1, first);
        });
        self.changed("claim-mask", "no-mask", "a mask beyond the chain", |c| {
            c.claims[0].mask = 99;
        });
        self.changed("claim-output", "no-output", "an output beyond the last", |c| {
            c.claims[0].output = Some(99);
        });
        self.changed("claim-no-output", "no-output", "no output named", |c| {
            c.claims[0].output = None;
        });
        self.changed("claim-margin", "not-for-this-head", "a same-action margin of a Gaussian policy", |c| {
            let claim = &mut c.claims[0];
            (claim.quantity, claim.output) = ("same-action-margin".to_owned(), None);
        });
        self.changed("claim-length", "length", "a value too many", |c| {
            c.claims[0].values.push("1".to_owned());
        });
        self.changed("claim-no-values", "length", "a claim without a value", |c| {
            c.claims[0].values.clear();
        });
        self.changed("claim-nan", "not-a-number", "a value that is no number", |c| {
            c.claims[0].values[0] = "NaN".to_owned();
        });
        self.changed("claim-spelling", "number-spelling", "a value behind two hundred zeros", |c| {
            c.claims[0].values[0] = format!("{}{}", "0".repeat(200), c.claims[0].values[0]);
        });
        self.changed("claim-5000-digits", "not-a-number", "a value of 5000 digits", |c| {
            c.claims[0].values[0] = "9".repeat(5000);
        });
    }

    fn verdicts(&self) {
        let at = |c: &Certificate| c.verdicts.iter().position(|v| v.family == "ibp").expect("a verdict");
        self.changed("verdict-word", "wrong-verdict", "a theorem that does not exist", |c| {
            let at = at(c);
            c.verdicts[at].verdict = "tightens-by-theorem".to_owned();
        });
        self.changed("verdict-missing", "wrong-verdict", "the last verdict is left out", |c| {
            c.verdicts.pop();
        });
        self.changed("verdict-extra", "wrong-verdict", "the last verdict twice", |c| {
            c.verdicts.extend(c.verdicts.last().cloned());
        });
        self.changed("verdict-counts", "wrong-verdict", "other counts", |c| {
            let at = at(c);
            c.verdicts[at].counts.0 += 1;
        });
        self.changed("verdict-value", "wrong-verdict", "another value before the step", |c| {
            let at = at(c);
            c.verdicts[at].before = Some(rational("7"));
        });
        self.changed("no-assumption", "assumption-missing", "real arithmetic is not said", |c| {
            c.assumptions.retain(|a| !a.starts_with("real-arithmetic"));
        });
        self.changed("no-limit", "limit-missing", "that ibp is not monotone is not said", |c| {
            c.limits.retain(|l| !l.starts_with("pruning"));
        });
        self.changed("limit-1001-more", "too-many-sentences", "more sentences than anybody reads", |c| {
            c.limits.extend((0..1001).map(|n| n.to_string()));
        });
        self.changed("limit-words", "limit-missing", "a limit in other words", |c| {
            c.limits[0].push_str(", usually");
        });
    }

    fn witnesses(&self) {
        let folder = self.root.join("rejected");
        let bytes = fs::read(folder.join("gaussian.witness.safetensors")).expect("the witness");
        let put = |name: &str, exit: u8, reason: &str, note: &str, change: &dyn Fn(&mut WitnessRecord)| {
            let mut certificate = self.witnessed.clone();
            change(certificate.witness.as_mut().expect("a witness record"));
            self.reject(name, emit_envelope(&sealed(&certificate)), exit, reason, note);
        };
        put("witness-digest", 3, "wrong-file", "another witness file", &|w| {
            w.sha256 = sha256_hex(b"another");
        });
        put("witness-size", 3, "model", "another size", &|w| w.size += 1);
        put("witness-absent", 2, "unreadable", "no such witness file", &|w| {
            w.name = "absent.safetensors".to_owned()
        });
        put("witness-path", 2, "unreadable", "a path in place of a file name", &|w| {
            w.name = "../../../../../../etc/passwd".to_owned();
        });
        let other = |name: &str, bytes: &[u8], reason: &str, note: &str| {
            let file = format!("{name}.witness.safetensors");
            fs::write(folder.join(&file), bytes).expect("witness written");
            put(name, 3, reason, note, &|w| {
                (w.name, w.sha256, w.size) = (file.clone(), sha256_hex(bytes), bytes.len());
            });
        };
        let zeroed = zero_first_number(&bytes);
        other("witness-zero", &zeroed, "witness-not-positive", "a vector with an entry that is not above 0");
        other("witness-garbage", b"not a file of tensors", "header-too-large", "no safetensors file");
        let empty = [8u64.to_le_bytes().as_slice(), b"{}      "].concat();
        other("witness-empty", &empty, "no-tensor", "a witness file without a tensor");
        let mut without = self.witnessed.clone();
        without.witness = None;
        let text = emit_envelope(&sealed(&without));
        self.reject("witness-none", text, 3, "no-witness", "a family that needs a witness, and none");
    }
}

fn input<'a>(certificate: &'a mut Certificate, role: &str) -> &'a mut FileDigest {
    certificate.inputs.iter_mut().find(|f| f.role == role).expect("an input")
}

/// The first number of a safetensors file's data, which is `abs-spectral.0.0`, set to 0.
fn zero_first_number(file: &[u8]) -> Vec<u8> {
    let header = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let mut changed = file.to_vec();
    changed[8 + header..16 + header].fill(0);
    changed
}

/// `S + L` in place of `S`: the same signature to a lax verifier. `L = 2^252 + 27742317777372353535851937790883648493`.
fn with_order_added(mut signature: [u8; 64]) -> [u8; 64] {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    signature
}

/// A list of what is in a corpus, for its README.
pub fn listing(root: &Path, folder: &str) -> String {
    let mut text = String::new();
    for name in names(root, folder) {
        let sidecar = sidecar(root, folder, &name);
        let reason = sidecar.reason.map(|r| format!(", `{r}`")).unwrap_or_default();
        writeln!(text, "- `{name}`: {} (exit {}{reason})", sidecar.note, sidecar.exit).expect("written");
    }
    text
}

/// Names of the cases in a folder, in order.
pub fn names(root: &Path, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(folder)).expect("a folder");
    let names = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter_map(|n| n.strip_suffix(".cert.dsse.json").map(str::to_owned)).collect();
    names.sort();
    names
}

pub fn sidecar(root: &Path, folder: &str, name: &str) -> Sidecar {
    let path = root.join(folder).join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
