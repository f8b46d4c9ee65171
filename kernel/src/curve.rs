//! Smooth activations made of tanh, as rules `relax.smooth`, `relax.parabola`, `ibp.activation` and `hull.*` read them: enclosures
//! of value, slope and second derivative, and where each is convex and concave. Trusted. `spec/rules/local.md#relaxsmooth`.

use crate::enclose::{TanhTable, UNIT_BITS};
use crate::grid::GridActivation;
use crate::interval::Interval;
use crate::wide::{Wide, mul};

/// Fraction bits of values, before they are rounded to the value grid.
pub(crate) const OFFSET_BITS: u32 = 84;
/// 1 on the grid of slopes, which is that of [`TanhTable`].
const UNIT: i64 = 1 << UNIT_BITS;
/// `floor(2^60 c)`, c > 0 with `c tanh(c / 2) = 2`: SiLU is convex on [-c, c] and concave outside.
const SILU_TURN: i64 = 2_766_270_605_941_285_588;
/// `floor(2^60 m)`, m the place of SiLU's minimum, which is `m + 1`.
const SILU_LEAST: i64 = -1_473_969_264_226_601_855;
/// SiLU's largest slope, `(2 + c) / 4`, from above with 60 fraction bits; its least is 1 minus that.
pub(crate) const SILU_STEEPEST: i64 = (1 << 59) + ((SILU_TURN + 4) >> 2);
/// Beyond this magnitude of its argument SiLU's slope is that here, within what is kept of it.
const SILU_STRAIGHT: i64 = 64;

/// The functions that [`Curve`] knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// tanh; the logistic function is read from it.
    Tanh,
    /// `x`, below 0 `numerator / denominator * (exp(x) - 1)`.
    Elu { numerator: i64, denominator: i64 },
    /// `x (1 + tanh(x / 2)) / 2`.
    Silu,
}

/// `f(x)`, or `-f(-x)`: a line below the one mirrors a line above the other.
#[derive(Clone, Copy)]
pub(crate) struct Curve<'a> {
    pub(crate) shape: Shape,
    pub(crate) table: &'a TanhTable,
    /// Fraction bits of arguments.
    pub(crate) bits: u32,
    pub(crate) mirrored: bool,
}

/// An interval of arguments, its ends included, over which the curve is convex, or concave.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) concave: bool,
    pub(crate) ends: Interval,
}

/// Value and one-sided slopes of a curve at a point, from the side that keeps a tangent above it where it is concave.
pub(crate) struct Tangent {
    /// The value from above, with [`OFFSET_BITS`] fraction bits.
    pub(crate) value: Wide,
    /// The slope to the left, from below, with 60 fraction bits.
    pub(crate) before: i64,
    /// The slope to the right, from above.
    pub(crate) after: i64,
}

impl<'a> Curve<'a> {
    /// The curve of an activation; none of those that are no curve. The logistic function's is tanh, read with one fraction bit
    /// more: `(1 + tanh(x / 2)) / 2`.
    pub(crate) fn of(activation: &GridActivation, table: &'a TanhTable, bits: u32) -> Option<Self> {
        let (shape, bits) = match *activation {
            GridActivation::Tanh => (Shape::Tanh, bits),
            GridActivation::Sigmoid => (Shape::Tanh, bits.checked_add(1)?),
            GridActivation::Elu { numerator, denominator } => (Shape::Elu { numerator, denominator }, bits),
            GridActivation::Silu => (Shape::Silu, bits),
            GridActivation::Identity
            | GridActivation::Relu
            | GridActivation::LeakyRelu { .. }
            | GridActivation::Clip { .. } => return None,
        };
        Some(Self { shape, table, bits, mirrored: false })
    }

    /// The mirror image.
    pub(crate) fn mirror(self) -> Self {
        Self { mirrored: !self.mirrored, ..self }
    }

    /// Its pieces from left to right, some of them empty, and how many steps they are apart: an inflection lies between two of
    /// them. Together they are the whole line.
    pub(crate) fn pieces(&self) -> Option<([Piece; 3], i64)> {
        let none = Piece { concave: false, ends: (1, 0) };
        Some(match self.shape {
            Shape::Tanh => {
                let left = Piece { concave: false, ends: (i64::MIN, 0) };
                ([left, none, Piece { concave: true, ends: (0, i64::MAX) }], 0)
            }
            Shape::Elu { .. } => {
                ([none, Piece { concave: self.mirrored, ends: (i64::MIN, i64::MAX) }, none], 0)
            }
            Shape::Silu => {
                let turn = self.silu_turn()?;
                let (outer, concave) = (turn.checked_add(1)?, !self.mirrored);
                let left = Piece { concave, ends: (i64::MIN, outer.checked_neg()?) };
                let middle = Piece { concave: self.mirrored, ends: (turn.checked_neg()?, turn) };
                ([left, middle, Piece { concave, ends: (outer, i64::MAX) }], 1)
            }
        })
    }

    /// The last step before SiLU's inflection.
    pub(crate) fn silu_turn(&self) -> Option<i64> {
        SILU_TURN.checked_shr(UNIT_BITS.checked_sub(self.bits)?)
    }

    /// Lower and upper end of the value at `x`, with [`OFFSET_BITS`] fraction bits.
    pub(crate) fn value(&self, x: i64) -> Option<(Wide, Wide)> {
        if self.mirrored {
            let (lower, upper) = self.mirror().value(x.checked_neg()?)?;
            return Some((-upper, -lower));
        }
        self.value_of(x, self.tanh(x)?)
    }

    /// Lower and upper end of the slope to the right of `x`, or to its left, with 60 fraction bits.
    pub(crate) fn slope(&self, x: i64, right: bool) -> Option<Interval> {
        if self.mirrored {
            self.mirror().slope(x.checked_neg()?, !right)
        } else {
            self.slope_of(x, self.tanh(x)?, right)
        }
    }

    /// The tangents at `point`.
    pub(crate) fn tangent(&self, point: i64) -> Option<Tangent> {
        let x = if self.mirrored { point.checked_neg()? } else { point };
        let t = self.tanh(x)?;
        let (lower, upper) = self.value_of(x, t)?;
        let value = if self.mirrored { -lower } else { upper };
        // Left and right change places in the mirror.
        let before = self.slope_of(x, t, self.mirrored)?.0;
        Some(Tangent { value, before, after: self.slope_of(x, t, !self.mirrored)?.1 })
    }

    /// Lower and upper end of the slopes over an interval, those to the right of its lower end and to the left of its upper
    /// end included, with 60 fraction bits: slopes rise where the curve is convex and fall where it is concave.
    pub(crate) fn slopes(&self, (lower, upper): Interval) -> Option<Interval> {
        let (first, last) = (self.slope(lower, true)?, self.slope(upper, false)?);
        let (mut least, mut largest) = (first.0.min(last.0), first.1.max(last.1));
        match self.shape {
            Shape::Tanh if lower <= 0 && upper >= 0 => largest = UNIT,
            Shape::Silu => {
                let turn = self.silu_turn()?;
                if lower <= turn && upper > turn {
                    largest = SILU_STEEPEST;
                }
                if lower < turn.checked_neg()? && upper >= turn.checked_neg()? {
                    least = UNIT.checked_sub(SILU_STEEPEST)?;
                }
            }
            Shape::Tanh | Shape::Elu { .. } => {}
        }
        Some((least, largest))
    }

    /// Lower and upper end of the second derivative over an interval, with 60 fraction bits; of the curve itself, not of its mirror
    /// image. `None` where it has a kink.
    pub(crate) fn bends(&self, (lower, upper): Interval) -> Option<Option<(Wide, Wide)>> {
        let none = Wide::from(0i64);
        Some(Some(match self.shape {
            // `-2 t (1 - t^2)`
            Shape::Tanh => {
                let (low, high) = (self.tanh(lower)?.0, self.tanh(upper)?.1);
                let (near, far) = distances((low, high))?;
                let fall = drop_of((near, far))?;
                let product = |t: i64, fall: i64| Wide::from(mul(t, fall));
                let most = product(high, if high > 0 { fall.1 } else { fall.0 });
                let least = product(low, if low > 0 { fall.0 } else { fall.1 });
                ((-most).floor(UNIT_BITS.checked_sub(1)?), (-least).ceil(UNIT_BITS.checked_sub(1)?))
            }
            // Below 0 it is its slope, above there is none.
            Shape::Elu { .. } if lower >= 0 => (none, none),
            Shape::Elu { numerator, denominator } if upper > 0 && numerator != denominator => {
                return Some(None);
            }
            Shape::Elu { .. } => {
                let least = if upper > 0 { none } else { self.slope(lower, false)?.0.into() };
                (least, self.slope(upper, false)?.1.into())
            }
            // `(1 - t^2) (2 - x t) / 4`, an even function; where `x t > 2` its magnitude is at most `exp(-x) (x - 2)`, below 1/20.
            Shape::Silu => {
                let (near, far) = distances((lower, upper))?;
                let (first, last) = (self.tanh(near)?, self.tanh(far)?);
                let fall = drop_of((first.0, last.1))?;
                let two = Wide::from(UNIT) * 2i64;
                let (least, most) = (
                    two - Wide::from(mul(far, last.1)).ceil(self.bits),
                    two - Wide::from(mul(near, first.0)).floor(self.bits),
                );
                let coarser = UNIT_BITS.checked_add(2)?;
                let low = if least.get()? < 0 {
                    -Wide::from(UNIT).divided_up(20i64)
                } else {
                    (least * fall.0).floor(coarser)
                };
                let high = if most.get()? < 0 { none } else { (most * fall.1).ceil(coarser) };
                (low, high)
            }
        }))
    }

    /// The enclosure of tanh from which value and slope at `x` are made.
    fn tanh(&self, x: i64) -> Option<Interval> {
        let halved = u32::from(self.shape != Shape::Tanh);
        self.table.tanh(x, self.bits.checked_add(halved)?)
    }

    fn value_of(&self, x: i64, (low, high): Interval) -> Option<(Wide, Wide)> {
        let finer = OFFSET_BITS.checked_sub(UNIT_BITS)?;
        match self.shape {
            Shape::Tanh => Some((Wide::from(low).scaled(finer), Wide::from(high).scaled(finer))),
            Shape::Elu { .. } if x >= 0 => {
                let value = Wide::from(x).scaled(OFFSET_BITS.checked_sub(self.bits)?);
                Some((value, value))
            }
            Shape::Elu { numerator, denominator } => {
                let (low, high) = growth((low, high))?;
                let scaled = |end: i64| Wide::from(mul(end, numerator)).scaled(finer);
                Some((scaled(low).divided(denominator), scaled(high).divided_up(denominator)))
            }
            Shape::Silu => {
                let times = |t: i64| Some(Wide::from(mul(x, UNIT.checked_add(t)?)));
                let (low, high) =
                    if x < 0 { (times(high)?, times(low)?) } else { (times(low)?, times(high)?) };
                let bits = UNIT_BITS.checked_add(1)?.checked_add(self.bits)?;
                Some(match bits.checked_sub(OFFSET_BITS) {
                    Some(coarser) => (low.floor(coarser), high.ceil(coarser)),
                    None => {
                        let finer = OFFSET_BITS.checked_sub(bits)?;
                        (low.scaled(finer), high.scaled(finer))
                    }
                })
            }
        }
    }

    fn slope_of(&self, x: i64, (low, high): Interval, right: bool) -> Option<Interval> {
        match self.shape {
            // `1 - tanh^2`
            Shape::Tanh => {
                drop_of(if x < 0 { (high.checked_neg()?, low.checked_neg()?) } else { (low, high) })
            }
            Shape::Elu { .. } if x > 0 || (x == 0 && right) => Some((UNIT, UNIT)),
            Shape::Elu { numerator, denominator } => {
                let (low, high) = growth((low, high))?;
                let scaled = |end: i64| Some(Wide::from(mul(UNIT.checked_add(end)?, numerator)));
                scaled(low)?.divided(denominator).entry().zip(scaled(high)?.divided_up(denominator).entry())
            }
            Shape::Silu if x < 0 => {
                let (low, high) =
                    self.slope_of(x.checked_neg()?, (high.checked_neg()?, low.checked_neg()?), right)?;
                UNIT.checked_sub(high).zip(UNIT.checked_sub(low))
            }
            Shape::Silu => {
                // `1/2 + (2 t + x (1 - t^2)) / 4`. Far out the slope falls to 1, and t is enclosed as here.
                let x = x.min(SILU_STRAIGHT.checked_shl(self.bits).filter(|_| self.bits < 57)?);
                let (least, most) = drop_of((low, high))?;
                let low = Wide::from(mul(x, least)).floor(self.bits) + mul(low, 2);
                let high = Wide::from(mul(x, most)).ceil(self.bits) + mul(high, 2);
                let half = Wide::from(UNIT.checked_shr(1)?);
                (half + low.floor(2)).entry().zip((half + high.ceil(2)).entry())
            }
        }
    }
}

/// The last step before the place of SiLU's minimum, and its value from below, both with `bits` fraction bits.
pub(crate) fn silu_minimum(bits: u32) -> Option<Interval> {
    let coarser = UNIT_BITS.checked_sub(bits)?;
    SILU_LEAST.checked_shr(coarser).zip(SILU_LEAST.checked_add(UNIT)?.checked_shr(coarser))
}

/// How far the points of an interval are from 0, at least and at most.
fn distances((lower, upper): Interval) -> Option<Interval> {
    let (left, right) = (lower.checked_abs()?, upper.checked_abs()?);
    let apart = lower <= 0 && upper >= 0;
    Some((if apart { 0 } else { left.min(right) }, left.max(right)))
}

/// `1 - t^2` of a number `t >= 0` in an interval.
fn drop_of((low, high): Interval) -> Option<Interval> {
    let least = Wide::from(UNIT) - Wide::from(mul(high, high)).ceil(UNIT_BITS);
    let most = Wide::from(UNIT) - Wide::from(mul(low, low)).floor(UNIT_BITS);
    least.entry().zip(most.entry())
}

/// `exp(x) - 1 = 2 t / (1 - t)` with `t = tanh(x / 2)`, x not above 0; it rises with t.
fn growth((low, high): Interval) -> Option<Interval> {
    let of = |t: i64| Some((Wide::from(t).scaled(UNIT_BITS.checked_add(1)?), UNIT.checked_sub(t)?));
    let (low, high) = (of(low)?, of(high)?);
    low.0.divided(low.1).entry().zip(high.0.divided_up(high.1).entry())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::enclose::{Enclosure, exp};
    use crate::number::Rational;
    use alloc::vec::Vec;

    /// SiLU is steepest and tanh too where it bends the other way: an interval that holds the place has that slope, which its
    /// ends do not have.
    #[test]
    fn slopes_between_the_ends_count() {
        let one = 1i64 << 48;
        let curve = |activation| Curve::of(&activation, TanhTable::shared(), 48).unwrap();
        let (silu, tanh) = (curve(GridActivation::Silu), curve(GridActivation::Tanh));
        let slopes = |curve: &Curve<'_>, lower, upper| curve.slopes((lower * one, upper * one)).unwrap();
        assert_eq!(slopes(&silu, 1, 4).1, SILU_STEEPEST);
        assert_eq!(slopes(&silu, -4, -1).0, UNIT - SILU_STEEPEST);
        assert_eq!(slopes(&tanh, -1, 1).1, UNIT);
        for (lower, upper) in [(1, 2), (3, 4), (-2, -1), (-4, -3)] {
            let (least, most) = slopes(&silu, lower, upper);
            assert!(UNIT - SILU_STEEPEST < least && most < SILU_STEEPEST, "{lower}");
        }
        assert!(slopes(&tanh, 1, 2).1 < UNIT && slopes(&tanh, -2, -1).1 < UNIT);
    }

    fn on_grid(value: i64, bits: u32) -> Rational {
        Rational::on_grid(value, bits)
    }

    fn one_over(value: &Rational) -> Rational {
        Rational::one().div(value).unwrap()
    }

    /// ELU or SiLU at `x` from the exponential function, not by the table of tanh.
    pub(crate) fn exact(activation: &GridActivation, x: &Rational) -> Enclosure {
        let one = Rational::one();
        match activation {
            GridActivation::Elu { .. } if !x.is_negative() => {
                Enclosure { lower: x.clone(), upper: x.clone() }
            }
            GridActivation::Elu { numerator, denominator } => {
                let alpha = Rational::new((*numerator).into(), (*denominator).into()).unwrap();
                let power = exp(x).unwrap();
                Enclosure {
                    lower: power.lower.sub(&one).mul(&alpha),
                    upper: power.upper.sub(&one).mul(&alpha),
                }
            }
            _ => {
                let power = exp(&x.neg().min(Rational::from_integer(2000.into()))).unwrap();
                let ends = [&power.lower, &power.upper].map(|p| x.mul(&one_over(&one.add(p))));
                Enclosure {
                    lower: ends[0].clone().min(ends[1].clone()),
                    upper: ends[0].clone().max(ends[1].clone()),
                }
            }
        }
    }

    /// `s + x s (1 - s)`, s the logistic function of x.
    fn silu_slope(x: &Rational) -> Enclosure {
        let one = Rational::one();
        let power = exp(&x.neg()).unwrap();
        // 1 - s = p / (1 + p); every factor's ends are at most 2^-90 apart.
        let (low, high) = (one_over(&one.add(&power.upper)), one_over(&one.add(&power.lower)));
        let products = [&low, &high].map(|s| {
            let rest = [one.sub(&high), one.sub(&low)];
            rest.map(|r| s.add(&x.mul(s).mul(&r)))
        });
        let all: Vec<Rational> = products.into_iter().flatten().collect();
        let of = |f: fn(Rational, Rational) -> Rational| all.iter().cloned().reduce(f).unwrap();
        Enclosure { lower: of(Rational::min), upper: of(Rational::max) }
    }

    /// Whether `x tanh(x / 2) < 2`, for `x > 0`: SiLU's second derivative is `(1 - t^2)(2 - x t) / 4` with that t.
    fn convex_at(x: &Rational) -> bool {
        let t = crate::enclose::tanh(&x.mul(&on_grid(1, 1))).unwrap();
        let two = Rational::from_integer(2.into());
        let sides = [x.mul(&t.lower) < two, x.mul(&t.upper) < two];
        assert_eq!(sides[0], sides[1], "an enclosure too wide to tell");
        sides[0]
    }

    /// `x tanh(x / 2)` rises for `x > 0`, so that two points prove where it passes 2; with it `4 f' = 2 + 2 t + x (1 - t^2)`
    /// is `2 + c` there. The slope at the minimum changes signs, and `f = x + 1` there, since `1 + x (1 - s) = 0`.
    #[test]
    fn constants_of_silu_are_what_they_are_said_to_be() {
        assert!(convex_at(&on_grid(SILU_TURN, 60)) && !convex_at(&on_grid(SILU_TURN + 1, 60)));
        let steepest = on_grid(SILU_STEEPEST, 60).mul(&Rational::from_integer(4.into()));
        let two = Rational::from_integer(2.into());
        assert!(steepest >= two.add(&on_grid(SILU_TURN + 1, 60)));
        assert!(steepest < two.add(&on_grid(SILU_TURN + 6, 60)));
        assert!(silu_slope(&on_grid(SILU_LEAST, 60)).upper.is_negative());
        assert!(silu_slope(&on_grid(SILU_LEAST + 1, 60)).lower.is_positive());
        for bits in [0, 16, 48, 60] {
            let (place, least) = silu_minimum(bits).unwrap();
            let at = |x| silu_slope(&on_grid(x, bits));
            assert!(at(place).upper.is_negative() && !at(place + 1).lower.is_negative());
            assert_eq!(least, place + (1 << bits));
            let turn =
                Curve::of(&GridActivation::Silu, TanhTable::shared(), bits).unwrap().silu_turn().unwrap();
            assert!(convex_at(&on_grid(turn, bits)) && !convex_at(&on_grid(turn + 1, bits)));
        }
    }

    fn curves() -> Vec<(GridActivation, u32)> {
        let elu = |numerator, denominator| GridActivation::Elu { numerator, denominator };
        let all = [elu(1, 1), elu(1, 3), elu(7, 8), GridActivation::Silu];
        all.into_iter().flat_map(|a| [16, 30, 48].map(|bits| (a.clone(), bits))).collect()
    }

    /// Arguments around 0, the inflections and the minimum, far out on both sides, and in between.
    fn places(bits: u32) -> Vec<i64> {
        let turn = SILU_TURN >> (60 - bits);
        let least = SILU_LEAST >> (60 - bits);
        let one = 1i64 << bits;
        let mut all = Vec::new();
        for around in [0, turn, -turn, least, one, -one, 21 * one, 44 * one, 64 * one, -64 * one, 1000 * one]
        {
            all.extend([around - 1, around, around + 1, -around]);
        }
        all.extend((-80..80).map(|k| one / 7 * k));
        all
    }

    /// Values and slopes hold the exact ones, and are within 2^-52 of them, and of 2^-58 of the argument.
    #[test]
    fn values_and_slopes_hold_the_exact_ones() {
        for (activation, bits) in curves() {
            let curve = Curve::of(&activation, TanhTable::shared(), bits).unwrap();
            for x in places(bits) {
                let input = on_grid(x, bits);
                let near = on_grid(1, 52).add(&input.abs().mul(&on_grid(1, 58)));
                let of = |end: Wide| Rational::from_dyadic(end.get().unwrap().into(), -84);
                let (lower, upper) = curve.value(x).unwrap();
                let (lower, upper) = (of(lower), of(upper));
                let value = exact(&activation, &input);
                assert!(lower <= value.upper && value.lower <= upper, "{activation:?} {x} at {bits} bits");
                assert!(
                    lower.add(&near) >= value.lower && upper.sub(&near) <= value.upper,
                    "{activation:?} {x}"
                );
                let mirror = curve.mirror().value(-x).unwrap();
                assert_eq!((of(mirror.0), of(mirror.1)), (upper.neg(), lower.neg()));
                for right in [false, true] {
                    let (lower, upper) = curve.slope(x, right).unwrap();
                    let slope = match &activation {
                        GridActivation::Elu { .. } if x > 0 || (x == 0 && right) => {
                            Enclosure { lower: Rational::one(), upper: Rational::one() }
                        }
                        GridActivation::Elu { numerator, denominator } => {
                            let alpha = Rational::new((*numerator).into(), (*denominator).into()).unwrap();
                            let power = exp(&input).unwrap();
                            Enclosure { lower: power.lower.mul(&alpha), upper: power.upper.mul(&alpha) }
                        }
                        _ => silu_slope(&input),
                    };
                    let (lower, upper) = (on_grid(lower, 60), on_grid(upper, 60));
                    let place = alloc::format!("{activation:?} {x} at {bits} bits, {right}");
                    assert!(lower <= slope.upper && slope.lower <= upper, "{place}");
                    let near = on_grid(1, 52);
                    assert!(lower.add(&near) >= slope.lower && upper.sub(&near) <= slope.upper, "{place}");
                    assert_eq!(curve.mirror().slope(-x, !right), curve.slope(x, right));
                }
            }
        }
    }
}
