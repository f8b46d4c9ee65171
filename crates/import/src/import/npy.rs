//! NumPy `.npy` files and `.npz` archives of them. Untrusted. `spec/semantics.md#files`.
//!
//! # References
//! NumPy, *A simple file format for NumPy arrays*, versions 1.0 to 3.0.

use super::archive::{Entries, read_entries};
use super::array::{Array, Arrays, Element, from_fortran, swapped};
use crate::import::problem::Problem;

const MAGIC: &[u8] = b"\x93NUMPY";
const MAX_HEADER: usize = 1 << 16;

/// Whether the bytes start as a `.npy` file does.
pub fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads one `.npy` file; arrays of Python objects are refused.
///
/// # Errors
/// [`Problem::Npy`] with the clause of the format that fails, [`Problem::ShapeSize`].
pub fn parse_npy(name: &str, bytes: &[u8]) -> Result<Array, Problem> {
    let fail = |reason: &'static str| Problem::Npy { name: name.to_owned(), reason };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| fail("it does not start with \\x93NUMPY"))?;
    let (length, start) = match rest {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 6),
        _ => return Err(fail("its version is not 1, 2 or 3")),
    };
    if length > MAX_HEADER {
        return Err(fail("its header is longer than 65536 bytes"));
    }
    let header = rest.get(start..start + length).ok_or_else(|| fail("it ends inside its header"))?;
    let header = std::str::from_utf8(header).map_err(|_| fail("its header is not UTF-8"))?;
    let data = rest.get(start + length..).unwrap_or_default();
    let described = field(header, "descr").ok_or_else(|| fail("its header has no descr"))?;
    let described = described.trim_start().strip_prefix(['\'', '"']);
    let described = described.and_then(|d| d.split(['\'', '"']).next());
    let described =
        described.ok_or_else(|| fail("it holds records, not plain numbers; save plain arrays"))?;
    let (order, code) = described.split_at_checked(1).ok_or_else(|| fail("its descr is empty"))?;
    let element = Element::from_numpy(code).ok_or_else(|| {
        fail(
            "its dtype is not a float of 16, 32 or 64 bits, an integer, a bool or text (str); lists and other objects are \
             never read: save each array under its own name (np.savez(FILE, W0=..., b0=...))",
        )
    })?;
    let shape = parse_shape(header).ok_or_else(|| fail("its shape is not a tuple of numbers"))?;
    let array = Array::new(name, element, shape, data.to_vec())?;
    let ordered = if order == ">" { swap(array) } else { array };
    let fortran = field(header, "fortran_order").is_some_and(|f| f.trim_start().starts_with("True"));
    if !fortran {
        return Ok(ordered);
    }
    let bytes = from_fortran(&ordered.shape, ordered.element.width(), &ordered.bytes);
    Ok(Array { bytes, ..ordered })
}

fn swap(array: Array) -> Array {
    let width = if matches!(array.element, Element::Text(_)) { 4 } else { array.element.width() };
    Array { bytes: swapped(width, array.bytes), ..array }
}

/// What follows `'key':` in the header's dictionary.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, after) = header.split_once(&format!("'{key}'"))?;
    after.trim_start().strip_prefix(':')
}

fn parse_shape(header: &str) -> Option<Vec<usize>> {
    let inside = field(header, "shape")?.trim_start().strip_prefix('(')?.split_once(')')?.0;
    let sides = inside.split(',').map(str::trim).filter(|s| !s.is_empty());
    sides.map(|s| s.parse().ok()).collect()
}

/// Reads every `.npy` of an `.npz` archive, named without the suffix.
///
/// # Errors
/// [`Problem`] of the archive or of the first array that cannot be read.
pub fn parse_npz(bytes: &[u8]) -> Result<Arrays, Problem> {
    npz_from_entries(read_entries(bytes, |name| name.ends_with(".npy"))?)
}

fn npz_from_entries(entries: Entries) -> Result<Arrays, Problem> {
    let mut arrays = Arrays { ordered: true, ..Arrays::default() };
    for (file, bytes) in entries {
        let name = file.strip_suffix(".npy").unwrap_or(&file).to_owned();
        let array = parse_npy(&name, &bytes)?;
        let key = if name == "act" { "activation" } else { name.as_str() };
        if matches!(array.element, Element::Text(_))
            && (key.contains("activation") || matches!(key, "distribution" | "clip"))
        {
            let texts = array.texts().ok_or_else(|| Problem::NotFloats(name.clone()))?;
            if arrays.metadata.insert(key.to_owned(), texts.join(",")).is_some() {
                return Err(Problem::ActivationEntry { key: name, text: texts.join(",") });
            }
            continue;
        }
        arrays.named.insert(name, array);
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::TensorDtype;
    use crate::policy::emit::emit_npy;

    #[test]
    fn what_is_written_is_read() {
        let array = parse_npy("s", &emit_npy(1, 2, &[1.5, -2.0])).expect("readable");
        assert_eq!((array.element, array.shape.as_slice()), (Element::Float(TensorDtype::F64), &[1, 2][..]));
        assert_eq!(array.floats("s").expect("floats").floats(), [1.5, -2.0]);
    }

    #[test]
    fn shapes_that_overflow_and_files_cut_short_are_refused() {
        let mut header = b"\x93NUMPY\x01\x00\x60\x00".to_vec();
        let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 4), }";
        header.extend(format!("{text:<95}\n").bytes());
        assert!(matches!(parse_npy("x", &header), Err(Problem::ShapeSize { .. })));
        let whole = emit_npy(1, 2, &[1.5, -2.0]);
        for length in 0..whole.len() {
            assert!(parse_npy("x", &whole[..length]).is_err(), "{length} bytes were accepted");
        }
    }

    #[test]
    fn arrays_of_objects_are_refused() {
        let mut header = b"\x93NUMPY\x01\x00\x60\x00".to_vec();
        header
            .extend(format!("{:<95}\n", "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }").bytes());
        assert!(matches!(parse_npy("x", &header), Err(Problem::Npy { .. })));
    }
}
