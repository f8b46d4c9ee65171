//! No float on the trusted path, not even a literal: Clippy refuses the types `f32` and `f64` and float arithmetic, but
//! lets `let x = 1.5;` and `x.to_f64()` pass. This reads the source itself. `.ci/fence` tries the other lints.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

use std::path::{Path, PathBuf};

/// What a token is taken for, and the line it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Number(String),
    Mark(char),
}

/// Rust's tokens as far as they matter here: comments, strings and character literals are left out.
struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn advance(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        self.advance(length)
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while !self.rest.is_empty() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.advance(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.advance(2);
                if depth == 0 {
                    return;
                }
            } else {
                self.one();
            }
        }
    }

    fn one(&mut self) -> char {
        let character = self.rest.chars().next().expect("not at the end");
        self.advance(character.len_utf8());
        character
    }

    fn quoted(&mut self, end: char) {
        self.one();
        while !self.rest.is_empty() {
            match self.one() {
                '\\' => {
                    self.one();
                }
                c if c == end => return,
                _ => {}
            }
        }
    }

    /// `"..."#` with as many `#` as the string opened with.
    fn raw_string(&mut self) {
        let hashes = self.take_while(|c| c == '#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        self.one();
        let length = self.rest.find(&end).map_or(self.rest.len(), |at| at + end.len());
        self.advance(length);
    }

    /// A lifetime has no closing quote: `'a` but `'a'`.
    fn is_character(&self) -> bool {
        let mut next = self.rest.chars().skip(1);
        match next.next() {
            Some('\\') => true,
            Some(_) => next.next() == Some('\''),
            None => false,
        }
    }

    /// An integer or float literal; a dot belongs to it if a digit follows, or neither a name nor another dot.
    fn number(&mut self, after_dot: bool) -> String {
        let mut text = self.digits_and_suffix().to_owned();
        let mut after = self.rest.chars();
        let dot = after.next() == Some('.');
        let next = after.next();
        let belongs = next.is_none_or(|c| !(c == '.' || c == '_' || c.is_alphabetic()));
        if dot && belongs && !after_dot {
            text.push_str(self.advance(1));
            text.push_str(self.digits_and_suffix());
        }
        let based = ["0x", "0b", "0o"].iter().any(|prefix| text.starts_with(prefix));
        if !based && text.ends_with(['e', 'E']) && self.rest.starts_with(['+', '-']) {
            text.push_str(self.advance(1));
            text.push_str(self.digits_and_suffix());
        }
        text
    }

    fn digits_and_suffix(&mut self) -> &'a str {
        self.take_while(|c| c == '_' || c.is_ascii_alphanumeric())
    }
}

fn tokens(source: &str) -> Vec<(usize, Token)> {
    let mut lexer = Lexer { rest: source, line: 1 };
    let mut found: Vec<(usize, Token)> = Vec::new();
    while let Some(first) = lexer.rest.chars().next() {
        let line = lexer.line;
        if lexer.rest.starts_with("//") {
            lexer.take_while(|c| c != '\n');
        } else if lexer.rest.starts_with("/*") {
            lexer.block_comment();
        } else if first == '"' {
            lexer.quoted('"');
        } else if first == '\'' && lexer.is_character() {
            lexer.quoted('\'');
        } else if first.is_ascii_digit() {
            let after_dot = matches!(found.last(), Some((_, Token::Mark('.'))));
            found.push((line, Token::Number(lexer.number(after_dot))));
        } else if first == '_' || first.is_alphabetic() {
            let word = lexer.take_while(|c| c == '_' || c.is_alphanumeric()).to_owned();
            let raw = matches!(word.as_str(), "r" | "br" | "cr")
                && lexer.rest.trim_start_matches('#').starts_with('"');
            if raw {
                lexer.raw_string();
            } else {
                found.push((line, Token::Word(word)));
            }
        } else {
            let mark = lexer.one();
            if !mark.is_whitespace() {
                found.push((line, Token::Mark(mark)));
            }
        }
    }
    found
}

/// The tokens without the items under `#[cfg(test)]`.
fn without_tests(tokens: &[(usize, Token)]) -> Vec<(usize, Token)> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let spelled = |token: &Token| match token {
        Token::Word(text) | Token::Number(text) => text.clone(),
        Token::Mark(mark) => mark.to_string(),
    };
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let [first, tail @ ..] = rest {
        let is_attribute = rest.len() >= attribute.len()
            && rest.iter().zip(attribute).all(|((_, token), wanted)| spelled(token) == wanted);
        if !is_attribute {
            kept.push(first.clone());
            rest = tail;
            continue;
        }
        let mut depth = 0usize;
        let end = rest[attribute.len()..].iter().position(|(_, token)| match token {
            Token::Mark('{') => {
                depth += 1;
                false
            }
            Token::Mark('}') => {
                depth -= 1;
                depth == 0
            }
            Token::Mark(';') => depth == 0,
            _ => false,
        });
        rest = end.map_or(&[], |at| &rest[attribute.len() + at + 1..]);
    }
    kept
}

fn is_float_literal(text: &str) -> bool {
    if ["0x", "0b", "0o"].iter().any(|prefix| text.starts_with(prefix)) {
        return false;
    }
    let after_digits = text.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit());
    after_digits.starts_with(['.', 'e', 'E', 'f'])
}

/// `f64`, but `to_f64` and `FloatCore` too; not `decode_utf16` or a stored format's name `F64`.
fn is_float_name(word: &str) -> bool {
    let types = ["f16", "f32", "f64", "f128"];
    types.iter().any(|t| word == *t || word.strip_suffix(t).is_some_and(|rest| rest.ends_with('_')))
        || word == "float"
        || word.starts_with("Float")
}

/// Floats outside tests, each with its line.
fn floats(source: &str) -> Vec<(usize, String)> {
    let found = without_tests(&tokens(source)).into_iter().filter_map(|(line, token)| match token {
        Token::Word(word) if is_float_name(&word) => Some((line, word)),
        Token::Number(text) if is_float_literal(&text) => Some((line, text)),
        _ => None,
    });
    found.collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Whether the file is `FOO/tests.rs` and `FOO.rs` names it as a module for tests only.
fn is_for_tests_only(file: &Path) -> bool {
    let parent = file.parent().expect("inside a folder").with_extension("rs");
    file.file_name().is_some_and(|name| name == "tests.rs")
        && std::fs::read_to_string(parent).is_ok_and(|text| {
            let kept = without_tests(&tokens(&text));
            text.contains("mod tests;") && !kept.iter().any(|(_, t)| *t == Token::Word("tests".to_owned()))
        })
}

#[test]
fn the_trusted_crates_have_no_float() {
    let checker = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in [checker.join("src"), checker.join("../kernel/src")] {
        let before = files.len();
        sources(&folder, &mut files);
        files.retain(|file| !is_for_tests_only(file));
        assert!(files.len() > before + 20, "only {} files read in {folder:?}", files.len() - before);
    }
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("UTF-8");
        found.extend(floats(&text).into_iter().map(|hit| (file.clone(), hit)));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn floats_are_found() {
    for (source, wanted) in [
        ("let x = 1.5;", "1.5"),
        ("let x = 1.;", "1."),
        ("let x = (2.,);", "2."),
        ("let x = 1e9;", "1e9"),
        ("let x = 1E-9;", "1E-9"),
        ("let x = 2.5e+3;", "2.5e+3"),
        ("let x = 3f64;", "3f64"),
        ("let x = 1_000.0_f32;", "1_000.0_f32"),
        ("fn f(x: f64) {}", "f64"),
        ("fn f() -> f16 {}", "f16"),
        ("let x = y.to_f64();", "to_f64"),
        ("let x = d.as_secs_f32();", "as_secs_f32"),
        ("use num_traits::float::FloatCore;", "float"),
        ("#[cfg(test)] mod t { let x = 1.5; } let y = 2.5;", "2.5"),
        ("#[cfg(test)] use a::{b}; let y = 2.5;", "2.5"),
        ("#[cfg(not(test))] let y = 2.5;", "2.5"),
        ("let c = '\"'; let y = 2.5; let d = '\"';", "2.5"),
        ("fn f<'a>(x: &'a str) { let y = 2.5; }", "2.5"),
        ("let r = r#\"\"1.5\"\"#; let y = 2.5;", "2.5"),
        ("/* 1.5 /* 1.5 */ 1.5 */ let y = 2.5;", "2.5"),
    ] {
        let found = floats(source);
        assert_eq!(found.first().map(|f| f.1.as_str()), Some(wanted), "{source}");
    }
}

#[test]
fn what_is_no_float_is_left_alone() {
    for source in [
        "let x = 15;",
        "let x = 0x1e5;",
        "let x = 0xf32;",
        "for i in 0..10 {}",
        "let x = pair.0.1;",
        "let x = 1.max(2);",
        "let x = 1u32 << 2usize;",
        "let x = s.encode_utf16();",
        "let x = Dtype::F64;",
        "// 1.5 f64",
        "/// `f64`: 1.5\nfn f() {}",
        "let x = \"1.5 f64 \\\" 2.5\";",
        "let x = b\"1.5\"; let y = r\"1.5\"; let z = r##\"1.5\"# 2.5\"##;",
        "#[cfg(test)]\nmod tests { fn f() -> f64 { if a { 1.5 } else { 2.5 } } }",
        "let x = 'f'; let y = '\\''; let z = 5;",
    ] {
        assert_eq!(floats(source), [], "{source}");
    }
}
