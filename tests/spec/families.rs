//! What the specification says of the families and of the sentences they need is what the family table says.
//!
//! Between `<!-- derived: NAME -->` and `<!-- end -->` stands what is made here; after a change of the table:
//! `SECATEUR_WRITE_SPEC=1 cargo test -p secateur --test spec derived`.

use std::fmt::Write as _;
use std::path::Path;

use secateur_checker::family::{Arithmetic, BandEnd, Compares, Family, Monotone, Scope, WitnessKind};
use secateur_checker::sentences::{
    LIMIT_BANDS, LIMIT_COUNTEREXAMPLE, LIMIT_FLOAT32, LIMIT_MONOTONE, LIMIT_QUADRATIC, LIMIT_RADIUS,
    LIMIT_REGIONS, LIMIT_REGRET, LIMIT_STATES, LIMIT_STATISTICAL, LIMIT_TRUTH, family_limits,
};

/// Every family once, bands with either kind of end.
fn families() -> Vec<(Family, String)> {
    let plain = Family::ALL.into_iter().map(|family| (family, family.name()));
    let bands = [Family::Band, Family::BandCrown].into_iter().flat_map(|band| {
        let listed = band(BandEnd::Mask(0));
        [(listed, listed.name().replace("/0", "/K")), (band(BandEnd::Zero), band(BandEnd::Zero).name())]
    });
    plain.chain(bands).collect()
}

fn listed(chosen: impl Fn(Family) -> bool) -> String {
    let names = families().into_iter().filter(|(family, _)| chosen(*family));
    names.map(|(_, name)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A margin is the lead of a perturbed action over others: what compares two policies has none.
fn has_margin(family: Family) -> bool {
    family.entry().compares == Compares::Perturbed
}

fn family_table() -> String {
    let mut text =
        "| family | holds for | monotone under masks | witness | inference in | compares |\n".to_owned();
    text.push_str("|---|---|---|---|---|---|\n");
    for (family, name) in families() {
        let entry = family.entry();
        let scope = match entry.scope {
            Scope::AllStates => "all states",
            Scope::ListedStates => "a state",
        };
        let monotone = match entry.monotone {
            Monotone::ByTheorem => "by theorem",
            Monotone::No => "no",
        };
        let witness = match entry.witness {
            WitnessKind::None => "none",
            WitnessKind::Vectors => "vectors",
            WitnessKind::Factors => "factors",
            WitnessKind::Slopes => "slopes",
            WitnessKind::Trees => "trees",
        };
        let arithmetic = match entry.arithmetic {
            Arithmetic::Reals => "the reals",
            Arithmetic::Binary32 => "binary32",
        };
        let compares = match entry.compares {
            Compares::Perturbed => "clean and perturbed",
            Compares::Dense => "dense and pruned",
        };
        writeln!(text, "| `{name}` | {scope} | {monotone} | {witness} | {arithmetic} | {compares} |")
            .unwrap();
    }
    text
}

fn monotone_lists() -> String {
    let (yes, no) = (listed(Family::is_monotone), listed(|family| !family.is_monotone()));
    format!("- Monotone by theorem: {yes}.\n- Not: {no}.\n")
}

fn margin_lists() -> String {
    let (yes, no) = (listed(has_margin), listed(|family| !has_margin(family)));
    format!("A `same-action-margin` may be claimed of {yes}; not of {no}.\n")
}

fn limit_table() -> String {
    let quadratic = |family: Family| family == Family::CrownQuadratic;
    let unstable = |family: Family| !family.is_monotone() && !family.is_float32() && !quadratic(family);
    let rows = [
        ("always".to_owned(), LIMIT_TRUTH),
        (
            format!("a local family ({}), or a `same-action-margin` of any family", listed(Family::is_local)),
            LIMIT_STATES,
        ),
        (format!("one of {}", listed(unstable)), LIMIT_MONOTONE),
        (listed(quadratic), LIMIT_QUADRATIC),
        (format!("one of {}", listed(|family| family.band_end().is_some())), LIMIT_BANDS),
        (format!("one of {}", listed(Family::is_float32)), LIMIT_FLOAT32),
        ("`regret`, or the `regret` of a statistical claim, is there".to_owned(), LIMIT_REGRET),
        ("`statistical` is there".to_owned(), LIMIT_STATISTICAL),
        ("`regions` is there".to_owned(), LIMIT_REGIONS),
        ("`counterexample` is there".to_owned(), LIMIT_COUNTEREXAMPLE),
        ("`radius` is there".to_owned(), LIMIT_RADIUS),
    ];
    let mut text = "| When | Limit |\n|---|---|\n".to_owned();
    for (when, limit) in rows {
        writeln!(text, "| {when} | `{limit}` |").unwrap();
    }
    text
}

/// The page with what stands between the markers of `name` replaced.
fn derived(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- derived: {name} -->\n"), "<!-- end -->");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no marker of {name}"));
    let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("no end of {name}"));
    format!("{before}{begin}{text}{end}{after}")
}

#[test]
fn derived_parts_of_the_specification_are_current() {
    let parts = [
        ("spec/rules/README.md", "families", family_table()),
        ("spec/rules/mono.md", "monotone", monotone_lists()),
        ("spec/certificate.md", "margins", margin_lists()),
        ("spec/certificate.md", "limits", limit_table()),
    ];
    for (file, name, text) in parts {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let page = std::fs::read_to_string(&path).unwrap();
        let current = derived(&page, name, &text);
        if std::env::var_os("SECATEUR_WRITE_SPEC").is_some() {
            std::fs::write(&path, &current).unwrap();
        } else {
            assert!(
                page == current,
                "{file}: {name} is not what the family table says; \
                 run `SECATEUR_WRITE_SPEC=1 cargo test -p secateur --test spec derived`"
            );
        }
    }
}

/// The sentence about pruning names the families it is about, and the driver asks for it exactly with them.
#[test]
fn sentences_name_their_families() {
    for (family, name) in families() {
        let unstable = !family.is_monotone() && !family.is_float32();
        let asked = family_limits(&[family], false);
        let sentences = [LIMIT_MONOTONE, LIMIT_QUADRATIC];
        let named = |sentence: &str| sentence.split([' ', ',']).any(|word| word == name);
        assert_eq!(
            sentences.iter().filter(|sentence| named(sentence)).count(),
            usize::from(unstable),
            "{name}: one sentence of checker/src/sentences.rs names a family that is not monotone, and none another"
        );
        assert!(sentences.iter().all(|sentence| asked.contains(sentence) == named(sentence)), "{name}");
        assert_eq!(asked.contains(&LIMIT_STATES), family.is_local(), "{name}");
        assert_eq!(asked.contains(&LIMIT_BANDS), family.band_end().is_some(), "{name}");
        assert_eq!(asked.contains(&LIMIT_FLOAT32), family.is_float32(), "{name}");
        assert!(family_limits(&[family], true).contains(&LIMIT_STATES), "{name}");
        assert_eq!(LIMIT_FLOAT32.split([' ', ',']).any(|word| word == name), family.is_float32(), "{name}");
        assert_eq!(Family::parse(&family.name()), Some(family));
    }
}
