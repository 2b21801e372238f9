//! What a client sends though nobody offered it (S9): answered or fatal, never forwarded.

use bytes::Bytes;

use crate::xmpp::conditions::StreamCondition;
use crate::xmpp::header::Header;
use crate::xmpp::ns;
use crate::xmpp::stanza::{Kind, Stanza};

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The client is told so in the extension's own words, and its stream goes on.
    Answer(Bytes),
    /// The stream ends.
    End(StreamCondition, String),
}

/// The refusal of an element that may not be sent in the stream's present state. `header` is the client's, whose
/// prefixes the element may use.
pub fn refuse(stanza: &Stanza, header: &Header) -> Refusal {
    if stanza.kind() != Kind::Other {
        // RFC 6120 §6.3.3 and §7.1: no stanzas before login and bind (S4: no registration either).
        return Refusal::End(StreamCondition::NotAuthorized, "log in and bind a resource first".into());
    }
    let element = header.detach(stanza.clone());
    let tree = element.tree();
    let (name, space) = match &tree {
        Ok(tree) => (tree.root().name(), tree.root().space()),
        Err(_) => ("", ""),
    };
    match (name, space) {
        // XEP-0198 §3 and §5: both are answered by <failed/>, and the stream stays.
        ("enable" | "resume", ns::SM | ns::SM2) => Refusal::Answer(Bytes::from(format!(
            "<failed xmlns='{space}'><unexpected-request xmlns='{}'/></failed>",
            ns::STANZA_ERRORS
        ))),
        ("compress", ns::COMPRESS) => {
            Refusal::Answer(Bytes::from(format!("<failure xmlns='{}'><unsupported-method/></failure>", ns::COMPRESS)))
        }
        (_, ns::TLS | ns::SASL) => {
            Refusal::End(StreamCondition::PolicyViolation, format!("<{name}/> is out of place here"))
        }
        _ => Refusal::End(StreamCondition::UnsupportedStanzaType, format!("<{name}/> was not offered")),
    }
}

/// Whether the element is one of XEP-0352's.
pub fn is_csi(stanza: &Stanza, header: &Header) -> bool {
    stanza.kind() == Kind::Other
        && header.detach(stanza.clone()).tree().is_ok_and(|t| {
            let root = t.root();
            root.space() == ns::CSI && matches!(root.name(), "active" | "inactive")
        })
}
