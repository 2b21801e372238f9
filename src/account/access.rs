//! What a session needs of its account's floor.

use std::future::Future;

use jid::BareJid;
use secrecy::SecretString;

use crate::account::guard::Attempt;
use crate::account::handle::Handle;
use crate::net::dial::Dialled;
use crate::net::login::LoginError;
use crate::stream::sasl::Plain;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// A login that the proxy made for a client, and that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFailure {
    /// The SASL `<failure/>` for the client (RFC 6120 §6.5).
    pub element: String,
    /// What happened, for the log.
    pub reason: String,
}

impl LoginFailure {
    /// With a condition of RFC 6120 §6.5.
    pub fn new(condition: &str, reason: impl ToString) -> Self {
        let element = format!("<failure xmlns='{}'><{condition}/></failure>", ns::SASL);
        LoginFailure { element, reason: reason.to_string() }
    }

    /// The server's condition where it gave one; what is not the client's fault is temporary.
    pub fn from_login(error: &LoginError) -> Self {
        match error {
            LoginError::Refused { raw, .. } => {
                LoginFailure { element: String::from_utf8_lossy(raw).into_owned(), reason: error.to_string() }
            }
            _ => Self::new("temporary-auth-failure", error),
        }
    }
}

/// The accounts, as a session sees them.
pub trait Accounts: Send + Sync + 'static {
    /// Logs in upstream with what the client gave by PLAIN; on success the keys are kept (enrolment). Settles the
    /// attempt.
    fn login(
        &self,
        domain: &str,
        upstream: &mut Dialled,
        features: &Stanza,
        plain: Plain,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Vec<u8>, LoginFailure>> + Send;

    /// Whether the kept keys fit this password; `None` if there are none, or they are known to be of no use.
    fn vouch(&self, account: &BareJid, password: &SecretString) -> impl Future<Output = Option<bool>> + Send;

    /// The account's handle, if it is enrolled.
    fn handle(&self, account: &BareJid) -> impl Future<Output = Option<Handle>> + Send;
}

impl<A: Accounts> Accounts for std::sync::Arc<A> {
    fn login(
        &self,
        domain: &str,
        upstream: &mut Dialled,
        features: &Stanza,
        plain: Plain,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Vec<u8>, LoginFailure>> + Send {
        A::login(self, domain, upstream, features, plain, attempt)
    }

    fn vouch(&self, account: &BareJid, password: &SecretString) -> impl Future<Output = Option<bool>> + Send {
        A::vouch(self, account, password)
    }

    fn handle(&self, account: &BareJid) -> impl Future<Output = Option<Handle>> + Send {
        A::handle(self, account)
    }
}
