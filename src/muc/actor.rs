//! Who did it (`<actor/>`, XEP-0045 §8.2, §9.1): where it is this account, each client sees itself, not the account
//! session.

use std::ops::Range;

use crate::xml::element::{Node, Tree};
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// Another occupant's presence, for all clients.
pub(super) fn shared(stanza: &Stanza, session: &str) -> Shared {
    // The resource is random: where these bytes are not, nothing can be about the account session.
    let resource = session.rsplit('/').next().unwrap_or(session);
    if memchr::memmem::find(stanza.bytes(), resource.as_bytes()).is_none() {
        return Shared::new(stanza, None);
    }
    let range = stanza.tree().ok().and_then(|tree| own_actor(&tree, session));
    Shared::new(stanza, range)
}

/// Where the account session's JID stands as the actor's.
pub(super) fn own_actor(tree: &Tree<'_>, session: &str) -> Option<Range<usize>> {
    let is = |name: &'static str| move |c: &Node<'_>| c.is(name, ns::MUC_USER);
    let items = tree.root().children().filter(is("x")).flat_map(|x| x.children()).filter(is("item"));
    let mut actors = items.flat_map(|item| item.children()).filter(is("actor"));
    let own = actors.find(|actor| actor.attr("jid").is_some_and(|jid| jid == session))?;
    own.attr_range("jid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    const SESSION: &str = "a@b/session";

    fn shown(actor: &str) -> String {
        let x = format!(
            "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'>{actor}</item><status code='307'/></x>"
        );
        let mut out = BytesMut::new();
        let stanza = Stanza::own(format!("<presence from='r@s/n' to='{SESSION}' type='unavailable'>{x}</presence>"));
        shared(&stanza, SESSION).write("a@b/phone", &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn the_account_is_each_client_itself_and_nobody_else_is() {
        let seen = shown("<actor nick='n' jid='a@b/session'/>");
        assert!(seen.contains("jid='a@b/phone'") && !seen.contains("session"), "{seen}");
        assert!(shown("<actor jid='c@d/session'/>").contains("c@d/session"));
        assert!(shown("<actor xmlns='urn:other' jid='a@b/session'/>").contains("a@b/session"));
        assert!(shown("<reason>a@b/session</reason>").contains("a@b/session"));
    }
}
