//! Default slopes and tangent points: section `relax.default`. Trusted for agreement, not for soundness: any slope and any
//! point make a true line, but verdicts compare the bounds that follow, so that every checker must choose alike.
//! `spec/rules/local.md`.

use crate::curve::{Curve, OFFSET_BITS, Shape};
use crate::enclose::{TanhTable, UNIT_BITS};
use crate::grid::{GridActivation, SLOPE_BITS, SLOPE_ONE};
use crate::interval::Interval;
use crate::wide::{Wide, mul};

/// Intervals shorter than 2^-34 take the derivative at their end for a chord.
const SHORT_BITS: u32 = 34;
/// Bits of a tanh that are cut to reach the slope grid.
const UNIT_TO_SLOPE: u32 = UNIT_BITS - SLOPE_BITS;
/// Slope 1/2.
const HALF: i64 = SLOPE_ONE >> 1;
/// 1 as a value of tanh.
const UNIT: i64 = 1 << UNIT_BITS;

/// Slopes above and below over an interval of a piecewise linear activation.
pub(crate) fn piecewise(activation: &GridActivation, (lower, upper): Interval) -> Option<Interval> {
    match activation {
        GridActivation::Identity
        | GridActivation::Tanh
        | GridActivation::Sigmoid
        | GridActivation::Elu { .. }
        | GridActivation::Silu => None,
        GridActivation::Relu => hinge(0, (lower, upper)),
        GridActivation::LeakyRelu { numerator, denominator } => {
            hinge(ratio(*numerator, *denominator)?, (lower, upper))
        }
        GridActivation::Clip { lower: low, upper: high } => {
            let (low, high) = (low.0, high.1);
            if upper <= low || lower >= high {
                return Some((0, 0));
            }
            if lower >= low && upper <= high {
                return Some((SLOPE_ONE, SLOPE_ONE));
            }
            let rise = upper.min(high).checked_sub(lower.max(low))?;
            // Above: from the left end of the interval to where the clip begins; below: mirrored.
            let above = ratio(rise, upper.min(high).checked_sub(lower)?)?;
            let below = ratio(rise, upper.checked_sub(lower.max(low))?)?;
            let flat_above = lower >= low && upper.checked_sub(high)? > rise;
            let flat_below = upper <= high && low.checked_sub(lower)? > rise;
            Some((if flat_above { 0 } else { above }, if flat_below { 0 } else { below }))
        }
    }
}

/// An activation with slope `leak` below 0 and 1 above: the chord, and below the adaptive choice of CROWN.
fn hinge(leak: i64, (lower, upper): Interval) -> Option<Interval> {
    if lower >= 0 {
        return Some((SLOPE_ONE, SLOPE_ONE));
    }
    if upper <= 0 {
        return Some((leak, leak));
    }
    let rise = Wide::from(mul(upper, SLOPE_ONE)) - mul(leak, lower);
    let chord = rise.divided(Wide::from(upper) - lower).entry()?;
    Some((chord, if upper > lower.checked_neg()? { SLOPE_ONE } else { leak }))
}

/// `numerator / denominator` on the slope grid.
fn ratio(numerator: i64, denominator: i64) -> Option<i64> {
    Wide::from(numerator).scaled(SLOPE_BITS).divided(denominator).entry()
}

/// Slope and a tangent point for each piece of a line above a curve: of the slope that a witness names, else the default.
pub(crate) fn tangents(curve: &Curve<'_>, ends: Interval, choice: Option<i64>) -> Option<(i64, [i64; 3])> {
    match curve.shape {
        Shape::Tanh => {
            let (slope, point) = tangent(curve.table, curve.bits, ends, choice)?;
            Some((slope, [point; 3]))
        }
        Shape::Elu { numerator, denominator } if curve.mirrored => {
            let (slope, point) = match choice {
                Some(slope) => (slope, elu_point(curve, ratio(numerator, denominator)?, slope)?),
                None => along(curve, preferred(ends)?)?,
            };
            Some((slope, [point; 3]))
        }
        Shape::Elu { .. } => Some((choice.map_or_else(|| chord(curve, ends), Some)?, FAR)),
        Shape::Silu if curve.mirrored => match choice {
            Some(slope) => {
                let point = silu_inner(curve, slope)?.checked_neg()?;
                Some((slope, [point; 3]))
            }
            None => silu_below(curve, ends),
        },
        Shape::Silu => match choice {
            Some(slope) => {
                let left = silu_outer(curve, SLOPE_ONE.checked_sub(slope)?)?.checked_neg()?;
                Some((slope, [left, 0, silu_outer(curve, slope)?]))
            }
            None => silu_above(curve, ends),
        },
    }
}

/// Points as far out as a piece goes.
const FAR: [i64; 3] = [-i64::MAX, 0, i64::MAX];

/// Where a tangent is taken if nothing else decides. Measured on random networks of tanh, ELU and SiLU: 9/16 of the way gives
/// tighter outputs than the middle, and than the tangent that is parallel to the chord.
fn preferred((lower, upper): Interval) -> Option<i64> {
    lower.checked_add(Wide::from(mul(upper.checked_sub(lower)?, 9)).floor(4).entry()?)
}

/// What is added to slopes that are cut to multiples of 4 afterwards, so that they are rounded: far out that makes 0 or 1 of them.
const ROUND: i64 = 2;

/// The slope at a point, on the slope grid, and the point.
pub(crate) fn along(curve: &Curve<'_>, point: i64) -> Option<(i64, i64)> {
    let slope = curve.slope(point, true)?.0.checked_shr(UNIT_TO_SLOPE)?;
    Some((slope.checked_add(ROUND)?, point))
}

/// The slope of a curve's chord.
fn chord(curve: &Curve<'_>, (lower, upper): Interval) -> Option<i64> {
    let run = upper.checked_sub(lower)?;
    if run < 1i64.checked_shl(curve.bits.saturating_sub(SHORT_BITS))? {
        return Some(along(curve, lower)?.0);
    }
    let rise = curve.value(upper)?.0 - curve.value(lower)?.0;
    let rise = rise.floor(OFFSET_BITS.checked_sub(SLOPE_BITS)?.checked_sub(curve.bits)?);
    (rise.divided(run) + ROUND).entry()
}

/// The point of the mirrored ELU, `x >= 0`, at which its slope `alpha exp(-x)` is `slope`; 0 and the far end where there is none.
fn elu_point(curve: &Curve<'_>, alpha: i64, slope: i64) -> Option<i64> {
    if slope <= 0 || slope >= alpha {
        return Some(if slope <= 0 { i64::MAX } else { 0 });
    }
    // exp(-x) = (1 - t) / (1 + t) with t = tanh(x / 2)
    let target = Wide::from(alpha.checked_sub(slope)?).scaled(UNIT_BITS).divided(alpha.checked_add(slope)?);
    inverse(curve.table, curve.bits.checked_add(1)?, target.entry()?)
}

/// The default line above SiLU, which is `x / 2` and an even function: with the larger end to the right, the chord, unless the
/// curve is concave at that end and rises less than the chord there.
fn silu_above(curve: &Curve<'_>, (lower, upper): Interval) -> Option<(i64, [i64; 3])> {
    let (turn, flipped) = (curve.silu_turn()?, upper < lower.checked_neg()?);
    let (near, far) = if flipped { (upper.checked_neg()?, lower.checked_neg()?) } else { (lower, upper) };
    if far > turn && near > 0 {
        let first = if near > turn { near } else { silu_touch(curve, near, OUTER)? };
        if first < far {
            let point = first.max(preferred((near, far))?);
            let (slope, point) = along(curve, if flipped { point.checked_neg()? } else { point })?;
            return Some((slope, [point; 3]));
        }
    }
    Some((chord(curve, (lower, upper))?, FAR))
}

/// The default line above the mirrored SiLU: along it, between the points whose tangents go through ends that lie outside of its
/// concave middle; the chord where there is nothing between them.
fn silu_below(curve: &Curve<'_>, (lower, upper): Interval) -> Option<(i64, [i64; 3])> {
    let turn = curve.silu_turn()?;
    let touch = |end: i64| if end > turn { silu_touch(curve, end, INNER) } else { Some(end) };
    let (first, last) = (touch(lower.checked_neg()?)?.checked_neg()?, touch(upper)?);
    if first >= upper || last <= lower {
        let point = if first >= upper { upper } else { lower };
        return Some((chord(curve, (lower, upper))?, [point; 3]));
    }
    let (slope, point) = along(curve, preferred((lower, upper))?.clamp(first, last))?;
    Some((slope, [point; 3]))
}

/// Arguments of SiLU in 128ths between which it is convex, and beyond which it is concave until it is straight.
const INNER: (i64, i64) = (0, 307);
const OUTER: (i64, i64) = (308, 5632);

/// 4 times the slope and the second derivative of SiLU's even part, `x tanh(x / 2) / 2`, with 60 fraction bits, and twice its
/// value, with 60 more than its argument has.
struct Even {
    slope: i64,
    bend: Wide,
    twice: Wide,
}

/// At `x >= 0`, of whose half t is the tanh.
fn even(curve: &Curve<'_>, x: i64, t: i64) -> Option<Even> {
    let fall = derivative(t)?;
    let twice = Wide::from(mul(x, t));
    let slope = Wide::from(mul(x, fall)).floor(curve.bits) + t + t;
    let bend = (Wide::from(UNIT) + UNIT - twice.floor(curve.bits)).floor(30) * fall.checked_shr(30)?;
    Some(Even { slope: slope.entry()?, bend, twice })
}

/// Where a falling function is 0 within a range of 128ths: the last of them at which it is above 0, and two steps of Newton's
/// method, which stay next to it. `of` gives the function, with 60 fraction bits more than a point, and how fast it falls.
fn root(
    curve: &Curve<'_>,
    (mut first, mut end): (i64, i64),
    of: impl Fn(i64, &Even) -> Option<(Wide, Wide)>,
) -> Option<i64> {
    let finer = curve.bits.checked_sub(7)?;
    let start = first;
    while first < end {
        let node = first.midpoint(end);
        let t = curve.table.entries().get(usize::try_from(node).ok()?)?.checked_shr(2)?;
        let x = node.checked_shl(finer)?;
        if of(x, &even(curve, x, i64::try_from(t).ok()?)?)?.0.get()? > 0 {
            first = node.checked_add(1)?;
        } else {
            end = node;
        }
    }
    let node = first.checked_sub(1)?.max(start).checked_shl(finer)?;
    let mut x = node;
    for _ in 0..2 {
        let t = curve.table.tanh(x, curve.bits.checked_add(1)?)?.0;
        let (gap, fall) = of(x, &even(curve, x, t)?)?;
        if fall.get()? <= 0 {
            break;
        }
        let next = (gap.divided(fall) + x).get()?;
        x = i64::try_from(next.clamp(node.into(), node.checked_add(1i64.checked_shl(finer)?)?.into()))
            .ok()?;
    }
    Some(x)
}

/// The point `x` of a range at which the tangent of SiLU's even part goes through its point at `end`, which lies outside.
fn silu_touch(curve: &Curve<'_>, end: i64, range: (i64, i64)) -> Option<i64> {
    let t = curve.table.tanh(end, curve.bits.checked_add(1)?)?.0;
    root(curve, range, |x, even| {
        let run = x.checked_sub(end)?;
        let gap = Wide::from(mul(even.slope, run)) - (even.twice - mul(end, t)) * 2i64;
        Some((gap, -(even.bend * run).floor(curve.bits)))
    })
}

/// The point in SiLU's convex middle at which it has a slope.
fn silu_inner(curve: &Curve<'_>, slope: i64) -> Option<i64> {
    let wanted = slope.checked_sub(HALF)?;
    let target = wanted.checked_abs()?.checked_shl(UNIT_TO_SLOPE + 2)?;
    let point = root(curve, INNER, |_, even| {
        Some((Wide::from(target.checked_sub(even.slope)?).scaled(curve.bits), even.bend))
    })?;
    if wanted < 0 { point.checked_neg() } else { Some(point) }
}

/// The point right of SiLU's middle at which it has a slope; the far end where all are steeper.
fn silu_outer(curve: &Curve<'_>, slope: i64) -> Option<i64> {
    if slope <= SLOPE_ONE {
        return Some(i64::MAX);
    }
    let target = slope.checked_sub(HALF)?.checked_shl(UNIT_TO_SLOPE + 2)?;
    root(curve, OUTER, |_, even| {
        Some((Wide::from(even.slope.checked_sub(target)?).scaled(curve.bits), -even.bend))
    })
}

/// Slope and tangent point of a line above tanh.
fn tangent(
    table: &TanhTable,
    bits: u32,
    (lower, upper): Interval,
    choice: Option<i64>,
) -> Option<(i64, i64)> {
    if let Some(slope) = choice {
        return Some((slope, tangent_point(table, bits, slope)?));
    }
    let preferred = preferred((lower, upper))?;
    if lower >= 0 {
        return Some((slope_at(table, bits, preferred)?, preferred));
    }
    let chord = chord_slope(table, bits, (lower, upper))?;
    if upper <= 0 || slope_at(table, bits, upper)? >= chord {
        return Some((chord, upper));
    }
    let point = tangent_from(table, bits, (lower, upper))?.max(preferred);
    Some((slope_at(table, bits, point)?, point))
}

/// `1 - t^2` for a tanh of `t`, cut to the grid of tanh.
fn derivative(t: i64) -> Option<i64> {
    UNIT.checked_sub(Wide::from(mul(t, t)).floor(UNIT_BITS).entry()?)
}

/// `1 - tanh(x)^2`, cut to the slope grid.
fn slope_at(table: &TanhTable, bits: u32, x: i64) -> Option<i64> {
    derivative(table.tanh(x.checked_abs()?, bits)?.0)?.checked_shr(UNIT_TO_SLOPE)
}

fn chord_slope(table: &TanhTable, bits: u32, (lower, upper): Interval) -> Option<i64> {
    let run = upper.checked_sub(lower)?;
    // On grids coarser than 2^-34 no interval but a point is that short.
    if run < 1i64.checked_shl(bits.saturating_sub(SHORT_BITS))? {
        return slope_at(table, bits, lower);
    }
    let rise = Wide::from(table.tanh(upper, bits)?.0) - table.tanh(lower, bits)?.0;
    rise.scaled(bits).floor(UNIT_TO_SLOPE).divided(run).entry()
}

/// The point `d > 0` at which the tangent of tanh passes through `(lower, tanh(lower))`, lower < 0, by Newton's method
/// on `(1 - t^2)(d - lower) = t - tanh(lower)`; five steps from `min(-lower / 2, 1 - lower / 16)`, right of the root's
/// curvature for short intervals and near it for long ones, reach the slope grid.
fn tangent_from(table: &TanhTable, bits: u32, (lower, upper): Interval) -> Option<i64> {
    let start = table.tanh(lower, bits)?.0;
    let length = lower.checked_neg()?;
    let limit = upper.min(length);
    let near = 1i64.checked_shl(bits)?.checked_add(length.checked_shr(4)?)?;
    let mut point = limit.min(length.checked_shr(1)?.min(near));
    for _ in 0..5 {
        let t = table.tanh(point, bits)?.0;
        // Both sides with 60 fraction bits.
        let left = Wide::from(mul(derivative(t)?, point.checked_sub(lower)?)).floor(bits);
        let gap = left - (Wide::from(t) - start);
        let slope = (left * 2i64).floor(30) * t.checked_shr(30)?;
        if slope.get()? <= 0 {
            break;
        }
        let next = gap.scaled(bits).divided(slope) + point;
        point = i64::try_from(next.get()?.max(0).min(limit.into())).ok()?;
    }
    Some(point)
}

/// A point `p >= 0` with `1 - tanh(p)^2` near `slope`, for slopes that a witness names.
fn tangent_point(table: &TanhTable, bits: u32, slope: i64) -> Option<i64> {
    let scaled = slope.clamp(0, SLOPE_ONE).checked_shl(UNIT_TO_SLOPE)?;
    inverse(table, bits, i64::try_from(mul(UNIT.checked_sub(scaled)?, UNIT).checked_isqrt()?).ok()?)
}

/// A point `p >= 0` with `tanh(p)` near `target`: two Newton steps from the nearest entry of the table.
fn inverse(table: &TanhTable, bits: u32, target: i64) -> Option<i64> {
    let mut point = table.before(target, bits)?;
    for _ in 0..2 {
        let t = table.tanh(point, bits)?.0;
        let derivative = derivative(t)?;
        if derivative <= 0 {
            break;
        }
        let step = Wide::from(target.checked_sub(t)?).scaled(bits).divided(derivative);
        point = i64::try_from((step + point).get()?.max(0)).ok()?;
    }
    Some(point)
}
