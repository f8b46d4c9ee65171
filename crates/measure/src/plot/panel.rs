//! One pair of axes with its data. Untrusted.

use super::axis::{Scale, range_of, ticks};
use super::svg::{Svg, at, text_width};
use super::{Panel, Point, Series, Stroke, colour, dash};

/// Room for the words around the axes: left, right, top, bottom.
const ROOM: (f64, f64, f64, f64) = (62.0, 14.0, 26.0, 46.0);

/// Draws a panel into a rectangle given by its corner and size.
pub(super) fn draw(out: &mut Svg, panel: &Panel, (left, top): (f64, f64), (width, height): (f64, f64)) {
    let inner = (left + ROOM.0, left + width - ROOM.1, top + ROOM.2, top + height - ROOM.3);
    let middle = (inner.0 + inner.1) / 2.0;
    out.text((middle, top + 16.0), &panel.title, 12.0, "text-anchor=\"middle\" font-weight=\"bold\"");
    let nothing = |out: &mut Svg| {
        let at = (middle, (inner.2 + inner.3) / 2.0);
        out.text(at, "no results yet", 12.0, "text-anchor=\"middle\" fill=\"#888\"");
    };
    let points = || panel.series.iter().flat_map(|series| &series.points);
    let xs =
        points().flat_map(|p| [p.x].into_iter().chain(p.x_interval.into_iter().flat_map(|(l, h)| [l, h])));
    let ys =
        points().flat_map(|p| [p.y].into_iter().chain(p.y_interval.into_iter().flat_map(|(l, h)| [l, h])));
    let ranges = (panel.x_range.or_else(|| range_of(xs)), panel.y_range.or_else(|| range_of(ys)));
    let (Some(x_range), Some(y_range)) = ranges else {
        return nothing(out);
    };
    let x = Scale { data: x_range, pixels: (inner.0, inner.1) };
    let y = Scale { data: y_range, pixels: (inner.3, inner.2) };
    axes(out, panel, x, y, left);
    if points().next().is_none() {
        return nothing(out);
    }
    if panel.diagonal {
        let (low, high) = (x_range.0.max(y_range.0), x_range.1.min(y_range.1));
        if low < high {
            let ends = ((x.place(low), y.place(low)), (x.place(high), y.place(high)));
            out.line(ends.0, ends.1, "stroke=\"#999\" stroke-dasharray=\"3 3\"");
        }
    }
    for series in &panel.series {
        draw_series(out, series, x, y);
    }
    labels(out, panel, x, y);
}

fn axes(out: &mut Svg, panel: &Panel, x: Scale, y: Scale, left: f64) {
    let (bottom, top) = y.pixels;
    let x_ticks = if panel.x_ticks.is_empty() { ticks(x.data, 5) } else { panel.x_ticks.clone() };
    for (value, words) in x_ticks {
        let place = x.place(value);
        out.line((place, bottom), (place, bottom + 4.0), "stroke=\"#333\"");
        out.text((place, bottom + 16.0), &words, 10.5, "text-anchor=\"middle\"");
    }
    for (value, words) in ticks(y.data, 6) {
        let place = y.place(value);
        out.line((x.pixels.0, place), (x.pixels.1, place), "stroke=\"#e4e4e4\"");
        out.line((x.pixels.0 - 4.0, place), (x.pixels.0, place), "stroke=\"#333\"");
        out.text((x.pixels.0 - 7.0, place + 3.7), &words, 10.5, "text-anchor=\"end\"");
    }
    let frame = [(x.pixels.0, top), (x.pixels.0, bottom), (x.pixels.1, bottom)];
    out.path("polyline", &frame, "fill=\"none\" stroke=\"#333\"");
    let middle = (x.pixels.0 + x.pixels.1) / 2.0;
    out.text((middle, bottom + 34.0), &panel.x_label, 11.0, "text-anchor=\"middle\"");
    let (column, row) = (left + 13.0, f64::midpoint(top, bottom));
    let turn = format!("text-anchor=\"middle\" transform=\"rotate(-90 {} {})\"", at(column), at(row));
    out.text((column, row), &panel.y_label, 11.0, &turn);
}

fn draw_series(out: &mut Svg, series: &Series, x: Scale, y: Scale) {
    let colour = colour(series.style);
    let place = |point: &Point| (x.place(point.x), y.place(point.y));
    let places: Vec<(f64, f64)> = series.points.iter().map(place).collect();
    if series.stroke == Stroke::Curve {
        let ends = |p: &Point| p.y_interval.map(|(low, high)| (x.place(p.x), y.place(low), y.place(high)));
        let band: Vec<(f64, f64, f64)> = series.points.iter().filter_map(ends).collect();
        let mut area: Vec<(f64, f64)> = band.iter().map(|(x, low, _)| (*x, *low)).collect();
        area.extend(band.iter().rev().map(|(x, _, high)| (*x, *high)));
        if area.len() > 2 {
            out.path("polygon", &area, &format!("fill=\"{colour}\" fill-opacity=\"0.18\" stroke=\"none\""));
        }
    }
    let dashes = match dash(series.style) {
        "" => String::new(),
        pattern => format!(" stroke-dasharray=\"{pattern}\""),
    };
    let width = if series.stroke == Stroke::Curve { "1.6" } else { "1.3" };
    out.path(
        "polyline",
        &places,
        &format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}"),
    );
    if series.stroke == Stroke::Marked {
        for (point, place) in series.points.iter().zip(&places) {
            bars(out, point, *place, x, y, colour);
            out.marker(series.style, *place, colour);
        }
    }
}

/// Intervals as thin bars with caps.
fn bars(out: &mut Svg, point: &Point, (px, py): (f64, f64), x: Scale, y: Scale, colour: &str) {
    let ink = format!("stroke=\"{colour}\" stroke-opacity=\"0.65\"");
    if let Some((low, high)) = point.y_interval {
        let (low, high) = (y.place(low), y.place(high));
        out.line((px, low), (px, high), &ink);
        for end in [low, high] {
            out.line((px - 2.5, end), (px + 2.5, end), &ink);
        }
    }
    if let Some((low, high)) = point.x_interval {
        let (low, high) = (x.place(low), x.place(high));
        out.line((low, py), (high, py), &ink);
        for end in [low, high] {
            out.line((end, py - 2.5), (end, py + 2.5), &ink);
        }
    }
}

/// A rectangle: left, right, top, bottom.
type Area = (f64, f64, f64, f64);

fn overlap(a: Area, b: Area) -> f64 {
    let side = |low: f64, high: f64| (high - low).max(0.0);
    side(a.0.max(b.0), a.1.min(b.1)) * side(a.2.max(b.2), a.3.min(b.3))
}

/// Where each series has words, and which: those of points whose markers hide one another stand together.
fn words(panel: &Panel, x: Scale, y: Scale) -> Vec<(usize, (f64, f64), String)> {
    let mut found: Vec<(usize, (f64, f64), String)> = Vec::new();
    for series in &panel.series {
        let first = found.len();
        for point in series.points.iter().filter(|point| !point.label.is_empty()) {
            let (px, py) = (x.place(point.x), y.place(point.y));
            let hidden = |at: &(f64, f64)| (at.0 - px).abs().max((at.1 - py).abs()) < 4.0;
            match found[first..].iter_mut().find(|(_, at, _)| hidden(at)) {
                Some((.., words)) => *words = format!("{words}, {}", point.label),
                None => found.push((series.style, (px, py), point.label.clone())),
            }
        }
    }
    found
}

/// Words beside points, each where it covers the least of markers, other words and the frame.
fn labels(out: &mut Svg, panel: &Panel, x: Scale, y: Scale) {
    const SIZE: f64 = 10.0;
    let points = panel.series.iter().flat_map(|series| &series.points);
    let mut taken: Vec<Area> = points
        .map(|p| (x.place(p.x) - 5.0, x.place(p.x) + 5.0, y.place(p.y) - 5.0, y.place(p.y) + 5.0))
        .collect();
    for (style, (px, py), words) in words(panel, x, y) {
        let wide = text_width(&words, SIZE);
        let area = |dx: f64, dy: f64| (px + dx, px + dx + wide, py + dy - 8.5, py + dy + 1.5);
        let places = [
            (7.0, -6.0),
            (7.0, 13.0),
            (-7.0 - wide, -6.0),
            (-7.0 - wide, 13.0),
            (-wide / 2.0, -10.0),
            (-wide / 2.0, 18.0),
            (7.0, 24.0),
            (7.0, -18.0),
            (-7.0 - wide, -18.0),
            (-7.0 - wide, 24.0),
        ];
        let outside = |a: Area| {
            let whole = (a.1 - a.0) * (a.3 - a.2);
            whole - overlap(a, (x.pixels.0, x.pixels.1, y.pixels.1, y.pixels.0))
        };
        let cost = |(dx, dy): &(f64, f64)| {
            let area = area(*dx, *dy);
            3.0 * outside(area) + taken.iter().map(|other| overlap(area, *other)).sum::<f64>()
        };
        let best = places.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))).copied().unwrap_or((7.0, -6.0));
        taken.push(area(best.0, best.1));
        let ink = format!(
            "fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"",
            colour(style)
        );
        out.text((px + best.0, py + best.1), &words, SIZE, &ink);
    }
}
