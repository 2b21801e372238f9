//! What the account session answers by itself (DESIGN §6): what is asked of it, not of a client.

use crate::xml::writer::escape;
use crate::xmpp::caps;
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// The answer to an IQ that was sent to the account session itself; `trusted` for the account and its server.
pub fn answer(stanza: &Stanza, trusted: bool) -> Option<Stanza> {
    let tree = stanza.tree().ok()?;
    let payload = tree.root().children().next();
    let is = |name: &str, space: &str| payload.is_some_and(|p| p.is(name, space));
    let node = payload.and_then(|p| p.attr("node"));
    let request = stanza.type_();
    let body = match request.as_deref() {
        Some("get") if is("ping", ns::PING) => String::new(),
        Some("get") if is("query", ns::DISCO_INFO) && node.as_deref().is_none_or(caps::is_own_node) => {
            caps::own_disco_info(node.as_deref())
        }
        Some("get") if is("query", ns::VERSION) => version(),
        // Roster, blocklist and privacy pushes are acknowledged, and go no further: each client gets its own.
        Some("set") if trusted => String::new(),
        Some("get" | "set") => {
            let reply = error_reply(stanza, "", StanzaCondition::ServiceUnavailable, "")?;
            return Some(crate::account::iq::drop_from(&Stanza::own(reply)));
        }
        _ => return None,
    };
    let to = stanza.from().map(|to| format!(" to='{}'", escape(&to))).unwrap_or_default();
    let id = stanza.id().unwrap_or_default();
    Some(Stanza::own(format!("<iq{to} id='{}' type='result'>{body}</iq>", escape(&id))))
}

fn version() -> String {
    format!(
        "<query xmlns='{}'><name>minimix-proxy</name><version>{}</version></query>",
        ns::VERSION,
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str, trusted: bool) -> String {
        String::from_utf8(answer(&Stanza::own(text), trusted).unwrap().bytes().to_vec()).unwrap()
    }

    #[test]
    fn pings_are_answered_pushes_acknowledged_strangers_turned_away() {
        assert_eq!(
            answered("<iq from='r@s/n' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>", false),
            "<iq to='r@s/n' id='1' type='result'></iq>"
        );
        let push = "<iq id='2' type='set'><query xmlns='jabber:iq:roster'/></iq>";
        assert_eq!(answered(push, true), "<iq id='2' type='result'></iq>");
        let answer = answered("<iq from='x@y/z' id='3' type='set'><query xmlns='jabber:iq:roster'/></iq>", false);
        assert!(answer.contains("service-unavailable") && answer.contains("to='x@y/z'"), "{answer}");
        assert!(super::answer(&Stanza::own("<iq type='result' id='1'/>"), false).is_none());
    }
}
