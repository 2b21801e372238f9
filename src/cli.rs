//! The command line: what can be asked for, and how the process ends.
//!
//! Without a subcommand the proxy runs. `main.rs` dispatches; each group of subcommands has its own file here, and
//! [`crate::control`] does what the operator asks of a proxy.

pub mod account;
pub mod check;
pub mod domain;
pub mod key;
pub mod log;
pub mod operate;
pub mod password;
pub mod rooms;
pub mod session;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use self::account::AccountArgs;
use self::domain::DomainArgs;
use self::key::KeyArgs;
use self::operate::Output;
use self::rooms::RoomsArgs;
use self::session::SessionArgs;
use crate::config::Flags;
pub use crate::failure::Failure;

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
    Check(Output),
    /// Manage accounts that can log in by themselves
    Account(AccountArgs),
    /// Look at the sessions of clients and accounts, and end them
    Session(SessionArgs),
    /// Look at the rooms that accounts are in, and have an account leave one
    Rooms(RoomsArgs),
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
        let line = "minimix-proxy --key-file k --domain localhost --listen 127.0.0.1:5222 --listen-tls 127.0.0.1:5223 --upstream \
                    127.0.0.1:15222 --upstream-tls none --upstream-ca ca.pem --cert cert.pem --key key.pem --data DIR \
                    --auth mixed";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.flags.upstream_tls, Some(UpstreamTls::None));
        assert_eq!(cli.flags.auth, Some(Auth::Mixed));
        let cli = Cli::try_parse_from(["minimix-proxy", "check", "--config", "x.toml"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Check(_))));
        assert_eq!(cli.flags.config, Some("x.toml".into()));
        let add = ["minimix-proxy", "--config", "x.toml", "account", "add", "a@b", "--password-stdin"];
        assert!(Cli::try_parse_from(add).is_ok());
        for line in [
            "account list --json",
            "account --json list",
            "account remove a@b --purge",
            "account deny a@b",
            "account allow a@b",
            "account rebind a@b",
            "account rebind --all-of b",
            "session list",
            "session kill a@b/c",
            "session kill 7 --json",
            "rooms list",
            "rooms list a@b --json",
            "rooms leave a@b r@s",
            "key rotate --json",
            "domain reset b --json",
            "check --json",
        ] {
            let cli = Cli::try_parse_from(["minimix-proxy"].into_iter().chain(line.split(' ')));
            assert!(cli.is_ok(), "{line}: {cli:?}");
        }
        assert!(Cli::try_parse_from(["minimix-proxy", "account", "rebind"]).is_err());
        assert!(Cli::try_parse_from(["minimix-proxy", "account", "rebind", "a@b", "--all-of", "b"]).is_err());
        assert!(Cli::try_parse_from(["minimix-proxy", "--upstream-tls", "maybe"]).is_err());
    }
}
