//! The one number of a quantity under a mask that a rule compares: the worst over states and outputs of the claims of one
//! family, or of the best claim at each. Exact. Untrusted; the claims were checked. `spec/gate.md#values`.

use std::cmp::Ordering;

use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::certificate::{Certificate, Claim};
use secateur_checker::table::Quantity;

use super::config::Choice;

/// A number as a certificate states it. Most are short decimals, which are compared as integers; the others as rationals.
/// Both exactly.
#[derive(Clone, Copy, Debug)]
struct Stated<'a> {
    text: &'a str,
    /// Mantissa and power of ten.
    short: Option<(i128, i32)>,
}

impl<'a> Stated<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let short = short_decimal(text);
        (short.is_some() || Rational::parse(text).is_ok()).then_some(Self { text, short })
    }

    fn exact(self) -> Option<Rational> {
        Rational::parse(self.text).ok()
    }

    fn cmp(self, other: Self) -> Ordering {
        let aligned = || {
            let ((a, p), (b, q)) = (self.short?, other.short?);
            let power = |difference: i32| 10i128.checked_pow(u32::try_from(difference).ok()?);
            Some(if p >= q { (a.checked_mul(power(p - q)?)?, b) } else { (a, b.checked_mul(power(q - p)?)?) })
        };
        match aligned() {
            Some((a, b)) => a.cmp(&b),
            None => self.exact().cmp(&other.exact()),
        }
    }
}

/// `-12.5e-7` and the like, of at most 36 digits.
fn short_decimal(text: &str) -> Option<(i128, i32)> {
    let (negative, body) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match body.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (body, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (mantissa, ""),
    };
    if whole.is_empty() || whole.len() + fraction.len() > 36 || exponent.abs() > 300 {
        return None;
    }
    let mut digits = whole.bytes().chain(fraction.bytes());
    let value =
        digits.try_fold(0i128, |value, b| b.is_ascii_digit().then(|| value * 10 + i128::from(b - b'0')))?;
    Some((if negative { -value } else { value }, exponent - fraction.len() as i32))
}

/// A number and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extreme {
    /// The number.
    pub value: Rational,
    /// State; `None` where one number holds for all states.
    pub state: Option<usize>,
    /// Output, for quantities that have one number for each.
    pub output: Option<usize>,
}

/// Whether a family's claims count as bounds on the adversary over the reals.
pub fn counts(family: Family) -> bool {
    family.bounds_adversary() && !family.is_float32()
}

fn family_of(claim: &Claim) -> Option<Family> {
    Family::parse(&claim.family)
}

/// The families that claim `quantity` under `mask` for every output, in their order.
pub fn families(certificate: &Certificate, quantity: Quantity, mask: usize, outputs: usize) -> Vec<Family> {
    let mut found: Vec<Family> = Vec::new();
    for claim in claims(certificate, quantity, mask) {
        if let Some(family) = family_of(claim)
            && !found.contains(&family)
        {
            found.push(family);
        }
    }
    found.retain(|family| {
        slots(quantity, outputs).all(|slot| of(certificate, quantity, mask, *family, slot).is_some())
    });
    found.sort();
    found
}

fn claims(certificate: &Certificate, quantity: Quantity, mask: usize) -> impl Iterator<Item = &Claim> {
    certificate.claims.iter().filter(move |c| c.mask == mask && c.quantity == quantity.name())
}

/// The outputs that a quantity has numbers for.
fn slots(quantity: Quantity, outputs: usize) -> impl Iterator<Item = Option<usize>> {
    let each = quantity == Quantity::ActionDeviation;
    let count = if each { outputs } else { 1 };
    (0..count).map(move |output| each.then_some(output))
}

fn of(
    certificate: &Certificate,
    quantity: Quantity,
    mask: usize,
    family: Family,
    output: Option<usize>,
) -> Option<&Claim> {
    claims(certificate, quantity, mask).find(|c| c.output == output && family_of(c) == Some(family))
}

/// Whether `a` is better than `b`: smaller, or larger for margins.
fn better(quantity: Quantity, a: Stated<'_>, b: Stated<'_>) -> bool {
    a.cmp(b) == if quantity.rounding() == Rounding::Up { Ordering::Less } else { Ordering::Greater }
}

/// The worst over states and outputs of what the families say best at each; `None` unless every output has a claim of one
/// of them.
pub fn worst(
    certificate: &Certificate,
    quantity: Quantity,
    mask: usize,
    outputs: usize,
    families: &[Family],
) -> Option<Extreme> {
    let best = |a, b| if better(quantity, b, a) { b } else { a };
    let mut found: Option<Place<'_>> = None;
    for output in slots(quantity, outputs) {
        let chosen = families.iter().filter_map(|f| of(certificate, quantity, mask, *f, output));
        let local = |claim: &Claim| family_of(claim).is_some_and(Family::is_local);
        let (rows, whole): (Vec<&Claim>, Vec<&Claim>) = chosen.partition(|claim| local(claim));
        let everywhere = whole.iter().filter_map(|claim| Stated::read(claim.values.first()?)).reduce(best);
        let states = rows.iter().map(|claim| claim.values.len()).max();
        let one = match states {
            None => Place { value: everywhere?, state: None, output },
            Some(states) => {
                let at = |state: usize| {
                    let here = rows.iter().filter_map(|claim| Stated::read(claim.values.get(state)?));
                    let value = here.chain(everywhere).reduce(best)?;
                    Some(Place { value, state: Some(state), output })
                };
                // The first of equals, so that the place is the same every time.
                (0..states).map(at).reduce(|a, b| Some(worse_of(quantity, a?, b?)))??
            }
        };
        found = Some(found.map_or(one, |known| worse_of(quantity, known, one)));
    }
    let Place { value, state, output } = found?;
    Some(Extreme { value: value.exact()?, state, output })
}

/// [`Extreme`], before its number is made.
#[derive(Clone, Copy)]
struct Place<'a> {
    value: Stated<'a>,
    state: Option<usize>,
    output: Option<usize>,
}

fn worse_of<'a>(quantity: Quantity, a: Place<'a>, b: Place<'a>) -> Place<'a> {
    if better(quantity, a.value, b.value) { b } else { a }
}

/// The families of a choice that claim the quantity; empty if it is not claimed for every output.
pub fn chosen(
    certificate: &Certificate,
    quantity: Quantity,
    mask: usize,
    outputs: usize,
    choice: Choice,
) -> Vec<Family> {
    let mut listed = families(certificate, quantity, mask, outputs);
    listed.retain(|family| match choice {
        Choice::Best => counts(*family),
        Choice::Family(wanted) => *family == wanted,
    });
    listed
}

/// The largest number that an attack point reaches; `None` where none is claimed.
pub fn attained(certificate: &Certificate, quantity: Quantity, mask: usize) -> Option<Extreme> {
    let listed =
        certificate.counterexample.iter().filter(|c| c.mask == mask && c.quantity == quantity.name());
    let places = listed.flat_map(|claim| {
        let values = claim.at_least.iter().enumerate();
        values.filter_map(|(state, text)| {
            Some(Place { value: Stated::read(text)?, state: Some(state), output: claim.output })
        })
    });
    let most = places.reduce(|a, b| if b.value.cmp(a.value) == Ordering::Greater { b } else { a })?;
    Some(Extreme { value: most.value.exact()?, state: most.state, output: most.output })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of short and long spellings is ordered as its rationals are.
    #[test]
    fn spellings_are_ordered_exactly() {
        let texts = [
            "0",
            "-0",
            "0.1",
            "0.10",
            "1e-1",
            "1/10",
            "0.100000000000000000000000000000000001",
            "-0.1",
            "-1/3",
            "-0.333333333333333333333333333333333333",
            "1e300",
            "1e-300",
            "-1e300",
            "123456789012345678901234567890123456",
            "1234567890123456789012345678901234567",
            "12e34",
            "1e36",
            "0.5e1",
            "5",
            "007",
        ];
        for a in texts {
            for b in texts {
                let (x, y) = (Rational::parse(a).expect(a), Rational::parse(b).expect(b));
                assert_eq!(Stated::read(a).expect(a).cmp(Stated::read(b).expect(b)), x.cmp(&y), "{a} {b}");
            }
        }
        for text in ["", "-", ".", "1.", ".5", "e1", "1e", "+1", "1/0", "x", "1 ", "0x1"] {
            assert!(Stated::read(text).is_none() && Rational::parse(text).is_err(), "{text}");
        }
    }
}
