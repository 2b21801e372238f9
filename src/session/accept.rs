//! From a client's first byte to its bound resource: the shell of [`crate::stream::negotiation`]. It owns the links
//! while they are negotiated; its future is boxed and gone before the relay starts (an idle client stays small).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jid::BareJid;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::closing::{close, condition, server_fault};
use super::session::Session;
use super::task::Relay;
use crate::account::access::Accounts;
use crate::account::handle::ClientId;
use crate::config::{self, Limits, ListenTls};
use crate::net::dial::{Dialled, Upstream};
use crate::net::link::{Event, Link, LinkError};
use crate::net::tls::{Accepted, ServerTls};
use crate::stream::negotiation::{Action, Auth, Bound, Covers, Domains, Input, Negotiation};
use crate::xmpp::conditions::StreamCondition;
use crate::xmpp::ids;

/// What all sessions share.
pub struct Floor<A> {
    /// Sizes and deadlines.
    pub limits: Limits,
    /// Certificates.
    pub tls: Arc<ServerTls>,
    /// The domains that are served, by their normalised names, and their servers.
    pub upstreams: HashMap<String, Upstream>,
    /// The accounts.
    pub accounts: A,
    /// Turns true when the process is to end.
    pub shutdown: watch::Receiver<bool>,
    /// The next [`ClientId`]; begins at 0.
    pub next_client: AtomicU64,
}

impl<A: Send + Sync> Domains for Floor<A> {
    fn configured(&self, to: &str) -> Option<String> {
        let to = BareJid::new(to).ok().filter(|jid| jid.node().is_none())?;
        self.upstreams.get_key_value(to.domain().as_str()).map(|(name, _)| name.clone())
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
pub async fn serve<A: Accounts>(
    socket: TcpStream,
    peer: SocketAddr,
    tls: ListenTls,
    auth: config::Auth,
    floor: Arc<Floor<A>>,
) {
    let relay = Box::pin(accept(socket, peer, tls, auth.into(), floor)).await;
    if let Some(relay) = relay {
        relay.run().await;
    }
}

async fn accept<A: Accounts>(
    socket: TcpStream,
    peer: SocketAddr,
    tls: ListenTls,
    auth: Auth,
    floor: Arc<Floor<A>>,
) -> Option<Box<Relay>> {
    let now = Instant::now();
    let (handshake, deadline) = (now + floor.limits.handshake_timeout, now + floor.limits.negotiation_timeout);
    let direct = tls == ListenTls::Direct;
    let mut machine = Negotiation::new(direct, auth, floor.clone(), ids::random());
    let mut shutdown = floor.shutdown.clone();
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
    let down = Link::new(accepted.socket, floor.limits.before_login());
    let secured = Secured { down, up: None, machine, actions: VecDeque::new(), floor, peer };
    secured.run(shown, deadline).await
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

/// The stream before STARTTLS.
struct Plaintext {
    link: Link<TcpStream>,
    peer: SocketAddr,
}

type Stop = (StreamCondition, String);

impl Plaintext {
    /// True: `<proceed/>` has been sent. False: the stream has ended.
    async fn run(&mut self, machine: &mut Negotiation) -> Result<bool, Stop> {
        let mut actions = Vec::new();
        loop {
            let event = self.link.drive(machine.wants_client()).await;
            machine.handle(from_client(event), &mut actions);
            for action in actions.drain(..) {
                match action {
                    Action::Down(bytes) => self.link.queue(&bytes),
                    // What stands behind <starttls/> in plaintext would be taken as secured (CVE-2011-0411).
                    Action::StartTls(_) if self.link.unread() > 0 => {
                        return Err((StreamCondition::PolicyViolation, "plaintext behind <starttls/>".to_owned()));
                    }
                    Action::StartTls(proceed) => {
                        self.link.queue(&proceed);
                        let flushed = self.link.flush().await;
                        return flushed
                            .map(|()| true)
                            .map_err(|_| (StreamCondition::UndefinedCondition, String::new()));
                    }
                    Action::End(why) => {
                        // Who says nothing at all only looks whether somebody listens (health checks).
                        match self.link.received() {
                            0 => debug!(peer = %self.peer, why, "connection ended without a word"),
                            _ => info!(peer = %self.peer, why, "stream ended before TLS"),
                        }
                        return Ok(false);
                    }
                    // There is no server before TLS.
                    _ => {}
                }
            }
        }
    }

    async fn stop<T>(mut self, machine: &mut Negotiation, stop: Stop) -> Option<T> {
        let mut actions = Vec::new();
        machine.handle(Input::Stop { down: stop, up: None }, &mut actions);
        for action in actions {
            match action {
                Action::Down(bytes) => self.link.queue(&bytes),
                Action::End(why) => info!(peer = %self.peer, why, "stream ended before TLS"),
                _ => {}
            }
        }
        self.close().await
    }

    async fn close<T>(self) -> Option<T> {
        close(self.link).await;
        None
    }
}

fn from_client(event: Result<Event, LinkError>) -> Input {
    match event {
        Ok(Event::Frame(frame)) => Input::Client(frame),
        Ok(Event::End) | Err(LinkError::Io(_)) => Input::ClientEnd,
        Err(LinkError::Framing(error)) => Input::Stop { down: (condition(&error), error.to_string()), up: None },
    }
}

fn from_server(event: Result<Event, LinkError>) -> Input {
    match event {
        Ok(Event::Frame(frame)) => Input::Server(frame),
        Ok(Event::End) | Err(LinkError::Io(_)) => Input::ServerEnd,
        Err(LinkError::Framing(error)) => {
            Input::Stop { down: server_fault(&error), up: Some((condition(&error), error.to_string())) }
        }
    }
}

/// The stream over TLS.
struct Secured<A> {
    down: Link,
    up: Option<Dialled>,
    machine: Negotiation,
    actions: VecDeque<Action>,
    floor: Arc<Floor<A>>,
    peer: SocketAddr,
}

impl<A: Accounts> Secured<A> {
    async fn run(mut self, shown: Option<Covers>, deadline: Instant) -> Option<Box<Relay>> {
        let mut shutdown = self.floor.shutdown.clone();
        let stop = tokio::select! {
            bound = timeout_at(deadline, self.negotiate(shown)) => match bound {
                Ok(Some(bound)) => return self.relay(*bound).await,
                Ok(None) => None,
                Err(_) => Some((StreamCondition::ConnectionTimeout, "not logged in in time".to_owned())),
            },
            () = ended(&mut shutdown) => Some((StreamCondition::SystemShutdown, String::new())),
        };
        if let Some(stop) = stop {
            self.actions.clear();
            self.input(Input::Stop { down: stop, up: None });
            while let Some(action) = self.actions.pop_front() {
                self.act(action).await;
            }
        }
        let Secured { down, up, .. } = self;
        let up = async {
            if let Some(up) = up {
                close(up.link).await;
            }
        };
        tokio::join!(close(down), up);
        None
    }

    fn input(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.machine.handle(input, &mut actions);
        self.actions.extend(actions);
    }

    async fn negotiate(&mut self, shown: Option<Covers>) -> Option<Box<Bound>> {
        self.input(Input::TlsUp(shown));
        loop {
            while let Some(action) = self.actions.pop_front() {
                match action {
                    Action::Bound(bound) => return Some(bound),
                    Action::End(_) => {
                        self.act(action).await;
                        return None;
                    }
                    action => self.act(action).await,
                }
            }
            let wants_client = self.machine.wants_client();
            let input = tokio::select! {
                event = self.down.drive(wants_client) => from_client(event),
                event = drive(&mut self.up) => from_server(event),
            };
            self.input(input);
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Down(bytes) => self.down.queue(&bytes),
            Action::Up(bytes) => {
                if let Some(up) = &mut self.up {
                    up.link.queue(&bytes);
                }
            }
            Action::Dial { domain } => {
                let input = self.dial(&domain).await;
                self.input(input);
            }
            Action::Login { domain, plain, features } => {
                let Some(up) = &mut self.up else { return };
                let account = plain.authcid.clone();
                let input = match self.floor.accounts.login(&domain, up, &features, plain).await {
                    Ok(_) => Input::LoggedIn,
                    Err(failure) => {
                        info!(peer = %self.peer, domain, account, reason = failure.reason, "login failed");
                        Input::LoginRefused(failure.element.into())
                    }
                };
                self.input(input);
            }
            Action::RestartDown => self.down.restart(),
            Action::RestartUp => {
                if let Some(up) = &mut self.up {
                    up.link.restart();
                }
            }
            Action::RaiseLimits => {
                let limits = self.floor.limits.after_login();
                self.down.set_limits(limits);
                if let Some(up) = &mut self.up {
                    up.link.set_limits(limits);
                }
            }
            Action::End(why) => info!(peer = %self.peer, why, "stream ended before a resource was bound"),
            Action::StartTls(_) | Action::Bound(_) => {}
        }
    }

    async fn dial(&mut self, domain: &str) -> Input {
        let Some(upstream) = self.floor.upstreams.get(domain) else {
            return Input::DialFailed(StreamCondition::HostUnknown, "this domain is not served here".to_owned());
        };
        match upstream.dial(domain).await {
            Ok(dialled) => {
                self.up = Some(dialled);
                Input::Dialled
            }
            Err(error) => {
                warn!(domain, %error, "cannot reach the server");
                Input::DialFailed(error.condition(), error.client_text().to_owned())
            }
        }
    }

    async fn relay(self, bound: Bound) -> Option<Box<Relay>> {
        let handle = match &bound.account {
            Some(account) => self.floor.accounts.handle(account).await,
            None => None,
        };
        let rooms = if handle.is_some() { "joined once per account" } else { "pass through" };
        info!(peer = %self.peer, jid = %bound.jid, rooms, "logged in");
        debug!(peer = %self.peer, trusted = bound.account.is_some(), "negotiated");
        let session_jid = handle.as_ref().map(|h| h.session_jid().to_owned());
        let session = Session::new(&bound, session_jid.as_deref(), &ids::random());
        let client = ClientId(self.floor.next_client.fetch_add(1, Ordering::Relaxed));
        let links = (self.down, self.up?.link);
        Some(Box::new(Relay::new(links, session, &bound, client, self.peer, handle, &self.floor)))
    }
}

/// Waits for the process's end.
async fn ended(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}

/// Never ends where there is no server yet.
async fn drive(up: &mut Option<Dialled>) -> Result<Event, LinkError> {
    match up {
        Some(up) => up.link.drive(true).await,
        None => std::future::pending().await,
    }
}
