//! `names` of `policy.json`: what inputs and outputs are called, and in which units they are. Trusted; nothing that is
//! proved depends on it. `spec/certificate-files.md#names-of-inputs-and-outputs`.

use std::collections::BTreeSet;

use super::clause::Clause;
use super::fields::Fields;
use super::record::{list_or_absent, record};
use super::tensor::MAX_WIDTH;
use crate::number::Rational;

/// Longest name or unit, in bytes.
pub const MAX_WORD: usize = 60;

record! {
    /// Inputs that belong together: `count` of them from `first` on, and copies of all of these every `stride` inputs further,
    /// `frames` with the first.
    pub struct InputGroup {
        /// Name, see [`is_name`].
        name: String => name,
        /// The first input, from 0.
        first: usize,
        /// How many there are in a frame.
        count: usize,
        /// How many frames.
        frames: usize,
        /// From an input to its copy in the next frame.
        stride: usize,
        /// Unit of the raw values, see [`is_unit`].
        unit: Option<String> => unit,
    }
}

record! {
    /// An output with its name.
    pub struct OutputName {
        /// Name, see [`is_name`].
        name: String => name,
        /// The output, from 0.
        output: usize,
        /// Unit of what the robot makes of it, see [`is_unit`].
        unit: Option<String> => unit,
        /// How much a change of 1 of the output is in that unit, above 0; 1 if absent.
        scale: Option<Rational> => scale,
    }
}

record! {
    /// Names of some of the inputs and outputs, each at most once.
    pub struct Names {
        /// Groups of inputs; no input is in two.
        inputs: Vec<InputGroup> => list_or_absent("named inputs", MAX_WIDTH),
        /// Outputs.
        outputs: Vec<OutputName> => list_or_absent("named outputs", MAX_WIDTH),
    }
}

/// Whether a text may be a name: ASCII letters, digits and ` _-./:+()#`, a letter or digit first, no space last.
pub fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b" _-./:+()#".contains(&b);
    (1..=MAX_WORD).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.ends_with(' ')
}

/// Whether a text may be a unit: factors of letters or `%`, each perhaps with a power, as in `rad/s^2` and `kg*m^-1`. So no
/// unit looks like a number or an exponent behind the number that it belongs to.
pub fn is_unit(text: &str) -> bool {
    let factor = |factor: &str| {
        let (base, power) = factor.split_once('^').unwrap_or((factor, "1"));
        let power = power.strip_prefix('-').unwrap_or(power);
        let letters = base.bytes().all(|b| b.is_ascii_alphabetic() || b == b'%');
        letters && !base.is_empty() && !power.is_empty() && power.bytes().all(|b| b.is_ascii_digit())
    };
    text.len() <= MAX_WORD && text.split(['/', '*']).all(factor)
}

fn name(fields: &mut Fields<'_>, key: &str) -> Result<String, Clause> {
    let field = fields.required(key)?;
    let allowed = "a name of at most 60 ASCII letters, digits, spaces and _-./:+()#, a letter or digit first";
    Ok(field.allowed(field.string()?, allowed, |text| is_name(text))?.to_owned())
}

fn unit(fields: &mut Fields<'_>, key: &str) -> Result<Option<String>, Clause> {
    let Some(field) = fields.optional(key) else { return Ok(None) };
    let allowed = "a unit of ASCII letters with /, * and powers, such as rad/s^2";
    Ok(Some(field.allowed(field.string()?, allowed, |text| is_unit(text))?.to_owned()))
}

fn scale(fields: &mut Fields<'_>, key: &str) -> Result<Option<Rational>, Clause> {
    let Some(field) = fields.optional(key) else { return Ok(None) };
    field.allowed(field.rational()?, "a number above 0", Rational::is_positive).map(Some)
}

impl InputGroup {
    /// Input `member` of the group, from 0, in frame `frame`; nothing beyond what can be counted.
    pub fn input(&self, member: usize, frame: usize) -> Option<usize> {
        frame.checked_mul(self.stride)?.checked_add(member)?.checked_add(self.first)
    }

    /// Its inputs, frame by frame.
    pub fn inputs(&self) -> impl Iterator<Item = Option<usize>> {
        let frame = move |frame| (0..self.count).map(move |member| self.input(member, frame));
        (0..self.frames).flat_map(frame)
    }
}

impl Names {
    /// The group of an input and which of the group's it is, in its frame.
    pub fn group_of(&self, input: usize) -> Option<(&InputGroup, usize)> {
        let member = |group: &InputGroup| {
            let from_first = input.checked_sub(group.first)?;
            // A single frame has no next one.
            let stride = if group.frames == 1 { usize::MAX } else { group.stride };
            let (frame, member) = (from_first.checked_div(stride)?, from_first.checked_rem(stride)?);
            (member < group.count && frame < group.frames).then_some(member)
        };
        self.inputs.iter().find_map(|group| Some((group, member(group)?)))
    }

    /// Accepts iff every group covers inputs, every name outputs that exist, and nothing has two names.
    ///
    /// # Errors
    /// [`Clause::NameTwice`], [`Clause::NameOutside`], [`Clause::NamedTwice`], [`Clause::NamesNothing`].
    pub fn check(&self, inputs: usize, outputs: usize) -> Result<(), Clause> {
        cover(inputs, self.inputs.iter().map(|group| (&group.name, group.inputs())))?;
        cover(outputs, self.outputs.iter().map(|named| (&named.name, [Some(named.output)].into_iter())))
    }
}

fn cover<'a, I: Iterator<Item = Option<usize>>>(
    width: usize,
    all: impl Iterator<Item = (&'a String, I)>,
) -> Result<(), Clause> {
    let (mut names, mut covered) = (BTreeSet::new(), BTreeSet::new());
    for (name, mut places) in all {
        let word = || name.as_str().into();
        if !names.insert(name) {
            return Err(Clause::NameTwice { name: word() });
        }
        // Ends at the first place that is covered or outside, whatever the counts say.
        let first = places.next().ok_or_else(|| Clause::NamesNothing { name: word() })?;
        for place in [first].into_iter().chain(places) {
            let inside = place.filter(|place| *place < width);
            let place = inside.ok_or_else(|| Clause::NameOutside { name: word(), width })?;
            if !covered.insert(place) {
                return Err(Clause::NamedTwice { name: word(), place });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
