//! SASL on the wire (RFC 6120 §6): base64 and XML around [`crate::stream::sasl`]; PBKDF2 on a blocking thread.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::features::{self, is};
use super::{LoggedIn, LoginError, element};
use crate::net::background::busy;
use crate::net::link::Link;
use crate::stream::sasl::{ChannelBinding, Login, Policy, Secret, Start, Step};
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// Logs in with the best mechanism that `features` offer and `policy` allows. On success [`Link::restart`] has been
/// called and the caller opens the stream anew; after [`LoginError::Refused`] and [`LoginError::Sasl`] the stream
/// stands, and another login may be tried on it.
pub async fn login<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    features: &Stanza,
    username: &str,
    secret: Secret,
    binding: &ChannelBinding,
    policy: &Policy,
) -> Result<LoggedIn, LoginError> {
    let Start { mut login, mechanism, initial } = start(features, username, secret, binding, policy)?;
    // An empty initial response is "=" (RFC 6120 §6.4.2).
    let initial = if initial.is_empty() { "=".to_owned().into() } else { encode(&initial) };
    link.queue(format!("<auth xmlns='{}' mechanism='{mechanism}'>", ns::SASL).as_bytes());
    link.queue(initial.as_bytes());
    link.queue(b"</auth>");
    loop {
        let stanza = element(link, "an answer to <auth/>").await?;
        if is(&stanza, "challenge", ns::SASL) {
            match answer(&mut login, &stanza).await {
                Ok(response) => {
                    link.queue(format!("<response xmlns='{}'>", ns::SASL).as_bytes());
                    link.queue(encode(&response).as_bytes());
                    link.queue(b"</response>");
                }
                Err(error) => {
                    abort(link).await;
                    return Err(error);
                }
            }
        } else if is(&stanza, "success", ns::SASL) {
            let learned = login.success(&content(&stanza)?)?;
            link.restart();
            return Ok(LoggedIn { mechanism, learned });
        } else if is(&stanza, "failure", ns::SASL) {
            let (condition, text) = features::failure(&stanza, ns::SASL);
            return Err(LoginError::Refused { condition, text, raw: stanza.bytes().clone() });
        } else {
            return Err(LoginError::Protocol(format!("<{}/> in the midst of SASL", stanza.name())));
        }
    }
}

fn start(
    features: &Stanza,
    username: &str,
    secret: Secret,
    binding: &ChannelBinding,
    policy: &Policy,
) -> Result<Start, LoginError> {
    let offered = features::mechanisms(features);
    let offered: Vec<&str> = offered.iter().map(String::as_str).collect();
    let types = features::binding_types(features);
    let types: Option<Vec<&str>> = types.as_ref().map(|types| types.iter().map(String::as_str).collect());
    Ok(Login::start(username, secret, &offered, types.as_deref(), binding, policy)?)
}

async fn answer(login: &mut Login, challenge: &Stanza) -> Result<Zeroizing<Vec<u8>>, LoginError> {
    match login.challenge(&content(challenge)?)? {
        Step::Respond(response) => Ok(response.into()),
        Step::Derive(derivation) => {
            let salted = busy(|| derivation.run())
                .await
                .ok_or_else(|| LoginError::Protocol("the keys could not be derived: this process is ending".into()))?;
            Ok(login.derived(salted)?.into())
        }
    }
}

/// Ends the exchange, not the stream (RFC 6120 §6.4.4). Whatever the server answers, the reason is already known.
async fn abort<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>) {
    link.queue(format!("<abort xmlns='{}'/>", ns::SASL).as_bytes());
    let _ = element(link, "an answer to <abort/>").await;
}

fn encode(data: &[u8]) -> Zeroizing<String> {
    STANDARD.encode(data).into()
}

/// The decoded content of a challenge or success; "=" and nothing are both empty.
fn content(element: &Stanza) -> Result<Zeroizing<Vec<u8>>, LoginError> {
    let text: Zeroizing<String> = element.tree().map(|tree| tree.root().text()).unwrap_or_default().into();
    match text.trim() {
        "" | "=" => Ok(Zeroizing::default()),
        text => STANDARD
            .decode(text)
            .map(Zeroizing::new)
            .map_err(|_| LoginError::Protocol("SASL data that is not base64".into())),
    }
}
