//! Strict `.npy`: a two-dimensional table of little-endian floats in C order, one state a row.
//! Trusted. `spec/certificate-files.md#states`.

use super::clause::Clause;
use super::safetensors::MAX_FILE;
use super::tensor::{Dtype, MAX_ENTRIES, decode_floats};
use crate::model::{Matrix, States, Units};

/// Longest header, in bytes.
pub const MAX_HEADER: usize = 1 << 12;

/// Reads a table of states, S x n, both at least 1; the file does not know its units.
///
/// # Errors
/// [`Clause`], one variant per clause of the format; sizes are tested before allocation.
///
/// # References
/// NEP 1, "A Simple File Format for NumPy Arrays".
pub fn parse_states(file: &[u8], units: Units) -> Result<States, Clause> {
    if file.len() > MAX_FILE {
        return Err(Clause::StatesTooLarge { size: file.len() });
    }
    let (header, data) = split(file)?;
    let Header { dtype, fortran, shape } = parse_header(header)?;
    let dtype = match dtype {
        "<f2" => Dtype::F16,
        "<f4" => Dtype::F32,
        "<f8" => Dtype::F64,
        _ => return Err(Clause::NpyDtype),
    };
    let (size, Some(bits)) = dtype.layout() else { return Err(Clause::NpyDtype) };
    if fortran {
        return Err(Clause::FortranOrder);
    }
    let &[rows, columns] = shape.as_slice() else {
        let found = shape.len();
        return Err(if found == 1 { Clause::OneState } else { Clause::NpyRank { found } });
    };
    if rows == 0 || columns == 0 {
        return Err(Clause::NoStates);
    }
    let entries = rows.checked_mul(columns).filter(|n| *n <= MAX_ENTRIES).ok_or(Clause::TooManyStates)?;
    let needed = entries.checked_mul(size).ok_or(Clause::TooManyStates)?;
    if data.len() != needed {
        return Err(Clause::StatesLength { stated: data.len(), needed });
    }
    // There is a column, so that each entry has a row.
    let values = decode_floats(data, size, bits).map_err(|index| Clause::StateNotFinite {
        row: index.checked_div(columns).unwrap_or(0),
        column: index.checked_rem(columns).unwrap_or(0),
    })?;
    Ok(States { values: Matrix { rows, columns, values }, units })
}

/// Header text and data of a file.
fn split(file: &[u8]) -> Result<(&str, &[u8]), Clause> {
    let rest = file.strip_prefix(b"\x93NUMPY").ok_or(Clause::NotNpy)?;
    let (length, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (u32::from(u16::from_le_bytes([*a, *b])), rest),
        [2, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]), rest),
        [1 | 2, 0, ..] => return Err(Clause::NpyHeaderLength),
        [major, minor, ..] => return Err(Clause::NpyVersion { major: *major, minor: *minor }),
        _ => return Err(Clause::NotNpy),
    };
    let length = usize::try_from(length).ok().filter(|n| *n <= MAX_HEADER).ok_or(Clause::NpyHeaderLength)?;
    let (header, data) = rest.split_at_checked(length).ok_or(Clause::NpyHeaderLength)?;
    let header = core::str::from_utf8(header)
        .map_err(|e| Clause::NpyHeader { at: e.valid_up_to(), expected: "ASCII" })?;
    Ok((header, data))
}

struct Header<'a> {
    dtype: &'a str,
    fortran: bool,
    shape: Vec<usize>,
}

/// Reads `{'descr': '<f8', 'fortran_order': False, 'shape': (1000, 11), }` and its padding: the three keys once each,
/// in any order, blanks between tokens, a comma after the last member or not.
fn parse_header(header: &str) -> Result<Header<'_>, Clause> {
    let mut scan = Scan { all: header, rest: header };
    let (mut dtype, mut fortran, mut shape) = (None, None, None);
    scan.want("{", "an opening brace")?;
    while !scan.take("}") {
        if scan.take("'descr'") && dtype.is_none() {
            scan.want(":", "a colon")?;
            dtype = Some(scan.quoted()?);
        } else if scan.take("'fortran_order'") && fortran.is_none() {
            scan.want(":", "a colon")?;
            fortran = Some(scan.boolean()?);
        } else if scan.take("'shape'") && shape.is_none() {
            scan.want(":", "a colon")?;
            shape = Some(scan.tuple()?);
        } else {
            return Err(scan.lacks("'descr', 'fortran_order' or 'shape', once each"));
        }
        if !scan.take(",") {
            scan.want("}", "a closing brace")?;
            break;
        }
    }
    if scan.rest.trim_start_matches(' ') != "\n" {
        return Err(scan.lacks("padding of spaces and one line feed"));
    }
    match (dtype, fortran, shape) {
        (Some(dtype), Some(fortran), Some(shape)) => Ok(Header { dtype, fortran, shape }),
        _ => Err(scan.lacks("'descr', 'fortran_order' or 'shape', once each")),
    }
}

struct Scan<'a> {
    all: &'a str,
    rest: &'a str,
}

impl<'a> Scan<'a> {
    fn lacks(&self, expected: &'static str) -> Clause {
        Clause::NpyHeader { at: self.all.len().saturating_sub(self.rest.len()), expected }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.trim_start_matches(' ').strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn want(&mut self, token: &str, expected: &'static str) -> Result<(), Clause> {
        if self.take(token) { Ok(()) } else { Err(self.lacks(expected)) }
    }

    fn quoted(&mut self) -> Result<&'a str, Clause> {
        self.want("'", "a quoted string")?;
        let (text, rest) = self.rest.split_once('\'').ok_or_else(|| self.lacks("a closing quote"))?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, Clause> {
        if self.take("True") {
            Ok(true)
        } else {
            self.want("False", "True or False")?;
            Ok(false)
        }
    }

    /// A tuple of sizes: `()`, `(5,)`, `(5, 6)`, `(5, 6,)`.
    fn tuple(&mut self) -> Result<Vec<usize>, Clause> {
        self.want("(", "an opening parenthesis")?;
        let mut sizes = Vec::new();
        while !self.take(")") {
            let blank = self.rest.trim_start_matches(' ');
            let end = blank.find(|c: char| !c.is_ascii_digit());
            let split = end.and_then(|end| blank.split_at_checked(end));
            let size = split.and_then(|(digits, rest)| Some((digits.parse().ok()?, rest)));
            let (size, rest) = size.ok_or_else(|| self.lacks("a size"))?;
            sizes.push(size);
            self.rest = rest;
            if !self.take(",") {
                self.want(")", "a closing parenthesis")?;
                break;
            }
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_types)]
    use super::*;
    use crate::number::Dyadic;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = b"\x93NUMPY".to_vec();
        out.extend_from_slice(&[version, 0]);
        let length = u32::try_from(header.len()).unwrap().to_le_bytes();
        out.extend_from_slice(if version == 1 { &length[..2] } else { &length });
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(data);
        out
    }

    fn header(descr: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}     \n")
    }

    fn read(header: &str, data: &[u8]) -> Result<States, Clause> {
        parse_states(&file(1, header, data), Units::Raw)
    }

    #[test]
    fn tables_are_read_exactly_in_each_version_and_type() {
        // Rows (1, -2) and (1/2, 0).
        let doubles: Vec<u8> = [1.0f64, -2.0, 0.5, -0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let singles: Vec<u8> = [1.0f32, -2.0, 0.5, -0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let halves = vec![0x00, 0x3C, 0x00, 0xC0, 0x00, 0x38, 0x00, 0x80];
        let values = vec![Dyadic::new(1, 0), Dyadic::new(-2, 0), Dyadic::new(1, -1), Dyadic::ZERO];
        for version in [1, 2] {
            for (descr, data) in [("<f8", &doubles), ("<f4", &singles), ("<f2", &halves)] {
                let states =
                    parse_states(&file(version, &header(descr, "False", "(2, 2)"), data), Units::Normalised);
                let table = Matrix { rows: 2, columns: 2, values: values.clone() };
                assert_eq!(states, Ok(States { values: table, units: Units::Normalised }));
            }
        }
    }

    #[test]
    fn keys_may_stand_in_any_order() {
        let spelled = "{ 'shape' : (1,1) ,'fortran_order':False,'descr':'<f4'}\n";
        assert!(read(spelled, &[0; 4]).is_ok());
    }

    #[test]
    fn magic_version_and_lengths_are_checked() {
        assert_eq!(parse_states(b"PK\x03\x04", Units::Raw), Err(Clause::NotNpy));
        assert_eq!(parse_states(b"\x93NUMPY", Units::Raw), Err(Clause::NotNpy));
        let version = parse_states(&file(3, "", &[]), Units::Raw);
        assert_eq!(version, Err(Clause::NpyVersion { major: 3, minor: 0 }));
        assert_eq!(parse_states(b"\x93NUMPY\x01\x00\x10", Units::Raw), Err(Clause::NpyHeaderLength));
        assert_eq!(parse_states(b"\x93NUMPY\x01\x00\x10\x00", Units::Raw), Err(Clause::NpyHeaderLength));
        let huge = parse_states(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", Units::Raw);
        assert_eq!(huge, Err(Clause::NpyHeaderLength));
        let large = vec![0u8; MAX_FILE + 1];
        assert_eq!(parse_states(&large, Units::Raw), Err(Clause::StatesTooLarge { size: MAX_FILE + 1 }));
    }

    #[test]
    fn headers_are_strict() {
        for bad in [
            "",
            "{",
            "{}\n",
            "{'descr': '<f8'}\n",
            "{'descr': '<f8', 'descr': '<f8', }\n",
            "{'descr': '<f8', 'fortran_order': 0, 'shape': (1, 1), }\n",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1, -1), }\n",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1 1), }\n",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999999, 1), }\n",
            "{'descr': '<f8', 'fortran_order': False, 'shape': [1, 1], }\n",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), 'x': 1, }\n",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }  x\n",
            "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1, 1), }\n",
            "__import__('os').system('true')\n",
        ] {
            assert!(
                matches!(
                    read(bad, &[0; 8]).map_err(|e| e.condition().clone()),
                    Err(Clause::NpyHeader { .. })
                ),
                "{bad}"
            );
        }
    }

    #[test]
    fn only_c_ordered_little_endian_tables_are_read() {
        for descr in [">f8", "<i4", "|O", "|b1", "<f16", "<c8"] {
            assert_eq!(read(&header(descr, "False", "(1, 1)"), &[0; 8]), Err(Clause::NpyDtype), "{descr}");
        }
        assert_eq!(read(&header("<f8", "True", "(1, 1)"), &[0; 8]), Err(Clause::FortranOrder));
        assert_eq!(read(&header("<f8", "False", "(1,)"), &[0; 8]), Err(Clause::OneState));
        assert_eq!(read(&header("<f8", "False", "()"), &[0; 8]), Err(Clause::NpyRank { found: 0 }));
        assert_eq!(read(&header("<f8", "False", "(1, 1, 1)"), &[0; 8]), Err(Clause::NpyRank { found: 3 }));
        assert!(Clause::OneState.to_string().contains("reshape"));
    }

    #[test]
    fn sizes_are_checked_before_allocation() {
        assert_eq!(read(&header("<f8", "False", "(0, 3)"), &[]), Err(Clause::NoStates));
        assert_eq!(read(&header("<f8", "False", "(3, 0)"), &[]), Err(Clause::NoStates));
        let overflow = header("<f8", "False", "(4294967296, 4294967297)");
        assert_eq!(read(&overflow, &[]), Err(Clause::TooManyStates));
        let many = header("<f8", "False", "(16777217, 1)");
        assert_eq!(read(&many, &[]), Err(Clause::TooManyStates));
        let short = read(&header("<f8", "False", "(1, 2)"), &[0; 8]);
        assert_eq!(short, Err(Clause::StatesLength { stated: 8, needed: 16 }));
        let long = read(&header("<f8", "False", "(1, 1)"), &[0; 9]);
        assert_eq!(long, Err(Clause::StatesLength { stated: 9, needed: 8 }));
    }

    #[test]
    fn states_must_be_finite() {
        let data: Vec<u8> = [0.0f64, 1.0, 2.0, f64::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
        let error = read(&header("<f8", "False", "(2, 2)"), &data);
        assert_eq!(error, Err(Clause::StateNotFinite { row: 1, column: 1 }));
    }
}
