//! Words of messages: the nearest name that is known, and words of printed commands as a POSIX shell reads them back:
//! they are pasted. Untrusted.

use std::path::Path;

/// The known name next to one that is not known, if one is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|other| (strsim::osa_distance(name, other), other));
    scored.min().filter(|(distance, other)| *distance <= 1 + other.len() / 3).map(|(_, other)| other)
}

/// `; did you mean NAME?` where a known name is near, else nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map(|near| format!("; did you mean {}?", in_shell(near))).unwrap_or_default()
}

/// A word of a command.
pub fn in_shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.chars().any(char::is_control) {
        // Nothing that a terminal obeys is printed; $'...' is read by every shell in use.
        let escaped: String = word.chars().map(in_dollar_quotes).collect();
        return format!("$'{escaped}'");
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn in_dollar_quotes(c: char) -> String {
    match c {
        '\'' | '\\' => format!("\\{c}"),
        c if c.is_control() => {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\{byte:03o}")).collect()
        }
        c => c.to_string(),
    }
}

/// A path that no program takes for an option.
pub fn path_in_shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') { in_shell(&format!("./{text}")) } else { in_shell(&text) }
}
