//! `minimix-proxy key …`

use clap::{Args, Subcommand};

use super::operate::Output;
use crate::control::Request;

/// `key …`
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
    /// The form of the answer.
    #[command(flatten)]
    pub output: Output,
}

/// What can be done with the store's key.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new key, encrypt everything anew with it, and wipe what the old key opens; logins go on meanwhile
    Rotate,
}

impl KeyCommand {
    /// What to ask for.
    pub fn request(self) -> Request {
        match self {
            KeyCommand::Rotate => Request::KeyRotate,
        }
    }
}
