//! Resource binding (RFC 6120 §7): the one IQ a client may send before it has a JID, and what the server says to it.

use jid::{BareJid, FullJid, NodePart};

use crate::xmpp::header::Header;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// Whether `stanza` asks for a resource.
pub(super) fn is_request(stanza: &Stanza, header: &Header) -> bool {
    stanza.is_iq()
        && stanza.is_type("set")
        && header.detach(stanza.clone()).tree().is_ok_and(|tree| {
            let mut children = tree.root().children();
            children.next().is_some_and(|c| c.is("bind", ns::BIND)) && children.next().is_none()
        })
}

/// The JID in a bind result.
pub(super) fn bound_jid(result: &Stanza, header: &Header) -> Option<FullJid> {
    let result = header.detach(result.clone());
    let tree = result.tree().ok()?;
    let jid = tree.root().child("bind", ns::BIND)?.child_text("jid", ns::BIND)?;
    FullJid::new(&jid).ok()
}

/// Whether the bound JID is the one that logged in by `name` (S2), both prepared.
pub(super) fn is_own(jid: &FullJid, name: Option<&str>) -> bool {
    match (jid.node(), name.and_then(|n| NodePart::new(n).ok())) {
        (Some(bound), Some(name)) => bound == &*name,
        _ => false,
    }
}

/// Whether an authorization identity is the one that authenticates (S2).
pub(super) fn is_same_account(authzid: &str, name: &str, domain: &str) -> bool {
    match (BareJid::new(authzid), NodePart::new(name)) {
        (Ok(authzid), Ok(name)) => authzid.node() == Some(&*name) && authzid.domain().as_str() == domain,
        _ => false,
    }
}
