//! A client's stream over TLS, with the server's beside it, until a resource is bound.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::accept::{Floor, ended, from_client};
use super::closing::{close, condition, no_room, server_fault};
use super::session::Session;
use super::task::Relay;
use crate::account::access::Accounts;
use crate::account::guard::{Attempt, Trust, Who};
use crate::account::handle::ClientId;
use crate::config::ListenTls;
use crate::net::dial::Dialled;
use crate::net::link::{Event, Link, LinkError};
use crate::net::proxy_protocol::{Ends, Origin};
use crate::stream::negotiation::{Action, Bound, Covers, Gate, Input, Negotiation};
use crate::xmpp::conditions::StreamCondition;
use crate::xmpp::ids;

/// The stream over TLS.
pub(super) struct Secured<A> {
    pub(super) down: Link,
    pub(super) up: Option<Dialled>,
    pub(super) machine: Negotiation,
    pub(super) actions: VecDeque<Action>,
    pub(super) floor: Arc<Floor<A>>,
    pub(super) peer: SocketAddr,
    /// Where the client thinks it connected to.
    pub(super) connected_to: SocketAddr,
    /// The attempt to log in that is under way. Dropped with the stream, it has failed.
    pub(super) attempt: Option<Attempt>,
    pub(super) tls: ListenTls,
}

impl<A: Accounts> Secured<A> {
    pub(super) async fn run(mut self, shown: Option<Covers>, deadline: Instant) -> Option<Box<Relay>> {
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
                let Some(attempt) = self.attempt.take() else { return };
                let account = plain.authcid.clone();
                let input = match self.floor.accounts.login(&domain, up, &features, plain, attempt).await {
                    Ok(_) => Input::LoggedIn,
                    Err(failure) => {
                        info!(peer = %self.peer, domain, account, reason = failure.reason, "login failed");
                        Input::LoginRefused(failure.element.into())
                    }
                };
                self.input(input);
            }
            Action::Gate(gate) => {
                let input = self.gate(gate).await;
                self.input(input);
            }
            Action::Settle(outcome) => {
                if let Some(attempt) = self.attempt.take() {
                    attempt.settle(outcome);
                }
            }
            Action::Mistake => self.floor.guard.failed_unasked(self.peer.ip()),
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

    /// Whether an attempt may go up (S3).
    async fn gate(&mut self, Gate { domain, account, password }: Gate) -> Input {
        let account = account.as_ref();
        let vouch = async {
            match (account, &password) {
                (Some(account), Some(password)) => self.floor.accounts.vouch(account, password).await,
                _ => None,
            }
        };
        let who = Who { address: Some(self.peer.ip()), account, domain: &domain, trust: Trust::None };
        match self.floor.guard.enter(who, vouch).await {
            Ok(attempt) => {
                self.attempt = Some(attempt);
                Input::Admitted
            }
            Err(limit) => {
                let account = account.map_or("unknown", |account| account.as_str());
                info!(peer = %self.peer, domain, account, %limit, "login refused: too many failed logins");
                Input::TurnedAway
            }
        }
    }

    async fn dial(&mut self, domain: &str) -> Input {
        let Some(upstream) = self.floor.upstreams.get(domain) else {
            return Input::DialFailed(StreamCondition::HostUnknown, "this domain is not served here".to_owned());
        };
        let origin = Origin::Client(Ends { client: self.peer, server: self.connected_to });
        match upstream.dial(domain, origin).await {
            Ok(mut dialled) => {
                dialled.link.set_share(self.floor.buffers.share());
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
        let registered = self.floor.sessions.register(client, &bound.jid, self.peer, self.tls);
        Some(Box::new(Relay::new(links, session, &bound, registered, self.peer, handle, &self.floor)))
    }
}

fn from_server(event: Result<Event, LinkError>) -> Input {
    match event {
        Ok(Event::Frame(frame)) => Input::Server(frame),
        Ok(Event::End) | Err(LinkError::Io(_)) => Input::ServerEnd,
        Err(LinkError::Framing(error)) => {
            Input::Stop { down: server_fault(&error), up: Some((condition(&error), error.to_string())) }
        }
        Err(LinkError::NoRoom) => Input::Stop { down: no_room(), up: None },
    }
}

/// Never ends where there is no server yet.
async fn drive(up: &mut Option<Dialled>) -> Result<Event, LinkError> {
    match up {
        Some(up) => up.link.drive(true).await,
        None => std::future::pending().await,
    }
}
