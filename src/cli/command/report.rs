//! `secateur report`: several certificates in one table, checked if their files are named.

use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets::ASCII_MARKDOWN};
use secateur_checker::answer::{Bound, headline, percent};
use secateur_checker::load::{CheckPaths, check_paths};
use secateur_checker::number::Rounding;
use secateur_checker::radii::target_words;
use secateur_checker::reader::certificate::{Certificate, parse_certificate};
use secateur_checker::reader::dsse::{MAX_ENVELOPE, parse_envelope};
use secateur_checker::reader::escaped::Escaped;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::context::bar::Bar;
use crate::cli::context::error::remember;
use crate::cli::context::streams::{read_document, refuse_dash};
use crate::cli::context::{CliError, Context, write};
use crate::cli::option::document::DocumentOutput;
use crate::outputs::{OutputPlan, is_dash};
use crate::policy::input::{MAX_TEXT, read_text};
use crate::progress::Progress;
use crate::report::{
    BoundRow, OutputRow, RadiusRow, Row, Standing, bounds, outputs, radii, rows, sums, theorem_steps,
};
use crate::show::summary::{FORMAT, both};
use crate::show::survival::survival_plot;
use crate::show::words::short;

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur report hopper.cert.dsse.json walker.cert.dsse.json
  secateur report --list policies.toml --trust keys/trust.json --markdown

Certificates named alone are read and not checked: the rows say `claims only`. With --list every certificate is checked
against its files, as `secateur check` does, and one that is rejected ends the report with exit code 3. The list:

  [[policy]]
  name = \"hopper\"                          # optional; default the certificate's file name
  certificate = \"hopper.cert.dsse.json\"    # paths are relative to the list
  policy = \"hopper\"
  masks = \"hopper/masks\"
  states = \"hopper/states.npy\"

A row counts the steps of the mask chain by verdict, and the values compared in them that fell, stayed or rose.")]
pub struct ReportArguments {
    /// Certificates to read without checking them; - is standard input.
    #[arg(value_name = "CERTIFICATE", required_unless_present = "list", conflicts_with = "list")]
    certificates: Vec<PathBuf>,
    /// TOML list of certificates with the files to check them against.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Whose signatures count, with --list.
    #[arg(long, value_name = "FILE", requires = "list", conflicts_with = "unsigned")]
    trust: Option<PathBuf>,
    /// Check the claims without any signature; the rows say so.
    #[arg(long, requires = "list")]
    unsigned: bool,
    /// The table in Markdown.
    #[arg(long)]
    markdown: bool,
    /// Draw the radii as survival curves into this SVG file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    out: DocumentOutput,
}

/// A list of policies.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    policy: Vec<Entry>,
}

/// One policy's certificate and files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    certificate: PathBuf,
    policy: PathBuf,
    masks: Option<PathBuf>,
    states: PathBuf,
}

impl Entry {
    fn read_by(&self, plan: OutputPlan) -> OutputPlan {
        let plan = plan.policy(&self.policy).masks(self.masks.as_deref());
        plan.input(&self.certificate).input(&self.states)
    }
}

fn name_of(certificate: &Path) -> String {
    let name = certificate.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_suffix(".cert.dsse.json").unwrap_or(&name).to_owned()
}

fn read_list(path: &Path) -> Result<Vec<Entry>, CliError> {
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    let text = read_text(path, MAX_TEXT).map_err(|e| at(&e))?;
    let list: List = toml::from_str(&text).map_err(|e| at(&e))?;
    if list.policy.is_empty() {
        return Err(at(&"no [[policy]] is listed"));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = |entry: Entry| Entry {
        name: Some(entry.name.unwrap_or_else(|| name_of(&entry.certificate))),
        certificate: folder.join(entry.certificate),
        policy: folder.join(entry.policy),
        masks: entry.masks.map(|masks| folder.join(masks)),
        states: folder.join(entry.states),
    };
    Ok(list.policy.into_iter().map(beside).collect())
}

/// What the certificates say.
#[derive(Default)]
struct Read {
    /// How families moved along the chains.
    rows: Vec<Row>,
    /// By policy, what is bounded in a sentence.
    headlines: Vec<(String, String)>,
    /// By mask and quantity, what is bounded.
    bounds: Vec<BoundRow>,
    /// By output that has a name, how far it moves in its unit.
    outputs: Vec<OutputRow>,
    /// By entry, how far a claim is proved.
    radii: Vec<RadiusRow>,
    /// The certificates with radii, by policy.
    certificates: Vec<(String, Certificate)>,
}

impl Read {
    fn radii(&mut self, name: &str, standing: Standing, certificate: &Certificate) {
        if !certificate.radius.is_empty() {
            self.radii.extend(radii(name, standing, certificate));
            self.certificates.push((name.to_owned(), certificate.clone()));
        }
    }
}

/// Checks every listed certificate.
fn checked(arguments: &ReportArguments, entries: Vec<Entry>, bar: &Bar) -> Result<Read, CliError> {
    if arguments.trust.is_none() && !arguments.unsigned {
        return Err(CliError::input(
            "give --trust FILE, or --unsigned to check the claims without signatures",
        ));
    }
    let standing = if arguments.trust.is_some() { Standing::Verified } else { Standing::VerifiedUnsigned };
    let mut read = Read::default();
    for entry in entries {
        let name = entry.name.unwrap_or_default();
        let paths = CheckPaths {
            policy: entry.policy,
            masks: entry.masks,
            states: entry.states,
            trust: arguments.trust.clone(),
            witness: None,
            certificate: entry.certificate,
        };
        let outcome = check_paths(&paths, &mut |done, total| bar.advance("checking", done, total));
        let outcome = outcome.map_err(|e| {
            remember(&e.code());
            let word = if e.exit_code() == 3 { "rejected: " } else { "" };
            CliError { message: format!("{}: {word}{e}", Escaped(&name)), code: e.exit_code() }
        })?;
        let certificate = outcome.verified.certificate();
        let facts = Some(outcome.verified.facts());
        let headline = headline(certificate, facts);
        read.headlines.push((name.clone(), format!("{}: {headline}", standing.words())));
        read.bounds.extend(bounds(&name, standing, certificate, facts));
        read.outputs.extend(outputs(&name, standing, certificate, facts));
        read.rows.extend(rows(&name, standing, certificate));
        read.radii(&name, standing, certificate);
    }
    Ok(read)
}

fn read_only(certificates: &[PathBuf]) -> Result<Read, CliError> {
    if certificates.iter().filter(|path| is_dash(path)).count() > 1 {
        return Err(CliError::input("- is named twice; standard input holds one certificate"));
    }
    let mut read = Read::default();
    for path in certificates {
        let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
        let envelope = parse_envelope(&read_document(path, MAX_ENVELOPE)?).map_err(|e| at(&e))?;
        let certificate = parse_certificate(&envelope.payload).map_err(|e| at(&e))?;
        let (name, standing) = (name_of(path), Standing::ClaimsOnly);
        read.headlines
            .push((name.clone(), format!("{}: {}", standing.words(), headline(&certificate, None))));
        read.bounds.extend(bounds(&name, standing, &certificate, None));
        read.rows.extend(rows(&name, standing, &certificate));
        read.radii(&name, standing, &certificate);
    }
    Ok(read)
}

/// Prints the table.
///
/// # Errors
/// Exit code 2 for unreadable files, 3 for a rejected certificate, 4 for limits. The table's exit code is 1 if a family that
/// is monotone by theorem rose, which only certificates that were not checked can say.
pub fn run(arguments: &ReportArguments, context: Context) -> Result<u8, CliError> {
    let (listed, trust) = (arguments.list.as_deref(), arguments.trust.as_deref());
    refuse_dash([("--list", listed), ("--trust", trust)])?;
    let entries = listed.map(read_list).transpose()?.unwrap_or_default();
    let given = arguments.certificates.iter().map(PathBuf::as_path).chain(listed).chain(trust);
    let plan = given.fold(arguments.out.plan(), OutputPlan::document);
    let plan = arguments.plot.iter().fold(plan, |plan, path| plan.file("--plot", path));
    let files = arguments.out.test_with(entries.iter().fold(plan, |plan, entry| entry.read_by(plan)))?;
    let bar = Bar::new(context.progress);
    let all = match &arguments.list {
        Some(_) => checked(arguments, entries, &bar),
        None => read_only(&arguments.certificates),
    };
    bar.finish();
    let Read { rows: all, headlines, bounds, outputs, radii, certificates } = all?;
    let sums = sums(&all);
    let (steps, violated) = theorem_steps(&all);
    // One policy's rows are their own sums.
    let shown = if headlines.len() > 1 { sums.as_slice() } else { &[] };
    let gap = if arguments.markdown { "\n" } else { "" };
    let mut text = format!("{}\n{gap}{STEPS}\n{gap}", table(&all, shown, arguments.markdown));
    text.push_str(&bound_table(&bounds, arguments.markdown));
    text.push_str(gap);
    text.push_str(&output_table(&outputs, arguments.markdown));
    text.push_str(&radius_table(&radii, arguments.markdown));
    for (name, headline) in &headlines {
        text.push_str(&format!("{}: {headline}\n", plain(name)));
    }
    text.push_str(&format!("families monotone by theorem: {violated} violations in {steps} steps\n"));
    text.push_str(match &arguments.list {
        Some(_) => "every certificate was checked against its files",
        None => "claims only: nothing was checked; --list checks",
    });
    let mut document = json!({"format": FORMAT, "kind": "report", 
        "headlines": headlines.iter().map(|(name, words)| json!({"policy": name, "headline": words})).collect::<Vec<_>>(),
        "bounds": bounds.iter().map(bound_json).collect::<Vec<_>>(), "rows": list(&all), "sums": list(&sums),
        "theoremSteps": steps, "violations": violated});
    if !outputs.is_empty() {
        document["outputs"] = outputs.iter().map(output_json).collect();
    }
    if !radii.is_empty() {
        document["radii"] = radii.iter().map(radius_json).collect();
    }
    if let Some(path) = &arguments.plot {
        let named: Vec<(&str, &Certificate)> =
            certificates.iter().map(|(name, c)| (name.as_str(), c)).collect();
        let plot = survival_plot(&named, arguments.list.is_some())
            .ok_or_else(|| CliError::input("--plot: no certificate has radii; certify with --radius-for"))?;
        let mut set = files.set();
        set.add(path, plot);
        write(set)?;
    }
    arguments.out.emit(&files, context, &text, &document)?;
    Ok(u8::from(violated > 0))
}

/// What the words of the first table mean.
const STEPS: &str = "steps of each mask chain: by theorem, bounds of this family never rise; tightened, some fell; loosened, \
    some rose, which says nothing of the policy itself";

/// Most rows of bounds that are printed.
const MAX_ROWS: usize = 1000;

fn empty_table(markdown: bool) -> Table {
    let mut table = crate::show::words::table();
    if markdown {
        table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    }
    table
}

/// How much the numbers below a heading are worth.
fn standing_words(standing: Standing) -> &'static str {
    match standing {
        Standing::ClaimsOnly => "claimed, unchecked",
        checked => checked.words(),
    }
}

/// What is bounded, by policy, mask and quantity.
fn bound_table(bounds: &[BoundRow], markdown: bool) -> String {
    let mut table = empty_table(markdown);
    table.set_header([
        "policy",
        "mask",
        "sparsity",
        "quantity",
        "certified at most",
        "by",
        "attack at least",
    ]);
    let family = |row: &BoundRow| {
        let bound = row.at_most.as_ref()?;
        Some(bound.family.map_or_else(|| "several families".to_owned(), |family| family.name()))
    };
    for row in bounds.iter().take(MAX_ROWS) {
        let at_most = row.at_most.as_ref().map(|bound| short(&bound.value, Rounding::Up));
        let at_least = row.at_least.as_ref().map(|value| short(value, Rounding::Down));
        table.add_row([
            plain(&row.policy),
            row.mask.to_string(),
            percent(row.pruned[0], row.pruned[1]),
            row.quantity.words().to_owned(),
            at_most.unwrap_or_else(|| "-".to_owned()),
            family(row).unwrap_or_default(),
            at_least.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let Some(words) = bounds.first().map(|row| standing_words(row.standing)) else { return String::new() };
    let left = bounds.len().saturating_sub(MAX_ROWS);
    let more = if left > 0 { format!("{left} more rows: --format json\n") } else { String::new() };
    format!("bounds at the listed states, {words}:\n{}{table}\n{more}", if markdown { "\n" } else { "" })
}

/// How far outputs with names move, in their units; nothing without names.
fn output_table(outputs: &[OutputRow], markdown: bool) -> String {
    let Some(words) = outputs.first().map(|row| standing_words(row.standing)) else { return String::new() };
    let mut table = empty_table(markdown);
    table.set_header(["policy", "output", "moves by at most", "most under", "attack at least"]);
    for row in outputs.iter().take(MAX_ROWS) {
        let Some((mask, most)) = row.worst() else { continue };
        let unit = row.output.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}"));
        let at_least = row.at_least.as_ref().map(|value| format!("{}{unit}", short(value, Rounding::Down)));
        table.add_row([
            plain(&row.policy),
            plain(&row.output.name),
            format!("{}{unit}", short(&most.value, Rounding::Up)),
            format!("mask {mask}"),
            at_least.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let left = outputs.len().saturating_sub(MAX_ROWS);
    let more = if left > 0 { format!("{left} more rows: --format json\n") } else { String::new() };
    let gap = if markdown { "\n" } else { "" };
    format!("outputs in their units, at the listed states, {words}:\n{gap}{table}\n{more}{gap}")
}

/// How far claims are proved, by policy and mask; nothing without radii.
fn radius_table(radii: &[RadiusRow], markdown: bool) -> String {
    let Some(words) = radii.first().map(|row| standing_words(row.standing)) else { return String::new() };
    let mut table = empty_table(markdown);
    table.set_header([
        "policy",
        "mask",
        "sparsity",
        "claim",
        "by",
        "least",
        "median",
        "mean",
        "attack, median",
    ]);
    for row in radii.iter().take(MAX_ROWS) {
        let down = |multiple| short(multiple, Rounding::Down);
        let spread = &row.spread;
        let broken = match &spread.broken_median {
            Some(multiple) => short(multiple, Rounding::Up),
            None => format!("{} of {} states", spread.broken, row.states),
        };
        table.add_row([
            plain(&row.policy),
            row.mask.to_string(),
            percent(row.pruned[0], row.pruned[1]),
            bare(&target_words(&row.quantity, row.limit.as_ref())),
            plain(&row.family),
            down(&spread.least),
            down(&spread.median),
            down(&spread.mean),
            broken,
        ]);
    }
    let left = radii.len().saturating_sub(MAX_ROWS);
    let more = if left > 0 { format!("{left} more rows: --format json\n") } else { String::new() };
    let gap = if markdown { "\n" } else { "" };
    format!(
        "radii, as multiples of the adversary's at the listed states, {words}:\n{gap}{table}\n{more}{gap}"
    )
}

fn radius_json(row: &RadiusRow) -> Value {
    let spread = &row.spread;
    let down = |multiple| both(multiple, Rounding::Down);
    json!({"policy": row.policy, "evidence": row.standing.words(), "mask": row.mask, "pruned": row.pruned[0],
           "total": row.pruned[1], "family": row.family, "quantity": row.quantity,
           "limit": row.limit.as_ref().map(down), "states": row.states, "least": down(&spread.least),
           "median": down(&spread.median), "mean": down(&spread.mean), "brokenStates": spread.broken,
           "brokenMedian": spread.broken_median.as_ref().map(|multiple| both(multiple, Rounding::Up))})
}

fn output_json(row: &OutputRow) -> Value {
    let mask = |(mask, bound): &(usize, Bound)| json!({"mask": mask, "atMost": both(&bound.value, Rounding::Up), "everyState": bound.everywhere});
    let named = &row.output;
    json!({"policy": row.policy, "evidence": row.standing.words(), "name": named.name, "output": named.output,
           "unit": named.unit, "scale": named.scale.as_ref().map(|scale| both(scale, Rounding::Down)),
           "masks": row.masks.iter().map(mask).collect::<Vec<_>>(),
           "attackAtLeast": row.at_least.as_ref().map(|value| both(value, Rounding::Down))})
}

fn bound_json(row: &BoundRow) -> Value {
    let bound = row.at_most.as_ref();
    json!({"policy": row.policy, "evidence": row.standing.words(), "mask": row.mask, "pruned": row.pruned[0],
           "total": row.pruned[1], "sparsity": row.pruned[0] as f64 / row.pruned[1].max(1) as f64,
           "quantity": row.quantity.name(), "family": bound.and_then(|b| b.family).map(|family| family.name()),
           "atMost": bound.map(|b| both(&b.value, Rounding::Up)), "everyState": bound.map(|b| b.everywhere),
           "attackAtLeast": row.at_least.as_ref().map(|value| both(value, Rounding::Down))})
}

/// A word as it is, another text quoted, escaped, and without what Markdown and HTML take for their own.
fn plain(text: &str) -> String {
    bare(&crate::show::words::plain(text))
}

fn bare(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '|' | '`' | '<' | '>' | '*' | '[' | ']')).collect()
}

/// Counts with their words, those of 0 left out.
fn counted(counts: &[(usize, &str)]) -> String {
    let words = counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    words.collect::<Vec<_>>().join(", ")
}

/// For people few columns, for Markdown one a count.
fn table(all: &[Row], sums: &[Row], markdown: bool) -> Table {
    let mut table = crate::show::words::table();
    let mut header = vec!["policy", "family", "of"];
    if markdown {
        table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        header.extend([
            "by theorem",
            "tightened",
            "unchanged",
            "loosened",
            "violated",
            "fell",
            "stayed",
            "rose",
        ]);
        header.push("evidence");
    } else {
        header.extend(["steps", "values"]);
    }
    table.set_header(header);
    for row in all.iter().chain(sums) {
        let moves = &row.moves;
        let [fell, stayed, rose] = moves.values;
        let mut cells = vec![
            row.policy.as_deref().map_or_else(|| "all".to_owned(), plain),
            plain(&row.family),
            plain(&row.of),
        ];
        let steps = [
            (moves.by_theorem, "by theorem"),
            (moves.tightened, "tightened"),
            (moves.unchanged, "unchanged"),
            (moves.loosened, "loosened"),
            (moves.violated, "violated"),
        ];
        let values = [(fell, "fell"), (stayed, "stayed"), (rose, "rose")];
        if markdown {
            cells.extend(steps.iter().chain(&values).map(|(count, _)| count.to_string()));
            cells.push(row.standing.map_or_else(String::new, |s| s.words().to_owned()));
        } else {
            cells.extend([counted(&steps), counted(&values)]);
        }
        table.add_row(cells);
    }
    table
}

fn list(rows: &[Row]) -> Value {
    let entry = |row: &Row| {
        let moves = &row.moves;
        json!({"policy": row.policy, "evidence": row.standing.map(Standing::words), "family": row.family, "of": row.of,
               "states": row.states, "steps": {"byTheorem": moves.by_theorem, "tightened": moves.tightened,
               "unchanged": moves.unchanged, "loosened": moves.loosened, "violated": moves.violated},
               "values": {"fell": moves.values[0], "stayed": moves.values[1], "rose": moves.values[2]}})
    };
    Value::Array(rows.iter().map(entry).collect())
}
