//! Plots as SVG: panels of lines and points with intervals and one legend. Untrusted; the same data give the same bytes.
//! Colours are those of Okabe and Ito (distinguishable by colour-blind readers); markers and dashes differ too, for print.

mod axis;
mod legend;
mod panel;
mod svg;

use svg::Svg;

/// A point of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Horizontal position.
    pub x: f64,
    /// Vertical position.
    pub y: f64,
    /// Horizontal interval.
    pub x_interval: Option<(f64, f64)>,
    /// Vertical interval.
    pub y_interval: Option<(f64, f64)>,
    /// Words beside it.
    pub label: String,
}

impl Point {
    /// A point without intervals and words.
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, x_interval: None, y_interval: None, label: String::new() }
    }
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A line with a marker at every point, and intervals as bars.
    Marked,
    /// A line alone, and vertical intervals as a band behind it.
    Curve,
}

/// Points of one meaning. Series of the same style number look the same in all panels.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Number of colour, marker and dash.
    pub style: usize,
    /// How it is drawn.
    pub stroke: Stroke,
    /// In the order in which they are joined.
    pub points: Vec<Point>,
}

/// One pair of axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Heading.
    pub title: String,
    /// Horizontal axis.
    pub x_label: String,
    /// Vertical axis.
    pub y_label: String,
    /// Horizontal range; that of the data if absent.
    pub x_range: Option<(f64, f64)>,
    /// Vertical range; that of the data if absent.
    pub y_range: Option<(f64, f64)>,
    /// Marked values of the horizontal axis; round ones if empty.
    pub x_ticks: Vec<(f64, String)>,
    /// Draws `y = x` where both axes have it.
    pub diagonal: bool,
    /// The data.
    pub series: Vec<Series>,
}

/// Panels under one heading.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Heading.
    pub title: String,
    /// Small print under the heading.
    pub subtitle: String,
    /// Panels, row by row.
    pub panels: Vec<Panel>,
    /// Panels in a row.
    pub columns: usize,
}

const PANEL_WIDTH: f64 = 330.0;
const PANEL_HEIGHT: f64 = 270.0;
const MARGIN: f64 = 16.0;
const HEADING: f64 = 56.0;

/// Okabe and Ito's colours without yellow, which white paper swallows.
const COLOURS: [&str; 7] = ["#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];

fn colour(style: usize) -> &'static str {
    COLOURS[style % COLOURS.len()]
}

fn dash(style: usize) -> &'static str {
    DASHES[style % DASHES.len()]
}

/// The figure as an SVG document.
pub fn render(figure: &Figure) -> String {
    let columns = figure.columns.clamp(1, figure.panels.len().max(1));
    let rows = figure.panels.len().div_ceil(columns);
    let width = (2.0 * MARGIN + columns as f64 * PANEL_WIDTH)
        .max(svg::text_width(&figure.title, 15.0) + 2.0 * MARGIN);
    let entries = legend::entries(figure);
    let lines = legend::wrap(&entries, width - 2.0 * MARGIN);
    let subtitle = svg::wrap_text(&figure.subtitle, 11.0, width - 2.0 * MARGIN);
    let top = HEADING + 14.0 * subtitle.len().saturating_sub(1) as f64;
    let below = top + rows as f64 * PANEL_HEIGHT;
    let height = below + legend::height(&lines) + MARGIN;
    let mut out = Svg::new(width, height);
    out.text((MARGIN, 24.0), &figure.title, 15.0, "font-weight=\"bold\"");
    for (line, text) in subtitle.iter().enumerate() {
        out.text((MARGIN, 43.0 + 14.0 * line as f64), text, 11.0, "fill=\"#444\"");
    }
    for (index, panel) in figure.panels.iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let corner = (MARGIN + column as f64 * PANEL_WIDTH, top + row as f64 * PANEL_HEIGHT);
        panel::draw(&mut out, panel, corner, (PANEL_WIDTH, PANEL_HEIGHT));
    }
    legend::draw(&mut out, &lines, (MARGIN, below + 8.0));
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        let mut point = Point::new(0.5, 3.0);
        point.y_interval = Some((2.0, 4.5));
        point.label = "50 % <b>".to_owned();
        let series = Series {
            name: "a & b".to_owned(),
            style: 1,
            stroke: Stroke::Marked,
            points: vec![Point::new(0.0, 1.0), point],
        };
        let curve = Series {
            name: "curve".to_owned(),
            style: 0,
            stroke: Stroke::Curve,
            points: vec![Point::new(0.0, 2.0), Point::new(1.0, 2.5)],
        };
        let panel = Panel {
            title: "Panel".to_owned(),
            x_label: "sparsity".to_owned(),
            y_label: "return".to_owned(),
            x_range: None,
            y_range: None,
            x_ticks: Vec::new(),
            diagonal: false,
            series: vec![series, curve],
        };
        Figure { title: "Title".to_owned(), subtitle: "Small".to_owned(), panels: vec![panel], columns: 3 }
    }

    #[test]
    fn a_small_figure_byte_for_byte() {
        assert_eq!(render(&figure()), include_str!("../../../fixtures/plots/small.svg"));
    }

    /// Two points at the same place, and one elsewhere.
    #[test]
    fn words_of_hidden_points_stand_together() {
        let mut figure = figure();
        let points = &mut figure.panels[0].series[0].points;
        points[0].label = "dense".to_owned();
        points.push(Point { label: "70 %".to_owned(), ..points[1].clone() });
        let text = render(&figure);
        assert!(text.contains(">50 % &lt;b&gt;, 70 %<") && text.contains(">dense<"), "{text}");
    }

    #[test]
    fn nothing_to_draw_is_said() {
        let mut empty = figure();
        empty.panels[0].series.clear();
        assert!(render(&empty).contains("no results yet"));
        empty.panels.clear();
        assert!(render(&empty).starts_with("<svg"));
    }

    /// Every opened element is closed, in order, and no text has a bare `<` or `&`.
    #[test]
    fn the_document_is_well_formed() {
        let text = render(&figure());
        let mut open: Vec<&str> = Vec::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find('<') {
            assert!(!rest[..start].contains('>'), "{}", &rest[..start]);
            let bare = rest[..start].split('&').skip(1);
            bare.for_each(|tail| {
                assert!(["amp;", "lt;", "gt;"].iter().any(|e| tail.starts_with(e)), "{tail}")
            });
            let end = start + rest[start..].find('>').expect("a closed tag");
            let tag = &rest[start + 1..end];
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().expect("a name")),
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty() && rest.trim().is_empty());
    }
}
