//! Linear relaxations of one neuron: rules `relax.line` (relu, leaky relu, clip) and `relax.smooth` (tanh, sigmoid).
//! Trusted. `spec/rules/local.md`; Zhang et al. 2018, arXiv:1811.00866 (CROWN). Any slope is sound: the intercept is
//! derived here, so a slope decides only how tight a line is.

use crate::enclose::TanhTable;
use crate::grid::{GridActivation, SLOPE_BITS, ceil_shift, mul, scale_up};
use crate::ibp::{UNIT_BITS, value_enclosure};

/// `slope * x + intercept`, above (or below) an activation over an interval of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Line {
    /// Slope with [`SLOPE_BITS`] fraction bits.
    pub slope: i64,
    /// Intercept on the value grid, rounded outward.
    pub intercept: i64,
}

/// An upper and a lower line of one neuron.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Relaxation {
    /// Above the activation.
    pub upper: Line,
    /// Below the activation.
    pub lower: Line,
}

impl Relaxation {
    /// Whether a coefficient times a slope may fall between the steps of its grid: not if both slopes are 0 or 1.
    pub fn cuts(&self) -> bool {
        [self.upper.slope, self.lower.slope].into_iter().any(|s| s != 0 && s != SLOPE_ONE)
    }
}

/// Slopes asked for by a witness, on the grid of [`SLOPE_BITS`]; `None` takes the derived default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SlopeChoice {
    /// Slope of the upper line.
    pub upper: Option<i64>,
    /// Slope of the lower line.
    pub lower: Option<i64>,
}

/// Fraction bits of offsets before they are rounded to the value grid.
const OFFSET_BITS: u32 = 84;
const SLOPE_ONE: i64 = 1 << SLOPE_BITS;
/// Intervals shorter than 2^-34 take the derivative at their end for a chord.
const SHORT_BITS: u32 = 34;

/// Relaxes `activation` over `[lower, upper]` (value grid), with the witness's slopes where it names them.
///
/// Returns `None` if the interval is empty or a number leaves the grid. Slopes lie in [-1, 1].
pub fn relax(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    (lower, upper): (i64, i64),
    choice: SlopeChoice,
) -> Option<Relaxation> {
    if lower > upper {
        return None;
    }
    match activation {
        GridActivation::Identity => {
            let line = Line { slope: SLOPE_ONE, intercept: 0 };
            Some(Relaxation { upper: line, lower: line })
        }
        GridActivation::Relu if lower >= 0 => {
            let line = Line { slope: SLOPE_ONE, intercept: 0 };
            Some(Relaxation { upper: line, lower: line })
        }
        GridActivation::Relu if upper <= 0 => Some(Relaxation::default()),
        GridActivation::Relu | GridActivation::LeakyRelu { .. } | GridActivation::Clip { .. } => {
            let (above, below) = piecewise_slopes(activation, lower, upper)?;
            let upper_slope = choice.upper.unwrap_or(above);
            let lower_slope = choice.lower.unwrap_or(below);
            Some(Relaxation {
                upper: line_above(activation, table, value_bits, (lower, upper), upper_slope)?,
                lower: line_below(activation, table, value_bits, (lower, upper), lower_slope)?,
            })
        }
        GridActivation::Tanh => {
            let above = smooth_above(table, value_bits, lower, upper, choice.upper)?;
            // tanh is odd: a line below over [l, u] is the mirror image of a line above over [-u, -l].
            let mirrored =
                smooth_above(table, value_bits, upper.checked_neg()?, lower.checked_neg()?, choice.lower)?;
            Some(Relaxation {
                upper: tanh_line(above, value_bits, false)?,
                lower: tanh_line(mirrored, value_bits, true)?,
            })
        }
        GridActivation::Sigmoid => {
            // sigmoid(x) = (1 + tanh(x / 2)) / 2: the same integers with one more fraction bit, a quarter of the slope.
            let bits = value_bits.checked_add(1)?;
            let quadruple = |slope: Option<i64>| slope.map(|s| s.saturating_mul(4));
            let above = smooth_above(table, bits, lower, upper, quadruple(choice.upper))?;
            let (low, high) = (upper.checked_neg()?, lower.checked_neg()?);
            let mirrored = smooth_above(table, bits, low, high, quadruple(choice.lower))?;
            Some(Relaxation {
                upper: sigmoid_line(above, value_bits, false)?,
                lower: sigmoid_line(mirrored, value_bits, true)?,
            })
        }
    }
}

// ---- relax.line: piecewise linear activations ----

/// Default slopes above and below over an interval that holds a breakpoint (or none).
fn piecewise_slopes(activation: &GridActivation, lower: i64, upper: i64) -> Option<(i64, i64)> {
    match activation {
        GridActivation::LeakyRelu { numerator, denominator } => {
            let leak = divide(scale_up(i128::from(*numerator), SLOPE_BITS)?, i128::from(*denominator))?;
            if lower >= 0 {
                return Some((SLOPE_ONE, SLOPE_ONE));
            }
            if upper <= 0 {
                return Some((leak, leak));
            }
            let rise = i128::from(upper).checked_mul(i128::from(SLOPE_ONE))?.checked_sub(mul(leak, lower))?;
            let chord = divide(rise, i128::from(upper).checked_sub(i128::from(lower))?)?;
            Some((chord, if upper > lower.checked_neg()? { SLOPE_ONE } else { leak }))
        }
        GridActivation::Clip { lower: low, upper: high } => {
            let (low, high) = (low.0, high.1);
            if upper <= low || lower >= high {
                return Some((0, 0));
            }
            if lower >= low && upper <= high {
                return Some((SLOPE_ONE, SLOPE_ONE));
            }
            let span = upper.min(high).checked_sub(lower.max(low))?;
            let rise = scale_up(i128::from(span), SLOPE_BITS)?;
            // Above: from the left end of the interval to where the clip begins; below: mirrored.
            let above = divide(rise, i128::from(upper.min(high).checked_sub(lower)?))?;
            let below = divide(rise, i128::from(upper.checked_sub(lower.max(low))?))?;
            let linear = upper.min(high).checked_sub(lower.max(low))?;
            let flat_above = lower >= low && upper.checked_sub(high)? > linear;
            let flat_below = upper <= high && low.checked_sub(lower)? > linear;
            Some((if flat_above { 0 } else { above }, if flat_below { 0 } else { below }))
        }
        _ => {
            // Relu with lower < 0 < upper: the chord, and the adaptive choice of CROWN below.
            let rise = scale_up(i128::from(upper), SLOPE_BITS)?;
            let chord = divide(rise, i128::from(upper).checked_sub(i128::from(lower))?)?;
            Some((chord, if upper > lower.checked_neg()? { SLOPE_ONE } else { 0 }))
        }
    }
}

fn divide(numerator: i128, denominator: i128) -> Option<i64> {
    i64::try_from(numerator.checked_div_euclid(denominator)?).ok()
}

/// The points where a line must be tested: both ends and every breakpoint between them.
fn test_points(activation: &GridActivation, lower: i64, upper: i64) -> impl Iterator<Item = i64> {
    let inner = match activation {
        GridActivation::Clip { lower: low, upper: high } => {
            [Some(low.0), Some(low.1), Some(high.0), Some(high.1)]
        }
        _ => [Some(0), None, None, None],
    };
    let inside = inner.into_iter().flatten().filter(move |&x| lower < x && x < upper);
    [lower, upper].into_iter().chain(inside)
}

/// Rule `relax.line`, above: the least grid intercept with `slope * x + intercept >= activation(x)` at both ends and at
/// every breakpoint, hence between them.
pub fn line_above(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    (lower, upper): (i64, i64),
    slope: i64,
) -> Option<Line> {
    let mut intercept = i64::MIN;
    for x in test_points(activation, lower, upper) {
        let (_, value) = value_enclosure(activation, table, value_bits, x)?;
        let offset = scale_up(i128::from(value), SLOPE_BITS)?.checked_sub(mul(slope, x))?;
        intercept = intercept.max(i64::try_from(ceil_shift(offset, SLOPE_BITS)?).ok()?);
    }
    let intercept = intercept.checked_add(clip_slack(activation))?;
    Some(Line { slope, intercept })
}

/// Rule `relax.line`, below: the mirror image of [`line_above`].
pub fn line_below(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    (lower, upper): (i64, i64),
    slope: i64,
) -> Option<Line> {
    let mut intercept = i64::MAX;
    for x in test_points(activation, lower, upper) {
        let (value, _) = value_enclosure(activation, table, value_bits, x)?;
        let offset = scale_up(i128::from(value), SLOPE_BITS)?.checked_sub(mul(slope, x))?;
        intercept = intercept.min(i64::try_from(offset.checked_shr(SLOPE_BITS)?).ok()?);
    }
    let intercept = intercept.checked_sub(clip_slack(activation))?;
    Some(Line { slope, intercept })
}

/// A clip limit between two grid points is tested at both: the true breakpoint is at most one grid step from them.
fn clip_slack(activation: &GridActivation) -> i64 {
    match activation {
        GridActivation::Clip { lower, upper } if lower.0 != lower.1 || upper.0 != upper.1 => 2,
        _ => 0,
    }
}

// ---- relax.smooth: tanh, and sigmoid through it ----

/// A line above tanh: slope with [`SLOPE_BITS`], offset with [`OFFSET_BITS`] fraction bits.
#[derive(Clone, Copy)]
struct Offset {
    slope: i64,
    offset: i128,
}

fn tanh_line(line: Offset, value_bits: u32, mirror: bool) -> Option<Line> {
    let intercept = i64::try_from(ceil_shift(line.offset, OFFSET_BITS.checked_sub(value_bits)?)?).ok()?;
    Some(Line { slope: line.slope, intercept: if mirror { intercept.checked_neg()? } else { intercept } })
}

fn sigmoid_line(line: Offset, value_bits: u32, mirror: bool) -> Option<Line> {
    // Slopes of sigmoid lines are multiples of 4 on the grid (see `smooth_above`), so the quarter is exact.
    let slope = line.slope.checked_shr(2)?;
    let one = 1i128.checked_shl(OFFSET_BITS)?;
    let shift = OFFSET_BITS.checked_add(1)?.checked_sub(value_bits)?;
    let intercept = if mirror {
        one.checked_sub(line.offset)?.checked_shr(shift)?
    } else {
        ceil_shift(one.checked_add(line.offset)?, shift)?
    };
    Some(Line { slope, intercept: i64::try_from(intercept).ok()? })
}

/// Rule `relax.smooth`: a line above tanh over `[lower, upper]` (integers with `bits` fraction bits).
///
/// With `g(x) = tanh(x) - slope * x`: on `[lower, min(upper, 0)]` tanh is convex, so g is largest at an end; on
/// `[max(lower, 0), upper]` it is concave, so g lies below its tangent at any point p, which is largest at an end. The
/// offset is the largest of these values, from above. Slope and p only decide how tight the line is.
fn smooth_above(table: &TanhTable, bits: u32, lower: i64, upper: i64, choice: Option<i64>) -> Option<Offset> {
    let (slope, point) = match choice {
        Some(slope) => (slope, tangent_point(table, bits, slope)?),
        None => default_tangent(table, bits, lower, upper)?,
    };
    // A multiple of 4, so that the sigmoid's quarter slope stays on the grid; costs 2^-22 of the width at most.
    let slope = slope & !3;
    let mut offset = i128::MIN;
    if lower < 0 {
        offset = offset.max(offset_at(table, bits, lower, slope)?);
        offset = offset.max(offset_at(table, bits, upper.min(0), slope)?);
    }
    if upper > 0 {
        let start = lower.max(0);
        let point = point.clamp(start, upper);
        offset = offset.max(tangent_offset(table, bits, point, slope, start)?);
        offset = offset.max(tangent_offset(table, bits, point, slope, upper)?);
    }
    if lower >= 0 && upper <= 0 {
        offset = offset.max(offset_at(table, bits, lower, slope)?);
    }
    Some(Offset { slope, offset })
}

/// `tanh(x) - slope * x` from above, with [`OFFSET_BITS`] fraction bits.
fn offset_at(table: &TanhTable, bits: u32, x: i64, slope: i64) -> Option<i128> {
    let value = scale_up(i128::from(table.tanh(x, bits).1), OFFSET_BITS.checked_sub(UNIT_BITS)?)?;
    value.checked_sub(scale_up(mul(slope, x), OFFSET_BITS.checked_sub(SLOPE_BITS)?.checked_sub(bits)?)?)
}

/// The tangent of `tanh(x) - slope * x` at `point`, evaluated at `end`, from above.
fn tangent_offset(table: &TanhTable, bits: u32, point: i64, slope: i64, end: i64) -> Option<i128> {
    let (lower, upper) = table.tanh(point, bits);
    let (low, high) = derivative(lower, upper)?;
    let distance = end.checked_sub(point)?;
    // Right of the point the larger derivative is the safe one, left of it the smaller.
    let steep = i128::from(if distance >= 0 { high } else { low });
    let steep = steep.checked_sub(scale_up(i128::from(slope), UNIT_BITS.checked_sub(SLOPE_BITS)?)?)?;
    let rise = mul(i64::try_from(steep).ok()?, distance);
    let rise = match UNIT_BITS.checked_add(bits)?.checked_sub(OFFSET_BITS) {
        Some(finer) => ceil_shift(rise, finer)?,
        None => scale_up(rise, OFFSET_BITS.checked_sub(UNIT_BITS)?.checked_sub(bits)?)?,
    };
    offset_at(table, bits, point, slope)?.checked_add(rise)
}

/// Enclosure of `1 - t^2` for t in `[lower, upper]` (60 fraction bits), t not negative.
fn derivative(lower: i64, upper: i64) -> Option<(i64, i64)> {
    let one = 1i128.checked_shl(UNIT_BITS)?;
    let low = one.checked_sub(ceil_shift(mul(upper, upper), UNIT_BITS)?)?;
    let floor = lower.max(0);
    let high = one.checked_sub(mul(floor, floor).checked_shr(UNIT_BITS)?)?;
    Some((i64::try_from(low).ok()?, i64::try_from(high).ok()?))
}

/// Slope and tangent point of the default line above tanh.
fn default_tangent(table: &TanhTable, bits: u32, lower: i64, upper: i64) -> Option<(i64, i64)> {
    // Measured on random networks: 9/16 of the way gives tighter outputs than the middle.
    let part = mul(upper.checked_sub(lower)?, 9).checked_shr(4)?;
    let preferred = lower.checked_add(i64::try_from(part).ok()?)?;
    if lower >= 0 {
        return Some((slope_at(table, bits, preferred)?, preferred));
    }
    let chord = chord_slope(table, bits, lower, upper)?;
    if upper <= 0 || slope_at(table, bits, upper)? >= chord {
        return Some((chord, upper));
    }
    let point = tangent_from(table, bits, lower, upper)?.max(preferred);
    Some((slope_at(table, bits, point)?, point))
}

/// `1 - tanh(x)^2`, cut to the slope grid.
fn slope_at(table: &TanhTable, bits: u32, x: i64) -> Option<i64> {
    let (lower, _) = table.tanh(x.checked_abs()?, bits);
    let one = 1i128.checked_shl(UNIT_BITS)?;
    let slope = one.checked_sub(mul(lower, lower).checked_shr(UNIT_BITS)?)?;
    i64::try_from(slope.checked_shr(UNIT_BITS.checked_sub(SLOPE_BITS)?)?).ok()
}

fn chord_slope(table: &TanhTable, bits: u32, lower: i64, upper: i64) -> Option<i64> {
    let run = upper.checked_sub(lower)?;
    let short = 1i64.checked_shl(bits.saturating_sub(SHORT_BITS))?;
    if run < short {
        return slope_at(table, bits, lower);
    }
    let rise = i128::from(table.tanh(upper, bits).0).checked_sub(i128::from(table.tanh(lower, bits).0))?;
    // rise / 2^60 over run / 2^bits, with 24 fraction bits
    let scaled = scale_up(rise, bits)?.checked_shr(UNIT_BITS.checked_sub(SLOPE_BITS)?)?;
    divide(scaled, i128::from(run))
}

/// The point `d > 0` at which the tangent of tanh passes through `(lower, tanh(lower))`, lower < 0, by Newton's method
/// on `(1 - t^2)(d - lower) = t - tanh(lower)`; five steps from `-lower / 2` reach the slope grid.
fn tangent_from(table: &TanhTable, bits: u32, lower: i64, upper: i64) -> Option<i64> {
    let start = table.tanh(lower, bits).0;
    let limit = upper.min(lower.checked_neg()?);
    let one = 1i128.checked_shl(UNIT_BITS)?;
    let mut point = limit.min(start_of_newton(bits, lower)?);
    for _ in 0..5 {
        let t = table.tanh(point, bits).0;
        let derivative = i64::try_from(one.checked_sub(mul(t, t).checked_shr(UNIT_BITS)?)?).ok()?;
        let run = point.checked_sub(lower)?;
        // Both sides with 60 fraction bits.
        let left = mul(derivative, run).checked_shr(bits)?;
        let gap = left.checked_sub(i128::from(t).checked_sub(i128::from(start))?)?;
        let slope = left.checked_mul(2)?.checked_shr(UNIT_BITS.checked_sub(30)?)?;
        let slope = slope.checked_mul(i128::from(t.checked_shr(30)?))?;
        if slope <= 0 {
            break;
        }
        let step = scale_up(gap, bits)?.checked_div_euclid(slope)?;
        let next = i128::from(point).checked_add(step)?;
        point = i64::try_from(next.clamp(0, i128::from(limit))).ok()?;
    }
    Some(point)
}

/// `min(-lower / 2, 1 - lower / 16)`: right of the root's curvature for short intervals, near it for long ones.
fn start_of_newton(bits: u32, lower: i64) -> Option<i64> {
    let length = lower.checked_neg()?;
    let one = 1i64.checked_shl(bits)?;
    Some(length.checked_shr(1)?.min(one.checked_add(length.checked_shr(4)?)?))
}

/// A point `p >= 0` with `1 - tanh(p)^2` near `slope`, for slopes that a witness names: two Newton steps on
/// `tanh(p) = sqrt(1 - slope)` from the nearest entry of the table.
fn tangent_point(table: &TanhTable, bits: u32, slope: i64) -> Option<i64> {
    let one = 1i64.checked_shl(UNIT_BITS)?;
    let scaled = slope.clamp(0, SLOPE_ONE).checked_shl(UNIT_BITS.checked_sub(SLOPE_BITS)?)?;
    let square = mul(one.checked_sub(scaled)?, one);
    let target = i64::try_from(square.checked_isqrt()?).ok()?;
    let mut point = table.before(target, bits)?;
    for _ in 0..2 {
        let value = table.tanh(point, bits).0;
        let derivative = i128::from(one).checked_sub(mul(value, value).checked_shr(UNIT_BITS)?)?;
        let gap = i128::from(target.checked_sub(value)?);
        if derivative <= 0 {
            break;
        }
        let step = scale_up(gap, bits)?.checked_div_euclid(derivative)?;
        point = i64::try_from(i128::from(point).checked_add(step)?.max(0)).ok()?;
    }
    Some(point)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enclose::tanh;
    use crate::number::Rational;
    use num_bigint::BigInt;

    const ONE: i64 = 1 << 48;
    const FREE: SlopeChoice = SlopeChoice { upper: None, lower: None };

    fn over(activation: &GridActivation, lower: i64, upper: i64, choice: SlopeChoice) -> Relaxation {
        relax(activation, TanhTable::shared(), 48, (lower, upper), choice).unwrap()
    }

    fn line(slope: i64, intercept: i64) -> Line {
        Line { slope, intercept }
    }

    /// relu over `[-1, 3]`: the chord `3/4 x + 3/4` above, `x` below (3 > 1); over `[-3, 1]`: `1/4 x + 3/4`, and 0.
    #[test]
    fn relu_lines_by_hand() {
        let relu = |l, u| over(&GridActivation::Relu, l, u, FREE);
        let (three, quarter) = (3 * ONE / 4, SLOPE_ONE / 4);
        assert_eq!(
            relu(-ONE, 3 * ONE),
            Relaxation { upper: line(3 * quarter, three), lower: line(SLOPE_ONE, 0) }
        );
        assert_eq!(relu(-3 * ONE, ONE), Relaxation { upper: line(quarter, three), lower: line(0, 0) });
        assert_eq!(relu(0, ONE).upper, line(SLOPE_ONE, 0));
        assert_eq!(relu(-ONE, 0), Relaxation::default());
    }

    /// relu over `[-1, 3]` with slopes -1: `-x + c` needs c = 6 at 3; below, `-x + c` needs c = -1 at -1... and 0 at 0:
    /// `relu(-1) - 1 = -1` is the least.
    #[test]
    fn a_bad_slope_costs_width_only() {
        let choice = SlopeChoice { upper: Some(-SLOPE_ONE), lower: Some(-SLOPE_ONE) };
        let relaxed = over(&GridActivation::Relu, -ONE, 3 * ONE, choice);
        assert_eq!(relaxed, Relaxation { upper: line(-SLOPE_ONE, 6 * ONE), lower: line(-SLOPE_ONE, -ONE) });
    }

    /// Leaky relu 1/2 over `[-2, 2]`: `3/4 x + 1/2` above, `x/2` below. Clip to `[-1, 1]` over `[-3, 1]`: `x/2 + 1/2`
    /// above, `x` below.
    #[test]
    fn leaky_and_clip_lines_by_hand() {
        let leaky = GridActivation::LeakyRelu { numerator: 1, denominator: 2 };
        let (upper, lower) = (line(3 * SLOPE_ONE / 4, ONE / 2), line(SLOPE_ONE / 2, 0));
        assert_eq!(over(&leaky, -2 * ONE, 2 * ONE, FREE), Relaxation { upper, lower });
        let clip = GridActivation::Clip { lower: (-ONE, -ONE), upper: (ONE, ONE) };
        let (upper, lower) = (line(SLOPE_ONE / 2, ONE / 2), line(SLOPE_ONE, 0));
        assert_eq!(over(&clip, -3 * ONE, ONE, FREE), Relaxation { upper, lower });
        assert_eq!(over(&clip, ONE, 3 * ONE, FREE).lower, line(0, ONE));
    }

    /// A limit between two grid points costs one step for its value and two for its place.
    #[test]
    fn a_limit_off_the_grid_is_paid_for() {
        let clip = GridActivation::Clip { lower: (-ONE - 1, -ONE), upper: (ONE, ONE) };
        let relaxed = over(&clip, -3 * ONE, ONE, SlopeChoice { upper: Some(0), lower: Some(0) });
        assert_eq!(relaxed, Relaxation { upper: line(0, ONE + 2), lower: line(0, -ONE - 3) });
    }

    /// Slope 0 over `[-1, 1]`: the constants `+-tanh 1`, tanh 1 = 0.76159415595576488811...
    #[test]
    fn flat_lines_of_tanh_by_hand() {
        let flat = SlopeChoice { upper: Some(0), lower: Some(0) };
        let relaxed = over(&GridActivation::Tanh, -ONE, ONE, flat);
        let least = Rational::parse("0.76159415595576488811").unwrap().ceil_scaled(48);
        let excess = BigInt::from(relaxed.upper.intercept) - least;
        assert!(excess >= BigInt::from(0) && excess <= BigInt::from(1));
        assert_eq!(relaxed.lower, line(0, -relaxed.upper.intercept));
        // logistic = 1/2 + tanh(x/2)/2: symmetric around 1/2.
        let logistic = over(&GridActivation::Sigmoid, -ONE, ONE, flat);
        assert_eq!(logistic.upper.intercept + logistic.lower.intercept, ONE);
    }

    /// Degenerate interval at 0: tanh 0 = 0, any line passes through it.
    #[test]
    fn lines_over_a_point_touch_it() {
        let relaxed = over(&GridActivation::Tanh, 0, 0, FREE);
        assert_eq!((relaxed.upper.intercept, relaxed.lower.intercept), (0, 0));
        let relaxed = over(&GridActivation::Sigmoid, 0, 0, FREE);
        assert_eq!((relaxed.upper.intercept, relaxed.lower.intercept), (ONE / 2, ONE / 2));
    }

    #[test]
    fn empty_intervals_and_fine_grids_are_refused() {
        for activation in [GridActivation::Relu, GridActivation::Tanh, GridActivation::Sigmoid] {
            let table = TanhTable::shared();
            assert_eq!(relax(&activation, table, 48, (2, 1), FREE), None);
            assert!(relax(&activation, table, 48, (1, 1), FREE).is_some());
        }
        assert_eq!(relax(&GridActivation::Tanh, TanhTable::shared(), 90, (0, 1), FREE), None);
    }

    /// The tangent at 1 (and at 2), followed far to either side: `tanh p + (1 - tanh^2 p) (e - p)` from above, to 84 bits.
    #[test]
    fn tangents_round_away_from_the_curve() {
        for point in [ONE, 2 * ONE, ONE / 3] {
            let exact = tanh(&Rational::from_dyadic(point.into(), -48));
            for end in [point - 4000 * ONE, point + 4000 * ONE, point] {
                let distance = Rational::from_dyadic((end - point).into(), -48);
                let derivative = Rational::one().sub(&exact.lower.mul(&exact.lower));
                let least =
                    exact.lower.add(&derivative.mul(&distance)).sub(&Rational::from_dyadic(1.into(), -100));
                let found = tangent_offset(TanhTable::shared(), 48, point, 0, end).unwrap();
                assert!(Rational::from_dyadic(found.into(), -84) >= least, "{point} {end}");
            }
        }
    }

    /// Any coefficient times 0 or 1 stays on its grid; a coefficient of one step times any slope in between does not.
    #[test]
    fn only_slopes_of_0_and_1_cut_nothing() {
        for slope in [0, 1, SLOPE_ONE / 2, SLOPE_ONE - 1, SLOPE_ONE, SLOPE_ONE + 1, -1] {
            let cut = slope % SLOPE_ONE != 0;
            let (upper, lower) = (line(slope, 0), line(SLOPE_ONE, 0));
            assert_eq!(Relaxation { upper, lower }.cuts(), cut);
            assert_eq!(Relaxation { upper: lower, lower: upper }.cuts(), cut);
        }
    }

    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        *seed >> 20
    }

    /// How far the lines are from the activation at `x`, on the grid of `bits + SLOPE_BITS`: `(above - f, f - below)`.
    fn gaps(activation: &GridActivation, relaxed: &Relaxation, bits: u32, x: i64) -> (Rational, Rational) {
        let input = Rational::from_dyadic(x.into(), -i64::from(bits));
        let half = Rational::from_dyadic(1.into(), -1);
        let value = match activation {
            GridActivation::Tanh => tanh(&input),
            _ => {
                let mut value = tanh(&input.mul(&half));
                value.lower = value.lower.add(&Rational::one()).mul(&half);
                value.upper = value.upper.add(&Rational::one()).mul(&half);
                value
            }
        };
        let at = |line: Line| {
            let slope = Rational::from_dyadic(line.slope.into(), -i64::from(SLOPE_BITS));
            slope.mul(&input).add(&Rational::from_dyadic(line.intercept.into(), -i64::from(bits)))
        };
        (at(relaxed.upper).sub(&value.lower), value.upper.sub(&at(relaxed.lower)))
    }

    /// Smooth lines over random intervals, slopes and grids (coarse ones of 16 bits included) never cross, and derived ones
    /// come within 2^-10 of the width.
    #[test]
    fn smooth_lines_never_cross() {
        let mut seed = 5;
        for round in 0..600u32 {
            let bits = [16, 20, 30, 36, 48][usize::try_from(round % 5).unwrap()];
            let activation =
                if round.is_multiple_of(2) { GridActivation::Tanh } else { GridActivation::Sigmoid };
            let scale = 1u64 << (random(&mut seed) % u64::from(bits) + 3);
            let mut end =
                || i64::try_from(random(&mut seed) % scale).unwrap() - i64::try_from(scale / 2).unwrap();
            let (a, b) = (end(), end());
            let (lower, upper) = (a.min(b), a.max(b));
            let mut slope = || {
                let any = i64::try_from(random(&mut seed) % (1 << 25)).unwrap() - SLOPE_ONE;
                random(&mut seed).is_multiple_of(2).then_some(any)
            };
            let choice = SlopeChoice { upper: slope(), lower: slope() };
            let relaxed = relax(&activation, TanhTable::shared(), bits, (lower, upper), choice).unwrap();
            let mut least = None;
            for step in 0..=16 {
                let x =
                    lower + (upper - lower) / 16 * step + if step == 16 { (upper - lower) % 16 } else { 0 };
                let (above, below) = gaps(&activation, &relaxed, bits, x);
                assert!(
                    !above.is_negative() && !below.is_negative(),
                    "{round}: {lower} {x} {upper} {choice:?}"
                );
                least = Some(least.map_or(above.clone(), |l: Rational| l.min(above)));
            }
            if choice.upper.is_none() {
                let width = Rational::from_dyadic((upper - lower + 64).into(), -i64::from(bits) - 6);
                assert!(least.unwrap() <= width, "{round}: {activation:?} {lower} {upper} at {bits} bits");
            }
        }
    }
}
