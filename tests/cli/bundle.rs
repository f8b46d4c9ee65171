//! One file with everything that a check reads but the trust file: `spec/bundle.md`.

use std::path::Path;
use std::process::Command;

use secateur_checker::bundle::{CERTIFICATE, STATES, header};
use secateur_checker::family::Family;
use secateur_testkit::problem::{Problem, Spec, WITNESS, key, write_trust};
use secateur_testkit::programs::{CHECK, Ran, check_both, run, secateur, secateur_check};
use tempfile::TempDir;

const MAKE: [&str; 10] = [
    "--quiet",
    "bundle",
    "policy",
    "c.cert.dsse.json",
    "--masks",
    "masks",
    "--states",
    "states.npy",
    "--out",
    "x.secateur",
];
const ALONE: [&str; 3] = ["x.secateur", "--trust", "trust.json"];

/// A problem, its certificate with a witness, a trust file, and the bundle of it.
fn bundled() -> (TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(1));
    problem.certify_to_disk(&[Family::Sensitivity, Family::NormAbsSpectral, Family::Ibp], &key(1));
    let made = run(secateur(folder.path()).args(MAKE));
    assert_eq!(made.code, 0, "{made:?}");
    (folder, problem)
}

fn read(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("x.secateur")).expect("read")
}

fn put(folder: &Path, bytes: &[u8]) {
    std::fs::write(folder.join("x.secateur"), bytes).expect("written");
}

/// Names and contents.
type Members = Vec<(String, Vec<u8>)>;

/// A tar file of these members, as bundles are spelled.
fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, contents) in members {
        out.extend(header(name, contents.len()).expect("a header"));
        out.extend(contents);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn members(bytes: &[u8]) -> Members {
    let bundle = secateur_checker::bundle::Bundle::parse(bytes).expect("a bundle");
    bundle.members().iter().map(|m| (m.name.to_owned(), m.contents.to_vec())).collect()
}

fn refused(folder: &Path, code: i32, words: &str) {
    let ran = check_both(folder, &ALONE);
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.stderr.contains(words) && !ran.stdout.contains("verified"), "{words:?} is not in {ran:?}");
}

/// What the checker says of a bundle is what it says of the files; the bundle is all that it gets.
#[test]
fn a_bundle_and_a_trust_file_are_enough() {
    let (folder, _) = bundled();
    let bundle = read(folder.path());
    let apart = [run(secateur(folder.path()).args(["-q", "check"]).args(CHECK)), {
        run(secateur_check(folder.path()).args(CHECK))
    }];
    let alone = tempfile::tempdir().expect("temporary folder");
    put(alone.path(), &bundle);
    write_trust(alone.path(), &key(1));
    let together = [run(secateur(alone.path()).args(["-q", "check"]).args(ALONE)), {
        run(secateur_check(alone.path()).args(ALONE))
    }];
    for (one, other) in apart.iter().zip(&together) {
        assert_eq!((one.code, &one.stdout), (0, &other.stdout), "{other:?}");
    }
    assert!(together[1].stdout.contains("signed     by \"tests\""), "{together:?}");
    // Signed by another key.
    write_trust(alone.path(), &key(2));
    refused(alone.path(), 3, "trust");
    let unsigned = check_both(alone.path(), &["x.secateur", "--unsigned"]);
    assert!(unsigned.code == 0 && unsigned.stdout.contains("unsigned"), "{unsigned:?}");
    assert_eq!(check_both(alone.path(), &["x.secateur"]).code, 2, "neither trust nor --unsigned");
}

/// What reads a certificate reads the one in a bundle.
#[test]
fn the_certificate_in_a_bundle_is_shown_and_compared() {
    let (folder, _) = bundled();
    let show = |file: &str| run(secateur(folder.path()).args(["show", "--format", "snapshot", file]));
    let (bundle, certificate) = (show("x.secateur"), show("c.cert.dsse.json"));
    assert_eq!((bundle.code, &bundle.stdout), (0, &certificate.stdout), "{bundle:?}");
    let same = run(secateur(folder.path()).args(["diff", "x.secateur", "c.cert.dsse.json"]));
    assert!(same.code == 0 && same.stdout.contains("worse 0,"), "{same:?}");
    put(folder.path(), &[CERTIFICATE.as_bytes(), b"and no bundle"].concat());
    assert_eq!(show("x.secateur").code, 2);
}

/// No time, no owner, no order of a folder takes part.
#[test]
fn the_same_files_give_the_same_bytes() {
    let ((one, _), (other, _)) = (bundled(), bundled());
    assert!(read(one.path()) == read(other.path()));
    let names: Vec<String> = members(&read(one.path())).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "certificate.cert.dsse.json",
        "certificate.witness.safetensors",
        "masks/chain.json",
        "masks/mask-00.safetensors",
        "masks/mask-01.safetensors",
        "masks/mask-02.safetensors",
        "policy/policy.json",
        "policy/policy.safetensors",
        "states.npy",
    ];
    assert_eq!(names, expected);
}

/// GNU tar lists and unpacks a bundle, and packs its files into the same bytes.
#[test]
fn gnu_tar_reads_and_writes_the_same_bytes() {
    let version = Command::new("tar").arg("--version").output();
    if !version.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("GNU tar")) {
        println!("skipped: GNU tar is not installed");
        return;
    }
    let (folder, _) = bundled();
    let bytes = read(folder.path());
    let tar = |arguments: &[&str]| run(Command::new("tar").current_dir(folder.path()).args(arguments));
    let listed = tar(&["--list", "--file", "x.secateur"]);
    let names: Vec<String> = members(&bytes).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        (listed.code, listed.stdout.lines().collect::<Vec<_>>()),
        (0, names.iter().map(String::as_str).collect())
    );
    std::fs::create_dir(folder.path().join("by-tar")).expect("made");
    assert_eq!(tar(&["--extract", "--file", "x.secateur", "--directory", "by-tar"]).code, 0);
    for (name, contents) in members(&bytes) {
        assert!(std::fs::read(folder.path().join("by-tar").join(&name)).expect("read") == contents, "{name}");
    }
    let spelling = ["--format=ustar", "-b", "1", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"];
    let start = ["--mode=0644", "--create", "--file", "again.tar", "--directory", "by-tar"];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(tar(&[&spelling[..], &start, &names].concat()).code, 0);
    assert!(std::fs::read(folder.path().join("again.tar")).expect("read") == bytes);
}

#[test]
fn an_opened_bundle_is_the_files_again() {
    let (folder, problem) = bundled();
    let root = folder.path();
    let opened = run(secateur(root).args(["-q", "bundle", "--open", "x.secateur", "--to", "opened"]));
    assert_eq!(opened.code, 0, "{opened:?}");
    assert!(opened.stdout.contains("nothing was checked"), "{opened:?}");
    // The witness has the name that the certificate says again.
    let same = [
        ("policy/policy.json", "policy/policy.json"),
        ("policy/policy.safetensors", "policy/policy.safetensors"),
        ("masks/mask-02.safetensors", "masks/mask-02.safetensors"),
        (STATES, "states.npy"),
        (CERTIFICATE, "c.cert.dsse.json"),
        (WITNESS, WITNESS),
    ];
    for (name, original) in same {
        let found = std::fs::read(root.join("opened").join(name)).expect(name);
        assert!(found == std::fs::read(root.join(original)).expect("read"), "{name}");
    }
    // The command that it prints checks them.
    let command = opened.stdout.lines().last().expect("a line").trim().replace("TRUST.json", "trust.json");
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let checked = check_both(&problem.root, &arguments);
    assert_eq!(checked.code, 0, "{command}: {checked:?}");
    let again = run(secateur(root).args(["-q", "bundle", "--open", "x.secateur", "--to", "opened"]));
    assert!(again.code == 2 && again.stderr.contains("--force"), "{again:?}");
}

/// A bundle is made of what a check accepts only: nobody receives one of another policy.
#[test]
fn files_of_another_policy_make_no_bundle() {
    let (folder, _) = bundled();
    let root = folder.path();
    std::fs::remove_file(root.join("x.secateur")).expect("removed");
    Problem::write(&root.join("other"), &Spec::small(2));
    let mut arguments = MAKE;
    arguments[2] = "other/policy";
    let ran = run(secateur(root).args(arguments));
    assert!(ran.code == 3 && ran.stderr.contains("rejected"), "{ran:?}");
    assert!(!root.join("x.secateur").exists());
    let without = run(secateur(root).args(&MAKE[..4]).args(["--out", "x.secateur"]));
    assert!(without.code == 2 && without.stderr.contains("--states"), "{without:?}");
}

/// Each byte counts: a changed member is rejected evidence, a file that is no bundle is malformed.
#[test]
fn spoilt_bundles_are_refused() {
    let (folder, _) = bundled();
    let root = folder.path();
    let good = read(root);
    let change = |what: &dyn Fn(&mut Members)| {
        let mut all = members(&good);
        what(&mut all);
        put(root, &tar(&all));
    };
    change(&|_| {});
    assert_eq!(check_both(root, &ALONE).code, 0, "what the test writes is what the program writes");
    change(&|all| {
        let policy = all.iter_mut().find(|(name, _)| name == "policy/policy.safetensors").expect("there");
        let last = policy.1.len() - 5;
        policy.1[last] ^= 1;
    });
    refused(root, 3, "policy.safetensors");
    change(&|all| all.retain(|(name, _)| name != STATES));
    refused(root, 2, "states.npy\": there is no such member");
    change(&|all| all.retain(|(name, _)| name != "masks/mask-01.safetensors"));
    refused(root, 2, "mask-01.safetensors\": there is no such member");
    change(&|all| all.insert(4, ("masks/mask-00.safetensors.old".to_owned(), vec![1])));
    refused(root, 2, "the check has no use for the member \"masks/mask-00.safetensors.old\"");
    change(&|all| all.push(("trust.json".to_owned(), std::fs::read(root.join("trust.json")).expect("read"))));
    refused(root, 2, "may not hold a file called \"trust.json\"");
    change(&|all| all.insert(0, ("../c".to_owned(), vec![1])));
    refused(root, 2, "may not hold a file called \"../c\"");
    change(&|all| all.insert(1, all[0].clone()));
    refused(root, 2, "names ascend, each once");
    put(root, &[good.clone(), vec![0; 512]].concat());
    refused(root, 2, "nothing after them");
    put(root, &good[..good.len() - 512]);
    refused(root, 2, "nothing after them");
    put(root, &good[..1000]);
    refused(root, 2, "the bundle ends within the member");
    put(root, b"{}");
    refused(root, 2, "the bundle ends within the member");
    // Nothing is taken out of what is no bundle.
    let opened = run(secateur(root).args(["-q", "bundle", "--open", "x.secateur", "--to", "opened"]));
    assert!(opened.code == 2 && !root.join("opened").exists(), "{opened:?}");
}

/// Links and what other tar formats add, written by a real tar.
#[cfg(unix)]
#[test]
fn what_a_real_tar_adds_is_refused() {
    let (folder, _) = bundled();
    let root = folder.path();
    std::fs::create_dir(root.join("t")).expect("made");
    std::os::unix::fs::symlink("/etc/passwd", root.join("t/states.npy")).expect("linked");
    let pack = |arguments: &[&str]| -> bool {
        let ran = Command::new("tar").current_dir(root.join("t")).args(arguments).output();
        ran.is_ok_and(|out| out.status.success())
    };
    if !pack(&["--format=ustar", "-cf", "../x.secateur", "states.npy"]) {
        println!("skipped: tar is not installed");
        return;
    }
    refused(root, 2, "\"states.npy\" of the bundle is no regular file");
    std::fs::remove_file(root.join("t/states.npy")).expect("removed");
    std::fs::write(root.join("t/states.npy"), b"x").expect("written");
    std::fs::hard_link(root.join("t/states.npy"), root.join("t/property.json")).expect("linked");
    assert!(pack(&["--format=ustar", "-cf", "../x.secateur", "property.json", "states.npy"]));
    refused(root, 2, "of the member \"property.json\" is not spelled");
    assert!(pack(&["--format=pax", "-cf", "../x.secateur", "states.npy"]));
    refused(root, 2, "regular file");
    assert!(pack(&["--format=ustar", "-cf", "../x.secateur", "."]));
    refused(root, 2, "regular file");
    assert!(pack(&["--format=gnu", "-cf", "../x.secateur", "states.npy"]));
    refused(root, 2, "of the member \"states.npy\" is not spelled");
}

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates")
}

/// The certificates about properties of the corpus, with and without a proof.
#[test]
fn property_certificates_are_bundled() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (name, property, files) in [("property-sat", "sat", 4), ("property-unsat", "unsat", 5)] {
        let (root, out) = (corpus(), folder.path().join(format!("{property}.secateur")));
        let out = out.to_str().expect("UTF-8");
        let certificate = format!("accepted/{name}.cert.dsse.json");
        let property_file = format!("problems/categorical/{property}.property.json");
        let start = ["-q", "bundle", "problems/categorical/policy", &certificate];
        let made = run(secateur(&root).args(start).args(["--property", &property_file, "--out", out]));
        assert!(made.code == 0 && made.stdout.contains(&format!("{files} files")), "{made:?}");
        let checked = check_both(&root, &[out, "--trust", "trust/one.json"]);
        assert!(
            checked.code == 0 && checked.stdout.starts_with(&format!("{property}\nverified")),
            "{checked:?}"
        );
        let short = run(secateur_check(&root).args([out, "--trust", "trust/one.json"]));
        assert!(short.stdout.starts_with(&format!("verified: {property}: ")), "{short:?}");
    }
}

#[test]
fn a_bundle_is_given_alone() {
    let (folder, _) = bundled();
    let with =
        |more: &[&str]| -> Ran { run(secateur(folder.path()).args(["-q", "check"]).args(ALONE).args(more)) };
    let masks = with(&["--masks", "masks"]);
    assert!(masks.code == 2 && masks.stderr.contains("bundle"), "{masks:?}");
    assert_eq!(with(&["--epsilon", "0.05"]).code, 0);
    assert_eq!(with(&["--epsilon", "0.06"]).code, 1, "a demand holds for bundles too");
    assert_eq!(run(secateur_check(folder.path()).args(ALONE).args(["--masks", "masks"])).code, 2);
}

/// `certify --bundle` writes what sigstore's own programs accept. They are looked for where `NODE_PATH` or
/// `SECATEUR_NODE_MODULES` says.
#[test]
fn sigstore_programs_accept_the_bundle_of_an_envelope() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    Problem::write(root, &Spec::small(1));
    assert_eq!(run(secateur(root).args(["keygen", "--out", "keys"])).code, 0);
    let certify = "-q certify policy --masks masks --states states.npy --epsilon 0.05 --family sensitivity \
                   --no-counterexample --key keys/secateur.pem --out c.cert.dsse.json --bundle c.sigstore.json";
    let made = run(secateur(root).args(certify.split_whitespace()));
    assert!(made.code == 0 && made.stdout.contains("c.sigstore.json"), "{made:?}");
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.join("c.sigstore.json")).expect("read")).expect("JSON");
    let envelope: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.join("c.cert.dsse.json")).expect("read")).expect("JSON");
    assert_eq!(document["dsseEnvelope"], envelope);
    assert_eq!(document["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
    assert_eq!(document["verificationMaterial"]["publicKey"]["hint"], envelope["signatures"][0]["keyid"]);
    let again = run(secateur(root).args(certify.split_whitespace()));
    assert!(again.code == 2 && again.stderr.contains("--force"), "{again:?}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/sigstore_bundle.js");
    let mut node = Command::new("node");
    if let Some(modules) = std::env::var_os("SECATEUR_NODE_MODULES") {
        node.env("NODE_PATH", modules);
    }
    let said = node.arg(script).args(["keys/secateur.pub.pem", "c.sigstore.json"]).current_dir(root).output();
    match said {
        Err(error) => println!("skipped: node: {error}"),
        Ok(out) if out.status.code() == Some(77) => println!("{}", String::from_utf8_lossy(&out.stdout)),
        Ok(out) => assert!(out.status.success(), "{out:?}"),
    }
}
