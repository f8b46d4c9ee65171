//! Typed access to a JSON document: every error says where, and a key nobody asked for is refused.
//! Trusted. `spec/certificate-files.md#json`.

use core::cell::Cell;
use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::escaped::Escaped;
use super::json::Value;
use crate::number::{NumberError, Rational, cost};

/// Most digits of all numbers of one document together, those that exponents stand for included: what a payload has room
/// for. Bounds time and memory where a few characters stand for thousands of digits.
pub const MAX_DIGITS: usize = 1 << 24;

/// Why a document lacks what a format asks for; `path` is such as `layers[2].activation`, empty for the document itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldError {
    /// A required key is absent.
    Missing {
        /// The object.
        path: String,
        /// The key.
        key: String,
    },
    /// A key the format does not know.
    Unknown {
        /// The object.
        path: String,
        /// The key.
        key: String,
    },
    /// A value of another type.
    WrongType {
        /// The value.
        path: String,
        /// What the format asks for.
        expected: &'static str,
    },
    /// A string that is not one of the words the format knows there.
    UnknownWord {
        /// The value.
        path: String,
        /// What the format asks for.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A string that is not a number.
    Number {
        /// The value.
        path: String,
        /// Why.
        error: NumberError,
    },
    /// A number outside what the format allows there.
    OutOfRange {
        /// The value.
        path: String,
        /// What the format asks for.
        expected: &'static str,
    },
    /// A list longer than anything it can be about.
    TooMany {
        /// The list.
        path: String,
        /// The cap.
        cap: usize,
    },
    /// More than [`MAX_DIGITS`] in all numbers of the document.
    TooManyDigits {
        /// The first number beyond.
        path: String,
    },
}

impl FieldError {
    /// Whether a limit was reached, rather than a clause of the format broken.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooMany { .. } | Self::TooManyDigits { .. })
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path, key } => write!(f, "{} has no key {}", Place(path), Escaped(key)),
            Self::Unknown { path, key } => write!(f, "{} has the unknown key {}", Place(path), Escaped(key)),
            Self::WrongType { path, expected } => write!(f, "{} is not {expected}", Place(path)),
            Self::UnknownWord { path, expected, found } => {
                write!(f, "{} is {}, not {expected}", Place(path), Escaped(found))
            }
            Self::Number { path, error } => write!(f, "{} is {error}", Place(path)),
            Self::OutOfRange { path, expected } => write!(f, "{} is not {expected}", Place(path)),
            Self::TooMany { path, cap } => write!(f, "{} has more than {cap} entries", Place(path)),
            Self::TooManyDigits { path } => {
                write!(f, "the document's numbers have more than {MAX_DIGITS} digits, at {}", Place(path))
            }
        }
    }
}

struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("the document") } else { write!(f, "{}", Escaped(self.0)) }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    value: &'a Value,
    path: String,
    /// Digits that the document's numbers may still have.
    left: Rc<Cell<usize>>,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub fn root(value: &'a Value) -> Self {
        Self { value, path: String::new(), left: Rc::new(Cell::new(MAX_DIGITS)) }
    }

    fn spend(&self, text: &str, path: impl Fn() -> String) -> Result<(), FieldError> {
        let left = self.left.get().checked_sub(cost(text));
        self.left.set(left.ok_or_else(|| FieldError::TooManyDigits { path: path() })?);
        Ok(())
    }

    /// The value itself.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// Where it stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn wrong(&self, expected: &'static str) -> FieldError {
        FieldError::WrongType { path: self.path.clone(), expected }
    }

    /// The error that this string is not one of the words known there.
    pub fn unknown_word(&self, expected: &'static str) -> FieldError {
        match self.value {
            Value::String(found) => {
                FieldError::UnknownWord { path: self.path.clone(), expected, found: found.clone() }
            }
            _ => self.wrong(expected),
        }
    }

    /// The error that this number is outside what the format allows.
    pub fn out_of_range(&self, expected: &'static str) -> FieldError {
        FieldError::OutOfRange { path: self.path.clone(), expected }
    }

    /// A string.
    ///
    /// # Errors
    /// [`FieldError::WrongType`].
    pub fn string(&self) -> Result<&'a str, FieldError> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong("a string")),
        }
    }

    /// Exactly the string `word`.
    ///
    /// # Errors
    /// [`FieldError::WrongType`], [`FieldError::UnknownWord`].
    pub fn word(&self, word: &'static str) -> Result<(), FieldError> {
        if self.string()? == word { Ok(()) } else { Err(self.unknown_word(word)) }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`FieldError::WrongType`].
    pub fn boolean(&self) -> Result<bool, FieldError> {
        match self.value {
            Value::Bool(flag) => Ok(*flag),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// An integer token (safetensors headers only).
    ///
    /// # Errors
    /// [`FieldError::WrongType`] for another value or one above `usize`.
    pub fn integer(&self) -> Result<usize, FieldError> {
        match self.value {
            Value::Integer(n) => usize::try_from(*n).map_err(|_| self.wrong("a size this machine can hold")),
            _ => Err(self.wrong("an integer")),
        }
    }

    /// A number, written as a decimal or a fraction in a string, exactly.
    ///
    /// # Errors
    /// [`FieldError::WrongType`], [`FieldError::Number`], [`FieldError::TooManyDigits`].
    pub fn rational(&self) -> Result<Rational, FieldError> {
        let text = self.string()?;
        self.spend(text, || self.path.clone())?;
        Rational::parse(text).map_err(|error| FieldError::Number { path: self.path.clone(), error })
    }

    /// A number in [0, 1]: a fraction of something.
    ///
    /// # Errors
    /// Those of [`Field::rational`]; [`FieldError::OutOfRange`].
    pub fn fraction(&self) -> Result<Rational, FieldError> {
        let number = self.rational()?;
        let outside = number.is_negative() || number > Rational::one();
        if outside { Err(self.out_of_range("a fraction in [0, 1]")) } else { Ok(number) }
    }

    /// A count, written in a string as `0` or `[1-9][0-9]*`.
    ///
    /// # Errors
    /// [`FieldError::WrongType`], [`FieldError::OutOfRange`].
    pub fn count(&self) -> Result<usize, FieldError> {
        let text = self.string()?;
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let parsed = if plain { text.parse().ok() } else { None };
        parsed.ok_or_else(|| self.out_of_range("a count without sign or leading zeros"))
    }

    /// An array's items.
    ///
    /// # Errors
    /// [`FieldError::WrongType`].
    pub fn array(&self) -> Result<Vec<Field<'a>>, FieldError> {
        let Value::Array(items) = self.value else { return Err(self.wrong("an array")) };
        let located = items.iter().enumerate();
        let field = |(i, value)| Field { value, path: self.item(i), left: self.left.clone() };
        Ok(located.map(field).collect())
    }

    /// An array of strings; cheaper than [`Field::array`] for the long arrays of a claim.
    ///
    /// # Errors
    /// [`FieldError::WrongType`] of the array or of the first item that is no string.
    pub fn strings(&self) -> Result<Vec<&'a str>, FieldError> {
        let Value::Array(items) = self.value else { return Err(self.wrong("an array")) };
        let mut texts = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text.as_str()),
                _ => {
                    return Err(FieldError::WrongType { path: self.item(i), expected: "a string" });
                }
            }
        }
        Ok(texts)
    }

    /// An array of numbers as they are written, for whoever knows how many there must be.
    ///
    /// # Errors
    /// Those of [`Field::strings`]; [`FieldError::TooManyDigits`].
    pub fn number_texts(&self) -> Result<Vec<&'a str>, FieldError> {
        let texts = self.strings()?;
        for (i, text) in texts.iter().enumerate() {
            self.spend(text, || self.item(i))?;
        }
        Ok(texts)
    }

    /// An array of at most `cap` numbers; nothing is computed if there are more.
    ///
    /// # Errors
    /// Those of [`Field::number_texts`]; [`FieldError::TooMany`], [`FieldError::Number`].
    pub fn rationals(&self, cap: usize) -> Result<Vec<Rational>, FieldError> {
        if matches!(self.value, Value::Array(items) if items.len() > cap) {
            return Err(FieldError::TooMany { path: self.path.clone(), cap });
        }
        let texts = self.number_texts()?.into_iter().enumerate();
        let number = |(i, text)| {
            Rational::parse(text).map_err(|error| FieldError::Number { path: self.item(i), error })
        };
        texts.map(number).collect()
    }

    fn item(&self, index: usize) -> String {
        format!("{}[{index}]", self.path)
    }

    /// An object; the caller asks for its keys and then calls [`Fields::finish`].
    ///
    /// # Errors
    /// [`FieldError::WrongType`].
    pub fn object(&self) -> Result<Fields<'a>, FieldError> {
        match self.value {
            Value::Object(members) => {
                let (path, left) = (self.path.clone(), self.left.clone());
                Ok(Fields { members, path, left, used: BTreeSet::new() })
            }
            _ => Err(self.wrong("an object")),
        }
    }

    /// An object used as a map: every key with its value, in code point order.
    ///
    /// # Errors
    /// [`FieldError::WrongType`].
    pub fn entries(&self) -> Result<Vec<(&'a str, Field<'a>)>, FieldError> {
        let Value::Object(members) = self.value else { return Err(self.wrong("an object")) };
        let field = |(key, value): (&'a String, &'a Value)| {
            (key.as_str(), Field { value, path: join(&self.path, key), left: self.left.clone() })
        };
        Ok(members.iter().map(field).collect())
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// An object whose keys must all be asked for.
#[derive(Debug)]
pub struct Fields<'a> {
    members: &'a BTreeMap<String, Value>,
    path: String,
    left: Rc<Cell<usize>>,
    used: BTreeSet<&'a str>,
}

impl<'a> Fields<'a> {
    /// Where the object stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of a key that must be there.
    ///
    /// # Errors
    /// [`FieldError::Missing`].
    pub fn required(&mut self, key: &str) -> Result<Field<'a>, FieldError> {
        self.optional(key).ok_or_else(|| FieldError::Missing { path: self.path.clone(), key: key.to_owned() })
    }

    /// The value of a key that may be absent. `null` counts as a value.
    pub fn optional(&mut self, key: &str) -> Option<Field<'a>> {
        let (name, value) = self.members.get_key_value(key)?;
        self.used.insert(name);
        Some(Field { value, path: join(&self.path, key), left: self.left.clone() })
    }

    /// Refuses the first key that nobody asked for.
    ///
    /// # Errors
    /// [`FieldError::Unknown`].
    pub fn finish(self) -> Result<(), FieldError> {
        match self.members.keys().find(|key| !self.used.contains(key.as_str())) {
            Some(key) => Err(FieldError::Unknown { path: self.path, key: key.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::json::{Numbers, parse};

    fn document(text: &str) -> Value {
        parse(text.as_bytes(), 1 << 16, Numbers::Integers).unwrap()
    }

    #[test]
    fn errors_say_where() {
        let value = document(r#"{"layers":[{"slope":"x","n":"1/2"},{"slope":true}]}"#);
        let layers = Field::root(&value).object().unwrap().required("layers").unwrap().array().unwrap();
        let mut first = layers[0].object().unwrap();
        let error = first.required("slope").unwrap().rational().unwrap_err();
        assert_eq!(
            error,
            FieldError::Number { path: "layers[0].slope".into(), error: NumberError::Malformed }
        );
        assert_eq!(first.required("n").unwrap().rational().unwrap(), Rational::parse("0.5").unwrap());
        let mut second = layers[1].object().unwrap();
        let error = second.required("slope").unwrap().string().unwrap_err();
        assert_eq!(error, FieldError::WrongType { path: "layers[1].slope".into(), expected: "a string" });
        let error = second.required("bias").unwrap_err();
        assert_eq!(error, FieldError::Missing { path: "layers[1]".into(), key: "bias".into() });
    }

    #[test]
    fn unknown_keys_are_refused() {
        let value = document(r#"{"a":null,"b":null}"#);
        let mut fields = Field::root(&value).object().unwrap();
        fields.required("a").unwrap();
        assert_eq!(fields.finish(), Err(FieldError::Unknown { path: String::new(), key: "b".into() }));
        let mut fields = Field::root(&value).object().unwrap();
        assert!(
            fields.optional("a").is_some()
                && fields.optional("b").is_some()
                && fields.optional("c").is_none()
        );
        assert_eq!(fields.finish(), Ok(()));
    }

    #[test]
    fn arrays_of_numbers_name_the_offending_item() {
        let value = document(r#"["1","2/0"]"#);
        let error = Field::root(&value).rationals(2).unwrap_err();
        assert_eq!(error, FieldError::Number { path: "[1]".into(), error: NumberError::ZeroDenominator });
        let value = document(r#"["1",2]"#);
        let error = Field::root(&value).rationals(2).unwrap_err();
        assert_eq!(error, FieldError::WrongType { path: "[1]".into(), expected: "a string" });
    }

    /// A list longer than its cap is refused before its numbers are looked at.
    #[test]
    fn lists_are_counted_first() {
        let value = document(r#"["1","x"]"#);
        let error = Field::root(&value).rationals(1).unwrap_err();
        assert_eq!(error, FieldError::TooMany { path: String::new(), cap: 1 });
        assert!(error.is_limit() && !Field::root(&value).rationals(2).unwrap_err().is_limit());
    }

    /// An exponent of 4,096 counts as 4,096 digits: 4,096 such numbers fit, wherever in the document they stand.
    #[test]
    fn digits_are_counted_over_the_document() {
        let list = |n| Value::Array(vec![Value::String("1e-4096".to_owned()); n]);
        let counts = |a, b| {
            let value = Value::Array(vec![list(a), list(b)]);
            let fields = Field::root(&value).array().unwrap();
            fields[0].number_texts().and(fields[1].number_texts().map(|texts| texts.len()))
        };
        assert_eq!(counts(4093, 3), Ok(3));
        let error = FieldError::TooManyDigits { path: "[1][3]".into() };
        assert_eq!(counts(4093, 4), Err(error.clone()));
        assert!(error.is_limit());
        let value = Value::String("1e-4096".to_owned());
        let field = Field::root(&value);
        field.left.set(4095);
        assert_eq!(field.rational(), Err(FieldError::TooManyDigits { path: String::new() }));
        let long = Value::String("0.123456789e-2".to_owned());
        let field = Field::root(&long);
        field.left.set(13);
        assert_eq!(field.rational(), Err(FieldError::TooManyDigits { path: String::new() }));
    }

    #[test]
    fn fractions_lie_between_0_and_1() {
        let read =
            |text: &str| Field::root(&Value::String(text.to_owned())).fraction().map_err(|e| e.is_limit());
        assert_eq!((read("0"), read("1")), (Ok(Rational::zero()), Ok(Rational::one())));
        assert_eq!((read("-1/1000"), read("1.001")), (Err(false), Err(false)));
    }

    #[test]
    fn counts_are_spelled_one_way() {
        for (text, expected) in
            [("0", Some(0)), ("17", Some(17)), ("017", None), ("+1", None), ("", None), ("-1", None)]
        {
            let value = Value::String(text.to_owned());
            assert_eq!(Field::root(&value).count().ok(), expected, "{text}");
        }
        let value = Value::String("99999999999999999999999".to_owned());
        assert!(matches!(Field::root(&value).count(), Err(FieldError::OutOfRange { .. })));
    }

    #[test]
    fn messages_escape_names() {
        let value = document(r#"{"\u001b[2J":null}"#);
        let error = Field::root(&value).object().unwrap().finish().unwrap_err();
        assert_eq!(error.to_string(), "the document has the unknown key \"\\u{1b}[2J\"");
    }
}
