//! A small policy with a certificate about it that tests can bend.

use crate::json::canonical;
use secateur_checker::check::{NamedFile, Subject, Verified, check_evaluated, head_name};
use secateur_checker::evaluate::{Evaluated, Problem, evaluate};
use secateur_checker::family::Family;
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::model::{
    Activation, Head, Layer, Mask, Matrix, Network, Perturbation, PerturbationSet, Policy, States, Units,
};
use secateur_checker::number::{Dyadic, Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::{Certificate, parse_certificate};
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::digest::{mask_digest, sha256_hex, weights_digest};
use secateur_checker::reader::json::{Numbers, parse};
use secateur_checker::rejection::Rejection;
use secateur_checker::sentences::{family_limits, policy_assumptions};
use secateur_checker::table::{FamilyTable, Quantity};

pub const GLOBAL: &str = "sensitivity";
pub const LOCAL: &str = "ibp";
/// Compares two policies, not one with what an adversary makes of it.
pub const PAIRED: &str = "pruned-deviation";
const FAMILIES: [Family; 3] = [Family::Sensitivity, Family::Ibp, Family::PrunedDeviation];
const FILES: [(&str, &[u8]); 3] =
    [("policy.json", b"manifest"), ("policy.safetensors", b"tensors"), ("states.npy", b"states")];

pub fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

/// Logits (relu(2 x), y), radius 1/8: the sensitivity is the same everywhere; at x <= -1/8 the first logit is still.
pub struct Case {
    pub policy: Policy,
    pub mask: Mask,
    pub states: States,
    pub set: PerturbationSet,
    pub tables: Vec<FamilyTable>,
    pub head: HeadBounds,
}

/// What a certificate says beyond what the case fixes; JSON arrays, without their key if empty.
#[derive(Clone, Default)]
pub struct Said {
    pub regret: Vec<String>,
    pub statistical: Vec<String>,
    pub assumptions: Vec<String>,
    pub limits: Vec<String>,
}

fn matrix(rows: usize, columns: usize, values: &[i64]) -> Matrix {
    Matrix { rows, columns, values: values.iter().map(|v| Dyadic::new(*v, 0)).collect() }
}

impl Case {
    pub fn new(head: Head) -> Self {
        let layer = |weight: &[i64], activation| Layer {
            fixed: false,
            weight: matrix(2, 2, weight),
            bias: vec![Dyadic::ZERO; 2],
            activation,
        };
        let layers = vec![layer(&[2, 0, 0, 1], Activation::Relu), layer(&[1, 0, 0, 1], Activation::Identity)];
        let policy = Policy { network: Network { layers }, head, normaliser: None, source: None };
        let states = States { values: matrix(3, 2, &[1, 1, -1, 1, 2, 3]), units: Units::Raw };
        let set =
            PerturbationSet { shape: Perturbation::Linf { radius: r("1/8") }, units: Units::Normalised };
        let mask = Mask { layers: vec![vec![true; 4]; 2] };
        let masks = [mask.clone()];
        let problem =
            Problem { policy: &policy, masks: &masks, states: &states, perturbation: &set, witness: None };
        let tables = evaluate(&problem, &FAMILIES, &mut |_, _| {}).unwrap();
        let head = HeadBounds::new(&policy.head).unwrap();
        Self { policy, mask, states, set, tables, head }
    }

    pub fn categorical() -> Self {
        Self::new(Head::Categorical)
    }

    pub fn table(&self, family: &str) -> &FamilyTable {
        self.tables.iter().find(|t| t.family.name() == family).unwrap()
    }

    /// The uppers of the family, one per state for [`LOCAL`].
    pub fn uppers(&self, family: &str) -> Vec<Rational> {
        self.table(family).values(&self.head, Quantity::TotalVariation, 0, None).unwrap()
    }

    pub fn largest(&self, family: &str) -> Rational {
        self.uppers(family).into_iter().max().unwrap()
    }

    fn claims(&self) -> String {
        let (quantity, output) = if self.head.is_distribution() {
            (Quantity::TotalVariation, None)
        } else {
            (Quantity::ActionDeviation, Some(0))
        };
        let claims = self.tables.iter().map(|table| {
            let values = table.values(&self.head, quantity, 0, output).unwrap();
            let texts: Vec<String> =
                values.iter().map(|v| format!("{:?}", claim_decimal(v, Rounding::Up))).collect();
            let output = output.map(|o| format!(r#","output":"{o}""#)).unwrap_or_default();
            format!(
                r#"{{"family":"{}","mask":"0","quantity":"{}","values":[{}]{output}}}"#,
                table.family.name(),
                quantity.name(),
                texts.join(",")
            )
        });
        claims.collect::<Vec<_>>().join(",")
    }

    pub fn read(&self, said: &Said) -> Result<Certificate, Clause> {
        let file = |i: usize| {
            let (name, bytes) = FILES[i];
            format!(r#""name":"{name}","digest":{{"sha256":"{}"}}"#, sha256_hex(bytes))
        };
        let strings = |fixed: Vec<&str>, more: &[String]| {
            let all = fixed.into_iter().map(str::to_owned).chain(more.iter().cloned());
            all.map(|s| format!("{s:?}")).collect::<Vec<_>>().join(",")
        };
        let optional = |key: &str, list: &[String]| {
            if list.is_empty() { String::new() } else { format!(r#""{key}":[{}],"#, list.join(",")) }
        };
        let network = &self.policy.network;
        let text = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://secateur.dev/certificate/v1",
            "subject":[{{{}}},{{{}}}],"predicate":{{"schemaVersion":"1.2.0","result":"verified",
            "model":{{"semantics":"real-arithmetic","weightsDigest":"{}","head":"{}","masks":[
              {{"name":"dense","digest":"{}","pruned":"0","total":"8"}}]}},
            "method":{{"perturbation":{{"shape":"linf","radius":"1/8","units":"normalised"}},
              "stateUnits":"raw","states":"3"}},
            "claims":[{}],{}{}"chain":{{"verdicts":[]}},"assumptions":[{}],"limits":[{}],
            "inputs":[{{"role":"states",{}}}],
            "verifier":{{"id":"test","version":"1"}},"checker":{{"id":"secateur-checker","version":"1.2.0"}},
            "seed":"0"}}}}"#,
            file(0),
            file(1),
            weights_digest(network),
            head_name(&self.policy.head),
            mask_digest(&self.mask, network),
            self.claims(),
            optional("regret", &said.regret),
            optional("statistical", &said.statistical),
            strings(policy_assumptions(&self.policy), &said.assumptions),
            strings(family_limits(&FAMILIES, false), &said.limits),
            file(2)
        );
        let value = parse(text.as_bytes(), 1 << 20, Numbers::Refused).unwrap();
        parse_certificate(canonical(&value).as_bytes())
    }

    pub fn check(&self, said: &Said) -> Result<Verified, Rejection> {
        self.check_in(said, &self.states)
    }

    /// With the listed states among those of a longer file.
    pub fn check_in(&self, said: &Said, states: &States) -> Result<Verified, Rejection> {
        self.check_known(said, states, None, &mut |_, _| {})
    }

    /// By whoever has evaluated something already.
    pub fn check_known(
        &self,
        said: &Said,
        states: &States,
        known: Option<Evaluated<'_>>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Verified, Rejection> {
        let masks = [self.mask.clone()];
        let [manifest, tensors, states_file] = FILES.map(|(name, bytes)| NamedFile { name, bytes });
        let subject = Subject {
            policy: &self.policy,
            names: None,
            policy_files: [manifest, tensors],
            masks: &masks,
            mask_files: &[],
            states,
            states_file,
            witness: None,
        };
        let certificate = self.read(said).unwrap();
        assert_eq!(certificate.perturbation, self.set);
        check_evaluated(certificate, &subject, known, progress)
    }
}
