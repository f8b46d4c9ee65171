//! Rule `hull.chain`: a local bound that is monotone by theorem within a list of masks. Trusted. `spec/rules/local.md`.
//!
//! The hull of the pre-activations over all masks of the list bounds the slope of every activation; the deviation then
//! follows `D_l = S_l |M_l o W_l| D_{l-1}`, in which only `|M_l o W_l|` depends on the mask.

use alloc::vec::Vec;

use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::grid::{
    GridActivation, GridLayer, GridNetwork, ceil_entry, ceil_shift, dot, magnitude, mul, scale_up,
};
use crate::ibp::{GridBox, LayerBounds, UNIT_BITS};

/// Slopes are kept with this many fraction bits.
pub(crate) const HULL_SLOPE_BITS: u32 = 60;

/// Per layer and neuron, an upper bound on the slope of the activation over the hull, with 60 fraction bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HullSlopes {
    /// One list per layer.
    pub layers: Vec<Vec<i64>>,
}

/// Largest slope of the activation over `[lower, upper]`, rounded up to 60 fraction bits.
fn largest_slope(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    lower: i64,
    upper: i64,
) -> Option<i64> {
    let one = 1i64.checked_shl(HULL_SLOPE_BITS)?;
    // The point of [lower, upper] nearest to 0, where the slope of tanh and sigmoid is largest.
    let nearest = if lower > 0 { lower } else { upper.min(0) };
    match activation {
        GridActivation::Identity => Some(one),
        GridActivation::Relu => Some(if upper <= 0 { 0 } else { one }),
        GridActivation::LeakyRelu { numerator, denominator } => {
            if upper > 0 {
                return Some(one);
            }
            let scaled = scale_up(i128::from(*numerator), HULL_SLOPE_BITS)?;
            i64::try_from(ceil_div(scaled, i128::from(*denominator))?).ok()
        }
        GridActivation::Tanh => tanh_slope(table, nearest, value_bits),
        GridActivation::Sigmoid => {
            // sigmoid'(x) = tanh'(x / 2) / 4
            let slope = tanh_slope(table, nearest, value_bits.checked_add(1)?)?;
            i64::try_from(ceil_shift(i128::from(slope), 2)?).ok()
        }
        GridActivation::Clip { lower: low, upper: high } => {
            Some(if upper <= low.0 || lower >= high.1 { 0 } else { one })
        }
    }
}

/// Least and largest slope of the activation over an interval, outward, with 60 fraction bits; both hold every secant
/// slope between two of its points.
pub(crate) fn slope_range(
    activation: &GridActivation,
    table: &TanhTable,
    value_bits: u32,
    (lower, upper): (i64, i64),
) -> Option<(i64, i64)> {
    let one = 1i64.checked_shl(HULL_SLOPE_BITS)?;
    // The point of [lower, upper] farthest from 0, where the slope of tanh and sigmoid is least.
    let farthest = magnitude(lower, upper);
    let least = match activation {
        GridActivation::Identity => one,
        GridActivation::Relu => {
            if lower >= 0 {
                one
            } else {
                0
            }
        }
        GridActivation::LeakyRelu { .. } if lower >= 0 => one,
        GridActivation::LeakyRelu { numerator, denominator } => {
            let scaled = scale_up(i128::from(*numerator), HULL_SLOPE_BITS)?;
            i64::try_from(scaled.checked_div_euclid(i128::from(*denominator))?).ok()?
        }
        GridActivation::Tanh => least_tanh_slope(table, farthest, value_bits)?,
        GridActivation::Sigmoid => {
            least_tanh_slope(table, farthest, value_bits.checked_add(1)?)?.checked_shr(2)?
        }
        GridActivation::Clip { lower: low, upper: high } => {
            if lower >= low.1 && upper <= high.0 {
                one
            } else {
                0
            }
        }
    };
    Some((least, largest_slope(activation, table, value_bits, lower, upper)?.max(least)))
}

/// `1 - tanh(x)^2` from below, for `x >= 0`.
fn least_tanh_slope(table: &TanhTable, x: i64, fraction_bits: u32) -> Option<i64> {
    let (_, upper) = table.tanh(x, fraction_bits);
    let one = 1i128.checked_shl(UNIT_BITS)?;
    i64::try_from(one.checked_sub(ceil_shift(mul(upper, upper), UNIT_BITS)?)?.max(0)).ok()
}

/// `1 - tanh(x)^2` from above.
fn tanh_slope(table: &TanhTable, x: i64, fraction_bits: u32) -> Option<i64> {
    let (lower, upper) = table.tanh(x, fraction_bits);
    let least = if lower > 0 { lower } else { upper.saturating_neg().max(0) };
    let square = mul(least, least).checked_shr(UNIT_BITS)?;
    let one = 1i128.checked_shl(UNIT_BITS)?;
    i64::try_from(one.checked_sub(square)?).ok()
}

fn ceil_div(numerator: i128, denominator: i128) -> Option<i128> {
    let floor = numerator.checked_div_euclid(denominator)?;
    if numerator.checked_rem_euclid(denominator)? == 0 { Some(floor) } else { floor.checked_add(1) }
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
        let shape = || Fault::ShapeMismatch { layer: index };
        let mut hull: Option<GridBox> = None;
        for one in bounds {
            let pre = one.pre.get(index).filter(|b| b.lower.len() == layer.outputs).ok_or_else(shape)?;
            hull = Some(hull.map_or_else(|| pre.clone(), |h| h.hull(pre)));
        }
        let hull = hull.ok_or_else(shape)?;
        let slopes = hull
            .intervals()
            .map(|(lower, upper)| largest_slope(&layer.activation, table, network.value_bits, lower, upper));
        layers.push(slopes.collect::<Option<Vec<i64>>>().ok_or(Fault::Overflow { layer: index })?);
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
    for (index, layer) in network.layers.iter().enumerate() {
        let slopes = slopes.layers.get(index).filter(|s| s.len() == layer.outputs);
        let slopes = slopes.ok_or(Fault::ShapeMismatch { layer: index })?;
        if current.len() != layer.inputs {
            return Err(Fault::ShapeMismatch { layer: index });
        }
        let rows = layer.absolute.chunks_exact(layer.inputs).zip(slopes);
        let next: Option<Vec<i64>> = rows.map(|(row, &slope)| step(layer, row, slope, &current)).collect();
        current = next.ok_or(Fault::Overflow { layer: index })?;
    }
    Ok(current)
}

fn step(layer: &GridLayer, row: &[i64], slope: i64, current: &[i64]) -> Option<i64> {
    let spread = ceil_entry(dot(row, current)?, layer.weight_bits)?;
    ceil_entry(mul(slope, spread), HULL_SLOPE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::GridScale;
    use crate::ibp::{propagate, value_enclosure};
    use crate::model::{Activation, Layer, Mask, Matrix, Network};
    use crate::number::{Dyadic, Rational};

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
        let input = GridBox { lower: vec![-ONE / 4, 3 * ONE / 4], upper: vec![ONE / 4, 5 * ONE / 4] };
        let table = TanhTable::shared();
        let bounds: Vec<_> = networks.iter().map(|n| propagate(n, table, &input).unwrap()).collect();
        assert_eq!((bounds[0].post[0].upper[0], bounds[1].post[0].upper[0]), (0, ONE / 4));
        let alone = hull_slopes(&networks[0], table, &[&bounds[0]]).unwrap();
        assert_eq!(alone.layers, vec![vec![0]]);
        let slopes = hull_slopes(&networks[0], table, &bounds.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(slopes.layers, vec![vec![STEEP]]);
        let radii = [ONE / 4, ONE / 4];
        assert_eq!(deviation(&networks[0], &slopes, &radii), Ok(vec![ONE / 2]));
        assert_eq!(deviation(&networks[1], &slopes, &radii), Ok(vec![ONE / 4]));
    }

    /// On the grid of 2^-48: leaky 1/3 has slope `ceil(2^60 / 3)` below 0; a clip to `[-1, 1]` is flat from 1 on; tanh and
    /// logistic are steepest at 0: 1 and 1/4. tanh'(1) = 0.41997434161402606939...
    #[test]
    fn largest_slopes_by_hand() {
        let table = TanhTable::shared();
        let over = |a: &GridActivation, l, u| largest_slope(a, table, 48, l, u).unwrap();
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

    #[test]
    fn hulls_of_other_shapes_are_refused() {
        let [network, _] = pair();
        let table = TanhTable::shared();
        let shape = || Fault::ShapeMismatch { layer: 0 };
        assert_eq!(hull_slopes(&network, table, &[]), Err(shape()));
        assert_eq!(hull_slopes(&network, table, &[&LayerBounds::default()]), Err(shape()));
        let slopes = HullSlopes { layers: vec![vec![STEEP]] };
        assert_eq!(deviation(&network, &slopes, &[1]), Err(shape()));
        assert_eq!(deviation(&network, &HullSlopes { layers: vec![] }, &[1, 1]), Err(shape()));
        assert_eq!(deviation(&network, &slopes, &[1, 1]), Ok(vec![2]));
        let huge = deviation(&network, &slopes, &[i64::MAX, i64::MAX]);
        assert_eq!(huge, Err(Fault::Overflow { layer: 0 }));
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
        ];
        for activation in &activations {
            for (lower, upper) in [(-5, 2), (-2, 5), (1, 4), (-4, -1), (0, 3), (-3, 0), (-1, 2)] {
                let ends = (lower * quarter, upper * quarter);
                let (least, largest) = slope_range(activation, table, bits, ends).unwrap();
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
