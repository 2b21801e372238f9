//! Calls in a room (Muji, XEP-0272): who takes part says so in its presence. The account is shown with one client's presence,
//! the best, whole; but a call that another client is in would end for those who no longer see it. So that client's
//! `<muji/>`, and nothing else of its presence, goes along where the best has none: as long as it announces it, and is there.

use crate::muc::ClientId;
use crate::muc::presence::Attached;
use crate::muc::room::Room;
use crate::xml::element::Node;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// The `<muji/>` of a presence, fit to stand in another one; none if it leans on prefixes that may be declared elsewhere.
pub(super) fn call(presence: &Stanza) -> Option<Box<str>> {
    memchr::memmem::find(presence.bytes(), b"muji")?;
    let tree = presence.tree().ok()?;
    let muji = tree.root().children().find(is_muji)?;
    stands_alone(muji).then(|| muji.raw().into())
}

fn is_muji(node: &Node<'_>) -> bool {
    ns::MUJI.iter().any(|space| node.is("muji", space))
}

fn stands_alone(node: Node<'_>) -> bool {
    let plain = |name: &str| !name.contains(':') || name.starts_with("xml:");
    plain(node.qualified_name())
        && node.attributes().all(|(name, _)| plain(name))
        && node.children().all(|child| stands_alone(child))
}

impl Room {
    /// Of the attached clients that are in a call the one that has said so last.
    fn caller(&self) -> Option<&Attached> {
        self.attached.iter().filter(|attached| attached.call.is_some()).max_by_key(|attached| attached.since)
    }

    /// The client whose call the room is to be shown.
    pub(super) fn caller_client(&self) -> Option<ClientId> {
        self.caller().map(|caller| caller.client)
    }

    /// The presence as the room is to be shown it.
    pub(super) fn with_call(&self, presence: &Stanza) -> Stanza {
        let has_call = || presence.tree().is_ok_and(|tree| tree.root().children().any(|child| is_muji(&child)));
        match self.caller().and_then(|caller| caller.call.as_deref()) {
            Some(call) if !has_call() => presence.edit().append(call).finish(),
            _ => presence.clone(),
        }
    }
}
