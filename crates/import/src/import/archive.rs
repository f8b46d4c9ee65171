//! Zip archives (NPZ, PyTorch, Stable-Baselines3) with caps against bombs. Untrusted. `spec/semantics.md#files`.

use crate::import::problem::{MAX_ENTRIES, Problem};
use indexmap::IndexMap;
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// Bytes all wanted entries together may unpack to.
pub const MAX_UNPACKED: u64 = 1 << 29;
/// Times its packed size that an entry may unpack to, beyond the first mebibyte.
pub const MAX_RATIO: u64 = 200;

/// Entries by name, in the archive's order.
pub type Entries = IndexMap<String, Vec<u8>>;

/// Whether the bytes start as a zip archive does.
pub fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

fn open(bytes: &[u8]) -> Result<ZipArchive<Cursor<&[u8]>>, Problem> {
    let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| Problem::Zip(error.to_string()))?;
    if archive.len() > MAX_ENTRIES {
        return Err(Problem::ZipTooMany(archive.len()));
    }
    Ok(archive)
}

/// Names of all entries.
///
/// # Errors
/// [`Problem::Zip`], [`Problem::ZipTooMany`].
pub fn entry_names(bytes: &[u8]) -> Result<Vec<String>, Problem> {
    let archive = open(bytes)?;
    let names = archive.file_names().map(|name| name.map(|n| n.to_string()));
    names.collect::<Result<_, _>>().map_err(|error| Problem::Zip(error.to_string()))
}

/// Unpacks the entries whose names are wanted; nothing is written to disk.
///
/// # Errors
/// [`Problem::Zip`] for a broken archive, [`Problem::ZipTooMany`] and [`Problem::ZipBomb`] beyond the caps.
pub fn read_entries(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Entries, Problem> {
    let mut archive = open(bytes)?;
    let (mut entries, mut left) = (Entries::new(), MAX_UNPACKED);
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|error| Problem::Zip(error.to_string()))?;
        let name = file.name().map_err(|error| Problem::Zip(error.to_string()))?.to_string();
        if !wanted(&name) {
            continue;
        }
        let cap = left.min(file.compressed_size().saturating_mul(MAX_RATIO).saturating_add(1 << 20));
        let mut content = Vec::new();
        file.take(cap + 1)
            .read_to_end(&mut content)
            .map_err(|error| Problem::Zip(format!("{name}: {error}")))?;
        if content.len() as u64 > cap {
            return Err(Problem::ZipBomb { name, cap });
        }
        left -= content.len() as u64;
        if entries.insert(name.clone(), content).is_some() {
            return Err(Problem::Zip(format!("entry {name:?} occurs twice")));
        }
    }
    Ok(entries)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;
    use zip::write::SimpleFileOptions;

    pub(crate) fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
            writer.start_file(*name, options).expect("entry");
            writer.write_all(content).expect("content");
        }
        writer.finish().expect("archive").into_inner()
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zip_of(&[("W0.npy", &vec![0u8; 8 << 20])]);
        assert!(bomb.len() < 20_000);
        assert!(matches!(read_entries(&bomb, |_| true), Err(Problem::ZipBomb { .. })));
        assert!(read_entries(&bomb, |_| false).is_ok());
    }

    #[test]
    fn an_archive_cut_short_is_refused() {
        let whole = zip_of(&[("a", b"some content")]);
        assert!(matches!(read_entries(&whole[..whole.len() - 5], |_| true), Err(Problem::Zip(_))));
    }
}
