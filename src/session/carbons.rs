//! What a client's own stream brings of the account session, and is kept from the client (DESIGN §6): its presence,
//! and carbons (XEP-0280) of its messages.

use jid::{FullJid, Jid};

use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// Tells what is about the account session.
#[derive(Debug)]
pub(super) struct AboutSession {
    jid: FullJid,
}

impl AboutSession {
    /// `jid`: the account session's full JID.
    pub(super) fn new(jid: &str) -> Option<Self> {
        Some(AboutSession { jid: FullJid::new(jid).ok()? })
    }

    /// Whether the client must not see `stanza`. `registered`: the account serves this client, so that it gets from
    /// there what such a carbon would bring.
    pub(super) fn hides(&self, stanza: &Stanza, registered: bool) -> bool {
        // The resource is random and opaque: where these bytes are not, nothing can be about it.
        if memchr::memmem::find(stanza.bytes(), self.jid.resource().as_str().as_bytes()).is_none() {
            return false;
        }
        if stanza.is_presence() {
            return stanza.from().is_some_and(|from| self.is(&from));
        }
        registered && stanza.is_message() && self.is_carbon(stanza)
    }

    fn is(&self, jid: &str) -> bool {
        FullJid::new(jid).is_ok_and(|jid| jid == self.jid)
    }

    /// Only the account itself sends carbons (XEP-0280 §11, CVE-2017-5589).
    fn is_carbon(&self, stanza: &Stanza) -> bool {
        let own = stanza.from().is_none_or(|from| Jid::new(&from).is_ok_and(|from| from == self.jid.to_bare()));
        let Ok(tree) = stanza.tree() else { return false };
        let carbon =
            tree.root().children().find(|c| c.space() == ns::CARBONS && matches!(c.name(), "sent" | "received"));
        let message = carbon
            .and_then(|c| c.child("forwarded", ns::FORWARD))
            .and_then(|forwarded| forwarded.child("message", ns::CLIENT));
        own && message.is_some_and(|m| ["from", "to"].iter().any(|a| m.attr(a).is_some_and(|jid| self.is(&jid))))
    }
}
