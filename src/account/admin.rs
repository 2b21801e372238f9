//! What an operator does with accounts: enrol one with its password, list them, forget one.

use jid::BareJid;
use secrecy::SecretString;

use crate::account::connect::ConnectError;
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

    /// Forgets an account's keys and closes its account session. Whether it was enrolled.
    pub async fn unenrol(&self, account: &BareJid) -> Result<bool, AdminError> {
        let (store, name) = (self.store().clone(), account.clone());
        let known = keys::blocking(move || store.remove_enrolment(&name)).await?;
        self.retire(account);
        Ok(known)
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
