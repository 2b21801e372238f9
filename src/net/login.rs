//! The client's part of a login on a dialled link (RFC 6120 §4 to §7): open the stream, run SASL, bind a resource.
//!
//! [`crate::stream::sasl`] says what to answer; this carries it. No deadline of its own: see [`within`].

use std::time::Duration;

use bytes::Bytes;
use jid::FullJid;
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::{Event, Link, LinkError};
use crate::xml::framer::Frame;
use crate::xmpp::header::Header;
use crate::xmpp::stanza::Stanza;

pub mod sasl {
    //! Stands in for `stream::sasl`.
    #![allow(missing_docs)]
    use secrecy::SecretString;

    #[derive(Debug, Clone, Default)]
    pub struct ChannelBinding {
        pub exporter: Option<Vec<u8>>,
        pub server_end_point: Option<Vec<u8>>,
    }
    #[derive(Debug, Clone)]
    pub enum Secret {
        Password(SecretString),
        Salted(SaltedPassword),
    }
    #[derive(Debug, Clone)]
    pub struct SaltedPassword;
    #[derive(Debug, Clone, Copy)]
    pub enum Mechanism {}
    #[derive(Debug, Clone, Copy, Default)]
    pub struct Policy;
    #[derive(Debug, thiserror::Error)]
    #[error("")]
    pub struct SaslError;
}
use sasl::{ChannelBinding, Mechanism, Policy, SaltedPassword, SaslError, Secret};

/// A stream whose header and features have arrived.
#[derive(Debug)]
pub struct Opened {
    /// The server's header.
    pub header: Header,
    /// `<stream:features/>`
    pub features: Stanza,
}

/// A login that succeeded.
#[derive(Debug)]
pub struct LoggedIn {
    /// What it logged in with.
    pub mechanism: Mechanism,
    /// After SCRAM: what to keep for logging in again without the password.
    pub learned: Option<SaltedPassword>,
}

/// Why a login did not succeed, by what is to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server refused the credentials (SASL `<failure/>`, RFC 6120 §6.5).
    #[error("the server refused the login: {condition}{}", text.as_ref().map(|t| format!(" ({t})")).unwrap_or_default())]
    Refused {
        /// The server's condition, such as `not-authorized`.
        condition: String,
        /// Its text.
        text: Option<String>,
        /// The `<failure/>` as it came.
        raw: Bytes,
    },
    /// The mechanism found fault: no usable one, changed keys, a server that proves nothing.
    #[error(transparent)]
    Sasl(#[from] SaslError),
    /// Binding was refused by a stanza error (RFC 6120 §7.7).
    #[error("the server refused the resource: {condition}")]
    Bind {
        /// The stanza error's condition, such as `conflict`, `resource-constraint`, `not-allowed`.
        condition: String,
    },
    /// The server ended the stream by an error.
    #[error("the server ended the stream: {condition}{}", text.as_ref().map(|t| format!(" ({t})")).unwrap_or_default())]
    Stream {
        /// The stream error's condition.
        condition: String,
        /// Its text.
        text: Option<String>,
        /// The `<stream:error/>` as it came.
        raw: Bytes,
    },
    /// The server does not behave as RFC 6120 says.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The connection is gone.
    #[error("the connection to the server is lost: {0}")]
    Lost(std::io::Error),
    /// The server took too long.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
}

/// Sends `header` and waits for the server's and its features. The link must be at the start of a stream.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>, header: &[u8]) -> Result<Opened, LoginError> {
    let _ = (link, header);
    Err(LoginError::Protocol("not yet".into()))
}

/// Logs in with the best mechanism that `features` offer and `policy` allows. After it the stream restarts:
/// [`Link::restart`] has been called, the caller opens it anew.
pub async fn login<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    features: &Stanza,
    username: &str,
    secret: Secret,
    binding: &ChannelBinding,
    policy: &Policy,
) -> Result<LoggedIn, LoginError> {
    let _ = (link, features, username, secret, binding, policy);
    Err(LoginError::Protocol("not yet".into()))
}

/// Binds `resource` (RFC 6120 §7), or one that the server chooses, and returns the JID as bound. Starts the session
/// of RFC 3921 where `features` ask for it.
pub async fn bind<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    features: &Stanza,
    resource: Option<&str>,
) -> Result<FullJid, LoginError> {
    let _ = (link, features, resource);
    Err(LoginError::Protocol("not yet".into()))
}

/// `work`, given up after `limit`.
pub async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, LoginError>>) -> Result<T, LoginError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(LoginError::Timeout(limit)))
}

/// The SASL mechanisms that the features offer.
pub fn mechanisms(features: &Stanza) -> Vec<String> {
    let _ = features;
    Vec::new()
}

/// The channel-binding types that the features list (XEP-0440); `None` if the server does not list any.
pub fn binding_types(features: &Stanza) -> Option<Vec<String>> {
    let _ = features;
    None
}

/// Whether the features have a child `name` in `space`.
pub fn offers(features: &Stanza, name: &str, space: &str) -> bool {
    features.tree().is_ok_and(|tree| tree.root().child(name, space).is_some())
}

/// Whether the element itself is `name` in `space`.
pub fn is(element: &Stanza, name: &str, space: &str) -> bool {
    element.tree().is_ok_and(|tree| tree.root().is(name, space))
}

/// What went wrong when something else came than `wanted`.
pub fn unexpected(came: Result<Event, LinkError>, wanted: &str) -> LoginError {
    match came {
        Ok(Event::Frame(Frame::Element(element))) => {
            LoginError::Protocol(format!("<{}/> instead of {wanted}", Stanza::new(element).name()))
        }
        Ok(Event::Frame(Frame::Header(_))) => LoginError::Protocol(format!("a stream header instead of {wanted}")),
        Ok(Event::Frame(Frame::Close) | Event::End) => LoginError::Lost(std::io::ErrorKind::UnexpectedEof.into()),
        Err(LinkError::Framing(error)) => LoginError::Protocol(error.to_string()),
        Err(LinkError::Io(error)) => LoginError::Lost(error),
    }
}
