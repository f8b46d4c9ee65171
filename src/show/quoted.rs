//! Words of a stranger where people, terminals and build servers read them: in quotes, escaped, cut with a mark.
//! Untrusted. `spec/snapshot.md#words`.

use secateur_checker::reader::digest::sha256_hex;
use serde_json::Value;

/// Longest part of a text that is shown, in characters.
const SHOWN: usize = 2000;

/// `text` in double quotes: quotes, backslashes and everything outside printable ASCII are escaped, so that no terminal
/// sequence, line break or letter that changes the direction of writing is left. What is cut off is told apart by a digest.
pub fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_default).collect();
    // Some build servers obey `##[command]` wherever in a line it stands.
    let shown = shown.replace("##", "#\\u{23}");
    if text.chars().nth(SHOWN).is_none() {
        return format!("\"{shown}\"");
    }
    format!("\"{shown}\" (cut; {} bytes, sha256:{})", text.len(), sha256_hex(text.as_bytes()))
}

/// A word of the format as it is; any other one in quotes.
pub fn word(text: &str, of_the_format: bool) -> String {
    if of_the_format { text.to_owned() } else { quoted(text) }
}

/// `sha256:` and 64 digits as they are; anything else in quotes.
pub fn digest(text: &str) -> String {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let plain = text.strip_prefix("sha256:").is_some_and(|rest| rest.len() == 64 && rest.chars().all(hex));
    word(text, plain)
}

/// A line that was made by [`quoted`] or of our own words, as a code span of Markdown that fits the cell of a table. Nothing
/// in a code span is markup, a link, a mention or HTML.
pub fn code(line: &str) -> String {
    format!("`{}`", line.replace('`', "\\u{60}").replace('|', "\\u{7c}"))
}

/// A JSON document in ASCII: the same data for a program, harmless on a terminal.
pub fn ascii_json(document: &Value) -> String {
    let mut out = String::new();
    for character in format!("{document:#}").replace("##", "#\\u0023").chars() {
        if character == '\n' || (' '..='~').contains(&character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HOSTILE: &str = "\u{1b}[2J\n::error::x\u{202e}\u{2028}##[group]`|<b>\"\\";

    #[test]
    fn nothing_leaves_the_line_or_printable_ascii() {
        let text = quoted(HOSTILE);
        assert_eq!(text, "\"\\u{1b}[2J\\n::error::x\\u{202e}\\u{2028}#\\u{23}[group]`|<b>\\\"\\\\\"");
        assert!(!quoted("#####").contains("##"));
        assert_eq!(code("a`b|c"), "`a\\u{60}b\\u{7c}c`");
    }

    /// Two long texts that differ at their ends do not look alike.
    #[test]
    fn what_is_cut_is_told_apart() {
        let long = |end: &str| format!("{}{end}", "x".repeat(SHOWN));
        assert_eq!(quoted(&long("")).len(), SHOWN + 2);
        assert!(quoted(&long("a")).contains("(cut; 2001 bytes, sha256:"));
        assert_ne!(quoted(&long("a")), quoted(&long("b")));
    }

    #[test]
    fn json_is_ascii_and_the_same_data() {
        let document = json!({ "name": HOSTILE, "\u{7f}": "\u{1f600}" });
        let text = ascii_json(&document);
        assert!(text.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)) && !text.contains("##"));
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), document);
    }

    #[test]
    fn digests_are_digests() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(digest(&good), good);
        assert_eq!(digest("sha256:0A"), "\"sha256:0A\"");
    }
}
