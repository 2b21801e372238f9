//! Opening the account session: dial, log in with what is kept, bind the stable resource. It never sends broadcast
//! presence (DESIGN §6), so nothing but what is asked for comes to it.

use std::sync::Arc;
use std::time::Duration;

use jid::{BareJid, FullJid};
use tokio::sync::watch;
use tracing::debug;

use crate::account::domain::Domain;
use crate::account::guard::{Guard, Limit};
use crate::account::keys::DeadKeys;
use crate::account::pace::Pace;
use crate::net::dial::DialError;
use crate::net::link::Link;
use crate::net::login::{self, LoginError};
use crate::net::proxy_protocol::Origin;
use crate::store::{Enrolment, Store, StoreError};
use crate::stream::negotiation::Outcome;
use crate::stream::sasl::Secret;
use crate::xmpp::header::Header;

/// Why the account session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server cannot be reached.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// The server lets the account in no more, or not now.
    #[error("{0}")]
    Login(#[from] LoginError),
    /// The store could not be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// There are no keys.
    #[error("{0} is not enrolled: a client has to log in with PLAIN, or `minimix-proxy account add {0}` be run")]
    NotEnrolled(BareJid),
    /// The server bound something else than asked.
    #[error("the server bound {bound} where {asked} was asked for: the account's rooms are left to its clients")]
    OtherJid {
        /// What is bound.
        bound: FullJid,
        /// What was asked for.
        asked: FullJid,
    },
    /// The server has refused the kept keys.
    #[error("the server has refused the kept keys of {0}: a client has to log in with PLAIN first")]
    DeadKeys(BareJid),
    /// They failed, but a client has logged in with others meanwhile.
    #[error("the keys of {0} were changed meanwhile; trying the new ones")]
    OldKeys(BareJid),
    /// There were too many failed logins at this server, whoever made them (S3).
    #[error("too many failed logins at the server of late (limits.{0}); trying later")]
    Limited(Limit),
    /// This process is ending.
    #[error("shutting down")]
    Ending,
}

impl ConnectError {
    /// Whether trying again is of no use until a client logs in.
    pub fn needs_login(&self) -> bool {
        match self {
            ConnectError::Login(error) => error.keys_are_dead() || error.is_refusal(),
            ConnectError::NotEnrolled(_) | ConnectError::DeadKeys(_) => true,
            _ => false,
        }
    }
}

impl From<Limit> for ConnectError {
    fn from(limit: Limit) -> Self {
        ConnectError::Limited(limit)
    }
}

/// An account session that is up.
#[derive(Debug)]
pub struct AccountSession {
    /// Its stream.
    pub link: Link,
    /// The server's header: its prefixes go along with stanzas that move to clients.
    pub header: Header,
    /// The largest stanza that the server takes, if it says so (XEP-0478).
    pub max_bytes: Option<usize>,
}

/// Opens account sessions.
#[derive(Clone)]
pub struct Connector {
    /// The account's domain.
    pub domain: Arc<Domain>,
    /// Where the keys are.
    pub store: Arc<dyn Store>,
    /// How many may be opened at the same time: a restart must not be a flood.
    pub pace: Arc<Pace>,
    /// For login and binding.
    pub timeout: Duration,
    /// Who may try to log in.
    pub guard: Arc<Guard>,
    /// Whose keys are of no use.
    pub dead_keys: DeadKeys,
}

impl Connector {
    /// Opens the session whose full JID is `session`. `awaited` tells whether a client waits for it.
    pub async fn open(self, session: FullJid, awaited: watch::Receiver<bool>) -> Result<AccountSession, ConnectError> {
        let _turn = self.pace.turn(awaited).await.ok_or(ConnectError::Ending)?;
        let account = session.to_bare();
        let store = self.store.clone();
        let name = account.clone();
        let enrolment = tokio::task::spawn_blocking(move || store.enrolment(&name))
            .await
            .map_err(|_| ConnectError::Ending)??
            .ok_or_else(|| ConnectError::NotEnrolled(account.clone()))?;
        if enrolment.upstream != self.domain.upstream_id {
            debug!(%account, "enrolled at another upstream ({})", enrolment.upstream);
            return Err(ConnectError::NotEnrolled(account));
        }
        if self.dead_keys.contains(&account) {
            return Err(ConnectError::DeadKeys(account));
        }
        let attempt = self.guard.enter_by_itself(&self.domain.name).await?;
        let work = log_in(&self.domain, &account, enrolment.secret.clone(), Some(&enrolment));
        let opened = login::within(self.timeout, async { Ok(work.await) }).await;
        let opened = opened.map_err(ConnectError::from).and_then(|opened| opened);
        attempt.settle(match &opened {
            // What may fail after the login is no matter of passwords.
            Ok(_) | Err(ConnectError::Login(LoginError::Bind { .. })) => Outcome::Success,
            Err(ConnectError::Login(error)) => error.outcome(),
            Err(_) => Outcome::Withdrawn,
        });
        if opened.as_ref().is_err_and(ConnectError::needs_login) {
            self.dead_keys.insert(account.clone());
            // Unless a login changed them meanwhile: then the new ones are tried, in a while.
            let (store, name) = (self.store.clone(), account.clone());
            let now = tokio::task::spawn_blocking(move || store.enrolment(&name))
                .await
                .map_err(|_| ConnectError::Ending)??;
            if now.is_some_and(|now| now.secret != enrolment.secret) {
                self.dead_keys.remove(&account);
                return Err(ConnectError::OldKeys(account));
            }
        }
        let (bound, opened) = opened?;
        match bound {
            Some(bound) if bound == session => Ok(opened),
            Some(bound) => Err(ConnectError::OtherJid { bound, asked: session }),
            None => Err(ConnectError::NotEnrolled(account)),
        }
    }
}

/// Logs in to the account with `secret`; with an enrolment, its resource is bound too.
pub(super) async fn log_in(
    domain: &Domain,
    account: &BareJid,
    secret: Secret,
    enrolment: Option<&Enrolment>,
) -> Result<(Option<FullJid>, AccountSession), ConnectError> {
    let username = account.node().map(|n| n.as_str().to_owned()).unwrap_or_default();
    let mut dialled = domain.upstream.dial(&domain.name, Origin::Own).await?;
    let header = Header::client(&domain.name, None);
    let opened = login::open(&mut dialled.link, header.as_bytes()).await?;
    let policy = domain.policy(dialled.encrypted || dialled.peer.ip().is_loopback());
    login::login(&mut dialled.link, &opened.features, &username, secret, &dialled.binding, &policy).await?;
    let opened = login::open(&mut dialled.link, header.as_bytes()).await?;
    let max_bytes = login::max_bytes(&opened.features);
    let mut session = AccountSession { link: dialled.link, header: opened.header, max_bytes };
    let Some(enrolment) = enrolment else { return Ok((None, session)) };
    let bound = login::bind(&mut session.link, &opened.features, Some(&enrolment.resource)).await?;
    session.link.set_limits(domain.limits.after_login());
    session.link.skip_oversize();
    Ok((Some(bound), session))
}
