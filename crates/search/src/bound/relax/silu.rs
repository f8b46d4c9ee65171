//! Lines around SiLU over an interval: supports of its convex hull there. It is convex between its inflections, concave left
//! and right of them, and `silu(-z) = silu(z) - z`, so that what holds on one side holds mirrored on the other. Untrusted.
//! `spec/rules/local.md`.
//!
//! Below, the hull is the function between its two tangents through the ends that lie beyond the inflections; above, it is a
//! chord or a tangent through the end nearer to 0, and the function beyond the point where that touches.

use crate::float::smooth::{SILU_LEAST_AT, sigmoid, silu};

use super::{FloatLines, FreeRange, LIKELY};

/// Where it bends the other way: `z tanh(z / 2) = 2`.
const INFLECTION: f64 = 2.399_357_280_515_468;

/// Where the hull leaves the function, from one side.
#[derive(Clone, Copy)]
enum Hull {
    /// It is the chord of the whole interval.
    Chord,
    /// Between these points it is the function; what lies beside them is cut off by a line through the end that touches there.
    Between(f64, f64),
}

/// Second derivative.
fn bend(z: f64) -> f64 {
    let s = sigmoid(z);
    s * (1.0 - s) * (2.0 + z * (1.0 - 2.0 * s))
}

/// The root of a function that changes its sign once between `low` and `high`, by Newton's method, halved where that leaves
/// the bracket. `at` gives value and derivative; it is negative at `low`.
fn root(mut low: f64, mut high: f64, start: f64, at: impl Fn(f64) -> (f64, f64)) -> f64 {
    let mut point = start.clamp(low, high);
    for _ in 0..80 {
        let (value, slope) = at(point);
        if value < 0.0 {
            low = point
        } else {
            high = point
        }
        let next = point - value / slope;
        let next = if low < next && next < high { next } else { 0.5 * (low + high) };
        let moved = (next - point).abs();
        point = next;
        if moved <= 1e-9 * (1.0 + point.abs()) {
            break;
        }
    }
    point
}

/// The point left of the right inflection whose tangent passes through `(u, silu(u))`, `u` right of it: between where the
/// slope is 1 and the inflection.
fn tangent_below(u: f64) -> f64 {
    let end = silu(u).0;
    // Near the inflection a cubic; far out the end lies on `z` and the tangent falls short of it by 0.278 at the other end.
    let near = INFLECTION - 0.5 * (u - INFLECTION);
    let far = -SILU_LEAST_AT + 1.0 / (1.0 + u - INFLECTION);
    root(-SILU_LEAST_AT, INFLECTION, near.max(far), |point| {
        let (value, slope) = silu(point);
        (slope * (u - point) - (end - value), bend(point) * (u - point))
    })
}

/// The point right of the right inflection and left of `u` whose tangent passes through `(l, silu(l))`, `l` left of the
/// inflection; `u` if the chord to it runs above the function.
fn tangent_above(l: f64, u: f64) -> f64 {
    let end = silu(l).0;
    let gap = |point: f64| {
        let (value, slope) = silu(point);
        ((value - end) - slope * (point - l), -bend(point) * (point - l))
    };
    if gap(u).0 <= 0.0 {
        return u;
    }
    root(INFLECTION, u, INFLECTION + 0.5 * (INFLECTION - l), gap)
}

fn hull_below(l: f64, u: f64) -> Hull {
    if u <= -INFLECTION || l >= INFLECTION {
        return Hull::Chord;
    }
    let first = if l < -INFLECTION { -tangent_below(-l) } else { l };
    let last = if u > INFLECTION { tangent_below(u) } else { u };
    if first >= u || last <= l { Hull::Chord } else { Hull::Between(first, last) }
}

/// The hull from above for `u >= -l`, so that the interval reaches at least as far right as left of 0.
fn hull_above(l: f64, u: f64) -> Hull {
    if u <= INFLECTION {
        return Hull::Chord;
    }
    let first = if l >= INFLECTION { l } else { tangent_above(l, u) };
    if first >= u { Hull::Chord } else { Hull::Between(first, u) }
}

/// The point of the hull above or below `likely` at which a line touches; `None` for the chord.
fn touch(hull: Hull, likely: f64) -> Option<f64> {
    match hull {
        Hull::Chord => None,
        Hull::Between(first, last) => Some(likely.clamp(first, last)),
    }
}

fn chord(l: f64, u: f64) -> f64 {
    if u - l > 1e-7 { (silu(u).0 - silu(l).0) / (u - l) } else { silu(0.5 * (l + u)).1 }
}

/// Slope and intercept of the line below.
fn below(l: f64, u: f64) -> (f64, f64) {
    let touch = touch(hull_below(l, u), l + LIKELY * (u - l));
    let slope = touch.map_or_else(|| chord(l, u), |point| silu(point).1);
    let places = [l, u, touch.unwrap_or(l)];
    (slope, places.map(|z| silu(z).0 - slope * z).into_iter().fold(f64::INFINITY, f64::min))
}

/// Slope and intercept of the line above that is nearest at `likely`.
fn above(l: f64, u: f64, likely: f64) -> (f64, f64) {
    if u < -l {
        let (slope, intercept) = above(-u, -l, -likely);
        return (1.0 - slope, intercept);
    }
    let touch = touch(hull_above(l, u), likely);
    let slope = touch.map_or_else(|| chord(l, u), |point| silu(point).1);
    let places = [l, u, touch.unwrap_or(l)];
    (slope, places.map(|z| silu(z).0 - slope * z).into_iter().fold(f64::NEG_INFINITY, f64::max))
}

/// The lines over `[l, u]` that are best at the likely places.
pub(super) fn lines(l: f64, u: f64) -> FloatLines {
    let ((lower_slope, lower_intercept), (upper_slope, upper_intercept)) =
        (below(l, u), above(l, u, u - LIKELY * (u - l)));
    FloatLines { lower_slope, lower_intercept, upper_slope, upper_intercept }
}

/// Where the lines below and above may touch.
pub(super) fn ranges(l: f64, u: f64) -> [Option<FreeRange>; 2] {
    let range = |hull: Hull, likely: f64| match hull {
        Hull::Between(least, greatest) if least < greatest => {
            Some(FreeRange { least, greatest, start: likely.clamp(least, greatest) })
        }
        _ => None,
    };
    let below = range(hull_below(l, u), l + LIKELY * (u - l));
    let likely = u - LIKELY * (u - l);
    let above = if u < -l {
        range(hull_above(-u, -l), -likely).map(FreeRange::flipped)
    } else {
        range(hull_above(l, u), likely)
    };
    [below, above]
}

/// Where inside `[l, u]` the function less `slope * z` is least (`sign` -1), or largest (1), if not at an end.
pub(super) fn touches(l: f64, u: f64, slope: f64, sign: f64) -> [f64; 2] {
    if sign < 0.0 {
        let middle = solve(l.max(-INFLECTION), u.min(INFLECTION), slope, 1.0);
        return [middle, middle];
    }
    let right = solve(l.max(INFLECTION), u, slope, -1.0);
    let left = -solve((-u).max(INFLECTION), -l, 1.0 - slope, -1.0);
    [left, right]
}

/// Where between `low` and `high` the derivative, which rises there (`sense` 1) or falls (-1), is `slope`; NaN if nowhere.
fn solve(low: f64, high: f64, slope: f64, sense: f64) -> f64 {
    let gap = |point: f64| (sense * (silu(point).1 - slope), sense * bend(point));
    if low >= high || gap(low).0 >= 0.0 || gap(high).0 <= 0.0 {
        return f64::NAN;
    }
    root(low, high, 0.5 * (low + high), gap)
}
