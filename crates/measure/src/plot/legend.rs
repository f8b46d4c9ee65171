//! One legend for all panels of a figure. Untrusted.

use super::svg::{Svg, text_width};
use super::{Figure, Stroke, colour, dash};

const SIZE: f64 = 11.5;
const SAMPLE: f64 = 34.0;
const LINE: f64 = 20.0;

/// An entry: name, style, stroke.
pub(super) type Entry = (String, usize, Stroke);

/// Every series once, by name, in the order of the styles.
pub(super) fn entries(figure: &Figure) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    for series in figure.panels.iter().flat_map(|panel| &panel.series) {
        if !series.points.is_empty() && !found.iter().any(|(name, ..)| *name == series.name) {
            found.push((series.name.clone(), series.style, series.stroke));
        }
    }
    found.sort_by_key(|(_, style, _)| *style);
    found
}

fn width(entry: &Entry) -> f64 {
    SAMPLE + 6.0 + text_width(&entry.0, SIZE) + 16.0
}

/// Entries in lines of at most a width.
pub(super) fn wrap(entries: &[Entry], most: f64) -> Vec<Vec<Entry>> {
    let mut lines: Vec<Vec<Entry>> = Vec::new();
    let mut used = f64::INFINITY;
    for entry in entries {
        if used + width(entry) > most {
            lines.push(Vec::new());
            used = 0.0;
        }
        used += width(entry);
        if let Some(line) = lines.last_mut() {
            line.push(entry.clone());
        }
    }
    lines
}

pub(super) fn height(lines: &[Vec<Entry>]) -> f64 {
    LINE * lines.len() as f64
}

pub(super) fn draw(out: &mut Svg, lines: &[Vec<Entry>], (left, top): (f64, f64)) {
    for (number, line) in lines.iter().enumerate() {
        let row = top + LINE * number as f64 + 4.0;
        let mut place = left;
        for entry in line {
            let (name, style, stroke) = entry;
            let ink = colour(*style);
            let dashes = match dash(*style) {
                "" => String::new(),
                pattern => format!(" stroke-dasharray=\"{pattern}\""),
            };
            out.line(
                (place, row),
                (place + SAMPLE, row),
                &format!("stroke=\"{ink}\" stroke-width=\"1.6\"{dashes}"),
            );
            if *stroke == Stroke::Marked {
                out.marker(*style, (place + SAMPLE / 2.0, row), ink);
            }
            out.text((place + SAMPLE + 6.0, row + 4.0), name, SIZE, "");
            place += width(entry);
        }
    }
}
