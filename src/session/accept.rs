//! From a client's first byte to its bound resource: the shell of [`crate::stream::negotiation`]. It owns the links
//! while they are negotiated; its future is boxed and gone before the relay starts (an idle client stays small).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ipnet::IpNet;
use jid::BareJid;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::admission::{Admission, Place};
use super::closing::{condition, no_room};
use super::plaintext::Plaintext;
use super::refusal::Refusals;
use super::secured::Secured;
use super::sessions::Sessions;
use super::task::Relay;
use crate::account::access::Accounts;
use crate::account::guard::Guard;
use crate::config::{self, Limits, Listen, ListenTls};
use crate::net::background::Background;
use crate::net::budget::Budget;
use crate::net::dial::Upstream;
use crate::net::link::{Event, Link, LinkError};
use crate::net::proxy_protocol::{self, Ends, HeaderError};
use crate::net::tls::{Accepted, ServerTls};
use crate::stream::negotiation::{Auth, BeforeLogin, Covers, Domains, Input, Negotiation};
use crate::xmpp::conditions::StreamCondition;
use crate::xmpp::ids;

/// What all sessions share.
pub struct Floor<A> {
    /// Sizes and deadlines.
    pub limits: Limits,
    /// Who is let in.
    pub admission: Admission,
    /// Who is not.
    pub refusals: Refusals,
    /// Threads for what is done before login.
    pub background: Background,
    /// What all streams may buffer.
    pub buffers: Budget,
    /// Certificates.
    pub tls: Arc<ServerTls>,
    /// The domains that are served, by their normalised names, and their servers.
    pub upstreams: HashMap<String, Upstream>,
    /// What passes before login, by domain; what is not in it is refused.
    pub before_login: HashMap<String, BeforeLogin>,
    /// Who may try to log in.
    pub guard: Arc<Guard>,
    /// The accounts.
    pub accounts: A,
    /// Turns true when the process is to end.
    pub shutdown: watch::Receiver<bool>,
    /// The client sessions, for the operator.
    pub sessions: Arc<Sessions>,
    /// The next [`ClientId`]; begins at 0.
    pub next_client: AtomicU64,
}

impl<A: Send + Sync> Domains for Floor<A> {
    fn configured(&self, to: &str) -> Option<String> {
        let to = BareJid::new(to).ok().filter(|jid| jid.node().is_none())?;
        self.upstreams.get_key_value(to.domain().as_str()).map(|(name, _)| name.clone())
    }

    fn largest_stanza(&self) -> usize {
        self.limits.stanza
    }

    fn before_login(&self, domain: &str) -> BeforeLogin {
        self.before_login.get(domain).copied().unwrap_or_default()
    }
}

impl From<config::Auth> for Auth {
    fn from(auth: config::Auth) -> Self {
        match auth {
            config::Auth::Learn => Auth::Learn,
            config::Auth::Mixed => Auth::Mixed,
            config::Auth::Relay => Auth::Relay,
        }
    }
}

/// Serves one client from its first byte to its last. Ends by itself, at the latest a few seconds after
/// [`Floor::shutdown`].
pub async fn serve<A: Accounts>(socket: TcpStream, peer: SocketAddr, listen: Arc<Listen>, floor: Arc<Floor<A>>) {
    let background = floor.background.clone();
    let entered = background.run(Box::pin(enter(socket, peer, listen, floor))).await;
    drop(background);
    if let Some((relay, mut place)) = entered.flatten() {
        place.logged_in();
        relay.run().await;
    }
}

/// Finds out who connects, and whether there is a place for it (S11).
async fn enter<A: Accounts>(
    mut socket: TcpStream,
    peer: SocketAddr,
    listen: Arc<Listen>,
    floor: Arc<Floor<A>>,
) -> Option<(Box<Relay>, Place)> {
    let now = Instant::now();
    let place = match floor.admission.enter() {
        Ok(place) => place,
        Err(full) => return floor.refusals.refuse(socket, peer, listen.tls, full).await,
    };
    let handshake = now + floor.limits.handshake_timeout;
    let mut shutdown = floor.shutdown.clone();
    let ends = tokio::select! {
        ends = introduced(&mut socket, peer, &listen.proxy_protocol, handshake) => ends?,
        () = ended(&mut shutdown) => return None,
    };
    let place = match place.belongs_to(ends.client.ip()) {
        Ok(place) => place,
        Err(full) => return floor.refusals.refuse(socket, ends.client, listen.tls, full).await,
    };
    let relay = accept(socket, ends, now, &listen, floor).await?;
    Some((relay, place))
}

async fn accept<A: Accounts>(
    socket: TcpStream,
    ends: Ends,
    now: Instant,
    listen: &Listen,
    floor: Arc<Floor<A>>,
) -> Option<Box<Relay>> {
    let (handshake, deadline) = (now + floor.limits.handshake_timeout, now + floor.limits.negotiation_timeout);
    let mut shutdown = floor.shutdown.clone();
    let peer = ends.client;
    let direct = listen.tls == ListenTls::Direct;
    let mut machine = Negotiation::new(direct, listen.auth.into(), floor.clone(), ids::random());
    let accepted = if direct {
        within(handshake, &mut shutdown, floor.tls.accept_direct(socket)).await
    } else {
        let mut plaintext = Plaintext { link: Link::new(socket, floor.limits.before_login()), peer };
        let proceeded = tokio::select! {
            proceeded = timeout_at(handshake, plaintext.run(&mut machine)) => proceeded.unwrap_or_else(|_| {
                Err((StreamCondition::ConnectionTimeout, "TLS did not start in time".to_owned()))
            }),
            () = ended(&mut shutdown) => Err((StreamCondition::SystemShutdown, String::new())),
        };
        match proceeded {
            Ok(true) => {}
            Ok(false) => return plaintext.close().await,
            Err(stop) => return plaintext.stop(&mut machine, stop).await,
        }
        let domain = machine.domain().unwrap_or_default().to_owned();
        let socket = plaintext.link.into_inner();
        within(handshake, &mut shutdown, floor.tls.accept_starttls(socket, &domain)).await
    };
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            info!(%peer, %error, "no TLS with the client");
            return None;
        }
    };
    let certificate = accepted.certificate();
    let shown = accepted.sni.is_some().then(|| Covers(Box::new(move |domain| certificate.covers(domain))));
    let mut down = Link::new(accepted.socket, floor.limits.before_login());
    down.set_share(floor.buffers.share());
    let (up, attempt, actions, connected_to, tls) = (None, None, VecDeque::new(), ends.server, listen.tls);
    let secured = Secured { down, up, machine, actions, floor, peer, connected_to, tls, attempt };
    secured.run(shown, deadline).await
}

/// The connection's ends, which a load balancer tells before anything else; `None`: it is to be closed.
async fn introduced(socket: &mut TcpStream, peer: SocketAddr, networks: &[IpNet], deadline: Instant) -> Option<Ends> {
    match proxy_protocol::ends(socket, peer, networks, deadline).await {
        Ok(ends) => {
            if ends.client != peer {
                debug!(peer = %ends.client, via = %peer, "a load balancer's client");
            }
            Some(ends)
        }
        // As before TLS: health checks.
        Err(HeaderError::Silent) => {
            debug!(%peer, "connection ended without a word");
            None
        }
        Err(error) => {
            warn!(%peer, %error, "connection closed");
            None
        }
    }
}

/// A TLS handshake, given up at the deadline and when the process ends.
async fn within(
    deadline: Instant,
    shutdown: &mut watch::Receiver<bool>,
    handshake: impl Future<Output = io::Result<Accepted>>,
) -> io::Result<Accepted> {
    tokio::select! {
        accepted = timeout_at(deadline, handshake) => accepted.unwrap_or_else(|late| Err(late.into())),
        () = ended(shutdown) => Err(io::Error::other("shutting down")),
    }
}

pub(super) fn from_client(event: Result<Event, LinkError>) -> Input {
    match event {
        Ok(Event::Frame(frame)) => Input::Client(frame),
        Ok(Event::End) | Err(LinkError::Io(_)) => Input::ClientEnd,
        Err(LinkError::Framing(error)) => Input::Stop { down: (condition(&error), error.to_string()), up: None },
        Err(LinkError::NoRoom) => Input::Stop { down: no_room(), up: None },
    }
}

/// Waits for the process's end.
pub(super) async fn ended(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}
