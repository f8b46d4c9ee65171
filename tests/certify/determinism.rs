//! The same bytes of certificate and witness at any thread count, in any folder, time zone and language.
//! `.ci/run` compares debug with release builds and with `-C target-cpu=native`.

use std::path::Path;

use secateur_testkit::problem::{Problem, Spec, key};
use secateur_testkit::programs::{run, secateur};

type Files = (Vec<u8>, Vec<u8>);

fn certify(folder: &Path, threads: &str, environment: &[(&str, &str)]) -> Files {
    Problem::write(folder, &Spec { states: 9, ..Spec::small(4) });
    std::fs::write(folder.join("k.pem"), key(1).private_pem()).expect("key written");
    let certify = ["--quiet", "--threads", threads, "certify", "policy", "--masks", "masks"];
    let with = [
        "--states",
        "states.npy",
        "--epsilon",
        "0.05",
        "--key",
        "k.pem",
        "--out",
        "c.cert.dsse.json",
        "--force",
    ];
    let ran = run(secateur(folder).args(certify).args(with).envs(environment.iter().copied()));
    assert_eq!(ran.code, 0, "{ran:?}");
    let read = |name: &str| std::fs::read(folder.join(name)).expect("written by the program");
    (read("c.cert.dsse.json"), read("c.witness.safetensors"))
}

#[test]
fn the_same_bytes_everywhere() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let first = certify(folder.path(), "1", &[]);
    assert!(first == certify(folder.path(), "1", &[]), "a second run");
    for threads in ["2", "8"] {
        assert!(first == certify(folder.path(), threads, &[]), "{threads} threads");
    }
    let elsewhere = folder.path().join("a folder/with another name");
    std::fs::create_dir_all(&elsewhere).expect("folder made");
    assert!(first == certify(&elsewhere, "2", &[]), "another folder");
    let environment = [("TZ", "Asia/Kathmandu"), ("LANG", "tr_TR.UTF-8"), ("LC_ALL", "de_DE.UTF-8")];
    assert!(first == certify(folder.path(), "2", &environment), "another time zone and language");
}

/// Nothing of the machine is in the certificate: no path, user, host, clock or thread count.
#[test]
fn nothing_of_the_machine_is_inside() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let environment = [("USER", "somebody-unusual"), ("HOSTNAME", "an-unusual-host")];
    certify(folder.path(), "2", &environment);
    let shown = Problem::write(folder.path(), &Spec { states: 9, ..Spec::small(4) }).read_envelope();
    let payload = String::from_utf8(shown.payload).expect("UTF-8");
    let folder_name = folder.path().to_string_lossy().into_owned();
    for word in ["somebody-unusual", "an-unusual-host", folder_name.as_str(), "thread", "duration"] {
        assert!(!payload.contains(word), "{word} is in the certificate");
    }
}
