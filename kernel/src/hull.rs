//! Slopes of activations over intervals, and rule `hull.chain`: a local bound that is monotone by theorem within a list of
//! masks. Trusted. `spec/rules/local.md`.
//!
//! The hull of the pre-activations over all masks of the list bounds the slope of every activation; the deviation then
//! follows `D_l = S_l |M_l o W_l| D_{l-1}`, in which only `|M_l o W_l|` depends on the mask.

use alloc::vec::Vec;

use crate::curve::Curve;
use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::grid::{GridActivation, GridNetwork};
use crate::ibp::LayerBounds;
use crate::interval::{GridBox, Interval};
use crate::product::dots;
use crate::wide::{AtLayer, Wide, magnitude, mul, mul_unsigned, zip_exact};

/// Slopes are kept with this many fraction bits.
pub(crate) const HULL_SLOPE_BITS: u32 = 60;
/// Slope 1.
const STEEP: i64 = 1 << HULL_SLOPE_BITS;

/// Least and largest slope of an activation, with [`HULL_SLOPE_BITS`] fraction bits; only SiLU's may be below 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlopeRange {
    pub(crate) least: i64,
    pub(crate) largest: i64,
}

impl SlopeRange {
    /// An interval times any slope of the range, outward.
    #[inline]
    pub(crate) fn times(self, (lower, upper): Interval) -> Option<Interval> {
        // The least product has the least slope of what is above 0 and the largest of what is below, unless slopes change signs.
        let (low, high) = if self.least >= 0 {
            let low = mul(lower, if lower < 0 { self.largest } else { self.least });
            (low, mul(upper, if upper < 0 { self.least } else { self.largest }))
        } else {
            let (one, two) = (mul(lower, self.least), mul(lower, self.largest));
            let (three, four) = (mul(upper, self.least), mul(upper, self.largest));
            (one.min(two).min(three).min(four), one.max(two).max(three).max(four))
        };
        let (low, high) = (Wide::from(low).floor(HULL_SLOPE_BITS), Wide::from(high).ceil(HULL_SLOPE_BITS));
        low.entry().zip(high.entry())
    }

    /// The largest magnitude of any slope of the range times a number of magnitude at most `distance`.
    #[inline]
    pub(crate) fn reach(self, distance: i64) -> Option<i64> {
        let steepest = magnitude((self.least, self.largest));
        Wide::from(mul_unsigned(distance, steepest)).ceil(HULL_SLOPE_BITS).entry()
    }
}

/// Least and largest slope of the activation over an interval, outward; both hold every secant slope between two of its
/// points.
pub(crate) fn slope_range(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    ends: Interval,
) -> Option<SlopeRange> {
    let (least, largest) = slopes(activation, table, value_bits, ends)?;
    // At a single point where the activation bends, and by the rounding of tanh, the two may cross.
    Some(SlopeRange { least, largest: largest.max(least) })
}

/// The least derivative over an interval, from below, and the largest inside of it, from above.
fn slopes(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    (lower, upper): Interval,
) -> Option<Interval> {
    let steep = |one: bool| if one { STEEP } else { 0 };
    match activation {
        GridActivation::Identity => Some((STEEP, STEEP)),
        GridActivation::Relu => Some((steep(lower >= 0), steep(upper > 0))),
        GridActivation::LeakyRelu { numerator, denominator } => {
            let leak = Wide::from(*numerator).scaled(HULL_SLOPE_BITS);
            let (floor, ceil) = (leak.divided(*denominator).entry()?, leak.divided_up(*denominator).entry()?);
            Some((if lower >= 0 { STEEP } else { floor }, if upper > 0 { STEEP } else { ceil }))
        }
        GridActivation::Tanh | GridActivation::Elu { .. } | GridActivation::Silu => {
            Curve::of(activation, table, value_bits)?.slopes((lower, upper))
        }
        GridActivation::Sigmoid => {
            // sigmoid'(x) = tanh'(x / 2) / 4
            let (least, largest) = Curve::of(activation, table, value_bits)?.slopes((lower, upper))?;
            Some((least.checked_shr(2)?, Wide::from(largest).ceil(2).entry()?))
        }
        GridActivation::Clip { lower: low, upper: high } => {
            let linear = lower >= low.1 && upper <= high.0;
            Some((steep(linear), steep(upper > low.0 && lower < high.1)))
        }
    }
}

/// Every neuron's slopes over a box of pre-activations.
pub(crate) fn slope_ranges(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    pre: &GridBox,
    layer: usize,
) -> Result<Vec<SlopeRange>, Fault> {
    let slopes = pre.intervals().map(|ends| slope_range(activation, table, value_bits, ends));
    slopes.collect::<Option<_>>().within(layer)
}

/// Per layer and neuron, an upper bound on the slope's magnitude over the hull, with 60 fraction bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HullSlopes {
    /// One list per layer.
    pub layers: Vec<Vec<u64>>,
}

/// The slopes over the hull of several masks' interval bounds of one state's ball.
///
/// # Errors
/// [`Fault::ShapeMismatch`] if the masks' bounds differ in shape, [`Fault::Overflow`].
pub fn hull_slopes(
    network: &GridNetwork,
    table: &TanhTable,
    bounds: &[&LayerBounds],
) -> Result<HullSlopes, Fault> {
    let mut layers = Vec::with_capacity(network.layers.len());
    for (index, layer) in network.layers.iter().enumerate() {
        let mut hull: Option<GridBox> = None;
        for one in bounds {
            let pre = one.pre.get(index).shaped(index)?;
            hull = Some(match hull {
                Some(hull) => hull.hull(pre, index)?,
                None => pre.clone(),
            });
        }
        let hull = hull.filter(|hull| hull.len() == layer.outputs()).shaped(index)?;
        let largest = |ends| {
            let (least, largest) = slopes(&layer.activation, table, network.value_bits, ends)?;
            u64::try_from(largest.max(least.checked_neg()?)).ok()
        };
        layers.push(hull.intervals().map(largest).collect::<Option<_>>().within(index)?);
    }
    Ok(HullSlopes { layers })
}

/// Rule `hull.chain`: `D_L` with `D_0 = radii`, one upper bound on `|f(perturbed) - f(state)|` per output.
///
/// Isotone in the mask: every rounding is upward on grids that all masks share.
///
/// # Errors
/// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
pub fn deviation(network: &GridNetwork, slopes: &HullSlopes, radii: &[i64]) -> Result<Vec<i64>, Fault> {
    let mut current = radii.to_vec();
    let depth = network.layers.len().min(slopes.layers.len());
    for (index, (layer, slopes)) in zip_exact(&network.layers, &slopes.layers, depth)?.enumerate() {
        let spreads = dots(&layer.absolute, layer.largest, &current, index)?;
        let mut next = Vec::with_capacity(layer.outputs());
        for (spread, &slope) in zip_exact(spreads, slopes, index)? {
            let spread = spread.ceil(layer.weight_bits);
            let spread = mul_unsigned(spread.entry().within(index)?, slope);
            next.push(Wide::from(spread).ceil(HULL_SLOPE_BITS).entry().within(index)?);
        }
        current = next;
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::GridScale;
    use crate::ibp::{propagate, value_enclosure};
    use crate::model::{Activation, Layer, Mask, Matrix, Network};
    use crate::number::{Dyadic, Rational};
    use crate::wide::mul;

    const ONE: i64 = 1 << 48;
    const STEEP: i64 = 1 << 60;

    /// `relu(x - y)`, dense and with the weight of `y` pruned.
    fn pair() -> [GridNetwork; 2] {
        let weight = Matrix { rows: 1, columns: 2, values: vec![Dyadic::new(1, 0), Dyadic::new(-1, 0)] };
        let layer = Layer { fixed: false, weight, bias: vec![Dyadic::ZERO], activation: Activation::Relu };
        let network = Network { layers: vec![layer] };
        let scale = GridScale::new(&network, &Rational::from_integer(2.into())).unwrap();
        let mask = Mask { layers: vec![vec![true, false]] };
        [None, Some(&mask)].map(|m| GridNetwork::new(&network, m, &scale).unwrap())
    }

    /// Around (0, 1) with radius 1/4 the dense neuron is dead, `[-3/2, -1/2]`, the pruned one moves by 1/4: interval
    /// bounds loosen. Over the hull `[-3/2, 1/4]` the slope is 1, and the bounds are 1/2 for the dense network, 1/4 after.
    #[test]
    fn the_hull_is_monotone_where_intervals_are_not() {
        let networks = pair();
        let input = GridBox::of(vec![-ONE / 4, 3 * ONE / 4], vec![ONE / 4, 5 * ONE / 4]);
        let table = TanhTable::shared();
        let bounds: Vec<_> = networks.iter().map(|n| propagate(n, table, &input).unwrap()).collect();
        assert_eq!((bounds[0].post[0].upper()[0], bounds[1].post[0].upper()[0]), (0, ONE / 4));
        let alone = hull_slopes(&networks[0], table, &[&bounds[0]]).unwrap();
        assert_eq!(alone.layers, vec![vec![0]]);
        let slopes = hull_slopes(&networks[0], table, &bounds.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(slopes.layers, vec![vec![1 << 60]]);
        let radii = [ONE / 4, ONE / 4];
        assert_eq!(deviation(&networks[0], &slopes, &radii), Ok(vec![ONE / 2]));
        assert_eq!(deviation(&networks[1], &slopes, &radii), Ok(vec![ONE / 4]));
    }

    /// On the grid of 2^-48: leaky 1/3 has slope `ceil(2^60 / 3)` below 0; a clip to `[-1, 1]` is flat from 1 on; tanh and
    /// logistic are steepest at 0: 1 and 1/4. tanh'(1) = 0.41997434161402606939...
    #[test]
    fn largest_slopes_by_hand() {
        let table = TanhTable::shared();
        let over = |a: &GridActivation, l, u| slopes(a, table, 48, (l, u)).unwrap().1;
        let leaky = GridActivation::LeakyRelu { numerator: 1, denominator: 3 };
        assert_eq!((over(&leaky, -2, 0), over(&leaky, -2, 1)), (STEEP / 3 + 1, STEEP));
        let clip = GridActivation::Clip { lower: (-ONE, -ONE), upper: (ONE, ONE) };
        assert_eq!((over(&clip, ONE, 9 * ONE), over(&clip, -9 * ONE, -ONE)), (0, 0));
        assert_eq!((over(&clip, ONE - 1, 9 * ONE), over(&clip, -9 * ONE, 1 - ONE)), (STEEP, STEEP));
        assert_eq!((over(&GridActivation::Relu, -5, 0), over(&GridActivation::Relu, -5, 1)), (0, STEEP));
        assert_eq!(over(&GridActivation::Tanh, -ONE, ONE), STEEP);
        assert_eq!(over(&GridActivation::Sigmoid, -ONE, ONE), STEEP / 4);
        let one = Rational::parse("0.41997434161402606939").unwrap().ceil_scaled(60);
        for (lower, upper) in [(ONE, 9 * ONE), (-9 * ONE, -ONE)] {
            let slope = over(&GridActivation::Tanh, lower, upper);
            assert!(num_bigint::BigInt::from(slope) >= one && num_bigint::BigInt::from(slope - 32) < one);
        }
    }

    /// SiLU between its left inflection and its minimum: slopes from -0.0998 to -0.0003, of which the magnitude bounds a
    /// change. At its inflections `(2 + c) / 4` and 1 minus that. ELU: 1 above 0, alpha at 0 from below.
    #[test]
    fn slopes_of_curves_by_hand() {
        let table = TanhTable::shared();
        let over = |a: &GridActivation, l: i64, u: i64| slopes(a, table, 48, (l, u)).unwrap();
        let near = |slope: i64, text: &str| {
            let exact = Rational::parse(text).unwrap();
            let found = Rational::on_grid(slope, 60).sub(&exact).abs();
            assert!(found < Rational::on_grid(1, 52), "{slope} {text}");
        };
        let silu = GridActivation::Silu;
        let (least, largest) = over(&silu, -5 * ONE, 5 * ONE);
        near(least, "-0.099839320128866916958184924320570972");
        near(largest, "1.099839320128866916958184924320570972");
        // silu'(-2) = s - 2 s (1 - s), s = 1 / (1 + e^2).
        let (least, largest) = over(&silu, -5 * ONE / 2, -2 * ONE);
        near(least, "-0.099839320128866916958184924320570972");
        near(largest, "-0.0907842487848954787569775108");
        let (least, largest) = over(&silu, -2 * ONE, 2 * ONE);
        near(least, "-0.0907842487848954787569775108");
        near(largest, "1.0907842487848954787569775108");
        let elu = GridActivation::Elu { numerator: 1, denominator: 2 };
        assert_eq!(over(&elu, 0, ONE), (STEEP, STEEP));
        assert_eq!(over(&elu, -ONE, 0).1, STEEP / 2);
        assert_eq!(over(&elu, -ONE, 1).1, STEEP);
        near(over(&elu, -ONE, 1).0, "0.183939720585721160797761885080730433");
        let weight = Matrix { rows: 1, columns: 1, values: vec![Dyadic::new(1, 0)] };
        let layer = Layer { fixed: false, weight, bias: vec![Dyadic::ZERO], activation: Activation::Silu };
        let network = Network { layers: vec![layer] };
        let scale = GridScale::new(&network, &Rational::from_integer(8.into())).unwrap();
        let network = GridNetwork::new(&network, None, &scale).unwrap();
        let input = GridBox::of(vec![-5 * ONE / 2], vec![-2 * ONE]);
        let hull = hull_slopes(&network, table, &[&propagate(&network, table, &input).unwrap()]).unwrap();
        near(i64::try_from(hull.layers[0][0]).unwrap(), "0.099839320128866916958184924320570972");
    }

    #[test]
    fn hulls_of_other_shapes_are_refused() {
        let [network, _] = pair();
        let table = TanhTable::shared();
        let shape = || Fault::ShapeMismatch { layer: 0 };
        assert_eq!(hull_slopes(&network, table, &[]), Err(shape()));
        assert_eq!(hull_slopes(&network, table, &[&LayerBounds::default()]), Err(shape()));
        let slopes = HullSlopes { layers: vec![vec![1 << 60]] };
        assert_eq!(deviation(&network, &slopes, &[1]), Err(shape()));
        assert_eq!(deviation(&network, &HullSlopes { layers: vec![] }, &[1, 1]), Err(shape()));
        assert_eq!(deviation(&network, &slopes, &[1, 1]), Ok(vec![2]));
        let huge = deviation(&network, &slopes, &[i64::MAX, i64::MAX]);
        assert_eq!(huge, Err(Fault::Overflow { layer: 0 }));
    }

    /// Slopes from 1/2 to 1 send `[-3, 5]` to `[-3, 5]`, `[3, 5]` to `[1, 5]` and `[-5, -3]` to `[-5, -1]`.
    #[test]
    fn intervals_times_slopes_by_hand() {
        let range = SlopeRange { least: STEEP / 2, largest: STEEP };
        for (ends, scaled) in [((-3, 5), (-3, 5)), ((3, 5), (1, 5)), ((-5, -3), (-5, -1))] {
            assert_eq!(range.times(ends), Some(scaled));
        }
        assert_eq!(range.reach(3), Some(3));
        assert_eq!(SlopeRange { least: 0, largest: STEEP / 2 }.reach(3), Some(2));
        // Slopes of both signs: from -1/2 to 1, and from -1 to -1/2.
        let both = SlopeRange { least: -STEEP / 2, largest: STEEP };
        for (ends, scaled) in [((-3, 5), (-3, 5)), ((4, 6), (-3, 6)), ((-6, -4), (-6, 3)), ((-8, 1), (-8, 4))]
        {
            assert_eq!(both.times(ends), Some(scaled));
        }
        let falling = SlopeRange { least: -STEEP, largest: -STEEP / 2 };
        for (ends, scaled) in [((4, 6), (-6, -2)), ((-6, -4), (2, 6)), ((-3, 5), (-5, 3))] {
            assert_eq!(falling.times(ends), Some(scaled));
        }
        // The magnitude counts.
        assert_eq!((falling.reach(3), both.reach(3)), (Some(3), Some(3)));
    }

    /// Every secant slope between neighbouring points of an interval lies in its slope range, and the steepest and
    /// shallowest of 32 come within 1/8 of its ends.
    #[test]
    fn secant_slopes_lie_in_the_slope_range() {
        let (bits, table) = (40u32, TanhTable::shared());
        let quarter = 1i64 << (bits - 2);
        let activations = [
            GridActivation::Identity,
            GridActivation::Relu,
            GridActivation::LeakyRelu { numerator: 1, denominator: 3 },
            GridActivation::Tanh,
            GridActivation::Sigmoid,
            GridActivation::Clip { lower: (-quarter, -quarter), upper: (quarter * 3, quarter * 3 + 1) },
            GridActivation::Elu { numerator: 1, denominator: 1 },
            GridActivation::Elu { numerator: 2, denominator: 3 },
            GridActivation::Silu,
        ];
        for activation in &activations {
            let wide = [(-16, 2), (-2, 16), (-16, -8), (8, 16), (-40, 40), (-11, -5), (5, 11)];
            for (lower, upper) in
                [(-5, 2), (-2, 5), (1, 4), (-4, -1), (0, 3), (-3, 0), (-1, 2)].into_iter().chain(wide)
            {
                let ends = (lower * quarter, upper * quarter);
                let SlopeRange { least, largest } = slope_range(activation, table, bits, ends).unwrap();
                let points: Vec<i64> = (0..=32).map(|k| ends.0 + (ends.1 - ends.0) / 32 * k).collect();
                let (mut shallow, mut steep) = (i128::MAX, i128::MIN);
                for pair in points.windows(2) {
                    let (x, y) = (pair[0], pair[1]);
                    let (before, after) = (
                        value_enclosure(activation, table, bits, x),
                        value_enclosure(activation, table, bits, y),
                    );
                    let rise = (after.unwrap().1 - before.unwrap().0, after.unwrap().0 - before.unwrap().1);
                    assert!(mul(least, y - x) <= i128::from(rise.0) << HULL_SLOPE_BITS);
                    assert!(mul(largest, y - x) >= i128::from(rise.1) << HULL_SLOPE_BITS);
                    shallow = shallow.min((i128::from(rise.0) << HULL_SLOPE_BITS) / i128::from(y - x));
                    steep = steep.max((i128::from(rise.1) << HULL_SLOPE_BITS) / i128::from(y - x));
                }
                assert!(
                    i128::from(largest) - steep <= 1i128 << (HULL_SLOPE_BITS - 3),
                    "{activation:?} {lower} {upper}"
                );
                assert!(
                    shallow - i128::from(least) <= 1i128 << (HULL_SLOPE_BITS - 3),
                    "{activation:?} {lower} {upper}"
                );
            }
        }
    }
}
