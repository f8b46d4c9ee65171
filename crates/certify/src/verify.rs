//! Decides VNN-LIB properties of networks and signs what was decided. Untrusted: the search's tree or point goes through
//! [`secateur_checker::property::check_property`] before a person sees a verdict. `spec/property.md`.

pub mod assignment;
pub mod difference;
pub mod judge;
pub mod kept;
pub mod leaves;
mod neurons;
mod turns;

use secateur_checker::check::{CHECKER_ID, NamedFile};
use secateur_checker::kernel::fault::{Fault, Place};
use secateur_checker::kernel::input::read_observation;
use secateur_checker::kernel::split::{Case, check_sat};
use secateur_checker::model::{Normaliser, Policy};
use secateur_checker::number::Rational;
use secateur_checker::property::{
    Decided, PropertyNetwork, PropertySubject, beside, check_property, prepare, read_property,
};
use secateur_checker::reader::certificate::{
    FileDigest, Program, SCHEMA_VERSION, STATEMENT_TYPE, WitnessRecord,
};
use secateur_checker::reader::digest::{sha256_hex, weights_digest};
use secateur_checker::reader::dsse::{Envelope, PAYLOAD_TYPE};
use secateur_checker::reader::json::Value;
use secateur_checker::reader::policy::{PolicyFiles, parse_policy};
use secateur_checker::reader::property::{
    NamedNetwork, PROOF_FORMAT, PROPERTY_FORMAT, Property, parse_property,
};
use secateur_checker::reader::verdict::{Claimed, PREDICATE_TYPE, PropertyCertificate, parse_verdict};
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::ASSUME_REAL;
use secateur_checker::tables::tanh_table;

use crate::certify::VERIFIER_ID;
use crate::certify::emit::{emit_input, emit_program, emit_subject, emit_witness};
use crate::certify::json::canonical;
use crate::certify::keys::Key;
use crate::certify::value::{list, object, text};
use crate::float::{FloatNetwork, rational_to_float};
use crate::policy::before_normaliser;
use crate::search::branch::neurons::Neurons;
use crate::search::branch::tree::{LeafSlopes, SplitLeaf, SplitNode, SplitTree};
use crate::search::branch::{BranchOptions, BranchState};
pub use neurons::KeptRows;
use turns::Turns;

/// Why nothing was decided or signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The network or the property is not one that can be certified.
    #[error("{0}")]
    Input(String),
    /// The numbers are too large for the checker's integer grid.
    #[error("{0}")]
    Limit(String),
    /// The search's evidence was rejected by the checker.
    #[error("the evidence found was rejected ({0}); nothing is claimed; please report this")]
    Rejected(String),
}

/// A network in its canonical files.
pub struct QuestionNetwork {
    /// `policy.json`.
    pub manifest: Vec<u8>,
    /// `policy.safetensors`.
    pub tensors: Vec<u8>,
    /// What they say.
    pub files: PolicyFiles,
}

impl QuestionNetwork {
    /// Reads the canonical files, as the checker will.
    ///
    /// # Errors
    /// [`VerifyError::Input`].
    pub fn new(manifest: Vec<u8>, tensors: Vec<u8>) -> Result<Self, VerifyError> {
        let files = parse_policy(&manifest, &tensors).map_err(|e| VerifyError::Input(e.to_string()))?;
        Ok(Self { manifest, tensors, files })
    }
}

/// Networks and a property in the canonical files that a certificate speaks of.
pub struct Question {
    /// The networks; several if the property names them.
    pub networks: Vec<QuestionNetwork>,
    /// `property.json`.
    pub property: Vec<u8>,
    /// The property.
    pub stated: Property,
    /// What is searched: the only network, or all of them beside each other.
    pub policy: Policy,
    /// The cases.
    pub cases: Vec<Case>,
    /// The files it was imported from.
    pub inputs: Vec<FileDigest>,
    /// What a counterexample is shown of where some comparison is strict; `cases` relax it to the closed one.
    pub tightened: Option<Tightened>,
}

/// Closed cases that imply the stated ones, strict comparisons included.
pub struct Tightened {
    /// The property file of a certificate that says `sat`.
    pub property: Vec<u8>,
    /// The cases in it.
    pub cases: Vec<Case>,
    /// For each case of the question, its place among them; `None` if nothing is left of it.
    pub places: Vec<Option<usize>>,
}

impl Question {
    /// Reads the canonical files back, as the checker will.
    ///
    /// # Errors
    /// [`VerifyError::Input`].
    pub fn new(
        manifest: Vec<u8>,
        tensors: Vec<u8>,
        cases: &[Case],
        inputs: Vec<FileDigest>,
    ) -> Result<Self, VerifyError> {
        let property = Property { cases: cases.to_vec(), networks: Vec::new() };
        Self::several(vec![QuestionNetwork::new(manifest, tensors)?], &property, inputs)
    }

    /// A question about the networks that the property names, in its order.
    ///
    /// # Errors
    /// [`VerifyError::Input`].
    pub fn several(
        networks: Vec<QuestionNetwork>,
        property: &Property,
        inputs: Vec<FileDigest>,
    ) -> Result<Self, VerifyError> {
        let wrong = |e: &dyn std::fmt::Display| VerifyError::Input(e.to_string());
        let bytes = emit_property(property).into_bytes();
        let stated = parse_property(&bytes).map_err(|e| wrong(&e))?;
        let policies: Vec<&Policy> = networks.iter().map(|network| &network.files.policy).collect();
        let policy = beside(&policies, &stated).map_err(|e| wrong(&e))?.into_owned();
        let cases = stated.cases.clone();
        let network = &policy.network;
        let several = networks.len() > 1;
        for case in &cases {
            let outputs_fit = case.constraints.iter().all(|c| c.coefficients.len() == network.outputs());
            if case.lower.len() != network.inputs() || !outputs_fit {
                let (inputs, outputs) = (network.inputs(), network.outputs());
                let (what, have) = if several { ("networks", "together have") } else { ("network", "has") };
                return Err(VerifyError::Input(format!(
                    "the property does not fit the {what}, which {have} {inputs} inputs and {outputs} outputs"
                )));
            }
        }
        Ok(Self { networks, property: bytes, stated, policy, cases, inputs, tightened: None })
    }

    /// The property with other cases.
    fn of_cases(&self, cases: &[Case]) -> Property {
        Property { cases: cases.to_vec(), networks: self.stated.networks.clone() }
    }

    /// Folder names of the networks, with a slash; empty of the only one of a property without names.
    pub fn folders(&self) -> Vec<String> {
        match self.stated.networks.as_slice() {
            [] => vec![String::new()],
            named => named.iter().map(|network| format!("{}/", network.name)).collect(),
        }
    }

    /// The canonical files under their names in a folder, of a certificate that says `sat` or one that says `unsat`.
    pub fn named_files(&self, sat: bool) -> Vec<(String, &[u8])> {
        let files = self.folders().into_iter().zip(&self.networks).flat_map(|(folder, network)| {
            let (manifest, tensors) = (network.manifest.as_slice(), network.tensors.as_slice());
            [(format!("{folder}policy.json"), manifest), (format!("{folder}policy.safetensors"), tensors)]
        });
        files.chain([("property.json".to_owned(), self.property_file(sat))]).collect()
    }

    /// The same where some comparison is strict: each case in closed comparisons that imply what is stated, as
    /// [`crate::property::several::SeveralCase::tightened`] gives them.
    #[must_use]
    pub fn tightened(self, cases: Option<&[Option<Case>]>) -> Self {
        let tightened = cases.map(|cases| {
            let mut places = 0usize..;
            let left: Vec<Case> = cases.iter().flatten().cloned().collect();
            Tightened {
                property: emit_property(&self.of_cases(&left)).into_bytes(),
                places: cases.iter().map(|case| case.as_ref().and(places.next())).collect(),
                cases: left,
            }
        });
        Self { tightened, ..self }
    }

    /// The property file of a certificate: that of `sat` states strict comparisons tightened, that of `unsat` relaxed.
    pub fn property_file(&self, sat: bool) -> &[u8] {
        self.tightened.as_ref().filter(|_| sat).map_or(&self.property, |tightened| &tightened.property)
    }
}

/// What a search came to.
pub enum Answer {
    /// A signed and checked verdict; the proof file for `unsat`.
    Decided {
        /// What the checker verified.
        decided: Box<Decided>,
        /// The signed envelope.
        envelope: Envelope,
        /// The proof file.
        proof: Option<Vec<u8>>,
    },
    /// The budget ended first; the search can be taken up again.
    Unknown {
        /// In every region left open some constraint is at least this (an estimate in floats).
        best_bound: f64,
        /// Where it stands.
        search: SearchState,
    },
}

/// Where a search stands, or begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchState {
    /// One state per case; what is missing begins at its root.
    pub states: Vec<BranchState>,
    /// Where bounds of hidden layers are kept: the rows of slopes that these have.
    pub rows: Option<KeptRows>,
}

impl From<Vec<BranchState>> for SearchState {
    fn from(states: Vec<BranchState>) -> Self {
        Self { states, rows: None }
    }
}

/// How often leaves that the checker refuses are searched again before the search gives up.
const REPAIRS: usize = 256;
/// How much more a leaf has to be above its constraint after a refusal, and the least and the most that is asked for then.
const MARGIN_GROWTH: f64 = 2.0;
const REPAIRED_MARGIN: (f64, f64) = (1e-6, 1e-3);

/// Why there is no answer.
enum Failure {
    /// The checker refused a leaf: the case that its tree begins with, the node, what it said.
    Leaf(usize, usize, String),
    Other(VerifyError),
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    /// What the checker refused: a leaf if it says which.
    fn of(rejection: &Rejection) -> Self {
        let said = rejection.to_string();
        let Reason::Rule { fault } = &rejection.reason else {
            return Self::Other(VerifyError::Rejected(said));
        };
        let (mut inner, mut case, mut node) = (fault, None, None);
        while let Fault::At { place, fault } = inner {
            match place {
                Place::Case(at) => case = Some(*at),
                Place::Node(at) => node = Some(*at),
                _ => {}
            }
            inner = fault;
        }
        if let Fault::NotProved { node: at, .. } | Fault::NotEmpty { node: at } = inner {
            node = Some(*at);
        }
        match case.zip(node) {
            Some((case, node)) => Self::Leaf(case, node, said),
            None => Self::Other(VerifyError::Rejected(said)),
        }
    }
}

/// Searches case by case within the step budget, then has the checker verify the evidence and signs it. A leaf that the
/// checker refuses, because floats took for proved what is not, is searched again with more distance.
///
/// `stop` is asked between batches of steps.
///
/// # Errors
/// [`VerifyError`].
pub fn verify(
    question: &Question,
    options: &BranchOptions,
    mut search: SearchState,
    key: &Key,
    proof_name: &str,
    stop: &dyn Fn() -> bool,
) -> Result<Answer, VerifyError> {
    search.states.resize_with(question.cases.len(), BranchState::default);
    let (mut options, mut together) = (*options, true);
    let mut repairs = 0;
    loop {
        match decide(question, &options, &mut search, together, (key, proof_name), stop) {
            Ok(answer) => return Ok(answer),
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::Leaf(case, node, said)) => {
                repairs += 1;
                if !search.states.get_mut(case).is_some_and(|state| state.reopen(node)) {
                    // The tree of cases that were searched together was not kept.
                    if !std::mem::take(&mut together) {
                        return Err(VerifyError::Rejected(said));
                    }
                } else if repairs > REPAIRS {
                    return Err(VerifyError::Rejected(said));
                }
                let (least, most) = REPAIRED_MARGIN;
                options.margin = (MARGIN_GROWTH * options.margin).clamp(least, most);
            }
        }
    }
}

/// One search of [`verify`] and its check; `together` says whether cases may share a tree that is thrown away.
fn decide(
    question: &Question,
    options: &BranchOptions,
    search: &mut SearchState,
    together: bool,
    (key, proof_name): (&Key, &str),
    stop: &dyn Fn() -> bool,
) -> Result<Answer, Failure> {
    let network = FloatNetwork::from_model(&question.policy.network, None)
        .map_err(|e| VerifyError::Input(e.to_string()))?;
    let policy = &question.policy;
    let limit = |e: &dyn std::fmt::Display| VerifyError::Limit(e.to_string());
    // The search is about what the network reads; only a point found is put back in front of the normaliser.
    let read = read_property(policy, &question.stated).map_err(|e| limit(&e))?;
    let grid = prepare(policy, &read).map_err(|e| limit(&e))?;
    let table = tanh_table().map_err(|e| limit(&e))?;
    let tight = question.tightened.as_ref().filter(|t| !t.cases.is_empty());
    let tight = tight.map(|tightened| -> Result<_, VerifyError> {
        let read = read_property(policy, &question.of_cases(&tightened.cases)).map_err(|e| limit(&e))?;
        let grid = prepare(policy, &read).map_err(|e| limit(&e))?;
        Ok((read, grid))
    });
    let tight = tight.transpose()?;
    // What a point has to satisfy: the case itself, or its tightened one; the stated box; its number in its file.
    let target = |index: usize| match (&question.tightened, &tight) {
        (None, _) => Some((&grid, &read.cases[index], &question.cases[index], index)),
        (Some(tightened), Some((read, grid))) => {
            tightened.places[index].map(|place| (grid, &read.cases[place], &tightened.cases[place], place))
        }
        (Some(_), None) => None,
    };
    let accepts = |index: usize, point: &[Rational]| {
        let case = target(index);
        case.is_some_and(|(grid, case, ..)| check_sat(grid, table, case, &within(case, point)).is_ok())
    };
    let finish_sat = |case: usize, point: Vec<Rational>| {
        let Some((_, case, stated, place)) = target(case) else {
            return Err(VerifyError::Rejected("a point of an empty box".to_owned()).into());
        };
        let point = observation_of(policy.normaliser.as_ref(), stated, &within(case, &point));
        finish(question, Claimed::Sat { case: place, point }, None, key)
    };
    let relu_only = network.layers.iter().all(|l| l.activation.is_piecewise_linear());
    let finish_unsat = |trees: &[(SplitTree, usize)], rows: Option<&KeptRows>| {
        let proof = emit_proof(trees, rows, relu_only).into_bytes();
        let record =
            WitnessRecord { name: proof_name.to_owned(), sha256: sha256_hex(&proof), size: proof.len() };
        finish(question, Claimed::Unsat { proof: record }, Some(proof), key)
    };
    if question.networks.len() == 1 && neurons::is_asked(&network, &read.cases, options, &search.states) {
        let at = (&grid, table);
        let (found, rows) = neurons::search(&network, at, &read.cases, options, search, &accepts, stop)?;
        return match found {
            Neurons::Falsified { case, point } => finish_sat(case, point),
            Neurons::Unknown { best_bound } => {
                Ok(Answer::Unknown { best_bound, search: std::mem::take(search) })
            }
            Neurons::Verified => {
                let trees: Vec<_> = search.states.iter().map(|state| (state.tree().clone(), 1)).collect();
                finish_unsat(&trees, Some(&rows))
            }
        };
    }
    let several = question.networks.len() > 1;
    let states = &mut search.states;
    let found = turns::search(&network, &read.cases, (several, together), options, states, &accepts, stop);
    let trees = match found {
        Turns::Falsified { case, point } => return finish_sat(case, point),
        Turns::Verified(trees) => trees,
        Turns::Unknown { best_bound } => {
            return Ok(Answer::Unknown { best_bound, search: std::mem::take(search) });
        }
    };
    finish_unsat(&trees, None)
}

/// The point of a case's box that is nearest.
fn within(case: &Case, point: &[Rational]) -> Vec<Rational> {
    let sides = point.iter().zip(case.lower.iter().zip(&case.upper));
    sides.map(|(x, (lower, upper))| x.clone().max(lower.clone()).min(upper.clone())).collect()
}

/// An observation of the case's box that the network reads as `point`, which lies in the box that it reads. Where the clip
/// cuts the box, the nearest end is read as the same.
fn observation_of(normaliser: Option<&Normaliser>, case: &Case, point: &[Rational]) -> Vec<Rational> {
    let Some(normaliser) = normaliser else { return point.to_vec() };
    within(case, &before_normaliser(normaliser, point))
}

/// The outputs at an observation, in floats: for people to read.
pub fn outputs_at(question: &Question, observation: &[Rational]) -> Result<Vec<f64>, VerifyError> {
    let policy = &question.policy;
    let wrong = |e: &dyn std::fmt::Display| VerifyError::Limit(e.to_string());
    let network = FloatNetwork::from_model(&policy.network, None).map_err(|e| wrong(&e))?;
    let read = read_observation(policy.normaliser.as_ref(), observation).map_err(|e| wrong(&e))?;
    Ok(network.forward(&read.iter().map(rational_to_float).collect::<Vec<f64>>()))
}

fn finish(
    question: &Question,
    claimed: Claimed,
    proof: Option<Vec<u8>>,
    key: &Key,
) -> Result<Answer, Failure> {
    let rejected = |e: &dyn std::fmt::Display| VerifyError::Rejected(e.to_string());
    let sat = matches!(claimed, Claimed::Sat { .. });
    let property = parse_property(question.property_file(sat)).map_err(|e| rejected(&e))?;
    let subjects = question.named_files(sat).into_iter().map(|(name, bytes)| FileDigest {
        role: "subject".to_owned(),
        name,
        sha256: sha256_hex(bytes),
    });
    let certificate = PropertyCertificate {
        subjects: subjects.collect(),
        weights_digest: weights_digest(&question.policy.network),
        claimed,
        assumptions: vec![ASSUME_REAL.to_owned()],
        inputs: question.inputs.clone(),
        verifier: Program { id: VERIFIER_ID.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        checker: Program { id: CHECKER_ID.to_owned(), version: SCHEMA_VERSION.to_owned() },
    };
    let payload = emit_verdict(&certificate).into_bytes();
    let parsed = parse_verdict(&payload).map_err(|e| rejected(&e))?;
    let networks = question.networks.iter().map(|network| PropertyNetwork {
        policy: &network.files.policy,
        names: network.files.names.as_ref(),
        files: [
            NamedFile { name: "policy.json", bytes: &network.manifest },
            NamedFile { name: "policy.safetensors", bytes: &network.tensors },
        ],
    });
    let subject = PropertySubject {
        networks: networks.collect(),
        file: NamedFile { name: "property.json", bytes: question.property_file(sat) },
        property: &property,
        proof: proof.as_deref().map(|bytes| NamedFile { name: "proof", bytes }),
    };
    let decided = check_property(parsed, &subject, &mut |_| {}).map_err(|e| Failure::of(&e))?;
    Ok(Answer::Decided { decided: Box::new(decided), envelope: key.sign(PAYLOAD_TYPE, payload), proof })
}

fn rationals(values: &[Rational]) -> Value {
    list(values, |v| text(v.to_string()))
}

/// The canonical property file.
pub fn emit_property(property: &Property) -> String {
    let emit_case = |case: &Case| {
        let constraints = list(&case.constraints, |c| {
            object([("coefficients", rationals(&c.coefficients)), ("bound", text(c.bound.to_string()))])
        });
        object([
            ("lower", rationals(&case.lower)),
            ("upper", rationals(&case.upper)),
            ("constraints", constraints),
        ])
    };
    let emit_network = |network: &NamedNetwork| {
        let reads = list(&network.reads, |variable| text(variable.to_string()));
        object([("name", text(network.name.as_str())), ("reads", reads)])
    };
    let (format, cases) = (("format", text(PROPERTY_FORMAT)), ("cases", list(&property.cases, emit_case)));
    canonical(&match property.networks.as_slice() {
        [] => object([format, cases]),
        networks => object([format, cases, ("networks", list(networks, emit_network))]),
    })
}

/// The canonical proof file; for piecewise linear networks the upper lines are derived by the checker.
fn emit_proof(trees: &[(SplitTree, usize)], rows: Option<&KeptRows>, relu_only: bool) -> String {
    let (slopes, numbers) = neurons::named_slopes(trees);
    let emitted = trees
        .iter()
        .zip(&numbers)
        .map(|((tree, _), numbers)| list(&tree.nodes, |node| emit_node(node, numbers, relu_only)));
    let (format, cases) = (("format", text(PROOF_FORMAT)), ("cases", Value::Array(emitted.collect())));
    let kept = rows.map(|rows| ("kept", neurons::emit_kept(rows, &slopes)));
    let apart = trees.iter().all(|(_, cases)| *cases == 1);
    let together = (!apart).then(|| ("together", list(trees, |(_, cases)| text(cases.to_string()))));
    canonical(&Value::Object(
        [Some(format), Some(cases), kept, together]
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    ))
}

fn emit_node(node: &SplitNode, shared: &[u32], relu_only: bool) -> Value {
    let number = |n: usize| text(n.to_string());
    let pair = |a: usize, b: usize| Value::Array(vec![number(a), number(b)]);
    match node {
        SplitNode::Relu { layer, neuron, positive, negative } => object([
            ("node", text("relu")),
            ("layer", text(layer.to_string())),
            ("neuron", text(neuron.to_string())),
            ("children", pair(*positive, *negative)),
        ]),
        SplitNode::Input { coordinate, at, below, above } => object([
            ("node", text("input")),
            ("coordinate", text(coordinate.to_string())),
            ("at", text(exact(*at))),
            ("children", pair(*below, *above)),
        ]),
        SplitNode::Leaf(SplitLeaf::Constraint { constraint, slopes }) => {
            let (kind, place) = (("node", text("leaf")), ("constraint", text(constraint.to_string())));
            match slopes {
                None => object([kind, place]),
                Some(slopes) => object([kind, place, ("witness", emit_slopes(slopes, relu_only))]),
            }
        }
        SplitNode::Leaf(SplitLeaf::Combination { multipliers, slopes }) => {
            let parts = multipliers.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            let (kind, parts) = (("node", text("combination")), ("multipliers", text(parts)));
            match slopes {
                None => object([kind, parts]),
                Some(slopes) => object([kind, parts, ("witness", emit_slopes(slopes, relu_only))]),
            }
        }
        SplitNode::Leaf(SplitLeaf::Kept { constraint, slopes, multipliers }) => object([
            ("node", text("kept")),
            ("constraint", text(constraint.to_string())),
            ("slopes", text(shared.get(*slopes as usize).map(u32::to_string).unwrap_or_default())),
            ("multipliers", words(multipliers)),
        ]),
        SplitNode::Leaf(SplitLeaf::Farkas { slopes }) => {
            object([("node", text("farkas")), ("witness", emit_slopes(slopes, relu_only))])
        }
        // An open leaf cannot occur in a finished tree; "empty" makes the checker refuse it.
        SplitNode::Leaf(SplitLeaf::Empty { .. }) | SplitNode::Open => object([("node", text("empty"))]),
    }
}

fn emit_slopes(slopes: &LeafSlopes, relu_only: bool) -> Value {
    let upper = if relu_only {
        list(&slopes.upper_slope, |_| text(""))
    } else {
        list(&slopes.upper_slope, |row| words(row))
    };
    object([
        ("lower", list(&slopes.lower_slope, |row| words(row))),
        ("upper", upper),
        ("multipliers", list(&slopes.multipliers, |row| words(row))),
    ])
}

fn words<T: ToString>(row: &[T]) -> Value {
    text(row.iter().map(T::to_string).collect::<Vec<_>>().join(" "))
}

/// A float as the exact fraction it is.
fn exact(value: f64) -> String {
    let parts = secateur_checker::number::Dyadic::from_ieee(value.to_bits(), 52, 11);
    parts.map(|d| d.to_rational().to_string()).unwrap_or_default()
}

fn emit_verdict(certificate: &PropertyCertificate) -> String {
    let (word, evidence) = match &certificate.claimed {
        Claimed::Unsat { proof } => ("unsat", ("proof", emit_witness(proof))),
        Claimed::Sat { case, point } => {
            let point = object([("case", text(case.to_string())), ("point", rationals(point))]);
            ("sat", ("counterexample", point))
        }
    };
    let predicate = object([
        ("schemaVersion", text(SCHEMA_VERSION)),
        ("result", text(word)),
        evidence,
        ("semantics", text("real-arithmetic")),
        ("weightsDigest", text(certificate.weights_digest.as_str())),
        ("assumptions", list(&certificate.assumptions, |a| text(a.as_str()))),
        ("inputs", list(&certificate.inputs, emit_input)),
        ("verifier", emit_program(&certificate.verifier)),
        ("checker", emit_program(&certificate.checker)),
    ]);
    canonical(&object([
        ("_type", text(STATEMENT_TYPE)),
        ("predicateType", text(PREDICATE_TYPE)),
        ("subject", list(&certificate.subjects, emit_subject)),
        ("predicate", predicate),
    ]))
}
