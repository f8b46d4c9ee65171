//! Rules `back.frame` and `conc.form`: neurons as functions of the inputs, affine but for a rest, and the largest value of a functional
//! with second-order terms of such neurons. Trusted. `spec/rules/quadratic.md`; Singla and Feizi 2020, arXiv:2006.00731 (the curvature
//! of a network as a matrix).
//!
//! Over inputs `m + d` with `|d_i| <= r_i`, a neuron is `p + g . d` and a rest. `sum_j s_j (z_j - p_j)^2` is then a quadratic form in
//! `d`, in whose entries neurons cancel, and what the rests add.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::take;

use crate::back::{Functional, concretize, row_floors};
use crate::fault::Fault;
use crate::grid::GridNetwork;
use crate::input::InputSet;
use crate::interval::Interval;
use crate::product::{column_floors, dot};
use crate::table::{Table, Weights};
use crate::wide::{AtLayer, Wide, absolute_sum, every, magnitudes, mul, total, zip_exact};

/// Neurons of the first layers over an input set, from the first layer on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    value_bits: u32,
    coefficient_bits: u32,
    /// The middle of each input's interval, on the value grid.
    middles: Vec<i64>,
    /// How far each input may be from it.
    radii: Vec<i64>,
    /// `g` of all neurons, neurons x inputs, on the coefficient grid.
    rows: Table<i64>,
    /// The same, inputs x neurons.
    columns: Vec<Vec<i64>>,
    /// How far a neuron's `(z - p)^2` may be from `(g . d)^2`, on the value grid.
    squares: Vec<i64>,
    /// What the steps cost by which entries of the form are cut off, on the grid of constants.
    floors: i128,
}

/// A neuron's place among the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// `p`, on the value grid.
    pub point: i64,
    /// `g`, on the coefficient grid.
    pub direction: Vec<i64>,
    /// How far `(z - p)^2` may be from `(g . d)^2`, on the value grid.
    pub square: i64,
}

/// Inputs that a form may have: its matrix has the square of their number.
const MAX_INPUTS: usize = 1 << 10;

impl Frames {
    /// No neuron yet.
    ///
    /// # Errors
    /// [`Fault::TooManyInputs`]; [`Fault::Overflow`]; [`Fault::ShapeMismatch`] without an input.
    pub fn new(network: &GridNetwork, input: &InputSet) -> Result<Self, Fault> {
        if input.region.len() > MAX_INPUTS {
            return Err(Fault::TooManyInputs { inputs: input.region.len() });
        }
        let middles: Vec<i64> =
            input.region.intervals().map(|(lower, upper)| lower.midpoint(upper)).collect();
        let radii =
            zip_exact(input.region.intervals(), &middles, 0)?.map(|(ends, middle)| reach(ends, *middle));
        let inputs = middles.len();
        Ok(Self {
            value_bits: network.value_bits,
            coefficient_bits: network.coefficient_bits,
            radii: every(radii).within(0)?,
            middles,
            rows: Table::new(0, inputs, Vec::new(), 0)?,
            columns: vec![Vec::new(); inputs],
            squares: Vec::new(),
            floors: 0,
        })
    }

    /// Rule `back.frame`: a neuron that is nowhere above the functional `above` of the inputs, and whose negation is nowhere above `below`.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn frame(&self, [below, above]: [Functional; 2], input: &InputSet) -> Result<Frame, Fault> {
        let bits = self.coefficient_bits;
        let direction = above.coefficients;
        // `g . x - z` is at most `(g + h) . x + b`.
        let apart = zip_exact(&direction, &below.coefficients, 0)?.map(|(g, h)| g.checked_add(*h));
        let less = Wide::from(concretize(&every(apart).within(0)?, below.constant, input)?).ceil(bits);
        let more = Wide::from(above.constant).ceil(bits);
        // A step for the image of the middle; half of one that may be cut off is in the other half, rounded up.
        let (middle, shift) = (dot(&direction, &self.middles, 0)?.floor(bits), (more - less).floor(1));
        let rest = ((more + less).ceil(1) + 1i64).entry().within(0)?.max(0);
        let square = self.square(&direction, rest)?;
        Ok(Frame { point: (middle + shift).entry().within(0)?, direction, square })
    }

    /// `e (2 |g . d| + e)` for a rest of magnitude `e`, at most.
    fn square(&self, direction: &[i64], rest: i64) -> Result<i64, Fault> {
        let sizes = every(direction.iter().map(|g| g.checked_abs())).within(0)?;
        let distance = dot(&sizes, &self.radii, 0)?.ceil(self.coefficient_bits);
        ((distance * 2i64 + rest) * rest).ceil(self.value_bits).entry().within(0)
    }

    /// Adds a layer's neurons; one without a frame has no second-order term.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn push(&mut self, frames: Vec<Option<Frame>>) -> Result<(), Fault> {
        let mut rows = self.rows.values().to_vec();
        for frame in frames {
            let (direction, square) = match frame {
                Some(Frame { direction, square, .. }) => (direction, square),
                None => (vec![0; self.radii.len()], 0),
            };
            self.squares.push(square);
            for (column, &g) in zip_exact(&mut self.columns, &direction, 0)? {
                column.push(g);
            }
            rows.extend(direction);
        }
        self.rows = Table::new(self.squares.len(), self.radii.len(), rows, 0)?;
        // Each entry of the form is cut off by at most a step, and each of the numbers it is made of by one for each neuron.
        let mut steps = Wide::from(0i64);
        for (column, &radius) in zip_exact(&self.columns, &self.radii, 0)? {
            let sizes = i128::try_from(absolute_sum(column)).ok().within(0)?;
            steps = steps + (Wide::from(sizes).ceil(self.coefficient_bits) + 1i64) * radius;
        }
        let all = total(self.radii.iter().map(|&radius| radius.into()));
        self.floors = (steps.ceil(self.value_bits) * all * 2i64).get().within(0)?;
        Ok(())
    }

    /// Rule `conc.form`: the largest value, on the value grid, of a functional of the inputs and half of `sum_j s_j (z_j - p_j)^2` over the
    /// input set, `s` the first neurons' second-order coefficients on the coefficient grid; and the functional that is above both.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn concretize(
        &self,
        functional: Functional,
        mut seconds: Vec<i64>,
        input: &InputSet,
    ) -> Result<(i64, Functional), Fault> {
        let Functional { coefficients, mut constant, layer } = functional;
        let on_grid = |bound: i128| Wide::from(bound).ceil(self.coefficient_bits).entry().within(0);
        if seconds.is_empty() {
            let bound = on_grid(concretize(&coefficients, constant, input)?)?;
            return Ok((bound, Functional { coefficients, constant, layer }));
        }
        seconds.resize(self.squares.len().max(seconds.len()), 0);
        let sizes = every(seconds.iter().map(|second| second.checked_abs())).within(0)?;
        let paid = (dot(&sizes, &self.squares, 0)? + self.floors).ceil(1) + constant;
        let matrix = self.matrix(&seconds)?;
        constant = (self.largest(&vec![0; self.radii.len()], &matrix)? + paid).get().within(0)?;
        let apart = concretize(&coefficients, constant, input)?;
        let joint = self.largest(&coefficients, &matrix)? + paid + dot(&coefficients, &self.middles, 0)?;
        let bound = on_grid(apart.min(joint.get().within(0)?))?;
        Ok((bound, Functional { coefficients, constant, layer }))
    }

    /// `sum_j s_j g_ji g_jk` for inputs i and k, on the coefficient grid, a row an input.
    fn matrix(&self, seconds: &[i64]) -> Result<Vec<Vec<i64>>, Fault> {
        let bits = self.coefficient_bits;
        let lists = self.columns.iter().map(|column| {
            let products = zip_exact(seconds, column, 0)?;
            every(products.map(|(&second, &g)| Wide::from(mul(second, g)).floor(bits).entry())).within(0)
        });
        let lists = lists.collect::<Result<Vec<_>, Fault>>()?;
        let lists: Vec<&[i64]> = lists.iter().map(Vec::as_slice).collect();
        let reach = lists.iter().map(|list| absolute_sum(list)).fold(0, u128::max);
        let largest = magnitudes(self.rows.values());
        // What stands left of the diagonal is what stands above it: here a row begins on it.
        let mut upper: Vec<Vec<i64>> = Vec::with_capacity(lists.len());
        for lists in lists.chunks(BLOCK) {
            let weights = Weights { table: &self.rows, from: upper.len(), largest, bits };
            let rows = match column_floors(lists, reach, weights) {
                Some(rows) => rows,
                None => lists.iter().map(|list| row_floors(list, weights, 0)).collect::<Result<_, _>>()?,
            };
            upper.extend(
                rows.into_iter().enumerate().map(|(before, row)| row.into_iter().skip(before).collect()),
            );
        }
        let row = |(index, own): (usize, &Vec<i64>)| {
            let left = upper.iter().take(index).enumerate();
            let left = left.map(|(other, row)| row.get(index.checked_sub(other)?).copied());
            let left = every(left).shaped(0)?;
            Ok([&left[..], own].concat())
        };
        upper.iter().enumerate().map(row).collect()
    }

    /// At least the largest `c . d + d' M d / 2` over `|d_i| <= r_i`, on the grid of constants.
    ///
    /// An input along which the slope cannot change its sign, wherever those are that are not fixed yet, is at an end where the value is
    /// largest, and is fixed there. The terms of those that never are fixed are bounded one by one.
    fn largest(&self, linear: &[i64], matrix: &[Vec<i64>]) -> Result<Wide, Fault> {
        let mut axes = Vec::with_capacity(matrix.len());
        let inputs = zip_exact(linear, &self.radii, 0)?;
        for (index, (row, (&slope, &radius))) in zip_exact(matrix, inputs, 0)?.enumerate() {
            let sizes = every(row.iter().map(|entry| entry.checked_abs())).within(0)?;
            axes.push(Axis {
                radius,
                own: mul(*row.get(index).shaped(0)?, radius),
                slope: Wide::from(slope).scaled(self.value_bits).get().within(0)?,
                open: dot(&sizes, &self.radii, 0)?.get().within(0)?,
                fixed: false,
            });
        }
        let mut more = true;
        while take(&mut more) {
            for (index, row) in matrix.iter().enumerate() {
                let axis = axes.get_mut(index).shaped(0)?;
                if axis.fixed || axis.slope.unsigned_abs() < axis.open.unsigned_abs() {
                    continue;
                }
                (axis.fixed, more) = (true, true);
                let end = if axis.slope < 0 { axis.radius.checked_neg().within(0)? } else { axis.radius };
                for (other, &entry) in zip_exact(&mut axes, row, 0)?.filter(|(other, _)| !other.fixed) {
                    let moved = mul(entry, end);
                    other.slope = other.slope.checked_add(moved).within(0)?;
                    other.open = other.open.checked_sub(moved.checked_abs().within(0)?).within(0)?;
                }
            }
        }
        let mut sum = Wide::from(0i64);
        for Axis { radius, own, slope, open, fixed } in axes {
            // The square of an input that is not fixed may be 0.
            let bent = if fixed { own } else { open.checked_add(own.min(0)).within(0)? };
            let twice = Wide::from(slope.checked_abs().within(0)?) * 2i64 + bent;
            sum = sum + twice.ceil(self.value_bits.checked_add(1).within(0)?) * radius;
        }
        Ok(sum)
    }
}

/// Inputs whose rows of the matrix are had together.
const BLOCK: usize = 64;

/// An input on the way to a corner.
struct Axis {
    radius: i64,
    /// The radius times its entry on the diagonal.
    own: i128,
    /// The slope along it, with value and coefficient bits, where inputs that are fixed are at their ends and the others in the middle.
    slope: i128,
    /// How much inputs that are not fixed, itself among them, may change of that.
    open: i128,
    fixed: bool,
}

/// The larger distance of an interval's ends from a point between them.
fn reach((lower, upper): Interval, point: i64) -> Option<i64> {
    Some(upper.checked_sub(point)?.max(point.checked_sub(lower)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use num_bigint::BigInt;

    use super::*;
    use crate::interval::GridBox;

    const BITS: u32 = 20;
    const ONE: i64 = 1 << BITS;

    /// Of a network only the grids are read.
    fn network() -> GridNetwork {
        grids(BITS)
    }

    fn grids(coefficient_bits: u32) -> GridNetwork {
        GridNetwork { layers: Vec::new(), value_bits: BITS, coefficient_bits }
    }

    fn input(ends: &[Interval]) -> InputSet {
        let region = GridBox::from_intervals(ends.to_vec());
        InputSet { center: region.clone(), radii: vec![0; ends.len()], region, ball: None }
    }

    fn functional(coefficients: &[i64], constant: i128) -> Functional {
        Functional { coefficients: coefficients.to_vec(), constant, layer: 0 }
    }

    /// Neurons with these directions and rests, at points that the form does not read.
    fn frames(set: &InputSet, neurons: &[(&[i64], i64)]) -> Frames {
        frames_on(&network(), set, neurons)
    }

    fn frames_on(network: &GridNetwork, set: &InputSet, neurons: &[(&[i64], i64)]) -> Frames {
        let mut frames = Frames::new(network, set).unwrap();
        let frame = |&(direction, rest): &(&[i64], i64)| {
            let square = frames.square(direction, rest).unwrap();
            Some(Frame { point: 0, direction: direction.to_vec(), square })
        };
        let own = neurons.iter().map(frame).collect();
        frames.push(own).unwrap();
        frames
    }

    /// `z <= x + y + 1/2` and `-z <= -x - y + 1/4` over `[1, 3] x [-2, 2]`: z is 2 and 1/8, 1 from the left and 2 from the right, within
    /// 3/8 and a step.
    #[test]
    fn frames_by_hand() {
        let set = input(&[(ONE, 3 * ONE), (-2 * ONE, 2 * ONE)]);
        let empty = Frames::new(&network(), &set).unwrap();
        let fraction = |parts: i128| i128::from(ONE) * i128::from(ONE) / 8 * parts;
        let frame = |above: &[i64], below: &[i64], constants: (i128, i128)| {
            let pair = [functional(below, fraction(constants.0)), functional(above, fraction(constants.1))];
            empty.frame(pair, &set).unwrap()
        };
        let found = frame(&[ONE, ONE], &[-ONE, -ONE], (2, 4));
        let square = |rest| empty.square(&[ONE, ONE], rest).unwrap();
        let (direction, rest) = (vec![ONE, ONE], ONE / 8 * 3 + 1);
        assert_eq!(found, Frame { point: 2 * ONE + ONE / 8, direction, square: square(rest) });
        // `|x + y - 2|` is at most 3: `3/8 (6 + 3/8)`, and 27/4 for a step more.
        assert_eq!(square(rest), ONE / 64 * 153 + 7);
        // `-z <= -x + 1/4`: z is at least `x - 1/4`, and `x + y - 1/4` less y, which may be 2: between -9/4 and 1/2.
        let found = frame(&[ONE, ONE], &[-ONE, 0], (2, 4));
        assert_eq!((found.point, found.square), (2 * ONE - ONE / 8 * 7, square(ONE / 8 * 11 + 1)));
        // Contradictory: there is no such neuron, and no rest.
        assert_eq!(frame(&[ONE, ONE], &[-ONE, -ONE], (-8, -8)).square, 0);
        // Steps of the constants count upward: `-z <= -x - y + 1 step` beside `z <= x + y` leaves a step.
        let step = [functional(&[-ONE, -ONE], 1), functional(&[ONE, ONE], 0)];
        let found = empty.frame(step, &set).unwrap();
        assert_eq!((found.point, found.square), (2 * ONE - 1, square(1 + 1)));
    }

    /// Half of `(x + y)^2 - (x - y)^2 = 4 x y` over the unit box: 2 alone, and with `3 x - 3 y` it is 4, at a corner, where both parts
    /// apart are 8. Steps of entries cost a few.
    #[test]
    fn forms_by_hand() {
        let set = input(&[(-ONE, ONE), (-ONE, ONE)]);
        let both = frames(&set, &[(&[ONE, ONE], 0), (&[ONE, -ONE], 0)]);
        let near =
            |(found, value): (i64, i64)| assert!((value..=value + 16).contains(&found), "{found} {value}");
        let bound = |frames: &Frames, c: &[i64], seconds: &[i64], set: &InputSet| {
            frames.concretize(functional(c, 0), seconds.to_vec(), set).unwrap().0
        };
        near((bound(&both, &[0, 0], &[ONE, -ONE], &set), 2 * ONE));
        near((bound(&both, &[3 * ONE, -3 * ONE], &[ONE, -ONE], &set), 4 * ONE));
        near((bound(&both, &[3 * ONE, 3 * ONE], &[ONE, -ONE], &set), 8 * ONE));
        // `3 x + 1/4 y + 2 x y`: once x is at 1 the slope along y is 9/4, and there is none before that.
        near((bound(&both, &[3 * ONE, ONE / 4], &[ONE, -ONE], &set), 3 * ONE + ONE / 4 + 2 * ONE));
        // `x + y / 2 + 2 x y`: no slope has a sign, all terms are added up.
        near((bound(&both, &[ONE, ONE / 2], &[ONE, -ONE], &set), ONE + ONE / 2 + 2 * ONE));
        // Half of `-(x + y)^2`: no more than 0, though its entries off the diagonal might be 1.
        near((bound(&frames(&set, &[(&[ONE, 0], 0)]), &[0, 0], &[-ONE], &set), 0));
        near((bound(&both, &[0, 0], &[-ONE, 0], &set), ONE));
        // `4 x - (x + y)^2 / 2` is 4 at (1, -1): x is at 1, and then y is left with `-y - y^2 / 2`, which falls.
        near((bound(&both, &[4 * ONE, 0], &[-ONE], &set), 4 * ONE));
        // The middle of `[1, 3]` is 2: `(x - 2)^2 / 2 + 3 x` is 1/2 + 9 at 3.
        let right = input(&[(ONE, 3 * ONE)]);
        near((bound(&frames(&right, &[(&[ONE], 0)]), &[3 * ONE], &[ONE], &right), 9 * ONE + ONE / 2));
        // A rest of 1/2 beside `z - p = d + e`, `|d| <= 1`: `(1 + 1/4 + 1) / 2`, and downward the rest counts all the same.
        let rest = frames(&right, &[(&[ONE], ONE / 2)]);
        near((bound(&rest, &[0], &[ONE], &right), ONE / 2 + ONE / 8 * 5));
        near((bound(&rest, &[0], &[-ONE], &right), ONE / 8 * 5));
        // Without second-order coefficients there is nothing but the functional.
        assert_eq!(bound(&rest, &[3 * ONE], &[], &right), 9 * ONE);
    }

    /// What is above both parts is the functional with a constant of its own.
    #[test]
    fn the_functional_above_has_the_form_in_its_constant() {
        let set = input(&[(-ONE, ONE), (-ONE, ONE)]);
        let both = frames(&set, &[(&[ONE, ONE], 0), (&[ONE, -ONE], 0)]);
        let (bound, above) =
            both.concretize(functional(&[3 * ONE, -3 * ONE], 7), vec![ONE, -ONE], &set).unwrap();
        assert_eq!(above.coefficients, [3 * ONE, -3 * ONE]);
        let constant = i128::from(2 * ONE) * i128::from(ONE);
        assert!(
            (constant..constant + i128::from(16 * ONE)).contains(&(above.constant - 7)),
            "{}",
            above.constant
        );
        assert!(i128::from(bound) * i128::from(ONE) < above.constant + i128::from(6 * ONE) * i128::from(ONE));
    }

    /// Of a ball the first maximum knows: `3 x + 4 y` is at most 5 there, and 7 over the box, with nothing that bends.
    #[test]
    fn balls_count_beside_the_form() {
        let mut set = input(&[(-ONE, ONE), (-ONE, ONE)]);
        set.center = GridBox::of(vec![0, 0], vec![0, 0]);
        set.ball = Some(crate::input::GridBall::Euclidean { semi_axes: vec![Some(ONE); 2] });
        let frames = frames(&set, &[(&[ONE, ONE], 0)]);
        let (bound, _) = frames.concretize(functional(&[3 * ONE, 4 * ONE], 0), vec![0], &set).unwrap();
        assert!((5 * ONE..5 * ONE + 16).contains(&bound), "{bound}");
    }

    #[test]
    fn frames_of_other_shapes_are_refused() {
        let set = input(&[(-ONE, ONE), (-ONE, ONE)]);
        let shape = Err(Fault::ShapeMismatch { layer: 0 });
        let overflow = Err(Fault::Overflow { layer: 0 });
        let mut both = frames(&set, &[(&[ONE, ONE], 0)]);
        let narrow = functional(&[ONE], 0);
        let wide = functional(&[ONE, ONE], 0);
        assert_eq!(both.frame([narrow.clone(), wide.clone()], &set).map(|_| ()), shape);
        assert_eq!(both.frame([wide.clone(), narrow.clone()], &set).map(|_| ()), shape);
        let far = functional(&[i64::MAX, 1], 0);
        assert_eq!(both.frame([far.clone(), far], &set).map(|_| ()), overflow);
        let wrong = Frame { point: 0, direction: vec![ONE], square: 0 };
        assert_eq!(both.push(vec![Some(wrong)]), shape);
        let both = frames(&set, &[(&[ONE, ONE], 0)]);
        let rest = [functional(&[0, 0], 0), functional(&[ONE, ONE], i128::from(ONE) << 60)];
        assert_eq!(both.frame(rest, &set).map(|_| ()), overflow);
        let refused = |functional: &Functional, seconds: &[i64]| {
            both.concretize(functional.clone(), seconds.to_vec(), &set).map(|_| ())
        };
        assert_eq!(refused(&wide, &[1]), Ok(()));
        assert_eq!(refused(&narrow, &[1]), shape);
        assert_eq!(refused(&wide, &[1, 1]), shape);
        assert_eq!(refused(&wide, &[i64::MIN]), overflow);
        assert_eq!(refused(&wide, &[i64::MAX]), overflow);
        assert_eq!(Frames::new(&network(), &input(&[])).map(|_| ()), shape);
        let many = vec![(0, 0); MAX_INPUTS + 1];
        let faults = [Ok(()), Err(Fault::TooManyInputs { inputs: MAX_INPUTS + 1 })];
        let made = |inputs: &[Interval]| Frames::new(&network(), &input(inputs)).map(|_| ());
        assert_eq!([made(&many[1..]), made(&many)], faults);
        assert_eq!(Frames::new(&network(), &input(&[(i64::MIN, i64::MAX)])).map(|_| ()), overflow);
    }

    /// Twice the value at a point, with `2 BITS + 3 bits` fraction bits: `2 c . x + 2 C + sum_j s_j (g_j . d)^2`.
    fn twice(
        c: &[i64],
        constant: i128,
        terms: &[(Vec<i64>, i64)],
        x: &[i64],
        d: &[i64],
        bits: u32,
    ) -> BigInt {
        let dot = |a: &[i64], b: &[i64]| a.iter().zip(b).map(|(a, b)| BigInt::from(*a) * b).sum::<BigInt>();
        let squares = terms.iter().map(|(g, s)| dot(g, d).pow(2) * s).sum::<BigInt>();
        ((dot(c, x) + constant) << (BITS + 2 * bits + 1)) + squares
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// No point of a box, corners and points inside, has more than the bound, whatever the rests do, on coarse grids of coefficients
        /// too; and with one input and no rest the bound is what is found there, within the steps of that grid.
        #[test]
        fn forms_bound_every_point(
            (inputs, bits) in (1..9usize, 2..=BITS),
            seed in prop::collection::vec(-ONE..=ONE, 200),
            slope_shift in 0..6u32,
        ) {
            let mut pool = seed.iter().cycle().copied();
            let mut take = |count: usize| pool.by_ref().take(count).collect::<Vec<i64>>();
            let ends = take(2 * inputs);
            let ends: Vec<Interval> = ends.chunks(2).map(|e| (e[0].min(e[1]), e[0].max(e[1]))).collect();
            let set = input(&ends);
            // Up to 1 in magnitude, on the grid of coefficients; the functional up to 4.
            let coarse = |numbers: Vec<i64>| numbers.iter().map(|x| x >> (BITS - bits)).collect::<Vec<i64>>();
            let terms: Vec<(Vec<i64>, i64)> = (0..5).map(|_| (coarse(take(inputs)), coarse(take(1))[0])).collect();
            let rests: Vec<i64> = take(5).iter().map(|rest| rest.abs() >> 6).collect();
            let (c, constant) = (coarse(take(inputs)), i128::from(take(1)[0]));
            let c: Vec<i64> = c.iter().map(|c| (c * 4) >> slope_shift).collect();
            let neurons: Vec<(&[i64], i64)> =
                terms.iter().map(|(g, _)| g.as_slice()).zip(rests.iter().copied()).collect();
            let frames = frames_on(&grids(bits), &set, &neurons);
            let seconds = terms.iter().map(|(_, s)| *s).collect();
            let (bound, above) = frames.concretize(functional(&c, constant), seconds, &set).unwrap();
            // What rests may add at a point: `sum_j s_j e (2 v + e)`, at its largest with `e` of either sign.
            let more = |d: &[i64]| {
                let one = |((g, s), rest): (&(Vec<i64>, i64), &i64)| {
                    let v: BigInt = g.iter().zip(d).map(|(g, d)| BigInt::from(*g) * d).sum();
                    let e = BigInt::from(*rest) << bits;
                    let of = |e: BigInt| -> BigInt { (&e * (&v * 2 + &e)) * s };
                    of(e.clone()).max(of(-e)).max(BigInt::from(0))
                };
                terms.iter().zip(&rests).map(one).sum::<BigInt>()
            };
            let bound = BigInt::from(bound) << (BITS + 3 * bits + 1);
            let mut largest: Option<BigInt> = None;
            for corner in 0..1usize << inputs {
                let end = |(i, (lower, upper)): (usize, &Interval)| if corner >> i & 1 == 0 { *lower } else { *upper };
                let mut x: Vec<i64> = ends.iter().enumerate().map(end).collect();
                for round in 0..3 {
                    let d: Vec<i64> = x.iter().zip(&frames.middles).map(|(x, m)| x - m).collect();
                    let value = twice(&c, constant, &terms, &x, &d, bits) + more(&d);
                    prop_assert!(value <= bound);
                    prop_assert!(value <= twice(&c, above.constant, &[], &x, &d, bits));
                    largest = largest.max(Some(value));
                    // Then points inside.
                    let at = take(inputs);
                    let inner = |((x, (l, u)), at): ((&mut i64, &Interval), &i64)| {
                        *x = l + (((u - l) * at.abs()) >> BITS) / (round + 1);
                    };
                    x.iter_mut().zip(&ends).zip(&at).for_each(inner);
                }
            }
            if inputs == 1 && rests.iter().all(|rest| *rest == 0) {
                prop_assert!(bound - largest.unwrap() <= BigInt::from(64) << (2 * BITS + 2 * bits + 1));
            }
        }
    }
}
