//! Why a server could not be reached: for the operator with address, cause and remedy; for the client as a stream
//! condition, without addresses that are none of its business.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::tls::ConnectError;
use crate::xmpp::conditions::StreamCondition;

/// Why dialling failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The domain's SRV records say that it offers no client service.
    #[error("{domain} offers no service to clients, say its SRV records; set upstream.address (--upstream)")]
    NoService {
        /// The domain.
        domain: String,
    },
    /// A name does not resolve.
    #[error("cannot resolve {host}: {cause}; check the name in upstream.address (--upstream), and DNS on this machine")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        cause: String,
    },
    /// No TCP connection.
    #[error(
        "cannot connect to {target}: {cause}; is the server running there, and does it accept connections from this machine?"
    )]
    Connect {
        /// Host and port.
        target: String,
        /// Why, of each address tried.
        cause: String,
    },
    /// The address is one of this proxy's own listeners.
    #[error("{peer} is this proxy itself; set upstream.address (--upstream) to the server's own address")]
    Oneself {
        /// The address.
        peer: SocketAddr,
    },
    /// Plaintext is configured, and the address is not on this machine.
    #[error(
        "{peer} is not on this machine and upstream.tls is \"none\": passwords would cross the network readable; \
         set tls to \"starttls\" or \"direct\", or insecure = true if that network is safe"
    )]
    Plaintext {
        /// The address.
        peer: SocketAddr,
    },
    /// The server offers no STARTTLS, or somebody in between has removed it.
    #[error(
        "{peer} offers no STARTTLS: not going on in plaintext; enable TLS on the server, or set upstream.tls \
         (--upstream-tls) to \"direct\" if it expects TLS from the first byte"
    )]
    NoStartTls {
        /// The address.
        peer: SocketAddr,
    },
    /// The server's certificate is refused.
    #[error("{peer} cannot be trusted: {cause}")]
    Certificate {
        /// The address.
        peer: SocketAddr,
        /// Why, and what to do.
        cause: String,
    },
    /// The TLS handshake failed.
    #[error("no TLS with {peer}: {cause}; {remedy}")]
    Tls {
        /// The address.
        peer: SocketAddr,
        /// Why.
        cause: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The server ended the stream before TLS.
    #[error(
        "{peer} refused the stream: {condition} {text}; does the server serve this domain, and \
         does upstream.proxy_protocol fit its listener?"
    )]
    Refused {
        /// The address.
        peer: SocketAddr,
        /// The server's condition.
        condition: String,
        /// Its text, may be empty.
        text: String,
    },
    /// The peer does not behave like an XMPP server.
    #[error(
        "{peer} does not answer like an XMPP server: {what}; check upstream.address, upstream.tls and \
         upstream.proxy_protocol"
    )]
    Protocol {
        /// The address.
        peer: SocketAddr,
        /// What was wrong.
        what: String,
    },
    /// It took too long.
    #[error(
        "no answer from {what} within {after:?} (limits.dial_timeout); is a firewall in between, or does the server \
         wait for a PROXY protocol header (upstream.proxy_protocol)?"
    )]
    Timeout {
        /// The address or domain.
        what: String,
        /// The limit.
        after: Duration,
    },
}

impl DialError {
    pub(super) fn tls(peer: SocketAddr, direct: bool, error: ConnectError) -> Self {
        match error {
            ConnectError::Certificate(cause) => DialError::Certificate { peer, cause },
            ConnectError::Handshake(cause) => DialError::Tls {
                peer,
                cause,
                remedy: if direct {
                    "if it expects STARTTLS, set upstream.tls (--upstream-tls) to \"starttls\""
                } else {
                    "look at the server's log, and at the TLS versions it allows (1.2 and 1.3 are spoken)"
                },
            },
        }
    }

    /// How the client's stream ends for it (RFC 6120 §4.9.3).
    pub fn condition(&self) -> StreamCondition {
        match self {
            DialError::Oneself { .. } | DialError::Plaintext { .. } => StreamCondition::InternalServerError,
            _ => StreamCondition::RemoteConnectionFailed,
        }
    }

    /// What the client is told beside the condition: no addresses of the operator's network.
    pub fn client_text(&self) -> &'static str {
        match self {
            DialError::NoService { .. } => "the domain offers no service to clients",
            DialError::Resolve { .. } => "the server's name does not resolve",
            DialError::Connect { .. } => "the server cannot be reached",
            DialError::Oneself { .. } | DialError::Plaintext { .. } => "the proxy is misconfigured for this domain",
            DialError::NoStartTls { .. } => "the server offers no encryption",
            DialError::Certificate { .. } => "the server's certificate is not valid",
            DialError::Tls { .. } => "the connection to the server cannot be encrypted",
            DialError::Refused { .. } => "the server refused the stream",
            DialError::Protocol { .. } => "the server does not answer as it should",
            DialError::Timeout { .. } => "the server does not answer",
        }
    }
}
