//! The corpus, continued: policies of ELU and SiLU, each accepted once, and what their side conditions refuse.

use std::fs;

use secateur::certify::emit::emit_envelope;
use secateur::certify::regret::RegretRequest;
use secateur_checker::family::Family;
use secateur_checker::sentences::{ASSUME_FLOAT32, LIMIT_FLOAT32};
use secateur_testkit::problem::Problem;

use super::families::tighten;
use super::{NINE, Writer, sealed, specs};

impl Writer<'_> {
    pub fn curves(&self) {
        for name in ["elu", "silu"] {
            let on_demand = [Family::CrownQuadratic, Family::CrownOptimised, Family::Branch];
            let families = [&NINE[..], &on_demand].concat();
            let certificate = self.made(name, name, &families, &RegretRequest::default());
            self.accept(name, name, "twelve families of a curve", &certificate);
            let tight = [
                ("ibp", "interval"),
                ("crown", "line"),
                ("crown-optimised", "line of its own slope"),
                ("crown-quadratic", "parabola"),
            ];
            for (family, what) in tight {
                let note = format!("one unit below what the {what} proves");
                self.refuse(
                    name,
                    &certificate,
                    &[(&format!("{name}-{family}-tight"), "too-tight", &note, &|c| tighten(c, family))],
                );
            }
            let mut binary32 = certificate.clone();
            let of_ibp = binary32.claims.iter_mut().filter(|claim| claim.family == "ibp");
            of_ibp.for_each(|claim| claim.family = "float32/ibp".to_owned());
            binary32.assumptions.push(ASSUME_FLOAT32.to_owned());
            binary32.limits.push(LIMIT_FLOAT32.to_owned());
            let text = emit_envelope(&sealed(&binary32));
            let note = "a float32 family of an activation that has no rule in binary32";
            let (file, reason) = (format!("{name}-float32"), "activation-in-binary32");
            self.reject_with((name, "one.json"), &file, text, 4, reason, note);
        }
        self.misspelled(
            "elu-above-1",
            "out-of-range",
            "alpha above 1, where ELU is not convex",
            "2/3",
            "3/2",
        );
        self.misspelled("elu-zero", "out-of-range", "alpha 0, which is no ELU", "2/3", "0");
        self.misspelled("elu-negative", "out-of-range", "a negative alpha", "2/3", "-2/3");
        self.misspelled(
            "elu-without-alpha",
            "missing-key",
            "an ELU that does not say its alpha",
            "\"alpha\":\"2/3\",",
            "",
        );
        self.misspelled(
            "activation-gelu",
            "unknown-word",
            "an activation without a rule",
            "\"elu\"",
            "\"gelu\"",
        );
    }

    /// The certificate of `problems/elu` beside a policy whose manifest says something else.
    fn misspelled(&self, name: &str, reason: &str, note: &str, from: &str, to: &str) {
        let (_, spec) = specs().into_iter().find(|(name, _)| *name == "elu").expect("a problem");
        let problem = Problem::write(&self.root.join("problems").join(name), &spec);
        let manifest = problem.policy_dir().join("policy.json");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        assert!(text.contains(from), "{text}");
        fs::write(manifest, text.replace(from, to)).expect("written");
        let certificate = self.made("elu", "elu", &[Family::Ibp], &RegretRequest::default());
        self.reject_with((name, "one.json"), name, emit_envelope(&sealed(&certificate)), 2, reason, note);
    }
}
