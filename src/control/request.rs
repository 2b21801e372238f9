//! What an operator asks for.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// What an operator asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Enrol an account.
    AccountAdd {
        /// The account.
        account: String,
        /// Its password.
        password: Password,
    },
    /// List the accounts that are enrolled or denied.
    AccountList,
    /// Forget an account's keys.
    AccountRemove {
        /// The account.
        account: String,
        /// Forget and wipe all that is kept of it.
        #[serde(default)]
        purge: bool,
    },
    /// Forget an account's keys, and keep none from now on.
    AccountDeny {
        /// The account.
        account: String,
    },
    /// Take that back.
    AccountAllow {
        /// The account.
        account: String,
    },
    /// Let the kept keys of an account be used at the server that its domain has now.
    AccountRebind {
        /// The account.
        account: String,
    },
    /// The same for all accounts of a domain.
    AccountRebindAll {
        /// The domain.
        domain: String,
    },
    /// List the client sessions and the account sessions.
    SessionList,
    /// End one.
    SessionKill {
        /// A session's number, a client's full JID, or an account.
        session: String,
    },
    /// List the rooms of an account, or of all.
    RoomsList {
        /// The account.
        #[serde(default)]
        account: Option<String>,
    },
    /// Have an account leave a room.
    RoomsLeave {
        /// The account.
        account: String,
        /// The room.
        room: String,
    },
    /// Make a new key for the store.
    KeyRotate,
    /// Forget the best mechanism a domain's server has offered.
    DomainReset {
        /// The domain.
        domain: String,
    },
}

impl Request {
    /// What is asked and about whom, for the log: no secrets.
    pub fn describe(&self) -> (&'static str, &str) {
        match self {
            Request::AccountAdd { account, .. } => ("account add", account),
            Request::AccountList => ("account list", ""),
            Request::AccountRemove { account, purge: false } => ("account remove", account),
            Request::AccountRemove { account, purge: true } => ("account remove --purge", account),
            Request::AccountDeny { account } => ("account deny", account),
            Request::AccountAllow { account } => ("account allow", account),
            Request::AccountRebind { account } => ("account rebind", account),
            Request::AccountRebindAll { domain } => ("account rebind --all-of", domain),
            Request::SessionList => ("session list", ""),
            Request::SessionKill { session } => ("session kill", session),
            Request::RoomsList { account } => ("rooms list", account.as_deref().unwrap_or_default()),
            Request::RoomsLeave { account, .. } => ("rooms leave", account),
            Request::KeyRotate => ("key rotate", ""),
            Request::DomainReset { domain } => ("domain reset", domain),
        }
    }

    /// As it goes over the socket, with its end of line. Wiped when dropped, and never moved by growing.
    pub fn to_line(&self) -> serde_json::Result<Zeroizing<Vec<u8>>> {
        let mut line = Zeroizing::new(Vec::with_capacity(super::socket::MOST));
        serde_json::to_writer(&mut *line, self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// A password on its way over the socket: in base64, which JSON never escapes, so that it is read out of the buffer
/// without a copy that nobody wipes.
pub struct Password(pub SecretString);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(self.0.expose_secret())))
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Password;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a password in base64")
            }
            // The errors do not quote what was given.
            fn visit_str<E: Error>(self, text: &str) -> Result<Password, E> {
                let bytes = STANDARD.decode(text).map(Zeroizing::new).map_err(|_| E::custom("not base64"))?;
                let text = std::str::from_utf8(&bytes).map_err(|_| E::custom("not UTF-8"))?;
                Ok(Password(SecretString::from(text)))
            }
        }
        deserializer.deserialize_str(Base64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_way_and_shows_no_password() {
        let odd = "quote\" back\\slash ünïcode 🦀\n";
        let request = Request::AccountAdd { account: "a@x".to_owned(), password: Password(SecretString::from(odd)) };
        assert!(!format!("{request:?} {:?}", request.describe()).contains("quote"));
        let line = request.to_line().unwrap();
        assert!(line.ends_with(b"\"}\n"));
        let Ok(Request::AccountAdd { account, password }) = serde_json::from_slice(&line) else { panic!() };
        assert_eq!((account.as_str(), password.0.expose_secret()), ("a@x", odd));
        for wrong in ["{}", r#"{"command":"account-add","account":"a@x","password":"p-a-s-s"}"#] {
            let error = serde_json::from_str::<Request>(wrong).unwrap_err().to_string();
            assert!(!error.contains("p-a-s-s"), "{error}");
        }
    }
}
