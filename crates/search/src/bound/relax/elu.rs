//! Lines around ELU with alpha in (0, 1], which is convex: the chord above, below it a tangent or a line through its kink at 0.
//! Untrusted. `spec/rules/local.md`.

use crate::float::FloatActivation;

use super::{FloatLines, FreeRange, LIKELY};

/// The lines over `[l, u]`: below, the tangent at the likely place.
pub(super) fn lines(alpha: f64, l: f64, u: f64) -> FloatLines {
    if l >= 0.0 {
        return FloatLines::exact(1.0, 0.0);
    }
    let activation = FloatActivation::Elu(alpha);
    let (value_l, value_u) = (activation.apply(l), activation.apply(u));
    let chord = if u - l > 1e-7 { (value_u - value_l) / (u - l) } else { activation.derivative(u) };
    let likely = l + LIKELY * (u - l);
    let (value, slope) = (activation.apply(likely), activation.derivative(likely));
    FloatLines {
        lower_slope: slope,
        lower_intercept: value - slope * likely,
        upper_slope: chord,
        upper_intercept: (value_l - chord * l).max(value_u - chord * u),
    }
}

/// Where the line below may touch, as a number that may move: below 0 the tangent point, above 0 the share of the way from
/// slope `alpha` to slope 1 of a line through the kink, in units of the greatest value.
pub(super) fn range_below(alpha: f64, l: f64, u: f64) -> Option<FreeRange> {
    if l >= 0.0 || u <= l {
        return None;
    }
    // Without a kink every tangent right of 0 is the same line.
    let greatest = if u <= 0.0 {
        u
    } else if alpha < 1.0 {
        u.min(1.0)
    } else {
        0.0
    };
    let likely = l + LIKELY * (u - l);
    let start = if likely > 0.0 { greatest } else { likely.min(greatest) };
    Some(FreeRange { least: l, greatest, start })
}

/// The line below that belongs to a free number `value` of [`range_below`] whose greatest value is `greatest`.
#[inline(always)]
pub(crate) fn line_below(alpha: f64, value: f64, greatest: f64) -> (f64, f64) {
    let touch = if value < 0.0 { value } else { 0.0 };
    let excess = alpha * crate::float::smooth::exp_m1_below(touch);
    let slope = excess + alpha;
    let past = if value > 0.0 { (1.0 - alpha) * value / greatest } else { 0.0 };
    (slope + past, excess - slope * touch)
}

/// Where `act(z) - slope * z` is least: at the kink, or where the derivative is `slope`.
pub(super) fn touches(alpha: f64, slope: f64) -> [f64; 2] {
    [0.0, (slope / alpha).ln().min(0.0)]
}
