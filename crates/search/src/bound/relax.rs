//! Lines below and above an activation over an interval: chords where the function bends one way, tangents elsewhere.
//! Untrusted: only the slopes reach the checker, which derives its own intercepts. `spec/rules/README.md` (LINE-UP, LINE-LO,
//! SMOOTH).

pub(crate) mod elu;
mod silu;

use crate::bound::FloatBounds;
use crate::float::FloatActivation;

/// Where in its interval a neuron that is bounded from below is likely to be at the minimum: a little under the middle,
/// since the minimum over the inputs pushes it down. Widths of the reference networks a and b are least around here,
/// 0.1 to 3 % under those with tangents at the middle.
pub(super) const LIKELY: f64 = 0.4375;

/// Two lines around one activation: `lower_slope * z + lower_intercept <= act(z) <= upper_slope * z + upper_intercept`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FloatLines {
    /// Slope of the line below.
    pub lower_slope: f64,
    /// Intercept of the line below.
    pub lower_intercept: f64,
    /// Slope of the line above.
    pub upper_slope: f64,
    /// Intercept of the line above.
    pub upper_intercept: f64,
}

impl FloatLines {
    fn exact(slope: f64, intercept: f64) -> Self {
        Self {
            lower_slope: slope,
            lower_intercept: intercept,
            upper_slope: slope,
            upper_intercept: intercept,
        }
    }

    /// Whether both lines are the same, so that nothing is lost.
    pub fn is_exact(&self) -> bool {
        self.lower_slope == self.upper_slope && self.lower_intercept == self.upper_intercept
    }

    /// The lines of `-act(-z)` from those of `act(z)`.
    fn mirrored(self) -> Self {
        Self {
            lower_slope: self.upper_slope,
            lower_intercept: -self.upper_intercept,
            upper_slope: self.lower_slope,
            upper_intercept: -self.lower_intercept,
        }
    }

    /// The lines of `act(z - by) + lift`.
    fn moved(self, by: f64, lift: f64) -> Self {
        Self {
            lower_intercept: self.lower_intercept - self.lower_slope * by + lift,
            upper_intercept: self.upper_intercept - self.upper_slope * by + lift,
            ..self
        }
    }
}

/// The lines of a whole layer, sorted into those that lose nothing and the others.
#[derive(Clone, Debug, Default)]
pub struct LayerLines {
    /// One pair of lines per neuron.
    pub lines: Vec<FloatLines>,
    /// Neurons with a single, homogeneous line of nonzero slope (identity, active ReLU).
    pub exact: Vec<u32>,
    /// Neurons with two lines or an intercept. A neuron in neither list is the constant 0.
    pub loose: Vec<u32>,
    /// Both, ascending.
    pub used: Vec<u32>,
}

impl LayerLines {
    /// Fills in the default lines of a layer whose pre-activations lie in `pre`.
    pub fn set(&mut self, activation: FloatActivation, pre: &FloatBounds) {
        self.lines.clear();
        self.lines.extend(pre.lower.iter().zip(&pre.upper).map(|(l, u)| lines(activation, *l, *u)));
        self.sort();
    }

    fn sort(&mut self) {
        self.exact.clear();
        self.loose.clear();
        self.used.clear();
        for (neuron, lines) in (0u32..).zip(&self.lines) {
            if !lines.is_exact() || lines.lower_intercept != 0.0 {
                self.loose.push(neuron);
            } else if lines.lower_slope != 0.0 {
                self.exact.push(neuron);
            } else {
                continue;
            }
            self.used.push(neuron);
        }
    }
}

/// Default lines over `[l, u]` (swapped if `l > u`): the chord on the side where it is valid; for a ReLU below, slope 1
/// if `u > -l`, else 0; for curves the line that is best at the likely place `l + 7/16 (u - l)` (above:
/// `u - 7/16 (u - l)`), which is the tangent there, or where that crosses the function, the tangent through the far end.
///
/// # References
/// Zhang et al. 2018, arXiv:1811.00866, section 3.3.
pub fn lines(activation: FloatActivation, l: f64, u: f64) -> FloatLines {
    let (l, u) = if l <= u { (l, u) } else { (u, l) };
    match activation {
        FloatActivation::Identity => FloatLines::exact(1.0, 0.0),
        FloatActivation::Relu => hinge(0.0, l, u),
        FloatActivation::LeakyRelu(slope) => hinge(slope, l, u),
        FloatActivation::Tanh => tanh_lines(l, u),
        FloatActivation::Sigmoid => {
            let half = tanh_lines(0.5 * l, 0.5 * u);
            FloatLines {
                lower_slope: 0.25 * half.lower_slope,
                lower_intercept: 0.5 + 0.5 * half.lower_intercept,
                upper_slope: 0.25 * half.upper_slope,
                upper_intercept: 0.5 + 0.5 * half.upper_intercept,
            }
        }
        FloatActivation::Clip(low, high) => clip_lines(low, high, l, u),
        FloatActivation::Elu(alpha) => elu::lines(alpha, l, u),
        FloatActivation::Silu => silu::lines(l, u),
    }
}

/// `z` for `z >= 0`, else `slope * z`.
fn hinge(slope: f64, l: f64, u: f64) -> FloatLines {
    if l >= 0.0 {
        return FloatLines::exact(1.0, 0.0);
    }
    if u <= 0.0 {
        return FloatLines::exact(slope, 0.0);
    }
    let chord = (u - slope * l) / (u - l);
    FloatLines {
        lower_slope: if u > -l { 1.0 } else { slope },
        lower_intercept: 0.0,
        upper_slope: chord,
        upper_intercept: (1.0 - chord) * u,
    }
}

fn clip_lines(low: f64, high: f64, l: f64, u: f64) -> FloatLines {
    if u <= low {
        return FloatLines::exact(0.0, low);
    }
    if l >= high {
        return FloatLines::exact(0.0, high);
    }
    if u <= high {
        return hinge(0.0, l - low, u - low).moved(low, low);
    }
    if l >= low {
        return hinge(0.0, high - u, high - l).mirrored().moved(high, high);
    }
    // Both kinks inside: the hull is a chord from each end to the far kink; flat lines where they cut off less.
    let rise = (high - low) / (high - l);
    let fall = (high - low) / (u - low);
    let middle = 0.5 * (l + u);
    let upper =
        if rise * (u - high) < high - middle.min(high) { (rise, high - rise * high) } else { (0.0, high) };
    let lower = if fall * (low - l) < middle.max(low) - low { (fall, low - fall * low) } else { (0.0, low) };
    FloatLines {
        lower_slope: lower.0,
        lower_intercept: lower.1,
        upper_slope: upper.0,
        upper_intercept: upper.1,
    }
}

fn tanh_lines(l: f64, u: f64) -> FloatLines {
    let (tl, tu) = (l.tanh(), u.tanh());
    let (lower_slope, lower_intercept) = tanh_below(l, u, tl, tu);
    let (upper_slope, mirrored) = tanh_below(-u, -l, -tu, -tl);
    FloatLines { lower_slope, lower_intercept, upper_slope, upper_intercept: -mirrored }
}

/// The line below tanh over `[l, u]`, `(slope, intercept)`.
fn tanh_below(l: f64, u: f64, tl: f64, tu: f64) -> (f64, f64) {
    let likely = l + LIKELY * (u - l);
    if u <= 0.0 {
        return tangent_at(likely, likely.tanh());
    }
    let chord = chord_slope(l, u, tl, tu);
    if l >= 0.0 || chord <= 1.0 - tl * tl {
        return (chord, (tl - chord * l).min(tu - chord * u));
    }
    let (point, value) = tanh_tangent_below(u, tu);
    let (point, value) = if likely < point { (likely, likely.tanh()) } else { (point, value) };
    let (slope, intercept) = tangent_at(point, value);
    (slope, intercept.min(tu - slope * u))
}

/// Slope of the chord of tanh; of the flatter end where the interval is too short for a quotient.
pub fn chord_slope(l: f64, u: f64, tl: f64, tu: f64) -> f64 {
    if u - l > 1e-7 { (tu - tl) / (u - l) } else { 1.0 - (tl * tl).max(tu * tu) }
}

/// The tangent of tanh at `point`, whose value is `value`.
pub fn tangent_at(point: f64, value: f64) -> (f64, f64) {
    let slope = 1.0 - value * value;
    (slope, value - slope * point)
}

/// The point `d < 0` (and `tanh d`) whose tangent passes through `(u, tanh u)`, `u > 0`, by Newton's method. A point off
/// by a rounding error still gives a line below the function once the intercept is taken at both places.
pub fn tanh_tangent_below(u: f64, tu: f64) -> (f64, f64) {
    // Near 0 tanh is a cubic, whose tangent point is -u/2; far out 1 - tanh(q) = 1 / (u + q).
    let far = 0.5 * (2.0 * u + 1.0).ln();
    let mut point = -(0.5 * u).min(far);
    for _ in 0..30 {
        let value = point.tanh();
        let slope = 1.0 - value * value;
        let gap = slope * (u - point) - (tu - value);
        let bend = -2.0 * value * slope * (u - point);
        let next = (point - gap / bend).clamp(-u, -0.125 * u.min(1.0));
        if !next.is_finite() {
            break;
        }
        let moved = (next - point).abs();
        point = next;
        if moved <= 1e-9 * u {
            break;
        }
    }
    (point, point.tanh())
}

/// Between which values the free number of a line may move: the slope of the line below a (leaky) ReLU, the tangent point
/// of a curve (of `tanh(z / 2)` for sigmoid, in units of `z / 2`; of ELU see `elu::range_below`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreeRange {
    /// Least value.
    pub least: f64,
    /// Greatest value.
    pub greatest: f64,
    /// Value of the default line.
    pub start: f64,
}

impl FreeRange {
    /// The range of the negative number.
    fn flipped(self) -> Self {
        Self { least: -self.greatest, greatest: -self.least, start: -self.start }
    }
}

/// The ranges of the lines below and above over `[l, u]`; `None` where only the default line is used.
pub fn free_ranges(activation: FloatActivation, l: f64, u: f64) -> [Option<FreeRange>; 2] {
    let hinge = |slope: f64| {
        (l < 0.0 && u > 0.0).then(|| FreeRange {
            least: slope,
            greatest: 1.0,
            start: if u > -l { 1.0 } else { slope },
        })
    };
    match activation {
        FloatActivation::Relu => [hinge(0.0), None],
        FloatActivation::LeakyRelu(slope) => [hinge(slope), None],
        FloatActivation::Tanh => tangent_ranges(l, u),
        FloatActivation::Sigmoid => tangent_ranges(0.5 * l, 0.5 * u),
        FloatActivation::Identity | FloatActivation::Clip(..) => [None, None],
        FloatActivation::Elu(alpha) => [elu::range_below(alpha, l, u), None],
        FloatActivation::Silu => silu::ranges(l, u),
    }
}

fn tangent_ranges(l: f64, u: f64) -> [Option<FreeRange>; 2] {
    let below = tangent_range_below(l, u);
    let above = tangent_range_below(-u, -l);
    [below, above.map(FreeRange::flipped)]
}

fn tangent_range_below(l: f64, u: f64) -> Option<FreeRange> {
    if l >= 0.0 || u <= l {
        return None;
    }
    let greatest = if u <= 0.0 { u } else { tanh_tangent_below(u, u.tanh()).0 };
    let start = (l + LIKELY * (u - l)).min(greatest);
    (greatest > l).then_some(FreeRange { least: l, greatest, start })
}

/// The tightest lines with given slopes over `[l, u]`, as the checker derives them.
pub fn lines_with_slopes(
    activation: FloatActivation,
    l: f64,
    u: f64,
    lower_slope: f64,
    upper_slope: f64,
) -> FloatLines {
    FloatLines {
        lower_slope,
        lower_intercept: extreme(activation, l, u, lower_slope, -1.0),
        upper_slope,
        upper_intercept: extreme(activation, l, u, upper_slope, 1.0),
    }
}

/// Largest (`sign` 1) or least (`sign` -1) value of `act(z) - slope * z` over `[l, u]`: at an end, at a kink, or where the
/// derivative is `slope`.
fn extreme(activation: FloatActivation, l: f64, u: f64, slope: f64, sign: f64) -> f64 {
    let inner = match activation {
        FloatActivation::Identity => [l, u],
        FloatActivation::Relu | FloatActivation::LeakyRelu(_) => [0.0, 0.0],
        FloatActivation::Clip(low, high) => [low, high],
        FloatActivation::Elu(alpha) => elu::touches(alpha, slope),
        FloatActivation::Silu => silu::touches(l, u, slope, sign),
        FloatActivation::Tanh => {
            let touch = (1.0 - slope).max(0.0).sqrt().atanh();
            [-touch, touch]
        }
        FloatActivation::Sigmoid => {
            let touch = 2.0 * (1.0 - 4.0 * slope).max(0.0).sqrt().atanh();
            [-touch, touch]
        }
    };
    let inner = inner.into_iter().filter(|z| l < *z && *z < u);
    let best = inner.chain([l, u]).map(|z| sign * (activation.apply(z) - slope * z));
    sign * best.fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `[-1, 3]`: chord slope 3/4 through (3, 3), slope 1 below since 3 > 1; `[-3, 1]`: slope 0 below. Leaky 1/2 on
    /// `[-2, 1]`: chord from (-2, -1) to (1, 1), slope 2/3.
    #[test]
    fn hinges_have_their_chord_and_the_nearer_slope() {
        let relu = lines(FloatActivation::Relu, -1.0, 3.0);
        let expected =
            FloatLines { lower_slope: 1.0, lower_intercept: 0.0, upper_slope: 0.75, upper_intercept: 0.75 };
        assert_eq!(relu, expected);
        assert_eq!(lines(FloatActivation::Relu, -3.0, 1.0).lower_slope, 0.0);
        let leaky = lines(FloatActivation::LeakyRelu(0.5), -2.0, 1.0);
        assert!((leaky.upper_slope - 2.0 / 3.0).abs() < 1e-15 && leaky.lower_slope == 0.5);
        assert!(lines(FloatActivation::Relu, -3.0, 0.0).is_exact());
    }

    /// Near 0 tanh is `z - z^3 / 3`, whose tangent through the point at `u` touches at `-u / 2`; for every `u` the chord
    /// from the point to `u` has the slope of the tangent.
    #[test]
    fn tangent_points_solve_their_equation() {
        assert!((tanh_tangent_below(1e-3, 1e-3f64.tanh()).0 / -5e-4 - 1.0).abs() < 1e-5);
        for u in [1e-4, 0.1, 0.7, 1.5, 3.0, 8.0, 19.0, 200.0, 1e6] {
            let (d, t) = tanh_tangent_below(u, f64::tanh(u));
            let gap = (1.0 - t * t) * (u - d) - (f64::tanh(u) - t);
            assert!(d < 0.0 && gap.abs() < 1e-9 * u.min(1.0), "{u}: {d}, {gap:e}");
        }
    }

    fn activations() -> impl Strategy<Value = FloatActivation> {
        prop_oneof![
            Just(FloatActivation::Identity),
            Just(FloatActivation::Relu),
            (0.0..1.0f64).prop_map(FloatActivation::LeakyRelu),
            Just(FloatActivation::Tanh),
            Just(FloatActivation::Sigmoid),
            (-2.0..0.5f64, 0.6..2.0f64).prop_map(|(l, u)| FloatActivation::Clip(l, u)),
            (0.01..1.0f64).prop_map(FloatActivation::Elu),
            Just(FloatActivation::Elu(1.0)),
            Just(FloatActivation::Silu),
        ]
    }

    proptest! {
        #[test]
        fn lines_enclose_the_function(
            activation in activations(),
            l in -9.0..6.0f64,
            width in prop_oneof![Just(0.0), 0.0..1e-6f64, 0.0..8.0f64, 0.0..40.0f64],
            below in -0.2..1.2f64,
            above in -0.2..1.2f64,
        ) {
            let u = l + width;
            let own = lines_with_slopes(activation, l, u, below, above);
            for lines in [lines(activation, l, u), own] {
                for step in 0..=200 {
                    let z = l + width * f64::from(step) / 200.0;
                    let y = activation.apply(z);
                    let close = 1e-14 * (1.0 + l.abs() + u.abs());
                    prop_assert!(lines.lower_slope * z + lines.lower_intercept <= y + close);
                    prop_assert!(lines.upper_slope * z + lines.upper_intercept >= y - close);
                }
            }
        }
    }

    /// At the likely place no line through 200 slopes is nearer to the function: the default ones support its hull there.
    #[test]
    fn default_lines_are_best_at_the_likely_place() {
        for activation in CURVES {
            for (l, u) in intervals() {
                let found = lines(activation, l, u);
                let (below, above) = (l + LIKELY * (u - l), u - LIKELY * (u - l));
                let [best_below, best_above] = best_of_slopes(activation, l, u, below, above);
                let close = 1e-12 * (1.0 + l.abs() + u.abs());
                let reached = found.lower_slope * below + found.lower_intercept;
                assert!(
                    reached >= best_below - close,
                    "{activation:?} below {l} {u}: {reached} {best_below}"
                );
                let reached = found.upper_slope * above + found.upper_intercept;
                assert!(
                    reached <= best_above + close,
                    "{activation:?} above {l} {u}: {reached} {best_above}"
                );
            }
        }
    }

    /// The area between the default lines is on average at most 3 % above that between the best lines through 200 slopes.
    #[test]
    fn default_lines_enclose_little_more_than_the_best_of_slopes() {
        for activation in CURVES {
            let ratios = intervals().map(|(l, u)| {
                let (found, middle) = (lines(activation, l, u), 0.5 * (l + u));
                let apart = (found.upper_slope - found.lower_slope) * middle + found.upper_intercept
                    - found.lower_intercept;
                let [below, above] = best_of_slopes(activation, l, u, middle, middle);
                if above - below > 1e-9 { apart / (above - below) } else { 1.0 }
            });
            let (sum, count, most) =
                ratios.fold((0.0, 0.0, 0.0f64), |(sum, count, most), r| (sum + r, count + 1.0, most.max(r)));
            println!("{activation:?}: mean ratio {:.4}, largest {most:.4}", sum / count);
            assert!(sum / count < 1.03, "{activation:?}: {}", sum / count);
        }
    }

    const CURVES: [FloatActivation; 5] = [
        FloatActivation::Tanh,
        FloatActivation::Sigmoid,
        FloatActivation::Elu(1.0),
        FloatActivation::Elu(0.3),
        FloatActivation::Silu,
    ];

    fn intervals() -> impl Iterator<Item = (f64, f64)> {
        let ends = (0..37).map(|i| -6.0 + f64::from(i) / 3.0);
        ends.flat_map(|l| [0.02, 0.3, 1.0, 2.5, 4.0, 6.0, 11.0].map(|width| (l, l + width)))
    }

    /// The highest value at `below` of lines below, and the least at `above` of lines above, over 200 slopes.
    fn best_of_slopes(activation: FloatActivation, l: f64, u: f64, below: f64, above: f64) -> [f64; 2] {
        let derivatives = (0..=400).map(|i| activation.derivative(l + (u - l) * f64::from(i) / 400.0));
        let (least, greatest) =
            derivatives.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, g), d| (l.min(d), g.max(d)));
        let slopes = (0..200).map(|i| least + (greatest - least) * f64::from(i) / 199.0);
        let start = [f64::NEG_INFINITY, f64::INFINITY];
        slopes.map(|slope| lines_with_slopes(activation, l, u, slope, slope)).fold(start, |[b, a], lines| {
            let lower = lines.lower_slope * below + lines.lower_intercept;
            [b.max(lower), a.min(lines.upper_slope * above + lines.upper_intercept)]
        })
    }
}
