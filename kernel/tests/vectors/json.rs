//! Numbers and tables in the files: `spec/vectors/README.md`. What does not fit its type panics: the files are ours.

use num_bigint::BigInt;
use secateur_kernel::fault::Fault;
use secateur_kernel::number::{Dyadic, Rational};
use serde_json::{Map, Value};

/// Integers up to this magnitude are JSON numbers, larger ones strings.
const PLAIN: i128 = 1 << 53;
/// Longest line that is not broken.
const LINE: usize = 140;

/// A value of a file that is being read.
#[derive(Clone, Copy)]
pub struct In<'a>(pub &'a Value);

impl<'a> In<'a> {
    /// The field of this name.
    pub fn at(self, name: &str) -> Self {
        self.maybe(name).unwrap_or_else(|| panic!("no field {name} in {}", self.0))
    }

    /// The field of this name if there is one that is not null.
    pub fn maybe(self, name: &str) -> Option<Self> {
        self.0.get(name).filter(|value| !value.is_null()).map(Self)
    }

    /// The entries of a list, each read by `read`.
    pub fn list<T>(self, read: impl Fn(Self) -> T) -> Vec<T> {
        let items = self.0.as_array().unwrap_or_else(|| panic!("{} is no list", self.0));
        items.iter().map(|item| read(Self(item))).collect()
    }

    /// The two entries of a pair.
    pub fn pair(self) -> (Self, Self) {
        let items = self.0.as_array().filter(|items| items.len() == 2);
        let items = items.unwrap_or_else(|| panic!("{} is no pair", self.0));
        (Self(&items[0]), Self(&items[1]))
    }

    /// A piece of text.
    pub fn text(self) -> &'a str {
        self.0.as_str().unwrap_or_else(|| panic!("{} is no text", self.0))
    }

    /// Whether a flag is set.
    pub fn flag(self) -> bool {
        self.0.as_bool().unwrap_or_else(|| panic!("{} is no flag", self.0))
    }

    /// An integer of any size.
    pub fn big(self) -> BigInt {
        let text = self.0.as_str().map_or_else(|| self.0.to_string(), str::to_owned);
        text.parse().unwrap_or_else(|_| panic!("{} is no integer", self.0))
    }

    /// An integer of the wanted type.
    pub fn int<T: TryFrom<BigInt>>(self) -> T {
        T::try_from(self.big()).unwrap_or_else(|_| panic!("{} does not fit its type", self.0))
    }

    /// A list of integers.
    pub fn ints<T: TryFrom<BigInt>>(self) -> Vec<T> {
        self.list(Self::int)
    }

    /// A rational `n` or `n/d`.
    pub fn rational(self) -> Rational {
        let text = self.text();
        let (top, bottom) = text.split_once('/').unwrap_or((text, "1"));
        Rational::new(top.parse().unwrap(), bottom.parse().unwrap()).unwrap()
    }

    /// A list of rationals.
    pub fn rationals(self) -> Vec<Rational> {
        self.list(Self::rational)
    }

    /// A stored float: mantissa and exponent.
    pub fn dyadic(self) -> Dyadic {
        let (mantissa, exponent) = self.pair();
        Dyadic::new(mantissa.int(), exponent.int())
    }

    /// An interval: lower and upper end.
    pub fn interval(self) -> (i64, i64) {
        let (lower, upper) = self.pair();
        (lower.int(), upper.int())
    }
}

/// An integer: a number up to 2^53, else a string.
pub fn int(value: impl Into<i128>) -> Value {
    let value = value.into();
    match i64::try_from(value) {
        Ok(small) if value.abs() <= PLAIN => Value::from(small),
        _ => Value::from(value.to_string()),
    }
}

/// A list of integers.
pub fn ints<T: Into<i128>>(values: impl IntoIterator<Item = T>) -> Value {
    Value::from(values.into_iter().map(int).collect::<Vec<_>>())
}

/// A rational as text in lowest terms.
pub fn rational(value: &Rational) -> Value {
    Value::from(value.to_string())
}

/// A list of rationals.
pub fn rationals<'a>(values: impl IntoIterator<Item = &'a Rational>) -> Value {
    Value::from(values.into_iter().map(rational).collect::<Vec<_>>())
}

/// A list of intervals.
pub fn intervals(values: impl IntoIterator<Item = (i64, i64)>) -> Value {
    Value::from(values.into_iter().map(|(lower, upper)| ints([lower, upper])).collect::<Vec<_>>())
}

/// What a rule made of its input, or the code of the fault with which it refused.
pub fn outcome(result: Result<Value, Fault>) -> (&'static str, Value) {
    match result {
        Ok(output) => ("output", output),
        Err(fault) => ("fault", Value::from(fault.code())),
    }
}

/// JSON with fields in alphabetical order, `first` before all others, and everything that fits it on one line.
pub fn render(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text.push('\n');
    text
}

const FIRST: [&str; 4] = ["family", "about", "rule", "case"];

fn fields(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = map.iter().collect();
    let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    fields.sort_by_key(|(name, _)| (rank(name), name.to_owned().clone()));
    fields
}

fn write(value: &Value, indent: usize, text: &mut String) {
    let line = one_line(value);
    if line.len() + indent <= LINE {
        text.push_str(&line);
        return;
    }
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            fields(map).into_iter().map(|(name, value)| (format!("{name:?}: "), value)).collect()
        }
        Value::Array(items) => items.iter().map(|item| (String::new(), item)).collect(),
        _ => return text.push_str(&line),
    };
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    text.push(open);
    let count = parts.len();
    // Numbers fill their lines; what is longer gets a line each.
    let dense = value.is_array() && parts.iter().all(|(_, v)| !v.is_array() && !v.is_object());
    let mut column = LINE;
    for (index, (name, part)) in parts.into_iter().enumerate() {
        let width = one_line(part).len() + 2;
        if !dense || column + width > LINE {
            text.push('\n');
            text.push_str(&" ".repeat(indent + 1));
            column = indent + 1;
        } else {
            text.push(' ');
        }
        column += width;
        text.push_str(&name);
        write(part, indent + 1, text);
        if index + 1 < count {
            text.push(',');
        }
    }
    text.push('\n');
    text.push_str(&" ".repeat(indent));
    text.push(close);
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let inner = fields(map).into_iter().map(|(name, value)| format!("{name:?}: {}", one_line(value)));
            format!("{{{}}}", inner.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
