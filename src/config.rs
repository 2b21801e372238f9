//! The configuration: TOML or command-line flags, validated into one [`Config`] that is passed by value.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::tls::CertificateFiles;
use crate::xml::framer;

/// All that an operator can say.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of the store.
    pub data: PathBuf,
    /// The file of the key that encrypts the store; outside the data directory is better.
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

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// IP address and port.
    pub address: SocketAddr,
    /// How TLS starts.
    pub tls: ListenTls,
    /// What clients may log in with, and how accounts enrol.
    pub auth: Auth,
}

/// How TLS starts on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenTls {
    /// By STARTTLS (RFC 6120 §5); port 5222.
    StartTls,
    /// From the first byte (XEP-0368); port 5223.
    Direct,
}

/// What clients are offered to log in with (DESIGN §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Its server.
    pub upstream: Upstream,
}

impl Domain {
    /// What [`crate::net::tls::ServerTls`] loads.
    pub fn certificate_files(&self) -> CertificateFiles {
        CertificateFiles { domain: self.name.clone(), certificate: self.certificate.clone(), key: self.key.clone() }
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamTls {
    /// By STARTTLS.
    StartTls,
    /// From the first byte.
    Direct,
    /// Not at all: to this machine only, unless `insecure`.
    None,
}

/// Sizes and deadlines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a stanza before login.
    pub stanza_before_login: usize,
    /// Bytes of a stanza after login.
    pub stanza: usize,
    /// Depth of elements in a stanza.
    pub depth: usize,
    /// Attributes of an element.
    pub attributes: usize,
    /// From the connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the connection to the end of login, absolute.
    pub negotiation_timeout: Duration,
    /// To reach the server, TLS included.
    pub dial_timeout: Duration,
    /// Silence of a logged-in client, after which it is given up; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Frames waiting for a client that is slow.
    pub client_queue_frames: usize,
    /// Bytes waiting for a client that is slow.
    pub client_queue_bytes: usize,
    /// For streams to end by themselves at a shutdown.
    pub drain_timeout: Duration,
}

impl Limits {
    /// For a link before login.
    pub fn before_login(&self) -> framer::Limits {
        framer::Limits { stanza: self.stanza_before_login, depth: self.depth, attributes: self.attributes }
    }

    /// For a link after login.
    pub fn after_login(&self) -> framer::Limits {
        framer::Limits { stanza: self.stanza, depth: self.depth, attributes: self.attributes }
    }
}

/// Rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms {
    /// To wait for a room's answer to a join.
    pub join_timeout: Duration,
    /// To wait for a room's answer to an account leave.
    pub leave_grace: Duration,
    /// How long an account stays in a room while all its clients are offline.
    pub offline_ttl: Duration,
    /// What the account shows while none of its clients is in the room.
    pub detached_presence: Show,
    /// Messages kept per room for those who attach late.
    pub history: usize,
    /// To open the account session.
    pub connect_timeout: Duration,
}

/// A presence's `<show/>` (RFC 6121 §4.7.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text for each event.
    Text,
    /// A line of JSON for each event.
    Json,
}
