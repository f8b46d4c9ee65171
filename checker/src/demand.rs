//! What whoever checks demands of a certificate beside that it is true. Trusted. `spec/output.md#demands`.

use crate::answer::{Claims, shape_word, states_words};
use crate::check::Verified;
use crate::model::{Perturbation, Units};
use crate::number::{Rational, Rounding, exactly, outward};
use crate::property::Decided;
use crate::reader::certificate::units_word;
use crate::table::Quantity;

/// The options, each with a value.
pub const OPTIONS: [&str; 8] = [
    "--epsilon",
    "--shape",
    "--units",
    "--min-states",
    "--state-units",
    "--max",
    "--min-radius",
    "--policy-digest",
];

/// How many of the states file's rows the certificate must speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    AtLeast(usize),
    All,
}

/// What is demanded; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    epsilon: Option<Rational>,
    shape: Option<String>,
    units: Option<Units>,
    rows: Option<Rows>,
    state_units: Option<Units>,
    most: Vec<(Quantity, Rational)>,
    /// A quantity, its limit (a margin has none), and up to which multiple of the radii it is kept.
    radii: Vec<(Quantity, Option<Rational>, Rational)>,
    policy_digest: Option<String>,
}

/// A demand that a verified certificate does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Stable code.
    pub code: &'static str,
    /// What was demanded, and what there is.
    pub words: String,
}

/// Accepts iff it is met.
fn demand(met: bool, code: &'static str, wanted: &str, found: &str) -> Result<(), Unmet> {
    let words = || format!("{wanted} is demanded, the certificate has {found}");
    if met { Ok(()) } else { Err(Unmet { code, words: words() }) }
}

fn units(value: &str) -> Option<Units> {
    match value {
        "raw" => Some(Units::Raw),
        "normalised" => Some(Units::Normalised),
        _ => None,
    }
}

fn limit(value: &str) -> Option<(Quantity, Rational)> {
    let (name, limit) = value.split_once('=')?;
    let quantity = match name {
        "tv" => Quantity::TotalVariation,
        "kl" => Quantity::Divergence,
        "deviation" => Quantity::ActionDeviation,
        _ => Quantity::parse(name).filter(|quantity| quantity.rounding() == Rounding::Up)?,
    };
    Some((quantity, Rational::parse(limit).ok()?))
}

fn radius(value: &str) -> Option<(Quantity, Option<Rational>, Rational)> {
    let (goal, multiple) = value.split_once(':')?;
    let (quantity, most) = match goal {
        "same-action" => (Quantity::SameActionMargin, None),
        _ => limit(goal).map(|(quantity, most)| (quantity, Some(most)))?,
    };
    Some((quantity, most, Rational::parse(multiple).ok()?))
}

impl Demands {
    /// Takes the value of one of [`OPTIONS`]; all but `--max` and `--min-radius` may stand once.
    ///
    /// # Errors
    /// What the option takes.
    pub fn add(&mut self, option: &str, value: &str) -> Result<(), &'static str> {
        fn once<T>(slot: &mut Option<T>, value: Option<T>, takes: &'static str) -> Result<(), &'static str> {
            let value = value.ok_or(takes)?;
            if slot.replace(value).is_some() { Err("one value; it stands twice") } else { Ok(()) }
        }
        match option {
            "--epsilon" => once(&mut self.epsilon, Rational::parse(value).ok(), "a decimal or a fraction"),
            "--shape" => {
                let known =
                    ["linf", "l2", "per-coordinate", "sensor"].contains(&value).then(|| value.to_owned());
                once(&mut self.shape, known, "linf, l2, per-coordinate or sensor")
            }
            "--units" => once(&mut self.units, units(value), "raw or normalised"),
            "--state-units" => once(&mut self.state_units, units(value), "raw or normalised"),
            "--min-states" => {
                let rows =
                    if value == "all" { Some(Rows::All) } else { value.parse().ok().map(Rows::AtLeast) };
                once(&mut self.rows, rows, "a number of states, or all")
            }
            "--policy-digest" => {
                let hex = value.strip_prefix("sha256:").unwrap_or(value);
                let whole = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
                once(
                    &mut self.policy_digest,
                    whole.then(|| format!("sha256:{}", hex.to_ascii_lowercase())),
                    "sha256: and 64 hexadecimal digits",
                )
            }
            "--max" => {
                self.most.push(limit(value).ok_or("tv=LIMIT, kl=LIMIT or deviation=LIMIT")?);
                Ok(())
            }
            "--min-radius" => {
                self.radii
                    .push(radius(value).ok_or("deviation=LIMIT:MULTIPLE, tv=, kl= or same-action:MULTIPLE")?);
                Ok(())
            }
            _ => Err("nothing; there is no such demand"),
        }
    }

    /// Whether nothing but the policy is demanded, which also a property certificate can meet.
    pub fn is_about_policy(&self) -> bool {
        let policy_digest = self.policy_digest.clone();
        *self == Self { policy_digest, ..Self::default() }
    }

    /// Accepts iff the policy is the one demanded.
    ///
    /// # Errors
    /// [`Unmet`].
    pub fn meet_policy(&self, found: &str) -> Result<(), Unmet> {
        match &self.policy_digest {
            Some(wanted) if wanted != found => Err(Unmet {
                code: "unmet-policy-digest",
                words: format!("the policy {wanted} is demanded, this is {found}"),
            }),
            _ => Ok(()),
        }
    }

    /// Accepts iff a policy of a property certificate has the digest demanded.
    ///
    /// # Errors
    /// [`Unmet`].
    pub fn meet_property(&self, decided: &Decided) -> Result<(), Unmet> {
        let met = decided.policies().iter().map(|(_, digest)| self.meet_policy(digest));
        met.reduce(Result::or).unwrap_or_else(|| self.meet_policy("none"))
    }

    /// Accepts iff every demand is met.
    ///
    /// # Errors
    /// [`Unmet`], the first one that is not.
    pub fn meet(&self, verified: &Verified) -> Result<(), Unmet> {
        let (certificate, facts) = (verified.certificate(), verified.facts());
        let (set, states) = (&certificate.perturbation, certificate.states);
        self.meet_policy(&facts.policy_digest)?;
        let found = shape_word(&set.shape);
        // A radius alone means the box that it usually means.
        let wanted = self.shape.as_deref().or_else(|| self.epsilon.as_ref().map(|_| "linf"));
        if let Some(wanted) = wanted {
            demand(wanted == found, "unmet-shape", &format!("the shape {wanted}"), found)?;
        }
        if let Some(epsilon) = &self.epsilon {
            let (Perturbation::Linf { radius } | Perturbation::L2 { radius }) = &set.shape else {
                return demand(false, "unmet-epsilon", "one radius", "one an input");
            };
            let wanted = format!("the radius {}", exactly(epsilon));
            demand(radius == epsilon, "unmet-epsilon", &wanted, &exactly(radius))?;
        }
        let in_units = |units| format!("{} units", units_word(units));
        if let Some(wanted) = self.units {
            let words = format!("a radius in {}", in_units(wanted));
            demand(wanted == set.units, "unmet-units", &words, &in_units(set.units))?;
        }
        if let Some(wanted) = self.state_units {
            let (words, found) = (format!("states in {}", in_units(wanted)), certificate.state_units);
            demand(wanted == found, "unmet-state-units", &words, &in_units(found))?;
        }
        let wanted = self.rows.map(|rows| if let Rows::AtLeast(rows) = rows { rows } else { facts.rows });
        if let Some(wanted) = wanted {
            let (words, found) =
                (format!("at least {wanted} states"), states_words(certificate, Some(facts)));
            demand(states >= wanted, "unmet-states", &words, &found)?;
        }
        for (quantity, most, multiple) in &self.radii {
            let limit = most.as_ref().map_or_else(String::new, |most| format!(" at most {}", exactly(most)));
            let goal = format!("{}{limit} up to {} x the radii", quantity.words(), exactly(multiple));
            for mask in 0..certificate.masks.len() {
                // A smaller limit that is kept keeps this one.
                let entries = certificate.radius.iter().filter(|claim| {
                    claim.mask == mask && claim.quantity == quantity.name() && claim.limit <= *most
                });
                let found =
                    (0..states).map(|state| entries.clone().filter_map(|e| e.proved.get(state)).max());
                let found = found.collect::<Option<Vec<_>>>().and_then(|found| found.into_iter().min());
                let words = |found| format!("up to {} x at every state", outward(found, Rounding::Down));
                let words = found.map_or_else(|| "no such radius".to_owned(), words);
                let met = found.is_some_and(|found| found >= multiple);
                demand(met, "unmet-radius", &format!("{goal} under mask {mask}"), &words)?;
            }
        }
        let claims = Claims::new(certificate, Some(facts));
        for (quantity, limit) in &self.most {
            let goal = format!("{} at most {}", quantity.words(), exactly(limit));
            for mask in 0..certificate.masks.len() {
                let found = claims.most(mask, *quantity).map(|bound| bound.value);
                let words = |found| format!("at most {}", outward(found, Rounding::Up));
                let words = found.as_ref().map_or_else(|| "no such bound".to_owned(), words);
                let met = found.is_some_and(|found| found <= *limit);
                demand(met, "unmet-max", &format!("{goal} under mask {mask}"), &words)?;
            }
        }
        Ok(())
    }
}
