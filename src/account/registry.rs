//! Which accounts are live in this process, and the way to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use jid::BareJid;
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::account::access::{Accounts, LoginFailure};
use crate::account::account::Account;
use crate::account::actor::Actor;
use crate::account::connect::Connector;
use crate::account::domain::Domain;
use crate::account::gauge::Standing;
use crate::account::guard::{Attempt, Guard};
use crate::account::handle::{Handle, ToAccount};
use crate::account::keys::{self, DeadKeys};
use crate::account::pace::Pace;
use crate::muc::Settings;
use crate::net::background::busy;
use crate::net::dial::Dialled;
use crate::net::login;
use crate::store::Store;
use crate::stream::negotiation::Outcome;
use crate::stream::sasl::{Mechanism, Plain, Secret};
use crate::xmpp::stanza::Stanza;

/// How many messages may wait for an account.
const QUEUE: usize = 256;

/// The accounts of this process.
pub struct Registry {
    live: Arc<DashMap<BareJid, Handle>>,
    store: Arc<dyn Store>,
    domains: HashMap<String, Arc<Domain>>,
    settings: Arc<Settings>,
    connect_timeout: Duration,
    pace: Arc<Pace>,
    tasks: TaskTracker,
    shutdown: watch::Receiver<bool>,
    guard: Arc<Guard>,
    dead_keys: DeadKeys,
}

impl Registry {
    /// A registry over `store`. `tasks` counts the accounts' tasks, so that a shutdown can wait for them.
    pub fn new(
        store: Arc<dyn Store>,
        domains: HashMap<String, Arc<Domain>>,
        settings: Arc<Settings>,
        connect_timeout: Duration,
        tasks: TaskTracker,
        shutdown: watch::Receiver<bool>,
        guard: Arc<Guard>,
    ) -> Self {
        let (live, dead_keys, pace) = (Arc::default(), DeadKeys::default(), Arc::default());
        Registry { live, store, domains, settings, connect_timeout, pace, tasks, shutdown, guard, dead_keys }
    }

    /// A domain that is served.
    pub fn domain(&self, name: &str) -> Option<&Arc<Domain>> {
        self.domains.get(name)
    }

    /// All domains that are served.
    pub fn domains(&self) -> impl Iterator<Item = &Arc<Domain>> {
        self.domains.values()
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Who may try to log in.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// How long a login or the opening of an account session may take.
    pub(super) fn timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Tells a live account something. A full queue means a busy account: what could be told, it has found out.
    pub(super) fn tell(&self, account: &BareJid, message: ToAccount) {
        let handle = self.live.get(account).map(|handle| handle.clone());
        if let Some(handle) = handle {
            let _ = handle.sender().try_send(message);
        }
    }

    /// A login has shown what opens the account.
    pub(super) fn keys_work(&self, account: &BareJid) {
        self.dead_keys.remove(account);
        self.tell(account, ToAccount::KeysChanged);
    }

    /// The accounts that are live, and their handles.
    pub(super) fn live(&self) -> Vec<(BareJid, Handle)> {
        self.live.iter().map(|entry| (entry.key().clone(), entry.value().clone())).collect()
    }

    /// The account is no longer enrolled: who comes now passes through, and the live session ends.
    pub(super) fn retire(&self, account: &BareJid) {
        self.dead_keys.remove(account);
        if let Some((_, handle)) = self.live.remove(account) {
            self.tasks.spawn(async move {
                let _ = handle.sender().send(ToAccount::Unenrolled).await;
            });
        }
    }

    /// Remembers the best a server has offered (S5).
    pub(super) async fn remember_mechanism(&self, domain: &Arc<Domain>, mechanism: Mechanism) {
        if !domain.remember(mechanism) {
            return;
        }
        let (store, name) = (self.store.clone(), domain.name.clone());
        if let Err(error) = keys::blocking(move || store.set_best_mechanism(&name, mechanism)).await {
            warn!(domain = %domain.name, %error, "cannot remember the server's best mechanism");
        }
    }

    fn start(&self, account: &BareJid, resource: &str, domain: &Arc<Domain>) -> Option<Handle> {
        let jid = account.with_resource_str(resource).ok()?;
        let (sender, inbox) = mpsc::channel(QUEUE);
        let handle = Handle::new(sender, jid.to_string().into());
        let machine = Account::new(jid.clone(), self.settings.clone(), self.connect_timeout);
        let connector = Connector {
            domain: domain.clone(),
            store: self.store.clone(),
            pace: self.pace.clone(),
            timeout: self.connect_timeout,
            guard: self.guard.clone(),
            dead_keys: self.dead_keys.clone(),
        };
        let (live, key) = (Arc::downgrade(&self.live), account.clone());
        let forget = Box::new(move || {
            let Some(live) = live.upgrade() else { return true };
            // Handles are only given out under this lock: if this is the only one, nobody can come any more.
            live.remove_if(&key, |_, handle| handle.sender().strong_count() == 1).is_some()
        });
        let actor = Actor::new(jid, machine, connector, inbox, self.shutdown.clone(), forget, handle.gauge().clone());
        self.tasks.spawn(actor.run());
        Some(handle)
    }

    async fn keep(&self, domain: &Arc<Domain>, account: &BareJid, plain: &Plain, learned: login::LoggedIn) {
        let password = &plain.password;
        let kept =
            keys::keep(&self.store, domain, account, password, learned.learned, &self.guard, self.connect_timeout)
                .await;
        match kept {
            Ok(keys::Kept::Nothing) => {}
            Ok(_) => self.keys_work(account),
            Err(error) => warn!(%account, %error, "not enrolled"),
        }
    }
}

impl Accounts for Registry {
    async fn login(
        &self,
        domain: &str,
        upstream: &mut Dialled,
        features: &Stanza,
        plain: Plain,
        attempt: Attempt,
    ) -> Result<Vec<u8>, LoginFailure> {
        let Some(domain) = self.domains.get(domain) else {
            return Err(LoginFailure::new("temporary-auth-failure", "the domain is not served here"));
        };
        let name = jid::DomainPart::new(&domain.name)
            .map_err(|error| LoginFailure::new("temporary-auth-failure", format!("{}: {error}", domain.name)))?;
        let account = plain.account(&name).map_err(|error| LoginFailure::new("not-authorized", error))?;
        let policy = domain.policy(upstream.encrypted || upstream.peer.ip().is_loopback());
        let secret = Secret::Password(plain.password.clone());
        let username = plain.authcid.as_str();
        match login::login(&mut upstream.link, features, username, secret, &upstream.binding, &policy).await {
            Ok(logged_in) => {
                attempt.settle(Outcome::Success);
                self.remember_mechanism(domain, logged_in.mechanism).await;
                self.keep(domain, &account, &plain, logged_in).await;
                Ok(Vec::new())
            }
            Err(error) => {
                if attempt.vouched() && error.is_refusal() {
                    self.dead_keys.insert(account);
                }
                attempt.settle(error.outcome());
                Err(LoginFailure::from_login(&error))
            }
        }
    }

    async fn vouch(&self, account: &BareJid, password: &SecretString) -> Option<bool> {
        let domain = self.domains.get(account.domain().as_str())?;
        if self.dead_keys.contains(account) {
            return None;
        }
        let enrolment = keys::read(&self.store, account).await.ok()??;
        let (secret, password) = (enrolment.secret, password.clone());
        let fits = busy(move || secret.fits(&password));
        if enrolment.upstream == domain.upstream_id { fits.await } else { None }
    }

    async fn handle(&self, account: &BareJid) -> Option<Handle> {
        let handle = self.live_handle(account).await?;
        // A full queue means a busy account: it has found out what there is to find out.
        let _ = handle.sender().try_send(ToAccount::LoggedIn);
        Some(handle)
    }
}

impl Registry {
    async fn live_handle(&self, account: &BareJid) -> Option<Handle> {
        let live = self.live.get(account).map(|handle| handle.clone());
        if let Some(handle) = live {
            // A client of the account has logged in: what the operator has ended may begin again (S25).
            if handle.gauge().standing() == Standing::Killed {
                let _ = handle.sender().try_send(ToAccount::KeysChanged);
            }
            return Some(handle);
        }
        let domain = self.domains.get(account.domain().as_str())?;
        let enrolment = match keys::read(&self.store, account).await {
            Ok(None) => return None,
            Ok(Some(found)) if found.upstream != domain.upstream_id => {
                info!(%account, bound_to = found.upstream, "the kept keys are of another server, and not used");
                return None;
            }
            Ok(Some(found)) => found,
            Err(error) => {
                warn!(%account, %error, "cannot read the enrolment: its rooms are left to its clients");
                return None;
            }
        };
        match self.live.entry(account.clone()) {
            dashmap::Entry::Occupied(entry) => Some(entry.get().clone()),
            dashmap::Entry::Vacant(entry) => {
                let handle = self.start(account, &enrolment.resource, domain)?;
                entry.insert(handle.clone());
                Some(handle)
            }
        }
    }
}
