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

/// A record that may share its object with others.
pub(crate) trait Record: Read {
    /// Reads the record's own keys and leaves the rest.
    ///
    /// # Errors
    /// [`Clause`].
    fn part(fields: &mut Fields<'_>) -> Result<Self, Clause>;
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
/// Those of [`Field::fraction`].
pub(super) fn fraction(fields: &mut Fields<'_>, key: &str) -> Result<Rational, Clause> {
    fields.required(key)?.fraction()
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

/// As [`capped`], and not empty.
pub(super) fn listed<T: Read>(field: &Field<'_>, what: &'static str, cap: usize) -> Result<Vec<T>, Clause> {
    let list = capped(field, what, cap)?;
    if list.is_empty() { Err(Clause::ListEmpty { what }) } else { Ok(list) }
}

/// As [`listed`], or no such key: then there are no entries.
pub(super) fn listed_or_absent<T: Read>(
    fields: &mut Fields<'_>,
    key: &str,
    what: &'static str,
    cap: usize,
) -> Result<Vec<T>, Clause> {
    Ok(fields.optional(key).map(|field| listed(&field, what, cap)).transpose()?.unwrap_or_default())
}

/// Declares a record: the struct and its [`Read`]. Keys are read in the order they are declared, then whatever is left
/// is refused.
///
/// `"key" = "word";` is a key with one word the format knows there. A field stands under its own name or the one
/// after `as`, and is read as its type is, or by the function after `=>`, of the object and the key.
macro_rules! record {
    ($(#[$outer:meta])* $vis:vis struct $name:ident {
        $($fixed:literal = $word:expr;)*
        $($(#[$doc:meta])* $field:ident $(as $key:literal)? : $kind:ty $(=> $reader:expr)?,)+
    }) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$doc])* $vis $field: $kind,)+
        }

        impl $crate::reader::record::Record for $name {
            fn part(
                fields: &mut $crate::reader::fields::Fields<'_>,
            ) -> Result<Self, $crate::reader::clause::Clause> {
                $(fields.required($fixed)?.word($word)?;)*
                Ok(Self {
                    $($field: $crate::reader::record::record!(
                        @read fields, $crate::reader::record::record!(@key $field $($key)?), $kind $(, $reader)?
                    )?,)+
                })
            }
        }

        impl $crate::reader::record::Read for $name {
            fn read(
                field: &$crate::reader::fields::Field<'_>,
            ) -> Result<Self, $crate::reader::clause::Clause> {
                let mut fields = field.object()?;
                let record = <Self as $crate::reader::record::Record>::part(&mut fields)?;
                fields.finish()?;
                Ok(record)
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@read $fields:ident, $key:expr, $kind:ty) => { <$kind as $crate::reader::record::Read>::under($fields, $key) };
    (@read $fields:ident, $key:expr, $kind:ty, $reader:expr) => { $reader($fields, $key) };
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
