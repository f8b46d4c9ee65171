//! What inputs and outputs are called, from a small TOML file into `policy.json`. Untrusted: what is made here is read by the
//! checker's reader. `spec/certificate-files.md#names-of-inputs-and-outputs`, `spec/import.md#names`.

use std::collections::BTreeMap;

use secateur_checker::number::Rational;
use secateur_checker::reader::names::{InputGroup, Names, OutputName, is_name, is_unit};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::settings::{printable, toml_words};

/// The file. Tables in the order of their first input or output, not of their names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesFile {
    #[serde(default)]
    inputs: BTreeMap<String, InputEntry>,
    #[serde(default)]
    outputs: BTreeMap<String, OutputEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEntry {
    at: String,
    frames: Option<usize>,
    stride: Option<usize>,
    unit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputEntry {
    at: String,
    unit: Option<String>,
    scale: Option<Scale>,
    names: Option<Vec<String>>,
}

/// One scale for all outputs of an entry, or one each.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a number in quotes, such as \"0.25\", or a list of them, one per output")]
enum Scale {
    One(String),
    Each(Vec<String>),
}

/// Places in a list: `3`, or `9..21` for 9 up to and without 21.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_range(text: &str) -> Result<std::ops::Range<usize>, String> {
    let number = |part: &str| part.trim().parse::<usize>().ok();
    let range = match text.split_once("..") {
        Some((from, to)) => number(from).zip(number(to)).map(|(from, to)| from..to),
        None => number(text).and_then(|one| Some(one..one.checked_add(1)?)),
    };
    let shown = printable(text);
    match range {
        Some(range) if range.is_empty() => {
            Err(format!("{shown:?} holds nothing: A..B counts from A up to, and without, B"))
        }
        Some(range) => Ok(range),
        None => Err(format!("{shown:?} is no place: write \"3\", or \"9..21\" for 9 up to and without 21")),
    }
}

fn words(place: &str, name: &str, unit: Option<&str>) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!(
            "{place}: {:?} is no name: use at most 60 ASCII letters, digits, spaces and _-./:+()#, a letter or digit first",
            printable(name)
        ));
    }
    match unit {
        Some(unit) if !is_unit(unit) => Err(format!(
            "{place}: {:?} is no unit: use ASCII letters with /, * and powers, such as \"rad/s^2\"",
            printable(unit)
        )),
        _ => Ok(()),
    }
}

fn input_group(name: &str, entry: InputEntry) -> Result<InputGroup, String> {
    let place = format!("[inputs] {:?}", printable(name));
    words(&place, name, entry.unit.as_deref())?;
    let at = parse_range(&entry.at).map_err(|e| format!("{place}: at {e}"))?;
    let frames = entry.frames.unwrap_or(1);
    let stride = match (frames, entry.stride) {
        (0, _) => return Err(format!("{place}: frames is 0; it counts the first one too")),
        (1, None) => at.len(),
        (_, Some(stride)) => stride,
        (_, None) => {
            return Err(format!(
                "{place}: frames needs stride, the number of inputs from a frame to the next"
            ));
        }
    };
    let (name, first, count, unit) = (name.to_owned(), at.start, at.len(), entry.unit);
    Ok(InputGroup { name, first, count, frames, stride, unit })
}

fn output_names(name: &str, entry: OutputEntry) -> Result<Vec<OutputName>, String> {
    let place = format!("[outputs] {:?}", printable(name));
    let at = parse_range(&entry.at).map_err(|e| format!("{place}: at {e}"))?;
    let short = |what: &str, found: usize| {
        Err(format!("{place}: {found} {what} for {} outputs; give one each", at.len()))
    };
    let names = match entry.names {
        Some(names) if names.len() != at.len() => return short("names", names.len()),
        Some(names) => names,
        None if at.len() == 1 => vec![name.to_owned()],
        None => (0..at.len()).map(|index| format!("{name} {index}")).collect(),
    };
    let scales = match entry.scale {
        None => vec![None; at.len()],
        Some(Scale::One(scale)) => vec![Some(scale); at.len()],
        Some(Scale::Each(scales)) if scales.len() != at.len() => return short("scales", scales.len()),
        Some(Scale::Each(scales)) => scales.into_iter().map(Some).collect(),
    };
    let one = |((output, name), scale): ((usize, String), Option<String>)| {
        words(&place, &name, entry.unit.as_deref())?;
        let exact = |text: String| match Rational::parse(text.trim()) {
            Ok(scale) if scale.is_positive() => Ok(scale),
            Ok(scale) => Err(format!("{place}: scale {scale} is not above 0; only changes are spoken of")),
            Err(e) => Err(format!("{place}: scale {:?}: {e}", printable(&text))),
        };
        Ok(OutputName { name, output, unit: entry.unit.clone(), scale: scale.map(exact).transpose()? })
    };
    at.clone().zip(names).zip(scales).map(one).collect()
}

/// What the file says of a policy with so many inputs and outputs. Inputs and outputs may be left without a name.
///
/// # Errors
/// The place in the file, what is wrong there, and what to write: a key that is not known, an empty or hostile name or unit, a
/// place outside the policy, a place with two names.
pub fn parse_names(text: &str, inputs: usize, outputs: usize) -> Result<Names, String> {
    let file: NamesFile = toml::from_str(text).map_err(|e| toml_words(text, &e))?;
    let groups = file.inputs.into_iter().map(|(name, entry)| input_group(&name, entry));
    let mut groups = groups.collect::<Result<Vec<_>, _>>()?;
    groups.sort_by_key(|group| group.first);
    let named = file.outputs.into_iter().map(|(name, entry)| output_names(&name, entry));
    let mut named: Vec<OutputName> = named.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    named.sort_by_key(|named| named.output);
    if groups.is_empty() && named.is_empty() {
        return Err("it names nothing: write a table [inputs] or [outputs]".to_owned());
    }
    // Apart, so that the table can be named.
    let one = Names { inputs: groups.clone(), outputs: Vec::new() };
    one.check(inputs, outputs).map_err(|e| format!("[inputs]: {e}"))?;
    let names = Names { inputs: groups, outputs: named };
    names.check(inputs, outputs).map_err(|e| format!("[outputs]: {e}"))?;
    Ok(names)
}

/// The member `names` of `policy.json`.
pub fn names_json(names: &Names) -> Value {
    let mut document = Map::new();
    let mut add = |key: &str, entries: Vec<Value>| {
        if !entries.is_empty() {
            document.insert(key.to_owned(), Value::Array(entries));
        }
    };
    let text = |number: usize| number.to_string();
    let groups = names.inputs.iter().map(|group| {
        let mut entry = json!({"name": group.name, "first": text(group.first), "count": text(group.count),
                               "frames": text(group.frames), "stride": text(group.stride)});
        if let Some(unit) = &group.unit {
            entry["unit"] = json!(unit);
        }
        entry
    });
    add("inputs", groups.collect());
    let outputs = names.outputs.iter().map(|named| {
        let mut entry = json!({"name": named.name, "output": text(named.output)});
        if let Some(unit) = &named.unit {
            entry["unit"] = json!(unit);
        }
        if let Some(scale) = &named.scale {
            entry["scale"] = json!(scale.to_string());
        }
        entry
    });
    add("outputs", outputs.collect());
    Value::Object(document)
}

/// The bytes of `policy.json` with these names in place of any that were there; nothing if they are no JSON object.
pub fn with_names(manifest: &[u8], names: &Names) -> Option<Vec<u8>> {
    let mut document: Map<String, Value> = serde_json::from_slice(manifest).ok()?;
    document.insert("names".to_owned(), names_json(names));
    Some(Value::Object(document).to_string().into_bytes())
}

/// The names in a few words: how many groups, and what has none.
pub fn names_words(names: &Names, inputs: usize, outputs: usize) -> String {
    let covered: usize = names.inputs.iter().map(|group| group.inputs().count()).sum();
    let left = |count: usize, what: &str| match count {
        0 => String::new(),
        _ => format!(" ({count} {what} have no name)"),
    };
    format!(
        "{} groups of inputs{}, {} outputs{}",
        names.inputs.len(),
        left(inputs.saturating_sub(covered), "inputs"),
        names.outputs.len(),
        left(outputs.saturating_sub(names.outputs.len()), "outputs")
    )
}

/// A line for each group and output, as tables print them.
pub fn names_lines(names: &Names) -> String {
    let unit = |unit: &Option<String>| unit.as_ref().map_or_else(String::new, |unit| format!(", {unit}"));
    let mut text = String::new();
    for group in &names.inputs {
        let end = group.first.saturating_add(group.count);
        let frames = match group.frames {
            1 => String::new(),
            frames => format!(", {frames} frames every {} inputs", group.stride),
        };
        let line = format!("input  {}..{end}{frames}: {:?}{}", group.first, group.name, unit(&group.unit));
        text.push_str(&format!("{line}\n"));
    }
    for named in &names.outputs {
        let scale = named.scale.as_ref().map_or_else(String::new, |scale| format!(", scale {scale}"));
        text.push_str(&format!("output {}: {:?}{}{scale}\n", named.output, named.name, unit(&named.unit)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[inputs]\n\
        gyro = { at = \"0..3\", unit = \"rad/s\", frames = 2, stride = 5 }\n\
        command = { at = \"3\" }\n\
        [outputs]\n\
        legs = { at = \"0..2\", unit = \"rad\", scale = [\"0.25\", \"1/3\"], names = [\"left hip pitch\", \"left knee\"] }\n\
        arm = { at = \"2..4\", scale = \"0.5\" }\n";

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        parse_names(&GOOD.replacen(from, to, 1), 10, 4).expect_err("refused")
    }

    #[test]
    fn a_file_becomes_the_member_of_the_manifest() {
        let names = parse_names(GOOD, 10, 4).expect("names");
        let wanted = json!({
            "inputs": [
                {"name": "gyro", "first": "0", "count": "3", "frames": "2", "stride": "5", "unit": "rad/s"},
                {"name": "command", "first": "3", "count": "1", "frames": "1", "stride": "1"}],
            "outputs": [
                {"name": "left hip pitch", "output": "0", "unit": "rad", "scale": "1/4"},
                {"name": "left knee", "output": "1", "unit": "rad", "scale": "1/3"},
                {"name": "arm 0", "output": "2", "scale": "1/2"},
                {"name": "arm 1", "output": "3", "scale": "1/2"}]});
        assert_eq!(names_json(&names), wanted);
        let words = names_words(&names, 10, 4);
        assert_eq!(words, "2 groups of inputs (3 inputs have no name), 4 outputs");
        let manifest = with_names(br#"{"format":"x","names":{"old":"1"}}"#, &names).expect("JSON");
        let read: Value = serde_json::from_slice(&manifest).expect("JSON");
        assert_eq!(read, json!({"format": "x", "names": wanted}));
        assert!(with_names(b"[]", &names).is_none());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (from, to, wanted) in [
            ("at = \"3\"", "at = \"2\"", "[inputs]: \"command\" covers number 2, which has a name already"),
            ("at = \"3\"", "at = \"6\"", "covers number 6"),
            (
                "at = \"3\"",
                "at = \"10\"",
                "[inputs]: \"command\" covers a number that the policy does not have",
            ),
            ("stride = 5", "stride = 8", "\"gyro\" covers a number"),
            (", stride = 5", "", "[inputs] \"gyro\": frames needs stride"),
            ("frames = 2", "frames = 0", "[inputs] \"gyro\": frames is 0"),
            ("0..3", "3..3", "[inputs] \"gyro\": at \"3..3\" holds nothing"),
            ("0..3", "0-3", "at \"0-3\" is no place"),
            ("at = \"3\"", "at = 3", "line 3: invalid type: integer"),
            ("rad/s", "1e5", "[inputs] \"gyro\": \"1e5\" is no unit"),
            ("command =", "\"a\\u202eb\" =", "\"a\\\\u{202e}b\" is no name"),
            ("command =", "\"\" =", "[inputs] \"\": \"\" is no name"),
            ("stride", "strid", "unknown field `strid`"),
            ("[outputs]", "[output]", "did you mean outputs?"),
            ("2..4", "1..3", "[outputs]: "),
            ("2..4", "3..5", "[outputs]: \"arm 1\" covers a number that the policy does not have"),
            ("left knee", "arm 0", "[outputs]: the name \"arm 0\" stands twice"),
            (", \"left knee\"", "", "[outputs] \"legs\": 1 names for 2 outputs"),
            (", \"1/3\"", "", "[outputs] \"legs\": 1 scales for 2 outputs"),
            ("1/3", "-1/3", "scale -1/3 is not above 0"),
            ("1/3", "a third", "scale \"a third\": "),
            ("\"0.5\"", "0.5", "a number in quotes"),
        ] {
            let found = refused(from, to);
            assert!(found.contains(wanted), "{from} -> {to}: {found}");
        }
        assert!(parse_names("", 1, 1).expect_err("empty").contains("it names nothing"));
    }
}
