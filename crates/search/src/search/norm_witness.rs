//! Witnesses for the norm products: Collatz-Wielandt vectors and triangular factors, found in f64.
//! Untrusted; the checker computes the bound they prove. `spec/rules/global.md#normabs-spectral`, `#normspectral`.

use num_bigint::BigInt;
use secateur_checker::kernel::norm::SpectralWitness;
use secateur_checker::model::{Layer, Mask, Network};
use secateur_checker::number::Dyadic;

/// Power iterations: on published policies the ratio settles below 1e-9 within a hundred.
const ITERATIONS: usize = 300;
/// Entries of a vector are integers up to `2^VECTOR_BITS`.
const VECTOR_BITS: i32 = 40;
/// Entries below this share of the largest are raised to it: a column that a mask silenced needs a positive entry.
const FLOOR: f64 = 1e-9;
/// Significant bits of the largest entry of a factor.
const FACTOR_BITS: i32 = 46;
/// `rho` starts this far (relatively) above the largest eigenvalue and doubles the distance when a pivot vanishes.
const MARGIN: f64 = 1e-10;

/// A masked layer in f64, row-major, out x in.
struct FloatMatrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl FloatMatrix {
    fn new(layer: &Layer, kept: Option<&Vec<bool>>) -> Self {
        let value = |(index, v): (usize, &Dyadic)| match kept.and_then(|k| k.get(index)) {
            Some(false) => 0.0,
            _ => to_f64(*v),
        };
        let values = layer.weight.values.iter().enumerate().map(value).collect();
        Self { rows: layer.weight.rows, columns: layer.weight.columns, values }
    }

    /// `(W^T W) v`.
    fn gram_times(&self, v: &[f64]) -> Vec<f64> {
        let mut image = vec![0.0; self.columns];
        for row in self.values.chunks(self.columns.max(1)) {
            let dot: f64 = row.iter().zip(v).map(|(a, b)| a * b).sum();
            image.iter_mut().zip(row).for_each(|(sum, a)| *sum += a * dot);
        }
        image
    }

    /// `W^T W` or `W W^T`, whichever is smaller, row-major.
    fn gram(&self) -> Vec<f64> {
        let by_rows = self.rows < self.columns;
        let (n, depth) = if by_rows { (self.rows, self.columns) } else { (self.columns, self.rows) };
        let at = |i: usize, k: usize| {
            self.values[if by_rows { i * self.columns + k } else { k * self.columns + i }]
        };
        let mut gram = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let sum: f64 = (0..depth).map(|k| at(i, k) * at(j, k)).sum();
                gram[i * n + j] = sum;
                gram[j * n + i] = sum;
            }
        }
        gram
    }
}

fn to_f64(value: Dyadic) -> f64 {
    // Two steps: 2^exponent alone can underflow where the product is a subnormal number.
    let half = value.exponent / 2;
    value.mantissa as f64 * 2f64.powi(half) * 2f64.powi(value.exponent - half)
}

/// One vector per layer for [`secateur_checker::kernel::norm::norm_product_chain`]: positive integers, close to
/// the leading eigenvector of `|W|^T |W|`. `mask` must fit the network.
pub fn propose_abs_spectral(network: &Network, mask: Option<&Mask>) -> Vec<Vec<BigInt>> {
    let layers = network.layers.iter().enumerate();
    layers.map(|(index, layer)| propose_vector(layer, mask.and_then(|m| m.layers.get(index)))).collect()
}

fn propose_vector(layer: &Layer, kept: Option<&Vec<bool>>) -> Vec<BigInt> {
    let mut matrix = FloatMatrix::new(layer, kept);
    matrix.values.iter_mut().for_each(|v| *v = v.abs());
    normalise(&mut matrix.values);
    let mut vector = vec![1.0; matrix.columns];
    for _ in 0..ITERATIONS {
        let mut image = matrix.gram_times(&vector);
        normalise(&mut image);
        image.iter_mut().for_each(|x| *x = x.max(FLOOR));
        vector = image;
    }
    let scale = 2f64.powi(VECTOR_BITS);
    vector.into_iter().map(|x| BigInt::from(((x * scale).round() as i64).max(1))).collect()
}

/// Divides by the largest magnitude, unless that is 0 or not finite.
fn normalise(values: &mut [f64]) {
    let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if largest > 0.0 && largest.is_finite() {
        values.iter_mut().for_each(|v| *v /= largest);
    }
}

/// One factor per layer for [`secateur_checker::kernel::norm::norm_product_spectral`]: `R R^T` close to `rho I - G`
/// with `rho` just above the largest eigenvalue of `G`. `mask` must fit the network.
pub fn propose_spectral(network: &Network, mask: Option<&Mask>) -> Vec<SpectralWitness> {
    let layers = network.layers.iter().enumerate();
    layers.map(|(index, layer)| propose_factor(layer, mask.and_then(|m| m.layers.get(index)))).collect()
}

fn propose_factor(layer: &Layer, kept: Option<&Vec<bool>>) -> SpectralWitness {
    let matrix = FloatMatrix::new(layer, kept);
    let n = matrix.rows.min(matrix.columns);
    let gram = matrix.gram();
    let largest = largest_eigenvalue(&gram, n);
    let trivial =
        || SpectralWitness { rho: BigInt::from(0), factor: vec![0; n * (n + 1) / 2], fraction_bits: 0 };
    if !(largest > 0.0 && largest.is_finite()) {
        return trivial();
    }
    let mut margin = MARGIN;
    while margin < 4.0 {
        let rho = largest * (1.0 + margin);
        if let Some(factor) = cholesky(&gram, n, rho) {
            return round_factor(&factor, rho);
        }
        margin *= 2.0;
    }
    trivial()
}

/// Power iteration; a lower estimate, which the growing margin makes up for.
fn largest_eigenvalue(gram: &[f64], n: usize) -> f64 {
    // An uneven start is not orthogonal to the leading vector of any matrix with a simple pattern of signs.
    let mut vector: Vec<f64> = (0..n).map(|i| 1.0 + ((i * 37 + 11) % 101) as f64 / 101.0).collect();
    let mut value = 0.0;
    for _ in 0..ITERATIONS {
        normalise(&mut vector);
        let image: Vec<f64> =
            gram.chunks(n.max(1)).map(|r| r.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
        let square: f64 = vector.iter().map(|x| x * x).sum();
        value = image.iter().zip(&vector).map(|(a, b)| a * b).sum::<f64>() / square.max(f64::MIN_POSITIVE);
        vector = image;
    }
    value
}

/// The lower triangular `R`, row by row, with `R R^T = rho I - G`, or `None` if a pivot is not positive.
fn cholesky(gram: &[f64], n: usize, rho: f64) -> Option<Vec<f64>> {
    let start = |i: usize| i * (i + 1) / 2;
    let mut factor = vec![0.0; start(n)];
    for i in 0..n {
        for j in 0..=i {
            let target = if i == j { rho } else { 0.0 } - gram[i * n + j];
            let (a, b) = (&factor[start(i)..start(i) + j], &factor[start(j)..start(j) + j]);
            let rest = target - a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
            factor[start(i) + j] = if i == j {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / factor[start(j) + j]
            };
        }
    }
    Some(factor)
}

fn round_factor(factor: &[f64], rho: f64) -> SpectralWitness {
    let largest = factor.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let bits = (FACTOR_BITS - largest.log2().ceil() as i32).clamp(0, 500);
    let scale = 2f64.powi(bits);
    let rounded = factor.iter().map(|v| (v * scale).round() as i64).collect();
    // rho in two factors, so that 4^bits cannot overflow.
    let mantissa = BigInt::from((rho * scale).ceil() as i128);
    SpectralWitness {
        rho: mantissa << bits.unsigned_abs(),
        factor: rounded,
        fraction_bits: bits.unsigned_abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use secateur_checker::kernel::norm::{
        NormFamily, norm_product, norm_product_chain, norm_product_spectral,
    };
    use secateur_checker::kernel::scaled::ScaledNetwork;
    use secateur_checker::model::{Activation, Matrix, Perturbation};
    use secateur_checker::number::Rational;

    fn random(rng: &mut ChaCha8Rng, rows: usize, columns: usize) -> Layer {
        let values =
            (0..rows * columns).map(|_| Dyadic::new(i64::from(rng.next_u32() as i32 >> 8), -25)).collect();
        let weight = Matrix { rows, columns, values };
        Layer { fixed: false, weight, bias: vec![Dyadic::ZERO; rows], activation: Activation::Tanh }
    }

    fn number(value: &Rational) -> f64 {
        value.floor_scaled(60).to_string().parse::<f64>().unwrap() / 2f64.powi(60)
    }

    fn ball() -> Perturbation {
        Perturbation::L2 { radius: Rational::one() }
    }

    #[test]
    fn witnesses_prove_nearly_the_true_norms() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for (rows, columns) in [(64, 17), (64, 64), (6, 64), (1, 1)] {
            let network = Network { layers: vec![random(&mut rng, rows, columns)] };
            let prepared = ScaledNetwork::new(&network).unwrap();
            let exact =
                norm_product_spectral(&prepared, None, &propose_spectral(&network, None), &ball()).unwrap();
            let matrix = FloatMatrix::new(&network.layers[0], None);
            let truth = largest_eigenvalue(&matrix.gram(), rows.min(columns)).sqrt();
            let found = number(&exact.product);
            assert!(found >= truth * (1.0 - 1e-12) && found <= truth * (1.0 + 1e-4), "{found} {truth}");
            let vectors = propose_abs_spectral(&network, None);
            let full = Mask { layers: vec![vec![true; rows * columns]] };
            let abs = norm_product_chain(&prepared, &[full], &[Some(vectors)], &ball()).unwrap().remove(0);
            let frobenius = norm_product(&prepared, None, NormFamily::Frobenius, &ball()).unwrap();
            assert!(abs.product >= exact.product.mul(&Rational::parse("0.999").unwrap()));
            assert!(abs.product <= frobenius.product.mul(&Rational::parse("1.0000001").unwrap()));
        }
    }

    #[test]
    fn dead_columns_and_zero_layers_get_valid_witnesses() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let network = Network { layers: vec![random(&mut rng, 8, 5), random(&mut rng, 3, 8)] };
        let prepared = ScaledNetwork::new(&network).unwrap();
        let mut masks = vec![Mask { layers: vec![vec![true; 40], vec![true; 24]] }];
        let mut dead = masks[0].clone();
        (0..8).for_each(|row| dead.layers[0][row * 5 + 2] = false);
        masks.push(dead);
        masks.push(Mask { layers: vec![vec![false; 40], vec![false; 24]] });
        let vectors: Vec<_> = masks.iter().map(|m| Some(propose_abs_spectral(&network, Some(m)))).collect();
        let chain = norm_product_chain(&prepared, &masks, &vectors, &ball()).unwrap();
        assert!(chain[0].product >= chain[1].product && chain[2].product.is_zero());
        for mask in &masks {
            let witness = propose_spectral(&network, Some(mask));
            assert!(norm_product_spectral(&prepared, Some(mask), &witness, &ball()).is_ok());
        }
    }
}
