//! No module of the trusted crates imports one that imports it, over whatever others: each can be read after those that
//! it rests on.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module that names constants of these is no circle: the sentences of clauses say the limits, which stand beside the
/// readers that keep them.
const NAMES_LIMITS: &str = "reader/clause";
type Imports = BTreeMap<String, BTreeSet<String>>;

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// Modules of a crate by their path below `src`, with their code outside test modules and comments.
fn modules(root: &Path) -> BTreeMap<String, String> {
    let mut paths = Vec::new();
    sources(root, &mut paths);
    let named = paths.iter().map(|path| {
        let name = path.strip_prefix(root).unwrap().with_extension("");
        let source = fs::read_to_string(path).unwrap();
        let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code = code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join(" ");
        (name.to_str().unwrap().to_owned(), code)
    });
    let roots = ["lib", "main"];
    named.filter(|(name, _)| !roots.contains(&name.as_str()) && !name.ends_with("tests")).collect()
}

/// The paths that a tree of paths names, such as `a::{b, c::d}`; whatever follows the tree is left.
fn expand(before: &str, tree: &str, into: &mut Vec<String>) -> usize {
    let end = tree.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c)).unwrap_or(tree.len());
    let path = format!("{before}{}", &tree[..end]);
    if !(path.ends_with("::") && tree[end..].starts_with('{')) {
        into.push(path);
        return end;
    }
    let mut at = end + 1;
    loop {
        at += tree[at..].len() - tree[at..].trim_start_matches([' ', ',']).len();
        if tree[at..].starts_with('}') {
            return at + 1;
        }
        at += expand(&path, &tree[at..], into);
        // A name that an item is given here.
        let rest = tree[at..].find([',', '}']).unwrap();
        at += rest;
    }
}

/// What each module imports of the others, by the deepest module that a path names.
fn imports(modules: &BTreeMap<String, String>) -> Imports {
    let mut graph = Imports::new();
    for (name, code) in modules {
        let edges = graph.entry(name.clone()).or_default();
        let starts = ["crate::", "super::", "self::"].iter().flat_map(|start| code.match_indices(start));
        for (at, _) in starts {
            // Within a longer path, which is read from where it begins.
            if code[..at].ends_with("::") || code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let mut paths = Vec::new();
            expand("", &code[at..], &mut paths);
            for path in paths {
                let mut place: Vec<&str> = name.split('/').collect();
                let mut parts = path.split("::").filter(|part| !part.is_empty()).peekable();
                if parts.next_if_eq(&"crate").is_some() {
                    place.clear();
                }
                parts.next_if_eq(&"self");
                while parts.next_if_eq(&"super").is_some() {
                    place.pop();
                }
                place.extend(parts);
                let constant = place.last().is_some_and(|last| !last.contains(|c: char| c.is_lowercase()));
                let mut of = (1..=place.len()).rev().map(|n| place[..n].join("/"));
                let Some(of) = of.find(|of| modules.contains_key(of)) else { continue };
                if of != *name && !(constant && name == NAMES_LIMITS) {
                    edges.insert(of);
                }
            }
        }
    }
    graph
}

/// The modules that remain when those are taken away, again and again, that import none of the rest or are imported by
/// none: there are some iff there is a circle.
fn circle(graph: &Imports) -> Imports {
    let mut rest = graph.clone();
    loop {
        let imported: BTreeSet<String> = rest.values().flatten().cloned().collect();
        let known: BTreeSet<String> = rest.keys().cloned().collect();
        let before = rest.len();
        rest.values_mut().for_each(|of| of.retain(|name| known.contains(name)));
        rest.retain(|name, of| !of.is_empty() && imported.contains(name));
        if rest.len() == before {
            return rest;
        }
    }
}

#[test]
fn no_module_of_the_trusted_crates_imports_one_that_imports_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for name in ["kernel", "checker"] {
        let modules = modules(&root.join(name).join("src"));
        let graph = imports(&modules);
        let edges: usize = graph.values().map(BTreeSet::len).sum();
        assert!(modules.len() > 25 && edges > 2 * modules.len(), "{}, {edges} imports", modules.len());
        assert_eq!(circle(&graph), Imports::new(), "a circle in {name}, and what lies between circles");
    }
}

/// A circle of three is found, one module that is imported by it and one that imports it are not part of it; paths are
/// read in lists, in code, from parents and under other names.
#[test]
fn a_circle_is_found() {
    let code = [
        ("a", "use crate::{other::X as Y, b::{self, inner::Z}};"),
        ("b", "use super::nowhere;"),
        ("b/inner", "fn f() -> super::super::c::T { super::g() }"),
        ("c", "use crate::a::LIMIT; use crate::other::X;"),
        ("other", "pub struct X;"),
        ("top", "use crate::a::Y;"),
        ("reader/clause", "use super::json::{MAX_DEPTH, MAX_VALUES};"),
        ("reader/json", "use super::clause::Clause;"),
    ];
    let modules = code.iter().map(|(name, code)| ((*name).to_owned(), (*code).to_owned())).collect();
    let found = circle(&imports(&modules));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["a", "b/inner", "c"]);
}
