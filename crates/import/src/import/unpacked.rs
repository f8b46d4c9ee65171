//! Files that are compressed by gzip, as benchmarks of networks are handed out. Untrusted. `spec/semantics.md#files`.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{ImportError, MAX_FILE, Problem, read_capped};

/// The first bytes of a file that is compressed by gzip.
const GZIP: &[u8] = b"\x1f\x8b";

/// As [`read_capped`], unpacked if the file is compressed by gzip, which its bytes tell and not its name; the cap holds of
/// what comes out.
///
/// # Errors
/// [`ImportError`].
pub fn read_unpacked(path: &Path) -> Result<Vec<u8>, ImportError> {
    let bytes = read_capped(path)?;
    if !bytes.starts_with(GZIP) {
        return Ok(bytes);
    }
    unpack(&bytes, MAX_FILE).map_err(|problem| ImportError { file: path.to_owned(), problem })
}

fn unpack(bytes: &[u8], cap: usize) -> Result<Vec<u8>, Problem> {
    let mut unpacked = Vec::new();
    // One byte more than is let through tells that there is more.
    let read = MultiGzDecoder::new(bytes).take(cap.saturating_add(1) as u64).read_to_end(&mut unpacked);
    let broken = |e| Problem::Unreadable(format!("it begins as a gzip file, but cannot be unpacked: {e}"));
    read.map_err(broken)?;
    if unpacked.len() > cap { Err(Problem::FileTooLarge) } else { Ok(unpacked) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_join_and_the_cap_holds_of_what_comes_out() {
        let (one, two) = (packed(b"one, "), packed(&[b'2'; 100_000]));
        let both = [one.clone(), two].concat();
        let expected = [b"one, ".as_slice(), &[b'2'; 100_000]].concat();
        assert_eq!(unpack(&both, 100_005).unwrap(), expected);
        assert_eq!(unpack(&both, 100_004), Err(Problem::FileTooLarge));
        for broken in [&one[..one.len() - 1], &[one.as_slice(), b"rest"].concat()] {
            assert!(matches!(unpack(broken, 1000), Err(Problem::Unreadable(_))), "{broken:?}");
        }
    }
}
