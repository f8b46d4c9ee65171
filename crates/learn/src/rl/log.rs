//! Training curves as CSV and as a TensorBoard event file, written record by record. Untrusted.
//! TFRecord framing: length, masked CRC-32C of it, data, masked CRC-32C of the data (TensorFlow's `record_writer.h`);
//! `event.proto` and `summary.proto` hold the fields used.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::policy::input::{MAX_OWN, read_text};

/// A row of named numbers at an environment step.
pub type Row<'a> = (usize, &'a [(&'static str, f64)]);

/// Writes every row to `progress.csv` and to an event file of a directory.
pub struct CurveLog {
    csv: File,
    events: File,
}

/// CRC-32C (Castagnoli), bit by bit from a table of the 16 values of half a byte.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let fold = |crc: u32, _: u32| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), fold))
}

/// The mask of TFRecord: rotated right by 15 bits plus a constant.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked(crc32c(&length)).to_le_bytes());
    out.extend_from_slice(data);
    out.extend(masked(crc32c(data)).to_le_bytes());
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A length-delimited protobuf field.
fn field(number: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    out.extend(varint(data.len() as u64));
    out.extend_from_slice(data);
    out
}

/// `Event { wall_time = 1: double, then the given fields }`.
fn event(wall_time: f64, rest: &[u8]) -> Vec<u8> {
    let mut out = vec![1 << 3 | 1];
    out.extend(wall_time.to_le_bytes());
    out.extend_from_slice(rest);
    record(&out)
}

/// `step = 2: int64`, `summary = 5: Summary { value = 1: Value { tag = 1: string, simple_value = 2: float } }`.
fn scalars(step: usize, values: &[(&'static str, f64)]) -> Vec<u8> {
    let mut out = vec![2 << 3];
    out.extend(varint(step as u64));
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut entry = field(1, tag.as_bytes());
        entry.push(2 << 3 | 5);
        entry.extend((*value as f32).to_le_bytes());
        summary.extend(field(1, &entry));
    }
    out.extend(field(5, &summary));
    out
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Removes the event files of earlier runs, which a viewer would draw into the curves of this one.
fn remove_events(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("events.out.tfevents.") && name.ends_with(".secateur") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl CurveLog {
    /// Opens a directory's logs. Rows of the CSV beyond `resume_at` environment steps are dropped (they belong to work
    /// that was lost); 0 starts anew.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(directory: &Path, resume_at: usize) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        if resume_at == 0 {
            remove_events(directory)?;
        }
        let path = directory.join("progress.csv");
        let kept = if resume_at > 0 && path.exists() { read_text(&path, MAX_OWN)? } else { String::new() };
        let belongs = |line: &&str| {
            let step = line.split(',').next().unwrap_or_default();
            step.parse::<usize>().map_or(step == "global_step", |step| step <= resume_at)
        };
        let kept: String = kept.lines().filter(belongs).flat_map(|line| [line, "\n"]).collect();
        fs::write(&path, kept)?;
        let csv = OpenOptions::new().append(true).open(path)?;
        let time = now();
        let mut events =
            File::create(directory.join(format!("events.out.tfevents.{}.secateur", time as u64)))?;
        events.write_all(&event(time, &field(3, b"brain.Event:2")))?;
        Ok(Self { csv, events })
    }

    /// Writes one row; the names are the CSV's header if it is empty.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&mut self, (step, values): Row<'_>) -> io::Result<()> {
        let mut text = String::new();
        if self.csv.metadata()?.len() == 0 {
            text.push_str("global_step");
            values.iter().for_each(|(name, _)| text.extend([",", name]));
            text.push('\n');
        }
        text.push_str(&step.to_string());
        for (_, value) in values {
            text.push(',');
            text.push_str(&if value.is_nan() { String::new() } else { value.to_string() });
        }
        text.push('\n');
        self.csv.write_all(text.as_bytes())?;
        let finite: Vec<(&'static str, f64)> =
            values.iter().copied().filter(|(_, value)| value.is_finite()).collect();
        self.events.write_all(&event(now(), &scalars(step, &finite)))?;
        self.events.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4.
    #[test]
    fn checksums_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// `Event(wall_time=1.0, file_version="brain.Event:2")`: length, field heads and checksums by hand from the layout.
    #[test]
    fn first_record_is_framed() {
        let bytes = event(1.0, &field(3, b"brain.Event:2"));
        assert_eq!(bytes[..8], 24u64.to_le_bytes());
        assert_eq!(bytes[12..21], [9, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(&bytes[21..36], b"\x1a\x0dbrain.Event:2");
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[36..], masked(crc32c(&bytes[12..36])).to_le_bytes());
    }

    #[test]
    fn resumed_logs_drop_lost_rows() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut log = CurveLog::open(folder.path(), 0).expect("opens");
        for step in [10, 20, 30] {
            log.write((step, &[("reward", step as f64), ("none", f64::NAN)])).expect("writes");
        }
        let mut log = CurveLog::open(folder.path(), 20).expect("opens again");
        log.write((25, &[("reward", 0.5), ("none", f64::NAN)])).expect("writes");
        let text = fs::read_to_string(folder.path().join("progress.csv")).expect("is there");
        assert_eq!(text, "global_step,reward,none\n10,10,\n20,20,\n25,0.5,\n");
    }
}
