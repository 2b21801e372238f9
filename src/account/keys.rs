//! Enrolment (DESIGN §5): after a login with the password, what the account session needs to log in by itself is
//! kept. SCRAM's SaltedPassword if a second login with it succeeds; else, where that is allowed, the password.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use jid::BareJid;
use secrecy::SecretString;
use tracing::{info, warn};

use crate::account::connect::{ConnectError, log_in};
use crate::account::domain::Domain;
use crate::account::guard::Guard;
use crate::net::login::{self, LoginError};
use crate::store::{Enrolment, Store, StoreError};
use crate::stream::negotiation::Outcome;
use crate::stream::sasl::{SaltedPassword, SaslError, Secret};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The kept keys are still right.
    Unchanged,
    /// New keys are kept.
    Keys,
    /// The password is kept.
    Password,
    /// Nothing: the account's rooms stay with its clients.
    Nothing,
}

/// The accounts whose kept keys the server has refused since this process started: they are not tried again until a
/// client logs in with PLAIN (S3, S7). At most one entry for each enrolled account.
#[derive(Debug, Clone, Default)]
pub struct DeadKeys(Arc<DashMap<BareJid, ()>>);

impl DeadKeys {
    /// They do not work.
    pub fn insert(&self, account: BareJid) {
        self.0.insert(account, ());
    }

    /// They may work again.
    pub fn remove(&self, account: &BareJid) {
        self.0.remove(account);
    }

    /// Whether they are known not to work.
    pub fn contains(&self, account: &BareJid) -> bool {
        self.0.contains_key(account)
    }
}

/// Keeps what a login has shown to work. `learned`: the SaltedPassword of that login, if it was SCRAM.
pub async fn keep(
    store: &Arc<dyn Store>,
    domain: &Domain,
    account: &BareJid,
    password: &SecretString,
    learned: Option<SaltedPassword>,
    guard: &Guard,
    timeout: Duration,
) -> Result<Kept, StoreError> {
    if is_denied(store, account).await? {
        return Ok(Kept::Nothing);
    }
    let known = read(store, account).await?.filter(|known| known.upstream == domain.upstream_id);
    if let Some(known) = &known {
        let same = match (&known.secret, &learned) {
            (Secret::Salted(kept), Some(learned)) => kept == learned,
            (kept, _) => *kept == Secret::Password(password.clone()),
        };
        if same {
            return Ok(Kept::Unchanged);
        }
    }
    let (secret, kept) = match prove(domain, account, learned, guard, timeout).await {
        Proof::Works(salted) => (Secret::Salted(salted), Kept::Keys),
        Proof::Useless if domain.keep_password => (Secret::Password(password.clone()), Kept::Password),
        Proof::Useless => {
            info!(%account, "not enrolled: this server takes only the password, and keep_password is false");
            return Ok(Kept::Nothing);
        }
        Proof::Unknown(error) => {
            warn!(%account, %error, "not enrolled: the second login that proves the keys did not come about");
            return Ok(Kept::Nothing);
        }
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (store, name, upstream) = (store.clone(), account.clone(), domain.upstream_id.clone());
    blocking(move || store.put_enrolment(&name, &upstream, &secret, now)).await?;
    info!(%account, ?kept, "enrolled");
    Ok(kept)
}

/// What is kept of an account.
pub async fn read(store: &Arc<dyn Store>, account: &BareJid) -> Result<Option<Enrolment>, StoreError> {
    let (store, account) = (store.clone(), account.clone());
    blocking(move || store.enrolment(&account)).await
}

/// Whether the operator wants nothing kept of an account.
pub async fn is_denied(store: &Arc<dyn Store>, account: &BareJid) -> Result<bool, StoreError> {
    let (store, account) = (store.clone(), account.clone());
    blocking(move || store.is_denied(&account)).await
}

/// The store may wait for the disk: not on a thread that carries streams.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(StoreError::Ending))
}

enum Proof {
    Works(SaltedPassword),
    /// The keys do for one login only, or there are none.
    Useless,
    Unknown(ConnectError),
}

/// Logs in a second time, with the keys alone.
async fn prove(
    domain: &Domain,
    account: &BareJid,
    learned: Option<SaltedPassword>,
    guard: &Guard,
    timeout: Duration,
) -> Proof {
    let Some(learned) = learned else { return Proof::Useless };
    let attempt = log_in(domain, account, Secret::Salted(learned.clone()), None);
    let proved = login::within(timeout, async { Ok(attempt.await) }).await.map_err(ConnectError::from).and_then(|r| r);
    // It is no guess, so it needs no leave; a server that counts failures counts this one all the same.
    if let Err(ConnectError::Login(error)) = &proved
        && error.outcome() == Outcome::Failure
    {
        guard.failed_at_server(&domain.name);
    }
    match proved {
        Ok((_, mut session)) => {
            session.link.queue(b"</stream:stream>");
            let _ = tokio::time::timeout(timeout, session.link.shutdown()).await;
            Proof::Works(learned)
        }
        // A server that keeps passwords in the clear makes a new salt for every login.
        Err(ConnectError::Login(LoginError::Sasl(SaslError::SaltChanged))) => Proof::Useless,
        Err(error) => Proof::Unknown(error),
    }
}
