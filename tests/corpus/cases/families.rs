//! The corpus, continued: bands, envelopes, pruned against dense, searched slopes, regret, statistical claims and
//! properties, each accepted once and rejected for one reason after another.

use std::fs;
use std::path::PathBuf;

use secateur::certify::Certified;
use secateur::certify::cells::CellRequest;
use secateur::certify::emit::emit_envelope;
use secateur::certify::radius::{RadiusGoal, RadiusRequest};
use secateur::certify::regret::{RegretRequest, StatisticalRequest};
use secateur::cli::command::verify::question;
use secateur::export::pruned_files;
use secateur::search::branch::BranchOptions;
use secateur::verify::difference::Compared;
use secateur::verify::{Answer, Question, QuestionNetwork, SearchState, verify};
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::kernel::regret::RewardRange;
use secateur_checker::load::{load_masks, load_policy};
use secateur_checker::model::{InputLimit, Perturbation, PerturbationSet, SensorSet, SharedOffset, Units};
use secateur_checker::pair::PairQuestion;
use secateur_checker::reader::certificate::{Certificate, Claim};
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::dsse::Envelope;
use secateur_checker::reader::property::NamedNetwork;
use secateur_checker::reader::regret::{RegretForm, Sampling};
use secateur_checker::sentences::regret_assumptions;
use secateur_checker::sentences::statistical_assumptions;
use serde_json::{Value, json};

use super::{Sidecar, Writer, sealed, sign};
use secateur_testkit::decimal::nudged;
use secateur_testkit::problem::{certify_cells, certify_claiming, certify_radii, key, linf, rational};

const SAMPLER: &str = "independent-episodes-geometric-time";
/// Values a rule's claims are about, and what is wrong with a change of them.
type Change<'a> = (&'a str, &'a str, &'a str, &'a dyn Fn(&mut Certificate));

fn claims_of<'a>(certificate: &'a mut Certificate, family: &str, mask: usize) -> Vec<&'a mut Claim> {
    let claims = certificate.claims.iter_mut();
    claims.filter(|c| c.family == family && c.mask == mask).collect()
}

/// The first value of the family's first claim under mask 0, one unit of its last digit lower.
pub(super) fn tighten(certificate: &mut Certificate, family: &str) {
    let value = &mut claims_of(certificate, family, 0)[0].values[0];
    *value = nudged(value, -1);
}

fn set_of(certificate: &mut Certificate) -> &mut SensorSet {
    match &mut certificate.perturbation.shape {
        Perturbation::Sensor(set) => set,
        other => panic!("{other:?}"),
    }
}

impl Writer<'_> {
    /// Every case of this file.
    pub fn families(&self) {
        self.bands();
        self.margins();
        self.envelope_families();
        self.paired();
        self.sensors();
        self.slopes();
        self.branch();
        self.cells();
        self.counterexamples();
        self.radii();
        self.regret();
        self.statistical();
        self.properties();
        self.pairs();
    }

    /// Certifies a problem, and claims what `regret` asks for.
    pub(super) fn made(
        &self,
        problem: &str,
        name: &str,
        families: &[Family],
        regret: &RegretRequest,
    ) -> Certificate {
        self.made_with(problem, name, families, (regret, false))
    }

    /// With points from below if the second of `asked` says so. A witness file gets the case's own name, in `accepted/` and in `rejected/`.
    fn made_with(
        &self,
        problem: &str,
        name: &str,
        families: &[Family],
        asked: (&RegretRequest, bool),
    ) -> Certificate {
        self.made_under(&linf("1/20"), (problem, name), families, asked)
    }

    fn made_under(
        &self,
        set: &PerturbationSet,
        (problem, name): (&str, &str),
        families: &[Family],
        asked: (&RegretRequest, bool),
    ) -> Certificate {
        let folder = self.root.join("problems").join(problem);
        let certified = certify_claiming(&folder, families, set, &key(1), asked);
        self.kept(name, certified.unwrap_or_else(|e| panic!("{name}: {e}")))
    }

    /// The certificate, its witness file under the case's own name in both folders.
    fn kept(&self, name: &str, certified: Certified) -> Certificate {
        let mut certificate = certified.verified.certificate().clone();
        if let (Some(record), Some(bytes)) = (&mut certificate.witness, &certified.witness) {
            record.name = format!("{name}.witness.safetensors");
            for place in ["accepted", "rejected"] {
                fs::write(self.root.join(place).join(&record.name), bytes).expect("witness written");
            }
        }
        certificate
    }

    pub(super) fn accept(&self, problem: &str, name: &str, note: &str, certificate: &Certificate) {
        let (note, problem, trust) = (note.to_owned(), problem.to_owned(), "one.json".to_owned());
        let sidecar = Sidecar { note, problem, trust, exit: 0, reason: None, property: None, second: None };
        self.put("accepted", name, emit_envelope(&sealed(certificate)).as_bytes(), &sidecar);
    }

    /// Each change of an accepted certificate, signed again with the trusted key.
    pub(super) fn refuse(&self, problem: &str, certificate: &Certificate, changes: &[Change<'_>]) {
        for (name, reason, note, change) in changes {
            let mut changed = certificate.clone();
            change(&mut changed);
            let text = emit_envelope(&sealed(&changed));
            self.reject_with((problem, "one.json"), name, text, 3, reason, note);
        }
    }

    /// Margins at or below 0: at (0, 2) the lead of the output preferred at the state falls to -63/8, and to no more.
    fn margins(&self) {
        let folder = self.root.join("problems/leads");
        let families = [Family::Sensitivity, Family::Ibp, Family::Crown, Family::Band(BandEnd::Mask(0))];
        let no_regret = (&RegretRequest::default(), false);
        let made = |families: &[Family]| {
            let certified = certify_claiming(&folder, families, &linf("1"), &key(1), no_regret);
            certified.unwrap_or_else(|e| panic!("margins: {e}")).verified.certificate().clone()
        };
        let certificate = made(&families);
        self.accept("leads", "margins", "leads that an adversary can turn round", &certificate);
        let claim = |c: &mut Certificate, family: &str, value: &str| {
            let mut claims = claims_of(c, family, 0).into_iter();
            let margin = claims.find(|c| c.quantity == "same-action-margin").expect("a margin");
            margin.values[0] = value.to_owned();
        };
        self.refuse(
            "leads",
            &certificate,
            &[
                ("margin-band", "too-tight", "a band's lead as if one output were preferred", &|c| {
                    claim(c, "band/0", "-7.125");
                }),
                ("margin-tight", "too-tight", "more than the lead that is left", &|c| {
                    claim(c, "ibp", "-7.87");
                }),
            ],
        );
        let global = made(&[Family::Sensitivity]);
        self.refuse(
            "leads",
            &global,
            &[("margin-limit", "limit-missing", "not said that a margin is about the listed states", &|c| {
                c.limits.retain(|l| !l.starts_with("states"));
            })],
        );
    }

    fn bands(&self) {
        let ends = [BandEnd::Mask(1), BandEnd::Zero];
        let families: Vec<Family> =
            ends.iter().flat_map(|e| [Family::Band(*e), Family::BandCrown(*e)]).collect();
        let certificate = self.made("gaussian", "bands", &families, &RegretRequest::default());
        self.accept("gaussian", "bands", "bands to mask 1 and to the mask that keeps nothing", &certificate);
        let narrower = certificate.claims.clone();
        self.refuse(
            "gaussian",
            &certificate,
            &[
                ("band-tight", "too-tight", "a band's bound one unit too small", &|c| tighten(c, "band/1")),
                ("band-crown-tight", "too-tight", "the same by backward bounds", &|c| {
                    tighten(c, "band-crown/zero");
                }),
                ("band-narrower", "too-tight", "the values of a narrower band for a wider one", &|c| {
                    let known = narrower.iter().filter(|claim| claim.family == "band/1" && claim.mask == 0);
                    for (claim, known) in claims_of(c, "band/zero", 0).into_iter().zip(known) {
                        claim.values.clone_from(&known.values);
                    }
                }),
                ("band-beyond", "no-mask", "a mask beyond the band's end", &|c| {
                    c.claims[0].mask = 2;
                }),
                ("band-unlisted", "no-mask", "an end beyond the list", &|c| {
                    c.claims[0].family = "band/3".to_owned();
                }),
                ("band-spelling", "unknown-family", "the end with a leading zero", &|c| {
                    c.claims[0].family = "band/01".to_owned();
                }),
                ("band-verdict", "wrong-verdict", "a band's step is left out", &|c| {
                    c.verdicts.remove(0);
                }),
                ("band-limit", "limit-missing", "what a band does not say is not said", &|c| {
                    c.limits.retain(|limit| !limit.starts_with("bands"));
                }),
            ],
        );
    }

    fn envelope_families(&self) {
        let families = [Family::Ibp, Family::Crown, Family::EnvelopeIbp, Family::EnvelopeCrown];
        let certificate = self.made("gaussian", "envelopes", &families, &RegretRequest::default());
        self.accept("gaussian", "envelopes", "local families and their envelopes", &certificate);
        self.refuse(
            "gaussian",
            &certificate,
            &[
                ("envelope-tight", "too-tight", "an envelope one unit too small", &|c| {
                    tighten(c, "envelope/ibp");
                }),
                ("envelope-crown-tight", "too-tight", "the same of backward bounds", &|c| {
                    tighten(c, "envelope/crown");
                }),
                ("envelope-word", "wrong-verdict", "a theorem that is not named", &|c| {
                    let verdict =
                        c.verdicts.iter_mut().find(|v| v.family == "envelope/ibp").expect("a verdict");
                    verdict.verdict = "tightened".to_owned();
                }),
            ],
        );
    }

    fn paired(&self) {
        let families = [Family::Sensitivity, Family::PrunedDeviation];
        let certificate = self.made("gaussian", "pruned-deviation", &families, &pays(&[sup()]));
        self.accept(
            "gaussian",
            "pruned-deviation",
            "the pruned policies against the dense one",
            &certificate,
        );
        self.refuse(
            "gaussian",
            &certificate,
            &[
                ("pruned-tight", "too-tight", "a deviation one unit too small", &|c| {
                    let value = &mut claims_of(c, "pruned-deviation", 1)[0].values[0];
                    *value = nudged(value, -1);
                }),
                (
                    "pruned-regret",
                    "family-not-claimed",
                    "regret from a distance between two policies",
                    &|c| {
                        c.regret[0].family = "pruned-deviation".to_owned();
                    },
                ),
                ("pruned-word", "wrong-verdict", "a family without a theorem is given one", &|c| {
                    let verdict =
                        c.verdicts.iter_mut().find(|v| v.family == "pruned-deviation").expect("one");
                    verdict.verdict = "tightens-by-theorem".to_owned();
                }),
            ],
        );
    }

    fn sensors(&self) {
        let radii = ["1/50", "0", "1/40"].map(rational).to_vec();
        let shared = vec![SharedOffset { radius: rational("1/30"), inputs: vec![0, 2] }];
        let limits = vec![InputLimit { input: 1, lower: rational("-10"), upper: rational("10") }];
        let shape = Perturbation::Sensor(SensorSet { radii, shared, limits });
        let set = PerturbationSet { shape, units: Units::Normalised };
        let families = [Family::Sensitivity, Family::Ibp, Family::Crown, Family::BandCrown(BandEnd::Mask(1))];
        let none = RegretRequest::default();
        let certificate = self.made_under(&set, ("named", "sensor"), &families, (&none, true));
        let note =
            "a bias of two inputs that moves both by the same, with noise and limits, of a policy with names";
        self.accept("named", "sensor", note, &certificate);
        self.refuse(
            "named",
            &certificate,
            &[
                ("sensor-tight", "too-tight", "a value one unit too small", &|c| {
                    let value = &mut claims_of(c, "crown", 0)[0].values[0];
                    *value = nudged(value, -1);
                }),
                ("sensor-larger", "too-tight", "an offset that is larger than the claims allow", &|c| {
                    set_of(c).shared[0].radius = rational("1/29");
                }),
                ("sensor-apart", "too-tight", "inputs that do not share their offset", &|c| {
                    set_of(c).shared[0].inputs.pop();
                    set_of(c).shared.push(SharedOffset { radius: rational("1/30"), inputs: vec![2] });
                }),
                ("sensor-negative", "negative-offset", "an offset with a negative radius", &|c| {
                    set_of(c).shared[0].radius = rational("-1/30");
                }),
                ("sensor-twice", "offset-twice", "an input of two offsets", &|c| {
                    let again = set_of(c).shared[0].clone();
                    set_of(c).shared.push(again);
                }),
                ("sensor-nowhere", "no-such-input", "an offset of an input that is not there", &|c| {
                    set_of(c).shared[0].inputs.push(3);
                }),
                ("sensor-empty-limits", "empty-limits", "limits that leave nothing", &|c| {
                    set_of(c).limits[0].lower = rational("11");
                }),
                ("sensor-outside", "outside-limits", "a state outside its limits", &|c| {
                    set_of(c).limits[0].lower = rational("9");
                }),
                ("sensor-radii", "model", "too few radii of noise", &|c| {
                    set_of(c).radii.pop();
                }),
            ],
        );
    }

    fn slopes(&self) {
        let none = RegretRequest::default();
        let lp = self.made("categorical", "lp", &[Family::Ibp, Family::Lp], &none);
        self.accept("categorical", "lp", "slopes from the dual of a linear program", &lp);
        self.refuse(
            "categorical",
            &lp,
            &[("lp-tight", "too-tight", "a bound one unit too small", &|c| tighten(c, "lp"))],
        );
        let certificate = self.made("gaussian", "slopes", &[Family::Crown, Family::CrownOptimised], &none);
        self.accept("gaussian", "slopes", "searched slopes in the witness file", &certificate);
        let tight: Change<'_> =
            ("slopes-tight", "too-tight", "a bound one unit too small", &|c| tighten(c, "crown-optimised"));
        self.refuse("gaussian", &certificate, &[tight]);
        let record = certificate.witness.as_ref().expect("a witness");
        let bytes = fs::read(self.root.join("rejected").join(&record.name)).expect("the witness");
        // The slopes that the checker derives itself are sound, but not as good as those that the claims were made with.
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let mut zeroed = bytes.clone();
        zeroed[8 + header..].fill(0);
        self.with_witness(&certificate, "slopes-zeroed", &zeroed, "too-tight", "other slopes, worse bounds");
    }

    fn with_witness(&self, certificate: &Certificate, name: &str, bytes: &[u8], reason: &str, note: &str) {
        let file = format!("{name}.witness.safetensors");
        fs::write(self.root.join("rejected").join(&file), bytes).expect("witness written");
        self.refuse(
            "gaussian",
            certificate,
            &[(name, reason, note, &|c| {
                let record = c.witness.as_mut().expect("a witness record");
                (record.name, record.sha256, record.size) = (file.clone(), sha256_hex(bytes), bytes.len());
            })],
        );
    }

    fn branch(&self) {
        let families = [Family::Ibp, Family::Branch];
        let certificate = self.made("categorical", "branch", &families, &RegretRequest::default());
        self.accept("categorical", "branch", "output ranges by split trees", &certificate);
        let tight: Change<'_> =
            ("branch-tight", "too-tight", "a bound one unit too small", &|c| tighten(c, "branch"));
        self.refuse("categorical", &certificate, &[tight]);
    }

    fn cells(&self) {
        let folder = self.root.join("problems").join("gaussian");
        let request = CellRequest { gap: rational("1/10"), cells: 40 };
        let families = [Family::Ibp, Family::Branch];
        let certified = certify_cells(&folder, &families, &linf("1/20"), &key(1), &request);
        let certificate = self.kept("cells", certified.unwrap_or_else(|e| panic!("cells: {e}")));
        self.accept("gaussian", "cells", "family branch by cells, one tree for all outputs", &certificate);
        let tight: Change<'_> =
            ("cells-tight", "too-tight", "a bound one unit too small", &|c| tighten(c, "branch"));
        self.refuse("gaussian", &certificate, &[tight]);
    }

    fn counterexamples(&self) {
        let none = RegretRequest::default();
        let certificate = self.made_with("gaussian", "counterexample", &[Family::Ibp], (&none, true));
        self.accept("gaussian", "counterexample", "bounds from below, and brackets", &certificate);
        self.refuse(
            "gaussian",
            &certificate,
            &[
                ("counterexample-large", "too-tight", "more than the point shows", &|c| {
                    let value = &mut c.counterexample[0].at_least[0];
                    *value = nudged(value, 1);
                }),
                ("counterexample-length", "length", "a state left out", &|c| {
                    c.counterexample[0].at_least.truncate(1);
                }),
                ("counterexample-twice", "repeated", "the same bound twice", &|c| {
                    c.counterexample.push(c.counterexample[0].clone());
                }),
                ("bracket-word", "wrong-verdict", "a step said to have hurt", &|c| {
                    let verdict = c.brackets.iter_mut().find(|b| b.verdict == "not-shown").expect("one");
                    verdict.verdict = "hurt".to_owned();
                }),
            ],
        );
    }

    fn radii(&self) {
        let folder = self.root.join("problems/categorical");
        let goals = ["same-action", "deviation=1/4"].map(|text| RadiusGoal::parse(text).expect(text));
        let families = vec![Family::Crown, Family::CrownOptimised];
        let radii = RadiusRequest { goals: goals.to_vec(), families, ..RadiusRequest::default() };
        let certified = certify_radii(&folder, &[Family::Ibp], &linf("1/20"), &key(1), &radii);
        let certificate = self.kept("radius", certified.unwrap_or_else(|e| panic!("radius: {e}")));
        self.accept(
            "categorical",
            "radius",
            "multiples of the radii that are proved and broken",
            &certificate,
        );
        let proved = |c: &mut Certificate| {
            c.radius.iter().position(|r| r.proved[0].is_positive() && r.broken[0].is_some()).expect("one")
        };
        self.refuse(
            "categorical",
            &certificate,
            &[
                ("radius-large", "radius-too-large", "more than the family proves", &|c| {
                    let entry = proved(c);
                    let multiple = &mut c.radius[entry].proved[0];
                    *multiple = multiple.mul(&rational("1.01"));
                }),
                ("radius-near", "point-too-far", "a point outside the set that it is said to lie in", &|c| {
                    let entry = proved(c);
                    let broken = &mut c.radius[entry].broken[0];
                    *broken = broken.as_ref().map(|multiple| multiple.mul(&rational("0.99")));
                }),
                ("radius-unbroken", "radius-not-broken", "a limit that the point keeps", &|c| {
                    let limited = c.radius.iter_mut().find(|r| r.limit.is_some() && r.broken[0].is_some());
                    limited.expect("one").limit = Some(rational("1000"));
                }),
                ("radius-length", "length", "a state left out", &|c| {
                    c.radius[0].proved.truncate(1);
                }),
                ("radius-family", "radius-family", "a family of all states", &|c| {
                    c.radius[0].family = "sensitivity".to_owned();
                }),
                ("radius-unlimited", "radius-limit", "a deviation without a limit", &|c| {
                    let limited = c.radius.iter_mut().find(|r| r.limit.is_some()).expect("one");
                    limited.limit = None;
                }),
                ("radius-limit", "limit-missing", "what a radius does not say is not said", &|c| {
                    c.limits.retain(|l| !l.starts_with("radius"));
                }),
                ("radius-twice", "repeated", "the same radius twice", &|c| {
                    c.radius.push(c.radius[0].clone());
                }),
            ],
        );
    }

    fn regret(&self) {
        let families = [Family::Sensitivity, Family::Ibp];
        let request = pays(&[sup(), RegretForm::Horizon { steps: 20 }]);
        let certificate = self.made("gaussian", "regret", &families, &request);
        self.accept("gaussian", "regret", "discounted and finite-horizon regret", &certificate);
        let again = |c: &mut Certificate| {
            let needed: Vec<String> = c.regret.iter().flat_map(regret_assumptions).collect();
            c.assumptions.extend(needed);
        };
        self.refuse(
            "gaussian",
            &certificate,
            &[
                ("regret-tight", "too-tight", "one unit too small", &|c| {
                    let value = &mut c.regret[0].value;
                    *value = nudged(value, -1);
                }),
                ("regret-assumption", "assumption-missing", "that actions are sampled is not said", &|c| {
                    c.assumptions.retain(|a| !a.starts_with("sampled-actions"));
                }),
                ("regret-limit", "limit-missing", "what regret is not is not said", &|c| {
                    c.limits.retain(|l| !l.starts_with("regret"));
                }),
                ("regret-region", "wrong-region", "listed states passed off as all states", &|c| {
                    let local = c.regret.iter_mut().find(|r| r.family == "ibp").expect("a local claim");
                    local.region = secateur_checker::reader::regret::Region::AllStates;
                }),
                ("regret-equal-rewards", "too-tight", "equal rewards said to lose nothing", &|c| {
                    // Rewards of [1, 1] lose nothing only if no episode can end; here they can.
                    c.regret[0].rewards =
                        RewardRange { lower: rational("1"), upper: rational("1"), episodes_can_end: true };
                    c.regret[0].value = "0".to_owned();
                    again(c);
                }),
                ("regret-discount", "discount-out-of-range", "a discount of 1", &|c| {
                    c.regret[0].form = RegretForm::Sup { discount: rational("1") };
                    again(c);
                }),
                ("regret-twice", "repeated", "the same claim twice", &|c| {
                    c.regret.push(c.regret[0].clone());
                }),
            ],
        );
    }

    fn statistical(&self) {
        let sampling = Sampling {
            sampler: SAMPLER.to_owned(),
            discount: rational("9/10"),
            samples: 40,
            ended: 30,
            cut_off: 8,
        };
        let draw = StatisticalRequest { mask: 1, sampling, level: rational("19/20"), masks: 1 };
        let request = RegretRequest { statistical: Some(draw), ..pays(&[]) };
        let certificate = self.made("gaussian", "statistical", &[Family::Ibp], &request);
        self.accept(
            "gaussian",
            "statistical",
            "F(theta) from 40 episodes, two of them seen alive",
            &certificate,
        );
        let states = certificate.states;
        let again = |c: &mut Certificate| {
            let needed: Vec<String> =
                c.statistical.iter().flat_map(|claim| statistical_assumptions(claim, states)).collect();
            c.assumptions.extend(needed);
        };
        self.refuse(
            "gaussian",
            &certificate,
            &[
                ("statistical-tight", "too-tight", "one unit too small", &|c| {
                    let value = &mut c.statistical[0].value;
                    *value = nudged(value, -1);
                }),
                ("statistical-rows", "rows-left-out", "the last row of the states file left out", &|c| {
                    c.states -= 1;
                    let states = c.states;
                    c.claims
                        .iter_mut()
                        .filter(|c| c.values.len() > 1)
                        .for_each(|c| c.values.truncate(states));
                }),
                ("statistical-sampler", "sampler", "consecutive states of one episode", &|c| {
                    c.statistical
                        .iter_mut()
                        .for_each(|s| s.sampling.sampler = "consecutive-states".to_owned());
                }),
                ("statistical-count", "sample-count", "episodes left out of the count", &|c| {
                    c.statistical.iter_mut().for_each(|s| s.sampling.samples = 41);
                    again(c);
                }),
                (
                    "statistical-ended",
                    "ended-although-never",
                    "ended episodes of a task that never ends",
                    &|c| {
                        for claim in &mut c.statistical {
                            claim.regret.as_mut().expect("regret").rewards.episodes_can_end = false;
                        }
                        again(c);
                    },
                ),
                ("statistical-split", "too-many-inequalities", "two claims, a confidence for one", &|c| {
                    c.statistical.iter_mut().for_each(|s| s.confidence.inequalities = 1);
                    again(c);
                }),
                ("statistical-assumption", "assumption-missing", "the sampler is not said", &|c| {
                    c.assumptions.retain(|a| !a.starts_with("sampler"));
                }),
            ],
        );
    }

    /// The network of `problems/categorical` and a property of it, as VNN-LIB and in the canonical form.
    fn property(&self, name: &str, constraint: &str) -> Question {
        let folder = self.root.join("problems/categorical");
        let declared = ["X_0", "X_1", "Y_0", "Y_1", "Y_2"];
        let mut text: String = declared.iter().map(|v| format!("(declare-const {v} Real)\n")).collect();
        for input in ["X_0", "X_1"] {
            text.push_str(&format!("(assert (>= {input} -0.5))\n(assert (<= {input} 0.5))\n"));
        }
        text.push_str(&format!("(assert {constraint})\n"));
        let path = folder.join(format!("{name}.vnnlib"));
        fs::write(&path, text).expect("property written");
        let question = question(&folder.join("policy"), &path).unwrap_or_else(|e| panic!("{}", e.message));
        fs::write(folder.join(format!("{name}.property.json")), &question.property)
            .expect("property written");
        question
    }

    fn put_property(&self, folder: &str, name: &str, envelope: &Envelope, told: (&str, &str, Option<&str>)) {
        let (property, note, reason) = told;
        let sidecar = Sidecar {
            note: note.to_owned(),
            problem: "categorical".to_owned(),
            trust: "one.json".to_owned(),
            exit: if reason.is_some() { 3 } else { 0 },
            reason: reason.map(str::to_owned),
            property: Some(property.to_owned()),
            second: None,
        };
        self.put(folder, name, emit_envelope(envelope).as_bytes(), &sidecar);
    }

    fn proof_path(&self, folder: &str) -> PathBuf {
        self.root.join(folder).join("property-unsat.proof.json")
    }

    fn properties(&self) {
        let decided = |name: &str, constraint: &str| {
            let question = self.property(name, constraint);
            let options = BranchOptions::default();
            let answer = verify(
                &question,
                &options,
                SearchState::default(),
                &key(1),
                "property-unsat.proof.json",
                &|| false,
            );
            match answer.unwrap_or_else(|e| panic!("{name}: {e}")) {
                Answer::Decided { envelope, proof, .. } => (envelope, proof),
                Answer::Unknown { .. } => panic!("{name} is not decided"),
            }
        };
        // The outputs are below 8 in magnitude: three rows of three weights of at most 1, and a bias of at most 1.
        let (unsat, proof) = decided("unsat", "(>= Y_0 8.0)");
        let proof = proof.expect("a proof");
        let (sat, none) = decided("sat", "(>= Y_0 -8.0)");
        assert!(none.is_none());
        for folder in ["accepted", "rejected"] {
            fs::write(self.proof_path(folder), &proof).expect("proof written");
        }
        self.put_property("accepted", "property-unsat", &unsat, ("unsat", "no input of the box", None));
        self.put_property("accepted", "property-sat", &sat, ("sat", "an input of the box", None));
        let payload =
            |envelope: &Envelope| -> Value { serde_json::from_slice(&envelope.payload).expect("JSON") };
        let reject = |name: &str, of: (&str, &Envelope), told: (&str, &str), change: &dyn Fn(&mut Value)| {
            let mut value = payload(of.1);
            change(&mut value["predicate"]);
            let envelope = sign(value.to_string().into_bytes());
            self.put_property("rejected", name, &envelope, (of.0, told.1, Some(told.0)));
        };
        reject("property-outside", ("sat", &sat), ("point-outside", "a point outside the box"), &|p| {
            p["counterexample"]["point"][0] = json!("1");
        });
        reject("property-case", ("sat", &sat), ("no-such-case", "a case that does not exist"), &|p| {
            p["counterexample"]["case"] = json!("1");
        });
        reject(
            "property-assumption",
            ("sat", &sat),
            ("assumption-missing", "real arithmetic is not said"),
            &|p| {
                p["assumptions"] = json!([]);
            },
        );
        reject("property-swapped", ("unsat", &sat), ("wrong-file", "another property"), &|_| {});
        reject("property-proof", ("unsat", &unsat), ("wrong-file", "another proof file"), &|p| {
            p["proof"]["digest"]["sha256"] = json!(sha256_hex(b"another"));
        });
        let forged = |name: &str, of: &str, tree: &str| {
            let file = format!("{name}.proof.json");
            let bytes = format!("{{\"cases\":[{tree}],\"format\":\"secateur.proof/1\"}}").into_bytes();
            fs::write(self.root.join("rejected").join(&file), &bytes).expect("proof written");
            let mut value = payload(&unsat);
            if of == "sat" {
                value["subject"] = payload(&sat)["subject"].clone();
                value["predicate"]["inputs"] = payload(&sat)["predicate"]["inputs"].clone();
            }
            let size = bytes.len().to_string();
            value["predicate"]["proof"] =
                json!({"digest": {"sha256": sha256_hex(&bytes)}, "name": file, "size": size});
            sign(value.to_string().into_bytes())
        };
        let leaf = r#"[{"constraint":"0","node":"leaf"}]"#;
        let not_proved = forged("property-not-proved", "sat", leaf);
        let told = ("sat", "a leaf where the constraint can hold", Some("not-proved"));
        self.put_property("rejected", "property-not-proved", &not_proved, told);
        let trees = forged("property-trees", "unsat", &format!("{leaf},{leaf}"));
        self.put_property(
            "rejected",
            "property-trees",
            &trees,
            ("unsat", "two trees, one case", Some("proof-cases")),
        );
        let empty = forged("property-empty", "unsat", r#"[{"node":"empty"}]"#);
        let told = ("unsat", "the whole box said to be empty", Some("not-empty"));
        self.put_property("rejected", "property-empty", &empty, told);
    }

    /// Two networks, by how much their outputs differ: `problems/categorical`, and `problems/pruned`, the same policy under
    /// its last mask.
    fn pairs(&self) {
        const PAIR: [&str; 2] = ["categorical", "pruned"];
        let problem = self.root.join("problems/categorical");
        let dense = load_policy(&problem.join("policy")).expect("a policy");
        let masks = load_masks(&problem.join("masks"), &dense.files).expect("masks").masks;
        let pruned = pruned_files(&dense, masks.last().expect("a mask")).expect("a policy");
        let folder = self.root.join("problems/pruned/policy");
        fs::create_dir_all(&folder).expect("folder made");
        fs::write(folder.join("policy.json"), pruned.0).expect("written");
        fs::write(folder.join("policy.safetensors"), pruned.1).expect("written");
        let policy = |problem: &str| {
            let folder = self.root.join("problems").join(problem).join("policy");
            let read = |name: &str| fs::read(folder.join(name)).expect("read");
            QuestionNetwork::new(read("policy.json"), read("policy.safetensors")).expect("a network")
        };
        let decided = |name: &str, delta: &str| {
            let named =
                ["dense", "pruned"].map(|name| NamedNetwork { name: name.to_owned(), reads: vec![0, 1] });
            let boxes = vec![(vec![rational("-1/2"); 2], vec![rational("1/2"); 2])];
            let networks = PAIR.map(policy).into();
            let compared = Compared { networks, named: named.into(), boxes, inputs: Vec::new() };
            let asked = PairQuestion::Difference { delta: rational(delta) };
            let question = compared.question(&asked).expect("a question");
            for problem in PAIR {
                let path = self.root.join("problems").join(problem).join(format!("{name}.property.json"));
                fs::write(path, &question.property).expect("property written");
            }
            let options = BranchOptions::default();
            match verify(&question, &options, SearchState::default(), &key(1), "pair.proof.json", &|| false) {
                Ok(Answer::Decided { envelope, proof, .. }) => (envelope, proof),
                other => panic!("{name} is not decided: {:?}", other.map(|_| ())),
            }
        };
        let (differs, proof) = decided("differs", "1/4");
        let proof = proof.expect("a proof");
        for folder in ["accepted", "rejected"] {
            fs::write(self.root.join(folder).join("pair.proof.json"), &proof).expect("proof written");
        }
        let put =
            |folder: &str, name: &str, envelope: &Envelope, (property, networks, note, reason): Told| {
                let [first, second] = networks.map(str::to_owned);
                let sidecar = Sidecar {
                    note: note.to_owned(),
                    problem: first,
                    trust: "one.json".to_owned(),
                    exit: if reason.is_some() { 3 } else { 0 },
                    reason: reason.map(str::to_owned),
                    property: Some(property.to_owned()),
                    second: Some(second),
                };
                self.put(folder, name, emit_envelope(envelope).as_bytes(), &sidecar);
            };
        put(
            "accepted",
            "pair",
            &differs,
            ("differs", PAIR, "no output of two networks differs by 1/4", None),
        );
        let wrong = Some("wrong-file");
        put(
            "rejected",
            "pair-swapped",
            &differs,
            ("differs", ["pruned", "categorical"], "the two networks exchanged", wrong),
        );
        put(
            "rejected",
            "pair-twice",
            &differs,
            ("differs", ["categorical"; 2], "the first network in place of the second", wrong),
        );
        // The same proof for a difference that is met somewhere.
        let (met, none) = decided("differs-little", "1/8");
        assert!(none.is_none());
        let [mut value, subject] = [&differs, &met]
            .map(|envelope| -> Value { serde_json::from_slice(&envelope.payload).expect("JSON") });
        value["subject"] = subject["subject"].clone();
        value["predicate"]["inputs"] = subject["predicate"]["inputs"].clone();
        let forged = sign(value.to_string().into_bytes());
        put(
            "rejected",
            "pair-not-proved",
            &forged,
            ("differs-little", PAIR, "a difference that some input shows", Some("not-proved")),
        );
    }
}

/// Property, networks, note and reason of a case of two networks.
type Told<'a> = (&'a str, [&'a str; 2], &'a str, Option<&'a str>);

fn sup() -> RegretForm {
    RegretForm::Sup { discount: rational("9/10") }
}

fn pays(forms: &[RegretForm]) -> RegretRequest {
    let rewards = RewardRange { lower: rational("-1"), upper: rational("2"), episodes_can_end: true };
    RegretRequest { forms: forms.to_vec(), rewards: Some(rewards), statistical: None }
}
