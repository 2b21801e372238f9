//! The configuration: a TOML file, command-line flags, or flags over a file, validated into one [`Config`] that is
//! passed by value. `docs/configuration.md` says what each key is for.

mod flags;
mod limits;
mod raw;
#[cfg(test)]
mod tests;
mod units;
mod validate;

pub use flags::Flags;
pub use limits::{Limits, LoginLimits, Rate};

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;
use serde::Deserialize;

/// All that an operator can say.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of the store.
    pub data: PathBuf,
    /// The file of the key that encrypts the store; not in the data directory.
    pub key_file: PathBuf,
    /// Where clients connect; at least one.
    pub listen: Vec<Listen>,
    /// The domains that are served; at least one. The first one's certificate is shown where none is named.
    pub domains: Vec<Domain>,
    /// Sizes and deadlines.
    pub limits: Limits,
    /// Rooms.
    pub rooms: Rooms,
    /// The log.
    pub log: Log,
}

/// What is wrong with a configuration: where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {cause}; check the path given to --config", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is not TOML, or has a key or value that nobody knows. The message shows the line.
    #[error("{path}: {cause}\nsee docs/configuration.md for the keys", path = .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: String,
    },
    /// A value that makes no sense, or is missing.
    #[error("{}{key} {problem}", path.as_ref().map(|p| format!("{}: ", p.display())).unwrap_or_default())]
    Invalid {
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// The key, such as `listen[0].auth`.
        key: String,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
}

impl ConfigError {
    fn invalid(key: impl Into<String>, problem: impl Into<String>) -> Self {
        ConfigError::Invalid { path: None, key: key.into(), problem: problem.into() }
    }

    fn in_file(mut self, file: Option<&Path>) -> Self {
        if let ConfigError::Invalid { path, .. } = &mut self {
            *path = file.map(Path::to_owned);
        }
        self
    }
}

impl Config {
    /// From flags, over the file that they name, if any. Relative paths in the file are relative to its directory.
    pub fn load(flags: &Flags) -> Result<Config, ConfigError> {
        let path = flags.config.as_deref();
        let text = match path {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?,
        };
        Self::from_toml(&text, flags)
    }

    fn from_toml(text: &str, flags: &Flags) -> Result<Config, ConfigError> {
        let path = flags.config.as_deref();
        let mut raw: raw::Raw = toml::from_str(text).map_err(|cause| ConfigError::Syntax {
            path: path.unwrap_or(Path::new("")).to_owned(),
            cause: cause.to_string().trim_end().to_owned(),
        })?;
        if let Some(directory) = path.and_then(Path::parent) {
            raw.rebase(directory);
        }
        flags.apply(&mut raw).and_then(|()| validate::config(raw)).map_err(|error| error.in_file(path))
    }

    /// What works and is worth a second thought, each with its remedy: for `check`, and for the log at start.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for listen in &self.listen {
            if listen.auth == Auth::Learn && !listen.address.ip().to_canonical().is_loopback() {
                warnings.push(format!(
                    "{}: auth = \"learn\" beyond loopback: the proxy sees the password of everyone who logs in, and \
                     clients that remember a stronger mechanism refuse to; \"mixed\" locks nobody out",
                    listen.address
                ));
            }
            warnings.extend(listen.believes_everybody());
        }
        for domain in &self.domains {
            let upstream = &domain.upstream;
            if upstream.tls == UpstreamTls::None && upstream.insecure {
                warnings.push(format!(
                    "{}: the way to the server is plaintext, wherever it leads: passwords and messages can be read on \
                     it; set upstream.tls to \"starttls\" or \"direct\"",
                    domain.name
                ));
            }
            for (on, key, what) in
                [(domain.registration, "registration", "register"), (domain.legacy_auth, "legacy_auth", "log in")]
            {
                if on {
                    warnings.push(format!(
                        "{}: {key}: strangers may {what} by a way that the server may trust more than it should, for it \
                         sees the proxy's address",
                        domain.name
                    ));
                }
            }
            if upstream.allow_plain {
                warnings.push(format!(
                    "{}: allow_plain: who can pass for the server gets passwords; enable SCRAM on the server instead",
                    domain.name
                ));
            }
        }
        warnings
    }
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// IP address and port.
    pub address: SocketAddr,
    /// How TLS starts.
    pub tls: ListenTls,
    /// What clients may log in with, and how accounts enrol.
    pub auth: Auth,
    /// Who sends a PROXY protocol header (v1 or v2) before anything else: load balancers. From nobody else one is
    /// taken.
    pub proxy_protocol: Vec<IpNet>,
}

impl Listen {
    /// A warning where `proxy_protocol` covers all of IPv4 or IPv6, in one network or several.
    fn believes_everybody(&self) -> Option<String> {
        let all = IpNet::aggregate(&self.proxy_protocol).into_iter().find(|network| network.prefix_len() == 0)?;
        let address = self.address;
        Some(format!(
            "{address}: proxy_protocol covers {all}: whoever can connect can claim any address, and evade every limit \
             that counts by address; name the load balancers' own addresses"
        ))
    }
}

/// How TLS starts on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum ListenTls {
    /// By STARTTLS (RFC 6120 §5); port 5222.
    StartTls,
    /// From the first byte (XEP-0368); port 5223.
    Direct,
}

/// What clients are offered to log in with (DESIGN §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Auth {
    /// PLAIN only; the proxy logs in for them and learns.
    Learn,
    /// PLAIN beside the server's own mechanisms.
    Mixed,
    /// The server's own mechanisms.
    Relay,
}

/// A domain that is served.
#[derive(Debug, Clone)]
pub struct Domain {
    /// The XMPP domain, normalised.
    pub name: String,
    /// PEM: its certificate and those above it.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// Registration in band before login (XEP-0077) is let through.
    pub registration: bool,
    /// Non-SASL authentication (XEP-0078) is let through.
    pub legacy_auth: bool,
    /// Its server.
    pub upstream: Upstream,
}

/// How a domain's server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is; `None`: SRV records tell.
    pub address: Option<Address>,
    /// How TLS starts. By SRV, `StartTls` takes both services, in the order of their priorities (XEP-0368).
    pub tls: UpstreamTls,
    /// PEM: whom to trust; `None`: the system's roots.
    pub ca: Option<PathBuf>,
    /// Plaintext may leave this machine.
    pub insecure: bool,
    /// PLAIN may be used where the server offers nothing better.
    pub allow_plain: bool,
    /// Where keys do not do (a new salt for every login, or only PLAIN), the password may be kept, encrypted.
    pub keep_password: bool,
    /// Connections to the server begin with a PROXY protocol v2 header that tells the client's address.
    pub proxy_protocol: bool,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How TLS starts towards a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum UpstreamTls {
    /// By STARTTLS.
    StartTls,
    /// From the first byte.
    Direct,
    /// Not at all: to this machine only, unless `insecure`.
    None,
}

/// Rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms {
    /// To wait for a room's answer to a join.
    pub join_timeout: Duration,
    /// From the last client's leave to the account's, if that client is still online (DESIGN §7).
    pub leave_grace: Duration,
    /// After so long without a word from a room it is asked whether the account is in it.
    pub verify_after: Duration,
    /// How long an account stays in a room while all its clients are offline.
    pub offline_ttl: Duration,
    /// What the account shows while none of its clients is in the room.
    pub detached_presence: Show,
    /// Messages kept per room for those who attach late.
    pub history: usize,
    /// To open the account session.
    pub connect_timeout: Duration,
    /// Rooms an account session is in at most; joins beyond pass through.
    pub max_rooms: usize,
    /// Clients of one account attached to one room at most.
    pub max_attached: usize,
    /// Bytes that all accounts together may keep of their rooms.
    pub memory: usize,
    /// Bytes that one account may keep of its rooms.
    pub memory_per_account: usize,
    /// Whether accounts' bookmarks are followed.
    pub bookmarks: bool,
}

/// A presence's `<show/>` (RFC 6121 §4.7.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Show {
    /// None: available.
    Available,
    /// `away`
    Away,
    /// `xa`
    Xa,
    /// `dnd`
    Dnd,
}

/// The log, on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its form.
    pub format: LogFormat,
    /// A filter as `RUST_LOG` takes it, which wins over it.
    pub level: String,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text for each event.
    Text,
    /// A line of JSON for each event.
    Json,
}
