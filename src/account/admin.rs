//! What an operator does with accounts (S25): enrol one with its password, list them, forget, deny, bind to another
//! server, and end account sessions.

use std::sync::Arc;

use jid::BareJid;
use secrecy::SecretString;

use crate::account::connect::ConnectError;
use crate::account::gauge::Gauge;
use crate::account::handle::ToAccount;
use crate::account::keys::{self, Kept};
use crate::account::registry::Registry;
use crate::net::login::{self, LoginError};
use crate::net::proxy_protocol::Origin;
use crate::store::{Rotation, StoreError, Summary};
use crate::stream::negotiation::Outcome;
use crate::stream::sasl::Secret;
use crate::xmpp::header::Header;

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The account is of no domain that is served here.
    #[error("{0} is not of a domain that is configured here; add the domain to the configuration first")]
    Domain(BareJid),
    /// No such domain.
    #[error("the domain {0} is not configured here")]
    NotServed(String),
    /// A bare domain has no password.
    #[error("{0} has no local part; give it as user@domain")]
    NoAccount(BareJid),
    /// The server said no, or could not be asked.
    #[error("{account} could not log in: {error}; check the password, and that the server is up")]
    Login {
        /// The account.
        account: BareJid,
        /// What went wrong.
        error: ConnectError,
    },
    /// The login went well, but nothing may be kept.
    #[error("{0} can log in, but this server takes only the password itself, and keep_password is false")]
    NotKept(BareJid),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Registry {
    /// Logs in once with the password to prove it, and enrols the account.
    pub async fn enrol(&self, account: &BareJid, password: SecretString) -> Result<Kept, AdminError> {
        let Some(domain) = self.domain(account.domain().as_str()) else {
            return Err(AdminError::Domain(account.clone()));
        };
        if keys::is_denied(self.store(), account).await? {
            return Err(StoreError::Denied { account: account.clone() }.into());
        }
        let Some(username) = account.node() else { return Err(AdminError::NoAccount(account.clone())) };
        let failed = |error: ConnectError| AdminError::Login { account: account.clone(), error };
        let attempt = self.guard().enter_by_itself(&domain.name).await.map_err(|limit| failed(limit.into()))?;
        let work = async {
            let mut dialled = match domain.upstream.dial(&domain.name, Origin::Own).await {
                Ok(dialled) => dialled,
                Err(error) => return Ok(Err(ConnectError::from(error))),
            };
            let header = Header::client(&domain.name, None);
            let opened = login::open(&mut dialled.link, header.as_bytes()).await?;
            let policy = domain.policy(dialled.encrypted || dialled.peer.ip().is_loopback());
            let secret = Secret::Password(password.clone());
            let name = username.as_str();
            let done =
                login::login(&mut dialled.link, &opened.features, name, secret, &dialled.binding, &policy).await?;
            Ok::<_, LoginError>(Ok(done))
        };
        let logged_in = match login::within(self.timeout(), work).await {
            Ok(Ok(logged_in)) => logged_in,
            Ok(Err(error)) => {
                attempt.settle(Outcome::Withdrawn);
                return Err(failed(error));
            }
            Err(error) => {
                attempt.settle(error.outcome());
                return Err(failed(error.into()));
            }
        };
        attempt.settle(Outcome::Success);
        self.remember_mechanism(domain, logged_in.mechanism).await;
        let learned = logged_in.learned;
        match keys::keep(self.store(), domain, account, &password, learned, self.guard(), self.timeout()).await? {
            Kept::Nothing => Err(AdminError::NotKept(account.clone())),
            kept => {
                self.keys_work(account);
                Ok(kept)
            }
        }
    }

    /// The enrolled accounts, without their secrets.
    pub async fn enrolled(&self) -> Result<Vec<Summary>, AdminError> {
        let store = self.store().clone();
        Ok(keys::blocking(move || store.enrolments()).await?)
    }

    /// Whether an enrolment is of the server that its domain has now (S25); `None` if the domain is not served.
    pub fn is_bound_here(&self, enrolment: &Summary) -> Option<bool> {
        let domain = self.domain(enrolment.account.domain().as_str())?;
        Some(domain.upstream_id == enrolment.upstream)
    }

    /// Forgets an account's keys, with `purge` all that is kept of it, and closes its account session. Whether there
    /// was anything.
    pub async fn unenrol(&self, account: &BareJid, purge: bool) -> Result<bool, AdminError> {
        let (store, name) = (self.store().clone(), account.clone());
        let forget = move || if purge { store.purge(&name) } else { store.remove_enrolment(&name) };
        let known = keys::blocking(forget).await;
        // Also where the store has failed: what is forgotten here is not used any more.
        self.retire(account);
        Ok(known?)
    }

    /// Forgets an account's keys, and keeps none from now on: it passes through. Whether it was not denied before.
    pub async fn deny(&self, account: &BareJid) -> Result<bool, AdminError> {
        if self.domain(account.domain().as_str()).is_none() {
            return Err(AdminError::Domain(account.clone()));
        }
        let (store, name) = (self.store().clone(), account.clone());
        let new = keys::blocking(move || store.deny(&name)).await;
        self.retire(account);
        Ok(new?)
    }

    /// Takes [`deny`](Self::deny) back; whether the account was denied.
    pub async fn allow(&self, account: &BareJid) -> Result<bool, AdminError> {
        let (store, name) = (self.store().clone(), account.clone());
        Ok(keys::blocking(move || store.allow(&name)).await?)
    }

    /// Whether an account is denied.
    pub async fn is_denied(&self, account: &BareJid) -> Result<bool, AdminError> {
        Ok(keys::is_denied(self.store(), account).await?)
    }

    /// The accounts that are denied.
    pub async fn denied(&self) -> Result<Vec<BareJid>, AdminError> {
        let store = self.store().clone();
        Ok(keys::blocking(move || store.denied()).await?)
    }

    /// Lets the kept keys of an account be used at the server that its domain has now (S25). Whether it is enrolled.
    pub async fn rebind(&self, account: &BareJid) -> Result<bool, AdminError> {
        let Some(domain) = self.domain(account.domain().as_str()) else {
            return Err(AdminError::Domain(account.clone()));
        };
        let (store, name, upstream) = (self.store().clone(), account.clone(), domain.upstream_id.clone());
        let known = keys::blocking(move || store.rebind(&name, &upstream)).await?;
        self.tell(account, ToAccount::KeysChanged);
        Ok(known)
    }

    /// [`rebind`](Self::rebind) for all accounts of a domain that are bound elsewhere; which those were.
    pub async fn rebind_domain(&self, domain: &str) -> Result<Vec<BareJid>, AdminError> {
        let Some(domain) = self.domain(domain) else { return Err(AdminError::NotServed(domain.to_owned())) };
        let all = self.enrolled().await?.into_iter();
        let elsewhere = all.filter(|e| e.account.domain().as_str() == domain.name && e.upstream != domain.upstream_id);
        let accounts: Vec<BareJid> = elsewhere.map(|e| e.account).collect();
        for account in &accounts {
            self.rebind(account).await?;
        }
        Ok(accounts)
    }

    /// The accounts that are live: the JID of their account session, and what they show of themselves.
    pub fn account_sessions(&self) -> Vec<(String, Arc<Gauge>)> {
        let mut all: Vec<_> =
            self.live().into_iter().map(|(_, h)| (h.session_jid().to_owned(), h.gauge().clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Ends an account's session: its clients join by themselves until one of them logs in (S25). Whether it was live.
    pub async fn kill(&self, account: &BareJid) -> bool {
        let Some((_, handle)) = self.live().into_iter().find(|(jid, _)| jid == account) else { return false };
        handle.sender().send(ToAccount::Killed).await.is_ok()
    }

    /// Forgets the best mechanism a domain's server has offered (S5): the operator knows why it offers less now.
    /// Whether there was anything to forget.
    pub async fn reset_mechanism(&self, domain: &str) -> Result<bool, AdminError> {
        let Some(domain) = self.domain(domain) else { return Err(AdminError::NotServed(domain.to_owned())) };
        domain.forget();
        let (store, name) = (self.store().clone(), domain.name.clone());
        Ok(keys::blocking(move || store.forget_best_mechanism(&name)).await?)
    }

    /// Makes a new key for the store and seals everything anew with it (S22).
    pub async fn rotate_key(&self) -> Result<Rotation, AdminError> {
        let store = self.store().clone();
        Ok(keys::blocking(move || store.rotate_key()).await?)
    }
}
