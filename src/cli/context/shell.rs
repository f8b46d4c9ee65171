//! Words of the commands that are printed, as a POSIX shell reads them back: they are pasted.

use std::path::Path;

/// A word.
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
