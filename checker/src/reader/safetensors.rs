//! Strict safetensors: header and data of bounded size, no hole, no overlap, shapes without overflow, finite numbers.
//! Trusted. `spec/certificate-files.md#safetensors`.

use std::collections::BTreeMap;

use super::clause::{Clause, Part, Word};
use super::fields::{Document, Field};
use super::json::Numbers;
use super::tensor::{Dtype, RawTensor};

/// Longest file, in bytes.
pub const MAX_FILE: usize = 100_000_000;
/// Longest header, in bytes.
pub const MAX_HEADER: usize = 1 << 20;
/// Most dimensions of a tensor.
pub(crate) const MAX_RANK: usize = 8;
/// A parsed file; every tensor was checked for shape and place, none for its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safetensors<'a> {
    tensors: BTreeMap<String, RawTensor<'a>>,
}

impl<'a> Safetensors<'a> {
    /// Parses a file.
    ///
    /// # Errors
    /// [`Clause`], one variant per clause of the format; both sizes are tested before anything is read.
    ///
    /// # References
    /// <https://github.com/huggingface/safetensors#format>.
    pub fn parse(file: &'a [u8]) -> Result<Self, Clause> {
        if file.len() > MAX_FILE {
            return Err(Clause::FileTooLarge { size: file.len() });
        }
        let (length, rest) = file.split_first_chunk::<8>().ok_or(Clause::NoHeaderLength)?;
        let stated = u64::from_le_bytes(*length);
        let too_large = Clause::HeaderTooLarge { size: stated };
        let size = usize::try_from(stated).ok().filter(|s| *s <= MAX_HEADER).ok_or(too_large)?;
        let (header, data) = rest.split_at_checked(size).ok_or(Clause::HeaderBeyondFile { size })?;
        if header.first() != Some(&b'{') {
            return Err(Clause::HeaderStart);
        }
        let document = Document::parse(header, MAX_HEADER, Numbers::Integers, Part::TensorHeader)?;
        let mut tensors = Vec::new();
        for (name, field) in document.root().entries()? {
            if name == "__metadata__" {
                for (_, text) in field.entries()? {
                    text.string()?;
                }
            } else {
                tensors.push(parse_entry(name, &field, data)?);
            }
        }
        check_places(&mut tensors, data)?;
        Ok(Self { tensors: tensors.into_iter().map(|(_, t)| (t.name.clone(), t)).collect() })
    }

    /// Names of all tensors, in code point order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Clause::NoTensor`].
    pub fn tensor(&self, name: &str) -> Result<&RawTensor<'a>, Clause> {
        self.tensors.get(name).ok_or_else(|| Clause::NoTensor { name: name.into() })
    }
}

/// Reads one header entry; the first of the pair is where its bytes begin.
fn parse_entry<'a>(name: &str, field: &Field<'_>, data: &'a [u8]) -> Result<(usize, RawTensor<'a>), Clause> {
    let named = || Word::from(name);
    let mut fields = field.object()?;
    let dtype = fields.required("dtype")?;
    let shape = fields.required("shape")?.array()?;
    let offsets = fields.required("data_offsets")?.array()?;
    fields.finish()?;
    let dtype = Dtype::from_name(dtype.string()?).ok_or_else(|| Clause::UnknownDtype { name: named() })?;
    if shape.len() > MAX_RANK {
        return Err(Clause::RankTooHigh { name: named() });
    }
    let shape = shape.iter().map(Field::integer).collect::<Result<Vec<_>, _>>()?;
    let needed = shape.iter().try_fold(dtype.layout().0, |bytes, n| bytes.checked_mul(*n));
    let needed = needed.ok_or_else(|| Clause::ShapeOverflow { name: named() })?;
    let [begin, end] = offsets.as_slice() else { return Err(Clause::BadOffsets { name: named() }) };
    let (begin, end) = (begin.integer()?, end.integer()?);
    let stated = end.checked_sub(begin).ok_or_else(|| Clause::BadOffsets { name: named() })?;
    if stated != needed {
        return Err(Clause::SizeMismatch { name: named(), stated, needed });
    }
    let bytes = data.get(begin..end);
    let bytes = bytes.ok_or(Clause::DataLength { stated: data.len(), needed: end })?;
    Ok((begin, RawTensor { name: name.to_owned(), dtype, shape, bytes }))
}

/// Tests that the tensors, ordered by where they begin, cover `data` without a hole or an overlap.
fn check_places(tensors: &mut [(usize, RawTensor<'_>)], data: &[u8]) -> Result<(), Clause> {
    tensors.sort_by_key(|(begin, tensor)| (*begin, tensor.bytes.len()));
    let mut expected = 0usize;
    for (begin, tensor) in tensors.iter() {
        if *begin != expected {
            return Err(Clause::HoleOrOverlap { name: tensor.name.as_str().into(), begin: *begin, expected });
        }
        // The bytes are in memory, one after the other up to here.
        expected = expected.saturating_add(tensor.bytes.len());
    }
    if expected != data.len() {
        return Err(Clause::DataLength { stated: data.len(), needed: expected });
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
