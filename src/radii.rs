//! Perturbations by the names of a policy's inputs, from a small TOML file. Untrusted: what is made here is stated in the
//! certificate and said again by the checker, with the policy's names. `spec/semantics.md#radii-files`.

use std::collections::BTreeMap;

use secateur_checker::model::{InputLimit, Perturbation, PerturbationSet, SensorSet, SharedOffset, Units};
use secateur_checker::number::Rational;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::names::{InputGroup, Names};
use toml::{Table, Value};

use crate::names::parse_range;
use crate::settings::{nearest, printable};

/// The policy that a file of radii speaks of.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its names.
    pub names: &'a Names,
    /// Number of inputs.
    pub inputs: usize,
    /// Whether it has a normaliser, so that raw and normalised units differ.
    pub normaliser: bool,
}

/// What a file of radii says, and a sentence about what it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Radii {
    /// The perturbation.
    pub set: PerturbationSet,
    /// Which inputs do not move because nothing is said of them, in words; nothing if all do.
    pub note: Option<String>,
}

/// A value of the file and where it stands.
struct Entry<'a> {
    place: String,
    group: &'a InputGroup,
    /// Members of the group.
    members: std::ops::Range<usize>,
    value: &'a Value,
}

/// Reads a file of radii.
///
/// A key is a group's name, `NAME[3]` or `NAME[3..6]`; members with their own line take that one. `[bias]` has offsets that
/// all frames of an input share, `[limits]` the least and the greatest value. A number stands in quotes and may have the group's
/// unit behind it.
///
/// # Errors
/// The place, what is wrong there, and what to write.
pub fn parse_radii(text: &str, named: Named<'_>, units: Units) -> Result<Radii, String> {
    let table: Table = toml::from_str(text).map_err(|e| crate::settings::toml_words(text, &e))?;
    let is_table = |key: &str| matches!((key, table.get(key)), ("bias" | "limits", Some(Value::Table(_))));
    let part = |key: &str| table.get(key).and_then(Value::as_table).filter(|_| is_table(key));
    let own: Vec<(&str, &Value)> =
        table.iter().map(|(key, value)| (key.as_str(), value)).filter(|(key, _)| !is_table(key)).collect();
    let of = |key: &str| part(key).into_iter().flatten().map(|(k, v)| (k.as_str(), v)).collect::<Vec<_>>();
    let reader = Reader { named, units };
    let mut radii = vec![Rational::zero(); named.inputs];
    let mut said = vec![false; named.inputs];
    for entry in reader.entries("", &own)? {
        let radius = reader.radius(&entry)?;
        for input in reader.inputs(&entry) {
            radii[input] = radius.clone();
            said[input] = true;
        }
    }
    // One offset for each member of a group; a member's own line comes after its group's.
    let mut offsets: BTreeMap<(usize, usize), (Rational, Vec<usize>)> = BTreeMap::new();
    for entry in reader.entries("bias.", &of("bias"))? {
        let radius = reader.radius(&entry)?;
        for member in entry.members.clone() {
            let copies = (0..entry.group.frames).filter_map(|frame| entry.group.input(member, frame));
            let copies: Vec<usize> = copies.collect();
            copies.iter().for_each(|input| said[*input] = true);
            offsets.insert((entry.group.first, member), (radius.clone(), copies));
        }
    }
    let mut limits: BTreeMap<usize, InputLimit> = BTreeMap::new();
    for entry in reader.entries("limits.", &of("limits"))? {
        let (lower, upper) = reader.limits(&entry)?;
        for input in reader.inputs(&entry) {
            limits.insert(input, InputLimit { input, lower: lower.clone(), upper: upper.clone() });
        }
    }
    if !said.contains(&true) {
        return Err("it moves nothing: write NAME = \"RADIUS\" for a group of inputs".to_owned());
    }
    let shared = offsets.into_values().map(|(radius, inputs)| SharedOffset { radius, inputs });
    let (shared, limits): (Vec<_>, Vec<_>) = (shared.collect(), limits.into_values().collect());
    let shape = if shared.is_empty() && limits.is_empty() {
        Perturbation::PerCoordinate { radii }
    } else {
        Perturbation::Sensor(SensorSet { radii, shared, limits })
    };
    Ok(Radii { set: PerturbationSet { shape, units }, note: note(named.names, &said) })
}

/// What does not move because nothing is said of it.
fn note(names: &Names, said: &[bool]) -> Option<String> {
    let silent = |group: &&InputGroup| group.inputs().flatten().all(|input| !said[input]);
    let groups: Vec<String> =
        names.inputs.iter().filter(silent).map(|group| Escaped(&group.name).to_string()).collect();
    let unnamed = (0..said.len()).filter(|input| names.group_of(*input).is_none()).count();
    let count = said.iter().filter(|said| !**said).count();
    if count == 0 {
        return None;
    }
    let mut who = groups;
    if unnamed > 0 {
        who.push(format!("{unnamed} inputs without a name"));
    }
    let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
    Some(format!("{count} inputs do not move, as the file of radii does not say how far{who}"))
}

struct Reader<'a> {
    named: Named<'a>,
    units: Units,
}

impl<'a> Reader<'a> {
    /// Every line of a table, whole groups before members.
    fn entries<'b>(&self, table: &str, lines: &[(&'b str, &'b Value)]) -> Result<Vec<Entry<'b>>, String>
    where
        'a: 'b,
    {
        let mut entries = Vec::new();
        let mut taken: BTreeMap<usize, String> = BTreeMap::new();
        for (key, value) in lines {
            let place = format!("{table}{}", printable(key));
            let (group, members) = self.find(&place, key)?;
            if let Some(members) = &members {
                let inputs = members.clone().filter_map(|member| group.input(member, 0));
                for input in inputs {
                    if let Some(other) = taken.insert(input, place.clone()) {
                        return Err(format!("{place}: {other} speaks of the same input; keep one"));
                    }
                }
            }
            let whole = members.is_none();
            let members = members.unwrap_or(0..group.count);
            entries.push((whole, Entry { place, group, members, value }));
        }
        entries.sort_by_key(|(whole, _)| !whole);
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The group that a key names, and which of its members if it says that.
    fn find(
        &self,
        place: &str,
        key: &str,
    ) -> Result<(&'a InputGroup, Option<std::ops::Range<usize>>), String> {
        let (name, members) = match key.strip_suffix(']').and_then(|key| key.split_once('[')) {
            Some((name, range)) => {
                (name.trim_end(), Some(parse_range(range).map_err(|e| format!("{place}: {e}"))?))
            }
            None => (key, None),
        };
        let groups = &self.named.names.inputs;
        let Some(group) = groups.iter().find(|group| group.name == name) else {
            let known = groups.iter().map(|group| group.name.as_str());
            let meant = nearest(name, known.clone()).map(|near| format!("did you mean {near}? "));
            return Err(format!(
                "{place}: the policy names no inputs so; {}it names {}",
                meant.unwrap_or_default(),
                known.collect::<Vec<_>>().join(", ")
            ));
        };
        match members {
            Some(members) if members.end > group.count => {
                Err(format!("{place}: {} has {} inputs, counted from 0", Escaped(name), group.count))
            }
            members => Ok((group, members)),
        }
    }

    fn inputs(&self, entry: &Entry<'_>) -> Vec<usize> {
        let frames = 0..entry.group.frames;
        let inputs = frames.flat_map(|frame| entry.members.clone().map(move |member| (member, frame)));
        inputs.filter_map(|(member, frame)| entry.group.input(member, frame)).collect()
    }

    /// A number, and behind it perhaps the group's unit.
    fn number(&self, entry: &Entry<'_>, value: &Value) -> Result<Rational, String> {
        let place = &entry.place;
        let Some(text) = value.as_str() else {
            return Err(format!("{place}: write the number in quotes, such as \"0.2\": it is read exactly"));
        };
        let text = text.trim();
        let (number, unit) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let value = Rational::parse(number).map_err(|e| format!("{place}: {:?}: {e}", printable(number)))?;
        let unit = unit.trim();
        match &entry.group.unit {
            _ if unit.is_empty() => Ok(value),
            _ if self.units == Units::Normalised && self.named.normaliser => Err(format!(
                "{place}: {:?} is a unit of raw values, and the radii are in normalised units; give --units raw",
                printable(unit)
            )),
            Some(own) if own == unit => Ok(value),
            Some(own) => {
                Err(format!("{place}: the unit is {own}, not {:?}; convert the number", printable(unit)))
            }
            None => Err(format!("{place}: the policy gives no unit; leave {:?} out", printable(unit))),
        }
    }

    fn radius(&self, entry: &Entry<'_>) -> Result<Rational, String> {
        let radius = self.number(entry, entry.value)?;
        if radius.is_negative() {
            return Err(format!("{}: {radius} is negative; a radius is at least 0", entry.place));
        }
        Ok(radius)
    }

    fn limits(&self, entry: &Entry<'_>) -> Result<(Rational, Rational), String> {
        let place = &entry.place;
        let Some([lower, upper]) = entry.value.as_array().map(Vec::as_slice) else {
            return Err(format!("{place}: write the least and the greatest value, such as [\"-1\", \"1\"]"));
        };
        let (lower, upper) = (self.number(entry, lower)?, self.number(entry, upper)?);
        if lower > upper {
            return Err(format!("{place}: the least value {lower} is above the greatest, {upper}"));
        }
        Ok((lower, upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::parse_names;

    fn names() -> Names {
        let text = "[inputs]\n\
            gyro = { at = \"0..2\", unit = \"rad/s\", frames = 2, stride = 4 }\n\
            joint_pos = { at = \"2..4\", unit = \"rad\" }\n\
            command = { at = \"6\" }\n";
        parse_names(text, 9, 1).expect("names")
    }

    fn read(text: &str, units: Units) -> Result<Radii, String> {
        parse_radii(text, Named { names: &names(), inputs: 9, normaliser: true }, units)
    }

    fn r(text: &str) -> Rational {
        Rational::parse(text).expect("a number")
    }

    #[test]
    fn radii_go_to_every_frame_and_members_have_their_own() {
        let found = read("gyro = \"0.2 rad/s\"\n\"joint_pos[1]\" = \"1/3\"\n", Units::Raw).expect("radii");
        let radii = ["1/5", "1/5", "0", "1/3", "1/5", "1/5", "0", "0", "0"].map(r).to_vec();
        assert_eq!(found.set.shape, Perturbation::PerCoordinate { radii });
        let note = found.note.expect("a note");
        assert_eq!(
            note,
            "4 inputs do not move, as the file of radii does not say how far (\"command\", 2 inputs without a name)"
        );
        let found = read("gyro = \"1\"\n\"gyro[1]\" = \"2\"\n", Units::Normalised).expect("radii");
        let radii = ["1", "2", "0", "0", "1", "2", "0", "0", "0"].map(r).to_vec();
        assert_eq!(found.set.shape, Perturbation::PerCoordinate { radii });
    }

    #[test]
    fn biases_share_their_frames_and_limits_are_kept() {
        let text = "joint_pos = \"0.02\"\nbias.gyro = \"0.05\"\nbias.\"gyro[0]\" = \"0.1\"\n\
            [limits]\njoint_pos = [\"-1.5 rad\", \"1.5\"]\n\"joint_pos[0]\" = [\"0\", \"1\"]\n";
        let found = read(text, Units::Raw).expect("radii");
        let Perturbation::Sensor(SensorSet { radii, shared, limits }) = found.set.shape else {
            panic!("a sensor's set")
        };
        assert_eq!(radii, ["0", "0", "1/50", "1/50", "0", "0", "0", "0", "0"].map(r));
        let offset = |radius, inputs: &[usize]| SharedOffset { radius: r(radius), inputs: inputs.to_vec() };
        assert_eq!(shared, [offset("1/10", &[0, 4]), offset("1/20", &[1, 5])]);
        let limit = |input, lower, upper| InputLimit { input, lower: r(lower), upper: r(upper) };
        assert_eq!(limits, [limit(2, "0", "1"), limit(3, "-3/2", "3/2")]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, units, wanted) in [
            (
                "gyr = \"1\"",
                Units::Raw,
                "gyr: the policy names no inputs so; did you mean gyro? it names gyro, joint_pos",
            ),
            ("gyro = 0.2", Units::Raw, "gyro: write the number in quotes"),
            ("gyro = \"-1\"", Units::Raw, "gyro: -1 is negative"),
            ("gyro = \"0.2 deg/s\"", Units::Raw, "gyro: the unit is rad/s, not \"deg/s\""),
            ("gyro = \"0.2 rad/s\"", Units::Normalised, "give --units raw"),
            ("command = \"0.2 m/s\"", Units::Raw, "command: the policy gives no unit"),
            ("\"gyro[2]\" = \"1\"", Units::Raw, "gyro[2]: \"gyro\" has 2 inputs, counted from 0"),
            ("\"gyro[x]\" = \"1\"", Units::Raw, "gyro[x]: \"x\" is no place"),
            ("\"gyro[0]\" = \"1\"\n\"gyro[0..2]\" = \"1\"", Units::Raw, "speaks of the same input"),
            ("gyro = \"one\"", Units::Raw, "gyro: \"one\": "),
            ("[bias]\nspeed = \"1\"", Units::Raw, "bias.speed: the policy names no inputs so"),
            (
                "gyro = \"1\"\n[limits]\ngyro = \"1\"",
                Units::Raw,
                "limits.gyro: write the least and the greatest",
            ),
            (
                "gyro = \"1\"\n[limits]\ngyro = [\"1\", \"0\"]",
                Units::Raw,
                "limits.gyro: the least value 1 is above",
            ),
            ("[limits]\ngyro = [\"0\", \"1\"]", Units::Raw, "it moves nothing"),
            ("gyro = \"1\"\ngyro = \"1\"", Units::Raw, "line 2: "),
        ] {
            let found = read(text, units).expect_err("refused");
            assert!(found.contains(wanted), "{text}: {found}");
        }
    }
}
