//! Typed access to a JSON document: every clause says where, and a key nobody asked for is refused.
//! Trusted. `spec/certificate-files.md#json`.

use core::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clause::{Clause, Part};
use super::json::{self, Numbers, Value};
use crate::number::{Rational, cost};

/// Most digits of all numbers of one document together, those that exponents stand for included: what a payload has room
/// for. Bounds time and memory where a few characters stand for thousands of digits.
pub const MAX_DIGITS: usize = 1 << 24;

/// A document that was read, the part of a file it is, and the digits that its numbers may still have. A clone shares the values and
/// has its own count of digits.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    value: Arc<Value>,
    part: Option<Part>,
    left: Cell<usize>,
    /// Whether numbers must be spelled as [`is_canonical`] says.
    spelled: bool,
}

/// Whether a text that was read as `value` is its canonical spelling: a fraction in lowest terms, or a decimal without
/// superfluous zeros, plus signs or capitals, with an exponent only after one digit from 1 to 9 before the point.
pub fn is_canonical(text: &str, value: &Rational) -> bool {
    if text.contains('/') || value.is_zero() {
        return text == value.to_string();
    }
    let body = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = body.split_once('e').map_or((body, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, "1"), |parts| parts);
    let plain = !text.contains(['E', '+']) && !fraction.ends_with('0');
    plain
        && match exponent {
            None => whole == "0" || !whole.starts_with('0'),
            Some(e) => whole.len() == 1 && whole != "0" && !e.strip_prefix('-').unwrap_or(e).starts_with('0'),
        }
}

impl Document {
    /// A document; messages about its values begin with `part`.
    pub(crate) fn new(value: Value, part: Option<Part>) -> Self {
        Self { value: Arc::new(value), part, left: Cell::new(MAX_DIGITS), spelled: false }
    }

    /// The same document, whose numbers must be spelled canonically.
    #[must_use]
    pub(crate) fn spelled(self) -> Self {
        Self { spelled: true, ..self }
    }

    /// Reads a document of at most `cap` bytes.
    ///
    /// # Errors
    /// [`Clause`], of JSON.
    pub(crate) fn parse(bytes: &[u8], cap: usize, numbers: Numbers, part: Part) -> Result<Self, Clause> {
        match json::parse(bytes, cap, numbers) {
            Ok(value) => Ok(Self::new(value, Some(part))),
            Err(clause) => Err(clause.within(part)),
        }
    }

    /// The whole document.
    pub(crate) fn root(&self) -> Field<'_> {
        Field { document: self, value: &self.value, path: String::new() }
    }

    /// Takes what a number costs; `None` if the document's numbers cost too much.
    fn pay(&self, text: &str) -> Option<()> {
        self.left.set(self.left.get().checked_sub(cost(text))?);
        Some(())
    }

    fn within(&self, clause: Clause) -> Clause {
        match &self.part {
            Some(part) => clause.within(part.clone()),
            None => clause,
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    document: &'a Document,
    value: &'a Value,
    path: String,
}

impl<'a> Field<'a> {
    /// The clause that this value breaks, with where it stands.
    pub(crate) fn clause(&self, clause: Clause) -> Clause {
        self.document.within(clause.within(Part::value(&self.path)))
    }

    fn wrong(&self, expected: &'static str) -> Clause {
        self.clause(Clause::WrongType { expected })
    }

    /// That this string is not one of the words known there.
    pub(crate) fn unknown_word(&self, expected: &'static str) -> Clause {
        let Value::String(found) = self.value else { return self.wrong(expected) };
        self.clause(Clause::UnknownWord { found: found.as_str().into(), expected })
    }

    /// That this number is outside what the format allows.
    pub(crate) fn out_of_range(&self, expected: &'static str) -> Clause {
        self.clause(Clause::OutOfRange { expected })
    }

    /// `value`, which was read here, if it is what the format allows.
    ///
    /// # Errors
    /// [`Clause::OutOfRange`].
    pub(crate) fn allowed<T>(
        &self,
        value: T,
        expected: &'static str,
        test: impl FnOnce(&T) -> bool,
    ) -> Result<T, Clause> {
        if test(&value) { Ok(value) } else { Err(self.out_of_range(expected)) }
    }

    fn child(&self, value: &'a Value, path: String) -> Self {
        Self { document: self.document, value, path }
    }

    fn item(&self, index: usize, value: &'a Value) -> Self {
        self.child(value, format!("{}[{index}]", self.path))
    }

    fn member(&self, key: &str, value: &'a Value) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        self.child(value, path)
    }

    /// A string.
    ///
    /// # Errors
    /// [`Clause::WrongType`].
    pub(crate) fn string(&self) -> Result<&'a str, Clause> {
        let Value::String(text) = self.value else { return Err(self.wrong("a string")) };
        Ok(text)
    }

    /// Exactly the string `word`.
    ///
    /// # Errors
    /// [`Clause::WrongType`], [`Clause::UnknownWord`].
    pub(crate) fn word(&self, word: &'static str) -> Result<(), Clause> {
        if self.string()? == word { Ok(()) } else { Err(self.unknown_word(word)) }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`Clause::WrongType`].
    pub(crate) fn boolean(&self) -> Result<bool, Clause> {
        let Value::Bool(flag) = self.value else { return Err(self.wrong("true or false")) };
        Ok(*flag)
    }

    /// An integer token (safetensors headers only).
    ///
    /// # Errors
    /// [`Clause::WrongType`] for another value or one above `usize`.
    pub(crate) fn integer(&self) -> Result<usize, Clause> {
        let Value::Integer(n) = self.value else { return Err(self.wrong("an integer")) };
        usize::try_from(*n).map_err(|_| self.wrong("a size this machine can hold"))
    }

    fn too_many_digits(&self) -> Clause {
        self.document.within(Clause::TooManyDigits { at: self.path.as_str().into() })
    }

    /// A number, written as a decimal or a fraction in a string, exactly.
    ///
    /// # Errors
    /// [`Clause::WrongType`], [`Clause::NotANumber`], [`Clause::NumberSpelling`], [`Clause::TooManyDigits`].
    pub(crate) fn rational(&self) -> Result<Rational, Clause> {
        let text = self.string()?;
        self.document.pay(text).ok_or_else(|| self.too_many_digits())?;
        self.number(text)
    }

    fn number(&self, text: &str) -> Result<Rational, Clause> {
        let number = Rational::parse(text).map_err(|error| self.clause(Clause::NotANumber { error }))?;
        let spelled = !self.document.spelled || is_canonical(text, &number);
        if spelled { Ok(number) } else { Err(self.clause(Clause::NumberSpelling)) }
    }

    /// A count, written in a string as `0` or `[1-9][0-9]*`.
    ///
    /// # Errors
    /// [`Clause::WrongType`], [`Clause::OutOfRange`].
    pub(crate) fn count(&self) -> Result<usize, Clause> {
        let text = self.string()?;
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let parsed = if plain { text.parse().ok() } else { None };
        parsed.ok_or_else(|| self.out_of_range("a count without sign or leading zeros"))
    }

    /// An array's items.
    ///
    /// # Errors
    /// [`Clause::WrongType`].
    pub(crate) fn array(&self) -> Result<Vec<Field<'a>>, Clause> {
        Ok(self.items()?.iter().enumerate().map(|(index, value)| self.item(index, value)).collect())
    }

    fn items(&self) -> Result<&'a [Value], Clause> {
        let Value::Array(items) = self.value else { return Err(self.wrong("an array")) };
        Ok(items)
    }

    /// An array of strings.
    ///
    /// # Errors
    /// [`Clause::WrongType`] of the array or of the first item that is no string.
    pub(crate) fn strings(&self) -> Result<Vec<&'a str>, Clause> {
        // No path for each of a claim's many numbers, only for one that is none.
        let text = |(index, value): (usize, &'a Value)| {
            let Value::String(text) = value else { return self.item(index, value).string() };
            Ok(text.as_str())
        };
        self.items()?.iter().enumerate().map(text).collect()
    }

    /// An array of numbers as they are written, for whoever knows how many there must be.
    ///
    /// # Errors
    /// Those of [`Field::strings`]; [`Clause::TooManyDigits`].
    pub(crate) fn number_texts(&self) -> Result<Vec<&'a str>, Clause> {
        let texts = self.strings()?;
        for (index, text) in texts.iter().enumerate() {
            self.document.pay(text).ok_or_else(|| self.item(index, self.value).too_many_digits())?;
        }
        Ok(texts)
    }

    /// An array of at most `cap` numbers; nothing is computed if there are more.
    ///
    /// # Errors
    /// Those of [`Field::number_texts`]; [`Clause::TooMany`], [`Clause::NotANumber`], [`Clause::NumberSpelling`].
    pub(crate) fn rationals(&self, cap: usize) -> Result<Vec<Rational>, Clause> {
        if matches!(self.value, Value::Array(items) if items.len() > cap) {
            return Err(self.clause(Clause::TooMany { cap }));
        }
        let number = |(index, text)| self.item(index, self.value).number(text);
        self.number_texts()?.into_iter().enumerate().map(number).collect()
    }

    fn members(&self) -> Result<&'a BTreeMap<String, Value>, Clause> {
        let Value::Object(members) = self.value else { return Err(self.wrong("an object")) };
        Ok(members)
    }

    /// An object; the caller asks for its keys and then calls [`Fields::finish`].
    ///
    /// # Errors
    /// [`Clause::WrongType`].
    pub(crate) fn object(&self) -> Result<Fields<'a>, Clause> {
        Ok(Fields { object: self.clone(), members: self.members()?, used: BTreeSet::new() })
    }

    /// An object used as a map: every key with its value, in code point order.
    ///
    /// # Errors
    /// [`Clause::WrongType`].
    pub(crate) fn entries(&self) -> Result<Vec<(&'a str, Field<'a>)>, Clause> {
        Ok(self.members()?.iter().map(|(key, value)| (key.as_str(), self.member(key, value))).collect())
    }
}

/// An object whose keys must all be asked for.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    object: Field<'a>,
    members: &'a BTreeMap<String, Value>,
    used: BTreeSet<&'a str>,
}

impl<'a> Fields<'a> {
    /// The value of a key that must be there.
    ///
    /// # Errors
    /// [`Clause::MissingKey`].
    pub(crate) fn required(&mut self, key: &str) -> Result<Field<'a>, Clause> {
        self.optional(key).ok_or_else(|| self.object.clause(Clause::MissingKey { key: key.into() }))
    }

    /// The value of a key that may be absent. `null` counts as a value.
    pub(crate) fn optional(&mut self, key: &str) -> Option<Field<'a>> {
        let (name, value) = self.members.get_key_value(key)?;
        self.used.insert(name);
        Some(self.object.member(name, value))
    }

    /// Refuses the first key that nobody asked for.
    ///
    /// # Errors
    /// [`Clause::UnknownKey`].
    pub(crate) fn finish(self) -> Result<(), Clause> {
        match self.members.keys().find(|key| !self.used.contains(key.as_str())) {
            Some(key) => Err(self.object.clause(Clause::UnknownKey { key: key.as_str().into() })),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::fraction;
    use super::*;
    use crate::kernel::fault::Class;
    use crate::number::NumberError;
    use crate::reader::json::parse;

    fn document(text: &str) -> Document {
        of(parse(text.as_bytes(), 1 << 16, Numbers::Integers).unwrap())
    }

    fn of(value: Value) -> Document {
        Document::new(value, None)
    }

    #[test]
    fn errors_say_where() {
        let value = document(r#"{"layers":[{"slope":"x","n":"1/2"},{"slope":true}]}"#);
        let layers = value.root().object().unwrap().required("layers").unwrap().array().unwrap();
        let mut first = layers[0].object().unwrap();
        let error = first.required("slope").unwrap().rational().unwrap_err();
        assert_eq!(
            error,
            Clause::NotANumber { error: NumberError::Malformed }
                .within(Part::Value("layers[0].slope".into()))
        );
        assert_eq!(first.required("n").unwrap().rational().unwrap(), Rational::parse("0.5").unwrap());
        let mut second = layers[1].object().unwrap();
        let error = second.required("slope").unwrap().string().unwrap_err();
        assert_eq!(
            error,
            Clause::WrongType { expected: "a string" }.within(Part::Value("layers[1].slope".into()))
        );
        let error = second.required("bias").unwrap_err();
        assert_eq!(error, Clause::MissingKey { key: "bias".into() }.within(Part::Value("layers[1]".into())));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let value = document(r#"{"a":null,"b":null}"#);
        let mut fields = value.root().object().unwrap();
        fields.required("a").unwrap();
        assert_eq!(
            fields.finish(),
            Err(Clause::UnknownKey { key: "b".into() }.within(Part::Value(String::new())))
        );
        let mut fields = value.root().object().unwrap();
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
        let error = value.root().rationals(2).unwrap_err();
        assert_eq!(
            error,
            Clause::NotANumber { error: NumberError::ZeroDenominator }.within(Part::Value("[1]".into()))
        );
        let value = document(r#"["1",2]"#);
        let error = value.root().rationals(2).unwrap_err();
        assert_eq!(error, Clause::WrongType { expected: "a string" }.within(Part::Value("[1]".into())));
    }

    /// A list longer than its cap is refused before its numbers are looked at.
    #[test]
    fn lists_are_counted_first() {
        let value = document(r#"["1","x"]"#);
        let error = value.root().rationals(1).unwrap_err();
        assert_eq!(error, Clause::TooMany { cap: 1 }.within(Part::Value(String::new())));
        assert!(
            error.class() == Class::Limit
                && value.root().rationals(2).unwrap_err().class() == Class::Malformed
        );
    }

    /// An exponent of 4,096 counts as 4,096 digits: 4,096 such numbers fit, wherever in the document they stand.
    #[test]
    fn digits_are_counted_over_the_document() {
        let list = |n| Value::Array(vec![Value::String("1e-4096".to_owned()); n]);
        let counts = |a, b| {
            let value = of(Value::Array(vec![list(a), list(b)]));
            let fields = value.root().array().unwrap();
            fields[0].number_texts().and(fields[1].number_texts().map(|texts| texts.len()))
        };
        assert_eq!(counts(4093, 3), Ok(3));
        let error = Clause::TooManyDigits { at: "[1][3]".into() };
        assert_eq!(counts(4093, 4), Err(error.clone()));
        assert_eq!(error.class(), Class::Limit);
        let value = of(Value::String("1e-4096".to_owned()));
        let field = value.root();
        value.left.set(4095);
        assert_eq!(field.rational(), Err(Clause::TooManyDigits { at: "".into() }));
        let long = of(Value::String("0.123456789e-2".to_owned()));
        let field = long.root();
        long.left.set(13);
        assert_eq!(field.rational(), Err(Clause::TooManyDigits { at: "".into() }));
    }

    /// One text a number, but for a fraction beside its decimal; nothing can hide what a number is.
    #[test]
    fn numbers_are_spelled_without_superfluous_signs() {
        let spelled = |text: &str| {
            let value = of(Value::String(text.to_owned())).spelled();
            value.root().rational().map_err(|e| e.condition().clone())
        };
        for good in ["0", "7", "-7", "0.075", "10.5", "100", "1e-9", "1.25e15", "-2.5e-7", "3/40", "-1/3"] {
            assert!(spelled(good).is_ok(), "{good}");
        }
        let bad = [
            "00", "-0", "0.0", "007", "0020.3", "-01", "0.50", "1.0", "20.300", "1e+9", "1E9", "1e09", "1e0",
            "10e3", "0.1e3", "12.5e4", "2/4", "3/1", "0/5", "03/40", "3/040", "0e5", "1.50e3",
        ];
        for bad in bad {
            assert_eq!(spelled(bad), Err(Clause::NumberSpelling), "{bad}");
            assert!(of(Value::String(bad.to_owned())).root().rational().is_ok(), "{bad} in another document");
        }
        assert!(matches!(spelled("x"), Err(Clause::NotANumber { .. })));
    }

    #[test]
    fn fractions_lie_between_0_and_1() {
        let read = |text: &str| {
            let value = of(Value::Object([("x".to_owned(), Value::String(text.to_owned()))].into()));
            fraction(&mut value.root().object().unwrap(), "x").map_err(|e| e.class() == Class::Limit)
        };
        assert_eq!((read("0"), read("1")), (Ok(Rational::zero()), Ok(Rational::one())));
        assert_eq!((read("-1/1000"), read("1.001")), (Err(false), Err(false)));
    }

    #[test]
    fn counts_are_spelled_one_way() {
        for (text, expected) in
            [("0", Some(0)), ("17", Some(17)), ("017", None), ("+1", None), ("", None), ("-1", None)]
        {
            let value = of(Value::String(text.to_owned()));
            assert_eq!(value.root().count().ok(), expected, "{text}");
        }
        let value = of(Value::String("99999999999999999999999".to_owned()));
        assert!(matches!(
            value.root().count().map_err(|e| e.condition().clone()),
            Err(Clause::OutOfRange { .. })
        ));
    }

    #[test]
    fn messages_escape_names() {
        let value = document(r#"{"\u001b[2J":null}"#);
        let error = value.root().object().unwrap().finish().unwrap_err();
        assert_eq!(error.to_string(), "the document has the unknown key \"\\u{1b}[2J\"");
    }
}
