//! `minimix-proxy session …`

use clap::{Args, Subcommand};

use super::operate::Output;
use crate::control::Request;

/// `session …`
#[derive(Debug, Args)]
pub struct SessionArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SessionCommand,
    /// The form of the answer.
    #[command(flatten)]
    pub output: Output,
}

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List the clients that are logged in, and the account sessions
    List,
    /// End a client's stream, or an account session
    Kill {
        /// A client session's number or full JID: its stream ends with `reset`. Or an account: its account session
        /// leaves its rooms, and stays down until a client of the account logs in
        #[arg(value_name = "ID|JID")]
        session: String,
    },
}

impl SessionCommand {
    /// What to ask for.
    pub fn request(self) -> Request {
        match self {
            SessionCommand::List => Request::SessionList,
            SessionCommand::Kill { session } => Request::SessionKill { session },
        }
    }
}
