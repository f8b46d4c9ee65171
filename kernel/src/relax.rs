//! Linear relaxations of one neuron: rules `relax.line` (relu, leaky relu, clip) and `relax.smooth` (tanh, sigmoid, elu, silu).
//! Trusted. `spec/rules/local.md`; Zhang et al. 2018, arXiv:1811.00866 (CROWN). Any slope is sound: the intercept is
//! derived here, so a slope decides only how tight a line is.

use crate::advice;
use crate::curve::{Curve, OFFSET_BITS, Piece, Tangent};
use crate::enclose::{TanhTable, UNIT_BITS};
use crate::grid::{GridActivation, SLOPE_BITS, SLOPE_ONE};
use crate::ibp::value_enclosure;
use crate::interval::Interval;
use crate::wide::{Wide, mul};

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
    pub(crate) fn cuts(&self) -> bool {
        [self.upper.slope, self.lower.slope].into_iter().any(|s| s != 0 && s != SLOPE_ONE)
    }
}

/// Slopes asked for by a witness, on the grid of [`SLOPE_BITS`]; `None` takes the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SlopeChoice {
    /// Slope of the upper line.
    pub upper: Option<i64>,
    /// Slope of the lower line.
    pub lower: Option<i64>,
}

/// The largest slope that a line of SiLU may have, 9/8: its steepest tangent has less.
pub(crate) const SILU_SLOPES: i64 = SLOPE_ONE + (SLOPE_ONE >> 3);
/// The identity's line.
const DIAGONAL: Line = Line { slope: SLOPE_ONE, intercept: 0 };

/// Relaxes `activation` over `[lower, upper]` (value grid), with the witness's slopes where it names them.
///
/// `None` if the interval is empty or a number leaves the grid. Slopes lie in [-1, 1], of SiLU in [-9/8, 9/8].
pub fn relax(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    (lower, upper): Interval,
    choice: SlopeChoice,
) -> Option<Relaxation> {
    if lower > upper {
        return None;
    }
    match activation {
        GridActivation::Identity => Some(Relaxation { upper: DIAGONAL, lower: DIAGONAL }),
        GridActivation::Relu | GridActivation::Elu { .. } if lower >= 0 => {
            Some(Relaxation { upper: DIAGONAL, lower: DIAGONAL })
        }
        GridActivation::Relu if upper <= 0 => Some(Relaxation::default()),
        GridActivation::Relu | GridActivation::LeakyRelu { .. } | GridActivation::Clip { .. } => {
            let (above, below) = advice::piecewise(activation, (lower, upper))?;
            let line = |slope, side| line(activation, table, value_bits, (lower, upper), slope, side);
            Some(Relaxation {
                upper: line(choice.upper.unwrap_or(above), Side::Above)?,
                lower: line(choice.lower.unwrap_or(below), Side::Below)?,
            })
        }
        GridActivation::Tanh
        | GridActivation::Sigmoid
        | GridActivation::Elu { .. }
        | GridActivation::Silu => {
            let four = if *activation == GridActivation::Sigmoid { 4 } else { 1 };
            let asked = |slope: Option<i64>| match slope {
                Some(slope) => Some(Some(slope.checked_mul(four)?)),
                None => Some(None),
            };
            let choice = SlopeChoice { upper: asked(choice.upper)?, lower: asked(choice.lower)? };
            let curve = Curve::of(activation, table, value_bits)?;
            let (above, mirrored) = smooth(curve, (lower, upper), choice)?;
            on_value_grid(activation, value_bits, above, mirrored)
        }
    }
}

/// The lines of an activation from those of its curve, above and mirrored. `sigmoid(x) = (1 + tanh(x / 2)) / 2`: the same integers with
/// one more fraction bit, a quarter of the slope. Slopes of lines for curves are multiples of 4 (see `smooth_above`), so the quarter
/// is exact.
fn on_value_grid(
    activation: &GridActivation,
    value_bits: u32,
    above: Offset,
    mirrored: Offset,
) -> Option<Relaxation> {
    let half = *activation == GridActivation::Sigmoid;
    let (one, quarter) = (Wide::from(i64::from(half)).scaled(OFFSET_BITS), if half { 2 } else { 0 });
    let shift = OFFSET_BITS.checked_add(half.into())?.checked_sub(value_bits)?;
    let line = |line: Offset, intercept: Wide| {
        Some(Line { slope: line.slope.checked_shr(quarter)?, intercept: intercept.entry()? })
    };
    Some(Relaxation {
        upper: line(above, (one + above.offset).ceil(shift))?,
        lower: line(mirrored, (one - mirrored.offset).floor(shift))?,
    })
}

/// Lines and second-order coefficients of one neuron: `slope * x + intercept + bend / 2 * (x - point)^2` lies above, and below, the
/// activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parabolas {
    /// The lines.
    pub lines: Relaxation,
    /// The coefficient below and the one above, with [`SLOPE_BITS`] fraction bits.
    pub bends: Interval,
}

/// Rule `relax.parabola`: parabolas of an activation over an interval (value grid) that holds the point; its lines, without second-order
/// terms, where it has a kink.
///
/// `None` if the point lies outside or a number leaves the grid.
pub fn parabolas(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    ends: Interval,
    point: i64,
) -> Option<Parabolas> {
    if point < ends.0 || point > ends.1 {
        return None;
    }
    let lines = || {
        let lines = relax(activation, table, value_bits, ends, SlopeChoice::default())?;
        Some(Parabolas { lines, bends: (0, 0) })
    };
    let Some(curve) = Curve::of(activation, table, value_bits) else { return lines() };
    let Some((least, most)) = bends(&curve, ends, point)? else { return lines() };
    let mirrored = (ends.1.checked_neg()?, ends.0.checked_neg()?);
    let above = tangent_above(&curve, ends, point)?;
    let below = tangent_above(&curve.mirror(), mirrored, point.checked_neg()?)?;
    // Twice the argument is an eighth of the second derivative.
    let finer = UNIT_BITS
        .checked_sub(SLOPE_BITS)?
        .checked_add(if *activation == GridActivation::Sigmoid { 3 } else { 0 })?;
    Some(Parabolas {
        lines: on_value_grid(activation, value_bits, above, below)?,
        bends: least.floor(finer).entry().zip(most.ceil(finer).entry())?,
    })
}

/// Parts of an interval, from the point outward, over each of which second derivatives are bounded.
const PARTS: i64 = 16;

/// Numbers between which `2 (f(x) - f(p) - f'(p) (x - p)) / (x - p)^2` lies for every x of an interval, with 60 fraction bits: the mean
/// of second derivatives at `p + s (x - p)`, by weights `2 (1 - s)`.
fn bends(curve: &Curve<'_>, (lower, upper): Interval, point: i64) -> Option<Option<(Wide, Wide)>> {
    let reach = point.checked_sub(lower)?.max(upper.checked_sub(point)?);
    let (mut least, mut most) = (Wide::from(0i64), Wide::from(0i64));
    for part in 1..=PARTS {
        // Up to the part's end, since x may be nearer.
        let reach = Wide::from(mul(reach, part)).divided_up(PARTS).entry()?;
        let ends = (lower.max(point.checked_sub(reach)?), upper.min(point.checked_add(reach)?));
        let Some((low, high)) = curve.bends(ends)? else { return Some(None) };
        let weight = PARTS.checked_sub(part)?.checked_mul(2)?.checked_add(1)?;
        (least, most) = (least + low * weight, most + high * weight);
    }
    let parts = PARTS.checked_mul(PARTS)?;
    Some(Some((least.divided(parts), most.divided_up(parts))))
}

/// A line above the tangent of a curve at a point, over an interval that holds it.
fn tangent_above(curve: &Curve<'_>, (lower, upper): Interval, point: i64) -> Option<Offset> {
    let slope = advice::along(curve, point)?.0 & !3;
    let largest = over_tangent(curve, [lower, point, upper], slope, point)?;
    Some(Offset { slope, offset: largest.into() })
}

/// The largest value of the tangent of a curve at a point, less `slope * x`, at some places.
fn over_tangent(curve: &Curve<'_>, places: [i64; 3], slope: i64, point: i64) -> Option<i128> {
    let tangent = curve.tangent(point)?;
    let mut largest = None;
    for place in places {
        let rise = rise(curve, &tangent, slope, place.checked_sub(point)?)?;
        largest = largest.max(Some((fall(curve, tangent.value, slope, point)? + rise).get()?));
    }
    largest
}

/// On which side of its activation a line lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Above,
    Below,
}

/// Rule `relax.line`: the least grid intercept with `slope * x + intercept >= activation(x)` at both ends and at every
/// breakpoint, hence between them; below, the greatest with `<=`.
pub(crate) fn line(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    (lower, upper): Interval,
    slope: i64,
    side: Side,
) -> Option<Line> {
    let (breaks, slack) = breakpoints(activation);
    let inside = breaks.into_iter().flatten().filter(|&x| lower < x && x < upper);
    let mut largest: Option<i64> = None;
    for x in [lower, upper].into_iter().chain(inside) {
        let (least, most) = value_enclosure(activation, table, value_bits, x)?;
        let excess = match side {
            Side::Above => Wide::from(most).scaled(SLOPE_BITS) - mul(slope, x),
            Side::Below => Wide::from(mul(slope, x)) - Wide::from(least).scaled(SLOPE_BITS),
        };
        largest = largest.max(Some(excess.ceil(SLOPE_BITS).entry()?));
    }
    let excess = largest?.checked_add(slack)?;
    Some(Line { slope, intercept: if side == Side::Above { excess } else { excess.checked_neg()? } })
}

/// Where a piecewise linear activation may bend, and the steps that it costs not to know that exactly: a clip limit between
/// two grid points is tested at both, and the true breakpoint is at most one grid step from them.
fn breakpoints(activation: &GridActivation) -> ([Option<i64>; 4], i64) {
    match activation {
        GridActivation::Clip { lower, upper } => {
            let exact = lower.0 == lower.1 && upper.0 == upper.1;
            ([Some(lower.0), Some(lower.1), Some(upper.0), Some(upper.1)], if exact { 0 } else { 2 })
        }
        GridActivation::Identity
        | GridActivation::Relu
        | GridActivation::LeakyRelu { .. }
        | GridActivation::Tanh
        | GridActivation::Elu { .. }
        | GridActivation::Silu
        | GridActivation::Sigmoid => ([Some(0), None, None, None], 0),
    }
}

/// A line above a curve: slope with [`SLOPE_BITS`], offset with [`OFFSET_BITS`] fraction bits.
#[derive(Clone, Copy)]
struct Offset {
    slope: i64,
    offset: Wide,
}

/// The line above a curve and the mirror image of the one below, which is a line above the curve's mirror image.
fn smooth(curve: Curve<'_>, (lower, upper): Interval, choice: SlopeChoice) -> Option<(Offset, Offset)> {
    let above = |curve: Curve<'_>, ends: Interval, choice| {
        let (slope, points) = advice::tangents(&curve, ends, choice)?;
        smooth_above(&curve, ends, slope, points)
    };
    let mirrored = (upper.checked_neg()?, lower.checked_neg()?);
    Some((above(curve, (lower, upper), choice.upper)?, above(curve.mirror(), mirrored, choice.lower)?))
}

/// Rule `relax.smooth`: a line above a curve `f` over `[lower, upper]`.
///
/// With `g(x) = f(x) - slope * x`: where f is convex, g is largest at an end; where it is concave, g lies below its tangent at
/// any point p there, which is largest at an end. The tangent is followed to the next piece, so that it holds up to the
/// inflection between the two; beyond it g is convex. The offset is the largest of these values, from above. Slope and
/// points, one a piece, only decide how tight the line is.
fn smooth_above(curve: &Curve<'_>, (lower, upper): Interval, slope: i64, points: [i64; 3]) -> Option<Offset> {
    // A multiple of 4, so that the sigmoid's quarter slope stays on the grid; costs 2^-22 of the width at most.
    let slope = slope & !3;
    let mut largest: Option<i128> = None;
    let (pieces, apart) = curve.pieces()?;
    for (Piece { concave, ends }, point) in pieces.into_iter().zip(points) {
        let (start, end) = (lower.max(ends.0), upper.min(ends.1));
        if start > end {
            continue;
        }
        if concave {
            let point = point.clamp(start, end);
            let reach = (ends.0.saturating_sub(apart), ends.1.saturating_add(apart));
            // The point counts where the curve bends: its tangents are two.
            let places = [lower.max(reach.0), point, upper.min(reach.1)];
            largest = largest.max(Some(over_tangent(curve, places, slope, point)?));
        } else {
            for end in [start, end] {
                largest = largest.max(Some(fall(curve, curve.value(end)?.1, slope, end)?.get()?));
            }
        }
    }
    Some(Offset { slope, offset: largest?.into() })
}

/// `value - slope * x`, with [`OFFSET_BITS`] fraction bits.
fn fall(curve: &Curve<'_>, value: Wide, slope: i64, x: i64) -> Option<Wide> {
    let finer = OFFSET_BITS.checked_sub(SLOPE_BITS)?.checked_sub(curve.bits)?;
    Some(value - Wide::from(mul(slope, x)).scaled(finer))
}

/// How much a tangent less `slope * x` rises over a distance, from above.
fn rise(curve: &Curve<'_>, tangent: &Tangent, slope: i64, distance: i64) -> Option<Wide> {
    // Right of the point the larger slope is the safe one, left of it the smaller.
    let steep = if distance >= 0 { tangent.after } else { tangent.before };
    let steep = Wide::from(steep) - Wide::from(slope).scaled(UNIT_BITS.checked_sub(SLOPE_BITS)?);
    let rise = Wide::from(mul(steep.entry()?, distance));
    let bits = UNIT_BITS.checked_add(curve.bits)?;
    Some(match bits.checked_sub(OFFSET_BITS) {
        Some(finer) => rise.ceil(finer),
        None => rise.scaled(OFFSET_BITS.checked_sub(bits)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enclose::tanh;
    use crate::number::Rational;
    use alloc::format;
    use alloc::vec::Vec;
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
        for activation in [GridActivation::Relu, GridActivation::Tanh, GridActivation::Silu] {
            let parabolas =
                |ends, point, bits| parabolas(&activation, TanhTable::shared(), bits, ends, point);
            assert!(parabolas((1, 3), 1, 48).is_some() && parabolas((1, 3), 3, 48).is_some());
            assert_eq!((parabolas((1, 3), 0, 48), parabolas((1, 3), 4, 48)), (None, None));
            assert_eq!(parabolas((2, 1), 2, 48), None);
        }
        assert_eq!(parabolas(&GridActivation::Tanh, TanhTable::shared(), 90, (0, 1), 0), None);
    }

    /// How far the parabolas are from the activation at `x`: above and below.
    fn parabola_gaps(
        activation: &GridActivation,
        found: &Parabolas,
        bits: u32,
        x: i64,
        point: i64,
    ) -> [Rational; 2] {
        let (above, below) = gaps(activation, &found.lines, bits, x);
        let distance = Rational::from_dyadic((x - point).into(), -i64::from(bits));
        let bent = |bend: i64| {
            Rational::from_dyadic(bend.into(), -i64::from(SLOPE_BITS) - 1).mul(&distance).mul(&distance)
        };
        [above.add(&bent(found.bends.1)), below.sub(&bent(found.bends.0))]
    }

    /// Over intervals of every kind (narrow and wide, far out, ends on and beside 0 and SiLU's inflections, points at ends) no
    /// activation crosses its parabolas; over narrow ones they are third order, a line is second.
    #[test]
    fn parabolas_enclose_their_activation() {
        let elu = |numerator, denominator| GridActivation::Elu { numerator, denominator };
        let smooth =
            [GridActivation::Tanh, GridActivation::Sigmoid, GridActivation::Silu, elu(1, 1), elu(1, 3)];
        let mut seed = 7;
        for bits in [48, 30] {
            let one = 1i64 << bits;
            let turn =
                Curve::of(&GridActivation::Silu, TanhTable::shared(), bits).unwrap().silu_turn().unwrap();
            let places = [0, 1, -1, one, -one, turn, -turn - 1, 3 * one, -7 * one, 40 * one];
            let widths = [1, one / 64, one / 3, one, 5 * one];
            for activation in &smooth {
                for place in places {
                    for width in widths {
                        let lower =
                            place - i64::try_from(random(&mut seed) % u64::try_from(width).unwrap()).unwrap();
                        let ends = (lower, lower + width);
                        for point in [ends.0, ends.1, lower.midpoint(ends.1), lower + width / 5] {
                            let found =
                                parabolas(activation, TanhTable::shared(), bits, ends, point).unwrap();
                            assert!(found.bends.0 <= found.bends.1);
                            for part in 0..=8i64 {
                                let x =
                                    lower + i64::try_from(i128::from(width) * i128::from(part) / 8).unwrap();
                                let gaps = parabola_gaps(activation, &found, bits, x, point);
                                for gap in &gaps {
                                    assert!(!gap.is_negative(), "{activation:?} {ends:?} {point} at {x}");
                                }
                            }
                        }
                    }
                }
            }
        }
        // third derivatives are at most 2: over 1/64 around a point that is no kink, 2 (1/128)^3 and less.
        let near = (ONE / 3, ONE / 3 + ONE / 64);
        let point = near.0.midpoint(near.1);
        for activation in &smooth {
            let found = parabolas(activation, TanhTable::shared(), 48, near, point).unwrap();
            for x in [near.0, near.1] {
                for gap in parabola_gaps(activation, &found, 48, x, point) {
                    assert!(gap < Rational::parse("0.000001").unwrap(), "{activation:?}");
                }
            }
        }
    }

    /// ELU with a kink inside has its lines; at one end of the interval the kink is none. Far out SiLU bends by nearly nothing.
    #[test]
    fn kinks_have_no_parabola() {
        let third = GridActivation::Elu { numerator: 1, denominator: 3 };
        let found = |activation: &GridActivation, lower, upper, point| {
            parabolas(activation, TanhTable::shared(), 48, (lower, upper), point).unwrap()
        };
        let lines = Parabolas { lines: over(&third, -ONE, 1, FREE), bends: (0, 0) };
        assert_eq!(found(&third, -ONE, 1, -ONE), lines);
        assert_ne!(found(&third, -ONE, 0, -ONE).bends, (0, 0));
        assert_eq!(found(&third, 0, ONE, ONE).bends, (0, 0));
        assert_eq!(
            found(&GridActivation::Relu, -ONE, ONE, 0).lines,
            over(&GridActivation::Relu, -ONE, ONE, FREE)
        );
        // SiLU at 0 bends by 1/2, beyond its inflections by -1/20 to 0.
        let (least, most) = found(&GridActivation::Silu, 0, 1, 0).bends;
        assert!(least >= SLOPE_ONE / 2 - 1 && most <= SLOPE_ONE / 2 + 1, "{least} {most}");
        let (least, most) = found(&GridActivation::Silu, 3 * ONE, 30 * ONE, 4 * ONE).bends;
        assert!(least == -SLOPE_ONE.div_euclid(20) - 1 && most == 0, "{least} {most}");
    }

    /// The tangent at 1 (and at 2), followed far to either side: `tanh p + (1 - tanh^2 p) (e - p)` from above, to 84 bits.
    #[test]
    fn tangents_round_away_from_the_curve() {
        for point in [ONE, 2 * ONE, ONE / 3] {
            let exact = tanh(&Rational::from_dyadic(point.into(), -48)).unwrap();
            for end in [point - 4000 * ONE, point + 4000 * ONE, point] {
                let distance = Rational::from_dyadic((end - point).into(), -48);
                let derivative = Rational::one().sub(&exact.lower.mul(&exact.lower));
                let least =
                    exact.lower.add(&derivative.mul(&distance)).sub(&Rational::from_dyadic(1.into(), -100));
                let curve = Curve::of(&GridActivation::Tanh, TanhTable::shared(), 48).unwrap();
                let tangent = curve.tangent(point).unwrap();
                let found = tangent.value + rise(&curve, &tangent, 0, end - point).unwrap();
                assert!(Rational::from_dyadic(found.get().unwrap().into(), -84) >= least, "{point} {end}");
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
            GridActivation::Tanh => tanh(&input).unwrap(),
            GridActivation::Sigmoid => {
                let mut value = tanh(&input.mul(&half)).unwrap();
                value.lower = value.lower.add(&Rational::one()).mul(&half);
                value.upper = value.upper.add(&Rational::one()).mul(&half);
                value
            }
            _ => crate::curve::tests::exact(activation, &input),
        };
        let at = |line: Line| {
            let slope = Rational::from_dyadic(line.slope.into(), -i64::from(SLOPE_BITS));
            slope.mul(&input).add(&Rational::from_dyadic(line.intercept.into(), -i64::from(bits)))
        };
        (at(relaxed.upper).sub(&value.lower), value.upper.sub(&at(relaxed.lower)))
    }

    /// Smooth lines over random intervals, slopes and grids (coarse ones of 16 bits included) never cross, and derived ones
    /// come within 2^-6 of the width.
    #[test]
    fn smooth_lines_never_cross() {
        let mut seed = 5;
        let elu = |numerator, denominator| GridActivation::Elu { numerator, denominator };
        let activations =
            [GridActivation::Tanh, GridActivation::Sigmoid, elu(1, 1), elu(1, 3), GridActivation::Silu];
        for round in 0..3000u32 {
            let bits = [16, 20, 30, 36, 48][usize::try_from(round % 5).unwrap()];
            let activation = activations[usize::try_from(round / 5 % 5).unwrap()].clone();
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
                    "{round}: {activation:?} {lower} {x} {upper} {choice:?} at {bits} bits: {relaxed:?}"
                );
                least = Some(least.map_or(above.clone(), |l: Rational| l.min(above)));
            }
            if choice.upper.is_none() {
                let width = Rational::from_dyadic((upper - lower + 128).into(), -i64::from(bits) - 6);
                assert!(least.unwrap() <= width, "{round}: {activation:?} {lower} {upper} at {bits} bits");
            }
        }
    }

    /// What the lines over an interval leave between them and the activation at some places, above and below, with 72 fraction
    /// bits: the least of it, and the sum.
    fn left(values: &[(i64, i128)], relaxed: &Relaxation, bits: u32) -> [(i128, i128); 2] {
        let at = |line: Line, x: i64| {
            (mul(line.slope, x) << (48 - bits)) + (i128::from(line.intercept) << (72 - bits))
        };
        let above = values.iter().map(|&(x, value)| at(relaxed.upper, x) - value);
        let below = values.iter().map(|&(x, value)| value - at(relaxed.lower, x));
        [(above.clone().min().unwrap(), above.sum()), (below.clone().min().unwrap(), below.sum())]
    }

    /// ELU and SiLU over intervals of every kind, up to 64 wide: lines of any slope never cross and come within 1/128 of the
    /// width; default ones leave at most 1.7 times as much as the best of 41 slopes, on either side.
    #[test]
    fn lines_nearly_touch_and_default_slopes_are_good() {
        let mut seed = 11;
        let elu = |numerator, denominator| GridActivation::Elu { numerator, denominator };
        let activations = [elu(1, 1), elu(2, 3), GridActivation::Silu, GridActivation::Silu];
        for round in 0..360u32 {
            let bits = [20, 36, 48][usize::try_from(round % 3).unwrap()];
            let activation = &activations[usize::try_from(round / 3 % 4).unwrap()];
            let scale = 1u64 << (u64::from(bits) - 2 + u64::from(round / 12 % 9));
            let mut end =
                || i64::try_from(random(&mut seed) % scale).unwrap() - i64::try_from(scale / 2).unwrap();
            let (a, b) = (end(), end());
            let (lower, upper) = (a.min(b), a.max(b));
            let run = upper - lower;
            let places = (0..=47).map(|step| lower + run / 47 * step).chain([upper, 0]);
            let values: Vec<(i64, i128)> = places
                .filter(|x| (lower..=upper).contains(x))
                .map(|x| {
                    let value = crate::curve::tests::exact(activation, &Rational::on_grid(x, bits)).lower;
                    (x, i128::try_from(value.floor_scaled(72)).unwrap())
                })
                .collect();
            // The values are from below, by a step and what enclosures are wide.
            let (slack, near) = (2, i128::from(run + 128) << (72 - bits) >> 7);
            let over = |choice| relax(activation, TanhTable::shared(), bits, (lower, upper), choice).unwrap();
            let place = format!("{round}: {activation:?} {lower} {upper} at {bits} bits");
            let mut best = [i128::MAX; 2];
            for step in -4..=36 {
                let slope = Some(SLOPE_ONE / 32 * step);
                let left = left(&values, &over(SlopeChoice { upper: slope, lower: slope }), bits);
                for ((least, sum), best) in left.into_iter().zip(&mut best) {
                    assert!((-slack..=near).contains(&least), "{place}: {slope:?} {left:?}");
                    *best = sum.min(*best);
                }
            }
            let left = left(&values, &over(FREE), bits);
            for ((least, sum), best) in left.into_iter().zip(best) {
                assert!(
                    (-slack..=near).contains(&least) && sum <= best / 10 * 17 + near,
                    "{place}: {left:?}"
                );
            }
        }
    }
}
