//! Private messages (XEP-0045 §7.5): out on the account session, and copied to the author's siblings here.

use crate::muc::room::Room;
use crate::muc::{ClientId, Out};
use crate::xml::element::Tree;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

impl Room {
    /// A message of an attached client to an occupant.
    pub(super) fn private_message(&mut self, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        self.authors.remember(&stanza, client);
        let (copied, may_be_copied) = stanza.tree().map_or((false, false), |tree| {
            (is_copied(&stanza, &tree), tree.root().child("private", ns::CARBONS).is_none())
        });
        if !may_be_copied {
            return out.push(Out::Up(stanza));
        }
        // The server would copy it to the author itself, whose own session did not send it (XEP-0280 §11). Whatever
        // it is: servers differ in what they copy.
        let marks = format!("<private xmlns='{}'/><no-copy xmlns='{}'/>", ns::CARBONS, ns::HINTS);
        out.push(Out::Up(stanza.edit().append(&marks).finish()));
        if copied {
            out.push(Out::Copy(client, stanza));
        }
    }
}

/// Whether a server would copy the message to its author's other clients (XEP-0280 §6.1): where both Prosody and
/// ejabberd do.
fn is_copied(stanza: &Stanza, tree: &Tree<'_>) -> bool {
    let root = tree.root();
    let chat = match stanza.type_().as_deref() {
        Some("chat") => true,
        None | Some("normal") => root.child("body", ns::CLIENT).is_some(),
        _ => false,
    };
    chat && root.child("private", ns::CARBONS).is_none() && root.child("no-copy", ns::HINTS).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(attributes: &str, content: &str) -> bool {
        let stanza = Stanza::own(format!("<message{attributes}>{content}</message>"));
        is_copied(&stanza, &stanza.tree().unwrap())
    }

    #[test]
    fn what_servers_copy() {
        let active = "<active xmlns='http://jabber.org/protocol/chatstates'/>";
        assert!(copied(" type='chat'", active));
        assert!(copied(" type='normal'", "<body/>") && copied("", "<body/>"));
        assert!(!copied("", active) && !copied(" type='headline'", "<body/>"));
        assert!(!copied(" type='chat'", "<body/><private xmlns='urn:xmpp:carbons:2'/>"));
        assert!(!copied(" type='chat'", "<body/><no-copy xmlns='urn:xmpp:hints'/>"));
    }
}
