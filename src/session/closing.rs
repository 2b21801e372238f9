//! How streams end: the last bytes on each side, and the closing of the sockets.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;

use crate::net::link::{Link, LinkError};
use crate::xml::framer::FramingError;
use crate::xmpp::conditions::{StreamCondition, stream_error};

/// How long the last bytes may take to be written, and the peer to close its side.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// What a client or a server is told about XML that cannot be a stream (RFC 6120 §4.9.3).
pub(super) fn condition(error: &FramingError) -> StreamCondition {
    match error {
        FramingError::NotWellFormed { .. } => StreamCondition::NotWellFormed,
        FramingError::Restricted { .. } => StreamCondition::RestrictedXml,
        FramingError::BadNamespacePrefix => StreamCondition::BadNamespacePrefix,
        FramingError::InvalidNamespace => StreamCondition::InvalidNamespace,
        FramingError::UnsupportedEncoding => StreamCondition::UnsupportedEncoding,
        FramingError::BadFormat { .. } => StreamCondition::BadFormat,
        FramingError::Limit { .. } => StreamCondition::PolicyViolation,
    }
}

/// What a client is told when the server's XML cannot be a stream.
pub(super) fn server_fault(error: &FramingError) -> (StreamCondition, String) {
    (StreamCondition::UndefinedCondition, format!("the server's stream is broken: {error}"))
}

/// What a client is told when its stream needs more room than there is, on either side.
pub(super) fn no_room() -> (StreamCondition, String) {
    (StreamCondition::ResourceConstraint, LinkError::NoRoom.to_string())
}

/// One side's last bytes.
#[derive(Debug)]
pub(super) enum Last {
    /// The connection just ends, as the other side's did.
    Nothing,
    /// The stream is closed.
    Close,
    /// With an error of the proxy's own.
    Error(StreamCondition, String),
    /// With the other side's error, as it came.
    Relayed(bytes::Bytes),
}

impl Last {
    /// Queues them; `close` is the stream's end tag.
    pub(super) fn queue<S: AsyncRead + AsyncWrite + Unpin>(&self, link: &mut Link<S>, close: &str) {
        match self {
            Last::Nothing => return,
            Last::Close => {}
            Last::Error(condition, text) => link.queue(stream_error(*condition, text).as_bytes()),
            Last::Relayed(error) => link.queue(error),
        }
        link.queue(close.as_bytes());
    }
}

/// How both streams end, and why.
#[derive(Debug)]
pub(super) struct End {
    pub down: Last,
    pub up: Last,
    pub why: String,
}

impl End {
    /// The client is told why, the server's stream is closed.
    pub(super) fn client(condition: StreamCondition, text: impl Into<String>) -> End {
        let text = text.into();
        End { why: format!("{condition}: {text}"), down: Last::Error(condition, text), up: Last::Close }
    }

    /// Either side needs more room than there is.
    pub(super) fn no_room() -> End {
        let (condition, text) = no_room();
        End::client(condition, text)
    }

    /// Both streams just end.
    pub(super) fn both(last: fn() -> Last, why: impl Into<String>) -> End {
        End { down: last(), up: last(), why: why.into() }
    }
}

/// Writes what is queued, closes the connection (ejabberd takes no notice of a close_notify without a FIN), and
/// reads what still comes: closing with something unread would be a reset, which could destroy what was just sent.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut link: Link<S>) {
    let farewell = async {
        if link.shutdown().await.is_ok() {
            let mut io = link.into_inner();
            let mut rest = [0; 512];
            while io.read(&mut rest).await.is_ok_and(|n| n > 0) {}
        }
    };
    let _ = timeout(FAREWELL, farewell).await;
}
