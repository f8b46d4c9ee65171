//! Names out of a file, made safe to print. Trusted. `spec/certificate-files.md#names`.

use core::fmt;

/// Longest part of a name that a message shows, in characters.
const SHOWN: usize = 120;
/// Longest part of a sentence that a message shows: assumptions and limits must be read whole.
const SENTENCE: usize = 2000;

/// Displays a name read from a file in double quotes: every character outside printable ASCII, the double quote and the
/// backslash are escaped, so that no terminal sequence and no look-alike letter reaches a screen. Of a long name the
/// beginning, and after the quotes that it goes on.
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
        if character == '\'' {
            f.write_str("'")?;
        } else {
            write!(f, "{}", character.escape_default())?;
        }
    }
    f.write_str("\"")?;
    match rest.count() {
        0 => Ok(()),
        more => write!(f, "... ({more} more characters)"),
    }
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
        assert_eq!(text, format!("\"{}\"... (9880 more characters)", "x".repeat(SHOWN)));
        assert_eq!(Escaped(&"x".repeat(SHOWN)).to_string().len(), SHOWN + 2);
        assert_eq!(EscapedSentence(&"x".repeat(1_000)).to_string().len(), 1_002);
        let text = EscapedSentence(&"x".repeat(10_000)).to_string();
        assert_eq!(text, format!("\"{}\"... (8000 more characters)", "x".repeat(SENTENCE)));
    }

    #[test]
    fn plain_text_stays_plain() {
        assert_eq!(Escaped("the policy's").to_string(), "\"the policy's\"");
    }

    /// What turns a line round, ends it or hides in it.
    #[test]
    fn what_moves_text_is_escaped() {
        let hidden = ('\u{0}'..='\u{1f}').chain('\u{7f}'..='\u{a0}').chain('\u{200b}'..='\u{200f}');
        let hidden = hidden.chain('\u{2028}'..='\u{202e}').chain('\u{2060}'..='\u{206f}').chain([
            '\u{feff}',
            '\u{61c}',
            '\u{e0001}',
        ]);
        for character in hidden {
            let text = Escaped(&character.to_string()).to_string();
            assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{character:?}");
        }
    }
}
