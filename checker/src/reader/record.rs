//! Records of the formats: one declaration gives the struct and its strict reader. Trusted.
//! `spec/certificate-files.md#json`. Unknown, missing, repeated and wrong-typed keys are clauses of the format.

use super::clause::Clause;
use super::fields::{Field, Fields};
use crate::number::Rational;

/// What can be read from a value of a document.
pub(crate) trait Read: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// [`Clause`].
    fn read(field: &Field<'_>) -> Result<Self, Clause>;

    /// Reads what stands under a key.
    ///
    /// # Errors
    /// [`Clause`].
    fn under(fields: &mut Fields<'_>, key: &str) -> Result<Self, Clause> {
        Self::read(&fields.required(key)?)
    }
}

impl Read for String {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        field.string().map(str::to_owned)
    }
}

impl Read for usize {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        field.count()
    }
}

impl Read for u32 {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        Self::try_from(field.count()?).map_err(|_| field.out_of_range("a count below 2^32"))
    }
}

impl Read for bool {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        field.boolean()
    }
}

impl Read for Rational {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        field.rational()
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        field.array()?.iter().map(T::read).collect()
    }
}

impl<T: Read> Read for Option<T> {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        T::read(field).map(Some)
    }
    fn under(fields: &mut Fields<'_>, key: &str) -> Result<Self, Clause> {
        fields.optional(key).map(|field| T::read(&field)).transpose()
    }
}

/// A record, which may share its object with others.
pub(crate) trait Record: Sized {
    /// Reads the record's own keys and leaves the rest.
    ///
    /// # Errors
    /// [`Clause`].
    fn part(fields: &mut Fields<'_>) -> Result<Self, Clause>;
}

impl<T: Record> Read for T {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        let mut fields = field.object()?;
        let record = T::part(&mut fields)?;
        fields.finish()?;
        Ok(record)
    }
}

/// A record whose keys stand in the object of the record that holds it.
///
/// # Errors
/// [`Clause`].
pub(super) fn flat<T: Record>(fields: &mut Fields<'_>, _key: &str) -> Result<T, Clause> {
    T::part(fields)
}

/// Numbers as written; they are compared once it is known how many there must be.
///
/// # Errors
/// Those of [`Field::number_texts`].
pub(super) fn numerals(fields: &mut Fields<'_>, key: &str) -> Result<Vec<String>, Clause> {
    Ok(fields.required(key)?.number_texts()?.into_iter().map(str::to_owned).collect())
}

/// At most `CAP` numbers.
///
/// # Errors
/// Those of [`Field::rationals`].
pub(super) fn rationals<const CAP: usize>(
    fields: &mut Fields<'_>,
    key: &str,
) -> Result<Vec<Rational>, Clause> {
    fields.required(key)?.rationals(CAP)
}

/// A number in [0, 1].
///
/// # Errors
/// Those of [`Field::rational`]; [`Clause::OutOfRange`].
pub(super) fn fraction(fields: &mut Fields<'_>, key: &str) -> Result<Rational, Clause> {
    let field = fields.required(key)?;
    field.allowed(field.rational()?, "a fraction in [0, 1]", |n| !n.is_negative() && *n <= Rational::one())
}

/// The entries of a list of at most `cap`; `what` names it.
pub(super) fn capped<T: Read>(field: &Field<'_>, what: &'static str, cap: usize) -> Result<Vec<T>, Clause> {
    let items = field.array()?;
    if items.len() > cap {
        Err(Clause::ListTooLong { what, cap })
    } else {
        items.iter().map(T::read).collect()
    }
}

/// A list of at most `cap` entries and at least one, or no such key: then there are no entries.
pub(super) fn list_or_absent<T: Read>(
    what: &'static str,
    cap: usize,
) -> impl FnOnce(&mut Fields<'_>, &str) -> Result<Vec<T>, Clause> {
    move |fields, key| {
        let Some(field) = fields.optional(key) else { return Ok(Vec::new()) };
        let list = capped(&field, what, cap)?;
        if list.is_empty() { Err(Clause::ListEmpty { what }) } else { Ok(list) }
    }
}

/// As [`list_or_absent`], and the key must be there.
pub(super) fn list<T: Read>(
    what: &'static str,
    cap: usize,
) -> impl FnOnce(&mut Fields<'_>, &str) -> Result<Vec<T>, Clause> {
    move |fields, key| {
        fields.required(key)?;
        list_or_absent(what, cap)(fields, key)
    }
}

/// Declares a record: the struct and its [`Record`]; after `for`, of a struct that stands elsewhere. Keys are read in the
/// order they are declared, then whatever is left is refused.
///
/// `"key" = "word";` is a key with one word the format knows there. A field stands under its own name or the one
/// after `as`, and is read as its type is, or by the function after `=>`, of the object and the key. Fields after
/// `["key"]` stand in an object of their own under that key.
macro_rules! record {
    ($(#[$outer:meta])* $vis:vis struct $name:ident {
        $($fixed:literal = $word:expr;)*
        $([$group:literal] {
            $($inner_fixed:literal = $inner_word:expr;)*
            $($(#[$inner_doc:meta])* $inner:ident $(as $inner_key:literal)? : $inner_kind:ty
                $(=> $inner_reader:expr)?,)+
        })*
        $($(#[$doc:meta])* $field:ident $(as $key:literal)? : $kind:ty $(=> $reader:expr)?,)*
    }) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $($($(#[$inner_doc])* $vis $inner: $inner_kind,)+)*
            $($(#[$doc])* $vis $field: $kind,)*
        }

        $crate::reader::record::record! {
            for $name {
                $($fixed = $word;)*
                $([$group] {
                    $($inner_fixed = $inner_word;)*
                    $($inner $(as $inner_key)? : $inner_kind $(=> $inner_reader)?,)+
                })*
                $($field $(as $key)? : $kind $(=> $reader)?,)*
            }
        }
    };
    (for $name:ident {
        $($fixed:literal = $word:expr;)*
        $([$group:literal] {
            $($inner_fixed:literal = $inner_word:expr;)*
            $($inner:ident $(as $inner_key:literal)? : $inner_kind:ty $(=> $inner_reader:expr)?,)+
        })*
        $($field:ident $(as $key:literal)? : $kind:ty $(=> $reader:expr)?,)*
    }) => {
        impl $crate::reader::record::Record for $name {
            fn part(
                fields: &mut $crate::reader::fields::Fields<'_>,
            ) -> Result<Self, $crate::reader::clause::Clause> {
                use $crate::reader::record::record;
                $(fields.required($fixed)?.word($word)?;)*
                $(
                    let mut group = fields.required($group)?.object()?;
                    $(group.required($inner_fixed)?.word($inner_word)?;)*
                    $(let $inner = record!(@read &mut group, $inner $($inner_key)?, $inner_kind $(, $inner_reader)?)?;)+
                    group.finish()?;
                )*
                Ok(Self {
                    $($($inner,)+)*
                    $($field: record!(@read fields, $field $($key)?, $kind $(, $reader)?)?,)*
                })
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@read $fields:expr, $field:ident $($key:literal)?, $kind:ty) => {
        <$kind as $crate::reader::record::Read>::under($fields, record!(@key $field $($key)?))
    };
    (@read $fields:expr, $field:ident $($key:literal)?, $kind:ty, $reader:expr) => {
        $reader($fields, record!(@key $field $($key)?))
    };
}

/// Declares an enum of the words that the format knows at one place.
macro_rules! words {
    ($(#[$outer:meta])* $vis:vis enum $name:ident, $expected:literal {
        $($(#[$doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// The word in files.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl $crate::reader::record::Read for $name {
            fn read(
                field: &$crate::reader::fields::Field<'_>,
            ) -> Result<Self, $crate::reader::clause::Clause> {
                match field.string()? {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(field.unknown_word($expected)),
                }
            }
        }
    };
}

pub(crate) use {record, words};
