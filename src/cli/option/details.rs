//! How much of a certificate is printed, shared by `audit`, `certify`, `check` and `show`.

use clap::Args;

use crate::show::summary::Details;

/// What is printed beside the answer.
#[derive(Clone, Debug, Default, Args)]
pub struct DetailOptions {
    /// Print every family, step, claim and exact number, and the signer's names.
    #[arg(long)]
    details: bool,
    /// Print the table of this family; repeat it.
    #[arg(long = "show-family", value_name = "NAME")]
    show_family: Vec<String>,
}

impl DetailOptions {
    /// For the printer.
    pub fn wanted(&self) -> Details {
        Details { all: self.details, families: self.show_family.clone() }
    }
}
