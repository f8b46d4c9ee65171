//! Options that name the networks of a property, shared by `verify` and `check`.

use std::path::PathBuf;

use clap::Args;
use secateur_checker::reader::escaped::Escaped;

use crate::cli::context::CliError;

/// Networks under the names that a property has for them.
#[derive(Debug, Default, Args)]
pub struct NetworkOptions {
    /// A network of a property of several: the name it has there, and an ONNX file or a policy directory; repeat it.
    #[arg(long = "network", value_name = "NAME=PATH")]
    networks: Vec<String>,
    /// A mask for the policy directory of a network: what it prunes counts as 0; repeat it.
    #[arg(long = "network-mask", value_name = "NAME=FILE", requires = "networks")]
    network_masks: Vec<String>,
    /// A mask for NETWORK, a policy directory: what it prunes counts as 0.
    #[arg(long, value_name = "FILE", conflicts_with = "networks")]
    pub mask: Option<PathBuf>,
}

/// A network as it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenNetwork {
    /// Its name in the property.
    pub name: String,
    /// ONNX file or policy directory.
    pub path: PathBuf,
    /// Mask of the policy directory.
    pub mask: Option<PathBuf>,
}

impl NetworkOptions {
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// The networks in the order given, each with its mask.
    ///
    /// # Errors
    /// Exit code 2 for a value without `=`, a name that stands twice, and a mask of no policy directory.
    pub fn given(&self) -> Result<Vec<GivenNetwork>, CliError> {
        let mut given: Vec<GivenNetwork> = Vec::new();
        for text in &self.networks {
            let (name, path) = parts("--network", text)?;
            if given.iter().any(|network| network.name == name) {
                return Err(CliError::input(format!("--network {} stands twice", Escaped(name))));
            }
            given.push(GivenNetwork { name: name.to_owned(), path: PathBuf::from(path), mask: None });
        }
        for text in &self.network_masks {
            let (name, path) = parts("--network-mask", text)?;
            let place = given.iter_mut().find(|network| network.name == name);
            let network = place.filter(|network| network.path.is_dir()).ok_or_else(|| {
                CliError::input(format!(
                    "--network-mask {0}: there is no --network {0}=POLICY_DIR; a mask is one of a policy directory",
                    Escaped(name)
                ))
            })?;
            if network.mask.replace(PathBuf::from(path)).is_some() {
                return Err(CliError::input(format!("--network-mask {} stands twice", Escaped(name))));
            }
        }
        Ok(given)
    }
}

fn parts<'a>(option: &str, text: &'a str) -> Result<(&'a str, &'a str), CliError> {
    let parts = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    parts.ok_or_else(|| CliError::input(format!("{option} {}: it takes NAME=PATH", Escaped(text))))
}
