//! Reaching a domain's server: where it is (a fixed address, or SRV records: RFC 6120 §3.2, XEP-0368), the TCP
//! connection, a PROXY protocol header where the server is to know the client's address, and TLS, by STARTTLS
//! (RFC 6120 §5) or from the first byte.
//!
//! What comes back is encrypted and verified, or was allowed in plaintext by the configuration; never a fall-back
//! from the one to the other (S6).

mod connect;
mod error;
mod resolve;
mod starttls;

pub use error::DialError;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::link::{Link, Socket};
use super::proxy_protocol::{self, Origin};
use super::tls::{ClientTls, TlsError};
use crate::config;
use crate::config::{Address, UpstreamTls};
use crate::stream::sasl::ChannelBinding;
use crate::xml::framer::Limits;
use resolve::{Resolver, Target};

/// How to reach the server of one domain.
#[derive(Debug, Clone)]
pub struct Upstream {
    address: Option<Address>,
    tls: UpstreamTls,
    insecure: bool,
    client: Option<ClientTls>,
    resolver: Resolver,
    timeout: Duration,
    limits: Limits,
    /// A PROXY protocol header comes first.
    proxy_protocol: bool,
    /// Where this proxy listens: not to be dialled (S1).
    own: Arc<[SocketAddr]>,
}

/// A connection to a server, at the start of an XMPP stream: nothing has been sent on it yet.
#[derive(Debug)]
pub struct Dialled {
    /// The link.
    pub link: Link<Socket>,
    /// Channel bindings of the connection; empty on plaintext.
    pub binding: ChannelBinding,
    /// Whether it is encrypted; if not, it goes to loopback or plaintext was allowed explicitly.
    pub encrypted: bool,
    /// The server's address.
    pub peer: SocketAddr,
}

impl Upstream {
    /// Reads the CA certificates. `own`: where this proxy listens, once bound.
    pub fn new(config: &config::Upstream, limits: &config::Limits, own: Arc<[SocketAddr]>) -> Result<Self, TlsError> {
        let client = match config.tls {
            UpstreamTls::None => None,
            UpstreamTls::StartTls | UpstreamTls::Direct => Some(ClientTls::new(config.ca.as_deref())?),
        };
        Ok(Upstream {
            address: config.address.clone(),
            tls: config.tls,
            insecure: config.insecure,
            client,
            resolver: Resolver::default(),
            timeout: limits.dial_timeout,
            limits: limits.before_login(),
            proxy_protocol: config.proxy_protocol,
            own,
        })
    }

    /// Connects to the server of `domain` and secures the connection, within `limits.dial_timeout` in all. `origin` is
    /// whom the server is told of, if it is (`upstream.proxy_protocol`).
    pub async fn dial(&self, domain: &str, origin: Origin) -> Result<Dialled, DialError> {
        match timeout(self.timeout, self.try_targets(domain, origin)).await {
            Ok(result) => result,
            Err(_) => Err(DialError::Timeout { what: self.describe(domain), after: self.timeout }),
        }
    }

    /// The configured address, or the SRV name, for messages.
    pub fn describe(&self, domain: &str) -> String {
        match &self.address {
            Some(address) => address.to_string(),
            None => format!("the server of {domain} (by DNS)"),
        }
    }

    /// Where the server of `domain` is, as far as names tell, within `limits.dial_timeout`. Nothing is connected.
    pub async fn addresses(&self, domain: &str) -> Result<Vec<SocketAddr>, DialError> {
        let found = async {
            let mut all = Vec::new();
            for target in self.targets(domain).await? {
                all.extend(resolve::addresses(&target).await?);
            }
            Ok(all)
        };
        let late = DialError::Timeout { what: self.describe(domain), after: self.timeout };
        timeout(self.timeout, found).await.unwrap_or(Err(late))
    }

    async fn targets(&self, domain: &str) -> Result<Vec<Target>, DialError> {
        match &self.address {
            Some(Address { host, port }) => {
                Ok(vec![Target { host: host.clone(), port: *port, direct: self.tls == UpstreamTls::Direct }])
            }
            None => self.resolver.targets(domain, self.tls).await,
        }
    }

    async fn try_targets(&self, domain: &str, origin: Origin) -> Result<Dialled, DialError> {
        let targets = self.targets(domain).await?;
        let mut last = None;
        for target in &targets {
            match self.try_target(domain, target, origin).await {
                Ok(dialled) => return Ok(dialled),
                Err(error) => {
                    tracing::debug!(domain, host = target.host, port = target.port, %error, "dialling failed");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| DialError::NoService { domain: domain.to_owned() }))
    }

    async fn try_target(&self, domain: &str, target: &Target, origin: Origin) -> Result<Dialled, DialError> {
        let addresses = resolve::addresses(target).await?;
        let (mut stream, peer) = connect::first(&addresses, target).await?;
        self.refuse_self(&stream, peer)?;
        if self.proxy_protocol {
            let told = proxy_protocol::announce(&mut stream, origin).await;
            told.map_err(|cause| DialError::Connect { target: target.to_string(), cause: cause.to_string() })?;
        }
        match &self.client {
            None => self.plaintext(stream, peer),
            Some(client) => self.secure(client, stream, peer, domain, target.direct).await,
        }
    }

    fn plaintext(&self, stream: TcpStream, peer: SocketAddr) -> Result<Dialled, DialError> {
        if !peer.ip().to_canonical().is_loopback() && !self.insecure {
            return Err(DialError::Plaintext { peer });
        }
        let link = Link::new(Box::new(stream) as Socket, self.limits);
        Ok(Dialled { link, binding: ChannelBinding::default(), encrypted: false, peer })
    }

    async fn secure(
        &self,
        client: &ClientTls,
        stream: TcpStream,
        peer: SocketAddr,
        domain: &str,
        direct: bool,
    ) -> Result<Dialled, DialError> {
        let stream = if direct { stream } else { starttls::negotiate(stream, domain, peer, self.limits).await? };
        let connected =
            client.connect(stream, domain, direct).await.map_err(|cause| DialError::tls(peer, direct, cause))?;
        let link = Link::new(connected.socket, self.limits);
        Ok(Dialled { link, binding: connected.binding, encrypted: true, peer })
    }

    /// S1: a proxy that dials itself would do so for ever.
    fn refuse_self(&self, stream: &TcpStream, peer: SocketAddr) -> Result<(), DialError> {
        let local = stream.local_addr().ok().map(|a| a.ip().to_canonical());
        let ip = peer.ip().to_canonical();
        let here = local == Some(ip) || ip.is_loopback();
        let own = self.own.iter().any(|own| {
            let listens = own.ip().to_canonical();
            let everywhere = listens.is_unspecified() && listens.is_ipv4() == ip.is_ipv4() && here;
            own.port() == peer.port() && (listens == ip || everywhere)
        });
        if own { Err(DialError::Oneself { peer }) } else { Ok(()) }
    }
}
