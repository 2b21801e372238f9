//! The client's part of a login on a dialled link (RFC 6120 §4 to §7): open the stream, run SASL, bind a resource.
//!
//! [`crate::stream::sasl`] says what to answer; this carries it. No deadline of its own: see [`within`].

use std::time::Duration;

use bytes::Bytes;
use jid::FullJid;
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::{Event, Link, LinkError};
use crate::stream::negotiation::Outcome;
use crate::stream::sasl::{Mechanism, SaltedPassword, SaslError};
use crate::xml::framer::{Frame, Space};
use crate::xml::writer::escape;
use crate::xmpp::header::Header;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

mod exchange;
mod features;

pub use exchange::login;
pub use features::{binding_types, is, max_bytes, mechanisms, offers};

/// The session of RFC 3921 §3, which old servers still ask for.
const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";

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

impl LoginError {
    /// Whether the kept keys are of no use any more: the account has to log in anew.
    pub fn keys_are_dead(&self) -> bool {
        matches!(self, LoginError::Sasl(SaslError::SaltChanged | SaslError::HashNotOffered { .. }))
    }

    /// What it means for the counts of failed logins (S3).
    pub fn outcome(&self) -> Outcome {
        match self {
            LoginError::Sasl(error) if error.is_before_all() => Outcome::Withdrawn,
            LoginError::Sasl(_) | LoginError::Refused { .. } => Outcome::Failure,
            _ => Outcome::Unanswered,
        }
    }

    /// Whether the server itself said no to these credentials (S7: authority has ended).
    pub fn is_refusal(&self) -> bool {
        matches!(self, LoginError::Refused { .. })
    }
}

/// Sends `header` and waits for the server's header and its features. The link must be at the start of a stream.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>, header: &[u8]) -> Result<Opened, LoginError> {
    link.queue(header);
    let header = match link.recv().await {
        Ok(Event::Frame(Frame::Header(bytes))) => Header::parse(bytes),
        other => return Err(unexpected(other, "a stream header")),
    };
    let features = element(link, "<stream:features/>").await?;
    if features.space() != Space::Streams || features.name() != "features" {
        return Err(LoginError::Protocol(format!("<{}/> instead of <stream:features/>", features.name())));
    }
    Ok(Opened { header, features })
}

/// Binds `resource` (RFC 6120 §7), or one that the server chooses, and returns the JID as bound. Starts the session
/// of RFC 3921 where `features` ask for it.
pub async fn bind<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    features: &Stanza,
    resource: Option<&str>,
) -> Result<FullJid, LoginError> {
    let resource = resource.map(|r| format!("<resource>{}</resource>", escape(r))).unwrap_or_default();
    let answer = ask(link, "bind", &format!("<bind xmlns='{}'>{resource}</bind>", ns::BIND)).await?;
    let jid = answer
        .tree()
        .ok()
        .and_then(|tree| tree.root().child("bind", ns::BIND)?.child_text("jid", ns::BIND))
        .and_then(|jid| FullJid::new(jid.trim()).ok())
        .ok_or_else(|| LoginError::Protocol("no full JID in the answer to <bind/>".into()))?;
    if features::wants_session(features) {
        ask(link, "session", &format!("<session xmlns='{SESSION}'/>")).await?;
    }
    Ok(jid)
}

/// Sends an IQ of type set and waits for its answer. Nothing else is expected from a server at this point; what
/// comes all the same is left out.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    id: &str,
    payload: &str,
) -> Result<Stanza, LoginError> {
    link.queue(format!("<iq type='set' id='{id}'>{payload}</iq>").as_bytes());
    loop {
        let stanza = element(link, "the answer to an IQ").await?;
        if !stanza.is_iq() || stanza.id().as_deref() != Some(id) {
            tracing::debug!(name = stanza.name(), "a stanza before the resource was bound");
        } else if stanza.is_type("result") {
            return Ok(stanza);
        } else if stanza.is_type("error") {
            let condition = features::condition(&stanza, "error", ns::STANZA_ERRORS);
            return Err(LoginError::Bind { condition });
        }
    }
}

/// The next element; a stream error is an error.
pub(super) async fn element<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    wanted: &str,
) -> Result<Stanza, LoginError> {
    let stanza = match link.recv().await {
        Ok(Event::Frame(Frame::Element(element))) => Stanza::new(element),
        other => return Err(unexpected(other, wanted)),
    };
    if stanza.space() == Space::Streams && stanza.name() == "error" {
        let (condition, text) = features::failure(&stanza, ns::STREAM_ERRORS);
        return Err(LoginError::Stream { condition, text, raw: stanza.bytes().clone() });
    }
    Ok(stanza)
}

/// `work`, given up after `limit`.
pub async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, LoginError>>) -> Result<T, LoginError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(LoginError::Timeout(limit)))
}

fn unexpected(came: Result<Event, LinkError>, wanted: &str) -> LoginError {
    match came {
        Ok(Event::Frame(Frame::Element(element))) => {
            LoginError::Protocol(format!("<{}/> instead of {wanted}", Stanza::new(element).name()))
        }
        Ok(Event::Frame(Frame::Header(_))) => LoginError::Protocol(format!("a stream header instead of {wanted}")),
        Ok(Event::Frame(Frame::Close) | Event::End) => LoginError::Lost(std::io::ErrorKind::UnexpectedEof.into()),
        Err(error @ (LinkError::Framing(_) | LinkError::NoRoom)) => LoginError::Protocol(error.to_string()),
        Err(LinkError::Io(error)) => LoginError::Lost(error),
    }
}
