//! What a gate found: one test a rule and policy, and a finding for each thing that is not as it should be. Untrusted; words in it
//! that come from files are escaped to printable ASCII already. `spec/gate.md#findings`.

use std::path::PathBuf;

use secateur_checker::number::outward;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::names::OutputName;

use super::bind::BoundFile;
use super::date::Day;

/// What a finding says. Its name in kebab case is its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An upper bound is above the rule's limit.
    AboveLimit,
    /// A margin is below the rule's limit.
    BelowLimit,
    /// Worse than the baseline: the new policy reaches more than the old one could.
    ProvedWorse,
    /// The bound is worse than the baseline's; whether the policy is, is not known.
    BoundRose,
    /// The baseline speaks of something else.
    NotComparable,
    /// There is no baseline.
    NoBaseline,
    /// A step of the chain is proved to have hurt.
    ProvedHarm,
    /// The certificate has no bounds from below, so nothing about harm was shown.
    NoHarmEvidence,
    /// A family's bounds rose at a step of the chain.
    Loosened,
    /// The certificate does not claim what the rule reads.
    NotClaimed,
    /// The certificate speaks of another adversary.
    OtherAdversary,
    /// The certificate speaks of other states.
    OtherStates,
    /// A required key has not signed.
    SignerMissing,
    /// The policy was imported from another file.
    OtherSource,
    /// The certificate is for an older checker.
    CheckerTooOld,
    /// A mask prunes more than the rule allows.
    TooSparse,
    /// The rule speaks of a mask that the chain does not have.
    NoMask,
    /// The certificate is not accepted.
    Rejected,
    /// A file cannot be read.
    Unreadable,
    /// A limit was reached.
    LimitReached,
    /// A deployed file is not the certified policy.
    BindDiffers,
    /// A deployed file cannot be imported.
    BindUnreadable,
    /// An exception is past its day.
    ExceptionExpired,
    /// An exception lasts longer than it may.
    ExceptionTooLong,
    /// An exception excuses nothing.
    ExceptionUnused,
}

/// Which kind of failure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The rule does not hold.
    Violation,
    /// There is nothing to decide on.
    Evidence,
}

impl Kind {
    /// Code, exit code as `spec/README.md` lists them, and title.
    fn row(self) -> (&'static str, u8, &'static str) {
        match self {
            Self::AboveLimit => ("above-limit", 1, "A certified bound is above its limit"),
            Self::BelowLimit => ("below-limit", 1, "A certified margin is below its limit"),
            Self::ProvedWorse => ("proved-worse", 1, "The policy is proved worse than its baseline"),
            Self::BoundRose => ("bound-rose", 1, "A certified bound is worse than its baseline"),
            Self::NotComparable => ("not-comparable", 1, "Baseline and certificate are not comparable"),
            Self::NoBaseline => ("no-baseline", 2, "There is no baseline"),
            Self::ProvedHarm => ("proved-harm", 1, "A pruning step is proved to have hurt"),
            Self::NoHarmEvidence => ("no-harm-evidence", 1, "Harm was not looked for"),
            Self::Loosened => ("loosened", 1, "A bound rose at a pruning step"),
            Self::NotClaimed => ("not-claimed", 1, "The certificate does not claim what a rule reads"),
            Self::OtherAdversary => ("other-adversary", 1, "The certificate is about another adversary"),
            Self::OtherStates => ("other-states", 1, "The certificate is about other states"),
            Self::SignerMissing => ("signer-missing", 3, "A required signature is missing"),
            Self::OtherSource => ("other-source", 1, "The policy was imported from another file"),
            Self::CheckerTooOld => ("checker-too-old", 1, "The certificate is for an older checker"),
            Self::TooSparse => ("too-sparse", 1, "A mask prunes too much"),
            Self::NoMask => ("no-mask", 1, "A rule speaks of a mask that is not there"),
            Self::Rejected => ("rejected", 3, "The certificate is rejected"),
            Self::Unreadable => ("unreadable", 2, "A file cannot be read"),
            Self::LimitReached => ("limit-reached", 4, "A limit was reached"),
            Self::BindDiffers => ("bind-differs", 3, "A deployed file is not the certified policy"),
            Self::BindUnreadable => ("bind-unreadable", 2, "A deployed file cannot be imported"),
            Self::ExceptionExpired => ("exception-expired", 1, "An exception has expired"),
            Self::ExceptionTooLong => ("exception-too-long", 1, "An exception lasts too long"),
            Self::ExceptionUnused => ("exception-unused", 1, "An exception excuses nothing"),
        }
    }

    /// The stable code.
    pub fn code(self) -> &'static str {
        self.row().0
    }

    /// The process's exit code for it.
    pub fn exit_code(self) -> u8 {
        self.row().1
    }

    /// What is wrong, for readers of other tools.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// Every kind.
    pub const ALL: [Self; 25] = [
        Self::AboveLimit,
        Self::BelowLimit,
        Self::ProvedWorse,
        Self::BoundRose,
        Self::NotComparable,
        Self::NoBaseline,
        Self::ProvedHarm,
        Self::NoHarmEvidence,
        Self::Loosened,
        Self::NotClaimed,
        Self::OtherAdversary,
        Self::OtherStates,
        Self::SignerMissing,
        Self::OtherSource,
        Self::CheckerTooOld,
        Self::TooSparse,
        Self::NoMask,
        Self::Rejected,
        Self::Unreadable,
        Self::LimitReached,
        Self::BindDiffers,
        Self::BindUnreadable,
        Self::ExceptionExpired,
        Self::ExceptionTooLong,
        Self::ExceptionUnused,
    ];

    /// A rule that does not hold, or evidence that is missing.
    pub fn standing(self) -> Standing {
        if self.exit_code() == 1 { Standing::Violation } else { Standing::Evidence }
    }

    /// Whether an exception may excuse it: what was decided on evidence, and nothing else.
    pub fn may_be_excepted(self) -> bool {
        matches!(
            self,
            Self::AboveLimit
                | Self::BelowLimit
                | Self::ProvedWorse
                | Self::BoundRose
                | Self::ProvedHarm
                | Self::Loosened
                | Self::TooSparse
        )
    }
}

/// A number, and which way it is rounded when it is shown short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// Exactly.
    pub exact: Rational,
    /// Away from what would pass.
    pub rounding: Rounding,
}

impl Number {
    /// At most twelve digits.
    pub fn decimal(&self) -> String {
        claim_decimal(&self.exact, self.rounding)
    }

    /// The same in an output's unit, rounded the same way; nothing if that is no other number.
    pub fn in_unit(&self, called: &OutputName) -> Option<String> {
        if called.unit.is_none() && called.scale.is_none() {
            return None;
        }
        let scaled = called.scale.as_ref().map_or_else(|| self.exact.clone(), |scale| self.exact.mul(scale));
        let unit = called.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}"));
        Some(format!("{}{unit}", outward(&scaled, self.rounding)))
    }

    /// The decimal, and the exact number where that is another.
    pub fn words(&self) -> String {
        let (decimal, exact) = (self.decimal(), self.exact.to_string());
        let same = decimal == exact || Rational::parse(&decimal).is_ok_and(|d| d == self.exact);
        if same { decimal } else { format!("{decimal} (exactly {exact})") }
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The test it belongs to.
    pub test: String,
    /// The policy, if it is about one.
    pub policy: Option<String>,
    /// What it says.
    pub kind: Kind,
    /// Mask.
    pub mask: Option<usize>,
    /// State.
    pub state: Option<usize>,
    /// Output.
    pub output: Option<usize>,
    /// What the policy calls it, with the unit and the scale in which people speak of its changes.
    pub called: Option<OutputName>,
    /// What is there.
    pub have: Option<Number>,
    /// What the rule allows.
    pub need: Option<Number>,
    /// A sentence.
    pub says: String,
    /// What to do.
    pub advice: String,
    /// Line of `secateur.toml`, from 1.
    pub line: usize,
    /// The reason of the exception that excuses it.
    pub excepted: Option<String>,
}

impl Finding {
    /// Where it is, in words; empty if nowhere.
    pub fn place(&self) -> String {
        let parts = [("mask", self.mask), ("state", self.state), ("output", self.output)];
        let words = parts.iter().filter_map(|(word, n)| Some(format!("{word} {}", (*n)?)));
        let mut words = words.collect::<Vec<_>>().join(", ");
        if let Some(called) = &self.called {
            words.push_str(&format!(" {}", Escaped(&called.name)));
        }
        words
    }

    /// The same for the same finding of another run: neither numbers nor the state where they are worst.
    pub fn identity(&self) -> String {
        let part = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
        let policy = self.policy.as_deref().unwrap_or_default();
        [policy, &self.test, self.kind.code(), &part(self.mask), &part(self.output)].join("\n")
    }
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It holds.
    Passed,
    /// It does not hold, and an exception excuses that.
    Warned,
    /// It does not hold, or could not be decided.
    Failed,
}

impl Ended {
    /// In reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
        }
    }
}

/// One test: a rule for one policy, its check, its deployed files, the exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// `check`, `bind`, `exceptions`, or the rule's id.
    pub name: String,
    /// The policy, if it is about one.
    pub policy: Option<String>,
    /// What it found.
    pub findings: Vec<Finding>,
    /// What it found instead, where it passed: the number that was compared.
    pub margin: Option<String>,
}

impl Test {
    /// `POLICY/NAME`.
    pub fn full_name(&self) -> String {
        match &self.policy {
            Some(policy) => format!("{policy}/{}", self.name),
            None => self.name.clone(),
        }
    }

    /// How it ended.
    pub fn ended(&self) -> Ended {
        if self.findings.iter().any(|f| f.excepted.is_none()) {
            Ended::Failed
        } else if self.findings.is_empty() {
            Ended::Passed
        } else {
            Ended::Warned
        }
    }
}

/// A policy that was gated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyReport {
    /// Its name in `secateur.toml`.
    pub name: String,
    /// Its digest; `None` if its certificate was not accepted, as the next ones.
    pub verified: Option<VerifiedReport>,
    /// Deployed files.
    pub bound: Vec<BoundFile>,
}

/// What is said of a policy whose certificate was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedReport {
    /// Digest of the policy.
    pub policy_digest: String,
    /// Names and plain digests of its files.
    pub files: Vec<(String, String)>,
    /// Plain SHA-256 of the certificate's file.
    pub certificate: String,
    /// Names in the trust file and fingerprints.
    pub signers: Vec<(String, String)>,
    /// The adversary in words.
    pub adversary: String,
    /// The states in words.
    pub states: String,
    /// Number of masks.
    pub masks: usize,
}

/// A file that decided what was tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it lies, as it was named.
    pub path: PathBuf,
    /// Its plain SHA-256.
    pub sha256: String,
}

/// Everything that a gate found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The day that exceptions were compared with.
    pub today: Day,
    /// `secateur.toml`, and the baseline if one was read.
    pub configuration: Vec<ConfigFile>,
    /// Policies.
    pub policies: Vec<PolicyReport>,
    /// Tests, in the order of the file.
    pub tests: Vec<Test>,
}

impl Report {
    /// Every finding.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.tests.iter().flat_map(|test| &test.findings)
    }

    /// The worst exit code of a finding that is not excused.
    pub fn exit_code(&self) -> u8 {
        let open = self.findings().filter(|f| f.excepted.is_none());
        open.map(|f| f.kind.exit_code()).max().unwrap_or(0)
    }

    /// How the gate ended.
    pub fn ended(&self) -> Ended {
        if self.exit_code() > 0 {
            Ended::Failed
        } else if self.findings().next().is_some() {
            Ended::Warned
        } else {
            Ended::Passed
        }
    }

    /// Names of the tests that ended so.
    pub fn names(&self, ended: Ended) -> Vec<String> {
        self.tests.iter().filter(|t| t.ended() == ended).map(Test::full_name).collect()
    }
}
