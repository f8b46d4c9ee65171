//! What is wrong in a TOML file of settings, in words: the line, and the nearest word that is known. Untrusted.

pub use crate::import::words::nearest;

/// What the TOML reader says, with the line, the nearest known word where one is unknown, and how a number is written where
/// that is what is wrong; never the file's own text as it stands.
pub fn toml_words(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim_end();
    let line = error.span().map(|span| format!("line {}: ", line_of(text, span.start)));
    let mut words = format!("{}{}", line.unwrap_or_default(), printable(message));
    let mut quoted = message.split('`').skip(1).step_by(2);
    if (message.starts_with("unknown field") || message.starts_with("unknown variant"))
        && let Some(found) = quoted.next()
        && let Some(near) = nearest(found, quoted)
    {
        words.push_str(&format!("; did you mean {near}?"));
    }
    let (is, wanted) = message.split_once(", expected ").unwrap_or((message, ""));
    let is_number = is.contains("floating point") || is.contains("integer");
    if is_number && wanted.contains("string") {
        words.push_str("; numbers are written in quotes, such as \"0.05\": they are read exactly");
    } else if is.contains("type: string") && ["usize", "u64", "u32"].contains(&wanted) {
        words.push_str("; a whole number like this one is written without quotes");
    } else if is_number && ["usize", "u64", "u32"].contains(&wanted) {
        words.push_str("; it is a whole number");
    }
    words
}

/// The line of a byte, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// The text in printable ASCII; every other character as Rust writes it in a string.
pub fn printable(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c == ' ' || c.is_ascii_graphic() { plain.push(c) } else { plain.extend(c.escape_default()) }
    }
    plain
}
