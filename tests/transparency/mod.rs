//! The transparency harness: conversations that are held twice, with the server itself and through the proxy.
//!
//! [`script`] reads a scenario, [`play`] holds the conversation with [`client`]s that write down what they get,
//! [`normal`] takes out what differs between any two conversations and what a named exception excuses, [`compare`]
//! says where they part, [`table`] tells it all and keeps `docs/transparency.md` true.

pub mod client;
pub mod compare;
pub mod macros;
pub mod normal;
pub mod play;
pub mod script;
pub mod table;
pub mod xml;

use crate::support::server::Kind;

/// Which of the two conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// With the server itself.
    Direct,
    /// Through the proxy.
    Proxied,
}

impl Way {
    /// What the accounts and rooms of this conversation have behind their names.
    pub fn suffix(self, scenario: &str) -> String {
        match self {
            Way::Direct => format!(".{scenario}.d"),
            Way::Proxied => format!(".{scenario}.p"),
        }
    }
}

/// A server's name, as people write it.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Prosody => "Prosody",
        Kind::Ejabberd => "ejabberd",
    }
}
