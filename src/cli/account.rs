//! `minimix-proxy account …`

use clap::{Args, Subcommand};
use jid::BareJid;

use super::operate::Output;
use super::{Failure, password};
use crate::control::Request;
use crate::control::request::Password;

/// `account …`
#[derive(Debug, Args)]
pub struct AccountArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AccountCommand,
    /// The form of the answer.
    #[command(flatten)]
    pub output: Output,
}

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Enrol an account: logs in to its server once, to prove the password
    Add {
        /// The account, such as juliet@example.org
        jid: BareJid,
        /// Read the password from the first line of standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the accounts that are enrolled or denied
    List,
    /// Forget an account's keys and end its account session; it passes through until it is enrolled again
    Remove {
        /// The account
        jid: BareJid,
        /// Forget all that is kept of it, and wipe it from the disk
        #[arg(long)]
        purge: bool,
    },
    /// Never enrol an account: as `remove`, and nothing is kept of its logins. It can still log in to its server
    Deny {
        /// The account
        jid: BareJid,
    },
    /// Take `deny` back
    Allow {
        /// The account
        jid: BareJid,
    },
    /// Let kept keys be used at the server that the domain has now; they are of the one it had when they were kept
    Rebind {
        /// The account
        #[arg(required_unless_present = "of_domain")]
        jid: Option<BareJid>,
        /// All accounts of this domain
        #[arg(long = "all-of", value_name = "DOMAIN", conflicts_with = "jid")]
        of_domain: Option<String>,
    },
}

impl AccountCommand {
    /// What to ask for. May ask for a password first.
    pub fn request(self) -> Result<Request, Failure> {
        Ok(match self {
            AccountCommand::Add { jid, password_stdin } => {
                let prompt = format!("Password of {jid}: ");
                let password = password::read(password_stdin, &prompt).map_err(Failure::runtime)?;
                Request::AccountAdd { account: jid.to_string(), password: Password(password) }
            }
            AccountCommand::List => Request::AccountList,
            AccountCommand::Remove { jid, purge } => Request::AccountRemove { account: jid.to_string(), purge },
            AccountCommand::Deny { jid } => Request::AccountDeny { account: jid.to_string() },
            AccountCommand::Allow { jid } => Request::AccountAllow { account: jid.to_string() },
            AccountCommand::Rebind { jid: Some(jid), .. } => Request::AccountRebind { account: jid.to_string() },
            AccountCommand::Rebind { jid: None, of_domain } => {
                Request::AccountRebindAll { domain: of_domain.unwrap_or_default() }
            }
        })
    }
}
