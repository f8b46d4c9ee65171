//! The two programs as cargo built them, run as a person runs them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What a program printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(command: &mut Command) -> Ran {
    let output = command.output().expect("the program starts");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub fn secateur(folder: &Path) -> Command {
    let mut command =
        Command::new(profile_folder().join(format!("secateur{}", std::env::consts::EXE_SUFFIX)));
    command.current_dir(folder);
    for name in READ_FROM_THE_ENVIRONMENT {
        command.env_remove(name);
    }
    command
}

/// What `secateur` looks up in its environment and behaves otherwise for: a test that wants one sets it, and none passes or
/// fails by where it runs.
const READ_FROM_THE_ENVIRONMENT: [&str; 3] = ["CI", "GITHUB_STEP_SUMMARY", "COLUMNS"];

/// Where cargo put the programs of the profile that this test was built in: tests lie in `deps/` below it.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    let profile = test.parent().and_then(Path::parent).expect("a profile folder");
    profile.to_owned()
}

/// `secateur-check`, built into the same target folder and profile as `secateur`. Cargo builds a package's own programs
/// for its tests, and this one belongs to another package. `SECATEUR_CHECK` names one that is there already: CI builds it
/// with all tests, and with the features that tests alone ask for it would be the trusted crates once more.
pub fn secateur_check(folder: &Path) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        if let Some(built) = std::env::var_os("SECATEUR_CHECK") {
            return built.into();
        }
        let profile = profile_folder();
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        build.args(["build", "--quiet", "--package", "secateur-checker", "--bin", "secateur-check"]);
        build.arg("--target-dir").arg(profile.parent().expect("a target folder"));
        if profile.file_name() == Some(OsStr::new("release")) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo starts").success(), "secateur-check does not build");
        profile.join(format!("secateur-check{}", std::env::consts::EXE_SUFFIX))
    });
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

/// The arguments of a check of the problem in the working folder, the same for both programs.
pub const CHECK: [&str; 8] =
    ["policy", "--masks", "masks", "--states", "states.npy", "--trust", "trust.json", "c.cert.dsse.json"];

/// Both programs on the same files; they must agree on the exit code. Returns what `secateur check` printed.
pub fn check_both(folder: &Path, arguments: &[&str]) -> Ran {
    let long = run(secateur(folder).args(["--quiet", "check"]).args(arguments));
    let short = run(secateur_check(folder).args(arguments));
    assert_eq!(long.code, short.code, "secateur said {long:?}, secateur-check said {short:?}");
    long
}
