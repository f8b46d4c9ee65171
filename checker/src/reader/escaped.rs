//! Names out of a file, made safe to print. Trusted. `spec/certificate-files.md#names`.

use core::fmt;

/// Longest part of a name that a message shows, in characters.
const SHOWN: usize = 120;
/// Longest part of a sentence that a message shows: assumptions and limits must be read whole.
const SENTENCE: usize = 2000;

/// Displays a name read from a file in double quotes: every character outside printable ASCII, the quote and the
/// backslash are escaped, so that no terminal sequence and no look-alike letter reaches a screen; long names are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, SHOWN, f)
    }
}

/// As [`Escaped`], for a whole sentence such as an assumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscapedSentence<'a>(pub &'a str);

impl fmt::Display for EscapedSentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, SENTENCE, f)
    }
}

fn escape(text: &str, shown: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    let mut rest = text.chars();
    for character in rest.by_ref().take(shown) {
        write!(f, "{}", character.escape_default())?;
    }
    if rest.next().is_some() {
        f.write_str("...")?;
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_and_foreign_letters_are_escaped() {
        assert_eq!(Escaped("a\u{1b}[2J\nb").to_string(), "\"a\\u{1b}[2J\\nb\"");
        assert_eq!(Escaped("\u{202e}\u{430}\"\\").to_string(), "\"\\u{202e}\\u{430}\\\"\\\\\"");
    }

    #[test]
    fn long_names_are_cut() {
        let text = Escaped(&"x".repeat(10_000)).to_string();
        assert_eq!(text.len(), SHOWN + 5);
        assert!(text.ends_with("...\""));
        assert_eq!(Escaped(&"x".repeat(SHOWN)).to_string().len(), SHOWN + 2);
        assert_eq!(EscapedSentence(&"x".repeat(1_000)).to_string().len(), 1_002);
        assert_eq!(EscapedSentence(&"x".repeat(10_000)).to_string().len(), SENTENCE + 5);
    }
}
