//! Options that say what an environment pays and how states were drawn, shared by `certify` and `audit`, and the
//! episodes file. `spec/certificate-regret.md`.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::kernel::regret::RewardRange;
use secateur_checker::kernel::statistic::{MAX_SAMPLES, Sampler};
use secateur_checker::load::read_file;
use secateur_checker::number::Rational;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::regret::{RegretForm, Sampling};
use serde::Deserialize;

use crate::certify::regret::{RegretRequest, StatisticalRequest};
use crate::cli::context::CliError;
use crate::cli::option::adversary::exact;
use crate::policy::input::MAX_TEXT;

/// The value of the field `format` of an episodes file.
pub const EPISODES_FORMAT: &str = "secateur.episodes/1";

/// What the environment pays, and how its states were drawn.
#[derive(Clone, Debug, Default, Args)]
pub struct RegretOptions {
    /// Claim the value that an adversary can take from returns with this discount, below 1; needs --reward-range.
    #[arg(long, value_name = "G")]
    pub discount: Option<String>,
    /// Claim it for the sum of the rewards of the first T steps; needs --reward-range.
    #[arg(long, value_name = "T")]
    pub horizon: Option<String>,
    /// Least and greatest reward of a step.
    #[arg(long, value_name = "LO,HI", value_delimiter = ',', num_args = 1, allow_hyphen_values = true)]
    pub reward_range: Option<Vec<String>>,
    /// Whether episodes can end; true, the default, is always sound: an ended episode pays 0.
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub episodes_can_end: Option<bool>,
    /// How the states were drawn (JSON): claims F(theta) with a confidence, which is no proof.
    #[arg(long, value_name = "FILE")]
    pub episodes: Option<PathBuf>,
}

/// An episodes file: how many episodes gave the states, and the confidence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct EpisodesFile {
    format: String,
    sampler: String,
    discount: String,
    mask: String,
    samples: String,
    ended: String,
    cut_off: String,
    confidence: String,
    masks: String,
}

impl RegretOptions {
    /// The claims that the options ask for.
    ///
    /// # Errors
    /// Exit code 2: a malformed number, a reward range without a return or the other way round, a malformed or
    /// refused episodes file.
    pub fn request(&self) -> Result<RegretRequest, CliError> {
        let rewards = self.rewards()?;
        let mut forms = Vec::new();
        if let Some(discount) = &self.discount {
            forms.push(RegretForm::Sup { discount: exact("discount", discount)? });
        }
        if let Some(horizon) = &self.horizon {
            forms.push(RegretForm::Horizon { steps: count("horizon", horizon)? });
        }
        if !forms.is_empty() && rewards.is_none() {
            return Err(CliError::input(
                "discount and horizon need reward-range LO,HI: the least and greatest reward of a step",
            ));
        }
        if rewards.is_some() && forms.is_empty() && self.episodes.is_none() {
            return Err(CliError::input(
                "reward-range needs discount G, horizon T or episodes FILE beside it",
            ));
        }
        let statistical = self.episodes.as_deref().map(read_episodes).transpose()?;
        if let (Some(draw), Some(rewards)) = (&statistical, &rewards)
            && draw.sampling.ended > 0
            && !rewards.episodes_can_end
        {
            let ended = draw.sampling.ended;
            return Err(CliError::input(format!(
                "episodes-can-end is false, but {ended} of the episodes drawn had ended; leave it at true"
            )));
        }
        Ok(RegretRequest { forms, rewards, statistical })
    }

    fn rewards(&self) -> Result<Option<RewardRange>, CliError> {
        let Some(range) = &self.reward_range else {
            return match self.episodes_can_end {
                Some(_) => Err(CliError::input("episodes-can-end needs reward-range LO,HI beside it")),
                None => Ok(None),
            };
        };
        let [lower, upper] = range.as_slice() else {
            return Err(CliError::input("reward-range wants two numbers, the least and the greatest reward"));
        };
        Ok(Some(RewardRange {
            lower: exact("reward-range", lower)?,
            upper: exact("reward-range", upper)?,
            episodes_can_end: self.episodes_can_end.unwrap_or(true),
        }))
    }
}

fn count<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, CliError> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let value = if plain { text.parse().ok() } else { None };
    value.ok_or_else(|| CliError::input(format!("{option} {text:?} is not a count, such as 1000")))
}

fn read_episodes(path: &Path) -> Result<StatisticalRequest, CliError> {
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    let bytes = read_file(path, MAX_TEXT)?;
    let file: EpisodesFile = serde_json::from_slice(&bytes).map_err(|e| at(&e))?;
    if file.format != EPISODES_FORMAT {
        return Err(at(&format!("the format is {:?}, not {EPISODES_FORMAT:?}", file.format)));
    }
    if Sampler::parse(&file.sampler).is_none() {
        return Err(at(&format!(
            "states from the sampler \"{}\" are not independent draws of the discounted visitation; only \"{}\" is accepted",
            Escaped(&file.sampler),
            Sampler::INDEPENDENT_EPISODES
        )));
    }
    let located = |e: CliError| at(&e.message);
    let discount = exact("discount", &file.discount).map_err(located)?;
    if discount.is_negative() || discount >= Rational::one() {
        return Err(at(&format!("the discount {discount} is not in [0, 1)")));
    }
    let samples = count("samples", &file.samples).map_err(located)?;
    if samples > MAX_SAMPLES {
        return Err(at(&format!("{samples} samples, at most {MAX_SAMPLES} are accepted")));
    }
    Ok(StatisticalRequest {
        mask: count("mask", &file.mask).map_err(located)?,
        sampling: Sampling {
            sampler: file.sampler,
            discount,
            samples,
            ended: count("ended", &file.ended).map_err(located)?,
            cut_off: count("cutOff", &file.cut_off).map_err(located)?,
        },
        level: exact("confidence", &file.confidence).map_err(located)?,
        masks: count("masks", &file.masks).map_err(located)?,
    })
}
