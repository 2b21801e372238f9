//! PLAIN (RFC 4616) as a client of ours sends it.

use super::prep;
use jid::{BareJid, DomainRef, NodePart};
use secrecy::SecretString;
use thiserror::Error;

/// The longest name and password taken, in bytes: a localpart's limit (RFC 7622 §3.3), four times RFC 4616's
/// least for the password.
const MAX_NAME: usize = 1023;
const MAX_AUTHZID: usize = 2 * MAX_NAME + 1;
const MAX_PASSWORD: usize = 1024;

/// A parsed PLAIN message.
#[derive(Clone, Debug)]
pub struct Plain {
    /// The identity to act as, where the client named one.
    pub authzid: Option<String>,
    /// The name that authenticates: a localpart.
    pub authcid: String,
    /// The password.
    pub password: SecretString,
}

/// Why a PLAIN message is refused. The first is SASL's `malformed-request`, the second `invalid-authzid`, the
/// third `not-authorized`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PlainError {
    /// Not `[authzid] NUL authcid NUL password` in UTF-8, or something is empty or too long.
    #[error("malformed PLAIN message: {0}")]
    Malformed(&'static str),
    /// The client wants to act as somebody else (S2).
    #[error("the authorization identity is not the account that logs in")]
    ForeignAuthzid,
    /// The name is no localpart of a JID.
    #[error("the user name is not a valid localpart")]
    BadName,
}

/// Parses a (decoded) PLAIN message.
pub fn parse_plain(message: &[u8]) -> Result<Plain, PlainError> {
    let text = simdutf8::basic::from_utf8(message).map_err(|_| PlainError::Malformed("it is not UTF-8"))?;
    let mut parts = text.split('\0');
    let (Some(authzid), Some(authcid), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(PlainError::Malformed("it has not exactly two NULs"));
    };
    if authcid.is_empty() || password.is_empty() {
        return Err(PlainError::Malformed("the user name or the password is empty"));
    }
    if authzid.len() > MAX_AUTHZID || authcid.len() > MAX_NAME || password.len() > MAX_PASSWORD {
        return Err(PlainError::Malformed("a part of it is too long"));
    }
    Ok(Plain {
        authzid: (!authzid.is_empty()).then(|| authzid.to_owned()),
        authcid: authcid.to_owned(),
        password: SecretString::from(password),
    })
}

impl Plain {
    /// The account that this logs in to at `domain`, both names prepared; an authzid must name the same (S2).
    pub fn account(&self, domain: &DomainRef) -> Result<BareJid, PlainError> {
        let name = prep::query(&self.authcid).ok_or(PlainError::BadName)?;
        let node = NodePart::new(&name).map_err(|_| PlainError::BadName)?;
        let account = BareJid::from_parts(Some(&node), domain);
        match &self.authzid {
            Some(authzid) if BareJid::new(authzid).ok().as_ref() != Some(&account) => Err(PlainError::ForeignAuthzid),
            _ => Ok(account),
        }
    }
}
