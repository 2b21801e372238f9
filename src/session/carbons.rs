//! What a client's own stream brings of the account session (DESIGN §6): its presence, and carbons (XEP-0280) of what it
//! receives, are kept from the client; of carbons of what it has sent the account knows for whom they are.

use jid::{FullJid, Jid};

use crate::xml::element::Tree;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// What a stanza from the server is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The account session itself: nothing for the client.
    Itself,
    /// What the account session has sent, in some client's name.
    Said,
    /// All else.
    Others,
}

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

    /// What `stanza` is about. `registered`: the account serves this client, so that it gets from there what a carbon of
    /// something received would bring.
    pub(super) fn what(&self, stanza: &Stanza, registered: bool) -> About {
        // The resource is random and opaque: where these bytes are not, nothing can be about it.
        if memchr::memmem::find(stanza.bytes(), self.jid.resource().as_str().as_bytes()).is_none() {
            return About::Others;
        }
        if stanza.is_presence() && stanza.from().is_some_and(|from| self.is(&from)) {
            return About::Itself;
        }
        // Only the account itself sends carbons (XEP-0280 §11, CVE-2017-5589).
        let own = stanza.from().is_none_or(|from| Jid::new(&from).is_ok_and(|from| from == self.jid.to_bare()));
        match stanza.tree() {
            Ok(tree) if stanza.is_message() && own => self.carbon(&tree, registered),
            _ => About::Others,
        }
    }

    fn is(&self, jid: &str) -> bool {
        FullJid::new(jid).is_ok_and(|jid| jid == self.jid)
    }

    fn carbon(&self, tree: &Tree<'_>, registered: bool) -> About {
        let mut wrapped = tree.root().children().filter(|c| c.space() == ns::CARBONS);
        let Some(carbon) = wrapped.find(|c| matches!(c.name(), "sent" | "received")) else { return About::Others };
        let message = carbon.child("forwarded", ns::FORWARD).and_then(|f| f.child("message", ns::CLIENT));
        let has = |name| message.is_some_and(|m| m.attr(name).is_some_and(|jid| self.is(&jid)));
        match carbon.name() {
            "sent" if has("from") => About::Said,
            "received" if registered && has("to") => About::Itself,
            _ => About::Others,
        }
    }
}
