//! The activation of the hidden layers as a setting: one word, with a parameter behind a colon. Untrusted.

use std::fmt;
use std::str::FromStr;

use secateur_checker::number::Rational;
use serde::{Deserialize, Serialize};

use crate::float::FloatActivation;

/// Largest denominator of an alpha that the checker's grid has room for.
const LONGEST: i64 = 1 << 30;

/// Activation of the hidden layers: `tanh`, `relu`, `silu`, `elu` (alpha 1) or `elu:ALPHA`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HiddenActivation {
    /// Hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `x` for `x >= 0`, else `alpha * (exp(x) - 1)`, alpha in (0, 1].
    Elu(f64),
    /// `x / (1 + exp(-x))`.
    Silu,
}

impl From<HiddenActivation> for FloatActivation {
    fn from(activation: HiddenActivation) -> Self {
        match activation {
            HiddenActivation::Tanh => Self::Tanh,
            HiddenActivation::Relu => Self::Relu,
            HiddenActivation::Elu(alpha) => Self::Elu(alpha),
            HiddenActivation::Silu => Self::Silu,
        }
    }
}

impl fmt::Display for HiddenActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tanh => f.write_str("tanh"),
            Self::Relu => f.write_str("relu"),
            Self::Silu => f.write_str("silu"),
            Self::Elu(alpha) if *alpha == 1.0 => f.write_str("elu"),
            Self::Elu(alpha) => write!(f, "elu:{alpha}"),
        }
    }
}

impl From<HiddenActivation> for String {
    fn from(activation: HiddenActivation) -> Self {
        activation.to_string()
    }
}

impl TryFrom<String> for HiddenActivation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for HiddenActivation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tanh" => return Ok(Self::Tanh),
            "relu" => return Ok(Self::Relu),
            "silu" => return Ok(Self::Silu),
            "elu" => return Ok(Self::Elu(1.0)),
            _ => {}
        }
        let Some(alpha) = text.strip_prefix("elu:") else {
            return Err(format!("unknown activation {text:?}: tanh, relu, silu, elu or elu:ALPHA"));
        };
        let value = alpha.parse::<f64>().ok().filter(|alpha| *alpha > 0.0 && *alpha <= 1.0);
        let Some(value) = value else {
            return Err(format!(
                "alpha of elu must be a decimal above 0 and at most 1, not {alpha:?}: above 1 ELU is no longer convex, and \
                 no bound is known here"
            ));
        };
        // As the policy's file says it.
        let exact = Rational::parse(&value.to_string()).ok();
        let short = exact.is_some_and(|exact| *exact.denominator() <= LONGEST.into());
        if short {
            Ok(Self::Elu(value))
        } else {
            Err(format!(
                "alpha of elu must be a fraction of numbers up to 2^30, not {alpha:?}: give fewer digits"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_back() {
        let read = |text: &str| text.parse::<HiddenActivation>();
        for text in ["tanh", "relu", "silu", "elu", "elu:0.5", "elu:0.01"] {
            assert_eq!(read(text).expect("known").to_string(), text);
        }
        assert_eq!(read("elu:1"), Ok(HiddenActivation::Elu(1.0)));
        assert_eq!(FloatActivation::from(HiddenActivation::Elu(0.25)), FloatActivation::Elu(0.25));
        for (text, says) in [
            ("gelu", "unknown activation"),
            ("elu:", "above 0"),
            ("elu:0", "above 0"),
            ("elu:-1", "above 0"),
            ("elu:1.5", "at most 1"),
            ("elu:nan", "above 0"),
            ("elu:0.1234567890123", "fewer digits"),
            ("elu:1e-300", "fewer digits"),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }
}
