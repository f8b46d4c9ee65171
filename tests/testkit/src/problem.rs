//! Small seeded problems for the integration tests: a policy directory, a chain of masks and states, written by the
//! program's own emitters and read back by the checker's reader.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use secateur::certify::emit::emit_envelope;
use secateur::certify::keys::{Key, public_pem};
use secateur::certify::radius::RadiusRequest;
use secateur::certify::regret::RegretRequest;
use secateur::certify::{Certified, CertifyError, Request, certify};
use secateur::policy::emit::{ChainOrigin, write_mask_chain, write_npy, write_policy_dir};
use secateur::policy::mask::{MaskData, MaskTable};
use secateur::policy::{
    ActivationSpec, HeadData, LayerData, NormaliserData, PolicyData, Scaling, TensorData,
};
use secateur::progress::Silent;
use secateur_checker::check::NamedFile;
use secateur_checker::evaluate::evaluate;
use secateur_checker::family::Family;
use secateur_checker::load::{
    CheckPaths, Failure, MaskDirectory, Outcome, PolicyDirectory, check_paths, load_masks, load_policy,
    load_states,
};
use secateur_checker::model::{Perturbation, PerturbationSet, States, Units};
use secateur_checker::number::Rational;
use secateur_checker::reader::certificate::{Certificate, parse_certificate};
use secateur_checker::reader::dsse::{Envelope, PAYLOAD_TYPE, parse_envelope};
use secateur_checker::rejection::Reason;
use secateur_checker::table::FamilyTable;

use crate::random::Random;

/// What a problem looks like; [`Spec::small`] is 3-8-8-2 with tanh.
#[derive(Clone)]
pub struct Spec {
    pub widths: Vec<usize>,
    pub activation: ActivationSpec,
    pub gaussian: bool,
    pub normaliser: bool,
    pub masks: usize,
    pub states: usize,
    pub seed: u64,
}

impl Spec {
    pub fn small(seed: u64) -> Self {
        Self {
            widths: vec![3, 8, 8, 2],
            activation: ActivationSpec::Tanh,
            gaussian: true,
            normaliser: false,
            masks: 3,
            states: 2,
            seed,
        }
    }

    pub fn linear(seed: u64) -> Self {
        Self { activation: ActivationSpec::Identity, gaussian: false, ..Self::small(seed) }
    }
}

pub fn random_policy(spec: &Spec) -> PolicyData {
    let mut random = Random(spec.seed);
    let pairs: Vec<(usize, usize)> = spec.widths.windows(2).map(|w| (w[0], w[1])).collect();
    let layer = |(index, &(inputs, outputs)): (usize, &(usize, usize))| {
        let mut draw = |n: usize| (0..n).map(|_| random.weight()).collect::<Vec<f32>>();
        LayerData {
            fixed: false,
            weight: TensorData::from_f32(vec![outputs, inputs], &draw(inputs * outputs)),
            bias: TensorData::from_f32(vec![outputs], &draw(outputs)),
            activation: if index + 1 == pairs.len() {
                ActivationSpec::Identity
            } else {
                spec.activation.clone()
            },
        }
    };
    let layers = pairs.iter().enumerate().map(layer).collect();
    let (inputs, outputs) = (spec.widths[0], spec.widths[spec.widths.len() - 1]);
    let head = if spec.gaussian {
        HeadData::Gaussian { log_std: TensorData::from_f32(vec![outputs], &vec![-0.5; outputs]) }
    } else {
        HeadData::Categorical
    };
    let normaliser = spec.normaliser.then(|| NormaliserData {
        mean: TensorData::from_f64(vec![inputs], &vec![0.25; inputs]),
        scaling: Scaling::Std(TensorData::from_f64(vec![inputs], &vec![1.5; inputs])),
        clip: Some("10".to_owned()),
    });
    PolicyData { layers, head, normaliser, source: None }
}

/// The first mask keeps everything; each later one prunes about a fifth of what is left.
pub fn random_masks(spec: &Spec) -> Vec<MaskData> {
    let mut random = Random(spec.seed ^ 0x6d61_736b);
    let mut tables: Vec<MaskTable> = spec
        .widths
        .windows(2)
        .map(|w| MaskTable { fixed: false, rows: w[1], columns: w[0], kept: vec![true; w[0] * w[1]] })
        .collect();
    let mut masks = vec![MaskData::with_own_sparsity(tables.clone())];
    for _ in 1..spec.masks {
        for kept in tables.iter_mut().flat_map(|t| &mut t.kept) {
            *kept &= random.below(5) != 0;
        }
        masks.push(MaskData::with_own_sparsity(tables.clone()));
    }
    masks
}

pub fn origin() -> ChainOrigin {
    ChainOrigin { method: "random".to_owned(), scope: "layer".to_owned(), seed: "0".to_owned() }
}

/// A problem on disk: `policy/`, `masks/`, `states.npy`.
pub struct Problem {
    pub root: PathBuf,
    pub policy: PolicyData,
    pub masks: Vec<MaskData>,
    pub states: Vec<f64>,
}

impl Problem {
    pub fn write(root: &Path, spec: &Spec) -> Self {
        let mut random = Random(spec.seed ^ 0x7374_6174);
        let (rows, columns) = (spec.states, spec.widths[0]);
        let states = (0..rows * columns).map(|_| f64::from(random.weight())).collect();
        let problem =
            Self { root: root.to_owned(), policy: random_policy(spec), masks: random_masks(spec), states };
        problem.write_files(columns);
        problem
    }

    /// One layer whose outputs at (1, 1) are 1, 33/8 and 4 and whose last two move by 4 with a radius of 1.
    pub fn write_leads(root: &Path) -> Self {
        let layer = LayerData {
            weight: TensorData::from_f32(vec![3, 2], &[0.0, 0.0, 4.0, 0.0, 0.0, 4.0]),
            bias: TensorData::from_f32(vec![3], &[1.0, 0.125, 0.0]),
            activation: ActivationSpec::Identity,
            fixed: false,
        };
        let policy =
            PolicyData { layers: vec![layer], head: HeadData::Categorical, normaliser: None, source: None };
        let kept = MaskTable { rows: 3, columns: 2, kept: vec![true; 6], fixed: false };
        let masks = vec![MaskData::with_own_sparsity(vec![kept])];
        let problem = Self { root: root.to_owned(), policy, masks, states: vec![1.0, 1.0] };
        problem.write_files(2);
        problem
    }

    fn write_files(&self, columns: usize) {
        write_policy_dir(&self.policy_dir(), &self.policy).expect("policy written");
        write_mask_chain(&self.masks_dir(), &self.masks, &origin()).expect("masks written");
        write_npy(&self.states_file(), self.states.len() / columns, columns, &self.states)
            .expect("states written");
    }

    pub fn policy_dir(&self) -> PathBuf {
        self.root.join("policy")
    }

    pub fn masks_dir(&self) -> PathBuf {
        self.root.join("masks")
    }

    pub fn states_file(&self) -> PathBuf {
        self.root.join("states.npy")
    }

    /// Where [`Problem::certify_to_disk`] writes.
    pub fn certificate_file(&self) -> PathBuf {
        self.root.join("c.cert.dsse.json")
    }

    /// Certifies in this process under an l_inf ball of normalised radius 1/20.
    pub fn certify(&self, families: &[Family], key: &Key) -> Certified {
        certify_directory(&self.root, families, &linf("1/20"), key).expect("certified")
    }

    /// Certificate, witness and trust file on disk.
    pub fn certify_to_disk(&self, families: &[Family], key: &Key) -> Certified {
        let certified = self.certify(families, key);
        certified.write(&self.certificate_file(), WITNESS).expect("certificate written");
        write_trust(&self.root, key);
        certified
    }

    pub fn check_paths(&self) -> CheckPaths {
        CheckPaths {
            policy: self.policy_dir(),
            masks: Some(self.masks_dir()),
            states: self.states_file(),
            trust: Some(self.root.join("trust.json")),
            witness: None,
            certificate: self.certificate_file(),
        }
    }

    /// What the checker makes of one family with the witness's bytes as given.
    pub fn table(
        &self,
        perturbation: &PerturbationSet,
        family: Family,
        witness: Option<&[u8]>,
    ) -> Result<FamilyTable, Reason> {
        let policy = load_policy(&self.policy_dir()).expect("a policy").files;
        let masks = load_masks(&self.masks_dir(), &policy).expect("masks").masks;
        let (states, _) = load_states(&self.states_file(), Units::Normalised).expect("states");
        let stated = secateur_checker::evaluate::Problem {
            policy: &policy.policy,
            masks: &masks,
            states: &states,
            perturbation,
            witness,
        };
        Ok(evaluate(&stated, &[family], &mut |_, _| {})?.remove(0))
    }

    /// Checks the files as they lie on disk now.
    pub fn check(&self) -> Result<Outcome, Failure> {
        check_paths(&self.check_paths(), &mut |_, _| {})
    }

    /// Replaces the certificate by a changed one, signed again.
    pub fn resign(&self, key: &Key, change: impl FnOnce(&mut Certificate)) {
        let mut certificate = self.read_certificate();
        change(&mut certificate);
        let payload = secateur::certify::emit::emit_certificate(&certificate).into_bytes();
        self.write_envelope(&key.sign(PAYLOAD_TYPE, payload));
    }

    pub fn read_certificate(&self) -> Certificate {
        parse_certificate(&self.read_envelope().payload).expect("a certificate")
    }

    pub fn read_envelope(&self) -> Envelope {
        parse_envelope(&std::fs::read(self.certificate_file()).expect("read")).expect("an envelope")
    }

    pub fn write_envelope(&self, envelope: &Envelope) {
        std::fs::write(self.certificate_file(), emit_envelope(envelope)).expect("written");
    }
}

/// Name of the witness beside [`Problem::certificate_file`].
pub const WITNESS: &str = "c.witness.safetensors";

pub fn rational(text: &str) -> Rational {
    Rational::parse(text).expect("a number")
}

pub fn linf(radius: &str) -> PerturbationSet {
    PerturbationSet { shape: Perturbation::Linf { radius: rational(radius) }, units: Units::Normalised }
}

pub fn certify_directory(
    root: &Path,
    families: &[Family],
    perturbation: &PerturbationSet,
    key: &Key,
) -> Result<Certified, CertifyError> {
    certify_with(root, families, perturbation, key, false)
}

/// With `counterexample`, beside bounds from below and brackets.
pub fn certify_with(
    root: &Path,
    families: &[Family],
    perturbation: &PerturbationSet,
    key: &Key,
    counterexample: bool,
) -> Result<Certified, CertifyError> {
    certify_claiming(root, families, perturbation, key, (&RegretRequest::default(), counterexample))
}

/// With regret and statistical claims.
pub fn certify_claiming(
    root: &Path,
    families: &[Family],
    perturbation: &PerturbationSet,
    key: &Key,
    (regret, counterexample): (&RegretRequest, bool),
) -> Result<Certified, CertifyError> {
    let policy = load_policy(&root.join("policy")).map_err(CertifyError::Load)?;
    let masks = load_masks(&root.join("masks"), &policy.files).map_err(CertifyError::Load)?;
    let (states, bytes) =
        load_states(&root.join("states.npy"), Units::Normalised).map_err(CertifyError::Load)?;
    let request = Request {
        regret,
        counterexample,
        ..request(&policy, &masks, (&states, &bytes), perturbation, families)
    };
    certify(&request, key, &Silent)
}

/// With radii.
pub fn certify_radii(
    root: &Path,
    families: &[Family],
    perturbation: &PerturbationSet,
    key: &Key,
    radii: &RadiusRequest,
) -> Result<Certified, CertifyError> {
    let policy = load_policy(&root.join("policy")).map_err(CertifyError::Load)?;
    let masks = load_masks(&root.join("masks"), &policy.files).map_err(CertifyError::Load)?;
    let (states, bytes) =
        load_states(&root.join("states.npy"), Units::Normalised).map_err(CertifyError::Load)?;
    let plain = request(&policy, &masks, (&states, &bytes), perturbation, families);
    certify(&Request { radii, ..plain }, key, &Silent)
}

/// Families alone: no regret, no points, no regions.
pub fn request<'a>(
    policy: &'a PolicyDirectory,
    masks: &'a MaskDirectory,
    (states, bytes): (&'a States, &'a [u8]),
    perturbation: &'a PerturbationSet,
    families: &'a [Family],
) -> Request<'a> {
    static NO_REGRET: LazyLock<RegretRequest> = LazyLock::new(RegretRequest::default);
    static NO_RADII: LazyLock<RadiusRequest> = LazyLock::new(RadiusRequest::default);
    Request {
        policy,
        masks,
        states,
        states_file: NamedFile { name: "states.npy", bytes },
        perturbation,
        families,
        regret: &NO_REGRET,
        band_from: 0,
        branch_steps: 200,
        counterexample: false,
        radii: &NO_RADII,
        regions: &[],
        slopes: None,
        witness_name: WITNESS,
        seed: "0",
    }
}

pub fn key(byte: u8) -> Key {
    Key::from_seed([byte; 32])
}

pub fn write_trust(root: &Path, key: &Key) {
    let pem = public_pem(&key.public().expect("a strong key"));
    std::fs::write(root.join("trust.json"), secateur::certify::keys::trust_file("tests", &pem))
        .expect("trust file written");
}

/// What `certify` bounds when no family is named: all but those whose slopes are searched.
pub fn all_families() -> Vec<Family> {
    secateur::cli::option::adversary::families(&[]).expect("the default")
}
