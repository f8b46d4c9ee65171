//! Options that name boxes of states, shared by `certify` and `audit`.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::reader::regions::MAX_REGIONS;
use serde::Deserialize;

use crate::certify::regions::{MAX_REGION_STEPS, REGION_STEPS, RegionRequest};
use crate::cli::context::CliError;
use crate::cli::option::adversary::exact_list;
use crate::policy::input::{MAX_TEXT, read_text};

/// Boxes of states to claim.
#[derive(Debug, Default, Args)]
pub struct RegionOptions {
    /// Boxes to claim for every state in them: a TOML file with tables `[[region]]` as in audit.toml.
    #[arg(long = "region", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// One more box: its least value per input, in the states' units.
    #[arg(
        long,
        value_name = "A,B,...",
        value_delimiter = ',',
        requires = "region_upper",
        allow_hyphen_values = true
    )]
    region_lower: Option<Vec<String>>,
    /// Its greatest value per input.
    #[arg(
        long,
        value_name = "A,B,...",
        value_delimiter = ',',
        requires = "region_lower",
        allow_hyphen_values = true
    )]
    region_upper: Option<Vec<String>>,
    /// Cells bounded for each region, mask and kind of claim.
    #[arg(long, value_name = "N")]
    region_steps: Option<u64>,
    /// Prove on which fraction of the box's volume the total variation (without a distribution, each output's change) is
    /// at most this; several by commas.
    #[arg(long, value_name = "X", value_delimiter = ',')]
    region_threshold: Vec<String>,
}

/// One `[[region]]` of a TOML file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegionSettings {
    lower: Vec<String>,
    upper: Vec<String>,
    steps: Option<u64>,
    #[serde(default)]
    thresholds: Vec<String>,
}

/// A file of nothing but regions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionFile {
    region: Vec<RegionSettings>,
}

impl RegionSettings {
    /// The request, its numbers read exactly.
    ///
    /// # Errors
    /// Exit code 2.
    pub fn request(&self) -> Result<RegionRequest, CliError> {
        let steps = self.steps.unwrap_or(REGION_STEPS);
        if !(1..=MAX_REGION_STEPS).contains(&steps) {
            return Err(CliError::input(format!(
                "region steps {steps} are not between 1 and {MAX_REGION_STEPS}"
            )));
        }
        Ok(RegionRequest {
            lower: exact_list("region lower", &self.lower)?,
            upper: exact_list("region upper", &self.upper)?,
            steps,
            thresholds: exact_list("region threshold", &self.thresholds)?,
        })
    }
}

impl RegionOptions {
    /// The boxes that the options name.
    ///
    /// # Errors
    /// Exit code 2 for an unreadable file or number.
    pub fn requests(&self) -> Result<Vec<RegionRequest>, CliError> {
        let mut settings = match &self.file {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        if let (Some(lower), Some(upper)) = (&self.region_lower, &self.region_upper) {
            let (lower, upper) = (lower.clone(), upper.clone());
            settings.push(RegionSettings { lower, upper, steps: None, thresholds: Vec::new() });
        }
        if settings.is_empty() && (self.region_steps.is_some() || !self.region_threshold.is_empty()) {
            return Err(CliError::input(
                "--region-steps and --region-threshold need a box: --region FILE, or --region-lower and --region-upper",
            ));
        }
        for one in &mut settings {
            one.steps = one.steps.or(self.region_steps);
            if one.thresholds.is_empty() {
                one.thresholds.clone_from(&self.region_threshold);
            }
        }
        settings.iter().map(RegionSettings::request).collect()
    }
}

/// The boxes of a TOML file.
///
/// # Errors
/// Exit code 2, with the place in the file.
pub fn read(path: &Path) -> Result<Vec<RegionSettings>, CliError> {
    let text = read_text(path, MAX_TEXT)
        .map_err(|e| CliError::input(format!("{}: {e}; it must hold tables [[region]]", path.display())))?;
    let parsed: Result<RegionFile, _> = toml::from_str(&text);
    let file = parsed.map_err(|e| {
        CliError::input(format!(
            "{}: {e}each [[region]] has lower and upper, lists of numbers in quotes such as \"-0.5\"",
            path.display()
        ))
    })?;
    if file.region.len() > MAX_REGIONS {
        let found = file.region.len();
        return Err(CliError::input(format!(
            "{}: {found} regions, a certificate has at most {MAX_REGIONS}",
            path.display()
        )));
    }
    Ok(file.region)
}
