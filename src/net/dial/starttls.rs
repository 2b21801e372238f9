//! STARTTLS as the initiating entity (RFC 6120 §5.4).

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::DialError;
use crate::net::link::Link;
use crate::net::login::{self, LoginError};
use crate::xml::framer::Limits;
use crate::xmpp::header::Header;
use crate::xmpp::ns;

/// Talks the server into TLS; the handshake comes next. Nothing that was said before it is kept.
pub(super) async fn negotiate(
    stream: TcpStream,
    domain: &str,
    peer: SocketAddr,
    limits: Limits,
) -> Result<TcpStream, DialError> {
    let mut link = Link::new(stream, limits);
    let header = Header::client(domain, None);
    let opened = login::open(&mut link, header.as_bytes()).await.map_err(|error| refused(peer, error))?;
    if !login::offers(&opened.features, "starttls", ns::TLS) {
        return Err(DialError::NoStartTls { peer });
    }
    link.queue(format!("<starttls xmlns='{}'/>", ns::TLS).as_bytes());
    let answer = login::element(&mut link, "the answer to <starttls/>").await.map_err(|error| refused(peer, error))?;
    if !login::is(&answer, "proceed", ns::TLS) {
        let what = format!("it answered <starttls/> by <{}/>", answer.name());
        return Err(DialError::Protocol { peer, what });
    }
    // S9: what stands behind <proceed/> was not said under TLS, whoever said it (CVE-2011-0411 and kin).
    if link.unread() > 0 {
        return Err(DialError::Protocol { peer, what: "plaintext behind <proceed/>".into() });
    }
    Ok(link.into_inner())
}

fn refused(peer: SocketAddr, error: LoginError) -> DialError {
    match error {
        LoginError::Stream { condition, text, .. } => {
            DialError::Refused { peer, condition, text: text.unwrap_or_default() }
        }
        other => DialError::Protocol { peer, what: other.to_string() },
    }
}
