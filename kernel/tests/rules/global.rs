//! Rules of `spec/rules/global.md`: each side condition with one accepted and one rejected case.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::float_arithmetic,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]
#![allow(clippy::integer_division, clippy::panic, clippy::as_conversions)]

use num_bigint::BigInt;
use secateur_kernel::fault::Fault;
use secateur_kernel::model::{Activation, Layer, Mask, Matrix, Network, Perturbation};
use secateur_kernel::norm::{
    NormFamily, NormProduct, SpectralWitness, norm_product, norm_product_chain, norm_product_spectral,
    perturbation_size,
};
use secateur_kernel::number::{Dyadic, Rational};
use secateur_kernel::scaled::ScaledNetwork;
use secateur_kernel::sensitivity::sensitivity;
use secateur_testkit::random::Random;

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

fn layer(rows: usize, columns: usize, weights: &[i64], exponent: i32, activation: Activation) -> Layer {
    let values = weights.iter().map(|w| Dyadic::new(*w, exponent)).collect();
    Layer {
        fixed: false,
        weight: Matrix { rows, columns, values },
        bias: vec![Dyadic::new(7, 3); rows],
        activation,
    }
}

fn single(weights: [i64; 4]) -> Network {
    Network { layers: vec![layer(2, 2, &weights, 0, Activation::Identity)] }
}

fn scaled(network: &Network) -> ScaledNetwork {
    ScaledNetwork::new(network).unwrap()
}

fn unit_ball() -> Perturbation {
    Perturbation::L2 { radius: Rational::one() }
}

fn linf(radius: &str) -> Perturbation {
    Perturbation::Linf { radius: r(radius) }
}

fn random_network(random: &mut Random, widths: &[usize]) -> Network {
    let layers = widths.windows(2).map(|pair| {
        let weights: Vec<i64> = (0..pair[0] * pair[1]).map(|_| random.between(-(1 << 24), 1 << 24)).collect();
        layer(pair[1], pair[0], &weights, -26, Activation::Relu)
    });
    Network { layers: layers.collect() }
}

fn random_mask(random: &mut Random, network: &Network, within: Option<&Mask>) -> Mask {
    let tables = network.layers.iter().enumerate().map(|(l, layer)| {
        let kept = |k: usize| within.is_none_or(|m| m.layers[l][k]);
        (0..layer.weight.values.len()).map(|k| kept(k) && !random.bits().is_multiple_of(4)).collect()
    });
    Mask { layers: tables.collect() }
}

/// The exact output of a network of identity and ReLU layers.
fn evaluate(network: &Network, mask: &Mask, input: &[Rational]) -> Vec<Rational> {
    let mut values = input.to_vec();
    for (layer, kept) in network.layers.iter().zip(&mask.layers) {
        let columns = layer.weight.columns;
        let row = |i: usize| {
            let mut sum = layer.bias[i].to_rational();
            for (j, value) in values.iter().enumerate().filter(|(j, _)| kept[i * columns + j]) {
                sum = sum.add(&layer.weight.values[i * columns + j].to_rational().mul(value));
            }
            if layer.activation == Activation::Relu { sum.max(Rational::zero()) } else { sum }
        };
        values = (0..layer.weight.rows).map(row).collect();
    }
    values
}

/// 3|x| + ... by hand: `|W_1| = [[1,2],[3,0]]/2`, `|W_2| = [4, 5]`, radii (1, 1/3): `v_1 = (5/6, 3/2)`, logistic 1/4.
#[test]
fn sensitivity_by_hand() {
    let network = Network {
        layers: vec![
            layer(2, 2, &[1, -2, -3, 0], -1, Activation::Sigmoid),
            layer(1, 2, &[-4, 5], 0, Activation::LeakyRelu { slope: r("1/10") }),
        ],
    };
    let value = sensitivity(&scaled(&network), None, &[r("1"), r("1/3")]).unwrap();
    assert_eq!(value, vec![r("65/24")]);
    let mask = Mask { layers: vec![vec![true, false, true, true], vec![true, false]] };
    assert_eq!(sensitivity(&scaled(&network), Some(&mask), &[r("1"), r("1/3")]).unwrap(), vec![r("1/2")]);
    assert_eq!(sensitivity(&scaled(&network), None, &[r("1/7"), r("1/7")]).unwrap(), vec![r("27/56")]);
}

#[test]
fn sensitivity_bounds_exact_changes_and_falls_along_chains() {
    let mut random = Random(11);
    for _ in 0..20 {
        let network = random_network(&mut random, &[3, 4, 4, 2]);
        let loose = random_mask(&mut random, &network, None);
        let tight = random_mask(&mut random, &network, Some(&loose));
        let radii: Vec<Rational> = ["1/3", "2/7", "0"].map(r).to_vec();
        let dense = sensitivity(&scaled(&network), None, &radii).unwrap();
        let before = sensitivity(&scaled(&network), Some(&loose), &radii).unwrap();
        let after = sensitivity(&scaled(&network), Some(&tight), &radii).unwrap();
        assert!(dense.iter().zip(&before).all(|(a, b)| a >= b));
        assert!(before.iter().zip(&after).all(|(a, b)| a >= b));
        for _ in 0..20 {
            let state: Vec<Rational> =
                (0..3).map(|_| Rational::from_dyadic(random.between(-99, 99).into(), -5)).collect();
            let moved: Vec<Rational> = state
                .iter()
                .zip(&radii)
                .map(|(s, radius)| {
                    s.add(&radius.mul(&Rational::from_dyadic(random.between(-8, 8).into(), -3)))
                })
                .collect();
            let (one, two) = (evaluate(&network, &tight, &state), evaluate(&network, &tight, &moved));
            assert!(one.iter().zip(&two).zip(&after).all(|((a, b), bound)| a.sub(b).abs() <= *bound));
        }
    }
}

/// A common denominator of more than 1024 bits: the radii are rounded up, by less than 2^-128 each.
#[test]
fn long_denominators_are_rounded_up() {
    let network = single([1, 0, 0, 1]);
    let long = Rational::new(BigInt::from(1), BigInt::from(3).pow(700)).unwrap();
    let value = sensitivity(&scaled(&network), None, &[long.clone(), r("1/3")]).unwrap();
    assert!(value[0] >= long && value[1] > r("1/3"));
    assert!(value[1].sub(&r("1/3")) < Rational::from_dyadic(BigInt::from(1), -128));
    let short = Rational::new(BigInt::from(1), BigInt::from(3).pow(600)).unwrap();
    assert_eq!(
        sensitivity(&scaled(&network), None, &[short.clone(), r("1/3")]).unwrap(),
        vec![short, r("1/3")]
    );
}

#[test]
fn shapes_and_radii_are_tested() {
    let network = single([1, 1, 1, -1]);
    let ones = [Rational::one(), Rational::one()];
    assert!(sensitivity(&scaled(&network), None, &ones).is_ok());
    assert_eq!(
        sensitivity(&scaled(&network), None, &ones[..1]),
        Err(Fault::RadiiLength { expected: 2, found: 1 })
    );
    let negative = [Rational::zero(), r("-1/9")];
    assert_eq!(sensitivity(&scaled(&network), None, &negative), Err(Fault::NegativeRadius { coordinate: 1 }));
    let missing = Mask { layers: vec![] };
    let error = || Fault::MaskLayers { expected: 1, found: 0 };
    assert_eq!(sensitivity(&scaled(&network), Some(&missing), &ones), Err(error()));
    let short = Mask { layers: vec![vec![true; 3]] };
    let error = || Fault::MaskShape { layer: 0, expected: 4, found: 3 };
    assert_eq!(sensitivity(&scaled(&network), Some(&short), &ones), Err(error()));
    assert_eq!(ScaledNetwork::new(&Network { layers: vec![] }), Err(Fault::EmptyNetwork));
    let mut ragged = network.clone();
    ragged.layers[0].weight.values.pop();
    assert_eq!(ScaledNetwork::new(&ragged), Err(Fault::LayerShape { layer: 0 }));
    let mut misfit = network;
    misfit.layers.push(layer(1, 3, &[1, 1, 1], 0, Activation::Identity));
    assert_eq!(ScaledNetwork::new(&misfit), Err(Fault::LayerShape { layer: 1 }));
}

/// `[[1,-2],[3,4]]/2`: row sums 3/2 and 7/2, column sums 2 and 3, squares 30/4.
#[test]
fn norms_by_hand() {
    let network = scaled(&Network { layers: vec![layer(2, 2, &[1, -2, 3, 4], -1, Activation::Tanh)] });
    let result = norm_product(&network, None, NormFamily::Linf, &linf("1/5")).unwrap();
    let expected = NormProduct { layers: vec![r("7/2")], product: r("7/2"), deviation: r("7/10") };
    assert_eq!(result, expected);
    let result = norm_product(&network, None, NormFamily::L1, &linf("1/5")).unwrap();
    assert_eq!((result.product, result.deviation), (r("3"), r("6/5")));
    let result = norm_product(&network, None, NormFamily::Frobenius, &unit_ball()).unwrap();
    let square = result.deviation.mul(&result.deviation);
    assert!(square >= r("15/2") && square < r("7.5000000001"));
    let mask = Mask { layers: vec![vec![true, true, false, true]] };
    let result = norm_product(&network, Some(&mask), NormFamily::Linf, &linf("1")).unwrap();
    assert_eq!(result.deviation, r("2"));
    let error = || Fault::WitnessCount { expected: 1, found: 0 };
    assert_eq!(norm_product(&network, None, NormFamily::Spectral, &unit_ball()), Err(error()));
}

/// Rule `norm.abs-spectral` of one mask.
fn abs_spectral(
    network: &ScaledNetwork,
    mask: &Mask,
    vectors: &[Vec<BigInt>],
    perturbation: &Perturbation,
) -> Result<NormProduct, Fault> {
    let chain =
        norm_product_chain(network, std::slice::from_ref(mask), &[Some(vectors.to_vec())], perturbation);
    Ok(chain?.remove(0))
}

/// `|W|^T |W| = [[2,2],[2,2]]` for `[[1,1],[1,-1]]`: `v = (1,1)` gives `rho = 4`, `v = (1,2)` gives 6.
#[test]
fn abs_spectral_by_hand() {
    let network = scaled(&single([1, 1, 1, -1]));
    let vector = |a: i64, b: i64| vec![vec![BigInt::from(a), BigInt::from(b)]];
    let full = Mask { layers: vec![vec![true; 4]] };
    let run = |v: &[Vec<BigInt>]| abs_spectral(&network, &full, v, &unit_ball());
    assert_eq!(run(&vector(1, 1)).unwrap().product, r("2"));
    let poor = run(&vector(1, 2)).unwrap().product;
    assert!(poor.mul(&poor) >= r("6") && poor < r("2.4494897428"));
    assert_eq!(run(&vector(1, 0)), Err(Fault::WitnessNotPositive { layer: 0, coordinate: 1 }));
    assert_eq!(run(&vector(-1, 1)), Err(Fault::WitnessNotPositive { layer: 0, coordinate: 0 }));
    let short = vec![vec![BigInt::from(1)]];
    assert_eq!(run(&short), Err(Fault::WitnessLength { layer: 0, expected: 2, found: 1 }));
    assert_eq!(run(&[]), Err(Fault::WitnessCount { expected: 1, found: 0 }));
    let long = vec![vec![BigInt::from(1) << 513u32, BigInt::from(1)]];
    assert_eq!(run(&long), Err(Fault::WitnessTooLong { layer: 0 }));
    let longest = vec![vec![BigInt::from(1) << 511u32, BigInt::from(1)]];
    assert!(run(&longest).is_ok());
    let zero = scaled(&single([0; 4]));
    assert!(abs_spectral(&zero, &full, &vector(1, 1), &unit_ball()).unwrap().product.is_zero());
}

/// A later mask with a worse vector of its own keeps the earlier one's value.
#[test]
fn a_chain_takes_the_least_and_never_rises() {
    let network = scaled(&single([1, 1, 1, -1]));
    let full = Mask { layers: vec![vec![true; 4]] };
    let fewer = Mask { layers: vec![vec![true, true, true, false]] };
    let good = Some(vec![vec![BigInt::from(1), BigInt::from(1)]]);
    let bad = Some(vec![vec![BigInt::from(1), BigInt::from(9)]]);
    let masks = [full.clone(), fewer.clone()];
    let alone = abs_spectral(&network, &fewer, bad.as_ref().unwrap(), &unit_ball()).unwrap();
    let chain = norm_product_chain(&network, &masks, &[good.clone(), bad], &unit_ball()).unwrap();
    assert!(alone.product > chain[0].product && chain[1].product < chain[0].product);
    let inherited = norm_product_chain(&network, &masks, &[good.clone(), None], &unit_ball()).unwrap();
    assert_eq!(inherited[1], chain[1]);
    let error = || Fault::MissingWitness { mask: 0 };
    assert_eq!(norm_product_chain(&network, &masks, &[None, good.clone()], &unit_ball()), Err(error()));
    let error = || Fault::WitnessCount { expected: 2, found: 1 };
    assert_eq!(norm_product_chain(&network, &masks, &[good], &unit_ball()), Err(error()));
}

/// `W^T W = 2I` for `[[1,1],[1,-1]]`: `rho = 2`, `R = 0` is exact. Pruned to `[[1,1],[1,0]]`, `z = (2,1)` is moved to
/// `(3,2)`: `13 > 10 = 2 |z|^2`, so every sound bound of the pruned matrix is above the dense one's.
#[test]
fn the_spectral_norm_is_not_monotone() {
    let network = scaled(&single([1, 1, 1, -1]));
    let pruned = Mask { layers: vec![vec![true, true, true, false]] };
    let witness = |rho: i64, factor: [i64; 3]| {
        vec![SpectralWitness { rho: BigInt::from(rho), factor: factor.to_vec(), fraction_bits: 0 }]
    };
    let run = |mask, w: &[SpectralWitness]| norm_product_spectral(&network, mask, w, &unit_ball());
    let dense = run(None, &witness(2, [0, 0, 0])).unwrap().product;
    assert!(dense.mul(&dense) >= r("2") && dense < r("1.41421356238"));
    // G = [[2,1],[1,1]], 3I - G = [[1,-1],[-1,2]] = R R^T exactly with R = [[1,0],[-1,1]].
    let bound = run(Some(&pruned), &witness(3, [1, -1, 1])).unwrap().product;
    assert!(bound.mul(&bound) >= r("3") && bound < r("1.73205080757"));
    assert!(bound.mul(&bound).mul(&r("5")) >= r("13") && dense < bound);
    // A wrong factor costs its residual: E = [[-1,1],[1,-2]] + 0 for R = 0 and rho = 2 gives r = 3.
    let loose = run(Some(&pruned), &witness(3, [0, 0, 0])).unwrap().product;
    assert!(loose.mul(&loose) >= r("6") && loose < r("2.4494897428"));
    // Too small a rho cannot lower the bound below the norm, whatever the factor.
    let low = run(Some(&pruned), &witness(-5, [0, 0, 0])).unwrap().product;
    assert!(low.mul(&low).mul(&r("5")) >= r("13"));
}

#[test]
fn spectral_witnesses_have_shapes_and_caps() {
    let network = scaled(&single([1, 1, 1, -1]));
    let good = SpectralWitness { rho: BigInt::from(2), factor: vec![0; 3], fraction_bits: 0 };
    let run = |w: SpectralWitness| norm_product_spectral(&network, None, &[w], &unit_ball());
    assert!(run(good.clone()).is_ok());
    let short = SpectralWitness { factor: vec![0; 2], ..good.clone() };
    assert_eq!(run(short), Err(Fault::WitnessLength { layer: 0, expected: 3, found: 2 }));
    let fine = SpectralWitness { fraction_bits: 1025, ..good.clone() };
    assert_eq!(run(fine), Err(Fault::WitnessTooLong { layer: 0 }));
    let long = SpectralWitness { rho: BigInt::from(1) << 4096u32, ..good.clone() };
    assert_eq!(run(long), Err(Fault::WitnessTooLong { layer: 0 }));
    let wide = SpectralWitness { factor: vec![i64::MIN, 0, 0], ..good };
    assert_eq!(run(wide), Err(Fault::WitnessTooLong { layer: 0 }));
    let error = || Fault::WitnessCount { expected: 1, found: 0 };
    assert_eq!(norm_product_spectral(&network, None, &[], &unit_ball()), Err(error()));
}

/// Random factors and random `rho`, grids coarser and finer than the weights: `|W z|^2 <= bound^2 |z|^2` all the same.
#[test]
fn any_spectral_witness_is_sound() {
    let mut random = Random(12);
    for (rows, columns) in [(2, 3), (3, 2), (3, 3), (1, 4)] {
        for trial in 0..40 {
            let weights: Vec<i64> = (0..rows * columns).map(|_| random.between(-9, 9)).collect();
            let network = Network { layers: vec![layer(rows, columns, &weights, -2, Activation::Identity)] };
            let width = rows.min(columns);
            let factor = (0..width * (width + 1) / 2).map(|_| random.between(-6, 6)).collect();
            let rho = BigInt::from(random.between(-20, 60));
            let witness = SpectralWitness { rho, factor, fraction_bits: trial % 4 };
            let bound =
                norm_product_spectral(&scaled(&network), None, &[witness], &unit_ball()).unwrap().product;
            for _ in 0..50 {
                let z: Vec<i64> = (0..columns).map(|_| random.between(-5, 5)).collect();
                let image =
                    weights.chunks(columns).map(|w| w.iter().zip(&z).map(|(a, b)| a * b).sum::<i64>());
                let square: i64 = image.map(|v| v * v).sum();
                let length: i64 = z.iter().map(|v| v * v).sum();
                let limit = bound.mul(&bound).mul(&Rational::from_integer(BigInt::from(length)));
                assert!(Rational::from_dyadic(BigInt::from(square), -4) <= limit);
            }
        }
    }
}

/// `W = [1/8]`, a witness on integers: `G = 1/64` is rounded to 0, and only the extra unit keeps the bound above 1/8.
#[test]
fn a_grid_coarser_than_the_weights_costs_a_unit() {
    let network = Network { layers: vec![layer(1, 1, &[1], -3, Activation::Identity)] };
    let witness =
        |fraction_bits| vec![SpectralWitness { rho: BigInt::from(0), factor: vec![0], fraction_bits }];
    let run =
        |bits| norm_product_spectral(&scaled(&network), None, &witness(bits), &unit_ball()).unwrap().product;
    assert_eq!(run(0), r("1"));
    assert_eq!(run(3), r("1/8"));
}

#[test]
fn perturbation_sizes() {
    let size = |p: &Perturbation, f| perturbation_size(p, f, 4).unwrap();
    for (family, expected) in [
        (NormFamily::Linf, "1/3"),
        (NormFamily::L1, "4/3"),
        (NormFamily::Frobenius, "2/3"),
        (NormFamily::Spectral, "2/3"),
    ] {
        assert_eq!(size(&linf("1/3"), family), r(expected));
    }
    let ball = Perturbation::L2 { radius: r("1/3") };
    for (family, expected) in
        [(NormFamily::Linf, "1/3"), (NormFamily::L1, "2/3"), (NormFamily::AbsSpectral, "1/3")]
    {
        assert_eq!(size(&ball, family), r(expected));
    }
    let box_of = Perturbation::PerCoordinate { radii: ["1", "5", "3", "1"].map(r).to_vec() };
    for (family, expected) in
        [(NormFamily::Linf, "5"), (NormFamily::L1, "10"), (NormFamily::AbsSpectral, "6")]
    {
        assert_eq!(size(&box_of, family), r(expected));
    }
    let error = || Fault::RadiiLength { expected: 3, found: 4 };
    assert_eq!(perturbation_size(&box_of, NormFamily::L1, 3), Err(error()));
    for shape in [linf("-1"), Perturbation::L2 { radius: r("-1") }] {
        let error = || Fault::NegativeRadius { coordinate: 0 };
        assert_eq!(perturbation_size(&shape, NormFamily::Linf, 4), Err(error()));
    }
}

/// Every norm product bounds exact changes of a random ReLU network.
#[test]
fn norm_products_bound_exact_changes() {
    let mut random = Random(13);
    for _ in 0..10 {
        let network = random_network(&mut random, &[3, 4, 2]);
        let mask = random_mask(&mut random, &network, None);
        let prepared = scaled(&network);
        let ball = linf("1/2");
        let vectors: Vec<Vec<BigInt>> = network
            .layers
            .iter()
            .map(|l| (0..l.weight.columns).map(|_| random.between(1, 9).into()).collect())
            .collect();
        let mut bounds = vec![abs_spectral(&prepared, &mask, &vectors, &ball).unwrap().deviation];
        for family in [NormFamily::Linf, NormFamily::L1, NormFamily::Frobenius] {
            bounds.push(norm_product(&prepared, Some(&mask), family, &ball).unwrap().deviation);
        }
        for _ in 0..20 {
            let state: Vec<Rational> =
                (0..3).map(|_| Rational::from_dyadic(random.between(-99, 99).into(), -5)).collect();
            let moved: Vec<Rational> = state
                .iter()
                .map(|s| s.add(&Rational::from_dyadic((random.between(0, 1) * 2 - 1).into(), -1)))
                .collect();
            let (one, two) = (evaluate(&network, &mask, &state), evaluate(&network, &mask, &moved));
            for (a, b) in one.iter().zip(&two) {
                assert!(bounds.iter().all(|bound| a.sub(b).abs() <= *bound));
            }
        }
    }
}
