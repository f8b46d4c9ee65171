//! Options that ask for radii, shared by `certify` and `audit`.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::number::Rational;

use crate::certify::radius::{LARGEST, RADIUS_CAP, RadiusGoal, RadiusRequest};
use crate::cli::context::CliError;
use crate::cli::option::adversary::{exact, families};

/// The certified radius of a claim.
#[derive(Clone, Debug, Default, Args)]
pub struct RadiusOptions {
    /// Find and claim the largest multiple of the radii at which this is proved, at each state under each mask, and the
    /// smallest at which an attack breaks it: same-action, deviation=R (largest change of an output), tv=T (total variation)
    /// or kl=D; several by commas.
    #[arg(long, value_name = "GOAL", value_delimiter = ',')]
    pub radius_for: Vec<String>,
    /// Families that prove the radii, each by itself; default crown.
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "radius_for")]
    pub radius_family: Vec<String>,
    /// The multiple at which the search stops; default 64.
    #[arg(long, value_name = "M", requires = "radius_for")]
    pub radius_cap: Option<String>,
    /// File that keeps the search of radii, so that the same command goes on from there after an interruption.
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
}

/// What to say is kept of an interrupted search of radii.
pub fn radii_kept(path: &Path) -> String {
    format!("{} keeps the radii found so far; the same command goes on from there", path.display())
}

impl RadiusOptions {
    /// What the options ask for; points that break a goal are searched if `attack`.
    ///
    /// # Errors
    /// Exit code 2 for a goal, family or number that cannot be read.
    pub fn request(&self, attack: bool) -> Result<RadiusRequest, CliError> {
        let mut request = RadiusRequest { attack, keep: self.resume.clone(), ..RadiusRequest::default() };
        request.goals = self
            .radius_for
            .iter()
            .map(|text| RadiusGoal::parse(text))
            .collect::<Result<_, _>>()
            .map_err(CliError::input)?;
        if !self.radius_family.is_empty() {
            request.families = families(&self.radius_family)?;
        }
        if let Some(cap) = &self.radius_cap {
            request.cap = exact("radius-cap", cap)?;
            if !request.cap.is_positive() || Rational::parse(LARGEST).is_ok_and(|most| request.cap > most) {
                return Err(CliError::input(format!(
                    "radius-cap {cap:?} is not above 0 and at most {LARGEST}; the default is {RADIUS_CAP}"
                )));
            }
        }
        if request.goals.is_empty() && self.resume.is_some() {
            return Err(CliError::input(
                "resume keeps a search of radii and needs radius-for: what is to be proved, such as same-action",
            ));
        }
        if request.goals.is_empty() && (!self.radius_family.is_empty() || self.radius_cap.is_some()) {
            return Err(CliError::input(
                "radius-family and radius-cap need radius-for: what is to be proved, such as same-action",
            ));
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_lie_between_nothing_and_the_largest_multiple() {
        let with = |cap: &str| {
            let (radius_for, radius_cap) = (vec!["same-action".to_owned()], Some(cap.to_owned()));
            RadiusOptions { radius_for, radius_cap, ..RadiusOptions::default() }.request(true)
        };
        assert_eq!(with("2").unwrap().cap.to_string(), "2");
        assert!(with("1e9").is_ok());
        for bad in ["0", "-1", "1e10", "many"] {
            assert!(with(bad).is_err(), "{bad}");
        }
        let none = RadiusOptions { radius_cap: Some("2".to_owned()), ..RadiusOptions::default() };
        assert!(none.request(true).is_err());
        assert!(RadiusOptions::default().request(false).unwrap().goals.is_empty());
    }
}
