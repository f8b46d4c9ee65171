//! Default slopes and tangent points: section `relax.default`. Trusted for agreement, not for soundness: any slope and any
//! point make a true line, but verdicts compare the bounds that follow, so that every checker must choose alike.
//! `spec/rules/local.md`.

use crate::enclose::{TanhTable, UNIT_BITS};
use crate::grid::{GridActivation, SLOPE_BITS};
use crate::interval::Interval;
use crate::relax::SLOPE_ONE;
use crate::wide::{Wide, mul};

/// Intervals shorter than 2^-34 take the derivative at their end for a chord.
const SHORT_BITS: u32 = 34;
/// Bits of a tanh that are cut to reach the slope grid.
const UNIT_TO_SLOPE: u32 = UNIT_BITS - SLOPE_BITS;
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

/// Slope and tangent point of a line above tanh: of the slope that a witness names, else the default.
pub(crate) fn tangent(
    table: &TanhTable,
    bits: u32,
    (lower, upper): Interval,
    choice: Option<i64>,
) -> Option<(i64, i64)> {
    if let Some(slope) = choice {
        return Some((slope, tangent_point(table, bits, slope)?));
    }
    // Measured on random networks: 9/16 of the way gives tighter outputs than the middle.
    let part = Wide::from(mul(upper.checked_sub(lower)?, 9)).floor(4).entry()?;
    let preferred = lower.checked_add(part)?;
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

/// A point `p >= 0` with `1 - tanh(p)^2` near `slope`, for slopes that a witness names: two Newton steps on
/// `tanh(p) = sqrt(1 - slope)` from the nearest entry of the table.
fn tangent_point(table: &TanhTable, bits: u32, slope: i64) -> Option<i64> {
    let scaled = slope.clamp(0, SLOPE_ONE).checked_shl(UNIT_TO_SLOPE)?;
    let target = i64::try_from(mul(UNIT.checked_sub(scaled)?, UNIT).checked_isqrt()?).ok()?;
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
