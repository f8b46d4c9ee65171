//! Digests: of files, and of weights, masks and states whatever file format holds them.
//! Trusted. `spec/certificate-files.md#digests`.

use sha2::{Digest, Sha256};

use super::names::Names;
use crate::model::{Activation, Head, Mask, Matrix, Network, Policy};
use crate::number::Dyadic;

/// SHA-256 in lower-case hexadecimal.
///
/// # References
/// FIPS 180-4.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names the weights of a network: `sha256:` and the SHA-256 of the line `secateur.weights/1`, then for each layer its
/// weight and its bias, each as rank, dimensions (u64) and entries (binary64), all little-endian; -0 counts as +0.
///
/// Activations, head, normaliser, tensor names and stored types do not count: every stored type converts exactly.
pub fn weights_digest(network: &Network) -> String {
    let mut digest = Hashed::new("secateur.weights/1\n");
    for layer in &network.layers {
        digest.matrix(&layer.weight);
        digest.vector(&layer.bias);
    }
    digest.finish()
}

/// Names a policy: `sha256:` and the SHA-256 of the line `secateur.policy/1`, then all that its function is made of: number of
/// layers; each layer's weight and bias as in [`weights_digest`], its activation and whether it is fixed; the head with its
/// `log_std`; the normaliser; the names of inputs and outputs, where there are any. Words and rationals are ASCII lines, `p/q`
/// in lowest terms.
pub fn policy_digest(policy: &Policy, names: Option<&Names>) -> String {
    let mut digest = Hashed::new("secateur.policy/1\n");
    digest.size(policy.network.layers.len());
    for layer in &policy.network.layers {
        digest.matrix(&layer.weight);
        digest.vector(&layer.bias);
        digest.line(&match &layer.activation {
            Activation::Identity => "identity".to_owned(),
            Activation::Relu => "relu".to_owned(),
            Activation::LeakyRelu { slope } => format!("leaky_relu {slope}"),
            Activation::Tanh => "tanh".to_owned(),
            Activation::Sigmoid => "sigmoid".to_owned(),
            Activation::Clip { lower, upper } => format!("clip {lower} {upper}"),
            Activation::Elu { alpha } => format!("elu {alpha}"),
            Activation::Silu => "silu".to_owned(),
        });
        digest.line(if layer.fixed { "fixed" } else { "learned" });
    }
    match &policy.head {
        Head::Gaussian { log_std } => {
            digest.line("gaussian");
            digest.vector(log_std);
        }
        Head::Categorical => digest.line("categorical"),
        Head::Deterministic => digest.line("deterministic"),
    }
    match &policy.normaliser {
        Some(normaliser) => {
            digest.line("normaliser");
            digest.vector(&normaliser.mean);
            normaliser.std.iter().for_each(|std| digest.line(&std.to_string()));
            digest.line(&normaliser.clip.as_ref().map_or_else(|| "no clip".to_owned(), ToString::to_string));
        }
        None => digest.line("no normaliser"),
    }
    if let Some(Names { inputs, outputs }) = names {
        digest.line("names");
        digest.size(inputs.len());
        for group in inputs {
            digest.line(&group.name);
            for size in [group.first, group.count, group.frames, group.stride] {
                digest.size(size);
            }
            digest.line(group.unit.as_deref().unwrap_or_default());
        }
        digest.size(outputs.len());
        for named in outputs {
            digest.line(&named.name);
            digest.size(named.output);
            digest.line(named.unit.as_deref().unwrap_or_default());
            digest.line(&named.scale.as_ref().map_or_else(String::new, ToString::to_string));
        }
    }
    digest.finish()
}

/// Names a mask: `sha256:` and the SHA-256 of the line `secateur.mask/1`, then for each
/// layer rows, columns (u64 little-endian) and one byte, 0 or 1, per weight, row-major.
pub fn mask_digest(mask: &Mask, network: &Network) -> String {
    let mut digest = Hashed::new("secateur.mask/1\n");
    // A mask with another number of layers has no meaning under the network; whoever applies it refuses it.
    for (bits, layer) in mask.layers.iter().zip(&network.layers) {
        digest.size(layer.weight.rows);
        digest.size(layer.weight.columns);
        digest.0.update(bits.iter().map(|kept| u8::from(*kept)).collect::<Vec<_>>());
    }
    digest.finish()
}

struct Hashed(Sha256);

impl Hashed {
    fn new(line: &str) -> Self {
        Self(Sha256::new_with_prefix(line))
    }

    fn size(&mut self, size: usize) {
        self.0.update(u64::try_from(size).unwrap_or(u64::MAX).to_le_bytes());
    }

    fn matrix(&mut self, matrix: &Matrix) {
        self.size(2);
        self.size(matrix.rows);
        self.size(matrix.columns);
        self.entries(&matrix.values);
    }

    fn vector(&mut self, values: &[Dyadic]) {
        self.size(1);
        self.size(values.len());
        self.entries(values);
    }

    fn line(&mut self, words: &str) {
        self.0.update(words);
        self.0.update("\n");
    }

    fn entries(&mut self, values: &[Dyadic]) {
        for value in values {
            match binary64_bits(*value) {
                Some(bits) => self.0.update(bits.to_le_bytes()),
                // No stored format gets here; a NaN's bits keep such a number apart from every other.
                None => {
                    self.0.update(u64::MAX.to_le_bytes());
                    self.0.update(value.mantissa.to_le_bytes());
                    self.0.update(value.exponent.to_le_bytes());
                }
            }
        }
    }

    fn finish(self) -> String {
        format!("sha256:{}", hex(&self.0.finalize()))
    }
}

/// The bits of the IEEE 754 binary64 of exactly this value, by integer arithmetic; `None` if there is none.
pub fn binary64_bits(value: Dyadic) -> Option<u64> {
    let Dyadic { mantissa, exponent } = Dyadic::new(value.mantissa, value.exponent);
    if mantissa == 0 {
        return Some(0);
    }
    let magnitude = mantissa.unsigned_abs();
    let sign = if mantissa < 0 { 1u64 << 63 } else { 0 };
    let length = magnitude.checked_ilog2()?.checked_add(1)?;
    let leading = i64::from(exponent).checked_add(i64::from(length))?.checked_sub(1)?;
    if length > 53 || leading > 1023 {
        return None;
    }
    if leading < -1022 {
        // Subnormal: a multiple of 2^-1074, and below 2^52 of them.
        let shift = u32::try_from(i64::from(exponent).checked_add(1074)?).ok()?;
        return Some(sign | magnitude.checked_shl(shift)?);
    }
    let significand = magnitude.checked_shl(53u32.checked_sub(length)?)?;
    let biased = u64::try_from(leading.checked_add(1023)?).ok()?;
    Some(sign | (biased << 52) | (significand & 0x000F_FFFF_FFFF_FFFF))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_arithmetic, clippy::disallowed_types)]
    use super::super::policy::tests::sample;
    use super::*;
    use crate::model::{Activation, Layer, States, Units};
    use proptest::prelude::*;

    fn double(value: f64) -> Dyadic {
        Dyadic::from_ieee(value.to_bits(), 52, 11).unwrap()
    }

    /// Names a table of states: `sha256:` and the SHA-256 of the line `secateur.states/1`, the line `raw` or `normalised`,
    /// then S, n (u64) and the entries (binary64), little-endian; -0 counts as +0.
    fn states_digest(states: &States) -> String {
        let mut digest = Hashed::new("secateur.states/1\n");
        digest.0.update(match states.units {
            Units::Raw => "raw\n",
            Units::Normalised => "normalised\n",
        });
        digest.size(states.values.rows);
        digest.size(states.values.columns);
        digest.entries(&states.values.values);
        digest.finish()
    }

    /// Each part of a policy, changed alone, gives another digest; the weights digest knows the weights alone.
    #[test]
    fn a_policy_digest_covers_all_that_defines_the_policy() {
        use crate::model::Normaliser;
        use crate::number::Rational;
        let good = sample().policy;
        type Change = fn(&mut Policy);
        let changes: [(&str, Change); 8] = [
            ("weight", |p| p.network.layers[0].weight.values[0] = Dyadic::new(77, 3)),
            ("bias", |p| p.network.layers[0].bias[0] = Dyadic::new(77, 3)),
            ("activation", |p| p.network.layers[0].activation = Activation::Sigmoid),
            ("fixed", |p| p.network.layers[0].fixed = !p.network.layers[0].fixed),
            ("head", |p| p.head = Head::Deterministic),
            ("log_std", |p| {
                p.head = Head::Gaussian { log_std: vec![Dyadic::new(55, 0); p.network.outputs()] }
            }),
            ("normaliser", |p| {
                let inputs = p.network.inputs();
                let (mean, std) = (vec![Dyadic::new(9, 0); inputs], vec![Rational::one(); inputs]);
                p.normaliser = Some(Normaliser { mean, std, clip: None });
            }),
            ("clip", |p| {
                let inputs = p.network.inputs();
                let (mean, std) = (vec![Dyadic::new(9, 0); inputs], vec![Rational::one(); inputs]);
                p.normaliser = Some(Normaliser { mean, std, clip: Some(Rational::one()) });
            }),
        ];
        let mut digests = vec![policy_digest(&good, None)];
        for (what, change) in changes {
            let mut other = good.clone();
            change(&mut other);
            let same_weights = weights_digest(&other.network) == weights_digest(&good.network);
            assert_eq!(same_weights, !["weight", "bias"].contains(&what), "{what}");
            let digest = policy_digest(&other, None);
            assert!(!digests.contains(&digest), "{what}");
            digests.push(digest);
        }
    }

    #[test]
    fn sha256_agrees_with_the_standard() {
        // FIPS 180-4, the example "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
    }

    #[test]
    fn edges_of_binary64_keep_their_bits() {
        let subnormal = f64::from_bits(0x000F_FFFF_FFFF_FFFF);
        for x in [
            1.0,
            -1.0,
            0.1,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            subnormal,
            f64::from_bits(1),
            -f64::from_bits(3),
        ] {
            assert_eq!(binary64_bits(double(x)), Some(x.to_bits()), "{x:e}");
        }
        assert_eq!(binary64_bits(double(-0.0)), Some(0));
    }

    #[test]
    fn numbers_outside_binary64_have_no_bits() {
        let outside = [
            (1, 1024),
            (1, -1075),
            ((1 << 53) + 1, 0),
            (i64::MIN + 1, 0),
            (3, -1075),
            (1, i32::MAX),
            (1, i32::MIN),
        ];
        for (mantissa, exponent) in outside {
            assert_eq!(binary64_bits(Dyadic { mantissa, exponent }), None, "{mantissa} {exponent}");
        }
        assert_eq!(binary64_bits(Dyadic { mantissa: 4, exponent: -1076 }), Some(1));
        assert_eq!(
            binary64_bits(Dyadic { mantissa: i64::MIN, exponent: 0 }),
            Some((-(2f64.powi(63))).to_bits())
        );
    }

    proptest! {
        #[test]
        fn every_finite_binary64_keeps_its_bits(bits in any::<u64>()) {
            let x = f64::from_bits(bits);
            prop_assume!(x.is_finite() && bits != 1 << 63);
            prop_assert_eq!(binary64_bits(double(x)), Some(bits));
        }

        #[test]
        fn every_finite_binary32_becomes_the_same_binary64(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            prop_assume!(x.is_finite() && bits != 1 << 31);
            let value = Dyadic::from_ieee(u64::from(bits), 23, 8).unwrap();
            prop_assert_eq!(binary64_bits(value), Some(f64::from(x).to_bits()));
        }
    }

    #[test]
    fn weights_are_named_by_the_bytes_the_format_prescribes() {
        // sample(): 2-3-1 with the weights and biases written out here.
        let mut bytes = b"secateur.weights/1\n".to_vec();
        let mut put = |sizes: &[u64], values: &[f64]| {
            sizes.iter().for_each(|s| bytes.extend_from_slice(&s.to_le_bytes()));
            values.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
        };
        put(&[2, 3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        put(&[1, 3], &[0.5, 0.0, -0.5]);
        put(&[2, 1, 3], &[1.0, -1.0, 0.25]);
        put(&[1, 1], &[0.0]);
        let network = sample().policy.network;
        assert_eq!(weights_digest(&network), format!("sha256:{}", sha256_hex(&bytes)));
    }

    #[test]
    fn masks_and_states_are_named_by_the_bytes_the_format_prescribes() {
        let network = sample().policy.network;
        let mask = Mask { layers: vec![vec![true, false, true, true, false, true], vec![true, true, false]] };
        let mut bytes = b"secateur.mask/1\n".to_vec();
        bytes.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1]);
        bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0]);
        assert_eq!(mask_digest(&mask, &network), format!("sha256:{}", sha256_hex(&bytes)));

        let values = Matrix { rows: 1, columns: 2, values: vec![double(1.0), double(-0.5)] };
        for (units, word) in [(Units::Raw, "raw"), (Units::Normalised, "normalised")] {
            let mut bytes = format!("secateur.states/1\n{word}\n").into_bytes();
            bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend_from_slice(&1.0f64.to_le_bytes());
            bytes.extend_from_slice(&(-0.5f64).to_le_bytes());
            let states = States { values: values.clone(), units };
            assert_eq!(states_digest(&states), format!("sha256:{}", sha256_hex(&bytes)));
        }
    }

    #[test]
    fn any_changed_weight_changes_the_name() {
        let network = sample().policy.network;
        let name = weights_digest(&network);
        for layer in 0..2 {
            for entry in 0..network.layers[layer].weight.values.len() {
                let mut other = network.clone();
                other.layers[layer].weight.values[entry] = double(0.375);
                assert_ne!(weights_digest(&other), name);
            }
            let mut other = network.clone();
            other.layers[layer].bias[0] = double(0.375);
            assert_ne!(weights_digest(&other), name);
        }
    }

    /// The examples of `spec/certificate-files.md#digests`, computed there by another program.
    #[test]
    fn examples_of_the_specification() {
        let layer = Layer {
            fixed: false,
            weight: Matrix { rows: 1, columns: 2, values: vec![double(1.0), double(-2.0)] },
            bias: vec![double(0.5)],
            activation: Activation::Relu,
        };
        let network = Network { layers: vec![layer] };
        let mask = Mask { layers: vec![vec![true, false]] };
        let values = Matrix { rows: 1, columns: 2, values: vec![double(1.0), double(-0.5)] };
        let states = States { values, units: Units::Raw };
        let weights = "sha256:067becafce1508a6f3a8948be809ae1abf6b4ca820071a085b1fabacf7336e16";
        assert_eq!(weights_digest(&network), weights);
        let kept = "sha256:a4f06a0d4ede128c702a8876817a2c2f955b08c95b74505ea76316fe3c5ab4cf";
        assert_eq!(mask_digest(&mask, &network), kept);
        let table = "sha256:3560daf536ebcf4d1bc080f87169aa4a66027124978195631f03de39ccf08087";
        assert_eq!(states_digest(&states), table);
        let page = include_str!("../../../spec/certificate-files.md");
        assert!([weights, kept, table].iter().all(|digest| page.contains(digest)));
    }
}
