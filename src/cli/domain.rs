//! `minimix-proxy domain …`

use clap::{Args, Subcommand};

use super::operate::Output;
use crate::control::Request;

/// `domain …`
#[derive(Debug, Args)]
pub struct DomainArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DomainCommand,
    /// The form of the answer.
    #[command(flatten)]
    pub output: Output,
}

/// What can be done with domains.
#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Forget the best login mechanism its server has offered, after it was set up to offer less
    Reset {
        /// The domain
        #[arg(value_name = "DOMAIN")]
        name: String,
    },
}

impl DomainCommand {
    /// What to ask for.
    pub fn request(self) -> Request {
        match self {
            DomainCommand::Reset { name } => Request::DomainReset { domain: name },
        }
    }
}
