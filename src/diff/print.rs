//! A difference as text, as Markdown and as JSON. Nothing of a stranger leaves its quotes, its cell or its string.

use secateur_checker::number::{Rational, Rounding, claim_decimal};
use serde_json::{Value, json};

use super::{Change, Diff, Direction, Extreme, Fact, Row};
use crate::show::quoted::{code, quoted};

/// Value of `schema` in the JSON document.
pub const SCHEMA: &str = "secateur.diff/1";
/// What stands at the head of every output.
const HEADING: &str =
    "what two certificates claim, compared; nothing was checked: `secateur check` checks each";

/// A decimal beside another: with more than the digits of claims where these would not tell them apart.
fn pair(extreme: &Extreme, direction: Direction) -> (String, String) {
    let decimal = |value: &Rational| claim_decimal(value, direction.rounding());
    let (old, new) = (decimal(&extreme.old), decimal(&extreme.new));
    if old == new { (extreme.old.to_string(), extreme.new.to_string()) } else { (old, new) }
}

fn place(extreme: &Extreme) -> String {
    extreme.state.map(|state| format!("at state {state}")).unwrap_or_default()
}

/// How the numbers moved: `rose at 3 of 100 states, fell at 2`.
fn movement(row: &Row) -> String {
    let counts = &row.counts;
    let all = counts.rose + counts.stayed + counts.fell;
    if let Some(reason) = &row.reason {
        return reason.clone();
    }
    match (counts.rose, counts.fell, all) {
        (_, _, 0) | (0, 0, _) => String::new(),
        (1, 0, 1) => "rose".to_owned(),
        (0, 1, 1) => "fell".to_owned(),
        (rose, 0, all) => format!("rose at {rose} of {all} states"),
        (0, fell, all) => format!("fell at {fell} of {all} states"),
        (rose, fell, all) => format!("rose at {rose} and fell at {fell} of {all} states"),
    }
}

fn counted(diff: &Diff) -> String {
    let counts = Change::ALL.map(|(change, name)| format!("{name} {}", diff.count(change)));
    counts.join(", ")
}

/// What the exit code says.
fn verdict(diff: &Diff) -> String {
    if diff.compared() == 0 {
        return "nothing could be compared".to_owned();
    }
    if !diff.holds() {
        return "something got worse".to_owned();
    }
    if diff.tolerance.is_zero() {
        "nothing that was compared got worse".to_owned()
    } else {
        format!("nothing that was compared got worse by more than {}", diff.tolerance)
    }
}

fn shown(diff: &Diff) -> impl Iterator<Item = &Row> {
    diff.rows.iter().filter(|row| row.change != Change::Same)
}

/// For people; `names` are those of the files.
pub fn text(diff: &Diff, names: [&str; 2]) -> String {
    let [old, new] = names.map(quoted);
    let mut text = format!("{HEADING}\nold  {old}\nnew  {new}\n{}\n", counted(diff));
    for passed in &diff.passed {
        let most = &passed.most;
        text.push_str(&format!(
            "worse  {}: if both hold, the true value rose at {} states; most {}: at most {} before, at least {} after\n",
            passed.about.words(),
            passed.states,
            place(most),
            claim_decimal(&most.old, Rounding::Up),
            claim_decimal(&most.new, Rounding::Down)
        ));
    }
    for row in shown(diff) {
        let mut parts = Vec::new();
        parts.extend(Some(movement(row)).filter(|words| !words.is_empty()));
        if let Some(most) = &row.most {
            let (old, new) = pair(most, row.direction);
            let place = place(most);
            let most = if place.is_empty() { String::new() } else { format!("most {place}: ") };
            parts.push(format!("{most}{old} to {new}"));
        }
        let end = if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ")) };
        text.push_str(&format!("{}  {}{end}\n", row.change.name(), row.about.words()));
    }
    for Fact { what, old, new } in &diff.facts {
        text.push_str(&match (old, new) {
            (Some(old), Some(new)) => format!("differs  {what}: {old}, then {new}\n"),
            (Some(old), None) => format!("gone  {what}: {old}\n"),
            (None, new) => format!("new  {what}: {}\n", new.as_deref().unwrap_or_default()),
        });
    }
    text.push_str(&verdict(diff));
    text
}

/// For reviews and build summaries: two tables, and whatever a stranger wrote in code spans.
pub fn markdown(diff: &Diff, names: [&str; 2]) -> String {
    let [old, new] = names.map(|name| code(&quoted(name)));
    let mut text = format!("{HEADING}\n\n{old} to {new}: {}. {}.\n", counted(diff), verdict(diff));
    if shown(diff).next().is_some() || !diff.passed.is_empty() {
        text.push_str("\n| change | what | how | where | old | new |\n|---|---|---|---|---|---|\n");
    }
    for passed in &diff.passed {
        let (most, about) = (&passed.most, code(&passed.about.words()));
        let (old, new) = (claim_decimal(&most.old, Rounding::Up), claim_decimal(&most.new, Rounding::Down));
        let how = format!("if both hold, the true value rose at {} states", passed.states);
        text.push_str(&format!(
            "| worse | {about} | {how} | {} | at most {old} | at least {new} |\n",
            place(most)
        ));
    }
    for row in shown(diff) {
        let (old, new) = row.most.as_ref().map(|most| pair(most, row.direction)).unwrap_or_default();
        let at = row.most.as_ref().map(place).unwrap_or_default();
        let how = movement(row);
        let how = if row.reason.is_some() { code(&how) } else { how };
        let (change, about) = (row.change.name(), code(&row.about.words()));
        text.push_str(&format!("| {change} | {about} | {how} | {at} | {old} | {new} |\n"));
    }
    if !diff.facts.is_empty() {
        text.push_str("\n| what differs | old | new |\n|---|---|---|\n");
    }
    for Fact { what, old, new } in &diff.facts {
        let cell = |side: &Option<String>| side.as_deref().map(code).unwrap_or_default();
        text.push_str(&format!("| {} | {} | {} |\n", code(what), cell(old), cell(new)));
    }
    text
}

/// For programs; `spec/snapshot.md#diff-as-json`.
pub fn json(diff: &Diff, names: [&str; 2]) -> Value {
    let number = |value: &Rational, rounding| json!({"exact": value.to_string(), "decimal": claim_decimal(value, rounding)});
    let rows = diff.rows.iter().map(|row| {
        let rounding = row.direction.rounding();
        let most = row.most.as_ref().map(|most| {
            json!({"state": most.state, "old": number(&most.old, rounding), "new": number(&most.new, rounding)})
        });
        let about = &row.about;
        json!({
            "change": row.change.name(), "kind": about.kind, "mask": about.mask, "family": about.family,
            "quantity": about.quantity, "output": about.output, "detail": about.detail,
            "worseIf": if row.direction.worse_up() { "rises" } else { "falls" }, "reason": row.reason,
            "rose": row.counts.rose, "stayed": row.counts.stayed, "fell": row.counts.fell, "most": most,
        })
    });
    let passed = diff.passed.iter().map(|passed| {
        let (about, most) = (&passed.about, &passed.most);
        json!({"mask": about.mask, "quantity": about.quantity, "output": about.output, "states": passed.states,
               "state": most.state, "atMostBefore": number(&most.old, Rounding::Up),
               "atLeastAfter": number(&most.new, Rounding::Down)})
    });
    let facts = diff.facts.iter().map(|fact| json!({"what": fact.what, "old": fact.old, "new": fact.new}));
    let counts = Change::ALL.map(|(change, name)| (name.to_owned(), json!(diff.count(change))));
    json!({
        "schema": SCHEMA, "checked": false, "old": names[0], "new": names[1], "holds": diff.holds(),
        "compared": diff.compared(), "tolerance": diff.tolerance.to_string(),
        "counts": Value::Object(counts.into_iter().collect()), "rows": rows.collect::<Vec<_>>(),
        "trueValueRose": passed.collect::<Vec<_>>(), "facts": facts.collect::<Vec<_>>(),
    })
}
