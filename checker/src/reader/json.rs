//! Strict JSON: UTF-8, no BOM, no duplicate key, no number token, bounded depth and size; whether it is canonical (RFC 8785).
//! Trusted. `spec/certificate-files.md#json`.

use std::collections::BTreeMap;

use super::clause::Clause;

/// Deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 24;
/// Most values (of any kind, at any depth) in one document; bounds the memory a document takes to some ten times its
/// cap, together with [`OBJECT_COST`].
pub(crate) const MAX_VALUES: usize = 1 << 22;
/// What an object with members counts for: a map's first node takes the room of many values.
pub(crate) const OBJECT_COST: usize = 16;

/// A JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A non-negative integer; only with [`Numbers::Integers`], never in a certificate.
    Integer(u64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(BTreeMap<String, Value>),
}

/// What to do with a number token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Refuse it: Secateur's own files write numbers as strings.
    Refused,
    /// Accept `0` or `[1-9][0-9]*` below 2^64: the headers of safetensors files.
    Integers,
}

/// Parses a document of at most `cap` bytes.
///
/// # Errors
/// [`Clause`], one variant per clause of the format; the size is tested before anything is read.
///
/// # References
/// RFC 8259; RFC 7493 (I-JSON) sections 2.1 and 2.3.
pub fn parse(bytes: &[u8], cap: usize, numbers: Numbers) -> Result<Value, Clause> {
    parse_spelled(bytes, cap, numbers).map(|(value, _)| value)
}

/// As [`parse`], with whether the bytes are the document's canonical form: no blanks, keys ordered by UTF-16 code units,
/// the shortest escapes.
///
/// # Errors
/// Those of [`parse`]; what is not canonical is none of them.
///
/// # References
/// RFC 8785 section 3.2.
pub fn parse_spelled(bytes: &[u8], cap: usize, numbers: Numbers) -> Result<(Value, bool), Clause> {
    if bytes.len() > cap {
        return Err(Clause::TooLarge { size: bytes.len(), cap });
    }
    let text = core::str::from_utf8(bytes).map_err(|e| Clause::NotUtf8 { at: e.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(Clause::ByteOrderMark);
    }
    let mut parser = Parser { text, at: 0, numbers, values: 0, canonical: true };
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(Clause::TrailingData { at: parser.at });
    }
    Ok((value, parser.canonical))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    numbers: Numbers,
    values: usize,
    canonical: bool,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn advance(&mut self, by: usize) {
        // Never beyond the end of the text, which is in memory.
        self.at = self.at.saturating_add(by);
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.advance(1);
            self.canonical = false;
        }
    }

    /// Consumes `byte`, if it is next after blanks.
    fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        if found {
            self.advance(1);
        }
        found
    }

    fn want(&mut self, byte: u8, expected: &'static str) -> Result<(), Clause> {
        if self.take(byte) { Ok(()) } else { Err(Clause::Syntax { at: self.at, expected }) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Clause> {
        self.blanks();
        self.spend(1)?;
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(Clause::Syntax { at: self.at, expected: "a value" }),
        }
    }

    fn spend(&mut self, values: usize) -> Result<(), Clause> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES { Err(Clause::TooManyValues { at: self.at }) } else { Ok(()) }
    }

    fn deeper(&mut self, depth: usize) -> Result<usize, Clause> {
        if depth >= MAX_DEPTH {
            return Err(Clause::TooDeep { at: self.at });
        }
        self.advance(1);
        Ok(depth.saturating_add(1))
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, Clause> {
        let rest = self.text.get(self.at..).unwrap_or("");
        if !rest.starts_with(word) {
            return Err(Clause::Syntax { at: self.at, expected: word });
        }
        self.advance(word.len());
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, Clause> {
        let at = self.at;
        if self.numbers == Numbers::Refused {
            return Err(Clause::NumberToken { at });
        }
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.advance(1);
        }
        let token = self.text.get(at..self.at).unwrap_or("");
        let plain = token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
        let parsed = if plain { token.parse().ok() } else { None };
        parsed.map(Value::Integer).ok_or(Clause::NotAnInteger { at })
    }

    fn array(&mut self, depth: usize) -> Result<Value, Clause> {
        let depth = self.deeper(depth)?;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if !self.take(b',') {
                self.want(b']', "a comma or ]")?;
                return Ok(Value::Array(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Clause> {
        let depth = self.deeper(depth)?;
        let (mut members, mut last) = (BTreeMap::new(), None);
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        self.spend(OBJECT_COST)?;
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(Clause::Syntax { at: self.at, expected: "a key" });
            }
            let key = self.string()?;
            // UTF-16 order differs from the map's code point order above U+FFFF.
            self.canonical &= last.is_none_or(|last: String| last.encode_utf16().lt(key.encode_utf16()));
            last = Some(key.clone());
            if members.contains_key(&key) {
                return Err(Clause::DuplicateKey { at: self.at, key: key.into() });
            }
            self.want(b':', "a colon")?;
            let value = self.value(depth)?;
            members.insert(key, value);
            if !self.take(b',') {
                self.want(b'}', "a comma or }")?;
                return Ok(Value::Object(members));
            }
        }
    }

    fn string(&mut self) -> Result<String, Clause> {
        self.advance(1);
        let mut out = String::new();
        loop {
            let start = self.at;
            while matches!(self.peek(), Some(b) if b >= 0x20 && b != b'"' && b != b'\\') {
                self.advance(1);
            }
            // Both ends lie beside ASCII characters.
            out.push_str(self.text.get(start..self.at).ok_or(Clause::NotUtf8 { at: start })?);
            match self.peek() {
                Some(b'"') => {
                    self.advance(1);
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return Err(Clause::ControlCharacter { at: self.at }),
                None => return Err(Clause::Syntax { at: self.at, expected: "the end of a string" }),
            }
        }
    }

    /// Reads an escape, `at` on its backslash.
    fn escape(&mut self) -> Result<char, Clause> {
        let at = self.at;
        self.advance(1);
        let plain = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => {
                self.canonical = false;
                '/'
            }
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(at),
            _ => return Err(Clause::BadEscape { at }),
        };
        self.advance(1);
        Ok(plain)
    }

    /// Reads `uXXXX`, or `uXXXX\uXXXX` for a surrogate pair; `at` is the backslash.
    fn unicode_escape(&mut self, at: usize) -> Result<char, Clause> {
        let first = self.four_digits(at)?;
        // Only control characters are written so, and of those only the ones that have no short escape.
        self.canonical &= first < 0x20 && !matches!(first, 0x08..=0x0A | 0x0C | 0x0D);
        if let Some(character) = char::from_u32(u32::from(first)) {
            return Ok(character);
        }
        let rest = self.text.as_bytes().get(self.at..).unwrap_or(&[]);
        if !rest.starts_with(b"\\u") {
            return Err(Clause::LoneSurrogate { at });
        }
        self.advance(1);
        let second = self.four_digits(at)?;
        let mut decoded = char::decode_utf16([first, second]);
        decoded.next().and_then(Result::ok).ok_or(Clause::LoneSurrogate { at })
    }

    /// Reads `uXXXX`, `self.at` on the `u`.
    fn four_digits(&mut self, at: usize) -> Result<u16, Clause> {
        let digits = self.text.get(self.at.saturating_add(1)..self.at.saturating_add(5));
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        self.canonical &= digits.is_some_and(|d| !d.bytes().any(|b| b.is_ascii_uppercase()));
        let unit = digits.and_then(|d| u16::from_str_radix(d, 16).ok()).ok_or(Clause::BadEscape { at })?;
        self.advance(5);
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, Clause> {
        parse(text.as_bytes(), 1 << 20, Numbers::Refused)
    }

    #[test]
    fn documents_are_read() {
        let text = " { \"b\" : [ true , null , \"x\\u00e9\\ud83d\\ude00\\n\" ] , \"a\" : {} } ";
        let list = vec![Value::Bool(true), Value::Null, Value::String("x\u{e9}\u{1f600}\n".into())];
        let members =
            [("a".to_owned(), Value::Object(BTreeMap::new())), ("b".to_owned(), Value::Array(list))];
        assert_eq!(read(text), Ok(Value::Object(members.into())));
    }

    #[test]
    fn number_tokens_have_their_own_error() {
        assert_eq!(read("{\"a\":1}"), Err(Clause::NumberToken { at: 5 }));
        assert_eq!(read("-0.5"), Err(Clause::NumberToken { at: 0 }));
    }

    #[test]
    fn headers_may_hold_integers_only() {
        let header = |t: &str| parse(t.as_bytes(), 100, Numbers::Integers);
        assert_eq!(header("18446744073709551615"), Ok(Value::Integer(u64::MAX)));
        assert_eq!(header("0"), Ok(Value::Integer(0)));
        for bad in ["-1", "1.0", "1e3", "007", "18446744073709551616", "-"] {
            assert_eq!(header(bad), Err(Clause::NotAnInteger { at: 0 }), "{bad}");
        }
    }

    #[test]
    fn each_clause_is_refused_by_name() {
        assert_eq!(read("\u{feff}{}"), Err(Clause::ByteOrderMark));
        assert_eq!(parse(b"\"\xff\"", 10, Numbers::Refused), Err(Clause::NotUtf8 { at: 1 }));
        assert_eq!(parse(b"[true]", 5, Numbers::Refused), Err(Clause::TooLarge { size: 6, cap: 5 }));
        assert_eq!(
            read("{\"a\":null,\"\\u0061\":null}"),
            Err(Clause::DuplicateKey { at: 18, key: "a".into() })
        );
        assert_eq!(read("[] []"), Err(Clause::TrailingData { at: 3 }));
        assert_eq!(read("\"a\nb\""), Err(Clause::ControlCharacter { at: 2 }));
        assert_eq!(read("\"\\x\""), Err(Clause::BadEscape { at: 1 }));
        assert_eq!(read("\"\\u+123\""), Err(Clause::BadEscape { at: 1 }));
        for lone in
            ["\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\ud800\\ud800\"", "\"\\udc00\\ud800\""]
        {
            assert_eq!(read(lone), Err(Clause::LoneSurrogate { at: 1 }), "{lone}");
        }
    }

    #[test]
    fn malformed_text_is_a_syntax_error() {
        for bad in [
            "",
            "[",
            "[true,]",
            "{\"a\"}",
            "{\"a\":}",
            "{,}",
            "{a:null}",
            "tru",
            "nul",
            "[true true]",
            "'a'",
            "\"a",
            "NaN",
            "Infinity",
            "/*c*/null",
            "{\"a\":null,}",
            "]",
        ] {
            assert!(
                matches!(read(bad).map_err(|e| e.condition().clone()), Err(Clause::Syntax { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn depth_and_count_are_capped() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(Clause::TooDeep { at: MAX_DEPTH }));
        assert_eq!(read(&"[".repeat(1_000_000)), Err(Clause::TooDeep { at: MAX_DEPTH }));
        let many = format!("[{}\"\"]", "\"\",".repeat(MAX_VALUES));
        let result = parse(many.as_bytes(), usize::MAX, Numbers::Refused);
        assert!(matches!(result.map_err(|e| e.condition().clone()), Err(Clause::TooManyValues { .. })));
        // One object and its member count 1 + OBJECT_COST + 1.
        let objects = |n: usize| format!("[{}null]", "{\"\":null},".repeat(n));
        let most = (MAX_VALUES - 2) / (OBJECT_COST + 2);
        assert!(parse(objects(most).as_bytes(), usize::MAX, Numbers::Refused).is_ok());
        let result = parse(objects(most + 1).as_bytes(), usize::MAX, Numbers::Refused);
        assert!(matches!(result.map_err(|e| e.condition().clone()), Err(Clause::TooManyValues { .. })));
    }

    fn is_canonical(text: &str) -> bool {
        parse_spelled(text.as_bytes(), 1 << 20, Numbers::Refused).unwrap().1
    }

    #[test]
    fn canonical_documents_have_no_blanks() {
        assert!(is_canonical("{\"a\":{},\"b\":[true,null,\"x y\"]}"));
        for text in
            [" {}", "{} ", "{ }", "[ ]", "[null, null]", "{\"a\": null}", "{\"a\" :null}", "[\n]", "[\t]"]
        {
            assert!(!is_canonical(text), "{text:?}");
        }
    }

    #[test]
    fn keys_are_ordered_by_utf16_units() {
        // RFC 8785 section 3.2.3: U+10000 (D800 DC00) sorts before U+FB33, unlike in code point order.
        assert!(is_canonical("{\"a\":null,\"\u{1f600}\":null,\"\u{fb33}\":null}"));
        assert!(!is_canonical("{\"a\":null,\"\u{fb33}\":null,\"\u{1f600}\":null}"));
        assert!(!is_canonical("{\"b\":null,\"a\":null}"));
        assert!(!is_canonical("[{\"b\":{\"d\":null,\"c\":null},\"e\":null}]"));
        assert!(is_canonical("[{\"b\":null},{\"a\":null}]"));
    }

    #[test]
    fn escapes_are_the_shortest() {
        assert!(is_canonical("\"\\b\\t\\n\\f\\r\\u0000\\u000b\\u001f\u{7f}/\u{2028}\\\"\\\\\""));
        for text in [
            "\\/",
            "\\u0008",
            "\\u000A",
            "\\u000c",
            "\\u000d",
            "\\u0009",
            "\\u001F",
            "\\u0020",
            "\\u007f",
            "\\u0022",
            "\\u005c",
            "\\ud83d\\ude00",
        ] {
            assert!(!is_canonical(&format!("\"{text}\"")), "{text}");
            assert!(!is_canonical(&format!("{{\"{text}\":null}}")), "{text}");
        }
    }
}
