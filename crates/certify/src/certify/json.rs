//! Canonical JSON: a document as text (RFC 8785). Untrusted; `secateur_checker::reader::json` reads it back.

use secateur_checker::reader::json::Value;

/// `value` in RFC 8785 canonical form: no blanks, keys ordered by UTF-16 code units, the shortest escapes.
///
/// Integers are written in decimal.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Integer(n) => out.push_str(&n.to_string()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            let mut open = '[';
            for item in items {
                out.push(open);
                write_value(item, out);
                open = ',';
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            // UTF-16 order differs from the map's code point order above U+FFFF.
            sorted.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
            let mut open = '{';
            for (key, member) in sorted {
                out.push(open);
                write_string(key, out);
                out.push(':');
                write_value(member, out);
                open = ',';
            }
            out.push_str(if members.is_empty() { "{}" } else { "}" });
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}
