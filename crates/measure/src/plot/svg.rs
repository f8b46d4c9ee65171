//! SVG elements as text. Untrusted. Numbers have two digits after the point, so that bytes do not depend on the machine.

use std::fmt::Write;

/// A document under way.
pub(super) struct Svg {
    text: String,
}

/// A coordinate.
pub(super) fn at(value: f64) -> String {
    let text = format!("{value:.2}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// Text with what XML reserves replaced.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Width of a text in a sans-serif face, roughly and rather too wide.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    0.56 * size * text.chars().count() as f64
}

/// Words in lines of at most a width.
pub(super) fn wrap_text(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + 0.56 * size <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let (width, height) = (at(width), at(height));
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\">\n"
        );
        let _ = writeln!(text, "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>");
        Self { text }
    }

    /// An element without content.
    pub(super) fn element(&mut self, element: &str) {
        let _ = writeln!(self.text, "<{element}/>");
    }

    /// A text whose base line begins (or as `attributes` say) at a place.
    pub(super) fn text(&mut self, (x, y): (f64, f64), words: &str, size: f64, attributes: &str) {
        let space = if attributes.is_empty() { "" } else { " " };
        let (x, y, size, words) = (at(x), at(y), at(size), escape(words));
        let _ = writeln!(
            self.text,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{space}{attributes}>{words}</text>"
        );
    }

    /// A straight line.
    pub(super) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), attributes: &str) {
        let (x1, y1, x2, y2) = (at(x1), at(y1), at(x2), at(y2));
        self.element(&format!("line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" {attributes}"));
    }

    /// A line through points, or the area they enclose.
    pub(super) fn path(&mut self, kind: &str, points: &[(f64, f64)], attributes: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", at(*x), at(*y))).collect();
        self.element(&format!("{kind} points=\"{}\" {attributes}", points.join(" ")));
    }

    /// The marker of a style around a place: circle, square, triangle, diamond, in turn.
    pub(super) fn marker(&mut self, style: usize, (x, y): (f64, f64), colour: &str) {
        let fill = format!("fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"0.8\"");
        match style % 4 {
            0 => self.element(&format!("circle cx=\"{}\" cy=\"{}\" r=\"4\" {fill}", at(x), at(y))),
            1 => self.path(
                "polygon",
                &[(x - 3.6, y - 3.6), (x + 3.6, y - 3.6), (x + 3.6, y + 3.6), (x - 3.6, y + 3.6)],
                &fill,
            ),
            2 => self.path("polygon", &[(x, y - 4.8), (x + 4.4, y + 3.4), (x - 4.4, y + 3.4)], &fill),
            _ => self.path("polygon", &[(x, y - 5.0), (x + 5.0, y), (x, y + 5.0), (x - 5.0, y)], &fill),
        }
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}
