//! `minimix-proxy rooms …`

use clap::{Args, Subcommand};

use super::operate::Output;
use crate::control::Request;

/// `rooms …`
#[derive(Debug, Args)]
pub struct RoomsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RoomsCommand,
    /// The form of the answer.
    #[command(flatten)]
    pub output: Output,
}

/// What can be done with rooms.
#[derive(Debug, Subcommand)]
pub enum RoomsCommand {
    /// List the rooms that accounts are in, and which clients are attached to them
    List {
        /// Of this account only
        account: Option<String>,
    },
    /// Have an account leave a room at once, and all its clients with it
    Leave {
        /// The account
        account: String,
        /// The room's JID. The account joins it again when a client does
        room: String,
    },
}

impl RoomsCommand {
    /// What to ask for.
    pub fn request(self) -> Request {
        match self {
            RoomsCommand::List { account } => Request::RoomsList { account },
            RoomsCommand::Leave { account, room } => Request::RoomsLeave { account, room },
        }
    }
}
