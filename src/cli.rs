//! The command line: what can be asked for, and how the process ends.
//!
//! Without a subcommand the proxy runs. `main.rs` dispatches; what a subcommand does is in its own file here, or in
//! [`crate::account`] for accounts.

pub mod check;
pub mod log;
pub mod password;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{ConfigError, Flags};
use crate::net::dev_certs::DevCertsError;
use crate::net::listen::BindError;
use crate::net::tls::TlsError;

const EXIT_CODES: &str = "\
Exit codes:
  0   all went well
  1   it failed while running (for `check`: something is wrong)
  2   the command line makes no sense
  69  an address to listen on is not available
  78  the configuration, a certificate or a key is wrong

RUST_LOG sets what is logged (error, warn, info, debug, trace, or a filter); the log goes to standard error.
SIGTERM and SIGINT end the proxy after its streams have been closed; SIGHUP reads certificates anew.";

/// A transparent XMPP proxy that joins each group chat once per account.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// The configuration.
    #[command(flatten)]
    pub flags: Flags,
    /// What to do instead of running the proxy.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done beside running the proxy.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate the configuration, the certificates and the keys, and say what is wrong
    Check,
    /// Manage accounts that can log in by themselves
    Account(AccountArgs),
    /// Manage the key that encrypts the store
    Key(KeyArgs),
    /// Manage what is remembered of a domain
    Domain(DomainArgs),
    /// Make a CA and certificates for trying out
    DevCerts {
        /// Directory for ca.pem, DOMAIN.pem and DOMAIN.key; what is still good is kept
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// XMPP domains
        #[arg(required = true, value_name = "DOMAIN")]
        domains: Vec<String>,
    },
    /// Write completions for a shell to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual page to standard output
    Man,
}

/// `account …`
#[derive(Debug, Args)]
pub struct AccountArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AccountCommand,
}

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Enrol an account: logs in to its server once, to prove the password
    Add {
        /// The account, such as juliet@example.org
        jid: jid::BareJid,
        /// Read the password from the first line of standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the enrolled accounts
    List,
    /// Forget an account's keys; it passes through until it is enrolled again
    Remove {
        /// The account
        jid: jid::BareJid,
    },
}

/// `key …`
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What can be done with the store's key.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new key, encrypt everything anew with it, and wipe what the old key opens; logins go on meanwhile
    Rotate,
}

/// `domain …`
#[derive(Debug, Args)]
pub struct DomainArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DomainCommand,
}

/// What can be done with domains.
#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Forget the best login mechanism its server has offered, after it was set up to offer less
    Reset {
        /// The domain
        domain: String,
    },
}

/// Why the process ends with an error: what it says, and its exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// For the operator: what, where, and the remedy.
    pub message: String,
}

impl Failure {
    /// Something went wrong while running.
    pub const RUNTIME: u8 = 1;
    /// An address to listen on is not available (`EX_UNAVAILABLE`).
    pub const UNAVAILABLE: u8 = 69;
    /// The configuration, a certificate or a key is wrong (`EX_CONFIG`).
    pub const CONFIG: u8 = 78;

    /// With the code for whatever went wrong while running.
    pub fn runtime(cause: impl std::fmt::Display) -> Self {
        Failure { code: Failure::RUNTIME, message: cause.to_string() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure { code: Failure::CONFIG, message: error.to_string() }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Failure { code: Failure::CONFIG, message: error.to_string() }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Failure { code: Failure::UNAVAILABLE, message: error.to_string() }
    }
}

impl From<DevCertsError> for Failure {
    fn from(error: DevCertsError) -> Self {
        Failure::runtime(error)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::{Auth, UpstreamTls};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_flags_are_there() {
        let line = "minimix-proxy --domain localhost --listen 127.0.0.1:5222 --listen-tls 127.0.0.1:5223 --upstream \
                    127.0.0.1:15222 --upstream-tls none --upstream-ca ca.pem --cert cert.pem --key key.pem --data DIR \
                    --auth mixed";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.flags.upstream_tls, Some(UpstreamTls::None));
        assert_eq!(cli.flags.auth, Some(Auth::Mixed));
        let cli = Cli::try_parse_from(["minimix-proxy", "check", "--config", "x.toml"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Check)));
        assert_eq!(cli.flags.config, Some("x.toml".into()));
        let add = ["minimix-proxy", "--config", "x.toml", "account", "add", "a@b", "--password-stdin"];
        assert!(Cli::try_parse_from(add).is_ok());
        assert!(Cli::try_parse_from(["minimix-proxy", "--upstream-tls", "maybe"]).is_err());
    }
}
