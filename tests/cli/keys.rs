//! `secateur keys`: what a trust file says, and its next state.

use std::path::Path;
use std::process::Command;

use secateur_checker::family::Family;
use secateur_testkit::problem::{Problem, Spec, key};
use secateur_testkit::programs::{CHECK, Ran, check_both, run, secateur};
use tempfile::TempDir;

use super::snapshot::{HOSTILE, assert_harmless};

fn keys(folder: &Path, arguments: &[&str]) -> Ran {
    run(secateur(folder).arg("keys").args(arguments))
}

fn good(folder: &Path, arguments: &[&str]) -> String {
    let ran = keys(folder, arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("by another way"), "{ran:?}");
    ran.stdout
}

fn refused(folder: &Path, arguments: &[&str], words: &str) {
    let ran = keys(folder, arguments);
    assert!(ran.code == 2 && ran.stderr.contains(words), "{words:?} is not in {ran:?}");
}

/// A problem whose certificate is signed by key 1, and public keys 1 and 2.
fn bench() -> TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(1));
    problem.certify_to_disk(&[Family::Sensitivity], &key(1));
    std::fs::remove_file(folder.path().join("trust.json")).expect("removed");
    for seed in [1, 2] {
        let name = format!("{seed}.pub.pem");
        let pem = secateur::certify::keys::public_pem(&key(seed).public().expect("a strong key"));
        std::fs::write(folder.path().join(name), pem).expect("written");
    }
    folder
}

/// From two public keys to a trust file that accepts, then not, then not even a file that accepts anything.
#[test]
fn a_trust_file_through_its_life() {
    let folder = bench();
    let root = folder.path();
    let check = |code: i32, words: &str| {
        let ran = check_both(root, &CHECK);
        assert!(ran.code == code && format!("{ran:?}").contains(words), "{words:?} is not in {ran:?}");
    };
    let fingerprint = |seed| key(seed).public().expect("a strong key").keyid();
    let added = good(root, &["add", "trust.json", "2.pub.pem", "--name", "other"]);
    assert!(added.contains(&fingerprint(2)) && added.contains("\"other\"\n         active"), "{added}");
    check(3, "trust");
    good(root, &["add", "trust.json", "1.pub.pem", "--name", "release"]);
    check(0, "verified");
    refused(root, &["add", "trust.json", "1.pub.pem", "--name", "again"], "already, as \"release\", active");
    refused(root, &["revoke", "trust.json", "nobody"], "\"nobody\"");
    let revoked = good(root, &["revoke", "trust.json", "release", "--reason", "laptop lost"]);
    assert!(
        revoked.contains("revoked, because of \"laptop lost\": a certificate that it signed is refused"),
        "{revoked}"
    );
    check(3, "laptop lost");
    refused(root, &["revoke", "trust.json", "release"], "revoked already");
    // By fingerprint, and the last one: nothing is accepted from then on, and the next key can be added.
    let last = good(root, &["revoke", "trust.json", &fingerprint(2)]);
    assert!(last.contains("every check with this file is refused"), "{last}");
    check(2, "active");
    assert!(good(root, &["show", "trust.json"]).contains("asks for 1 of 0 active keys"));
    refused(root, &["add", "trust.json", "1.pub.pem", "--name", "again"], "already, as \"release\", revoked");
}

/// An expired key does not count and spoils nothing; a revoked one refuses what others signed too.
#[test]
fn revoked_and_expired_are_told_apart() {
    let folder = bench();
    let root = folder.path();
    good(root, &["add", "trust.json", "1.pub.pem", "--name", "release"]);
    good(root, &["add", "trust.json", "2.pub.pem", "--name", "other"]);
    let expired = good(root, &["revoke", "trust.json", "release", "--expired", "--reason", "replaced"]);
    assert!(
        expired.contains("expired, because of \"replaced\": its signatures no longer count"),
        "{expired}"
    );
    let ran = check_both(root, &CHECK);
    assert!(ran.code == 3 && ran.stderr.contains("expired keys: \"release\""), "{ran:?}");
    let retired = good(root, &["revoke", "trust.json", "other", "--expired"]);
    assert!(retired.contains("asks for 1 of 0 active keys"), "{retired}");
    let ran = check_both(root, &CHECK);
    assert!(ran.code == 2 && ran.stderr.contains("expired: \"release\", \"other\""), "{ran:?}");
    good(root, &["revoke", "trust.json", "release"]);
    let ran = check_both(root, &CHECK);
    assert!(ran.code == 2 && ran.stderr.contains("revoked: \"release\"; expired: \"other\""), "{ran:?}");
}

/// Both fingerprints are those of the tools that people have.
#[test]
fn fingerprints_are_those_of_other_tools() {
    let folder = bench();
    good(folder.path(), &["add", "trust.json", "1.pub.pem", "--name", "a"]);
    let shown = good(folder.path(), &["show", "trust.json"]);
    let single = good(folder.path(), &["show", "1.pub.pem"]);
    let der = Command::new("openssl")
        .args(["pkey", "-pubin", "-outform", "der", "-in", "1.pub.pem"])
        .current_dir(folder.path())
        .output();
    match der {
        Ok(out) if out.status.success() => {
            let digest = secateur_checker::reader::digest::sha256_hex(&out.stdout);
            assert!(shown.contains(&digest) && single.contains(&digest), "{shown}");
        }
        other => println!("skipped: openssl: {other:?}"),
    }
    let ran = run(secateur(folder.path()).args(["--format", "json", "keys", "show", "trust.json"]));
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let keyid = key(1).public().expect("a strong key").keyid();
    assert_eq!((&document["keys"][0]["keyid"], &document["usable"]), (&keyid.into(), &true.into()));
}

/// What is revoked in one of two files is revoked in both together; nothing is written over.
#[test]
fn merging_keeps_what_is_revoked() {
    let folder = bench();
    let root = folder.path();
    good(root, &["add", "one.json", "1.pub.pem", "--name", "a"]);
    good(root, &["add", "two.json", "2.pub.pem", "--name", "b"]);
    good(root, &["add", "two.json", "1.pub.pem", "--name", "first"]);
    good(root, &["revoke", "two.json", "first"]);
    let merged = good(root, &["merge", "one.json", "two.json", "--out", "both.json"]);
    assert!(
        merged.contains("asks for 1 of 1 active keys") && merged.contains("\"a\"\n         revoked"),
        "{merged}"
    );
    refused(root, &["merge", "one.json", "two.json", "--out", "both.json"], "--force");
    refused(root, &["merge", "one.json", "two.json", "--out", "one.json", "--force"], "input");
    let text = std::fs::read_to_string(root.join("one.json")).expect("read");
    std::fs::write(root.join("two.json"), text.replace("\"threshold\":\"1\"", "\"threshold\":\"9\""))
        .expect("written");
    refused(root, &["merge", "one.json", "two.json", "--out", "other.json"], "--threshold");
}

/// A file that is refused is left as it is.
#[test]
fn what_is_no_trust_file_is_not_touched() {
    let folder = bench();
    let root = folder.path();
    std::fs::write(root.join("trust.json"), "{}").expect("written");
    for arguments in [
        &["show", "trust.json"][..],
        &["add", "trust.json", "1.pub.pem", "--name", "a"],
        &["revoke", "trust.json", "a"],
        &["merge", "trust.json", "trust.json", "--out", "x.json"],
    ] {
        refused(root, arguments, "trust.json");
    }
    assert_eq!(std::fs::read(root.join("trust.json")).expect("read"), b"{}");
    std::fs::write(root.join("k.pem"), key(1).private_pem()).expect("written");
    refused(root, &["add", "new.json", "k.pem", "--name", "a"], "private key");
    refused(root, &["add", "new.json", "1.pub.pem", "--name", ""], "1 to 256 bytes");
    assert!(!root.join("new.json").exists() && !root.join("x.json").exists());
}

#[test]
fn names_in_a_trust_file_do_no_harm() {
    let folder = bench();
    good(folder.path(), &["add", "trust.json", "1.pub.pem", "--name", HOSTILE]);
    let shown = good(folder.path(), &["revoke", "trust.json", HOSTILE, "--reason", HOSTILE]);
    assert_harmless(&shown);
    let again = keys(folder.path(), &["revoke", "trust.json", HOSTILE]);
    assert!(again.code == 2 && !again.stderr.contains(['\u{1b}', '\u{202e}', '\r']), "{again:?}");
}
